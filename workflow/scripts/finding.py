from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.contrasts import Comparison
    from dreambirds.gallery.findings import write_finding
    from dreambirds.io import from_parameter

    study = from_parameter(snakemake.params.study)
    write_finding(
        **{**study, "comparisons": [Comparison(**each) for each in study["comparisons"]]},
        archives=[Path(file) for file in snakemake.input.archives],
        results=Path(snakemake.input.dreams).parent,
        folder=Path(snakemake.output.page).parent,
    )
