"""Overlap losses of segmentation. Passes over pixels: `kernels/rows_overlap.pxi`; tests: `tests/test_segmentation.py`.

Every loss is a function of a few sums over pixels, of each class: the kernel sums up, a loss turns the sums into its
value and its derivatives, and the kernel takes these back to the scores.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import kernels
from ._checks import ROW_SUM, choice, flag, integer, number, raise_at, shape
from ._samples import SampleLoss, scales
from ._typing import Array
from .class_weight import ClassWeight, row_class_weight, weights_of_classes
from .kernels import _arrays

Axis: TypeAlias = Literal[1, -1] | None
Over: TypeAlias = Literal["sample", "batch"]
Inputs: TypeAlias = Literal["logits", "probabilities"]
Numbers: TypeAlias = NDArray[np.float64]
Class = TypeVar("Class", bound=type)


class Sums(NamedTuple):
    """Sums over the pixels of an image (or of all), by class: (m, C). `pixels` counts them: (m, 1)."""

    true_positive: Numbers  # Σ p·t
    false_positive: Numbers  # Σ p·(1 - t)
    false_negative: Numbers  # Σ (1 - p)·t
    squares: Numbers  # Σ (p - t)²
    pixels: Numbers


class Slopes(NamedTuple):
    """The derivative of a loss by a pixel's p, of each class: (m, C). At t = 0 and at t = 1, linear between; and what
    is multiplied with p - t."""

    at_0: Numbers | float
    at_1: Numbers | float
    by_difference: Numbers | float = 0.0


_COMMON = {
    "axis": """axis : 1, -1 or None, default 1
        Where the classes are: y_pred is (n, C, *space), (n, *space, C), or of one class, (n, *space).""",
    "over": """over : {"sample", "batch"}, default "sample"
        One value for each image, or one for all: sums over pixels are then over those of all images, times their
        sample_weight, and there is no ``reduction="none"``.""",
    "inputs": """inputs : {"logits", "probabilities"}, default "logits"
        What y_pred holds. Logits go through softmax over the classes, or sigmoid, if each stands alone.""",
    "multilabel": """multilabel : bool, default False
        Whether a pixel may have several classes, or none.""",
    "smooth": """smooth : float >= 0, default 1.0
        s, which keeps the loss of an empty class finite: as many pixels, as it were, that are right.""",
    "include_background": """include_background : bool, default True
        Whether class 0 counts in the mean over classes. It always takes part in softmax.""",
    "ignore_index": """ignore_index : int, optional
        Pixels of this class count nothing. For maps of classes only.""",
    "class_weight": """class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs the classes' terms in the mean over classes. A dict's keys are classes; missing ones weigh 1. "balanced"
        is N/(C·N_c), by the pixels of this call's targets, which it reads once more.""",
}


def _documented(cls: Class) -> Class:
    """Puts the texts of _COMMON where a docstring names them, as {axis}."""
    for name, text in _COMMON.items():
        cls.__doc__ = (cls.__doc__ or "").replace("{" + name + "}", text)
    return cls


