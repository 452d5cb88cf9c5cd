"""Checkpoints that were trained elsewhere, as the epochs of a run.

An epoch is a number of completed epochs. It is listed in the config, or read from the file or from its name
(`models.checkpoint_facts`).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from dreambirds.config.load import Section, check_path_characters, load_schema
from dreambirds.config.runs import FIXED_OPTIONS, MAX_DECIMALS, parse_epoch, raise_for_address
from dreambirds.data.sources.catalog import has_photographs
from dreambirds.errors import UserError, counted, did_you_mean, error_context, in_yaml
from dreambirds.io import exists, expand, sha256_of
from dreambirds.models import NOT_FILES
from dreambirds.models.checkpoint_facts import CheckpointFacts, read_facts, weights_files
from dreambirds.models.epochs import GENERIC, stem_of
from dreambirds.models.file_kinds import has_name_of_weights
from dreambirds.models.names import check_model_name

# the keys of such a run; all others are for training
KEYS = ("model", "model_options", "checkpoints", "labels", "names", "weights_key", "head", "normalization", "epochs")
WEIGHTS = "weights"  # also of a run without 'checkpoints', if the study has no photographs
WITHOUT = "without photographs nothing is trained"
MAX_EPOCH = 9999


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint that was trained elsewhere: its weights, its epoch, and what says that it is this epoch.

    `weights` is the path of a file or folder, or ``package`` or ``hub``, as in the section of a run.
    """

    weights: str
    epoch: int | float
    source: str

    @property
    def path(self) -> Path | None:
        """The file or folder, None for weights of a package or the hub."""
        return None if self.weights in NOT_FILES else Path(self.weights)

    @property
    def files(self) -> list[Path]:
        """The files that a job needs as inputs."""
        return weights_files(self.path) if self.path else []

    @property
    def facts(self) -> CheckpointFacts:
        """What the file or folder records about itself."""
        return facts_of(self.path) if self.path else CheckpointFacts()


def facts_of(path: Path) -> CheckpointFacts:
    """Return what a file or folder of weights records about itself; it is read again only if it has changed."""
    try:
        states = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in weights_files(path))
    except OSError:
        states = ()
    return _read_facts(path, states)


@cache
def _read_facts(path: Path, _states: tuple[tuple[int, int], ...]) -> CheckpointFacts:
    return read_facts(path)


def fill_runs(config: Section) -> None:
    """Fill in what the runs that are not trained do not set, in place, before the schema's defaults: epochs and model.

    These are the runs with `checkpoints`, and all runs of a study without photographs. Raises UserError, with the key's
    full path, if such a run has keys of training or no weights, or as `list_checkpoints` does.
    """
    runs, photographs = config.get("runs"), has_photographs(config.get("dataset"))
    for name, run in runs.items() if isinstance(runs, dict) else ():
        if isinstance(run, dict):
            if isinstance(run.get("checkpoints"), (str, dict)) and run["checkpoints"]:
                _fill_run(run, f"runs.{name}", "this run has 'checkpoints'; remove one of the two")
            elif not photographs and isinstance(run.get("weights"), (str, type(None))):
                _fill_run(run, f"runs.{name}", f"{WITHOUT}; remove it")


def _fill_run(run: Section, where: str, untrained: str) -> None:
    allowed = (*KEYS, *(() if run.get("checkpoints") else (WEIGHTS,)))
    training = [key for key in run if key not in allowed and key in load_schema("config")["$defs"]["run"]["properties"]]
    if training:
        raise UserError(f"{where}.{training[0]}: is for runs that the study trains, and {untrained}")
    found = _listed_in(run, where)
    run.setdefault("epochs", [checkpoint.epoch for checkpoint in found])
    fill_from_facts(run, found[-1].facts)
    if not run["model"]:
        problem = f"is required, because '{found[-1].weights}' does not record it"
        raise UserError(f"{where}.model: {problem}; set it to the architecture of the weights")


