"""Selection of the dreams for a montage or an animation, with their display names and metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dreambirds.config.runs import parse_epoch
from dreambirds.dream_job.image_files import read_facts
from dreambirds.evaluation.dream_frame import dream_frame
from dreambirds.plan.dream_table import list_dreams, select_dreams
from dreambirds.plan.paths import picture_path


@dataclass(frozen=True)
class Selection:
    """Dreams of a study that share the values of some columns.

    `dreams` has the columns of `DREAM` and the ``path`` of each image. `shared` contains the shared values, written as
    in result paths, and the ``view``. `names` contains the display name of each label.
    """

    study: str
    dreams: pd.DataFrame
    shared: Mapping[str, Any]
    names: Mapping[str, str]

    @classmethod
    def of(
        cls,
        results: Path,
        epochs: Mapping[str, Mapping[str, list[float]]],
        steps: Mapping[str, list[int]],
        names: Mapping[str, str],
        shared: Mapping[str, Any],
    ) -> "Selection":
        """Return the dreams in a study's `results` folder that have the `shared` values.

        `epochs` lists the epochs of each run and recipe, `steps` those of each recipe, and `names` contains the
        display name of each label. Raises UserError if no dream has these values.
        """
        dreams = dream_frame(select_dreams(list_dreams(epochs, steps, names), results.name, shared))
        paths = [picture_path(results / "dreams", dream, shared["view"]) for dream in dreams.itertuples()]
        return cls(results.name, dreams.assign(path=paths), shared, names)

    def grid(self, rows: str, columns: str) -> pd.DataFrame:
        """Return a table of image paths, in the order of the study.

        It has one row per value of the column `rows` and one column per value of `columns`. A cell is None if no such
        dream exists.
        """
        grid = self.dreams.pivot(index=rows, columns=columns, values="path")
        grid = grid.reindex(index=self.dreams[rows].unique(), columns=self.dreams[columns].unique())
        return grid.astype(object).where(grid.notna(), None)

    def name_of(self, column: str, value: Any) -> str:
        """Return the display name of a value of a column."""
        if column == "label":
            return self.names[value]
        return f"{column} {value}" if column in ("epoch", "step") else str(value)

    def describe(self) -> str:
        """Return the values that all dreams share, on one line."""
        shared = self.shared
        label = [self.names[shared["label"]]] if "label" in shared else []
        named = [f"{key} {shared[key]}" for key in ("run", "recipe") if key in shared]
        numbers = [self.name_of(key, parse_epoch(shared[key])) for key in ("epoch", "step") if key in shared]
        return " · ".join([*label, *named, *numbers, f"{shared['view']} view"])

    def facts(self) -> dict[str, Any]:
        """Return the metadata of a figure, read from the metadata of its dreams."""
        first = self.dreams.drop_duplicates(["run", "epoch", "recipe"])
        dream_facts = [read_facts(path) for path in first["path"]]
        return {
            "study": self.study,
            **{key: str(value) for key, value in self.shared.items()},
            "labels": list(self.dreams["label"].unique()),
            "recipes": {facts["recipe"]: facts["parameters"] for facts in dream_facts},
            "checkpoints": {f"{facts['run']}/{facts['epoch']}": facts["checkpoint_sha256"] for facts in dream_facts},
            "versions": dream_facts[0]["versions"],
        }
