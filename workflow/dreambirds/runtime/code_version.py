"""Digest of the code of each stage; a change of code invalidates results.

Comments, docstrings and messages do not count. Each rule has `stage_code` among its parameters, and the keys of the
dream store and of prepared images contain it. So an edit reruns its own stage and no earlier stage. The modules of a
stage are found by following imports from its scripts. Of each module, the syntax tree counts (`runtime.essence`).
Modules that affect no result are in `EXEMPT`.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from dreambirds.errors import UserError
from dreambirds.io import atomic_write, digest_of, store_entry, store_target
from dreambirds.runtime.essence import essence_of, is_own

PACKAGE = Path(__file__).parents[1]
SCRIPTS = PACKAGE.parent / "scripts"
TEMPLATES = sorted((PACKAGE / "gallery" / "templates").iterdir())
SOURCES = sorted((PACKAGE / "data" / "sources").glob("*.py"))  # discovered at run time, not imported by name
REQUIREMENTS = PACKAGE.parents[1] / "requirements.txt"  # not where only the package is installed
PIN = re.compile(r"([\w.-]+)==([\w.]+)")
STYLE = PACKAGE / "figures" / "style.mplstyle"
ENTRIES = {
    "dataset": [SCRIPTS / "dataset.py", *SOURCES],
    "prepared": [PACKAGE / "data" / "image_io.py"],
    "overview": [SCRIPTS / "overview.py"],
    "training": [SCRIPTS / "train.py"],
    "import": [SCRIPTS / "import_checkpoint.py"],
    "dreaming": [SCRIPTS / "dream.py"],
    "picture": [SCRIPTS / "picture.py"],
    "statistics": [SCRIPTS / "data_statistics.py"],
    "montage": [SCRIPTS / "montage.py"],
    "nearest": [SCRIPTS / "nearest.py"],
    "exciting": [SCRIPTS / "exciting.py"],
    "film": [SCRIPTS / "film.py"],
    "curves": [SCRIPTS / "curves.py", STYLE],
    "submission": [SCRIPTS / "submission.py", *SOURCES],
    "recipes": [SCRIPTS / "recipes.py"],
    "judging": [SCRIPTS / "judge.py", SCRIPTS / "judge_reference.py"],
    "answers": [SCRIPTS / "judge_answers.py", SCRIPTS / "judge_answers_check.py"],
    "pixels": [SCRIPTS / "pixels.py", SCRIPTS / "spectra.py"],
    "excitation": [SCRIPTS / "excitation.py"],
    "measurements": [SCRIPTS / "measurements.py"],
    "plots": [SCRIPTS / "plots.py", STYLE],
    "gallery": [SCRIPTS / "gallery.py", *TEMPLATES],
    "question": [SCRIPTS / "question.py", STYLE, *TEMPLATES],
    "findings": [SCRIPTS / "findings.py", *TEMPLATES],
    "comparison": [SCRIPTS / "comparison.py", *TEMPLATES],
}
LIBRARIES = {
    "dataset": ["numpy", "pi-heif", "pillow", "torchvision"],
    "prepared": ["pi-heif", "pillow", "torchvision"],
    "training": ["timm", "torch", "torchvision"],
    "import": ["timm", "torch", "torchvision"],
    "check": ["timm", "torch"],
    "statistics": ["pillow", "torch", "torchvision"],
    "dreaming": ["numpy", "pillow", "timm", "torch", "torchvision"],
    "submission": ["pillow", "timm", "torch", "torchvision"],
    "judging": ["pillow", "timm", "torch", "torchvision"],
    "excitation": ["timm", "torch", "torchvision"],
}
EXEMPT = {
    "they format errors and write logs": ["errors", "log"],
    "they lock, link, move, digest and store files, whose contents other modules determine": ["io", "dream_job.store"],
    "they run a job: they fork, reserve GPUs, exit with Snakemake, check the code and the machine, and record times": [
        *("runtime.code_version", "runtime.essence", "runtime.fork_client", "runtime.fork_server"),
        *("runtime.job", "runtime.gpu_lock", "runtime.machine", "runtime.snakemake_lock", "runtime.process"),
        "runtime.timings",
    ],
    "they check a config and plan its jobs, and the parameters of each rule contain the outcome": [
        *("config.checkpoints", "config.history_files", "config.judges", "config.load", "config.questions"),
        *("config.runs", "models.packages"),
        *(
            "plan.checkpoints",
            "plan.fingerprints",
            "plan.inputs",
            "plan.paths",
            "plan.plan",
            "plan.questions",
            "plan.start_dreams",
            "plan.targets",
        ),
    ],
    "it estimates memory, which sets the batch size; that changes an image only by rounding": ["plan.memory"],
}
NOTHING = hashlib.sha256().hexdigest()


def libraries(stage: str) -> dict[str, str]:
    """Return the versions of the libraries that affect a stage's results, by name.

    A library that is not installed counts with its pinned version, so a study can be planned without it.
    """
    return {name: installed_version(name) or pinned_versions()[name] for name in LIBRARIES[stage]}


@cache
def installed_version(name: str) -> str | None:
    """Return the version of a library without its build (``2.14.1`` of ``2.14.1+cpu``), None if it is not installed."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


