"""Embedding losses against torch, mpmath and finite differences; weights, layouts, outputs, errors, memory."""

import itertools
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mpmath as mp
import numpy as np
import pytest
import threadpoolctl
from numpy.testing import assert_allclose, assert_array_equal

import fastloss as fl
from calls import assert_slopes
from fastloss import embedding, kernels

inf, nan = np.inf, np.nan
TORCH = "the reference of these tests is torch, which is not installed"

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])

LOSSES = [
    fl.ContrastivePairs(), fl.ContrastivePairs(margin=4.5), fl.Triplet(), fl.Triplet(margin=0.3, swap=True),
    fl.Triplet(p=1), fl.Triplet(p=1, swap=True), fl.Triplet(p=3.5), fl.Triplet(p=3.5, swap=True, margin=0.0),
    fl.CosineEmbedding(), fl.CosineEmbedding(margin=0.2), fl.CosineEmbedding(margin=-1), fl.CosineSimilarity(),
    fl.GaussianKL(), fl.MarginRanking(), fl.MarginRanking(margin=0.7), fl.MarginRanking(margin=1.5), fl.NTXent(),
    fl.NTXent(temperature=0.07), fl.SupervisedContrastive(), fl.SupervisedContrastive(temperature=1.5),
]
BATCHES = (fl.NTXent, fl.SupervisedContrastive)
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def data(loss, n=37, d=21, dtype=np.float64, seed=0):
    """The arrays of a call."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(n,) if type(loss) is fl.MarginRanking else (n, d)).astype(dtype)
              for name in loss.inputs_of_call if name != "y"]
    if loss.inputs_of_call[0] != "y":
        return arrays
    classes = [-3, 0, 5, 1000] if type(loss) is fl.SupervisedContrastive else [1, -1]
    return [rng.choice(classes, n), *arrays]


def places(loss):
    """Which arrays have gradients."""
    return [loss.inputs_of_call.index(name) for name in loss.gradients_for]


# ---- torch -----------------------------------------------------------------------------------------------------------

def torch_losses(loss, y, *x):
    """The losses of samples, in torch's words; its own functions where they have no eps, and take all parameters."""
    import torch
    from torch.nn import functional as F

    name, p = type(loss).__name__, loss.get_params()
    if name == "ContrastivePairs":
        d = torch.linalg.vector_norm(x[0] - x[1], dim=1)
        return torch.where(y == 1, d**2 / 2, torch.clamp(p["margin"] - d, min=0) ** 2 / 2)
    if name == "Triplet":
        near, far, other = (torch.linalg.vector_norm(x[i] - x[j], p["p"], dim=1) for i, j in ((0, 1), (0, 2), (1, 2)))
        return torch.clamp(near - (torch.minimum(far, other) if p["swap"] else far) + p["margin"], min=0)
    if name in ("CosineEmbedding", "CosineSimilarity"):
        cosine = (x[0] * x[1]).sum(dim=1) / x[0].norm(dim=1) / x[1].norm(dim=1)
        if name == "CosineSimilarity":
            return 1 - cosine
        return torch.where(y == 1, 1 - cosine, torch.clamp(cosine - p["margin"], min=0))
    if name == "GaussianKL":
        return -0.5 * (1 + x[1] - x[0] ** 2 - torch.exp(x[1])).reshape(len(x[0]), -1).sum(dim=1)
    if name == "MarginRanking":
        return F.margin_ranking_loss(*x, y, reduction="none", **p)
    z = F.normalize(torch.cat(x), dim=1)
    similarities = (z @ z.T / p["temperature"]).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    if name == "NTXent":
        n = len(x[0])
        return F.cross_entropy(similarities, torch.arange(2 * n).roll(n), reduction="none").reshape(2, n).mean(dim=0)
    same = (y[:, None] == y) & ~torch.eye(len(y), dtype=torch.bool)
    log_q = torch.log_softmax(similarities, dim=1).masked_fill(~same, 0)
    return -log_q.sum(dim=1) / same.sum(dim=1).clamp(min=1)


