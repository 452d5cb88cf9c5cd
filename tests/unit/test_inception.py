"""The original study's model with random weights: an update, a dream step, and a new head."""

import pytest
import torch
from safetensors.torch import save_file

from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.recipe import Recipe
from dreambirds.models.classifier import build, options_for, probe
from dreambirds.models.inference import prepare_for_inference
from dreambirds.seeding import generator
from tests.helpers.chains import CPU, BatchList, changed, trainer

HEAD = {"last_linear.weight", "last_linear.bias"}


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    """Return a weights file of a random Inception-v4 with the head of another data set."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("donor") / "inception.safetensors"
    save_file(build("inception_v4", 7, {}).network.state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("side", [128, pytest.param(299, marks=pytest.mark.exhaustive)])
def test_inception_trains_and_dreams_from_a_file_with_a_new_head(donor, side):
    options = options_for("inception_v4", {}, (side, side))
    assert options == {}
    torch.manual_seed(0)
    classifier = build("inception_v4", 3, options, str(donor))
    probe(classifier, (side, side), 3)
    assert classifier.network.last_linear.weight.shape == (3, 1536)
    before = {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}
    rng = torch.Generator().manual_seed(0)
    images, targets = torch.rand(2, 3, side, side, generator=rng), torch.tensor([0, 2])
    tally = trainer(classifier, learning_rate=0.01).train(BatchList([(images, targets)]), 1, 0, 1)
    assert 0 < tally.means[0] < 5
    after = classifier.network.state_dict()
    assert changed(before, after) == set(before), "all of its parameters change"
    assert all(tensor.isfinite().all() for tensor in after.values())
    recipe = Recipe(steps=(1,), step_size=0.05, gradient_normalization="std")
    frozen = prepare_for_inference(classifier, side, CPU)
    dreams = dream(frozen, torch.tensor([1]), images[:1], recipe, [generator(0, "a")])
    result = dreams.snapshots[1]
    assert result.shape == (1, 3, side, side) and result.isfinite().all()
    assert 0.001 < (result - images[:1]).abs().mean() < 0.2 and not dreams.diverged.any()


@pytest.mark.slow
def test_the_backbone_comes_from_the_file_and_the_head_can_be_trained_alone(donor):
    torch.manual_seed(0)
    classifier = build("inception_v4", 3, {}, str(donor))
    given = build("inception_v4", 7, {}, str(donor)).network.state_dict()
    assert changed(given, classifier.network.state_dict()) == HEAD
    before = {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}
    batch = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2])
    trainer(classifier, trainable="head").train(BatchList([batch]), 1, 0, 1)
    assert changed(before, classifier.network.state_dict()) == HEAD
