"""Row losses: known values, forms of one target, relations to each other and to binary losses, derivatives, and other
people's implementations."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from scipy.spatial import distance
from sklearn._loss import loss as sklearn_loss

import fastloss as fl
from reference_rows import (
    ROW_INSTANCES,
    as_inputs,
    is_logits,
    one_hot,
    row_predictions,
    row_targets,
    sized_instances,
    soft_rows,
    takes_soft,
)

RNG = np.random.default_rng(0)
N, C = 200, 7
Y, Z, W = RNG.integers(0, C, N), RNG.normal(0, 3, (N, C)), RNG.random(N)
T = soft_rows(N, C)
CLASS_WEIGHT = RNG.uniform(0.1, 3, C)
LOG2 = np.log(2)
inf = np.inf

every_loss = pytest.mark.parametrize("loss", ROW_INSTANCES + sized_instances(C), ids=repr)
#: What takes class indices.
INDEXED = [loss for loss in ROW_INSTANCES + sized_instances(C) if loss.target in ("classes", "soft classes")]
indexed_losses = pytest.mark.parametrize("loss", INDEXED, ids=repr)


def by_row(loss, y, z, **kwargs):
    return loss.loss_gradient_hessian(y, z, reduction="none", **kwargs)


def assert_same(got, expected, rtol=1e-13, atol=1e-15):
    for a, b in zip(got, expected, strict=True):
        assert_allclose(a, b, rtol=rtol, atol=atol)


def other(loss, **parameters):
    return type(loss)(**loss.get_params() | parameters)


# ---- known values ----------------------------------------------------------------------------------------------------

LOG3 = np.log(3)
# (loss, y_true, y_pred): (loss, gradient, Hessian)
KNOWN = [
    (fl.CrossEntropy(), 1, (0.0, 0.0), (LOG2, (0.5, -0.5), (0.25, 0.25))),
    (fl.CrossEntropy(), 2, (0.0,) * 3, (LOG3, (1 / 3, 1 / 3, -2 / 3), (2 / 9,) * 3)),
    (fl.CrossEntropy(), (0.5, 0.5, 0.0), (0.0,) * 3, (LOG3, (-1 / 6, -1 / 6, 1 / 3), (2 / 9,) * 3)),
    (fl.CrossEntropy(hessian="bound"), 2, (0.0,) * 3, (LOG3, (1 / 3, 1 / 3, -2 / 3), (4 / 9,) * 3)),
    (fl.CrossEntropy(label_smoothing=0.5), 0, (0.0, 0.0), (LOG2, (-0.25, 0.25), (0.25, 0.25))),
    (fl.CrossEntropy(z_loss=2.0), 0, (0.0, 0.0),
     (LOG2 + 2 * LOG2**2, (-0.5 + 2 * LOG2, 0.5 + 2 * LOG2), (0.25 * (1 + 4 * LOG2) + 1,) * 2)),
    (fl.CrossEntropy(logit_adjustment=[LOG2, 0.0]), 1, (0.0, LOG2), (LOG2, (0.5, -0.5), (0.25, 0.25))),
    (fl.CrossEntropy("probabilities"), 1, (0.5, 0.25), (2 * LOG2, (0, -4), (0, 16))),
    (fl.CrossEntropy("probabilities"), (0.5, 0.5), (0.5, 0.25), (1.5 * LOG2, (-1, -2), (2, 8))),
    (fl.CrossEntropy("probabilities", eps=0.375), (0.5, 0.5), (0.5, 0.25),
     (0.5 * LOG2 - 0.5 * np.log(0.375), (-1, 0), (2, 0))),
    (fl.CrossEntropy("log_probabilities"), (0.25, 0.75), (-1.0, -2.0), (1.75, (-0.25, -0.75), (0, 0))),
    (fl.CrossEntropy("log_probabilities"), 1, (-1.0, -2.0), (2, (0, -1), (0, 0))),
    (fl.Focal(2.0), 0, (0.0, 0.0),
     (0.25 * LOG2, (-0.25 * (LOG2 + 0.5), 0.25 * (LOG2 + 0.5)), (0.3125 + LOG2 / 8,) * 2)),
    (fl.Focal(2.0, alpha=(3.0, 1.0)), 0, (0.0, 0.0),
     (0.75 * LOG2, (-0.75 * (LOG2 + 0.5), 0.75 * (LOG2 + 0.5)), (0.9375 + LOG2 * 0.375,) * 2)),
    (fl.Brier(), 0, (0.0, 0.0), (0.5, (-0.5, 0.5), (0.25, 0.25))),
    (fl.Brier("probabilities"), (0.25, 0.75), (0.5, 0.5), (0.125, (0.5, -0.5), (2, 2))),
    (fl.KLDivergence(inputs="probabilities"), (0.5, 0.5), (0.25, 0.75),
     (0.5 * np.log(4 / 3), (-2, -2 / 3), (8, 8 / 9))),
    (fl.JensenShannon("probabilities"), (1.0, 0.0), (0.0, 1.0), (LOG2, (-inf, LOG2 / 2), (inf, 0))),
    (fl.EarthMover(1), 2, (0.0,) * 3, (1, (1 / 3, 0, -1 / 3), (1 / 9, 0, -1 / 9))),
    (fl.EarthMover(1, "probabilities"), 2, (0.5, 0.5, 0.0), (1.5, (2, 1, 0), (0, 0, 0))),
    (fl.EarthMover(2, "probabilities"), 0, (0.0, 0.5, 0.5), (1.25, (-3, -1, 0), (6, 4, 2))),
    (fl.GeneralizedCrossEntropy(1.0), 0, (0.0, 0.0), (0.5, (-0.25, 0.25), (0, 0))),
    (fl.GeneralizedCrossEntropy(0.5, "probabilities"), 0, (0.25, 0.1), (1, (-2, 0), (4, 0))),
    (fl.PolyCrossEntropy(2.0, "probabilities"), 1, (0.1, 0.5), (LOG2 + 1, (0, -4), (0, 4))),
    # hinges: margins, ties (the lowest class), kinks
    (fl.MulticlassHinge(), 0, (2.0, 1.5, 1.75), (0.75, (-1, 0, 1), (0, 0, 0))),
    (fl.MulticlassHinge(), 0, (2.0, 1.5, 1.5), (0.5, (-1, 1, 0), (0, 0, 0))),
    (fl.MulticlassHinge(), 1, (1.5, 2.0, 1.5), (0.5, (1, -1, 0), (0, 0, 0))),
    (fl.MulticlassHinge(), 0, (2.0, 1.0, 1.0), (0, (0, 0, 0), (0, 0, 0))),  # the kink
    (fl.MulticlassHinge(), 0, (3.0, 1.0, 1.0), (0, (0, 0, 0), (0, 0, 0))),
    (fl.MulticlassHinge(margin=0.0), 1, (0.0, 0.0, 0.0), (0, (1, -1, 0), (0, 0, 0))),  # so that learning starts
    (fl.MulticlassHinge(power=2), 0, (2.0, 1.5, 1.75), (0.5625, (-1.5, 0, 1.5), (2, 0, 2))),
    (fl.MulticlassHinge(power=2), 0, (3.0, 1.5, 1.75), (0, (0, 0, 0), (0, 0, 0))),
    (fl.MulticlassHinge("weston_watkins"), 0, (2.0, 1.5, 1.75), (1.25, (-2, 1, 1), (0, 0, 0))),
    (fl.MulticlassHinge("weston_watkins"), 0, (2.0, 1.0, 1.75), (0.75, (-1, 0, 1), (0, 0, 0))),
    (fl.MulticlassHinge("weston_watkins", 0.0), 0, (0.0, 0.0, -1.0), (0, (-1, 1, 0), (0, 0, 0))),
    (fl.MulticlassHinge("weston_watkins", power=2), 0, (2.0, 1.5, 1.75), (0.8125, (-2.5, 1, 1.5), (4, 2, 2))),
    (fl.MulticlassHinge("weston_watkins", power=2), 0, (2.0, 1.0, 1.75), (0.5625, (-1.5, 0, 1.5), (2, 0, 2))),
    (fl.MultilabelMargin(), (1, 0, 0, 1), (0.1, 0.2, 0.4, 0.8), (0.85, (-0.5, 0.5, 0.5, -0.5), (0,) * 4)),
    (fl.MultilabelMargin(), (1, 0), (1.0, 0.0), (0, (0, 0), (0, 0))),  # the kink
    (fl.MultilabelMargin(), (1, 1), (1.0, 0.0), (0, (0, 0), (0, 0))),
    (fl.MultilabelMargin(), (0, 0), (1.0, 0.0), (0, (0, 0), (0, 0))),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("loss", "y", "z", "expected"), KNOWN, ids=repr)
def test_known_values(loss, y, z, expected, dtype):
    got = by_row(loss, [y], np.array([z], dtype))
    for a, b in zip(got, expected, strict=True):
        assert_allclose(a[0], b, rtol=8 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps)


# ---- forms of one target ---------------------------------------------------------------------------------------------


def target_forms(loss):
    """Y as indices of several types, one-hot, and, where the loss takes them, as soft rows."""
    rows = one_hot(Y, C)
    forms = {"float": Y.astype(np.float64), "int8": Y.astype(np.int8), "one-hot": rows,
             "one-hot bool": rows.astype(bool), "one-hot F": np.asfortranarray(rows)}
    return forms | {"one-hot float32": rows.astype(np.float32)}


@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT, "balanced", {0: 2.5, 3: 0.0}], ids=lambda v: str(v)[:9])
@pytest.mark.parametrize("sample_weight", [None, W], ids=["", "weighted"])
@indexed_losses
def test_forms_of_one_target_are_one(loss, sample_weight, class_weight):
    loss, z = other(loss, class_weight=class_weight), as_inputs(loss, Z, np.float64)
    for reduction in ("mean", "none"):
        options = {"sample_weight": sample_weight, "reduction": reduction}
        expected = loss.loss_gradient_hessian(Y, z, **options)
        for name, y in target_forms(loss).items():
            got = loss.loss_gradient_hessian(y, z, **options)
            for a, b, output in zip(got, expected, ("loss", "gradient", "hessian"), strict=True):
                # of different formulas: rounding q - t is seen in the gradient of a confident row
                assert_allclose(a, b, rtol=1e-12, atol=2e-15, err_msg=f"{name} {output}")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT, "balanced"], ids=lambda v: str(v)[:9])
@pytest.mark.parametrize("ignore", [False, True])
def test_the_mean_of_cross_entropy_in_a_formula(smoothing, weighted, class_weight, ignore):
    # Σ_i w_i Σ_c ((1-ε) t_ic + ε/C)(lse_i - z_ic) / Σ_i w_i with w_i = sample_weight_i · class_weight[y_i]
    counts = Y != 3 if ignore else np.ones(N, bool)
    seen = np.bincount(Y[counts], minlength=C)
    weights = {None: np.ones(C), "balanced": counts.sum() / (C * np.maximum(seen, 1))}.get(
        class_weight if isinstance(class_weight, str) else None, np.ones(C)) if not isinstance(
        class_weight, np.ndarray) else class_weight
    w = counts * weights[Y] * (W if weighted else 1)
    t = (1 - smoothing) * one_hot(Y, C) + smoothing / C
    q = special.softmax(Z, axis=1)
    value = (w * (t * -special.log_softmax(Z, axis=1)).sum(axis=1)).sum() / w.sum()
    loss = fl.CrossEntropy(class_weight=class_weight, label_smoothing=smoothing, ignore_index=3 if ignore else None)
    got = loss.loss_gradient_hessian(Y, Z, sample_weight=W if weighted else None)
    assert_same(got, (value, w[:, None] * (q - t) / w.sum(), w[:, None] * q * (1 - q) / w.sum()), atol=1e-16)
    if not ignore:  # the same of one-hot and of soft rows
        rows = one_hot(Y, C)
        assert_same(loss.loss_gradient_hessian(rows, Z, sample_weight=W if weighted else None), got, atol=1e-16)


@pytest.mark.parametrize("loss", [loss for loss in ROW_INSTANCES if loss.target == "soft classes"], ids=repr)
def test_class_weights_of_soft_targets_are_means_of_theirs(loss):
    z = as_inputs(loss, Z, np.float64)
    for weight in (CLASS_WEIGHT, dict(enumerate(CLASS_WEIGHT.tolist()))):
        got = other(loss, class_weight=weight).loss_gradient_hessian(T, z, sample_weight=W)
        assert_same(got, loss.loss_gradient_hessian(T, z, sample_weight=W * (T @ CLASS_WEIGHT)), atol=1e-16)
    balanced = N / (C * T.sum(axis=0))
    got = other(loss, class_weight="balanced").loss_gradient_hessian(T, z, sample_weight=W)
    assert_same(got, loss.loss_gradient_hessian(T, z, sample_weight=W * (T @ balanced)), rtol=1e-12, atol=1e-16)


def test_class_weights_of_logarithms_and_indicators():
    loss = fl.KLDivergence(log_target=True, class_weight=CLASS_WEIGHT)
    with np.errstate(divide="ignore"):
        got = loss.loss_gradient_hessian(np.log(T), Z)
    assert_same(got, fl.KLDivergence(class_weight=CLASS_WEIGHT).loss_gradient_hessian(T, Z), rtol=1e-12)
    t = RNG.random((N, C)) < 0.3
    t[0] = False  # without a positive class: 1
    w = np.where(t.any(axis=1), (t @ CLASS_WEIGHT) / np.maximum(t.sum(axis=1), 1), 1)
    got = fl.MultilabelMargin(class_weight=CLASS_WEIGHT).loss_gradient_hessian(t, Z)
    assert_same(got, fl.MultilabelMargin().loss_gradient_hessian(t, Z, sample_weight=w), atol=1e-16)


@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT, "balanced"], ids=lambda v: str(v)[:9])
@pytest.mark.parametrize("ignored", [2, -100, -1, 255, 10**6])
@indexed_losses
def test_ignored_rows_are_as_if_not_there(loss, ignored, class_weight):
    z, kept = as_inputs(loss, Z, np.float64), RNG.random(N) < 0.7
    y = np.where(kept, np.where(ignored == Y, 0, Y), ignored)
    z = np.where(kept[:, None], z, np.nan)  # not even looked at
    with_ignored, without = (other(loss, class_weight=class_weight, ignore_index=i) for i in (ignored, None))
    for w in (None, W):
        left = None if w is None else w[kept]
        value, gradient, hessian = with_ignored.loss_gradient_hessian(y, z, sample_weight=w)
        expected = without.loss_gradient_hessian(y[kept], z[kept], sample_weight=left)
        assert_same((value, gradient[kept], hessian[kept]), expected)
        assert not gradient[~kept].any() and not hessian[~kept].any()
        by_row_of_all = with_ignored.loss(y, z, sample_weight=w, reduction="none")
        assert_array_equal(by_row_of_all[~kept], 0)
        assert with_ignored(y, z, sample_weight=w, reduction="sum") == pytest.approx(
            without(y[kept], z[kept], sample_weight=left, reduction="sum"), rel=1e-13)


# ---- relations -------------------------------------------------------------------------------------------------------


def test_two_classes_are_binary_cross_entropy():
    y, z = Y % 2, Z[:, 0]
    pairs = np.stack([np.zeros(N), z], axis=1)
    for parameters in ({}, {"label_smoothing": 0.2}):
        loss, gradient, hessian = by_row(fl.CrossEntropy(**parameters), y, pairs)
        expected = by_row(fl.BinaryCrossEntropy(**parameters), y, z)
        assert_same((loss, gradient[:, 1], hessian[:, 1]), expected)
        assert_allclose(gradient[:, 0], -gradient[:, 1], rtol=1e-13, atol=1e-16)
    soft = W
    loss, gradient, _ = by_row(fl.CrossEntropy(), np.stack([1 - soft, soft], axis=1), pairs)
    assert_same((loss, gradient[:, 1]), by_row(fl.BinaryCrossEntropy(), soft, z)[:2], atol=1e-15)


def test_two_classes_are_binary_focal_and_hinge():
    y, z = Y % 2, Z[:, 0]
    pairs = np.stack([np.zeros(N), z], axis=1)
    for gamma in (0.0, 1.0, 2.0, 2.5):
        loss, gradient, hessian = by_row(fl.Focal(gamma, alpha=[0.75, 0.25]), y, pairs)
        assert_same((loss, gradient[:, 1], hessian[:, 1]), by_row(fl.BinaryFocal(gamma, alpha=0.25), y, z), rtol=1e-12)
    for variant, power in itertools.product(("crammer_singer", "weston_watkins"), (1, 2)):
        binary = fl.Hinge() if power == 1 else fl.SquaredHinge()
        loss, gradient, hessian = by_row(fl.MulticlassHinge(variant, power=power), y, pairs)
        assert_same((loss, gradient[:, 1], hessian[:, 1]), by_row(binary, y, z))
        assert_allclose(gradient[:, 0], -gradient[:, 1])


@pytest.mark.parametrize("loss, same", [
    (fl.Focal(0.0), fl.CrossEntropy()), (fl.PolyCrossEntropy(0.0), fl.CrossEntropy()),
    (fl.Focal(0.0, inputs="probabilities"), fl.CrossEntropy("probabilities")),
    (fl.Focal(0.0, inputs="log_probabilities"), fl.CrossEntropy("log_probabilities")),
    (fl.PolyCrossEntropy(0.0, "probabilities"), fl.CrossEntropy("probabilities")),
    (fl.CrossEntropy(logit_adjustment=np.zeros(C)), fl.CrossEntropy()),
    (fl.Focal(1.5, alpha=np.ones(C)), fl.Focal(1.5)), (fl.Focal(1.5, alpha=1.0), fl.Focal(1.5)),
    (fl.CrossEntropy(logit_adjustment=np.ones(C)), fl.CrossEntropy()),
], ids=repr)
def test_special_cases_are_the_same_loss(loss, same):
    z = as_inputs(loss, Z, np.float64)
    assert_same(by_row(loss, Y, z), by_row(same, Y, z))


def test_a_small_q_of_generalized_cross_entropy_is_cross_entropy():
    # (1 - q_t^q)/q = -log q_t + O(q)
    for a, b in zip(by_row(fl.GeneralizedCrossEntropy(1e-12), Y, Z), by_row(fl.CrossEntropy(), Y, Z), strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_q_of_1_of_generalized_cross_entropy_is_half_the_absolute_error():
    q = special.softmax(Z, axis=1)
    expected = np.abs(q - one_hot(Y, C)).sum(axis=1) / 2
    assert_allclose(fl.GeneralizedCrossEntropy(1.0)(Y, Z, reduction="none"), expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("inputs", ["logits", "probabilities", "log_probabilities"])
def test_kl_divergence_is_cross_entropy_less_the_entropy(inputs):
    loss, cross_entropy = fl.KLDivergence(inputs=inputs), fl.CrossEntropy(inputs)
    z = as_inputs(loss, Z, np.float64)
    got, expected = by_row(loss, T, z), by_row(cross_entropy, T, z)
    assert_allclose(got[0], expected[0] - special.entr(T).sum(axis=1), rtol=1e-12, atol=1e-14)
    assert_same(got[1:], expected[1:])
    assert_same(by_row(loss, Y, z), by_row(cross_entropy, Y, z), atol=2e-15)  # a class has no entropy
    with np.errstate(divide="ignore"):
        logarithms = by_row(fl.KLDivergence(inputs=inputs, log_target=True), np.log(T), z)
    assert_same(logarithms, got, rtol=1e-12, atol=1e-14)


def test_distillation_scales_with_the_temperature():
    temperature = 2.5
    plain = by_row(fl.KLDivergence(), T, Z / temperature)
    got = by_row(fl.KLDivergence(temperature), T, Z)
    for a, b, factor in zip(got, plain, (temperature**2, temperature, 1), strict=True):
        assert_allclose(a, factor * b, rtol=1e-12, atol=1e-14)


def test_divergences_of_equal_distributions_are_0():
    z = np.log(T[2::4] + 1e-3)
    q = special.softmax(z, axis=1)
    for loss in (fl.KLDivergence(), fl.JensenShannon(), fl.Brier(), fl.EarthMover(), fl.EarthMover(3)):
        value, gradient, hessian = by_row(loss, q, z)
        assert_allclose(value, 0, atol=1e-15)
        assert_allclose(gradient, 0, atol=1e-15)
        assert (hessian >= -1e-15).all()


def test_jensen_shannon_is_that_of_scipy():
    q = special.softmax(Z, axis=1)
    assert_allclose(fl.JensenShannon()(T, Z, reduction="none"), distance.jensenshannon(T, q, axis=1)**2, rtol=1e-11)


def test_earth_mover_and_brier_in_numpy():
    q = special.softmax(Z, axis=1)
    apart = np.abs(np.cumsum(q - T, axis=1))
    for power in (1, 1.5, 2, 3):
        assert_allclose(fl.EarthMover(power)(T, Z, reduction="none"), (apart**power).sum(axis=1), rtol=1e-11)
    assert_allclose(fl.Brier()(T, Z, reduction="none"), ((q - T)**2).sum(axis=1), rtol=1e-12)
    assert fl.EarthMover(2.0) == fl.EarthMover(2)


def test_the_two_hinges_are_one_for_two_classes():
    pairs, y = Z[:, :2], Y % 2
    for margin, power in ((1.0, 1), (2.0, 2), (0.0, 1)):
        assert_same(by_row(fl.MulticlassHinge("crammer_singer", margin, power), y, pairs),
                    by_row(fl.MulticlassHinge("weston_watkins", margin, power), y, pairs), rtol=0, atol=0)


@every_loss
def test_probabilities_and_their_logarithms_have_the_value_of_the_scores(loss):
    parameters = loss.get_params()
    if "inputs" not in parameters or any(parameters.get(name) for name in ("z_loss", "eps")) or (
            parameters.get("temperature", 1) != 1) or parameters.get("logit_adjustment") is not None:
        pytest.skip("scores only, or more than a function of probabilities")
    parameters |= {"hessian": "exact"} if "hessian" in parameters else {}
    values = []
    for inputs in ("logits", "probabilities", "log_probabilities"):
        form = type(loss)(**parameters | {"inputs": inputs})
        values.append(form(row_targets(loss, N, C, form="rows"), as_inputs(form, Z, np.float64), reduction="none"))
    assert_allclose(values[1], values[0], rtol=1e-11, atol=1e-14)
    assert_allclose(values[2], values[0], rtol=1e-11, atol=1e-14)


@every_loss
def test_a_number_added_to_all_scores_changes_nothing(loss):
    if not is_logits(loss) or loss.get_params().get("z_loss"):
        pytest.skip("not a function of the softmax")
    y = row_targets(loss, N, C, form="rows")
    outputs = 2 if loss.get_params().get("power") == 1.5 else 3  # it has a pole where sums of q and t meet
    assert_same(by_row(loss, y, Z + 3.0)[:outputs], by_row(loss, y, Z)[:outputs], rtol=1e-10, atol=1e-13)


def test_the_bound_is_twice_the_hessian_and_no_less():
    exact, bound = (fl.CrossEntropy(hessian=hessian) for hessian in ("exact", "bound"))
    for y in (Y, T):
        got = [loss.gradient_hessian(y, Z) for loss in (exact, bound)]
        assert_array_equal(got[0][0], got[1][0])
        assert_allclose(got[1][1], 2 * got[0][1], rtol=1e-15)
    # diag(2q(1-q)) - (diag(q) - qqᵀ) has no negative eigenvalue
    q = special.softmax(Z[:20], axis=1)
    bounds = by_row(bound, Y[:20], Z[:20])[2]
    for row, diagonal in zip(q, bounds, strict=True):
        assert np.linalg.eigvalsh(np.diag(diagonal) - np.diag(row) + np.outer(row, row)).min() > -1e-12


# ---- derivatives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@every_loss
def test_gradients_are_derivatives_of_the_value(loss, reduction):
    n = 6
    if loss.get_params().get("hessian") == "bound":
        loss = other(loss, hessian="exact")
    loss = other(loss, class_weight=CLASS_WEIGHT)
    z = row_predictions(loss, n, C)
    if not is_logits(loss):  # a sum that is not that of the targets, where powers have their kink
        z = 0.9 * z if loss.inputs == "probabilities" else z - 0.1
    options = {"sample_weight": np.array([1.0, 0.5, 2.0, 0.0, 3.0, -0.2]), "reduction": reduction}
    for form in ("index", "rows"):
        y = row_targets(loss, n, C, form=form)
        value, gradient, hessian = loss.loss_gradient_hessian(y, z, **options)
        for index in np.ndindex(z.shape):
            step = 1e-6 if loss.domain[1] > 1 else 1e-6 * abs(z[index])  # stays in the domain
            low, high = z.copy(), z.copy()
            low[index] -= step
            high[index] += step
            width = high[index] - low[index]
            slope = (loss(y, high, **options) - loss(y, low, **options)) / width
            curve = (loss.gradient(y, high, **options) - loss.gradient(y, low, **options))[index] / width
            # a difference of large numbers loses digits: 1e-16 of them, divided by the step
            assert slope == pytest.approx(gradient[index], rel=1e-5, abs=1e-7 + 1e-15 * abs(value) / width)
            if abs(hessian[index]) < 1e6:  # the power 1.5 has a pole
                assert curve == pytest.approx(hessian[index], rel=1e-4,
                                              abs=1e-7 + 2e-15 * np.abs(gradient).max() / width)


# ---- gradient and probabilities --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [fl.CrossEntropy(), fl.CrossEntropy(label_smoothing=0.1, class_weight=CLASS_WEIGHT),
                                  fl.CrossEntropy(logit_adjustment=CLASS_WEIGHT), fl.CrossEntropy("probabilities"),
                                  fl.CrossEntropy("log_probabilities"), fl.CrossEntropy(z_loss=0.1)],
                         ids=lambda loss: str(loss)[:40])
def test_gradient_and_probabilities(loss, dtype):
    z = as_inputs(loss, Z, dtype)
    scores = z.astype(np.float64) + (0 if loss.logit_adjustment is None else loss.logit_adjustment)
    expected = {"logits": lambda: special.softmax(scores, axis=1), "probabilities": lambda: z,
                "log_probabilities": lambda: np.exp(z.astype(np.float64))}[loss.inputs]()
    close = {"rtol": 40 * np.finfo(dtype).eps}
    for y, w, reduction, order in itertools.product((Y, T), (None, W), ("mean", "sum", "none"), "CF"):
        given = np.asarray(z, order=order)
        gradient, probabilities = loss.gradient_proba(y, given, sample_weight=w, reduction=reduction)
        assert_allclose(gradient, loss.gradient(y, given, sample_weight=w, reduction=reduction), rtol=0)
        assert_allclose(probabilities, expected, **close)
        assert probabilities.dtype == dtype and probabilities.flags[f"{order}_CONTIGUOUS"]
    outputs = np.empty_like(z), np.empty_like(z)
    got = loss.gradient_proba(Y, z, gradient_out=outputs[0], proba_out=outputs[1])
    assert got[0] is outputs[0] and got[1] is outputs[1]
    assert_array_equal(got[1], loss.gradient_proba(Y, z)[1])
    spent = z.copy()
    assert loss.gradient_proba(Y, spent, proba_out=spent)[1] is spent
    assert_allclose(spent, expected, **close)


def test_probabilities_of_rows_that_do_not_count():
    y, w = np.where(Y == 2, -100, Y), np.where(Y == 3, 0, W)
    gradient, probabilities = fl.CrossEntropy(ignore_index=-100).gradient_proba(y, Z, sample_weight=w)
    assert_array_equal(gradient[(Y == 2) | (Y == 3)], 0)
    assert_allclose(probabilities, special.softmax(Z, axis=1), rtol=1e-13)  # unweighted


# ---- other people's implementations ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def of_torch(torch, function, z):
    """(values, gradient of their sum)."""
    z = torch.tensor(z, requires_grad=True)
    values = function(z)
    values.sum().backward()
    return values.detach().numpy(), z.grad.numpy()


def compare(torch, loss, y, function, z=Z, reduction="none", rtol=1e-12, atol=1e-13):
    value, gradient = of_torch(torch, function, z)
    got = loss.loss_gradient(y, z, reduction=reduction)
    assert_allclose(got[0], value, rtol=rtol, atol=atol)
    assert_allclose(got[1], gradient, rtol=rtol, atol=atol)


def test_cross_entropy_is_that_of_torch(torch):
    cross_entropy = torch.nn.functional.cross_entropy
    index, rows = torch.tensor(Y), torch.tensor(T)
    for smoothing in (0.0, 0.1):
        loss = fl.CrossEntropy(label_smoothing=smoothing)
        for y, target in ((Y, index), (T, rows)):
            compare(torch, loss, y, lambda z, target=target, smoothing=smoothing: cross_entropy(
                z, target, reduction="none", label_smoothing=smoothing))
    ignoring = fl.CrossEntropy(ignore_index=4)
    compare(torch, ignoring, Y, lambda z: cross_entropy(z, index, ignore_index=4), reduction="mean")
    # torch's class weights without smoothing are weights of samples, as ours
    weight = torch.tensor(CLASS_WEIGHT)
    compare(torch, fl.CrossEntropy(class_weight=CLASS_WEIGHT), Y, lambda z: cross_entropy(z, index, weight),
            reduction="mean")
    compare(torch, fl.CrossEntropy("log_probabilities", class_weight=CLASS_WEIGHT), Y,
            lambda z: torch.nn.functional.nll_loss(z, index, weight), special.log_softmax(Z, axis=1), "mean")


def test_divergences_are_those_of_torch(torch):
    kl_div, rows = torch.nn.functional.kl_div, torch.tensor(T)
    compare(torch, fl.KLDivergence(), T,
            lambda z: kl_div(torch.log_softmax(z, 1), rows, reduction="batchmean"), reduction="mean")
    compare(torch, fl.KLDivergence(inputs="log_probabilities"), T,
            lambda z: kl_div(z, rows, reduction="none").sum(1), special.log_softmax(Z, axis=1))
    soft = T[2::4]
    logarithms = np.log(soft + 1e-9)
    logarithms -= special.logsumexp(logarithms, axis=1, keepdims=True)
    compare(torch, fl.KLDivergence(log_target=True), logarithms, lambda z: kl_div(
        torch.log_softmax(z, 1), torch.tensor(logarithms), reduction="none", log_target=True).sum(1), Z[2::4],
        atol=1e-12)
    compare(torch, fl.KLDivergence(3.0), T, lambda z: 9.0 * kl_div(
        torch.log_softmax(z / 3.0, 1), rows, reduction="none").sum(1))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("margin", [1.0, 0.5])
def test_weston_watkins_is_that_of_torch_times_the_classes(torch, power, margin):
    index = torch.tensor(Y)
    compare(torch, fl.MulticlassHinge("weston_watkins", margin, power), Y,
            lambda z: C * torch.nn.functional.multi_margin_loss(z, index, p=power, margin=margin, reduction="none"))


def test_multilabel_margin_is_that_of_torch(torch):
    t = RNG.random((N, C)) < 0.4
    listed = np.full((N, C), -1)
    for i, row in enumerate(t):
        listed[i, :row.sum()] = np.flatnonzero(row)
    target = torch.tensor(listed)
    compare(torch, fl.MultilabelMargin(), t,
            lambda z: torch.nn.functional.multilabel_margin_loss(z, target, reduction="none"))
    assert_same(by_row(fl.MultilabelMargin(), t.astype(float), Z), by_row(fl.MultilabelMargin(), t, Z), rtol=0, atol=0)


@pytest.mark.parametrize(("loss", "formula"), [
    (fl.Focal(2.5), lambda torch, q, t: -(1 - q) ** 2.5 * torch.log(q)),
    (fl.PolyCrossEntropy(1.5), lambda torch, q, t: -torch.log(q) + 1.5 * (1 - q)),
    (fl.GeneralizedCrossEntropy(0.6), lambda torch, q, t: (1 - q**0.6) / 0.6),
], ids=repr)
def test_losses_of_the_target_by_automatic_differentiation(torch, loss, formula):
    index = torch.tensor(Y)[:, None]
    compare(torch, loss, Y, lambda z: formula(torch, torch.softmax(z, 1).gather(1, index)[:, 0], None), rtol=1e-9,
            atol=1e-12)


@pytest.mark.parametrize(("loss", "formula"), [
    (fl.Brier(), lambda torch, q, t: ((q - t) ** 2).sum(1)),
    (fl.EarthMover(), lambda torch, q, t: ((q - t).cumsum(1) ** 2).sum(1)),
    (fl.EarthMover(3), lambda torch, q, t: ((q - t).cumsum(1).abs() ** 3).sum(1)),
    (fl.JensenShannon(), lambda torch, q, t: (torch.xlogy(t, 2 * t / (t + q)) + q * torch.log(2 * q / (t + q))).sum(
        1) / 2),
], ids=repr)
def test_losses_of_distributions_by_automatic_differentiation(torch, loss, formula):
    t = special.softmax(RNG.normal(0, 2, (N, C)), axis=1)  # none is 0, where torch has no derivative
    compare(torch, loss, t, lambda z: formula(torch, torch.softmax(z, 1), torch.tensor(t)), rtol=1e-9, atol=1e-12)


def test_cross_entropy_is_half_the_multinomial_deviance_of_sklearn():
    reference = sklearn_loss.HalfMultinomialLoss(n_classes=C)
    y = Y.astype(np.float64)
    value, gradient = reference.loss_gradient(y_true=y, raw_prediction=Z.copy(order="F"))
    _, hessian = reference.gradient_hessian(y_true=y, raw_prediction=Z.copy(order="F"))
    got = by_row(fl.CrossEntropy(), Y, Z)
    assert_same(got, (value, gradient, hessian), rtol=1e-12, atol=1e-14)
    _, probabilities = reference.gradient_proba(y_true=y, raw_prediction=Z.copy(order="F"))
    assert_allclose(fl.CrossEntropy().gradient_proba(Y, Z)[1], probabilities, rtol=1e-12)


def test_confident_rows_keep_their_digits():
    # where 1 - q is computed it is 0 from a gap of 37 on
    for gap in (20.0, 40.0, 100.0, 700.0):
        z = np.zeros((1, 4))
        z[0, 2] = gap
        rest = 3 * np.exp(-gap)
        value, gradient, hessian = by_row(fl.CrossEntropy(), [2], z)
        assert_allclose(value, np.log1p(rest), rtol=1e-15)
        assert_allclose(gradient[0], np.array([1, 1, -3, 1]) * np.exp(-gap) / (1 + rest), rtol=1e-15)
        assert_allclose(hessian[0, 2], rest / (1 + rest)**2, rtol=1e-15)


def test_label_smoothing_moves_no_mass_to_rare_classes():
    # weights of samples leave each row's optimum where its smoothed target is
    t = np.full(C, 0.1 / C)
    t[2] += 0.9
    loss = fl.CrossEntropy(label_smoothing=0.1, class_weight=10.0 ** np.arange(C))
    assert_allclose(loss.gradient([2], np.log(t)[None], reduction="none"), 0, atol=1e-12)


def test_which_losses_take_soft_targets():
    for loss in ROW_INSTANCES:
        if loss.target in ("classes", "indicators"):
            with pytest.raises(ValueError, match="y_true"):
                loss(T, as_inputs(loss, Z, np.float64))
        elif takes_soft(loss) and loss.target == "soft classes":
            assert np.isfinite(loss(T, as_inputs(loss, Z, np.float64)))


# ---- the best constant row -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [loss for loss in ROW_INSTANCES if loss.domain[1] > 1], ids=repr)
def test_no_row_near_the_best_constant_is_better(loss):
    y = row_targets(loss, 60, 4, form="index", seed=3)
    if y.ndim == 1:
        y[:30] = 2  # a class that wins
    w = np.random.default_rng(3).random(60)
    best = loss.intercept_only(y, w) if y.ndim == 2 else loss.intercept_only(y, w, n_classes=4)
    assert best.shape == (4,) and not np.isnan(best).any()
    finite = np.where(best == -inf, -40.0, best)  # a median, or a mode, leaves other classes nothing

    def mean(row):
        return loss(y, np.broadcast_to(row, (60, 4)), sample_weight=w)

    least = mean(best)
    for step in (1e-3, 0.1, 1.0):
        for _ in range(20):
            # a descent knows about 8 digits of the row, half as many as of its value
            assert mean(finite + RNG.normal(0, step, 4)) >= least * (1 - 1e-12) - 1e-12


def test_the_best_constant_of_cross_entropy_is_the_frequency():
    share = np.bincount(Y, W, C) / W.sum()
    assert_allclose(special.softmax(fl.CrossEntropy().intercept_only(Y, W)), share, rtol=1e-12)
    assert_allclose(fl.CrossEntropy("probabilities").intercept_only(Y, W), share, rtol=1e-12)
    assert_allclose(fl.CrossEntropy("log_probabilities").intercept_only(T, W), np.log(W @ T / W.sum()), rtol=1e-12)
    weighted = fl.CrossEntropy(class_weight=CLASS_WEIGHT).intercept_only(Y)
    expected = np.bincount(Y, minlength=C) * CLASS_WEIGHT
    assert_allclose(special.softmax(weighted), expected / expected.sum(), rtol=1e-12)
    adjusted = fl.CrossEntropy(logit_adjustment=CLASS_WEIGHT).intercept_only(Y, W)
    assert_allclose(special.softmax(adjusted + CLASS_WEIGHT), share, rtol=1e-12)
    best = fl.CrossEntropy(ignore_index=0).intercept_only(Y)
    assert best[0] == -inf and np.isfinite(best[1:]).all()
    best = fl.CrossEntropy().intercept_only([0, 2, 2], n_classes=4)  # classes that never occur
    assert_allclose(best - best[0], [0, -inf, LOG2, -inf])
    with pytest.raises(ValueError, match=r"y_true\[1\] is 2"):
        fl.CrossEntropy().intercept_only([0, 2], n_classes=2)


@pytest.mark.parametrize(("inputs", "row"), [("logits", [-inf, 0.0]), ("probabilities", [0.0, 1.0]),
                                             ("log_probabilities", [-inf, 0.0])])
def test_a_class_that_alpha_leaves_out_costs_nothing_where_its_loss_is_infinite(inputs, row):
    loss = fl.Focal(alpha=[0.0, 1.0], inputs=inputs)
    for part in loss.loss_gradient_hessian([0], [row], reduction="none"):
        assert not part.any()
    assert loss.loss([0, 1], [row, row]) == 0
    assert np.isnan(loss.loss([0], [[np.nan, np.nan]]))  # but NaN is never hidden


@pytest.mark.parametrize(("form", "loss", "z", "expected"), [
    ("index", fl.CrossEntropy(z_loss=1e-3), [inf, 0.0], (inf, [inf, 0], [2e-3, 0])),
    ("rows", fl.CrossEntropy(z_loss=1e-3), [inf, 0.0], (inf, [inf, 0], [2e-3, 0])),
    ("index", fl.CrossEntropy(z_loss=4.0), [8e307, 0.0], (inf, [inf, 0], [8, 0])),
    ("index", fl.CrossEntropy(z_loss=4.0), [-8e307, -9e307], (inf, [-inf, 0], [8, 0])),
    ("index", fl.CrossEntropy(z_loss=1.0, hessian="bound"), [8e307, 0.0], (inf, [1.6e308, 0], [2, 0])),
])
def test_z_loss_of_scores_beyond_its_range(form, loss, z, expected):
    y = [0] if form == "index" else [[1.0, 0.0]]
    for part, value in zip(loss.loss_gradient_hessian(y, [z], reduction="none"), expected, strict=True):
        assert_allclose(part[0], value, rtol=1e-12)


def test_class_weights_of_many_soft_classes_are_summed_without_loss():
    t = RNG.dirichlet(np.ones(3000), 50)
    w = RNG.uniform(0.1, 10, 3000)
    exact = [math.fsum(float(share) * float(weight) for share, weight in zip(row, w, strict=True)) for row in t]
    z = RNG.normal(size=(50, 3000))
    weighted = fl.CrossEntropy(class_weight=w).loss(t, z, reduction="none")
    assert_allclose(weighted / fl.CrossEntropy().loss(t, z, reduction="none"), exact, rtol=8e-16)


def test_the_mean_of_weighted_rows_whose_sum_overflows():
    z = np.array([[-8e307, 8e307], [8e307, -8e307]])
    assert fl.CrossEntropy().loss([0, 1], z, sample_weight=[3.0, 3.0]) == pytest.approx(1.6e308, rel=1e-12)
    assert fl.CrossEntropy().loss([0, 1], z, sample_weight=[-3.0, 4.0]) == pytest.approx(1.6e308, rel=1e-12)
    out = z.copy()  # where nothing can be read once more
    value, _ = fl.CrossEntropy().loss_gradient([0, 1], out, sample_weight=[3.0, 3.0], gradient_out=out)
    assert value == pytest.approx(1.6e308, rel=1e-12)
