from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.montage import write_montage
    from dreambirds.figures.selection import Selection
    from dreambirds.io import from_parameter

    params = snakemake.params
    archives = [Path(file) for file in snakemake.input.archives]
    names, given = from_parameter(params.names), {**params.seeds, **params.interpolated}
    selection = Selection.of(params.study, archives, names, params.shared, **given)
    dataset = next((Path(table).parent for table in snakemake.input.table), None)
    excitation = next((Path(table) for table in snakemake.input.excitation), None)
    path = Path(snakemake.output[0])
    write_montage(selection, params.rows, params.columns, params.cell_size, path, dataset, excitation, params.noun)
