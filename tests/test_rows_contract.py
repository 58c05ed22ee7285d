"""The contract of row losses: methods, reductions, weights, targets, dtypes, layouts, outputs, errors, edges, threads.

test_contract.py has the same of losses of single predictions. Properties of the losses are in test_multiclass.py.
"""

import copy
import itertools
import os
import pickle
import re
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from sklearn.base import clone

import fastloss as fl
from calls import assert_same_bits, both_dtypes, call, each_method, one_by_one, with_class_weight
from reference import METHODS
from reference_rows import (
    ROW_DEFAULTS,
    ROW_INSTANCES,
    hard_rows,
    is_logits,
    one_hot,
    row_predictions,
    row_targets,
    sized_instances,
    soft_rows,
)

C = 5
CE = fl.CrossEntropy()
CLASS_WEIGHT = np.array([0.5, 3.0, 1.0, 0.0, 2.5])
INSTANCES = ROW_INSTANCES + sized_instances(C)
inf, nan = np.inf, np.nan

all_losses = pytest.mark.parametrize("loss", INSTANCES, ids=repr)
each_loss = pytest.mark.parametrize("loss", ROW_DEFAULTS, ids=repr)
INDEXED = [loss for loss in ROW_DEFAULTS if loss.target in ("classes", "soft classes")]
each_indexed = pytest.mark.parametrize("loss", INDEXED, ids=repr)


def forms(loss):
    """Labels, and rows where the loss takes them, too."""
    return ("index", "rows") if loss.target in ("classes", "soft classes") else ("rows",)


def data(loss, n, n_classes=C, dtype=np.float64, form="index"):
    return row_targets(loss, n, n_classes, form=form), row_predictions(loss, n, n_classes, dtype)


# ---- methods and reductions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@each_method
@each_loss
def test_what_methods_return(loss, method, reduction):
    for (n, n_classes), form in itertools.product(((1, 2), (7, 3), (600, 10), (17, 17), (40, 100)), forms(loss)):
        y, z = data(loss, n, n_classes, np.float32 if n == 7 else np.float64, form)
        for name, value in call(loss, method, y, z, reduction=reduction).items():
            if name == "loss" and reduction != "none":
                assert type(value) is float
            else:
                assert type(value) is np.ndarray and value.dtype == z.dtype
                assert value.shape == ((n,) if name == "loss" else (n, n_classes))
                assert value.flags.writeable and value.flags.owndata


@each_loss
def test_calling_a_loss_is_its_mean(loss):
    y, z = data(loss, 50)
    assert loss(y, z) == loss.loss(y, z) == loss.loss(y, z, reduction="mean")


@both_dtypes
@all_losses
def test_reductions_and_weights(loss, dtype):
    rng = np.random.default_rng(5)
    close = {"rtol": 8 * np.finfo(dtype).eps, "atol": 2 * np.finfo(dtype).smallest_subnormal}
    for form, n, weight in itertools.product(forms(loss), (1, 130), (None, rng.normal(2, 1, 130))):
        y, z = data(loss, n, C, dtype, form)
        given = None if weight is None else np.abs(weight[:n]) if n == 1 else weight[:n]
        w = np.ones(n) if given is None else given.astype(dtype).astype(np.float64)
        plain = {name: value.astype(np.float64) for name, value in one_by_one(loss, y, z).items()}
        for method, (reduction, scale) in itertools.product(METHODS, (("none", 1.0), ("sum", 1.0),
                                                                       ("mean", 1 / w.sum()))):
            for name, value in call(loss, method, y, z, sample_weight=given, reduction=reduction).items():
                expected = (w if name == "loss" else w[:, None]) * plain[name] * scale
                if name == "loss" and reduction != "none":
                    # sums are float64, and so are products with alpha on their way there
                    exact = loss.get_params().get("alpha") is None or dtype == np.float64
                    assert value == pytest.approx(expected.sum(), rel=1e-12 if exact else float(np.finfo(dtype).eps),
                                                  abs=1e-13 * np.abs(expected).sum())
                else:
                    assert_allclose(value, expected, **close, err_msg=f"{method} {reduction} {name}")


@both_dtypes
@all_losses
def test_all_methods_give_the_same_bits(loss, dtype):
    for n_classes, form in itertools.product((2, 5, 17, 70), forms(loss)):
        if n_classes != C and loss in sized_instances(C):
            continue
        y, z = hard_rows(loss, 40, n_classes, dtype, form=form)
        expected = one_by_one(loss, y, z)
        for method in METHODS:
            assert_same_bits(expected, call(loss, method, y, z, reduction="none"))
        if isinstance(loss, fl.CrossEntropy):
            gradient, _ = loss.gradient_proba(y, z, reduction="none")
            assert_same_bits(expected, {"gradient": gradient})


def bits(x):
    """Those of numbers; of NaN neither sign nor payload."""
    return np.ascontiguousarray(np.where(np.isnan(x), nan, x)).tobytes()


@both_dtypes
@pytest.mark.parametrize("n_classes", [70, 100, 600])
def test_losses_of_confident_rows_have_the_same_bits_with_a_gradient(n_classes, dtype):
    # the sum without the largest is made in the pass, or, where a gradient keeps the exponentials, afterwards
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, n_classes)).astype(dtype)
    z[np.arange(500), rng.integers(0, n_classes, 500)] += np.log(n_classes) + 3
    y = rng.integers(0, n_classes, 500)
    loss = fl.CrossEntropy()
    assert_array_equal(loss.loss(y, z, reduction="none"), loss.loss_gradient(y, z, reduction="none")[0])


@pytest.mark.parametrize("order", ["C", "F"])
@both_dtypes
@pytest.mark.parametrize("n_classes", [2, 3, 4, 5])
@pytest.mark.parametrize("n", [61, 64])
@pytest.mark.parametrize("loss", [CE, fl.Focal(), fl.GeneralizedCrossEntropy(), fl.PolyCrossEntropy()], ids=repr)
def test_rows_of_few_classes_give_the_same_bits_beside_extreme_ones(loss, n, n_classes, dtype, order):
    # groups with an extreme score, and such as are written in place, are worked on in another way
    z = row_predictions(loss, n, n_classes, dtype).copy(order)
    y = row_targets(loss, n, n_classes, form="index")
    z[5, 1], z[9], z[11, 0], z[13, 1], z[15, 0] = 1e4, -inf, inf, -inf, nan
    together = one_by_one(loss, y, z)
    for i in range(n):
        for name, alone in one_by_one(loss, y[i:i + 1], z[i:i + 1]).items():
            assert bits(together[name][i:i + 1]) == bits(alone)
    value, _ = loss.loss_gradient(y, z, reduction="none", gradient_out=z)
    assert bits(value) == bits(together["loss"])
    assert bits(z) == bits(together["gradient"])


@both_dtypes
@all_losses
def test_rows_give_the_same_bits_alone_and_in_company(loss, dtype):
    for n_classes, form in itertools.product((3, 5, 17, 70), forms(loss)):
        if n_classes != C and loss in sized_instances(C):
            continue
        y, z = hard_rows(loss, 36, n_classes, dtype, form=form)
        together = one_by_one(loss, y, z)
        for i in range(0, 36, 5):
            assert_same_bits(one_by_one(loss, y[i:i + 1], z[i:i + 1]), {k: v[i:i + 1] for k, v in together.items()})
        assert_same_bits(one_by_one(loss, y[5:], z[5:]), {k: v[5:] for k, v in together.items()})


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [list, tuple, pd.Series, np.float32, np.float16, np.int64, np.uint8, bool])
def test_forms_of_sample_weight(form):
    y, z = data(CE, 30)
    w = np.arange(30) % 2
    given = w.astype(form) if isinstance(form, type) and issubclass(form, (np.generic, bool)) else form(w)
    assert_same_bits(call(CE, "loss_gradient", y, z, sample_weight=given),
                     call(CE, "loss_gradient", y, z, sample_weight=w.astype(np.float64)))


@each_loss
def test_integer_weights_are_repetitions(loss):
    y, z = data(loss, 40)
    w = np.random.default_rng(0).integers(0, 4, 40)
    assert loss(y, z, sample_weight=w) == pytest.approx(loss(np.repeat(y, w, axis=0), np.repeat(z, w, axis=0)),
                                                        rel=1e-13)


