from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.device import choose_device
    from dreambirds.dream_job.context import DreamJob
    from dreambirds.dream_job.run import run_dream_job
    from dreambirds.models.checkpoint import check_metadata, read_metadata
    from dreambirds.plan.checkpoints import expected_metadata
    from dreambirds.plan.inputs import record_request, start_photographs
    from dreambirds.plan.memory import memory_budget
    from dreambirds.plan.paths import job_folder
    from dreambirds.plan.plan import make_plan
    from dreambirds.plan.targets import steps_of

    plan, params, known = make_plan(snakemake.config), snakemake.params, dict(snakemake.wildcards.items())
    recipe, index = params.get("recipe") or known["recipe"], snakemake.output.get("index")
    checkpoint = Path(snakemake.input.weights)
    check_metadata(checkpoint, read_metadata(checkpoint), **expected_metadata(plan, known["run"], known["epoch"]))
    wanted = DreamJob(
        checkpoint=checkpoint,
        recipe=recipe,
        parameters=plan.recipes[recipe],
        names=plan.parts[params.part] if index else {known["label"]: plan.names[known["label"]]},
        photographs=start_photographs(plan, recipe),
        statistics=next(map(Path, snakemake.input.statistics), None),
        folder=Path(job_folder(plan.study, known["run"], known["epoch"], recipe)),
        bytes_free=memory_budget(plan, known["run"], recipe, snakemake.resources.mem_mb),
        code=params.code,
        only=None if index else steps_of(plan, **known),
    )
    run_dream_job(wanted, choose_device(snakemake.resources.gpu, snakemake.threads), index and Path(index))
    if index:
        record_request(wanted.folder, params.part, params.asked, list(wanted.names))
