"""A folder with one subfolder per class, directly or below `train` and `val`."""

from pathlib import Path

from dreambirds.data.labels import Label, make_labels
from dreambirds.data.names import readable
from dreambirds.data.sources.source import Photograph, Source, source
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import UserError

VALIDATION = ("val", "valid", "validation")
PARTS = ("train", "validation")


@source("folder")
class Folder(Source):
    """A folder with one subfolder per class, directly or below `train` and `val`."""

    strictness = 1
    path_content = "a folder with one subfolder per class"

    def find(self, path: Path) -> Tree | None:
        """Return the tree of a folder with at least two subfolders or a `train`, or None."""
        tree = Tree(path)
        return tree if path.is_dir() and (len(_classes(tree)) > 1 or _parts(tree)) else None

    def misfit(self, path: Path) -> str:
        """Return the end of an error: what was expected at the path."""
        if not path.is_dir():
            return f"{'is a file, but' if path.exists() else 'does not exist; it'} must be {self.path_content}"
        return f"must contain at least 2 subfolders, one per class, but has {len(_classes(Tree(path)))}"

    def has_photographs(self, tree: Tree) -> bool:
        """Return whether any class has a photograph."""
        parts = _parts(tree).values() or [""]
        return any(tree.photographs(_join(part, name)) for part in parts for name in _classes(tree, part))

    def labels(self, tree: Tree, dataset: dict) -> list[Label]:
        """Return the classes, by name.

        Raises UserError for a class that is only in `val` if the split is given, and for a `train` without a `val`.
        """
        parts = _parts(tree)
        if _is_train_only(tree):
            root = tree.full_name("")
            raise UserError(
                f"dataset.path: '{root}' has classes in 'train' but no folder 'val'; add it, or set the path to "
                f"'{root}/train'"
            )
        found = {part: _classes(tree, folder) for part, folder in (parts or {"train": ""}).items()}
        names = sorted({name for classes in found.values() for name in classes})
        labels = make_labels((name, readable(name), name) for name in names)
        untrained = [label for label in labels if label.folder not in found["train"]]
        if untrained and dataset["split"] == "given":
            raise UserError(
                f"dataset.split: class '{untrained[0].label}' has images for validation but none for training; set it "
                f"to random, or add the folder '{tree.full_name(f'train/{untrained[0].folder}')}'"
            )
        return labels

    def photographs(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[Photograph]:
        """Return the photographs of these classes, training images first.

        A given split is that of the folders.
        """
        given, parts = dataset["split"] == "given", _parts(tree) or {"": ""}
        return [
            Photograph(label, *tree.locate(_join(_join(folder, label.folder), name)), part=part if given else "")
            for label in labels
            for part, folder in parts.items()
            for name in tree.photographs(_join(folder, label.folder))
        ]


def _classes(tree: Tree, folder: str = "") -> list[str]:
    return [name for name in tree.listing(folder)[0] if not name.startswith(".")]


def _parts(tree: Tree) -> dict[str, str]:
    """Return the folders of the two parts, or {} if `train` and `val` are not parts.

    They may be missing, or be classes themselves.
    """
    folders = _classes(tree)
    validation = [name for name in VALIDATION if name in folders]
    both = ["train", *validation]
    if "train" not in folders or not validation or any(tree.photographs(name) for name in both):
        return {}
    if not any(_classes(tree, name) for name in both):
        return {}
    if len(validation) > 1:
        both_names = f"'{validation[0]}' and '{validation[1]}'"
        raise UserError(f"dataset.path: '{tree.full_name('')}' contains both {both_names}; keep one")
    return dict(zip(PARTS, both, strict=True))


def _is_train_only(tree: Tree) -> bool:
    """Return whether there is a `train` with classes but no `val`."""
    if set(VALIDATION) & set(_classes(tree)):
        return False
    return bool(_classes(tree, "train")) and not tree.photographs("train")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
