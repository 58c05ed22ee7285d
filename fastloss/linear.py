"""Losses of linear models, with X read once. The pass over X: `kernels/_linear.pyx`."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks, kernels
from ._intercept import _classes
from .loss import Loss, get
from .multiclass import RowLoss

Vector = NDArray[np.float64]

# What a pass computes; and how X is stored: as in kernels/_linear.pyx and kernels/types.pxd.
_LOSS, _GRADIENT, _PRODUCT, _FULL, _SCORES = 1, 2, 8, 16, 32
_DENSE_ROWS, _DENSE_COLUMNS, _STRIDED, _SPARSE_ROWS, _SPARSE_COLUMNS = range(5)
# From so many outputs on, BLAS is faster, where their coefficients take most of the L1 cache (measured).
_BLAS_OUTPUTS, _BLAS_COEFFICIENTS = 16, 3072


class LinearLoss:
    """The loss of a linear model as a function of its coefficients, with gradient and Hessian.

    With scores z_i = W·x_i + b and w = sample_weight · class_weight it is::

        Σ_i w_i·loss(y_i, z_i) / Σ_i w_i + ½·l2·‖W‖²

    Each evaluation reads X once: block by block, a thread computes scores, their losses and derivatives, and the
    block's part of the gradient, while the block is in cache. X is not copied.

    Parameters
    ----------
    loss : Loss or str
        Any loss of scores, or its name as `get` takes it. Losses of rows, such as `CrossEntropy`, have a row of W for
        each class, and `GaussianNLL` two, for mean and log variance.
    X : array-like or sparse of shape (n, d)
        Dense, of any strides, or CSR or CSC; float32 or float64. float32 is read as it is, and computed with in
        float64. Numbers of other types are copied once, as is CSC whose rows are not sorted. It must not change
        afterwards.
    y : array-like of shape (n,) or (n, k)
        As the loss takes its ``y_true``: k targets give k columns of scores. Checked once, and, but for losses of rows,
        converted once to float64 where they are not. It must not change afterwards either.
    sample_weight : array-like of shape (n,) or (n, k), optional
        As the loss takes it. The sum of all weights must be positive. Rows of weight 0 count for nothing, whatever X
        holds there. It must not change afterwards either.
    l2 : float >= 0, default 0
        Penalty on W; intercepts are free.
    fit_intercept : bool, default True
        Whether there is a b.
    n_classes : int, optional
        C, for losses of rows with labels (n,). By default the largest label + 1, or more where a parameter of the loss
        names more classes; at least 2.
    n_threads : int, optional
        At most this many threads, also for BLAS; by default as many as `get_num_threads` says.

    Attributes
    ----------
    n_samples, n_features : int
        X's shape.
    n_outputs : int
        k, the number of scores of a sample.
    n_coef : int
        Length of ``coef``, k·(d + fit_intercept): ``coef.reshape(k, d + fit_intercept)`` holds W, and b as its last
        column.

    Raises
    ------
    ValueError, TypeError
        As by the loss's own methods; and for an X that is not two-dimensional, holds no numbers, or has another number
        of rows than y.

    Notes
    -----
    Sums have a fixed order: results have the same bits for every number of threads (with BLAS, which serves 16 outputs
    and more where they have 3072 coefficients and more in all, and more than one with X in F order, as far as BLAS
    keeps the same bits on one thread). Gradients are sums in float64, not compensated.

    While BLAS is used, and for Hessians, it is kept to one thread in the whole process (by threadpoolctl). Elsewhere,
    its threads go on spinning for some milliseconds after a call, say a product in NumPy, and slow down a pass with
    more than one thread that comes meanwhile.

    Class weights, also those of a `DynamicClassWeight`, are looked up when the object is made. A pickle, or a
    deep copy, holds the arguments, X and y among them, and makes the object anew.

    A dense array in C order is read about as fast as memory gives it; one whose rows and columns both have strides is
    slower, and goes through a copy of a block. Sparse columns (CSC) are read twice, and each thread holds 1/16 to half
    of the scores.

    Examples
    --------
    >>> import fastloss as fl, numpy as np
    >>> from scipy.optimize import minimize
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
    >>> objective = fl.LinearLoss("binary_cross_entropy", X, y, l2=0.1)
    >>> minimize(objective.loss_gradient, np.zeros(2), jac=True).x.round(4)
    array([ 0.6367, -0.9551])
    """

    def __init__(self, loss: Loss | str, X: Any, y: ArrayLike, *, sample_weight: ArrayLike | None = None,
                 l2: float = 0.0, fit_intercept: bool = True, n_classes: int | None = None,
                 n_threads: int | None = None) -> None:
        from .kernels import _linear  # here: it loads scipy.linalg, which takes long

        if isinstance(loss, str):
            loss = get(loss)
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss, or the name of one, got {loss!r}")
        self._arguments = {"loss": loss, "X": X, "y": y, "sample_weight": sample_weight, "l2": l2,
                           "fit_intercept": fit_intercept, "n_classes": n_classes, "n_threads": n_threads}
        self._l2 = _checks.number("l2", l2, at_least=0)
        self._fit_intercept = _checks.flag("fit_intercept", fit_intercept)
        self._n_threads = n_threads if n_threads is None else _checks.thread_count(n_threads, "n_threads")
        target = _checks.as_array(y, "y")
        self.n_outputs = _outputs(loss, target, n_classes)
        self._flat = target.ndim == 1 and not isinstance(loss, RowLoss) and not loss._outputs
        design = _sparse(X, self.n_outputs) if hasattr(X, "tocsr") else _dense(X, self.n_outputs)
        self._storage, self._blas = design.storage, design.blas
        self.n_samples, self.n_features = design.X.shape
        if len(target) != self.n_samples:
            raise ValueError(f"X has {self.n_samples} rows, y {len(target)}: they must be equal")
        if self.n_samples == 0:
            raise ValueError("X has no rows, and their mean is not defined: give at least one")
        weight = None if sample_weight is None else _checks.as_array(sample_weight, "sample_weight")
        if weight is not None and weight.shape not in ((self.n_samples,), target.shape):
            raise ValueError(f"sample_weight has shape {_checks.shape(weight)}: with {self.n_samples} samples and y of "
                             f"shape {_checks.shape(target)} it must be ({self.n_samples},)"
                             + (f" or {_checks.shape(target)}" if target.ndim == 2 else ""))
        self.n_coef = self.n_outputs * (self.n_features + self._fit_intercept)
        products = kernels.products.bind(design.storage, design.data.dtype == np.float64,
                                         design.indices is not None and design.indices.dtype == np.int64)
        try:
            self._pass = _linear.LinearPass(
                loss._evaluator, products, design.storage, design.data, design.pitch, design.step, design.indices,
                design.starts, design.strip, design.blas, self.n_samples, self.n_features, target, weight,
                self.n_outputs, self._flat, self._fit_intercept)
        except (TypeError, ValueError) as error:  # in the words of the loss
            raise type(error)(str(error).replace("y_true", "y").replace("y_pred", "the scores")) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._arguments,)

    def loss(self, coef: ArrayLike) -> float:
        """The objective.

        Parameters
        ----------
        coef : array-like of shape (n_coef,)

        Returns
        -------
        float
        """
        W, b = self._split(coef, "coef")
        return self._evaluate(_LOSS, W, b)[0] + self._penalty(W)

    def loss_gradient(self, coef: ArrayLike) -> tuple[float, Vector]:
        """The objective and its gradient, as `scipy.optimize.minimize` takes them with ``jac=True``.

        Parameters
        ----------
        coef : array-like of shape (n_coef,)

        Returns
        -------
        (float, array of shape (n_coef,))
        """
        W, b = self._split(coef, "coef")
        value, sums = self._evaluate(_LOSS | _GRADIENT, W, b)
        return value + self._penalty(W), self._by_coef(sums, W)

    def hessian_product(self, coef: ArrayLike, v: ArrayLike) -> Vector:
        """The product of the objective's Hessian at ``coef`` with a vector, as ``hessp`` of `scipy.optimize.minimize`.

        Exact, but for losses of rows, whose scores act on each other: there central differences of the exact gradient
        along a row's direction give about ten digits, fewer where the scores' own digits behind the point are few.

        Parameters
        ----------
        coef, v : array-like of shape (n_coef,)

        Returns
        -------
        array of shape (n_coef,)
        """
        W, b = self._split(coef, "coef")
        V, c = self._split(v, "v")
        return self._by_coef(self._evaluate(_PRODUCT, W, b, V, c)[1], V)

    def gradient_hessian(self, coef: ArrayLike) -> tuple[Vector, Vector]:
        """The objective's gradient and full Hessian, for models of few coefficients.

        Exact up to what `hessian_product` says. Memory is that of some Hessians, and for each thread that of a block of
        rows of X as doubles; of CSC a block is up to half of the rows.

        Parameters
        ----------
        coef : array-like of shape (n_coef,)

        Returns
        -------
        (array of shape (n_coef,), array of shape (n_coef, n_coef))
        """
        W, b = self._split(coef, "coef")
        sums = self._evaluate(_FULL, W, b)[1]
        k, d, p = self.n_outputs, self.n_features, self.n_features + self._fit_intercept
        gradient, blocks = sums[:k * (d + 1)], sums[k * (d + 1):].reshape(-1, p, p)
        blocks = np.triu(blocks) + np.triu(blocks, 1).transpose(0, 2, 1)
        hessian = np.zeros((k, p, k, p))
        if len(blocks) == k:
            hessian[range(k), :, range(k)] = blocks
        else:
            for a, c in zip(*np.triu_indices(k), strict=True):
                hessian[a, :, c] = hessian[c, :, a] = blocks[a * k + c]
        hessian = hessian.reshape(self.n_coef, self.n_coef)
        penalised = np.tile(np.arange(p) < d, k)
        hessian[penalised, penalised] += self._l2
        return self._by_coef(gradient, W), hessian

    def scores(self, coef: ArrayLike) -> Vector:
        """X @ W.T + b.

        Parameters
        ----------
        coef : array-like of shape (n_coef,)

        Returns
        -------
        array of shape (n,), or (n, k) where y or the loss asks for columns
        """
        W, b = self._split(coef, "coef")
        z = self._evaluate(_SCORES, W, b)[1]
        return z[:, 0] if self._flat else z

    def _split(self, coef: ArrayLike, name: str) -> tuple[Vector, Vector]:
        """W and b."""
        given = _checks.as_array(coef, name).astype(np.float64, copy=False)
        if given.shape != (self.n_coef,):
            intercepts = " and the intercept" if self._fit_intercept else ""
            raise ValueError(f"{name} has shape {_checks.shape(given)}: it must be ({self.n_coef},), for "
                             f"{self.n_outputs} times {self.n_features} features{intercepts}")
        given = given.reshape(self.n_outputs, -1)
        if self._fit_intercept:
            return given[:, :-1], given[:, -1]
        return given, np.zeros(self.n_outputs)

    def _penalty(self, W: Vector) -> float:
        return 0.5 * self._l2 * float(np.vdot(W, W)) if self._l2 else 0.0

    def _evaluate(self, mode: int, W: Vector, b: Vector, V: Vector | None = None,
                  c: Vector | None = None) -> tuple[float, Vector]:
        with blas_threads(1) if self._blas or mode == _FULL else contextlib.nullcontext():
            return self._pass.evaluate(mode, self._stored(W), np.ascontiguousarray(b),
                                       None if V is None else self._stored(V),
                                       None if c is None else np.ascontiguousarray(c), self._n_threads)

    def _stored(self, W: Vector) -> Vector:
        """As a pass takes coefficients: beside sparse X those of a feature together."""
        return np.ascontiguousarray(W if self._storage < _SPARSE_ROWS else W.T)

    def _by_coef(self, sums: Vector, W: Vector) -> Vector:
        """A gradient in the order of coef, with the penalty's."""
        k, d = self.n_outputs, self.n_features
        gradient = np.empty((k, d + self._fit_intercept))
        part = sums[:k * d]
        gradient[:, :d] = part.reshape(k, d) if self._storage < _SPARSE_ROWS else part.reshape(d, k).T
        if self._l2:
            gradient[:, :d] += self._l2 * W
        if self._fit_intercept:
            gradient[:, d] = sums[k * d:]
        return gradient.ravel()


