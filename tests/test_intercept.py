"""`intercept_only`: no constant has a lower loss, in mpmath and on grids; closed forms; what others compute; edges."""

import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats
from sklearn._loss import loss as sklearn_loss

import fastloss as fl
from fastloss._intercept import search
from reference import DEFAULTS, INSTANCES, exact

INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(0)
all_losses = pytest.mark.parametrize("loss", INSTANCES, ids=repr)
each_loss = pytest.mark.parametrize("loss", DEFAULTS, ids=repr)
CLASSIFIERS = [loss for loss in DEFAULTS if "binary" in loss.target]
classifiers = pytest.mark.parametrize("loss", CLASSIFIERS, ids=repr)


def targets(loss, n, seed=0, ties=False):
    """Targets of any kind, some equal, from a distribution with long tails."""
    rng = np.random.default_rng(seed)
    if "binary" in loss.target:
        labels = rng.integers(0, 2, n).astype(float)
        return np.where(rng.random(n) < 0.3, rng.random(n), labels) if "soft" in loss.target and not ties else labels
    y = rng.integers(-4, 5, n).astype(float) if ties else 3 * rng.standard_cauchy(n) + rng.choice([0, -50])
    lowest = {"real": None, "non-negative": 0.0, "positive": 0.1, "above -1": -0.9}[loss.target]
    return y if lowest is None else np.abs(y) + lowest


def with_class_weight(loss, class_weight):
    return type(loss)(**loss.get_params() | {"class_weight": class_weight})


# ---- no other constant is better -------------------------------------------------------------------------------------


def precise(loss, y, w, z):
    """(the loss of a constant, the sum of its terms' absolute values) in high precision."""
    values = [exact(loss, yi, z, np.float64)[0] for yi in y]
    return [sum(wi * value[i] for wi, value in zip(w, values, strict=True)) for i in (0, 1)]


