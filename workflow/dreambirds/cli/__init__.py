"""The command ``dreambirds``, for tasks without Snakemake. Imports are lazy."""

import argparse
import os
import sys
from collections.abc import Callable

from dreambirds import __version__
from dreambirds.cli import images, results, studies
from dreambirds.errors import UserError, explain_failure, first_line
from dreambirds.runtime.process import prepare_process

LISTED = ("dream", "redream", "check", "init", "compare", "findings", "store-gc", "export", "quiz", "reference")
GROUPS = images.COMMANDS | studies.COMMANDS | results.COMMANDS
COMMANDS: dict[str, tuple[Callable, Callable, str]] = {name: GROUPS[name] for name in LISTED}
INTERRUPTED = 130  # exit status after Ctrl+C, as in shells


def main(arguments: list[str] | None = None) -> None:
    """Run a subcommand with the given arguments, by default those of the command line.

    A UserError, an OSError or another failure of the machine ends it with a one-line message and status 1.
    """
    about = "Dream of one image, begin and check studies, compare their results and tidy the store, without Snakemake."
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
        prepare_process()
        options.run(options)
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except UserError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {explain_failure(error) or first_line(error)}")
    except Exception as error:  # torch reports failures of the machine by many types
        if not (explanation := explain_failure(error)):
            raise
        sys.exit(f"Error: {explanation}")
