"""Every loss once more, naively, in mpmath; the instances and the data that tests over all losses share.

A reference takes the loss's parameters p (rounded to the computing dtype, as the kernels do), a target y and a
prediction z, and gives the loss, its gradient and its Hessian. Where a formula adds terms of both signs and passes
through zero inside the domain, it gives the tuple of terms instead of their sum: no arithmetic in a fixed format can do
better than an error relative to the sum of their absolute values (CONTRIBUTING.md).

A loss of pairs, y_pred of shape (n, 2), gets the two as z and s, and gives the loss, both gradients, both Hessians.
"""

from types import SimpleNamespace
from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

import fastloss as fl
from floats import neighbours, sample


class Scaled(NamedTuple):
    """A value, and what its ulp are those of, where the sum of the terms' absolute values does not say it."""

    value: mpf
    scale: mpf


def shortfall(limit, y, z):
    """limit - |z - y| without rounding."""
    return mpmath.fsub(limit, mpmath.fsub(max(y, z), min(y, z), exact=True), exact=True)


# ---- one reference a class: regression -------------------------------------------------------------------------------


def squared_error(p, y, z):
    r, factor = z - y, mpf(0.5) if p.half else mpf(1)
    return factor * r**2, 2 * factor * r, 2 * factor


def absolute_error(p, y, z):
    return abs(z - y), mpmath.sign(z - y), mpf(0)


def huber(p, y, z):
    r = z - y
    if abs(p.rounded(r)) <= p.delta:  # the Hessian jumps there: the side is that of the rounded residual
        return r**2 / 2, r, mpf(1)
    return p.delta * abs(r) - p.delta**2 / 2, p.delta * mpmath.sign(r), mpf(0)


def quantile(p, y, z):
    slope = -p.quantile if z < y else 1 - p.quantile
    return slope * (z - y), slope if z != y else mpf(0), mpf(0)


def expectile(p, y, z):
    r = z - y
    weight = 1 - p.expectile if r > 0 else p.expectile
    return weight * r**2, 2 * weight * r, 2 * weight


def smooth_l1(p, y, z):
    r = z - y
    if abs(p.rounded(r)) < p.beta:  # the Hessian jumps there: the side is that of the rounded residual
        return r**2 / (2 * p.beta), r / p.beta, 1 / p.beta
    return abs(r) - p.beta / 2, mpmath.sign(r), mpf(0)


def pseudo_huber(p, y, z):
    r = z - y
    root = mpmath.sqrt(1 + (r / p.delta)**2)
    return r**2 / (1 + root), r / root, root**-3  # delta²(root - 1), multiplied out


def log_cosh(p, y, z):
    r = z - y
    near = mpmath.sign(r) * min(abs(r), mpf(10**4))  # beyond, exp(-2|r|) is nothing
    square = mpmath.sinh(near)**2
    loss = mpmath.log1p(square) / 2 if near == r else abs(r) - mpmath.log(2)
    return loss, mpmath.tanh(near), 1 / (1 + square)


def fair(p, y, z):
    x = abs(z - y) / p.c
    with mpmath.extraprec(2 * abs(mpmath.mag(x)) if x else 0):
        loss = p.c**2 * (x - mpmath.log1p(x))
    return loss, (z - y) / (1 + x), 1 / (1 + x)**2


def epsilon_insensitive(p, y, z):
    beyond = max(mpf(0), -shortfall(p.epsilon, y, z))
    return beyond, mpmath.sign(z - y) if beyond else mpf(0), mpf(0)


def squared_epsilon_insensitive(p, y, z):
    beyond, sign, _ = epsilon_insensitive(p, y, z)
    return beyond**2, 2 * sign * beyond, 2 * abs(sign)


def squared_log_error(p, y, z):
    d = mpmath.log1p(z) - mpmath.log1p(y)
    return d**2, 2 * d / (1 + z), (2 / (1 + z)**2, -2 * d / (1 + z)**2)


def absolute_percentage_error(p, y, z):
    size = max(abs(y), p.eps)
    return abs(z - y) / size, mpmath.sign(z - y) / size, mpf(0)


