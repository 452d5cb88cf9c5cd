"""A whole dream job: what a config says reaches the pixels, and what happened is in the facts."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.errors import StudyError
from dreambirds.models.build import build
from dreambirds.models.checkpoint import Card, save_checkpoint
from dreambirds.pictures import dreams
from dreambirds.pictures.dreams import Job, as_recipe, dream_all
from dreambirds.pictures.provenance import read_facts
from dreambirds.pictures.rehearsal import check_models
from dreambirds.study.plan import make_plan
from dreambirds.study.recipes import spread

NAMES = {"a": "Ash", "b": "Birch", "c": "Cedar"}
CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path):
    """Return a checkpoint of a tiny network with some batch-norm statistics."""
    torch.manual_seed(0)
    classifier = build("test_resnet", 3, {})
    with torch.no_grad():
        for _ in range(5):
            classifier(torch.rand(8, 3, 32, 32))
    path = tmp_path / "epoch-0001.safetensors"
    save_checkpoint(path, classifier, Card("test_resnet", {}, list(NAMES), "run", 1, 32))
    return path


@pytest.fixture
def dreamt(checkpoint, tmp_path):
    """Return the function that dreams under a recipe and returns the pixels and facts of each label's last picture."""

    def dream(names=NAMES, **recipe):
        (parameters,) = spread("r", {"steps": [4], **recipe}).values()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        dream_all(Job(checkpoint, "r", parameters, names, {}, None, folder, 4 * 10**9), CPU)
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
def test_what_a_recipe_says_reaches_the_pixels(dreamt, change):
    plain = dreamt(**{key: change[key] for key in ("step_size", "start") if key in change and len(change) > 1})
    changed = dreamt(**change)
    assert not np.array_equal(plain["a"][0], changed["a"][0])
    assert changed["a"][1]["precision"] == change.get("precision", "float32")
    assert changed["a"][1]["parameters"]["seed"] == change.get("seed", 0)


def test_the_prior_sees_batch_norms_and_depths_are_told(dreamt, caplog):
    facts = dreamt(batch_norm_prior=0.1, objective={"logit": 1.0, "layer_l2:50%": 0.1})["b"][1]
    assert facts["layers"] == {"50%": "layer2"} and facts["batch"] == 3 and facts["threads"] == 1
    with caplog.at_level(logging.INFO):
        dreamt(steps=[2], octaves=1)
    assert "run epoch 1, r: 3 dreams" in caplog.text


def test_a_start_is_blurred_by_lengths_that_scale(monkeypatch, dreamt):
    seen = []
    whole = dreams.Starts
    monkeypatch.setattr(dreams, "Starts", lambda start, *rest: (seen.append(start.blur_sigma), whole(start, *rest))[1])
    dreamt(start_blur_sigma=3.0, lengths_at=64)
    dreamt(start_blur_sigma=3.0)
    assert seen == [1.5, 3.0]


def test_a_dream_stays_nearly_the_same_with_other_batch_mates(dreamt):
    """In float32 the processor rounds otherwise for another batch; over many steps that grows, as the README tells."""
    for preset, steps in (("original", [20]), ("lucid", [20]), ("bird", [20])):
        together, alone = dreamt(preset=preset, steps=steps), dreamt({"b": "Birch"}, preset=preset, steps=steps)
        assert np.abs(together["b"][0].astype(int) - alone["b"][0]).mean() < 0.1, preset


def test_a_dream_that_stops_says_when_and_one_that_fails_leaves_its_mates_and_its_last_good_picture(
    checkpoint, dreamt, monkeypatch, caplog
):
    facts = dreamt(steps=[1, 9], stop_confidence=0.0001)["a"][1]
    assert facts["steps_done"] == 0 and facts["step"] == 9 and "failed_at" not in facts
    freeze = dreams.freeze

    def broken(*arguments):
        model = freeze(*arguments)
        model.network.fc.bias[1] = torch.nan
        return model

    whole = dreamt()
    monkeypatch.setattr(dreams, "freeze", broken)
    results = dreamt()
    for mate in ("a", "c"):
        assert np.array_equal(results[mate][0], whole[mate][0])
    assert results["b"][1]["failed_at"] == 1 and results["b"][1]["steps_done"] == 0
    assert np.all(results["b"][0] == 128), "the start"
    assert (
        "Error: dreams.recipes.r, b: values ran to infinity in step 1 at step_size 0.01; lower step_size" in caplog.text
    )
    with pytest.raises(StudyError, match=r"dreams\.recipes\.r, b: values ran to infinity in step 1"):
        dreamt({"b": "Birch"})


def test_a_film_ends_where_its_dream_ends(dreamt, tmp_path):
    dreamt(steps=[7], film_every=3)
    (film,) = tmp_path.glob("*/a/film.gif")
    assert Image.open(film).n_frames == 4
    dreamt(steps=[8], film_every=3, stop_confidence=0.0001)
    films = sorted(tmp_path.glob("*/a/film.gif"), key=lambda path: path.stat().st_mtime_ns)
    assert Image.open(films[-1]).n_frames == 1, "it was confident before it began"
    assert len(pd.read_csv(films[-1].with_name("trace.csv"))) == 1


def test_more_memory_makes_larger_batches(checkpoint):
    (parameters,) = spread("r", {"size": 128, "crops": 4, "steps": [4]}).values()
    job = Job(checkpoint, "r", parameters, NAMES, {}, None, checkpoint.parent, 0)
    sizes = [dreams._Ready(replace(job, bytes_free=free), CPU).batch for free in (0, 1_100_000_000, 10**11)]
    assert sizes[0] == 1 < sizes[1] < sizes[2] == 16
    assert as_recipe(parameters, 128).crops == 4


@pytest.mark.parametrize(
    ("model", "recipe", "sentence"),
    [
        ("test_vit", {"preset": "deep-inversion"}, "batch_norm_prior: the model has no batch norm"),
        ("test_vit", {"octaves": 2, "octave_steps": 2, "steps": [4]}, "does not take pictures of 114x114 pixels"),
        ("test_resnet", {"objective": "channel:layer1:999"}, "objective: 'layer1' has channels 0 to"),
    ],
)
def test_what_a_model_can_not_do_is_told_for_the_run_before_anything_is_dreamt(model, recipe, sentence):
    config = {"dataset": {"image_size": 160}, "runs": {"one": {"model": model}}, "dreams": {"recipes": {"r": recipe}}}
    plan = make_plan(config)
    assert plan.asks_more_of_models
    with pytest.raises(StudyError, match=f"dreams.recipes.r on the run 'one': .*{sentence}"):
        check_models(plan)
    config["dreams"]["recipes"]["r"] = {"steps": [3]}
    assert not make_plan(config).asks_more_of_models
