"""LinearLoss: values and derivatives written out in extended precision, every form of X, weights, threads, memory,
errors, and what optimisers and scikit-learn make of it.

The losses have tests of their own. Here they say the loss and the derivatives of each sample, and what LinearLoss makes
of X and of those is written out beside it.
"""

import copy
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import mpmath
import numpy as np
import pandas as pd
import pytest
from mpmath import mpf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, special
from scipy.optimize import minimize

import fastloss as fl
from calls import both_dtypes, with_class_weight
from reference import DEFAULTS, INSTANCES, PAIRS, is_binary, scaled, targets
from reference_rows import (
    ROW_DEFAULTS,
    ROW_INSTANCES,
    ROW_REFERENCES,
    is_logits,
    is_row_loss,
    one_hot,
    row_targets,
    sized_instances,
    soft_rows,
)

C = 4
BCE, CE, HALF = fl.BinaryCrossEntropy(), fl.CrossEntropy(), fl.SquaredError(half=True)
ALL = [*INSTANCES, *PAIRS, *ROW_INSTANCES, *sized_instances(C)]
ONE_EACH = [*DEFAULTS, PAIRS[0], *ROW_DEFAULTS]
EPS = np.finfo(np.float64).eps
nan, inf = np.nan, np.inf

all_losses = pytest.mark.parametrize("loss", ALL, ids=repr)
each_loss = pytest.mark.parametrize("loss", ONE_EACH, ids=repr)
each_row_loss = pytest.mark.parametrize("loss", ROW_DEFAULTS, ids=repr)
both_intercepts = pytest.mark.parametrize("fit_intercept", [True, False])
each_indexed = pytest.mark.parametrize("loss", [loss for loss in ROW_DEFAULTS if loss.target in (
    "classes", "soft classes")], ids=repr)


@pytest.fixture(params=[False, True])
def jointly(request, monkeypatch):
    """Dense rows both ways, of which each CPU takes one: with a loop for a block's gradient and the next one's scores,
    and without."""
    bind = fl.kernels.products.bind
    monkeypatch.setattr(fl.kernels, "products",
                        SimpleNamespace(bind=lambda *kind: bind(*kind, jointly=request.param)))


@pytest.fixture(autouse=True)
def blas_for_many_outputs(monkeypatch):
    """BLAS as it serves them in data that are too large for tests."""
    monkeypatch.setattr(fl.linear, "_BLAS_COEFFICIENTS", 0)


# ---- data, and the objective by hand ---------------------------------------------------------------------------------


class Problem(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    coef: np.ndarray


def outputs(loss, k):
    """Columns of scores, and whether they are one that stands alone, with scores (n,)."""
    if is_row_loss(loss):
        return k or C, False
    return (2, False) if isinstance(loss, fl.GaussianNLL) else (k or 1, k is None)


def classes(loss, k):
    """What to say of them: labels of few samples may not name all."""
    return (k or C) if is_row_loss(loss) else None


def problem(loss, n=60, d=3, k=None, *, fit_intercept=True, form="index", seed=0):
    """Data with scores in the loss's domain: of both signs, or, where that has ends, means of numbers inside."""
    rng = np.random.default_rng([seed, n, d])
    columns = outputs(loss, k)[0]
    if is_row_loss(loss):
        y = row_targets(loss, n, columns, seed=seed, form=form)
    elif k is None or isinstance(loss, fl.GaussianNLL):
        y = targets(loss, n, seed=seed)
    else:
        y = targets(loss, n * k, seed=seed).reshape(n, k)
    low, high = loss.domain
    b = rng.normal(0, 0.5, (columns, 1))
    if (low, high) == (-inf, inf):
        X, W = rng.normal(size=(n, d)), rng.normal(0, 2 / np.sqrt(max(d, 1)), (columns, d))
    else:
        low, high = (low, low + 3) if high == inf else (max(low, high - 3), high)
        low, high = low + 0.05, high - 0.05
        b = b if d and fit_intercept else rng.uniform(low, high, (columns, 1))
        X = rng.dirichlet(np.full(d, 0.5), n) if d else np.ones((n, 0))
        W = rng.uniform(low, high, (columns, d)) - b * fit_intercept
    return Problem(X, y, np.hstack([W, b] if fit_intercept else [W]).ravel())


class ByHand(NamedTuple):
    value: float
    gradient: np.ndarray
    scores: np.ndarray
    #: the same of the terms' absolute values: what rounding errors are relative to
    spread: "ByHand | None" = None


def by_hand(loss, X, y, coef, w=None, l2=0.0, fit_intercept=True):
    """The objective in extended precision; `w` are all weights, those of classes too, which `loss` then has not."""
    X = np.asarray(X.toarray() if sparse.issparse(X) else X).astype(np.longdouble)
    if fit_intercept:
        X = np.column_stack([X, np.ones(len(X), np.longdouble)])
    coef = np.asarray(coef).astype(np.longdouble).reshape(-1, X.shape[1])
    penalised = coef * (np.arange(X.shape[1]) < X.shape[1] - fit_intercept)
    penalty = l2 / 2 * (penalised**2).sum()
    z, size = X @ coef.T, np.abs(X) @ np.abs(coef).T
    if np.ndim(y) == 1 and not is_row_loss(loss) and not isinstance(loss, fl.GaussianNLL):
        z, size = z[:, 0], size[:, 0]
    parts = loss.loss_gradient_hessian(y, z.astype(np.float64), reduction="none")
    losses, g, h = (part.astype(np.longdouble).reshape(len(X), -1) for part in parts)
    if is_row_loss(loss):
        h = np.abs(h).sum(axis=1, keepdims=True)  # no second derivative of a row is larger
    spread = np.abs(g) + np.abs(h) * (1 + size.reshape(len(X), -1))
    w = np.ones(len(X)) if w is None else np.asarray(w)
    w = np.broadcast_to(w.reshape(len(X), -1), losses.shape)
    w = w.astype(np.longdouble) / w.astype(np.longdouble).sum()

    def combined(losses, g, w, X, penalised, z):
        return (float((w * losses).sum() + penalty), ((w * g).T @ X + l2 * penalised).ravel().astype(np.float64),
                z.astype(np.float64))

    of_terms = combined(np.abs(losses) + spread, spread, np.abs(w), np.abs(X), np.abs(penalised), size)
    return ByHand(*combined(losses, g, w, X, penalised, z), ByHand(*of_terms))


def assert_by_hand(model, coef, expected, tolerance=1e-12):
    """1e-12: sums of thousands of float64, and the ulp of the loss; wrong terms are wrong by far more."""
    value, gradient = model.loss_gradient(coef)
    assert type(value) is float and type(model.loss(coef)) is float
    assert type(gradient) is np.ndarray and gradient.dtype == np.float64 and gradient.shape == (model.n_coef,)
    assert abs(value - expected.value) <= tolerance * expected.spread.value
    assert abs(model.loss(coef) - expected.value) <= tolerance * expected.spread.value
    assert (np.abs(gradient - expected.gradient) <= tolerance * expected.spread.gradient).all()
    scores = model.scores(coef)
    assert scores.dtype == np.float64 and scores.shape == expected.scores.shape
    assert (np.abs(scores - expected.scores) <= (model.n_features + 4) * EPS * expected.spread.scores).all()


def weights(n, seed=0):
    return np.random.default_rng([7, seed]).gamma(1.0, 1.0, n)


@pytest.mark.parametrize("weighted", [False, True])
@all_losses
def test_every_loss_by_hand(loss, weighted):
    for (n, d, k), fit_intercept, form in itertools.product(
            ((1, 1, None), (67, 3, None), (130, 9, C)), (True, False), ("index", "rows")):
        if (form == "rows" and not is_row_loss(loss)) or (k and outputs(loss, k)[0] != k):
            continue
        X, y, coef = problem(loss, n, d, k, fit_intercept=fit_intercept, form=form)
        w = weights(n) if weighted else None
        l2 = 0.3 if weighted else 0.0
        model = fl.LinearLoss(loss, X, y, sample_weight=w, l2=l2, fit_intercept=fit_intercept,
                              n_classes=classes(loss, k))
        assert_by_hand(model, coef, by_hand(loss, X, y, coef, w, l2, fit_intercept))


SIZES = [(1, 1), (1, 700), (2, 3), (3, 0), (5, 129), (63, 8), (64, 16), (65, 17), (127, 31), (256, 1), (511, 33),
         (1000, 2), (1025, 7), (2999, 13), (1100, 20), (1100, 40), (1100, 80), (3000, 101), (700, 701)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "k"), [(BCE, None), (BCE, 1), (fl.BinaryCrossEntropy(pos_weight=3.0), None),
                                         (fl.Huber(), 5), (fl.Poisson(), None), (CE, 2), (CE, 3), (CE, 10), (CE, 17),
                                         (CE, 41), (PAIRS[0], None), (fl.MultilabelMargin(), 6)], ids=str)
def test_sizes(loss, k, weighted, jointly):
    for (n, d), fit_intercept in itertools.product(SIZES, (True, False)):
        if d + fit_intercept == 0 or n * d > (30_000 if (k or 1) > 10 else 500_000):
            continue  # nothing to fit; too long for a test
        X, y, coef = problem(loss, n, d, k, fit_intercept=fit_intercept)
        w = weights(n) if weighted else None
        model = fl.LinearLoss(loss, X, y, sample_weight=w, l2=1e-2, fit_intercept=fit_intercept,
                              n_classes=classes(loss, k))
        columns, flat = outputs(loss, k)
        assert (model.n_samples, model.n_features, model.n_outputs) == (n, d, columns)
        assert model.n_coef == columns * (d + fit_intercept)
        assert model.scores(coef).shape == ((n,) if flat else (n, columns))
        assert_by_hand(model, coef, by_hand(loss, X, y, coef, w, 1e-2, fit_intercept))


@pytest.mark.parametrize("k", [16, 17, 18, 23, 40])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_outputs_without_blas(k, dtype, monkeypatch):
    monkeypatch.setattr(fl.linear, "_BLAS_OUTPUTS", 1000)
    for n, d in ((1, 1), (3, 7), (300, 8), (301, 20), (64, 76)):
        X, y, coef = problem(CE, n, d, k)
        X = X.astype(dtype)
        assert_by_hand(fl.LinearLoss(CE, X, y, n_classes=k), coef, by_hand(CE, X, y, coef))


def test_coefficients_are_rows_of_outputs_with_intercepts_last():
    X, y = np.array([[1.0, 10.0], [2.0, 20.0]]), np.zeros((2, 3))
    coef = [1, 2, 3, 40, 50, 60, 700, 800, 900]  # each output: one coefficient of each column of X, and the intercept
    model = fl.LinearLoss(HALF, X, y)
    assert_array_equal(model.scores(coef), [[24, 600, 9600], [45, 1140, 18300]])
    W = np.array(coef).reshape(3, 3)
    assert_array_equal(model.loss_gradient(coef)[1].reshape(3, 3)[:, 2], (model.scores(coef).sum(axis=0) / 6))
    assert_array_equal(fl.LinearLoss(HALF, X, y, fit_intercept=False).scores(W[:, :2].ravel()),
                       model.scores(coef) - W[:, 2])


