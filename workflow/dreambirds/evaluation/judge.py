"""A judge: a network that did not dream, what it calls the study's classes, and what it makes of pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm.data
import torch
from torchvision.transforms import v2

from dreambirds.data.labels import Label, match_classes, read_names
from dreambirds.errors import TRAIN_AGAIN, error_context
from dreambirds.io import expand
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.models.classifier import Classifier, build, probe
from dreambirds.shapes import shape_of

BATCH = 64
FOREIGN = "name another file, or make it again in the study that it is of"


@dataclass(frozen=True)
class Judge:
    """A network on a device, the (height, width) that it looks at, what it calls its own classes, in order, and the
    place among them of each class of the study that it knows."""

    name: str
    classifier: Classifier
    shape: tuple[int, int]
    classes: list[str]
    places: dict[str, int]

    @property
    def architecture(self) -> str:
        """timm's name of the network."""
        return self.classifier.network.pretrained_cfg.get("architecture", "")

    @torch.inference_mode()
    def look(self, pictures: Iterator[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (N, C) and the features before the last layer (N, D) of pictures, on the processor.

        `pictures` yields batches of uint8 (B, 3, H, W); they are resized to what the judge looks at.
        """
        resize = v2.Resize(self.shape, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
        device, seen = next(self.classifier.parameters()).device, []
        head = self.classifier.network.get_classifier()
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1).float().cpu()))
        try:
            logits = [self.classifier(resize(batch.to(device) / 255)).float().cpu() for batch in pictures]
        finally:
            hook.remove()
        return torch.cat(logits), torch.cat(seen)


def load_judge(name: str, judge: dict, weights: Path, labels: list[Label], device: torch.device) -> Judge:
    """Return the judge that a section of the config describes, with its weights from a file.

    `labels` are the study's classes. Raises UserError, the key's full path in it, if the weights can't be read or do
    not fit, or the judge knows no class of the study.
    """
    with error_context(f"judges.{name}"):
        load = _from_weights if judge.get("weights") else _from_checkpoint
        classifier, shape, classes = load(judge, weights)
        places = match_classes(labels, classes, judge["names"])
    classifier = classifier.eval().to(device, memory_format=torch.channels_last)
    return Judge(name, classifier, shape, classes, places)


def _from_weights(judge: dict, _weights: Path) -> tuple[Classifier, tuple[int, int], list[str]]:
    classes = read_names(expand(judge["labels"]))
    classifier = build(judge["model"], len(classes), judge["model_options"], judge["weights"], new_head=False)
    known = timm.data.resolve_data_config({}, model=classifier.network)["input_size"][1:]
    shape = shape_of(judge["image_size"] or list(known))
    probe(classifier, shape, len(classes), judge["model_options"], own_size=True)
    return classifier, shape, classes


def _from_checkpoint(judge: dict, weights: Path) -> tuple[Classifier, tuple[int, int], list[str]]:
    if not judge.get("checkpoint"):
        classifier, info = load_checkpoint(weights, TRAIN_AGAIN)
    else:
        with error_context("checkpoint"):
            classifier, info = load_checkpoint(weights, FOREIGN)
    return classifier, shape_of(info.image_size), info.labels


def batches(pictures: Sequence, read) -> Iterator[torch.Tensor]:
    """Yield the pictures that `read` makes of each, uint8 (3, H, W), in batches of one size (B, 3, H, W)."""
    batch: list[torch.Tensor] = []
    for picture in map(read, pictures):
        if batch and (len(batch) == BATCH or picture.shape != batch[0].shape):
            yield torch.stack(batch)
            batch = []
        batch.append(picture)
    if batch:
        yield torch.stack(batch)
