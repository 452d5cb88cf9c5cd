"""`dreambirds init` writes a config that runs, for photographs and for checkpoints."""

import re

import pytest
import yaml
from PIL import Image

from dreambirds.cli import main
from dreambirds.config import runs
from dreambirds.config.load import check
from dreambirds.plan.plan import make_plan
from dreambirds.startup.new_study import sections
from dreambirds.startup.new_study.text import comment, entry, yaml_text

HOSTILE = "it's a #1 'test': ü \"鳥\""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def init(capsys):
    """Return the function that runs the command, and returns the config and the lines on the terminal."""

    def run(*arguments: str) -> tuple[dict, list[str]]:
        main(["init", *arguments, "-o", "-"])
        done = capsys.readouterr()
        config = yaml.safe_load(done.out)
        check(yaml.safe_load(done.out), "config")
        return config, done.err.splitlines()

    return run


def _photographs(root, *classes, each=3, ending="jpg", size=(80, 60)):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for count in range(each):
            Image.new("RGB", size, (number * 40, count * 9, 99)).save(root / name / f"{count}.{ending}")


@pytest.mark.parametrize(
    "value", [HOSTILE, "a\nb: c", "\x85\u2028", "1", "yes", "", "-", {"a: b": [1, 2.5, None, "#"]}, "😀"]
)
def test_values_and_comments_stay_on_their_line(value):
    line = entry(value if isinstance(value, str) else "key", value, str(value))
    assert yaml.safe_load(f"x: 1\n{line}\n") == {"x": 1, value if isinstance(value, str) else "key": value}
    assert len(line.splitlines()) == len(comment(str(value)).splitlines()) == 1
    assert yaml.safe_load(yaml_text([value])) == [value]


def test_photographs_are_described_and_their_config_can_be_planned(folder, init):
    root = folder / HOSTILE
    _photographs(root, "auk", "Blue Jay #2", "crane")
    _photographs(root, "lonely", each=1)
    _photographs(root, "empty", each=0)
    (root / "auk" / "web.heic").touch()
    (root / "crane" / "0.jpg").write_bytes(b"no image")
    for hidden in (root / ".git", root / "auk" / "._1.jpg", root / "__MACOSX" / "auk" / "0.jpg"):
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.touch()
    config, lines = init(HOSTILE)
    dataset = config["dataset"]
    assert dataset["path"] == HOSTILE and dataset["labels"] == ["Blue Jay #2", "auk", "crane"]
    assert dataset["image_size"] == 64 and config["runs"]["finetuned"]["weights"] == "package"
    assert lines[0] == f"Found 8 photographs of 3 classes in '{HOSTILE}' (2 to 3 per class, 80 x 60 pixels)."
    left_out = [line for line in lines if line.startswith("Left out")]
    assert [line.split("'")[1] for line in left_out[:3]] == ["__MACOSX", "empty", "lonely"]
    assert left_out[3] == "Left out: 2 files in class folders, which are not photographs (1 .heic, 1 .jpg)."
    plan = make_plan(config)
    assert [label.name for label in plan.labels] == ["Blue Jay #2", "auk", "crane"] and plan.judges
    assert any("dreams requested" in line for line in lines)


@pytest.mark.parametrize(
    ("folders", "used"),
    [
        (["deep/er/auk", "deep/er/crane", "docs"], "x/deep/er"),
        (["Train/auk", "Train/crane", "Validation/auk", "Validation/crane"], "x"),
        (["train/auk", "train/crane", "val/auk", "val/crane"], "x"),
        (["train/auk", "train/crane", "test/auk", "test/crane"], "x"),
        (["train/auk", "train/crane", "test/unknown"], "x/train"),
    ],
)
def test_the_folder_of_the_classes_is_found_and_named(folder, init, folders, used):
    _photographs(folder / "x", *folders)
    config, lines = init("x")
    assert config["dataset"]["path"] == used
    assert (f"The class folders are in '{used}', so the study uses that." in lines) == (used != "x")
    assert len(make_plan(config).labels) == 2


