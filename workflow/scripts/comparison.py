from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.gallery.compare import write_overview

    write_overview(Path(snakemake.input.dreams).parent, Path(snakemake.output[0]))
