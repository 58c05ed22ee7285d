"""Overlap losses: values and gradients against torch (by autograd) and mpmath, and the contract of a call."""

import pickle
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import fastloss as fl
from reference_overlap import exact, reference

inf, nan = np.inf, np.nan

#: Every class, with its own parameters.
LOSSES = [
    (fl.Dice, {}), (fl.Dice, {"squared": True}), (fl.Dice, {"squared": True, "smooth": 0.0}),
    (fl.Jaccard, {}), (fl.Tversky, {"alpha": 0.2, "beta": 1.5}), (fl.Tversky, {"alpha": 0.0, "smooth": 0.0}),
    (fl.FocalTversky, {}), (fl.FocalTversky, {"gamma": 0.7, "smooth": 0.0}),
    (fl.GeneralizedDice, {}), (fl.GeneralizedDice, {"weighting": "simple", "smooth": 0.0}),
    (fl.GeneralizedDice, {"weighting": "uniform"}), (fl.Boundary, {}),
    (fl.DiceCrossEntropy, {}), (fl.DiceCrossEntropy, {"weight": 0.2, "squared": True}),
    (fl.DiceCrossEntropy, {"weight": 0.0}),
]


def parametrised(losses):
    names = [f"{cls.__name__}({', '.join(f'{k}={v}' for k, v in own.items())})" for cls, own in losses]
    return pytest.mark.parametrize(("cls", "own"), losses, ids=names)


each_loss = parametrised(LOSSES)
each_smoothed = parametrised([(cls, own) for cls, own in LOSSES if cls is not fl.Boundary])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def assert_near(got, expected, tolerance, scale=0.0):
    """Within a tolerance, relative to the largest, or a larger scale."""
    assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=scale) + 1e-300)


# ---- data ------------------------------------------------------------------------------------------------------------

def data(cls, own, space=(17, 19), n_classes=3, form="index", dtype=np.float64, n=3, seed=0):
    """y_true and y_pred, C-ordered."""
    rng = np.random.default_rng(seed)
    axis = own.get("axis", 1)
    alone = axis is None or own.get("multilabel", False)
    place = (lambda a: a[:, 0]) if axis is None else (lambda a: np.moveaxis(a, 1, axis).copy())
    n_classes = 1 if axis is None else n_classes
    z = rng.normal(0, 2, (n, n_classes, *space))
    if own.get("inputs") == "probabilities":
        z = 1 / (1 + np.exp(-z)) if alone else np.exp(z) / np.exp(z).sum(1, keepdims=True)
    z = place(z).astype(dtype)
    if cls is fl.Boundary:
        return rng.normal(0, 3, z.shape).astype(dtype), z
    labels = rng.integers(0, n_classes, (n, *space))
    if form == "index" and axis is not None:
        return labels, z
    if form == "soft":
        t = rng.uniform(0, 1, (n, n_classes, *space)).astype(np.float32)  # has room for sums of 1 ± 1e-7
        t = (t if alone else t / t.sum(1, keepdims=True)).astype(dtype)
    elif alone:
        t = rng.integers(0, 2, (n, n_classes, *space))
    else:
        t = np.moveaxis(np.eye(n_classes, dtype=int)[labels], -1, 1)
    return place(t), z


#: What calls may be, as parameters of the loss, and of `data`.
SETTINGS = {
    "map, 2-D": ({}, {}),
    "map, 3-D, channels last": ({"axis": -1}, {"space": (5, 6, 7)}),
    "map, channels last, contiguous pixels": ({"axis": -1}, {"space": (301,), "n_classes": 2}),
    "one-hot, 1-D": ({}, {"space": (301,), "form": "one-hot"}),
    "soft": ({}, {"form": "soft"}),
    "soft, channels last": ({"axis": -1, "include_background": False}, {"form": "soft", "n_classes": 5}),
    "binary": ({"axis": None}, {"space": (15, 21)}),
    "binary, soft, 1-D": ({"axis": None}, {"form": "soft", "space": (100,)}),
    "binary, probabilities": ({"axis": None, "inputs": "probabilities"}, {"form": "soft", "space": (4, 5, 6)}),
    "multilabel": ({"multilabel": True}, {"form": "indicators"}),
    "multilabel, soft": ({"multilabel": True, "axis": -1, "include_background": False}, {"form": "soft"}),
    "multilabel, map": ({"multilabel": True, "class_weight": [1.0, 0.0, 2.5]}, {}),
    "multilabel of one": ({"multilabel": True}, {"form": "soft", "n_classes": 1}),
    "multilabel, probabilities": ({"multilabel": True, "inputs": "probabilities"}, {"form": "soft"}),
    "probabilities": ({"inputs": "probabilities"}, {}),
    "probabilities, soft, batch": ({"inputs": "probabilities", "over": "batch"}, {"form": "soft"}),
    "batch": ({"over": "batch"}, {}),
    "batch, binary": ({"over": "batch", "axis": None}, {}),
    "batch, background out": ({"over": "batch", "include_background": False, "class_weight": "balanced"},
                              {"space": (61, 67)}),  # more labels than a buffer of NumPy has
    "dict of weights": ({"class_weight": {1: 3.0, 2: 0.5}}, {}),
    "array of weights, soft": ({"class_weight": [0.5, 0.0, 4.0, 1.0]}, {"form": "soft", "n_classes": 4}),
    "balanced": ({"class_weight": "balanced"}, {}),
    "balanced, soft, channels last": ({"class_weight": "balanced", "axis": -1}, {"form": "soft"}),
    "moving weights": ({"class_weight": fl.DynamicClassWeight(3).update([0, 0, 2])}, {}),
    "40 classes, several chunks": ({}, {"n_classes": 40, "space": (1901,), "n": 2}),
    "300 classes": ({}, {"n_classes": 300, "space": (51,), "n": 2}),
    "several chunks, odd rest": ({}, {"n_classes": 2, "space": (203, 197), "n": 2}),
    "16 pixels": ({}, {"space": (4, 4)}), "257 pixels": ({}, {"space": (257,)}), "1 pixel": ({}, {"space": (1, 1)}),
}


