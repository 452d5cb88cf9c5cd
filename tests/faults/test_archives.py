"""A zip of photographs is never unpacked to disk; its files are read, or listed with a reason."""

import os
import stat
import zipfile

import numpy as np
import pytest

from dreambirds.data.image_files import LARGEST
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels, list_photographs
from dreambirds.data.tables import read_images
from dreambirds.errors import UserError
from tests.helpers.hostile import HEIGHT, WIDTH, assert_plain, encoded, prepare_separately, problems, scene
from tests.helpers.layouts import refused, settings

ROW = "bad photographs handled or listed"
LONG = 300 << 20  # bytes, more than the limit per file


def good(archive: zipfile.ZipFile, numbers: tuple[int, ...] = (0, 1), each: int = 2) -> None:
    """Add classes with `each` different images."""
    for number in numbers:
        for count in range(each):
            image = encoded(scene() + 10 * number + count, "PNG")
            archive.writestr(f"birds/train/{number}/intact {count}.png", image)


def zeros(archive: zipfile.ZipFile, name: str, count: int) -> None:
    """Add a member of `count` zeros, in chunks."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(member, "w") as file:
        for start in range(0, count, 1 << 20):
            file.write(bytes(min(count - start, 1 << 20)))


def damage(archive: zipfile.ZipFile) -> dict[str, str]:
    """Add damaged and unreadable members to class 0; return the start of each reason by file name."""
    image = encoded(scene(), "PNG")
    damaged, too_large = "corrupt or unreadable in the zip: ", f"bytes exceed the limit of {LARGEST} bytes"
    other = "compressed in the zip with a method other than deflate"
    wrong = {
        "encrypted.png": ("flag_bits", 1, "encrypted in the zip"),
        "other sum.png": ("CRC", 7, f"{damaged}Bad CRC-32"),
        "elsewhere.png": ("header_offset", 5, f"{damaged}Bad magic number"),
        "ten gigabytes.png": ("file_size", 10 << 30, f"{10 << 30} {too_large}"),
        "longer.png": ("file_size", len(image) + 9, damaged),
        "shorter.png": ("file_size", 20, f"{damaged}Bad CRC-32"),
        "unknown.png": ("compress_type", 77, other),
    }
    for name, (field, value, _) in wrong.items():
        archive.writestr(f"birds/train/0/{name}", image)
        setattr(archive.filelist[-1], field, value)
    archive.writestr("birds/train/0/bzip2.png", bytes(9000), zipfile.ZIP_BZIP2)
    archive.writestr("birds/train/0/lzma.png", bytes(9000), zipfile.ZIP_LZMA)
    archive.writestr("birds/train/0/two\nlines\x1b[2J.png", b"")
    archive.writestr("birds/train/0/folder.png/", b"")
    link = zipfile.ZipInfo("birds/train/0/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(link, "/etc/passwd")
    return {name: reason for name, (_, _, reason) in wrong.items()} | {
        "bzip2.png": other,
        "lzma.png": other,
        "two\\nlines\\x1b[2J.png": "the file is empty",
        "folder.png": "the zip contains no such file",
        "link.png": "not an image: text",
    }


def test_damaged_and_unreadable_members_are_listed(tmp_path, counted):
    out, file = tmp_path / "out", tmp_path / "birds.zip"
    out.mkdir()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        good(archive)
        expected = damage(archive)
    result = prepare_separately(settings("kaggle", file), out)
    found = problems(out)
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert found[name].startswith(reason), (name, found[name])
    assert len(read_images(out)) == len(expected) + 4
    assert_plain(result.output)
    counted(ROW, len(expected))


@pytest.mark.parametrize(
    ("claimed", "reason"), [(LONG, f"{LONG} bytes exceed the limit of"), (100, "corrupt or unreadable")]
)
def test_a_member_that_is_too_large_is_listed_without_exhausting_the_memory(tmp_path, claimed, reason, counted):
    out, file = tmp_path / "out", tmp_path / "birds.zip"
    out.mkdir()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        good(archive)
        zeros(archive, "birds/train/0/bomb.png", LONG)
        archive.filelist[-1].file_size = claimed
    assert file.stat().st_size < 3_000_000
    result = prepare_separately(settings("kaggle", file), out)
    (name, problem), *others = problems(out).items()
    assert name == "bomb.png" and problem.startswith(reason) and not others
    assert result.growth < 150
    counted(ROW)


def test_members_with_paths_outside_the_folder_write_nothing(tmp_path, counted):
    work = tmp_path / "a" / "b" / "c"
    work.mkdir(parents=True)
    image = encoded(scene() // 2, "PNG")
    names = ["../../escaped.png", "birds/train/0/../../../../escaped.png", "birds/train/../../../1/escaped.png"]
    names += [f"{tmp_path}/escaped.png", "//escaped.png", "birds/train/0/..", "..", "C:\\escaped.png", "\\\\x\\y.png"]
    names += ["birds/train/0/x\\..\\..\\escaped.png", "a/" * 30_000 + "deep.png", "birds/train/../0/escaped.png"]
    with zipfile.ZipFile(work / "birds.zip", "w") as archive:
        good(archive)
        for name in names:
            archive.writestr(name, image)
    before = set(tmp_path.rglob("*"))
    dataset = settings("kaggle", work / "birds.zip", image_size=[HEIGHT, WIDTH])
    result = prepare_separately(dataset, work)
    assert_plain(result.output)
    assert result.growth < 150, "one path has 30,000 nested folders"
    created = {path.relative_to(work).parts[0] for path in set(tmp_path.rglob("*")) - before}
    assert created == {"images", "images.csv", "labels.csv", "pictures.npy", "store"}
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name]
    images = read_images(work)
    odd = "birds.zip/birds/train/0/x\\..\\..\\escaped.png"
    inside = [source for source in images["source"] if not source.endswith(("intact 0.png", "intact 1.png"))]
    assert inside == [f"{work}/{odd}"] and set(images["error"]) == {""}
    counted(ROW, len(names))


def test_a_damaged_zip_is_rejected_or_its_intact_files_are_read(tmp_path, counted):
    random, file = np.random.default_rng(0), tmp_path / "birds.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        good(archive, each=6)
    good_bytes = np.frombuffer(file.read_bytes(), np.uint8)
    directory = file.read_bytes().index(b"PK\x01\x02")
    refusals = survivals = 0
    for number in range(300):
        damaged, first = good_bytes.copy(), directory if number % 2 else 0
        damaged[random.integers(first, len(damaged), size=2)] = random.integers(256, size=2)
        path, out = tmp_path / f"{number}.zip", tmp_path / str(number)
        path.write_bytes(damaged[: len(damaged) - (number % 10 == 9) * random.integers(len(damaged))].tobytes())
        out.mkdir()
        dataset = settings("kaggle", path, image_size=16)
        try:
            prepare(dataset, list_labels(dataset), out, tmp_path / "store")
            survivals += 1
        except UserError as error:
            assert str(error).startswith("dataset.path: ") and "\n" not in str(error)
            refusals += 1
    assert refusals > 50 and survivals > 50
    counted("data sets refused", refusals)
    counted(ROW, survivals)


def test_a_class_of_a_zip_with_too_few_photographs_is_left_out(tmp_path, counted):
    file = tmp_path / "birds.zip"
    with zipfile.ZipFile(file, "w") as archive:
        good(archive)
        good(archive, (2,), each=1)
    assert [label.folder for label in list_labels(settings("kaggle", file))] == ["0", "1"]
    assert "class '2' has 1 photograph in" in refused(settings("kaggle", file, labels=["0", "1", "2"]))
    dataset = settings("kaggle", file, labels=["0", "1"])
    assert len(list_photographs(dataset, list_labels(dataset))) == 4
    os.truncate(file, file.stat().st_size - 30)
    assert "not a zip, or a corrupt one" in refused(settings("kaggle", file))
    counted("data sets refused", 2)