def test_intercepts_are_not_penalised():
    X, y, coef = problem(HALF, 20, 2, 3)
    plain, penalised = (fl.LinearLoss(HALF, X, y, l2=l2) for l2 in (0.0, 2.0))
    W = coef.reshape(3, 3) * [1, 1, 0]
    assert penalised.loss(coef) == pytest.approx(plain.loss(coef) + (W**2).sum(), rel=1e-14)
    assert_allclose(penalised.loss_gradient(coef)[1], plain.loss_gradient(coef)[1] + 2 * W.ravel(), rtol=1e-13)
    v = np.arange(9.0)
    assert_allclose(penalised.hessian_product(coef, v),
                    plain.hessian_product(coef, v) + 2 * (v.reshape(3, 3) * [1, 1, 0]).ravel(), rtol=1e-13)
    assert_allclose(penalised.gradient_hessian(coef)[1],
                    plain.gradient_hessian(coef)[1] + np.diag(np.tile([2.0, 2.0, 0.0], 3)), rtol=1e-13, atol=1e-15)


def test_losses_by_name():
    X, y, coef = problem(BCE, 50)
    for name in ("bce", "log_loss", "binary_cross_entropy"):
        assert fl.LinearLoss(name, X, y).loss(coef) == fl.LinearLoss(BCE, X, y).loss(coef)


@each_loss
def test_values_and_gradients_of_all_methods_agree(loss):
    X, y, coef = problem(loss, 500, 6)
    model = fl.LinearLoss(loss, X, y, sample_weight=weights(500), l2=0.1)
    value, gradient = model.loss_gradient(coef)
    assert model.loss(coef) == value  # to the bit: line searches compare them
    spread = by_hand(loss, X, y, coef, weights(500), 0.1).spread.gradient
    assert (np.abs(model.gradient_hessian(coef)[0] - gradient) <= 1e-12 * spread).all()


def test_each_call_returns_arrays_of_its_own():
    X, y, coef = problem(BCE, 100)
    model = fl.LinearLoss(BCE, X, y)
    for method in (lambda c: model.loss_gradient(c)[1], model.scores, lambda c: model.hessian_product(c, c),
                   lambda c: model.gradient_hessian(c)[0], lambda c: model.gradient_hessian(c)[1]):
        first = method(coef)
        before = first.copy()
        assert first.flags.writeable
        method(coef + 1)
        assert_array_equal(first, before)


# ---- derivatives -----------------------------------------------------------------------------------------------------


def differences(function, x, step):
    """The derivative of a function by each of x, by central differences: one row for each."""
    rows = []
    for i in range(len(x)):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        rows.append((np.asarray(function(up)) - np.asarray(function(down))) / (up[i] - down[i]))
    return np.array(rows)


@both_intercepts
@all_losses
def test_gradient_is_the_derivative_of_the_value(loss, fit_intercept):
    X, y, coef = problem(loss, 20, 2, fit_intercept=fit_intercept, seed=1)
    model = fl.LinearLoss(loss, X, y, sample_weight=weights(20), l2=0.2, fit_intercept=fit_intercept,
                          n_classes=classes(loss, C))
    value, gradient = model.loss_gradient(coef)
    # a step of 1e-6 leaves 1e-10 of the value, and 1e-12 of the third derivative; no sample is that near to a kink
    assert_allclose(differences(model.loss, coef, 1e-6), gradient, rtol=1e-6,
                    atol=1e-6 * np.abs(gradient).max() + 1e-9 * abs(value))


@both_intercepts
@each_loss
def test_hessians_are_the_derivative_of_the_gradient(loss, fit_intercept):
    X, y, coef = problem(loss, 20, 2, fit_intercept=fit_intercept, seed=1)
    model = fl.LinearLoss(loss, X, y, sample_weight=weights(20), l2=0.2, fit_intercept=fit_intercept,
                          n_classes=classes(loss, C))
    expected = differences(lambda c: model.loss_gradient(c)[1], coef, 1e-5)
    # a step of 1e-5 leaves 1e-11 of the gradient, and 1e-10 of the fourth derivative
    close = {"rtol": 1e-6, "atol": 1e-7 * np.abs(expected).max()}
    assert_allclose(model.gradient_hessian(coef)[1], expected, **close)
    assert_allclose([model.hessian_product(coef, v) for v in np.eye(model.n_coef)], expected, **close)


def curvature_of_row(loss, t, z):
    """The matrix of second derivatives of one row: differences of the reference's gradient, in 250 bits."""
    p = SimpleNamespace(
        eps_of_dtype=mpf(EPS), limit=4, smallest_normal=mpf(float(np.finfo(np.float64).smallest_normal)), least=None,
        **{name: [mpf(float(v)) for v in value] if isinstance(value, np.ndarray) else
           mpf(value) if isinstance(value, float) else value for name, value in loss.get_params().items()})
    adjustment = getattr(p, "logit_adjustment", None) or [0] * len(z)
    temperature = p.temperature if hasattr(p, "temperature") and is_logits(loss) else 1
    target = int(t) if np.ndim(t) == 0 else [mpf(float(v)) for v in t]
    with mpmath.workprec(250):
        step = mpf(2) ** -60

        def gradient(c, sign):
            row = [(mpf(float(v)) + a + (i == c) * sign * step) / temperature
                   for i, (v, a) in enumerate(zip(z, adjustment, strict=True))]
            return [scaled(g).value for g in ROW_REFERENCES[type(loss)](p, target, row)[1]]

        return [[float((up - down) / (2 * step)) for up, down in zip(gradient(c, 1), gradient(c, -1), strict=True)]
                for c in range(len(z))]


def curvature(loss, y, z):
    """For each sample the matrix of second derivatives by its scores."""
    if is_row_loss(loss):
        return np.array([curvature_of_row(loss, t, row) for t, row in zip(y, z, strict=True)])
    if isinstance(loss, fl.GaussianNLL):  # ½·(s + r²·e^-s)
        r, e = z[:, 0] - y, np.exp(-z[:, 1])
        return np.moveaxis(np.array([[e, -r * e], [-r * e, r**2 * e / 2]]), 2, 0)
    h = loss.gradient_hessian(y, z, reduction="none")[1].reshape(len(y), -1)
    return h[:, :, None] * np.eye(h.shape[1])


