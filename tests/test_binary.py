"""Binary losses: known values, kinks, forms of labels, relations to each other, and other people's implementations."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from sklearn import metrics
from sklearn._loss import loss as sklearn_loss
from sklearn.linear_model import _sgd_fast as sgd

import fastloss as fl
from reference import INSTANCES, is_probability, predictions, targets

LOSSES = [loss for loss in INSTANCES if type(loss).__module__ == "fastloss.binary"]  # (others: test_embedding.py)
LOGITS = [loss for loss in LOSSES if not is_probability(loss)]
binary_losses = pytest.mark.parametrize("loss", LOSSES, ids=repr)
RNG = np.random.default_rng(0)
Y, Z, P, W = RNG.integers(0, 2, 400), RNG.normal(0, 3, 400), RNG.uniform(0.01, 0.99, 400), RNG.random(400)
SOFT = RNG.random(400)
LOG2 = np.log(2)


def by_sample(loss, y, z, **kwargs):
    return loss.loss_gradient_hessian(y, z, reduction="none", **kwargs)


def assert_same(got, expected, rtol=1e-14):
    for a, b in zip(got, expected, strict=True):
        assert_allclose(a, b, rtol=rtol)


# (loss, y_true, y_pred): (loss, gradient, Hessian)
KNOWN = {
    (fl.BinaryCrossEntropy(), 1, 0): (LOG2, -0.5, 0.25), (fl.BinaryCrossEntropy(), 0, 0): (LOG2, 0.5, 0.25),
    (fl.BinaryCrossEntropy(), 0.5, 0): (LOG2, 0, 0.25),
    (fl.BinaryCrossEntropy(), 0.25, np.log(3)): (np.log(4) - 0.25 * np.log(3), 0.5, 0.1875),
    (fl.BinaryCrossEntropy(pos_weight=3.0), 1, 0): (3 * LOG2, -1.5, 0.75),
    (fl.BinaryCrossEntropy(pos_weight=3.0), 0, 0): (LOG2, 0.5, 0.25),
    (fl.BinaryCrossEntropy(label_smoothing=0.5), 1, 0): (LOG2, -0.25, 0.25),
    (fl.BinaryCrossEntropy("probabilities"), 1, 0.25): (2 * LOG2, -4, 16),
    (fl.BinaryCrossEntropy("probabilities"), 0, 0.75): (2 * LOG2, 4, 16),
    (fl.BinaryCrossEntropy("probabilities"), 0.5, 0.5): (LOG2, 0, 4),
    (fl.BinaryCrossEntropy("probabilities", eps=0.25), 1, 0.125): (2 * LOG2, 0, 0),
    (fl.BinaryFocal(2), 1, 0): (LOG2 / 4, -0.25 * (LOG2 + 0.5), 0.25 * 0.5 * (2.5 + LOG2)),
    (fl.BinaryFocal(2, alpha=0.25), 0, 0): tuple(0.1875 * np.array([LOG2, LOG2 + 0.5, 1.25 + LOG2 / 2])),
    (fl.Hinge(), 1, 0): (1, -1, 0), (fl.Hinge(), 0, 0): (1, 1, 0), (fl.Hinge(), 1, 2): (0, 0, 0),
    (fl.Hinge(), 0, 0.5): (1.5, 1, 0), (fl.Hinge(2.0), 1, 1.5): (0.5, -1, 0),
    # kinks: 0, but one-sided at margin 0, so that learning starts from zero
    (fl.Hinge(), 1, 1): (0, 0, 0), (fl.Hinge(), 0, -1): (0, 0, 0), (fl.Hinge(2.0), 1, 2): (0, 0, 0),
    (fl.Hinge(0.0), 1, 0): (0, -1, 0), (fl.Hinge(0.0), 0, 0): (0, 1, 0),
    (fl.Hinge(0.0), 1, 5e-324): (0, 0, 0),
    (fl.Perceptron(), 1, 0): (0, -1, 0), (fl.Perceptron(), 0, 0): (0, 1, 0), (fl.Perceptron(), 1, -3): (3, -1, 0),
    (fl.Perceptron(), 0, -5e-324): (0, 0, 0), (fl.Perceptron(), 0, 2.5): (2.5, 1, 0),
    (fl.SquaredHinge(), 1, 0): (1, -2, 2), (fl.SquaredHinge(), 0, 0): (1, 2, 2), (fl.SquaredHinge(), 1, -2): (9, -6, 2),
    (fl.SquaredHinge(2.0), 0, -1.5): (0.25, 1, 2), (fl.SquaredHinge(), 1, 3): (0, 0, 0),
    (fl.SquaredHinge(), 1, 1): (0, 0, 0), (fl.SquaredHinge(2.0), 0, -2): (0, 0, 0),
    (fl.SquaredHinge(0.0), 1, 0): (0, 0, 0), (fl.SquaredHinge(0.0), 1, -1): (1, -2, 2),
    (fl.SquaredHinge(), 1, 1 - 2**-53): (2**-106, -2**-52, 2),
    (fl.ModifiedHuber(), 1, 0): (1, -2, 2), (fl.ModifiedHuber(), 0, 0): (1, 2, 2),
    (fl.ModifiedHuber(), 1, 2): (0, 0, 0),
    (fl.ModifiedHuber(), 1, -2): (8, -4, 0), (fl.ModifiedHuber(), 0, 5): (20, 4, 0),
    # at m = 1 the Hessian is that of the outside, at m = -1 of the inside
    (fl.ModifiedHuber(), 1, 1): (0, 0, 0), (fl.ModifiedHuber(), 0, -1): (0, 0, 0),
    (fl.ModifiedHuber(), 1, -1): (4, -4, 2),
    (fl.ModifiedHuber(), 0, 1): (4, 4, 2), (fl.ModifiedHuber(), 0, 1 + 2**-52): (4 + 2**-50, 4, 0),
    (fl.Exponential(), 1, 0): (1, -1, 1), (fl.Exponential(), 0, 0): (1, 1, 1),
    (fl.Exponential(), 1, LOG2): (0.5, -0.5, 0.5), (fl.Exponential(), 0, LOG2): (2, 2, 2),
    (fl.AsymmetricFocal(), 1, 0): (LOG2, -0.5, 0.25), (fl.AsymmetricFocal(0.0, 0.0, 0.25), 0, 0): (
        np.log(4 / 3), 1 / 3, 1 / 9),
    (fl.AsymmetricFocal(0.0, 1.0, 0.25), 0, 0): (np.log(4 / 3) / 4, np.log(4 / 3) / 4 + 1 / 12, 7 / 36),
    (fl.AsymmetricFocal(0.0, 2.0, 0.25), 0, 0): (np.log(4 / 3) / 16, np.log(4 / 3) / 8 + 1 / 48,
                                                 np.log(4 / 3) / 8 + 13 / 144),
    (fl.AsymmetricFocal(2.0, 4.0, 0.25), 1, 0): (LOG2 / 4, -0.25 * (LOG2 + 0.5), 0.25 * 0.5 * (2.5 + LOG2)),
    (fl.AsymmetricFocal(), 0, -3): (0, 0, 0), (fl.AsymmetricFocal(clip=0.25), 0, -1.1): (0, 0, 0),
    (fl.Sharp(), 1, 0): (1, -1, 0), (fl.Sharp(), 0, 0): (1, 1, 0),
    (fl.Sharp(epsilon=9.0), 1, 4): (0.2, -9 / 125, 108 / 3125),
    (fl.Sharp(epsilon=9.0), 0, 4): (1.8, 9 / 125, -108 / 3125),
    (fl.Sharp("arctan"), 1, 1): (0.5, -1 / np.pi, 1 / np.pi),
    (fl.Sharp("arctan", 2.0), 0, 2): (1.5, 1 / (2 * np.pi), -1 / (4 * np.pi)),
}


@pytest.mark.parametrize("case", KNOWN, ids=repr)
def test_known_values(case):
    loss, y, z = case
    assert_allclose(np.ravel(by_sample(loss, [y], [float(z)])), KNOWN[case], rtol=4e-15, atol=0)


def test_a_zero_of_either_sign_is_the_kink():
    for loss in (fl.Hinge(0.0), fl.Perceptron()):
        assert_array_equal(by_sample(loss, [1, 0], [-0.0, -0.0])[1], [-1, 1])


@binary_losses
def test_forms_of_labels(loss):
    z = predictions(loss, 400)
    expected = by_sample(loss, Y, z)
    for labels in (Y == 1, 2 * Y - 1, 2.0 * Y - 1, (2 * Y - 1).astype(np.int8), Y.astype(np.float32), Y.tolist()):
        assert_same(by_sample(loss, labels, z), expected, rtol=0)


@pytest.mark.parametrize("loss", LOGITS, ids=repr)
def test_only_the_margin_counts(loss):
    if any(loss.get_params().get(name) is not None for name in ("pos_weight", "alpha", "gamma_pos")):
        pytest.skip("its parameters tell positives from negatives")
    value, gradient, hessian = by_sample(loss, Y, Z)
    assert_same(by_sample(loss, 1 - Y, -Z), (value, -gradient, hessian), rtol=0)


@binary_losses
def test_losses_are_not_negative_and_fall_with_the_margin(loss):
    z = np.sort(predictions(loss, 400))
    if loss.get_params().get("label_smoothing"):
        pytest.skip("smoothed labels do not ask for the largest margin")
    value, gradient, _ = by_sample(loss, np.ones(400), z)
    assert (value >= 0).all() and (gradient <= 0).all() and (np.diff(value) <= 1e-15).all()
    value, gradient, _ = by_sample(loss, np.zeros(400), z)
    assert (value >= 0).all() and (gradient >= 0).all() and (np.diff(value) >= -1e-15).all()


@pytest.mark.parametrize("loss", [fl.Hinge(2.0), fl.SquaredHinge(), fl.Perceptron(), fl.ModifiedHuber(),
                                  fl.Exponential(), fl.BinaryCrossEntropy()], ids=repr)
def test_convex_losses(loss):
    _, gradient, hessian = by_sample(loss, np.ones(400), np.sort(Z))
    assert (hessian >= 0).all() and (np.diff(gradient) >= -1e-15 * np.abs(gradient[1:])).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("clip", [0.05, 0.2, 0.5, 0.9])
def test_where_asymmetric_focal_stops_counting_negatives(clip, gamma, dtype):
    # Rounding p decides the side there; what either side gives is right, and nothing else.
    loss = fl.AsymmetricFocal(0.0, gamma, clip)
    edge = special.logit(float(dtype(clip)))
    eps = np.finfo(dtype).eps
    z = (edge + np.arange(-40, 41) * eps).astype(dtype)
    value, gradient, hessian = by_sample(loss, np.zeros(81), z)
    assert not np.isnan([value, gradient, hessian]).any()
    assert value[0] == gradient[0] == hessian[0] == 0
    # p - clip is at most 50 eps there; the slope of the loss by it, and of the probability by the score
    inner, outer = (gamma + 1) * (50 * eps)**gamma, clip * (1 - clip)
    assert (value >= 0).all() and (value <= 50 * eps * inner).all()
    assert (gradient >= 0).all() and (gradient <= 1.001 * outer * inner).all()
    if gamma >= 1:  # below, the Hessian grows without limit
        assert (np.abs(hessian) <= 1.001 * outer**2 * gamma * (gamma + 1) * (50 * eps)**(gamma - 1) + 50 * eps).all()


def test_asymmetric_focal_of_the_least_and_largest_clips():
    for clip in (1e-12, 0.999999):
        loss = fl.AsymmetricFocal(1.0, 2.0, clip)
        z = np.array([-40.0, 0.0, 5.0, 13.0, 15.0, 40.0])
        p_m = np.maximum(special.expit(z) - clip, 0)
        expected = -p_m**2 * np.log1p(-p_m)
        assert_allclose(by_sample(loss, np.zeros(6), z)[0], expected, rtol=1e-6 if clip > 0.5 else 1e-3, atol=1e-30)


def test_ranges():
    for phi in ("algebraic", "arctan"):
        value = by_sample(fl.Sharp(phi, 0.5), Y, Z)[0]
        assert (value > 0).all() and (value < 2).all()
    assert (by_sample(fl.BinaryFocal(), Y, Z)[2] < 0).any()  # not convex, and says so
    assert (by_sample(fl.BinaryCrossEntropy(), SOFT, Z)[2] > 0).all()


def test_sharp_tends_to_the_error_rate():
    wrong = (Z > 0) != (Y == 1)
    assert_allclose(by_sample(fl.Sharp(epsilon=1e-12), Y, Z)[0], 2 * wrong, atol=1e-6)
    assert_allclose(by_sample(fl.Sharp("arctan", 1e-9), Y, Z)[0], 2 * wrong, atol=1e-6)


# ---- relations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inputs", "z"), [("logits", Z), ("probabilities", P)])
def test_focal_with_gamma_0_is_cross_entropy(inputs, z):
    assert_same(by_sample(fl.BinaryFocal(0.0, inputs=inputs), Y, z),
                by_sample(fl.BinaryCrossEntropy(inputs), Y, z), rtol=2e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 2.5, 5.0])
def test_asymmetric_focal_is_focal_on_both_sides(gamma, dtype):
    z, close = Z.astype(dtype), {"rtol": 16 * np.finfo(dtype).eps, "atol": 2 * np.finfo(dtype).eps}
    focal = by_sample(fl.BinaryFocal(gamma), Y, z)
    for got, expected in zip(by_sample(fl.AsymmetricFocal(gamma, gamma, 0.0), Y, z), focal, strict=True):
        assert_allclose(got, expected, **close)
    mixed = by_sample(fl.AsymmetricFocal(gamma, 1.0, 0.05), Y, z)
    for got, expected in zip(mixed, focal, strict=True):
        assert_allclose(got[Y == 1], expected[Y == 1], **close)  # of positives the rest does not matter
    other = by_sample(fl.AsymmetricFocal(3.0, 1.0, 0.05), Y, z)
    assert_same([a[Y == 0] for a in mixed], [a[Y == 0] for a in other], rtol=0)  # nor of negatives gamma_pos


def test_asymmetric_focal_without_focus_and_clip_is_cross_entropy():
    got = by_sample(fl.AsymmetricFocal(0.0, 0.0, 0.0), Y, Z)
    assert_same(got, by_sample(fl.BinaryCrossEntropy(), Y, Z), rtol=4e-15)


def test_a_tiny_clip_is_none():
    for gammas in ((0.0, 4.0), (1.0, 2.5), (0.0, 0.0)):
        got, expected = (by_sample(fl.AsymmetricFocal(*gammas, clip), Y, Z) for clip in (1e-15, 0.0))
        for a, b in zip(got, expected, strict=True):
            assert_allclose(a, b, rtol=1e-8, atol=1e-11)


def test_relations_of_hinges():
    assert_same(by_sample(fl.Perceptron(), Y, Z), by_sample(fl.Hinge(0.0), Y, Z), rtol=0)
    for margin in (0.0, 1.0, 2.0):
        hinge, square = (by_sample(cls(margin), Y, Z) for cls in (fl.Hinge, fl.SquaredHinge))
        assert_same(square[:2], (hinge[0]**2, 2 * hinge[0] * hinge[1]), rtol=1e-15)
    m = (2 * Y - 1) * Z
    inside = m >= -1
    near, far = (by_sample(loss, Y, Z) for loss in (fl.ModifiedHuber(), fl.SquaredHinge()))
    assert_same([a[inside] for a in near], [a[inside] for a in far], rtol=0)
    assert_array_equal(near[0][~inside], -4 * m[~inside])
    exponential = np.exp(-m)
    assert_same(by_sample(fl.Exponential(), Y, Z), (exponential, (1 - 2 * Y) * exponential, exponential), rtol=1e-14)


@pytest.mark.parametrize(("inputs", "z"), [("logits", Z), ("probabilities", P)])
def test_alpha_is_a_class_weight(inputs, z):
    assert_same(by_sample(fl.BinaryFocal(1.5, alpha=0.3, inputs=inputs), Y, z),
                by_sample(fl.BinaryFocal(1.5, inputs=inputs, class_weight=[0.7, 0.3]), Y, z))


@pytest.mark.parametrize(("inputs", "z"), [("logits", Z), ("probabilities", P)])
def test_pos_weight_is_a_class_weight_of_hard_labels_but_in_the_mean(inputs, z):
    by_term = fl.BinaryCrossEntropy(inputs, pos_weight=2.5)
    by_class = fl.BinaryCrossEntropy(inputs, class_weight={1: 2.5})
    assert_same(by_sample(by_term, Y, z), by_sample(by_class, Y, z))
    # pos_weight belongs to the loss, a class weight to the weights that the mean divides by
    w = np.where(Y == 1, 2.5, 1)
    assert by_term(Y, z) == pytest.approx(by_class(Y, z) * w.sum() / len(Y), rel=1e-14)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.3, 7.0])
def test_whole_and_other_gammas_are_one_function(gamma):
    near = fl.BinaryFocal(gamma * (1 + 1e-9))
    assert_same(by_sample(near, Y, Z), by_sample(fl.BinaryFocal(gamma), Y, Z), rtol=1e-6)


@pytest.mark.parametrize("loss", [fl.BinaryCrossEntropy(), fl.BinaryFocal(), fl.BinaryFocal(0.7, alpha=0.3),
                                  fl.BinaryCrossEntropy(label_smoothing=0.2, pos_weight=3.0)], ids=repr)
def test_logits_and_probabilities_agree(loss):
    p = special.expit(Z)
    of_p = type(loss)(**loss.get_params() | {"inputs": "probabilities"})
    value, gradient, hessian = by_sample(loss, Y, Z)
    p_value, p_gradient, p_hessian = by_sample(of_p, Y, p)
    assert_allclose(p_value, value, rtol=1e-9)
    assert_allclose(p_gradient * p * (1 - p), gradient, rtol=1e-9, atol=1e-15)
    slope = p * (1 - p)
    assert_allclose(p_hessian * slope**2 + p_gradient * slope * (1 - 2 * p), hessian, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("y", [Y, SOFT])
@pytest.mark.parametrize(("inputs", "z"), [("logits", Z), ("probabilities", P)])
def test_label_smoothing_moves_targets(inputs, z, y):
    for pos_weight in (None, 3.0):  # which comes after
        smooth = fl.BinaryCrossEntropy(inputs, label_smoothing=0.25, pos_weight=pos_weight)
        expected = by_sample(fl.BinaryCrossEntropy(inputs, pos_weight=pos_weight), y * 0.75 + 0.125, z)
        for got, other in zip(by_sample(smooth, y, z), expected, strict=True):
            assert_allclose(got, other, rtol=1e-13, atol=1e-14)


def test_class_weights_come_before_label_smoothing():
    w = (1 - SOFT) * 0.5 + SOFT * 3
    smooth = fl.BinaryCrossEntropy(label_smoothing=0.25, class_weight=[0.5, 3.0])
    expected = by_sample(fl.BinaryCrossEntropy(label_smoothing=0.25), SOFT, Z, sample_weight=w)
    assert_same(by_sample(smooth, SOFT, Z), expected)


def test_a_soft_target_is_a_mixture():
    negative, positive, soft = (by_sample(fl.BinaryCrossEntropy(), y, Z) for y in (np.zeros(400), np.ones(400), SOFT))
    for a, b, mixed in zip(negative, positive, soft, strict=True):
        assert_allclose(mixed, (1 - SOFT) * a + SOFT * b, rtol=1e-13, atol=1e-15)


def test_the_optimum_stays_at_the_soft_target_whatever_the_class_weight():
    loss = fl.BinaryCrossEntropy(class_weight={0: 1.0, 1: 50.0})
    assert_allclose(loss.gradient(SOFT, special.logit(SOFT), reduction="none"), 0, atol=1e-13)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pos_weight_for_each_column(order, dtype):
    pos_weight = [0.5, 1.0, 20.0]
    y = RNG.integers(0, 2, (700, 3))
    z = np.asarray(RNG.normal(size=(700, 3)).astype(dtype), order=order)
    got = by_sample(fl.BinaryCrossEntropy(pos_weight=pos_weight), y, z)
    for column, weight in enumerate(pos_weight):
        expected = by_sample(fl.BinaryCrossEntropy(pos_weight=weight), y[:, column], z[:, column])
        for value, other in zip(got, expected, strict=True):
            assert_array_equal(value[:, column], other)


@pytest.mark.parametrize("shape", [(2,), (4, 3)])
def test_columns_must_match(shape):
    for loss, name in ((fl.BinaryCrossEntropy(pos_weight=[1.0, 2.0]), "pos_weight"),
                       (fl.Hinge(class_weight=np.ones((2, 2))), "class_weight")):
        with pytest.raises(ValueError, match=rf"{name} has shape.*\(n, 2\)"):
            loss(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("loss", [fl.BinaryCrossEntropy(), fl.BinaryFocal(1.7), fl.Hinge(), fl.Sharp("arctan"),
                                  fl.AsymmetricFocal(), fl.Exponential()], ids=repr)
def test_multi_label_is_binary_by_element(loss):
    y, z = targets(loss, 600).reshape(200, 3), predictions(loss, 600).reshape(200, 3)
    assert loss(y, z) == pytest.approx(loss(y.ravel(), z.ravel()), rel=1e-15)
    assert_same((a.ravel() for a in by_sample(loss, y, z)), by_sample(loss, y.ravel(), z.ravel()), rtol=0)


# ---- other people's implementations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, W])
def test_sklearn_metrics(weight):
    assert fl.BinaryCrossEntropy("probabilities")(Y, P, sample_weight=weight) == pytest.approx(
        metrics.log_loss(Y, P, sample_weight=weight), rel=1e-13)
    assert fl.Hinge()(Y, Z, sample_weight=weight) == pytest.approx(
        metrics.hinge_loss(2 * Y - 1, Z, sample_weight=weight), rel=1e-13)


def test_sklearn_loss():
    other = sklearn_loss.HalfBinomialLoss()
    for y in (Y.astype(float), SOFT):
        expected = (other.loss(y, Z, sample_weight=W), *other.gradient_hessian(y, Z, sample_weight=W))
        for a, b in zip(by_sample(fl.BinaryCrossEntropy(), y, Z, sample_weight=W), expected, strict=True):
            assert_allclose(a, b, rtol=1e-11, atol=1e-14)  # its own cancels


def test_sklearn_exponential_loss():
    # theirs is of half the score: y e^-z + (1 - y) e^z
    other, y = sklearn_loss.ExponentialLoss(), Y.astype(float)
    expected = (other.loss(y, Z, sample_weight=W), *other.gradient_hessian(y, Z, sample_weight=W))
    assert_same(by_sample(fl.Exponential(), Y, Z, sample_weight=W), expected, rtol=1e-13)


@pytest.mark.parametrize(("loss", "other"), [
    (fl.Hinge(), sgd.Hinge(1.0)), (fl.Perceptron(), sgd.Hinge(0.0)), (fl.SquaredHinge(), sgd.SquaredHinge(1.0)),
    (fl.SquaredHinge(0.5), sgd.SquaredHinge(0.5)), (fl.ModifiedHuber(), sgd.ModifiedHuber()),
], ids=repr)
def test_sklearn_sgd_losses(loss, other):
    z = np.concatenate([Z, [0.0, 0.0, -0.0]])  # theirs, too, is one-sided at margin 0
    y = np.concatenate([Y, [0, 1, 1]])
    value, gradient, _ = by_sample(loss, y, z)
    expected = [(other.py_loss(p, t), other.py_dloss(p, t)) for p, t in zip(z, 2.0 * y - 1, strict=True)]
    assert_same((value, gradient), np.transpose(expected), rtol=1e-15)


def test_scipy():
    assert_allclose(by_sample(fl.BinaryCrossEntropy(), Y, Z)[0], -special.log_expit((2 * Y - 1) * Z), rtol=1e-14)
    assert_allclose(by_sample(fl.BinaryCrossEntropy("probabilities"), SOFT, P)[0],
                    -special.xlogy(SOFT, P) - special.xlog1py(1 - SOFT, -P), rtol=1e-14)


@pytest.fixture(scope="module")
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch", reason="torch is not installed")


def torch_focal(torch, z, y, gamma, alpha):
    """torchvision's sigmoid_focal_loss."""
    p = torch.sigmoid(z)
    p_t = p * y + (1 - p) * (1 - y)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none") * (1 - p_t) ** gamma
    return loss * (alpha * y + (1 - alpha) * (1 - y))


