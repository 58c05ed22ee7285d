"""Image losses as torch computes them: windows are Gaussians, applied by convolutions along both axes in turn."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

from .arrays import ArrayCase
from .cases import Array


def photos(rng: np.random.Generator, dtype: str, *, n: int) -> list[Array]:
    """Smooth images of three channels, and what a half-trained model makes of them."""
    smooth = rng.random((n, 3, 256, 256)).cumsum(axis=2).cumsum(axis=3)
    y = (smooth - smooth.min()) / np.ptp(smooth)
    return [y.astype(dtype), (y + rng.normal(0.0, 0.1, y.shape)).astype(dtype)]


def filtered(torch: Any, images: Any, sigma: float, window: int) -> Any:
    """Gaussian means of each channel, of whole windows."""
    places = torch.arange(window, dtype=images.dtype) - window // 2
    taps = torch.exp(-0.5 * (places / sigma) ** 2)
    taps = (taps / taps.sum()).expand(images.shape[1], 1, 1, window)
    convolve = partial(torch.nn.functional.conv2d, groups=images.shape[1])
    return convolve(convolve(images, taps), taps.transpose(2, 3))


def similarity(torch: Any, y: Any, z: Any, sigma: float, window: int) -> tuple[Any, Any]:
    """l and cs of each window."""
    apply = partial(filtered, torch, sigma=sigma, window=window)
    mean_y, mean_z = apply(y), apply(z)
    luminance = (2 * mean_y * mean_z + 1e-4) / (mean_y**2 + mean_z**2 + 1e-4)
    structure = (2 * (apply(y * z) - mean_y * mean_z) + 9e-4) / (
        apply(y * y) - mean_y**2 + apply(z * z) - mean_z**2 + 9e-4)
    return luminance, structure


def ssim(torch: Any, y: Any, z: Any) -> Any:
    luminance, structure = similarity(torch, y, z, 1.5, 11)
    return 1 - (luminance * structure).mean()


def msssim_l1(torch: Any, y: Any, z: Any) -> Any:
    product = 1.0
    for sigma in (0.5, 1.0, 2.0, 4.0, 8.0):
        luminance, structure = similarity(torch, y, z, sigma, 33)
        product = product * structure
    return 0.84 * (1 - (luminance * product).mean()) + 0.16 * filtered(torch, (z - y).abs(), 8.0, 33).mean()


ARRAY_CASES = [
    ArrayCase("ssim", fl.SSIM(), partial(photos, n=8), ssim, tolerance=1e-10),
    ArrayCase("msssim_l1", fl.MSSSIM_L1(), partial(photos, n=2), msssim_l1, tolerance=1e-10, dtypes=("float32",)),
]
