"""Pages of one file: templates with their style and script inside, and all that is put in escaped."""

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dreambirds.data.files import atomically

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["inline"] = lambda name: (TEMPLATES / name).read_text(encoding="utf-8")
    environment.filters["picture"] = data_uri
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment


def write_page(path: Path, template: str, **facts) -> None:
    """Write a page from a template in `templates/`, whole or not at all; text in `facts` is escaped."""
    page = _environment().get_template(template).render(**facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def data_uri(path: Path) -> str:
    """Return a PNG or GIF as a URI that holds it, so that a page needs no other file."""
    kind = Path(path).suffix.removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
