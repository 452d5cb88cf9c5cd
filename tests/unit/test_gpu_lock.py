"""Simultaneous jobs use different (emulated) GPUs; reservations end with jobs."""

import ctypes.util
import errno
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from dreambirds.errors import UserError
from dreambirds.runtime import gpu_lock
from dreambirds.runtime.gpu_lock import SCHEDULERS, VISIBLE, count_gpus, reserve_gpus

pytestmark = pytest.mark.slow

START = """
import multiprocessing, os, random, subprocess, sys, time
from pathlib import Path
from dreambirds.runtime.gpu_lock import reserve_gpus
folder, gpus, available = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
count = lambda: available
"""
HOLD = """
with reserve_gpus(gpus, count, poll=0.02) as reserved:
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(reserved)
    assert "torch" not in sys.modules, "it may have initialized CUDA already"
    {inside}
    Path(folder, str(os.getpid())).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    time.sleep(60)
"""
ROUNDS = """
for _ in range(15):
    with reserve_gpus(gpus, count, poll=0.01) as reserved:
        assert len(set(reserved)) == gpus
        for device in reserved:
            os.close(os.open(folder / f"busy-{device}", os.O_CREAT | os.O_EXCL))
        time.sleep(random.uniform(0, 0.01))
        for device in reserved:
            os.unlink(folder / f"busy-{device}")
"""


class Jobs:
    """Processes that reserve GPUs and report which."""

    def __init__(self, folder: Path):
        """Take a folder for their reports."""
        self.folder, self.running = folder, []

    def start(self, *, gpus: int = 1, available: int = 3, code: str = HOLD, inside: str = "", **variables: str) -> int:
        """Start a process that requests `gpus` of the `available` ones, and return its id."""
        environment = {name: value for name, value in os.environ.items() if name not in (VISIBLE, "SLURM_JOB_ID")}
        command = [sys.executable, "-c", START + code.replace("{inside}", inside), self.folder, gpus, available]
        environment |= {"TMPDIR": str(self.folder), **variables}
        self.running.append(subprocess.Popen([str(argument) for argument in command], env=environment))
        return self.running[-1].pid

    def holding(self) -> dict[int, str]:
        """Return the GPUs of each live process, by process id."""
        alive = [process.pid for process in self.running if process.poll() is None]
        return {pid: (self.folder / str(pid)).read_text() for pid in alive if (self.folder / str(pid)).exists()}

    def wait(self, number: int) -> list[str]:
        """Wait until `number` processes have reserved their GPUs, and return these sorted."""
        end = time.monotonic() + 120
        while len(self.holding()) < number or "" in self.holding().values():
            assert time.monotonic() < end, f"only {self.holding()}"
            time.sleep(0.02)
        return sorted(self.holding().values())

    def kill(self, pid: int) -> None:
        """Kill a process, and wait until it has ended."""
        (process,) = [process for process in self.running if process.pid == pid]
        process.kill()
        process.wait()


