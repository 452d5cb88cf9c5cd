"""Commands that compare, export and show the results of studies."""

import argparse
from pathlib import Path

from dreambirds.errors import UserError


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


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "studies", nargs="+", type=Path, metavar="results/STUDY", help="results folder of one study, or of two"
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="sort the rows of each run by this column (only for one study)"
    )


def _add_findings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="path of results/STUDY/findings/findings.csv")


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


COMMANDS = {
    "compare": (compare, _add_compare, "dreambirds compare results/default results/other"),
    "findings": (findings, _add_findings, "dreambirds findings results/default/findings/findings.csv"),
    "export": (export, _add_export, "dreambirds export pretrained last --study results/default --push user/name"),
    "quiz": (quiz, _add_quiz, "dreambirds quiz results/default --count 40 --recipe bird"),
}
