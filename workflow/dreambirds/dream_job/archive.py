"""The archive of a dream job: a zip file, not compressed, with everything that the job created.

It contains, for each label, ``LABEL/step-0200.png``, ``LABEL/step-0200-rescaled.png``, ``LABEL/trace.csv`` and
``LABEL/film.gif``, and the table ``dreams.csv``, whose rows contain the run, epoch and recipe. So a job that reads
archives needs no other description of the dreams. Imports no torch.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from dreambirds.config.runs import parse_epoch
from dreambirds.data.images import decode_image, read_image
from dreambirds.dream_job.image_files import count_variants, tiles
from dreambirds.errors import REBUILD, UserError, reading, reason_of
from dreambirds.io import atomic_write, link_or_copy
from dreambirds.plan.dream_table import DREAM

INDEX = "dreams.csv"
ALWAYS = (1980, 1, 1, 0, 0, 0)  # the time of each file in an archive, so equal contents give equal bytes
MOST_OPEN = 16
TEXT = (
    "run",
    "epoch",
    "recipe",
    "label",
    "prediction",
    "reference_label",
    "raw_sha256",
    "rescaled_sha256",
)  # the other columns are numbers
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError)


class Picture(NamedTuple):
    """A file of an archive: an image, a trace or a film."""

    archive: Path
    name: str


def write_archive(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files, by name, into an archive, in their order. Writes atomically."""
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, ALWAYS)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def lay_files(archive: Path, stored: Mapping[str, Path]) -> None:
    """Put the images, traces and films of an archive into its folder, where people can open them.

    `stored` maps their names to equal files of the store: these are linked, if the disk allows it. Others are copied.
    """
    for name in list_files(archive):
        if name == INDEX:
            continue
        path = archive.parent / name
        path.parent.mkdir(exist_ok=True)
        try:
            link_or_copy(stored[name], path)
        except (KeyError, FileNotFoundError):  # it is not in the store, or no longer
            extract(Picture(archive, name), path)


def extract(picture: Picture, path: Path) -> None:
    """Write a file of an archive to a path. Writes atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(read_picture(picture))


def read_picture(picture: Picture) -> bytes:
    """Return the content of a file of an archive.

    Raises UserError if the archive cannot be read, is corrupt or does not contain the file.
    """
    with _reading(picture.archive) as archive:
        return archive.read(picture.name)


def contains(picture: Picture) -> bool:
    """Return whether an archive contains a file. Raises UserError if it cannot be read or is corrupt."""
    with _reading(picture.archive) as archive:
        return picture.name in archive.NameToInfo


def list_files(path: Path) -> list[str]:
    """Return the names of the files of an archive, in their order."""
    with _reading(path) as archive:
        return archive.namelist()


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield an open archive, which stays open for later calls; raise UserError for any failure to read it."""
    with reading(path, REBUILD, DAMAGED):
        status = path.stat()
        yield _open(path, status.st_mtime_ns, status.st_size)


@lru_cache(MOST_OPEN)
def _open(path: Path, time: int, size: int) -> zipfile.ZipFile:
    """Open an archive; `time` and `size` identify its version."""
    return zipfile.ZipFile(path)


def read_index(path: Path) -> pd.DataFrame:
    """Return the table of an archive: one row per dream, with the columns of `DREAM` first.

    Raises UserError if the archive or its table is corrupt.
    """
    content = read_picture(Picture(path, INDEX))
    header = content.partition(b"\n")[0].decode(errors="replace").split(",")
    empty = {column: [""] for column in header if column not in TEXT}  # a class may be called NA
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=empty)
        table["epoch"] = pd.Series([parse_epoch(epoch) for epoch in table["epoch"]], dtype=object)
        if table[DREAM].empty:
            raise ValueError("it contains no rows")
    except (ValueError, KeyError) as error:
        raise UserError(f"'{path}' is corrupt ({INDEX}: {reason_of(error)}); {REBUILD}") from error
    return table


def read_dreams(archives: Iterable[Path | str]) -> pd.DataFrame:
    """Return the tables of archives, one after the other, with the path of each dream's ``archive``.

    Epochs are integers, unless one of them is a fraction.
    """
    tables = pd.concat([read_index(Path(path)).assign(archive=str(path)) for path in archives], ignore_index=True)
    whole = all(isinstance(epoch, int) for epoch in tables["epoch"])
    return tables.astype({"epoch": int}) if whole else tables


def open_image(source: Picture | Path) -> Image.Image:
    """Return an image of an archive, or a prepared image of the data set, as RGB.

    Raises UserError if it cannot be read.
    """
    if isinstance(source, Path):
        return read_image(source)
    where = f"{source.archive}/{source.name}"
    return decode_image(io.BytesIO(read_picture(source)), where)


def open_images(source: Picture | Path, end: str = REBUILD) -> list[Image.Image]:
    """Return the images of a dream as RGB: one, or the variants of its target, which its file shows as a sheet.

    `source` is in an archive, or the path of a file. Raises UserError, which ends with `end`, if it cannot be read.
    """
    if isinstance(source, Path):
        with reading(source, end, DAMAGED):
            content = source.read_bytes()
    else:
        content = read_picture(source)
    name = str(source) if isinstance(source, Path) else f"{source.archive}/{source.name}"
    sheet = decode_image(io.BytesIO(content), name, end)
    return tiles(sheet, count_variants(io.BytesIO(content)))


def find_picture(path: Path) -> Picture | None:
    """Return the image of a study's table, ``…/RECIPE/LABEL/step-0200.png``, in an archive; None if there is none."""
    name = "/".join(path.parts[-2:])
    pictures = (Picture(archive, name) for archive in sorted(path.parents[1].glob("dreams*.zip")))
    return next((picture for picture in pictures if contains(picture)), None)
