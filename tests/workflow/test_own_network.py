"""Checkpoints that were trained elsewhere, as the epochs of runs."""

import re

import pandas as pd
import pytest
import torch

from dreambirds.models.checkpoint import read_metadata
from tests.helpers.elsewhere import EPOCHS, OWN_MODEL, train_in_a_loop, train_with_timm, write_birds
from tests.helpers.layouts import BIRDS
from tests.helpers.studies import Study, tiny

ORDER = [*list(BIRDS)[1:], *list(BIRDS)[:1]]  # of the outputs of the loop's network: no class is where the study has it


@pytest.fixture(scope="module")
def accuracies() -> dict[str, list[float]]:
    """Return the validation accuracies that the trainings themselves measured, by run."""
    return {}


@pytest.fixture(scope="module")
def study(tmp_path_factory, accuracies) -> Study:
    """Return a study of two networks: one trained in a plain loop, and one with timm's saver and EMA weights."""
    folder = tmp_path_factory.mktemp("elsewhere")
    birds = write_birds(folder / "birds")
    (folder / "nets").mkdir()
    (folder / "nets/models.py").write_text(OWN_MODEL)
    torch.manual_seed(0)
    functions: dict = {}
    exec(OWN_MODEL, functions)
    network = functions["build"](len(BIRDS))
    accuracies["loop"] = train_in_a_loop(network, birds, folder / "loop", ORDER)
    accuracies["ema"] = train_with_timm(birds, folder / "out")
    (folder / "classes.txt").write_text("\n".join(ORDER) + "\n")
    config = tiny() | {
        "dataset": {"source": "folder", "path": str(birds), "image_size": 32},
        "runs": {
            "loop": {
                "model": "nets.models:build",
                "checkpoints": {0: "loop/epoch_0.pt", EPOCHS: f"loop/epoch_{EPOCHS}.pt"},
                "labels": "classes.txt",
                "normalization": {"mean": 0.5, "std": 0.5},
            },
            "ema": {"model": "test_resnet", "checkpoints": "out/*.pth.tar", "epochs": [1, EPOCHS]},
        },
        "judges": {"other": {"run": "ema"}},
        "dreams": {"recipes": {"study": {"steps": [2], "epochs": [0, "last"]}}},
    }
    return Study(folder, config)


def test_their_checkpoints_are_dreamt_judged_and_shown_as_epochs(study, accuracies):
    output = study.run()
    assert "loop/epoch_4.pt" in output and "as listed" in output
    runs = study.results / "runs"
    loop = pd.read_csv(runs / "loop/history.csv")
    assert loop["epoch"].tolist() == [0, EPOCHS]
    assert loop["validation_accuracy"].tolist() == pytest.approx(
        [accuracies["loop"][0], accuracies["loop"][-1]], abs=0.01
    )
    ema = pd.read_csv(runs / "ema/history.csv")
    assert ema["epoch"].tolist() == list(range(1, EPOCHS + 1)), "timm counts from zero; last and best are copies"
    measured = ema["validation_accuracy"].iloc[[0, -1]].tolist()
    assert measured == pytest.approx([accuracies["ema"][0], accuracies["ema"][-1]], abs=0.01), "EMA weights"
    assert ema["reported_accuracy"].tolist() == pytest.approx(accuracies["ema"], abs=1e-3)
    assert "state_dict_ema" in output
    assert read_metadata(runs / "loop/epoch-0004").labels == ORDER
    dreams = pd.read_csv(study.results / "dreams.csv")
    assert set(zip(dreams["run"], dreams["epoch"], strict=True)) == {("loop", 0), ("loop", EPOCHS), ("ema", EPOCHS)}
    judged = dreams[dreams["judge"] == "other"]
    assert set(judged["run"]) == {"loop"} and judged["judge_probability"].notna().all()
    assert (study.results / "runs/ema/curves.png").exists()
    assert (study.results / "montages/loop/study/class-by-epoch_step-0002_raw.png").exists()
    assert (study.results / "films/loop/study/epochs_step-0002_rescaled.gif").exists()
    assert "loop" in (study.results / "gallery/index.html").read_text()
    assert study.jobs() == {}


def test_a_changed_checkpoint_runs_only_its_own_jobs_again(study):
    path = study.folder / f"loop/epoch_{EPOCHS}.pt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["model_state_dict"]["11.bias"] += 1
    torch.save(checkpoint, path)
    jobs = study.jobs("dreams_only")
    assert jobs["import_checkpoint"] == 1 and jobs["dream"] == 1


def test_a_changed_file_of_the_own_model_imports_its_checkpoints_again_but_no_others(study):
    source = study.folder / "nets/models.py"
    source.write_text(source.read_text().replace("AdaptiveMaxPool2d", "AdaptiveAvgPool2d"))
    output = study.run("dreams_only")
    assert len(re.findall(r"Import epoch \d+ of run loop", output)) == 2 and "of run ema" not in output
    assert output.count("0 of them from the store") == 2, "the same weights in another network dream differently"


def test_a_wrong_class_order_is_a_loud_line_that_says_what_to_set(study, tmp_path):
    wrong = study.copy(tmp_path / "wrong")
    wrong.config["runs"] = {"loop": {**wrong.config["runs"]["loop"], "labels": None}}
    wrong.config["judges"] = {}
    (wrong.folder / "nets/models.py").write_text(OWN_MODEL)
    output = wrong.run("training_only")
    assert "the class names are those of the study's data set" in output
    line = next(line for line in output.splitlines() if "is right on only" in line and f"epoch {EPOCHS}" in line)
    assert f"set 'labels' to a file with the classes in that order: {', '.join(ORDER)}" in line
