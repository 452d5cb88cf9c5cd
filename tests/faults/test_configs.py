"""Faulty configs: each is refused in one line with the key's path, before any job, and nothing is written."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dreambirds.config.load import load_schema
from dreambirds.errors import MAX_LENGTH, UserError, one_line
from dreambirds.plan.plan import make_plan
from dreambirds.startup.preflight import missing_download
from tests.helpers.refusals import REMOVED, changed_config, refusal
from tests.helpers.studies import ROOT
from tests.helpers.surroundings import surroundings

LONG = "x" * 300


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """Change to an empty folder, which also has the store; nothing may be written to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    return tmp_path


RUN, RECIPE = "runs/scratch", "dreams/recipes/study"
GRID = {key: [number / 1000 for number in range(1, 1001)] for key in ("step_size", "noise", "flip")}
MANY = {"dreams/recipes": {name: {"seed": list(range(6000)), "steps": [step]} for name, step in (("a", 1), ("b", 2))}}
QUESTION = {"text": "?", "contrasts": [{"vary": "view"}]}
FOLDER = {"dataset/source": "folder", "dataset/labels": None}
TWINS = {"dreams/recipes": {"a": {"steps": [3]}, "b": {"steps": [3]}}}
BAD = [
    # wrong types
    ("study: must be a string, not 3", {"study": 3}),
    ("gpu: must be an integer, not true", {"gpu": True}),
    ("runs: must be a mapping, not ['scratch']", {"runs": ["scratch"]}),
    ("runs.scratch: must be a mapping, not null", {"runs/scratch": None}),
    ("runs.scratch.freeze_batch_norm: must be true or false, not 'yes'", {f"{RUN}/freeze_batch_norm": "yes"}),
    (
        "runs.scratch.epochs.1: must be a number, not '2'; write 2, because YAML reads '2' as text",
        {f"{RUN}/epochs": [0, "2"]},
    ),
    ("runs.scratch.batch_size: must be an integer, not 8.5", {f"{RUN}/batch_size": 8.5}),
    ("runs.scratch.augmentation.flip: must be a number, not [0.5]", {f"{RUN}/augmentation/flip": [0.5]}),
    ("dataset.labels: must be a list or null, not 'blue_jay'", {"dataset/labels": "blue_jay"}),
    ("dreams.recipes.study: must be a mapping, not 'original'", {RECIPE: "original"}),
    ("runs: the name 1 is not a string; put it in quotes", {"runs": {1: {}}}),
    ("dreams.recipes: the name true is not a string; put it in quotes", {"dreams/recipes": {True: {}}}),
    ("runs.scratch.model_options.x: must be a string, a number, true or false", {f"{RUN}/model_options/x": {1, 2}}),
    # unknown keys at each level
    ("config: unknown key 'rums'; did you mean 'runs'?", {"rums": {}}),
    ("dataset: unknown key 'lables'; did you mean 'labels'?", {"dataset/lables": []}),
    ("runs.scratch: unknown key 'epoch'; did you mean 'epochs'?", {f"{RUN}/epoch": 1}),
    ("runs.scratch.adversarial: unknown key 'size'", {f"{RUN}/adversarial/size": 1}),
    ("dreams: unknown key 'recipe'; did you mean 'recipes'?", {"dreams/recipe": {}}),
    ("dreams.recipes.study: unknown key 'stepsize'; did you mean 'step_size'?", {f"{RECIPE}/stepsize": 1}),
    ("judges.j: unknown key 'modell'; did you mean 'model'?", {"judges/j/modell": ""}),
    ("questions.q: unknown key 'question'", {"questions": {"q": {**QUESTION, "question": 1}}}),
    ("questions: the name 'a/b' is not allowed; use 1 to 64", {"questions": {"a/b": {}}}),
    ("questions.q.epochs.0: must be an epoch from 0 to 9999", {"questions": {"q": {**QUESTION, "epochs": ["first"]}}}),
    ("config: the key 'experiment' was renamed to 'questions'; rename it", {"experiment": {}}),
    ("montage: unknown key 'cell_sizes'; did you mean 'cell_size'?", {"montage/cell_sizes": 3}),
    ("threads: unknown key 'trian'; did you mean 'train'?", {"threads/trian": 3}),
    # out of range, not finite, text for a number
    ("runs.scratch.label_smoothing: must be at most 0.9, not 1", {f"{RUN}/label_smoothing": 1}),
    ("dataset.validation_fraction: must be at most 0.9, not 1.5", {"dataset/validation_fraction": 1.5}),
    ("dataset.image_size: must be a side in pixels from 16 to 2048", {"dataset/image_size": 8}),
    ("dataset.image_size: must be a side in pixels from 16 to 2048", {"dataset/image_size": [32, 32, 32]}),
    ("runs.scratch.learning_rate: must be a number, not .inf; write a finite", {f"{RUN}/learning_rate": math.inf}),
    ("runs.scratch.gradient_clip: must be at most 1000000", {f"{RUN}/gradient_clip": 10**400}),
    ("dreams.recipes.study.step_size: must be a number", {f"{RECIPE}/step_size": math.nan}),
    (
        "{from: a, to: b, over: steps}, not '1e-3'; write 0.001, because YAML reads '1e-3' as text",
        {f"{RECIPE}/step_size": "1e-3"},
    ),
    ("study.blur_sigma: must be a number from 0 to 100, {random: [low, high]}", {f"{RECIPE}/blur_sigma": "wide"}),
    ("not '5e-1'; write 0.5, because YAML reads '5e-1' as text", {f"{RECIPE}/blur_sigma": [1, "5e-1"]}),
    ("not '1e1'; write 10, because YAML reads '1e1' as text", {f"{RECIPE}/scale": "1e1"}),
    ("write 0.1, because YAML reads '1e-1' as text", {f"{RECIPE}/scale_width": {"random": ["1e-1", 1]}}),
    (
        "write 10, because YAML reads '1e1' as text",
        {f"{RECIPE}/rotate": {"from": 0, "to": "1e1", "over": 9, "shape": "cosine"}},
    ),
    ("not '1e-1'; write 0.1, because YAML reads '1e-1' as text", {f"{RECIPE}/crop_size": "1e-1"}),
    ("write 0.001, because YAML reads '1e-3' as text", {f"{RECIPE}/step_size": {"from": "1e-3", "to": 0.1, "over": 9}}),
    ("height, width], or null, not '64'; write 64, because YAML reads '64' as text", {"dataset/image_size": "64"}),
    ("or null, not ['64', 64]; write 64, because YAML reads '64' as text", {"dataset/image_size": ["64", 64]}),
    (
        "dreams.recipes.study.l2_weight: must be a number, not '1e-3'; write 0.001, because YAML reads '1e-3' as text",
        {f"{RECIPE}/l2_weight": "1e-3"},
    ),
    ("runs.scratch.weight_decay: must be a number, not '1e-3'", {f"{RUN}/weight_decay": "1e-3"}),
    ("dreams.recipes.study.seed: must be at least 0, not -1", {f"{RECIPE}/seed": -1}),
    # empty and duplicate
    ("runs: must not be empty", {"runs": {}}),
    ("config: the key 'runs' is missing", {"runs": REMOVED}),
    ("config: the key 'dreams' is missing", {"dreams": REMOVED}),
    ("dreams.recipes: must not be empty", {"dreams/recipes": {}}),
    ("dataset.labels: must contain at least 1 value, not []", {"dataset/labels": []}),
    ("dreams.recipes.study.blur_sigma: must contain at least 1 value, not []", {f"{RECIPE}/blur_sigma": []}),
    ("dataset.labels: has duplicate values", {"dataset/labels": ["blue_jay", "blue_jay"]}),
    ("dreams.recipes.study.blur_sigma: has duplicate values", {f"{RECIPE}/blur_sigma": [1, 1]}),
    ("dreams.recipes.b: 'b' is the same recipe as 'a'; remove one of them", TWINS),
    ("judges.scratch: a run is also named 'scratch'; choose another name for the judge", {"judges/scratch/train": {}}),
    # names
    ("study: the name 'a/b' is not allowed; use 1 to 64 ASCII letters", {"study": "a/b"}),
    ("study: the name '../../owned' is not allowed; use 1 to 64", {"study": "../../owned"}),
    ("study: the name 'my study' is not allowed; use 1 to 64", {"study": "my study"}),
    ("study: 'logs' is reserved for the folder of logs; choose another name", {"study": "logs"}),
    ("runs: the name '.b' is not allowed; use 1 to 120 ASCII letters", {"runs": {".b": {}}}),
    ("runs: the name '..' is not allowed; use 1 to 120", {"runs": {"..": {}}}),
    ("runs: the name '' is not allowed; use 1 to 120", {"runs": {"": {}}}),
    ("runs: the name 'größe' is not allowed; use 1 to 120", {"runs": {"größe": {}}}),
    (f"dreams.recipes: the name '{LONG}' is not allowed; use 1 to 64 ASCII letters", {"dreams/recipes": {LONG: {}}}),
    ("dreams.recipes: the name '$(touch x)' is not allowed; use 1 to 64", {"dreams/recipes": {"$(touch x)": {}}}),
    ("judges: the name 'a\\nb' is not allowed; use 1 to 120", {"judges": {"a\nb": {}}}),
    # grids
    ("dreams.recipes.study: expands to 1000000000 recipes, more than 10000; shorten the lists", {RECIPE: GRID}),
    ("dreams.recipes: expands to 12000 recipes, more than 10000", MANY),
    # labels and layers
    ("dataset.labels: unknown label 'blue_joy'; did you mean 'blue_jay'?", {"dataset/labels": ["blue_joy", "osprey"]}),
    ("dataset.labels: unknown label '\\x1b[31mred'; available:", {"dataset/labels": ["\x1b[31mred"]}),
    ("dreams.labels: unknown label 'Blue Jey'; did you mean 'blue_jay'?", {"dreams/labels": ["Blue Jey"]}),
    ("dataset.labels: must name at least 2 classes", {"dataset/labels": ["blue_jay"]}),
    ("study.objective: for the run 'scratch', the model has no layer", {f"{RECIPE}/objective": "layer_l2:layer5"}),
    ("study.objective: the objective 'channel:layer1' must have the form", {f"{RECIPE}/objective": "channel:layer1"}),
    ("the layer 'layer1' has no channel 9999; choose 0 to", {f"{RECIPE}/objective": "channel:layer1:9999"}),
    # epochs and steps
    ("runs.scratch.epochs: must be ascending, not [3, 1]", {f"{RUN}/epochs": [3, 1]}),
    ("runs.scratch.epochs: has duplicate values: [1, 1]; remove them", {f"{RUN}/epochs": [1, 1]}),
    ("runs.scratch.epochs.0: must be at least 0, not -2", {f"{RUN}/epochs": [-2]}),
    ("dreams.recipes.study.steps.0: must be at least 1, not 0", {f"{RECIPE}/steps": [0, 4]}),
    ("dreams.recipes.study.steps: must be ascending, not [4, 2]", {f"{RECIPE}/steps": [4, 2]}),
    ("dreams.recipes.study.octaves: the first of 4 would have a side of 12 pixels", {f"{RECIPE}/octaves": 4}),
    # paths
    ("dataset.path: 'nowhere' does not exist; it must be a folder with", FOLDER | {"dataset/path": "nowhere"}),
    ("dataset.path: '/etc/hostname' is a file that is not a zip, or", FOLDER | {"dataset/path": "/etc/hostname"}),
    ("dataset.path:", FOLDER | {"dataset/path": LONG}),
    ("dataset.path: '~nobody_here/x' does not exist", FOLDER | {"dataset/path": "~nobody_here/x"}),
    ("runs.scratch.weights: 'nowhere.pth' does not exist", {f"{RUN}/weights": "nowhere.pth"}),
    ("runs.scratch.weights: the folder '/etc' does not contain a file of weights", {f"{RUN}/weights": "/etc"}),
    ("runs.scratch.weights: 'xxx", {f"{RUN}/weights": LONG}),
    ("judges.j.checkpoint: 'nowhere' does not exist; correct the path", {"judges/j/checkpoint": "nowhere"}),
    ("dataset.path: 'a\\x00b' contains a NUL character", {**FOLDER, "dataset/path": "a\0b"}),
    ("study.start_path: 'a\\x00b' does not exist", {f"{RECIPE}/start": "photograph", f"{RECIPE}/start_path": "a\0b"}),
    # models
    ("runs.scratch.model: timm has no model 'resnet81'; did you mean 'resnet18'?", {f"{RUN}/model": "resnet81"}),
    ("judges.j.train.model: '' should be non-empty", {"judges/j/train/model": ""}),
    ("runs.scratch: the model 'inception_v4' does not accept images of 32x32", {f"{RUN}/model": "inception_v4"}),
    ("'test_resnet' cannot be built with the options {'dept': 3} (", {f"{RUN}/model_options": {"dept": 3}}),
    (
        "scratch.model_options.in_chans: must be 3, or 1 for a model of grey images, not 2",
        {f"{RUN}/model_options/in_chans": 2},
    ),
    ("scratch.model_options.num_classes: is not allowed here", {f"{RUN}/model_options": {"num_classes": 3}}),
    ("runs.scratch.model_options: with {'drop_rate': 2}, the model", {f"{RUN}/model_options/drop_rate": 2}),
    ("scratch.model_options: the model 'test_resnet' cannot be built with", {f"{RUN}/model_options/output_stride": 3}),
    (
        "; change or remove 'model_options', or change dataset.image_size",
        {f"{RUN}/model": "test_vit", f"{RUN}/model_options": {"img_size": 5}},
    ),
    ("runs.scratch.optimizer: timm has no optimizer 'adamm'; did you mean", {f"{RUN}/optimizer": "adamm"}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)), ids=lambda number: BAD[number][0][:60])
