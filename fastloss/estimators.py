"""Linear models in scikit-learn's style, for any loss of scores: `LinearClassifier` and `LinearRegressor`.

The pass over the data is `LinearLoss`, the way to the minimum is in `_solvers`; here are what scikit-learn's users
expect around them (labels, weights, attributes), mini-batches, and what predictions mean by the loss.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, _solvers
from ._typing import Array
from .binary import BinaryCrossEntropy, BinaryFocal, BinaryLoss, Exponential, Hinge, ModifiedHuber, Perceptron
from .binary import AsymmetricFocal
from .class_weight import DynamicClassWeight, class_weights, weights_of_classes
from .linear import LinearLoss
from .loss import Loss, get
from .multiclass import EarthMover, KLDivergence, MulticlassHinge, MultilabelMargin, RowLoss
from .regression import (
    AbsoluteError,
    AbsolutePercentageError,
    EpsilonInsensitive,
    Gamma,
    GaussianNLL,
    NegativeBinomial,
    Poisson,
    Quantile,
    RegressionLoss,
    Tweedie,
)

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # type: ignore[import-untyped]
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.utils import check_random_state  # type: ignore[import-untyped]
    from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
    from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
    from sklearn.utils.multiclass import check_classification_targets, type_of_target  # type: ignore[import-untyped]
    from sklearn.utils.validation import (  # type: ignore[import-untyped]
        _check_sample_weight,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise ImportError("LinearClassifier and LinearRegressor need scikit-learn 1.6 or newer: "
                      "pip install 'fastloss[sklearn]'") from error

Solver: TypeAlias = Literal["auto", "lbfgs", "newton", "sgd"]
Schedule: TypeAlias = Literal["adaptive", "constant", "invscaling"]
#: Rows of a batch: in the order of the data, or any.
Rows: TypeAlias = "slice | NDArray[np.intp]"

_FEW = 256  # coefficients up to which "auto" takes Newton's method: the cost of a Hessian grows with their square
_SAMPLES = 4096  # that say where the intercept starts
_PATIENCE = 5  # passes of mini-batches without progress
_SMALLEST = 1e-3  # share of the first step size at which the adaptive schedule ends


class Data(NamedTuple):
    """What a fit is made of: X, targets as the loss takes them, and weights of samples."""

    loss: Loss
    X: Any
    y: Any
    weight: Array | None
    n_outputs: int
    n_classes: int | None = None  # of a row loss with labels


class _LinearModel(BaseEstimator):  # type: ignore[misc]
    """What both estimators share."""

    loss: Loss | str
    alpha: float
    fit_intercept: bool
    solver: Solver
    max_iter: int
    tol: float
    warm_start: bool
    batch_size: int
    learning_rate: Schedule
    eta0: float
    momentum: float
    nesterov: bool
    random_state: Any
    n_threads: int | None
    verbose: int
    coef_: Array
    intercept_: Any
    n_iter_: int
    t_: int
    loss_: float
    loss_function_: Loss

    def set_params(self, **params: Any) -> Self:
        """Sets parameters, those of the loss as ``loss__<name>``, so that a grid search reaches them.

        Parameters
        ----------
        **params

        Returns
        -------
        self
        """
        of_loss = {name: params.pop(name) for name in list(params) if name.startswith("loss__")}
        super().set_params(**params)
        if of_loss:  # losses are immutable: this makes a new one
            loss = get(self.loss) if isinstance(self.loss, str) else self.loss
            self.loss = type(loss)(**loss.get_params() | {name[6:]: value for name, value in of_loss.items()})
        return self

    # ---- what is fitted ----------------------------------------------------------------------------------------------

    def _get_loss(self) -> Loss:
        """The loss, if its scores can be those of a linear model."""
        loss = get(self.loss) if isinstance(self.loss, str) else self.loss
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss or the name of one, got {loss!r}")
        inputs = getattr(loss, "inputs", "logits")
        if inputs != "logits":
            raise ValueError(f"loss {loss!r} takes {inputs}, and a linear model gives scores: use inputs='logits'")
        return loss

    def _check(self) -> None:
        _checks.number("alpha", self.alpha, at_least=0)
        _checks.number("tol", self.tol, at_least=0)
        _checks.number("eta0", self.eta0, above=0)
        _checks.number("momentum", self.momentum, at_least=0, below=1)
        for name in ("max_iter", "batch_size"):
            if _checks.integer(name, getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_threads is not None:
            _checks.thread_count(self.n_threads, "n_threads")
        _checks.choice("solver", self.solver, ("auto", "lbfgs", "newton", "sgd"))
        _checks.choice("learning_rate", self.learning_rate, ("adaptive", "constant", "invscaling"))

    def _arrays(self, X: Any, y: Any, *, reset: bool, **checks: Any) -> tuple[Any, Any]:
        X, y = validate_data(self, X, y, reset=reset, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32),
                             multi_output=True, **checks)
        if isinstance(X, np.ndarray) and not (X.flags.c_contiguous or X.flags.f_contiguous):
            X = np.ascontiguousarray(X)
        return X, y

    def _start(self, data: Data) -> Array:
        """The null model: zero coefficients, and the best intercept where it is finite."""
        theta = np.zeros((data.n_outputs, data.X.shape[1] + self.fit_intercept))
        bounded = np.isfinite(data.loss.domain[0])
        if not self.fit_intercept:
            if bounded and data.loss.domain[0] >= 0:  # scores of 0 are no predictions: scores near the mean may be
                mean = np.full(data.y.shape, np.average(data.y, weights=data.weight))
                flat = LinearLoss("squared_error", data.X, mean, fit_intercept=False, sample_weight=data.weight,
                                  n_threads=self.n_threads)
                found = _solvers.lbfgs(flat, theta.ravel(), 1e-6, None, 1000, _solvers.Progress("", 0, 0))
                theta = found.coef.reshape(theta.shape)
            return theta
        step = max(1, len(data.y) // _SAMPLES)
        weight = None if data.weight is None else data.weight[::step]
        if weight is not None and not weight.any():
            return theta
        more = {} if data.n_classes is None else {"n_classes": data.n_classes}
        best = np.atleast_1d(data.loss.intercept_only(data.y[::step], weight, **more))
        finite = np.isfinite(best)
        # A class that does not occur starts as low as the lowest, not at 0, which may be high.
        rest = best[finite].min() if isinstance(data.loss, RowLoss) and finite.any() else 0.0
        theta[:, -1] = np.where(finite, best, rest)
        return theta

    def _theta(self) -> Array:
        """The fitted coefficients, with intercepts in the last column."""
        theta = np.atleast_2d(np.asarray(self.coef_, dtype=np.float64))
        return np.column_stack([theta, np.atleast_1d(self.intercept_)]) if self.fit_intercept else theta.copy()

    def _previous(self, null: Array) -> Array:
        theta = self._theta()
        if theta.shape != null.shape:
            raise ValueError(f"warm_start continues a fit with coefficients of shape {theta.shape}, and these data and "
                             f"parameters need {null.shape}: set warm_start=False")
        return theta

    def _store(self, theta: Array, data: Data) -> None:
        coef, intercept = (theta[:, :-1], theta[:, -1]) if self.fit_intercept else (theta, np.zeros(len(theta)))
        flat = np.ndim(data.y) == 1 and data.n_outputs == 1 and isinstance(data.loss, RegressionLoss)
        self.coef_ = coef[0].copy() if flat else coef.copy()
        self.intercept_ = float(intercept[0]) if flat else intercept.copy()
        self.loss_function_ = data.loss

    def _minimise(self, data: Data) -> None:
        """Fits by a solver that sees all data in each iteration."""
        problem = LinearLoss(data.loss, data.X, data.y, sample_weight=data.weight, l2=self.alpha / _columns(data),
                             fit_intercept=bool(self.fit_intercept), n_classes=data.n_classes, n_threads=self.n_threads)
        null = self._start(data)
        start, scale = null, None
        if self.warm_start and hasattr(self, "coef_"):
            start = self._previous(null)
            scale = float(np.abs(problem.loss_gradient(null.ravel())[1]).max())
        if not np.isfinite(problem.loss(start.ravel())):
            raise ValueError(f"the objective is not finite at the start of the fit: loss {data.loss!r} needs scores in "
                             f"{data.loss.domain}" + ("" if self.fit_intercept else "; fit_intercept=True may help"))
        newton = self.solver == "newton" or (self.solver == "auto" and start.size <= _FEW and not _has_kinks(data.loss))
        if newton and _has_kinks(data.loss):
            raise ValueError(f"solver='newton' needs a loss without kinks, and {data.loss!r} has some: use 'lbfgs', "
                             f"which then is BFGS")
        quasi = _solvers.bfgs if _has_kinks(data.loss) or np.isfinite(data.loss.domain).any() else _solvers.lbfgs
        with _solvers.Progress(type(self).__name__, self.max_iter, self.verbose) as watch:
            found = (_solvers.newton if newton else quasi)(problem, start.ravel(), self.tol, scale, self.max_iter, watch)
        if found.trouble:
            self._warn(found.trouble)
        self.loss_, self.n_iter_ = found.loss, max(found.n_iter, 1)
        self._store(found.coef.reshape(start.shape), data)

    def _warn(self, trouble: str) -> None:
        warnings.warn(f"{type(self).__name__} has not converged: {trouble}. Scale the features, or raise max_iter or "
                      f"tol.", ConvergenceWarning, stacklevel=4)

    # ---- mini-batches ------------------------------------------------------------------------------------------------

    def _descend(self, data: Data, weigh: Callable[[Rows], Array | None]) -> None:
        """Fits by mini-batches, pass by pass in random order."""
        rng = check_random_state(self.random_state)
        theta = self._start(data)
        if self.warm_start and hasattr(self, "coef_"):
            theta = self._previous(theta)
        state = _Descent(theta)
        best, idle, eta0 = np.inf, 0, self.eta0
        with _solvers.Progress(type(self).__name__, self.max_iter, self.verbose) as watch:
            for n_iter in range(1, self.max_iter + 1):
                value = self._pass(data, weigh, state, eta0, rng.permutation(data.X.shape[0]))
                watch(value)
                idle = 0 if value < best - self.tol * abs(best) or best == np.inf else idle + 1
                best = min(best, value)
                if idle < _PATIENCE:
                    continue
                eta0, idle = eta0 / 5, 0
                if self.learning_rate != "adaptive" or eta0 < _SMALLEST * self.eta0:
                    break
            else:
                self._warn(_solvers._too_many(self.max_iter))
        self.loss_, self.n_iter_, self.t_ = value, n_iter, state.steps
        self._store(state.theta, data)

    def _pass(self, data: Data, weigh: Callable[[Rows], Array | None], state: _Descent, eta0: float,
              order: NDArray[np.intp] | None = None) -> float:
        """One step for each batch; returns the mean objective of the batches, each before its step."""
        n = data.X.shape[0]
        intercept = int(self.fit_intercept)
        total = 0.0
        for first in range(0, n, self.batch_size):
            rows: Rows = slice(first, first + self.batch_size)
            if order is not None:
                rows = order[rows]
            X, y = data.X[rows], data.y[rows]
            theta = state.theta + self.momentum * state.velocity if self.nesterov else state.theta
            coef = theta[:, : theta.shape[1] - intercept]
            z = X @ coef.T.astype(X.dtype)
            if intercept:
                z += theta[:, -1].astype(z.dtype)
            if _is_flat(data):
                z = z[:, 0]
            value, slope = data.loss.loss_gradient(y, z, sample_weight=weigh(rows), reduction="sum",
                                                   n_threads=self.n_threads)
            slope = slope.reshape(len(y), -1)
            gradient = np.empty(theta.shape)
            gradient[:, : coef.shape[1]] = (X.T @ slope).T / len(y) + self.alpha * coef
            if intercept:
                gradient[:, -1] = slope.sum(axis=0) / len(y)
            eta = eta0 / np.sqrt(state.steps + 1) if self.learning_rate == "invscaling" else eta0
            state.velocity = self.momentum * state.velocity - eta * gradient
            state.theta = state.theta + state.velocity
            state.steps += 1
            total += (float(value) + len(y) * self.alpha / 2 * float((coef * coef).sum())) / _columns(data)
        if not np.isfinite(state.theta).all():
            raise ValueError(f"the coefficients grew out of range after {state.steps} steps: lower eta0 (now "
                             f"{self.eta0:g}), or scale the features and targets")
        return total / n

    def _continue(self, data: Data, weigh: Callable[[Rows], Array | None]) -> None:
        """One pass over the data in their order, from where the last one ended."""
        if hasattr(self, "coef_"):
            state = _Descent(self._theta(), getattr(self, "_velocity", None), getattr(self, "t_", 0))
        else:
            state = _Descent(self._start(data))
        self.loss_ = self._pass(data, weigh, state, self.eta0)
        self.n_iter_, self.t_, self._velocity = getattr(self, "n_iter_", 0) + 1, state.steps, state.velocity
        self._store(state.theta, data)

    def _scores(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32))
        z = X @ self.coef_.T.astype(X.dtype)
        return np.asarray(z) + np.asarray(self.intercept_, dtype=X.dtype)


class _Descent:
    """Where a descent by mini-batches stands."""

    def __init__(self, theta: Array, velocity: Array | None = None, steps: int = 0) -> None:
        self.theta = theta
        self.velocity = np.zeros(theta.shape) if velocity is None else velocity
        self.steps = steps


def _is_flat(data: Data) -> bool:
    """Whether predictions have shape (n,)."""
    return np.ndim(data.y) == 1 and data.n_outputs == 1


def _columns(data: Data) -> int:
    """Over how many columns a mean of losses goes: with alpha divided by it, each has the fit of its own."""
    return 1 if isinstance(data.loss, RowLoss) or np.ndim(data.y) == 1 else data.n_outputs


def _has_kinks(loss: Loss) -> bool:
    """Whether the gradient jumps."""
    if isinstance(loss, (MulticlassHinge, EarthMover)):  # the worst class changes at a kink
        return loss.power == 1 or (isinstance(loss, MulticlassHinge) and loss.variant == "crammer_singer")
    if isinstance(loss, AsymmetricFocal):
        return loss.clip > 0 and loss.gamma_neg == 0
    return isinstance(loss, (AbsoluteError, AbsolutePercentageError, EpsilonInsensitive, Hinge, MultilabelMargin,
                             Perceptron, Quantile))
