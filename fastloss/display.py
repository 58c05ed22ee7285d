"""Curves of losses, in the style of scikit-learn's displays. matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from ._checks import choice, number
from ._typing import Array
from .loss import Loss, get
from .multiclass import RowLoss
from .regression import GaussianNLL

Output: TypeAlias = Literal["loss", "gradient", "hessian"]

#: How each output is drawn, and what it is called.
_STYLES = {"loss": ("-", "loss"), "gradient": ("--", "gradient"), "hessian": (":", "Hessian")}


class LossCurveDisplay:
    """The curve of a loss, with its gradient and Hessian, over the predictions for one target.

    To see what a loss does with errors of each size, and to compare losses on one pair of axes. `from_loss` computes
    the curve and draws it; `plot` draws it again. All parameters are attributes.

    Parameters
    ----------
    x : array of shape (m,)
        What stands on the x axis: y_pred - y_true where the loss depends on nothing else, otherwise y_pred.
    y_true, y_pred : arrays of shape (m,) or (m, k)
        Targets and predictions; k where a parameter of the loss differs by column. `GaussianNLL` predicts pairs, of
        shape (m, 2): here any mean, and a log variance of 0.
    loss, gradient, hessian : arrays of shape (m,) or (m, k)
        Of each sample, with its class weight; derivatives by y_pred (`GaussianNLL`: by the mean).
    x_name : str, default "y_pred"
        The label of the x axis.
    name : str or list of k str, optional
        What the legend calls the loss, or each column.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        Output by output, and within an output column by column.

    Examples
    --------
    >>> import fastloss as fl
    >>> display = fl.LossCurveDisplay.from_loss("huber")  # doctest: +SKIP
    >>> fl.LossCurveDisplay.from_loss(fl.Tukey(), ax=display.ax_).lines_  # doctest: +SKIP
    [<matplotlib.lines.Line2D object at ...>, <matplotlib.lines.Line2D object at ...>]
    """

    ax_: Any
    figure_: Any
    lines_: list[Any]

    def __init__(self, *, x: Array, y_true: Array, y_pred: Array, loss: Array, gradient: Array, hessian: Array,
                 x_name: str = "y_pred", name: str | Sequence[str] | None = None) -> None:
        self.x = x
        self.y_true = y_true
        self.y_pred = y_pred
        self.loss = loss
        self.gradient = gradient
        self.hessian = hessian
        self.x_name = x_name
        self.name = name

    @classmethod
    def from_loss(cls, loss: Loss | str, *, y_true: float | None = None, x_range: tuple[float, float] | None = None,
                  grid_resolution: int = 601, outputs: Output | Sequence[Output] = ("loss", "gradient"),
                  ax: Any = None, name: str | Sequence[str] | None = None, **kwargs: Any) -> Self:
        """Computes the curve of a loss and draws it.

        The x axis is the residual y_pred - y_true for regression losses that depend on nothing else, otherwise the
        prediction: for binary losses a score, which for a label of 1 is the margin, or a probability.

        Parameters
        ----------
        loss : Loss or str
            A loss, or a name that `get` knows. Class weights count, but for "balanced" ones: they come with data.
        y_true : float, optional
            The target; by default 0 where x is the residual, otherwise 1.
        x_range : (float, float), optional
            Where x begins and ends, within the loss's domain. By default 5 to either side of 0 for residuals, and 3 for
            scores; 3 to either side of the best prediction for other losses; off the ends of the domain, where values
            may grow without limit.
        grid_resolution : int >= 2, default 601
            The number of points m.
        outputs : {"loss", "gradient", "hessian"} or a sequence of them, default ("loss", "gradient")
            What is drawn; all three are computed.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure. Curves of several losses share axes well.
        name : str or list of k str, optional
            What the legend calls the loss, or each column; by default the loss as it is written in Python.
        **kwargs
            Handed to matplotlib's ``plot`` for each line.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            When a name is not known, the loss is one of rows of scores, y_true is no target of the loss, or x_range
            lies outside its domain.
        """
        if isinstance(loss, str):
            loss = get(loss)
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss or the name of one, got {loss!r}")
        if isinstance(loss, RowLoss):
            raise ValueError(f"{type(loss).__name__} is a loss of rows of scores, which no single curve shows")
        if grid_resolution < 2:
            raise ValueError(f"grid_resolution must be at least 2, got {grid_resolution}")
        if name is None:
            name = [f"{type(loss).__name__}({column})" for column in _columns(loss)] or repr(loss).removesuffix("()")
        if isinstance(loss.get_params().get("class_weight"), str):
            loss = type(loss)(**loss.get_params() | {"class_weight": None})

        residual = _takes_residual(loss)
        target = (0.0 if residual else 1.0) if y_true is None else number("y_true", y_true)
        if residual:
            x_name = f"Residual ({'mean' if isinstance(loss, GaussianNLL) else 'y_pred'} - y_true)"
        elif "binary" not in loss.target:
            x_name = f"Prediction (y_true = {target:g})"
        elif loss.domain == (0, 1):
            x_name = "Probability of the true label" if target == 1 else f"Probability (y_true = {target:g})"
        else:
            x_name = "Margin" if target == 1 else f"Score (y_true = {target:g})"

        x = np.linspace(*_ends(loss, residual, target, x_range), grid_resolution)
        curve = cls(x=x, **_evaluate(loss, target, target + x if residual else x), x_name=x_name, name=name)
        return curve.plot(ax, outputs=outputs, **kwargs)

    def plot(self, ax: Any = None, *, outputs: Output | Sequence[Output] = ("loss", "gradient"),
             name: str | Sequence[str] | None = None, **kwargs: Any) -> Self:
        """Draws the curve: the loss as a solid line, its gradient dashed, its Hessian dotted, in one colour.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        outputs : {"loss", "gradient", "hessian"} or a sequence of them, default ("loss", "gradient")
            What is drawn.
        name : str or list of k str, optional
            What the legend calls the loss, or each column; by default the display's own name.
        **kwargs
            Handed to matplotlib's ``plot`` for each line.

        Returns
        -------
        LossCurveDisplay
            This one, with ``ax_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        if not outputs:
            raise ValueError(f"outputs is empty: give at least one of {', '.join(_STYLES)}")
        for output in outputs:
            choice("outputs", output, tuple(_STYLES))
        try:
            from matplotlib import cbook, lines, pyplot
        except ImportError as error:
            raise ImportError("LossCurveDisplay needs matplotlib to draw: pip install matplotlib") from error

        if ax is None:
            _, ax = pyplot.subplots()
        style = cbook.normalize_kwargs(kwargs, lines.Line2D)
        name = self.name if name is None else name
        self.lines_ = []
        colours: dict[int, Any] = {}  # of each column; None is matplotlib's next one
        for output in outputs:
            dashes, title = _STYLES[output]
            for column, values in enumerate(np.atleast_2d(getattr(self, output).T)):
                called = name if name is None or isinstance(name, str) else name[column]
                label = title if called is None else called if output == "loss" else f"{called}, {title}"
                (line,) = ax.plot(self.x, values, **{"linestyle": dashes, "label": label,
                                                     "color": colours.get(column)} | style)
                colours[column] = line.get_color()
                self.lines_.append(line)
        drawn = ", ".join(_STYLES[output][1] for output in outputs)
        ax.set(xlabel=self.x_name, ylabel=drawn[:1].upper() + drawn[1:])
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _columns(loss: Loss) -> list[str]:
    """What each column's parameters are, if a parameter differs by column."""
    rows = {key: value for key, value in loss.get_params().items()
            if isinstance(value, np.ndarray) and (key != "class_weight" or value.ndim == 2)}
    values = [[f"{key}={value}" for value in row.tolist()] for key, row in rows.items()]
    return [", ".join(column) for column in zip(*values, strict=False)]


