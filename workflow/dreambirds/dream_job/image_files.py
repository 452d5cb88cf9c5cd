"""Image files of dreams: PNG files with metadata, and GIF animations. Imports no torch."""

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreambirds import __version__
from dreambirds.errors import UserError
from dreambirds.io import atomic_write
from dreambirds.shapes import grid_of

KEY = "dreambirds"
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")
COLORS = 256
DITHER = 14
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
LAST_FRAME_FACTOR = 3  # on the duration of the last frame


@cache
def versions() -> dict[str, str]:
    """Return the versions of this project and of libraries that affect pixels."""
    return {"dreambirds": __version__, **{library: version(library) for library in LIBRARIES}}


def as_text(facts: dict) -> str:
    """Return metadata as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False)


def encode_png(picture: Image.Image, title: str, facts: dict) -> bytes:
    """Return an image as a PNG file with a title and JSON metadata."""
    text, file = PngInfo(), BytesIO()
    text.add_itxt("Title", title)
    text.add_itxt("Software", f"Dreaming of Birds {__version__}")
    text.add_itxt(KEY, as_text(facts))
    picture.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def save_png(picture: Image.Image, path: Path, title: str, facts: dict) -> None:
    """Write a PNG file with a title and JSON metadata; create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_png(picture, title, facts))


def output_name(label: str) -> str:
    """Return the default file name of the dream of a class or a layer."""
    return (re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip("-.") or "dream") + ".png"


def check_output(path: Path) -> Path:
    """Return the path of an image to write. Raises UserError unless it is a PNG file in an existing folder."""
    if path.suffix.lower() != ".png":
        problem = f"must be a .png file, which contains the image's metadata, not '{path}'"
        raise UserError(f"{problem}; choose another name", "output")
    if path.is_dir():
        raise UserError(f"'{path}' is a folder; add the name of a file", "output")
    if not path.absolute().parent.is_dir():
        raise UserError(f"the folder '{path.parent}' does not exist; create it, or choose another", "output")
    return path


def read_facts(file: Path | BinaryIO) -> dict:
    """Return the metadata of a PNG or GIF file of this project, which is a path or an open file.

    Raises KeyError or ValueError if it has none.
    """
    with Image.open(file) as picture:
        picture.load()
        text = picture.text[KEY] if picture.format == "PNG" else picture.info["comment"].decode()
    return json.loads(text)


def count_variants(file: Path | BinaryIO) -> int:
    """Return how many images of one target an image file contains, from its metadata; 1 if it has none."""
    with Image.open(file) as picture:
        text = picture.info.get(KEY)
    with suppress(ValueError, LookupError, TypeError):
        return int(json.loads(text)["parameters"]["variants"])
    return 1


def tiles(sheet: Image.Image, variants: int) -> list[Image.Image]:
    """Return the images of a sheet of `variants` images, in their order, without blank cells."""
    rows, columns = grid_of(variants)
    height, width = sheet.height // rows, sheet.width // columns
    corners = [(number % columns * width, number // columns * height) for number in range(variants)]
    return [sheet.crop((left, top, left + width, top + height)) for left, top in corners]


def encode_gif(frames: Sequence[Image.Image], seconds_per_frame: float, comment: str, hold: bool = True) -> bytes:
    """Return frames as a GIF file that loops forever and, with `hold`, shows its last frame longer.

    All frames share one palette and one dither pattern, so still regions do not flicker.
    """
    import imageio.v3 as imageio  # takes long, and most jobs write no animation

    shared = _shared_palette(frames)
    indices = [np.asarray(_dither(frame).quantize(palette=shared, dither=Image.Dither.NONE)) for frame in frames]
    duration = [round(1000 * seconds_per_frame)] * len(frames)
    duration[-1] *= LAST_FRAME_FACTOR if hold else 1
    duration = duration if len(frames) > 1 else duration[0]
    content: bytes = imageio.imwrite(
        "<bytes>",  # with an open file, a full disk would raise an error only when the file is garbage-collected
        np.stack(indices),
        plugin="pillow",
        extension=".gif",
        mode="P",
        palette=bytes(shared.getpalette()),
        duration=duration,
        loop=0,
        optimize=False,
        comment=comment.encode(),
    )
    return content


def save_gif(
    frames: Sequence[Image.Image], path: Path, seconds_per_frame: float, comment: str, hold: bool = True
) -> None:
    """Write frames as a GIF file, as `encode_gif` returns it; create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_gif(frames, seconds_per_frame, comment, hold))


def _dither(frame: Image.Image) -> Image.Image:
    """Add a fixed 4 x 4 pixel pattern: ordered dithering (Bayer 1973)."""
    pattern = np.tile(BAYER, (math.ceil(frame.height / 4), math.ceil(frame.width / 4)))[: frame.height, : frame.width]
    shifted = np.asarray(frame) + DITHER * ((pattern[..., None] + 0.5) / 16 - 0.5)
    return Image.fromarray(shifted.round().clip(0, 255).astype(np.uint8))


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
    strip = Image.new("RGB", (frames[0].width, frames[0].height * len(frames)))
    for number, frame in enumerate(frames):
        strip.paste(frame, (0, number * frame.height))
    return strip.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
