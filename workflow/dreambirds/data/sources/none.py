"""No photographs: the classes are those of the networks, which nothing trains."""

from pathlib import Path

from dreambirds.data.labels import Label
from dreambirds.data.sources.source import Photograph, Source, source
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import UserError


@source("none")
class NoPhotographs(Source):
    """A study without photographs."""

    strictness = 0
    needs_path = False
    has_images = False

    def find(self, path: Path) -> Tree | None:
        """Return None: there is nothing on disk."""
        return None

    def labels(self, tree: Tree | None, dataset: dict) -> list[Label]:
        """Return no classes: `config.class_names.study_labels` takes those of a network."""
        return []

    def photographs(self, tree: Tree | None, dataset: dict, labels: list[Label]) -> list[Photograph]:
        """Return no photographs."""
        return []

    def check_keys(self, dataset: dict) -> None:
        """Raise UserError also for `path` and for `labels`."""
        super().check_keys(dataset)
        self.check_path(dataset["path"])
        if dataset["labels"] is not None:
            problem = "names classes to train on, and without photographs nothing is trained"
            raise UserError(f"{problem}; list the classes in 'dreams.labels', and set it to null", "dataset.labels")