def blas_threads(most: int) -> contextlib.AbstractContextManager[object]:
    """Keeps BLAS to so many threads where it would use more, in the whole process.

    To one within our own threads, and between passes: BLAS's threads go on spinning for a while after a call, on the
    CPUs that ours need.
    """
    libraries = _blas_libraries()
    more = [library.filepath for library in libraries.lib_controllers if (library.num_threads or 1) > most]
    return libraries.select(filepath=more).limit(limits=most) if more else contextlib.nullcontext()


@cache
def _blas_libraries() -> Any:
    import scipy.linalg.cython_blas  # type: ignore[import-untyped]  # noqa: F401  (loads SciPy's, if nothing else has)
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")


def _made(arguments: dict[str, Any]) -> LinearLoss:
    return LinearLoss(**arguments)


def _outputs(loss: Loss, y: np.ndarray, n_classes: int | None) -> int:
    """How many scores a sample has."""
    if isinstance(loss, RowLoss):
        if y.ndim not in (1, 2):
            raise ValueError(f"y must have shape (n,) or (n, C), got {_checks.shape(y)}")
        if y.ndim == 1 and loss.target in ("log classes", "indicators"):
            raise ValueError(f"y must have shape (n, C) for {type(loss).__name__}, got {_checks.shape(y)}")
        outputs = _classes(loss._parameters, y, n_classes)
        if outputs < 2:
            raise ValueError(f"y has shape {_checks.shape(y)}: {type(loss).__name__} needs at least two classes")
        return outputs
    if n_classes is not None:
        raise ValueError(f"n_classes is {n_classes!r}: {type(loss).__name__} is no loss of rows of scores")
    if loss._outputs:
        if y.ndim != 1:
            raise ValueError(f"y must have shape (n,) for {type(loss).__name__}, got {_checks.shape(y)}")
        return loss._outputs[0]
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] == 0):
        raise ValueError(f"y must have shape (n,) or (n, k), got {_checks.shape(y)}")
    return y.shape[1] if y.ndim == 2 else 1


