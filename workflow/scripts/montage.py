from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.assembly import write_montage
    from dreambirds.plan.plan import make_plan

    table = snakemake.input.get("table")
    write_montage(
        make_plan(snakemake.config),
        wanted={**dict(snakemake.wildcards.items()), **snakemake.params.get("only", {})},
        rows=snakemake.params.rows,
        columns=snakemake.params.columns,
        path=Path(snakemake.output[0]),
        dataset=table and Path(table).parent,
    )
