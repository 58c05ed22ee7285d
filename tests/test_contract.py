"""The contract that all losses share: methods, reductions, weights, targets, dtypes, layouts, outputs, errors.

What single losses promise is in the file of their family; numbers at the edges are in test_edges.py.
"""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastloss as fl
from calls import assert_same_bits, both_dtypes, call, each_method, one_by_one, with_class_weight
from reference import DEFAULTS, INSTANCES, METHODS, is_binary, label, predictions, targets

CLASSIFIERS = [loss for loss in DEFAULTS if is_binary(loss)]
CLASS_WEIGHT = {0: 0.5, 1: 3.0}

all_losses = pytest.mark.parametrize("loss", INSTANCES, ids=repr)
each_loss = pytest.mark.parametrize("loss", DEFAULTS, ids=repr)
classifiers = pytest.mark.parametrize("loss", CLASSIFIERS, ids=repr)
MSE = fl.SquaredError()
BCE = fl.BinaryCrossEntropy()


def data(loss, shape, dtype=np.float64):
    n = int(np.prod(shape))
    return targets(loss, n).reshape(shape), predictions(loss, n, dtype).reshape(shape)


# Beyond the ranges in which exponentials and powers are computed the short way; the last ones give infinite losses.
EXTREME = (np.nan, 800.0, -800.0, 1e30, -1e30, np.inf, -np.inf)


@both_dtypes
@all_losses
def test_an_extreme_sample_changes_nothing_beside_it(loss, dtype):
    # the mean of infinite losses is computed once more, which must leave gradients as they are
    y, z = data(loss, (48,), dtype)
    w = np.full(48, 2.0)
    w[7] = 0
    for extreme in EXTREME:
        far = z.copy()
        far[[5, 7]] = extreme
        got = call(loss, "loss_gradient_hessian", y, far, sample_weight=w)
        assert_same_bits(got, call(loss, "gradient_hessian", y, far, sample_weight=w))
        assert got["gradient"][7] == got["hessian"][7] == 0
        for name, value in call(loss, "gradient_hessian", y, z, sample_weight=w).items():
            beside = np.arange(48) % 48 != 5
            assert_array_equal(got[name][beside], value[beside])


# ---- methods and reductions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@each_method
@each_loss
def test_what_methods_return(loss, method, reduction):
    for shape in ((1,), (7,), (600,), (5000,), (40, 3), (1, 5), (700, 1)):
        y, z = data(loss, shape)
        for name, value in call(loss, method, y, z, reduction=reduction).items():
            if name == "loss" and reduction != "none":
                assert type(value) is float
            else:
                assert type(value) is np.ndarray and value.shape == shape and value.dtype == z.dtype
                assert value.flags.writeable and value.flags.owndata


@each_loss
def test_calling_a_loss_is_its_mean(loss):
    y, z = data(loss, (50,))
    assert loss(y, z) == loss.loss(y, z) == loss.loss(y, z, reduction="mean")


@pytest.mark.parametrize("weights", [None, "sample", "element"])
@pytest.mark.parametrize("shape", [(900,), (300, 3)])
@both_dtypes
@all_losses
def test_reductions_and_weights(loss, dtype, shape, weights):
    y, z = data(loss, shape, dtype)
    rng = np.random.default_rng(5)
    sample_weight = {None: None, "sample": rng.normal(2, 1, shape[0]), "element": rng.normal(2, 1, shape)}[weights]
    w = np.ones(shape) if sample_weight is None else sample_weight.astype(dtype).astype(np.float64)
    w = np.broadcast_to(w[:, None] if w.ndim < len(shape) else w, shape)
    plain = {name: value.astype(np.float64) for name, value in one_by_one(loss, y, z).items()}
    close = {"rtol": 8 * np.finfo(dtype).eps, "atol": 2 * np.finfo(dtype).smallest_subnormal}
    for method in METHODS:
        for reduction, scale in (("none", 1.0), ("sum", 1.0), ("mean", 1 / w.sum())):
            got = call(loss, method, y, z, sample_weight=sample_weight, reduction=reduction)
            for name, value in got.items():
                expected = w * plain[name] * scale
                if name == "loss" and reduction != "none":
                    assert value == pytest.approx(expected.sum(), rel=1e-12, abs=1e-13 * np.abs(expected).sum())
                else:
                    assert_allclose(value, expected, **close, err_msg=f"{method} {reduction} {name}")


@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@all_losses
def test_gradients_are_derivatives_of_the_value(loss, reduction, class_weight):
    if class_weight and "class_weight" not in loss.get_params():
        pytest.skip("regression has no classes")
    loss = with_class_weight(loss, class_weight) if class_weight else loss
    y, z = data(loss, (6, 2))
    options = {"sample_weight": np.array([1.0, 0.5, 2.0, 0.0, 3.0, -0.2]), "reduction": reduction}
    value, gradient, hessian = loss.loss_gradient_hessian(y, z, **options)
    step = 1e-6
    for index in np.ndindex(z.shape):
        low, high = z.copy(), z.copy()
        low[index] -= step
        high[index] += step
        width = high[index] - low[index]
        slope = (loss(y, high, **options) - loss(y, low, **options)) / width
        curve = (loss.gradient(y, high, **options) - loss.gradient(y, low, **options))[index] / width
        # a difference of large numbers loses digits: 1e-10 of them, divided by the step
        assert slope == pytest.approx(gradient[index], rel=1e-5, abs=1e-7 + 1e-9 * abs(value))
        assert curve == pytest.approx(hessian[index], rel=1e-5, abs=1e-7 + 1e-9 * abs(gradient[index]))


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [list, tuple, pd.Series, np.float32, np.float16, np.int64, np.uint8, bool])
def test_forms_of_sample_weight(form):
    y, z = data(BCE, (30,))
    w = np.arange(30) % 2
    given = w.astype(form) if isinstance(form, type) and issubclass(form, (np.generic, bool)) else form(w)
    assert_same_bits(call(BCE, "loss_gradient", y, z, sample_weight=given),
                     call(BCE, "loss_gradient", y, z, sample_weight=w.astype(np.float64)))


