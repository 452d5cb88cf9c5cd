from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.tables import write_table
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.columns import list_views
    from dreambirds.evaluation.pixels import measure_saved, read_spectra

    source = snakemake.input
    views = list_views(read_dreams([source.dreams]))
    table = measure_saved(views, read_spectra(Path(source.spectra)), snakemake.params.code)
    write_table(table, Path(snakemake.output[0]), "%.6g")
