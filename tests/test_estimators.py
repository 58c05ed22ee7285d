"""LinearClassifier and LinearRegressor: scikit-learn's own checks, its models as references, mini-batches against
loops in NumPy, and what they do inside scikit-learn's tools."""

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

sklearn = pytest.importorskip("sklearn", minversion="1.6", reason="the estimators need scikit-learn 1.6 or newer")

import pandas as pd  # noqa: E402
from scipy import linalg, optimize, sparse, special  # noqa: E402
from sklearn import linear_model, svm  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning  # noqa: E402
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score  # noqa: E402
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import fastloss as fl  # noqa: E402
from fastloss import _solvers  # noqa: E402
from reference import INSTANCES, PAIRS, is_binary, is_probability  # noqa: E402
from reference_rows import ROW_INSTANCES, is_logits, is_row_loss, one_hot  # noqa: E402

# N samples of D features, and targets of all kinds that depend on them.
N, D = 300, 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D))
Z = X @ [0.6, -0.4, 0.3, 0.0, 0.2] + 0.2
Y = Z + 0.5 * RNG.standard_t(3, N)
LABELS = (Y > 0.5).astype(int)
CLASSES = np.digitize(Y, [-0.2, 0.6])
INDICATORS = (Z[:, None] * [1.0, -1.0, 0.5, 2.0] + RNG.standard_normal((N, 4)) > 0.7).astype(int)
COUNTS = RNG.poisson(np.exp(Z)).astype(float)
AMOUNTS = RNG.gamma(2, np.exp(Z) / 2) + 1e-3
WEIGHTS = RNG.integers(0, 4, N).astype(float)

both_solvers = pytest.mark.parametrize("solver", ["newton", "lbfgs"])
both_estimators = pytest.mark.parametrize("cls, y", [(fl.LinearClassifier, LABELS), (fl.LinearRegressor, Y)],
                                          ids=["classifier", "regressor"])


def python(code):
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)


# ---- scikit-learn's checks -------------------------------------------------------------------------------------------

CHECKED = [
    fl.LinearClassifier(), fl.LinearClassifier(alpha=0.1, solver="lbfgs", tol=1e-9),
    fl.LinearClassifier("cross_entropy"), fl.LinearClassifier("hinge", max_iter=300),
    fl.LinearClassifier("multilabel_margin", max_iter=300), fl.LinearClassifier(solver="sgd", max_iter=50),
    fl.LinearClassifier("softmax", solver="sgd", max_iter=50), fl.LinearRegressor(),
    fl.LinearRegressor("huber", solver="lbfgs", tol=1e-9), fl.LinearRegressor("mae", max_iter=300),
    fl.LinearRegressor("poisson"), fl.LinearRegressor("gaussian_nll"), fl.LinearRegressor(solver="sgd", max_iter=50),
]
#: By the loss, why coefficients are not the same to 7 digits with weights and with samples repeated as often.
UNSURE = dict.fromkeys(["hinge", "multilabel_margin", "mae"], "beside kinks the objective is exact to `tol`, its "
                       "coefficients to about the root of that: test_weights_are_repetitions compares objectives")
UNSURE["gaussian_nll"] = "with 15 samples of 30 features the objective has no minimum, as the documentation says"


def expected_failures(estimator):
    if estimator.loss != "poisson":
        return {}
    return {"check_regressor_multioutput": "the check gives negative targets, which have no Poisson loss"}


# Some checks fit data without a minimum, or data of a few samples for a few iterations.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    if "weight_equivalence" in str(check) and estimator.loss in UNSURE:
        pytest.skip(UNSURE[estimator.loss])
    check(estimator)


@pytest.mark.parametrize("loss", [*UNSURE, "bce", "softmax", "huber"])
def test_weights_are_repetitions(loss):
    cls, y = ((fl.LinearRegressor, Y) if loss in ("mae", "gaussian_nll", "huber") else
              (fl.LinearClassifier, INDICATORS if loss == "multilabel_margin" else CLASSES))
    again = np.repeat(np.arange(N), WEIGHTS.astype(int))
    weighted = cls(loss, tol=1e-9).fit(X, y, WEIGHTS)
    repeated = cls(loss, tol=1e-9).fit(X[again], y[again])
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-7)
    assert_allclose(weighted.coef_, repeated.coef_, atol=1e-3 if loss in UNSURE else 1e-7)


# ---- the same coefficients as others ---------------------------------------------------------------------------------

@both_solvers
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.3, 1: 2.0}], ids=str)
def test_binary_cross_entropy_is_logistic_regression(solver, weighted, class_weight):
    w = WEIGHTS if weighted else np.ones(N)
    total = w.sum()
    if class_weight is not None:
        # what scikit-learn's penalty is relative to: Σ w with the weights of classes
        by_class = w.sum() / (2 * np.bincount(LABELS, w)) if class_weight == "balanced" else np.array([0.3, 2.0])
        total = (w * by_class[LABELS]).sum()
        class_weight = dict(enumerate(by_class)) if weighted else class_weight
    other = linear_model.LogisticRegression(C=0.7, tol=1e-12, solver="newton-cholesky", class_weight=class_weight)
    other.fit(X, LABELS, w)
    model = fl.LinearClassifier(alpha=1 / (0.7 * total), solver=solver, class_weight=class_weight, tol=1e-8)
    model.fit(X, LABELS, w if weighted else None)
    assert_allclose(model.coef_, other.coef_, rtol=1e-6)
    assert_allclose(model.intercept_, other.intercept_, rtol=1e-6)
    assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=1e-6)
    assert_allclose(model.decision_function(X), other.decision_function(X), rtol=1e-5, atol=1e-6)


def test_balanced_counts_weights():
    """Twice the weight is as good as twice the samples, for "balanced", too."""
    twice = np.repeat(np.arange(N), WEIGHTS.astype(int))
    a = fl.LinearClassifier(class_weight="balanced").fit(X, CLASSES, WEIGHTS)
    b = fl.LinearClassifier(class_weight="balanced").fit(X[twice], CLASSES[twice])
    assert_allclose(a.coef_, b.coef_, rtol=1e-8)


@both_solvers
def test_cross_entropy_is_multinomial_logistic_regression(solver):
    other = linear_model.LogisticRegression(C=0.7, tol=1e-12, solver="newton-cg", max_iter=1000)
    other.fit(X, CLASSES, WEIGHTS)
    model = fl.LinearClassifier("cross_entropy", alpha=1 / (0.7 * WEIGHTS.sum()), solver=solver, tol=1e-9)
    model.fit(X, CLASSES, WEIGHTS)
    assert_allclose(model.coef_, other.coef_, rtol=1e-5, atol=1e-7)
    assert_allclose(model.intercept_, other.intercept_ - other.intercept_.mean(), rtol=1e-5)
    assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=1e-5)


def test_cross_entropy_of_two_classes_is_logistic_regression():
    """W₁ = -W₀ at the optimum: the penalty on their difference is half as strong."""
    other = linear_model.LogisticRegression(C=2, tol=1e-12, solver="newton-cholesky").fit(X, LABELS)
    model = fl.LinearClassifier("cross_entropy", alpha=1 / N).fit(X, LABELS)
    assert model.coef_.shape == (2, D)
    assert_allclose(model.coef_[1] - model.coef_[0], other.coef_[0], rtol=1e-5)
    assert_allclose(model.decision_function(X), other.decision_function(X), rtol=1e-4, atol=1e-6)
    assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=1e-5)


@both_solvers
def test_one_against_the_rest_and_multilabel_are_separate_fits(solver):
    logistic = linear_model.LogisticRegression(C=1 / (0.01 * N), tol=1e-12, solver="newton-cholesky")
    for y in (CLASSES, INDICATORS):
        other = OneVsRestClassifier(logistic).fit(X, y)
        model = fl.LinearClassifier(alpha=0.01, solver=solver, tol=1e-8).fit(X, y)
        assert_allclose(model.coef_, [part.coef_[0] for part in other.estimators_], rtol=1e-5, atol=1e-7)
        assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=1e-5)
        assert_array_equal(model.predict(X), other.predict(X))


GLMS = [
    ("poisson", COUNTS, linear_model.PoissonRegressor, {}),
    ("gamma", AMOUNTS, linear_model.GammaRegressor, {}),
    (fl.Tweedie(power=1.5), COUNTS, linear_model.TweedieRegressor, {"power": 1.5, "link": "log"}),
    (fl.Tweedie(power=3), AMOUNTS, linear_model.TweedieRegressor, {"power": 3, "link": "log"}),
    (fl.Tweedie(power=2, link="identity"), 5 + Z, linear_model.TweedieRegressor, {"power": 2, "link": "identity"}),
    (fl.SquaredError(half=True), Y, linear_model.TweedieRegressor, {"power": 0}),
]


