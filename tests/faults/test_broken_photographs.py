"""Photographs of any format and damage are prepared correctly, or skipped and listed with a reason."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreambirds.data import image_files
from dreambirds.data import prepare as preparing
from dreambirds.data.image_io import read_photograph, resize_and_crop
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.data.tables import read_images
from tests.helpers.hostile import (
    HEIGHT,
    WIDTH,
    assert_plain,
    chunk,
    claiming,
    encoded,
    png,
    prepare_separately,
    problems,
    scene,
    sixteen_bits,
    zeros,
)
from tests.helpers.layouts import settings

ROW = "bad photographs handled or listed"
SHAPE = [HEIGHT, WIDTH]
NAMES = [
    b'it\'s "quoted" `twice`.png',
    b"two\nlines.png",
    b"carriage\rreturn.png",
    b"\x1b[31mred\x1b[2J.png",
    b"caf\xe9 \xff.png",
    "Großer Reiher, 鳥 🦅.png".encode(),
    "turned\u202earound\u2028.png".encode(),
    b"a,b;c\t.png",
    b" blank .png",
    b"$(touch owned) && *.png",
    b"-rf.PNG",
    b"%s {label}\\.png",
    b"x" * 251 + b".png",
]


@pytest.fixture
def root(tmp_path) -> Path:
    """Return a folder of two classes: `Other` with two images, and `Bird` with none yet."""
    for name in ("Bird", "Other"):
        (tmp_path / "in" / name).mkdir(parents=True)
    for number in (1, 2):
        (tmp_path / "in" / "Other" / f"{number}.png").write_bytes(encoded(scene() // number, "PNG"))
    (tmp_path / "out").mkdir()
    return tmp_path


def photographs(root: Path, **changes) -> dict:
    """Return the config section of the folder's data set, at the size of the scenes."""
    return settings("folder", root / "in", image_size=SHAPE, **changes)


def put(root: Path, files: dict[str, bytes]) -> None:
    """Write files into the class `Bird`."""
    for name, contents in files.items():
        (root / "in" / "Bird" / name).write_bytes(contents)


def stored(orientation: int) -> np.ndarray:
    """Return the scene as a camera stores it; EXIF 2.32 defines which sides row 0 and column 0 are."""
    upright, turned = scene(), scene().transpose(1, 0, 2)
    return {
        1: upright,  # the top, the left
        2: upright[:, ::-1],  # the top, the right
        3: upright[::-1, ::-1],  # the bottom, the right
        4: upright[::-1],  # the bottom, the left
        5: turned,  # the left, the top
        6: turned[::-1],  # the right, the top
        7: turned[::-1, ::-1],  # the right, the bottom
        8: turned[:, ::-1],  # the left, the bottom
    }[orientation]


