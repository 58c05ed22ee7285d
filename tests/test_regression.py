"""Regression losses: known values, kinks, minimisers, relations to each other, and other people's implementations."""

import warnings

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats
from sklearn import metrics
from sklearn._loss import loss as sklearn_loss
from sklearn.linear_model import _sgd_fast as sgd

import fastloss as fl
from reference import INSTANCES, is_binary, predictions, targets

# Losses of the residual alone, and those of a logarithm or a ratio of the prediction.
OTHERS = (fl.SquaredLogError, fl.AbsolutePercentageError, fl.Poisson, fl.Gamma, fl.Tweedie, fl.NegativeBinomial)
LOSSES = [loss for loss in INSTANCES if not is_binary(loss) and not isinstance(loss, OTHERS)]
DEVIANCES = [loss for loss in INSTANCES if loss.get_params().get("full") or loss.get_params().get("link") == "identity"]
CONVEX = [loss for loss in LOSSES if not isinstance(loss, fl.Tukey) and not (
    isinstance(loss, fl.Robust) and loss.alpha < 1)]
regression_losses = pytest.mark.parametrize("loss", LOSSES, ids=repr)
RNG = np.random.default_rng(0)
Y, Z, W = RNG.normal(size=400), RNG.normal(size=400), RNG.random(400)
COUNTS, AMOUNTS = RNG.poisson(1.5, 400).astype(float), RNG.gamma(1.5, 2, 400)
LOG2 = np.log(2)


def all_outputs(loss, y, z, **kwargs):
    return loss.loss_gradient_hessian(y, z, reduction="none", **kwargs)


def assert_same(got, expected, rtol=1e-14, atol=0.0):
    for a, b in zip(got, expected, strict=True):
        assert_allclose(a, b, rtol=rtol, atol=atol)


