"""Photographs that spoil a study: made byte by byte, small on disk; and a way to prepare them in a process apart."""

import io
import json
import logging
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dreambirds.data.tables import read_images

HEIGHT, WIDTH = 32, 48
SECONDS = 120  # that a process apart may take


def scene() -> np.ndarray:
    """Return a picture, uint8 (H, W, 3), that looks different from every side, and that JPEG keeps well."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([40 + 4 * across, 220 - 5 * down, 30 + 2 * across + 2 * down], axis=-1).astype(np.uint8)


def encoded(picture: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """Return a picture, or its pixels, as a file of a kind, such as ``JPEG``."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, contents: bytes) -> bytes:
    """Return a PNG's chunk."""
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(size: tuple[int, int], depth: int, color: int, packed: bytes, *chunks: bytes) -> bytes:
    """Return a PNG of (width, height), bits a channel, a colour type, packed rows, and chunks before them."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """Return so many zeros, packed a piece at a time."""
    packer, piece = zlib.compressobj(9), bytes(1 << 20)
    packed = [packer.compress(piece[: min(count - start, 1 << 20)]) for start in range(0, count, 1 << 20)]
    return b"".join([*packed, packer.flush()])


def sixteen_bits(pixels: np.ndarray) -> bytes:
    """Return uint16 (H, W, 3) as a PNG, which Pillow could not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1::-1], 16, 2, zlib.compress(rows))


def claiming(jpeg: bytes, height: int, width: int) -> bytes:
    """Return a JPEG whose header claims another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def assert_plain(said: str) -> None:
    """Check that a log has no line but whole sentences, and nothing that moves a terminal."""
    assert all(letter.isprintable() for line in said.splitlines() for letter in line)
    assert "Traceback" not in said and "<_io" not in said and "Warning:" not in said


def problems(out: Path) -> dict[str, str]:
    """Return the reasons in a prepared folder's table, by the names of the files; each row must be a line."""
    table = read_images(out)
    assert len((out / "images.csv").read_text().splitlines()) == len(table) + 1
    return {source.rpartition("/")[2]: reason for source, reason in table[["source", "error"]].to_numpy() if reason}


@dataclass
class Apart:
    """What a process apart said, and by how many MiB its memory grew beyond what it was before it prepared."""

    said: str
    grown: int


def prepare_apart(dataset: dict, folder: Path, by: tuple[str, ...] = (), **env: str) -> Apart:
    """Prepare a data set into `folder` in a process of its own, started `by` another command if there is one.

    Fails if that takes too long, or ends in anything but success or a UserError, whose sentence is then what it said.
    """
    told = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    words, env = [__file__, json.dumps(dataset), str(folder)], {**os.environ, **told, **env}
    if by:
        quiet = {"capture_output": True, "text": True, "timeout": SECONDS}
        result = subprocess.run([*by, sys.executable, *words], env=env, cwd=folder, check=False, **quiet)
    else:
        from tests.helpers.forks import run_python  # a process apart runs this file alone

        result = run_python(words, folder, env, apart=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    return Apart(result.stderr, int(result.stdout))


def peak() -> int:
    """Return the most memory that this process has had, in MiB."""
    told = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return int(told.split()[0]) // 1024


def main(dataset: str, folder: str) -> None:
    """Prepare, with the log on standard error, and the growth of memory on standard output."""
    from dreambirds.data.prepare import prepare
    from dreambirds.data.sources.catalog import list_labels
    from dreambirds.errors import UserError

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.captureWarnings(True)
    section, before = json.loads(dataset), peak()
    try:
        prepare(section, list_labels(section), Path(folder), Path(folder) / "store")
    except UserError as error:
        logging.error("%s", error)
    sys.stdout.write(str(peak() - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
