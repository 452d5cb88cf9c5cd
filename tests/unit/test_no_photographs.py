"""Studies without photographs: classes from the names of networks, what is refused, and the inputs of jobs."""

import copy

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dreambirds.config.class_names import judge_classes
from dreambirds.data.labels import Label, choose_labels, labels_of_classes, match_classes
from dreambirds.data.prepare import prepare
from dreambirds.data.tables import check_images, read_images
from dreambirds.errors import UserError
from dreambirds.gallery.quiz import read_controls
from dreambirds.models.imagenet import has_imagenet_weights, imagenet_names, imagenet_outputs
from dreambirds.models.packages import PACKAGES
from dreambirds.plan import checkpoints, inputs, measurements, targets
from dreambirds.plan.fingerprints import fingerprint
from dreambirds.plan.plan import make_plan
from tests.helpers.plans import config

LITE = "tf_efficientnet_lite0"
CLASSES = ["Cyanocitta cristata (Blue Jay)", "Crane", "crane", "Éider (Common Eider) (St. Cuthbert's duck)"]


def study(**changes) -> dict:
    """Return a config of a network from a package; ``dreams__labels=[...]`` changes a nested key."""
    base = {
        "dataset": {"source": "none", "image_size": 64},
        "runs": {"lite": {"model": LITE, "weights": "package"}},
        "dreams": {"labels": ["goldfinch", "jay"], "recipes": {"bird": {"preset": "bird"}}},
    }
    return config(**copy.deepcopy(base | changes))


def refused(**changes) -> str:
    """Return the error of a config."""
    with pytest.raises(UserError) as error:
        make_plan(study(**changes))
    return str(error.value)


def save_net(path, classes=None, outputs=4):
    """Write a file with a head of so many outputs, and the names of its classes."""
    content = {"state_dict": {"conv.weight": torch.ones(2, 3, 1, 1), "fc.bias": torch.zeros(outputs)}}
    torch.save(content | ({"classes": classes} if classes else {}), path)
    return str(path)


def test_the_classes_are_the_networks_and_dreams_are_of_those_listed():
    plan = make_plan(study(dreams__labels=["king penguin", "Goldfinch", "Aptenodytes patagonica", "crane_134"]))
    assert plan.names == {"goldfinch": "goldfinch", "crane_134": "crane", "king_penguin": "king penguin"}
    assert len(plan.labels) == 1000 and not plan.photographs and plan.judges == {}
    assert plan.class_names("lite") == ([label.label for label in plan.labels], "ImageNet")
    assert plan.epochs("lite") == [0] and plan.trained == {}
    again = make_plan(plan.resolved)
    assert again.names == plan.names and again.config == plan.config, "the resolved config is the same study"


def test_labels_are_readable_unique_and_independent_of_the_selection():
    labels = labels_of_classes(CLASSES)
    assert labels == [
        Label("Cyanocitta_cristata", "Cyanocitta cristata", CLASSES[0]),
        Label("Crane_1", "Crane", CLASSES[1]),
        Label("crane_2", "crane", CLASSES[2]),
        Label("Eider", "Éider", CLASSES[3]),
    ]
    names = [label.label for label in labels_of_classes(imagenet_names())]
    assert names[11] == "goldfinch" and names[134] == "crane_134" and names[517] == "crane_517"
    assert len({name.casefold() for name in names}) == 1000


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("blue jay", "Cyanocitta_cristata"),
        ("Cyanocitta cristata", "Cyanocitta_cristata"),
        ("st cuthberts duck", "Eider"),
        ("eider", "Eider"),
        ("crane", "crane_2"),
        ("Crane_1", "Crane_1"),
    ],
)
def test_a_class_is_chosen_by_any_of_its_names(name, label):
    assert [each.label for each in choose_labels(labels_of_classes(CLASSES), [name], "where")] == [label]


def test_a_misspelt_name_gets_the_closest_and_an_ambiguous_one_all_of_its_classes():
    assert "unknown label 'goldfnch'; did you mean 'goldfinch'" in refused(dreams__labels=["goldfnch"])
    assert "did you mean 'bald_eagle' or 'beagle'?" in refused(dreams__labels=["eagle"])
    assert "did you mean 'king_penguin'?" in refused(dreams__labels=["emperor penguin"])
    error = refused(dreams__labels=["Crane"])
    assert error.startswith("dreams.labels: 'Crane' is the name of 2 classes: 'crane_134' is crane (large long-necked")
    assert error.endswith("'crane_517' is crane (lifts and moves heavy objects); write one of these labels")