@pytest.mark.parametrize(("n", "ties"), [(1, True), (7, True), (40, False)])
@all_losses
def test_no_constant_of_a_grid_is_better(loss, n, ties):
    for seed, w in enumerate((np.ones(n), RNG.random(n) ** 3, 0.1 * RNG.integers(1, 5, n))):
        y = targets(loss, n, seed, ties)
        best = loss.intercept_only(y, w)
        assert type(best) is float and not np.isnan(best)
        if isinstance(loss, fl.HingeEmbedding) and best == -INF:  # which is -inf beside inf
            assert (w * y).sum() > (w * (1 - y)).sum()
            continue
        low, high = loss.domain
        if high == 1:
            grid = np.linspace(0, 1, 3001)
        elif "binary" in loss.target:
            sizes = np.concatenate([np.geomspace(1e-300, 1e300, 301), np.linspace(0, 50, 1501)])
            grid = np.concatenate([-sizes, sizes, [low, high]])
        else:
            width = max(np.ptp(y), 1.0)
            grid = np.clip(np.concatenate([np.linspace(y.min() - width, y.max() + width, 3001),
                                           np.linspace(-20, 20, 501), y]), low, high)
        table = np.repeat(np.append(grid, best)[:, None], n, axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            value = (w * loss(np.broadcast_to(y, table.shape), table, reduction="none")).sum(axis=1)
        if best == low == 0:  # at the open end of the domain
            value[-1] = 0
        lowest = np.nanargmin(value)
        if np.isinf(best):  # where the references have no limits
            assert value[-1] <= value[lowest] + 1e-13 * (np.abs(value[lowest]) + w.sum())
        elif value[lowest] < value[-1]:  # is it, but for rounding?
            (at_best, terms), (at_lowest, _) = (precise(loss, y, w, z) for z in (best, table[lowest, 0]))
            assert at_best <= at_lowest + 1e-15 * (terms + n), (best, table[lowest, 0])


@all_losses
def test_no_constant_near_or_far_is_better_in_high_precision(loss):
    for seed, n in ((0, 1), (1, 6)):
        y, w = targets(loss, n, seed, ties=True), 0.1 * np.arange(1, n + 1)
        best = loss.intercept_only(y, w)
        low, high = loss.domain
        if np.isinf(best) or best in loss.domain:  # it falls all the way
            steps = np.array([0.5, 1.0, 3.0, 10.0, 30.0])
            points = np.sign(best) * steps if np.isinf(best) else abs(best - 0.5 ** (1 + steps))
            values = [precise(loss, y, w, z)[0] for z in points]
            assert all(after < before for before, after in pairwise(values))
            continue
        size = 0.4 * min(best, 1 - best) if high == 1 else best if low == 0 else max(1.0, np.ptp(y))
        here, terms = precise(loss, y, w, best)
        for step in (1e-6, 1e-4, 1e-2, 0.3, 1.0):
            for z in (best - step * size, best + step * size):
                if low < z < high:  # the constant itself is rounded, which costs less than this
                    assert here <= precise(loss, y, w, z)[0] + 1e-15 * (terms + n), (best, z)


@pytest.mark.parametrize("loss", [
    fl.Huber(0.3), fl.SmoothL1(0.5), fl.PseudoHuber(2.0), fl.LogCosh(), fl.Fair(), fl.SquaredEpsilonInsensitive(),
    fl.Expectile(0.8), fl.Robust(1.5), fl.Robust(1.0, 0.1)], ids=repr)
def test_roots_are_found_to_the_last_digits(loss):
    for seed in range(5):
        y = np.random.default_rng(seed).normal(100, 1, 9)
        best = loss.intercept_only(y)
        for z, sign in ((best * (1 - 1e-15), -1), (best * (1 + 1e-15), 1)):  # 5 ulp
            assert sign * sum(exact(loss, yi, z, np.float64)[1][0] for yi in y) > 0


def test_a_search_over_more_targets_than_its_grid_holds():
    y = RNG.normal(3, 2, 20_000)
    for loss in (fl.LogCosh(), fl.Tukey(), fl.Robust(-2.0)):
        found = optimize.minimize_scalar(lambda z, loss=loss: loss(y, np.full(len(y), z)), (2.5, 3.5))
        assert loss.intercept_only(y) == pytest.approx(found.x, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("loss", [fl.Tukey(0.3), fl.Tukey(1.0), fl.Robust(-INF, 0.3), fl.Robust(0.0, 0.1)], ids=repr)
def test_the_lowest_of_many_minima(loss, seed):
    rng = np.random.default_rng(seed)
    y, w = rng.normal(0, 5, 30), rng.random(30)
    grid = np.linspace(y.min(), y.max(), 10_001)
    table = np.repeat(grid[:, None], 30, axis=1)
    values = (w * loss(np.broadcast_to(y, table.shape), table, reduction="none")).sum(axis=1)
    best = loss.intercept_only(y, w)
    assert loss(y, np.full(30, best), sample_weight=w, reduction="sum") <= values.min() * (1 + 1e-15)


def test_the_lowest_minimum_is_not_always_next_to_the_lowest_of_the_grid():
    y = np.random.default_rng(27).uniform(0, 1000, 1000)
    found = optimize.minimize_scalar(lambda z: fl.Tukey(1.0)(y, np.full(1000, z)), (852.4, 852.6), tol=1e-12)
    assert fl.Tukey(1.0).intercept_only(y) == pytest.approx(found.x, abs=1e-6)


# ---- known constants -------------------------------------------------------------------------------------------------

LOGIT = np.log(0.05 / 0.95)
# (loss, y, w): constant
KNOWN = [
    # one sample, and equal ones
    *((loss, [0.1] * n, None, 0.1) for n in (1, 10) for loss in DEFAULTS
      if loss.target == "real" and not isinstance(loss, (fl.EpsilonInsensitive, fl.SquaredEpsilonInsensitive))),
    (fl.EpsilonInsensitive(0.25), [1.0], None, 1.0), (fl.SquaredEpsilonInsensitive(0.25), [1.0], None, 1.0),
    (fl.SquaredLogError(), [0.1] * 10, None, 0.1), (fl.Tweedie(link="identity"), [0.1] * 10, None, 0.1),
    # the middle of an interval
    (fl.AbsoluteError(), [4, 1, 2, 9], None, 3.0), (fl.AbsoluteError(), [1, 2, 5], [0.1, 0.2, 0.3], 3.5),
    (fl.AbsoluteError(), [1, 2, 5], [0.1, 0.2, 0.31], 5.0), (fl.AbsoluteError(), [5, 1], None, 3.0),
    (fl.Quantile(0.25), [1, 2, 3, 4], None, 1.5), (fl.Quantile(0.3), [1, 2, 3, 4], None, 2.0),
    (fl.Quantile(0.7), np.arange(10), None, 6.5), (fl.Quantile(0.999), [1, 2], None, 2.0),
    (fl.AbsolutePercentageError(), [1, 2, 2], None, 1.5), (fl.AbsolutePercentageError(), [1, 10, 10], None, 1.0),
    (fl.AbsolutePercentageError(eps=4.0), [1, 2, 3], None, 2.0), (fl.AbsolutePercentageError(), [0, 3, 4], None, 0.0),
    (fl.EpsilonInsensitive(1.0), [0, 10], None, 5.0), (fl.Huber(0.5), [0, 10], None, 5.0),
    (fl.Huber(0.5), [0, 0, 10], [0.1, 0.2, 0.3], 5.0),
    # outliers count once, or not at all
    (fl.Huber(1.0), [0, 0, 0, 100], None, 1 / 3), (fl.Tukey(1.0), [0, 0, 0, 100], None, 0.0),
    (fl.SquaredError(), [0, 0, 0, 100], None, 25.0), (fl.Expectile(0.75), [0, 100], None, 75.0),
    (fl.Expectile(0.75), [0, 100, 7], [1, 1, 0], 75.0), (fl.Robust(2.0), [1, 2, 6], None, 3.0),
    (fl.SquaredLogError(), [0, 3], None, 1.0),
    # of equal minima the smallest; one that no target, and no middle between two, is near
    (fl.Tukey(1.0), [50, -50], None, -50.0), (fl.Tukey(1.0), [50, -50], [3, 2], 50.0),
    (fl.Robust(0.0), [0.0, 4.0], None, 2 - np.sqrt(2)),
    # log links
    *((loss, [0, 0, 6], [1, 1, 2], np.log(3)) for loss in (
        fl.Poisson(), fl.Poisson(full=True), fl.NegativeBinomial(), fl.NegativeBinomial(7.0), fl.Tweedie(),
        fl.Tweedie(1.2), fl.Tweedie(0), fl.Tweedie(-1, full=True), fl.Tweedie(1))),
    *((loss, [1, 1, 5], [1, 1, 2], np.log(3)) for loss in (fl.Gamma(), fl.Gamma(True), fl.Tweedie(2), fl.Tweedie(3))),
    *((fl.Tweedie(power, link="identity"), [1, 1, 5], [1, 1, 2], 3.0) for power in (-1, 0, 1, 1.5, 2, 3)),
    *((loss, [0, 0, 6], [1, 1, 0], -INF) for loss in (
        fl.Poisson(), fl.NegativeBinomial(), fl.Tweedie(), fl.Tweedie(0), fl.Tweedie(-1))),
    (fl.Tweedie(0), [-1, -2], None, -INF), (fl.Tweedie(0), [-1, 1], None, -INF), (fl.Tweedie(-1), [-5, 1], None, -INF),
    (fl.Tweedie(link="identity"), [0, 0], None, 0.0), (fl.Tweedie(0, link="identity"), [-4, 2], None, -1.0),
    # labels of both classes
    (fl.BinaryCrossEntropy(), [0, 1, 1, 1], None, np.log(3)), (fl.BinaryCrossEntropy(), [-1, 1], [1, 4], np.log(4)),
    (fl.BinaryCrossEntropy(), [0.25, 0.75, 0.8], None, np.log(1.8 / 1.2)),
    (fl.BinaryCrossEntropy(pos_weight=6), [0, 0, 1], None, np.log(3)),
    (fl.BinaryCrossEntropy(label_smoothing=0.2), [1], None, np.log(9)),
    (fl.BinaryCrossEntropy("probabilities"), [0, 1, 1, 1], None, 0.75),
    (fl.BinaryCrossEntropy("probabilities", eps=1e-7), [0, 1, 1, 1], None, 0.75),
    (fl.BinaryCrossEntropy("probabilities", pos_weight=2, label_smoothing=0.5), [0, 1], None, 2 / 3),
    (fl.BinaryCrossEntropy("probabilities", eps=0.3), [0, 1, 1, 1], None, 1.0),  # ¼·log(1/0.3) is less
    (fl.BinaryFocal(0.0), [0, 1, 1, 1], None, np.log(3)), (fl.BinaryFocal(3.0), [0, 1], None, 0.0),
    (fl.BinaryFocal(0.0, alpha=0.25), [0, 1, 1, 1], None, 0.0),
    (fl.BinaryFocal(0.0, inputs="probabilities"), [0, 1, 1, 1], None, 0.75),
    (fl.BinaryFocal(2.5, inputs="probabilities"), [1, 0], None, 0.5),
    (fl.AsymmetricFocal(0, 0, 0), [0, 1, 1, 1], None, np.log(3)), (fl.AsymmetricFocal(3, 3, 0), [0, 1], None, 0.0),
    (fl.Exponential(), [0, 1, 1, 1], None, np.log(3) / 2), (fl.SquaredHinge(), [0, 1, 1, 1], None, 0.5),
    (fl.SquaredHinge(3), [0, 1, 1, 1], None, 1.5), (fl.ModifiedHuber(), [0, 1, 1, 1], None, 0.5),
    (fl.Hinge(2), [0, 1, 1], None, 2.0), (fl.Hinge(2), [0, 0, 1], None, -2.0), (fl.Hinge(2), [0, 1], None, 0.0),
    (fl.Hinge(), [0, 1, 1, 1], [0.3, 0.1, 0.1, 0.1], 0.0), (fl.Perceptron(), [0, 1, 1], None, 0.0),
    *((fl.Sharp(phi, epsilon), y, None, end) for phi in ("algebraic", "arctan") for epsilon in (1e-100, 1, 1e100)
      for y, end in (([0, 1, 1], INF), ([0, 0, 1], -INF), ([0, 1], 0.0))),
    # so many positives that the bounded loss of a negative does not count
    (fl.AsymmetricFocal(), [0] + [1] * 30, None, INF),
    # labels of one class
    *((loss, [label] * 3, None, end) for label, end in ((1, INF), (0, -INF), (-1, -INF)) for loss in (
        fl.BinaryCrossEntropy(), fl.BinaryCrossEntropy(pos_weight=2.0), fl.BinaryFocal(),
        fl.BinaryFocal(1.7, alpha=0.1), fl.BinaryFocal(50.0), fl.Exponential(), fl.Sharp(), fl.Sharp("arctan", 1e-3),
        fl.AsymmetricFocal(1, 2, 0))),
    *((loss, [label] * 3, None, label) for label in (0.0, 1.0) for loss in (
        fl.BinaryCrossEntropy("probabilities"), fl.BinaryCrossEntropy("probabilities", eps=1e-3),
        fl.BinaryFocal(inputs="probabilities"), fl.BinaryFocal(0.5, inputs="probabilities"))),
    *((loss, [label], None, end) for label, end in ((1, 1.0), (0, -1.0)) for loss in (
        fl.Hinge(), fl.SquaredHinge(), fl.ModifiedHuber())),
    (fl.Hinge(0), [1], None, 0.0), (fl.SquaredHinge(0), [0], None, 0.0),
    (fl.AsymmetricFocal(), [1], None, INF), (fl.AsymmetricFocal(), [0, 0], None, LOGIT),
    (fl.AsymmetricFocal(), [1, 0], [0, 1], LOGIT),
    # nothing to choose
    (fl.BinaryCrossEntropy(pos_weight=0), [1], None, 0.0),
    (fl.BinaryCrossEntropy("probabilities", pos_weight=0), [1], None, 0.5),
    (fl.BinaryFocal(alpha=0), [1, 1], None, 0.0), (fl.BinaryFocal(alpha=0, inputs="probabilities"), [1], None, 0.5),
    (fl.BinaryFocal(alpha=1), [0, 1], None, INF), (fl.BinaryCrossEntropy(pos_weight=0), [0, 1], None, -INF),
]


@pytest.mark.parametrize(("loss", "y", "w", "constant"), KNOWN, ids=repr)
def test_known_constants(loss, y, w, constant):
    best = loss.intercept_only(y, w)
    assert type(best) is float
    assert best == pytest.approx(constant, rel=1e-15, abs=1e-15)
    assert constant != 0 or not np.signbit(best)


@pytest.mark.parametrize("loss", [fl.GaussianNLL(), fl.GaussianNLL(full=True)], ids=repr)
def test_gaussian(loss):
    y, w = RNG.normal(5, 3, 50), RNG.random(50)
    for weights in (None, w):
        best = loss.intercept_only(y, weights)
        mean = np.average(y, weights=weights)
        assert_allclose(best, [mean, np.log(np.average((y - mean) ** 2, weights=weights))], rtol=1e-14)
        assert_allclose(loss.gradient(y, np.tile(best, (50, 1)), sample_weight=weights).sum(axis=0), 0, atol=1e-15)
    assert_array_equal(loss.intercept_only([0.1] * 10), [0.1, -INF])
    assert_array_equal(loss.intercept_only([1, 2], [1, 0]), [1, -INF])
    assert_array_equal(loss.intercept_only([1, NAN]), [NAN, NAN])
    for unit in (1e-310, 1e-200, 1e300):
        assert_allclose(loss.intercept_only(unit * np.array([1.0, 3.0, 3.0, 5.0])),
                        [3 * unit, np.log(2) + 2 * np.log(unit)], rtol=1e-13)
    for y in (np.ones((3, 2)), np.ones((3, 1)), 1.0):
        with pytest.raises(ValueError, match=r"y_true must have shape \(n,\), got"):
            loss.intercept_only(y)


# ---- the search finds what closed forms say --------------------------------------------------------------------------


@pytest.mark.parametrize("case", [i for i, (loss, *_) in enumerate(KNOWN) if not isinstance(loss, (
    fl.Hinge, fl.SquaredHinge, fl.Perceptron, fl.ModifiedHuber, fl.Sharp, fl.AsymmetricFocal))], ids=lambda i: str(i))
def test_the_search_agrees_with_closed_forms(case):
    """Except for unbounded intervals, of which it gives the unbounded end, and losses whose slope underflows."""
    loss, y, w, constant = KNOWN[case]
    y = np.where(np.asarray(y) == -1, 0, y) if "binary" in loss.target else np.asarray(y)
    w = np.ones(len(y)) if w is None else np.asarray(w, float)
    with np.errstate(over="ignore", invalid="ignore"):
        best = search(loss, y[w > 0].astype(float), w[w > 0])
    # near the root of an identity link or a logarithm, the slope is known to 4 ulp of its two terms
    assert best == pytest.approx(constant, rel=1e-14, abs=1e-14)


def test_a_subclass_finds_its_constant():
    class Mine(fl.Huber):
        """A user's loss."""

        __slots__ = ()

        def __init__(self, scale=1.0):
            super().__init__(delta=1.345 * scale)
            self._parameters.update(scale=scale)

    y = RNG.standard_cauchy(50)
    assert Mine(2.0).intercept_only(y) == fl.Huber(2.69).intercept_only(y)


# ---- other people's --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "other"), [
    (fl.SquaredError(), sklearn_loss.HalfSquaredError()), (fl.AbsoluteError(), sklearn_loss.AbsoluteError()),
    (fl.Quantile(0.3), sklearn_loss.PinballLoss(quantile=0.3)), (fl.Poisson(), sklearn_loss.HalfPoissonLoss()),
    (fl.Gamma(), sklearn_loss.HalfGammaLoss()), (fl.Tweedie(1.3), sklearn_loss.HalfTweedieLoss(power=1.3)),
    (fl.Tweedie(3.0), sklearn_loss.HalfTweedieLoss(power=3.0)),
    (fl.Tweedie(1.3, link="identity"), sklearn_loss.HalfTweedieLossIdentity(power=1.3)),
    (fl.BinaryCrossEntropy(), sklearn_loss.HalfBinomialLoss()), (fl.Exponential(), sklearn_loss.ExponentialLoss()),
], ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
def test_sklearn(loss, other, weighted):
    rng = np.random.default_rng(3)
    y = (rng.random(201) < 0.3).astype(float) if "binary" in loss.target else rng.gamma(2.0, 3.0, 201)
    w = rng.random(201) if weighted else None
    best, theirs = loss.intercept_only(y, w), other.fit_intercept_only(y, w)
    if isinstance(loss, fl.Quantile) and not weighted:  # theirs is interpolated, which is no minimum
        at_best, at_theirs = (loss(y, np.full(201, z)) for z in (best, theirs))
        assert at_best <= at_theirs * (1 + 1e-15)
    else:
        assert best == pytest.approx(theirs, rel=1e-13)


def test_numpy_and_scipy():
    for n in (1, 2, 10, 101, 1000):
        y = np.round(RNG.normal(size=n), 2)
        assert fl.AbsoluteError().intercept_only(y) == np.median(y)
        assert fl.SquaredError().intercept_only(y) == pytest.approx(np.mean(y), rel=1e-14, abs=1e-16)
        for share in (0.1, 0.25, 0.7, 0.9, 0.123):
            assert fl.Quantile(share).intercept_only(y) == np.quantile(y, share, method="averaged_inverted_cdf")
        for share in (0.1, 0.5, 0.9):
            for w in (None, RNG.random(n)):
                assert fl.Expectile(share).intercept_only(y, w) == pytest.approx(
                    stats.expectile(y, share, weights=w), rel=1e-9, abs=1e-11)  # theirs is a root found roughly


@pytest.mark.parametrize("share", [1e-300, 1e-9, 0.3, 1 - 1e-9, 1 - 1e-15])
def test_expectiles_are_exact(share):
    """The gradient in fractions, at the number below and at that above."""
    loss = fl.Expectile(share)
    for n in (2, 3, 30):
        y, w = RNG.normal(5, 1, n), RNG.random(n)
        best = loss.intercept_only(y, w)
        for z, sign in ((best * (1 - 1e-15), -1), (best * (1 + 1e-15), 1)):
            gradient = sum((Fraction(share) if yi > z else 1 - Fraction(share)) * Fraction(wi)
                           * (Fraction(z) - Fraction(yi)) for yi, wi in zip(y, w, strict=True))
            assert sign * gradient > 0


# ---- weights ---------------------------------------------------------------------------------------------------------


@each_loss
def test_integer_weights_are_repetitions(loss):
    y = targets(loss, 20)
    w = np.random.default_rng(1).integers(0, 4, 20)
    assert loss.intercept_only(y, w) == pytest.approx(loss.intercept_only(np.repeat(y, w)), rel=1e-13, abs=1e-15)


@each_loss
def test_samples_of_weight_0_are_left_out(loss):
    y, w = targets(loss, 12), np.arange(12) % 3
    expected = loss.intercept_only(y[w > 0], w[w > 0])
    if "binary" not in loss.target:
        y[w == 0] = NAN
    assert loss.intercept_only(y, w) == expected


@pytest.mark.parametrize("unit", [1e-310, 1e-150, 2.0**-1074, 1e250, 1e305])
@each_loss
def test_the_scale_of_weights_does_not_matter(loss, unit):
    y, w = targets(loss, 30), np.random.default_rng(1).integers(0, 4, 30)
    assert loss.intercept_only(y, w * unit) == pytest.approx(loss.intercept_only(y, w), rel=1e-12, abs=1e-12)


DYNAMIC = fl.DynamicClassWeight(2, momentum=0.5).update([0, 0, 0, 1])


@pytest.mark.parametrize(("class_weight", "pair"), [
    ({0: 0.5, 1: 3.0}, (0.5, 3.0)), ({-1: 0.5}, (0.5, 1.0)), ([0.5, 3.0], (0.5, 3.0)), (DYNAMIC, (0.8, 4 / 3)),
    ("balanced", None),
], ids=repr)
@classifiers
def test_class_weights_weigh_samples(loss, class_weight, pair):
    y, w = targets(loss, 40), np.random.default_rng(1).random(40)
    pair = (20 / (1 - y).sum(), 20 / y.sum()) if pair is None else pair
    best = with_class_weight(loss, class_weight).intercept_only(y, w)
    assert best == pytest.approx(loss.intercept_only(y, w * ((1 - y) * pair[0] + y * pair[1])), rel=1e-13, abs=1e-15)
    assert best != loss.intercept_only(y, w) or not np.isfinite(best) or best in (-1.0, 0.0, 1.0)


@pytest.mark.parametrize("n", [10, 49, 1_000, 12_345])
@classifiers
def test_balanced_classes_balance(loss, n):
    y = np.arange(n) % 7 == 0
    best = with_class_weight(loss, "balanced").intercept_only(y)
    if isinstance(loss, fl.AsymmetricFocal):
        assert best == pytest.approx(with_class_weight(loss, None).intercept_only([0, 1]), rel=1e-14)
    elif isinstance(loss, (fl.Contrastive, fl.HingeEmbedding)):
        assert best == pytest.approx(loss.intercept_only([0, 1]), rel=1e-14)  # half the margin, or the margin
    elif isinstance(loss, (fl.Hinge, fl.Sharp, fl.Perceptron)):
        assert best == 0.0  # not ±1, or ±inf, by rounding
    else:
        assert best == pytest.approx(0.0, abs=1e-14)


def test_a_class_that_is_not_there_weighs_1():
    assert fl.Exponential(class_weight="balanced").intercept_only([1, 1]) == INF


# ---- columns ---------------------------------------------------------------------------------------------------------


@each_loss
def test_columns_are_on_their_own(loss):
    y = np.stack([targets(loss, 25, seed) for seed in range(3)], axis=1)
    by_sample, by_element = RNG.random(25), RNG.random((25, 3))
    for w in (None, by_sample, by_element):
        expected = [loss.intercept_only(y[:, j], w if w is None or w.ndim == 1 else w[:, j]) for j in range(3)]
        for order in "CF":
            best = loss.intercept_only(np.asarray(y, order=order), w)
            assert type(best) is np.ndarray and best.dtype == np.float64 and best.shape == (3,)
            assert_array_equal(best, expected)
    assert loss.intercept_only(y[:, :1]).shape == (1,)


@each_loss
def test_columns_may_have_weights_of_other_sizes(loss):
    y, w = np.stack([targets(loss, 10)] * 2, axis=1), RNG.random((10, 1))
    best = loss.intercept_only(y, w * [2.0**1000, 2.0**-1000])
    assert best[0] == best[1] == loss.intercept_only(y[:, 0], w[:, 0])


@pytest.mark.parametrize(("cls", "name", "values"), [
    (fl.Quantile, "quantile", [0.1, 0.5, 0.9]), (fl.Expectile, "expectile", [0.1, 0.5, 0.9]),
    (fl.Huber, "delta", [0.1, 1.0, 10.0]), (fl.EpsilonInsensitive, "epsilon", [0.0, 0.3, 2.0]),
    (fl.SquaredEpsilonInsensitive, "epsilon", [0.0, 0.3, 2.0]), (fl.BinaryCrossEntropy, "pos_weight", [0.1, 1.0, 9.0]),
], ids=repr)
def test_parameters_that_vary_by_column(cls, name, values):
    loss = cls(**{name: values})
    y = np.stack([targets(loss, 30, seed=5)] * 3, axis=1)
    expected = [cls(**{name: value}).intercept_only(y[:, 0]) for value in values]
    assert_array_equal(loss.intercept_only(y), expected)
    assert len(set(expected)) > 1
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\)"):
        loss.intercept_only(y[:, :2])
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\)"):
        loss.intercept_only(y[:, 0])


