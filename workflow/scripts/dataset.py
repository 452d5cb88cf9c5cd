from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.catalogue import list_labels
    from dreambirds.data.prepare import prepare

    dataset = snakemake.params.dataset
    folder = Path(snakemake.output.table).parent
    prepare(dataset, list_labels(dataset), folder, threads=snakemake.threads)
