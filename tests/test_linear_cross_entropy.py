"""linear_cross_entropy against NumPy in float64, torch and finite differences; its layouts, outputs, errors, memory."""

import re
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

import fastloss as fl
from calls import assert_slopes
from fastloss import _linear_cross_entropy as module
from fastloss import linear_cross_entropy

inf, nan = np.inf, np.nan
N, D, C = 53, 7, 11
NAMES = ("loss", "hidden_gradient", "weight_gradient", "bias_gradient")

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def data(n=N, d=D, n_classes=C, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    hidden, weight = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(n_classes, d)).astype(dtype)
    return hidden, weight, rng.integers(0, n_classes, n)


def reference(hidden, weight, y, *, bias=None, w=None, ignored=None, label_smoothing=0.0, z_loss=0.0, adjustment=None,
              reduction="mean"):
    """Outputs by their formulas in float64, and Σ |terms| of each gradient; w are the weights of the rows."""
    h, W = np.asarray(hidden, np.float64), np.asarray(weight, np.float64)
    n, n_classes = len(h), len(W)
    z = h @ W.T + sum(np.asarray(row, np.float64) for row in (bias, adjustment) if row is not None)
    counts = np.ones(n, bool) if ignored is None else np.asarray(y) != ignored
    t = np.full((n, n_classes), label_smoothing / n_classes)
    t[np.arange(n), np.where(counts, y, 0)] += 1 - label_smoothing
    w = counts * (np.ones(n) if w is None else np.asarray(w, np.float64))
    lse = special.logsumexp(z, axis=1)
    q = np.exp(z - lse[:, None])
    losses = w * ((t * (lse[:, None] - z)).sum(axis=1) + z_loss * lse**2)
    over = w.sum() if reduction == "mean" else 1.0
    # as the loss is the mean over rows that count, nothing counts where there are none
    over = over if counts.any() else 1.0
    up, down = (q * (1 + 2 * z_loss * lse)[:, None]) * (w / over)[:, None], t * (w / over)[:, None]
    g, terms = up - down, np.abs(up) + np.abs(down)
    loss = losses if reduction == "none" else losses.sum() / over
    return (loss, g @ W, g.T @ h, g.sum(axis=0)), (None, terms @ np.abs(W), terms.T @ np.abs(h), terms.sum(axis=0))


def assert_right(got, exact, scales, hidden, weight, dtype):
    """Within rounding errors: a logit's is absolute, and relative for what is made of its exponential."""
    eps = np.finfo(dtype).eps
    most = np.abs(np.asarray(hidden, np.float64)) @ np.abs(np.asarray(weight, np.float64)).T
    limit = eps * (16 + 2 * most.max(initial=0) + len(weight) / 16)
    assert_allclose(got[0], exact[0], rtol=limit, atol=limit * 10)
    for name, value, expected, scale in zip(NAMES[1:], got[1:], exact[1:], scales[1:], strict=False):
        assert type(value) is np.ndarray and value.dtype == dtype and value.shape == expected.shape
        assert (np.abs(value - expected) <= limit * scale + np.finfo(dtype).smallest_subnormal).all(), name


def in_small_parts(monkeypatch):
    """Four classes, and three columns, are a part."""
    monkeypatch.setattr(module, "_default_classes", lambda *_: 4)
    monkeypatch.setattr(module, "COLUMNS", 3)


# ---- values and gradients --------------------------------------------------------------------------------------------

RNG = np.random.default_rng(1)
W = RNG.uniform(0, 2, N)
W[::5] = 0
BIAS, ADJUSTMENT, CLASS_WEIGHT = RNG.normal(size=C), RNG.normal(size=C), RNG.uniform(0.1, 3, C)
# options of linear_cross_entropy, and of the reference but for weights
OPTIONS = {
    "plain": {},
    "bias": {"bias": BIAS},
    "weights": {"sample_weight": W, "bias": BIAS},
    "negative": {"sample_weight": W - 0.3},
    "classes": {"class_weight": CLASS_WEIGHT},
    "dict": {"class_weight": {1: 2.5, 3: 0.0}},
    "balanced": {"class_weight": "balanced", "ignore_index": 3},
    "ignored": {"ignore_index": 4, "sample_weight": W},
    "smoothing": {"label_smoothing": 0.2, "bias": BIAS},
    "z_loss": {"z_loss": 0.3},
    "adjustment": {"logit_adjustment": ADJUSTMENT},
    "all": {"bias": BIAS, "logit_adjustment": ADJUSTMENT, "label_smoothing": 0.1, "z_loss": 0.1, "sample_weight": W,
            "class_weight": CLASS_WEIGHT, "ignore_index": 2},
}


