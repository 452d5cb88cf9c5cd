from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.device import choose_device
    from dreambirds.pictures.dreams import Job, dream_all
    from dreambirds.study.paths import job_folder
    from dreambirds.study.plan import make_plan
    from dreambirds.study.sources import start_photographs

    plan, recipe = make_plan(snakemake.config), snakemake.params.recipe
    wanted = Job(
        checkpoint=Path(snakemake.input.weights),
        recipe=recipe,
        parameters=plan.recipes[recipe],
        names=plan.names,
        photographs=start_photographs(plan, recipe),
        statistics=next(map(Path, snakemake.input.statistics), None),
        folder=Path(job_folder(plan.study, snakemake.wildcards.run, snakemake.wildcards.epoch, recipe)),
        bytes_free=snakemake.resources.mem_mb * 10**6,
    )
    dream_all(wanted, choose_device(snakemake.resources.gpu, snakemake.threads))
