"""Whether the keys of a run fit each other, and what its model says of its own size."""

from dreambirds.data.files import expand, is_file
from dreambirds.data.shapes import as_size, shape_of
from dreambirds.errors import StudyError, first_line
from dreambirds.study.models import check_model, check_optimiser, check_options
from dreambirds.study.paths import as_epoch, check_letters
from dreambirds.study.schema import Section

DECIMALS = 4
FALLING = ("cosine", "tanh", "poly", "wsd", "rsqrt")


def check_run(run: Section, where: str) -> None:
    """Check a way to train key by key beyond its schema, and write whole epochs as whole numbers, in place.

    `where` is the path of its section. Raises StudyError with one sentence, the key's full path in it.
    """
    run["epochs"] = [as_epoch(epoch) for epoch in run["epochs"]]
    for key, wrong in _misfits(run).items():
        if wrong:
            raise StudyError(f"{where}.{key}: {wrong}")
    if run["weights"] not in (None, "hub"):
        check_letters(expand(run["weights"]), f"{where}.weights")
    check_model(run["model"], f"{where}.model")
    check_options(run["model_options"], f"{where}.model_options")
    check_optimiser(run["optimizer"], f"{where}.optimizer")


def _misfits(run: Section) -> dict[str, str | None]:
    milestones, weights = run["schedule_milestones"], run["weights"]
    late = run["schedule"] in FALLING and run["warmup_epochs"] >= run["schedule_epochs"]
    lost = weights not in (None, "hub") and not is_file(expand(weights))
    return {
        "epochs": _misfit_epochs(run["epochs"]),
        "schedule_milestones": f"must be ascending, not {milestones}" if milestones != sorted(milestones) else None,
        "warmup_epochs": f"must be less than schedule_epochs for '{run['schedule']}', not {run['warmup_epochs']}"
        if late
        else None,
        "weights": f"'{weights}' is not a file (nor null, nor 'hub')" if lost else None,
    }


def _misfit_epochs(epochs: list[int | float]) -> str | None:
    if epochs != sorted(epochs):
        return f"must be ascending, not {epochs}"
    long = [epoch for epoch in epochs if round(epoch, DECIMALS) != epoch]
    return f"must have at most {DECIMALS} decimals, not {long[0]}" if long else None


def own_size(runs: dict[str, Section]) -> int | list[int]:
    """Return the input size that the runs' models were made for. It imports timm, which takes seconds.

    Raises StudyError if they differ or a model names none.
    """
    import timm

    sizes = {}
    for name, run in runs.items():
        try:
            known = timm.get_pretrained_cfg(run["model"])
        except RuntimeError as error:
            raise StudyError(f"runs.{name}.model: {first_line(error)}") from error
        if known is None and "img_size" not in run["model_options"]:
            raise StudyError(f"dataset.image_size: the model '{run['model']}' names no size of its own; set a number")
        sizes[name] = _told_size(run, f"runs.{name}") or known.input_size[1:]  # type: ignore[union-attr]  # checked
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {as_size(shape)}" for name, shape in sizes.items())
        raise StudyError(f"dataset.image_size: null needs models of one size, not {told}; set a number")
    return as_size(next(iter(sizes.values())))


def _told_size(run: Section, where: str) -> tuple[int, int] | None:
    size = run["model_options"].get("img_size")
    if size is None:
        return None
    sides = size if isinstance(size, list) else [size]
    if not all(isinstance(side, int) and side > 0 for side in sides) or len(sides) not in (1, 2):
        raise StudyError(f"{where}.model_options.img_size: must be a side in pixels or [height, width], not {size!r}")
    return shape_of(size) if isinstance(size, int) else (sides[0], sides[-1])
