from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.evaluation.columns import read_dreams_and_runs
    from dreambirds.evaluation.dream_frame import dream_frame
    from dreambirds.figures.plots import write_plots
    from dreambirds.plan.dream_table import list_dreams

    params, results = snakemake.params, Path(snakemake.input.dreams).parent
    planned = dream_frame(list_dreams(params.epochs, params.steps, params.labels))
    dreams, runs = read_dreams_and_runs(results, planned)
    write_plots(results, Path(snakemake.output[0]).parent, dreams, runs)
