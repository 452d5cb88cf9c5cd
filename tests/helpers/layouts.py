"""Drawn birds in the layouts of real data: the competition, CUB, NABirds, and `train` with `val`."""

import hashlib
import zipfile
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from dreambirds.config.load import check
from dreambirds.data.sources.catalog import list_labels, list_photographs
from dreambirds.data.sources.source import Photograph
from dreambirds.data.synthetic.bird import draw_bird
from dreambirds.errors import UserError
from dreambirds.seeding import label_rng

BIRDS = {"blue_jay": "Blue Jay", "northern_cardinal": "Northern Cardinal", "yellow_warbler": "Yellow Warbler"}
SIDE = 32


def save_bird(path: Path, species: str, number: int = 0) -> Path:
    """Draw a bird of a species and save it in the format of the path's extension; create folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _draw(species, number).save(path)
    return path


@cache
def _draw(species: str, number: int) -> Image.Image:
    return draw_bird(species, label_rng(0, species, number), SIDE, "both")


def hexadecimal(*parts: object) -> str:
    """Return 32 hexadecimal digits, like the file names of the competition and NABirds."""
    return hashlib.md5(repr(parts).encode()).hexdigest()


def kaggle(root: Path, numbers: tuple[int, ...] = (2, 9, 10), each: int = 4, tests: int = 5) -> Path:
    """Create the competition's `birds/` in `root`: three species with these class numbers, and test images.

    `names.txt` has two lines after that of the last number. `sample.csv` does not list the images in order of name.
    """
    birds = root / "birds"
    names = [f"Unseen bird {line}" for line in range(max(numbers) + 3)]
    rows = []
    for number, (species, name) in zip(numbers, BIRDS.items(), strict=True):
        names[number] = name
        for count in range(each):
            file = f"{hexadecimal(species, count)}.jpg"
            save_bird(birds / "train" / str(number) / file, species, count)
            rows.append(f"{file},{number}")
    (birds / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (birds / "labels.csv").write_text("\n".join(["path,class", *rows]) + "\n", encoding="utf-8")
    files = [f"{hexadecimal('test', count)}.jpg" for count in range(tests)]
    for count, file in enumerate(files):
        save_bird(birds / "test" / "0" / file, list(BIRDS)[count % 3], 100 + count)
    (birds / "sample.csv").write_text(
        "\n".join(["path,class", *(f"test/{file},0" for file in files)]) + "\n", encoding="utf-8"
    )
    return birds


def zipped(folder: Path, file: Path, top: str = "birds/", junk: bool = True) -> Path:
    """Zip the files of a folder below `top`, with the extra files that macOS adds."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{top}{path.relative_to(folder).as_posix()}"
                archive.write(path, name)
                if junk:
                    inner = name.rpartition("/")
                    archive.writestr(f"__MACOSX/{inner[0]}{inner[1]}._{inner[2]}", b"\x00\x05\x16\x07")
        if junk:
            archive.writestr(f"{top}train/.DS_Store", b"")
    return file


def cub(root: Path, each: int = 4) -> Path:
    """Create `CUB_200_2011/` in `root`: three species, an alternating split, and boxes."""
    folders = dict(zip(("001.Blue_Jay", "002.Northern_Cardinal", "010.Yellow_Warbler"), BIRDS, strict=True))
    images = [(folder, f"{folder}/{folder[4:]}_{count:04d}.jpg") for folder in folders for count in range(each)]
    tables = _tables({folder: str(int(folder[:3])) for folder in folders}, images, lambda number, _: str(number))
    return _write(root / "CUB_200_2011", tables, folders, images)


def nabirds(root: Path, each: int = 4) -> Path:
    """Create `nabirds/` in `root`: ids with dashes, class numbers with gaps, names with brackets, a hierarchy."""
    folders = {"0295": "blue_jay", "0817": "northern_cardinal", "1010": "yellow_warbler"}
    names = {"295": "Blue Jay", "817": "Northern Cardinal (Adult Male)", "1010": "Yellow Warbler"}
    images = [(folder, f"{folder}/{hexadecimal(folder, count)}.jpg") for folder in folders for count in range(each)]
    tables = _tables({folder: str(int(folder)) for folder in folders}, images, lambda _, path: _dashed(path))
    tables["classes.txt"] = ["0 Birds", "1 Ducks, Geese, and Swans", *(f"{key} {name}" for key, name in names.items())]
    tables["hierarchy.txt"] = ["1 0", *(f"{key} 1" for key in names)]
    return _write(root / "nabirds", tables, folders, images)


def train_and_val(root: Path, each: int = 4, validation: str = "val") -> Path:
    """Create three species in `root`, below `train` and `val`: a quarter is in `val`, and one bird only in `test`."""
    for species in BIRDS:
        for count in range(each):
            part = validation if count % 4 == 3 else "train"
            save_bird(root / part / species / f"{count}.png", species, count)
    save_bird(root / "test" / "unknown" / "0.png", "blue_jay", 100)
    return root


def _dashed(path: str) -> str:
    digits = Path(path).stem
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


def _tables(numbers: dict[str, str], images: list[tuple[str, str]], name) -> dict[str, list[str]]:
    ids = [name(number, path) for number, (_, path) in enumerate(images, 1)]
    return {
        "images.txt": [f"{key} {path}" for key, (_, path) in zip(ids, images, strict=True)],
        "image_class_labels.txt": [f"{key} {numbers[folder]}" for key, (folder, _) in zip(ids, images, strict=True)],
        "classes.txt": [f"{number} {folder}" for folder, number in numbers.items()],
        "train_test_split.txt": [f"{key} {count % 2}" for count, key in enumerate(ids, 1)],
        "bounding_boxes.txt": [f"{key} {count}.0 2.0 20.0 16.5" for count, key in enumerate(ids)],
    }


def _write(root: Path, tables: dict[str, list[str]], folders: dict[str, str], images: list[tuple[str, str]]) -> Path:
    for count, (folder, path) in enumerate(images):
        save_bird(root / "images" / path, folders[folder], count)
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def settings(source: str, path: Path, **changes) -> dict:
    """Return a complete dataset section."""
    config = {"dataset": {"source": source, "path": str(path), **changes}, "runs": {"a": {}}}
    check(config | {"dreams": {"recipes": {"a": {}}}}, "config")
    return config["dataset"]


def class_names(dataset: dict) -> list[tuple[str, str, str]]:
    """Return label, name and folder of each class."""
    return [(label.label, label.name, label.folder) for label in list_labels(dataset)]


def photographs(dataset: dict) -> list[Photograph]:
    """Return all photographs of all classes."""
    return list_photographs(dataset, list_labels(dataset))


def refused(dataset: dict) -> str:
    """Return the error message for an invalid data set."""
    with pytest.raises(UserError) as error:
        photographs(dataset)
    assert "\n" not in str(error.value)
    return str(error.value)
