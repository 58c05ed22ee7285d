"""Loss: what every loss can do. A call goes from here to `kernels/_driver.pyx` (checks, threads), from there to
`kernels/_sweeps.pyx`, or `kernels/_rows.pyx` for losses of rows (blocks, weights, sums), which calls the formula in the
.pxd of the loss's family."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from . import kernels
from ._checks import float32_fault
from ._intercept import best_constant, search
from ._typing import Array, Reduced, Reduction

_LOSS, _GRADIENT, _HESSIAN = 1, 2, 4
#: About what an element costs, in ns: loss and gradient of simple formulas, and of those with exp, log or a power.
SIMPLE, TRANSCENDENTAL = 0.4, 2.0

_registry: dict[str, type[BaseLoss]] = {}
_aliases: dict[str, str] = {}


class BaseLoss:
    """What all losses are: immutable, cheap, picklable, equal by value, and known by a name.

    `Loss` is of y_true and y_pred of one shape, or rows of scores, with Hessians; `SampleLoss` of whole arrays.
    """

    __slots__ = ("_parameters",)

    #: Other names that `get` knows.
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith(f"{__package__}.") and cls.__doc__ and "__init__" in vars(cls):
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
            _registry[name] = cls
            for alias in vars(cls).get("aliases", ()):
                _aliases[alias] = name

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is abstract: make one of {', '.join(available())}")

    def __getattr__(self, name: str) -> Any:
        if name != "_parameters" and name in self._parameters:
            return self._parameters[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: make a new one")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments.

        Parameters
        ----------
        deep : bool
            Not used; there because scikit-learn passes it.

        Returns
        -------
        dict
        """
        return dict(self._parameters)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        shown = (f"{k}={_plain(v)!r}" for k, v in self._parameters.items()
                 if k not in defaults or not _equal(v, defaults[k].default))
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_equal(v, other._parameters[k]) for k, v in self._parameters.items())

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {k: _picklable(v) for k, v in self._parameters.items()})

    def __sklearn_clone__(self) -> BaseLoss:
        return self  # immutable


