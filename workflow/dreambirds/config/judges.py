"""Judges: networks that classify the dreams of other networks, and people who do."""

from collections.abc import Collection
from pathlib import Path

from dreambirds.config.checkpoints import WITHOUT, facts_of, fill_from_facts
from dreambirds.config.class_names import check_class_names, judge_classes
from dreambirds.config.load import Section, check, check_path_characters
from dreambirds.config.runs import check_model, check_options, check_package, check_run, check_weights, parse_epoch
from dreambirds.data.answers import read_answers
from dreambirds.data.labels import Label, match_classes, names_by_label
from dreambirds.errors import UserError, did_you_mean, error_context
from dreambirds.io import expand, file_problem, is_file
from dreambirds.models import NOT_FILES, PACKAGE
from dreambirds.models.packages import PACKAGES

KINDS = ("train", "run", "checkpoint", "weights", "answers")
OF_WEIGHTS = ("labels", "model", "model_options", "weights_key", "head", "normalization", "image_size", "names")
KEYS_OF = {"run": ("epoch",), "weights": OF_WEIGHTS}
KEYS_OF |= {"checkpoint": ("names",), "answers": ("names",), "train": ()}
DEFAULT_NAME = "judge"
ARCHITECTURES = ("resnet10t", "mobilenetv3_small_100")
EPOCHS = 12


def resolve_judges(config: Section, photographs: bool = True, classes: bool = True) -> None:
    """Fill in the default judge if `judges` is null, leave out judges that are null, and check the section, in place.

    The default judge is a network of an architecture that no run uses, trained on the same data; it starts from timm's
    pretrained weights if any run does. There is no default judge if no `classes` are dreamt of. Without `photographs`
    there is none either, and no judge is trained. Raises UserError with the key's full path.
    """
    if config["judges"] is None and not (photographs and classes):
        config["judges"] = {}
    if config["judges"] is None:
        if DEFAULT_NAME in config["runs"]:
            raise UserError(f"runs.{DEFAULT_NAME}: is the name of the default judge; choose another name for the run")
        config["judges"] = {DEFAULT_NAME: {"train": _default_training(config["runs"])}}
        check(config, "config")
    config["judges"] = {name: judge for name, judge in config["judges"].items() if judge is not None}
    for name, judge in config["judges"].items():
        where = f"judges.{name}"
        if name in config["runs"]:
            raise UserError(f"{where}: a run is also named '{name}'; choose another name for the judge")
        _check_keys(judge, where)
        if "train" in judge and not photographs:
            remedy = "use a judge with 'weights', such as {weights: package, model: tf_efficientnet_lite2}"
            raise UserError(f"{where}.train: {WITHOUT}; {remedy}")
        _CHECKS[judge_kind(judge)](judge, where, config["runs"])


def check_judge_dreams(judges: dict[str, Section], study: str, dreams: Collection[list[str]]) -> None:
    """Raise UserError if a judge has nothing to judge.

    `dreams` lists, for each run and recipe that it dreams, the runs whose networks take part, the dreamer first.
    """
    for name, judge in judges.items():
        if any(may_judge(judge, study, networks) for networks in dreams):
            continue
        if all(networks[0] == judge["run"] for networks in dreams):
            problem = f"'{judge['run']}' is the only run that dreams, and a run cannot judge its own dreams"
            raise UserError(f"judges.{name}.run: {problem}; use another run, or let another run dream")
        run = judge["run"] or _run_of_checkpoint(judge, study)
        problem = f"'{run}' dreams or is in a committee in every recipe, and a run cannot judge its own dreams"
        raise UserError(f"judges.{name}.{judge_kind(judge)}: {problem}; use another judge, or add a recipe without it")


def may_judge(judge: Section, study: str, networks: list[str]) -> bool:
    """Return whether a judge may evaluate dreams of the networks of some runs, the dreamer first.

    A judge of one of these runs may not. Neither may a `checkpoint` from the study's results of a run in the committee.
    """
    return judge["run"] not in networks and _run_of_checkpoint(judge, study) not in networks[1:]


def _run_of_checkpoint(judge: Section, study: str) -> str | None:
    """Return the run in whose results a judge's checkpoint is, or None."""
    path, folder = expand(judge["checkpoint"] or "").absolute(), Path("results", study, "runs").absolute()
    return path.relative_to(folder).parts[0] if folder in path.parents else None


def check_judge_names(judges: dict[str, Section], labels: list[Label]) -> None:
    """Raise UserError unless each judge's `names` fits its and the study's classes.

    The error has the key's full path. The classes of a judge with `weights` are read from its label file; those of a
    checkpoint are checked when it is loaded.
    """
    for name, judge in judges.items():
        with error_context(f"judges.{name}"):
            names_by_label(labels, judge["names"])
            classes = judge_classes(judge) if judge_kind(judge) == "weights" else None
            if classes is not None:  # those of a package are unknown where timm is not installed
                match_classes(labels, classes, judge["names"])


def judge_kind(judge: Section) -> str:
    """Return the kind of a judge: one of `KINDS`."""
    return next(key for key in KINDS if judge.get(key) is not None)


