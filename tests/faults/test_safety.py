"""Input is never executed, and output is private.

The tests cover hazards in the source, pickles in place of files, archives that write elsewhere, and temporary files
that are predictable or readable by others.
"""

import io
import os
import pickle
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.data.dataset import open_packed
from dreambirds.data.download.cub import unpack
from dreambirds.data.image_cache import ImageCache as Prepared
from dreambirds.data.labels import Label
from dreambirds.data.tables import read_images, read_labels, read_table, write_table
from dreambirds.dream_job.image_files import read_facts, save_png
from dreambirds.dream_job.store import RECORD, DreamStore
from dreambirds.errors import UserError
from dreambirds.evaluation.judge import load_judge
from dreambirds.gallery.comparison import read_study
from dreambirds.gallery.pages import write_page
from dreambirds.io import atomic_write
from dreambirds.models.checkpoint import load_checkpoint, load_tensors, read_metadata, save_tensors
from dreambirds.models.classifier import build
from dreambirds.plan.measurements import read as read_measurement
from tests.helpers.hazards import UNSAFE, in_page, in_python, in_rules
from tests.helpers.layouts import kaggle, photographs, save_bird, settings, zipped
from tests.helpers.studies import ROOT

WORKFLOW = ROOT / "workflow"
SOURCES = {
    in_python: sorted(WORKFLOW.rglob("*.py")),
    in_rules: [ROOT / "Snakefile", *sorted(WORKFLOW.rglob("*.smk"))],
    in_page: [
        path
        for path in sorted(WORKFLOW.rglob("*"))
        if path.suffix in (".j2", ".js", ".css", ".rst") and not path.name.endswith(".md.j2")
    ],
}
FILES = [(check, path) for check, paths in SOURCES.items() for path in paths]

SNIPPETS = [(check, text) for check, texts in UNSAFE.items() for text in texts]


@pytest.mark.parametrize(("check", "path"), FILES, ids=lambda value: getattr(value, "name", ""))
def test_the_source_executes_no_data_and_starts_no_shell(check, path):
    assert check(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("check", "text"), SNIPPETS, ids=lambda value: value if isinstance(value, str) else "")
def test_unsafe_code_is_detected(check, text, counted):
    assert check(text)
    counted("kinds of unsafe source code detected by the tests")


def test_all_source_files_are_checked():
    assert {check: len(paths) > 5 for check, paths in SOURCES.items()} == dict.fromkeys(SOURCES, True)
    assert WORKFLOW / "dreambirds" / "models" / "weights.py" in SOURCES[in_python]


def test_a_page_escapes_text(tmp_path):
    text = '</title></script><script>document.title="owned"</script>{{ 7 * 7 }}'
    write_page(tmp_path / "page.html", "compare.html.j2", study=text, columns=[], groups=[], pooled=False)
    page = (tmp_path / "page.html").read_text()
    assert page.count("&lt;/title&gt;&lt;/script&gt;&lt;script&gt;") == 2 and "<script" not in page
    assert "{{ 7 * 7 }}" in page


class Bomb:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: Path):
        """Take the folder to create."""
        self.path = path

    def __reduce__(self):
        """Return the call that unpickling makes."""
        return os.mkdir, (str(self.path),)


@pytest.fixture
def bomb(tmp_path) -> Bomb:
    """Return a bomb; check afterwards that it was not unpickled, and that it works."""
    bomb = Bomb(tmp_path / "went off")
    yield bomb
    assert not bomb.path.exists()
    pickle.loads(pickle.dumps(bomb))
    assert bomb.path.is_dir()


def as_npy(bomb: Bomb) -> bytes:
    """Return an array of objects in NumPy's format, which contains a pickle."""
    file = io.BytesIO()
    np.save(file, np.array([bomb], dtype=object), allow_pickle=True)
    return file.getvalue()


def as_torch(bomb: Bomb) -> bytes:
    """Return the bytes that `torch.save` writes."""
    file = io.BytesIO()
    torch.save({"fc.weight": bomb}, file)
    return file.getvalue()


IMAGE = Image.new("RGB", (8, 8), "teal")
FORMS = {"a pickle": pickle.dumps, "an array": as_npy, "torch's": as_torch}


def judged(path: Path):
    """Load a judge with the given weights file."""
    (path.parent / "labels.txt").write_text("Blue Jay\nWren\n")
    judge = {"weights": str(path), "model": "test_resnet", "model_options": {}, "image_size": 32, "names": {}}
    judge |= {"weights_key": None, "head": "softmax", "normalization": None}
    labels = [Label("blue_jay", "Blue Jay")]
    return load_judge("j", {**judge, "labels": str(path.parent / "labels.txt")}, path, labels, torch.device("cpu"))


