"""Dream jobs with feature matching: interrupted, repeated and split jobs, and cache keys."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dreambirds.dream_job import context, networks
from dreambirds.dream_job.context import DreamContext
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dreaming.matching import photograph_statistics
from tests.helpers.bench import Bench
from tests.helpers.dream_bench import CPU, NAMES, DreamBench, entries, parameters

AREA = {"from": 1.0, "to": 0.4, "over": 3}
MATCHED = {
    **{"objective": {"cross_entropy": 1.0, "feature_match:layer1": 1.0}, "parameterization": "pyramid"},
    **{"pyramid_steps": 3, "blur_sigma": 0.0, "gradient_normalization": "none", "optimizer": "adam", "step_size": 0.05},
    **{"crop_area": AREA, "whole_views": 0.5, "match_views": 2, "match_regions": "thirds", "match_photographs": 3},
}


# In float32 a CPU rounds differently for another batch, and Adam amplifies small differences.
CALM = {
    **MATCHED,
    **{"parameterization": "pixels", "pyramid_steps": 0, "optimizer": "ascent", "gradient_normalization": "std"},
}
FOLDERS = ("out", "one_go")


class Matched(DreamBench):
    """A job with feature matching, which counts how often statistics of photographs are computed."""

    def __init__(self, folder: Path, caplog, monkeypatch):
        """Prepare six photographs per class, and start with an empty store."""
        super().__init__(folder, caplog)
        self.photographs, self.computed, self.monkeypatch = Bench(folder / "photographs", NAMES), 0, monkeypatch
        prepared = self.photographs.prepare(image_size=32)
        self.job = replace(self.job, parameters=parameters(**MATCHED), references=prepared)
        monkeypatch.setattr(networks, "photograph_statistics", self._counted)

    def _counted(self, *arguments):
        self.computed += 1
        return photograph_statistics(*arguments)

    def with_store(self, name: str) -> None:
        """Use another store from now on."""
        self.monkeypatch.setenv("DREAMBIRDS_STORE", str(self.folder / name))

    def pixels(self, folder: str = "out") -> dict[str, np.ndarray]:
        """Return the pixels of a job's images."""
        root = self.folder / folder
        return {str(path.relative_to(root)): np.asarray(Image.open(path)).astype(int) for path in root.rglob("*.png")}

    def keys(self, **changes) -> dict[str, str]:
        """Return the cache key of each label's dream for a job with changes."""
        context = DreamContext(replace(self.job, **changes), CPU)
        return {label: context.cache_key(label) for label in context.job.names}


