from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.dream_job.archive import read_dreams
    from dreambirds.evaluation.columns import read_dreams_and_runs
    from dreambirds.gallery.data import GalleryStudy
    from dreambirds.gallery.gallery import write_gallery
    from dreambirds.io import from_parameter

    source, archived = snakemake.input, read_dreams(snakemake.input.archives)
    dreams, runs = read_dreams_and_runs(Path(source.dreams), Path(source.runs), archived)
    write_gallery(
        GalleryStudy(**from_parameter(snakemake.params.study)),
        archived,
        dreams,
        runs,
        dataset=Path(source.table).parent,
        excitation=[Path(table) for table in source.excitation],
        folder=Path(snakemake.output.page).parent,
    )