def test_a_faulty_config_is_refused_before_anything_is_written(empty, number, counted):
    expected, changes = BAD[number]
    message = refusal(changed_config(changes))
    assert expected in message and one_line(message) == message and len(message) <= MAX_LENGTH + 3, message
    assert list(empty.rglob("*")) == []
    counted("configs refused")


def key_paths() -> list[str]:
    """Return the paths of all keys in the schemas, such as ``runs/scratch/epochs``."""
    config, recipe = load_schema("config"), load_schema("recipe")
    parts = [
        (config["properties"], ""),
        (config["$defs"]["run"]["properties"], f"{RUN}/"),
        (config["$defs"]["judge"]["properties"], "judges/j/"),
        (recipe["properties"], f"{RECIPE}/"),
    ]
    found = []
    while parts:
        properties, before = parts.pop(0)
        for name, schema in properties.items():
            found.append(before + name)
            parts.append((schema.get("properties", {}), f"{before}{name}/"))
    return found


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.binary(max_size=9), st.dates()
)  # fmt: skip
KEYS = st.one_of(st.text(max_size=70), st.integers(), st.sampled_from(["random", "from", "to", "over"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=6
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(key_paths()), value=VALUES)
def test_any_value_at_a_key_is_planned_or_refused(empty, counted, path, value):
    config = changed_config({path: copy.deepcopy(value)})
    try:
        missing_download(config)
        make_plan(config)
    except UserError as error:
        message, keys = str(error), path.replace("/", ".").split(".")
        assert one_line(message) == message and len(message) <= MAX_LENGTH + 3
        assert message.startswith(keys[0]), "the message begins with the key's path"
        counted("configs refused, generated from the schema")
    assert list(empty.rglob("*")) == []


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
FILES = {
    "is empty; add at least the keys 'runs' and 'dreams'": b"",
    "must be a mapping of keys to values, such as 'study: birds'": b"- runs\n- dreams\n",
    "line 2, column 1: found character '\\t' that cannot start any token; indent with spaces": b"runs:\n\ta: 1\n",
    "expands to more than 100000 values; use fewer aliases ('*name')": BOMB.encode(),
    "line 1: an anchor ('&') contains its own alias ('*'); remove the alias": b"runs: &r {a: *r}\n",
    "is nested too deeply; use fewer levels": b"runs: " + b"[" * 3000 + b"]" * 3000,
    "the key 'runs.a.epochs' is given twice, on lines 3 and 4": b"runs:\n  a:\n    epochs: [1]\n    epochs: [2]\n",
    "is not UTF-8 text (invalid continuation byte at byte 10); save it as UTF-8": b"study: caf\xe9\n",
    "is not valid YAML: unacceptable character #x0000": b"study: a\x00b\n",
    "could not determine a constructor for the tag": b"study: !!python/object/apply:os.system ['touch owned']\n",
    "line 1: '__use_yte__' would execute code from the file; remove it": b"__use_yte__: true\nstudy: a\n",
    "line 1: a key must be a string": b"[a, b]: 1\n",
}


@pytest.mark.parametrize("expected", FILES)
def test_a_faulty_config_file_is_refused(tmp_path, expected, counted):
    (tmp_path / "my.yaml").write_bytes(FILES[expected])
    message = checked("my.yaml", tmp_path)
    assert message.startswith("Error: the config 'my.yaml'") and expected in message and message.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["my.yaml"]
    counted("configs refused")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("defualt.yaml", "does not exist; did you mean 'default.yaml'?"),
        ("none/my.yaml", "does not exist; the folder 'none' contains no YAML file"),
        ("folder", "is a folder; pass the path of a YAML file"),
        ("a" * 300, f"cannot read the config '{'a' * 300}' (File name too long); pass another path"),
    ],
)
def test_a_config_path_that_is_not_a_file_is_refused(tmp_path, name, expected, counted):
    (tmp_path / "default.yaml").touch()
    (tmp_path / "folder").mkdir()
    message = checked(name, tmp_path)
    assert expected in message and message.count("\n") == 1
    counted("configs refused")


