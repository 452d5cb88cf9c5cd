"""Check training runs, and the names of timm's models and optimizers."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dreambirds.config.load import Section, check_path_characters
from dreambirds.errors import UserError, did_you_mean, error_context, first_line, in_yaml
from dreambirds.io import expand, file_problem, is_file
from dreambirds.models import NOT_FILES
from dreambirds.models.packages import find_weights, package_of
from dreambirds.shapes import as_size, shape_of

_MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
FIXED_OPTIONS = {
    "model_name": "set 'model' instead",
    "num_classes": "remove it, because it is always the number of the study's classes",
    "in_chans": "remove it, because images always have 3 channels",
    "features_only": "remove it, because the model must be a classifier",
    "pretrained": "set 'weights' instead",
    "checkpoint_path": "set 'weights' instead",
}
_OPTIMIZER = re.compile(r"^\s+name='(\w+)'", re.MULTILINE)
MAX_DECIMALS = 4
DECAYING_SCHEDULES = ("cosine", "tanh", "poly", "wsd", "rsqrt")


def has_timm() -> bool:
    """Return whether timm is installed. Where it is not, only the job that checks a study knows timm's names."""
    return find_spec("timm") is not None


@cache
def model_names() -> frozenset[str]:
    """Return the names of timm's models, read from the source of the installed timm."""
    return _names("models", _MODEL)


@cache
def optimizer_names() -> frozenset[str]:
    """Return the names of usable timm optimizers, read from its source.

    Excluded are optimizers whose state is not plain numbers, and those that need second derivatives, a GPU or another
    library.
    """
    names = _names("optim", _OPTIMIZER)
    return frozenset(name for name in names if not name.startswith(("kron", "adahessian", "fused", "bnb")))


def check_model(name: str, where: str) -> None:
    """Raise UserError, with the closest name, unless timm has this model, or is not installed.

    `name` may end in ``.<pretrained tag>``.
    """
    architecture = name.partition(".")[0]
    if has_timm() and architecture not in model_names():
        raise UserError(f"{where}: timm has no model '{name}'; {did_you_mean(architecture, model_names())}")


def check_options(options: Section, where: str) -> None:
    """Raise UserError if a model's options contain one that the study sets itself."""
    for key in options:
        if key in FIXED_OPTIONS:
            raise UserError(f"{where}.{key}: is not allowed here; {FIXED_OPTIONS[key]}")


def check_optimizer(name: str, where: str) -> None:
    """Raise UserError, with the closest name, unless timm has this optimizer, or is not installed."""
    if has_timm() and name not in optimizer_names():
        raise UserError(f"{where}: timm has no optimizer '{name}'; {did_you_mean(name, optimizer_names())}")


def _names(folder: str, pattern: re.Pattern[str]) -> frozenset[str]:
    sources = (Path(find_spec("timm").origin).parent / folder).glob("*.py")  # type: ignore[union-attr, arg-type]
    return frozenset(name for file in sources for name in pattern.findall(file.read_text()))


def check_run(run: Section, where: str) -> None:
    """Check what the schema of a run cannot, and convert epochs in place.

    Epochs without a fraction become int. `where` is the path of the run's section. Raises UserError with the key's
    full path.
    """
    run["epochs"] = [parse_epoch(epoch) for epoch in run["epochs"]]
    for key, problem in _find_problems(run).items():
        if problem:
            raise UserError(f"{where}.{key}: {problem}")
    if run["weights"] not in NOT_FILES:
        check_path_characters(expand(run["weights"]), f"{where}.weights")
    check_model(run["model"], f"{where}.model")
    if run["weights"] == "package":
        with error_context(f"{where}.weights"):
            (find_weights if has_timm() else package_of)(run["model"])
    check_options(run["model_options"], f"{where}.model_options")
    check_optimizer(run["optimizer"], f"{where}.optimizer")


def _find_problems(run: Section) -> dict[str, str | None]:
    milestones, weights = run["schedule_milestones"], run["weights"]
    long_warmup = run["schedule"] in DECAYING_SCHEDULES and run["warmup_epochs"] >= run["schedule_epochs"]
    no_file = weights not in NOT_FILES and not is_file(expand(weights))
    return {
        "epochs": _check_epochs(run["epochs"]),
        "schedule_milestones": f"must be ascending, not {milestones}" if milestones != sorted(milestones) else None,
        "warmup_epochs": f"must be less than 'schedule_epochs' for the schedule '{run['schedule']}', not "
        f"{run['warmup_epochs']}"
        if long_warmup
        else None,
        "weights": f"'{weights}' {file_problem(expand(weights))}; set it to an existing file, null, hub or package"
        if no_file
        else None,
    }


def _check_epochs(epochs: list[int | float]) -> str | None:
    if epochs != sorted(epochs):
        return f"must be ascending, not {epochs}"
    too_precise = [epoch for epoch in epochs if round(epoch, MAX_DECIMALS) != epoch]
    return f"must have at most {MAX_DECIMALS} decimals, not {too_precise[0]}" if too_precise else None


def native_input_size(runs: dict[str, Section]) -> int | list[int]:
    """Return the default input size of the runs' models: a side or [height, width].

    Imports timm, which takes seconds. Raises UserError if timm is not installed, if the sizes differ, or if a model has
    no default.
    """
    if not has_timm():
        problem = "is null, and timm, which knows the input sizes of models, is not installed here"
        raise UserError(f"dataset.image_size: {problem}; set a size in pixels, or run `pip install timm`")
    import timm

    sizes = {}
    for name, run in runs.items():
        try:
            pretrained = timm.get_pretrained_cfg(run["model"])
        except RuntimeError as error:
            problem = f"timm rejects the model ({first_line(error)})"
            raise UserError(f"runs.{name}.model: {problem}; choose another model") from error
        if pretrained is None and "img_size" not in run["model_options"]:
            problem = f"is null, but the model '{run['model']}' has no default input size"
            raise UserError(f"dataset.image_size: {problem}; set a size in pixels")
        sizes[name] = _option_size(run, f"runs.{name}") or pretrained.input_size[1:]  # type: ignore[union-attr]  # checked
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name}: {as_size(shape)}" for name, shape in sizes.items())
        problem = f"is null, but the models have different input sizes ({listed})"
        raise UserError(f"dataset.image_size: {problem}; set a size in pixels")
    return as_size(next(iter(sizes.values())))


def _option_size(run: Section, where: str) -> tuple[int, int] | None:
    size = run["model_options"].get("img_size")
    if size is None:
        return None
    sides = size if isinstance(size, list) else [size]
    if not all(isinstance(side, int) and side > 0 for side in sides) or len(sides) not in (1, 2):
        problem = f"must be a number of pixels or [height, width], not {in_yaml(size)}"
        raise UserError(f"{where}.model_options.img_size: {problem}")
    return shape_of(size) if isinstance(size, int) else (sides[0], sides[-1])


def parse_epoch(value: str | float) -> int | float:
    """Return an epoch as a number: ``0004`` is the int 4, ``0000.25`` a float."""
    number = float(value)
    return int(number) if number.is_integer() else number
