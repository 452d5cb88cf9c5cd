"""Find the architecture of weights that do not record it: by building likely networks and comparing all tensors."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.names import model_names
from dreambirds.models.tensor_shapes import Shapes, tensor_shapes

# the most common architectures; others are recognized if the path contains their name
COMMON = (
    *("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnet10t", "resnet26", "resnext50_32x4d"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "tf_efficientnet_lite0"),
    *("mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv3_small_100", "densenet121", "vgg16", "vgg16_bn"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "deit_tiny_distilled_patch16_224"),
    *("convnext_tiny", "convnext_small", "convnext_base", "convnextv2_tiny", "swin_tiny_patch4_window7_224"),
    *("regnety_016", "inception_v3", "inception_v4", "legacy_xception", "wide_resnet50_2"),
)


def guess_model(checkpoint: Path, model: str | None = None) -> tuple[str, int] | None:
    """Return the timm model whose tensors have the names and shapes of a checkpoint's, and its number of outputs.

    Names may have a prefix, and only the last layer may differ. Only `model` is tried if it is set. None if no likely
    model fits.
    """
    import timm
    import torch

    states = [state for file in weights_files(checkpoint) if file.suffix != ".json" for state in tensor_shapes(file)]
    for name in [model] if model else dict.fromkeys([*_named(checkpoint), *COMMON]):
        with suppress(Exception), torch.device("meta"):  # models fail in many ways if they are built without values
            network = timm.create_model(name)
            heads = network.default_cfg["classifier"]
            shapes = {key: tuple(value.shape) for key, value in network.state_dict().items() if value.dim()}
            for state in states:
                outputs = _outputs(shapes, [heads] if isinstance(heads, str) else list(heads), state)
                if outputs:
                    return name, outputs
    return None


def _named(checkpoint: Path) -> Iterator[str]:
    """Yield timm's models that the path of a checkpoint names, the longest first."""
    text = "/".join(checkpoint.parts[-3:]).lower()
    words = set(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", text)) | set(re.findall(r"[a-z0-9]+", text))
    found = {name for word in words for name in _parts(word) if name in model_names()}
    yield from sorted(found, key=len, reverse=True)


def _parts(word: str) -> Iterator[str]:
    """Yield all runs of the parts of a word that ``_`` separates."""
    parts = word.split("_")
    for first in range(len(parts)):
        for last in range(first + 1, len(parts) + 1):
            yield "_".join(parts[first:last])


def _outputs(shapes: Shapes, heads: list[str], state: Shapes) -> int | None:
    """Return the number of outputs of the network of these shapes whose weights are a state, None if they are not."""
    first = next(iter(shapes))
    for prefix in {name.removesuffix(first) for name in state if name.endswith(first)}:
        stripped = {name.removeprefix(prefix): shape for name, shape in state.items() if name.startswith(prefix)}
        different = {name for name in shapes if stripped.get(name) != shapes[name]}
        if stripped.keys() == shapes.keys() and all(name.rpartition(".")[0] in heads for name in different):
            return stripped[f"{heads[0]}.weight"][0]
    return None
