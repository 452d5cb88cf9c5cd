"""Photographs that dreams are compared with: their digests and statistics."""

import logging
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.dream_job import context, networks
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.references import ReferenceStore, TrainingPhotographs
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.dreaming.matching import photograph_statistics, stack_statistics
from dreambirds.errors import UserError
from tests.helpers.dream_bench import CPU, checkpoint, parameters
from tests.helpers.small import rand

LABELS = {"auk": "Auk", "bunting": "Bunting", "crane": "Crane"}
OWN = {label: label for label in LABELS}
KEY = "0123456789abcdef"


def training(folder, label: str) -> pd.DataFrame:
    """Return the rows of the prepared table for a label's training images."""
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)
    return images[(images["label"] == label) & (images["split"] == "train") & (images["path"] != "")]


def digests(folder, most: int = 99) -> dict[str, str]:
    """Return the digest of each label's photographs."""
    return TrainingPhotographs(folder, OWN, most).digests


def test_the_photographs_are_the_first_prepared_training_images(bench):
    folder = bench.prepare()
    for most in (1, 3, 99):
        photographs = TrainingPhotographs(folder, OWN, most)
        for label in LABELS:
            paths = training(folder, label)["path"][:most]
            expected = [np.asarray(Image.open(folder / path)).transpose(2, 0, 1) / 255 for path in paths]
            found = photographs.read(label)
            assert found.dtype == torch.float32 and np.allclose(found, expected, atol=1e-7)
    assert 1 < len(training(folder, "auk")) < 6 == len(list((bench.root / "in/auk").iterdir())), "some are held out"


def test_the_digest_depends_on_pixels_and_not_on_their_position(bench):
    before = digests(bench.prepare("before"))
    assert len(set(before.values())) == 3
    bench.photograph("albatross/0.png", 999)
    for number in range(1, 6):
        bench.photograph(f"albatross/{number}.png", 990 + number)
    assert digests(bench.prepare("after")) == before, "a new class precedes them"


def test_the_digest_changes_with_a_pixel_of_its_own_class_only(bench):
    folder = bench.prepare("before")
    before, most = digests(folder), digests(folder, 2)
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)
    source = images.loc[training(folder, "bunting").index[-1], "source"]
    photograph = next(path for path in (bench.root / "in/bunting").iterdir() if path.name in source)
    pixels = np.array(Image.open(photograph))
    pixels[12:18, 15:25] ^= 255
    Image.fromarray(pixels).save(photograph)
    after = bench.prepare("after")
    assert {label for label in LABELS if digests(after)[label] != before[label]} == {"bunting"}
    assert digests(after, 2) == most, "the changed image is not among the first two"
    assert digests(after, 2)["auk"] != digests(after)["auk"]


@pytest.mark.parametrize("missing", ["no image", "validation only"])
def test_a_class_without_training_photographs_gives_a_one_line_error(bench, missing):
    folder, label = bench.prepare(), "dodo"
    if missing == "validation only":
        images, label = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False), "bunting"
        images.loc[images["label"] == label, "split"] = "validation"
        images.to_csv(folder / "images.csv", index=False)
    with pytest.raises(UserError) as error:
        TrainingPhotographs(folder, {"auk": label}, 9)
    sentence = f"'{folder}/images.csv' has no training photograph of the class '{label}'; "
    assert str(error.value) == f"{sentence}delete the folder '{folder}' and run the same command again to rebuild it"


def test_images_that_do_not_match_the_table_are_refused(bench):
    folder = bench.prepare()
    packed = np.load(folder / "pictures.npy")
    np.save(folder / "pictures.npy", packed[:-1])
    with pytest.raises(UserError, match="does not contain 18 RGB images; delete the folder"):
        TrainingPhotographs(folder, OWN, 9)
    np.save(folder / "pictures.npy", packed[::-1])
    with pytest.raises(UserError, match=r"does not contain the images of 'images\.csv'; delete the folder"):
        TrainingPhotographs(folder, OWN, 9)


class Counted:
    """A function that returns statistics and counts its calls."""

    def __init__(self):
        self.times = 0
        self.statistics = {
            "crop": {"features.0.conv": rand(3, 5).float(), "stem": rand(2, 1).float()},
            "whole": {"features.0.conv": rand(6, 5).float()[3:], "stem": rand(4, 1).float()[2:]},
        }

    def __call__(self):
        self.times += 1
        return self.statistics


