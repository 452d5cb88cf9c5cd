from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.labels import Label
    from dreambirds.data.tables import write_table
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.columns import list_views
    from dreambirds.evaluation.people import People, check_people
    from dreambirds.io import from_parameter

    source, params = snakemake.input, snakemake.params
    labels = [Label(*names) for names in from_parameter(params.labels)]
    people = People(snakemake.wildcards.judge, [Path(file) for file in source.answers], labels, params.names)
    row = check_people(people, list_views(read_dreams(source.archives)), Path(source.table).parent)
    write_table(row, Path(snakemake.output.sanity), "%.6g")
