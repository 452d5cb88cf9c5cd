"""Write the config of a new study for a folder of photographs or of checkpoints."""

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml

from dreambirds.config.load import Section, check_path_characters
from dreambirds.data.names import escaped
from dreambirds.errors import UserError, counted
from dreambirds.io import expand, is_file
from dreambirds.plan.plan import make_plan
from dreambirds.runtime.machine import cpu_count
from dreambirds.startup.new_study.checkpoints import group_checkpoints, look_for_checkpoints
from dreambirds.startup.new_study.photographs import look_for_photographs
from dreambirds.startup.new_study.runs import checkpoint_config, complete_models, describe
from dreambirds.startup.new_study.sections import training_config
from dreambirds.startup.new_study.text import comment, new_study
from dreambirds.startup.preflight import announce_study

STDOUT = "-"
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
LISTED = 4  # sentences about what was left out; the config has all


class NewStudy(NamedTuple):
    """The lines of a new config, what was found, and what a user has to fill in before it runs, as sentences."""

    lines: list[str]
    facts: list[str]
    missing: list[str]


def write_config(folder: Path, output: str | None = None, photographs: Path | None = None) -> None:
    """Write a config for a folder of photographs or of checkpoints, and print what was found and what to run.

    `output` is the path of the config, ``-`` for the standard output; None means ``config/<name>.yaml`` if there is a
    folder of configs, else ``<name>.yaml``. `photographs` is a folder of those that checkpoints were trained on. Raises
    UserError if the folder has neither kind or both, or if the config exists.
    """
    for given in filter(None, (folder, photographs)):
        _check_path(given)
    name_of = folder.with_suffix("") if folder.is_file() else folder
    if is_file(folder / "dataset" / "labels.csv") and (folder / "runs").is_dir():  # the results of a study
        folder, photographs = folder / "runs", photographs or folder / "dataset" / "images"
    paths = look_for_checkpoints(folder)
    name = new_study(name_of, "checkpoints" if paths else "photographs")
    path = Path(output or (f"config/{name}.yaml" if Path("config").is_dir() else f"{name}.yaml"))
    if output != STDOUT and (path.exists() or path.is_symlink()):
        raise UserError(f"'{path}' exists already and is not overwritten; set another path with `-o`")
    if paths and not photographs:
        _check_one_kind(folder, paths)
    study = _for_checkpoints(paths, photographs, name) if paths else _for_photographs(folder, photographs, name)
    place = Path(f"{name}.yaml") if output == STDOUT else path
    text = _text(study, folder, place)
    config = yaml.safe_load(text)
    if not study.missing:
        try:
            make_plan(config)
        except UserError as error:
            if not paths:
                raise
            study = study._replace(missing=[str(error)])
            text = _text(study, folder, place)
    if output == STDOUT:
        print(text, end="")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _report(config, study, None if output == STDOUT else path)


def _check_path(path: Path) -> None:
    """Raise UserError unless a path exists and can be written into a config."""
    if not path.exists():
        raise UserError(f"'{path}' does not exist; pass a folder of photographs or of checkpoints")
    if expand(str(path)) != path:
        raise UserError(f"'{path}' contains '$' or '~', which configs replace; rename or link it")
    check_path_characters(path, "FOLDER")


def _check_one_kind(folder: Path, paths: list[Path]) -> None:
    """Raise UserError if a folder of checkpoints has class folders of photographs too."""
    found = None
    with suppress(UserError):  # of images that are not photographs of classes, such as curves
        found = look_for_photographs(folder) if folder.is_dir() else None
    if found:
        both = f"checkpoints, such as '{paths[0]}', and photographs, in '{found.path}'"
        separate = f"dreambirds init {_quoted(paths[0].parent)} --photographs {_quoted(found.path)}"
        raise UserError(f"'{folder}' contains {both}; pass one of them, or both as `{separate}`")


def _for_photographs(folder: Path, photographs: Path | None, name: str) -> NewStudy:
    """Return a study that trains on photographs."""
    if photographs:
        raise UserError(f"'{folder}' contains no checkpoints, which '--photographs' requires; pass a folder of them")
    found = look_for_photographs(folder) if folder.is_dir() else None
    if found is None:
        neither = "contains neither photographs nor checkpoints"
        problem = neither if folder.is_dir() else "is neither a folder nor a file of weights"
        remedy = "pass a folder with one subfolder of photographs per class, or one of checkpoints"
        if folder.suffix.lower() in ARCHIVES:
            problem, remedy = "is an archive", "unpack it, and pass the folder; a study also reads a zip (dataset.path)"
        raise UserError(f"'{folder}' {problem}; {remedy}")
    moved = [] if found.path == folder else [f"The class folders are in '{found.path}', so the study uses that."]
    left_out = [f"Left out: {what}." for what in found.left_out]
    return NewStudy(training_config(found, name), [f"Found {found}.", *moved, *_shortened(left_out)], [])


def _for_checkpoints(paths: list[Path], photographs: Path | None, name: str) -> NewStudy:
    """Return a study of checkpoints, without training."""
    trainings, refused = group_checkpoints(paths)
    if not trainings:
        more = f" (nor {counted(len(refused) - 1, 'other')})" if len(refused) > 1 else ""
        raise UserError(f"no checkpoint can be used{more}: {refused[0]}")
    complete_models(trainings)
    data = photographs or next((each.data for each in trainings if each.data), None)
    found = look_for_photographs(data) if data else None
    if photographs and not found:
        raise UserError(f"'{photographs}' contains no photographs; pass a folder with one subfolder per class")
    lines, missing = checkpoint_config(trainings, found, name)
    left_out = [f"Left out: {problem}" for problem in refused]
    facts = _shortened([f"Found {describe(training)}." for training in trainings])
    facts += [f"Found {found}."] if found else []
    return NewStudy([*lines, *map(comment, left_out)], [*facts, *_shortened(left_out)], missing)


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - LISTED
    return [*sentences[:LISTED], *([f"… and {more} more, which the config lists."] if more > 0 else [])]


def _text(study: NewStudy, folder: Path, path: Path) -> str:
    """Return the text of a config, which begins with how it was written and how to run it."""
    state = "Complete it where it reads 'fill in', then run" if study.missing else "To run it"
    written = f"Written by `dreambirds init {_quoted(folder)}`. config/README.md explains every key."
    first = [written, study.facts[0], f"{state}:", f"  {_command(path)}"]
    return "\n".join([*map(comment, first), *study.lines, ""])


def _report(config: Section, study: NewStudy, path: Path | None) -> None:
    """Print to standard error what was found, what the study takes, and what to run."""
    lines = [*study.facts, *([f"Wrote '{path}'."] if path else [])]
    lines += [f"Not known, so fill it in: {what}." for what in study.missing]
    print(*map(escaped, lines), sep="\n", file=sys.stderr)
    if not study.missing:
        with suppress(UserError):
            announce_study(make_plan(config), cpu_count())
    if path:
        print(f"Next: {_command(path)}", file=sys.stderr)


def _command(path: Path) -> str:
    return f"snakemake --cores all --configfile {_quoted(path)}"


def _quoted(path: Path) -> str:
    return shlex.quote(escaped(str(path)))