def test_negative_sample_weights_are_allowed():
    y, z = data(CE, 2)
    a, b = CE(y, z, reduction="none")
    assert CE(y, z, sample_weight=[-1.0, 2.0]) == pytest.approx(2 * b - a, rel=1e-14)
    assert CE(y, z, sample_weight=[-1.0, -2.0], reduction="sum") == pytest.approx(-a - 2 * b, rel=1e-14)


@pytest.mark.parametrize("unit", [1e-310, 1e-200, 1e250, 1e300])
def test_extreme_weights_of_one_scale_cancel_in_the_mean(unit):
    y, z = data(CE, 100)
    w = np.random.default_rng(0).integers(1, 9, 100).astype(float)
    expected = call(CE, "loss_gradient", y, z, sample_weight=w)
    got = call(CE, "loss_gradient", y, z, sample_weight=w * unit)
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert_allclose(got["gradient"], expected["gradient"], rtol=1e-12)


@pytest.mark.parametrize("class_weight", [
    CLASS_WEIGHT, CLASS_WEIGHT.tolist(), tuple(CLASS_WEIGHT), CLASS_WEIGHT.astype(np.float32), pd.Series(CLASS_WEIGHT),
    {0: 0.5, 1: 3, 3: 0, 4: 2.5}, {4: 2.5}, {}, {np.int64(1): 3.0}, {1.0: 3.0}, {True: 2.0}, np.arange(C), "balanced",
], ids=lambda v: repr(v)[:30])
@each_loss
def test_class_weights_weigh_rows(loss, class_weight):
    if loss.target == "indicators" and isinstance(class_weight, str):
        pytest.skip("test_multiclass.py has what indicators mean")
    for form in forms(loss):
        y, z = data(loss, 200, form=form)
        t = one_hot(y, C) if y.ndim == 1 else np.exp(y) if loss.target == "log classes" else y
        if isinstance(class_weight, str):
            row = len(t) / (C * t.sum(axis=0))
        elif isinstance(class_weight, dict):
            row = np.array([class_weight.get(c, 1.0) for c in range(C)])
        else:
            row = np.asarray(class_weight, np.float64)
        if loss.target == "indicators":
            w = np.where(t.any(axis=1), (t @ row) / np.maximum(t.sum(axis=1), 1), 1)
        else:
            w = t @ row
        sample_weight = np.random.default_rng(2).random(200)
        weighted = with_class_weight(loss, class_weight)
        for own, reduction in itertools.product((None, sample_weight), ("mean", "sum", "none")):
            got = call(weighted, "loss_gradient_hessian", y, z, sample_weight=own, reduction=reduction)
            both = w if own is None else w * own
            expected = call(loss, "loss_gradient_hessian", y, z, sample_weight=both, reduction=reduction)
            for name in expected:
                assert_allclose(got[name], expected[name], rtol=1e-12)


def test_dynamic_class_weights_follow_their_object():
    for loss in INDEXED:
        y, z = data(loss, 300)
        weight = fl.DynamicClassWeight(C, momentum=0.5)
        moving = with_class_weight(loss, weight)
        assert moving(y, z) == pytest.approx(loss(y, z), rel=1e-13)
        weight.update([0, 0, 0, 4])
        expected = with_class_weight(loss, weight.weights.copy())(y, z)
        assert moving(y, z) == pytest.approx(expected, rel=1e-14)
        assert_allclose(weight.frequencies, [0.475, 0.1, 0.1, 0.1, 0.225])  # a call updates nothing


def test_balanced_leaves_ignored_rows_out_and_absent_classes_weigh_1():
    y = np.array([0, 0, 0, 2, -1, -1])
    z = np.random.default_rng(0).normal(size=(6, 3))
    loss = fl.CrossEntropy(class_weight="balanced", ignore_index=-1)
    expected = fl.CrossEntropy(class_weight=[4 / 9, 1, 4 / 3], ignore_index=-1)
    assert loss(y, z) == pytest.approx(expected(y, z), rel=1e-14)


@pytest.mark.parametrize(("class_weight", "message"), [
    ([1.0, 2.0], r"class_weight.*2.*5|class_weight.*\(2,\)"), ({7: 1.0}, "class_weight.*7"),
    (fl.DynamicClassWeight(3), "class_weight.*3 classes"), ({5: 1.0}, "class_weight.*5"),
], ids=repr)
@each_loss
def test_class_weights_of_other_classes_are_named_at_the_call(loss, class_weight, message):
    y, z = data(loss, 10)
    with pytest.raises(ValueError, match=message):
        with_class_weight(loss, class_weight)(y, z)


@pytest.mark.parametrize("class_weight", ["balance", {-1: 1.0}, {"a": 1.0}, {0: -1.0}, {1: nan}, {1: inf}, [1.0, -1.0],
                                          [[1.0, 2.0]], 1.0, {0: "a"}, [nan, 1.0], {0.5: 1.0}], ids=repr)
@each_loss
def test_bad_class_weights(loss, class_weight):
    with pytest.raises((ValueError, TypeError), match="class_weight"):
        with_class_weight(loss, class_weight)


@each_method
@each_loss
def test_weights_of_a_mean_must_have_a_positive_sum(loss, method):
    y, z = data(loss, 2)
    for weights in ([0.0, 0.0], [-1.0, -2.0], [1.0, -1.0], [-1.0, 0.5]):
        with pytest.raises(ValueError, match="sum"):
            call(loss, method, y, z, sample_weight=weights)
        call(loss, method, y, z, sample_weight=weights, reduction="sum")
    if isinstance(loss, fl.CrossEntropy):
        with pytest.raises(ValueError, match="sum"):
            call(fl.CrossEntropy(class_weight={0: 0.0}), method, [0, 0], z)


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@each_method
@each_loss
def test_non_finite_weights_are_named(loss, method, bad):
    y, z = data(loss, 900)
    w = np.ones(900)
    w[[321, 800]] = bad
    for reduction, n_threads in (("mean", 1), ("sum", 2), ("none", 5), ("mean", 3)):
        with pytest.raises(ValueError, match=rf"sample_weight\[321\] is {bad}.*finite"):
            call(loss, method, y, z, sample_weight=w, reduction=reduction, n_threads=n_threads)


# ---- targets and other inputs ----------------------------------------------------------------------------------------

NUMBERS = [bool, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
           np.float16, np.float32, np.float64, np.longdouble, ">f8", ">i4"]


@pytest.mark.parametrize("number", NUMBERS, ids=str)
@each_loss
def test_targets_of_every_dtype(loss, number):
    for n_classes, form in itertools.product((2, 5, 17), forms(loss)):
        y, z = data(loss, 90, n_classes, form=form)
        if number is bool and y.ndim == 1:
            y = y % 2
        elif y.ndim == 2:  # whole numbers are one-hot, and their logarithms 0 and -inf
            if loss.target == "log classes":
                if not np.issubdtype(np.dtype(number), np.floating):
                    continue
                with np.errstate(divide="ignore"):
                    y = np.log(one_hot(np.arange(90) % n_classes, n_classes))
            else:
                y = np.round(y) if loss.target == "indicators" else one_hot(np.arange(90) % n_classes, n_classes)
        assert_same_bits(one_by_one(loss, y.astype(number), z), one_by_one(loss, y.astype(np.float64), z))


@pytest.mark.parametrize(("form", "off"), [(np.float64, 9e-7), (np.float32, 9e-5), (np.float16, 9e-3)])
def test_sums_of_soft_rows_have_the_tolerance_of_their_type(form, off):
    z = np.random.default_rng(0).normal(size=(40, 4))
    for loss in (CE, fl.KLDivergence(), fl.JensenShannon(), fl.EarthMover(), fl.Brier()):
        for sign in (1, -1):
            y = np.full((40, 4), 0.25)
            y[7, 2] += sign * off
            assert np.isfinite(loss(y.astype(form), z))
            y[7, 2] += sign * 0.3 * off
            y[30] += 0.1
            with pytest.raises(ValueError, match=r"y_true\[7\b.*sum"):
                loss(y.astype(form), z)
    # used as given: Σ t is part of the gradient
    y = np.array([[0.25, 0.75 + 5e-7]])
    assert_allclose(CE.gradient(y, np.zeros((1, 2)), reduction="none"), [[0.25 + 2.5e-7, -0.25 - 2.5e-7]], rtol=1e-14)


