"""Inputs of jobs, and their fingerprints, which rerun a job if an input changes."""

import contextlib
import hashlib
import itertools
import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypedDict

from dreambirds.config import VIEWS
from dreambirds.config.judges import judge_kind
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
    fingerprint: str


class FileDigests:
    """Digests of files, by name, so that a `touch` does not count as a change."""

    def __init__(self, source: str):
        """Read the digests from the store.

        `source` identifies the set of files, such as the path in the config.
        """
        self.path = store_root() / "photographs" / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.json"
        self.rows, self.changed = _read_digests(self.path), False

    def fingerprint(self, name: str, file: Path) -> str:
        """Return a text that changes with a file's content.

        The file is read only if its time changed and its size did not.
        """
        try:
            status = file.stat()
        except OSError:
            return "gone"
        row, size, time = self.rows.get(name), status.st_size, status.st_mtime_ns
        if row is None or row.size != size:
            return f"{size} {time}"
        if row.time != time:
            if _digest(file) != row.sha256:
                return f"{size} {time}"
            self._set(name, _Row(size, time, row.sha256, row.fingerprint))
        return row.fingerprint

    def add(self, name: str, file: Path) -> None:
        """Read a file and record its digest, unless it is already recorded."""
        fingerprint = self.fingerprint(name, file)
        row = self.rows.get(name)
        if fingerprint == "gone" or (row is not None and row.fingerprint == fingerprint):
            return
        digest, status = _digest(file), file.stat()
        size, time = status.st_size, status.st_mtime_ns
        if fingerprint == f"{size} {time}":  # otherwise the file was edited while it was read
            self._set(name, _Row(size, time, digest, fingerprint))

    def save(self) -> None:
        """Write new digests to the store, if it is writable."""
        if self.changed:
            rows = _read_digests(self.path) | self.rows  # another process may have added some
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
    """Return a digest of the names, sizes and times of all photographs and tables.

    It is empty for drawn birds. `dataset` is the section of the config. A new time with the same content does not
    change the digest. For a zip, its own size and time count. Raises UserError if a table is invalid.
    """
    return digest_files(dataset["path"], _files(dataset, labels))


def remember_photographs(dataset: Section, labels: list[Label]) -> None:
    """Record the digests of photographs and tables, so a later `touch` does not count."""
    files = _files(dataset, labels)
    if files:
        known = FileDigests(dataset["path"])
        for name, file in files.items():
            known.add(name, file)
        known.save()


def _files(dataset: Section, labels: list[Label]) -> dict[str, Path]:
    return {} if dataset["source"] == "drawn" else list_files(dataset, labels)


def digest_files(source: str, files: dict[str, Path]) -> str:
    """Return a digest of the names, sizes and times of files; empty without files.

    `source` is the path in the config. Files may be missing.
    """
    if not files:
        return ""
    digest, known = hashlib.sha256(), FileDigests(source)
    for name, file in files.items():
        digest.update(f"{name}\0{known.fingerprint(name, file)}\n".encode(errors="surrogateescape"))
    known.save()
    return digest.hexdigest()


def start_images(plan: Plan, recipe: str) -> list[str]:
    """Return the photograph, or table of photographs, that a recipe starts from."""
    parameters = plan.recipes[recipe]
    if parameters["start"] != "photograph":
        return []
    path = start_file(parameters, recipe)
    dataset = f"results/{plan.study}/dataset"
    return [f"{dataset}/images.csv"] if path is None else [str(path)]


