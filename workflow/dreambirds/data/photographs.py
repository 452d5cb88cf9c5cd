"""Read photographs of any size and mode, make them upright RGB of one size, and say why where that fails."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO

import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.opening import open_file
from dreambirds.data.shapes import shape_of

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # whatever the name; of Pillow's others, some start programs
LONGEST = 64  # times the size asked for: of a picture that is longer when it covers it, only the middle is resized
REASON = 200  # letters of a reason that a decoder gives
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class UnreadableError(ValueError):
    """A photograph that can't be read as a picture; its message is the reason."""


def read_photograph(source: Path | BinaryIO, name: str = "") -> Image.Image:
    """Return an upright RGB picture, transparency laid on white.

    `source` is a path or an open file, which stays open; `name` is what errors call that. Raises UnreadableError, a
    ValueError, with the reason.
    """
    with reasons(name):
        opened = open_file(source) if isinstance(source, Path) else nullcontext(source)
        with opened as file, stored(file) as picture:
            return upright(picture)


@contextmanager
def reasons(name: str = "") -> Iterator[None]:
    """Turn whatever fails inside, since a damaged file makes decoders fail in many ways, into an UnreadableError.

    `name` is put where a decoder speaks of an open file.
    """
    try:
        yield
    except Exception as error:
        raise UnreadableError(_reason(error, name)) from error


@contextmanager
def stored(file: BinaryIO) -> Iterator[Image.Image]:
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


def upright(picture: Image.Image) -> Image.Image:
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


def fit(picture: Image.Image, size: int | list[int] | tuple[int, int]) -> Image.Image:
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