def test_a_thousand_classes_are_dreamt_only_if_asked_for(tmp_path):
    assert refused(dreams__labels=None).startswith("dreams.labels: is null, and the network has 1000 classes; list")
    assert len(make_plan(study(dreams__labels="all")).names) == 1000
    few = save_net(tmp_path / "net.pth", CLASSES)
    plan = make_plan(study(runs={"a": {"model": "test_resnet", "weights": few}}, dreams__labels=None))
    assert list(plan.names) == ["Cyanocitta_cristata", "Crane_1", "crane_2", "Eider"]


def test_a_judge_matches_classes_whose_names_are_ambiguous_in_their_order():
    labels = [Label(label.label, label.name) for label in labels_of_classes(imagenet_names())]
    expected = {label.label: index for index, label in enumerate(labels)}
    assert match_classes(labels, imagenet_names(), {}) == expected
    shifted = match_classes(labels, imagenet_names(1001), {})
    assert shifted == {label: index + 1 for label, index in expected.items()}
    assert match_classes([Label("crane", "Crane"), Label("jay", "Jay")], imagenet_names(), {}) == {"jay": 17}
    assert match_classes([Label("missile", "Missile")], imagenet_names(), {}) == {"missile": 657}


def test_a_head_of_1000_or_1001_outputs_without_names_is_imagenets(tmp_path):
    for outputs in (1000, 1001):
        net = save_net(tmp_path / f"{outputs}.pth", outputs=outputs)
        plan = make_plan(study(runs={"a": {"model": "test_resnet", "weights": net}}))
        assert len(plan.class_names("a")[0]) == outputs and list(plan.names) == ["goldfinch", "jay"]
    save_file({"head.bias": torch.zeros(1001), "x.bias": torch.zeros(7)}, tmp_path / "net.safetensors")
    assert imagenet_outputs(tmp_path / "net.safetensors") == 1001
    assert has_imagenet_weights("resnet18") and has_imagenet_weights("vit_tiny.augreg_in21k_ft_in1k")
    assert not has_imagenet_weights("vit_tiny.augreg_in21k") and not has_imagenet_weights("hf-hub:a/b")
    other = save_net(tmp_path / "other.pth", outputs=7)
    error = refused(runs={"a": {"model": "test_resnet", "weights": other}})
    assert error.startswith(f"runs.a.labels: is required, because '{other}' does not record its class names; set it to")


def test_a_judge_with_1000_or_1001_outputs_without_names_knows_imagenets_classes(tmp_path):
    judge = {"weights": save_net(tmp_path / "judge.pth", outputs=1001), "model": "test_resnet"}
    plan = make_plan(study(judges={"j": judge}))
    classes = judge_classes(plan.judges["j"])
    assert len(classes) == 1001 and classes[0] == "background" and classes[12].startswith("goldfinch")
    named = save_net(tmp_path / "named.pth", classes=[f"species {number}" for number in range(1001)], outputs=1001)
    assert judge_classes({"weights": named, "labels": None})[12] == "species 12", "recorded names come first"
    other = save_net(tmp_path / "other.pth", outputs=7)
    assert refused(judges={"j": judge | {"weights": other}}).startswith("judges.j.labels: is required, because")


