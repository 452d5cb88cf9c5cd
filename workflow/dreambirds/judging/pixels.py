"""What pictures themselves tell, without a network: how rough they are, and how their detail is spread over sizes."""

import numpy as np

ROUNDING = 1 / 12 / 255**2  # variance that rounding to 8 bits adds to a pixel; less power than that is not seen


def total_variation(picture: np.ndarray) -> float:
    """Return the mean absolute difference between neighbours, across and down, of a picture (H, W, 3) in [0, 1].

    0 is constant, 1/3 is what independent uniform noise comes to on average.
    """
    across, down = np.abs(np.diff(picture, axis=1)), np.abs(np.diff(picture, axis=0))
    return float((across.sum() + down.sum()) / (across.size + down.size))


def radial_spectrum(picture: np.ndarray) -> np.ndarray:
    """Return the logarithm (base 10) of the power of a picture (H, W, 3) in [0, 1], one value a spatial frequency.

    Value k - 1 is the mean power, over all directions and the three colours, of k cycles a shorter side, for k from 1
    to half of the shorter side. A picture loses its mean and is faded out at its edges (Hann), which would else count
    as detail; 1 is the power of white noise of unit variance.
    """
    height, width = picture.shape[:2]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    faded = (picture - picture.mean(axis=(0, 1))) * window
    power = (np.abs(np.fft.fft2(faded, axes=(0, 1))) ** 2).mean(axis=2) / (window**2).sum()
    side = min(height, width)
    ring = np.rint(side * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))).astype(int)
    sums, counts = (np.bincount(ring.ravel(), weights)[1 : side // 2 + 1] for weights in (power.ravel(), None))
    return np.log10(sums / counts + ROUNDING)


def spectrum_distance(spectrum: np.ndarray, real: np.ndarray) -> float:
    """Return how far a radial spectrum lies from another, as the root mean square over frequencies, in decades."""
    return float(np.sqrt(np.mean((spectrum - real) ** 2)))
