"""Recipes by name, each with its source; they lie in presets.yaml. Imports no torch."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from dreambirds.errors import StudyError, nearest
from dreambirds.study.schema import Section

FILE = Path(__file__).with_name("presets.yaml")


@dataclass(frozen=True)
class Preset:
    """A recipe of the field: where it comes from, where it differs from that, and its keys as a config has them."""

    source: str
    differs: str
    recipe: Section


@cache
def load_presets() -> dict[str, Preset]:
    """Return all presets by name, in the order of the file."""
    return {name: Preset(**preset) for name, preset in yaml.safe_load(FILE.read_text()).items()}


def preset(name: str) -> Preset:
    """Return a preset. Raises StudyError, with the nearest name, if there is none of this name."""
    if name not in load_presets():
        raise StudyError(f"unknown preset '{name}'; {nearest(name, load_presets())}")
    return load_presets()[name]
