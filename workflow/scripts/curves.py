from pathlib import Path

from job import job

with job(snakemake):
    import pandas as pd

    from dreambirds.pictures.curves import plot_curves

    parts = [file for file in snakemake.input if file.endswith(".csv")]
    history = pd.concat(map(pd.read_csv, parts), ignore_index=True)
    history.to_csv(snakemake.output.history, index=False)
    plot_curves(history, Path(snakemake.output.plot))
