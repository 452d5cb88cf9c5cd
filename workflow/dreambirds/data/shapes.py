"""Sizes of pictures: a config gives the side of squares, or height and width."""


def shape_of(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) in pixels of a size given as one side or as both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def as_size(shape: tuple[int, int]) -> int | list[int]:
    """Return a shape as a config gives it: one side where it is square, else [height, width]."""
    return shape[0] if shape[0] == shape[1] else list(shape)


def say(shape: tuple[int, int]) -> str:
    """Return ``height``x``width`` for people."""
    return f"{shape[0]}x{shape[1]}"
