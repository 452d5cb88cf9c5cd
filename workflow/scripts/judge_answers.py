from pathlib import Path

import numpy as np

from job import job

with job(snakemake):
    from dreambirds.data.labels import Label
    from dreambirds.data.tables import write_table
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.agreement import write_features
    from dreambirds.evaluation.columns import list_views
    from dreambirds.evaluation.people import People, judge_by_answers
    from dreambirds.io import from_parameter

    source, params, output = snakemake.input, snakemake.params, snakemake.output
    labels = [Label(*names) for names in from_parameter(params.labels)]
    people = People(snakemake.wildcards.judge, [Path(file) for file in source.answers], labels, params.names)
    table = judge_by_answers(people, list_views(read_dreams([source.dreams])))
    write_features(np.zeros((len(table), 0)), Path(output.features))
    write_table(table, Path(output.judged), "%.6g")
