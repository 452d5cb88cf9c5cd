"""Complete dream jobs: a recipe changes the pixels, metadata records the rest."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import gaussian_blur

from dreambirds.config.recipes import expand_grid, load_presets
from dreambirds.dream_job import context, networks
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dream_job.run import run_dream_job
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.dreaming.parameterization import mean_spectrum
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.errors import UserError
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint, save_tensors
from dreambirds.models.classifier import build
from dreambirds.plan.plan import make_plan
from dreambirds.seeding import generator
from dreambirds.shapes import shape_of
from dreambirds.startup.memory_profile import check_models
from tests.helpers.bench import Bench

pytestmark = pytest.mark.slow

NAMES = {"a": "Ash", "b": "Birch", "c": "Cedar"}
CPU = torch.device("cpu")


def make_checkpoint(folder, size: int | list[int]):
    """Write a checkpoint of a tiny network for images of a size."""
    torch.manual_seed(0)
    classifier = build("test_resnet", 3, {})
    with torch.no_grad():
        for _ in range(5):
            classifier(torch.rand(8, 3, *shape_of(size)))
    save_checkpoint(folder / "epoch-0001", classifier, CheckpointInfo("test_resnet", {}, list(NAMES), "run", 1, size))
    return folder / "epoch-0001" / "model.safetensors"


@pytest.fixture
def checkpoint(tmp_path):
    """Return a checkpoint of a network for square images."""
    return make_checkpoint(tmp_path, 32)


@pytest.fixture
def dreamt(checkpoint, tmp_path, tmp_path_factory, monkeypatch):
    """Return a function that runs a dream job with an empty store.

    It returns the pixels and the metadata of each label's last image.
    """

    def dream(names=NAMES, weights=checkpoint, photographs=None, statistics=None, references=None, **recipe):
        (parameters,) = expand_grid("r", {"steps": [4], **recipe}).values()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        job = DreamJob(weights, "r", parameters, names, photographs or {}, statistics, 4 * 10**9, references=references)
        monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path_factory.mktemp("store")))
        folder.mkdir()
        run_dream_job(job, CPU, folder / "dreams.zip")
        paths = {label: folder / label / f"step-{parameters['steps'][-1]:04d}.png" for label in names}
        return {label: (np.asarray(Image.open(path)), read_facts(path)) for label, path in paths.items()}

    return dream


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"precision": "bfloat16", "step_size": 0.05},
        {"batch_norm_prior": 1.0},
        {"start": "noise"},
        {"start": "gradient", "start_blur_sigma": 4.0},
        {"size": 48},
    ],
    ids=str,
)
def test_the_settings_of_a_recipe_affect_the_pixels(dreamt, change):
    plain = dreamt(**{key: change[key] for key in ("step_size", "start") if key in change and len(change) > 1})
    changed = dreamt(**change)
    assert not np.array_equal(plain["a"][0], changed["a"][0])
    assert changed["a"][1]["precision"] == change.get("precision", "float32")
    assert changed["a"][1]["parameters"]["seed"] == change.get("seed", 0)


def test_the_prior_uses_batch_norms_and_depths_are_recorded(dreamt, caplog):
    facts = dreamt(batch_norm_prior=0.1, objective={"logit": 1.0, "layer_l2:50%": 0.1})["b"][1]
    assert facts["layers"] == {"50%": ["layer2"]} and facts["batch"] == 3 and facts["threads"] == 1
    with caplog.at_level(logging.INFO):
        dreamt(steps=[2], octaves=1)
    assert "run epoch 1, r: 3 dreams" in caplog.text


def test_a_start_is_blurred_by_lengths_that_scale(monkeypatch, dreamt):
    sigmas, starts = [], context.Starts

    def recorded(start, *rest):
        sigmas.append(start.blur_sigma)
        return starts(start, *rest)

    monkeypatch.setattr(context, "Starts", recorded)
    dreamt(start_blur_sigma=3.0, reference_size=64)
    dreamt(start_blur_sigma=3.0)
    assert sigmas == [1.5, 3.0]


def test_a_dream_is_nearly_the_same_in_another_batch(dreamt):
    """Rounding in float32 depends on the batch size, and `original` amplifies it in each step; see docs/recipes.md."""
    for preset, steps in (("original", [2]), ("lucid", [20]), ("bird", [20])):
        together, alone = dreamt(preset=preset, steps=steps), dreamt({"b": "Birch"}, preset=preset, steps=steps)
        assert np.abs(together["b"][0].astype(int) - alone["b"][0]).mean() < 0.1, preset


def test_a_stopped_dream_records_its_step_and_a_failed_one_affects_no_other(dreamt, monkeypatch, caplog):
    facts = dreamt(steps=[1, 9], stop_confidence=0.0001)["a"][1]
    assert facts["steps_done"] == 0 and facts["step"] == 9 and "diverged_at" not in facts
    freeze = networks.prepare_for_inference

    def diverging(*arguments):
        model = freeze(*arguments)
        model.network.fc.bias[1] = torch.nan
        return model

    expected = dreamt()
    monkeypatch.setattr(networks, "prepare_for_inference", diverging)
    results = dreamt()
    for mate in ("a", "c"):
        assert np.array_equal(results[mate][0], expected[mate][0])
    assert results["b"][1]["diverged_at"] == 1 and results["b"][1]["steps_done"] == 0
    assert np.all(results["b"][0] == 128), "the start"
    message = "dreams.recipes.r: the dream of 'b' cannot begin, whatever the step size, because the output of "
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(message) and "lower 'step_size'" not in warning
    assert "; its images are those of the last good step; set another 'objective'" in warning
    with pytest.raises(UserError, match=rf"{message}.*' for the start image, or its gradient, is NaN or infinite; s"):
        dreamt({"b": "Birch"})


def test_a_film_ends_with_its_dream(dreamt, tmp_path):
    dreamt(steps=[7], film_every=3)
    (film,) = tmp_path.glob("*/a/film.gif")
    assert Image.open(film).n_frames == 4
    dreamt(steps=[8], film_every=3, stop_confidence=0.0001)
    films = sorted(tmp_path.glob("*/a/film.gif"), key=lambda path: path.stat().st_mtime_ns)
    assert Image.open(films[-1]).n_frames == 1, "it reached the confidence before the first step"
    assert len(pd.read_csv(films[-1].with_name("trace.csv"))) == 1


@pytest.fixture
def photographs(tmp_path_factory) -> Bench:
    """Return photographs of each class."""
    return Bench(tmp_path_factory.mktemp("photographs"), NAMES)


SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
MODELS = {  # model options, the size of the training images, and the size of the dreams
    "test_vit": ({"img_size": 64}, 64, 64),
    "test_convnext": ({}, 48, 64),
    "swin_tiny_patch4_window7_224": (SWIN, 64, 64),
    "inception_v4 128": ({}, 128, 160),
    "inception_v4 299": ({}, 299, 299),
}


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.exhaustive] * name.startswith("inception")) for name in MODELS]
)
def test_models_of_every_architecture_dream_portraits(model, dreamt, photographs, tmp_path):
    options, trained, size = MODELS[model]
    name = model.partition(" ")[0]
    torch.manual_seed(0)
    info = CheckpointInfo(name, options, list(NAMES), "run", 1, trained)
    save_checkpoint(tmp_path / "portraits", build(name, 3, options).eval(), info)
    few = {"steps": [2], "pyramid_steps": 2, "match_photographs": 2, "crop_area": 0.5, "whole_views": 0.5}
    prepared = photographs.prepare(image_size=size)
    given = {"weights": tmp_path / "portraits/model.safetensors", "references": prepared, "size": size}
    dreams = dreamt({"a": "Ash", "b": "Birch"}, **given, preset="portrait", **few)
    for pixels, facts in dreams.values():
        assert pixels.shape == (size, size, 3) and pixels.std() > 0.5 and "diverged_at" not in facts
        assert len(facts["layers"]["auto"]) >= 3 and facts["steps_done"] == 2
    assert dreams["a"][1]["references_sha256"] != dreams["b"][1]["references_sha256"]


FEW = {  # steps per preset: enough for every octave and view
    "original": {"steps": [2, 5]},
    "tensorflow-tutorial": {"steps": [9], "octaves": 4, "octave_steps": 2, "tile": 40},
    "google-2015": {"steps": [6], "octaves": 3, "octave_steps": 2},
    "lucid": {"steps": [3]},
    "torch-dreams": {"steps": [3]},
    "captum": {"steps": [3]},
    "deep-inversion": {"steps": [5], "octave_steps": 2},
    "maco": {"steps": [3]},
    "direct-ascent": {"steps": [3]},
    "portrait-free": {"steps": [2, 4], "pyramid_steps": 2},
    "vital": {"steps": [3]},
    "bird": {"steps": [2, 4], "zoom": 1.1, "zoom_every": 2},
    "portrait": {"steps": [2, 5], "pyramid_steps": 4, "crop_area": {"from": 1.0, "to": 0.5, "over": 5}},
}


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        pytest.param(None, (48, 32), id="as trained"),
        pytest.param(40, (60, 40), id="larger", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("preset", FEW)
def test_every_preset_dreams_at_the_aspect_ratio_of_the_training_images(
    preset, size, shape, dreamt, tmp_path, photographs
):
    weights = make_checkpoint(tmp_path, [48, 32])
    photograph, statistics = tmp_path / "start.png", tmp_path / "statistics.safetensors"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)).save(photograph)
    images = torch.rand(8, 3, *shape, generator=torch.Generator().manual_seed(0))
    save_tensors(statistics, {"spectrum": mean_spectrum([images])}, {})
    given = {"photographs": dict.fromkeys(NAMES, photograph), "statistics": statistics}
    if needs_photographs(load_presets()[preset].recipe.get("objective", "logit")):
        given["references"] = photographs.prepare(image_size=list(shape))
    dreams = dreamt(weights=weights, preset=preset, size=size, film_every=2, **given, **FEW[preset])
    for label, (pixels, facts) in dreams.items():
        assert pixels.shape == (*shape, 3) and facts["label"] == label
        assert pixels.reshape(-1, 3).std(axis=0).min() > 0.5, "the image is not constant"
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir() and path.name != "epoch-0001")
    for label in NAMES:
        images = list((folder / label).glob("*.png"))
        assert len(images) == 2 * len(FEW[preset]["steps"])
        assert {Image.open(path).size for path in [*images, folder / label / "film.gif"]} == {shape[::-1]}
        trace = pd.read_csv(folder / label / "trace.csv")
        assert len(trace) == FEW[preset]["steps"][-1] + 1 and trace["mean_abs_change"].iloc[-1] > 0
        assert np.isfinite(trace[["loss", "mean_abs_change"]]).all(axis=None) and np.isfinite(trace["logit"].iloc[-1])


def test_the_size_of_square_images_can_be_one_number_or_two(dreamt, tmp_path):
    assert np.array_equal(dreamt()["a"][0], dreamt(weights=make_checkpoint(tmp_path, [32, 32]))["a"][0])


def test_lengths_refer_to_the_shorter_side(monkeypatch, dreamt, tmp_path):
    calls, dream = [], context.dream
    monkeypatch.setattr(context, "dream", lambda *given, **more: (calls.append(more), dream(*given, **more))[1])
    wide = make_checkpoint(tmp_path, [24, 60])
    dreamt(
        weights=wide, reference_size=48, jitter=8, blur_sigma=1.0, start="noise", start_noise=0.1, start_blur_sigma=4.0
    )
    starts, recipe, shape = calls[0]["starts"], calls[0]["recipe"], (24, 60)
    assert (recipe.jitter, recipe.blur_sigma) == (4, 0.5) and starts.shape == (3, 3, *shape)
    plain = (0.5 + 0.1 * torch.randn((3, *shape), generator=generator(0, "a"))).clamp(0, 1)
    assert torch.allclose(starts[0], gaussian_blur(plain, [13, 13], [2.0, 2.0]), atol=1e-5)


def test_a_frozen_model_returns_the_same_logits_for_images_of_any_shape():
    torch.manual_seed(0)
    classifier = build("test_resnet", 3, {}).eval()
    images = torch.rand(2, 3, 40, 24)
    for size in ((40, 24), [40, 24], 32):
        frozen = networks.prepare_for_inference(classifier, size, CPU)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in frozen.modules()), "folded"
        assert torch.allclose(frozen(images), classifier(images), atol=1e-5)
    fixed = build("vit_tiny_patch16_224", 3, {"img_size": [48, 32]})
    assert networks.prepare_for_inference(fixed, (48, 32), CPU)(torch.rand(2, 3, 48, 32)).shape == (2, 3)


def test_more_memory_makes_larger_batches(checkpoint):
    (parameters,) = expand_grid("r", {"size": 128, "crops": 4, "steps": [4]}).values()
    job = DreamJob(checkpoint, "r", parameters, NAMES, {}, None, 0)
    sizes = [DreamContext(replace(job, bytes_free=free), CPU).batch for free in (0, 10**8, 10**11)]
    assert sizes[0] == 1 < sizes[1] < sizes[2] == 16
    assert as_recipe(parameters, 128).crops == 4


def test_the_memory_of_a_film_depends_on_its_pixels(checkpoint, tmp_path):
    (parameters,) = expand_grid("r", {"film_every": 1, "steps": [99_998]}).values()
    wide = make_checkpoint(tmp_path, [16, 64])
    job = DreamJob(wide, "r", parameters, NAMES, {}, None, 0)
    film = 3 * 16 * 64 * 100_000  # bytes of one dream's frames, with the first and the last
    free = [round(count * film / 0.8) for count in (2.9, 3.1, 3.9)]
    assert [DreamContext(replace(job, bytes_free=each), CPU).batch for each in free] == [2, 3, 3]


@pytest.mark.parametrize(
    ("model", "recipe", "sentence"),
    [
        ("test_vit", {"preset": "deep-inversion"}, "the model has no batch norm"),
        ("test_vit", {"octaves": 2, "octave_steps": 2, "steps": [4]}, "does not accept images of 114x114 pixels"),
        ("test_resnet", {"objective": "channel:layer1:999"}, "the layer 'layer1' has no channel 999; choose 0 to"),
    ],
)
def test_a_recipe_that_a_model_cannot_dream_is_refused_before_any_dream(model, recipe, sentence):
    config = {"dataset": {"image_size": 160}, "runs": {"one": {"model": model}}, "dreams": {"recipes": {"r": recipe}}}
    plan = make_plan(config)
    with pytest.raises(UserError, match=rf"^dreams\.recipes\.r[a-z_.]*: for the run 'one', .*{sentence}"):
        check_models(plan)
