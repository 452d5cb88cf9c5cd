from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.config.runs import parse_epoch
    from dreambirds.device import choose_device
    from dreambirds.io import from_parameter
    from dreambirds.training.importing import ImportJob, import_checkpoint

    source, params = snakemake.input, snakemake.params
    classes, origin = from_parameter(params.classes)
    import_job = ImportJob(
        name=snakemake.wildcards.run,
        settings=params.settings,
        epoch=parse_epoch(snakemake.wildcards.epoch),
        classes=classes,
        origin=origin,
        dataset=Path(source.table).parent,
        history=next(map(Path, source.history), None),
        to=Path(snakemake.output.model).parent,
    )
    import_checkpoint(import_job, choose_device(snakemake.resources.gpu, snakemake.threads))
