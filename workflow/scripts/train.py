from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.runs import parse_epoch
    from dreambirds.device import choose_device
    from dreambirds.training.job import TrainJob, run_train_job

    source, params, threads = snakemake.input, snakemake.params, snakemake.params.threads
    # divide the granted cores in the config's proportion between data loader processes and compute threads
    processes = threads["loader_workers"] * snakemake.threads // (threads["loader_workers"] + threads["train"])
    train_job = TrainJob(
        name=snakemake.wildcards.run,
        run=params.settings,
        dataset=Path(source.table).parent,
        epoch=parse_epoch(snakemake.wildcards.epoch),
        before=Path(source.before).parent if source.get("before") else None,
        to=Path(snakemake.output.model).parent,
        code=params.code,
        processes=processes,
        where=params.where,
    )
    run_train_job(train_job, choose_device(snakemake.resources.gpu, max(1, snakemake.threads - processes)))
