"""Class weights: computed from data, once or batch by batch; and what a loss accepts as its own."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_array, choice, frozen, number, per_class, shape

ClassWeight: TypeAlias = "Literal['balanced'] | Mapping[int, float] | ArrayLike | DynamicClassWeight | None"


def class_weights(y: ArrayLike, method: Literal["balanced", "effective_number"] = "balanced", *,
                  n_classes: int | None = None, beta: float = 0.999) -> NDArray[np.float64]:
    """Weights of the classes of ``y``, to hand to a loss as its ``class_weight``.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class labels: 0 .. C - 1, or -1 and 1.
    method : {"balanced", "effective_number"}, default "balanced"
        n / (C·n_c), or (1 - beta)/(1 - beta^n_c) normalised to a sum of C.
    n_classes : int, optional
        C; by default the largest label + 1, at least 2.
    beta : float in [0, 1), default 0.999
        For the effective number: how much a further sample of a class adds.

    Returns
    -------
    array of shape (C,)
        A class without samples weighs 1.

    References
    ----------
    Y. Cui, M. Jia, T.-Y. Lin, Y. Song and S. Belongie, *Class-balanced loss based on effective number of samples*,
    2019.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.class_weights([0, 0, 0, 1])
    array([0.66666667, 2.        ])
    """
    choice("method", method, ("balanced", "effective_number"))
    beta = number("beta", beta, at_least=0, below=1)
    counts = _counts(y, n_classes).astype(np.float64)
    seen = counts > 0
    if not seen.any():
        return np.ones(len(counts))
    weights = np.ones(len(counts))
    if method == "balanced":
        weights[seen] = counts.sum() / (len(counts) * counts[seen])
        return weights
    # 1 - beta^n, without cancellation for beta near 1
    weights[seen] = 1.0 / -np.expm1(counts[seen] * np.log(beta)) if beta > 0 else 1.0
    weights[seen] *= seen.sum() / weights[seen].sum()
    return weights


def _class_count(n_classes: int) -> int:
    if isinstance(n_classes, bool) or not isinstance(n_classes, numbers.Integral):
        raise TypeError(f"n_classes must be an integer, got {n_classes!r}")
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    return int(n_classes)


def _counts(y: ArrayLike, n_classes: int | None) -> NDArray[np.int64]:
    """How often each class occurs; labels of -1 and 1 are classes 0 and 1."""
    labels = as_array(y, "y")
    if labels.ndim != 1:
        raise ValueError(f"y must have shape (n,), got {labels.shape}")
    signed = n_classes in (None, 2) and bool((labels == -1).any())
    most = 1 if signed else 2**31 if n_classes is None else _class_count(n_classes) - 1
    bad = ~((labels == np.floor(labels)) & (labels <= most) & ((np.abs(labels) == 1) if signed else (labels >= 0)))
    if bad.any():
        index = int(bad.argmax())
        raise ValueError(f"y[{index}] is {labels[index]}: labels must be "
                         + ("-1 and 1" if signed else f"whole numbers from 0 to {most}") + ", or 0 and 1" * signed)
    return np.bincount((labels > 0 if signed else labels).astype(np.int64), minlength=max(2, n_classes or 2))


class DynamicClassWeight:
    """Class weights that follow the data, batch by batch; any loss takes one as its ``class_weight``.

    Class frequencies f start at 1/C, and each `update` moves them: f ← momentum·f + (1 - momentum)·n_c/n. The weights
    are 1/(C·f), as of the last update. Unlike losses, this object changes: losses that share it share its state.

    Parameters
    ----------
    n_classes : int >= 2
        C.
    momentum : float in [0, 1), default 0.99
        How slowly the frequencies move.

    Attributes
    ----------
    frequencies, weights : arrays of shape (C,)

    Examples
    --------
    >>> import fastloss as fl
    >>> weight = fl.DynamicClassWeight(2, momentum=0.5)
    >>> loss = fl.BinaryCrossEntropy(class_weight=weight)
    >>> weight.update([0, 0, 0, 1]).weights
    array([0.8       , 1.33333333])
    """

    def __init__(self, n_classes: int, momentum: float = 0.99) -> None:
        self.n_classes = _class_count(n_classes)
        self.momentum = number("momentum", momentum, at_least=0, below=1)
        self.frequencies = np.full(self.n_classes, 1.0 / self.n_classes)

    def update(self, y: ArrayLike) -> DynamicClassWeight:
        """Moves the frequencies towards those of a batch.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels; an empty batch changes nothing.

        Returns
        -------
        self
        """
        counts = _counts(y, self.n_classes)
        if counts.sum():
            self.frequencies = self.momentum * self.frequencies + (1 - self.momentum) * counts / counts.sum()
        return self

    @property
    def weights(self) -> NDArray[np.float64]:
        """1/(C·f); a frequency that has died out keeps the weight of the smallest positive number."""
        return 1.0 / (self.n_classes * np.maximum(self.frequencies, np.finfo(np.float64).tiny))

    def __repr__(self) -> str:
        return f"DynamicClassWeight(n_classes={self.n_classes}, momentum={self.momentum})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, DynamicClassWeight) and self.momentum == other.momentum and np.array_equal(
            self.frequencies, other.frequencies)

    def __hash__(self) -> int:
        return hash((self.n_classes, self.momentum))  # the frequencies change


def binary_class_weight(value: ClassWeight) -> Any:
    """None, "balanced", a DynamicClassWeight, or a read-only array of pairs (negative, positive)."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    if isinstance(value, DynamicClassWeight):
        if value.n_classes != 2:
            raise ValueError(f"class_weight has {value.n_classes} classes: a binary loss has 2")
        return value
    if isinstance(value, str):
        raise ValueError(f"class_weight must be None, 'balanced', a dict, an array or a DynamicClassWeight, "
                         f"got {value!r}")
    return _pairs(value)


