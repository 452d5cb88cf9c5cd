"""Tell why a head that was trained elsewhere is wrong about photographs: the class order, or the normalization.

Both are tried on validation images, because a file of weights records neither as a rule.
"""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import bdtr

from dreambirds.models.classifier import Classifier

log = logging.getLogger(__name__)
Batches = Iterable[tuple[torch.Tensor, object]]  # a loader of images (B, 3, H, W) in [0, 1] with their targets
LEVEL = 0.01  # probability of an accuracy this low by chance
GAIN = 2  # factor on the accuracy that an explanation of a doubtful head must reach
SOME_GAIN = 1.2  # the same where another order is significantly better
ENOUGH = 0.75  # accuracy that an explanation of a network with few classes must reach
SEPARATED = 0.5  # accuracy in the best class order at which the outputs are said to separate the classes
LONGEST = 20  # classes whose order fits into a log line
NORMALIZATIONS = {
    "{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "{mean: 0.5, std: 0.5}": ([0.5] * 3, [0.5] * 3),
    "{mean: 0, std: 1}": ([0.0] * 3, [1.0] * 3),
    "{mean: 0, std: 0.00392}": ([0.0] * 3, [1 / 255] * 3),  # images from 0 to 255
}
ORDERS: dict[str, Callable[[str], object]] = {
    "as torchvision sorts folders": str,
    "in alphabetical order": str.casefold,
    "with numbers in numerical order": lambda name: [
        int(part) if part.isdigit() else part.casefold() for part in re.split(r"(\d+)", name)
    ],
}


@dataclass(frozen=True)
class Explanation:
    """What would make a head right: the accuracy that it would have, what was wrong, and what to set."""

    accuracy: float
    cause: str
    remedy: str


def is_doubtful(right: int, count: int, classes: int, reported: float | None = None) -> bool:
    """Return whether a head is right on too few of `count` images.

    That is less than half of the accuracy that its history reports, or less than chance with a probability below 1 % in
    a binomial test.
    """
    if reported is not None and right < reported * count / 2:
        return True
    return bool(bdtr(right, count, 1 / classes) < LEVEL)


def is_reordered(outputs: torch.Tensor, known: Sequence[str], classes: Sequence[str]) -> bool:
    """Return whether another order of the classes is right on significantly more images, even if by chance some agree.

    Of the images for which the two orders differ in being right, the other one is right on half if neither is better.
    The probability of so many is bounded by Chernoff (1952), and multiplied by the number of orders that were tried:
    n! for the order that suits the images best.
    """
    own = _is_right(outputs, known, classes)
    tries = [(sorted(classes, key=key), math.log(len(ORDERS))) for key in ORDERS.values()]
    tries.append((_best_order(outputs, known, classes), math.lgamma(len(classes) + 1)))
    for order, logarithm in tries:
        other = _is_right(outputs, known, order)
        better, worse = int((other & ~own).sum()), int((own & ~other).sum())
        if better > worse:
            share = worse / (better + worse)
            divergence = math.log(2) + (share and share * math.log(share)) + (1 - share) * math.log(1 - share)
            if logarithm - (better + worse) * divergence < math.log(LEVEL):
                return True
    return False


def warn_of_wrong_head(
    where: str,
    classifier: Classifier,
    images: Batches,
    known: Sequence[str],
    classes: Sequence[str],
    outputs: torch.Tensor,
    reported: float | None = None,
) -> None:
    """Write a warning into the log if a head is doubtful: with the likely cause if one is found, else the usual ones.

    So does a head that is right as often as chance, or more often, if its classes are in another order.

    `where` begins the line, and `outputs` (N,) are those with the largest logit for each of the `images`. The other
    arguments are those of `explain` and `is_doubtful`.
    """
    right = round(_accuracy(outputs, known, classes) * len(known))
    doubtful = is_doubtful(right, len(known), len(classes), reported)
    if not doubtful and not is_reordered(outputs, known, classes):
        return
    found = explain(classifier, images, known, classes, GAIN if doubtful else SOME_GAIN)
    if not doubtful and found is None:
        return
    causes = "the usual causes are another class order ('labels') and another normalization ('normalization')"
    if found:
        causes = f"probably {found.cause} (then it would be right on {100 * found.accuracy:.0f} %); {found.remedy}"
    log.warning(
        "%s: the network is right on only %.1f %% of the validation images, so its dreams may show other classes; %s",
        where,
        100 * right / len(known),
        causes,
    )