class OverlapLoss(SampleLoss):
    """A loss of segmentation: how much predicted and true areas differ, one value an image.

    y_pred : array-like of shape (n, C, *space), (n, *space, C) or (n, *space)
        Scores, or probabilities, of images with up to eight axes of space; of any strides.
    y_true : array-like
        Of y_pred's shape without the classes: a map of classes from 0 to C - 1, of any integer, bool or float type. Of
        y_pred's shape: from 0 to 1 (never -1 and 1), where classes of a pixel exclude each other a distribution, which
        must sum to 1 within 1e-6 (1e-4 in float32, 1e-2 in float16), and is used as given.
    sample_weight : array-like of shape (n,), optional
        One weight an image.

    A logit of ±inf is the limit. NaN makes the loss of its image NaN, with the gradient of each class that it takes
    part in; through softmax that is all. Probabilities are not renormalised; outside [0, 1] they count as NaN. The
    gradient of "probabilities" is by each probability as such.
    """

    __slots__ = ()
    #: Whether targets are anything, and not classes.
    _any_target = False
    #: Whether the loss needs Σ (p - t)².
    _needs_squares = False
    #: How much of the loss is cross-entropy.
    _cross_entropy_share = 0.0

    def _set_overlap(self, axis: Any = 1, over: Any = "sample", inputs: Any = "logits", multilabel: Any = False,
                     include_background: Any = True, class_weight: Any = None, **own: Any) -> None:
        """Sets the constructor's arguments: checks those that are common."""
        if axis is not None and integer("axis", axis) not in (1, -1):
            raise ValueError(f"axis must be 1, -1 or None, got {axis!r}")
        common: dict[str, Any] = {
            "axis": axis,
            "over": choice("over", over, ("sample", "batch")),
            "inputs": choice("inputs", inputs, ("logits", "probabilities")),
            "multilabel": flag("multilabel", multilabel),
            "include_background": flag("include_background", include_background),
            "class_weight": row_class_weight(class_weight),
        }
        if axis is None and (multilabel or not include_background or class_weight is not None):
            raise ValueError("multilabel, include_background=False and class_weight are for several classes, and with "
                             "axis=None there is one")
        if "smooth" in own:
            own["smooth"] = number("smooth", own["smooth"], at_least=0)
        if own.get("ignore_index") is not None:
            own["ignore_index"] = integer("ignore_index", own["ignore_index"])
        self._set(own | common)

    def _slopes(self, sums: Sums) -> tuple[Numbers, Slopes]:
        """The loss of each class, (m, C), and its derivatives."""
        raise NotImplementedError

    def _total(self, sums: Sums, weight: Numbers) -> tuple[Numbers, Slopes]:
        """The loss (m,), and its derivatives, with the classes' weights."""
        losses, slopes = self._slopes(sums)
        share = weight / weight.max()  # first: the sum of large weights may overflow
        share /= share.sum()
        counts = share > 0
        return (losses[:, counts] @ share[counts],
                Slopes(*(np.where(counts, share * slope, 0.0) for slope in slopes)))

    # ---- a call ------------------------------------------------------------------------------------------------------

    def _check(self, arrays: list[np.ndarray]) -> int:
        y, z = arrays
        space = z.ndim - (1 if self.axis is None else 2)
        if space < 1:
            layout = {1: "(n, C, *space)", -1: "(n, *space, C)", None: "(n, *space)"}[self.axis]
            raise ValueError(f"y_pred must have shape {layout} with axis={self.axis}, got {shape(z)}")
        wanted = [z.shape] if self.axis is None else [z.shape, _without(z.shape, self.axis)]
        if self._any_target:
            wanted = [z.shape]
        if y.shape not in wanted:
            allowed = " or ".join("(" + ", ".join(map(str, one)) + ")" for one in wanted)
            raise ValueError(f"y_true has shape {shape(y)} and y_pred {shape(z)}: y_true must have shape {allowed}")
        if self.axis is not None and z.shape[self.axis] < (1 if self.multilabel else 2):
            raise ValueError(f"y_pred has shape {shape(z)}: axis {self.axis} must hold at least two classes (for one, "
                             f"use axis=None)")
        if not self.include_background and z.shape[self.axis] == 1:
            raise ValueError(f"y_pred has shape {shape(z)}: include_background=False leaves none of one class")
        if self._parameters.get("ignore_index") is not None and self.axis is not None and y.shape == z.shape:
            raise ValueError("ignore_index is for maps of classes, and y_true has a number for each class")
        return len(z)

    def _scales(self, arrays: list[np.ndarray], weight: Numbers | None, n: int, reduction: str) -> Numbers:
        if self.over == "sample":
            return super()._scales(arrays, weight, n, reduction)
        if reduction == "none":
            raise ValueError("reduction='none' is for over='sample': over='batch' has one value for all images")
        scales(weight, n, reduction)  # raises
        return np.ones(n) if weight is None else weight

    def _sum(self, losses: Numbers, scale: Numbers) -> float:
        if self.over == "sample":
            return super()._sum(losses, scale)
        return float(losses[0]) if len(losses) else 0.0

    def _compute(self, arrays: list[np.ndarray], scale: Numbers, losses: Numbers | None, gradients: list[Array] | None,
                 n_threads: int | None) -> None:
        y, z = arrays
        indexed = y.shape != z.shape
        y_by_class, z_by_class = y if indexed else self._by_class(y), self._by_class(z)
        exclusive = not self.multilabel and self.axis is not None
        ignored = self._parameters.get("ignore_index")
        n_classes = z_by_class.shape[1]
        weight = np.ones(n_classes)
        if isinstance(self.class_weight, str):
            counts = _counts(y_by_class, n_classes, indexed, ignored)
            weight = np.divide(counts.sum() / n_classes, counts, out=weight, where=counts > 0)
        elif self.class_weight is not None:
            weight = weights_of_classes(self.class_weight, y, n_classes, None, False)
        target = ("index map" if indexed else "any" if self._any_target else "distribution" if exclusive else "unit")
        share = self._cross_entropy_share
        passes = _arrays.OverlapPass(
            kernels.rows.overlap, y_by_class, z_by_class,
            "identity" if self.inputs == "probabilities" else "softmax" if exclusive else "sigmoid", target, exclusive,
            ROW_SUM.get(y.dtype, 1e-6), ignored, self._needs_squares, share > 0,
            None if self.class_weight is None else weight / max(weight.max(), np.finfo(np.float64).tiny))

        sums, entropies, bad = passes.sums(n_threads)
        if bad:
            _raise_fault(y, y_by_class, n_classes, target, ignored, z.dtype)
        pixels = np.full((len(z), 1), float(np.prod(z_by_class.shape[2:])))
        if self.over == "batch":
            sums, entropies, pixels = (_weighed(part, scale) for part in (sums, entropies, pixels))
        if not self.include_background:
            weight = np.where(np.arange(n_classes) == 0, 0.0, weight)
        if not weight.sum() > 0:
            raise ValueError(f"the class weights of the classes that count sum to {weight.sum():g}: the sum must be "
                             f"positive")
        value, slopes = self._total(
            Sums(sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3], pixels), weight)
        entropy, mass = entropies.T
        if share:
            value = (1 - share) * value + share * _quotient(entropy, mass)
        if losses is not None:
            losses[...] = value
        if gradients is not None:
            table = np.empty((len(z), n_classes, len(slopes)))
            factor = scale[:, None] * (1 - share)
            most = np.finfo(gradients[0].dtype).max
            for k, slope in enumerate(slopes):
                # The slope at t = 1 of a class that is nowhere may overflow, and must not become 0·inf.
                table[:, :, k] = np.where(factor == 0, 0.0, factor * slope).clip(-most, most)
            passes.gradient(table, scale * _quotient(share, mass), self._by_class(gradients[0]), n_threads)

    def _by_class(self, array: np.ndarray) -> np.ndarray:
        """A view (n, C, *space)."""
        return array[:, None] if self.axis is None else np.moveaxis(array, self.axis, 1)


