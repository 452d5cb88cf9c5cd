"""Find the layout of a data set at its path, or name the source that it is the layout of."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreambirds.data.sources.source import Source, by_strictness
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import UserError, reason_of, remedy_for
from dreambirds.io import expand


def find_tree(source: Source, dataset: dict) -> Tree | None:
    """Return the tree with the source's layout, or None if the source needs no path.

    Raises UserError, with the expected layout, if there is none.
    """
    if not source.needs_path:
        return None
    if "://" in dataset["path"]:
        raise UserError(f"dataset.path: '{dataset['path']}' is an address; download the data, and set its path")
    path = expand(dataset["path"])
    tree = source.find(path)
    if tree and source.has_photographs(tree):
        other = "" if tree.is_at(path) else _recognize(path, source, source.strictness)
        reason = f"is not {source.path_content}"
    else:
        other = _recognize(path, source)
        reason = "contains no images in its class folders" if tree else source.misfit(path)
    if tree is None or other:
        raise UserError(f"dataset.path: '{dataset['path']}' {reason}{other}")
    return tree


def _recognize(path: Path, source: Source, above: int = -1) -> str:
    """Return the end of an error that names the source with this layout, of more strictness than `above`, or ''."""
    for other in reversed(by_strictness()):
        if other is not source and other.strictness > above:
            try:
                tree = other.find(path)
            except (UserError, OSError):
                continue
            if tree and other.has_photographs(tree):
                return f"; it has the layout of '{other.name}': set dataset.source to {other.name}"
    return ""


@contextmanager
def user_errors(dataset: dict) -> Iterator[None]:
    """Turn an OSError into a UserError about `dataset.path`."""
    try:
        yield
    except OSError as error:
        problem = f"cannot read '{error.filename or dataset['path']}' ({reason_of(error)})"
        fix = f"{remedy_for(error, '')}, or " if remedy_for(error, "") else ""
        raise UserError(f"dataset.path: {problem}; {fix}set another path") from error