def by_torch(loss, arrays, w, reduction):
    """Loss and gradients, in float64."""
    torch = pytest.importorskip("torch", reason=TORCH)
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    y = None
    if loss.inputs_of_call[0] == "y":
        y, *tensors = tensors
    tensors = [tensor.double().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        losses = torch_losses(loss, y, *tensors)
        weights = torch.ones(len(losses), dtype=torch.double) if w is None else torch.from_numpy(w).double()
        over = weights
        if type(loss) is fl.SupervisedContrastive:
            over = weights * ((y[:, None] == y).sum(dim=1) > 1)
            over = over if over.any() else weights
        value = weights * losses
        value = value if reduction == "none" else value.sum() / (over.sum() if reduction == "mean" else 1)
        value.sum().backward()
    gradients = [tensors[i - (y is not None)].grad.numpy() for i in places(loss)]
    return value.detach().numpy(), gradients


def assert_like_torch(loss, arrays, w=None, reduction="mean", rtol=1e-12):
    value, *gradients = loss.loss_gradient(*arrays, sample_weight=w, reduction=reduction)
    exact, exact_gradients = by_torch(loss, arrays, w, reduction)
    single = gradients[0].dtype == np.float32
    # batches of float32 are products by BLAS in float32, others are sums in double, rounded at the end
    if single:
        rtol = 3e-5 if type(loss) in BATCHES else 1e-6
    assert_allclose(value, exact, rtol=rtol, atol=rtol * 0.1)
    for gradient, like, expected in zip(gradients, [arrays[i] for i in places(loss)], exact_gradients, strict=True):
        assert gradient.shape == like.shape and gradient.dtype == (np.float32 if single else np.float64)
        # (terms of about 1/n may cancel)
        assert_allclose(gradient, expected, rtol=rtol, atol=rtol * max(0.1, np.abs(expected).max(initial=0)))


@each_reduction
@pytest.mark.parametrize("weighted", [False, True])
@both_dtypes
@each_loss
def test_torch(loss, dtype, weighted, reduction):
    w = np.random.default_rng(5).uniform(-0.2, 2, 37) if weighted else None
    assert_like_torch(loss, data(loss, dtype=dtype), w, reduction)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 2), (3, 15), (3, 16), (4, 17), (2, 64), (700, 3), (2, 300_001)])
@each_loss
def test_sizes(loss, n, d):
    # (of long rows torch's sums are a few 1e-14 off, where math.fsum and ours agree to 1e-16; distances are subtracted)
    assert_like_torch(loss, data(loss, n, d, seed=n + d), rtol=1e-12 if d < 1000 else 1e-11)


@pytest.mark.parametrize("block", [1, 50, 2**18])
@each_loss
def test_more_samples_than_a_block(loss, block, monkeypatch):
    monkeypatch.setattr("fastloss.embedding.BLOCK", block)
    assert_like_torch(loss, data(loss, 70, 9))


@pytest.mark.parametrize("loss", [fl.NTXent(), fl.SupervisedContrastive()], ids=repr)
def test_blocks_and_strips_of_similarities(loss, monkeypatch):
    for name, value in {"SIMILARITIES": 1, "FEWEST_ROWS": 7, "STRIPS": 5, "STRIP_ROWS": 20}.items():
        monkeypatch.setattr(f"fastloss.embedding.{name}", value)
    for n_threads in (1, 4):
        fl.set_num_threads(n_threads)
        try:
            assert_like_torch(loss, data(loss, 151, 9))
        finally:
            fl.set_num_threads(None)


def test_labels_may_be_0_and_1():
    for loss in (fl.ContrastivePairs(), fl.CosineEmbedding()):
        y, *x = data(loss)
        for dtype in (np.int8, np.uint8, np.bool_, np.float32):
            for ours, theirs in zip(loss.loss_gradient((y > 0).astype(dtype), *x), loss.loss_gradient(y, *x),
                                    strict=True):
                assert_array_equal(ours, theirs)


def test_gaussian_kl_of_one_number_a_sample():
    loss = fl.GaussianKL()
    mean, log_var = (array[:, 0] for array in data(loss, 1000))
    assert_like_torch(loss, [mean, log_var], reduction="none")


# ---- derivatives -----------------------------------------------------------------------------------------------------

@each_reduction
@each_loss
def test_derivatives(loss, reduction):
    arrays = data(loss, 6, 4, seed=3)
    w = np.array([0.5, 2.0, 0.0, 1.0, -0.2, 0.7])

    def value():
        return np.sum(loss.loss(*arrays, sample_weight=w, reduction=reduction))

    gradients = loss.loss_gradient(*arrays, sample_weight=w, reduction=reduction)[1:]
    assert_slopes([arrays[place] for place in places(loss)], gradients, value, abs=2e-8, rel=1e-6)


# ---- accuracy, against mpmath ----------------------------------------------------------------------------------------

