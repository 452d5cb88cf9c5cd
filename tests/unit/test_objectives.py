"""What a dream climbs and what holds it back, against closed forms and plain loops; and how a model is looked at."""

import math

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dreambirds.dreaming.layers import Watched, find_layer
from dreambirds.dreaming.objective import Objective, Seen
from dreambirds.dreaming.penalties import length, norm_layers, statistics_distance, total_variation
from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.errors import StudyError
from dreambirds.terms import Term, layers, parse

LOGITS, TARGETS = [[0.3, -1.2, 2.0], [1.5, 0.1, -0.4]], [2, 1]


def close(got, expected, atol: float = 1e-12) -> bool:
    """Tell whether two arrays are the same but for an absolute difference."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def resnet():
    """Return timm's smallest residual network."""
    return timm.create_model("test_resnet", num_classes=4).eval().requires_grad_(False)


@pytest.fixture
def chain():
    """Return modules one after the other in float64, an activation in place after each convolution."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True)]
    network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(5 * 16, 3)).double()
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "text, term",
    {
        "logit": Term("logit"),
        "cross_entropy": Term("cross_entropy"),
        "probability": Term("probability"),
        "margin": Term("margin"),
        "layer_mean:stages.0": Term("layer_mean", layer="stages.0"),
        "layer_l2:50%": Term("layer_l2", layer="50%"),
        "channel:a.b:7": Term("channel", layer="a.b", channel=7),
        "neuron:a:7": Term("neuron", layer="a", channel=7),
        "neuron:a:7:2:3": Term("neuron", layer="a", channel=7, place=(2, 3)),
    }.items(),
)
def test_every_form_of_a_term_is_read(text, term):
    assert parse(text) == (term,)
    assert layers(text) == ([] if term.layer is None else [term.layer])


def test_a_weighted_sum_keeps_its_weights_in_order():
    terms = parse({"layer_mean:a": 0.25, "logit": -2.0, "channel:b:1": 3})
    assert [(term.kind, term.weight) for term in terms] == [("layer_mean", 0.25), ("logit", -2.0), ("channel", 3)]
    assert layers({"layer_mean:a": 0.25, "logit": -2.0, "channel:b:1": 3}) == ["a", "b"]


@pytest.mark.parametrize(
    "text, sentence",
    {
        "logits": "unknown objective 'logits'; did you mean 'logit'?",
        "layer_men:a": "unknown objective 'layer_men:a'; did you mean 'layer_mean'?",
        "logit:a": "unknown objective 'logit:a'; 'logit' takes no layer",
        "layer_mean": "the objective 'layer_mean' must be written layer_mean:LAYER",
        "layer_l2:": "the objective 'layer_l2:' must be written layer_l2:LAYER",
        "layer_l2:a:1": "the objective 'layer_l2:a:1' must be written layer_l2:LAYER",
        "channel:a": "the objective 'channel:a' must be written channel:LAYER:CHANNEL",
        "channel:a:-1": "the objective 'channel:a:-1' must be written channel:LAYER:CHANNEL",
        "channel:a:b": "the objective 'channel:a:b' must be written channel:LAYER:CHANNEL",
        "neuron:a:1:2": "the objective 'neuron:a:1:2' must be written neuron:LAYER:CHANNEL or neuron:LAYER:CHANNEL:Y:X",
        "neuron:a:1:2:3:4": "the objective 'neuron:a:1:2:3:4' must be written neuron:LAYER:CHANNEL or",
    }.items(),
)
def test_a_wrong_term_is_refused_in_one_sentence(text, sentence):
    with pytest.raises(StudyError) as refusal:
        parse({"logit": 1.0, text: 1.0})
    assert str(refusal.value).startswith(sentence) and "\n" not in str(refusal.value)


def softmax(row: list[float]) -> list[float]:
    """Return the softmax of a list, by the textbook."""
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def by_textbook(kind: str, row: list[float], target: int) -> tuple[float, list[float]]:
    """Return a class score and its gradient by the logits."""
    chance, hot = softmax(row), [float(index == target) for index in range(3)]
    steep = [h - c for h, c in zip(hot, chance, strict=True)]
    others = [value for index, value in enumerate(row) if index != target]
    return {
        "logit": (row[target], hot),
        "cross_entropy": (math.log(chance[target]), steep),
        "probability": (chance[target], [chance[target] * slope for slope in steep]),
        "margin": (row[target] - sum(others) / 2, [1.0 if h else -0.5 for h in hot]),
    }[kind]


def scored(objective, seen: Seen, targets: list[int]) -> torch.Tensor:
    """Return the score of each image."""
    return Objective(objective)(seen, torch.tensor(targets))


@pytest.mark.parametrize("kind", ["logit", "cross_entropy", "probability", "margin"])
def test_class_scores_and_their_gradients_are_the_textbook_s(kind):
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    got = scored(kind, Seen(logits), TARGETS)
    got.sum().backward()
    for row, target, value, slope in zip(LOGITS, TARGETS, got, logits.grad, strict=True):
        expected, slopes = by_textbook(kind, row, target)
        assert value.item() == pytest.approx(expected, rel=1e-12)
        assert slope.tolist() == pytest.approx(slopes, rel=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 6, 3), (2, 3)], ids=["picture", "tokens", "vector"])
def test_layer_scores_and_their_gradients_are_closed_forms(shape):
    count = math.prod(shape[1:])
    mine = (slice(None), 1) if len(shape) == 4 else (..., 1)
    middle = {4: (slice(None), 1, 2, 2), 3: (slice(None), 3, 1), 2: (slice(None), 1)}[len(shape)]
    given = {4: ("neuron:a:1:3:0", (slice(None), 1, 3, 0))}.get(len(shape), ("neuron:a:1", middle))
    values = rand(*shape).numpy() - 0.3
    places = np.ones_like(values)
    within, at_middle, at_given = (np.zeros_like(values) for _ in range(3))
    within[mine], at_middle[middle], at_given[given[1]] = 1, 1, 1
    within /= within[0].sum()
    for objective, slope, score in (
        ("layer_mean:a", places / count, values.reshape(2, -1).sum(axis=1) / count),
        ("layer_l2:a", values / count, (values.reshape(2, -1) ** 2).sum(axis=1) / (2 * count)),
        ("channel:a:1", within, (within * values).reshape(2, -1).sum(axis=1)),
        ("neuron:a:1", at_middle, values[middle]),
        (given[0], at_given, values[given[1]]),
    ):
        activation = torch.tensor(values, requires_grad=True)
        got = scored(objective, Seen(layers={"a": activation}), TARGETS)
        got.sum().backward()
        assert close(got.detach(), score), objective
        assert close(activation.grad, slope), objective


def test_a_weighted_sum_is_the_sum():
    activation, logits = rand(2, 3, 4, 4), torch.tensor(LOGITS, dtype=torch.float64)
    objective = {"logit": 0.5, "layer_l2:a": -2.0, "channel:b:2": 3.0, "margin": 1.5}
    got = scored(objective, Seen(logits, {"a": activation, "b": activation}), TARGETS)
    for image, row, target, value in zip(activation.numpy(), LOGITS, TARGETS, got, strict=True):
        own = by_textbook("margin", row, target)[0]
        expected = 0.5 * row[target] - (image**2).mean() + 3 * image[2].mean() + 1.5 * own
        assert value.item() == pytest.approx(expected, rel=1e-12)
    assert Objective(objective).layers == ["a", "b"] and Objective(objective).logits
    assert not Objective({"layer_l2:a": 1.0, "channel:a:2": 1.0}).logits
    assert Objective({"layer_l2:a": 1.0, "channel:a:2": 1.0}).layers == ["a"]


@pytest.mark.parametrize(
    "objective, shape, sentence",
    [
        ("channel:a:3", (1, 3, 4, 4), "objective: 'a' has channels 0 to 2, there is no 3"),
        ("channel:a:4", (1, 9, 4), "objective: 'a' has channels 0 to 3, there is no 4"),
        ("neuron:a:0:4:0", (1, 3, 4, 4), r"objective: the layer 'a' has \(4, 4\) places, there is no \(4, 0\)"),
        ("neuron:a:0:0:5", (1, 3, 4, 4), r"objective: the layer 'a' has \(4, 4\) places, there is no \(0, 5\)"),
        ("neuron:a:0:0:0", (1, 9, 4), r"objective: the layer 'a' has \(9,\) places, there is no \(0, 0\)"),
    ],
)
def test_a_channel_or_place_out_of_range_is_refused_in_one_sentence(objective, shape, sentence):
    with pytest.raises(StudyError, match=f"^{sentence}$"):
        scored(objective, Seen(layers={"a": rand(*shape)}), [0])


def variation_by_loops(image: np.ndarray) -> float:
    """Return the L2 norms of neighbours' differences in four directions, one pair after the other."""
    channels, height, width = image.shape
    total = 0.0
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = 0.0
        for c, y, x in np.ndindex(channels, height, width):
            if y + down < height and 0 <= x + across < width:
                squares += (image[c, y + down, x + across] - image[c, y, x]) ** 2
        total += math.sqrt(squares)
    return total


