"""Recipes: presets, grids, and checks that involve several keys."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dreambirds.config.dreamers import RESTRICTIONS, Epochs, list_dreamers, overlap, parameter_names
from dreambirds.config.grids import MAX_POINTS, Point, check_count, check_names, list_points
from dreambirds.config.load import Section, check, check_path_characters, dreamer_defaults, load_schema
from dreambirds.config.resolved import fill_recipe
from dreambirds.config.variants import variant_problems
from dreambirds.data.image_files import find_photographs, is_photograph
from dreambirds.dreaming.objectives import needs_photographs, parse
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.errors import UserError, did_you_mean, error_context, in_yaml
from dreambirds.io import expand, file_problem, is_file, read_yaml
from dreambirds.shapes import in_proportion, shape_of

FILE = Path(__file__).with_name("presets.yaml")
MIN_SIDE = 16
PIXELS_NEUTRAL = {"blur_sigma": 0, "gradient_blur_sigma": 0, "octaves": 1, "zoom": 1}  # keys that need `pixels`
FLAT_STARTS = ("gray", "color")
NO_GRID = ("steps", "committee", *RESTRICTIONS)  # keys whose lists are single values


@dataclass(frozen=True)
class Preset:
    """A preset: its source, the differences from it, and its keys as in a config."""

    source: str
    differs: str
    recipe: Section


@cache
def load_presets() -> dict[str, Preset]:
    """Return all presets by name, in the order of the file."""
    return {name: Preset(**preset) for name, preset in read_yaml(FILE).items()}


def preset(name: str) -> Preset:
    """Return a preset. Raises UserError, with the closest name, if it is unknown."""
    if name not in load_presets():
        raise UserError(f"unknown preset '{name}'; {did_you_mean(name, load_presets())}")
    return load_presets()[name]


def expand_folders(recipe: Section) -> Section:
    """Return the recipe with each folder in `start_path` replaced by its photographs.

    The result is a list, so each photograph becomes a separate recipe.
    """
    given = recipe.get("start_path")
    paths = given if isinstance(given, list) else [given]
    files = [file for path in paths for file in (_photographs(path) if isinstance(path, str) else [path])]
    return recipe if files == paths else {**recipe, "start_path": files}


def _photographs(path: str) -> list[str]:
    try:
        return [str(file) for file in find_photographs(expand(path))] or [path]
    except (OSError, ValueError):  # a file, or a folder that cannot be read
        return [path]


def start_file(parameters: Section, recipe: str) -> Path | None:
    """Return the path of a recipe's start photograph, or None.

    Raises UserError if it is not a photograph.
    """
    if parameters["start_path"] is None:
        return None
    path, where = expand(parameters["start_path"]), f"dreams.recipes.{recipe}.start_path"
    check_path_characters(path, where)
    if not is_file(path) or not is_photograph(path):
        problem = file_problem(path, "is neither a photograph, such as a JPEG, PNG or WebP file, nor a folder of them")
        raise UserError(f"{where}: '{parameters['start_path']}' {problem}; correct the path")
    return path


def check_point(point: Section, where: str) -> None:
    """Raise UserError unless the keys of a recipe that fits the schema are compatible."""
    with error_context(f"{where}.objective"):
        parse(point["objective"])
    for key, problem in _find_problems(point).items():
        if problem:
            raise UserError(f"{where}.{key}: {problem}")
    for key, value in point.items():
        low, high = value["random"] if isinstance(value, dict) and "random" in value else (0, 0)
        if low > high:
            raise UserError(f"{where}.{key}: must be {{random: [low, high]}} with low <= high, not {value['random']}")


def _find_problems(point: Section) -> dict[str, str | None]:
    steps, pixels, adaptive = point["steps"], point["parameterization"] == "pixels", point["optimizer"] != "ascent"
    image, start, optimizer = (f", not '{key}: {point[key]}'" for key in ("parameterization", "start", "optimizer"))
    no_pyramid, no_photograph = point["parameterization"] != "pyramid", point["start"] != "photograph"
    last_octave = (point["octaves"] - 1) * point["octave_steps"]
    compares = needs_photographs(point["objective"])
    by_view = compares and point["match_crop_regions"] is not None
    return {
        "steps": f"must be ascending, not {steps}" if steps != sorted(steps) else None,
        "octaves": f"the last one begins after step {last_octave}, but the last step is {steps[-1]}; add steps"
        if steps[-1] <= last_octave
        else None,
        "start_path": _only(point["start_path"] is not None and no_photograph, "start: photograph", start, "null"),
        "start_dream": _only(point["start_dream"] and point["start"] != "dream", "start: dream", start, "null")
        or ("is required by 'start: dream'; set it to {recipe: NAME}" if _lacks_dream(point) else None),
        "momentum": _only(point["momentum"] and adaptive, "optimizer: ascent", optimizer, 0),
        "weight_decay": _only(point["weight_decay"] and not adaptive, "optimizer: adam, adamw or nadam", optimizer, 0),
        "start": f"'{point['start']}' has no phases, which 'parameterization: maco' needs; use noise or photograph"
        if point["parameterization"] == "maco" and point["start"] in FLAT_STARTS
        else None,
        "tile": _exclusive(_crops(point)) if point["tile"] and _crops(point) else None,
        "crops": _exclusive("crop_area") if point["crops"] and point["crop_area"] is not None else None,
        "whole_views": _only(point["whole_views"] and point["crop_area"] is None, "crop_area", "", 0),
        "whole_steps": _only(point["whole_steps"] is not None and not point["whole_views"], "whole_views", "", "null"),
        **variant_problems(point),
        "pyramid_steps": _only(point["pyramid_steps"] and no_pyramid, "parameterization: pyramid", image, 0),
        "pyramid_decay": _only(point["pyramid_decay"] != 1 and no_pyramid, "parameterization: pyramid", image, 1),
        "objective": _unmatchable(point) if compares else None,
        **{
            key: _only(not compares and point[key] != default, "objective: feature_match", "", default or "null")
            for key, default in dreamer_defaults().items()
            if key.startswith("match_")
        },
        **({"match_crop_regions": _only(point["crop_area"] is None, "crop_area", "", "null")} if by_view else {}),
        **{
            key: _only(point[key] != neutral and not pixels, "parameterization: pixels", image, neutral)
            for key, neutral in PIXELS_NEUTRAL.items()
        },
    }


def check_photographs(point: Section, name: str) -> None:
    """Raise UserError if a recipe needs photographs, for a study that has none."""
    if need := photographs_needed(point):
        key, value, reason = need
        problem = f"'{value}' {reason}, and the study has no photographs ('dataset.source: none')"
        others = ", ".join(presets_without_photographs())
        raise UserError(f"{problem}; use another one, or one of the presets {others}", f"dreams.recipes.{name}.{key}")


def presets_without_photographs() -> list[str]:
    """Return the names of the presets that need no photographs, in order."""
    return [name for name in load_presets() if not photographs_needed(*expand_grid(name, {"preset": name}).values())]


def photographs_needed(point: Section) -> tuple[str, str, str] | None:
    """Return the key of a recipe's parameters that needs the study's photographs, its value and why; else None."""
    if needs_photographs(point["objective"]):
        return "objective", "feature_match", "compares a dream with photographs of its class"
    if point["parameterization"] == "maco":
        return "parameterization", "maco", "takes its spectrum from photographs"
    if point["start"] == "class_mean":
        return "start", "class_mean", "is the mean of a class's photographs"
    if point["start"] == "photograph" and point["start_path"] is None:
        return "start", "photograph", "is one of the class unless 'start_path' names a file"
    return None


def _lacks_dream(point: Section) -> bool:
    return point["start"] == "dream" and point["start_dream"] is None


def _crops(point: Section) -> str:
    """Return the key that makes a recipe use crops, or an empty string."""
    return "crops" if point["crops"] else "crop_area" if point["crop_area"] is not None else ""


def _unmatchable(point: Section) -> str | None:
    """Return why `feature_match` cannot be used in a recipe, or None if it can."""
    neutral = {"tile": None, "crops": 0, "octaves": 1, "pad": 0}
    key = next((key for key, value in neutral.items() if point[key] != value), None)
    problem = f"feature_match cannot be combined with '{key}', because it needs views of one size"
    return f"{problem}; set '{key}' to {in_yaml(neutral[key])}" if key else None


def _only(misused: bool, needed: str, given: str, neutral: object) -> str | None:
    return f"is only used with '{needed}'{given}; set it to {neutral}" if misused else None


def _exclusive(key: str) -> str:
    return f"cannot be combined with '{key}'; remove one of them"


def dream_shape(point: Section, dataset: Section) -> tuple[int, int]:
    """Return (height, width) of dreams: of the prepared images, scaled to `size`."""
    shape = shape_of(dataset["image_size"])
    return in_proportion(shape, point["size"] or min(shape))


def check_sizes(point: Section, shape: tuple[int, int], where: str) -> None:
    """Raise UserError if octaves or jitter do not fit dreams of (height, width)."""
    side = min(shape)
    smallest = round(side / point["octave_scale"] ** (point["octaves"] - 1))
    if smallest < MIN_SIDE:
        problem = f"the first of {point['octaves']} would have a side of {smallest} pixels, less than {MIN_SIDE}"
        raise UserError(f"{where}.octaves: {problem}; use fewer octaves or a smaller 'octave_scale'")
    if (jitter := round(point["jitter"] * side / (point["reference_size"] or side))) >= smallest:
        limit = f"{smallest}, the side of the first octave"
        raise UserError(f"{where}.jitter: is {jitter} pixels at this size, but must be less than {limit}")


def expand_grid(name: str, recipe: Section) -> dict[str, Section]:
    """Return {name: parameters} for each combination of the recipe's lists.

    The parameters are checked, complete, and in the order of the schema. The lists `steps` and `committee` do not span
    a grid. Neither do `runs` and `epochs`, which are checked and dropped, because they are not parameters. Each point
    is named after the recipe and the values that vary. Raises UserError if a value is not allowed, if a value repeats,
    or if the grid has over 10,000 points.
    """
    where = f"dreams.recipes.{name}"
    points: dict[str, Section] = {}
    for point_name, found in recipe_points(name, recipe).items():
        point = _over_preset({**expand_folders(recipe), **found.varied}, where)
        check(point, "recipe", where)
        check_point(point, where)
        points[point_name] = {key: point[key] for key in parameter_names()}
    return points


def recipe_points(name: str, recipe: Section) -> dict[str, Point]:
    """Return the points of a recipe's grid by name. Raises UserError as `list_points` does, or for an unknown key."""
    where, axes = f"dreams.recipes.{name}", _axes(expand_folders(recipe))
    check_count(math.prod(map(len, axes.values())), where)
    for key, values in axes.items():
        if key not in load_schema("recipe")["properties"]:
            check({key: values}, "recipe", where)
    return list_points(name, axes, where)


