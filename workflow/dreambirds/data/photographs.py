"""Read photographs of any size and mode, make them upright RGB of one size, and say why where that fails."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.shapes import shape_of


class UnreadableError(ValueError):
    """A photograph that can't be read as a picture; its message is the reason."""


def read_photograph(source: Path | BinaryIO, name: str = "") -> Image.Image:
    """Return an upright RGB picture, transparency laid on white.

    `source` is a path or an open file, which stays open; `name` is what errors call that. Raises UnreadableError, a
    ValueError, with the reason.
    """
    opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
    with reasons(name), opened as file, stored(file) as picture:
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
    with Image.open(file) as picture:
        # counted here since Pillow only warns, and filters of warnings are no matter of one thread
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and picture.width * picture.height > limit:
            raise ValueError(
                f"{picture.width}x{picture.height} are more pixels than {limit}, the most that is safe to read"
            )
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
    if picture.width * height > picture.height * width:
        covering = [height, height * picture.width // picture.height]
    else:
        covering = [width * picture.height // picture.width, width]
    return v2.center_crop(v2.resize(picture, covering, antialias=True), [height, width])


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Return an RGB picture as uint8 (3, H, W)."""
    return v2.pil_to_tensor(picture)


def _reason(error: Exception, name: str) -> str:
    path = Path(error.filename) if isinstance(error, OSError) and error.filename else None
    if path is not None and not path.exists():
        return "the link leads nowhere" if path.is_symlink() else "the file is gone"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture that can be read"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    said = re.sub(r"<[\w.]+ (object at|name=)[^>]*>", lambda _: repr(name), str(error)) if name else str(error)
    return said or type(error).__name__