def by_reference(hidden, weight, y, dtype, *, sample_weight=None, class_weight=None, ignore_index=None,
                 logit_adjustment=None, **options):
    w = np.ones(len(hidden)) if sample_weight is None else sample_weight.astype(dtype)
    if class_weight is not None:
        if isinstance(class_weight, dict):
            rows = np.array([class_weight.get(c, 1.0) for c in range(C)])
        elif isinstance(class_weight, str):
            counts = np.bincount(y[y != ignore_index], minlength=C)
            rows = counts.sum() / (C * np.maximum(counts, 1))
        else:
            rows = class_weight
        w = w * rows[y]
    if "bias" in options:
        options["bias"] = options["bias"].astype(dtype)
    return reference(hidden, weight, y, w=w, ignored=ignore_index, adjustment=logit_adjustment, **options)


@pytest.mark.parametrize("block_rows", [None, 1, 5, 32, 1000])
@each_reduction
@both_dtypes
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_formula(options, dtype, reduction, block_rows):
    hidden, weight, y = data(dtype=dtype)
    got = linear_cross_entropy(hidden, weight, y, reduction=reduction, block_rows=block_rows, **options)
    assert len(got) == (4 if "bias" in options else 3)
    assert reduction == "none" or type(got[0]) is float
    exact, scales = by_reference(hidden, weight, y, dtype, reduction=reduction, **options)
    assert_right(got, exact, scales, hidden, weight, dtype)


@both_dtypes
@pytest.mark.parametrize(("n", "d", "n_classes"), [
    (1, 1, 2), (1, 5, 2), (2, 1, 1000), (17, 3, 2), (300, 4, 5), (97, 64, 333), (1000, 2, 3), (33, 300, 40),
    (5, 2, 40_000), (500, 600, 700)])
def test_sizes(n, d, n_classes, dtype):
    hidden, weight, y = data(n, d, n_classes, dtype)
    bias = RNG.normal(size=n_classes).astype(dtype)
    for block_rows in (None, 64):
        got = linear_cross_entropy(hidden, weight, y, bias=bias, block_rows=block_rows)
        assert_right(got, *reference(hidden, weight, y, bias=bias), hidden, weight, dtype)