@each_loss
def test_integer_weights_are_repetitions(loss):
    y, z = data(loss, (40,))
    w = np.random.default_rng(0).integers(0, 4, 40)
    repeated = loss(np.repeat(y, w), np.repeat(z, w))
    assert loss(y, z, sample_weight=w) == pytest.approx(repeated, rel=1e-14)


def test_negative_sample_weights_are_allowed():
    assert MSE([0.0, 0.0], [1.0, 2.0], sample_weight=[-1.0, 2.0]) == 7.0
    assert MSE([0.0, 0.0], [1.0, 2.0], sample_weight=[-1.0, -2.0], reduction="sum") == -9.0


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e250, 1e300])
def test_extreme_weights_of_one_scale_cancel_in_the_mean(unit):
    y, z = data(BCE, (100,))
    w = np.random.default_rng(0).random(100)
    expected = call(BCE, "loss_gradient", y, z, sample_weight=w)
    got = call(BCE, "loss_gradient", y, z, sample_weight=w * unit)
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-13)
    assert_allclose(got["gradient"], expected["gradient"], rtol=1e-13)


def soft_weight(y, pair):
    return (1 - y) * pair[..., 0] + y * pair[..., 1]


@pytest.mark.parametrize("class_weight", [
    CLASS_WEIGHT, {-1: 0.5, 1: 3.0}, [0.5, 3.0], (0.5, 3), np.array([0.5, 3.0]), np.array([0.5, 3.0], np.float32),
    {1: 3.0}, {0: 0.5}, {-1: 0}, {}, {False: 0.5, True: 3.0}, {np.int64(1): 3.0}, {1.0: 3.0},
], ids=repr)
@classifiers
def test_class_weights_weigh_samples(loss, class_weight):
    y, z = data(loss, (200,))
    pair = class_weight
    if isinstance(class_weight, dict):
        pair = [class_weight.get(0, class_weight.get(-1, 1)), class_weight.get(1, 1)]
    w = soft_weight(y, np.asarray(pair, np.float64))
    sample_weight = np.random.default_rng(2).random(200)
    weighted = with_class_weight(loss, class_weight)
    for own in (None, sample_weight):
        both = w if own is None else w * own
        for reduction in ("mean", "sum", "none"):
            got = call(weighted, "loss_gradient_hessian", y, z, sample_weight=own, reduction=reduction)
            expected = call(loss, "loss_gradient_hessian", y, z, sample_weight=both, reduction=reduction)
            for name in expected:
                assert_allclose(got[name], expected[name], rtol=1e-14)


@pytest.mark.parametrize("order", ["C", "F"])
@classifiers
def test_class_weights_by_column(loss, order):
    y, z = data(loss, (700, 3))
    pairs = np.array([[1.0, 2.0], [0.0, 1.0], [0.3, 7.0]])
    got = one_by_one(with_class_weight(loss, pairs), y, np.asarray(z, order=order))
    expected = one_by_one(loss, y, z, sample_weight=soft_weight(y, pairs))
    for name in expected:
        assert_allclose(got[name], expected[name], rtol=1e-14)


def balanced(y):
    """N / (2·N_c), where a class that is not there weighs 1."""
    counts = np.array([(1 - y).sum(axis=0), y.sum(axis=0)]).T
    return np.where(counts > 0, len(y) / (2 * np.where(counts > 0, counts, 1)), 1)


@pytest.mark.parametrize("shape", [(5000,), (400, 3), (1,)])
@classifiers
def test_balanced_class_weights_of_the_call(loss, shape):
    y, z = data(loss, shape)
    y = np.where(np.random.default_rng(0).random(shape) < 0.7, 0, y)
    got = one_by_one(with_class_weight(loss, "balanced"), y, z, sample_weight=np.arange(1.0, shape[0] + 1))
    expected = one_by_one(with_class_weight(loss, balanced(y)), y, z, sample_weight=np.arange(1.0, shape[0] + 1))
    for name in expected:
        assert_allclose(got[name], expected[name], rtol=1e-12)


@classifiers
def test_balanced_with_hard_labels_is_class_weights_of_them(loss):
    y, z = data(loss, (300,))
    y = np.round(y)
    assert with_class_weight(loss, "balanced")(y, z) == pytest.approx(
        with_class_weight(loss, fl.class_weights(y))(y, z), rel=1e-14)
    # -1 and 1 are the same classes
    assert with_class_weight(loss, "balanced")(y, z) == with_class_weight(loss, "balanced")(2 * y - 1, z)


@classifiers
def test_dynamic_class_weights_follow_their_object(loss):
    y, z = data(loss, (300,))
    weight = fl.DynamicClassWeight(2, momentum=0.5)
    moving = with_class_weight(loss, weight)
    assert moving(y, z) == pytest.approx(loss(y, z), rel=1e-14)  # 1/C each at first
    weight.update([0, 0, 0, 1])
    assert_allclose(weight.frequencies, [0.625, 0.375])
    assert moving(y, z) == pytest.approx(with_class_weight(loss, [0.8, 4 / 3])(y, z), rel=1e-14)
    moving(y, z)
    assert_allclose(weight.frequencies, [0.625, 0.375])  # a call updates nothing


def test_class_weights_of_a_data_set():
    assert_allclose(fl.class_weights([0, 0, 0, 1]), [2 / 3, 2])
    assert_allclose(fl.class_weights([-1, -1, -1, 1]), [2 / 3, 2])
    assert_allclose(fl.class_weights([True, False, True, True]), [2, 2 / 3])
    assert_allclose(fl.class_weights([0, 2, 2], n_classes=4), [3 / 4, 1, 3 / 8, 1])
    beta, counts = 0.9, np.array([3, 1])
    expected = (1 - beta) / (1 - beta**counts)
    got = fl.class_weights([0, 0, 0, 1], "effective_number", beta=beta)
    assert_allclose(got, expected * 2 / expected.sum())
    assert got.sum() == pytest.approx(2)


