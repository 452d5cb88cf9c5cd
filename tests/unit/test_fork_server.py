"""Jobs that are forked from the server run and end as they do without it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest

from dreambirds.runtime import fork_client
from dreambirds.runtime.fork_client import VARIABLE, hand_over
from dreambirds.runtime.fork_server import start_fork_server
from tests.helpers.studies import ROOT, copy_workflow
from tests.helpers.surroundings import surroundings

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="there is no server")]
PACKAGE = ROOT / "workflow"
HEAD = """
import json, os, signal, sys, time
from pathlib import Path
sys.path.append({scripts!r})
from job import job
from dreambirds.runtime.snakemake_lock import client, exit_with_parent
"""
STATE = """
import random, tempfile, torch, numpy, dreambirds
umask = os.umask(0)
values = [sys.argv, os.getcwd(), dict(os.environ), umask, sys.stdin.read(), tempfile.gettempdir(), dreambirds.__file__]
values += [torch.get_num_threads(), torch.cuda._is_in_bad_fork(), sys.stdout.line_buffering]
values += [__name__, __file__, signal.getsignal(signal.SIGINT) is signal.default_int_handler]
print(json.dumps(values))
print(client is None, random.random(), numpy.random.random(), torch.initial_seed())
"""
WAIT = """
Path("pid.new").write_text(str(os.getpid()))
Path("pid.new").rename("pid")
while not Path("go").exists():
    time.sleep(0.05)
"""
OWNER = """
import os, subprocess, sys
from dreambirds.runtime.fork_server import start_fork_server
print(start_fork_server().pid, os.environ["DREAMBIRDS_FORK_SERVER"], flush=True)
for command in sys.stdin:
    subprocess.call(command.split())
    print(flush=True)
"""


@pytest.fixture(scope="module")
def server():
    """Return the process of a server for the jobs of these tests, when it has imported the libraries and modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "")
        process = start_fork_server()
        wait_until(lambda: is_idle(psutil.Process(process.pid)), 180)  # on a busy machine, longer than a job waits
        yield process
        process.kill(), process.wait()


@pytest.fixture
def owner(tmp_path):
    """Return a function that starts another process with a server, and returns both and the server's name."""
    started = []

    def start(package: Path = PACKAGE) -> tuple[subprocess.Popen, psutil.Process, str]:
        env = surroundings() | {VARIABLE: "", "PYTHONPATH": str(package)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-c", OWNER], cwd=tmp_path, env=env, **pipes))
        pid, name = started[-1].stdout.readline().split()
        return started[-1], psutil.Process(int(pid)), name

    yield start
    for process in started:
        process.kill(), process.wait(), process.stdout.close()


def job(folder: Path, body: str, package: Path = PACKAGE) -> list[str]:
    """Write a script, and return the command that runs it."""
    script = folder / "script.py"
    script.write_text(HEAD.format(scripts=str(package / "scripts")) + body)
    return [sys.executable, str(script)]


def run(folder: Path, body: str, **env: str) -> subprocess.CompletedProcess:
    """Run a script with the server that the environment names."""
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run(job(folder, body), cwd=folder, env={**os.environ, **env}, **pipes)


def start(folder: Path, body: str) -> tuple[subprocess.Popen, psutil.Process]:
    """Start a script that waits, and return its client and the process that runs it."""
    client = subprocess.Popen(job(folder, WAIT + body), cwd=folder, stderr=subprocess.DEVNULL)
    pid = folder / "pid"
    wait_until(pid.exists)
    return client, psutil.Process(int(pid.read_text()))


def wait_until(happened, seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_idle(process: psutil.Process) -> bool:
    """Return whether a process has computed for a while, and then does not compute for two seconds."""
    before = process.cpu_times().user
    time.sleep(2)
    return before > 1 and process.cpu_times().user - before < 0.05


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("print('out'); sys.exit(3)", 3),
        ("import atexit; atexit.register(print, 'at exit')", 0),
        ("sys.exit('a text')", 1),
        ("raise ValueError('an error')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
    ],
)
def test_a_fork_ends_as_its_script_does(server, tmp_path, body, status):
    plain = run(tmp_path, body, **{VARIABLE: "0"})
    forked = run(tmp_path, f"assert client\n{body}")
    assert forked.returncode == plain.returncode == status
    assert forked.stdout == plain.stdout
    assert forked.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]


def test_a_fork_whose_output_is_a_pipe_prepares_itself_as_every_process(server, tmp_path):
    body = (
        "from dreambirds.runtime.process import prepare_process; prepare_process(); print(chr(0x9e1f), client is None)"
    )
    result = run(tmp_path, body, PYTHONIOENCODING="utf-8")
    assert result.returncode == 0 and result.stdout.endswith(" False\n"), result.stderr


