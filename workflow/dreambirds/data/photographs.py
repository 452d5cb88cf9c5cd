"""Read photographs of any size and mode, make them square RGB, and say why where that fails."""

import warnings
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as v2


def read_photograph(path: Path) -> Image.Image:
    """Return an upright RGB picture, transparency laid on white.

    Raises ValueError with the reason if the file can't be read as a picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                file.load()
                return to_rgb(ImageOps.exif_transpose(file))
    except Exception as error:  # a damaged file makes decoders fail in many ways
        raise ValueError(_reason(path, error)) from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode in RGB: 16-bit greys are scaled to 8 bits, transparency is laid on white."""
    if picture.mode.startswith("I"):
        picture = picture.point(lambda value: value / 257).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def square(picture: Image.Image, size: int) -> Image.Image:
    """Return the picture's centre at size x size pixels: its shorter side is resized once, the longer one cropped."""
    if picture.size == (size, size):
        return picture
    return v2.center_crop(v2.resize(picture, [size], antialias=True), [size, size])


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Return an RGB picture as uint8 (3, H, W)."""
    return v2.pil_to_tensor(picture)


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "the link leads nowhere" if path.is_symlink() else "the file is gone"
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture that can be read"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    return str(error) or type(error).__name__
