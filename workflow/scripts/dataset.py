from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.labels import Label
    from dreambirds.data.prepare import prepare
    from dreambirds.io import from_parameter
    from dreambirds.plan.fingerprints import remember_photographs

    dataset = snakemake.params.dataset
    labels = [Label(*names) for names in from_parameter(snakemake.params.labels)]
    prepare(dataset, labels, Path(snakemake.output.table).parent, threads=snakemake.threads)
    remember_photographs(dataset, labels)