def expand_recipes(
    recipes: dict[str, Section], runs: dict[str, Section], run_points: Mapping[str, Point]
) -> tuple[dict[str, Section], dict[str, dict[str, Epochs]], dict[str, Point]]:
    """Expand the grids of all recipes, in order.

    `runs` and `run_points` are the sections and the points of all runs. Return the parameters of each recipe by name,
    the epochs that dream it by recipe and run, and the point that it is. Defaults are filled in in `recipes`. Raises
    UserError also if two recipes have the same name, or if a checkpoint would dream the same parameters under two
    names.
    """
    sizes = [math.prod(map(len, _axes(recipe).values())) for recipe in recipes.values()]
    if max(sizes) <= MAX_POINTS:  # otherwise expand_grid reports the one that is too large
        check_count(sum(sizes), "dreams.recipes")
    expanded: dict[str, Section] = {}
    dreamers: dict[str, dict[str, Epochs]] = {}
    points: dict[str, Point] = {}
    names_by_parameters: dict[str, list[str]] = {}
    for recipe_name, recipe in recipes.items():
        where = f"dreams.recipes.{recipe_name}"
        found, parameters = recipe_points(recipe_name, recipe), expand_grid(recipe_name, recipe)
        dreaming = list_dreamers(recipe, runs, run_points, where)
        recipes[recipe_name] = fill_recipe(recipe, parameters.values())
        for name, point in parameters.items():
            twins = names_by_parameters.setdefault(repr(sorted(point.items())), [])
            for twin in twins:
                if overlap(dreaming, dreamers[twin]):
                    raise UserError(f"{where}: '{name}' is the same recipe as '{twin}'; remove one of them")
            twins.append(name)
            dreamers[name] = dreaming
        check_names(found, points, where)
        expanded |= parameters
        points |= found
    check_count(len(expanded), "dreams.recipes")
    return expanded, dreamers, points


def _axes(recipe: Section) -> dict[str, list[Any]]:
    return {key: values for key, values in recipe.items() if isinstance(values, list) and key not in NO_GRID}


def _over_preset(point: Section, where: str) -> Section:
    """Return the keys of a point's preset, overridden by its own."""
    chosen = {"preset": point["preset"]} if "preset" in point else {}
    check(chosen, "recipe", where)
    return {**preset(chosen["preset"]).recipe, **point}


def list_presets(side: int = 64) -> dict[str, Recipe]:
    """Return the recipes of all presets by name, for images of a size.

    `side` is the shorter side in pixels. A recipe does not include the start, the seed or the size: pass start images
    and random generators to `dream`.
    """
    recipes = {}
    for name in load_presets():
        (parameters,) = expand_grid(name, {"preset": name}).values()
        recipes[name] = as_recipe(parameters, side)
    return recipes