REFUSED = {
    "pictures.npy": lambda path: open_packed(path.parent, ["0" * 64]),
    "epoch-0001/model.safetensors": load_checkpoint,
    "epoch-0002/model.safetensors": read_metadata,
    "epoch-0001/training_state.safetensors": load_tensors,
    "weights.safetensors": lambda path: build("test_resnet", 2, {}, str(path)),
    "weights.npz": lambda path: build("test_resnet", 2, {}, str(path)),
    "judge.pth": judged,
    "dreams.csv": lambda path: read_study(path.parent),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_pickle_in_place_of_a_file_is_refused_in_one_line(tmp_path, bomb, counted, name, form):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(FORMS[form](bomb))
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        REFUSED[name](tmp_path / name)
    counted("pickles refused")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("read", [read_images, read_labels], ids=["images.csv", "labels.csv"])
def test_a_pickle_in_place_of_a_prepared_table_is_never_unpickled(tmp_path, bomb, counted, read, form):
    for name in ("images.csv", "labels.csv"):
        (tmp_path / name).write_bytes(FORMS[form](bomb))
    with pytest.raises(ValueError):
        read(tmp_path)
    counted("pickles refused")


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_in_a_store_is_discarded(tmp_path, bomb, counted, form, caplog):
    prepared, dreams = Prepared(tmp_path / "prepared"), DreamStore(tmp_path / "dreams")
    key, content = "ab" * 20, FORMS[form](bomb)
    image, entry = tmp_path / "prepared" / "ab" / f"{key}.png", tmp_path / "dreams" / "ab" / key / "blue_jay"
    for path in (image, entry / RECORD):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    assert prepared.get(key, (32, 32)) is None and dreams.get(key, "blue_jay") is None
    assert not image.exists() and not entry.exists() and len(caplog.records) == 2
    counted("pickles refused", 2)


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_in_place_of_a_measurement_is_ignored(tmp_path, bomb, counted, form, monkeypatch):
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path))
    monkeypatch.setattr("dreambirds.plan.measurements._path", lambda what: tmp_path / "memory.json")
    (tmp_path / "memory.json").write_bytes(FORMS[form](bomb))
    assert read_measurement({"measured": "nothing"}) is None
    counted("pickles refused")


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return a tar entry of the given type."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


HOSTILE = {
    "a link to a file outside": member("CUB_200_2011/link", tarfile.LNKTYPE, "../../secret"),
    "a symbolic link to the root": member("CUB_200_2011/link", tarfile.SYMTYPE, "/"),
    "a device": member("CUB_200_2011/device", tarfile.CHRTYPE),
    "a pipe": member("CUB_200_2011/pipe", tarfile.FIFOTYPE),
    "a path outside the folder": member("CUB_200_2011/../../../evil", tarfile.REGTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_with_an_unsafe_member_is_not_unpacked(tmp_path, counted, kind):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "resources" / "CUB_200_2011"
    folder.parent.mkdir()
    with tarfile.open(folder.with_suffix(".tgz"), "w:gz") as tar:
        tar.addfile(HOSTILE[kind])
    with pytest.raises(UserError, match=r"^[^\n]*is unsafe to unpack \([^\n]*$"):
        unpack(folder.with_suffix(".tgz"), folder)
    assert {path.name for path in tmp_path.rglob("*")} == {"secret", "resources", "CUB_200_2011.tgz"}
    counted("archives refused")


def test_unpacked_files_lose_setuid_bits_and_write_permissions_for_others(tmp_path):
    folder = tmp_path / "CUB_200_2011"
    entry = member("CUB_200_2011/images.txt", tarfile.REGTYPE)
    entry.mode, entry.uid = 0o6777, 0
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.addfile(entry)
    unpack(tmp_path / "a.tgz", folder)
    mode = stat.S_IMODE((folder / "images.txt").stat().st_mode)
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH)


def test_members_of_a_zip_with_paths_outside_it_are_ignored(tmp_path, counted):
    file = zipped(kaggle(tmp_path / "data"), tmp_path / "birds.zip")
    names = ["../evil.jpg", "/evil.jpg", "birds/train/2/../../../evil.jpg", "birds/train/../../evil.jpg"]
    names += ["birds/train/2/../2/evil.jpg", "birds//train/2/evil.jpg"]
    image = save_bird(tmp_path / "evil.jpg", "blue_jay", 7).read_bytes()
    with zipfile.ZipFile(file, "a") as archive:
        for name in names:
            archive.writestr(name, image)
    before = sorted(tmp_path.rglob("*"))
    found = [each.member for each in photographs(settings("kaggle", file))]
    assert len(found) == 12 and not any("evil" in member for member in found)
    assert sorted(tmp_path.rglob("*")) == before, "a zip is read but never unpacked"
    counted("archives refused")


def test_written_files_respect_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with atomic_write(tmp_path / "page.html") as first, atomic_write(tmp_path / "page.html") as second:
            assert first.parent == second.parent == tmp_path, "next to the file, where other users cannot create a link"
            assert first != second and len(first.stem) > 30, "and its name is unpredictable"
            for path in (first, second):
                path.write_text("x")
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)}, {"a": 1})
        save_png(Prepared(tmp_path / "prepared").put("ab", IMAGE, {}).image, tmp_path / "a.png", "a", {})
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "a.csv")
        with DreamStore(tmp_path / "dreams").stage() as stage:
            stage.add("ab" * 20, "a", {}, {"a.png": b"x"})
            staged = {path: stat.S_IMODE(path.stat().st_mode) for path in stage.folder.rglob("*")}
    finally:
        os.umask(before)
    assert len(staged) == 4 and set(staged.values()) == {0o700, 0o600}
    modes = {path: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in tmp_path.rglob("*")}
    assert len(modes) > 9 and set(modes.values()) == {0}


def test_a_link_at_the_path_of_a_result_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.csv").symlink_to(tmp_path / "mine")
    write_table(pd.DataFrame({"run": ["a"]}), tmp_path / "a.csv")
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "a.csv").is_symlink()
    assert list(read_table(tmp_path / "a.csv")["run"]) == ["a"]


def test_the_metadata_of_an_image_is_never_executed(tmp_path, bomb):
    save_png(IMAGE, tmp_path / "a.png", "\x1b[31m</script>", {"name": "$(touch owned)\n</script>"})
    assert read_facts(tmp_path / "a.png") == {"name": "$(touch owned)\n</script>"}
    assert b"\n" not in (tmp_path / "a.png").read_bytes().partition(b'{"name"')[2].partition(b"}")[0]
    (tmp_path / "b.png").write_bytes(pickle.dumps(bomb))
    with pytest.raises(OSError):
        read_facts(tmp_path / "b.png")
