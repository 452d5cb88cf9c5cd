"""Whole dreams: against the algorithms written out by hand, and what must not change them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dreambirds.dreaming.batches import batch_size, in_batches
from dreambirds.dreaming.loop import MEASURES, Dreams, dream
from dreambirds.dreaming.precision import resolve_precision
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.starts import stream
from dreambirds.errors import StudyError
from dreambirds.pictures.dreams import as_recipe
from dreambirds.study.presets import load_presets
from dreambirds.study.recipes import spread

SIZE = 12
PLAIN = Recipe(steps=(1, 4, 6), step_size=0.05, gradient_normalisation="std", blur_sigma=0.5, flip=0.5)
NEAR, TURNED = {"random": [0.9, 1.2]}, {"random": [-20, 20]}
RICH = Recipe(
    objective={"logit": 1.0, "cross_entropy": 0.5, "layer_l2:0": 0.5, "neuron:3:1": 0.3},
    **{"total_variation": 0.01, "l2": 0.01, "batch_norm_prior": 0.01, "steps": (1, 4, 9), "momentum": 0.3},
    **{"step_size": {"from": 0.06, "to": 0.02, "over": 5}, "gradient_clip": 0.5, "gradient_normalisation": "l2"},
    **{"gradient_blur_sigma": {"random": [0.2, 1.0]}, "blur_sigma": {"from": 1.5, "to": 0.5, "over": 4}},
    **{"jitter": 1, "roll": 2, "flip": 0.5, "pad": 1, "scale": NEAR, "scale_width": NEAR, "rotate": TURNED},
    **{"noise": 0.02, "octaves": 2, "octave_scale": 1.5, "octave_steps": 3, "octave_manner": "detail", "tile": 7},
    **{"zoom": 1.1, "zoom_every": 2},
)
FOURIER = Recipe(image="fourier", optimizer="adam", steps=(1, 4, 6), pad=2, jitter=2, scale=NEAR, rotate=TURNED, l2=0.1)
MACO = Recipe(
    **{"image": "maco", "optimizer": "nadam", "step_size": 1.0, "steps": (1, 4, 6), "noise": 0.05},
    **{"crops": 3, "crop_size": {"random": [0.4, 0.8]}, "crop_view": 10, "objective": "cross_entropy"},
)
RECIPES = pytest.mark.parametrize(
    "recipe", [PLAIN, RICH, FOURIER, MACO], ids=["plain", "everything", "fourier", "maco"]
)


def rand(*shape: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a small frozen network for pictures of any size that is not symmetric."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    norm.running_mean[:], norm.running_var[:] = torch.linspace(-0.2, 0.3, 6), torch.linspace(0.5, 1.5, 6)
    layers = [nn.Conv2d(3, 6, 3, padding=1), norm, nn.Tanh(), nn.Conv2d(6, 4, 3, stride=2), nn.Tanh()]
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5)]
    return nn.Sequential(*layers, *head).to(dtype).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    """Return the network in float64, so that nothing hides in rounding."""
    return network()


def streams(keys: str, seed: int = 0) -> list[torch.Generator]:
    """Return a stream a letter."""
    return [stream(seed, key) for key in keys]


def run(model, recipe: Recipe, keys: str = "abc", seed: int = 0, **more) -> Dreams:
    """Dream, for each letter, of its place in the alphabet, from a picture of its own."""
    places = ["abcde".index(key) for key in keys]
    starts = more.pop("starts", rand(5, 3, SIZE, SIZE))[places]
    more = {"spectrum": 0.2 + rand(3, SIZE, SIZE // 2 + 1), **more}
    return dream(model, torch.tensor(places), starts, recipe, streams(keys, seed), **more)


def close(got, expected, atol: float) -> bool:
    """Tell whether two arrays are the same but for an absolute difference."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def blur_by_hand(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (C, H, W) with a separable Gaussian and mirrored borders."""
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


