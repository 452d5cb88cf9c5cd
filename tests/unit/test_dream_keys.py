"""Cache keys of dreams: they change if and only if the pixels may change."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.dream_job import context, image_files, networks, store
from dreambirds.dream_job.image_files import read_facts
from dreambirds.models.checkpoint import save_tensors
from dreambirds.plan.dream_table import DREAM
from tests.helpers.dream_bench import CPU, NAMES, checkpoint, entries, parameters

AFFECTS_PIXELS = {
    "objective": "probability",
    "start": "noise",
    "start_noise": 0.3,
    "start_color": "#ff0000",
    "start_blur_sigma": 1.0,
    "step_size": 0.02,
    "tv_weight": 0.1,
    "l2_weight": 0.1,
    "batch_norm_prior": 0.1,
    "batch_norm_distance": "relative",
    "parameterization": "fourier",
    "pyramid_steps": 2,
    "pyramid_decay": 0.8,
    "match_statistics": "moments",
    "match_regions": "thirds",
    "match_crop_regions": "center",
    "match_stride": 2,
    "match_photographs": 2,
    "match_class": "next",
    "match_views": 2,
    "stop_confidence": 0.9,
    "stop_plateau": 2,
    "optimizer": "adam",
    "momentum": 0.5,
    "beta1": 0.5,
    "beta2": 0.5,
    "weight_decay": 0.1,
    "gradient_normalization": "l2",
    "gradient_clip": 1.0,
    "gradient_blur_sigma": 1.0,
    "blur_sigma": 1.0,
    "jitter": 1,
    "roll": 1,
    "flip": 0.1,
    "pad": 1,
    "scale": 1.1,
    "scale_width": 1.1,
    "rotate": 5.0,
    "crops": 2,
    "crop_size": 0.5,
    "crop_area": 0.5,
    "crop_ratio": 2.0,
    "whole_views": 0.5,
    "whole_steps": 1,
    "crop_output_size": 16,
    "noise": 0.1,
    "octaves": 2,
    "octave_scale": 1.5,
    "octave_steps": 2,
    "octave_mode": "detail",
    "zoom": 1.1,
    "zoom_every": 2,
    "tile": 16,
    "size": 48,
    "reference_size": 64,
    "seed": 1,
    "variants": 2,
    "diversity": 2.0,
    "diversity_layer": "layer1",
}


def test_every_parameter_that_affects_pixels_is_in_the_key(dreamer):
    known = {*AFFECTS_PIXELS, *context.NOT_IN_CACHE_KEY}
    assert known == set(parameters()), "a new parameter must be added to one of the lists"
    keys = {key: _key(dreamer, parameters=parameters() | {key: value}) for key, value in AFFECTS_PIXELS.items()}
    assert len({*keys.values(), _key(dreamer)}) == len(AFFECTS_PIXELS) + 1
    for values in (
        {"steps": [1, 2]},
        {"film_every": 2},
        {"preset": "bird"},
        {"start_path": "elsewhere"},
        {"start_dream": {}},
    ):
        assert _key(dreamer, parameters=parameters() | values) == _key(dreamer), values


def _key(dreamer, label: str = "a", **changes) -> str:
    return context.DreamContext(replace(dreamer.job, **changes), CPU).cache_key(label)


@pytest.mark.slow
def test_other_inputs_that_affect_pixels_give_a_new_dream(dreamer, monkeypatch, tmp_path):
    assert dreamer.dreamt() == 6 and dreamer.dreamt() == 0
    assert dreamer.dreamt(checkpoint=checkpoint(tmp_path / "other.safetensors", seed=1)) == 6, "the weights"
    assert dreamer.dreamt(parameters=parameters(seed=1)) == 6
    assert dreamer.dreamt(code="code 2") == 6, "the code"
    assert dreamer.dreamt(names={"a": "Ash"}) == 0
    monkeypatch.setattr(context, "resolve_precision", lambda *_: "bfloat16")
    assert dreamer.dreamt() == 6, "the precision"
    monkeypatch.undo()
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    for library in ("torch", "torchvision", "timm", "numpy", "pillow"):
        changed = image_files.versions() | {library: "0"}
        monkeypatch.setattr(networks, "versions", lambda changed=changed: changed)
        assert dreamer.dreamt() == 6, library


@pytest.mark.slow
def test_keys_depend_on_the_contents_of_photographs_and_statistics(dreamer, tmp_path):
    photograph, other = tmp_path / "one.png", tmp_path / "two.png"
    for path, gray in ((photograph, 90), (other, 91)):
        Image.new("RGB", (32, 32), (gray, gray, gray)).save(path)
    inputs = {"parameters": parameters(start="photograph"), "photographs": dict.fromkeys(NAMES, photograph)}
    assert dreamer.dreamt(**inputs) == 6 and dreamer.dreamt(**inputs) == 0
    moved = photograph.rename(tmp_path / "renamed.png")
    assert dreamer.dreamt(**inputs | {"photographs": dict.fromkeys(NAMES, moved)}) == 0, "the file name does not matter"
    assert dreamer.dreamt(**inputs | {"photographs": {**dict.fromkeys(NAMES, moved), "b": other}}) == 2, (
        "only that label"
    )
    means = {f"mean/{label}": torch.full((3, 32, 32), 0.4) for label in NAMES}
    for value in (0.1, 0.2):
        path = tmp_path / f"{value}.safetensors"
        save_tensors(path, {"spectrum": torch.full((3, 32, 17), value), **means}, {})
        assert dreamer.dreamt(parameters=parameters(start="class_mean"), statistics=path) == 6


def test_inputs_that_do_not_affect_pixels_reuse_the_dream(dreamer, tmp_path):
    assert dreamer.dreamt() == 6
    before = dreamer.files()
    for changes in (
        {"bytes_free": 10**9},
        {"names": {"c": "Cedar", "a": "Ash"}},
        {"names": NAMES | {"a": "Another name"}},
        {"recipe": "renamed"},
        {"folder": "elsewhere"},
        {"lay": False},
        {"parameters": parameters(preset="original", steps=[3])},
    ):
        assert dreamer.dreamt(**changes) == 0, changes
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert dreamer.dreamt() == 0
    torch.set_num_threads(threads)
    assert dreamer.files() == before


def test_images_from_the_store_get_the_metadata_of_their_study(dreamer):
    dreamer.dreamt()
    assert dreamer.dreamt(recipe="renamed", folder="two", names=NAMES | {"a": "Oak"}) == 0
    ours, theirs = (dreamer.folder / folder / "a" / "step-0003.png" for folder in ("out", "two"))
    assert np.array_equal(np.asarray(Image.open(ours)), np.asarray(Image.open(theirs)))
    facts, others = read_facts(ours), read_facts(theirs)
    assert others == facts | {"recipe": "renamed"}
    with Image.open(theirs) as image:
        assert image.text["Title"].startswith("Oak, dreamt at epoch 1")
    assert (dreamer.folder / "out/b/step-0003.png").stat().st_nlink == 2
    assert read_facts(entries(dreamer.folder / "store")[0] / "raw.png")["recipe"] == "r", "the store is unchanged"


def test_only_missing_steps_are_dreamt_and_the_trace_equals_that_of_a_single_job(dreamer, monkeypatch, tmp_path):
    dreamer.dreamt(parameters=parameters(steps=[3]))
    dreamer.dreamt(parameters=parameters(steps=[1, 3]))
    assert dreamer.dreamt(parameters=parameters(steps=[1, 2, 3, 5])) == 6
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "fresh"))
    dreamer.dreamt(parameters=parameters(steps=[1, 2, 3, 5]), folder="single_job")
    ours, fresh = dreamer.files(), dreamer.files("single_job")
    assert set(ours) == set(fresh)
    assert [name for name in fresh if name.endswith("trace.csv") and ours[name] != fresh[name]] == []
    for name in (name for name in fresh if name.endswith(".png")):
        pixels = [np.asarray(Image.open(dreamer.folder / folder / name)) for folder in ("out", "single_job")]
        assert np.array_equal(*pixels), name


def test_the_table_contains_the_models_output_for_each_image(dreamer):
    dreamer.dreamt()
    table = dreamer.table()
    assert table.columns[:5].tolist() == DREAM and set(table["run"]) == {"run"} and set(table["epoch"]) == {1}
    assert table[["label", "step"]].to_numpy().tolist() == [[label, step] for label in NAMES for step in (1, 3)]
    for label, rows in table.groupby("label"):
        trace = pd.read_csv(dreamer.folder / "out" / label / "trace.csv").set_index("step")
        for row in rows.itertuples():
            traced = trace.loc[row.step, ["loss", "logit", "probability", "prediction", "mean_abs_change"]].tolist()
            assert traced == [row.loss, row.logit, row.probability, row.prediction, row.mean_abs_change]
            path = dreamer.folder / "out" / label / f"step-{row.step:04d}.png"
            assert row.raw_sha256 == store.sha256_of(path) and row.steps_done == row.step


@pytest.mark.slow
def test_films_are_stored_too(dreamer, monkeypatch):
    filmed = parameters(film_every=1)
    assert dreamer.dreamt() == 6 and dreamer.dreamt(parameters=filmed) == 6, "the frames must be computed"
    film = (dreamer.folder / "out/a/film.gif").read_bytes()
    (dreamer.folder / "out/a/film.gif").unlink()
    assert dreamer.dreamt(parameters=filmed) == 0 and (dreamer.folder / "out/a/film.gif").read_bytes() == film
