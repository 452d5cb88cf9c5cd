from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.pictures.plots.write import write_plots
    from dreambirds.study.plan import make_plan

    results, folder = Path(snakemake.input.dreams).parent, Path(snakemake.output[0]).parent
    write_plots(results, folder, make_plan(snakemake.config))
