"""Compare the runs and recipes of a study, or two studies."""

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


def compare(folders: list[Path], sort: str | None = None) -> None:
    """Print the comparison of one or two folders of results; of two, write a page too.

    Raises StudyError if there are more, if one is named twice, or if they can't be read or compared.
    """
    if len(folders) > 2:
        raise StudyError(f"one or two studies can be compared, not {len(folders)}")
    if len(folders) == 2 and sort is not None:
        raise StudyError("--sort: is for the table of one study, not for two")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise StudyError(f"'{folders[0]}' is named twice; name two studies")
    console = Console(highlight=False)
    studies = [read_study(folder.resolve() if folder.name in ("", "..") else folder) for folder in folders]
    if len(studies) == 2:
        said = f"Pictures side by side: {compare_two(*studies, console)}"
        console.print(one_line(said), soft_wrap=True, markup=False, emoji=False)
    else:
        compare_one(*studies, console, sort)
