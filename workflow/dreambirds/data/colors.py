"""Convert a decoded image of any mode and color space to sRGB with 8 bits per channel."""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # levels of 255; a profile that changes no color by more is sRGB
CONVERTED = "converted from the embedded color profile to sRGB"
IGNORED = "the embedded color profile is ignored, because it is broken or of another mode"
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # the mode of a profile's color space
INTENT = ImageCms.Intent.PERCEPTUAL  # as browsers do; of cameras' and screens' profiles, all intents are the same
DEEP = ("I", "F")  # first characters of modes with more than 8 bits


@dataclass(frozen=True)
class Conversion:
    """What a color profile does to images of the mode that it is for.

    `transform` is None if it does nothing: it is sRGB, or unusable as `note` says then.
    """

    mode: str = ""
    transform: ImageCms.ImageCmsTransform | None = None
    note: str = ""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode in sRGB, with its color profile applied and transparency on a white background.

    Deeper values become 8 bits as `to_eight_bits` describes.
    """
    deep = image.mode[:1] in DEEP
    visible = None if deep or not image.has_transparency_data else _with_alpha(image).getchannel("A")
    profile = image.info.get("icc_profile")
    colors = to_eight_bits(image) if deep else _without_alpha(image)
    conversion = Conversion()
    if colors.mode == "LAB":
        conversion = Conversion("LAB", _lab())
    elif profile:
        conversion = conversion_of(profile, colors.mode)
    if conversion.transform is not None:
        colors = conversion.transform.apply(colors.convert(conversion.mode))
    colors = colors.convert("RGB")
    return colors if visible is None else Image.composite(colors, Image.new("RGB", colors.size, "white"), visible)


def color_note(image: Image.Image) -> str:
    """Return `CONVERTED`, `IGNORED`, or '' for an image whose color profile is sRGB or missing."""
    profile = image.info.get("icc_profile")
    gray = image.mode in ("1", "L", "LA", "La") or image.mode[:1] in DEEP
    mode = "L" if gray else image.mode if image.mode in ("CMYK", "LAB") else "RGB"
    return conversion_of(profile, mode).note if profile and mode != "LAB" else ""


@lru_cache(maxsize=64)
def conversion_of(profile: bytes, mode: str) -> Conversion:
    """Return the conversion of images of a mode, L, RGB or CMYK, from a color profile to sRGB.

    Gray images may have a profile of RGB. A broken profile, or one of another mode, is ignored.
    """
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        own = SPACES.get(opened.profile.xcolor_space.strip(), "")
        if own != mode and (own, mode) != ("RGB", "L"):
            return Conversion(note=IGNORED)
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), own, "RGB", INTENT)
        probe = _probe(own)
        after = transform.apply(probe)
    except Exception:  # lcms refuses damaged profiles in many ways
        return Conversion(note=IGNORED)
    if own != "CMYK":
        change = np.asarray(after, dtype=int) - np.asarray(probe.convert("RGB"))
        if np.abs(change).max() <= SAME:
            return Conversion()
    return Conversion(own, transform, CONVERTED)


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a gray image of more than 8 bits in mode L.

    16-bit values are divided by 257. Integers of 32 bits are kept if they fit into 8 bits, and divided by 257 if they
    fit into 16. Floats from 0 to 1 are multiplied by 255, and those up to 255 are kept. All other values are stretched
    from their least to their greatest, and what is not finite becomes 0.
    """
    values = np.asarray(image)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    start, factor = 0.0, 1.0
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        factor = 1 / 257
    elif image.mode == "F" and low >= 0 and high <= 1:
        factor = 255.0
    elif low < 0 or high > 255:
        start, factor = low, 255 / (high - low) if high > low else 0.0
    scaled = (np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low) - start) * factor
    return _like(image, np.rint(scaled).clip(0, 255).astype(np.uint8))


def _like(image: Image.Image, values: np.ndarray) -> Image.Image:
    made = Image.fromarray(values)
    made.info = image.info
    return made


def _with_alpha(image: Image.Image) -> Image.Image:
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # colors that are multiplied by the opacity
    return (image.convert(straight) if straight else image).convert("RGBA")


def _without_alpha(image: Image.Image) -> Image.Image:
    """Return the colors of an image, as L, RGB, CMYK or LAB."""
    if image.mode in ("CMYK", "LAB", "L", "RGB"):
        return image
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.has_transparency_data:
        return _with_alpha(image).convert("L" if image.mode == "La" else "RGB")
    return image.convert("RGB")


def _probe(mode: str) -> Image.Image:
    """Return an image of many colors of a mode, or of all gray values."""
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(64, 64, 3)
    return Image.fromarray(grid) if mode == "RGB" else Image.fromarray(grid).convert(mode)


@lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB", INTENT)
