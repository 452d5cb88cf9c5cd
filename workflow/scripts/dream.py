from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.tables import start_photographs
    from dreambirds.device import choose_device
    from dreambirds.dream_job.context import DreamJob
    from dreambirds.dream_job.run import run_dream_job
    from dreambirds.dream_job.start_dreams import start_dreams
    from dreambirds.io import from_parameter
    from dreambirds.models.checkpoint import check_metadata, read_metadata

    source, params = snakemake.input, snakemake.params
    checkpoint, names = Path(source.weights), from_parameter(params.names)
    committee = tuple(map(Path, source.committee))
    for path, expected in zip((checkpoint, *committee), (params.checkpoint, *params.committee), strict=True):
        check_metadata(path, read_metadata(path), **expected)
    dream_job = DreamJob(
        checkpoint=checkpoint,
        recipe=snakemake.wildcards.recipe,
        parameters=params.parameters,
        names=names,
        photographs=start_photographs(source.photographs, names),
        statistics=next(map(Path, source.statistics), None),
        references=next((Path(table).parent for table in source.references), None),
        reference_labels=from_parameter(params.reference_labels),
        bytes_free=params.bytes_free,
        code=params.code,
        committee=committee,
        targets=from_parameter(params.targets),
        start_dreams=start_dreams(source.start_dreams, params.start_dream, names),
    )
    device = choose_device(snakemake.resources.gpu, snakemake.threads)
    run_dream_job(dream_job, device, Path(snakemake.output.archive), lay=params.folder)
