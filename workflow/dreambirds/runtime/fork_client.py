"""Hand a job over to the fork server of its run, if there is one that can run it.

The job's process then only waits for the fork, and ends as the fork ends. `dreambirds.runtime.fork_server` has the
other side. Only the standard library is imported here, because nothing is saved otherwise.
"""

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

VARIABLE = "DREAMBIRDS_FORK_SERVER"  # the name of the server's socket, set by Snakemake; 0 switches the server off
PATIENCE = 5.0  # seconds to wait for a server that is still importing
PACKAGE = Path(__file__).resolve().parents[1]


def hand_over() -> None:
    """Run this script in a fork of the server, and exit with its status.

    Returns if there is no server, or if it does not run this job: the job then imports the libraries itself.
    """
    name = os.environ.get(VARIABLE, "0")
    if name == "0":
        return
    open_streams()
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.settimeout(PATIENCE)
            server.connect(f"\0{name}")
            answers = server.makefile("rb")
            if peer(server)[1] != os.getuid() or answers.readline() != identity():
                return
            server.settimeout(None)
            socket.send_fds(server, [b"0"], [0, 1, 2])
            server.sendall(_request())
        except OSError:
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the fork too, and it may clean up
        with suppress(OSError):
            _exit(int(answers.readline() or -signal.SIGKILL))
        _exit(-signal.SIGKILL)


def open_streams() -> None:
    """Open the null device as each standard stream that was closed, or else a file or socket takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def identity() -> bytes:
    """Return a line that is the same for processes of the same Python environment and copy of the package."""
    return json.dumps([sys.executable, sys.prefix, sys.version, str(PACKAGE)]).encode() + b"\n"


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user id of the other end of a connection."""
    process, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return process, user


def _request() -> bytes:
    """Return everything that a fork takes over from this process, as one line."""
    umask = os.umask(0)
    os.umask(umask)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    request = {"arguments": sys.argv, "path": sys.path, "folder": os.getcwd(), "umask": umask}  # noqa: PTH109
    return json.dumps({**request, "environment": environment}).encode() + b"\n"


def _exit(status: int) -> NoReturn:
    """End this process with an exit status, or with a signal if the status is negative."""
    if status < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