@pytest.mark.parametrize(("y", "message"), [
    ([0, 0.5], r"y\[1\] is 0.5"), ([0, -2], r"y\[1\] is -2"), ([1, np.nan], r"y\[1\] is nan"),
    ([-1, 0, 1], r"y\[1\] is 0"), ([[0, 1]], r"\(n,\)"), ([0, 3], r"y\[1\] is 3"),
])
def test_errors_of_class_weights(y, message):
    with pytest.raises(ValueError, match=message):
        fl.class_weights(y, n_classes=2)
    with pytest.raises(ValueError, match=message):
        fl.DynamicClassWeight(2).update(y)


# ---- targets and other inputs ----------------------------------------------------------------------------------------

NUMBERS = [bool, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
           np.float16, np.float32, np.float64, np.longdouble, ">f8", ">i4"]


@pytest.mark.parametrize("number", NUMBERS, ids=str)
@each_loss
def test_targets_of_every_dtype(loss, number):
    y, z = data(loss, (1500,))
    y = (np.round(y) if is_binary(loss) else label(loss, np.arange(1500) % 2)).astype(number)
    assert_same_bits(one_by_one(loss, y, z), one_by_one(loss, y.astype(np.float64), z))


@classifiers
def test_forms_of_binary_labels(loss):
    y, z = data(loss, (100,))
    y = np.round(y)
    expected = one_by_one(loss, y, z)
    for labels in (y == 1, 2 * y - 1, (2 * y - 1).astype(np.int8), y.astype(np.uint8), np.where(y == 0, -0.0, y)):
        assert_same_bits(one_by_one(loss, labels, z), expected)


def containers(array, folder):
    """The same numbers, held otherwise."""
    yield "list", array.tolist()
    yield "pandas", (pd.Series if array.ndim == 1 else pd.DataFrame)(array)
    yield "pandas, odd index", (pd.Series if array.ndim == 1 else pd.DataFrame)(array, index=range(len(array), 0, -1))
    yield "pandas nullable", (pd.Series if array.ndim == 1 else pd.DataFrame)(array).astype("Float64")
    if array.ndim == 1:
        yield "pandas array", pd.array(array, dtype="Float64")
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


@pytest.mark.parametrize("shape", [(60,), (20, 3)])
@each_loss
def test_containers(loss, shape, tmp_path):
    y, z = data(loss, shape)
    w = np.random.default_rng(0).random(shape)
    expected = one_by_one(loss, y, z, sample_weight=w)
    for given in zip(*(containers(array, tmp_path) for array in (y, z, w)), strict=True):
        (name, y_given), (_, z_given), (_, w_given) = given
        try:
            assert_same_bits(one_by_one(loss, y_given, z_given, sample_weight=w_given), expected)
        except Exception as error:
            error.add_note(f"given as {name}")
            raise


@pytest.mark.parametrize("nullable", ["Int64", "boolean", "Float64", "Int8", "UInt16"])
def test_nullable_labels(nullable):
    z = [0.5, -1.0, 2.0]
    assert BCE(pd.Series([1, 0, 1], dtype=nullable), z) == BCE([1, 0, 1], z)
    for argument, args in {
        "y_true": (pd.Series([1, 0, None], dtype=nullable), z, None),
        "y_pred": ([1, 0, 1], pd.Series([1, 0, None], dtype=nullable), None),
        "sample_weight": ([1, 0, 1], z, pd.Series([1, 0, None], dtype=nullable)),
    }.items():
        with pytest.raises(TypeError, match=rf"{argument}.*\b2\b"):
            BCE(args[0], args[1], sample_weight=args[2])


@pytest.mark.parametrize("bad", [
    np.ma.array([0.0, 1.0], mask=[True, False]), np.ma.array([0.0, 1.0]), np.array([0, 1j]), np.array([0, 1], object),
    np.array(["0", "1"]), ["0", "1"], [None, 1.0], [0, 1j], np.array(["2020", "2021"], "M8[Y]"),
    np.array([1, 2], "m8[s]"), pd.Series(["a", "b"]), pd.Series([True, None], dtype=object),
], ids=repr)
@pytest.mark.parametrize("argument", ["y_true", "y_pred", "sample_weight"])
def test_type_errors_of_inputs(argument, bad):
    arguments = {"y_true": [0, 1], "y_pred": [0.5, 0.5], "sample_weight": [1.0, 1.0]} | {argument: bad}
    with pytest.raises(TypeError, match=argument):
        BCE.loss(**arguments)


# ---- dtypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "computed"), [
    (np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.int8, np.float64),
    (np.int64, np.float64), (np.uint32, np.float64), (bool, np.float64)])
@each_loss
def test_dtypes_in_and_out(loss, given, computed):
    y, z = data(loss, (300,))
    z = (z if np.issubdtype(given, np.floating) else np.abs(np.round(z)) % 2).astype(given)
    got = one_by_one(loss, y, z)
    assert all(value.dtype == computed for value in got.values())
    # targets are rounded to the computing dtype, whatever theirs
    assert_same_bits(got, one_by_one(loss, y.astype(computed), z.astype(computed)))


def test_every_float16_is_read_rightly():
    z = np.arange(2**16, dtype=np.uint16).view(np.float16)
    got = fl.AbsoluteError()(np.zeros(len(z)), z, reduction="none")
    assert_array_equal(got, np.abs(z).astype(np.float32))


def test_large_integers_are_rounded_once():
    z = np.array([2**62 + 1, -(2**63) + 5, 2**53 + 1])
    assert_array_equal(fl.AbsoluteError()(np.zeros(3), z, reduction="none"), np.abs(z.astype(np.float64)))
    y = np.array([2**64 - 1, 2**24 + 1], np.uint64)
    got = fl.AbsoluteError()(y, np.zeros(2, np.float32), reduction="none")
    assert_array_equal(got, y.astype(np.float32))


