"""Check training runs, their models' names and options, and the names of timm's optimizers."""

import re
from functools import cache

from dreambirds.config.load import Section, check_path_characters
from dreambirds.errors import UserError, did_you_mean, error_context, in_yaml
from dreambirds.io import exists, expand, file_problem
from dreambirds.models import NOT_FILES, PACKAGE
from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import OWN, check_model_name, has_library, library_sources, split_name
from dreambirds.models.packages import find_weights, package_of
from dreambirds.shapes import as_size, shape_of

FIXED_OPTIONS = {
    "model_name": "set 'model' instead",
    "num_classes": "remove it, because it is always the number of the study's classes",
    "features_only": "remove it, because the model must be a classifier",
    "pretrained": "set 'weights' instead",
    "checkpoint_path": "set 'weights' instead",
}
_OPTIMIZER = re.compile(r"^\s+name='(\w+)'", re.MULTILINE)
MAX_DECIMALS = 4
DECAYING_SCHEDULES = ("cosine", "tanh", "poly", "wsd", "rsqrt")


@cache
def optimizer_names() -> frozenset[str]:
    """Return the names of usable timm optimizers, read from its source.

    Excluded are optimizers whose state is not plain numbers, and those that need second derivatives, a GPU or another
    library.
    """
    sources = library_sources("timm", "optim")
    names = {name for source in sources for name in _OPTIMIZER.findall(source)}
    return frozenset(name for name in names if not name.startswith(("kron", "adahessian", "fused", "bnb")))


def check_model(name: str, where: str) -> None:
    """Raise UserError, which begins with `where`, unless a model has this name (see `models.names`)."""
    with error_context(where):
        check_model_name(name)


def check_options(options: Section, where: str) -> None:
    """Raise UserError if a model's options contain one that the study sets itself, or a wrong number of channels."""
    for key, value in options.items():
        if key in FIXED_OPTIONS:
            raise UserError(f"{where}.{key}: is not allowed here; {FIXED_OPTIONS[key]}")
        if key == "in_chans" and (value not in (1, 3) or value is True):
            problem = f"must be 3, or 1 for a model of grey images, not {in_yaml(value)}"
            raise UserError(f"{where}.{key}: {problem}")


def check_optimizer(name: str, where: str) -> None:
    """Raise UserError, with the closest name, unless timm has this optimizer, or is not installed."""
    if has_library("timm") and name not in optimizer_names():
        raise UserError(f"{where}: timm has no optimizer '{name}'; {did_you_mean(name, optimizer_names())}")


def check_run(run: Section, where: str) -> None:
    """Check what the schema of a run cannot, and convert epochs and fill in the head, in place.

    Epochs without a fraction become int. `where` is the path of the run's section. Raises UserError with the key's
    full path.
    """
    run["epochs"] = [parse_epoch(epoch) for epoch in run["epochs"]]
    run["head"] = run["head"] or "softmax"
    for key, problem in _find_problems(run).items():
        if problem:
            raise UserError(f"{where}.{key}: {problem}")
    if run["weights"] not in NOT_FILES:
        check_weights(run["weights"], f"{where}.weights", ", null, hub or package")
    check_model(run["model"], f"{where}.model")
    if run["weights"] == PACKAGE:
        check_package(run["model"], f"{where}.weights")
    check_options(run["model_options"], f"{where}.model_options")
    check_optimizer(run["optimizer"], f"{where}.optimizer")


def check_foreign_run(run: Section, where: str) -> None:
    """Check the keys of a run that is not trained, and convert epochs, in place. Raises UserError like `check_run`."""
    run["epochs"] = [parse_epoch(epoch) for epoch in run["epochs"]]
    if problem := _check_epochs(run["epochs"]):
        raise UserError(f"{where}.epochs: {problem}")
    check_model(run["model"], f"{where}.model")
    if run["weights"] == PACKAGE or (isinstance(run["checkpoints"], dict) and PACKAGE in run["checkpoints"].values()):
        check_package(run["model"], f"{where}.{'checkpoints' if run['checkpoints'] else 'weights'}")
    check_options(run["model_options"], f"{where}.model_options")


