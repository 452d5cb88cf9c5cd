from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.shapes import from_word
    from dreambirds.pictures.statistics import write_statistics

    shape = from_word(snakemake.wildcards.size)
    write_statistics(Path(snakemake.input.table).parent, shape, Path(snakemake.output[0]))
