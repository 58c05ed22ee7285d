"""Losses of whole arrays: loss and gradients, beside torch's autograd, and NumPy where a case writes it; and the memory
that a call takes beside its arguments. A family's cases stand in the file of the family's name."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import machine, peers, timing
from .cases import Array, families
from .losses import print_table, progress
from .targets import Goal

SIDES = ["fastloss", "numpy", "torch"]
PAUSE = 0.05  # seconds: threads of the call before spin a while
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, eq=False)
class ArrayCase:
    """One loss of whole arrays with its competitors."""

    name: str
    loss: Any
    #: (generator, dtype) → the arrays of a call
    data: Callable[[np.random.Generator, str], list[Array]]
    #: (torch, *tensors) → mean loss; its gradients are torch's own
    torch: Callable[..., Any]
    #: (*arrays) → mean loss and its gradients, as an expert writes it in NumPy
    numpy: Callable[..., tuple[Any, ...]] | None = None
    #: goals in float32: the time, of torch's on one thread, and the memory, of torch's
    time_goal: float | None = None
    memory_goal: float | None = None
    #: how far torch's float64 may be off, relatively: it adds ε to some roots
    tolerance: float = 1e-12
    dtypes: tuple[str, ...] = field(default=("float32", "float64"))

    def differentiable(self, arrays: list[Array]) -> list[Array]:
        return [array for name, array in zip(self.loss.inputs_of_call, arrays, strict=True)
                if name in self.loss.gradients_for]


def all_cases() -> dict[str, ArrayCase]:
    """The cases of every family that has some, by name."""
    return {case.name: case for family in families() for case in getattr(family, "ARRAY_CASES", [])}


def run(options: Namespace) -> None:
    names = ["fastloss", *(name for name in peers.installed(options.peers) if name in SIDES)]
    seconds = max(0.5, options.seconds)
    rows = []
    chosen = [case for name, case in all_cases().items() if not options.losses or name in options.losses]
    todo = [(case, dtype) for case in chosen for dtype in options.dtypes if dtype in case.dtypes]
    for case, dtype in progress(todo, "arrays"):
        arrays = case.data(np.random.default_rng(0), dtype)
        check(case, dtype, arrays, names)
        memory = {name: extra_memory(case.name, dtype, name) for name in names if name != "numpy" or case.numpy}
        for threads in options.threads:
            with timing.cpus(threads), limited(threads):
                best = timing.interleaved(calls(case, arrays, threads, names), seconds, PAUSE)
            rows.append({"loss": case.name, "shapes": [list(array.shape) for array in arrays], "dtype": dtype,
                         "threads": threads, "seconds": best, "memory": memory})
    print_table(list(table(rows)), options.markdown)
    checked = [[goal.what, f"{goal.measured:.3g}", f"{goal.limit:.3g}", goal.unit,
                "yes" if goal.measured <= goal.limit else "NO"] for goal in goals(rows)]
    if checked:
        print()
        print_table([["goal", "measured", "limit", "unit", "met"], *checked], options.markdown)
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine.describe(), "versions": machine.versions(names[1:]), "rows": rows}
    (options.out / "arrays.json").write_text(json.dumps(results, indent=1) + "\n")
    print("written to", options.out / "arrays.json")


def limited(threads: int) -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)


# ---- the sides -------------------------------------------------------------------------------------------------------

def calls(case: ArrayCase, arrays: list[Array], threads: int, names: list[str]) -> dict[str, Callable[[], Any]]:
    """A call without arguments for each side, on the same data; fastloss writes to arrays that are there."""
    out = tuple(np.empty_like(array) for array in case.differentiable(arrays))
    made: dict[str, Callable[[], Any]] = {
        "fastloss": partial(case.loss.loss_gradient, *arrays, gradient_out=out, n_threads=threads)}
    if "numpy" in names and case.numpy is not None:
        made["numpy"] = partial(case.numpy, *arrays)
    if "torch" in names:
        made["torch"] = partial(by_torch, case, arrays, threads)
    return made


def by_torch(case: ArrayCase, arrays: list[Array], threads: int) -> tuple[Any, ...]:
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads)
    own = case.differentiable(arrays)
    tensors = [torch.from_numpy(array) for array in arrays]
    leaves = [tensor.requires_grad_() for tensor, array in zip(tensors, arrays, strict=True)
              if any(array is one for one in own)]
    loss = case.torch(torch, *tensors)
    return (loss.detach(), *torch.autograd.grad(loss, leaves))


def check(case: ArrayCase, dtype: str, arrays: list[Array], names: list[str]) -> None:
    """Raises where a side's value or gradients are not fastloss's: then times would compare different things."""
    results = {name: call() for name, call in calls(case, arrays, 1, names).items()}
    tolerance = 2e-3 if dtype == "float32" else case.tolerance
    value, *gradients = results["fastloss"]
    for name, (other, *others) in results.items():
        what = f"{name}'s {case.name} {dtype}"
        np.testing.assert_allclose(float(other), value, rtol=tolerance, err_msg=what)
        for a, b in zip(others, gradients, strict=True):
            np.testing.assert_allclose(np.asarray(a), b, rtol=0, atol=10 * tolerance * np.abs(b).max(), err_msg=what)


# ---- memory ----------------------------------------------------------------------------------------------------------

def kilobytes(name: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name))


def extra_memory(name: str, dtype: str, side: str) -> float | None:
    """MiB that a call takes beside its arguments, at most, in a process of its own; None where /proc does not say."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    done = subprocess.run([sys.executable, "-m", "bench.arrays", name, dtype, side], capture_output=True, text=True,
                          check=True)
    return float(done.stdout)


