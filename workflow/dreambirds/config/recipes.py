"""Recipes: presets, grids, and checks across keys."""

import hashlib
import itertools
import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dreambirds.config.dreamers import RESTRICTIONS, Epochs, list_dreamers, overlap, parameter_names
from dreambirds.config.load import Section, check, check_path_characters, dreamer_defaults, load_schema
from dreambirds.data.image_files import find_photographs, is_photograph
from dreambirds.dreaming.objectives import needs_photographs, parse
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.errors import UserError, did_you_mean, error_context
from dreambirds.io import expand, is_file
from dreambirds.shapes import in_proportion, shape_of

FILE = Path(__file__).with_name("presets.yaml")
SMALLEST_SIDE = 16
_PIXELS_ONLY = {"blur_sigma": 0, "gradient_blur_sigma": 0, "octaves": 1, "zoom": 1}
FLAT_STARTS = ("gray", "color")
MOST_RECIPES = 10_000
LONGEST_NAME = 120
NO_GRID = ("steps", *RESTRICTIONS)  # whose lists are values


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
    """Return a preset. Raises UserError, with the nearest name, if there is none of this name."""
    if name not in load_presets():
        raise UserError(f"unknown preset '{name}'; {did_you_mean(name, load_presets())}")
    return load_presets()[name]


def expand_folders(recipe: Section) -> Section:
    """Return the recipe with every folder of `start_path` as the list of its photographs, each a recipe of its own."""
    named = recipe.get("start_path")
    paths = named if isinstance(named, list) else [named]
    each = [file for path in paths for file in (_photographs(path) if isinstance(path, str) else [path])]
    return recipe if each == paths else {**recipe, "start_path": each}


def _photographs(path: str) -> list[str]:
    try:
        return [str(file) for file in find_photographs(expand(path))] or [path]
    except (OSError, ValueError):  # it is a file, or nothing that can be looked into
        return [path]


def start_file(parameters: Section, recipe: str) -> Path | None:
    """Return the photograph that a recipe's `start_path` names, None if it names nothing.

    Raises UserError if it is no photograph.
    """
    if parameters["start_path"] is None:
        return None
    path = expand(parameters["start_path"])
    check_path_characters(path, f"dreams.recipes.{recipe}.start_path")
    if not is_file(path) or not is_photograph(path):
        where, named = f"dreams.recipes.{recipe}.start_path", parameters["start_path"]
        raise UserError(f"{where}: '{named}' is no JPEG, PNG or WebP, nor a folder of them")
    return path


def check_point(point: Section, where: str) -> None:
    """Raise UserError unless the keys of one recipe, checked against its schema, fit each other."""
    with error_context(f"{where}.objective"):
        parse(point["objective"])
    for key, wrong in _misfits(point).items():
        if wrong:
            raise UserError(f"{where}.{key}: {wrong}")
    for key, value in point.items():
        low, high = value["random"] if isinstance(value, dict) and "random" in value else (0, 0)
        if low > high:
            raise UserError(f"{where}.{key}: must go from the lower to the higher, not {value['random']}")


def _misfits(point: Section) -> dict[str, str | None]:
    steps, image, start = point["steps"], f"parameterization: {point['parameterization']}", f"start: {point['start']}"
    optimizer, pixels = f"optimizer: {point['optimizer']}", point["parameterization"] == "pixels"
    adaptive = point["optimizer"] != "ascent"
    grown = (point["octaves"] - 1) * point["octave_steps"]
    compares = needs_photographs(point["objective"])
    return {
        "steps": f"must be ascending, not {steps}" if steps != sorted(steps) else None,
        "octaves": f"need more than {grown} steps to reach the last, not {steps[-1]}" if steps[-1] <= grown else None,
        "start_path": _only(
            point["start_path"] is not None and point["start"] != "photograph", "start: photograph", start
        ),
        "momentum": _only(point["momentum"] and adaptive, "optimizer: ascent", optimizer),
        "weight_decay": _only(point["weight_decay"] and not adaptive, "optimizer: adam, adamw or nadam", optimizer),
        "start": f"'{point['start']}' has no phases for 'parameterization: maco' to change; take noise or a photograph"
        if point["parameterization"] == "maco" and point["start"] in FLAT_STARTS
        else None,
        "tile": f"shows tiles of the whole picture, it can't go with '{_crops(point)}'"
        if point["tile"] and _crops(point)
        else None,
        "crops": "can't go with 'crop_area'; choose one" if point["crops"] and point["crop_area"] is not None else None,
        "whole_views": _only(point["whole_views"] and point["crop_area"] is None, "crop_area", "crop_area: null"),
        "pyramid_steps": _only(
            point["pyramid_steps"] and point["parameterization"] != "pyramid", "parameterization: pyramid", image
        ),
        "objective": _unmatchable(point) if compares else None,
        **{
            key: _only(not compares and point[key] != least, "objective: feature_match", f"{point['objective']}")
            for key, least in dreamer_defaults().items()
            if key.startswith("match_")
        },
        **{
            key: _only(point[key] != least and not pixels, "parameterization: pixels", image)
            for key, least in _PIXELS_ONLY.items()
        },
    }


def _crops(point: Section) -> str:
    """Return the key by which a recipe shows crops, or nothing."""
    return "crops" if point["crops"] else "crop_area" if point["crop_area"] is not None else ""