@pytest.mark.parametrize("setting", SETTINGS)
@each_loss
def test_value_and_gradient_are_those_of_torch(cls, own, setting):
    common, size = SETTINGS[setting]
    own = own | common
    if cls is fl.Boundary and own.get("class_weight") == "balanced":
        own["class_weight"] = {0: 0.5}
    for dtype, of_value, of_gradient in ((np.float64, 1e-12, 1e-12), (np.float32, 2e-6, 5e-6)):
        y, z = data(cls, own, **size, dtype=dtype)
        w = np.array([0.5, 2.0, -0.25])[:len(z)]
        value, gradient = cls(**own).loss_gradient(y, z, sample_weight=w)
        expected, slope = reference(cls, own, y, z, w)
        assert gradient.dtype == dtype
        assert_near(value, expected, of_value, np.abs(y).mean() if cls is fl.Boundary else 0)  # it has both signs
        assert_near(gradient, slope, of_gradient)


@each_smoothed
def test_ignored_pixels_do_not_exist(cls, own):
    kept = own
    for ignored, common in ((255, {}), (-1, {"axis": -1}), (1, {"over": "batch", "class_weight": "balanced"}),
                            (7, {"axis": None}), (255, {"multilabel": True}), (2, {"inputs": "probabilities"})):
        own = {**kept, **common, "ignore_index": ignored}
        y, z = data(cls, own)
        hidden = np.random.default_rng(1).random(y.shape) < 0.3
        y = np.where(hidden, ignored, y)
        expected, slope = reference(cls, own, y, z)
        pixels = hidden if own.get("axis", 1) is None else np.expand_dims(hidden, own.get("axis", 1))
        for junk in (z, np.where(pixels, nan, z), np.where(pixels, inf, z)):
            value, gradient = cls(**own).loss_gradient(y, junk)
            assert_near(value, expected, 1e-12)
            assert_near(gradient, slope, 1e-12)
            assert not np.where(pixels, gradient, 0).any()


# ---- mpmath: digits --------------------------------------------------------------------------------------------------

LABELS = np.array([0, 2, 1, 1])
ORDINARY = np.random.default_rng(4).normal(0, 2, (3, 4))
RIGHT = np.where(np.arange(3)[:, None] == LABELS, 25.0, -15.0) + ORDINARY / 8
#: Logits, and how near the loss and each number of its gradient are to the true ones, relative to themselves.
CLOSE = {"ordinary": (ORDINARY, 1e-14, 1e-13), "confident": (RIGHT, 1e-14, 1e-13),
         "confident, one pixel wrong": (np.where(np.arange(4) == 3, -RIGHT, RIGHT), 1e-14, 1e-13),
         "very confident": (RIGHT * 2, 1e-14, 1e-13)}


@pytest.mark.parametrize("case", CLOSE)
@pytest.mark.parametrize("alone", [False, True], ids=["softmax", "sigmoid"])
@each_loss
def test_digits_are_those_of_mpmath(cls, own, case, alone):
    z, of_loss, of_gradient = CLOSE[case]
    t = np.eye(3)[LABELS].T
    if alone:
        own, z, t = own | {"axis": None}, z[1:2], t[1:2]
    if cls is fl.Boundary:
        t = np.abs(ORDINARY[:len(z)]) + 1
    expected, slopes = exact(cls, own, t, z)
    value, gradient = cls(**own).loss_gradient(t if alone else t[None], z if alone else z[None])
    assert_allclose(value, expected, rtol=of_loss)
    assert_allclose(gradient.reshape(slopes.shape), slopes, rtol=of_gradient, atol=1e-300)