@both_solvers
@pytest.mark.parametrize("alpha", [0, 0.1])
@pytest.mark.parametrize("loss, y, cls, parameters", GLMS, ids=lambda value: str(value) if np.ndim(value) == 0 else "")
def test_generalised_linear_models(solver, alpha, loss, y, cls, parameters):
    other = cls(alpha=alpha, tol=1e-10, max_iter=10_000, **parameters).fit(X, y, WEIGHTS)
    model = fl.LinearRegressor(loss, alpha=alpha, solver=solver, tol=1e-9).fit(X, y, WEIGHTS)
    assert_allclose(model.coef_, other.coef_, rtol=1e-5, atol=1e-7)
    assert_allclose(model.intercept_, other.intercept_, rtol=1e-6)
    assert_allclose(model.predict(X), other.predict(X), rtol=1e-6, atol=1e-7)


@both_solvers
def test_ridge_of_several_columns(solver):
    targets = np.column_stack([Y, 3 * Z + Y, -X[:, 0]])
    other = linear_model.Ridge(alpha=7.0).fit(X, targets, WEIGHTS)
    model = fl.LinearRegressor(alpha=2 * 7.0 / WEIGHTS.sum(), solver=solver, tol=1e-9).fit(X, targets, WEIGHTS)
    assert_allclose(model.coef_, other.coef_, rtol=1e-6, atol=1e-8)
    assert_allclose(model.intercept_, other.intercept_, rtol=1e-6, atol=1e-8)
    assert_allclose(model.predict(X), other.predict(X), rtol=1e-6, atol=1e-7)
    assert model.score(X, targets) == pytest.approx(other.score(X, targets))


@both_solvers
def test_huber_at_its_own_scale(solver):
    other = linear_model.HuberRegressor(epsilon=1.5, alpha=0.5, tol=1e-9, max_iter=10_000).fit(X, Y)
    loss = fl.Huber(1.5 * other.scale_)
    model = fl.LinearRegressor(loss, alpha=0.5 * other.scale_ / N, solver=solver, tol=1e-8).fit(X, Y)
    assert_allclose(model.coef_, other.coef_, rtol=1e-4, atol=1e-5)  # HuberRegressor's own accuracy
    assert_allclose(model.intercept_, other.intercept_, rtol=1e-4)


@both_solvers
def test_squared_hinge_is_linear_svc(solver):
    other = svm.LinearSVC(C=0.5, fit_intercept=False, tol=1e-10, max_iter=10**5).fit(X, LABELS)
    model = fl.LinearClassifier("squared_hinge", alpha=1 / (0.5 * N), fit_intercept=False, solver=solver, tol=1e-9)
    assert_allclose(model.fit(X, LABELS).coef_, other.coef_, rtol=1e-6, atol=1e-8)
    assert_array_equal(model.intercept_, [0.0])


def pinball(y, z, share):
    return np.where(y >= z, share * (y - z), (1 - share) * (z - y)).mean()


