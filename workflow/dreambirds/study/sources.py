"""The photographs that a study reads: what they are, and whether they changed."""

import hashlib
from pathlib import Path

from dreambirds.data.files import find_photographs, is_photograph
from dreambirds.data.tables import example_pictures
from dreambirds.errors import StudyError
from dreambirds.study.plan import Plan


def fingerprint(plan: Plan) -> str:
    """Return a digest of the names and sizes of all photographs, or nothing for drawn birds."""
    if plan.config["dataset"]["source"] == "drawn":
        return ""
    root, digest = Path(plan.config["dataset"]["path"]).expanduser(), hashlib.sha256()
    for label in plan.labels:
        for path in find_photographs(root / label.folder):
            digest.update(f"{label.folder}/{path.name}\0{path.stat().st_size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def start_photographs(plan: Plan, recipe: str) -> list[Path]:
    """Return the photographs that the dreams of a recipe start from, in turn; the dataset stage must be done.

    Without a `start_path` each label's dream starts from a prepared picture of its own class.
    """
    files = [Path(file) for file in starts(plan, recipe)]
    if not files or plan.recipes[recipe]["start_path"] is not None:
        return files
    examples = example_pictures(files[0].parent)
    return [examples[label] for label in plan.names]


def starts(plan: Plan, recipe: str) -> list[str]:
    """Return the files that a recipe's dreams start from, beside those that the data set provides.

    Raises StudyError if its `start_path` is neither a photograph nor a folder that holds some.
    """
    named = plan.recipes[recipe]["start_path"]
    if plan.recipes[recipe]["start"] != "photograph":
        return []
    if named is None:
        return [f"results/{plan.study}/dataset/images.csv", f"results/{plan.study}/dataset/images"]
    path = Path(named).expanduser()
    found = find_photographs(path) if path.is_dir() else [path] if path.is_file() and is_photograph(path) else []
    if not found:
        raise StudyError(f"dreams.recipes.{recipe}.start_path: '{named}' is no JPEG, PNG or WebP, nor a folder of them")
    return [str(photograph) for photograph in found]