def _pairs(value: Any) -> np.ndarray:
    """Weights of (negatives, positives) from a dict {0 or -1: weight, 1: weight}, or an array (2,) or (k, 2)."""
    if isinstance(value, Mapping):
        for key in value:
            if key not in (-1, 0, 1):
                raise ValueError(f"class_weight has the unknown class {key!r}: binary classes are 0 and 1, or -1 and 1")
        if -1 in value and 0 in value:
            raise ValueError("class_weight names the negative class twice, as -1 and as 0")
        value = [number(f"class_weight[{key}]", weight, at_least=0) for key, weight in
                 ((0, value.get(0, value.get(-1, 1.0))), (1, value.get(1, 1.0)))]
    pair = as_array(value, "class_weight").astype(np.float64)
    if pair.shape != (2,) and not (pair.ndim == 2 and pair.shape[1] == 2):
        raise ValueError(f"class_weight must have shape (2,), or (k, 2) with a row for each column, got {shape(pair)}")
    if not (np.isfinite(pair) & (pair >= 0)).all():
        index = tuple(int(i[0]) for i in np.nonzero(~(np.isfinite(pair) & (pair >= 0))))
        raise ValueError(f"class_weight[{', '.join(map(str, index))}] is {pair[index]}: weights must be finite "
                         f"and >= 0")
    return frozen(pair)


def row_class_weight(value: ClassWeight) -> Any:
    """None, "balanced", a DynamicClassWeight, a read-only dict {class: weight}, or a read-only array (C,).

    That classes and weights are as many as y_pred has columns is seen in a call, by `weights_of_classes`.
    """
    if value is None or isinstance(value, DynamicClassWeight) or (isinstance(value, str) and value == "balanced"):
        return value
    if isinstance(value, str):
        raise ValueError(f"class_weight must be None, 'balanced', a dict, an array or a DynamicClassWeight, "
                         f"got {value!r}")
    if not isinstance(value, Mapping):
        return per_class("class_weight", value, at_least=0)
    for key in value:
        if not isinstance(key, numbers.Real) or not 0 <= key < 2**31 or key != int(key):
            raise ValueError(f"class_weight has the unknown class {key!r}: classes are whole numbers from 0")
    return MappingProxyType({int(key): number(f"class_weight[{key}]", weight, at_least=0)
                             for key, weight in sorted(value.items())})


def weights_of_classes(value: Any, y: np.ndarray, n_classes: int, ignore_index: int | None,
                       log_target: bool) -> NDArray[np.float64]:
    """The weights (C,) that `row_class_weight` means for targets y: labels (n,), rows (n, C), or their logarithms."""
    if isinstance(value, str):
        return _balanced(y, n_classes, ignore_index, log_target)
    if isinstance(value, Mapping):
        unknown = [key for key in value if key >= n_classes]
        if unknown:
            raise ValueError(f"class_weight has the unknown class {unknown[0]}: y_pred has classes 0 to "
                             f"{n_classes - 1}")
        weights = np.ones(n_classes)
        weights[list(value)] = list(value.values())
        return weights
    weights = value.weights if isinstance(value, DynamicClassWeight) else value
    if len(weights) != n_classes:
        raise ValueError(f"class_weight has {len(weights)} classes, y_pred {n_classes}")
    return np.ascontiguousarray(weights, dtype=np.float64)


@np.errstate(all="ignore")  # of bad targets, which the kernel finds
def _balanced(y: np.ndarray, n_classes: int, ignore_index: int | None, log_target: bool) -> NDArray[np.float64]:
    """N/(C·N_c), with N_c the targets of class c; 1 for a class without any. Block by block: y may be large."""
    counts = np.zeros(n_classes)
    step = max(1, 2**16 // n_classes) if y.ndim == 2 else max(2**16, n_classes)
    for start in range(0, len(y), step):
        part = y[start:start + step]
        if y.ndim == 2:
            counts += np.exp(part.astype(np.float64)).sum(axis=0) if log_target else part.sum(axis=0, dtype=np.float64)
            continue
        part = part[(part >= 0) & (part < n_classes)]
        labels = part.astype(np.intp)
        if ignore_index is not None:
            labels = labels[part != ignore_index]
        counts += np.bincount(labels, minlength=n_classes)
    return np.divide(counts.sum() / n_classes, counts, out=np.ones(n_classes), where=counts > 0)
