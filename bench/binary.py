"""Binary losses as the competitors write them; z is a raw score, m = ±z the margin."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

from .cases import Array, Case


def cross_entropy(y: Array, z: Array) -> tuple[Any, Array]:
    e = np.exp(-np.abs(z))
    loss = np.maximum(z, 0) - y * z + np.log1p(e)
    return np.mean(loss), (np.where(z >= 0, 1, e) / (1 + e) - y) / z.size


def cross_entropy_jax(jnp: Any, y: Any, z: Any) -> Any:
    # 3 times as fast as jax.nn.softplus(z) - y * z, and 5 times as optax's log_sigmoid of both signs
    return jnp.mean(jnp.maximum(z, 0) - y * z + jnp.log1p(jnp.exp(-jnp.abs(z))))


def cross_entropy_exact(mp: Any, y: Any, z: Any) -> Any:
    return mp.log1p(mp.exp(-z if y == 1 else z))


def focal(y: Array, z: Array, *, gamma: float) -> tuple[Any, Array]:
    s = 2 * y - 1
    m = s * z
    e = np.exp(-np.abs(m))
    log_p = np.minimum(m, 0) - np.log1p(e)
    q = np.where(m >= 0, e, 1) / (1 + e)
    weight = q**gamma
    return -np.mean(weight * log_p), s * weight * (gamma * (1 - q) * log_p - q) / z.size


def focal_torch(torch: Any, y: Any, z: Any, *, gamma: float) -> Any:
    # as torchvision.ops.sigmoid_focal_loss
    p = torch.sigmoid(z)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    return (cross_entropy * (1 - p_t) ** gamma).mean()


def focal_jax(jnp: Any, y: Any, z: Any, *, gamma: float) -> Any:
    m = (2 * y - 1) * z
    e = jnp.exp(-jnp.abs(m))
    log_p = jnp.minimum(m, 0) - jnp.log1p(e)
    return -jnp.mean((jnp.where(m >= 0, e, 1) / (1 + e)) ** gamma * log_p)


def focal_exact(mp: Any, y: Any, z: Any, *, gamma: float) -> Any:
    m = z if y == 1 else -z
    return mp.log1p(mp.exp(-m)) / (1 + mp.exp(m)) ** gamma


def focal_case(name: str, gamma: float) -> Case:
    return Case(
        name,
        fl.BinaryFocal(gamma),
        partial(focal, gamma=gamma),
        exact=partial(focal_exact, gamma=gamma),
        torch=partial(focal_torch, gamma=gamma),
        jax=partial(focal_jax, gamma=gamma),
    )


def hinge(y: Array, z: Array) -> tuple[Any, Array]:
    slack = 1 - y * z
    return np.mean(np.maximum(slack, 0)), np.where(slack > 0, -y, 0) / z.size


def sharp(y: Array, z: Array) -> tuple[Any, Array]:
    h2 = z * z + 1
    h = np.sqrt(h2)
    return np.mean(1 - y * z / h), -y / (h2 * h) / z.size


def sharp_arctan(y: Array, z: Array) -> tuple[Any, Array]:
    return np.mean(1 - (2 / np.pi) * np.arctan(y * z)), (-2 / np.pi / z.size) * y / (1 + z * z)


CASES = [
    Case(
        "binary_cross_entropy",
        fl.BinaryCrossEntropy(),
        cross_entropy,
        exact=cross_entropy_exact,
        torch=lambda torch, y, z: torch.nn.functional.binary_cross_entropy_with_logits(z, y),
        jax=cross_entropy_jax,
        sklearn=lambda losses: losses.HalfBinomialLoss(),
    ),
    focal_case("binary_focal", gamma=2.0),
    focal_case("binary_focal_2.5", gamma=2.5),  # a power that is not whole takes a logarithm more
    Case(
        "hinge",
        fl.Hinge(),
        hinge,
        exact=lambda mp, y, z: max(1 - y * z, 0),
        torch=lambda torch, y, z: torch.clamp(1 - y * z, min=0).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.maximum(1 - y * z, 0)),
        negative_label=-1,
    ),
    Case(
        "sharp",
        fl.Sharp(),
        sharp,
        exact=lambda mp, y, z: 1 - y * z / mp.sqrt(z**2 + 1),
        torch=lambda torch, y, z: (1 - y * z * torch.rsqrt(z * z + 1)).mean(),
        jax=lambda jnp, y, z: jnp.mean(1 - y * z / jnp.sqrt(z * z + 1)),
        negative_label=-1,
    ),
    Case(
        "sharp_arctan",
        fl.Sharp("arctan"),
        sharp_arctan,
        exact=lambda mp, y, z: 1 - 2 / mp.pi * mp.atan(y * z),
        torch=lambda torch, y, z: (1 - (2 / np.pi) * torch.arctan(y * z)).mean(),
        jax=lambda jnp, y, z: jnp.mean(1 - (2 / np.pi) * jnp.arctan(y * z)),
        negative_label=-1,
    ),
]
