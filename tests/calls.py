"""What the tests of the contract share, for losses of elements and of rows."""

import numpy as np
import pytest

from reference import METHODS

each_method = pytest.mark.parametrize("method", METHODS)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def call(loss, method, *args, **kwargs):
    """The outputs of a method by name."""
    result = getattr(loss, method)(*args, **kwargs)
    return dict(zip(METHODS[method], result if isinstance(result, tuple) else (result,), strict=True))


def one_by_one(loss, y, z, **kwargs):
    """Loss, gradient and Hessian of each sample."""
    return call(loss, "loss_gradient_hessian", y, z, reduction="none", **kwargs)


def with_class_weight(loss, class_weight, **others):
    return type(loss)(**loss.get_params() | {"class_weight": class_weight} | others)


def assert_slopes(arrays, gradients, value, **tolerance):
    """That each gradient is the slope of value() by its array, whose elements are moved in place."""
    for array, gradient in zip(arrays, gradients, strict=True):
        for index in np.ndindex(array.shape):
            was, step = array[index], 1e-5
            array[index] = was + step
            above = value()
            array[index] = was - step
            below = value()
            array[index] = was
            assert gradient[index] == pytest.approx((above - below) / (2 * step), **tolerance)


def assert_same_bits(got, expected):
    for name, value in expected.items():
        assert np.ascontiguousarray(got[name]).tobytes() == np.ascontiguousarray(value).tobytes(), name
