"""The goals of speed and size, measured: each row times its two sides in turns, and says whether the goal is met."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from . import losses, machine, peers, timing
from .cases import Case, all_cases


class Goal(NamedTuple):
    what: str
    measured: float
    limit: float
    unit: str = "of the time"


def run(options: Namespace) -> None:
    names = peers.installed(options.peers)
    groups = [catalogue, cross_entropy, cross_entropy_in_cache, focal, memory_bound, rows, soft_rows, avx2, two_threads,
              small_call, memory, import_time, wheel]
    table = [["goal", "measured", "limit", "unit", "met"]]
    for group in losses.progress(groups, "targets"):
        for goal in group(names, options.seconds):
            table.append([goal.what, f"{goal.measured:.3g}", f"{goal.limit:.3g}", goal.unit,
                          "yes" if goal.measured <= goal.limit else "NO"])
    losses.print_table(table, options.markdown)


def against(case: Case, dtype: str, n: int, limits: dict[str, float], names: list[str], seconds: float
            ) -> Iterator[Goal]:
    """One thread of fastloss against one of each peer in `limits`."""
    wanted = [name for name in names if name in limits]
    peers.check(case, dtype, wanted)
    with timing.cpus(1):
        made = peers.competitors(case, *case.data(n, dtype), 1, wanted)
        best = timing.interleaved({name: c.call for name, c in made.items()}, seconds)
    for name in wanted:
        if name not in made:
            continue
        yield Goal(f"{case.name} {dtype}, n = {n:.0e}, of {name}", best["fastloss"] / best[name], limits[name])


def catalogue(names: list[str], seconds: float) -> Iterator[Goal]:
    """Every loss of single predictions, against NumPy and whoever else has it too."""
    for case in all_cases().values():
        if case.classes:
            continue
        numpy, sklearn = (5, 8) if case.transcendental else (2, 2)
        limits = {"numpy": 1 / numpy, "scikit-learn": 1 / sklearn} | ({"torch": 1.0} if case.torch_own else {})
        for dtype in ("float64", "float32"):
            yield from against(case, dtype, 10**6, limits, names, seconds)


def cross_entropy(names: list[str], seconds: float) -> Iterator[Goal]:
    case = all_cases()["binary_cross_entropy"]
    yield from against(case, "float64", 10**6, {"scikit-learn": 1 / 15, "torch": 1 / 4}, names, seconds)
    yield from against(case, "float32", 10**6, {"scikit-learn": 1 / 38, "torch": 1 / 4}, names, seconds)


def cross_entropy_in_cache(names: list[str], seconds: float, n: int = 10**4) -> Iterator[Goal]:
    case = all_cases()["binary_cross_entropy"]
    for dtype in ("float64", "float32"):
        y, z = case.data(n, dtype)
        a, b, c = np.empty_like(z), np.empty_like(z), np.empty_like(z)

        def three_calls(z: Any = z, a: Any = a, b: Any = b, c: Any = c) -> None:
            np.exp(z, out=a)
            np.log1p(a, out=b)
            np.divide(a, b, out=c)

        with timing.cpus(1):
            best = timing.interleaved({"fastloss": peers.fastloss(case, y, z, 1).call, "numpy": three_calls}, seconds)
        yield Goal(f"{case.name} {dtype}, n = {n:.0e}, of np.exp + np.log1p + np.divide",
                   best["fastloss"] / best["numpy"], 1.0)


def focal(names: list[str], seconds: float) -> Iterator[Goal]:
    cases = all_cases()
    for dtype in ("float64", "float32"):
        yield from against(cases["binary_focal"], dtype, 10**6, {"torch": 1 / 8, "numpy": 1 / 10}, names, seconds)
        yield from against(cases["binary_focal_2.5"], dtype, 10**6, {"torch": 1 / 5}, names, seconds)


def memory_bound(names: list[str], seconds: float, n: int = 2 * 10**7) -> Iterator[Goal]:
    for name in ("squared_error", "absolute_error", "huber", "quantile", "hinge"):
        case = all_cases()[name]
        for dtype, limit in {"float64": 1.15, "float32": 1.25}.items():
            y, z = case.data(n, dtype)
            out = np.empty_like(z)
            calls: dict[str, Callable[[], Any]] = {
                "fastloss": partial(case.loss.loss_gradient, y, z, n_threads=1, gradient_out=out),
                "subtract": partial(np.subtract, z, y, out=out),
            }
            with timing.cpus(1):
                best = timing.interleaved(calls, seconds)
            yield Goal(f"{name} {dtype}, n = {n:.0e}, of np.subtract", best["fastloss"] / best["subtract"], limit)
            yield from against(case, dtype, 10**6, {"torch": 1 / 2}, names, seconds)


def rows(names: list[str], seconds: float) -> Iterator[Goal]:
    """Cross-entropy of class labels: the peer named is the one that comes nearest."""
    for classes in (3, 10, 100, 1000, 32_000):
        case = all_cases()[f"cross_entropy, C = {classes}"]
        for dtype in ("float64", "float32"):
            goals = list(against(case, dtype, 10**6, dict.fromkeys(names, 1 / 2), names, seconds))
            if goals:
                yield max(goals, key=lambda goal: goal.measured)


def soft_rows(names: list[str], seconds: float, n: int = 10**6) -> Iterator[Goal]:
    for classes in (100, 1000, 32_000):
        for dtype in ("float64", "float32"):
            calls = {}
            for what in ("", "soft, "):
                case = all_cases()[f"cross_entropy, {what}C = {classes}"]
                calls[what] = peers.fastloss(case, *case.data(n, dtype), 1).call
            with timing.cpus(1):
                best = timing.interleaved(calls, seconds)
            yield Goal(f"cross_entropy, C = {classes} {dtype}, n = {n:.0e}, soft targets of labels",
                       best["soft, "] / best[""], 1.5)


def avx2(names: list[str], seconds: float) -> Iterator[Goal]:
    """The ISA is chosen at import, so another process measures."""
    if "scikit-learn" not in names or "x86" not in machine.describe()["isa"]:
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench", "losses", "--losses", "binary_cross_entropy", "--dtypes", "float64",
                   "--sizes", "1e6", "--threads", "1", "--peers", "scikit-learn", "--seconds", str(seconds),
                   "--out", folder, "--no-figure"]
        subprocess.run(command, env=os.environ | {"FASTLOSS_ISA": "x86-64-v3"}, check=True, capture_output=True)
        ns = json.loads((Path(folder) / "losses.json").read_text())["rows"][0]["ns_per_element"]
    yield Goal("binary_cross_entropy float64 with AVX2, n = 1e+06, of scikit-learn",
               ns["fastloss"] / ns["scikit-learn"], 1 / 6)


def two_threads(names: list[str], seconds: float, n: int = 10**7) -> Iterator[Goal]:
    if machine.usable_cpus() < 2:
        print("two threads are skipped: this process may use one CPU")
        return
    for name in ("binary_cross_entropy", "binary_focal", "binary_focal_2.5", "sharp_arctan", "cross_entropy, C = 10",
                 "cross_entropy, C = 1000"):
        case = all_cases()[name]
        for dtype in ("float64", "float32"):
            y, z = case.data(n, dtype)
            with timing.cpus(2):
                call = partial(case.loss.loss_gradient, y, z, gradient_out=np.empty_like(z))
                calls = {"one": partial(call, n_threads=1), "two": partial(call, n_threads=2)}
                best = timing.interleaved(calls, seconds)
            yield Goal(f"{name} {dtype}, n = {n:.0e}, two threads of one", best["two"] / best["one"], 1 / 1.8)


def small_call(names: list[str], seconds: float, n: int = 64) -> Iterator[Goal]:
    """Threads are left to fastloss, as a user leaves them; "none" does just what scikit-learn does."""
    if "scikit-learn" not in names:
        return
    case = all_cases()["binary_cross_entropy"]
    for dtype in ("float64", "float32"):
        y, z = case.data(n, dtype)
        loss_out, out = np.empty_like(z), np.empty_like(z)
        sklearn = peers.scikit_learn(case, y, z, 1)
        if sklearn is None:
            return
        calls: dict[str, Callable[[], Any]] = {
            "mean": partial(case.loss.loss_gradient, y, z, gradient_out=out),
            "none": partial(case.loss.loss_gradient, y, z, reduction="none", loss_out=loss_out, gradient_out=out),
            "scikit-learn": sklearn.call,
        }
        fl.set_num_threads(None)
        with timing.cpus(1):
            best = timing.interleaved(calls, seconds)
        for reduction in ("mean", "none"):
            yield Goal(f'{case.name} {dtype}, n = {n}, "{reduction}", {best[reduction] * 1e6:.2f} µs, of scikit-learn',
                       best[reduction] / best["scikit-learn"], 1 / 4)


MEMORY = """
import sys
import numpy as np
import fastloss as fl
from pathlib import Path

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)