def test_class_weights_by_column():
    y = np.array([[0, 1], [1, 1], [1, 0], [1, 0]])
    assert_allclose(fl.BinaryCrossEntropy(class_weight=[[3.0, 1.0], [1.0, 4.0]]).intercept_only(y), [0, np.log(4)],
                    atol=1e-15)
    assert_allclose(fl.BinaryCrossEntropy(class_weight="balanced").intercept_only(y), [0, 0], atol=1e-15)
    w = np.array([[1, 0], [1, 2], [1, 1], [1, 1]])  # which "balanced" does not count
    assert_allclose(fl.BinaryCrossEntropy(class_weight="balanced").intercept_only(y, w), [0, 0], atol=1e-15)
    w[0, 0] = 2
    assert_allclose(fl.BinaryCrossEntropy(class_weight="balanced").intercept_only(y, w), [-np.log(2), 0], atol=1e-15)


# ---- scales ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**-300, 2.0**-50, 2.0**50, 2.0**300, 2.0**1000])
@pytest.mark.parametrize(("cls", "name"), [
    (fl.SquaredError, None), (fl.AbsoluteError, None), (fl.Quantile, None), (fl.Expectile, None),
    (fl.Huber, "delta"), (fl.SmoothL1, "beta"), (fl.EpsilonInsensitive, "epsilon"), (fl.PseudoHuber, "delta"),
    (fl.SquaredEpsilonInsensitive, "epsilon"), (fl.Fair, "c"), (fl.Tukey, "c"), (fl.Robust, "scale"),
])
def test_any_scale(cls, name, unit):
    most = {fl.PseudoHuber: 1e100, fl.Fair: 1e100, fl.Tukey: 1e100, fl.Robust: 1e20}.get(cls, np.inf)
    if not 1 / most < unit < most:
        pytest.skip("the parameter's limit")
    y = np.random.default_rng(7).normal(3, 2, 21)
    expected = cls(**{name: 0.5} if name else {}).intercept_only(y)
    best = cls(**{name: 0.5 * unit} if name else {}).intercept_only(y * unit)
    assert best / unit == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("loss", [*(loss for loss in DEFAULTS if loss.target == "real"), fl.SquaredLogError()],
                         ids=repr)
