"""Binary losses. Formulas: `kernels/binary.pxd`; references: `tests/reference.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from numpy.typing import ArrayLike

from . import kernels
from ._checks import choice, number, number_or_row
from .class_weight import ClassWeight, binary_class_weight
from .loss import Loss

_SIMPLE, _TRANSCENDENTAL = 0.5, 2.0  # ns per element


class BinaryLoss(Loss):
    """A loss of binary labels {0, 1}, {False, True} or {-1, 1}, for (n,) or, multi-label, (n, k) predictions."""

    __slots__ = ()
    target = "binary"

    def _bind(self, formula: str, parameters: Mapping[str, float], arguments: dict[str, Any], *, cost: float,
              varying: str = "") -> None:
        class_weight = binary_class_weight(arguments["class_weight"])
        if isinstance(arguments["class_weight"], Mapping):  # a copy, which no caller can change
            arguments["class_weight"] = MappingProxyType(
                {key: float(weight) for key, weight in sorted(arguments["class_weight"].items())})
        else:
            arguments["class_weight"] = class_weight
        value = arguments.get(varying)
        evaluator = kernels.bind(formula, dict(parameters), target=self.target, cost=cost, varying_name=varying,
                                 varying=1.0 if value is None else value, class_weight=class_weight)
        self._set(arguments, evaluator)


class BinaryCrossEntropy(BinaryLoss):
    """Binary cross-entropy: the negative log-likelihood of a Bernoulli distribution.

    The loss of calibrated probabilities, and the default for binary and multi-label classification. Not robust: a
    confident wrong prediction costs without limit.

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
    Targets may be soft: y in [0, 1]. With logits: loss softplus(z) - y·z, in [0, inf); gradient sigmoid(z) - y;
    Hessian sigmoid(z)·sigmoid(-z). With probabilities: loss -y log p - (1 - y) log(1 - p); gradient
    (p - y)/(p(1 - p)); Hessian y/p² + (1 - y)/(1 - p)². Activation: sigmoid.
    Other names: BCE, log loss, logistic loss, sigmoid cross-entropy; scikit-learn's ``log_loss``, torch's
    ``BCEWithLogitsLoss`` and ``BCELoss``.

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
        parameters = {"label_smoothing": arguments["label_smoothing"]}
        if inputs == "logits":
            if eps:
                raise ValueError(f"eps clips probabilities, and inputs is 'logits': it must be 0, got {eps}")
            if label_smoothing == 0 and pos_weight is None:
                self._bind("BinaryCrossEntropy", {}, arguments, cost=_TRANSCENDENTAL)
            else:
                self._bind("BinaryCrossEntropyAdjusted", parameters, arguments, cost=_TRANSCENDENTAL,
                           varying="pos_weight")
        else:
            eps = arguments["eps"]
            parameters |= {"eps": eps, "log_eps": math.log(eps) if eps else -math.inf}
            self._bind("BinaryCrossEntropyProbabilities", parameters, arguments, cost=_TRANSCENDENTAL,
                       varying="pos_weight")

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        """Where y_pred makes sense."""
        return (0.0, 1.0) if self.inputs == "probabilities" else (-math.inf, math.inf)


class BinaryFocal(BinaryLoss):
    """Focal loss: cross-entropy that fades for samples already classified well.

    For strong imbalance, where masses of easy negatives would drown the rest (dense detection). Its probabilities are
    not calibrated, and it is not convex.

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
    With p_t the probability of the true label and q = 1 - p_t: loss -α_t q^γ log p_t, in [0, inf); by the margin
    m = ±z: gradient α_t q^γ (γ p_t log p_t - q), Hessian α_t q^γ p_t (q(1 + 2γ) + γ log p_t (q - γ p_t)), which may
    be negative. Hard labels only. Activation: sigmoid.
    Whole γ from 0 to 4 are products and take about half the time of other γ.
    Other names: torchvision's ``sigmoid_focal_loss``.

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
        parameters = {
            "gamma": gamma,
            "alpha_positive": 1.0 if alpha is None else float(alpha),
            "alpha_negative": 1.0 if alpha is None else 1.0 - float(alpha),
        }
        if inputs == "probabilities":
            self._bind("BinaryFocalProbabilities", parameters, arguments, cost=_TRANSCENDENTAL)
        elif gamma.is_integer() and gamma <= 4:
            bits = {f"bit_{bit}": float(bool(int(gamma) & bit)) for bit in (1, 2, 4)}
            self._bind("BinaryFocalSmallPower", parameters | bits, arguments, cost=_TRANSCENDENTAL)
        else:
            self._bind("BinaryFocal", parameters, arguments, cost=2 * _TRANSCENDENTAL)

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        """Where y_pred makes sense."""
        return (0.0, 1.0) if self.inputs == "probabilities" else (-math.inf, math.inf)


class Hinge(BinaryLoss):
    """Hinge loss: linear below the margin, 0 beyond it.

    The loss of support vector machines: only samples near or beyond the boundary count. Gives no probabilities; its
    Hessian is 0: not for Newton's method, nor for boosting that divides by Hessians.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        How far on the right side a score must be.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    With m = ±z: loss max(0, margin - m), in [0, inf); gradient -1 by m where m < margin, else 0; Hessian 0. At the kink
    m = margin the gradient is 0, but -1 with margin 0, so that learning starts from zero scores. Activation: identity.
    Other names: scikit-learn's ``hinge``.

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
        self._bind("Hinge", {"margin": margin}, {"margin": margin, "class_weight": class_weight}, cost=_SIMPLE)


class Sharp(BinaryLoss):
    """Sharp loss: one minus a sigmoid function of the margin, near the 0/1 loss for small ``epsilon``.

    Bounded, so outliers and wrong labels cannot dominate; with small ``epsilon`` its minimum comes close to that of the
    error rate. Not convex, and flat far from the boundary: too sharp, and gradient descent stalls.

    Parameters
    ----------
    phi : {"algebraic", "arctan"}, default "algebraic"
        φ(z) = z/√(z² + ε), or (2/π) arctan(z/ε).
    epsilon : float in [1e-100, 1e100], default 1.0
        The smaller, the sharper.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs samples by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    With m = ±z: loss 1 - φ(m), in (0, 2); gradient by m -φ′(m): -ε/(m² + ε)^(3/2), or -(2/π) ε/(m² + ε²); Hessian
    -φ″(m), negative for m < 0. Activation: identity.

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
                   arguments, cost=_SIMPLE if phi == "algebraic" else _TRANSCENDENTAL)
