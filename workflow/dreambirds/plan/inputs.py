"""List what each job reads, and fingerprint it, so that a job runs again if it changed."""

import contextlib
import hashlib
import itertools
import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypedDict

from dreambirds.config import VIEWS
from dreambirds.config.judges import kind
from dreambirds.config.load import Section
from dreambirds.config.recipes import start_file
from dreambirds.data.labels import Label
from dreambirds.data.sources.catalog import list_files
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.io import atomic_write, digest_of, expand, sha256_of, store_root
from dreambirds.models import MODEL_FILE
from dreambirds.plan.paths import checkpoint_folder, index_name, job_folder, picture_name, prepared_folder
from dreambirds.plan.plan import Plan
from dreambirds.shapes import shape_name, shape_of


@dataclass(frozen=True)
class _Row:
    size: int
    time: int
    sha256: str
    counts_as: str


class FileDigests:
    """What is known of the files of one place, by the names that they are given."""

    def __init__(self, place: str):
        """Take the name of the place, such as the path in the config; what is known of it lies in the store."""
        self.path = store_root() / "photographs" / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
        self.rows, self.changed = _read_digests(self.path), False

    def fingerprint(self, name: str, file: Path) -> str:
        """Return what a file counts as; it is read only where its size is what it was and its time is not."""
        try:
            about = file.stat()
        except OSError:
            return "gone"
        row, size, time = self.rows.get(name), about.st_size, about.st_mtime_ns
        if row is None or row.size != size:
            return f"{size} {time}"
        if row.time != time:
            if _digest(file) != row.sha256:
                return f"{size} {time}"
            self._set(name, _Row(size, time, row.sha256, row.counts_as))
        return row.counts_as

    def add(self, name: str, file: Path) -> None:
        """Read a file, unless it is known, and keep its digest."""
        counts_as = self.fingerprint(name, file)
        row = self.rows.get(name)
        if counts_as == "gone" or (row is not None and row.counts_as == counts_as):
            return
        digest, about = _digest(file), file.stat()
        size, time = about.st_size, about.st_mtime_ns
        if counts_as == f"{size} {time}":  # else it was edited while it was read
            self._set(name, _Row(size, time, digest, counts_as))

    def save(self) -> None:
        """Write down what is new; where the store can't be written to, files will be read again."""
        if self.changed:
            rows = _read_digests(self.path) | self.rows  # another process may have learnt too
            with contextlib.suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(self.path) as temporary:
                    temporary.write_text(json.dumps({name: astuple(row) for name, row in rows.items()}))

    def _set(self, name: str, row: _Row) -> None:
        self.rows[name], self.changed = row, True


