"""Poses, and the positions of a songbird's parts for a pose and a species."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreambirds.data.synthetic.geometry import Frame, Points, blade, curve, joined, turn
from dreambirds.data.synthetic.species import Species

# Upper contour from the mantle to the tail base, then along the belly to the breast.
_TORSO = np.array(
    [
        (0.22, 0.84),
        (-0.08, 0.84),
        (-0.35, 0.54),
        (-0.55, 0.24),
        (-0.57, -0.06),
        (-0.42, -0.46),
        (-0.18, -0.88),
        (0.08, -1.02),
        (0.32, -0.88),
        (0.485, -0.42),
    ]
)
_HEAD_ANGLES = np.deg2rad([-16, 18, 50, 80, 112, 148])
_WING_UPPER = np.array(
    [
        (0.0, 0.02),
        (0.04, 0.5),
        (0.2, 0.78),
        (0.5, 0.66),
        (0.8, 0.3),
        (1.0, 0.02),
    ]
)
_WING_LOWER = np.array(
    [
        (1.0, 0.02),
        (0.82, -0.16),
        (0.55, -0.52),
        (0.25, -0.62),
        (0.06, -0.4),
        (0.0, 0.02),
    ]
)


@dataclass(frozen=True)
class Pose:
    """A pose; angles are in degrees.

    `wings` is "folded", "lifted" or "open". `narrow` compresses the bird horizontally, for a 3/4 view.
    """

    pitch: float
    head: float
    back_look: bool
    tail: float
    wings: str
    wing_turn: float
    fan: float
    narrow: float
    stride: float

    @classmethod
    def random(cls, rng: np.random.Generator, grounded: bool) -> Pose:
        """Draw a random pose; the body of a bird on the ground is more horizontal."""
        kind = str(rng.choice(["folded", "lifted", "open"], p=[0.7, 0.2, 0.1]))
        return cls(
            pitch=float(rng.uniform(14, 34) if grounded else rng.uniform(20, 52)),
            head=float(np.clip(rng.normal(2, 9), -20, 24)),
            back_look=bool(rng.random() < 0.08),
            tail=float(rng.uniform(-12, 16) if not grounded else rng.uniform(-26, -6)),
            wings=kind,
            wing_turn=float(rng.uniform(-3, 5) if kind != "lifted" else rng.uniform(-16, -7)),
            fan=float(rng.uniform(3, 9)),
            narrow=float(rng.uniform(0.9, 1.04)),
            stride=float(rng.uniform(0.05, 0.11)),
        )


@dataclass(frozen=True)
class Songbird:
    """A posed songbird, in body lengths, y up, with its feet at the origin."""

    body: Frame
    head: Frame
    wing: Frame
    outline: Points
    crest: Points | None
    tail: tuple[Points, ...]
    wing_outline: Points
    legs: tuple[tuple[Points, Points], ...]
    open_wings: bool

    def extent(self) -> Points:
        """Return the points that must be inside the frame, (n, 2)."""
        bill = self.head.at([(2.0, 0.0), (0.0, 1.3)])
        parts = [self.outline, bill, np.array([(-0.18, -0.06), (0.22, -0.06)]), *self.tail]
        if self.crest is not None:
            parts.append(self.crest)
        if self.open_wings:
            parts += [open_feather(*open_arm(self, far), step) for far in (True, False) for step in (0.0, 0.8, 1.0)]
        return np.concatenate(parts)


def _head_frame(species: Species, pose: Pose, body: Frame) -> Frame:
    radius = species.head_radius
    lift = 0.09 * np.cos(np.deg2rad(pose.pitch))
    x, y = body.at([(0.45, 0.36)])[0] + (0.0, lift)
    side = -1.0 if pose.back_look else 1.0
    return Frame((float(x), float(y)), pose.head * side, (radius * side, radius))


def _outline(species: Species, body: Frame, head: Frame) -> Points:
    radius = species.head_radius
    face = np.stack([np.cos(_HEAD_ANGLES), np.sin(_HEAD_ANGLES)], axis=1)
    face, torso = face * radius + head.origin, body.at(_TORSO)
    # A throat point slightly inside the line from breast to chin joins them at any pitch.
    throat = (torso[-1] + face[0]) / 2
    throat += (np.asarray(head.origin) - throat) * 0.13
    return curve(np.concatenate([torso, throat[None], face]))


def _crest(species: Species, head: Frame) -> Points | None:
    if not species.crest:
        return None
    tall = species.crest
    tip = (-0.72 - 0.28 * tall, 0.55 + 0.92 * tall)
    front = [(0.98, 0.1), (0.7, 0.76), (0.16, 1.12 + 0.16 * tall), tip]
    notch = (tip[0] + 0.1, tip[1] - 0.3)
    back = [notch, (-0.74, 0.8), (-1.02, 0.05), (0.0, -0.1)]
    return joined(head.at(front), head.at([tip, notch]), head.at(back))


def _tail(species: Species, pose: Pose, body: Frame) -> tuple[Points, ...]:
    tail = species.tail
    feathers = []
    for side in (-1.0, 1.0, -0.5, 0.5, 0.0):
        root = np.array([-0.42, side * tail.width * 0.35])
        reach = tail.length + 0.14 - tail.notch * (1 - abs(side))
        direction = turn(np.array([[-1.0, 0.0]]), pose.tail + side * pose.fan)[0]
        tip = root + direction * reach
        feather = blade(root, tip, tail.width * 0.62)
        feathers.append(turn(feather, body.angle) + body.origin)
    return tuple(feathers)


def _legs(species: Species, pose: Pose, body: Frame) -> tuple[tuple[Points, Points], ...]:
    legs = []
    for side in (1.0, -1.0):
        hip = body.at([(-0.06 + side * 0.03, -0.7)])[0]
        foot = np.array([side * pose.stride, 0.0])
        ankle = foot + (-0.035, species.leg * 0.62)
        legs.append((np.array([hip, ankle, foot]), foot))
    return tuple(legs)


def open_arm(bird: Songbird, far: bool) -> tuple[Points, Points]:
    """Return shoulder and wrist of a raised wing; the far wing is further forward."""
    # The wings lean back so that they do not cover the crest.
    lean = 24 + bird.body.angle * 0.3 - (11 if far else 0)
    shoulder = bird.body.at([(0.24 if far else 0.16, 0.3 if far else 0.2)])[0]
    return shoulder, shoulder + turn(np.array([[0.0, 0.36]]), lean)[0]


def open_feather(shoulder: Points, wrist: Points, step: float) -> Points:
    """Return one flight feather of a raised wing: `step` 0 is innermost, 1 outermost."""
    arm = wrist - shoulder
    direction = turn(arm[None] / np.hypot(*arm), 92 - 74 * step)[0]
    root = shoulder + arm * min(1.0, step * 1.6)
    reach = 0.5 + 0.36 * step - 0.09 * max(0.0, step - 0.85) / 0.15
    return blade(root, root + direction * reach, 0.072, 0.05)


def songbird(species: Species, pose: Pose) -> Songbird:
    """Return a songbird of a species in a pose; see `Songbird` for its units."""
    half = species.depth / 2
    lowest = turn(np.array([(-0.08, -half)]), pose.pitch)[0]
    body = Frame((float(-lowest[0] - 0.03), float(species.leg - lowest[1])), pose.pitch, (1.0, half))
    head = _head_frame(species, pose, body)
    shoulder = body.at([(0.33, 0.2)])[0]
    wing_angle = 180 + pose.pitch + 5 + pose.wing_turn
    # y is flipped so that the wing's upper edge is up although the wing points backward.
    wing = Frame((float(shoulder[0]), float(shoulder[1])), wing_angle, (0.98, -half * 0.82))
    return Songbird(
        body=body,
        head=head,
        wing=wing,
        outline=_outline(species, body, head),
        crest=_crest(species, head),
        tail=_tail(species, pose, body),
        wing_outline=joined(wing.at(_WING_UPPER), wing.at(_WING_LOWER)),
        legs=_legs(species, pose, body),
        open_wings=pose.wings == "open",
    )