def check_package(model: str, where: str) -> None:
    """Raise UserError unless a package ships weights for a model and, where timm is installed, is installed too.

    `where` is the path of the key.
    """
    with error_context(where):
        (find_weights if has_library("timm") else package_of)(model)


def check_weights(name: str, where: str, others: str = "") -> None:
    """Raise UserError unless a path is a file, or a folder that contains weights.

    `where` is the path of the key, `others` are the other values that it may have.
    """
    path = expand(name)
    with error_context(where):
        if not (exists(path) and weights_files(path)):
            raise_for_address(name)
            problem = file_problem(path, "contains no weights")
            raise UserError(f"'{name}' {problem}; set it to an existing file or folder of weights{others}")
    check_path_characters(path, where)


def raise_for_address(name: str) -> None:
    """Raise UserError for the address or the model of a hub in place of a path."""
    if re.match(r"[a-z][a-z\d+.-]*://", name, re.IGNORECASE):
        raise UserError(f"'{name}' is an address, not a path; download the file, and set its path")
    if name.lower().startswith(("hf-hub:", "hf_hub:", "local-dir:", "timm/", "torchvision:")):
        raise UserError(f"'{name}' is the name of a model; set 'model' to it, and 'weights' to hub")


def _find_problems(run: Section) -> dict[str, str | None]:
    milestones = run["schedule_milestones"]
    long_warmup = run["schedule"] in DECAYING_SCHEDULES and run["warmup_epochs"] >= run["schedule_epochs"]
    return {
        "epochs": _check_epochs(run["epochs"]),
        "schedule_milestones": f"must be ascending, not {milestones}" if milestones != sorted(milestones) else None,
        "warmup_epochs": f"must be less than 'schedule_epochs' for the schedule '{run['schedule']}', not "
        f"{run['warmup_epochs']}"
        if long_warmup
        else None,
    }


def _check_epochs(epochs: list[int | float]) -> str | None:
    if epochs != sorted(epochs):
        return f"must be ascending, not {epochs}"
    too_precise = [epoch for epoch in epochs if round(epoch, MAX_DECIMALS) != epoch]
    return f"must have at most {MAX_DECIMALS} decimals, not {too_precise[0]}" if too_precise else None


def native_input_size(
    runs: dict[str, Section], recorded: dict[str, int | list[int] | None] | None = None
) -> int | list[int]:
    """Return the default input size of the runs' models: a side or [height, width].

    `recorded` are the sizes that files of weights record, by run; others are those of the models. Imports timm, which
    takes seconds. Raises UserError if timm is not installed, if the sizes differ, or if a model has no default, as a
    user's own code.
    """
    given = {run: shape_of(size) for run, size in (recorded or {}).items() if size is not None}
    if not has_library("timm") and given.keys() != runs.keys():
        problem = "is null, and timm, which knows the input sizes of models, is not installed here"
        raise UserError(f"dataset.image_size: {problem}; set a size in pixels, or run `pip install timm`")
    sizes = {
        name: _option_size(run, f"runs.{name}") or given.get(name) or _default_size(run["model"], name)
        for name, run in runs.items()
    }
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name}: {as_size(shape)}" for name, shape in sizes.items())
        problem = f"is null, but the models have different input sizes ({listed})"
        raise UserError(f"dataset.image_size: {problem}; set a size in pixels")
    return as_size(next(iter(sizes.values())))


def _default_size(model: str, run: str) -> tuple[int, int]:
    from dreambirds.models.networks import input_config  # imports torch and timm

    with error_context(f"runs.{run}"):
        known = input_config(model)
    if known is None:
        own = "your own code sets none" if split_name(model)[0] == OWN else f"the model '{model}' has none"
        raise UserError(f"dataset.image_size: is null, which means the model's size, but {own}; set a size in pixels")
    return known.shape


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