def containers(array, folder):
    """The same numbers, held otherwise."""
    frame = pd.Series if array.ndim == 1 else pd.DataFrame
    yield "list", array.tolist()
    yield "pandas", frame(array)
    yield "pandas, odd index", frame(array, index=range(len(array), 0, -1))
    yield "pandas nullable", frame(array).astype("Float64")
    read_only = array.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    mapped = np.memmap(folder / f"{len(list(folder.iterdir()))}", array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    yield "memory map", mapped
    packed = np.zeros(array.shape, dtype=[("pad", "i1"), ("value", array.dtype)])
    packed["value"] = array
    yield "unaligned", packed["value"]
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))


@each_loss
def test_containers(loss, tmp_path):
    for form in forms(loss):
        y, z = data(loss, 40, form=form)
        w = np.random.default_rng(0).random(40)
        expected = one_by_one(loss, y, z, sample_weight=w)
        for given in zip(*(containers(array, tmp_path) for array in (y, z, w)), strict=True):
            (name, y_given), (_, z_given), (_, w_given) = given
            try:
                assert_same_bits(one_by_one(loss, y_given, z_given, sample_weight=w_given), expected)
            except Exception as error:
                error.add_note(f"given as {name}")
                raise


@pytest.mark.parametrize("nullable", ["Int64", "Float64", "Int8", "UInt16"])
def test_nullable_labels(nullable):
    z = np.random.default_rng(0).normal(size=(3, 4))
    assert CE(pd.Series([1, 0, 3], dtype=nullable), z) == CE([1, 0, 3], z)
    with pytest.raises(TypeError, match=r"y_true.*\b2\b"):
        CE(pd.Series([1, 0, None], dtype=nullable), z)


@pytest.mark.parametrize("bad", [
    np.ma.array([0.0, 1.0], mask=[True, False]), np.array([0, 1j]), np.array([0, 1], object), np.array(["0", "1"]),
    [None, 1.0], np.array(["2020", "2021"], "M8[Y]"), pd.Series(["a", "b"]),
], ids=repr)
@pytest.mark.parametrize("argument", ["y_true", "y_pred", "sample_weight"])
def test_type_errors_of_inputs(argument, bad):
    arguments = {"y_true": [0, 1], "y_pred": np.zeros((2, 3)), "sample_weight": [1.0, 1.0]} | {argument: bad}
    with pytest.raises(TypeError, match=argument):
        CE.loss(**arguments)


@pytest.mark.parametrize(("given", "computed"), [
    (np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.int8, np.float64),
    (np.int64, np.float64), (np.uint32, np.float64), (bool, np.float64), (">f4", np.float32)])
@each_loss
def test_dtypes_in_and_out(loss, given, computed):
    for n_classes, form in itertools.product((4, 20), forms(loss)):
        y, z = data(loss, 70, n_classes, form=form)
        z = (z if np.issubdtype(np.dtype(given), np.floating) else np.abs(np.round(z)) % 2).astype(given)
        got = one_by_one(loss, y, z)
        assert all(value.dtype == computed for value in got.values())
        assert_same_bits(got, one_by_one(loss, y, z.astype(computed)))


def test_targets_and_weights_are_rounded_to_the_computing_dtype():
    y, z = soft_rows(50, C), np.random.default_rng(0).normal(size=(50, C)).astype(np.float32)
    w = np.random.default_rng(1).random(50)
    for loss in (CE, fl.KLDivergence(), fl.Brier()):
        assert_same_bits(one_by_one(loss, y, z, sample_weight=w), one_by_one(
            loss, y.astype(np.float32), z, sample_weight=w.astype(np.float32)))


# ---- layouts ---------------------------------------------------------------------------------------------------------


def layouts(array):
    """The same numbers in the same shape, lying otherwise in memory."""
    n = len(array)
    if array.ndim == 1:
        for step in (2, -1, -3):
            room = np.zeros(n * abs(step), array.dtype)
            room[::step] = array
            yield f"step {step}", room[::step]
        return
    yield "transposed", np.ascontiguousarray(array.T).T
    for rows, columns in ((2, 1), (1, 3), (2, 2), (-1, 1), (1, -1), (-3, -2)):
        for order in "CF":
            room = np.zeros((n * abs(rows), array.shape[1] * abs(columns)), array.dtype, order=order)
            room[::rows, ::columns] = array
            yield f"{order}, steps {rows}, {columns}", room[::rows, ::columns]


@pytest.mark.parametrize("shape", [(90, 5), (1, 40), (37, 17), (19, 70)])
@both_dtypes
@each_loss
def test_layouts_give_the_same_numbers(loss, dtype, shape):
    close = {"rtol": 4 * np.finfo(dtype).eps * (4 + shape[1] / 16), "atol": 16 * np.finfo(dtype).eps}
    for form in forms(loss):
        y, z = data(loss, *shape, dtype, form)
        w = np.random.default_rng(0).random(shape[0]).astype(dtype)
        expected = one_by_one(loss, y, z, sample_weight=w)
        ys, ws = itertools.cycle(list(layouts(y))), itertools.cycle(list(layouts(w)))
        for (name, z_laid), (y_name, y_laid), (_, w_laid) in zip(layouts(z), ys, ws, strict=False):
            for arrays in ((y, z_laid, w), (y_laid, z, w_laid), (y_laid, z_laid, w_laid)):
                got = one_by_one(loss, arrays[0], arrays[1], sample_weight=arrays[2])
                for output, value in expected.items():  # classes are summed in another order
                    assert_allclose(got[output], value, **close, err_msg=f"{name}, y {y_name}: {output}")


@each_loss
def test_strided_rows_have_the_bits_of_contiguous_ones(loss):
    # only the order of memory decides in which order classes are summed
    y, z = data(loss, 50, 20)
    for order in "CF":
        plain = np.asarray(z, order=order)
        expected = one_by_one(loss, y, plain)
        for name, laid in layouts(z):
            if name.startswith(order) and "-" not in name:
                assert_same_bits(one_by_one(loss, y, laid), expected)


@each_loss
def test_outputs_keep_the_order_of_y_pred(loss):
    for order, form in itertools.product("CF", forms(loss)):
        y, z = data(loss, 20, 3, form=form)
        given = np.asarray(z, order=order)
        strided = np.asarray(np.repeat(z, 2, axis=0), order=order)[::2]
        for view in (given, strided):
            got = one_by_one(loss, y, view)
            for name in ("gradient", "hessian"):
                assert got[name].flags.c_contiguous == (order == "C")
                assert got[name].flags.f_contiguous == (order == "F")


def test_scores_of_boosting_stand_by_class():
    # (C, n) arrays are taken as their transpose, and the gradient comes back as one
    scores = np.random.default_rng(0).normal(size=(4, 300))
    y = np.random.default_rng(1).integers(0, 4, 300)
    gradient, hessian = np.empty_like(scores), np.empty_like(scores)
    CE.gradient_hessian(y, scores.T, reduction="sum", gradient_out=gradient.T, hessian_out=hessian.T)
    expected = CE.gradient_hessian(y, np.ascontiguousarray(scores.T), reduction="sum")
    assert_allclose(gradient.T, expected[0], rtol=1e-14, atol=1e-16)
    assert_allclose(hessian.T, expected[1], rtol=1e-14)


def test_arrays_that_repeat_one_number_in_memory():
    y, z = np.broadcast_to(np.int64(1), (500,)), np.broadcast_to(np.arange(4.0), (500, 4))
    assert CE(y, z) == pytest.approx(CE([1], np.arange(4.0)[None]), rel=1e-14)
    assert_allclose(CE.gradient(y, z, reduction="none"), CE.gradient(np.ones(500), z.copy(), reduction="none"),
                    rtol=1e-14)
    z = np.broadcast_to(0.5, (500, 4))
    assert CE(y, z) == pytest.approx(np.log(4), rel=1e-14)


# ---- output arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "none"])
@both_dtypes
@each_method
@each_loss
def test_outputs_are_filled_and_returned(loss, method, dtype, reduction):
    for (n, n_classes), order in itertools.product(((70, 5), (30, 70)), "CF"):
        y, z = data(loss, n, n_classes, dtype)
        z = np.asarray(z, order=order)
        expected = call(loss, method, y, z, reduction=reduction)
        outputs = {f"{name}_out": np.full(n, nan, dtype) if name == "loss" else np.full_like(z, nan)
                   for name in METHODS[method] if name != "loss" or reduction == "none"}
        got = call(loss, method, y, z, reduction=reduction, **outputs)
        assert_same_bits(got, expected)
        for name, out in outputs.items():
            assert got[name.removesuffix("_out")] is out


