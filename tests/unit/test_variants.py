"""Several dreams of one target, and the term for their diversity, compared with plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dreambirds.dreaming.dream import METRICS, dream
from dreambirds.dreaming.network import Member
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.variants import gram_matrices, sheets, similarity, stream_names
from dreambirds.errors import UserError
from dreambirds.seeding import generator
from dreambirds.shapes import grid_of, sheet_shape
from tests.helpers.small import FOURIER, SQUARE, close, network, rand

LAYER = "3"
PLAIN = Recipe(steps=(6,), step_size=0.3, variants=3, diversity=2.0, diversity_layer=LAYER)


def by_loop(activation: np.ndarray, images: int, variants: int) -> list[float]:
    """Return each image's mean similarity to the others of its group, with one loop for each sum."""
    views = len(activation) // images
    grams = []
    for image in range(images):
        total = np.zeros((activation.shape[1],) * 2)
        for view in range(views):
            flat = activation[image * views + view].reshape(activation.shape[1], -1)
            for one in range(len(flat)):
                for other in range(len(flat)):
                    total[one, other] += sum(flat[one] * flat[other]) / views
        grams.append(total.ravel())
    found = []
    for image in range(images):
        first = image // variants * variants
        others = [grams[other] for other in range(first, first + variants) if other != image]
        cosines = [grams[image] @ each / np.linalg.norm(grams[image]) / np.linalg.norm(each) for each in others]
        found.append(sum(cosines) / len(cosines))
    return found


@pytest.mark.parametrize(("images", "variants", "views"), [(2, 2, 1), (6, 3, 1), (4, 2, 3)])
def test_the_similarity_equals_a_plain_loop(images, variants, views):
    activation = rand(images * views, 4, 3, 5) - 0.3
    expected = by_loop(activation.numpy(), images, variants)
    assert close(similarity(activation, images, variants), expected)
    tokens = activation.flatten(2).mT  # (B, tokens, C)
    assert close(similarity(tokens, images, variants), expected)


def test_activations_without_positions_and_of_dead_layers_have_a_similarity():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, -1.0]], dtype=torch.float64)
    assert close(gram_matrices(vectors)[2], [[9, 9], [9, 9]])
    assert close(similarity(vectors, 4, 2), [0, 0, 1, 1])
    dead = torch.zeros(2, 3, 2, 2, requires_grad=True)
    similarity(dead, 2, 2).sum().backward()
    assert dead.grad is not None and torch.equal(dead.grad, torch.zeros_like(dead))


def streams(keys: str, variants: int) -> list[torch.Generator]:
    """Return one generator per variant of each character."""
    return [generator(0, name) for key in keys for name in stream_names(key, variants)]


def run(recipe: Recipe, keys: str = "ab", starts: torch.Tensor | None = None, **more):
    """Dream of one class per character, each with its own start images."""
    count = recipe.variants
    classes = torch.tensor(["ab".index(key) for key in keys]).repeat_interleave(count)
    given = rand(2, count, 3, *SQUARE) if starts is None else starts
    chosen = given[["ab".index(key) for key in keys]].flatten(0, 1)
    return dream(network(), classes, chosen, recipe, streams(keys, count), **more)


def cells(sheet: torch.Tensor, variants: int) -> torch.Tensor:
    """Return the images (variants, 3, H, W) of a sheet (3, rows H, columns W)."""
    rows, columns = grid_of(variants)
    height, width = sheet.shape[-2] // rows, sheet.shape[-1] // columns
    places = [divmod(number, columns) for number in range(variants)]
    return torch.stack([sheet[:, y * height : (y + 1) * height, x * width : (x + 1) * width] for y, x in places])


def test_gradient_ascent_with_the_term_equals_a_double_loop_over_pairs():
    """The score of a group is the mean logit minus the weight of the mean similarity of pairs, times its size."""
    result, model, count = run(PLAIN, "b"), network(), PLAIN.variants
    images = rand(2, count, 3, *SQUARE)[1]
    for _ in range(6):
        leaf = images.clone().requires_grad_(True)
        score = model(leaf)[:, 1].sum()
        maps = model[:4](leaf)
        grams = [torch.einsum("cyx,dyx->cd", each, each) for each in maps]
        for one in range(count):
            for other in range(count):
                if one != other:
                    cosine = (grams[one] * grams[other]).sum() / grams[one].norm() / grams[other].norm()
                    score = score - 2.0 * cosine / (count - 1)
        (gradient,) = torch.autograd.grad(score, leaf)
        images = (images + 0.3 * gradient).clamp(0, 1)
    assert close(cells(result.snapshots[6][0], count), images, 1e-6)
    logits = model(images)
    loss = -(logits[:, 1] - 2.0 * similarity(model[:4](images), count, count)).mean()
    assert close(result.metrics[6].loss, [loss], 1e-6)
    assert result.metrics[6].prediction.tolist() == [logits.mean(dim=0).argmax()]
    assert close(result.metrics[6].logit, [logits[:, 1].mean()], 1e-6)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(PLAIN, jitter=2, flip=0.5, blur_sigma=0.5, tv_weight=0.01),
        replace(FOURIER, variants=3, diversity_layer=LAYER),
        replace(PLAIN, crops=2, crop_size=0.5, variants=2),
    ],
    ids=["pixels", "fourier", "crops"],
)
def test_a_group_does_not_depend_on_the_other_groups_of_its_batch(recipe):
    both = run(recipe, "ab", film_every=3)
    for row, key in enumerate("ab"):
        alone = run(recipe, key, film_every=3)
        for step in recipe.steps:
            assert close(both.snapshots[step][row], alone.snapshots[step][0], 1e-6), (key, step)
            for metric in METRICS:
                found, expected = (getattr(each.metrics[step], metric) for each in (both, alone))
                assert close(found[row], expected[0], 1e-6), (key, metric)
        assert [frame.shape for frame in alone.frames] == [frame[row : row + 1].shape for frame in both.frames]