@cache
def pinned_versions() -> dict[str, str]:
    """Return the pinned version of each requirement of this project, by name in lower case."""
    lines = (
        REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        if REQUIREMENTS.is_file()
        else requires(PACKAGE.name) or []
    )
    return {pin[1].lower(): pin[2] for line in lines if (pin := PIN.match(line))}


def check_libraries(planned: Mapping[str, str] | None) -> None:
    """Raise UserError if a job lacks a library, or finds another version than the study was planned with.

    None is not checked.
    """
    for name, expected in (planned or {}).items():
        found = installed_version(name)
        if found != expected:
            problem = f"has version {found}" if found else "is not installed"
            remedy = f"run `pip install {name}=={expected}`, or start Snakemake in the environment of its jobs"
            raise UserError(
                f"the library '{name}' {problem} here, but the study was planned with version {expected}; {remedy}"
            )


def stage_code(stage: str) -> str:
    """Return a stage's name with a digest of its modules, independent of their paths."""
    return _stage_codes()[stage]


@cache
def _stage_codes() -> dict[str, str]:
    """Return the code of every stage.

    Parsing all modules takes a third of a second, so the codes are kept in the store until a file changes.
    """
    files = sorted([*PACKAGE.rglob("*.py"), *SCRIPTS.glob("*.py"), *TEMPLATES, STYLE])
    state = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    names = "code", f"{digest_of(str(PACKAGE))[:16]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(store_entry(*names).read_text(encoding="utf-8"))
        if stored["state"] == state and stored["codes"].keys() == ENTRIES.keys():
            return dict(stored["codes"])
    codes = {stage: f"{stage} code {code_digest(stage_modules(stage))[:16]}" for stage in ENTRIES}
    path = store_target(*names)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"state": state, "codes": codes}), encoding="utf-8")
    return codes


def check_code(code: str | None) -> None:
    """Raise UserError if a stage's code changed since Snakemake started.

    None is not checked.
    """
    if code is not None and stage_code(code.partition(" code ")[0]) != code:
        raise UserError("the code was edited while Snakemake was running; run the same command again")


def code_digest(paths: Iterable[Path]) -> str:
    """Return a sha256 of the essence of modules (`runtime.essence`) and the bytes of other files.

    The order of the paths does not matter.
    """
    counted = {path: _read(path) for path in paths}
    lines = {read.digest for read in counted.values()} - {NOTHING}  # modules with nothing but a docstring
    for read in counted.values():  # the content behind an imported name counts, the path of its module does not
        lines |= {f"{read.digest} {name} {counted[file].digest}" for name, file in read.names if file in counted}
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def stage_modules(stage: str) -> list[Path]:
    """Return the scripts and templates of a stage, and the modules that they import.

    Indirect imports count too. Exempt modules, and modules that only those import, are excluded.
    """
    exempt = {module_path(name) for names in EXEMPT.values() for name in names}
    found: set[Path] = set()
    waiting = list(ENTRIES[stage])
    while waiting:
        path = waiting.pop()
        if path not in found | exempt:
            found.add(path)
            waiting += _read(path).imported
    return sorted(found)


def module_path(name: str) -> Path:
    """Return the file of a module of the package, such as ``data.tables``."""
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


@dataclass(frozen=True)
class _File:
    """A file's digest, its imports from the package, and the names that it uses."""

    digest: str
    imported: list[Path]
    names: list[tuple[str, Path]]


@cache
def _read(path: Path) -> _File:
    if path.suffix != ".py":
        return _File(hashlib.sha256(path.read_bytes()).hexdigest(), [], [])
    tree = ast.parse(path.read_bytes())
    text, used = essence_of(tree)
    files: list[Path] = []
    names: list[tuple[str, Path]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and is_own(node.module):
            base = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            files += _files(base)
            for alias in node.names:
                modules = _files(base / alias.name)
                files += modules
                names += [
                    (alias.name, file) for file in modules or _files(base) if (alias.asname or alias.name) in used
                ]
    return _File(hashlib.sha256(text.encode()).hexdigest(), files, names)


def _files(base: Path) -> list[Path]:
    # the package's `__init__` contains only its version and public names, which affect no result
    files = (base.with_suffix(".py"), base / "__init__.py") if base != PACKAGE else ()
    return [file for file in files if file.is_file()]
