"""Snakemake's cache between workflows: a second clone reuses matching results, and only these."""

import pytest

from tests.helpers.studies import Study, copy_workflow, tiny

CACHED = ["--cache", "dataset", "train", "statistics"]
FILES = [
    "results/tiny/runs/scratch/epoch-0001/model.safetensors",
    "results/tiny/runs/other/epoch-0001/model.safetensors",
    "results/tiny/dataset/statistics-32.safetensors",
    "results/tiny/dataset/statistics-48.safetensors",
]


@pytest.fixture(scope="module")
def clones(tmp_path_factory) -> tuple[Study, Study]:
    """Return a study that fills the cache, and a clone of it that has not run."""
    config = tiny()
    config["runs"]["other"] = config["runs"]["scratch"] | {"epochs": [1]}
    recipe = {"preset": "maco", "steps": [1], "jitter": 0, "crop_output_size": 32}
    config["dreams"]["recipes"] = {"small": recipe, "large": recipe | {"size": 48}}
    first, second = (Study(tmp_path_factory.mktemp(name), config) for name in ("first", "second"))
    second.root = copy_workflow(tmp_path_factory.mktemp("code"))
    return first, second


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory, request):
    """Set the cache that the tests of this module share."""
    folder = tmp_path_factory.getbasetemp() / "cache-of-studies"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder))


def computed(output: str) -> dict[str, int]:
    """Return how many epochs were trained and data sets prepared, from a run's output."""
    return {"trained": output.count("validation accuracy"), "prepared": output.count("prepared 15 images")}


def test_no_two_wildcards_share_an_entry(clones):
    output = clones[0].run(*FILES, *CACHED)
    assert computed(output) == {"trained": 2 + 2, "prepared": 1}
    contents = [(clones[0].folder / name).read_bytes() for name in FILES]
    contents.append((clones[0].folder / FILES[0].replace("0001", "0000")).read_bytes())
    assert len(set(contents)) == len(contents), "different for each run, epoch and size"


def test_a_second_clone_computes_nothing(clones):
    first, second = clones
    assert computed(second.run(*FILES, *CACHED)) == {"trained": 0, "prepared": 0}
    for name in [
        *FILES,
        "results/tiny/dataset/images.csv",
        "results/tiny/runs/other/epoch-0001/training_state.safetensors",
    ]:
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes()
        assert (second.folder / name).is_symlink()
    assert "Nothing to be done" in second.run(*FILES, *CACHED)


def test_an_edited_module_gives_another_entry(clones):
    _, second = clones
    with (second.root / "workflow/dreambirds/training/loss.py").open("a") as file:
        file.write("\nEDITED = True\n")
    assert computed(second.run(FILES[0], *CACHED)) == {"trained": 2, "prepared": 0}