class Loss(BaseLoss):
    """A loss function with its gradient and Hessian, computed in one pass.

    Objects are immutable and cheap; they pickle, compare by value, and are safe to share between threads.

    All methods take ``y_true`` and ``y_pred`` of equal shape, (n,) or (n, k), and the arguments below. Losses of rows
    of scores, such as `CrossEntropy`, take y_pred (n, C) with class labels (n,) or rows as y_true, and have one loss
    and one weight a row.

    sample_weight : array-like of shape (n,) or (n, k), optional
        Multiplies each sample's loss, gradient and Hessian. Finite; negative weights are allowed. A weight of exactly
        0 gives exactly 0, whatever the values there.
    reduction : {"mean", "sum", "none"}, default "mean"
        With w = sample_weight · class_weight: Σ w·loss / Σ w, Σ w·loss, or w·loss for each sample. Gradients and
        Hessians are scaled alike: w/Σ w for "mean", w otherwise.
    n_threads : int, optional
        At most this many threads; by default as many as `get_num_threads` says, one for little work. Results have the
        same bits for every number of threads.
    loss_out, gradient_out, hessian_out : ndarray, optional
        Where to write, instead of new arrays: y_pred's shape and memory order; float32 where y_pred is float32 or
        float16, else float64. One of them may be y_pred itself. ``loss_out`` goes with ``reduction="none"`` only.

    y_pred of float32 and float16 is computed in float32, of other dtypes in float64, and targets, weights and
    parameters are rounded to that; sums are always float64. The mean is right also where the sum of the losses would
    overflow.
    """

    __slots__ = ("_evaluator",)

    #: What y_true may hold: "real", "non-negative", "positive", "above -1", "binary" (hard labels) or "soft binary".
    target: ClassVar[str] = "real"
    #: Where y_pred makes sense (min, max), for tests, plots and guides.
    domain: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    #: The shape of what is predicted for one target.
    _outputs: ClassVar[tuple[int, ...]] = ()

    def _bind(self, formula: str, fields: Mapping[str, float], arguments: dict[str, Any], *, cost: float = SIMPLE,
              varying: str = "", class_weight: Any = None) -> None:
        """Sets the constructor's arguments, and the formula with its fields; `varying` names the argument that may
        vary by column."""
        object.__setattr__(self, "_parameters", arguments)  # first: `target` may ask for them
        value = arguments.get(varying)
        object.__setattr__(self, "_evaluator", kernels.bind(
            formula, dict(fields), target=self.target, cost=cost, varying_name=varying,
            varying=1.0 if value is None else value, class_weight=class_weight,
            float32_fault=float32_fault(arguments)))

    @overload
    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
                 reduction: Reduced = ..., n_threads: int | None = ..., loss_out: None = ...) -> float: ...

    @overload
    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
                 reduction: Literal["none"], n_threads: int | None = ..., loss_out: Array | None = ...) -> Array: ...

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
                 reduction: Reduction = "mean", n_threads: int | None = None, loss_out: Array | None = None
                 ) -> float | Array:
        """The same as `loss`."""
        return self._evaluator.evaluate(_LOSS, y_true, y_pred, sample_weight, reduction, n_threads, loss_out)

    @overload
    def loss(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
             reduction: Reduced = ..., n_threads: int | None = ..., loss_out: None = ...) -> float: ...

    @overload
    def loss(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
             reduction: Literal["none"], n_threads: int | None = ..., loss_out: Array | None = ...) -> Array: ...

    def loss(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
             reduction: Reduction = "mean", n_threads: int | None = None, loss_out: Array | None = None
             ) -> float | Array:
        """The loss.

        Returns
        -------
        float, or an array of y_pred's shape with ``reduction="none"``
        """
        return self._evaluator.evaluate(_LOSS, y_true, y_pred, sample_weight, reduction, n_threads, loss_out)

    def gradient(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
                 reduction: Reduction = "mean", n_threads: int | None = None, gradient_out: Array | None = None
                 ) -> Array:
        """The derivative of the reduced loss by each y_pred.

        Returns
        -------
        array of y_pred's shape
        """
        return self._evaluator.evaluate(_GRADIENT, y_true, y_pred, sample_weight, reduction, n_threads, None,
                                        gradient_out)

    @overload
    def loss_gradient(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
                      reduction: Reduced = ..., n_threads: int | None = ..., loss_out: None = ...,
                      gradient_out: Array | None = ...) -> tuple[float, Array]: ...

    @overload
    def loss_gradient(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
                      reduction: Literal["none"], n_threads: int | None = ..., loss_out: Array | None = ...,
                      gradient_out: Array | None = ...) -> tuple[Array, Array]: ...

    def loss_gradient(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
                      reduction: Reduction = "mean", n_threads: int | None = None, loss_out: Array | None = None,
                      gradient_out: Array | None = None) -> tuple[float | Array, Array]:
        """The loss and its gradient, in one pass.

        Returns
        -------
        (loss, gradient), as `loss` and `gradient` give them
        """
        return self._evaluator.evaluate(_LOSS | _GRADIENT, y_true, y_pred, sample_weight, reduction, n_threads,
                                        loss_out, gradient_out)

    def gradient_hessian(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
                         reduction: Reduction = "mean", n_threads: int | None = None,
                         gradient_out: Array | None = None, hessian_out: Array | None = None) -> tuple[Array, Array]:
        """The gradient and the diagonal of the Hessian, in one pass.

        Returns
        -------
        (gradient, hessian), arrays of y_pred's shape
            The Hessian is exact: 0 or negative where the loss is flat or not convex.
        """
        return self._evaluator.evaluate(_GRADIENT | _HESSIAN, y_true, y_pred, sample_weight, reduction, n_threads, None,
                                        gradient_out, hessian_out)

    @overload
    def loss_gradient_hessian(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
                              reduction: Reduced = ..., n_threads: int | None = ..., loss_out: None = ...,
                              gradient_out: Array | None = ..., hessian_out: Array | None = ...
                              ) -> tuple[float, Array, Array]: ...

    @overload
    def loss_gradient_hessian(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = ...,
                              reduction: Literal["none"], n_threads: int | None = ..., loss_out: Array | None = ...,
                              gradient_out: Array | None = ..., hessian_out: Array | None = ...
                              ) -> tuple[Array, Array, Array]: ...

    def loss_gradient_hessian(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
                              reduction: Reduction = "mean", n_threads: int | None = None,
                              loss_out: Array | None = None, gradient_out: Array | None = None,
                              hessian_out: Array | None = None) -> tuple[float | Array, Array, Array]:
        """The loss, its gradient and the diagonal of its Hessian, in one pass.

        Returns
        -------
        (loss, gradient, hessian), as the other methods give them
        """
        return self._evaluator.evaluate(_LOSS | _GRADIENT | _HESSIAN, y_true, y_pred, sample_weight, reduction,
                                        n_threads, loss_out, gradient_out, hessian_out)

    def intercept_only(self, y_true: ArrayLike, sample_weight: ArrayLike | None = None) -> float | Array:
        """The constant prediction with the lowest mean loss: where boosting and linear models start.

        Exact where there is a closed form, found to the last digits elsewhere. ±inf where the loss keeps falling, as
        does the cross-entropy of one class. Of several optimal constants it is the middle of their interval (so the
        median is NumPy's); the end where that interval is unbounded on one side, as for the hinge of one class; and 0,
        or the probability ½, where the loss does not depend on the constant. A loss that is not convex may have several
        minima: the lowest is returned, of equals the smallest; among more than about ten thousand different targets a
        sample of them says where to look.

        Parameters
        ----------
        y_true : array-like of shape (n,) or (n, k)
        sample_weight : array-like of shape (n,) or (n, k), optional
            Samples of weight 0 are left out.

        Returns
        -------
        float, or an array of shape (k,), one for each column; of `GaussianNLL` the array (mean, log variance)
            On the scale of y_pred: scores, or probabilities where the loss takes them. NaN where a target that counts
            is NaN or infinite.

        Raises
        ------
        ValueError
            As by `loss`; and for negative weights, and a column of zero weights.

        Examples
        --------
        >>> import fastloss as fl
        >>> fl.Poisson().intercept_only([0, 1, 2])
        0.0
        >>> fl.Quantile([0.25, 0.75]).intercept_only([[1, 1], [2, 2], [3, 3], [7, 7], [9, 9]])
        array([2., 7.])
        """
        return best_constant(self, y_true, sample_weight)

    def _best_constant(self, y: Array, w: Array) -> float | Array:
        """`intercept_only` of one column; see `_intercept`."""
        return search(self, y, w)


def _rebuild(cls: type[BaseLoss], parameters: dict[str, Any]) -> BaseLoss:
    return cls(**parameters)


def _picklable(value: Any) -> Any:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else _picklable(value)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and np.array_equal(a, b)
    return type(a) is type(b) and bool(a == b)


def get(name: str, **parameters: Any) -> Any:
    """A loss by its name.

    Parameters
    ----------
    name : str
        The class's name in snake_case ("binary_focal"), or another name it is known by ("mse", "bce", "pinball").
    **parameters
        The constructor's arguments.

    Returns
    -------
    Loss, or a loss of whole arrays such as `Dice` or `Triplet`

    Raises
    ------
    ValueError
        When no loss has this name; the message lists all.
    """
    return find(name)(**parameters)


def find(name: str) -> type[Any]:
    """The class that a name means."""
    try:
        return _registry[_aliases.get(name, name)]
    except (KeyError, TypeError):
        raise ValueError(f"no loss is called {name!r}; known are {', '.join(available())}, and as other names "
                         f"{', '.join(sorted(_aliases))}") from None


def available() -> list[str]:
    """The names of all losses, sorted; `get` makes one, and knows more names for some.

    Returns
    -------
    list of str
    """
    return sorted(_registry)
