"""Planning a study imports none of the heavy libraries, and its light requirements are those that are pinned."""

import subprocess
import sys
from pathlib import Path

import pytest

from dreambirds.errors import UserError
from dreambirds.runtime import code_version
from dreambirds.runtime.code_version import check_libraries, libraries

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from pathlib import Path
import yaml
from dreambirds.startup.start import start
from dreambirds.plan.plan import make_plan
from dreambirds.startup.preflight import announce_study, check_existing_results, check_folders
from dreambirds.figures.plots import PLOTS
from dreambirds.plan import checkpoints, inputs, measurements, memory, targets
from dreambirds.runtime.code_version import ENTRIES, stage_code
plan = make_plan(yaml.safe_load(Path(sys.argv[1]).read_text()))
check_folders(plan), check_existing_results(plan), announce_study(plan, 2), measurements.planned_check(plan)
[*targets.montages(plan), *targets.films(plan), *targets.results(plan, PLOTS), *targets.patterns(plan)]
[*plan.archives(), *map(stage_code, ENTRIES)]
heavy = "torch timm torchvision numpy pandas PIL safetensors matplotlib requests huggingface_hub scipy"
print([name for name in heavy.split() if name in sys.modules])
"""


def test_planning_imports_nothing_heavy(tmp_path):
    command = [sys.executable, "-c", CODE, ROOT / "config/config.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_light_requirements_are_some_of_all():
    light, every = ((ROOT / name).read_text().splitlines() for name in ("requirements-plan.txt", "requirements.txt"))
    assert {line for line in light if not line.startswith("#")} < set(every)


def test_a_missing_library_counts_with_its_pinned_version(monkeypatch):
    installed = libraries("training")
    monkeypatch.setattr(code_version, "installed_version", lambda name: None)
    pinned = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line)
    assert libraries("training") == {name: pinned[name] for name in installed}
    with pytest.raises(
        UserError, match=r"the library 'timm' is not installed here, but .* with version [\d.]+; run `pip"
    ):
        check_libraries(installed)


def test_a_job_with_another_version_is_refused():
    check_libraries(None), check_libraries(libraries("dataset"))
    with pytest.raises(
        UserError, match=r"'torch' has version [\d.]+ here, but the study was planned with version 1\.0; "
    ):
        check_libraries({**libraries("training"), "torch": "1.0"})
