"""Solvers of linear models. They see a problem as functions of one flat vector of coefficients.

All end where no entry of the gradient exceeds `tol` times the largest one of the null model, which has an intercept
alone; at a kink the gradient does not shrink, and there they end when the objective has all but stopped falling. The
entries are compared in coordinates in which the units of features do not matter: Newton's method takes them from its
Hessian, `solve_reshaped` from its root. `null` is the null model's coefficients, where the start is another.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_DENSE = 1000  # coefficients of which a matrix is kept: 8 MB, and some 10 ms to factorise
_PAIRS = 50  # steps that BFGS remembers in place of a larger matrix
_NOTHING = 1e-12  # share of the start's objective that is 0 but for rounding: a fit through all targets
_SHORTEST = 2.0**-10  # share of a step of Newton's method after which it is given up
_TRIALS = 60  # step sizes that a line search tries: halving, it has then left the range of rounding


class Problem(Protocol):
    """What is minimised; `LinearLoss` is one."""

    def loss(self, coef: Vector) -> float: ...

    def loss_gradient(self, coef: Vector) -> tuple[float, Vector]: ...

    def gradient_hessian(self, coef: Vector) -> tuple[Vector, Vector]: ...

    def hessian_product(self, coef: Vector, v: Vector) -> Vector: ...


class Found(NamedTuple):
    """Where a solver ended, what kept it from converging, if anything did, and whether another may go on."""

    coef: Vector
    loss: float
    n_iter: int
    trouble: str = ""
    go_on: bool = False


def solve_reshaped(solve: Callable[..., Found], root: Vector | None, problem: Problem, start: Vector,
                   null: Vector | None, tol: float, max_iter: int, watch: Progress) -> Found:
    """What `lbfgs` or `bfgs` finds in the coordinates R·(coef - start) of each row of coefficients, for a root R, an
    upper triangle: where RᵀR is near their Hessian, the scales and correlations of features do not matter, as they do
    not to Newton's method."""
    if root is None:
        return solve(problem, start, null, tol, max_iter, watch)
    reshaped = Reshaped(problem, root, start)
    null = None if null is None else reshaped.enter(null)
    found = solve(reshaped, np.zeros(len(start)), null, tol, max_iter, watch)
    return found._replace(coef=reshaped.leave(found.coef))


class Reshaped:
    """A problem in the coordinates of a root, from where it starts: so that no rounding moves the start."""

    def __init__(self, problem: Problem, root: Vector, start: Vector) -> None:
        self._problem = problem
        self._root = root
        self._start = start

    def enter(self, coef: Vector) -> Vector:
        return np.asarray((coef - self._start).reshape(-1, len(self._root)) @ self._root.T).ravel()

    def leave(self, inside: Vector) -> Vector:
        return self._start + self._divide(inside, transposed=False)

    def loss_gradient(self, inside: Vector) -> tuple[float, Vector]:
        value, gradient = self._problem.loss_gradient(self.leave(inside))
        return value, self._divide(gradient, transposed=True)

    def _divide(self, vector: Vector, transposed: bool) -> Vector:
        from scipy.linalg import solve_triangular  # type: ignore[import-untyped]  # here: importing it takes long

        rows = vector.reshape(-1, len(self._root)).T
        return np.asarray(solve_triangular(self._root, rows, trans=int(transposed), check_finite=False).T.ravel())


