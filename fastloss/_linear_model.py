"""What `LinearClassifier` and `LinearRegressor` share: the fit of any loss, by all data or by mini-batches.

The pass over the data is `LinearLoss`, the way to the minimum is in `_solvers`; here is what stands between them: where
a fit starts, which solver suits a loss, coordinates in which features are alike, and the descent by mini-batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, _solvers
from .binary import AsymmetricFocal, BinaryCrossEntropy, BinaryFocal, BinaryLoss, Hinge, Perceptron, Sharp
from .class_weight import DynamicClassWeight, binary_class_weight
from .linear import LinearLoss, Vector, blas_threads
from .loss import Loss, get
from .multiclass import EarthMover, MulticlassHinge, MultilabelMargin, RowLoss
from .regression import (
    AbsoluteError,
    AbsolutePercentageError,
    EpsilonInsensitive,
    Quantile,
    RegressionLoss,
    Robust,
    SmoothL1,
    SquaredError,
)

try:
    from sklearn.base import BaseEstimator  # type: ignore[import-untyped]
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.utils import check_random_state  # type: ignore[import-untyped]
    from sklearn.utils.validation import (  # type: ignore[import-untyped]
        _check_sample_weight,
        check_is_fitted,
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
_LITTLE = 2**22  # coefficients times samples, up to which it does: L-BFGS is faster for more
_SAMPLES = 4096  # that say where the intercept starts, and how features lie to each other
_SQUARE = 1000  # features up to which L-BFGS asks for that
_PATIENCE = 5  # passes of mini-batches without progress
_SMALLEST = 1e-3  # share of the first step size at which the adaptive schedule ends


class Data(NamedTuple):
    """What a fit is made of: X, targets as the loss takes them, and weights of samples."""

    loss: Loss
    X: Any
    y: Any
    weight: Vector | None
    n_outputs: int
    n_classes: int | None = None  # of a row loss with labels


class LinearModel(BaseEstimator):  # type: ignore[misc]
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
    coef_: Vector
    intercept_: Any
    n_iter_: int
    t_: int
    loss_: float
    loss_function_: Loss
    _velocity: Vector | None

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
            known = loss.get_params()
            for name in of_loss:
                if name[6:] not in known:
                    raise ValueError(f"{name} is no parameter: loss {loss!r} has "
                                     f"{', '.join(f'loss__{each}' for each in known) or 'none'}")
            self.loss = type(loss)(**known | {name[6:]: value for name, value in of_loss.items()})
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
        return validate_data(self, X, y, reset=reset, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32),
                             multi_output=True, **checks)

    def _start(self, data: Data) -> Vector:
        """The null model: zero coefficients, and about the best intercept where it is finite."""
        shape = data.n_outputs, data.X.shape[1] + bool(self.fit_intercept)
        theta = np.zeros(shape)
        if not self.fit_intercept:
            if data.loss.domain[0] == 0:  # scores of 0 are no predictions: scores near the mean may be
                mean = np.full(data.y.shape, np.average(data.y, weights=data.weight))
                flat = LinearLoss("squared_error", data.X, mean, fit_intercept=False, sample_weight=data.weight,
                                  n_threads=self.n_threads)
                theta = theta.ravel()
                found = _solvers.lbfgs(flat, theta, None, 1e-6, 1000, _solvers.Progress("", 0, 0))
                theta = found.coef.reshape(shape)
            return theta
        loss = start_loss(data.loss)
        step = max(1, len(data.y) // _SAMPLES)
        weight = None if data.weight is None else data.weight[::step]
        if loss is None or (weight is not None and not weight.any()):
            return theta
        more = {} if data.n_classes is None else {"n_classes": data.n_classes}
        best = np.atleast_1d(loss.intercept_only(data.y[::step], weight, **more))
        finite = np.isfinite(best)
        # A class that does not occur starts as low as the lowest, not at 0, which may be high.
        rest = best[finite].min() if isinstance(data.loss, RowLoss) and finite.any() else 0.0
        theta[:, -1] = np.where(finite, best, rest)
        return theta

    def _theta(self) -> Vector:
        """The fitted coefficients, with intercepts in the last column."""
        theta = np.atleast_2d(np.asarray(self.coef_, dtype=np.float64))
        return np.column_stack([theta, np.atleast_1d(self.intercept_)]) if self.fit_intercept else theta.copy()

    def _previous(self, null: Vector) -> Vector:
        theta = self._theta()
        if theta.shape != null.shape:
            raise ValueError(f"warm_start continues a fit with coefficients of shape {theta.shape}, and these data and "
                             f"parameters need {null.shape}: set warm_start=False")
        return theta

    def _store(self, theta: Vector, data: Data) -> None:
        if isinstance(data.loss, RowLoss) and not getattr(data.loss, "z_loss", 0):
            theta = theta - theta.mean(axis=0)  # a number added to a row's scores changes nothing
        coef, intercept = (theta[:, :-1], theta[:, -1]) if self.fit_intercept else (theta, np.zeros(len(theta)))
        flat = is_flat(data) and isinstance(data.loss, RegressionLoss)
        self.coef_ = coef[0].copy() if flat else coef.copy()
        self.intercept_ = float(intercept[0]) if flat else intercept.copy()
        self.loss_function_ = data.loss

    def _minimise(self, data: Data) -> None:
        """Fits by a solver that sees all data in each iteration."""
        own = weighed_by_column(data)
        problem = LinearLoss(own.loss, own.X, own.y, sample_weight=own.weight, l2=self.alpha / columns_of_mean(own),
                             fit_intercept=bool(self.fit_intercept), n_classes=own.n_classes, n_threads=self.n_threads)
        theta = self._start(own)
        start, null = theta.ravel(), None
        if self.warm_start and hasattr(self, "coef_"):
            start, null = self._previous(theta).ravel(), start
        bounded = np.isfinite(data.loss.domain).any()
        if bounded and not np.isfinite(problem.loss(start)):
            raise ValueError(f"the objective is not finite at the start of the fit: loss {data.loss!r} needs scores in "
                             f"{data.loss.domain}" + ("" if self.fit_intercept else "; fit_intercept=True may help"))
        kinks = has_kinks(data.loss)
        few = start.size <= _FEW and start.size * len(data.y) <= _LITTLE
        newton = self.solver == "newton" or (
            self.solver == "auto" and few and not kinks and not isinstance(data.loss, Sharp))
        if newton and kinks:
            raise ValueError(f"solver='newton' needs a loss without kinks, and {data.loss!r} has some: use 'lbfgs', "
                             f"which then is BFGS")
        n_iter = 0
        with blas_threads(1), _solvers.Progress(type(self).__name__, self.max_iter, self.verbose) as watch:
            if newton:
                found = _solvers.newton(problem, start, null, self.tol, self.max_iter, watch)
                start, null, n_iter = found.coef, theta.ravel(), found.n_iter
            if not newton or (found.trouble and found.go_on and n_iter < self.max_iter):
                solve = _solvers.bfgs if kinks or bounded else _solvers.lbfgs
                found = _solvers.solve_reshaped(solve, self._root(own, theta), problem, start, null, self.tol,
                                                self.max_iter - n_iter, watch)
                n_iter += found.n_iter
        if found.trouble:
            self._warn(_solvers.too_many(self.max_iter) if n_iter == self.max_iter else found.trouble)
        self.loss_, self.n_iter_, self.t_, self._velocity = found.loss, max(n_iter, 1), 0, None
        self._store(found.coef.reshape(theta.shape), data)

    def _root(self, data: Data, null: Vector) -> Vector | None:
        """A Cholesky factor that makes of features what L-BFGS and BFGS like: R with RᵀR near the Hessian of the null
        model, by some rows, as if all columns of scores had the same; of a loss that has none there, as if it were 1.
        None where there are many features, or it is singular."""
        features = null.shape[1]
        if features > _SQUARE or hasattr(data.X, "tocsr"):
            return None
        step = max(1, len(data.y) // max(_SAMPLES, 10 * features))
        X, y, weight = data.X[::step], data.y[::step], None if data.weight is None else data.weight[::step]
        if weight is not None and not weight.any(axis=0).all():
            return None
        z = np.broadcast_to(null[:, -1] if self.fit_intercept else np.zeros(len(null)), (len(y), len(null)))
        hessian = data.loss.gradient_hessian(y, z[:, 0] if is_flat(data) else z, sample_weight=weight,
                                             n_threads=self.n_threads)[1]
        rows = None if weight is None else weight.reshape(len(y), -1).mean(axis=1)
        shape = LinearLoss(SquaredError(half=True), X, np.zeros(len(y)), sample_weight=rows,
                           fit_intercept=bool(self.fit_intercept), n_threads=self.n_threads)
        curvature = float(hessian.sum()) / len(null)
        curvature = curvature if 0 < curvature < np.inf else 1.0
        matrix = curvature * shape.gradient_hessian(np.zeros(features))[1]
        diagonal = matrix.diagonal().copy()
        if not (np.isfinite(diagonal) & (diagonal > 0)).all():
            return None
        matrix.flat[:: features + 1] += 1e-8 * diagonal
        penalised = np.arange(features - self.fit_intercept)
        matrix[penalised, penalised] += self.alpha / columns_of_mean(data)
        try:
            return np.asarray(np.linalg.cholesky(matrix).T, np.float64)
        except np.linalg.LinAlgError:
            return None

    def _warn(self, trouble: str) -> None:
        warnings.warn(f"{type(self).__name__} has not converged: {trouble}. Scale the features, or raise max_iter or "
                      f"tol.", ConvergenceWarning, stacklevel=4)

    # ---- mini-batches ------------------------------------------------------------------------------------------------

    def _descend(self, data: Data, weigh: Callable[[Rows], Vector | None]) -> None:
        """Fits by mini-batches, pass by pass in random order."""
        rng = check_random_state(self.random_state)
        theta = self._start(data)
        if self.warm_start and hasattr(self, "coef_"):
            theta = self._previous(theta)
        state = Descent(theta)
        best, idle, eta0 = np.inf, 0, self.eta0
        with _solvers.Progress(type(self).__name__, self.max_iter, self.verbose) as watch:
            for n_iter in range(1, self.max_iter + 1):
                value = self._pass(data, weigh, state, eta0, rng.permutation(data.X.shape[0]))
                self.n_iter_ = n_iter
                watch(value)
                idle = 0 if value < best - self.tol * abs(best) or best == np.inf else idle + 1
                best = min(best, value)
                if idle < _PATIENCE:
                    continue
                eta0, idle = eta0 / 5, 0
                if self.learning_rate != "adaptive" or eta0 < _SMALLEST * self.eta0:
                    break
            else:
                self._warn(_solvers.too_many(self.max_iter))
        self.loss_, self.t_, self._velocity = value, state.steps, None
        self._store(state.theta, data)

    def _pass(self, data: Data, weigh: Callable[[Rows], Vector | None], state: Descent, eta0: float,
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
            z = X @ coef.T.astype(X.dtype, copy=False)
            if intercept:
                z += theta[:, -1].astype(z.dtype)
            if is_flat(data):
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
            total += (float(value) + len(y) * self.alpha / 2 * float((coef * coef).sum())) / columns_of_mean(data)
        if not np.isfinite(state.theta).all():
            raise ValueError(f"the coefficients grew out of range after {state.steps} steps: lower eta0 (now "
                             f"{self.eta0:g}), or scale the features and targets")
        return total / n

    def _continue(self, data: Data, weigh: Callable[[Rows], Vector | None]) -> None:
        """One pass over the data in their order, from where the last one ended."""
        if hasattr(self, "coef_"):
            state = Descent(self._theta(), self._velocity, self.t_)
            self.n_iter_ += 1
        else:
            state = Descent(self._start(data))
            self.n_iter_ = 1
        self.loss_ = self._pass(data, weigh, state, self.eta0)
        self.t_, self._velocity = state.steps, state.velocity
        self._store(state.theta, data)

    def _scores(self, X: Any) -> Vector:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32))
        return np.asarray(X @ self.coef_.T.astype(X.dtype), dtype=np.float64) + self.intercept_


class Descent:
    """Where a descent by mini-batches stands."""

    def __init__(self, theta: Vector, velocity: Vector | None = None, steps: int = 0) -> None:
        self.theta = theta
        self.velocity = np.zeros(theta.shape) if velocity is None else velocity
        self.steps = steps


def is_flat(data: Data) -> bool:
    """Whether predictions have shape (n,)."""
    return np.ndim(data.y) == 1 and data.n_outputs == 1


def columns_of_mean(data: Data) -> int:
    """Over how many columns a mean of losses goes: with alpha divided by it, each has the fit of its own."""
    return 1 if isinstance(data.loss, RowLoss) or np.ndim(data.y) == 1 else data.n_outputs


def weighed_by_column(data: Data) -> Data:
    """Class weights as weights of elements, whose sum is the same in all columns: so that each has the fit of its
    own."""
    given = data.loss.get_params()["class_weight"] if isinstance(data.loss, BinaryLoss) else None
    by_class = binary_class_weight(given)
    if columns_of_mean(data) == 1 or by_class is None or isinstance(by_class, str):  # "balanced" sums are the same
        return data
    by_class = by_class.weights if isinstance(by_class, DynamicClassWeight) else by_class
    pairs = np.broadcast_to(by_class, (data.n_outputs, 2))
    weight = np.where(data.y, pairs[:, 1], pairs[:, 0])
    if data.weight is not None:
        weight = weight * data.weight[:, None]
    sums = weight.sum(axis=0)
    if not (sums > 0).all():
        return data
    loss = type(data.loss)(**data.loss.get_params() | {"class_weight": None})
    return data._replace(loss=loss, weight=weight * (sums.mean() / sums))


def start_loss(loss: Loss) -> Loss | None:
    """A loss whose best intercept takes little time, and is about that of the given one: a search for it may take
    longer than the fit. None where it would be a linear program."""
    if isinstance(loss, RowLoss):
        program = isinstance(loss, MultilabelMargin) or (
            isinstance(loss, MulticlassHinge) and loss.variant == "weston_watkins" and loss.power == 1)
        return None if program else loss
    if isinstance(loss, (BinaryFocal, AsymmetricFocal)):
        return BinaryCrossEntropy(class_weight=loss.class_weight)
    if isinstance(loss, Robust) or type(loss)._best_constant is Loss._best_constant:
        return AbsoluteError()
    return loss


def has_kinks(loss: Loss) -> bool:
    """Whether the gradient jumps."""
    if isinstance(loss, (MulticlassHinge, EarthMover)):  # the worst class changes at a kink
        return loss.power == 1 or (isinstance(loss, MulticlassHinge) and loss.variant == "crammer_singer")
    if isinstance(loss, AsymmetricFocal):
        return loss.clip > 0 and loss.gamma_neg == 0
    if isinstance(loss, SmoothL1):
        return loss.beta == 0
    return isinstance(loss, (AbsoluteError, AbsolutePercentageError, EpsilonInsensitive, Hinge, MultilabelMargin,
                             Perceptron, Quantile))


def sample_weights(sample_weight: ArrayLike | None, X: Any) -> Vector | None:
    if sample_weight is None:
        return None
    weight: Vector = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("sample_weight is 0 for all samples: at least one must count")
    return weight
