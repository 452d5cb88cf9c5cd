"""Every picture says where it comes from: JSON in a PNG's text or a GIF's comment."""

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dreambirds import __version__
from dreambirds.data.files import atomically

KEY = "dreambirds"
LIBRARIES = ("torch", "torchvision", "timm", "pillow")


@cache
def versions() -> dict[str, str]:
    """Return the versions of this project and of the libraries that decide pixels."""
    return {"dreambirds": __version__, **{library: version(library) for library in LIBRARIES}}


def as_text(facts: dict) -> str:
    """Return facts as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False)


def save_png(picture: Image.Image, path: Path, title: str, facts: dict) -> None:
    """Write a PNG with a title and its facts, making its folder first."""
    text = PngInfo()
    text.add_itxt("Title", title)
    text.add_itxt("Software", f"Dreaming of Birds {__version__}")
    text.add_itxt(KEY, as_text(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        picture.save(temporary, "PNG", pnginfo=text)


def read_facts(path: Path) -> dict:
    """Return the facts of a PNG or GIF that this project made. Raises KeyError or ValueError if it holds none."""
    with Image.open(path) as picture:
        picture.load()
        text = picture.text[KEY] if picture.format == "PNG" else picture.info["comment"].decode()
    return json.loads(text)
