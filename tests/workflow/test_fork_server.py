"""Runs of Snakemake whose jobs are forked give the same files, and leave no process."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.helpers.killing import files
from tests.helpers.studies import ROOT, Study, tiny
from tests.helpers.surroundings import surroundings

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="there is no server")]
SNAKEFILE = """
from dreambirds.runtime.fork_server import start_fork_server
onstart:
    start_fork_server()
rule all:
    output: "done"
    log: "log"
    script: "waiting.py"
"""
SCRIPT = """
import sys, time
sys.path.append({scripts!r})
from dreambirds.runtime import fork_client
fork_client.PATIENCE = 60  # a busy machine imports slowly
from job import job
with job(snakemake):
    from pathlib import Path
    from dreambirds.runtime.snakemake_lock import client
    try:
        Path("forked").write_text(str(client is not None))
        time.sleep(60)
    finally:
        Path("cleaned").touch()
"""


def in_session(process: subprocess.Popen) -> list[str]:
    """Return the commands of the processes in the session of a process that leads one."""
    found = []
    for each in psutil.process_iter(["pid", "cmdline", "status"]):
        try:
            if os.getsid(each.pid) == process.pid and each.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(each.info["cmdline"] or []))
        except OSError:
            continue
    return found


def launch(command: list[str], folder: Path) -> subprocess.Popen:
    """Start a command in a new session, with the fork server, and with Ctrl-C also if the tests ignore it."""
    env = surroundings() | {"DREAMBIRDS_FORK_SERVER": ""}
    interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with (folder / "output.log").open("w") as log:
        options = {"stdout": log, "stderr": log, "start_new_session": True, "preexec_fn": interruptible}
        return subprocess.Popen(command, cwd=folder, env=env, **options)


def wait_until(happened, seconds: float) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_study_of_forked_jobs_has_the_same_files(tmp_path, finished_study):
    study, most = Study(tmp_path, tiny()), 0
    process = launch(study.command("dreams_only", "results/tiny/plots/recipes.png"), tmp_path)
    while process.poll() is None:
        most = max(most, sum("fork_server import" in command for command in in_session(process)))
        time.sleep(0.3)
    assert process.returncode == 0, (tmp_path / "output.log").read_text()[-3000:]
    assert in_session(process) == []
    assert most >= 3, "the server, a supervisor and a job"
    found, expected = files(study), files(finished_study)
    assert len(found) > 40 and found == {name: expected[name] for name in found}


@pytest.mark.parametrize("stop", ["SIGKILL of Snakemake", "Ctrl-C"])
def test_no_process_is_left_after_snakemake_was_stopped(tmp_path, stop):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "waiting.py").write_text(SCRIPT.format(scripts=str(ROOT / "workflow" / "scripts")))
    process = launch([sys.executable, "-m", "snakemake", "--cores", "1"], tmp_path)
    wait_until((tmp_path / "forked").exists, 120)
    if stop == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    process.wait(20)
    # a server that is still importing sees the end of Snakemake after an import
    wait_until(lambda: in_session(process) == [], 60)
    assert (tmp_path / "forked").read_text() == "True"
    assert (tmp_path / "cleaned").exists() == (stop == "Ctrl-C"), "the job itself received the interrupt"
    if stop != "Ctrl-C":
        assert "Snakemake has ended, so this job ends too" in (tmp_path / "log").read_text()
