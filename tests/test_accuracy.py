"""Losses, gradients and Hessians against mpmath, in ulp; sums against math.fsum.

``python tests/test_accuracy.py`` prints the largest errors by loss, dtype and output, from many samples.
"""

import math
import sys

import numpy as np
import pytest

import fastloss as fl
from fastloss import kernels
from floats import DTYPES, ulps, wider
from reference import INSTANCES, PAIRS, exact, hard_pairs, limit, predictions, targets

OUTPUTS = ("loss", "gradient", "hessian")
OUTPUTS_OF_PAIRS = ("loss", "gradient[0]", "gradient[1]", "hessian[0]", "hessian[1]")


def worst_errors(loss, dtype, n, seed=0):
    """{output: (ulp, y_true, y_pred, got, expected)} at the worst of the samples."""
    y, z = hard_pairs(loss, n, dtype, seed)
    found = dict.fromkeys(OUTPUTS_OF_PAIRS if loss in PAIRS else OUTPUTS, (-1.0,))
    got = np.column_stack(loss.loss_gradient_hessian(y, z, reduction="none"))
    for y_i, z_i, numbers in zip(y, z, got, strict=True):
        for output, number, (value, scale) in zip(found, numbers, exact(loss, y_i, z_i, dtype), strict=True):
            error = ulps(number, value, dtype, scale)
            if error > found[output][0]:
                found[output] = error, float(y_i), z_i.tolist(), float(number), value
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", INSTANCES + PAIRS, ids=repr)
def test_errors_in_ulp(loss, dtype):
    seed = (INSTANCES + PAIRS).index(loss)  # other samples for each
    for output, (error, y, z, got, expected) in worst_errors(loss, dtype, 300, seed).items():
        assert error <= limit(loss), f"{output} at ({y!r}, {z!r}) is {got!r}: {error:.2f} ulp off {expected}"


def roots(c, r):
    """Of `PseudoHuber`, and over c² of `Robust(1)`."""
    s = np.sqrt(c * c + r * r)
    return c * r * r / (s + c), c * r / s, (c / s) ** 3


def arctan(c, r):
    """Of `Sharp("arctan")`, for a positive label."""
    two_over_pi = type(c)("0.63661977236758134307553505349005744813783858296182")
    square = c * c + r * r
    return None, -two_over_pi * c / square, 2 * two_over_pi * c * r / square**2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("make", "formula", "per_square"), [
    (fl.PseudoHuber, roots, False), (lambda c: fl.Robust(1.0, c), roots, True),
    (lambda c: fl.Sharp("arctan", c), arctan, False)], ids=["PseudoHuber", "Robust(1)", "Sharp arctan"])
