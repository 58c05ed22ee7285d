"""Row losses, their gradients and Hessians against mpmath, in ulp; the references against differences of themselves.

``python tests/test_rows_accuracy.py`` prints the largest errors by loss, dtype, output and number of classes.

The limit is 4 + C/16 ulp: 4 as for all losses, C/16 for a sum over C classes; 4 + 2 gamma + C/16 for a free exponent
gamma. It is that of the number itself where all terms have one sign; else of the sum of the terms' absolute values, as
no format can do better; and of max(q, t) in a gradient q - t of soft targets. The references say which.
"""

import sys
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from mpmath import mpf

import fastloss as fl
from floats import DTYPES, ulps, wider
from reference import scaled
from reference_rows import (
    ROW_INSTANCES,
    ROW_REFERENCES,
    exact_row,
    hard_rows,
    is_logits,
    row_limit,
    row_predictions,
    row_targets,
    sized_instances,
    takes_soft,
)

OUTPUTS = ("loss", "gradient", "hessian")
#: Classes, and how many rows of them: mpmath takes some 50 µs for each number.
ROWS = {2: 36, 3: 36, 5: 18, 10: 18, 17: 9, 33: 6, 100: 2}
EVERYTHING = [(loss, None) for loss in ROW_INSTANCES] + [(loss, n_classes) for n_classes in (3, 20)
                                                        for loss in sized_instances(n_classes)]
#: With each way of computing at least one.
MANY_CLASSES = list({(type(loss), loss.get_params().get("inputs"), loss.get_params().get("variant")): loss
                     for loss in ROW_INSTANCES}.values())


def forms(loss):
    return ("index", "rows") if loss.target == "soft classes" else ("index",)


def rounding_of_scores(loss, z):
    """The ulp that taking the largest score away, and dividing by a temperature, may cost: roundings of an exponent."""
    exact = np.frexp(getattr(loss, "temperature", 1))[0] == 0.5  # a power of 2
    if not is_logits(loss) or exact or not np.isfinite(z).all():
        return 0
    return 2 * float(z.max() - z.min()) / loss.temperature


def worst_errors(loss, dtype, n, n_classes, seed=0, form="index"):
    """{output: (ulp, y_true, y_pred, where, got, expected)} at the worst of n hard rows."""
    y, z = hard_rows(loss, n, n_classes, dtype, seed, form)
    found = dict.fromkeys(OUTPUTS, (-np.inf,))
    for i, numbers in enumerate(zip(*loss.loss_gradient_hessian(y, z, reduction="none"), strict=True)):
        for output, got, expected in zip(OUTPUTS, numbers, exact_row(loss, y[i], z[i], dtype), strict=True):
            expected = [expected] if output == "loss" else expected
            for c, (number, (value, scale)) in enumerate(zip(np.atleast_1d(got), expected, strict=True)):
                error = ulps(number, value, dtype, scale) - rounding_of_scores(loss, z[i])
                if error > found[output][0]:
                    found[output] = error, y[i].tolist(), z[i].tolist(), c, float(number), value
    return found


