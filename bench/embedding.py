"""Embedding losses as the competitors write them: of distances d, and of rows of vectors."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

from .arrays import ArrayCase
from .cases import Array, Case

# ---- of distances ----------------------------------------------------------------------------------------------------


def contrastive(y: Array, d: Array) -> tuple[Any, Array]:
    short = np.maximum(1 - d, 0)
    return np.mean(np.where(y == 1, d * d, short * short)) / 2, np.where(y == 1, d, -short) / d.size


def hinge_embedding(y: Array, d: Array) -> tuple[Any, Array]:
    return np.mean(np.where(y == 1, d, np.maximum(1 - d, 0))), np.where(y == 1, 1, -(d < 1).astype(d.dtype)) / d.size


CASES = [
    Case(
        "contrastive",
        fl.Contrastive(),
        contrastive,
        exact=lambda mp, y, d: d**2 / 2 if y == 1 else max(1 - d, 0) ** 2 / 2,
        torch=lambda torch, y, d: (y * d**2 + (1 - y) * torch.clamp(1 - d, min=0) ** 2).mean() / 2,
        jax=lambda jnp, y, d: jnp.mean(y * d**2 + (1 - y) * jnp.maximum(1 - d, 0) ** 2) / 2,
    ),
    Case(
        "hinge_embedding",
        fl.HingeEmbedding(),
        hinge_embedding,
        exact=lambda mp, y, d: d if y == 1 else max(1 - d, 0),
        torch=lambda torch, y, d: torch.nn.functional.hinge_embedding_loss(d, y),
        torch_own=True,
        jax=lambda jnp, y, d: jnp.mean(jnp.where(y == 1, d, jnp.maximum(1 - d, 0))),
        negative_label=-1,
    ),
]

# ---- of vectors ------------------------------------------------------------------------------------------------------


def vectors(rng: np.random.Generator, dtype: str, *, n: int = 16384, d: int = 128, count: int = 2, near: float = 1.0
            ) -> list[Array]:
    """Some arrays of n vectors; the others are near the first."""
    first = rng.normal(size=(n, d))
    return [first.astype(dtype), *((first + near * rng.normal(size=(n, d))).astype(dtype) for _ in range(count - 1))]


def labelled(rng: np.random.Generator, dtype: str, *, negative: int, **options: Any) -> list[Array]:
    pair = vectors(rng, dtype, **options)
    return [np.where(rng.random(len(pair[0])) < 0.5, 1, negative).astype(dtype), *pair]


def ranked(rng: np.random.Generator, dtype: str) -> list[Array]:
    return [rng.choice([-1.0, 1.0], 10**6).astype(dtype), *(rng.normal(size=10**6).astype(dtype) for _ in range(2))]


def in_classes(rng: np.random.Generator, dtype: str) -> list[Array]:
    return [rng.integers(0, 100, 4096), *vectors(rng, dtype, n=4096, count=1)]


def latent(rng: np.random.Generator, dtype: str) -> list[Array]:
    return [0.3 * array for array in vectors(rng, dtype)]


def contrastive_pairs_torch(torch: Any, y: Any, x1: Any, x2: Any) -> Any:
    d = (x1 - x2).norm(dim=1)
    return (y * d**2 + (1 - y) * torch.clamp(5 - d, min=0) ** 2).mean() / 2


def contrastive_pairs_numpy(y: Array, x1: Array, x2: Array) -> tuple[Any, Array, Array]:
    r = x1 - x2
    d = np.sqrt(np.einsum("ij,ij->i", r, r))
    short = np.maximum(5 - d, 0)
    r *= np.where(y == 1, 1, -short / d)[:, None] / np.asarray(len(y), d.dtype)
    return np.mean(np.where(y == 1, d * d, short * short)) / 2, r, -r


def triplet_torch(torch: Any, a: Any, pos: Any, neg: Any) -> Any:
    return torch.nn.functional.triplet_margin_loss(a, pos, neg, eps=0)


def triplet_numpy(a: Array, pos: Array, neg: Array) -> tuple[Any, ...]:
    near, far = a - pos, a - neg
    d_near, d_far = (np.sqrt(np.einsum("ij,ij->i", r, r)) for r in (near, far))
    loss = np.maximum(d_near - d_far + 1, 0)
    share = (loss > 0) / np.asarray(len(a), a.dtype)
    near *= (share / d_near)[:, None]
    far *= (share / d_far)[:, None]
    return loss.mean(), near - far, -near, far


def cosine_embedding_torch(torch: Any, y: Any, x1: Any, x2: Any) -> Any:
    return torch.nn.functional.cosine_embedding_loss(x1, x2, y)


def cosine_similarity_torch(torch: Any, y: Any, z: Any) -> Any:
    return (1 - torch.nn.functional.cosine_similarity(y, z)).mean()


def margin_ranking_torch(torch: Any, y: Any, x1: Any, x2: Any) -> Any:
    return torch.nn.functional.margin_ranking_loss(x1, x2, y)


def similarities(torch: Any, x: Any, temperature: float) -> Any:
    """Of all rows with each other, without those of a row with itself."""
    x = torch.nn.functional.normalize(x)
    return (x @ x.T / temperature).fill_diagonal_(-torch.inf)


def nt_xent_torch(torch: Any, x1: Any, x2: Any) -> Any:
    n = len(x1)
    positives = torch.cat([torch.arange(n) + n, torch.arange(n)])
    return torch.nn.functional.cross_entropy(similarities(torch, torch.cat([x1, x2]), 0.5), positives)


def supervised_contrastive_torch(torch: Any, y: Any, x: Any) -> Any:
    positive = (y[:, None] == y).fill_diagonal_(False)
    log_q = torch.log_softmax(similarities(torch, x, 0.1), 1).masked_fill(~positive, 0)
    count = positive.sum(1)
    return -(log_q.sum(1) / count.clamp(min=1)).sum() / (count > 0).sum()


def gaussian_kl_torch(torch: Any, mean: Any, log_var: Any) -> Any:
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean()


def gaussian_kl_numpy(mean: Array, log_var: Array) -> tuple[Any, Array, Array]:
    e = np.exp(log_var)
    n = len(mean)
    return 0.5 * np.sum(mean * mean + e - 1 - log_var) / n, mean / n, 0.5 / n * (e - 1)


ARRAY_CASES = [
    ArrayCase("contrastive_pairs", fl.ContrastivePairs(margin=5.0), partial(labelled, negative=0, near=0.3),
              contrastive_pairs_torch, contrastive_pairs_numpy),
    ArrayCase("triplet", fl.Triplet(), partial(vectors, count=3), triplet_torch, triplet_numpy),
    ArrayCase("cosine_embedding", fl.CosineEmbedding(), partial(labelled, negative=-1), cosine_embedding_torch,
              tolerance=1e-10),
    ArrayCase("cosine_similarity", fl.CosineSimilarity(), vectors, cosine_similarity_torch),
    ArrayCase("margin_ranking", fl.MarginRanking(), ranked, margin_ranking_torch),
    ArrayCase("nt_xent", fl.NTXent(), partial(vectors, n=4096), nt_xent_torch, time_goal=1.0, memory_goal=0.1),
    ArrayCase("supervised_contrastive", fl.SupervisedContrastive(), in_classes, supervised_contrastive_torch,
              dtypes=("float32",)),
    ArrayCase("gaussian_kl", fl.GaussianKL(), latent, gaussian_kl_torch, gaussian_kl_numpy),
]
