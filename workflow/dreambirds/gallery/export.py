"""Export a checkpoint of a study as a folder for the Hugging Face hub: weights, timm's config, and a model card."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from uuid import uuid4

from dreambirds.config.grids import expand_grids
from dreambirds.config.runs import parse_epoch
from dreambirds.errors import NUMBER, UserError, did_you_mean
from dreambirds.gallery.model_card import CARD, DREAMS, MARK, Exported, write_card
from dreambirds.io import read_yaml
from dreambirds.models import CONFIG_FILE, MODEL_FILE
from dreambirds.models.checkpoint import load_checkpoint, save_tensors
from dreambirds.models.names import LOCAL, split_name
from dreambirds.plan.paths import epoch_name

RESULTS = Path("results")
LAST = "last"
CONTENTS = {MODEL_FILE, CONFIG_FILE, CARD, DREAMS}


def export_checkpoint(study: Path | None, run: str, epoch: str, to: Path | None, repository: str | None) -> Path:
    """Write a folder with a checkpoint of a study and its model card, and return the folder.

    `study` is the study's results folder, by default that of `find_study`, `epoch` a number or ``last``, and `to` the
    folder, by default ``exports/RUN-epoch-0004`` in the study's. The card's code loads the model from the hub's
    `repository`, or from the folder if it is None. The folder appears complete or not at all. Raises UserError if the
    checkpoint does not exist or is corrupt, or if the folder exists and is not an earlier export.
    """
    study = find_study(study)
    checkpoint = find_checkpoint(study, run, epoch)
    folder = to or study / "exports" / f"{run}-{checkpoint.name}"
    with new_folder(folder, "--to", is_earlier_export) as temporary:
        classifier, info = load_checkpoint(checkpoint)
        config = read_yaml(study / "config.yaml")
        expand_grids(config)
        exported = Exported(study, config, checkpoint, classifier, info, repository)
        for name in (MODEL_FILE, CONFIG_FILE):
            if (checkpoint / name).is_file():  # a checkpoint is complete without timm's config
                shutil.copyfile(checkpoint / name, temporary / name)
        if split_name(info.model)[0] == LOCAL:  # the metadata contain a path of this machine
            public = asdict(replace(info, model=exported.model))
            save_tensors(temporary / MODEL_FILE, classifier.network.state_dict(), public)
        write_card(exported, temporary)
    return folder


def find_study(folder: Path | None) -> Path:
    """Return the results folder of a study, by default the only one in ``results``, or ``results/default``.

    Raises UserError if it does not exist, or if there are several.
    """
    studies = sorted(path.parent for path in RESULTS.glob("*/config.yaml"))
    if folder is None:
        default = RESULTS / "default"
        if len(studies) != 1 and default not in studies:
            problem = f"'{RESULTS}' contains {len(studies)} studies" if studies else f"'{RESULTS}' contains no study"
            remedy = f"choose one ({', '.join(map(str, studies))})" if studies else "set the folder of one"
            raise UserError(f"{problem}; {remedy}", "--study")
        return studies[0] if len(studies) == 1 else default
    if not (folder / "config.yaml").is_file():
        raise UserError(f"'{folder}' is not a study's results folder; {did_you_mean(folder, studies, 'available')}")
    return folder


def find_checkpoint(study: Path, run: str, epoch: str) -> Path:
    """Return the folder of a run's checkpoint. Raises UserError, with the closest name, if there is none."""
    found: dict[str, dict[int | float, Path]] = {}
    for weights in study.glob(f"runs/*/epoch-*/{MODEL_FILE}"):
        folder = weights.parent
        found.setdefault(folder.parent.name, {})[parse_epoch(folder.name.removeprefix("epoch-"))] = folder
    if run not in found:
        raise UserError(f"'{study}' has no checkpoints of a run '{run}'; {did_you_mean(run, found, 'available')}")
    given = epoch.removeprefix("epoch-")
    if epoch != LAST and not NUMBER.fullmatch(given):
        raise UserError(f"'{epoch}' is not an epoch; pass a number or '{LAST}'")
    number = max(found[run]) if epoch == LAST else parse_epoch(given)
    if number not in found[run]:
        hint = did_you_mean(number, found[run], "available")
        raise UserError(f"the run '{run}' has no checkpoint '{epoch_name(number)}' in '{study}'; {hint}")
    return found[run][number]


def is_earlier_export(folder: Path) -> bool:
    """Return whether a folder contains an earlier export, and nothing else."""
    card = folder / CARD
    names = {path.name for path in folder.iterdir()}
    return names <= CONTENTS and card.is_file() and MARK in card.read_text(encoding="utf-8", errors="replace")


@contextmanager
def new_folder(folder: Path, option: str, is_earlier: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder`, or is removed on an exception.

    An empty folder is replaced, and one for which `is_earlier` is true. Raises UserError, for the command line's
    `option`, if something else exists there.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"'{folder}' exists and is not a folder; choose another", option)
    if folder.exists() and any(folder.iterdir()) and not is_earlier(folder):
        problem = "exists and contains more than an earlier export"
        raise UserError(f"'{folder}' {problem}; choose another folder, or move it away", option)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, earlier = (folder.with_name(f".{uuid4().hex}") for _ in range(2))
    try:
        temporary.mkdir()
        yield temporary
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
