"""Binary losses. Formulas: `kernels/binary.pxd`; references: `tests/reference.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from numpy.typing import ArrayLike

from ._checks import choice, number, number_or_row
from ._intercept import balance, log_ratio, positives_negatives, search
from ._typing import Array
from .class_weight import ClassWeight, binary_class_weight
from .loss import SIMPLE, TRANSCENDENTAL, Loss


class BinaryLoss(Loss):
    """A loss of binary labels {0, 1}, {False, True} or {-1, 1}, for (n,) or, multi-label, (n, k) predictions."""

    __slots__ = ()
    target = "binary"

    def _bind(self, formula: str, fields: Mapping[str, float], arguments: dict[str, Any], *, cost: float = SIMPLE,
              varying: str = "", class_weight: Any = None) -> None:
        class_weight = binary_class_weight(arguments["class_weight"])
        if isinstance(arguments["class_weight"], Mapping):  # a copy, which no caller can change
            arguments["class_weight"] = MappingProxyType(
                {key: float(weight) for key, weight in sorted(arguments["class_weight"].items())})
        else:
            arguments["class_weight"] = class_weight
        super()._bind(formula, fields, arguments, cost=cost, varying=varying, class_weight=class_weight)

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        """Where y_pred makes sense."""
        return (0.0, 1.0) if getattr(self, "inputs", "logits") == "probabilities" else (-math.inf, math.inf)


class BinaryCrossEntropy(BinaryLoss):
    """Binary cross-entropy: the negative log-likelihood of a Bernoulli distribution.

    Targets may be soft: y in [0, 1]. With probabilities, y = 0 and y = 1 use their one term, and values of p outside
    [0, 1] give NaN.

    Parameters
    ----------
    inputs : {"logits", "probabilities"}, default "logits"
        Whether y_pred is a raw score z, with p = sigmoid(z), or p itself.
    label_smoothing : float in [0, 1), default 0.0
        Moves targets towards ½: y(1 - ε) + ε/2, after class weights and before ``pos_weight``.
    pos_weight : float >= 0 or array of shape (k,), optional
        Multiplies the positive term; an array gives each column of y_pred, of shape (n, k), its own.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.
    eps : float in [0, ½), default 0.0
        With probabilities: p and 1 - p are not taken below eps; the gradient is 0 where they would be.

    Notes
    -----
    :Formula: log(1 + e^z) - y·z; of probabilities -y·log p - (1 - y)·log(1 - p)
    :Range: [0, inf)
    :Gradient: p - y; of probabilities (p - y)/(p·(1 - p))
    :Hessian: p·(1 - p); of probabilities y/p² + (1 - y)/(1 - p)²
    :Activation: sigmoid
    :Good at: calibrated probabilities: convex, and efficient where the model is right
    :Bad at: wrong labels: a confident wrong prediction costs without limit
    :Use: the default for binary and multi-label classification
    :Other names: BCE, log loss, logistic loss, sigmoid cross-entropy; scikit-learn ``log_loss``; torch
        ``BCEWithLogitsLoss``, ``BCELoss``; Keras ``BinaryCrossentropy``; XGBoost ``binary:logistic``; LightGBM
        ``binary``; CatBoost ``Logloss``

    References
    ----------
    D. R. Cox, *The regression analysis of binary sequences*, Journal of the Royal Statistical Society B 20, 1958.

    Examples
    --------
    >>> import fastloss as fl
    >>> loss, gradient = fl.BinaryCrossEntropy().loss_gradient([0, 1], [0.0, 0.0])
    >>> round(loss, 6), gradient
    (0.693147, array([ 0.25, -0.25]))
    """

    __slots__ = ()
    aliases = ("bce", "log_loss", "logistic", "sigmoid_cross_entropy")
    target = "soft binary"

    def __init__(self, inputs: Literal["logits", "probabilities"] = "logits", label_smoothing: float = 0.0,
                 pos_weight: float | ArrayLike | None = None, class_weight: ClassWeight = None,
                 eps: float = 0.0) -> None:
        arguments: dict[str, Any] = {
            "inputs": choice("inputs", inputs, ("logits", "probabilities")),
            "label_smoothing": number("label_smoothing", label_smoothing, at_least=0, below=1),
            "pos_weight": None if pos_weight is None else number_or_row("pos_weight", pos_weight, at_least=0),
            "class_weight": class_weight,
            "eps": number("eps", eps, at_least=0, below=0.5),
        }
        fields = {"label_smoothing": arguments["label_smoothing"]}
        if inputs == "logits":
            if eps:
                raise ValueError(f"eps clips probabilities, and inputs is 'logits': it must be 0, got {eps}")
            if label_smoothing == 0 and pos_weight is None:
                self._bind("BinaryCrossEntropy", {}, arguments, cost=TRANSCENDENTAL)
            else:
                self._bind("BinaryCrossEntropyAdjusted", fields, arguments, cost=TRANSCENDENTAL, varying="pos_weight")
        else:
            eps = arguments["eps"]
            fields |= {"eps": eps, "log_eps": math.log(eps) if eps else -math.inf}
            self._bind("BinaryCrossEntropyProbabilities", fields, arguments, cost=TRANSCENDENTAL, varying="pos_weight")

    def _best_constant(self, y: Array, w: Array) -> float:
        y = y * (1 - self.label_smoothing) + self.label_smoothing / 2
        positives, negatives = positives_negatives(y, w)
        positives *= 1.0 if self.pos_weight is None else self.pos_weight
        if self.inputs == "logits":
            return log_ratio(positives, negatives)
        best = positives / (positives + negatives) if positives + negatives > 0 else 0.5
        if self.eps == 0:
            return best
        # No value costs more than -log(eps): where the best is near eps, a probability of 0 or 1 may cost less.
        return min((best, 0.0, 1.0), key=lambda p: (
            -positives * math.log(max(p, self.eps)) - negatives * math.log(max(1 - p, self.eps))))


class BinaryFocal(BinaryLoss):
    """Focal loss: cross-entropy that fades for samples already classified well.

    Hard labels only. Whole gamma from 0 to 4 are products, and take about half the time of others.

    Parameters
    ----------
    gamma : float in [0, 1e100], default 2.0
        How fast easy samples fade; 0 is cross-entropy.
    alpha : float in [0, 1], optional
        Weight of positives, with 1 - alpha for negatives; None: 1 for both.
    inputs : {"logits", "probabilities"}, default "logits"
        Whether y_pred is a raw score z, with p = sigmoid(z), or p itself.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: -alpha_t·q^gamma·log p_t, with q = 1 - p_t; alpha_t = alpha for positives, 1 - alpha for negatives
    :Range: [0, inf)
    :Gradient: s·alpha_t·q^gamma·(gamma·p_t·log p_t - q); of probabilities
        s·alpha_t·q^gamma·(gamma·log p_t/q - 1/p_t)
    :Hessian: alpha_t·q^gamma·p_t·(q·(1 + 2·gamma) + gamma·log p_t·(q - gamma·p_t)), which may be negative; of
        probabilities alpha_t·q^gamma·(1/p_t² + 2·gamma/(q·p_t) - gamma·(gamma - 1)·log p_t/q²)
    :Activation: sigmoid
    :Good at: masses of easy negatives, which no longer drown the rest
    :Bad at: calibrated probabilities; wrong labels, on which it dwells; not convex
    :Use: for strong imbalance, as in dense detection
    :Other names: torchvision ``sigmoid_focal_loss``; Keras ``BinaryFocalCrossentropy``

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollár, *Focal loss for dense object detection*, 2017.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.BinaryFocal(gamma=2.0, alpha=0.25)([0, 1], [-1.0, 1.0]), 6)
    0.011329
    """

    __slots__ = ()
    aliases = ("sigmoid_focal",)

    def __init__(self, gamma: float = 2.0, alpha: float | None = None,
                 inputs: Literal["logits", "probabilities"] = "logits", class_weight: ClassWeight = None) -> None:
        arguments: dict[str, Any] = {
            "gamma": number("gamma", gamma, at_least=0, at_most=1e100),
            "alpha": None if alpha is None else number("alpha", alpha, at_least=0, at_most=1),
            "inputs": choice("inputs", inputs, ("logits", "probabilities")),
            "class_weight": class_weight,
        }
        gamma = arguments["gamma"]
        alphas = {
            "alpha_positive": 1.0 if alpha is None else float(alpha),
            "alpha_negative": 1.0 if alpha is None else 1.0 - float(alpha),
        }
        if inputs == "probabilities":
            self._bind("BinaryFocalProbabilities", {"gamma": gamma, **alphas}, arguments, cost=TRANSCENDENTAL)
        elif gamma.is_integer() and gamma <= 4:
            bits = {f"bit_{bit}": float(bool(int(gamma) & bit)) for bit in (1, 2, 4)}
            self._bind("BinaryFocalSmallPower", {"gamma": gamma, **alphas, **bits}, arguments, cost=TRANSCENDENTAL)
        else:
            self._bind("BinaryFocal", {"gamma_positive": gamma, "gamma_negative": gamma, **alphas}, arguments,
                       cost=2 * TRANSCENDENTAL)


class AsymmetricFocal(BinaryLoss):
    """Asymmetric focal loss: focal loss with an exponent for each label, and easy negatives left out.

    Hard labels only. Negatives with p <= clip count nothing: their loss, gradient and Hessian are 0.

    Parameters
    ----------
    gamma_pos : float in [0, 1e100], default 0.0
        How fast easy positives fade.
    gamma_neg : float in [0, 1e100], default 4.0
        How fast easy negatives fade.
    clip : 0, or float in [1e-15, 1), default 0.05
        What is taken from p for negatives.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: positives -(1 - p)^gamma_pos·log p; negatives f(p_m), with f(x) = -x^gamma_neg·log(1 - x) and
        p_m = max(p - clip, 0)
    :Range: [0, inf)
    :Gradient: positives (1 - p)^gamma_pos·(gamma_pos·p·log p - (1 - p)); negatives f′(p_m)·p·(1 - p), 0 where
        p <= clip
    :Hessian: positives that of `BinaryFocal`; negatives f″(p_m)·(p·(1 - p))² + f′(p_m)·p·(1 - p)·(1 - 2p), 0 where
        p <= clip; it may be negative
    :Activation: sigmoid
    :Good at: few positives among very many negatives, some of them mislabelled
    :Bad at: calibrated probabilities; three parameters to tune; not convex
    :Use: for multi-label classification where each sample has few of many labels
    :Other names: ASL; timm ``AsymmetricLossMultiLabel``

    References
    ----------
    T. Ridnik, E. Ben-Baruch, N. Zamir, A. Noy, I. Friedman, M. Protter and L. Zelnik-Manor, *Asymmetric loss for
    multi-label classification*, 2021.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.AsymmetricFocal()([0, 1], [-3.0, 0.0], reduction="none").round(6)
    array([0.      , 0.693147])
    """

    __slots__ = ()
    aliases = ("asl", "asymmetric_loss")

    def __init__(self, gamma_pos: float = 0.0, gamma_neg: float = 4.0, clip: float = 0.05,
                 class_weight: ClassWeight = None) -> None:
        arguments: dict[str, Any] = {
            "gamma_pos": number("gamma_pos", gamma_pos, at_least=0, at_most=1e100),
            "gamma_neg": number("gamma_neg", gamma_neg, at_least=0, at_most=1e100),
            "clip": number("clip", clip, at_least=0, below=1),
            "class_weight": class_weight,
        }
        gammas = {"gamma_positive": arguments["gamma_pos"], "gamma_negative": arguments["gamma_neg"]}
        if 0 < arguments["clip"] < 1e-15:
            raise ValueError(f"clip must be 0, or >= 1e-15 and < 1, got {clip!r}")
        if clip:
            self._bind("AsymmetricFocal", {**gammas, "clip": arguments["clip"]}, arguments, cost=2 * TRANSCENDENTAL)
        else:
            self._bind("BinaryFocal", {**gammas, "alpha_positive": 1.0, "alpha_negative": 1.0}, arguments,
                       cost=2 * TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        if self.clip and not y.any():
            return log_ratio(self.clip, 1 - self.clip)  # up to there negatives cost nothing
        return search(self, y, w)


class Hinge(BinaryLoss):
    """Hinge loss: linear below the margin, 0 beyond it.

    The loss of support vector machines: only samples near or beyond the boundary count. At the kink m = margin the
    gradient is 0, but with margin 0 it is -s, so that learning starts from zero scores.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        How far on the right side a score must be.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: max(0, margin - m)
    :Range: [0, inf)
    :Gradient: -s where m < margin, else 0
    :Hessian: 0
    :Activation: identity
    :Good at: sparse kernel models; convex
    :Bad at: probabilities, which it does not give; Newton's method and boosting that divide by Hessians
    :Use: for linear and kernel classifiers that need no probabilities
    :Other names: scikit-learn ``hinge``; Keras ``Hinge``

    References
    ----------
    C. Cortes and V. Vapnik, *Support-vector networks*, Machine Learning 20, 1995.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Hinge()([-1, 1], [-2.0, 0.5], reduction="none")
    array([0. , 0.5])
    """

    __slots__ = ()

    def __init__(self, margin: float = 1.0, class_weight: ClassWeight = None) -> None:
        margin = number("margin", margin, at_least=0)
        self._bind("Hinge", {"margin": margin}, {"margin": margin, "class_weight": class_weight})

    def _best_constant(self, y: Array, w: Array) -> float:
        side = balance(y, w)
        return math.copysign(self.margin, side) + 0.0 if side else 0.0


class SquaredHinge(BinaryLoss):
    """Squared hinge loss: quadratic below the margin, 0 beyond it.

    The loss of L2 support vector machines; the default of scikit-learn's ``LinearSVC``.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        How far on the right side a score must be.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: max(0, margin - m)²
    :Range: [0, inf)
    :Gradient: -2s·max(0, margin - m)
    :Hessian: 2 where m < margin, else 0
    :Activation: identity
    :Good at: margins, with a gradient without jumps; convex
    :Bad at: wrong labels, which weigh by their square; probabilities, which it does not give
    :Use: in the place of the hinge where the optimiser wants smooth gradients
    :Other names: scikit-learn ``squared_hinge``; Keras ``SquaredHinge``

    References
    ----------
    S. S. Keerthi and D. DeCoste, *A modified finite Newton method for fast solution of large scale linear SVMs*,
    Journal of Machine Learning Research 6, 2005.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.SquaredHinge()([-1, 1], [-2.0, 0.5], reduction="none")
    array([0.  , 0.25])
    """

    __slots__ = ()

    def __init__(self, margin: float = 1.0, class_weight: ClassWeight = None) -> None:
        margin = number("margin", margin, at_least=0)
        self._bind("SquaredHinge", {"margin": margin}, {"margin": margin, "class_weight": class_weight})

    def _best_constant(self, y: Array, w: Array) -> float:
        return self.margin * balance(y, w) + 0.0


class Perceptron(BinaryLoss):
    """Perceptron loss: what a score lacks to the right side of the boundary.

    The hinge with margin 0. At the kink m = 0 the gradient is -s, so that learning starts from zero scores.

    Parameters
    ----------
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: max(0, -m)
    :Range: [0, inf)
    :Gradient: -s where m <= 0, else 0
    :Hessian: 0
    :Activation: identity
    :Good at: online learning, as only mistakes change the model; convex
    :Bad at: margins, which it does not ask for; scores of 0 everywhere are a minimum; probabilities
    :Use: for the perceptron algorithm
    :Other names: scikit-learn ``perceptron``

    References
    ----------
    F. Rosenblatt, *The perceptron: a probabilistic model for information storage and organization in the brain*,
    Psychological Review 65, 1958.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Perceptron()([0, 1], [0.5, 2.0], reduction="none")
    array([0.5, 0. ])
    """

    __slots__ = ()

    def __init__(self, class_weight: ClassWeight = None) -> None:
        self._bind("Hinge", {"margin": 0.0}, {"class_weight": class_weight})

    def _best_constant(self, y: Array, w: Array) -> float:
        return 0.0


class ModifiedHuber(BinaryLoss):
    """Modified Huber loss: the squared hinge, made linear for samples far on the wrong side.

    (clip(z, -1, 1) + 1)/2 estimates the probability of the positive class.

    Parameters
    ----------
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: max(0, 1 - m)² where m >= -1, else -4m
    :Range: [0, inf)
    :Gradient: -2s·max(0, 1 - m) where m >= -1, else -4s
    :Hessian: 2 where -1 <= m < 1, else 0
    :Activation: identity
    :Good at: wrong labels, for a convex loss, with margins and a rough probability
    :Bad at: fine probabilities near 0 and 1; Newton's method far out, where the Hessian is 0
    :Use: for linear classifiers on data with some wrong labels
    :Other names: scikit-learn ``modified_huber``

    References
    ----------
    T. Zhang, *Solving large scale linear prediction problems using stochastic gradient descent algorithms*, 2004.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.ModifiedHuber()([1, 1], [0.5, -3.0], reduction="none")
    array([ 0.25, 12.  ])
    """

    __slots__ = ()

    def __init__(self, class_weight: ClassWeight = None) -> None:
        self._bind("ModifiedHuber", {}, {"class_weight": class_weight})

    def _best_constant(self, y: Array, w: Array) -> float:
        return balance(y, w)


class Exponential(BinaryLoss):
    """Exponential loss: the loss of AdaBoost.

    Its minimiser is half the log odds, so that sigmoid(2z) estimates the probability of the positive class.

    Parameters
    ----------
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: e^(-m)
    :Range: (0, inf)
    :Gradient: -s·e^(-m)
    :Hessian: e^(-m)
    :Activation: sigmoid (of 2z)
    :Good at: boosting: smooth, convex, and its steps have closed forms
    :Bad at: wrong labels and outliers, which weigh exponentially
    :Use: for AdaBoost and on clean labels
    :Other names: scikit-learn ``exponential``

    References
    ----------
    Y. Freund and R. E. Schapire, *A decision-theoretic generalization of on-line learning and an application to
    boosting*, Journal of Computer and System Sciences 55, 1997.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Exponential().gradient([0, 1], [0.0, 0.0], reduction="none")
    array([ 1., -1.])
    """

    __slots__ = ()
    aliases = ("adaboost",)

    def __init__(self, class_weight: ClassWeight = None) -> None:
        self._bind("Exponential", {}, {"class_weight": class_weight}, cost=TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        return log_ratio(*positives_negatives(y, w)) / 2


class Sharp(BinaryLoss):
    """Sharp loss: one minus a sigmoid function of the margin, near the 0/1 loss for small ``epsilon``.

    φ(m) is m/√(m² + ε), or (2/π) arctan(m/ε).

    Parameters
    ----------
    phi : {"algebraic", "arctan"}, default "algebraic"
        Which φ.
    epsilon : float in [1e-100, 1e100], default 1.0
        The smaller, the sharper.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: 1 - φ(m), with φ(m) = m/√(m² + epsilon), or (2/π)·arctan(m/epsilon)
    :Range: (0, 2)
    :Gradient: -s·epsilon/(m² + epsilon)^(3/2); arctan -s·(2/π)·epsilon/(m² + epsilon²)
    :Hessian: 3·epsilon·m/(m² + epsilon)^(5/2); arctan (4/π)·epsilon·m/(m² + epsilon²)²; negative for m < 0
    :Activation: identity
    :Good at: outliers and wrong labels, as it is bounded; with small epsilon its minimum is near that of the error rate
    :Bad at: starts far from the boundary, where it is flat: too sharp, and gradient descent stalls; not convex
    :Use: when the error rate itself is to be small, and for imbalance
    :Other names: none

    References
    ----------
    Lê Bích Phượng, *Constructing loss functions for optimal performance in differential machine learning*, 2024,
    equations 15 and 20.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Sharp(epsilon=9.0)([0, 1], [4.0, 4.0], reduction="none")
    array([1.8, 0.2])
    """

    __slots__ = ()

    def __init__(self, phi: Literal["algebraic", "arctan"] = "algebraic", epsilon: float = 1.0,
                 class_weight: ClassWeight = None) -> None:
        arguments: dict[str, Any] = {
            "phi": choice("phi", phi, ("algebraic", "arctan")),
            "epsilon": number("epsilon", epsilon, at_least=1e-100, at_most=1e100),
            "class_weight": class_weight,
        }
        self._bind("SharpAlgebraic" if phi == "algebraic" else "SharpArctan", {"epsilon": arguments["epsilon"]},
                   arguments, cost=SIMPLE if phi == "algebraic" else TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        side = balance(y, w)  # φ grows from -1 to 1, and the loss of all samples is a multiple of it
        return math.copysign(math.inf, side) if side else 0.0
