from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.gallery.findings import write_findings

    write_findings(
        snakemake.config["study"],
        [Path(table) for table in snakemake.input.tables],
        page=Path(snakemake.output.page),
        table=Path(snakemake.output.table),
    )
