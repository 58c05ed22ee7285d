"""The maths functions of kernels/math.pxd keep the errors that their headers state, on every ISA this CPU runs.

``python tests/test_math.py`` measures those numbers anew, with many samples.
"""

import importlib
import re
import sys
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
import pytest

from fastloss import kernels
from floats import DTYPES, neighbours, sample, ulps

SOURCE = Path(kernels.__file__).with_name("math.pxd")
FUNCTIONS = ("exp", "expm1", "log1p_unit", "log", "log1p", "log1p_positive", "atan")

EXACT = {"exp": mpmath.exp, "expm1": mpmath.expm1, "log1p_unit": mpmath.log1p, "log": mpmath.log,
         "log1p": mpmath.log1p, "log1p_positive": mpmath.log1p, "atan": mpmath.atan}
# In a wider format, to find the arguments that are worth a look.
NUMPY = {"exp": np.exp, "expm1": np.expm1, "log1p_unit": np.log1p, "log": np.log, "log1p": np.log1p,
         "log1p_positive": np.log1p, "atan": np.arctan}


def headers():
    """{(function, dtype): (domain, ulp, witness)} as the source states them."""
    found = {}
    block = r"^# (\w+)\(x\)\s+domain \[(\S+), (\S+)\]\n((?:#   float\d\d .*\n)+)"
    for name, low, high, lines in re.findall(block, SOURCE.read_text(), re.M):
        for dtype, limit, witness in re.findall(r"(float\d\d)\s+max (\d+\.\d\d) ulp at (\S+)", lines):
            found[name, dtype] = (float(low), float(high)), float(limit), float.fromhex(witness)
    return found


HEADERS = headers()


def isas():
    """The modules of all ISAs that this CPU runs and this build has."""
    modules = {}
    for isa in kernels.SUPPORTED:
        try:
            modules[isa] = importlib.import_module(f"fastloss.kernels._sweeps_{isa.rsplit('-', 1)[-1]}")
        except ModuleNotFoundError:
            continue
    return modules


ISAS = isas()


def apply(isa, name, x):
    out = np.empty_like(x)
    ISAS[isa].math_function(name, x.ctypes.data, out.ctypes.data, len(x), x.dtype == np.float64)
    return out


