from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.labels import Label
    from dreambirds.data.tables import write_table
    from dreambirds.device import choose_device
    from dreambirds.evaluation.columns import list_views, read_dreams
    from dreambirds.evaluation.dream_frame import dream_frame
    from dreambirds.evaluation.evaluate import JudgeJob, judge_dreams, load_context, write_sanity
    from dreambirds.io import from_parameter
    from dreambirds.plan.dream_table import list_dreams

    source, params = snakemake.input, snakemake.params
    judge = JudgeJob(
        name=snakemake.wildcards.judge,
        kind=params.kind,
        section=params.judge,
        weights=Path(source.weights),
        names=[Path(file) for file in source.names],
        labels=[Label(*names) for names in from_parameter(params.labels)],
        dataset=Path(source.table).parent,
        code=params.code,
    )
    context = load_context(judge, choose_device(snakemake.resources.gpu, snakemake.threads))
    folder = judge.dataset.with_name("dreams")
    dreams = dream_frame(list_dreams(params.epochs, params.steps, params.dreamt))
    views = list_views(read_dreams(dreams, folder, params.parts), folder, params.families)
    write_table(judge_dreams(context, views), Path(snakemake.output.judged), "%.6g")
    write_sanity(judge, context, Path(snakemake.output.check))
