"""Planning a study where only Snakemake and a few light packages are installed, such as on a head node."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from tests.helpers.studies import ROOT, Study, count_jobs, tiny
from tests.helpers.surroundings import surroundings

pytestmark = pytest.mark.slow
HEAVY = ("torch", "timm", "torchvision", "numpy", "pandas", "PIL", "safetensors", "matplotlib")


@pytest.fixture(scope="session")
def light(tmp_path_factory) -> Path:
    """Return the Python of an environment with the packages of ``requirements-plan.txt``."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "light-environment"
    with FileLock(shared / "light-environment.lock"):
        if not folder.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
            (site,) = (folder / "lib").glob("python*/site-packages")
            lines = (ROOT / "requirements-plan.txt").read_text().splitlines()
            link_packages([line for line in lines if line and not line.startswith("#")], site)
            (site / "dreambirds.pth").write_text(str(ROOT / "workflow"))  # as an editable installation does
    return folder / "bin/python"


def link_packages(requirements: list[str], site: Path) -> None:
    """Link the installed packages that meet the requirements, and what these require, into a folder.

    pip installs the same ones, in a minute. Raises PackageNotFoundError if one is not installed here.
    """
    done, waiting = set(), [Requirement(line) for line in requirements]
    while waiting:
        package = waiting.pop()
        if (key := (canonicalize_name(package.name), *sorted(package.extras))) in done:
            continue
        done.add(key)
        installed = distribution(package.name)
        assert package.specifier.contains(installed.version, prereleases=True), package
        for file in installed.files:
            link = site / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(installed.locate_file(file.parts[0]))
        for each in map(Requirement, installed.requires or []):
            if any(each.marker is None or each.marker.evaluate({"extra": extra}) for extra in ("", *package.extras)):
                waiting.append(each)


def snakemake(light: Path, study: Study, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake on a study in the light environment."""
    command = [str(light), *study.command(*arguments)[1:]]
    return subprocess.run(command, cwd=study.root, env=surroundings(), capture_output=True, text=True, timeout=300)


def folder_config(folder: Path) -> dict:
    """Return the tiny study on photographs of one color, in a folder per class."""
    for label in ("jay", "wren"):
        (folder / "birds" / label).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(folder / "birds" / label / f"{number}.png")
    return {**tiny(), "dataset": {"source": "folder", "path": str(folder / "birds"), "image_size": 32}}


def config_of(name: str, folder: Path) -> dict:
    """Return the tiny study on data of a source, or the config in a file of the project."""
    if name == "folder":
        return folder_config(folder)
    if name in ("drawn", "cub"):  # the data of `cub` is missing, so it is downloaded first
        return {**tiny(), "dataset": {"source": name, "image_size": 32}}
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())


def test_nothing_heavy_is_installed(light):
    code = f"import importlib.util as u; print([name for name in {HEAVY} if u.find_spec(name)])"
    assert subprocess.run([light, "-c", code], capture_output=True, text=True).stdout == "[]\n"


MORE = [pytest.param(name, marks=pytest.mark.exhaustive) for name in ("drawn", "birds")]


@pytest.mark.parametrize("name", ["config", "folder", "cub", *MORE])
def test_a_dry_run_plans_the_same_jobs(light, tmp_path, name):
    study = Study(tmp_path, config_of(name, tmp_path))
    result = snakemake(light, study, "-n")
    assert result.returncode == 0, result.stderr[-3000:]
    assert count_jobs(result.stdout + result.stderr) == study.jobs() != {}


def test_the_workflow_has_no_lint(light, tmp_path):
    result = snakemake(light, Study(tmp_path, tiny()), "--lint")
    assert result.returncode == 0 and "Congratulations" in result.stdout + result.stderr


def test_a_job_names_the_missing_library(light, tmp_path):
    result = snakemake(light, Study(tmp_path, tiny()), "dataset_only")
    output = result.stdout + result.stderr
    assert result.returncode and "Error: the library 'numpy' is not installed here, but the study was planned" in output
    assert "Traceback" not in output


def test_an_unknown_image_size_is_refused_in_one_sentence(light, tmp_path):
    config = tiny()
    config["dataset"]["image_size"] = None
    result = snakemake(light, Study(tmp_path, config), "-n")
    assert result.returncode and "dataset.image_size: is null, and timm, " in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_check_reports_that_models_are_not_checked(light, tmp_path):
    study = Study(tmp_path, tiny())
    study.command()
    command = [light, "-c", "from dreambirds.cli import main; main(['check', 'study.yaml'])"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and "models are not checked" in result.stderr + result.stdout, result.stderr
