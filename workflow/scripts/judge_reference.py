from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.labels import Label
    from dreambirds.data.tables import write_table
    from dreambirds.device import choose_device
    from dreambirds.evaluation.judge import load_judge, weights_of
    from dreambirds.evaluation.reference import check_row, evaluate_on_real, write_reference
    from dreambirds.io import from_parameter, sha256_of

    source, params, output = snakemake.input, snakemake.params, snakemake.output
    labels = [Label(*names) for names in from_parameter(params.labels)]
    weights = weights_of(params.judge, source.weights)
    device = choose_device(snakemake.resources.gpu, snakemake.threads)
    judge = load_judge(snakemake.wildcards.judge, params.judge, weights, labels, device)
    real = evaluate_on_real(judge, Path(source.table).parent)
    row = check_row(judge, real, params.kind, [label.label for label in labels], sha256_of(weights))
    write_table(row, Path(output.sanity), "%.6g")
    write_table(real.nearest, Path(output.held_out), "%.6g")
    write_reference(real, Path(output.real))
