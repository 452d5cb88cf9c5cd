from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.animation import write_film
    from dreambirds.figures.selection import Selection
    from dreambirds.io import from_parameter

    params = snakemake.params
    archives = [Path(file) for file in snakemake.input.archives]
    names, given = from_parameter(params.names), {**params.seeds, **params.interpolated}
    selection = Selection.of(params.study, archives, names, params.shared, **given)
    write_film(selection, params.over, params.cell_size, params.frame_duration, Path(snakemake.output[0]))