# ---- layouts ---------------------------------------------------------------------------------------------------------


def layouts(array):
    """The same numbers in the same shape, lying otherwise in memory."""
    n = array.shape[0]
    if array.ndim == 1:
        for step in (2, 3, -1, -2):
            room = np.zeros(n * abs(step), array.dtype)
            room[::step] = array
            yield f"step {step}", room[::step]
        records = np.zeros(n, dtype=[("other", "i8"), ("value", array.dtype)])
        records["value"] = array
        yield "field", records["value"]
    else:
        k = array.shape[1]
        yield "F", np.asfortranarray(array)
        for rows, columns in ((2, 1), (1, 3), (2, 2), (-1, 1), (1, -1), (-3, -2)):
            for order in "CF":
                room = np.zeros((n * abs(rows), k * abs(columns)), array.dtype, order=order)
                room[::rows, ::columns] = array
                yield f"{order}, steps {rows}, {columns}", room[::rows, ::columns]


@pytest.mark.parametrize("shape", [(3000,), (1, 700), (700, 1), (300, 7), (2, 2000)])
@both_dtypes
@each_loss
def test_layouts_give_the_same_numbers(loss, dtype, shape):
    y, z = data(loss, shape, dtype)
    w = np.random.default_rng(0).random(shape).astype(dtype)
    expected = one_by_one(loss, y, z, sample_weight=w)
    whole = call(loss, "loss_gradient", y, z, sample_weight=w)
    for (name, z_laid), (_, y_laid), (_, w_laid) in zip(layouts(z), layouts(y), layouts(w), strict=True):
        for arrays in ((y, z_laid, w), (y_laid, z, w_laid), (y_laid, z_laid, w), (y_laid, z_laid, w_laid)):
            got = one_by_one(loss, arrays[0], arrays[1], sample_weight=arrays[2])
            for output, value in expected.items():
                assert_array_equal(got[output], value, err_msg=name, strict=True)
            got = call(loss, "loss_gradient", arrays[0], arrays[1], sample_weight=arrays[2])
            assert got["loss"] == pytest.approx(whole["loss"], rel=1e-14)  # sums follow memory order
            assert_allclose(got["gradient"], whole["gradient"], rtol=4 * np.finfo(dtype).eps)


@each_loss
def test_outputs_keep_the_order_of_y_pred(loss):
    y, z = data(loss, (20, 3))
    for order in "CF":
        for y_order in "CF":
            given = np.asarray(z, order=order)
            for view in (given, np.repeat(given, 2, axis=0)[::2] if order == "C" else np.asfortranarray(
                    np.repeat(z, 2, axis=0))[::2]):
                for value in one_by_one(loss, np.asarray(y, order=y_order), view).values():
                    assert value.flags.c_contiguous == (order == "C")
                    assert value.flags.f_contiguous == (order == "F")


def test_weights_of_samples_stand_beside_every_column():
    y, z = data(BCE, (50, 4))
    w = np.random.default_rng(0).random(50)
    for order in "CF":
        given = np.asarray(z, order=order)
        assert_same_bits({k: np.ascontiguousarray(v) for k, v in one_by_one(BCE, y, given, sample_weight=w).items()},
                         one_by_one(BCE, y, z, sample_weight=np.repeat(w[:, None], 4, axis=1)))


def test_arrays_that_repeat_one_number_in_memory():
    y = np.broadcast_to(np.float64(1.0), (500,))
    z = np.broadcast_to(np.float64(0.5), (500,))
    assert MSE(y, z) == 0.25
    assert_array_equal(MSE.gradient(y, z, reduction="none"), np.full(500, -1.0))


# ---- output arrays ---------------------------------------------------------------------------------------------------


def empty_outputs(method, like, reduction):
    names = [name for name in METHODS[method] if name != "loss" or reduction == "none"]
    return {f"{name}_out": np.full_like(like, np.nan) for name in names}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@both_dtypes
@each_method
@each_loss
def test_outputs_are_filled_and_returned(loss, method, dtype, reduction):
    for shape, order in (((3000,), "C"), ((300, 3), "C"), ((300, 3), "F")):
        y, z = data(loss, shape, dtype)
        z = np.asarray(z, order=order)
        expected = call(loss, method, y, z, reduction=reduction)
        outputs = empty_outputs(method, z, reduction)
        got = call(loss, method, y, z, reduction=reduction, **outputs)
        assert_same_bits(got, expected)
        for name, out in outputs.items():
            assert got[name.removesuffix("_out")] is out


@each_loss
def test_strided_outputs(loss):
    for shape in ((2000,), (200, 5)):
        y, z = data(loss, shape)
        expected = one_by_one(loss, y, z)
        for name, room in layouts(np.zeros(shape)):
            if name.startswith("F"):
                continue  # another order than y_pred's
            out = room.view()
            got = one_by_one(loss, y, z, gradient_out=out)
            assert got["gradient"] is out
            for output, value in expected.items():
                assert_array_equal(got[output], value, err_msg=name)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("output", ["loss", "gradient", "hessian"])
@both_dtypes
@each_loss
def test_an_output_may_be_y_pred_itself(loss, dtype, output, reduction):
    if output == "loss" and reduction == "mean":
        pytest.skip("the mean is a float and has no loss_out")
    for shape in ((9000,), (1500, 5)):
        y, z = data(loss, shape, dtype)
        w = np.random.default_rng(0).random(shape)
        expected = call(loss, "loss_gradient_hessian", y, z, sample_weight=w, reduction=reduction)
        for name, view in [("contiguous", z.copy()), *layouts(z)]:
            got = call(loss, "loss_gradient_hessian", y, view, sample_weight=w, reduction=reduction, n_threads=2,
                       **{f"{output}_out": view})
            assert got[output] is view
            for other, value in expected.items():
                assert_allclose(got[other], value, rtol=4 * np.finfo(dtype).eps, err_msg=name)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("megabytes", [1.5, 26])