def test_true_predictions_have_the_loss_zero():
    y, z = data(fl.Dice, {})
    z = np.where(np.arange(3)[:, None, None] == y[:, None], inf, -1.0)
    for cls in (fl.Dice, fl.Jaccard, fl.Tversky, fl.FocalTversky, fl.GeneralizedDice, fl.DiceCrossEntropy):
        value, gradient = cls().loss_gradient(y, z)
        assert value == 0
        assert not gradient.any()


# ---- the edges -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("setting", ["map, 2-D", "soft", "binary", "multilabel", "batch"])
@pytest.mark.parametrize("extreme", [1e30, inf])
@both_dtypes
@each_loss
def test_extreme_scores_are_the_limit(cls, own, setting, extreme, dtype):
    common, size = SETTINGS[setting]
    own = own | common
    y, z = data(cls, own, **size, dtype=dtype)
    rng = np.random.default_rng(7)
    sign = rng.choice([-1, 0, 1], p=[0.02, 0.96, 0.02], size=z.shape)
    if z.ndim == 4 and not own.get("multilabel"):  # one largest score, or no limit
        sign[:, 1:] = np.minimum(sign[:, 1:], 0)
    if cls is fl.DiceCrossEntropy:  # only what is right, or the limit is inf
        t = y if y.shape == z.shape else y[:, None] == np.arange(3)[:, None, None]
        sign[t != (sign > 0)] = 0
    given, like = (np.where(sign == 0, z, np.copysign(size, sign)).astype(dtype) for size in (extreme, 5e3))
    value, gradient = cls(**own).loss_gradient(y, given)
    expected, slope = reference(cls, own, y, like)
    assert_near(value, expected, 1e-12 if dtype is np.float64 else 3e-6, np.abs(y).mean())
    assert_near(gradient, slope, 1e-12 if dtype is np.float64 else 5e-6)


@each_loss
def test_without_a_limit_it_is_nan(cls, own):
    y, z = data(cls, own)
    for scores in ((-inf, -inf, -inf), (inf, 1.0, inf)):
        z[1, :, 3, 4] = scores
        losses, gradient = cls(**own).loss_gradient(y, z, reduction="none")
        assert_array_equal(np.isnan(losses), [False, True, False])
        assert np.isnan(gradient[1, :, 3, 4]).all()


def test_certain_errors_cost_inf_in_cross_entropy_and_have_the_gradient_of_the_limit():
    q = 1 / (1 + np.e)
    value, gradient = fl.DiceCrossEntropy(weight=0.0, axis=None).loss_gradient([[0, 1, 1]], [[inf, 1.0, -inf]])
    assert value == inf
    assert_allclose(gradient, [[1 / 3, -q / 3, -1 / 3]], rtol=1e-14)
    value, gradient = fl.DiceCrossEntropy(weight=0.0).loss_gradient([[1, 1]], [[[inf, 0.0], [0.0, 1.0]]])
    assert value == inf
    assert_allclose(gradient, [[[1 / 2, q / 2], [-1 / 2, -q / 2]]], rtol=1e-14)
    sure = fl.DiceCrossEntropy(weight=0.0, inputs="probabilities", axis=None)
    value, gradient = sure.loss_gradient([[0, 1, 1, 0]], [[0.0, 1.0, 0.5, 0.75]])
    assert_allclose(value, np.log(8) / 4, rtol=1e-14)
    assert_allclose(gradient, [[0.25, -0.25, -0.5, 1]], rtol=1e-14)
    value, gradient = sure.loss_gradient([[1, 0]], [[0.0, 1.0]])
    assert value == inf
    assert_array_equal(gradient, [[-inf, inf]])


@pytest.mark.parametrize("setting", ["map, 2-D", "binary", "multilabel", "probabilities", "map, 3-D, channels last"])
@each_loss
def test_nan_is_never_hidden_and_stays_in_its_image(cls, own, setting):
    common, size = SETTINGS[setting]
    own = own | common
    y, z = data(cls, own, **size)
    clean = cls(**own).loss(y, z, reduction="none")
    for bad in [nan] + [-0.1, 1.1, inf] * (own.get("inputs") == "probabilities"):
        broken = z.copy()
        broken[1].flat[-2] = bad
        losses, gradient = cls(**own).loss_gradient(y, broken, reduction="none")
        assert_array_equal(losses, [clean[0], nan, clean[2]])
        assert np.isnan(gradient[1].flat[-2])
        assert not np.isnan(gradient[[0, 2]]).any()
        assert np.isnan(cls(**own)(y, broken))
        value, gradient = cls(**own).loss_gradient(y, broken, sample_weight=[1.0, 0.0, 3.0])
        assert_near(value, (clean[0] + 3 * clean[2]) / 4, 1e-14)
        assert not gradient[1].any()
        batch = cls(**own | {"over": "batch"})
        assert np.isnan(batch(y, broken))
        value, gradient = batch.loss_gradient(y, broken, sample_weight=[1.0, 0.0, 1.0])
        assert_near(value, batch(y[[0, 2]], z[[0, 2]]), 1e-14)
        assert_near(gradient[[0, 2]], batch.gradient(y[[0, 2]], z[[0, 2]]), 1e-14)
        assert not gradient[1].any()


