from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.recipes import recipe_table
    from dreambirds.data.tables import write_table
    from dreambirds.plan.plan import make_plan

    write_table(recipe_table(make_plan(snakemake.config).recipes), Path(snakemake.output[0]))
