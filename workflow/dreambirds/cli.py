"""The command ``dreambirds``, for tasks without Snakemake. Imports are lazy."""

import argparse
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dreambirds import __version__
from dreambirds.errors import UserError, explain_failure, first_line

if TYPE_CHECKING:
    from dreambirds.plan.plan import Plan

MUST_DOWNLOAD = 3  # exit status of `check --study` if the data set must be downloaded before the study can start


def check(options: argparse.Namespace) -> None:
    """Check a config and the models of its study, and print the number of dreams (with --study: the study's name)."""
    from dreambirds.config.load import study_of

    config = _read_config(options.configs[0])
    for path in options.configs[1:]:
        from snakemake.utils import update_config

        update_config(config, _read_config(path))
    if options.study:
        from dreambirds.data.sources.catalog import missing

        print(study_of(config))
        if missing(config):
            sys.exit(MUST_DOWNLOAD)
        return
    from snakemake.utils import available_cpu_count

    from dreambirds.plan.plan import make_plan
    from dreambirds.startup.preflight import announce_study, missing_download

    resource = missing_download(config)
    if resource:
        print(
            "The data set is missing, so the study's classes are not known yet; "
            f"run the study to download {resource.title} to '{resource.place}'"
        )
    else:
        plan = make_plan(config)
        _check_models(plan)
        announce_study(plan, available_cpu_count())


def _check_models(plan: "Plan") -> None:
    from dreambirds.plan.measurements import is_measured

    if find_spec("torch") is None or find_spec("timm") is None:
        print("torch or timm is not installed here, so models are not checked; the study's first job checks them")
    elif not is_measured(plan):
        from dreambirds.startup.memory_profile import check_models

        check_models(plan)


def init(options: argparse.Namespace) -> None:
    """Write a config for a folder of photographs or of checkpoints, with what was found as comments."""
    from dreambirds.startup.new_study.write import write_config

    write_config(options.folder, options.output, options.photographs)


def compare(options: argparse.Namespace) -> None:
    """Compare runs and recipes of one study, or compare two studies and write an HTML page."""
    from dreambirds.gallery.compare import compare as compare_studies

    compare_studies(options.studies, options.sort)


def findings(options: argparse.Namespace) -> None:
    """Print a table of findings as Markdown."""
    from dreambirds.gallery.findings import markdown, read_findings

    try:
        text = markdown(read_findings(options.table))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = "is not a table of findings" if options.table.exists() else "does not exist"
        raise UserError(f"'{options.table}' {problem}; pass results/STUDY/findings/findings.csv") from error
    print(text)


def store_gc(options: argparse.Namespace) -> None:
    """Remove the least recently used entries of the store (results/.store or $DREAMBIRDS_STORE) until it is within the
    limit."""
    from dreambirds.dream_job.store_gc import evict_to

    print(evict_to(options.limit, "--limit"))


def export(options: argparse.Namespace) -> None:
    """Write a checkpoint as a folder for the Hugging Face hub, or a study for TensorBoard."""
    if options.tensorboard:
        given = {"RUN": options.run_name, "--to": options.to, "--push": options.push, "--private": options.private}
        unused = [name for name, value in given.items() if value]
        if unused:
            raise UserError(f"{unused[0]}: does not apply to --tensorboard, which writes all runs of a study; omit it")
        from dreambirds.gallery.tensorboard import write_tensorboard

        unit = write_tensorboard(options.study, options.tensorboard)
        print(f"Wrote '{options.tensorboard}', where a step of a scalar is {unit}")
        return
    if options.epoch is None:
        raise UserError("pass a run and an epoch, or --tensorboard FOLDER: dreambirds export pretrained last")
    if options.private and not options.push:
        raise UserError("--private: applies to --push only; omit it")
    from dreambirds.gallery.export import export_checkpoint
    from dreambirds.gallery.hub import check_repository, push_folder

    if options.push:
        check_repository(options.push)
    folder = export_checkpoint(options.study, options.run_name, options.epoch, options.to, options.push)
    print(f"Wrote '{folder}'")
    if options.push:
        print(f"Pushed it to {push_folder(folder, options.push, options.private)}")


def quiz(options: argparse.Namespace) -> None:
    """Write a page on which people say what they see in a study's dreams, and save their answers for a judge."""
    from dreambirds.gallery.quiz import Selection, write_quiz

    for option, least in (("count", 1), ("controls", 0), ("seed", 0)):
        value = getattr(options, option)
        if value is not None and value < least:
            raise UserError(f"must be at least {least}, not {value}; pass another number", f"--{option}")
    selection = Selection(options.run_names, options.recipe, options.epoch, options.step, options.view)
    path = options.output or options.study / "quiz.html"
    dreams, real = write_quiz(
        options.study, path, selection, options.count, options.controls, options.seed, options.choices
    )
    print(f"Wrote '{path}' with {dreams} dreams and {real} dataset images; open it in a browser")