def test_what_is_commented_out_is_valid_without_the_sign(folder, capsys, monkeypatch):
    _photographs(folder / "x", "auk", "crane")
    monkeypatch.setattr(sections, "find_weights", lambda model: sections.package_of("no model"))
    main(["init", "x", "-o", "-"])
    text, count = re.subn(r"^( *)# (adversarial|judges): ", r"\1\2: ", capsys.readouterr().out, flags=re.MULTILINE)
    config = yaml.safe_load(text)
    check(config, "config")
    assert count == 2 and config["judges"]["judge"]["train"]["model"] == "tf_efficientnet_lite1"
    assert config["runs"]["finetuned"]["adversarial"]["epsilon"] == 0.5
    for module in (sections, runs):
        monkeypatch.setattr(module, "find_weights", lambda model: folder)
    main(["init", "x", "-o", "-"])
    assert "judge" in yaml.safe_load(capsys.readouterr().out)["judges"]


def test_many_classes_are_not_all_dreamt(folder, init):
    _photographs(folder / "x", *(f"class {number}" for number in range(20)), each=2)
    config, _ = init("x")
    assert len(config["dreams"]["labels"]) == 12 and "labels" not in config["dataset"]
    assert len(make_plan(config).dreamt) == 12


def test_a_class_that_is_only_in_val_draws_a_new_split(folder, init):
    _photographs(folder / "x", "train/auk", "train/crane", "val/auk", "val/owl")
    config, _ = init("x")
    assert config["dataset"]["split"] == "random" and len(make_plan(config).labels) == 3


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["notes.txt"], "'x' contains neither photographs nor checkpoints; pass"),
        (["0.jpg", "1.jpg"], "'x' has photographs, but no class folders; put"),
        (["auk/0.jpg", "auk/1.jpg"], "'x' has photographs of only one class, in 'x/auk'; add"),
        (["Songbirds/auk/0.jpg", "Waders/crane/0.jpg"], "'x' has photographs in 2 folders, .*; put the class folders"),
        (
            ["a.pth", *(f"{name}/{n}.jpg" for name in "ab" for n in "01")],
            "'x' contains checkpoints, .* and photographs",
        ),
        (["a.pth"], r"no checkpoint can be used: 'x/a\.pth' .*"),
    ],
)
def test_folders_that_do_not_fit_are_refused_with_one_sentence(folder, files, problem):
    for name in files:
        (folder / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jpg"):
            Image.new("RGB", (20, 20)).save(folder / "x" / name)
        else:
            (folder / "x" / name).write_text("text")
    with pytest.raises(SystemExit, match=f"^Error: {problem}"):
        main(["init", "x"])
    assert not list(folder.glob("*.yaml"))


def test_paths_that_do_not_fit_are_refused(folder):
    for name in ("birds.zip", "a$HOME", "a{b}"):
        (folder / name).touch()
    for path, problem in {
        "nothing": "does not exist; pass",
        "birds.zip": "is an archive; unpack it",
        "a$HOME": "contains '\\$'",
        "a{b}": "contains '{'",
    }.items():
        with pytest.raises(SystemExit, match=f"^Error: .*{problem}"):
            main(["init", path])


def test_the_config_is_written_once_and_into_the_folder_of_configs(folder, capsys):
    _photographs(folder / "my birds", "auk", "crane")
    main(["init", "my birds"])
    assert "Next: snakemake --cores all --configfile my_birds.yaml" in capsys.readouterr().err
    (folder / "config").mkdir()
    main(["init", "my birds"])
    text = (folder / "config/my_birds.yaml").read_text()
    assert yaml.safe_load(text)["study"] == "my_birds" and text.startswith("# Written by `dreambirds init 'my birds'`.")
    (folder / "results/my_birds").mkdir(parents=True)
    main(["init", "my birds"])
    other = yaml.safe_load((folder / "config/my_birds_2.yaml").read_text())
    assert other["study"] == "my_birds_2", "the results of another study are not replaced"
    (folder / "results/my_birds").rmdir()
    with pytest.raises(SystemExit, match=r"^Error: 'config/my_birds\.yaml' exists already and is not overwritten; set"):
        main(["init", "my birds"])
    assert (folder / "config/my_birds.yaml").read_text() == text
