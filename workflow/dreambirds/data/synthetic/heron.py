"""The heron: a wader's anatomy and painting, separate from the songbirds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreambirds.data.synthetic.anatomy import Pose
from dreambirds.data.synthetic.color import Color, Tint, blend, random_tint
from dreambirds.data.synthetic.geometry import Frame, Points, blade, curve, disc, ribbon
from dreambirds.data.synthetic.plumage import paint_eye
from dreambirds.data.synthetic.species import Species
from dreambirds.data.synthetic.stage import Stage

_BODY = ((0.46, 0.3), (0.2, 0.92), (-0.15, 0.86), (-0.5, 0.36), (-0.62, 0.0), (-0.4, -0.5), (0.0, -0.95), (0.32, -0.7))
_NECK_WIDTHS = (0.16, 0.125, 0.085, 0.068, 0.06, 0.062)
_FEET = np.array([(-0.26, -0.06), (0.36, -0.06)])


@dataclass(frozen=True)
class Heron:
    """A posed heron, in body lengths, y up, with its feet at the origin."""

    body: Frame
    head: Frame
    neck: Points
    legs: tuple[Points, ...]
    bill_length: float

    def extent(self) -> Points:
        """Return the points that must be inside the frame, (n, 2)."""
        bill = self.head.at([(1.0 + self.bill_length, 0.0), (0.0, 1.2)])
        return np.concatenate([self.body.at(_BODY), self.neck, bill, self.body.at([(-0.86, -0.15)]), _FEET, *self.legs])


def heron(species: Species, pose: Pose) -> Heron:
    """Return a heron in a pose, whose head angle also stretches or folds the neck."""
    pitch = 12 + pose.pitch * 0.5
    body = Frame((-0.02, species.leg + 0.12), pitch, (0.98, species.depth / 2))
    root = body.at([(0.3, 0.1)])[0]
    stretch = 0.88 + pose.head * 0.012
    bends = np.array([(0.0, 0.0), (0.2, 0.1), (0.24, 0.3), (0.08, 0.48), (0.04, 0.7), (0.13, 0.86)])
    neck = root + bends * (1.0, stretch)
    tip = neck[-1] + (0.03, 0.01)
    side = -1.0 if pose.back_look else 1.0
    head = Frame(
        (float(tip[0]), float(tip[1])), (pose.head * 0.7 - 4) * side, (species.head_radius * side, species.head_radius)
    )
    legs = []
    for step in (1.0, -1.0):
        hip = body.at([(-0.04 + 0.03 * step, -0.5)])[0]
        foot = np.array([step * pose.stride * 1.3, 0.0])
        knee = np.array([foot[0] * 0.6 - 0.09, species.leg * 0.5])
        legs.append(np.array([hip, knee, foot]))
    return Heron(body, head, neck, tuple(legs), species.bill.length)


def paint_heron(stage: Stage, species: Species, bird: Heron, rng: np.random.Generator) -> None:
    """Draw a heron from back to front; the stage's map must be set."""
    tint = random_tint(rng)
    for order, leg in enumerate(bird.legs[::-1]):
        _leg(stage, leg, blend(tint(species.legs), (0, 0, 0), 0.25 if order == 0 else 0.0))
    upper, flight = tint(species.upper), tint(species.wing.flight)
    for side in (-0.5, 0.2, 0.8):
        feather = blade(*bird.body.at([(-0.4, side * 0.4), (-0.82, side * 0.3 - 0.1)]), 0.05)
        stage.fill(feather, tint(species.tail.color))
    for leg in bird.legs:
        thigh = blend(tint(species.under), (40, 50, 80), 0.2)
        stage.fill(
            ribbon(
                [leg[0] + (0.0, 0.06), leg[0] * 0.75 + leg[1] * 0.25, leg[0] * 0.4 + leg[1] * 0.6],
                [0.085, 0.058, 0.012],
            ),
            thigh,
        )
    stage.fill(curve(bird.body.at(_BODY)), tint(species.under))
    _wing(stage, species, bird, upper, flight, tint(species.wing.edge))
    _neck(stage, species, bird, tint)
    _head(stage, species, bird, tint)


def _leg(stage: Stage, leg: Points, color: Color) -> None:
    hip, knee, foot = leg
    stage.fill(ribbon([hip, (hip + knee) / 2, knee], [0.06, 0.026, 0.02]), color)
    stage.fill(ribbon([knee, (knee + foot) / 2, foot], [0.024, 0.016, 0.018]), color)
    stage.fill(disc(knee, 0.024), color)
    for reach, drop in ((0.2, -0.02), (0.15, -0.045), (0.06, -0.05), (-0.12, -0.02)):
        stage.fill(ribbon([foot, foot + (reach * 0.5, 0.012), foot + (reach, drop)], [0.017, 0.014, 0.006]), color)


