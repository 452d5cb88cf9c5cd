"""Real data is read in its published layouts: the competition's folders and zip, CUB and NABirds."""

import logging
import os
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from dreambirds.data.labels import Label
from dreambirds.data.sources.catalog import left_out, list_labels
from dreambirds.data.sources.source import Photograph, open_photograph, origin
from tests.helpers import layouts
from tests.helpers.layouts import class_names, photographs, refused, settings


def edit(path: Path, old: str, new: str) -> None:
    """Replace a part of a text file, which must contain it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def birds(tmp_path) -> Path:
    """Return the competition's folder, with classes 2, 9 and 10 of four photographs each."""
    return layouts.kaggle(tmp_path)


@pytest.fixture
def cub(tmp_path) -> Path:
    """Return CUB's folder, with classes 1, 2 and 10 of four photographs each."""
    return layouts.cub(tmp_path)


def test_classes_are_sorted_by_number_and_named_by_lines_from_0(birds):
    assert class_names(settings("kaggle", birds)) == [
        ("Blue_Jay", "Blue Jay", "2"),
        ("Northern_Cardinal", "Northern Cardinal", "9"),
        ("Yellow_Warbler", "Yellow Warbler", "10"),
    ]
    found = photographs(settings("kaggle", birds))
    assert [photograph.label.folder for photograph in found] == ["2"] * 4 + ["9"] * 4 + ["10"] * 4
    assert [photograph.file for photograph in found] == sorted(
        (birds / "train").glob("*/*.jpg"), key=lambda path: (int(path.parent.name), path.name)
    )
    assert {(photograph.part, photograph.box, photograph.problem) for photograph in found} == {("", None, "")}


@pytest.mark.parametrize("labels", [["9", "2"], ["Blue_Jay", "Northern Cardinal"], ["2", "Northern_Cardinal"]])
def test_a_class_of_the_competition_is_requested_by_number_label_or_name(birds, labels):
    assert [label.folder for label in list_labels(settings("kaggle", birds, labels=labels))] == ["2", "9"]


