from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.runs import parse_epoch
    from dreambirds.device import choose_device
    from dreambirds.plan.plan import make_plan
    from dreambirds.training.job import Files, TrainJob, run_train_job

    source, output, settings = snakemake.input, snakemake.output, snakemake.params.settings
    # as many as the cores that were granted leave, beside the threads that compute
    plan = make_plan(snakemake.config)
    asked = plan.config["threads"]
    processes = asked["loader_workers"] * snakemake.threads // (asked["loader_workers"] + asked["train"])
    before = source.get("before") and Files(Path(source.before), Path(source.before_state), Path())
    segment = TrainJob(
        name=snakemake.wildcards.run,
        run=settings,
        dataset=Path(source.table).parent,
        epoch=parse_epoch(snakemake.wildcards.epoch),
        before=before,
        to=Files(Path(output.weights), Path(output.state), Path(output.history)),
        code=snakemake.params.code,
        processes=processes,
        where=plan.path(snakemake.wildcards.run),
    )
    run_train_job(segment, choose_device(snakemake.resources.gpu, max(1, snakemake.threads - processes)))