# ---- X ---------------------------------------------------------------------------------------------------------------

class _Design(NamedTuple):
    """X, as kernels/_linear.pyx describes it in LinearPass."""

    X: Any
    storage: int
    data: np.ndarray
    pitch: int = 0
    step: int = 0
    indices: np.ndarray | None = None
    starts: np.ndarray | None = None
    strip: int = 0
    blas: bool = False


def _dense(X: Any, outputs: int) -> _Design:
    X = _checks.as_array(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, d), got {_checks.shape(X)}")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    # of an array that is both, what makes the longer loops
    columns = _pitch(X.T) > 0 and (X.shape[1] == 1 or _pitch(X) == 0)
    many = outputs >= _BLAS_OUTPUTS and outputs * X.shape[1] >= _BLAS_COEFFICIENTS
    blas = many or (outputs > 1 and columns)
    if (blas and X.dtype != np.float64) or not (columns or _pitch(X)):
        return _Design(X, _STRIDED, X, X.strides[0], X.strides[1], blas=blas)
    if columns:
        return _Design(X, _DENSE_COLUMNS, X, _pitch(X.T), blas=blas)
    return _Design(X, _DENSE_ROWS, X, _pitch(X), blas=blas)


def _pitch(X: np.ndarray) -> int:
    """Numbers from one row to the next; 0: rows are not contiguous, or overlap."""
    n, d = X.shape
    if d > 1 and X.strides[1] != X.itemsize:
        return 0
    if n <= 1:
        return max(1, d)
    pitch, rest = divmod(X.strides[0], X.itemsize)
    return pitch if rest == 0 and pitch >= max(1, d) else 0