def by_sample(loss, r):
    """The outputs at residuals r."""
    return all_outputs(loss, np.zeros(len(r)), np.asarray(r, float))


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
    # tau weighs y > z; the Hessian at 0 is that of the left
    (fl.Expectile(0.75), 2): (1, 1, 0.5), (fl.Expectile(0.75), -2): (3, -3, 1.5), (fl.Expectile(0.75), 0): (0, 0, 1.5),
    (fl.SmoothL1(), 0.5): (0.125, 0.5, 1), (fl.SmoothL1(2.0), -1): (0.25, -0.5, 0.5),
    # at the kink the Hessian is that of the outside
    (fl.SmoothL1(2.0), 2): (1, 1, 0), (fl.SmoothL1(2.0), -2): (1, -1, 0), (fl.SmoothL1(0.5), 3): (2.75, 1, 0),
    (fl.SmoothL1(0.0), -3): (3, -1, 0), (fl.SmoothL1(0.0), 0): (0, 0, 0), (fl.SmoothL1(), 0): (0, 0, 1),
    (fl.PseudoHuber(), 0): (0, 0, 1), (fl.PseudoHuber(4.0), 3): (4, 2.4, 0.512),
    (fl.PseudoHuber(3.0), -4): (6, -2.4, 0.216), (fl.PseudoHuber(), 1e-170): (0, 1e-170, 1),
    (fl.LogCosh(), 0): (0, 0, 1), (fl.LogCosh(), LOG2): (np.log(1.25), 0.6, 0.64),
    (fl.LogCosh(), -LOG2): (np.log(1.25), -0.6, 0.64), (fl.LogCosh(), 1000): (1000 - LOG2, 1, 0),
    (fl.LogCosh(), 1e-5): (5e-11 * (1 - 1e-10 / 6), 1e-5 * (1 - 1e-10 / 3), 1 - 1e-10),
    (fl.Fair(), 0): (0, 0, 1), (fl.Fair(), 1): (1 - LOG2, 0.5, 0.25), (fl.Fair(2.0), -2): (4 - 4 * LOG2, -1, 0.25),
    (fl.Fair(), 1e-6): (5e-13 * (1 - 2e-6 / 3 + 5e-13), 1e-6 / (1 + 1e-6), (1 + 1e-6)**-2),
    (fl.EpsilonInsensitive(0.5), 0.25): (0, 0, 0), (fl.EpsilonInsensitive(0.5), 2): (1.5, 1, 0),
    (fl.EpsilonInsensitive(0.5), -2): (1.5, -1, 0), (fl.EpsilonInsensitive(0.0), -2): (2, -1, 0),
    (fl.SquaredEpsilonInsensitive(0.5), 0.25): (0, 0, 0), (fl.SquaredEpsilonInsensitive(0.5), 2): (2.25, 3, 2),
    (fl.SquaredEpsilonInsensitive(0.5), -2): (2.25, -3, 2),
    # the edge of the tube is inside, and just beyond is outside
    **{(cls(0.5), r): (0, 0, 0) for cls in (fl.EpsilonInsensitive, fl.SquaredEpsilonInsensitive) for r in (0.5, -0.5)},
    (fl.EpsilonInsensitive(0.5), 0.5 + 2**-53): (2**-53, 1, 0),
    (fl.SquaredEpsilonInsensitive(0.5), 0.5 + 2**-52): (2**-104, 2**-51, 2), (fl.EpsilonInsensitive(0.0), 0): (0, 0, 0),
    (fl.SquaredEpsilonInsensitive(0.0), 0): (0, 0, 0), (fl.SquaredEpsilonInsensitive(0.0), 3): (9, 6, 2),
    (fl.AbsolutePercentageError(0.5), 3): (6, 2, 0), (fl.AbsolutePercentageError(0.5), 0): (0, 0, 0),
    (fl.Robust(2.0, 2.0), 4): (2, 1, 0.25), (fl.Robust(1.0, 2.0), 2 * np.sqrt(8)): (2, np.sqrt(2) / 3, 1 / 108),
    (fl.Robust(0.0), 2): (np.log(3), 2 / 3, -1 / 9), (fl.Robust(0.0, 3.0), 0): (0, 0, 1 / 9),
    (fl.Robust(-2.0), 2): (1, 0.5, -0.25), (fl.Robust(-2.0, 0.5), -3): (1.8, -0.12, -0.104),
    (fl.Robust(-np.inf), 1): (1 - np.exp(-0.5), np.exp(-0.5), 0),
    (fl.Robust(-np.inf, 2.0), -4): (1 - np.exp(-2), -np.exp(-2), -0.75 * np.exp(-2)),
    (fl.Robust(3.0), np.sqrt(3)): (7 / 3, 2 * np.sqrt(3), 3.5), (fl.Robust(3.0), 0): (0, 0, 1),
    (fl.Tukey(2.0), 0): (0, 0, 1), (fl.Tukey(2.0), 1): (37 / 96, 0.5625, -0.1875),
    (fl.Tukey(2.0), -1): (37 / 96, -0.5625, -0.1875), (fl.Tukey(2.0), 2): (2 / 3, 0, 0),
    (fl.Tukey(2.0), -2): (2 / 3, 0, 0), (fl.Tukey(2.0), 1e9): (2 / 3, 0, 0),
}
# (loss, y_true, y_pred): (loss, gradient, Hessian)
KNOWN_PAIRS = {
    (fl.SquaredLogError(), np.e - 1, 0): (1, -2, 4), (fl.SquaredLogError(), 0, np.e - 1): (1, 2 / np.e, 0),
    (fl.SquaredLogError(), -0.5, 1): (4 * LOG2**2, 2 * LOG2, 0.5 - LOG2), (fl.SquaredLogError(), 3, 3): (0, 0, 0.125),
    (fl.AbsolutePercentageError(), 4, 5): (0.25, 0.25, 0), (fl.AbsolutePercentageError(), -4, 5): (2.25, 0.25, 0),
    (fl.AbsolutePercentageError(), -4, -5): (0.25, -0.25, 0), (fl.AbsolutePercentageError(2.0), 1, 0): (0.5, -0.5, 0),
    (fl.Poisson(), 3, 0): (1, -2, 1), (fl.Poisson(), 0, LOG2): (2, 2, 2),
    (fl.Poisson(), 3, LOG2): (2 - 3 * LOG2, -1, 2), (fl.Poisson(full=True), 3, 0): (np.log(27) - 2, -2, 1),
    (fl.Poisson(full=True), 0, LOG2): (2, 2, 2), (fl.Gamma(), 3, 0): (3, -2, 3),
    (fl.Gamma(), 3, LOG2): (LOG2 + 1.5, -0.5, 1.5), (fl.Gamma(full=True), 3, 0): (2 - np.log(3), -2, 3),
    (fl.Gamma(full=True), 1, 0): (0, 0, 1),
    (fl.Tweedie(), 3, 0): (8, -2, 2), (fl.Tweedie(), 0, np.log(4)): (4, 2, 1),
    (fl.Tweedie(full=True), 4, 0): (2, -3, 2.5),
    (fl.Tweedie(3.0), 3, 0): (0.5, -2, 5), (fl.Tweedie(3.0, full=True), 2, 0): (0.25, -1, 3),
    (fl.Tweedie(-1.0), 3, 0): (-7 / 6, -2, -3), (fl.Tweedie(-1.0, full=True), 3, 0): (10 / 3, -2, -3),
    (fl.Tweedie(0.0), -3, 0): (3.5, 4, 5), (fl.Tweedie(0.0, full=True), -3, 0): (8, 4, 5),
    (fl.Tweedie(0.0, "identity"), 3, -1): (8, -4, 1), (fl.Tweedie(1.0, "identity"), 3, 1): (np.log(27) - 2, -2, 3),
    (fl.Tweedie(1.5, "identity"), 4, 1): (2, -3, 5.5), (fl.Tweedie(2.0, "identity"), 4, 1): (3 - np.log(4), -3, 7),
    (fl.Tweedie(3.0, "identity"), 2, 1): (0.25, -1, 4), (fl.Tweedie(-1.0, "identity"), 3, 1): (10 / 3, -2, -1),
    (fl.NegativeBinomial(), 3, 0): (4 * LOG2, -1, 1), (fl.NegativeBinomial(0.5), 3, LOG2): (2 * LOG2, -0.5, 1.25),
    (fl.NegativeBinomial(), 0, 0): (LOG2, 0.5, 0.25),
}


