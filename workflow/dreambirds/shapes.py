"""Image shapes, (height, width) in pixels, in configs, file names and text."""

import math
from collections.abc import Callable, Iterable


def shape_of(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) in pixels of a size given as one side or as both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def as_size(shape: tuple[int, int]) -> int | list[int]:
    """Return a shape as in the config: the side of a square, else [height, width]."""
    return shape[0] if shape[0] == shape[1] else list(shape)


def shape_text(shape: tuple[int, int]) -> str:
    """Return a shape as text, such as ``48x32`` (height first)."""
    return f"{shape[0]}x{shape[1]}"


def in_proportion(shape: tuple[int, int], side: int, of: Callable[[Iterable[int]], int] = min) -> tuple[int, int]:
    """Return a shape of the same proportions whose shorter side is `side` pixels.

    With ``of=max`` the longer side is `side`. The other side is rounded, and at least 1.
    """
    height, width = (max(1, round(length * side / of(shape))) for length in shape)
    return height, width


def grid_of(count: int) -> tuple[int, int]:
    """Return the (rows, columns) of a sheet of `count` images: as many columns as the rounded-up square root."""
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns


def sheet_shape(shape: tuple[int, int], count: int) -> tuple[int, int]:
    """Return the (height, width) in pixels of a sheet of `count` images of a shape, without gaps."""
    rows, columns = grid_of(count)
    return rows * shape[0], columns * shape[1]


def shape_name(shape: tuple[int, int]) -> str:
    """Return a shape for file names: ``64`` if square, else ``48x32`` (height first)."""
    height, width = shape
    return str(height) if height == width else f"{height}x{width}"


def parse_shape(name: str) -> tuple[int, int]:
    """Return the shape (height, width) of a name that `shape_name` returned."""
    sides = [int(side) for side in name.split("x")]
    return sides[0], sides[-1]
