from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.aligned import write_small
    from dreambirds.evaluation.pixels import write_spectra

    dataset, output = Path(snakemake.input.table).parent, snakemake.output
    write_spectra(dataset, Path(output.spectra))
    write_small(dataset, Path(output.small), Path(output.held_out))