def exact_cosine(x, y):
    x, y = ([mp.mpf(float(v)) for v in row] for row in (x, y))
    return mp.fdot(x, y) / mp.sqrt(mp.fdot(x, x)) / mp.sqrt(mp.fdot(y, y))


@pytest.mark.parametrize("d", [1, 3, 50])
@pytest.mark.parametrize("size", [1e-1, 1e-4, 1e-7, 1e-10, 1e-13, 1e-15, 0.0])
@both_dtypes
def test_cosines_of_nearly_parallel_vectors_keep_their_digits(dtype, size, d):
    rng = np.random.default_rng(d)
    y = rng.normal(size=(20, d)).astype(dtype)
    z = (y * (3 if size else 4) + size * rng.normal(size=y.shape)).astype(dtype)
    # float64 without a fused multiply-add: the difference of x and t·y is known to the rounding of the product
    fused = dtype == np.float32 or kernels.ISA in ("x86-64-v3", "x86-64-v4")
    with mp.workdps(60):
        exact = [1 - exact_cosine(*rows) for rows in zip(y, z, strict=True)]
        for losses in (fl.CosineSimilarity().loss(y, z, reduction="none"),
                       fl.CosineEmbedding().loss(np.ones(20), y, z, reduction="none")):
            for got, true in zip(losses, exact, strict=True):
                eps = float(np.finfo(dtype).eps)
                rounding = 8 * eps * true + (0 if fused else 8 * eps * mp.sqrt(abs(true)))
                assert abs(float(got) - true) <= rounding + mp.mpf("1e-44")


@pytest.mark.parametrize("v", [0.0, 1e-12, -1e-9, 1e-5, -1e-3, 0.1, -0.33, 0.339, 0.341, -0.35, 1, -1, 20, -50, 80])
@both_dtypes
def test_gaussian_kl_keeps_its_digits(dtype, v):
    v = dtype(v)
    loss, by_mean, by_log = fl.GaussianKL().loss_gradient(np.zeros((1, 1), dtype), np.full((1, 1), v))
    with mp.workdps(60):
        exact = (mp.expm1(mp.mpf(float(v))) - mp.mpf(float(v))) / 2
        slope = mp.expm1(mp.mpf(float(v))) / 2
        eps = float(np.finfo(dtype).eps)
        assert abs(loss - exact) <= 6 * eps * exact
        assert abs(float(by_log[0, 0]) - slope) <= 3 * eps * abs(slope)
        assert by_mean[0, 0] == 0


@pytest.mark.parametrize("p", [1, 1.3, 2, 3, 40, 1e6, 1e300])
@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e-150, 1.0, 1e150, 1e200, 1e307])
def test_distances_of_any_size(size, p):
    a = np.zeros((1, 3))
    pos, neg = np.array([[1.0, -2.0, 2.0]]) * size, np.array([[1.0, 0.0, 0.0]]) * size
    loss, by_a, by_pos, by_neg = fl.Triplet(margin=0, p=p).loss_gradient(a, pos, neg)
    with mp.workdps(60):
        x = [mp.mpf(float(abs(v))) / size for v in pos[0]]
        d = mp.fsum(v**p for v in x) ** (mp.mpf(1) / p) if p < 1e300 else max(x)
        slopes = [(v / d) ** (p - 1) if p < 1e300 else mp.mpf(int(v == d)) / 2 for v in x]
        assert_allclose(loss, float((d - neg[0, 0] / size) * size), rtol=1e-14, atol=5e-324)
        expected = np.array([[float(slopes[0]), -float(slopes[1]), float(slopes[2])]])
    # (a relative error of a quotient of a few ε becomes p times that of its power)
    rtol = 1e-14 + min(p, 1e6) * 1e-15
    assert_allclose(by_pos, expected, rtol=rtol)
    assert_allclose(by_neg, [[-1, 0, 0]], rtol=rtol)
    assert_allclose(by_a, -expected + [[1, 0, 0]], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e-100, 1e100, 1e200, 1e306])
def test_contrastive_pairs_of_any_size(size):
    zero, x = np.zeros((1, 2)), np.array([[3.0, 4.0]]) * size
    loss, gradient, _ = fl.ContrastivePairs().loss_gradient([1], x, zero)
    with mp.workdps(30):
        squares = mp.fsum(mp.mpf(float(v)) ** 2 for v in x[0]) / 2
        assert_allclose(loss, float(squares), rtol=1e-15, atol=5e-324)
    assert_array_equal(gradient, x)
    margin = 1 + 10 * size
    loss, gradient, other = fl.ContrastivePairs(margin=margin).loss_gradient([0], x, zero)
    d = 5 * size
    assert_allclose(gradient, [[-0.6 * (margin - d), -0.8 * (margin - d)]], rtol=1e-14)
    assert_array_equal(other, -gradient)