def check(loss, dtype, rows):
    seed = sum(map(ord, repr(loss)))  # other samples for each
    for n_classes, n in rows.items():
        for form in forms(loss):
            for output, (error, y, z, c, got, expected) in worst_errors(loss, dtype, n, n_classes, seed, form).items():
                assert error <= row_limit(loss, n_classes), (
                    f"{output}[{c}] of {n_classes} classes, {form}, is {got!r}: {error:.2f} ulp off "
                    f"{mpmath.nstr(expected, 20)}, at y={y} z={z}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "n_classes"), EVERYTHING, ids=repr)
def test_errors_in_ulp(loss, n_classes, dtype):
    check(loss, dtype, {n_classes: 18} if n_classes else ROWS)


def products_of_target(loss, one, q, rest):
    """Loss, gradient and Hessian of rows of probabilities, with the sums of their terms' absolute values: what
    reference_rows.py says of losses of the target's probability, for arrays."""
    q_t, rest_t = q[one][:, None], rest[one][:, None]
    u = np.where(rest_t < 0.5, np.log1p(-rest_t), np.log(q_t))
    if isinstance(loss, fl.Focal):
        g = q.dtype.type(loss.gamma)
        power = rest_t**g
        value, first = [-power * u], [power * g * q_t * u / rest_t, -power]
        second = [power * g * q_t * term for term in (2 / rest_t, u / rest_t, (1 - g) * q_t * u / rest_t**2)]
    elif isinstance(loss, fl.PolyCrossEntropy):
        epsilon = q.dtype.type(loss.epsilon)
        value, first, second = [-u, epsilon * rest_t], [q_t * 0 - 1, -epsilon * q_t], [-epsilon * q_t]
    else:  # GeneralizedCrossEntropy(1)
        value, first, second = [rest_t], [-q_t], [-q_t]
    slope = np.where(one, rest, -q)
    return [(sum(terms), sum(map(np.abs, terms))) for terms in (value, [term * slope for term in first], [
        *(term * slope**2 for term in second), *(-term * q * rest for term in first)])]


def products_of_brier(loss, one, q, rest):
    slope, slope_scale = 2 * np.where(one, -rest, q), 2 * (q + one)
    mean, mean_scale = ((q * part).sum(axis=1, keepdims=True) for part in (slope, slope_scale))
    gradient, scale = q * (slope - mean), q * (slope_scale + mean_scale)
    value, curve = (slope**2 / 4).sum(axis=1, keepdims=True), 2 * q**2
    curve = curve * rest**2 + (curve.sum(axis=1, keepdims=True) - curve) * q**2
    return (value, value), (gradient, scale), (curve + (1 - 2 * q) * gradient, curve + scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 3, 10, 70])
@pytest.mark.parametrize("loss", [fl.Brier(), fl.GeneralizedCrossEntropy(1.0), fl.PolyCrossEntropy(4.0), fl.Focal(0.5),
                                  fl.Focal(2.0), fl.Focal(5.0)], ids=repr)
