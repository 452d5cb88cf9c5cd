"""What an experiment asks of its study: which dreams it sets against which others, or against chance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from dreambirds.config import VIEWS
from dreambirds.config.load import Section
from dreambirds.config.recipes import expand_grid
from dreambirds.errors import UserError, did_you_mean
from dreambirds.io import digest_of

FACTORS = ["run", "epoch", "step", "recipe", "label", "view"]
CHANCE = "chance"
ENDS: dict[str, Literal["min", "max"]] = {"first": "min", "last": "max"}
USUAL = {"epoch": ["last"], "step": ["last"], "view": ["raw"]}
OF_CHANCE = {"judge_top1": "judge_prediction", "dreamer_top1": "dreamer_prediction"}
WITHOUT_VIEW = ("dreamer_probability", "dreamer_top1", "mean_abs_change", "seconds")


@dataclass(frozen=True)
class Comparison:
    """Two sets of dreams that differ in `vary`: `baseline` (None is chance) and `compared` are its values there.

    `where` holds the values of other columns that count, and `measures` what is compared.
    """

    vary: str
    baseline: object
    compared: object
    where: dict[str, list[Any]]
    measures: list[str]


class DreamQuery:
    """The dreams of a study as experiments speak of them: by places, by parameters, and by recipes of the config, each
    of which stands for all points of its grid."""

    def __init__(self, grids: dict[str, Section], recipes: dict[str, Section], table: pd.DataFrame):
        """Take the recipes as the config writes them, the same spread out, and a table with one row for each view of
        each dream, whose index is its own."""
        self.recipes = recipes
        self.origins = {point: name for name, grid in grids.items() for point in expand_grid(name, grid)}
        self.table = table

    def pick(self, chosen: Mapping[str, Iterable[Any]]) -> pd.DataFrame:
        """Return the rows that have one of the wanted values in each column; ``first`` and ``last`` are a run's epochs
        and a recipe's steps."""
        rows = self.table
        for column, wanted in chosen.items():
            rows = rows[self._holds(rows, column, list(wanted))]
        return rows

    def side(self, comparison: Comparison, value: object) -> pd.DataFrame:
        """Return the rows of one side of a comparison."""
        return self.pick({**comparison.where, comparison.vary: [value]})

    def pairs(self, comparison: Comparison) -> pd.DataFrame:
        """Return the pairs of a comparison of two values, as the columns ``baseline`` and ``compared`` of the table's
        index.

        The two dreams of a pair are of one label and alike in all but what varies, but for the last epochs of runs and
        the last steps of recipes, which may be other ones; under varied recipes they share the seed. No dream is its
        own pair.
        """
        keys = ["label", "partner", *_shared(comparison)]
        sides = []
        for name, value in (("baseline", comparison.baseline), ("compared", comparison.compared)):
            rows = self.side(comparison, value)
            sides.append(rows[FACTORS].assign(partner=self._partners(rows, comparison.vary), **{name: rows.index}))
        both = sides[0].merge(sides[1], on=keys)[["baseline", "compared"]]
        return both[both["baseline"] != both["compared"]]

    def _holds(self, rows: pd.DataFrame, column: str, wanted: list[Any]) -> pd.Series:
        if column in ("epoch", "step"):
            whole = self.table.groupby("run" if column == "epoch" else "recipe")[column]
            held = rows[column].isin([value for value in wanted if value not in ENDS])
            for word in set(wanted) & set(ENDS):
                held |= rows[column] == whole.transform(ENDS[word])[rows.index]
            return held
        values = self.values(rows, column)
        return values.isin(wanted) if column in FACTORS else values.map(lambda value: value in wanted)

    def values(self, rows: pd.DataFrame, column: str) -> pd.Series:
        """Return what rows have in a column, or of a recipe's parameter."""
        if column == "recipe":
            return rows["recipe"].map(self.origins)
        return rows[column] if column in FACTORS else rows["recipe"].map(lambda name: self.recipes[name][column])

    def _partners(self, rows: pd.DataFrame, vary: str) -> pd.Series:
        """Return a word for each row that those share which differ, of all that a recipe says, in `vary` only."""
        if vary == "recipe":
            return rows["recipe"].map(lambda name: self.recipes[name]["seed"])
        apart = {"steps", vary} if vary not in FACTORS else set()
        words = {
            name: digest_of({key: value for key, value in recipe.items() if key not in apart})
            for name, recipe in self.recipes.items()
        }
        return rows["recipe"].map(words)