def test_a_subnormal_gradient_is_rounded_once():
    assert fl.Expectile(0.5).gradient([0.0], [5e-324], reduction="none") == [5e-324]


@pytest.mark.parametrize("case", KNOWN, ids=repr)
def test_known_values(case):
    loss, r = case
    assert_allclose(np.ravel(by_sample(loss, [r])), KNOWN[case], rtol=1e-15, atol=0)


@pytest.mark.parametrize("case", KNOWN_PAIRS, ids=repr)
def test_known_values_of_pairs(case):
    loss, y, z = case
    expected = np.array(KNOWN_PAIRS[case])
    # a zero here is where rounded inputs, such as e - 1, pass through zero
    assert_allclose(np.ravel(all_outputs(loss, [y], [float(z)])), expected, rtol=2e-15, atol=2e-16)


@pytest.mark.parametrize("loss", DEVIANCES, ids=repr)
def test_deviances_are_0_at_the_target_and_above_elsewhere(loss):
    y = targets(loss, 400)
    y = np.abs(y) + 0.25  # of a mean that every power has
    best = y if loss.get_params().get("link") == "identity" else np.log(y)
    value, gradient, _ = all_outputs(loss, y, best)
    # terms of up to y³, or 1/(power - 1), cancel
    assert_allclose(value, 0, atol=1e-13 * (1 + y**3).max())
    assert_allclose(gradient, 0, atol=1e-13 * (1 + y**3).max())
    for step in (-0.1, 0.1):
        assert (loss(y, best + step, reduction="none") > value).all()
    assert (value >= 0).all()
    assert (loss(targets(loss, 400), predictions(loss, 400), reduction="none") >= 0).all()


@regression_losses
def test_perfect_predictions_cost_nothing(loss):
    value, gradient, _ = loss.loss_gradient_hessian(Y, Y, reduction="none")
    assert_array_equal(value, 0)
    assert_array_equal(gradient, 0)


@pytest.mark.parametrize("loss", CONVEX, ids=repr)
def test_losses_are_convex_and_not_negative(loss):
    r = np.sort(RNG.normal(0, 3, 500))
    value, gradient, hessian = by_sample(loss, r)
    assert (value >= 0).all() and (hessian >= 0).all() and (np.diff(gradient) >= -4e-16 * np.abs(gradient[1:])).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in CONVEX], ids=repr)
def test_robust_losses_grow_but_are_not_convex(loss):
    scale = loss.get_params().get("scale") or loss.c
    r = np.linspace(0, 20, 500) * scale
    value, gradient, hessian = by_sample(loss, r)
    assert (np.diff(value) >= 0).all() and (gradient >= 0).all() and (hessian < 0).any()
    assert gradient.argmax() < 499 and gradient[-1] < gradient.max() / 2


@pytest.mark.parametrize("loss", [fl.Poisson(), fl.Gamma(), fl.Tweedie(1.2), fl.Tweedie(1.9), fl.NegativeBinomial(2.0),
                                  fl.Tweedie(1.0, "identity")], ids=repr)