def slopes_by_differences(score, images: torch.Tensor) -> np.ndarray:
    """Return the gradient of a score's sum over images by central differences."""
    slopes, step = np.zeros(images.shape), 1e-5
    for place in np.ndindex(*images.shape):
        up, down = images.clone(), images.clone()
        up[place] += step
        down[place] -= step
        slopes[place] = (score(up).sum() - score(down).sum()).item() / (2 * step)
    return slopes


def norm_of_three_channels() -> nn.BatchNorm2d:
    """Return a batch norm that has seen something."""
    norm = nn.BatchNorm2d(3).double().eval()
    norm.running_mean[:], norm.running_var[:] = torch.tensor([0.1, 0.5, -0.2]), torch.tensor([0.3, 0.05, 2.0])
    return norm


def test_penalties_are_plain_loops_for_each_picture():
    images, norm = rand(3, 3, 5, 4), norm_of_three_channels()
    mean, variance = norm.running_mean.numpy(), norm.running_var.numpy()
    for image, variation, size, distance in zip(
        images.numpy(), total_variation(images), length(images), statistics_distance(norm, images), strict=True
    ):
        assert variation.item() == pytest.approx(variation_by_loops(image), rel=1e-9)
        assert size.item() == pytest.approx(math.sqrt(sum((value - 0.5) ** 2 for value in image.flat)), rel=1e-9)
        flat = image.reshape(3, -1)
        apart = np.linalg.norm(flat.mean(axis=1) - mean) + np.linalg.norm(flat.var(axis=1) - variance)
        assert distance.item() == pytest.approx(apart, rel=1e-9)


