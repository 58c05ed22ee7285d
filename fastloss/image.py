"""Image losses. Formulas: `kernels/filter.pxi`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_array, integer, number
from ._samples import SampleLoss, bad_shapes, thread_count
from ._typing import Array
from .kernels import _arrays, products

_MAX_THREADS = 256
_FEW_PIXELS = 16384  # take less time than it takes to start a thread


class ImageLoss(SampleLoss):
    """A loss of images, (y_true, y_pred): one value an image, the mean over its channels.

    Each channel is compared alone, in windows along both axes with the weights of a Gaussian, which sum to 1. Only
    whole windows count: (H - window + 1)·(W - window + 1) of a channel. Everything is computed in float64, a channel
    at a time; one that does not lie in memory row by row in float64 is copied. A NaN or an infinity anywhere in an
    image makes its loss and its gradient NaN.
    """

    __slots__ = ()

    def _comparison(self) -> tuple[tuple[float, ...], float]:
        """The sigmas of the windows, growing, and the weight of similarity beside that of absolute differences."""
        raise NotImplementedError

    def _check(self, arrays: list[np.ndarray]) -> int:
        y, z = arrays
        rule = f"must be (n, H, W) or (n, c, H, W), with at least one channel, and H and W >= {self.window} (window)"
        if y.shape != z.shape:
            bad_shapes(self.inputs_of_call, arrays, f"they must be equal, and {rule}")
        if z.ndim not in (3, 4) or z.shape[1] == 0 or min(z.shape[-2:]) < self.window:
            bad_shapes(self.inputs_of_call, arrays, f"images {rule}")
        return len(z)

    def _compute(self, arrays: list[np.ndarray], scale: NDArray[np.float64], losses: NDArray[np.float64] | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        y, z, *outs = ((array if array.ndim == 4 else array[:, None]) for array in (*arrays, *(gradients or ())))
        n, channels, rows, columns = z.shape
        sigmas, alpha = self._comparison()
        taps = np.stack([_gaussian(sigma, self.window) for sigma in sigmas])
        # The mean over windows of the absolute differences that the last one sees is a weighted mean of them all.
        down, across = (np.convolve(np.full(size - self.window + 1, 1 / (size - self.window + 1)), taps[-1])
                        for size in (rows, columns))
        kernel = products.image
        values = np.empty((n, channels))

        def compare(part: Sequence[tuple[int, ...]]) -> None:
            buffers = np.empty((2, rows, columns))
            with np.errstate(all="ignore"):  # of this thread
                for i, c in part:
                    true, pred = map(_readable, (y[i, c], z[i, c]), buffers)
                    gradient = outs[0][i, c] if outs else None
                    in_place = gradient is None or _is_readable(gradient)
                    values[i, c] = _arrays.compare_images(kernel, true, pred, taps, down, across, alpha,
                                                          self.data_range, scale[i] / channels,
                                                          gradient if in_place else buffers[1])
                    if gradient is not None and not in_place:
                        gradient[...] = buffers[1]

        planes = list(np.ndindex(n, channels))
        few = n_threads is None and z.size < _FEW_PIXELS
        threads = min(1 if few else thread_count(n_threads), len(planes), _MAX_THREADS)
        if threads < 2:
            compare(planes)
        else:
            from concurrent.futures import ThreadPoolExecutor  # takes 5 ms to import, of 50

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(compare, (planes[first::threads] for first in range(threads))))
        means = values.mean(axis=1)
        if losses is not None:
            losses[:] = means
        for out in outs:
            out[np.isnan(means)] = np.nan


def _gaussian(sigma: float, window: int) -> NDArray[np.float64]:
    """Weights along an axis, which sum to 1. What a sum would not show is 0."""
    weights = np.exp(-0.5 * ((np.arange(window) - window // 2) / sigma)**2)
    weights[weights < 1e-20] = 0
    return weights / weights.sum()


def _is_readable(plane: np.ndarray) -> bool:
    return plane.dtype == np.float64 and plane.flags.c_contiguous


def _readable(plane: np.ndarray, buffer: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane as the kernel reads it: itself, or copied to the buffer."""
    if _is_readable(plane):
        return plane
    np.copyto(buffer, plane)
    return buffer


def _window(window: int) -> int:
    if integer("window", window) < 3 or window % 2 == 0:
        raise ValueError(f"window must be odd and >= 3, got {window}")
    return int(window)


