"""Where `fl.Sharp` draws the line between a small class and a large one, held to theory.

Points fill [0, 1] evenly; those up to a₁ (`border`) are +1, the others −1, and the score of x is θ − x. Lê Bích Phượng,
*Constructing loss functions for optimal performance in differential machine learning*, 2024, and worked out from there:
the gain is G(θ) = ∫ y·φ(θ − x) dx, with G′(θ) = φ(θ) + 2φ(a₁ − θ) − φ(1 − θ). Everything tested is measured with
fastloss, on a sample with one point in each of n equal cells.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import brentq

import fastloss as fl

N = 10**5
MIDDLE = (np.arange(N) + 0.5) / N
RANDOM = (np.arange(N) + np.random.default_rng(0).random(N)) / N
SIGMOIDS = {"algebraic": lambda x, epsilon: x / np.hypot(x, epsilon**0.5),
            "arctan": lambda x, epsilon: np.arctan2(x, epsilon) / (np.pi / 2)}
BORDERS, EPSILONS = (0.5, 0.4, 0.2, 0.1), (1.0, 0.1, 0.01, 0.001)
#: the middle of a cell is nearly as good as the cell; of the rest, brentq's tolerance is the largest part
TOLERANCE = 1e-9

sigmoids = pytest.mark.parametrize("phi", SIGMOIDS)
borders = pytest.mark.parametrize("border", BORDERS)
epsilons = pytest.mark.parametrize("epsilon", EPSILONS)


def labels(x, border):
    return np.where(x < border, 1, -1)


def least(loss, x, y, **kwargs):
    """The θ in [0, 1] of the least mean loss: the best of a grid, then the root of the gradient next to it."""
    def slope(theta):
        return loss.gradient(y, theta - x, **kwargs).sum()

    grid = np.linspace(0, 1, 33)
    best = np.argmin([loss(y, theta - x, **kwargs) for theta in grid])
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, 32)]
    return low if slope(low) >= 0 else brentq(slope, low, high)


@cache
def minimiser(phi, epsilon, border, weight=None):
    """With `weight` on the small class, or "balanced"."""
    class_weight = {1: weight} if isinstance(weight, float) else weight
    return least(fl.Sharp(phi, epsilon, class_weight=class_weight), MIDDLE, labels(MIDDLE, border))


def exact_weight(phi, epsilon, border):
    """What brings the minimum to a₁."""
    return float(SIGMOIDS[phi](1 - border, epsilon) / SIGMOIDS[phi](border, epsilon))


@sigmoids
@epsilons
@pytest.mark.parametrize("border", [0.4, 0.1])
def test_the_mean_loss_is_one_minus_the_gain(phi, epsilon, border):
    def gain(low, high, theta):
        around = [cut for cut in theta + 5 * width * np.array([-1, 0, 1]) if low < cut < high]
        return sum(quad(lambda x: SIGMOIDS[phi](theta - x, epsilon), *part, epsabs=1e-13, limit=200)[0]
                   for part in pairwise([low, *around, high]))

    loss, y, width = fl.Sharp(phi, epsilon), labels(MIDDLE, border), epsilon if phi == "arctan" else epsilon**0.5
    for theta in (0.0, border / 2, border, 0.75):
        value, gradient = loss.loss_gradient(y, theta - MIDDLE)
        assert_allclose(value, 1 - gain(0, border, theta) + gain(border, 1, theta), rtol=0, atol=1e-8)
        slope = SIGMOIDS[phi](np.array([theta, border - theta, 1 - theta]), epsilon) @ [1, 2, -1]
        assert_allclose(gradient.sum(), -slope, rtol=0, atol=1e-5)


# θ without weights and with balanced ones, algebraic φ
KNOWN = {(0.4, 1.0): (0.114163, 0.462908), (0.4, 0.1): (0.380789, 0.445259), (0.4, 0.01): (0.399180, 0.419293),
         (0.1, 1.0): (0.0, 0.352886), (0.1, 0.1): (0.0, 0.292326), (0.1, 0.01): (0.081602, 0.199507),
         (0.1, 0.001): (0.099264, 0.139119)}


@pytest.mark.parametrize("x", [MIDDLE, RANDOM], ids=["middle", "random"])
@pytest.mark.parametrize(("border", "epsilon"), KNOWN)
def test_known_minimisers(border, epsilon, x):
    found = [least(fl.Sharp("algebraic", epsilon, class_weight=weight), x, labels(x, border))
             for weight in (None, "balanced")]
    assert_allclose(found, KNOWN[border, epsilon], rtol=0, atol=1e-6)


@sigmoids
@borders
@epsilons
def test_the_small_class_is_ignored_exactly_where_theory_says(phi, epsilon, border):
    """(i): where 2φ(a₁ − a) ≤ φ(b − a)."""
    ignored = 2 * SIGMOIDS[phi](border, epsilon) <= SIGMOIDS[phi](1, epsilon)
    assert (minimiser(phi, epsilon, border) == 0) == ignored


@sigmoids
@pytest.mark.parametrize("border", [0.4, 0.2, 0.1])
def test_it_is_ignored_from_a_known_epsilon_on(phi, border):
    """(i), solved for ε."""
    edge = {"algebraic": 3 * border**2 / (1 - 4 * border**2), "arctan": border / np.sqrt(1 - 2 * border)}[phi]
    assert minimiser(phi, 0.99 * edge, border) > 0
    assert minimiser(phi, 1.01 * edge, border) == 0


@sigmoids
@borders
@epsilons
def test_the_cases_of_the_paper(phi, epsilon, border):
    theta = minimiser(phi, epsilon, border)
    if border == 0.5:
        assert_allclose(theta, 0.5, rtol=0, atol=TOLERANCE)
    elif SIGMOIDS[phi](1 - border, epsilon) > 3 * SIGMOIDS[phi](border, epsilon):
        assert theta == 0
    else:
        assert 0 <= theta < border


@sigmoids
@borders
@epsilons
def test_exact_weights(phi, epsilon, border):
    """(ii): the minimum is at a₁ exactly where w₊/w₋ = φ(b − a₁)/φ(a₁ − a)."""
    weight = exact_weight(phi, epsilon, border)
    assert_allclose(minimiser(phi, epsilon, border, weight), border, rtol=0, atol=TOLERANCE)
    lighter, heavier = (minimiser(phi, epsilon, border, weight * factor) for factor in (0.99, 1.01))
    assert lighter < border - 100 * TOLERANCE and heavier > border + 100 * TOLERANCE
    # weights of the samples say the same as weights of the classes
    y = labels(MIDDLE, border)
    theta = least(fl.Sharp(phi, epsilon), MIDDLE, y, sample_weight=np.where(y > 0, weight, 1.0))
    assert_allclose(theta, border, rtol=0, atol=TOLERANCE)


@sigmoids
@borders
@epsilons
def test_balanced_weights_overshoot(phi, epsilon, border):
    theta = minimiser(phi, epsilon, border, "balanced")
    if border == 0.5:
        assert_allclose(theta, 0.5, rtol=0, atol=TOLERANCE)
        return
    large, small = fl.class_weights(labels(MIDDLE, border))
    assert small / large > exact_weight(phi, epsilon, border)
    assert border + 100 * TOLERANCE < theta < 1


def leading(phi, epsilon, border, weight):
    """The leading term of θ − a₁ as ε → 0, and its power of ε; arctan's ε is a width, the other's the square of one."""
    large = 1 - border
    return {("algebraic", None): (-(epsilon**1.5) / 4 * (border**-2 - large**-2), 1.5),
            ("arctan", None): (-(epsilon**2) / 2 * (1 / border - 1 / large), 2.0),
            ("algebraic", "balanced"): (np.sqrt(epsilon / (4 * border * large)) * (large - border), 0.5),
            ("arctan", "balanced"): (epsilon * np.tan(np.pi / 2 * (large - border)), 1.0)}[phi, weight]


@sigmoids
@pytest.mark.parametrize("border", [0.4, 0.2, 0.1])
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_how_fast_the_bias_vanishes(phi, border, weight):
    """(iii): like ε^(3/2) without weights and √ε with balanced ones; like ε² and ε for arctan."""
    bias, smaller = (minimiser(phi, epsilon, border, weight) - border for epsilon in (1e-3, 1e-4))
    expected, power = leading(phi, 1e-4, border, weight)
    assert_allclose(smaller, expected, rtol=0.015)
    assert_allclose(bias, leading(phi, 1e-3, border, weight)[0], rtol=0.08)
    assert_allclose(np.log10(bias / smaller), power, rtol=0, atol=0.03)


def descent(epsilon, rate, border=0.2, runs=200, batch=32, steps=300, momentum=0.9):
    """RMSE to a₁ of the last θ of stochastic gradient descent with momentum: each run has its own start and batches."""
    rng, loss = np.random.default_rng(0), fl.Sharp("algebraic", epsilon)
    theta = before = rng.random(runs)
    for _ in range(steps):
        x = MIDDLE[rng.integers(N, size=(batch, runs))]
        gradient = loss.gradient(labels(x, border), theta - x, reduction="sum").sum(axis=0) / batch
        theta, before = np.clip(theta - rate * gradient + momentum * (theta - before), 0, 1), theta
    return np.sqrt(np.mean((theta - border) ** 2))


def test_the_best_sharpness_of_descent_grows_with_the_learning_rate():
    epsilons = [1e-6, 1e-3, 0.03, 1.0]
    for rate, best in {0.001: 1, 0.03: 2}.items():
        errors = [descent(epsilon, rate) for epsilon in epsilons]
        assert 1.25 * errors[best] < min(errors[:best] + errors[best + 1:]), (rate, errors)
