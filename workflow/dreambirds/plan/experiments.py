"""Experiments that come with the workflow, each run as a separate study."""

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
SHARED_KEYS = ("dataset", "judges", "threads", "gpu")
MODEL_KEYS = ("weights", "model_options")
SCALED_KEYS = ("learning_rate", "epochs")
SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
PAGE, TABLE = "index.html", "finding.csv"
CACHED = ("dataset", "train", "statistics")  # experiments share these


def experiments() -> list[str]:
    """Return the sorted names of the files of ``config/studies`` with an experiment."""
    files = FOLDER.glob("*.yaml")
    return sorted(file.stem for file in files if re.search("^experiment:", file.read_text(), re.MULTILINE))


def experiment_file(name: str) -> Path:
    """Return the path of an experiment's config."""
    return FOLDER / f"{name}.yaml"


def experiment_config(experiment: str, base: Section) -> Section:
    """Return the config of an experiment, applied to the data of another study.

    `base` is that study's config with all defaults. If it uses drawn birds, the experiment is unchanged, because
    experiments draw their own. Otherwise it takes the data, dreamt labels, judges and first run of `base`. Each run of
    the experiment keeps the settings in which it differs from the experiment's first run, with epochs and learning
    rates scaled in proportion. A run with another model starts from random weights. A run with several checkpoints
    takes the epochs of `base`. Raises UserError if a judge of `base` is one of its runs.
    """
    config: Section = yaml.safe_load(experiment_file(experiment).read_text())
    if base["dataset"]["source"] == "drawn":
        return config
    _check_judges(base)
    config |= {"study": f"{experiment}-{base['study']}"[:64], **{key: base[key] for key in SHARED_KEYS}}
    config["dreams"]["labels"] = base["dreams"]["labels"]
    if config["dataset"]["path"]:
        config["dataset"] = {**config["dataset"], "path": str(expand(config["dataset"]["path"]))}
    base_run, first = next(iter(base["runs"].values())), next(iter(config["runs"].values()))
    config["runs"] = {run: _adapt_run(base_run, keys, first) for run, keys in config["runs"].items()}
    return config


def _check_judges(base: Section) -> None:
    for judge, keys in base["judges"].items():
        if keys.get("run") is not None:
            raise UserError(
                f"judges.{judge}.run: an experiment cannot use a run of the study '{base['study']}' as a judge; set "
                "'train', 'checkpoint' or 'weights' instead"
            )


def _adapt_run(base: Section, run: Section, first: Section) -> Section:
    changed = {key: value for key, value in run.items() if value != first.get(key) and key not in SCALED_KEYS}
    kept = {key: value for key, value in base.items() if "model" not in changed or key not in MODEL_KEYS}
    rate = base["learning_rate"] * run["learning_rate"] / first["learning_rate"]
    return {**kept, **changed, "learning_rate": round(rate, 9), "epochs": _epochs(base, run, first)}


def _epochs(base: Section, run: Section, first: Section) -> list[float]:
    kept: list[float] = base["epochs"]
    if len(run["epochs"]) > 1:
        return kept
    last = kept[-1] * run["epochs"][-1] / first["epochs"][-1] if first["epochs"][-1] else 0
    return [round(last, 4)]


def run_experiment(config: Section, cores: int, config_file: Path, log_file: Path, page: Path, table: Path) -> None:
    """Run an experiment in the working directory and copy its page and table.

    The config is written to `config_file`, Snakemake's output to `log_file`. Only jobs whose results are missing or
    outdated run. Raises UserError if Snakemake fails, or if the table is truncated.
    """
    config_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(config_file) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    found = Path("results") / config["study"] / "finding"
    with log_file.open("w") as log:
        result = subprocess.run(_command(config_file, cores, found / PAGE), stdout=log, stderr=subprocess.STDOUT)
    if result.returncode:
        raise UserError(f"the experiment '{config['study']}' failed; see '{log_file}'")
    # a copied truncated table would pass for the experiment's result
    read_table(found / TABLE, end=remedy(found))
    for source, path in ((found / TABLE, table), (found / PAGE, page)):
        with atomic_write(path) as temporary:
            shutil.copyfile(source, temporary)


def _command(config_file: Path, cores: int, target: Path) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, "--configfile", config_file]
    # the parent Snakemake holds the lock of the working directory
    command += ["--cores", cores, "--nolock", "--cache", *CACHED, "--", target]
    return [str(argument) for argument in command]
