"""Dreams and images with NaN, infinite, zero or constant values: an error, or finite and correct results."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from dreambirds.data.labels import Label
from dreambirds.dream_job.archive import read_index
from dreambirds.dream_job.context import DreamJob
from dreambirds.dream_job.image_files import save_gif
from dreambirds.dream_job.run import run_dream_job
from dreambirds.dream_job.views import rescale, rescale_together
from dreambirds.dreaming import updates
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.dreaming.matching import photograph_statistics, stack_statistics
from dreambirds.dreaming.parameterization import EDGE, mean_spectrum
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError
from dreambirds.evaluation.agreement import mean_similarity
from dreambirds.evaluation.judge import load_judge
from dreambirds.evaluation.metrics import classification_metrics, cosine_distance
from dreambirds.evaluation.pixels import ROUNDING, radial_spectrum, spectrum_distance, total_variation
from dreambirds.figures.draw import plot_curves
from dreambirds.models.checkpoint import load_checkpoint, save_checkpoint
from dreambirds.models.classifier import build
from tests.helpers.dream_bench import CPU, NAMES, checkpoint, entries, parameters
from tests.helpers.small import SQUARE, network, rand, run

ROW = "NaN and infinite values survived"
NORMALIZATIONS, OPTIMIZERS = ("none", "std", "mean_abs", "l2"), ("ascent", "adam", "adamw", "nadam")
SPACES = ("pixels", "fourier", "maco", "pyramid")
STARTS = {"random": None, "gray": 128 / 255, "black": 0.0, "white": 1.0}


class Flat(nn.Module):
    """A model whose logits have the same gradient at every pixel."""

    def __init__(self, slope: float):
        """Take the factor of the mean."""
        super().__init__()
        self.slope = slope

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.slope * images.mean(dim=(1, 2, 3))[:, None].expand(-1, 5)


class Diverging(nn.Module):
    """A model whose gradient is NaN for the second image from one call on: that of a square root at 0."""

    def __init__(self, network: nn.Module, call: int, count: int):
        """Take the model, the call, counted from 0, and the number of images in a batch of dreams."""
        super().__init__()
        self.network, self.call, self.count, self.calls = network, call, count, -1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += images.requires_grad
        logits = self.network(images)
        if self.calls < self.call or not images.requires_grad:
            return logits
        second = torch.arange(len(images)) // (len(images) // self.count) == 1
        root = torch.where(second, (images * 0).sum(dim=(1, 2, 3)), 1.0).sqrt()
        return logits + (root - root.detach())[:, None]


def start_images(kind: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return five start images of a type in STARTS."""
    value = STARTS[kind]
    return rand(5, 3, *SQUARE).to(dtype) if value is None else torch.full((5, 3, *SQUARE), value, dtype=dtype)


def flat(slope: float, space: str, start: str):
    """Yield a recipe and its dreams of a flat model for each normalization and optimizer."""
    for normalization, optimizer in itertools.product(NORMALIZATIONS, OPTIMIZERS):
        recipe = Recipe(steps=(1, 4), step_size=0.05, gradient_normalization=normalization, optimizer=optimizer)
        recipe = replace(recipe, parameterization=space, momentum=0.5, blur_sigma=0.0)
        yield recipe, run(Flat(slope), recipe, starts=start_images(start))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("space", SPACES)
def test_a_zero_gradient_changes_no_dream(space, start, counted):
    given = start_images(start)[:3]
    for recipe, dreams in flat(0.0, space, start):
        assert dreams.diverged.tolist() == [0, 0, 0] and dreams.ended.tolist() == [4, 4, 4], recipe
        first, last = dreams.snapshots[1], dreams.snapshots[4]
        assert torch.equal(first, last) and first.isfinite().all(), recipe
        if space != "maco":  # which keeps only phases
            edge = EDGE if space in ("fourier", "pyramid") else 0.0
            assert (first - given.clamp(edge, 1 - edge)).abs().max() < 1e-5, recipe
        counted(ROW)


@pytest.mark.parametrize("slope", [1.0, 1e-30, 1e25])
@pytest.mark.parametrize("space", SPACES)
def test_a_constant_gradient_gives_finite_images(space, slope, counted):
    for recipe, dreams in itertools.chain.from_iterable(flat(slope, space, start) for start in STARTS):
        for images in dreams.snapshots.values():
            assert images.isfinite().all() and images.min() >= 0 and images.max() <= 1, recipe
        assert not dreams.diverged.any() or slope > 1, recipe
        counted(ROW)


@pytest.mark.parametrize("value", [0.0, 0.25, 1e-25, 1e25, -3e38])
def test_the_magnitude_of_a_constant_gradient_equals_numpy_s(value):
    gradient = torch.full((2, 3, 4, 4), value, dtype=torch.float64)
    flattened = gradient.numpy().reshape(2, -1)
    sizes = {"none": np.ones(2), "mean_abs": np.abs(flattened).mean(1), "l2": np.sqrt((flattened**2).sum(1))}
    for how, size in sizes.items():
        expected = flattened / np.maximum(size, updates.TINY)[:, None]
        assert np.allclose(updates.normalize(gradient, how).numpy().reshape(2, -1), expected, rtol=1e-9, atol=0)
    assert updates.normalize(gradient, "std").isfinite().all()


