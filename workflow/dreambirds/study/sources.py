"""The photographs that a study reads: what they are, and whether they changed."""

import hashlib
from pathlib import Path

from dreambirds.data.files import find_photographs
from dreambirds.data.tables import example_pictures
from dreambirds.study.plan import Plan
from dreambirds.study.recipes import start_files


def fingerprint(plan: Plan) -> str:
    """Return a digest of the names, sizes and times of all photographs, or nothing for drawn birds."""
    if plan.config["dataset"]["source"] == "drawn":
        return ""
    root, digest = Path(plan.config["dataset"]["path"]).expanduser(), hashlib.sha256()
    for label in plan.labels:
        for path in find_photographs(root / label.folder):
            about = path.lstat()
            line = f"{label.folder}/{path.name}\0{about.st_size} {about.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def start_photographs(plan: Plan, recipe: str) -> dict[str, Path]:
    """Return the photograph that each label's dream starts from, if the recipe asks for them; the dataset is prepared.

    Without a `start_path` it is a prepared picture of the label's own class; the photographs of a folder go to the
    classes of the data set in turn, so that which labels are dreamt of changes nothing.
    """
    parameters = plan.recipes[recipe]
    if parameters["start"] != "photograph":
        return {}
    if parameters["start_path"] is None:
        return example_pictures(Path(f"results/{plan.study}/dataset"))
    files = start_files(parameters, recipe)
    return {label.label: files[place % len(files)] for place, label in enumerate(plan.labels)}


def starts(plan: Plan, recipe: str) -> list[str]:
    """Return the files that must be there before a recipe's dreams can start."""
    parameters = plan.recipes[recipe]
    if parameters["start"] == "photograph" and parameters["start_path"] is None:
        return [f"results/{plan.study}/dataset/images.csv", f"results/{plan.study}/dataset/images"]
    return [str(path) for path in start_files(parameters, recipe)]
