from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.overview import write_look

    output = snakemake.output
    write_look(Path(snakemake.input.table).parent, Path(output.sheet), Path(output.sizes), Path(output.classes))
