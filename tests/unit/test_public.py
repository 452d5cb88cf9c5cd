"""The public interface: four names, the command line, and scripts that run without an installed package."""

import re
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import dreambirds
from dreambirds import Recipe, cli, dream, list_presets, load_checkpoint
from dreambirds.config.recipes import load_presets
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.seeding import generator
from tests.helpers.studies import ROOT

LABELS = ["american_goldfinch", "blue_jay", "wren"]


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> Path:
    """Return a checkpoint at the path of the default study's checkpoint, in a temporary working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results/default/runs/scratch/epoch-0012"
    torch.manual_seed(0)
    save_checkpoint(path, build("test_resnet", 3, {}), CheckpointInfo("test_resnet", {}, LABELS, "scratch", 8, 64))
    return path


@pytest.mark.slow
def test_the_python_example_of_the_docs_runs_unchanged(checkpoint, capsys):
    section = _page("recipes").partition("## From a Python prompt\n")[2]
    example, matching = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert example.count("from dreambirds") == 1 and "from dreambirds import" in example
    values: dict = {}
    exec(example, values)
    assert capsys.readouterr().out.startswith("torch.Size([2, 3, 64, 64]) tensor([")
    assert values["starts"].shape == (2, 3, 64, 64)
    assert set(values["dreams"].snapshots) == set(load_presets()["bird"].recipe["steps"])
    values |= {label: torch.rand(3, 3, 64, 64) for label in ("jays", "goldfinches")}
    presets = {"portrait": replace(list_presets()["portrait"], steps=(2,))}
    values = values | {"list_presets": lambda: presets}
    exec(matching, values)
    assert set(values["dreams"].snapshots) == {2}


def test_a_dream_without_generators_gets_one_per_image(checkpoint):
    model, metadata = load_checkpoint(str(checkpoint))
    assert metadata.labels == LABELS
    recipe, starts, targets = Recipe(steps=(2,), noise=0.1), torch.full((2, 3, 64, 64), 0.5), torch.tensor([0, 1])
    alone = dream(model, targets[1:], starts[1:], recipe, [generator(0, "1")]).snapshots[2]
    assert torch.allclose(dream(model, targets, starts, recipe).snapshots[2][1:], alone, atol=1e-5)
    assert not torch.allclose(
        dream(model, targets, starts, recipe, [generator(7, "a")] * 2).snapshots[2][1:], alone, atol=1e-5
    )


def test_presets_are_recipes_whose_lengths_fit_the_size():
    assert list(list_presets()) == list(load_presets())
    assert list_presets(128)["bird"].jitter == 2 * list_presets(64)["bird"].jitter > 0
    assert list_presets()["original"].steps == (200, 500, 1000, 2000)


def test_importing_the_package_imports_no_torch_and_dir_lists_its_names():
    code = "import sys, dreambirds.cli; assert not {'torch', 'pandas', 'timm'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"dream", "Recipe", "load_checkpoint", "list_presets"} <= set(dir(dreambirds))
    with pytest.raises(AttributeError, match="has no attribute 'nightmare'"):
        _ = dreambirds.nightmare


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_example_in_each_command_s_help_is_valid(name, capsys, monkeypatch):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    example = " ".join(capsys.readouterr().out.partition("Example: ")[2].split())
    assert end.value.code == 0 and example.startswith(f"dreambirds {name}")
    calls = []
    monkeypatch.setitem(cli.COMMANDS, name, (calls.append, *cli.COMMANDS[name][1:]))
    cli.main(example.partition(" ||")[0].split()[1:])
    assert len(calls) == 1


def test_a_config_is_checked_and_its_dreams_are_counted(capsys, tmp_path):
    cli.main(["check", str(ROOT / "config/config.yaml")])
    assert "Study 'default': 376 dreams requested (8 checkpoints" in capsys.readouterr().err
    cli.main(["check", "--study", str(ROOT / "config/config.yaml")])
    assert capsys.readouterr().out == "default\n"
    (tmp_path / "my.yaml").write_text("runs: {a: {modl: x}}\ndreams: {recipes: {a: {}}}")
    with pytest.raises(SystemExit, match=r"^Error: runs.a: unknown key 'modl'; did you mean 'model'\?$"):
        cli.main(["check", str(tmp_path / "my.yaml")])


def test_the_reference_is_written_in_a_copy_of_the_project_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit,
        match=r"^Error: 'docs/recipes.md' does not exist; run this in the root folder of a clone of the project$",
    ):
        cli.main(["reference"])
    for name in ("config/README.md", "docs/recipes.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "config/README.md").write_text("old")
    cli.main(["reference"])
    assert (tmp_path / "config/README.md").read_text() == (ROOT / "config/README.md").read_text()


def test_a_script_s_entry_finds_the_package_where_it_is_not_installed():
    """A rule's conda environment contains the libraries, but not this package, nor .pth files that point to it."""
    code = "import sys; sys.path += [{!r}, {!r}]; import job, dreambirds; print(dreambirds.__file__)"
    paths = sysconfig.get_path("purelib"), str(ROOT / "workflow" / "scripts")
    bare = [sys.executable, "-S", "-c"]
    missing = subprocess.run([*bare, code.format(*paths).replace("job, ", "")], cwd="/", text=True, capture_output=True)
    assert missing.returncode != 0 and "No module named 'dreambirds'" in missing.stderr
    found = subprocess.run([*bare, code.format(*paths)], cwd="/", text=True, capture_output=True)
    assert found.stdout.strip() == str(ROOT / "workflow/dreambirds/__init__.py"), found.stderr


def test_no_other_file_changes_the_import_path():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split()
    tricks = re.compile(r"sys\.path(\.insert|\.append|\[:0\]| \+=)|PYTHONPATH|pythonpath")
    # the second for the user's code, the third where the package is not installed
    allowed = {"workflow/scripts/job.py", "workflow/dreambirds/models/own_code.py", "profiles/default/config.yaml"}
    allowed |= {*(name for name in files if name.startswith(("tests/", "benchmarks/")))}
    readable = [
        name
        for name in files
        if Path(name).suffix in (".py", ".smk", ".md", ".toml", ".yaml", "") and name not in allowed
    ]
    assert [name for name in readable if (ROOT / name).is_file() and tricks.search((ROOT / name).read_text())] == []


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()
