"""Regression losses. Formulas: `kernels/regression.pxd`; references: `tests/reference.py`."""

from __future__ import annotations

import math
import numbers
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ._checks import choice, flag, number, number_or_row
from ._intercept import expectile, log, log_variance, mean, quantile, search
from ._typing import Array
from .loss import TRANSCENDENTAL, Loss


class RegressionLoss(Loss):
    __slots__ = ()


class SquaredError(RegressionLoss):
    """Squared error: (z - y)², or half of it.

    Over a constant its minimiser is the mean of y.

    Parameters
    ----------
    half : bool, default False
        Whether to halve it, so that the gradient is the residual.

    Notes
    -----
    :Formula: r², or r²/2 with half
    :Range: [0, inf)
    :Gradient: 2r, or r with half
    :Hessian: 2, or 1 with half
    :Activation: identity
    :Good at: means: smooth, convex, and efficient for errors of normal distribution
    :Bad at: outliers, which weigh by their square
    :Use: when the mean is wanted and outliers are few
    :Other names: MSE, L2 loss; scikit-learn ``squared_error``; torch ``MSELoss``; Keras ``MeanSquaredError``;
        XGBoost ``reg:squarederror``; LightGBM ``regression``

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
        half = flag("half", half)
        self._bind("SquaredError", {"factor": 0.5 if half else 1.0}, {"half": half})

    def _best_constant(self, y: Array, w: Array) -> float:
        return mean(y, w)


class AbsoluteError(RegressionLoss):
    """Absolute error: |z - y|.

    Over a constant its minimiser is the median of y.

    Notes
    -----
    :Formula: |r|
    :Range: [0, inf)
    :Gradient: sign(r), 0 at r = 0
    :Hessian: 0
    :Activation: identity
    :Good at: outliers in y, each of which counts by its sign only
    :Bad at: the last steps of an optimiser, as the gradient does not shrink; Newton's method and boosting that divide
        by Hessians
    :Use: when the median is wanted
    :Other names: MAE, L1 loss; scikit-learn ``absolute_error``; torch ``L1Loss``; Keras ``MeanAbsoluteError``;
        XGBoost ``reg:absoluteerror``; LightGBM ``regression_l1``

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

    def _best_constant(self, y: Array, w: Array) -> float:
        return quantile(y, w, 0.5)


