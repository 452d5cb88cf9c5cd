"""Checkpoints of this project in timm and transformers: both give the accuracy that the history records."""

import json
from functools import cache

import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from dreambirds.config.load import check
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.plan.paths import HISTORY_FILE
from tests.helpers.chains import train
from tests.helpers.sections import section

pytestmark = pytest.mark.slow

EPOCH = 4
CASES = {
    "any size": (48, {"model": "test_resnet", "learning_rate": 0.01}),
    "fixed size": ([48, 32], {"model": "test_vit", "learning_rate": 0.001, "model_options": {"qk_norm": True}}),
    "a larger size for tests": (48, {"model": "test_efficientnet", "learning_rate": 0.01}),
}
TRAINING = {"batch_size": 8, "warmup_epochs": 0, "label_smoothing": 0.0, "schedule_epochs": EPOCH}
TRAINING |= {"augmentation": {"crop_padding": 2, "flip": 0.0, "color": 0.0}}


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Return a function that prepares a folder of drawn birds of a size, once."""

    @cache
    def prepared(size: str):
        folder = tmp_path_factory.mktemp("birds")
        dataset = {"image_size": json.loads(size), "images_per_label": 40, "facing": "right"}
        dataset |= {"labels": ["northern_cardinal", "american_goldfinch"]}
        config = {"dataset": dataset, "runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}}
        check(config, "config")
        prepare(config["dataset"], list_labels(config["dataset"]), folder)
        return folder

    return lambda size: prepared(json.dumps(size))


def validation(folder) -> tuple[list[Image.Image], torch.Tensor]:
    """Return the images of validation, and their classes."""
    images, labels = pd.read_csv(folder / "images.csv"), list(pd.read_csv(folder / "labels.csv")["label"])
    images = images[images["split"] == "validation"]
    return [Image.open(folder / path).convert("RGB") for path in images["path"]], torch.tensor(
        [labels.index(label) for label in images["label"]]
    )


def accuracy(logits: torch.Tensor, classes: torch.Tensor) -> float:
    return (logits.argmax(1) == classes).float().mean().item()


@pytest.mark.parametrize(("size", "run"), CASES.values(), ids=CASES.keys())
def test_timm_and_transformers_give_the_accuracy_of_the_history(tmp_path, birds, size, run):
    folder = birds(size)
    checkpoint = train(tmp_path, folder, section(**TRAINING, **run), [EPOCH])
    recorded = pd.read_csv(checkpoint / HISTORY_FILE).iloc[-1]
    assert recorded["validation_accuracy"] > 0.6, "better than chance, so that an error would show"
    photographs, classes = validation(folder)
    assert len(classes) == 16
    model = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval()
    for test_size in (False, True):
        data = timm.data.resolve_model_data_config(model, use_test_size=test_size)
        transform = timm.data.create_transform(**data, is_training=False)
        logits = model(torch.stack([transform(photograph) for photograph in photographs])).detach()
        assert accuracy(logits, classes) == pytest.approx(recorded["validation_accuracy"], abs=0.01)
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    wrapped = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    again = wrapped(**processor(photographs)).logits.detach()
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-5)
    assert list(wrapped.config.id2label.values()) == list(pd.read_csv(folder / "labels.csv")["label"])
    # the loss is compared, too, because it changes with any other preparation, unlike the accuracy
    loss = torch.nn.functional.cross_entropy(again, classes).item()
    assert loss == pytest.approx(recorded["validation_loss"], rel=1e-3)
