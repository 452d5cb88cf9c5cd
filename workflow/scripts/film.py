from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.animation import write_film
    from dreambirds.figures.selection import Selection
    from dreambirds.io import from_parameter

    params = snakemake.params
    archives = [Path(file) for file in snakemake.input.archives]
    selection = Selection.of(params.study, archives, from_parameter(params.names), params.shared, **params.seeds)
    write_film(selection, params.over, params.cell_size, params.frame_duration, Path(snakemake.output[0]))