class Huber(RegressionLoss):
    """Huber's loss: squared for small residuals, absolute for large ones.

    ``delta`` is in the units of y: scale it to the noise. At 1.345 standard deviations it keeps 95 % of the squared
    error's efficiency on normal errors.

    Parameters
    ----------
    delta : float > 0, or array of shape (k,), default 1.0
        Where the loss goes from squared to absolute; an array gives each column of y_pred, of shape (n, k), its own.

    Notes
    -----
    :Formula: r²/2 where |r| <= delta, else delta·|r| - delta²/2
    :Range: [0, inf)
    :Gradient: r, clipped to [-delta, delta]
    :Hessian: 1 where |r| <= delta, else 0
    :Activation: identity
    :Good at: outliers in y: convex, and smooth at the optimum
    :Bad at: noise of unknown scale, which delta must match; Newton's method far out, where the Hessian is 0
    :Use: for means of data with some outliers
    :Other names: scikit-learn ``huber``; torch ``HuberLoss``; Keras ``Huber``; LightGBM ``huber``

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

    def __init__(self, delta: float | ArrayLike = 1.0) -> None:
        self._bind("Huber", {}, {"delta": number_or_row("delta", delta, above=0)}, varying="delta")


class SmoothL1(RegressionLoss):
    """Smooth L1: the absolute error, with its kink rounded off.

    It is Huber's loss divided by its delta. With ``beta`` = 0 it is the absolute error.

    Parameters
    ----------
    beta : float >= 0, default 1.0
        Below which residual it is quadratic.

    Notes
    -----
    :Formula: r²/(2·beta) where |r| < beta, else |r| - beta/2
    :Range: [0, inf)
    :Gradient: r/beta where |r| < beta, else sign(r), 0 at r = 0
    :Hessian: 1/beta where |r| < beta, else 0
    :Activation: identity
    :Good at: outliers: slopes stay in [-1, 1] for every beta
    :Bad at: Newton's method far out, where the Hessian is 0
    :Use: for box coordinates in detection, and wherever gradients must be bounded
    :Other names: torch ``SmoothL1Loss``

    References
    ----------
    R. Girshick, *Fast R-CNN*, 2015.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.SmoothL1(beta=0.5)([0.0, 0.0], [0.25, 3.0], reduction="none")
    array([0.0625, 2.75  ])
    """

    __slots__ = ()

    def __init__(self, beta: float = 1.0) -> None:
        arguments = {"beta": number("beta", beta, at_least=0)}
        self._bind("SmoothL1", arguments, arguments)


class PseudoHuber(RegressionLoss):
    """Pseudo-Huber loss: between the squared and the absolute error, smooth everywhere.

    Near r = 0 it is r²/2; far out it is delta·|r| - delta².

    Parameters
    ----------
    delta : float in [1e-100, 1e100], default 1.0
        About where it goes from squared to absolute.

    Notes
    -----
    :Formula: delta²·(√(1 + (r/delta)²) - 1)
    :Range: [0, inf)
    :Gradient: r/√(1 + (r/delta)²)
    :Hessian: (1 + (r/delta)²)^(-3/2)
    :Activation: identity
    :Good at: outliers, with derivatives of all orders and a Hessian above 0
    :Bad at: noise of unknown scale, which delta must match
    :Use: instead of Huber's loss where Hessians are needed, as in boosting
    :Other names: Charbonnier loss; XGBoost ``reg:pseudohubererror``; SciPy ``pseudo_huber``

    References
    ----------
    P. Charbonnier, L. Blanc-Féraud, G. Aubert and M. Barlaud, *Two deterministic half-quadratic regularization
    algorithms for computed imaging*, 1994.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.PseudoHuber(delta=3.0)([0.0], [4.0])
    6.0
    """

    __slots__ = ()
    aliases = ("charbonnier",)

    def __init__(self, delta: float = 1.0) -> None:
        arguments = {"delta": number("delta", delta, at_least=1e-100, at_most=1e100)}
        self._bind("PseudoHuber", arguments, arguments)


class Quantile(RegressionLoss):
    """Quantile (pinball) loss: over a constant its minimiser is a quantile of y.

    Several quantiles fit at once: an array of k of them, with predictions (n, k) and y repeated in k columns.

    Parameters
    ----------
    quantile : float in (0, 1), or array of shape (k,), default 0.5
        Which quantile; an array gives each column of y_pred, of shape (n, k), its own.

    Notes
    -----
    :Formula: quantile·(y - z) where y >= z, else (1 - quantile)·(z - y)
    :Range: [0, inf)
    :Gradient: -quantile where z < y, 1 - quantile where z > y, 0 at z = y
    :Hessian: 0
    :Activation: identity
    :Good at: quantiles of any distribution, and outliers
    :Bad at: quantiles that must not cross; Newton's method and boosting that divide by Hessians
    :Use: for prediction intervals, and for costs that differ between too high and too low
    :Other names: pinball loss, check loss; scikit-learn ``quantile``; XGBoost ``reg:quantileerror``; LightGBM
        ``quantile``; CatBoost ``Quantile``

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

    def _best_constant(self, y: Array, w: Array) -> float:
        return quantile(y, w, self.quantile)


class Expectile(RegressionLoss):
    """Expectile loss: the squared error, weighed by the residual's sign.

    What the quantile loss is to the median, it is to the mean, which is the expectile 0.5.

    Parameters
    ----------
    expectile : float in (0, 1), or array of shape (k,), default 0.5
        The weight of targets above the prediction; an array gives each column of y_pred, of shape (n, k), its own.

    Notes
    -----
    :Formula: expectile·r² where y >= z, else (1 - expectile)·r²
    :Range: [0, inf)
    :Gradient: 2·expectile·r where y >= z, else 2·(1 - expectile)·r
    :Hessian: 2·expectile where y >= z, else 2·(1 - expectile)
    :Activation: identity
    :Good at: costs that differ between too high and too low: smooth, with a Hessian above 0
    :Bad at: outliers, which weigh by their square; saying what share of y lies below
    :Use: in the place of quantiles, where tails matter and Hessians are needed
    :Other names: asymmetric least squares; CatBoost ``Expectile``

    References
    ----------
    W. K. Newey and J. L. Powell, *Asymmetric least squares estimation and testing*, Econometrica 55, 1987.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Expectile(0.75)([1.0, 1.0], [0.0, 2.0], reduction="none")
    array([0.75, 0.25])
    """

    __slots__ = ()
    aliases = ("asymmetric_least_squares",)

    def __init__(self, expectile: float | ArrayLike = 0.5) -> None:
        arguments = {"expectile": number_or_row("expectile", expectile, above=0, below=1)}
        self._bind("Expectile", {}, arguments, varying="expectile")

    def _best_constant(self, y: Array, w: Array) -> float:
        return expectile(y, w, self.expectile)


