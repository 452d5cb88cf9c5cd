"""Image files of dreams: PNG files with metadata, and GIF animations."""

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
LAST_FRAME_FACTOR = 3  # on the duration of the last frame


def rescale(image: torch.Tensor) -> torch.Tensor:
    """Stretch the contrast of an image (3, H, W) to [0, 1] by percentiles.

    Values from the 0.5th to the 99.5th percentile fill the range. All channels share one stretch, which preserves hues.
    Unlike in a min-max stretch, single extreme pixels do not determine it. A constant image becomes mid-gray.
    """
    return _stretch(image, image)


def rescale_together(frames: torch.Tensor) -> torch.Tensor:
    """Stretch all frames of an animation by the percentiles of the last one.

    Frames are uint8 (N, 3, H, W), the result is in [0, 1]. With a separate stretch per frame, the animation would begin
    with amplified noise.
    """
    images = frames.float() / 255
    return _stretch(images, images[-1])


def _stretch(images: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    low, high = np.percentile(like.numpy(), [TAIL, 100 - TAIL])
    if high - low < 1e-6:
        return torch.full_like(images, 0.5)
    return ((images - low) / (high - low)).clamp(0, 1)


def to_image(image: torch.Tensor) -> Image.Image:
    """Convert an image (3, H, W) in [0, 1] to 8-bit RGB, with rounding."""
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def views(image: torch.Tensor) -> dict[str, Image.Image]:
    """Return the raw and the rescaled view of an image (3, H, W) in [0, 1]."""
    return {"raw": to_image(image), "rescaled": to_image(rescale(image))}


@cache
def versions() -> dict[str, str]:
    """Return the versions of this project and of libraries that affect pixels."""
    return {"dreambirds": __version__, **{library: version(library) for library in LIBRARIES}}


def as_text(facts: dict) -> str:
    """Return metadata as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False)


def save_png(picture: Image.Image, path: Path, title: str, facts: dict) -> None:
    """Write a PNG file with a title and JSON metadata; create its folder if needed."""
    text = PngInfo()
    text.add_itxt("Title", title)
    text.add_itxt("Software", f"Dreaming of Birds {__version__}")
    text.add_itxt(KEY, as_text(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        picture.save(temporary, "PNG", pnginfo=text)


def read_facts(path: Path) -> dict:
    """Return the metadata of a PNG or GIF file of this project.

    Raises KeyError or ValueError if it has none.
    """
    with Image.open(path) as picture:
        picture.load()
        text = picture.text[KEY] if picture.format == "PNG" else picture.info["comment"].decode()
    return json.loads(text)


def save_gif(frames: Sequence[Image.Image], path: Path, seconds_per_frame: float, comment: str) -> None:
    """Write frames as a GIF that loops forever and shows its last frame longer.

    All frames share one palette and one dither pattern, so still regions do not flicker.
    """
    shared = _shared_palette(frames)
    indices = [np.asarray(_dither(frame).quantize(palette=shared, dither=Image.Dither.NONE)) for frame in frames]
    duration = [round(1000 * seconds_per_frame)] * len(frames)
    duration[-1] *= LAST_FRAME_FACTOR
    duration = duration if len(frames) > 1 else duration[0]
    written = imageio.imwrite(
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(written)


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
