"""Paint a posed songbird on a stage."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dreambirds.data.synthetic.anatomy import Songbird
from dreambirds.data.synthetic.color import Color, Tint, blend, random_tint
from dreambirds.data.synthetic.geometry import blade, curve, disc, joined, ribbon
from dreambirds.data.synthetic.species import Species
from dreambirds.data.synthetic.stage import Stage
from dreambirds.data.synthetic.wings import folded_wing, open_wing

_UPPER = ((-0.8, 0.0), (-0.4, 0.0), (0.0, 0.12), (0.3, 0.3), (0.42, 0.9), (0.2, 1.7), (-0.8, 1.5))
_TOES = tuple(
    ribbon([(0, 0.006), (reach * 0.55, 0.014), (reach, drop)], [0.014, 0.014, 0.006])
    for reach, drop in ((0.1, -0.015), (0.075, -0.035), (0.045, -0.042), (-0.055, -0.03))
)


def paint_songbird(stage: Stage, species: Species, bird: Songbird, rng: np.random.Generator) -> None:
    """Draw a songbird from back to front; the stage's map must be set."""
    tint = random_tint(rng)
    if bird.open_wings:
        open_wing(stage, species, bird, tint, far=True)
    _tail(stage, species, bird, tint)
    _legs(stage, species, bird, tint)
    _dress(stage, _coat(stage, species, bird, tint, rng), bird.outline, bird.crest)
    if bird.open_wings:
        open_wing(stage, species, bird, tint, far=False)
    else:
        folded_wing(stage, species, bird, tint)
    _bill(stage, species, bird, tint)
    paint_eye(stage, bird.head.at([(0.34, 0.14)])[0], species.head_radius * 0.17)


def paint_eye(stage: Stage, center: np.ndarray, radius: float, iris: Color = (24, 18, 18)) -> None:
    """Draw a round eye with a pale rim and a highlight; `radius` is in drawing units."""
    stage.fill(disc(center, radius * 1.28), (*blend(iris, (150, 140, 130), 0.45), 190))
    stage.fill(disc(center, radius), iris)
    stage.fill(disc(center, radius * 0.62), (10, 8, 10))
    stage.fill(disc(center + np.array([0.3, 0.38]) * radius, radius * 0.32), (255, 255, 255))


def _tail(stage: Stage, species: Species, bird: Songbird, tint: Tint) -> None:
    tail = species.tail
    for index, feather in enumerate(bird.tail):
        outer = index < 2 and tail.outer is not None
        shade = (0.82, 0.82, 0.92, 0.92, 1.0)[index]
        base = blend((0, 0, 0), tint(tail.color), shade)
        stage.fill(feather, base)
        count = len(feather) // 2
        if outer and tail.outer is not None:
            stage.fill(np.concatenate([feather[count - 6 : count], feather[count : count + 6]]), tint(tail.outer))
        if tail.barred:
            for row in range(5, count - 3, 3):
                stage.line([feather[row], feather[-1 - row]], (*tint(tail.edge), 210), 0.006)
        stage.line(feather[:count], (*tint(tail.edge), 150), 0.004)
        middle = (feather[:count] + feather[::-1][:count]) / 2
        stage.line(middle, (*blend(base, (0, 0, 0), 0.45), 120), 0.003)


def _legs(stage: Stage, species: Species, bird: Songbird, tint: Tint) -> None:
    color = tint(species.legs)
    for order, (leg, foot) in enumerate(bird.legs[::-1]):
        shade = blend(color, (0, 0, 0), 0.25 if order == 0 else 0.0)
        stage.fill(ribbon(leg, [0.02, 0.017, 0.015]), shade)
        for toe in _TOES:
            stage.fill(toe + foot, shade)


