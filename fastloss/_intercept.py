"""The best constant prediction: closed forms for the losses that have one, and a search for all others.

A loss says its own in `_best_constant(y, w)`. There y and w are one column, float64: y finite, labels as 0 and 1, and
w > 0 with class weights counted in, at most 1. A loss of rows says it in `_best_row(share, y, w)`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import _raise_label_fault, as_array, raise_at, raise_weight_fault, shape
from ._typing import Array
from .class_weight import DynamicClassWeight, _class_count, binary_class_weight, weights_of_classes

if TYPE_CHECKING:
    from .loss import Loss
    from .multiclass import RowLoss

# Sums that differ by less, relatively, are equal but for rounding: three weights of 0.1 balance one of 0.3.
_EQUAL = 16 * float(np.finfo(np.float64).eps)
_BUDGET = 2**26  # losses that the grid of a search may cost
_CALL = 2**18  # losses of one call
_BASINS = 6  # minima of the grid that are refined


@np.errstate(all="ignore")
def best_constant(loss: Loss, y_true: ArrayLike, sample_weight: ArrayLike | None) -> float | Array:
    """What `Loss.intercept_only` returns: checks the arguments, and goes from column to column."""
    y = as_array(y_true, "y_true")
    if y.ndim != 1 and (y.ndim != 2 or loss._outputs):
        raise ValueError(f"y_true must have shape (n,){'' if loss._outputs else ' or (n, k)'}, got {shape(y)}")
    if y.size == 0:
        raise ValueError(f"y_true has no samples (shape {shape(y)}): give at least one")
    loss.loss(y, np.full(y.shape + loss._outputs, 0.5), sample_weight=sample_weight)  # has all other checks
    y = y.astype(np.float64)
    w: Array = np.ones(y.shape)
    if sample_weight is not None:
        w = as_array(sample_weight, "sample_weight").astype(np.float64)
        raise_at("sample_weight[{}] is {}: with weights below 0 a loss may have no lowest value", w, w < 0)
        w = np.broadcast_to(w if w.ndim == y.ndim else w[:, None], y.shape)
    if "binary" in loss.target:
        y = np.where(y == -1, 0, y)
        pairs = _class_weight_pairs(loss._parameters.get("class_weight"), y)
        w = w * ((1 - y) * pairs[..., 0] + y * pairs[..., 1])
    if y.ndim == 1:
        return _best_of_column(_without_arrays(loss), y, w)
    return np.array([_best_of_column(_without_arrays(loss, column), y[:, column], w[:, column], f" of column {column}")
                     for column in range(y.shape[1])])


def _class_weight_pairs(class_weight: object, y: Array) -> Array:
    """Weights of (negatives, positives): (2,), or (k, 2) by column."""
    class_weight = binary_class_weight(class_weight)  # type: ignore[arg-type]
    if class_weight is None:
        return np.ones(2)
    if isinstance(class_weight, DynamicClassWeight):
        return class_weight.weights
    if isinstance(class_weight, np.ndarray):
        return class_weight
    counts = np.stack([(1 - y).sum(axis=0), y.sum(axis=0)], axis=-1)
    return np.divide(len(y) / 2, counts, out=np.ones(counts.shape), where=counts > 0)


def _without_arrays(loss: Loss, column: int = 0) -> Loss:
    """The loss of one column, as scalar parameters and sample weights say it."""
    changed = {name: None if name == "class_weight" else float(value[column])
               for name, value in loss._parameters.items()
               if isinstance(value, np.ndarray) or (name == "class_weight" and value is not None)}
    return type(loss)(**{**loss._parameters, **changed}) if changed else loss


def _best_of_column(loss: Loss, y: Array, w: Array, which: str = "") -> float | Array:
    if not w.sum() > 0:
        raise ValueError(f"the weights{which} sum to {w.sum()}: the sum must be positive")
    w = _near_one(w)[0]
    y, w = y[w != 0], w[w != 0]
    if np.isfinite(y).all():
        return loss._best_constant(y, w)
    return np.full(loss._outputs, np.nan) if loss._outputs else math.nan


def _near_one(x: Array) -> tuple[Array, int]:
    """Numbers without the power of 2 of the largest, so that their sums neither overflow nor vanish; its exponent."""
    exponent = int(np.frexp(np.abs(x).max())[1])
    return np.ldexp(x, -exponent), exponent


# ---- closed forms ----------------------------------------------------------------------------------------------------

def mean(y: Array, w: Array) -> float:
    """The weighted mean: of equal targets exactly their value, and without overflow."""
    y, exponent = _near_one(y)
    about = (w * y).sum() / w.sum()
    return float(np.ldexp(about + (w * (y - about)).sum() / w.sum(), exponent))


def log_variance(y: Array, w: Array) -> float:
    """The logarithm of the weighted variance, -inf for equal targets."""
    y, exponent = _near_one(y)
    y, further = _near_one(y - mean(y, w))
    exponent += further
    variance = float((w * y**2).sum() / w.sum())
    if abs(exponent) < 500:
        return log(math.ldexp(variance, 2 * exponent))
    return log(variance) + 2 * exponent * math.log(2)  # the variance itself may overflow, or vanish


def quantile(y: Array, w: Array, share: float) -> float:
    """The middle of the weighted quantiles, which are an interval where the weights up to one are just the share."""
    order = np.argsort(y)
    y, below = y[order], np.cumsum(w[order])
    reached, rounding = share * below[-1], _EQUAL * below[-1]
    first = np.searchsorted(below, reached - rounding)
    last = np.searchsorted(below, reached + rounding, side="right")
    return middle(float(y[first]), float(y[min(int(last), len(y) - 1)]))


def expectile(y: Array, w: Array, share: float) -> float:
    """The weighted expectile: the mean once it is known which targets are above it."""
    order = np.argsort(y)
    y, w = y[order], w[order]
    # The gradient at a target is (1 - share)·excess - share·deficit, of the targets below and of those above.
    gaps = np.diff(_near_one(y)[0])
    excess = np.append(0.0, np.cumsum(np.cumsum(w)[:-1] * gaps))
    deficit = np.append(np.cumsum(np.cumsum(w[::-1])[:-1] * gaps[::-1])[::-1], 0.0)
    above = (1 - share) * excess >= share * deficit
    return mean(y, w * np.where(above, share, 1 - share))


def log(x: float) -> float:
    """The logarithm, -inf of 0 and below."""
    return math.log(x) if x > 0 else -math.inf


def positives_negatives(y: Array, w: Array) -> tuple[float, float]:
    """The weights of both labels."""
    return float((w * y).sum()), float((w * (1 - y)).sum())


def log_ratio(a: float, b: float) -> float:
    """log(a/b), of numbers >= 0; 0 for 0/0."""
    if a > 0 and b > 0:
        return math.log(a / b) if 1e-300 < a / b < 1e300 else math.log(a) - math.log(b)
    return math.inf if a > 0 else -math.inf if b > 0 else 0.0


def balance(y: Array, w: Array) -> float:
    """From -1, only negatives, to 1, only positives; 0 where their weights are equal but for rounding."""
    positives, negatives = positives_negatives(y, w)
    difference = (positives - negatives) / (positives + negatives)
    return difference if abs(difference) > _EQUAL else 0.0


def middle(a: float, b: float) -> float:
    """Half way; the finite of two ends, and 0 between -inf and inf."""
    if math.isinf(a) or math.isinf(b):
        return 0.0 if a == -b else a if math.isinf(b) else b
    return (a + b) / 2 if math.isfinite(a + b) else a / 2 + b / 2


# ---- any other loss --------------------------------------------------------------------------------------------------

def search(loss: Loss, y: Array, w: Array) -> float:
    """The best constant of a loss that need not be convex.

    Of a grid of constants the lowest are refined: to the left of a minimum the loss falls, to the right it rises, and
    both ends of what lies between are found by bisection over the floating-point numbers, which takes at most 64 steps
    at any scale. Rounding, flat bottoms and sums that overflow leave several numbers there: the middle is returned, or
    ±inf (0, 1: the domain's end) where the loss never rises again.
    """
    order = np.argsort(y)
    y, firsts = np.unique(y[order], return_index=True)
    w = np.add.reduceat(w[order], firsts)

    def at(z: Array) -> tuple[Array, Array, Array]:
        """Of each constant in z the loss, the sign of its slope, and by how much the loss may be off."""
        total, sign, rounding = np.empty((3, len(z)))
        rows = max(1, _CALL // len(y))
        for start in range(0, len(z), rows):
            part = slice(start, start + rows)
            table = np.repeat(z[part, None], len(y), axis=1)
            value, gradient = loss.loss_gradient(np.broadcast_to(y, table.shape), table, reduction="none")
            value *= w
            gradient *= w
            total[part], rounding[part] = value.sum(axis=1), _EQUAL * np.abs(value).sum(axis=1)
            slope, unsure = gradient.sum(axis=1), _EQUAL * np.abs(gradient).sum(axis=1)
            sign[part] = np.where((np.abs(slope) > unsure) | np.isinf(slope), np.sign(slope), 0)
        return np.where(np.isnan(total), np.inf, total), sign, rounding

    grid = _grid(loss, y)
    values, signs, roundings = at(grid)
    lower_than_next = np.append(values[:-1] <= values[1:], True)
    lower_than_last = np.append(True, values[1:] <= values[:-1])
    minima = np.flatnonzero(lower_than_next & lower_than_last)
    found = []
    for start in minima[np.argsort(values[minima], kind="stable")][:_BASINS]:
        best = _refine(at, grid, values, signs, int(start), values[start] + roundings[start])
        value, _, rounding = at(np.array([best]))
        found.append((value[0], rounding[0], best))
    lowest, rounding, _ = min(found)
    return min(best for value, _, best in found if value == lowest or value <= lowest + rounding)


def _grid(loss: Loss, y: Array) -> Array:
    """Constants that leave hardly a minimum between them unseen, sorted, with both ends of the domain."""
    low, high = loss.domain
    room = max(64, _BUDGET // len(y))
    powers = 2.0 ** np.arange(-1074, 1024)
    if "binary" not in loss.target:  # the targets, and points between neighbours
        steps = max(2, 1000 // len(y))
        grid = 4 * np.interp(np.arange(steps * (len(y) - 1) + 1) / steps, np.arange(len(y)), y / 4)  # 4: no overflow
    elif high == 1:
        grid = np.unique(np.concatenate([powers, 1 - powers[powers > 1e-17], np.linspace(0, 1, 1025)]))
    else:
        grid = np.unique(np.concatenate([-powers, powers, np.linspace(-64, 64, 1025)]))
    if len(grid) > room:
        grid = grid[np.linspace(0, len(grid) - 1, room).astype(int)]
    return np.unique(np.clip(np.append(grid, [low, high]), low, high))


def _refine(at: Callable[[Array], tuple[Array, Array, Array]], grid: Array, values: Array, signs: Array, start: int,
            level: float) -> float:
    """The minimum next to grid[start]."""
    origin = float(grid[start])

    def side(rank: int) -> int:
        """-1, 0 or 1: left of the minimum, there, or right of it. What is higher than the start is behind a wall."""
        z = _number(rank)
        value, sign, _ = at(np.array([z]))
        return (z > origin) - (z < origin) if value[0] > level else int(sign[0])

    sides = np.where(values > level, np.sign(np.arange(len(grid)) - start), signs)
    rising = np.flatnonzero(sides[start:] > 0)
    last = start + int(rising[0]) if len(rising) else len(grid) - 1
    falling = np.flatnonzero(sides[:last + 1] < 0)
    first = int(falling[-1]) if len(falling) else 0
    if not (len(falling) and len(rising)):  # it falls all the way to an end of the domain, or is flat
        lowest, highest = (grid[-1] if len(falling) else grid[0]), (grid[0] if len(rising) else grid[-1])
        return middle(float(lowest), float(highest))
    left = _first_where(lambda rank: side(rank) >= 0, _rank(grid[first]), _rank(grid[first + 1]))
    width = 1
    while left + width < _rank(grid[last]) and side(left + width) <= 0:
        width *= 2
    right = _first_where(lambda rank: side(rank) > 0, left - 1, min(left + width, _rank(grid[last])))
    if left < right:
        return middle(_number(left), _number(right - 1))
    # It falls up to one number and rises from the next: a kink, or a root.
    near = np.array([_number(left - 1), _number(left)])
    return float(near[at(near)[0].argmin()])


def _first_where(condition: Callable[[int], bool], low: int, high: int) -> int:
    """The first rank above low, and at most high, where a condition holds from there on."""
    while high - low > 1:
        between = (low + high) // 2
        if condition(between):
            high = between
        else:
            low = between
    return high


def _rank(x: float) -> int:
    """Integers in the order of the floating-point numbers, one apart for neighbours."""
    bits: int = struct.unpack("<q", struct.pack("<d", x))[0]
    return bits if bits >= 0 else -(2**63) - bits


def _number(rank: int) -> float:
    number: float = struct.unpack("<d", struct.pack("<q", rank if rank >= 0 else -(2**63) - rank))[0]
    return number


# ---- losses of rows --------------------------------------------------------------------------------------------------

@np.errstate(all="ignore")
def best_row(loss: RowLoss, y_true: ArrayLike, sample_weight: ArrayLike | None, n_classes: int | None) -> Array:
    """What `RowLoss.intercept_only` returns: checks the arguments, and says the best distribution as y_pred does."""
    y: np.ndarray = as_array(y_true, "y_true")
    if y.ndim not in (1, 2):
        raise ValueError(f"y_true must have shape (n,) or (n, C), got {shape(y)}")
    if y.size == 0:
        raise ValueError(f"y_true has no samples (shape {shape(y)}): give at least one")
    parameters = loss._parameters
    inputs, ignored = parameters.get("inputs"), parameters.get("ignore_index")
    classes = _classes(parameters, y, n_classes)
    rows = len(y)
    if y.ndim == 1:
        _raise_label_fault(y, classes, ignored)
        rows = 1  # with many classes and labels, (n, C) predictions would take long
    anything = np.full(classes, -0.5 if inputs == "log_probabilities" else 0.5)
    loss.loss(y[:rows], np.broadcast_to(anything, (rows, classes)), reduction="sum")  # has all other checks
    w: Array = np.ones(len(y))
    if sample_weight is not None:
        w = as_array(sample_weight, "sample_weight").astype(np.float64)
        if w.shape != (len(y),):
            raise ValueError(f"sample_weight has shape {shape(w)}, y_true {shape(y)}: it must be (n,)")
        raise_weight_fault(w, np.float64)
        raise_at("sample_weight[{}] is {}: with weights below 0 a loss may have no lowest value", w, w < 0)
    weights: Array = np.ones(classes)
    if parameters["class_weight"] is not None:
        weights = weights_of_classes(parameters["class_weight"], y, classes, ignored, loss.target == "log classes")
    if y.ndim == 1:
        if ignored is not None:
            w, y = w[y != ignored], y[y != ignored]
        y = y.astype(np.intp)
        w = w * weights[y]
    else:
        y = np.exp(y.astype(np.float64)) if loss.target == "log classes" else y.astype(np.float64)
        row_weights = y @ weights
        if loss.target == "indicators":
            positives = y.sum(axis=1)
            row_weights = np.where(positives > 0, row_weights / positives, 1.0)
        w = w * row_weights
    if not w.sum() > 0:
        raise ValueError(f"the weights sum to {w.sum()}: the sum must be positive")
    w = _near_one(w)[0]
    w /= w.sum()
    y, w = y[w != 0], w[w != 0]
    if y.ndim == 1:  # labels: one row for each class is enough
        share = np.bincount(y, w, classes).astype(np.float64)
        y = np.flatnonzero(share)
        w = share[y]
    else:
        share = w @ y
    best = loss._best_row(share / share.sum(), y, w)
    if inputs is None:
        return best
    best = best - best.max()
    best = best - np.log(np.exp(best).sum())
    if inputs == "logits":
        adjustment = parameters.get("logit_adjustment")
        return parameters.get("temperature", 1.0) * best - (0.0 if adjustment is None else adjustment)
    return best if inputs == "log_probabilities" else np.exp(best)


def _classes(parameters: Mapping[str, Any], y: np.ndarray, n_classes: int | None) -> int:
    """How many classes there are."""
    if y.ndim == 2:
        if n_classes not in (None, y.shape[1]):
            raise ValueError(f"n_classes is {n_classes}, and y_true has shape {shape(y)}: they must be equal, or "
                             f"n_classes None")
        return y.shape[1]
    if n_classes is not None:
        return _class_count(n_classes)
    labels = y[(y >= 0) & (y < 2.0**31) & (y != parameters.get("ignore_index"))]
    counts = [2, int(labels.max()) + 1 if len(labels) else 0]
    for value in parameters.values():
        if isinstance(value, np.ndarray):
            counts.append(len(value))
        elif isinstance(value, DynamicClassWeight):
            counts.append(value.n_classes)
        elif isinstance(value, Mapping):
            counts.append(max(value, default=0) + 1)
    return max(counts)


def descend(loss: RowLoss, share: Array, y: np.ndarray, w: Array) -> Array:
    """The best row of scores, by descent; of a loss of probabilities among the classes that occur."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # here: importing it takes long

    plain = {"class_weight": None, "ignore_index": None, "inputs": "logits"}
    loss = type(loss)(**loss._parameters | {name: value for name, value in plain.items() if name in loss._parameters})
    row: Array = np.zeros(len(share))
    free = np.ones(len(share), np.bool_)
    start = row
    if "inputs" in loss._parameters:
        free = share > 0
        row[~free] = -np.inf
        start = np.log(0.9 * share[free] + 0.1 / free.sum())  # not where a class is so rare that the loss is flat
        if free.sum() == 1:
            return row
    step = max(1, 2**20 // len(share))

    def objective(z: Array) -> tuple[float, Array]:
        row[free] = z
        total, slope = 0.0, np.zeros(len(z))
        for first in range(0, len(y), step):
            part = slice(first, first + step)
            value, gradient = loss.loss_gradient(y[part], np.broadcast_to(row, (len(y[part]), len(row))),
                                                 sample_weight=w[part], reduction="sum")
            total += float(value)
            slope += gradient.sum(axis=0)[free]
        return total, slope

    found = minimize(objective, start, jac=True, method="L-BFGS-B",
                     options={"maxiter": 2000, "maxcor": 20, "ftol": 0.0, "gtol": 1e-12})
    row[free] = found.x
    return row


def two_levels(share: Array, power: int) -> Array:
    """The best row of the Crammer-Singer hinge with margin 1: raising the lower classes to one level costs nothing, so
    that only how far the largest class stands above them is to be found."""
    largest = int(share.argmax())
    ahead = 2 * share[largest] - 1
    row: Array = np.zeros(len(share))
    if ahead > _EQUAL:
        row[largest] = 1.0 if power == 1 else ahead
    return row


def pairwise(weights: Array) -> Array:
    """The row z with the least Σ_jk weights_jk·max(0, 1 - z_j + z_k): a linear program, with whole numbers as corners.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array  # type: ignore[import-untyped]

    n = len(weights)
    above, below = np.nonzero(weights * (1 - np.eye(n)))
    pairs = len(above)
    if pairs == 0:
        return np.zeros(n)
    cost = weights[above, below]
    line = np.arange(pairs)
    # below - above - excess <= -1
    matrix = coo_array((np.repeat([1.0, -1.0, -1.0], pairs),
                        (np.tile(line, 3), np.concatenate([below, above, n + line]))), shape=(pairs, n + pairs))
    found = linprog(np.concatenate([np.zeros(n), cost / cost.max()]), matrix.tocsc(), np.full(pairs, -1.0),
                    bounds=[(0, n)] * n + [(0, None)] * pairs, method="highs-ds")
    return np.rint(found.x[:n]) + 0.0  # -0 is 0
