"""Dreams that start from other dreams of a study: the plan, the job, and the image made again."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dreambirds.cli import main
from dreambirds.config.one_recipe import image_parameters
from dreambirds.dream_job.archive import Picture, open_image
from dreambirds.dream_job.context import DreamContext
from dreambirds.dream_job.image_files import encode_png, read_facts
from dreambirds.dream_job.start_dreams import StartDream, start_dreams
from dreambirds.errors import UserError
from dreambirds.models import MODEL_FILE
from dreambirds.one_image.again import redream
from dreambirds.plan import inputs
from dreambirds.plan.plan import make_plan
from dreambirds.plan.start_dreams import start_archive, start_origin
from tests.helpers.dream_bench import CPU, parameters
from tests.helpers.one_image import write_study
from tests.helpers.plans import config
from tests.helpers.small import close

BIRD = {"steps": [2, 5]}
EPOCHS = [0, 1, 4]


def plan_of(start: dict, bird: dict = BIRD, **more):
    """Return a plan of two recipes, of which `refined` starts from dreams of `bird`."""
    refined = {"steps": [3], "start": "dream", "start_dream": {"recipe": "bird", **start}, **more.pop("refined", {})}
    return make_plan(config(dreams__recipes={"bird": bird, "refined": refined, **more.pop("recipes", {})}, **more))


@pytest.mark.parametrize(
    ("start", "epoch", "expected"),
    [
        ({}, 1, {"epoch": 1, "step": 5, "label": None}),
        ({"epoch": "first"}, 4, {"epoch": 0, "step": 5, "label": None}),
        ({"epoch": "last", "step": 2}, 0, {"epoch": 4, "step": 2, "label": None}),
        ({"epoch": 1, "label": "blue_jay"}, 4, {"epoch": 1, "step": 5, "label": "blue_jay"}),
        ({"label": "Northern Cardinal"}, 4, {"epoch": 4, "step": 5, "label": "northern_cardinal"}),
    ],
)
def test_keys_that_are_not_given_are_those_of_the_dream_itself(start, epoch, expected):
    plan = plan_of(start)
    assert start_origin(plan, "scratch", epoch, "refined") == {"run": "scratch", "recipe": "bird", **expected}
    assert start_origin(plan, "scratch", epoch, "bird") is None
    archive = f"results/default/dreams/scratch/epoch-{expected['epoch']:04d}/bird/dreams.zip"
    assert start_archive(plan, "scratch", f"{epoch:04d}", "refined", "") == [archive]
    assert start_archive(plan, "scratch", f"{epoch:04d}", "bird", "") == []
    assert inputs.start_images(plan, "refined") == []


def test_another_run_and_a_point_of_a_grid_may_be_named():
    runs = {name: {"model": "test_resnet", "epochs": [0, 1]} for name in ("a", "b")}
    recipes = {"refined": {"start": "dream", "start_dream": {"recipe": "bird-seed-3", "run": "b"}}}
    plan = make_plan(config(runs=runs, dreams__recipes={"bird": {"seed": [3, 4]}, **recipes}))
    origin = start_origin(plan, "a", 1, "refined")
    assert (origin["run"], origin["recipe"]) == ("b", "bird-seed-3")


def test_the_archive_of_the_part_with_the_label_is_the_input():
    labels = ["blue_jay", "northern_cardinal", "yellow_warbler"]
    more = {"dataset__labels": labels, "dreams__labels_per_job": 2}
    parts = plan_of({}, **more).parts
    assert list(parts) == ["-000", "-001"]
    (last,) = parts["-001"]
    for start, found in (({}, {"-000": "-000", "-001": "-001"}), ({"label": last}, {"-000": "-001", "-001": "-001"})):
        for part, source in found.items():
            (archive,) = start_archive(plan_of(start, **more), "scratch", "0004", "refined", part)
            assert archive.endswith(f"epoch-0004/bird/dreams{source}.zip")


WHERE = "dreams.recipes.refined."
REFUSED = {
    "start_dream.recipe: the study has no recipe 'birds'; did you mean 'bird'?": {"recipe": "birds"},
    "start_dream.recipe: a recipe starts from itself (refined → refined); name another": {"recipe": "refined"},
    "start_dream.run: the study has no run 'b'; available: scratch": {"run": "b"},
    "start_dream.epoch: the run 'scratch' does not dream the recipe 'bird' at epoch 3; available": {"epoch": 3},
    "start_dream.epoch: must be an epoch from 0 to 9999, 'first' or 'last', not 'best'": {"epoch": "best"},
    "start_dream.step: the recipe 'bird' does not keep step 4; available: 2, 5": {"step": 4},
    "start_dream.label: unknown label 'blue_joy'; did you mean 'blue_jay'?": {"label": "blue_joy"},
    "start_dream: unknown key 'class'": {"class": "blue_jay"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_dream_that_the_study_does_not_have_is_refused(message):
    with pytest.raises(UserError) as error:
        plan_of(REFUSED[message])
    assert str(error.value).startswith(WHERE + message), error.value


def test_other_combinations_are_refused():
    with pytest.raises(UserError, match=r"does not dream the recipe 'bird' at epoch 0; available: 4, first, last"):
        plan_of({}, {**BIRD, "epochs": ["last"]})
    assert plan_of({"epoch": "last"}, {**BIRD, "epochs": ["last"]})
    with pytest.raises(
        UserError, match=r"refined.start_dream.recipe: 'bird' is a grid of 2 recipes; name one of them: "
    ):
        plan_of({}, {**BIRD, "seed": [1, 2]})
    with pytest.raises(UserError, match=r"refined.start_dream: is only used with 'start: dream', not 'start: gray'"):
        plan_of({}, refined={"start": "gray"})
    with pytest.raises(
        UserError, match=r"refined.start_dream: is required by 'start: dream'; set it to {recipe: NAME}"
    ):
        plan_of({}, refined={"start_dream": None})
    with pytest.raises(UserError, match=r"start_dream: the key 'recipe' is missing"):
        make_plan(config(dreams__recipes__study={"start": "dream", "start_dream": {"label": "blue_jay"}}))
    cycle = {**BIRD, "start": "dream", "start_dream": {"recipe": "refined"}}
    with pytest.raises(
        UserError, match=r"recipes start from each other \(bird → refined → bird\); name another recipe"
    ):
        plan_of({}, cycle)


def test_a_study_without_photographs_may_start_from_dreams(tmp_path):
    names, weights = tmp_path / "names.txt", tmp_path / "net.pth"
    torch.save({"classifier.weight": torch.zeros(2, 3)}, weights)
    names.write_text("a\nb\n")
    run = {"model": "test_resnet", "weights": str(weights), "labels": str(names)}
    plan = plan_of({"label": "b"}, runs={"scratch": run}, dataset={"source": "none", "image_size": 32})
    assert start_origin(plan, "scratch", 0, "refined")["label"] == "b"


@pytest.mark.parametrize("settings", [{"start": "dream"}, {"start": "dream", "start_dream": {"recipe": "bird"}}])
def test_one_image_cannot_start_from_a_dream_of_a_study(settings):
    with pytest.raises(UserError, match=r"recipe.start: 'dream' is only used in a study; use `--start IMAGE.png`"):
        image_parameters("lucid", settings)
    with pytest.raises(UserError, match=r"recipe.start: 'dream' is only used in a study"):
        image_parameters("lucid", {}, start="dream")


REFINED = {"steps": [2], "size": 32, "start": "dream", "start_dream": {"recipe": "r"}}
ORIGIN = {"run": "run", "epoch": 1, "recipe": "r", "label": None, "step": 3}


@pytest.fixture
def chained(dreamer):
    """Return a bench with dreams in ``out``, and the changes of a job that starts from those."""

    def changes(archive="out", origin=ORIGIN, **recipe) -> dict:
        starts = start_dreams([str(dreamer.archive(archive))], origin, "abc")
        return {"recipe": "refined", "parameters": parameters(**{**REFINED, **recipe}), "start_dreams": starts}

    dreamer.dreamt(parameters=parameters(preset="lucid", steps=[1, 3], size=32))
    return dreamer, changes


def test_a_dream_starts_from_the_raw_image_of_the_other_one(chained):
    dreamer, changes = chained
    for origin in (ORIGIN, {**ORIGIN, "label": "b"}):
        context = DreamContext(replace(dreamer.job, **changes(origin=origin)), CPU)
        starts = context.starts(["a", "c"], context.rngs(["a", "c"]))
        for start, label in zip(starts, "ac", strict=True):
            picture = Picture(dreamer.archive(), f"{origin['label'] or label}/step-0003.png")
            assert np.array_equal((start * 255).round().permute(1, 2, 0).numpy(), np.asarray(open_image(picture)))
    assert dreamer.dreamt("refined", **changes()) == 3
    facts = read_facts(dreamer.folder / "refined/b/step-0002.png")
    assert facts["start_dream"] == {**ORIGIN, "label": "b"} and "start" not in facts
    assert facts["start_sha256"] == changes()["start_dreams"]["b"].sha256
    assert start_dreams([], None, "abc") == {}


def test_other_sizes_are_resized_and_of_a_sheet_the_first_image_is_used(tmp_path):
    sheet = Image.new("RGB", (40, 20), (255, 0, 0))
    sheet.paste((0, 0, 255), (20, 0, 40, 20))
    path = tmp_path / "sheet.png"
    path.write_bytes(encode_png(sheet, "", {"parameters": {"variants": 2}}))
    start = StartDream(path, ORIGIN)
    pixels = start.pixels((10, 8))
    assert pixels.shape == (3, 10, 8) and close(pixels[0], 1, 1e-6) and not pixels[1:].any(), "only red"
    path.write_bytes(encode_png(sheet.crop((0, 0, 20, 20)), "another title", {}))
    assert StartDream(path, ORIGIN).sha256 == start.sha256, "only pixels count"
    path.write_bytes(encode_png(sheet.crop((0, 0, 20, 10)), "", {}))
    assert StartDream(path, ORIGIN).sha256 != start.sha256


def test_only_the_pixels_of_the_start_are_in_the_key(chained):
    dreamer, changes = chained
    assert dreamer.dreamt("refined", **changes()) == 3
    shutil.copytree(dreamer.folder / "out", dreamer.folder / "copied")
    moved = changes("copied", {**ORIGIN, "recipe": "another"})
    moved["parameters"]["start_dream"] = {"recipe": "another"}
    assert dreamer.dreamt("again", **moved) == 0
    facts = read_facts(dreamer.folder / "again/b/step-0002.png")
    assert facts["start_dream"]["recipe"] == "another" == facts["parameters"]["start_dream"]["recipe"]
    assert dreamer.dreamt("first", **changes(origin={**ORIGIN, "step": 1})) == 3


@pytest.fixture
def study(tmp_path, monkeypatch, dreamer):
    """Return the folder of the dreams of a study, and the image of one that started from another."""
    monkeypatch.chdir(tmp_path)
    checkpoint, dreams = write_study(tmp_path) / MODEL_FILE, tmp_path / "results/tiny/dreams/run/epoch-0001"
    dreams.mkdir(parents=True)
    common = {"checkpoint": checkpoint}
    dreamer.dreamt(dreams / "r", **common, parameters=parameters(preset="lucid", steps=[1, 3], size=32, variants=2))
    starts = start_dreams([str(dreams / "r/dreams.zip")], ORIGIN, "abc")
    dreamer.dreamt(
        dreams / "refined", **common, recipe="refined", parameters=parameters(**REFINED), start_dreams=starts
    )
    return dreams, dreams / "refined/b/step-0002.png"


def test_an_image_that_starts_from_a_dream_is_made_again(study, tmp_path):
    dreams, picture = study
    assert redream(picture).identical
    moved = shutil.copy(picture, tmp_path / "moved.png")
    assert redream(moved).identical, "found in results/*/dreams"
    shutil.rmtree(dreams / "r/b")
    assert redream(moved).identical, "found in the archive"


def test_a_start_that_is_missing_or_another_one_is_reported(study, tmp_path, monkeypatch):
    dreams, picture = study
    kept = shutil.copy(dreams / "r/b/step-0003.png", tmp_path / "kept.png")
    shutil.rmtree(dreams / "r")
    with pytest.raises(UserError) as error:
        redream(picture)
    assert error.value.key == "start" and str(error.value) == (
        "start: the dream that the image starts from (run run, epoch 1, recipe r, label b, step 3) was not found near "
        "it or in results/*/dreams; set the path where it is now"
    )
    assert redream(picture, start=kept).identical
    main(["redream", str(picture), "--start", str(kept)])
    with pytest.raises(UserError, match=r"start: 'none.png' does not exist; set the path"):
        redream(picture, start="none.png")
    with pytest.raises(UserError, match=r"the pixels of '.*' are not those that the image starts from"):
        redream(picture, start=picture)
