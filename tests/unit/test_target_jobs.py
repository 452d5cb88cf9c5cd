"""Dream jobs of targets that are not classes: batches, the store, metadata, tables, and making an image again."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.dream_job.context import DreamContext
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dream_job.targets import batch_targets, by_kind, described, stream_of
from dreambirds.dreaming.dream import dream
from dreambirds.errors import UserError
from dreambirds.evaluation.columns import PIXELS
from dreambirds.evaluation.tables import StudyFacts, merge_dreams
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.one_image.again import redream
from tests.helpers.dream_bench import CPU, NAMES, parameters
from tests.helpers.one_image import write_study

CHANNEL = {"layer": "layer2", "channels": {"3": 1.0}}
MIDDLE = {"layer": "layer2", "channels": {"1": 1.0}, "position": "middle"}
PAIR = {"classes": {"c": 0.25, "a": 0.75}, "between": "a_to_c", "weight": 0.25}
TARGETS = {"channel": CHANNEL, "second": {"layer": "layer2", "channels": {"0": 1.0}}, "neuron": MIDDLE, "pair": PAIR}
MIXED = {"b": "Birch", **{label: label.capitalize() for label in TARGETS}}


@pytest.fixture
def directions(tmp_path):
    """Return the facts of a vector in a file."""
    np.save(tmp_path / "found.npy", np.eye(48, dtype=np.float32)[3] * 2)
    return {"layer": "layer2", "direction": str(tmp_path / "found.npy"), "vector": "0"}


def raw(bench, label, folder="out"):
    """Return the pixels and the metadata of a dream."""
    path = bench.folder / folder / label / "step-0003.png"
    return np.asarray(Image.open(path)), read_facts(path)


def test_a_job_dreams_of_classes_and_of_other_targets(dreamer):
    assert dreamer.dreamt(names=MIXED, targets=TARGETS, parameters=parameters(objective="logit")) == 10
    table = dreamer.table()
    assert list(table["label"].unique()) == list(MIXED) and (table["logit"].notna()).all()
    assert (table["probability"].notna() == (table["label"] == "b")).all() and table["prediction"].isin(NAMES).all()
    facts = {label: raw(dreamer, label)[1] for label in MIXED}
    assert {label: found.get("target") for label, found in facts.items()} == {"b": None, **TARGETS}
    assert facts["channel"]["layers"] == {"layer2": ["layer2"]} == facts["b"]["layers"]
    assert {label: found["batch"] for label, found in facts.items()} == {
        **{"b": 1, "pair": 1, "neuron": 1},
        **{"channel": 2, "second": 2},
    }
    assert dreamer.dreamt("other", names=MIXED, targets=TARGETS, parameters=parameters(objective="logit")) == 0


def test_a_dream_of_a_target_has_its_own_key_and_the_name_of_a_file_does_not_matter(dreamer, directions, tmp_path):
    def key(facts):
        job = dreamer.job
        changed = {"names": {"channel": "Channel"}, "targets": {"channel": facts}}
        return DreamContext(type(job)(**{**vars(job), **changed}), CPU).cache_key("channel")

    moved = tmp_path / "moved.npy"
    np.save(moved, np.eye(48)[3])  # another length and type, the same direction
    assert key(directions) == key({**directions, "direction": str(moved)}) == key(described(directions))
    keys = {key(facts) for facts in (directions, CHANNEL, MIDDLE, {**MIDDLE, "position": [0, 1]}, PAIR)}
    assert len(keys) == 5


def test_a_direction_along_one_axis_is_this_channel(dreamer, directions):
    targets = {"channel": CHANNEL, "along": directions}
    for label in targets:
        dreamer.dreamt(label, names={"same": "Same"}, targets={"same": targets[label]})
    one, other = raw(dreamer, "same", "channel"), raw(dreamer, "same", "along")
    assert np.array_equal(one[0], other[0])
    assert other[1]["target"]["values"] == np.eye(48)[3].tolist(), "so the image can be made again without the file"


def test_an_interpolation_has_one_random_stream_and_others_have_their_own():
    assert stream_of("a", {}) == "a" and stream_of("x", CHANNEL) == "x" and stream_of("x", PAIR) == "a_to_c"
    assert by_kind([*TARGETS, "b", "a"], TARGETS) == [["channel", "second"], ["neuron"], ["pair"], ["b", "a"]]


def test_what_lies_between_two_classes_is_found_in_the_networks_own_order():
    targets = batch_targets(["pair"], TARGETS, ["c", "b", "a"], CPU)
    assert (
        targets.indices is not None
        and targets.indices.tolist() == [[0, 2]]
        and targets.weights.tolist() == [[0.25, 0.75]]
    )
    targets = batch_targets(["x"], {"x": {**MIDDLE, "position": [1, 2]}}, [], CPU)
    assert targets.position == (1, 2) and targets.layer == "layer2" and targets.indices.tolist() == [[1]]


def test_a_vector_that_was_removed_is_an_error(directions):
    with pytest.raises(UserError, match=r"directions: '.*found\.npy' no longer contains '7'; run the same"):
        batch_targets(["x"], {"x": {**directions, "vector": "7"}}, [], CPU)


def test_a_job_says_which_layer_or_channel_a_network_lacks(dreamer):
    for facts, sentence in (
        ({**CHANNEL, "layer": "layer7"}, "dreams.targets.layer: the model has no layer 'layer7'; did you mean 'layer"),
        ({**CHANNEL, "channels": {"999": 1.0}}, "the layer 'layer2' has no channel 999; choose 0 to "),
        (
            {"layer": "layer2", "vector": "0", "values": [1.0, 0.0]},
            "a direction has 2 numbers, but the layer 'layer2' 48 ch",
        ),
        ({**MIDDLE, "position": [50, 0]}, r"the layer 'layer2' has no position \(50, 0\); choose one in its map"),
    ):
        with pytest.raises(UserError, match=sentence):
            dreamer.dreamt(names={"x": "X"}, targets={"x": facts})
        assert not dreamer.archive().exists()


def test_vectors_of_other_lengths_in_a_layer_get_the_same_sentence(dreamer):
    """A batch has vectors of one length, so the one that does not fit the layer is reported."""
    vectors = {length: {"layer": "layer2", "vector": "0", "values": [1.0] * length} for length in (48, 2)}
    targets = {f"of{length}": facts for length, facts in vectors.items()}
    assert by_kind(targets, targets) == [["of48"], ["of2"]]
    with pytest.raises(
        UserError, match=r"dreams\.targets\.layer: a direction has 2 numbers, but the layer 'layer2' 48 c"
    ):
        dreamer.dreamt(names={label: label for label in targets}, targets=targets)


def test_a_job_dreams_what_the_library_dreams(dreamer):
    dreamer.dreamt(names={"channel": "Channel"}, targets=TARGETS, parameters=parameters(objective="logit"))
    context = DreamContext(dreamer.job, CPU)
    classifier, _ = load_checkpoint(dreamer.job.checkpoint)
    targets = batch_targets(["channel"], TARGETS, [], CPU)
    start = torch.full((1, 3, 32, 32), 128 / 255)
    result = dream(classifier.eval().requires_grad_(False), targets, start, context.recipe)
    expected = (result.snapshots[3][0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.abs(raw(dreamer, "channel")[0].astype(int) - expected).max() <= 1, "batch norms are folded in the job"


@pytest.mark.parametrize("label", ["channel", "neuron", "pair", "along"])
def test_an_image_of_a_target_is_made_again(tmp_path, monkeypatch, dreamer, directions, label):
    monkeypatch.chdir(tmp_path)
    study, targets = write_study(tmp_path), {**TARGETS, "along": directions}
    recipe = parameters(preset="lucid", steps=[2, 3], size=32)
    named = {label: label.capitalize()}
    dreamer.dreamt(checkpoint=study / MODEL_FILE, parameters=recipe, names=named, targets=targets)
    done = redream(dreamer.folder / f"out/{label}/step-0003.png")
    assert done.identical and done.dream.facts["label"] == label
    assert done.dream.facts["target"] == described(targets[label])


def test_only_dreams_of_classes_can_be_the_top_prediction():
    dreams = {"run": "r", "epoch": 0, "recipe": "x", "label": ["a", "b", "channel"], "step": 3, "steps_done": 3}
    dreams |= {
        "reference_label": None,
        "diverged_at": None,
        "loss": 0.0,
        "logit": 1.0,
        "distance": None,
        "seconds": 1.0,
    }
    dreams |= {"probability": [0.9, 0.1, None], "prediction": ["a", "a", "a"], "mean_abs_change": 0.1}
    recipe = parameters()
    study = StudyFacts({"r": {"model": "m", "group": "r", "seed": 0}}, {"x": recipe}, {"x": "x"}, MIXED | NAMES, {})
    views = pd.DataFrame(columns=["run", "epoch", "recipe", "label", "step", "view", "judge"])
    pixels = views.drop(columns="judge").reindex(columns=["run", "epoch", "recipe", "label", "step", "view", *PIXELS])
    judged = [*views, "probability", "rank", "top1", "prediction", "reference_top1", "feature_distance"]
    judged += ["feature_ratio", "nearest", "nearest_distance", "nearest_ratio", "seed_agreement"]
    table = merge_dreams(pd.DataFrame(dreams), views.reindex(columns=judged), pixels, study)
    assert table["dreamer_top1"].tolist()[:2] == [1, 0] and pd.isna(table["dreamer_top1"][2])
