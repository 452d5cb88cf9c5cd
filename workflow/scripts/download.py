from job import job

with job(snakemake):
    from dreambirds.data.sources.catalog import RESOURCES

    RESOURCES[snakemake.params.source].download()