@pytest.mark.parametrize(("size", "other"),
    list(itertools.product([1e-310, 1e-200, 1.0, 1e200, 1e307], repeat=2)))
def test_cosines_of_any_size(size, other):
    y, z = np.array([[3.0, 4.0]]), np.array([[-4.0, 2.0]])
    loss, gradient = fl.CosineSimilarity().loss_gradient(y * size, z * other)
    exact, slope = fl.CosineSimilarity().loss_gradient(y, z)  # held to torch elsewhere
    assert loss == pytest.approx(exact, rel=1e-12)
    with np.errstate(over="ignore"):
        assert_allclose(gradient, slope / other, rtol=1e-12)
    both = fl.CosineEmbedding().loss_gradient([1], z * other, y * size)
    assert both[0] == loss
    assert_array_equal(both[1], gradient)
    other_views = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, -1.0], [0.0, 3.0]])
    for batch, first in ((fl.NTXent(), other_views), (fl.SupervisedContrastive(), [0, 0, 1, 1])):
        x = np.array([[3.0, 4.0], [-4.0, 2.0], [5.0, 1.0], [1.0, 1.0]])
        sizes = np.array([[size], [other], [1.0], [size]])
        exact, *slopes = batch.loss_gradient(first, x)
        value, *gradients = batch.loss_gradient(first, x * sizes)
        assert value == pytest.approx(exact, rel=1e-12)
        with np.errstate(over="ignore"):
            expected = slopes[-1] / sizes
        fits = np.abs(expected) < 1e307
        assert_allclose(gradients[-1][fits], expected[fits], rtol=1e-11)
        assert not np.isnan(gradients[-1]).any()


@pytest.mark.parametrize("size", [1e-45, 1e-30, 1e30, 1e38])
def test_float32_of_any_size(size):
    zero, x = np.zeros((1, 3), np.float32), np.full((1, 3), size, np.float32)
    d = np.sqrt(3) * float(x[0, 0])
    for p, distance in ((1, 3 * float(x[0, 0])), (2, d), (3, 3 ** (1 / 3) * float(x[0, 0]))):
        loss, _, gradient, _ = fl.Triplet(p=p, margin=0).loss_gradient(zero, x, zero)
        assert loss == pytest.approx(distance, rel=1e-6)
        assert_allclose(gradient, np.full((1, 3), 3 ** (1 / p - 1)), rtol=1e-6)
    value = fl.CosineSimilarity().loss(x, x * np.float32([[1, -1, 1]]))
    assert value == pytest.approx(2 / 3, rel=1e-6)


# ---- edges -----------------------------------------------------------------------------------------------------------

@both_dtypes
@each_loss
def test_zero_vectors_have_finite_gradients(loss, dtype):
    arrays = [array if name == "y" else np.zeros_like(array)
              for name, array in zip(loss.inputs_of_call, data(loss, dtype=dtype), strict=True)]
    value, *gradients = loss.loss_gradient(*arrays)
    assert np.isfinite(value)
    if type(loss) is not fl.MarginRanking:
        for gradient in gradients:
            assert_array_equal(gradient, np.zeros_like(gradient))
    if type(loss) is fl.NTXent:  # all similarities are 0
        assert value == pytest.approx(np.log(73), rel=1e-6)


def test_cosine_with_a_zero_vector_is_0():
    zero, x = np.zeros((1, 2)), np.ones((1, 2))
    assert fl.CosineSimilarity().loss(zero, x) == fl.CosineSimilarity().loss(x, zero) == 1
    loss, *gradients = fl.CosineEmbedding(margin=-0.5).loss_gradient([-1], x, zero)
    assert loss == 0.5
    assert_array_equal(gradients, np.zeros((2, 1, 2)))


@each_loss
def test_equal_vectors(loss):
    x = data(loss)[-1]
    arrays = [np.ones(len(x)) if name == "y" else x for name in loss.inputs_of_call]
    value, *gradients = loss.loss_gradient(*arrays)
    assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)
    if type(loss) in (fl.ContrastivePairs, fl.CosineEmbedding, fl.CosineSimilarity):
        assert value == 0
        assert_allclose(gradients, np.zeros_like(gradients), atol=1e-15)


