from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.labels import list_labels
    from dreambirds.data.prepare import prepare

    dataset = snakemake.params.dataset
    prepare(dataset, list_labels(dataset), Path(snakemake.output.table).parent)
