"""Archives of dream jobs: their contents, equal bytes for equal dreams, the folder next to them, and damage."""

import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from dreambirds.config import VIEWS
from dreambirds.dream_job.archive import (
    INDEX,
    Picture,
    extract,
    find_picture,
    list_files,
    open_image,
    read_dreams,
    read_picture,
    write_archive,
)
from dreambirds.dream_job.image_files import read_facts
from dreambirds.errors import REBUILD, UserError
from dreambirds.plan.paths import picture_name
from tests.helpers.dream_bench import NAMES, parameters

HEADER = "run,epoch,recipe,label,step,prediction,loss"


def archive_of(path: Path, *rows: str, header: str = HEADER) -> Path:
    """Write an archive that contains only a table of dreams."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_archive(path, [(INDEX, "".join(f"{line}\n" for line in (header, *rows)).encode())])
    return path


def test_an_archive_contains_the_files_of_its_folder_and_describes_itself(dreamer):
    dreamer.dreamt(parameters=parameters(film_every=1))
    archive, laid = dreamer.archive(), dreamer.files()
    expected = [picture_name(label, step, view) for label in NAMES for step in (1, 3) for view in VIEWS]
    assert set(list_files(archive)) == {*expected, *(f"{label}/{name}" for label in NAMES for name in FILES), INDEX}
    for name in set(list_files(archive)) - {INDEX}:
        assert read_picture(Picture(archive, name)) == laid[name]
    facts = read_facts(BytesIO(read_picture(Picture(archive, "b/step-0003-rescaled.png"))))
    row = read_dreams([archive]).set_index(["label", "step"]).loc[("b", 3)]
    assert [facts[key] for key in ("run", "epoch", "recipe")] == [row["run"], row["epoch"], row["recipe"]]
    assert open_image(Picture(archive, "b/step-0003.png")).size == (32, 32)
    assert all(entry.compress_type == zipfile.ZIP_STORED for entry in zipfile.ZipFile(archive).infolist())


FILES = ("trace.csv", "film.gif")


def test_equal_dreams_give_equal_bytes_from_the_store_or_in_part(dreamer, monkeypatch, tmp_path):
    dreamer.dreamt()
    good = without_times(dreamer.archive())
    first = dreamer.archive().read_bytes()
    assert dreamer.dreamt() == 0 and dreamer.archive().read_bytes() == first
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "other"))
    assert dreamer.dreamt(names={"b": "Birch"}, folder="part") == 2
    assert dreamer.dreamt() == 4 and [*without_times(dreamer.archive())] == [*good], "the same files in the same order"
    pixels = [name for name in good if name.endswith(".png")]
    images = [open_image(Picture(dreamer.archive(), name)).tobytes() for name in pixels]
    assert len(set(images)) == len(pixels) == 12


def without_times(archive: Path) -> dict[str, bytes]:
    """Return the contents of an archive, except its table, which contains durations."""
    return {name: read_picture(Picture(archive, name)) for name in list_files(archive) if name != INDEX}


def test_the_folder_is_laid_with_links_into_the_store_unless_it_is_not_requested(dreamer):
    dreamer.dreamt(lay=False)
    assert list(dreamer.files()) == ["dreams.zip"]
    assert dreamer.dreamt() == 0 and len(dreamer.files()) == 1 + 3 * 5
    image = dreamer.folder / "out/a/step-0001.png"
    assert image.stat().st_nlink == 2 and json.dumps(read_facts(image))
    image.unlink()
    extract(Picture(dreamer.archive(), "a/step-0001.png"), image)
    assert read_facts(image)["step"] == 1


def test_epochs_are_integers_unless_one_is_a_fraction_and_names_stay_text(tmp_path):
    one = archive_of(tmp_path / "a.zip", "r,0,x,NA,3,nan,", "r,0,x,007,3,1,0.5")
    two = archive_of(tmp_path / "b.zip", "r,0.25,x,NA,3,b,1")
    whole, both = read_dreams([one]), read_dreams([one, two])
    assert whole["epoch"].tolist() == [0, 0] and whole["epoch"].dtype == int
    assert [repr(epoch) for epoch in both["epoch"]] == ["0", "0", "0.25"]
    assert both["label"].tolist() == ["NA", "007", "NA"] and both["prediction"].tolist() == ["nan", "1", "b"]
    assert both["loss"].isna().tolist() == [True, False, False]
    assert both["archive"].tolist() == [str(one), str(one), str(two)]


DAMAGES = {
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one byte": lambda content: content.replace(b"red", b"rex", 1),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_archive_gives_one_sentence(tmp_path, how):
    path = tmp_path / "dreams.zip"
    write_archive(path, [("a/step-0001.png", b"red" * 100), (INDEX, f"{HEADER}\nr,0,x,a,1,a,1\n".encode())])
    assert len(read_picture(Picture(path, "a/step-0001.png"))) == 300
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    with pytest.raises(UserError, match=rf"^'{path}' is corrupt \(.+\); {REBUILD}$"):
        read_picture(Picture(path, "a/step-0001.png"))


@pytest.mark.parametrize(
    ("header", "rows"), [("run,epoch,recipe,label", ["r,1,x,a"]), (HEADER, []), (HEADER, ["r,first,x,a,1,a,1"])]
)
def test_an_archive_with_an_incomplete_table_is_corrupt(tmp_path, header, rows):
    path = archive_of(tmp_path / "a.zip", *rows, header=header)
    with pytest.raises(UserError, match=rf"^'{path}' is corrupt \({INDEX}: .+\); {REBUILD}$"):
        read_dreams([path])


def test_a_missing_archive_or_file_is_named(tmp_path):
    path = archive_of(tmp_path / "a.zip", "r,1,x,a,1,a,1")
    with pytest.raises(UserError, match=rf"^'{path}' is corrupt \(.*'a/step-0002.png'.*\); {REBUILD}$"):
        read_picture(Picture(path, "a/step-0002.png"))
    with pytest.raises(UserError, match=r"b\.zip' does not exist; run the same command again to rebuild it$"):
        read_picture(Picture(tmp_path / "b.zip", "a/step-0002.png"))


def test_an_image_of_a_table_is_found_in_the_archive_of_its_part(tmp_path):
    for part, label in (("-000", "a"), ("-001", "b")):
        write_archive(tmp_path / f"dreams{part}.zip", [(f"{label}/step-0001.png", label.encode())])
    found = find_picture(tmp_path / "b/step-0001.png")
    assert found == Picture(tmp_path / "dreams-001.zip", "b/step-0001.png") and read_picture(found) == b"b"
    assert find_picture(tmp_path / "c/step-0001.png") is None
