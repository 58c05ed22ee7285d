"""The largest errors, in units in the last place (ulp) of the true value, against mpmath at 2000 bits."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import peers
from .cases import Array, Case

N = 128  # a power of two, so that dividing by it rounds nothing
ELEMENTS = 2048  # of row losses, which have fewer rows, then, and no errors where one row has more
BITS = 2000  # sees e^-700 beside 1
# Scores up to where e^-|z| is about the least normal number, or its square for focal losses.
LARGEST = {"float32": 80.0, "float64": 700.0}


def sample(case: Case, dtype: str) -> tuple[Array, Array]:
    """Targets with scores of all sizes, of both signs where the loss takes them."""
    rng = np.random.default_rng(0)
    samples = min(N, 1 << (ELEMENTS // (case.classes or 1)).bit_length() - 1)
    size = samples * (case.classes or 1)
    z = np.geomspace(1e-3, LARGEST[dtype], size // 2) * rng.uniform(0.9, 1.0, size // 2)
    least = case.loss.domain[0]
    z = np.concatenate([z, -z] if least == -np.inf else [least + z, least + 2 * z])
    y, z = case.targets(rng, samples), rng.permuted(z)
    if case.classes:  # differences count, and are up to twice as large
        z = z.reshape(samples, -1) / 2
    if case.columns:  # smaller ones, since they multiply
        z = np.stack([rng.permuted(z) / case.columns for _ in range(case.columns)], axis=1)
    return case.typed(y, dtype), z.astype(dtype)


def max_ulp(case: Case, dtype: str, names: list[str]) -> dict[str, tuple[float, float]]:
    """For each competitor, the largest error of the loss and of the gradient; empty without mpmath."""
    try:
        mp = importlib.import_module("mpmath").mp
    except ImportError:
        return {}
    if (case.classes or 1) > ELEMENTS:
        return {}
    y, z = sample(case, dtype)
    n = len(y)
    with mp.workprec(BITS):
        losses, gradients = [], []
        for target, scores in zip(y.tolist(), z.reshape(n, -1).tolist(), strict=True):
            target = list(map(mp.mpf, target)) if isinstance(target, list) else mp.mpf(target)
            loss, gradient = exact_terms(case, mp, target, [mp.mpf(score) for score in scores])
            losses.append(loss)
            gradients += gradient
        result = {}
        for name in ["fastloss", *names]:
            make = peers.fastloss if name == "fastloss" else peers.PEERS[name]
            if (whole := make(case, y, z, 1)) is None:
                continue
            # Losses one by one, since only their mean is returned; gradients of the mean are 1/n of each.
            values = [evaluate(make, case, y[i : i + 1], z[i : i + 1])[0] for i in range(n)]
            scaled = [float(g) * n for g in whole.read(whole.call())[1].flat]
            result[name] = largest(values, losses, dtype, 1), largest(scaled, gradients, dtype, n)
        return result


def exact_terms(case: Case, mp: Any, y: Any, z: list[Any]) -> tuple[tuple[Any, ...], list[list[Any]]]:
    """The terms that add up to the loss of a sample, and those of its derivative by each number of z."""
    def terms(*point: Any) -> tuple[Any, ...]:
        loss = case.exact(mp, y, *point)
        return loss if isinstance(loss, tuple) else (loss,)

    loss = terms(*z)
    if case.exact_gradient is not None:
        return loss, [list(by_one) for by_one in case.exact_gradient(mp, y, *z)]
    gradient = [[mp.diff(lambda *point, i=i: terms(*point)[i], z, order) for i in range(len(loss))]
                for order in np.eye(len(z), dtype=int).tolist()]
    return loss, gradient


def evaluate(make: Callable[..., Any], case: Case, y: Array, z: Array) -> tuple[float, Array]:
    competitor = make(case, y, z, 1)
    return competitor.read(competitor.call())


def largest(values: list[float], exact: list[Any], dtype: str, scale: int) -> float:
    """`exact` holds the terms of each value, and an ulp is that of the sum of their absolute values."""
    # 1/n of a small gradient may be subnormal, and lose digits that the gradient itself has.
    least = float(np.spacing(np.finfo(dtype).smallest_normal)) * scale
    errors = (abs(v - sum(e)) / max(float(np.spacing(np.dtype(dtype).type(float(sum(map(abs, e)))))), least)
              for v, e in zip(values, exact, strict=True))
    return max(float(error) if error == error else float("inf") for error in errors)
