"""Experiments: comparisons between dreams of a study, or with chance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from dreambirds.config import VIEWS
from dreambirds.config.load import Section
from dreambirds.config.recipes import expand_grid
from dreambirds.errors import UserError, did_you_mean, in_yaml
from dreambirds.io import digest_of

FACTORS = ["run", "epoch", "step", "recipe", "label", "view"]
CHANCE = "chance"
FIRST_LAST: dict[str, Literal["min", "max"]] = {"first": "min", "last": "max"}
DEFAULT_WHERE = {"epoch": ["last"], "step": ["last"], "view": ["raw"]}
CHANCE_COLUMNS = {"judge_top1": "judge_prediction", "dreamer_top1": "dreamer_prediction"}
SAME_IN_BOTH_VIEWS = ("dreamer_probability", "dreamer_top1", "mean_abs_change", "seconds")


@dataclass(frozen=True)
class Comparison:
    """Two sets of dreams that differ in `vary`, a column or a recipe's parameter.

    `baseline` (None is chance) and `compared` are the values of `vary` in the two sets. `where` lists the accepted
    values of other columns. `measures` are the compared columns.
    """

    vary: str
    baseline: object
    compared: object
    where: dict[str, list[Any]]
    measures: list[str]


class DreamQuery:
    """Selection of a study's dreams by column, recipe of the config, or parameter.

    A recipe of the config stands for all points of its grid.
    """

    def __init__(self, grids: dict[str, Section], recipes: dict[str, Section], table: pd.DataFrame):
        """Take the recipes of the config, the expanded recipes, and the table of dreams.

        The table has one row per dream and view, and a unique index.
        """
        self.recipes = recipes
        self.origins = {point: name for name, grid in grids.items() for point in expand_grid(name, grid)}
        self.table = table

    def pick(self, accepted: Mapping[str, Iterable[Any]]) -> pd.DataFrame:
        """Return the rows that have an accepted value in each of the given columns.

        ``first`` and ``last`` mean the first and last epoch of each run, and the first and last step of each recipe.
        """
        rows = self.table
        for column, values in accepted.items():
            rows = rows[self._matches(rows, column, list(values))]
        return rows

    def side(self, comparison: Comparison, value: object) -> pd.DataFrame:
        """Return the rows of one side of a comparison."""
        return self.pick({**comparison.where, comparison.vary: [value]})

    def pairs(self, comparison: Comparison) -> pd.DataFrame:
        """Return the pairs of a comparison: columns ``baseline`` and ``compared``.

        They contain values of the table's index.
        The two dreams of a pair have the same label and differ only in what varies. There are two exceptions: first
        and last epochs of different runs, and first and last steps of different recipes, may have different numbers.
        If recipes vary, the dreams of a pair share the seed. A dream is never paired with itself.
        """
        keys = ["label", "partner", *_shared(comparison)]
        sides = []
        for name, value in (("baseline", comparison.baseline), ("compared", comparison.compared)):
            rows = self.side(comparison, value)
            sides.append(rows[FACTORS].assign(partner=self._partners(rows, comparison.vary), **{name: rows.index}))
        both = sides[0].merge(sides[1], on=keys)[["baseline", "compared"]]
        return both[both["baseline"] != both["compared"]]

    def _matches(self, rows: pd.DataFrame, column: str, accepted: list[Any]) -> pd.Series:
        if column in ("epoch", "step"):
            groups = self.table.groupby("run" if column == "epoch" else "recipe")[column]
            matches = rows[column].isin([value for value in accepted if value not in FIRST_LAST])
            for end in set(accepted) & set(FIRST_LAST):
                matches |= rows[column] == groups.transform(FIRST_LAST[end])[rows.index]
            return matches
        values = self.values(rows, column)
        return values.isin(accepted) if column in FACTORS else values.map(lambda value: value in accepted)

    def values(self, rows: pd.DataFrame, column: str) -> pd.Series:
        """Return the values of rows in a column, or of a parameter of their recipes."""
        if column == "recipe":
            return rows["recipe"].map(self.origins)
        return rows[column] if column in FACTORS else rows["recipe"].map(lambda name: self.recipes[name][column])

    def _partners(self, rows: pd.DataFrame, vary: str) -> pd.Series:
        """Return a key per row, equal for rows whose recipes differ only in `vary`."""
        if vary == "recipe":
            return rows["recipe"].map(lambda name: self.recipes[name]["seed"])
        ignored = {"steps", vary} if vary not in FACTORS else set()
        digests = {
            name: digest_of({key: value for key, value in recipe.items() if key not in ignored})
            for name, recipe in self.recipes.items()
        }
        return rows["recipe"].map(digests)


def _shared(comparison: Comparison) -> list[str]:
    """Return the columns in which the two dreams of a pair must agree."""
    vary = comparison.vary
    loose = "epoch" if vary == "run" else None if vary in ("epoch", "step", "view") else "step"
    if loose and not set(comparison.where[loose]) <= set(FIRST_LAST):
        loose = None
    return [column for column in ("run", "epoch", "step", "view") if column not in (vary, loose)]


def by_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of dreams with one row per dream and view (column ``view``)."""
    return pd.concat([table.assign(view=view) for view in VIEWS], ignore_index=True)


