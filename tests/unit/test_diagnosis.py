"""What is said about a head that is wrong about photographs."""

import math

import pytest
import torch
from torch import nn

from dreambirds.models.classifier import Classifier
from dreambirds.training.diagnosis import explain, is_doubtful, is_reordered, warn_of_wrong_head

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


NUMBERED = [str(number) for number in range(1, 21)]


def answers(order: list[str], each: int, share: float = 1.0, seed: int = 0):
    """Return the outputs of a network with its classes in an order, for so many images of each class, and the classes.

    It is right on a share of the images, and guesses otherwise.
    """
    rng = torch.Generator().manual_seed(seed)
    known = [label for label in sorted(order) for _ in range(each)]
    right = torch.tensor([order.index(label) for label in known])
    guessed = torch.randint(0, len(order), (len(known),), generator=rng)
    return torch.where(torch.rand(len(known), generator=rng) < share, right, guessed), known


@pytest.mark.parametrize(
    ("order", "each", "share"),
    [
        (NUMBERED, 4, 1.0),  # 1, 2, 3 … against 1, 10, 11 …: right on one class of 20, as often as by chance
        (NUMBERED, 10, 0.5),
        (["Auk", "Owl", "bunting", "jay", "wren", "Teal"], 10, 0.9),
        (["b", "a", "c", "d", "e", "f"], 12, 1.0),  # two of six classes
    ],
)
def test_another_order_is_noticed_where_the_head_is_right_as_often_as_chance_or_more(order, each, share):
    outputs, known = answers(order, each, share)
    assert not is_doubtful(
        sum(sorted(order)[o] == k for o, k in zip(outputs, known, strict=True)), len(known), len(order)
    )
    assert is_reordered(outputs, known, sorted(order))
    assert not is_reordered(outputs, known, order)


def test_a_network_that_guesses_is_not_reordered():
    for seed in range(40):
        for count, each in ((2, 3), (2, 20), (5, 4), (20, 2), (60, 10)):
            classes = [f"c{index:02}" for index in range(count)]
            outputs, known = answers(classes, each, share=0.0, seed=seed)
            assert not is_reordered(outputs, known, classes)
        constant = torch.zeros(len(known), dtype=torch.long)
        assert not is_reordered(constant, known, classes)


def test_the_warning_names_the_order_of_numbers(caplog):
    order = [str(number) for number in (1, 2, 3, 10)]  # the file's, with the classes 1, 10, 2, 3 of sorted folders
    classifier = make([0, 1, 2, 3], 0, 1 / 3)
    batch = torch.cat([torch.full((10, 3, 4, 4), each / 3) for each in range(4)])
    known = [label for label in order for _ in range(10)]
    outputs = torch.arange(4).repeat_interleave(10)
    warn_of_wrong_head("runs.a.weights", classifier, [(batch, None)], known, sorted(order), outputs)
    (line,) = caplog.messages
    assert line.startswith("runs.a.weights: the network is right on only 25.0 % of the validation images")
    assert "its classes are with numbers in numerical order (then it would be right on 100 %)" in line
    assert line.endswith("set 'labels' to a file with the classes in that order: 1, 2, 3, 10")
    caplog.clear()
    warn_of_wrong_head("runs.a.weights", classifier, [(batch, None)], known, order, outputs)
    assert not caplog.messages