def _shared(comparison: Comparison) -> list[str]:
    vary = comparison.vary
    loose = "epoch" if vary == "run" else None if vary in ("epoch", "step", "view") else "step"
    if loose and not set(comparison.where[loose]) <= set(ENDS):
        loose = None
    return [column for column in ("run", "epoch", "step", "view") if column not in (vary, loose)]


def by_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of dreams with a row for each view, told by the column ``view``."""
    return pd.concat([table.assign(view=view) for view in VIEWS], ignore_index=True)


def list_comparisons(config: Section, recipes: dict[str, Section], table: pd.DataFrame) -> list[Comparison]:
    """Return the comparisons of a study's experiment, none without one.

    `table` has a row a dream. Raises UserError, with the key's full path, where no dreams have what is asked for, or
    none are alike in all else.
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
    _check_word(vary, allowed - {"label"}, f"{where}.vary")
    for word in contrast["where"]:
        _check_word(word, allowed - {vary}, f"{where}.where")
    chosen = _chosen(contrast, dreams, where)
    values = _values(contrast, dreams, chosen, where)
    _check_measures(contrast, where)
    if contrast["against"] == CHANCE:
        return [Comparison(vary, None, value, chosen, measures) for value in values]
    if len(values) < 2:
        raise UserError(f"{where}.values: two values at least are compared, or one against {CHANCE}")
    baselines = values if contrast["against"] == "previous" else [values[0]] * len(values)
    asked = [Comparison(vary, *sides, chosen, measures) for sides in zip(baselines, values[1:], strict=False)]
    found = [each for each in asked if len(dreams.pairs(each))]
    if not found or (contrast["values"] and len(found) < len(asked)):
        lost = next(each for each in asked if each not in found)
        raise UserError(
            f"{where}: no two dreams differ in {vary} {lost.baseline} and {lost.compared} and in nothing else"
        )
    return found


def _check_word(word: str, allowed: set[str], where: str) -> None:
    if word not in allowed:
        raise UserError(f"{where}: '{word}' is nothing that dreams can be told by here; {did_you_mean(word, allowed)}")


def _chosen(contrast: Section, dreams: DreamQuery, where: str) -> dict[str, list[Any]]:
    """Return what counts beside the column that varies: `USUAL`, where nothing else is said."""
    given = {word: value if isinstance(value, list) else [value] for word, value in contrast["where"].items()}
    chosen = {**USUAL, **given}
    chosen.pop(contrast["vary"], None)
    for word, wanted in chosen.items():
        for value in wanted:
            _check_value(dreams, {}, word, value, f"{where}.where.{word}")
    if dreams.pick(chosen).empty:
        raise UserError(f"{where}.where: no dream has all of this")
    return chosen


def _values(contrast: Section, dreams: DreamQuery, chosen: dict[str, list[Any]], where: str) -> list[Any]:
    vary = contrast["vary"]
    values: list[Any] | None = contrast["values"]
    if values is None:
        found = _all(dreams, dreams.pick(chosen), vary)
        return sorted(found) if vary in ("epoch", "step") else found
    for value in values:
        _check_value(dreams, chosen, vary, value, f"{where}.values")
    return values


def _check_value(dreams: DreamQuery, chosen: dict[str, list[Any]], column: str, value: object, where: str) -> None:
    plain = not isinstance(value, (dict, list))
    if (column in FACTORS and not plain) or dreams.pick({**chosen, column: [value]}).empty:
        found = _all(dreams, dreams.pick(chosen), column)
        raise UserError(f"{where}: no dream has {column} '{value}'; {did_you_mean(value, found)}")


def _all(dreams: DreamQuery, rows: pd.DataFrame, column: str) -> list[Any]:
    """Return the different values that rows have, in their order; a parameter may be a dict."""
    found: list[Any] = []
    for value in dreams.values(rows, column):
        if value not in found:
            found.append(value)
    return found


def _check_measures(contrast: Section, where: str) -> None:
    for measure in contrast["measures"]:
        if contrast["against"] == CHANCE and measure not in OF_CHANCE:
            raise UserError(f"{where}.measures: '{measure}' has no chance; {did_you_mean(measure, OF_CHANCE)}")
        if contrast["vary"] == "view" and measure in WITHOUT_VIEW:
            raise UserError(f"{where}.measures: '{measure}' is the same in both views")
