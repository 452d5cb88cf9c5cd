"""Load the weights that a package ships by timm's names, and check that the network computes what its authors' does."""

import timm
import torch

from dreambirds.errors import UserError
from dreambirds.models.packages import find_weights, package_of
from dreambirds.models.weights import read_weights

SIDE = 64  # even, so that a strided convolution pads one side more than the other, as TensorFlow does
TOLERANCE = 1e-3  # of the largest known logit; float32 stays within 1e-5 of it


def read_package_weights(model: str) -> dict[str, torch.Tensor]:
    """Return a timm model's ImageNet weights, by timm's names, from the package that ships them.

    The file has the tensors in timm's order under other names, so every shape is compared, and the logits of one image
    are compared with known ones. This is done at each load, in 0.2 s, since only here a file meets a version of timm.
    torch's random state stays as it is. Raises UserError as `find_weights` does, or if shapes or logits differ.
    """
    package, path = package_of(model), find_weights(model)
    given = read_weights(path)
    with torch.device("meta"):  # draws no random numbers
        network = timm.create_model(model)
    expected = network.state_dict()
    if [tensor.shape for tensor in given.values()] != [tensor.shape for tensor in expected.values()]:
        raise UserError(f"'{path}' has other tensors than timm's '{model}'; {_remedy()}")
    state = dict(zip(expected, given.values(), strict=True))
    network.load_state_dict(state, assign=True)
    known = torch.tensor(package.logits)
    with torch.inference_mode():
        found = network.eval()(2 * ramp() - 1)[0, :: network.num_classes // len(known)]  # mean and std are .5
    if not (found - known).abs().max() <= TOLERANCE * known.abs().max():  # also where one is NaN
        raise UserError(f"timm's '{model}' gives other logits with '{path}' than its authors' network; {_remedy()}")
    return state


def ramp() -> torch.Tensor:
    """Return an image (1, 3, SIDE, SIDE) in [0, 1]: red grows downwards, green to the right; blue falls with both."""
    line = torch.linspace(0, 1, SIDE)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([rows, columns, 1 - rows * columns])[None]


def _remedy() -> str:
    return "install the versions that requirements.txt pins, or set weights to hub, a file or null"
