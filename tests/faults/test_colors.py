"""Photographs of any mode and color profile become the colors that a browser shows, in sRGB with 8 bits."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from dreambirds.data.colors import CONVERTED, IGNORED, color_note, to_eight_bits, to_rgb
from dreambirds.data.image_io import FIRST_FRAME, make_image, open_image, read_photograph
from tests.helpers.hostile import chunk, encoded, png, scene, zeros
from tests.helpers.profiles import HEIC, P3, SRGB, display_p3, inks, linear_gray, read_back, srgb

SIDES = (48, 32)


def decoded(values: np.ndarray) -> np.ndarray:
    """Return linear values of sRGB values from 0 to 255 (IEC 61966-2-1)."""
    values = values / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def coded(linear: np.ndarray) -> np.ndarray:
    """Return sRGB values from 0 to 255 of linear ones."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def read(file: BytesIO) -> np.ndarray:
    """Return the pixels (H, W, 3) of a photograph."""
    return np.asarray(read_photograph(file)).astype(float)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 2),
        ("TIFF", {}, 2),
        ("WEBP", {"lossless": True}, 2),
        ("JPEG", {"quality": 100, "subsampling": 0}, None),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, None),
    ],
)
def test_wide_colors_become_srgb_in_all_containers(kind, options, tolerance):
    expected = coded(decoded(scene()) @ P3.T @ np.linalg.inv(SRGB).T)
    assert np.abs(expected - scene()).max() > 15
    found = read(read_back(Image.fromarray(scene()), kind, icc_profile=display_p3(), **options))
    assert np.abs(found - expected).mean() < 1
    assert tolerance is None or np.abs(found - expected).max() <= tolerance


def test_srgb_profiles_and_unusable_ones_change_no_pixel():
    for profile, note in (
        (srgb(), ""),
        (b"", ""),
        (b"no profile", IGNORED),
        (srgb()[:300], IGNORED),
        (inks(INK), IGNORED),
    ):
        image = Image.fromarray(scene())
        image.info["icc_profile"] = profile
        assert np.array_equal(np.asarray(to_rgb(image)), scene()) and color_note(image) == note


INK = 100 - 20 * np.indices((2, 2, 2, 2)).sum(axis=0)  # L* of four equal inks


def test_inks_and_gray_values_are_converted_with_their_profiles():
    gray = Image.fromarray(scene()[..., 0])
    expected = coded(decoded(np.float64(0)) + scene()[..., 0] / 255)
    for kind, tolerance in (("PNG", 1), ("TIFF", 1)):
        found = read(read_back(gray, kind, icc_profile=linear_gray()))
        assert np.abs(found - expected[..., None]).max() <= tolerance
    cyan = Image.new("CMYK", SIDES, (255, 0, 0, 0))
    luminance = ((80 + 16) / 116) ** 3  # CIE 1976 of L* = 80
    for kind in ("TIFF", "JPEG"):
        found = read(read_back(cyan, kind, icc_profile=inks(INK)))
        assert np.abs(found - coded(np.float64(luminance))).max() <= 3
    cyan.info["icc_profile"] = srgb()
    assert color_note(cyan) == IGNORED and to_rgb(cyan).getpixel((0, 0)) == (0, 255, 255)


def test_the_gray_profile_counts_for_16_bits_and_with_transparency():
    values = np.full((8, 8), 128 * 257, np.uint16)
    expected = round(float(coded(np.float64(128 / 255))))
    file = read_back(Image.fromarray(values), "PNG", icc_profile=linear_gray())
    assert read_photograph(file).getpixel((0, 0)) == (expected,) * 3
    half = Image.new("LA", (8, 8), (128, 51))
    half.info["icc_profile"] = linear_gray()
    assert abs(to_rgb(half).getpixel((0, 0))[0] - (0.2 * expected + 0.8 * 255)) <= 1


