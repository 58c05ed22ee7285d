"""Multiclass losses as the competitors write them; z is a row of scores, q its softmax, t a row of targets, y a label.
Where torch and jax have the same words for a formula, it is written once, for `xp`, which is either."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

from .cases import Array, Case

CLASSES = 3, 10, 100, 1000, 32_000, 128_256  # the last two are vocabularies of language models


def softmax(z: Array) -> tuple[Array, Array, Array]:
    """Scores less the largest of each row, their exponentials, and the sums of these, as a column."""
    d = z - z.max(axis=1, keepdims=True)
    e = np.exp(d)
    return d, e, e.sum(axis=1, keepdims=True)


# ---- losses of the target's probability ------------------------------------------------------------------------------
# A formula takes log q_t, and gives the loss; in NumPy and mpmath also its derivative by log q_t.

def of_target(formula: Callable[..., Any], y: Array, z: Array) -> tuple[Any, Array]:
    d, e, total = softmax(z)
    place = np.arange(len(y)), y
    loss, slope = formula(np, d[place] - np.log(total[:, 0]))
    slope = slope / len(y)
    e *= -slope[:, None] / total
    e[place] += slope
    return np.mean(loss), e


def of_target_torch(formula: Callable[..., Any], torch: Any, y: Any, z: Any) -> Any:
    return formula(torch, torch.log_softmax(z, 1).gather(1, y[:, None])).mean()


def of_target_jax(formula: Callable[..., Any], jnp: Any, y: Any, z: Any) -> Any:
    # faster than take_along_axis, one_hot and a mask, for any number of classes
    return formula(jnp, z[jnp.arange(len(z)), y] - log_sum_exp_jax(jnp, z)).mean()


def log_sum_exp_jax(jnp: Any, z: Any) -> Any:
    # half the time of jax.nn.log_softmax, since no gradient goes through the largest score
    from jax.lax import stop_gradient

    most = stop_gradient(z.max(1))
    return most + jnp.log(jnp.sum(jnp.exp(z - most[:, None]), 1))


def of_target_exact(formula: Callable[..., Any], mp: Any, y: Any, *z: Any) -> Any:
    return formula(mp, mp.log(softmax_exact(mp, z)[int(y)]))[0]


def of_target_exact_gradient(formula: Callable[..., Any], mp: Any, y: Any, *z: Any) -> list[tuple[Any, ...]]:
    q = softmax_exact(mp, z)
    slope = formula(mp, mp.log(q[int(y)]))[1]
    return [(slope * (1 - share),) if c == y else (-slope * share,) for c, share in enumerate(q)]


def softmax_exact(mp: Any, z: Any) -> list[Any]:
    e = [mp.exp(score) for score in z]
    total = mp.fsum(e)
    return [share / total for share in e]


def cross_entropy(xp: Any, log_q: Any) -> tuple[Any, Any]:
    return -log_q, 0 * log_q - 1


def focal(xp: Any, log_q: Any) -> tuple[Any, Any]:
    q = xp.exp(log_q)
    rest = -xp.expm1(log_q)
    return -(rest * rest) * log_q, rest * (2 * q * log_q - rest)


def generalized_cross_entropy(xp: Any, log_q: Any) -> tuple[Any, Any]:
    return -xp.expm1(log_q / 2) * 2, -xp.exp(log_q / 2)


def poly_cross_entropy(xp: Any, log_q: Any) -> tuple[Any, Any]:
    return -log_q - xp.expm1(log_q), -1 - xp.exp(log_q)


def target_case(name: str, loss: fl.Loss, formula: Callable[..., tuple[Any, Any]], classes: int = 10,
                **options: Any) -> Case:
    def value(xp: Any, log_q: Any) -> Any:
        return formula(xp, log_q)[0]

    return Case(f"{name}, C = {classes}", loss, partial(of_target, formula), classes=classes, transcendental=True,
                exact=partial(of_target_exact, formula), exact_gradient=partial(of_target_exact_gradient, formula),
                **{"torch": partial(of_target_torch, value), "jax": partial(of_target_jax, value)} | options)


# ---- losses of all probabilities -------------------------------------------------------------------------------------

def of_all(formula: Callable[..., Any], t: Array, z: Array) -> tuple[Any, Array]:
    """`formula` gives the sum of the losses, and their derivatives by q."""
    _, q, total = softmax(z)
    q /= total
    loss, slopes = formula(t, q)
    slopes -= np.einsum("ij,ij->i", q, slopes)[:, None]
    q /= len(z)
    return loss / len(z), np.multiply(q, slopes, out=q)


def of_all_torch(formula: Callable[..., Any], torch: Any, t: Any, z: Any) -> Any:
    return formula(torch, t, torch.log_softmax(z, 1)) / len(z)


def of_all_jax(formula: Callable[..., Any], jnp: Any, t: Any, z: Any) -> Any:
    return formula(jnp, t, z - log_sum_exp_jax(jnp, z)[:, None]) / len(z)


def of_all_exact(formula: Callable[..., Any], mp: Any, t: list[Any], *z: Any) -> tuple[Any, ...]:
    return formula(mp, t, softmax_exact(mp, z))[0]


def of_all_exact_gradient(formula: Callable[..., Any], mp: Any, t: list[Any], *z: Any) -> list[tuple[Any, ...]]:
    """`formula` gives the terms of the loss, and those of its derivative by each q."""
    q = softmax_exact(mp, z)
    slopes = formula(mp, t, q)[1]
    mean = [share * term for share, terms in zip(q, slopes, strict=True) for term in terms]
    return [(*(share * term for term in terms), *(-share * term for term in mean))
            for share, terms in zip(q, slopes, strict=True)]


def soft_cross_entropy(t: Array, z: Array) -> tuple[Any, Array]:
    d, e, total = softmax(z)
    d -= np.log(total)
    e /= total
    e -= t
    e /= len(z)
    return -np.einsum("ij,ij->", t, d) / len(z), e


def soft_cross_entropy_jax(jnp: Any, t: Any, z: Any) -> Any:
    return (log_sum_exp_jax(jnp, z) * t.sum(1) - (t * z).sum(1)).mean()


def soft_cross_entropy_exact(mp: Any, t: list[Any], *z: Any) -> Any:
    return -mp.fsum(v * mp.log(share) for v, share in zip(t, softmax_exact(mp, z), strict=True))


def soft_cross_entropy_exact_gradient(mp: Any, t: list[Any], *z: Any) -> list[tuple[Any, ...]]:
    mass = mp.fsum(t)
    return [(mass * share, -v) for v, share in zip(t, softmax_exact(mp, z), strict=True)]


def kl_divergence(t: Array, z: Array) -> tuple[Any, Array]:
    loss, gradient = soft_cross_entropy(t, z)
    return loss + np.einsum("ij,ij->", t, np.log(t)) / len(z), gradient


def kl_divergence_torch(torch: Any, t: Any, z: Any) -> Any:
    return torch.nn.functional.kl_div(torch.log_softmax(z, 1), t, reduction="batchmean")


def kl_divergence_jax(jnp: Any, t: Any, z: Any) -> Any:
    return (t * jnp.log(t)).sum() / len(z) + soft_cross_entropy_jax(jnp, t, z)


def kl_divergence_exact(mp: Any, t: list[Any], *z: Any) -> tuple[Any, ...]:
    return soft_cross_entropy_exact(mp, t, *z), *(v * mp.log(v) for v in t)


def jensen_shannon(t: Array, q: Array) -> tuple[Any, Array]:
    middle = (t + q) / 2
    slopes = np.log(q / middle) / 2
    return np.einsum("ij,ij->", t, np.log(t / middle)) / 2 + np.einsum("ij,ij->", q, slopes), slopes


def jensen_shannon_xp(xp: Any, t: Any, log_q: Any) -> Any:
    q = xp.exp(log_q)
    log_middle = xp.log((t + q) / 2)
    return (t * (xp.log(t) - log_middle) + q * (log_q - log_middle)).sum() / 2


def jensen_shannon_exact(mp: Any, t: list[Any], q: list[Any]) -> tuple[Any, Any]:
    middle = [(v + share) / 2 for v, share in zip(t, q, strict=True)]
    slopes = [mp.log(share / m) / 2 for share, m in zip(q, middle, strict=True)]
    loss = *(v * mp.log(v / m) / 2 for v, m in zip(t, middle, strict=True)), *map(mp.fmul, q, slopes)
    # rounding q moves its logarithm by an ulp of 1, however near it is to 0
    return loss, [(slope + 0.5, -0.5) for slope in slopes]


def brier(t: Array, q: Array) -> tuple[Any, Array]:
    d = q - t
    return np.einsum("ij,ij->", d, d), 2 * d


def brier_xp(xp: Any, t: Any, log_q: Any) -> Any:
    return ((xp.exp(log_q) - t) ** 2).sum()


def brier_exact(mp: Any, t: list[Any], q: list[Any]) -> tuple[Any, Any]:
    pairs = list(zip(t, q, strict=True))
    return tuple((share - v) * term for v, share in pairs for term in (share, -v)), [(2 * s, -2 * v) for v, s in pairs]


def earth_mover(t: Array, q: Array) -> tuple[Any, Array]:
    d = np.cumsum(q - t, axis=1)
    return np.einsum("ij,ij->", d, d), 2 * np.cumsum(d[:, ::-1], axis=1)[:, ::-1]


def earth_mover_xp(xp: Any, t: Any, log_q: Any) -> Any:
    return (xp.cumsum(xp.exp(log_q) - t, 1) ** 2).sum()


def earth_mover_exact(mp: Any, t: list[Any], q: list[Any]) -> tuple[Any, Any]:
    pairs = [(mp.fsum(t[:k]), mp.fsum(q[:k])) for k in range(1, len(t) + 1)]
    loss = tuple((below - below_t) * term for below_t, below in pairs for term in (below, -below_t))
    return loss, [tuple(2 * term for below_t, below in pairs[c:] for term in (below, -below_t)) for c in range(len(t))]


def soft_case(name: str, loss: fl.Loss, numpy: Callable[..., Any], formula: Callable[..., Any],
              exact: Callable[..., Any], classes: int = 10) -> Case:
    return Case(f"{name}, C = {classes}", loss, partial(of_all, numpy), classes=classes, soft=True,
                transcendental=True, exact=partial(of_all_exact, exact),
                exact_gradient=partial(of_all_exact_gradient, exact), torch=partial(of_all_torch, formula),
                jax=partial(of_all_jax, formula))


# ---- losses of margins -----------------------------------------------------------------------------------------------

def crammer_singer(y: Array, z: Array) -> tuple[Any, Array]:
    rows = np.arange(len(y))
    others = z.copy()
    others[rows, y] = -np.inf
    best = others.argmax(axis=1)
    slack = 1 - z[rows, y] + others[rows, best]
    slope = (slack > 0) / z.dtype.type(len(y))
    gradient = np.zeros_like(z)
    gradient[rows, best] = slope
    gradient[rows, y] = -slope
    return np.mean(np.maximum(slack, 0)), gradient


def crammer_singer_torch(torch: Any, y: Any, z: Any) -> Any:
    label = y[:, None]
    return torch.relu(1 - z.gather(1, label) + z.scatter(1, label, -torch.inf).max(1, keepdim=True).values).mean()


def crammer_singer_jax(jnp: Any, y: Any, z: Any) -> Any:
    label = y[:, None]
    others = jnp.where(jnp.arange(z.shape[1]) == label, -jnp.inf, z).max(1, keepdims=True)
    return jnp.maximum(1 - jnp.take_along_axis(z, label, 1) + others, 0).mean()


def crammer_singer_exact(mp: Any, y: Any, *z: Any) -> Any:
    return max(1 - z[int(y)] + max(score for c, score in enumerate(z) if c != y), 0)


def weston_watkins(y: Array, z: Array) -> tuple[Any, Array]:
    place = np.arange(len(y)), y
    slack = z + (1 - z[place])[:, None]
    slack[place] = 0
    np.maximum(slack, 0, out=slack)
    gradient = (slack > 0) / z.dtype.type(len(y))
    gradient[place] = -gradient.sum(axis=1)
    return slack.sum() / len(y), gradient


def weston_watkins_torch(torch: Any, y: Any, z: Any) -> Any:
    return z.shape[1] * torch.nn.functional.multi_margin_loss(z, y)


def weston_watkins_jax(jnp: Any, y: Any, z: Any) -> Any:
    label = y[:, None]
    slack = jnp.maximum(z + (1 - jnp.take_along_axis(z, label, 1)), 0)
    return jnp.where(jnp.arange(z.shape[1]) == label, 0, slack).sum() / len(z)


def weston_watkins_exact(mp: Any, y: Any, *z: Any) -> Any:
    return mp.fsum(max(1 - z[int(y)] + score, 0) for c, score in enumerate(z) if c != y)


def multilabel_margin(y: Array, z: Array) -> tuple[Any, Array]:
    slack = z[:, None, :] - z[:, :, None]  # of each pair of classes
    slack += 1
    active = y[:, :, None] & ~y[:, None, :]
    active &= slack > 0
    gradient = (active.sum(axis=1) - active.sum(axis=2)) / z.dtype.type(z.size)
    return slack.sum(where=active) / z.size, gradient


def multilabel_margin_indices(y: Array) -> Array:
    """The positive classes of each row, and then -1."""
    order = np.argsort(~y, axis=1, kind="stable")
    return np.where(np.take_along_axis(y, order, 1), order, -1)


def multilabel_margin_jax(jnp: Any, y: Any, z: Any) -> Any:
    slack = jnp.maximum(1 + z[:, None, :] - z[:, :, None], 0)
    return jnp.where(y[:, :, None] & ~y[:, None, :], slack, 0).sum() / z.size


def multilabel_margin_exact(mp: Any, y: list[Any], *z: Any) -> Any:
    return mp.fsum(max(1 - (z[j] - z[i]), 0) for j in range(len(z)) for i in range(len(z)) if y[j] > y[i]) / len(z)


CASES = [
    *(target_case("cross_entropy", fl.CrossEntropy(), cross_entropy, classes, torch_own=True,
                  torch=lambda torch, y, z: torch.nn.functional.cross_entropy(z, y),
                  sklearn=lambda losses, classes=classes: losses.HalfMultinomialLoss(n_classes=classes))
      for classes in CLASSES),
    *(Case(f"cross_entropy, soft, C = {classes}", fl.CrossEntropy(), soft_cross_entropy, classes=classes, soft=True,
           exact=soft_cross_entropy_exact, exact_gradient=soft_cross_entropy_exact_gradient,
           torch=lambda torch, t, z: torch.nn.functional.cross_entropy(z, t), torch_own=True,
           jax=soft_cross_entropy_jax, transcendental=True)
      for classes in CLASSES),
    target_case("focal", fl.Focal(), focal),
    Case("multiclass_hinge, C = 10", fl.MulticlassHinge(), crammer_singer, classes=10, exact=crammer_singer_exact,
         torch=crammer_singer_torch, jax=crammer_singer_jax),
    Case("weston_watkins, C = 10", fl.MulticlassHinge("weston_watkins"), weston_watkins, classes=10,
         exact=weston_watkins_exact, torch=weston_watkins_torch, torch_own=True, jax=weston_watkins_jax),
    Case("kl_divergence, C = 10", fl.KLDivergence(), kl_divergence, classes=10, soft=True, exact=kl_divergence_exact,
         exact_gradient=soft_cross_entropy_exact_gradient, torch=kl_divergence_torch, torch_own=True,
         jax=kl_divergence_jax, transcendental=True),
    soft_case("jensen_shannon", fl.JensenShannon(), jensen_shannon, jensen_shannon_xp, jensen_shannon_exact),
    soft_case("earth_mover", fl.EarthMover(), earth_mover, earth_mover_xp, earth_mover_exact),
    soft_case("brier", fl.Brier(), brier, brier_xp, brier_exact),
    target_case("generalized_cross_entropy", fl.GeneralizedCrossEntropy(q=0.5), generalized_cross_entropy),
    target_case("poly_cross_entropy", fl.PolyCrossEntropy(), poly_cross_entropy),
    Case("multilabel_margin, C = 10", fl.MultilabelMargin(), multilabel_margin, classes=10,
         exact=multilabel_margin_exact, torch=lambda torch, y, z: torch.nn.functional.multilabel_margin_loss(z, y),
         torch_own=True, torch_targets=multilabel_margin_indices, jax=multilabel_margin_jax),
]
