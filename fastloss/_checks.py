"""Checks of parameters, conversions that are seldom needed, and what is said when an argument is wrong.

Each message names the argument, the lowest bad index, the value there, and what is allowed.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

FORMATS = "bool, an integer, float16, float32 or float64"


def shape(array: np.ndarray) -> str:
    return "(" + ", ".join(map(str, array.shape)) + ("," if array.ndim == 1 else "") + ")"


def thread_count(n: Any, name: str) -> int:
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise TypeError(f"{name} must be an integer or None, got {n!r}")
    if n < 1:
        raise ValueError(f"{name} must be at least 1, got {n}")
    return min(int(n), 2**31 - 1)


# ---- parameters of losses --------------------------------------------------------------------------------------------

def number(name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf,
           at_most: float = math.inf) -> float:
    """A finite float within its limits."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        value = float(value) + 0.0  # -0 is 0
    except OverflowError:
        value = math.copysign(math.inf, value)
    if not (math.isfinite(value) and above < value < below and at_least <= value <= at_most):
        limits = [f"> {above:g}"] * (above > -math.inf) + [f">= {at_least:g}"] * (at_least > -math.inf)
        limits += [f"< {below:g}"] * (below < math.inf) + [f"<= {at_most:g}"] * (at_most < math.inf)
        raise ValueError(f"{name} must be {' and '.join(['finite', *limits])}, got {value!r}")
    return value


def number_or_row(name: str, value: Any, **limits: float) -> float | np.ndarray:
    """A number, or an array (k,) of them, one a column."""
    if isinstance(value, numbers.Real):
        return number(name, value, **limits)
    row = as_array(value, name)
    if row.ndim != 1:
        raise ValueError(f"{name} must be a number or have shape (k,), got {shape(row)}")
    return frozen(np.array([number(f"{name}[{i}]", v, **limits) for i, v in enumerate(row.tolist())], np.float64))


def per_class(name: str, value: Any, at_least: float = -math.inf) -> np.ndarray:
    """An array (C,) of finite numbers, one a class."""
    row = as_array(value, name).astype(np.float64)
    if row.ndim != 1 or len(row) < 2:
        raise ValueError(f"{name} must have shape (C,), a number for each of C >= 2 classes, got {shape(row)}")
    limit = f" and >= {at_least:g}" if at_least > -math.inf else ""
    raise_at(f"{name}[{{}}] is {{}}: it must be finite{limit}", row, ~(np.isfinite(row) & (row >= at_least)))
    return frozen(row)


def integer(name: str, value: Any) -> int:
    """A whole number that an int64 holds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    whole = int(value)
    if not -2**63 <= whole < 2**63:
        raise ValueError(f"{name} must be in the range of int64, got {value}")
    return whole


def frozen(array: np.ndarray) -> np.ndarray:
    """A copy that nobody can make writeable again."""
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


#: Values that a parameter comes close to and must not become, since its formula has a limit there.
_SINGULAR = {"quantile": (0, 1), "expectile": (0, 1), "alpha": (0, 2), "power": (1, 2)}

#: Parameters whose reciprocal is needed, and the least with one in float32.
_INVERTED = {"c": 2.0**-125}


def float32_fault(parameters: Mapping[str, Any], singular: Mapping[str, tuple[int, ...]] = _SINGULAR) -> str | None:
    """Says which parameter leaves the range of float32, in which float32 predictions are computed."""
    for name, value in parameters.items():
        if name == "class_weight" or not isinstance(value, (float, np.ndarray)):
            continue
        given = np.asarray(value, dtype=np.float64)
        with np.errstate(over="ignore", under="ignore"):
            rounded = given.astype(np.float32)
        limit = np.isin(rounded, singular.get(name, ())) & (rounded != given)
        if (limit | (np.isinf(rounded) & np.isfinite(given)) | ((rounded == 0) & (given != 0))).any():
            return (f"{name} of {value} becomes {rounded.tolist()} in float32, in which y_pred of this dtype is "
                    f"computed: use another {name}, or float64")
        if (np.abs(given) < _INVERTED.get(name, 0.0)).any():
            return (f"{name} of {value} is below {_INVERTED[name]:.3g}, the least for y_pred of this dtype, which is "
                    f"computed in float32: use a larger {name}, or float64")
    return None


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
    return value


# ---- arrays ----------------------------------------------------------------------------------------------------------

def as_array(value: Any, name: str) -> np.ndarray:
    """A plain array of a dtype that the kernels read, in native byte order."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill it, or give masked samples a sample_weight of 0")
    if hasattr(value, "tocsr") and hasattr(value, "toarray"):
        raise TypeError(f"{name} is sparse: give a dense array (.toarray())")
    nullable = _nullable(value)
    if nullable:
        missing = np.asarray(value.isna())
        if missing.any():
            index = ", ".join(map(str, _first(missing)))
            raise TypeError(f"{name} has a missing value (NA) at index {index}: fill it, or drop the sample")
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} is no array of numbers: {error}") from None
    if nullable and array.dtype == object:
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}: it must be {FORMATS}")
    if array.dtype.itemsize > 8:  # long double
        if name == "y_pred":
            raise TypeError(f"{name} has dtype {array.dtype}: it must be {FORMATS}")
        array = array.astype(np.float64)
    if not array.dtype.isnative or not array.flags.aligned:
        array = array.astype(array.dtype.newbyteorder("="))
    return array.view(np.ndarray)


