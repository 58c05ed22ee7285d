"""Regression losses. Formulas: `kernels/regression.pxd`; references: `tests/reference.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from . import kernels
from ._checks import number, number_or_row
from .loss import Loss

_COST = 0.4  # ns per element


class RegressionLoss(Loss):
    __slots__ = ()

    def _bind(self, formula: str, parameters: Mapping[str, float], arguments: dict[str, Any],
              varying: str = "") -> None:
        evaluator = kernels.bind(formula, dict(parameters), target=self.target, cost=_COST, varying_name=varying,
                                 varying=arguments.get(varying, 0.0))
        self._set(arguments, evaluator)


class SquaredError(RegressionLoss):
    """Squared error: (z - y)², or half of it.

    The loss of the mean: its minimiser over a constant is the mean of y. Smooth and convex; the natural choice for
    errors of normal distribution. Not for data with outliers, which weigh by their square (`Huber`, `AbsoluteError`).

    Parameters
    ----------
    half : bool, default False
        Whether to halve it, so that the gradient is the residual.

    Notes
    -----
    With r = y_pred - y_true: loss r² (half: r²/2), in [0, inf); gradient 2r (r); Hessian 2 (1). Activation: identity.
    Other names: MSE, L2 loss; scikit-learn's ``squared_error``, torch's ``MSELoss``.

    References
    ----------
    C. F. Gauss, *Theoria combinationis observationum erroribus minimis obnoxiae*, 1823.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.SquaredError()([1.0, 2.0], [1.5, 2.0])
    0.125
    """

    __slots__ = ()
    aliases = ("mse", "l2", "mean_squared_error")

    def __init__(self, half: bool = False) -> None:
        if not isinstance(half, bool):
            raise TypeError(f"half must be True or False, got {half!r}")
        self._bind("SquaredError", {"factor": 0.5 if half else 1.0}, {"half": half})


class AbsoluteError(RegressionLoss):
    """Absolute error: |z - y|.

    The loss of the median: robust against outliers in y. Its gradient does not shrink near the optimum, and its Hessian
    is 0: not for Newton's method, nor for boosting that divides by Hessians.

    Notes
    -----
    With r = y_pred - y_true: loss |r|, in [0, inf); gradient sign(r), 0 at r = 0; Hessian 0. Activation: identity.
    Other names: MAE, L1 loss; scikit-learn's ``absolute_error``, torch's ``L1Loss``.

    References
    ----------
    P.-S. Laplace, *Sur quelques points du système du monde*, 1789.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.AbsoluteError()([1.0, 2.0], [1.5, 2.0])
    0.25
    """

    __slots__ = ()
    aliases = ("mae", "l1", "mean_absolute_error")

    def __init__(self) -> None:
        self._bind("AbsoluteError", {}, {})


class Huber(RegressionLoss):
    """Huber's loss: squared for small residuals, absolute for large ones.

    Robust against outliers in y, and smooth at the optimum. ``delta`` is in the units of y: residuals beyond it count
    as outliers, so scale it to the noise (1.345 standard deviations keep 95 % efficiency on normal errors).

    Parameters
    ----------
    delta : float > 0, default 1.0
        Where the loss goes from squared to absolute.

    Notes
    -----
    With r = y_pred - y_true: loss r²/2 where |r| <= delta, else delta·|r| - delta²/2, in [0, inf); gradient r clipped
    to [-delta, delta]; Hessian 1 where |r| <= delta, else 0. Activation: identity.
    Other names: torch's ``HuberLoss``; scikit-learn's ``huber``.

    References
    ----------
    P. J. Huber, *Robust estimation of a location parameter*, Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Huber(delta=1.0)([0.0, 0.0], [0.5, 3.0], reduction="none")
    array([0.125, 2.5  ])
    """

    __slots__ = ()

    def __init__(self, delta: float = 1.0) -> None:
        arguments = {"delta": number("delta", delta, above=0)}
        self._bind("Huber", arguments, arguments)


class Quantile(RegressionLoss):
    """Quantile (pinball) loss: its minimiser is a quantile of y.

    For prediction intervals and for costs that differ between too high and too low. Its Hessian is 0: not for Newton's
    method, nor for boosting that divides by Hessians.

    Parameters
    ----------
    quantile : float in (0, 1), or array of shape (k,), default 0.5
        Which quantile; an array gives each column of y_pred, of shape (n, k), its own.

    Notes
    -----
    With tau the quantile: loss tau·(y - z) where y >= z, else (1 - tau)·(z - y), in [0, inf); gradient -tau where
    z < y, 1 - tau where z > y, 0 at z = y; Hessian 0. Activation: identity.
    Other names: pinball loss, check loss; scikit-learn's ``quantile``.

    References
    ----------
    R. Koenker and G. Bassett, *Regression quantiles*, Econometrica 46, 1978.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Quantile(0.9)([1.0, 1.0], [0.0, 2.0], reduction="none")
    array([0.9, 0.1])
    """

    __slots__ = ()
    aliases = ("pinball", "quantile_loss")

    def __init__(self, quantile: float | ArrayLike = 0.5) -> None:
        arguments = {"quantile": number_or_row("quantile", quantile, above=0, below=1)}
        self._bind("Quantile", {}, arguments, varying="quantile")
