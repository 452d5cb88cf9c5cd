"""The dreams that a montage or a film shows: which images, under which names, and what the figure records of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dreambirds.config.runs import parse_epoch
from dreambirds.dream_job.image_files import read_facts
from dreambirds.plan.dream_table import dream_table, select_dreams
from dreambirds.plan.paths import picture_path


@dataclass(frozen=True)
class Selection:
    """Dreams of a study that have some columns in common.

    `dreams` has the columns of `DREAM` and the ``path`` of each image; `wanted` holds the values of the columns that
    they share, as paths have them, and the ``view``; `names` are those of labels for people.
    """

    study: str
    dreams: pd.DataFrame
    wanted: Mapping[str, Any]
    names: Mapping[str, str]

    @classmethod
    def of(
        cls,
        results: Path,
        epochs: Mapping[str, Mapping[str, list[float]]],
        steps: Mapping[str, list[int]],
        names: Mapping[str, str],
        wanted: Mapping[str, Any],
    ) -> "Selection":
        """Return the wanted dreams of those of all `epochs` of each run and recipe, `steps` of each recipe, and labels,
        in the folder of a study's results. Raises UserError if there are none."""
        dreams = select_dreams(dream_table(epochs, steps, names), results.name, wanted)
        paths = [picture_path(results / "dreams", dream, wanted["view"]) for dream in dreams.itertuples()]
        return cls(results.name, dreams.assign(path=paths), wanted, names)

    def grid(self, rows: str, columns: str) -> pd.DataFrame:
        """Return the paths of images, one row and one column for each value of two columns, in the order of the study;
        None where there is no such dream."""
        grid = self.dreams.pivot(index=rows, columns=columns, values="path")
        grid = grid.reindex(index=self.dreams[rows].unique(), columns=self.dreams[columns].unique())
        return grid.astype(object).where(grid.notna(), None)

    def name_of(self, column: str, value: Any) -> str:
        """Return what a value of a column is called in a figure."""
        if column == "label":
            return self.names[value]
        return f"{column} {value}" if column in ("epoch", "step") else str(value)

    def describe(self) -> str:
        """Return what all the dreams have in common, on one line."""
        wanted = self.wanted
        label = [self.names[wanted["label"]]] if "label" in wanted else []
        named = [f"{key} {wanted[key]}" for key in ("run", "recipe") if key in wanted]
        numbers = [self.name_of(key, parse_epoch(wanted[key])) for key in ("epoch", "step") if key in wanted]
        return " · ".join([*label, *named, *numbers, wanted["view"]])

    def facts(self) -> dict[str, Any]:
        """Return what a figure records in its metadata; it is read from the dreams' own."""
        first = self.dreams.drop_duplicates(["run", "epoch", "recipe"])
        each = [read_facts(path) for path in first["path"]]
        return {
            "study": self.study,
            **{key: str(value) for key, value in self.wanted.items()},
            "labels": list(self.dreams["label"].unique()),
            "recipes": {facts["recipe"]: facts["parameters"] for facts in each},
            "checkpoints": {f"{facts['run']}/{facts['epoch']}": facts["checkpoint_sha256"] for facts in each},
            "versions": each[0]["versions"],
        }
