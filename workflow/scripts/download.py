from job import job

with job(snakemake):
    from dreambirds.data.download.resources import RESOURCES

    RESOURCES[snakemake.params.source].download()