def test_a_dream_is_the_original_algorithm_with_mirrorings_undone(model):
    """The study mirrors the picture itself after each step; written here as it would be, then turned back."""
    random, image, mirrored = stream(0, "a"), rand(5, 3, SIZE, SIZE)[:1], False
    for _ in range(6):
        slope = slope_of(lambda image: model(image)[0, 0], image)
        image = (image + 0.05 * slope / (slope.std() + 1e-8)).clamp(0, 1)
        image = torch.from_numpy(blur_by_hand(image[0].numpy(), 0.5))[None]
        if torch.rand((), generator=random) < 0.5:
            image, mirrored = image.flip(-1), not mirrored
    image = image.flip(-1) if mirrored else image
    assert close(run(model, PLAIN, "a").snapshots[6], image, 1e-6)


def test_the_gradient_is_blurred_then_clipped_then_normalised_and_gains_momentum(model):
    blurred = Recipe(steps=(5,), step_size=0.2, gradient_blur_sigma=0.8, momentum=0.5)
    for more, length in (({"gradient_normalisation": "l2"}, None), ({"gradient_clip": 0.02}, 0.02)):
        image, way = rand(5, 3, SIZE, SIZE)[:1], 0.0
        for _ in range(5):
            slope = slope_of(lambda image: model(image)[0, 0], image)
            slope = torch.from_numpy(blur_by_hand(slope[0].numpy(), 0.8))[None]
            size = np.linalg.norm(slope)
            way = 0.5 * way + (slope / size if length is None else slope * min(1, length / size))
            image = (image + 0.2 * way).clamp(0, 1)
        assert length is None or size > length, "there was something to clip"
        assert close(run(model, replace(blurred, **more), "a").snapshots[5], image, 1e-6)


def test_penalties_and_the_prior_hold_the_dream_back_by_their_weights(model):
    weights = {"total_variation": 0.3, "l2": 0.2, "batch_norm_prior": 0.4}
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
    assert close(got.trace["loss"][0], [*losses, -score(image).item()], 1e-6)


def test_a_fourier_dream_is_adam_on_the_coefficients(model):
    colours = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
    colours = colours / math.sqrt(0.26**2 + 2 * 0.27**2)
    down, across = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)
    scale = torch.from_numpy(1 / np.maximum(np.hypot(down, across), 1 / SIZE) / 4)

    def image_of(parameters: torch.Tensor) -> torch.Tensor:
        picture = torch.fft.irfft2(torch.complex(*parameters.unbind(-1)) * scale, s=(SIZE, SIZE), norm="ortho")
        return torch.sigmoid((colours @ picture.flatten(2)).unflatten(2, (SIZE, SIZE)))

    start = 0.2 + 0.6 * rand(5, 3, SIZE, SIZE)
    flat = torch.linalg.inv(colours) @ torch.logit(start[:1]).flatten(2)
    parameters = torch.view_as_real(torch.fft.rfft2(flat.unflatten(2, (SIZE, SIZE)), norm="ortho") / scale)
    first, second = 0.0, 0.0
    for step in range(1, 6):
        slope = slope_of(lambda parameters: model(image_of(parameters))[0, 0], parameters)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        parameters = parameters + 0.05 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    recipe = Recipe(image="fourier", optimizer="adam", step_size=0.05, steps=(5,))
    assert close(run(model, recipe, "a", starts=start).snapshots[5], image_of(parameters), 1e-5)


def test_crops_count_as_their_mean_so_that_crops_of_the_whole_are_the_plain_dream(model):
    plain = Recipe(steps=(5,), step_size=0.5)
    whole, crops = run(model, plain), run(model, replace(plain, crops=3, crop_size=1.0))
    assert close(whole.snapshots[5], crops.snapshots[5], 1e-5)
    assert all(close(whole.trace[measure], crops.trace[measure], 1e-5) for measure in MEASURES)


