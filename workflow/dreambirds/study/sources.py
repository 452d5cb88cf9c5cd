"""The photographs that a study reads: what they are, and whether they changed."""

import hashlib
from pathlib import Path

from dreambirds.data.catalogue import list_files
from dreambirds.data.shapes import to_word
from dreambirds.data.tables import example_pictures
from dreambirds.study.fitting import start_file
from dreambirds.study.known import Known
from dreambirds.study.plan import Plan


def fingerprint(plan: Plan) -> str:
    """Return a digest of the names, sizes and times of all photographs and their tables, or nothing for drawn birds.

    A time that has changed alone counts as what it was. Of a zip it is the zip's own size and time. Raises StudyError
    where a table is wrong.
    """
    return digest_files(plan, _files(plan))


def remember(plan: Plan) -> None:
    """Keep the digests of all photographs and tables, now that they are prepared: a `touch` then changes nothing."""
    files = _files(plan)
    if files:
        known = Known(plan.config["dataset"]["path"])
        for name, file in files.items():
            known.learn(name, file)
        known.keep()


def _files(plan: Plan) -> dict[str, Path]:
    dataset = plan.config["dataset"]
    return {} if dataset["source"] == "drawn" else list_files(dataset, plan.labels)


def digest_files(plan: Plan, files: dict[str, Path]) -> str:
    """Return a digest of files' names, as they are given, sizes and times; one may not be there."""
    if not files:
        return ""
    digest, known = hashlib.sha256(), Known(plan.config["dataset"]["path"])
    for name, file in files.items():
        digest.update(f"{name}\0{known.counts_as(name, file)}\n".encode(errors="surrogateescape"))
    known.keep()
    return digest.hexdigest()


def start_photographs(plan: Plan, recipe: str) -> dict[str, Path]:
    """Return the photograph that each label's dream starts from, if the recipe asks for them; the dataset is prepared.

    Without a `start_path` it is a prepared picture of the label's own class.
    """
    parameters = plan.recipes[recipe]
    if parameters["start"] != "photograph":
        return {}
    path = start_file(parameters, recipe)
    return example_pictures(Path(f"results/{plan.study}/dataset")) if path is None else dict.fromkeys(plan.names, path)


def starts(plan: Plan, recipe: str) -> list[str]:
    """Return the photographs that must be there before a recipe's dreams can start."""
    parameters = plan.recipes[recipe]
    if parameters["start"] != "photograph":
        return []
    path = start_file(parameters, recipe)
    dataset = f"results/{plan.study}/dataset"
    return [f"{dataset}/images.csv"] if path is None else [str(path)]


def statistics(plan: Plan, recipe: str) -> list[str]:
    """Return the file with the data set's spectrum and mean images, if a recipe needs those."""
    parameters = plan.recipes[recipe]
    needed = parameters["image"] == "maco" or parameters["start"] == "class_mean"
    return [f"results/{plan.study}/dataset/statistics-{to_word(plan.shape(recipe))}.safetensors"] if needed else []
