from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.contrasts import Comparison
    from dreambirds.evaluation.tables import JudgeFiles, StudyFacts, measure_dreams
    from dreambirds.gallery.findings import Asked, write_finding
    from dreambirds.io import from_parameter

    source, params = snakemake.input, snakemake.params
    study, question = StudyFacts(**from_parameter(params.study)), from_parameter(params.question)
    question["comparisons"] = [Comparison(**each) for each in question["comparisons"]]
    judges = JudgeFiles(*([Path(file) for file in source[name]] for name in ("judged", "features", "checks")))
    archives, pixels = ([Path(file) for file in source[name]] for name in ("archives", "pixels"))
    write_finding(
        Asked(**question),
        measure_dreams(study, archives, pixels, judges),
        histories=[Path(file) for file in source.histories],
        dataset=Path(source.table).parent,
        files={name: Path(file) for name, file in snakemake.output.items()},
        cell_size=params.cell_size,
        view=params.view,
    )
