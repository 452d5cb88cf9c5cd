from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.tables import StudyFacts, measure_dreams, write_tables
    from dreambirds.io import from_parameter
    from dreambirds.plan.dream_table import dream_table

    params, study = snakemake.params, from_parameter(snakemake.params.study)
    results = Path(snakemake.output.dreams).parent
    measured = measure_dreams(
        dream_table(params.epochs, params.steps, study["names"]),
        StudyFacts(**study),
        results=results,
        parts=params.parts,
        judged=[Path(file) for file in snakemake.input.judged],
        checks=[Path(file) for file in snakemake.input.checks],
        code=params.code,
    )
    write_tables(measured, study["models"], results, {name: Path(file) for name, file in snakemake.output.items()})
