"""Write values and comments of a new config as YAML, on one line each."""

import math
import re
from pathlib import Path

import yaml

from dreambirds.data.names import escaped, transliterated

COLUMN = 32  # where comments behind a value begin
LONGEST = 60  # characters of a study's or run's name
GENERAL = {"", "train", "training", "images", "photographs", "photos", "data", "dataset", "out", "checkpoints", "runs"}


def yaml_text(value: object) -> str:
    """Return a value on one line of YAML: a value, an item of a list, or a key, if it is text or a number."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{yaml_text(key)}: {yaml_text(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(yaml_text, value))}]"
    style = '"' if isinstance(value, str) and not value.isprintable() else None  # escapes line breaks
    dumped = yaml.safe_dump(
        [value], default_flow_style=True, default_style=style, allow_unicode=not style, width=math.inf
    )
    return dumped.strip()[1:-1]


def comment(text: str, indent: int = 0) -> str:
    """Return a line with a comment, from which no line break can escape."""
    return f"{' ' * indent}# {escaped(text)}"


def entry(key: object, value: object, about: str = "", indent: int = 0) -> str:
    """Return a line with a key, its value, and a comment unless `about` is empty."""
    line = f"{' ' * indent}{yaml_text(key)}: {yaml_text(value)}"
    return f"{line:<{COLUMN}} {comment(about)}" if about else line


def suggestion(key: object, value: object, about: str, indent: int = 0) -> str:
    """Return a line with a key that is commented out; without the first ``#`` it is an `entry`."""
    return f"{' ' * indent}# {entry(key, value, about)}"


def safe_name(path: Path, default: str) -> str:
    """Return a name for a study or a run, made from that of a folder; from the one above if the folder's is general."""
    full = path.resolve()
    for part in (full.name, full.parent.name):
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", transliterated(part)).strip("_-")[:LONGEST]
        if name.casefold() not in GENERAL:
            return name
    return default


def new_study(path: Path, default: str) -> str:
    """Return the name of a study for a folder, other than those that have results."""
    name = first = safe_name(path, default)
    number = 2
    while Path("results", name).exists():
        name, number = f"{first}_{number}", number + 1
    return name