def _coat(stage: Stage, species: Species, bird: Songbird, tint: Tint, rng: np.random.Generator) -> Image.Image:
    """Return the plumage of body and head as a full image, not masked yet."""
    side, small = stage.size, stage.size / stage.wide
    soft = Image.new("RGB", (side, side), tint(species.under))
    pen = ImageDraw.Draw(soft)
    pen.polygon(stage.pixels(bird.body.at(_UPPER), small), fill=tint(species.upper))
    pen.polygon(stage.pixels(disc(bird.head.origin, species.head_radius * 1.12), small), fill=tint(species.head))
    for mark in (m for m in species.marks if m.soft):
        pen.polygon(stage.pixels(_mark(bird, mark.where, mark.shape), small), fill=tint(mark.color))
    soft = soft.filter(ImageFilter.GaussianBlur(side * 0.018))
    coat = soft.resize((stage.wide, stage.wide), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(coat, "RGBA")
    _down(stage, bird, pen, rng)
    if species.streaks:
        _streaks(stage, bird, pen, tint(species.streaks), rng)
    if bird.crest is not None:
        pen.polygon(stage.pixels(bird.crest), fill=tint(species.head))
    for mark in (m for m in species.marks if not m.soft):
        pen.polygon(stage.pixels(_mark(bird, mark.where, mark.shape)), fill=tint(mark.color))
    return coat


def _dress(stage: Stage, coat: Image.Image, *parts: np.ndarray | None) -> None:
    mask = Image.new("L", coat.size)
    pen = ImageDraw.Draw(mask)
    for part in parts:
        if part is not None:
            pen.polygon(stage.pixels(part), fill=255)
    stage.image.paste(coat, mask=mask)
    stage.cover.paste(255, mask=mask)


def _mark(bird: Songbird, where: str, shape: tuple[tuple[float, float], ...]) -> np.ndarray:
    return curve((bird.head if where == "head" else bird.body).at(shape))


def _down(stage: Stage, bird: Songbird, pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    starts = np.stack([rng.uniform(-0.5, 0.55, 70), rng.uniform(-1.0, 1.0, 70)], axis=1)
    ends = starts + np.stack([rng.uniform(-0.09, -0.05, 70), rng.uniform(-0.06, 0.06, 70)], axis=1)
    width = max(1, round(stage.wide * 0.006))
    both = np.stack([bird.body.at(starts), bird.body.at(ends)], axis=1)
    for index, ends_at in enumerate(np.reshape(stage.pixels(both), (-1, 4)).tolist()):
        tone = (255, 255, 255, 26) if index % 2 else (0, 0, 0, 20)
        pen.line(ends_at, fill=tone, width=width)


def _streaks(stage: Stage, bird: Songbird, pen: ImageDraw.ImageDraw, color: Color, rng: np.random.Generator) -> None:
    for row in range(5):
        for column in range(4):
            x = 0.42 - column * 0.145 - 0.07 * (row % 2) + rng.uniform(-0.025, 0.025)
            y = -0.84 + row * 0.2 + 0.1 * column * (row > 2) + rng.uniform(-0.06, 0.06)
            ends = bird.body.at([(x, y), (x - rng.uniform(0.08, 0.14), y - rng.uniform(0.0, 0.1))])
            streak = blade(ends[0], ends[1], rng.uniform(0.007, 0.012))
            pen.polygon(stage.pixels(streak), fill=(*color, 215))


def _bill(stage: Stage, species: Species, bird: Songbird, tint: Tint) -> None:
    bill, at = species.bill, bird.head.at
    half, tip = bill.depth / 2, 0.92 + bill.length
    bulge = 0.35 + 0.5 * bill.cone
    root, mid, gape = 0.84, 0.92 + bill.length * 0.5, -0.06
    upper = [(root, gape + half), (mid, gape + half * bulge), (tip, gape - 0.05)]
    lower = [(root, gape - half * 0.86), (mid, gape - half * bulge * 0.9), (tip - 0.06, gape - 0.04)]
    stage.fill(joined(at(lower), at([(tip - 0.06, gape), (root, gape)])), tint(bill.lower))
    stage.fill(joined(at(upper), at([(tip, gape - 0.05), (mid, gape - 0.01), (root, gape)])), tint(bill.upper))
    stage.line(at([(root, gape), (tip - 0.06, gape - 0.03)]), (*blend(tint(bill.lower), (0, 0, 0), 0.6), 200), 0.004)
    shine = at([(root + 0.08, gape + half * 0.55), (mid, gape + half * bulge * 0.6)])
    stage.line(shine, (255, 255, 255, 90), 0.005)