@each_loss
def test_strided_outputs(loss):
    for n, n_classes in ((50, 5), (20, 70)):
        y, z = data(loss, n, n_classes)
        for name, room in layouts(np.zeros((n, n_classes))):
            given = np.asarray(z, order="F") if name[0] in "tF" else z
            expected = one_by_one(loss, y, given)
            for output in ("gradient", "hessian"):
                room[...] = nan
                got = one_by_one(loss, y, given, **{f"{output}_out": room})
                assert got[output] is room
                for other, value in expected.items():
                    assert_array_equal(got[other], value, err_msg=f"{name} {output}")
            losses = np.zeros(3 * n)
            one_by_one(loss, y, given, loss_out=losses[::-3])
            assert_array_equal(losses[::-3], expected["loss"])


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("output", ["gradient", "hessian"])
@both_dtypes
@each_loss
def test_an_output_may_be_y_pred_itself(loss, dtype, output, reduction):
    for (n, n_classes), form in itertools.product(((150, 5), (40, 70)), forms(loss)):
        y, z = data(loss, n, n_classes, dtype, form)
        w = np.random.default_rng(0).random(n)
        for name, view in [("contiguous", z.copy()), *layouts(z)]:
            expected = call(loss, "loss_gradient_hessian", y, view, sample_weight=w, reduction=reduction)
            got = call(loss, "loss_gradient_hessian", y, view, sample_weight=w, reduction=reduction, n_threads=2,
                       **{f"{output}_out": view})
            assert got[output] is view
            for other, value in expected.items():
                assert_allclose(got[other], value, rtol=1e-14 if dtype == np.float64 else 1e-6, err_msg=name)


def traced(function):
    """The peak of memory that NumPy and Python take during the call."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("order", ["C", "F"])
@each_loss
def test_a_training_loop_allocates_nothing_of_the_size_of_its_data(loss, order):
    n, n_classes = 200, 100
    y, z = data(loss, n, n_classes, form="rows")
    y, z = np.asarray(y, order=order), np.asarray(z, order=order)
    outputs = {f"{name}_out": np.zeros_like(z) for name in ("gradient", "hessian")} | {"loss_out": np.zeros(n)}
    loss.loss_gradient_hessian(y, z, reduction="none", **outputs)
    assert traced(lambda: loss.loss_gradient_hessian(y, z, reduction="none", **outputs)) < 8_000


def test_kernels_take_little_memory_of_their_own():
    # tracemalloc does not see what C allocates: the peak of the process does
    pytest.importorskip("resource", reason="this system does not report memory")
    code = """
import resource, sys, numpy as np, fastloss as fl
rng = np.random.default_rng(0)
shape = 2000, 1000  # 16 MB
z, gradient, hessian = rng.normal(size=shape), np.zeros(shape), np.zeros(shape)
y, rows, losses = rng.integers(0, 1000, 2000), np.full(shape, 0.001), np.zeros(2000)
indicators = np.zeros(shape)
indicators[:, :2] = 1
fl.CrossEntropy()([0], [[0.0, 1.0]])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
for name in ("brier", "cross_entropy", "earth_mover", "focal", "generalized_cross_entropy", "jensen_shannon",
             "kl_divergence", "multiclass_hinge", "multilabel_margin", "poly_cross_entropy"):
    loss = fl.get(name)
    for target in {"soft classes": (y, rows), "indicators": (indicators,)}.get(loss.target, (y,)):
        for order in (0, 1):
            a, g, h, t = ((v.reshape(shape[::-1]).T if order and v.ndim == 2 else v)
                          for v in (z, gradient, hessian, target))
            if loss.target == "indicators" and order:
                continue  # other numbers
            before = peak()
            loss.loss_gradient_hessian(t, a, reduction="none", n_threads=1, loss_out=losses, gradient_out=g,
                                       hessian_out=h)
            print(peak() - before, name, "CF"[order], t.shape)
