"""Training reads the prepared images, and rejects an array that does not match its table."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreambirds.data.dataset import PreparedImages
from dreambirds.data.tables import read_images, read_labels
from dreambirds.errors import UserError


@pytest.mark.parametrize("part", ["train", "validation"])
def test_training_images_equal_the_files(bench, part):
    folder = bench.prepare("out", image_size=[16, 24], validation_fraction=0.4)
    images, table = PreparedImages(folder, part), read_images(folder)
    rows = table[table["split"] == part]
    assert len(images) == len(rows) > 0 and images.shape == (16, 24)
    index = dict(read_labels(folder)[["label", "index"]].to_numpy())
    for number, (path, label) in enumerate(rows[["path", "label"]].to_numpy()):
        image, target = images[number]
        assert image.dtype == torch.uint8 and target == images.targets[number] == index[label]
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(Image.open(folder / path)))
    images[0][0].zero_()
    assert images[0][0].any(), "an image is a copy, which may be modified"
    data = pickle.dumps(images)
    assert len(data) < 8000 and torch.equal(pickle.loads(data)[1][0], images[1][0]), (
        "processes open the file themselves"
    )
    images.transform = lambda image: image.float() / 255
    assert images[0][0].dtype == torch.float32


def remake(folder: Path, change) -> None:
    """Replace the array of images with a changed one."""
    images = np.load(folder / "pictures.npy")
    np.save(folder / "pictures.npy", change(images))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "pictures.npy").unlink(),
        lambda folder: (folder / "pictures.npy").write_bytes((folder / "pictures.npy").read_bytes()[:-1]),
        lambda folder: (folder / "pictures.npy").write_bytes(b""),
        lambda folder: (folder / "pictures.npy").write_bytes(b"not an array"),
        lambda folder: remake(folder, lambda images: images[:-1]),
        lambda folder: remake(folder, lambda images: images[::-1]),
        lambda folder: remake(folder, lambda images: images.astype(np.float32)),
        lambda folder: remake(folder, lambda images: images[:, :1]),
    ],
)
def test_images_that_do_not_match_their_table_are_rejected(bench, damage):
    folder = bench.prepare()
    damage(folder)
    with pytest.raises(
        UserError, match=r"pictures.npy' .*delete the folder '.*out' and run the same command again to rebuild it"
    ):
        PreparedImages(folder, "train")
