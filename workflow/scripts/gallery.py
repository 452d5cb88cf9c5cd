from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.gallery.gallery import write_gallery
    from dreambirds.plan.plan import make_plan

    source = snakemake.input
    write_gallery(
        make_plan(snakemake.config),
        results=Path(source.dreams).parent,
        dataset=Path(source.table).parent,
        folder=Path(snakemake.output.page).parent,
    )
