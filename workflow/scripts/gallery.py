from pathlib import Path

from job import job

with job(snakemake):
    from dreambirds.gallery.data import GalleryStudy
    from dreambirds.gallery.gallery import write_gallery
    from dreambirds.io import from_parameter

    source = snakemake.input
    write_gallery(
        GalleryStudy(**from_parameter(snakemake.params.study)),
        results=Path(source.dreams).parent,
        dataset=Path(source.table).parent,
        folder=Path(snakemake.output.page).parent,
    )