def test_profiles_of_palettes_and_of_transparent_images_count():
    wide = coded(decoded(np.array([200.0, 40, 40])) @ P3.T @ np.linalg.inv(SRGB).T)
    for mode in ("P", "RGBA", "RGB"):
        image = Image.new("RGB", SIDES, (200, 40, 40))
        image = image.quantize(4) if mode == "P" else image.convert(mode)
        found = read(read_back(image, "PNG", icc_profile=display_p3()))
        assert np.abs(found - wide).max() <= 2, mode
    clear = Image.new("RGBA", SIDES, (200, 40, 40, 0))
    assert read(read_back(clear, "PNG", icc_profile=display_p3())).min() == 255, "white behind"


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_of_pillow_is_converted(mode):
    image = Image.new("RGB", SIDES, (255, 255, 255))
    straight = image.convert({"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode))
    image = straight if straight.mode == mode else straight.convert(mode)
    assert image.mode == mode and np.asarray(to_rgb(image)).min() >= 253


def test_lab_is_converted():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(scene()), *profiles, outputMode="LAB")
    assert np.abs(read(read_back(lab, "TIFF")) - scene()).max() <= 12, "8 bits of L*a*b* are coarse"


RAMP = np.linspace(0, 1, 64).reshape(8, 8)
DEEP = {  # values, and the gray levels that they become
    "16 bits": ((RAMP * 65535).astype(np.uint16), RAMP * 255),
    "dark 16 bits": ((RAMP * 255).astype(np.uint16), RAMP),
    "32 bits of 8": ((RAMP * 255).astype(np.int32), np.floor(RAMP * 255)),
    "32 bits of 16": ((RAMP * 65535).astype(np.int32), RAMP * 255),
    "32 bits": ((RAMP * 2e9).astype(np.int32), RAMP * 255),
    "negative": ((RAMP * 300 - 200).astype(np.int32), RAMP * 255),
    "one": (RAMP.astype(np.float32), RAMP * 255),
    "dark": ((RAMP / 4).astype(np.float32), RAMP * 255 / 4),
    "floats of 8 bits": ((RAMP * 255).astype(np.float32), RAMP * 255),
    "height": ((RAMP * 3000 - 400).astype(np.float32), RAMP * 255),
    "constant": (np.full((8, 8), 1e6, np.float32), np.zeros((8, 8))),
    "not finite": (np.where(RAMP == 0, np.nan, RAMP).astype(np.float32), np.where(RAMP == 0, RAMP[0, 1], RAMP) * 255),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_values_are_scaled_by_one_rule(name):
    values, expected = DEEP[name]
    found = read(read_back(Image.fromarray(values), "TIFF"))
    assert np.abs(found - expected[..., None]).max() <= 1.1
    big = Image.fromarray(values.astype(">u2")) if name == "16 bits" else Image.fromarray(values)
    assert np.abs(np.asarray(to_eight_bits(big)) - expected).max() <= 1.1


def test_16_bits_per_channel_lose_only_their_lower_8():
    rows = (scene().astype("<u2") * 257).tobytes()
    tags = {256: 48, 257: 32, 258: (16, 16, 16), 259: 1, 262: 2, 277: 3, 278: 32, 284: 1}
    assert np.array_equal(read(BytesIO(tiff(tags, rows))), scene())


def tiff(tags: dict[int, int | tuple[int, ...]], pixels: bytes) -> bytes:
    """Return an uncompressed TIFF with these tags and one strip."""
    tags = dict(sorted({**tags, 273: 8, 279: len(pixels)}.items()))
    entries, more, start = b"", b"", 8 + len(pixels) + 2 + 12 * len(tags) + 4
    for tag, value in tags.items():
        kind, count = (3, len(value)) if isinstance(value, tuple) else (4, 1)
        packed = np.array(value, "<u2" if kind == 3 else "<u4").tobytes()
        if len(packed) > 4:
            packed, more = np.uint32(start + len(more)).tobytes(), more + packed
        entries += np.array([tag, kind], "<u2").tobytes() + np.uint32(count).tobytes() + packed.ljust(4, b"\0")
    head = b"II*\0" + np.uint32(8 + len(pixels)).tobytes() + pixels
    return head + np.uint16(len(tags)).tobytes() + entries + bytes(4) + more


@pytest.mark.parametrize("tag", [{254: 1}, {50706: (1, 4)}])
def test_previews_of_raw_files_are_not_photographs(tag):
    tags = {256: 48, 257: 32, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: 32, 284: 1}
    assert np.array_equal(read(BytesIO(tiff(tags, scene().tobytes()))), scene())
    with pytest.raises(ValueError, match=r"^not an image: a camera's raw file$"):
        read(BytesIO(tiff(tags | tag, scene().tobytes())))


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"])
def test_photographs_of_all_containers_are_upright(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # row 0 is the right side, column 0 the top
    lying = Image.new("RGB", (64, 48), "blue")
    lying.paste("red", (0, 0, 8, 48))
    upright = read_photograph(read_back(lying, kind, exif=exif, quality=95, save_all=kind == "MPO"))
    assert upright.size == (48, 64)
    assert np.abs(np.subtract(upright.getpixel((24, 2)), (255, 0, 0))).max() < 60, "the top is red"


def test_heic_is_read():
    pytest.importorskip("pi_heif", reason="requirements.txt lists pi-heif")
    image = read_photograph(BytesIO(HEIC))
    assert image.size == (64, 48)
    assert np.abs(np.subtract(image.getpixel((8, 8)), (20, 200, 60))).max() < 8


def test_notes_name_frames_and_profiles():
    frames = [Image.fromarray(scene() // part) for part in (1, 2, 3)]
    film = {"save_all": True, "append_images": frames[1:]}
    for kind, options, note in (
        ("GIF", film, FIRST_FRAME),
        ("WEBP", film, FIRST_FRAME),
        ("TIFF", film, FIRST_FRAME),
        ("MPO", film, None),
        ("PNG", {}, None),
        ("PNG", {"icc_profile": display_p3()}, CONVERTED),
        ("PNG", {"icc_profile": b"broken"}, IGNORED),
    ):
        with open_decoded(read_back(frames[0], kind, **options)) as image:
            assert make_image(image, (16, 16), None, 0)[1].get("notes") == note, kind


def open_decoded(file: BytesIO):
    """Return the decoded image of a file, as `make_image` takes it."""
    from dreambirds.data.image_io import decode_image

    return decode_image(file)


def test_large_texts_of_a_png_are_no_reason_to_lose_it():
    picture = encoded(scene(), "PNG")
    head, tail = picture[:33], picture[33:]
    large = chunk(b"iTXt", b"workflow\0\1\0\0\0" + zeros(3_000_000))
    many = b"".join(chunk(b"zTXt", b"%d\0\0" % number + zeros(1_000_000)) for number in range(70))
    for texts in (large, many, chunk(b"tEXt", b"a\0" + bytes(2_000_000)), chunk(b"iCCP", b"a\0\0" + zeros(9_000_000))):
        assert np.array_equal(read(BytesIO(head + texts + tail)), scene())
    assert np.array_equal(read(BytesIO(picture[:-12] + large + picture[-12:])), scene()), "behind the pixels"
    with pytest.raises(ValueError, match="truncated"):
        read(BytesIO(head + large + tail[:-60]))


def test_no_other_decoder_is_used():
    for kind in ("TGA", "ICO", "PCX", "PDF", "EPS", "SGI", "ICNS"):
        with pytest.raises(ValueError, match=r"not a readable image|not an image: "):
            open_image(BytesIO(encoded(scene()[:16, :16], kind)))
    assert open_image(BytesIO(png((4, 4), 8, 0, zeros(20)))).format == "PNG"
