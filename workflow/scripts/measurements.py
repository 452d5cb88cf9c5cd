from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.tables import JudgeFiles, StudyFacts, measure_dreams, write_tables
    from dreambirds.io import from_parameter

    source, study = snakemake.input, StudyFacts(**from_parameter(snakemake.params.study))
    judges = JudgeFiles(*([Path(file) for file in source[name]] for name in ("judged", "features", "checks")))
    archives, pixels = ([Path(file) for file in source[name]] for name in ("archives", "pixels"))
    write_tables(
        measure_dreams(study, archives, pixels, judges),
        study.models,
        checkpoints=list(zip(map(Path, source.weights), map(Path, source.histories), strict=True)),
        paths={name: Path(file) for name, file in snakemake.output.items()},
    )
