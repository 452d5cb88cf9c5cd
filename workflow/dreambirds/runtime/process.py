"""What happens first in every process: it gets what the libraries rely on and what the system may lack.

`prepare_process` is called by each process that runs this project's code:

- Snakemake, before it reads the config, by ``profiles/default/config.yaml``, and again by `startup.start`, for a run
  without that profile. `startup.start` also limits the run's cores and memory to those of the machine.
- a job, by `runtime.job`, whether Snakemake started it or it was forked.
- the command ``dreambirds``, by `dreambirds.cli`.

Containers run processes with user ids that have no name and no home folder. What is set here, child processes inherit.
"""

import atexit
import getpass
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dreambirds.errors import UserError
from dreambirds.io import exists
from dreambirds.log import escape_unencodable
from dreambirds.runtime.fork_client import open_streams

CACHES = Path("results/.cache")  # of libraries, if the home folder cannot have them


def prepare_process() -> None:
    """Prepare this process: its streams, its environment, and the interpreter that starts its jobs.

    A second call changes nothing. Raises UserError if no interpreter can start jobs.
    """
    open_streams()
    escape_unencodable()
    complete_environment()
    use_plain_interpreter()


def complete_environment() -> None:
    """Set the environment variables without which libraries fail, if the system does not give what they replace.

    A user id without a name gets one. If the folders of caches and settings in the home folder can neither be written
    to nor created, libraries use `CACHES`, in the working directory.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["USER"] = f"user-{os.getuid()}"
    os.environ.update(_caches(os.environ))


def _caches(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the folders of caches that must be replaced."""
    home, caches = Path(os.path.expanduser("~")), CACHES.absolute()  # noqa: PTH111, which raises without a home folder
    given = {
        name: Path(environment.get(f"XDG_{name}_HOME") or home / f".{name.lower()}") for name in ("CACHE", "CONFIG")
    }
    replaced = {}
    if not _can_have(given["CACHE"]):
        replaced["XDG_CACHE_HOME"] = str(caches)
    if "MPLCONFIGDIR" not in environment and not all(_can_have(path / "matplotlib") for path in given.values()):
        replaced["MPLCONFIGDIR"] = str(caches / "matplotlib")
    return replaced


def _can_have(folder: Path) -> bool:
    """Return whether a folder can be written to, or can be created."""
    parent = next(path for path in (folder, *folder.absolute().parents) if exists(path))
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def use_plain_interpreter() -> None:
    """Set `sys.executable` to a link if a shell would split its path: Snakemake starts jobs by it, without quotes.

    The link is to the environment's folder, in a temporary folder that is removed when this process ends. Raises
    UserError if there is no folder for it.
    """
    executable, prefix = Path(sys.executable), Path(sys.prefix)
    if is_plain(sys.executable) or not executable.is_relative_to(prefix):
        return
    with suppress(OSError):
        folder = tempfile.mkdtemp(prefix="dreambirds-python-")
        atexit.register(_remove, folder, os.getpid())
        if is_plain(folder):
            link = Path(folder, "environment")
            link.symlink_to(prefix, target_is_directory=True)
            sys.executable = str(link / executable.relative_to(prefix))
            return
    raise UserError(
        f"Snakemake cannot start jobs by '{executable}', because it does not quote spaces and other special characters "
        "of this path; move the project to a folder with a plain name, or set TMPDIR to one"
    )


def is_plain(path: str) -> bool:
    """Return whether a shell takes a path as one word without quotes."""
    return shlex.quote(path) == path


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork
        shutil.rmtree(folder, ignore_errors=True)
