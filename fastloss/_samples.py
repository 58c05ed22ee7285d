"""SampleLoss: what losses of whole arrays share, from the arguments of a call to its results.

A family computes the losses of samples and their gradients in `_compute`; weights, reductions and outputs are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._typing import Array, Reduction
from .kernels import _driver
from .loss import _GRADIENT, _LOSS, BaseLoss

Gradients = Array | tuple[Array, ...]


class SampleLoss(BaseLoss):
    """A loss of samples that are more than a number or a row of scores: images, pairs of vectors, batches.

    Methods take the loss's arrays in the order, or by the names, that its description gives; the first axis of each is
    the samples. There is no Hessian. The arguments below are common to all.

    sample_weight : array-like of shape (n,), optional
        Multiplies each sample's loss and gradients. Finite; negative weights are allowed. A weight of exactly 0 gives
        exactly 0, whatever the values there.
    reduction : {"mean", "sum", "none"}, default "mean"
        Σ w·loss / Σ w, Σ w·loss, or w·loss for each sample. Gradients are scaled alike: w/Σ w for "mean", w otherwise.
    n_threads : int, optional
        At most this many threads; by default as many as `get_num_threads` says. Results have the same bits for every
        number of threads.
    loss_out : ndarray of shape (n,), optional
        Where to write the losses of ``reduction="none"``, instead of a new array.
    gradient_out : ndarray, or tuple of ndarrays, optional
        Where to write the gradients, instead of new arrays: of the shape of what they are gradients for; float32 where
        that is all float32 or float16, else float64. Each may be that very array.

    Arrays of float32 and float16 are computed in float32, unless said otherwise, and others in float64; sums are always
    float64.
    """

    __slots__ = ()

    #: The names of the arrays of a call, and of those that gradients are for.
    inputs_of_call: ClassVar[tuple[str, ...]] = ("y_true", "y_pred")
    gradients_for: ClassVar[tuple[str, ...]] = ("y_pred",)

    def _set(self, parameters: dict[str, Any]) -> None:
        """Sets the constructor's arguments."""
        object.__setattr__(self, "_parameters", parameters)

    # ---- what users call ---------------------------------------------------------------------------------------------

    def __call__(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None, reduction: Reduction = "mean",
                 n_threads: int | None = None, loss_out: Array | None = None, **named: ArrayLike) -> float | Array:
        """The same as `loss`."""
        return self._evaluate(_LOSS, arrays, named, sample_weight, reduction, n_threads, loss_out)

    def loss(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None, reduction: Reduction = "mean",
             n_threads: int | None = None, loss_out: Array | None = None, **named: ArrayLike) -> float | Array:
        """The loss.

        Returns
        -------
        float, or an array of shape (n,) with ``reduction="none"``
        """
        return self._evaluate(_LOSS, arrays, named, sample_weight, reduction, n_threads, loss_out)

    def gradient(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None, reduction: Reduction = "mean",
                 n_threads: int | None = None, gradient_out: Gradients | None = None, **named: ArrayLike) -> Gradients:
        """The derivative of the reduced loss.

        Returns
        -------
        array, or a tuple of one for each array that the loss has a gradient for
        """
        return self._evaluate(_GRADIENT, arrays, named, sample_weight, reduction, n_threads, None, gradient_out)

    def loss_gradient(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None, reduction: Reduction = "mean",
                      n_threads: int | None = None, loss_out: Array | None = None,
                      gradient_out: Gradients | None = None, **named: ArrayLike) -> tuple[Any, ...]:
        """The loss and its gradients.

        Returns
        -------
        (loss, gradient), or (loss, gradient, gradient, ...) where the loss has gradients for several arrays
        """
        return self._evaluate(_LOSS | _GRADIENT, arrays, named, sample_weight, reduction, n_threads, loss_out,
                              gradient_out)

    # ---- what a family says ------------------------------------------------------------------------------------------

    def _check(self, arrays: list[np.ndarray]) -> int:
        """The number of samples. Raises where shapes do not match."""
        raise NotImplementedError

    def _compute(self, arrays: list[np.ndarray], scale: NDArray[np.float64], losses: NDArray[np.float64] | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        """Fills the losses (n,) of samples, and the gradients, each sample's times its scale, where they are wanted. A
        gradient may lie in the memory of its own array."""
        raise NotImplementedError

    def _scales(self, arrays: list[np.ndarray], weight: NDArray[np.float64] | None, n: int, reduction: str
                ) -> NDArray[np.float64]:
        """What each sample's loss and gradients are multiplied with; 0 only where the weight is."""
        return scales(weight, n, reduction)

    def _sum(self, losses: NDArray[np.float64], scale: NDArray[np.float64]) -> float:
        """The losses of samples as one."""
        weighted = scale.strides != (0,)  # else it is one number: see `scales`
        sums = []
        for start in range(0, len(losses), 2**15):
            factor = scale[start:start + 2**15]
            products = factor * losses[start:start + 2**15]
            if weighted:
                products[factor == 0] = 0.0
            sums.append(products.sum())
        return float(np.sum(sums))

    # ---- a call ------------------------------------------------------------------------------------------------------

    def _evaluate(self, mode: int, given: Sequence[ArrayLike], named: dict[str, Any], sample_weight: ArrayLike | None,
                  reduction: str, n_threads: int | None, loss_out: Array | None = None,
                  gradient_out: Gradients | None = None) -> Any:
        arrays = self._arrays(given, named)
        _checks.choice("reduction", reduction, ("mean", "sum", "none"))
        if n_threads is not None:
            _checks.thread_count(n_threads, "n_threads")
        n = self._check(arrays)
        dtype = self._dtype(arrays)
        given_weight = None if sample_weight is None else _checks.as_array(sample_weight, "sample_weight")
        weight = None if given_weight is None else rounded_weights(given_weight, n, dtype)
        scale = self._scales(arrays, weight, n, reduction)
        others = dict(zip(self.inputs_of_call, arrays, strict=True))  # what an output must not overlap
        if given_weight is not None:
            others["sample_weight"] = given_weight
        gradients = self._gradients(others, gradient_out, dtype) if mode & _GRADIENT else None
        by_sample = bool(mode & _LOSS) and reduction == "none"
        if loss_out is not None:
            if not by_sample:
                raise ValueError(f"loss_out is only for reduction='none'; with {reduction!r} the loss is a float")
            _checks.output(loss_out, "loss_out", np.broadcast_to(dtype(0), (n,)), dtype)
            names = [f"gradient for {name}" for name in self.gradients_for] if gradients else []
            check_overlap("loss_out", loss_out, others | dict(zip(names, gradients or (), strict=True)))
        losses = np.zeros(n) if mode & _LOSS else None
        with np.errstate(all="ignore"):  # NaN and inf are results
            self._compute(arrays, scale, losses, gradients, n_threads)
            if weight is not None:
                for gradient in gradients or ():
                    gradient[weight == 0] = 0  # 0 times whatever was there is 0
            value: Any = None
            if losses is not None:
                if by_sample:
                    value = np.empty(n, dtype) if loss_out is None else loss_out
                    value[...] = np.where(scale == 0, 0.0, scale * losses)
                else:
                    value = self._sum(losses, scale)
        return results(value, gradients)

    def _arrays(self, given: Sequence[ArrayLike], named: dict[str, Any]) -> list[np.ndarray]:
        """The arrays of a call, in order."""
        names = self.inputs_of_call
        unknown = [name for name in named if name not in names[len(given):]]
        if len(given) + len(named) != len(names) or unknown:
            what = f"an argument {unknown[0]!r}" if unknown else f"{len(given) + len(named)}"
            raise TypeError(f"{type(self).__name__} takes the arrays ({', '.join(names)}), got {what}")
        return [_checks.as_array(value, name)
                for name, value in zip(names, [*given, *(named[name] for name in names[len(given):])], strict=True)]

    def _dtype(self, arrays: list[np.ndarray]) -> type[np.floating[Any]]:
        """What the gradients are, and losses of samples."""
        kinds = {array.dtype for name, array in zip(self.inputs_of_call, arrays, strict=True)
                 if name in self.gradients_for}
        return np.float32 if kinds <= {np.dtype(np.float16), np.dtype(np.float32)} else np.float64

    def _gradients(self, others: dict[str, np.ndarray], out: Gradients | None, dtype: type[np.floating[Any]]
                   ) -> list[Array]:
        """The caller's arrays, checked, or new ones."""
        own = [others[name] for name in self.gradients_for]
        if out is None:
            return [np.empty_like(array, dtype, subok=False) for array in own]
        outs = list(out) if isinstance(out, tuple) else [out]
        if len(outs) != len(own):
            raise ValueError(f"gradient_out must be {'one array' if len(own) == 1 else f'a tuple of {len(own)} arrays'}"
                             f", for {', '.join(self.gradients_for)}; got {len(outs)}")
        names = ["gradient_out"] if len(own) == 1 else [f"gradient_out[{i}]" for i in range(len(own))]
        for i, (target, source) in enumerate(zip(outs, self.gradients_for, strict=True)):
            _checks.output(target, names[i], others[source], dtype)
            check_overlap(names[i], target, others | dict(zip(names[:i], outs, strict=False)), source)
        return outs


def rounded_weights(weight: np.ndarray, n: int, dtype: type[np.floating[Any]]) -> NDArray[np.float64]:
    """Weights (n,), rounded to the dtype that is computed in."""
    if weight.shape != (n,):
        raise ValueError(f"sample_weight has shape {_checks.shape(weight)}: with {n} samples it must be ({n},)")
    with np.errstate(over="ignore"):
        rounded = weight.astype(dtype).astype(np.float64)
    if not np.isfinite(rounded).all():
        _checks.raise_weight_fault(weight, dtype)
    return rounded


def scales(weight: NDArray[np.float64] | None, n: int, reduction: str) -> NDArray[np.float64]:
    """What each sample's loss and gradient are multiplied with. (Equal numbers are one, broadcast.)"""
    if reduction != "mean":
        return np.broadcast_to(1.0, (n,)) if weight is None else weight
    if n == 0:
        raise ValueError("there are no samples, and their mean is not defined: give at least one, or reduction='sum'")
    if weight is None:
        return np.broadcast_to(1.0 / n, (n,))
    return weight / positive_total(weight)


def positive_total(weight: NDArray[np.float64]) -> float:
    """The sum of weights, that a mean divides by."""
    total = math.fsum(weight)
    if not total > 0:
        raise ValueError(f"the weights sum to {total}: with reduction='mean' the sum must be positive")
    return total


def results(value: Any, gradients: list[Array] | None) -> Any:
    """What a method returns: `value` None is no loss."""
    if gradients is None:
        return value
    if value is None:
        return gradients[0] if len(gradients) == 1 else tuple(gradients)
    return (value, *gradients)


def check_overlap(name: str, out: np.ndarray, others: dict[str, np.ndarray], source: str = "") -> None:
    """Raises where an output overlaps another array; it may be `source` itself."""
    for other_name, other in others.items():
        if np.may_share_memory(out, other) and np.shares_memory(out, other):
            if other_name != source:
                raise ValueError(f"{name} overlaps {other_name} in memory")
            if not is_same_memory(out, other):
                raise ValueError(f"{name} overlaps {other_name} in memory without being it (same memory, same strides)")


def is_same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    return (a.ctypes.data == b.ctypes.data and a.dtype == b.dtype and a.shape == b.shape
            and all(n < 2 or s == t for n, s, t in zip(a.shape, a.strides, b.strides, strict=True)))


def thread_count(n_threads: int | None) -> int:
    return _driver.get_num_threads() if n_threads is None else n_threads


def bad_shapes(names: Sequence[str], arrays: Sequence[np.ndarray], rule: str) -> NoReturn:
    shapes = ", ".join(f"{name} {_checks.shape(array)}" for name, array in zip(names, arrays, strict=True))
    raise ValueError(f"shapes are {shapes}: {rule}")
