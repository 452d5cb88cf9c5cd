"""The tiny study on a real SLURM: one node, two emulated GPUs, a canceled job."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import torch
import yaml

from tests.helpers.slurm import Cluster, cluster, missing, wait_for
from tests.helpers.studies import ROOT, Study, tiny

pytestmark = pytest.mark.slurm
WITHOUT_ACCOUNTING = ["--profile", "profiles/slurm", "--slurm-status-command", "squeue", "--slurm-no-account"]
QUICK = ["--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "1"]
VICTIM = "rule_dream_wildcards_scratch_0001_study_"


@dataclass
class Ran:
    """A study that ran on SLURM, and SLURM's records of its jobs."""

    study: Study
    slurm: Cluster
    output: str = ""
    killed: str = ""
    queue: str = ""
    left: dict[int, str] = field(default_factory=dict)
    jobs: list[dict[str, str]] = field(default_factory=list)
    devices: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def run(self):
        """Run the study, cancel its first dream job, and keep SLURM's records."""
        with ThreadPoolExecutor() as pool:
            running = pool.submit(self.study.run, "dreams_only", *WITHOUT_ACCOUNTING, *QUICK)
            try:
                wait_for(lambda: running.done() or self._cancel(), "no dream job ever ran", 600, 1)
                self.output = running.result(900)
            except (RuntimeError, TimeoutError):
                self.slurm.stop()  # also ends Snakemake, for which the pool waits
                raise
        with suppress(RuntimeError):
            wait_for(lambda: not self.slurm.strays(), seconds=90, pause=1)  # SLURM kills a canceled job after 30 s
        self.left = self.slurm.strays()
        self.jobs, self.devices = self.slurm.jobs(), self.slurm.devices()
        self.queue = self.slurm.ask("squeue", "--noheader")

    def _cancel(self) -> bool:
        for job in self.slurm.jobs():
            # the first task is the batch script, the second is Snakemake's step
            if job["Comment"] == VICTIM and len(self.slurm.devices().get(job["JobId"], [])) == 2:
                self.killed = job["JobId"]
                self.slurm.ask("scancel", self.killed)
        return bool(self.killed)


def config() -> dict:
    """Return the tiny study's config with its last epoch, one GPU per job, and threads for one node."""
    config = tiny() | {"gpu": 1, "threads": {"prepare": 1, "train": 1, "dream": 1}}
    config["runs"]["scratch"]["epochs"] = [1]
    return config


def megabytes(size: str) -> float:
    """Return a size as SLURM writes it, such as 3500M or 7G, in megabytes."""
    return float(size[:-1]) * {"M": 1, "G": 1024}[size[-1]]


def minutes(limit: str) -> int:
    """Return a time limit of SLURM, such as 04:00:00 or 1-00:00:00, in minutes."""
    days, _, clock = limit.rpartition("-")
    hours, rest = clock.split(":")[:2]
    return (int(days or 0) * 24 + int(hours)) * 60 + int(rest)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return the study, finished on a SLURM that has been stopped."""
    if why := missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SNAKEMAKE_OUTPUT_CACHE", raising=False)
        with cluster() as slurm:
            for name, value in slurm.environment.items():
                patch.setenv(name, value)
            ran = Ran(Study(folder, config()), slurm)
            ran.run()
    return ran


def test_the_slurm_profile_contains_the_default_profile():
    default, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text()) for name in ("default", "slurm")
    )
    options = {name: value for name, value in default.items() if not name.startswith("__")}
    assert options.items() <= slurm.items()


def test_the_study_finishes_on_slurm(ran):
    assert "(100%) done" in ran.output
    states = [job["JobState"] for job in ran.jobs]
    assert states.count("CANCELLED") == 1 and set(states) == {"CANCELLED", "COMPLETED"}
    assert len(list((ran.study.results / "dreams").rglob("*.zip"))) == 1


def test_each_job_that_trains_or_dreams_has_its_own_gpu_and_no_other_job_requests_one(ran):
    on_gpus = [job for job in ran.jobs if job["Comment"].startswith(("rule_train", "rule_dream"))]
    assert len(on_gpus) == 1 + 2, "including the canceled one"
    assert len(ran.jobs) > len(on_gpus), "the data set is prepared without a GPU"
    for job in ran.jobs:
        devices = ran.devices[job["JobId"]]
        if job in on_gpus:
            assert job["TresPerJob"] == "gres:gpu:1" and set(devices) <= {("1", "0"), ("1", "1")}
        else:
            assert "TresPerJob" not in job and set(devices) == {("", "")}


def test_a_canceled_job_is_resubmitted_with_more_memory_and_time(ran):
    first, second = sorted((job for job in ran.jobs if job["Comment"] == VICTIM), key=lambda job: int(job["JobId"]))
    assert (first["JobId"], first["JobState"], second["JobState"]) == (ran.killed, "CANCELLED", "COMPLETED")
    assert megabytes(second["MinMemoryNode"]) == 2 * megabytes(first["MinMemoryNode"]) > 0
    assert minutes(second["TimeLimit"]) == 2 * minutes(first["TimeLimit"]) > 0
    assert f"SLURM-job '{ran.killed}' failed, SLURM status is: 'CANCELLED'" in ran.output
    logs = [log.name for log in (ran.study.folder / "results/logs/slurm").rglob("*.log")]
    assert logs == [f"{ran.killed}.log"], "SLURM's logs of failed jobs are kept"


def test_jobs_on_slurm_fill_the_cache_of_the_profile(ran):
    kept = {file.name.partition("_")[2] for file in (ran.study.folder / "results/.store/cache").iterdir()}
    assert {"pictures.npy", "model.safetensors"} <= kept
    assert (ran.study.results / "runs/scratch/epoch-0001/model.safetensors").is_symlink()


def test_nothing_is_left_running(ran):
    assert ran.queue == "" and ran.left == {}, "all jobs have ended"
    assert ran.slurm.strays() == {} and not ran.slurm.folder.exists()
    assert None not in [daemon.poll() for daemon in ran.slurm.daemons] and len(ran.slurm.daemons) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="results on a GPU are not reproducible bit for bit")
def test_results_equal_those_of_a_local_run_byte_for_byte(ran, finished_study):
    compared = 0
    for pattern in ("runs/*/epoch-????/model.safetensors", "dreams/**/step-*.png"):
        for file in ran.study.results.glob(pattern):
            local = finished_study.results / file.relative_to(ran.study.results)
            assert file.read_bytes() == local.read_bytes(), file.name
            compared += 1
    assert compared == 1 + 3 * 2 * 2, "a checkpoint, and (label, step, view)"