@all_losses
def test_hessians_by_hand(loss):
    for k, form in ((None, "index"), (3, "rows")):
        X, y, coef = problem(loss, 7, 2, C if is_row_loss(loss) else k, form=form, seed=2)
        w, l2 = weights(7), 0.2
        model = fl.LinearLoss(loss, X, y, sample_weight=w, l2=l2, n_classes=classes(loss, C))
        one = np.column_stack([X, np.ones(7)])
        matrices = curvature(loss, y, model.scores(coef))
        share = w / (w.sum() * (y.shape[1] if y.ndim == 2 and not is_row_loss(loss) else 1))
        expected = np.einsum("i,icd,ia,ib->cadb", share, matrices, one, one).reshape(model.n_coef, -1)
        penalty = np.tile([l2, l2, 0.0], len(expected) // 3)
        expected[np.diag_indices_from(expected)] += penalty
        # relative to the terms; differences of a row's exact gradient still have 1e-9, but less near the poles of 1/q
        near_poles = loss.get_params().get("inputs") == "probabilities"
        tolerance = 1e-12 if not is_row_loss(loss) else 1e-7 if near_poles else 1e-9
        size = np.einsum("i,icd,ia,ib->cadb", share, np.abs(matrices), np.abs(one), np.abs(one)).max() + l2
        _, hessian = model.gradient_hessian(coef)
        assert hessian.shape == expected.shape and hessian.dtype == np.float64
        assert_allclose(hessian, expected, rtol=0, atol=tolerance * size)
        for v in np.random.default_rng(0).normal(size=(3, model.n_coef)):
            product = model.hessian_product(coef, v)
            assert product.shape == (model.n_coef,) and product.dtype == np.float64
            assert_allclose(product, expected @ v, rtol=0, atol=tolerance * size * np.abs(v).sum())


@pytest.mark.parametrize("form", ["C", "F", "float32", "CSR", "CSC"])
@pytest.mark.parametrize("loss", [BCE, fl.Poisson(), CE, PAIRS[0]], ids=repr)
def test_hessians_of_large_data(loss, form):
    X, y, coef = problem(loss, 2345, 21)
    X[np.random.default_rng(0).random(X.shape) < 0.6] = 0
    X = X.astype(np.float32).astype(np.float64)
    model = fl.LinearLoss(loss, FORMS[form](X), y, l2=1e-3)
    w = np.full(len(y), 1 / len(y))
    one = np.column_stack([X, np.ones(len(X))])
    z = model.scores(coef)
    if loss is CE:
        q = np.exp(z - z.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        matrices = q[:, :, None] * np.eye(C) - q[:, :, None] * q[:, None, :]
    else:
        matrices = curvature(loss, y, z)
    expected = np.einsum("icd,iab->cadb", matrices * w[:, None, None], one[:, :, None] * one[:, None, :], optimize=True)
    expected = expected.reshape(model.n_coef, -1) + 1e-3 * np.diag(np.tile(np.arange(22) < 21, model.n_outputs))
    size = np.abs(expected).max()
    assert_allclose(model.gradient_hessian(coef)[1], expected, rtol=0, atol=1e-9 * size)
    for v in np.random.default_rng(1).normal(size=(3, model.n_coef)):
        assert_allclose(model.hessian_product(coef, v), expected @ v, rtol=0, atol=1e-9 * size * np.abs(v).sum())


@each_loss
def test_hessian_products_are_linear_in_v(loss):
    X, y, coef = problem(loss, 50, 3)
    model = fl.LinearLoss(loss, X, y, l2=0.1)
    assert_array_equal(model.hessian_product(coef, np.zeros(model.n_coef)), np.zeros(model.n_coef))
    v = np.random.default_rng(0).normal(size=model.n_coef)
    one = model.hessian_product(coef, v)
    assert_allclose(model.hessian_product(coef, 1e6 * v), 1e6 * one, rtol=0, atol=1e-9 * 1e6 * np.abs(one).max())
    assert_allclose(model.hessian_product(coef, 1e-9 * v), 1e-9 * one, rtol=0, atol=1e-9 * 1e-9 * np.abs(one).max())


# ---- forms of X ------------------------------------------------------------------------------------------------------


def inside(X, rows, columns):
    """X as a part of a larger array, amid NaN or other numbers."""
    shape = [(s.start or 0) + (s.step or 1) * n + 2 for n, s in zip(X.shape, (rows, columns), strict=True)]
    large = np.full(shape, nan if X.dtype.kind == "f" else 99, X.dtype)
    view = large[rows, columns][:X.shape[0], :X.shape[1]]
    view[:] = X
    return view


def unaligned(X):
    raw = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    raw[:] = X
    return raw


def read_only(X):
    X = X.copy(order="K")
    X.setflags(write=False)
    return X


DENSE = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every second row": lambda X: inside(X, slice(None, None, 2), slice(None)),
    "every third column": lambda X: inside(X, slice(None), slice(None, None, 3)),
    "both": lambda X: inside(X, slice(1, None, 2), slice(2, None, 2)),
    "columns of a wider one": lambda X: inside(X, slice(3, None), slice(5, None)),
    "part of one in F order": lambda X: inside(X.T, slice(3, None), slice(5, None)).T,
    "every second column in F order": lambda X: inside(X.T, slice(None, None, 2), slice(None)).T,
    "every second row in F order": lambda X: inside(X.T, slice(None), slice(None, None, 2)).T,
    "transposed": lambda X: X.T.copy().T,
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "columns backwards": lambda X: X[:, ::-1].copy()[:, ::-1],
    "F backwards": lambda X: np.asfortranarray(X[::-1, ::-1])[::-1, ::-1],
    "read-only": read_only,
    "read-only F": lambda X: read_only(np.asfortranarray(X)),
    "unaligned": unaligned,
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "frame": pd.DataFrame,
    "list": lambda X: X.tolist(),
    "subclass": lambda X: X.view(type("Subclass", (np.ndarray,), {})),
}


def with_wide_indices(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def disordered(X):
    """The entries of each row, or column, backwards."""
    lines = np.repeat(np.arange(len(X.indptr) - 1), np.diff(X.indptr))
    order = np.lexsort((-X.indices, lines))
    return type(X)((X.data[order], X.indices[order], X.indptr), shape=X.shape)


def doubled(X):
    """Every entry as two that add up to it: all entries of a row, or column, and then all once more."""
    parts = [X.data / 2] * 2 if X.dtype.kind == "f" else [X.data, 0 * X.data]
    lines = np.repeat(np.arange(len(X.indptr) - 1), np.diff(X.indptr))
    order = np.argsort(np.concatenate([lines, lines]), kind="stable")
    data, indices = np.concatenate(parts).astype(X.dtype), np.concatenate([X.indices, X.indices])
    return type(X)((data[order], indices[order], 2 * X.indptr), shape=X.shape)


def with_zeros_stored(make):
    """Every third zero of X is stored."""
    def made(X):
        kept = (X != 0) | (np.arange(X.size).reshape(X.shape) % 3 == 0)
        rows, columns = np.nonzero(kept)
        return make(sparse.coo_array((X[kept], (rows, columns)), shape=X.shape))
    return made


SPARSE = {
    "CSR": sparse.csr_array, "CSC": sparse.csc_array, "CSR matrix": sparse.csr_matrix, "CSC matrix": sparse.csc_matrix,
    **{f"{name}, {what}": lambda X, make=make, change=change: change(make(X))
       for name, make in (("CSR", sparse.csr_array), ("CSC", sparse.csc_array))
       for what, change in (("int64 indices", with_wide_indices), ("disordered", disordered), ("doubled", doubled),
                            ("disordered, int64 indices", lambda X: with_wide_indices(disordered(X))))},
    "CSR, stored zeros": with_zeros_stored(sparse.csr_array), "CSC, stored zeros": with_zeros_stored(sparse.csc_array),
}
FORMS = {**DENSE, **SPARSE, "float32": lambda X: X.astype(np.float32), "float32, F": lambda X: np.asfortranarray(
    X, dtype=np.float32)}

each_dense = pytest.mark.parametrize("form", DENSE)
each_form = pytest.mark.parametrize("form", [*DENSE, *SPARSE])


def whole_numbers(n, d, k, dtype=np.float64):
    """Data so small and whole that float64 computes without rounding; with empty rows and columns."""
    rng = np.random.default_rng([n, d, k])
    X = rng.integers(*{bool: (0, 2), np.uint8: (0, 5)}.get(dtype, (-4, 5)), (n, d))
    X[rng.random((n, d)) < 0.5] = 0
    X[::7] = 0
    X[:, 2::11] = 0
    X[-1, -1] = 1
    return X.astype(dtype), rng.integers(-9, 9, (n, k)).astype(np.float64), rng.integers(-3, 4, k * (d + 1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.int64, np.uint8, bool])
@each_form
def test_whole_numbers_are_exact_in_every_form_of_X(form, dtype):
    for n, d, k in ((64, 5, 1), (256, 40, 1), (1024, 3, 1), (256, 40, 4), (2048, 12, 2), (16, 300, 1), (64, 19, 16)):
        X, y, coef = whole_numbers(n, d, k, dtype)
        whole = np.column_stack([X.astype(int), np.ones(n, int)])
        r = whole @ coef.reshape(k, d + 1).T - y
        model = fl.LinearLoss(HALF, FORMS[form](X), y)
        value, gradient = model.loss_gradient(coef)
        # n·k is a power of 4: to divide by it, and its roots, are exact, too
        assert value == model.loss(coef) == (r**2).sum() / (2 * n * k)
        assert_array_equal(gradient, (r.T @ whole / (n * k)).ravel())
        assert_array_equal(model.scores(coef), r + y)
        v = np.arange(len(coef)) % 7 - 3
        expected = ((whole @ v.reshape(k, d + 1).T).T @ whole / (n * k)).ravel()
        assert_array_equal(model.hessian_product(coef, v), expected)
        if d < 20:
            expected = np.kron(np.eye(k), whole.T @ whole / (n * k))
            assert_array_equal(model.gradient_hessian(coef)[1], expected)


@each_form
@pytest.mark.parametrize(("loss", "k"), [(BCE, None), (fl.Huber(), 3), (CE, C), (CE, 20), (PAIRS[0], None)], ids=str)
def test_every_form_of_X_by_hand(loss, k, form):
    for n, d, fit_intercept in ((301, 7, True), (95, 130, False)):
        X, y, coef = problem(loss, n, d, k, fit_intercept=fit_intercept)
        X[np.random.default_rng(0).random(X.shape) < 0.4] = 0
        X[::5] = 0
        X[:, 1] = 0
        model = fl.LinearLoss(loss, FORMS[form](X), y, sample_weight=weights(n), l2=0.1, fit_intercept=fit_intercept,
                              n_classes=classes(loss, k))
        assert_by_hand(model, coef, by_hand(loss, X, y, coef, weights(n), 0.1, fit_intercept))


@each_form
@pytest.mark.parametrize(("loss", "k"), [(BCE, None), (CE, C), (fl.LogCosh(), 18)], ids=str)
def test_float32_is_read_as_it_is_and_computed_in_float64(loss, k, form):
    X, y, coef = problem(loss, 1203, 11, k)
    X = X.astype(np.float32)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = 0
    narrow, wide = (fl.LinearLoss(loss, FORMS[form](x), y, l2=0.1) for x in (X, X.astype(np.float64)))
    expected = by_hand(loss, X, y, coef, l2=0.1)
    assert_by_hand(narrow, coef, expected, tolerance=1e-13)
    v = np.random.default_rng(1).normal(size=narrow.n_coef)
    product = wide.hessian_product(coef, v)
    for got, other in zip((*narrow.loss_gradient(coef), narrow.gradient_hessian(coef)[1]),
                          (*wide.loss_gradient(coef), wide.gradient_hessian(coef)[1]), strict=True):
        assert_allclose(got, other, rtol=0, atol=1e-13 * np.abs(other).max())
    assert_allclose(narrow.hessian_product(coef, v), product, rtol=0, atol=1e-13 * np.abs(product).max())


@both_dtypes
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_maps(tmp_path, order, dtype):
    X, y, coef = problem(BCE, 200, 9)
    X = X.astype(dtype)
    mapped = np.memmap(tmp_path / "X", dtype, "w+", shape=X.shape, order=order)
    mapped[:] = X
    mapped.flush()
    mapped = np.memmap(tmp_path / "X", dtype, "r", shape=X.shape, order=order)
    assert_by_hand(fl.LinearLoss(BCE, mapped, y), coef, by_hand(BCE, X, y, coef))


def test_one_row_repeated_without_memory():
    X = np.broadcast_to(np.array([0.5, -1.0, 2.0]), (101, 3))
    y, coef = targets(BCE, 101), np.array([0.1, 0.2, 0.3, -0.4])
    assert_by_hand(fl.LinearLoss(BCE, X, y), coef, by_hand(BCE, X, y, coef))


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("shape", [(5, 0), (6, 3), (1, 1), (1, 400), (900, 1)])
def test_sparse_X_without_entries_and_of_odd_shapes(make, shape):
    n, d = shape
    y, coef = targets(BCE, n), np.linspace(-1, 1, d + 1)
    empty = make(shape, dtype=np.float64)
    assert_by_hand(fl.LinearLoss(BCE, empty, y, l2=0.5), coef, by_hand(BCE, empty, y, coef, l2=0.5))
    full = np.random.default_rng(0).normal(size=shape)
    assert_by_hand(fl.LinearLoss(BCE, make(full), y), coef, by_hand(BCE, full, y, coef))


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize(("loss", "k"), [(BCE, None), (HALF, 9), (CE, 12)], ids=str)
def test_wide_and_sparse(loss, k, make):
    rng = np.random.default_rng(0)
    X = sparse.random_array((1500, 3000), density=0.005, rng=rng).tocsr()
    y = problem(loss, 1500, 1, k).y
    coef = rng.normal(size=(k or 1) * 3001)
    model = fl.LinearLoss(loss, make(X), y, sample_weight=weights(1500), l2=0.01, n_classes=classes(loss, k))
    value, gradient = model.loss_gradient(coef)
    W = coef.reshape(-1, 3001)
    z = (X.tocoo() @ W[:, :-1].T) + W[:, -1]
    z = z[:, 0] if k is None else z
    expected, g = loss.loss_gradient(y, z, sample_weight=weights(1500))
    g = g.reshape(1500, -1)
    assert value == pytest.approx(expected + 0.005 * (W[:, :-1] ** 2).sum(), rel=1e-12)
    back = np.column_stack([(X.T @ g).T + 0.01 * W[:, :-1], g.sum(axis=0)]).ravel()
    assert_allclose(gradient, back, rtol=1e-12, atol=1e-13 * np.abs(back).max())


@pytest.mark.parametrize("form", SPARSE)
def test_sparse_X_is_left_as_it_is(form):
    X, y, coef = problem(CE, 50, 8)
    X[np.random.default_rng(0).random(X.shape) < 0.5] = 0
    given = SPARSE[form](X)
    arrays = given.data, given.indices, given.indptr
    before = [array.copy() for array in arrays]
    model = fl.LinearLoss(CE, given, y)
    for result in (model.loss_gradient(coef), model.hessian_product(coef, coef), model.gradient_hessian(coef)):
        assert np.isfinite(result[0]).all()
    for array, old in zip((given.data, given.indices, given.indptr), before, strict=True):
        assert_array_equal(array, old)
    assert all(now is then for now, then in zip((given.data, given.indices, given.indptr), arrays, strict=True))


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array])
def test_sparse_X_that_nobody_may_write_to(make):
    X, y, coef = problem(BCE, 50, 8)
    given = make(X)
    for array in (given.data, given.indices, given.indptr):
        array.setflags(write=False)
    assert_by_hand(fl.LinearLoss(BCE, given, y), coef, by_hand(BCE, X, y, coef))


