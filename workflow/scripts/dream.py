from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.device import choose_device
    from dreambirds.dream_job.context import Job
    from dreambirds.dream_job.run import dream_all
    from dreambirds.models.checkpoint import check_card, read_card
    from dreambirds.plan.checkpoints import card_of
    from dreambirds.plan.inputs import note, start_photographs
    from dreambirds.plan.memory import granted
    from dreambirds.plan.paths import job_folder
    from dreambirds.plan.plan import make_plan
    from dreambirds.plan.targets import steps_of

    plan, params, known = make_plan(snakemake.config), snakemake.params, dict(snakemake.wildcards.items())
    recipe, index = params.get("recipe") or known["recipe"], snakemake.output.get("index")
    checkpoint = Path(snakemake.input.weights)
    check_card(checkpoint, read_card(checkpoint), **card_of(plan, known["run"], known["epoch"]))
    wanted = Job(
        checkpoint=checkpoint,
        recipe=recipe,
        parameters=plan.recipes[recipe],
        names=plan.parts[params.part] if index else {known["label"]: plan.names[known["label"]]},
        photographs=start_photographs(plan, recipe),
        statistics=next(map(Path, snakemake.input.statistics), None),
        folder=Path(job_folder(plan.study, known["run"], known["epoch"], recipe)),
        bytes_free=granted(plan, known["run"], recipe, snakemake.resources.mem_mb),
        code=params.code,
        only=None if index else steps_of(plan, **known),
    )
    dream_all(wanted, choose_device(snakemake.resources.gpu, snakemake.threads), index and Path(index))
    if index:
        note(wanted.folder, params.part, params.asked, list(wanted.names))
