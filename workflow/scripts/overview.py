from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.overview import write_overview

    output = snakemake.output
    write_overview(Path(snakemake.input.table).parent, Path(output.sheet), Path(output.sizes), Path(output.classes))