@pytest.mark.parametrize("penalty", ["total_variation", "length", "statistics_distance"])
def test_the_gradients_of_penalties_are_those_of_finite_differences(penalty):
    norm = norm_of_three_channels()
    score = {
        "total_variation": total_variation,
        "length": length,
        "statistics_distance": lambda images: statistics_distance(norm, images),
    }[penalty]
    images = rand(2, 3, 4, 3).requires_grad_(True)
    score(images).sum().backward()
    assert close(images.grad, slopes_by_differences(score, images.detach()), atol=1e-8)
    grey = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    score(grey).sum().backward()
    assert grey.grad.isfinite().all(), "the slope of a norm at zero is taken as none"


def test_the_prior_is_nothing_where_an_input_has_the_running_statistics():
    norm = norm_of_three_channels()
    values = rand(1, 3, 6, 6)
    values = (values - values.mean(dim=(2, 3), keepdim=True)) / values.std(dim=(2, 3), keepdim=True, unbiased=False)
    mean, deviation = norm.running_mean.view(1, 3, 1, 1), norm.running_var.sqrt().view(1, 3, 1, 1)
    distances = statistics_distance(norm, torch.cat([values * deviation + mean, values]))
    assert distances[0] == pytest.approx(0, abs=3e-6) and distances[1] > 0.5