class LogCosh(RegressionLoss):
    """Log-cosh loss: squared for small residuals, absolute for large ones, and smooth between.

    Near r = 0 it is r²/2; far out it is |r| - log(2). It has no parameter: divide y and z by the scale of the noise.

    Notes
    -----
    :Formula: log(cosh(r))
    :Range: [0, inf)
    :Gradient: tanh(r)
    :Hessian: 1 - tanh²(r)
    :Activation: identity
    :Good at: outliers, with derivatives of all orders
    :Bad at: data that are not scaled to the noise; Newton's method far out, where the Hessian falls like e^(-2|r|)
    :Use: for standardised targets with some outliers
    :Other names: Keras ``LogCosh``; CatBoost ``LogCosh``

    References
    ----------
    P. J. Green, *Bayesian reconstructions from emission tomography data using a modified EM algorithm*, IEEE
    Transactions on Medical Imaging 9, 1990.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.LogCosh()([0.0], [1.0]), 6)
    0.433781
    """

    __slots__ = ()
    aliases = ("logcosh",)

    def __init__(self) -> None:
        self._bind("LogCosh", {}, {}, cost=TRANSCENDENTAL)


class Fair(RegressionLoss):
    """Fair's loss: squared for small residuals, nearly linear for large ones.

    Near r = 0 it is r²/2; far out its slope tends to c. ``c`` is in the units of y: at 1.4 standard deviations it keeps
    95 % of the squared error's efficiency on normal errors.

    Parameters
    ----------
    c : float in [1e-100, 1e100], default 1.0
        About where it goes from squared to absolute.

    Notes
    -----
    :Formula: c²·(|r|/c - log(1 + |r|/c))
    :Range: [0, inf)
    :Gradient: r/(1 + |r|/c)
    :Hessian: 1/(1 + |r|/c)²
    :Activation: identity
    :Good at: outliers, with a Hessian above 0 that falls slowly
    :Bad at: noise of unknown scale, which c must match
    :Use: for robust fits by Newton's method or boosting
    :Other names: LightGBM ``fair``

    References
    ----------
    R. C. Fair, *On the robust estimation of econometric models*, Annals of Economic and Social Measurement 3, 1974.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Fair(c=2.0).gradient([0.0, 0.0], [2.0, -6.0], reduction="none")
    array([ 1. , -1.5])
    """

    __slots__ = ()

    def __init__(self, c: float = 1.0) -> None:
        arguments = {"c": number("c", c, at_least=1e-100, at_most=1e100)}
        self._bind("Fair", arguments, arguments, cost=TRANSCENDENTAL)


class EpsilonInsensitive(RegressionLoss):
    """Epsilon-insensitive loss: the absolute error beyond a tube in which nothing counts.

    The loss of support vector regression.

    Parameters
    ----------
    epsilon : float >= 0, or array of shape (k,), default 0.1
        Half the width of the tube, in the units of y; an array gives each column of y_pred, of shape (n, k), its own.

    Notes
    -----
    :Formula: max(0, |r| - epsilon)
    :Range: [0, inf)
    :Gradient: sign(r) where |r| > epsilon, else 0
    :Hessian: 0
    :Activation: identity
    :Good at: sparse kernel models, as samples within the tube do not count; outliers
    :Bad at: fits finer than the tube; Newton's method and boosting that divide by Hessians
    :Use: when errors below a tolerance do not matter
    :Other names: scikit-learn ``epsilon_insensitive``

    References
    ----------
    V. N. Vapnik, *The nature of statistical learning theory*, 1995.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.EpsilonInsensitive(epsilon=0.5)([0.0, 0.0], [0.25, 2.0], reduction="none")
    array([0. , 1.5])
    """

    __slots__ = ()

    def __init__(self, epsilon: float | ArrayLike = 0.1) -> None:
        arguments = {"epsilon": number_or_row("epsilon", epsilon, at_least=0)}
        self._bind("EpsilonInsensitive", {}, arguments, varying="epsilon")


