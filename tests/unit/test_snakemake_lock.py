"""After Snakemake is killed, its jobs end and the next run starts."""

import errno
import fcntl
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from dreambirds.runtime import snakemake_lock
from tests.helpers.surroundings import surroundings

pytestmark = pytest.mark.slow

HOLD = """
import os, sys, time
from pathlib import Path
from dreambirds.runtime.snakemake_lock import acquire_workdir_lock
folder = Path(sys.argv[1])
acquire_workdir_lock(folder), acquire_workdir_lock(folder)
locks = list((folder / "locks").glob("*.lock"))
print(len(locks), flush=True)
sys.stdin.readline()
"""
JOB = """
import subprocess, sys, time
from pathlib import Path
from dreambirds.runtime.snakemake_lock import exit_with_parent
exit_with_parent(poll=0.2)
child = subprocess.Popen(["sleep", "60"])
Path("pids.new").write_text(f"{child.pid} {__import__('os').getpid()}")
Path("pids.new").rename("pids")
time.sleep(60)
"""
SNAKEFILE = """
import sys
from pathlib import Path
from dreambirds.runtime.snakemake_lock import acquire_workdir_lock
if workflow.is_main_process:
    acquire_workdir_lock(Path(".snakemake"))
rule all:
    output: "done"
    log: "log"
    resources: gpu=1
    script: "job.py"
"""
SCRIPT = """
import os, sys, time
from pathlib import Path
from dreambirds.runtime.job import job
with job(snakemake):
    if not Path("again").exists():
        child = os.fork()
        Path("pids").write_text(f"{os.getpid()} {child}") if child else None
        time.sleep(60)
    Path(snakemake.output[0]).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
"""


@pytest.fixture
def started():
    """Return a list of processes, which are killed after the test."""
    processes = []
    yield processes
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for process in processes:
        if isinstance(process, subprocess.Popen):
            process.communicate()


@pytest.fixture
def folder(tmp_path):
    """Return a folder ``.snakemake`` with two locks."""
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    for name in ("0.input.lock", "0.output.lock"):
        (folder / "locks" / name).write_text("a\n")
    return folder


def start(started: list, folder: Path) -> tuple[subprocess.Popen, int]:
    """Start a process that marks a folder; return it, and how many locks are left."""
    command = [sys.executable, "-c", HOLD, folder]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started.append(subprocess.Popen(command, text=True, **pipes))
    return started[-1], int(started[-1].stdout.readline())


def kill(process: subprocess.Popen) -> None:
    """Kill a process, and wait until it has ended."""
    process.kill()
    process.wait()


def test_the_next_process_removes_the_locks_of_a_killed_one(started, folder):
    first, left = start(started, folder)
    assert left == 2, "no process of ours was killed here, so the locks are not ours"
    kill(first)
    second, left = start(started, folder)
    assert left == 0 and len(list((folder / "dreambirds").glob("main-*"))) == 1
    _, output = second.communicate("\n")
    assert output == "Snakemake was killed in this folder; its locks have been removed.\n"
    assert list((folder / "dreambirds").glob("main-*")) == [], "a process that ends normally leaves no mark"


def test_the_locks_of_a_live_process_stay(started, folder):
    killed, _ = start(started, folder)
    living, _ = start(started, folder)
    kill(killed)
    for _ in range(2):
        other, left = start(started, folder)
        assert left == 2
        assert other.communicate("\n")[1] == ""
    kill(living)
    assert start(started, folder)[1] == 0


def test_processes_that_start_at_the_same_time_keep_the_locks_of_each_other(started, folder):
    """Each creates a lock right after marking the folder, like Snakemake."""
    kill(start(started, folder)[0])
    code = HOLD.replace("locks =", "(folder / 'locks' / f'{os.getpid()}.lock').touch(); locks =")
    command, pipes = [sys.executable, "-c", code, folder], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started += [subprocess.Popen(command, **pipes) for _ in range(6)]
    for process in started[1:]:
        process.stdout.readline()
    left = {path.name for path in (folder / "locks").iterdir()}
    assert left == {f"{process.pid}.lock" for process in started[1:]}


def test_one_process_checks_the_locks_at_a_time(started, folder):
    (folder / "dreambirds").mkdir()
    with FileLock(folder / "dreambirds" / "turn.lock"):
        command = [sys.executable, "-c", HOLD, folder]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        time.sleep(1)
        assert not list((folder / "dreambirds").glob("main-*"))
    started[0].stdout.readline()
    assert list((folder / "dreambirds").glob("main-*"))


def mark(folder: Path, machine: str, age: float) -> Path:
    """Write the mark of a process on another machine, whose lock is not visible here."""
    (folder / "dreambirds").mkdir(exist_ok=True)
    path = folder / "dreambirds" / "main-other.lock"
    path.write_text(machine)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize(
    ("machine", "age", "left"),
    [("elsewhere 1234", 30, 2), ("elsewhere 1234", 700, 0), (snakemake_lock._machine(), 30, 0)],
)
def test_a_process_on_another_machine_counts_as_alive_while_it_sends_heartbeats(started, folder, machine, age, left):
    path = mark(folder, machine, age)
    process, locks = start(started, folder)
    assert (locks, path.exists()) == (left, left > 0)
    message = re.search(
        r"'elsewhere' may be running in this folder: it was active (\d+) s ago\. If it was killed, run the same "
        r"command again 600 s after that; the locks are then removed automatically\.$",
        process.communicate("\n")[1].rstrip(),
    )
    assert (message is not None) == (left > 0) and (message is None or age <= int(message[1]) < age + 60)


