"""Code counts as input: a digest of the modules that a stage is made of.

Editing one runs its stage again, and no stage before it. The modules are found by following imports from the stage's
scripts, so that none is forgotten, and all templates count for every page; those of `study` only say what is asked for,
which each rule carries in its parameters.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dreambirds.errors import StudyError

PACKAGE = Path(__file__).parents[1]
TEMPLATES = sorted(f"gallery/templates/{path.name}" for path in (PACKAGE / "gallery" / "templates").iterdir())
ENTRIES = {
    "dataset": ["../scripts/dataset.py"],
    "look": ["../scripts/look.py"],
    "training": ["../scripts/train.py"],
    "dreaming": ["../scripts/dream.py"],
    "statistics": ["../scripts/data_statistics.py"],
    "assembly": ["../scripts/montage.py", "../scripts/film.py"],
    "curves": ["../scripts/curves.py"],
    "submission": ["../scripts/submission.py"],
    "recipes": ["../scripts/recipes.py", "study/recipes.py"],
    "judging": ["../scripts/judge.py"],
    "measurements": ["../scripts/measurements.py"],
    "plots": ["../scripts/plots.py"],
    "gallery": ["../scripts/gallery.py", *TEMPLATES],
    "finding": ["../scripts/finding.py", "study/experiment.py", *TEMPLATES],
    "findings": ["../scripts/findings.py", *TEMPLATES],
    "comparison": ["../scripts/comparison.py", *TEMPLATES],
}
LIBRARIES = {
    "dataset": ["numpy", "pillow", "torchvision"],
    "training": ["timm", "torch", "torchvision"],
    "statistics": ["pillow", "torch", "torchvision"],
    "judging": ["pillow", "timm", "torch", "torchvision"],
}


def libraries(stage: str) -> dict[str, str]:
    """Return the versions of the libraries that a stage's results depend on, by name."""
    return {name: version(name) for name in LIBRARIES[stage]}


@cache
def stage_code(stage: str) -> str:
    """Return a word with the digest of a stage's modules: of their contents, not of where they lie or when they were
    written."""
    digest = hashlib.sha256()
    for path in stage_modules(stage):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return f"{stage} code {digest.hexdigest()[:16]}"


def check_code(code: str | None) -> None:
    """Raise StudyError unless a stage's code is still what Snakemake took down when it began; None is not checked."""
    if code is not None and stage_code(code.partition(" code ")[0]) != code:
        raise StudyError("the code was edited while Snakemake ran; type the same command again")


def stage_modules(stage: str) -> list[Path]:
    """Return the scripts and templates of a stage and all modules that they import, directly or not, in order."""
    found: set[Path] = set()
    waiting = [PACKAGE / entry for entry in ENTRIES[stage]]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path) if path.suffix == ".py" else []
    return sorted(found)


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("dreambirds"):
            continue
        parts = node.module.split(".")[1:]
        if parts[:1] != ["study"]:
            # the package's own `__init__` holds its version, which decides nothing
            for name in filter(None, (parts, *([*parts, alias.name] for alias in node.names))):
                base = PACKAGE.joinpath(*name)
                yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file())