def dreamer(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return the weights of a dream job.

    The arguments are formatted as in paths. Raises UserError if the study has no such dreams.
    """
    plan.check_dreamer(run, epoch, recipe)
    return f"{checkpoint_folder(plan.study, run, epoch)}/{MODEL_FILE}"


def statistics(plan: Plan, recipe: str) -> list[str]:
    """Return the file with the spectrum and mean images, if a recipe needs it."""
    parameters = plan.recipes[recipe]
    needed = parameters["parameterization"] == "maco" or parameters["start"] == "class_mean"
    return [f"results/{plan.study}/dataset/statistics-{shape_name(plan.shape(recipe))}.safetensors"] if needed else []


def reference_images(plan: Plan, recipe: str) -> list[str]:
    """Return the table and images of the data set at the size of a recipe's dreams.

    The list is empty if the recipe does not compare dreams with photographs of their class.
    """
    if not needs_photographs(plan.recipes[recipe]["objective"]):
        return []
    folder = prepared_folder(plan.study, plan.shape(recipe), shape_of(plan.config["dataset"]["image_size"]))
    return [f"{folder}/images.csv", f"{folder}/pictures.npy"]


class _Request(TypedDict):
    """Record next to a job's images."""

    requested: str
    labels: list[str]


def requested(plan: Plan, run: str, epoch: str, recipe: str, part: str) -> str:
    """Return a text that changes if a dream job lacks an image.

    It stays the same if labels are only removed. The images are not declared as outputs: for 100,000 of them, Snakemake
    needs minutes and a gigabyte of records.
    """
    folder, names = Path(job_folder(plan.study, run, epoch, recipe)), plan.parts[part]
    previous = _read_request(_request_file(folder / index_name(part)))
    images = itertools.product(names, plan.recipes[recipe]["steps"], VIEWS)
    if set(names) <= set(previous["labels"]) and all((folder / picture_name(*image)).exists() for image in images):
        return previous["requested"]
    return f"{len(names)} labels ({digest_of([*names, previous['requested']])[:8]})"


def record_request(index: Path, requested: str, labels: list[str]) -> None:
    """Record next to a dream job's table its request and labels."""
    with atomic_write(_request_file(index)) as temporary:
        temporary.write_text(json.dumps({"requested": requested, "labels": labels}))


def _request_file(index: Path) -> Path:
    return index.with_name(f".{index.name}.json")


def _read_request(path: Path) -> _Request:
    try:
        record = json.loads(path.read_text())
        return {"requested": str(record["requested"]), "labels": list(record["labels"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"requested": "", "labels": []}


def weights(plan: Plan, judge: str) -> str:
    """Return the weights file of a judge."""
    keys = plan.judges[judge]
    match judge_kind(keys):
        case "train":
            return f"{checkpoint_folder(plan.study, judge, plan.epochs(judge)[-1])}/{MODEL_FILE}"
        case "run":
            return f"{checkpoint_folder(plan.study, keys['run'], keys['epoch'])}/{MODEL_FILE}"
        case key:
            return str(expand(keys[key]))


def names(plan: Plan, judge: str) -> list[str]:
    """Return the file with the class names of a judge, if it needs one."""
    labels = plan.judges[judge]["labels"]
    return [str(expand(labels))] if labels else []


def judged_runs(plan: Plan, judge: str) -> list[str]:
    """Return the runs whose dreams a judge evaluates: all that dream, except its own."""
    return [run for run in plan.dreaming_epochs if run != plan.judges[judge]["run"]]


def indexes(plan: Plan, judge: str) -> list[str]:
    """Return the tables of the dream jobs that a judge evaluates."""
    return [index for run in judged_runs(plan, judge) for index in plan.indexes(run=run)]


def section(plan: Plan, judge: str) -> Section:
    """Return the config of a judge without `train`, which its weights reflect."""
    return {key: value for key, value in plan.judges[judge].items() if key != "train"}


def family_of(recipe: Section) -> str:
    """Return a digest that recipes share if they differ only in their seed.

    A judge compares their dreams.
    """
    return digest_of({**recipe, "seed": None})[:16]


def judged(plan: Plan) -> dict[str, list[str]]:
    """Return the judges' output files: judgements of dreams, and sanity checks."""
    folder = f"results/{plan.study}/judged"
    return {
        "judged": [f"{folder}/{judge}.csv" for judge in plan.judges],
        "checks": [f"{folder}/{judge}.sanity.csv" for judge in plan.judges],
    }
