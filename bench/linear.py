"""Linear models: one evaluation of loss and gradient, beside scikit-learn's private `LinearModelLoss` and NumPy, and
beside a plain read of X, which is the least it can take; and whole fits, beside `LogisticRegression`."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import math
import shutil
import subprocess
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

import fastloss as fl

from . import machine, peers, timing
from .cases import Array, all_cases
from .losses import print_table, progress
from .targets import Goal

L2 = 1e-3
PAUSE = 0.05  # seconds: BLAS's threads spin about half as long after a call
SECONDS = 1.0  # for each side of a measurement, at least: a call takes up to half a second
ONE_READ = 1.25  # the goal: of the time of a plain read of X

Call = Callable[[], tuple[Any, Array]]


class Problem(NamedTuple):
    name: str
    samples: int
    features: int
    #: by the number of threads: how many times as fast as scikit-learn with float64 it shall be
    goals: dict[int, float]
    #: 0: a binary model
    classes: int = 0
    #: of each row of a sparse X; 0: X is dense
    nonzeros: int = 0

    @property
    def loss(self) -> fl.Loss:
        return fl.CrossEntropy() if self.classes else fl.BinaryCrossEntropy()

    @property
    def memory_bound(self) -> bool:
        return not self.classes and not self.nonzeros


PROBLEMS = [
    Problem("binary", 10**6, 100, {1: 2.5, 2: 3.4}),
    Problem("binary", 10**5, 1000, {1: 1.4, 2: 2.3}),
    Problem("binary", 2 * 10**6, 20, {1: 3.0, 2: 5.5}),
    Problem("binary, CSR", 10**6, 10**5, {1: 2.0, 2: 2.0}, nonzeros=50),
    Problem("multinomial, C = 10", 10**5, 100, {1: 1.5, 2: 2.5}, classes=10),
]
FITS = [Problem("binary", 5 * 10**5, 50, {}), Problem("multinomial, C = 10", 10**5, 100, {}, classes=10)]
FLOAT32, FIT = 1.7, 2.5  # goals: the speed of float64, and of the fastest solver
QUICK = 100  # so many times fewer samples


def run(options: Namespace) -> None:
    names = [name for name in peers.installed(options.peers) if name in SIDES]
    if "scikit-learn" in names and not importlib.util.find_spec("sklearn.linear_model._linear_loss"):
        print("scikit-learn is skipped: it has moved LinearModelLoss, which is private")
        names.remove("scikit-learn")
    threads = [n for n in (1, 2) if n <= machine.usable_cpus()]
    if len(threads) < 2:
        print("two threads are skipped: this process may use one CPU")
    if reader() is None:
        print("no C compiler with OpenMP: X is read by np.add.reduce, which may take longer than memory does")
    fewer = QUICK if options.quick else 1
    seconds = options.seconds if options.quick else max(SECONDS, options.seconds)

    rows = []
    todo = [(problem._replace(samples=problem.samples // fewer), dtype)
            for problem in PROBLEMS for dtype in sorted(options.dtypes, reverse=True)]  # float64 first
    for problem, dtype in progress(todo, "linear"):
        X, y, coef = data(problem, dtype)
        for n in threads:
            rows.append(measure(problem, dtype, n, X, y, coef, names, seconds))
    print_table(list(speed_table(rows)), options.markdown)
    print()

    fitted = list(fits(names, threads[-1], fewer, seconds))
    goals = [*evaluation_goals(rows), *fit_goals(fitted)]
    print_table([["goal", "measured", "limit", "unit", "met"],
                 *([goal.what, f"{goal.measured:.3g}", f"{goal.limit:.3g}", goal.unit,
                    "yes" if goal.measured <= goal.limit else "NO"] for goal in goals)], options.markdown)
    if options.quick:
        print("nothing is written: --quick is to see that all runs, and its goals mean nothing")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine.describe(), "versions": machine.versions(["scipy", *names]), "evaluations": rows,
               "fits": fitted}
    (options.out / "linear.json").write_text(json.dumps(results, indent=1) + "\n")
    print("written to", options.out / "linear.json")


# ---- data ------------------------------------------------------------------------------------------------------------

def data(problem: Problem, dtype: str) -> tuple[Any, Array, Array]:
    """X, y and the coefficients of a half-trained model, (k, features + 1) with intercepts last."""
    rng = np.random.default_rng(0)
    n, d, k = problem.samples, problem.features, max(1, problem.classes)
    normal: Any = partial(rng.standard_normal, dtype=np.dtype(dtype))
    if problem.nonzeros:
        columns = np.sort(rng.integers(d, size=(n, problem.nonzeros), dtype=np.int32), axis=1).ravel()
        values = normal(len(columns))
        starts = np.arange(0, len(columns) + 1, problem.nonzeros, dtype=np.int32)
        X = sparse.csr_array((values, columns, starts), shape=(n, d))
    else:
        X = normal((n, d))
    truth = normal((k, d)) / np.sqrt(problem.nonzeros or d, dtype=dtype)
    z = X @ truth.T + rng.gumbel(size=(n, k)) - rng.gumbel(size=(n, k))
    y = z.argmax(axis=1) if problem.classes else (z[:, 0] > 0).astype(np.int64)
    return X, y, np.column_stack([0.5 * truth, np.full(k, 0.1)]).astype(np.float64)


# ---- the sides -------------------------------------------------------------------------------------------------------

def fastloss(problem: Problem, X: Any, y: Array, coef: Array, threads: int) -> Call:
    model = fl.LinearLoss(problem.loss, X, y, l2=L2, n_threads=threads, n_classes=problem.classes or None)
    return partial(model.loss_gradient, coef.ravel())


def numpy(problem: Problem, X: Any, y: Array, coef: Array, threads: int) -> Call:
    """Two products with X, and between them the loss as the other benchmarks have it in NumPy."""
    loss = all_cases()["cross_entropy, C = 10" if problem.classes else "binary_cross_entropy"].numpy
    y = y if problem.classes else y.astype(X.dtype)
    coef = coef.astype(X.dtype)
    W, b = coef[:, :-1], coef[:, -1]

    def call() -> tuple[Any, Array]:
        if problem.classes:
            value, r = loss(y, X @ W.T + b)
            gradient = np.column_stack([r.T @ X + L2 * W, r.sum(axis=0)])
        else:
            value, r = loss(y, X @ W[0] + b[0])
            gradient = np.append(X.T @ r + L2 * W[0], r.sum())
        return value + L2 / 2 * np.vdot(W, W), gradient.ravel()

    return call


def scikit_learn(problem: Problem, X: Any, y: Array, coef: Array, threads: int) -> Call:
    """As `LogisticRegression` calls it: targets and coefficients have X's type, classes of a feature lie together."""
    losses = importlib.import_module("sklearn._loss.loss")
    made = losses.HalfMultinomialLoss(n_classes=problem.classes) if problem.classes else losses.HalfBinomialLoss()
    model = importlib.import_module("sklearn.linear_model._linear_loss").LinearModelLoss(made, fit_intercept=True)
    coef = np.asfortranarray(coef, dtype=X.dtype) if problem.classes else coef[0].astype(X.dtype)
    return partial(model.loss_gradient, coef, X, y.astype(X.dtype), None, L2, threads)