@pytest.mark.parametrize("block", [1, 100, 1000])
def test_more_classes_than_a_block(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    hidden, weight, y = data(6, 9, 2000)
    got = linear_cross_entropy(hidden, weight, y)
    assert_right(got, *reference(hidden, weight, y), hidden, weight, np.float64)


@pytest.mark.parametrize(("limit", "n", "rows"), [
    (96, 2048, 96), (98, 2048, 96), (96, 100, 64), (96, 96, 96), (96, 97, 64), (5, 53, 5), (20, 53, 16), (1, 7, 1),
    (100, 10, 10), (100, 0, 1)])
def test_blocks_are_about_equal(limit, n, rows):
    assert module._block_rows(limit, n) == rows


@pytest.mark.parametrize(("n", "d", "n_classes", "rows"), [
    (2048, 512, 32_000, 97), (10**6, 512, 32_000, 128), (10, 8, 10**6, 3), (10, 64, 10**6, 16), (10, 512, 10**6, 96),
    (8192, 4096, 128_000, 390), (10**6, 10, 2, 145_454), (5, 1, 10**7, 1)])
def test_default_rows(n, d, n_classes, rows):
    assert module._default_rows(n, d, n_classes) == rows
    # a block's memory is bounded: 12.8 MB in float32, or a quarter of weight's
    assert rows == 1 or rows * n_classes <= max(3_200_000, n_classes * d / 4)


@pytest.mark.parametrize(("rows", "d", "n_classes", "classes"), [
    (96, 512, 32_000, 1000), (96, 512, 128_000, 1024), (636, 512, 4000, 636), (1, 1, 2, 2**19), (1, 10**6, 2, 64)])
def test_classes_that_a_thread_takes(rows, d, n_classes, classes):
    assert module._default_classes(rows, d, n_classes) == classes


@pytest.mark.parametrize("d", [1, 5])
@each_reduction
def test_derivatives(d, reduction):
    hidden, weight, y = data(4, d, 3, seed=3)
    bias, w = np.array([0.3, -0.2, 0.1]), np.array([0.5, 2.0, 0.0, 1.0])
    options = {"sample_weight": w, "label_smoothing": 0.1, "z_loss": 0.2, "class_weight": [1.0, 2.0, 0.5]}
    arrays = [hidden, weight, bias]

    def value():
        return np.sum(linear_cross_entropy(hidden, weight, y, bias=bias, reduction=reduction, **options)[0])

    gradients = linear_cross_entropy(hidden, weight, y, bias=bias, reduction=reduction, **options)[1:]
    assert_slopes(arrays, gradients, value, abs=1e-9)


@both_dtypes
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": CLASS_WEIGHT}], ids=str)
@each_reduction
def test_torch(reduction, options, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    hidden, weight, y = data(200, 40, C, dtype)
    y[::3] = -100
    bias = BIAS.astype(dtype)
    given = [torch.from_numpy(a.copy()).requires_grad_() for a in (hidden, weight, bias)]
    by_class = torch.from_numpy(CLASS_WEIGHT.astype(dtype)) if "class_weight" in options else None
    value = torch.nn.functional.cross_entropy(
        given[0] @ given[1].T + given[2], torch.from_numpy(y), weight=by_class, ignore_index=-100, reduction=reduction,
        label_smoothing=options.get("label_smoothing", 0.0))
    value.sum().backward()
    got = linear_cross_entropy(hidden, weight, y, bias=bias, ignore_index=-100, reduction=reduction, **options)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}
    close["atol"] /= 133 if reduction == "mean" else 1  # the rows that count
    assert_allclose(got[0], value.detach().numpy(), rtol=close["rtol"])
    for ours, theirs in zip(got[1:], given, strict=True):
        assert_allclose(ours, theirs.grad.numpy(), **close)


def test_confident_rows_keep_their_digits():
    # one class ahead by 100: the loss is e^-100, which no sum with the target's logit shows
    hidden, weight = np.array([[100.0], [50.0]]), np.array([[1.0], [0.0]])
    loss, d_hidden, d_weight = linear_cross_entropy(hidden, weight, [0, 0], reduction="none")
    assert_allclose(loss, np.exp([-100.0, -50.0]), rtol=1e-14)
    assert_allclose(d_hidden[:, 0], -np.exp([-100.0, -50.0]), rtol=1e-14)
    assert_allclose(d_weight[:, 0], [-50 * np.exp(-50.0), 50 * np.exp(-50.0)], rtol=1e-14)


@each_reduction
@pytest.mark.parametrize("weighted", [False, True])
def test_unlikely_classes_give_no_subnormal_numbers(weighted, reduction, monkeypatch):
    # BLAS is very slow with them: e^-100 is one in float32
    hidden, weight, y = data(200, 30, 100, np.float32)
    weight *= 5
    w = np.linspace(0.1, 1, 200) if weighted else None
    factors, gemm = [], module._gemm
    monkeypatch.setattr(module, "_gemm", lambda *args: (factors.append(args[1].copy()), gemm(*args)))
    got = linear_cross_entropy(hidden, weight, y, sample_weight=w, reduction=reduction)
    assert_right(got, *by_reference(hidden, weight, y, np.float32, sample_weight=w, reduction=reduction), hidden,
                 weight, np.float32)
    gradients = np.abs(factors[0])
    assert gradients.shape == (100, 200) and (gradients > 0).mean() > 0.8
    assert gradients[gradients > 0].min() >= np.finfo(np.float32).tiny
    q = special.softmax(hidden.astype(np.float64) @ weight.T.astype(np.float64), axis=1)
    assert (q < np.finfo(np.float32).tiny).any(), "the test has no unlikely classes"


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_rows", [None, 3])
@pytest.mark.parametrize("by", ["weight", "label", "class"])
@each_reduction
def test_rows_of_weight_0_are_not_looked_at(by, reduction, block_rows):
    hidden, weight, y = data()
    out = RNG.random(N) < 0.4
    options = {"weight": {"sample_weight": np.where(out, 0.0, 1.0)}, "label": {"ignore_index": 255},
               "class": {"class_weight": {C - 1: 0.0}}}[by]
    y = np.where(out, {"weight": y, "label": 255, "class": C - 1}[by], y % (C - 1))
    hidden[out] = [[nan], [inf]][N % 2]
    got = linear_cross_entropy(hidden, weight, y, reduction=reduction, block_rows=block_rows, bias=BIAS, **options)
    exact, scales = reference(hidden[~out], weight, y[~out], bias=BIAS, reduction=reduction)
    losses, gradient = got[0], got[1]
    assert not gradient[out].any()
    if reduction == "none":
        assert not losses[out].any()
        losses = losses[~out]
    assert_right((losses, gradient[~out], *got[2:]), exact, scales, hidden[~out], weight, np.float64)


@pytest.mark.parametrize("bias", [None, BIAS])
@pytest.mark.parametrize("ignored", [-100, 3])
@each_reduction
def test_all_rows_ignored(reduction, ignored, bias):
    hidden, weight, _ = data()
    loss, *gradients = linear_cross_entropy(np.full_like(hidden, nan), weight, np.full(N, ignored), bias=bias,
                                            ignore_index=ignored, reduction=reduction)
    assert_array_equal(loss, np.zeros(N) if reduction == "none" else 0.0)
    for gradient, array in zip(gradients, (hidden, weight, bias), strict=False):
        assert_array_equal(gradient, np.zeros(array.shape))


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_no_rows(reduction):
    loss, d_hidden, d_weight, d_bias = linear_cross_entropy(np.empty((0, D)), np.ones((C, D)), [], bias=BIAS,
                                                            reduction=reduction)
    assert_array_equal(loss, [] if reduction == "none" else 0.0)
    assert d_hidden.shape == (0, D)
    assert_array_equal(d_weight, np.zeros((C, D)))
    assert_array_equal(d_bias, np.zeros(C))
    with pytest.raises(ValueError, match=r"hidden has no samples \(shape \(0, 7\)\)"):
        linear_cross_entropy(np.empty((0, D)), np.ones((C, D)), [])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("size", "dtype"), [(-300, np.float64), (-30, np.float64), (-30, np.float32), (30, np.float64),
                                             (30, np.float32), (300, np.float64)])
