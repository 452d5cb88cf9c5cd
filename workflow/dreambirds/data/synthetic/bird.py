"""Draw one image: scene, perch and bird, from one random generator."""

from __future__ import annotations

import difflib

import numpy as np
from PIL import Image

from dreambirds.data.synthetic.anatomy import Pose, songbird
from dreambirds.data.synthetic.geometry import Points, turn
from dreambirds.data.synthetic.heron import Heron, heron, paint_heron
from dreambirds.data.synthetic.perch import Perch, draw_perch
from dreambirds.data.synthetic.plumage import paint_songbird
from dreambirds.data.synthetic.scenery import draw_background
from dreambirds.data.synthetic.species import SPECIES, Species
from dreambirds.data.synthetic.stage import Light, Stage

MARGIN = 0.02


def draw_bird(label: str, rng: np.random.Generator, size: int, facing: str = "both") -> Image.Image:
    """Draw one bird of the species `label` in a random pose, position and light.

    Returns an RGB image of size x size pixels that depends only on the arguments. `facing` is ``left``, ``right``, or
    ``both`` for a random one of these. The scene and the perch have separate random generators, so they are independent
    of the species. Raises ValueError for an unknown label, with the closest one, and for a size below 8.
    """
    stage, light, paint = compose(label, rng, size, facing)
    return stage.finish(light, paint)


def compose(
    label: str, rng: np.random.Generator, size: int, facing: str = "both"
) -> tuple[Stage, Light, np.random.Generator]:
    """Do all of `draw_bird` except its last step.

    Returns the painted stage, its light, and the random generator of the grain.
    """
    species = _find(label)
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size}")
    scene, ground, posing, paint = (np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 4))
    stage = Stage(draw_background(scene, size))
    light, perch = Light.random(scene), Perch.random(ground)
    pose = Pose.random(posing, perch.grounded)
    bird = heron(species, pose) if species.wader else songbird(species, pose)
    matrix, offset = _placement(bird.extent(), pose, posing, facing)
    draw_perch(stage, perch, float(offset[0]), float(offset[1]), ground)
    stage.place(matrix, offset)
    if isinstance(bird, Heron):
        paint_heron(stage, species, bird, paint)
    else:
        paint_songbird(stage, species, bird, paint)
    return stage, light, paint


def _find(label: str) -> Species:
    if label not in SPECIES:
        near = difflib.get_close_matches(label, SPECIES, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown species {label!r}; did you mean {near!r}?")
    return SPECIES[label]


def _placement(extent: Points, pose: Pose, rng: np.random.Generator, facing: str) -> tuple[Points, Points]:
    """Return the map from bird units (y up) to the frame (y down): matrix and offset.

    The offset is the position of the feet in the frame.
    """
    left = rng.random() < 0.5  # drawn in any case, so that the rest of the image does not depend on `facing`
    flip = -1.0 if facing == "left" or (facing == "both" and left) else 1.0
    shape = np.diag([flip * pose.narrow, -1.0])
    # The columns of the matrix are the images of the axes, so rotating them rotates the bird.
    matrix = turn(shape.T, rng.uniform(-4, 4)).T
    mapped = extent @ matrix.T
    low, high = mapped.min(axis=0), mapped.max(axis=0)
    room = 1 - 2 * MARGIN
    scale = min(rng.beta(2.6, 1.2) * 0.38 + 0.58, room) / float((high - low).max())
    slack = room - (high - low) * scale
    offset = MARGIN + slack * (rng.beta(3, 3), rng.beta(4, 2.5)) - low * scale
    return matrix * scale, offset
