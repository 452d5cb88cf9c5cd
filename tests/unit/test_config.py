"""A config becomes a table of dreams, or is refused with one clear error."""

import pytest
import timm
import timm.optim
import torch
import torchvision
import yaml

from dreambirds.config.load import SCHEMAS, load_schema
from dreambirds.config.recipes import expand_grid, load_presets
from dreambirds.config.reference import reference_page, with_presets
from dreambirds.config.runs import optimizer_names
from dreambirds.errors import UserError, did_you_mean
from dreambirds.models.names import model_names, renamed_models, torchvision_names
from dreambirds.plan.plan import make_plan
from tests.helpers.plans import config


def test_defaults_are_not_shared_between_studies():
    first = make_plan(config())
    first.config["runs"]["scratch"]["augmentation"]["flip"] = 0.0
    assert make_plan(config()).config["runs"]["scratch"]["augmentation"]["flip"] == 0.5


def test_lists_except_steps_make_a_grid_with_readable_names():
    widths = [0.25, {"random": [0.1, 1.0]}, {"from": 2, "to": 0.5, "over": 80}]
    points = expand_grid("blur", {"steps": [1, 2], "blur_sigma": widths, "objective": ["logit", "probability"]})
    assert len(points) == 6
    assert points["blur-blur_sigma-0.25-objective-logit"]["steps"] == [1, 2]
    assert points["blur-blur_sigma-random-0.1-1-objective-probability"]["blur_sigma"] == {"random": [0.1, 1.0]}
    assert "blur-blur_sigma-from-2-to-0.5-over-80-objective-logit" in points


def test_recipe_keys_override_the_preset_which_defaults_to_original():
    (lucid,) = expand_grid("a", {"preset": "lucid", "steps": [3], "pad": 0}).values()
    assert lucid["parameterization"] == "fourier" and lucid["optimizer"] == "adam" and lucid["flip"] == 0
    assert lucid["steps"] == [3] and lucid["pad"] == 0 and lucid["jitter"] == 6
    (plain,) = expand_grid("a", {}).values()
    assert plain["preset"] == "original" and plain["flip"] == 0.5 and plain["steps"] == [200, 500, 1000, 2000]
    both = expand_grid("a", {"preset": ["lucid", "original"], "steps": [3]})
    assert (
        both["a-preset-lucid"]["parameterization"] == "fourier"
        and both["a-preset-original"]["parameterization"] == "pixels"
    )


def test_a_folder_of_start_photographs_gives_one_recipe_per_photograph(tmp_path):
    for name in ("b.jpg", "a x.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"text" if name == "notes.txt" else b"\xff\xd8\xff")
    points = expand_grid("a", {"start": "photograph", "start_path": str(tmp_path)})
    assert {name: point["start_path"] for name, point in points.items()} == {
        "a-start_path-a_x.png": str(tmp_path / "a x.png"),
        "a-start_path-b.jpg": str(tmp_path / "b.jpg"),
    }
    (tmp_path / "none").mkdir()
    for wrong in ("notes.txt", "none"):
        with pytest.raises(
            UserError, match="is neither a photograph, such as a JPEG, PNG or WebP file, nor a folder of them; correct"
        ):
            make_plan(config(dreams__recipes__study={"start": "photograph", "start_path": str(tmp_path / wrong)}))


def test_close_numbers_and_very_long_grids_have_distinct_recipe_names():
    assert len(expand_grid("a", {"step_size": [0.12345671, 0.12345672]})) == 2
    keys = ("step_size", "jitter", "seed", "flip", "gradient_blur_sigma", "blur_sigma", "objective")
    lists = [[0.123456789, 1], [1, 2], [123456789, 1], [0.25, 1], [0.123456789, 1], [0.987654321, 1], ["logit"]]
    names = list(expand_grid("a", dict(zip(keys, lists, strict=True))))
    assert len(set(names)) == 64 and max(map(len, names)) == 120


SECOND = "findings-cub10"  # merged into another config
SHIPPED = sorted(path for path in (SCHEMAS.parents[1] / "config").rglob("*.yaml") if path.stem != SECOND)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path, tmp_path):
    shipped = yaml.safe_load(path.read_text())
    if shipped["dataset"]["source"] not in (
        "drawn",
        "none",
    ):  # their photographs and weights are not part of the project
        named = [label for judge in (shipped.get("judges") or {}).values() for label in judge.get("names", {})]
        for name in (*map(str, range(0, 551, 50)), *named):
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
            for file in ("a.jpg", "b.jpg"):
                (tmp_path / "train" / name / file).write_bytes(b"\xff\xd8\xff")
        layout = {"folder": tmp_path / "train", "kaggle": tmp_path}
        shipped["dataset"]["path"] = str(layout[shipped["dataset"]["source"]])
        torch.save({"a": torch.zeros(1)}, tmp_path / "weights")
        for run in shipped["runs"].values():
            run["weights"] = run["weights"] if run["weights"] in ("hub", "package") else str(tmp_path / "weights")
    plan = make_plan(shipped)
    assert plan.study == {"config": "default"}.get(path.stem, path.stem)
    kept = {run: set(keys["epochs"]) for run, keys in plan.config["runs"].items()}
    recipes, dreams_per_class = shipped["dreams"]["recipes"], 0
    for name, recipe in plan.recipes.items():
        given = recipes[max((each for each in recipes if f"{name}-".startswith(f"{each}-")), key=len)]
        for run in given.get("runs", kept):
            named = given.get("epochs", kept[run])
            dreaming = {max(kept[run]) if epoch == "last" else epoch for epoch in named}
            dreams_per_class += len(kept[run] & dreaming) * len(recipe["steps"])
    assert len(plan.dreams) == len(plan.names) * dreams_per_class


def test_model_names_read_from_source_match_timm():
    older = {old: new or "" for old, new in timm.models._registry.get_deprecated_models().items()}
    assert renamed_models() == older and len(older) > 100
    assert model_names() == {*timm.list_models(), *(old for old, new in older.items() if new)}
    assert torchvision_names() == set(torchvision.models.list_models(module=torchvision.models))


def test_optimizer_names_read_from_source_match_timm_except_unusable_ones():
    missing = set(timm.optim.list_optimizers()) - optimizer_names()
    assert optimizer_names() <= set(timm.optim.list_optimizers())
    left_out = ("bnb", "fused", "kron", "adahessian", "nesterov")
    assert [name for name in missing if not name.startswith(left_out)] == []


def test_suggestions_ignore_case_and_list_allowed_names_if_none_is_close():
    assert did_you_mean("NORTHERN", ["northern", "x"]).startswith("did you mean 'northern'?")
    assert did_you_mean("zzz", ["a", "b"]) == "allowed: a, b"
    assert did_you_mean("zzz", ["b", None]) == "allowed: b, null", "as in a config"
    assert did_you_mean(5, [2, 0.25, 12, 1]) == "allowed: 0.25, 1, 2, 12", "numbers are sorted as numbers"


def test_generated_pages_are_up_to_date():
    root = SCHEMAS.parents[1]
    assert (root / "config" / "README.md").read_text() == reference_page()
    page = (root / "docs" / "recipes.md").read_text()
    assert page == with_presets(page) and all(f"### `{name}`" in page for name in load_presets())
    assert set(load_presets()) == set(load_schema("recipe")["properties"]["preset"]["enum"])
