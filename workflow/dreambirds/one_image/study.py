"""Find what an image needs in the results of studies: checkpoints and dreams, photographs and statistics."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dreambirds.data.dataset import NAME
from dreambirds.data.tables import example_images, read_images, read_labels
from dreambirds.dream_job.archive import find_picture
from dreambirds.dream_job.start_dreams import StartDream
from dreambirds.dream_job.statistics import write_statistics
from dreambirds.errors import UserError
from dreambirds.io import sha256_of
from dreambirds.models import MODEL_FILE
from dreambirds.plan.paths import dream_folder, epoch_name, picture_name
from dreambirds.shapes import shape_name

RESULTS = Path("results")


def study_of(checkpoint: Path) -> Path | None:
    """Return the results folder of the study that a checkpoint's weights file lies in, or None."""
    parts = checkpoint.absolute().parents  # study/runs/run/epoch-0004
    return parts[3] if len(parts) > 3 and parts[2].name == "runs" else None


def dataset_of(checkpoint: Path) -> Path | None:
    """Return the folder of the prepared data set of a checkpoint's study, or None if there is none."""
    study = study_of(checkpoint)
    return study / "dataset" if study and (study / "dataset" / "images.csv").is_file() else None


def class_names_of(checkpoint: Path) -> dict[str, str]:
    """Return the display name of each label in the data set of a checkpoint's study, empty if it has none."""
    dataset = dataset_of(checkpoint)
    if dataset is None or not (dataset / "labels.csv").is_file():
        return {}
    return dict(read_labels(dataset)[["label", "class_name"]].itertuples(index=False))


def photographs_of(dataset: Path, label: str, shape: tuple[int, int]) -> Path | tuple[Path, ...] | None:
    """Return the training photographs of a class in a prepared data set, or None if it has none.

    This is the folder of those that are prepared at `shape`, (height, width), if it exists, as for a dream job; else
    the prepared images, whose sizes differ.
    """
    images = read_images(dataset)
    training = images[(images["split"] == "train") & (images["label"] == label) & (images["path"] != "")]
    if training.empty:
        return None
    for folder in (dataset, dataset / f"canvas-{shape_name(shape)}"):
        if (folder / NAME).is_file() and (folder / "images.csv").is_file() and _shape(folder) == shape:
            return folder
    return tuple(dataset / path for path in training["path"])


def _shape(folder: Path) -> tuple[int, int]:
    import numpy as np

    with suppress(OSError, ValueError):
        return tuple(np.load(folder / NAME, mmap_mode="r", allow_pickle=False).shape[2:])
    return (0, 0)


def start_of_class(dataset: Path, label: str) -> Path | None:
    """Return the prepared image that a study's dreams of a class start from, or None if it has none."""
    return example_images(dataset).get(label)


def statistics_file(dataset: Path, shape: tuple[int, int], temporary: Path) -> Path:
    """Return the file of a data set's statistics at `shape`, (height, width).

    If the study has none at this shape, it is written to the folder `temporary`.
    """
    path = dataset / f"statistics-{shape_name(shape)}.safetensors"
    if path.is_file():
        return path
    write_statistics(dataset, shape, temporary / path.name)
    return temporary / path.name


def find_checkpoint(digest: str, run: str, epoch: float, picture: Path) -> Path | None:
    """Return the weights file with a sha256, or None if no study has it.

    The study that contains the image `picture` of this run and epoch comes first, then the others in ``results``.
    """
    seen: set[Path] = set()
    for path in _candidates(run, epoch, picture):
        if path not in seen and path.is_file() and sha256_of(path) == digest:
            return path
        seen.add(path)
    return None


def find_dream(digest: str, origin: Mapping[str, Any], picture: Path) -> StartDream | None:
    """Return the dream of a (run, epoch, recipe, label, step) whose pixels have a digest, None if no study has it.

    The study that contains the image `picture` comes first, then the others in ``results``.
    """
    folder = dream_folder(Path(), origin["run"], origin["epoch"], origin["recipe"])
    place = folder / picture_name(origin["label"], origin["step"])
    for root in (*picture.absolute().parents, *sorted(RESULTS.absolute().glob("*/dreams"))):
        with suppress(UserError):
            for source in (root / place, find_picture(root / place)):
                if source is not None and (not isinstance(source, Path) or source.is_file()):
                    found = StartDream(source, origin)
                    if found.sha256 == digest:
                        return found
    return None


def _candidates(run: str, epoch: float, picture: Path) -> Iterator[Path]:
    place = Path("runs", run, epoch_name(epoch), MODEL_FILE)
    for folder in picture.absolute().parents:
        yield folder / place
    yield from sorted(RESULTS.absolute().glob(str(Path("*", place))))
    yield from sorted(RESULTS.absolute().glob(f"*/runs/*/epoch-*/{MODEL_FILE}"))


def check_sha256(path: Path, digest: str | None, what: str, key: str) -> None:
    """Raise UserError, for the option `key`, unless a file exists and has a sha256."""
    if not path.is_file():
        raise UserError(f"{what} '{path}' does not exist; set the path where it is now", key)
    if digest and sha256_of(path) != digest:
        raise UserError(
            f"{what} '{path}' is not the recorded file, because its sha256 is not {digest[:12]}…; set the original", key
        )
