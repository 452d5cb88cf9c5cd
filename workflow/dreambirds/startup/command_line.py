"""Snakemake's command line: refuse in one line what Snakemake would refuse with a traceback, and complete what it does.

Snakemake reads the config before the workflow. So ``profiles/default/config.yaml``, which it reads even earlier, calls
`check_command_line`.
"""

import atexit
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import yaml

from dreambirds.config.load import Section, check_file
from dreambirds.errors import UserError
from dreambirds.runtime.process import prepare_process

NAME = re.compile(r"[a-zA-Z_][\w-]*\w")  # of a key in ``--config``, as Snakemake requires
DELETE, DRY_RUN = "--delete-all-output", {"-n", "--dry-run", "--dryrun"}


def check_command_line(arguments: list[str]) -> None:
    """Prepare the process; exit with one line if a file of ``--configfile`` or an entry of ``--config`` is not valid.

    `arguments` are those of the command ``snakemake``. Files and entries of the user's own profiles count, too.
    """
    from snakemake.cli import get_argument_parser  # here, because jobs do not need it

    given, _ = get_argument_parser().parse_known_args(arguments)
    if given.profile and given.profile != ["none"]:
        given, _ = get_argument_parser(profiles=given.profile).parse_known_args(arguments)
    try:
        prepare_process()
        for names in (("--config", "-C"), ("--configfile", "--configfiles")):
            if sum(each.partition("=")[0] in names for each in arguments) > 1:
                raise UserError(
                    "is given twice, and Snakemake uses only the last; write all values after one", names[0]
                )
        for number, file in enumerate(given.configfile):
            if number and not file.suffix and not file.exists():
                problem = f"'{file}' does not exist, and Snakemake reads all names after it as config files"
                raise UserError(f"{problem}; write targets before --configfile", "--configfile")
            check_file(file)
        for entry in given.config or ():
            _check_entry(entry)
    except UserError as error:
        sys.exit(f"Error: {error}")


def _check_entry(entry: str) -> None:
    """Raise UserError unless an entry of ``--config`` is a key and a value."""
    path, equals, value = entry.partition("=")
    if not equals:
        problem = f"'{entry}' is not a key and a value"
        raise UserError(
            f"{problem}; write key=value, in quotes if it contains spaces, and targets before --config", "--config"
        )
    keys = path.split(".")
    if len(keys) > 1 and NAME.fullmatch(keys[0]) and all(keys):
        for key in reversed(keys[1:]):
            value = f"{{{key}: {value}}}"
        right = shlex.quote(f"{keys[0]}={value}")
        raise UserError(f"'{entry}' has a path of keys, but Snakemake takes one key; write {right}", "--config")
    if not NAME.fullmatch(path):
        raise UserError(f"'{path}' is not the name of a key; write key=value", "--config")


def read_entries(config: Section, entries: Mapping[str, Any]) -> Section:
    """Return a config in which the values that came from ``--config`` are read as in a YAML file.

    `entries` are these values as Snakemake read them: numbers, booleans and null within a mapping are text.
    """
    read = dict(config)
    for key, value in entries.items():
        if isinstance(value, Mapping) and isinstance(config.get(key), Mapping):
            read[key] = read_entries(config[key], value)
        elif key in config and config[key] == value:
            read[key] = _as_yaml(value)
    return read


def _as_yaml(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_yaml(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_yaml(inner) for inner in value]
    if isinstance(value, str):
        with suppress(yaml.YAMLError, ValueError):
            loaded = yaml.safe_load(value)
            return loaded if isinstance(loaded, bool | int | float | None) else value
    return value


def is_dry_run() -> bool:
    """Return whether this process was called for a dry run of Snakemake."""
    return bool(DRY_RUN & set(sys.argv))


def remove_images_with(archives: Iterable[Path]) -> None:
    """Remove the images of dreams whose archives ``snakemake --delete-all-output`` deletes, when this process ends.

    Snakemake deletes only declared outputs, and the images are linked out of an archive. Without that option, or in a
    dry run, nothing is done.
    """
    if DELETE in sys.argv and not is_dry_run():
        # absolute, because Snakemake leaves the working directory first
        atexit.register(_remove, {path.absolute(): _names(path) for path in archives if path.exists()})


def _names(archive: Path) -> list[str]:
    with suppress(OSError, BadZipFile), ZipFile(archive) as file:
        return file.namelist()
    return []


def _remove(names: Mapping[Path, list[str]]) -> None:
    for archive, images in names.items():
        if not archive.exists():
            paths = [archive.parent / image for image in images]
            for path in paths:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                with suppress(OSError):
                    os.removedirs(folder)  # with the folders above it that have become empty