@pytest.fixture
def jobs(tmp_path):
    """Return jobs whose processes are killed after the test."""
    jobs = Jobs(tmp_path)
    yield jobs
    for process in jobs.running:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """Keep locks in a temporary folder, and remove variables of SLURM and the user."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (VISIBLE, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def test_all_devices_are_used_at_the_same_time_and_a_killed_job_frees_its_device(jobs):
    for _ in range(5):
        jobs.start(available=3)
    assert jobs.wait(3) == ["0", "1", "2"]
    time.sleep(0.3)
    assert len(jobs.holding()) == 3, "the others wait"
    for _ in range(2):
        killed, device = next(iter(jobs.holding().items()))
        jobs.kill(killed)
        assert jobs.wait(3) == ["0", "1", "2"] and device in jobs.holding().values()


@pytest.mark.parametrize(("processes", "gpus", "available"), [(5, 1, 2), (4, 2, 3)])
def test_no_device_is_ever_shared_and_no_job_waits_forever(jobs, processes, gpus, available):
    for _ in range(processes):
        jobs.start(gpus=gpus, available=available, code=ROUNDS)
    assert [process.wait(300) for process in jobs.running] == [0] * processes


def test_a_job_that_waits_for_two_reserves_none_meanwhile(jobs):
    jobs.start(available=2)
    jobs.wait(1)
    (first,) = jobs.holding()
    jobs.start(available=2)
    jobs.wait(2)
    jobs.kill(first)
    jobs.start(available=2, gpus=2)
    time.sleep(0.5)
    jobs.start(available=2)
    assert jobs.wait(2) == ["0", "1"]


@pytest.mark.parametrize(
    "inside",
    [
        "(child := multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))).start()",
        "child = subprocess.Popen(['sleep', '60'], close_fds=False)",
    ],
)
def test_a_child_that_outlives_its_job_reserves_no_device(jobs, inside):
    first = jobs.start(available=1, inside=f"{inside}; Path(folder, 'child').write_text(str(child.pid))")
    jobs.wait(1)
    child = int((jobs.folder / "child").read_text())
    jobs.kill(first)
    try:
        os.kill(child, 0)
        jobs.start(available=1)
        assert jobs.wait(1) == ["0"]
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_devices_of_a_given_list_are_distributed(jobs):
    for _ in range(3):
        jobs.start(available=8, CUDA_VISIBLE_DEVICES="5,GPU-7a/b")
    assert jobs.wait(2) == ["5", "GPU-7a/b"]
    time.sleep(0.3)
    assert len(jobs.holding()) == 2


def test_different_slurm_jobs_do_not_wait_for_each_other(jobs):
    jobs.start(available=1, SLURM_JOB_ID="11")
    jobs.start(available=1, SLURM_JOB_ID="12")
    assert jobs.wait(2) == ["0", "0"]
    jobs.start(available=1, SLURM_JOB_ID="11")
    time.sleep(0.4)
    assert len(jobs.holding()) == 2


@pytest.mark.parametrize(
    ("set_to", "gpus", "available", "visible"),
    [
        (None, 1, 2, "0"),
        (None, 2, 2, "0,1"),
        (None, 3, 2, "0,1"),
        (None, 1, 0, None),
        (None, 0, 2, None),
        ("3", 1, 8, "3"),
        ("3,5", 2, 8, "3,5"),
        ("3,5", 4, 8, "3,5"),
        ("3,5", 0, 8, "3,5"),
        (" 3 , 5", 1, 8, "3"),
        ("MIG-a,MIG-b", 1, 8, "MIG-a"),
        ("4,-1,5", 1, 8, "4,-1,5"),
        ("", 1, 8, ""),
        ("NoDevFiles", 1, 8, "NoDevFiles"),
    ],
)
def test_the_variable_is_set_in_the_job_and_restored_afterwards(monkeypatch, set_to, gpus, available, visible):
    if set_to is not None:
        monkeypatch.setenv(VISIBLE, set_to)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(RuntimeError, match="the job's own"), reserve_gpus(gpus, lambda: available) as reserved:
        assert os.environ.get(VISIBLE) == visible
        assert reserved == [] if visible == set_to else reserved == visible.split(",")
        raise RuntimeError("the job's own")
    assert os.environ.get(VISIBLE) == set_to


def test_nothing_is_counted_or_written_for_a_job_without_a_gpu(tmp_path):
    with reserve_gpus(0, lambda: pytest.fail("counted")):
        assert list(tmp_path.iterdir()) == []


def test_a_waiting_job_logs_it_once_and_a_reservation_ends_with_its_block(jobs, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    holder = jobs.start(available=1)
    jobs.wait(1)
    killing = threading.Timer(0.3, jobs.kill, [holder])
    killing.start()
    for _ in range(2):
        with reserve_gpus(1, lambda: 1, poll=0.02) as reserved:
            killing.join()
            assert reserved == ["0"] and not jobs.holding()
    waits = [message for message in caplog.messages if "waiting for 1 of 1 GPU to become free" in message]
    assert len(waits) == 1 and "--resources gpu=1" in waits[0]


def test_a_job_that_waits_for_long_says_so_again(jobs, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dreambirds")
    monkeypatch.setattr(gpu_lock, "REMINDER", 0)
    holder = jobs.start(available=1)
    jobs.wait(1)
    killing = threading.Timer(0.3, jobs.kill, [holder])
    killing.start()
    with reserve_gpus(1, lambda: 1, poll=0.02):
        killing.join()
    assert sum("waiting for 1 of 1 GPU" in message for message in caplog.messages) > 1


def test_the_locks_are_private_and_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, "MIG-GPU-7a/../../1/0,5")
    folder = tmp_path / f"dreambirds-gpus-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with reserve_gpus(1, lambda: 1):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()] == [0o600]
    assert list(tmp_path.iterdir()) == [folder] and len(list(folder.iterdir())) == 1


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    own, other = os.getuid(), os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    (tmp_path / f"dreambirds-gpus-{other}").mkdir()
    message = (
        rf"cannot create the locks of the GPUs in .*dreambirds-gpus-{other}' \(it belongs to another user\).*TMPDIR"
    )
    with pytest.raises(UserError, match=message), reserve_gpus(1, lambda: 1):
        pytest.fail("entered")
    monkeypatch.setattr(os, "getuid", lambda: own)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"dreambirds-gpus-{own}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="it belongs to another user"), reserve_gpus(1, lambda: 1):
        pytest.fail("entered")


def test_locks_that_cannot_be_created_give_a_one_line_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "no flock here")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="no flock here"):
        patch.setattr(fcntl, "flock", refuse)
        with reserve_gpus(1, lambda: 1):
            pytest.fail("entered")
    shutil.rmtree(tmp_path / f"dreambirds-gpus-{os.getuid()}")
    (tmp_path / f"dreambirds-gpus-{os.getuid()}").write_text("a file")
    with pytest.raises(UserError, match=r"cannot create the locks .*File exists.*TMPDIR"), reserve_gpus(1, lambda: 1):
        pytest.fail("entered")


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="the machine has CUDA")
def test_a_machine_without_cuda_has_no_gpu():
    assert count_gpus() == 0


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler to emulate a driver with")
@pytest.mark.parametrize(("status", "counted"), [(0, 3), (100, 0)])
def test_gpus_are_counted_by_the_driver(tmp_path, monkeypatch, status, counted):
    counts = "int cuDeviceGetCount(int *count) { *count = 3; return 0; }"
    (tmp_path / "cuda.c").write_text(f"int cuInit(unsigned flags) {{ return {status}; }} {counts}")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", tmp_path / "cuda.c"], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert count_gpus() == counted


def test_a_gpu_that_a_user_lists_is_reserved_and_one_that_a_scheduler_granted_is_not(monkeypatch):
    monkeypatch.setenv(VISIBLE, "3")
    with reserve_gpus(1, lambda: 8) as reserved:
        assert reserved == ["3"]
    for scheduler in SCHEDULERS:
        with monkeypatch.context() as patch:
            patch.setenv(scheduler, "7")
            with reserve_gpus(1, lambda: 8) as reserved:
                assert reserved == [], scheduler
