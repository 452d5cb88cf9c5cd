"""Prepared images are cached by everything that determines their pixels, and by nothing else."""

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreambirds.data import image_cache
from dreambirds.data.image_cache import image_key
from dreambirds.errors import UserError
from dreambirds.runtime.code_version import stage_modules
from tests.helpers.bench import contents


def test_the_key_depends_on_everything_that_determines_pixels(monkeypatch):
    box = (1, 2, 3, 4)
    inputs = [("a", (8, 8), None, 0), ("b", (8, 8), None, 0), ("a", (8, 9), None, 0), ("a", (9, 8), None, 0)]
    inputs += [("a", (8, 8), box, 0), ("a", (8, 8), box, 0.5), ("a", (8, 8), (1, 2, 3, 5), 0)]
    keys = [image_key(*each) for each in inputs]
    assert len(set(keys)) == len(inputs) and keys == [image_key(*each) for each in inputs]
    monkeypatch.setattr(image_cache, "pixel_code", lambda: "another version")
    assert not set(keys) & {image_key(*each) for each in inputs}


def test_the_code_digest_covers_all_modules_that_determine_pixels():
    modules = {path.name for path in stage_modules("prepared")} - {"__init__.py"}
    assert modules == {"image_io.py", "image_files.py", "image_kinds.py", "colors.py", "shapes.py"}


def damage_pixels(entry: Path) -> None:
    """Change a pixel, and keep the text unchanged."""
    with Image.open(entry) as image:
        image.load()
        text = PngInfo()
        for name, value in image.text.items():
            text.add_text(name, value)
        image.putpixel((3, 3), (1, 2, 3))
        image.save(entry, pnginfo=text)


@pytest.mark.parametrize(
    "damage",
    [
        damage_pixels,
        lambda entry: entry.write_bytes(entry.read_bytes()[:200]),
        lambda entry: entry.write_bytes(b""),
        lambda entry: Image.new("RGB", (16, 16)).save(entry),
        lambda entry: Image.new("L", (5, 5)).save(entry),
    ],
)
def test_a_damaged_entry_is_discarded_and_recreated(bench, damage, caplog):
    expected = contents(bench.prepare("first"))
    entry = bench.entries[4]
    for path in (bench.root / "first" / "images").rglob("*.png"):
        if path.samefile(entry):
            path.unlink()
    good = entry.read_bytes()
    damage(entry)
    assert contents(bench.prepare("again")) == expected and len(bench.decoded) == 1
    assert f"the stored image '{entry}' is corrupt (" in caplog.text and entry.read_bytes() == good


def test_prepared_images_are_hard_links_to_the_store_or_copies(bench, monkeypatch):
    linked = bench.prepare("linked")
    assert all(path.stat().st_nlink == 2 for path in linked.rglob("*.png"))

    def refused(*_):
        raise OSError("another disk")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    copied = bench.prepare("copied")
    assert all(path.stat().st_nlink == 1 for path in copied.rglob("*.png")) and contents(copied) == contents(linked)
    assert not list(bench.root.rglob(".*")), "no temporary file is left"


def test_a_store_that_cannot_be_written_to_is_reported(bench):
    (bench.root / "store").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write to the store of prepared images '.*store' \(.*DREAMBIRDS_STORE"):
        bench.prepare()


def test_an_environment_variable_sets_the_store(monkeypatch, tmp_path):
    monkeypatch.delenv("DREAMBIRDS_STORE")
    assert image_cache.default_folder() == Path("results/.store/prepared")
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("DREAMBIRDS_STORE", "$PLACE/elsewhere")
    assert image_cache.default_folder() == tmp_path / "elsewhere" / "prepared"
