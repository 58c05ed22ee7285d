"""Every loss once more, naively, in mpmath; the instances and the data that tests over all losses share.

A reference takes the loss's parameters p (rounded to the computing dtype, as the kernels do), a target y and a
prediction z, and gives the loss, its gradient and its Hessian. Where a formula adds terms of both signs and passes
through zero inside the domain, it gives the tuple of terms instead of their sum: no arithmetic in a fixed format can do
better than an error relative to the sum of their absolute values (CONTRIBUTING.md).
"""

from types import SimpleNamespace

import mpmath
import numpy as np
from mpmath import mpf

import fastloss as fl
from floats import neighbours, sample

# ---- one reference a class -------------------------------------------------------------------------------------------


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


def hinge(p, y, z):
    sign = 2 * y - 1
    m = sign * z
    active = m < p.margin or m == p.margin == 0  # one-sided at margin 0, so that learning starts
    return max(mpf(0), p.margin - m), -sign if active else mpf(0), mpf(0)


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


REFERENCES = {
    fl.SquaredError: squared_error, fl.AbsoluteError: absolute_error, fl.Huber: huber, fl.Quantile: quantile,
    fl.BinaryCrossEntropy: binary_cross_entropy, fl.BinaryFocal: binary_focal, fl.Hinge: hinge, fl.Sharp: sharp,
}

# ---- the instances that tests over all losses run through ------------------------------------------------------------

INSTANCES = [
    fl.SquaredError(), fl.SquaredError(half=True),
    fl.AbsoluteError(),
    fl.Huber(), fl.Huber(delta=0.1), fl.Huber(delta=1.345), fl.Huber(delta=1e6),
    fl.Quantile(), fl.Quantile(0.1), fl.Quantile(0.9),
    fl.BinaryCrossEntropy(), fl.BinaryCrossEntropy(label_smoothing=0.1), fl.BinaryCrossEntropy(pos_weight=3.7),
    fl.BinaryCrossEntropy(pos_weight=0.0), fl.BinaryCrossEntropy(label_smoothing=0.2, pos_weight=0.3),
    fl.BinaryCrossEntropy("probabilities"), fl.BinaryCrossEntropy("probabilities", eps=1e-7),
    fl.BinaryCrossEntropy("probabilities", label_smoothing=0.1, pos_weight=2.5),
    *(fl.BinaryFocal(gamma) for gamma in (0.0, 0.5, 1.0, 1.7, 2.0, 2.5, 5.0, 7.0, 12.0)),
    fl.BinaryFocal(alpha=0.25), fl.BinaryFocal(2.5, alpha=0.9),
    *(fl.BinaryFocal(gamma, inputs="probabilities") for gamma in (0.0, 0.5, 1.0, 2.0, 2.5, 5.0)),
    fl.BinaryFocal(2.0, alpha=0.25, inputs="probabilities"),
    fl.Hinge(), fl.Hinge(margin=0.0), fl.Hinge(margin=2.0),
    *(fl.Sharp(phi, epsilon) for phi in ("algebraic", "arctan") for epsilon in (1.0, 1e-3, 0.3, 50.0)),
]
#: What each method returns.
METHODS = {
    "loss": ("loss",), "gradient": ("gradient",), "loss_gradient": ("loss", "gradient"),
    "gradient_hessian": ("gradient", "hessian"), "loss_gradient_hessian": ("loss", "gradient", "hessian"),
}
#: One of each public class, for properties that do not depend on parameters.
DEFAULTS = [cls() for cls in REFERENCES]


def exact(loss, y, z, dtype):
    """(value, scale) of the loss, the gradient and the Hessian of single numbers, in high precision."""
    def rounded(value):
        return mpf(float(dtype(float(value))))

    parameters = SimpleNamespace(rounded=rounded, **{
        name: rounded(value) if isinstance(value, float) else value for name, value in loss.get_params().items()})
    # 1 - p and 1 - phi cancel as many bits as the exponent of z squared says; exponentials are never naive there
    cancels = isinstance(loss, fl.Sharp) or loss.domain[0] == 0
    with mpmath.workprec(200 + (2 * abs(int(np.frexp(z)[1])) if cancels else 0)):
        outputs = REFERENCES[type(loss)](parameters, mpf(float(y)), mpf(float(z)))
        return [(sum(out), sum(map(abs, out))) if isinstance(out, tuple) else (out, abs(out)) for out in outputs]


def limit(loss):
    """The ulp that CONTRIBUTING.md grants: 4, and 4 + 2 gamma with a free exponent gamma."""
    return 4 + 2 * loss.gamma if isinstance(loss, fl.BinaryFocal) else 4


# ---- data in the domain of each loss ---------------------------------------------------------------------------------


def targets(loss, n, dtype=np.float64, seed=0):
    """What the loss takes as y_true."""
    rng = np.random.default_rng(seed)
    if loss.target == "real":
        return rng.normal(0, 2, n).astype(dtype)
    labels = rng.integers(0, 2, n).astype(dtype)
    return np.where(rng.random(n) < 0.5, rng.random(n).astype(dtype), labels) if "soft" in loss.target else labels


def predictions(loss, n, dtype=np.float64, seed=1):
    """Moderate predictions inside the domain."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(0.02, 0.98, n) if loss.domain[0] == 0 else rng.normal(0, 2, n)).astype(dtype)


def hard_pairs(loss, n, dtype, seed=0):
    """(y_true, y_pred) where rounding is hardest: all exponents, both signs, kinks, where exponentials end."""
    rng = np.random.default_rng(seed)
    half = float(np.finfo(dtype).max) / 2
    tiny = float(np.finfo(dtype).smallest_subnormal)
    points = sorted({v for v in loss.get_params().values() if isinstance(v, float)} | {tiny, 1.0})
    ends = (708.4, 709.8, 744.4, 745.2, 36.7) if dtype == np.float64 else (87.3, 88.7, 103.3, 104.0, 16.6)
    if loss.domain[0] == 0:
        inside = [v for v in points if v < 1]
        z = np.concatenate([sample(tiny, 1, n // 3, dtype, seed), 1 - sample(tiny, 1, n // 3, dtype, seed + 1),
                            rng.random(n // 3).astype(dtype),
                            neighbours(*inside, *(1 - v for v in inside), dtype=dtype)])
        z = z[(z > 0) & (z < 1)]
    else:
        z = np.concatenate([sample(-half, half, n // 4, dtype, seed), rng.uniform(-4, 4, n // 4).astype(dtype),
                            rng.uniform(-40, 40, n // 4).astype(dtype),
                            rng.uniform(-ends[3], ends[3], n // 4).astype(dtype),
                            neighbours(0, *points, *ends, 1e5, half / 2, dtype=dtype)])
        z = np.concatenate([z, -z[-50:]])
    if loss.target == "real":
        far = sample(-half, half, len(z), dtype, seed + 2)
        near = z * (1 + rng.choice([1e-7, 1e-3, 0.1], len(z))).astype(dtype)
        y = np.choose(rng.integers(0, 4, len(z)), [0 * z, far, near, rng.choice([1.0, -0.5, 3.0], len(z))])
        return np.clip(y, -half, half).astype(dtype), z
    y = np.tile([0, 1], len(z))
    z = np.repeat(z, 2)
    if "soft" in loss.target:
        soft = np.where(rng.random(len(z)) < 0.5, rng.random(len(z)), sample(0, 1, len(z), dtype, seed))
        y = np.concatenate([y, soft])
        z = np.concatenate([z, z])
    return y.astype(dtype), z
