"""Curves and outlines; all functions take and return float arrays of x, y points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

_STEPS = 6
_T = np.linspace(0.0, 1.0, _STEPS, endpoint=False)
_CATMULL_ROM = (
    np.stack([np.ones_like(_T), _T, _T**2, _T**3], axis=1)
    @ np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=float)
    / 2.0
)
_WINDOW = np.arange(4)
_ROUND = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
_UNIT_DISC = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)


@dataclass(frozen=True)
class Frame:
    """A local coordinate system: scaled, rotated by `angle` degrees, then translated."""

    origin: tuple[float, float]
    angle: float
    scale: tuple[float, float]

    def at(self, points: ArrayLike) -> Points:
        """Return (n, 2) local points in the coordinates of the parent system."""
        local = np.asarray(points, dtype=float).reshape(-1, 2) * self.scale
        return turn(local, self.angle) + self.origin


def turn(points: Points, degrees: float) -> Points:
    """Rotate (n, 2) points about the origin, counterclockwise if y points up."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def curve(points: ArrayLike, closed: bool = True) -> Points:
    """Return a smooth Catmull-Rom line through (n, 2) points, n >= 2.

    A repeated point gives a corner. Raises ValueError for fewer than two points.
    """
    knots = np.asarray(points, dtype=float).reshape(-1, 2)
    if len(knots) < 2:
        raise ValueError(f"a curve needs at least 2 points, got {len(knots)}")
    if closed:
        around = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        around = np.concatenate([knots[:1], knots, knots[-1:]])
    windows = around[np.arange(len(around) - 3)[:, None] + _WINDOW]
    line = (_CATMULL_ROM @ windows).reshape(-1, 2)
    return line if closed else np.concatenate([line, knots[-1:]])


def joined(*runs: ArrayLike) -> Points:
    """Return smooth lines through runs of (n, 2) points, joined with sharp corners."""
    return np.concatenate([curve(run, closed=False) for run in runs])


def ribbon(center: ArrayLike, widths: Sequence[float] | Points) -> Points:
    """Return the outline of a smooth stroke, a closed polygon.

    `center` are (n, 2) points, and `widths` are n half-widths.
    """
    knots = np.asarray(center, dtype=float).reshape(-1, 2)
    line = curve(knots, closed=False)
    position = np.arange(len(line)) / _STEPS
    half = np.interp(position, position[::_STEPS], np.asarray(widths, dtype=float))[:, None]
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    across = along[:, ::-1] * (-1.0, 1.0)
    across *= half / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def blade(root: ArrayLike, tip: ArrayLike, width: float, bend: float = 0.0) -> Points:
    """Return the outline of one feather, from root to tip.

    `width` is its half-width, and `bend` curves it sideways.
    """
    start, end = np.asarray(root, dtype=float), np.asarray(tip, dtype=float)
    span = end - start
    side = np.array([-span[1], span[0]]) * bend
    center = [start, start + span * 0.45 + side, start + span * 0.88 + side * 0.4, end]
    return ribbon(center, [width * 0.55, width, width * 0.8, width * 0.12])


def disc(center: ArrayLike, radius: float) -> Points:
    """Return a circle as a polygon of 24 points."""
    return _UNIT_DISC * radius + np.asarray(center, dtype=float)
