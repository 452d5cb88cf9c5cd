"""Feature matching in plain loops: regions, statistics and distances as the documentation defines them."""

from fractions import Fraction

import numpy as np


def parts_by_hand(kind: str, height: int, width: int) -> list[list[int]]:
    """Return the positions of each region of a map, as the documentation defines them, in exact fractions."""
    small, parts = min(height, width) <= 4, {}
    for y, x in np.ndindex(height, width):
        down, across = (
            Fraction(2 * at - (side - 1), side - 1) if side > 1 else Fraction(0)
            for at, side in ((y, height), (x, width))
        )
        if kind == "whole" or height == width == 1:
            part = (0, 0)
        elif kind == "center" or min(height, width) < 4:
            part = (0, int(max(abs(down), abs(across)) > (Fraction(1, 2) if small else Fraction(62, 100))))
        else:
            edge = Fraction(1, 2) if small else Fraction(4, 10)
            part = ((abs(down) > edge) * (1 if down > 0 else -1), int(abs(across) > edge))
        parts.setdefault(part, []).append(y * width + x)
    return [parts[part] for part in sorted(parts)]


def statistic_by_hand(activations: np.ndarray, parts: list[list[int]], kind: str = "sorted") -> np.ndarray:
    """Return the statistic (C, S) of activations (C, P)."""
    rows = []
    for channel in activations:
        values = [[float(channel[position]) for position in part] for part in parts]
        if kind == "sorted":
            rows.append([value for part in values for value in sorted(part)])
        else:
            rows.append([float(np.mean(part)) for part in values] + [float(np.std(part)) for part in values])
    return np.array(rows)


def distance_by_hand(statistic: np.ndarray, mean: np.ndarray) -> float:
    """Return the mean square over channels and ranks, divided by the variance of the reference."""
    total, middle, spread = 0.0, mean.sum() / mean.size, 0.0
    for channel, rank in np.ndindex(*mean.shape):
        total += (statistic[channel, rank] - mean[channel, rank]) ** 2
        spread += (mean[channel, rank] - middle) ** 2
    return (total / mean.size) / (spread / mean.size)
