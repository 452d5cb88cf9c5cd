"""Paint a songbird's wings, folded or raised."""

from __future__ import annotations

import numpy as np

from dreambirds.data.synthetic.anatomy import Songbird, open_arm, open_feather
from dreambirds.data.synthetic.color import Tint, blend
from dreambirds.data.synthetic.geometry import curve, ribbon
from dreambirds.data.synthetic.species import Species
from dreambirds.data.synthetic.stage import Stage

_SCALE = np.array([(0.0, 0.09), (0.032, 0.06), (0.04, 0.0), (0.032, -0.06), (0.0, -0.09)])
_SCALE_POSITIONS = np.array(
    [(0.07 + row * 0.075, 0.5 - step * 0.25 - 0.12 * (row % 2)) for row in range(3) for step in range(4)]
)
_VANES = np.stack(
    [
        curve([(0.36, low * 1.1), (0.62, low * 0.86), (0.97 - 0.025 * step, 0.02 + 0.03 * step)], closed=False)
        for step, low in enumerate(np.arange(6) * 0.17 - 0.42)
    ]
)


def folded_wing(stage: Stage, species: Species, bird: Songbird, tint: Tint) -> None:
    """Draw the near wing folded on the flank, with its shadow."""
    wing, at = species.wing, bird.wing.at
    outline = bird.wing_outline
    for drop, alpha in ((0.03, 26), (0.016, 40)):
        stage.fill(outline - (0, drop), (20, 10, 20, alpha), bird=False)
    flight, edge = tint(wing.flight), tint(wing.edge)
    stage.fill(outline, flight)
    shade = blend(flight, (0, 0, 0), 0.5)
    for vane in at(_VANES.reshape(-1, 2)).reshape(_VANES.shape):
        stage.line(vane, (*edge, 170), 0.005)
        stage.line(vane - (0, 0.014), (*shade, 110), 0.004)
    if wing.barred:
        _barring(stage, bird)
    _coverts(stage, species, bird, tint)


def _barring(stage: Stage, bird: Songbird) -> None:
    for x in np.linspace(0.5, 0.86, 7):
        reach = 0.62 * (1 - (x - 0.3) / 0.75)
        bar = curve(bird.wing.at([(x + 0.02, reach), (x, 0.0), (x - 0.02, -reach * 0.8)]), False)
        stage.line(bar, (24, 32, 62, 190), 0.006)


def _coverts(stage: Stage, species: Species, bird: Songbird, tint: Tint) -> None:
    wing, at = species.wing, bird.wing.at
    coverts = tint(wing.coverts)
    greater = [(0.0, 0.02), (0.04, 0.5), (0.2, 0.78), (0.44, 0.68), (0.5, 0.3), (0.47, -0.2), (0.38, -0.56)]
    lesser = [(0.0, 0.02), (0.04, 0.48), (0.18, 0.74), (0.31, 0.6), (0.34, 0.2), (0.3, -0.25), (0.22, -0.58)]
    under = [(0.2, -0.6), (0.06, -0.4)]
    stage.fill(curve(at(greater + under)), blend(coverts, tint(wing.flight), 0.28))
    for step in range(5):
        y = 0.5 - step * 0.22
        stage.line(at([(0.26, y), (0.47, y * 0.92)]), (*tint(wing.edge), 110), 0.004)
    for x, color, thick in wing.bars:
        low, high = -0.56 + 0.12 * (x > 0.4), 0.56
        bar = at([(x - 0.05, low), (x, -0.2), (x + 0.01, 0.2), (x - 0.01, high)])
        if x > 0.4:
            stage.fill(ribbon(bar, [thick * 0.1, thick * 0.55, thick * 0.5, thick * 0.05]), tint(color))
    stage.fill(curve(at([*lesser, *under[1:]])), coverts)
    for x, color, thick in wing.bars:
        if x <= 0.4:
            bar = at([(x - 0.05, -0.5), (x, -0.2), (x + 0.01, 0.2), (x - 0.01, 0.5)])
            stage.fill(ribbon(bar, [thick * 0.1, thick * 0.55, thick * 0.5, thick * 0.05]), tint(color))
    scales = at((_SCALE_POSITIONS[:, None] + _SCALE).reshape(-1, 2)).reshape(-1, len(_SCALE), 2)
    for scale in scales:
        stage.line(scale, (*tint(wing.edge), 80), 0.004)


def open_wing(stage: Stage, species: Species, bird: Songbird, tint: Tint, far: bool) -> None:
    """Draw one raised wing; the far one is darker."""
    wing, dim = species.wing, 0.25 if far else 0.0
    flight, edge = blend(tint(wing.flight), (0, 0, 0), dim), tint(wing.edge)
    shoulder, wrist = open_arm(bird, far)
    for step in np.linspace(0, 1, 12):
        feather = open_feather(shoulder, wrist, float(step))
        stage.fill(feather, blend(flight, edge, 0.1 if round(step * 11) % 2 else 0.0))
        stage.line(feather[: len(feather) // 2], (*edge, 120), 0.004)
    arm = np.array([shoulder + (0.03, -0.06), (shoulder + wrist) / 2, wrist, wrist + (wrist - shoulder) * 0.28])
    for shift, half, color in ((0.1, 0.13, blend(tint(wing.coverts), flight, 0.5)), (0.04, 0.1, tint(wing.coverts))):
        patch = ribbon(arm - (shift, 0), [half * 0.8, half, half * 0.72, half * 0.15])
        stage.fill(patch, blend(color, (0, 0, 0), dim))
    for x, color, thick in wing.bars:
        bar = arm - (0.17 if x < 0.4 else 0.24, 0)
        stage.fill(ribbon(bar[:3], [thick * 0.2, thick * 0.45, thick * 0.1]), blend(tint(color), (0, 0, 0), dim))
