"""Overlap losses as the competitors write them: t is one-hot, p the softmax, sums are over the pixels of an image."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

from .arrays import ArrayCase
from .cases import Array


def images(rng: np.random.Generator, dtype: str) -> list[Array]:
    """Eight images of 512 × 512 pixels in four classes, and their maps of classes."""
    return [rng.integers(0, 4, (8, 512, 512), dtype=np.uint8),
            rng.normal(0.0, 2.0, (8, 4, 512, 512)).astype(dtype)]


def with_distances(rng: np.random.Generator, dtype: str) -> list[Array]:
    return [rng.normal(0.0, 9.0, (8, 4, 512, 512)).astype(dtype), images(rng, dtype)[1]]


def sums(torch: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """TP, FP and FN, (n, C)."""
    p = torch.softmax(z, 1)
    t = torch.nn.functional.one_hot(y.long(), z.shape[1]).movedim(-1, 1).to(z.dtype)
    true_positive = (p * t).sum((2, 3))
    return true_positive, p.sum((2, 3)) - true_positive, t.sum((2, 3)) - true_positive


def tversky_torch(torch: Any, y: Any, z: Any, *, alpha: float, beta: float, smooth: float = 1.0,
                  power: float = 1.0) -> Any:
    tp, fp, fn = sums(torch, y, z)
    return ((1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)) ** power).mean()


def generalized_dice_torch(torch: Any, y: Any, z: Any) -> Any:
    tp, fp, fn = sums(torch, y, z)
    v = 1 / (tp + fn).detach() ** 2
    return (1 - (2 * v * tp).sum(1) / (v * (2 * tp + fp + fn)).sum(1)).mean()


def boundary_torch(torch: Any, y: Any, z: Any) -> Any:
    return (torch.softmax(z, 1) * y).mean()


def dice_cross_entropy_torch(torch: Any, y: Any, z: Any) -> Any:
    return 0.5 * tversky_torch(torch, y, z, alpha=0.5, beta=0.5, smooth=0.5) + 0.5 * (
        torch.nn.functional.cross_entropy(z, y.long()))


def dice_numpy(y: Array, z: Array) -> tuple[Any, Array]:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    t = y[:, None] == np.arange(z.shape[1])[:, None, None]
    common = 2 * np.sum(p, axis=(2, 3), where=t, keepdims=True) + 1
    both = p.sum(axis=(2, 3), keepdims=True) + t.sum(axis=(2, 3), keepdims=True) + 1
    slope = (common / both**2 - np.where(t, 2 / both, 0)).astype(z.dtype) / (z.shape[0] * z.shape[1])
    slope -= (p * slope).sum(axis=1, keepdims=True)
    slope *= p
    return np.mean(1 - common / both), slope


ARRAY_CASES = [
    ArrayCase("dice", fl.Dice(), images, partial(tversky_torch, alpha=0.5, beta=0.5, smooth=0.5), dice_numpy,
              time_goal=1 / 3, memory_goal=0.05, tolerance=1e-10),
    ArrayCase("tversky", fl.Tversky(0.3, 0.7), images, partial(tversky_torch, alpha=0.3, beta=0.7),
              time_goal=1 / 3, memory_goal=0.05, tolerance=1e-10),
    ArrayCase("jaccard", fl.Jaccard(), images, partial(tversky_torch, alpha=1.0, beta=1.0), dtypes=("float32",)),
    ArrayCase("focal_tversky", fl.FocalTversky(), images,
              partial(tversky_torch, alpha=0.3, beta=0.7, power=0.75), dtypes=("float32",)),
    ArrayCase("generalized_dice", fl.GeneralizedDice(smooth=0.0), images, generalized_dice_torch,
              dtypes=("float32",)),
    ArrayCase("boundary", fl.Boundary(), with_distances, boundary_torch, dtypes=("float32",)),
    ArrayCase("dice_cross_entropy", fl.DiceCrossEntropy(), images, dice_cross_entropy_torch, dtypes=("float32",)),
]
