from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.columns import read_dreams_and_runs
    from dreambirds.figures.plots import write_plots
    from dreambirds.plan.dream_table import dream_table

    params, results = snakemake.params, Path(snakemake.input.dreams).parent
    dreams, runs = read_dreams_and_runs(results, dream_table(params.epochs, params.steps, params.labels))
    write_plots(results, Path(snakemake.output[0]).parent, dreams, runs)
