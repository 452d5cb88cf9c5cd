from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.columns import read_dreams_and_runs
    from dreambirds.figures.plots import write_plots

    source, expected = snakemake.input, read_dreams(snakemake.input.archives)
    dreams, runs = read_dreams_and_runs(Path(source.dreams), Path(source.runs), expected)
    archives = expected.set_index(["run", "epoch", "recipe", "label"])["archive"].to_dict()
    write_plots(Path(snakemake.output[0]).parent, dreams, runs, archives)
