"""Open a photograph: decode, rotate, crop and resize it."""

import errno
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.colors import color_note, to_rgb
from dreambirds.data.image_files import open_file
from dreambirds.data.image_kinds import HEAD, PICTURES, RAW, kind_of
from dreambirds.shapes import shape_of

ROTATED = (5, 6, 7, 8)  # the EXIF orientations that swap height and width

Box = tuple[float, float, float, float]
Shape = tuple[int, int]
LONGEST = 64  # times the requested size; only the center of a longer image is resized
REASON = 200  # characters of a decoder's error message
PREVIEW, DNG = 254, 50706  # TIFF tags: the kind of a page, and the version of Adobe's raw format
NOT_IMAGE = "not an image: "
TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # PNG chunks
FRAMES, FIRST_FRAME = "frames", "only the first of several frames or pages is used"  # key of `info`, and a note
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def make_image(image: Image.Image, shape: Shape, box: Box | None, margin: float) -> tuple[Image.Image, dict]:
    """Return a stored photograph as RGB of (height, width), and its metadata.

    `box` is x, y, width, height in pixels of the stored photograph, before its EXIF orientation is applied. The full
    photograph is used if `box` is None or does not overlap it. The metadata are the upright `size`, the `region` used,
    ``box`` or ``full``, and further facts as `notes`, separated by semicolons, if anything.
    """
    rotated = image.getexif().get(ExifTags.Base.Orientation) in ROTATED
    width, height = image.size[::-1] if rotated else image.size
    frame = box and frame_box(box, image.size, margin, shape[::-1] if rotated else shape)
    upright = apply_exif(image.crop(frame) if frame else image)
    facts = {"size": f"{width}x{height}", "region": "box" if frame else "full"}
    notes = [color_note(image), FIRST_FRAME if image.info.get(FRAMES, 1) > 1 else ""]
    return resize_and_crop(upright, shape), facts | ({"notes": "; ".join(filter(None, notes))} if any(notes) else {})


def frame_box(box: Box, size: tuple[int, int], margin: float, shape: Shape) -> tuple[int, int, int, int] | None:
    """Return the crop (left, top, right, bottom) for a box; None if it has no overlap.

    `size` is the image's (width, height). The crop is the smallest frame in the proportions of `shape` (height, width)
    that contains the box with `margin` times its sides added all around: for squares, a square of
    max(w, h) * (1 + 2 * margin). It is shifted to lie inside the image, and shrunk only if the image is smaller.
    """
    x, y, width, height = box
    inside = min(x + width, size[0]) - max(x, 0), min(y + height, size[1]) - max(y, 0)
    if not all(map(math.isfinite, box)) or min(width, height, *inside) <= 0:
        return None
    proportion, wider = shape[1] / shape[0], 1 + 2 * margin
    tall = max(height * wider, width * wider / proportion)
    tall = min(tall, size[1], size[0] / proportion)
    sides = [max(1, min(round(side), most)) for side, most in zip((tall * proportion, tall), size, strict=True)]
    middle = x + width / 2, y + height / 2
    left, top = (
        min(max(round(center - side / 2), 0), most - side)
        for center, side, most in zip(middle, sides, size, strict=True)
    )
    return left, top, left + sides[0], top + sides[1]


def widen(image: Image.Image, shape: Shape) -> Image.Image:
    """Pad an image to (height, width), at least its own size, by repeating its edges."""
    (high, across), (width, height) = shape, image.size
    top, left = (high - height) // 2, (across - width) // 2
    frame = ((top, high - height - top), (left, across - width - left), (0, 0))
    return Image.fromarray(np.pad(np.asarray(image), frame, mode="edge"))


class UnreadableError(ValueError):
    """A photograph that cannot be read; its message is the reason."""


def read_photograph(source: Path | BinaryIO, name: str = "") -> Image.Image:
    """Return an upright RGB image, with transparency on a white background.

    `source` is a path or an open file, which stays open; `name` replaces an open file in errors. Raises
    UnreadableError, a ValueError, with the reason.
    """
    with decoding_errors(name):
        opened = open_file(source) if isinstance(source, Path) else nullcontext(source)
        with opened as file, decode_image(file) as image:
            return apply_exif(image)


@contextmanager
def decoding_errors(name: str = "") -> Iterator[None]:
    """Turn any exception into an UnreadableError: decoders fail in many ways.

    `name` replaces an open file in a decoder's message.
    """
    try:
        yield
    except Exception as error:
        raise UnreadableError(_reason(error, name)) from error


@contextmanager
def decode_image(file: BinaryIO) -> Iterator[Image.Image]:
    """Decode an open file from its beginning, without applying its EXIF orientation and its color profile.

    Its content determines the format, and its first frame is used. The image is valid within the block only.
    """
    with _load(file) as image:
        yield image