def checked(name: str, folder: Path) -> str:
    """Return the error of `make` for a config that it refuses."""
    command = ["make", "--silent", "--file", ROOT / "Makefile", "--old-file", ".venv/installed", "checked"]
    command += [f"CONFIG={name}", f"BIN={Path(sys.executable).parent}"]
    result = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    errors = [line for line in result.stderr.splitlines(keepends=True) if not line.startswith("make")]
    assert result.returncode != 0 and result.stdout == ""
    return "".join(errors)


def test_make_checks_the_config_before_it_runs_the_study():
    command = ["make", "--dry-run", "--old-file", ".venv/installed"]
    output = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert output.index("dreambirds check") < output.index("snakemake --cores all")


@pytest.mark.parametrize("changes", [{f"{RUN}/epoch": 1}, {"dataset/path": "nowhere"}])
def test_snakemake_prints_only_the_error(fresh, changes, counted):
    fresh.config = changed_config(changes)
    result = fresh.snakemake()
    lines = [line for line in result.stdout.splitlines() if "profile" not in line]
    assert result.returncode != 0 and len(lines) == 1 and lines[0].startswith("Error: "), result.stdout
    assert {path.name for path in fresh.folder.iterdir()} == {"study.yaml", ".snakemake"}
    counted("configs refused")


def test_snakemake_refuses_a_config_with_duplicate_keys(fresh, counted):
    command, path = fresh.command(), fresh.folder / "study.yaml"
    path.write_text(path.read_text() + "gpu: 1\n")
    result = subprocess.run(command, cwd=ROOT, env=surroundings(), text=True, capture_output=True)
    assert result.returncode != 0 and "the key 'gpu' is given twice, on lines" in result.stderr
    assert {path.name for path in fresh.folder.iterdir()} == {"study.yaml"}
    counted("configs refused")