@pytest.mark.parametrize("form", [list, tuple, pd.Series, np.float32, np.float16, np.int64, bool, "strided",
                                  "read-only"])
def test_forms_of_y_weights_and_coefficients(form):
    X, _, _ = problem(BCE, 40, 3)
    y, w, coef = (np.arange(n) % 2 for n in (40, 40, 4))
    expected = fl.LinearLoss(BCE, X, y, sample_weight=w).loss_gradient(coef.astype(np.float64))

    def given(values):
        if form == "strided":
            return np.repeat(values, 2)[::2]
        if form == "read-only":
            return read_only(values)
        return values.astype(form) if isinstance(form, type) and issubclass(form, (np.generic, bool)) else form(values)

    model = fl.LinearLoss(BCE, X, given(y), sample_weight=given(w))
    value, gradient = model.loss_gradient(given(coef))
    assert value == expected[0] and gradient.dtype == np.float64
    assert_array_equal(gradient, expected[1])
    assert_array_equal(model.hessian_product(given(coef), given(coef)),
                       model.hessian_product(coef.astype(np.float64), coef.astype(np.float64)))


# ---- targets and weights ---------------------------------------------------------------------------------------------


@each_row_loss
def test_forms_of_targets_of_rows(loss):
    X, _, coef = problem(loss, 90, 3, C)
    labels = np.random.default_rng(0).integers(0, C, 90)
    if loss.target in ("classes", "soft classes"):
        expected = by_hand(loss, X, labels, coef)
        for y in (labels, labels.astype(np.uint8), labels.astype(np.float32), labels.tolist(), one_hot(labels, C),
                  one_hot(labels, C).astype(bool), np.asfortranarray(one_hot(labels, C))):
            model = fl.LinearLoss(loss, X, y, n_classes=C)
            assert model.n_outputs == C
            assert_by_hand(model, coef, expected)
    if loss.target == "soft classes":
        y = soft_rows(90, C)
        assert_by_hand(fl.LinearLoss(loss, X, y), coef, by_hand(loss, X, y, coef))


@each_indexed
def test_more_classes_than_labels(loss):
    X, y, coef = problem(loss, 50, 2, 9)
    y = y % 3
    model = fl.LinearLoss(loss, X, y, n_classes=9)
    assert model.n_outputs == 9 and model.n_coef == 27
    assert_by_hand(model, coef, by_hand(loss, X, y, coef))
    assert fl.LinearLoss(loss, X, y).n_outputs == 3
    assert fl.LinearLoss(loss, X, y * 0).n_outputs == 2  # a class alone makes no classes
    assert fl.LinearLoss(with_class_weight(loss, np.ones(5)), X, y).n_outputs == 5


@pytest.mark.parametrize("loss", [loss for loss in DEFAULTS if loss.domain == (-inf, inf)], ids=repr)
def test_several_outputs_share_the_mean_of_their_own(loss):
    X, y, coef = problem(loss, 80, 3, 4)
    model = fl.LinearLoss(loss, X, y)
    value, gradient = model.loss_gradient(coef)
    alone = [fl.LinearLoss(loss, X, y[:, j]).loss_gradient(coef.reshape(4, 4)[j]) for j in range(4)]
    assert value == pytest.approx(np.mean([v for v, _ in alone]), rel=1e-12)
    assert_allclose(gradient, np.concatenate([g for _, g in alone]) / 4, rtol=0, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize("loss", [BCE, HALF], ids=repr)
def test_weights_of_each_output(loss):
    X, y, coef = problem(loss, 120, 3, 5)
    w = weights((120, 5))
    for order in "CF":
        model = fl.LinearLoss(loss, X, y, sample_weight=np.asarray(w, order=order), l2=0.1)
        assert_by_hand(model, coef, by_hand(loss, X, y, coef, w, 0.1))
    by_row = fl.LinearLoss(loss, X, y, sample_weight=w[:, 0], l2=0.1)
    assert_by_hand(by_row, coef, by_hand(loss, X, y, coef, w[:, 0], 0.1))


def test_a_parameter_that_varies_by_output_of_one():
    X, y, coef = problem(BCE, 1100, 4, 1)
    expected = by_hand(fl.BinaryCrossEntropy(pos_weight=3.0), X, y, coef)
    assert_by_hand(fl.LinearLoss(fl.BinaryCrossEntropy(pos_weight=np.array([3.0])), X, y), coef, expected)


def test_parameters_that_vary_by_output():
    X, y, coef = problem(fl.Quantile(), 70, 3, 3)
    loss = fl.Quantile([0.1, 0.5, 0.9])
    assert_by_hand(fl.LinearLoss(loss, X, y), coef, by_hand(loss, X, y, coef))
    X, y, coef = problem(BCE, 70, 3, 3)
    loss = fl.BinaryCrossEntropy(pos_weight=[1.0, 2.0, 0.5])
    assert_by_hand(fl.LinearLoss(loss, X, y), coef, by_hand(loss, X, y, coef))


def class_weight_id(value):
    return "dynamic" if isinstance(value, fl.DynamicClassWeight) else str(value).replace("\n", "")


@pytest.mark.parametrize("class_weight", [
    np.array([0.5, 3.0]), [0.5, 3.0], {0: 0.5, 1: 3.0}, {-1: 0.5, 1: 3.0}, {1: 3.0}, "balanced",
    np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.5]]), fl.DynamicClassWeight(2).update([0, 0, 1])], ids=class_weight_id)
@pytest.mark.parametrize("loss", [loss for loss in DEFAULTS if is_binary(loss)], ids=repr)
def test_class_weights_of_binary_losses(loss, class_weight):
    table = isinstance(class_weight, np.ndarray) and class_weight.ndim == 2
    for k in (3,) if table else (None, 3):
        X, y, coef = problem(loss, 90, 3, k)
        y = (y > 0.6).astype(float)
        if isinstance(class_weight, str):
            pairs = np.stack([len(y) / (2 * (y == c).sum(axis=0)) for c in (0, 1)], axis=-1)
        elif isinstance(class_weight, fl.DynamicClassWeight):
            pairs = class_weight.weights
        elif isinstance(class_weight, dict):
            pairs = np.array([class_weight.get(0, class_weight.get(-1, 1.0)), class_weight[1]])
        else:
            pairs = np.asarray(class_weight)
        w = np.where(y == 1, pairs[..., 1], pairs[..., 0])
        sample = weights(90)
        weighted = with_class_weight(loss, class_weight)
        for labels in (y, 2 * y - 1):
            assert_by_hand(fl.LinearLoss(weighted, X, labels, l2=0.1), coef, by_hand(loss, X, y, coef, w, 0.1))
        both = w * (sample if k is None else sample[:, None])
        assert_by_hand(fl.LinearLoss(weighted, X, y, sample_weight=sample), coef, by_hand(loss, X, y, coef, both))


@pytest.mark.parametrize("class_weight", [
    np.array([0.5, 3.0, 1.0, 0.0]), [0.5, 3.0, 1.0, 2.0], {1: 3.0}, {}, "balanced",
    fl.DynamicClassWeight(C).update([0, 0, 1, 3])], ids=class_weight_id)
@each_row_loss
def test_class_weights_of_row_losses(loss, class_weight):
    if loss.target == "indicators" and isinstance(class_weight, str):
        pytest.skip("test_multiclass.py has what indicators mean")
    forms = ("index", "rows") if loss.target in ("classes", "soft classes") else ("rows",)
    for form in forms:
        X, y, coef = problem(loss, 90, 3, C, form=form)
        t = one_hot(y, C) if y.ndim == 1 else np.exp(y) if loss.target == "log classes" else y
        if isinstance(class_weight, str):
            row = len(t) / (C * t.sum(axis=0))
        elif isinstance(class_weight, fl.DynamicClassWeight):
            row = class_weight.weights
        elif isinstance(class_weight, dict):
            row = np.array([class_weight.get(c, 1.0) for c in range(C)])
        else:
            row = np.asarray(class_weight)
        w = t @ row
        if loss.target == "indicators":
            w = np.where(t.any(axis=1), w / np.maximum(t.sum(axis=1), 1), 1)
        weighted, sample = with_class_weight(loss, class_weight), weights(90)
        model = fl.LinearLoss(weighted, X, y, l2=0.1, n_classes=C)
        assert_by_hand(model, coef, by_hand(loss, X, y, coef, w, 0.1))
        model = fl.LinearLoss(weighted, X, y, sample_weight=sample, n_classes=C)
        assert_by_hand(model, coef, by_hand(loss, X, y, coef, w * sample))


def test_weights_that_move_are_those_of_the_time_the_objective_was_made():
    X, y, coef = problem(CE, 60, 3)
    moving = fl.DynamicClassWeight(C, momentum=0.5).update(y[:5])
    row = moving.weights
    model = fl.LinearLoss(fl.CrossEntropy(class_weight=moving), X, y)
    moving.update([3, 3, 3])
    assert_by_hand(model, coef, by_hand(CE, X, y, coef, row[y]))  # else an optimiser would chase it


@pytest.mark.parametrize("ignore_index", [-1, -100, 2, 7])
@each_indexed
def test_ignored_samples(loss, ignore_index):
    X, y, coef = problem(loss, 90, 3, C)
    y[::4] = ignore_index
    kept = y != ignore_index
    ignoring = type(loss)(**loss.get_params() | {"ignore_index": ignore_index})
    for w in (None, weights(90)):
        model = fl.LinearLoss(ignoring, X, y, sample_weight=w, l2=0.1, n_classes=C)
        expected = by_hand(loss, X[kept], y[kept], coef, None if w is None else w[kept], 0.1)
        assert_allclose(model.loss(coef), expected.value, rtol=0, atol=1e-12 * expected.spread.value)
        assert (np.abs(model.loss_gradient(coef)[1] - expected.gradient) <= 1e-12 * expected.spread.gradient).all()
        assert model.scores(coef).shape == (90, C)


def test_all_samples_ignored_leaves_the_penalty():
    X, _, coef = problem(CE, 20, 2, C)
    model = fl.LinearLoss(fl.CrossEntropy(ignore_index=-1), X, np.full(20, -1), l2=0.5, n_classes=C)
    value, gradient = model.loss_gradient(coef)
    W = coef.reshape(C, 3) * [1, 1, 0]
    assert value == pytest.approx(0.25 * (W**2).sum(), rel=1e-14)
    assert_allclose(gradient, 0.5 * W.ravel(), rtol=1e-14)


@each_loss
def test_whole_weights_are_repetitions(loss):
    X, y, coef = problem(loss, 60, 3)
    w = np.random.default_rng(0).integers(0, 4, 60)
    weighted = fl.LinearLoss(loss, X, y, sample_weight=w, l2=0.1, n_classes=classes(loss, C))
    expected = by_hand(loss, np.repeat(X, w, axis=0), np.repeat(y, w, axis=0), coef, l2=0.1)
    assert abs(weighted.loss(coef) - expected.value) <= 1e-12 * expected.spread.value
    assert (np.abs(weighted.loss_gradient(coef)[1] - expected.gradient) <= 1e-12 * expected.spread.gradient).all()


