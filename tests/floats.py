"""Floating-point numbers as the tests need them: sampled evenly over their bit patterns, and errors in ulp."""

import mpmath
import numpy as np
import pytest

DTYPES = (np.float32, np.float64)

_BITS = {np.float32: np.int32, np.float64: np.int64}
_DIGITS = {np.float32: 24, np.float64: 53}
_LOWEST_EXPONENT = {np.float32: -149, np.float64: -1074}
_HIGHEST_EXPONENT = {np.float32: 128, np.float64: 1024}


def _order(x, dtype):
    """Integers in the order of the numbers, one apart for neighbours."""
    bits = np.asarray(x, dtype).view(_BITS[dtype]).astype(object)
    return int(bits if bits >= 0 else np.iinfo(_BITS[dtype]).min - bits)


def sample(low, high, n, dtype, seed=0):
    """n numbers between low and high, evenly over their bit patterns: every exponent gets its share."""
    bits = np.random.default_rng(seed).integers(_order(low, dtype), _order(high, dtype), n, endpoint=True)
    smallest = np.int64(np.iinfo(_BITS[dtype]).min)
    return np.where(bits >= 0, bits, smallest - bits).astype(_BITS[dtype]).view(dtype)


def neighbours(*points, dtype):
    """The points with the numbers just below and above each."""
    points = np.array(points, dtype)
    return np.concatenate([np.nextafter(points, dtype(-np.inf)), points, np.nextafter(points, dtype(np.inf))])


def ulp(x, dtype):
    """The spacing of numbers around the mpf x; that of subnormals for anything smaller."""
    exponent = max(mpmath.mag(x) - _DIGITS[dtype], _LOWEST_EXPONENT[dtype]) if x else _LOWEST_EXPONENT[dtype]
    return mpmath.ldexp(1, exponent)


def wider(dtype):
    """A format with more digits, for numbers so many that mpmath would be too slow."""
    if dtype == np.float32:
        return np.float64
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is no wider than double here")
    return np.longdouble


def ulps(got, exact, dtype, scale=None):
    """The error of `got` in ulp of the mpf `exact`, or of `scale`; inf stands for the first power of 2 too large.

    A sum of terms (then `scale`, the sum of their absolute values, is not that of `exact`) that leave the range of the
    dtype can be anything but NaN."""
    if np.isnan(got):
        return 0.0 if mpmath.isnan(exact) else np.inf
    too_large = mpmath.ldexp(1, _HIGHEST_EXPONENT[dtype])
    if scale is not None and scale > too_large and scale != abs(exact):
        return 0.0
    exact = min(max(exact, -too_large), too_large)
    got = mpmath.sign(float(got)) * too_large if np.isinf(got) else mpmath.mpf(float(got))
    # the last binade before inf has no larger spacing
    unit = ulp(min(abs(exact) if scale is None else scale, too_large * (1 - mpmath.mpf(2) ** -60)), dtype)
    return float(abs(got - exact) / unit)