@RECIPES
def test_a_dream_does_not_depend_on_its_batch_mates(model, recipe):
    together, alone = run(model, recipe, "abc"), run(model, recipe, "b")
    for step in recipe.steps:
        assert close(together.snapshots[step][1:2], alone.snapshots[step], 1e-6), step
    for measure, values in alone.trace.items():
        assert close(together.trace[measure][1:2], values, 1e-6), measure
    assert not close(together.snapshots[recipe.steps[-1]][0], alone.snapshots[recipe.steps[-1]][0], 0.01)


@RECIPES
def test_shorter_dreams_are_moments_of_longer_ones_and_watching_changes_nothing(model, recipe):
    whole, filmed = run(model, recipe), run(model, recipe, film_every=2)
    for step in recipe.steps:
        assert torch.equal(whole.snapshots[step], run(model, replace(recipe, steps=(step,))).snapshots[step])
        assert torch.equal(whole.snapshots[step], filmed.snapshots[step])
    assert all(torch.equal(whole.trace[measure], filmed.trace[measure]) for measure in MEASURES)
    assert not close(whole.snapshots[4], whole.snapshots[recipe.steps[-1]], 1e-3)


@RECIPES
def test_the_same_seed_gives_the_same_dream_and_another_seed_another(model, recipe):
    last = recipe.steps[-1]
    first = run(model, recipe).snapshots[last]
    assert torch.equal(first, run(model, recipe).snapshots[last])
    assert not close(first, run(model, recipe, seed=1).snapshots[last], 1e-3)


@RECIPES
def test_pictures_stay_in_range_and_nothing_given_is_changed(model, recipe):
    starts = rand(5, 3, SIZE, SIZE)
    result = run(model, replace(recipe, step_size=50.0), starts=starts)
    assert list(result.snapshots) == list(recipe.steps)
    for images in result.snapshots.values():
        assert images.shape == (3, 3, SIZE, SIZE) and images.dtype == torch.float32
        assert images.min() >= 0 and images.max() <= 1 and images.isfinite().all()
    assert torch.equal(starts, rand(5, 3, SIZE, SIZE))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_film_has_a_frame_every_so_many_steps_and_ends_with_the_last_picture(model):
    recipe = replace(PLAIN, steps=(2, 4, 6))
    result = run(model, recipe, film_every=2)
    pictures = [rand(5, 3, SIZE, SIZE)[:3], *result.snapshots.values()]
    assert len(result.frames) == 4
    for frame, picture in zip(result.frames, pictures, strict=True):
        assert frame.dtype == torch.uint8 and torch.equal(frame, (picture.float() * 255).round().to(torch.uint8))
    sparse = run(model, recipe, film_every=4).frames
    assert [torch.equal(frame, result.frames[place]) for frame, place in zip(sparse, (0, 2, 3), strict=True)] == [
        True
    ] * 3
    assert run(model, recipe).frames == []
    grown = run(model, replace(RICH, steps=(9,)), film_every=3)
    assert [tuple(frame.shape) for frame in grown.frames] == [(3, 3, SIZE, SIZE)] * 4
    assert torch.equal(grown.frames[-1], (grown.snapshots[9] * 255).round().to(torch.uint8))


def softmax(row: list[float]) -> list[float]:
    """Return the softmax of a list, by the textbook."""
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("objective", ["logit", "cross_entropy", "probability", "margin"])
def test_the_trace_measures_what_it_says_and_the_dream_climbs(model, objective):
    recipe = Recipe(objective=objective, steps=(7, 30), step_size=0.05, gradient_normalisation="std")
    result = run(model, recipe)
    for step, images in ((0, rand(5, 3, SIZE, SIZE)[:3]), *result.snapshots.items()):
        for place, row in enumerate(model(images.double()).tolist()):
            chance, others = softmax(row)[place], sum(row) - row[place]
            loss = {"logit": -row[place], "cross_entropy": -math.log(chance), "probability": -chance}
            loss["margin"] = others / 4 - row[place]
            got = {measure: values[place, step].item() for measure, values in result.trace.items()}
            change = (images[place] - rand(5, 3, SIZE, SIZE)[place]).abs().mean().item()
            expected = [loss[objective], row[place], chance, row.index(max(row)), change]
            assert got == pytest.approx(dict(zip(MEASURES, expected, strict=True)), abs=1e-6)
    assert (result.trace["loss"][:, -1] < result.trace["loss"][:, 0] - 0.01).all()
    assert all(values.shape == (3, 31) for values in result.trace.values())
    assert result.ended.tolist() == [30] * 3 and result.failed.tolist() == [0] * 3


