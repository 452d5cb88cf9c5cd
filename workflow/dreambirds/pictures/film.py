"""Films: one grid of pictures a frame, as a GIF whose frames share one palette."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from PIL import Image

from dreambirds.pictures.lettering import FAINT, PAPER, font, write
from dreambirds.pictures.montage import GAP, load_cell

COLOURS = 256
DITHER = 14
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
LAST_FRAME_RESTS = 3


@dataclass(frozen=True)
class Film:
    """What a film shows: a frame for each of `moments`, which holds a path for each of `names`."""

    frames: Sequence[Sequence[Path]]
    moments: Sequence[str]
    names: Sequence[str]
    title: str


def film(script: Film, cell: int) -> list[Image.Image]:
    """Return the frames as RGB pictures of one size: a caption, a bar that tells how far we are, and the pictures."""
    letters = max(11, cell // 9)
    across = math.ceil(math.sqrt(len(script.names) * 2)) if len(script.names) > 1 else 1
    down = math.ceil(len(script.names) / across)
    head, foot = round(letters * 3.4), round(letters * 2.4)
    size = (across * (cell + GAP) + GAP, head + down * (cell + foot))
    frames = []
    for number, (paths, moment) in enumerate(zip(script.frames, script.moments, strict=True)):
        page = Image.new("RGB", size, PAPER)
        write(page, moment, (GAP * 2, 2, size[0], head // 2 + 2), font(round(letters * 1.2), True), "left")
        write(page, script.title, (GAP * 2, head // 2, size[0] - GAP, head - 4), font(letters), "left", FAINT)
        done = round((size[0] - 2 * GAP) * (number + 1) / len(script.frames))
        page.paste("#c8452f", (GAP, head - 4, GAP + done, head - 2))
        for place, (path, name) in enumerate(zip(paths, script.names, strict=True)):
            left, top = GAP + place % across * (cell + GAP), head + place // across * (cell + foot)
            page.paste(load_cell(path, cell), (left, top))
            write(page, name, (left, top + cell, left + cell, top + cell + foot), font(letters), "middle")
        frames.append(page)
    return frames


def save_gif(frames: Sequence[Image.Image], path: Path, seconds_per_frame: float, comment: str) -> None:
    """Write frames as a GIF that repeats for ever and rests longer on its last frame.

    One palette is made from all frames, and one pattern dithers them all, so that what stands still does not flicker.
    """
    shared = _shared_palette(frames)
    indices = [np.asarray(_dither(frame).quantize(palette=shared, dither=Image.Dither.NONE)) for frame in frames]
    duration = [round(1000 * seconds_per_frame)] * len(frames)
    duration[-1] *= LAST_FRAME_RESTS
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(
        path,
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