def test_negative_weights_are_allowed():
    X, y, coef = problem(BCE, 30, 2)
    w = np.where(np.arange(30) % 5, 1.0, -0.5)
    assert_by_hand(fl.LinearLoss(BCE, X, y, sample_weight=w), coef, by_hand(BCE, X, y, coef, w))


@pytest.mark.parametrize("unit", [1e-310, 1e-200, 1e250, 1e300])
@pytest.mark.parametrize("loss", [BCE, CE], ids=repr)
def test_extreme_weights_of_one_scale_cancel(loss, unit):
    X, y, coef = problem(loss, 100, 3)
    w = np.random.default_rng(0).integers(1, 9, 100).astype(float)
    value, gradient = fl.LinearLoss(loss, X, y, sample_weight=w * unit).loss_gradient(coef)
    expected = by_hand(loss, X, y, coef, w)
    assert value == pytest.approx(expected.value, rel=1e-12)
    assert_allclose(gradient, expected.gradient, rtol=0, atol=1e-12 * np.abs(expected.gradient).max())


# ---- numbers at the edges --------------------------------------------------------------------------------------------


def masked(loss, how, n):
    """A loss, targets' change and weights that take every third row out."""
    out = np.arange(n) % 3 == 0
    if how == "sample_weight":
        return loss, None, np.where(out, 0.0, 1 + np.arange(n) % 4)
    if how == "class_weight":
        zero = {1: 0.0}
        return with_class_weight(loss, zero), lambda y: np.where(out, 1, 0), None
    return type(loss)(ignore_index=-1), lambda y: np.where(out, -1, y), None


NUMBERS = ["C", "F", "float32", "float32, F", "every second row", "both", "CSR", "CSC", "CSR, disordered",
           "CSC, disordered"]


@pytest.mark.parametrize("method", ["loss", "loss_gradient", "gradient_hessian", "hessian_product"])
@pytest.mark.parametrize("form", NUMBERS)
@pytest.mark.parametrize(("loss", "k", "how"), [
    (BCE, None, "sample_weight"), (BCE, None, "class_weight"), (BCE, 3, "sample_weight"), (BCE, 3, "class_weight"),
    (HALF, None, "sample_weight"), (HALF, 20, "sample_weight"), (PAIRS[0], None, "sample_weight"),
    (CE, C, "sample_weight"), (CE, C, "class_weight"), (CE, C, "ignore_index"), (CE, 20, "sample_weight")], ids=str)
def test_rows_of_weight_0_contribute_0_whatever_they_hold(loss, k, how, form, method):
    for n, d in ((40, 3), (1500, 11)):
        if method == "gradient_hessian" and n * (k or 1) > 10_000:
            continue  # nothing new, and long
        X, y, coef = problem(loss, n, d, k)
        lost, change, w = masked(loss, how, n)
        if change:
            y = change(y) if y.ndim == 1 else np.repeat(change(y[:, 0])[:, None], k, axis=1)
        full = X.copy()
        full[::3] = np.resize([nan, inf, -inf, 1e308, 5.0], full[::3].shape)
        full[3] = 1e308  # its product with the coefficients overflows
        full[6] = 5.0
        kept = np.arange(n) % 3 != 0
        with np.errstate(over="ignore"):  # 1e308 is inf in float32
            got = results(lost, FORMS[form](full), y, w, classes(loss, k), method, coef)
        w = w if w is None else w[kept]
        expected = results(loss, FORMS[form](X[kept]), y[kept], w, classes(loss, k), method, coef)
        # second derivatives may be differences, of other steps
        tolerance = 1e-12 if method in ("loss", "loss_gradient") else 1e-9
        for a, b in zip(got, expected, strict=True):
            assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


def results(loss, X, y, w, n_classes, method, coef):
    model = fl.LinearLoss(loss, X, y, sample_weight=w, l2=0.1, n_classes=n_classes)
    result = getattr(model, method)(coef, *[coef] * (method == "hessian_product"))
    return result if type(result) is tuple else (result,)


@pytest.mark.parametrize("method", ["loss", "loss_gradient", "gradient_hessian", "hessian_product"])
@pytest.mark.parametrize("form", NUMBERS)
@pytest.mark.parametrize(("loss", "k"), [(BCE, None), (CE, 3), (PAIRS[0], None), (CE, 20)], ids=str)
def test_NaN_in_a_row_that_counts_is_never_hidden(loss, k, form, method):
    for n, row in ((9, 4), (2000, 0), (2000, 1234), (2000, 1999)):
        if method == "gradient_hessian" and n * (k or 1) > 10_000:
            continue  # nothing new, and long
        X, y, coef = problem(loss, n, 5, k)
        X[row, 2] = nan  # and no entry is 0, so that nothing is left
        got = results(loss, FORMS[form](X), y, 1.0 + np.arange(n) % 3, classes(loss, k), method, coef)
        assert all(np.isnan(part).all() for part in got)
        z = fl.LinearLoss(loss, FORMS[form](X), y, n_classes=classes(loss, k)).scores(coef).reshape(n, -1)
        assert_array_equal(np.isnan(z).any(axis=1), np.arange(n) == row)


@pytest.mark.parametrize("form", NUMBERS)
@pytest.mark.parametrize("loss", [BCE, fl.Hinge()], ids=repr)
def test_infinite_scores_on_the_right_side_add_nothing(loss, form, jointly):
    for n, rows in ((9, [4]), (2000, [0, 1234, 1999])):
        X, y, coef = problem(loss, n, 5)
        kept = np.ones(n, bool)
        kept[rows] = False
        coef[2] = 0.7
        y[rows] = 1
        X[rows, 2] = inf
        value, gradient = fl.LinearLoss(loss, FORMS[form](X), y).loss_gradient(coef)
        expected = by_hand(loss, FORMS[form](X[kept]), y[kept], coef)
        assert value * n == pytest.approx(expected.value * kept.sum(), rel=1e-12)
        assert_allclose(gradient * n, expected.gradient * kept.sum(), rtol=0,
                        atol=1e-12 * n * expected.spread.gradient.max())


def test_NaN_in_one_output_leaves_the_gradients_of_others():
    X, y, coef = problem(HALF, 30, 2, 3)
    y[4, 1] = nan
    value, gradient = fl.LinearLoss(HALF, X, y).loss_gradient(coef)
    assert np.isnan(value)
    assert_array_equal(np.isnan(gradient.reshape(3, 3)), np.repeat([[False], [True], [False]], 3, axis=1))
    w = np.ones((30, 3))
    w[4, 1] = 0
    kept = fl.LinearLoss(HALF, X, y, sample_weight=w).loss_gradient(coef)
    y[4, 1] = 0.0
    expected = by_hand(HALF, X, y, coef, w)
    assert kept[0] == pytest.approx(expected.value, rel=1e-13)
    assert_allclose(kept[1], expected.gradient, rtol=1e-12, atol=1e-15)


def test_weights_that_overflow_beside_classes_of_weight_0_are_what_the_loss_makes_of_them():
    w = np.full(1024, 1e-215)
    w[:2] = 1e300, -1e300
    X, _, coef = problem(BCE, 1024, 3)
    loss, y = fl.BinaryCrossEntropy(class_weight={0: 0, 1: 1}), np.arange(1024) > 1
    model = fl.LinearLoss(loss, X, y, sample_weight=w)
    assert_array_equal(model.loss(coef), loss(y, model.scores(coef), sample_weight=w))