def robust(p, y, z):
    x, c = (z - y) / p.scale, p.scale
    if p.alpha == 2:
        return x**2 / 2, x / c, 1 / c**2
    if p.alpha == -mpmath.inf:
        factor = mpmath.exp(-x**2 / 2)
        return -mpmath.expm1(-x**2 / 2), factor * x / c, (factor / c**2, -factor * x**2 / c**2)
    b = abs(p.alpha - 2)
    u = x**2 / b
    log_power = mpmath.log1p(u) / 2  # of the square root of 1 + u: powers near 1 would cancel
    loss = b / p.alpha * mpmath.expm1(p.alpha * log_power) if p.alpha else mpmath.log1p(u)
    slope, curve = (mpmath.exp((p.alpha - k) * log_power) / c**(k // 2) for k in (2, 4))
    parts = curve, curve * (p.alpha - 1) * u
    return loss, slope * x, parts if p.alpha < 1 else sum(parts)


def tukey(p, y, z):
    r, inside = z - y, shortfall(p.c, y, z)
    if inside <= 0:
        return p.c**2 / 6, mpf(0), mpf(0)
    u, rest = (r / p.c)**2, inside * (p.c + abs(r)) / p.c**2  # which is 1 - u
    return r**2 / 6 * (3 - 3 * u + u**2), r * rest**2, (rest, -5 * u * rest)


def poisson(p, y, z):
    mean = mpmath.exp(z)
    constants = (y * mpmath.log(y) if y else mpf(0), -y) if p.full else ()
    return (mean, -y * z, *constants), (mean, -y), mean


def gamma(p, y, z):
    ratio = y * mpmath.exp(-z)
    return (z, ratio, *((-mpmath.log(y), mpf(-1)) if p.full else ())), (mpf(1), -ratio), ratio


def tweedie(p, y, z):
    if p.link == "identity":
        return tweedie_identity(p, y, z)
    if p.power in (1, 2):
        return poisson(p, y, z) if p.power == 1 else gamma(p, y, z)
    a, b = 1 - p.power, 2 - p.power
    by_target, by_mean = y * mpmath.exp(a * z), mpmath.exp(b * z)
    constants = (abs(y)**b / (a * b),) if p.full and y else ()
    return ((-by_target / a, by_mean / b, *constants), (-by_target, by_mean), (-a * by_target, b * by_mean))


def tweedie_identity(p, y, z):
    """The half deviance, whether it is full or not."""
    if p.power == 0:
        return (z - y)**2 / 2, z - y, mpf(1)
    a, b = 1 - p.power, 2 - p.power
    slope, curves = (z - y) / z**p.power, (a / z**p.power, p.power * y / z**(p.power + 1))
    if p.power == 1:
        return (y * mpmath.log(y / z) if y else mpf(0), -y, z), slope, curves
    if p.power == 2:
        return (y / z, mpf(-1), mpmath.log(z / y)), slope, curves
    return (y**b / (a * b) if y else mpf(0), -y * z**a / a, z**b / b), slope, curves


def negative_binomial(p, y, z):
    grown = p.dispersion * mpmath.exp(z)
    logarithm = mpmath.log1p(grown)
    return ((y * logarithm, logarithm / p.dispersion, -y * z), (mpmath.exp(z) / (1 + grown), -y / (1 + grown)),
            (y + 1 / p.dispersion) * grown / (1 + grown)**2)


def gaussian_nll(p, y, z, s):
    r = z - y
    square = r**2 * mpmath.exp(-s)
    constants = (mpmath.log(2 * mpmath.pi) / 2,) if p.full else ()
    return (s / 2, square / 2, *constants), r * mpmath.exp(-s), (mpf(0.5), -square / 2), mpmath.exp(-s), square / 2


# ---- one reference a class: binary -----------------------------------------------------------------------------------


def binary_cross_entropy(p, y, z):
    y_kept = y * (1 - p.label_smoothing) + p.label_smoothing / 2
    positive, negative = y_kept * (1 if p.pos_weight is None else p.pos_weight), 1 - y_kept
    if p.inputs == "logits":
        sigmoid, rest = 1 / (1 + mpmath.exp(-z)), 1 / (1 + mpmath.exp(z))
        return (positive * softplus(-z) + negative * softplus(z), (negative * sigmoid, -positive * rest),
                (positive + negative) * sigmoid * rest)
    loss, gradient, hessian = mpf(0), [mpf(0)], mpf(0)
    for weight, prob, sign in ((positive, z, 1), (negative, 1 - z, -1)):
        if weight > 0:
            loss -= weight * mpmath.log(max(prob, p.eps))
        if weight > 0 and prob >= p.eps:
            gradient.append(-sign * weight / prob)
            hessian += weight / prob**2
    return loss, tuple(gradient), hessian


def binary_focal(p, y, z):
    sign = 2 * y - 1
    alpha = 1 if p.alpha is None else p.alpha if y == 1 else 1 - p.alpha
    if p.inputs == "logits":
        m = sign * z
        p_t, q, surprise = 1 / (1 + mpmath.exp(-m)), 1 / (1 + mpmath.exp(m)), softplus(-m)
        power = alpha * q**p.gamma
        return (power * surprise, -sign * power * (p.gamma * p_t * surprise + q),
                tuple(power * p_t * term for term in ((1 + 2 * p.gamma) * q, -p.gamma * surprise * q,
                                                      p.gamma**2 * surprise * p_t)))
    p_t, q = (z, 1 - z) if y == 1 else (1 - z, z)
    surprise, power = -mpmath.log(p_t), alpha * q**p.gamma
    return (power * surprise, -sign * power * (p.gamma * surprise / q + 1 / p_t),
            (power * (2 * p.gamma / (q * p_t) + 1 / p_t**2), power * p.gamma * (p.gamma - 1) * surprise / q**2))


def asymmetric_focal(p, y, z):
    if y == 1:
        return binary_focal(SimpleNamespace(gamma=p.gamma_pos, alpha=None, inputs="logits"), y, z)
    prob, rest = 1 / (1 + mpmath.exp(-z)), 1 / (1 + mpmath.exp(z))
    q = prob - p.clip
    if q <= 0:
        return mpf(0), mpf(0), mpf(0)
    power, s = q**p.gamma_neg, prob * rest
    surprise = -mpmath.log1p(-q) if q < 0.5 else -mpmath.log(rest + p.clip)
    first = power * p.gamma_neg * surprise / q, power / (rest + p.clip)
    second = (p.gamma_neg * (p.gamma_neg - 1) * power * surprise / q**2, 2 * p.gamma_neg * power / q / (rest + p.clip),
              power / (rest + p.clip)**2)
    # Rounding the probability moves q by ulp of the probability: relative to q they are more.
    amplified = (prob + p.clip) / q
    return tuple(Scaled(sum(terms), amplified * sum(map(abs, terms))) for terms in (
        (power * surprise,), [s * f for f in first],
        [s**2 * f for f in second] + [s * f * part for f in first for part in (rest, -prob)]))


def hinge(p, y, z):
    sign = 2 * y - 1
    m = sign * z
    active = m < p.margin or m == p.margin == 0  # one-sided at margin 0, so that learning starts
    return max(mpf(0), p.margin - m), -sign if active else mpf(0), mpf(0)


def squared_hinge(p, y, z):
    sign = 2 * y - 1
    short = max(mpf(0), p.margin - sign * z)
    return short**2, -2 * sign * short, mpf(2 if short else 0)


def perceptron(p, y, z):
    return hinge(SimpleNamespace(margin=mpf(0)), y, z)


def modified_huber(p, y, z):
    sign = 2 * y - 1
    m = sign * z
    if m < -1:
        return -4 * m, -4 * sign, mpf(0)
    return squared_hinge(SimpleNamespace(margin=mpf(1)), y, z)


def exponential(p, y, z):
    sign = 2 * y - 1
    loss = mpmath.exp(-sign * z)
    return loss, -sign * loss, loss


def sharp(p, y, z):
    sign = 2 * y - 1
    m = sign * z
    if p.phi == "algebraic":
        h = mpmath.sqrt(m**2 + p.epsilon)
        return 1 - m / h, -sign * p.epsilon / h**3, 3 * p.epsilon * m / h**5
    square = m**2 + p.epsilon**2
    return (1 - 2 / mpmath.pi * mpmath.atan(m / p.epsilon), -sign * 2 / mpmath.pi * p.epsilon / square,
            4 / mpmath.pi * p.epsilon * m / square**2)


def softplus(a):
    return max(a, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(a)))


# ---- of distances, with binary labels --------------------------------------------------------------------------------


def contrastive(p, y, z):
    if y == 1:
        return z**2 / 2, z, mpf(1)
    short = max(mpf(0), p.margin - z)
    return short**2 / 2, -short, mpf(1 if short else 0)


def hinge_embedding(p, y, z):
    if y == 1:
        return z, mpf(1), mpf(0)
    return max(mpf(0), p.margin - z), mpf(-1 if z < p.margin else 0), mpf(0)


REFERENCES = {
    fl.SquaredError: squared_error, fl.AbsoluteError: absolute_error, fl.Huber: huber, fl.Quantile: quantile,
    fl.Expectile: expectile, fl.SmoothL1: smooth_l1, fl.PseudoHuber: pseudo_huber, fl.LogCosh: log_cosh, fl.Fair: fair,
    fl.EpsilonInsensitive: epsilon_insensitive, fl.SquaredEpsilonInsensitive: squared_epsilon_insensitive,
    fl.SquaredLogError: squared_log_error, fl.AbsolutePercentageError: absolute_percentage_error, fl.Robust: robust,
    fl.Tukey: tukey, fl.Poisson: poisson, fl.Gamma: gamma, fl.Tweedie: tweedie,
    fl.NegativeBinomial: negative_binomial, fl.GaussianNLL: gaussian_nll,
    fl.BinaryCrossEntropy: binary_cross_entropy, fl.BinaryFocal: binary_focal, fl.AsymmetricFocal: asymmetric_focal,
    fl.Hinge: hinge, fl.SquaredHinge: squared_hinge, fl.Perceptron: perceptron, fl.ModifiedHuber: modified_huber,
    fl.Exponential: exponential, fl.Sharp: sharp,
    fl.Contrastive: contrastive, fl.HingeEmbedding: hinge_embedding,
}

# ---- the instances that tests over all losses run through ------------------------------------------------------------

INSTANCES = [
    fl.SquaredError(), fl.SquaredError(half=True),
    fl.AbsoluteError(),
    fl.Huber(), fl.Huber(delta=0.1), fl.Huber(delta=1.345), fl.Huber(delta=1e6),
    fl.Quantile(), fl.Quantile(0.1), fl.Quantile(0.9),
    fl.Expectile(), fl.Expectile(0.1), fl.Expectile(0.9),
    fl.SmoothL1(), fl.SmoothL1(0.0), fl.SmoothL1(0.1), fl.SmoothL1(30.0),
    fl.PseudoHuber(), fl.PseudoHuber(0.1), fl.PseudoHuber(1e3),
    fl.LogCosh(),
    fl.Fair(), fl.Fair(0.1), fl.Fair(30.0),
    *(cls(epsilon) for cls in (fl.EpsilonInsensitive, fl.SquaredEpsilonInsensitive) for epsilon in (0.1, 0.0, 1.0)),
    fl.SquaredLogError(),
    fl.AbsolutePercentageError(), fl.AbsolutePercentageError(eps=1e-3),
    *(fl.Robust(alpha) for alpha in (1.0, 2.0, 0.0, -2.0, 0.5, 1.5, 1e-9, -10.0, 3.0, 1.99, -1000.0, -np.inf)),
    *(fl.Robust(alpha, scale) for alpha, scale in (
        (1.0, 0.1), (2.0, 0.3), (0.0, 7.0), (-2.0, 50.0), (0.5, 1e-3), (1.7, 1e3), (-np.inf, 0.3))),
    fl.Tukey(), fl.Tukey(1.0), fl.Tukey(1e3),
    fl.Poisson(), fl.Poisson(full=True),
    fl.Gamma(), fl.Gamma(full=True),
    *(fl.Tweedie(power, full=full) for power in (-1.0, 0.0, 1.0, 1.5, 1.7, 2.0, 3.0) for full in (False, True)),
    *(fl.Tweedie(power, link="identity") for power in (-1.0, 0.0, 1.0, 1.5, 1.7, 2.0, 3.0)),
    fl.Tweedie(-3.0), fl.Tweedie(-3.9, full=True), fl.Tweedie(3.9, link="identity"),
    fl.Tweedie(5.0), fl.Tweedie(1.001, link="identity"), fl.Tweedie(10.0, link="identity"),
    fl.NegativeBinomial(), fl.NegativeBinomial(0.1), fl.NegativeBinomial(30.0), fl.NegativeBinomial(1e-8),
    fl.BinaryCrossEntropy(), fl.BinaryCrossEntropy(label_smoothing=0.1), fl.BinaryCrossEntropy(pos_weight=3.7),
    fl.BinaryCrossEntropy(pos_weight=0.0), fl.BinaryCrossEntropy(label_smoothing=0.2, pos_weight=0.3),
    fl.BinaryCrossEntropy("probabilities"), fl.BinaryCrossEntropy("probabilities", eps=1e-7),
    fl.BinaryCrossEntropy("probabilities", label_smoothing=0.1, pos_weight=2.5),
    *(fl.BinaryFocal(gamma) for gamma in (0.0, 0.5, 1.0, 1.7, 2.0, 2.5, 5.0, 7.0, 12.0)),
    fl.BinaryFocal(alpha=0.25), fl.BinaryFocal(2.5, alpha=0.9),
    *(fl.BinaryFocal(gamma, inputs="probabilities") for gamma in (0.0, 0.3, 0.5, 1.0, 2.0, 2.5, 5.0)),
    fl.BinaryFocal(2.0, alpha=0.25, inputs="probabilities"),
    *(fl.AsymmetricFocal(*parameters) for parameters in (
        (0.0, 4.0, 0.05), (0.0, 0.0, 0.05), (1.0, 2.0, 0.2), (0.5, 1.7, 0.05), (0.0, 1.0, 0.2), (2.5, 0.5, 0.05),
        (0.0, 4.0, 0.0), (1.5, 2.5, 0.0))),
    fl.Hinge(), fl.Hinge(margin=0.0), fl.Hinge(margin=2.0),
    fl.SquaredHinge(), fl.SquaredHinge(margin=0.0), fl.SquaredHinge(margin=2.0),
    fl.Perceptron(), fl.ModifiedHuber(), fl.Exponential(),
    *(fl.Sharp(phi, epsilon) for phi in ("algebraic", "arctan") for epsilon in (1.0, 1e-3, 0.3, 50.0)),
    *(cls(margin) for cls in (fl.Contrastive, fl.HingeEmbedding) for margin in (1.0, 0.0, 2.0)),
]
#: The losses of pairs: test_accuracy.py takes them too, the rest is in test_gaussian.py.
PAIRS = [fl.GaussianNLL(), fl.GaussianNLL(full=True)]
#: What each method returns.
METHODS = {
    "loss": ("loss",), "gradient": ("gradient",), "loss_gradient": ("loss", "gradient"),
    "gradient_hessian": ("gradient", "hessian"), "loss_gradient_hessian": ("loss", "gradient", "hessian"),
}
#: One of each class in INSTANCES, for properties that do not depend on parameters.
DEFAULTS = [cls() for cls in dict.fromkeys(type(loss) for loss in INSTANCES)]


def exact(loss, y, z, dtype):
    """(value, scale) of the loss, the gradient and the Hessian at one target and one prediction, in high precision."""
    def rounded(value):
        return mpf(float(dtype(float(value))))

    parameters = SimpleNamespace(rounded=rounded, **{
        name: rounded(value) if isinstance(value, float) else value for name, value in loss.get_params().items()})
    # 1 - p and 1 - phi cancel as many bits as the exponent of z squared says; exponentials are never naive there
    cancels = isinstance(loss, fl.Sharp) or is_probability(loss)
    with mpmath.workprec(250 + (2 * abs(int(np.frexp(z)[1])) if cancels else 0)):
        return [scaled(out) for out in REFERENCES[type(loss)](
            parameters, mpf(float(y)), *(mpf(float(v)) for v in np.atleast_1d(z)))]


def scaled(out):
    if isinstance(out, Scaled):
        return out
    terms = out if isinstance(out, tuple) else (out,)
    return Scaled(sum(terms), sum(map(abs, terms)))


def limit(loss):
    """The ulp that CONTRIBUTING.md grants: 4, and 4 + 2 gamma with a free exponent gamma."""
    parameters = loss.get_params()
    if isinstance(loss, fl.Robust):  # its exponents are up to (alpha - 2)/2
        return 4 if loss.alpha == -np.inf or -2 <= loss.alpha <= 4 else 4 + abs(loss.alpha - 2)
    return 4 + 2 * max(parameters.get(name, 0) for name in ("gamma", "gamma_pos", "gamma_neg"))


# ---- data in the domain of each loss ---------------------------------------------------------------------------------

#: The least target, and whether it is one itself.
LOWEST = {"real": (-np.inf, True), "non-negative": (0.0, True), "positive": (0.0, False), "above -1": (-1.0, False)}


def is_binary(loss):
    return "binary" in loss.target


def is_probability(loss):
    return loss.domain == (0.0, 1.0)


def label(loss, y):
    """The target 0 or 1, or what stands for it: some losses take positive targets only."""
    return y + (loss.target == "positive")


def targets(loss, n, dtype=np.float64, seed=0):
    """What the loss takes as y_true."""
    rng = np.random.default_rng(seed)
    if not is_binary(loss):
        y = {"real": rng.normal(0, 2, n), "non-negative": rng.poisson(2, n) * rng.choice([1, 1, 0.37], n),
             "positive": rng.gamma(1.5, 1.5, n) + 0.01, "above -1": rng.gamma(1.5, 1.5, n) - 0.9}[loss.target]
        return y.astype(dtype)
    labels = rng.integers(0, 2, n).astype(dtype)
    return np.where(rng.random(n) < 0.5, rng.random(n).astype(dtype), labels) if "soft" in loss.target else labels


def predictions(loss, n, dtype=np.float64, seed=1):
    """Moderate predictions inside the domain."""
    rng = np.random.default_rng(seed)
    low, high = loss.domain
    if high < np.inf:
        return rng.uniform(0.02, 0.98, n).astype(dtype)
    return (rng.normal(0, 2, n) if low == -np.inf else low + rng.gamma(3, 1, n) + 0.05).astype(dtype)


def hard_pairs(loss, n, dtype, seed=0):
    """(y_true, y_pred) where rounding is hardest: all exponents, both signs, kinks, where exponentials end."""
    rng = np.random.default_rng(seed)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    points = sorted({abs(v) for v in loss.get_params().values() if isinstance(v, float) and np.isfinite(v)}
                    | {tiny, 1.0})
    z = hard_predictions(loss, n // (4 if "soft" in loss.target else 2 if is_binary(loss) else 1), dtype, rng, points)
    if not is_binary(loss):
        y = hard_targets(loss, z, dtype, rng, points)
        return y, np.stack([z, hard_log_variances(y, z, dtype, rng)], axis=1) if loss in PAIRS else z
    y = np.tile([0, 1], len(z)).astype(dtype)
    z = np.repeat(z, 2)
    if "soft" in loss.target:
        soft = np.where(rng.random(len(z)) < 0.5, rng.random(len(z)), sample(0, 1, len(z), dtype, seed))
        y = np.concatenate([y, soft.astype(dtype)])
        z = np.concatenate([z, z])
    elif clip := float(dtype(loss.get_params().get("clip", 0.0))):
        # where negatives stop counting, rounding the probability decides the side: test_binary.py looks there
        edge = np.log(clip / (1 - clip))
        kept = (y == 1) | (z > edge) | (np.abs(z - edge) > 16 * np.finfo(dtype).eps)
        return y[kept], z[kept]
    return y, z


def hard_predictions(loss, n, dtype, rng, points):
    half = float(np.finfo(dtype).max) / 2
    tiny = float(np.finfo(dtype).smallest_subnormal)
    seed = int(rng.integers(2**30))
    low, high = loss.domain
    if high < np.inf:
        inside = [v for v in points if v < 1]
        z = np.concatenate([sample(tiny, 1, n // 3, dtype, seed), 1 - sample(tiny, 1, n // 3, dtype, seed + 1),
                            rng.random(n // 3).astype(dtype),
                            neighbours(*inside, *(1 - v for v in inside), dtype=dtype)])
        return z[(z > low) & (z < high)]
    ends = (708.4, 709.8, 744.4, 745.2, 36.7) if dtype == np.float64 else (87.3, 88.7, 103.3, 104.0, 16.6)
    z = np.concatenate([sample(-half, half, n // 4, dtype, seed), rng.uniform(-4, 4, n // 4).astype(dtype),
                        rng.uniform(-40, 40, n // 4).astype(dtype),
                        rng.uniform(-ends[3], ends[3], n // 4).astype(dtype),
                        neighbours(0, *points, *ends, 1e5, half / 2, dtype=dtype)])
    z = np.concatenate([z, -z[-50:]])
    if clip := loss.get_params().get("clip"):
        clip = float(dtype(clip))
        edge = np.log(clip / (1 - clip))
        z = np.concatenate([z, (edge * (1 - np.geomspace(1e-15, 1e-1, 60))).astype(dtype),
                            (edge * (1 + np.geomspace(1e-15, 1e-1, 20))).astype(dtype)])
    if low > -np.inf:
        close = (low + np.abs(z[::8]) / np.max(np.abs(z))).astype(dtype)
        z = np.concatenate([np.where(z > low, z, np.abs(z)), close, neighbours(low, dtype=dtype)])
    return z[z > low]


def hard_targets(loss, z, dtype, rng, points):
    """Targets of every size, near the prediction, at kinks of the residual, near the mean that a log link makes."""
    half = float(np.finfo(dtype).max) / 2
    tiny = float(np.finfo(dtype).smallest_subnormal)
    lowest, included = LOWEST[loss.target]
    seed = int(rng.integers(2**30))
    n = len(z)
    z = z.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        mean = np.exp(np.minimum(z, np.log(half)))
        step = 1 + rng.choice([0, 1e-16, 1e-12, 1e-7, 1e-3, 0.1], n)
        choices = [sample(max(lowest, -half), half, n, dtype, seed), z * step, mean * step,
                   z + rng.choice([-1, 1], n) * rng.choice(points, n) * step,
                   rng.choice([1.0, -0.5, 3.0, 17.0], n), np.zeros(n)]
        y = np.clip(np.choose(rng.integers(0, len(choices), n), choices), -half, half).astype(dtype)
    least = dtype(lowest) if included else np.nextafter(dtype(lowest), dtype(1))
    return np.where(y >= least, y, np.clip(np.abs(y), tiny, half)).astype(dtype)


def hard_log_variances(y, z, dtype, rng):
    """Of every size, and where the squared residual is about the variance, or leaves the range of numbers."""
    n = len(z)
    with np.errstate(divide="ignore"):
        level = np.nan_to_num(2 * np.log(np.abs(z.astype(np.float64) - y)), neginf=0.0)
    largest = float(np.log(np.finfo(dtype).max))
    shift = rng.choice([0, 1e-7, 1e-3, 1.0, largest, -largest], n) * rng.choice([1, 1.02], n)
    return np.choose(rng.integers(0, 3, n), [level + shift, rng.uniform(-5, 5, n), rng.permuted(z)]).astype(dtype)