@both_dtypes
@pytest.mark.parametrize("loss", [fl.Huber(), BCE, fl.GaussianNLL()], ids=repr)
def test_large_outputs_are_those_of_small_ones(loss, dtype, megabytes, in_place):
    """Beyond the caches outputs are written in other ways, which must not show, wherever a line of memory begins."""
    n = int(megabytes * 1e6) // np.dtype(dtype).itemsize
    rng = np.random.default_rng(n)
    z = rng.standard_normal((n, 2) if isinstance(loss, fl.GaussianNLL) else n).astype(dtype)
    y = rng.integers(0, 2, n)
    weights = rng.integers(0, 3, n)
    expected = [one_by_one(loss, y[rows], z[rows], sample_weight=weights[rows]) for rows in pieces(n)]
    for shift in (0, 5):
        room = {name: np.full(like.size + shift + 3, 7, dtype)
                for name, like in {"loss": y, "gradient": z, "hessian": z}.items()}
        outs = {name: array[shift:-3].reshape(y.shape if name == "loss" else z.shape) for name, array in room.items()}
        if in_place:
            outs["gradient"][...] = z
        one_by_one(loss, y, outs["gradient"] if in_place else z, sample_weight=weights,
                   **{f"{name}_out": out for name, out in outs.items()})
        for rows, piece in zip(pieces(n), expected, strict=True):
            assert_same_bits({name: out[rows] for name, out in outs.items()}, piece)
        for array in room.values():
            assert np.all(array[:shift] == 7) and np.all(array[-3:] == 7)


def pieces(n):
    return [slice(start, start + 50_000) for start in range(0, n, 50_000)]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_training_loop_allocates_nothing(weighted):
    n = 100_000
    y, z = data(BCE, (n,))
    y, w = y.astype(np.float32), np.ones(n) if weighted else None
    loss = fl.BinaryCrossEntropy(class_weight="balanced" if weighted else None)
    outputs = {f"{name}_out": np.empty(n) for name in ("loss", "gradient", "hessian")}
    loss.loss_gradient_hessian(y, z, sample_weight=w, reduction="none", **outputs)
    tracemalloc.start()
    loss.loss_gradient_hessian(y, z, sample_weight=w, reduction="none", **outputs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000


def self_overlapping(n):
    return np.lib.stride_tricks.as_strided(np.zeros(n), (n,), (0,))


def out_errors():
    n = 6
    z = np.linspace(-1, 1, n)
    y = np.array([0.0, 1] * 3)
    room = np.zeros(n + 1)
    room[:n] = z
    read_only = np.zeros(n)
    read_only.flags.writeable = False
    table = z.reshape(2, 3)
    w = np.ones(n)
    shared = np.zeros(n)
    return {
        "dtype": (TypeError, "gradient_out.*float32.*float64", y, z, {"gradient_out": np.zeros(n, np.float32)}),
        "int dtype": (TypeError, "gradient_out.*int64", y, z, {"gradient_out": np.zeros(n, int)}),
        "float16": (TypeError, "gradient_out.*float16.*float32", y, z.astype(np.float16),
                    {"gradient_out": np.zeros(n, np.float16)}),
        "big-endian": (TypeError, "gradient_out", y, z, {"gradient_out": np.zeros(n, ">f8")}),
        "list": (TypeError, "gradient_out.*list", y, z, {"gradient_out": [0.0] * n}),
        "pandas": (TypeError, "hessian_out.*Series", y, z, {"hessian_out": pd.Series(np.zeros(n))}),
        "shape": (ValueError, r"gradient_out.*\(5,\).*\(6,\)", y, z, {"gradient_out": np.zeros(n - 1)}),
        "columns": (ValueError, r"gradient_out.*\(6, 1\)", y, z, {"gradient_out": np.zeros((n, 1))}),
        "read-only": (ValueError, "hessian_out.*read-only", y, z, {"hessian_out": read_only}),
        "order": (ValueError, "loss_out.*order", y.reshape(2, 3), table, {"loss_out": np.zeros((2, 3), order="F")}),
        "order F": (ValueError, "loss_out.*order", y.reshape(2, 3), np.asfortranarray(table),
                    {"loss_out": np.zeros((2, 3))}),
        "self-overlap": (ValueError, "gradient_out.*overlap", y, z, {"gradient_out": self_overlapping(n)}),
        "reversed": (ValueError, "gradient_out overlaps y_pred", y, z, {"gradient_out": z[::-1]}),
        "shifted": (ValueError, "gradient_out overlaps y_pred", y, room[:n], {"gradient_out": room[1:]}),
        "y_true": (ValueError, "gradient_out overlaps y_true", y, z, {"gradient_out": y}),
        "sample_weight": (ValueError, "hessian_out overlaps sample_weight", y, z,
                          {"hessian_out": w, "sample_weight": w}),
        "y_true is y_pred": (ValueError, "overlaps y_true", z, z, {"gradient_out": z}),
        "one for two": (ValueError, "overlaps", y, z, {"gradient_out": shared, "hessian_out": shared}),
        "loss and Hessian": (ValueError, "overlaps", y, z, {"loss_out": shared, "hessian_out": shared}),
        "loss and gradient": (ValueError, "overlaps", y, z, {"loss_out": shared, "gradient_out": shared[:]}),
        "y_pred for two": (ValueError, "overlaps", y, z, {"loss_out": z, "gradient_out": z}),
    }


@pytest.mark.parametrize("case", out_errors())
def test_errors_of_outputs(case):
    error, message, y, z, kwargs = out_errors()[case]
    with pytest.raises(error, match=message):
        MSE.loss_gradient_hessian(y, z, reduction="none", **kwargs)


def test_loss_out_goes_with_none_only():
    for reduction in ("mean", "sum"):
        with pytest.raises(ValueError, match="loss_out"):
            MSE([0.0], [1.0], reduction=reduction, loss_out=np.zeros(1))


def test_interleaved_arrays_do_not_overlap():
    room = np.zeros(2000)
    z, out = room[::2], room[1::2]
    z[:] = np.linspace(-1, 1, 1000)
    expected = MSE.gradient(np.ones(1000), z.copy(), reduction="none")
    assert_array_equal(MSE.gradient(np.ones(1000), z, reduction="none", gradient_out=out), expected)
    assert_array_equal(z, np.linspace(-1, 1, 1000))


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("y", "z", "message"), [
    ((3,), (4,), r"y_true.*\(3,\).*y_pred.*\(4,\)"), ((3,), (3, 1), r"y_true.*\(3,\).*y_pred.*\(3, 1\)"),
    ((3, 1), (3,), r"y_true.*\(3, 1\)"), ((1,), (3,), r"y_true.*\(1,\)"), ((2, 3), (3, 2), r"y_true.*\(2, 3\)"),
    ((), (), "y_pred"), ((2, 2, 2), (2, 2, 2), "y_pred"), ((3, 1), (3, 2), "y_true"),
])
@each_method
def test_shapes_must_match(method, y, z, message):
    with pytest.raises(ValueError, match=message):
        call(MSE, method, np.zeros(y), np.zeros(z))


