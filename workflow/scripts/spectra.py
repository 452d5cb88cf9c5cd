from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.pixels import write_spectra

    write_spectra(Path(snakemake.input.table).parent, Path(snakemake.output[0]))