def trained_judges(judges: dict[str, Section]) -> dict[str, Section]:
    """Return the training sections of the judges that the study trains, by name.

    Their keys are those of a run.
    """
    return {name: judge["train"] for name, judge in judges.items() if "train" in judge}


def _default_training(runs: dict[str, Section]) -> Section:
    used = {run["model"].partition(".")[0] for run in runs.values()}
    model = next((name for name in ARCHITECTURES if name not in used), "efficientnet_lite0")
    weights = "hub" if any(run.get("weights") == "hub" for run in runs.values()) else None
    rate = {"learning_rate": 0.0005} if weights else {}
    return {"model": model, "weights": weights, "epochs": [EPOCHS], "schedule_epochs": EPOCHS, **rate}


def _check_keys(judge: Section, where: str) -> None:
    given = [key for key in KINDS if judge.get(key) is not None]
    if len(given) != 1:
        allowed = ", ".join(f"'{key}'" for key in KINDS)
        found = " and ".join(f"'{key}'" for key in given) or "none"
        raise UserError(f"{where}: needs exactly one of the keys {allowed}, but has {found}")
    for owner, keys in KEYS_OF.items():
        for key in keys:
            if judge[key] not in (None, {}) and key not in KEYS_OF[given[0]]:
                raise UserError(f"{where}.{key}: is only used with '{owner}', not '{given[0]}'; remove it")


def _check_trained(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    check_run(judge["train"], f"{where}.train")
    check_class_names(judge["train"], f"{where}.train")


def _check_of_run(judge: Section, where: str, runs: dict[str, Section]) -> None:
    if judge["run"] not in runs:
        hint = did_you_mean(judge["run"], runs, "available")
        raise UserError(f"{where}.run: the study has no run '{judge['run']}'; {hint}")
    if len(runs) == 1:
        problem = f"'{judge['run']}' is the only run, and a run cannot judge its own dreams"
        raise UserError(f"{where}.run: {problem}; use another judge")
    kept = [parse_epoch(epoch) for epoch in runs[judge["run"]]["epochs"]]
    judge["epoch"] = kept[-1] if judge["epoch"] is None else parse_epoch(judge["epoch"])
    if judge["epoch"] not in kept:
        raise UserError(
            f"{where}.epoch: the run '{judge['run']}' keeps no checkpoint of epoch {judge['epoch']}; "
            f"{did_you_mean(judge['epoch'], kept, 'available')}"
        )


def _check_checkpoint(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    _check_file(judge, "checkpoint", where)


def _check_weights(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    if judge["weights"] == PACKAGE:
        _check_package(judge, where)
    elif judge["weights"] in NOT_FILES:
        problem = f"'{judge['weights']}' is only allowed in a run or in a judge's 'train'"
        raise UserError(f"{where}.weights: {problem}; set it to a file or package")
    else:
        _check_weights_file(judge, where)
    if judge["labels"]:
        _check_file(judge, "labels", where)
    check_model(judge["model"], f"{where}.model")
    check_options(judge["model_options"], f"{where}.model_options")
    with error_context(where):
        judge_classes(judge)  # early, because the study's classes may need a download first


def _check_package(judge: Section, where: str) -> None:
    if not judge["model"]:
        models = ", ".join(PACKAGES)
        raise UserError(f"{where}.model: is required with 'weights: package'; set it to one of {models}")
    check_package(judge["model"], f"{where}.weights")
    if judge["weights_key"]:
        raise UserError(f"{where}.weights_key: describes a file, and 'weights' is 'package'; remove it")
    judge["head"] = judge["head"] or "softmax"


def _check_weights_file(judge: Section, where: str) -> None:
    check_weights(judge["weights"], f"{where}.weights")
    with error_context(f"{where}.weights"):
        fill_from_facts(judge, facts_of(expand(judge["weights"])))
        known = {"labels": judge["labels"] or judge_classes(judge), "model": judge["model"]}
    for key, value in (
        ("labels", "a text file with one class name per line"),
        ("model", "the name of its architecture"),
    ):
        if not known[key]:
            problem = f"is required, because '{judge['weights']}' does not record it"
            raise UserError(f"{where}.{key}: {problem}; set it to {value}")


def _check_answers(judge: Section, where: str, _runs: dict[str, Section]) -> None:
    given = judge["answers"]
    judge["answers"] = [given] if isinstance(given, str) else given
    for file in judge["answers"]:
        if not is_file(expand(file)):
            raise UserError(f"{where}.answers: '{file}' {file_problem(expand(file))}; correct the path")
        check_path_characters(expand(file), f"{where}.answers")
    with error_context(f"{where}.answers"):
        read_answers(map(expand, judge["answers"]))


def _check_file(judge: Section, key: str, where: str) -> None:
    if not is_file(expand(judge[key])):
        raise UserError(f"{where}.{key}: '{judge[key]}' {file_problem(expand(judge[key]))}; correct the path")
    check_path_characters(expand(judge[key]), f"{where}.{key}")


_CHECKS = {
    "train": _check_trained,
    "run": _check_of_run,
    "checkpoint": _check_checkpoint,
    "weights": _check_weights,
    "answers": _check_answers,
}
