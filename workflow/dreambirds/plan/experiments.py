"""Run the experiments that come with the workflow, each as a study."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from dreambirds.config.load import Section
from dreambirds.data.tables import read_table, remedy
from dreambirds.errors import UserError
from dreambirds.io import atomic_write, expand

FOLDER = Path(__file__).parents[3] / "config" / "studies"
LENT = ("dataset", "judges", "threads", "gpu")
OF_MODEL = ("weights", "model_options")
IN_PROPORTION = ("learning_rate", "epochs")
SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
PAGE, TABLE = "index.html", "finding.csv"
CACHED = ("dataset", "train", "statistics")  # experiments share these


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
    UserError if its judges are runs of its own.
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
            raise UserError(f"judges.{judge}: a run of '{lender['study']}' judges, and experiments have other runs")


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


def run_experiment(config: Section, cores: int, config_file: Path, said: Path, page: Path, table: Path) -> None:
    """Run a study's experiment in the working directory and copy its page and its table.

    The config is written to `config_file`, what Snakemake says to `said`. Only what is missing or changed runs. Raises
    UserError if it fails, or if its table is not whole.
    """
    config_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(config_file) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    found = Path("results") / config["study"] / "finding"
    with said.open("w") as log:
        ended = subprocess.run(_command(config_file, cores, found / PAGE), stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise UserError(f"the experiment '{config['study']}' did not come to its end; '{said}' tells why")
    # a copy of what is cut would be taken for what the experiment found
    read_table(found / TABLE, end=remedy(found))
    for source, path in ((found / TABLE, table), (found / PAGE, page)):
        with atomic_write(path) as temporary:
            shutil.copyfile(source, temporary)


def _command(config_file: Path, cores: int, target: Path) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, "--configfile", config_file]
    # the Snakemake above holds the lock of the working directory
    command += ["--cores", cores, "--nolock", "--cache", *CACHED, "--", target]
    return [str(word) for word in command]
