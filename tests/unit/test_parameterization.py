"""Parameterizations and start images, compared with plain numpy."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dreambirds.dream_job.context import read_start
from dreambirds.dreaming.parameterization import (
    Fourier,
    Maco,
    Pixels,
    color_matrix,
    from_pixels,
    make_parameterization,
    mean_spectrum,
    to_pixels,
)
from dreambirds.dreaming.starts import Start, Starts
from dreambirds.errors import UserError
from dreambirds.seeding import generator
from tests.helpers.small import blur_by_hand, streams

# Lucid's, from lucid/optvis/param/color.py: the first column has the largest norm
LUCID = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]) / math.sqrt(0.26**2 + 2 * 0.27**2)
SIZES = [(5, 4), (4, 5), (6, 6), (3, 7)]


def close(got, expected, atol: float = 1e-9) -> bool:
    """Return whether two arrays agree within an absolute tolerance."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """Return float64 numbers from `low` to `high`."""
    return low + (high - low) * torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def randn(*shape: int) -> torch.Tensor:
    """Return normal float64 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def colors_of(image: np.ndarray) -> np.ndarray:
    """Return the decorrelated colors of an image (3, H, W)."""
    return np.einsum("ij,jhw->ihw", np.linalg.inv(LUCID), np.log(image / (1 - image)))


def pixels_of(colors: np.ndarray) -> np.ndarray:
    """Return the image of decorrelated colors (3, H, W)."""
    return 1 / (1 + np.exp(-np.einsum("ij,jhw->ihw", LUCID, colors)))


