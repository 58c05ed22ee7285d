"""GaussianNLL: one target and a pair of predictions a sample, held to what test_contract.py, test_edges.py and
test_threads.py ask of the other losses. Its errors in ulp are in test_accuracy.py."""

import math
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import fastloss as fl
from floats import DTYPES, ulps
from reference import METHODS, PAIRS, exact

inf, nan = np.inf, np.nan
NLL = fl.GaussianNLL()
each_loss = pytest.mark.parametrize("loss", PAIRS, ids=repr)
each_method = pytest.mark.parametrize("method", METHODS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
N = 9001  # three chunks


def data(n=N, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, n).astype(dtype), rng.normal(0, 2, (n, 2)).astype(dtype), rng.normal(2, 1, n)


def call(loss, method, *args, **kwargs):
    """The outputs of a method by name."""
    result = getattr(loss, method)(*args, **kwargs)
    return dict(zip(METHODS[method], result if isinstance(result, tuple) else (result,), strict=True))


def by_sample(loss, y, z, **kwargs):
    return call(loss, "loss_gradient_hessian", y, z, reduction="none", **kwargs)


def naive(loss, y, z):
    """Loss, gradient and Hessian in NumPy."""
    r, s = z[:, 0] - y, z[:, 1]
    square = r**2 * np.exp(-s)
    return {"loss": (s + square + (np.log(2 * np.pi) if loss.full else 0)) / 2,
            "gradient": np.stack([r * np.exp(-s), (1 - square) / 2], axis=1),
            "hessian": np.stack([np.exp(-s), square / 2], axis=1)}


def assert_same_bits(got, expected):
    for name, value in expected.items():
        assert np.asarray(got[name]).tobytes() == np.asarray(value).tobytes(), name


# ---- values ----------------------------------------------------------------------------------------------------------

HALF_LOG_2PI = np.log(2 * np.pi) / 2
# (full, y, mean, s): loss, gradient, Hessian
KNOWN = {
    (False, 0, 0, 0): (0, 0, 0.5, 1, 0), (False, 1, 3, 0): (2, 2, -1.5, 1, 2),
    (False, 3, 1, np.log(4)): (np.log(2) + 0.5, -0.5, 0, 0.25, 0.5), (True, 0, 0, 0): (HALF_LOG_2PI, 0, 0.5, 1, 0),
    (True, 1, 3, -np.log(4)): (8 - np.log(2) + HALF_LOG_2PI, 8, -7.5, 4, 8),
}
# the same at infinities, and where the parts leave the range of numbers
LIMITS = {
    (False, 0, inf, 0): (inf, inf, -inf, 1, inf), (False, 0, -inf, 0): (inf, -inf, -inf, 1, inf),
    (False, inf, 0, 0): (inf, -inf, -inf, 1, inf), (False, 0, 1, inf): (inf, 0, 0.5, 0, 0),
    (False, 0, 1, -inf): (inf, inf, -inf, inf, inf), (True, 0, -1, -inf): (inf, -inf, -inf, inf, inf),
    (False, 0, 1, 1e30): (5e29, 0, 0.5, 0, 0), (False, 0, 1, -1e30): (inf, inf, -inf, inf, inf),
    (False, 0, 0, -1e30): (-5e29, 0, 0.5, inf, 0), (False, 0, 1e30, 150): (0.5 * 1e60 * np.exp(-150) + 75,
     1e30 * np.exp(-150), 0.5 - 0.5e60 * np.exp(-150), np.exp(-150), 0.5e60 * np.exp(-150)),
}


@both_dtypes
@pytest.mark.parametrize("case", [*KNOWN, *LIMITS], ids=repr)
def test_known_values_and_limits(case, dtype):
    full, y, mean, s = case
    got = np.column_stack(list(by_sample(fl.GaussianNLL(full), [y], np.array([[mean, s]], dtype)).values()))
    eps = np.finfo(dtype).eps
    # a rounded s moves its exponential by as many ulp as s has units
    rtol = (4 + abs(s) if np.isfinite(s) and abs(s) < 1000 else 4) * eps
    expected = np.array((KNOWN | LIMITS)[case], float)
    with np.errstate(over="ignore", under="ignore"):
        assert_allclose(got[0], expected.astype(dtype), rtol=rtol, atol=4 * eps * (s == np.log(4)))


@each_loss
def test_naive_formulas(loss):
    y, z, _ = data()
    for name, expected in naive(loss, y, z).items():
        assert_allclose(by_sample(loss, y, z)[name], expected, rtol=1e-13, atol=1e-15)


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_are_derivatives_of_the_value(loss, reduction):
    y, z, _ = data(6)
    options = {"sample_weight": np.array([1.0, 0.5, 2.0, 0.0, 3.0, -0.2]), "reduction": reduction}
    gradient, hessian = loss.gradient_hessian(y, z, **options)
    for index in np.ndindex(z.shape):
        low, high = z.copy(), z.copy()
        low[index] -= 1e-6
        high[index] += 1e-6
        width = high[index] - low[index]
        slope = (loss(y, high, **options) - loss(y, low, **options)) / width
        curve = (loss.gradient(y, high, **options) - loss.gradient(y, low, **options))[index] / width
        assert slope == pytest.approx(gradient[index], rel=1e-5, abs=1e-7)
        assert curve == pytest.approx(hessian[index], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@each_loss
def test_torch(loss, reduction):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch", reason="torch is not installed")
    y, z, _ = data(500)
    pair = torch.tensor(z, requires_grad=True)
    value = torch.nn.functional.gaussian_nll_loss(pair[:, 0], torch.tensor(y), torch.exp(pair[:, 1]), full=loss.full,
                                                  eps=1e-300, reduction=reduction)
    assert_allclose(loss(y, z, reduction=reduction), value.detach().numpy(), rtol=1e-12, atol=1e-14)
    if reduction != "none":
        value.backward()
        assert_allclose(loss.gradient(y, z, reduction=reduction), pair.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_scipy():
    y, z, _ = data(500)
    expected = -stats.norm.logpdf(y, z[:, 0], np.exp(z[:, 1] / 2))
    assert_allclose(fl.GaussianNLL(full=True)(y, z, reduction="none"), expected, rtol=1e-11, atol=1e-13)


def test_mean_and_log_variance_minimise_it():
    y, _, w = data(1000)
    w = np.abs(w)
    mean = np.average(y, weights=w)
    best = mean, np.log(np.average((y - mean)**2, weights=w))
    gradient = NLL.gradient(y, np.tile(best, (1000, 1)), sample_weight=w)
    assert_allclose(gradient.sum(axis=0), 0, atol=1e-14)


# ---- methods, reductions, weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 600, N])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@each_method
def test_what_methods_return(method, reduction, n):
    y, z, _ = data(n)
    for name, value in call(NLL, method, y, z, reduction=reduction).items():
        if name == "loss" and reduction != "none":
            assert type(value) is float
        else:
            assert type(value) is np.ndarray and value.shape == ((n,) if name == "loss" else (n, 2))
            assert value.dtype == z.dtype and value.flags.writeable and value.flags.owndata


@pytest.mark.parametrize("weighted", [False, True])
@both_dtypes
@each_loss
def test_reductions_and_weights(loss, dtype, weighted):
    y, z, weights = data(900, dtype)
    w = weights.astype(dtype).astype(np.float64) if weighted else np.ones(900)
    plain = {name: value.astype(np.float64) for name, value in by_sample(loss, y, z).items()}
    for method in METHODS:
        for reduction, scale in (("none", 1.0), ("sum", 1.0), ("mean", 1 / w.sum())):
            got = call(loss, method, y, z, sample_weight=weights if weighted else None, reduction=reduction)
            for name, value in got.items():
                expected = (w if name == "loss" else w[:, None]) * plain[name] * scale
                if name == "loss" and reduction != "none":
                    assert value == pytest.approx(expected.sum(), rel=1e-12, abs=1e-13 * np.abs(expected).sum())
                else:
                    assert_allclose(value, expected, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_integer_weights_are_repetitions():
    y, z, _ = data(40)
    w = np.random.default_rng(0).integers(0, 4, 40)
    assert NLL(y, z, sample_weight=w) == pytest.approx(NLL(np.repeat(y, w), np.repeat(z, w, axis=0)), rel=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [4096, 4097, 50_001])
@each_loss
def test_same_bits_for_every_number_of_threads(loss, n, weighted):
    y, z, w = data(n)
    w = w if weighted else None
    for reduction in ("mean", "none"):
        expected = by_sample(loss, y, z, sample_weight=w, n_threads=1) if reduction == "none" else call(
            loss, "loss_gradient_hessian", y, z, sample_weight=w, n_threads=1)
        for n_threads in (*range(1, 9), 1000, None):
            got = call(loss, "loss_gradient_hessian", y, z, sample_weight=w, reduction=reduction, n_threads=n_threads)
            assert_same_bits(got, expected)


# ---- inputs and layouts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [bool, np.int8, np.uint16, np.int64, np.float16, np.float32, np.longdouble, ">f8"],
                         ids=str)
def test_targets_and_weights_of_every_dtype(number):
    y, z, _ = data(1500)
    y = (np.arange(1500) % 2).astype(number)
    w = np.arange(1, 1501).astype(number)
    got = by_sample(NLL, y, z, sample_weight=w)
    assert_same_bits(got, by_sample(NLL, y.astype(float), z, sample_weight=w.astype(float)))


@pytest.mark.parametrize(("given", "computed"), [
    (np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.int8, np.float64),
    (np.uint32, np.float64), (bool, np.float64)])
def test_dtypes_in_and_out(given, computed):
    y, z, _ = data(300)
    z = (z if np.issubdtype(given, np.floating) else np.abs(np.round(z)) % 2).astype(given)
    got = by_sample(NLL, y, z)
    assert all(value.dtype == computed for value in got.values())
    assert_same_bits(got, by_sample(NLL, y.astype(computed), z.astype(computed)))


def test_containers(tmp_path):
    y, z, w = data(60)
    expected = by_sample(NLL, y, z, sample_weight=w)
    mapped = np.memmap(tmp_path / "z", z.dtype, "w+", shape=z.shape)
    mapped[...] = z
    read_only = z.copy()
    read_only.flags.writeable = False
    for y_given, z_given, w_given in (
        (y.tolist(), z.tolist(), w.tolist()), (pd.Series(y), pd.DataFrame(z), pd.Series(w, index=range(60, 0, -1))),
        (pd.Series(y).astype("Float64"), pd.DataFrame(z).astype("Float64"), w), (y, mapped, w), (y, read_only, w),
        (y.astype(">f8"), z.astype(">f8"), w.astype(">f8")),
    ):
        assert_same_bits(by_sample(NLL, y_given, z_given, sample_weight=w_given), expected)


@pytest.mark.parametrize("bad", [
    np.ma.array([[0.0, 1.0]]), np.array([[0, 1j]]), np.array([[0, 1]], object), [["0", "1"]],
    np.array([[0, 1]], np.longdouble)], ids=repr)
def test_type_errors_of_predictions(bad):
    with pytest.raises(TypeError, match="y_pred"):
        NLL([0.0], bad)


def layouts(array):
    """The same numbers, lying otherwise in memory."""
    if array.ndim == 1:
        steps = [(2,), (-1,), (-3,)]
    else:
        yield np.asfortranarray(array)
        steps = [(2, 1), (1, 3), (2, 2), (-1, 1), (1, -1), (-3, -2)]
    for order in "CF":
        for step in steps:
            room = np.zeros([n * abs(s) for n, s in zip(array.shape, step, strict=True)], array.dtype, order=order)
            view = room[tuple(slice(None, None, s) for s in step)]
            view[...] = array
            yield view


@pytest.mark.parametrize("n", [3000, 1, 2])
@both_dtypes
def test_layouts_give_the_same_numbers(dtype, n):
    y, z, w = data(n, dtype)
    w = w.astype(dtype)
    expected = by_sample(NLL, y, z, sample_weight=w)
    whole = NLL(y, z, sample_weight=w)
    for z_laid in (z, *layouts(z)):
        for y_laid, w_laid in zip([y, *layouts(y)], [w, *layouts(w)], strict=True):
            got = by_sample(NLL, y_laid, z_laid, sample_weight=w_laid)
            for name, value in expected.items():
                assert_array_equal(got[name], value, strict=True)
            assert NLL(y_laid, z_laid, sample_weight=w_laid) == whole


def test_outputs_keep_the_order_of_y_pred():
    y, z, _ = data(20)
    for given in (z, np.asfortranarray(z), np.repeat(z, 2, axis=0)[::2]):
        got = by_sample(NLL, y, given)
        for name in ("gradient", "hessian"):
            assert got[name].flags.f_contiguous == np.isfortran(given)
            assert got[name].flags.c_contiguous != np.isfortran(given)


# ---- output arrays ---------------------------------------------------------------------------------------------------


def empty_outputs(method, z, reduction):
    return {f"{name}_out": np.full_like(z[:, 0] if name == "loss" else z, nan) for name in METHODS[method]
            if name != "loss" or reduction == "none"}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@both_dtypes
@each_method
def test_outputs_are_filled_and_returned(method, dtype, reduction):
    y, z, w = data(N, dtype)
    for given in (z, np.asfortranarray(z)):
        expected = call(NLL, method, y, given, sample_weight=w, reduction=reduction)
        outputs = empty_outputs(method, given, reduction)
        got = call(NLL, method, y, given, sample_weight=w, reduction=reduction, **outputs)
        assert_same_bits(got, expected)
        for name, out in outputs.items():
            assert got[name.removesuffix("_out")] is out


@pytest.mark.parametrize("output", ["gradient", "hessian"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@both_dtypes
def test_an_output_may_be_y_pred_itself(dtype, output, reduction):
    y, z, w = data(N, dtype)
    expected = call(NLL, "loss_gradient_hessian", y, z, sample_weight=w, reduction=reduction)
    for n_threads in (1, 2):
        for view in (z.copy(), *layouts(z)):
            got = call(NLL, "loss_gradient_hessian", y, view, sample_weight=w, reduction=reduction,
                       n_threads=n_threads, **{f"{output}_out": view})
            assert got[output] is view
            for name, value in expected.items():
                assert_array_equal(got[name], value)


def test_strided_outputs():
    y, z, _ = data(500)
    expected = by_sample(NLL, y, z)
    for room in [view for view in layouts(np.zeros((500, 2))) if abs(view.strides[0]) > abs(view.strides[1])]:
        assert by_sample(NLL, y, z, hessian_out=room)["hessian"] is room
        assert_array_equal(room, expected["hessian"])
    for room in layouts(np.zeros(500)):
        assert by_sample(NLL, y, z, loss_out=room)["loss"] is room
        assert_array_equal(room, expected["loss"])


@pytest.mark.parametrize(("name", "out", "error", "message"), [
    ("gradient_out", np.zeros(6), ValueError, r"gradient_out has shape \(6,\).*\(6, 2\)"),
    ("gradient_out", np.zeros((6, 1)), ValueError, r"\(6, 1\).*\(6, 2\)"),
    ("hessian_out", np.zeros((2, 6)), ValueError, r"hessian_out has shape \(2, 6\).*\(6, 2\)"),
    ("loss_out", np.zeros((6, 2)), ValueError, r"loss_out has shape \(6, 2\).*\(6,\)"),
    ("loss_out", np.zeros(5), ValueError, r"loss_out has shape \(5,\).*\(6,\)"),
    ("gradient_out", np.zeros((6, 2), np.float32), TypeError, "gradient_out.*float32.*float64"),
    ("gradient_out", np.zeros((6, 2), order="F"), ValueError, "gradient_out.*order"),
    ("gradient_out", [[0.0, 0.0]] * 6, TypeError, "gradient_out.*list"),
], ids=repr)
def test_errors_of_outputs(name, out, error, message):
    y, z, _ = data(6)
    with pytest.raises(error, match=message):
        NLL.loss_gradient_hessian(y, z, reduction="none", **{name: out})


def test_overlapping_outputs():
    y, z, w = data(6)
    room = np.empty((6, 2))
    for kwargs, message in (
        ({"loss_out": z[:, 0]}, "loss_out overlaps y_pred"), ({"loss_out": z[:, 1]}, "loss_out overlaps y_pred"),
        ({"gradient_out": z[::-1]}, "gradient_out overlaps y_pred"),
        ({"gradient_out": z, "hessian_out": z}, "overlaps"),
        ({"gradient_out": room, "hessian_out": room}, "overlaps"), ({"loss_out": y}, "loss_out overlaps y_true"),
        ({"loss_out": room[:, 0], "gradient_out": room}, "overlaps"),
        ({"loss_out": room[:, 1], "gradient_out": room}, "overlaps"),
        ({"loss_out": w, "sample_weight": w}, "loss_out overlaps sample_weight"),
    ):
        with pytest.raises(ValueError, match=message):
            NLL.loss_gradient_hessian(y, z, reduction="none", **kwargs)
    with pytest.raises(ValueError, match="loss_out"):
        NLL(y, z, loss_out=np.zeros(6))


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("y", "z", "message"), [
    ((6,), (6,), r"y_pred must have shape \(n, 2\), got \(6,\)"),
    ((6,), (6, 1), r"y_pred must have shape \(n, 2\), got \(6, 1\)"),
    ((6,), (6, 3), r"\(n, 2\), got \(6, 3\)"), ((6,), (2, 6), r"\(n, 2\), got \(2, 6\)"), ((), (), r"\(n, 2\)"),
    ((6,), (6, 2, 1), r"\(n, 2\), got \(6, 2, 1\)"),
    ((6, 2), (6, 2), r"y_true has shape \(6, 2\).*\(n,\) and \(n, 2\)"), ((6, 1), (6, 2), r"y_true.*\(6, 1\).*\(n,\)"),
    ((5,), (6, 2), r"y_true has shape \(5,\) and y_pred \(6, 2\)"), ((1,), (6, 2), r"y_true.*\(1,\)"),
    ((2,), (1, 2), r"y_true.*\(2,\)"),
])
@each_method
def test_shapes_must_match(method, y, z, message):
    with pytest.raises(ValueError, match=message):
        call(NLL, method, np.zeros(y), np.zeros(z))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (6, 1), (6, 2), (2, 6), (2,)])
def test_shapes_of_sample_weight_must_match(shape):
    with pytest.raises(ValueError, match=r"sample_weight has shape .*must be \(n,\)$"):
        NLL(np.zeros(6), np.zeros((6, 2)), sample_weight=np.ones(shape))


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@each_method
def test_non_finite_weights_are_named(method, bad):
    y, z, w = data()
    w[[4321, 8000]] = bad
    for n_threads in (1, 2, 5):
        with pytest.raises(ValueError, match=rf"sample_weight\[4321\] is {bad}.*finite"):
            call(NLL, method, y, z, sample_weight=w, n_threads=n_threads)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, -2.0], [1.0, -1.0]])