@pytest.mark.parametrize("smooth", [0.0, 1e-30, 1.0])
@both_dtypes
@each_smoothed
def test_a_class_that_is_nowhere_and_hardly_predicted(cls, own, smooth, dtype):
    own = own | {"smooth": smooth}
    y, z = data(cls, own, dtype=dtype)
    y[:] = y == 1
    for score in (-1000.0, -740.0, -370.0, -103.0, -95.0, -46.0, -30.0):
        z[:, 2] = score
        value, gradient = cls(**own).loss_gradient(y, z)
        assert 0 <= value < 2
        assert np.isfinite(gradient).all()
        others, slope = cls(**own | {"class_weight": [1, 1, 0]}).loss_gradient(y, z)
        if smooth != 1e-30 and cls in (fl.Dice, fl.Jaccard, fl.Tversky):  # the class's own part of the gradient is tiny
            assert_near(gradient[:, :2], slope[:, :2] * 2 / 3, 1e-6)
        p = float(np.exp(dtype(score)))
        if smooth == 0 and cls is fl.Dice and (p**2 if own.get("squared") else p) > 0:
            assert_allclose(value, (2 * others + 1) / 3, rtol=1e-6)


@each_loss
def test_empty_images(cls, own):
    """Masks without a class; images without pixels; no images."""
    if cls is not fl.Boundary:
        for smooth in (0.0, 1.0):
            none = cls(**own | {"axis": None, "inputs": "probabilities", "smooth": smooth})
            value, gradient = none.loss_gradient(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))
            assert value == 0
            assert np.isfinite(gradient).all()
    for over in ("sample", "batch"):
        loss = cls(**own | {"over": over})
        phi = cls is fl.Boundary
        for space in ((0,), (4, 0), (0, 3)):
            value, gradient = loss.loss_gradient(np.zeros((2, *[3] * phi, *space)), np.zeros((2, 3, *space)))
            assert value == 0
            assert gradient.shape == (2, 3, *space)
        y, z = np.zeros((0, *[3] * phi, 5)), np.zeros((0, 3, 5))
        value, gradient = loss.loss_gradient(y, z, reduction="sum")
        assert value == 0
        assert gradient.shape == (0, 3, 5)
        with pytest.raises(ValueError, match="there are no samples"):
            loss(y, z)
    assert cls(**own)(y, z, reduction="none").shape == (0,)


@pytest.mark.parametrize("over", ["sample", "batch"])
def test_images_whose_pixels_are_all_ignored(over):
    y, z = data(fl.Dice, {})
    y[1] = 9
    for cls, own in LOSSES:
        if cls is not fl.Boundary:
            own = own | {"ignore_index": 9, "over": over}
            value, gradient = cls(**own).loss_gradient(y, z)
            assert not gradient[1].any()
            clean = cls(**own)(y[[0, 2]], z[[0, 2]])
            assert_near(value, clean * (2 / 3 if over == "sample" else 1), 1e-14)
            assert cls(**own)(np.full_like(y, 9), z) == 0


# ---- the contract of a call ------------------------------------------------------------------------------------------

def assert_same(got, expected):
    assert_array_equal(got[0], expected[0])
    assert_array_equal(got[1], expected[1])


@each_loss
def test_methods_reductions_and_weights_belong_together(cls, own):
    loss = cls(**own)
    y, z = data(cls, own)
    losses, gradients = loss.loss_gradient(y, z, reduction="none")
    w = np.array([2.0, 0.0, 0.5])
    for weight, factor in ((None, np.ones(3)), (w, w), ([1, -1, 3], np.array([1, -1, 3]))):
        each = factor[:, None, None, None]
        value, gradient = loss.loss_gradient(y, z, sample_weight=weight, reduction="none")
        assert_near(value, factor * losses, 1e-15)
        assert_near(gradient, each * gradients, 1e-14)
        value, gradient = loss.loss_gradient(y, z, sample_weight=weight, reduction="sum")
        assert_near(value, (factor * losses).sum(), 1e-14)
        assert_near(gradient, each * gradients, 1e-14)
        value, gradient = loss.loss_gradient(y, z, sample_weight=weight)
        assert_near(value, (factor * losses).sum() / factor.sum(), 1e-14)
        assert_near(gradient, each * gradients / factor.sum(), 1e-14)
        assert_same((loss(y, z, sample_weight=weight), loss.gradient(y, z, sample_weight=weight)), (value, gradient))
        assert loss.loss(y_pred=z, y_true=y, sample_weight=weight) == value
    batch = cls(**own | {"over": "batch"})
    for others in ({"reduction": "sum"}, {"sample_weight": [1, 1, 1]}):
        assert_same(batch.loss_gradient(y, z, **others), batch.loss_gradient(y, z))
    z[1] = nan
    value, gradient = loss.loss_gradient(y, z, sample_weight=w, reduction="none")
    assert_near(value, w * losses, 1e-15)
    assert_near(gradient, w[:, None, None, None] * gradients, 1e-14)


