from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.gallery.experiment import run_experiment
    from dreambirds.study.experiments import experiment_config

    run_experiment(
        experiment_config(snakemake.wildcards.experiment, snakemake.config),
        snakemake.threads,
        config_file=Path(snakemake.output.config),
        said=Path(snakemake.log.snakemake),
        page=Path(snakemake.output.page),
        table=Path(snakemake.output.table),
    )