"""
    lines = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True,
                           timeout=60).stdout.splitlines()
    assert len(lines) > 20
    for line in lines:
        assert int(line.split()[0]) < 2048, line  # KB


def test_class_weights_allocate_a_row_only():
    n, n_classes = 2000, 100
    y, z = row_targets(CE, n, n_classes), row_predictions(CE, n, n_classes)
    outputs = {"gradient_out": np.zeros_like(z)}
    for class_weight in ("balanced", np.ones(n_classes), {3: 2.0}):
        loss = fl.CrossEntropy(class_weight=class_weight)
        loss.loss_gradient(y, z, **outputs)
        assert traced(lambda loss=loss: loss.loss_gradient(y, z, **outputs)) < 200_000


def out_errors():
    n, k = 6, 3
    z = np.random.default_rng(0).normal(size=(n, k))
    y, w, shared = np.arange(n) % k, np.ones(n), np.zeros((n, k))
    room = np.zeros(n * k + 1)
    read_only = np.zeros((n, k))
    read_only.flags.writeable = False
    t = one_hot(y, k)
    return {
        "dtype": (TypeError, "gradient_out.*float32.*float64", y, z, {"gradient_out": np.zeros((n, k), np.float32)}),
        "float16": (TypeError, "gradient_out.*float16.*float32", y, z.astype(np.float16),
                    {"gradient_out": np.zeros((n, k), np.float16)}),
        "loss dtype": (TypeError, "loss_out.*float32.*float64", y, z, {"loss_out": np.zeros(n, np.float32)}),
        "list": (TypeError, "gradient_out.*list", y, z, {"gradient_out": z.tolist()}),
        "pandas": (TypeError, "hessian_out.*DataFrame", y, z, {"hessian_out": pd.DataFrame(z)}),
        "shape": (ValueError, r"gradient_out.*\(3, 6\).*\(6, 3\)", y, z, {"gradient_out": np.zeros((k, n))}),
        "loss shape": (ValueError, r"loss_out.*\(6, 3\).*\(6,\)", y, z, {"loss_out": np.zeros((n, k))}),
        "loss length": (ValueError, r"loss_out.*\(5,\).*\(6,\)", y, z, {"loss_out": np.zeros(n - 1)}),
        "read-only": (ValueError, "hessian_out.*read-only", y, z, {"hessian_out": read_only}),
        "order": (ValueError, "gradient_out.*order", y, z, {"gradient_out": np.zeros((n, k), order="F")}),
        "order F": (ValueError, "hessian_out.*order", y, np.asfortranarray(z), {"hessian_out": np.zeros((n, k))}),
        "self-overlap": (ValueError, "gradient_out.*overlap", y, z,
                         {"gradient_out": np.lib.stride_tricks.as_strided(np.zeros(n * k), (n, k), (8, 8))}),
        "reversed": (ValueError, "gradient_out overlaps y_pred", y, z, {"gradient_out": z[::-1]}),
        "shifted": (ValueError, "gradient_out overlaps y_pred", y, room[:-1].reshape(n, k),
                    {"gradient_out": room[1:].reshape(n, k)}),
        "y_true": (ValueError, "gradient_out overlaps y_true", t, z, {"gradient_out": t}),
        "sample_weight": (ValueError, "loss_out overlaps sample_weight", y, z, {"loss_out": w, "sample_weight": w}),
        "one for two": (ValueError, "overlaps", y, z, {"gradient_out": shared, "hessian_out": shared}),
        "y_pred for two": (ValueError, "overlaps", y, z, {"gradient_out": z, "hessian_out": z}),
        "loss in y_pred": (ValueError, "loss_out overlaps y_pred", y, z, {"loss_out": z[:, 0]}),
        "loss in gradient": (ValueError, "overlaps", y, z, {"loss_out": shared[:, 1], "gradient_out": shared}),
    }


@pytest.mark.parametrize("case", out_errors())
def test_errors_of_outputs(case):
    error, message, y, z, kwargs = out_errors()[case]
    with pytest.raises(error, match=message):
        CE.loss_gradient_hessian(y, z, reduction="none", **kwargs)


def test_loss_out_goes_with_none_only():
    for reduction in ("mean", "sum"):
        with pytest.raises(ValueError, match="loss_out"):
            CE([0], [[1.0, 2.0]], reduction=reduction, loss_out=np.zeros(1))


def test_inputs_are_never_changed():
    for loss in ROW_INSTANCES:
        for form in forms(loss):
            y, z = data(loss, 40, form=form)
            w = np.random.default_rng(0).random(40)
            before = [a.copy() for a in (y, z, w)]
            loss.loss_gradient_hessian(y, z, sample_weight=w)
            for array, kept in zip((y, z, w), before, strict=True):
                assert_array_equal(array, kept)


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("y", "z", "message"), [
    ((3,), (4, 2), r"y_true.*\(3,\).*y_pred.*\(4, 2\)"), ((3, 1), (3, 2), r"y_true.*\(3, 1\)"),
    ((2, 3), (3, 2), r"y_true.*\(2, 3\)"), ((3,), (3,), r"y_pred.*\(3,\)"), ((3,), (3, 1), r"y_pred.*\(3, 1\)"),
    ((), (2, 2), "y_true"), ((3, 1), (3, 1), "y_pred"), ((2, 2, 2), (2, 2, 2), "y_pred"), ((3,), (3, 0), "y_pred"),
    ((1,), (3, 2), r"y_true.*\(1,\)"), ((3, 2, 1), (3, 2), "y_true"),
])
@each_method
@each_loss
def test_shapes_must_match(loss, method, y, z, message):
    with pytest.raises(ValueError, match=message):
        call(loss, method, np.zeros(y), np.zeros(z))


@pytest.mark.parametrize("shape", [(), (1,), (2,), (6,), (3, 1), (1, 3), (3, 2)])
@each_loss
def test_shapes_of_sample_weight_must_match(loss, shape):
    y, z = data(loss, 3)
    with pytest.raises(ValueError, match=r"sample_weight has shape"):
        loss(y, z, sample_weight=np.ones(shape))


def test_labels_or_rows_where_the_loss_takes_none():
    z = np.zeros((3, 4))
    for loss in (fl.MultilabelMargin(), fl.KLDivergence(log_target=True)):
        with pytest.raises(ValueError, match=r"y_true.*\(3, 4\)"):
            loss([0, 1, 2], z)


@pytest.mark.parametrize("reduction", ["average", "Mean", "", None, 1, ["mean"]])
def test_bad_reduction(reduction):
    with pytest.raises(ValueError, match=r"reduction.*'mean', 'sum'.*'none'"):
        CE([0], [[1.0, 0.0]], reduction=reduction)


PARAMETERS = [
    *((type(loss), "inputs", ["logit", "probability", None, 1]) for loss in ROW_DEFAULTS
      if "inputs" in loss.get_params()),
    *((type(loss), "ignore_index", [1.5, "a", True, nan, [1], 2**53 + 1, -(2**60)]) for loss in INDEXED),
    (fl.CrossEntropy, "label_smoothing", [-0.1, 1.0, 2, nan, "0", None]),
    (fl.CrossEntropy, "z_loss", [-0.1, nan, inf, "0", None]),
    (fl.CrossEntropy, "logit_adjustment", [1.0, [[1.0, 2.0]], [nan, 1.0], [inf, 1.0], "a"]),
    (fl.CrossEntropy, "hessian", ["upper", None, 1]),
    (fl.CrossEntropy, "eps", [-0.1, 0.5, 1, nan, 1e-7]),  # with logits there is nothing to clip
    (fl.Focal, "gamma", [-1, -1e-9, nan, inf, "2", None]),
    (fl.Focal, "alpha", [-0.1, nan, inf, [1.0, -1.0], [[1.0, 2.0]], "a"]),
    (fl.MulticlassHinge, "variant", ["crammer", None, 1]), (fl.MulticlassHinge, "margin", [-1, nan, inf, None]),
    (fl.MulticlassHinge, "power", [0, 3, 1.5, nan, "1", None]),
    (fl.KLDivergence, "temperature", [0, -1.0, nan, inf, "1", None]), (fl.KLDivergence, "log_target", [0, 1, None]),
    (fl.EarthMover, "power", [0, 0.5, nan, inf, "1", None]),
    (fl.GeneralizedCrossEntropy, "q", [0, -0.5, 1.1, nan, "1", None]),
    (fl.PolyCrossEntropy, "epsilon", [-1.1, nan, inf, "1", None]),
]


@pytest.mark.parametrize(("cls", "name", "value"), [(c, n, v) for c, n, values in PARAMETERS for v in values],
                         ids=lambda v: v.__name__ if isinstance(v, type) else repr(v))
def test_bad_parameters(cls, name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        cls(**{name: value})


@pytest.mark.parametrize(("cls", "parameters", "message"), [
    *((fl.CrossEntropy, {"inputs": inputs, name: value}, name) for inputs in ("probabilities", "log_probabilities")
      for name, value in (("z_loss", 0.1), ("logit_adjustment", [1.0, 2.0]), ("hessian", "bound"))),
    (fl.CrossEntropy, {"inputs": "log_probabilities", "eps": 0.1}, "eps"),
    *((fl.KLDivergence, {"inputs": inputs, "temperature": 2.0}, "temperature")
      for inputs in ("probabilities", "log_probabilities")),
], ids=repr)
def test_parameters_that_do_not_go_together(cls, parameters, message):
    with pytest.raises(ValueError, match=message):
        cls(**parameters)


@pytest.mark.parametrize("loss", [fl.CrossEntropy(logit_adjustment=[0.0, 1.0, 2.0]), fl.Focal(alpha=[1.0, 2.0, 3.0])],
                         ids=repr)
def test_parameters_by_class_must_have_the_classes_of_y_pred(loss):
    name = "alpha" if isinstance(loss, fl.Focal) else "logit_adjustment"
    assert np.isfinite(loss([0, 1], np.zeros((2, 3))))
    for n_classes in (2, 4):
        with pytest.raises(ValueError, match=rf"{name}.*3.*{n_classes}"):
            loss([0, 1], np.zeros((2, n_classes)))


@pytest.mark.parametrize("method", ["loss", "loss_gradient_hessian"])
@pytest.mark.parametrize("bad", [-1.0, 5.0, 1.5, nan, inf, -inf, 1e300, -100.0])
@each_indexed
def test_bad_labels_are_named_for_every_n_threads(loss, bad, method):
    y, z = data(loss, 9000)
    y = y.astype(float)
    y[[701, 5000, 8999]] = bad
    for n_threads in (1, 2, 3, 8):
        for kwargs in ({}, {"sample_weight": np.arange(9000) != 701}, {"reduction": "none"}):  # even of weight 0
            with pytest.raises(ValueError, match=r"y_true\[701\] is .*0 to 4") as caught:
                getattr(loss, method)(y, z, n_threads=n_threads, **kwargs)
            assert re.search(re.escape(str(bad)), str(caught.value))


@pytest.mark.parametrize(("y", "message"), [
    (np.array([0, 255], np.uint8), r"y_true\[1\] is 255"), (np.array([1, 2**32]), r"y_true\[1\] is 4294967296"),
    (np.array([1, -128], np.int8), r"y_true\[1\] is -128"), (np.array([2**63, 1], np.uint64), r"y_true\[0\] is 9223"),
    (np.array([1, -2**63]), r"y_true\[1\] is -9223"), (np.array([1, 3]), r"y_true\[1\] is 3"),
    (np.array([2**53 + 1, 0]), r"y_true\[0\] is 9007199254740993"),
    (np.array([0, 0.5], np.float16), r"y_true\[1\] is 0.5"),
])
@pytest.mark.parametrize("class_weight", [None, "balanced", [1.0, 2.0, 3.0]], ids=str)
@each_indexed
def test_bad_labels_of_every_type(loss, y, message, class_weight):
    for dtype in (np.float32, np.float64):
        with pytest.raises(ValueError, match=message):
            with_class_weight(loss, class_weight)(y, np.full((2, 3), 0.3, dtype))


ROW_ERRORS = {
    "classes": [([1.0, 1.0, 0.0], ""), ([0.0, 0.0, 0.0], ""), ([0.5, 0.5, 0.0], ""), ([2.0, 0.0, 0.0], ""),
                ([-1.0, 1.0, 1.0], ""), ([nan, 1.0, 0.0], "")],
    "soft classes": [([1.5, -0.5, 0.0], r"\[0, 1\]"), ([0.5, 0.5, 0.5], "sum"), ([0.0, 0.0, 0.0], "sum"),
                     ([nan, 1.0, 0.0], ""), ([inf, 0.0, 0.0], ""), ([0.5, 0.4, 0.0], "sum")],
    "indicators": [([0.5, 1.0, 0.0], "0 or 1"), ([2.0, 0.0, 0.0], ""), ([-1.0, 1.0, 1.0], ""), ([nan, 1.0, 0.0], "")],
    "log classes": [([0.0, 0.0, -inf], ""), ([-inf] * 3, ""), ([0.1, -inf, -inf], ""), ([nan, 0.0, -inf], ""),
                    ([-1.0, -1.0, -1.0], "")],
}


@pytest.mark.parametrize("loss", [*ROW_DEFAULTS, fl.KLDivergence(log_target=True)], ids=repr)
def test_bad_rows_are_named(loss):
    for bad, message in ROW_ERRORS[loss.target]:
        y, z = data(loss, 3000, 3, form="rows")
        y[[123, 2000]] = bad
        for order, n_threads in itertools.product("CF", (1, 2, 5)):
            with pytest.raises(ValueError, match=rf"y_true\[123\b.*{message}"):
                loss(np.asarray(y, order=order), np.asarray(z, order=order), n_threads=n_threads)
            with pytest.raises(ValueError, match=r"y_true\[123\b"):
                loss(np.asarray(y, order=order), z, sample_weight=np.arange(3000) != 123)


def test_a_bad_entry_of_a_row_is_named():
    y = np.full((5, 4), 0.25)
    y[3] = [0.5, -0.25, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"y_true\[3, 1\] is -0\.25"):
        CE(y, np.zeros((5, 4)))


@both_dtypes
@pytest.mark.parametrize("n_classes", [4, 20, 100])
def test_entries_out_of_range_are_seen_wherever_they_are(n_classes, dtype):
    # in rows whose sum is right
    for c in range(n_classes):
        row = c % 21
        for bad, others in ((-0.25, 1.25 / (n_classes - 1)), (1 + np.finfo(dtype).eps, 0.0)):
            y = np.full((21, n_classes), 1 / n_classes, dtype)
            y[row] = others
            y[row, c] = bad
            with pytest.raises(ValueError, match=rf"y_true\[{row}, {c}\] is {y[row, c]}"):
                CE(y, np.zeros((21, n_classes), dtype))


def test_ignore_index_goes_with_labels_only():
    for loss in INDEXED:
        y, z = data(loss, 10, form="rows")
        with pytest.raises(ValueError, match="ignore_index"):
            with_class_weight(loss, None, ignore_index=-100)(y, z)
    with pytest.raises(ValueError, match="ignore_index"):
        fl.KLDivergence(log_target=True, ignore_index=1)


def test_other_labels_stay_errors_beside_an_ignored_one():
    loss = fl.CrossEntropy(ignore_index=-100)
    y = np.array([0, -100, 1, -1, -100])
    with pytest.raises(ValueError, match=r"y_true\[3\] is -1"):
        loss(y, np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"y_true\[1\] is -100"):
        fl.CrossEntropy(ignore_index=7)(y, np.zeros((5, 2)))


@each_method
@each_loss
def test_no_samples(loss, method):
    for form in forms(loss):
        y = np.zeros((0, 3) if form == "rows" else 0)
        z = np.zeros((0, 3), np.float32)
        with pytest.raises(ValueError, match="no samples"):
            call(loss, method, y, z)
        for reduction in ("sum", "none"):
            for name, value in call(loss, method, y, z, reduction=reduction).items():
                if name == "loss" and reduction == "sum":
                    assert value == 0.0 and type(value) is float
                else:
                    assert value.shape == ((0,) if name == "loss" else (0, 3)) and value.dtype == np.float32


@pytest.mark.parametrize(("n_threads", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError),
                                                  (True, TypeError)])
def test_bad_n_threads(n_threads, error):
    with pytest.raises(error, match="n_threads"):
        CE([0], [[1.0, 0.0]], n_threads=n_threads)


def test_options_are_keyword_only():
    with pytest.raises(TypeError):
        CE.loss([0], [[1.0, 0.0]], [1.0])
    with pytest.raises(TypeError):
        CE.gradient_proba([0], [[1.0, 0.0]], [1.0])


@pytest.mark.parametrize("loss", [fl.CrossEntropy(z_loss=1e300), fl.KLDivergence(1e-60), fl.Focal(1e90),
                                  fl.CrossEntropy(logit_adjustment=[1e300, 0.0]), fl.PolyCrossEntropy(1e60),
                                  fl.Focal(alpha=[1e-60, 1.0]), fl.MulticlassHinge(margin=1e60),
                                  fl.GeneralizedCrossEntropy(1e-60)], ids=repr)
def test_parameters_outside_float32_are_an_error_there_and_only_there(loss):
    with pytest.raises(ValueError, match=r"in float32"):
        loss([0], np.zeros((1, 2), np.float32))
    assert not np.isnan(loss([0], np.zeros((1, 2))))


# ---- numbers at the edges --------------------------------------------------------------------------------------------


@both_dtypes
@all_losses
def test_nan_fills_its_row_and_no_other(loss, dtype):
    for (n, n_classes), form in itertools.product(((60, 5), (20, 5)), forms(loss)):
        y, z = data(loss, n, n_classes, dtype, form)
        z[7, 0] = z[12, 3] = z[15] = nan
        expected = np.isin(np.arange(n), [7, 12, 15])
        for order in "CF":
            given = np.asarray(z, order=order)
            for method in METHODS:
                for name, value in call(loss, method, y, given, reduction="none").items():
                    rows = np.isnan(value) if name == "loss" else np.isnan(value).all(axis=1)
                    assert_array_equal(rows, expected)
                    assert np.isfinite(value[~expected]).all()
            assert np.isnan(loss(y, given))
            w = np.where(expected, 0.0, 2.0)
            for reduction in ("mean", "sum", "none"):
                got = call(loss, "loss_gradient_hessian", y, given, sample_weight=w, reduction=reduction)
                for name, value in got.items():
                    assert np.isfinite(value).all()
                    if name != "loss" or reduction == "none":
                        assert_array_equal(value[expected], 0)
                if reduction == "mean":
                    assert got["loss"] == pytest.approx(loss(y[~expected], z[~expected]), rel=1e-6)


MASKING = [loss for loss in INSTANCES if is_logits(loss) and loss.target != "indicators"
           and not isinstance(loss, fl.MulticlassHinge)]


@pytest.mark.parametrize("n_classes", [5, 70])
@both_dtypes
@pytest.mark.parametrize("loss", MASKING, ids=repr)
def test_masked_classes_are_as_if_not_there(loss, dtype, n_classes):
    parameters = loss.get_params()
    if any(isinstance(v, np.ndarray) for v in parameters.values()) or parameters.get("label_smoothing") or (
            isinstance(loss, fl.EarthMover) and loss.power < 2):
        pytest.skip("what belongs to a class, or to their number or a kink, goes with it")
    for form in forms(loss):
        small = n_classes // 2
        y, z = data(loss, 30, small, dtype, form)
        room = np.full((30, n_classes), -inf, dtype)
        kept = np.arange(small) * 2
        room[:, kept] = z
        if y.ndim == 2:
            t = np.full((30, n_classes), -inf if loss.target == "log classes" else 0.0)
            t[:, kept] = y
        else:
            t = kept[y]
        expected = one_by_one(loss, y, z)
        if isinstance(loss, fl.EarthMover):  # a masked class counts the distance to the next again
            expected["loss"] = None
        for order in "CF":
            got = one_by_one(loss, t, np.asarray(room, order=order))
            for output in ("gradient", "hessian"):
                assert_array_equal(np.delete(got[output], kept, axis=1), 0)
                if not isinstance(loss, fl.EarthMover):
                    assert_allclose(got[output][:, kept], expected[output], rtol=40 * np.finfo(dtype).eps,
                                    atol=4 * np.finfo(dtype).eps)
            if expected["loss"] is not None:
                assert_allclose(got["loss"], expected["loss"], rtol=40 * np.finfo(dtype).eps,
                                atol=4 * np.finfo(dtype).eps)


LIKELIHOODS = [CE, fl.CrossEntropy(label_smoothing=0.0, hessian="bound"), fl.PolyCrossEntropy(0.0), fl.Focal(0.0),
               fl.KLDivergence()]


@both_dtypes
@pytest.mark.parametrize("loss", LIKELIHOODS, ids=repr)
def test_infinite_scores(loss, dtype):
    def outputs(y, row):
        return [value[0].tolist() for value in one_by_one(loss, [y], np.array([row], dtype)).values()]

    for extra in ([], [-3.0] * 20):  # few and many classes
        m = len(extra)
        # the target is masked: the loss is inf, and the gradient -t
        value, gradient, _ = outputs(0, [-inf, 0.0, -inf, *[-inf] * m])
        assert value == inf and gradient == [-1, 1, 0, *[0] * m]
        # one +inf: its limit
        assert outputs(1, [0.0, inf, 2.0, *extra]) == [0, [0] * (3 + m), [0] * (3 + m)]
        assert outputs(0, [0.0, inf, 2.0, *extra])[:2] == [inf, [-1, 1, 0, *[0] * m]]
        assert outputs(1, [-inf, inf, -inf, *extra]) == [0, [0] * (3 + m), [0] * (3 + m)]
        for row in ([inf, inf, 0.0, *extra], [inf, 1.0, inf, *extra], [-inf] * (3 + m)):  # no limit
            for y in (0, 1):
                assert np.isnan(np.concatenate([np.ravel(v) for v in outputs(y, row)])).all()
        # a class with t = 0 at -inf: exactly nothing
        value, gradient, hessian = outputs(1, [-inf, 0.5, 0.5, *[-inf] * m])
        assert value == pytest.approx(np.log(2), rel=1e-6)
        assert gradient[0] == hessian[0] == 0 and gradient[1] == -0.5 and gradient[2] == 0.5


@both_dtypes
def test_infinite_scores_and_soft_targets(dtype):
    for loss in (CE, fl.KLDivergence()):
        t = np.array([[0.25, 0.75, 0.0]])
        got = one_by_one(loss, t, np.array([[-inf, 0.0, 1.0]], dtype))
        q = special.softmax([0.0, 1.0])
        assert got["loss"] == inf
        assert_allclose(got["gradient"], [[-0.25, q[0] - 0.75, q[1]]], rtol=1e-6)
        got = one_by_one(loss, t, np.array([[0.0, inf, 1.0]], dtype))
        assert got["loss"] == inf
        assert_allclose(got["gradient"], [[-0.25, 0.25, 0.0]])
        got = one_by_one(loss, t, np.array([[0.0, 0.0, -inf]], dtype))
        assert np.isfinite(got["loss"]).all() and got["gradient"][0, 2] == 0
    for loss in (fl.Brier(), fl.JensenShannon(), fl.EarthMover()):
        for row in ([-inf, 0.0, 1.0], [0.0, 0.0, inf], [-inf, -inf, 2.0]):
            got = one_by_one(loss, t, np.array([row], dtype))
            assert all(np.isfinite(value).all() for value in got.values()), (loss, row, got)
            assert_array_equal(got["gradient"][0, np.array(row) == -inf], 0)
        for row in ([-inf] * 3, [inf, inf, 0.0]):
            assert all(np.isnan(value).all() for value in one_by_one(loss, t, np.array([row], dtype)).values())


@both_dtypes
def test_infinite_scores_of_hinges(dtype):
    for variant in ("crammer_singer", "weston_watkins"):
        loss = fl.MulticlassHinge(variant)
        got = one_by_one(loss, [0, 1, 0], np.array([[inf, 0, 0], [0, -inf, -inf], [0, -inf, -inf]], dtype))
        assert got["loss"][0] == 0 and got["loss"][2] == 0
        assert_array_equal(got["gradient"][[0, 2]], 0)
        assert got["loss"][1] == inf or np.isnan(got["loss"][1])  # -inf - -inf has no limit


@both_dtypes
def test_huge_and_tiny_scores(dtype):
    half = float(np.finfo(dtype).max) / 2
    tiny = float(np.finfo(dtype).smallest_subnormal)
    got = one_by_one(CE, [0, 0, 1, 0], np.array([[half, -half], [-half, half], [-half, half], [tiny, -tiny]], dtype))
    assert_allclose(got["loss"], [0, 2 * half, 0, np.log(2)], rtol=1e-6)
    assert_array_equal(got["gradient"], [[0, 0], [-1, 1], [0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize("inputs", ["probabilities", "log_probabilities"])
def test_predictions_outside_their_domain_fill_their_row_with_nan(inputs):
    bad = {"probabilities": (-1e-300, -0.5, np.nextafter(1, 2), inf, -inf),
           "log_probabilities": (1e-300, 0.5, inf)}[inputs]
    for loss in (loss for loss in ROW_INSTANCES if loss.get_params().get("inputs") == inputs):
        for number, form, order in itertools.product(bad, forms(loss), "CF"):
            y, z = data(loss, 20, form=form)
            z[4, 2] = z[11, 0] = number
            for value in one_by_one(loss, y, np.asarray(z, order=order)).values():
                rows = np.isnan(value).reshape(20, -1)
                assert_array_equal(rows.all(axis=1), np.isin(np.arange(20), [4, 11]))
                assert_array_equal(rows.any(axis=1), np.isin(np.arange(20), [4, 11]))


@both_dtypes
def test_probabilities_of_0_and_1(dtype):
    def outputs(loss, y, row):
        return [value[0].tolist() for value in one_by_one(loss, [y], np.array([row], dtype)).values()]

    for loss in (fl.CrossEntropy("probabilities"), fl.Focal(0.0, inputs="probabilities"),
                 fl.PolyCrossEntropy(0.0, "probabilities"), fl.KLDivergence(inputs="probabilities")):
        assert outputs(loss, 0, [1.0, 0.0]) == [0, [-1, 0], [1, 0]]
        assert outputs(loss, 1, [1.0, 0.0]) == [inf, [0, -inf], [0, inf]]
    assert outputs(fl.CrossEntropy("probabilities"), [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]) == [inf, [-1, -inf, 0],
                                                                                       [2, inf, 0]]
    clipped = fl.CrossEntropy("probabilities", eps=0.125)
    for y, expected in (([0.5, 0.5, 0.0], [0, -1, 0]), ([0.0, 0.5, 0.5], [0, -1, 0])):
        value, gradient, hessian = outputs(clipped, y, [0.0, 0.5, 0.0625])
        assert value == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(8), rel=1e-6)
        assert gradient == expected and hessian == [0, 2, 0]
    log = fl.CrossEntropy("log_probabilities")
    assert outputs(log, 0, [0.0, -inf]) == [0, [-1, 0], [0, 0]]
    assert outputs(log, 1, [0.0, -inf]) == [inf, [0, -1], [0, 0]]
    assert outputs(fl.JensenShannon("probabilities"), 0, [1.0, 0.0])[0] == pytest.approx(0, abs=1e-12)
    assert outputs(fl.JensenShannon("probabilities"), 0, [0.0, 1.0])[0] == pytest.approx(np.log(2), rel=1e-6)
    assert outputs(fl.Brier("probabilities"), 0, [0.0, 1.0]) == [2, [-2, 2], [2, 2]]


@each_indexed
def test_all_ignored_is_no_error(loss):
    loss = with_class_weight(loss, CLASS_WEIGHT, ignore_index=-1)
    z = row_predictions(loss, 30, C)
    z[3] = nan
    for n, weight in ((30, None), (30, np.ones(30)), (1, None)):
        y = np.full(n, -1)
        w = None if weight is None else weight[:n]
        for reduction in ("mean", "sum", "none"):
            got = call(loss, "loss_gradient_hessian", y, z[:n], sample_weight=w, reduction=reduction)
            assert not any(np.any(value) for value in got.values())
            if reduction != "none":
                assert got["loss"] == 0.0 and type(got["loss"]) is float
    assert with_class_weight(loss, "balanced")(np.full(30, -1), z) == 0.0


def test_ignored_labels_of_every_type():
    z = np.random.default_rng(0).normal(size=(4, 3))
    for number, ignored in itertools.product(NUMBERS[1:], (-100, 2, 100)):
        kind = np.dtype(number)
        if ignored < 0 and kind.kind == "u":
            continue
        y = np.array([0, ignored, 1, 0]).astype(number)
        loss = fl.CrossEntropy(ignore_index=ignored)
        assert loss(y, z) == pytest.approx(CE([0, 1, 0], z[[0, 2, 3]]), rel=1e-14)
    # what an unsigned type cannot hold is not there
    assert fl.CrossEntropy(ignore_index=-1)(np.array([0, 1], np.uint8), z[:2]) == CE([0, 1], z[:2])
    with pytest.raises(ValueError, match=r"y_true\[1\] is 255"):
        fl.CrossEntropy(ignore_index=-1)(np.array([0, 255], np.uint8), z[:2])
    assert fl.CrossEntropy(ignore_index=255)(np.array([0, 255], np.uint8), z[:2]) == CE([0], z[:1])


@both_dtypes
def test_the_mean_of_huge_losses_is_finite(dtype):
    huge = np.finfo(dtype).max / 4
    z = np.array([[-huge, huge]] * 8, dtype)
    value, gradient = CE.loss_gradient(np.zeros(8), z)
    assert value == pytest.approx(2 * float(huge), rel=1e-6)
    assert_allclose(gradient, [[-1 / 8, 1 / 8]] * 8)


def test_gradients_of_a_mean_are_not_flushed():
    z = np.array([[-740.0, 0.0], [0.0, 0.0]])
    # exp(-740)/2 = 2.10e-322, and the subnormal numbers are 4.94e-324 apart
    assert abs(CE.gradient([1, 0], z)[0, 0] - 2.0944e-322) <= 4.94e-324


# ---- threads and sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4099, 3), (701, 17), (300, 100), (4500, 2)])
@each_loss
def test_same_bits_for_every_number_of_threads(loss, shape):
    for form, order in itertools.product(forms(loss), "CF"):
        y, z = data(loss, *shape, form=form)
        if loss.target == "indicators":
            y[:, 3:] = 0  # which costs by the number of pairs
        z, w = np.asarray(z, order=order), np.random.default_rng(0).random(shape[0])
        for reduction, weight in (("mean", w), ("none", None), ("mean", None)):
            expected = call(loss, "loss_gradient_hessian", y, z, sample_weight=weight, reduction=reduction, n_threads=1)
            for n_threads in ((2, 3, 5, 8) if reduction == "mean" else (4,)):
                assert_same_bits(call(loss, "loss_gradient_hessian", y, z, sample_weight=weight, reduction=reduction,
                                      n_threads=n_threads), expected)


def test_same_bits_for_1_to_8_threads_and_run_after_run():
    y, z = data(CE, 20_000, 10)
    loss = fl.CrossEntropy(class_weight="balanced", label_smoothing=0.1)
    expected = call(loss, "loss_gradient", y, z, n_threads=1)
    for n_threads in (*range(1, 9), 1000, None):
        assert_same_bits(call(loss, "loss_gradient", y, z, n_threads=n_threads), expected)
    code = ("import fastloss as fl, numpy as np; z = np.random.default_rng(0).normal(size=(20_000, 7));"
            "v, g = fl.JensenShannon().loss_gradient(np.arange(20_000) % 7, z); print(v.hex(), hash(g.tobytes()))")
    printed = {subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True, timeout=60,
                              env=os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": n}).stdout for n in "12"}
    assert len(printed) == 1


def test_concurrent_calls_from_many_python_threads():
    losses = ROW_DEFAULTS * 2
    arguments = [data(loss, 2000, 4) for loss in losses]
    expected = [call(loss, "loss_gradient_hessian", *a) for loss, a in zip(losses, arguments, strict=True)]

    def work(i):
        for _ in range(3):
            assert_same_bits(call(losses[i], "loss_gradient_hessian", *arguments[i], n_threads=2), expected[i])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(len(losses))))


@pytest.mark.parametrize("n_classes", [2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 129])
@each_loss
def test_every_number_of_classes(loss, n_classes):
    for n, order, form in itertools.product((1, 15, 16, 18), "CF", forms(loss)):
        y, z = data(loss, n, n_classes, form=form)
        z[:, ::3] -= 5 if is_logits(loss) or loss.inputs == "log_probabilities" else 0
        got = one_by_one(loss, y, np.asarray(z, order=order))
        pair = [one_by_one(loss, y[i:i + 1], z[i:i + 1]) for i in range(n)]
        for output, value in got.items():
            assert_allclose(value, np.concatenate([p[output] for p in pair]), rtol=1e-12, atol=1e-14)


def test_very_many_classes():
    n_classes = 100_003
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, (3, n_classes))
    y = np.array([0, n_classes - 1, 50_000])
    for order in "CF":
        given = np.asarray(z, order=order)
        value, gradient, hessian = one_by_one(CE, y, given).values()
        q = special.softmax(z, axis=1)
        assert_allclose(value, -special.log_softmax(z, axis=1)[np.arange(3), y], rtol=1e-12)
        assert_allclose(gradient, q - one_hot(y, n_classes), rtol=1e-11, atol=1e-15)
        assert_allclose(hessian, q * (1 - q), rtol=1e-11)
        assert_allclose(fl.EarthMover()(y, given, reduction="none"),
                        (np.cumsum(q - one_hot(y, n_classes), axis=1) ** 2).sum(axis=1), rtol=1e-9)
        assert_allclose(fl.MulticlassHinge("weston_watkins")(y, given, reduction="none"),
                        (1 + z - z[np.arange(3), y][:, None]).clip(0).sum(axis=1) - 1, rtol=1e-12)
        assert_allclose(fl.KLDivergence()(q, given - 0.5, reduction="none"), 0, atol=1e-11)
    with pytest.raises(ValueError, match=r"y_true\[1\] is 100003"):
        CE([0, n_classes, 1], z)


# ---- objects ---------------------------------------------------------------------------------------------------------

OBJECTS = [*INSTANCES, fl.CrossEntropy(class_weight={0: 0.5, 4: 2.0}), fl.CrossEntropy(class_weight="balanced"),
           fl.Focal(class_weight=CLASS_WEIGHT), fl.Brier(class_weight=[1, 2, 3, 4, 5]),
           fl.CrossEntropy(ignore_index=-100), fl.MulticlassHinge(ignore_index=3),
           fl.KLDivergence(class_weight=CLASS_WEIGHT)]


@pytest.mark.parametrize("loss", OBJECTS, ids=repr)
def test_objects(loss):
    for name in (*loss.get_params(), "something"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(loss, name, 1)
    assert not hasattr(loss, "__dict__")
    y, z = data(loss, 30)
    names = {"inf": inf, "nan": nan, **vars(fl)}
    copies = [copy.copy(loss), copy.deepcopy(loss), eval(repr(loss), names), clone(loss, safe=False),
              type(loss)(**loss.get_params())]
    copies += [pickle.loads(pickle.dumps(loss, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert type(other) is type(loss) and other(y, z) == loss(y, z)
        assert other == loss and hash(other) == hash(loss) and repr(other) == repr(loss)
    assert [other for other in OBJECTS if other == loss] == [loss]


def test_representations():
    assert repr(CE) == "CrossEntropy()"
    assert repr(fl.Focal(1.5, alpha=[1, 2])) == "Focal(gamma=1.5, alpha=[1.0, 2.0])"
    assert repr(fl.CrossEntropy(ignore_index=-100, class_weight={1: 2})) == (
        "CrossEntropy(class_weight={1: 2.0}, ignore_index=-100)")
    assert fl.EarthMover(2) == fl.EarthMover(2.0) and fl.Focal(2) == fl.Focal() == fl.get("focal")
    assert fl.MulticlassHinge(power=2.0) == fl.MulticlassHinge(power=2)


def test_what_a_caller_changes_later_does_not_change_the_loss():
    y, z = [1], [[0.5, 0.25]]
    for make, mutable in ((lambda v: fl.CrossEntropy(class_weight=v), np.array([1.0, 2.0])),
                          (lambda v: fl.CrossEntropy(class_weight=v), {0: 1.0, 1: 2.0}),
                          (lambda v: fl.CrossEntropy(logit_adjustment=v), np.array([1.0, 2.0])),
                          (lambda v: fl.Focal(alpha=v), [1.0, 2.0])):
        loss = make(mutable)
        value, text, number = loss(y, z, reduction="sum"), repr(loss), hash(loss)
        mutable[1] = 0.75
        assert (loss(y, z, reduction="sum"), repr(loss), hash(loss)) == (value, text, number)
