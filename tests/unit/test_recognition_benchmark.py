"""The benchmark of recognition keeps results, continues where it stopped, and writes a table and a montage."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import recognition, recognition_jobs, recognition_table
from benchmarks.recognition_jobs import Entry, Network, ensure, make_jobs, run_jobs, tool_entries
from benchmarks.recognition_table import (
    COLUMNS,
    PHOTOGRAPHS,
    classify,
    make_table,
    photograph_row,
    summarize,
    to_markdown,
    write_results,
)
from dreambirds.errors import UserError
from dreambirds.plan.plan import make_plan

SHAPE = (128, 128)
LABELS = ["blue_jay", "northern_cardinal"]
NAMES = {"blue_jay": "Blue Jay", "northern_cardinal": "Northern Cardinal"}


class Stub:
    """Dreams of plain images, and counts its calls."""

    def __init__(self, value: int = 128):
        self.value, self.calls = value, []

    def __call__(self, seed: int, folder: Path) -> dict:
        self.calls.append(seed)
        for label in LABELS:
            Image.new("RGB", (8, 8), (self.value,) * 3).save(folder / f"{label}.png")
        return {"steps": 5, "passes": 30, "seconds": 1.5 + seed}


def entry(name: str, stub: Stub, **facts) -> Entry:
    return Entry(name, 512, "", {"passes": 30, **facts}, stub, SHAPE)


def test_a_kept_result_is_not_repeated(tmp_path):
    stub = Stub()
    jobs = make_jobs([entry("a", stub)], [0, 1], tmp_path)
    assert run_jobs(jobs, None) == [] and stub.calls == [0, 1]
    assert run_jobs(make_jobs([entry("a", stub)], [1, 0, 2], tmp_path), None) == []
    assert stub.calls == [0, 1, 2]
    assert jobs[0].result()["seconds"] == 1.5


def test_other_facts_make_a_result_invalid(tmp_path):
    stub = Stub()
    run_jobs(make_jobs([entry("a", stub, code="1")], [0], tmp_path), None)
    (changed,) = make_jobs([entry("a", stub, code="2")], [0], tmp_path)
    assert changed.result() is None
    run_jobs([changed], None)
    assert stub.calls == [0, 0] and changed.result()["facts"] == {"passes": 30, "code": "2", "seed": 0}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"key": ', b"\xff"])
def test_a_job_with_a_damaged_result_runs_again(tmp_path, content):
    stub = Stub()
    (job,) = make_jobs([entry("a", stub)], [0], tmp_path)
    job.run()
    (job.folder / "result.json").write_bytes(content)
    assert job.result() is None and run_jobs([job], None) == [] and stub.calls == [0, 0]


def test_an_interrupted_job_has_no_result_even_if_it_had_one(tmp_path):
    def interrupted(seed, folder):
        raise KeyboardInterrupt

    (job,) = make_jobs([entry("a", Stub())], [0], tmp_path)
    job.run()
    with pytest.raises(KeyboardInterrupt):
        replace(job, dream=lambda folder: interrupted(0, folder)).run()
    assert job.result() is None


def test_no_job_begins_after_the_minutes_and_the_next_run_continues(tmp_path):
    now = [0.0]

    def slow(seed: int, folder: Path) -> dict:
        now[0] += 240  # seconds
        return {"steps": 1, "passes": 1, "seconds": 24.0}

    jobs = make_jobs([entry(name, slow) for name in "abcd"], [0], tmp_path)
    remaining = run_jobs(jobs, 10, clock=lambda: now[0])
    assert [job.name for job in remaining] == ["d"] and now[0] == 720, "the third job crosses ten minutes"
    assert run_jobs(jobs, 10, clock=lambda: now[0]) == [] and now[0] == 960


def test_all_entries_of_a_seed_come_before_the_next_seed(tmp_path):
    jobs = make_jobs([entry("a", Stub()), entry("b", Stub())], [3, 1], tmp_path)
    assert [(job.name, job.seed) for job in jobs] == [("a", 3), ("b", 3), ("a", 1), ("b", 1)]
    assert jobs[2].folder == tmp_path / "a" / "seed-1"


class Brightness(torch.nn.Module):
    """A network of 6 classes whose first logit increases with the brightness of an image."""

    head, network = "softmax", None

    def forward(self, images):
        return torch.stack([20 * images.mean(dim=(1, 2, 3)) - 10 + 0.0, *torch.zeros(5, len(images))], dim=1)


class BrightJudge:
    """A judge that knows one of the two classes."""

    classifier, class_indices = Brightness(), {"blue_jay": 0}

    def predict(self, images):
        logits = torch.cat([self.classifier(batch / 255) for batch in images])
        return logits, logits


def test_the_judge_sees_the_classes_that_it_knows(tmp_path):
    files = []
    for value in (255, 0, 255):
        files.append(tmp_path / f"{len(files)}.png")
        Image.new("RGB", (8, 8), (value,) * 3).save(files[-1])
    judged = classify(BrightJudge(), files, ["blue_jay", "blue_jay", "northern_cardinal"])
    assert list(judged["label"]) == ["blue_jay", "blue_jay"]
    white, black = np.exp(10), np.exp(-10)
    np.testing.assert_allclose(judged["judge_p"], [white / (white + 5), black / (black + 5)], rtol=1e-5)
    assert list(judged["judge_top1"]) == [1, 0] and list(judged["judge_top5"]) == [1, 0]


def test_measures_are_means_over_classes_with_intervals_over_classes():
    judged = pd.DataFrame({"label": ["a", "a", "a", "b", "c"], "judge_p": [0.3, 0.6, 0.9, 0.2, 0.1]})
    judged = judged.assign(judge_top1=[1.0, 1.0, 0.0, 0.0, 0.0], judge_top5=1.0)
    found = summarize(judged)
    assert found["images"] == 5
    assert found["judge_p"] == pytest.approx((0.6 + 0.2 + 0.1) / 3)
    assert found["judge_top1"] == pytest.approx(2 / 9)
    assert 0.1 <= found["judge_p_low"] < found["judge_p"] < found["judge_p_high"] <= 0.6
    assert (found["judge_top5"], found["judge_top5_low"], found["judge_top5_high"]) == (1, 1, 1)


def judging(files: list[Path], labels: list[str]) -> pd.DataFrame:
    """Judge images by their brightness."""
    values = [np.asarray(Image.open(file)).mean() / 255 for file in files]
    return pd.DataFrame({"label": labels, "judge_p": values, "judge_top1": np.round(values), "judge_top5": 1.0})


def test_the_table_has_one_row_per_entry_with_results_in_the_order_of_recognition(tmp_path):
    entries = [entry("dark", Stub(51)), entry("none", Stub()), entry("light", Stub(204))]
    jobs = make_jobs(entries, [0, 1], tmp_path)
    run_jobs([job for job in jobs if job.name != "none"], None)
    table = make_table(entries, jobs, LABELS, judging)
    assert list(table.columns) == COLUMNS and list(table["name"]) == ["light", "dark"]
    assert table["judge_p"].tolist() == pytest.approx([0.8, 0.2])
    assert table["images"].tolist() == [4, 4] and table["seconds_per_dream"].tolist() == [2.0, 2.0]
    assert table[["passes", "own_passes", "steps"]].to_numpy().tolist() == [[30, 512, 5]] * 2
    assert make_table(entries[1:2], jobs, LABELS, judging).empty


def test_the_results_are_a_table_as_csv_and_markdown_and_a_montage(tmp_path, dataset, monkeypatch):
    grids, draw = [], recognition_table.montage
    monkeypatch.setattr(recognition_table, "montage", lambda grid, cell: draw(grids.append(grid) or grid, cell))
    entries = [entry("dark", Stub(0)), entry("light", Stub(255))]
    jobs = make_jobs(entries, [0, 1], tmp_path)
    run_jobs([job for job in jobs if (job.name, job.seed) != ("dark", 0)], None)
    table = make_table(entries, jobs, LABELS, judging)
    table.loc[len(table)] = photograph_row(dataset, judging).iloc[0]
    write_results(table, jobs, 0, NAMES, dataset, "a network", tmp_path / "out")

    written = pd.read_csv(tmp_path / "out" / "table.csv")
    assert list(written["name"]) == ["light", "dark", PHOTOGRAPHS] and list(written.columns) == COLUMNS
    header, _, light, dark, photographs = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert header.startswith("| recipe or program | uses | passes | its own | judge's p |")
    assert light == "| light |  | 30 | 512 | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] | 2 |"
    assert dark.startswith("| dark |  | 30 | 512 | 0.00 [0.00, 0.00] |")
    assert photographs.startswith(f"| {PHOTOGRAPHS} |  |  |  | 0.") and photographs.endswith(" |  |")

    (grid,) = grids
    assert grid.rows[:2] == ["light (100%)", "dark (0%)"] and grid.columns == list(NAMES.values())
    assert grid.cells[0] == [tmp_path / "light" / "seed-0" / f"{label}.png" for label in LABELS]
    assert grid.cells[1] == [None, None], "it has no dream with this seed"
    assert [file.parent.name for file in grid.cells[2]] == LABELS
    with Image.open(tmp_path / "out" / "montage.png") as page:
        assert page.width > 2 * 96 and page.height > 3 * 96


def test_an_interval_of_one_class_is_omitted():
    row = {"name": "a", "uses": "", "own_passes": 5, "passes": 5, "seconds_per_dream": 123.4}
    row |= summarize(pd.DataFrame({"label": ["x"], "judge_p": [0.5], "judge_top1": [1.0], "judge_top5": [1.0]}))
    last = to_markdown(pd.DataFrame([row], columns=COLUMNS)).splitlines()[-1]
    assert last == "| a |  | 5 | 5 | 0.50 | 1.00 | 1.00 | 123 |"


@pytest.fixture
def network(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    folder = tmp_path / "study"
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "images.csv").write_text("path\n")
    return Network(weights, folder, NAMES, SHAPE)


def test_a_size_other_than_the_networks_has_its_own_folder(network):
    assert network.prepared(SHAPE) == network.folder / "dataset"
    assert network.prepared((192, 192)) == network.folder / "dataset" / "canvas-192"


def test_tools_are_named_with_their_pinned_version_and_one_that_is_not_installed_is_reported(network, tmp_path):
    tools = tool_entries(network, 300, 1, tmp_path / "bin" / "python")
    assert [tool.name for tool in tools] == ["torch-lucent-0.1.8", "torch-dreams-4.0.0", "horama-0.3.0"]
    with pytest.raises(UserError, match=r"cannot run torch-lucent, because .* run 'make \.venv-bench/installed' first"):
        tools[0].dream(0, tmp_path)


def test_a_tool_that_fails_is_reported_with_its_last_line(network, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho 'ValueError: too small' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(UserError, match=r"horama failed \(ValueError: too small\); run '.*python -m benchmarks"):
        tool_entries(network, 300, 1, python)[2].dream(0, tmp_path)


def test_the_dreams_of_a_tool_get_the_settings_and_its_last_line_is_the_result(network, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho noise\necho \'{{"steps": 50}}\'\n')
    python.chmod(0o755)
    assert tool_entries(network, 300, 2, python)[2].dream(7, tmp_path) == {"steps": 50}
    expected = f"-m benchmarks.peer_dreams horama --checkpoint {network.weights} --passes 300 --seed 7 --threads 2"
    assert (tmp_path / "arguments").read_text() == f"{expected} --folder {tmp_path} --labels {' '.join(LABELS)}\n"


def test_only_missing_files_of_the_configs_study_are_made(tmp_path, monkeypatch):
    commands = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        recognition_jobs.subprocess, "run", lambda command: commands.append(command) or SimpleNamespace(returncode=0)
    )
    study = Path("results/study")
    study.mkdir(parents=True)
    (study / "there").touch()
    ensure([study / "there"], Path("my.yaml"), study)
    assert not commands
    ensure([study / "there", study / "a", study / "b", study / "a"], Path("my.yaml"), study)
    (command,) = commands
    assert command[2:] == ["snakemake", "results/study/a", "results/study/b", "--configfile", "my.yaml", "--cores", "2"]
    with pytest.raises(UserError, match=r"--study: 'elsewhere/a' does not exist; run the study of 'my\.yaml' first"):
        ensure([Path("elsewhere/a")], Path("my.yaml"), Path("elsewhere"))


def test_unknown_names_are_reported_with_the_closest_one():
    entries = [entry("portrait", Stub()), entry("bird", Stub())]
    assert recognition.choose(entries, None) == entries and recognition.choose(entries, ["bird"]) == entries[1:]
    with pytest.raises(UserError, match=r"--only: unknown preset or tool 'portrai'; did you mean 'portrait'\?"):
        recognition.choose(entries, ["bird", "portrai"])


def test_the_judge_is_the_first_of_the_config_unless_one_is_named():
    plan = make_plan({"runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}})
    (only,) = plan.judges
    assert recognition.judge_name(plan, None) == recognition.judge_name(plan, only) == only
    with pytest.raises(UserError, match=f"--judge: no network judges under the name 'x'; allowed: {only}"):
        recognition.judge_name(plan, "x")
    none = make_plan({"runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}, "judges": {}})
    with pytest.raises(UserError, match="--config: the config has no network that judges; add one"):
        recognition.judge_name(none, None)


def test_a_network_that_does_not_know_a_class_of_the_study_is_refused(tmp_path, monkeypatch):
    known = SimpleNamespace(labels=["blue_jay", "northern_cardinal", "osprey"])
    monkeypatch.setattr(recognition, "read_metadata", lambda _: known)
    recognition.check_classes(tmp_path, LABELS)
    with pytest.raises(UserError, match=r"does not know the class 'dodo'; correct --config or --study"):
        recognition.check_classes(tmp_path, [*LABELS, "dodo"])
