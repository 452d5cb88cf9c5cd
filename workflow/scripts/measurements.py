from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.dream_frame import dream_frame
    from dreambirds.evaluation.tables import StudyFacts, write_tables
    from dreambirds.io import from_parameter
    from dreambirds.plan.dream_table import list_dreams

    params, study = snakemake.params, from_parameter(snakemake.params.study)
    write_tables(
        dream_frame(list_dreams(params.epochs, params.steps, study["names"])),
        StudyFacts(**study),
        results=Path(snakemake.output.dreams).parent,
        parts=params.parts,
        judged=[Path(file) for file in snakemake.input.judged],
        checks=[Path(file) for file in snakemake.input.checks],
        code=params.code,
        paths={name: Path(file) for name, file in snakemake.output.items()},
    )