def test_a_layer_s_dream_knows_its_class_only_at_kept_steps(model):
    result = run(model, Recipe(objective="layer_mean:2", steps=(2, 5), step_size=0.5))
    for measure in ("logit", "probability", "top1"):
        assert result.trace[measure].isfinite().tolist() == [[step in (2, 5) for step in range(6)]] * 3, measure
    for step, images in result.snapshots.items():
        logits = model(images.double())
        assert close(result.trace["logit"][:, step], logits.diagonal(), 1e-6)
        assert close(result.trace["loss"][:, step], -model[:3](images.double()).mean(dim=(1, 2, 3)), 1e-6)
    assert (result.trace["loss"].diff(dim=1) < 0).all(), "it climbs at every step"
    judged = run(model, Recipe(objective="layer_mean:2", steps=(2, 5), step_size=0.5, stop_confidence=0.99))
    assert judged.trace["logit"].isfinite().all(), "a dream that waits for a confidence looks at it"


@pytest.fixture
def threads():
    """Return torch's function that sets the number of threads; what it was comes back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", [PLAIN, FOURIER], ids=["plain", "fourier"])
def test_one_and_two_threads_agree_to_a_billionth(model, recipe, threads):
    dreams = []
    for count in (1, 2):
        threads(count)
        dreams.append(run(model, replace(recipe, steps=(4,)), starts=rand(5, 3, 48, 48)))
    assert close(dreams[0].trace["loss"], dreams[1].trace["loss"], 1e-9)
    assert close(dreams[0].snapshots[4], dreams[1].snapshots[4], 1e-6), "snapshots are float32"


@pytest.mark.parametrize("recipe", [PLAIN, FOURIER, replace(MACO, noise=0.0)], ids=["plain", "fourier", "maco"])
def test_float32_stays_within_a_thousandth_of_float64(model, recipe):
    exact = run(model, recipe)
    rounded = run(network(torch.float32), recipe, starts=rand(5, 3, SIZE, SIZE).float())
    for step in recipe.steps:
        assert close(exact.snapshots[step], rounded.snapshots[step], 1e-3)


@RECIPES
def test_bfloat16_runs_and_stays_near(recipe):
    recipe = replace(recipe, steps=(3,))
    starts, model = rand(5, 3, SIZE, SIZE).float(), network(torch.float32)
    exact, rough = (run(model, recipe, starts=starts, precision=precision) for precision in ("float32", "bfloat16"))
    assert rough.snapshots[3].dtype == torch.float32
    apart = (exact.snapshots[3] - rough.snapshots[3]).abs().mean().item()
    assert 0 < apart < 0.01 < (exact.snapshots[3] - starts[:3]).abs().mean().item()
    assert close(exact.trace["logit"], rough.trace["logit"], 0.05)


def test_a_precision_is_resolved_by_what_the_processor_computes_with(monkeypatch):
    processor = torch.device("cpu")
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert resolve_precision("auto", processor) == expected
        assert [resolve_precision(name, processor) for name in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    with pytest.raises(StudyError, match="precision: must be one of auto, float32, bfloat16, not 'float16'"):
        resolve_precision("float16", processor)


class Failing(nn.Module):
    """A model that leaves the numbers from its third call on: its logits, or the slopes by its images, hold a value."""

    def __init__(self, network: nn.Module, logits: tuple = (), slopes: tuple = (), value: float = math.nan):
        super().__init__()
        self.network, self.logits, self.slopes, self.value, self.calls = network, logits, slopes, value, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        images = images * 1
        if self.slopes and self.calls >= 3 and images.requires_grad:
            images.register_hook(lambda slope: slope.index_put(self.slopes, slope.new_tensor(self.value)))
        logits = self.network(images)
        if self.logits and self.calls >= 3:
            broken = torch.zeros_like(logits)
            broken[self.logits] = self.value
            logits = logits + broken
        return logits


HERE = torch.tensor(1)


@pytest.mark.parametrize("recipe", [replace(PLAIN, momentum=0.5), FOURIER], ids=["ascent", "adam"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "where",
    [{"logits": (slice(None), 1)}, {"logits": (1, slice(None))}, {"slopes": (HERE,)}, {"slopes": (HERE,) * 4}],
    ids=["a class", "a picture", "its slopes", "one slope"],
)
def test_a_dream_that_leaves_the_numbers_stops_and_its_mates_are_undisturbed(model, recipe, value, where):
    recipe = replace(recipe, steps=(2, 5))
    broken, whole = run(Failing(model, value=value, **where), recipe), run(model, recipe)
    assert broken.failed.tolist() == [0, 3, 0] and broken.ended.tolist() == [5, 2, 5]
    for mate in (0, 2):
        assert torch.equal(broken.snapshots[5][mate], whole.snapshots[5][mate])
    assert torch.equal(broken.snapshots[5][1], whole.snapshots[2][1]), "it stays as it was before"
    assert torch.equal(broken.snapshots[2], whole.snapshots[2])


def test_dreams_stop_each_by_itself_once_the_model_is_confident(model):
    recipe = Recipe(steps=(60,), step_size=0.03, gradient_normalisation="std")
    free = run(model, recipe)
    reached = [int((chance >= 0.3).nonzero()[0]) for chance in free.trace["probability"]]
    assert len(set(reached)) == 3 and max(reached) < 45, reached
    moments = tuple(sorted(reached))
    free = run(model, replace(recipe, steps=(*moments, 60)))
    counting = Failing(model)
    counting.forward = lambda images: (setattr(counting, "calls", counting.calls + 1), model(images))[1]
    stopped = run(counting, replace(recipe, steps=(*moments, 60), stop_confidence=0.3))
    assert stopped.ended.tolist() == reached and stopped.failed.tolist() == [0, 0, 0]
    for place, end in enumerate(reached):
        for step in (*moments, 60):
            assert torch.equal(stopped.snapshots[step][place], free.snapshots[min(step, end)][place])
        for measure, values in stopped.trace.items():
            assert torch.equal(values[place, : end + 1], free.trace[measure][place, : end + 1])
    assert counting.calls <= max(reached) + 11, "nothing is computed once all have stopped"


class Climb(nn.Module):
    """Three logits: one that is always 0, the picture's mean, and one that hardly grows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0 * mean, mean, 100 + 0.1 * mean], dim=1)