#: Views with all kinds of strides, of an array (n, classes?, H, W) whose numbers stay as they are.
VIEWS = {
    "backwards": lambda a: np.flip(np.flip(a, (-1, -2)).copy(), (-1, -2)),
    "images and classes backwards": lambda a: np.flip(np.flip(a, (0, 1)).copy(), (0, 1)),
    "transposed": lambda a: a.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "Fortran": np.asfortranarray,
    "every second": lambda a: np.repeat(np.repeat(a, 2, -1), 3, 0)[::3, ..., ::2],
    "part of rows": lambda a: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(3, 2)])[..., 3:-2],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "other bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "list": lambda a: a.tolist(),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("setting", ["map, 2-D", "soft, channels last", "binary", "multilabel"])
def test_any_layout_gives_the_same_bits(view, setting):
    common, size = SETTINGS[setting]
    for cls, own in ((fl.Dice, {"squared": True}), (fl.DiceCrossEntropy, {}), (fl.Boundary, {})):
        y, z = data(cls, own | common, **size)
        loss = cls(**own | common)
        expected = loss.loss_gradient(y, z)
        assert_same(loss.loss_gradient(VIEWS[view](y), VIEWS[view](z)), expected)
        out = VIEWS[view](np.zeros_like(z))
        if isinstance(out, np.ndarray) and out.flags.writeable and out.dtype.isnative and z.ndim > 2:
            assert loss.gradient(y, z, gradient_out=out) is out
            assert_array_equal(out, expected[1])


def test_broadcast_arrays_and_memory_maps(tmp_path):
    y, z = data(fl.Dice, {})
    np.save(tmp_path / "z.npy", z)
    assert_same(fl.Dice().loss_gradient(y, np.load(tmp_path / "z.npy", mmap_mode="r")), fl.Dice().loss_gradient(y, z))
    for flat_y, flat_z in ((y[:1, :1], z[:1, :, :1]), (y[..., :1], z[..., :1]), (y[:, :1], z[:, :1, :1])):
        many_y, many_z = np.broadcast_to(flat_y, y.shape), np.broadcast_to(flat_z, z.shape)
        assert_same(fl.Dice().loss_gradient(many_y, many_z), fl.Dice().loss_gradient(many_y.copy(), many_z.copy()))


@pytest.mark.parametrize("n_axes", [4, 8])
def test_axes_of_space_that_cannot_be_walked_as_one(n_axes):
    rng = np.random.default_rng(0)
    shape = (2, 3, *[2] * n_axes)
    z = rng.normal(size=shape)
    y = rng.integers(0, 3, shape[:1] + shape[2:])
    order = (0, 1, *range(2, n_axes + 2))[::-1]
    back = np.argsort(order)
    assert_same(fl.Dice().loss_gradient(y, z.transpose(order).copy().transpose(back)), fl.Dice().loss_gradient(y, z))


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_targets_of_any_type(dtype):
    y, z = data(fl.Dice, {}, n_classes=2, space=(7, 9))
    for axis, target, scores in ((1, y, z), (None, y, z[:, 0]), (1, np.stack([1 - y, y], 1), z)):
        for kind in (np.float32, np.float64):
            loss = fl.DiceCrossEntropy(axis=axis)
            assert_same(loss.loss_gradient(target.astype(dtype), scores.astype(kind)),
                        loss.loss_gradient(target, scores.astype(kind)))


def test_predictions_of_any_type():
    y, z = data(fl.Dice, {})
    z = np.round(z)
    expected = fl.Dice().loss_gradient(y, z)
    for dtype in ("i1", "i2", "i4", "i8", "f8"):
        got = fl.Dice().loss_gradient(y, z.astype(dtype))
        assert_same(got, expected)
        assert got[1].dtype == np.float64
    half, single = (fl.Dice().loss_gradient(y, z.astype(dtype)) for dtype in ("f2", "f4"))
    assert_same(half, single)
    assert half[1].dtype == single[1].dtype == np.float32
    assert fl.Dice().loss(y, z.astype("f4"), reduction="none").dtype == np.float32
    for loss in (fl.Dice(multilabel=True), fl.DiceCrossEntropy()):
        assert_same(loss.loss_gradient(y, z > 0), loss.loss_gradient(y, (z > 0) * 1.0))