def exif(orientation: int) -> Image.Exif:
    """Return the EXIF data of an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def inks() -> tuple[np.ndarray, np.ndarray]:
    """Return cyan, magenta, yellow and black, and the RGB color that they give."""
    black = np.full((HEIGHT, WIDTH, 1), 60, np.uint8)
    left = (255 - scene().astype(float)) * (255 - black) / 255
    return np.concatenate([scene(), black], axis=-1), left


def formats() -> dict[str, tuple[bytes, np.ndarray, float]]:
    """Return files of many formats, the expected pixels of each, and the tolerance in gray levels."""
    best = {"quality": 100, "subsampling": 0}
    cyan, left = inks()
    gray = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 42  # of 16 bits
    films = [Image.fromarray(scene() // part) for part in (1, 2, 4)]
    palette = films[0].quantize(200)
    film = {"save_all": True, "append_images": films[1:]}
    glass = np.concatenate([scene(), np.full((HEIGHT, WIDTH, 1), 51, np.uint8)], axis=-1)
    some = np.asarray(films[0].convert("1"))
    return {
        "cmyk.jpg": (encoded(Image.fromarray(cyan, "CMYK"), "JPEG", **best), left, 4),
        "gray16.png": (encoded(gray.astype(np.uint16), "PNG"), np.repeat(gray[..., None] / 257, 3, -1), 1),
        "rgb16.png": (sixteen_bits(scene().astype(np.uint16) * 257), scene(), 0),
        "one bit.png": (encoded(some, "PNG"), np.repeat(some[..., None] * 255, 3, -1), 0),
        "palette.png": (encoded(palette, "PNG"), np.asarray(palette.convert("RGB")), 0),
        "glass.webp": (encoded(glass, "WEBP", lossless=True, exact=True), 0.2 * scene() + 0.8 * 255, 1),
        "a gif.jpg": (encoded(palette, "GIF", **film), np.asarray(palette.convert("RGB")), 0),
        "film.webp": (encoded(films[0], "WEBP", lossless=True, **film), scene(), 0),
        "film.png": (encoded(films[0], "PNG", **film), scene(), 0),
        "two.jpg": (encoded(films[0], "MPO", **best, **film), scene(), 4),
        "a bmp.jpeg": (encoded(films[0], "BMP"), scene(), 0),
        "odd.jpg": (encoded(films[0], "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(9), **best), scene(), 4),
        "1x1.png": (encoded(np.uint8([[[9, 130, 250]]]), "PNG"), np.full((HEIGHT, WIDTH, 3), (9, 130, 250)), 0),
        **{f"turned {way}.png": (encoded(stored(way), "PNG", exif=exif(way)), scene(), 0) for way in range(1, 9)},
        **{os.fsdecode(name): (encoded(scene(), "PNG"), scene(), 0) for name in NAMES},
    }


def test_photographs_of_all_formats_and_names_are_prepared_correctly(root, counted):
    files = formats()
    put(root, {name: contents for name, (contents, _, _) in files.items()})
    result = prepare_separately(photographs(root), root / "out")
    assert_plain(result.output)
    assert problems(root / "out") == {} and result.growth < 150
    rows = read_images(root / "out")
    for name, row in zip(sorted(files), rows[rows["label"] == "Bird"].itertuples(), strict=True):
        _, expected, tolerance = files[name]
        found = np.asarray(Image.open(root / "out" / row.path)).astype(float)
        assert np.abs(found - expected).max() <= tolerance, (name, row.source)
    assert not list(root.rglob("owned"))
    counted(ROW, len(files))


def test_a_very_long_image_is_cropped_before_it_is_resized():
    ramp = np.linspace(0, 255, 20001).astype(np.uint8)
    for turned in (False, True):
        thin = Image.fromarray(np.repeat(ramp[None, :, None], 3, -1))
        found = np.asarray(resize_and_crop(thin.rotate(90, expand=True) if turned else thin, [20, 20])).astype(int)
        assert np.abs(found - 127).max() <= 1, "the center"
    for sides in ((64, 1), (1, 64), (640, 10)):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*sides, 3), np.uint8))
        height = 8 * sides[0] // min(sides)
        resized = noise.resize((8 * sides[1] // min(sides), height), Image.Resampling.BILINEAR)
        corner = (resized.width - 8) // 2, (resized.height - 8) // 2
        expected = np.asarray(resized.crop((*corner, corner[0] + 8, corner[1] + 8))).astype(int)
        assert np.abs(np.asarray(resize_and_crop(noise, 8)).astype(int) - expected).max() <= 1, (
            "a shorter image is not cropped before"
        )


def bombs() -> dict[str, bytes]:
    """Return small files that would exhaust the memory, and one that is only long."""
    row, jpeg = zlib_row(), encoded(scene(), "JPEG")
    texts = [chunk(b"zTXt", b"%d\0\0" % number + zeros(1_000_000)) for number in range(200)]
    return {
        "20000x20000.png": png((20_000, 20_000), 8, 0, zeros(20_001 * 20_000)),
        "one bit.png": png((20_000, 20_000), 1, 0, zeros(2501 * 20_000)),
        "claims.jpg": claiming(jpeg, 65_500, 65_500),
        "text.png": png((WIDTH, 1), 8, 0, row, chunk(b"zTXt", b"a\0\0" + zeros(1 << 30))),
        "texts.png": png((WIDTH, 1), 8, 0, row, *texts),
        "profile.png": png((WIDTH, 1), 8, 0, row, chunk(b"iCCP", b"a\0\0" + zeros(1 << 30))),
        "thin.png": png((1, 1_000_000), 8, 0, zeros(2 * 1_000_000)),
    }


def zlib_row() -> bytes:
    """Return one compressed row of black."""
    return zeros(WIDTH + 1)


def test_bombs_are_rejected_or_read_without_decompressing_them(root, counted):
    files = bombs()
    assert max(map(len, files.values())) < 2_000_000
    put(root, files)
    for number in (1, 2):
        put(root, {f"intact {number}.png": encoded(scene() // number, "PNG")})
    result = prepare_separately(photographs(root), root / "out")
    found = problems(root / "out")
    assert set(found) == {"20000x20000.png", "one bit.png", "claims.jpg"}, "texts and profiles are skipped"
    assert all(reason.startswith("more pixels than the limit of 89478485") for reason in found.values())
    assert result.growth < 200, "the smallest of them would have taken 400 MB"
    assert_plain(result.output)
    counted(ROW, len(files))


def no_photographs() -> dict[str, tuple[bytes, str]]:
    """Return files with the name of a photograph, and the start of the reason why they are not one."""
    files = {kind: encoded(scene(), kind) for kind in ("JPEG", "PNG", "WEBP", "EPS", "TIFF")}
    none, no = "not a readable image", "not an image: "
    return {
        "empty.jpg": (b"", "the file is empty"),
        "cut.jpg": (files["JPEG"][: len(files["JPEG"]) // 2], "Truncated File Read"),
        "cut late.jpg": (files["JPEG"][:-20], "image file is truncated"),
        "cut.png": (files["PNG"][: len(files["PNG"]) // 2], "image file is truncated"),
        "cut.webp": (files["WEBP"][: len(files["WEBP"]) // 2], "could not create decoder object"),
        "text.jpg": (b"This is not an image.\n", f"{no}text"),
        "page.png": (b"<html><body>404 Not Found</body></html>", f"{no}text"),
        "program.jpg": (b"#!/bin/sh\ntouch owned\n", f"{no}a program"),
        "postscript.jpg": (files["EPS"], f"{no}PostScript"),
        "film.jpg": (b"\0\0\0\x18ftypmp42" + bytes(99), f"{no}a video"),
        "raw.jpg": (files["TIFF"][:8] + b"CR" + files["TIFF"][10:], f"{no}a camera's raw file"),
        "cut.tiff": (files["TIFF"][:99], none),
        "magic only.png": (files["PNG"][:8], none),
        "zeros.jpg": (bytes(5000), none),
    }


def put_strange_files(folder: Path) -> dict[str, str]:
    """Create irregular files in a folder, and one far too large; return the start of each reason."""
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "round.jpg").symlink_to("about.jpg")
    (folder / "about.jpg").symlink_to("round.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    (folder / "up.jpg").symlink_to("..")
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    with socket.socket(socket.AF_UNIX) as plug:
        here = Path.cwd()
        os.chdir(folder)  # because the address of a socket must be short
        plug.bind("plug.png")
        os.chdir(here)
    nowhere = dict.fromkeys(["loop.jpg", "round.jpg", "about.jpg", "nowhere.jpg"], "a broken symbolic link")
    folders = dict.fromkeys(["folder.jpg", "up.jpg"], "a folder, not a file")
    devices = dict.fromkeys(["endless.jpg", "pipe.jpg", "plug.png"], "a pipe, a socket or a device, not a file")
    return nowhere | folders | devices | {"huge.jpg": f"{1 << 40} bytes exceed the limit of {image_files.LARGEST}"}


def test_files_that_are_not_photographs_are_listed_and_start_no_program(root, counted):
    files = no_photographs()
    put(root, {name: contents for name, (contents, _) in files.items()})
    expected = {name: reason for name, (_, reason) in files.items()} | put_strange_files(root / "in" / "Bird")
    for number in (1, 2):
        put(root, {f"intact {number}.png": encoded(scene() // number, "PNG")})
    ghostscript = root / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch '{root}/owned'\n")
    ghostscript.chmod(0o755)
    result = prepare_separately(photographs(root), root / "out", PATH=f"{ghostscript.parent}:{os.environ['PATH']}")
    found = problems(root / "out")
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert found[name].startswith(reason), (name, found[name])
    assert not (root / "owned").exists() and result.growth < 150
    assert_plain(result.output)
    counted(ROW, len(expected))


def test_an_endless_start_photograph_is_rejected(tmp_path, counted):
    expected = put_strange_files(tmp_path)
    for name, reason in expected.items():
        with pytest.raises(ValueError, match=f"^{reason}"):
            read_photograph(tmp_path / name)
    counted(ROW, len(expected))


def test_a_file_that_changes_between_listing_and_reading_is_listed(root, monkeypatch, counted, caplog):
    names = ["away.png", "folder.png", "pipe.png", "link.png", "1.png", "2.png"]
    put(root, {name: encoded(scene() // (1 + number), "PNG") for number, name in enumerate(names)})
    listed = preparing.list_photographs

    def damage(*arguments):
        found = listed(*arguments)
        for name in names[:4]:
            (root / "in" / "Bird" / name).unlink()
        (root / "in" / "Bird" / "folder.png").mkdir()
        os.mkfifo(root / "in" / "Bird" / "pipe.png")
        (root / "in" / "Bird" / "link.png").symlink_to("link.png")
        return found

    monkeypatch.setattr(preparing, "list_photographs", damage)
    dataset = photographs(root)
    prepare(dataset, list_labels(dataset), root / "out", root / "store")
    assert problems(root / "out") == {
        "away.png": "the file does not exist",
        "folder.png": "a folder, not a file",
        "pipe.png": "a pipe, a socket or a device, not a file",
        "link.png": "a broken symbolic link",
    }
    counted(ROW, 4)