def test_dreams_stop_each_by_itself_where_their_score_stands_still():
    recipe = Recipe(steps=(2, 60), step_size=0.05, gradient_normalisation="mean_abs", stop_plateau=3)
    starts = torch.full((5, 3, 4, 4), 0.5, dtype=torch.float64)
    result = run(Climb(), recipe, starts=starts)
    assert result.ended.tolist() == [3, 13, 3], "white is reached after ten steps, and three more find nothing better"
    assert close(result.snapshots[60][1], 1, 1e-6) and close(result.snapshots[60][2], 0.65, 1e-6)
    assert torch.equal(result.snapshots[60][0], starts[0].float())


@pytest.mark.parametrize("growing", [{"octaves": 2, "octave_scale": 1.5, "octave_steps": 12}, {"zoom": 1.1}], ids=str)
def test_a_dream_that_has_stopped_repeats_its_picture_while_others_go_on(model, growing):
    recipe = Recipe(steps=(10, 11, 28, 40), step_size=0.03, gradient_normalisation="std", **growing)
    free = run(model, recipe).trace["probability"]
    early = free[:, :11].amax(dim=1)
    first = int(early.argmax())
    confidence = (early[first].item() + early.sort().values[1].item()) / 2
    result = run(model, replace(recipe, stop_confidence=confidence))
    assert result.ended[first] <= 10 < result.ended.max(), "one has stopped by then, another has not"
    for step in (11, 28, 40):
        assert close(result.snapshots[step][first], result.snapshots[10][first], 1e-6), step


