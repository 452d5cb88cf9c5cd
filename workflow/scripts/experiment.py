from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.plan.experiments import run_experiment

    run_experiment(
        snakemake.params.config,
        snakemake.threads,
        config_file=Path(snakemake.output.config),
        log_file=Path(snakemake.log.snakemake),
        page=Path(snakemake.output.page),
        table=Path(snakemake.output.table),
    )