class SSIM(ImageLoss):
    """Structural similarity: 1 - SSIM, of images and what restores them.

    y_true and y_pred are images of one shape, (n, H, W) or (n, c, H, W), with H and W at least the window. What
    surrounds a pixel, weighed by a Gaussian, is compared by mean, variance and covariance. The loss is 1 less the mean
    over whole windows and channels, one value an image, and keeps its digits where images are nearly equal. It is
    computed in float64 also where images are float32. A NaN or an infinity anywhere in an image makes its loss and
    gradient NaN.

    Parameters
    ----------
    window : odd int >= 3, default 11
        Pixels along each axis.
    sigma : float > 0, default 1.5
        Standard deviation of the Gaussian, in pixels.
    data_range : float > 0, default 1.0
        The distance between the smallest and the greatest value that a pixel may have; 255 for 8 bits. The loss does
        not depend on the unit of images and range.

    Notes
    -----
    :Formula: 1 - mean of (2μ_y·μ_z + C1)·(2σ_yz + C2)/((μ_y² + μ_z² + C1)·(σ_y² + σ_z² + C2)), with C1 =
        (0.01·data_range)² and C2 = (0.03·data_range)²
    :Range: [0, 2]
    :Gradient: the adjoint of the window applied to the derivatives by μ_z, σ_z² and σ_yz
    :Activation: identity, or a sigmoid for pixels in [0, 1]
    :Good at: structure and contrast, as people see them, rather than single pixels
    :Bad at: exact brightness and colour, to which it is blind in part; flat areas, where noise counts much; not convex
    :Use: image restoration, mostly beside a loss of pixels
    :Other names: DSSIM and Kornia ``SSIMLoss`` (half of it); scikit-image ``structural_similarity``, TensorFlow
        ``tf.image.ssim`` and pytorch-msssim ``SSIM`` (1 less it)

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, *Image quality assessment: from error visibility to
    structural similarity*, 2004.

    Examples
    --------
    >>> import fastloss as fl, numpy as np
    >>> image = np.linspace(0.0, 1.0, 256).reshape(1, 16, 16)
    >>> loss, gradient = fl.SSIM().loss_gradient(image, 0.9 * image)
    >>> round(loss, 6), gradient.shape
    (0.010726, (1, 16, 16))
    """

    __slots__ = ()
    aliases = ("structural_similarity",)

    def __init__(self, window: int = 11, sigma: float = 1.5, data_range: float = 1.0) -> None:
        self._set({"window": _window(window), "sigma": number("sigma", sigma, above=0),
                   "data_range": number("data_range", data_range, above=0)})

    def _comparison(self) -> tuple[tuple[float, ...], float]:
        return (self.sigma,), 1.0


class MSSSIM_L1(ImageLoss):
    """Multi-scale structural similarity, mixed with absolute differences that a Gaussian weighs.

    y_true and y_pred are images of one shape, (n, H, W) or (n, c, H, W), with H and W at least the window. Scales are
    Gaussians of growing sigma at full resolution, all within the same window, instead of a pyramid of images. At a
    pixel, MS-SSIM is the luminance l of the largest scale times the contrast and structure cs of all, and G∗|z - y| is
    the mean of absolute differences with the weights of the largest scale. There is one value an image, the mean over
    whole windows and channels. Absolute differences count in units of data_range, so that the loss does not depend on
    the unit of images and range. It is computed in float64 also where images are float32. A NaN or an infinity anywhere
    in an image makes its loss and gradient NaN.

    Parameters
    ----------
    alpha : float in [0, 1], default 0.84
        The weight of 1 - MS-SSIM; that of absolute differences is 1 - alpha.
    data_range : float > 0, default 1.0
        The distance between the smallest and the greatest value that a pixel may have; 255 for 8 bits.
    sigmas : sequence of float > 0, default (0.5, 1, 2, 4, 8)
        Standard deviations of the Gaussians, in pixels, growing.
    window : odd int >= 3, default 33
        Pixels along each axis, of all scales.

    Notes
    -----
    :Formula: mean of alpha·(1 - l_M·Π_j cs_j) + (1 - alpha)·G∗|z - y|/data_range, with l = (2μ_y·μ_z + C1)/(μ_y² + μ_z²
        + C1), cs = (2σ_yz + C2)/(σ_y² + σ_z² + C2), C1 = (0.01·data_range)² and C2 = (0.03·data_range)²
    :Range: [0, inf)
    :Gradient: by the adjoint of the windows; of |z - y| its sign, 0 at z = y
    :Activation: identity, or a sigmoid for pixels in [0, 1]
    :Good at: details and structure of all sizes, with the brightness and colour that SSIM alone loses
    :Bad at: speed, with five large windows a pixel; small images; not convex
    :Use: image restoration: super-resolution, denoising, demosaicking
    :Other names: Mix, MS-SSIM-ℓ1; Kornia ``MS_SSIMLoss``, which multiplies it by 200

    References
    ----------
    H. Zhao, O. Gallo, I. Frosio and J. Kautz, *Loss functions for image restoration with neural networks*, 2017.

    Z. Wang, E. P. Simoncelli and A. C. Bovik, *Multiscale structural similarity for image quality assessment*, 2003.

    Examples
    --------
    >>> import fastloss as fl, numpy as np
    >>> image = np.linspace(0.0, 1.0, 1600).reshape(1, 40, 40)
    >>> loss, gradient = fl.MSSSIM_L1().loss_gradient(image, 0.9 * image)
    >>> round(loss, 6), gradient.shape
    (0.028866, (1, 40, 40))
    """

    __slots__ = ()
    aliases = ("ms_ssim_l1",)

    def __init__(self, alpha: float = 0.84, data_range: float = 1.0, sigmas: ArrayLike = (0.5, 1, 2, 4, 8),
                 window: int = 33) -> None:
        widths: list[Any] = as_array(sigmas, "sigmas").tolist()
        if not isinstance(widths, list) or not widths:
            raise ValueError(f"sigmas must be a sequence of at least one number, got {sigmas!r}")
        scales = tuple(number(f"sigmas[{j}]", width, above=0) for j, width in enumerate(widths))
        for j in range(1, len(scales)):
            if scales[j] <= scales[j - 1]:
                raise ValueError(f"sigmas[{j}] is {scales[j]}: it must be > {scales[j - 1]}, the one before")
        self._set({"alpha": number("alpha", alpha, at_least=0, at_most=1),
                   "data_range": number("data_range", data_range, above=0), "sigmas": scales,
                   "window": _window(window)})

    def _comparison(self) -> tuple[tuple[float, ...], float]:
        return self.sigmas, self.alpha