def _without(sizes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(sizes)
    return sizes[:axis] + sizes[axis + 1:]


def _quotient(a: Numbers | float, b: Numbers) -> Numbers:
    """a / b; 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(b), where=b != 0)


def _weighed(part: Numbers, weight: Numbers) -> Numbers:
    """The weighted sum over images, (1, ...); images of weight 0 count nothing, whatever is there."""
    weight = weight.reshape(-1, *[1] * (part.ndim - 1))
    return np.where(weight == 0, 0.0, weight * part).sum(axis=0, keepdims=True)


def _counts(y: np.ndarray, n_classes: int, indexed: bool, ignored: int | None) -> Numbers:
    """Σ t of each class."""
    if not indexed:
        return y.sum(axis=(0, *range(2, y.ndim)), dtype=np.float64)
    counts = np.zeros(n_classes)
    parts: Any = np.nditer(y, ["external_loop", "buffered", "zerosize_ok"])  # y may be large
    for part in parts:
        labels = part[(part >= 0) & (part < n_classes)].astype(np.intp)
        counts += np.bincount(labels if ignored is None else labels[labels != ignored], minlength=n_classes)
    return counts


def _raise_fault(y: np.ndarray, by_class: np.ndarray, n_classes: int, target: str, ignored: int | None,
                 dtype: Any) -> None:
    """Finds the lowest bad index after the kernel has flagged one, and raises the error that names it."""
    allowed = f"whole numbers from 0 to {n_classes - 1}" if target == "index map" else "in [0, 1]"
    allowed += "" if ignored is None else f", or {ignored} (ignore_index)"
    limit = ROW_SUM.get(y.dtype, 1e-6)
    rounded_to = np.float32 if dtype.itemsize <= 4 and dtype.kind == "f" else np.float64
    # 0.9: where the order of summation decides, the kernel may find what is just within the limit here
    for slack in (1.0, 0.9):
        for i in range(len(y)):  # image by image: y may be large
            t: np.ndarray = y[i].astype(rounded_to)
            good = (t >= 0) & ((t < n_classes) & (t == np.floor(t)) if target == "index map" else t <= 1)
            if ignored is not None:
                good |= t == ignored
            raise_at(f"y_true[{i}, {{}}] is {{}}: {'classes' if target == 'index map' else 'targets'} must be "
                     f"{allowed}", y[i], ~good)
            if target == "distribution":
                sums = by_class[i].astype(rounded_to).sum(axis=0, dtype=np.float64)
                raise_at(f"y_true of image {i} has probabilities at pixel ({{}}) that sum to {{:.9g}}: the sum must be "
                         f"1 within {limit:g}", sums, ~(np.abs(sums - 1) <= slack * limit))
    raise AssertionError("a kernel flagged a fault that is not there")


# ---- the losses ------------------------------------------------------------------------------------------------------

def _tversky(sums: Sums, alpha: float, beta: float, smooth: float) -> tuple[Numbers, Slopes]:
    """1 - T. Written with what is wrong, not as a difference from 1, so that good predictions keep their digits."""
    wrong = alpha * sums.false_positive + beta * sums.false_negative
    right = sums.true_positive + smooth
    total = right + wrong
    return (_quotient(wrong, total),
            Slopes(_quotient(_quotient(alpha * right, total), total),
                   -_quotient(_quotient(wrong + beta * right, total), total)))


@_documented
class Tversky(OverlapLoss):
    """Tversky loss: 1 - T, where false positives and false negatives have weights of their own.

    Takes ``y_true``, a map of classes (n, *space) or a target for each of y_pred's numbers, and ``y_pred``,
    (n, C, *space); see Parameters.

    An image without a class, where none is predicted, has the loss 0: T = s/s; with s = 0 as well.

    Parameters
    ----------
    alpha : float >= 0, default 0.5
        Weight of false positives.
    beta : float >= 0, default 0.5
        Weight of false negatives: more than alpha favours recall.
    {axis}
    {over}
    {inputs}
    {multilabel}
    {smooth}
    {include_background}
    {ignore_index}
    {class_weight}

    Notes
    -----
    :Formula: (α·FP + β·FN)/(TP + α·FP + β·FN + s), with TP = Σ p·t, FP = Σ p·(1 - t), FN = Σ (1 - p)·t over pixels;
        the mean over classes
    :Range: [0, 1]
    :Gradient: by p of a pixel, with D the denominator: α·(TP + s)/D² at t = 0, -(α·FP + β·FN + β·(TP + s))/D² at
        t = 1, linear between; then through softmax or sigmoid. 0 where the denominator is 0
    :Activation: softmax over classes, or sigmoid
    :Good at: small or rare structures, and trading precision for recall
    :Bad at: calibrated probabilities; images without the class, whose loss is all or nothing
    :Use: for segmentation where missing something is worse than marking too much, or the other way round
    :Other names: MONAI TverskyLoss; α = β = 0.5 is Dice, α = β = 1 is Jaccard

    References
    ----------
    S. S. M. Salehi, D. Erdogmus, A. Gholipour, *Tversky loss function for image segmentation using 3D fully
    convolutional deep networks*, 2017.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [[0, 1, 1, 0]], [[[2.0, -1.0, 0.5, 3.0], [-2.0, 1.0, 0.0, -3.0]]]
    >>> round(fl.Tversky(alpha=0.3, beta=0.7)(y_true, y_pred), 6)
    0.13117
    """

    __slots__ = ()
    aliases = ("tversky_loss",)

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, axis: Axis = 1, over: Over = "sample",
                 inputs: Inputs = "logits", multilabel: bool = False, smooth: float = 1.0,
                 include_background: bool = True, ignore_index: int | None = None,
                 class_weight: ClassWeight = None) -> None:
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight, smooth=smooth,
                          ignore_index=ignore_index, alpha=number("alpha", alpha, at_least=0),
                          beta=number("beta", beta, at_least=0))

    def _slopes(self, sums: Sums) -> tuple[Numbers, Slopes]:
        return _tversky(sums, self.alpha, self.beta, self.smooth)


@_documented
class Dice(OverlapLoss):
    """Dice loss: 1 less twice the common area over the sum of both areas.

    Takes ``y_true``, a map of classes (n, *space) or a target for each of y_pred's numbers, and ``y_pred``,
    (n, C, *space); see Parameters.

    An image without a class, where none is predicted, has the loss 0: 1 - s/s; with s = 0 as well.

    Parameters
    ----------
    squared : bool, default False
        Whether areas are sums of squares.
    {axis}
    {over}
    {inputs}
    {multilabel}
    {smooth}
    {include_background}
    {ignore_index}
    {class_weight}

    Notes
    -----
    :Formula: 1 - (2·Σpt + s)/(Σp + Σt + s), sums over pixels; ``squared``: 1 - (2·Σpt + s)/(Σp² + Σt² + s); the mean
        over classes
    :Range: [0, 1]
    :Gradient: by p of a pixel, with D the denominator and N = 2·Σpt + s: (N - 2t·D)/D²; ``squared``: 2·(p·N - t·D)/D²;
        then through softmax or sigmoid. 0 where the denominator is 0
    :Activation: softmax over classes, or sigmoid
    :Good at: foreground that is a small part of the image
    :Bad at: calibrated probabilities; images without the class, whose loss is all or nothing
    :Use: for segmentation, often beside cross-entropy (DiceCrossEntropy)
    :Other names: soft Dice, Sørensen-Dice, F1; MONAI DiceLoss (``squared`` its squared_pred)

    References
    ----------
    F. Milletari, N. Navab, S.-A. Ahmadi, *V-Net: fully convolutional neural networks for volumetric medical image
    segmentation*, 2016.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [[0, 1, 1, 0]], [[[2.0, -1.0, 0.5, 3.0], [-2.0, 1.0, 0.0, -3.0]]]
    >>> loss, gradient = fl.Dice().loss_gradient(y_true, y_pred)
    >>> round(loss, 6), gradient.shape
    (0.155663, (1, 2, 4))
    """

    __slots__ = ()
    aliases: ClassVar[tuple[str, ...]] = ("dice_loss", "soft_dice")

    def __init__(self, squared: bool = False, axis: Axis = 1, over: Over = "sample", inputs: Inputs = "logits",
                 multilabel: bool = False, smooth: float = 1.0, include_background: bool = True,
                 ignore_index: int | None = None, class_weight: ClassWeight = None) -> None:
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight, smooth=smooth,
                          ignore_index=ignore_index, squared=flag("squared", squared))

    @property
    def _needs_squares(self) -> bool:  # type: ignore[override]
        return self.squared

    def _slopes(self, sums: Sums) -> tuple[Numbers, Slopes]:
        if not self.squared:
            return _tversky(sums, 0.5, 0.5, 0.5 * self.smooth)
        wrong = sums.squares
        right = 2 * sums.true_positive + self.smooth
        total = right + wrong
        return (_quotient(wrong, total),
                Slopes(0.0, -2 * _quotient(_quotient(wrong, total), total),
                       2 * _quotient(_quotient(right, total), total)))


@_documented
class Jaccard(OverlapLoss):
    """Jaccard loss: 1 less the common area over the area of either.

    Takes ``y_true``, a map of classes (n, *space) or a target for each of y_pred's numbers, and ``y_pred``,
    (n, C, *space); see Parameters.

    An image without a class, where none is predicted, has the loss 0: 1 - s/s; with s = 0 as well.

    Parameters
    ----------
    {axis}
    {over}
    {inputs}
    {multilabel}
    {smooth}
    {include_background}
    {ignore_index}
    {class_weight}

    Notes
    -----
    :Formula: 1 - (Σpt + s)/(Σp + Σt - Σpt + s), sums over pixels; the mean over classes
    :Range: [0, 1]
    :Gradient: as that of Tversky with α = β = 1
    :Activation: softmax over classes, or sigmoid
    :Good at: what is judged by intersection over union
    :Bad at: calibrated probabilities; images without the class, whose loss is all or nothing
    :Use: for segmentation that is judged by IoU
    :Other names: soft IoU; MONAI DiceLoss(jaccard=True)

    References
    ----------
    M. A. Rahman, Y. Wang, *Optimizing intersection-over-union in deep neural networks for image segmentation*, 2016.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [[0, 1, 1, 0]], [[[2.0, -1.0, 0.5, 3.0], [-2.0, 1.0, 0.0, -3.0]]]
    >>> round(fl.Jaccard()(y_true, y_pred), 6)
    0.228002
    """

    __slots__ = ()
    aliases = ("iou", "jaccard_loss")

    def __init__(self, axis: Axis = 1, over: Over = "sample", inputs: Inputs = "logits", multilabel: bool = False,
                 smooth: float = 1.0, include_background: bool = True, ignore_index: int | None = None,
                 class_weight: ClassWeight = None) -> None:
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight, smooth=smooth,
                          ignore_index=ignore_index)

    def _slopes(self, sums: Sums) -> tuple[Numbers, Slopes]:
        return _tversky(sums, 1.0, 1.0, self.smooth)


@_documented
class FocalTversky(OverlapLoss):
    """Focal Tversky loss: (1 - T)^(1/γ), which flattens what is nearly right, or nearly wrong.

    Takes ``y_true``, a map of classes (n, *space) or a target for each of y_pred's numbers, and ``y_pred``,
    (n, C, *space); see Parameters.

    An image without a class, where none is predicted, has the loss 0: T = s/s; with s = 0 as well.

    Parameters
    ----------
    alpha : float >= 0, default 0.3
        Weight of false positives.
    beta : float >= 0, default 0.7
        Weight of false negatives.
    gamma : float > 0, default 1.3333333333333333
        γ > 1 gives classes that are nearly right a larger gradient, γ < 1 those that are mostly wrong.
    {axis}
    {over}
    {inputs}
    {multilabel}
    {smooth}
    {include_background}
    {ignore_index}
    {class_weight}

    Notes
    -----
    :Formula: (1 - T)^(1/γ), with T as in Tversky; the mean over classes
    :Range: [0, 1]
    :Gradient: (1/γ)·(1 - T)^(1/γ - 1) times that of Tversky; 0 at T = 1
    :Activation: softmax over classes, or sigmoid
    :Good at: small structures, which Dice gives up on
    :Bad at: the last steps of an optimiser with γ > 1, as the gradient grows towards T = 1
    :Use: for small lesions
    :Other names: none

    References
    ----------
    N. Abraham, N. M. Khan, *A novel focal Tversky loss function with improved attention U-Net for lesion
    segmentation*, 2018.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [[0, 1, 1, 0]], [[[2.0, -1.0, 0.5, 3.0], [-2.0, 1.0, 0.0, -3.0]]]
    >>> round(fl.FocalTversky()(y_true, y_pred), 6)
    0.213832
    """

    __slots__ = ()

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3, axis: Axis = 1,
                 over: Over = "sample", inputs: Inputs = "logits", multilabel: bool = False, smooth: float = 1.0,
                 include_background: bool = True, ignore_index: int | None = None,
                 class_weight: ClassWeight = None) -> None:
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight, smooth=smooth,
                          ignore_index=ignore_index, alpha=number("alpha", alpha, at_least=0),
                          beta=number("beta", beta, at_least=0), gamma=number("gamma", gamma, above=0))

    def _slopes(self, sums: Sums) -> tuple[Numbers, Slopes]:
        losses, slopes = _tversky(sums, self.alpha, self.beta, self.smooth)
        power = losses**(1 / self.gamma)
        factor = _quotient(power / self.gamma, losses)
        return power, Slopes(factor * slopes.at_0, factor * slopes.at_1)


@_documented
class GeneralizedDice(OverlapLoss):
    """Generalized Dice loss: one Dice of all classes, in which small classes weigh more.

    Takes ``y_true``, a map of classes (n, *space) or a target for each of y_pred's numbers, and ``y_pred``,
    (n, C, *space); see Parameters.

    An image where no class has an area has the loss 0.

    Parameters
    ----------
    weighting : {"square", "simple", "uniform"}, default "square"
        v_c = 1/(Σt)², 1/Σt or 1, where Σt is the area of the class; 0 where that is 0.
    {axis}
    {over}
    {inputs}
    {multilabel}
    {smooth}
    {include_background}
    {ignore_index}
    {class_weight}

    Notes
    -----
    :Formula: 1 - (2·Σ_c v_c·Σpt + s)/(Σ_c v_c·(Σp + Σt) + s), with v_c also times the class's weight
    :Range: [0, 1]
    :Gradient: by p of a pixel of class c, with D the denominator and N the numerator: v_c·(N - 2t·D)/D²; then through
        softmax or sigmoid. 0 where the denominator is 0
    :Activation: softmax over classes, or sigmoid
    :Good at: classes of very different areas
    :Bad at: tiny classes, which then outweigh all others; s, beside which "square" weights of large areas are small, so
        that it should be small, too (or 0)
    :Use: for several classes of very different areas
    :Other names: MONAI GeneralizedDiceLoss (whose w_type is ``weighting``)

    References
    ----------
    C. H. Sudre, W. Li, T. Vercauteren, S. Ourselin, M. J. Cardoso, *Generalised Dice overlap as a deep learning loss
    function for highly unbalanced segmentations*, 2017.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [[0, 1, 1, 0]], [[[2.0, -1.0, 0.5, 3.0], [-2.0, 1.0, 0.0, -3.0]]]
    >>> round(fl.GeneralizedDice(smooth=0.0)(y_true, y_pred), 6)
    0.19053
    """

    __slots__ = ()
    aliases = ("generalised_dice",)

    def __init__(self, weighting: Literal["square", "simple", "uniform"] = "square", axis: Axis = 1,
                 over: Over = "sample", inputs: Inputs = "logits", multilabel: bool = False, smooth: float = 1.0,
                 include_background: bool = True, ignore_index: int | None = None,
                 class_weight: ClassWeight = None) -> None:
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight, smooth=smooth,
                          ignore_index=ignore_index,
                          weighting=choice("weighting", weighting, ("square", "simple", "uniform")))

    def _total(self, sums: Sums, weight: Numbers) -> tuple[Numbers, Slopes]:
        area = sums.true_positive + sums.false_negative
        power = {"square": 2, "simple": 1, "uniform": 0}[self.weighting]
        v = np.where(weight > 0, weight * _quotient((area != 0) * 1.0, area**power), 0.0)
        counts = v != 0

        def over_classes(part: Numbers) -> Numbers:
            return np.where(counts, v * part, 0.0).sum(axis=1, keepdims=True)

        wrong = over_classes(sums.false_positive + sums.false_negative)
        right = over_classes(2 * sums.true_positive) + self.smooth
        total = right + wrong
        at_0 = v * _quotient(_quotient(right, total), total)
        return _quotient(wrong, total)[:, 0], Slopes(at_0, -at_0 - 2 * v * _quotient(_quotient(wrong, total), total))


@_documented
class Boundary(OverlapLoss):
    """Boundary loss: the mean of a signed distance map over the predicted area.

    Takes ``y_true``, of y_pred's shape, φ: how far a pixel is from the boundary of the true area of a class, negative
    inside (`scipy.ndimage.distance_transform_edt` computes it); and ``y_pred``, (n, C, *space); see Parameters.

    Parameters
    ----------
    {axis}
    {over}
    {inputs}
    {multilabel}
    {include_background}
    {class_weight} Not "balanced", as distances have no areas.

    Notes
    -----
    :Formula: Σ φ·p / N over the N pixels; the mean over classes
    :Range: (-inf, inf)
    :Gradient: by p of a pixel φ/N; then through softmax or sigmoid
    :Activation: softmax over classes, or sigmoid
    :Good at: thin or far-off parts that areas hardly notice, since errors count by their distance
    :Bad at: a start from nothing, as the empty area is a local minimum
    :Use: beside Dice, with a weight that grows during training
    :Other names: surface loss

    References
    ----------
    H. Kervadec, J. Bouchtiba, C. Desrosiers, E. Granger, J. Dolz, I. Ben Ayed, *Boundary loss for highly unbalanced
    segmentation*, 2019.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Boundary(axis=None, inputs="probabilities")([[1.0, -1.0, -1.0, 1.0]], [[0.5, 1.0, 1.0, 0.0]])
    -0.375
    """

    __slots__ = ()
    aliases = ("surface_loss",)
    _any_target = True

    def __init__(self, axis: Axis = 1, over: Over = "sample", inputs: Inputs = "logits", multilabel: bool = False,
                 include_background: bool = True, class_weight: ClassWeight = None) -> None:
        if isinstance(class_weight, str) and class_weight == "balanced":
            raise ValueError("class_weight='balanced' goes by areas, and y_true of Boundary has none: give weights")
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight)

    def _slopes(self, sums: Sums) -> tuple[Numbers, Slopes]:
        share = np.broadcast_to(_quotient(1.0, sums.pixels), sums.true_positive.shape)
        return sums.true_positive * share, Slopes(0.0, share)


@_documented
class DiceCrossEntropy(Dice):
    """Dice loss and cross-entropy together: weight·Dice + (1 - weight)·CE.

    Takes ``y_true``, a map of classes (n, *space) or a target for each of y_pred's numbers, and ``y_pred``,
    (n, C, *space); see Parameters. Both are computed in the same two passes.

    An image without a class, where none is predicted, has a Dice of 0; one whose pixels are all ignored a
    cross-entropy of 0.

    Parameters
    ----------
    weight : float in [0, 1], default 0.5
        The share of Dice.
    squared : bool, default False
        Whether Dice's areas are sums of squares.
    {axis}
    {over}
    {inputs}
    {multilabel}
    {smooth}
    {include_background}
        Cross-entropy always counts it.
    {ignore_index}
    {class_weight}
        In cross-entropy it weighs pixels, by their target: Σ w·CE / Σ w.

    Notes
    -----
    :Formula: weight·Dice + (1 - weight)·CE, with CE the mean over the pixels of an image (or of all): -Σ_c t·log p;
        where classes stand alone, over pixels and classes: -t·log p - (1 - t)·log(1 - p)
    :Range: [0, inf)
    :Gradient: the sum of both, times their shares; that of CE by a score is p - t, divided by the number of pixels
    :Activation: softmax over classes, or sigmoid
    :Good at: steady training, which cross-entropy gives, towards a good overlap
    :Bad at: calibrated probabilities, for which cross-entropy alone is better
    :Use: the usual choice for segmentation
    :Other names: nnU-Net's default; MONAI DiceCELoss (of weights lambda_dice, lambda_ce)

    References
    ----------
    F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, *nnU-Net: a self-configuring method for deep
    learning-based biomedical image segmentation*, 2021.

    Examples
    --------
    >>> import fastloss as fl
    >>> y_true, y_pred = [[0, 1, 1, 0]], [[[2.0, -1.0, 0.5, 3.0], [-2.0, 1.0, 0.0, -3.0]]]
    >>> round(fl.DiceCrossEntropy()(y_true, y_pred), 6)
    0.218035
    """

    __slots__ = ()
    aliases = ("dice_ce",)

    def __init__(self, weight: float = 0.5, squared: bool = False, axis: Axis = 1, over: Over = "sample",
                 inputs: Inputs = "logits", multilabel: bool = False, smooth: float = 1.0,
                 include_background: bool = True, ignore_index: int | None = None,
                 class_weight: ClassWeight = None) -> None:
        self._set_overlap(axis, over, inputs, multilabel, include_background, class_weight, smooth=smooth,
                          ignore_index=ignore_index, squared=flag("squared", squared),
                          weight=number("weight", weight, at_least=0, at_most=1))

    @property
    def _cross_entropy_share(self) -> float:  # type: ignore[override]
        return 1 - self.weight
