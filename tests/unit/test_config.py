"""A config becomes a table of dreams, or is refused with one clear error."""

import math

import pytest
import timm
import timm.optim
import yaml

from dreambirds.config.load import SCHEMAS, load_schema
from dreambirds.config.recipes import expand_grid, load_presets
from dreambirds.config.reference import reference_page, with_presets
from dreambirds.config.runs import model_names, optimizer_names
from dreambirds.errors import UserError, did_you_mean
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
        (tmp_path / name).touch()
    points = expand_grid("a", {"start": "photograph", "start_path": str(tmp_path)})
    assert {name: point["start_path"] for name, point in points.items()} == {
        "a-start_path-a_x.png": str(tmp_path / "a x.png"),
        "a-start_path-b.jpg": str(tmp_path / "b.jpg"),
    }
    (tmp_path / "none").mkdir()
    for wrong in ("notes.txt", "none"):
        with pytest.raises(
            UserError, match="is neither a JPEG, PNG or WebP file nor a folder of them; correct the path"
        ):
            make_plan(config(dreams__recipes__study={"start": "photograph", "start_path": str(tmp_path / wrong)}))


def test_close_numbers_and_very_long_grids_have_distinct_recipe_names():
    assert len(expand_grid("a", {"step_size": [0.12345671, 0.12345672]})) == 2
    keys = ("step_size", "jitter", "seed", "flip", "gradient_blur_sigma", "blur_sigma", "objective")
    lists = [[0.123456789, 1], [1, 2], [123456789, 1], [0.25, 1], [0.123456789, 1], [0.987654321, 1], ["logit"]]
    names = list(expand_grid("a", dict(zip(keys, lists, strict=True))))
    assert len(set(names)) == 64 and max(map(len, names)) == 120


SHIPPED = sorted((SCHEMAS.parents[1] / "config").rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path, tmp_path):
    shipped = yaml.safe_load(path.read_text())
    if shipped["dataset"]["source"] != "drawn":  # their photographs and weights are not part of the project
        named = [label for judge in (shipped.get("judges") or {}).values() for label in judge.get("names", {})]
        for name in (*map(str, range(0, 551, 50)), *named):
            (tmp_path / "train" / name).mkdir(parents=True)
            (tmp_path / "train" / name / "a.jpg").touch()
        layout = {"folder": tmp_path / "train", "kaggle": tmp_path}
        shipped["dataset"]["path"] = str(layout[shipped["dataset"]["source"]])
        (tmp_path / "weights").touch()
        for run in shipped["runs"].values():
            run["weights"] = run["weights"] if run["weights"] in ("hub", "package") else str(tmp_path / "weights")
    plan = make_plan(shipped)
    assert plan.study == path.stem
    kept = {run: set(keys["epochs"]) for run, keys in plan.config["runs"].items()}
    recipes, dreams_per_class = shipped["dreams"]["recipes"], 0
    for name, recipe in plan.recipes.items():
        given = recipes[max((each for each in recipes if f"{name}-".startswith(f"{each}-")), key=len)]
        for run in given.get("runs", kept):
            named = given.get("epochs", kept[run])
            dreaming = {max(kept[run]) if epoch == "last" else epoch for epoch in named}
            dreams_per_class += len(kept[run] & dreaming) * len(recipe["steps"])
    assert len(plan.dreams) == len(plan.names) * dreams_per_class


OLD_KEYS = {
    "dreams__recipes__study": {
        **{
            "image": "parameterization",
            "start_colour": "start_color",
            "total_variation": "tv_weight",
            "l2": "l2_weight",
        },
        **{"gradient_normalisation": "gradient_normalization", "octave_manner": "octave_mode"},
        **{"lengths_at": "reference_size", "crop_view": "crop_output_size"},
    },
    "runs__scratch__augmentation": {"colour": "color"},
    "runs__scratch__adversarial": {"length": "epsilon", "ramp_epochs": "warmup_epochs"},
    "threads": {"load": "loader_workers"},
    "pictures": {"cell": "montage.cell_size", "seconds_per_frame": "frame_duration"},
}


@pytest.mark.parametrize(
    ("section", "old", "new"), [(s, *pair) for s, keys in OLD_KEYS.items() for pair in keys.items()]
)
def test_an_old_key_is_refused_with_the_name_of_the_new_one(section, old, new):
    with pytest.raises(UserError, match=f"the key '{old}' was renamed to '{new}'; rename it$"):
        make_plan(config(**{section: {old: 1}}))