def test_NaN_and_extreme_coefficients():
    X, y, coef = problem(BCE, 50, 3)
    model = fl.LinearLoss(BCE, X, y)
    for bad in range(4):
        broken = coef.copy()
        broken[bad] = nan
        value, gradient = model.loss_gradient(broken)
        assert np.isnan(value) and np.isnan(gradient).all()
    for scale in (1e-300, 1e3, 1e30, 1e150):
        value, gradient = model.loss_gradient(scale * coef)
        expected = by_hand(BCE, X, y, scale * coef)
        assert value == pytest.approx(expected.value, rel=1e-12)
        assert_allclose(gradient, expected.gradient, rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_the_mean_is_right_where_the_sum_overflows(make):
    X, y, coef = np.ones((100, 1)), np.zeros(100), np.array([1e154, 1e153])
    value, gradient = fl.LinearLoss("mse", make(X), y).loss_gradient(coef)
    assert value == pytest.approx(1.21e308, rel=1e-12)
    assert_allclose(gradient, [2.2e154] * 2, rtol=1e-12)
    y[:50] = 1  # and of rows: crossed scores of ±6e307 are right for half of them
    far = np.array([[-6e307, 0.0], [6e307, 0.0]])
    assert fl.LinearLoss("multiclass_hinge", make(X), y).loss(far.ravel()) == pytest.approx(6e307, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["C", "CSR"])
@all_losses
def test_extreme_scores_in_any_block(loss, form, weighted, jointly):
    # 1500 rows are several blocks, and the scores of rows 20, 600 and 1400 are far from those of all others
    X, y, coef = problem(loss, 1500, 2)
    w = np.where(np.arange(1500) == 20, 0.0, 1.0) if weighted else None
    for far in (1e3, -1e3, 1e8, nan):
        X[[20, 600, 1400], 0] = far
        model = fl.LinearLoss(loss, sparse.csr_array(X) if form == "CSR" else X, y, sample_weight=w)
        expected, slope = loss.loss_gradient(y, model.scores(coef), sample_weight=w)
        value, gradient = model.loss_gradient(coef)
        assert_allclose([model.loss(coef), value], expected, rtol=1e-12)
        if np.isfinite(slope).all():
            by_intercept = gradient.reshape(-1, 3)[:, 2]
            assert_allclose(by_intercept, slope.sum(axis=0), rtol=1e-9, atol=1e-9 * np.abs(slope).max())


@pytest.mark.parametrize("far", [1e3, 1e6])
def test_hessians_of_scores_far_from_0(far):
    # means of a million are usual: dollars, seconds
    X, y, coef = problem(PAIRS[0], 50, 2)
    one = np.column_stack([X, np.ones(50)])
    coef[2] += far
    model = fl.LinearLoss(PAIRS[0], X, y + far)
    matrices = curvature(PAIRS[0], y + far, model.scores(coef)) / 50
    expected = np.einsum("icd,ia,ib->cadb", matrices, one, one).reshape(6, 6)
    # 1e-8: scores of a million have 1e-10 left after the point
    close = {"rtol": 0, "atol": 1e-8 * np.abs(expected).max()}
    assert_allclose(model.gradient_hessian(coef)[1], expected, **close)
    assert_allclose(model.hessian_product(coef, np.ones(6)), expected.sum(axis=1), **close)


@pytest.mark.parametrize("far", [-1e3, 1e3, 1e5])
def test_classes_far_from_0_are_as_near_to_each_other_as_ever(far):
    X, y, coef = problem(CE, 50, 2)
    coef = np.round(coef * 2**20) / 2**20  # so that the distance is added without rounding
    X = np.round(X * 2**10) / 2**10
    moved = coef.reshape(C, 3) + np.array([0, 0, far])
    model = fl.LinearLoss(CE, X, y)
    expected = by_hand(CE, X, y, coef)
    assert model.loss(moved.ravel()) == pytest.approx(expected.value, rel=1e-12)
    assert_allclose(model.loss_gradient(moved.ravel())[1], expected.gradient, rtol=0, atol=1e-13)
    q = np.exp(model.scores(coef))
    q /= q.sum(axis=1, keepdims=True)
    one = np.column_stack([X, np.ones(50)])
    hessian = np.einsum("icd,ia,ib->cadb", q[:, :, None] * np.eye(C) - q[:, :, None] * q[:, None, :], one, one) / 50
    hessian = hessian.reshape(3 * C, -1)
    # 1e-6: differences of the gradient over 1e-5, of scores that have 1e-11 left
    assert_allclose(model.gradient_hessian(moved.ravel())[1], hessian, rtol=0, atol=1e-6)
    assert_allclose(model.hessian_product(moved.ravel(), coef), hessian @ coef, rtol=0, atol=1e-6 * np.abs(coef).sum())


# ---- threads and determinism -----------------------------------------------------------------------------------------


def bits(*results):
    parts = itertools.chain(*(result if type(result) is tuple else (result,) for result in results))
    return [np.asarray(part).tobytes() for part in parts]


def everything(model, coef, v, hessian=True):
    return bits(model.loss(coef), model.loss_gradient(coef), model.hessian_product(coef, v), model.scores(coef),
                *[model.gradient_hessian(coef)] * hessian)


@pytest.mark.parametrize("form", ["C", "F", "float32", "float32, F", "CSR", "CSC", "CSR, disordered"])
@pytest.mark.parametrize(("loss", "k"), [(BCE, None), (HALF, 3), (CE, 3), (PAIRS[0], None), (HALF, 20)], ids=str)
def test_same_bits_for_every_number_of_threads(loss, k, form):
    for n, d in ((1, 5), (1025, 4), (4001, 40), (120, 300)):
        if k == 20 and d != 40:
            continue
        X, y, coef = problem(loss, n, d, k)
        X[X < -0.5] = 0
        given = FORMS[form](X)
        v = np.cos(np.arange(len(coef)))
        w = weights(n)
        expected = None
        for n_threads in (*range(1, 9), None):
            model = fl.LinearLoss(loss, given, y, sample_weight=w, l2=0.1, n_threads=n_threads,
                                  n_classes=classes(loss, k))
            got = everything(model, coef, v, hessian=d == 4)
            expected = expected or got
            assert got == expected, n_threads
        assert everything(model, coef, v, hessian=d == 4) == expected  # and run after run


def test_same_bits_whatever_the_default_of_threads():
    X, y, coef = problem(CE, 5000, 30, C)
    model = fl.LinearLoss(CE, X, y)
    fl.set_num_threads(1)
    one = everything(model, coef, coef, hessian=False)
    fl.set_num_threads(4)
    assert everything(model, coef, coef, hessian=False) == one


def run(code, **environment):
    """What a new interpreter prints."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | environment
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, text=True, timeout=60,
                          capture_output=True).stdout.strip()


def test_same_bits_process_after_process():
    code = """
import fastloss as fl, numpy as np
rng = np.random.default_rng(0)
X = rng.normal(size=(20_000, 33))
for loss, y in ((fl.BinaryCrossEntropy(), X[:, 0] > 0), (fl.CrossEntropy(), rng.integers(0, 5, 20_000))):
    model = fl.LinearLoss(loss, X, y)
    value, gradient = model.loss_gradient(np.linspace(-1, 1, model.n_coef))
    print(value.hex(), hash(gradient.tobytes()))
"""
    assert len({run(code, PYTHONHASHSEED="0", OMP_NUM_THREADS=n, OPENBLAS_NUM_THREADS=n) for n in "1228"}) == 1


@pytest.mark.parametrize("n_threads", [1, 3])
def test_one_model_serves_many_python_threads(n_threads):
    X, y, coef = problem(CE, 3000, 20, C)
    models = [fl.LinearLoss(CE, form(X), y, n_threads=n_threads) for form in (np.asarray, sparse.csr_array)]
    points = [coef * factor for factor in np.linspace(-1, 1, 12)]

    def work(point):
        return [everything(model, point, coef, hessian=False) for model in models]

    expected = [work(point) for point in points]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(work, points)) == expected


@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, sparse.csr_array, sparse.csc_array])
def test_pickled_models_are_the_same(form):
    X, y, coef = problem(CE, 200, 5, C)
    model = fl.LinearLoss(CE, form(X), y, sample_weight=np.arange(200), l2=0.5, n_threads=2)
    for copied in (pickle.loads(pickle.dumps(model)), copy.copy(model)):
        assert everything(copied, coef, coef) == everything(model, coef, coef)
    expected, own = everything(model, coef, coef), copy.deepcopy(model)
    (X if form in (np.asarray, np.asfortranarray) else y)[:] = 0
    assert everything(own, coef, coef) == expected


def child(connection, model, coef):
    connection.send(model.loss_gradient(coef))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_after_a_parallel_call_keeps_working():
    X, y, coef = problem(BCE, 20_000, 20)
    model = fl.LinearLoss(BCE, X, y, n_threads=4)
    expected = bits(model.loss_gradient(coef))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there, model, coef))
    process.start()
    try:
        assert here.poll(20), "the forked process hangs"
        assert bits(here.recv()) == expected
    finally:
        process.kill()
        process.join()
    assert bits(model.loss_gradient(coef)) == expected  # and so does the parent


# ---- memory ----------------------------------------------------------------------------------------------------------


def traced(function):
    """The peak of memory that NumPy and Python take during the call, and what it returns."""
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@cache
def large(k):
    """So many rows and columns that scores and coefficients are next to nothing: 16 MB in float64."""
    return problem(BCE if k is None else CE, 8000, 250, k)


def assert_X_is_not_copied(form, k, dtype):
    X, y, coef = large(k)
    given = FORMS[form](X.astype(dtype))
    limit = X.size * np.dtype(dtype).itemsize // 4
    peak, model = traced(lambda: fl.LinearLoss(BCE if k is None else CE, given, y))
    assert peak < limit, "the constructor"
    for method in (model.loss, model.loss_gradient, model.scores, lambda c: model.hessian_product(c, c)):
        method(coef)
        peak, _ = traced(lambda method=method: method(coef))
        assert peak < limit, method


@both_dtypes
@pytest.mark.parametrize("form", ["C", "F", "every second row", "columns of a wider one", "part of one in F order",
                                  "every second column in F order", "transposed", "read-only", "frame", "CSR", "CSC",
                                  "CSR, int64 indices", "CSC, int64 indices", "CSR, disordered", "CSR, doubled"])
@pytest.mark.parametrize("k", [None, C])
def test_X_is_never_copied(form, k, dtype):
    assert_X_is_not_copied(form, k, dtype)


@both_dtypes
@pytest.mark.parametrize("form", ["every third column", "both", "every second row in F order", "rows backwards",
                                  "columns backwards", "F backwards"])
def test_X_is_never_copied_whatever_its_strides(form, dtype):
    assert_X_is_not_copied(form, None, dtype)


@pytest.mark.parametrize("form", ["C", "F", "float32", "every second row", "CSR", "CSC"])
def test_X_is_not_copied_for_its_hessian(form):
    X, y, coef = problem(BCE, 60_000, 20)
    model = fl.LinearLoss(BCE, FORMS[form](X), y)
    model.gradient_hessian(coef)
    peak, _ = traced(lambda: model.gradient_hessian(coef))
    assert peak < X.nbytes // 4  # half of X in float32


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak of a process is read from /proc")
def test_what_C_allocates_is_small():
    # tracemalloc does not see that: the peak of the process does
    code = """
import numpy as np, fastloss as fl
from pathlib import Path
from scipy import sparse
n, d = 40_000, 100
X = np.ones((n, d))  # 32 MB
y, labels, starts = np.arange(n) % 2, np.arange(n) % 3, np.arange(0, n * d + 1, d, dtype=np.int32)
forms = {"C": X, "F": X.reshape(d, n).T, "float32": X.view(np.float32), "part": X.reshape(-1, 2 * d)[:, :d],
         "CSR": sparse.csr_array((X.ravel(), np.arange(n * d, dtype=np.int32) % d, starts), shape=(n, d)),
         "CSC": sparse.csc_array((X.ravel(), np.arange(n * d, dtype=np.int32) % n, np.arange(
             0, n * d + 1, n, dtype=np.int32)), shape=(n, d))}

def fit(loss, X, target):
    model = fl.LinearLoss(loss, X, target[:X.shape[0]], n_threads=1)
    model.loss_gradient(np.zeros(model.n_coef)), model.hessian_product(*[np.ones(model.n_coef)] * 2)

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)

for name, X in forms.items():
    for loss, target in (("bce", y), ("softmax", labels)):
        fit(loss, X[:10], target)  # loads what it needs
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
        before = peak()
        fit(loss, X, target)
        print(name, loss, peak() - before)
