"""Folders as people have them: parts in any capitals, wrapped, with junk, in other encodings, or as a zip."""

import os
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from dreambirds.data.image_files import find_photographs, is_junk
from dreambirds.data.image_kinds import PICTURES, kind_of
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import count_others, left_out, list_labels, list_photographs
from dreambirds.data.tables import read_labels
from dreambirds.errors import UserError
from dreambirds.plan.plan import make_plan
from tests.helpers import layouts
from tests.helpers.hostile import encoded, scene
from tests.helpers.layouts import photographs, refused, settings
from tests.helpers.profiles import HEIC

JPEG = encoded(scene(), "JPEG")


def put(root: Path, *folders: str, each: int = 2, ending: str = ".jpg") -> Path:
    """Write photographs into folders, and return their root."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (root / folder / f"{number}{ending}").write_bytes(JPEG)
    return root


def folders(root: Path, **changes) -> list[str | None]:
    """Return the folders of the classes."""
    return [label.folder for label in list_labels(settings("folder", root, **changes))]


def test_photographs_are_recognized_by_their_first_bytes():
    for kind in PICTURES:
        content = HEIC if kind == "HEIF" else encoded(scene(), {"JPEG": "MPO"}.get(kind, kind))
        assert kind_of(content[:512]) == kind
    others = {
        b"\0\0\0\x1cftypisom\0\0\2\0isomiso2avc1mp41": "a video",
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  ": "a video",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom": "a camera's raw file",
        b"RIFF\0\0\0\0AVI LIST": "a video",
        b"%PDF-1.7": "a PDF document",
        b"II*\0\x10\0\0\0CR\2\0": "a camera's raw file",
        b"0 0.5 0.5 0.2 0.1\n": "text",
        "тест\n".encode(): "text",
        "鳥".encode()[:2]: "text",
        b"BM is not enough for a bitmap, nor": "text",
        b"P6 is the name of a rule": "PPM",
        b"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer; run `git lfs pull`",
        b"\0\1\2\3": "",
        b"": "",
    }
    assert {content: kind_of(content) for content in others} == others
    assert kind_of(encoded(scene(), "TIFF")[:512], "DSC_1.NEF") == "a camera's raw file"


@pytest.mark.parametrize(
    "name", ["a.jfif", "b.JPE", "c.bin", "no suffix", "d.txt", " e .jpg.", "x" * 255, "f\n.\u202e", "🦅"]
)
def test_photographs_may_have_any_name(tmp_path, name):
    put(tmp_path, "auk", "crane")
    (tmp_path / "auk" / name).write_bytes(JPEG)
    assert name in [photograph.file.name for photograph in photographs(settings("folder", tmp_path))]
    assert tmp_path / "auk" / name in find_photographs(tmp_path / "auk")


@pytest.mark.parametrize(
    "name",
    [
        *("._1.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", "a.jpg.part", "a.jpg.crdownload", "a.jpg~"),
        *("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".ipynb_checkpoints"),
    ],
)
def test_what_systems_create_is_left_out_and_counted(tmp_path, name):
    put(tmp_path, "auk", "crane")
    assert is_junk(name) and not is_junk(name.strip(".") + " 1.jpg")
    (tmp_path / "auk" / name).write_bytes(JPEG)
    put(tmp_path, f"{name}/auk", name)
    dataset = settings("folder", tmp_path)
    assert folders(tmp_path) == ["auk", "crane"] and len(photographs(dataset)) == 4
    assert count_others(dataset, list_labels(dataset)) == 1
    told = [] if name.startswith(".") else [f"left out '{name}', which the system created".replace("\r", "\\r")]
    assert left_out(dataset) == told


@pytest.mark.parametrize("validation", ["Val", "VALID", "Validation", "dev", "Eval", "TEST", "Testing"])
@pytest.mark.parametrize("train", ["Train", "TRAINING"])
def test_parts_may_be_written_in_any_capitals(tmp_path, train, validation):
    put(tmp_path, f"{train}/auk", f"{train}/crane", each=3)
    put(tmp_path, f"{validation}/auk", f"{validation}/crane", each=1)
    parts = [photograph.part for photograph in photographs(settings("folder", tmp_path))]
    assert parts == (["train"] * 3 + ["validation"]) * 2
    tested = validation.lower().startswith("test")
    told = [f"'{validation}' is used for validation, because there is no folder 'val'"] if tested else []
    assert left_out(settings("folder", tmp_path)) == told


def test_a_test_folder_is_not_used_if_there_is_a_val(tmp_path):
    put(tmp_path, *(f"{part}/{name}" for part in ("train", "val", "test") for name in ("auk", "crane")))
    assert {"test"}.isdisjoint(photograph.file.parts[-3] for photograph in photographs(settings("folder", tmp_path)))
    assert left_out(settings("folder", tmp_path)) == ["'test' is not used: a study needs only training and validation"]
    put(tmp_path, "Train/auk")
    assert "contains both 'Train' and 'train'; keep one" in refused(settings("folder", tmp_path))


@pytest.mark.parametrize("wrapped", ["birds", "birds/birds", "birds/train", "a/b/c"])
def test_the_only_folder_with_the_classes_is_found(tmp_path, wrapped):
    put(tmp_path, f"{wrapped}/auk", f"{wrapped}/crane")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "readme.txt").write_text("text")
    assert folders(tmp_path) == ["auk", "crane"]
    assert left_out(settings("folder", tmp_path))[0] == f"the class folders are in '{tmp_path / wrapped}'"
    if wrapped == "birds":
        put(tmp_path, "fish/cod", "fish/tuna")
        assert "contains several data sets ('birds', 'fish'); set the path to one" in refused(
            settings("folder", tmp_path)
        )


def test_classes_one_level_deeper_are_named(tmp_path):
    put(tmp_path, "Songbirds/auk", "Waders/crane")
    error = refused(settings("folder", tmp_path))
    assert "one level deeper" in error and f"into one: '{tmp_path}/Songbirds/auk', '{tmp_path}/Waders/crane'" in error
    put(tmp_path, "a/x/1", "a/x/2", "a/y")
    put(tmp_path, "auk", "crane")
    (told,) = left_out(settings("folder", tmp_path))
    assert "left out 3 classes with no photograph: 'Songbirds', 'Waders', 'a', whose photographs are in folders" in told


def test_two_validation_folders_are_rejected_and_a_train_without_one_is_split(tmp_path):
    root = layouts.train_and_val(tmp_path)
    shutil.copytree(root / "val", root / "valid")
    assert "contains both 'val' and 'valid'; keep one" in refused(settings("folder", root))
    shutil.rmtree(root / "val")
    shutil.rmtree(root / "valid")
    assert {photograph.part for photograph in photographs(settings("folder", root))} == {""}
    assert left_out(settings("folder", root)) == [f"the class folders are in '{root}/train'"]


def test_parts_that_do_not_fit_are_named(tmp_path):
    put(tmp_path, "imagenet/train/auk", "imagenet/train/crane", "imagenet/val")
    error = refused(settings("folder", tmp_path / "imagenet"))
    assert "val' contains photographs, but no class folders, unlike 'train'; sort them into such folders" in error
    put(tmp_path, "few/train/auk", "few/train/crane", "few/val/auk")
    (told,) = left_out(settings("folder", tmp_path / "few"))
    assert told == "1 class without photographs for validation: 'crane'"
    assert left_out(settings("folder", tmp_path / "few", split="random")) == []


def test_a_path_that_is_no_folder_of_classes_gets_a_hint(tmp_path):
    put(tmp_path, "flat")
    assert "put the photographs of each class into a subfolder" in refused(settings("folder", tmp_path / "flat"))
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped/birds.zip").write_bytes(b"PK")
    assert "contains 'birds.zip': unpack it, or set the path to it" in refused(settings("folder", tmp_path / "zipped"))
    put(tmp_path, "loop/auk", "loop/crane")
    (tmp_path / "loop/all").symlink_to(tmp_path / "loop")
    (told,) = left_out(settings("folder", tmp_path / "loop"))
    assert told == "left out 1 class with no photograph: 'all'; add some to use it"
    for path, problem in {
        "https://birds.org/a.zip": "is an address; download the data",
        " ": "is empty; set it to a",
    }.items():
        assert problem in refused(settings("folder", path))


@pytest.mark.parametrize("other", ["Auk", "AUK"])
def test_folders_with_the_same_name_are_refused(tmp_path, other):
    put(tmp_path, "auk", other, "crane")
    assert f"contains '{other}' and 'auk', the same name" in refused(settings("folder", tmp_path))
    shutil.rmtree(tmp_path)
    forms = [unicodedata.normalize(form, "grèbe") for form in ("NFC", "NFD")]
    put(tmp_path, *forms, "crane")
    assert refused(settings("folder", tmp_path)).endswith("; merge or rename one of these folders")
    shutil.rmtree(tmp_path)
    put(tmp_path, f"train/{forms[0]}", "train/crane", f"val/{forms[1]}", "val/Crane")
    found = photographs(settings("folder", tmp_path))
    assert [photograph.part for photograph in found] == ["train", "train", "validation", "validation"] * 2


def test_a_zip_of_class_folders_is_read(tmp_path):
    put(tmp_path / "in", "auk", "crane")
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
        for path in sorted((tmp_path / "in").rglob("*.jpg")):
            archive.write(path, f"birds/{path.relative_to(tmp_path / 'in')}")
            archive.writestr(f"__MACOSX/birds/{path.parent.name}/._{path.name}", b"\0\5\x16\7")
    found = photographs(settings("folder", tmp_path / "birds.zip"))
    assert [photograph.member for photograph in found[:2]] == ["birds/auk/0.jpg", "birds/auk/1.jpg"] and len(found) == 4


def test_links_are_followed_and_broken_ones_and_pipes_are_listed(tmp_path):
    put(tmp_path / "elsewhere", "crane")
    put(tmp_path / "in", "auk")
    (tmp_path / "in" / "crane").symlink_to(tmp_path / "elsewhere" / "crane")
    (tmp_path / "in" / "gone").symlink_to("nowhere")
    (tmp_path / "in" / "loop").symlink_to("loop")
    (tmp_path / "in" / "auk" / "up").symlink_to("..")
    (tmp_path / "in" / "auk" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "crane" / "0.jpg")
    (tmp_path / "in" / "auk" / "3.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in" / "auk" / "pipe")
    os.mkfifo(tmp_path / "in" / "pipe")
    dataset = settings("folder", tmp_path / "in")
    assert folders(tmp_path / "in") == ["auk", "crane"] and len(photographs(dataset)) == 7
    assert left_out(dataset) == ["left out 'gone', a broken symbolic link", "left out 'loop', a broken symbolic link"]


def test_stray_photographs_and_folders_without_any_are_announced(tmp_path):
    put(tmp_path, "auk", "crane", ".")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("text")
    (tmp_path / "docs" / "b.jpg").write_text("<html>")
    assert left_out(settings("folder", tmp_path)) == [
        "left out 1 class with no photograph: 'docs' ('docs/a.txt' is text); add some to use it",
        f"left out 2 photographs directly in '{tmp_path}', which belong to no class",
    ]


def test_a_class_that_is_left_out_is_named_if_it_is_to_be_dreamt(tmp_path):
    put(tmp_path, "auk", "crane")
    put(tmp_path, "lonely", each=1)
    study = {"dataset": {"source": "folder", "path": str(tmp_path)}, "runs": {"a": {}}}
    problem = "^dreams.labels: class 'lonely' has 1 photograph in .*, fewer than dataset.min_photographs .2.; add some"
    with pytest.raises(UserError, match=problem):
        make_plan({**study, "dreams": {"labels": ["auk", "Lonely"], "recipes": {"a": {}}}})
    insisting = {**study, "dataset": {**study["dataset"], "min_photographs": 1}}
    plan = make_plan({**insisting, "dreams": {"labels": ["auk", "lonely"], "recipes": {"a": {}}}})
    assert [label.folder for label in plan.dreamt] == ["auk", "lonely"]


def test_many_files_that_are_not_photographs_are_not_all_opened(tmp_path, monkeypatch):
    from dreambirds.data.sources import tree

    put(tmp_path, "auk", "crane")
    for number in range(30):
        (tmp_path / "auk" / f"{number}.txt").write_text("text")
    opened = []
    monkeypatch.setattr(tree, "read_head", lambda path: opened.append(path) or Path(path).read_bytes())
    assert folders(tmp_path) == ["auk", "crane"] and all(path.endswith(".jpg") for path in opened)
    monkeypatch.setattr(tree, "MOST_OTHERS", 5)
    opened.clear()
    assert tree.Tree(tmp_path).count_pictures("auk", 3) == 2 and len(opened) == 2 + 5


def test_a_photograph_of_an_unusual_class_name_is_listed_once(tmp_path):
    names = [" auk ", "auk.", "x" * 255, "a\nb", "\u202eauk", "🦅", "CON", "-rf", "%s {a}"]
    put(tmp_path, *names)
    dataset = settings("folder", tmp_path)
    labels = list_labels(dataset)
    assert sorted(label.folder for label in labels) == sorted(names) and len(list_photographs(dataset, labels)) == 18
    Image.open(list_photographs(dataset, labels)[0].file).close()


def test_a_class_with_one_readable_photograph_is_kept_with_a_warning(tmp_path, caplog):
    put(tmp_path / "in", "auk", "crane")
    (tmp_path / "in" / "crane" / "0.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    (tmp_path / "out").mkdir()
    dataset = settings("folder", tmp_path / "in", image_size=16)
    prepare(dataset, list_labels(dataset), tmp_path / "out", tmp_path / "store")
    assert read_labels(tmp_path / "out")[["train", "validation"]].to_numpy().tolist() == [[1, 1], [1, 0]]
    assert "1 class with fewer than 2 readable images: 'crane' (1)" in caplog.text
