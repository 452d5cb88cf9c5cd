"""A real one-node SLURM: two emulated GPUs, no accounting, no systemd."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "munge", "unmunge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/prolog
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0
SlurmdParameters=config_overrides
MinJobAge=86400
KillWait=2
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# SLURM needs a device file for each GPU, which can be any; without one, no job gets CUDA_VISIBLE_DEVICES.
GPUS = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"
# SLURM runs this in the environment of each task.
PROLOG = """#!/bin/sh
echo "$SLURM_JOB_ID,$SLURM_GPUS_ON_NODE,$CUDA_VISIBLE_DEVICES" >> {folder}/devices
"""
# Snakemake's job step drops SLURM_CONF before it calls srun.
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


class Cluster:
    """A running SLURM; its commands find it with the variables in `environment`."""

    def __init__(self, folder: Path):
        """Write SLURM's configuration into the folder."""
        self.folder = folder
        self.daemons: list[subprocess.Popen] = []
        self.own: set[int] = set()
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:/usr/sbin:{os.environ['PATH']}",
        }
        _write(folder)

    def ask(self, *command: str) -> str:
        """Run a SLURM command and return its output. Raises CalledProcessError."""
        done = subprocess.run(
            command, env=os.environ | self.environment, check=True, capture_output=True, text=True, encoding="utf-8"
        )
        return done.stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """Return the records of all jobs, running and ended.

        These contain JobId, Comment, JobState, TresPerJob and so on.
        """
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]

    def devices(self) -> dict[str, list[tuple[str, str]]]:
        """Return (SLURM_GPUS_ON_NODE, CUDA_VISIBLE_DEVICES) of each task, by job id."""
        tasks: dict[str, list[tuple[str, str]]] = {}
        for line in (self.folder / "devices").read_text(encoding="utf-8").splitlines():
            job, gpus, devices = line.split(",", 2)
            tasks.setdefault(job, []).append((gpus, devices))
        return tasks

    def strays(self) -> dict[int, str]:
        """Return the command lines of processes in this cluster except its daemons, by id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                ours = f"SLURM_CONF={self.environment['SLURM_CONF']}" in _strings(folder / "environ")
                if ours and int(folder.name) not in self.own:
                    found[int(folder.name)] = " ".join(_strings(folder / "cmdline"))
        return found

    def start(self):
        """Start the daemons one after another.

        Raises RuntimeError if one does not respond within a minute.
        """
        munge, conf = self.folder / "munge", str(self.folder / "slurm.conf")
        files = [f"--{kind}-file={munge / kind}" for kind in ("key", "log", "pid", "seed")]
        at = f"--socket={munge / 'socket'}"
        munged = ["munged", "--foreground", "--origin=127.0.0.1", at, *files]
        self._start(munged, f"munge --no-input {at} | unmunge {at}", "munge")
        self._start(["slurmctld", "-D", "-f", conf], "scontrol ping | grep UP")
        self._start(["slurmd", "-D", "-f", conf], "sinfo --noheader --format %t | grep -x idle")
        self.own = set(self.strays())

    def stop(self):
        """End all jobs, then the daemons, then all other processes."""
        with suppress(subprocess.CalledProcessError, RuntimeError):
            self.ask("scancel", "--user", "root")
            wait_for(lambda: not self.ask("squeue", "--noheader"), "jobs did not end", 20)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()
        for process in self.strays():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _start(self, command: list[str], answers: str, user: str | None = None):
        environment, log = os.environ | self.environment, self.folder / f"{command[0]}.out"
        group = {"user": user, "group": user, "extra_groups": []} if user else {}
        with log.open("wb") as out:
            daemon = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True, **group)
        self.daemons.append(daemon)
        try:
            wait_for(lambda: not subprocess.run(answers, env=environment, shell=True, capture_output=True).returncode)
        except RuntimeError:
            raise RuntimeError(f"{command[0]} does not respond: {log.read_text(encoding='utf-8')[-3000:]}") from None


def missing() -> str | None:
    """Return in one line why SLURM cannot be started here, or None."""
    if os.geteuid() != 0:
        return "only root can start SLURM's daemons"
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=f"/usr/sbin:{os.environ['PATH']}")]
    return f"SLURM is not installed (`make slurm` does it): no {', '.join(lacking)}" if lacking else None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster, and remove it afterwards.

    Raises RuntimeError if it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        cluster = Cluster(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)


def wait_for(done: Callable[[], bool], message: str = "", seconds: float = 60, pause: float = 0.1):
    """Poll until `done` returns true; raise RuntimeError after so many seconds."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(message)
        time.sleep(pause)


def _write(folder: Path):
    host = socket.gethostname().partition(".")[0]
    facts = {"host": host, "folder": folder, "cpus": max(2, os.cpu_count()), "ports": _free_ports(2)}
    folder.chmod(0o755)  # munged runs as another user
    for name in ("bin", "state", "spool", "munge"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(CONFIG.format(**facts), encoding="utf-8")
    (folder / "gres.conf").write_text(GPUS, encoding="utf-8")
    (folder / "devices").touch()
    for path, text in ((folder / "prolog", PROLOG), (folder / "bin" / "srun", SRUN)):
        path.write_text(text.format(**facts, srun=shutil.which("srun")), encoding="utf-8")
        path.chmod(0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (key, key.parent):
        shutil.chown(path, "munge", "munge")


def _strings(file: Path) -> list[str]:
    return file.read_text(errors="replace", encoding="utf-8").split("\0")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