def test_the_prior_sums_all_batch_norms_and_counts_the_first_ten_times(resnet):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    heard = []
    norms = [module for module in resnet.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [
        norm.register_forward_pre_hook(lambda norm, given: heard.append((norm, given[0].clone()))) for norm in norms
    ]
    resnet(images)
    for hook in hooks:
        hook.remove()
    expected = np.zeros(2)
    for place, (norm, given) in enumerate(heard):
        flat = given.flatten(2).double().numpy()
        mean = np.linalg.norm(flat.mean(axis=2) - norm.running_mean.double().numpy(), axis=1)
        variance = np.linalg.norm(flat.var(axis=2) - norm.running_var.double().numpy(), axis=1)
        expected += (mean + variance) * (10 if place == 0 else 1)
    assert len(norm_layers(resnet)) == len(norms) == len(heard) > 3
    assert close(Watched(resnet, statistics=True)(images).statistics, expected, atol=1e-4 * expected.max())


def test_layers_are_found_by_name_or_depth(resnet):
    stages = [stage["module"] for stage in resnet.feature_info]
    assert [find_layer(resnet, depth) for depth in ("0%", "100%")] == [stages[0], stages[-1]]
    middle = 0.5 * (len(stages) - 1)
    assert find_layer(resnet, "50%") in {stages[math.floor(middle)], stages[math.ceil(middle)]}
    assert find_layer(resnet, "layer1.0.conv1") == "layer1.0.conv1"
    with pytest.raises(StudyError, match=r"objective: the model has no layer 'layer1.0.conv9'; did you mean 'layer1\."):
        find_layer(resnet, "layer1.0.conv9")
    for depth in ("101%", "-1%", "half%", "%", "nan%"):
        with pytest.raises(StudyError, match=f"objective: '{depth}' is no depth; it must be 0% to 100%"):
            find_layer(resnet, depth)
    with pytest.raises(StudyError, match="objective: timm lists no stages of this model, so '50%' means nothing"):
        find_layer(nn.Sequential(nn.ReLU()), "50%")


def calls_of(network: nn.Sequential, names: list[str], logits: bool, images: torch.Tensor) -> tuple[Seen, list[int]]:
    """Return what is seen, and how often each module was done."""
    calls = [0] * len(network)

    def count(place: int):
        def hook(*_):
            calls[place] += 1

        return hook

    hooks = [module.register_forward_pre_hook(count(place)) for place, module in enumerate(network)]
    seen = Watched(network, names, logits)(images)
    for hook in hooks:
        hook.remove()
    return seen, calls


@pytest.mark.parametrize("logits", [False, True], ids=["layers alone", "with logits"])
@pytest.mark.parametrize("names", [["0"], ["2"], ["0", "2"], ["2", "0"]], ids="+".join)
def test_layers_are_seen_as_they_were_and_nothing_runs_beyond_the_last(chain, names, logits):
    images = rand(2, 3, 8, 8)
    first = nn.functional.conv2d(images, chain[0].weight, chain[0].bias)
    second = nn.functional.conv2d(first.clamp(min=0), chain[2].weight, chain[2].bias)
    seen, calls = calls_of(chain, names, logits, images)
    assert calls == ([1] * 6 if logits else [1] * (1 + max(map(int, names))) + [0] * (5 - max(map(int, names))))
    for name in names:
        assert close(seen.layers[name], {"0": first, "2": second}[name]), name
    expected = nn.functional.linear(second.clamp(min=0).flatten(1), chain[5].weight, chain[5].bias)
    assert close(seen.logits, expected) if logits else seen.logits is None


def test_no_hook_stays_on_the_model_even_after_an_error(resnet):
    def left() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in resnet.modules())

    assert left() == 0
    for logits in (True, False):
        watched = Watched(resnet, ["layer1", "layer2"], logits, statistics=logits)
        watched(torch.rand(1, 3, 32, 32))
        assert left() == 0
        with pytest.raises(RuntimeError):
            watched(torch.rand(1, 5, 32, 32))
        assert left() == 0


def test_a_prior_without_batch_norms_is_refused(chain):
    with pytest.raises(StudyError, match="batch_norm_prior: the model has no batch norm"):
        Watched(chain, statistics=True)


def test_a_rehearsal_tells_bytes_that_grow_with_the_pixels(resnet):
    small, large, huge = (rehearse(resnet, "logit", side) for side in (64, 128, 256))
    assert 3 < large / small < 5 and 3.5 < huge / large < 4.5
    assert rehearse(resnet, "layer_mean:layer1", 128) < large, "less is kept of a model that is stopped early"
    shallow = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64**2, 2)).requires_grad_(False)
    kept = 4 * 8 * 64**2  # the hyperbolic tangent keeps its output, and nothing else grows with the picture
    assert 2 * kept <= rehearse(shallow, "logit", 64) <= 4 * kept


def test_a_rehearsal_refuses_what_does_not_fit_the_model_in_one_sentence(resnet):
    for objective, sentence in {
        "channel:layer1:9999": "objective: 'layer1' has channels 0 to ",
        "neuron:layer1:0:99:0": "objective: the layer 'layer1' has ",
        "layer_mean:layer8": "objective: the model has no layer 'layer8'",
    }.items():
        with pytest.raises(StudyError, match=f"^{sentence}"):
            rehearse(resnet, objective, 32)
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    with pytest.raises(StudyError, match="the model does not take pictures of 16x16 pixels: "):
        rehearse(fixed, "logit", 16)
