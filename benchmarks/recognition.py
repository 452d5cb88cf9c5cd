"""Compare how well a judge recognizes the dreams of all presets and of other tools, with the same network and work.

Run it as ``make bench-recognition``. A network that is fine-tuned on a study's photographs dreams of every class, with
every preset that has a class as its target, and with torch-lucent, torch-dreams and Horama. All take about the same
number of passes (forward and backward) through the network per dream: `equal_passes.py` states the rule for presets.
The other tools take as many steps as passes, or Horama a sixth, because it uses six crops per step. All compute in
float32 on the CPU, with images of the network's size.

The network and its data set are made first if they are missing, by the study's own workflow. Each job is all dreams of
one preset or tool with one seed. Its result is kept, and a later run continues with the remaining jobs. A result is
valid as long as the checkpoint, the data set, the parameters and the code are the same. The table and the montage are
written after each run, with the results so far.
"""

import argparse
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path

import torch

from benchmarks.recognition_jobs import Entry, Network, ensure, make_jobs, preset_entries, run_jobs, tool_entries
from benchmarks.recognition_table import classify, make_table, photograph_row, to_markdown, write_results
from benchmarks.running import ROOT
from dreambirds.errors import UserError, counted, did_you_mean
from dreambirds.evaluation.judge import load_judge, weights_of
from dreambirds.io import read_yaml
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import read_metadata
from dreambirds.plan import inputs
from dreambirds.plan.paths import epoch_name
from dreambirds.plan.plan import Plan, make_plan
from dreambirds.shapes import shape_of


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the settings of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "config/cub10.yaml", help="config of the network's study")
    parser.add_argument("--study", type=Path, help="folder of its results (default: results/STUDY)")
    parser.add_argument("--run", default="lite0", help="run whose network dreams")
    parser.add_argument("--epoch", type=float, default=4, help="epoch of its checkpoint")
    parser.add_argument("--judge", help="judge of the config (default: the first)")
    parser.add_argument("--passes", type=int, default=300, help="passes per dream")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one dream per class and seed")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run only these presets and tools")
    parser.add_argument("--minutes", type=float, help="begin no job after so many minutes; run again to continue")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=Path, default=Path(".venv-bench/bin/python"), help="Python of the other tools")
    parser.add_argument("--folder", type=Path, default=Path("results/bench-recognition"), help="folder for the results")
    return parser.parse_args(arguments)


def judge_name(plan: Plan, name: str | None) -> str:
    """Return the name of a judge that is a network, by default the first. Raises UserError if there is none."""
    networks = [judge for judge in plan.judges if not inputs.answers(plan, judge)]
    if name not in (None, *networks):
        raise UserError(f"no network judges under the name '{name}'; {did_you_mean(name, networks)}", "--judge")
    if not networks:
        raise UserError("the config has no network that judges; add one to 'judges'", "--config")
    return name or networks[0]


def choose(entries: list[Entry], names: list[str] | None) -> list[Entry]:
    """Return the entries with these names, by default all. Raises UserError if a name is unknown."""
    known = {entry.name: entry for entry in entries}
    for name in names or []:
        if name not in known:
            raise UserError(f"unknown preset or tool '{name}'; {did_you_mean(name, known)}", "--only")
    return [known[name] for name in names or known]


def check_classes(weights: Path, names: Collection[str]) -> None:
    """Raise UserError if a checkpoint does not know all classes of the study."""
    known = read_metadata(weights).labels
    for label in names:
        if label not in known:
            raise UserError(f"the network '{weights}' does not know the class '{label}'; correct --config or --study")


def main(arguments: list[str] | None = None) -> None:
    """Run the jobs that remain, and write the table and the montage."""
    settings = parse(arguments)
    torch.set_num_threads(settings.threads)
    plan = make_plan(read_yaml(settings.config))
    study, epoch = settings.study or Path("results", plan.study), epoch_name(settings.epoch)
    names = {label.label: label.name for label in plan.labels}
    trained = shape_of(plan.config["dataset"]["image_size"])
    weights = study / "runs" / settings.run / epoch / MODEL_FILE
    network = Network(weights, study, names, trained)
    judging_name = judge_name(plan, settings.judge)
    judge_weights = weights_of(plan.judges[judging_name], inputs.weights(plan, judging_name))

    def need(*files: Path) -> None:
        ensure(files, settings.config, study)

    need(weights, judge_weights, *network.prepared_files(trained))
    check_classes(weights, names)
    judge = load_judge(judging_name, plan.judges[judging_name], judge_weights, plan.labels, torch.device("cpu"))
    entries = preset_entries(network, settings.passes, settings.threads)
    entries += tool_entries(network, settings.passes, settings.threads, settings.peers)
    chosen = choose(entries, settings.only)
    need(*(file for entry in chosen for file in network.prepared_files(entry.shape)))

    folder = settings.folder / f"{plan.study}-{settings.run}-{epoch}" / f"passes-{settings.passes}"
    remaining = run_jobs(make_jobs(chosen, settings.seeds, folder), settings.minutes)
    jobs, judging = make_jobs(entries, settings.seeds, folder), partial(classify, judge)
    table = make_table(entries, jobs, list(names), judging)
    table.loc[len(table)] = photograph_row(network.prepared(trained), judging).iloc[0]
    title = f"{settings.run} of {plan.study}, {epoch}, {settings.passes} passes, judge {judge.name}"
    write_results(table, jobs, settings.seeds[0], names, network.prepared(trained), title, folder)
    print(f"{to_markdown(table)}\n{folder}/table.csv, table.md, montage.png")
    if remaining:
        print(f"{counted(len(remaining), 'job')} left; run the same command again to continue")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
