"""The main job on real input: logistic models of breast cancer, minimised by scipy, beside LogisticRegression.

Both minimise mean loss + ½·l2·‖coef‖² with L-BFGS and the same stopping rules; the intercept is not penalised.
Malignant is the positive class. "imbalanced" keeps one malignant case in ten of the training half; recall, precision
and specificity are of the test half, which keeps all.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize

import fastloss as fl

from .cases import Array
from .losses import print_table
from .timing import timed

C = 1.0
STOPPING = {"gtol": 1e-4, "ftol": 64 * np.finfo(float).eps, "maxls": 50, "maxiter": 1000}  # as LogisticRegression
REPEATS = 20


class Objective:
    """Mean loss + ½·l2·‖coef‖² and its gradient, by the parameters (coef, intercept)."""

    def __init__(self, loss: fl.Loss, X: Array, y: Array, l2: float) -> None:
        self.loss, self.X, self.y, self.l2 = loss, X, y, l2
        self.scores = np.empty(len(y))

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        coef = parameters[:-1]
        np.matmul(self.X, coef, out=self.scores)
        self.scores += parameters[-1]
        # the gradient takes the place of the scores: nothing of the size of y is allocated
        value, slope = self.loss.loss_gradient(self.y, self.scores, gradient_out=self.scores)
        gradient = np.append(slope @ self.X + self.l2 * coef, slope.sum())
        return float(value + 0.5 * self.l2 * coef @ coef), gradient


def data() -> dict[str, tuple[Array, Array, Array, Array]]:
    """Name → standardised X_train, y_train, X_test, y_test."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    X, benign = load_breast_cancer(return_X_y=True)
    y = 1 - benign
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    malignant = np.flatnonzero(y_train)
    kept = np.random.default_rng(0).choice(malignant, len(malignant) // 10, replace=False)
    few = np.sort(np.concatenate([np.flatnonzero(y_train == 0), kept]))
    result = {}
    for name, rows in {"whole": np.arange(len(y_train)), "imbalanced": few}.items():
        mean, scale = X_train[rows].mean(axis=0), X_train[rows].std(axis=0)
        result[name] = (X_train[rows] - mean) / scale, y_train[rows], (X_test - mean) / scale, y_test
    return result


def models(y: Array) -> dict[str, tuple[fl.Loss, dict[str, Any] | None]]:
    """Name → the loss, and what makes a LogisticRegression that minimises the same (focal losses have none)."""
    alpha = 1 - float(y.mean())  # weighs each class by the other's share, as "balanced" does
    return {
        "cross-entropy": (fl.BinaryCrossEntropy(), {}),
        "cross-entropy, balanced": (fl.BinaryCrossEntropy(class_weight="balanced"), {"class_weight": "balanced"}),
        f"focal γ=2, α={alpha:.2f}": (fl.BinaryFocal(gamma=2.0, alpha=alpha), None),
    }


def run(options: Namespace) -> None:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        print(f"the training is skipped: {error}")
        return

    table = [["malignant in training", "model", "fitted by", "objective", "iterations", "ms", "recall", "precision",
              "specificity"]]
    for name, (X, y, X_test, y_test) in data().items():
        for model, (loss, arguments) in models(y).items():
            objective = Objective(loss, X, y, l2=1 / (C * len(y)))
            fits: dict[str, Callable[[], Any]] = {"fastloss": partial(
                minimize, objective, np.zeros(X.shape[1] + 1), method="L-BFGS-B", jac=True, options=STOPPING)}
            if arguments is not None:
                fits["LogisticRegression"] = partial(LogisticRegression(C=C, max_iter=1000, **arguments).fit, X, y)
            for by, fit in fits.items():
                fitted, seconds = fit(), min(timed(fit, 1) for _ in range(REPEATS))
                parameters, iterations = read(fitted)
                table.append([f"{name}: {int(y.sum())} of {len(y)}", model, by, f"{objective(parameters)[0]:.6f}",
                              str(iterations), f"{seconds * 1e3:.2f}", *scores(parameters, X_test, y_test)])
    print_table(table, options.markdown)


def read(fitted: Any) -> tuple[Array, int]:
    """Parameters and iterations, of scipy's result or of a fitted estimator."""
    if hasattr(fitted, "coef_"):
        return np.append(fitted.coef_, fitted.intercept_), int(fitted.n_iter_[0])
    return fitted.x, fitted.nit


def scores(parameters: Array, X: Array, y: Array) -> list[str]:
    """Recall, precision and specificity on data not trained on."""
    said, positive = X @ parameters[:-1] + parameters[-1] > 0, y == 1
    found = np.sum(said & positive)
    values = found / np.sum(positive), found / max(1, np.sum(said)), np.sum(~said & ~positive) / np.sum(~positive)
    return [f"{value:.3f}" for value in values]