def test_every_run_must_know_every_class(tmp_path):
    runs = {"lite": {"model": LITE, "weights": "package"}}
    runs["mine"] = {"model": "test_resnet", "weights": save_net(tmp_path / "net.pth", ["Goldfinch", "Blue Jay"], 2)}
    error = refused(runs=runs)
    assert error.startswith("runs.mine.names: the network has no class for 'jay' (jay) among its 2; set its name for")
    nameless = {"model": "test_resnet", "weights": save_net(tmp_path / "other.pth")}
    assert refused(runs=runs | {"other": nameless}).startswith("runs.other.labels: is required")
    runs["mine"]["names"] = {"jay": "Blue Jay"}
    assert make_plan(study(runs=runs)).class_names("mine")[0] == ["Goldfinch", "Blue Jay"]


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"preset": "portrait"}, "objective: 'feature_match' compares a dream with photographs of its class"),
        ({"preset": "maco"}, "parameterization: 'maco' takes its spectrum from photographs"),
        ({"preset": "google-2015"}, "start: 'photograph' is one of the class unless 'start_path' names a file"),
        (
            {"preset": "bird", "start": ["gray", "class_mean"]},
            "start: 'class_mean' is the mean of a class's photographs",
        ),
    ],
)
def test_a_recipe_that_needs_photographs_is_refused_with_presets_that_do_not(recipe, sentence):
    error = refused(dreams__recipes={"r": recipe})
    assert error.startswith("dreams.recipes.r") and sentence in error
    assert error.endswith(
        "presets original, lucid, torch-dreams, captum, deep-inversion, direct-ascent, bird, portrait-free"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"runs__lite__weights": None},
            "runs.lite.weights: is required, because without photographs nothing is trained",
        ),
        ({"runs__lite__learning_rate": 0.1}, "runs.lite.learning_rate: is for runs that the study trains, and without"),
        ({"runs__lite__epochs": [0, 4]}, "runs.lite.epochs: 'weights' contains no epoch 4; available: 0"),
        ({"runs__lite__weights": "no.pth"}, "runs.lite.weights: 'no.pth' does not exist"),
        ({"runs__lite__model": "resnet18"}, "runs.lite.weights: no package ships weights for 'resnet18'"),
        ({"runs__lite__checkpoints": {2: "package"}}, "runs.lite.weights: is for runs that the study trains, and this"),
        ({"dataset__labels": ["jay"]}, "dataset.labels: names classes to train on, and without photographs nothing is"),
        ({"dataset__path": "."}, "dataset.path: is only used with 'source: folder'"),
        ({"judges": {"j": {"train": {}}}}, "judges.j.train: without photographs nothing is trained; use a judge with"),
        ({"dreams__labels": "every"}, "dreams.labels: must be a list of class names, 'all', or null, not 'every'"),
    ],
)
def test_what_training_needs_is_refused(changes, sentence):
    assert refused(**changes).startswith(sentence)


def test_a_recipe_may_start_from_a_photograph_of_its_own(tmp_path):
    path = tmp_path / "start.png"
    Image.new("RGB", (8, 8)).save(path)
    plan = make_plan(study(dreams__recipes={"r": {"preset": "google-2015", "start_path": str(path), "size": 128}}))
    assert inputs.start_images(plan, "r") == [str(path)]


def test_no_job_has_photographs_as_input_and_no_figure_shows_any():
    plan = make_plan(study(judges={"j": {"weights": "package", "model": "tf_efficientnet_lite2"}}))
    assert targets.overview(plan) == [] and targets.curves(plan) == [] and checkpoints.submissions(plan) == []
    assert not [file for file in targets.montages(plan) if "nearest" in file]
    assert inputs.statistics(plan, "bird") == [] == inputs.reference_images(plan, "bird")
    files = checkpoints.foreign_files(plan, "lite", "0000")
    assert files == {"weights": [], "history": [], "names": [], "model_files": []}
    settings = checkpoints.foreign_settings(plan, "lite", "0000")
    assert (settings["weights"], settings["weights_sha256"]) == ("package", PACKAGES[LITE].sha256)
    assert measurements.weights(plan, "lite")["package"]["file"] == PACKAGES[LITE].sha256
    assert fingerprint(plan.config["dataset"], plan.labels) == ""


def test_an_empty_data_set_is_prepared_and_read(tmp_path):
    dataset = make_plan(study()).config["dataset"]
    prepare(dataset, labels_of_classes(CLASSES), tmp_path)
    assert check_images(tmp_path) == [] and (tmp_path / "images").is_dir()
    assert "path" in read_images(tmp_path) and read_controls(tmp_path, ["Eider"], 3, 0) == []
    labels = tmp_path / "labels.csv"
    labels.write_text(labels.read_text().replace("Eider,Éider,0,0", "Eider,Éider,2,0"))
    with pytest.raises(UserError, match=r"images.csv' contains no rows; delete the folder"):
        check_images(tmp_path)