def torch_asymmetric(torch, z, y, gamma_pos, gamma_neg, clip):
    """As in the paper: the shifted probability of negatives, and a focus for each sign."""
    p = torch.sigmoid(z)
    shifted = torch.clamp(p - clip, min=0)
    return torch.where(y == 1, -(1 - p)**gamma_pos * torch.log(p), -shifted**gamma_neg * torch.log1p(-shifted))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("y", [Y, SOFT])
def test_torch(torch, y, reduction):
    functional = torch.nn.functional
    hard = y is Y
    cases = [
        (fl.BinaryCrossEntropy(), Z, lambda z, t: functional.binary_cross_entropy_with_logits(z, t, reduction="none")),
        (fl.BinaryCrossEntropy(pos_weight=3.0), Z, lambda z, t: functional.binary_cross_entropy_with_logits(
            z, t, reduction="none", pos_weight=torch.tensor(3.0))),
        (fl.BinaryCrossEntropy("probabilities"), P, lambda z, t: functional.binary_cross_entropy(
            z, t, reduction="none")),
    ]
    if hard:
        cases.append((fl.BinaryFocal(2.0, alpha=0.25), Z, lambda z, t: torch_focal(torch, z, t, 2.0, 0.25)))
        cases.append((fl.AsymmetricFocal(1.0, 4.0, 0.05), Z,
                      lambda z, t: torch_asymmetric(torch, z, t, 1.0, 4.0, 0.05)))
        cases.append((fl.AsymmetricFocal(0.0, 1.5, 0.2), Z,
                      lambda z, t: torch_asymmetric(torch, z, t, 0.0, 1.5, 0.2)))
        cases.append((fl.BinaryCrossEntropy(), Z, lambda z, t: functional.soft_margin_loss(
            z, 2 * t - 1, reduction="none")))
        cases.append((fl.SquaredHinge(), Z, lambda z, t: torch.relu(1 - (2 * t - 1) * z)**2))
        cases.append((fl.Exponential(), Z, lambda z, t: torch.exp(-(2 * t - 1) * z)))
        cases.append((fl.Sharp(epsilon=0.5), Z, lambda z, t: 1 - (2 * t - 1) * z / torch.sqrt(z**2 + 0.5)))
    for loss, inputs, other in cases:
        z = torch.tensor(inputs, requires_grad=True)
        expected = getattr(other(z, torch.tensor(y, dtype=torch.float64)), reduction)()
        gradient, = torch.autograd.grad(expected, z, create_graph=True)
        hessian, = torch.autograd.grad(gradient.sum(), z)  # elementwise: the diagonal
        got = loss.loss_gradient_hessian(y, inputs, reduction=reduction)
        for a, b in zip(got, (expected, gradient, hessian), strict=True):
            assert_allclose(a, b.detach().numpy(), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("z", [0.0, 3.0, -88.58, -95.0, 102.0])
@pytest.mark.parametrize("pos_weight", [7.25, 1e30])
def test_the_hessian_of_a_large_weight_neither_overflows_nor_loses_digits(pos_weight, z):
    # its exponential alone is subnormal at some of these scores, and its products with the weight are not
    _, hessian = fl.BinaryCrossEntropy(pos_weight=pos_weight).gradient_hessian(
        np.ones(1, np.float32), np.array([z], np.float32), reduction="sum")
    e = np.exp(-np.abs(np.float64(np.float32(z))))
    exact = np.float64(np.float32(pos_weight)) * e / (1 + e) ** 2
    spacing = max(np.spacing(np.float32(exact)), np.finfo(np.float32).smallest_subnormal)
    assert abs(float(hessian[0]) - exact) <= 4 * float(spacing)


def test_hessian_of_arctan_beside_a_subnormal_epsilon_is_infinite():
    hessian = fl.Sharp("arctan", 1e-40).gradient_hessian(np.zeros(1), np.float32([2.2e-44]), reduction="none")[1]
    assert hessian == -np.inf