def test_losses_of_distributions_are_convex(loss):
    z = predictions(loss, 500)
    assert (all_outputs(loss, targets(loss, 500), z)[2] >= 0).all()


def test_relative_losses():
    # of the squared log error only the ratio of 1 + z and 1 + y counts, of the percentage error that of z and y
    y, z = np.exp(Y), np.exp(Z)
    assert_same(all_outputs(fl.SquaredLogError(), y - 1, z - 1)[:1], [(Z - Y)**2], rtol=1e-11, atol=1e-15)
    assert_same(all_outputs(fl.AbsolutePercentageError(), 8 * y, 8 * z)[:1],
                all_outputs(fl.AbsolutePercentageError(), y, z)[:1], rtol=0)


@regression_losses
def test_only_the_residual_counts(loss):
    z, y = np.round(Z * 64) / 64, np.round(Y * 64) / 64  # so that shifting rounds nothing
    assert_same(loss.loss_gradient_hessian(y, z), loss.loss_gradient_hessian(y + 32, z + 32), rtol=0)


@regression_losses
def test_symmetry(loss):
    asymmetric = isinstance(loss, (fl.Quantile, fl.Expectile))
    mirrored = type(loss)(*(1 - v for v in loss.get_params().values())) if asymmetric else loss
    value, gradient, hessian = by_sample(loss, Z)
    assert_same(by_sample(mirrored, -Z), (value, -gradient, hessian), rtol=1e-15)


