"""Binary losses as the competitors write them; z is a raw score, m = ±z the margin. Where torch and jax have the same
words for a formula, it is written once, for `xp`, which is either."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

from .cases import Array, Case

CLIP = 0.0625  # exact in float32, which the usual 0.05 is not


def cross_entropy(y: Array, z: Array) -> tuple[Any, Array]:
    e = np.exp(-np.abs(z))
    loss = np.maximum(z, 0) - y * z + np.log1p(e)
    return np.mean(loss), (np.where(z >= 0, 1, e) / (1 + e) - y) / z.size


def cross_entropy_jax(jnp: Any, y: Any, z: Any) -> Any:
    # 3 times as fast as jax.nn.softplus(z) - y * z, and 5 times as optax's log_sigmoid of both signs
    return jnp.mean(jnp.maximum(z, 0) - y * z + jnp.log1p(jnp.exp(-jnp.abs(z))))


def soft_margin(y: Array, z: Array) -> tuple[Any, Array]:
    m = y * z
    e = np.exp(-np.abs(m))
    return np.mean(np.log1p(e) - np.minimum(m, 0)), -y * np.where(m >= 0, e, 1) / (1 + e) / z.size


def soft_margin_jax(jnp: Any, y: Any, z: Any) -> Any:
    m = y * z
    return jnp.mean(jnp.log1p(jnp.exp(-jnp.abs(m))) - jnp.minimum(m, 0))


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
        transcendental=True,
    )


# With the exponents of the paper, 0 for positives and 4 for negatives, which need no power.
def asymmetric_focal(y: Array, z: Array) -> tuple[Any, Array]:
    positive = y == 1
    e = np.exp(-np.abs(z))
    p = np.where(z >= 0, 1, e) / (1 + e)
    q = np.maximum(p - CLIP, 0)
    log_rest = np.log1p(-q)
    cube = q * q * q
    loss = np.where(positive, np.log1p(e) - np.minimum(z, 0), -cube * q * log_rest)
    return np.mean(loss), np.where(positive, p - 1, cube * (q / (1 - q) - 4 * log_rest) * p * (1 - p)) / z.size


def asymmetric_focal_torch(torch: Any, y: Any, z: Any) -> Any:
    q = torch.clamp(torch.sigmoid(z) - CLIP, min=0)
    return -(y * torch.nn.functional.logsigmoid(z) + (1 - y) * q**4 * torch.log1p(-q)).mean()


def asymmetric_focal_jax(jnp: Any, y: Any, z: Any) -> Any:
    e = jnp.exp(-jnp.abs(z))
    q = jnp.maximum(jnp.where(z >= 0, 1, e) / (1 + e) - CLIP, 0)
    return jnp.mean(jnp.where(y == 1, jnp.log1p(e) - jnp.minimum(z, 0), -(q**4) * jnp.log1p(-q)))


def asymmetric_focal_exact(mp: Any, y: Any, z: Any) -> Any:
    q = max(1 / (1 + mp.exp(-z)) - CLIP, 0)
    return mp.log1p(mp.exp(-z)) if y == 1 else -(q**4) * mp.log1p(-q)


def hinge(y: Array, z: Array) -> tuple[Any, Array]:
    slack = 1 - y * z
    return np.mean(np.maximum(slack, 0)), np.where(slack > 0, -y, 0) / z.size


def squared_hinge(y: Array, z: Array) -> tuple[Any, Array]:
    slack = np.maximum(1 - y * z, 0)
    return np.mean(slack * slack), (-2 / z.size) * y * slack


def perceptron(y: Array, z: Array) -> tuple[Any, Array]:
    m = y * z
    return -np.mean(np.minimum(m, 0)), np.where(m > 0, 0, -y) / z.size


def modified_huber(y: Array, z: Array) -> tuple[Any, Array]:
    slack = 1 - y * z
    clipped = np.clip(slack, 0, 2)
    return np.mean(clipped * (2 * slack - clipped)), (-2 / z.size) * y * clipped


def modified_huber_xp(xp: Any, y: Any, z: Any) -> Any:
    m = y * z
    return xp.where(m >= -1, xp.clip(1 - m, min=0) ** 2, -4 * m).mean()


def exponential(y: Array, z: Array) -> tuple[Any, Array]:
    e = np.exp(-y * z)
    return np.mean(e), -y * e / z.size


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
        torch_own=True,
        jax=cross_entropy_jax,
        sklearn=lambda losses: losses.HalfBinomialLoss(),
        transcendental=True,
        all_sizes=True,
    ),
    Case(
        "soft_margin",  # the binary cross-entropy, of labels -1 and 1
        fl.BinaryCrossEntropy(),
        soft_margin,
        exact=cross_entropy_exact,
        torch=lambda torch, y, z: torch.nn.functional.soft_margin_loss(z, y),
        torch_own=True,
        jax=soft_margin_jax,
        negative_label=-1,
        transcendental=True,
    ),
    focal_case("binary_focal", gamma=2.0),
    focal_case("binary_focal_2.5", gamma=2.5),  # a power that is not whole takes a logarithm more
    Case(
        "asymmetric_focal",
        fl.AsymmetricFocal(clip=CLIP),
        asymmetric_focal,
        exact=asymmetric_focal_exact,
        torch=asymmetric_focal_torch,
        jax=asymmetric_focal_jax,
        transcendental=True,
    ),
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
        "squared_hinge",
        fl.SquaredHinge(),
        squared_hinge,
        exact=lambda mp, y, z: max(1 - y * z, 0) ** 2,
        torch=lambda torch, y, z: (torch.clamp(1 - y * z, min=0) ** 2).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.maximum(1 - y * z, 0) ** 2),
        negative_label=-1,
    ),
    Case(
        "perceptron",
        fl.Perceptron(),
        perceptron,
        exact=lambda mp, y, z: max(-y * z, 0),
        torch=lambda torch, y, z: torch.relu(-y * z).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.maximum(-y * z, 0)),
        negative_label=-1,
    ),
    Case(
        "modified_huber",
        fl.ModifiedHuber(),
        modified_huber,
        exact=lambda mp, y, z: max(1 - y * z, 0) ** 2 if y * z >= -1 else -4 * y * z,
        torch=modified_huber_xp,
        jax=modified_huber_xp,
        negative_label=-1,
    ),
    Case(
        "exponential",
        fl.Exponential(),
        exponential,
        exact=lambda mp, y, z: mp.exp(-y * z),
        torch=lambda torch, y, z: torch.exp(-y * z).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.exp(-y * z)),
        sklearn=lambda losses: losses.ExponentialLoss(),
        negative_label=-1,
        transcendental=True,
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
        transcendental=True,
    ),
]
