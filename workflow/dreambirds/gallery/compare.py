"""Compare the runs and recipes of a study, or two studies:
``python -m dreambirds.gallery.compare results/default [results/other]``."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from dreambirds.errors import StudyError, one_line
from dreambirds.gallery import compare_pages, compare_text
from dreambirds.gallery.compare_studies import differences, effects, pairs
from dreambirds.gallery.compare_tables import Study, read_study, summary


def compare_two(first: Study, second: Study, console: Console) -> Path:
    """Print in what two studies differ and what it did, and return the page that shows it, pictures side by side.

    Raises StudyError if they share no label, or have no dreams that belong together.
    """
    both = pairs(first, second)
    titles = compare_text.titles(first, second)
    apart, what = differences(first, second), effects(both)
    for table in (compare_text.parameters(apart, titles), compare_text.measurements(what, titles)):
        console.print(table)
    path = first.folder.parent / "compare" / f"{first.folder.name}-{second.folder.name}.html"
    compare_pages.write_two(path, first, second, titles, apart, what, both)
    return path


def compare_one(study: Study, console: Console, sort: str | None = None) -> None:
    """Print a study's runs and recipes. Raises StudyError if there is no column `sort`."""
    for table in compare_text.overview(study, summary(study, sort), console.width):
        console.print(table)


def write_overview(folder: Path, path: Path) -> None:
    """Write the page of the runs and recipes of a study's folder. Raises StudyError if its tables can't be read."""
    compare_pages.write_one(path, read_study(folder))


def main() -> None:
    """Compare what the command line names, and end with one sentence where it can't be."""
    parser = argparse.ArgumentParser(prog="compare", description="Compare the runs and recipes of a study, or two.")
    parser.add_argument("studies", nargs="+", type=Path, metavar="results/STUDY", help="one or two folders of results")
    parser.add_argument("--sort", metavar="COLUMN", help="sort each run's rows by this column; only for one study")
    asked = parser.parse_args()
    console = Console(highlight=False)
    try:
        _check(asked)
        studies = [read_study(folder.resolve() if folder.name in ("", "..") else folder) for folder in asked.studies]
        if len(studies) == 2:
            said = f"Pictures side by side: {compare_two(*studies, console)}"
            console.print(one_line(said), soft_wrap=True, markup=False, emoji=False)
        else:
            compare_one(*studies, console, asked.sort)
    except StudyError as error:
        sys.exit(f"Error: {error}")


def _check(asked: argparse.Namespace) -> None:
    if len(asked.studies) > 2:
        raise StudyError(f"one or two studies can be compared, not {len(asked.studies)}")
    if len(asked.studies) == 2 and asked.sort is not None:
        raise StudyError("--sort: is for the table of one study, not for two")
    if len({folder.resolve() for folder in asked.studies}) < len(asked.studies):
        raise StudyError(f"'{asked.studies[0]}' is named twice; name two studies")


if __name__ == "__main__":
    main()