def test_kinks():
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    assert_array_equal(fl.Triplet(margin=1).gradient(zero, zero, one), np.zeros((3, 1, 1)))
    assert_array_equal(fl.ContrastivePairs(margin=1).gradient([0], zero, one), np.zeros((2, 1, 1)))
    assert_array_equal(fl.CosineEmbedding().gradient([-1], [[1.0, 0.0]], [[0.0, 1.0]]), np.zeros((2, 1, 2)))
    assert_array_equal(fl.MarginRanking(margin=1).gradient([1], [1.0], [0.0]), np.zeros((2, 1)))
    assert_array_equal(fl.MarginRanking().gradient([1, -1], [1.0, 1.0], [1.0, 1.0]), [[-0.5, 0.5], [0.5, -0.5]])


def test_batches_of_one():
    for n in (1, 2):
        loss, *gradients = fl.NTXent().loss_gradient(np.ones((n, 3)), np.ones((n, 3)), sample_weight=[1, 0][:n])
        assert loss == 0
        assert_array_equal(gradients, np.zeros((2, n, 3)))
    loss, gradient = fl.SupervisedContrastive().loss_gradient([4], [[1.0, 2.0]])
    assert loss == 0
    assert_array_equal(gradient, [[0.0, 0.0]])


@each_reduction
def test_supervised_contrastive_without_positives(reduction):
    x = data(fl.NTXent())[0]
    loss, gradient = fl.SupervisedContrastive().loss_gradient(np.arange(37), x, reduction=reduction)
    assert_array_equal(loss, np.zeros(37) if reduction == "none" else 0.0)
    assert_array_equal(gradient, np.zeros_like(x))


def test_supervised_contrastive_mean_is_over_anchors_with_positives():
    loss, x = fl.SupervisedContrastive(), data(fl.NTXent(), 6)[0]
    y, w = [1, 2, 1, 3, 3, 1], np.array([1.0, 5.0, 2.0, 0.5, 1.5, 0.0])
    each = loss.loss(y, x, sample_weight=w, reduction="none")
    assert each[1] == each[5] == 0
    value, gradient = loss.loss_gradient(y, x, sample_weight=w)
    assert value == pytest.approx(each.sum() / 5, rel=1e-14)
    assert gradient[1].any(), "a sample without positives is a negative of others"
    assert not gradient[5].any()
    assert_allclose(gradient, loss.gradient(y, x, sample_weight=w, reduction="sum") / 5, rtol=1e-13)


def test_infinite_numbers():
    zero, x = np.zeros((1, 2)), np.array([[-inf, 1.0]])
    loss, by_x1, _ = fl.ContrastivePairs().loss_gradient([1], x, zero)
    assert loss == inf
    assert_array_equal(by_x1, x)
    loss, *gradients = fl.ContrastivePairs().loss_gradient([0], x, zero)
    assert loss == 0
    assert_array_equal(gradients, np.zeros((2, 1, 2)))
    for p in (1, 2, 3):
        loss, _, by_pos, _ = fl.Triplet(p=p).loss_gradient(zero, x, zero)
        assert loss == inf
        assert_array_equal(by_pos, [[-1, 1 if p == 1 else 0]])
        assert fl.Triplet(p=p).loss(zero, zero, x) == 0
        assert np.isnan(fl.Triplet(p=p).loss(zero, x, x))
    assert np.isnan(fl.Triplet().gradient(zero, [[inf, inf]], zero)[1]).all()
    # the cosine in the limit is that with (-1, 0)
    loss, gradient = fl.CosineSimilarity().loss_gradient([[3.0, 4.0]], x)
    assert loss == pytest.approx(1.6)
    assert_array_equal(gradient, zero)
    loss, gradient = fl.CosineSimilarity().loss_gradient([[3.0, 4.0]], [[inf, inf]])
    assert np.isnan(loss) and np.isnan(gradient).all()
    loss, by_mean, by_log = fl.GaussianKL().loss_gradient([[inf, 0.0, 0.0]], [[0.0, inf, -inf]])
    assert loss == inf
    assert_array_equal(by_mean, [[inf, 0, 0]])
    assert_array_equal(by_log, [[0, inf, -0.5]])
    for log_var in (inf, -inf):
        assert fl.GaussianKL().loss([[0.0]], [[log_var]]) == inf
    loss, *gradients = fl.MarginRanking().loss_gradient([1, 1], [inf, -inf], [0.0, 0.0], reduction="none")
    assert_array_equal(loss, [0, inf])
    assert_array_equal(gradients, [[0, -1], [0, 1]])
    loss = fl.NTXent()
    x1, x2 = data(loss)
    x1[3, 2] = inf
    value, *gradients = loss.loss_gradient(x1, x2)
    x1[3] = np.arange(21) == 2
    assert value == pytest.approx(loss.loss(x1, x2), rel=1e-13)
    assert_array_equal(gradients[0][3], np.zeros(21))


