"""Batch sizes that fit into memory, and the estimate of memory per image."""

import pytest
import timm
import torch
from torch import nn

from dreambirds.dream_job.batches import batch_size, estimate_activation_memory, in_batches
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError


@pytest.fixture(scope="module")
def resnet():
    """Return timm's smallest residual network."""
    return timm.create_model("test_resnet", num_classes=4).eval().requires_grad_(False)


@pytest.mark.slow
def test_batches_are_dreamt_in_order_and_halved_when_memory_runs_out():
    tried = []

    def dream_of(indices: list[int], error: Exception, most: int) -> str:
        tried.append(len(indices))
        if len(indices) > most:
            raise error
        return "".join(map(str, indices))

    assert list(in_batches(lambda indices: dream_of(indices, None, 9), 7, 3)) == [
        ([0, 1, 2], "012"),
        ([3, 4, 5], "345"),
        ([6], "6"),
    ]
    for error in (
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate"),
    ):
        tried.clear()
        batches = in_batches(lambda indices, error=error: dream_of(indices, error, 2), 9, 8)
        assert [indices for indices, _ in batches] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
        assert tried == [8, 4, 2, 2, 2, 2, 1]
    with pytest.raises(UserError, match=r"^memory ran out even for a single image; lower 'size', or set 'tile'$"):
        list(in_batches(lambda indices: dream_of(indices, MemoryError(), 0), 3, 2))
    for error in (RuntimeError("shapes differ"), UserError("no such layer"), KeyError("a")):
        with pytest.raises(type(error)) as raised:
            list(in_batches(lambda indices, error=error: dream_of(indices, error, 0), 3, 2))
        assert raised.value is error


def test_a_batch_fits_into_four_fifths_of_the_memory():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [batch_size(100, free, cpu) for free in (0, 100, 999, 1000, 10**6)] == [1, 1, 7, 8, 16]
    assert batch_size(100, 10**6, cuda) == 256 and batch_size(0, 10**6, cpu) == 16
    assert batch_size(100, -5, cpu) == 1, "the process itself may take more memory than there is"


def test_the_estimate_of_memory_grows_with_the_pixels(resnet):
    small, large, huge = (estimate_activation_memory(resnet, Recipe(), (side, side)) for side in (64, 128, 256))
    assert 3 < large / small < 5 and 3.5 < huge / large < 4.5
    assert estimate_activation_memory(resnet, Recipe("layer_mean:layer1"), (128, 128)) < large, (
        "a forward pass that stops early saves fewer activations"
    )
    shallow = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64**2, 2)).requires_grad_(False)
    # tanh saves its output; a step needs twelve copies of the image
    kept, images = 4 * 8 * 64**2, 12 * 4 * 3 * 64**2
    assert 2 * kept <= estimate_activation_memory(shallow, Recipe(), (64, 64)) - images <= 4 * kept
    views = estimate_activation_memory(resnet, Recipe(), (64, 64)) - images
    assert estimate_activation_memory(resnet, Recipe(crops=3), (64, 64)) - images == 3 * views, "one view per crop"
    tiled = estimate_activation_memory(resnet, Recipe(tile=64), (256, 256))
    assert tiled - 12 * 4 * 3 * 256**2 == views, "the model sees one tile, but the copies are of the full image"
    tall = estimate_activation_memory(resnet, Recipe(), (128, 32)) - images
    assert tall == pytest.approx(views, rel=0.05), "the same number of pixels needs the same memory"
    assert estimate_activation_memory(resnet, Recipe(tile=64), (256, 64)) - 4 * images == views


def test_the_estimate_of_memory_refuses_recipes_that_do_not_fit_the_model(resnet):
    for objective, sentence in {
        "channel:layer1:9999": "objective: the layer 'layer1' has no channel 9999; choose 0 to ",
        "neuron:layer1:0:99:0": r"objective: the layer 'layer1' has no position \(99, 0\); choose one in its map of ",
        "layer_mean:layer8": "objective: the model has no layer 'layer8'",
    }.items():
        with pytest.raises(UserError, match=f"^{sentence}"):
            estimate_activation_memory(resnet, Recipe(objective), (32, 32))
    with pytest.raises(UserError, match="batch_norm_prior: the model has no batch norm"):
        estimate_activation_memory(
            nn.Sequential(nn.Conv2d(3, 2, 32), nn.Flatten()), Recipe(batch_norm_prior=0.1), (32, 32)
        )
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    with pytest.raises(UserError, match=r"the model does not accept images of 16x16 pixels \("):
        estimate_activation_memory(fixed, Recipe("logit"), (16, 16))
    with pytest.raises(UserError, match=r"16x24 pixels \(.*\); change 'size', 'octaves' or "):
        estimate_activation_memory(fixed, Recipe("logit"), (16, 24))
    fits_only = nn.Sequential(nn.Conv2d(3, 2, 40), nn.Flatten(), nn.Linear(2 * 25**2, 2))
    for recipe in (Recipe(octaves=2, octave_scale=2.0), Recipe(pad=2), Recipe(crops=1, crop_output_size=50)):
        with pytest.raises(UserError, match=r"does not accept images of (32x32|68x68|50x50) pixels"):
            estimate_activation_memory(fits_only, recipe, (64, 64))
