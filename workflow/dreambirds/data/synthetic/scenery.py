"""Backgrounds, drawn independently of the species."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dreambirds.data.synthetic.color import Color
from dreambirds.data.synthetic.geometry import curve

_COARSE = 96

# Each palette: the kind of scene, colors from the top of the image to the bottom, and colors of the blurred shapes.
_PALETTES: tuple[tuple[str, tuple[Color, ...], tuple[Color, ...]], ...] = (
    ("sky", ((150, 196, 232), (196, 222, 240), (232, 240, 240)), ((168, 196, 190), (214, 232, 246))),
    ("sky", ((96, 158, 216), (140, 190, 230), (190, 218, 236)), ((150, 180, 150), (120, 176, 226))),
    ("wood", ((122, 160, 96), (96, 140, 80), (70, 112, 66)), ((168, 200, 116), (60, 104, 64), (214, 220, 140))),
    ("wood", ((200, 220, 176), (158, 190, 124), (116, 158, 92)), ((236, 240, 200), (96, 140, 84), (180, 206, 120))),
    ("wood", ((226, 176, 104), (206, 122, 62), (158, 82, 52)), ((226, 84, 48), (246, 196, 76), (120, 66, 48))),
    ("wood", ((240, 206, 120), (232, 170, 70), (190, 120, 60)), ((250, 226, 130), (206, 70, 50), (150, 150, 80))),
    ("wood", ((190, 70, 62), (160, 52, 54), (116, 44, 50)), ((224, 110, 84), (96, 40, 48), (230, 160, 110))),
    ("snow", ((226, 234, 242), (212, 222, 234), (238, 242, 246)), ((190, 204, 222), (250, 252, 254), (168, 182, 200))),
    ("sky", ((72, 70, 122), (176, 104, 128), (242, 168, 110)), ((250, 200, 130), (110, 76, 120), (226, 122, 110))),
    ("sky", ((250, 190, 120), (244, 150, 100), (196, 104, 104)), ((255, 222, 150), (170, 90, 110))),
    ("water", ((150, 190, 206), (96, 150, 178), (62, 116, 150)), ((190, 220, 226), (52, 98, 134), (120, 172, 194))),
    ("water", ((88, 128, 196), (62, 104, 178), (48, 82, 150)), ((130, 170, 220), (40, 70, 132), (170, 200, 230))),
    (
        "meadow",
        ((246, 220, 226), (236, 186, 200), (206, 150, 170)),
        ((255, 240, 242), (220, 120, 150), (170, 190, 140)),
    ),
    ("meadow", ((246, 232, 150), (240, 212, 96), (198, 178, 84)), ((255, 246, 190), (226, 180, 50), (140, 160, 80))),
    ("meadow", ((206, 226, 220), (170, 204, 150), (120, 164, 90)), ((214, 60, 52), (246, 214, 80), (90, 130, 200))),
    ("paper", ((242, 236, 220), (238, 230, 210), (230, 220, 198)), ((248, 244, 232), (224, 214, 192))),
    ("night", ((44, 62, 84), (54, 82, 92), (40, 60, 62)), ((84, 120, 120), (30, 44, 60), (120, 150, 130))),
)


def draw_background(rng: np.random.Generator, size: int) -> Image.Image:
    """Return an out-of-focus scene without a bird: RGB, size x size.

    Raises ValueError for a size below 1 pixel.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    kind, bands, accents = _PALETTES[rng.integers(len(_PALETTES))]
    rows = np.linspace(0, len(bands) - 1, _COARSE) + rng.uniform(-0.25, 0.25)
    channels = [np.interp(rows, np.arange(len(bands)), [band[c] for band in bands]) for c in range(3)]
    column = np.stack(channels, axis=1) + rng.uniform(-14, 14, 3)
    scene = np.repeat(np.clip(column, 0, 255).astype(np.uint8)[:, None], _COARSE, axis=1)
    image = Image.fromarray(scene, "RGB")
    pen = ImageDraw.Draw(image, "RGBA")
    layers = _LAYERS[kind]
    for index in np.flatnonzero(rng.random(len(layers)) < 0.65):
        layers[index](pen, rng, accents)
        if rng.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(1.0, 3.5)))
            pen = ImageDraw.Draw(image, "RGBA")
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 3.0)))
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _pick(rng: np.random.Generator, accents: tuple[Color, ...], alpha: tuple[int, int]) -> tuple[int, ...]:
    return (*accents[rng.integers(len(accents))], int(rng.integers(*alpha)))


