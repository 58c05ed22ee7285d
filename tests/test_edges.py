"""Numbers at the edges: huge, tiny, infinite, NaN, weights of 0, probabilities of 0 and 1. Nothing may warn either:
pyproject.toml turns warnings into errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastloss as fl
from floats import DTYPES, ulps
from reference import DEFAULTS, INSTANCES, exact, is_binary, is_probability, label, limit, predictions, targets

all_losses = pytest.mark.parametrize("loss", INSTANCES, ids=repr)
each_loss = pytest.mark.parametrize("loss", DEFAULTS, ids=repr)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
inf, nan = np.inf, np.nan


def by_sample(loss, y, z, **kwargs):
    return [float(a[0]) for a in loss.loss_gradient_hessian([y], np.array([z]), reduction="none", **kwargs)]


@both_dtypes
@all_losses
def test_huge_and_tiny_predictions(loss, dtype):
    sizes = np.array([size for size in (1000.0, 1e5, 1e30, 1e150, 1e300, 5e-324, 1e-310, 1e-160, 1e-45, 1e-40, 0.0)
                      if size <= float(np.finfo(dtype).max)], dtype)
    z = np.concatenate([sizes, -sizes])
    z = z[(z > loss.domain[0]) & (z < loss.domain[1])]
    for target in (label(loss, 0.0), label(loss, 1.0)):
        got = loss.loss_gradient_hessian(np.full(len(z), target), z, reduction="none")
        for z_i, *numbers in zip(z, *got, strict=True):
            for number, (value, scale) in zip(numbers, exact(loss, target, z_i, dtype), strict=True):
                assert ulps(number, value, dtype, scale) <= limit(loss), f"y={target} z={z_i}: {number}, not {value}"


# (loss, y_true, y_pred): (loss, gradient, Hessian)
LIMITS = {
    (fl.SquaredError(), 0, inf): (inf, inf, 2), (fl.SquaredError(), 0, -inf): (inf, -inf, 2),
    (fl.SquaredError(), inf, 0): (inf, -inf, 2),
    (fl.AbsoluteError(), 0, inf): (inf, 1, 0), (fl.AbsoluteError(), 0, -inf): (inf, -1, 0),
    (fl.AbsoluteError(), -inf, 3): (inf, 1, 0),
    (fl.Huber(0.5), 0, inf): (inf, 0.5, 0), (fl.Huber(0.5), 0, -inf): (inf, -0.5, 0),
    (fl.Huber(1e-30), 0, inf): (inf, 1e-30, 0),
    (fl.Quantile(0.25), 0, inf): (inf, 0.75, 0), (fl.Quantile(0.25), 0, -inf): (inf, -0.25, 0),
    (fl.Expectile(0.25), 0, inf): (inf, inf, 1.5), (fl.Expectile(0.25), 0, -inf): (inf, -inf, 0.5),
    (fl.Expectile(0.25), inf, 0): (inf, -inf, 0.5),
    (fl.SmoothL1(0.5), 0, inf): (inf, 1, 0), (fl.SmoothL1(0.5), 0, -inf): (inf, -1, 0),
    (fl.SmoothL1(0.5), -inf, 0): (inf, 1, 0), (fl.SmoothL1(0.0), 0, -inf): (inf, -1, 0),
    (fl.SmoothL1(1e-30), 0, 1e30): (1e30, 1, 0),
    (fl.PseudoHuber(2.0), 0, inf): (inf, 2, 0), (fl.PseudoHuber(2.0), 0, -inf): (inf, -2, 0),
    (fl.PseudoHuber(2.0), inf, 0): (inf, -2, 0),
    (fl.LogCosh(), 0, inf): (inf, 1, 0), (fl.LogCosh(), 0, -inf): (inf, -1, 0), (fl.LogCosh(), -inf, 0): (inf, 1, 0),
    (fl.Fair(2.0), 0, inf): (inf, 2, 0), (fl.Fair(2.0), 0, -inf): (inf, -2, 0), (fl.Fair(2.0), -inf, 0): (inf, 2, 0),
    (fl.EpsilonInsensitive(), 0, inf): (inf, 1, 0), (fl.EpsilonInsensitive(), 0, -inf): (inf, -1, 0),
    (fl.EpsilonInsensitive(0.0), inf, 0): (inf, -1, 0),
    (fl.SquaredEpsilonInsensitive(), 0, inf): (inf, inf, 2), (fl.SquaredEpsilonInsensitive(), 0, -inf): (inf, -inf, 2),
    (fl.SquaredEpsilonInsensitive(0.0), inf, 0): (inf, -inf, 2),
    (fl.SquaredLogError(), 0, inf): (inf, 0, 0), (fl.SquaredLogError(), 3, -1.0): (inf, -inf, inf),
    (fl.SquaredLogError(), 0, np.nextafter(np.float32(-1), np.float32(-2))): (nan, nan, nan),
    (fl.AbsolutePercentageError(), 2, inf): (inf, 0.5, 0), (fl.AbsolutePercentageError(), -4, -inf): (inf, -0.25, 0),
    (fl.AbsolutePercentageError(0.5), 0, inf): (inf, 2, 0), (fl.AbsolutePercentageError(0.5), 0, -3): (6, -2, 0),
    **{(fl.Robust(alpha, 0.5), y, z): limits for alpha, limits in {
        2.0: (inf, inf, 4), 3.0: (inf, inf, inf), 1.5: (inf, inf, 0), 1.0: (inf, 2, 0), 0.5: (inf, 0, 0),
        0.0: (inf, 0, 0), -2.0: (2, 0, 0), -10.0: (1.2, 0, 0), -inf: (1, 0, 0)}.items() for y, z in ((0, inf),)},
    (fl.Robust(1.0), 0, -inf): (inf, -1, 0), (fl.Robust(1.5), inf, 0): (inf, -inf, 0),
    (fl.Robust(2.0), 0, -inf): (inf, -inf, 1), (fl.Robust(-2.0), -inf, 0): (2, 0, 0),
    (fl.Robust(-inf), 0, -inf): (1, 0, 0), (fl.Robust(0.0), 0, -inf): (inf, 0, 0),
    (fl.Tukey(3.0), 0, inf): (1.5, 0, 0), (fl.Tukey(3.0), 0, -inf): (1.5, 0, 0), (fl.Tukey(3.0), inf, 0): (1.5, 0, 0),
    **{(cls(full=full), 2, z): limits for cls, both in {
        fl.Poisson: {inf: (inf, inf, inf), -inf: (inf, -2, 0)},
        fl.Gamma: {inf: (inf, 1, 0), -inf: (inf, -inf, inf)},
    }.items() for z, limits in both.items() for full in (False, True)},
    (fl.Poisson(), 0, inf): (inf, inf, inf), (fl.Poisson(), 0, -inf): (0, 0, 0),
    (fl.Poisson(full=True), 0, -inf): (0, 0, 0), (fl.Poisson(full=True), 0, 0.0): (1, 1, 1),
    **{(fl.Tweedie(power, full=full), 2, inf): (inf, inf, inf) for power in (-1.0, 0.0, 1.5) for full in (False, True)},
    **{(fl.Tweedie(power, full=full), 2, -inf): (inf, -inf, inf) for power in (1.5, 3.0) for full in (False, True)},
    (fl.Tweedie(3.0), 2, inf): (0, 0, 0), (fl.Tweedie(3.0, full=True), 2, inf): (0.25, 0, 0),
    (fl.Tweedie(-1.0), 2, -inf): (0, 0, 0), (fl.Tweedie(-1.0, full=True), 2, -inf): (8 / 6, 0, 0),
    (fl.Tweedie(0.0), 2, -inf): (0, 0, 0), (fl.Tweedie(0.0, full=True), 2, -inf): (2, 0, 0),
    (fl.Tweedie(0.0), -2, inf): (inf, inf, inf), (fl.Tweedie(), 0, -inf): (0, 0, 0),
    (fl.Tweedie(full=True), 0, -inf): (0, 0, 0), (fl.Tweedie(full=True), 0, 0.0): (2, 1, 0.5),
    (fl.Tweedie(-1.0, "identity"), 2, inf): (inf, inf, inf), (fl.Tweedie(0.0, "identity"), 2, -inf): (inf, -inf, 1),
    (fl.Tweedie(0.0, "identity"), 2, inf): (inf, inf, 1), (fl.Tweedie(1.0, "identity"), 2, inf): (inf, 1, 0),
    (fl.Tweedie(1.5, "identity"), 2, inf): (inf, 0, 0), (fl.Tweedie(2.0, "identity"), 2, inf): (inf, 0, 0),
    (fl.Tweedie(3.0, "identity"), 2, inf): (0.25, 0, 0), (fl.Tweedie(1.0, "identity"), 0, 3.0): (3, 1, 0),
    (fl.Tweedie(1.5, "identity"), 0, 4.0): (4, 0.5, -0.0625),
    (fl.NegativeBinomial(0.5), 3, inf): (inf, 2, 0), (fl.NegativeBinomial(0.5), 3, -inf): (inf, -3, 0),
    (fl.NegativeBinomial(0.5), 0, inf): (inf, 2, 0), (fl.NegativeBinomial(0.5), 0, -inf): (0, 0, 0),
    (fl.BinaryCrossEntropy(), 1, inf): (0, 0, 0), (fl.BinaryCrossEntropy(), 1, -inf): (inf, -1, 0),
    (fl.BinaryCrossEntropy(), 0, inf): (inf, 1, 0), (fl.BinaryCrossEntropy(), 0, -inf): (0, 0, 0),
    (fl.BinaryCrossEntropy(), 0.25, inf): (inf, 0.75, 0), (fl.BinaryCrossEntropy(), 0.25, -inf): (inf, -0.25, 0),
    (fl.BinaryCrossEntropy(label_smoothing=0.5), 1, inf): (inf, 0.25, 0),
    (fl.BinaryCrossEntropy(pos_weight=0.0), 1, -inf): (0, 0, 0),
    (fl.BinaryCrossEntropy(pos_weight=3.0), 1, -inf): (inf, -3, 0),
    **{(fl.BinaryFocal(gamma), 1, inf): (0, 0, 0) for gamma in (0.0, 0.5, 1.0, 2.0, 2.5, 8.0)},
    **{(fl.BinaryFocal(gamma), 1, -inf): (inf, -1, 0) for gamma in (0.0, 0.5, 1.0, 2.0, 2.5, 8.0)},
    **{(fl.BinaryFocal(gamma), 0, inf): (inf, 1, 0) for gamma in (0.0, 0.5, 1.0, 2.0, 2.5, 8.0)},
    (fl.BinaryFocal(alpha=0.0), 1, -inf): (0, 0, 0),
    **{(fl.AsymmetricFocal(gamma, 4.0), y, z): limits for gamma in (0.0, 2.0, 2.5) for y, z, limits in (
        (1, inf, (0, 0, 0)), (1, -inf, (inf, -1, 0)), (0, -inf, (0, 0, 0)), (0, inf, (-0.95**4 * np.log(0.05), 0, 0)))},
    **{(fl.AsymmetricFocal(0.0, gamma, 0.0), y, z): limits for gamma in (0.0, 2.0, 2.5) for y, z, limits in (
        (1, inf, (0, 0, 0)), (1, -inf, (inf, -1, 0)), (0, -inf, (0, 0, 0)), (0, inf, (inf, 1, 0)))},
    # below the clip negatives do not count
    (fl.AsymmetricFocal(0.0, 0.0, 0.25), 0, -2.0): (0, 0, 0), (fl.AsymmetricFocal(0.0, 0.5, 0.25), 0, -1.2): (0, 0, 0),
    (fl.Hinge(), 1, inf): (0, 0, 0), (fl.Hinge(), 1, -inf): (inf, -1, 0), (fl.Hinge(), 0, inf): (inf, 1, 0),
    (fl.Hinge(), 0, -inf): (0, 0, 0),
    (fl.SquaredHinge(), 1, inf): (0, 0, 0), (fl.SquaredHinge(), 1, -inf): (inf, -inf, 2),
    (fl.SquaredHinge(), 0, inf): (inf, inf, 2), (fl.SquaredHinge(), 0, -inf): (0, 0, 0),
    (fl.Perceptron(), 1, inf): (0, 0, 0), (fl.Perceptron(), 1, -inf): (inf, -1, 0),
    (fl.Perceptron(), 0, inf): (inf, 1, 0), (fl.Perceptron(), 0, -inf): (0, 0, 0),
    (fl.ModifiedHuber(), 1, inf): (0, 0, 0), (fl.ModifiedHuber(), 1, -inf): (inf, -4, 0),
    (fl.ModifiedHuber(), 0, inf): (inf, 4, 0), (fl.ModifiedHuber(), 0, -inf): (0, 0, 0),
    (fl.Exponential(), 1, inf): (0, 0, 0), (fl.Exponential(), 1, -inf): (inf, -inf, inf),
    (fl.Exponential(), 0, inf): (inf, inf, inf), (fl.Exponential(), 0, -inf): (0, 0, 0),
    **{(fl.Sharp(phi), 1, inf): (0, 0, 0) for phi in ("algebraic", "arctan")},
    **{(fl.Sharp(phi), 1, -inf): (2, 0, 0) for phi in ("algebraic", "arctan")},
    **{(fl.Sharp(phi), 0, inf): (2, 0, 0) for phi in ("algebraic", "arctan")},
    # probabilities of exactly 0 and 1
    (fl.BinaryCrossEntropy("probabilities"), 1, 1.0): (0, -1, 1),
    (fl.BinaryCrossEntropy("probabilities"), 1, 0.0): (inf, -inf, inf),
    (fl.BinaryCrossEntropy("probabilities"), 0, 0.0): (0, 1, 1),
    (fl.BinaryCrossEntropy("probabilities"), 0, 1.0): (inf, inf, inf),
    (fl.BinaryCrossEntropy("probabilities"), 0.5, 1.0): (inf, inf, inf),
    (fl.BinaryCrossEntropy("probabilities"), 0.5, 0.0): (inf, -inf, inf),
    (fl.BinaryCrossEntropy("probabilities", pos_weight=0.0), 1, 0.0): (0, 0, 0),
    (fl.BinaryCrossEntropy("probabilities", eps=0.125), 1, 0.0): (-np.log(0.125), 0, 0),
    (fl.BinaryCrossEntropy("probabilities", eps=0.125), 1, 0.1): (-np.log(0.125), 0, 0),
    (fl.BinaryCrossEntropy("probabilities", eps=0.125), 0, 1.0): (-np.log(0.125), 0, 0),
    (fl.BinaryCrossEntropy("probabilities", eps=0.125), 0, 0.0): (0, 1, 1),
    (fl.BinaryCrossEntropy("probabilities", eps=0.125), 1, 1.0): (0, -1, 1),
    (fl.BinaryCrossEntropy("probabilities", eps=0.125), 1, 0.125): (-np.log(0.125), -8, 64),
    (fl.BinaryFocal(0.0, inputs="probabilities"), 1, 1.0): (0, -1, 1),
    (fl.BinaryFocal(0.5, inputs="probabilities"), 1, 1.0): (0, 0, inf),
    (fl.BinaryFocal(1.0, inputs="probabilities"), 1, 1.0): (0, 0, 2),
    (fl.BinaryFocal(1.5, inputs="probabilities"), 1, 1.0): (0, 0, 0),
    (fl.BinaryFocal(2.0, inputs="probabilities"), 0, 0.0): (0, 0, 0),
    **{(fl.BinaryFocal(gamma, inputs="probabilities"), y, 1.0 - y): (inf, -inf if y else inf, inf)
       for gamma in (0.0, 0.5, 1.0, 2.0, 2.5) for y in (0, 1)},
    (fl.BinaryFocal(2.0, alpha=0.0, inputs="probabilities"), 1, 0.0): (0, 0, 0),
}


@both_dtypes
@pytest.mark.parametrize("case", LIMITS, ids=repr)
def test_limits(case, dtype):
    loss, y, z = case
    got = by_sample(loss, y, dtype(z))
    assert_allclose(got, LIMITS[case], rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal)


@both_dtypes
@all_losses
def test_nan_is_never_hidden(loss, dtype):
    y, z = targets(loss, 100), predictions(loss, 100, dtype)
    z[[17, 42]] = nan
    expected = np.isin(np.arange(100), [17, 42])
    for method in ("loss", "gradient", "loss_gradient", "gradient_hessian", "loss_gradient_hessian"):
        for reduction in ("none", "mean"):
            for kwargs in ({}, {"sample_weight": np.ones(100)}):
                result = getattr(loss, method)(y, z, reduction=reduction, **kwargs)
                for value in result if isinstance(result, tuple) else (result,):
                    assert_array_equal(np.isnan(value), expected if np.ndim(value) else True)


@pytest.mark.parametrize("loss", [loss for loss in INSTANCES if not is_binary(loss)], ids=repr)
def test_nan_in_a_regression_target_is_never_hidden(loss):  # a label that is NaN is an error: test_contract.py
    y, z = targets(loss, 100), predictions(loss, 100)
    y[[17, 42]] = nan
    for value in loss.loss_gradient_hessian(y, z, reduction="none"):
        assert_array_equal(np.isnan(value), np.isin(np.arange(100), [17, 42]))
    assert np.isnan(loss(y, z)) and np.isnan(loss(y, z, reduction="sum"))


def test_nan_keeps_out_of_other_elements_and_every_payload_stays_nan():
    bits = np.random.default_rng(0).integers(1, 2**52, 1000)
    z = (np.uint64(0x7FF0000000000000) | bits.astype(np.uint64)).view(np.float64)
    for loss in INSTANCES:
        for value in loss.loss_gradient_hessian(targets(loss, 1000), np.concatenate([z[:500], -z[500:]]),
                                                reduction="none"):
            assert np.isnan(value).all()


@pytest.mark.parametrize(("dtype", "bad"), [(np.float64, 1e300), *((d, v) for d in DTYPES for v in (nan, inf, -inf))])
@all_losses
def test_a_weight_of_0_masks_whatever_stands_there(loss, dtype, bad):
    y, z = targets(loss, 60), predictions(loss, 60, dtype)
    w = np.random.default_rng(0).random(60)
    w[[3, 50]] = 0
    kept = w != 0
    spoiled = z.copy()
    spoiled[[3, 50]] = bad
    expected = loss(y[kept], z[kept], sample_weight=w[kept])
    for reduction in ("mean", "sum", "none"):
        value, *arrays = loss.loss_gradient_hessian(y, spoiled, sample_weight=w, reduction=reduction)
        for array in arrays + [value] * (reduction == "none"):
            assert_array_equal(array[[3, 50]], 0)
            assert np.isfinite(array).all()
        if reduction == "mean":
            assert value == pytest.approx(expected, rel=1e-13)


def test_a_weight_of_0_masks_nan_targets_but_not_bad_labels():
    assert fl.SquaredError()([nan, 1.0], [0.0, 3.0], sample_weight=[0, 1]) == 4.0
    with pytest.raises(ValueError, match=r"y_true\[0\] is 2"):
        fl.BinaryCrossEntropy()([2, 1], [0.0, 3.0], sample_weight=[0, 1])
    with pytest.raises(ValueError, match=r"y_true\[0\] is nan"):
        fl.Hinge()([nan, 1], [0.0, 3.0], sample_weight=[0, 1])


def test_a_class_weight_of_0_masks_too():
    loss = fl.BinaryCrossEntropy(class_weight={0: 0.0})
    value, gradient = loss.loss_gradient([0, 1, 0], [nan, 0.0, inf])
    assert value == pytest.approx(np.log(2))
    assert_array_equal(gradient, [0, -0.5, 0])


BOUNDED = [loss for loss in INSTANCES if loss.domain[0] > -inf and not is_probability(loss)]


@both_dtypes
@pytest.mark.parametrize("loss", BOUNDED, ids=repr)
def test_predictions_outside_their_domain_are_nan(loss, dtype):
    low = dtype(loss.domain[0])
    outside = [np.nextafter(low, dtype(-inf)), low - dtype(0.5), low - dtype(1e30), dtype(-inf)]
    if low == 0:
        outside += [dtype(0.0), dtype(-0.0)]  # at -1 the squared log error has its limit
    y = targets(loss, 50)
    y[:2] = label(loss, 0.0), 1e-30
    for bad in outside:
        for value in loss.loss_gradient_hessian(y, np.full(50, bad), reduction="none"):
            assert np.isnan(value).all(), bad
        z = predictions(loss, 50, dtype)
        z[17] = bad
        assert np.isnan(loss(y, z))
        for value in loss.loss_gradient_hessian(y, z, reduction="none"):
            assert_array_equal(np.isnan(value), np.arange(50) == 17)
        w = (np.arange(50) != 17).astype(float)
        kept = w > 0
        assert loss(y, z, sample_weight=w) == pytest.approx(loss(y[kept], z[kept]), rel=1e-13)


@pytest.mark.parametrize("bad", [-1e-300, -0.5, np.nextafter(1, 2), 1.5, inf, -inf])
@pytest.mark.parametrize("loss", [loss for loss in INSTANCES if is_probability(loss)], ids=repr)
def test_probabilities_outside_their_domain_are_nan(loss, bad):
    for y in (0, 1):
        assert np.isnan(by_sample(loss, y, bad)).all()
    assert np.isnan(loss([0, 1], [0.5, bad]))


@both_dtypes
@pytest.mark.parametrize("kwargs", [{}, {"sample_weight": [0.5, 2.0, 1.0, 0.0]}])
def test_the_mean_of_huge_losses_is_finite(dtype, kwargs):
    huge = np.finfo(dtype).max / 1.5
    for loss, z in ((fl.AbsoluteError(), huge), (fl.SquaredError(), np.sqrt(huge))):
        z = np.array([z, -z, z, -z], dtype)
        expected = float(loss(np.zeros(1), z[:1], reduction="none")[0])
        assert loss(np.zeros(4), z, **kwargs) == pytest.approx(expected, rel=1e-6)
        value, gradient, hessian = loss.loss_gradient_hessian(np.zeros(4), z, **kwargs)
        assert value == pytest.approx(expected, rel=1e-6)
        assert np.isfinite(gradient).all() and np.isfinite(hessian).all()
        in_place = z.copy()
        value, _ = loss.loss_gradient(np.zeros(4), in_place, gradient_out=in_place, **kwargs)
        assert value == pytest.approx(expected, rel=1e-6)
        assert in_place.tobytes() == gradient.tobytes()


@both_dtypes
def test_the_sum_of_huge_float32_losses_is_a_float64(dtype):
    z = np.full(100, np.finfo(np.float32).max / 2, dtype)
    assert fl.AbsoluteError()(np.zeros(100), z, reduction="sum") == float(z[0]) * 100


def test_infinite_losses_keep_the_sum_infinite():
    z = np.zeros(5000)
    z[3000] = inf
    for reduction in ("mean", "sum"):
        assert fl.AbsoluteError()(np.zeros(5000), z, reduction=reduction) == inf
    w = np.ones(5000)
    w[3000] = -1.0
    assert fl.AbsoluteError()(np.zeros(5000), z, sample_weight=w) == -inf


def test_gradients_of_a_mean_are_not_flushed():
    # 1/n times a subnormal gradient is still the correctly rounded number
    z = np.array([-740.0, 0.0])
    # exp(-740)/2 = 2.10e-322, and the subnormal numbers are 4.94e-324 apart
    assert abs(fl.BinaryCrossEntropy().gradient([0, 0], z)[0] - 2.0944e-322) <= 4.94e-324
    gradient = fl.SquaredError().gradient(np.zeros(4), np.full(4, 1e-310))
    assert_allclose(gradient, 2e-310 / 4, rtol=1e-12)


@pytest.mark.parametrize("tiny", [1e-310, 5e-324])
def test_tiny_weights_keep_means_finite_and_zeros_zero(tiny):
    value, gradient = fl.SquaredError().loss_gradient([0.0, 1.0, nan], [1.0, 3.0, 0.0], sample_weight=[tiny, tiny, 0])
    assert value == pytest.approx(2.5, rel=1e-15)
    assert_array_equal(gradient, [1.0, 2.0, 0.0])
    assert fl.BinaryCrossEntropy(class_weight=[tiny] * 2)([0, 1], [0.0, 0.0]) == pytest.approx(np.log(2), rel=1e-15)


@pytest.mark.parametrize("loss", [
    fl.Huber(1e-300), fl.Sharp(epsilon=1e-50), fl.Sharp("arctan", epsilon=1e50), fl.BinaryFocal(gamma=1e90),
    fl.BinaryCrossEntropy(pos_weight=1e300), fl.Quantile([0.5, 1e-100]), fl.Robust(2 + 1e-9), fl.Fair(1e-60),
    fl.Expectile(1e-50), fl.AsymmetricFocal(gamma_neg=1e90), fl.Tukey(1e50), fl.Fair(2e-38), fl.Tukey(1e-39)], ids=repr)
def test_parameters_outside_float32_are_an_error_there_and_only_there(loss):
    y, z = np.array([[0.0, 1.0]]), np.array([[0.5, 1.0]])
    with pytest.raises(ValueError, match=r"in float32"):
        loss(y, z.astype(np.float32))
    outputs = loss.loss_gradient_hessian(y, z, reduction="none")
    assert not np.isnan(outputs).any()


def test_a_label_beyond_float32_is_named_without_a_warning():
    with pytest.raises(ValueError, match=r"y_true\[1\] is 1e\+300"):
        fl.BinaryCrossEntropy()([1, 1e300], np.zeros(2, np.float32))
