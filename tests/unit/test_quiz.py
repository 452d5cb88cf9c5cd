"""The selection of a quiz, what its page contains of the images, and errors."""

import io
import json
import struct
from base64 import b64decode
from collections import Counter
from hashlib import sha256
from itertools import product

import pandas as pd
import pytest
from PIL import Image

from dreambirds import cli
from dreambirds.dream_job.archive import find_picture, open_image, read_picture
from dreambirds.errors import UserError
from dreambirds.gallery.quiz import Selection, balanced, select_dreams, write_quiz
from tests.helpers.galleries import BAD, gallery_plan
from tests.helpers.pages import Page
from tests.helpers.quizzes import control_digests, write_study

NAMES = (BAD, "Bruant à gorge blanche", "wren", "owl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the results of a study with two runs, three epochs, two recipes and four classes."""
    return write_study(gallery_plan(names=NAMES), tmp_path_factory.mktemp("study"))


def facts_of(path) -> dict:
    """Return the data of a page."""
    text = path.read_text(encoding="utf-8").partition('<script type="application/json" id="facts">')[2]
    return json.loads(text.partition("</script>")[0])


def grid(**values) -> pd.DataFrame:
    """Return all combinations of the values of columns."""
    return pd.DataFrame(product(*values.values()), columns=list(values))


@pytest.mark.parametrize("seed", range(5))
def test_classes_recipes_and_epochs_appear_equally_often(seed):
    rows = grid(run=["a", "b"], epoch=[0, 4], recipe=["x", "y", "z"], label=list("klmno"), number=range(20))
    for count in (7, 15, 30, 44):
        chosen = balanced(rows, count, seed)
        assert len(chosen) == count and not chosen.duplicated().any()
        for columns in (["label"], ["recipe"], ["run", "epoch"]):
            times = chosen.value_counts(columns).reindex(rows[columns].drop_duplicates(), fill_value=0)
            assert times.max() - times.min() <= 2, (count, columns)
    assert balanced(rows, 15, 0)["number"].tolist() != balanced(rows, 15, 1)["number"].tolist()
    assert len(balanced(rows[:3], 10, seed)) == 3 and balanced(rows[:0], 10, seed).empty


def test_the_filters_select_dreams_and_the_last_epoch_and_step_by_default():
    rows = grid(run=["a"], epoch=[0, 0.25, 4], recipe=["x"], step=[1, 5], label=["k"])
    rows = pd.concat([rows, grid(run=["b"], epoch=[0, 2], recipe=["x", "y"], step=[7], label=["k"])])
    rows = rows.assign(run_group=rows["run"].map({"a": "a", "b": "c"}), recipe_group=rows["recipe"])

    def selected(**options) -> list[tuple]:
        found = select_dreams(rows, Selection(**options))
        return list(found[["run", "epoch", "recipe", "step"]].itertuples(index=False, name=None))

    assert selected(runs=["a"]) == [("a", 4, "x", 5)]
    assert selected(recipes=["y"]) == [("b", 2, "y", 7)] == selected(runs=["c"], recipes=["y"])
    assert selected(epoch="0.25", step="1") == [("a", 0.25, "x", 1)]
    assert selected() == [("b", 2, "x", 7), ("b", 2, "y", 7)]  # 7 is the last step of the recipe x
    for options, sentence in (
        ({"runs": ["d"]}, "--run: no dreams have the run 'd'; available: a, b, c"),
        ({"recipes": ["z"]}, "--recipe: no dreams have the recipe 'z'; available: x, y"),
        ({"epoch": "soon"}, "--epoch: no dreams have the epoch 'soon'; available: 0, 0.25, 2, 4, last"),
        ({"runs": ["b"], "step": "1"}, "--step: no dreams have the step '1'; available: 7, last"),
    ):
        with pytest.raises(UserError) as error:
            selected(**options)
        assert str(error.value) == sentence


@pytest.mark.parametrize("view", ["raw", "rescaled"])
def test_the_page_contains_the_pixels_and_digests_of_images_and_nothing_else_about_them(folder, tmp_path, view):
    counts = write_quiz(folder, tmp_path / "quiz.html", Selection(view=view), count=12, controls=9)
    assert counts == (12, 4)  # there are no more dataset images
    facts = facts_of(tmp_path / "quiz.html")
    assert set(facts) == {"quiz", "classes", "choices", "columns", "images"}
    assert [each["name"] for each in facts["classes"]] == sorted(NAMES)
    dreams = pd.read_csv(folder / "dreams.csv")
    column = "image_path" if view == "raw" else "image_path_rescaled"
    pictures = {path: find_picture(folder / path) for path in dreams[column]}
    files = {sha256(read_picture(picture)).hexdigest(): path for path, picture in pictures.items()}
    seen = []
    for image in facts["images"]:
        assert set(image) == {"sha256", "source"}
        content = b64decode(image["source"].removeprefix("data:image/png;base64,"))
        assert chunks(content) == {b"IHDR", b"IDAT", b"IEND"}
        if image["sha256"] in files:
            path = files[image["sha256"]]
            assert decode(content).tobytes() == open_image(pictures[path]).tobytes()
            seen.append(path.split("/")[-2])
        else:
            assert image["sha256"] in control_digests(4) and decode(content).getpixel((0, 0)) == (255,) * 3
            seen.append("dataset image")
    assert Counter(seen) == {"dataset image": 4, **{f"class_{number}": 3 for number in range(4)}}
    assert seen != sorted(seen) and seen[-4:] != ["dataset image"] * 4
    page = Page(tmp_path / "quiz.html")
    assert not [each for tag in ("link", "script", "img") for each in page.all(tag) if "src" in each]


def decode(content: bytes) -> Image.Image:
    """Return the image of a PNG file."""

    return Image.open(io.BytesIO(content)).convert("RGB")


def chunks(content: bytes) -> set[bytes]:
    """Return the types of the chunks of a PNG file."""
    found, position = set(), 8
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        found.add(content[position + 4 : position + 8])
        position += length + 12
    return found


def test_the_seed_determines_the_quiz(folder, tmp_path):
    def images(seed: int) -> list[str]:
        write_quiz(folder, tmp_path / "quiz.html", Selection(), count=6, seed=seed)
        return [image["sha256"] for image in facts_of(tmp_path / "quiz.html")["images"]]

    assert images(1) == images(1) != images(2)


def test_the_command_writes_the_page_and_refuses_bad_numbers_and_folders(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["quiz", str(folder), "--count", "3", "--recipe", "plain", "--run", "first"])
    path = folder / "quiz.html"
    assert capsys.readouterr().out == f"Wrote '{path}' with 3 dreams and 0 dataset images; open it in a browser\n"
    path.unlink()
    for arguments, sentence in (
        ([str(folder), "--count", "0"], "Error: --count: must be at least 1, not 0; pass another number"),
        ([str(folder), "--seed", "-1"], "Error: --seed: must be at least 0, not -1; pass another number"),
        (["nowhere"], "Error: the results folder 'nowhere' does not exist; 'results' contains no study: run one first"),
    ):
        with pytest.raises(SystemExit) as error:
            cli.main(["quiz", *arguments])
        assert error.value.code == sentence
    assert not path.exists()