"""
    for line in run(code).splitlines():
        name, loss, kilobytes = line.split()
        assert int(kilobytes) < 6_000, f"{name}, {loss}"  # X is 32 MB, or half of it; y and scores are some hundred kB


def test_X_and_its_arrays_live_as_long_as_the_model():
    X, y, coef = problem(BCE, 500, 40)
    for form in ("C", "F", "float32", "frame", "CSR", "CSC", "CSC, disordered"):
        expected = fl.LinearLoss(BCE, kept := FORMS[form](X.astype(np.float32)), y).loss_gradient(coef)
        model = fl.LinearLoss(BCE, FORMS[form](X.astype(np.float32)), y.copy(), sample_weight=np.ones(500))
        junk = [np.full(X.shape, nan, np.float32) for _ in range(20)]  # would take the place of what is gone
        assert_allclose(model.loss_gradient(coef)[1], expected[1], rtol=1e-13)
        del kept, junk


# ---- errors ----------------------------------------------------------------------------------------------------------

X5, Y5 = np.arange(10.0).reshape(5, 2) / 10, np.array([0, 1, 1, 0, 1])


def tampered(part, index, value):
    X = sparse.csr_array(X5 + 1)
    getattr(X, part)[index] = value
    return X


ERRORS = {
    "X of one dimension": (ValueError, r"\bX\b.*\(5,\)", {"X": Y5 + 0.5}),
    "X of three": (ValueError, r"\bX\b.*\(5, 2, 1\)", {"X": X5[:, :, None]}),
    "X and y of different lengths": (ValueError, r"\bX\b.*\b5\b.*\by\b.*\b4\b", {"y": Y5[:4]}),
    "y of three dimensions": (ValueError, r"\by\b.*\(5, 1, 1\)", {"y": Y5[:, None, None]}),
    "y a number": (ValueError, r"\by\b.*\(\)", {"y": 1}),
    "pairs with rows of targets": (ValueError, r"\by\b.*\(5, 2\)", {"loss": "gaussian_nll", "y": X5}),
    "classes with targets of three": (ValueError, r"\by\b.*\(5, 1, 2\)", {"loss": CE, "y": X5[:, None]}),
    "indicators without rows": (ValueError, r"\by(_true)?\b.*\(5,\)", {"loss": "multilabel_margin"}),
    "sample_weight too short": (ValueError, r"sample_weight.*\(4,\)", {"sample_weight": np.ones(4)}),
    "sample_weight of rows": (ValueError, r"sample_weight.*\(5, 1\)", {"sample_weight": np.ones((5, 1))}),
    "sample_weight of other outputs": (ValueError, r"sample_weight.*\(5, 2\)", {
        "y": np.ones((5, 3)), "sample_weight": np.ones((5, 2))}),
    "sample_weight of classes": (ValueError, r"sample_weight.*\(5, 2\)", {
        "loss": CE, "sample_weight": np.ones((5, 2))}),
    "sample_weight a number": (ValueError, r"sample_weight.*\(\)", {"sample_weight": 1.0}),
    "sample_weight NaN": (ValueError, r"sample_weight\[2\] is nan.*finite", {"sample_weight": [1, 1, nan, 1, nan]}),
    "sample_weight inf": (ValueError, r"sample_weight\[4\] is -?inf.*finite", {"sample_weight": [1, 1, 1, 1, -inf]}),
    "weights of sum 0": (ValueError, r"weights.*\b0.*positive", {"sample_weight": np.zeros(5)}),
    "weights of negative sum": (ValueError, r"weights.*-1.*positive", {"sample_weight": [-2, 0, 0, 0, 1]}),
    "class weights of sum 0": (ValueError, r"weights.*\b0.*positive", {
        "loss": fl.BinaryCrossEntropy(class_weight=[0.0, 0.0])}),
    "no samples": (ValueError, r"\bX\b.*no (samples|rows)", {"X": X5[:0], "y": Y5[:0]}),
    "no samples, sparse": (ValueError, r"\bX\b.*no (samples|rows)", {"X": sparse.csr_array((0, 2)), "y": Y5[:0]}),
    "y of objects": (TypeError, r"\by\b.*object", {"y": Y5.astype(object)}),
    "y of strings": (TypeError, r"\by\b.*dtype", {"y": list("abbab")}),
    "y complex": (TypeError, r"\by\b.*complex", {"y": Y5 * 1j}),
    "y masked": (TypeError, r"\by\b.*masked", {"y": np.ma.masked_equal(Y5, 0)}),
    "y sparse": (TypeError, r"\by\b.*sparse", {"y": sparse.csr_array(Y5[:, None])}),
    "y with NA": (TypeError, r"\by\b.*NA.*\b2\b", {"y": pd.array([0, 1, None, 1, 0], "Int64")}),
    "sample_weight masked": (TypeError, r"sample_weight.*masked", {"sample_weight": np.ma.masked_equal(Y5, 0)}),
    "sample_weight of objects": (TypeError, r"sample_weight.*object", {"sample_weight": Y5.astype(object)}),
    "sample_weight sparse": (TypeError, r"sample_weight.*sparse", {"sample_weight": sparse.csr_array(Y5[:, None])}),
    "X of objects": (TypeError, r"\bX\b.*object", {"X": X5.astype(object)}),
    "X of strings": (TypeError, r"\bX\b.*dtype", {"X": X5.astype(str)}),
    "X complex": (TypeError, r"\bX\b.*complex", {"X": X5 + 0j}),
    "X of dates": (TypeError, r"\bX\b.*datetime", {"X": X5.astype("datetime64[s]")}),
    "X masked": (TypeError, r"\bX\b.*masked", {"X": np.ma.masked_less(X5, 0.2)}),
    "X ragged": (ValueError, r"\bX\b", {"X": [[1.0, 2.0], [3.0]]}),
    "X None": ((TypeError, ValueError), r"\bX\b", {"X": None}),
    "X a frame of strings": (TypeError, r"\bX\b.*object|\bX\b.*dtype", {"X": pd.DataFrame({"a": list("abcde")})}),
    "X a frame with NA": (TypeError, r"\bX\b.*NA", {"X": pd.DataFrame({"a": pd.array([0, 1, None, 1, 0], "Int64")})}),
    "X sparse with an index too large": (ValueError, r"\bX\b.*indices", {"X": tampered("indices", 3, 2)}),
    "X sparse with an index below 0": (ValueError, r"\bX\b.*indices", {"X": tampered("indices", 0, -1)}),
    "X sparse with starts beyond its end": (ValueError, r"\bX\b.*indptr", {"X": tampered("indptr", -1, 11)}),
    "X sparse with starts that fall": (ValueError, r"\bX\b.*indptr", {"X": tampered("indptr", 2, 9)}),
    "X sparse and complex": (TypeError, r"\bX\b.*complex", {"X": sparse.csr_array(X5 + 0j)}),
    "l2 negative": (ValueError, r"l2 must be.*>= 0.*-0\.5", {"l2": -0.5}),
    "l2 NaN": (ValueError, r"l2 must be finite.*nan", {"l2": nan}),
    "l2 inf": (ValueError, r"l2 must be finite.*inf", {"l2": inf}),
    "l2 a string": (TypeError, r"l2 must be a number.*'1'", {"l2": "1"}),
    "l2 an array": (TypeError, r"l2 must be a number", {"l2": np.ones(2)}),
    "fit_intercept a number": (TypeError, r"fit_intercept must be True or False", {"fit_intercept": 1}),
    "fit_intercept None": (TypeError, r"fit_intercept must be True or False", {"fit_intercept": None}),
    "n_threads 0": (ValueError, r"n_threads must be at least 1, got 0", {"n_threads": 0}),
    "n_threads half": (TypeError, r"n_threads must be an integer.*1\.5", {"n_threads": 1.5}),
    "n_threads True": (TypeError, r"n_threads must be an integer.*True", {"n_threads": True}),
    "n_classes 1": (ValueError, r"n_classes must be at least 2, got 1", {"loss": CE, "n_classes": 1}),
    "n_classes half": (TypeError, r"n_classes must be an integer.*2\.5", {"loss": CE, "n_classes": 2.5}),
    "n_classes of other rows": (ValueError, r"n_classes is 3.*\(5, 2\)", {
        "loss": CE, "y": one_hot(Y5, 2), "n_classes": 3}),
    "n_classes of a loss without": (ValueError, r"n_classes is 2", {"n_classes": 2}),
    "a loss that nobody knows": (ValueError, r"no loss is called 'bse'.*binary_cross_entropy", {"loss": "bse"}),
    "a class for a loss": (TypeError, r"\bloss\b.*Huber", {"loss": fl.Huber}),
    "a function for a loss": (TypeError, r"\bloss\b", {"loss": np.square}),
    "None for a loss": (TypeError, r"\bloss\b.*None", {"loss": None}),
    "a label of 2": (ValueError, r"y\w*\[3\] is 2.*0 or 1|y\w*\[3\] is 2.*\[0, 1\]", {"y": [0, 1, 1, 2, 2]}),
    "a label of NaN": (ValueError, r"y\w*\[2\] is nan", {"y": [0, 1, nan, 1, 0]}),
    "a label half hard": (ValueError, r"y\w*\[1\] is 0\.5", {"loss": "binary_focal", "y": [0, 0.5, 1, 1, 0]}),
    "labels of both kinds": (ValueError, r"y\w*\[2\] is -1|y\w*\[0\] is 0", {"y": [0, 1, -1, 1, 1]}),
    "a label of an output": (ValueError, r"y\w*\[3, 1\] is 7", {"y": [[0, 1], [1, 0], [1, 1], [0, 7], [7, 0]]}),
    "a class too large": (ValueError, r"y\w*\[1\] is 3.*0 to 2", {"loss": CE, "y": [0, 3, 1, 4, 2], "n_classes": 3}),
    "a class below 0": (ValueError, r"y\w*\[2\] is -1.*from 0", {"loss": CE, "y": [0, 1, -1, -2, 2]}),
    "half a class": (ValueError, r"y\w*\[4\] is 1\.5.*whole", {"loss": CE, "y": [0, 1, 0, 1, 1.5]}),
    "a row that does not sum to 1": (ValueError, r"y\w*\[2\] has.*sum.*0\.9.*must be 1", {
        "loss": CE, "y": [[0, 1], [0.5, 0.5], [0.5, 0.4], [1, 0], [2, 0]]}),
    "a target below 0": (ValueError, r"y\w*\[3\] is -0\.1.*non-negative", {
        "loss": "poisson", "y": [0, 1, 2, -0.1, -1]}),
    "a target of 0": (ValueError, r"y\w*\[0\] is 0.*positive", {"loss": "gamma"}),
    "parameters of other outputs": (ValueError, r"pos_weight.*\(3,\)", {
        "loss": fl.BinaryCrossEntropy(pos_weight=[1, 2, 3]), "y": np.ones((5, 2))}),
    "class weights of other outputs": (ValueError, r"class_weight.*\(3, 2\)", {
        "loss": fl.BinaryCrossEntropy(class_weight=np.ones((3, 2))), "y": np.ones((5, 2))}),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    error, message, changed = ERRORS[case]
    arguments = {"loss": BCE, "X": X5, "y": Y5} | changed
    with pytest.raises(error, match=message) as caught:
        model = fl.LinearLoss(arguments.pop("loss"), arguments.pop("X"), arguments.pop("y"), **arguments)
        model.loss_gradient(np.zeros(model.n_coef))  # labels may be read no earlier
    assert "y_pred" not in str(caught.value)  # nobody gave one


@pytest.mark.parametrize("name", ["coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_other_sparse_formats_are_named_with_a_way_out(name, kind):
    X = getattr(sparse, f"{name}_{kind}")(X5)
    with pytest.raises(TypeError, match=rf"(?i)\bX\b.*{name}.*\.tocsr\(\)"):
        fl.LinearLoss(BCE, X, Y5)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("method", ["loss", "loss_gradient", "scores", "gradient_hessian", "hessian_product"])
def test_errors_of_coefficients(method, make):
    model = fl.LinearLoss(HALF, make(X5), np.ones((5, 3)))
    good = np.arange(9.0)

    def call(coef):
        return getattr(model, method)(coef, *[good] * (method == "hessian_product"))

    for bad in (good[:8], np.arange(10.0), good[:0], good.reshape(3, 3), good[:, None], 1.0):
        with pytest.raises(ValueError, match=r"\bcoef\b.*shape.*\(9,\)"):
            call(bad)
    for bad in (good.astype(object), good + 0j, good.astype(str), np.ma.masked_less(good, 2)):
        with pytest.raises(TypeError, match=r"\bcoef\b"):
            call(bad)
    call(good)


def test_errors_of_v():
    model = fl.LinearLoss(BCE, X5, Y5)
    for bad in (np.ones(2), np.ones(4), np.ones((1, 3)), 1.0):
        with pytest.raises(ValueError, match=r"\bv\b.*shape.*\(3,\)"):
            model.hessian_product(np.zeros(3), bad)
    for bad in (np.ones(3, object), np.ones(3) * 1j):
        with pytest.raises(TypeError, match=r"\bv\b"):
            model.hessian_product(np.zeros(3), bad)


def test_options_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        fl.LinearLoss(BCE, X5, Y5, np.ones(5))


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize(("loss", "bad"), [(BCE, 2), (fl.Poisson(), -1), (CE, 9)], ids=str)
def test_the_lowest_bad_label_is_named_for_every_number_of_threads(loss, bad, make, n_threads):
    X, y, _ = problem(loss, 20_000, 3)
    y[[19_999, 13_001, 7_001]] = bad
    with pytest.raises(ValueError, match=rf"y\w*\[7001\] is {bad}"):
        model = fl.LinearLoss(loss, make(X), y, n_threads=n_threads, n_classes=classes(loss, C))
        model.loss_gradient(np.zeros(model.n_coef))


@pytest.mark.parametrize("attribute", ["n_samples", "n_features", "n_outputs", "n_coef"])
def test_sizes_are_plain_integers(attribute):
    assert type(getattr(fl.LinearLoss(CE, X5, Y5), attribute)) is int


# ---- optimisers and scikit-learn -------------------------------------------------------------------------------------


def easy(n=400, d=6, classes=2, seed=0):
    """Data of overlapping classes: a fit has one optimum, not too far away."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    z = X @ rng.normal(size=(d, classes)) + rng.gumbel(size=(n, classes)) * 1.5
    return X, z.argmax(axis=1)


