from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.tables import JudgeFiles, StudyFacts, write_tables
    from dreambirds.io import from_parameter

    source = snakemake.input
    write_tables(
        StudyFacts(**from_parameter(snakemake.params.study)),
        archives=[Path(file) for file in source.archives],
        judges=JudgeFiles(*([Path(file) for file in source[name]] for name in ("judged", "features", "checks"))),
        checkpoints=[
            (Path(model), Path(history)) for model, history in zip(source.weights, source.histories, strict=True)
        ],
        dataset=Path(source.table).parent,
        code=snakemake.params.code,
        paths={name: Path(file) for name, file in snakemake.output.items()},
    )