@pytest.mark.parametrize("shape", [(), (1,), (2,), (6,), (3, 1), (1, 2), (2, 3), (3, 2, 1)])
def test_shapes_of_sample_weight_must_match(shape):
    with pytest.raises(ValueError, match=r"sample_weight has shape"):
        MSE(np.zeros((3, 2)), np.zeros((3, 2)), sample_weight=np.ones(shape))


@pytest.mark.parametrize("reduction", ["average", "Mean", "", None, 1, ["mean"], b"mean"])
def test_bad_reduction(reduction):
    with pytest.raises(ValueError, match=r"reduction.*'mean', 'sum'.*'none'"):
        MSE([0.0], [1.0], reduction=reduction)


PARAMETERS = [
    *((cls, "full", [0, 1, "yes", None]) for cls in (fl.Poisson, fl.Gamma, fl.Tweedie, fl.GaussianNLL)),
    (fl.SquaredError, "half", [0, 1, "yes", None]),
    (fl.Huber, "delta", [0, -1.0, np.nan, np.inf, "1", None, True, 1j, [1.0, 0.0], [1.0, np.nan], [[1.0]]]),
    *((cls, name, [0, 1, 0.0, 1.0, -0.5, 1.5, np.nan, [0.5, 1.0], [0.1, np.nan], [[0.5]], "median", None])
      for cls, name in ((fl.Quantile, "quantile"), (fl.Expectile, "expectile"))),
    *((cls, "epsilon", [-0.1, -1e-300, np.nan, np.inf, "a", None, True, [0.1, -1.0], [[0.1]]])
      for cls in (fl.EpsilonInsensitive, fl.SquaredEpsilonInsensitive)),
    (fl.SmoothL1, "beta", [-1.0, np.nan, np.inf, "1", None, True, [1.0]]),
    *((cls, name, [0, -1.0, 1e101, 1e-101, np.nan, np.inf, "1", None, True, [1.0]]) for cls, name in (
        (fl.PseudoHuber, "delta"), (fl.Fair, "c"), (fl.Tukey, "c"), (fl.Robust, "scale"),
        (fl.NegativeBinomial, "dispersion"))),
    (fl.AbsolutePercentageError, "eps", [0, -1.0, np.nan, np.inf, "1", None, True]),
    (fl.Robust, "alpha", [np.nan, np.inf, 1001.0, -1001.0, "1", None, True, [1.0]]),
    (fl.Tweedie, "power", [0.5, 5e-324, 0.9999999999999999, np.nan, np.inf, -np.inf, "1", None, True, [1.5]]),
    (fl.Tweedie, "link", ["logit", "Log", "", None, 1]),
    (fl.BinaryCrossEntropy, "inputs", ["logit", "log_probabilities", None, 1]),
    (fl.BinaryCrossEntropy, "label_smoothing", [-0.1, 1.0, 2, np.nan, "0", None]),
    (fl.BinaryCrossEntropy, "pos_weight", [-1.0, np.nan, np.inf, [1.0, -2.0], [[1.0]], "a"]),
    (fl.BinaryCrossEntropy, "eps", [-0.1, 0.5, 1, np.nan, 1e-7]),
    (fl.BinaryFocal, "gamma", [-1, -1e-9, np.nan, np.inf, "2", None]),
    (fl.BinaryFocal, "alpha", [-0.1, 1.1, np.nan, "a", [0.25, 0.75]]),
    (fl.BinaryFocal, "inputs", ["scores"]),
    *((fl.AsymmetricFocal, name, [-1, -1e-9, np.nan, np.inf, "2", None, [1.0]]) for name in ("gamma_pos", "gamma_neg")),
    (fl.AsymmetricFocal, "clip", [-0.1, 1e-16, 1.0, 2, np.nan, "0", None, True]),
    *((cls, "margin", [-1, np.nan, np.inf, None]) for cls in (fl.Hinge, fl.SquaredHinge)),
    (fl.Sharp, "epsilon", [0, -1, np.nan, np.inf]),
    (fl.Sharp, "phi", ["tanh", None, 1]),
    *((type(loss), "class_weight", [
        "balance", {2: 1.0}, {"1": 1.0}, {0: -1.0}, {1: np.nan}, {1: np.inf}, {0: 1.0, -1: 1.0}, [1.0], [1.0, 2.0, 3.0],
        [1.0, -1.0], [[1.0, 2.0, 3.0]], 1.0, {0: "a"}, np.ones((2, 2, 2)), [np.nan, 1.0]]) for loss in CLASSIFIERS),
]


