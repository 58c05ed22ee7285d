"""The imbalance study: where a sharp loss draws the line between a small class and a large one, and where theory does.

After Lê Bích Phượng, *Constructing loss functions for optimal performance in differential machine learning*, 2024.
Points fill [a, b] evenly; those up to a₁, the small class, are +1, and those beyond are −1. The classifier has one
parameter: the score of x is θ − x, so that θ = a₁ makes no mistake. With `fl.Sharp` its mean loss is 1 − G(θ)/(b − a),
where the gain G(θ) is the integral of y·φ(θ − x). Weights of the classes multiply the two parts of that integral.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq

import fastloss as fl

from .cases import Array
from .losses import print_table, progress

A, B = 0.0, 1.0
BORDERS = (0.5, 0.4, 0.2, 0.1)  # a₁
PHIS: tuple[Literal["algebraic", "arctan"], ...] = ("algebraic", "arctan")
EPSILONS = (1.0, 0.1, 0.01, 0.001)
WEIGHTS = ("none", "balanced", "exact")
N = 10**5
X = A + (B - A) * (np.arange(N) + 0.5) / N  # stratified: the middle of each of N equal cells

# the figures: φ rises within a width of about √ε (algebraic) or ε (arctan), so the two share an axis of widths
BIAS_BORDERS, BIAS_WIDTHS, BIAS_FLOOR = (0.4, 0.1), np.logspace(-2.5, 0.5, 13), 1e-8
COLOURS = {"none": "#d1495b", "balanced": "#4d77b3", "exact": "#3f9b83"}

# stochastic gradient descent
SGD_BORDER, SGD_WIDTHS = 0.2, np.logspace(-3, 0.5, 22)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
RUNS, BATCH, STEPS, LAST, MOMENTUM = 200, 32, 1000, 200, 0.9


@cache
def labels(border: float) -> Array:
    return np.where(border > X, 1.0, -1.0)


@dataclass(frozen=True)
class Problem:
    """A truth, a loss and weights. What theory says comes from the formulas, what is measured from fastloss alone."""

    border: float
    phi: Literal["algebraic", "arctan"]
    epsilon: float
    weights: str

    def sigmoid(self, x: Any) -> Any:
        """φ(x)."""
        if self.phi == "algebraic":
            return x / np.sqrt(x * x + self.epsilon)
        return 2 / np.pi * np.arctan(x / self.epsilon)

    @property
    def small(self) -> float:
        return self.border - A

    @property
    def large(self) -> float:
        return B - self.border

    @property
    def case(self) -> str:
        """The paper's: 1 with classes of equal size, 3 where it proves that the small one is ignored, 2 between."""
        if self.small == self.large:
            return "1"
        return "3" if self.sigmoid(self.large) > 3 * self.sigmoid(self.small) else "2"

    @property
    def ratio(self) -> float:
        """w₊/w₋, the weight of the small class over that of the large one."""
        if self.weights == "none":
            return 1.0
        if self.weights == "balanced":
            return self.large / self.small
        return float(self.sigmoid(self.large) / self.sigmoid(self.small))

    def slope(self, theta: float) -> float:
        """G′(θ)/w₋."""
        beyond = self.sigmoid(self.border - theta)
        return float(self.ratio * (self.sigmoid(theta - A) + beyond) - (self.sigmoid(B - theta) - beyond))

    def optimum(self) -> float:
        """The θ of the greatest gain: a where G falls from there on, else the root of G′, which has no other."""
        return A if self.slope(A) <= 0 else brentq(self.slope, A, B, xtol=1e-14)

    def asymptote(self) -> float:
        """The leading term of the optimum's distance to a₁ as ε → 0, without weights and with balanced ones."""
        if self.weights == "none":
            if self.phi == "algebraic":
                return self.epsilon**1.5 / 4 * (self.small**-2 - self.large**-2)
            return self.epsilon**2 / 2 * (1 / self.small - 1 / self.large)
        skew = (self.large - self.small) / (B - A)
        if self.phi == "algebraic":
            return float(np.sqrt(self.epsilon / (1 - skew**2)) * skew)
        return float(self.epsilon * np.tan(np.pi / 2 * skew))

    @cached_property
    def loss(self) -> fl.Sharp:
        """With weights of mean 1 over the sample, so that a learning rate means the same for all."""
        if self.weights == "balanced":
            return fl.Sharp(self.phi, self.epsilon, class_weight=fl.class_weights(labels(self.border)))
        mean = (self.large + self.small * self.ratio) / (B - A)
        return fl.Sharp(self.phi, self.epsilon, class_weight={-1: 1 / mean, 1: self.ratio / mean})

    def minimiser(self) -> float:
        """The θ of the least mean loss: the best of a grid, then the root of the gradient next to it."""
        y = labels(self.border)

        def slope(theta: float) -> float:
            return self.loss.gradient(y, theta - X).sum()

        grid = np.linspace(A, B, 65)
        best = int(np.argmin([self.loss(y, theta - X) for theta in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 64)]
        return low if slope(low) >= 0 else brentq(slope, low, high)  # a, where the loss rises from there on

    def quality(self, theta: float) -> tuple[float, float, float]:
        """Recall, specificity and accuracy."""
        y = labels(self.border)
        right = (theta - X > 0) == (y > 0)
        return right[y > 0].mean(), right[y < 0].mean(), right.mean()

    def descent(self) -> Array:
        """RMSE to a₁ of stochastic gradient descent with momentum, by learning rate, over runs and their last steps.

        Each run has a start and mini-batches of its own; all problems and learning rates have the same ones.
        """
        rng, y = np.random.default_rng(0), labels(self.border)
        theta = before = np.tile(rng.uniform(A, B, RUNS), len(RATES))  # a column for each learning rate and run
        step, error = np.repeat(RATES, RUNS) / BATCH, np.zeros(len(theta))
        for i in range(STEPS):
            batch = rng.integers(N, size=(BATCH, RUNS))
            scores = theta - np.tile(X[batch], len(RATES))
            gradient = self.loss.gradient(np.tile(y[batch], len(RATES)), scores, reduction="sum").sum(axis=0)
            moved = np.clip(theta - step * gradient + MOMENTUM * (theta - before), A, B)
            theta, before = moved, theta
            if i >= STEPS - LAST:
                error += (theta - self.border) ** 2
        return np.sqrt(error.reshape(len(RATES), RUNS).mean(axis=1) / LAST)


def epsilon(phi: str, width: float) -> float:
    return float(width**2 if phi == "algebraic" else width)


def run(options: Namespace) -> None:
    problems = [Problem(*of) for of in product(BORDERS, PHIS, EPSILONS, WEIGHTS)]
    found = {problem: problem.minimiser() for problem in progress(problems, "minimisers")}
    print_table(list(optima_table(found)), options.markdown)
    away = max(abs(theta - problem.optimum()) for problem, theta in found.items())
    print(f"\nn = {N:,}; found and theoretical minimisers differ by at most {away:.0e}\n")

    problems = [Problem(SGD_BORDER, phi, epsilon(phi, width), weights)
                for phi, weights, width in product(PHIS, WEIGHTS, SGD_WIDTHS)]
    errors = {problem: problem.descent() for problem in progress(problems, "descent")}
    print_table(list(descent_table(errors)), options.markdown)
    print(f"\na₁ = {SGD_BORDER:g}; momentum {MOMENTUM:g}, batches of {BATCH}, {STEPS} steps, the last {LAST} counted; "
          f"{RUNS} runs")
    if not options.no_figure:
        problems = [Problem(border, phi, epsilon(phi, width), weights)
                    for border, phi, weights, width in product(BIAS_BORDERS, PHIS, WEIGHTS, BIAS_WIDTHS)]
        found = {problem: problem.minimiser() for problem in progress(problems, "bias")}
        draw(found, errors, options.out)


def optima_table(found: dict[Problem, float]) -> Iterator[list[str]]:
    yield ["a₁", "case", "φ", "ε", "weights", "θ found", "θ in theory", "θ − a₁", "recall", "specificity", "accuracy"]
    for problem, theta in found.items():
        yield [f"{problem.border:g}", problem.case, problem.phi, f"{problem.epsilon:g}", problem.weights,
               f"{theta:.6f}", f"{problem.optimum():.6f}", f"{theta - problem.border:+.1e}",
               *(f"{rate:.3f}" for rate in problem.quality(theta))]


def descent_table(errors: dict[Problem, Array]) -> Iterator[list[str]]:
    yield ["φ", "weights", "learning rate", "best ε", "RMSE", "within 10 %: ε from", "to", "RMSE at sharpest"]
    for phi, weights in product(PHIS, WEIGHTS):
        epsilons, rows = curve(errors, phi, weights)
        for rate, column in zip(RATES, rows.T, strict=True):
            good = epsilons[column <= 1.1 * column.min()]
            yield [phi, weights, f"{rate:g}", f"{epsilons[column.argmin()]:.1e}", f"{column.min():.4f}",
                   f"{good.min():.1e}", f"{good.max():.1e}", f"{column[0]:.4f}"]


def curve(errors: dict[Problem, Array], phi: str, weights: str) -> tuple[Array, Array]:
    """ε, and the RMSE by ε and learning rate."""
    chosen = [problem for problem in errors if (problem.phi, problem.weights) == (phi, weights)]
    return np.array([problem.epsilon for problem in chosen]), np.array([errors[problem] for problem in chosen])


def draw(found: dict[Problem, float], errors: dict[Problem, Array], folder: Path) -> None:
    try:
        import matplotlib
    except ImportError as error:
        print(f"the figures are skipped: {error}")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(2, 2, figsize=(10, 7.4), sharex="row", sharey=True, layout="constrained")
        for (phi, border), axis in zip(product(PHIS, BIAS_BORDERS), axes.flat, strict=True):
            bias(axis, {problem: theta for problem, theta in found.items()
                        if (problem.phi, problem.border) == (phi, border)})
            axis.set_title(f"{phi}, a₁ = {border:g}", fontweight="bold")
        label(figure, axes, "|θ − a₁|", "Distance of the minimiser to a₁: measured (points) and in theory (lines)", 5)
        save(figure, folder / "imbalance_bias.png")

        figure, axes = plt.subplots(2, 3, figsize=(9.8, 6.2), sharex="row", sharey=True, layout="constrained")
        for (phi, weights), axis in zip(product(PHIS, WEIGHTS), axes.flat, strict=True):
            descents(axis, *curve(errors, phi, weights), phi, weights)
            axis.set_title(f"{phi}, weights: {weights}", fontweight="bold")
        label(figure, axes, "RMSE", f"Descent with momentum, a₁ = {SGD_BORDER:g}: RMSE to a₁ by learning rate", 6)
        save(figure, folder / "imbalance_sgd.png")
    plt.close("all")
    print("figures written to", folder)


def save(figure: Any, path: Path) -> None:
    """With few colours: half the bytes."""
    from PIL import Image  # matplotlib needs it, too

    figure.set_dpi(110)
    figure.canvas.draw()
    Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB").quantize(96).save(path, optimize=True)


def label(figure: Any, axes: Any, y: str, title: str, columns: int) -> None:
    """What the panels have in common; one legend for all."""
    for axis in axes[:, 0]:
        axis.set_ylabel(y)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(title, fontsize=13, fontweight="bold")


def bias(axis: Any, found: dict[Problem, float]) -> None:
    one = next(iter(found))
    fine = [epsilon(one.phi, width) for width in np.geomspace(BIAS_WIDTHS[0], BIAS_WIDTHS[-1], 200)]
    for weights, colour in COLOURS.items():
        points = [(problem.epsilon, max(abs(theta - problem.border), BIAS_FLOOR))
                  for problem, theta in found.items() if problem.weights == weights]
        axis.loglog(*zip(*points, strict=True), "v" if weights == "exact" else "o", color=colour,
                    label="exact (below 10⁻⁸)" if weights == "exact" else weights)
        if weights != "exact":
            theory = [Problem(one.border, one.phi, at, weights) for at in fine]
            axis.loglog(fine, [abs(problem.optimum() - one.border) for problem in theory], color=colour)
            axis.loglog(fine, [problem.asymptote() for problem in theory], ":", color=colour, linewidth=1.2,
                        label={"none": "∝ ε^(3/2), arctan ∝ ε²", "balanced": "∝ √ε, arctan ∝ ε"}[weights])
    axis.set_ylim(BIAS_FLOOR / 2, 1)
    axis.set_xlabel("ε")
    axis.grid(alpha=0.25)


def descents(axis: Any, epsilons: Array, errors: Array, phi: Literal["algebraic", "arctan"], weights: str) -> None:
    import matplotlib.pyplot as plt

    for i, (rate, column) in enumerate(zip(RATES, errors.T, strict=True)):
        colour, best = plt.get_cmap("viridis")(0.9 * i / (len(RATES) - 1)), column.argmin()
        axis.loglog(epsilons, column, color=colour, label=f"rate {rate:g}")
        axis.loglog(epsilons[best], column[best], "*", color=colour, markersize=13, markeredgecolor="white")
    if weights != "exact":
        theory = [abs(Problem(SGD_BORDER, phi, at, weights).optimum() - SGD_BORDER) for at in epsilons]
        axis.loglog(epsilons, theory, "--", color="0.4", label="without noise")
    axis.set_ylim(0.005, 0.7)
    axis.set_xlabel("ε")
    axis.grid(alpha=0.25)
