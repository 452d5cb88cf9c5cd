from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.provenance import provenance
    from dreambirds.config.resolved import write_resolved_config
    from dreambirds.io import digest_of, from_parameter

    params = snakemake.params
    facts = provenance(params.versions, digest_of(params.stages)[:16])
    write_resolved_config(from_parameter(params.config), facts, Path(snakemake.output[0]))