def _listed_in(run: Section, where: str) -> list[ForeignCheckpoint]:
    """Return the checkpoints of a run: those of its key `checkpoints`, or else its `weights`, as epoch 0."""
    key, given = given_checkpoints(run)
    if given == {0: None}:
        remedy = "set it to package, hub, or a file or folder of weights, or set 'checkpoints'"
        raise UserError(f"is required, because {WITHOUT}; {remedy}", f"{where}.{key}")
    return list_checkpoints(given, f"{where}.{key}")


def given_checkpoints(run: Section) -> tuple[str, str | dict[Any, Any]]:
    """Return the key that sets the checkpoints of a run that is not trained, and its value as of `checkpoints`."""
    return ("checkpoints", run["checkpoints"]) if run.get("checkpoints") else (WEIGHTS, {0: run.get(WEIGHTS)})


def fill_from_facts(network: Section, facts: CheckpointFacts) -> None:
    """Fill in what weights record about their network, in place, where the config says nothing.

    These are the model with its options, the kind of its head, and the normalization.
    """
    if not network.get("model"):
        options = {key: value for key, value in facts.model_options.items() if key not in FIXED_OPTIONS}
        network |= {"model": known_model(facts.model), "model_options": network.get("model_options") or options}
    network["head"] = network.get("head") or facts.head
    network["normalization"] = network.get("normalization") or facts.normalization


def known_model(model: str | None) -> str | None:
    """Return the name of a model, None if no model has this name: a file may record any text."""
    with suppress(UserError):
        if model:
            check_model_name(model)
            return model
    return None


def remove_training_keys(run: Section) -> None:
    """Remove the keys of training, which the schema's defaults have added to a run that is not trained, in place."""
    for key in [key for key in run if key not in (*KEYS, *(() if run["checkpoints"] else (WEIGHTS,)))]:
        del run[key]


def select_checkpoints(run: Section, where: str) -> dict[int | float, ForeignCheckpoint]:
    """Return the checkpoints of a run that is not trained by epoch, ascending: those that its key `epochs` selects.

    Raises UserError, with the key's full path, if one of these epochs does not exist, or as `list_checkpoints` does.
    """
    found = {each.epoch: each for each in _listed_in(run, where)}
    for epoch in run["epochs"]:
        if epoch not in found:
            hint = did_you_mean(epoch, found, "available")
            raise UserError(f"{where}.epochs: '{given_checkpoints(run)[0]}' contains no epoch {epoch}; {hint}")
    return {epoch: found[epoch] for epoch in run["epochs"]}


def list_checkpoints(checkpoints: str | dict[Any, str], where: str) -> list[ForeignCheckpoint]:
    """Return the checkpoints that a run's key `checkpoints` names, in ascending order of their epochs.

    `where` is the path of the key. Raises UserError, which begins with it, if a file does not exist or cannot be read,
    if its epoch is unknown, or if two different files have the same epoch.
    """
    with error_context(where):
        found: dict[int | float, ForeignCheckpoint] = {}
        for checkpoint in _listed(checkpoints) if isinstance(checkpoints, dict) else _dated(_matches(checkpoints)):
            other = found.setdefault(checkpoint.epoch, checkpoint)
            if checkpoint is not other and not _is_copy(other.path, checkpoint.path):
                both = f"'{other.weights}' ({other.source}) and '{checkpoint.weights}' ({checkpoint.source})"
                raise UserError(f"{both} are both of epoch {checkpoint.epoch}; list the epochs, such as {{1: a.pth}}")
    for checkpoint in found.values():
        check_path_characters(Path(checkpoint.weights), where)
    return [found[epoch] for epoch in sorted(found)]


def _listed(checkpoints: dict[Any, str]) -> Iterator[ForeignCheckpoint]:
    for key, name in checkpoints.items():
        try:
            epoch = parse_epoch(key)
        except (TypeError, ValueError, OverflowError):
            epoch = -1
        if isinstance(key, bool) or not 0 <= epoch <= MAX_EPOCH or round(epoch, MAX_DECIMALS) != epoch:
            allowed = f"a number of completed epochs, from 0 to {MAX_EPOCH} with at most {MAX_DECIMALS} decimals"
            raise UserError(f"the key {in_yaml(key)} must be {allowed}")
        if isinstance(name, str) and name in NOT_FILES:
            yield ForeignCheckpoint(name, epoch, "as listed")
            continue
        if not isinstance(name, str) or not exists(expand(name)):
            raise_for_address(str(name))
            problem = "does not exist" if isinstance(name, str) else "is not a path"
            raise UserError(f"{in_yaml(name)} {problem}; correct the path")
        weights_files(expand(name))  # raises UserError for a folder without weights
        yield ForeignCheckpoint(str(expand(name)), epoch, "as listed")