@pytest.mark.parametrize("setting", ["map, 2-D", "soft, channels last", "binary", "multilabel", "probabilities"])
@both_dtypes
@each_loss
def test_outputs_may_be_given_and_the_gradient_may_replace_y_pred(cls, own, setting, dtype):
    common, size = SETTINGS[setting]
    loss = cls(**own | common)
    y, z = data(cls, own | common, **size, dtype=dtype)
    kept = y.copy()
    losses, gradient = loss.loss_gradient(y, z, reduction="none")
    loss_out, out = np.full(3, nan, dtype), np.full_like(z, nan)
    got = loss.loss_gradient(y, z, reduction="none", loss_out=loss_out, gradient_out=out)
    assert got[0] is loss_out
    assert got[1] is out
    assert_same(got, (losses, gradient))
    assert loss.gradient(y, z, reduction="none", gradient_out=z) is z
    assert_array_equal(z, gradient)
    assert_array_equal(y, kept)


@pytest.mark.parametrize("axis", [1, -1, None])
@both_dtypes
@each_loss
def test_the_same_bits_for_every_number_of_threads(cls, own, axis, dtype):
    own = own | {"axis": axis}
    y, z = data(cls, own, space=(203, 301), n_classes=3, dtype=dtype)
    loss = cls(**own)
    expected = loss.loss_gradient(y, z, n_threads=1)
    for n_threads in (2, 3, 4, None):
        assert_same(loss.loss_gradient(y, z, n_threads=n_threads), expected)


