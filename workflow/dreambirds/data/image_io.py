"""Open a photograph: decode, orient, crop and resize it."""

import errno
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.image_files import open_file
from dreambirds.shapes import shape_of

TURNED = (5, 6, 7, 8)  # the EXIF orientations that swap height and width

Box = tuple[float, float, float, float]
Shape = tuple[int, int]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # whatever the name; of Pillow's others, some start programs
LONGEST = 64  # times the size asked for: of a picture that is longer when it covers it, only the middle is resized
REASON = 200  # letters of a reason that a decoder gives
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def make_image(picture: Image.Image, shape: Shape, box: Box | None, margin: float) -> tuple[Image.Image, dict]:
    """Return a stored photograph as RGB of (height, width), and facts: its upright `size`, and what is `shown`.

    `box` is x, y, width, height in pixels of the photograph as it is stored, before its EXIF turns it; None shows the
    whole, and so does a box that has no area inside it. `shown` is ``box`` or ``whole``.
    """
    turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
    width, height = picture.size[::-1] if turned else picture.size
    frame = box and frame_box(box, picture.size, margin, shape[::-1] if turned else shape)
    upright = apply_exif(picture.crop(frame) if frame else picture)
    return resize_and_crop(upright, shape), {"size": f"{width}x{height}", "shown": "box" if frame else "whole"}


def frame_box(box: Box, size: tuple[int, int], margin: float, shape: Shape) -> tuple[int, int, int, int] | None:
    """Return left, top, right, bottom of what to show of a picture of (width, height), None if its box misses it.

    It is the smallest frame in the proportions of `shape` (height, width) that holds the box, widened by `margin` of
    its sides all around; for squares a square of max(w, h) * (1 + 2 * margin). It is moved inside where it sticks out,
    and smaller only where the picture is.
    """
    x, y, width, height = box
    inside = min(x + width, size[0]) - max(x, 0), min(y + height, size[1]) - max(y, 0)
    if not all(map(math.isfinite, box)) or min(width, height, *inside) <= 0:
        return None
    proportion, wider = shape[1] / shape[0], 1 + 2 * margin
    tall = max(height * wider, width * wider / proportion)
    tall = min(tall, size[1], size[0] / proportion)
    sides = [max(1, min(round(side), most)) for side, most in zip((tall * proportion, tall), size, strict=True)]
    middle = x + width / 2, y + height / 2
    left, top = (
        min(max(round(center - side / 2), 0), most - side)
        for center, side, most in zip(middle, sides, size, strict=True)
    )
    return left, top, left + sides[0], top + sides[1]


def widen(picture: Image.Image, shape: Shape) -> Image.Image:
    """Return a picture in the middle of one of (height, width), at least as large, its edges drawn out to fill that."""
    (high, across), (width, height) = shape, picture.size
    top, left = (high - height) // 2, (across - width) // 2
    frame = ((top, high - height - top), (left, across - width - left), (0, 0))
    return Image.fromarray(np.pad(np.asarray(picture), frame, mode="edge"))


class UnreadableError(ValueError):
    """A photograph that can't be read as a picture; its message is the reason."""


def read_photograph(source: Path | BinaryIO, name: str = "") -> Image.Image:
    """Return an upright RGB picture, transparency laid on white.

    `source` is a path or an open file, which stays open; `name` is what errors call that. Raises UnreadableError, a
    ValueError, with the reason.
    """
    with decoding_errors(name):
        opened = open_file(source) if isinstance(source, Path) else nullcontext(source)
        with opened as file, decode_image(file) as picture:
            return apply_exif(picture)


@contextmanager
def decoding_errors(name: str = "") -> Iterator[None]:
    """Turn whatever fails inside, since a damaged file makes decoders fail in many ways, into an UnreadableError.

    `name` is put where a decoder speaks of an open file.
    """
    try:
        yield
    except Exception as error:
        raise UnreadableError(_reason(error, name)) from error


@contextmanager
def decode_image(file: BinaryIO) -> Iterator[Image.Image]:
    """Decode an open file from its beginning, as it is stored, maybe lying on its side; to be used within the block."""
    file.seek(0)
    if not file.read(1):
        raise ValueError("the file is empty")
    file.seek(0)
    with Image.open(file, formats=FORMATS) as picture:
        # counted here since Pillow only warns, and filters of warnings are no matter of one thread
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and picture.width * picture.height > limit:
            raise ValueError(f"{picture.width}x{picture.height} are more pixels than {_most_pixels()}")
        picture.load()
        yield picture


def apply_exif(picture: Image.Image) -> Image.Image:
    """Return a stored picture turned as its EXIF says, in RGB."""
    return to_rgb(ImageOps.exif_transpose(picture))


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode in RGB: 16-bit greys are scaled to 8 bits, transparency is laid on white."""
    if picture.mode.startswith("I"):
        picture = picture.point(lambda value: value / 257).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def resize_and_crop(picture: Image.Image, size: int | list[int] | tuple[int, int]) -> Image.Image:
    """Return the picture's centre at a size: resized once, so that it just covers it, and what is over cropped.

    `size` is the side of a square in pixels, or height and width.
    """
    height, width = shape_of(size)
    if picture.size == (width, height):
        return picture
    picture = _middle(picture, height, width)
    if picture.width * height > picture.height * width:
        covering = [height, height * picture.width // picture.height]
    else:
        covering = [width * picture.height // picture.width, width]
    return v2.center_crop(v2.resize(picture, covering, antialias=True), [height, width])


def _middle(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Return the middle of a picture that is far too long, since all of it would be resized before it is cropped."""
    across = min(picture.width, max(1, LONGEST * picture.height * width // height))
    down = min(picture.height, max(1, LONGEST * picture.width * height // width))
    if (across, down) == picture.size:
        return picture
    left, top = (picture.width - across) // 2, (picture.height - down) // 2
    return picture.crop((left, top, left + across, top + down))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Return an RGB picture as uint8 (3, H, W)."""
    return v2.pil_to_tensor(picture)


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture that can be read"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than {_most_pixels()}"
    if isinstance(error, ValueError) and "MAX_TEXT" in str(error):
        return "the text in the file is longer than is safe to read"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if isinstance(error, OSError) and error.filename and error.errno in GONE:
        return "the link leads nowhere" if Path(error.filename).is_symlink() else "the file is gone"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if name:
        said = re.sub(r"<[\w.]+ (object at|name=)[^>]*>", lambda _: repr(name), said)
    return shorten(said, REASON, placeholder=" …") or type(error).__name__


def _most_pixels() -> str:
    return f"{Image.MAX_IMAGE_PIXELS}, the most that is safe to read"
