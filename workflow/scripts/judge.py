from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.labels import Label
    from dreambirds.data.tables import write_table
    from dreambirds.device import choose_device
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.agreement import write_features
    from dreambirds.evaluation.columns import list_views
    from dreambirds.evaluation.evaluate import JudgeJob, judge_dreams
    from dreambirds.evaluation.judge import load_judge, memory_for_images, weights_of
    from dreambirds.evaluation.reference import read_reference
    from dreambirds.io import from_parameter

    source, params, output = snakemake.input, snakemake.params, snakemake.output
    judge_job = JudgeJob(
        name=snakemake.wildcards.judge,
        section=params.judge,
        weights=weights_of(params.judge, source.weights),
        described=[Path(file) for file in source.described],
        labels=[Label(*names) for names in from_parameter(params.labels)],
        code=params.code,
    )
    device = choose_device(snakemake.resources.gpu, snakemake.threads)
    judge = load_judge(judge_job.name, judge_job.section, judge_job.weights, judge_job.labels, device)
    real = read_reference(Path(source.real), Path(source.held_out))
    batch = judge.batch(memory_for_images(snakemake.resources.mem_mb, judge_job.weights))
    dreams = list_views(read_dreams([source.dreams]))
    table, features = judge_dreams(judge, real, dreams, judge_job.cache_facts(real), batch, params.compared)
    write_features(features, Path(output.features))
    write_table(table, Path(output.judged), "%.6g")