def test_many_parameters(make, formula, per_square, dtype):
    # roundings of a parameter move all numbers the same way: a few of them do not tell
    rng = np.random.default_rng(0)
    limit = 4 if kernels.ISA in ("x86-64-v3", "x86-64-v4") else 4.5  # rare ones, without fused multiply-add
    for parameter in [1.99, 1e3, *10 ** rng.uniform(-2, 2, 30)]:
        c = dtype(parameter).astype(wider(dtype))
        z = (rng.normal(size=20_000) * c * 10 ** rng.uniform(-2, 2, 20_000)).astype(dtype)
        y = np.ones(z.shape, dtype) if formula is arctan else rng.normal(size=z.shape).astype(dtype)
        r = z.astype(c.dtype) - (0 if formula is arctan else y)
        got = make(float(c)).loss_gradient_hessian(y, z, reduction="none")
        for output, numbers, expected in zip(OUTPUTS, got, formula(c, r), strict=True):
            if expected is None:
                continue
            expected = expected / c / c if per_square else expected
            error = np.abs(numbers - expected) / np.spacing(np.abs(expected).astype(dtype))
            assert error.max() <= limit, (output, parameter, float(z[error.argmax()]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", INSTANCES + PAIRS, ids=repr)
def test_all_methods_give_the_same_bits(loss, dtype):
    y, z = hard_pairs(loss, 1000, dtype)
    loss_all, gradient_all, hessian_all = loss.loss_gradient_hessian(y, z, reduction="none")
    for result, expected in [
        ((loss(y, z, reduction="none"), loss.loss(y, z, reduction="none")), (loss_all, loss_all)),
        ((loss.gradient(y, z, reduction="none"),), (gradient_all,)),
        (loss.loss_gradient(y, z, reduction="none"), (loss_all, gradient_all)),
        (loss.gradient_hessian(y, z, reduction="none"), (gradient_all, hessian_all)),
    ]:
        assert [a.tobytes() for a in result] == [a.tobytes() for a in expected]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", INSTANCES + PAIRS, ids=repr)
def test_bits_do_not_depend_on_the_position(loss, dtype):
    # in the vector body, in its tail, alone
    y, z = (a[:75] for a in hard_pairs(loss, 60, dtype))
    together = loss.loss_gradient_hessian(y, z, reduction="none")
    alone = [loss.loss_gradient_hessian(y[i:i + 1], z[i:i + 1], reduction="none") for i in range(len(y))]
    for out, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert out.tobytes() == np.concatenate(parts).tobytes()


SUMMED = [
    ("constant", lambda n: np.full(n, 0.1)),
    ("constant, many bits", lambda n: np.full(n, 1 / 3)),
    ("uniform", lambda n: np.random.default_rng(0).random(n)),
    ("all exponents", lambda n: np.exp(np.random.default_rng(0).uniform(-300, 300, n))),
    ("descending", lambda n: 1 / np.arange(1.0, n + 1)),
    ("one large", lambda n: np.concatenate([[1e16], np.ones(n - 1)])),
]


@pytest.mark.parametrize("values", [f for _, f in SUMMED], ids=[name for name, _ in SUMMED])
@pytest.mark.parametrize("n", [1, 7, 513, 4097, 1_000_000, 10_000_000])
def test_sums_within_4_ulp_of_fsum(n, values):
    if n == 10_000_000 and values is not SUMMED[0][1]:
        pytest.skip("ten million values: one kind is enough for the time it takes")
    z = values(n)
    total = fl.AbsoluteError()(np.zeros(n), z, reduction="sum")
    expected = math.fsum(z)
    assert abs(total - expected) <= 4 * np.spacing(expected)
    mean = fl.AbsoluteError()(np.zeros(n), z)
    assert abs(mean - expected / n) <= 5 * np.spacing(expected / n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", INSTANCES, ids=repr)
def test_sums_of_losses_within_4_ulp_of_fsum(loss, dtype):
    n = 20_000
    y, z, w = targets(loss, n, dtype), predictions(loss, n, dtype), np.random.default_rng(0).random(n)
    by_sample = loss(y, z, reduction="none").astype(np.float64)
    unit = np.spacing(math.fsum(np.abs(by_sample)))  # losses of one sign: of their sum
    assert abs(loss(y, z, reduction="sum") - math.fsum(by_sample)) <= 4 * unit
    if dtype == np.float64:
        unit = np.spacing(math.fsum(np.abs(by_sample * w)))
        assert abs(loss(y, z, sample_weight=w, reduction="sum") - math.fsum(by_sample * w)) <= 4 * unit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [fl.SquaredError(), fl.AbsoluteError(), fl.Huber(), fl.Quantile(0.3),
                                  fl.Expectile(0.3), fl.AbsolutePercentageError(), fl.Hinge(), fl.SquaredHinge()],
                         ids=repr)
def test_sums_of_any_size(loss, dtype):
    # the lightest losses are summed as they are computed, 64 at a time, of blocks of 512 or 1024
    for n in (1, 63, 64, 65, 127, 128, 511, 513, 576, 1023, 1025, 1100, 4095, 4096, 4097, 4200, 8192, 8200):
        y, z = targets(loss, n, dtype), predictions(loss, n, dtype)
        by_sample, gradient = loss.loss_gradient(y, z, reduction="none")
        expected = math.fsum(by_sample.astype(np.float64))
        scores = z.copy()
        total, in_place = loss.loss_gradient(y, scores, reduction="sum", gradient_out=scores)
        assert abs(total - expected) <= 4 * np.spacing(expected)
        assert in_place.tobytes() == gradient.tobytes()
        assert loss(y, z, reduction="sum") == total
        for i in {0, n // 2, n - 1}:  # a NaN comes through from anywhere
            z[i] = np.nan
            assert np.isnan(loss(y, z))
            z[i] = 0


def measure(n=600):
    """Prints the table of largest errors; '!' marks those beyond the limit."""
    for loss in INSTANCES + PAIRS:
        for dtype in DTYPES[::-1]:
            for output, (error, y, z, got, value) in worst_errors(loss, dtype, n, seed=7).items():
                print(f"{'!' if error > limit(loss) else ' '} {loss!r:70} {dtype.__name__} {output:11} {error:10.3g} "
                      f"ulp of {limit(loss):.3g}  y={y!r} z={z!r} got={got!r} exact={float(value)!r}", flush=True)


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