def _wing(stage: Stage, species: Species, bird: Heron, upper: Color, flight: Color, edge: Color) -> None:
    at = bird.body.at
    outline = [
        (0.4, 0.3),
        (0.18, 0.98),
        (-0.2, 0.9),
        (-0.55, 0.4),
        (-0.78, -0.1),
        (-0.5, -0.3),
        (-0.1, -0.5),
        (0.25, -0.4),
    ]
    stage.fill(curve(at(outline)) - (0, 0.025), (20, 20, 40, 50), bird=False)
    stage.fill(curve(at(outline)), upper)
    for step in range(5):
        tip = at([(-0.8 + step * 0.07, -0.1 - 0.1 * step)])[0]
        root = at([(-0.25 + step * 0.08, -0.05 - 0.1 * step)])[0]
        stage.fill(blade(root, tip, 0.045), blend(flight, upper, 0.12 * step))
        stage.line([root, tip], (*edge, 150), 0.004)
    for row in range(3):
        for step in range(5):
            x, y = 0.2 - row * 0.15 - 0.02 * step, 0.66 - step * 0.23 - 0.1 * (row % 2)
            scale = at([(x, y + 0.09), (x - 0.05, y + 0.06), (x - 0.06, y), (x - 0.05, y - 0.06), (x, y - 0.09)])
            stage.line(scale, (*edge, 130), 0.004)
    for step in range(4):
        start = at([(0.1 - step * 0.08, 0.55 - 0.1 * step)])[0]
        end = at([(-0.45 - step * 0.08, 0.2 - 0.12 * step)])[0]
        stage.line(curve([start, (start + end) / 2 + (0.01, 0.02), end], closed=False), (*edge, 150), 0.004)
    patch = at([(0.42, 0.3), (0.36, -0.1), (0.28, -0.45), (0.24, -0.1), (0.3, 0.25)])
    stage.fill(curve(patch), (40, 42, 54))


def _neck(stage: Stage, species: Species, bird: Heron, tint: Tint) -> None:
    gray = blend(tint(species.main), (222, 222, 226), 0.42)
    stage.fill(ribbon(bird.neck, _NECK_WIDTHS), gray)
    front = bird.neck + (0.035, -0.01)
    stage.fill(ribbon(front[1:-1], [0.02, 0.028, 0.02, 0.02]), (240, 238, 234, 210))
    for step in range(1, 5):
        for dash in np.linspace(0, 1, 3):
            spot = front[step - 1] * (1 - dash) + front[step] * dash + (0.008, 0)
            if step > 1:
                stage.line([spot, spot + (0.0, -0.035)], (44, 44, 54, 200), 0.005)
    for step in range(4):
        root = bird.neck[1] + (0.035 * step - 0.07, 0.03)
        tip = bird.body.at([(0.42 - 0.06 * step, -1.02 - 0.1 * (step % 2))])[0]
        stage.fill(blade(root, tip, 0.024, 0.1), blend(gray, (255, 255, 255), 0.12 + 0.14 * (step % 2)))


def _head(stage: Stage, species: Species, bird: Heron, tint: Tint) -> None:
    at, bill = bird.head.at, species.bill
    tip = 0.9 + bill.length
    lower = [(0.6, -0.12), (0.7, -0.42), (1.8, -0.3), (tip - 0.2, -0.06), (tip - 0.2, -0.06)]
    upper = [(0.6, -0.1), (0.7, 0.3), (1.8, 0.18), (tip, -0.06), (tip, -0.06), (1.8, -0.1)]
    stage.fill(curve(at(lower)), tint(bill.lower))
    stage.fill(curve(at(upper)), tint(bill.upper))
    stage.line(at([(0.7, -0.1), (tip - 0.2, -0.07)]), (120, 80, 30, 180), 0.004)
    for drop in (0.0, 0.22):
        plume = at([(-0.4, 0.5 - drop), (-1.3, 0.34 - drop), (-2.3, -0.3 - drop)])
        stage.fill(ribbon(plume, [0.024, 0.016, 0.003]), (32, 33, 42))
    skull = [
        (1.05, 0.12),
        (0.6, 0.62),
        (-0.1, 0.82),
        (-0.8, 0.52),
        (-1.0, 0.0),
        (-0.7, -0.5),
        (0.2, -0.62),
        (0.9, -0.4),
    ]
    stage.fill(curve(at(skull)), tint(species.head))
    brow = [(0.75, 0.34), (0.2, 0.5), (-0.5, 0.62), (-1.1, 0.42), (-0.9, 0.18), (-0.3, 0.26), (0.3, 0.3)]
    stage.fill(curve(at(brow)), (32, 33, 42))
    paint_eye(stage, at([(0.42, 0.12)])[0], species.head_radius * 0.19, iris=(228, 182, 52))
