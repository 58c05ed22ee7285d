"""Embedding losses. Kernels: `kernels/pairs.pxi`, and for given distances `kernels/binary.pxd`; tests:
`tests/test_embedding.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._checks import flag, number, raise_at
from ._intercept import balance, positives_negatives
from ._linear_cross_entropy import LIFT, _gemm
from ._samples import SampleLoss, bad_shapes, positive_total, thread_count
from ._typing import Array
from .binary import BinaryLoss, Hinge
from .class_weight import ClassWeight
from .kernels import products
from .kernels._arrays import over_rows
from .linear import blas_threads
from .multiclass import CrossEntropy

Doubles: TypeAlias = NDArray[np.float64]
DType: TypeAlias = type[np.floating[Any]]

# Numbers of each array that are worked on at a time: enough that NumPy's calls for a block do not count, and not so
# many that a second pass finds none of them in cache.
BLOCK = 2**20
# Numbers that a block of similarities takes (4 MB in float32), and its rows at least and at most.
SIMILARITIES, FEWEST_ROWS, MOST_ROWS = 2**20, 64, 512
# Strips of anchors, each with a sum of gradients of its own: at most so many, of at least so many anchors.
STRIPS, STRIP_ROWS = 8, 256
# An exponent of 2 for what is infinite: beyond the range of numbers on both sides.
FAR = 5000

_KERNELS: dict[DType, dict[str, object]] = {
    np.float32: products.bind_pairs(False), np.float64: products.bind_pairs(True)}


# ---- distances that are given ---------------------------------------------------------------------------------------


class DistanceLoss(BinaryLoss):
    """A loss of distances between pairs, with labels of 1 where a pair is alike, else 0 (or -1). No classifier's loss:
    a large y_pred speaks for the label 0."""

    __slots__ = ()


class Contrastive(DistanceLoss):
    """Contrastive loss of distances: pulls pairs that are alike together, others apart up to a margin.

    Takes ``y_true``, 1 where a pair is alike, else 0 (or -1), and ``y_pred``, its distance d; `ContrastivePairs`
    computes the distances itself. Negative numbers are taken as they are.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        How far apart is far enough.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs pairs by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: y·d²/2 + (1 - y)·max(0, margin - d)²/2
    :Range: [0, inf)
    :Gradient: d where y = 1, else -max(0, margin - d)
    :Hessian: 1 where y = 1 or d < margin, else 0
    :Activation: identity (a distance)
    :Good at: verification: is it the same, or another one
    :Bad at: classes of different spread, which share one margin
    :Use: to learn distances from labelled pairs
    :Other names: pairwise ranking loss of siamese networks

    References
    ----------
    R. Hadsell, S. Chopra, Y. LeCun, *Dimensionality reduction by learning an invariant mapping*, 2006.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.Contrastive()([1, 0], [0.5, 0.5], reduction="none")
    array([0.125, 0.125])
    """

    __slots__ = ()
    aliases = ("contrastive_loss",)

    def __init__(self, margin: float = 1.0, class_weight: ClassWeight = None) -> None:
        margin = number("margin", margin, at_least=0)
        self._bind("Contrastive", {"margin": margin}, {"margin": margin, "class_weight": class_weight})

    def _best_constant(self, y: Array, w: Array) -> float:
        positives, negatives = positives_negatives(y, w)
        return self.margin * (negatives / (positives + negatives))


class HingeEmbedding(DistanceLoss):
    """Hinge embedding loss of dissimilarities: linear for pairs that are alike, a hinge for others.

    Takes ``y_true``, 1 where a pair is alike, else -1 (or 0), and ``y_pred``, how unlike it is: a distance, mostly.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        How far apart is far enough.
    class_weight : dict, array of shape (2,) or (k, 2), "balanced" or DynamicClassWeight, optional
        Weighs pairs by their label: (1 - y)·weight₀ + y·weight₁. A dict's keys are 0 (or -1) and 1.

    Notes
    -----
    :Formula: z where y = 1, max(0, margin - z) where y = -1
    :Range: (-inf, inf)
    :Gradient: 1 where y = 1; where y = -1: -1 if z < margin, else 0
    :Hessian: 0
    :Activation: identity (a dissimilarity)
    :Good at: few far-off pairs, which count by their distance only
    :Bad at: the last steps of an optimiser, as the gradient does not shrink
    :Use: for learning embeddings, with L1 distances
    :Other names: torch HingeEmbeddingLoss

    References
    ----------
    A. Paszke et al., *PyTorch: an imperative style, high-performance deep learning library*, 2019.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.HingeEmbedding()([1, -1, -1], [0.5, 0.25, 2.0], reduction="none")
    array([0.5 , 0.75, 0.  ])
    """

    __slots__ = ()
    aliases = ("hinge_embedding_loss",)

    def __init__(self, margin: float = 1.0, class_weight: ClassWeight = None) -> None:
        margin = number("margin", margin, at_least=0)
        self._bind("HingeEmbedding", {"margin": margin}, {"margin": margin, "class_weight": class_weight})

    def _best_constant(self, y: Array, w: Array) -> float:
        return -math.inf if balance(y, w) > 0 else self.margin


# ---- rows of vectors -------------------------------------------------------------------------------------------------

class _Rows:
    """The kernels of `pairs.pxi` for one dtype and number of threads."""

    def __init__(self, dtype: DType, n_threads: int | None) -> None:
        self.dtype = dtype
        self.n_threads = n_threads

    def __call__(self, kernel: str, *arrays: Array | None, parameter: float = 0.0) -> None:
        over_rows(_KERNELS[self.dtype][kernel], arrays, parameter, self.n_threads)

    def sums(self, kernel: str, count: int, *arrays: Array, parameter: float = 0.0) -> Doubles:
        """What a kernel gives for each row, (count, n)."""
        out = np.empty((len(arrays[0]), count))
        self(kernel, *arrays, out, parameter=parameter)
        return out.T

    def readable(self, part: np.ndarray) -> Array:
        """Rows as the kernels read them: where they are, or converted."""
        direct = part.dtype == self.dtype and (part.shape[1] < 2 or part.strides[1] == part.itemsize)
        return part if direct else np.ascontiguousarray(part, self.dtype)


def _blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _columns(*numbers: Doubles | float) -> Doubles:
    """Numbers of each row, as kernels take them."""
    out = np.empty((max(np.size(one) for one in numbers), len(numbers)))
    for i, one in enumerate(numbers):
        out[:, i] = one
    return out


class _Distance:
    """‖x - y‖_p of rows, and its gradient."""

    def __init__(self, rows: _Rows, x: Array, y: Array, p: float = 2.0) -> None:
        self.rows, self.x, self.y, self.p = rows, x, y, p
        self.unit, self.sum = rows.sums("distances", 2, x, y, parameter=p)
        self.root = np.sqrt(self.sum) if p == 2 else self.sum ** (1 / p)
        self.value = np.where(np.isinf(self.unit), self.unit, self.unit * self.root)

    def gradient(self, factor: Doubles, out: Array, negative_out: Array | None = None) -> None:
        """factor times the derivative by x, and its negative, which is that by y; 0 where x is y."""
        power = 1 / self.root if self.p == 2 else self.sum ** (1 / self.p - 1)
        slope = np.where((factor == 0) | (self.sum == 0), 0, factor * power)
        self.rows("slopes", self.x, self.y, _columns(self.unit, slope), out, negative_out, parameter=self.p)


class _Cosine:
    """cos(x, y) of rows, and its gradient."""

    def __init__(self, rows: _Rows, x: Array, y: Array) -> None:
        self.rows = rows
        self.dot, self.xx, self.yy = rows.sums("moments", 3, x, y)
        self.x, self.x_exponent = _lifted(x, self.xx)
        self.y, self.y_exponent = _lifted(y, self.yy)
        if self.x is not x or self.y is not y:
            self.dot, self.xx, self.yy = rows.sums("moments", 3, self.x, self.y)
        self.lengths = np.sqrt(self.xx) * np.sqrt(self.yy)
        self.value = self.dot / np.where(self.lengths == 0, 1, self.lengths)

    def complement(self) -> Doubles:
        """1 - cos, without cancellation: sin²/(1 + cos) where the angle is small."""
        result: Doubles = 1 - self.value
        if (self.value > 0.5).any():
            # sin²·x·x is r·r of the part r of x that is normal to y; (r·y)²/(y·y) is what rounding has left in it of y
            rr, ry = self.rows.sums("rests", 2, self.x, self.y, _columns(self.dot / self.yy))
            sine = np.maximum(rr - ry * ry / self.yy, 0) / self.xx
            result = np.where(self.value > 0.5, sine / (1 + self.value), result)
        return result

    def gradient(self, factor: Doubles, x_out: Array | None, y_out: Array | None) -> None:
        """factor times the derivatives; 0 where x or y is a zero vector."""
        slope = np.where(self.lengths == 0, 0, factor / self.lengths)
        factors = _columns(np.ldexp(slope, -self.x_exponent), self.dot / self.xx,
                           np.ldexp(slope, -self.y_exponent), self.dot / self.yy)
        self.rows("combine", self.x, self.y, factors, x_out, y_out)


def _lifted(x: Array, squares: Doubles) -> tuple[Array, NDArray[np.intp]]:
    """Rows near 1, and the exponents of the powers of 2 that bring them back: x itself, and 0, but where the sum of
    squares leaves the range of numbers, or nearly. Where one number is infinite, the row is the direction in the limit;
    where several are there is none."""
    exponents = np.zeros(len(x), np.intp)
    rare = np.flatnonzero(~((squares > 1e-140) & (squares < 1e140)))
    if len(rare):
        part, x = x[rare], x.copy()
        infinite = np.isinf(part)
        count = infinite.sum(axis=1)
        most = np.where(count, 1, np.abs(part).max(axis=1, initial=0))
        exponents[rare] = np.where(count, FAR, np.frexp(most)[1])
        x[rare] = np.ldexp(part, -np.frexp(most)[1][:, None])
        x[rare[count == 1]] = np.copysign(infinite, part)[count == 1]
        x[rare[count > 1]] = np.nan
    return x, exponents


def _step(x: Doubles) -> Doubles:
    """1 above 0, else 0, NaN for NaN: np.heaviside, which takes much longer."""
    return np.clip(np.ceil(x), 0, 1)


def _positive(y: np.ndarray, allowed: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where labels are 1. They may be 1 and -1, or, if 0 is allowed, 1 and 0."""
    positive, negative = y == 1.0, y == -1.0
    if (positive | negative).all():
        return positive
    zero = y == 0.0
    wanted = "1 and 0, or 1 and -1" if 0 in allowed else "1 or -1"
    good = positive | negative | (zero & (0 in allowed))
    raise_at(f"y[{{}}] is {{}}: labels must be {wanted}", y, ~good)
    if zero.any() and negative.any():
        later = zero if zero.argmax() > negative.argmax() else negative
        raise_at(f"y[{{}}] is {{}}, beside other labels of {-1 if later is zero else 0}: labels must be {wanted}", y,
                  later)
    return positive


