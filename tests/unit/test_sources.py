"""Folders with and without `train` and `val`, errors for a path without the layout, and fingerprints of data."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dreambirds.config.load import load_schema
from dreambirds.data.labels import make_labels
from dreambirds.data.sources import catalog
from dreambirds.data.sources.catalog import left_out, list_files, list_labels, list_photographs
from dreambirds.data.sources.source import SOURCES, Photograph, Source
from dreambirds.data.sources.source import source as register
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import UserError
from dreambirds.plan.fingerprints import fingerprint
from dreambirds.runtime.code_version import stage_modules
from tests.helpers import layouts
from tests.helpers.layouts import class_names, photographs, refused, settings

START = b"\xff\xd8\xff"  # of a JPEG


def test_train_and_val_are_the_given_split_or_pooled_for_a_random_one(tmp_path):
    for name in ("val", "valid", "validation"):
        root = layouts.train_and_val(tmp_path / name, validation=name)
        assert [label for label, _, _ in class_names(settings("folder", root))] == list(layouts.BIRDS)
        found = photographs(settings("folder", root))
        assert [photograph.part for photograph in found] == (["train"] * 3 + ["validation"]) * 3
        assert [photograph.file.relative_to(root).as_posix() for photograph in found[:4]] == [
            *(f"train/blue_jay/{count}.png" for count in range(3)),
            f"{name}/blue_jay/3.png",
        ]
        pooled = photographs(settings("folder", root, split="random"))
        assert [photograph.file for photograph in pooled] == [photograph.file for photograph in found]
        assert {photograph.part for photograph in pooled} == {""}


def test_a_class_that_is_only_in_val_requires_a_random_split(tmp_path):
    root = layouts.train_and_val(tmp_path)
    shutil.move(root / "train" / "blue_jay", root / "train" / "jay")
    assert "blue_jay" not in [label.folder for label in list_labels(settings("folder", root))]
    told = "left out 1 class with no photograph for training: 'blue_jay'; add some, or set dataset.split to random"
    assert told in left_out(settings("folder", root))
    assert refused(settings("folder", root, labels=["blue_jay", "jay"])).startswith(
        f"dataset.labels: class 'blue_jay' has no photograph for training in '{root}'; add some"
    )
    layouts.save_bird(root / "val" / "blue_jay" / "4.png", "blue_jay", 4)
    labels = list_labels(settings("folder", root, split="random"))
    assert [label.folder for label in labels] == ["blue_jay", "jay", "northern_cardinal", "yellow_warbler"]
    assert len(list_photographs(settings("folder", root, split="random"), labels)) == 13
    (root / "train" / "blue_jay").mkdir()
    assert told in left_out(settings("folder", root))


@pytest.mark.parametrize("direct", ["train", "val"])
def test_classes_may_be_named_train_and_val(tmp_path, direct):
    root = layouts.train_and_val(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        layouts.save_bird(root / direct / name, "blue_jay")
        layouts.save_bird(root / "test" / name, "blue_jay")
    assert [label for label, _, _ in class_names(settings("folder", root))] == ["test", direct]
    found = photographs(settings("folder", root, labels=["test", direct]))
    files = [photograph.file.relative_to(root).as_posix() for photograph in found]
    assert files == [f"{folder}/{name}.jpg" for folder in sorted(["test", direct]) for name in "ab"]
    assert {photograph.part for photograph in found} == {""}


def test_a_folder_lists_all_files_but_hidden_ones_and_those_of_systems(tmp_path):
    for name in (
        "b 1/2.JPG",
        "b 1/10.png",
        "b 1/.hidden.jpg",
        "b 1/Thumbs.db",
        "b 1/notes.txt",
        "b 1/3.jpg.part",
        "a/no suffix",
        "a/x.webp",
        "a/deeper/y.jpg",
        "top.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(START)
    layouts.save_bird(tmp_path / ".hidden" / "x.jpg", "blue_jay")
    (tmp_path / "a" / "link.jpg").symlink_to("nowhere")
    found = photographs(settings("folder", tmp_path))
    names = [(photograph.label.label, photograph.file.name) for photograph in found]
    of_a, of_b = ["link.jpg", "no suffix", "x.webp"], ["10.png", "2.JPG", "notes.txt"]
    assert names == [*(("a", name) for name in of_a), *(("b_1", name) for name in of_b)]


@pytest.mark.parametrize("source", ["kaggle", "cub", "nabirds"])
def test_the_parent_folder_of_a_layout_is_accepted_and_variables_are_replaced(tmp_path, monkeypatch, source):
    root = getattr(layouts, source)(tmp_path / "data")
    source = "kaggle" if source == "kaggle" else "cub"
    (tmp_path / "data" / "other").mkdir()
    monkeypatch.setenv("BIRDS_ARE_HERE", str(tmp_path))
    found = photographs(settings(source, "$BIRDS_ARE_HERE/data"))
    assert found == photographs(settings(source, root)) and len(found) == 12
    monkeypatch.setenv("HOME", str(tmp_path))
    assert photographs(settings(source, "~/data")) == found
    shutil.copytree(root, tmp_path / "data" / "copy")
    assert "contains several data sets" in refused(settings(source, tmp_path / "data"))


def test_every_module_of_sources_is_imported_and_none_imports_torch():
    code = "import sys; from dreambirds.data.sources.catalog import SOURCES; "
    code += "print(*SOURCES, *{'torch', 'torchvision', 'timm', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) == set(SOURCES) >= {"drawn", "folder", "kaggle", "cub"}


@pytest.mark.parametrize("stage", ["dataset", "submission"])
def test_all_sources_are_part_of_the_code_of_stages_that_list_images(stage):
    """Check the stage's modules: no module imports the sources by name, so following imports does not find them."""
    assert set(Path(catalog.__file__).parent.glob("*.py")) <= set(stage_modules(stage))


