"""An image is made again from its own metadata, whether `dream` or a study made it."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dreambirds import load_network
from dreambirds.cli import main
from dreambirds.dream_job import image_files
from dreambirds.dream_job.image_files import read_facts, save_png
from dreambirds.dream_job.networks import LoadedNetwork
from dreambirds.models import MODEL_FILE
from dreambirds.one_image.again import redream
from dreambirds.one_image.study import start_of_class
from tests.helpers.dream_bench import checkpoint, parameters
from tests.helpers.one_image import dream, pixels, write_photographs, write_study, write_weights


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


def again_of(name, *arguments) -> None:
    """Run the command on an image."""
    main(["redream", str(name), *map(str, arguments)])


@pytest.mark.parametrize("target", [("--class", "a"), ("--layer", "layer1", "--channel", "2")])
def test_a_dream_of_the_command_is_identical(study, tmp_path, capsys, target):
    photographs = write_photographs(tmp_path / "photos")
    more = ("--preset", "portrait", "--photographs", photographs) if "a" in target else ("--start", "photos/0.png")
    dream("--checkpoint", study, *target, *more, "-o", "a.png")
    again_of("a.png")
    out = capsys.readouterr().out.splitlines()[-1]
    size = "32x32" if "a" in target else "40x32"  # the proportions of the start photograph
    assert out.startswith(f"Wrote 'a-again.png' ({size} pixels, ") and out.endswith(
        ": all pixels are identical to 'a.png'"
    )
    assert np.array_equal(pixels("a.png"), pixels("a-again.png"))
    first, second = read_facts(tmp_path / "a.png"), read_facts(tmp_path / "a-again.png")
    for facts in (first, second):
        del facts["parameters"]["start_path"]  # relative to the folder then, absolute now
    assert first == second


@pytest.mark.parametrize("view", ["", "-rescaled"])
def test_an_image_of_a_study_is_identical(study, dreamer, tmp_path, view):
    recipe = parameters(preset="lucid", steps=[2, 3], size=32)
    dreamer.dreamt(checkpoint=study / MODEL_FILE, parameters=recipe)  # all classes in one batch
    picture = dreamer.folder / f"out/b/step-0002{view}.png"
    done = redream(picture)
    assert done.identical and done.difference == 0 and not done.versions
    assert done.dream.facts["batch"] == 3


def test_a_study_s_photographs_committee_and_start_are_found(study, dreamer, tmp_path):
    member = checkpoint(tmp_path / "results/tiny/runs/other/epoch-0001", 5)
    recipe = parameters(preset="portrait", steps=[3], start="photograph", match_photographs=2, match_class="next")
    dataset = tmp_path / "results/tiny/dataset"
    more = {"committee": (member,), "references": dataset, "reference_labels": {"a": "b", "b": "c", "c": "a"}}
    starts = {label: start_of_class(dataset, label) for label in "abc"}
    dreamer.dreamt(checkpoint=study / MODEL_FILE, parameters=recipe, photographs=starts, **more)
    assert redream(dreamer.folder / "out/b/step-0003.png").identical


def test_a_moved_checkpoint_is_found_in_the_results_or_given(study, tmp_path):
    dream("--checkpoint", study, "--class", "a", "-o", "a.png")
    moved = tmp_path / "results/renamed/runs/r/epoch-0007"
    moved.parent.mkdir(parents=True)
    shutil.move(study, moved)
    assert redream("a.png").identical
    shutil.move(moved, tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match=r"^Error: --checkpoint: the checkpoint '.*' \(sha256 \w{12}…\) was not found"):
        again_of("a.png")
    again_of("a.png", "--checkpoint", "elsewhere", "-o", "b.png")
    other = checkpoint(tmp_path / "other", 9)
    with pytest.raises(SystemExit, match=r"^Error: --checkpoint: the weights of '.*' are not those that dreamt the"):
        again_of("a.png", "--checkpoint", other)


def test_weights_from_elsewhere_and_start_photographs_are_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path / "w.safetensors")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    photographs = write_photographs(tmp_path / "photos")
    network = ("--model", "test_resnet", "--weights", "w.safetensors", "--names", "names.txt")
    dream(*network, "--class", "a", "--start", "photos/0.png")
    again_of("a.png")
    assert np.array_equal(pixels("a.png"), pixels("a-again.png"))
    (photographs / "0.png").rename(tmp_path / "moved.png")
    with pytest.raises(SystemExit, match=r"^Error: --start: '.*0\.png' does not exist; correct the path$"):
        again_of("a.png")
    with pytest.raises(SystemExit, match=r"^Error: --start: the start photograph '.*1\.png' is not the recorded file"):
        again_of("a.png", "--start", photographs / "1.png")
    again_of("a.png", "--start", "moved.png")
    (tmp_path / "w.safetensors").rename(tmp_path / "v.safetensors")
    with pytest.raises(SystemExit, match=r"^Error: --checkpoint: the weights '.*' do not exist; set the path where"):
        again_of("a.png", "--start", "moved.png")
    again_of("a.png", "--start", "moved.png", "--checkpoint", "v.safetensors")


def test_keys_of_another_version_are_filled_in_or_refused(study, tmp_path):
    dream("--checkpoint", study, "--class", "a")
    facts = read_facts(tmp_path / "a.png")
    del facts["parameters"]["variants"]
    save_png(Image.open("a.png"), tmp_path / "old.png", "a", facts)
    assert redream("old.png").identical
    facts["parameters"]["dream_on"] = 1
    save_png(Image.open("a.png"), tmp_path / "new.png", "a", facts)
    with pytest.raises(SystemExit, match=r"^Error: recipe: unknown key 'dream_on'; "):
        again_of("new.png")


def test_other_photographs_of_the_class_are_refused(study, tmp_path):
    dream(
        "--checkpoint",
        study,
        "--class",
        "a",
        "--preset",
        "portrait",
        "--photographs",
        write_photographs(tmp_path / "p"),
    )
    (tmp_path / "p/0.png").unlink()
    with pytest.raises(SystemExit, match=r"^Error: --photographs: the photographs are not those that the image was"):
        again_of("a.png")


def test_differences_of_pixels_and_versions_are_reported(study, tmp_path, capsys):
    dream("--checkpoint", study, "--class", "a")
    facts = read_facts(tmp_path / "a.png")
    facts["versions"]["torch"] = "1.0"
    image = np.asarray(Image.open("a.png")).copy()
    image[0, 0] += 32
    save_png(Image.fromarray(image), tmp_path / "a.png", "a", facts)
    again_of("a.png")
    out = capsys.readouterr().out.splitlines()
    assert re.search(r"differs from 'a\.png' by \S+ of 255 grey levels on average$", out[-2])
    assert out[-1] == f"Versions that differ: torch 1.0, now {image_files.versions()['torch']}"


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "photograph", "montage", "other json"])
def test_other_files_are_refused(tmp_path, kind):
    path = tmp_path / "x.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("no image")
    elif kind == "photograph":
        Image.new("RGB", (8, 8)).save(path)
    elif kind != "missing":
        save_png(Image.new("RGB", (8, 8)), path, "x", {"study": "a"} if kind == "montage" else json.loads("[1]"))
    with pytest.raises(
        SystemExit, match=r"^Error: '.*x\.png' (is a folder|does not exist|cannot be read|has no metadata)"
    ):
        again_of(path)


def test_a_network_in_memory_is_named_after_its_checkpoint(study):
    network = load_network(checkpoint=study)
    assert isinstance(network, LoadedNetwork) and str(network) == str(study / MODEL_FILE)
    assert str(replace(network, origin={})) == "test_resnet"
