"""Grids: lists of values in a run, a judge or a recipe, and the points that they stand for."""

import copy
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreambirds.config.load import Section, load_schema
from dreambirds.errors import UserError, did_you_mean, in_yaml

MAX_POINTS = 10_000
MAX_NAME_LENGTH = 120
SEED = "seed"
PATHS = ("start_path", "weights", "checkpoint", "checkpoints", "labels")  # keys of which a name contains only the file


@dataclass(frozen=True)
class Point:
    """One combination of the values in the lists of a run, a judge or a recipe.

    `origin` is the name in the config, and `varied` contains the keys that have lists, with the value of this point.
    `group` is the name without the seed: points that differ only in their seed share it.
    """

    origin: str
    group: str
    varied: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grids:
    """The points of all runs and of all judges, by name, in the order of the config."""

    runs: dict[str, Point]
    judges: dict[str, Point]


def list_points(name: str, axes: Mapping[str, Sequence[Any]], where: str, noun: str = "recipe") -> dict[str, Point]:
    """Return the points of a grid by name: one per combination of the values in `axes`.

    A point is named after the grid and the values that vary. Without axes, the only point has the grid's name. `where`
    is the path of the grid in the config. Raises UserError if an axis is empty or repeats a value, if two points have
    the same name, or if there are over 10,000 points.
    """
    check_count(math.prod(map(len, axes.values())), where, noun)
    for key, values in axes.items():
        if not values:
            raise UserError(f"{where}.{key}: must contain at least 1 value, not []")
        if any(value in values[:index] for index, value in enumerate(values)):
            raise UserError(f"{where}.{key}: has duplicate values: {in_yaml(list(values))}; remove them")
    points: dict[str, Point] = {}
    for combination in itertools.product(*axes.values()):
        varied = dict(zip(axes, combination, strict=True))
        point_name = _name(name, varied)
        if point_name in points:
            key = next(key for key in axes if varied[key] != points[point_name].varied[key])
            problem = f"two values give the same {noun} name, '{point_name}'; change one of them"
            raise UserError(f"{where}.{key}: {problem}")
        fixed = {key: value for key, value in varied.items() if _last(key) != SEED}
        points[point_name] = Point(name, _name(name, fixed), varied)
    return points


def check_count(points: int, where: str, noun: str = "recipe") -> None:
    """Raise UserError if a grid, or all grids together, have over 10,000 points."""
    if points > MAX_POINTS:
        raise UserError(f"{where}: expands to {points} {noun}s, more than {MAX_POINTS}; shorten the lists of values")


def check_names(points: Mapping[str, Point], known: Mapping[str, Point], where: str, noun: str = "recipe") -> None:
    """Raise UserError if a point, its group or its grid has the name of one of the `known` points of other grids."""
    taken = {text: point.origin for name, point in known.items() for text in (name, point.group, point.origin)}
    for name, point in points.items():
        for text in (name, point.group, point.origin):
            if text in taken:
                problem = f"the name '{text}' also belongs to the {noun} '{taken[text]}'"
                raise UserError(f"{where}: {problem}; rename one of them")


def stands_for(name: str, points: Mapping[str, Point]) -> list[str]:
    """Return the points that a name stands for: the point of this name, or all points of the grid; else none."""
    return [name] if name in points else [point for point, found in points.items() if found.origin == name]


def resolve_runs(names: Sequence[str], points: Mapping[str, Point], where: str) -> list[str]:
    """Return the runs that names of runs and of grids stand for, without duplicates.

    Raises UserError, which begins with `where`, if the study has no such run.
    """
    found: list[str] = []
    for name in names:
        known = stands_for(name, points)
        if not known:
            available = {*points, *(point.origin for point in points.values())}
            raise UserError(f"{where}: the study has no run '{name}'; {did_you_mean(name, available, 'available')}")
        found += [run for run in known if run not in found]
    return found


def expand_grids(config: Section) -> Grids:
    """Replace the runs and judges of a config by the points of their grids, in place, and return the points.

    The config need not match its schema. A key of a run or judge spans an axis if its value is a list and its schema
    takes none; so do the keys of a judge's `train`. A judge with the `run` of a grid stands for one judge per run of
    it. Raises UserError as `list_points` does, or if two names are the same.
    """
    run_points = _expand(config, "runs", "run", {})
    return Grids(run_points, _expand(config, "judges", "judge", run_points))


def _expand(config: Section, section: str, noun: str, runs: Mapping[str, Point]) -> dict[str, Point]:
    written = config.get(section)
    if not isinstance(written, dict):
        return {}
    points: dict[str, Point] = {}
    expanded: Section = {}
    for name, keys in written.items():
        if not isinstance(name, str) or not isinstance(keys, dict):  # the schema refuses it, or it is a null judge
            expanded[name] = keys
            continue
        axes = _axes(keys, noun) if noun == "run" else _judge_axes(keys, runs)
        found = list_points(name, axes, f"{section}.{name}", noun)
        check_names(found, points, f"{section}.{name}", noun)
        points |= found
        expanded |= {point: with_values(keys, each.varied) for point, each in found.items()}
    config[section] = expanded
    return points


