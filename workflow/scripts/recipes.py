from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.recipes import recipe_table
    from dreambirds.data.tables import write_table

    write_table(recipe_table(snakemake.params.recipes), Path(snakemake.output[0]))