def test_weights_of_a_mean_must_have_a_positive_sum(weights):
    y, z, _ = data(2)
    with pytest.raises(ValueError, match="sum"):
        NLL(y, z, sample_weight=weights)
    NLL(y, z, sample_weight=weights, reduction="sum")


@each_method
def test_no_samples(method):
    y, z = np.zeros(0), np.zeros((0, 2), np.float32)
    with pytest.raises(ValueError, match="no samples"):
        call(NLL, method, y, z)
    for reduction in ("sum", "none"):
        for name, value in call(NLL, method, y, z, reduction=reduction).items():
            if name == "loss" and reduction == "sum":
                assert value == 0.0 and type(value) is float
            else:
                assert value.shape == ((0,) if name == "loss" else (0, 2)) and value.dtype == np.float32


# ---- edges -----------------------------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("column", ["y", 0, 1])
@each_loss
def test_nan_is_never_hidden(loss, dtype, column):
    y, z, _ = data(100, dtype)
    (y if column == "y" else z[:, column])[[17, 42]] = nan
    expected = np.isin(np.arange(100), [17, 42])
    for method in METHODS:
        for reduction in ("none", "mean", "sum"):
            for kwargs in ({}, {"sample_weight": np.ones(100)}):
                for value in call(loss, method, y, z, reduction=reduction, **kwargs).values():
                    # both columns: nothing is known of a sample with a NaN
                    assert ((expected if np.ndim(value) else True) == np.isnan(value).T).all()


