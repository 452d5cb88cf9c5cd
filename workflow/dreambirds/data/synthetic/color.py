"""Colors as red, green and blue in 0 to 255, and the random tint of one bird."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import cache

import numpy as np

Color = tuple[int, int, int]
Tint = Callable[[Color], Color]


def blend(first: Color, second: Color, share: float) -> Color:
    """Mix two colors; `share` 0 gives the first, 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def random_tint(rng: np.random.Generator) -> Tint:
    """Return a function that slightly changes hue, saturation and brightness.

    It is the same for all colors of one bird.
    """
    hue, saturation, value = rng.uniform(-0.018, 0.018), rng.uniform(0.84, 1.08), rng.uniform(0.86, 1.07)

    @cache
    def tint(color: Color) -> Color:
        h, s, v = colorsys.rgb_to_hsv(*(part / 255 for part in color))
        red, green, blue = colorsys.hsv_to_rgb((h + hue) % 1, min(1, s * saturation), min(1, v * value))
        return round(red * 255), round(green * 255), round(blue * 255)

    return tint