class VectorLoss(SampleLoss):
    """A loss of samples that are some vectors each: rows of arrays (n, d), with labels y (n,) before them or not."""

    __slots__ = ()
    _labels: ClassVar[tuple[int, ...]] = ()  # what y may hold; empty: there is no y

    def _check(self, arrays: list[np.ndarray]) -> int:
        first = arrays[-1]
        rest = arrays[1:] if self._labels else arrays
        if first.ndim != 2 or any(array.shape != first.shape for array in rest) or (
                self._labels and arrays[0].shape != first.shape[:1]):
            wanted = "(n,) and equal ones (n, d)" if self._labels else "equal ones (n, d)"
            bad_shapes(self.inputs_of_call, arrays, f"they must be {wanted}")
        return len(first)

    def _compute(self, arrays: list[np.ndarray], scale: Doubles, losses: Doubles | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        positive = _positive(arrays[0], self._labels) if self._labels else np.empty(len(scale), np.bool_)
        vectors = arrays[1:] if self._labels else arrays
        rows = _Rows(self._dtype(arrays), n_threads)
        for part in _blocks(*vectors[0].shape):
            given = [rows.readable(array[part]) for array in vectors]
            wanted = None if gradients is None else [gradient[part] for gradient in gradients]
            outs = wanted and [rows.readable(gradient) for gradient in wanted]
            values = self._block(rows, given, positive[part], scale[part], outs)
            if losses is not None:
                losses[part] = values
            for gradient, out in zip(wanted or (), outs or (), strict=True):
                if out is not gradient:
                    gradient[...] = out

    def _block(self, rows: _Rows, vectors: list[Array], positive: NDArray[np.bool_], scale: Doubles,
               outs: list[Array] | None) -> Doubles:
        """The losses of some samples; and fills their gradients times the scale, where they are wanted. These may lie
        in the places of the vectors."""
        raise NotImplementedError


class ContrastivePairs(VectorLoss):
    """Contrastive loss of pairs of vectors: draws similar ones together, and others apart up to a margin.

    A call takes y (n,), 1 for similar pairs and 0 (or -1) for others, and x1 and x2 (n, d), a vector of each pair a
    row. Gradients are for x1 and x2. `Contrastive` is the same of distances.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        The distance from which on pairs that are not similar cost nothing.

    Notes
    -----
    :Formula: y·d²/2 + (1 - y)·max(0, margin - d)²/2, with d = ‖x1 - x2‖
    :Range: [0, inf)
    :Gradient: by x1 x1 - x2 for similar pairs, -max(0, margin - d)·(x1 - x2)/d for others, 0 at d = 0; by x2 the
        negative
    :Activation: identity
    :Good at: pairs that are known to be similar or not, as signatures and faces
    :Bad at: graded similarity; pairs beyond the margin, which teach nothing
    :Use: siamese networks, with pairs chosen so that hard ones occur
    :Other names: pair loss; TensorFlow Addons ``ContrastiveLoss`` (without the ½, of distances)

    References
    ----------
    R. Hadsell, S. Chopra and Y. LeCun, *Dimensionality reduction by learning an invariant mapping*, 2006.

    Examples
    --------
    >>> import fastloss as fl
    >>> x1, x2 = [[3.0, 4.0], [0.0, 0.0]], [[1.0, 1.0], [0.3, 0.4]]
    >>> loss, by_x1, by_x2 = fl.ContrastivePairs().loss_gradient([1, 0], x1, x2)
    >>> round(loss, 6), by_x1.round(6)
    (3.3125, array([[1.  , 1.5 ],
           [0.15, 0.2 ]]))
    """

    __slots__ = ()
    inputs_of_call = ("y", "x1", "x2")
    gradients_for = ("x1", "x2")
    _labels = (1, 0, -1)

    def __init__(self, margin: float = 1.0) -> None:
        self._set({"margin": number("margin", margin, at_least=0)})

    def _block(self, rows: _Rows, vectors: list[Array], positive: NDArray[np.bool_], scale: Doubles,
               outs: list[Array] | None) -> Doubles:
        x1, x2 = vectors
        distance = _Distance(rows, x1, x2)
        d = distance.value
        gap = np.maximum(self.margin - d, 0)
        if outs:
            # that of d²/2, x1 - x2, needs neither d nor a unit: as if both were 1
            distance.unit[positive] = distance.sum[positive] = distance.root[positive] = 1
            distance.gradient(np.where(positive, scale, -scale * gap), *outs)
        return np.where(positive, d * d, gap * gap) / 2


class Triplet(VectorLoss):
    """Triplet loss: an anchor should be nearer to a positive than to a negative, by a margin.

    A call takes a, pos and neg (n, d): anchors, and to each a sample of the same kind and one of another. Gradients are
    for all three.

    Parameters
    ----------
    margin : float >= 0, default 1.0
        By how much the negative should be farther away.
    p : float >= 1, default 2.0
        The distance is the p-norm of the difference.
    swap : bool, default False
        Whether the negative's distance is the smaller of those from the anchor and from the positive.

    Notes
    -----
    :Formula: max(0, d(a, pos) - d(a, neg) + margin), with d the p-norm of the difference; with swap
        min(d(a, neg), d(pos, neg)) in the place of d(a, neg)
    :Range: [0, inf)
    :Gradient: where the loss is not 0, of both distances; with p = 2 (a - pos)/d(a, pos) - (a - neg)/d(a, neg) by a.
        That of a distance of 0 is 0, as is that of the loss at the kink
    :Activation: identity
    :Good at: rankings by similarity, where only the order of distances counts
    :Bad at: triplets chosen at random, most of which soon cost nothing
    :Use: embeddings for retrieval and recognition, with triplets chosen so that hard ones occur
    :Other names: torch ``TripletMarginLoss`` (which adds eps to differences); FaceNet's is of squared distances

    References
    ----------
    F. Schroff, D. Kalenichenko and J. Philbin, *FaceNet: a unified embedding for face recognition and clustering*,
    2015.

    V. Balntas, E. Riba, D. Ponsa and K. Mikolajczyk, *Learning local feature descriptors with triplets and shallow
    convolutional neural networks*, 2016 (swap).

    Examples
    --------
    >>> import fastloss as fl
    >>> loss, by_a, by_pos, by_neg = fl.Triplet().loss_gradient([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 5.5]])
    >>> loss, by_a, by_neg
    (0.5, array([[-0.6,  0.2]]), array([[ 0., -1.]]))
    """

    __slots__ = ()
    aliases = ("triplet_margin",)
    inputs_of_call = ("a", "pos", "neg")
    gradients_for = ("a", "pos", "neg")

    def __init__(self, margin: float = 1.0, p: float = 2.0, swap: bool = False) -> None:
        self._set({"margin": number("margin", margin, at_least=0), "p": number("p", p, at_least=1),
                   "swap": flag("swap", swap)})

    def _block(self, rows: _Rows, vectors: list[Array], positive: NDArray[np.bool_], scale: Doubles,
               outs: list[Array] | None) -> Doubles:
        a, pos, neg = vectors
        near, far = _Distance(rows, a, pos, self.p), _Distance(rows, a, neg, self.p)
        apart, swapped = far.value, np.zeros(len(a), np.bool_)
        if self.swap:
            other = _Distance(rows, pos, neg, self.p)
            swapped = other.value < far.value
            apart = np.minimum(apart, other.value)
        violation = near.value - apart + self.margin
        if outs:
            a_out, pos_out, neg_out = outs
            factor = scale * _step(violation)
            if self.swap:  # first: what follows may write into pos
                between = np.empty_like(a)
                other.gradient(np.where(swapped, -factor, 0), between)
            near.gradient(-factor, pos_out)
            far.gradient(np.where(swapped, 0, factor), neg_out)
            np.add(pos_out, neg_out, out=a_out)
            np.negative(a_out, out=a_out)
            if self.swap:
                pos_out += between
                neg_out -= between
        return np.maximum(violation, 0)


class CosineEmbedding(VectorLoss):
    """Cosine embedding loss: similar vectors should point the same way, others should not.

    A call takes y (n,), 1 for similar pairs and -1 (or 0) for others, and x1 and x2 (n, d), a vector of each pair a
    row. Gradients are for x1 and x2. The cosine with a zero vector is 0, and so are its gradients.

    Parameters
    ----------
    margin : float in [-1, 1], default 0.0
        The cosine up to which pairs that are not similar cost nothing.

    Notes
    -----
    :Formula: 1 - cos(x1, x2) where y = 1, else max(0, cos(x1, x2) - margin)
    :Range: [0, 2]
    :Gradient: of cos by x1: (x2/‖x2‖ - cos·x1/‖x1‖)/‖x1‖, by x2 alike; 0 at the kink
    :Activation: identity
    :Good at: vectors whose lengths mean nothing, as those of texts
    :Bad at: pairs that are not similar, once their cosine is below the margin; very short vectors, where gradients are
        large
    :Use: pairs that are known to be similar or not
    :Other names: torch ``CosineEmbeddingLoss`` (which adds eps to squared lengths)

    References
    ----------
    J. Bromley, I. Guyon, Y. LeCun, E. Säckinger and R. Shah, *Signature verification using a "siamese" time delay
    neural network*, 1993.

    Examples
    --------
    >>> import fastloss as fl
    >>> x1, x2 = [[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 3.0]]
    >>> fl.CosineEmbedding(margin=0.5).loss([1, -1], x1, x2, reduction="none")
    array([0. , 0.5])
    """

    __slots__ = ()
    inputs_of_call = ("y", "x1", "x2")
    gradients_for = ("x1", "x2")
    _labels = (1, 0, -1)

    def __init__(self, margin: float = 0.0) -> None:
        self._set({"margin": number("margin", margin, at_least=-1, at_most=1)})

    def _block(self, rows: _Rows, vectors: list[Array], positive: NDArray[np.bool_], scale: Doubles,
               outs: list[Array] | None) -> Doubles:
        cosine = _Cosine(rows, *vectors)
        violation = cosine.value - self.margin
        values = np.where(positive, cosine.complement(), np.maximum(violation, 0))
        if outs:
            cosine.gradient(scale * np.where(positive, -1, _step(violation)), *outs)
        return values


class CosineSimilarity(VectorLoss):
    """Cosine similarity as a loss: 1 - cos of the angle between target and prediction.

    A call takes y_true and y_pred (n, d), a vector a row; the gradient is for y_pred. The cosine with a zero vector is
    0, and so is its gradient. Nearly parallel vectors keep their digits.

    Notes
    -----
    :Formula: 1 - cos(y, z), with cos(y, z) = y·z/(‖y‖·‖z‖)
    :Range: [0, 2]
    :Gradient: (cos·z/‖z‖ - y/‖y‖)/‖z‖
    :Activation: identity
    :Good at: directions: what counts is where vectors point, not how long they are
    :Bad at: vectors whose lengths matter; very short predictions, where gradients are large
    :Use: regression onto embeddings, as in distillation
    :Other names: cosine distance, cosine proximity; Keras and optax ``cosine_similarity`` (without the 1)

    References
    ----------
    G. Salton, A. Wong and C. S. Yang, *A vector space model for automatic indexing*, 1975.

    Examples
    --------
    >>> import fastloss as fl
    >>> loss, gradient = fl.CosineSimilarity().loss_gradient([[3.0, 4.0]], [[4.0, 3.0]])
    >>> round(loss, 6), gradient.round(6)
    (0.04, array([[ 0.0336, -0.0448]]))
    """

    __slots__ = ()
    aliases = ("cosine", "cosine_distance")

    def __init__(self) -> None:
        self._set({})

    def _block(self, rows: _Rows, vectors: list[Array], positive: NDArray[np.bool_], scale: Doubles,
               outs: list[Array] | None) -> Doubles:
        cosine = _Cosine(rows, *vectors)
        values = cosine.complement()
        if outs:
            cosine.gradient(-scale, None, *outs)
        return values


class GaussianKL(VectorLoss):
    """Kullback-Leibler divergence from the standard normal distribution, as in autoencoders.

    A call takes mean and log_var (n, d): of each sample, the means and the logarithms of the variances of d independent
    latent variables, over which the loss is summed; or (n,), of one a sample. Gradients are for both.

    Notes
    -----
    :Formula: ½·Σ (μ² + e^v - 1 - v), with μ = mean and v = log_var
    :Range: [0, inf)
    :Gradient: μ by mean, (e^v - 1)/2 by log_var
    :Activation: identity
    :Good at: latent variables that should stay near a standard normal distribution
    :Bad at: weak data: all latent variables collapse to the prior where it weighs too much
    :Use: variational autoencoders, added to the loss of the reconstruction
    :Other names: KL loss, the regulariser of VAE and β-VAE

    References
    ----------
    D. P. Kingma and M. Welling, *Auto-encoding variational Bayes*, 2014.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.GaussianKL().loss_gradient([[1.0, 2.0]], [[0.0, 0.0]])
    (2.5, array([[1., 2.]]), array([[0., 0.]]))
    """

    __slots__ = ()
    aliases = ("vae_kl",)
    inputs_of_call = ("mean", "log_var")
    gradients_for = ("mean", "log_var")

    def __init__(self) -> None:
        self._set({})

    def _check(self, arrays: list[np.ndarray]) -> int:
        mean, log_var = arrays
        if mean.ndim not in (1, 2) or mean.shape != log_var.shape:
            bad_shapes(self.inputs_of_call, arrays, "they must be equal ones (n, d) or (n,)")
        return len(mean)

    def _compute(self, arrays: list[np.ndarray], scale: Doubles, losses: Doubles | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        if arrays[0].ndim == 1:
            arrays = [array[:, None] for array in arrays]
            gradients = gradients and [gradient[:, None] for gradient in gradients]
        super()._compute(arrays, scale, losses, gradients, n_threads)

    def _block(self, rows: _Rows, vectors: list[Array], positive: NDArray[np.bool_], scale: Doubles,
               outs: list[Array] | None) -> Doubles:
        sums = np.empty((len(scale), 1))
        rows("gaussian_kl", *vectors, _columns(scale), sums, *(outs or ()))
        return sums[:, 0] / 2


# ---- pairs of scores -------------------------------------------------------------------------------------------------

class MarginRanking(SampleLoss):
    """Margin ranking loss: of two scores, the one that should be higher should be so by a margin.

    A call takes y (n,), 1 where x1 should be higher and -1 where x2 should, and x1 and x2 (n,), the scores. Gradients
    are for x1 and x2. It runs on one thread, whatever `n_threads` is.

    Parameters
    ----------
    margin : float >= 0, default 0.0
        By how much the one should be higher. With margin 0 the gradient at equal scores is that of the wrong side, so
        that learning starts from zero; with others it is 0 at the kink.

    Notes
    -----
    :Formula: max(0, margin - y·(x1 - x2))
    :Range: [0, inf)
    :Gradient: -y by x1, y by x2, and 0 where the loss is 0
    :Activation: identity
    :Good at: rankings, of pairs whose order is known
    :Bad at: scores that mean something by themselves: only differences count
    :Use: learning to rank by pairs
    :Other names: pairwise hinge loss, RankSVM; torch ``MarginRankingLoss``

    References
    ----------
    R. Herbrich, T. Graepel and K. Obermayer, *Large margin rank boundaries for ordinal regression*, 2000.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.MarginRanking(margin=0.5).loss_gradient([1, -1], [2.0, 2.0], [1.75, 1.0])
    (0.875, array([-0.5,  0.5]), array([ 0.5, -0.5]))
    """

    __slots__ = ()
    inputs_of_call = ("y", "x1", "x2")
    gradients_for = ("x1", "x2")

    def __init__(self, margin: float = 0.0) -> None:
        self._set({"margin": number("margin", margin, at_least=0)})

    def _check(self, arrays: list[np.ndarray]) -> int:
        if arrays[0].ndim != 1 or any(array.shape != arrays[0].shape for array in arrays):
            bad_shapes(self.inputs_of_call, arrays, "they must be equal, (n,)")
        return len(arrays[0])

    def _compute(self, arrays: list[np.ndarray], scale: Doubles, losses: Doubles | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        y, x1, x2 = arrays
        _positive(y, (1, -1))
        hinge = Hinge(self.margin)
        for part in _blocks(len(scale), 16):
            z = np.subtract(x1[part], x2[part], dtype=np.float64)
            # One thread: a block is in the cache of this one, and most of the time is NumPy's, which has no others.
            if losses is not None and gradients is None:
                hinge.loss(y[part], z, reduction="none", n_threads=1, loss_out=losses[part])
            elif losses is not None:
                hinge.loss_gradient(y[part], z, reduction="none", n_threads=1, gradient_out=z, loss_out=losses[part])
            else:
                hinge.gradient(y[part], z, reduction="none", n_threads=1, gradient_out=z)
            if gradients is not None:
                z *= scale[part]
                gradients[0][part] = z
                np.negative(z, out=gradients[1][part], casting="same_kind")


# ---- batches: each sample against all others -------------------------------------------------------------------------

class _Units:
    """Vectors of length 1, from the rows of some arrays, one array after the other; zero vectors stay what they are."""

    def __init__(self, arrays: list[np.ndarray], kept: NDArray[np.intp], dtype: DType,
                 n_threads: int | None) -> None:
        self.rows, self.kept = _Rows(dtype, n_threads), kept
        self.vectors = np.empty((len(arrays) * len(kept), arrays[0].shape[1]), dtype)
        self.slopes = np.empty(len(self.vectors))  # 1/‖x‖
        for array, part, places in self._blocks(arrays):
            x = self.rows.readable(array[part])
            cosine = _Cosine(self.rows, x, x)
            over = np.where(cosine.xx == 0, 0, 1 / np.sqrt(cosine.xx))
            self.slopes[places] = np.ldexp(over, -cosine.x_exponent)
            self.rows("combine", cosine.x, cosine.x, _columns(over, 0.0, 0.0, 0.0), self.vectors[places], None)

    def _blocks(self, arrays: list[Any]) -> Iterator[tuple[Any, NDArray[np.intp], slice]]:
        """Each array, with some of its rows, and their places among the vectors."""
        n, width = len(self.kept), self.vectors.shape[1]
        for i, array in enumerate(arrays):
            for part in _blocks(n, width):
                yield array, self.kept[part], slice(i * n + part.start, i * n + part.stop)

    def pull_back(self, by_units: Array | None, factor: float, gradients: list[Array]) -> None:
        """The gradients for the arrays, from factor times that for the vectors (None: 0): what of it is normal to each
        vector, over ‖x‖."""
        for gradient in gradients:
            if by_units is None or len(self.kept) < len(gradient):
                gradient[...] = 0
        if by_units is None:
            return
        for gradient, part, places in self._blocks(gradients):
            u, g, slope = self.vectors[places], by_units[places], factor * self.slopes[places]
            dot, uu, _ = self.rows.sums("moments", 3, u, g)
            out = np.empty_like(u)
            self.rows("combine", u, g, _columns(slope, dot / np.where(uu == 0, 1, uu), 0.0, 0.0), out, None)
            gradient[part] = out


def _cross_entropies(units: _Units, temperature: float, anchors: NDArray[np.intp], scale: Doubles,
                     targets: Callable[[slice], np.ndarray], gradients: list[Array] | None,
                     n_threads: int | None) -> Doubles:
    """Cross-entropies of the similarities of anchors, rows of units, to all other rows; and fills the gradients of the
    losses times their scale. `targets` gives those of some anchors, as CrossEntropy takes them.

    Anchors are taken in strips, each with a sum of gradients of its own, and each strip in blocks of rows of
    similarities, which become their gradients where they are. Strips depend on the sizes alone, and BLAS has one
    thread in each: all numbers of threads give the same bits.
    """
    vectors, loss = units.vectors, CrossEntropy()
    n, dtype, single = len(vectors), vectors.dtype, vectors.dtype == np.float32
    losses = np.empty(len(anchors))
    exponent = np.frexp(np.abs(scale).max(initial=0))[1]  # sums in float32 are of numbers near 1
    weights = np.ldexp(scale, -exponent).astype(dtype)[:, None]
    lift = 2.0**LIFT if single and temperature > 1e-20 else 1.0  # see LIFT
    step = int(np.clip(SIMILARITIES // max(1, n), FEWEST_ROWS, MOST_ROWS))
    strip = max(1, -(-len(anchors) // int(np.clip(len(anchors) // STRIP_ROWS, 1, STRIPS))))

    def run(start: int) -> Array | None:
        stop = min(start + strip, len(anchors))
        similarities = np.empty((min(step, stop - start), n), dtype)
        total = None if gradients is None else np.zeros_like(vectors)
        for first in range(start, stop, step):
            part = slice(first, min(first + step, stop))
            own, weight = vectors[anchors[part]], weights[part]
            z = similarities[:len(own)]
            _gemm(1 / temperature, own, vectors.T, 0.0, z)
            z[np.arange(len(own)), anchors[part]] = -np.inf
            if total is None:
                losses[part] = loss.loss(targets(part), z, reduction="none", n_threads=1)
                continue
            with np.errstate(all="ignore"):  # (each thread has its own)
                lifted, _ = loss.loss_gradient(targets(part), z, sample_weight=np.full(len(own), lift),
                                               reduction="none", n_threads=1, gradient_out=z)
                losses[part] = lifted / lift
                by_own = np.empty_like(own)
                _gemm(1.0, z, vectors, 0.0, by_own)
                total[anchors[part]] += by_own * weight
                _gemm(1.0, z.T, own * weight, 1.0, total)
        return total

    from concurrent.futures import ThreadPoolExecutor  # takes 5 ms to import, of 50

    starts = range(0, len(anchors), strip)
    threads = min(thread_count(n_threads), len(starts))
    with blas_threads(1), ThreadPoolExecutor(max(threads, 1)) as pool:
        totals = pool.map(run, starts) if threads > 1 else map(run, starts)
        by_units = next(totals, None)
        for total in totals:
            if total is not None and by_units is not None:
                by_units += total
    if gradients is not None:
        units.pull_back(by_units, float(np.ldexp(1 / (temperature * lift), exponent)), gradients)
    return losses


class NTXent(SampleLoss):
    """Normalised temperature-scaled cross-entropy: a sample should find its other view among all.

    The contrastive loss of SimCLR. A call takes x1 and x2 (n, d), two views of each sample, a row each. Each of the 2n
    rows is an anchor, the other view of its sample the positive, and the 2n - 2 views of other samples are negatives.
    The loss of a sample is the mean of those of its two views; sample weights weigh pairs of views. A sample of weight
    0 is left out, also as a negative. Gradients are for x1 and x2.

    Never are all similarities in memory: they are computed, and become gradients, a block of rows at a time. They are
    products by BLAS in the dtype of the gradients.

    Parameters
    ----------
    temperature : float > 0, default 0.5
        What similarities are divided by: the lower, the more the most similar negatives count.

    Notes
    -----
    :Formula: the cross-entropy of the rows s_ij/temperature, j ≠ i, with the positive as target; s_ij = cos(x_i, x_j)
    :Range: [0, inf)
    :Gradient: Σ_j (g_ij + g_ji)·∂s_ij/∂x_i, with g_ij = (softmax of the row - [j is positive])/temperature; 0 for zero
        vectors, whose similarities are 0
    :Activation: identity
    :Good at: embeddings without labels, from what augmentations have in common
    :Bad at: small batches, which have few negatives; samples of one class, which repel each other
    :Use: self-supervised learning with large batches
    :Other names: SimCLR loss, InfoNCE within a batch, multi-class n-pair loss with cosines

    References
    ----------
    T. Chen, S. Kornblith, M. Norouzi and G. Hinton, *A simple framework for contrastive learning of visual
    representations*, 2020.

    Examples
    --------
    >>> import fastloss as fl
    >>> x1, x2 = [[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 3.0]]
    >>> loss, by_x1, by_x2 = fl.NTXent().loss_gradient(x1, x2)
    >>> round(loss, 6)
    0.239545
    """

    __slots__ = ()
    aliases = ("simclr", "ntxent")
    inputs_of_call = ("x1", "x2")
    gradients_for = ("x1", "x2")

    def __init__(self, temperature: float = 0.5) -> None:
        self._set({"temperature": number("temperature", temperature, above=0)})

    def _check(self, arrays: list[np.ndarray]) -> int:
        x1, x2 = arrays
        if x1.ndim != 2 or x1.shape != x2.shape or x1.shape[1] < 1:
            bad_shapes(self.inputs_of_call, arrays, "they must be equal ones (n, d), d >= 1")
        return len(x1)

    def _compute(self, arrays: list[np.ndarray], scale: Doubles, losses: Doubles | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        kept = np.flatnonzero(scale)
        n = len(kept)
        anchors = np.arange(2 * n)
        positives = np.roll(anchors, n)
        units = _Units(arrays, kept, self._dtype(arrays), n_threads)
        values = _cross_entropies(units, self.temperature, anchors, np.tile(scale[kept] / 2, 2), positives.__getitem__,
                                  gradients, n_threads)
        if losses is not None:
            losses[kept] = (values[:n] + values[n:]) / 2


class SupervisedContrastive(SampleLoss):
    """Supervised contrastive loss: a sample should be similar to all of its class, and to no others.

    A call takes y (n,), the classes: whole numbers, any; and x (n, d), a vector a row. Each sample is an anchor, those
    of its class are positives. An anchor without positives costs nothing, and "mean" is over the others, with their
    weights: 0 where there are none. A sample of weight 0 is left out altogether. The gradient is for x.

    Similarities are computed a block of rows at a time, by BLAS, as for `NTXent`.

    Parameters
    ----------
    temperature : float > 0, default 0.1
        What similarities are divided by: the lower, the more the most similar negatives count.

    Notes
    -----
    :Formula: the cross-entropy of the row s_ij/temperature, j ≠ i, the target 1/|P(i)| for each of the positives P(i);
        s_ij = cos(x_i, x_j)
    :Range: [0, inf)
    :Gradient: Σ_j (g_ij + g_ji)·∂s_ij/∂x_i, with g_ij = (softmax of the row - target)/temperature; 0 for zero vectors,
        whose similarities are 0
    :Activation: identity
    :Good at: embeddings with labels, that classify better and bear noise better than those of cross-entropy alone
    :Bad at: small batches, where most classes occur once
    :Use: pre-training with labels, before a linear classifier
    :Other names: SupCon, L_out of its authors; TensorFlow Similarity ``MultiNegativesRankLoss`` is related

    References
    ----------
    P. Khosla, P. Teterwak, C. Wang, A. Sarna, Y. Tian, P. Isola, A. Maschinot, C. Liu and D. Krishnan, *Supervised
    contrastive learning*, 2020.

    Examples
    --------
    >>> import fastloss as fl
    >>> x = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
    >>> loss, gradient = fl.SupervisedContrastive(temperature=0.5).loss_gradient([7, 7, -1], x)
    >>> round(loss, 6), gradient.round(6)
    (0.126928, array([[0.      , 0.119203],
           [0.      , 0.059601],
           [0.238406, 0.      ]]))
    """

    __slots__ = ()
    aliases = ("supcon",)
    inputs_of_call = ("y", "x")
    gradients_for = ("x",)

    def __init__(self, temperature: float = 0.1) -> None:
        self._set({"temperature": number("temperature", temperature, above=0)})

    def _check(self, arrays: list[np.ndarray]) -> int:
        y, x = arrays
        if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[1] < 1:
            bad_shapes(self.inputs_of_call, arrays, "they must be (n,) and (n, d), d >= 1")
        if y.dtype.kind == "f":
            raise_at("y[{}] is {}: labels must be whole numbers", y, ~(np.isfinite(y) & (y == np.floor(y))))
        return len(x)

    def _scales(self, arrays: list[np.ndarray], weight: Doubles | None, n: int, reduction: str) -> Doubles:
        if reduction != "mean" or n == 0:
            return super()._scales(arrays, weight, n, reduction)
        scale = np.ones(n) if weight is None else weight
        kept = np.flatnonzero(scale)
        counted = kept[_classes(arrays[0][kept])[1] > 0]
        # (not 0 where there is no positive: such samples are negatives of others)
        return scale / positive_total(scale[counted]) if len(counted) or not len(kept) else scale

    def _compute(self, arrays: list[np.ndarray], scale: Doubles, losses: Doubles | None,
                 gradients: list[Array] | None, n_threads: int | None) -> None:
        y, x = arrays
        kept = np.flatnonzero(scale)
        classes, positives = _classes(y[kept])
        anchors = np.flatnonzero(positives)
        units = _Units([x], kept, self._dtype(arrays), n_threads)

        def targets(part: slice) -> np.ndarray:
            rows = anchors[part]
            t = (classes[rows, None] == classes) * (1 / positives[rows, None]).astype(units.vectors.dtype)
            t[np.arange(len(rows)), rows] = 0
            return t

        values = _cross_entropies(units, self.temperature, anchors, scale[kept[anchors]], targets, gradients, n_threads)
        if losses is not None:
            losses[kept[anchors]] = values


def _classes(y: np.ndarray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The classes by number, and how many others have each sample's class."""
    _, classes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return classes, counts[classes] - 1