@pytest.mark.parametrize("other", [1.0, inf, nan])
def test_zeros_keep_their_sign_beside_extreme_numbers(other):
    z = np.array([[-0.0, 0.9], [other, 0.9]])
    gradient = fl.GaussianNLL().gradient(np.zeros(2), z, reduction="none")
    assert gradient[0, 0] == 0 and np.signbit(gradient[0, 0])


@pytest.mark.parametrize("bad", [nan, inf, -inf, 1e30])
@pytest.mark.parametrize("column", ["y", 0, 1])
@both_dtypes
def test_a_weight_of_0_masks_whatever_stands_there(dtype, column, bad):
    y, z, w = data(60, dtype)
    w[[3, 50]] = 0
    kept = w != 0
    expected = NLL(y[kept], z[kept], sample_weight=w[kept])
    (y if column == "y" else z[:, column])[[3, 50]] = bad
    for reduction in ("mean", "sum", "none"):
        value, *arrays = NLL.loss_gradient_hessian(y, z, sample_weight=w, reduction=reduction)
        for array in arrays + [value] * (reduction == "none"):
            assert_array_equal(array[[3, 50]], 0)
            assert np.isfinite(array).all()
        if reduction == "mean":
            assert value == pytest.approx(expected, rel=1e-13)


@each_loss
def test_huge_and_tiny_predictions(loss):
    sizes = np.array([0.0, 5e-324, 1e-310, 1e-30, 700.0, 1e5, 1e150, 1e300])
    sizes = np.concatenate([sizes, -sizes])
    y, mean, s = (a.ravel() for a in np.meshgrid([0.0, 1.0], sizes, sizes))
    z = np.stack([mean, s], axis=1)
    got = np.column_stack(list(by_sample(loss, y, z).values()))
    for y_i, z_i, numbers in zip(y, z, got, strict=True):
        for number, (value, scale) in zip(numbers, exact(loss, y_i, z_i, np.float64), strict=True):
            assert ulps(number, value, np.float64, scale) <= 4, f"y={y_i} z={z_i}: {number}, not {value}"


