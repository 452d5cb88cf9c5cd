"""Consistency of the project's own files."""

import ast
import re
import sys
from pathlib import Path

import yaml

from dreambirds.runtime.code_version import ENTRIES, PACKAGE, stage_modules

ROOT = Path(__file__).parents[2]


def pins(name: str) -> list[str]:
    """Return the pins of a requirements file."""
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_conda_and_pip_pin_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (from_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert from_pip == pins("requirements.txt")
    assert "python=3.11" in environment["dependencies"]


def test_every_direct_dependency_is_pinned():
    every = pins("requirements.txt") + pins("requirements-test.txt")
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9.]+", pin) for pin in every)
    names = {pin.partition("==")[0].lower() for pin in pins("requirements.txt")}
    package = {"PIL": "pillow", "yaml": "pyyaml", "pi_heif": "pi-heif"}
    imported = set()
    for path in (ROOT / "workflow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            imported |= {each.name.partition(".")[0] for each in node.names} if isinstance(node, ast.Import) else set()
            imported |= {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()
    external = imported - {"dreambirds", "job"} - set(sys.stdlib_module_names)
    assert {package.get(name, name) for name in external} <= names


def test_no_file_of_the_package_is_too_long_to_read():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "workflow").rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_the_code_of_a_stage_is_everything_that_it_imports_and_no_later_stage():
    names = {
        stage: {str(path.relative_to(PACKAGE)) for path in stage_modules(stage) if path.is_relative_to(PACKAGE)}
        for stage in ENTRIES
    }
    assert {"data/labels.py", "data/split.py", "data/synthetic/heron.py"} <= names["dataset"]
    assert {"models/classifier.py", "data/tables.py", "training/data.py"} <= names["training"]
    assert {
        "dreaming/objectives.py",
        "dreaming/transforms.py",
        "dream_job/image_files.py",
        "dream_job/archive.py",
    } <= names["dreaming"]
    assert "figures/montage.py" in names["montage"] and "figures/animation.py" in names["film"]
    assert "dream_job/run.py" not in names["montage"] | names["film"]
    assert {"gallery/templates/gallery.js", "gallery/templates/page.css"} <= names["gallery"] & names["comparison"]
    assert not any(name.startswith(("training", "dream_job", "figures")) for name in names["dataset"])
    assert not any(name.startswith(("dreaming", "dream_job", "figures")) for name in names["training"])
    assert not any(name.startswith("training") or "montage" in name for name in names["dreaming"])


def test_the_links_of_the_readme_exist_and_no_placeholder_is_left():
    text = (ROOT / "README.md").read_text()
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    assert len(linked) > 4 and [link for link in linked if not (ROOT / link).exists()] == []
    assert "@@" not in text


def test_the_files_on_the_architecture_page_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("## Which file to open\n")[2]
    named = re.findall(r"`(workflow/[\w./-]+)`", table)
    assert len(named) > 25 and [name for name in named if not (ROOT / name).is_file()] == []
    in_diagram = re.findall(r"\b((?:\w+/)+\w+\.py)", text.partition("```mermaid")[2].partition("```")[0])
    assert len(in_diagram) > 10 and [name for name in in_diagram if not (PACKAGE / name).is_file()] == []
    (layers,) = re.findall(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    table = text.partition("| layer | contents |")[2].partition("\n\n")[0]
    listed = {
        name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1] if line else "")
    }
    assert listed == {name for line in re.findall(r'"(.*)"', layers) for name in line.split(" | ")}
