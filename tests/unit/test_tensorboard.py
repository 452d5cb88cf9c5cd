"""A study in TensorBoard, read back with TensorBoard's own reader."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dreambirds.cli import main
from dreambirds.errors import UserError
from dreambirds.gallery.tensorboard import MARK, epoch_scale, read_run, write_tensorboard

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def events(finished_study, tmp_path_factory) -> EventAccumulator:
    """Return the events of the tiny study's run."""
    folder = tmp_path_factory.mktemp("board") / "events"
    assert write_tensorboard(finished_study.results, folder) == "an epoch"
    assert [path.name for path in sorted(folder.iterdir())] == [MARK, "scratch"]
    return EventAccumulator(str(folder / "scratch"), {"images": 0, "scalars": 0}).Reload()


def scalars(events: EventAccumulator, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in events.Scalars(tag)}


def test_the_history_is_there_by_epoch(finished_study, events):
    history = pd.read_csv(finished_study.results / "runs" / "scratch" / "epoch-0001" / "history.csv").set_index("epoch")
    first = pd.read_csv(finished_study.results / "runs" / "scratch" / "epoch-0000" / "history.csv").set_index("epoch")
    assert scalars(events, "loss/train") == pytest.approx({1: history["train_loss"][1]})
    assert scalars(events, "learning_rate") == pytest.approx({1: history["learning_rate"][1]})
    expected = {0: first["validation_accuracy"][0], 1: history["validation_accuracy"][1]}
    assert scalars(events, "accuracy/validation") == pytest.approx(expected)


def test_measurements_are_means_over_classes_at_the_last_step(finished_study, events):
    dreams = pd.read_csv(finished_study.results / "dreams.csv")
    means = dreams[dreams["step"] == 3].groupby("epoch")
    for tag, column in [
        ("dreamer_probability/study", "dreamer_probability"),
        ("total_variation/study", "total_variation_rescaled"),
    ]:
        assert scalars(events, tag) == pytest.approx(means[column].mean().to_dict(), rel=1e-5)
    assert "judge_probability/study" not in events.Tags()["scalars"], "the study has no judge"


def test_dreams_are_images_over_steps_and_over_epochs(finished_study, events):
    folder = finished_study.results / "dreams" / "scratch"
    tags = events.Tags()["images"]
    assert len(tags) == 3 * 3  # for each class: over the steps of two checkpoints, and over epochs
    for tag, files in [
        ("steps_of_epoch-0001/study/blue_jay", {step: f"epoch-0001/study/blue_jay/step-{step:04d}" for step in (1, 3)}),
        ("epochs/study/blue_jay", {epoch: f"epoch-{epoch:04d}/study/blue_jay/step-0003" for epoch in (0, 1)}),
    ]:
        images = {event.step: event.encoded_image_string for event in events.Images(tag)}
        assert images.keys() == files.keys()
        for step, name in files.items():
            with Image.open(io.BytesIO(images[step])) as image, Image.open(folder / f"{name}-rescaled.png") as expected:
                np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize(("epochs", "scale"), [([0, 4], 1), ([0, 0.25, 1], 100), ([0.5], 10), ([1.0625], 10_000)])
def test_fractions_of_epochs_become_integers(epochs, scale):
    assert epoch_scale(epochs) == scale and all((epoch * scale).is_integer() for epoch in map(float, epochs))


def test_the_history_of_a_run_is_put_together_from_its_checkpoints(tmp_path):
    for folder, rows in [("epoch-0000", [(0, 0.1)]), ("epoch-0002", [(1, 0.2), (2, 0.3)]), ("epoch-0010", [(10, 0.4)])]:
        (tmp_path / folder).mkdir()
        table = pd.DataFrame(rows, columns=["epoch", "validation_accuracy"])
        table.to_csv(tmp_path / folder / "history.csv", index=False)
    assert list(read_run(tmp_path)["epoch"]) == [0, 1, 2, 10]


def test_only_an_earlier_export_is_replaced(finished_study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(finished_study.folder)
    folder = tmp_path / "events"
    for _ in range(2):
        main(["export", "--tensorboard", str(folder)])
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    assert capsys.readouterr().out.splitlines()[-1] == f"Wrote '{folder}', where a step of a scalar is an epoch"
    own = tmp_path / "runs/mine/events.out.tfevents.1.host"
    own.parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(UserError, match=r"^--tensorboard: '.*runs' exists and contains more than an earlier export"):
        write_tensorboard(None, tmp_path / "runs")
    assert own.exists()
    (folder / "notes.txt").touch()
    with pytest.raises(UserError, match=r"^--tensorboard: '.*' exists and contains more than an earlier export"):
        write_tensorboard(None, folder)


def test_without_tensorboard_the_error_says_how_to_install_it(finished_study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        UserError, match=r"^--tensorboard: the library 'tensorboard' is not installed; run `pip install "
    ):
        write_tensorboard(finished_study.results, tmp_path / "events")
    assert not (tmp_path / "events").exists()
