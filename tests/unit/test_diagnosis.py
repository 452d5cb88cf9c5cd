"""What is said about a head that is wrong about photographs."""

import math

import pytest
import torch
from torch import nn

from dreambirds.models.classifier import Classifier
from dreambirds.training.diagnosis import explain, is_doubtful

CLASSES = ["a10", "a2", "b1", "B3"]


def binomial(right: int, count: int, share: float) -> float:
    """Return the probability of at most so many right answers, as a plain sum."""
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(right + 1))


@pytest.mark.parametrize("classes", [2, 8, 100])
@pytest.mark.parametrize("count", [10, 60, 400])
def test_a_head_is_doubtful_if_chance_would_rarely_be_as_wrong(classes, count):
    for right in range(0, count + 1, max(1, count // 40)):
        assert is_doubtful(right, count, classes) == (binomial(right, count, 1 / classes) < 0.01)


def test_a_head_is_doubtful_if_it_is_right_on_less_than_half_of_what_its_history_says():
    assert is_doubtful(39, 100, 10, reported=0.8) and not is_doubtful(40, 100, 10, reported=0.8)


class Brightness(nn.Module):
    """A network for images of one brightness each, 0, 1/3, 2/3 or 1: its outputs are the classes in that order."""

    def __init__(self, order: list[int]):
        super().__init__()
        self.order = order

    def forward(self, images):
        brightness = images.mean(dim=(1, 2, 3))
        logits = -(brightness[:, None] - torch.tensor([0.0, 1.0, 2.0, 3.0])).square()
        return logits[:, self.order]


def make(order: list[int], mean: float, std: float) -> Classifier:
    """Return a classifier with such an order of outputs that normalizes in that way."""
    return Classifier(Brightness(order), normalization={"mean": mean, "std": std})


def images() -> tuple[list[tuple[torch.Tensor, None]], list[str]]:
    """Return one batch with ten images of each brightness, and the class of each."""
    batch = torch.cat([torch.full((10, 3, 4, 4), each / 3) for each in range(4)])
    return [(batch, None)], [label for label in CLASSES for _ in range(10)]


def test_another_order_of_the_classes_is_found_by_its_rule():
    order = [CLASSES.index(label) for label in ["a2", "a10", "b1", "B3"]]  # numbers in numerical order
    found = explain(make(order, 0, 1 / 3), *images(), ["a10", "B3", "b1", "a2"])
    assert found.accuracy == 1 and found.cause == "its classes are with numbers in numerical order"
    assert found.remedy.endswith("in that order: a2, a10, b1, B3")


def test_an_order_without_a_rule_is_found_by_trying():
    order = [CLASSES.index(label) for label in ["b1", "a10", "B3", "a2"]]
    found = explain(make(order, 0, 1 / 3), *images(), CLASSES)
    assert found.accuracy > 0.99 and found.cause == "its classes are in another order"
    assert found.remedy.endswith("in that order: b1, a10, B3, a2")


def test_another_normalization_is_found_and_the_classifier_keeps_its_own():
    class Scaled(Brightness):
        def forward(self, images):
            return super().forward(images * 3)

    classifier = Classifier(Scaled([0, 1, 2, 3]), normalization={"mean": 0.9, "std": 30})
    found = explain(classifier, *images(), CLASSES)
    assert found.accuracy == 1 and found.remedy == "set 'normalization' to {mean: 0, std: 1}"
    assert classifier.mean.flatten().tolist() == pytest.approx([0.9] * 3)


def test_a_network_that_knows_nothing_is_not_explained():
    class Blind(nn.Module):
        def forward(self, images):
            return torch.ones(len(images), 4).cumsum(dim=1)

    assert explain(Classifier(Blind(), normalization={"mean": 0, "std": 1}), *images(), CLASSES) is None
