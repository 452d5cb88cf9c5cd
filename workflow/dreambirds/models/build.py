"""Build a timm model for a number of classes, from random, pretrained or stored weights."""

from pathlib import Path

import timm
import timm.data
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from dreambirds.errors import StudyError, first_line


class Classifier(nn.Module):
    """A timm model behind its own normalisation: images (B, 3, H, W) in [0, 1] in, logits (B, C) out."""

    def __init__(self, network: nn.Module):
        """Wrap a timm model; mean and standard deviation come from its own data config."""
        super().__init__()
        self.network = network
        data = timm.data.resolve_data_config({}, model=network)
        self.register_buffer("mean", torch.tensor(data["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(data["std"]).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images - self.mean) / self.std)


def build(name: str, classes: int, options: dict, weights: str | None = None) -> Classifier:
    """Return a classifier of any timm architecture, in training mode.

    `weights` is None (random, from torch's global generator), ``hub`` (timm's pretrained weights, downloaded once) or
    a safetensors file of this architecture, whose head is replaced where its number of classes differs. Raises
    StudyError where the options, the hub or the file are no good.
    """
    try:
        network = timm.create_model(name, pretrained=weights == "hub", num_classes=classes, **options)
    except TypeError as error:
        raise StudyError(f"model_options {options} do not fit the model '{name}': {error}") from error
    except (OSError, RuntimeError, ArithmeticError) as error:
        if weights != "hub":
            raise StudyError(f"the model '{name}' can't be built with {options}: {first_line(error)}") from error
        raise StudyError(
            f"the pretrained weights of '{name}' can't be had from the hub ({first_line(error)}); set weights to a "
            "safetensors file, or HF_HUB_OFFLINE=1 if they are in the hub's cache already"
        ) from error
    if weights not in (None, "hub"):
        _load_backbone(network, Path(weights).expanduser())
    elif weights == "hub" and network.pretrained_cfg["num_classes"] != classes:
        network.reset_classifier(classes)
    return Classifier(network)


def probe(classifier: Classifier, size: int, classes: int) -> None:
    """Raise StudyError unless the classifier takes pictures of (size, size) and gives a logit for each class."""
    name = classifier.network.pretrained_cfg.get("architecture", "model")
    training = classifier.training
    try:
        with torch.no_grad():
            logits = classifier.eval()(torch.zeros(1, 3, size, size))
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    except (AssertionError, RuntimeError, ValueError) as error:
        raise StudyError(
            f"the model '{name}' does not take pictures of {size}x{size} pixels ({first_line(error)}); change "
            f"dataset.image_size, or tell a model of fixed size with model_options: {{img_size: {size}}}"
        ) from error
    if found != (1, classes):
        raise StudyError(f"the model '{name}' gives {found} where logits of {classes} classes were expected")
    classifier.train(training)


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a timm model's last layer."""
    heads = network.get_classifier()
    return [parameter for head in (heads if isinstance(heads, tuple) else (heads,)) for parameter in head.parameters()]


def _load_backbone(network: nn.Module, path: Path) -> None:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StudyError(f"weights: '{path}' is not a safetensors file that can be read ({error})") from error
    expected = network.state_dict()
    head = {name for name in expected if any(name.startswith(f"{prefix}.") for prefix in _head_names(network))}
    unfit = {name for name in expected if name not in state or state[name].shape != expected[name].shape}
    if unfit - head or set(state) - set(expected):
        wrong = sorted(unfit - head | set(state) - set(expected))
        raise StudyError(f"weights: '{path}' does not fit the model: {len(wrong)} tensors differ, first {wrong[0]}")
    kept = head if unfit else set()
    network.load_state_dict({name: expected[name] if name in kept else state[name].float() for name in expected})
    if unfit:  # some architectures begin with a head so large that it drowns what the backbone knows
        network.reset_classifier(network.num_classes)


def _head_names(network: nn.Module) -> list[str]:
    names = network.pretrained_cfg.get("classifier") or ()
    return [names] if isinstance(names, str) else list(names)
