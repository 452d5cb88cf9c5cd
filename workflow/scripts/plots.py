from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.figures.plots import write_plots
    from dreambirds.plan.plan import make_plan

    results, folder = Path(snakemake.input.dreams).parent, Path(snakemake.output[0]).parent
    write_plots(results, folder, make_plan(snakemake.config))
