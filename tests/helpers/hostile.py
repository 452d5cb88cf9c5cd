"""Harmful photographs, built byte by byte and small on disk, and a way to prepare them in a separate process."""

import io
import json
import logging
import os
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from dreambirds.data.tables import read_images

HEIGHT, WIDTH = 32, 48
SECONDS = 120  # timeout of the separate process


def scene() -> np.ndarray:
    """Return an image, uint8 (H, W, 3), without symmetries, and that JPEG compresses with little loss."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([40 + 4 * across, 220 - 5 * down, 30 + 2 * across + 2 * down], axis=-1).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """Return an image, or its pixels, as a file of a format such as ``JPEG``."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, contents: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(size: tuple[int, int], depth: int, color: int, packed: bytes, *chunks: bytes) -> bytes:
    """Return a PNG of (width, height), bits per channel, color type, compressed rows, and chunks before them."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@cache
def zeros(count: int) -> bytes:
    """Return `count` zeros, compressed in chunks."""
    packer, piece = zlib.compressobj(9), bytes(1 << 20)
    packed = [packer.compress(piece[: min(count - start, 1 << 20)]) for start in range(0, count, 1 << 20)]
    return b"".join([*packed, packer.flush()])


def sixteen_bits(pixels: np.ndarray) -> bytes:
    """Return uint16 (H, W, 3) as a PNG, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1::-1], 16, 2, zlib.compress(rows))


def claiming(jpeg: bytes, height: int, width: int) -> bytes:
    """Return a JPEG whose header records another size."""
    offset = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:offset] + struct.pack(">HH", height, width) + jpeg[offset + 4 :]


def assert_plain(output: str) -> None:
    """Assert that a log contains no traceback, no warning of a library, and no terminal codes."""
    assert all(character.isprintable() for line in output.splitlines() for character in line)
    assert "Traceback" not in output and "<_io" not in output and not re.search(r"\wWarning:", output)


def problems(out: Path) -> dict[str, str]:
    """Return the reasons in a prepared folder's table, by file name; assert that each row is one line."""
    table = read_images(out)
    assert len((out / "images.csv").read_text(encoding="utf-8").splitlines()) == len(table) + 1
    return {source.rpartition("/")[2]: reason for source, reason in table[["source", "error"]].to_numpy() if reason}


@dataclass
class Outcome:
    """The output of a separate process, and the growth of its memory in MiB while it prepared images."""

    output: str
    growth: int


def prepare_separately(dataset: dict, folder: Path, by: tuple[str, ...] = (), **env: str) -> Outcome:
    """Prepare a data set into `folder` in a separate process, started with the command `by` if given.

    Fails on a timeout, and on any error but a UserError, whose message is then in the output.
    """
    defaults = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    arguments, env = [__file__, json.dumps(dataset), str(folder)], {**os.environ, **defaults, **env}
    if by:
        quiet = {"capture_output": True, "text": True, "timeout": SECONDS}
        result = subprocess.run([*by, sys.executable, *arguments], env=env, cwd=folder, check=False, **quiet)
    else:
        from tests.helpers.forks import run_python  # the separate process runs only this file

        result = run_python(arguments, folder, env, separate=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    return Outcome(result.stderr, int(result.stdout))


def peak() -> int:
    """Return the peak memory of this process, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2]
    return int(status.split()[0]) // 1024


def main(dataset: str, folder: str) -> None:
    """Prepare a data set; log to standard error, and print the growth of memory to standard output."""
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
