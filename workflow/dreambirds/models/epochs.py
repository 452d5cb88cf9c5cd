"""Find the number of completed epochs of a checkpoint, in its content or in its name; without torch."""

import math
import re
from pathlib import Path
from typing import Any

from dreambirds.models.inert_pickle import as_mapping, is_state

GENERIC = {"model", "pytorch_model", "weights", "checkpoint", "state_dict", "open_clip_model", "adapter_model"}
LARGEST = 10_000  # a larger number in a name is a step, a date or a hash
_SUFFIX = re.compile(r"\.(safetensors|pth|pt|ckpt|bin|tar|t7|pkl|pickle|model|index\.json)$", re.IGNORECASE)
_EPOCH = re.compile(r"(?:(?<![a-z])epochs?|(?<![a-z\d])ep?)[-_=. ]*(\d+(?:\.\d+)?)(?![a-z\d])", re.IGNORECASE)
_EPOCHS_AFTER = re.compile(r"(?<![\d.])(\d+)[-_ ]?(?:epochs?|eps?)(?![a-z\d])", re.IGNORECASE)
_LIGHTNING = re.compile(r"(?<![a-z])epoch=(\d+)", re.IGNORECASE)
_NOT_EPOCHS = re.compile(  # counts of steps, metrics, seeds, versions; dates; decimal numbers; hashes
    r"(?<![a-z])(global[-_]?)?(steps?|iter(ation)?s?|it|seed|fold|acc\w*|top\d?|\w*loss|lr|bs|batch|rank|gpus?|v|map|f1)"
    r"[-_=. ]*\d+(\.\d+)?(e[-+]?\d+)?"
    r"|\d{4}[-_]\d{2}[-_]\d{2}([-_T ]\d{2}[-_:]?\d{2}([-_:]?\d{2})?)?"
    r"|\d*\.\d+"
    r"|(?<![a-z\d])(?=[a-f]*\d)(?=\d*[a-f])[a-f\d]{6,}(?![a-z\d])",
    re.IGNORECASE,
)
_NUMBERED = re.compile(  # a number in another name may be that of an architecture, such as resnet-50
    r"[-_. ]*(?:(?:model|net|network|ckpt|checkpoint|weights|snapshot|cp)[-_. ]*)*(\d+)[-_. ]*", re.IGNORECASE
)
_NAMED_OTHERWISE = re.compile(r"(?<![a-z])(best|last|latest|final)(?![a-z])", re.IGNORECASE)


def trainer_of(content: dict) -> str:
    """Return which program wrote a checkpoint: ``timm``, ``lightning``, ``torchvision`` or an empty string."""
    keys = content.keys()
    if "pytorch-lightning_version" in keys:
        return "lightning"
    if {"epoch", "state_dict"} <= keys and keys & {"hyper_parameters", "callbacks", "loops"}:
        return "lightning"
    if {"epoch", "arch", "state_dict"} <= keys and keys & {"version", "args"}:
        return "timm"
    return "torchvision" if {"model", "optimizer", "lr_scheduler", "epoch", "args"} <= keys else ""


def epoch_of_content(content: dict, trainer: str, stem: str) -> tuple[int | float | None, str]:
    """Return the completed epochs that a checkpoint records, and from what they were read.

    timm, Lightning and torchvision's references count from zero. Other counts are taken unchanged. `stem` is the name
    without suffixes: timm's ``recovery-…`` is written within an epoch.
    """
    inner = (as_mapping(value) for value in content.values() if not is_state(value))
    holding = [value for value in inner if "epoch" in value and any(map(is_state, value.values()))]
    for where in (content, as_mapping(content.get("meta")), *holding):
        for key in ("epoch", "last_epoch", "current_epoch"):
            number = as_epoch(where.get(key))
            if number is not None:
                if trainer and where is content and key == "epoch":
                    return _from_zero(content, trainer, stem, number)
                return number, f"its '{key}' {number}"
    return None, ""


def _from_zero(content: dict, trainer: str, stem: str, number: int | float) -> tuple[int | float, str]:
    """Return the completed epochs for a count from zero of one of the known trainers."""
    version = as_epoch(content.get("version"))
    if trainer == "timm" and version is not None and version < 2:
        return number, f"its 'epoch' {number}"
    if trainer == "timm" and stem.startswith("recovery"):
        return number, f"its 'epoch' {number}, counted from zero and not completed"
    fit = as_mapping(as_mapping(content.get("loops")).get("fit_loop"))
    progress = as_mapping(as_mapping(fit.get("epoch_progress")).get("current"))
    if progress and progress.get("ready") == progress.get("completed"):  # saved after training
        return number, f"its 'epoch' {number}, which is completed"
    if as_mapping(fit.get("epoch_loop.batch_progress")).get("is_last_batch") is False:
        return number, f"its 'epoch' {number}, counted from zero and not completed"
    return number + 1, f"its 'epoch' {number}, counted from zero"


def epoch_of_name(path: Path, trainer: str) -> tuple[int | float | None, str]:
    """Return the completed epochs that a name states, and from what they were read; None if it states none.

    ``epoch=3-step=400`` (Lightning's) and names of timm's checkpoints are counted from zero. A number after ``step`` or
    ``iter``, a hash, and a number in the name of the best or last checkpoint do not count.
    """
    stem = stem_of(path)
    if stem.lower() in GENERIC:  # such as epoch_5/model.safetensors
        return _named(path.absolute().parent.name, trainer, explicit=True)
    if re.fullmatch(r"checkpoint-\d+", stem) and trainer == "transformers":
        return None, ""
    return _named(stem, trainer, explicit=False)


def _named(stem: str, trainer: str, explicit: bool) -> tuple[int | float | None, str]:
    if found := _LIGHTNING.search(stem):
        return int(found[1]) + 1, f"its name, '{found[0]}', counted from zero"
    found = [*_EPOCH.finditer(stem), *_EPOCHS_AFTER.finditer(stem)]
    if found:
        return as_epoch(found[0][1]), f"its name, '{found[0][0]}'"
    if explicit or _NAMED_OTHERWISE.search(stem):
        return None, ""
    number = _NUMBERED.fullmatch(_NOT_EPOCHS.sub("", stem))
    if not number or int(number[1]) >= LARGEST:
        return None, ""
    zero = trainer in ("timm", "lightning")
    return int(number[1]) + zero, f"its name, '{stem}'" + (", counted from zero" if zero else "")


def stem_of(path: Path) -> str:
    """Return a path's name without the suffixes of weights, such as ``checkpoint-3`` of ``checkpoint-3.pth.tar``."""
    stem = path.name or path.absolute().name
    while (shorter := _SUFFIX.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem


def as_epoch(value: Any) -> int | float | None:
    """Return a recorded number of epochs, rounded; None if it is not such a number.

    It is an integer if it is within 0.005 of one, else it has four decimals.
    """
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return round(value) if abs(value - round(value)) <= 0.005 else round(value, 4)
