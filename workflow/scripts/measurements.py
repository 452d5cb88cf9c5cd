from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.tables import write_tables
    from dreambirds.plan.plan import make_plan

    write_tables(
        make_plan(snakemake.config),
        judged=[Path(file) for file in snakemake.input.judged],
        checks=[Path(file) for file in snakemake.input.checks],
        code=snakemake.params.code,
        paths={name: Path(file) for name, file in snakemake.output.items()},
    )
