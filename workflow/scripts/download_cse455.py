from job import job

with job(snakemake):
    from dreambirds.data.download.kaggle import fetch_cse455

    fetch_cse455()
