"""A full disk in the middle of a study: one error, no partial files, and the same command resumes."""

import os
import subprocess

import pytest

from tests.helpers.killing import files
from tests.helpers.studies import Study, tiny

STAGES = ["dataset_only", "training_only", "dreams_only", "all"]
LEFT = 24  # kilobytes that are free for each stage, too few for its results


@pytest.fixture
def disk(tmp_path):
    """Return a study with its results on a separate small disk, and a function that sets its free kilobytes."""
    folder = tmp_path / "results"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a small disk here (requires root)")

    def leave(kilobytes: int) -> None:
        stat = os.statvfs(folder)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize // 1024
        subprocess.run(["mount", "-o", f"remount,size={used + kilobytes}k", str(folder)], check=True)

    yield Study(tmp_path, tiny()), leave
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_each_stage_reports_a_full_disk_and_resumes_when_there_is_space(disk, finished_study, counted):
    study, leave = disk
    for stage in STAGES:
        leave(LEFT)
        result = study.snakemake(stage)
        errors = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
        assert result.returncode != 0 and "Traceback" not in result.stdout, result.stdout[-3000:]
        assert errors and all("the disk is full" in line or "No space left" in line for line in errors), errors
        leave(64_000)
        study.run(stage)
        counted("full disks survived")
    assert files(study) == files(finished_study)
    left = [
        path.name for path in study.results.rglob(".*") if not path.name.endswith((".json", "_timestamp", ".checked"))
    ]
    assert left == [], "no partial file is left behind"
