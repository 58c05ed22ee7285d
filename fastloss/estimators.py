"""Linear models in scikit-learn's style, for any loss of scores: `LinearClassifier` and `LinearRegressor`.

How they are fitted is in `_linear_model`; here is what scikit-learn's users expect around it (labels, class weights,
attributes), and what predictions mean by the loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._linear_model import Data, LinearModel, Rows, Schedule, Solver, sample_weights  # isort: skip  (first: it says what to install)
from sklearn.base import ClassifierMixin, RegressorMixin  # type: ignore[import-untyped]
from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
from sklearn.utils.multiclass import type_of_target  # type: ignore[import-untyped]
from sklearn.utils.validation import column_or_1d  # type: ignore[import-untyped]

from .binary import AsymmetricFocal, BinaryCrossEntropy, BinaryFocal, BinaryLoss, Exponential, ModifiedHuber, Perceptron
from .class_weight import DynamicClassWeight
from .embedding import DistanceLoss
from .linear import Vector
from .loss import Loss
from .multiclass import KLDivergence, RowLoss
from .regression import Gamma, GaussianNLL, NegativeBinomial, Poisson, RegressionLoss, Tweedie

# ---- classification --------------------------------------------------------------------------------------------------

def _log_sigmoid(z: Vector) -> Vector:
    """The logarithm of sigmoid(z)."""
    return -np.logaddexp(0, -z)


def _log_clipped(z: Vector) -> Vector:
    """The logarithm of (clip(z, -1, 1) + 1)/2, Zhang's estimate for the modified Huber loss."""
    with np.errstate(divide="ignore"):
        return np.log((np.clip(z, -1, 1) + 1) / 2)


#: The logarithm of the probability of the positive class, by the loss of its score.
_LINKS: dict[type[Loss], Callable[[Vector], Vector]] = {
    BinaryCrossEntropy: _log_sigmoid, BinaryFocal: _log_sigmoid, AsymmetricFocal: _log_sigmoid,
    Exponential: lambda z: _log_sigmoid(2 * z), ModifiedHuber: _log_clipped}


def _has_probabilities(model: LinearClassifier) -> bool:
    loss = getattr(model, "loss_function_", None) or model._get_loss()
    return type(loss) in _LINKS or "inputs" in loss.get_params()


