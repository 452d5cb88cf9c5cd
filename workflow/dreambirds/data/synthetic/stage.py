"""The drawing surface: an oversampled image, the bird's mask, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFilter

from dreambirds.data.synthetic.geometry import Points

OVERSAMPLE = 3


@dataclass(frozen=True)
class Light:
    """The light of one image: direction to the lamp, strength and color cast.

    x points to the right, y down.
    """

    x: float
    y: float
    strength: float
    cast: tuple[float, float, float]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Light:
        """Draw a light from the upper left or right, slightly cool to slightly warm."""
        angle = np.deg2rad(rng.uniform(20, 80)) * rng.choice([-1.0, 1.0])
        warmth, level = rng.uniform(-0.055, 0.06), rng.uniform(0.9, 1.08)
        cast = (level * (1 + warmth), level, level * (1 - warmth))
        return cls(float(np.sin(angle)), float(-np.cos(angle)), float(rng.uniform(0.7, 1.15)), cast)


class Stage:
    """An RGB image at a multiple of the final size, and a mask of the bird (mode L)."""

    def __init__(self, background: Image.Image) -> None:
        """Create a stage from a square RGB background of the final size."""
        self.size = background.width
        self.over = min(8, max(OVERSAMPLE, round(192 / self.size)))
        self.wide = self.size * self.over
        self.image = background.resize((self.wide, self.wide), Image.Resampling.NEAREST)
        self.cover = Image.new("L", (self.wide, self.wide))
        self.pen = ImageDraw.Draw(self.image, "RGBA")
        self.cover_pen = ImageDraw.Draw(self.cover)
        self.matrix = np.eye(2) * self.wide
        self.offset = np.zeros(2)

    def place(self, matrix: Points, offset: ArrayLike) -> None:
        """Set the map from drawing units to the frame, from (0, 0) to (1, 1)."""
        self.matrix = np.asarray(matrix, dtype=float).T * self.wide
        self.offset = np.asarray(offset, dtype=float) * self.wide

    def pixels(self, points: ArrayLike, scale: float = 1.0) -> list[float]:
        """Return (n, 2) points as a flat list of pixel coordinates, times `scale`."""
        mapped = np.asarray(points, dtype=float).reshape(-1, 2) @ self.matrix + self.offset
        return (mapped if scale == 1.0 else mapped * scale).ravel().tolist()

    def fill(self, points: ArrayLike, color: tuple[int, ...], bird: bool = True) -> None:
        """Fill a polygon; `bird` is whether it belongs to the bird's mask."""
        flat = self.pixels(points)
        self.pen.polygon(flat, fill=color)
        if bird:
            self.cover_pen.polygon(flat, fill=255)

    def line(self, points: ArrayLike, color: tuple[int, ...], width: float) -> None:
        """Draw a line; `width` is a fraction of the frame."""
        self.pen.line(self.pixels(points), fill=color, width=max(1, round(width * self.wide)), joint="curve")

    def finish(self, light: Light, rng: np.random.Generator) -> Image.Image:
        """Return the image, RGB, at its final size, with light and grain."""
        image = np.asarray(self.image.reduce(self.over), dtype=np.float32)
        cover = self.cover.reduce(self.over)
        round_by = self.size * 0.04
        soft = np.asarray(cover.filter(ImageFilter.GaussianBlur(round_by)), dtype=np.float32) / 255
        step_x, step_y = (round(v * round_by * 1.3) for v in (light.x, light.y))
        # The slope of the blurred mask toward the lamp approximates the surface normal.
        slope = np.roll(soft, (step_y, step_x), (0, 1)) - np.roll(soft, (-step_y, -step_x), (0, 1))
        inside = np.asarray(cover, dtype=np.float32) / 255
        slope *= inside * light.strength
        shade = 1 + np.where(slope > 0, 0.22, 0.5) * slope
        grain = rng.standard_normal((self.size, self.size), dtype=np.float32) * 1.2
        grain += np.clip(slope - 0.25, 0, 1) * 42
        image = image * shade.astype(np.float32)[..., None] + grain[..., None]
        image *= np.asarray(light.cast, dtype=np.float32)
        return Image.fromarray(np.clip(image, 0, 255, out=image).astype(np.uint8), "RGB")
