from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.nearest import write_nearest
    from dreambirds.figures.selection import Selection
    from dreambirds.io import from_parameter

    source, params = snakemake.input, snakemake.params
    archives, tables = ([Path(file) for file in source[name]] for name in ("archives", "tables"))
    names = from_parameter(params.names)
    write_nearest(
        Selection.of(params.study, archives, names, params.shared, labels=from_parameter(params.classes)),
        tables,
        held_out=Path(source.held_out),
        judge=params.judge,
        dataset=Path(source.table).parent,
        cell_size=params.cell_size,
        path=Path(snakemake.output[0]),
    )
