"""The experiments that come with the project, each a study of its own, and how another study lends them its data."""

from pathlib import Path

import yaml

from dreambirds.data.files import expand

FOLDER = Path(__file__).parents[3] / "config" / "studies"
LENT = ("dataset", "judges", "threads", "gpu")
OF_MODEL = ("weights", "model_options")


def experiments() -> list[str]:
    """Return the names of the experiments, in order: the files of ``config/studies`` that ask a question."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if "experiment" in yaml.safe_load(path.read_text()))


def experiment_file(name: str) -> Path:
    """Return the config of an experiment."""
    return FOLDER / f"{name}.yaml"


def experiment_config(name: str, lender: dict) -> dict:
    """Return the config of an experiment, as it is, or on the data of another study, whose config is `lender`.

    A study of drawn birds lends nothing, since the experiments draw their own. Any other lends its data, its judges and
    its first run; the experiment's runs keep that in which they differ from their first one, and as many checkpoints as
    it keeps: the last (or the one before training), the first and the last, or all. A run of another model starts from
    random weights.
    """
    config = yaml.safe_load(experiment_file(name).read_text())
    if lender.get("dataset", {}).get("source", "drawn") == "drawn":
        return config
    config |= {"study": f"{name}-{lender['study']}", **{key: lender[key] for key in LENT if key in lender}}
    if config["dataset"].get("path"):
        config["dataset"] = {**config["dataset"], "path": str(expand(config["dataset"]["path"]))}
    lent, first = next(iter(lender["runs"].values())), next(iter(config["runs"].values()))
    config["runs"] = {run: _lend(lent, keys, first) for run, keys in config["runs"].items()}
    return config


def _lend(lent: dict, run: dict, first: dict) -> dict:
    apart = {key: value for key, value in run.items() if value != first.get(key) and key != "epochs"}
    kept = {key: value for key, value in lent.items() if "model" not in apart or key not in OF_MODEL}
    return {**kept, **apart, "epochs": _epochs(lent["epochs"], run["epochs"])}


def _epochs(lent: list, asked: list) -> list:
    if len(asked) == 1:
        return lent[:1] if asked == [0] else lent[-1:]
    return sorted({lent[0], lent[-1]}) if len(asked) == 2 else lent
