"""The command ``dreambirds``: what is done without Snakemake. Each sub-command imports what it needs when it runs."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from dreambirds import __version__
from dreambirds.errors import UserError, explain_failure, first_line

MUST_DOWNLOAD = 3  # exit status


def check(asked: argparse.Namespace) -> None:
    """Check a config; print how many dreams it asks for, or with --study its study's name."""
    from dreambirds.config.load import study_of

    config = _read_config(asked.config)
    if asked.study:
        print(study_of(asked.config))
        return
    from snakemake.utils import available_cpu_count

    from dreambirds.plan.plan import make_plan
    from dreambirds.startup.preflight import announce_study, missing_download

    resource = missing_download(config)
    if resource:
        print(f"{resource.title} must be downloaded to '{resource.place}' before the study's classes are known")
    else:
        announce_study(make_plan(config), available_cpu_count())


def missing(asked: argparse.Namespace) -> None:
    """Print which photographs a study must download first, and exit with status 3 if there are any."""
    from dreambirds.data.sources.catalog import missing as missing_resource

    resource = missing_resource(_read_config(asked.config))
    if resource:
        print(f"{resource.title} must be downloaded to '{resource.place}' first")
        sys.exit(MUST_DOWNLOAD)


def compare(asked: argparse.Namespace) -> None:
    """Compare the runs and recipes of one study, or two studies; for two, also write a page."""
    from dreambirds.gallery.compare import compare as compare_studies

    compare_studies(asked.studies, asked.sort)


def findings(asked: argparse.Namespace) -> None:
    """Print a table of findings as Markdown."""
    from dreambirds.gallery.findings import markdown, read_findings

    try:
        text = markdown(read_findings(asked.table))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{asked.table}' is not a table of findings; name the findings.csv of a study's results"
        ) from error
    print(text)


def store_gc(asked: argparse.Namespace) -> None:
    """Remove the least recently used entries from the store, and print how many were removed."""
    from dreambirds.dream_job.store_gc import evict_to

    print(evict_to(asked.limit, "--limit"))


def reference(_asked: argparse.Namespace) -> None:
    """Write config/README.md and the presets' part of docs/recipes.md from the schemas and presets.yaml."""
    from dreambirds.config.reference import write_manual

    write_manual(Path())


def _read_config(path: Path) -> dict:
    import yaml

    from dreambirds.config.load import check_file

    check_file(path)
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="a study's YAML file")
    parser.add_argument("--study", action="store_true", help="print only the study's name; the plan is not checked")


def _add_missing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="a study's YAML file")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("studies", nargs="+", type=Path, metavar="results/STUDY", help="one or two folders of results")
    parser.add_argument("--sort", metavar="COLUMN", help="sort each run's rows by this column; only for one study")


def _add_findings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, help="a findings.csv")


def _add_store_gc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", required=True, help="most that the store may hold, such as 500MB or 20GB")


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    pass


COMMANDS: dict[str, tuple[Callable, Callable, str]] = {
    "check": (check, _add_check, "dreambirds check config/default.yaml"),
    "missing": (missing, _add_missing, "dreambirds missing config/birds.yaml"),
    "compare": (compare, _add_compare, "dreambirds compare results/default results/other"),
    "findings": (findings, _add_findings, "dreambirds findings results/default/findings/findings.csv"),
    "store-gc": (store_gc, _add_store_gc, "dreambirds store-gc --limit 20GB"),
    "reference": (reference, _add_nothing, "dreambirds reference"),
}


def main(words: list[str] | None = None) -> None:
    """Run the sub-command that the words name, those of the command line if they are None; end on a UserError with one
    sentence."""
    parser = argparse.ArgumentParser(prog="dreambirds", description="What has a classifier learnt, and when?")
    parser.add_argument("--version", action="version", version=f"dreambirds {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, add_arguments, example) in COMMANDS.items():
        about = (run.__doc__ or "").strip()
        command = commands.add_parser(name, help=about, description=about, epilog=f"Example: {example}")
        command.set_defaults(run=run)
        add_arguments(command)
    asked = parser.parse_args(words)
    try:
        asked.run(asked)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UserError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {explain_failure(error) or first_line(error)}")