dtype, threads, n, classes = sys.argv[1], *map(int, sys.argv[2:])
if classes:
    loss, z = fl.CrossEntropy(), np.ones((n // classes, classes), dtype)
    y = np.ones(len(z), int)
else:
    loss, z, y = fl.BinaryCrossEntropy(), np.ones(n, dtype), np.ones(n, dtype)
out = np.zeros_like(z) + 1
few = slice(max(1, 100 // max(1, classes)))
loss.loss_gradient(y[few], z[few], gradient_out=out[few])
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
before = peak()
loss.loss_gradient(y, z, n_threads=threads, gradient_out=out)
print((peak() - before) / 1024)
"""


def memory(names: list[str], seconds: float) -> Iterator[Goal]:
    if not Path("/proc/self/clear_refs").exists():
        print("memory is skipped: it is read from Linux's /proc")
        return
    for n, classes, limit in ((10**7, 0, 1.0), *((10**6, classes, 2.0) for classes in (10, 1000, 32_000))):
        name = f"cross_entropy, C = {classes}" if classes else "binary_cross_entropy"
        for dtype in ("float64", "float32"):
            for threads in dict.fromkeys([1, machine.usable_cpus()]):
                yield Goal(f"{name} {dtype}, n = {n:.0e}, extra memory, {threads} threads",
                           float(in_subprocess(MEMORY, dtype, *map(str, (threads, n, classes)))), limit, "MiB")


IMPORT = """
import numpy
from time import perf_counter
start = perf_counter()
import fastloss
print((perf_counter() - start) * 1e3)
"""


def import_time(names: list[str], seconds: float) -> Iterator[Goal]:
    with tempfile.TemporaryDirectory() as folder:  # for bytecode, which pip writes as it installs
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        best = min(float(in_subprocess(IMPORT, env=environment)) for _ in range(10))
    yield Goal("import fastloss, beyond numpy", best, 50, "ms")


def wheel(names: list[str], seconds: float) -> Iterator[Goal]:
    for file in sorted(Path("dist").glob("*.whl")):
        yield Goal(f"size of {file.name}", file.stat().st_size / 2**20, 3, "MiB")


def in_subprocess(program: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True,
                          env=env)
    return done.stdout
