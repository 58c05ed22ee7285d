"""A case: one loss, and how each competitor writes it. A family's cases stand in the file of the family's name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
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
    #: (mpmath, y, z) → the loss of one sample, exactly; its derivative is the gradient
    exact: Callable[[Any, Any, Any], Any]
    #: (torch, y, z) → mean loss; (jax.numpy, y, z) → mean loss; gradients are their own
    torch: Callable[[Any, Any, Any], Any] | None = None
    jax: Callable[[Any, Any, Any], Any] | None = None
    #: (sklearn._loss.loss) → a loss object, and by how much to multiply its values to get this loss
    sklearn: Callable[[Any], Any] | None = None
    sklearn_factor: float = 1.0
    #: what binary labels are written as: hinges and other losses of a margin are idiomatic with -1 and 1
    negative_label: int = 0

    def targets(self, rng: np.random.Generator, n: int) -> Array:
        """Random targets, in float64."""
        if "binary" in self.loss.target:
            return np.where(rng.random(n) < 0.3, 1.0, self.negative_label)
        return rng.normal(size=n)

    def data(self, n: int, dtype: str) -> tuple[Array, Array]:
        """y_true and y_pred: scores as a half-trained model gives them, residuals on both sides of every kink."""
        rng = np.random.default_rng(n)
        return self.targets(rng, n).astype(dtype), rng.normal(scale=2.0, size=n).astype(dtype)


def all_cases() -> dict[str, Case]:
    """The cases of every family of losses that has a file here, by name."""
    families = sorted({type(fl.get(name)).__module__.rpartition(".")[2] for name in fl.available()})
    files = [f"bench.{family}" for family in families if importlib.util.find_spec(f"bench.{family}")]
    return {case.name: case for file in files for case in importlib.import_module(file).CASES}


def without_case() -> list[str]:
    """The names of losses that no case measures."""
    measured = {type(case.loss) for case in all_cases().values()}
    return [name for name in fl.available() if type(fl.get(name)) not in measured]