def _nullable(value: Any) -> bool:
    """Whether a pandas object has numbers of a dtype that can hold NA."""
    if not hasattr(value, "isna"):
        return False
    dtypes = value.dtypes if hasattr(value, "columns") else [value.dtype]
    return any(not isinstance(dtype, np.dtype) and getattr(dtype, "kind", "O") in "biuf" for dtype in dtypes)


def output(out: Any, name: str, y_pred: np.ndarray, dtype: type) -> None:
    """Says what is wrong with a caller's output array, if anything is."""
    if not isinstance(out, np.ndarray) or type(out) is not np.ndarray:
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}: with y_pred of dtype {y_pred.dtype} it must be "
                        f"{np.dtype(dtype)}")
    if out.shape != y_pred.shape:
        raise ValueError(f"{name} has shape {shape(out)}: with this y_pred it must be {shape(y_pred)}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not out.flags.aligned:
        raise ValueError(f"{name} is not aligned in memory")
    steps = [abs(s) for n, s in zip(out.shape, out.strides, strict=True) if n > 1]
    reach = out.itemsize
    for step, n in sorted((abs(s), n) for n, s in zip(out.shape, out.strides, strict=True) if n > 1):
        if step < reach:
            raise ValueError(f"{name} overlaps itself in memory (strides {out.strides})")
        reach = step * n
    if out.ndim == len(steps) == 2:
        wanted = [abs(s) or math.inf for s in y_pred.strides]  # a broadcast axis has no order
        if (steps[0] < steps[1]) != (wanted[0] < wanted[1]):
            raise ValueError(f"{name} has another memory order than y_pred (strides {out.strides} and "
                             f"{y_pred.strides}): rows must be contiguous in both, or columns in both")


# ---- faults that the kernels flag ------------------------------------------------------------------------------------

_RANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "non-negative": lambda y: y < 0, "positive": lambda y: y <= 0, "above -1": lambda y: y <= -1}


def raise_faults(y_true: np.ndarray, sample_weight: np.ndarray | None, target: str, dtype: type) -> None:
    """Finds the lowest bad index after a kernel has flagged a fault, and raises the error that names it."""
    with np.errstate(over="ignore"):
        y: np.ndarray = y_true.astype(dtype)
    if target in _RANGES:
        raise_at(f"y_true[{{}}] is {{}}: targets must be {target}", y_true, _RANGES[target](y))
    elif "binary" in target:
        allowed = "in [0, 1]" if target == "soft binary" else "0 or 1"
        good = (y == -1) | (((y >= 0) & (y <= 1)) if target == "soft binary" else ((y == 0) | (y == 1)))
        if not good.all():
            raise_at(f"y_true[{{}}] is {{}}: labels must be {allowed} (or -1 and 1)", y_true, ~good)
        negative, unit = y == -1, (y >= 0) & (y < 1)
        first_negative, first_unit = (_first(mask) for mask in (negative, unit))
        if negative.any() and unit.any():
            later = unit if first_unit > first_negative else negative
            raise_at("y_true[{}] is {}, beside other labels of " + ("-1" if later is unit else "0 or in (0, 1)")
                      + ": labels must be 0 and 1, or -1 and 1", y_true, later)
    raise_weight_fault(sample_weight, dtype)
    raise AssertionError("a kernel flagged a fault that is not there")