def lbfgs(problem: Problem | Reshaped, start: Vector, null: Vector | None, tol: float, max_iter: int,
          watch: Progress) -> Found:
    """SciPy's L-BFGS-B."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    value, gradient = problem.loss_gradient(start)
    flat = tol * _largest(gradient if null is None else problem.loss_gradient(null)[1])
    if _largest(gradient) <= flat:
        return Found(start, value, 0)
    first = [(value, gradient)]

    def evaluate(coef: Vector) -> tuple[float, Vector]:
        nonlocal gradient
        if first:
            return first.pop()
        value, gradient = problem.loss_gradient(coef)
        return value, gradient

    def callback(intermediate_result: Any) -> None:
        watch(intermediate_result.fun)
        if _largest(gradient) <= flat:  # the last evaluation was of the step that is taken
            raise StopIteration

    found = minimize(evaluate, start, jac=True, method="L-BFGS-B", callback=callback, options={
        "maxiter": max_iter, "maxfun": _TRIALS * max_iter, "maxcor": 20, "maxls": _TRIALS, "ftol": 0.0, "gtol": 0.0})
    if _largest(gradient) <= flat:
        return Found(found.x, found.fun, found.nit)
    if found.status == 1:
        return Found(found.x, found.fun, found.nit, too_many(max_iter))
    slope = float(found.jac @ (found.hess_inv @ found.jac))
    return Found(found.x, found.fun, found.nit, _stall(found.fun, gradient, slope, flat))


def newton(problem: Problem, start: Vector, null: Vector | None, tol: float, max_iter: int, watch: Progress) -> Found:
    """Newton's method: steps by the whole Hessian for few coefficients, by conjugate gradients for many; each is
    shortened until the objective falls. Where that takes more than _SHORTEST, the Hessian says nothing about the loss
    (as where all residuals of a Huber loss are large), and another method does better."""
    coef, value, flat = start, problem.loss(start), 0.0
    units: float | Vector = 1.0
    for n_iter in range(max_iter + 1):
        if len(coef) <= _DENSE:
            gradient, hessian = problem.gradient_hessian(coef)
        else:
            gradient = problem.loss_gradient(coef)[1]
        if n_iter == 0:
            units = _units(np.diag(hessian)) if len(coef) <= _DENSE else 1.0
            scale = _largest((gradient if null is None else problem.loss_gradient(null)[1]) / units)
            flat = tol * scale
        if _largest(gradient / units) <= flat:
            return Found(coef, value, n_iter)
        if n_iter == max_iter:
            break
        if not (np.isfinite(gradient).all() and (len(coef) > _DENSE or np.isfinite(hessian).all())):
            return Found(coef, value, n_iter, "its derivatives left the range of numbers, so it may have no minimum")
        if len(coef) <= _DENSE:
            step = _newton_step(gradient, hessian)
        else:
            step = _conjugate_gradients(problem, coef, gradient, scale or 1.0)
        slope = float(gradient @ step)
        if -slope <= 8 * _EPS * abs(value):  # what it gains is lost in rounding: no use to look
            return Found(coef + step, value, n_iter + 1)
        size = 1.0
        for _ in range(_TRIALS):
            lower = problem.loss(coef + size * step)
            if lower <= value + 0.1 * size * slope:  # not of NaN, beyond the loss's domain
                break
            size /= 2
        if not lower < value:
            return Found(coef, value, n_iter, _stall(value, gradient / units, slope, flat), go_on=True)
        coef, value = coef + size * step, lower
        watch(value)
        if size < _SHORTEST:
            return Found(coef, value, n_iter + 1, "steps of Newton's method had to be shortened too much", go_on=True)
    return Found(coef, value, max_iter, too_many(max_iter))


def _newton_step(gradient: Vector, hessian: Vector) -> Vector:
    """-H⁻¹·gradient. Where H is not positive definite its eigenvalues' absolute values take their place, so that the
    step goes down; where it is singular, as softmax makes it, a little is added: as much as rounding leaves unsure."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh

    scale = _units(np.diag(hessian))
    scaled = hessian / np.multiply.outer(scale, scale)
    scaled.flat[:: len(scaled) + 1] += 1e-10
    try:
        return -cho_solve(cho_factor(scaled, lower=True), gradient / scale) / scale
    except LinAlgError:
        values, vectors = eigh(scaled)
        values = np.maximum(np.abs(values), 1e-6)
        return -(vectors @ (vectors.T @ (gradient / scale) / values)) / scale