def explain(
    classifier: Classifier, images: Batches, known: Sequence[str], classes: Sequence[str], gain: float = GAIN
) -> Explanation | None:
    """Return which other class order or normalization makes a head right, None if none does.

    `images` are at least one image, `known` is the class of each, and `classes` are the names of the outputs in the
    assumed order. An explanation must multiply the accuracy by `gain`.
    """
    own = predict(classifier, images).argmax(dim=1)
    now = _accuracy(own, known, classes)
    found = [*_orders(own, known, classes), *_normalizations(classifier, images, known, classes)]
    enough = max(gain * now, min(GAIN / len(classes), ENOUGH))
    found = [each for each in found if each.accuracy >= enough]
    return max(found, key=lambda each: each.accuracy, default=None)


@torch.inference_mode()
def predict(classifier: Classifier, images: Batches) -> torch.Tensor:
    """Return the logits of images, (N, C), on the CPU."""
    device = classifier.mean.device
    return torch.cat([classifier(batch.to(device)).float().cpu() for batch, _ in images])


def _is_right(outputs: torch.Tensor, known: Sequence[str], classes: Sequence[str]) -> torch.Tensor:
    return torch.tensor([classes[output] == label for output, label in zip(outputs.tolist(), known, strict=True)])


def _accuracy(outputs: torch.Tensor, known: Sequence[str], classes: Sequence[str]) -> float:
    return float(_is_right(outputs, known, classes).sum()) / len(known)


def _best_order(outputs: torch.Tensor, known: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return the classes in the order in which the outputs are right most often, ``?`` for those without images."""
    labels = sorted(set(known))
    counts = torch.zeros(len(labels), len(classes), dtype=torch.long)
    for output, label in zip(outputs.tolist(), known, strict=True):
        counts[labels.index(label), output] += 1
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    best = dict(zip(columns.tolist(), rows.tolist(), strict=True))
    return [labels[best[output]] if output in best else "?" for output in range(len(classes))]


def _orders(outputs: torch.Tensor, known: Sequence[str], classes: Sequence[str]) -> Iterator[Explanation]:
    """Yield the accuracy in other orders of the same classes, and in the order that suits the images best."""
    for how, key in ORDERS.items():
        order = sorted(classes, key=key)
        cause = f"its classes are {how}"
        yield Explanation(_accuracy(outputs, known, order), cause, _set_labels(order))
    order = _best_order(outputs, known, classes)
    accuracy = _accuracy(outputs, known, order)
    if accuracy >= SEPARATED:
        # a little worse than an order with a rule, which is likelier
        yield Explanation(accuracy - 1e-3, "its classes are in another order", _set_labels(order))


def _set_labels(order: Sequence[str]) -> str:
    listed = f": {', '.join(order)}" if len(order) <= LONGEST else ""
    return f"set 'labels' to a file with the classes in that order{listed}"


def _normalizations(
    classifier: Classifier, images: Batches, known: Sequence[str], classes: Sequence[str]
) -> Iterator[Explanation]:
    """Yield the accuracy with the usual normalizations."""
    own = classifier.mean.clone(), classifier.std.clone()
    channels = classifier.mean.shape[1]
    for text, values in NORMALIZATIONS.items():
        for buffer, value in zip((classifier.mean, classifier.std), values, strict=True):
            buffer.copy_(torch.tensor(value[:channels]).view(1, -1, 1, 1))
        accuracy = _accuracy(predict(classifier, images).argmax(dim=1), known, classes)
        yield Explanation(accuracy, "it was trained with another normalization", f"set 'normalization' to {text}")
    for buffer, value in zip((classifier.mean, classifier.std), own, strict=True):
        buffer.copy_(value)
