"""The largest errors, in units in the last place (ulp) of the true value, against mpmath at 2000 bits."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import peers
from .cases import Array, Case

N = 128  # a power of two, so that dividing by it rounds nothing
BITS = 2000  # sees e^-700 beside 1
# Scores up to where e^-|z| is about the least normal number, or its square for focal losses.
LARGEST = {"float32": 80.0, "float64": 700.0}


def sample(case: Case, dtype: str) -> tuple[Array, Array]:
    """Targets with scores of both signs and of all sizes."""
    rng = np.random.default_rng(0)
    z = np.geomspace(1e-3, LARGEST[dtype], N // 2) * rng.uniform(0.9, 1.0, N // 2)
    return case.targets(rng, N).astype(dtype), rng.permuted(np.concatenate([z, -z])).astype(dtype)


def max_ulp(case: Case, dtype: str, names: list[str]) -> dict[str, tuple[float, float]]:
    """For each competitor, the largest error of the loss and of the gradient; empty without mpmath."""
    try:
        mp = importlib.import_module("mpmath").mp
    except ImportError:
        return {}
    y, z = sample(case, dtype)
    with mp.workprec(BITS):
        losses = [case.exact(mp, mp.mpf(float(a)), mp.mpf(float(b))) for a, b in zip(y, z, strict=True)]
        gradients = [mp.diff(lambda x, a=a: case.exact(mp, mp.mpf(float(a)), x), mp.mpf(float(b)))
                     for a, b in zip(y, z, strict=True)]
        result = {}
        for name in ["fastloss", *names]:
            make = peers.fastloss if name == "fastloss" else peers.PEERS[name]
            if (whole := make(case, y, z, 1)) is None:
                continue
            # Losses one by one, since only their mean is returned; gradients of the mean are 1/N of each.
            values = [evaluate(make, case, y[i : i + 1], z[i : i + 1])[0] for i in range(N)]
            scaled = [float(g) * N for g in whole.read(whole.call())[1]]
            result[name] = largest(values, losses, dtype, 1), largest(scaled, gradients, dtype, N)
        return result


def evaluate(make: Callable[..., Any], case: Case, y: Array, z: Array) -> tuple[float, Array]:
    competitor = make(case, y, z, 1)
    return competitor.read(competitor.call())


def largest(values: list[float], exact: list[Any], dtype: str, scale: int) -> float:
    # 1/N of a small gradient may be subnormal, and lose digits that the gradient itself has.
    least = float(np.spacing(np.finfo(dtype).smallest_normal)) * scale
    errors = (abs(v - e) / max(float(np.spacing(np.abs(np.dtype(dtype).type(float(e))))), least)
              for v, e in zip(values, exact, strict=True))
    return max(float(error) if error == error else float("inf") for error in errors)
