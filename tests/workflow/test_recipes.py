"""Recipes of every type in the complete workflow, and recipes that are refused."""

import pandas as pd
import pytest
import torch
from PIL import Image, ImageSequence

from dreambirds.dream_job.image_files import read_facts
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import load_checkpoint, save_checkpoint


def test_phases_class_means_a_layer_a_folder_a_film_and_a_committee_are_dreamt(fresh):
    starts = fresh.folder / "my starts"
    starts.mkdir()
    for name, color in (("red one", "red"), ("blue", "blue")):
        Image.new("RGB", (40, 30), color).save(starts / f"{name}.png")
    fresh.config["runs"]["scratch"]["epochs"] = [1]
    fresh.config["runs"]["other"] = {**fresh.config["runs"]["scratch"], "seed": 5}
    recipes = fresh.config["dreams"]["recipes"] = {
        "maco": {"preset": "maco", "steps": [2], "size": 48, "crops": 2},
        "mean": {"start": "class_mean", "steps": [2], "precision": "auto"},
        "deep": {
            "preset": "google-2015",
            "octaves": 2,
            "octave_steps": 2,
            "steps": [3, 4],
            "objective": "layer_l2:50%",
        },
        "given": {
            "start": "photograph",
            "start_path": str(starts),
            "start_blur_sigma": 1.0,
            "steps": [1],
            "step_size": 1e-9,
        },
        "film": {"preset": "lucid", "pad": 2, "steps": [5], "film_every": 2},
        "together": {"objective": {"logit": 1, "feature_match:50%": 1}, "steps": [3], "committee": ["other"]},
    }
    for recipe in recipes.values():
        recipe["runs"] = ["scratch"]
    fresh.run("dreams_only")
    dreams = fresh.results / "dreams/scratch/epoch-0001"
    assert {path.name for path in fresh.results.glob("dataset/statistics-*")} == {
        "statistics-32.safetensors",
        "statistics-48.safetensors",
    }
    assert Image.open(dreams / "maco/blue_jay/step-0002.png").size == (48, 48)
    facts = read_facts(dreams / "deep/blue_jay/step-0004.png")
    assert facts["layers"] == {"50%": ["layer2"]} and facts["precision"] == "float32" and facts["steps_done"] == 4
    trace = pd.read_csv(dreams / "deep/blue_jay/trace.csv")
    assert trace["probability"].notna().tolist() == [False, False, False, True, True]
    red = Image.open(dreams / "given-start_path-red_one.png/blue_jay/step-0001.png").convert("RGB")
    assert red.getpixel((5, 5)) == pytest.approx((255, 0, 0), abs=1)
    with Image.open(dreams / "film/blue_jay/film.gif") as film:
        assert sum(1 for _ in ImageSequence.Iterator(film)) == 4, "at 0, 2, 4, and the end"
    assert read_facts(dreams / "film/blue_jay/film.gif")["label"] == "blue_jay"
    facts, trace = (dreams / "together/blue_jay" / file for file in ("step-0003.png", "trace.csv"))
    (member,) = read_facts(facts)["committee"]
    weights = fresh.results / "runs/other/epoch-0001/model.safetensors"
    assert (member["run"], member["epoch"], member["checkpoint_sha256"]) == ("other", 1, sha256_of(weights))
    assert pd.read_csv(trace)["loss"].notna().tolist() == [True, False, True, True], "other's step has no metrics"
    assert "Nothing to be done" in fresh.run("dreams_only")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            "layer_mean:layer9",
            "dreams.recipes.study.objective: for the run 'scratch', the model has no layer 'layer9'; did",
        ),
        ("channel:layer1:9999", "the layer 'layer1' has no channel 9999; choose 0 to"),
    ],
)
def test_a_layer_that_the_model_does_not_have_is_refused_before_training(fresh, objective, message):
    fresh.config["dreams"]["recipes"]["study"]["objective"] = objective
    result = fresh.snakemake()
    assert result.returncode != 0 and message in result.stdout, result.stdout
    assert "Traceback" not in result.stdout and not (fresh.results / "runs").exists()


def test_a_dream_that_becomes_nan_is_named_and_the_others_are_kept(fresh):
    fresh.config["runs"]["scratch"]["epochs"] = [0]
    weights = "results/tiny/runs/scratch/epoch-0000/model.safetensors"
    fresh.run(weights)
    classifier, info = load_checkpoint(fresh.folder / weights)
    with torch.no_grad():
        classifier.network.fc.weight[info.labels.index("blue_jay")] = 3e38
    save_checkpoint((fresh.folder / weights).parent, classifier, info)
    output = fresh.run("dreams_only")
    assert (
        "dreams.recipes.study: the dream of 'blue_jay' cannot begin, whatever the step size, because the "
        "output of the model '"
        in output
        and "lower 'step_size'" not in output
    )
    assert "Traceback" not in output
    folder = fresh.results / "dreams/scratch/epoch-0000/study"
    assert read_facts(folder / "blue_jay/step-0003.png")["diverged_at"] == 1
    assert "diverged_at" not in read_facts(folder / "yellow_warbler/step-0003.png")
