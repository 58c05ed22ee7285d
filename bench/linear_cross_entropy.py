"""linear_cross_entropy against torch and NumPy with all logits: `python -m bench.linear_cross_entropy [options]`.

Loss and the gradients of both factors, of one step of a language model's last layer. Memory is what a call takes beyond
its inputs, outputs and BLAS's own buffers, as a part of the logits' size: of a process of its own, as Linux counts it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastloss as fl

from . import machine, timing
from .cases import Array

#: rows, width, classes: a small layer, the one the goal is set for, and one with many classes
SIZES = ((2048, 128, 8000), (2048, 512, 32_000), (512, 512, 128_000))


def data(n: int, d: int, n_classes: int) -> tuple[Array, Array, Array]:
    """Hidden states, weights and labels in float32, with logits as large as a trained model's."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((n, d), dtype=np.float32)
    weight = rng.standard_normal((n_classes, d), dtype=np.float32) * np.float32(2 / np.sqrt(d))
    return hidden, weight, rng.integers(n_classes, size=n)


def fastloss(hidden: Array, weight: Array, y: Array, threads: int) -> Callable[[], Any]:
    outs = {"hidden_gradient_out": np.ones_like(hidden), "weight_gradient_out": np.ones_like(weight)}
    return lambda: fl.linear_cross_entropy(hidden, weight, y, n_threads=threads, **outs)


def torch(hidden: Array, weight: Array, y: Array, threads: int) -> Callable[[], Any]:
    """Product, cross_entropy and backward."""
    import torch

    torch.set_num_threads(threads)
    h, w, labels = torch.from_numpy(hidden).requires_grad_(), torch.from_numpy(weight).requires_grad_(), \
        torch.from_numpy(y)

    def call() -> Any:
        h.grad = w.grad = None
        value = torch.nn.functional.cross_entropy(h @ w.T, labels)
        value.backward()
        return value.item(), h.grad.numpy(), w.grad.numpy()

    return call


def numpy(hidden: Array, weight: Array, y: Array, threads: int) -> Callable[[], Any]:
    """All logits, turned into their gradient in place, with as few temporary arrays as NumPy allows."""
    rows = np.arange(len(y))

    def call() -> Any:
        z = hidden @ weight.T
        z -= z.max(axis=1, keepdims=True)
        right = z[rows, y]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        value = float(np.mean(np.log(total[:, 0]) - right))
        z /= total
        z[rows, y] -= 1
        z /= len(y)
        return value, z @ weight, z.T @ hidden

    return call


COMPETITORS: dict[str, Callable[..., Callable[[], Any]]] = {"fastloss": fastloss, "torch": torch, "numpy": numpy}


def check(names: list[str]) -> None:
    """Raises where a competitor's results are not NumPy's in float64: then times would compare different things."""
    hidden, weight, y = data(300, 64, 1000)
    exact = numpy(hidden.astype(np.float64), weight.astype(np.float64), y, 1)()
    for name in names:
        for got, expected in zip(COMPETITORS[name](hidden, weight, y, 1)(), exact, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6, err_msg=name)


def measure(n: int, d: int, n_classes: int, threads: int, names: list[str], seconds: float) -> dict[str, float]:
    """The least seconds of a call, for each competitor, taken in turns."""
    from threadpoolctl import threadpool_limits

    hidden, weight, y = data(n, d, n_classes)
    with timing.cpus(threads), threadpool_limits(threads):
        calls = {name: COMPETITORS[name](hidden, weight, y, threads) for name in names}
        return timing.interleaved(calls, seconds)


MEMORY = """
import re, sys
from bench.linear_cross_entropy import COMPETITORS, data
def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read()).group(1))
name, threads, n, d, n_classes = sys.argv[1], *map(int, sys.argv[2:])
hidden, weight, y = data(n, d, n_classes)
few = min(n, 96)
COMPETITORS[name](hidden[:few], weight, y[:few], threads)()  # BLAS keeps buffers of its own
call = COMPETITORS[name](hidden, weight, y, threads)
open("/proc/self/clear_refs", "w").write("5")  # forgets the most so far
before = kilobytes("VmRSS")
results = call()
made = 0 if name == "fastloss" else hidden.nbytes + weight.nbytes  # it was given arrays for its gradients
print(((kilobytes("VmHWM") - before) * 1024 - made) / (4 * n * n_classes))
"""


def memory(name: str, n: int, d: int, n_classes: int, threads: int) -> float | None:
    """The most memory of a call, as a part of the logits'; None where the system does not tell."""
    arguments = [name, *map(str, (threads, n, d, n_classes))]
    done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def run(sizes: list[tuple[int, int, int]], threads: list[int], names: list[str], seconds: float
        ) -> list[dict[str, Any]]:
    """A row for each size and number of threads; each is printed as soon as it is there."""
    check(names)
    print("float32, " + ", ".join(f"{name} {version}" for name, version in machine.versions(
        [name for name in names if name != "fastloss"]).items()) + ", " + machine.cpu())
    rows = []
    for n, d, n_classes in sizes:
        for count in threads:
            best = measure(n, d, n_classes, count, names, seconds)
            share = {name: memory(name, n, d, n_classes, count) for name in names}
            rows.append({"n": n, "d": d, "C": n_classes, "threads": count, "seconds": best, "memory": share})
            print(f"n = {n}, d = {d}, C = {n_classes}, threads {count}: "
                  + "; ".join(describe(name, best, share) for name in names), flush=True)
    return rows


def describe(name: str, seconds: dict[str, float], share: dict[str, float | None]) -> str:
    ratio = "" if name == "fastloss" else f" ({seconds[name] / seconds['fastloss']:.2f}×)"
    part = share[name]
    return f"{name} {seconds[name]:.3f} s{ratio}" + ("" if part is None else f", {part:.1%} of the logits")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.linear_cross_entropy", description=__doc__)
    parser.add_argument("--size", nargs=3, type=int, action="append", metavar=("N", "D", "C"))
    parser.add_argument("--threads", nargs="+", type=int, default=list(dict.fromkeys([1, machine.usable_cpus()])))
    parser.add_argument("--peers", nargs="*", choices=list(COMPETITORS)[1:], default=list(COMPETITORS)[1:])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each competitor in each measurement")
    parser.add_argument("--json", action="store_true", help="print the numbers once more, as JSON")
    options = parser.parse_args()
    sizes = [(n, d, c) for n, d, c in options.size or SIZES]
    rows = run(sizes, options.threads, ["fastloss", *options.peers], options.seconds)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