def _read_digests(path: Path) -> dict[str, _Row]:
    try:
        return {name: _Row(*row) for name, row in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return "unreadable"


def fingerprint(dataset: Section, labels: list[Label]) -> str:
    """Return a digest of the names, sizes and times of all photographs and their tables, or nothing for drawn birds.

    `dataset` is the config's section. A time that has changed alone counts as what it was. Of a zip it is the zip's own
    size and time. Raises UserError where a table is wrong.
    """
    return digest_files(dataset["path"], _files(dataset, labels))


def remember_photographs(dataset: Section, labels: list[Label]) -> None:
    """Keep the digests of all photographs and tables, now that they are prepared: a `touch` then changes nothing."""
    files = _files(dataset, labels)
    if files:
        known = FileDigests(dataset["path"])
        for name, file in files.items():
            known.add(name, file)
        known.save()


def _files(dataset: Section, labels: list[Label]) -> dict[str, Path]:
    return {} if dataset["source"] == "drawn" else list_files(dataset, labels)


def digest_files(place: str, files: dict[str, Path]) -> str:
    """Return a digest of files' names, as they are given, sizes and times; one may not be there.

    `place` is the path that the config has for all of them.
    """
    if not files:
        return ""
    digest, known = hashlib.sha256(), FileDigests(place)
    for name, file in files.items():
        digest.update(f"{name}\0{known.fingerprint(name, file)}\n".encode(errors="surrogateescape"))
    known.save()
    return digest.hexdigest()


def start_images(plan: Plan, recipe: str) -> list[str]:
    """Return the photographs that must be there before a recipe's dreams can start."""
    parameters = plan.recipes[recipe]
    if parameters["start"] != "photograph":
        return []
    path = start_file(parameters, recipe)
    dataset = f"results/{plan.study}/dataset"
    return [f"{dataset}/images.csv"] if path is None else [str(path)]


def dreamer(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return the weights that dream in a job; all is as in paths. Raises UserError if the study has no such dreams."""
    plan.check_dreamer(run, epoch, recipe)
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def statistics(plan: Plan, recipe: str) -> list[str]:
    """Return the file with the data set's spectrum and mean images, if a recipe needs those."""
    parameters = plan.recipes[recipe]
    needed = parameters["parameterization"] == "maco" or parameters["start"] == "class_mean"
    return [f"results/{plan.study}/dataset/statistics-{shape_name(plan.shape(recipe))}.safetensors"] if needed else []


def reference_pictures(plan: Plan, recipe: str) -> list[str]:
    """Return the table and the pictures of the data set, as large as a recipe's dreams, if it compares them with those
    of its class."""
    if not needs_photographs(plan.recipes[recipe]["objective"]):
        return []
    folder = prepared_folder(plan.study, plan.shape(recipe), shape_of(plan.config["dataset"]["image_size"]))
    return [f"{folder}/images.csv", f"{folder}/pictures.npy"]


class _Request(TypedDict):
    """What is recorded next to a job's images."""

    requested: str
    labels: list[str]


def requested(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return a text that changes as soon as a dream job lacks an image, and stays where labels are only removed.

    The images are too many for Snakemake to count: 100,000 of them took it minutes and a gigabyte of records.
    """
    folder, names = Path(job_folder(plan.study, run, epoch, recipe)), plan.parts[part]
    before = _read_request(_request_file(folder / index_name(part)))
    pictures = itertools.product(names, plan.recipes[recipe]["steps"], VIEWS)
    if set(names) <= set(before["labels"]) and all((folder / picture_name(*each)).exists() for each in pictures):
        return before["requested"]
    return f"{len(names)} labels ({digest_of([*names, before['requested']])[:8]})"


def record_request(index: Path, requested: str, labels: list[str]) -> None:
    """Write next to a dream job's table which request it has fulfilled, and for which labels."""
    with atomic_write(_request_file(index)) as temporary:
        temporary.write_text(json.dumps({"requested": requested, "labels": labels}))


def _request_file(index: Path) -> Path:
    return index.with_name(f".{index.name}.json")


def _read_request(path: Path) -> _Request:
    try:
        before = json.loads(path.read_text())
        return {"requested": str(before["requested"]), "labels": list(before["labels"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"requested": "", "labels": []}


def weights(plan: Plan, judge: str) -> str:
    """Return the file of a judge's weights."""
    keys = plan.judges[judge]
    match kind(keys):
        case "train":
            return f"{checkpoint_folder(plan.study, judge, plan.epochs(judge)[-1])}/{MODEL_FILE}"
        case "run":
            return f"{checkpoint_folder(plan.study, keys['run'], keys['epoch'])}/{MODEL_FILE}"
        case word:
            return str(expand(keys[word]))


def names(plan: Plan, judge: str) -> list[str]:
    """Return the file that tells what a judge's classes are called, if it needs one."""
    labels = plan.judges[judge]["labels"]
    return [str(expand(labels))] if labels else []


def judged_runs(plan: Plan, judge: str) -> list[str]:
    """Return the runs whose dreams a judge is shown: all that dream but its own."""
    return [run for run in plan.dreaming_epochs if run != plan.judges[judge]["run"]]


def indexes(plan: Plan, judge: str) -> list[str]:
    """Return the tables of the dream jobs that a judge is shown."""
    return [index for run in judged_runs(plan, judge) for index in plan.indexes(run=run)]


def section(plan: Plan, judge: str) -> Section:
    """Return what the config says of a judge beside how it is trained, which its weights tell."""
    return {key: value for key, value in plan.judges[judge].items() if key != "train"}


def family_of(recipe: Section) -> str:
    """Return a text that recipes share which differ in their seed only; a judge compares their dreams."""
    return digest_of({**recipe, "seed": None})[:16]


def judged(plan: Plan) -> dict[str, list[str]]:
    """Return what the judges write, in their order: their words on dreams, and what they are."""
    folder = f"results/{plan.study}/judged"
    return {
        "judged": [f"{folder}/{judge}.csv" for judge in plan.judges],
        "checks": [f"{folder}/{judge}.sanity.csv" for judge in plan.judges],
    }