@pytest.mark.parametrize(("loss", "statistic"), [
    (fl.SquaredError(), np.mean), (fl.AbsoluteError(), np.median), (fl.Quantile(0.1), lambda y: np.quantile(y, 0.1)),
    (fl.Quantile(0.9), lambda y: np.quantile(y, 0.9)), (fl.Huber(1e6), np.mean),
    (fl.Expectile(0.8), lambda y: stats.expectile(y, 0.8)), (fl.SmoothL1(0.0), np.median),
    (fl.PseudoHuber(1e6), np.mean),
    (fl.Poisson(), lambda y: np.log(np.mean(y))), (fl.Gamma(), lambda y: np.log(np.mean(y))),
    (fl.Tweedie(1.3), lambda y: np.log(np.mean(y))), (fl.Tweedie(2.7), lambda y: np.log(np.mean(y))),
    (fl.Tweedie(1.5, "identity"), np.mean), (fl.NegativeBinomial(0.3), lambda y: np.log(np.mean(y))),
    (fl.SquaredLogError(), lambda y: np.expm1(np.mean(np.log1p(y)))),
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
    for cls in (fl.Huber, fl.PseudoHuber, fl.Fair, fl.Tukey):
        assert_allclose(cls(3.0)(3 * Y, 3 * Z), 9 * cls(1.0)(Y, Z), rtol=1e-14)


def test_relations_of_squared_and_absolute_errors():
    square, absolute = by_sample(fl.SquaredError(), Z), by_sample(fl.AbsoluteError(), Z)
    assert_same(by_sample(fl.Expectile(0.5), Z), [v / 2 for v in square], rtol=0)
    assert_same(by_sample(fl.SquaredEpsilonInsensitive(0.0), Z), square, rtol=0)
    assert_same(by_sample(fl.EpsilonInsensitive(0.0), Z), absolute, rtol=0)
    assert_same(by_sample(fl.SmoothL1(0.0), Z), absolute, rtol=0)
    assert_same(by_sample(fl.AbsolutePercentageError(1.0), Z), absolute, rtol=0)
    for beta in (0.1, 1.0, 2.0):
        assert_same(by_sample(fl.SmoothL1(beta), Z), [v / beta for v in by_sample(fl.Huber(beta), Z)], rtol=1e-14)
    tube = np.maximum(np.abs(Z) - 0.3, 0)
    assert_same(by_sample(fl.EpsilonInsensitive(0.3), Z)[:1], [tube], atol=1e-16)
    assert_same(by_sample(fl.SquaredEpsilonInsensitive(0.3), Z)[:2], [tube**2, 2 * np.sign(Z) * tube], atol=1e-16)
    # far from and near 0
    assert_same(by_sample(fl.LogCosh(), 50 * Z)[:1], [50 * np.abs(Z) - LOG2 + np.log1p(np.exp(-100 * np.abs(Z)))],
                rtol=1e-12)
    for wide in (fl.PseudoHuber(1e9), fl.Fair(1e9), fl.Tukey(1e9)):
        assert_same(by_sample(wide, Z)[:2], by_sample(fl.SquaredError(half=True), Z)[:2], rtol=1e-8)


def test_robust_is_a_family():
    half_square = by_sample(fl.SquaredError(half=True), Z)
    assert_same(by_sample(fl.Robust(2.0), Z), half_square, rtol=0)
    assert_same(by_sample(fl.Robust(1.0), Z), by_sample(fl.PseudoHuber(1.0), Z))
    u = 1 + Z**2 / 2
    assert_same(by_sample(fl.Robust(0.0), Z), [np.log1p(Z**2 / 2), Z / u, (1 - Z**2 / 2) / u**2], atol=1e-15)
    assert_same(by_sample(fl.Robust(-2.0), Z)[:1], [2 * Z**2 / (Z**2 + 4)])
    assert_same(by_sample(fl.Robust(-np.inf), Z)[:1], [-np.expm1(-Z**2 / 2)])
    for alpha in (-np.inf, -2.0, 0.0, 0.5, 1.0, 2.0, 3.0):  # scale is in the units of y
        value, gradient, hessian = by_sample(fl.Robust(alpha, 4.0), 4 * Z)
        assert_same((value, 4 * gradient, 16 * hessian), by_sample(fl.Robust(alpha), Z), atol=1e-15)


@pytest.mark.parametrize(("near", "limit"), [
    *((alpha, 0.0) for alpha in (1e-30, -1e-30, 2e-20, -1e-19, 1e-12, -1e-9, 1e-6)),
    *((2 + step, 2.0) for step in (1e-15, -1e-15, 1e-12, 1e-9, -1e-6)),
    *((1 + step, 1.0) for step in (1e-15, -1e-15, 1e-9, -1e-6)), (-100.0, -np.inf), (-1000.0, -np.inf),
])
def test_robust_is_continuous_in_alpha(near, limit):
    step = abs(1 / near if limit == -np.inf else near - limit)
    r = np.concatenate([Z, 30 * Z, 1e-3 * Z]) if np.isfinite(limit) else Z
    # the derivative by alpha: (1 + logarithms of r)² times the loss, at the most
    assert_same(by_sample(fl.Robust(near), r), by_sample(fl.Robust(limit), r), rtol=1e-14 + 40 * step,
                atol=1e-14 + 40 * step)
    if np.float32(near) != 2:  # which float32 refuses
        single = [all_outputs(fl.Robust(alpha), np.zeros(400), Z.astype(np.float32)) for alpha in (near, limit)]
        assert_same(*single, rtol=1e-5 + 40 * step, atol=1e-6 + 40 * step)


def test_tweedie_tends_to_poisson_gamma_and_normal():
    y = AMOUNTS
    for power, link in ((1.0, "log"), (1.0, "identity"), (2.0, "log"), (2.0, "identity"), (0.0, "identity")):
        z = np.exp(Z) if link == "identity" else Z
        for step in (1e-7, -1e-7)[:2 if power == 2 else 1]:
            near = power - step if power == 0 else power + step
            assert_same(all_outputs(fl.Tweedie(near, link, full=True), y, z),
                        all_outputs(fl.Tweedie(power, link, full=True), y, z), rtol=1e-5, atol=1e-5)
    for full in (False, True):
        for power, cls in ((1.0, fl.Poisson), (2.0, fl.Gamma)):
            assert_same(all_outputs(fl.Tweedie(power, full=full), y, Z), all_outputs(cls(full), y, Z), rtol=0)
    assert_same(all_outputs(fl.Tweedie(0.0, "identity"), Y, Z), by_sample(fl.SquaredError(half=True), Z - Y), rtol=0)
    assert_same(all_outputs(fl.Tweedie(0.0, full=True), Y, Z)[:1], [(np.exp(Z) - Y)**2 / 2], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1.5, 2.0, 3.0])
def test_links_and_constants(power):
    y = COUNTS if power < 2 else AMOUNTS
    value, gradient, hessian = all_outputs(fl.Tweedie(power, full=True), y, Z)
    mean = np.exp(Z)
    of_mean = all_outputs(fl.Tweedie(power, "identity"), y, mean)
    assert_allclose(value, of_mean[0], rtol=1e-9, atol=1e-12)
    assert_allclose(gradient, of_mean[1] * mean, rtol=1e-10, atol=1e-12)
    assert_allclose(hessian, of_mean[2] * mean**2 + of_mean[1] * mean, rtol=1e-9, atol=1e-9)
    # what full adds depends on y alone
    short = all_outputs(fl.Tweedie(power), y, Z)
    at_0 = all_outputs(fl.Tweedie(power, full=True), y, 0 * Z)[0] - all_outputs(fl.Tweedie(power), y, 0 * Z)[0]
    assert_allclose(value - short[0], at_0, rtol=1e-9, atol=1e-10)
    assert_same(short[1:], (gradient, hessian), rtol=0)
    assert_same(all_outputs(fl.Tweedie(power, "identity", full=True), y, mean), of_mean, rtol=0)


def test_negative_binomial_tends_to_poisson():
    for z in (Z, Z - 5):
        value, gradient, hessian = all_outputs(fl.NegativeBinomial(1e-9), COUNTS, z)
        assert_same((value, gradient, hessian), all_outputs(fl.Poisson(), COUNTS, z), rtol=1e-6, atol=1e-6)


VARYING = [(fl.Quantile, "quantile", [0.1, 0.5, 0.9]), (fl.Expectile, "expectile", [0.1, 0.5, 0.9]),
           (fl.Huber, "delta", [0.1, 1.0, 1.345]), (fl.EpsilonInsensitive, "epsilon", [0.0, 0.1, 1.0]),
           (fl.SquaredEpsilonInsensitive, "epsilon", [0.0, 0.1, 1.0])]
varying = pytest.mark.parametrize(("cls", "name", "values"), VARYING, ids=lambda v: getattr(v, "__name__", repr(v)))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@varying
def test_a_parameter_for_each_column(cls, name, values, order, dtype):
    z = np.asarray(RNG.normal(size=(700, 3)).astype(dtype), order=order)
    y = RNG.normal(size=(700, 3))
    weights = np.arange(700)
    for given in (values, tuple(values), np.array(values, np.float32), np.array(values)):
        got = all_outputs(cls(given), y, z, sample_weight=weights)
        for column, value in enumerate(np.asarray(given, float)):
            expected = all_outputs(cls(**{name: float(value)}), y[:, column], z[:, column], sample_weight=weights)
            assert_same([out[:, column] for out in got], expected, rtol=0)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 4)])
