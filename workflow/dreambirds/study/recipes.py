"""A recipe whose values are lists is a grid: spread it out into named recipes of single values."""

import hashlib
import itertools
import json
import math
from pathlib import Path

import pandas as pd

from dreambirds.data.files import find_photographs, is_photograph
from dreambirds.errors import StudyError
from dreambirds.study.schema import check, load_schema

MOST_RECIPES = 10_000
LONGEST_NAME = 120


def spread(name: str, recipe: dict) -> dict[str, dict]:
    """Return {name: parameters} for every combination of the recipe's lists, checked and with all defaults.

    `steps` is always a list of moments and spans no grid. Each point is named after the recipe and the values that
    vary. Raises StudyError where a value is not allowed, a value repeats, or the grid has over 10,000 points.
    """
    where = f"dreams.recipes.{name}"
    axes = {key: values for key, values in recipe.items() if isinstance(values, list) and key != "steps"}
    _check_axes(axes, where)
    points = {}
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values, strict=True))
        point = {**recipe, **varied}
        check(point, "recipe", where)
        _check_point(point, where)
        word = _shorten("-".join([name, *(f"{key}-{_word(value)}" for key, value in varied.items())]))
        if word in points:
            raise StudyError(f"{where}: two values give recipes of the same name, '{word}'")
        points[word] = point
    return points


def spread_all(recipes: dict[str, dict]) -> dict[str, dict]:
    """Spread out every recipe, in order. Raises StudyError also where two recipes are the same or share a name."""
    spread_out: dict[str, dict] = {}
    seen: dict[str, str] = {}
    for recipe_name, recipe in recipes.items():
        for name, point in spread(recipe_name, recipe).items():
            twin = seen.setdefault(repr(sorted(point.items())), name)
            if name in spread_out or twin != name:
                raise StudyError(f"dreams.recipes.{recipe_name}: '{name}' is the same recipe as '{twin}'")
            spread_out[name] = point
    if len(spread_out) > MOST_RECIPES:
        raise StudyError(f"dreams.recipes: {len(spread_out)} recipes in all, at most {MOST_RECIPES} are allowed")
    return spread_out


def start_files(parameters: dict, recipe: str) -> list[Path]:
    """Return the photographs that a recipe's `start_path` names; none if it names nothing.

    Raises StudyError if it is neither a photograph nor a folder that holds some.
    """
    if parameters["start_path"] is None:
        return []
    path = Path(parameters["start_path"]).expanduser()
    found = find_photographs(path) if path.is_dir() else [path] if path.is_file() and is_photograph(path) else []
    if not found:
        where, named = f"dreams.recipes.{recipe}.start_path", parameters["start_path"]
        raise StudyError(f"{where}: '{named}' is no JPEG, PNG or WebP, nor a folder of them")
    return found


def _check_axes(axes: dict[str, list], where: str) -> None:
    for key, values in axes.items():
        if key not in load_schema("recipe")["properties"]:
            check({key: values}, "recipe", where)
        if not values:
            raise StudyError(f"{where}.{key}: must hold at least 1 value(s), not []")
        if any(value in values[:place] for place, value in enumerate(values)):
            raise StudyError(f"{where}.{key}: must not repeat a value, not {values}")
    size = math.prod(map(len, axes.values()))
    if size > MOST_RECIPES:
        raise StudyError(f"{where}: a grid of {size} recipes, at most {MOST_RECIPES} are allowed")


def _check_point(point: dict, where: str) -> None:
    if point["steps"] != sorted(point["steps"]):
        raise StudyError(f"{where}.steps: must be ascending, not {point['steps']}")
    if point["start_path"] is not None and point["start"] != "photograph":
        raise StudyError(f"{where}.start_path: is only used with 'start: photograph', not 'start: {point['start']}'")


def _word(value: object) -> str:
    """Return a value as it can stand in a file's name."""
    if isinstance(value, dict) and "random" in value:
        return "random-" + "-".join(map(_word, value["random"]))
    if isinstance(value, dict):
        return f"from-{_word(value['from'])}-to-{_word(value['to'])}-over-{value['over']}"
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in text)


def _shorten(name: str) -> str:
    """Return a name that a file system takes: a very long one ends in a digest, and recipes.csv tells what it means."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_recipes(recipes: dict[str, dict], path: Path) -> None:
    """Write the table that tells what each recipe's name means: a row a recipe, a column a parameter."""
    rows = [{"recipe": name, **{key: _cell(value) for key, value in point.items()}} for name, point in recipes.items()]
    columns = ["recipe", *load_schema("recipe")["properties"]]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