class SquaredEpsilonInsensitive(RegressionLoss):
    """Squared epsilon-insensitive loss: squared beyond a tube in which nothing counts.

    The smooth sibling of `EpsilonInsensitive`.

    Parameters
    ----------
    epsilon : float >= 0, or array of shape (k,), default 0.1
        Half the width of the tube, in the units of y; an array gives each column of y_pred, of shape (n, k), its own.

    Notes
    -----
    :Formula: max(0, |r| - epsilon)²
    :Range: [0, inf)
    :Gradient: 2·sign(r)·max(0, |r| - epsilon)
    :Hessian: 2 where |r| > epsilon, else 0
    :Activation: identity
    :Good at: tolerances, with a gradient without jumps
    :Bad at: outliers, which weigh by their square; fits finer than the tube
    :Use: when errors below a tolerance do not matter, and large ones matter much
    :Other names: L2 support vector regression; scikit-learn ``squared_epsilon_insensitive``

    References
    ----------
    V. N. Vapnik, *The nature of statistical learning theory*, 1995.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.SquaredEpsilonInsensitive(epsilon=0.5)([0.0, 0.0], [0.25, 2.0], reduction="none")
    array([0.  , 2.25])
    """

    __slots__ = ()

    def __init__(self, epsilon: float | ArrayLike = 0.1) -> None:
        arguments = {"epsilon": number_or_row("epsilon", epsilon, at_least=0)}
        self._bind("SquaredEpsilonInsensitive", {}, arguments, varying="epsilon")


