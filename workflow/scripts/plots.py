from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.pictures.plots.write import write_plots

    write_plots(Path(snakemake.input.dreams).parent, Path(snakemake.output[0]).parent)
