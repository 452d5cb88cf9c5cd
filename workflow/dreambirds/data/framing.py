"""From a stored photograph to the prepared picture: the bird's box cut out, turned upright, at its size."""

import math

import numpy as np
from PIL import ExifTags, Image

from dreambirds.data.photographs import fit, upright

TURNED = (5, 6, 7, 8)  # the EXIF orientations that swap height and width

Box = tuple[float, float, float, float]
Shape = tuple[int, int]


def make_picture(stored: Image.Image, shape: Shape, box: Box | None, margin: float) -> tuple[Image.Image, dict]:
    """Return a stored photograph as RGB of (height, width), and facts: its upright `size`, and what is `shown`.

    `box` is x, y, width, height in pixels of the photograph as it is stored, before its EXIF turns it; None shows the
    whole, and so does a box that has no area inside it. `shown` is ``box`` or ``whole``.
    """
    turned = stored.getexif().get(ExifTags.Base.Orientation) in TURNED
    width, height = stored.size[::-1] if turned else stored.size
    frame = box and frame_box(box, stored.size, margin, shape[::-1] if turned else shape)
    picture = upright(stored.crop(frame) if frame else stored)
    return fit(picture, shape), {"size": f"{width}x{height}", "shown": "box" if frame else "whole"}


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
        min(max(round(centre - side / 2), 0), most - side)
        for centre, side, most in zip(middle, sides, size, strict=True)
    )
    return left, top, left + sides[0], top + sides[1]


def widen(picture: Image.Image, shape: Shape) -> Image.Image:
    """Return a picture in the middle of one of (height, width), at least as large, its edges drawn out to fill that."""
    (high, across), (width, height) = shape, picture.size
    top, left = (high - height) // 2, (across - width) // 2
    frame = ((top, high - height - top), (left, across - width - left), (0, 0))
    return Image.fromarray(np.pad(np.asarray(picture), frame, mode="edge"))
