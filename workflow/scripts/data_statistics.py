from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.pictures.statistics import write_statistics

    write_statistics(Path(snakemake.input.table).parent, int(snakemake.wildcards.size), Path(snakemake.output[0]))
