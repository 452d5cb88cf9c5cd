"""Boxes become crops of the right proportions, inside the image, for any EXIF orientation."""

import math

import numpy as np
import pytest
from PIL import Image

from dreambirds.data.image_io import frame_box, make_image

SQUARE = (64, 64)


@pytest.mark.parametrize(
    ("box", "margin", "shape", "expected"),
    [
        (
            (40, 30, 20, 10),
            0.0,
            SQUARE,
            (40, 25, 60, 45),
        ),  # the longer side counts, around the same center
        ((40, 30, 20, 10), 0.25, SQUARE, (35, 20, 65, 50)),
        ((0, 0, 20, 10), 0.5, SQUARE, (0, 0, 40, 40)),  # shifted inside at the upper left
        ((90, 70, 10, 10), 1.0, SQUARE, (70, 50, 100, 80)),  # and at the lower right
        ((10, 10, 80, 60), 0.25, SQUARE, (10, 0, 90, 80)),  # as large as the image's shorter side
        ((40, 30, 20, 10), 0.0, (10, 30), (35, 30, 65, 40)),  # three times as wide as high
        ((40, 30, 20, 10), 0.0, (30, 10), (40, 5, 60, 65)),  # three times as high as wide
        ((10, 30, 80, 10), 0.0, (30, 10), (36, 0, 63, 80)),  # too wide for that: the full height
        ((-10, 30, 20, 10), 0.0, SQUARE, (0, 25, 20, 45)),  # partly outside
        ((99.5, 79.5, 5, 5), 0.0, SQUARE, (95, 75, 100, 80)),
        ((50, 40, 0.2, 0.1), 0.0, SQUARE, (50, 40, 51, 41)),  # at least one pixel
    ],
)
def test_crops_of_an_image_of_100x80(box, margin, shape, expected):
    assert frame_box(box, (100, 80), margin, shape) == expected


@pytest.mark.parametrize(
    "box", [(10, 10, 0, 5), (10, 10, 5, -1), (100, 10, 5, 5), (-5, 10, 5, 5), (10, 80, 5, 5), (1, 1, math.nan, 5)]
)
def test_boxes_without_overlap_with_the_image_give_no_crop(box):
    assert frame_box(box, (100, 80), 0.1, SQUARE) is None
    image, facts = make_image(Image.new("RGB", (100, 80)), SQUARE, box, 0.1)
    assert image.size == SQUARE and facts == {"size": "100x80", "region": "full"}


def test_crops_contain_the_box_are_inside_the_image_and_as_small_as_possible():
    random = np.random.default_rng(0)
    for _ in range(500):
        size, shape = random.integers(30, 400, 2), random.integers(16, 300, 2)
        x, y = random.uniform(0, size - 2)
        width, height = random.uniform(2, size - (x, y))
        margin = random.choice([0.0, 0.1, 0.5])
        left, top, right, bottom = frame_box((x, y, width, height), tuple(size), margin, tuple(shape))
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        across, down = width * (1 + 2 * margin), height * (1 + 2 * margin)
        scale = max(across / shape[1], down / shape[0])  # of the crop, relative to the prepared image
        fits = scale * shape[1] <= size[0] and scale * shape[0] <= size[1]
        if not fits:
            scale = min(size[0] / shape[1], size[1] / shape[0])
        assert abs((right - left) - scale * shape[1]) <= 1 and abs((bottom - top) - scale * shape[0]) <= 1
        if fits:
            assert left <= x + 1 and top <= y + 1 and right >= x + width - 1 and bottom >= y + height - 1


UPRIGHT = {  # how an image with this EXIF orientation is stored
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("shape", [(32, 32), (24, 48)])
def test_boxes_refer_to_the_image_as_stored(orientation, shape, tmp_path):
    upright = Image.fromarray(np.random.default_rng(1).integers(0, 100, (90, 120, 3), np.uint8))
    bird = Image.fromarray(np.random.default_rng(2).integers(200, 256, (24, 48, 3), np.uint8))
    upright.paste(bird, (60, 30))
    lying = upright if UPRIGHT[orientation] is None else upright.transpose(UPRIGHT[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying.save(tmp_path / "a.png", exif=exif)
    rows, columns = np.nonzero(np.asarray(lying).min(axis=-1) >= 200)
    box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    with Image.open(tmp_path / "a.png") as stored:
        image, facts = make_image(stored, shape, box, 0.0)
    assert facts == {"size": "120x90", "region": "box"} and image.size == shape[::-1]
    if shape == (24, 48):
        assert image.tobytes() == bird.tobytes(), "exactly the bird, upright"
    else:
        expected = upright.crop((60, 18, 108, 66)).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max() <= 1
