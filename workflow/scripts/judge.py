from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.device import choose_device
    from dreambirds.evaluation.evaluate import JudgeJob, write_judgement
    from dreambirds.plan.plan import make_plan

    source, output = snakemake.input, snakemake.output
    case = JudgeJob(
        judge=snakemake.wildcards.judge,
        weights=Path(source.weights),
        names=[Path(file) for file in source.names],
        dataset=Path(source.table).parent,
        code=snakemake.params.code,
    )
    device = choose_device(snakemake.resources.gpu, snakemake.threads)
    write_judgement(make_plan(snakemake.config), case, device, Path(output.judged), Path(output.check))