def test_many_rows_of_products_of_probabilities(loss, n_classes, dtype):
    # a product errs by as much as both its factors: with those of cross-entropy, one row of a hundred is beyond
    wide = wider(dtype)
    rng = np.random.default_rng(3)
    n = 20_000 if n_classes <= 10 else 4000
    z = (rng.normal(size=(n, n_classes)) * rng.choice([0.3, 1, 3], (n, 1))).astype(dtype)
    t = rng.integers(0, n_classes, n)
    e = np.exp(z.astype(wide) - z.max(axis=1, keepdims=True))
    others = np.stack([np.delete(e, c, axis=1).sum(axis=1) for c in range(n_classes)], axis=1)
    total = e.sum(axis=1, keepdims=True)
    products = products_of_brier if isinstance(loss, fl.Brier) else products_of_target
    numbers = loss.loss_gradient_hessian(t, z, reduction="none")
    exact = products(loss, np.arange(n_classes) == t[:, None], e / total, others / total)
    for output, got, (expected, scale) in zip(OUTPUTS, numbers, exact, strict=True):
        error = np.abs(got.reshape(expected.shape) - expected) / np.spacing(scale.astype(dtype))
        assert error.max() <= row_limit(loss, n_classes), output


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("q", [0.1, 1e-3, 1e-5])
def test_small_powers_in_confident_rows(q, dtype):
    # the loss is a normal number, its product with q is not
    loss, z = fl.GeneralizedCrossEntropy(q), np.array([[87 if dtype == np.float32 else 708, 0]], dtype)
    value, = loss.loss([0], z, reduction="none")
    (expected, _), _, _ = exact_row(loss, 0, z[0], dtype)
    assert ulps(value, expected, dtype) <= row_limit(loss, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_many_rows_of_cross_entropy(n_classes, dtype):
    wide = wider(dtype)
    rng = np.random.default_rng(0)
    n, rows = 20_000, np.arange(20_000)
    z = (rng.normal(size=(n, n_classes)) * rng.choice([0.3, 1, 3], (n, 1))).astype(dtype)
    y = rng.integers(0, n_classes, n)
    most = z.max(axis=1, keepdims=True)
    e = np.exp(z.astype(wide) - most)
    others = np.stack([np.delete(e, c, axis=1).sum(axis=1) for c in range(n_classes)], axis=1)
    total = e.sum(axis=1, keepdims=True)
    loss = np.log1p(others[rows, z.argmax(axis=1)]) + (most[:, 0].astype(wide) - z[rows, y])
    gradient = e / total
    gradient[rows, y] = -(others / total)[rows, y]
    expected = {"loss": loss, "gradient": gradient, "hessian": e / total * (others / total)}
    got = dict(zip(OUTPUTS, fl.CrossEntropy().loss_gradient_hessian(y, z, reduction="none"), strict=True))
    for output, exact in expected.items():
        error = np.abs(got[output] - exact) / np.spacing(np.abs(exact).astype(dtype))
        assert error.max() <= row_limit(fl.CrossEntropy(), n_classes), output


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [3, 10, 17])
def test_many_rows_of_targets(n_classes, dtype):
    # whose sums are near to 1, but seldom 1: what they are beside it must not be lost
    wide = wider(dtype)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60_000, n_classes)).astype(dtype)
    t = rng.dirichlet(np.ones(n_classes), len(z)).astype(dtype)
    e = np.exp(z.astype(wide))
    total, mass = e.sum(axis=1, keepdims=True), t.astype(wide).sum(axis=1, keepdims=True)
    q = e / total
    gradient, hessian = fl.CrossEntropy().gradient_hessian(t, z, reduction="none")
    limit = row_limit(fl.CrossEntropy(), n_classes)
    assert (np.abs(gradient - (mass * q - t)) / np.spacing(np.maximum(q, t).astype(dtype))).max() <= limit
    exact = mass * q * ((total - e) / total)
    assert (np.abs(hessian - exact) / np.spacing(exact.astype(dtype))).max() <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [10, 70])
def test_smoothed_targets_that_sum_to_a_little_more(n_classes, dtype):
    # (1 - s)·t + s/C sums to 1 + (1 - s)·excess
    wide = wider(dtype)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100, n_classes)).astype(dtype)
    t = (rng.dirichlet(np.ones(n_classes), len(z)) * (1 + (5e-5 if dtype == np.float32 else 5e-7))).astype(dtype)
    e = np.exp(z.astype(wide))
    smoothed = t * (1 - wide(0.25)) + wide(0.25) / n_classes
    expected = e / e.sum(axis=1, keepdims=True) * smoothed.sum(axis=1, keepdims=True)
    loss = fl.CrossEntropy(label_smoothing=0.25)
    error = np.abs(loss.gradient(t, z, reduction="none") - (expected - smoothed))
    assert (error / np.spacing(np.maximum(expected, smoothed).astype(dtype))).max() <= row_limit(loss, n_classes)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [20, 64, 1000])
def test_sums_of_many_equal_scores(n_classes, dtype, order):
    # beside one that is larger: each rounding of the sum falls the same way
    wide = wider(dtype)
    rng = np.random.default_rng(0)
    n = 100_000 // n_classes
    z = np.repeat(rng.uniform(-1.5, 0.2, (n, 1)) - np.log(n_classes), n_classes, axis=1).astype(dtype)
    z[:, 0], z[:, 1] = 7, rng.uniform(0, 0.3, n)
    e = np.exp(z.astype(wide))
    rest = e[:, 1:].sum(axis=1)
    loss, gradient = np.log1p(rest / e[:, 0]), -rest / (rest + e[:, 0])
    got, got_gradient = fl.CrossEntropy().loss_gradient(np.zeros(n, int), np.asarray(z, order=order), reduction="none")
    limit = row_limit(fl.CrossEntropy(), n_classes)
    assert (np.abs(got - loss) / np.spacing(loss.astype(dtype))).max() <= limit
    assert (np.abs(got_gradient[:, 0] - gradient) / np.spacing(-gradient.astype(dtype))).max() <= limit


