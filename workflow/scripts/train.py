from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.device import choose_device
    from dreambirds.training.segment import Files, train_segment

    source, output = snakemake.input, snakemake.output
    before = source.get("before") and Files(Path(source.before), Path(source.before_state), Path())
    train_segment(
        name=snakemake.wildcards.run,
        run=snakemake.params.settings,
        dataset=Path(source.table).parent,
        epoch=int(snakemake.wildcards.epoch),
        before=before,
        to=Files(Path(output.weights), Path(output.state), Path(output.history)),
        device=choose_device(snakemake.resources.gpu, snakemake.threads),
    )
