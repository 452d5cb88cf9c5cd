"""A small network and recipes of every type, for the tests of dreams."""

import numpy as np
import torch
from torch import nn

from dreambirds.dreaming.dream import DreamResult, dream
from dreambirds.dreaming.recipe import Recipe
from dreambirds.models.classifier import build
from dreambirds.seeding import generator

SIZE = 12
SQUARE, TALL = (SIZE, SIZE), (17, 11)
PLAIN = Recipe(steps=(1, 4, 6), step_size=0.05, gradient_normalization="std", blur_sigma=0.5, flip=0.5)
NEAR, TURNED = {"random": [0.9, 1.2]}, {"random": [-20, 20]}
RICH = Recipe(
    objective={"logit": 1.0, "cross_entropy": 0.5, "layer_l2:0": 0.5, "neuron:3:1": 0.3},
    **{"tv_weight": 0.01, "l2_weight": 0.01, "batch_norm_prior": 0.01, "steps": (1, 4, 9), "momentum": 0.3},
    **{"step_size": {"from": 0.06, "to": 0.02, "over": 5}, "gradient_clip": 0.5, "gradient_normalization": "l2"},
    **{"gradient_blur_sigma": {"random": [0.2, 1.0]}, "blur_sigma": {"from": 1.5, "to": 0.5, "over": 4}},
    **{"jitter": 1, "roll": 2, "flip": 0.5, "pad": 1, "scale": NEAR, "scale_width": NEAR, "rotate": TURNED},
    **{"noise": 0.02, "octaves": 2, "octave_scale": 1.5, "octave_steps": 3, "octave_mode": "detail", "tile": 7},
    **{"zoom": 1.1, "zoom_every": 2},
)
FOURIER = Recipe(
    parameterization="fourier",
    optimizer="adam",
    steps=(1, 4, 6),
    pad=2,
    jitter=2,
    scale=NEAR,
    rotate=TURNED,
    l2_weight=0.1,
)
MACO = Recipe(
    **{"parameterization": "maco", "optimizer": "nadam", "step_size": 1.0, "steps": (1, 4, 6), "noise": 0.05},
    **{"crops": 3, "crop_size": {"random": [0.4, 0.8]}, "crop_output_size": 10, "objective": "cross_entropy"},
)


def rand(*shape: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a small frozen network for images of any size, without symmetries."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    norm.running_mean[:], norm.running_var[:] = torch.linspace(-0.2, 0.3, 6), torch.linspace(0.5, 1.5, 6)
    layers = [nn.Conv2d(3, 6, 3, padding=1), norm, nn.Tanh(), nn.Conv2d(6, 4, 3, stride=2), nn.Tanh()]
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5)]
    return nn.Sequential(*layers, *head).to(dtype).eval().requires_grad_(False)


def streams(keys: str, seed: int = 0) -> list[torch.Generator]:
    """Return one generator per character."""
    return [generator(seed, key) for key in keys]


def run(
    model, recipe: Recipe, keys: str = "abc", seed: int = 0, shape: tuple[int, int] = SQUARE, **more
) -> DreamResult:
    """Dream of one class per character, its position in the alphabet, each from its own start image."""
    classes = ["abcde".index(key) for key in keys]
    starts = more.pop("starts", rand(5, 3, *shape))[classes]
    more = {"spectrum": 0.2 + rand(3, shape[0], shape[1] // 2 + 1), **more}
    return dream(model, torch.tensor(classes), starts, recipe, streams(keys, seed), **more)


def ramps(count: int, height: int, width: int) -> torch.Tensor:
    """Return images whose channels are the column and row, as fractions of the sides, and the image's index."""
    down, across = ((torch.arange(side, dtype=torch.float64) + 0.5) / side for side in (height, width))
    index = torch.arange(count).view(-1, 1, 1)
    return torch.stack(torch.broadcast_tensors(across, down[:, None], index), dim=1)


def close(got, expected, atol: float = 1e-12) -> bool:
    """Return whether two arrays agree within an absolute tolerance, and are NaN in the same places."""
    return np.allclose(got, expected, rtol=0, atol=atol, equal_nan=True)


def settled(classes: int = 3, name: str = "test_resnet", options: dict | None = None, shape=(32, 32)):
    """Return a classifier whose batch norms have running statistics of random data."""
    torch.manual_seed(0)
    classifier = build(name, classes, options or {})
    with torch.no_grad():
        for _ in range(3):
            classifier(torch.rand(4, 3, *shape))
    return classifier.eval()


def blur_by_hand(image: np.ndarray, sigma: float, reach: int) -> np.ndarray:
    """Blur (C, H, W) with a two-dimensional Gaussian and reflection padding, one pixel at a time."""
    if sigma < 0.05:
        return image
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    blurred = np.zeros_like(image)
    for c, y, x in np.ndindex(*image.shape):
        blurred[c, y, x] = (weights * padded[c, y : y + 2 * reach + 1, x : x + 2 * reach + 1]).sum()
    return blurred
