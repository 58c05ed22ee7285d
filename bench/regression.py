"""Regression losses as the competitors write them; r = z - y."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastloss as fl

from .cases import Array, Case

# Exact in float32, so that the accuracy of the formulas is measured and not the rounding of a parameter.
DELTA = 1.0
TAU = 0.75


def squared_error(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    return np.mean(r * r), (2 / z.size) * r


def absolute_error(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    return np.mean(np.abs(r)), np.sign(r) / z.size


def huber(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    clipped = np.clip(r, -DELTA, DELTA)
    return np.mean(clipped * (r - 0.5 * clipped)), clipped / z.size


def huber_jax(jnp: Any, y: Any, z: Any) -> Any:
    a = jnp.abs(z - y)
    return jnp.mean(jnp.where(a <= DELTA, 0.5 * a * a, DELTA * a - 0.5 * DELTA**2))


def quantile(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    return np.mean(np.maximum(-TAU * r, (1 - TAU) * r)), np.where(r > 0, 1 - TAU, np.where(r < 0, -TAU, 0)) / z.size


def huber_exact(mp: Any, y: Any, z: Any) -> Any:
    a = abs(z - y)
    return a**2 / 2 if a <= DELTA else DELTA * a - mp.mpf(DELTA) ** 2 / 2


CASES = [
    Case(
        "squared_error",
        fl.SquaredError(),
        squared_error,
        exact=lambda mp, y, z: (z - y) ** 2,
        torch=lambda torch, y, z: torch.nn.functional.mse_loss(z, y),
        jax=lambda jnp, y, z: jnp.mean((z - y) ** 2),
        sklearn=lambda losses: losses.HalfSquaredError(),
        sklearn_factor=2.0,
    ),
    Case(
        "absolute_error",
        fl.AbsoluteError(),
        absolute_error,
        exact=lambda mp, y, z: abs(z - y),
        torch=lambda torch, y, z: torch.nn.functional.l1_loss(z, y),
        jax=lambda jnp, y, z: jnp.mean(jnp.abs(z - y)),
        sklearn=lambda losses: losses.AbsoluteError(),
    ),
    Case(
        "huber",
        fl.Huber(DELTA),
        huber,
        exact=huber_exact,
        torch=lambda torch, y, z: torch.nn.functional.huber_loss(z, y, delta=DELTA),
        jax=huber_jax,
        sklearn=lambda losses: losses.HuberLoss(delta=DELTA),
    ),
    Case(
        "quantile",
        fl.Quantile(TAU),
        quantile,
        exact=lambda mp, y, z: max(TAU * (y - z), (1 - TAU) * (z - y)),
        torch=lambda torch, y, z: torch.maximum(TAU * (y - z), (1 - TAU) * (z - y)).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.maximum(TAU * (y - z), (1 - TAU) * (z - y))),
        sklearn=lambda losses: losses.PinballLoss(quantile=TAU),
    ),
]
