from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.tables import write_table
    from dreambirds.evaluation.columns import recipe_table

    write_table(recipe_table(snakemake.params.recipes), Path(snakemake.output[0]))
