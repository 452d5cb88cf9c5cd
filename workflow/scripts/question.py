from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.contrasts import Comparison
    from dreambirds.evaluation.tables import StudyFacts, measure_dreams
    from dreambirds.gallery.findings import Asked, write_finding
    from dreambirds.io import from_parameter
    from dreambirds.plan.dream_table import dream_table

    source, params, study = snakemake.input, snakemake.params, from_parameter(snakemake.params.study)
    question = from_parameter(params.question)
    question["comparisons"] = [Comparison(**each) for each in question["comparisons"]]
    asked = Asked(**question)
    dataset = Path(source.table).parent
    steps = {recipe: keys["steps"] for recipe, keys in asked.recipes.items()}
    measured = measure_dreams(
        dream_table(asked.epochs, steps, asked.names),
        StudyFacts(**study),
        results=dataset.parent,
        parts=params.parts,
        judged=[Path(file) for file in source.judged],
        checks=[Path(file) for file in source.checks],
        code=params.measurements_code,
    )
    write_finding(
        asked,
        measured,
        histories=[Path(file) for file in source.histories],
        dataset=dataset,
        files={name: Path(file) for name, file in snakemake.output.items()},
        cell_size=params.cell_size,
        view=params.view,
    )