def test_batches_are_dreamt_in_order_and_halved_where_memory_runs_out():
    tried = []

    def dream_of(places: list[int], error: Exception, most: int) -> str:
        tried.append(len(places))
        if len(places) > most:
            raise error
        return "".join(map(str, places))

    assert list(in_batches(lambda places: dream_of(places, None, 9), 7, 3)) == [
        ([0, 1, 2], "012"),
        ([3, 4, 5], "345"),
        ([6], "6"),
    ]
    for error in (torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate")):
        tried.clear()
        made = in_batches(lambda places, error=error: dream_of(places, error, 2), 9, 8)
        assert [places for places, _ in made] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
        assert tried == [8, 4, 2, 2, 2, 2, 1]
    with pytest.raises(StudyError, match="memory ran out on a single picture; set a smaller `size`, or `tile`"):
        list(in_batches(lambda places: dream_of(places, MemoryError(), 0), 3, 2))
    for error in (RuntimeError("shapes differ"), StudyError("no such layer"), KeyError("a")):
        with pytest.raises(type(error)) as raised:
            list(in_batches(lambda places, error=error: dream_of(places, error, 0), 3, 2))
        assert raised.value is error


def test_a_batch_fits_into_four_fifths_of_the_memory():
    processor, card = torch.device("cpu"), torch.device("cuda")
    assert [batch_size(100, free, processor) for free in (0, 100, 999, 1000, 10**6)] == [1, 1, 7, 8, 16]
    assert batch_size(100, 10**6, card) == 256 and batch_size(0, 10**6, processor) == 16
    assert batch_size(100, -5, processor) == 1, "the process itself may take more than there is"


NORMALISED = 0.225  # ImageNet's standard deviation, in which DeepInversion counts
PUBLISHED = {
    "original": Recipe("logit", steps=(200, 500, 1000, 2000), blur_sigma=0.5, flip=0.5),
    "tensorflow-tutorial": Recipe(
        {"layer_mean:50%": 1.0, "layer_mean:75%": 1.0},
        **{"steps": (5 * 50,), "step_size": 0.01 / 2, "gradient_normalisation": "std", "tile": 512},
        **{"octaves": 5, "octave_scale": 1.3, "octave_steps": 50, "octave_manner": "resize"},
    ),
    "google-2015": Recipe(
        "layer_l2:75%",
        **{"steps": (4 * 10,), "step_size": 1.5 / 255, "gradient_normalisation": "mean_abs", "roll": 32},
        **{"octaves": 4, "octave_scale": 1.4, "octave_steps": 10, "octave_manner": "detail"},
    ),
    "lucid": Recipe(
        **{"image": "fourier", "optimizer": "adam", "step_size": 0.05, "steps": (512,)},
        **{"pad": 12, "jitter": (8 + 4) // 2, "scale": {"random": [0.9, 1.1]}, "rotate": {"random": [-10, 10]}},
    ),
    "torch-dreams": Recipe(
        **{"image": "fourier", "optimizer": "adamw", "step_size": 9e-3, "steps": (120,), "gradient_clip": 1.0},
        **{"scale": {"random": [0.5, 1.2]}, "scale_width": {"random": [0.5, 1.2]}, "rotate": {"random": [-15, 15]}},
    ),
    "captum": Recipe(
        **{"image": "fourier", "optimizer": "adam", "step_size": 0.025, "steps": (512,)},
        **{"jitter": 16, "scale": {"random": [0.95, 1.05]}},
    ),
    "deep-inversion": Recipe(
        "cross_entropy",
        **{"total_variation": 1e-4 / NORMALISED, "l2": 1e-5 / NORMALISED, "batch_norm_prior": 0.05, "roll": 30},
        **{"steps": (2000 + 1000,), "optimizer": "adam", "beta1": 0.5, "beta2": 0.9, "flip": 0.5},
        **{"step_size": {"from": round(0.2 * NORMALISED, 9), "to": 0.0, "over": 3000, "shape": "cosine"}},
        **{"octaves": 2, "octave_scale": 2.0, "octave_steps": 2000},
    ),
    "maco": Recipe(
        **{"image": "maco", "optimizer": "nadam", "step_size": 1.0, "steps": (1000,)},
        **{"crops": 6, "crop_size": {"random": [0.20, 0.25]}, "noise": 0.05 / 5},
    ),
}
OWN_CHOICE = {"original": {"step_size", "gradient_normalisation"}}  # nothing is published of these
STARTS = {
    **{"original": "grey", "tensorflow-tutorial": "photograph", "google-2015": "photograph", "lucid": "spectral_noise"},
    **{"torch-dreams": "spectral_noise", "captum": "spectral_noise", "deep-inversion": "noise", "maco": "noise"},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_preset_dreams_with_its_published_numbers_and_nothing_else(name):
    (point,) = spread("a", {"preset": name}).values()
    got, published = vars(as_recipe(point, 100)), vars(PUBLISHED[name])
    for key in got.keys() - OWN_CHOICE.get(name, set()):
        expected = published[key]
        near = isinstance(expected, float) and not isinstance(got[key], dict)
        assert got[key] == (pytest.approx(expected, rel=2e-3) if near else expected), key
    assert point["start"] == STARTS[name] and (name != "deep-inversion" or point["start_noise"] == NORMALISED)


def test_presets_tell_their_source_and_a_wrong_one_is_refused():
    assert set(load_presets()) == {*PUBLISHED, "bird"}, "the bird's numbers were found here"
    (bird,) = spread("a", {"preset": "bird"}).values()
    assert as_recipe(bird, 64).steps == tuple(bird["steps"])
    assert all(len(preset.source) > 20 for preset in load_presets().values())
    with pytest.raises(StudyError, match=r"dreams\.recipes\.a\.preset: .*google-2015"):
        spread("a", {"preset": "google-2051"})


def test_lengths_grow_with_the_picture_where_a_recipe_says_at_which_side_they_are_meant():
    line, wave = {"from": 2.0, "to": 0.5, "over": 9}, {"from": 1.0, "to": 3.0, "over": 4, "shape": "cosine"}
    lengths = {"blur_sigma": line, "gradient_blur_sigma": {"random": [0.5, 1.0]}, "jitter": 3, "roll": 8, "pad": 5}
    (point,) = spread("a", {**lengths, "lengths_at": 64}).values()
    same, larger, smaller = (as_recipe(point, side) for side in (64, 160, 32))
    assert {key: getattr(same, key) for key in lengths} == lengths
    assert larger.blur_sigma == {"from": 5.0, "to": 1.25, "over": 9} and larger.gradient_blur_sigma["random"] == [
        1.25,
        2.5,
    ]
    assert (larger.jitter, larger.roll, larger.pad) == (8, 20, 12) and isinstance(larger.jitter, int)
    assert smaller.roll == 4 and smaller.blur_sigma["to"] == 0.25
    assert replace(larger, **lengths) == same, "nothing else is scaled"
    (point,) = spread("a", {"blur_sigma": wave, "gradient_blur_sigma": 0.5}).values()
    assert as_recipe(point, 999).blur_sigma == wave, "lengths are what they are unless a side is given"
    (point,) = spread("a", {"blur_sigma": wave, "gradient_blur_sigma": 0.5, "lengths_at": 16}).values()
    assert as_recipe(point, 32).blur_sigma == {"from": 2.0, "to": 6.0, "over": 4, "shape": "cosine"}
    assert as_recipe(point, 32).gradient_blur_sigma == 1.0