def same(one, other) -> bool:
    """Return whether two statistics are bitwise equal, in the same kinds and layers."""
    if {kind: set(layers) for kind, layers in one.items()} != {kind: set(layers) for kind, layers in other.items()}:
        return False
    return all(torch.equal(one[kind][layer], other[kind][layer]) for kind in one for layer in one[kind])


def test_statistics_are_computed_once_and_then_read_from_the_store(tmp_path, caplog):
    compute, store = Counted(), ReferenceStore(tmp_path / "references")
    for _ in range(3):
        assert same(store.get(KEY, compute), compute.statistics)
    assert same(ReferenceStore(tmp_path / "references").get(KEY, compute), compute.statistics)
    assert compute.times == 1 and not caplog.records
    store.get("f" + KEY, compute)
    assert compute.times == 2, "another key"


def test_an_environment_variable_sets_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "elsewhere"))
    ReferenceStore().get(KEY, Counted())
    assert len(list((tmp_path / "elsewhere/references").rglob("*.safetensors"))) == 1


def truncate(content: bytes) -> bytes:
    """Remove the last four bytes."""
    return content[:-4]


def flip(content: bytes) -> bytes:
    """Flip a bit of the last value."""
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "damage", [truncate, flip, lambda _: b"", lambda _: b"no tensors"], ids=["truncated", "bit", "empty", "text"]
)
def test_a_damaged_file_is_reported_and_recomputed(tmp_path, caplog, damage):
    compute, store = Counted(), ReferenceStore(tmp_path)
    store.get(KEY, compute)
    (path,) = tmp_path.rglob("*.safetensors")
    content = path.read_bytes()
    path.write_bytes(damage(content))
    with caplog.at_level(logging.WARNING):
        assert same(store.get(KEY, compute), compute.statistics) and compute.times == 2
    (record,) = caplog.records
    assert re.fullmatch(rf"'{path}' is corrupt \([^;']*\); recomputing it", record.getMessage())
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    assert same(store.get(KEY, compute), compute.statistics) and compute.times == 2 and len(caplog.records) == 1


def test_a_store_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "references").write_text("a file instead of a folder")
    with pytest.raises(UserError, match=r"cannot write to the store of statistics of photographs '.*references' \("):
        ReferenceStore(tmp_path / "references").get(KEY, Counted())


MATCHED = {"objective": "feature_match:layer1", "match_photographs": 2, "flip": 0.5}


class Contexts:
    """A job with photographs; `seen` has the number in each computation."""

    def __init__(self, bench, monkeypatch):
        self.bench, self.seen = bench, []
        monkeypatch.setenv("DREAMBIRDS_STORE", str(bench.root / "fresh"))
        monkeypatch.setattr(networks, "photograph_statistics", self._counted)
        path, folder = checkpoint(bench.root / "epoch-0001"), bench.prepare(image_size=32)
        self.job = DreamJob(
            **{"checkpoint": path, "recipe": "r", "parameters": parameters(**MATCHED), "names": LABELS},
            **{"photographs": {}, "statistics": None, "references": folder},
            **{"bytes_free": 4 * 10**9, "code": "code 1"},
        )

    def _counted(self, features, photographs, *rest):
        self.seen.append(len(photographs))
        return photograph_statistics(features, photographs, *rest)

    def of(self, **changes) -> DreamContext:
        """Return a context of the job with changes."""
        return DreamContext(replace(self.job, **changes), CPU)

    def computed(self, labels=("auk",), **changes) -> int:
        """Return for how many labels statistics are computed, not read."""
        before = len(self.seen)
        self.of(**changes).own.references(labels)
        return len(self.seen) - before


@pytest.fixture
def contexts(bench, monkeypatch):
    return Contexts(bench, monkeypatch)


def test_references_are_of_each_labels_photographs_in_the_order_of_the_labels(contexts):
    built = contexts.of()
    found = built.own.references(["crane", "auk"])
    photographs = TrainingPhotographs(contexts.job.references, OWN, 2)
    features = FeatureExtractor(built.own.model, ["layer1"], logits=False)
    each = [photograph_statistics(features, photographs.read(label), built.recipe) for label in ("crane", "auk")]
    assert same(found, stack_statistics(each)) and contexts.seen == [2, 2]
    assert same(contexts.of().own.references(["auk"]), stack_statistics(each[1:])) and contexts.seen == [2, 2]
    assert list(found) == ["whole"] and found["whole"]["layer1"].shape[0] == 2
    assert contexts.of(parameters=parameters(), references=None).own.references(["auk"]) is None


