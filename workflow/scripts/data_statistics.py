from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.dream_job.statistics import write_statistics
    from dreambirds.shapes import parse_shape

    shape = parse_shape(snakemake.wildcards.size)
    write_statistics(Path(snakemake.input.table).parent, shape, Path(snakemake.output[0]))