def list_comparisons(config: Section, recipes: dict[str, Section], table: pd.DataFrame) -> list[Comparison]:
    """Return the comparisons of a study's experiment, or an empty list if it has none.

    `table` has one row per dream. Raises UserError, with the key's full path, if no dreams have the selected values,
    or if no two dreams differ only in what varies.
    """
    if config["experiment"] is None:
        return []
    dreams = DreamQuery(config["dreams"]["recipes"], recipes, by_view(table))
    return [
        each
        for number, contrast in enumerate(config["experiment"]["contrasts"])
        for each in _compare(contrast, dreams, f"experiment.contrasts.{number}")
    ]


def _compare(contrast: Section, dreams: DreamQuery, where: str) -> list[Comparison]:
    allowed = {*FACTORS, *next(iter(dreams.recipes.values()))} - {"steps"}
    vary, measures = contrast["vary"], contrast["measures"]
    _check_factor(vary, allowed - {"label"}, f"{where}.vary")
    for name in contrast["where"]:
        _check_factor(name, allowed - {vary}, f"{where}.where")
    accepted = _accepted(contrast, dreams, where)
    values = _values(contrast, dreams, accepted, where)
    _check_measures(contrast, where)
    if contrast["against"] == CHANCE:
        return [Comparison(vary, None, value, accepted, measures) for value in values]
    if len(values) < 2:
        raise UserError(f"{where}.values: at least two values are needed; add one, or set 'against' to {CHANCE}")
    baselines = values if contrast["against"] == "previous" else [values[0]] * len(values)
    comparisons = [Comparison(vary, *sides, accepted, measures) for sides in zip(baselines, values[1:], strict=False)]
    paired = [each for each in comparisons if len(dreams.pairs(each))]
    if not paired or (contrast["values"] and len(paired) < len(comparisons)):
        empty = next(each for each in comparisons if each not in paired)
        values_of_both = f"{in_yaml(empty.baseline)} and {in_yaml(empty.compared)}"
        problem = f"no two dreams differ only in {vary} ({values_of_both})"
        raise UserError(f"{where}: {problem}; change 'values' or 'where'")
    return paired


def _check_factor(name: str, allowed: set[str], where: str) -> None:
    if name not in allowed:
        raise UserError(f"{where}: unknown factor '{name}'; {did_you_mean(name, allowed)}")


def _accepted(contrast: Section, dreams: DreamQuery, where: str) -> dict[str, list[Any]]:
    """Return the accepted values by column: those given, else `DEFAULT_WHERE`; not of `vary`."""
    given = {name: value if isinstance(value, list) else [value] for name, value in contrast["where"].items()}
    accepted = {**DEFAULT_WHERE, **given}
    accepted.pop(contrast["vary"], None)
    for name, values in accepted.items():
        for value in values:
            _check_value(dreams, {}, name, value, f"{where}.where.{name}")
    if dreams.pick(accepted).empty:
        raise UserError(f"{where}.where: no dream has all of these values; change or remove one")
    return accepted


def _values(contrast: Section, dreams: DreamQuery, accepted: dict[str, list[Any]], where: str) -> list[Any]:
    vary = contrast["vary"]
    values: list[Any] | None = contrast["values"]
    if values is None:
        found = _distinct(dreams, dreams.pick(accepted), vary)
        return sorted(found) if vary in ("epoch", "step") else found
    for value in values:
        _check_value(dreams, accepted, vary, value, f"{where}.values")
    return values


def _check_value(dreams: DreamQuery, accepted: dict[str, list[Any]], column: str, value: object, where: str) -> None:
    scalar = not isinstance(value, (dict, list))
    if (column in FACTORS and not scalar) or dreams.pick({**accepted, column: [value]}).empty:
        found = _distinct(dreams, dreams.pick(accepted), column)
        is_elsewhere = (column not in FACTORS or scalar) and not dreams.pick({column: [value]}).empty
        dream = "dream selected by 'where'" if is_elsewhere else "dream"
        hint = did_you_mean(value, found, "available")
        raise UserError(f"{where}: no {dream} has {column} {in_yaml(value)}; {hint}")


def _distinct(dreams: DreamQuery, rows: pd.DataFrame, column: str) -> list[Any]:
    """Return the distinct values of a column, in order; they may be dicts."""
    found: list[Any] = []
    for value in dreams.values(rows, column):
        if value not in found:
            found.append(value)
    return found


def _check_measures(contrast: Section, where: str) -> None:
    for measure in contrast["measures"]:
        if contrast["against"] == CHANCE and measure not in CHANCE_COLUMNS:
            raise UserError(
                f"{where}.measures: '{measure}' has no chance level; {did_you_mean(measure, CHANCE_COLUMNS)}"
            )
        if contrast["vary"] == "view" and measure in SAME_IN_BOTH_VIEWS:
            raise UserError(f"{where}.measures: '{measure}' is the same in both views; remove it")
