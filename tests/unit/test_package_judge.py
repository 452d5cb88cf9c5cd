"""A judge with the ImageNet network of a package: its classes, its inputs, and what it sees in real photographs."""

from pathlib import Path

import pytest
import timm.data
import torch

from dreambirds.config import class_names
from dreambirds.data.image_io import read_photograph, resize_and_crop, to_tensor
from dreambirds.data.labels import Label, match_classes
from dreambirds.errors import UserError
from dreambirds.evaluation.judge import batches, load_judge, weights_of
from dreambirds.models.imagenet import imagenet_names
from dreambirds.models.packages import PACKAGES, find_weights
from dreambirds.plan import inputs, measurements
from dreambirds.plan.plan import make_plan

MODEL = "tf_efficientnet_lite0"
NAMES = {"blue_jay": "jay"}
PHOTOGRAPHS = Path(__file__).parents[3] / "shared/birds/photos/cub10"
BIRDS = {"American_Goldfinch": "goldfinch", "Blue_Jay": "jay", "Mallard": "drake", "White_Pelican": "pelican"}


def plan_of(**judge):
    """Return a plan of drawn birds with a judge from a package."""
    judge = {"weights": "package", "model": MODEL, "names": NAMES, **judge}
    dataset = {"labels": ["blue_jay", "northern_cardinal"], "image_size": 32}
    runs, recipes = {"a": {"model": "test_resnet"}}, {"study": {"steps": [1]}}
    return make_plan({"dataset": dataset, "runs": runs, "dreams": {"recipes": recipes}, "judges": {"j": judge}})


def test_the_names_are_those_of_imagenet_with_synonyms_in_brackets():
    known = timm.data.ImageNetInfo("imagenet1k")
    expected = [known.index_to_description(index) for index in range(1000)]
    found = [name.replace(" (", ", ").replace(")", "") for name in imagenet_names()]
    assert {index: name for index, name in enumerate(found) if name != expected[index]} == {
        134: "crane, large long-necked wading bird of marshes and plains in many parts of the world",
        517: "crane, lifts and moves heavy objects",
    }, "two classes have the same name, so their meanings follow"
    labels = [Label("a", "Goldfinch"), Label("b", "Carduelis carduelis"), Label("c", "x"), Label("d", "Crane")]
    assert match_classes(labels, imagenet_names(), {"c": "drake"}) == {"a": 11, "b": 11, "c": 97}


def test_its_file_is_no_input_but_its_digest_is_a_setting():
    plan = plan_of()
    assert inputs.weights(plan, "j") == [] == inputs.described(plan, "j")
    assert inputs.section(plan, "j")["weights_sha256"] == PACKAGES[MODEL].sha256
    assert measurements.judges(plan)["j"]["files"] == [PACKAGES[MODEL].sha256]
    assert weights_of(plan.judges["j"], []) == find_weights(MODEL)
    assert weights_of(plan.judges["j"], "a/file") == Path("a/file")


def test_keys_of_files_and_unknown_classes_are_refused(monkeypatch):
    with pytest.raises(UserError, match=r"^judges.j.weights_key: describes a file, and 'weights' is 'package'; remove"):
        plan_of(weights_key="ema")
    with pytest.raises(UserError, match=r"^judges.j.names: no class name of the network matches the study's classes"):
        plan_of(names={})
    monkeypatch.setattr(class_names, "imagenet_names", lambda *_: None)  # as where timm is not installed
    assert plan_of(names={}).judges["j"]["weights"] == "package"


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs of ten species are not in shared/birds")
def test_it_recognizes_photographs_of_the_classes_that_imagenet_has():
    labels = [Label(folder.name, folder.name.replace("_", " ")) for folder in sorted(PHOTOGRAPHS.iterdir())]
    section = {**plan_of().judges["j"], "names": BIRDS}
    judge = load_judge("j", section, weights_of(section, []), labels, torch.device("cpu"))
    assert judge.class_indices == {"American_Goldfinch": 11, "Blue_Jay": 17, "Mallard": 97, "White_Pelican": 144}
    assert judge.shape == (224, 224) and judge.architecture.startswith(MODEL)
    files = {label: sorted((PHOTOGRAPHS / label).iterdir())[:5] for label in BIRDS}
    images = [(label, read_photograph(file)) for label, paths in files.items() for file in paths]
    logits, features = judge.predict(batches(images, lambda item: to_tensor(resize_and_crop(item[1], (224, 224)))))
    hits = [
        int(index) == judge.class_indices[label] for index, (label, _) in zip(logits.argmax(1), images, strict=True)
    ]
    assert sum(hits) >= 17 and features.shape == (20, 1280)