def _foliage(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for _ in range(int(rng.integers(14, 40))):
        x, y = rng.uniform(-8, _COARSE + 8, 2)
        wide, tall = rng.uniform(3, 14, 2)
        pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=_pick(rng, accents, (60, 170)))


def _bokeh(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for _ in range(int(rng.integers(6, 20))):
        x, y, radius = rng.uniform(0, _COARSE), rng.uniform(0, _COARSE), rng.uniform(2.5, 9)
        fill = _pick(rng, accents, (40, 110))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=(*fill[:3], 140))


def _trunks(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for _ in range(int(rng.integers(2, 6))):
        x, lean, half = rng.uniform(0, _COARSE), rng.uniform(-10, 10), rng.uniform(1, 5)
        fill = _pick(rng, (*accents, (88, 76, 68)), (80, 180))
        pen.polygon([(x - half, 0), (x + half, 0), (x + lean + half, _COARSE), (x + lean - half, _COARSE)], fill=fill)


def _hills(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for layer in range(2):
        level = rng.uniform(45, 66) + layer * 14
        ridge = [(x, level + rng.uniform(-7, 7)) for x in np.linspace(-10, _COARSE + 10, 6)]
        line = curve(ridge, closed=False).tolist()
        line += [[_COARSE + 10, _COARSE], [-10, _COARSE]]
        pen.polygon([(x, y) for x, y in line], fill=_pick(rng, accents, (90, 190)))


def _clouds(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(0, _COARSE), rng.uniform(5, 50)
        for _ in range(5):
            dx, dy, radius = rng.uniform(-14, 14), rng.uniform(-2, 2), rng.uniform(4, 9)
            box = (x + dx - radius * 1.6, y + dy - radius * 0.6, x + dx + radius * 1.6, y + dy + radius * 0.6)
            pen.ellipse(box, fill=(255, 252, 246, 80))


def _stems(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for _ in range(int(rng.integers(10, 26))):
        x, top, lean = rng.uniform(0, _COARSE), rng.uniform(20, 80), rng.uniform(-10, 10)
        fill = _pick(rng, accents, (90, 200))
        pen.line([(x, _COARSE), (x + lean, top)], fill=fill, width=1)
        if rng.random() < 0.5:
            radius = rng.uniform(1, 3.2)
            pen.ellipse((x + lean - radius, top - radius, x + lean + radius, top + radius), fill=fill)


def _ripples(pen: ImageDraw.ImageDraw, rng: np.random.Generator, accents: tuple[Color, ...]) -> None:
    for _ in range(int(rng.integers(10, 26))):
        x, y, half = rng.uniform(0, _COARSE), rng.uniform(48, _COARSE), rng.uniform(6, 26)
        pen.ellipse((x - half, y - 0.8, x + half, y + 0.8), fill=_pick(rng, accents, (70, 160)))


_LAYERS = {
    "sky": (_clouds, _hills, _bokeh),
    "wood": (_trunks, _foliage, _bokeh, _foliage),
    "snow": (_trunks, _hills, _bokeh),
    "water": (_ripples, _bokeh, _stems),
    "meadow": (_hills, _bokeh, _stems, _stems),
    "paper": (_foliage, _hills),
    "night": (_trunks, _foliage, _bokeh),
}