@pytest.mark.parametrize(("cls", "name", "value"), [(c, n, v) for c, n, values in PARAMETERS for v in values],
                         ids=lambda v: v.__name__ if isinstance(v, type) else repr(v))
def test_bad_parameters(cls, name, value):
    with pytest.raises((ValueError, TypeError), match=name) as caught:
        cls(**{name: value})
    if isinstance(value, float) and name != "class_weight":  # of which the shape is wrong
        assert caught.type is ValueError
        assert repr(value) in str(caught.value)


def test_perceptron_has_no_margin():
    with pytest.raises(TypeError, match="margin"):
        fl.Perceptron(margin=1.0)


LABEL_ERRORS = [(BCE, bad) for bad in (2.0, -0.5, 1.5, -2.0, np.nan, np.inf, -np.inf, 1e300)]
LABEL_ERRORS += [(loss, bad) for loss in CLASSIFIERS if "soft" not in loss.target
                 for bad in (0.5, 2.0, -2.0, np.nan, np.inf, 1e-300)]


@pytest.mark.parametrize("method", ["loss", "loss_gradient_hessian"])
@pytest.mark.parametrize(("loss", "bad"), LABEL_ERRORS, ids=repr)
def test_bad_labels_are_named_for_every_n_threads(loss, bad, method):
    y, z = data(loss, (30_000,))
    y = np.round(y)
    y[[7001, 25_000, 29_999]] = bad
    for n_threads in range(1, 9):
        for kwargs in ({}, {"sample_weight": np.ones(len(y))}, {"reduction": "none"}):
            with pytest.raises(ValueError, match=r"y_true\[7001\] is .*must be.*1") as caught:
                getattr(loss, method)(y, z, n_threads=n_threads, **kwargs)
            assert str(y[7001]) in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [fl.Hinge(), fl.Exponential(), BCE], ids=repr)
def test_labels_that_differ_in_one_bit(loss, dtype):
    # beside labels of 1, so that a label of -1 is one of theirs
    bits = 8 * np.dtype(dtype).itemsize
    for number in (0, 1, -1):
        for bit in range(bits):
            y = np.ones(40, dtype)
            y[17] = number
            y.view(f"u{bits // 8}")[17] ^= np.array(1 << bit, f"u{bits // 8}")
            if y[17] in (0, 1, -1) or ("soft" in loss.target and 0 <= y[17] <= 1):
                assert not np.isnan(loss(y, np.zeros_like(y)))
            else:
                with pytest.raises(ValueError, match=r"y_true\[17\] is"):
                    loss(y, np.zeros_like(y))


@pytest.mark.parametrize("class_weight", [None, "balanced", CLASS_WEIGHT])
@pytest.mark.parametrize(("y", "message"), [
    ([1, -1, 1, 0], r"y_true\[3\] is 0"), ([0, 1, -1], r"y_true\[2\] is -1"),
    (np.array([0, 255], np.uint8), r"y_true\[1\] is 255"),
    (np.array([1, 2**32], np.int64), r"y_true\[1\] is 4294967296"),
    (np.array([1, -128], np.int8), r"y_true\[1\] is -128"), ([[0, 1], [1, 7]], r"y_true\[1, 1\] is 7"),
])
@classifiers
def test_bad_sets_of_labels(loss, y, message, class_weight):
    y = np.asarray(y)
    with pytest.raises(ValueError, match=message):
        with_class_weight(loss, class_weight)(y, np.full(y.shape, 0.5))


#: Targets just outside what the loss takes, and far out.
OUTSIDE = {"non-negative": (-5e-324, -1.0, -1e300, -np.inf), "positive": (0.0, -0.0, -1.0, -np.inf),
           "above -1": (-1.0, np.nextafter(-1, -2), -3.0, -np.inf)}
RANGED = [loss for loss in INSTANCES if loss.target in OUTSIDE]
ranged_losses = pytest.mark.parametrize("loss", RANGED, ids=repr)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@ranged_losses
def test_targets_outside_their_domain_are_named_for_every_n_threads(loss, reduction):
    y, z = data(loss, (30_000,))
    for bad in OUTSIDE[loss.target]:
        spoiled = y.copy()
        spoiled[[7001, 25_000, 29_999]] = bad
        message = rf"y_true\[7001\] is {re.escape(str(bad))}: targets must be {loss.target}"
        for method, n_threads in (("loss", 1), ("loss", 3), ("gradient", 2), ("loss_gradient_hessian", 8)):
            with pytest.raises(ValueError, match=message):
                getattr(loss, method)(spoiled, z, reduction=reduction, n_threads=n_threads)
        weights = np.ones(len(y))
        weights[7001] = 0  # a weight of 0 masks NaN, but no target that cannot be
        with pytest.raises(ValueError, match=message):
            loss(spoiled, z, sample_weight=weights, reduction=reduction)


