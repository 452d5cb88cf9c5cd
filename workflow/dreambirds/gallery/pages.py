"""Rendering of HTML pages from templates, and the files that pages offer for download."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dreambirds.io import atomic_write

TEMPLATES = Path(__file__).parent / "templates"


def write_download(contents: Mapping[str, bytes], path: Path) -> None:
    """Write a script that calls the page's `receiveFiles` with the files' content in base64, by file name.

    Writes atomically.
    """
    texts = {name: base64.b64encode(content).decode() for name, content in contents.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(f"receiveFiles({json.dumps(texts)});\n", encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["inline"] = lambda name: (TEMPLATES / name).read_text(encoding="utf-8")
    environment.filters["data_uri"] = data_uri
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment


def write_page(path: Path, template: str, **facts) -> None:
    """Render a template in `templates/` with `facts`, whose text is escaped, and write the page atomically."""
    page = _environment().get_template(template).render(**facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_uri(path: Path) -> str:
    """Return a PNG or GIF as a data URI, so a page needs no other file."""
    return image_uri(path.read_bytes(), path.suffix.removeprefix("."))


def image_uri(content: bytes, image_type: str) -> str:
    """Return the content of an image file of a type, ``png`` or ``gif``, as a data URI."""
    return f"data:image/{image_type};base64,{base64.b64encode(content).decode()}"