@pytest.mark.parametrize("y", [Y, COUNTS, np.round(Y)], ids=["real", "counts", "rounded"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("intercept", [True, False])
def test_quantile_is_as_good_as_a_linear_program(y, share, intercept):
    """Also where many targets are equal, so that the start lies on a kink of them all."""
    other = linear_model.QuantileRegressor(quantile=share, alpha=0, fit_intercept=intercept).fit(X, y)
    model = fl.LinearRegressor(fl.Quantile(share), alpha=0, fit_intercept=intercept).fit(X, y)
    best = pinball(y, other.predict(X), share)
    assert pinball(y, model.predict(X), share) <= best * (1 + 1e-6)
    assert model.loss_ == pytest.approx(pinball(y, model.predict(X), share), rel=1e-12)


def test_quantiles_of_whole_numbers():
    """Whose residuals are 0 many at once: at the start, at the minimum, and on the way."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        n, d = rng.integers(6, 40), rng.integers(1, 4)
        A, y = rng.integers(-3, 4, (n, d)), rng.integers(-3, 4, n)
        share, intercept = rng.choice([0.1, 0.5, 0.75]), bool(rng.integers(2))
        best = linear_model.QuantileRegressor(quantile=share, alpha=0, fit_intercept=intercept).fit(A, y).predict(A)
        found = fl.LinearRegressor(fl.Quantile(share), alpha=0, fit_intercept=intercept).fit(A, y).predict(A)
        assert pinball(y, found, share) <= pinball(y, best, share) * (1 + 1e-4)


def hinge(m):
    return np.maximum(0, 1 - m)


def crammer_singer(z):
    target = z[np.arange(N), CLASSES]
    return np.where(one_hot(CLASSES, 3), -np.inf, hinge(target[:, None] - z)).max(axis=1).clip(0)


MACHINES = [
    # ours, theirs, y, the loss of scores
    ("hinge", svm.LinearSVC(loss="hinge"), LABELS, lambda z: hinge((2 * LABELS - 1) * z[:, 0])),
    ("multiclass_hinge", svm.LinearSVC(multi_class="crammer_singer"), CLASSES, crammer_singer),
    ("epsilon_insensitive", svm.LinearSVR(epsilon=0.1), Y, lambda z: np.maximum(0, abs(z[:, 0] - Y) - 0.1)),
]


@pytest.mark.parametrize("loss, other, y, formula", MACHINES, ids=lambda value: value if isinstance(value, str) else "")
def test_support_vector_machines(loss, other, y, formula):
    other = clone(other).set_params(C=0.5, fit_intercept=False, tol=1e-8, max_iter=10**6).fit(X, y)
    cls = fl.LinearRegressor if loss == "epsilon_insensitive" else fl.LinearClassifier
    model = cls(loss, alpha=1 / (0.5 * N), fit_intercept=False).fit(X, y)

    def objective(coef):
        return formula(X @ np.atleast_2d(coef).T).mean() + 0.5 / (0.5 * N) * (coef**2).sum()

    assert objective(model.coef_) <= objective(other.coef_) * (1 + 1e-6)
    assert model.loss_ == pytest.approx(objective(model.coef_), rel=1e-12)


def test_gaussian_likelihood():
    """Of noise that grows with a feature, against SciPy."""
    y = Z + np.exp(0.5 * X[:, 0] - 0.5) * RNG.standard_normal(N)
    A = np.column_stack([X, np.ones(N)])

    def objective(coef):
        mean, s = A @ coef[:6], A @ coef[6:]
        return (s + (y - mean) ** 2 * np.exp(-s)).mean() / 2

    best = optimize.minimize(objective, np.zeros(12), method="BFGS", options={"gtol": 1e-6})
    for solver in ("newton", "lbfgs"):
        model = fl.LinearRegressor("gaussian_nll", alpha=0, solver=solver).fit(X, y)
        found = np.column_stack([model.coef_, model.intercept_]).ravel()
        assert_allclose(found, best.x, atol=1e-4)
        assert objective(found) <= best.fun + 1e-9
        mean, std = model.predict(X, return_std=True)
        assert_allclose(mean, A @ found[:6])
        assert_allclose(std, np.exp(A @ found[6:] / 2))
        assert_array_equal(model.predict(X), mean)
    with pytest.raises(ValueError, match="return_std is for GaussianNLL"):
        fl.LinearRegressor().fit(X, y).predict(X, return_std=True)


# ---- every loss ------------------------------------------------------------------------------------------------------

EVERY = [loss for loss in INSTANCES if not is_probability(loss)
         and not isinstance(loss, (fl.Contrastive, fl.HingeEmbedding))] + PAIRS + [
    loss for loss in ROW_INSTANCES if is_logits(loss) and loss.target != "log classes"
    and loss.get_params().get("ignore_index") is None]
#: Curved at a thousandth of the residuals, and not convex: a hole for each target.
EVERY.remove(fl.Robust(alpha=0.5, scale=0.001))


def suitable(loss):
    """The estimator for a loss, and targets."""
    sizes = {len(v) for v in loss.get_params().values() if isinstance(v, np.ndarray)}
    if is_row_loss(loss):
        return fl.LinearClassifier, (INDICATORS if loss.target == "indicators" else CLASSES if sizes <= {3} else
                                     np.arange(N) % sizes.pop())
    if is_binary(loss):
        return fl.LinearClassifier, INDICATORS[:, :sizes.pop()] if sizes else LABELS
    y = {"real": Y, "non-negative": COUNTS, "positive": AMOUNTS, "above -1": AMOUNTS - 0.5}[loss.target]
    if loss.domain[0] == 0:
        y = 5 + Z  # an identity link, far from predictions of 0
    return fl.LinearRegressor, np.column_stack([y] * sizes.pop()) if sizes else y


def of_margin_0(loss):
    """Whether scores of 0 are a minimum."""
    return isinstance(loss, fl.Perceptron) or loss.get_params().get("margin") == 0


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("loss", [loss for loss in EVERY if not of_margin_0(loss)], ids=repr)
def test_every_loss_ends_where_no_step_goes_down(loss, solver):
    """By values of the loss alone, at scores from NumPy. For a convex loss this is the minimum; others are at least
    better than the best constant, where there is one."""
    cls, y = suitable(loss)
    model = cls(loss, alpha=0.01, solver=solver, tol=1e-9, max_iter=3000).fit(X, y)
    theta = np.column_stack([np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)])
    columns = y.shape[1] if y.ndim == 2 and not is_row_loss(loss) else 1

    def objective(theta):
        z = X @ theta[:, :-1].T + theta[:, -1]
        return loss(y, z[:, 0] if z.shape[1] == 1 else z) + 0.01 / 2 * (theta[:, :-1] ** 2).sum() / columns

    value = objective(theta)
    assert model.loss_ == pytest.approx(value, rel=1e-9, abs=1e-12)
    constant = np.zeros(theta.shape)
    best = np.atleast_1d(loss.intercept_only(y))
    constant[:, -1] = np.where(np.isfinite(best), best, 0)
    assert value <= objective(constant)
    rng = np.random.default_rng(1)
    for size in (1e-2, 1e-3, 1e-4):
        for _ in range(20):
            step = size * rng.standard_normal(theta.shape)
            assert objective(theta + step) >= value - 1e-8 * abs(value), size


@pytest.mark.parametrize("loss", [loss for loss in EVERY if of_margin_0(loss) and loss != fl.SquaredHinge(margin=0)],
                         ids=repr)
def test_losses_of_margin_0_learn_from_mistakes(loss):
    """Where the classes can be separated; scores of 0 everywhere, the minimum, would be right on no more than half."""
    y = np.digitize(Z, [-0.2, 0.6]) if is_row_loss(loss) else (Z > 0.2).astype(int)
    model = fl.LinearClassifier(loss, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.97
    assert abs(model.coef_).max() > 1e-3


# ---- solvers ---------------------------------------------------------------------------------------------------------

@both_solvers
def test_tol_is_relative_to_the_null_model(solver):
    """Of the gradient, written out, in coordinates of the null model's Hessian: whatever the units of X.
    (L-BFGS goes by values of the objective, whose rounding hides gradients below the root of 1e-16.)"""
    share = LABELS.mean()
    for tol in (1e-2, 1e-4, 1e-5 if solver == "lbfgs" else 1e-9):
        for units in (np.full(D, 1e-3), np.ones(D), np.full(D, 1e3), 10.0 ** np.arange(-4, 6, 2)):
            scaled = units * X
            alpha = 1e-3 * units.min() ** 2
            model = fl.LinearClassifier(alpha=alpha, solver=solver, tol=tol).fit(scaled, LABELS)
            one = np.column_stack([scaled, np.ones(N)])
            hessian = share * (1 - share) * one.T @ one / N + alpha * np.diag(np.append(np.ones(D), 0))

            largest = []
            for coef, intercept in ((model.coef_[0], model.intercept_[0]), (np.zeros(D), special.logit(share))):
                residual = special.expit(scaled @ coef + intercept) - LABELS
                gradient = np.append(scaled.T @ residual / N + alpha * coef, residual.mean())
                gradient = (gradient / np.sqrt(np.diag(hessian)) if solver == "newton" else
                            linalg.solve_triangular(np.linalg.cholesky(hessian), gradient, lower=True))
                largest.append(abs(gradient).max())
            assert largest[0] <= tol * largest[1] * (1 + 1e-4)


@pytest.mark.parametrize("loss, y", [("bce", LABELS), ("hinge", LABELS), ("softmax", CLASSES)])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "sgd"])
def test_too_few_iterations_warn(loss, y, solver):
    with pytest.warns(ConvergenceWarning, match="LinearClassifier has not converged: 1 iterations"):
        model = fl.LinearClassifier(loss, solver=solver, max_iter=1).fit(X, y)
    assert model.n_iter_ == 1


def uneven_data():
    """A year and a number of unit variance, as nobody scales them, and what depends on both alike."""
    rng = np.random.default_rng(0)
    design = np.column_stack([rng.normal(2010, 5, 500), rng.normal(size=500)])
    return design, (design[:, 0] - 2010) / 5 + design[:, 1] + rng.standard_t(3, 500)


@pytest.mark.parametrize("loss", ["mae", fl.Quantile(0.9), fl.EpsilonInsensitive(0.5)], ids=str)
def test_losses_with_kinks_of_features_in_their_own_units(loss):
    design, y = uneven_data()
    model = fl.LinearRegressor(loss, alpha=0).fit(design, y)
    even = (design - design.mean(axis=0)) / design.std(axis=0)
    assert model.loss_ == pytest.approx(fl.LinearRegressor(loss, alpha=0, tol=1e-9).fit(even, y).loss_, rel=1e-4)
    if loss == "mae":
        other = linear_model.QuantileRegressor(alpha=0).fit(design, y)
        assert_allclose(model.predict(design), other.predict(design), atol=0.1)


def test_hinge_of_features_in_their_own_units():
    design, y = uneven_data()
    even = (design - design.mean(axis=0)) / design.std(axis=0)
    y = y + np.random.default_rng(1).logistic(size=500) > 0
    one, other = (fl.LinearClassifier("hinge", alpha=0).fit(X, y) for X in (design, even))
    assert one.loss_ == pytest.approx(other.loss_, rel=1e-4)


@pytest.mark.parametrize("far", [1e7, 1.5e9])
@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs"])
def test_features_far_from_0(solver, far):
    """Such as seconds since 1970, beside another feature."""
    rng = np.random.default_rng(0)
    design = np.column_stack([rng.uniform(0.95, 1.0, 500) * far, rng.normal(size=500)])
    y = design[:, 0] / far * 60 - 58 + design[:, 1] + rng.normal(size=500)
    model = fl.LinearRegressor(alpha=0, solver=solver).fit(design, y)
    even = (design - design.mean(axis=0)) / design.std(axis=0)  # which scikit-learn needs
    assert_allclose(model.predict(design), linear_model.LinearRegression().fit(even, y).predict(even), atol=1e-3)
    labels = (y > 0).astype(int)
    model = fl.LinearClassifier(alpha=0, solver=solver, tol=1e-8).fit(design, labels)
    other = linear_model.LogisticRegression(C=np.inf, tol=1e-10).fit(even, labels)
    assert_allclose(model.predict_proba(design), other.predict_proba(even), atol=1e-3)


@pytest.mark.parametrize("loss", ["huber", "smooth_l1", "log_cosh"])
def test_targets_that_are_large_beside_the_units_of_a_loss(loss):
    """All residuals are where the Hessian is 0, or nearly: not where Newton's method may end."""
    rng = np.random.default_rng(1)
    design = rng.normal(size=(200, 2))
    y = 500 * design[:, 0] + 500 * rng.standard_t(2, 200)
    model = fl.LinearRegressor(loss).fit(design, y)
    other = linear_model.QuantileRegressor(alpha=0).fit(design, y)  # which these nearly are, at such a scale
    assert model.loss_ <= fl.get(loss)(y, other.predict(design)) + 0.5e-4 * (other.coef_**2).sum()


@pytest.mark.parametrize("loss", ["mae", "mse", fl.Quantile(0.5), fl.AbsolutePercentageError(), "squared_log_error"],
                         ids=str)
def test_a_start_at_the_minimum_is_the_end(loss):
    design = np.random.default_rng(0).normal(size=(300, 3))
    for constant in np.arange(0.25, 15, 0.75):
        model = fl.LinearRegressor(loss, solver="lbfgs").fit(design, np.full(300, constant))
        assert model.n_iter_ == 1 and model.loss_ <= 1e-25


def test_newton_says_that_derivatives_left_the_range():
    with pytest.warns(ConvergenceWarning, match="its derivatives left the range of numbers"):
        fl.LinearRegressor(fl.GaussianNLL(), alpha=0, max_iter=200).fit(X, np.full(N, 3.0))


def test_kinks_whose_gradients_cannot_be_combined_end_in_a_warning(monkeypatch):
    def nnls(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(optimize, "nnls", nnls)
    with pytest.warns(ConvergenceWarning, match="gradients around a kink could not be combined"):
        fl.LinearRegressor("mae").fit(np.ones((9, 1)), np.r_[np.zeros(4), np.ones(5)])


def test_partial_fit_keeps_the_shape_of_targets():
    model = fl.LinearRegressor().partial_fit(X, np.column_stack([Y, Y]))
    with pytest.raises(ValueError, match=rf"y has shape \({N},\), and coefficients of shape \(2, {D}\) were fitted"):
        model.partial_fit(X, Y)
    with pytest.raises(ValueError, match=rf"y has shape \({N}, 3\)"):
        model.partial_fit(X, np.column_stack([Y, Y, Y]))
    model = fl.LinearRegressor().partial_fit(X, Y)
    with pytest.raises(ValueError, match="as many columns as then"):
        model.partial_fit(X, np.column_stack([Y, Y]))
    model = fl.LinearClassifier().partial_fit(X, np.eye(3, dtype=int)[CLASSES])
    with pytest.raises(ValueError, match="had an indicator matrix: it must stay so"):
        model.partial_fit(X, CLASSES)
    model = fl.LinearClassifier().partial_fit(X, CLASSES, [0, 1, 2])
    with pytest.raises(ValueError, match=r"had class labels \(n,\): it must stay so"):
        model.partial_fit(X, np.eye(3, dtype=int)[CLASSES])


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_bad_class_weights_are_named(bad, fit_intercept):
    model = fl.LinearClassifier(class_weight={"b": bad}, fit_intercept=fit_intercept)
    with pytest.raises(ValueError, match=rf"class_weight of class 'b' is {bad}: it must be finite and >= 0"):
        model.fit(X, np.array(["a", "b"])[LABELS])


def test_warm_start_goes_on_where_the_last_fit_ended():
    for solver, loss, y in (("newton", "bce", LABELS), ("lbfgs", "softmax", CLASSES), ("lbfgs", "mae", Y)):
        cls = fl.LinearRegressor if loss == "mae" else fl.LinearClassifier
        model = cls(loss, alpha=0.01, solver=solver, warm_start=True, max_iter=2)
        values = []
        with pytest.warns(ConvergenceWarning):
            for _ in range(3):
                values.append(model.fit(X, y).loss_)
        assert values[0] > values[1] > values[2]
        model.set_params(max_iter=1000).fit(X, y)
        cold = clone(model).set_params(warm_start=False).fit(X, y)
        assert model.loss_ == pytest.approx(cold.loss_, rel=1e-6)
        assert cold.n_iter_ > 2
        if loss != "mae":
            assert model.fit(X, y).n_iter_ == 1  # nothing is left to do
    with pytest.raises(ValueError, match=r"coefficients of shape \(1, 6\), and .* need \(1, 4\): set warm_start=False"):
        model.fit(X[:, :3], y)


@pytest.mark.parametrize("loss, y", [("bce", LABELS), ("softmax", CLASSES), ("focal", CLASSES), ("poisson", COUNTS)],
                         ids=str)
def test_solvers_for_many_coefficients_reach_the_same(monkeypatch, loss, y):
    """Conjugate gradients for Newton's method, and BFGS of the last steps, against the dense forms, whose results other
    tests compare with scikit-learn."""
    cls = fl.LinearRegressor if loss == "poisson" else fl.LinearClassifier
    dense = cls(loss, alpha=0.01, solver="newton", tol=1e-9).fit(X, y)
    monkeypatch.setattr(_solvers, "_DENSE", 2)
    many = cls(loss, alpha=0.01, solver="newton", tol=1e-9).fit(X, y)
    assert_allclose(many.coef_, dense.coef_, rtol=1e-5, atol=1e-7)
    problem = fl.LinearLoss(loss, X, y, l2=0.01)
    start = np.zeros(problem.n_coef)
    found = _solvers.bfgs(problem, start, None, 1e-8, 1000, _solvers.Progress("", 0, 0))
    assert found.trouble == ""
    assert found.loss == pytest.approx(dense.loss_, rel=1e-10)


@pytest.mark.parametrize("class_weight", [{0: 1.0, 1: 20.0}, np.array([[1.0, 9.0], [0.5, 0.1]]), "balanced"], ids=str)
def test_multilabel_class_weights_leave_each_column_the_fit_of_its_own(class_weight):
    rng = np.random.default_rng(0)
    labels = np.column_stack([X[:, 0] + rng.logistic(size=N) > 1, X[:, 1] + rng.logistic(size=N) > -1]).astype(int)
    both = fl.LinearClassifier(alpha=0.1, class_weight=class_weight, tol=1e-9).fit(X, labels, WEIGHTS)
    for column in range(2):
        own = class_weight if not isinstance(class_weight, np.ndarray) else dict(enumerate(class_weight[column]))
        one = fl.LinearClassifier(alpha=0.1, class_weight=own, tol=1e-9).fit(X, labels[:, column], WEIGHTS)
        assert_allclose(both.coef_[column], one.coef_[0], rtol=1e-6, atol=1e-8)
        assert_allclose(both.intercept_[column], one.intercept_[0], rtol=1e-6, atol=1e-8)
    assert both.loss_function_.class_weight is not None  # partial_fit goes on with it


def test_newton_by_conjugate_gradients_with_more_features_than_samples():
    wide = RNG.standard_normal((80, 1200))
    y = (wide[:, 0] + wide[:, 1] > 0).astype(int)
    other = linear_model.LogisticRegression(C=1 / (0.1 * 80), tol=1e-10, max_iter=10_000).fit(wide, y)
    model = fl.LinearClassifier(alpha=0.1, solver="newton", tol=1e-8).fit(wide, y)
    assert_allclose(model.coef_, other.coef_, atol=1e-6)


def test_newton_goes_down_where_the_hessian_is_not_positive_definite():
    """From a start where a loss that is not convex bends downwards, to a minimum that SciPy finds, too."""
    loss = fl.Tukey(c=3.0)
    problem = fl.LinearLoss(loss, X, Y, l2=0.01)
    start = np.append(np.full(D, 0.5), 2.0)
    assert np.linalg.eigvalsh(problem.gradient_hessian(start)[1])[0] < 0
    found = _solvers.newton(problem, start, None, 1e-9, 100, _solvers.Progress("", 0, 0))

    def objective(theta):
        return loss(Y, X @ theta[:D] + theta[D]) + 0.01 / 2 * (theta[:D] ** 2).sum()

    other = optimize.minimize(objective, found.coef + 0.01, method="Nelder-Mead",
                              options={"xatol": 1e-7, "fatol": 1e-14, "maxfev": 10**4})
    assert found.trouble == ""
    assert found.loss < objective(start)
    assert_allclose(found.coef, other.x, atol=1e-5)


def test_losses_of_a_bounded_domain_without_intercept():
    """Scores of 0 are no predictions of an identity link: the start must find others."""
    positive = np.exp(0.3 * X)
    y = positive @ [1.0, 0.5, 2.0, 0.3, 0.7] * RNG.gamma(50, 1 / 50, N)

    def objective(coef):
        z = positive @ coef
        return (y / z - np.log(y / z) - 1).mean() if z.min() > 0 else np.inf

    best = optimize.minimize(objective, np.ones(D), method="Nelder-Mead", options={"maxfev": 10**4, "xatol": 1e-8,
                                                                                 "fatol": 1e-14})
    for solver in ("newton", "lbfgs"):
        model = fl.LinearRegressor(fl.Tweedie(power=2, link="identity"), alpha=0, fit_intercept=False, solver=solver)
        assert_allclose(model.fit(positive, y).coef_, best.x, rtol=1e-4)
    with pytest.raises(ValueError, match=r"not finite at the start .* scores in \(0.0, inf\); fit_intercept=True"):
        model.fit(X, y)


def test_newton_steps_by_absolute_eigenvalues():
    """In any basis, and in any units of the coefficients."""
    rotation, _ = np.linalg.qr(RNG.standard_normal((4, 4)))
    curvature, gradient = np.array([2.0, -3.0, 0.5, 1.0]), RNG.standard_normal(4)
    hessian = (rotation * curvature) @ rotation.T
    hessian *= np.sqrt(np.outer(*[1 / abs(hessian.diagonal())] * 2))  # what the step is scaled to
    values, vectors = np.linalg.eigh(hessian)
    expected = -(vectors / abs(values)) @ vectors.T @ gradient
    units = np.array([1.0, 1e2, 1e-1, 1.0])
    assert values[0] < 0
    assert_allclose(_solvers._newton_step(gradient, hessian), expected, rtol=1e-6)
    assert_allclose(_solvers._newton_step(gradient * units, hessian * np.outer(units, units)), expected / units,
                    rtol=1e-6)


class Quadratic:
    """½·θᵀHθ, counting products."""

    def __init__(self, hessian):
        self.hessian = hessian
        self.products = 0

    def hessian_product(self, coef, v):
        self.products += 1
        return self.hessian @ v


def test_conjugate_gradients():
    rotation, _ = np.linalg.qr(RNG.standard_normal((30, 30)))
    problem = Quadratic((rotation * np.geomspace(1, 30, 30)) @ rotation.T)
    gradient = RNG.standard_normal(30)
    step = _solvers._conjugate_gradients(problem, np.zeros(30), gradient, 1e9)
    assert problem.products <= 30
    assert np.linalg.norm(problem.hessian @ step + gradient) <= 1e-4 * np.linalg.norm(gradient)
    rough = Quadratic(problem.hessian)  # far from the minimum a step need not be exact
    _solvers._conjugate_gradients(rough, np.zeros(30), gradient, abs(gradient).max())
    assert rough.products < problem.products
    downwards = Quadratic(-np.eye(30))
    assert_array_equal(_solvers._conjugate_gradients(downwards, np.zeros(30), gradient, 1.0), -gradient)
    assert downwards.products == 1


def test_what_bfgs_remembers_is_the_formula(monkeypatch):
    """Both forms, against (1 - ρsyᵀ)H(1 - ρysᵀ) + ρssᵀ from a multiple of the unit matrix."""
    pairs = []
    for _ in range(5):
        step = RNG.standard_normal(4)
        pairs.append((step, step * [1, 2, 3, 4] + 0.1 * RNG.standard_normal(4)))
    for dense in (True, False):
        monkeypatch.setattr(_solvers, "_DENSE", 4 if dense else 3)
        known = _solvers._InverseHessian(4)
        gradient = RNG.standard_normal(4)
        assert_allclose(known.times(gradient), gradient / np.linalg.norm(gradient))
        step, change = pairs[0 if dense else -1]
        inverse = np.eye(4) * (step @ change) / (change @ change)
        for step, change in pairs:
            known.update(step, change)
            project = np.eye(4) - np.outer(change, step) / (step @ change)
            inverse = project.T @ inverse @ project + np.outer(step, step) / (step @ change)
        known.update(step, -change)  # no curvature: nothing to learn
        assert_allclose(known.times(gradient), inverse @ gradient)


def test_fits_through_all_targets_converge():
    """The objective then goes to 0, of which no share is small."""
    A = RNG.standard_normal((4, 3))
    for y in (A @ [1.0, -2.0, 0.5] + 3, RNG.standard_normal(4)):
        model = fl.LinearRegressor("mae", alpha=0).fit(A, y)
        assert_allclose(model.predict(A), y, atol=1e-6)


def test_newton_refuses_kinks():
    with pytest.raises(ValueError, match=r"needs a loss without kinks, and Hinge.* use 'lbfgs'"):
        fl.LinearClassifier("hinge", solver="newton").fit(X, LABELS)


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "sgd"])
def test_threads_do_not_change_a_bit(solver):
    one, two = (fl.LinearClassifier("softmax", solver=solver, n_threads=n, random_state=0, tol=1e-3).fit(X, CLASSES)
                for n in (1, 2))
    assert one.coef_.tobytes() == two.coef_.tobytes()


# ---- mini-batches ----------------------------------------------------------------------------------------------------

def descend(theta, batches, *, alpha=1e-4, momentum=0.9, nesterov=True, eta=lambda i: 0.01, velocity=0.0, step=0):
    """θ_{i+1} = θ_i - η·∇L + m·(θ_i - θ_{i-1}) of logistic regression, intercept last."""
    before = theta - velocity
    for A, y, w in batches:
        step += 1
        ahead = theta + momentum * (theta - before) if nesterov else theta
        residual = w * (special.expit(A @ ahead[:-1] + ahead[-1]) - y) / len(y)
        gradient = np.append(A.T @ residual + alpha * ahead[:-1], residual.sum())
        theta, before = theta - eta(step) * gradient + momentum * (theta - before), theta
    return theta, theta - before


def batches_of(order, size, w=None):
    w = np.ones(N) if w is None else w
    return [(X[rows], LABELS[rows], w[rows]) for rows in np.split(order, np.arange(size, len(order), size))]


def as_theta(model):
    return np.append(model.coef_, model.intercept_)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("schedule", ["constant", "adaptive", "invscaling"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_matrix], ids=lambda kind: kind.__name__)
def test_partial_fit_follows_the_formula(nesterov, momentum, schedule, kind):
    def eta(i):
        return 0.05 / np.sqrt(i) if schedule == "invscaling" else 0.05

    model = fl.LinearClassifier(alpha=0.02, batch_size=32, eta0=0.05, momentum=momentum, nesterov=nesterov,
                                learning_rate=schedule)
    share = np.average(LABELS[:200], weights=WEIGHTS[:200])
    theta, velocity, steps = np.append(np.zeros(D), special.logit(share)), 0.0, 0
    for part in (slice(0, 200), slice(200, N)):
        model.partial_fit(kind(X[part]), LABELS[part], classes=[0, 1], sample_weight=WEIGHTS[part])
        batches = batches_of(np.arange(N)[part], 32, WEIGHTS)
        theta, velocity = descend(theta, batches, alpha=0.02, momentum=momentum, nesterov=nesterov, eta=eta,
                                  velocity=velocity, step=steps)
        steps += len(batches)
        assert_allclose(as_theta(model), theta, rtol=1e-9, atol=1e-12)
        assert model.t_ == steps
    assert model.n_iter_ == 2


def test_fit_by_mini_batches_follows_the_formula():
    """Passes in the order of random_state; weights relative to their mean."""
    model = fl.LinearClassifier(alpha=0.02, solver="sgd", batch_size=50, eta0=0.1, learning_rate="invscaling",
                                random_state=7, max_iter=3)
    with pytest.warns(ConvergenceWarning, match="3 iterations"):
        model.fit(X, LABELS, WEIGHTS)
    rng = np.random.RandomState(7)
    batches = [batch for _ in range(3) for batch in batches_of(rng.permutation(N), 50, WEIGHTS / WEIGHTS.mean())]
    start = np.append(np.zeros(D), special.logit(np.average(LABELS, weights=WEIGHTS)))
    theta, _ = descend(start, batches, alpha=0.02, eta=lambda i: 0.1 / np.sqrt(i))
    assert_allclose(as_theta(model), theta, rtol=1e-9)
    assert model.t_ == 18


@pytest.mark.parametrize("loss, y", [("bce", LABELS), ("softmax", CLASSES), ("squared_hinge", CLASSES),
                                     ("bce", INDICATORS), ("mse", Y), ("poisson", COUNTS), ("gaussian_nll", Y)],
                         ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("kind", [np.asarray, sparse.csc_array], ids=lambda kind: kind.__name__)
def test_mini_batches_come_near_the_minimum(loss, y, kind):
    cls = fl.LinearRegressor if loss in ("mse", "poisson", "gaussian_nll") else fl.LinearClassifier
    best = cls(loss, alpha=0.1).fit(X, y)
    model = cls(loss, alpha=0.1, solver="sgd", random_state=0, tol=1e-4).fit(kind(X), y)
    assert_allclose(model.coef_, best.coef_, atol=0.02)
    assert model.loss_ == pytest.approx(best.loss_, rel=0.01)


def test_adaptive_steps_end_and_shrink():
    """The objective at the end is nearer the minimum than with a constant step, which keeps jumping about it."""
    best = fl.LinearClassifier(alpha=0.01).fit(X, LABELS)
    gaps = {}
    for schedule in ("adaptive", "constant"):
        model = fl.LinearClassifier(alpha=0.01, solver="sgd", eta0=0.3, batch_size=8, learning_rate=schedule,
                                    random_state=0).fit(X, LABELS)
        gaps[schedule] = abs(model.coef_ - best.coef_).max()
        assert 5 < model.n_iter_ < 1000
    assert gaps["adaptive"] < 0.2 * gaps["constant"]


def test_a_stream_with_class_weights_that_follow_it():
    """DynamicClassWeight is updated with each batch before its step; the one that was given stays as it was."""
    given = fl.DynamicClassWeight(2, momentum=0.8)
    model = fl.LinearClassifier(class_weight=given, batch_size=25, eta0=0.1, fit_intercept=True)
    frequencies = np.array([0.5, 0.5])
    theta, velocity = np.append(np.zeros(D), special.logit(LABELS[:100].mean())), 0.0
    for part in (slice(0, 100), slice(100, N)):
        model.partial_fit(X[part], LABELS[part], classes=[0, 1])
        for A, y, _ in batches_of(np.arange(N)[part], 25):
            frequencies = 0.8 * frequencies + 0.2 * np.bincount(y, minlength=2) / len(y)
            weights = 1 / (2 * frequencies)
            theta, velocity = descend(theta, [(A, y, weights[y])], eta=lambda i: 0.1, velocity=velocity)
        assert_allclose(as_theta(model), theta, rtol=1e-9)
        assert_allclose(model.class_weight_.frequencies, frequencies)
    assert given == fl.DynamicClassWeight(2, momentum=0.8)


def test_class_weights_that_follow_multilabel_batches():
    model = fl.LinearClassifier(class_weight=fl.DynamicClassWeight(2, momentum=0.8), batch_size=N, eta0=0.1, alpha=0,
                                fit_intercept=False).partial_fit(X, INDICATORS)
    share = INDICATORS.mean()
    weights = 1 / (2 * (0.8 * 0.5 + 0.2 * np.array([1 - share, share])))
    residual = weights[INDICATORS] * (0.5 - INDICATORS)
    assert_allclose(model.coef_, -0.1 * residual.T @ X / N)


def test_a_full_fit_updates_class_weights_once():
    dynamic = fl.LinearClassifier(class_weight=fl.DynamicClassWeight(3, momentum=0.3)).fit(X, CLASSES, WEIGHTS)
    frequencies = 0.3 / 3 + 0.7 * np.bincount(CLASSES) / N
    fixed = fl.LinearClassifier().fit(X, CLASSES, WEIGHTS / (3 * frequencies)[CLASSES])
    assert_allclose(dynamic.coef_, fixed.coef_, rtol=1e-9)
    assert_allclose(dynamic.class_weight_.frequencies, frequencies)


def test_partial_fit_after_fit_goes_on_from_its_coefficients():
    model = fl.LinearClassifier(alpha=0.01, batch_size=100, momentum=0).fit(X, LABELS)
    theta, _ = descend(as_theta(model), batches_of(np.arange(N), 100), alpha=0.01, momentum=0)
    assert_allclose(as_theta(model.partial_fit(X, LABELS)), theta, rtol=1e-9)


@pytest.mark.parametrize("solver", ["newton", "sgd"])
def test_fit_forgets_earlier_batches(solver):
    def continued(model):
        return model.fit(X, LABELS).partial_fit(X, LABELS)

    model = fl.LinearClassifier(solver=solver, learning_rate="invscaling", random_state=0, tol=1e-2)
    used = continued(clone(model).partial_fit(X, LABELS, classes=[0, 1]))
    assert_array_equal(as_theta(used), as_theta(continued(model)))
    assert used.t_ == model.t_
    assert used.n_iter_ == model.n_iter_


def test_partial_fit_needs_the_classes_at_first():
    model = fl.LinearClassifier()
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        model.partial_fit(X, CLASSES)
    model.partial_fit(X[:50], CLASSES[:50], classes=[2, 0, 1])
    assert_array_equal(model.classes_, [0, 1, 2])
    with pytest.raises(ValueError, match=r"y\[3\] is 7: labels must be among the classes \[0, 1, 2\]"):
        model.partial_fit(X[:5], [0, 1, 2, 7, 8])
    with pytest.raises(ValueError, match=r"classes is \[0, 1\], and was \[0, 1, 2\]"):
        model.partial_fit(X, LABELS, classes=[0, 1])
    with pytest.raises(ValueError, match=r"class_weight='balanced' needs all data at once.*DynamicClassWeight"):
        fl.LinearClassifier(class_weight="balanced").partial_fit(X, LABELS, classes=[0, 1])
    with pytest.raises(ValueError, match="classes has only one class, 3"):
        fl.LinearClassifier().partial_fit(X, LABELS, classes=[3])


def test_steps_that_are_too_long_are_an_error():
    with pytest.raises(ValueError, match=r"out of range after .* steps: lower eta0"), np.errstate(all="ignore"):
        fl.LinearRegressor(solver="sgd").fit(1e4 * X, Y)


# ---- labels, weights, probabilities ----------------------------------------------------------------------------------

@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [-1, 1], [2.0, 5.0], np.array(["b", "a"], object)],
                         ids=str)
