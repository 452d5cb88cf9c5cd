from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.dream_job.archive import Picture, extract

    wildcards = snakemake.wildcards
    extract(Picture(Path(snakemake.input[0]), f"{wildcards.label}/{wildcards.file}"), Path(snakemake.output[0]))
