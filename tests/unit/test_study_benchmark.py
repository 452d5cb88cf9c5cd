"""The benchmark of a study counts the actual passes, and computes the ratios."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from benchmarks import passes as benchmark
from benchmarks import study
from dreambirds.dreaming.recipe import Recipe
from dreambirds.models.classifier import Classifier
from dreambirds.plan.plan import make_plan
from tests.helpers.chains import CPU, train
from tests.helpers.sections import section
from tests.helpers.small import FOURIER, MACO, PLAIN, RICH, network
from tests.helpers.small import run as dream_of

ATTACK = {"epsilon": 1.0, "steps": 2, "warmup_epochs": 1}


@pytest.mark.parametrize(
    ("changes", "training", "expected"),
    [
        # batches of 8, 8 and 4; it validates on 5 images after 0, 2, 3 and 6 updates
        ({"epochs": [0, 0.5, 2]}, 20, {"updates": 2 * 20, "adversarial": 0, "validation": 4 * 5}),
        ({"epochs": [2]}, 20, {"updates": 2 * 20, "adversarial": 0, "validation": 3 * 5}),
        ({"epochs": [0]}, 20, {"updates": 0, "adversarial": 0, "validation": 5}),
        # 0.1 epochs round to 0 updates, but are validated
        ({"epochs": [0, 0.1, 1]}, 20, {"updates": 20, "adversarial": 0, "validation": 3 * 5}),
        # a last batch of one image is dropped
        ({"epochs": [3]}, 17, {"updates": 3 * 16, "adversarial": 0, "validation": 4 * 5}),
        # at the first update, epsilon is 0
        ({"epochs": [2], "adversarial": ATTACK}, 20, {"updates": 40, "adversarial": 2 * (40 - 8), "validation": 3 * 5}),
        ({"epochs": [1], "adversarial": {"epsilon": 1.0}}, 20, {"updates": 20, "adversarial": 20, "validation": 2 * 5}),
    ],
)
def test_the_count_of_training_passes_matches_one_by_hand(changes, training, expected):
    assert benchmark.count_training(section(batch_size=8, **changes), training, 5) == expected


@pytest.mark.slow
@pytest.mark.parametrize("adversarial", [{"epsilon": 0.0}, ATTACK], ids=["plain", "adversarial"])
def test_training_makes_the_counted_passes(adversarial, tmp_path, dataset, monkeypatch):
    passed, forward = Counter(), Classifier.forward

    def counting(self, images):
        kind = "updates" if self.training else "adversarial" if torch.is_grad_enabled() else "validation"
        passed[kind] += len(images)
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", counting)
    run = section(batch_size=6, epochs=[0, 1, 3], adversarial=adversarial)
    train(tmp_path, dataset, run, run["epochs"])
    passed["validation"] -= 1  # the forward pass that checks the model
    assert benchmark.count_training(run, 16, 4) == {**dict.fromkeys(("adversarial", "updates"), 0), **passed}


def test_the_count_of_a_dreams_images_matches_one_by_hand():
    count = benchmark.count_dreaming
    assert count(Recipe(steps=(3, 50)), (64, 48)) == {(64, 48): 50}
    assert count(Recipe(steps=(5,), pad=2), (64, 64)) == {(68, 68): 5}
    assert count(Recipe(steps=(5,), tile=32), (64, 80)) == {(32, 32): 5 * 2 * 3}
    assert count(Recipe(steps=(5,), tile=64, pad=2), (64, 64)) == {(64, 64): 5 * 2 * 2}, "tiles cover the padding too"
    assert count(Recipe(steps=(5,), crops=7, crop_output_size=20), (64, 64)) == {(20, 20): 5 * 7}
    grown = Recipe(steps=(30,), octaves=3, octave_scale=2.0, octave_steps=10)
    assert count(grown, (64, 64)) == {(16, 16): 10, (32, 32): 10, (64, 64): 10}
    assert count(replace(grown, tile=32, steps=(25,)), (64, 64)) == {(16, 16): 10, (32, 32): 10 + 5 * 4}


@pytest.mark.parametrize("recipe", [PLAIN, replace(RICH, tile=None), replace(RICH, octaves=1), FOURIER, MACO])
@pytest.mark.parametrize("shape", [(12, 12), (17, 11)])
def test_a_dream_passes_the_counted_images_through_the_model(recipe, shape):
    model, passed = network(), Counter()

    def record(_module, inputs):
        if inputs[0].requires_grad:
            passed[tuple(inputs[0].shape[2:])] += len(inputs[0])

    model.register_forward_pre_hook(record)
    dream_of(model, recipe, "ab", shape=shape)
    assert {view: 2 * images for view, images in benchmark.count_dreaming(recipe, shape).items()} == passed


def test_the_count_of_a_study_is_the_sum_over_checkpoints_labels_and_recipes():
    dataset = {"image_size": 64, "labels": ["blue_jay", "northern_cardinal", "yellow_warbler"]}
    runs = {"a": {"epochs": [0, 2], "batch_size": 8}, "b": {"epochs": [1], "batch_size": 8}}
    recipes = {"r": {"steps": [4, 9]}, "s": {"steps": [5], "octaves": 2, "octave_steps": 3, "octave_scale": 2.0}}
    dreams = {"labels": ["blue_jay", "yellow_warbler"], "recipes": recipes}
    judges = {"j": {"train": {"model": "test_efficientnet", "epochs": [3], "batch_size": 8}}}
    plan = make_plan({"dataset": dataset, "runs": runs, "dreams": dreams, "judges": judges})
    assert benchmark.count(plan, 24, 6) == {
        ("train", "j", "updates"): 72,
        ("train", "j", "adversarial"): 0,
        ("train", "j", "validation"): 4 * 6,
        ("train", "a", "updates"): 48,
        ("train", "a", "adversarial"): 0,
        ("train", "a", "validation"): 3 * 6,
        ("dream", "a", "r, 64x64"): 2 * 2 * 9,
        ("dream", "a", "s, 32x32"): 2 * 2 * 3,
        ("dream", "a", "s, 64x64"): 2 * 2 * 2,
        ("train", "b", "updates"): 24,
        ("train", "b", "adversarial"): 0,
        ("train", "b", "validation"): 2 * 6,
        ("dream", "b", "r, 64x64"): 2 * 9,
        ("dream", "b", "s, 32x32"): 2 * 3,
        ("dream", "b", "s, 64x64"): 2 * 2,
    }


def test_each_counted_part_has_its_own_bare_pass(monkeypatch):
    monkeypatch.setattr(benchmark, "SHORT", 0.0)
    recipes = {
        "r": {"steps": [9]},
        "p": {"steps": [5], "pad": 2, "crops": 3, "crop_output_size": 24, "batch_norm_prior": 1.0},
    }
    labels = ["blue_jay", "northern_cardinal", "yellow_warbler"]
    runs = {"a": {"model": "test_resnet", "batch_size": 4, "adversarial": ATTACK}}
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": labels}}
    plan = make_plan({**config, "runs": runs, "dreams": {"recipes": recipes}})
    loops = dict(benchmark.dreaming_parts(plan, 1)) | dict(benchmark.training_parts(plan, 1))
    assert {key[2]: images for key, (_, images) in loops.items()} == {
        **{"updates": 4, "adversarial": 4, "validation": 4},
        **{"r, 32x32": 3, "p, 24x24": 3 * 3},
    }
    counts = benchmark.count(plan, 24, 6)
    assert counts.keys() == loops.keys()
    assert all(seconds > 0 for seconds in benchmark.time_loops(loops, 1, CPU).values())


def test_the_ratio_divides_the_wall_time_by_the_mean_of_both_measurements(capsys):
    counts = {("train", "a", "updates"): 100, ("dream", "a", "r"): 50}
    before = {("train", "a", "updates"): 0.1, ("dream", "a", "r"): 0.2}
    after = {("train", "a", "updates"): 0.3, ("dream", "a", "r"): 0.2}
    parts = study.list_parts(counts, before, after)
    assert [part["seconds"] for part in parts] == pytest.approx([100 * 0.2, 50 * 0.2])
    assert "updates" in capsys.readouterr().out
    run = {"wall_seconds": 45.0, "finished_seconds": 2.5, "version_seconds": 1.5}
    (row,) = study.list_ratios({"model_seconds": 30.0, "runs": {"now": run}})
    assert row["wall_over_model"] == pytest.approx(1.5) and row["finished_minus_version_s"] == pytest.approx(1.0)