def test_weights_of_any_size(size, dtype, reduction):
    hidden, weight, y = data(dtype=dtype)
    w = np.full(N, 10.0**size)
    got = linear_cross_entropy(hidden, weight, y, sample_weight=w, reduction=reduction)
    assert_right(got, *by_reference(hidden, weight, y, dtype, sample_weight=w, reduction=reduction), hidden, weight,
                 dtype)


def test_a_mean_of_losses_whose_sum_overflows():
    hidden, weight = np.full((40, 1), 1e154), np.array([[1e153], [2e153]])
    assert linear_cross_entropy(hidden, weight, np.zeros(40))[0] == pytest.approx(1e307)
    assert linear_cross_entropy(hidden, weight, np.zeros(40), reduction="sum")[0] == inf


# ---- limits ----------------------------------------------------------------------------------------------------------


@both_dtypes
def test_a_bias_of_minus_infinity_masks_a_class(dtype):
    hidden, weight, y = data(dtype=dtype)
    y = np.where(y == 4, 5, y)
    bias = BIAS.astype(dtype)
    bias[4] = -inf
    loss, d_hidden, d_weight, d_bias = linear_cross_entropy(hidden, weight, y, bias=bias)
    kept = np.arange(C) != 4
    exact, scales = reference(hidden, weight[kept], y - (y > 4), bias=bias[kept])
    assert_right((loss, d_hidden, d_weight[kept], d_bias[kept]), exact, scales, hidden, weight, dtype)
    assert d_bias[4] == 0 and not d_weight[4].any()
    # as a target it costs without limit, and its gradient is that of the limit
    y[0] = 4
    loss, d_hidden, d_weight, d_bias = linear_cross_entropy(hidden, weight, y, bias=bias, reduction="none")
    assert loss[0] == inf and np.isfinite(loss[1:]).all()
    assert d_bias[4] == -1
    assert_array_equal(d_weight[4], -hidden[0])
    assert np.isfinite(d_hidden).all()


def test_infinite_and_huge_logits():
    # +inf in one class: probability 1; its row costs 0 if it is the target, else inf
    hidden, weight = np.zeros((2, 1)), np.zeros((3, 1))
    loss, _, _, d_bias = linear_cross_entropy(hidden, weight, [0, 1], bias=[inf, 0, 0], reduction="none")
    assert_array_equal(loss, [0, inf])
    assert_array_equal(d_bias, [1, -1, 0])
    # no limit: NaN
    assert np.isnan(linear_cross_entropy(hidden, weight, [0, 1], bias=[inf, inf, 0])[0])
    for size in (1000.0, 1e300):
        loss, d_hidden, _ = linear_cross_entropy([[size], [-size]], [[1.0], [0.0]], [0, 0], reduction="none")
        assert_array_equal(loss, [0, size])
        assert_array_equal(d_hidden, [[0], [-1]])
    # masked by an adjustment that is finite
    loss, *_ = linear_cross_entropy(hidden, weight, [0, 1], logit_adjustment=[0, 0, -1e5])
    assert loss == pytest.approx(np.log(2))