def open_image(file: BinaryIO) -> Image.Image:
    """Open a file of one of the formats `PICTURES` from its beginning, without decoding it. Raises ValueError."""
    file.seek(0)
    head = file.read(HEAD)
    if not head:
        raise ValueError("the file is empty")
    kind = kind_of(head)
    if kind not in PICTURES:
        raise ValueError(f"{NOT_IMAGE}{kind}" if kind else "not a readable image")
    if kind == "HEIF":
        _register_heif()
    file.seek(0)
    image = Image.open(file, formats=(kind,))
    tags = getattr(image, "tag_v2", {})
    if tags.get(PREVIEW, 0) & 1 or DNG in tags:
        raise ValueError(f"{NOT_IMAGE}{RAW}")
    # checked here because Pillow only warns, and warning filters are not per thread
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width}x{image.height} pixels exceed the limit of {limit}")
    return image


def _load(file: BinaryIO) -> Image.Image:
    """Return a decoded image; a PNG whose texts exceed Pillow's limits is read without them."""
    for skipped in ((), TEXTS, (*TEXTS, b"iCCP")):
        try:
            image = open_image(_without_chunks(file, skipped) if skipped else file)
            frames = _count_frames(image)
            image.load()
            image.info[FRAMES] = frames
            return image
        except ValueError as error:
            if "MAX_TEXT" not in str(error):
                raise
    raise ValueError("the text in the file exceeds Pillow's limit")


def _without_chunks(file: BinaryIO, skipped: tuple[bytes, ...]) -> BinaryIO:
    """Return a PNG without chunks of some kinds."""
    file.seek(0)
    kept = BytesIO()
    kept.write(file.read(8))
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big") + 4  # with the checksum
        if head[4:] in skipped:
            file.seek(length, 1)
        else:
            kept.write(head + file.read(length))
    return kept


def _count_frames(image: Image.Image) -> int:
    """Return how many frames or pages a file has; 1 if its further images are parts of the first one, as in MPO."""
    if image.format in ("MPO", "HEIF"):
        return 1
    with suppress(Exception):  # a damaged frame is not used
        return getattr(image, "n_frames", 1)
    return 1


def _register_heif() -> None:
    try:
        from pi_heif import register_heif_opener
    except ImportError as error:
        raise ValueError(
            "HEIC needs the library pi-heif; run `pip install pi-heif`, or convert the file to JPEG"
        ) from error
    register_heif_opener(thumbnails=False)


def apply_exif(image: Image.Image) -> Image.Image:
    """Return a stored image in sRGB, rotated according to its EXIF orientation."""
    return to_rgb(ImageOps.exif_transpose(image))


def resize_and_crop(image: Image.Image, size: int | list[int] | tuple[int, int]) -> Image.Image:
    """Resize an image to the smallest that covers `size`, and crop its center.

    `size` is the side of a square in pixels, or height and width.
    """
    height, width = shape_of(size)
    if image.size == (width, height):
        return image
    image = _crop_excess(image, height, width)
    if image.width * height > image.height * width:
        covering = [height, height * image.width // image.height]
    else:
        covering = [width * image.height // image.width, width]
    return v2.center_crop(v2.resize(image, covering, antialias=True), [height, width])


def _crop_excess(image: Image.Image, height: int, width: int) -> Image.Image:
    """Return the center of a very long image, so that not all of it is resized."""
    across = min(image.width, max(1, LONGEST * image.height * width // height))
    down = min(image.height, max(1, LONGEST * image.width * height // width))
    if (across, down) == image.size:
        return image
    left, top = (image.width - across) // 2, (image.height - down) // 2
    return image.crop((left, top, left + across, top + down))


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Return an RGB image as uint8 (3, H, W)."""
    return v2.pil_to_tensor(image)


def short_reason(reason: str) -> str:
    """Return the kind of a reason why a photograph cannot be read, by which these are counted."""
    if reason.startswith(NOT_IMAGE):
        return re.sub("^an? ", "", reason.removeprefix(NOT_IMAGE).partition(";")[0])
    shorter = {"truncated": "truncated", "pixels": "too large", "bytes exceed": "too large", "heic": "HEIC"}
    known = {
        "the file is empty": "empty",
        "the file does not exist": "missing",
        "a broken symbolic link": "broken link",
    }
    found = next((kind for part, kind in shorter.items() if part in reason.lower()), "unreadable")
    return known.get(reason, found)


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a readable image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {Image.MAX_IMAGE_PIXELS}"
    if isinstance(error, ValueError) and "MAX_TEXT" in str(error):
        return "the text in the file exceeds Pillow's limit"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if isinstance(error, OSError) and error.filename and error.errno in GONE:
        return "a broken symbolic link" if Path(error.filename).is_symlink() else "the file does not exist"
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if name:
        message = re.sub(r"<[\w.]+ (object at|name=)[^>]*>", lambda _: repr(name), message)
    return shorten(message, REASON, placeholder=" …") or type(error).__name__
