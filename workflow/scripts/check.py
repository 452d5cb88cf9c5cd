from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.io import from_parameter
    from dreambirds.plan.measurements import is_measured, write_measured
    from dreambirds.plan.plan import make_plan

    plan = make_plan(from_parameter(snakemake.params.config))
    if not is_measured(plan):
        from dreambirds.startup.memory_profile import check_models  # imports torch

        check_models(plan)
    write_measured(plan, Path(snakemake.output.measured))
    Path(snakemake.output.done).touch()