# ---- errors ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("cls", "parameters", "message"), [
    (fl.Dice, {"axis": 2}, "axis must be 1, -1 or None, got 2"),
    (fl.Dice, {"axis": "1"}, "axis must be an integer, got '1'"),
    (fl.Dice, {"over": "all"}, "over must be 'sample' or 'batch', got 'all'"),
    (fl.Jaccard, {"inputs": "p"}, "inputs must be 'logits' or 'probabilities', got 'p'"),
    (fl.Boundary, {"multilabel": 1}, "multilabel must be True or False, got 1"),
    (fl.Tversky, {"include_background": 0}, "include_background must be True or False, got 0"),
    (fl.Dice, {"axis": None, "include_background": False}, "include_background=False and class_weight are for several"),
    (fl.Dice, {"axis": None, "multilabel": True}, "with axis=None there is one"),
    (fl.Dice, {"axis": None, "class_weight": "balanced"}, "with axis=None there is one"),
    (fl.Dice, {"smooth": -1}, "smooth must be finite and >= 0, got -1.0"),
    (fl.Dice, {"ignore_index": 1.5}, "ignore_index must be an integer, got 1.5"),
    (fl.Dice, {"class_weight": [1, -1]}, "class_weight[1] is -1.0: it must be finite and >= 0"),
    (fl.Dice, {"class_weight": "auto"}, "class_weight must be None, 'balanced', a dict"),
    (fl.Boundary, {"class_weight": "balanced"}, "class_weight='balanced' goes by areas"),
    (fl.Dice, {"squared": None}, "squared must be True or False, got None"),
    (fl.Tversky, {"alpha": -0.1}, "alpha must be finite and >= 0, got -0.1"),
    (fl.FocalTversky, {"beta": nan}, "beta must be finite and >= 0, got nan"),
    (fl.FocalTversky, {"gamma": 0}, "gamma must be finite and > 0, got 0.0"),
    (fl.GeneralizedDice, {"weighting": "none"}, "weighting must be 'square' or 'simple' or 'uniform', got 'none'"),
    (fl.DiceCrossEntropy, {"weight": 1.1}, "weight must be finite and >= 0 and <= 1, got 1.1"),
])
def test_parameters_that_are_refused(cls, parameters, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        cls(**parameters)


Y, Z = data(fl.Dice, {}, space=(4, 5))
SOFT = data(fl.Dice, {}, space=(4, 5), form="soft")[0]
PIXEL = (1, slice(None), 3, 2)
NEARLY = np.full((1, 2, 8), 0.5)
NEARLY[0, 0, 3], NEARLY[0, 0, 6] = 0.50000095, 0.6


def put(a, index, value, dtype=None):
    a = np.array(a, dtype)
    a[index] = value
    return a


@pytest.mark.parametrize(("parameters", "y", "z", "message"), [
    ({}, Y[0], Z[0, :, 0], "y_pred must have shape (n, C, *space) with axis=1, got (3, 5)"),
    ({"axis": -1}, Y[0], Z[0, :, 0], "y_pred must have shape (n, *space, C) with axis=-1, got (3, 5)"),
    ({"axis": None}, [1], [1.0], "y_pred must have shape (n, *space) with axis=None, got (1,)"),
    ({}, Y[:2], Z, "y_true has shape (2, 4, 5) and y_pred (3, 3, 4, 5): y_true must have shape (3, 3, 4, 5) or (3, "),
    ({"axis": -1}, Y, Z, "y_true must have shape (3, 3, 4, 5) or (3, 3, 4)"),
    ({"axis": None}, Y[:1], Y, "y_true has shape (1, 4, 5) and y_pred (3, 4, 5): y_true must have shape (3, 4, 5)"),
    ({}, Y, Z[:, :1], "y_pred has shape (3, 1, 4, 5): axis 1 must hold at least two classes (for one, use axis=None)"),
    ({"multilabel": True, "include_background": False}, SOFT[:, :1], Z[:, :1], "leaves none of one class"),
    ({}, np.zeros((1, *[2] * 9)), np.zeros((1, 2, *[2] * 9), order="F"), "at most 8 axes of space, got (1, 2, 2,"),
    ({"ignore_index": 1}, SOFT, Z, "ignore_index is for maps of classes, and y_true has a number for each class"),
    ({}, put(Y, (1, 2, 3), 3), Z, "y_true[1, 2, 3] is 3: classes must be whole numbers from 0 to 2"),
    ({"ignore_index": 9}, put(Y, (2, 0, 1), -1), Z, "-1: classes must be whole numbers from 0 to 2, or 9 (ignore"),
    ({}, put(Y, (0, 3, 4), 1.5, float), Z, "y_true[0, 3, 4] is 1.5"),
    ({"ignore_index": 7}, put(Y, (0, 0, 0), nan, float), Z, "y_true[0, 0, 0] is nan"),
    ({}, put(Y, (0, 0, 2), inf, float), Z.astype("f4"), "y_true[0, 0, 2] is inf"),
    # 1 + 1e-9 is 1 in float32
    ({}, put(put(Y, (0, 0, 0), 1 + 1e-9, float), (1, 1, 1), 9), Z.astype("f4"), "y_true[1, 1, 1] is 9"),
    ({}, put(Y, (0, 1, 2), 2**63, "u8"), Z, f"y_true[0, 1, 2] is {2**63}"),
    ({"class_weight": "balanced"}, put(Y, (2, 2, 2), 7), Z, "y_true[2, 2, 2] is 7"),
    ({"axis": None}, put(Y > 0, (1, 0, 1), -0.25, float), Z[:, 0], "y_true[1, 0, 1] is -0.25: targets must be in [0"),
    ({"multilabel": True}, put(SOFT, (0, 2, 0, 1), nan), Z, "y_true[0, 2, 0, 1] is nan: targets must be in [0, 1]"),
    ({}, put(SOFT, (0, 2, 0, 1), 2), Z, "y_true[0, 2, 0, 1] is 2.0: targets must be in [0, 1]"),
    ({}, put(SOFT, PIXEL, 0.25), Z, "image 1 has probabilities at pixel (3, 2) that sum to 0.75: the sum must be 1"),
    ({"axis": -1}, np.moveaxis(put(SOFT, PIXEL, 0.25, "f4"), 1, -1), np.moveaxis(Z, 1, -1), "1 within 0.0001"),
    ({}, put(SOFT, PIXEL, 0.25, "f2"), Z, "the sum must be 1 within 0.01"),
    ({}, put(SOFT, (1, 0, 3, 2), SOFT[PIXEL][0] + 3e-6), Z, "pixel (3, 2) that sum to 1.00000"),
    ({}, NEARLY, NEARLY, "pixel (6) that sum to 1.1"),
    ({"class_weight": [1, 0, 0], "include_background": False}, Y, Z, "weights of the classes that count sum to 0"),
    ({"class_weight": [1, 2]}, Y, Z, "class_weight has 2 classes, y_pred 3"),
    ({"class_weight": {3: 1}}, Y, Z, "class_weight has the unknown class 3: y_pred has classes 0 to 2"),
])
def test_arrays_that_are_refused(parameters, y, z, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fl.Dice(**parameters).loss_gradient(y, z)


def test_calls_that_are_refused():
    batch = fl.Dice(over="batch")
    for call, message in (
            (lambda: fl.Boundary()(Y, Z), "y_pred (3, 3, 4, 5): y_true must have shape (3, 3, 4, 5)"),
            (lambda: batch(Y, Z, reduction="none"), "reduction='none' is for over='sample': over='batch' has one"),
            (lambda: fl.Dice()(Y, Z, sample_weight=[0, 0, 0]), "the weights sum to 0.0"),
            (lambda: batch(Y, Z, sample_weight=[1, -1, 0]), "the weights sum to 0.0: with reduction='mean' the sum"),
            (lambda: batch(Y, Z, sample_weight=[1, nan, 0]), "sample_weight[1] is nan"),
            (lambda: fl.Dice()(put(Y, (2, 2, 2), 7), Z, sample_weight=[1, 1, 0]), "y_true[2, 2, 2] is 7"),
            (lambda: fl.Dice().gradient(t := SOFT.copy(), Z, gradient_out=t), "gradient_out overlaps y_true in memory"),
            (lambda: fl.Dice().gradient(Y[1:], (a := Z.copy())[1:], gradient_out=a[:2]), "out overlaps y_pred"),
            (lambda: fl.Dice().gradient(Y, Z, gradient_out=np.zeros((2, 3, 4, 5))), "gradient_out has shape")):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("n_threads", [1, 4])
def test_the_lowest_bad_index_for_every_number_of_threads(n_threads):
    y, z = data(fl.Dice, {}, space=(200, 301))
    y[1, 150, 7], y[1, 160, 0], y[2, 0, 0] = 3, -1, 5
    with pytest.raises(ValueError, match=re.escape("y_true[1, 150, 7] is 3:")):
        fl.Dice()(y, z, n_threads=n_threads)


@both_dtypes
@pytest.mark.parametrize("cls", [fl.Dice, fl.FocalTversky, fl.Boundary, fl.DiceCrossEntropy])
def test_only_the_ratio_of_class_weights_counts(cls, dtype):
    y, z = data(cls, {}, dtype=dtype)
    expected, slope = cls(class_weight=[1, 3, 0.5]).loss_gradient(y, z)
    for size in (2.0**-1000, 2.0**1022):
        value, gradient = cls(class_weight=np.array([1, 3, 0.5]) * size).loss_gradient(y, z)
        assert_near(value, expected, 1e-15)
        assert_near(gradient, slope, 1e-15 if dtype is np.float64 else 1e-7)


@both_dtypes
def test_sums_of_many_targets_are_not_rounded_to_a_fault(dtype):
    y = np.random.default_rng(0).dirichlet(np.ones(1000), size=(1, 99)).transpose(0, 2, 1)
    z = np.zeros(y.shape, dtype)
    assert_near(fl.Dice()(y, z), reference(fl.Dice, {}, y, z)[0], 1e-6)


# ---- objects, memory -------------------------------------------------------------------------------------------------

@each_loss
def test_losses_are_values(cls, own):
    loss = cls(**own)
    assert eval(repr(loss), vars(fl)) == loss
    assert repr(cls()) == f"{cls.__name__}()"
    assert pickle.loads(pickle.dumps(loss)) == loss == clone(loss) == cls(**loss.get_params())
    assert hash(loss) == hash(cls(**own))
    assert loss != cls(**own, over="batch")
    assert all(getattr(loss, name) == value for name, value in own.items())
    weighted = cls(**own, class_weight={1: 2.0})
    assert pickle.loads(pickle.dumps(weighted)) == weighted != loss
    with pytest.raises(AttributeError, match="immutable"):
        loss.axis = -1
    for name in cls.aliases:
        assert type(fl.get(name)) is cls


def test_no_array_is_copied():
    z = np.random.default_rng(0).normal(size=(4, 4, 512, 512)).astype("f4")
    y = np.ones((4, 512, 512), "u1")
    last = np.moveaxis(z.swapaxes(-1, -2).copy(), 1, -1)
    hot = np.moveaxis(np.moveaxis(np.eye(4, dtype=bool)[y], -1, 1).copy(), 1, -1)
    for loss, target, scores in (
            (fl.DiceCrossEntropy(squared=True), y, z), (fl.Dice(class_weight="balanced", ignore_index=3), y, z),
            (fl.GeneralizedDice(axis=-1), y, last), (fl.Jaccard(axis=-1, class_weight="balanced"), hot, last),
            (fl.Tversky(axis=None, ignore_index=255), y, z[:, 0]), (fl.Boundary(), z, z)):
        out = np.empty_like(scores)
        tracemalloc.start()
        try:
            loss.loss_gradient(target, scores, gradient_out=out)
            assert tracemalloc.get_traced_memory()[1] < 0.05 * scores.nbytes, loss
        finally:
            tracemalloc.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="resource is of Unix")
def test_scratch_is_small():
    code = """
import resource
import numpy as np, fastloss as fl
z = np.random.default_rng(0).normal(size=(4, 4, 512, 512)).astype("f4")
y, out, loss = np.ones((4, 512, 512), "u1"), np.ones_like(z), fl.DiceCrossEntropy(squared=True)
loss.loss_gradient(y[:, :64], z[:, :, :64], n_threads=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loss.loss_gradient(y, z, gradient_out=out, n_threads=1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / z.nbytes)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(ran.stdout) * (1 if sys.platform == "darwin" else 1024) < 0.05
