from pathlib import Path

from job import job

with job(snakemake):
    import pandas as pd

    from dreambirds.data.tables import read_history, write_table
    from dreambirds.figures.draw import plot_curves

    parts = [Path(file) for file in snakemake.input if file.endswith(".csv")]
    history = pd.concat(map(read_history, parts, snakemake.params.epochs), ignore_index=True)
    write_table(history, Path(snakemake.output.history))
    plot_curves(history, Path(snakemake.output.plot))
