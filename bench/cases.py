"""A case: one loss, and how each competitor writes it. A family's cases stand in the file of the family's name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import fastloss as fl

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """One loss with its competitors; those left out are not measured."""

    name: str
    loss: fl.Loss
    #: (y, z) → mean loss and its gradient, as an expert writes it in NumPy
    numpy: Callable[[Array, Array], tuple[Any, Array]]
    #: (mpmath, y, *z) → the loss of one sample, exactly, z one number for each column; its derivative is the gradient.
    #: Terms that may cancel come as a tuple: errors are then measured against the sum of their absolute values.
    exact: Callable[..., Any]
    #: (torch, y, z) → mean loss; (jax.numpy, y, z) → mean loss; gradients are their own
    torch: Callable[[Any, Any, Any], Any] | None = None
    jax: Callable[[Any, Any, Any], Any] | None = None
    #: whether `torch` is one function of torch itself, and not a formula in its operations
    torch_own: bool = False
    #: (sklearn._loss.loss) → a loss object, and by how much to multiply its values to get this loss
    sklearn: Callable[[Any], Any] | None = None
    sklearn_factor: float = 1.0
    #: what binary labels are written as: hinges and other losses of a margin are idiomatic with -1 and 1
    negative_label: int = 0
    #: columns of y_pred for each sample, of losses that take more than one; y_pred is then (n, columns)
    columns: int | None = None
    #: classes of a row loss, whose n elements are rows of so many scores; whether its targets are distributions
    classes: int | None = None
    soft: bool = False
    #: the terms of each derivative of `exact`, where differences of that would take long, or have other terms
    exact_gradient: Callable[..., list[tuple[Any, ...]]] | None = None
    #: how torch writes the targets, where it differs
    torch_targets: Callable[[Array], Array] | None = None
    #: whether the formula has a transcendental function; a root is none
    transcendental: bool = False
    #: whether a run measures it at all sizes unless told otherwise, and not at one
    all_sizes: bool = False

    def targets(self, rng: np.random.Generator, n: int) -> Array:
        """Random targets."""
        if self.soft:
            t = rng.standard_exponential((n, self.classes or 1))
            return t / t.sum(axis=1, keepdims=True)
        if self.loss.target == "indicators":
            return rng.random((n, self.classes or 1)) < 0.2
        if self.classes:
            return rng.integers(self.classes, size=n)
        if "binary" in self.loss.target:
            return np.where(rng.random(n) < 0.3, 1.0, self.negative_label)
        draw = {"real": rng.normal, "non-negative": partial(rng.poisson, 3.0), "positive": partial(rng.gamma, 2.0),
                "above -1": partial(rng.uniform, -0.9, 4.0)}[self.loss.target]
        return draw(size=n)

    def data(self, n: int, dtype: str) -> tuple[Array, Array]:
        """y_true and y_pred: scores as a half-trained model gives them, residuals on both sides of every kink."""
        rng = np.random.default_rng(n)
        samples = self.samples(n)
        y = self.targets(rng, samples)
        columns = self.classes or self.columns
        z = rng.normal(scale=2.0, size=(samples, columns) if columns else samples)
        least = self.loss.domain[0]
        return self.typed(y, dtype), (z if least == -np.inf else least + np.exp(0.5 * z)).astype(dtype)

    def samples(self, n: int) -> int:
        """How many samples n elements are: as many, or about as many as fill rows of the classes."""
        return max(1, n // self.classes) if self.classes else n

    def typed(self, y: Array, dtype: str) -> Array:
        """Targets in the type of the scores; class labels and indicators in their own."""
        return y if self.classes and not self.soft else y.astype(dtype)


def families() -> list[Any]:
    """The modules here that carry the name of a family of losses."""
    names = sorted({type(fl.get(name)).__module__.rpartition(".")[2] for name in fl.available()})
    return [importlib.import_module(f"bench.{name}") for name in names if importlib.util.find_spec(f"bench.{name}")]


def all_cases() -> dict[str, Case]:
    """The cases of every family of losses that has a file here, by name; losses of whole arrays are in `arrays`."""
    return {case.name: case for family in families() for case in getattr(family, "CASES", [])}


def without_case() -> list[str]:
    """The names of losses that no case measures."""
    measured = {type(case.loss) for family in families()
                for case in (*getattr(family, "CASES", []), *getattr(family, "ARRAY_CASES", []))}
    return [name for name in fl.available() if type(fl.get(name)) not in measured]
