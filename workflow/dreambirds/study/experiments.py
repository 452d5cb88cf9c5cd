"""The experiments that come with the project, each a study of its own, and how another study lends them its data."""

import re
from pathlib import Path

import yaml

from dreambirds.data.files import expand
from dreambirds.errors import StudyError
from dreambirds.study.schema import Section

FOLDER = Path(__file__).parents[3] / "config" / "studies"
LENT = ("dataset", "judges", "threads", "gpu")
OF_MODEL = ("weights", "model_options")
IN_PROPORTION = ("learning_rate", "epochs")


def experiments() -> list[str]:
    """Return the names of the experiments, in order: the files of ``config/studies`` that ask a question."""
    files = FOLDER.glob("*.yaml")
    return sorted(file.stem for file in files if re.search("^experiment:", file.read_text(), re.MULTILINE))


def experiment_file(name: str) -> Path:
    """Return the config of an experiment."""
    return FOLDER / f"{name}.yaml"


def experiment_config(experiment: str, lender: Section) -> Section:
    """Return the config of an experiment, as it is, or on the data of another study.

    `lender` is that study's config with all defaults. A study of drawn birds lends nothing, since the experiments draw
    their own. Any other lends its data, the labels that it dreams of, its judges and its first run; the experiment's
    runs keep what sets them apart from their first one, epochs and learning rates in proportion, and a run of another
    model starts from random weights. Where more than one checkpoint is asked for, they are the lender's. Raises
    StudyError if its judges are runs of its own.
    """
    config: Section = yaml.safe_load(experiment_file(experiment).read_text())
    if lender["dataset"]["source"] == "drawn":
        return config
    _check_judges(lender)
    config |= {"study": f"{experiment}-{lender['study']}"[:64], **{key: lender[key] for key in LENT}}
    config["dreams"]["labels"] = lender["dreams"]["labels"]
    if config["dataset"]["path"]:
        config["dataset"] = {**config["dataset"], "path": str(expand(config["dataset"]["path"]))}
    lent, first = next(iter(lender["runs"].values())), next(iter(config["runs"].values()))
    config["runs"] = {run: _lend(lent, keys, first) for run, keys in config["runs"].items()}
    return config


def _check_judges(lender: Section) -> None:
    for judge, keys in lender["judges"].items():
        if keys.get("run") is not None:
            raise StudyError(f"judges.{judge}: a run of '{lender['study']}' judges, and experiments have other runs")


def _lend(lent: Section, run: Section, first: Section) -> Section:
    apart = {key: value for key, value in run.items() if value != first.get(key) and key not in IN_PROPORTION}
    kept = {key: value for key, value in lent.items() if "model" not in apart or key not in OF_MODEL}
    rate = lent["learning_rate"] * run["learning_rate"] / first["learning_rate"]
    return {**kept, **apart, "learning_rate": round(rate, 9), "epochs": _epochs(lent, run, first)}


def _epochs(lent: Section, run: Section, first: Section) -> list[float]:
    kept: list[float] = lent["epochs"]
    if len(run["epochs"]) > 1:
        return kept
    last = kept[-1] * run["epochs"][-1] / first["epochs"][-1] if first["epochs"][-1] else 0
    return [round(last, 4)]
