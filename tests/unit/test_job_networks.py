"""The networks of a dream job: the statistics of photographs that they need, and what determines these."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dreambirds.dream_job import context, networks
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.references import TrainingPhotographs
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.dreaming.matching import photograph_statistics, stack_statistics
from tests.helpers.dream_bench import CPU, checkpoint, parameters, same_statistics

LABELS = {"auk": "Auk", "bunting": "Bunting", "crane": "Crane"}
OWN = {label: label for label in LABELS}
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
    assert same_statistics(found, stack_statistics(each)) and contexts.seen == [2, 2]
    assert same_statistics(contexts.of().own.references(["auk"]), stack_statistics(each[1:])) and contexts.seen == [
        2,
        2,
    ]
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
        {"match_crop_regions": "center"},
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