def test_nan_is_not_hidden():
    hidden, weight, y = data()
    hidden[7, 2] = nan
    loss, d_hidden, d_weight, d_bias = linear_cross_entropy(hidden, weight, y, bias=BIAS, reduction="none")
    assert_array_equal(np.isnan(loss), np.arange(N) == 7)
    assert_array_equal(np.isnan(d_hidden).all(axis=1), np.arange(N) == 7)
    assert np.isnan(d_weight).all() and np.isnan(d_bias).all()
    assert np.isnan(linear_cross_entropy(hidden, weight, y)[0])


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("size", [inf, 1e300])
def test_overflows_do_not_warn(size, n_threads, monkeypatch):
    in_small_parts(monkeypatch)
    hidden, weight, y = data()
    hidden[3], weight[5], weight[6] = size, -size, size
    for bias in (None, np.where(np.arange(C) == 6, -size, size)):
        loss, *_ = linear_cross_entropy(hidden, weight, y, bias=bias, reduction="none", n_threads=n_threads)
        assert not np.isfinite(loss[3])


# ---- arrays ----------------------------------------------------------------------------------------------------------


def big_endian(a):
    return a.astype(a.dtype.newbyteorder(">"))


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {
    "F": np.asfortranarray, "rows apart": lambda a: np.repeat(a, 3, axis=0)[::3],
    "columns apart": lambda a: np.repeat(a, 2, axis=1)[:, ::2], "backwards": lambda a: a[::-1].copy()[::-1],
    "columns backwards": lambda a: a[:, ::-1].copy()[:, ::-1], "part": lambda a: np.pad(a, 2)[2:-2, 2:-2],
    "part of F": lambda a: np.asfortranarray(np.pad(a, 2))[2:-2, 2:-2], "read-only": read_only,
    "big-endian": big_endian, "list": lambda a: a.astype(np.float64).tolist(), "pandas": pd.DataFrame,
}
#: as they reach the function, lists are float64
widens = {"list"}


