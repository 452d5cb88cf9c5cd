"""A recipe is a preset and what overrides it; one whose values are lists is a grid, to be spread out into named recipes
of single values."""

import hashlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from dreambirds.errors import StudyError
from dreambirds.study.fitting import check_point, expand_folders
from dreambirds.study.presets import preset
from dreambirds.study.schema import Section, check, load_schema

MOST_RECIPES = 10_000
LONGEST_NAME = 120


def spread(name: str, recipe: Section) -> dict[str, Section]:
    """Return {name: parameters} for every combination of the recipe's lists, checked and with all defaults.

    `steps` is always a list of moments and spans no grid. Each point is named after the recipe and the values that
    vary. Raises StudyError where a value is not allowed, a value repeats, or the grid has over 10,000 points.
    """
    where = f"dreams.recipes.{name}"
    recipe = expand_folders(recipe)
    axes = _axes(recipe)
    _check_axes(axes, where)
    points: dict[str, Section] = {}
    named: dict[str, Section] = {}
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values, strict=True))
        point = _over_preset({**recipe, **varied}, where)
        check(point, "recipe", where)
        check_point(point, where)
        word = _shorten("-".join([name, *(f"{key}-{_word(key, value)}" for key, value in varied.items())]))
        if word in points:
            key = next(key for key in axes if varied[key] != named[word][key])
            raise StudyError(f"{where}.{key}: two values give recipes of the same name, '{word}'")
        points[word], named[word] = point, varied
    return points


def spread_all(recipes: dict[str, Section]) -> dict[str, Section]:
    """Spread out every recipe, in order. Raises StudyError also where two recipes are the same or share a name."""
    sizes = [math.prod(map(len, _axes(recipe).values())) for recipe in recipes.values()]
    if max(sizes) <= MOST_RECIPES:  # else the sentence is about one grid
        _check_count(sum(sizes))
    spread_out: dict[str, Section] = {}
    seen: dict[str, str] = {}
    for recipe_name, recipe in recipes.items():
        for name, point in spread(recipe_name, recipe).items():
            twin = seen.setdefault(repr(sorted(point.items())), name)
            if name in spread_out or twin != name:
                raise StudyError(f"dreams.recipes.{recipe_name}: '{name}' is the same recipe as '{twin}'")
            spread_out[name] = point
    _check_count(len(spread_out))
    return spread_out


def _axes(recipe: Section) -> dict[str, list[Any]]:
    return {key: values for key, values in recipe.items() if isinstance(values, list) and key != "steps"}


def _check_count(recipes: int) -> None:
    if recipes > MOST_RECIPES:
        raise StudyError(f"dreams.recipes: {recipes} recipes in all, at most {MOST_RECIPES} are allowed")


def _over_preset(point: Section, where: str) -> Section:
    """Return a point with what its preset says where it says nothing itself."""
    named = {"preset": point["preset"]} if "preset" in point else {}
    check(named, "recipe", where)
    return {**preset(named["preset"]).recipe, **point}


def _check_axes(axes: dict[str, list[Any]], where: str) -> None:
    size = math.prod(map(len, axes.values()))
    if size > MOST_RECIPES:
        raise StudyError(f"{where}: a grid of {size} recipes, at most {MOST_RECIPES} are allowed")
    for key, values in axes.items():
        if key not in load_schema("recipe")["properties"]:
            check({key: values}, "recipe", where)
        if not values:
            raise StudyError(f"{where}.{key}: must hold at least 1 value(s), not []")
        if any(value in values[:place] for place, value in enumerate(values)):
            raise StudyError(f"{where}.{key}: must not repeat a value, not {values}")


def _word(key: str, value: Any) -> str:
    """Return a value as it can stand in a file's name."""
    if isinstance(value, dict):
        return "-".join(f"{_plain(name)}-{_plain(inner)}" for name, inner in value.items())
    return _plain(Path(value).name if key == "start_path" and value is not None else value)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "-".join(map(_plain, value))
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in text)


def _shorten(name: str) -> str:
    """Return a name that a file system takes: a very long one ends in a digest, and recipes.csv tells what it means."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def recipe_table(recipes: dict[str, Section]) -> pd.DataFrame:
    """Return what each recipe's name means: a row a recipe, a column a parameter; lists and dicts are JSON."""
    rows = [{"recipe": name, **{key: _cell(value) for key, value in point.items()}} for name, point in recipes.items()]
    columns = ["recipe", *load_schema("recipe")["properties"]]
    return pd.DataFrame(rows, columns=columns)


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