def test_labels_of_any_type(names):
    names = np.asarray(names)
    plain = fl.LinearClassifier().fit(X, LABELS if names[0] != "b" else 1 - LABELS)
    model = fl.LinearClassifier().fit(X, names[LABELS])
    assert_array_equal(model.classes_, np.unique(names))
    assert_array_equal(model.coef_, plain.coef_)
    assert_array_equal(model.predict(X), model.classes_[plain.predict(X)])
    assert model.predict(X).dtype == names.dtype
    assert model.score(X, names[LABELS]) == plain.score(X, LABELS if names[0] != "b" else 1 - LABELS) > 0.7


def test_shapes():
    for loss, y, rows in (("bce", LABELS, 1), ("bce", CLASSES, 3), ("bce", INDICATORS, 4), ("softmax", LABELS, 2),
                          ("softmax", CLASSES, 3), ("multilabel_margin", INDICATORS, 4)):
        model = fl.LinearClassifier(loss, alpha=0.1).fit(X, y)
        assert model.coef_.shape == (rows, D)
        assert model.intercept_.shape == (rows,)
        assert model.decision_function(X).shape == ((N,) if y is LABELS else (N, rows))
        assert model.predict(X).shape == y.shape
        assert model.n_features_in_ == D
        if y is INDICATORS:
            assert_array_equal(model.classes_, np.arange(4))
    for y, shape in ((Y, (D,)), (Y[:, None], (1, D)), (np.column_stack([Y, Z]), (2, D))):
        model = fl.LinearRegressor().fit(X, y)
        assert model.coef_.shape == shape
        assert np.shape(model.intercept_) == shape[:-1]
        assert model.predict(X).shape == y.shape
    assert fl.LinearRegressor("gaussian_nll").fit(X, Y).coef_.shape == (2, D)
    with pytest.warns(DataConversionWarning):
        fl.LinearClassifier().fit(X, LABELS[:, None])