def test_the_schema_lists_all_sources():
    assert set(load_schema("config")["properties"]["dataset"]["properties"]["source"]["enum"]) == set(SOURCES)


def test_a_new_source_is_one_class(tmp_path, monkeypatch):
    monkeypatch.setitem(SOURCES, "listed", None)  # so that it is removed after the test

    @register("listed")
    class Listed(Source):
        """Images whose relative paths are listed in a table."""

        path_content = "a folder with a table 'list.txt'"

        def find(self, path):
            return Tree(path) if (path / "list.txt").is_file() else None

        def misfit(self, path):
            return "has no 'list.txt'"

        def labels(self, tree, dataset):
            names = sorted({Path(line).parent.name for line in tree.lines("list.txt")})
            return make_labels((name, name, name) for name in names)

        def photographs(self, tree, dataset, labels):
            lines = tree.lines("list.txt")
            return [
                Photograph(label, *tree.locate(line))
                for label in labels
                for line in lines
                if Path(line).parent.name == label.folder
            ]

    files = ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]
    (tmp_path / "a").mkdir()
    (tmp_path / "list.txt").write_text("\n".join(files))
    dataset = settings("folder", tmp_path) | {"source": "listed"}
    assert [str(photograph.file) for photograph in photographs(dataset)] == [str(tmp_path / file) for file in files]
    assert list(list_files(dataset, list_labels(dataset))) == files
    assert refused(dataset | {"path": str(tmp_path / "a")}) == f"dataset.path: '{tmp_path}/a' has no 'list.txt'"
    needed = "must be a folder with a table 'list.txt' for 'source: listed'"
    assert refused(dataset | {"path": None}) == f"dataset.path: {needed}"
    assert "it has the layout of 'listed': set dataset.source to listed" in refused(settings("cub", tmp_path))
    error = refused({**dataset, "source": "drawn"})
    assert error.startswith("dataset.path: is only used with 'source: folder', 'kaggle'") and "'listed', not" in error


