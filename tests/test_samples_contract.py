"""The contract of losses of whole arrays: methods, reductions, weights, outputs, types, layouts, threads, errors.

What they compute is in the tests of their families.
"""

import copy
import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import fastloss as fl
from samples import SAMPLE_INSTANCES, SAMPLE_LOSSES, arrays

every_instance = pytest.mark.parametrize("loss", SAMPLE_INSTANCES, ids=repr)
every_loss = pytest.mark.parametrize("loss", [cls() for cls in SAMPLE_LOSSES], ids=repr)
W = np.array([0.5, 2.0, 1.0, 0.0, 3.0, 0.25])
#: Losses of a batch, in which each sample is compared with all others.
ALL_TOGETHER = fl.NTXent, fl.SupervisedContrastive


def whole(loss):
    """Whether samples have no loss of their own, as one depends on all others."""
    return loss.get_params().get("over") == "batch" or isinstance(loss, ALL_TOGETHER)


def tuple_of(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def own(loss, given):
    """The arrays that gradients are for."""
    return [array for name, array in zip(loss.inputs_of_call, given, strict=True) if name in loss.gradients_for]


@every_instance
def test_methods_agree(loss):
    given = arrays(loss)
    value, *gradients = loss.loss_gradient(*given)
    assert type(value) is float
    assert value == loss(*given) == loss.loss(*given)
    for a, b, array in zip(gradients, tuple_of(loss.gradient(*given)), own(loss, given), strict=True):
        assert_array_equal(a, b)
        assert a.shape == array.shape and a.dtype == np.float64
        assert np.any(a != 0)
    named = dict(zip(loss.inputs_of_call, given, strict=True))
    assert loss(**named) == loss(given[0], **dict(list(named.items())[1:])) == value


@every_instance
def test_the_gradient_is_the_slope_of_the_value(loss):
    given = arrays(loss)
    places = [i for i, name in enumerate(loss.inputs_of_call) if name in loss.gradients_for]
    rng = np.random.default_rng(1)
    for reduction in ("mean", "sum"):
        gradients = tuple_of(loss.gradient(*given, reduction=reduction))
        for place, gradient in zip(places, gradients, strict=True):
            direction = rng.normal(size=gradient.shape)
            values = []
            for step in (-1e-6, 1e-6):
                moved = list(given)
                moved[place] = given[place] + step * direction
                values.append(loss(*moved, reduction=reduction))
            assert (values[1] - values[0]) / 2e-6 == pytest.approx((gradient * direction).sum(), rel=2e-6, abs=1e-8)


@every_instance
def test_reductions_and_weights(loss):
    given = arrays(loss)
    if whole(loss):
        pytest.skip("samples have no loss of their own: see the tests of the family")
    each = loss(*given, reduction="none")
    assert each.shape == (6,)
    assert_allclose(loss(*given), each.mean(), rtol=1e-14)
    assert_allclose(loss(*given, reduction="sum"), each.sum(), rtol=1e-14)
    for w in (W, -W[::-1], W.tolist(), W.astype(np.float32)):
        v = np.asarray(w, dtype=np.float64)
        assert_allclose(loss(*given, reduction="none", sample_weight=w), v * each, rtol=1e-14)
        assert_allclose(loss(*given, reduction="sum", sample_weight=w), (v * each).sum(), rtol=1e-14)
        by_sum = tuple_of(loss.gradient(*given, reduction="sum"))
        weighed = tuple_of(loss.gradient(*given, reduction="none", sample_weight=w))
        for a, b in zip(by_sum, weighed, strict=True):
            assert_allclose(b, v.reshape(-1, *[1] * (a.ndim - 1)) * a, rtol=1e-13, atol=1e-15 * np.abs(b).max())
    assert_allclose(loss(*given, sample_weight=W), (W * each).sum() / W.sum(), rtol=1e-14)
    for a, b in zip(by_sum, tuple_of(loss.gradient(*given, sample_weight=W)), strict=True):
        expected = W.reshape(-1, *[1] * (a.ndim - 1)) * a / W.sum()
        assert_allclose(b, expected, rtol=1e-13, atol=1e-15 * np.abs(b).max())


@every_instance
def test_a_weight_of_0_masks_everything(loss):
    given = arrays(loss)
    if isinstance(loss, ALL_TOGETHER):
        pytest.skip("each sample is compared with all others: see the tests of the family")
    expected = loss.loss_gradient(*given, sample_weight=W)
    for array in own(loss, given):
        array[3] = np.nan
    for a, b in zip(loss.loss_gradient(*given, sample_weight=W), expected, strict=True):
        assert_array_equal(a, b)
    for gradient in expected[1:]:
        assert (gradient[3] == 0).all()


@every_instance
def test_nan_is_not_hidden(loss):
    given = arrays(loss)
    for array in own(loss, given):
        changed = [array.copy() if other is array else other for other in given]
        index = next(i for i, other in enumerate(given) if other is array)
        changed[index][(2, *[0] * (array.ndim - 1))] = np.nan
        value, *gradients = loss.loss_gradient(*changed)
        assert np.isnan(value)
        assert any(np.isnan(gradient).any() for gradient in gradients)


@every_instance
def test_outputs(loss):
    given = arrays(loss)
    expected = loss.loss_gradient(*given)
    outs = tuple(np.empty_like(array) for array in own(loss, given))
    got = loss.loss_gradient(*given, gradient_out=outs if len(outs) > 1 else outs[0])
    for out, a, b in zip(outs, got[1:], expected[1:], strict=True):
        assert a is out
        assert_array_equal(a, b)
    got = loss.loss_gradient(*given, gradient_out=tuple(own(loss, given)))  # in place
    assert got[0] == expected[0]
    for a, b in zip(own(loss, given), expected[1:], strict=True):
        assert_array_equal(a, b)
    if not whole(loss):
        given, loss_out = arrays(loss), np.empty(6)
        assert loss(*given, reduction="none", loss_out=loss_out) is loss_out
        assert_array_equal(loss_out, loss(*given, reduction="none"))


@every_instance
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_types(loss, dtype):
    exact = [np.asarray(array, dtype) if array.dtype.kind == "f" else array for array in arrays(loss)]
    value, *gradients = loss.loss_gradient(*exact)
    wide, *expected = loss.loss_gradient(*(a.astype(np.float64) if a.dtype.kind == "f" else a for a in exact))
    assert value == pytest.approx(wide, rel=3e-5, abs=1e-6)
    for a, b in zip(gradients, expected, strict=True):
        assert a.dtype == np.float32
        assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(b).max())


