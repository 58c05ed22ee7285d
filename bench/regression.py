"""Regression losses as the competitors write them; r = z - y. Where torch and jax have the same words for a formula, it
is written once, for `xp`, which is either."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastloss as fl

from .cases import Array, Case

# Exact in float32, so that the accuracy of the formulas is measured and not the rounding of a parameter.
DELTA = 1.0
BETA = 0.5
TAU = 0.75
FAIR = 2.0
EPSILON = 0.5
LEAST = 2.0**-52
ALPHA = 0.5
TUKEY = 4.6875
POWER = 1.5
DISPERSION = 0.5


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


def huber_exact(mp: Any, y: Any, z: Any) -> Any:
    a = abs(z - y)
    return a**2 / 2 if a <= DELTA else DELTA * a - mp.mpf(DELTA) ** 2 / 2


def smooth_l1(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    clipped = np.clip(r, -BETA, BETA)
    return np.mean(clipped * (r - 0.5 * clipped)) / BETA, clipped / (BETA * z.size)


def smooth_l1_jax(jnp: Any, y: Any, z: Any) -> Any:
    a = jnp.abs(z - y)
    return jnp.mean(jnp.where(a < BETA, 0.5 / BETA * a * a, a - 0.5 * BETA))


def smooth_l1_exact(mp: Any, y: Any, z: Any) -> Any:
    a = abs(z - y)
    return a**2 / (2 * BETA) if a < BETA else a - mp.mpf(BETA) / 2


def quantile(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    slope = 0.5 * np.sign(r) + (0.5 - TAU)
    return np.mean(slope * r), slope / z.size


def expectile(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    weighed = 0.5 * r + (0.5 - TAU) * np.abs(r)
    return np.mean(weighed * r), (2 / z.size) * weighed


def expectile_xp(xp: Any, y: Any, z: Any) -> Any:
    r = z - y
    return (xp.where(r > 0, (1 - TAU) * r, TAU * r) * r).mean()


def pseudo_huber(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    square = r * r
    h = np.sqrt(1 + square / DELTA**2)
    return np.mean(square / (1 + h)), r / h / z.size


def pseudo_huber_xp(xp: Any, y: Any, z: Any) -> Any:
    return (DELTA**2 * (xp.sqrt(1 + ((z - y) / DELTA) ** 2) - 1)).mean()


def pseudo_huber_exact(mp: Any, y: Any, z: Any) -> Any:
    return DELTA**2 * (mp.sqrt(1 + ((z - y) / DELTA) ** 2) - 1)


def log_cosh(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    a = np.abs(r)
    return np.mean(a + np.log1p(np.exp(-2 * a))) - math.log(2), np.tanh(r) / z.size


def log_cosh_torch(torch: Any, y: Any, z: Any) -> Any:
    r = z - y
    return (r + torch.nn.functional.softplus(-2 * r)).mean() - math.log(2)


def log_cosh_jax(jnp: Any, y: Any, z: Any) -> Any:
    a = jnp.abs(z - y)
    return jnp.mean(a + jnp.log1p(jnp.exp(-2 * a))) - math.log(2)


def fair(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    x = np.abs(r) / FAIR
    return FAIR**2 * np.mean(x - np.log1p(x)), r / (1 + x) / z.size


def fair_xp(xp: Any, y: Any, z: Any) -> Any:
    x = xp.abs(z - y) / FAIR
    return FAIR**2 * (x - xp.log1p(x)).mean()


def fair_exact(mp: Any, y: Any, z: Any) -> Any:
    x = abs(z - y) / FAIR
    return FAIR**2 * (x - mp.log1p(x))


def epsilon_insensitive(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    excess = r - np.clip(r, -EPSILON, EPSILON)
    return np.mean(np.abs(excess)), np.sign(excess) / z.size


def squared_epsilon_insensitive(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    excess = r - np.clip(r, -EPSILON, EPSILON)
    return np.mean(excess * excess), (2 / z.size) * excess


def squared_log_error(y: Array, z: Array) -> tuple[Any, Array]:
    d = np.log1p(z) - np.log1p(y)
    return np.mean(d * d), (2 / z.size) * d / (1 + z)


def absolute_percentage_error(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    inverse = 1 / np.maximum(np.abs(y), LEAST)
    return np.mean(np.abs(r) * inverse), np.sign(r) * inverse / z.size


def absolute_percentage_error_xp(xp: Any, y: Any, z: Any) -> Any:
    return (xp.abs(z - y) / xp.clip(xp.abs(y), min=LEAST)).mean()


def robust(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    x = r * r / abs(ALPHA - 2)
    rise = np.expm1(ALPHA / 2 * np.log1p(x))
    return abs(ALPHA - 2) / ALPHA * np.mean(rise), r * (1 + rise) / (1 + x) / z.size


def robust_xp(xp: Any, y: Any, z: Any) -> Any:
    r = z - y
    return abs(ALPHA - 2) / ALPHA * ((r * r / abs(ALPHA - 2) + 1) ** (ALPHA / 2) - 1).mean()


def robust_exact(mp: Any, y: Any, z: Any) -> Any:
    return abs(ALPHA - 2) / ALPHA * (((z - y) ** 2 / abs(ALPHA - 2) + 1) ** (ALPHA / 2) - 1)


def tukey(y: Array, z: Array) -> tuple[Any, Array]:
    r = z - y
    u = np.minimum(r * r / TUKEY**2, 1)
    v = 1 - u
    square = v * v
    return TUKEY**2 / 6 * np.mean(u * (1 + v + square)), r * square / z.size


def tukey_xp(xp: Any, y: Any, z: Any) -> Any:
    u = xp.clip(((z - y) / TUKEY) ** 2, max=1)
    return TUKEY**2 / 6 * (1 - (1 - u) ** 3).mean()


def tukey_exact(mp: Any, y: Any, z: Any) -> Any:
    u = min((z - y) ** 2 / TUKEY**2, 1)
    return mp.mpf(TUKEY) ** 2 / 6 * u * (3 - 3 * u + u**2)


def poisson(y: Array, z: Array) -> tuple[Any, Array]:
    e = np.exp(z)
    return np.mean(e - y * z), (e - y) / z.size


def gamma(y: Array, z: Array) -> tuple[Any, Array]:
    ratio = y * np.exp(-z)
    return np.mean(z + ratio), (1 - ratio) / z.size


def tweedie(y: Array, z: Array) -> tuple[Any, Array]:
    a, b = y * np.exp((1 - POWER) * z), np.exp((2 - POWER) * z)
    return np.mean(b / (2 - POWER) - a / (1 - POWER)), (b - a) / z.size


def tweedie_xp(xp: Any, y: Any, z: Any) -> Any:
    return (xp.exp((2 - POWER) * z) / (2 - POWER) - y * xp.exp((1 - POWER) * z) / (1 - POWER)).mean()


def tweedie_exact(mp: Any, y: Any, z: Any) -> Any:
    return -y * mp.exp((1 - POWER) * z) / (1 - POWER), mp.exp((2 - POWER) * z) / (2 - POWER)


def tweedie_identity(y: Array, z: Array) -> tuple[Any, Array]:
    a = z ** (1 - POWER)
    constant = y ** (2 - POWER) / ((1 - POWER) * (2 - POWER))
    return np.mean(constant + a * (z / (2 - POWER) - y / (1 - POWER))), a * (1 - y / z) / z.size


def tweedie_identity_terms(y: Any, z: Any) -> tuple[Any, Any, Any]:
    return (y ** (2 - POWER) / ((1 - POWER) * (2 - POWER)), -y * z ** (1 - POWER) / (1 - POWER),
            z ** (2 - POWER) / (2 - POWER))


def tweedie_identity_xp(xp: Any, y: Any, z: Any) -> Any:
    return sum(tweedie_identity_terms(y, z)).mean()


def negative_binomial(y: Array, z: Array) -> tuple[Any, Array]:
    t = z + math.log(DISPERSION)
    e = np.exp(-np.abs(t))
    total = y + 1 / DISPERSION
    loss = total * (np.maximum(t, 0) + np.log1p(e)) - y * z
    return np.mean(loss), (total * np.where(t >= 0, 1, e) / (1 + e) - y) / z.size


def negative_binomial_torch(torch: Any, y: Any, z: Any) -> Any:
    return ((y + 1 / DISPERSION) * torch.nn.functional.softplus(z + math.log(DISPERSION)) - y * z).mean()


def negative_binomial_jax(jnp: Any, y: Any, z: Any) -> Any:
    t = z + math.log(DISPERSION)
    return jnp.mean((y + 1 / DISPERSION) * (jnp.maximum(t, 0) + jnp.log1p(jnp.exp(-jnp.abs(t)))) - y * z)


def negative_binomial_exact(mp: Any, y: Any, z: Any) -> Any:
    # y·log(1 + a·e^z) - y·z in one term, which is all that is left of them where z is large
    return y * mp.log(DISPERSION + mp.exp(-z)), mp.log1p(DISPERSION * mp.exp(z)) / DISPERSION


def gaussian_nll(y: Array, z: Array) -> tuple[Any, Array]:
    mean, log_variance = z[:, 0], z[:, 1]
    inverse = np.exp(-0.5 * log_variance)
    x = (mean - y) * inverse
    half_square = 0.5 * x * x
    gradient = np.empty_like(z)
    np.divide(x * inverse, len(z), out=gradient[:, 0])
    np.divide(0.5 - half_square, len(z), out=gradient[:, 1])
    return np.mean(0.5 * log_variance + half_square), gradient


def gaussian_nll_jax(jnp: Any, y: Any, z: Any) -> Any:
    mean, log_variance = z[:, 0], z[:, 1]
    return 0.5 * jnp.mean(log_variance + (mean - y) ** 2 * jnp.exp(-log_variance))


CASES = [
    Case(
        "squared_error",
        fl.SquaredError(),
        squared_error,
        exact=lambda mp, y, z: (z - y) ** 2,
        torch=lambda torch, y, z: torch.nn.functional.mse_loss(z, y),
        torch_own=True,
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
        torch_own=True,
        jax=lambda jnp, y, z: jnp.mean(jnp.abs(z - y)),
        sklearn=lambda losses: losses.AbsoluteError(),
    ),
    Case(
        "huber",
        fl.Huber(DELTA),
        huber,
        exact=huber_exact,
        torch=lambda torch, y, z: torch.nn.functional.huber_loss(z, y, delta=DELTA),
        torch_own=True,
        jax=huber_jax,
        sklearn=lambda losses: losses.HuberLoss(delta=DELTA),
        all_sizes=True,
    ),
    Case(
        "smooth_l1",
        fl.SmoothL1(BETA),
        smooth_l1,
        exact=smooth_l1_exact,
        torch=lambda torch, y, z: torch.nn.functional.smooth_l1_loss(z, y, beta=BETA),
        torch_own=True,
        jax=smooth_l1_jax,
        sklearn=lambda losses: losses.HuberLoss(delta=BETA),
        sklearn_factor=1 / BETA,
    ),
    Case(
        "pseudo_huber",
        fl.PseudoHuber(DELTA),
        pseudo_huber,
        exact=pseudo_huber_exact,
        torch=pseudo_huber_xp,
        jax=pseudo_huber_xp,
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
    Case(
        "expectile",
        fl.Expectile(TAU),
        expectile,
        exact=lambda mp, y, z: (1 - TAU if z > y else TAU) * (z - y) ** 2,
        torch=expectile_xp,
        jax=expectile_xp,
    ),
    Case(
        "log_cosh",
        fl.LogCosh(),
        log_cosh,
        exact=lambda mp, y, z: mp.log(mp.cosh(z - y)),
        torch=log_cosh_torch,
        jax=log_cosh_jax,
        transcendental=True,
    ),
    Case(
        "fair",
        fl.Fair(FAIR),
        fair,
        exact=fair_exact,
        torch=fair_xp,
        jax=fair_xp,
        transcendental=True,
    ),
    Case(
        "epsilon_insensitive",
        fl.EpsilonInsensitive(EPSILON),
        epsilon_insensitive,
        exact=lambda mp, y, z: max(abs(z - y) - EPSILON, 0),
        torch=lambda torch, y, z: torch.clip(torch.abs(z - y) - EPSILON, min=0).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.maximum(jnp.abs(z - y) - EPSILON, 0)),
    ),
    Case(
        "squared_epsilon_insensitive",
        fl.SquaredEpsilonInsensitive(EPSILON),
        squared_epsilon_insensitive,
        exact=lambda mp, y, z: max(abs(z - y) - EPSILON, 0) ** 2,
        torch=lambda torch, y, z: (torch.clip(torch.abs(z - y) - EPSILON, min=0) ** 2).mean(),
        jax=lambda jnp, y, z: jnp.mean(jnp.maximum(jnp.abs(z - y) - EPSILON, 0) ** 2),
    ),
    Case(
        "squared_log_error",
        fl.SquaredLogError(),
        squared_log_error,
        exact=lambda mp, y, z: (mp.log1p(z) - mp.log1p(y)) ** 2,
        torch=lambda torch, y, z: torch.nn.functional.mse_loss(torch.log1p(z), torch.log1p(y)),
        jax=lambda jnp, y, z: jnp.mean((jnp.log1p(z) - jnp.log1p(y)) ** 2),
        transcendental=True,
    ),
    Case(
        "absolute_percentage_error",
        fl.AbsolutePercentageError(LEAST),
        absolute_percentage_error,
        exact=lambda mp, y, z: abs(z - y) / max(abs(y), LEAST),
        torch=absolute_percentage_error_xp,
        jax=absolute_percentage_error_xp,
    ),
    Case(
        "robust",  # with alpha = 1 and scale = 1 it is the pseudo-Huber loss with delta = 1
        fl.Robust(1.0, DELTA),
        pseudo_huber,
        exact=pseudo_huber_exact,
        torch=pseudo_huber_xp,
        jax=pseudo_huber_xp,
    ),
    Case(
        "robust_0.5",  # a power that is no root
        fl.Robust(ALPHA),
        robust,
        exact=robust_exact,
        torch=robust_xp,
        jax=robust_xp,
        transcendental=True,
    ),
    Case(
        "tukey",
        fl.Tukey(TUKEY),
        tukey,
        exact=tukey_exact,
        torch=tukey_xp,
        jax=tukey_xp,
    ),
    Case(
        "poisson",
        fl.Poisson(),
        poisson,
        exact=lambda mp, y, z: (mp.exp(z), -y * z),
        torch=lambda torch, y, z: torch.nn.functional.poisson_nll_loss(z, y),
        torch_own=True,
        jax=lambda jnp, y, z: jnp.mean(jnp.exp(z) - y * z),
        sklearn=lambda losses: losses.HalfPoissonLoss(),
        transcendental=True,
    ),
    Case(
        "gamma",
        fl.Gamma(),
        gamma,
        exact=lambda mp, y, z: (z, y * mp.exp(-z)),
        torch=lambda torch, y, z: (z + y * torch.exp(-z)).mean(),
        jax=lambda jnp, y, z: jnp.mean(z + y * jnp.exp(-z)),
        sklearn=lambda losses: losses.HalfGammaLoss(),
        transcendental=True,
    ),
    Case(
        "tweedie",
        fl.Tweedie(POWER),
        tweedie,
        exact=tweedie_exact,
        torch=tweedie_xp,
        jax=tweedie_xp,
        sklearn=lambda losses: losses.HalfTweedieLoss(power=POWER),
        transcendental=True,
    ),
    Case(
        "tweedie_identity",
        fl.Tweedie(POWER, link="identity"),
        tweedie_identity,
        exact=lambda mp, y, z: tweedie_identity_terms(y, z),
        torch=tweedie_identity_xp,
        jax=tweedie_identity_xp,
        sklearn=lambda losses: losses.HalfTweedieLossIdentity(power=POWER),
        transcendental=True,
    ),
    Case(
        "negative_binomial",
        fl.NegativeBinomial(DISPERSION),
        negative_binomial,
        exact=negative_binomial_exact,
        torch=negative_binomial_torch,
        jax=negative_binomial_jax,
        transcendental=True,
    ),
    Case(
        "gaussian_nll",
        fl.GaussianNLL(),
        gaussian_nll,
        exact=lambda mp, y, mean, log_variance: (log_variance / 2, (mean - y) ** 2 / (2 * mp.exp(log_variance))),
        torch=lambda torch, y, z: torch.nn.functional.gaussian_nll_loss(z[:, 0], y, torch.exp(z[:, 1])),
        torch_own=True,
        jax=gaussian_nll_jax,
        columns=2,
        transcendental=True,
    ),
]