@pytest.fixture
def released():
    """Release this process's own marks after the test."""
    yield
    while snakemake_lock.held:
        snakemake_lock.held.pop().release()


def test_a_live_process_sends_heartbeats(folder, monkeypatch, released):
    monkeypatch.setattr(snakemake_lock, "BEAT", 0.05)
    snakemake_lock.acquire_workdir_lock(folder)
    (path,) = (folder / "dreambirds").glob("main-*")
    os.utime(path, (0, 0))
    end = time.monotonic() + 60
    while path.stat().st_mtime == 0 and time.monotonic() < end:
        time.sleep(0.02)
    assert time.time() - path.stat().st_mtime < 10


def test_a_missing_folder_is_not_created(tmp_path):
    snakemake_lock.acquire_workdir_lock(tmp_path / ".snakemake")
    assert list(tmp_path.iterdir()) == [] and snakemake_lock.held == []


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_nothing_is_removed_if_files_cannot_be_locked(folder, monkeypatch, code):
    mark(folder, snakemake_lock._machine(), 10_000)

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    snakemake_lock.acquire_workdir_lock(folder)
    assert len(list((folder / "locks").iterdir())) == 2 and snakemake_lock.held == []


def test_nothing_is_done_if_the_folder_is_not_writable(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "mkdir", refuse)
    snakemake_lock.acquire_workdir_lock(folder)
    assert len(list(folder.iterdir())) == 1 and snakemake_lock.held == []


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        ("/a/bin/python3 /a/bin/snakemake --cores 2", True),
        ("python -m snakemake -n", True),
        ("/a/python3.11 -X dev -Im snakemake", True),
        ("/Library/Python -W ignore -u /a/.snakemake-wrapped --cores 1", True),
        ("bash -c snakemake", False),
        ("make snakemake", False),
        ("timeout 60 snakemake --cores 2", False),
        ("python launch.py snakemake", False),
        ("python -m pytest snakemake", False),
        ("python -c pass snakemake", False),
        ("python .snakemake/scripts/tmp.dream.py", False),
        ("", False),
    ],
)
def test_snakemake_is_recognized_by_its_command(monkeypatch, command, is_one):
    process = psutil.Process()
    monkeypatch.setattr(process, "cmdline", command.split)
    assert snakemake_lock._is_snakemake(process) == is_one


def launch(started: list, folder: Path, *chain: str) -> tuple[subprocess.Popen, set[psutil.Process]]:
    """Start a job below a chain of processes; return the outermost, and {job, child}."""
    (folder / "job").write_text(JOB)
    command = [sys.executable, "job"]
    for number, name in enumerate(reversed(chain)):
        inner = folder / str(number) / name
        inner.parent.mkdir()
        inner.write_text(f"import subprocess; subprocess.call(['bash', '-c', {' '.join(command)!r} + '; exit'])")
        command = [sys.executable, str(inner)]
    started.append(subprocess.Popen(command, cwd=folder))
    return started[-1], wait_for(started, folder / "pids")


def wait_for(started: list, path: Path) -> set[psutil.Process]:
    """Wait for a file of process ids, and return the processes."""
    end = time.monotonic() + 120
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    found = {psutil.Process(int(pid)) for pid in path.read_text().split()}
    started += found
    return found


def still_running(processes: set[psutil.Process], seconds: float) -> set[psutil.Process]:
    """Return the processes that have not ended after so many seconds."""
    return {each for each in psutil.wait_procs(processes, seconds)[1] if each.status() != psutil.STATUS_ZOMBIE}


def test_a_job_and_its_children_end_with_the_parent_snakemake(started, tmp_path):
    outer, job = launch(started, tmp_path, "snakemake", "snakemake")
    assert still_running(job, 0.6) == job
    outer.kill()
    assert not still_running(job, 3), "even if the killed parent is still a zombie"


def test_a_job_under_another_command_outlives_it(started, tmp_path):
    outer, job = launch(started, tmp_path, "another")
    kill(outer)
    assert still_running(job, 1) == job


def test_a_real_snakemake_that_was_killed_leaves_no_job_and_no_lock(started, tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete"]
    environment = {**surroundings(), "TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "3,5"}
    started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL))
    job = wait_for(started, tmp_path / "pids")
    kill(started[0])
    assert not still_running(job, 3)
    assert "Snakemake has ended, so this job ends too" in (tmp_path / "log").read_text()
    assert list((tmp_path / ".snakemake" / "locks").iterdir())
    (tmp_path / "again").touch()
    again = subprocess.run(command, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE)
    assert again.returncode == 0 and (tmp_path / "done").read_text() == "3", "the killed job's GPU is free again"
    assert "Snakemake was killed in this folder; its locks have been removed." in again.stderr