def test_the_error_for_a_path_without_the_layout_describes_the_layout(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.zip").write_text("not a zip")
    cases = {
        (
            "kaggle",
            "empty",
        ): "must contain a folder 'train' with one numbered subfolder per class ('train/0', 'train/1', …), or be",
        ("kaggle", "none"): "does not exist; it must contain a folder 'train'",
        ("kaggle", "file.zip"): "(not a zip, or a corrupt one: File is not a zip file); set another path",
        ("cub", "empty"): "must contain 'images.txt', 'image_class_labels.txt' and 'classes.txt'",
        ("cub", "file.zip"): "must contain 'images.txt'",
        ("cub", "none"): "does not exist; it must contain 'images.txt'",
        ("folder", "empty"): "must contain at least 2 subfolders, one per class, but has 0",
        ("folder", "file.zip"): "is a file that is not a zip, or a corrupt one; it must be a folder with one subfolder",
        ("folder", "none"): "does not exist; it must be a folder with one subfolder per class",
    }
    for (source, name), sentence in cases.items():
        found = refused(settings(source, tmp_path / name))
        start = "dataset.path: cannot read" if sentence.startswith("(") else "dataset.path:"
        assert found.startswith(f"{start} '{tmp_path / name}' {sentence}") and "has the layout of" not in found


@pytest.mark.parametrize("real", ["kaggle", "cub", "folder", "split"])
@pytest.mark.parametrize("configured", ["kaggle", "cub", "folder"])
def test_the_layout_of_another_source_is_recognized(tmp_path, real, configured):
    make = {"kaggle": layouts.kaggle, "cub": layouts.cub, "split": layouts.train_and_val}.get(
        real, layouts.train_and_val
    )
    root = make(tmp_path)
    root, real = (root / "train", "folder") if real == "folder" else (root, {"split": "folder"}.get(real, real))
    if real == configured:
        assert photographs(settings(configured, root))
    else:
        assert refused(settings(configured, root)).endswith(
            f"; it has the layout of '{real}': set dataset.source to {real}"
        )


def test_a_zip_of_the_competition_is_recognized_by_another_source(tmp_path):
    file = layouts.zipped(layouts.kaggle(tmp_path), tmp_path / "birds.zip")
    assert refused(settings("folder", file)).endswith(
        "is not a folder with one subfolder per class, or a zip of it; it has the layout of 'kaggle': set "
        "dataset.source to kaggle"
    )


def test_a_missing_table_is_reported_by_name(tmp_path):
    root = layouts.cub(tmp_path)
    (root / "bounding_boxes.txt").unlink()
    reason = f"must be null, because '{root}/bounding_boxes.txt' does not exist"
    assert f"dataset.crop_margin: {reason}" in refused(settings("cub", root, crop_margin=0.0))
    (root / "classes.txt").unlink()
    assert f"'classes.txt' is missing next to '{root}/images.txt'; restore the published file" in refused(
        settings("cub", root)
    )


def test_keys_that_do_not_fit_the_source_are_rejected(tmp_path):
    for source in ("kaggle", "cub"):
        dataset = settings(source, tmp_path) | {"path": None}
        problem = f"is null, but the data of 'source: {source}' is not downloaded yet"
        assert f"dataset.path: {problem}; run the study to download it, or set the path" == refused(dataset)
    root = layouts.train_and_val(tmp_path)
    for dataset in (
        settings("folder", root, crop_margin=0.0),
        settings("drawn", root, crop_margin=0.1) | {"path": None},
    ):
        with pytest.raises(UserError, match=r"dataset.crop_margin: is only used with 'source: cub'"):
            list_labels(dataset)
    with pytest.raises(UserError, match="contains images of 1 class, but at least 2 are needed; "):
        numbers = layouts.kaggle(tmp_path / "one")
        shutil.rmtree(numbers / "train" / "9")
        shutil.rmtree(numbers / "train" / "10")
        list_labels(settings("kaggle", numbers))


def mark(dataset: dict) -> str:
    """Return the fingerprint of a data set with all its classes."""
    return fingerprint(dataset, list_labels(dataset))


READ = {
    "kaggle": ["names.txt", "labels.csv"],
    "cub": ["images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt"],
    "train_and_val": [],
}


@pytest.mark.parametrize("layout", READ)
def test_the_fingerprint_depends_on_name_size_and_time_of_each_file(tmp_path, layout):
    root = getattr(layouts, layout)(tmp_path)
    dataset = settings({"train_and_val": "folder"}.get(layout, layout), root)
    photograph = photographs(dataset)[3].file
    before = mark(dataset)
    for path in (photograph, *(root / name for name in READ[layout])):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
        assert mark(dataset) != before, path
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert mark(dataset) == before
    status = photograph.stat()
    photograph.write_bytes(photograph.read_bytes() + b"\0")
    os.utime(photograph, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert mark(dataset) != before, "another size"
    photograph.unlink()
    gone = mark(dataset)
    assert gone != before
    photograph.symlink_to("nowhere")
    assert mark(dataset) != before


def test_the_fingerprint_of_a_folder_is_the_digest_of_its_list_of_files(tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a/1.png", "a/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(START)
        os.utime(tmp_path / name, ns=(0, 1_700_000_000_000_000_000))
    lines = "".join(f"{name}\x003 1700000000000000000\n" for name in ("a/1.png", "a/2.png", "b/1.jpg", "b/2.jpg"))
    assert mark(settings("folder", tmp_path)) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_fingerprint_of_a_zip_depends_on_its_time_and_drawn_birds_have_none(tmp_path):
    file = layouts.zipped(layouts.kaggle(tmp_path), tmp_path / "birds.zip")
    before = mark(settings("kaggle", file))
    assert mark(settings("kaggle", file)) == before
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1000))
    assert mark(settings("kaggle", file)) != before
    assert mark(settings("drawn", Path()) | {"path": None}) == ""