def test_row_losses_centre_their_coefficients():
    """Those of softmax are free but for a number in each row of scores."""
    for solver in ("newton", "lbfgs", "sgd"):
        model = fl.LinearClassifier("softmax", solver=solver, alpha=0, tol=1e-3).fit(X, CLASSES)
        assert_allclose(model.coef_.sum(axis=0), 0, atol=1e-12)
        assert_allclose(model.intercept_.sum(), 0, atol=1e-12)


def test_multilabel_margin_puts_the_threshold_at_the_mean():
    model = fl.LinearClassifier("multilabel_margin", alpha=0.1).fit(X, INDICATORS)
    z = model.decision_function(X)
    assert_allclose(z.mean(axis=1), 0, atol=1e-12)
    assert_array_equal(model.predict(X), z > 0)
    labels = fl.LinearClassifier("multilabel_margin", alpha=0.1).fit(X, CLASSES)
    assert_array_equal(labels.predict(X), labels.decision_function(X).argmax(axis=1))
    assert labels.score(X, CLASSES) > 0.6


LINKS = [
    ("bce", special.expit), (fl.BinaryFocal(gamma=1.0), special.expit), ("asl", special.expit),
    ("exponential", lambda z: special.expit(2 * z)), ("modified_huber", lambda z: (np.clip(z, -1, 1) + 1) / 2)]


