from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.montage import write_montage
    from dreambirds.figures.selection import Selection
    from dreambirds.io import from_parameter

    params = snakemake.params
    archives = [Path(file) for file in snakemake.input.archives]
    selection = Selection.of(params.study, archives, from_parameter(params.names), params.shared, **params.seeds)
    dataset = next((Path(table).parent for table in snakemake.input.table), None)
    write_montage(selection, params.rows, params.columns, params.cell_size, Path(snakemake.output[0]), dataset)
