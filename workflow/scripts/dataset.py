from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.prepare import prepare
    from dreambirds.plan.inputs import remember_photographs
    from dreambirds.plan.plan import make_plan

    plan = make_plan(snakemake.config)
    folder = Path(snakemake.output.table).parent
    prepare(plan.config["dataset"], plan.labels, folder, threads=snakemake.threads)
    remember_photographs(plan)
