"""Image files of dreams: raw and rescaled views as PNG files with their provenance, and animations as GIF files."""

import json
import math
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreambirds import __version__
from dreambirds.io import atomic_write

TAIL = 0.5
KEY = "dreambirds"
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")
COLORS = 256
DITHER = 14
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
LAST_FRAME_RESTS = 3


def rescale(image: torch.Tensor) -> torch.Tensor:
    """Stretch an image (3, H, W) so that its values from the 0.5th to the 99.5th percentile fill [0, 1].

    All channels share one stretch, so that hues stay; single extreme pixels do not decide it, as in a min-max stretch.
    A constant image becomes mid-grey.
    """
    return _stretch(image, image)


def rescale_together(frames: torch.Tensor) -> torch.Tensor:
    """Stretch the frames of one film, uint8 (N, 3, H, W), as its last one asks for; return them in [0, 1].

    A film of which each frame had its own stretch would begin with noise made large.
    """
    images = frames.float() / 255
    return _stretch(images, images[-1])


def _stretch(images: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    low, high = np.percentile(like.numpy(), [TAIL, 100 - TAIL])
    if high - low < 1e-6:
        return torch.full_like(images, 0.5)
    return ((images - low) / (high - low)).clamp(0, 1)


def to_picture(image: torch.Tensor) -> Image.Image:
    """Return an image (3, H, W) in [0, 1] as an 8-bit RGB picture, each value rounded to the nearest."""
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def views(image: torch.Tensor) -> dict[str, Image.Image]:
    """Return the raw and the rescaled view of an image (3, H, W) in [0, 1]."""
    return {"raw": to_picture(image), "rescaled": to_picture(rescale(image))}


@cache
def versions() -> dict[str, str]:
    """Return the versions of this project and of the libraries that decide pixels."""
    return {"dreambirds": __version__, **{library: version(library) for library in LIBRARIES}}


def as_text(facts: dict) -> str:
    """Return facts as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False)


def save_png(picture: Image.Image, path: Path, title: str, facts: dict) -> None:
    """Write a PNG with a title and its facts, making its folder first."""
    text = PngInfo()
    text.add_itxt("Title", title)
    text.add_itxt("Software", f"Dreaming of Birds {__version__}")
    text.add_itxt(KEY, as_text(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        picture.save(temporary, "PNG", pnginfo=text)


def read_facts(path: Path) -> dict:
    """Return the facts of a PNG or GIF that this project made. Raises KeyError or ValueError if it holds none."""
    with Image.open(path) as picture:
        picture.load()
        text = picture.text[KEY] if picture.format == "PNG" else picture.info["comment"].decode()
    return json.loads(text)


def save_gif(frames: Sequence[Image.Image], path: Path, seconds_per_frame: float, comment: str) -> None:
    """Write frames as a GIF that repeats for ever and rests longer on its last frame.

    One palette is made from all frames, and one pattern dithers them all, so that what stands still does not flicker.
    """
    shared = _shared_palette(frames)
    indices = [np.asarray(_dither(frame).quantize(palette=shared, dither=Image.Dither.NONE)) for frame in frames]
    duration = [round(1000 * seconds_per_frame)] * len(frames)
    duration[-1] *= LAST_FRAME_RESTS
    duration = duration if len(frames) > 1 else duration[0]
    written = imageio.imwrite(
        "<bytes>",  # an open file would complain of a full disk only when it is forgotten
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(written)


def _dither(frame: Image.Image) -> Image.Image:
    """Add a pattern of 4 x 4 pixels that stays in place: ordered dithering, Bayer 1973."""
    pattern = np.tile(BAYER, (math.ceil(frame.height / 4), math.ceil(frame.width / 4)))[: frame.height, : frame.width]
    shifted = np.asarray(frame) + DITHER * ((pattern[..., None] + 0.5) / 16 - 0.5)
    return Image.fromarray(shifted.round().clip(0, 255).astype(np.uint8))


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
    strip = Image.new("RGB", (frames[0].width, frames[0].height * len(frames)))
    for number, frame in enumerate(frames):
        strip.paste(frame, (0, number * frame.height))
    return strip.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
