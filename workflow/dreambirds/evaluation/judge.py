"""Judges: networks, other than the dreamer, that classify images."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision.transforms import v2

from dreambirds.config.class_names import judge_classes
from dreambirds.data.labels import Label, match_classes
from dreambirds.device import free_memory
from dreambirds.errors import RETRAIN, UserError, error_context
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.models.classifier import Classifier, load_classifier
from dreambirds.models.heads import last_layers
from dreambirds.models.packages import find_weights
from dreambirds.plan.memory import BASE, MB
from dreambirds.shapes import shape_of

AT_ONCE = {"cpu": 64, "cuda": 256, "mps": 64}  # maximum number of images in a batch
SHARE = 0.8  # of the free memory
WORKSPACE = 3  # factor on the input and output of the largest layer, for the workspaces of convolutions
FOREIGN = "set another file, or recreate it in its own study"


@dataclass(frozen=True)
class Judge:
    """A network that classifies images, on a device.

    `shape` is its input (height, width), `classes` are the names of its classes. `class_indices` maps the label of each
    class of the study that the judge knows to the index of its logit. `is_foreign` is whether it has weights of a file
    or package, whose classes may be in another order.
    """

    name: str
    classifier: Classifier
    shape: tuple[int, int]
    classes: list[str]
    class_indices: dict[str, int]
    is_foreign: bool = False

    @property
    def architecture(self) -> str:
        """The name of the network: timm's, or the one in the config."""
        return self.classifier.architecture

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.classifier.parameters()).device

    def batch(self, bytes_free: int) -> int:
        """Return how many images fit into `bytes_free` of memory at once, or into the free memory of the GPU.

        Evaluates one image to measure the largest layer.
        """
        sizes: list[int] = []

        def measure(_layer: torch.nn.Module, inputs: tuple, output: object) -> None:
            sizes.append(sum(tensor.nbytes for tensor in (*inputs, output) if isinstance(tensor, torch.Tensor)))

        hooks = [layer.register_forward_hook(measure) for layer in self.classifier.modules()]
        try:
            self.predict(iter([torch.zeros(1, 3, *self.shape, dtype=torch.uint8)]))
        finally:
            for hook in hooks:
                hook.remove()
        free = free_memory(self.device)
        available = bytes_free if free is None else free
        return max(1, min(AT_ONCE[self.device.type], int(SHARE * available / (WORKSPACE * max(sizes)))))

    def as_input(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 images (B, 3, H, W) in [0, 1], on the device, at the judge's input size."""
        resize = v2.Resize(self.shape, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
        resized: torch.Tensor = resize(images.to(self.device) / 255)
        return resized

    @torch.inference_mode()
    def predict(self, images: Iterator[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, C) and the features before the last layer (N, D), on the CPU.

        `images` yields batches of uint8 (B, 3, H, W), which are resized to the judge's input size. If the network has
        several heads, their features are concatenated. Raises UserError if none of its layers is known as its head.
        """
        logits, features = [], []
        with recorded_inputs(last_layers(self.classifier.network)) as inputs:
            for batch in images:
                logits.append(self.classifier(self.as_input(batch)).float().cpu())
                if not inputs:
                    raise UserError(f"no last layer with one output per class was found in '{self.classifier.model}'")
                features.append(torch.cat([each.flatten(1).float().cpu() for each in inputs], dim=1))
                inputs.clear()
        return torch.cat(logits), torch.cat(features)


@contextmanager
def recorded_inputs(modules: Sequence[torch.nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Yield a list to which each module's first input is added whenever it runs."""
    inputs: list[torch.Tensor] = []
    hooks = [module.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for module in modules]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def weights_of(judge: Mapping[str, Any], given: str | Sequence[str]) -> Path:
    """Return the file of a judge's weights: the one `given` to its job, or, if that is empty, the one of a package.

    Raises UserError as `find_weights` does.
    """
    return Path(str(given)) if given else find_weights(judge["model"])


def load_judge(name: str, judge: dict, weights: Path, labels: list[Label], device: torch.device) -> Judge:
    """Load the judge that a section of the config describes, with weights from a file.

    `labels` are the study's classes. Raises UserError, with the full path of the key, if the weights cannot be read or
    do not fit, or if the judge knows none of the study's classes.
    """
    with error_context(f"judges.{name}"):
        loaded = _from_weights(judge) if judge.get("weights") else _from_checkpoint(judge, weights)
        classifier, shape, classes = loaded
        class_indices = match_classes(labels, classes, judge["names"])
    classifier = classifier.eval().to(device, memory_format=torch.channels_last)
    return Judge(name, classifier, shape, classes, class_indices, bool(judge.get("weights")))


def _from_weights(judge: dict) -> tuple[Classifier, tuple[int, int], list[str]]:
    classes = judge_classes(judge)
    if classes is None:
        raise UserError(f"is required, because '{judge['weights']}' does not record its class names", "labels")
    keys = ("model", "model_options", "weights", "weights_key", "head", "normalization", "image_size")
    classifier, shape = load_classifier(len(classes), **{key: judge[key] for key in keys})
    return classifier, shape, classes


def _from_checkpoint(judge: dict, weights: Path) -> tuple[Classifier, tuple[int, int], list[str]]:
    if not judge.get("checkpoint"):
        classifier, info = load_checkpoint(weights, RETRAIN)
    else:
        with error_context("checkpoint"):
            classifier, info = load_checkpoint(weights, FOREIGN)
    return classifier, shape_of(info.image_size), info.labels


def batches(items: Iterable, read, most: int = AT_ONCE["cpu"]) -> Iterator[torch.Tensor]:
    """Yield images in batches of one size, uint8 (B, 3, H, W), and of at most `most` images.

    `read` returns the image of an item, uint8 (3, H, W).
    """
    batch: list[torch.Tensor] = []
    for image in map(read, items):
        if batch and (len(batch) == most or image.shape != batch[0].shape):
            yield torch.stack(batch)
            batch = []
        batch.append(image)
    if batch:
        yield torch.stack(batch)


def memory_for_images(mem_mb: int, weights: Path) -> int:
    """Return the bytes that a job on the CPU has for images, of the memory that it was granted, in MB (10^6 bytes).

    The rest is for the process and two copies of the judge's weights.
    """
    return max(0, mem_mb * MB - BASE - 2 * weights.stat().st_size)