class LinearClassifier(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """Linear classification by any loss of scores.

    Minimises Σ w·loss / Σ w + ½·alpha·‖coef‖² over scores X @ coef.T + intercept; intercepts are not penalised.
    scikit-learn's ``LogisticRegression(C)`` is the default loss with alpha = 1/(C·Σ w).

    A binary loss sees two classes as one column of scores, more classes as a column each, one class against the rest,
    and an indicator matrix y as a column for each label (multi-label). All columns are fitted at once, and each gets
    the fit of its own. A loss of rows, such as `CrossEntropy`, sees all classes together (multinomial), also where
    there are two. `MultilabelMargin` takes class labels and indicator matrices.

    Parameters
    ----------
    loss : str or Loss, default "binary_cross_entropy"
        A name that `get` knows, or a loss, for binary labels or for rows. Not one of probabilities.
    alpha : float >= 0, default 1e-4
        The strength of the penalty.
    class_weight : dict {label: weight}, "balanced" or DynamicClassWeight, optional
        Multiplies the weights of samples by that of their class. "balanced" is Σ w / (k·Σ w of the class). Of a
        `DynamicClassWeight`, the fit takes a copy, ``class_weight_``: it follows the batches of ``solver="sgd"`` and
        `partial_fit`, before each step, and is updated once with y by other solvers. Its classes are in the order of
        ``classes_``. For multi-label y it is the class weight of the loss instead: of the labels 0 and 1 of each
        column, a dict, an array (k, 2), "balanced" for each column, or a DynamicClassWeight(2) of all columns; of the
        columns, for MultilabelMargin. (By "sgd" such weights are relative to 1, beside alpha.)
    fit_intercept : bool, default True
        Whether scores have an intercept.
    solver : {"auto", "lbfgs", "newton", "sgd"}, default "auto"
        "lbfgs" is SciPy's L-BFGS-B, for up to 1000 dense features in coordinates in which they have equal scales and
        no correlations, so that neither costs iterations. For losses with kinks, such as `Hinge`, and losses of a
        bounded domain, it is BFGS with a line search for weak Wolfe conditions, which keeps a matrix for up to 1000
        coefficients, and the last 50 steps for more; with so many and kinks expect one or two digits of the objective,
        and a ConvergenceWarning ("sgd", or a loss without kinks such as `SquaredHinge`, then serves better).
        "newton" is Newton's method, by Cholesky decomposition for up to 1000 coefficients, and by conjugate gradients
        for more. Where the Hessian is not positive definite the absolute values of its eigenvalues are taken; a line
        search secures descent, and where it finds no step, or only one a thousand times shorter, as where all residuals
        of `Huber` are large, "lbfgs" goes on from there. Not for losses with kinks.
        "sgd" is gradient descent by mini-batches with momentum, for data that all other solvers take too long for.
        "auto" is "newton" for up to 256 coefficients, at most 2^22 by the number of samples, and losses without kinks
        (but not for `Sharp`, whose Hessian is 0 at the start); "sgd" for hinges of margin 0, such as `Perceptron`,
        whose minimum of scores 0 everywhere tells nothing, while steps from one sample to the next do; otherwise
        "lbfgs".
    max_iter : int >= 1, default 1000
        The most iterations; of "sgd", passes over the data.
    tol : float >= 0, default 1e-6
        A fit has converged when no entry of the gradient is larger than ``tol`` times the largest of the null model,
        which has an intercept alone, about the best, or when rounding hides what is left to gain. (Entries are compared
        in coordinates in which features are alike: of "newton" with up to 1000 coefficients, of "lbfgs" with up to 1000
        dense features; else as they are, so scale the features.) Of losses with kinks, whose gradient does not shrink:
        when the objective has fallen by at most ``tol`` of itself in as many iterations as there are coefficients and
        ten. Of "sgd": see ``learning_rate``. Otherwise a ConvergenceWarning.
    warm_start : bool, default False
        Whether `fit` starts from the coefficients of the last one.
    batch_size : int >= 1, default 64
        Samples of a mini-batch, of "sgd" and `partial_fit`.
    learning_rate : {"adaptive", "constant", "invscaling"}, default "adaptive"
        The step size of "sgd". "constant" is ``eta0``, "invscaling" eta0/√i in step i = 1, 2, …; both end after 5
        passes in which the mean objective of the batches was not ``tol`` of itself below its best. "adaptive" then
        divides the step size by 5 instead, and ends below eta0/1000. `partial_fit` does not adapt it.
    eta0 : float > 0, default 0.01
        The first step size. It suits features of unit variance.
    momentum : float in [0, 1), default 0.9
        m in θ_{i+1} = θ_i - η·∇L + m·(θ_i - θ_{i-1}), with θ of coefficients and intercepts, and L of a batch
        Σ w·loss / its size + ½·alpha·‖coef‖².
    nesterov : bool, default True
        Whether the gradient is taken at θ_i + m·(θ_i - θ_{i-1}).
    random_state : int, RandomState or None, default None
        Of the order of samples in each pass of "sgd".
    n_threads : int, optional
        As of `Loss`.
    verbose : int, default 0
        Whether fits that take longer than a second show a bar (with tqdm), or else a line each second, on stderr.

    Attributes
    ----------
    classes_ : array of shape (k,)
        The labels; of multi-label y the columns, 0 to k - 1.
    coef_ : array of shape (1, d) or (k, d)
        One row for two classes and a binary loss.
    intercept_ : array of shape (1,) or (k,)
        Zeros without ``fit_intercept``.
    n_iter_ : int
        Iterations, at least 1; of "sgd" passes, and `partial_fit` adds 1.
    loss_ : float
        The objective at the end, a mean over columns. Of "sgd" and `partial_fit` that of the last pass's batches, each
        before its step.
    loss_function_ : Loss
        The loss that was fitted.
    class_weight_ : DynamicClassWeight
        The one that followed the data, if ``class_weight`` is one.
    t_ : int
        Steps of "sgd" or `partial_fit`.
    n_features_in_ : int
    feature_names_in_ : array of shape (d,)
        Where X has names of type str.

    Notes
    -----
    The fit starts at the null model. Its intercept is `Loss.intercept_only` of at most some 8192 samples, for losses
    that have no closed form that of a similar one.

    X of float32 is not converted; coefficients are float64. Sparse X is CSR or CSC, other formats are converted to
    CSR.

    Losses that are not convex (`Focal`, `Brier`, `Sharp`, …) end in a local minimum, no worse than the start.
    ``logit_adjustment`` acts on the fit alone: predictions are by the scores without it, those of balanced classes.

    References
    ----------
    D. C. Liu and J. Nocedal, *On the limited memory BFGS method for large scale optimization*, Mathematical
    Programming 45, 1989.

    A. S. Lewis and M. L. Overton, *Nonsmooth optimization via quasi-Newton methods*, Mathematical Programming 141,
    2013.

    I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization and momentum in deep
    learning*, 2013.

    Examples
    --------
    >>> import fastloss as fl
    >>> X = [[0.0], [1.0], [2.0], [3.0]]
    >>> model = fl.LinearClassifier(alpha=0.01).fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.5], [2.5]])
    array(['no', 'yes'], dtype='<U3')
    >>> fl.LinearClassifier(fl.CrossEntropy(label_smoothing=0.1)).fit(X, [0, 1, 2, 1]).coef_.shape
    (3, 1)
    """

    classes_: NDArray[Any]
    class_weight_: DynamicClassWeight
    _multilabel: bool

    def __init__(self, loss: Loss | str = "binary_cross_entropy", *, alpha: float = 1e-4,
                 class_weight: Mapping[Any, float] | Literal["balanced"] | ArrayLike | DynamicClassWeight | None = None,
                 fit_intercept: bool = True, solver: Solver = "auto", max_iter: int = 1000, tol: float = 1e-6,
                 warm_start: bool = False, batch_size: int = 64, learning_rate: Schedule = "adaptive",
                 eta0: float = 0.01, momentum: float = 0.9, nesterov: bool = True, random_state: Any = None,
                 n_threads: int | None = None, verbose: int = 0) -> None:
        self.loss = loss
        self.alpha = alpha
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.momentum = momentum
        self.nesterov = nesterov
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = self._get_loss()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = isinstance(loss, BinaryLoss) or loss.target == "indicators"
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fits the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
        y : array-like of shape (n,), or (n, k)
            Class labels of any type; or an indicator matrix of 0 and 1, with a column for each label.
        sample_weight : array-like of shape (n,), optional
            Finite and >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters, targets or weights that do not fit; and by "sgd", when the coefficients grow out of range.
        """
        self._check()
        loss = self._get_loss()
        X, y = self._arrays(X, y, reset=True)
        labels = self._labels(loss, y)
        if labels.ndim == 1:
            self.classes_, labels = np.unique(labels, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"y has only one class, {self.classes_.tolist()[0]!r}: at least 2 are needed")
        else:
            self.classes_ = np.arange(labels.shape[1])
        self._multilabel = labels.ndim == 2
        weight = sample_weights(sample_weight, X)
        if isinstance(self.class_weight, DynamicClassWeight):
            self.class_weight_ = copy.deepcopy(self.class_weight)
            self._check_dynamic()
        sgd = self.solver == "sgd" or (self.solver == "auto" and (
            isinstance(loss, Perceptron) or getattr(loss, "margin", None) == 0))
        if isinstance(self.class_weight, DynamicClassWeight) and not sgd:
            self.class_weight_.update(_occurrences(loss, labels))
        loss, weight = self._weigh_classes(loss, labels, weight, by_batch=sgd)
        if not sgd:
            self._minimise(self._data(loss, X, labels, weight))
            return self
        if weight is not None:
            weight = weight / weight.mean()  # the mean over all samples, not over each batch
        data = self._data(loss, X.tocsr() if hasattr(X, "tocsr") else X, labels, weight)
        self._descend(data, self._weigher(loss, labels, weight))
        return self

    def partial_fit(self, X: Any, y: Any, classes: ArrayLike | None = None,
                    sample_weight: ArrayLike | None = None) -> Self:
        """Continues the fit with one pass over more data, in their order, by mini-batches.

        Whatever the solver, this is a descent with ``eta0``, ``momentum`` and ``batch_size``; "invscaling" goes on
        counting steps. Weights are relative to 1: unlike `fit`, it cannot know their mean.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
        y : array-like of shape (n,), or (n, k)
        classes : array-like of shape (k,), optional
            All labels that will ever occur. Needed in the first call, unless y is an indicator matrix.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        self
        """
        self._check()
        first = not hasattr(self, "coef_")
        loss = self._get_loss() if first else self.loss_function_
        X, y = self._arrays(X, y, reset=first)
        labels = self._labels(loss, y)
        if not first and (labels.ndim == 2) != self._multilabel:
            raise ValueError(f"y has shape {labels.shape}, and what was fitted before had "
                             f"{'an indicator matrix' if self._multilabel else 'class labels (n,)'}: it must stay so")
        if labels.ndim == 2:
            classes = np.arange(labels.shape[1])
        elif classes is None and first:
            raise ValueError("classes must be given in the first call of partial_fit: all labels that will occur")
        if first:
            self._multilabel = labels.ndim == 2
            self.classes_ = np.unique(np.asarray(classes))
            if len(self.classes_) < 2:
                raise ValueError(f"classes has only one class, {self.classes_.tolist()[0]!r}: at least 2 are needed")
            if isinstance(self.class_weight, DynamicClassWeight):
                self.class_weight_ = copy.deepcopy(self.class_weight)
                self._check_dynamic()
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes is {classes!r}, and was {self.classes_.tolist()} in the first call of "
                             f"partial_fit: it must stay the same, or be None")
        if labels.ndim == 1:
            known = np.isin(labels, self.classes_)
            if not known.all():
                row = int((~known).argmax())
                raise ValueError(f"y[{row}] is {labels.tolist()[row]!r}: labels must be among the classes "
                                 f"{self.classes_.tolist()}")
            labels = np.searchsorted(self.classes_, labels)
        if isinstance(self.class_weight, str):
            raise ValueError(f"class_weight={self.class_weight!r} needs all data at once: for partial_fit give a dict, "
                             f"or a DynamicClassWeight, which follows the batches")
        weight = sample_weights(sample_weight, X)
        if first or labels.ndim == 1:  # else the loss has them already
            loss, weight = self._weigh_classes(loss, labels, weight, by_batch=True)
        data = self._data(loss, X.tocsr() if hasattr(X, "tocsr") else X, labels, weight)
        self._continue(data, self._weigher(loss, labels, weight))
        return self

    def _check_dynamic(self) -> None:
        """Whether a DynamicClassWeight is one of the classes; for multi-label y the loss looks at it."""
        if not self._multilabel and len(self.classes_) != self.class_weight_.n_classes:
            raise ValueError(f"class_weight has {self.class_weight_.n_classes} classes, and y has "
                             f"{len(self.classes_)}: they must be as many")

    def _labels(self, loss: Loss, y: Any) -> NDArray[Any]:
        """Class labels (n,), or an indicator matrix (n, k)."""
        if isinstance(loss, DistanceLoss) or not (
                isinstance(loss, BinaryLoss) or (isinstance(loss, RowLoss) and loss.target != "log classes")):
            raise ValueError(f"loss {loss!r} takes no class labels: LinearClassifier needs a loss of binary labels or "
                             f"of rows, LinearRegressor one of regression")
        if loss.get_params().get("ignore_index") is not None:
            raise ValueError(f"loss {loss!r} has an ignore_index, which LinearClassifier does not know: give those "
                             f"samples a sample_weight of 0")
        kind = type_of_target(y, input_name="y")
        if kind == "multilabel-indicator":
            if isinstance(loss, BinaryLoss) or loss.target == "indicators":
                return np.asarray(y.toarray() if hasattr(y, "toarray") else y) != 0
            raise ValueError(f"y is an indicator matrix of shape {y.shape}, and loss {loss!r} takes class labels (n,): "
                             f"for multi-label y use a binary loss, or MultilabelMargin")
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"Unknown label type: {kind}. y must hold class labels, of shape (n,), or be an indicator "
                             f"matrix of 0 and 1")
        return np.asarray(column_or_1d(y, warn=True))

    def _data(self, loss: Loss, X: Any, labels: NDArray[Any], weight: Vector | None) -> Data:
        n_classes = len(self.classes_)
        if labels.ndim == 2:
            return Data(loss, X, labels, weight, n_classes)
        if isinstance(loss, RowLoss) and loss.target != "indicators":
            return Data(loss, X, labels, weight, n_classes, n_classes)
        if isinstance(loss, BinaryLoss) and n_classes == 2:
            return Data(loss, X, labels, weight, 1)
        return Data(loss, X, labels[:, None] == np.arange(n_classes), weight, n_classes)

    def _weigh_classes(self, loss: Loss, labels: NDArray[Any], weight: Vector | None, by_batch: bool
                       ) -> tuple[Loss, Vector | None]:
        """Lets ``class_weight`` count: in the weights of samples, or for multi-label y in the loss. A
        DynamicClassWeight that goes `by_batch` counts in `_weigher`."""
        given: Any = self.class_weight
        if given is None:
            return loss, weight
        dynamic = isinstance(given, DynamicClassWeight)
        if labels.ndim == 2:
            if loss.get_params()["class_weight"] is not None:
                raise ValueError(f"class_weight is given twice, as {given!r} and by loss {loss!r}")
            if dynamic:
                given = self.class_weight_
            elif isinstance(given, str) and given == "balanced":
                positive = (np.ones(len(labels)) if weight is None else weight) @ labels
                total = len(labels) if weight is None else weight.sum()
                given = _balanced(positive if isinstance(loss, RowLoss) else
                                  np.column_stack([total - positive, positive]))
            return type(loss)(**loss.get_params() | {"class_weight": given}), weight
        if dynamic:
            if by_batch:
                return loss, weight
            by_class = self.class_weight_.weights
        elif isinstance(given, str) and given == "balanced":
            by_class = _balanced(np.bincount(labels, weight, len(self.classes_)).astype(np.float64))
        else:
            by_class = compute_class_weight(given, classes=self.classes_, y=self.classes_)
        for label, value in zip(self.classes_.tolist(), by_class, strict=True):
            if not 0 <= value < np.inf:
                raise ValueError(f"class_weight of class {label!r} is {value}: it must be finite and >= 0")
        factor = np.asarray(by_class)[labels]
        return loss, factor if weight is None else factor * weight

    def _weigher(self, loss: Loss, labels: NDArray[Any], weight: Vector | None) -> Callable[[Rows], Vector | None]:
        """The weights of a batch, for whose classes a DynamicClassWeight is updated first."""
        dynamic = self.class_weight_ if isinstance(self.class_weight, DynamicClassWeight) else None

        def weigh(rows: Rows) -> Vector | None:
            part = None if weight is None else weight[rows]
            if dynamic is None:
                return part
            dynamic.update(_occurrences(loss, labels[rows]))
            if labels.ndim == 2:
                return part  # the loss has it as its class weight
            factor = dynamic.weights[labels[rows]]
            return factor if part is None else factor * part

        return weigh

    # ---- predictions -------------------------------------------------------------------------------------------------

    def decision_function(self, X: Any) -> Vector:
        """The scores of samples.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)

        Returns
        -------
        array of shape (n,) for two classes, else (n, k)
            Of two classes how far the second is ahead: its score, or for a loss of rows the difference of both.
        """
        z = self._scores(X)
        if z.shape[1] == 1:
            return z[:, 0]
        return z[:, 1] - z[:, 0] if self._is_pair() else z

    def _is_pair(self) -> bool:
        """Whether there are two classes, of which one is true; not two labels."""
        return not self._multilabel and len(self.classes_) == 2

    def predict(self, X: Any) -> NDArray[Any]:
        """The class with the highest score; of multi-label y all labels with a score above 0.

        `MultilabelMargin` gives no thresholds: there, 0 is the mean of a row's scores.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)

        Returns
        -------
        array of shape (n,), or an indicator matrix (n, k)
        """
        z = self.decision_function(X)
        if self._multilabel:
            return (z.reshape(len(z), -1) > 0).astype(np.int64)
        return self.classes_[(z > 0).astype(np.intp) if z.ndim == 1 else z.argmax(axis=1)]

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Vector:
        """The probabilities of the classes, for losses that give some.

        With z the scores: sigmoid(z) for `BinaryCrossEntropy`, `BinaryFocal` and `AsymmetricFocal`; sigmoid(2z) for
        `Exponential`; (clip(z, -1, 1) + 1)/2 for `ModifiedHuber`; softmax(z) for losses of rows, of z/temperature for
        `KLDivergence`, and without the ``logit_adjustment`` of `CrossEntropy`. One class against the rest: divided by
        their sum (equal where it is 0). Focal losses are not calibrated: they draw probabilities towards ½. Class
        weights, ``pos_weight`` and label smoothing move probabilities as they move the fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)

        Returns
        -------
        array of shape (n, k)
            Rows sum to 1; of multi-label y each column is the probability of its label.
        """
        return np.exp(self.predict_log_proba(X))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Vector:
        """The logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)

        Returns
        -------
        array of shape (n, k)
        """
        z = self._scores(X)
        loss = self.loss_function_
        if isinstance(loss, RowLoss):
            z = z / loss.temperature if isinstance(loss, KLDivergence) else z
            return z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        link = _LINKS[type(loss)]
        if z.shape[1] == 1 and not self._multilabel:
            return np.column_stack([link(-z), link(z)])
        log = link(z)
        if self._multilabel:
            return log
        total = np.logaddexp.reduce(log, axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.where(total > -np.inf, log - total, -np.log(log.shape[1]))


def _occurrences(loss: Loss, labels: NDArray[Any]) -> NDArray[np.intp]:
    """Each occurrence of a class: of indicator matrices the entries, or for a loss of rows the columns of ones."""
    if labels.ndim == 1:
        return labels
    return np.nonzero(labels)[1] if isinstance(loss, RowLoss) else labels.ravel().astype(np.intp)


def _balanced(counts: Vector) -> Vector:
    """N/(C·N_c), by row; 1 for a class that does not occur."""
    share = counts.sum(axis=-1, keepdims=True) / counts.shape[-1]
    return np.divide(share, counts, out=np.ones(counts.shape), where=counts > 0)


# ---- regression ------------------------------------------------------------------------------------------------------

def _has_log_link(loss: Loss) -> bool:
    return isinstance(loss, (Poisson, Gamma, NegativeBinomial)) or (isinstance(loss, Tweedie) and loss.link == "log")


class LinearRegressor(RegressorMixin, LinearModel):  # type: ignore[misc]
    """Linear regression by any loss: generalised linear models, quantiles, expectiles, robust fits.

    Minimises Σ w·loss / Σ w + ½·alpha·‖coef‖² over z = X @ coef + intercept; intercepts are not penalised. The
    prediction is z, or e^z for losses with a log link (`Poisson`, `Gamma`, `NegativeBinomial`, and `Tweedie` unless its
    link is "identity"). scikit-learn's ``PoissonRegressor``, ``GammaRegressor`` and ``TweedieRegressor`` are the same
    with the same alpha; ``Ridge(a)`` is alpha = 2a/Σ w, ``HuberRegressor(e, a)`` alpha = a·scale/n with delta =
    e·scale at its own scale.

    Targets (n, k) are columns of their own, fitted at once; parameters such as ``Quantile([0.1, 0.9])`` may differ by
    column. `GaussianNLL` has two rows of coefficients, of the mean and of the logarithm of the variance.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        A name that `get` knows, or a loss, of regression.
    alpha : float >= 0, default 1e-4
        The strength of the penalty.
    fit_intercept : bool, default True
        Whether predictions have an intercept.
    solver : {"auto", "lbfgs", "newton", "sgd"}, default "auto"
        As of `LinearClassifier`. Losses with kinks are `AbsoluteError`, `Quantile`, `EpsilonInsensitive` and
        `AbsolutePercentageError`; those of a bounded domain `SquaredLogError`, and `Tweedie` with an identity link.
    max_iter : int >= 1, default 1000
        The most iterations; of "sgd", passes over the data.
    tol : float >= 0, default 1e-6
        When a fit has converged: see `LinearClassifier`.
    warm_start : bool, default False
        Whether `fit` starts from the coefficients of the last one.
    batch_size : int >= 1, default 64
        Samples of a mini-batch, of "sgd" and `partial_fit`.
    learning_rate : {"adaptive", "constant", "invscaling"}, default "adaptive"
        The step size of "sgd": see `LinearClassifier`.
    eta0 : float > 0, default 0.01
        The first step size. It suits features and targets of unit variance.
    momentum : float in [0, 1), default 0.9
        Of "sgd": see `LinearClassifier`.
    nesterov : bool, default True
        Whether the gradient is taken ahead, where the momentum leads.
    random_state : int, RandomState or None, default None
        Of the order of samples in each pass of "sgd".
    n_threads : int, optional
        As of `Loss`.
    verbose : int, default 0
        Whether fits that take longer than a second show a bar (with tqdm), or else a line each second, on stderr.

    Attributes
    ----------
    coef_ : array of shape (d,), or (k, d)
        (k, d) for targets (n, k), (2, d) for GaussianNLL.
    intercept_ : float, or array of shape (k,)
        0 without ``fit_intercept``.
    n_iter_ : int
        Iterations, at least 1; of "sgd" passes, and `partial_fit` adds 1.
    loss_ : float
        The objective at the end, a mean over columns. Of "sgd" and `partial_fit` that of the last pass's batches, each
        before its step.
    loss_function_ : Loss
        The loss that was fitted.
    t_ : int
        Steps of "sgd" or `partial_fit`.
    n_features_in_ : int
    feature_names_in_ : array of shape (d,)
        Where X has names of type str.

    Notes
    -----
    The fit starts at the null model. Its intercept is `Loss.intercept_only` of at most some 8192 samples, for losses
    that have no closed form the median. Losses that are not convex (`Tukey`, `Robust` with alpha < 1, `GaussianNLL`, …)
    end in a local minimum, no worse than the start. `GaussianNLL` has no minimum where the features can pass through
    all targets, as they can with n <= d: the variance then goes to 0, until a ConvergenceWarning.

    `score` is R², whatever the loss.

    References
    ----------
    J. A. Nelder and R. W. M. Wedderburn, *Generalized linear models*, Journal of the Royal Statistical Society A 135,
    1972.

    Examples
    --------
    >>> import fastloss as fl
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1, 1, 3, 9]
    >>> fl.LinearRegressor("poisson", alpha=0).fit(X, y).predict([[4.0]]).round(2)
    array([21.07])
    >>> model = fl.LinearRegressor(fl.Quantile(0.25), alpha=0, fit_intercept=False).fit([[1.0]] * 3, [1.0, 2.0, 4.0])
    >>> model.coef_.round(6)
    array([1.])
    """

    def __init__(self, loss: Loss | str = "squared_error", *, alpha: float = 1e-4, fit_intercept: bool = True,
                 solver: Solver = "auto", max_iter: int = 1000, tol: float = 1e-6, warm_start: bool = False,
                 batch_size: int = 64, learning_rate: Schedule = "adaptive", eta0: float = 0.01, momentum: float = 0.9,
                 nesterov: bool = True, random_state: Any = None, n_threads: int | None = None,
                 verbose: int = 0) -> None:
        self.loss = loss
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.momentum = momentum
        self.nesterov = nesterov
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = self._get_loss()
        tags.input_tags.sparse = True
        tags.target_tags.positive_only = loss.target != "real"
        tags.target_tags.multi_output = not loss._outputs
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fits the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
        y : array-like of shape (n,), or (n, k)
        sample_weight : array-like of shape (n,), optional
            Finite and >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters, targets or weights that do not fit; and by "sgd", when the coefficients grow out of range.
        """
        self._check()
        data = self._data(self._get_loss(), X, y, sample_weight, reset=True)
        if self.solver != "sgd":
            self._minimise(data)
            return self
        weight = data.weight
        if weight is not None:
            weight = weight / weight.mean()  # the mean over all samples, not over each batch
        self._descend(data._replace(weight=weight), _weigher(weight))
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Continues the fit with one pass over more data, in their order, by mini-batches.

        Whatever the solver, this is a descent with ``eta0``, ``momentum`` and ``batch_size``; "invscaling" goes on
        counting steps. Weights are relative to 1: unlike `fit`, it cannot know their mean.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
        y : array-like of shape (n,), or (n, k)
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        self
        """
        self._check()
        first = not hasattr(self, "coef_")
        data = self._data(self._get_loss() if first else self.loss_function_, X, y, sample_weight, reset=first)
        if not first and np.shape(self.coef_)[:-1] != np.shape(data.y)[1:] + data.loss._outputs:
            raise ValueError(f"y has shape {np.shape(data.y)}, and coefficients of shape {np.shape(self.coef_)} were "
                             f"fitted before: it must have as many columns as then")
        self._continue(data, _weigher(data.weight))
        return self

    def _data(self, loss: Loss, X: Any, y: Any, sample_weight: ArrayLike | None, reset: bool) -> Data:
        if not isinstance(loss, RegressionLoss):
            raise ValueError(f"loss {loss!r} takes class labels: LinearRegressor needs a loss of regression, "
                             f"LinearClassifier one of binary labels or of rows")
        X, y = self._arrays(X, y, reset=reset, y_numeric=True)
        if hasattr(y, "toarray"):
            y = y.toarray()
        if loss._outputs:
            y = column_or_1d(y, warn=True)
        y = np.asarray(y, dtype=np.float64)
        if hasattr(X, "tocsr") and self.solver == "sgd":
            X = X.tocsr()
        return Data(loss, X, y, sample_weights(sample_weight, X), loss._outputs[0] if loss._outputs else
                    1 if y.ndim == 1 else y.shape[1])

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predictions: of the mean, the quantile, … that the loss is made for.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
        return_std : bool, default False
            With `GaussianNLL`: whether to return standard deviations, too.

        Returns
        -------
        array of shape (n,) or (n, k), or a pair of arrays (n,), means and standard deviations
        """
        z = self._scores(X)
        loss = self.loss_function_
        with np.errstate(over="ignore"):
            if isinstance(loss, GaussianNLL):
                return (z[:, 0], np.exp(z[:, 1] / 2)) if return_std else z[:, 0]
            if return_std:
                raise ValueError(f"return_std is for GaussianNLL, and loss is {loss!r}: it must be False")
            return np.exp(z) if _has_log_link(loss) else z


def _weigher(weight: Vector | None) -> Callable[[Rows], Vector | None]:
    return lambda rows: None if weight is None else weight[rows]