def _conjugate_gradients(problem: Problem, coef: Vector, gradient: Vector, scale: float) -> Vector:
    """-H⁻¹·gradient, the more exactly the smaller the gradient: Newton's method then still converges superlinearly.

    R. S. Dembo, S. C. Eisenstat and T. Steihaug, Inexact Newton methods, SIAM Journal on Numerical Analysis 19, 1982.
    """
    step, residual = np.zeros(len(coef)), gradient
    direction = -residual
    square = float(residual @ residual)
    enough = square * min(0.25, _largest(gradient) / scale)
    for _ in range(min(len(coef), 200)):
        product = problem.hessian_product(coef, direction)
        curvature = float(direction @ product)
        if curvature <= 1e-12 * float(direction @ direction):  # down without end: the line search says how far
            return step if step.any() else direction
        size = square / curvature
        step = step + size * direction
        residual = residual + size * product
        last, square = square, float(residual @ residual)
        if square <= enough:
            break
        direction = square / last * direction - residual
    return step


def bfgs(problem: Problem | Reshaped, start: Vector, null: Vector | None, tol: float, max_iter: int,
         watch: Progress) -> Found:
    """BFGS with a line search for weak Wolfe conditions, which goes on where a loss has kinks, and turns back at the
    end of a loss's domain.

    For losses >= 0. It also ends when the objective has fallen by no more than `tol` of itself in as many iterations as
    there are coefficients, and ten. Where it stands on a kink, and no step goes down by the gradient, it gathers those
    around until their shortest combination leads down, or is 0.

    A. S. Lewis and M. L. Overton, Nonsmooth optimization via quasi-Newton methods, Mathematical Programming 141, 2013.
    """
    coef = start
    value, gradient = problem.loss_gradient(coef)
    first = value
    flat = tol * _largest(gradient if null is None else problem.loss_gradient(null)[1])
    inverse = _InverseHessian(len(coef))
    values: deque[float] = deque([value], maxlen=min(len(coef), _DENSE) + 11)
    around: list[Vector] = []
    trouble = ""
    for n_iter in range(max_iter + 1):
        if _largest(gradient) <= flat or abs(value) <= _NOTHING * abs(first) or (
                len(values) == values.maxlen and values[0] - value <= tol * abs(value)):
            trouble = ""
            break
        if n_iter == max_iter:
            trouble = too_many(max_iter)
            break
        if around:
            shortest = _shortest([gradient, *around])
            if shortest is None:
                trouble = "the gradients around a kink could not be combined"
                break
            step = -shortest
            slope = -float(step @ step)
        else:
            step = -inverse.times(gradient)
            slope = float(gradient @ step)
        size, low, high = 1.0, 0.0, np.inf
        reached = beside = None
        for _ in range(_TRIALS if slope < 0 else 0):
            other_value, other = problem.loss_gradient(coef + size * step)
            if not other_value <= value + 1e-4 * size * slope:  # or NaN, beyond the loss's domain
                high = size
                # Its tangent passes just below this point: how far is what a minimum found by it may be off.
                if beside is None and value - other_value + size * float(other @ step) <= 1e-8 * abs(value):
                    beside = other
            else:
                reached = size, other_value, other
                if other @ step >= 0.9 * slope:
                    break
                low = size
            size = (low + high) / 2 if high < np.inf else 2 * low
        if reached is not None and value - reached[1] > _NOTHING / 10 * abs(value):
            size, value, other = reached
            inverse.update(size * step, other - gradient)
            coef, gradient = coef + size * step, other
            values.append(value)
            watch(value)
            around.clear()
            continue
        # On a kink, as at a start where many residuals are 0, one gradient is not enough to go down by.
        trouble = _stall(value, gradient, slope, flat)
        if not trouble or beside is None or len(around) == 2 * _PAIRS:
            break
        around.append(beside)
    return Found(coef, value, n_iter, trouble)


