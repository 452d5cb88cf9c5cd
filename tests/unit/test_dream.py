"""Dreams, compared with plain implementations of the algorithms, and invariances."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreambirds.device import resolve_precision
from dreambirds.dreaming.dream import METRICS
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError
from dreambirds.seeding import generator
from tests.helpers.small import FOURIER, MACO, PLAIN, RICH, SIZE, SQUARE, TALL, close, network, rand, run

RECIPES = pytest.mark.parametrize(
    "recipe", [PLAIN, RICH, FOURIER, MACO], ids=["plain", "everything", "fourier", "maco"]
)
SHAPES = pytest.mark.parametrize("shape", [SQUARE, TALL], ids=str)


def blur_by_hand(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (C, H, W) with a separable Gaussian and reflection padding."""
    reach = round(3 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        moved = np.moveaxis(image, axis, 0)
        padded = np.concatenate([moved[reach:0:-1], moved, moved[-2 : -reach - 2 : -1]])
        moved = sum(weight * padded[shift : shift + len(moved)] for shift, weight in enumerate(weights))
        image = np.moveaxis(moved, 0, axis)
    return image


def slope_of(score, image: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a score."""
    image = image.detach().requires_grad_(True)
    return torch.autograd.grad(score(image), image)[0]


@SHAPES
def test_a_dream_equals_the_original_algorithm_with_flips_undone(model, shape):
    """The original study flips the image itself after each step; here it is flipped back at the end."""
    random, image, flipped = generator(0, "a"), rand(5, 3, *shape)[:1], False
    for _ in range(6):
        slope = slope_of(lambda image: model(image)[0, 0], image)
        image = (image + 0.05 * slope / (slope.std() + 1e-8)).clamp(0, 1)
        image = torch.from_numpy(blur_by_hand(image[0].numpy(), 0.5))[None]
        if torch.rand((), generator=random) < 0.5:
            image, flipped = image.flip(-1), not flipped
    image = image.flip(-1) if flipped else image
    assert close(run(model, PLAIN, "a", shape=shape).snapshots[6], image, 1e-6)


def test_the_gradient_is_blurred_then_clipped_then_normalized_and_gains_momentum(model):
    blurred = Recipe(steps=(5,), step_size=0.2, gradient_blur_sigma=0.8, momentum=0.5)
    for more, length in (({"gradient_normalization": "l2"}, None), ({"gradient_clip": 0.02}, 0.02)):
        image, way = rand(5, 3, SIZE, SIZE)[:1], 0.0
        for _ in range(5):
            slope = slope_of(lambda image: model(image)[0, 0], image)
            slope = torch.from_numpy(blur_by_hand(slope[0].numpy(), 0.8))[None]
            size = np.linalg.norm(slope)
            way = 0.5 * way + (slope / size if length is None else slope * min(1, length / size))
            image = (image + 0.2 * way).clamp(0, 1)
        assert length is None or size > length, "a gradient was clipped"
        assert close(run(model, replace(blurred, **more), "a").snapshots[5], image, 1e-6)


def test_penalties_and_the_prior_are_subtracted_with_their_weights(model):
    weights = {"tv_weight": 0.3, "l2_weight": 0.2, "batch_norm_prior": 0.4}
    image = start = rand(5, 3, SIZE, SIZE)[:1]

    def score(image: torch.Tensor) -> torch.Tensor:
        seen, norm = model[0](image).flatten(2), model[1]
        prior = (seen.mean(dim=2) - norm.running_mean).norm() + (seen.var(2, correction=0) - norm.running_var).norm()
        four = image.diff(dim=2), image.diff(dim=3), image[..., 1:, 1:] - image[..., :-1, :-1]
        variation = sum(each.norm() for each in (*four, image[..., 1:, :-1] - image[..., :-1, 1:]))
        return model(image)[0, 0] - 0.3 * variation - 0.2 * (image - 0.5).norm() - 0.4 * 10 * prior

    losses = []
    for _ in range(4):
        losses.append(-score(image).item())
        image = (image + 0.05 * slope_of(score, image)).clamp(0, 1)
    got = run(model, Recipe(steps=(4,), step_size=0.05, **weights), "a")
    assert close(got.snapshots[4], image, 1e-6) and not close(image, start, 0.01)
    assert close(got.trace.loss[0], [*losses, -score(image).item()], 1e-6)


@SHAPES
def test_a_fourier_dream_is_adam_on_the_coefficients(model, shape):
    height, width = shape
    colors = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
    colors = colors / math.sqrt(0.26**2 + 2 * 0.27**2)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    scale = torch.from_numpy(1 / np.maximum(np.hypot(down, across), 1 / max(shape)) / 4)

    def image_of(parameters: torch.Tensor) -> torch.Tensor:
        colors_by_hand = torch.fft.irfft2(torch.complex(*parameters.unbind(-1)) * scale, s=shape, norm="ortho")
        return torch.sigmoid((colors @ colors_by_hand.flatten(2)).unflatten(2, shape))

    start = 0.2 + 0.6 * rand(5, 3, *shape)
    flat = torch.linalg.inv(colors) @ torch.logit(start[:1]).flatten(2)
    parameters = torch.view_as_real(torch.fft.rfft2(flat.unflatten(2, shape), norm="ortho") / scale)
    first, second = 0.0, 0.0
    for step in range(1, 6):
        slope = slope_of(lambda parameters: model(image_of(parameters))[0, 0], parameters)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        parameters = parameters + 0.05 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    recipe = Recipe(parameterization="fourier", optimizer="adam", step_size=0.05, steps=(5,))
    assert close(run(model, recipe, "a", starts=start).snapshots[5], image_of(parameters), 1e-5)


def test_scores_of_crops_are_averaged_so_full_crops_equal_a_plain_dream(model):
    plain = Recipe(steps=(5,), step_size=0.5)
    full, crops = run(model, plain), run(model, replace(plain, crops=3, crop_size=1.0))
    assert close(full.snapshots[5], crops.snapshots[5], 1e-5)
    assert all(close(getattr(full.trace, measure), getattr(crops.trace, measure), 1e-5) for measure in METRICS)


@SHAPES
@RECIPES
def test_a_dream_does_not_depend_on_its_batch(model, recipe, shape):
    together, alone = run(model, recipe, "abc", shape=shape), run(model, recipe, "b", shape=shape)
    for step in recipe.steps:
        assert close(together.snapshots[step][1:2], alone.snapshots[step], 1e-6), step
    for measure, values in vars(alone.trace).items():
        assert close(getattr(together.trace, measure)[1:2], values, 1e-6), measure
    assert not close(together.snapshots[recipe.steps[-1]][0], alone.snapshots[recipe.steps[-1]][0], 0.01)


@RECIPES
def test_shorter_dreams_are_snapshots_of_longer_ones_and_filming_changes_nothing(model, recipe):
    unfilmed, filmed = run(model, recipe), run(model, recipe, film_every=2)
    for step in recipe.steps:
        assert torch.equal(unfilmed.snapshots[step], run(model, replace(recipe, steps=(step,))).snapshots[step])
        assert torch.equal(unfilmed.snapshots[step], filmed.snapshots[step])
    assert all(close(getattr(unfilmed.trace, measure), getattr(filmed.trace, measure), 0) for measure in METRICS)
    assert not close(unfilmed.snapshots[4], unfilmed.snapshots[recipe.steps[-1]], 1e-3)


@RECIPES
def test_the_same_seed_gives_the_same_dream_and_another_seed_another(model, recipe):
    last = recipe.steps[-1]
    first = run(model, recipe).snapshots[last]
    assert torch.equal(first, run(model, recipe).snapshots[last])
    assert not close(first, run(model, recipe, seed=1).snapshots[last], 1e-3)


@SHAPES
@RECIPES
def test_images_stay_in_range_and_arguments_do_not_change(model, recipe, shape):
    starts = rand(5, 3, *shape)
    result = run(model, replace(recipe, step_size=50.0), starts=starts, shape=shape)
    assert list(result.snapshots) == list(recipe.steps)
    for images in result.snapshots.values():
        assert images.shape == (3, 3, *shape) and images.dtype == torch.float32
        assert images.min() >= 0 and images.max() <= 1 and images.isfinite().all()
    assert torch.equal(starts, rand(5, 3, *shape))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_animation_has_a_frame_every_so_many_steps_and_ends_with_the_last_image(model):
    recipe = replace(PLAIN, steps=(2, 4, 6))
    result = run(model, recipe, film_every=2)
    images = [rand(5, 3, SIZE, SIZE)[:3], *result.snapshots.values()]
    assert len(result.frames) == 4
    for frame, image in zip(result.frames, images, strict=True):
        assert frame.dtype == torch.uint8 and torch.equal(frame, (image.float() * 255).round().to(torch.uint8))
    sparse = run(model, recipe, film_every=4).frames
    assert [torch.equal(frame, result.frames[index]) for frame, index in zip(sparse, (0, 2, 3), strict=True)] == [
        True
    ] * 3
    assert run(model, recipe).frames == []
    grown = run(model, replace(RICH, steps=(9,)), film_every=3, shape=TALL)
    assert [tuple(frame.shape) for frame in grown.frames] == [(3, 3, *TALL)] * 4
    assert torch.equal(grown.frames[-1], (grown.snapshots[9] * 255).round().to(torch.uint8))


def softmax(row: list[float]) -> list[float]:
    """Return the softmax of a list, from its definition."""
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


@SHAPES
@pytest.mark.parametrize("objective", ["logit", "cross_entropy", "probability", "margin"])
def test_the_trace_contains_the_metrics_and_the_score_increases(model, objective, shape):
    recipe = Recipe(objective=objective, steps=(7, 30), step_size=0.05, gradient_normalization="std")
    result = run(model, recipe, shape=shape)
    for step, images in ((0, rand(5, 3, *shape)[:3]), *result.snapshots.items()):
        for index, row in enumerate(model(images.double()).tolist()):
            chance, others = softmax(row)[index], sum(row) - row[index]
            loss = {"logit": -row[index], "cross_entropy": -math.log(chance), "probability": -chance}
            loss["margin"] = others / 4 - row[index]
            got = {measure: values[index, step].item() for measure, values in vars(result.trace).items()}
            change = (images[index] - rand(5, 3, *shape)[index]).abs().mean().item()
            expected = [loss[objective], row[index], chance, row.index(max(row)), change, math.nan]
            assert got == pytest.approx(dict(zip(METRICS, expected, strict=True)), abs=1e-6, nan_ok=True)
    assert (result.trace.loss[:, -1] < result.trace.loss[:, 0] - 0.01).all()
    assert all(values.shape == (3, 31) for values in vars(result.trace).values())
    assert result.ended.tolist() == [30] * 3 and result.diverged.tolist() == [0] * 3


def test_a_layer_s_dream_has_metrics_of_logits_only_at_kept_steps(model):
    result = run(model, Recipe(objective="layer_mean:2", steps=(2, 5), step_size=0.5))
    for measure in ("logit", "probability", "prediction"):
        assert getattr(result.trace, measure).isfinite().tolist() == [[step == 5 for step in range(6)]] * 3, measure
    for step, images in result.snapshots.items():
        logits = model(images.double())
        looks = vars(result.metrics[step])
        assert close(looks["logit"], logits.diagonal(), 1e-6)
        assert close(looks["loss"], -model[:3](images.double()).mean(dim=(1, 2, 3)), 1e-6)
    assert (result.trace.loss.diff(dim=1) < 0).all(), "the score increases at every step"
    judged = run(model, Recipe(objective="layer_mean:2", steps=(2, 5), step_size=0.5, stop_confidence=0.99))
    assert judged.trace.logit.isfinite().all(), "a dream that stops at a confidence evaluates the logits"


@pytest.fixture
def threads():
    """Return torch's function that sets the number of threads, and restore the number afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", [PLAIN, FOURIER], ids=["plain", "fourier"])
def test_one_and_two_threads_agree_to_a_billionth(model, recipe, threads):
    dreams = []
    for count in (1, 2):
        threads(count)
        dreams.append(run(model, replace(recipe, steps=(4,)), starts=rand(5, 3, 48, 48)))
    assert close(dreams[0].trace.loss, dreams[1].trace.loss, 1e-9)
    assert close(dreams[0].snapshots[4], dreams[1].snapshots[4], 1e-6), "snapshots are float32"


@pytest.mark.parametrize("recipe", [PLAIN, FOURIER, replace(MACO, noise=0.0)], ids=["plain", "fourier", "maco"])
def test_float32_stays_within_a_thousandth_of_float64(model, recipe):
    exact = run(model, recipe)
    rounded = run(network(torch.float32), recipe, starts=rand(5, 3, SIZE, SIZE).float())
    for step in recipe.steps:
        assert close(exact.snapshots[step], rounded.snapshots[step], 1e-3)


@RECIPES
def test_bfloat16_stays_close_to_float32(recipe):
    recipe = replace(recipe, steps=(3,))
    starts, model = rand(5, 3, SIZE, SIZE).float(), network(torch.float32)
    exact, rough = (run(model, recipe, starts=starts, precision=precision) for precision in ("float32", "bfloat16"))
    assert rough.snapshots[3].dtype == torch.float32
    difference = (exact.snapshots[3] - rough.snapshots[3]).abs().mean().item()
    assert 0 < difference < 0.01 < (exact.snapshots[3] - starts[:3]).abs().mean().item()
    assert close(exact.trace.logit, rough.trace.logit, 0.05)


def test_the_automatic_precision_depends_on_the_cpu(monkeypatch):
    processor = torch.device("cpu")
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert resolve_precision("auto", processor) == expected
        assert [resolve_precision(name, processor) for name in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    with pytest.raises(UserError, match="precision: must be one of auto, float32, bfloat16, not 'float16'"):
        resolve_precision("float16", processor)