@ranged_losses
def test_targets_outside_their_domain_in_every_form(loss):
    bad = int(OUTSIDE[loss.target][-2]) if loss.target == "above -1" else -1
    y = np.full((300, 5), 2)
    y[200, 0] = y[7, 3] = bad
    z = predictions(loss, y.size).reshape(y.shape)
    for form in (np.int8, np.int64, np.float16, np.float32, np.float64, ">f8"):
        for order in "CF":
            for given in (z, np.asfortranarray(z), z.astype(np.float32)):
                with pytest.raises(ValueError, match=rf"y_true\[7, 3\] is {bad}.*{loss.target}"):
                    loss(np.asarray(y, form, order=order), given)
    with pytest.raises(ValueError, match=rf"y_true\[1\] is {bad}"):
        loss([2, bad], z[0, :2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@ranged_losses
def test_the_least_targets_are_taken(loss, dtype):
    least = {"non-negative": 0.0, "positive": np.finfo(dtype).smallest_subnormal,
             "above -1": np.nextafter(dtype(-1), dtype(0))}[loss.target]
    z = predictions(loss, 3, dtype)
    assert not np.isnan(loss(np.full(3, least, dtype), z, reduction="none")).any()


def test_targets_are_in_their_domain_after_rounding_to_the_computing_dtype():
    # 1e-300 is 0 in float32
    assert np.isfinite(fl.Poisson()([-1e-300], np.zeros(1, np.float32)))
    with pytest.raises(ValueError, match=r"y_true\[0\] is 1e-300: targets must be positive"):
        fl.Gamma()([1e-300], np.zeros(1, np.float32))
    assert np.isfinite(fl.Gamma()([1e-300], np.zeros(1)))


def test_a_label_of_minus_1_beside_soft_labels():
    with pytest.raises(ValueError, match=r"y_true\[2\] is -1"):
        BCE([0.5, 1.0, -1.0], np.zeros(3))
    with pytest.raises(ValueError, match=r"y_true\[2\] is 0\.5"):
        BCE([-1.0, 1.0, 0.5], np.zeros(3))


def test_lowest_bad_index_is_in_c_order_for_every_layout():
    y = np.zeros((300, 5))
    y[200, 0] = y[7, 3] = 9
    for order in "CF":
        for y_order in "CF":
            with pytest.raises(ValueError, match=r"y_true\[7, 3\] is 9"):
                BCE(np.asarray(y, order=y_order), np.zeros((300, 5), order=order))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@each_method
@each_loss
def test_non_finite_weights_are_named(loss, method, bad):
    y, z = data(loss, (9000,))
    w = np.ones(9000)
    w[[4321, 8000]] = bad
    for reduction in ("mean", "sum", "none"):
        for n_threads in (1, 2, 5):
            with pytest.raises(ValueError, match=rf"sample_weight\[4321\] is {bad}.*finite"):
                call(loss, method, y, z, sample_weight=w, reduction=reduction, n_threads=n_threads)


@each_method
@each_loss
def test_weights_of_a_mean_must_have_a_positive_sum(loss, method):
    y, z = data(loss, (2,))
    for weights in ([0.0, 0.0], [-1.0, -2.0], [1.0, -1.0], [-1.0, 0.5]):
        with pytest.raises(ValueError, match="sum"):
            call(loss, method, y, z, sample_weight=weights)
        call(loss, method, y, z, sample_weight=weights, reduction="sum")


def test_class_weights_of_a_mean_must_have_a_positive_sum():
    loss = fl.Hinge(class_weight={0: 0.0})
    with pytest.raises(ValueError, match="sum"):
        loss([0, 0], [1.0, 2.0])
    assert loss([0, 0], [1.0, 2.0], reduction="sum") == 0.0


@each_method
@each_loss
def test_no_samples(loss, method):
    for shape in ((0,), (0, 3), (3, 0)):
        y, z = np.zeros(shape), np.zeros(shape, np.float32)
        with pytest.raises(ValueError, match="no samples"):
            call(loss, method, y, z)
        for reduction in ("sum", "none"):
            for name, value in call(loss, method, y, z, reduction=reduction).items():
                if name == "loss" and reduction == "sum":
                    assert value == 0.0 and type(value) is float
                else:
                    assert value.shape == shape and value.dtype == np.float32


def test_an_empty_list_is_no_samples():
    assert MSE([], [], reduction="sum") == 0.0
    with pytest.raises(ValueError, match="no samples"):
        fl.BinaryCrossEntropy(class_weight="balanced")([], [])


@pytest.mark.parametrize(("n_threads", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError),
                                                  (True, TypeError)])
def test_bad_n_threads(n_threads, error):
    with pytest.raises(error, match="n_threads"):
        MSE([0.0], [1.0], n_threads=n_threads)


def test_options_are_keyword_only():
    with pytest.raises(TypeError):
        MSE.loss([0.0], [1.0], [1.0])
    with pytest.raises(TypeError, match="hessian_out"):
        MSE.gradient([0.0], [1.0], hessian_out=np.zeros(1))


def test_inputs_are_never_changed():
    for loss in DEFAULTS:
        arrays = y, z = data(loss, (100,))
        if is_binary(loss):
            arrays = y, z = 2 * np.round(y) - 1, z
        w = np.random.default_rng(0).random(100)
        before = [a.copy() for a in (*arrays, w)]
        loss.loss_gradient_hessian(y, z, sample_weight=w)
        for array, copy in zip((*arrays, w), before, strict=True):
            assert_array_equal(array, copy)


def test_one_column_may_be_written_in_place_through_any_strides():
    z = np.full((5, 1), 3.0)
    out = z[:, ::-1]
    assert fl.SquaredError().gradient(np.zeros((5, 1)), z, reduction="sum", gradient_out=out) is out
    assert_array_equal(z, 6.0)


def test_broadcast_predictions_have_no_memory_order():
    z = np.broadcast_to(np.arange(4.0), (3, 4))
    out = np.empty((3, 4))
    fl.SquaredError().gradient(np.zeros((3, 4)), z, reduction="sum", gradient_out=out)
    assert_array_equal(out, 2 * z)


def test_any_number_of_threads_may_be_asked_for():
    z = np.ones(4096 * 600, np.float32)
    assert fl.SquaredError()(np.zeros_like(z), z, n_threads=2**40) == 1.0


@pytest.mark.parametrize(("y", "n_classes", "message"), [
    ([0, np.inf], None, r"y\[1\] is inf"), ([0, 1e19], None, r"y\[1\] is 1e\+19"),
    ([0, 2**50], 3, r"y\[1\] is 1125899906842624"), ([-1, 1], 3, r"y\[0\] is -1"), ([0], 1, "n_classes must be"),
])
def test_bad_labels_and_counts_of_class_weights(y, n_classes, message):
    with pytest.raises(ValueError, match=message):
        fl.class_weights(y, n_classes=n_classes)
