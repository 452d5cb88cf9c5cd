"""The photographs that excite targets most: compared with a plain loop in float64, in tables, montages and the plan."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageColor

from dreambirds.data.tables import write_table
from dreambirds.dream_job.targets import batch_targets
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.errors import UserError
from dreambirds.evaluation import excitation as computing
from dreambirds.evaluation.excitation import highest_activations, in_groups, list_exciting
from dreambirds.evaluation.excitation_table import COLUMNS, most_exciting, read_excitation
from dreambirds.figures import montage as figure
from dreambirds.figures.exciting import caption, list_captioned, write_exciting
from dreambirds.figures.montage import EXCITING, REAL, Captioned, Grid, list_examples, montage, write_montage
from dreambirds.figures.selection import Selection
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.plan import excitation, targets
from dreambirds.plan.plan import make_plan
from tests.helpers.archives import write_images
from tests.helpers.dream_bench import CPU, checkpoint
from tests.helpers.galleries import write_excitation
from tests.helpers.plans import config
from tests.helpers.small import network, rand

CHANNELS = {"layer": "layer2", "channels": {"7": 1.0}}
MIXED = {"layer": "layer2", "channels": {"7": 0.25, "40": 0.75}, "between": "x", "weight": 0.75}
NEURON = {"layer": "layer1", "channels": {"3": 1.0}, "position": "middle"}
CORNER = {"layer": "layer1", "channels": {"5": 1.0}, "position": [0, 1]}
UNITS = {"one": CHANNELS, "mixed": MIXED, "middle": NEURON, "corner": CORNER}


def activation(maps: np.ndarray, facts: dict, vectors: dict[str, np.ndarray]) -> float:
    """Return the activation of a target in the output (C, H, W) of its layer."""
    weights = facts.get("channels") or dict(enumerate(vectors[facts["vector"]]))
    total = 0.0
    for channel, weight in weights.items():
        values = maps[int(channel)]
        at = facts.get("position")
        if at == "middle":
            value = values[values.shape[0] // 2, values.shape[1] // 2]
        else:
            value = sum(map(sum, values)) / values.size if at is None else values[tuple(at)]
        total += float(weight) * float(value)
    return total


@pytest.mark.parametrize("batches", [(5, 3, 1), (9,)])
def test_the_highest_activations_equal_a_plain_loop_in_float64(batches):
    model, images = network(), rand(9, 3, 12, 12)
    images[6] = images[2]
    facts = {
        "a": {"layer": "2", "channels": {"4": 1.0}},
        "b": {"layer": "2", "channels": {"1": 1.0}},
        "c": {"layer": "2", "channels": {"0": 0.3, "5": 0.7}},
        "d": {"layer": "4", "channels": {"2": 1.0}, "position": "middle"},
        "e": {"layer": "4", "channels": {"2": 1.0}, "position": [0, 3]},
    }
    groups = in_groups(facts)
    assert groups == [["a", "b"], ["c"], ["d"], ["e"]]
    features = FeatureExtractor(model, ["2", "4"], logits=False)
    parts = [batch_targets(group, facts, (), CPU) for group in groups]
    highest, numbers = highest_activations(features, parts, images.split(list(batches)), 4)
    assert highest.shape == numbers.shape == (5, 4)
    for row, label in enumerate("abcde"):
        layer = int(facts[label]["layer"])
        maps = [model[: layer + 1](image[None])[0].numpy() for image in images]
        values = [activation(each, facts[label], {}) for each in maps]
        order = sorted(range(9), key=lambda index: (-values[index], index))[:4]
        assert numbers[row].tolist() == order
        assert np.allclose(highest[row], [values[index] for index in order], rtol=1e-6)
    twice = [row for row in numbers.tolist() if 2 in row and 6 in row]
    assert twice and all(row.index(2) + 1 == row.index(6) for row in twice), "of equal ones, the first image"


def test_there_may_be_fewer_images_and_an_undefined_activation_is_the_lowest():
    model, images = network(), rand(3, 3, 12, 12)
    images[1] = torch.nan
    features = FeatureExtractor(model, ["2"], logits=False)
    parts = [batch_targets(["a"], {"a": {"layer": "2", "channels": {"4": 1.0}}}, (), CPU)]
    highest, numbers = highest_activations(features, parts, [images])
    assert highest.shape == (1, 3) and numbers[0, 2] == 1 and highest[0, 2] == -torch.inf


@pytest.fixture
def study(bench):
    """Return the weights of a checkpoint and the folder of a data set, in which two photographs are the same."""
    bench.photograph("bunting/again.png", 3)  # that of auk/3.png
    return checkpoint(bench.root / "epoch-0001"), bench.prepare(image_size=32, validation_fraction=0.3)


def test_the_table_equals_a_plain_loop_over_the_images_with_the_network_as_it_was_trained(study, tmp_path, monkeypatch):
    weights, folder = study
    vectors = np.random.default_rng(0).normal(size=(2, 48))
    np.save(tmp_path / "v.npy", vectors)
    of_file = {"layer": "layer2", "direction": str(tmp_path / "v.npy")}
    facts = {"last": {**of_file, "vector": "1"}, **UNITS, "first": {**of_file, "vector": "0"}}
    monkeypatch.setattr(computing, "AT_ONCE", 1)
    monkeypatch.setattr(computing, "EVALUATED", 4)
    found = list_exciting(*load_checkpoint(weights), facts, folder, CPU)
    assert list(found.columns) == COLUMNS and list(found["label"].unique()) == list(facts)
    assert set(found["run"]) == {"run"} and set(found["epoch"]) == {1}
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False).set_index("path")
    assert sum(images["duplicate_of"] != "") == 1
    images = images[images["duplicate_of"] == ""]
    classifier = load_checkpoint(weights)[0].double()
    recorded: dict[str, np.ndarray] = {}
    for layer in ("layer1", "layer2"):
        hook = lambda _, __, output, layer=layer: recorded.update({layer: output[0].detach().numpy()})  # noqa: E731
        classifier.network.get_submodule(layer).register_forward_hook(hook)
    units = {str(number): vector / np.sqrt((vector**2).sum()) for number, vector in enumerate(vectors)}
    values: dict[str, dict[str, float]] = {label: {} for label in facts}
    for path in images.index:
        pixels = np.asarray(Image.open(folder / path), dtype=float).transpose(2, 0, 1) / 255
        classifier(torch.from_numpy(pixels)[None])
        for label, each in facts.items():
            values[label][path] = activation(recorded[each["layer"]], each, units)
    for label, rows in found.groupby("label"):
        expected = sorted(values[label].values(), reverse=True)[:9]
        assert list(rows["rank"]) == list(range(1, 10)) and rows["path"].is_unique
        assert np.allclose(rows["activation"], expected, rtol=1e-4, atol=1e-5)
        assert np.allclose(rows["activation"], [values[label][path] for path in rows["path"]], rtol=1e-4, atol=1e-5)
        assert list(rows["split"]) == list(images.loc[rows["path"], "split"])
        assert list(rows["photograph_label"]) == list(images.loc[rows["path"], "label"])
    assert set(found["split"]) == {"train", "validation"}
    write_table(found, tmp_path / "t.csv", "%.6g")
    first = found[found["rank"] == 1]
    assert most_exciting(read_excitation(tmp_path / "t.csv"), folder) == {
        label: folder / path for label, path in zip(first["label"], first["path"], strict=True)
    }


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"layer": "layer2", "channels": {"48": 1.0}}, r"dreams.targets.layer: the layer 'layer2' has no channel 48"),
        (
            {"layer": "layer9", "channels": {"1": 1.0}},
            r"dreams.targets.layer: the model has no layer 'layer9'; did you",
        ),
        ({"layer": "layer1", "channels": {"1": 1.0}, "position": [99, 0]}, "has no position"),
    ],
)
def test_what_the_network_does_not_have_is_refused(study, facts, sentence):
    with pytest.raises(UserError, match=sentence):
        list_exciting(*load_checkpoint(study[0]), {"x": facts}, study[1], CPU)


def test_a_truncated_table_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("run,epoch,label\na,0,b")
    with pytest.raises(UserError, match=r"t\.csv' is truncated"):
        read_excitation(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("run,epoch,label\na,0,b\n")
    with pytest.raises(UserError, match=r"t\.csv' has no column 'rank'"):
        read_excitation(tmp_path / "t.csv")


TARGETS = [{"layer": "50%", "channels": [3, "5-6"]}, {"between": ["blue_jay", "northern_cardinal"], "weights": 3}]


def planned(**changes):
    """Return a plan with three channels and an interpolation of classes."""
    return make_plan(config(judges={}, dreams__targets=TARGETS, **changes))


def names_of(files: list[str]) -> set[str]:
    """Return the layouts of montages."""
    return {Path(file).name.partition("_")[0] for file in files}


def test_the_default_montages_show_exciting_photographs_of_units_and_nearest_ones_of_classes():
    assert {"exciting", "between-by-weight"} <= names_of(targets.montages(planned()))
    assert "nearest" not in names_of(targets.montages(planned()))
    both = names_of(targets.montages(planned(dreams__labels=["blue_jay"])))
    assert {"exciting", "nearest", "between-by-weight"} <= both
    assert not {"exciting", "between-by-weight"} & names_of(targets.montages(make_plan(config())))
    mixed = make_plan(config(judges={}, dreams__targets=TARGETS[1:]))
    assert "exciting" not in names_of(targets.montages(mixed)) and excitation.tables(mixed) == []


def test_each_checkpoint_that_dreams_has_a_table_and_a_montage_has_that_of_its_last_epoch():
    plan = planned(dreams__recipes__early={"steps": [3], "epochs": [0, 1]})
    folder = "results/default/excitation/scratch"
    assert excitation.tables(plan) == [f"{folder}/epoch-000{epoch}.csv" for epoch in (0, 1, 4)]
    assert set(excitation.units(plan)) == {f"layer50_channel{number}" for number in (3, 5, 6)}
    assert excitation.table(plan, run="scratch", epoch="0001", recipe="early", view="raw") == f"{folder}/epoch-0001.csv"
    assert excitation.last_table(plan, "scratch", "early") == [f"{folder}/epoch-0001.csv"]
    assert excitation.last_table(plan, "scratch", "study") == [f"{folder}/epoch-0004.csv"]
    assert excitation.weights(plan, "scratch", "0004").endswith("runs/scratch/epoch-0004/model.safetensors")
    with pytest.raises(UserError, match="has no dreams with the recipe 'early' where"):
        excitation.table(plan, run="scratch", epoch="0004", recipe="early")
    with pytest.raises(UserError, match="has no dreams with the epoch 3"):
        excitation.weights(plan, "scratch", "0003")
    with pytest.raises(UserError, match="'default' has no target with a layer"):
        excitation.weights(make_plan(config()), "scratch", "0004")
    none = {"source": "none", "image_size": 32}
    runs = {"lite": {"model": "tf_efficientnet_lite0", "weights": "package"}}
    without = make_plan(config(judges={}, dataset=none, runs=runs, dreams__targets=TARGETS[:1]))
    assert excitation.tables(without) == [] == excitation.last_table(without, "lite", "study")
    with pytest.raises(UserError, match="'default' has no photographs"):
        excitation.table(without, run="lite", epoch="0000", recipe="study")


COLORS = ["red", "lime", "blue", "orange", "teal"]


@pytest.fixture
def drawn(tmp_path):
    """Return the selected dreams of a plan, and the table and the data set of photographs in `COLORS`."""
    plan = planned(dreams__labels=["blue_jay"], runs__scratch__epochs=[4], dreams__recipes__study__steps=[2])
    dreams = [dream for dream in plan.dreams if dream.last]
    (archive,) = write_images(tmp_path / "dreams", dreams, lambda *_: "black", lambda _: (8, 8))
    (table,) = write_excitation(plan, tmp_path, COLORS)
    shared = {"run": "scratch", "recipe": "study", "epoch": "0004", "view": "raw", "last": True}
    return Selection.of(plan.study, [archive], plan.names, shared), table, tmp_path / "dataset"


def color_at(page: Image.Image, row: int, column: int, cell: int = 40) -> str:
    """Return the color in the upper half of a cell, relative to the black dream of the first row and column."""
    black = np.all(np.asarray(page) == 0, axis=-1)
    top, left = (int(np.argmax(black.sum(axis=axis) >= 25)) for axis in (1, 0))
    pixel = page.getpixel((left + column * (cell + 4) + cell // 2, top + row * (cell + 4) + cell // 4))
    named = {ImageColor.getrgb(name): name for name in [*COLORS, "white", "black"]}
    return named.get(pixel, "blank")


def test_a_montage_shows_each_dream_of_a_unit_next_to_its_photographs_with_their_activations(drawn, tmp_path):
    selection, path, dataset = drawn
    table = read_excitation(path)
    units = list(table["label"].unique())
    chosen = replace(selection, dreams=selection.dreams[selection.dreams["label"].isin(units)])
    chosen = replace(chosen, dreams=chosen.dreams.assign(logit=[12.3456, np.nan, -0.5]))
    write_exciting(chosen, table, dataset, 40, tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as file:
        page = file.convert("RGB")
    for row in range(3):
        order = [*COLORS[row:], *COLORS[:row]]  # as in the helper: each target has another first photograph
        assert [color_at(page, row, column) for column in range(8)] == ["black", *order, "blank", "blank"]
    assert [caption(value) for value in chosen.dreams["logit"]] == ["12.3", "", "-0.5"]
    cells = list_captioned(table[table["label"] == units[1]], dataset)
    assert len(cells) == 9 and cells[5:] == [None] * 4
    assert cells[0] == Captioned(dataset / "images/photographs/1.png", "5") and cells[4].text == "1"
    (dataset / "images/photographs/1.png").unlink()
    with pytest.raises(UserError, match=r"photographs/1\.png' does not exist"):
        write_exciting(chosen, table, dataset, 40, tmp_path / "m.png")


def test_the_column_of_photographs_has_one_of_each_class_and_unit_and_none_of_an_interpolation(drawn, tmp_path):
    selection, table, dataset = drawn
    labels = list(selection.dreams["label"])
    assert len(labels) == 1 + 3 + 3
    heading, found = list_examples(labels, dataset, table)
    assert heading == REAL and list(found) == labels[:4]
    assert [path.name for path in found.values()] == ["0.png", "0.png", "1.png", "2.png"]
    assert list_examples(labels[1:], dataset, table) == (EXCITING, {key: found[key] for key in labels[1:4]})
    assert list_examples(labels[4:], dataset, table)[1] == {}
    write_montage(selection, "label", "epoch", 40, tmp_path / "m.png", dataset, table)
    with Image.open(tmp_path / "m.png") as file:
        page = file.convert("RGB")
    assert [color_at(page, row, 1) for row in range(7)] == ["white", *COLORS[:3], "blank", "blank", "blank"]


def test_the_column_of_photographs_is_named_after_what_it_shows_and_left_out_if_it_is_empty(
    drawn, monkeypatch, tmp_path
):
    selection, table, dataset = drawn
    grids: list[Grid] = []
    monkeypatch.setattr(figure, "montage", lambda grid, cell: grids.append(grid) or montage(grid, cell))
    for first, last in ((0, 7), (1, 4), (4, 7)):
        chosen = replace(selection, dreams=selection.dreams.iloc[first:last])
        write_montage(chosen, "label", "epoch", 40, tmp_path / "m.png", dataset, table)
    assert [grid.columns for grid in grids] == [["epoch 4", REAL], ["epoch 4", EXCITING], ["epoch 4"]]
    assert [{len(row) for row in grid.cells} for grid in grids] == [{2}, {2}, {1}]
