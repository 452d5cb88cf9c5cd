from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.runs import parse_epoch
    from dreambirds.device import choose_device
    from dreambirds.training.job import TrainJob, run_train_job

    source, params, asked = snakemake.input, snakemake.params, snakemake.params.threads
    # the granted cores are shared as the config asks: processes that load images, and threads that compute
    processes = asked["loader_workers"] * snakemake.threads // (asked["loader_workers"] + asked["train"])
    wanted = TrainJob(
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
    run_train_job(wanted, choose_device(snakemake.resources.gpu, max(1, snakemake.threads - processes)))