@pytest.mark.parametrize("loss, link", LINKS, ids=lambda value: str(value) if not callable(value) else "")
def test_probabilities_of_binary_losses(loss, link):
    z = X @ [1.0, 0, 0, 0, 2.0]
    two = fl.LinearClassifier(loss).fit(X, z > 0.3)
    p = link(two.decision_function(X))
    assert_allclose(two.predict_proba(X), np.column_stack([1 - p, p]), rtol=1e-9, atol=1e-15)
    three = fl.LinearClassifier(loss).fit(X, np.digitize(z, [-1, 1]))
    p = link(three.decision_function(X))
    total = p.sum(axis=1, keepdims=True)
    assert_allclose(three.predict_proba(X), np.divide(p, total, out=np.full(p.shape, 1 / 3), where=total > 0),
                    rtol=1e-9)
    labels = fl.LinearClassifier(loss).fit(X, INDICATORS)
    assert_allclose(labels.predict_proba(X), link(labels.decision_function(X)), rtol=1e-9)
    for model in (two, three, labels):
        with np.errstate(divide="ignore"):
            assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), rtol=1e-9, atol=1e-12)


def test_probabilities_of_samples_far_out():
    """Where all are below the smallest number, the scores still say their ratio; no probability of the modified Huber
    loss is above 0 there."""
    far = np.array([[-5e3, 1e3, 0, 0, 0]])
    model = fl.LinearClassifier().fit(X, CLASSES)
    model.coef_, model.intercept_ = np.array([[1.0, 0, 0, 0, 0], [1.001, 0, 0, 0, 0], [1, 1e-3, 0, 0, 0]]), np.zeros(3)
    assert_allclose(model.predict_proba(far), special.softmax([[0.0, -5.0, 1.0]], axis=1), rtol=1e-9)
    assert_allclose(model.predict_log_proba(far), special.log_softmax([[0.0, -5.0, 1.0]], axis=1), rtol=1e-9)
    model = fl.LinearClassifier("modified_huber").fit(X, CLASSES)
    model.coef_ = np.ones((3, D))
    assert_allclose(model.predict_proba(far), np.full((1, 3), 1 / 3))


