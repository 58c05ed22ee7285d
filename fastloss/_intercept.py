"""The best constant prediction of a loss: closed forms, and a solver for any loss of one variable.

Losses call these from their `_best_constant(y, w)`, which gets the targets and weights of one column: float64, finite,
weights not 0 and at most 1, labels as 0 and 1, class weights in w.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_array, shape
from .class_weight import DynamicClassWeight, binary_class_weight

if TYPE_CHECKING:
    from .loss import Loss

Floats: TypeAlias = NDArray[np.float64]

# Sums that differ by less than this, relatively, are equal but for rounding: three weights of 0.1 balance one of 0.3.
_EQUAL = 16 * np.finfo(np.float64).eps
_BUDGET = 2**26  # evaluations that a search spends on its grid
_CHUNK = 2**18  # evaluations of one call
_BASINS = 6  # minima of the grid that are refined


def best_constant(loss: Loss, y_true: ArrayLike, sample_weight: ArrayLike | None) -> float | Floats:
    """What `Loss.intercept_only` says: checks, weights, and one column after the other."""
    y = as_array(y_true, "y_true")
    if y.ndim not in (1, 2):
        raise ValueError(f"y_true must have shape (n,) or (n, k), got {shape(y)}")
    if y.size == 0:
        raise ValueError(f"y_true has no samples (shape {shape(y)}): give at least one")
    outputs = loss._outputs
    loss.loss(y, np.full((*y.shape, outputs) if outputs > 1 else y.shape, 0.5), sample_weight=sample_weight)  # checks
    y = y.astype(np.float64)
    w = np.ones(y.shape)
    if sample_weight is not None:
        w = _near_one(as_array(sample_weight, "sample_weight").astype(np.float64))
        w = np.broadcast_to(w if w.ndim == y.ndim else w[:, None], y.shape)
    if "binary" in loss.target:
        y = np.where(y == -1, 0, y)
        pairs = _class_weight_pairs(loss, y)
        w = w * ((1 - y) * pairs[..., 0] + y * pairs[..., 1])
    if y.ndim == 1:
        return _of_column(loss, y, w)
    return np.array([_of_column(_column(loss, j), y[:, j], w[:, j], f" of column {j}") for j in range(y.shape[1])])


def _of_column(loss: Loss, y: Floats, w: Floats, which: str = "") -> Any:
    if not w.sum() > 0:
        raise ValueError(f"the weights{which} sum to {w.sum()}: the sum must be positive")
    w = _near_one(w)
    y, w = y[w != 0], w[w != 0]
    if not np.isfinite(y).all():
        return loss._no_constant
    # closed forms may rely on weights that are positive
    return loss._best_constant(y, w) if (w > 0).all() else Loss._best_constant(loss, y, w)
