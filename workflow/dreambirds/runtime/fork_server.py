"""A process that has imported the libraries of the jobs, and forks a child for each local job of a run.

Snakemake's main process starts the server before the first job. A job that starts before the server has imported
everything is forked with what it has imported so far. The socket has an abstract name, so it leaves no file. Only
processes of the same user below the same Snakemake are served, and none after an edit of the code.

A job consists of three processes: the one that Snakemake started (the client, see `dreambirds.runtime.fork_client`),
a supervisor, and the fork that runs the script. The fork ends if the client is killed, and the client ends as the fork
ends. Neither needs the server, which ends with Snakemake or at most a second later.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn
from uuid import uuid4

import psutil

from dreambirds.runtime import snakemake_lock
from dreambirds.runtime.code_version import ENTRIES, SCRIPTS, stage_code
from dreambirds.runtime.fork_client import PACKAGE, VARIABLE, identity, peer

LIBRARIES = ("snakemake.iocontainers", "snakemake.logging", "torch", "torchvision.transforms.v2", "timm", "pandas")
PLOTTING = ("scipy.stats", "matplotlib.pyplot")  # only few jobs need them
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
POLL = 1.0  # seconds between checks whether Snakemake is alive
BACKLOG = 128  # jobs that wait for a fork


def start_fork_server() -> subprocess.Popen | None:
    """Start the server of this run, set the variable by which jobs find it, and return its process.

    Returns None where there is none: on other systems than Linux, where a fork after these imports is not safe, and if
    the variable is 0.
    """
    if sys.platform != "linux" or os.environ.get(VARIABLE) == "0":
        return None
    name = f"dreambirds-{uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as listener, suppress(OSError):
        listener.bind(f"\0{name}")
        listener.listen(BACKLOG)
        descriptor = listener.fileno()
        code = f"import sys; sys.path[0] = {str(PACKAGE.parent)!r}; from {__name__} import leave, serve; "
        server = subprocess.Popen(
            [sys.executable, "-c", f"{code}exec(serve({descriptor}, {os.getpid()})); leave()"],
            env={**os.environ, **dict.fromkeys(THREADS, "1")},  # a process with several threads cannot fork safely
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.environ[VARIABLE] = name
        atexit.register(_stop, server)
        return server
    return None


def serve(descriptor: int, owner: int) -> CodeType:
    """Fork a child for each job of the Snakemake process `owner`, until that ends.

    Returns only in such a child: the code of its script, to be run at the top level, as Python runs a script.
    """
    listener, modified, tasks = socket.socket(fileno=descriptor), _modified(), _preparations()
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while os.getppid() == owner:
        task = next(tasks, None)
        if task:
            task()
        listener.settimeout(0 if task else POLL)
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, TimeoutError):
            continue
        with connection:
            if _can_fork() and _modified() == modified and os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                request, files = _receive(connection, owner)
                if job := os.fork():
                    _supervise(job, connection, files)
                snakemake_lock.client = peer(connection)[0]
                connection.close()
                code = _become(**request, files=files)
                signal.signal(signal.SIGINT, on_interrupt)
                return code
    os._exit(0)


def leave() -> NoReturn:
    """End a fork whose script has succeeded, as Python ends, without freeing the memory that it shares with the server.

    Freeing would copy it first, which takes half a second.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _preparations() -> Iterator[Callable[[], object]]:
    """Yield what spares the jobs time: imports, and the digests of their code."""
    modules = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("[!_]*.py"))]
    for name in (*LIBRARIES, *(".".join(module.parts) for module in modules), *PLOTTING):
        yield partial(import_module, name)
    for stage in ENTRIES:
        yield partial(stage_code, stage)
    yield gc.freeze  # the children then share more memory with the server


def _modified() -> dict[Path, int]:
    """Return the modification times of the modules and scripts."""
    return {path: path.stat().st_mtime_ns for folder in (PACKAGE, SCRIPTS) for path in folder.rglob("*.py")}


def _can_fork() -> bool:
    """Return whether this process has one thread and has not initialized CUDA, so its children work normally."""
    torch = sys.modules.get("torch")
    return len(os.listdir("/proc/self/task")) == 1 and not (torch and torch.cuda.is_initialized())  # noqa: PTH208


def _receive(connection: socket.socket, owner: int) -> tuple[dict[str, Any], list[int]]:
    """Return a job's request, and its standard input, output and error; exit if it is not one of the run."""
    process, user = peer(connection)
    with suppress(psutil.Error, OSError):
        ancestors = [each.pid for each in psutil.Process(process).parents()]
        # in the same process group, Ctrl-C reaches the job
        if user == os.getuid() and owner in ancestors and os.getpgid(process) == os.getpgrp():
            connection.sendall(identity())
            _, files, _, _ = socket.recv_fds(connection, 1, 3)
            if files:
                return json.loads(connection.makefile(encoding="utf-8").readline()), files
    os._exit(0)


def _supervise(job: int, connection: socket.socket, files: list[int]) -> NoReturn:
    """Send a job's exit status to its client, and kill the job if the client ends first."""
    for file in files:
        os.close(file)
    ended = os.pidfd_open(job)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(job, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _become(
    arguments: list[str], path: list[str], folder: str, umask: int, environment: dict[str, str], files: list[int]
) -> CodeType:
    """Take over the state of a client, and return the code of its script.

    NumPy's BLAS keeps the one thread of the server: the jobs multiply only small matrices with it.
    """
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # New streams, because the server's know that they can seek, and those of the client may be pipes.
    for number, name in ((1, "stdout"), (2, "stderr")):
        old, by_line = getattr(sys, name), 1 if number == 2 or os.isatty(number) else -1
        stream = open(number, "w", by_line, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    os.umask(umask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:], sys.path[:] = arguments, path
    tempfile.tempdir = None  # the job may have a temporary folder of another name
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", 1)))  # Snakemake sets it to the job's threads
        torch.default_generator.seed()  # otherwise all forks draw the same; the module `random` does this itself
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    main = sys.modules["__main__"]
    main.__file__ = arguments[0]
    return compile(Path(arguments[0]).read_bytes(), arguments[0], "exec", dont_inherit=True)


def _stop(server: subprocess.Popen) -> None:
    server.kill()
    server.wait()