@pytest.mark.parametrize("call", [0, 2])
@pytest.mark.parametrize("space", SPACES)
def test_a_nan_gradient_of_one_dream_does_not_affect_its_batch(space, call, counted):
    model, blurs = network(), {"blur_sigma": 0.5, "gradient_blur_sigma": 0.5} if space == "pixels" else {}
    for normalization, optimizer in itertools.product(NORMALIZATIONS, OPTIMIZERS):
        recipe = Recipe(steps=(call + 1, 5), step_size=0.03, gradient_normalization=normalization, optimizer=optimizer)
        recipe = replace(recipe, parameterization=space, momentum=0.5, gradient_clip=0.5, **blurs)
        diverged, healthy = run(Diverging(model, call, 3), recipe), run(model, recipe)
        assert diverged.diverged.tolist() == [0, call + 1, 0] and diverged.ended.tolist() == [5, call, 5], recipe
        assert diverged.snapshots[5].isfinite().all()
        for index in (0, 2):
            assert torch.equal(diverged.snapshots[5][index], healthy.snapshots[5][index]), recipe
            alone = run(model, recipe, keys="abc"[index])
            assert (diverged.snapshots[5][index] - alone.snapshots[5][0]).abs().max() < 1e-5, recipe
        counted(ROW)


@pytest.mark.parametrize("start", ["random", "black"])
@pytest.mark.parametrize("kind", ["sorted", "moments"])
def test_constant_photographs_and_dead_layers_give_finite_images(kind, start, counted):
    objective = {"cross_entropy": 1.0, "feature_match:0": 1.0, "feature_match:3": 1.0}
    for photographs, dead in itertools.product(STARTS, ((), (0,), (3,))):
        model = network(torch.float32)
        for index in dead:
            for parameter in model[index].parameters():
                parameter.zero_()
        for normalization, optimizer in itertools.product(NORMALIZATIONS, ("ascent", "adam")):
            recipe = Recipe(objective, match_statistics=kind, match_regions="thirds", steps=(1, 4), step_size=0.05)
            recipe = replace(recipe, optimizer=optimizer, gradient_normalization=normalization)
            features = FeatureExtractor(model, ["0", "3"], logits=False)
            found = photograph_statistics(features, start_images(photographs)[:2], recipe)
            dreams = run(model, recipe, starts=start_images(start), references=stack_statistics([found] * 3))
            assert not dreams.diverged.any() and dreams.trace.loss.isfinite().all(), recipe
            assert all(images.isfinite().all() for images in dreams.snapshots.values()), recipe
            counted(ROW)