@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e300, 8e307])
def test_one_target_of_any_size(loss, size):
    if loss in (fl.EpsilonInsensitive(), fl.SquaredEpsilonInsensitive()):  # the middle of y ± 0.1, rounded
        assert loss.intercept_only([size]) == pytest.approx(size, abs=1e-16)
    else:
        assert loss.intercept_only([size]) == size
        sign = -1 if loss.target == "real" else 1
        assert loss.intercept_only([sign * size] * 7) == sign * size


def test_percentages_of_tiny_targets():
    assert fl.AbsolutePercentageError(eps=1e-320).intercept_only([1e-310, 1e-310, 2e-310]) == 1e-310


@pytest.mark.parametrize("loss", [fl.Poisson(), fl.Gamma(), fl.Tweedie(), fl.NegativeBinomial(), fl.Tweedie(3.0)],
                         ids=repr)
def test_log_links_of_any_size(loss):
    for size in (1e-310, 1e-300, 1e300, 8e307):
        assert loss.intercept_only([size, 2 * size]) == pytest.approx(np.log(size) + np.log(1.5), rel=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.5, 30.0])
def test_focal_loss_of_extreme_shares(gamma):
    for share in (1e-12, 1e-100, 1e-290):
        for loss in (fl.BinaryFocal(gamma), fl.BinaryFocal(gamma, inputs="probabilities")):
            best = loss.intercept_only([0, 1], [1.0, share])
            there = loss([0, 1], np.array([best, best]), sample_weight=[1.0, share], reduction="sum")
            near = best + np.array([-1e-3, 1e-3]) * abs(best)
            assert np.isfinite(best)
            assert all(there <= loss([0, 1], [z, z], sample_weight=[1.0, share], reduction="sum") for z in near)


