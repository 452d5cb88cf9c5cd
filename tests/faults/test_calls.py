"""Ways to call Snakemake: mistakes in them are refused in one line, and its other commands work on a study."""

import os
import re
import sys

import pytest

from dreambirds.plan import targets
from dreambirds.startup.command_line import check_command_line, read_entries, remove_images_with
from tests.helpers.studies import ROOT

REFUSED = [
    (
        ["dataset.image_size=48"],
        "'dataset.image_size=48' has a path of keys, but Snakemake takes one key; write 'dataset={image_size: 48}'",
    ),
    (["runs.a.epochs=[0,1]"], "write 'runs={a: {epochs: [0,1]}}'"),
    (["gpu=0", "study"], "'study' is not a key and a value; write key=value, in quotes if it contains spaces"),
    (["dataset={image_size:", "48}"], "'48}' is not a key and a value"),
    (["1a=3"], "'1a' is not the name of a key; write key=value"),
    (["=3"], "'' is not the name of a key"),
    ([".a=3"], "'.a' is not the name of a key"),
]


@pytest.mark.parametrize(("entries", "reason"), REFUSED)
def test_a_wrong_entry_on_the_command_line_is_refused_with_the_form_that_works(entries, reason, counted):
    with pytest.raises(SystemExit) as end:
        check_command_line(["--cores", "1", "--config", *entries])
    assert re.fullmatch(r"Error: --config: [^\n]+", end.value.code)
    assert reason in end.value.code
    counted("calls of Snakemake refused")


@pytest.mark.parametrize("option", ["--config", "--configfile"])
def test_an_option_that_snakemake_would_replace_is_refused(option, counted):
    with pytest.raises(SystemExit, match=f"^Error: {option}: is given twice, and Snakemake uses only the last; "):
        check_command_line([option, "gpu=0", "-n", option, "study=a"])
    counted("calls of Snakemake refused")


FILES = {
    "missing.yaml": (None, "the config '{}' does not exist; "),
    "folder": (..., "the config '{}' is a folder; pass the path of a YAML file"),
    "pipe": (os.mkfifo, "the config '{}' is a pipe, a socket or a device, not a file; pass the path of a file"),
    "latin.yaml": (b"study: caf\xe9\n", "the config '{}' is not UTF-8 text"),
    "tab.yaml": (b"study:\n\t- a\n", "indent with spaces, not with tabs"),
    "empty.yaml": (b"", "the config '{}' is empty; "),
    "list.yaml": (b"- a\n", "the config '{}' must be a mapping of keys to values"),
    "cut.json": (b'{"study": "a",', "the config '{}' is not valid YAML"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("profile", [False, True], ids=["option", "profile"])
def test_a_config_file_that_snakemake_cannot_read_is_refused(name, profile, tmp_path, counted):
    (tmp_path / "other.yaml").touch()
    content, reason = FILES[name]
    path = tmp_path / name
    if content is ...:
        path.mkdir()
    elif content is os.mkfifo:
        os.mkfifo(path)
    elif content is not None:
        path.write_bytes(content)
    arguments = ["--configfile", str(path)]
    if profile:
        (tmp_path / "own").mkdir()
        (tmp_path / "own/config.yaml").write_text(f"configfile: {path}\n", encoding="utf-8")
        arguments = ["--profile", str(tmp_path / "own")]
    with pytest.raises(SystemExit) as end:
        check_command_line(arguments)
    assert re.fullmatch(r"Error: [^\n]+", end.value.code)
    assert reason.format(path) in end.value.code
    counted("calls of Snakemake refused")


def test_a_target_after_the_config_file_is_refused():
    config = str(ROOT / "config/config.yaml")
    with pytest.raises(SystemExit, match=r"Error: --configfile: 'findings' does not exist, .*; write targets before"):
        check_command_line(["--configfile", config, "findings"])
    check_command_line(["findings", "--configfile", config, "--config", "gpu=0", "dataset={image_size: 48}"])


def test_values_of_the_command_line_are_read_as_yaml():
    config = {"dataset": {"image_size": "48", "seed": "7", "labels": ["1", "a b"]}, "gpu": 0, "store": "null"}
    entries = {"dataset": {"image_size": "48", "labels": ["1", "a b"]}, "gpu": 0, "store": "null"}
    assert read_entries(config, entries) == {
        "dataset": {"image_size": 48, "seed": "7", "labels": [1, "a b"]},
        "gpu": 0,
        "store": None,
    }
    for text, value in {"true": True, "0.5": 0.5, "1e-3": "1e-3", "{": "{", "2026-01-01": "2026-01-01"}.items():
        assert read_entries({"runs": {"a": text}}, {"runs": {"a": text}}) == {"runs": {"a": value}}


NAMES = [
    (targets.montage_dreams, ("class-by-seed", "a", "study/", "step-0002", "raw"), "montage shows one epoch; .*-0004'"),
    (targets.montage_dreams, ("class-by-epoch", "a", "study/", "step-2", "raw"), "montage shows one step; .*-0200'"),
    (targets.montage_dreams, ("recipe-by-class", "a", "", "epoch-last", "raw"), "montage shows one epoch; .*-0004'"),
    (targets.film_dreams, ("epochs", "a", "study", "epoch-0001", "raw"), "film over epochs shows one step; .*-0200'"),
]


@pytest.mark.parametrize(("function", "name", "reason"), NAMES)
def test_the_name_of_a_figure_with_a_wrong_value_is_refused(function, name, reason, counted):
    with pytest.raises(ValueError, match=f"'{name[3]}': a .*{reason}"):
        function(*name)
    counted("calls of Snakemake refused")


@pytest.mark.slow
def test_snakemakes_commands_work_on_a_finished_study(finished_study, tmp_path, counted):
    study = finished_study.copy(tmp_path / "study")
    root = f"results/{study.config['study']}"
    for target, reason in {
        f"{root}/montages/scratch/study/class-by-epoch_step-0009_raw.png": "has no dreams with the step 9",
        "findings": "asks no question",
    }.items():
        refused = study.snakemake(target)
        assert refused.returncode == 1
        assert re.search(rf"^Error: .*{reason}.*\n\Z", refused.stdout, re.MULTILINE)
        assert not re.search('Traceback|File "', refused.stdout)
        counted("calls of Snakemake refused")
    wrong = study.snakemake("--config", "dataset.image_size=48")
    assert wrong.stdout.endswith("write 'dataset={image_size: 48}'\n")
    assert "Traceback" not in wrong.stdout
    assert "digraph" in study.run("--dag")
    assert "Nothing to be done" in study.run("--batch", "gallery=1/2")
    assert study.jobs("--config", "dataset={image_size: 32}") == {}
    assert study.jobs("--until", "dream", "--forcerun", "dream") == {"dream": 2}

    (study.results / "dreams/scratch/note.txt").touch()
    study.run("--delete-all-output", "--quiet")
    left = [path.relative_to(study.results) for path in study.results.rglob("*") if path.is_file()]
    assert list(map(str, left)) == ["dreams/scratch/note.txt"]


def test_images_stay_without_the_option(tmp_path, monkeypatch):
    monkeypatch.setattr("atexit.register", lambda *_: pytest.fail("something would be removed"))
    remove_images_with([tmp_path])
    monkeypatch.setattr(sys, "argv", ["snakemake", "--delete-all-output", "-n"])
    remove_images_with([tmp_path])