def _matches(pattern: str) -> list[Path]:
    """Return the checkpoints that a pattern matches, or those in the folder that it names.

    Of copies, those with a number in their name are first.
    """
    path = expand(pattern)
    if has_magic(str(path)):
        matching = [Path(match) for match in glob(str(path), recursive=True)]  # noqa: PTH207  # absolute patterns too
        found = [each for each in matching if _is_checkpoint(each)] or matching
    else:
        found = _in_folder(path) if path.is_dir() else [path] if exists(path) else []
    if not found:
        raise_for_address(pattern)
        near = [str(each) for each in path.parent.glob("*") if _is_checkpoint(each)] if exists(path.parent) else []
        folder = f"the folder '{path.parent}' contains {counted(len(near), 'checkpoint')}"
        hint = f"; {did_you_mean(str(path), near, 'available')}" if near else ""
        raise UserError(f"'{pattern}' matches no checkpoint ({folder}); correct the path{hint}")
    return sorted(found, key=lambda each: (not any(map(str.isdigit, each.name)), each))


def _in_folder(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder; the folder itself if its only weights have a name that all folders use.

    The final weights of a trainer, which have such a name, do not count next to its checkpoints.
    """
    inner = [each for each in folder.iterdir() if _is_checkpoint(each)]
    named = [each for each in inner if stem_of(each).lower() not in GENERIC]
    return named or ([folder] if _is_checkpoint(folder) else inner)


def _is_checkpoint(path: Path) -> bool:
    if path.is_dir():
        with suppress(UserError):  # it contains no file of weights, or several
            return bool(weights_files(path))
        return False
    return has_name_of_weights(path)


def _dated(paths: list[Path]) -> Iterator[ForeignCheckpoint]:
    """Yield checkpoints with their epochs: those that they record, or the number in which their names differ."""
    numbers = _series(paths)
    for path in paths:
        facts = facts_of(path)
        epoch, source = facts.epoch, facts.epoch_source
        if epoch is None and path in numbers:
            epoch, source = numbers[path], f"its name, '{path.name}'"
        if epoch is None:
            problem = f"the epoch of '{path}' is unknown, because neither the file nor its name contains it"
            raise UserError(f"{problem}; list the epochs, such as {{5: {path}}}")
        if not 0 <= epoch <= MAX_EPOCH:
            raise UserError(f"'{path}' has the epoch {epoch} ({source}); list the epochs yourself")
        yield ForeignCheckpoint(str(path), round(epoch, MAX_DECIMALS), source)


def _series(paths: list[Path]) -> dict[Path, int]:
    """Return the number of each path if their names differ only in one: 3 and 12 for ``birds-3.pth``, ``birds-12.pth``.

    It is empty for other names.
    """
    parts = [re.split(r"(\d+)", path.name) for path in paths]  # numbers are at odd positions
    if len({len(each) for each in parts}) != 1:
        return {}
    differing = [position for position, texts in enumerate(zip(*parts, strict=True)) if len(set(texts)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return {}
    return {path: int(each[differing[0]]) for path, each in zip(paths, parts, strict=True)}


def _is_copy(one: Path | None, other: Path | None) -> bool:
    """Return whether two checkpoints are the same, such as timm's ``last.pth.tar`` and that of its last epoch."""
    if one is None or other is None or one == other:
        return one == other
    if one.samefile(other):
        return True
    both = one.is_file() and other.is_file() and one.stat().st_size == other.stat().st_size
    return both and _digest(one, one.stat().st_mtime_ns) == _digest(other, other.stat().st_mtime_ns)


@cache
def _digest(path: Path, _changed: int) -> str:
    return sha256_of(path)