# ---- forms, and errors -----------------------------------------------------------------------------------------------


@each_loss
def test_forms_of_targets(loss):
    y = targets(loss, 30, ties=True).astype(np.float32).astype(np.float64)
    expected = loss.intercept_only(y)
    for form in (y.tolist(), y.astype(np.float32), np.repeat(y, 2)[::2], y[::-1][::-1], y.astype(np.longdouble)):
        assert loss.intercept_only(form) == expected
    if (y == np.round(y)).all():
        assert loss.intercept_only(y.astype(np.int8)) == expected
    if "binary" in loss.target:
        assert loss.intercept_only(y == 1) == loss.intercept_only(2 * y - 1) == expected


@each_loss
def test_arguments_are_not_changed_and_nothing_warns(loss):
    y, w = targets(loss, 30), RNG.random(30)
    if "binary" in loss.target:
        y = 2 * np.round(y) - 1
    copies = y.copy(), w.copy()
    y.flags.writeable = w.flags.writeable = False
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        loss.intercept_only(y, w)
    assert_array_equal((y, w), copies)


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("loss", [loss for loss in DEFAULTS if "binary" not in loss.target], ids=repr)
def test_targets_that_are_not_finite_give_nan(loss, bad):
    y = np.stack([targets(loss, 5)] * 2, axis=1)
    y[3, 1] = bad
    assert np.isnan(loss.intercept_only(y[:, 1]))
    best = loss.intercept_only(y)
    assert best[0] == loss.intercept_only(y[:, 0]) and np.isnan(best[1])


