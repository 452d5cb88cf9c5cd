"""A study of channels and of an interpolation, with photographs, from its data set to the gallery."""

import json
import re

import pandas as pd
import pytest
from PIL import Image

from tests.helpers.studies import Study, tiny

CHANNELS = ["layer50_channel0", "layer50_channel3"]
BETWEEN = [f"blue_jay_to_northern_cardinal_{weight}" for weight in ("0000", "0500", "1000")]
NAMES = [
    *(
        "montages/scratch/study/exciting_epoch-0000_rescaled.png",
        "montages/scratch/study/class-by-epoch_step-0003_raw.png",
    ),
    *("films/scratch/study/weights_epoch-0000_rescaled.gif", "gallery/index.html"),
    "montages/scratch/study/between-by-weight_epoch-0000_rescaled.png",
]
FILES = [f"results/tiny/{name}" for name in NAMES]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return a tiny study, not trained, of two channels and of three weights between two classes."""
    config = tiny()
    pair = {"between": ["blue_jay", "northern_cardinal"], "weights": 3}
    config["dreams"] = {
        "targets": [{"layer": "50%", "channels": [0, 3]}, pair],
        "recipes": {"study": {"steps": [1, 3]}},
    }
    config["runs"]["scratch"]["epochs"] = [0]
    return Study(tmp_path_factory.mktemp("exciting"), config)


def test_channels_and_a_pair_are_dreamt_and_shown_with_the_photographs_that_excite_them(study):
    study.run(*FILES)
    root = study.results
    table = pd.read_csv(root / "excitation/scratch/epoch-0000.csv")
    assert list(table["label"]) == [label for label in CHANNELS for _ in range(9)]
    assert list(table["rank"]) == [*range(1, 10)] * 2
    assert all(rows["activation"].is_monotonic_decreasing for _, rows in table.groupby("label"))
    assert all((root / "dataset" / path).is_file() for path in table["path"])
    dreams = pd.read_csv(root / "dreams.csv")
    assert set(dreams["label"]) == {*CHANNELS, *BETWEEN}
    with Image.open(root / "montages/scratch/study/exciting_epoch-0000_rescaled.png") as montage:
        facts = json.loads(montage.text["dreambirds"])
    assert set(facts["labels"]) == set(facts["exciting"]) == set(CHANNELS)
    with Image.open(study.folder / FILES[2]) as film:
        assert film.n_frames == 4, "three weights, and the middle one on the way back"
    exciting = root / "gallery/pictures/exciting/scratch/epoch-0000"
    assert {path.stem for path in exciting.iterdir()} == set(CHANNELS)
    page = (root / "gallery/index.html").read_text()
    assert '<h2 id="classes-title">Targets</h2>' in page


def test_nothing_runs_again_and_another_channel_runs_what_depends_on_it(study):
    assert study.jobs(*FILES) == {}
    study.config["dreams"]["targets"][0]["channels"] = [0, 3, 5]
    jobs = study.jobs(*FILES)
    assert {name: jobs.get(name) for name in ("excitation", "exciting", "dream", "gallery")} == dict.fromkeys(
        ("excitation", "exciting", "dream", "gallery"), 1
    )
    assert "train" not in jobs and "dataset" not in jobs


def test_figures_that_the_study_does_not_have_are_refused(study):
    study.config["dreams"]["targets"] = study.config["dreams"]["targets"][:1]
    for file, sentence in (
        ("montages/scratch/study/between-by-weight_epoch-0000_raw.png", "the study 'tiny' has no interpolations"),
        ("excitation/scratch/epoch-0001.csv", "the study 'tiny' has no dreams with the epoch 1"),
    ):
        result = study.snakemake("-n", f"results/tiny/{file}")
        assert result.returncode == 1 and sentence in re.sub(r"\s+", " ", result.stdout)
        assert "most recent call" not in result.stdout
