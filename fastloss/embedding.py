"""Embedding losses. Of distances, pairs, triplets and batches of vectors."""

from __future__ import annotations

import math

from ._checks import number
from ._intercept import balance, positives_negatives
from ._typing import Array
from .binary import BinaryLoss
from .class_weight import ClassWeight

# ---- of numbers ------------------------------------------------------------------------------------------------------


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