def test_the_first_image_without_the_term_is_that_of_one_variant():
    recipe = replace(PLAIN, jitter=2, flip=0.5, diversity=0.0, steps=(2, 6))
    alone = run(replace(recipe, variants=1), "ab", rand(2, 3, 3, *SQUARE)[:, :1])
    group = run(recipe, "ab")
    for step in (2, 6):
        first = torch.stack([cells(sheet, 3)[0] for sheet in group.snapshots[step]])
        assert close(first, alone.snapshots[step], 1e-6)
        others = torch.stack([cells(sheet, 3)[1] for sheet in group.snapshots[step]])
        assert not close(others, alone.snapshots[step], 1e-2)


def test_the_term_makes_images_of_one_start_different_if_their_views_differ():
    start = torch.full((2, 3, 3, *SQUARE), 0.5, dtype=torch.float64)
    recipe = replace(PLAIN, steps=(40,), step_size=0.05, jitter=2, gradient_normalization="std")
    found = []
    for weight in (0.0, 20.0):
        images = cells(run(replace(recipe, diversity=weight), "a", start).snapshots[40][0], 3)
        found.append(float(similarity(network()[:4](images.double()), 3, 3).mean()))
    assert found[1] < found[0] - 0.05, found


def test_each_network_of_a_committee_uses_its_own_layer():
    torch.manual_seed(3)
    other = torch.nn.Sequential(*[torch.nn.Conv2d(3, 7, 5), torch.nn.Tanh(), torch.nn.Conv2d(7, 2, 3), torch.nn.Tanh()])
    other.append(torch.nn.AdaptiveAvgPool2d(2)).append(torch.nn.Flatten()).append(torch.nn.Linear(8, 5))
    other = other.double().eval().requires_grad_(False)
    classes = torch.tensor([1, 1, 1])
    result = run(replace(PLAIN, steps=(2,)), "b", committee=[Member(other, classes)])
    images = rand(2, 3, 3, *SQUARE)[1]
    for model in (network(), other):
        leaf = images.clone().requires_grad_(True)
        score = model(leaf)[:, 1] - 2.0 * similarity(model[:4](leaf), 3, 3)
        (gradient,) = torch.autograd.grad(score.sum(), leaf)
        images = (images + 0.3 * gradient).clamp(0, 1)
    assert close(cells(result.snapshots[2][0], 3), images, 1e-6)


def test_a_group_ends_with_its_last_image_and_diverges_with_its_first():
    recipe = replace(PLAIN, steps=(30,), diversity=0.0, step_size=0.05, gradient_normalization="std", variants=2)
    recipe = replace(recipe, stop_confidence=0.3)
    starts = rand(2, 2, 3, *SQUARE)
    alone = [
        dream(network(), torch.tensor([0]), starts[0, number : number + 1], replace(recipe, variants=1), [rng]).ended
        for number, rng in enumerate(streams("a", 2))
    ]
    assert alone[0] != alone[1], "otherwise the test shows nothing"
    assert run(recipe, "a", starts).ended.tolist() == [max(map(int, alone))]
    broken = starts.clone()
    broken[0, 1, 0, 0, 0] = torch.nan
    result = run(replace(recipe, stop_confidence=None), "ab", broken)
    assert result.diverged.tolist() == [1, 0] and result.ended.tolist() == [30, 30]
    assert result.trace.loss.shape == (2, 31) and result.snapshots[30][1].isfinite().all()


def test_sheets_are_grids_without_gaps_and_with_gray_blank_cells():
    assert [grid_of(count) for count in (1, 2, 3, 4, 5, 7, 16)] == [
        (1, 1),
        (1, 2),
        (2, 2),
        (2, 2),
        (2, 3),
        (3, 3),
        (4, 4),
    ]
    assert sheet_shape((48, 32), 5) == (96, 96)
    images = rand(10, 3, 4, 2)
    made = sheets(images, 5)
    assert made.shape == (2, 3, 8, 6)
    for group in range(2):
        for number in range(6):
            y, x = divmod(number, 3)
            cell = made[group, :, 4 * y : 4 * y + 4, 2 * x : 2 * x + 2]
            expected = images[5 * group + number] if number < 5 else torch.full_like(cell, 0.5)
            assert torch.equal(cell, expected)
    assert sheets(torch.zeros(3, 3, 1, 1, dtype=torch.uint8), 3)[0, 0].tolist() == [[0, 0], [0, 128]]


def test_a_layer_that_does_not_exist_is_named_with_its_key():
    with pytest.raises(UserError, match="the model has no layer 'x'") as error:
        run(replace(PLAIN, diversity_layer="x"))
    assert error.value.key == "diversity_layer"
