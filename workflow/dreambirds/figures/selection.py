"""Selection of the dreams for a montage or an animation, with their display names and metadata."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from dreambirds.config.runs import parse_epoch
from dreambirds.dream_job.archive import read_dreams, read_picture
from dreambirds.dream_job.image_files import read_facts
from dreambirds.errors import AGAIN, UserError
from dreambirds.evaluation.columns import mark_picked, pictures_of
from dreambirds.plan.dream_table import DREAM, NUMBERS

SHARED = {*DREAM, "last"}
BETWEEN = PAIR, WEIGHT = "between", "weight"  # columns of interpolations


@dataclass(frozen=True)
class Selection:
    """Dreams of a study that share the values of some columns.

    `dreams` has the columns of `DREAM` and the ``picture`` of each dream. `shared` contains the shared values, written
    as in result paths, and the ``view``. `names` contains the display name of each label. `training_seed` and
    `dream_seeds`, by recipe, are the seeds that a figure names, and `pairs` the display names of interpolations, whose
    dreams also have the columns ``between`` and ``weight``.
    """

    study: str
    dreams: pd.DataFrame
    shared: Mapping[str, Any]
    names: Mapping[str, str]
    training_seed: int | None = None
    dream_seeds: Mapping[str, int] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        study: str,
        archives: Sequence[Path],
        names: Mapping[str, str],
        shared: Mapping[str, Any],
        training_seed: int | None = None,
        dream_seeds: Mapping[str, int] | None = None,
        labels: Collection[str] | None = None,
        interpolations: Mapping[str, tuple[str, float]] | None = None,
        pairs: Mapping[str, str] | None = None,
    ) -> "Selection":
        """Return the dreams of `archives` that have the `shared` values.

        `names` contains the display name of each label of the study. Only dreams of `labels` count, if these are not
        None, or those of `interpolations`, which has the pair and the weight of each label. Raises UserError if no
        dream has these values, or if an archive is corrupt.
        """
        seeds = dict(dream_seeds or {})
        dreams = read_dreams(archives)
        if interpolations is not None:
            labels = interpolations
            for position, column in enumerate(BETWEEN):
                dreams[column] = dreams["label"].map({label: each[position] for label, each in interpolations.items()})
        if labels is not None:
            dreams = dreams[dreams["label"].isin(list(labels))].copy()
        dreams["dream_seed"] = dreams["recipe"].map(seeds)
        dreams["last"] = dreams["step"] == dreams.groupby("recipe")["step"].transform("max")
        for column in SHARED & set(shared):
            number = NUMBERS.get(column)
            dreams = dreams[dreams[column] == (number(shared[column]) if number else shared[column])]
        if dreams.empty:
            values = ", ".join(f"{column} {value}" for column, value in shared.items())
            raise UserError(f"the archives of the study '{study}' contain no dream with {values}; {AGAIN}")
        pictures = pd.Series(pictures_of(dreams, shared["view"]), index=dreams.index, dtype=object)
        return cls(study, dreams.assign(picture=pictures), shared, names, training_seed, seeds, dict(pairs or {}))

    def grid(self, rows: str, columns: str) -> pd.DataFrame:
        """Return a table of images, in the order of the study; weights are in ascending order.

        It has one row per value of the column `rows` and one column per value of `columns`. A cell is None if no such
        dream exists.
        """
        grid = self.dreams.pivot(index=rows, columns=columns, values="picture")
        grid = grid.reindex(index=self._values(rows), columns=self._values(columns))
        return grid.astype(object).where(grid.notna(), None)

    def _values(self, column: str) -> Any:
        """Return the values of a column, in their types, in the order of the study, or of size for a weight."""
        values = self.dreams[column].unique()  # not a list, of which pandas would turn epochs into floats
        return sorted(values) if column == WEIGHT else values

    def picked(self, rows: str, columns: str) -> set[tuple[Any, Any]]:
        """Return the cells of a `grid` of dream seeds with the picked dreams (see `mark_picked`); empty without any."""
        if columns != "dream_seed" or "distance" not in self.dreams:
            return set()
        tries = self.dreams.rename(columns={"distance": "dreamer_distance"}).assign(recipe_group="")
        chosen = tries[mark_picked(tries) == 1]
        return set(zip(chosen[rows], chosen[columns], strict=True))

    def name_of(self, column: str, value: Any) -> str:
        """Return the display name of a value of a column."""
        if column == "label":
            return self.names[value]
        if column == "dream_seed":
            return f"dream seed {value}"
        if column == PAIR:
            return self.pairs[value]
        if column == WEIGHT:
            return f"weight {value:g}"
        return f"{column} {value}" if column in ("epoch", "step") else str(value)

    def describe(self) -> str:
        """Return the values that all dreams share, on one line."""
        shared = self.shared
        label = [self.names[shared["label"]]] if "label" in shared else []
        recipe = shared.get("recipe") or shared.get("recipe_group")
        named = [f"{key} {value}" for key, value in (("run", shared.get("run")), ("recipe", recipe)) if value]
        numbers = [self.name_of(key, parse_epoch(shared[key])) for key in ("epoch", "step") if key in shared]
        seeds = [] if self.training_seed is None else [f"training seed {self.training_seed}"]
        if recipe in self.dream_seeds:
            seeds.append(self.name_of("dream_seed", self.dream_seeds[recipe]))
        return " · ".join([*label, *named, *numbers, *seeds, f"{shared['view']} view"])

    def facts(self) -> dict[str, Any]:
        """Return the metadata of a figure, read from the metadata of its dreams."""
        first = self.dreams.drop_duplicates(["run", "epoch", "recipe"])
        dream_facts = [read_facts(BytesIO(read_picture(picture))) for picture in first["picture"]]
        return {
            "study": self.study,
            **{key: str(value) for key, value in self.shared.items()},
            "labels": list(self.dreams["label"].unique()),
            "recipes": {facts["recipe"]: facts["parameters"] for facts in dream_facts},
            "checkpoints": {
                f"{facts['run']}/{facts['epoch']}": facts["checkpoint_sha256"]
                for dream in dream_facts
                for facts in (dream, *dream.get("committee", ()))
            },
            "versions": dream_facts[0]["versions"],
        }
