from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.data.tables import write_table
    from dreambirds.device import choose_device
    from dreambirds.evaluation.excitation import list_exciting
    from dreambirds.io import from_parameter
    from dreambirds.models.checkpoint import load_checkpoint

    source = snakemake.input
    device = choose_device(snakemake.resources.gpu, snakemake.threads)
    targets, dataset = from_parameter(snakemake.params.targets), Path(source.table).parent
    table = list_exciting(*load_checkpoint(source.weights), targets, dataset, device)
    write_table(table, Path(snakemake.output[0]), "%.6g")