@pytest.fixture
def matched(tmp_path, monkeypatch, caplog) -> Matched:
    bench = Matched(tmp_path, caplog, monkeypatch)
    bench.with_store("store")
    return bench


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Return whether the images of two jobs are bitwise identical."""
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_killed_job_resumes_to_the_same_pixels(matched):
    alone = {"bytes_free": 0}  # one label per batch
    assert matched.dreamt(**alone) == 6 and matched.computed == 3
    expected, calls = matched.pixels(), []
    assert len(expected) == 2 * 6 and matched.dreamt(**alone, folder="again") == 0
    assert same(matched.pixels("again"), expected) and matched.computed == 3

    def killed(*given, **more):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return dream(*given, **more)

    dream = context.dream
    matched.with_store("second")
    with matched.monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(context, "dream", killed)
        matched.dreamt(**alone, folder="resumed")
    assert (
        len(entries(matched.folder / "second")) == 2 and matched.pixels("resumed") == {} and matched.computed == 3 + 2
    )
    assert matched.dreamt(**alone, folder="resumed") == 4
    assert same(matched.pixels("resumed"), expected) and matched.computed == 3 + 3


def test_a_lost_image_and_its_statistics_are_recomputed_identically(matched):
    calm = {"parameters": parameters(**CALM)}
    matched.dreamt(**calm)
    expected = matched.pixels()
    lost = next(each for each in entries(matched.folder / "store") if each.name == "step-0003")
    for file in (*lost.iterdir(), *(matched.folder / "store/references").rglob("*.safetensors")):
        file.unlink()
    for path in (matched.folder / "out").rglob("*.png"):
        path.unlink()
    assert matched.dreamt(**calm, bytes_free=0) == 1 and matched.computed == 3 + 1
    found = matched.pixels()
    assert set(found) == set(expected) and max(np.abs(found[name] - expected[name]).max() for name in expected) <= 1


@pytest.mark.slow
def test_one_job_and_two_parts_give_the_same_images(matched):
    calm = {"parameters": parameters(**CALM)}
    matched.dreamt(**calm)
    matched.with_store("second")
    for part in ("a", "bc"):
        names = {label: NAMES[label] for label in part}
        assert matched.dreamt(**calm, names=names, folder="parts") == 2 * len(part)
    expected, parts = matched.pixels(), matched.pixels("parts")
    assert set(parts) == set(expected) and matched.computed == 2 * 3
    for name, pixels in expected.items():
        assert np.abs(pixels - parts[name]).max() <= 1, name
    last = [expected[f"{label}/step-0003.png"] for label in NAMES]
    assert min(np.abs(one - other).mean() for one, other in itertools.combinations(last, 2)) > 1, "all differ"


@pytest.mark.slow
def test_steps_requested_one_after_another_equal_those_of_one_job(matched):
    more = parameters(**MATCHED | {"steps": [1, 2, 3, 5]})
    for steps in ([3], [1, 3]):
        matched.dreamt(parameters=parameters(**MATCHED | {"steps": steps}))
    assert matched.dreamt(parameters=more) == 2 * 3
    matched.with_store("fresh")
    assert matched.dreamt(parameters=more, folder="one_go") == 4 * 3
    assert same(matched.pixels(), matched.pixels("one_go"))
    traces = [{name: text for name, text in matched.files(folder).items() if "trace" in name} for folder in FOLDERS]
    assert traces[0] == traces[1] and len(traces[0]) == 3


def invert(matched: Matched, label: str, split: str, most: int = 99) -> Path:
    """Invert the last `most` photographs of a class in a split, and return the newly prepared data set."""
    images = pd.read_csv(matched.job.references / "images.csv", dtype=str, keep_default_na=False)
    chosen = images.loc[(images["label"] == label) & (images["split"] == split), "source"]
    assert len(chosen)
    for source in chosen.iloc[-most:]:
        path = matched.photographs.root / "in" / label / Path(source).name
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return matched.photographs.prepare(f"{label}-{split}-{most}", image_size=32)


@pytest.mark.slow
def test_a_dream_depends_on_the_training_photographs_of_its_class_only(matched):
    before = matched.keys()
    assert matched.keys(references=invert(matched, "b", "validation")) == before
    assert matched.keys(references=invert(matched, "b", "train", 1)) == before, "the last is not among the first three"
    after = matched.keys(references=invert(matched, "b", "train"))
    assert {label for label in NAMES if after[label] != before[label]} == {"b"}
    matched.dreamt()
    prepared = matched.folder / "photographs/b-train-99"
    assert matched.dreamt(references=prepared, folder="after") == 2 and matched.computed == 3 + 1
    old, new = ({label: facts_of(matched, folder, label) for label in NAMES} for folder in ("out", "after"))
    assert {label for label in NAMES if old[label] != new[label]} == {"b"}
    assert {key for key in old["b"] if old["b"][key] != new["b"][key]} == {"references_sha256"}
    assert len({old[label]["references_sha256"] for label in NAMES}) == 3


def facts_of(matched: Matched, folder: str, label: str) -> dict:
    """Return the metadata of an image, without its batch size."""
    facts = read_facts(matched.folder / folder / label / "step-0003.png")
    return {key: value for key, value in facts.items() if key != "batch"}


def test_cache_keys_depend_on_the_recipe_s_views_and_matching_options(matched):
    changes = [
        {"pyramid_steps": 2},
        {"crop_area": 0.4},
        {"crop_area": AREA | {"to": 0.5}},
        {"crop_ratio": 2.0},
        {"crop_output_size": 24},
        {"whole_views": 0.25},
        {"match_statistics": "moments"},
        {"match_regions": "center"},
        {"match_stride": 2},
        {"match_photographs": 2},
        {"match_views": 3},
        {"objective": {"cross_entropy": 1.0, "feature_match:layer1": 2.0}},
        {"objective": {"cross_entropy": 1.0, "feature_match:layer2": 1.0}},
    ]
    keys = [matched.keys(parameters=parameters(**MATCHED | change))["a"] for change in ({}, *changes)]
    assert len(set(keys)) == 1 + len(changes)


def test_cache_keys_do_not_depend_on_other_settings(matched):
    before = matched.keys()
    renamed = dict(zip(NAMES, ("Oak", "Pine", "Yew"), strict=True))
    restricted = {"runs": ["run"], "epochs": ["last"]}
    for changes in (
        {"names": renamed},
        {"parameters": parameters(**MATCHED, **restricted)},
        {"parameters": parameters(**MATCHED, film_every=2)},
        {"parameters": parameters(**MATCHED | {"steps": [2, 9]})},
        {"recipe": "renamed", "bytes_free": 1},
    ):
        assert matched.keys(**changes) == before, changes
    assert matched.keys(references=matched.job.references.rename(matched.folder / "moved")) == before


def test_a_dream_without_matching_has_no_digest_of_photographs(matched):
    plain = {"parameters": parameters(), "references": None}
    assert DreamContext(replace(matched.job, **plain), CPU).references_sha256 == {}
    assert matched.dreamt(**plain) == 6 and matched.computed == 0
    assert "references_sha256" not in facts_of(matched, "out", "a")
