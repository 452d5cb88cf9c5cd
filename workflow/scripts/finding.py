from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.gallery.findings import write_finding
    from dreambirds.plan.plan import make_plan

    write_finding(
        make_plan(snakemake.config),
        results=Path(snakemake.input.dreams).parent,
        folder=Path(snakemake.output.page).parent,
    )