def test_probabilities_of_row_losses():
    for loss in ("softmax", "focal", "brier", "jensen_shannon", "earth_mover", "gce", "poly1"):
        model = fl.LinearClassifier(loss, alpha=0.01).fit(X, CLASSES)
        p = special.softmax(X @ model.coef_.T + model.intercept_, axis=1)
        assert_allclose(model.predict_proba(X), p, rtol=1e-9)
        assert_allclose(model.predict_log_proba(X), np.log(p), rtol=1e-9)
    # A temperature changes the scale of scores, and nothing else: alpha/T² penalises T times larger ones as much.
    warm = fl.LinearClassifier(fl.KLDivergence(temperature=3.0), alpha=0.01, tol=1e-9).fit(X, CLASSES)
    cold = fl.LinearClassifier("softmax", alpha=0.01, tol=1e-9).fit(X, CLASSES)
    assert_allclose(warm.predict_proba(X), special.softmax(warm.decision_function(X) / 3, axis=1), rtol=1e-9)
    assert_allclose(warm.predict_proba(X), cold.predict_proba(X), rtol=1e-5)


def test_logit_adjustment_acts_on_the_fit_alone():
    """Without a penalty adjusted scores are those of a plain fit: what is predicted is that without the prior."""
    prior = np.bincount(CLASSES) / N
    plain = fl.LinearClassifier("softmax", alpha=0, tol=1e-9).fit(X, CLASSES)
    model = fl.LinearClassifier(fl.CrossEntropy(logit_adjustment=np.log(prior)), alpha=0, tol=1e-9).fit(X, CLASSES)
    balanced = plain.predict_proba(X) / prior
    assert_allclose(model.predict_proba(X), balanced / balanced.sum(axis=1, keepdims=True), rtol=1e-5)


def test_only_losses_that_give_probabilities_have_them():
    for loss in ("hinge", "squared_hinge", "perceptron", "sharp", "multiclass_hinge", "multilabel_margin"):
        assert not hasattr(fl.LinearClassifier(loss), "predict_proba")
        assert not hasattr(fl.LinearClassifier(loss).fit(X, LABELS), "predict_log_proba")
    assert hasattr(fl.LinearClassifier("asl"), "predict_proba")


def test_class_weights_multiply_sample_weights():
    names = np.array(["low", "mid", "high"])
    given = {"low": 2.0, "mid": 0.5, "high": 1.5}
    for loss in ("bce", "softmax", "hinge", "multilabel_margin"):
        a = fl.LinearClassifier(loss, alpha=0.1, class_weight=given).fit(X, names[CLASSES], WEIGHTS)
        by_sample = WEIGHTS * [given[name] for name in names[CLASSES]]
        b = fl.LinearClassifier(loss, alpha=0.1).fit(X, names[CLASSES], by_sample)
        assert_allclose(a.coef_, b.coef_, rtol=1e-9)
    with pytest.raises(ValueError, match="class_weight"):
        fl.LinearClassifier(class_weight={"low": 1.0, "other": 2.0}).fit(X, names[CLASSES])


@pytest.mark.parametrize("class_weight", [{0: 0.5, 1: 3.0}, "balanced", [[1, 2], [3, 1], [0.5, 0.7], [1, 1]]], ids=str)
def test_class_weights_of_multilabel_targets_weigh_each_column(class_weight):
    model = fl.LinearClassifier(alpha=0, class_weight=class_weight, tol=1e-8).fit(X, INDICATORS, WEIGHTS)
    for j, y in enumerate(INDICATORS.T):
        counts = np.bincount(y, WEIGHTS)
        pair = (WEIGHTS.sum() / (2 * counts) if class_weight == "balanced" else
                [0.5, 3.0] if isinstance(class_weight, dict) else class_weight[j])
        other = linear_model.LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")
        other.fit(X, y, WEIGHTS * np.asarray(pair)[y])
        assert_allclose(model.coef_[j], other.coef_[0], rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="class_weight is given twice"):
        fl.LinearClassifier(fl.Hinge(class_weight="balanced"), class_weight=class_weight).fit(X, INDICATORS)


def test_predictions_have_the_link_of_the_loss():
    z = X @ np.full(D, 0.1) + 0.5
    for loss, link in (("poisson", np.exp), ("gamma", np.exp), (fl.Tweedie(), np.exp), ("nb2", np.exp),
                       (fl.Tweedie(power=2, link="identity"), abs), ("mse", np.asarray), ("msle", np.asarray)):
        model = fl.LinearRegressor(loss, alpha=0).fit(X, 1 + abs(Y))
        model.coef_, model.intercept_ = np.full(D, 0.1), 0.5
        assert_allclose(model.predict(X), link(z) if link is not abs else z)


def test_several_quantiles_at_once():
    shares = [0.1, 0.5, 0.9]
    model = fl.LinearRegressor(fl.Quantile(shares), alpha=0, tol=1e-9).fit(X, np.column_stack([Y] * 3))
    for j, share in enumerate(shares):
        other = linear_model.QuantileRegressor(quantile=share, alpha=0).fit(X, Y)
        assert pinball(Y, model.predict(X)[:, j], share) <= pinball(Y, other.predict(X), share) * (1 + 1e-6)


# ---- input -----------------------------------------------------------------------------------------------------------

KINDS = {
    "csr": sparse.csr_array, "csc": sparse.csc_array, "matrix": sparse.csr_matrix, "coo": sparse.coo_array,
    "F": np.asfortranarray, "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "longdouble": lambda a: a.astype(np.longdouble), "pandas": pd.DataFrame}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@both_estimators
def test_kinds_of_features(kind, cls, y):
    thin = np.where(abs(X) > 0.5, X, 0)
    model, plain = cls().fit(kind(thin), y), cls().fit(thin, y)
    assert_allclose(model.coef_, plain.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(model.predict(kind(thin)), plain.predict(thin), rtol=1e-9, atol=1e-12)


@both_estimators
def test_float32_features(cls, y):
    single = X.astype(np.float32)
    model, plain = cls().fit(single, y), cls().fit(single.astype(float), y)
    assert_allclose(model.coef_, plain.coef_, rtol=1e-6, atol=1e-9)  # they are read as float32, and computed in float64
    assert model.coef_.dtype == np.float64
    assert_allclose(model.predict(single), plain.predict(single.astype(float)), rtol=1e-4, atol=1e-6)


def test_feature_names():
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = fl.LinearClassifier().fit(frame, pd.Series(LABELS))
    assert_array_equal(model.feature_names_in_, list("abcde"))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("edcba")])
    model = fl.LinearClassifier().partial_fit(frame, LABELS, classes=[0, 1])
    assert_array_equal(model.feature_names_in_, list("abcde"))


WRONG = [
    (fl.LinearClassifier, {"loss": "mse"}, "takes no class labels: LinearClassifier needs a loss of binary labels"),
    (fl.LinearRegressor, {"loss": "bce"}, "takes class labels: LinearRegressor needs a loss of regression"),
    (fl.LinearRegressor, {"loss": "softmax"}, "takes class labels"),
    (fl.LinearClassifier, {"loss": fl.BinaryCrossEntropy(inputs="probabilities")},
     "takes probabilities, and a linear model gives scores: use inputs='logits'"),
    (fl.LinearClassifier, {"loss": fl.Brier(inputs="log_probabilities")}, "takes log_probabilities"),
    (fl.LinearClassifier, {"loss": fl.CrossEntropy(ignore_index=-1)}, "ignore_index.* sample_weight of 0"),
    (fl.LinearClassifier, {"loss": fl.KLDivergence(log_target=True)}, "takes no class labels"),
    (fl.LinearClassifier, {"loss": "contrastive"}, "takes no class labels"),
    (fl.LinearClassifier, {"loss": "nothing"}, "no loss is called 'nothing'"),
    (fl.LinearClassifier, {"alpha": -1}, "alpha must be finite and >= 0, got -1"),
    (fl.LinearClassifier, {"tol": np.nan}, "tol must be finite and >= 0, got nan"),
    (fl.LinearClassifier, {"max_iter": 0}, "max_iter must be at least 1, got 0"),
    (fl.LinearRegressor, {"batch_size": -3}, "batch_size must be at least 1, got -3"),
    (fl.LinearRegressor, {"eta0": 0}, "eta0 must be finite and > 0, got 0"),
    (fl.LinearRegressor, {"momentum": 1.0}, "momentum must be finite and >= 0 and < 1, got 1.0"),
    (fl.LinearRegressor, {"solver": "saga"}, "solver must be 'auto' or 'lbfgs' or 'newton' or 'sgd', got 'saga'"),
    (fl.LinearRegressor, {"learning_rate": "optimal"}, "learning_rate must be 'adaptive' or"),
    (fl.LinearRegressor, {"n_threads": 0}, "n_threads must be at least 1, got 0"),
]


