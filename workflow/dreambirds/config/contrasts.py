"""Contrasts: comparisons between dreams of a study, or with chance."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dreambirds.config import VIEWS
from dreambirds.config.load import Section
from dreambirds.errors import UserError, did_you_mean, in_yaml
from dreambirds.io import digest_of

FACTORS = ["run", "epoch", "step", "recipe", "label", "view"]
CHANCE = "chance"
FIRST_LAST: dict[str, Callable[..., float]] = {"first": min, "last": max}
DEFAULT_WHERE = {"epoch": ["last"], "step": ["last"], "view": ["raw"]}
CHANCE_COLUMNS = {"judge_top1": "judge_prediction", "dreamer_top1": "dreamer_prediction"}
SAME_IN_BOTH_VIEWS = (
    *("dreamer_probability", "dreamer_logit", "dreamer_top1", "dreamer_distance"),
    *("mean_abs_change", "seconds"),
)


@dataclass(frozen=True)
class Comparison:
    """Two sets of dreams that differ in `vary`: a column, a recipe's parameter, or a key in which runs of a grid vary.

    `baseline` (None is chance) and `compared` are the values of `vary` in the two sets. `where` lists the accepted
    values of other columns. `measures` are the compared columns.
    """

    vary: str
    baseline: object
    compared: object
    where: dict[str, list[Any]]
    measures: list[str]


class Group(NamedTuple):
    """The dreams of all labels that share the other columns: one dream per label."""

    run: str
    epoch: int | float
    recipe: str
    step: int
    view: str


class DreamQuery:
    """Selection of dreams by column, by run or recipe of the config, or by a key of these.

    A run or recipe of the config stands for all points of its grid. Every checkpoint dreams a recipe of all labels, so
    dreams are selected in groups of one dream per label.
    """

    def __init__(
        self,
        origins: Mapping[str, str],
        recipes: Mapping[str, Section],
        epochs: Mapping[str, Mapping[str, Sequence[int | float]]],
        labels: Iterable[str],
        runs: Mapping[str, Mapping[str, Any]],
    ):
        """Take the recipe of the config by expanded recipe, the parameters of expanded recipes, the epochs that dream
        by run and expanded recipe, the labels, and the factors of each run (see `questions.run_factors`)."""
        self.origins, self.recipes, self.labels, self.runs = origins, recipes, list(labels), runs
        self.groups = [
            Group(run, epoch, recipe, step, view)
            for view in VIEWS
            for run, dreaming in epochs.items()
            for epoch in sorted(set().union(*dreaming.values()))
            for recipe, dreaming_epochs in dreaming.items()
            if epoch in dreaming_epochs
            for step in recipes[recipe]["steps"]
        ]
        self._numbers: dict[str, dict[str, set[int | float]]] = {"epoch": {}, "step": {}}
        for group in self.groups:
            self._numbers["epoch"].setdefault(group.run, set()).add(group.epoch)
            self._numbers["step"].setdefault(group.recipe, set()).add(group.step)

    def pick(self, accepted: Mapping[str, Collection[Any]]) -> list[Group]:
        """Return the groups that have an accepted value in each of the given columns.

        ``first`` and ``last`` mean the first and last epoch of each run, and the first and last step of each recipe.
        """
        groups = self.groups
        for column, values in accepted.items():
            if column in ("epoch", "step"):
                owner = "run" if column == "epoch" else "recipe"
                numbers = {name: self._resolve(values, known) for name, known in self._numbers[column].items()}
                groups = [each for each in groups if getattr(each, column) in numbers[getattr(each, owner)]]
            elif column == "label":
                groups = groups if any(label in values for label in self.labels) else []
            elif column == "run":
                groups = [each for each in groups if {each.run, self.value(each, "run")} & set(values)]
            else:
                groups = [each for each in groups if self.value(each, column) in values]
        return groups

    def side(self, comparison: Comparison, value: object) -> list[Group]:
        """Return the groups of one side of a comparison."""
        return self.pick({**comparison.where, comparison.vary: [value]})

    def compared_labels(self, comparison: Comparison) -> list[str]:
        """Return the labels of a comparison."""
        accepted = comparison.where.get("label", self.labels)
        return [label for label in self.labels if label in accepted]

    def pairs(self, comparison: Comparison) -> list[tuple[Group, Group]]:
        """Return the pairs of a comparison, baseline first; the dreams of one label in both groups form a pair.

        The two dreams of a pair differ only in what varies. There are two exceptions: first and last epochs of
        different runs, and first and last steps of different recipes, may have different numbers. If recipes vary, the
        dreams of a pair share the seed, and if runs vary, they share the training seed, unless one of the two has a
        single one. A dream is never paired with itself.
        """
        columns, key_of = _shared(comparison, self._run_keys()), self._partners(comparison.vary)
        baselines: dict[tuple[Any, ...], list[Group]] = {}
        for group in self.side(comparison, comparison.baseline):
            key = (*key_of(group), *(getattr(group, column) for column in columns))
            baselines.setdefault(key, []).append(group)
        return [
            (baseline, group)
            for group in self.side(comparison, comparison.compared)
            for baseline in baselines.get((*key_of(group), *(getattr(group, column) for column in columns)), [])
            if baseline != group and (comparison.vary != "run" or self._share_seed(baseline, group))
        ]

    def value(self, group: Group, column: str) -> Any:
        """Return the value of a group in a column other than the label, or of a parameter of its recipe."""
        if column == "recipe":
            return self.origins[group.recipe]
        if column in self._run_keys():
            return self.runs[group.run][column]
        return getattr(group, column) if column in FACTORS else self.recipes[group.recipe][column]

    def distinct(self, groups: Iterable[Group], column: str) -> list[Any]:
        """Return the distinct values of a column, in order; they may be dicts."""
        found: list[Any] = []
        for value in self.labels if column == "label" else (self.value(group, column) for group in groups):
            if value not in found:
                found.append(value)
        return found

    def _resolve(self, values: Iterable[Any], known: Collection[int | float]) -> set[int | float]:
        return {FIRST_LAST[value](known) if value in FIRST_LAST else value for value in values}

    def factors(self) -> set[str]:
        """Return everything in which dreams can differ: columns, parameters of recipes, and factors of runs."""
        return {*FACTORS, *next(iter(self.recipes.values())), *self._run_keys()} - {"steps", "committee"}

    def _run_keys(self) -> list[str]:
        return list(next(iter(self.runs.values())))

    def _partners(self, vary: str) -> Callable[[Group], tuple[Any, ...]]:
        """Return the function that gives groups the same key if their run and recipe differ only in `vary`."""
        if vary == "recipe":
            recipes = {name: recipe["seed"] for name, recipe in self.recipes.items()}
        else:
            ignored = {"steps", vary} if vary not in {*FACTORS, *self._run_keys()} else set()
            recipes = {name: _without(recipe, ignored) for name, recipe in self.recipes.items()}
        if vary == "run":
            return lambda group: (recipes[group.recipe],)
        runs = {run: _without(factors, {vary}) if vary in factors else run for run, factors in self.runs.items()}
        return lambda group: (recipes[group.recipe], runs[group.run])

    def _share_seed(self, one: Group, other: Group) -> bool:
        """Return whether two runs share the training seed, or are of one grid, or one is not of a grid of seeds."""
        first, second = self.runs[one.run], self.runs[other.run]
        seeds = [
            {each["training_seed"] for each in self.runs.values() if each["run"] == run["run"]}
            for run in (first, second)
        ]
        alone = first["run"] == second["run"] or min(map(len, seeds)) == 1
        return alone or first["training_seed"] == second["training_seed"]


def _without(facts: Mapping[str, Any], keys: Collection[str]) -> str:
    """Return a digest of facts without some keys."""
    return digest_of({key: value for key, value in facts.items() if key not in keys})


def _shared(comparison: Comparison, run_keys: Collection[str]) -> list[str]:
    """Return the columns other than the run and the recipe in which the two dreams of a pair must agree."""
    vary = comparison.vary
    loose = "epoch" if vary in run_keys else None if vary in ("epoch", "step", "view") else "step"
    if loose and not set(comparison.where[loose]) <= set(FIRST_LAST):
        loose = None
    return [column for column in ("epoch", "step", "view") if column not in (vary, loose)]


def list_comparisons(contrasts: Sequence[Section], dreams: DreamQuery, where: str) -> list[Comparison]:
    """Return the comparisons of contrasts between dreams; `where` is the key path of the contrasts.

    Raises UserError, with the key's full path, if no dreams have the selected values, or if no two dreams differ only
    in what varies.
    """
    return [
        each for number, contrast in enumerate(contrasts) for each in _compare(contrast, dreams, f"{where}.{number}")
    ]


def _compare(contrast: Section, dreams: DreamQuery, where: str) -> list[Comparison]:
    allowed = dreams.factors()
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
    paired = [each for each in comparisons if dreams.pairs(each)]
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
    if not dreams.pick(accepted):
        raise UserError(f"{where}.where: no dream has all of these values; change or remove one")
    return accepted


def _values(contrast: Section, dreams: DreamQuery, accepted: dict[str, list[Any]], where: str) -> list[Any]:
    vary = contrast["vary"]
    values: list[Any] | None = contrast["values"]
    if values is None:
        found = dreams.distinct(dreams.pick(accepted), vary)
        return sorted(found) if vary in ("epoch", "step") else found
    for value in values:
        _check_value(dreams, accepted, vary, value, f"{where}.values")
    return values


def _check_value(dreams: DreamQuery, accepted: dict[str, list[Any]], column: str, value: object, where: str) -> None:
    scalar = not isinstance(value, (dict, list))
    if (column in FACTORS and not scalar) or not dreams.pick({**accepted, column: [value]}):
        found = dreams.distinct(dreams.pick(accepted), column)
        is_elsewhere = (column not in FACTORS or scalar) and dreams.pick({column: [value]})
        dream = "dream selected by 'where'" if is_elsewhere else "dream"
        hint = did_you_mean(value, found, "available")
        raise UserError(f"{where}: no {dream} has {column} {in_yaml(value)}; {hint}")


def _check_measures(contrast: Section, where: str) -> None:
    for measure in contrast["measures"]:
        if contrast["against"] == CHANCE and measure not in CHANCE_COLUMNS:
            raise UserError(
                f"{where}.measures: '{measure}' has no chance level; {did_you_mean(measure, CHANCE_COLUMNS)}"
            )
        if contrast["vary"] == "view" and measure in SAME_IN_BOTH_VIEWS:
            raise UserError(f"{where}.measures: '{measure}' is the same in both views; remove it")
