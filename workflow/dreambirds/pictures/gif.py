"""GIFs whose frames share one palette and one pattern of dithering, so that what stands still does not flicker."""

import math
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from PIL import Image

from dreambirds.data.files import atomically

COLOURS = 256
DITHER = 14
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
LAST_FRAME_RESTS = 3


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
    with atomically(path) as temporary:
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
    return strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