REFUSED = {
    "unknown key 'epoch'; did you mean 'epochs'?": {"runs__scratch__epoch": [1]},
    "config: unknown key 'run'": {"run": {}},
    "runs.scratch.model: timm has no model 'resnet81'; did you mean 'resnet18'?": {"runs__scratch__model": "resnet81"},
    "runs.scratch.optimizer: timm has no optimizer 'adamww'; did you mean 'adamw'?": {
        "runs__scratch__optimizer": "adamww"
    },
    "runs.scratch.epochs: must be ascending, not [2, 1]": {"runs__scratch__epochs": [2, 1]},
    "runs.scratch.epochs: has duplicate values": {"runs__scratch__epochs": [1, 1]},
    "runs.scratch.epochs: must contain at least 1 value": {"runs__scratch__epochs": []},
    "runs.scratch.epochs.0: must be at least 0, not -1": {"runs__scratch__epochs": [-1]},
    "runs.scratch.learning_rate: must be a number, not '1e-3'; write 0.001, because YAML reads '1e-3' as text": {
        "runs__scratch__learning_rate": "1e-3"
    },
    "runs.scratch.learning_rate: must be greater than 0": {"runs__scratch__learning_rate": 0},
    "runs.scratch.learning_rate: must be a number, not .nan": {"runs__scratch__learning_rate": math.nan},
    "runs.scratch.weights: 'nowhere.safetensors' does not exist": {"runs__scratch__weights": "nowhere.safetensors"},
    "runs: the name 'a/b' is not allowed; use 1 to 64": {"runs__a/b": {"model": "test_resnet", "epochs": [0]}},
    "study: the name '..' is not allowed; use 1 to 64": {"study": ".."},
    "dataset.labels: unknown label 'blue_joy'; did you mean 'blue_jay'?": {"dataset__labels": ["blue_joy"]},
    "dreams.labels: unknown label 'scarlet_tanager'": {"dreams__labels": ["scarlet_tanager"]},
    "dataset.source: unknown value 'drawm'; did you mean 'drawn'?": {"dataset__source": "drawm"},
    "dataset.path: must be a folder": {"dataset__source": "folder"},
    "dataset.path: 'nowhere' does not exist; it must be a folder": {"dataset": {"source": "folder", "path": "nowhere"}},
    "dreams.recipes.study.objective: unknown objective 'logits'; did you mean 'logit'?": {
        "dreams__recipes__study__objective": "logits"
    },
    "dreams.recipes.study: unknown key 'blur'": {"dreams__recipes__study__blur": 1},
    "dreams.recipes.study.steps: must be ascending": {"dreams__recipes__study__steps": [5, 2]},
    "dreams.recipes.study.steps.0: must be at least 1": {"dreams__recipes__study__steps": [0]},
    "dreams: the key 'recipes' is missing": {"dreams": {}},
    "dreams.recipes.study.blur_sigma: must be a number from 0 to 100, {random: [low, high]}": {
        "dreams__recipes__study__blur_sigma": {"randm": [0, 1]}
    },
    "dreams.recipes.study.seed: has duplicate values": {"dreams__recipes__study__seed": [1, 1]},
    "dreams.recipes.study.seed: must contain at least 1": {"dreams__recipes__study__seed": []},
    "dreams.recipes.study: expands to 1000000000 recipes": {
        "dreams__recipes__study": {"steps": [1], **{key: list(range(1000)) for key in ("seed", "jitter", "step_size")}}
    },
    "'twin' is the same recipe as 'study'": {"dreams__recipes__twin": {"steps": [2, 5]}},
    "dreams.recipes.twin: 'twin' is the same recipe as 'study'": {
        "dreams__recipes__twin": {"steps": [2, 5], "epochs": [0]}
    },
    "dreams.recipes.study.runs: the study has no run 'scrath'; did you mean 'scratch'?": {
        "dreams__recipes__study__runs": ["scrath"]
    },
    "dreams.recipes.study.runs: must be a list or null, not 'scratch'": {"dreams__recipes__study__runs": "scratch"},
    "dreams.recipes.study.runs: must contain at least 1 value": {"dreams__recipes__study__runs": []},
    "dreams.recipes.study.runs: has duplicate values": {"dreams__recipes__study__runs": ["scratch", "scratch"]},
    "dreams.recipes.study.epochs: must contain at least 1 value": {"dreams__recipes__study__epochs": []},
    "dreams.recipes.study.epochs: has duplicate values": {"dreams__recipes__study__epochs": ["last", "last"]},
    "dreams.recipes.study.epochs.0: must be an epoch from 0 to 9999, or 'last', not 'first'": {
        "dreams__recipes__study__epochs": ["first"]
    },
    "dreams.recipes.study.epochs: no run keeps a checkpoint of epoch 2; available: 0, 1, 4, last": {
        "dreams__recipes__study__epochs": [0, 2]
    },
    "dreams.recipes.study.epochs: the run 'other' keeps only epochs 0, 3; add one of them to 'epochs', or list the "
    "other runs in 'runs'": {
        "dreams__recipes__study__epochs": [4],
        "runs__other": {"model": "test_resnet", "epochs": [0, 3]},
    },
    "dreams.recipes.study.start_path: is only used with": {"dreams__recipes__study__start_path": "x.jpg"},
    "dreams.recipes.study.start_path: 'nowhere.jpg' does not exist; correct the path": {
        "dreams__recipes__study__start_path": "nowhere.jpg",
        "dreams__recipes__study__start": "photograph",
    },
    "dreams.recipes.study.jitter: is 96 pixels at this size, but must be less than 96, the side of the first octave": {
        "dreams__recipes__study__jitter": 96
    },
    "dreams.recipes.study.preset: unknown value 'lucit'; did you mean 'lucid'?": {
        "dreams__recipes__study__preset": "lucit"
    },
    "dreams.recipes.study.objective: the objective 'channel:layer1' must have the form channel:LAYER:CHANNEL": {
        "dreams__recipes__study__objective": "channel:layer1"
    },
    "dreams.recipes.study.objective: must not be empty": {"dreams__recipes__study__objective": {}},
    "dreams.recipes.study.objective.logit: must be a number": {"dreams__recipes__study__objective": {"logit": "much"}},
    "dreams.recipes.study.blur_sigma: is only used with 'parameterization: pixels', not 'parameterization: fourier'": {
        "dreams__recipes__study__parameterization": "fourier"
    },
    "dreams.recipes.study.start: 'gray' has no phases, which 'parameterization: maco' needs": {
        "dreams__recipes__study": {"parameterization": "maco", "blur_sigma": 0.0}
    },
    "dreams.recipes.study.momentum: is only used with 'optimizer: ascent', not 'optimizer: adam'": {
        "dreams__recipes__study": {"optimizer": "adam", "momentum": 0.5}
    },
    "dreams.recipes.study.weight_decay: is only used with 'optimizer: adam, adamw or nadam'": {
        "dreams__recipes__study__weight_decay": 0.1
    },
    "dreams.recipes.study.tile: cannot be combined with 'crops'; remove one of them": {
        "dreams__recipes__study": {"tile": 64, "crops": 2}
    },
    "dreams.recipes.study.tile: cannot be combined with 'crop_area'; remove one of them": {
        "dreams__recipes__study": {"tile": 64, "crop_area": 0.5}
    },
    "dreams.recipes.study.crops: cannot be combined with 'crop_area'; remove one of them": {
        "dreams__recipes__study": {"crops": 2, "crop_area": 0.5}
    },
    "dreams.recipes.study.crop_area: must be null, a number from 0.01 to 1, or {from: a, to: b, over: steps}, not": {
        "dreams__recipes__study__crop_area": {"random": [0.4, 0.9]}
    },
    "dreams.recipes.study.whole_views: is only used with 'crop_area'; set it to 0": {
        "dreams__recipes__study__whole_views": 0.5
    },
    "study.pyramid_steps: is only used with 'parameterization: pyramid', not 'parameterization: pixels'": {
        "dreams__recipes__study__pyramid_steps": 9
    },
    "dreams.recipes.study.match_statistics: is only used with 'objective: feature_match'; set it to sorted": {
        "dreams__recipes__study__match_statistics": "moments"
    },
    "dreams.recipes.study.match_regions: is only used with 'objective: feature_match'; set it to whole": {
        "dreams__recipes__study__match_regions": "thirds"
    },
    "dreams.recipes.study.match_stride: is only used with 'objective: feature_match'; set it to 1": {
        "dreams__recipes__study__match_stride": 2
    },
    "dreams.recipes.study.match_photographs: is only used with 'objective: feature_match'; set it to 48": {
        "dreams__recipes__study__match_photographs": 9
    },
    "dreams.recipes.study.match_views: is only used with 'objective: feature_match'; set it to 4": {
        "dreams__recipes__study__match_views": 9
    },
    "dreams.recipes.study.match_regions: unknown value 'third'; did you mean 'thirds'?": {
        "dreams__recipes__study": {"objective": "feature_match", "match_regions": "third"}
    },
    "dreams.recipes.study.objective: the objective 'feature_match:' must have the form feature_match": {
        "dreams__recipes__study__objective": "feature_match:"
    },
    "study.objective: feature_match cannot be combined with 'octaves', because it needs views of one size; "
    "set 'octaves' to 1": {"dreams__recipes__study": {"objective": "feature_match", "octaves": 2, "octave_steps": 2}},
    "study.objective: feature_match cannot be combined with 'tile', because it needs views of one size; "
    "set 'tile' to null": {
        "dreams__recipes__study": {"objective": {"logit": 1, "feature_match:layer1": 1}, "tile": 64}
    },
    "feature_match cannot be combined with 'crops'": {
        "dreams__recipes__study": {"objective": "feature_match", "crops": 2}
    },
    "feature_match cannot be combined with 'pad'": {"dreams__recipes__study": {"objective": "feature_match", "pad": 4}},
    "dreams.recipes.study.octaves: the first of 6 would have a side of 13 pixels": {
        "dreams__recipes__study": {"octaves": 6, "octave_scale": 1.5}
    },
    "dreams.recipes.study.rotate: must be {random: [low, high]} with low <= high, not [10, -10]": {
        "dreams__recipes__study__rotate": {"random": [10, -10]}
    },
    "dreams.recipes.study.start_color: must be a color, \"#rrggbb\", not 'red'": {
        "dreams__recipes__study__start_color": "red"
    },
    "dreams.recipes.study.step_size: must be a number above 0, up to 10000": {
        "dreams__recipes__study__step_size": {"random": [1, 2]}
    },
    "dreams.recipes.study.momentum: must be less than 1, not 1": {"dreams__recipes__study__momentum": 1},
    "dreams.recipes.study.step_size: has duplicate values": {"dreams__recipes__study__step_size": [1, 1.0]},
    "dreams.recipes.study.start_path: two values give the same recipe name, 'study-start_path-a_b.jpg'": {
        "dreams__recipes__study__start_path": ["a b.jpg", "a_b.jpg"],
        "dreams__recipes__study__start": "photograph",
    },
    "runs.scratch.epochs: must have at most 4 decimals, not 0.12345": {"runs__scratch__epochs": [0, 0.12345]},
    "runs.scratch.batch_size: must be at least 2": {"runs__scratch__batch_size": 1},
    "dataset.path: is only used with 'source: folder'": {"dataset__path": "somewhere"},
    "dataset.labels: must name at least 2 classes": {"dataset__labels": ["blue_jay"]},
    "pictures.view: unknown value 'rescale'; did you mean 'rescaled'?": {"pictures__view": "rescale"},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_faulty_configs_are_refused_with_one_line(sentence):
    with pytest.raises(UserError) as refusal:
        make_plan(config(**REFUSED[sentence]))
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_model_names_read_from_source_match_timm():
    assert set(timm.list_models()) <= model_names()
    assert model_names() - set(timm.list_models(include_tags=False)) <= set(timm.models._registry._deprecated_models)


def test_optimizer_names_read_from_source_match_timm_except_unusable_ones():
    missing = set(timm.optim.list_optimizers()) - optimizer_names()
    assert optimizer_names() <= set(timm.optim.list_optimizers())
    left_out = ("bnb", "fused", "kron", "adahessian", "nesterov")
    assert [name for name in missing if not name.startswith(left_out)] == []


def test_suggestions_ignore_case_and_list_allowed_names_if_none_is_close():
    assert did_you_mean("NORTHERN", ["northern", "x"]).startswith("did you mean 'northern'?")
    assert did_you_mean("zzz", ["a", "b"]) == "allowed: a, b"
    assert did_you_mean(5, [2, 0.25, 12, 1]) == "allowed: 0.25, 1, 2, 12", "numbers are sorted as numbers"


def test_generated_pages_are_up_to_date():
    root = SCHEMAS.parents[1]
    assert (root / "config" / "README.md").read_text() == reference_page()
    page = (root / "docs" / "recipes.md").read_text()
    assert page == with_presets(page) and all(f"### `{name}`" in page for name in load_presets())
    assert set(load_presets()) == set(load_schema("recipe")["properties"]["preset"]["enum"])