@pytest.fixture
def dream_with(tmp_path, monkeypatch):
    """Return a function that fills a weight of a checkpoint with a value and dreams of all its classes."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))

    def dreamt(weight: str, value: float, index: int | slice = slice(None), **recipe) -> pd.DataFrame:
        path = checkpoint(tmp_path / "epoch-0001")
        classifier, info = load_checkpoint(path)
        classifier.network.state_dict()[weight][index] = value
        save_checkpoint(path.parent, classifier, info)
        job = DreamJob(path, "r", parameters(**recipe), NAMES, {}, None, 4 * 10**9)
        archive = tmp_path / "out" / "dreams.zip"
        archive.parent.mkdir(exist_ok=True)
        run_dream_job(job, CPU, archive)
        return read_index(archive).set_index("label")

    return dreamt


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("weight", ["fc.weight", "conv1.0.weight", "bn1.running_var", "bn1.running_mean"])
def test_a_checkpoint_with_nan_or_infinite_values_is_refused(dream_with, tmp_path, weight, value, counted):
    with pytest.raises(UserError) as error:
        dream_with(weight, value, 0)
    message = str(error.value)
    assert message.endswith(
        f"contains NaN or infinite values in '{weight}'; delete it and run the same command again to retrain its epoch"
    )
    assert not list(tmp_path.rglob("*.png"))
    counted(ROW)


def test_weights_that_are_too_large_for_any_dream_are_not_blamed_on_the_step_size(dream_with, tmp_path, counted):
    with pytest.raises(UserError) as error:
        dream_with("fc.weight", 3e38)
    assert "cannot begin, whatever the step size, because" in str(error.value)
    assert str(error.value).endswith(
        "is NaN or infinite; set another 'objective' or 'start', or train with a lower 'learning_rate'"
    )
    assert entries(tmp_path / "store") == []
    counted(ROW)


def test_weights_of_one_class_that_are_too_large_do_not_affect_other_dreams(dream_with, tmp_path, caplog, counted):
    rows = dream_with("fc.weight", 3e38, 1)
    assert rows["diverged_at"].fillna(0).tolist() == [0, 0, 1, 1, 0, 0]
    assert caplog.text.count("dreams.recipes.r: the dream of 'b' cannot begin, whatever the step size, ") == 1
    assert len(entries(tmp_path / "store")) == 4
    for name in ("step-0001.png", "step-0001-rescaled.png", "step-0003.png"):
        assert np.ptp(np.asarray(Image.open(tmp_path / "out/b" / name))) == 0, "the gray start image"
    counted(ROW)


@pytest.mark.parametrize(("value", "dtype"), [(math.nan, torch.float32), (math.inf, torch.float16), (1e300, None)])
def test_nan_or_infinite_weights_of_a_run_or_a_judge_are_refused(tmp_path, value, dtype, counted):
    path, names = tmp_path / "weights.safetensors", tmp_path / "labels.txt"
    names.write_text("Blue Jay\nWren\n")
    state = build("test_resnet", 2, {}).network.state_dict()
    state["conv1.0.weight"] = state["conv1.0.weight"].to(dtype or torch.float64)
    state["conv1.0.weight"][0, 0, 0, 0] = value
    save_file(state, path)
    judge = {"weights": str(path), "model": "test_resnet", "model_options": {}, "image_size": 32, "names": {}}
    judge |= {"weights_key": None, "head": "softmax", "normalization": None}
    for load in (
        lambda: build("test_resnet", 2, {}, str(path)),
        lambda: load_judge("j", {**judge, "labels": str(names)}, path, [Label("blue_jay", "Blue Jay")], CPU),
    ):
        with pytest.raises(UserError, match=r"contains NaN or infinite values in 'conv1\.0\.weight'; choose"):
            load()
        counted(ROW)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_metrics_and_views_of_a_constant_image_equal_closed_forms(tmp_path, value, counted):
    array, image = np.full((16, 24, 3), value), torch.full((3, 16, 24), value)
    assert total_variation(array) == 0
    spectrum = radial_spectrum(array)
    assert np.allclose(spectrum, math.log10(ROUNDING), rtol=0, atol=1e-9) and spectrum_distance(spectrum, spectrum) == 0
    assert torch.equal(rescale(image), torch.full_like(image, 0.5))
    frames = (image * 255).round().to(torch.uint8).expand(3, 3, 16, 24)
    assert torch.equal(rescale_together(frames), torch.full((3, 3, 16, 24), 0.5))
    color = round(value * 255)
    save_gif([Image.new("RGB", (24, 16), (color,) * 3)] * 3, tmp_path / "film.gif", 0.1, "")
    shown = np.asarray(Image.open(tmp_path / "film.gif").convert("RGB")).astype(int)
    assert np.abs(shown - color).max() <= 8 and np.ptp(shown) == 0
    counted(ROW)


def test_the_spectrum_of_constant_images_contains_only_their_mean_and_can_be_used_for_dreams(counted):
    spectrum = mean_spectrum([torch.full((4, 3, *SQUARE), 0.3, dtype=torch.float64)])
    assert (spectrum[:, 0, 0] > 0.1).all() and spectrum.flatten(1)[:, 1:].max() < 1e-12
    dreams = run(
        network(), Recipe(parameterization="maco", optimizer="nadam", steps=(1, 5), step_size=1.0), spectrum=spectrum
    )
    assert not dreams.diverged.any() and all(images.isfinite().all() for images in dreams.snapshots.values())
    assert (dreams.snapshots[5] - dreams.snapshots[5].mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-5
    counted(ROW)


def test_metrics_of_one_class_and_of_zero_features_are_finite_or_empty(counted):
    seen = classification_metrics(torch.tensor([[3.0], [-3e38]]), torch.tensor([0, 0]))
    assert seen["probability"].tolist() == [1, 1] and seen["rank"].tolist() == [1, 1]
    zeros = torch.zeros(3, 8)
    assert cosine_distance(zeros, torch.ones(8)).tolist() == [1, 1, 1]
    similarity = mean_similarity(zeros.numpy(), np.array([0, 0, 1]))
    assert similarity[:2].tolist() == [0, 0] and np.isnan(similarity[2]), "there is no other seed"
    counted(ROW, 2)


def test_curves_without_values_are_drawn(tmp_path):
    nothing = pd.DataFrame(
        columns=["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"], index=[0]
    )
    plot_curves(nothing.astype(float).assign(run="a", epoch=0), tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[0] > 100


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (90, 120, 30)])
@pytest.mark.parametrize("space", ["pixels", "fourier"])
def test_dreams_can_start_from_a_constant_photograph(tmp_path, monkeypatch, space, color, counted):
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    Image.new("RGB", (40, 40), color).save(tmp_path / "start.png")
    path = checkpoint(tmp_path / "epoch-0001")
    recipe = parameters(
        start="photograph", start_path=str(tmp_path / "start.png"), parameterization=space, blur_sigma=0
    )
    photographs = dict.fromkeys(NAMES, tmp_path / "start.png")
    run_dream_job(DreamJob(path, "r", recipe, NAMES, photographs, None, 10**9), CPU, tmp_path / "dreams.zip")
    table = read_index(tmp_path / "dreams.zip")
    assert (
        table["diverged_at"].isna().all()
        and np.isfinite(table[["loss", "logit", "probability", "mean_abs_change"]]).all().all()
    )
    counted(ROW)
