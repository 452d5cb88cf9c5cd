from job import job

with job(snakemake):
    from dreambirds.data.fetch_cub import fetch_cub

    fetch_cub()
