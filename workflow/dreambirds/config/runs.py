"""Check training runs, and the names of timm's models and optimizers."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.config.load import Section, check_path_characters
from dreambirds.errors import UserError, did_you_mean, error_context, first_line
from dreambirds.io import expand, is_file
from dreambirds.models import NOT_FILES
from dreambirds.models.packages import find_weights
from dreambirds.shapes import as_size, shape_of

_MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
DECIDED = {
    "model_name": "`model` names the model",
    "num_classes": "a model has as many classes as there are labels",
    "in_chans": "every picture has 3 channels",
    "features_only": "a model must tell classes apart",
    "pretrained": "`weights` tells where they come from",
    "checkpoint_path": "`weights` tells where they come from",
}
_OPTIMIZER = re.compile(r"^\s+name='(\w+)'", re.MULTILINE)
DECIMALS = 4
FALLING = ("cosine", "tanh", "poly", "wsd", "rsqrt")


@cache
def model_names() -> frozenset[str]:
    """Return the names of timm's models, read from the source of the installed timm."""
    return _names("models", _MODEL)


@cache
def optimizer_names() -> frozenset[str]:
    """Return the names of timm's optimisers, read likewise, but for those whose state is no plain numbers or that
    need a second derivative, a GPU or a further library."""
    names = _names("optim", _OPTIMIZER)
    return frozenset(name for name in names if not name.startswith(("kron", "adahessian", "fused", "bnb")))


def check_model(name: str, where: str) -> None:
    """Raise UserError, naming the nearest model, unless timm has this one; a pretrained tag may follow a dot."""
    architecture = name.partition(".")[0]
    if architecture not in model_names():
        raise UserError(f"{where}: timm has no model '{name}'; {did_you_mean(architecture, model_names())}")


def check_options(options: Section, where: str) -> None:
    """Raise UserError where a model's options say what the study says in another place."""
    for key in options:
        if key in DECIDED:
            raise UserError(f"{where}.{key}: is no option to set; {DECIDED[key]}")


def check_optimizer(name: str, where: str) -> None:
    """Raise UserError, naming the nearest optimiser, unless timm has this one."""
    if name not in optimizer_names():
        raise UserError(f"{where}: timm has no optimiser '{name}'; {did_you_mean(name, optimizer_names())}")


def _names(folder: str, pattern: re.Pattern[str]) -> frozenset[str]:
    sources = (Path(find_spec("timm").origin).parent / folder).glob("*.py")  # type: ignore[union-attr, arg-type]
    return frozenset(name for file in sources for name in pattern.findall(file.read_text()))


def check_run(run: Section, where: str) -> None:
    """Check a way to train key by key beyond its schema, and write whole epochs as whole numbers, in place.

    `where` is the path of its section. Raises UserError with one sentence, the key's full path in it.
    """
    run["epochs"] = [parse_epoch(epoch) for epoch in run["epochs"]]
    for key, wrong in _misfits(run).items():
        if wrong:
            raise UserError(f"{where}.{key}: {wrong}")
    if run["weights"] not in NOT_FILES:
        check_path_characters(expand(run["weights"]), f"{where}.weights")
    check_model(run["model"], f"{where}.model")
    if run["weights"] == "package":
        with error_context(f"{where}.weights"):
            find_weights(run["model"])
    check_options(run["model_options"], f"{where}.model_options")
    check_optimizer(run["optimizer"], f"{where}.optimizer")


def _misfits(run: Section) -> dict[str, str | None]:
    milestones, weights = run["schedule_milestones"], run["weights"]
    late = run["schedule"] in FALLING and run["warmup_epochs"] >= run["schedule_epochs"]
    lost = weights not in NOT_FILES and not is_file(expand(weights))
    return {
        "epochs": _misfit_epochs(run["epochs"]),
        "schedule_milestones": f"must be ascending, not {milestones}" if milestones != sorted(milestones) else None,
        "warmup_epochs": f"must be less than schedule_epochs for '{run['schedule']}', not {run['warmup_epochs']}"
        if late
        else None,
        "weights": f"'{weights}' is not a file (nor null, 'hub' or 'package')" if lost else None,
    }


def _misfit_epochs(epochs: list[int | float]) -> str | None:
    if epochs != sorted(epochs):
        return f"must be ascending, not {epochs}"
    long = [epoch for epoch in epochs if round(epoch, DECIMALS) != epoch]
    return f"must have at most {DECIMALS} decimals, not {long[0]}" if long else None


def native_input_size(runs: dict[str, Section]) -> int | list[int]:
    """Return the input size that the runs' models were made for. It imports timm, which takes seconds.

    Raises UserError if they differ or a model names none.
    """
    import timm

    sizes = {}
    for name, run in runs.items():
        try:
            known = timm.get_pretrained_cfg(run["model"])
        except RuntimeError as error:
            raise UserError(f"runs.{name}.model: {first_line(error)}") from error
        if known is None and "img_size" not in run["model_options"]:
            raise UserError(f"dataset.image_size: the model '{run['model']}' names no size of its own; set a number")
        sizes[name] = _told_size(run, f"runs.{name}") or known.input_size[1:]  # type: ignore[union-attr]  # checked
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {as_size(shape)}" for name, shape in sizes.items())
        raise UserError(f"dataset.image_size: null needs models of one size, not {told}; set a number")
    return as_size(next(iter(sizes.values())))


def _told_size(run: Section, where: str) -> tuple[int, int] | None:
    size = run["model_options"].get("img_size")
    if size is None:
        return None
    sides = size if isinstance(size, list) else [size]
    if not all(isinstance(side, int) and side > 0 for side in sides) or len(sides) not in (1, 2):
        raise UserError(f"{where}.model_options.img_size: must be a side in pixels or [height, width], not {size!r}")
    return shape_of(size) if isinstance(size, int) else (sides[0], sides[-1])


def parse_epoch(value: str | float) -> int | float:
    """Return an epoch as a number, whole if it is: 4 of ``0004``, 0.25 of ``0000.25``."""
    number = float(value)
    return int(number) if number.is_integer() else number
