from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.tables import write_table
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.columns import list_views
    from dreambirds.evaluation.pixels import RealPixels, measure_saved

    source = snakemake.input
    views = list_views(read_dreams([source.dreams]))
    real = RealPixels.read(*(Path(source[name]) for name in ("spectra", "small", "held_out")))
    table = measure_saved(views, real, snakemake.params.code)
    write_table(table, Path(snakemake.output[0]), "%.6g")
