from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.tables import write_table
    from dreambirds.study.plan import make_plan
    from dreambirds.study.recipes import recipe_table

    write_table(recipe_table(make_plan(snakemake.config).recipes), Path(snakemake.output[0]))