def print_memory(name: str, dtype: str, side: str) -> None:
    case = all_cases()[name]
    arrays = case.data(np.random.default_rng(0), dtype)
    small = [array[:1] for array in arrays]
    calls(case, small, 1, [side])[side]()  # imports, and starts what is started once
    call = calls(case, arrays, 1, [side])[side]
    for array in case.differentiable(arrays):
        call.keywords.get("gradient_out", [array])[0][...] = 0  # memory that is there
    for out in call.keywords.get("gradient_out", ()):
        out[...] = 0
    before = kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    call()
    print((kilobytes("VmHWM") - before) / 1024)


# ---- what is shown ---------------------------------------------------------------------------------------------------

def table(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    names = [name for name in SIDES[1:] if any(name in row["seconds"] for row in rows)]
    yield ["loss", "arrays", "dtype", "threads", "ms", *(f"{name}" for name in names), "MiB",
           *(f"{name}, MiB" for name in names)]
    for row in rows:
        seconds, memory = row["seconds"], row["memory"]
        yield [row["loss"], " ".join("×".join(map(str, shape)) for shape in dict.fromkeys(map(tuple, row["shapes"]))),
               row["dtype"], str(row["threads"]), f"{seconds['fastloss'] * 1e3:.3g}",
               *(f"{seconds[name] / seconds['fastloss']:.1f}×" if name in seconds else "" for name in names),
               *(f"{memory[name]:.3g}" if memory.get(name) is not None else "" for name in ["fastloss", *names])]


def goals(rows: list[dict[str, Any]]) -> Iterator[Goal]:
    for row in rows:
        case, seconds, memory = all_cases()[row["loss"]], row["seconds"], row["memory"]
        if row["dtype"] != "float32" or row["threads"] != 1 or "torch" not in seconds:
            continue
        if case.time_goal:
            yield Goal(f"{case.name}, of torch", seconds["fastloss"] / seconds["torch"], case.time_goal)
        if case.memory_goal and memory["torch"]:
            yield Goal(f"{case.name}, memory of torch's", memory["fastloss"] / memory["torch"], case.memory_goal,
                       "of the memory")


if __name__ == "__main__":
    print_memory(*sys.argv[1:])
