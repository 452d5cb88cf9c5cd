from job import job

with job(snakemake):
    from dreambirds.data.download.cub import fetch_cub

    fetch_cub()
