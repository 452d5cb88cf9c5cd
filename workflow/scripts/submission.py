from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.device import choose_device
    from dreambirds.training.submission import write_submission

    write_submission(
        checkpoint=Path(snakemake.input.weights),
        dataset=snakemake.params.dataset,
        path=Path(snakemake.output[0]),
        device=choose_device(snakemake.resources.gpu, snakemake.threads),
        threads=snakemake.threads,
    )