def arguments(name, dtype, n, seed=0):
    """Bit patterns over the whole domain, and more where the result is neither 0, 1, inf nor x."""
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    overflow = float(np.log(np.float64(largest)))
    underflow = float(np.log(np.float64(tiny)) if dtype == np.float32 else -745.2)
    wide = {"exp": (-largest, largest), "expm1": (-largest, largest), "log1p_unit": (0, 1), "log": (0, largest),
            "log1p": (-1, largest), "log1p_positive": (0, 1e30), "atan": (0, largest)}[name]
    dense = {"exp": (underflow, overflow), "expm1": (-4, 4), "log1p_unit": (0, 1), "log": (0.25, 4), "log1p": (-1, 4),
             "log1p_positive": (0, 4), "atan": (0, 8)}[name]
    close = {"log": (0.5, 2), "log1p": (2.0 ** -30, 2), "log1p_positive": (2.0 ** -30, 2),
             "atan": (2.0 ** -30, 4)}.get(name, (2.0 ** -30, 1))
    kinks = {"exp": (0, overflow, underflow, np.log(2) / 2), "expm1": (0, overflow, 40, np.log(2) / 2, -np.log(2) / 2),
             "log1p_unit": (0.5,), "log": (1, 2 ** 0.5, 0.5 ** 0.5), "log1p": (0, 2 ** 0.5 - 1, 0.5 ** 0.5 - 1),
             "log1p_positive": (0.5, 1, 2),
             "atan": (2 ** 0.5 - 1, 1, 2 ** 0.5 + 1)}[name]
    rng = np.random.default_rng(seed)
    x = np.concatenate([sample(*wide, n // 4, dtype, seed), sample(*close, n // 4, dtype, seed + 1),
                        rng.uniform(*dense, n // 2).astype(dtype), neighbours(*kinks, tiny, dtype=dtype)])
    if name in ("exp", "expm1", "log1p"):
        x = np.concatenate([x, -sample(*close, n // 4, dtype, seed + 2)])
    low, high = HEADERS[name, dtype.__name__][0]
    return np.ascontiguousarray(x[(x >= low) & (x <= high) & (np.abs(x) <= largest)])


def error(got, name, x, dtype):
    with mpmath.workprec(160):
        exact = EXACT[name](mpmath.mpf(float(x))) if x or name != "log" else mpmath.mpf("-inf")
        return ulps(got, exact, dtype)


def worst(isa, name, dtype, x):
    """(ulp, argument) of the largest error, found by a wider format and measured by mpmath."""
    got = apply(isa, name, x)
    wide = np.longdouble if dtype == np.float64 else np.float64
    with np.errstate(all="ignore"):
        close = NUMPY[name](x.astype(wide))
        spacing = np.maximum(np.spacing(np.abs(close.astype(dtype))), np.finfo(dtype).smallest_subnormal)
        distance = np.abs(got.astype(wide) - close) / spacing
        distance[np.isinf(got) & np.isinf(close.astype(dtype))] = 0  # both inf: nothing to measure
    distance = np.where(np.isnan(distance), np.inf, distance)
    candidates = np.argsort(distance)[-8:]
    return max((error(got[i], name, x[i], dtype), float(x[i])) for i in candidates)


@cache
def measured(isa, name, dtype, n=20_000):
    return worst(isa, name, dtype, arguments(name, dtype, n))


def test_every_function_has_a_header():
    assert set(HEADERS) == {(name, dtype.__name__) for name in FUNCTIONS for dtype in DTYPES}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_stays_below_the_documented(name, dtype, isa):
    _, limit, _ = HEADERS[name, dtype.__name__]
    found, x = measured(isa, name, dtype)
    assert found <= limit, f"{name}({x.hex()}) is {found:.3f} ulp off on {isa}; documented are {limit}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_documented_error_is_that_of_its_witness(name, dtype):
    _, limit, witness = HEADERS[name, dtype.__name__]
    x = np.array([witness], dtype)
    assert float(x[0]) == witness, "the witness is not a number of this dtype"
    found = max(error(apply(isa, name, x)[0], name, x[0], dtype) for isa in ISAS)
    assert found <= limit
    if "x86-64-v4" in ISAS:  # the largest error may be that of an ISA which another CPU does not run
        assert limit - found <= 0.011, f"{name}({witness.hex()}) is {found:.3f} ulp off, not {limit}"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges(name, dtype, isa):
    inf, nan = np.inf, np.nan
    expected = {
        "exp": {-inf: 0, inf: inf, 0: 1, -1e5: 0, 1e5: inf, nan: nan},
        "expm1": {-inf: -1, inf: inf, 0: 0, -1e5: -1, 1e5: inf, nan: nan},
        "log1p_unit": {0: 0, nan: nan},
        "log": {0: -inf, 1: 0, inf: inf, -1: nan, -inf: nan, nan: nan},
        "log1p": {-1: -inf, 0: 0, inf: inf, -2: nan, -inf: nan, nan: nan},
        "log1p_positive": {0: 0, nan: nan},
        "atan": {0: 0, nan: nan},
    }[name]
    got = apply(isa, name, np.array(list(expected), dtype))
    np.testing.assert_array_equal(got, np.array(list(expected.values()), dtype))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_do_not_depend_on_the_position(name, dtype, isa):
    # in the vector body, in its tail, alone
    x = arguments(name, dtype, 200)[:67]
    alone = np.concatenate([apply(isa, name, x[i:i + 1].copy()) for i in range(len(x))])
    assert apply(isa, name, x).tobytes() == alone.tobytes()


def measure(n=400_000):
    """Prints the header lines: over all ISAs, and each ISA beside it."""
    for name in FUNCTIONS:
        print(name)
        for dtype in DTYPES[::-1]:
            found = {isa: max(worst(isa, name, dtype, arguments(name, dtype, n, seed)) for seed in range(0, 30, 3))
                     for isa in ISAS}
            limit, witness = max(found.values())
            limit = np.ceil(limit * 100 - 1e-9) / 100
            others = ", ".join(f"{isa} {ulp:.3f} at {x.hex()}" for isa, (ulp, x) in found.items())
            print(f"#   {dtype.__name__}     max {limit:.2f} ulp at {witness.hex()}    ({others})", flush=True)


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