def _unmatchable(point: Section) -> str | None:
    """Return why what a recipe shows can't be compared with photographs, None if it can."""
    neutral = {"tile": None, "crops": 0, "octaves": 1, "pad": 0}
    key = next((key for key, value in neutral.items() if point[key] != value), None)
    return f"feature_match compares views of one size with photographs, so it can't go with '{key}'" if key else None


def _only(misused: bool, with_what: str, given: str) -> str | None:
    return f"is only used with '{with_what}', not '{given}'" if misused else None


def dream_shape(point: Section, dataset: Section) -> tuple[int, int]:
    """Return (height, width) of a recipe's dreams in pixels: those of the data set's pictures, or, where the recipe has
    a `size`, in their proportions with that as the shorter side."""
    shape = shape_of(dataset["image_size"])
    return in_proportion(shape, point["size"] or min(shape))


def check_sizes(point: Section, shape: tuple[int, int], where: str) -> None:
    """Raise UserError where a recipe's lengths do not fit pictures of (height, width), of which the shorter side
    counts."""
    side = min(shape)
    smallest = round(side / point["octave_scale"] ** (point["octaves"] - 1))
    if smallest < SMALLEST_SIDE:
        raise UserError(
            f"{where}.octaves: the first of {point['octaves']} would be {smallest} pixels wide or high; it must "
            f"have at least {SMALLEST_SIDE}"
        )
    jitter = round(point["jitter"] * side / (point["reference_size"] or side))
    if jitter >= smallest:
        raise UserError(f"{where}.jitter: must be below the picture's side, {smallest}, not {jitter}")


def expand_grid(name: str, recipe: Section) -> dict[str, Section]:
    """Return {name: parameters} for every combination of the recipe's lists, checked and with all defaults.

    `steps` is always a list of moments and spans no grid; nor do `runs` and `epochs`, which are checked and are no
    parameters. Each point is named after the recipe and the values that vary. Raises UserError where a value is not
    allowed, a value repeats, or the grid has over 10,000 points.
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
            raise UserError(f"{where}.{key}: two values give recipes of the same name, '{word}'")
        points[word] = {key: value for key, value in point.items() if key not in RESTRICTIONS}
        named[word] = varied
    return points


def expand_recipes(
    recipes: dict[str, Section], runs: dict[str, Section]
) -> tuple[dict[str, Section], dict[str, dict[str, Epochs]]]:
    """Spread out every recipe, in order; return the parameters of each, and the epochs of each run that dream it.

    Raises UserError also where two recipes share a name, or where a checkpoint would dream the same under two names.
    """
    sizes = [math.prod(map(len, _axes(recipe).values())) for recipe in recipes.values()]
    if max(sizes) <= MOST_RECIPES:  # else the sentence is about one grid
        _check_count(sum(sizes))
    spread_out: dict[str, Section] = {}
    dreamers: dict[str, dict[str, Epochs]] = {}
    seen: dict[str, list[str]] = {}
    for recipe_name, recipe in recipes.items():
        where = f"dreams.recipes.{recipe_name}"
        points = expand_grid(recipe_name, recipe)
        dreaming = list_dreamers(recipe, runs, where)
        for name, point in points.items():
            twins = seen.setdefault(repr(sorted(point.items())), [])
            for twin in twins:
                if overlap(dreaming, dreamers[twin]):
                    raise UserError(f"{where}: '{name}' is the same recipe as '{twin}'")
            if name in spread_out:
                raise UserError(f"{where}: another recipe's grid has one of the name '{name}' too; call it otherwise")
            twins.append(name)
            spread_out[name], dreamers[name] = point, dreaming
    _check_count(len(spread_out))
    return spread_out, dreamers


def _axes(recipe: Section) -> dict[str, list[Any]]:
    return {key: values for key, values in recipe.items() if isinstance(values, list) and key not in NO_GRID}


def _check_count(recipes: int) -> None:
    if recipes > MOST_RECIPES:
        raise UserError(f"dreams.recipes: {recipes} recipes in all, at most {MOST_RECIPES} are allowed")


def _over_preset(point: Section, where: str) -> Section:
    """Return a point with what its preset says where it says nothing itself."""
    named = {"preset": point["preset"]} if "preset" in point else {}
    check(named, "recipe", where)
    return {**preset(named["preset"]).recipe, **point}


def _check_axes(axes: dict[str, list[Any]], where: str) -> None:
    size = math.prod(map(len, axes.values()))
    if size > MOST_RECIPES:
        raise UserError(f"{where}: a grid of {size} recipes, at most {MOST_RECIPES} are allowed")
    for key, values in axes.items():
        if key not in load_schema("recipe")["properties"]:
            check({key: values}, "recipe", where)
        if not values:
            raise UserError(f"{where}.{key}: must hold at least 1 value(s), not []")
        if any(value in values[:place] for place, value in enumerate(values)):
            raise UserError(f"{where}.{key}: must not repeat a value, not {values}")


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
    return pd.DataFrame(rows, columns=["recipe", *parameter_names()])


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def list_presets(side: int = 64) -> dict[str, Recipe]:
    """Return the recipes of all presets by name, for images whose shorter side has `side` pixels.

    A recipe has no start, seed or size: pass start images and random streams to `dream`.
    """
    recipes = {}
    for name in load_presets():
        (parameters,) = expand_grid(name, {"preset": name}).values()
        recipes[name] = as_recipe(parameters, side)
    return recipes
