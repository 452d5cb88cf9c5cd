"""The perch of a bird, planned and drawn independently of the species."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreambirds.data.synthetic.color import Color, blend
from dreambirds.data.synthetic.geometry import curve, disc, joined, ribbon
from dreambirds.data.synthetic.stage import Stage

_WOODS: tuple[Color, ...] = ((110, 84, 66), (128, 104, 84), (90, 76, 70), (148, 128, 108), (82, 62, 52))
_LEAVES: tuple[Color, ...] = ((104, 150, 74), (74, 122, 66), (214, 150, 54), (196, 70, 48), (224, 190, 70))
_BERRIES: tuple[Color, ...] = ((204, 44, 50), (70, 92, 170), (240, 190, 60), (246, 220, 230))
_WATER: tuple[Color, Color] = ((104, 142, 166), (170, 200, 214))
_GROUNDS: tuple[tuple[Color, Color], ...] = (
    ((112, 146, 76), (150, 182, 96)),
    ((166, 138, 100), (198, 172, 130)),
    ((236, 240, 246), (255, 255, 255)),
    ((176, 120, 66), (214, 96, 54)),
    _WATER,
)


@dataclass(frozen=True)
class Perch:
    """A planned perch: its kind, shape and colors."""

    kind: str
    slope: float
    thick: float
    wood: Color
    leaf: Color
    berry: Color
    ground: tuple[Color, Color]
    trim: str

    @property
    def grounded(self) -> bool:
        """Whether a bird stands on the perch rather than grips it."""
        return self.kind in ("ground", "rock")

    @classmethod
    def random(cls, rng: np.random.Generator) -> Perch:
        """Draw a random perch."""
        return cls(
            kind=str(rng.choice(["branch", "branch", "twig", "post", "rock", "ground", "ground"])),
            slope=float(rng.uniform(-0.14, 0.14)),
            thick=float(rng.uniform(0.026, 0.042)),
            wood=_WOODS[rng.integers(len(_WOODS))],
            leaf=_LEAVES[rng.integers(len(_LEAVES))],
            berry=_BERRIES[rng.integers(len(_BERRIES))],
            ground=_GROUNDS[rng.integers(len(_GROUNDS))],
            trim=str(rng.choice(["bare", "leaves", "berries", "snow", "leaves"])),
        )


def draw_perch(stage: Stage, perch: Perch, x: float, y: float, rng: np.random.Generator) -> None:
    """Draw the perch with its surface at the point (x, y) of the frame, in 0 to 1."""
    stage.place(np.eye(2), (0.0, 0.0))
    if perch.kind in ("branch", "twig"):
        _branch(stage, perch, x, y, rng)
    elif perch.kind == "post":
        _post(stage, perch, x, y, rng)
    else:
        _ground(stage, perch, y, rng)
        if perch.kind == "rock" or perch.ground is _WATER:
            _rock(stage, perch, x, y, rng)
    if perch.kind not in ("branch", "twig"):
        _contact(stage, x, y, 0.15 if perch.kind == "ground" else 0.085)


def _branch(stage: Stage, perch: Perch, x: float, y: float, rng: np.random.Generator) -> None:
    half = perch.thick * (0.55 if perch.kind == "twig" else 1.0)
    xs = np.array([-0.08, x * 0.5, x - 0.08, x + 0.08, (1 + x) / 2, 1.08])
    ys = y + half + (xs - x) * perch.slope + np.array([0.03, 0.012, 0, 0, 0.01, 0.03]) * rng.uniform(-1, 1)
    center = np.stack([xs, ys], axis=1)
    taper = np.linspace(1.2, 0.8, 6) if rng.random() < 0.5 else np.linspace(0.8, 1.2, 6)
    for side in range(int(rng.integers(1, 4))):
        start = center[(1, 4, 0)[side]]
        end = start + (rng.uniform(0.1, 0.3), rng.uniform(-0.3, -0.1) if rng.random() < 0.4 else rng.uniform(0.08, 0.2))
        shoot = ribbon([start, (start + end) / 2 + (0.02, 0.02), end], [half * 0.5, half * 0.35, 0.003])
        stage.fill(shoot, perch.wood, False)
        _trim(stage, perch, np.linspace(start, end, 4)[1:], rng)
    stage.fill(ribbon(center, half * taper), blend(perch.wood, (0, 0, 0), 0.28), False)
    stage.fill(ribbon(center - (0, half * 0.2), half * taper * 0.78), perch.wood, False)
    stage.fill(ribbon(center - (0, half * 0.5), half * taper * 0.28), blend(perch.wood, (255, 240, 220), 0.28), False)
    if perch.trim == "snow":
        stage.fill(ribbon(center - (0, half * 0.8), half * taper * 0.5), (244, 247, 251), False)
    _trim(stage, perch, center[[1, 4]], rng)


def _trim(stage: Stage, perch: Perch, points: np.ndarray, rng: np.random.Generator) -> None:
    for point in points:
        if perch.trim == "leaves":
            for _ in range(2):
                tip = point + rng.uniform(-0.085, 0.085, 2) + (0, 0.03)
                tone = blend(perch.leaf, (255, 255, 200), rng.uniform(0, 0.25))
                middle, half = point * 0.55 + tip * 0.45, (tip - point)[::-1] * (-0.26, 0.26)
                stage.fill(joined([point, middle + half, tip], [tip, middle - half, point]), tone, False)
                stage.line([point, tip], (*blend(tone, (0, 0, 0), 0.35), 150), 0.003)
        elif perch.trim == "berries":
            for _ in range(2):
                spot = point + rng.uniform(-0.03, 0.03, 2) + (0, 0.03)
                stage.line([point, spot], perch.wood, 0.004)
                stage.fill(disc(spot, 0.014), perch.berry, False)
                stage.fill(disc(spot - 0.005, 0.004), (255, 255, 255, 170), False)


def _post(stage: Stage, perch: Perch, x: float, y: float, rng: np.random.Generator) -> None:
    half = rng.uniform(0.1, 0.15)
    sides = [(x - half, y), (x + half, y), (x + half * 0.97, 1.1), (x - half * 0.97, 1.1)]
    stage.fill(sides, blend(perch.wood, (190, 180, 170), 0.2), False)
    shade = [(x + half * 0.35, y), (x + half, y), (x + half, 1.1), (x + half * 0.35, 1.1)]
    stage.fill(shade, (0, 0, 0, 46), False)
    for at in rng.uniform(-0.85, 0.85, 7) * half:
        stage.line([(x + at, y + rng.uniform(0.02, 0.1)), (x + at, 1.0)], (40, 28, 20, 70), 0.004)
    top = curve([(x - half, y), (x, y - 0.022), (x + half, y), (x, y + 0.022)])
    stage.fill(top, (246, 248, 251) if perch.trim == "snow" else blend(perch.wood, (235, 220, 200), 0.4), False)


def _ground(stage: Stage, perch: Perch, y: float, rng: np.random.Generator) -> None:
    base, tuft = perch.ground
    top = y - rng.uniform(0.02, 0.1)
    for depth, mix in ((0.0, 0.0), (0.45, 0.1), (0.85, 0.22)):
        level = top + depth * (1.04 - top)
        ridge = curve([(x, level + rng.uniform(-0.014, 0.014)) for x in np.linspace(-0.1, 1.1, 6)], closed=False)
        stage.fill([*ridge.tolist(), (1.1, 1.1), (-0.1, 1.1)], blend(base, (40, 40, 70), mix), False)
    grassy = base[1] > base[2] + 20
    for x, at, lean, mix in zip(*rng.uniform(0, 1, (4, 40)), strict=True):
        level = top + at * (1 - top)
        tone = (*blend(tuft, base, mix * 0.8), 220)
        if grassy:
            tip = (x + (lean - 0.5) * 0.05, level - 0.015 - 0.035 * mix)
            stage.line([(x, level), tip], tone, 0.005)
            if perch.trim == "berries" and mix > 0.6:
                stage.fill(disc(tip, 0.009), perch.berry, False)
        else:
            stage.line([(x, level), (x + 0.02 + lean * 0.07, level)], tone, 0.004)


def _rock(stage: Stage, perch: Perch, x: float, y: float, rng: np.random.Generator) -> None:
    gray = blend(perch.wood, (158, 158, 160), 0.7)
    left, right = rng.uniform(0.24, 0.42, 2)
    low = max(1.02, y + 0.14)
    crown = [(x - left * 0.55, y + 0.03), (x - 0.11, y + 0.002), (x, y - 0.004), (x + 0.12, y + 0.004)]
    sides = [(x - left, low), (x - left * 0.88, y + 0.1)], [(x + right * 0.6, y + 0.04), (x + right, low)]
    stage.fill(curve([*sides[0], *crown, *sides[1]], closed=False), blend(gray, (255, 250, 240), 0.16), False)
    ledge = [(x - left * 0.9, y + 0.12), (x - left * 0.4, y + 0.055), (x - 0.02, y + 0.075), (x + 0.12, y + 0.04)]
    front = [*ledge, (x + right * 0.62, y + 0.085), (x + right * 0.98, low)]
    stage.fill([*curve(front, closed=False).tolist(), (x - left, low)], blend(gray, (30, 30, 44), 0.2), False)
    cleft = [(x + 0.12, y + 0.04), (x - 0.02, y + 0.075), (x + 0.03, y + 0.13), (x + 0.01, low)]
    stage.fill([*cleft, (x + right, low), (x + right * 0.62, y + 0.085)], (20, 20, 34, 34), False)
    if perch.trim == "snow":
        stage.fill(ribbon([*crown, sides[1][0]], [0.004, 0.016, 0.016, 0.016, 0.003]), (246, 248, 251), False)
    for _ in range(7):
        spot = (x + rng.uniform(-left, right) * 0.6, y + rng.uniform(0.03, 0.16))
        stage.fill(disc(spot, rng.uniform(0.004, 0.011)), (*blend(perch.leaf, gray, 0.5), 120), False)


def _contact(stage: Stage, x: float, y: float, reach: float) -> None:
    for wide, alpha in ((reach, 24), (reach * 0.65, 34)):
        stage.fill(disc((0, 0), 1.0) * (wide, wide * 0.17) + (x, y + 0.008), (16, 16, 30, alpha), False)