def _sparse(X: Any, outputs: int) -> _Design:
    if X.format not in ("csr", "csc"):
        raise TypeError(f"X is sparse in {X.format} format: give CSR or CSC (X.tocsr())")
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, d), got {X.shape}")
    if X.dtype.kind not in "biuf" or X.dtype.itemsize > 8:
        raise TypeError(f"X has dtype {X.dtype}: it must be {_checks.FORMATS}")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    by_rows = X.format == "csr"
    lines, places = X.shape if by_rows else X.shape[::-1]
    if len(X.indptr) != lines + 1 or X.indptr[0] != 0 or (np.diff(X.indptr) < 0).any() or (
            min(len(X.indices), len(X.data)) < X.indptr[-1]) or (
            len(X.indices) and not 0 <= X.indices.min() <= X.indices.max() < places):
        raise ValueError("X is no valid sparse array: its indptr or indices do not fit its shape (see "
                         "X.check_format())")
    if not by_rows and not X.has_sorted_indices:
        X = X.sorted_indices()
    indices = X.indices
    if indices.dtype not in (np.int32, np.int64) or not indices.flags.c_contiguous:
        indices = np.ascontiguousarray(indices, dtype=np.int64)
    data = np.ascontiguousarray(X.data)
    starts = np.ascontiguousarray(X.indptr, dtype=np.int64)
    if by_rows:
        return _Design(X, _SPARSE_ROWS, data, indices=indices, starts=starts)
    # Few strips, so that a column's parts are not too short.
    from .kernels import _linear

    n, d = X.shape
    strips = int(np.clip(min(2**21 // max(1, d * outputs), len(data) // max(1, 16 * d)), 2, 16))
    strip = max(1, -(-n // strips))
    edges = np.empty((-(-n // strip) + 1, d), np.int64)
    _linear.strip_edges(indices, starts, strip, edges)
    return _Design(X, _SPARSE_COLUMNS, data, indices=indices, starts=edges, strip=strip)