def cosines(spectrum: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the real image (3, H, W) of a half spectrum (3, H, W // 2 + 1), as a sum of cosines."""
    down, across = np.arange(height)[:, None], np.arange(width)[None]
    total = np.zeros((3, height, width))
    for c, v, u in np.ndindex(*spectrum.shape):
        twice = 1 if u == 0 or 2 * u == width else 2
        angle = 2 * np.pi * (v * down / height + u * across / width) + np.angle(spectrum[c, v, u])
        total[c] += twice * abs(spectrum[c, v, u]) * np.cos(angle) / math.sqrt(height * width)
    return total


def test_the_color_matrix_is_lucid_s():
    assert close(color_matrix(torch.float64), LUCID, atol=1e-12)
    assert np.linalg.norm(color_matrix(torch.float64).numpy(), axis=0).max() == pytest.approx(1)
    # as in Horama, transposed
    assert close(LUCID[:, 0], [0.56282854, 0.58447580, 0.58447580], atol=1e-7)


def test_pixels_are_the_sigmoid_of_correlated_colors_and_back():
    colors = randn(2, 3, 4, 5)
    images = to_pixels(colors)
    for image, given in zip(images.numpy(), colors.numpy(), strict=True):
        assert close(image, pixels_of(given), atol=1e-12)
    assert close(from_pixels(images), colors)
    edge = from_pixels(torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 1, 1, 2).expand(1, 3, 1, 2))
    limit = colors_of(np.broadcast_to([1 / 512, 511 / 512], (3, 1, 2)))
    assert close(edge[0], limit), "black and white are clamped to 1/512 from the edge"


@pytest.mark.parametrize("height, width", SIZES)
def test_decoding_inverts_encoding(height, width):
    images = rand(2, 3, height, width, low=0.05, high=0.95)
    for space in (Pixels(), Fourier(height, width)):
        parameters = space.encode(images)
        assert close(space.decode(parameters), images, atol=1e-5)
    assert parameters.shape == (2, 3, height, width // 2 + 1, 2)
    ends = Fourier(height, width).decode(Fourier(height, width).encode(images.round()))
    assert close(ends, images.round(), atol=1 / 500), "values near 0 and 1 are within 1/512"


@pytest.mark.parametrize("height, width", SIZES)
def test_fourier_coefficients_are_cosines_divided_by_their_frequencies(height, width):
    parameters = randn(1, 3, height, width // 2 + 1, 2)
    spectrum = parameters[0, ..., 0].numpy() + 1j * parameters[0, ..., 1].numpy()
    for v, u in np.ndindex(*spectrum.shape[1:]):
        frequency = math.hypot(min(v, height - v) / height, u / width)
        spectrum[:, v, u] /= 4 * max(frequency, 1 / max(height, width))
    # a real image contains the even part of the columns that are symmetric to themselves
    expected = pixels_of(cosines(spectrum, height, width))
    assert close(Fourier(height, width).decode(parameters)[0], expected, atol=1e-6)


def standardized(phases: np.ndarray) -> np.ndarray:
    """Return phases (3, H, W // 2 + 1) with the standard deviation of uniform angles."""
    return (phases - phases.mean()) / phases.std(ddof=1) * math.pi / math.sqrt(3)


@pytest.mark.parametrize("height, width", SIZES)
def test_phases_are_those_of_cosines_with_the_given_magnitudes(height, width):
    magnitudes, parameters = rand(3, height, width // 2 + 1), 3 + 7 * randn(2, 3, height, width // 2 + 1)
    images = Maco(height, width, magnitudes).decode(parameters).numpy()
    inner = slice(1, (width + 1) // 2)  # columns that are not symmetric to themselves
    for image, phases in zip(images, parameters.numpy(), strict=True):
        expected = magnitudes.numpy() * np.exp(1j * standardized(phases))
        assert close(image, pixels_of(cosines(expected, height, width)))
        got = np.fft.rfft2(colors_of(image), norm="ortho")
        assert close(np.abs(got[..., inner]), magnitudes.numpy()[..., inner])
        assert close(got[..., inner], expected[..., inner])
    other = Maco(height, width, magnitudes).decode(5 + 0.01 * parameters).numpy()
    assert close(other, images), "the phases' mean and scale do not matter"


def test_phases_of_an_image_reproduce_it_and_another_size_is_refused():
    image = rand(1, 3, 16, 12, low=0.1, high=0.9)
    spectrum = np.fft.rfft2(colors_of(image[0].numpy()), norm="ortho")
    space = make_parameterization("maco", (16, 12), torch.from_numpy(np.abs(spectrum)))
    assert close(space.encode(image)[0], np.angle(spectrum))
    back = space.decode(space.encode(image))
    assert np.corrcoef(back.flatten(), image.flatten())[0, 1] > 0.9, "up to standardization"
    for shape in ((3, 16, 6), (3, 8, 7), (1, 16, 7), (3, 12, 9)):
        with pytest.raises(ValueError, match=r"a spectrum of shape .* does not fit images of 16x12"):
            make_parameterization("maco", (16, 12), torch.ones(shape))
    assert isinstance(make_parameterization("pixels", (16, 16)), Pixels) and isinstance(
        make_parameterization("fourier", (16, 16)), Fourier
    )


def test_the_mean_spectrum_is_numpy_s():
    images = rand(5, 3, 6, 5, low=0.05, high=0.95)
    expected = np.mean([np.abs(np.fft.rfft2(colors_of(image), norm="ortho")) for image in images.numpy()], axis=0)
    assert close(mean_spectrum([images[:2], images[2:]]), expected)
    with pytest.raises(ValueError, match="a mean spectrum needs at least one image"):
        mean_spectrum([])


@pytest.mark.parametrize("kind", ["fourier", "maco"])
def test_gradients_flow_to_the_parameters_and_are_correct(kind):
    space = make_parameterization(kind, (4, 4), rand(3, 4, 3))
    shape = (1, 3, 4, 3, 2) if kind == "fourier" else (1, 3, 4, 3)
    weights, parameters = randn(1, 3, 4, 4), randn(*shape).requires_grad_(True)
    (space.decode(parameters) * weights).sum().backward()
    for index in ((0, 0, 1, 1, 0)[: len(shape)], (0, 2, 3, 1, 1)[: len(shape)], (0, 1, 0, 0, 0)[: len(shape)]):
        up, down = parameters.detach().clone(), parameters.detach().clone()
        up[index] += 1e-5
        down[index] -= 1e-5
        slope = ((space.decode(up) - space.decode(down)) * weights).sum().item() / 2e-5
        assert parameters.grad[index].item() == pytest.approx(slope, abs=1e-8)
        assert abs(slope) > 1e-4


@pytest.fixture
def photographs(tmp_path):
    """Return the files of a lime and a red image, and an empty file."""
    for color in ("lime", "red"):
        Image.new("RGB", (20, 10), color).save(tmp_path / f"{color}.png")
    (tmp_path / "empty.png").touch()
    return [tmp_path / name for name in ("lime.png", "red.png", "empty.png")]


KINDS = ("gray", "color", "noise", "spectral_noise", "gradient", "photograph", "class_mean")


@pytest.mark.parametrize("shape", [(8, 8), (6, 9)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_start_images_come_from_a_data_loader_with_their_index(kind, shape, photographs):
    given = [torch.full((3, *shape), 0.25), torch.full((3, *shape), 0.75)]
    if kind == "photograph":
        given = [read_start(path, shape) for path in photographs[:2]]
    start = Start(kind, images=given)
    images, indices = next(iter(DataLoader(Starts(start, shape, streams("ab")), 2)))
    assert images.shape == (2, 3, *shape) and images.dtype == torch.float32 and indices.tolist() == [0, 1]
    assert images.min() >= 0 and images.max() <= 1
    alone = Starts(Start(kind, images=given[1:]), shape, streams("b"))[0][0]
    assert torch.equal(images[1], alone), "a start image does not depend on its batch"
    assert torch.equal(images[0], images[1]) == (kind in ("gray", "color", "gradient"))
    other = Starts(Start(kind, images=given[1:]), shape, [generator(1, "b")])[0][0]
    assert torch.equal(other, alone) == ("noise" not in kind)


def test_plain_start_images_have_the_documented_values():
    assert torch.all(Starts(Start(), (4, 4), streams("a"))[0][0] == 128 / 255)
    color = Starts(Start("color", color="#0180fE"), (4, 4), streams("a"))[0][0]
    assert (color * 255).round().flatten(1).unique(dim=1)[:, 0].tolist() == [1, 128, 254]
    assert close(color[:, 0, 0] * 255, torch.tensor([1.0, 128.0, 254.0]), atol=1e-4)
    red, green, blue = Starts(Start("gradient"), (8, 5), streams("a"))[0][0]
    assert (red.diff(dim=1) > 0).all() and (green.diff(dim=0) > 0).all() and (blue.diff(dim=1) < 0).all()
    assert red.diff(dim=0).abs().max() == green.diff(dim=1).abs().max() == blue.diff(dim=0).abs().max() == 0
    ends = [red[0, 0], red[0, -1], green[0, 0], green[-1, 0], blue[0, 0], blue[0, -1]]
    assert [end.item() for end in ends] == pytest.approx([0.2, 0.8, 0.2, 0.8, 0.8, 0.2]), "over the full width"
    noise = Starts(Start("noise", noise=0.05), (64, 64), streams("a"))[0][0]
    assert noise.mean().item() == pytest.approx(0.5, abs=0.003) and noise.std().item() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("shape", [(64, 64), (48, 84)], ids=str)
def test_spectral_noise_is_lucid_s_start_image(shape):
    image = Starts(Start("spectral_noise"), shape, streams("a"))[0][0]
    coefficients = Fourier(*shape).encode(image[None].double())
    own = coefficients[0, :, :, 1:-1]
    assert own.std().item() == pytest.approx(0.01, rel=0.03) and own.mean().item() == pytest.approx(0, abs=3e-4)
    assert image.mean().item() == pytest.approx(0.5, abs=0.02)
    spectrum = np.abs(np.fft.rfft2(colors_of(image.double().numpy()), norm="ortho"))
    assert spectrum[:, 1:4, 1:4].mean() > 5 * spectrum[:, 16:32, 16:32].mean(), "low frequencies dominate"


def test_each_dream_starts_from_its_photograph_and_a_broken_one_is_named(photographs):
    images = [read_start(path, (8, 8)) for path in photographs[:2]]
    given = Starts(Start("photograph", images=images), (8, 8), streams("ab"))
    assert [given[index][0].mean(dim=(1, 2)).tolist() for index in range(2)] == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(
        UserError, match=r"^cannot read '.*empty\.png' \(the file is empty\); replace it, or set another path$"
    ):
        read_start(photographs[2], (8, 8))


def test_a_start_photograph_fills_the_image_and_keeps_its_aspect_ratio(tmp_path):
    flag = np.repeat(255 * np.eye(3, dtype=np.uint8), 30, axis=0)[None].repeat(60, axis=0)  # red, lime and blue columns
    Image.fromarray(flag).save(tmp_path / "flag.png")
    tall, wide, full = (read_start(tmp_path / "flag.png", shape) for shape in ((50, 15), (40, 60), (60, 90)))
    assert tall.argmax(dim=0).unique().tolist() == [1], "a tall image contains only the middle column"
    assert [wide[:, 20, column].argmax().item() for column in (4, 30, 55)] == [0, 1, 2]
    assert close(full, np.moveaxis(flag, -1, 0) / 255, atol=1e-6)


def test_a_start_photograph_can_be_blurred(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    start = Start("photograph", blur_sigma=1.0, images=[read_start(tmp_path / "a.png", (16, 16))])
    image = Starts(start, (16, 16), streams("a"))[0][0]
    expected = blur_by_hand(pixels.transpose(2, 0, 1) / 255, 1.0, 4)
    assert close(image, expected, atol=1e-6)
