from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.excitation_table import read_excitation
    from dreambirds.figures.exciting import write_exciting
    from dreambirds.figures.selection import Selection
    from dreambirds.io import from_parameter

    source, params = snakemake.input, snakemake.params
    archives, names = [Path(file) for file in source.archives], from_parameter(params.names)
    table = read_excitation(Path(source.excitation))
    write_exciting(
        Selection.of(params.study, archives, names, params.shared, labels=list(table["label"].unique())),
        table,
        dataset=Path(source.table).parent,
        cell_size=params.cell_size,
        path=Path(snakemake.output[0]),
    )
