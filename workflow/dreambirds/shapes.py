"""Shapes of images, (height, width) in pixels: as configs, file names and people write them."""

from collections.abc import Callable, Iterable


def shape_of(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) in pixels of a size given as one side or as both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def as_size(shape: tuple[int, int]) -> int | list[int]:
    """Return a shape as a config gives it: one side where it is square, else [height, width]."""
    return shape[0] if shape[0] == shape[1] else list(shape)


def shape_text(shape: tuple[int, int]) -> str:
    """Return ``height``x``width`` for people."""
    return f"{shape[0]}x{shape[1]}"


def in_proportion(shape: tuple[int, int], side: int, of: Callable[[Iterable[int]], int] = min) -> tuple[int, int]:
    """Return (height, width) in pixels in the proportions of a shape, its shorter side, or with ``of=max`` its longer
    one, being `side`; the other is rounded, and at least 1."""
    height, width = (max(1, round(length * side / of(shape))) for length in shape)
    return height, width


def shape_name(shape: tuple[int, int]) -> str:
    """Return a shape as names of files tell it: ``64`` for a square, else ``48x32``, the height first."""
    height, width = shape
    return str(height) if height == width else f"{height}x{width}"


def parse_shape(word: str) -> tuple[int, int]:
    """Undo `shape_name`."""
    sides = [int(side) for side in word.split("x")]
    return sides[0], sides[-1]
