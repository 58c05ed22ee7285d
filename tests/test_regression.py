"""Regression losses: known values, kinks, minimisers, relations to each other, and other people's implementations."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from sklearn import metrics
from sklearn._loss import loss as sklearn_loss

import fastloss as fl
from reference import INSTANCES

LOSSES = [loss for loss in INSTANCES if loss.target == "real"]
regression_losses = pytest.mark.parametrize("loss", LOSSES, ids=repr)
RNG = np.random.default_rng(0)
Y, Z, W = RNG.normal(size=400), RNG.normal(size=400), RNG.random(400)


def by_sample(loss, r):
    """The outputs at residuals r."""
    return loss.loss_gradient_hessian(np.zeros(len(r)), np.asarray(r, float), reduction="none")


# (loss, r): (loss, gradient, Hessian)
KNOWN = {
    (fl.SquaredError(), 3): (9, 6, 2), (fl.SquaredError(), -0.5): (0.25, -1, 2), (fl.SquaredError(), 0): (0, 0, 2),
    (fl.SquaredError(half=True), 3): (4.5, 3, 1), (fl.SquaredError(half=True), 0): (0, 0, 1),
    (fl.AbsoluteError(), 3): (3, 1, 0), (fl.AbsoluteError(), -2): (2, -1, 0), (fl.AbsoluteError(), 0): (0, 0, 0),
    (fl.Huber(), 0.5): (0.125, 0.5, 1), (fl.Huber(), -3): (2.5, -1, 0), (fl.Huber(), 0): (0, 0, 1),
    # the Hessian at the kink is that of the inside
    (fl.Huber(), 1): (0.5, 1, 1), (fl.Huber(), -1): (0.5, -1, 1), (fl.Huber(2), 2): (2, 2, 1),
    (fl.Huber(), np.nextafter(1, 2)): (0.5, 1, 0), (fl.Huber(2), -5): (8, -2, 0),
    (fl.Quantile(0.9), 2): (0.2, 0.1, 0), (fl.Quantile(0.9), -2): (1.8, -0.9, 0),
    (fl.Quantile(0.9), 0): (0, 0, 0), (fl.Quantile(0.25), 4): (3, 0.75, 0), (fl.Quantile(), -4): (2, -0.5, 0),
}


@pytest.mark.parametrize("case", KNOWN, ids=repr)
def test_known_values(case):
    loss, r = case
    assert_allclose(np.ravel(by_sample(loss, [r])), KNOWN[case], rtol=1e-15, atol=0)


@regression_losses
def test_perfect_predictions_cost_nothing(loss):
    value, gradient, _ = loss.loss_gradient_hessian(Y, Y, reduction="none")
    assert_array_equal(value, 0)
    assert_array_equal(gradient, 0)


@regression_losses
def test_losses_are_convex_and_not_negative(loss):
    r = np.sort(RNG.normal(0, 3, 500))
    value, gradient, hessian = by_sample(loss, r)
    assert (value >= 0).all() and (hessian >= 0).all() and (np.diff(gradient) >= 0).all()


@regression_losses
def test_only_the_residual_counts(loss):
    z, y = np.round(Z * 64) / 64, np.round(Y * 64) / 64  # so that shifting rounds nothing
    for got, expected in zip(loss.loss_gradient_hessian(y, z), loss.loss_gradient_hessian(y + 32, z + 32), strict=True):
        assert_array_equal(got, expected)


@regression_losses
def test_symmetry(loss):
    mirrored = fl.Quantile(1 - loss.quantile) if isinstance(loss, fl.Quantile) else loss
    value, gradient, hessian = by_sample(loss, Z)
    other_value, other_gradient, other_hessian = by_sample(mirrored, -Z)
    assert_allclose(other_value, value, rtol=1e-15)
    assert_allclose(other_gradient, -gradient, rtol=1e-15)
    assert_allclose(other_hessian, hessian, rtol=1e-15)


@pytest.mark.parametrize(("loss", "statistic"), [
    (fl.SquaredError(), np.mean), (fl.AbsoluteError(), np.median), (fl.Quantile(0.1), lambda y: np.quantile(y, 0.1)),
    (fl.Quantile(0.9), lambda y: np.quantile(y, 0.9)), (fl.Huber(1e6), np.mean),
], ids=repr)
def test_minimisers(loss, statistic):
    y = RNG.exponential(size=1001)
    best = statistic(y)
    at_best = loss(y, np.full(1001, best))
    assert all(loss(y, np.full(1001, best + step)) >= at_best for step in (-0.1, -0.01, 0.01, 0.1))


def test_relations():
    assert_array_equal(by_sample(fl.SquaredError(half=True), Z)[0] * 2, by_sample(fl.SquaredError(), Z)[0])
    for half, absolute in zip(by_sample(fl.Quantile(0.5), Z), by_sample(fl.AbsoluteError(), Z), strict=True):
        assert_array_equal(2 * half, absolute)
    for wide, square in zip(by_sample(fl.Huber(1e6), Z), by_sample(fl.SquaredError(half=True), Z), strict=True):
        assert_array_equal(wide, square)
    # scaled residuals and delta
    assert_allclose(fl.Huber(3.0)(3 * Y, 3 * Z), 9 * fl.Huber(1.0)(Y, Z), rtol=1e-14)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_quantile_for_each_column(order, dtype):
    quantiles = [0.1, 0.5, 0.9]
    z = np.asarray(RNG.normal(size=(700, 3)).astype(dtype), order=order)
    y = RNG.normal(size=(700, 3))
    got = fl.Quantile(quantiles).loss_gradient_hessian(y, z, reduction="none", sample_weight=np.arange(700))
    for column, quantile in enumerate(quantiles):
        expected = fl.Quantile(quantile).loss_gradient_hessian(
            y[:, column], z[:, column], reduction="none", sample_weight=np.arange(700))
        for value, other in zip(got, expected, strict=True):
            assert_array_equal(value[:, column], other)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 4)])
def test_quantiles_must_be_as_many_as_columns(shape):
    with pytest.raises(ValueError, match=r"quantile has shape \(3,\).*\(n, 3\)"):
        fl.Quantile([0.1, 0.5, 0.9])(np.zeros(shape), np.zeros(shape))


# ---- other people's implementations ----------------------------------------------------------------------------------


def test_scipy():
    for delta in (0.1, 1.0, 2.5):
        assert_allclose(by_sample(fl.Huber(delta), Z)[0], special.huber(delta, Z), rtol=1e-14)


@pytest.mark.parametrize(("loss", "other"), [
    (fl.SquaredError(), metrics.mean_squared_error), (fl.AbsoluteError(), metrics.mean_absolute_error),
    *((fl.Quantile(q), lambda *a, q=q, **k: metrics.mean_pinball_loss(*a, alpha=q, **k)) for q in (0.1, 0.5, 0.9)),
], ids=repr)
def test_sklearn_metrics(loss, other):
    for weight in (None, W):
        assert loss(Y, Z, sample_weight=weight) == pytest.approx(other(Y, Z, sample_weight=weight), rel=1e-13)


@pytest.mark.parametrize(("loss", "other"), [
    (fl.SquaredError(half=True), sklearn_loss.HalfSquaredError()), (fl.AbsoluteError(), sklearn_loss.AbsoluteError()),
    (fl.Quantile(0.3), sklearn_loss.PinballLoss(quantile=0.3)), (fl.Huber(0.7), sklearn_loss.HuberLoss(delta=0.7)),
], ids=repr)
def test_sklearn_losses(loss, other):
    value, gradient = loss.loss_gradient(Y, Z, sample_weight=W, reduction="none")
    expected, expected_gradient = other.loss_gradient(Y, Z, sample_weight=W)
    assert_allclose(value, expected, rtol=1e-13)
    assert_allclose(gradient, expected_gradient, rtol=1e-13)


@pytest.mark.parametrize(("loss", "name", "options"), [
    (fl.SquaredError(), "mse_loss", {}), (fl.AbsoluteError(), "l1_loss", {}),
    (fl.Huber(0.7), "huber_loss", {"delta": 0.7}),
], ids=repr)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_torch(loss, name, options, reduction):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch", reason="torch is not installed")
    z = torch.tensor(Z, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(z, torch.tensor(Y), reduction=reduction, **options)
    expected.backward()
    value, gradient = loss.loss_gradient(Y, Z, reduction=reduction)
    assert value == pytest.approx(expected.item(), rel=1e-13)
    assert_allclose(gradient, z.grad.numpy(), rtol=1e-13)