#: How far the sum of a row of targets may be from 1, by the type of y_true.
ROW_SUM = {np.dtype(np.float16): 1e-2, np.dtype(np.float32): 1e-4}


def raise_row_faults(y_true: np.ndarray, sample_weight: np.ndarray | None, target: str, n_classes: int,
                     ignore_index: int | None, dtype: type) -> None:
    """As `raise_faults`, for losses of rows: class labels (n,), or rows of targets (n, C)."""
    if y_true.ndim == 1:
        _raise_label_fault(y_true, n_classes, ignore_index)
    else:
        rows = max(1, 2**16 // n_classes)
        # 0.9: where the order of summation decides, a row that the kernel found may sum to just within the limit here
        for slack in (1.0, 0.9):
            for start in range(0, len(y_true), rows):
                _raise_row_fault(y_true[start:start + rows], start, target, slack, dtype)
    raise_weight_fault(sample_weight, dtype)
    raise AssertionError("a kernel flagged a fault that is not there")


def _raise_label_fault(y_true: np.ndarray, n_classes: int, ignore_index: int | None) -> None:
    y = y_true.astype(np.float64)
    bad = ~((y >= 0) & (y < n_classes) & (y == np.floor(y)))
    allowed = f"whole numbers from 0 to {n_classes - 1}"
    if ignore_index is not None:
        bad &= y != ignore_index
        allowed += f", or {ignore_index} (ignore_index)"
    raise_at(f"y_true[{{}}] is {{}}: labels must be {allowed}", y_true, bad)


def _raise_row_fault(part: np.ndarray, start: int, target: str, slack: float, dtype: type) -> None:
    """Raises for the first bad row of a part of y_true that begins at row `start`."""
    limit = ROW_SUM.get(part.dtype, 1e-6)
    with np.errstate(over="ignore", invalid="ignore"):
        t: np.ndarray = part.astype(dtype).astype(np.float64)  # rounded as in the kernel
        if target == "log classes":
            t = np.exp(t)
        sums = t.sum(axis=1)
    if target == "log classes":
        good, allowed = t <= 1 + limit, "logarithms of probabilities, <= 0"
    elif target == "soft classes":
        good, allowed = (t >= 0) & (t <= 1), "in [0, 1]"
    else:
        good, allowed = (t == 0) | (t == 1), "0 or 1"
    if target == "classes":
        off, what = sums != 1, "has {:g} ones: rows must be one-hot, with exactly one 1"
    elif target == "indicators":
        off, what = np.zeros(len(t), np.bool_), ""
    else:
        off = ~(np.abs(sums - 1) <= limit * slack)
        what = f"{'means' if target == 'log classes' else 'has'} probabilities that sum to {{:.9g}}: the sum must be " \
               f"1 within {limit:g}"
    bad = off | ~good.all(axis=1)
    if not bad.any():
        return
    row = int(bad.argmax())
    if not good[row].all():
        column = int((~good[row]).argmax())
        raise ValueError(f"y_true[{start + row}, {column}] is {part[row, column]}: entries must be {allowed}")
    raise ValueError(f"y_true[{start + row}] {what.format(sums[row])}")


def raise_weight_fault(sample_weight: np.ndarray | None, dtype: type) -> None:
    if sample_weight is not None:
        with np.errstate(over="ignore"):
            rounded: np.ndarray = sample_weight.astype(dtype)
        raise_at(f"sample_weight[{{}}] is {{}}: weights must be finite (in {np.dtype(dtype)})", sample_weight,
                  ~np.isfinite(rounded))


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))


def raise_at(message: str, array: np.ndarray, bad: np.ndarray) -> None:
    if bad.any():
        index = _first(bad)
        raise ValueError(message.format(", ".join(map(str, index)), array[index]))