class SquaredLogError(RegressionLoss):
    """Squared logarithmic error: the squared error of log(1 + z).

    y_true must be above -1, else ValueError. At y_pred = -1 the loss is inf and the gradient -inf; below it all is NaN.
    It is the likelihood of errors of log-normal distribution, of values moved by 1.

    Notes
    -----
    :Formula: (log(1 + z) - log(1 + y))²
    :Range: [0, inf)
    :Gradient: 2·d/(1 + z), with d = log(1 + z) - log(1 + y)
    :Hessian: 2·(1 - d)/(1 + z)²
    :Activation: identity, with z > -1
    :Good at: amounts over many orders of magnitude: it measures ratios
    :Bad at: predictions far above y, where it is not convex; means, below which it settles
    :Use: when the ratio of prediction and target counts, and targets may be 0
    :Other names: MSLE; scikit-learn ``mean_squared_log_error``; Keras ``MeanSquaredLogarithmicError``; XGBoost
        ``reg:squaredlogerror`` (half of it)

    References
    ----------
    J. Aitchison and J. A. C. Brown, *The lognormal distribution*, 1957.

    Examples
    --------
    >>> import fastloss as fl
    >>> round(fl.SquaredLogError()([0.0], [1.0]), 6)
    0.480453
    """

    __slots__ = ()
    aliases = ("msle", "mean_squared_log_error")
    target = "above -1"
    domain = (-1.0, math.inf)

    def __init__(self) -> None:
        self._bind("SquaredLogError", {}, {}, cost=TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        best = math.expm1(mean(np.log1p(y), w))
        return min(max(best, float(y.min())), float(y.max()))  # which rounding may leave


class AbsolutePercentageError(RegressionLoss):
    """Absolute percentage error: the absolute error relative to the target, as a fraction.

    It is the absolute error weighed by 1/|y|.

    Parameters
    ----------
    eps : float > 0, default 2.2e-16
        |y| is not taken below it.

    Notes
    -----
    :Formula: |r|/max(|y|, eps)
    :Range: [0, inf)
    :Gradient: sign(r)/max(|y|, eps), 0 at r = 0
    :Hessian: 0
    :Activation: identity
    :Good at: errors as people quote them, over targets of different sizes
    :Bad at: targets near 0, which outweigh all others; high predictions, which cost more than low ones: it settles
        below the median
    :Use: when a forecast is judged by its percentage error and no target is near 0
    :Other names: MAPE; scikit-learn ``mean_absolute_percentage_error``; Keras ``MeanAbsolutePercentageError`` (100
        times it)

    References
    ----------
    A. de Myttenaere, B. Golden, B. Le Grand and F. Rossi, *Mean absolute percentage error for regression models*,
    Neurocomputing 192, 2016.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.AbsolutePercentageError()([2.0, -4.0], [3.0, -4.0], reduction="none")
    array([0.5, 0. ])
    """

    __slots__ = ()
    aliases = ("mape", "mean_absolute_percentage_error")

    def __init__(self, eps: float = 2.2e-16) -> None:
        arguments = {"eps": number("eps", eps, above=0)}
        self._bind("AbsolutePercentageError", arguments, arguments)

    def _best_constant(self, y: Array, w: Array) -> float:
        size = np.maximum(np.abs(y), self.eps)
        return quantile(y, w * (size.min() / size), 0.5)


class Robust(RegressionLoss):
    """Barron's general robust loss: a family of losses, from squared to bounded, by one parameter.

    ``alpha`` 2 is half the squared error, 1 the pseudo-Huber loss, 0 the Cauchy (Lorentzian) loss, -2 that of Geman and
    McClure, -inf Welsch's (Leclerc's). ``scale`` is in the units of y.

    Parameters
    ----------
    alpha : float in [-1000, 1000], or -inf, default 1.0
        The shape: the lower, the less outliers count.
    scale : float in [1e-20, 1e20], default 1.0
        The residual at which it leaves its quadratic bowl.

    Notes
    -----
    :Formula: b/alpha·((x²/b + 1)^(alpha/2) - 1) with x = r/scale and b = |alpha - 2|; x²/2 at alpha = 2,
        log(x²/2 + 1) at 0, 1 - e^(-x²/2) at -inf
    :Range: [0, inf) for alpha >= 0, [0, 1 - 2/alpha] below
    :Gradient: r/scale²·(x²/b + 1)^(alpha/2 - 1); r/scale² at alpha = 2, r/scale²·e^(-x²/2) at -inf
    :Hessian: (1 + (alpha - 1)·x²/b)·(x²/b + 1)^(alpha/2 - 2)/scale², negative far out for alpha < 1; 1/scale² at
        alpha = 2, (1 - x²)·e^(-x²/2)/scale² at -inf
    :Activation: identity
    :Good at: outliers of any kind, from none to gross ones, by turning alpha
    :Bad at: starts far from the solution with alpha < 1, where it is not convex and its gradient fades
    :Use: when how robust a fit should be is itself to be tuned
    :Other names: general and adaptive robust loss; by alpha: Charbonnier (1), Cauchy (0), Geman-McClure (-2),
        Welsch (-inf)

    References
    ----------
    J. T. Barron, *A general and adaptive robust loss function*, 2019.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Robust(alpha=-2.0)([0.0, 0.0], [2.0, 6.0], reduction="none")
    array([1. , 1.8])
    """

    __slots__ = ()
    aliases = ("barron", "general_adaptive")

    def __init__(self, alpha: float = 1.0, scale: float = 1.0) -> None:
        if not (isinstance(alpha, numbers.Real) and alpha == -math.inf):
            try:
                alpha = number("alpha", alpha, at_least=-1e3, at_most=1e3)
            except ValueError as error:
                raise ValueError(f"{error} (-inf is allowed, too)") from None
        arguments = {"alpha": float(alpha), "scale": number("scale", scale, at_least=1e-20, at_most=1e20)}
        fields = {"scale": arguments["scale"]}
        if alpha == 2:
            self._bind("RobustSquare", fields, arguments)
        elif alpha == 1:
            self._bind("RobustRoot", fields, arguments)
        elif abs(alpha) < 1e-20:
            self._bind("RobustLog", fields, arguments, cost=TRANSCENDENTAL)
        elif alpha == -math.inf:
            self._bind("RobustExponential", fields, arguments, cost=TRANSCENDENTAL)
        else:
            self._bind("Robust", arguments, arguments, cost=2 * TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        return mean(y, w) if self.alpha == 2 else search(self, y, w)


class Tukey(RegressionLoss):
    """Tukey's biweight loss: constant beyond ``c``, so that gross outliers do not count at all.

    ``c`` is in the units of y. At 4.685 standard deviations it keeps 95 % of the squared error's efficiency on normal
    errors.

    Parameters
    ----------
    c : float in [1e-100, 1e100], default 4.685
        From which residual on a sample does not count.

    Notes
    -----
    :Formula: c²/6·u·(3 - 3u + u²), with u = min(1, (r/c)²)
    :Range: [0, c²/6]
    :Gradient: r·(1 - u)²
    :Hessian: (1 - u)·(1 - 5u)
    :Activation: identity
    :Good at: gross outliers, which it leaves out
    :Bad at: starts far from the solution: not convex, and flat beyond c; noise of unknown scale, which c must match
    :Use: to polish a robust fit that started from Huber's loss
    :Other names: biweight, bisquare; statsmodels ``TukeyBiweight``

    References
    ----------
    A. E. Beaton and J. W. Tukey, *The fitting of power series, meaning polynomials, illustrated on band-spectroscopic
    data*, Technometrics 16, 1974.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Tukey(c=6.0)([0.0, 0.0], [0.0, 100.0], reduction="none")
    array([0., 6.])
    """

    __slots__ = ()
    aliases = ("biweight", "bisquare")

    def __init__(self, c: float = 4.685) -> None:
        arguments = {"c": number("c", c, at_least=1e-100, at_most=1e100)}
        self._bind("Tukey", arguments, arguments)


class Poisson(RegressionLoss):
    """Poisson loss: the negative log-likelihood of counts, with a log link.

    y_pred is the logarithm of the predicted mean. y_true must be >= 0, else ValueError; it need not be whole.

    Parameters
    ----------
    full : bool, default False
        Whether to add y·log(y) - y (0 at y = 0): the loss is then half the deviance, and 0 at best.

    Notes
    -----
    :Formula: e^z - y·z; with full e^z - y·z + y·log(y) - y
    :Range: (-inf, inf); with full [0, inf)
    :Gradient: e^z - y
    :Hessian: e^z
    :Activation: log link
    :Good at: counts and rates: convex, never negative, and right about the mean even where y is not Poisson
    :Bad at: very large z, where e^z overflows; counts that scatter more than their mean says
    :Use: for counts and frequencies
    :Other names: scikit-learn ``poisson``; torch ``PoissonNLLLoss``; XGBoost ``count:poisson``; LightGBM ``poisson``;
        CatBoost ``Poisson``

    References
    ----------
    J. A. Nelder and R. W. M. Wedderburn, *Generalized linear models*, Journal of the Royal Statistical Society A 135,
    1972.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Poisson().gradient([0.0, 3.0], [0.0, 0.0], reduction="none")
    array([ 1., -2.])
    """

    __slots__ = ()
    aliases = ("poisson_nll",)
    target = "non-negative"

    def __init__(self, full: bool = False) -> None:
        full = flag("full", full)
        self._bind("PoissonDeviance" if full else "Poisson", {}, {"full": full}, cost=TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        return log(mean(y, w))


class Gamma(RegressionLoss):
    """Gamma loss: for positive amounts whose scatter grows with their mean, with a log link.

    y_pred is the logarithm of the predicted mean. y_true must be > 0, else ValueError.

    Parameters
    ----------
    full : bool, default False
        Whether to add -log(y) - 1: the loss is then half the deviance, and 0 at best.

    Notes
    -----
    :Formula: z + y·e^(-z); with full z + y·e^(-z) - log(y) - 1
    :Range: (-inf, inf); with full [0, inf)
    :Gradient: 1 - y·e^(-z)
    :Hessian: y·e^(-z)
    :Activation: log link
    :Good at: skewed positive amounts: convex, and relative errors count alike at all sizes
    :Bad at: targets of 0; predictions far below y, which cost exponentially
    :Use: for sizes of claims, durations and prices
    :Other names: scikit-learn ``gamma``; XGBoost ``reg:gamma``; LightGBM ``gamma``

    References
    ----------
    J. A. Nelder and R. W. M. Wedderburn, *Generalized linear models*, Journal of the Royal Statistical Society A 135,
    1972.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Gamma().gradient([0.5, 3.0], [0.0, 0.0], reduction="none")
    array([ 0.5, -2. ])
    """

    __slots__ = ()
    target = "positive"

    def __init__(self, full: bool = False) -> None:
        full = flag("full", full)
        self._bind("GammaDeviance" if full else "Gamma", {}, {"full": full}, cost=TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        return log(mean(y, w))


class Tweedie(RegressionLoss):
    """Tweedie loss: for amounts whose variance is a power of their mean.

    Powers 0, 1, 2 and 3 are the normal, Poisson, gamma and inverse Gaussian distributions; those between 1 and 2 are
    sums of a Poisson number of gamma amounts. With the log link y_pred is the logarithm of the predicted mean, with the
    identity link the mean itself, which must be > 0 (NaN elsewhere) unless ``power`` is 0. y_true must be > 0 for
    ``power`` >= 2, >= 0 for [1, 2), and >= 0 below 0 too where the deviance is computed; else ValueError.

    Parameters
    ----------
    power : float outside (0, 1), default 1.5
        Of the mean, to which the variance is proportional.
    link : {"log", "identity"}, default "log"
        Whether y_pred is the logarithm of the mean, or the mean.
    full : bool, default False
        Whether to add what depends on y alone: the loss is then half the deviance, and 0 at best. The identity link
        always has it.

    Notes
    -----
    :Formula: -y·mu^(1 - power)/(1 - power) + mu^(2 - power)/(2 - power), mu = e^z or z; half deviance: plus
        y^(2 - power)/((1 - power)(2 - power)); powers 1 and 2 are `Poisson` and `Gamma`
    :Range: (0, inf) for power in (1, 2), else (-inf, inf); half deviance [0, inf)
    :Gradient: mu^(2 - power) - y·mu^(1 - power); identity link (mu - y)/mu^power
    :Hessian: (2 - power)·mu^(2 - power) - (1 - power)·y·mu^(1 - power); identity link
        (1 - power)·mu^(-power) + power·y·mu^(-power - 1)
    :Activation: log link, or identity
    :Good at: amounts that are often exactly 0 and skewed otherwise
    :Bad at: an unknown power, which is to be tuned; Newton's method with powers outside [1, 2] or the identity link,
        where it need not be convex
    :Use: for total claims, rainfall and sales, with a power between 1 and 2
    :Other names: scikit-learn ``mean_tweedie_deviance`` (twice the half deviance); XGBoost ``reg:tweedie``; LightGBM
        ``tweedie``; CatBoost ``Tweedie``

    References
    ----------
    M. C. K. Tweedie, *An index which distinguishes between some important exponential families*, 1984;
    B. Jørgensen, *Exponential dispersion models*, Journal of the Royal Statistical Society B 49, 1987.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Tweedie(power=1.5)([0.0, 3.0], [0.0, 0.0], reduction="none")
    array([2., 8.])
    """

    __slots__ = ()

    def __init__(self, power: float = 1.5, link: Literal["log", "identity"] = "log", full: bool = False) -> None:
        power = number("power", power)
        if 0 < power < 1:
            raise ValueError(f"power must be outside (0, 1), where there is no Tweedie distribution, got {power!r}")
        arguments = {"power": power, "link": choice("link", link, ("log", "identity")), "full": flag("full", full)}
        known = {0.0: "SquaredError", 1.0: "PoissonIdentity", 2.0: "GammaIdentity"} if link == "identity" else {
            1.0: "Poisson", 2.0: "Gamma"}
        formula = known.get(power, "TweedieIdentity" if link == "identity" else "Tweedie")
        fields = {"factor": 0.5} if formula == "SquaredError" else {} if power in known else {"power": power}
        if full and link == "log":
            formula += "Deviance"
        self._bind(formula, fields, arguments, cost=TRANSCENDENTAL * (1 if power in known else 2))

    def _best_constant(self, y: Array, w: Array) -> float:
        return mean(y, w) if self.link == "identity" else log(mean(y, w))

    @property
    def target(self) -> str:  # type: ignore[override]
        """What y_true may hold."""
        if self.power >= 1:
            return "positive" if self.power >= 2 else "non-negative"
        return "non-negative" if self.power < 0 and (self.full or self.link == "identity") else "real"

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        """Where y_pred makes sense."""
        return (0.0 if self.link == "identity" and self.power != 0 else -math.inf, math.inf)


class NegativeBinomial(RegressionLoss):
    """Negative binomial loss: for counts that scatter more than Poisson's, with a log link.

    The variance is mu + dispersion·mu² (NB2), with mu = e^z the predicted mean. y_true must be >= 0, else ValueError.

    Parameters
    ----------
    dispersion : float in [1e-10, 1e10], default 1.0
        How much larger than the mean the variance is; the Poisson loss is its limit at 0.

    Notes
    -----
    :Formula: (y + 1/dispersion)·log(1 + dispersion·e^z) - y·z
    :Range: (0, inf) for dispersion >= 1, else (-inf, inf)
    :Gradient: (e^z - y)/(1 + dispersion·e^z)
    :Hessian: e^z·(1 + dispersion·y)/(1 + dispersion·e^z)²
    :Activation: log link
    :Good at: counts with clusters and long tails: convex, and large counts do not dominate
    :Bad at: an unknown dispersion, which is to be tuned; Newton's method far from y, where the Hessian fades
    :Use: for counts whose variance is well above their mean
    :Other names: NB2; statsmodels ``NegativeBinomial``

    References
    ----------
    A. C. Cameron and P. K. Trivedi, *Econometric models based on count data: comparisons and applications of some
    estimators and tests*, Journal of Applied Econometrics 1, 1986.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.NegativeBinomial(dispersion=1.0).gradient([0.0, 3.0], [0.0, 0.0], reduction="none")
    array([ 0.5, -1. ])
    """

    __slots__ = ()
    aliases = ("nb2",)
    target = "non-negative"

    def __init__(self, dispersion: float = 1.0) -> None:
        arguments = {"dispersion": number("dispersion", dispersion, at_least=1e-10, at_most=1e10)}
        self._bind("NegativeBinomial", arguments, arguments, cost=TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> float:
        return log(mean(y, w))


class GaussianNLL(RegressionLoss):
    """Gaussian negative log-likelihood: predicts the mean and the variance of each sample.

    y_true has shape (n,) and y_pred (n, 2): the mean, and s, the logarithm of the variance. The loss of each sample is
    one number, (n,) with ``reduction="none"``; gradient and Hessian have the shape of y_pred.

    Parameters
    ----------
    full : bool, default False
        Whether to add the constant log(2π)/2.

    Notes
    -----
    :Formula: (s + r²·e^(-s))/2, with r = mean - y; with full plus log(2π)/2
    :Range: (-inf, inf)
    :Gradient: r·e^(-s) by the mean, (1 - r²·e^(-s))/2 by s
    :Hessian: e^(-s), and r²·e^(-s)/2 (its diagonal)
    :Activation: identity
    :Good at: noise that differs from sample to sample, and error bars
    :Bad at: samples of tiny predicted variance, which dominate; not convex in both columns together
    :Use: when each prediction needs its own uncertainty
    :Other names: torch ``GaussianNLLLoss`` (of the variance, not its logarithm)

    References
    ----------
    D. A. Nix and A. S. Weigend, *Estimating the mean and variance of the target probability distribution*, 1994.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.GaussianNLL().loss_gradient([1.0], [[3.0, 0.0]])
    (2.0, array([[ 2. , -1.5]]))
    """

    __slots__ = ()
    _outputs = (2,)

    def __init__(self, full: bool = False) -> None:
        full = flag("full", full)
        self._bind("GaussianNLL", {"constant": math.log(2 * math.pi) / 2 if full else 0.0}, {"full": full},
                   cost=TRANSCENDENTAL)

    def _best_constant(self, y: Array, w: Array) -> Array:
        return np.array([mean(y, w), log_variance(y, w)])
