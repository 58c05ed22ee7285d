"""Image losses against torch and mpmath, and what the contract says of calls."""

import pickle
import tracemalloc

import mpmath
import numpy as np
import pytest

import fastloss as fl

EPS = np.finfo(np.float64).eps
LOSSES = [
    fl.SSIM(),
    fl.SSIM(window=3, sigma=0.4, data_range=2.5),
    fl.SSIM(window=17, sigma=30.0),
    fl.MSSSIM_L1(),
    fl.MSSSIM_L1(alpha=0.3, data_range=0.5, sigmas=[0.7, 2.5], window=9),
    fl.MSSSIM_L1(alpha=0.0, window=5),
    fl.MSSSIM_L1(alpha=1.0, sigmas=(1.0, 1.5, 2.0), window=7),
]
SMALL = [fl.SSIM(window=3, sigma=0.8), fl.MSSSIM_L1(alpha=0.6, sigmas=(0.5, 1.0, 3.0), window=3)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
small_losses = pytest.mark.parametrize("loss", SMALL, ids=repr)


def images(shape, seed=0, dtype=np.float64):
    """An image in [0, 1], smooth with some noise, and a noisy one of it."""
    rng = np.random.default_rng(seed)
    smooth = np.sin(np.arange(np.prod(shape)) / 17.0).reshape(shape) / 3 + 0.5
    y = np.clip(smooth + 0.05 * rng.standard_normal(shape), 0, 1)
    return y.astype(dtype), np.clip(y + 0.1 * rng.standard_normal(shape), 0, 1).astype(dtype)


def sigmas_and_alpha(loss):
    return (loss.sigmas, loss.alpha) if isinstance(loss, fl.MSSSIM_L1) else ((loss.sigma,), 1.0)


# ---- values and gradients --------------------------------------------------------------------------------------------

def torch_losses(loss, y, z):
    """The loss of each image by the textbook's formula, in float64, with windows of two dimensions."""
    torch = pytest.importorskip("torch", reason="the reference is written in torch")
    sigmas, alpha = sigmas_and_alpha(loss)
    c1, c2 = (0.01 * loss.data_range)**2, (0.03 * loss.data_range)**2
    offset = torch.arange(loss.window, dtype=torch.float64) - loss.window // 2

    def filtered(x, sigma):
        gauss = torch.exp(-offset**2 / (2 * sigma**2))
        plane = torch.outer(gauss, gauss)
        return torch.nn.functional.conv2d(x.flatten(0, 1)[:, None], (plane / plane.sum())[None, None])

    similarity = 1.0
    for sigma in sigmas:
        my, mz = filtered(y, sigma), filtered(z, sigma)
        vy, vz = filtered(y * y, sigma) - my**2, filtered(z * z, sigma) - mz**2
        similarity = similarity * (2 * (filtered(y * z, sigma) - my * mz) + c2) / (vy + vz + c2)
    similarity = similarity * (2 * my * mz + c1) / (my**2 + mz**2 + c1)  # of the largest window
    differences = filtered((z - y).abs(), sigmas[-1]) / loss.data_range
    return (alpha * (1 - similarity) + (1 - alpha) * differences).reshape(*y.shape[:2], -1).mean((1, 2))


# Rows and columns: as small as the window, one more, and ones that are no multiple of what is worked on at a time.
@each_loss
@pytest.mark.parametrize("more", [(0, 0), (1, 0), (0, 1), (15, 40), (16, 31), (37, 70)])
def test_against_torch(loss, more):
    torch = pytest.importorskip("torch", reason="the reference is written in torch")
    y, z = images((3, 2, loss.window + more[0], loss.window + more[1]))
    leaf = torch.tensor(z, requires_grad=True)
    expected = torch_losses(loss, torch.tensor(y), leaf)
    expected.sum().backward()
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    gradients = leaf.grad.numpy()
    np.testing.assert_allclose(gradient, gradients, rtol=1e-12, atol=1e-12 * np.abs(gradients).max())


def exact(loss, y, z):
    """The loss of one plane, of mpf numbers, in mpmath's precision."""
    sigmas, alpha = sigmas_and_alpha(loss)
    k = loss.window
    c1, c2 = ((mpmath.mpf(c) * mpmath.mpf(loss.data_range))**2 for c in (0.01, 0.03))
    total, weights = 0, {}
    for sigma in sigmas:
        line = [mpmath.exp(-mpmath.mpf(i - k // 2)**2 / (2 * mpmath.mpf(sigma)**2)) for i in range(k)]
        weights[sigma] = np.outer(line, line) / sum(line)**2
    for i in range(y.shape[0] - k + 1):
        for j in range(y.shape[1] - k + 1):
            a, b = y[i:i + k, j:j + k], z[i:i + k, j:j + k]
            similarity = 1
            for sigma in sigmas:
                w = weights[sigma]
                ma, mb = (w * a).sum(), (w * b).sum()
                va, vb, covariance = ((w * p * q).sum() - m for p, q, m in (
                    (a, a, ma**2), (b, b, mb**2), (a, b, ma * mb)))
                similarity *= (2 * covariance + c2) / (va + vb + c2)
            similarity *= (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
            total += alpha * (1 - similarity) + (1 - mpmath.mpf(alpha)) * (w * abs(a - b)).sum() / loss.data_range
    return total / ((y.shape[0] - k + 1) * (y.shape[1] - k + 1))


@small_losses
@pytest.mark.parametrize("noise", [0.3, 1e-3, 1e-9, 1e-15])
def test_digits_of_nearly_equal_images(loss, noise):
    rng = np.random.default_rng(1)
    y = rng.random((6, 5))
    z = y + noise * rng.standard_normal(y.shape)
    value, gradient = loss.loss_gradient(y[None], z[None])
    to_mpf = np.vectorize(mpmath.mpf, otypes=[object])
    with mpmath.workdps(120):
        y, z = to_mpf(y), to_mpf(z)
        true = exact(loss, y, z)
        slopes = np.empty(z.shape)
        for index in np.ndindex(z.shape):
            moved = z.copy()
            moved[index] += mpmath.mpf(10)**-60
            slopes[index] = (exact(loss, y, moved) - true) * mpmath.mpf(10)**60
        # Each window's terms are positive, and good to some ulp; those of gradients are of both signs.
        assert abs(value - true) <= 8 * EPS * true
    np.testing.assert_allclose(gradient[0], slopes, rtol=0, atol=16 * EPS * np.abs(slopes).max())


@pytest.mark.parametrize("offsets", [(4096, 4096), (0, 4096), (4096, -4096)])
def test_great_means_cost_no_digits_of_the_variances(offsets):
    y, z = (np.round(image[0, :6, :6] * 2**20) / 2**20 + offset  # exact sums
            for image, offset in zip(images((1, 20, 30)), offsets, strict=True))
    loss = fl.SSIM(window=3)
    to_mpf = np.vectorize(mpmath.mpf, otypes=[object])
    with mpmath.workdps(40):
        true = exact(loss, to_mpf(y), to_mpf(z))
        assert abs(loss(y[None], z[None]) - true) <= 1e-13 * true


@each_loss
def test_equal_images(loss):
    y, _ = images((2, 3, 40, 50))
    value, gradient = loss.loss_gradient(y, y)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("shift", [0.25, -0.5])
def test_images_that_differ_by_a_constant_differ_in_luminance_alone(shift):
    y = np.full((1, 12, 12), 0.5)
    my, mz, c1 = 0.5, 0.5 + shift, 1e-4
    assert fl.SSIM()(y, y + shift) == pytest.approx(shift**2 / (my**2 + mz**2 + c1), rel=1e-13)


def test_a_negative_reaches_beyond_1():
    y = np.random.default_rng(0).random((1, 20, 20))
    assert 1.5 < fl.SSIM()(y, 1 - y) <= 2


def test_the_defaults_of_both():
    assert fl.MSSSIM_L1().get_params() == {"alpha": 0.84, "data_range": 1.0, "sigmas": (0.5, 1, 2, 4, 8), "window": 33}
    assert fl.SSIM().get_params() == {"window": 11, "sigma": 1.5, "data_range": 1.0}


# ---- numbers at the edges --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("power", [990, 400, -400, -1000])
@pytest.mark.parametrize("loss", [fl.SSIM(), fl.MSSSIM_L1(window=11)], ids=repr)
def test_the_unit_does_not_matter(loss, power):
    y, z = images((2, 20, 24))
    unit = 2.0**power
    scaled = type(loss)(**loss.get_params() | {"data_range": unit})
    value, gradient = loss.loss_gradient(y, z)
    assert scaled(y * unit, z * unit) == value
    np.testing.assert_array_equal(scaled.gradient(y * unit, z * unit), gradient / unit)


@pytest.mark.parametrize("loss", [fl.SSIM(), fl.MSSSIM_L1(window=11)], ids=repr)
def test_huge_float32(loss):
    y, z = images((1, 20, 24), dtype=np.float32)
    wide = type(loss)(**loss.get_params() | {"data_range": 2.0**127})
    value, gradient = wide.loss_gradient(y * np.float32(2)**127, z * np.float32(2)**127)
    assert value == loss(y, z)
    assert np.isfinite(gradient).all() and gradient.dtype == np.float32


@pytest.mark.parametrize("size", [1e3, 1e100, 1e160, 1.7e308])
def test_numbers_far_beyond_the_range(size):
    y, z = images((2, 20, 24))
    z[1] = y[1] = 0.5
    z[0, :, :12] = y[0, :, :12] = 0.25  # flat areas: variances of 0, but for rounding
    value, gradient = fl.SSIM().loss_gradient(size * y, size * z, reduction="none")
    assert 0 < value[0] <= 2
    assert value[1] == 0
    assert np.isfinite(gradient).all()
    smallest = fl.MSSSIM_L1(window=11, data_range=5e-324)
    assert smallest(size * y, size * z, sample_weight=[0, 1]) == 0
    assert smallest(size * y, size * z) == np.inf


@pytest.mark.parametrize("seed", range(40))
def test_variances_that_rounding_would_make_negative(seed):
    rng = np.random.default_rng(seed)
    flat = rng.random((3, 1, 1)) * np.ones((3, 6, 6))
    slight = 1e-11 * rng.random((6, 6))
    y, z = np.stack([flat[0], flat[1] + slight]), np.stack([flat[2], flat[1] - slight])  # and z + y of the second flat
    y[:, 0, 0], z[:, 0, 0] = 0.1, 0.9
    for size in (1, 1e160):
        value, gradient = fl.SSIM(window=3).loss_gradient(size * y, size * z, reduction="none")
        assert (value > 0).all() and (value <= 2).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [fl.SSIM(), fl.MSSSIM_L1(window=11)], ids=repr)
def test_tiny_differences_leave_a_gradient(loss):
    y, _ = images((1, 20, 24))
    y[0, 0, 0] = 0
    z = y.copy()
    z[0, 0, 0] = 1e-290
    gradient = loss.gradient(y, z)
    larger = z.copy()
    larger[0, 0, 0] = 1e-20
    if isinstance(loss, fl.SSIM):  # linear so near to equality
        np.testing.assert_allclose(gradient * 1e270, loss.gradient(y, larger), rtol=1e-9, atol=1e-24)
    assert gradient[0, 0, 0] > 0


def test_the_sign_of_a_difference_beside_great_ones():
    y, z = images((1, 20, 24))
    z[0, 10, 10] = y[0, 10, 10] + np.spacing(y[0, 10, 10])
    z[0, 10, 11] = y[0, 10, 11]
    z[0, 10, 12] = y[0, 10, 12] - np.spacing(y[0, 10, 12])
    gradient = fl.MSSSIM_L1(alpha=0, window=11).gradient(y, z)[0, 10]
    assert gradient[10] > 0 and gradient[11] == 0 and gradient[12] < 0
    assert gradient[10] == pytest.approx(-gradient[12], rel=0.1)


@each_loss
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["y", "z", "both"])
def test_nan_and_infinity_spoil_their_image_alone(loss, bad, which):
    y, z = images((3, 2, 36, 40))
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    if which != "z":
        y[1, 0, 35, 3] = bad
    if which != "y":
        z[1, 0, 35, 3] = bad
    spoilt, slopes = loss.loss_gradient(y, z, reduction="none")
    assert np.isnan(spoilt[1]) and np.isnan(slopes[1]).all()
    np.testing.assert_array_equal(spoilt[[0, 2]], value[[0, 2]])
    np.testing.assert_array_equal(slopes[[0, 2]], gradient[[0, 2]])
    assert np.isnan(loss(y, z))
    assert np.isfinite(loss(y, z, sample_weight=[1, 0, 2]))
    assert not loss.gradient(y, z, sample_weight=[1, 0, 2])[1].any()


# ---- the contract ----------------------------------------------------------------------------------------------------

@small_losses
def test_reductions_and_weights(loss):
    y, z = images((4, 2, 9, 8))
    weight = np.array([2.0, 0.0, -0.5, 1.0])
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    assert value.shape == (4,) and gradient.shape == z.shape
    np.testing.assert_allclose(loss(y, z), value.mean(), rtol=4 * EPS)
    np.testing.assert_allclose(loss(y, z, reduction="sum"), value.sum(), rtol=4 * EPS)
    np.testing.assert_allclose(loss.gradient(y, z), gradient / 4, rtol=8 * EPS, atol=EPS * np.abs(gradient).max())
    np.testing.assert_array_equal(loss.gradient(y, z, reduction="sum"), gradient)
    along = weight[:, None, None, None]
    for reduction, scale in (("mean", 1 / weight.sum()), ("sum", 1.0), ("none", 1.0)):
        got, slopes = loss.loss_gradient(y, z, sample_weight=weight, reduction=reduction)
        expected = weight * value if reduction == "none" else (weight * value).sum() * scale
        np.testing.assert_allclose(got, expected, rtol=8 * EPS)
        # the terms of an element are of both signs
        np.testing.assert_allclose(slopes, along * gradient * scale, rtol=8 * EPS, atol=EPS * np.abs(slopes).max())


@small_losses
def test_channels_are_compared_alone(loss):
    y, z = images((2, 3, 9, 8))
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    alone = [loss.loss_gradient(y[:, c], z[:, c], reduction="none") for c in range(3)]
    np.testing.assert_allclose(value, np.mean([v for v, _ in alone], axis=0), rtol=4 * EPS)
    for c, (_, slopes) in enumerate(alone):
        np.testing.assert_allclose(gradient[:, c], slopes / 3, rtol=8 * EPS, atol=EPS * np.abs(slopes).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("loss", [fl.SSIM(data_range=255.0), fl.MSSSIM_L1(data_range=255.0, window=9)], ids=repr)
def test_dtypes(loss, dtype):
    y, z = ((255 * image).round().astype(dtype) for image in images((2, 20, 24)))
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    wanted = np.float32 if dtype in (np.float32, np.float16) else np.float64
    assert value.dtype == gradient.dtype == wanted
    as_double = loss.loss_gradient(y.astype(np.float64), z.astype(np.float64), reduction="none")
    np.testing.assert_array_equal(value, as_double[0].astype(wanted))
    np.testing.assert_array_equal(gradient, as_double[1].astype(wanted))


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "lists": lambda x: x.tolist(),
    "F order": np.asfortranarray,
    "channels last": lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, 3, 1, 2),
    "every second": lambda x: np.repeat(np.repeat(x, 2, axis=-1), 2, axis=0)[::2, ..., ::2],
    "backwards": lambda x: x[:, :, ::-1].copy()[:, :, ::-1],
    "big endian": lambda x: x.astype(">f8"),
    "read-only": read_only,
}


@small_losses
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(loss, layout):
    y, z = images((2, 3, 19, 37))
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    y, z = LAYOUTS[layout](y), LAYOUTS[layout](z)
    got, slopes = loss.loss_gradient(y, z, reduction="none")
    np.testing.assert_array_equal(got, value)
    np.testing.assert_array_equal(slopes, gradient)
    if layout in ("F order", "channels last"):
        assert slopes.strides == z.strides
    got, slopes = loss.loss_gradient(y_pred=z, y_true=y, reduction="none")
    np.testing.assert_array_equal(got, value)


@small_losses
def test_memory_maps(loss, tmp_path):
    y, z = images((2, 9, 8))
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    np.testing.assert_array_equal(loss.gradient(y, mapped), loss.gradient(y, z))


@pytest.mark.parametrize("loss", [fl.SSIM(), fl.MSSSIM_L1(window=11)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_outputs(loss, dtype, order):
    y, z = (np.array(image, order=order) for image in images((3, 2, 40, 45), dtype=dtype))
    value, gradient = loss.loss_gradient(y, z, reduction="none")
    loss_out, gradient_out = np.empty(3, dtype), np.full_like(z, 7)
    got = loss.loss_gradient(y, z, reduction="none", loss_out=loss_out, gradient_out=gradient_out)
    assert got[0] is loss_out and got[1] is gradient_out
    np.testing.assert_array_equal(loss_out, value)
    np.testing.assert_array_equal(gradient_out, gradient)
    # in place
    assert loss.gradient(y, z, reduction="none", gradient_out=z) is z
    np.testing.assert_array_equal(z, gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_stay_as_they_are(dtype):
    y, z = images((2, 20, 24), dtype=dtype)
    before = y.copy(), z.copy()
    for loss in LOSSES[:2]:
        loss.loss_gradient(y, z)
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(z, before[1])


def test_no_copy_of_a_whole_array():
    y, z = images((100, 40, 40), dtype=np.float32)
    out = np.empty_like(z)
    loss = fl.SSIM()
    loss.gradient(y, z, gradient_out=out, n_threads=1)
    tracemalloc.start()
    try:
        loss.gradient(y, z, gradient_out=out, n_threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < z.nbytes / 4


@pytest.mark.parametrize("loss", [fl.SSIM(), fl.MSSSIM_L1(window=11)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_for_every_number_of_threads(loss, dtype):
    y, z = images((4, 3, 70, 61), dtype=dtype)
    value, gradient = loss.loss_gradient(y, z, n_threads=1)
    for n_threads in (2, 3, 4, 100, None):
        got, slopes = loss.loss_gradient(y, z, n_threads=n_threads)
        assert got == value
        assert slopes.tobytes() == gradient.tobytes()


@pytest.mark.filterwarnings("error")
def test_threads_do_not_warn():
    y, z = images((4, 20, 24), dtype=np.float32)
    z[0, 0, 0] = np.inf
    gradient = fl.SSIM(data_range=1e-44).gradient(y * np.float32(1e-44), z * np.float32(1e-44), n_threads=4)
    assert np.isnan(gradient[0]).all()


@each_loss
def test_no_images(loss):
    empty = np.empty((0, 2, 40, 40), np.float32)
    assert loss(empty, empty, reduction="sum") == 0
    value, gradient = loss.loss_gradient(empty, empty, reduction="none")
    assert value.shape == (0,) and gradient.shape == empty.shape
    with pytest.raises(ValueError, match="no samples"):
        loss(empty, empty)


@pytest.mark.parametrize(("y_shape", "z_shape", "message"), [
    ((2, 20, 20), (2, 20, 21), r"shapes are y_true \(2, 20, 20\), y_pred \(2, 20, 21\): they must be equal"),
    ((2, 1, 20, 20), (2, 20, 20), "they must be equal"),
    ((20, 20), (20, 20), r"images must be \(n, H, W\) or \(n, c, H, W\)"),
    ((), (), r"images must be \(n, H, W\)"),
    ((1, 1, 1, 20, 20), (1, 1, 1, 20, 20), r"images must be \(n, H, W\)"),
    ((2, 0, 20, 20), (2, 0, 20, 20), "at least one channel"),
    ((2, 20, 10), (2, 20, 10), r"y_pred \(2, 20, 10\): .*H and W >= 11 \(window\)"),
    ((2, 3, 10, 20), (2, 3, 10, 20), r"H and W >= 11 \(window\)"),
    ((0, 10, 10), (0, 10, 10), r"H and W >= 11 \(window\)"),
])
def test_shapes_that_do_not_fit(y_shape, z_shape, message):
    with pytest.raises(ValueError, match=message):
        fl.SSIM()(np.zeros(y_shape), np.zeros(z_shape), reduction="sum")


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: fl.SSIM(window=4), ValueError, "window must be odd and >= 3, got 4"),
    (lambda: fl.SSIM(window=1), ValueError, "window must be odd and >= 3, got 1"),
    (lambda: fl.SSIM(window=-3), ValueError, "window must be odd and >= 3, got -3"),
    (lambda: fl.SSIM(window=11.0), TypeError, "window must be an integer, got 11.0"),
    (lambda: fl.SSIM(sigma=0), ValueError, "sigma must be finite and > 0, got 0.0"),
    (lambda: fl.SSIM(sigma=np.nan), ValueError, "sigma must be finite and > 0"),
    (lambda: fl.SSIM(data_range=-1), ValueError, "data_range must be finite and > 0, got -1.0"),
    (lambda: fl.MSSSIM_L1(alpha=1.5), ValueError, "alpha must be finite and >= 0 and <= 1, got 1.5"),
    (lambda: fl.MSSSIM_L1(data_range=0), ValueError, "data_range must be finite and > 0"),
    (lambda: fl.MSSSIM_L1(window=2), ValueError, "window must be odd and >= 3, got 2"),
    (lambda: fl.MSSSIM_L1(sigmas=()), ValueError, "sigmas must be a sequence of at least one number"),
    (lambda: fl.MSSSIM_L1(sigmas=2.0), ValueError, "sigmas must be a sequence of at least one number"),
    (lambda: fl.MSSSIM_L1(sigmas=[[1.0]]), TypeError, r"sigmas\[0\] must be a number"),
    (lambda: fl.MSSSIM_L1(sigmas=(1, 0)), ValueError, r"sigmas\[1\] must be finite and > 0, got 0.0"),
    (lambda: fl.MSSSIM_L1(sigmas=(1, 4, 2)), ValueError, r"sigmas\[2\] is 2.0: it must be > 4.0"),
    (lambda: fl.MSSSIM_L1(sigmas=("a",)), TypeError, "sigmas has dtype"),
])
def test_bad_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("sigma", [1e-300, 1e300])
def test_extreme_windows(sigma):
    y, z = images((1, 8, 8))
    loss = fl.SSIM(window=3, sigma=sigma)
    value, gradient = loss.loss_gradient(y, z)
    if sigma < 1:  # of the pixel itself: no variances, and luminance alone
        inside = (slice(None), slice(1, -1), slice(1, -1))
        a, b = y[inside], z[inside]
        assert value == pytest.approx(np.mean((a - b)**2 / (a**2 + b**2 + 1e-4)), rel=1e-12)
    assert 0 < value < 2 and np.isfinite(gradient).all()


@each_loss
def test_objects(loss):
    again = pickle.loads(pickle.dumps(loss))
    assert again == loss == eval(repr(loss), {"MSSSIM_L1": fl.MSSSIM_L1, "SSIM": fl.SSIM})
    assert hash(again) == hash(loss)
    assert repr(fl.MSSSIM_L1()) == "MSSSIM_L1()"
    assert fl.get("ssim") == fl.SSIM() == fl.get("structural_similarity")
    assert fl.get("ms_ssim_l1", alpha=0.5) == fl.MSSSIM_L1(alpha=0.5) == fl.get("msssim_l1", alpha=0.5)