@every_instance
def test_layouts(loss):
    given = arrays(loss)
    expected = loss.loss_gradient(*given)

    def check(*changed):
        got = loss.loss_gradient(*changed)
        for a, b in zip(got, expected, strict=True):
            assert_allclose(a, b, rtol=1e-12, atol=1e-14)

    check(*map(np.asfortranarray, given))
    for array in given:
        array.flags.writeable = False
    check(*given)
    check(*(np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim > 1 else np.repeat(array, 2)[::2] for array in given))
    check(*(array[::-1].copy()[::-1] for array in given))
    check(*(array.tolist() for array in given))
    check(*(array.astype(array.dtype.newbyteorder()) for array in given))


@every_instance
def test_the_same_bits_for_every_number_of_threads(loss):
    given = arrays(loss, n=300)
    expected = loss.loss_gradient(*given, n_threads=1)
    for n_threads in (2, 3, 4, None):
        for a, b in zip(loss.loss_gradient(*given, n_threads=n_threads), expected, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@every_instance
def test_no_samples(loss):
    given = arrays(loss, n=0)
    with pytest.raises(ValueError, match="no samples"):
        loss(*given)
    value, *gradients = loss.loss_gradient(*given, reduction="sum")
    assert value == 0.0
    assert all(gradient.size == 0 for gradient in gradients)
    if not whole(loss):
        assert loss(*given, reduction="none").shape == (0,)


@every_loss
def test_errors(loss):
    given = arrays(loss)
    names = loss.inputs_of_call
    first = own(loss, given)[0]
    for arguments, options, error, match in (
            (given, {"reduction": "max"}, ValueError, "reduction must be 'mean' or 'sum' or 'none', got 'max'"),
            (given, {"n_threads": 0}, ValueError, "n_threads must be at least 1, got 0"),
            (given[:-1], {}, TypeError, rf"takes the arrays \({', '.join(names)}\), got {len(names) - 1}"),
            ([*given, given[0]], {}, TypeError, rf"got {len(names) + 1}"),
            (given[:-1], {"other": given[-1]}, TypeError, "got an argument 'other'"),
            (given, {"sample_weight": W[:5]}, ValueError, r"sample_weight has shape \(5,\): .* must be \(6,\)"),
            (given, {"sample_weight": [1, 1, np.inf, 1, 1, 1]}, ValueError, r"sample_weight\[2\] is inf"),
            (given, {"sample_weight": np.zeros(6)}, ValueError, "the weights sum to 0"),
            (given, {"loss_out": np.empty(6)}, ValueError, "loss_out is only for reduction='none'"),
            ([array.astype(complex) for array in given], {}, TypeError, rf"{names[0]} has dtype complex128"),
            ([array.astype(object) for array in given], {}, TypeError, rf"{names[0]} has dtype object")):
        with pytest.raises(error, match=match):
            loss(*arguments, **options)
    outs = [np.zeros_like(array) for array in own(loss, given)]
    for bad, error, match in ((outs[0].astype(np.float32), TypeError, "has dtype float32"),
                              (outs[0][1:], ValueError, f"has shape {re.escape(str(outs[0][1:].shape))}"),
                              (np.broadcast_to(1.0, first.shape), ValueError, "read-only"),
                              (outs[0].tolist(), TypeError, "numpy.ndarray, got list")):
        with pytest.raises(error, match=rf"gradient_out(\[0\])? .*{match}"):
            loss.gradient(*given, gradient_out=(bad, *outs[1:]))
    with pytest.raises(ValueError, match="gradient_out must be"):
        loss.gradient(*given, gradient_out=(*outs, outs[0]))
    if first.shape[0] > 1:
        both = np.zeros((first.shape[0] + 1, *first.shape[1:]))
        both[:-1] = first
        with pytest.raises(ValueError, match=r"overlaps .* without being it"):
            loss.gradient(*(both[:-1] if array is first else array for array in given),
                          gradient_out=(both[1:], *outs[1:]))


@every_loss
def test_outputs_that_overlap(loss):
    given, names = arrays(loss), loss.gradients_for
    own_names = ["gradient_out"] if len(names) == 1 else [f"gradient_out[{i}]" for i in range(len(names))]
    weight = np.ones(6 * max(array.size for array in own(loss, given)))
    spare = [np.empty_like(array) for array in own(loss, given)]
    for i, (name, array) in enumerate(zip(own_names, own(loss, given), strict=True)):
        over_weight = weight[:array.size].reshape(array.shape)
        outs = (*spare[:i], over_weight, *spare[i + 1:])
        with pytest.raises(ValueError, match=rf"^{re.escape(name)} overlaps sample_weight in memory"):
            loss.gradient(*given, sample_weight=weight[:6], gradient_out=outs)
    for i, name in enumerate(own_names[1:], 1):  # also where one array is given twice
        with pytest.raises(ValueError, match=rf"^{re.escape(name)} overlaps gradient_out\[0\]"):
            loss.gradient(*given, gradient_out=(*spare[:i], spare[0], *spare[i + 1:]))
        first, *rest = (index for index, one in enumerate(loss.inputs_of_call) if one in names)
        twice = list(given)
        twice[rest[0]] = given[first]
        with pytest.raises(ValueError, match=rf"^gradient_out\[0\] overlaps {loss.inputs_of_call[rest[0]]} in memory"):
            loss.gradient(*twice, gradient_out=(given[first], *spare[1:]))
    if whole(loss):
        return
    out = np.ones(6)
    with pytest.raises(ValueError, match=r"^loss_out overlaps sample_weight in memory"):
        loss(*given, sample_weight=out, reduction="none", loss_out=out)
    inside = spare[0].reshape(-1)[:6]
    with pytest.raises(ValueError, match=rf"^loss_out overlaps gradient for {names[0]} in memory"):
        loss.loss_gradient(*given, reduction="none", loss_out=inside, gradient_out=tuple(spare))


@every_instance
def test_objects(loss):
    given = arrays(loss)
    for other in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), clone(loss, safe=False),
                  type(loss)(**loss.get_params()), eval(repr(loss), vars(fl))):
        assert other == loss and hash(other) == hash(loss) and repr(other) == repr(loss)
        assert other(*given) == loss(*given)
    assert sum(other == loss for other in SAMPLE_INSTANCES) == 1
    assert not hasattr(loss, "__dict__")
    with pytest.raises(AttributeError, match="immutable"):
        loss.something = 1


def test_where_losses_of_arrays_do_not_fit():
    with pytest.raises(TypeError, match=r"loss must be a Loss.*Dice"):
        fl.LinearLoss("dice", np.ones((3, 2)), [0, 1, 1])
    with pytest.raises(AttributeError, match="gradient_hessian"):
        fl.Dice().gradient_hessian([[0, 1]], [[[1.0, 2.0], [0.0, 1.0]]])