def test_a_fork_has_the_state_of_its_client(server, tmp_path):
    (tmp_path / "other").mkdir()
    env = {"OMP_NUM_THREADS": "2", "TMPDIR": str(tmp_path / "other"), "SOME": "value"}
    outputs = []
    for name in ("0", os.environ[VARIABLE], os.environ[VARIABLE]):
        pipes = {"input": "input", "capture_output": True, "text": True, "umask": 0o027}
        result = subprocess.run(
            [*job(tmp_path, STATE), "an argument"], cwd=tmp_path, env={**os.environ, **env, VARIABLE: name}, **pipes
        )
        state, own = result.stdout.splitlines()
        state = json.loads(state)
        state[2].pop(VARIABLE, None)
        outputs.append((state, own.split()))
    (plain, own), (first, random), (second, other) = outputs
    assert plain == first == second
    assert [own[0], random[0], other[0]] == ["True", "False", "False"], "the second and third are forks"
    for drawn in zip(own[1:], random[1:], other[1:], strict=True):
        assert len(set(drawn)) == 3, "each process has its own random state"


def test_the_server_has_one_thread_and_no_cuda(server, tmp_path):
    body = "print('matplotlib.pyplot' in sys.modules, sys.modules['torch'].cuda.is_initialized())"
    wait_until(lambda: "True" in run(tmp_path, body).stdout)
    assert run(tmp_path, body).stdout.split() == ["True", "False"]
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1


@pytest.mark.parametrize("name", [signal.SIGKILL, signal.SIGTERM])
def test_a_fork_ends_with_its_killed_client(server, tmp_path, name):
    client, fork = start(tmp_path, "")
    assert fork.pid != client.pid
    client.send_signal(name)
    assert client.wait(5) == -name
    wait_until(lambda: has_ended(fork), 2)


def test_a_client_ends_with_its_killed_fork_or_supervisor(server, tmp_path):
    for victim in (lambda fork: fork, lambda fork: fork.parent()):
        client, fork = start(tmp_path, "")
        victim(fork).kill()
        assert client.wait(5) == -signal.SIGKILL
        with suppress(psutil.NoSuchProcess):
            fork.kill()
        (tmp_path / "pid").unlink()


def test_forks_outlive_a_killed_server_and_later_jobs_import_themselves(owner, tmp_path):
    process, server, _ = owner()
    process.stdin.write(" ".join(job(tmp_path, WAIT + "Path('done').write_text(str(client))")) + "\n")
    process.stdin.flush()
    wait_until((tmp_path / "pid").exists)
    server.kill()
    wait_until(lambda: has_ended(server))
    (tmp_path / "go").touch()
    process.stdout.readline()
    assert (tmp_path / "done").read_text() != "None"
    process.stdin.write(" ".join(job(tmp_path, "Path('done').write_text(str(client))")) + "\n")
    process.stdin.flush()
    process.stdout.readline()
    assert (tmp_path / "done").read_text() == "None"


def test_a_server_serves_only_jobs_below_its_snakemake(owner, tmp_path):
    _, _, name = owner()
    result = run(tmp_path, "print(client)", **{VARIABLE: name})
    assert (result.returncode, result.stdout) == (0, "None\n")


def test_jobs_after_an_edit_of_the_code_import_it_themselves(owner, tmp_path):
    package = copy_workflow(tmp_path) / "workflow"
    process, _, _ = owner(package)
    clients = []
    for _ in range(2):
        process.stdin.write(" ".join(job(tmp_path, "Path('done').write_text(str(client))", package)) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        clients.append((tmp_path / "done").read_text())
        os.utime(package / "dreambirds" / "shapes.py", (0, 0))
    assert clients[0] != "None" and clients[1] == "None"


@pytest.mark.parametrize("kill", [True, False])
def test_a_server_ends_with_its_snakemake(owner, kill):
    process, server, _ = owner()
    if kill:
        process.kill()
    else:
        process.stdin.close()
    process.wait(10)
    wait_until(lambda: has_ended(server), 15 if kill else 1)


@pytest.mark.parametrize("answer", [b"", b"another environment\n"])
def test_a_job_does_not_wait_for_a_server_that_hangs_or_is_another(monkeypatch, answer):
    monkeypatch.setattr(fork_client, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        monkeypatch.setenv(VARIABLE, listener.getsockname()[1:].decode())
        Thread(target=lambda: listener.accept()[0].sendall(answer), daemon=True).start()
        assert hand_over() is None


def test_a_job_without_a_server_imports_itself(tmp_path):
    for name in ("0", "dreambirds-nothing", "x" * 200):
        result = run(tmp_path, "print(client)", **{VARIABLE: name})
        assert (result.returncode, result.stdout) == (0, "None\n")
