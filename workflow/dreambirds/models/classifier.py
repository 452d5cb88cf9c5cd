"""Build a timm model for a number of classes, from random, pretrained or stored weights."""

from contextlib import nullcontext

import timm
import timm.data
import torch
from torch import nn

from dreambirds.errors import UserError, error_context, first_line, is_out_of_memory
from dreambirds.io import expand
from dreambirds.models import NOT_FILES
from dreambirds.models.package_weights import read_package_weights
from dreambirds.models.weights import hub_timeout, load_weights, set_weights
from dreambirds.shapes import as_size, shape_text


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


def options_for(name: str, options: dict, shape: tuple[int, int]) -> dict:
    """Return the options of a model for pictures of (height, width): transformers must be told their size."""
    known = _known(name)
    told = "img_size" in options or known is None or not known.fixed_input_size
    return options if told or known.input_size[1:] == shape else {**options, "img_size": as_size(shape)}


def build(name: str, classes: int, options: dict, weights: str | None = None, new_head: bool = True) -> Classifier:
    """Return a classifier of any timm architecture, in training mode.

    `weights` is None (random, from torch's global generator), ``hub`` (timm's pretrained weights, downloaded once),
    ``package`` (those that a package ships) or a file for `load_weights`, as is `new_head`. Raises UserError where the
    options, the hub, the package or the file are no good.
    """
    try:
        with hub_timeout() if weights == "hub" else nullcontext():
            network = timm.create_model(name, pretrained=weights == "hub", num_classes=classes, **options)
    except TypeError as error:
        raise UserError(f"{options} do not fit the model '{name}': {first_line(error)}", "model_options") from error
    except Exception as error:  # models, the hub's client and file formats fail in many ways
        if weights != "hub":
            raise UserError(
                f"the model '{name}' can't be built with {options}: {first_line(error)}",
                "model_options" if options else "model",
            ) from error
        build(name, classes, options)  # says so if it is the options that are wrong
        raise UserError(_no_hub(name, error), "weights") from error
    if weights not in NOT_FILES:
        with error_context("weights"):
            load_weights(network, expand(weights), new_head)
    elif weights == "package":
        with error_context("weights"):
            state = read_package_weights(name)
        try:
            set_weights(network, state, "the package's file", new_head)
        except UserError as error:
            told = f"with {options} {error.sentence}; change them, or set weights to null"
            raise UserError(told, "model_options") from error
    elif weights == "hub" and network.pretrained_cfg["num_classes"] != classes:
        network.reset_classifier(classes)
    return Classifier(network)


def _known(name: str):
    """Return what timm knows of a model's pretrained weights, None if there are none, or none of its tag."""
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        return None


def _no_hub(name: str, error: Exception) -> str:
    known = _known(name)
    place = getattr(known, "hf_hub_id", None) or getattr(known, "url", None)
    if not place:
        return f"timm has no pretrained weights of '{name}'; set weights to null or to a file, or name another model"
    return (
        f"'hub' can't be had for '{name}': tried '{place}' ({first_line(error)}); set weights to a "
        ".safetensors or .pth file, or HF_HUB_OFFLINE=1 in the environment if the hub's cache (HF_HOME) has them"
    )


def probe(
    classifier: Classifier, shape: tuple[int, int], classes: int, options: dict | None = None, own_size: bool = False
) -> None:
    """Raise UserError unless the classifier takes pictures of (height, width) and gives a logit for each class.

    `options` are those that the config gives the model; they are blamed where it would fit without them. `own_size`
    tells that the model's section says itself how large the pictures are.
    """
    wrong, size = _misfit(classifier, shape, classes), "image_size" if own_size else "dataset.image_size"
    if wrong and options:
        name = classifier.network.pretrained_cfg["architecture"]
        plain = build(name, classes, {} if own_size else options_for(name, {}, shape))
        if _misfit(plain, shape, classes) is None:
            other = f"; change them, or {size}" if "img_size" in options else ""
            raise UserError(f"with {options} {wrong}{other}", "model_options")
    if wrong:
        raise UserError(wrong, size) if own_size else UserError(f"{wrong}; change {size}")


def _misfit(classifier: Classifier, shape: tuple[int, int], classes: int) -> str | None:
    """Return why a classifier does not take pictures of (height, width), None if it does. Raises UserError if it gives
    no logit for each class."""
    name = classifier.network.pretrained_cfg.get("architecture", "model")
    training = classifier.training
    try:
        with torch.no_grad():
            logits = classifier.eval()(torch.zeros(1, 3, *shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return f"the model '{name}' does not take pictures of {shape_text(shape)} pixels ({first_line(error)})"
    finally:
        classifier.train(training)
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (1, classes):
        raise UserError(f"the model '{name}' gives {found} where logits of {classes} classes were expected")
    return None


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a timm model's last layer."""
    heads = network.get_classifier()
    return [parameter for head in (heads if isinstance(heads, tuple) else (heads,)) for parameter in head.parameters()]
