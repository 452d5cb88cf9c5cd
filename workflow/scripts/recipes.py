from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.study.plan import make_plan
    from dreambirds.study.recipes import write_recipes

    write_recipes(make_plan(snakemake.config).recipes, Path(snakemake.output[0]))