@both_dtypes
def test_the_mean_of_huge_losses_is_finite(dtype):
    z = np.zeros((4, 2), dtype)
    z[:, 1] = np.finfo(dtype).max
    expected = float(z[0, 1]) / 2
    assert NLL(np.zeros(4), z) == pytest.approx(expected, rel=1e-6)
    value, gradient = NLL.loss_gradient(np.zeros(4), z, gradient_out=z)
    assert value == pytest.approx(expected, rel=1e-6) and gradient is z
    assert_array_equal(gradient[:, 1], 0.125)


def test_sums_are_exact_to_4_ulp():
    y, z, w = data(30_000)
    values = NLL(y, z, reduction="none") * w
    unit = np.spacing(np.abs(values).sum())
    assert abs(NLL(y, z, sample_weight=w, reduction="sum") - math.fsum(values)) <= 4 * unit


@each_loss
def test_pickles(loss):
    y, z, _ = data(10)
    other = pickle.loads(pickle.dumps(loss))
    assert other == loss and hash(other) == hash(loss) and other(y, z) == loss(y, z)
    assert repr(loss) == ("GaussianNLL(full=True)" if loss.full else "GaussianNLL()")
    assert fl.get("gaussian_nll", full=loss.full) == loss


def test_inputs_are_never_changed():
    arrays = data(100)
    before = [a.copy() for a in arrays]
    NLL.loss_gradient_hessian(arrays[0], arrays[1], sample_weight=arrays[2])
    for array, copy in zip(arrays, before, strict=True):
        assert_array_equal(array, copy)