def test_names_may_have_windows_line_endings_accents_duplicates_and_gaps(birds):
    lines = ["x"] * 2 + ["nandu comun"] + ["y"] * 6 + ["Nandú  común", "  "]
    (birds / "names.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "end", "", " ", ""]).encode())
    found = class_names(settings("kaggle", birds))
    assert [each[1:] for each in found] == [("nandu comun", "2"), ("Nandú común", "9"), ("10", "10")]
    assert re.fullmatch(r"nandu_comun_[0-9a-f]{6} Nandu_comun_[0-9a-f]{6} 10", " ".join(label for label, _, _ in found))
    (birds / "names.txt").write_bytes("\n".join(lines).encode("latin-1"))
    assert "names.txt' is not UTF-8 text" in refused(settings("kaggle", birds))
    (birds / "names.txt").unlink()
    assert class_names(settings("kaggle", birds))[2] == ("10", "10", "10")
    assert len(photographs(settings("kaggle", birds))) == 12


def test_a_number_beyond_the_names_is_reported(birds):
    (birds / "names.txt").write_text("\n".join("abcdefghij") + "\n\n\n")
    assert refused(settings("kaggle", birds)) == (
        f"dataset.path: class 10 ('{birds}/train/10') has no name, because 'names.txt' has only 10 lines and line 1 is "
        "class 0; add the missing lines"
    )


def test_empty_and_unnumbered_class_folders_are_skipped(birds, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    (birds / "train" / "4").mkdir()
    (birds / "train" / "5").mkdir()
    (birds / "train" / "5" / ".DS_Store").touch()
    layouts.save_bird(birds / "train" / "09" / "a.jpg", "blue_jay")
    layouts.save_bird(birds / "train" / "9" / "._a.jpg", "blue_jay")
    assert [label.folder for label in list_labels(settings("kaggle", birds))] == ["2", "9", "10"]
    assert len(photographs(settings("kaggle", birds))) == 12
    assert "skipped 1 subfolder of 'train' not named by a class number: 09" in caplog.text


def test_the_folder_has_priority_over_the_table_and_the_log_counts_differences(birds, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    first, second, third = (layouts.hexadecimal("northern_cardinal", count) for count in range(3))
    edit(birds / "labels.csv", f"{first}.jpg,9", f"{first}.jpg,2")
    edit(birds / "labels.csv", f"{second}.jpg,9\n", "")
    (birds / "train" / "9" / f"{third}.jpg").unlink()
    with (birds / "labels.csv").open("a") as table:
        table.write("\nnowhere.jpg,4\ntrain/10/0000.jpg,10\n")
    found = photographs(settings("kaggle", birds))
    names = {photograph.file.name: photograph for photograph in found}
    assert len(found) == len(names) == 13
    assert names[f"{first}.jpg"].label.folder == names[f"{second}.jpg"].label.folder == "9"
    problems = {name: photograph.problem for name, photograph in names.items() if photograph.problem}
    assert set(problems) == {f"{third}.jpg", "0000.jpg"} and set(problems.values()) == {
        "listed in labels.csv, but the file does not exist"
    }
    assert names["0000.jpg"].label.folder == "10" and found[8].file.name == "0000.jpg", "sorted by class, then by file"
    assert "the folder determines the class of 1 image not listed in 'labels.csv'" in caplog.text
    assert "the folder determines the class of 1 image listed with another class in 'labels.csv'" in caplog.text


def test_the_table_may_be_missing_but_not_invalid(birds, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    edit(birds / "labels.csv", "path,class\n", "path,class\n\nsome.jpg,two\n")
    assert "labels.csv', line 3: the class must be an integer, not 'two'" in refused(settings("kaggle", birds))
    edit(birds / "labels.csv", "some.jpg,two\n", "some.jpg\n")
    assert "labels.csv', line 3: must contain a file name and a class, not 'some.jpg'" in refused(
        settings("kaggle", birds)
    )
    (birds / "labels.csv").unlink()
    assert len(photographs(settings("kaggle", birds))) == 12 and caplog.text == ""


@pytest.mark.parametrize("top", ["birds/", "", "birds21wi/"])
def test_the_zip_is_read_without_unpacking_from_several_threads(birds, top):
    on_disk = photographs(settings("kaggle", birds))
    file = layouts.zipped(birds, birds.parent / "all.zip", top)
    before = sorted(birds.parent.iterdir())
    dataset = settings("kaggle", file)
    assert class_names(dataset) == class_names(settings("kaggle", birds))
    found = photographs(dataset)
    assert [photograph.file for photograph in found] == [file] * 12
    assert origin(found[0]) == f"{file}/{top}train/2/{on_disk[0].file.name}"
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda photograph: open_photograph(photograph).read(), found * 20))
    assert contents == [photograph.file.read_bytes() for photograph in on_disk] * 20
    assert Image.open(open_photograph(found[5])).size == (layouts.SIDE, layouts.SIDE)
    assert sorted(birds.parent.iterdir()) == before, "nothing is extracted"


def test_the_zip_is_opened_again_only_when_it_changed(birds, monkeypatch):
    opened = []
    monkeypatch.setattr(zipfile.ZipFile, "__init__", _counting(zipfile.ZipFile.__init__, opened))
    file = layouts.zipped(birds, birds.parent / "once.zip")
    opened.clear()
    for photograph in photographs(settings("kaggle", file)):
        open_photograph(photograph).close()
    assert len(opened) == 1
    layouts.zipped(birds / "train", file, "birds/train/")
    opened.clear()
    assert class_names(settings("kaggle", file))[0] == ("2", "2", "2") and len(opened) == 1


def _counting(function, calls: list):
    def count(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    return count


def test_a_damaged_member_does_not_affect_the_others(birds):
    file = layouts.zipped(birds, birds.parent / "damaged.zip")
    first, *rest = photographs(settings("kaggle", file))
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo(first.member).header_offset
    damaged = bytearray(file.read_bytes())
    for offset in range(start + 120, start + 160):
        damaged[offset] ^= 0xFF
    file.write_bytes(damaged)
    with pytest.raises(OSError, match="in the zip"):
        open_photograph(first)
    assert open_photograph(rest[0]).read()
    with pytest.raises(OSError, match="no such file"):
        open_photograph(Photograph(first.label, file, "birds/train/2/none.jpg"))
    file.write_bytes(damaged[:1000])
    assert f"cannot read '{file}' (not a zip, or a corrupt one: " in refused(settings("kaggle", file))


def test_a_file_can_be_opened_and_listed_if_its_name_is_not_utf_8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    path.write_bytes(b"abc")
    photograph = Photograph(Label("a", "a", "a"), path)
    with open_photograph(photograph) as file:
        assert file.read() == b"abc"
    assert origin(photograph) == f"{tmp_path}/caf\\xe9.jpg"
    with pytest.raises(FileNotFoundError):
        open_photograph(Photograph(photograph.label, tmp_path / "none.jpg"))


def test_cub_is_read_with_names_split_and_boxes(cub):
    assert class_names(settings("cub", cub)) == [
        ("Blue_Jay", "Blue Jay", "001.Blue_Jay"),
        ("Northern_Cardinal", "Northern Cardinal", "002.Northern_Cardinal"),
        ("Yellow_Warbler", "Yellow Warbler", "010.Yellow_Warbler"),
    ]
    found = photographs(settings("cub", cub, crop_margin=0.1))
    assert [photograph.part for photograph in found] == ["train", "validation"] * 6
    assert [photograph.box for photograph in found] == [(float(number), 2.0, 20.0, 16.5) for number in range(12)]
    assert found[4].file == cub / "images" / "002.Northern_Cardinal" / "Northern_Cardinal_0000.jpg"
    assert {photograph.box for photograph in photographs(settings("cub", cub))} == {None}
    assert {photograph.part for photograph in photographs(settings("cub", cub, split="random"))} == {""}
    for name in ("001.Blue_Jay", "Blue_Jay", "Blue Jay"):
        chosen = list_labels(settings("cub", cub, labels=[name, "010.Yellow_Warbler"]))
        assert [label.label for label in chosen] == ["Blue_Jay", "Yellow_Warbler"]
    (cub / "train_test_split.txt").unlink()
    assert {photograph.part for photograph in photographs(settings("cub", cub))} == {""}


def test_classes_of_cub_are_sorted_by_number_and_images_by_file(cub):
    for name in ("images.txt", "image_class_labels.txt", "classes.txt"):
        lines = (cub / name).read_text().splitlines()
        (cub / name).write_text("\ufeff" + " \r\n".join(reversed(lines)) + " \r\n\r\n")
    edit(cub / "classes.txt", "2 002", "11 002")
    text = (cub / "image_class_labels.txt").read_text()
    (cub / "image_class_labels.txt").write_text(text.replace(" 2 \n", " 11 \n"))
    assert [label.label for label in list_labels(settings("cub", cub))] == [
        "Blue_Jay",
        "Yellow_Warbler",
        "Northern_Cardinal",
    ]
    names = [photograph.file.name for photograph in photographs(settings("cub", cub))]
    assert names[:4] == [f"Blue_Jay_{count:04d}.jpg" for count in range(4)]


def test_nabirds_is_read_although_some_classes_have_no_images(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    root = layouts.nabirds(tmp_path)
    assert class_names(settings("cub", root)) == [
        ("Blue_Jay", "Blue Jay", "0295"),
        ("Northern_Cardinal_Adult_Male", "Northern Cardinal (Adult Male)", "0817"),
        ("Yellow_Warbler", "Yellow Warbler", "1010"),
    ]
    found = photographs(settings("cub", root, crop_margin=0.0))
    assert len(found) == 12 and all(photograph.file.is_file() and photograph.box for photograph in found)
    assert [photograph.part for photograph in found].count("train") == 6
    assert "skipped 2 classes of 'classes.txt' without images" in caplog.text


def test_missing_images_have_a_problem(cub):
    (cub / "images" / "001.Blue_Jay" / "Blue_Jay_0002.jpg").unlink()
    for number in (1, 3):
        (cub / "images" / "010.Yellow_Warbler" / f"Yellow_Warbler_{number:04d}.jpg").unlink()
    found = photographs(settings("cub", cub))
    missing = [photograph.file.stem for photograph in found if photograph.problem]
    assert missing == ["Blue_Jay_0002", "Yellow_Warbler_0001", "Yellow_Warbler_0003"] and len(found) == 12
    shutil.rmtree(cub / "images" / "010.Yellow_Warbler")
    assert [label.label for label in list_labels(settings("cub", cub))] == ["Blue_Jay", "Northern_Cardinal"]
    assert "left out 1 class with no photograph: '010.Yellow_Warbler'; add some to use it" in left_out(
        settings("cub", cub)
    )


WRONG = {
    "images.txt', line 3: image '3' has no class in 'image_class_labels.txt'": ("image_class_labels", "3 1\n", ""),
    "images.txt', line 2: must be an id and a path": ("images", "2 001.Blue_Jay/Blue_Jay_0001.jpg", "2"),
    "images.txt', line 2: must be an id and a path below": ("images", "2 001.Blue_Jay/", "2 ../001.Blue_Jay/"),
    "images.txt', line 2: '1' is already on line 1": ("images", "2 001", "1 001"),
    "image_class_labels.txt', line 5: must be an image's id and a class number": ("image_class_labels", "5 2", "5 b"),
    "image_class_labels.txt', line 5: class 77 is not in 'classes.txt'": ("image_class_labels", "5 2", "5 77"),
    "classes.txt', line 2: must be a class number and a name": ("classes", "2 002", "two 002"),
    "train_test_split.txt', line 4: must be an image's id and 1 (train)": ("train_test_split", "4 0", "4 2"),
    "images.txt', line 4: image '4' is not in 'train_test_split.txt'": ("train_test_split", "4 0\n", ""),
    "bounding_boxes.txt', line 1: must be an image's id and the box's": ("bounding_boxes", "20.0 16.5", "20.0"),
    "bounding_boxes.txt', line 1: must be an image's id and": ("bounding_boxes", "20.0 16.5", "0.0 16.5"),
    "images.txt', line 1: image '1' is not in 'bounding_boxes.txt'": (
        "bounding_boxes",
        "1 0.0 2.0 20.0 16.5\n",
        "",
    ),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_an_invalid_line_of_a_table_is_reported(cub, sentence):
    table, old, new = WRONG[sentence]
    edit(cub / f"{table}.txt", old, new)
    error = refused(settings("cub", cub, crop_margin=0.2))
    assert sentence in error and error.endswith("; restore the published file")


def test_a_class_without_training_images_is_rejected(cub):
    edit(cub / "train_test_split.txt", "5 1", "5 0")
    edit(cub / "train_test_split.txt", "7 1", "7 0")
    requested = settings("cub", cub, labels=["Blue Jay", "Northern Cardinal"])
    assert "dataset.labels: class '002.Northern_Cardinal' has no photograph for training in" in refused(requested)
    assert len(photographs(settings("cub", cub, split="random"))) == 12
    edit(cub / "train_test_split.txt", "5 0", "5 1")
    assert len(photographs(settings("cub", cub))) == 12
    (cub / "images" / "002.Northern_Cardinal" / "Northern_Cardinal_0000.jpg").unlink()
    assert "no photograph for training" in refused(requested), "the only training image is missing"
