"""The tiny study, killed at random times: it ends with the same files."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from dreambirds.io import TEMPORARY_NAME
from tests.helpers.killing import files, jobs_of
from tests.helpers.studies import Study, tiny
from tests.helpers.surroundings import surroundings

KILLS = int(os.environ.get("DREAMBIRDS_KILLS", "3"))
SEED = int(os.environ.get("DREAMBIRDS_SEED", "0"))
LONGEST = 20  # seconds before a kill; a complete run takes about twice as long
VICTIMS = ("all of them", "Snakemake", "a job")


def killed(study: Study, seconds: float, victim: str) -> bool:
    """Start the study, kill it after `seconds`, and wait for all its processes to end.

    Return whether it was killed before it finished.
    """
    with (study.folder / "snakemake.log").open("w") as log:
        main = subprocess.Popen(
            study.command(), cwd=study.root, env=surroundings(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        main.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(main, study.folder, victim)
    main.wait(600)
    deadline = time.monotonic() + 300
    while jobs_of(study.folder):  # jobs of a killed Snakemake exit on their own
        assert time.monotonic() < deadline, "a job outlives its Snakemake"
        time.sleep(0.1)
    return main.returncode != 0


def _kill(main: subprocess.Popen, folder: Path, victim: str) -> None:
    jobs = jobs_of(folder)
    if victim == "a job" and jobs:
        os.kill(random.choice(jobs), signal.SIGKILL)
    elif victim == "Snakemake":
        main.kill()
    else:
        os.killpg(main.pid, signal.SIGKILL)


def stored(study: Study) -> set[str]:
    """Return the folders of the dreams in the store."""
    return {str(record.parent) for record in (study.folder / "results/.store/dreams").glob("??/*/*/entry.json")}


def partial_files(study: Study) -> list[Path]:
    """Return the temporary files that were left behind."""
    return [path for path in study.results.rglob(".*") if TEMPORARY_NAME.fullmatch(path.name)]


def test_a_study_killed_at_random_times_gives_the_same_files_as_an_uninterrupted_one(tmp_path, finished_study, counted):
    expected, rng, kills = files(finished_study), random.Random(SEED), 0
    counted("files lost or changed by kills", 0)
    while kills < KILLS:
        folder = tmp_path / f"killed-{kills}"
        folder.mkdir()
        study, kept = Study(folder, tiny()), set()
        while kills < KILLS and killed(study, rng.uniform(0, LONGEST), VICTIMS[kills % len(VICTIMS)]):
            kills += 1
            counted("kills survived")
            assert kept <= stored(study), "a complete dream is missing"
            kept = stored(study)
        study.run()
        found = files(study)
        counted("files lost or changed by kills", sum(found.get(name) != content for name, content in expected.items()))
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
        for path in partial_files(study):
            os.utime(path, (0, 0))  # as if left behind long ago
        assert "Nothing to be done" in study.run()
        assert partial_files(study) == []