OPTIMISERS = {
    "L-BFGS-B": {"options": {"gtol": 1e-9, "ftol": 0.0, "maxiter": 2000}},
    "Newton-CG": {"options": {"xtol": 1e-12}},
    "trust-ncg": {"options": {"gtol": 1e-10}},
    "trust-exact": {"options": {"gtol": 1e-10}},
}


def fitted(model, method):
    extra = {"hessp": model.hessian_product} if method in ("Newton-CG", "trust-ncg") else {}
    if method == "trust-exact":
        extra = {"hess": lambda coef: model.gradient_hessian(coef)[1]}
    return minimize(model.loss_gradient, np.zeros(model.n_coef), jac=True, method=method, **extra,
                    **OPTIMISERS[method]).x


@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, np.float32, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("method", OPTIMISERS)
def test_fits_agree_with_logistic_regression(method, make):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    for classes, weighted, fit_intercept in ((2, True, True), (2, False, False), (3, True, True)):
        X, y = easy(classes=classes)
        X = X.astype(np.float32).astype(np.float64)
        w = weights(len(y)) + 0.1 if weighted else np.ones(len(y))
        # newton-cholesky with a tolerance far below ours
        other = linear_model.LogisticRegression(C=0.7, tol=1e-12, solver="newton-cholesky", max_iter=1000,
                                                fit_intercept=fit_intercept).fit(X, y, w)
        model = fl.LinearLoss(BCE if classes == 2 else CE, make(X), y, sample_weight=w, l2=1 / (0.7 * w.sum()),
                              fit_intercept=fit_intercept)
        coef = fitted(model, method).reshape(model.n_outputs, -1)
        # the gradient is below 1e-8, and the Hessian above 1e-3: a distance below 1e-5
        assert_allclose(coef[:, :X.shape[1]], other.coef_, rtol=0, atol=1e-5)
        if fit_intercept:  # of many classes only the differences of intercepts are told
            b = coef[:, -1] - (coef[:, -1].mean() if classes > 2 else 0)
            assert_allclose(b, other.intercept_ - (other.intercept_.mean() if classes > 2 else 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", OPTIMISERS)
@pytest.mark.parametrize(("name", "estimator", "parameters"), [
    ("poisson", "PoissonRegressor", {}), ("gamma", "GammaRegressor", {}),
    ("tweedie", "TweedieRegressor", {"power": 1.5})])
def test_fits_agree_with_generalised_linear_models(method, name, estimator, parameters):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    mean = np.exp(X @ [0.3, -0.2, 0.5, 0.0] + 0.4)
    y = rng.poisson(mean) if name == "poisson" else rng.gamma(2.0, mean / 2)
    w = weights(300) + 0.1
    other = getattr(linear_model, estimator)(alpha=0.05, tol=1e-12, solver="newton-cholesky", max_iter=1000,
                                             **parameters).fit(X, y, w)
    coef = fitted(fl.LinearLoss(fl.get(name), X, y, sample_weight=w, l2=0.05), method)
    assert_allclose(coef, [*other.coef_, other.intercept_], rtol=0, atol=1e-6)


def test_least_squares():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 2))
    one = np.column_stack([X, np.ones(200)])
    expected = np.linalg.lstsq(one, y, rcond=None)[0].T
    model = fl.LinearLoss("mse", X, y)
    gradient, hessian = model.gradient_hessian(np.zeros(12))
    assert_allclose(np.linalg.solve(hessian, -gradient).reshape(2, 6), expected, rtol=1e-11, atol=1e-13)


def linear_model_loss(loss):
    """scikit-learn's own objective, of the loss that its generalised linear models take for `loss`."""
    why = "scikit-learn has moved its private module"
    module = pytest.importorskip("sklearn.linear_model._linear_loss", reason=why)
    losses = pytest.importorskip("sklearn._loss.loss", reason=why)
    made = {fl.BinaryCrossEntropy: losses.HalfBinomialLoss, fl.SquaredError: losses.HalfSquaredError,
            fl.Poisson: losses.HalfPoissonLoss, fl.Gamma: losses.HalfGammaLoss,
            fl.Tweedie: lambda: losses.HalfTweedieLoss(power=1.5),
            fl.CrossEntropy: lambda: losses.HalfMultinomialLoss(n_classes=C)}[type(loss)]()
    return lambda fit_intercept: module.LinearModelLoss(base_loss=made, fit_intercept=fit_intercept)


@pytest.mark.parametrize("form", ["C", "F", "CSR", "CSC"])
@both_intercepts
@pytest.mark.parametrize("loss", [BCE, HALF, fl.Poisson(), fl.Gamma(), fl.Tweedie(1.5), CE], ids=repr)
def test_objectives_agree_with_scikit_learn(loss, fit_intercept, form):
    other = linear_model_loss(loss)(fit_intercept)
    X, y, coef = problem(loss, 200, 5, fit_intercept=fit_intercept)
    y = (y > 0.5).astype(float) if loss is BCE else y.astype(float)
    coef *= 0.3
    w, l2 = weights(200), 0.3
    model = fl.LinearLoss(loss, FORMS[form](X), y, sample_weight=w, l2=l2, fit_intercept=fit_intercept)
    k = model.n_outputs

    def theirs(flat):  # their classes lie side by side
        return flat.reshape(k, -1).ravel(order="F")

    def ours(flat):
        return np.asarray(flat).reshape(k, -1, order="F").ravel()

    value, gradient = other.loss_gradient(theirs(coef), X, y, sample_weight=w, l2_reg_strength=l2)
    got = model.loss_gradient(coef)
    assert got[0] == pytest.approx(value, rel=1e-12)
    scale = np.abs(gradient).max()
    assert_allclose(got[1], ours(gradient), rtol=0, atol=1e-12 * scale)
    gradient, product = other.gradient_hessian_product(theirs(coef), X, y, sample_weight=w, l2_reg_strength=l2)
    assert_allclose(model.gradient_hessian(coef)[0], ours(gradient), rtol=0, atol=1e-12 * scale)
    columns = [ours(product(theirs(v))) for v in np.eye(model.n_coef)]
    # 1e-9, as above
    atol = 1e-9 * np.abs(columns).max()
    assert_allclose(model.gradient_hessian(coef)[1], columns, rtol=0, atol=atol)
    v = np.random.default_rng(0).normal(size=model.n_coef)
    assert_allclose(model.hessian_product(coef, v), ours(product(theirs(v))), rtol=0, atol=atol * np.abs(v).sum())


@pytest.mark.parametrize("loss", [BCE, CE, PAIRS[0]], ids=str)
def test_long_strips_of_sparse_columns(loss):
    # a strip is a sixteenth of the rows at least, and the kernels of losses take some thousands at a time
    k = C if loss is CE else None
    X, y, coef = problem(loss, 140_000, 2, k)
    X[:, 1] = 0.0
    dense, columns = (fl.LinearLoss(loss, one, y, n_classes=classes(loss, k)) for one in (X, sparse.csc_array(X)))
    z = X @ coef.reshape(-1, 3)[:, :-1].T + coef.reshape(-1, 3)[:, -1]
    expected = loss.loss(y, z[:, 0] if z.shape[1] == 1 else z)
    for model in (dense, columns):
        assert model.loss(coef) == pytest.approx(expected, rel=1e-12)
    assert_allclose(columns.loss_gradient(coef)[1], dense.loss_gradient(coef)[1], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("form", ["C", "padded", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "d"), [(300_000, 1), (150_000, 8), (70_001, 20), (40_003, 133), (3500, 700),
                                      (33_000, 701)])
def test_long_strips(n, d, dtype, form):
    # the gradient of a block is added beside the scores of the next: there are at least two to each of 64 strips
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d + 3), dtype=dtype)[:, :d]
    X = X if form == "padded" else X.copy(order=form)
    y = rng.integers(2, size=n)
    w = np.ones(n)
    w[::1009] = 0.0
    coef = rng.standard_normal(d + 1) / np.sqrt(d)
    model = fl.LinearLoss(BCE, X, y, sample_weight=w)
    wide = X.astype(np.float64)
    z = wide @ coef[:-1] + coef[-1]
    r = (special.expit(z) - y) * w / w.sum()
    expected = np.append(r @ wide, r.sum())
    value, gradient = model.loss_gradient(coef)
    assert value == model.loss(coef)  # the same bits: scores do not depend on what is computed beside them
    assert value == pytest.approx(np.average(BCE.loss(y, z, reduction="none"), weights=w), rel=1e-12)
    assert_allclose(gradient, expected, rtol=0, atol=1e-13 * np.abs(expected).max() * np.sqrt(n))
    X[::1009] = nan  # in the midst of other blocks
    assert_allclose(model.loss_gradient(coef)[1], gradient, rtol=0, atol=1e-14 * np.abs(gradient).max() * np.sqrt(n))


def test_wide_sparse_X_takes_no_dense_block():
    X = sparse.random_array((200, 3_000_000), density=1e-6, format="csc", rng=0)  # a block of 16 rows: 384 MB
    y = np.arange(200) % 2
    for one in (X, X.tocsr()):
        model = fl.LinearLoss(BCE, one, y, n_threads=1)
        peak, (value, gradient) = traced(lambda model=model: model.loss_gradient(np.zeros(model.n_coef)))
        assert value == pytest.approx(np.log(2))
        assert_allclose(gradient[:-1], X.T @ (0.5 - y) / 200, rtol=1e-12)
        assert peak < 400e6