@pytest.mark.parametrize("block_rows", [None, 10])
@both_dtypes
@pytest.mark.parametrize("of", ["hidden", "weight", "both"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, of, dtype, block_rows, monkeypatch):
    in_small_parts(monkeypatch)
    hidden, weight, y = data(dtype=dtype)
    h = hidden if of == "weight" else LAYOUTS[layout](hidden)
    wt = weight if of == "hidden" else LAYOUTS[layout](weight)
    result = np.float64 if layout in widens else dtype
    loss, d_hidden, d_weight = linear_cross_entropy(h, wt, y, block_rows=block_rows)
    assert d_hidden.dtype == d_weight.dtype == result
    assert_right((loss, d_hidden, d_weight), *reference(hidden, weight, y), hidden, weight, result)
    if layout == "F":
        assert d_hidden.flags.f_contiguous == (of != "weight") and d_weight.flags.f_contiguous == (of != "hidden")
    assert d_hidden.flags.forc and d_weight.flags.forc


@pytest.mark.parametrize(("hidden_type", "weight_type", "result"), [
    (np.float16, np.float16, np.float32), (np.float16, np.float32, np.float32), (np.float32, np.float16, np.float32),
    (np.float32, np.float64, np.float64), (np.float64, np.float32, np.float64), (np.int8, np.float32, np.float64),
    (np.float16, np.int64, np.float64), (np.uint8, np.int32, np.float64), (bool, np.float32, np.float64),
    (np.longdouble, np.float32, np.float64)])
def test_dtypes(hidden_type, weight_type, result, monkeypatch):
    in_small_parts(monkeypatch)
    hidden, weight, y = data()
    hidden, weight = (2 * hidden).astype(hidden_type), weight.astype(weight_type)
    for bias in (None, BIAS.astype(np.float16), np.arange(C)):
        for block_rows in (None, 20):
            got = linear_cross_entropy(hidden, weight, y, bias=bias, block_rows=block_rows)
            assert_right(got, *reference(hidden, weight, y, bias=bias), hidden, weight, result)


@pytest.mark.parametrize("form", [list, np.float64, np.float32, np.int8, np.uint16, pd.Series, big_endian, read_only,
                                  lambda y: np.repeat(y, 2)[::2], lambda y: y[::-1].copy()[::-1]])
def test_labels(form):
    hidden, weight, y = data()
    got = linear_cross_entropy(hidden, weight, form(y) if not isinstance(form, type) or form in (list, pd.Series)
                               else y.astype(form))
    assert_right(got, *reference(hidden, weight, y), hidden, weight, np.float64)


@pytest.mark.parametrize("order", ["C", "F"])
@both_dtypes
def test_outputs(dtype, order):
    hidden, weight, y = data(dtype=dtype)
    outs = [np.full(a.shape, nan, dtype, order=order) for a in (hidden, weight, BIAS)]
    names = ("hidden_gradient_out", "weight_gradient_out", "bias_gradient_out")
    for block_rows, w in ((None, None), (None, W), (9, None), (9, W)):
        got = linear_cross_entropy(hidden, weight, y, bias=BIAS, sample_weight=w, block_rows=block_rows,
                                   **dict(zip(names, outs, strict=True)))
        assert all(a is b for a, b in zip(got[1:], outs, strict=True))
        exact = by_reference(hidden, weight, y, dtype, bias=BIAS, sample_weight=w)
        assert_right(got, *exact, hidden, weight, dtype)
        for out in outs:
            out[:] = nan
    linear_cross_entropy(hidden, weight, np.full(N, 9), ignore_index=9, bias=BIAS,
                         **dict(zip(names, outs, strict=True)))
    assert not any(out.any() for out in outs)


# ---- errors ----------------------------------------------------------------------------------------------------------


def bad(name, value, **others):
    return {name: value} | others


ERRORS = [
    (bad("y", np.where(np.arange(N) >= 5, C, 0)), ValueError, "y[5] is 11: labels must be whole numbers from 0 to 10"),
    (bad("y", np.where(np.arange(N) == 6, -1.0, 0)), ValueError, "y[6] is -1.0"),
    (bad("y", np.where(np.arange(N) == 6, 0.5, 0)), ValueError, "y[6] is 0.5"),
    (bad("y", np.where(np.arange(N) == 6, nan, 0)), ValueError, "y[6] is nan"),
    (bad("y", np.where(np.arange(N) == 6, 12, -3), ignore_index=-3), ValueError,
     "y[6] is 12: labels must be whole numbers from 0 to 10, or -3 (ignore_index)"),
    (bad("y", np.zeros(N + 1)), ValueError, "y has shape (54,): with this hidden it must be (53,)"),
    (bad("y", np.zeros((N, C))), ValueError, "y has shape (53, 11)"),
    (bad("y", ["a"] * N), TypeError, "y has dtype <U1"),
    (bad("hidden", np.zeros(N)), ValueError, "hidden must have two dimensions, got shape (53,)"),
    (bad("hidden", np.zeros((N, D + 1))), ValueError, "weight has shape (11, 7) and hidden (53, 8)"),
    (bad("hidden", np.zeros((N, 0)), weight=np.zeros((C, 0))), ValueError, "at least one column"),
    (bad("hidden", np.zeros((N, D), complex)), TypeError, "hidden has dtype complex128"),
    (bad("weight", np.zeros((1, D))), ValueError, "weight must have a row for each of at least two classes"),
    (bad("weight", np.zeros(D)), ValueError, "weight must have two dimensions"),
    (bad("bias", np.zeros(C + 1)), ValueError, "bias has shape (12,): with this weight it must be (11,)"),
    (bad("bias", 0.0), ValueError, "bias has shape ()"),
    (bad("logit_adjustment", np.zeros(C + 1)), ValueError, "logit_adjustment has shape (12,)"),
    (bad("logit_adjustment", np.full(C, nan)), ValueError, "logit_adjustment[0] is nan"),
    (bad("sample_weight", np.ones(N - 1)), ValueError, "sample_weight has shape (52,)"),
    (bad("sample_weight", np.where(np.arange(N) == 4, nan, 1)), ValueError, "sample_weight[4] is nan"),
    (bad("sample_weight", np.where(np.arange(N) == 4, inf, 1)), ValueError, "sample_weight[4] is inf"),
    (bad("sample_weight", np.zeros(N)), ValueError, "the weights sum to 0.0"),
    (bad("sample_weight", np.full(N, -1.0)), ValueError, "the weights sum to -53.0"),
    (bad("sample_weight", np.full(N, 1e308)), ValueError, "the sum of the weights overflows"),
    (bad("class_weight", np.ones(C - 1)), ValueError, "class_weight has 10 classes, weight 11"),
    (bad("class_weight", {C: 1.0}), ValueError, "class_weight has the unknown class 11: weight has classes 0 to 10"),
    (bad("class_weight", {1: -1.0}), ValueError, "class_weight[1] must be finite and >= 0"),
    (bad("label_smoothing", 1.0), ValueError, "label_smoothing must be finite and >= 0 and < 1"),
    (bad("z_loss", -1.0), ValueError, "z_loss must be finite and >= 0"),
    (bad("ignore_index", 1.5), TypeError, "ignore_index must be an integer"),
    (bad("reduction", "average"), ValueError, "reduction must be 'mean' or 'sum' or 'none', got 'average'"),
    (bad("block_rows", 0), ValueError, "block_rows must be at least 1"),
    (bad("block_rows", 1.5), TypeError, "block_rows must be an integer"),
    (bad("n_threads", 0), ValueError, "n_threads must be at least 1"),
    (bad("hidden_gradient_out", [0.0]), TypeError, "hidden_gradient_out must be a numpy.ndarray, got list"),
    (bad("hidden_gradient_out", np.empty((N, D), np.float32)), TypeError, "hidden_gradient_out has dtype float32"),
    (bad("weight_gradient_out", np.empty((D, C))), ValueError,
     "weight_gradient_out has shape (7, 11): it must be (11, 7)"),
    (bad("weight_gradient_out", np.empty((2 * C, D))[::2]), ValueError, "weight_gradient_out must be C- or F-contig"),
    (bad("weight_gradient_out", read_only(np.ones((C, D)))), ValueError, "weight_gradient_out is read-only"),
    (bad("bias_gradient_out", np.empty(C)), ValueError, "bias_gradient_out is given without a bias"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), ERRORS, ids=[message for _, _, message in ERRORS])
def test_errors(arguments, error, message, monkeypatch):
    hidden, weight, y = data()
    monkeypatch.setattr(module, "_run", lambda *_: pytest.fail("computes before it checks"))
    with pytest.raises(error, match=re.escape(message)):
        linear_cross_entropy(**{"hidden": hidden, "weight": weight, "y": y} | arguments)


def test_a_parameter_that_float32_cannot_hold():
    hidden, weight, y = data(dtype=np.float32)
    with pytest.raises(ValueError, match=r"z_loss of 1e-60 becomes 0.0 in float32, in which hidden"):
        linear_cross_entropy(hidden, weight, y, z_loss=1e-60)
    assert linear_cross_entropy(hidden.astype(np.float64), weight, y, z_loss=1e-60)[0] > 0


def test_outputs_that_overlap():
    hidden, weight, y = data(C, D, C)
    both = np.empty((2, C, D))
    for outs, message in (({"hidden_gradient_out": hidden}, "hidden_gradient_out overlaps hidden"),
                          ({"weight_gradient_out": weight}, "weight_gradient_out overlaps weight"),
                          ({"hidden_gradient_out": both[0], "weight_gradient_out": both[0]},
                           "weight_gradient_out overlaps hidden_gradient_out")):
        with pytest.raises(ValueError, match=message):
            linear_cross_entropy(hidden, weight, y, **outs)
    got = linear_cross_entropy(hidden, weight, y, hidden_gradient_out=both[0], weight_gradient_out=both[1])
    assert_right(got, *reference(hidden, weight, y), hidden, weight, np.float64)


# ---- memory ----------------------------------------------------------------------------------------------------------


def peak(call):
    """The most bytes that NumPy and Python had more than before."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def outputs(hidden, weight):
    return {"hidden_gradient_out": np.empty_like(hidden), "weight_gradient_out": np.empty_like(weight)}


@pytest.mark.parametrize("gaps", [False, True])
def test_memory_is_a_small_part_of_the_logits(gaps):
    n, n_classes = 2048, 32_000
    hidden, weight, y = data(n, 32, n_classes, np.float32)
    w = np.ones(n) if not gaps else np.arange(n) % 4 > 0
    outs = outputs(hidden, weight)
    assert peak(lambda: linear_cross_entropy(hidden, weight, y, sample_weight=w, **outs)) < 0.05 * n * n_classes * 4


@pytest.mark.parametrize("order", ["C", "F", "columns apart", "float16"])
def test_memory_of_a_million_classes(order):
    # a block has a few rows, whatever the layout of weight, of which there is no copy
    n, d, n_classes = 5, 8, 1_000_000
    hidden, y = data(n, d, 2, np.float32)[::2]
    weight = np.ones((n_classes, 2 * d if order == "columns apart" else d),
                     np.float16 if order == "float16" else np.float32, order="F" if order == "F" else "C")
    weight = weight[:, ::2] if order == "columns apart" else weight
    outs = {"hidden_gradient_out": np.empty_like(hidden), "weight_gradient_out": np.empty((n_classes, d), np.float32)}
    for n_threads in (1, 2):  # a thread converts up to half a million numbers of weight at a time
        limit = 4 * module.BLOCK + n_threads * 4 * 2**19 + 100_000
        assert peak(lambda k=n_threads: linear_cross_entropy(hidden, weight, y, n_threads=k, **outs)) < limit


@pytest.mark.skipif(sys.platform != "linux", reason="reads the most memory of a process where Linux says it")
def test_memory_that_the_system_sees():
    code = """
import re, numpy as np, fastloss as fl
def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) * 1024
n, d, C = 2048, 32, 32_000
rng = np.random.default_rng(0)
hidden, weight = (rng.normal(size=(m, d)).astype(np.float32) for m in (n, C))
y = rng.integers(0, C, n)
outs = {"hidden_gradient_out": np.ones_like(hidden), "weight_gradient_out": np.ones_like(weight)}
fl.linear_cross_entropy(hidden[:96], weight, y[:96])  # BLAS keeps buffers of its own
try:
    open("/proc/self/clear_refs", "w").write("5")  # forgets the most so far
