"""Read saved images. Imports no torch."""

from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from dreambirds.errors import REBUILD, UserError, reason_of, remedy_for


def read_image(path: Path, end: str = REBUILD) -> Image.Image:
    """Return a saved image as RGB.

    Raises UserError if it cannot be read; its message ends with `end`, unless the file's permissions are the cause.
    """
    return decode_image(path, str(path), end)


def decode_image(file: Path | BinaryIO, name: str, end: str = REBUILD) -> Image.Image:
    """Return the image of a path or an open file as RGB; `name` is its name in an error.

    Raises UserError if it cannot be read; its message ends with `end`, unless the file's permissions are the cause.
    """
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes decoders fail in many ways
        reason = "not a readable image" if isinstance(error, UnidentifiedImageError) else reason_of(error)
        raise UserError(f"cannot read the image '{name}' ({reason}); {remedy_for(error, end)}") from error
