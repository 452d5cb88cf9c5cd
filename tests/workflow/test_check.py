"""The job that checks the models of a study: what runs it, and what its failure leaves.

Each test continues with the study of the previous one.
"""

import os
import signal
import subprocess
import time

import pytest

from tests.helpers.killing import jobs_of
from tests.helpers.studies import Study, copy_workflow, count_dreams, count_jobs, tiny
from tests.helpers.surroundings import surroundings

MISFIT = {"steps": [1], "objective": "layer_mean:no_such_layer"}
CHECKED = "results/tiny/checked.json"


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return a study with all dreams, and with a copy of the workflow."""
    study = Study(tmp_path_factory.mktemp("study"), tiny(), copy_workflow(tmp_path_factory.mktemp("code")))
    output = study.run("dreams_only")
    assert count_jobs(output) == {"check": 1, "dataset": 1, "train": 2, "dream": 2, "dreams_only": 1}
    return study


def test_nothing_is_checked_again(study):
    assert study.jobs("dreams_only") == {}
    study.config["dreams"]["recipes"]["blurred"] = {"steps": [1], "blur_sigma": 0.3}
    assert study.jobs("dreams_only") == {"dream": 2, "dreams_only": 1}, "it needs as much memory as the other recipe"
    del study.config["dreams"]["recipes"]["blurred"]


def test_a_recipe_that_no_model_can_dream_is_refused_again_and_again(study):
    study.config["dreams"]["recipes"]["misfit"] = MISFIT
    before = (study.folder / CHECKED).read_bytes()
    for _ in range(2):
        result = study.snakemake("dreams_only", "--rerun-incomplete")
        assert (
            result.returncode
            and "\nError in check: dreams.recipes.misfit.objective: for the run 'scratch'," in result.stdout
        )
        assert count_dreams(result.stdout) == 0 and (study.folder / CHECKED).read_bytes() == before
    assert study.jobs("dreams_only") == {"check": 1, "dream": 2, "dreams_only": 1}, "nothing is trained"


def test_a_corrected_recipe_is_checked_and_dreamt_without_training(study):
    study.config["dreams"]["recipes"]["misfit"] = {**MISFIT, "objective": "layer_mean:layer1"}
    assert study.jobs("dreams_only") == {"check": 1, "dream": 2, "dreams_only": 1}
    assert count_dreams(study.run("dreams_only")) == 2 * 3
    assert study.jobs("dreams_only") == {}


def test_a_killed_check_is_repeated_and_nothing_else(study):
    study.config["dreams"]["recipes"]["study"]["objective"] = "layer_mean:layer2"
    script = study.root / "workflow/scripts/check.py"
    text = script.read_text()
    script.write_text("import time\n\ntime.sleep(600)\n")
    command = study.command("dreams_only")
    main = subprocess.Popen(command, cwd=study.root, env=surroundings(), start_new_session=True)
    deadline = time.monotonic() + 120
    while not jobs_of(study.folder):
        assert main.poll() is None and time.monotonic() < deadline, "the check does not start"
        time.sleep(0.1)
    os.killpg(main.pid, signal.SIGKILL)
    main.wait()
    script.write_text(text)
    assert study.jobs("dreams_only") == {"check": 1, "dream": 2, "dreams_only": 1}
    assert count_dreams(study.run("dreams_only")) == 2 * 2 * 3 and study.jobs("dreams_only") == {}
    study.config["dreams"]["recipes"]["study"] = tiny()["dreams"]["recipes"]["study"]
    assert study.jobs("dreams_only") == {"dream": 2, "dreams_only": 1}, "a config that was checked before"


def test_studies_with_other_recipes_share_networks_through_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    for folder in ("cache", "one", "two"):
        (tmp_path / folder).mkdir()
    one, two = Study(tmp_path / "one", tiny()), Study(tmp_path / "two", tiny())
    two.config["dreams"]["recipes"] = {"other": {"steps": [1], "objective": "layer_mean:layer1"}}
    trained = [study.run("training_only", "--cache", "train").count("validation accuracy") for study in (one, two)]
    assert trained == [2, 0]