def reference(_options: argparse.Namespace) -> None:
    """Generate config/README.md and the presets in docs/recipes.md from the YAML files."""
    from dreambirds.config.reference import write_reference

    write_reference(Path())


def _read_config(path: Path) -> dict:
    import yaml

    from dreambirds.config.load import check_file

    check_file(path)
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _add_check(parser: argparse.ArgumentParser) -> None:
    about = "paths of a study's YAML files; keys of later files replace those of earlier ones, as with --configfile"
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help=about)
    parser.add_argument(
        "--study",
        action="store_true",
        help="print only the study's name; status 3 means that its data set must be downloaded first",
    )


def _add_init(parser: argparse.ArgumentParser) -> None:
    about = "folder of photographs, one subfolder per class, or of checkpoints of any training, or one checkpoint"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=about)
    about = "path of the config, - to print it; the default is FOLDER's name, in config/ if that folder exists"
    parser.add_argument("-o", "--output", metavar="CONFIG", help=about)
    about = "for checkpoints: the photographs that they were trained on"
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help=about)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "studies", nargs="+", type=Path, metavar="results/STUDY", help="results folder of one study, or of two"
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="sort the rows of each run by this column (only for one study)"
    )


def _add_findings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="path of results/STUDY/findings/findings.csv")


def _add_store_gc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", required=True, metavar="SIZE", help="maximum size of the store, such as 500MB or 20GB"
    )


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_name", nargs="?", metavar="RUN", help="a run of the study")
    parser.add_argument("epoch", nargs="?", metavar="EPOCH", help="the epoch of its checkpoint, or 'last'")
    about = "the study's results folder (default: the only one in results, or results/default)"
    parser.add_argument("--study", type=Path, metavar="results/STUDY", help=about)
    about = "the folder to write (default: exports/RUN-epoch-EPOCH in the study's folder)"
    parser.add_argument("--to", type=Path, metavar="FOLDER", help=about)
    about = "also upload the folder to this repository of the Hugging Face hub"
    parser.add_argument("--push", metavar="USER/NAME", help=about)
    parser.add_argument("--private", action="store_true", help="create the repository as a private one")
    about = "write the study's training, measurements and dreams for TensorBoard instead"
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help=about)


def _add_quiz(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, metavar="results/STUDY", help="the study's results folder")
    about = "the page to write (default: quiz.html in the study's folder)"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    parser.add_argument("--count", type=int, default=40, metavar="N", help="maximum number of dreams (default: 40)")
    about = "maximum number of dataset images, as a control (default: a fifth of --count)"
    parser.add_argument("--controls", type=int, metavar="N", help=about)
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice and of the order (default: 0)")
    about = "only dreams of this run; may be repeated (default: all)"
    parser.add_argument("--run", dest="run_names", action="append", default=[], metavar="RUN", help=about)
    about = "only dreams of this recipe; may be repeated (default: all)"
    parser.add_argument("--recipe", action="append", default=[], metavar="RECIPE", help=about)
    parser.add_argument("--epoch", default="last", help="the epoch (default: the last one of each run)")
    parser.add_argument("--step", default="last", help="the step (default: the last one of each recipe)")
    about = "the view of the dreams (default: raw, which summaries use)"
    parser.add_argument("--view", choices=("raw", "rescaled"), default="raw", help=about)
    about = "whether people choose among the classes, answer in their own words, or either (default: both)"
    parser.add_argument("--choices", choices=("classes", "free", "both"), default="both", help=about)


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    pass


COMMANDS: dict[str, tuple[Callable, Callable, str]] = {
    "check": (check, _add_check, "dreambirds check config/config.yaml"),
    "init": (init, _add_init, "dreambirds init my/photographs"),
    "compare": (compare, _add_compare, "dreambirds compare results/default results/other"),
    "findings": (findings, _add_findings, "dreambirds findings results/default/findings/findings.csv"),
    "store-gc": (store_gc, _add_store_gc, "dreambirds store-gc --limit 20GB"),
    "export": (export, _add_export, "dreambirds export pretrained last --study results/default --push user/name"),
    "quiz": (quiz, _add_quiz, "dreambirds quiz results/default --count 40 --recipe bird"),
    "reference": (reference, _add_nothing, "dreambirds reference"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run a subcommand with the given arguments, by default those of the command line.

    A UserError or OSError ends it with a one-line message and status 1.
    """
    about = "Begin and check studies, compare their results and tidy the store, without Snakemake."
    parser = argparse.ArgumentParser(prog="dreambirds", description=about)
    parser.add_argument("--version", action="version", version=f"dreambirds {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, add_arguments, example) in COMMANDS.items():
        about = (run.__doc__ or "").strip()
        command = commands.add_parser(name, help=about, description=about, epilog=f"Example: {example}")
        command.set_defaults(run=run)
        add_arguments(command)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UserError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {explain_failure(error) or first_line(error)}")
