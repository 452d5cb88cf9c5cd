"""The resolved config of a study, and the software that it names."""

import json
import subprocess

import pytest
import yaml

from dreambirds.config.provenance import provenance
from dreambirds.config.recipes import load_presets
from dreambirds.config.resolved import write_resolved_config
from dreambirds.plan.plan import make_plan
from tests.helpers.studies import ROOT, tiny

CONFIGS = [
    ROOT / "config/config.yaml",
    ROOT / "config/cub10.yaml",
    ROOT / "config/findings.yaml",
    *sorted((ROOT / "config/studies").glob("*.yaml")),
]


def resolved(config: dict, tmp_path) -> dict:
    """Return the content of a study's resolved config."""
    path = tmp_path / "config.yaml"
    write_resolved_config(make_plan(config).resolved, provenance({"torch": "1.0"}, "abc"), path)
    return yaml.safe_load(path.read_text())


def assert_same_plan(config: dict, tmp_path) -> None:
    """Compare as JSON, because Snakemake records parameters with the order of their keys."""
    one, two = make_plan(config), make_plan(resolved(config, tmp_path))
    assert json.dumps(two.recipes) == json.dumps(one.recipes)
    assert json.dumps(two.config) == json.dumps(one.config)
    assert (two.labels, two.dreamers) == (one.labels, one.dreamers)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_resolved_config_plans_the_same_study(path, tmp_path):
    assert_same_plan(yaml.safe_load(path.read_text()), tmp_path)


def test_grids_keep_their_names_and_a_grid_of_presets_keeps_their_differences(tmp_path):
    config = tiny()
    config["dreams"]["recipes"] = {
        "seeds": {"preset": "bird", "steps": [2], "octaves": 1, "seed": [0, 1], "blur_sigma": [0, 0.5], "jitter": [4]},
        "presets": {"preset": list(load_presets())[:2], "steps": [2], "octaves": 1, "epochs": ["last"]},
    }
    assert_same_plan(config, tmp_path)
    recipes = resolved(config, tmp_path)["dreams"]["recipes"]
    assert recipes["seeds"]["seed"] == [0, 1], "the grid is kept"
    assert recipes["seeds"]["optimizer"] == "ascent", "a default is filled in"


def test_the_defaults_of_all_sections_are_listed_with_the_software(tmp_path):
    content = resolved({"runs": {"a": {"model": "test_resnet"}}, "dreams": {"recipes": {"b": {}}}}, tmp_path)
    assert content["study"] == "default"
    assert content["runs"]["a"]["batch_size"] and content["dataset"]["images_per_label"]
    assert content["judges"]["judge"]["train"]["model"], "the default judge is named"
    assert content["dreams"]["recipes"]["b"]["step_size"]
    found = content["provenance"]
    assert found["code"] == "abc"
    assert {"dreambirds", "python", "snakemake", "torch"} <= set(found["versions"])


def test_the_commit_and_whether_files_changed_since_are_named(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr("dreambirds.config.provenance.PACKAGE", tmp_path)
    assert provenance({}, "")["commit"] is None, "not a repository"
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    assert (provenance({}, "")["commit"], provenance({}, "")["tree"]) == (git("rev-parse", "HEAD"), "unchanged")
    (tmp_path / "file").write_text("2")
    assert provenance({}, "")["tree"] == "changed"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance({}, "") == provenance({}, "") | {"commit": None, "tree": None}, "git is not installed"


def test_the_order_of_keys_does_not_matter():
    config = tiny()
    other = {key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in config.items()}
    assert list(other["dataset"]) != list(config["dataset"])
    assert json.dumps(make_plan(dict(reversed(other.items()))).config) == json.dumps(make_plan(config).config)
