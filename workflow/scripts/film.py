from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.assembly import write_film
    from dreambirds.plan.plan import make_plan

    wanted = dict(snakemake.wildcards.items())
    write_film(make_plan(snakemake.config), wanted, snakemake.params.moments, Path(snakemake.output[0]))