@pytest.mark.parametrize(("loss", "y", "w", "message"), [
    (fl.Hinge(), [0, 2], None, r"y_true\[1\] is 2"), (fl.Hinge(), [0, 2], [1, 0], r"y_true\[1\] is 2"),
    (fl.Hinge(), [0, NAN], None, r"y_true\[1\] is nan"), (fl.Hinge(), [0, 1, -1], None, r"y_true\[2\] is -1"),
    (fl.BinaryCrossEntropy(), [[0, 1.5]], None, r"y_true\[0, 1\] is 1.5"),
    (fl.Poisson(), [1, -1], None, r"y_true\[1\] is -1"), (fl.Gamma(), [0], None, r"y_true\[0\] is 0"),
    (fl.SquaredLogError(), [-1], None, r"y_true\[0\] is -1"),
    (fl.SquaredError(), [], None, r"y_true has no samples \(shape \(0,\)\)"),
    (fl.SquaredError(), np.ones((3, 0)), None, r"y_true has no samples \(shape \(3, 0\)\)"),
    (fl.SquaredError(), 1.0, None, r"y_true must have shape \(n,\) or \(n, k\), got \(\)"),
    (fl.SquaredError(), np.ones((2, 2, 2)), None, r"y_true must have shape"),
    (fl.SquaredError(), [1, 2], [1, NAN], r"sample_weight\[1\] is nan"),
    (fl.SquaredError(), [1, 2], [1], r"sample_weight has shape \(1,\)"),
    (fl.SquaredError(), [[1, 2]], [[1]], r"sample_weight has shape \(1, 1\)"),
    (fl.SquaredError(), [1, 2], [0, 0], "sum"), (fl.SquaredError(), [1, 2], [1, -1], "sum"),
    (fl.SquaredError(), [1, 2], [2, -1], r"sample_weight\[1\] is -1"),
    (fl.SquaredError(), [[1, 2], [3, 4]], [[1, 0], [1, 0]], "weights of column 1 sum to 0"),
    (fl.Hinge(class_weight={0: 0.0}), [0, 0], None, "sum"),
    (fl.Hinge(class_weight={0: 0.0}), [[1, 0], [1, 0]], None, "weights of column 1 sum to 0"),
    (fl.Hinge(class_weight=np.ones((3, 2))), [[1, 0], [1, 0]], None, r"class_weight has shape \(3, 2\)"),
], ids=repr)
def test_errors(loss, y, w, message):
    with pytest.raises(ValueError, match=message):
        loss.intercept_only(y, w)


@pytest.mark.parametrize("y", [["a"], [1j], np.ma.masked_array([1.0], [True])], ids=repr)
def test_targets_that_are_no_numbers(y):
    with pytest.raises(TypeError, match="y_true"):
        fl.SquaredError().intercept_only(y)