def test_auto_and_depths_are_resolved_to_layers(contexts):
    found = contexts.of(parameters=parameters(**MATCHED | {"objective": {"logit": 1.0, "feature_match": 1.0}}))
    assert list(found.own.references(["auk"])["whole"]) == sorted(["act1", "layer1", "layer2", "layer3", "layer4"])
    keys = [parameters(**MATCHED | {"objective": f"feature_match:{layer}"}) for layer in ("50%", "layer2")]
    half, whole = (contexts.of(parameters=each).own.references(["auk"]) for each in keys)
    assert torch.equal(half["whole"]["50%"], whole["whole"]["layer2"])


CROPS = {"crop_area": {"from": 1.0, "to": 0.3, "over": 5}}
CHANGES = {
    "match_statistics": {"match_statistics": "moments"},
    "match_regions": {"match_regions": "center"},
    "match_stride": {"match_stride": 2},
    "match_photographs": {"match_photographs": 3},
    "another layer": {"objective": "feature_match:layer2"},
    "flip": {"flip": 0.0},
    "crops": CROPS,
    "precision": {"precision": "bfloat16"},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_statistics_are_recomputed_if_their_options_change(contexts, change):
    assert contexts.computed() == 1 and contexts.computed() == 0
    assert contexts.computed(parameters=parameters(**MATCHED | change)) == 1
    assert contexts.computed(parameters=parameters(**MATCHED | change)) == 0 == contexts.computed()


@pytest.mark.slow
def test_statistics_are_recomputed_if_the_crops_change(contexts):
    crops = MATCHED | CROPS
    changes = [
        {},
        {"crop_area": 0.5},
        {"crop_ratio": 2.0},
        {"match_views": 5},
        {"crop_output_size": 24},
        {"whole_views": 0.5},
    ]
    for new in (1, 0):
        computed = [contexts.computed(parameters=parameters(**crops | change)) for change in changes]
        assert computed == [new] * len(changes)
    for change in ({"crop_area": 0.3}, {"crop_area": {"from": 0.9, "to": 0.3, "over": 7}}):  # at the last step
        assert contexts.computed(parameters=parameters(**crops | change)) == 0


@pytest.mark.slow
def test_statistics_depend_on_weights_code_and_photographs_and_not_on_other_options(contexts, tmp_path):
    assert contexts.computed() == 1
    assert contexts.computed(checkpoint=checkpoint(tmp_path / "other", seed=1)) == 1
    assert contexts.computed(code="code 2") == 1
    weighted = {"objective": {"logit": 3.0, "feature_match:layer1": 0.5}}
    more = [weighted, {"start": "noise"}, {"film_every": 1}, {"runs": ["run"], "epochs": [1]}]
    for change in ({"seed": 1}, {"step_size": 0.01}, {"tv_weight": 0.1}, {"steps": [2]}, {"optimizer": "adam"}, *more):
        assert contexts.computed(parameters=parameters(**MATCHED | change)) == 0, change
    assert contexts.computed(parameters=parameters(**MATCHED | {"size": 48})) == 1, "dreams of another size"
    assert contexts.computed(recipe="renamed", names={"auk": "Another name"}) == 0
    assert contexts.computed(("bunting",)) == 1, "another class"


def test_a_photograph_affects_only_the_dreams_of_its_class(contexts):
    before, bench = contexts.of(), contexts.bench
    for path in (bench.root / "in/bunting").iterdir():
        pixels = np.asarray(Image.open(path))
        Image.fromarray(255 - pixels).save(path)
    after = contexts.of(references=bench.prepare("after", image_size=32))
    changed = {label for label in LABELS if before.cache_key(label) != after.cache_key(label)}
    assert changed == {"bunting"}
    assert contexts.computed(LABELS) == 3 and contexts.computed(LABELS, references=after.job.references) == 1
    single = [built.own.references(["bunting"])["whole"]["layer1"] for built in (before, after)]
    assert not torch.allclose(*single, atol=1e-3)


def test_the_memory_of_a_matched_dream_is_estimated_without_photographs(contexts):
    plain = contexts.of(parameters=parameters(objective="layer_mean:layer1"), references=None)
    for more in ({}, CROPS, CROPS | {"whole_views": 0.5}):
        built = contexts.of(parameters=parameters(**MATCHED | more))
        estimate = context.estimate_activation_memory
        needed = [estimate(each.own.model, each.recipe, each.shape) for each in (plain, built)]
        channels = built.own.model.network.get_submodule("layer1")[-1].conv2.out_channels
        assert needed[1] - needed[0] >= 2 * 4 * channels * math.prod(side // 4 for side in built.shape)
    assert not contexts.seen