SIDES = {"numpy": numpy, "scikit-learn": scikit_learn}

READ = """
#include <stdint.h>
/* Enough sums side by side that additions never wait for each other: what is left is the reading. */
#define READER(name, type) \\
double name(const type *x, int64_t n, int threads) { \\
    double total = 0; \\
    _Pragma("omp parallel for num_threads(threads) schedule(static) reduction(+:total)") \\
    for (int64_t block = 0; block < n / 4096; block++) { \\
        type sums[64] = {0}; \\
        for (int i = 0; i < 4096; i += 64) \\
            for (int j = 0; j < 64; j++) \\
                sums[j] += x[block * 4096 + i + j]; \\
        for (int j = 0; j < 64; j++) \\
            total += sums[j]; \\
    } \\
    for (int64_t i = n / 4096 * 4096; i < n; i++) \\
        total += x[i]; \\
    return total; \\
}
READER(read_float64, double)
READER(read_float32, float)
READER(read_int32, uint32_t)
"""


@cache
def reader() -> ctypes.CDLL | None:
    """The functions of READ, from the system's C compiler; None where there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "read.c", Path(folder) / "read.so"
        source.write_text(READ)
        command = [compiler, "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-o", str(library), str(source)]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        return ctypes.CDLL(str(library))


def parts(X: Any) -> list[Array]:
    """What an evaluation has to read: of a sparse X values and indices."""
    return [X.data, X.indices] if sparse.issparse(X) else [X.reshape(-1)]


def read(X: Any, threads: int) -> Callable[[], float]:
    """A call that adds up all numbers of X."""
    library = reader()
    if library is None:
        pieces = [piece for part in parts(X) for piece in np.array_split(part, threads)]

        def by_numpy() -> float:
            with ThreadPoolExecutor(threads) as pool:
                return float(sum(pool.map(np.add.reduce, pieces)))

        return by_numpy
    calls = []
    for part in parts(X):
        function = getattr(library, f"read_{part.dtype}")
        function.restype = ctypes.c_double
        calls.append(partial(function, ctypes.c_void_p(part.ctypes.data), ctypes.c_int64(part.size), threads))
    return lambda: float(sum(call() for call in calls))


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """So many CPUs, and so many threads of BLAS and OpenMP for those who do not say how many they want."""
    from threadpoolctl import threadpool_limits

    with timing.cpus(threads), threadpool_limits(threads):
        yield


# ---- evaluations -----------------------------------------------------------------------------------------------------

def measure(problem: Problem, dtype: str, threads: int, X: Any, y: Array, coef: Array, names: list[str],
            seconds: float) -> dict[str, Any]:
    with limited(threads):
        calls: dict[str, Callable[[], Any]] = {"fastloss": fastloss(problem, X, y, coef, threads)}
        calls |= {name: SIDES[name](problem, X, y, coef, threads) for name in names}
        check(problem, dtype, {name: call() for name, call in calls.items()})
        best = timing.interleaved({**calls, "read": read(X, threads)}, seconds, PAUSE)
    return {"model": problem.name, "samples": problem.samples, "features": problem.features, "dtype": dtype,
            "threads": threads, "bytes": sum(part.nbytes for part in parts(X)),
            "goal": problem.goals.get(threads) if dtype == "float64" else None,
            "memory_bound": problem.memory_bound, "seconds": best}


def check(problem: Problem, dtype: str, results: dict[str, tuple[Any, Array]]) -> None:
    """Raises where a side's value or gradient is not fastloss's: then times would compare different things."""
    value, gradient = results["fastloss"]
    # others compute in float32 what they read in float32
    tolerance = 1e-3 if dtype == "float32" else 1e-9
    for name, (other, others) in results.items():
        what = f"{name}'s {problem.name} {dtype}"
        others = others if others.ndim == 1 else np.ascontiguousarray(others).ravel()
        np.testing.assert_allclose(other, value, rtol=tolerance, err_msg=what)
        np.testing.assert_allclose(others, gradient, rtol=0, atol=tolerance * np.abs(gradient).max(), err_msg=what)


def size(row: dict[str, Any]) -> str:
    return f"{row['samples']:.3g} × {row['features']:.3g}".replace("e+0", "e")


def speed_table(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    names = [name for name in SIDES if any(name in row["seconds"] for row in rows)]
    yield ["model", "X", "dtype", "threads", "ms", "GB/s", "of a read", *names]
    for row in rows:
        seconds = row["seconds"]
        own = seconds["fastloss"]
        yield [row["model"], size(row), row["dtype"], str(row["threads"]), f"{own * 1e3:.4g}",
               f"{row['bytes'] / own / 1e9:.3g}", f"{own / seconds['read']:.2f}",
               *(f"{seconds[name] / own:.1f}×" for name in names)]


def evaluation_goals(rows: list[dict[str, Any]]) -> Iterator[Goal]:
    wide = {(row["model"], row["samples"], row["features"], row["threads"]): row["seconds"]["fastloss"]
            for row in rows if row["dtype"] == "float64"}
    for row in rows:
        seconds, own = row["seconds"], row["seconds"]["fastloss"]
        what = f"{row['model']} {row['dtype']} {size(row)}, threads {row['threads']}"
        if row["goal"] and "scikit-learn" in seconds:
            yield Goal(f"{what}, of scikit-learn", own / seconds["scikit-learn"], 1 / row["goal"])
        key = row["model"], row["samples"], row["features"], row["threads"]
        if row["memory_bound"] and row["dtype"] == "float32" and key in wide:
            yield Goal(f"{what}, of float64", own / wide[key], 1 / FLOAT32)
        if row["memory_bound"]:
            yield Goal(f"{what}, of a read of X", own / seconds["read"], ONE_READ)


# ---- fits ------------------------------------------------------------------------------------------------------------

SOLVERS = ["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"]
GAP = 1e-8  # relative, above the least objective found
TOLERANCES = [10.0**-i for i in range(2, 13)]
PATIENCE = 5


def fits(names: list[str], threads: int, fewer: int, seconds: float) -> Iterator[dict[str, Any]]:
    """The time of the loosest tolerance with which each solver comes near enough to the optimum."""
    if "scikit-learn" not in names:
        print("whole fits are skipped: they are compared with scikit-learn's")
        return
    if not hasattr(fl, "LinearClassifier"):
        print("whole fits are skipped: this fastloss has no LinearClassifier")
        return
    for full in progress(FITS, "fits"):
        problem = full._replace(samples=full.samples // fewer)
        X, y, _ = data(problem, "float64")
        objective = fl.LinearLoss(problem.loss, X, y, l2=1 / problem.samples)
        with limited(threads):
            best = least(objective)
            tolerances: dict[str, float] = {}
            times: dict[str, float] = {}
            for solver in ["fastloss", *SOLVERS]:
                others = [times[other] for other in SOLVERS if other in times]
                patience = max(1.0, PATIENCE * min(others, default=math.inf))
                fit = partial(fitted, solver, X, y, threads)
                if (result := near(fit, objective, best * (1 + GAP), patience)) is not None:
                    tolerances[solver], times[solver] = result
                else:
                    print(f"{problem.name}: {solver} did not come within {GAP:g} of the optimum, or took {PATIENCE} "
                          f"times as long as another solver")
            fastest = sorted(times.keys() - {"fastloss"}, key=times.__getitem__)[:1]
            times |= timing.interleaved({solver: partial(fitted, solver, X, y, threads, tolerances[solver])
                                         for solver in [*fastest, "fastloss"] if solver in times}, seconds)
        yield {"model": problem.name, "samples": problem.samples, "features": problem.features, "threads": threads,
               "seconds": times, "tolerances": tolerances}


def least(objective: fl.LinearLoss) -> float:
    """The optimum: SciPy's Newton's method down to the last digits."""
    from scipy.optimize import minimize

    start = minimize(objective.loss_gradient, np.zeros(objective.n_coef), jac=True, method="L-BFGS-B",
                     options={"maxiter": 1000})
    found = minimize(objective.loss_gradient, start.x, jac=True, method="trust-ncg", hessp=objective.hessian_product,
                     options={"gtol": 1e-11, "maxiter": 30})
    return float(min(start.fun, found.fun))


def fitted(solver: str, X: Any, y: Array, threads: int, tolerance: float) -> Array:
    """The coefficients, as LinearLoss takes them, of fits with C = 1."""
    if solver == "fastloss":
        loss = "cross_entropy" if y.max() > 1 else "binary_cross_entropy"
        model: Any = fl.LinearClassifier(loss, alpha=1 / len(y), tol=tolerance, max_iter=10_000, n_threads=threads)
    else:
        linear_model = importlib.import_module("sklearn.linear_model")
        model = linear_model.LogisticRegression(solver=solver, tol=tolerance, max_iter=1000, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps that ran out: who is not near enough is not counted
        model.fit(X, y)
    return np.column_stack([model.coef_, model.intercept_]).ravel()


def near(fit: Callable[[float], Array], objective: fl.LinearLoss, limit: float, patience: float
         ) -> tuple[float, float] | None:
    """The loosest tolerance with which a fit comes below the limit, and the seconds it took; None: with none of these
    tolerances, or not within so many seconds."""
    for tolerance in TOLERANCES:
        start = perf_counter()
        coef = fit(tolerance)
        seconds = perf_counter() - start
        if objective.loss(coef) <= limit:
            return tolerance, seconds
        if seconds > patience:
            break
    return None


def fit_goals(rows: list[dict[str, Any]]) -> Iterator[Goal]:
    for row in rows:
        seconds = row["seconds"]
        others = {solver: value for solver, value in seconds.items() if solver != "fastloss"}
        if others and "fastloss" in seconds:
            fastest = min(others, key=others.__getitem__)
            yield Goal(f"fit of {row['model']} {size(row)}, {seconds['fastloss']:.3g} s, of {fastest}",
                       seconds["fastloss"] / others[fastest], 1 / FIT)