@both_dtypes
@each_loss
def test_nan_is_not_hidden(loss, dtype):
    for place, name in enumerate(loss.inputs_of_call):
        if name == "y":
            continue
        for value in ([1] if type(loss) is fl.MarginRanking else [1, 0]):
            arrays = data(loss, dtype=dtype)
            if loss.inputs_of_call[0] == "y" and type(loss) is not fl.SupervisedContrastive:
                arrays[0][:] = value
            arrays[place][5] = nan
            losses, *gradients = loss.loss_gradient(*arrays, reduction="none")
            assert np.isnan(losses[5])
            assert np.isfinite(np.delete(losses, 5)).all() or type(loss) in BATCHES
            assert np.isnan(loss.loss(*arrays))
            if loss.gradients_for != ("mean", "log_var"):
                for gradient in gradients:
                    assert np.isnan(gradient[5]).all()


# ---- weights ---------------------------------------------------------------------------------------------------------

@each_reduction
@each_loss
def test_samples_of_weight_0_are_as_if_they_were_not_there(loss, reduction):
    arrays = data(loss)
    out = np.arange(37) % 3 == 1
    for place, name in enumerate(loss.inputs_of_call):
        if name != "y":
            arrays[place][out] = inf if place == 1 else nan
    w = np.where(out, 0, np.linspace(0.5, 2, 37))
    got = loss.loss_gradient(*arrays, sample_weight=w, reduction=reduction)
    left = loss.loss_gradient(*(array[~out] for array in arrays), sample_weight=w[~out], reduction=reduction)
    if reduction == "none":
        assert_array_equal(got[0][out], 0)
        assert_array_equal(got[0][~out], left[0])
    else:
        assert got[0] == pytest.approx(left[0], rel=1e-14)
    for gradient, expected in zip(got[1:], left[1:], strict=True):
        assert_array_equal(gradient[out], np.zeros_like(gradient[out]))
        assert_allclose(gradient[~out], expected, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("loss", [fl.NTXent(), fl.SupervisedContrastive()], ids=repr)
def test_batches_take_weights_of_any_size(loss, size):
    arrays = data(loss, dtype=np.float32)
    w = np.linspace(0.5, 2, 37)
    got = loss.loss_gradient(*arrays, sample_weight=w * size, reduction="sum")
    for ours, expected in zip(got, loss.loss_gradient(*arrays, sample_weight=w, reduction="sum"), strict=True):
        assert_allclose(ours, expected * size, rtol=2e-6, atol=1e-6 * size)


# ---- arrays ----------------------------------------------------------------------------------------------------------

def strided(array):
    wide = np.full((2 * array.shape[0], *(3 * n for n in array.shape[1:])), 99, array.dtype)
    part = wide[(slice(1, None, 2), *(slice(2, None, 3) for _ in array.shape[1:]))]
    part[...] = array
    return part


def reversed_rows(array):
    return np.ascontiguousarray(array[::-1])[::-1]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


FORMS = {"strided": strided, "reversed": reversed_rows, "F": np.asfortranarray, "read-only": read_only,
         "list": lambda array: array.tolist(), "swapped bytes": lambda array: array.astype(array.dtype.newbyteorder())}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@each_loss
def test_layouts(loss, form):
    arrays = data(loss)
    got = loss.loss_gradient(*map(form, arrays))
    for ours, expected in zip(got, loss.loss_gradient(*arrays), strict=True):
        assert_array_equal(ours, expected)


@pytest.mark.parametrize("form", [np.copy, strided, reversed_rows, np.asfortranarray])
@both_dtypes
@each_loss
def test_outputs(loss, dtype, form):
    arrays = data(loss, dtype=dtype)
    value, *gradients = loss.loss_gradient(*arrays, reduction="none")
    for in_place in (False, True):
        given = [form(array) if place in places(loss) else array for place, array in enumerate(arrays)]
        outs = tuple(given[place] if in_place else form(np.zeros_like(arrays[place])) for place in places(loss))
        loss_out = np.empty(37, dtype)
        got = loss.loss_gradient(*given, reduction="none", loss_out=loss_out,
                                 gradient_out=outs if len(outs) > 1 else outs[0])
        assert got[0] is loss_out and all(ours is out for ours, out in zip(got[1:], outs, strict=True))
        assert_array_equal(loss_out, value)
        for out, gradient in zip(outs, gradients, strict=True):
            assert_array_equal(out, gradient)


@pytest.mark.parametrize(("given", "computed"), [
    (np.float16, np.float32), (np.int32, np.float64), (np.bool_, np.float64)])
@each_loss
def test_dtypes(loss, given, computed):
    arrays = [array if name == "y" else (array * 2).astype(given)
              for name, array in zip(loss.inputs_of_call, data(loss), strict=True)]
    got = loss.loss_gradient(*arrays, reduction="none")
    wide = [array if name == "y" else array.astype(computed)
            for name, array in zip(loss.inputs_of_call, arrays, strict=True)]
    for ours, expected in zip(got, loss.loss_gradient(*wide, reduction="none"), strict=True):
        assert ours.dtype == computed
        assert_array_equal(ours, expected)


def test_mixed_dtypes_are_float64():
    x1, x2 = data(fl.ContrastivePairs())[1:]
    gradients = fl.NTXent().gradient(x1.astype(np.float32), x2)
    assert {gradient.dtype for gradient in gradients} == {np.dtype(np.float64)}
    # of y_pred alone, where it alone has a gradient
    assert fl.CosineSimilarity().gradient(x1, x2.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("n", [37, 3000])
@both_dtypes
@each_loss
def test_all_numbers_of_threads_give_the_same_bits(loss, dtype, n):
    arrays = data(loss, n, dtype=dtype)
    first = loss.loss_gradient(*arrays, n_threads=1)
    for n_threads in (2, 3, 4, None):
        for ours, expected in zip(loss.loss_gradient(*arrays, n_threads=n_threads), first, strict=True):
            assert_array_equal(ours, expected)


@pytest.mark.parametrize("loss", [fl.NTXent(), fl.SupervisedContrastive()], ids=repr)
def test_products_take_one_thread_of_blas_each(loss, monkeypatch):
    seen, gemm = set(), embedding._gemm

    def spy(*args):
        seen.update(library["num_threads"] for library in threadpoolctl.threadpool_info()
                    if library["user_api"] == "blas")
        gemm(*args)

    monkeypatch.setattr(embedding, "_gemm", spy)
    with threadpoolctl.threadpool_limits(2, "blas"):
        loss.loss_gradient(*data(loss))
    assert seen == {1}


@each_loss
def test_calls_from_many_threads(loss):
    arrays = data(loss, 200)
    expected = loss.loss_gradient(*arrays)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: loss.loss_gradient(*arrays), range(12)):
            for ours, theirs in zip(got, expected, strict=True):
                assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@each_loss
def test_no_samples(loss):
    arrays = [array[:0] for array in data(loss)]
    for reduction in ("sum", "none"):
        value, *gradients = loss.loss_gradient(*arrays, reduction=reduction)
        assert_array_equal(value, np.zeros(0) if reduction == "none" else 0.0)
        assert [g.shape for g in gradients] == [arrays[i].shape for i in places(loss)]
    with pytest.raises(ValueError, match="there are no samples"):
        loss.loss(*arrays)


@each_loss
def test_methods_agree_and_losses_pickle(loss):
    arrays = data(loss)
    value, *gradients = pickle.loads(pickle.dumps(loss)).loss_gradient(*arrays)
    assert loss(*arrays) == loss.loss(**dict(zip(loss.inputs_of_call, arrays, strict=True))) == value
    alone = loss.gradient(*arrays)
    for ours, expected in zip(alone if len(gradients) > 1 else [alone], gradients, strict=True):
        assert_array_equal(ours, expected)


# ---- errors ----------------------------------------------------------------------------------------------------------

x23, x33, x3 = np.ones((2, 3)), np.ones((3, 3)), np.ones(3)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: fl.ContrastivePairs(margin=-1), "margin must be finite and >= 0, got -1.0"),
    (lambda: fl.Triplet(margin=-1), "margin must be finite and >= 0, got -1.0"),
    (lambda: fl.Triplet(p=0.5), "p must be finite and >= 1, got 0.5"),
    (lambda: fl.Triplet(p=inf), "p must be finite and >= 1, got inf"),
    (lambda: fl.CosineEmbedding(margin=2), "margin must be finite and >= -1 and <= 1, got 2.0"),
    (lambda: fl.MarginRanking(margin=nan), "margin must be finite and >= 0, got nan"),
    (lambda: fl.NTXent(temperature=0), "temperature must be finite and > 0, got 0.0"),
    (lambda: fl.SupervisedContrastive(temperature=-1), "temperature must be finite and > 0, got -1.0"),
    (lambda: fl.Triplet()(x23, x23, x33),
     "shapes are a (2, 3), pos (2, 3), neg (3, 3): they must be equal ones (n, d)"),
    (lambda: fl.Triplet()(x3, x3, x3), "shapes are a (3,), pos (3,), neg (3,): they must be equal ones (n, d)"),
    (lambda: fl.ContrastivePairs()([1], x23, x23),
     "shapes are y (1,), x1 (2, 3), x2 (2, 3): they must be (n,) and equal ones (n, d)"),
    (lambda: fl.CosineSimilarity()(x23, x33),
     "shapes are y_true (2, 3), y_pred (3, 3): they must be equal ones (n, d)"),
    (lambda: fl.GaussianKL()(x3, x33),
     "shapes are mean (3,), log_var (3, 3): they must be equal ones (n, d) or (n,)"),
    (lambda: fl.MarginRanking()(x3, x33, x33), "shapes are y (3,), x1 (3, 3), x2 (3, 3): they must be equal, (n,)"),
    (lambda: fl.NTXent()(x23, x33), "shapes are x1 (2, 3), x2 (3, 3): they must be equal ones (n, d), d >= 1"),
    (lambda: fl.NTXent()(x23[:, :0], x23[:, :0]), "x2 (2, 0): they must be equal ones (n, d), d >= 1"),
    (lambda: fl.SupervisedContrastive()(x3, x23), "shapes are y (3,), x (2, 3): they must be (n,) and (n, d), d >= 1"),
    (lambda: fl.SupervisedContrastive()([1, 2.5, nan], x33), "y[1] is 2.5: labels must be whole numbers"),
    (lambda: fl.SupervisedContrastive()([1, 2, inf], x33), "y[2] is inf: labels must be whole numbers"),
    (lambda: fl.ContrastivePairs()([1, 0.5, 3], x33, x33), "y[1] is 0.5: labels must be 1 and 0, or 1 and -1"),
    (lambda: fl.CosineEmbedding()([1, 0, -1], x33, x33),
     "y[2] is -1, beside other labels of 0: labels must be 1 and 0, or 1 and -1"),
    (lambda: fl.CosineEmbedding()([-1, 1, 0], x33, x33), "y[2] is 0, beside other labels of -1"),
    (lambda: fl.CosineEmbedding()([1, nan, 1], x33, x33), "y[1] is nan: labels must be"),
    (lambda: fl.MarginRanking()([1, 0, -1], x3, x3), "y[1] is 0: labels must be 1 or -1"),
    (lambda: fl.SupervisedContrastive()([1, 1, 2], x33, sample_weight=[1, -1, 5]), "the weights sum to 0.0"),
    (lambda: fl.NTXent()(x33, x33, sample_weight=[0, 0, 0]), "the weights sum to 0.0"),
])
def test_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_labels_are_checked_under_weight_0():
    with pytest.raises(ValueError, match=re.escape("y[1] is 7")):
        fl.ContrastivePairs()([1, 7], x23, x23, sample_weight=[1, 0])


# ---- memory, and forks -----------------------------------------------------------------------------------------------

@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read from Linux's /proc")
def test_memory_of_ntxent():
    # (2n)² numbers of float32 are 144 MB, of which others need several
    code = """
import numpy as np, fastloss as fl
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
x1, x2 = np.random.default_rng(0).normal(size=(2, 3000, 64)).astype(np.float32)
loss = fl.NTXent()
loss.loss_gradient(x1[:9], x2[:9])
before = peak()
loss.loss_gradient(x1, x2)
print(peak() - before)
"""
    used = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(used) < 72


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_after_a_parallel_call():
    code = """
import os, numpy as np, fastloss as fl
x = np.random.default_rng(0).normal(size=(3, 3000, 50))
calls = (fl.Triplet(), x), (fl.NTXent(), x[:2])
expected = [loss.loss(*arrays, n_threads=2) for loss, arrays in calls]
child = os.fork()
if child == 0:
    os._exit(0 if expected == [loss.loss(*arrays, n_threads=2) for loss, arrays in calls] else 1)
print(os.waitpid(child, 0)[1])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout == "0\n"