@varying
def test_a_parameter_by_column_needs_as_many_columns(cls, name, values, shape):
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\).*\(n, 3\)"):
        cls(values)(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("loss", [fl.Huber(), fl.Robust(0.5), fl.Poisson(), fl.Tweedie(1.5, "identity")], ids=repr)
def test_multi_output_is_by_element(loss):
    y, z = targets(loss, 600).reshape(200, 3), predictions(loss, 600).reshape(200, 3)
    assert loss(y, z) == pytest.approx(loss(y.ravel(), z.ravel()), rel=1e-15)
    assert_same((a.ravel() for a in all_outputs(loss, y, z)), all_outputs(loss, y.ravel(), z.ravel()), rtol=0)


# ---- other people's implementations ----------------------------------------------------------------------------------


def test_scipy():
    for delta in (0.1, 1.0, 2.5):
        assert_allclose(by_sample(fl.Huber(delta), Z)[0], special.huber(delta, Z), rtol=1e-14)
        assert_allclose(by_sample(fl.PseudoHuber(delta), Z)[0], special.pseudo_huber(delta, Z), rtol=1e-13)
    assert_allclose(by_sample(fl.LogCosh(), Z)[0], np.log(np.cosh(Z)), rtol=1e-10)
    assert_allclose(all_outputs(fl.Poisson(full=True), AMOUNTS, Z)[0], special.kl_div(AMOUNTS, np.exp(Z)), rtol=1e-11,
                    atol=1e-14)


@pytest.mark.parametrize("dispersion", [0.1, 1.0, 7.0])
def test_scipy_distributions(dispersion):
    # the negative log-likelihoods, up to what does not depend on z: differences between two predictions
    mean, other = np.exp(Z), np.exp(Y)
    a = dispersion
    for loss, y, log_likelihood in (
        (fl.Poisson(), COUNTS, lambda m: stats.poisson.logpmf(COUNTS, m)),
        (fl.NegativeBinomial(a), COUNTS, lambda m: stats.nbinom.logpmf(COUNTS, 1 / a, 1 / (1 + a * m))),
        (fl.Gamma(), AMOUNTS, lambda m: a * stats.gamma.logpdf(AMOUNTS, 1 / a, scale=m * a)),
        # the inverse Gaussian distribution is that of power 3
        (fl.Tweedie(3.0), AMOUNTS, lambda m: a * stats.invgauss.logpdf(AMOUNTS, m * a, scale=1 / a)),
    ):
        got = loss(y, Z, reduction="none") - loss(y, Y, reduction="none")
        assert_allclose(got, log_likelihood(other) - log_likelihood(mean), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("loss", "other"), [
    (fl.SquaredError(), metrics.mean_squared_error), (fl.AbsoluteError(), metrics.mean_absolute_error),
    *((fl.Quantile(q), lambda *a, q=q, **k: metrics.mean_pinball_loss(*a, alpha=q, **k)) for q in (0.1, 0.5, 0.9)),
], ids=repr)
def test_sklearn_metrics(loss, other):
    for weight in (None, W):
        assert loss(Y, Z, sample_weight=weight) == pytest.approx(other(Y, Z, sample_weight=weight), rel=1e-13)


def deviance(power):
    return lambda y, mean, sample_weight: metrics.mean_tweedie_deviance(
        y, mean, sample_weight=sample_weight, power=power) / 2


@pytest.mark.parametrize(("y", "power", "other"), [
    (COUNTS, 1.0, lambda *a, **k: metrics.mean_poisson_deviance(*a, **k) / 2), (COUNTS, 1.5, deviance(1.5)),
    (AMOUNTS, 2.0, lambda *a, **k: metrics.mean_gamma_deviance(*a, **k) / 2), (AMOUNTS, 3.0, deviance(3)),
    (AMOUNTS, 2.4, deviance(2.4)), (COUNTS, 0.0, deviance(0)), (COUNTS, -1.0, deviance(-1)),
], ids=lambda v: repr(v) if isinstance(v, float) else "")
def test_half_deviances(y, power, other):
    mean = np.exp(Z)
    for weight in (None, W):
        expected = pytest.approx(other(y, mean, sample_weight=weight), rel=1e-12)
        assert fl.Tweedie(power, full=True)(y, Z, sample_weight=weight) == expected
        assert fl.Tweedie(power, "identity")(y, mean, sample_weight=weight) == expected


@pytest.mark.parametrize("weight", [None, W])
def test_sklearn_metrics_of_ratios(weight):
    y, z = AMOUNTS, np.exp(Z)
    assert fl.SquaredLogError()(y, z, sample_weight=weight) == pytest.approx(
        metrics.mean_squared_log_error(y, z, sample_weight=weight), rel=1e-13)
    assert fl.AbsolutePercentageError()(Y, Z, sample_weight=weight) == pytest.approx(
        metrics.mean_absolute_percentage_error(Y, Z, sample_weight=weight), rel=1e-13)
    assert np.finfo(float).eps > fl.AbsolutePercentageError().eps  # scikit-learn's is 2.22e-16
    assert fl.AbsolutePercentageError(float(np.finfo(float).eps))([0.0], [1.0]) == pytest.approx(
        metrics.mean_absolute_percentage_error([0.0], [1.0]))


@pytest.mark.parametrize(("loss", "y", "other"), [
    (fl.Poisson(), COUNTS, sklearn_loss.HalfPoissonLoss()), (fl.Gamma(), AMOUNTS, sklearn_loss.HalfGammaLoss()),
    *((fl.Tweedie(power, full=True), y, sklearn_loss.HalfTweedieLoss(power=power))
      for power, y in ((-1.0, COUNTS), (0.0, COUNTS), (1.5, COUNTS), (1.7, COUNTS), (3.0, AMOUNTS))),
    *((fl.Tweedie(power, "identity"), y, sklearn_loss.HalfTweedieLossIdentity(power=power))
      for power, y in ((0.0, Y), (1.0, COUNTS), (1.5, COUNTS), (2.0, AMOUNTS), (3.0, AMOUNTS))),
], ids=repr)
def test_sklearn_losses_of_distributions(loss, y, other):
    z = np.exp(Z) if loss.get_params().get("link") == "identity" and loss.power else Z
    value, gradient, hessian = all_outputs(loss, y, z, sample_weight=W)
    constant = 0
    if isinstance(loss, fl.Tweedie):  # theirs leaves constants out
        constant = W * other.constant_to_optimal_zero(y)
    assert_allclose(value, other.loss(y, z, sample_weight=W) + constant, rtol=1e-10, atol=1e-12)
    expected_gradient, expected_hessian = other.gradient_hessian(y, z, sample_weight=W)
    assert_allclose(gradient, expected_gradient, rtol=1e-11, atol=1e-13)
    if loss.get_params().get("link") != "identity" or loss.power < 2:
        assert_allclose(hessian, expected_hessian, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_sklearn_sgd_losses(epsilon):
    for loss, other in ((fl.EpsilonInsensitive(epsilon), sgd.EpsilonInsensitive(epsilon)),
                        (fl.SquaredEpsilonInsensitive(epsilon), sgd.SquaredEpsilonInsensitive(epsilon))):
        value, gradient, _ = all_outputs(loss, Y, Z)
        expected = [(other.py_loss(p, t), other.py_dloss(p, t)) for p, t in zip(Z, Y, strict=True)]
        assert_same((value, gradient), np.transpose(expected), atol=1e-15)


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
    *((fl.SmoothL1(beta), "smooth_l1_loss", {"beta": beta}) for beta in (1.0, 0.3, 0.0)),
    (fl.Poisson(), "poisson_nll_loss", {"log_input": True}),
], ids=repr)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_torch(loss, name, options, reduction):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch", reason="torch is not installed")
    z = torch.tensor(Z, requires_grad=True)
    y = Y if loss.target == "real" else COUNTS
    expected = getattr(torch.nn.functional, name)(z, torch.tensor(y), reduction=reduction, **options)
    expected.backward()
    value, gradient = loss.loss_gradient(y, Z, reduction=reduction)
    assert value == pytest.approx(expected.item(), rel=1e-13)
    assert_allclose(gradient, z.grad.numpy(), rtol=1e-13)


