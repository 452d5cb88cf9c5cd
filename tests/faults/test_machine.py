"""Failures of a shared machine: clock set back, second Snakemake, killed processes, lost GPUs."""

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreambirds.errors import explain_failure
from tests.helpers.forks import run_python
from tests.helpers.killing import files, jobs_of
from tests.helpers.studies import ROOT, Study, count_dreams, count_jobs, tiny
from tests.helpers.surroundings import surroundings

DAY = 86_400


def same_files(study: Study, finished: Study) -> None:
    """Check that the results of a study, of which not all exist, equal those of the finished study."""
    found, expected = files(study), files(finished)
    assert any(name.endswith("model.safetensors") for name in found)
    assert found == {name: expected[name] for name in found}


def test_a_clock_set_back_stops_no_job_and_repeats_no_job(fresh, finished_study, counted):
    fresh.run("training_only")
    for path in fresh.folder.rglob("*"):
        when = path.lstat().st_mtime + DAY
        os.utime(path, (when, when), follow_symlinks=False)
    output = fresh.run("dreams_only")
    assert " in the future (was the clock set back?); " in output and "train" not in count_jobs(output)
    same_files(fresh, finished_study)
    output = fresh.run("dreams_only")
    assert "Nothing to be done" in output and "clock" not in output
    counted("machine failures survived")


def test_a_second_snakemake_in_a_folder_is_refused_and_two_folders_share_a_store(
    fresh, finished_study, tmp_path_factory, counted
):
    other = Study(tmp_path_factory.mktemp("other"), tiny())
    shared = {"DREAMBIRDS_STORE": str(fresh.folder / "shared")}
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(study.snakemake, "dreams_only", **shared) for study in (fresh, other)]
        while not list(fresh.folder.glob(".snakemake/locks/*.lock")):
            time.sleep(0.05)
        second = fresh.snakemake(**shared)
        results = [each.result() for each in running]
    assert second.returncode != 0 and "cannot be locked" in second.stdout and "Traceback" not in second.stdout
    outputs = [each.stdout for each in results]
    assert [each.returncode for each in results] == [0, 0], outputs
    same_files(fresh, finished_study)
    same_files(other, finished_study)
    assert not (fresh.folder / "results/.store").exists()
    assert 12 <= sum(map(count_dreams, outputs)) <= 24, "both may have computed the same dreams at the same time"
    counted("machine failures survived", 2)


LOADER = """
    import os, signal, sys
    from types import SimpleNamespace
    from dreambirds.runtime.job import job
    job_of = dict(config={{}}, log=["job.log"], rule="train", params={{}}, resources=SimpleNamespace(gpu=0))
    snakemake = SimpleNamespace(**job_of)
    with job(snakemake):
        {body}
"""
BODIES = {
    "a data loader worker process was killed, possibly for lack of memory": """
        import torch
        class Killed(torch.utils.data.Dataset):
            def __len__(self): return 8
            def __getitem__(self, index): os.kill(os.getpid(), signal.SIGKILL)
        list(torch.utils.data.DataLoader(Killed(), num_workers=2))""",
    "the GPU failed or was lost (CUDA error: unspecified launch failure)": """
        import torch
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\\nCompile with TORCH_USE_CUDA_DSA")""",
    "out of memory (": """
        import torch
        torch.empty(2**50)""",
    "shared memory (/dev/shm) is full; give a container more (`docker run --shm-size=1g`)": """
        raise RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)")""",
    "the data loader processes sent no images for 600 s": """
        raise RuntimeError("DataLoader timed out after 600 seconds")""",
    "too many files are open at the same time": """
        import errno
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "x")""",
    "no more processes may be started": """
        raise RuntimeError("can't start new thread")""",
    "or raise the limit of a file's size (`ulimit -f`)": """
        import errno
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "x")""",
    "out of memory (MemoryError)": """
        bytearray(2**60)""",
    "the disk is full (cannot write to '/dev/full')": """
        import errno
        raise OSError(errno.ENOSPC, "No space left on device", "/dev/full")""",
    "cannot read or write '/proc/1/mem/x' (": """
        open("/proc/1/mem/x")""",
}


@pytest.mark.parametrize("expected", BODIES)
def test_a_machine_failure_is_reported_in_one_line_on_the_terminal_and_in_the_log(tmp_path, expected, counted):
    script = textwrap.dedent(LOADER).format(body=textwrap.dedent(BODIES[expected]).replace("\n", "\n    "))
    (tmp_path / "script.py").write_text(script)
    result = run_python(["script.py"], tmp_path, surroundings(), separate=True)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 1 and len(errors) == 1 and expected in errors[0], result.stderr
    command = "command" if expected.startswith("out of memory") else "same command"  # memory needs another command
    assert f"run the {command} again to resume" in errors[0]
    assert "Traceback" not in result.stderr and expected in (tmp_path / "job.log").read_text()
    counted("machine failures reported in one line")


def test_other_errors_keep_their_traceback():
    assert (
        explain_failure(ValueError("out of range")) is None
        and explain_failure(RuntimeError("shapes do not fit")) is None
    )
    assert explain_failure(OSError("no file is named")) is None


def test_a_memory_limit_is_reported_and_the_study_resumes_without_it(fresh, finished_study, counted):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2500 << 20, 2500 << 20))

    command = fresh.command("training_only")
    result = subprocess.run(
        command, cwd=ROOT, env=surroundings(), text=True, stdout=-1, stderr=subprocess.STDOUT, preexec_fn=limit
    )
    assert result.returncode != 0 and "Error: out of memory (" in result.stdout, result.stdout[-3000:]
    assert "Traceback" not in result.stdout
    fresh.run("training_only")
    same_files(fresh, finished_study)
    counted("machine failures survived")


def test_a_killed_job_is_reported_with_the_usual_cause(tmp_path, finished_study, counted):
    study = finished_study.copy(tmp_path / "study")
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 400]
    output = tmp_path / "output.log"
    with output.open("w") as log:
        main = subprocess.Popen(study.command("training_only"), cwd=ROOT, env=surroundings(), stdout=log, stderr=log)
        deadline = time.monotonic() + 600
        while "scratch epoch 2:" not in output.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(jobs_of(study.folder)[0], signal.SIGKILL)
        assert main.wait(300) != 0
    assert "Error: a job was killed (signal 9)" in output.read_text()
    counted("machine failures reported in one line")


def test_the_local_cache_is_used_if_the_hub_does_not_respond(tmp_path, counted):
    silent = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    script = textwrap.dedent("""
        import time
        from dreambirds.errors import UserError
        from dreambirds.models import weights
        from dreambirds.models.classifier import build
        weights.hub_timeout.__wrapped__.__defaults__ = (1.0,)
        began = time.monotonic()
        try:
            build("test_resnet", 2, {}, "hub")
        except UserError as error:
            print("Error:", error, time.monotonic() - began < 30, weights.constants.HF_HUB_OFFLINE)
    """)
    env = surroundings() | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", script], env=env, text=True, capture_output=True, timeout=600)
    assert f"no response from '{address}' in 1 s; using only the local cache" in result.stderr
    assert result.stdout.startswith("Error: weights: cannot download the weights of 'test_resnet'"), result.stderr
    assert result.stdout.endswith(" True False\n"), result.stdout
    silent.close()
    counted("machine failures reported in one line")