def with_values(section: Section, varied: Mapping[str, Any]) -> Section:
    """Return a copy of a section with the values of a point; ``train.seed`` is a key of the mapping `train`."""
    values = copy.deepcopy(section)
    for path, value in varied.items():
        *parents, key = path.split(".")
        owner = values
        for parent in parents:
            owner = owner[parent]
        owner[key] = value
    return values


def as_written(config: Section, grids: Grids) -> Section:
    """Return a config with its runs and judges as grids again, so that it has the same points."""
    runs, judges = (
        merge_points(config[key], points) for key, points in (("runs", grids.runs), ("judges", grids.judges))
    )
    return {**config, "runs": runs, "judges": judges}


def merge_points(sections: Mapping[str, Section], points: Mapping[str, Point]) -> Section:
    """Return sections as they are written in a config, with the points of a grid as one section with lists.

    The keys of a grid are last, in the order of the values in a point's name. Keys that were filled in with different
    values for its points are left out.
    """
    merged: Section = {}
    for name in sections:
        origin = points[name].origin if name in points else name
        if origin not in merged:
            of_grid = [point for point in sections if point in points and points[point].origin == origin]
            merged[origin] = _merge([sections[point] for point in of_grid or [name]])
            for path in points[name].varied if of_grid else ():
                values = [points[point].varied[path] for point in of_grid]
                _set_last(merged[origin], path, [value for i, value in enumerate(values) if value not in values[:i]])
    return merged


def _merge(sections: Sequence[Section]) -> Section:
    """Return the keys that have the same value in all sections; of mappings, their keys that do."""
    first, *others = sections
    merged = {}
    for key, value in first.items():
        if all(key in other and other[key] == value for other in others):
            merged[key] = copy.deepcopy(value)
        elif all(isinstance(each.get(key), dict) for each in sections):
            merged[key] = _merge([each[key] for each in sections])
    return merged


def _set_last(section: Section, path: str, value: Any) -> None:
    """Set the value of a key, and make it the last one of its mapping."""
    *parents, key = path.split(".")
    for parent in parents:
        section = section[parent]
    section.pop(key, None)
    section[key] = value


def _judge_axes(judge: Section, runs: Mapping[str, Point]) -> dict[str, list[Any]]:
    axes = _axes({key: value for key, value in judge.items() if key != "train"}, "judge")
    if isinstance(judge.get("train"), dict):
        axes |= {f"train.{key}": values for key, values in _axes(judge["train"], "run").items()}
    named = judge.get("run")
    judging = [point for name in _listed(named) for point in stands_for(str(name), runs) or [name]]
    return {**axes, "run": judging} if isinstance(named, list) or judging not in ([], [named]) else axes


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _axes(keys: Section, noun: str) -> dict[str, list[Any]]:
    """Return the lists of a run or judge by key, without those that are single values."""
    schema = load_schema("config")["$defs"][noun]["properties"]
    return {
        key: value
        for key, value in keys.items()
        if isinstance(value, list) and key in schema and not _takes_list(schema[key])
    }


def _takes_list(schema: Section) -> bool:
    if "$ref" in schema:
        return _takes_list(load_schema("config")["$defs"][schema["$ref"].rpartition("/")[2]])
    if "oneOf" in schema:
        return any(map(_takes_list, schema["oneOf"]))
    return "array" in _listed(schema.get("type"))


@contextmanager
def written_paths(grids: Grids) -> Iterator[None]:
    """Give UserErrors raised inside the path of a key as it is written in the config, with the name of the grid."""
    try:
        yield
    except UserError as error:
        message, key = (text and _written_path(text, grids) for text in (error.message, error.key))
        raise UserError(message or "", key) from None


def _written_path(text: str, grids: Grids) -> str:
    for section, points in (("runs", grids.runs), ("judges", grids.judges)):
        for name in sorted(points, key=len, reverse=True):
            path = f"{section}.{name}"
            if text == path or text.startswith((f"{path}.", f"{path}:")):
                return f"{section}.{points[name].origin}{text.removeprefix(path)}"
    return text


def _name(name: str, varied: Mapping[str, Any]) -> str:
    """Return the name of a point, which is used in file names; a long one is truncated, with a digest."""
    full = "-".join([name, *(f"{_last(key)}-{_name_part(_last(key), value)}" for key, value in varied.items())])
    if len(full) <= MAX_NAME_LENGTH:
        return full
    return f"{full[: MAX_NAME_LENGTH - 9]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _name_part(key: str, value: Any) -> str:
    if key == "run":
        return str(value)
    if isinstance(value, dict) and value:
        return "-".join(f"{_plain(name)}-{_plain(inner)}" for name, inner in value.items())
    return _plain(Path(value).name if key in PATHS and isinstance(value, str) else value)


def _plain(value: object) -> str:
    if value == {}:
        return "default"
    if isinstance(value, list):
        return "-".join(map(_plain, value))
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return "".join(character if character.isalnum() or character in "._" else "_" for character in text)