except OSError:
    pass
before = memory("VmRSS")
fl.linear_cross_entropy(hidden, weight, y, **outs)
print((memory("VmHWM") - before) / (n * C * 4))
"""
    share = float(subprocess.run([sys.executable, "-c", code], check=True, text=True, timeout=60,
                                 capture_output=True).stdout)
    assert share < 0.05


# ---- threads ---------------------------------------------------------------------------------------------------------


def blas_threads():
    import threadpoolctl

    return max((info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"),
               default=1)


def test_threads_are_ours_and_blas_has_one_in_each(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    in_small_parts(monkeypatch)
    hidden, weight, y = data()
    linear_cross_entropy(hidden, weight, y)
    seen, workers, gemm = [], set(), module._gemm

    def watched(*args):
        seen.append(blas_threads())
        workers.add(threading.get_ident())
        time.sleep(0.002)
        gemm(*args)

    monkeypatch.setattr(module, "_gemm", watched)
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if blas_threads() != 3:
            pytest.skip("this BLAS has no threads to limit")
        for n_threads, expected in ((1, 1), (2, 2), (3, 3), (8, 5)):  # 3 parts of the classes, and 3 of the columns
            seen.clear(), workers.clear()
            linear_cross_entropy(hidden, weight, y, n_threads=n_threads)
            assert set(seen) == {1} and blas_threads() == 3
            assert len(workers) <= expected and (threading.get_ident() in workers) == (n_threads == 1)
        fl.set_num_threads(2)
        workers.clear()
        linear_cross_entropy(hidden, weight, y)
        assert len(workers) == 2
        with pytest.raises(ValueError, match="y_true"):
            monkeypatch.setattr(fl.CrossEntropy, "loss_gradient", lambda *_, **__: fl.Hinge().loss([3], [0.0]))
            linear_cross_entropy(hidden, weight, y)
        assert blas_threads() == 3  # also after an error


def test_an_error_in_a_thread_is_raised(monkeypatch):
    in_small_parts(monkeypatch)
    monkeypatch.setattr(module, "_gemm", lambda *_: fl.Hinge().loss([3], [0.0]))
    for n_threads in (1, 2):
        with pytest.raises(ValueError, match="y_true"):
            linear_cross_entropy(*data(), n_threads=n_threads)


@pytest.mark.parametrize("small", [False, True])
@both_dtypes
def test_the_same_bits_for_every_number_of_threads(dtype, small, monkeypatch):
    if small:
        in_small_parts(monkeypatch)
    hidden, weight, y = data(300, 33, 1111, dtype)
    bias = np.linspace(-1, 1, 1111).astype(dtype)
    exact, scales = reference(hidden, weight, y, bias=bias)
    first = None
    for k in (1, 1, 2, 3, 8, None):
        got = linear_cross_entropy(hidden, weight, y, bias=bias, n_threads=k)
        assert_right(got, exact, scales, hidden, weight, dtype)
        bits = [np.asarray(value).tobytes() for value in got]
        first = first or bits
        assert bits == first


def test_concurrent_calls_from_many_python_threads():
    arguments = [data(100 + i, 20, 300, seed=i) for i in range(6)]

    def work(i):
        hidden, weight, y = arguments[i % 6]
        assert_right(linear_cross_entropy(hidden, weight, y, n_threads=1 + i % 2), *reference(hidden, weight, y),
                     hidden, weight, np.float64)
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(48)))


def test_the_gil_is_released():
    # one block, so that no Python code runs between the products of BLAS and the loss
    hidden, weight, y = data(1000, 300, 2000)
    during, done = [], threading.Event()

    def tick():
        while not done.is_set():
            during.append(time.perf_counter())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    linear_cross_entropy(hidden, weight, y, block_rows=1000, n_threads=1)
    stop = time.perf_counter()
    done.set()
    ticker.join()
    ticks = np.array([t for t in during if start < t < stop])
    # with the GIL held it could tick only between the five long parts
    assert len(ticks) > 10, f"{len(ticks)} ticks in {stop - start:.3f} s"