@pytest.mark.parametrize("cls, parameters, message", WRONG, ids=lambda value: str(value))
def test_wrong_parameters(cls, parameters, message):
    with pytest.raises(ValueError, match=message):
        cls(**parameters).fit(X, LABELS)


def test_wrong_types():
    with pytest.raises(TypeError, match="loss must be a Loss or the name of one, got <class"):
        fl.LinearRegressor(fl.Huber).fit(X, Y)
    with pytest.raises(TypeError, match="max_iter must be an integer"):
        fl.LinearRegressor(max_iter=1.5).fit(X, Y)


def test_wrong_targets():
    with pytest.raises(ValueError, match="y has only one class, 3: at least 2"):
        fl.LinearClassifier().fit(X, np.full(N, 3))
    with pytest.raises(ValueError, match=r"y is an indicator matrix of shape \(300, 4\), and loss CrossEntropy"):
        fl.LinearClassifier("softmax").fit(X, INDICATORS)
    with pytest.raises(ValueError, match="Unknown label type: multiclass-multioutput"):
        fl.LinearClassifier().fit(X, np.column_stack([CLASSES, CLASSES]))
    with pytest.raises(ValueError, match=r"y\[.*\] is -.*: targets must be non-negative"):
        fl.LinearRegressor("poisson").fit(X, Y)
    with pytest.raises(ValueError, match="class_weight has 3 classes, and y has 2"):
        fl.LinearClassifier(class_weight=fl.DynamicClassWeight(3)).fit(X, LABELS)
    model = fl.LinearClassifier(class_weight=fl.DynamicClassWeight(2))
    for _ in range(2):  # also once more: a first call that fails leaves nothing behind
        with pytest.raises(ValueError, match="class_weight has 2 classes, and y has 3"):
            model.partial_fit(X, CLASSES, [0, 1, 2])
    with pytest.raises(ValueError, match=r"[Ss]ample.weight"):
        fl.LinearRegressor().fit(X, Y, np.zeros(N))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        fl.LinearRegressor().fit(X, Y, -WEIGHTS)


# ---- inside scikit-learn's tools -------------------------------------------------------------------------------------

@both_estimators
def test_pipeline_grid_search_and_pickle(cls, y):
    """Two processes: estimators and losses travel between them."""
    loss = "binary_focal" if cls is fl.LinearClassifier else "huber"
    name, values = ("gamma", [0.0, 2.0]) if cls is fl.LinearClassifier else ("delta", [0.3, 100.0])
    pipeline = make_pipeline(StandardScaler(), cls(loss))
    step = pipeline.steps[1][0]
    grid = GridSearchCV(pipeline, {f"{step}__alpha": [1e-4, 10.0], f"{step}__loss__{name}": values}, n_jobs=2, cv=3)
    grid.fit(X, y)
    assert grid.best_params_[f"{step}__alpha"] == 1e-4
    assert len(set(grid.cv_results_["mean_test_score"].round(12))) > 2
    again = pickle.loads(pickle.dumps(grid.best_estimator_))
    assert_array_equal(again.predict(X), grid.predict(X))
    assert again.steps[1][1].loss == grid.best_estimator_.steps[1][1].loss


def test_set_params_makes_a_new_loss():
    model = fl.LinearRegressor("huber")
    loss = model.set_params(loss__delta=2.0).loss
    assert loss == fl.Huber(2.0)
    assert model.set_params(loss__delta=3.0, alpha=1.0).loss == fl.Huber(3.0)
    assert loss == fl.Huber(2.0)
    assert model.alpha == 1.0
    assert model.get_params()["loss__delta"] == 3.0
    assert clone(model).loss == fl.Huber(3.0)
    with pytest.raises(ValueError, match=r"loss__nothing is no parameter: loss Huber\(delta=3.0\) has loss__delta"):
        model.set_params(loss__nothing=1)


def test_calibration_gives_a_hinge_probabilities():
    model = CalibratedClassifierCV(fl.LinearClassifier("hinge", alpha=0.01), cv=3).fit(X, LABELS)
    p = model.predict_proba(X)[:, 1]
    assert p.mean() == pytest.approx(LABELS.mean(), abs=0.05)
    assert np.corrcoef(p, LABELS)[0, 1] > 0.5


@both_estimators
def test_weights_are_routed(cls, y):
    """To fit and score in a cross-validation: as when each fold is done by hand."""
    with sklearn.config_context(enable_metadata_routing=True):
        model = cls(alpha=0.1).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_val_score(model, X, y, cv=KFold(3), params={"sample_weight": WEIGHTS})
    for fold, score in enumerate(scores):
        test = np.arange(100 * fold, 100 * (fold + 1))
        train = np.setdiff1d(np.arange(N), test)
        alone = cls(alpha=0.1).fit(X[train], y[train], WEIGHTS[train])
        assert score == pytest.approx(alone.score(X[test], y[test], WEIGHTS[test]))
        assert score != pytest.approx(alone.score(X[test], y[test]))


def test_estimators_pickle_between_batches():
    model = fl.LinearClassifier(class_weight=fl.DynamicClassWeight(2)).partial_fit(X, LABELS, classes=[0, 1])
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.partial_fit(X, LABELS).coef_, model.partial_fit(X, LABELS).coef_)


# ---- progress, and life without scikit-learn -------------------------------------------------------------------------

@pytest.mark.parametrize("solver", ["newton", "lbfgs", "sgd"])
def test_short_fits_show_nothing(capfd, solver):
    fl.LinearClassifier(verbose=1, solver=solver, tol=1e-3).fit(X, LABELS)
    assert "%" not in capfd.readouterr().err


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("bar", [True, False])
def test_long_fits_show_their_progress(monkeypatch, capfd, bar, verbose):
    """A bar where tqdm is installed, or else a line each second."""
    if bar:
        pytest.importorskip("tqdm", reason="tqdm is optional, and is not installed")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    with _solvers.Progress("LinearClassifier", 1000, verbose) as watch:
        watch(0.5)
        assert capfd.readouterr().err.strip() == ""
        time.sleep(1.1)
        watch(0.25)
        watch(0.125)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert ("LinearClassifier" in shown.err) == bool(verbose)
    if verbose and bar:
        assert "3/1000" in shown.err
        assert "objective 0.125" in shown.err
    elif verbose:
        assert shown.err == "LinearClassifier: iteration 2 of at most 1000, objective 0.25\n"


def test_scikit_learn_is_imported_on_first_use():
    code = """
import sys, fastloss as fl
assert "sklearn" not in sys.modules
assert {"LinearClassifier", "LinearRegressor"} <= set(dir(fl)) & set(fl.__all__)
assert not hasattr(fl, "LinearSomething")
fl.LinearRegressor
assert "sklearn" in sys.modules
assert fl.LinearRegressor.__module__ == "fastloss.estimators"
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_without_scikit_learn_the_error_says_what_to_install():
    code = """
import sys
sys.modules["sklearn"] = None
import fastloss as fl
assert fl.get("bce")([0, 1], [0.0, 0.0]) > 0
for name in ("LinearClassifier", "LinearRegressor"):
    try:
        getattr(fl, name)
    except ImportError as error:
        assert "pip install 'fastloss[sklearn]'" in str(error), error
    else:
        raise AssertionError(name)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("loss", "classes"), [("bce", 2), ("softmax", 3)])
def test_scales_and_correlations_of_features_cost_lbfgs_few_iterations(loss, classes):
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(3000, 20)) @ (rng.normal(size=(20, 20)) * np.geomspace(1e-3, 1e3, 20))
    y = (mixed / mixed.std(axis=0) @ rng.normal(size=(20, classes)) / 5 + rng.gumbel(size=(3000, classes))).argmax(1)
    model = fl.LinearClassifier(loss, alpha=0, solver="lbfgs", tol=1e-8).fit(mixed, y)  # converges: no warning
    assert model.n_iter_ < 60  # plain L-BFGS has not after 1000
    # the same model in features that are easy
    easy = np.linalg.solve(np.linalg.cholesky(np.cov(mixed.T)), mixed.T).T
    other = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(easy, y)
    assert_allclose(model.predict_proba(mixed), other.predict_proba(easy), atol=1e-5)