@pytest.mark.parametrize("sign", [1, -1])
def test_exponentials_of_large_scores(sign):
    # of scores around 1300, of which the largest is subtracted first, and others are not
    rng = np.random.default_rng(0)
    most = sign * rng.uniform(1200, 1520, 200)
    z = np.stack([most, most - rng.uniform(500, 705, 200)], axis=1)
    _, proba = fl.CrossEntropy().gradient_proba(np.zeros(200, int), z, reduction="none")
    with mpmath.workprec(250):
        for (high, low), share in zip(z.tolist(), proba[:, 1], strict=True):
            assert ulps(share, mpmath.exp(mpf(low) - mpf(high)), np.float64) <= row_limit(fl.CrossEntropy(), 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", MANY_CLASSES, ids=repr)
def test_errors_in_ulp_with_many_classes(loss, dtype):
    check(loss, dtype, {1000: 1})


@pytest.mark.parametrize("loss", ROW_INSTANCES, ids=repr)
def test_references_are_derivatives(loss):
    # the derivatives written in reference_rows.py are those of the values written there
    n_classes, step = 3, mpf(10) ** -20
    p = SimpleNamespace(eps_of_dtype=mpf(2) ** -52, limit=4, least=None, smallest_normal=mpf(2) ** -1022, **{
        name: mpf(value) if isinstance(value, float) else value for name, value in loss.get_params().items()})
    temperature = p.temperature if hasattr(p, "temperature") and is_logits(loss) else 1
    reference = ROW_REFERENCES[type(loss)]
    if loss.get_params().get("hessian") == "bound":
        p.hessian = "exact"
    y = row_targets(loss, 4, n_classes, form="rows" if takes_soft(loss) else "index", seed=5)
    z = row_predictions(loss, 4, n_classes)
    with mpmath.workprec(250):
        for y_i, z_i in zip(y, z.tolist(), strict=True):
            t = [mpf(float(v)) for v in y_i] if np.ndim(y_i) else int(y_i)

            def outputs(z_i, t=t):
                return reference(p, t, [mpf(v) / temperature for v in z_i])

            value, gradient, hessian = outputs(z_i)
            for c in range(n_classes):
                low, high = (scaled(outputs([v + sign * step * (k == c) for k, v in enumerate(z_i)])[0]).value
                             for sign in (-1, 1))
                # a difference of the fifth digit of the step, and where a power has its kink, none
                slope, curve = (high - low) / (2 * step), (high - 2 * scaled(value).value + low) / step**2
                g, h = scaled(gradient[c]), scaled(hessian[c])
                assert abs(g.value - slope) <= 1e-15 * (1 + abs(slope))
                if g.scale < 1e15 and h.scale < 1e15:
                    assert abs(h.value - curve) <= 1e-15 * (1 + abs(curve))


def measure(n=18):
    """Prints the table of largest errors; '!' marks those beyond the limit."""
    for loss, width in EVERYTHING:
        for dtype in DTYPES[::-1]:
            for n_classes in [width] if width else [*ROWS, 1000]:
                for form in forms(loss):
                    rows = max(1, min(n, n * 40 // n_classes))
                    for output, (error, y, z, c, got, value) in worst_errors(loss, dtype, rows, n_classes, 7,
                                                                             form).items():
                        limit = row_limit(loss, n_classes)
                        where = f"  y={y!r} z={z!r}" if n_classes <= 5 and error > limit else ""
                        print(f"{'!' if error > limit else ' '} {loss!r:60.60} {dtype.__name__} C={n_classes:<4} "
                              f"{form:5} {output:8} {error:10.3g} ulp of {limit:.3g}  [{c}] got={got!r} "
                              f"exact={mpmath.nstr(value, 17)}{where}", flush=True)


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
