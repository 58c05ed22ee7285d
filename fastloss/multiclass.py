"""Multiclass losses. Formulas: `kernels/multiclass.pxd`; references: `tests/reference_rows.py`."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from . import kernels
from ._checks import choice, flag, float32_fault, integer, number, per_class
from ._intercept import best_row, descend, pairwise, quantile, two_levels
from ._typing import Array, Reduction
from .class_weight import ClassWeight, row_class_weight
from .loss import _GRADIENT, SIMPLE, TRANSCENDENTAL, Loss

Inputs: TypeAlias = Literal["logits", "probabilities", "log_probabilities"]

_PROBABILITIES = 8  # beside the modes of Loss


class RowLoss(Loss):
    """A loss of rows: C >= 2 scores, or probabilities, for each sample, one a class.

    What differs from losses of single predictions:

    y_pred : array-like of shape (n, C)
        In C or F order, also as the transpose of an array (C, n). Arrays of other strides and types are read a few rows
        at a time, copied by each thread.
    y_true : array-like of shape (n,) or (n, C)
        Class labels from 0 to C - 1, of any integer, bool or float type; or a row for each sample: one-hot, or a
        distribution where the loss takes soft targets. A distribution must sum to 1 within 1e-6 (1e-4 in float32, 1e-2
        in float16), and is used as given.
    sample_weight : array-like of shape (n,), optional
        One weight a row. Rows whose label is ``ignore_index`` weigh 0.
    loss : array of shape (n,) with ``reduction="none"``
        One value a row; so is ``loss_out``. Gradients and Hessians have the shape and memory order of y_pred; the
        Hessian is the diagonal of each row's.

    A NaN anywhere in a row makes all its results NaN. A logit of -inf masks its class: the gradient there is exactly 0,
    unless it is the target's, where the loss is inf. Probabilities are not renormalised; outside [0, 1], or with
    logarithms above 0, results are NaN.
    """

    __slots__ = ()
    #: What y_true may hold: "classes" (labels or one-hot rows), "soft classes" (labels or distributions), "log classes"
    #: (rows of logarithms) or "indicators" (rows of 0 and 1).
    target = "classes"

    def _bind_rows(self, arguments: dict[str, Any], *, hard: tuple[str, dict[str, float]] | None = None,
                   soft: tuple[str, dict[str, float]] | None = None, cost: float = TRANSCENDENTAL,
                   **options: Any) -> None:
        """Sets the constructor's arguments, and the formulas with their fields: `hard` for class labels and one-hot
        rows, `soft` for distributions."""
        arguments["class_weight"] = row_class_weight(arguments["class_weight"])
        ignore_index = arguments.get("ignore_index")
        if ignore_index is not None:
            arguments["ignore_index"] = integer("ignore_index", ignore_index)
            if abs(arguments["ignore_index"]) > 2**53:  # labels may come as doubles, and are compared as such
                raise ValueError(f"ignore_index must be between -2**53 and 2**53, got {ignore_index}")
        object.__setattr__(self, "_parameters", arguments)  # first: `target` may ask for them
        object.__setattr__(self, "_evaluator", kernels.bind_rows(
            hard, soft, inputs=arguments.get("inputs", "logits"), target=self.target, cost=cost,
            class_weight=arguments["class_weight"], ignore_index=arguments.get("ignore_index"),
            float32_fault=float32_fault(arguments, singular={}), **options))

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        """Where y_pred makes sense."""
        return {"logits": (-math.inf, math.inf), "probabilities": (0.0, 1.0), "log_probabilities": (-math.inf, 0.0)}[
            self._parameters.get("inputs", "logits")]

    def intercept_only(self, y_true: ArrayLike, sample_weight: ArrayLike | None = None,
                       n_classes: int | None = None) -> Array:
        """The row with the lowest mean loss as a constant prediction: where boosting and linear models start.

        Of losses of probabilities it is the best distribution, as y_pred is given: its logarithms for logits (less
        ``logit_adjustment``, and times the temperature), itself, or its logarithms. A class that never occurs gets
        probability 0, a logit of -inf. `CrossEntropy`, `KLDivergence`, `Brier` and `EarthMover` of power 2 have the
        mean of the targets, after label smoothing and without regard to ``eps``; `EarthMover` of power 1 has the
        medians of F_t(k), which leave most classes without probability; `GeneralizedCrossEntropy` and `MulticlassHinge`
        in "crammer_singer" form have closed forms, too. For others SciPy's L-BFGS-B descends from the frequencies of
        the classes, to about 8 digits; where a loss is not convex that is a local minimum.
        `MultilabelMargin`, and `MulticlassHinge` in "weston_watkins" form with power 1, are solved as linear programs
        with a variable for each pair of classes, which is slow for more than a few hundred classes, and one of several
        optimal rows is returned.

        Parameters
        ----------
        y_true : array-like of shape (n,) or (n, C)
        sample_weight : array-like of shape (n,), optional
            Samples of weight 0 are left out.
        n_classes : int, optional
            C, with labels (n,). By default the largest label + 1, or more where a parameter names more classes; at
            least 2.

        Returns
        -------
        array of shape (C,)

        Raises
        ------
        ValueError
            As by `loss`; and for negative weights, and when no sample counts.

        Examples
        --------
        >>> import fastloss as fl
        >>> fl.Brier(inputs="probabilities").intercept_only([0, 1, 1, 1]).round(6)
        array([0.25, 0.75])
        """
        return best_row(self, y_true, sample_weight, n_classes)

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        """The logarithms of the best distribution, -inf where `share`, the weighted mean of the targets, is 0; the best
        scores of a loss without probabilities."""
        return descend(self, share, y, w)


def _inputs(inputs: Any) -> str:
    return choice("inputs", inputs, ("logits", "probabilities", "log_probabilities"))


def _log(share: Array) -> Array:
    """The logarithm; -inf of 0."""
    with np.errstate(divide="ignore"):
        return np.log(share)


class CrossEntropy(RowLoss):
    """Cross-entropy of softmax: the negative log-likelihood of a categorical distribution.

    Targets may be soft. Class weights weigh rows by their target before label smoothing, so that smoothing moves no
    mass to classes that weigh much; with ε = label_smoothing, C classes and lse = log Σ_c e^(z_c), the mean is
    Σ_i w_i·Σ_c ((1 - ε)·t_ic + ε/C)·(lse_i - z_ic) / Σ_i w_i, where w_i = sample_weight_i·Σ_c t_ic·class_weight[c].
    Confident rows keep all their digits.

    Parameters
    ----------
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their label: Σ_c t_c·weight_c. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.
    label_smoothing : float in [0, 1), default 0.0
        Moves targets towards equal ones: t(1 - ε) + ε/C, after class weights.
    z_loss : float >= 0, default 0.0
        With logits: adds z_loss·lse² to each row, which keeps scores from drifting.
    logit_adjustment : array of shape (C,), optional
        With logits: added to each row of scores; τ·log(prior) is Menon's adjustment for imbalance.
    eps : float in [0, ½), default 0.0
        With probabilities: q is not taken below eps; the gradient is 0 where it would be.
    hessian : {"exact", "bound"}, default "exact"
        The diagonal, or twice q(1 - q) in its place, the upper bound that boosted trees use; with logits.

    Notes
    -----
    :Formula: Σ_c t_c·(lse - z_c), plus z_loss·lse²; of probabilities -Σ_c t_c·log q_c
    :Range: [0, inf)
    :Gradient: (Σt)·q_c - t_c, plus 2·z_loss·lse·q_c; of probabilities -t_c/q_c; of log-probabilities -t_c
    :Hessian: (Σt + 2·z_loss·lse)·q_c·(1 - q_c), plus 2·z_loss·q_c²; of probabilities t_c/q_c²; of log-probabilities 0
    :Activation: softmax
    :Good at: calibrated probabilities: convex, and efficient where the model is right
    :Bad at: wrong labels: a confident wrong prediction costs without limit
    :Use: the default for classes that exclude each other
    :Other names: softmax loss, multinomial logistic loss, negative log-likelihood; scikit-learn ``log_loss``; torch
        ``CrossEntropyLoss``, ``NLLLoss``; Keras ``CategoricalCrossentropy``, ``SparseCategoricalCrossentropy``; optax
        ``softmax_cross_entropy``; XGBoost ``multi:softprob``; LightGBM ``multiclass``; CatBoost ``MultiClass``

    References
    ----------
    J. S. Bridle, *Probabilistic interpretation of feedforward classification network outputs, with relationships to
    statistical pattern recognition*, 1990.

    C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, *Rethinking the inception architecture for computer
    vision*, 2016 (label smoothing).

    A. K. Menon, S. Jayasumana, A. S. Rawat, H. Jain, A. Veit and S. Kumar, *Long-tail learning via logit adjustment*,
    2021.

    Examples
    --------
    >>> import fastloss as fl
    >>> loss, gradient = fl.CrossEntropy().loss_gradient([0, 1], [[0.0, 0.0], [0.0, 0.0]])
    >>> round(loss, 6), gradient
    (0.693147, array([[-0.25,  0.25],
           [ 0.25, -0.25]]))
    """

    __slots__ = ()
    aliases = ("softmax", "categorical_cross_entropy", "sparse_categorical_cross_entropy", "multinomial_logistic",
               "multinomial")
    target = "soft classes"

    def __init__(self, inputs: Inputs = "logits", class_weight: ClassWeight = None, ignore_index: int | None = None,
                 label_smoothing: float = 0.0, z_loss: float = 0.0, logit_adjustment: ArrayLike | None = None,
                 eps: float = 0.0, hessian: Literal["exact", "bound"] = "exact") -> None:
        arguments: dict[str, Any] = {
            "inputs": _inputs(inputs),
            "class_weight": class_weight,
            "ignore_index": ignore_index,
            "label_smoothing": number("label_smoothing", label_smoothing, at_least=0, below=1),
            "z_loss": number("z_loss", z_loss, at_least=0),
            "logit_adjustment": (None if logit_adjustment is None else
                                 per_class("logit_adjustment", logit_adjustment)),
            "eps": number("eps", eps, at_least=0, below=0.5),
            "hessian": choice("hessian", hessian, ("exact", "bound")),
        }
        if inputs != "logits":
            for name, unset in (("z_loss", 0.0), ("logit_adjustment", None), ("hessian", "exact")):
                if isinstance(arguments[name], np.ndarray) or arguments[name] != unset:
                    raise ValueError(f"{name} is for logits, and inputs is {inputs!r}: it must be {unset!r}, "
                                     f"got {arguments[name]!r}")
        if inputs != "probabilities" and eps:
            raise ValueError(f"eps clips probabilities, and inputs is {inputs!r}: it must be 0, got {eps}")
        label_smoothing, z_loss, eps = arguments["label_smoothing"], arguments["z_loss"], arguments["eps"]
        fields = {"z_loss": z_loss, "eps": eps, "log_eps": math.log(eps) if eps else -math.inf, "entropy": 0.0}
        plain = label_smoothing == 0 and z_loss == 0 and eps == 0
        self._bind_rows(arguments, hard=("CrossEntropy", {}) if plain else None, soft=("SoftCrossEntropy", fields),
                        label_smoothing=label_smoothing, logit_adjustment=arguments["logit_adjustment"],
                        bound=hessian == "bound")

    def gradient_proba(self, y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None,
                       reduction: Reduction = "mean", n_threads: int | None = None, gradient_out: Array | None = None,
                       proba_out: Array | None = None) -> tuple[Array, Array]:
        """The gradient and the probabilities, in one pass.

        Parameters
        ----------
        y_true, y_pred, sample_weight, reduction, n_threads, gradient_out
            As of `gradient`.
        proba_out : ndarray, optional
            Where to write the probabilities; as ``gradient_out``.

        Returns
        -------
        (gradient, probabilities), arrays of y_pred's shape
            The softmax of the adjusted scores, of logits; otherwise the probabilities that y_pred means. Without
            weights.

        Examples
        --------
        >>> import fastloss as fl
        >>> fl.CrossEntropy().gradient_proba([0], [[0.0, 0.0]])
        (array([[-0.5,  0.5]]), array([[0.5, 0.5]]))
        """
        return self._evaluator.evaluate(_GRADIENT | _PROBABILITIES, y_true, y_pred, sample_weight, reduction, n_threads,
                                        None, gradient_out, proba_out)

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        # The z_loss changes nothing: it is 0 where lse is, which a constant added to the scores brings about.
        return _log(share * (1 - self.label_smoothing) + self.label_smoothing / len(share))


class Focal(RowLoss):
    """Focal loss of softmax: cross-entropy that fades for rows already classified well.

    Hard targets only: class labels, or one-hot rows.

    Parameters
    ----------
    gamma : float in [0, 1e100], default 2.0
        How fast easy rows fade; 0 is cross-entropy.
    alpha : float >= 0 or array of shape (C,), optional
        Multiplies the loss; an array has a factor for each target class. Unlike class weights it does not count in
        the mean's denominator.
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their label. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: f(q_t) = -alpha·(1 - q_t)^gamma·log q_t
    :Range: [0, inf)
    :Gradient: f′(q_t)·q_t·([c = t] - q_c), with f′(q) = alpha·(1 - q)^gamma·(gamma·log q/(1 - q) - 1/q); of
        probabilities f′(q_t) at c = t, else 0
    :Hessian: f″(q_t)·(q_t·([c = t] - q_c))² + f′(q_t)·q_t·([c = t] - q_c)·(1 - 2q_c), which may be negative, with
        f″(q) = alpha·(1 - q)^gamma·(1/q² + 2·gamma/(q·(1 - q)) - gamma·(gamma - 1)·log q/(1 - q)²); of probabilities
        f″(q_t) at c = t, else 0
    :Activation: softmax
    :Good at: masses of easy rows, which no longer drown the rest
    :Bad at: calibrated probabilities; wrong labels, on which it dwells; not convex
    :Use: for strong imbalance among classes that exclude each other
    :Other names: Keras ``CategoricalFocalCrossentropy``

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollár, *Focal loss for dense object detection*, 2017.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.Focal(gamma=2.0)([0], [[0.0, 0.0]]), 6)
    0.173287
    """

    __slots__ = ()
    aliases = ("categorical_focal", "softmax_focal")

    def __init__(self, gamma: float = 2.0, alpha: float | ArrayLike | None = None, inputs: Inputs = "logits",
                 class_weight: ClassWeight = None, ignore_index: int | None = None) -> None:
        arguments: dict[str, Any] = {
            "gamma": number("gamma", gamma, at_least=0, at_most=1e100),
            "alpha": (None if alpha is None else number("alpha", alpha, at_least=0) if np.ndim(alpha) == 0 else
                      per_class("alpha", alpha, at_least=0)),
            "inputs": _inputs(inputs),
            "class_weight": class_weight,
            "ignore_index": ignore_index,
        }
        self._bind_rows(arguments, hard=("Focal", {"gamma": arguments["gamma"]}), class_factor=arguments["alpha"])

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        share = share if self.alpha is None else share * self.alpha
        if not share.any():
            return np.zeros(len(share))  # with factors of 0 all rows are equal
        share = share / share.sum()
        return _log(share) if self.gamma == 0 else descend(self, share, y, w)


class MulticlassHinge(RowLoss):
    """Hinge loss of several classes: what the target's score lacks to be ahead by the margin.

    "crammer_singer" counts the worst of the other classes, of equal ones the lowest; "weston_watkins" all of them. Hard
    targets only: class labels, or one-hot rows. At the kink the gradient is 0, but with margin 0 it is that of the
    wrong side, so that learning starts from zero scores.

    Parameters
    ----------
    variant : {"crammer_singer", "weston_watkins"}, default "crammer_singer"
        Whether the largest of the other classes' terms counts, or their sum.
    margin : float >= 0, default 1.0
        How far ahead the target's score must be.
    power : {1, 2}, default 1
        2 squares each term.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their label. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: max, or sum, over c ≠ t of max(0, margin - z_t + z_c)^power
    :Range: [0, inf)
    :Gradient: of each term that counts, with a = margin - z_t + z_c > 0: power·a^(power - 1) at c, and minus that at t
    :Hessian: 0 with power 1; with power 2, 2 at t and at c for each term that counts
    :Activation: identity
    :Good at: sparse kernel models and linear ones, as rows far enough on the right side do not count; convex
    :Bad at: probabilities, which it does not give; Newton's method and boosting that divide by Hessians, with power 1
    :Use: for linear and kernel classifiers that need no probabilities
    :Other names: multiclass SVM; scikit-learn ``LinearSVC(multi_class="crammer_singer")``; torch ``MultiMarginLoss``
        (weston_watkins divided by C); Keras ``CategoricalHinge``

    References
    ----------
    K. Crammer and Y. Singer, *On the algorithmic implementation of multiclass kernel-based vector machines*, Journal of
    Machine Learning Research 2, 2001.

    J. Weston and C. Watkins, *Support vector machines for multi-class pattern recognition*, 1999.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.MulticlassHinge().loss_gradient([0], [[2.0, 1.5, 1.75]])
    (0.75, array([[-1.,  0.,  1.]]))
    >>> fl.MulticlassHinge("weston_watkins")([0], [[2.0, 1.5, 1.75]])
    1.25
    """

    __slots__ = ()
    aliases = ("categorical_hinge",)

    def __init__(self, variant: Literal["crammer_singer", "weston_watkins"] = "crammer_singer", margin: float = 1.0,
                 power: Literal[1, 2] = 1, class_weight: ClassWeight = None, ignore_index: int | None = None) -> None:
        if number("power", power) not in (1, 2):
            raise ValueError(f"power must be 1 or 2, got {power!r}")
        arguments: dict[str, Any] = {
            "variant": choice("variant", variant, ("crammer_singer", "weston_watkins")),
            "margin": number("margin", margin, at_least=0),
            "power": int(power),
            "class_weight": class_weight,
            "ignore_index": ignore_index,
        }
        fields = {"margin": arguments["margin"], "power": float(power)}
        self._bind_rows(arguments, hard=("CrammerSinger" if variant == "crammer_singer" else "WestonWatkins", fields),
                        cost=SIMPLE)

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        if self.variant == "crammer_singer":
            return self.margin * two_levels(share, self.power)
        if self.power == 1:
            return self.margin * pairwise(np.broadcast_to(share[:, None], (len(share), len(share))))
        return descend(self, share, y, w)


class KLDivergence(RowLoss):
    """Kullback-Leibler divergence of the prediction from the target.

    Cross-entropy less the target's entropy, so that a perfect prediction costs 0; t_c = 0 counts 0. One value a row:
    the mean is what torch calls batchmean. With temperature T both are softened as in distillation, and the factor T²
    keeps the size of gradients.

    Parameters
    ----------
    temperature : float > 0, default 1.0
        T; with logits, of which (z - max z)/T are rounded, but for powers of 2.
    log_target : bool, default False
        Whether y_true, of shape (n, C), has log t; -inf for t = 0.
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z/T), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their target: Σ_c t_c·weight_c. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: T²·Σ_c t_c·(log t_c - log q_c)
    :Range: [0, inf), for rows that sum to 1
    :Gradient: T·((Σt)·q_c - t_c); of probabilities -t_c/q_c; of log-probabilities -t_c
    :Hessian: (Σt)·q_c·(1 - q_c); of probabilities t_c/q_c²; of log-probabilities 0
    :Activation: softmax
    :Good at: targets that are distributions: 0 means a perfect fit
    :Bad at: targets with mass where the prediction has none, which cost without limit
    :Use: for distillation, and wherever targets are distributions
    :Other names: relative entropy; torch ``KLDivLoss``; Keras ``KLDivergence``; optax ``kl_divergence``

    References
    ----------
    S. Kullback and R. A. Leibler, *On information and sufficiency*, 1951.

    G. Hinton, O. Vinyals and J. Dean, *Distilling the knowledge in a neural network*, 2015.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.KLDivergence()([[0.25, 0.75]], [[0.0, 0.0]]), 6)
    0.130812
    """

    __slots__ = ()
    aliases = ("kl", "kl_div", "kullback_leibler")

    def __init__(self, temperature: float = 1.0, log_target: bool = False, inputs: Inputs = "logits",
                 class_weight: ClassWeight = None, ignore_index: int | None = None) -> None:
        arguments: dict[str, Any] = {
            "temperature": number("temperature", temperature, above=0),
            "log_target": flag("log_target", log_target),
            "inputs": _inputs(inputs),
            "class_weight": class_weight,
            "ignore_index": ignore_index,
        }
        if inputs != "logits" and temperature != 1:
            raise ValueError(f"temperature is for logits, and inputs is {inputs!r}: it must be 1, got {temperature!r}")
        if log_target and ignore_index is not None:
            raise ValueError(f"ignore_index is for class labels, and with log_target there are none: it must be None, "
                             f"got {ignore_index!r}")
        fields = {"z_loss": 0.0, "eps": 0.0, "log_eps": -math.inf, "entropy": 1.0}
        self._bind_rows(arguments, soft=("SoftCrossEntropy", fields), temperature=arguments["temperature"])

    @property
    def target(self) -> str:  # type: ignore[override]
        """What y_true may hold."""
        return "log classes" if self.log_target else "soft classes"

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        return _log(share)


class JensenShannon(RowLoss):
    """Jensen-Shannon divergence: how far prediction and target are from their mean.

    Symmetric in both, and bounded. Natural logarithms. Targets may be soft.

    Parameters
    ----------
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their target: Σ_c t_c·weight_c. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: ½·Σ_c t_c·log(t_c/m_c) + ½·Σ_c q_c·log(q_c/m_c), with m = (t + q)/2
    :Range: [0, log(2)], for rows that sum to 1
    :Gradient: q_c·(g_c - Σ_k q_k·g_k), with g_c = ½·log(q_c/m_c), the gradient of probabilities
    :Hessian: q_c·(1 - 2q_c)·(g_c - Σ_k q_k·g_k) + Σ_k h_k·(q_k·([k = c] - q_c))², which may be negative, with
        h_c = t_c/(4·q_c·m_c), the Hessian of probabilities
    :Activation: softmax
    :Good at: wrong labels and outliers, as it is bounded; comparing distributions that do not overlap
    :Bad at: starts far from the target, where it is flat; not convex
    :Use: for noisy labels, and for consistency between predictions
    :Other names: JSD; SciPy ``jensenshannon`` (its square root)

    References
    ----------
    J. Lin, *Divergence measures based on the Shannon entropy*, IEEE Transactions on Information Theory 37, 1991.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.JensenShannon()([0], [[0.0, 0.0]]), 6)
    0.215762
    """

    __slots__ = ()
    aliases = ("js_divergence", "jsd")
    target = "soft classes"

    def __init__(self, inputs: Inputs = "logits", class_weight: ClassWeight = None,
                 ignore_index: int | None = None) -> None:
        self._bind_rows({"inputs": _inputs(inputs), "class_weight": class_weight, "ignore_index": ignore_index},
                        soft=("JensenShannon", {}))


class EarthMover(RowLoss):
    """Earth mover's distance between prediction and target, for classes that have an order.

    F_q(k) and F_t(k) are the probabilities of classes 0 to k. Targets may be soft. The kernel takes 16 rows at a time,
    and keeps some arrays of 16·C numbers for each thread.

    Parameters
    ----------
    power : float in [1, 1e100], default 2
        1 is the Wasserstein distance: how much mass must be moved, times how far.
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their target: Σ_c t_c·weight_c. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: Σ_k |D_k|^power, with D_k = F_q(k) - F_t(k)
    :Range: [0, C - 1]
    :Gradient: q_c·(g_c - Σ_k q_k·g_k), with g_c = Σ_{k >= c} power·|D_k|^(power - 1)·sign(D_k), the gradient of
        probabilities; 0 at D_k = 0
    :Hessian: q_c·(1 - 2q_c)·(g_c - Σ_k q_k·g_k) + q_c²·Σ_k h_k·([k >= c] - F_q(k))², which may be negative, with
        h_k = power·(power - 1)·|D_k|^(power - 2); of probabilities Σ_{k >= c} h_k
    :Activation: softmax
    :Good at: classes in an order, as near misses cost less
    :Bad at: classes without an order, where distance means nothing; not convex
    :Use: for ratings, ages, grades and histograms
    :Other names: EMD, Wasserstein distance, ranked probability score (power 2)

    References
    ----------
    L. Hou, C.-P. Yu and D. Samaras, *Squared earth mover's distance-based loss for training deep neural networks*,
    2016.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.EarthMover(inputs="probabilities")([0, 2], [[0.5, 0.25, 0.25]] * 2, reduction="none")
    array([0.3125, 0.8125])
    """

    __slots__ = ()
    aliases = ("emd", "wasserstein")
    target = "soft classes"

    def __init__(self, power: float = 2, inputs: Inputs = "logits", class_weight: ClassWeight = None,
                 ignore_index: int | None = None) -> None:
        power = number("power", power, at_least=1, at_most=1e100)
        # 2 as an integer: the default, which repr leaves out
        self._bind_rows({"power": 2 if power == 2 else power, "inputs": _inputs(inputs), "class_weight": class_weight,
                         "ignore_index": ignore_index},
                        soft=("EarthMoverSquare", {}) if power == 2 else ("EarthMover", {"power": power}))

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        if self.power == 2:
            return _log(share)
        if self.power > 1:
            return descend(self, share, y, w)
        if y.ndim == 1:  # medians of 0 and 1, which half of the weight decides
            ahead = np.cumsum(share) - 0.5
            steps = np.where(np.abs(ahead) < 1e-14, 0.5, ahead > 0)
        else:
            steps = np.array([quantile(column, w, 0.5) for column in np.cumsum(y, axis=1).T])
        return _log(np.maximum(np.diff(steps, prepend=0.0), 0.0))


class Brier(RowLoss):
    """Brier score: the squared distance between prediction and target.

    A proper score, as cross-entropy is, but bounded. Targets may be soft.

    Parameters
    ----------
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their target: Σ_c t_c·weight_c. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: Σ_c (q_c - t_c)²
    :Range: [0, 2], for rows that sum to 1
    :Gradient: q_c·(g_c - Σ_k q_k·g_k), with g_c = 2(q_c - t_c), the gradient of probabilities
    :Hessian: q_c·(1 - 2q_c)·(g_c - Σ_k q_k·g_k) + 2·Σ_k (q_k·([k = c] - q_c))², which may be negative; of
        probabilities 2
    :Activation: softmax
    :Good at: calibrated probabilities with some wrong labels, as it is bounded
    :Bad at: starts far from the target, where it is flat; not convex in scores
    :Use: to train or compare probabilities when no single row may dominate
    :Other names: quadratic score; scikit-learn ``brier_score_loss``

    References
    ----------
    G. W. Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 78, 1950.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Brier(inputs="probabilities").loss_gradient([0], [[0.5, 0.25, 0.25]])
    (0.375, array([[-1. ,  0.5,  0.5]]))
    """

    __slots__ = ()
    aliases = ("brier_score",)
    target = "soft classes"

    def __init__(self, inputs: Inputs = "logits", class_weight: ClassWeight = None,
                 ignore_index: int | None = None) -> None:
        self._bind_rows({"inputs": _inputs(inputs), "class_weight": class_weight, "ignore_index": ignore_index},
                        soft=("Brier", {}))

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        return _log(share)


class GeneralizedCrossEntropy(RowLoss):
    """Generalized cross-entropy: between cross-entropy and the absolute error of probabilities.

    As q goes to 0 it becomes cross-entropy; at 1 it is 1 - q_t, which is robust and hard to train. Here q alone is the
    parameter, q_t the target's probability. Hard targets only: class labels, or one-hot rows.

    Parameters
    ----------
    q : float in (0, 1], default 0.7
        The larger, the more robust.
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, or its softmax itself, or the logarithm of that.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their label. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: (1 - q_t^q)/q
    :Range: [0, 1/q]
    :Gradient: -q_t^q·([c = t] - q_c); of probabilities -q_t^(q - 1) at c = t, else 0
    :Hessian: q_t^q·(q_c·(1 - q_c) - q·([c = t] - q_c)²), which may be negative; of probabilities
        (1 - q)·q_t^(q - 2) at c = t, else 0
    :Activation: softmax
    :Good at: wrong labels, which it gives up on
    :Bad at: starts far from the target, where it is flat for large q; hard classes, which look like wrong labels
    :Use: for labels of which many are wrong
    :Other names: Lq loss

    References
    ----------
    Z. Zhang and M. R. Sabuncu, *Generalized cross entropy loss for training deep neural networks with noisy labels*,
    2018.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.GeneralizedCrossEntropy(q=0.5, inputs="probabilities")([0], [[0.25, 0.75]])
    1.0
    """

    __slots__ = ()
    aliases = ("gce",)

    def __init__(self, q: float = 0.7, inputs: Inputs = "logits", class_weight: ClassWeight = None,
                 ignore_index: int | None = None) -> None:
        q = number("q", q, above=0, at_most=1)
        self._bind_rows({"q": q, "inputs": _inputs(inputs), "class_weight": class_weight, "ignore_index": ignore_index},
                        hard=("GeneralizedCrossEntropy", {"q": q}))

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        if self.q == 1:
            return np.where(share == share.max(), 0.0, -np.inf)
        return _log(share / share.max()) / (1 - self.q)  # unnormalised, and 0 at the largest: nothing overflows


class PolyCrossEntropy(RowLoss):
    """Poly-1 cross-entropy: cross-entropy with its first polynomial term changed.

    Cross-entropy is Σ_j (1 - q_t)^j/j; epsilon is added to the coefficient of 1 - q_t. Hard targets only: class labels,
    or one-hot rows.

    Parameters
    ----------
    epsilon : float >= -1, default 1.0
        Positive: more weight on rows nearly right; 0 is cross-entropy; -1 leaves the first term out.
    inputs : {"logits", "probabilities", "log_probabilities"}, default "logits"
        Whether y_pred is a row of raw scores z, with q = softmax(z), or q itself, or log q.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their label. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.

    Notes
    -----
    :Formula: -log q_t + epsilon·(1 - q_t)
    :Range: [0, inf)
    :Gradient: -(1 + epsilon·q_t)·([c = t] - q_c); of probabilities -1/q_t - epsilon at c = t, else 0
    :Hessian: (1 + epsilon·q_t)·q_c·(1 - q_c) - epsilon·q_t·([c = t] - q_c)², which may be negative; of probabilities
        1/q_t² at c = t, else 0
    :Activation: softmax
    :Good at: tuning cross-entropy to a task by one number
    :Bad at: calibrated probabilities, unless epsilon is 0; wrong labels, as cross-entropy
    :Use: where a little accuracy is worth tuning a parameter
    :Other names: PolyLoss, Poly-1

    References
    ----------
    Z. Leng, M. Tan, C. Liu, E. D. Cubuk, X. Shi, S. Cheng and D. Anguelov, *PolyLoss: a polynomial expansion
    perspective of classification loss functions*, 2022.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.PolyCrossEntropy()([0], [[0.0, 0.0]]), 6)
    1.193147
    """

    __slots__ = ()
    aliases = ("poly1", "poly_loss")

    def __init__(self, epsilon: float = 1.0, inputs: Inputs = "logits", class_weight: ClassWeight = None,
                 ignore_index: int | None = None) -> None:
        epsilon = number("epsilon", epsilon, at_least=-1)
        self._bind_rows({"epsilon": epsilon, "inputs": _inputs(inputs), "class_weight": class_weight,
                         "ignore_index": ignore_index}, hard=("PolyCrossEntropy", {"epsilon": epsilon}))


class MultilabelMargin(RowLoss):
    """Multi-label margin loss: each class of a sample is to be ahead of each other class by 1.

    y_true is an indicator matrix (n, C) of 0 and 1, of any type, with any number of ones in a row. A row takes time in
    proportion to its positive classes times C.

    Parameters
    ----------
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by the mean weight of their positive classes, 1 where there are none. "balanced" counts each
        positive class of a row as one target.

    Notes
    -----
    :Formula: Σ_j Σ_i max(0, 1 - (z_j - z_i))/C over positive classes j and negative classes i
    :Range: [0, inf)
    :Gradient: of each pair with z_j - z_i < 1: 1/C at i, and -1/C at j
    :Hessian: 0
    :Activation: identity
    :Good at: ranking the classes of a sample before all others; convex
    :Bad at: probabilities and thresholds, which it does not give; many positive classes, which take time
    :Use: for multi-label classification that is judged by the order of classes
    :Other names: torch ``MultiLabelMarginLoss`` (with indices in place of indicators)

    References
    ----------
    A. Elisseeff and J. Weston, *A kernel method for multi-labelled classification*, 2001.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.MultilabelMargin()([[1, 0, 1, 0]], [[0.25, 0.0, 2.0, -1.0]])
    0.1875
    """

    __slots__ = ()
    target = "indicators"

    def __init__(self, class_weight: ClassWeight = None) -> None:
        self._bind_rows({"class_weight": class_weight}, soft=("MultilabelMargin", {}))

    def _best_row(self, share: Array, y: np.ndarray, w: Array) -> Array:
        return pairwise((y * w[:, None]).T @ (1 - y))