def test_means_of_losses_whose_sums_overflow_on_both_sides():
    w = np.where(np.arange(32) % 4 == 3, -1.0, 1.0)
    assert fl.AbsoluteError()(np.zeros(32), np.full(32, 1.6e308), sample_weight=w) == pytest.approx(1.6e308, rel=1e-12)
    y, z = np.repeat([1e306, 0.0], 500), np.repeat([150.0, 709.0], 500)
    assert fl.Poisson()(y, z) == pytest.approx((np.exp(709.0) - 150e306) / 2, rel=1e-12)


@pytest.mark.parametrize(("y", "z"), [(1e155, 357.0), (-1e155, 357.0), (1e150, 350.0)])
def test_tweedie_where_both_terms_overflow(y, z):
    # power 0: (e^z)²/2 - y·e^z, of which both terms are inf at the first; slopes e^z·(e^z - y)
    value, slope, curve = (part[0] for part in fl.Tweedie(0.0).loss_gradient_hessian([y], [z], reduction="none"))
    with mpmath.workdps(40):
        mean = mpmath.exp(z)
        expected = [float(mean * (mean / 2 - y)), float(mean * (mean - y)), float(mean * (2 * mean - y))]
    assert_allclose([value, slope, curve], expected, rtol=1e-13)


@pytest.mark.parametrize(("loss", "y", "z", "dtype"), [
    (fl.PseudoHuber(1e30), 3.1630669457862176e296, -2.3966486556082097e290, np.float64),
    (fl.PseudoHuber(1e100), 2.448687199575434e217, 1e300, np.float64),
    (fl.PseudoHuber(1e10), 1.7417305e36, 2.0999255e29, np.float32),
    (fl.Robust(1.0, 1e-10), 1.7679457e32, -3.02027e36, np.float32),
])
def test_losses_of_roots_beyond_all_numbers_are_infinite(loss, y, z, dtype):
    # though what rounding took from the residual, times its slope, is so, too
    assert loss.loss(np.array([y], dtype), np.array([z], dtype), reduction="none") == np.inf


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5])
def test_robust_of_residuals_far_beyond_a_tiny_scale(alpha):
    loss = fl.Robust(alpha, 1e-10)
    for y, z in ((1.7679457e32, -3.02027e36), (-1.4103318e31, 2.6775132e36), (0.0, 1e-6), (3e-7, -2e-5), (1.0, 3.3)):
        y, z = np.array([y], np.float32), np.array([z], np.float32)
        u = mpmath.mpf((float(z[0]) - float(y[0])) / float(np.float32(1e-10))) ** 2 / abs(alpha - 2)
        expected = mpmath.log1p(u) if alpha == 0 else abs(alpha - 2) / alpha * ((1 + u) ** (alpha / 2) - 1)
        assert_allclose(loss.loss(y, z), float(expected), rtol=1e-6)
