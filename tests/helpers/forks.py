"""Python processes without import time, forked from a server.

Snakemake and each of its scripts need two to eight seconds for imports. The server imports torch, Snakemake and other
libraries once. With `run_python`, a child of the server runs a command, in the folder and environment that a new
process would have. Snakemake's scripts run the same way. The server also imports the project's modules and computes
the digests of their code. A child that runs a copy of the workflow imports the modules of the copy. Tests of processes
(kills, locks, memory, signals) start real ones.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock

HEAVY = [
    *("torch", "torch.nn", "torch.utils.data", "torchvision.transforms.v2", "timm", "timm.optim", "timm.scheduler"),
    *("pandas", "scipy.stats", "matplotlib.pyplot", "PIL.Image", "PIL.ImageFont", "jinja2", "jsonschema"),
    *("rich.console", "rich.table", "psutil", "filelock", "safetensors.torch", "requests", "yaml", "tqdm"),
    *("snakemake.cli", "snakemake.script", "snakemake.report.html_reporter", "snakemake.executors.local"),
    *("snakemake.storage", "nbformat", "smart_open"),
]
ROOT = Path(__file__).parents[2]


def run_python(
    arguments: list[str], folder: Path, env: dict[str, str], separate: bool = False, timeout: float | None = None
) -> subprocess.CompletedProcess:
    """Run ``python <arguments>`` in a folder.

    Standard output and error are text, merged or `separate`. Fails if it takes longer than `timeout` seconds.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        snakefile = Path(arguments[arguments.index("--snakefile") + 1]) if "--snakefile" in arguments else ROOT
        is_copy = not snakefile.resolve().is_relative_to(ROOT)
        files = [output.fileno(), (errors if separate else output).fileno()]
        status = _ask(_server(), arguments, folder, env, files, is_copy, timeout)
        output.seek(0), errors.seek(0)
        texts = [file.read().decode(errors="replace") for file in (output, errors)]
        return subprocess.CompletedProcess(arguments, status, *texts)


@cache
def _server() -> str:
    """Return the address of the server that all processes of a test run share.

    The first caller starts it.
    """
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"forks-{os.geteuid()}-{owner}"
    folder.mkdir(mode=0o700, exist_ok=True)
    address = folder / "socket"
    with FileLock(folder / "lock"):
        if not address.exists():
            command = [sys.executable, __file__, str(address), str(owner)]
            # commands bring their environment; the server itself does not belong to the cluster of a test
            env = {**os.environ, "OMP_NUM_THREADS": "1", "SLURM_CONF": ""}
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
            deadline = time.monotonic() + 300
            while not address.exists():
                assert process.poll() is None and time.monotonic() < deadline, "the fork server does not start"
                time.sleep(0.05)
    return str(address)


def _ask(
    address: str,
    arguments: list[str],
    folder: Path,
    env: dict[str, str],
    files: list[int],
    is_copy: bool,
    timeout: float | None = None,
) -> int:
    """Run a command with files as standard output and error; return its exit status."""
    facts = {"arguments": [str(each) for each in arguments], "folder": str(folder), "env": env, "is_copy": is_copy}
    request = json.dumps(facts).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(timeout)
        server.connect(address)
        socket.send_fds(server, [len(request).to_bytes(8, "big")], files)
        server.sendall(request)
        answer = server.recv(16)
    assert answer, "a fork was killed with its parent"
    return int(answer)


def _serve(address: str, owner: int) -> None:
    for name in HEAVY:
        importlib.import_module(name)
    _prepare()
    gc.freeze()
    threading.Thread(target=_end_with, args=(owner, Path(address).parent), daemon=True).start()
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{address}.new")
    server.listen(64)
    Path(f"{address}.new").rename(address)
    while True:
        connection, _ = server.accept()
        request, files = _receive(connection)
        child = os.fork()
        if child == 0:
            server.close()
            connection.close()
            _become(**request, files=files, address=address)
        for file in files:
            os.close(file)
        threading.Thread(target=_answer, args=(connection, child), daemon=True).start()


def _prepare() -> None:
    """Do what each job does first.

    Torch computations are excluded, because their threads do not survive a fork.
    """
    from snakemake.cli import get_argument_parser

    import dreambirds
    from dreambirds.config.load import load_schema
    from dreambirds.config.recipes import load_presets
    from dreambirds.models.names import model_names
    from dreambirds.plan import measurements
    from dreambirds.runtime.code_version import ENTRIES, stage_code

    for module in pkgutil.walk_packages(dreambirds.__path__, "dreambirds."):
        importlib.import_module(module.name)
    for stage in ENTRIES:
        stage_code(stage)
    for name in ("config", "recipe"):
        load_schema(name)
    load_presets()
    model_names()
    measurements._measurer()
    get_argument_parser()  # finds Snakemake's plugins
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axis = pyplot.subplots(layout="constrained")
    axis.set(xlabel="step", title="a figure")
    figure.savefig(os.devnull, format="png")
    pyplot.close(figure)


def _end_with(owner: int, folder: Path) -> None:
    while psutil.pid_exists(owner):
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _receive(connection: socket.socket) -> tuple[dict, list[int]]:
    head, files, _, _ = socket.recv_fds(connection, 8, 2)
    size, parts = int.from_bytes(head, "big"), b""
    while len(parts) < size:
        parts += connection.recv(size - len(parts))
    return json.loads(parts), files


def _answer(connection: socket.socket, child: int) -> None:
    """Wait for a child, and send its exit status."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with connection, suppress(OSError):  # a client that was killed does not listen
        connection.sendall(str(status).encode())


def _become(arguments: list, folder: str, env: dict[str, str], is_copy: bool, files: list[int], address: str) -> None:
    """Run ``python <arguments>`` in this process, and exit."""
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 64)
    streams = (open(number, "rw"[number > 0], closefd=False, encoding="utf-8") for number in range(3))  # noqa: SIM115
    sys.stdin, sys.stdout, sys.stderr = streams
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for name in [name for name in sys.modules if is_copy and name.partition(".")[0] == "dreambirds"]:
        del sys.modules[name]
    status = 1
    try:
        _fork_scripts(address, is_copy)
        _run(arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), arguments[1:]  # noqa: PTH109
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv = str(Path(arguments[0]).parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _fork_scripts(address: str, is_copy: bool) -> None:
    """Make Snakemake run its Python scripts with the server too."""
    from snakemake.script import PythonScript

    execute = PythonScript._execute_cmd

    def forked(script: PythonScript, command: str, **more: object) -> object:
        if not more.get("is_python_script") or more["py_exec"] != sys.executable:
            return execute(script, command, **more)
        temporary = script.resources.get("tmpdir")
        folders = dict.fromkeys(("TMPDIR", "TMP", "TEMPDIR", "TEMP"), temporary) if temporary else {}
        sys.stdout.flush()
        sys.stderr.flush()
        status = _ask(address, [str(more["fname"])], Path.cwd(), {**os.environ, **folders}, [1, 2], is_copy)
        if status:
            raise subprocess.CalledProcessError(status if status > 0 else 128 - status, str(more["fname"]))
        return None

    PythonScript._execute_cmd = forked


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