def _evaluate(loss: Loss, y_true: float, y_pred: Array) -> dict[str, Array]:
    """The arrays of a display: every prediction in every column, or as the mean of a pair."""
    if columns := len(_columns(loss)):
        y_pred = np.repeat(y_pred[:, None], columns, axis=1)
    target = np.full_like(y_pred, y_true)
    if isinstance(loss, GaussianNLL):
        y_pred = np.column_stack([y_pred, np.zeros_like(y_pred)])
    value, gradient, hessian = loss.loss_gradient_hessian(target, y_pred, reduction="none")
    if isinstance(loss, GaussianNLL):
        gradient, hessian = gradient[:, 0], hessian[:, 0]
    return {"y_true": target, "y_pred": y_pred, "loss": np.asarray(value), "gradient": gradient, "hessian": hessian}


def _takes_residual(loss: Loss) -> bool:
    """Whether the loss depends on y_pred - y_true alone: two targets then give the same, with residuals that are exact.
    """
    if loss.target != "real" or loss.domain != (-math.inf, math.inf):
        return False
    near, far = (_evaluate(loss, y, y + np.array([-0.5, 0.5]))["loss"] for y in (1.0, 4.0))
    return np.array_equal(near, far)


def _ends(loss: Loss, residual: bool, y_true: float, x_range: tuple[float, float] | None) -> tuple[float, float]:
    """Where x begins and ends."""
    low, high = loss.domain
    if x_range is not None:
        first, last = (number(f"x_range[{i}]", end) for i, end in enumerate(x_range))
        first, last = max(first, low), min(last, high)
        if not first < last:
            raise ValueError(f"x_range must be an increasing pair of numbers in the loss's domain, {low} to {high}, "
                             f"got {x_range}")
        return first, last
    best, width = 0.0, 3
    if residual:
        width = 5
    elif "binary" not in loss.target:
        found = float(loss.intercept_only([y_true]))
        best = found if math.isfinite(found) else 0.0
    first, last = max(best - width, low), min(best + width, high)
    inset = 0.05 * (last - first)
    return first + inset * (first == low), last - inset * (last == high)
