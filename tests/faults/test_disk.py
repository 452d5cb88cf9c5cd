"""A disk that is full in the middle of a study: one sentence, nothing half, and the same command goes on."""

import os
import subprocess

import pytest

from tests.helpers.killing import files
from tests.helpers.studies import Study, tiny

STAGES = ["dataset_only", "training_only", "dreams_only", "all"]
LEFT = 24  # kilobytes that each stage finds free, too few for its results


@pytest.fixture
def disk(tmp_path):
    """Return a study whose results lie on a small disk of their own, and the function that sets its free kilobytes."""
    place = tmp_path / "results"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small disk can't be mounted here (it takes root)")

    def leave(kilobytes: int) -> None:
        about = os.statvfs(place)
        used = (about.f_blocks - about.f_bfree) * about.f_frsize // 1024
        subprocess.run(["mount", "-o", f"remount,size={used + kilobytes}k", str(place)], check=True)

    yield Study(tmp_path, tiny()), leave
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_each_stage_says_that_the_disk_is_full_and_goes_on_when_it_is_not(disk, finished_study, counted):
    study, leave = disk
    for stage in STAGES:
        leave(LEFT)
        result = study.snakemake(stage)
        told = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
        assert result.returncode != 0 and "Traceback" not in result.stdout, result.stdout[-3000:]
        assert told and all("the disk is full" in line or "No space left" in line for line in told), told
        leave(64_000)
        study.run(stage)
        counted("full disks survived")
    assert files(study) == files(finished_study)
    left = [path.name for path in study.results.rglob(".*") if not path.name.endswith((".json", "_timestamp"))]
    assert left == [], "no half is left behind"
