"""Who judges a study's dreams: networks that did not dream them."""

from collections.abc import Collection

from dreambirds.config.load import Section, check, check_path_characters
from dreambirds.config.runs import check_model, check_options, check_run, parse_epoch
from dreambirds.data.labels import Label, check_labels, match_classes, read_names
from dreambirds.errors import UserError, did_you_mean, error_context
from dreambirds.io import expand, is_file
from dreambirds.models import NOT_FILES

KINDS = ("train", "run", "checkpoint", "weights")
BELONGS = {"run": ("epoch",), "weights": ("labels", "model", "model_options", "image_size", "names")}
BELONGS |= {"checkpoint": ("names",), "train": ()}
OWN = "judge"  # the one that a study has by default
ARCHITECTURES = ("resnet10t", "mobilenetv3_small_100")
EPOCHS = 12


def resolve_judges(config: Section) -> None:
    """Put the judge that a study has by default where its config names none, and check the section, in place.

    By default one network of an architecture that no run has learns the same data; from the hub's weights where a run
    does so. Raises UserError with one sentence, the key's full path in it.
    """
    if config["judges"] is None:
        if OWN in config["runs"]:
            raise UserError(f"runs.{OWN}: the study's own judge has this name; call the run otherwise")
        config["judges"] = {OWN: {"train": _another(config["runs"])}}
        check(config, "config")
    for name, judge in config["judges"].items():
        where = f"judges.{name}"
        if name in config["runs"]:
            raise UserError(f"{where}: a run has this name too; call the judge otherwise")
        _check_keys(judge, where)
        _CHECKS[kind(judge)](judge, where, config["runs"])


def check_judged(judges: dict[str, Section], dreaming: Collection[str]) -> None:
    """Raise UserError, the key's full path in it, where a judge is the only run that dreams."""
    for name, judge in judges.items():
        if set(dreaming) == {judge["run"]}:
            told = f"'{judge['run']}' is the only run that dreams, and no judge of its own dreams"
            raise UserError(f"judges.{name}.run: {told}; name another run, or let another run dream")


def check_judge_names(judges: dict[str, Section], labels: list[Label]) -> None:
    """Raise UserError, the key's full path in it, where a judge calls a class that the study has not, or is said to
    have one that its file of labels has not; which classes a checkpoint has is seen when it is loaded."""
    for name, judge in judges.items():
        with error_context(f"judges.{name}"):
            check_labels(labels, judge["names"])
            if kind(judge) == "weights":
                match_classes(labels, read_names(expand(judge["labels"])), judge["names"])


def kind(judge: Section) -> str:
    """Return what a judge is: ``train``, ``run``, ``checkpoint`` or ``weights``."""
    return next(word for word in KINDS if judge.get(word) is not None)


def trained(judges: dict[str, Section]) -> dict[str, Section]:
    """Return the judges that learn as part of the study, as runs are: by name, with all of their keys."""
    return {name: judge["train"] for name, judge in judges.items() if "train" in judge}


def _another(runs: dict[str, Section]) -> Section:
    taken = {run["model"].partition(".")[0] for run in runs.values()}
    model = next((name for name in ARCHITECTURES if name not in taken), "efficientnet_lite0")
    weights = "hub" if any(run["weights"] == "hub" for run in runs.values()) else None
    rate = {"learning_rate": 0.0005} if weights else {}
    return {"model": model, "weights": weights, "epochs": [EPOCHS], "schedule_epochs": EPOCHS, **rate}


def _check_keys(judge: Section, where: str) -> None:
    given = [word for word in KINDS if judge.get(word) is not None]
    if len(given) != 1:
        told = f"not {' and '.join(given)}" if given else "there is none"
        raise UserError(f"{where}: exactly one of {', '.join(KINDS)} makes a judge; {told}")
    for word, keys in BELONGS.items():
        for key in keys:
            if judge[key] not in (None, {}) and key not in BELONGS[given[0]]:
                raise UserError(f"{where}.{key}: belongs to a judge with '{word}', and this one has '{given[0]}'")


def _check_trained(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    check_run(judge["train"], f"{where}.train")


def _check_of_run(judge: Section, where: str, runs: dict[str, Section]) -> None:
    if judge["run"] not in runs:
        raise UserError(f"{where}.run: the study has no run '{judge['run']}'; {did_you_mean(judge['run'], runs)}")
    if len(runs) == 1:
        raise UserError(f"{where}.run: '{judge['run']}' is the study's only run, and no judge of its own dreams")
    kept = [parse_epoch(epoch) for epoch in runs[judge["run"]]["epochs"]]
    judge["epoch"] = kept[-1] if judge["epoch"] is None else parse_epoch(judge["epoch"])
    if judge["epoch"] not in kept:
        raise UserError(
            f"{where}.epoch: the run '{judge['run']}' keeps no checkpoint of epoch {judge['epoch']}; "
            f"{did_you_mean(judge['epoch'], kept)}"
        )


def _check_checkpoint(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    _check_file(judge, "checkpoint", where)


def _check_weights(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    if judge["weights"] in NOT_FILES:
        raise UserError(f"{where}.weights: '{judge['weights']}' is for runs and for a judge's 'train'; name a file")
    _check_file(judge, "weights", where)
    for key, meaning in (("labels", "a file with a line a class"), ("model", "a model of timm")):
        if judge[key] is None:
            raise UserError(f"{where}.{key}: weights from a file need {meaning}")
    _check_file(judge, "labels", where)
    check_model(judge["model"], f"{where}.model")
    check_options(judge["model_options"], f"{where}.model_options")
    with error_context(where):
        read_names(expand(judge["labels"]))  # before the study's own classes are known, which may take a download


def _check_file(judge: Section, key: str, where: str) -> None:
    if not is_file(expand(judge[key])):
        raise UserError(f"{where}.{key}: '{judge[key]}' is not a file")
    check_path_characters(expand(judge[key]), f"{where}.{key}")


_CHECKS = {
    "train": _check_trained,
    "run": _check_of_run,
    "checkpoint": _check_checkpoint,
    "weights": _check_weights,
}