def _shortest(gradients: list[Vector]) -> Vector | None:
    """The shortest vector of a convex hull: its negative goes down on all sides of a kink, and is 0 at a minimum. None
    where it is not found."""
    from scipy.optimize import nnls

    rows = np.array(gradients)
    scale = np.abs(rows).max()
    # With these rows Σ shares = 1 need not be asked for: the best shares are a multiple of those.
    try:
        shares = nnls(np.vstack([rows.T / scale, np.ones(len(rows))]), np.append(np.zeros(rows.shape[1]), 1.0))[0]
    except RuntimeError:  # too many iterations
        return None
    return np.asarray(shares @ rows / shares.sum(), dtype=np.float64)


class _InverseHessian:
    """What BFGS knows of H⁻¹: a matrix, or for many coefficients the last steps it is made of."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._matrix: Vector | None = None
        self._pairs: deque[tuple[Vector, Vector, float]] = deque(maxlen=_PAIRS)
        self._factor = 0.0

    def times(self, gradient: Vector) -> Vector:
        """H⁻¹·gradient; at first a step of length 1."""
        if self._matrix is not None:
            return self._matrix @ gradient
        if not self._pairs:
            return gradient / np.linalg.norm(gradient)
        shares = []
        for step, change, curvature in reversed(self._pairs):
            shares.append(float(step @ gradient) / curvature)
            gradient = gradient - shares[-1] * change
        gradient = self._factor * gradient
        for step, change, curvature in self._pairs:
            gradient = gradient + (shares.pop() - float(change @ gradient) / curvature) * step
        return gradient

    def update(self, step: Vector, change: Vector) -> None:
        """Learns that the gradient changed so over a step."""
        curvature = float(step @ change)
        if curvature <= 1e-290:  # rounding, or a line search that ended where a loss's domain ends
            return
        if self._size > _DENSE:
            self._pairs.append((step, change, curvature))
            self._factor = curvature / float(change @ change)
            return
        if self._matrix is None:
            self._matrix = np.eye(self._size) * (curvature / float(change @ change))
        image = self._matrix @ change
        cross = np.multiply.outer(image, step / curvature)
        self._matrix += np.multiply.outer(step, step * ((1 + change @ image / curvature) / curvature))
        self._matrix -= cross + cross.T


def _units(curvature: Vector) -> Vector:
    """By what a diagonal of a Hessian becomes ones: so the units of features do not matter."""
    return np.asarray(np.sqrt(np.where(curvature == 0, 1.0, np.abs(curvature))))


def _largest(gradient: Vector) -> float:
    return float(np.abs(gradient).max())


def too_many(max_iter: int) -> str:
    return f"{max_iter} iterations (max_iter) were not enough"


def _stall(value: float, gradient: Vector, slope: float, flat: float) -> str:
    """What is wrong where no step makes the objective fall: nothing if one could not have been seen."""
    if _largest(gradient) <= flat or abs(slope) <= 1e-9 * abs(value):
        return ""
    return f"the objective stopped falling while the gradient was {_largest(gradient):.2g}, for {flat:.2g} asked"


class Progress:
    """Under `verbose`, a bar over the iterations of a fit that takes longer than a second; without tqdm, a line each
    second."""

    def __init__(self, name: str, total: int, verbose: int) -> None:
        self._name = name
        self._total = total
        self._bar: Any = None
        self._seen = time.monotonic() if verbose else np.inf
        self._done = 0
        if verbose:
            try:
                from tqdm import tqdm  # type: ignore[import-untyped]
            except ImportError:
                return
            self._bar = tqdm(desc=name, total=total, delay=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, value: float) -> None:
        """One more iteration, with the objective after it."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"objective {value:.8g}", refresh=False)
            self._bar.update()
        elif time.monotonic() >= self._seen + 1:
            self._seen = time.monotonic()
            print(f"{self._name}: iteration {self._done} of at most {self._total}, objective {value:.8g}",
                  file=sys.stderr)
