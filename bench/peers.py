"""How each library runs a case: from arrays to a call without arguments that gives the loss and its gradient."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from .cases import Array, Case


class Competitor(NamedTuple):
    call: Callable[[], Any]
    #: turns what `call` returns into the mean loss and its gradient, for comparison
    read: Callable[[Any], tuple[float, Array]]


def plain(result: Any) -> tuple[float, Array]:
    return float(result[0]), np.asarray(result[1])


def fastloss(case: Case, y: Array, z: Array, threads: int) -> Competitor:
    fl.set_num_threads(threads)  # as torch's is set; a call then says nothing of threads, as most do not
    return Competitor(partial(case.loss.loss_gradient, y, z, gradient_out=np.empty_like(z)), plain)


def numpy(case: Case, y: Array, z: Array, threads: int) -> Competitor:
    return Competitor(partial(case.numpy, y, z), plain)


def scikit_learn(case: Case, y: Array, z: Array, threads: int) -> Competitor | None:
    """Its losses are per sample: the sums and the division by n, which a user still has to do, are not timed."""
    if case.sklearn is None:
        return None
    loss = case.sklearn(importlib.import_module("sklearn._loss.loss"))
    factor = case.sklearn_factor
    if case.negative_label:
        y = np.maximum(y, 0)  # its labels are 0 and 1
    y = y.astype(z.dtype)  # those of classes, too
    call = partial(loss.loss_gradient, y, z, None, np.empty_like(y), np.empty_like(z), threads)
    return Competitor(call, lambda result: (factor * float(np.mean(result[0])), factor * result[1] / len(y)))


def torch(case: Case, y: Array, z: Array, threads: int) -> Competitor | None:
    if case.torch is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    if case.torch_targets is not None:
        y = case.torch_targets(y)
    formula, target, score = case.torch, torch.from_numpy(y), torch.from_numpy(z).requires_grad_()

    def call() -> Any:
        score.grad = None
        value = formula(torch, target, score)
        value.backward()
        return value, score.grad

    return Competitor(call, lambda result: plain([part.detach() for part in result]))


@cache  # jax compiles again for a function that it has not seen
def jax_function(formula: Callable[[Any, Any, Any], Any]) -> Any:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return jax.jit(jax.value_and_grad(partial(formula, jax.numpy), argnums=1))


def jax(case: Case, y: Array, z: Array, threads: int) -> Competitor | None:
    """Its threads cannot be set: `timing.cpus` keeps the process to as many CPUs."""
    if case.jax is None:
        return None
    jax, function = importlib.import_module("jax"), jax_function(case.jax)
    target, score = jax.numpy.asarray(y), jax.numpy.asarray(z)
    return Competitor(lambda: jax.block_until_ready(function(target, score)), plain)


#: Peers by the name they install under.
PEERS = {"numpy": numpy, "scikit-learn": scikit_learn, "torch": torch, "jax": jax}
_MODULES = {"scikit-learn": "sklearn._loss.loss"}


def installed(names: list[str]) -> list[str]:
    """Those of `names` that can be imported, and are now; a line is printed for each of the others."""
    found = []
    for name in names:
        try:
            importlib.import_module(_MODULES.get(name, name))
            found.append(name)
        except ImportError as error:
            print(f"{name} is skipped: {error}")
    return found


def competitors(case: Case, y: Array, z: Array, threads: int, names: list[str]) -> dict[str, Competitor]:
    """fastloss first, then those peers that have this loss, all on the same data."""
    made = {"fastloss": fastloss(case, y, z, threads)}
    for name in names:
        if (competitor := PEERS[name](case, y, z, threads)) is not None:
            made[name] = competitor
    return made


def check(case: Case, dtype: str, names: list[str], n: int = 1000) -> None:
    """Raises where a peer's value or gradient is not fastloss's: then times would compare different things."""
    results = {name: c.read(c.call()) for name, c in competitors(case, *case.data(n, dtype), 1, names).items()}
    value, gradient = results["fastloss"]
    # Peers that subtract nearly equal numbers are right to about ε of the largest term.
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for name, (peer_value, peer_gradient) in results.items():
        np.testing.assert_allclose(peer_value, value, rtol=tolerance, err_msg=f"{name}'s {case.name}")
        np.testing.assert_allclose(peer_gradient, gradient, rtol=tolerance, atol=tolerance / n,
                                   err_msg=f"{name}'s gradient of {case.name}")
