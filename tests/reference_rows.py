"""Every row loss once more, naively, in mpmath; the instances and the data that tests over all row losses share.

A reference takes the loss's parameters p (rounded to the computing dtype, as the kernels do), a target t and a row z of
y_pred, and gives the loss, the row of its gradient and the row of its Hessian's diagonal. The target is the index of a
class, or a row. Each number comes as in reference.py: itself, or a tuple of terms that may cancel, or with its scale.

Losses of the target's probability are written as functions of u = log q_t, and the others as functions of all q; their
way back to the scores is the chain rule through the softmax, once for all: d log q_t/dz_c = [c = t] - q_c, and
d²q_d/dz_c² = (1 - 2·q_c)·dq_d/dz_c.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import fsum, mpf

import fastloss as fl
from floats import sample
from reference import Scaled, scaled

INF = mpf("inf")
ZERO = mpf(0)


# ---- from scores to probabilities ------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A row of y_pred as probabilities: 1 - q and log q are exact also where they would cancel."""

    q: list
    rest: list
    log_q: list
    #: log Σ exp z, of logits
    lse: Scaled | None = None


def power_of_e(x):
    """exp(x); nothing is left of what lies far below the range of every dtype."""
    return mpmath.exp(x) if x > -5000 else ZERO


@lru_cache(maxsize=512)
def softmax(z):
    top = max(z)
    winner = z.index(top)
    shifted = [ZERO if v == top else v - top for v in z]  # inf - inf: where there is one, all else is nothing
    powers = [power_of_e(v) for v in shifted]
    others = fsum(powers[:winner] + powers[winner + 1:])
    q = [power / (1 + others) for power in powers]
    rest = [1 - v for v in q]
    rest[winner] = others / (1 + others)
    above = mpmath.log1p(others)
    return Row(q, rest, [v - above for v in shifted], Scaled(top + above, abs(top) + above))


def row_of(p, z):
    if p.inputs == "probabilities":
        return Row(z, [1 - q for q in z], [mpmath.log(q) if q else -INF for q in z])
    row = softmax(tuple(z)) if p.inputs == "logits" else Row(
        [power_of_e(v) for v in z], [-mpmath.expm1(v) if v > -5000 else mpf(1) for v in z], z)
    if p.least:
        q, rest = ([max(v, p.least) if v else v for v in part] for part in row[:2])
        row = row._replace(q=q, rest=rest)
    return row


def index_row(t, n_classes):
    return [mpf(c == t) for c in range(n_classes)] if isinstance(t, int) else t


def index_of(t):
    """The class that a one-hot row means."""
    return t if isinstance(t, int) else t.index(1)


# ---- losses of the target's probability ------------------------------------------------------------------------------


def of_target(p, t, row, loss, first, second):
    """The derivatives `first` and `second` are by u = log q_t, or by q_t where y_pred holds probabilities; as terms."""
    t, n_classes = index_of(t), len(row.q)
    if p.inputs != "logits":
        return loss, *([derivative if c == t else ZERO for c in range(n_classes)] for derivative in (first, second))
    gradient, hessian = [], []
    for c, (q, rest) in enumerate(zip(row.q, row.rest, strict=True)):
        slope = rest if c == t else -q
        gradient.append(tuple(term * slope for term in first))
        hessian.append((*(term * slope**2 for term in second), *(-term * q * rest for term in first)))
    return loss, gradient, hessian


def cross_entropy_of_index(p, t, row):
    q, surprise = row.q[index_of(t)], -row.log_q[index_of(t)]
    if p.inputs == "probabilities":
        return of_target(p, t, row, surprise, -1 / q if q else -INF, 1 / q**2 if q else INF)
    return of_target(p, t, row, surprise, (mpf(-1),), (ZERO,))


def focal(p, t, z):
    row, t = row_of(p, z), index_of(t)
    q, rest, u = row.q[t], row.rest[t], row.log_q[t]
    alpha = mpf(1) if p.alpha is None else p.alpha[t] if isinstance(p.alpha, list) else p.alpha
    if rest == 0 and p.gamma:  # the probability is 1, or nothing is left of exp(-5000)
        curve = INF if p.gamma < 1 else 2 * alpha if p.gamma == 1 else ZERO
        return of_target(p, t, row, ZERO, (ZERO,), (curve if p.inputs != "logits" else ZERO,))
    rest = rest or mpf(1)  # to the power of 0
    power = alpha * rest**p.gamma
    if p.inputs == "probabilities":
        first = power * p.gamma * u / rest, -power / q
        second = (power * (2 * p.gamma / (rest * q) + 1 / q**2), -power * p.gamma * (p.gamma - 1) * u / rest**2)
    else:
        first = power * p.gamma * q * u / rest, -power
        second = tuple(power * p.gamma * q * term for term in (
            2 / rest, u / rest, -(p.gamma - 1) * q * u / rest**2))
    return of_target(p, t, row, -power * u, first, second)


def generalized_cross_entropy(p, t, z):
    row, t = row_of(p, z), index_of(t)
    power, loss = mpmath.exp(p.q * row.log_q[t]), -mpmath.expm1(p.q * row.log_q[t]) / p.q
    if p.inputs == "probabilities":
        return of_target(p, t, row, loss, -power / row.q[t], (1 - p.q) * power / row.q[t]**2)
    return of_target(p, t, row, loss, (-power,), (-p.q * power,))


def poly_cross_entropy(p, t, z):
    row, t = row_of(p, z), index_of(t)
    q, loss = row.q[t], (-row.log_q[t], p.epsilon * row.rest[t])
    if p.inputs == "probabilities":
        return of_target(p, t, row, loss, (-1 / q, -p.epsilon), 1 / q**2)
    return of_target(p, t, row, loss, (mpf(-1), -p.epsilon * q), (-p.epsilon * q,))


# ---- losses of all probabilities -------------------------------------------------------------------------------------


def cross_entropy(p, t, z):
    row = row_of(p, z)
    if isinstance(t, int) and not (p.label_smoothing or p.z_loss or p.eps):
        loss, gradient, hessian = cross_entropy_of_index(p, t, row)
        return (loss, gradient, hessian) if p.hessian == "exact" else (
            loss, gradient, [2 * q * rest for q, rest in zip(row.q, row.rest, strict=True)])
    t = [v * (1 - p.label_smoothing) + p.label_smoothing / len(z) for v in index_row(t, len(z))]
    if p.inputs == "probabilities":
        counts = [v > 0 and q >= p.eps for v, q in zip(t, z, strict=True)]
        return (fsum(-v * log(max(q, p.eps)) for v, q in zip(t, z, strict=True) if v),
                [-over(v, q) if kept else ZERO for v, q, kept in zip(t, z, counts, strict=True)],
                [over(v, q**2) if kept else ZERO for v, q, kept in zip(t, z, counts, strict=True)])
    loss, gradient, hessian = likelihood(p, t, row)
    bound = 1 if p.hessian == "exact" else 2  # times q(1 - q)
    hessian = [bound * h for h in hessian]
    if not p.z_loss:
        return loss, gradient, hessian
    # lse, near 0, may have lost its digits: its own scale is that of its terms
    value, scale = row.lse
    factor = 2 * p.z_loss
    loss = Scaled(loss + p.z_loss * value**2, loss + p.z_loss * (2 * abs(value) + p.eps_of_dtype * scale) * scale)
    gradient = [Scaled(g.value + factor * value * q, g.scale + factor * scale * q)
                for g, q in zip(gradient, row.q, strict=True)]
    hessian = [Scaled(h + factor * (bound * value * q * rest + q**2), h + factor * (bound * scale * q * rest + q**2))
               for h, q, rest in zip(hessian, row.q, row.rest, strict=True)]
    return loss, gradient, hessian


def log(q):
    return mpmath.log(q) if q else -INF


def over(v, q):
    return v / q if q else INF


def likelihood(p, t, row):
    """-Σ t·log q of scores or log-probabilities: rounding the probabilities is seen in a gradient of q - t."""
    loss = fsum(-v * u for v, u in zip(t, row.log_q, strict=True) if v)
    if p.inputs == "log_probabilities":
        return loss, [-v for v in t], [ZERO for _ in t]
    total = fsum(t)
    # t of 1, and nothing else: 1 - q does not cancel
    gradient = [Scaled(-rest if v == total == 1 else total * q - v, max(q, v))
                for v, q, rest in zip(t, row.q, row.rest, strict=True)]
    return loss, gradient, [total * q * rest for q, rest in zip(row.q, row.rest, strict=True)]


def kl_divergence(p, t, z):
    row, temperature = row_of(p, z), p.temperature
    t, log_t = ([power_of_e(v) for v in t], t) if p.log_target else (index_row(t, len(z)),) * 2
    entropy = [v * (u if p.log_target else mpmath.log(u)) for v, u in zip(t, log_t, strict=True) if v]
    surprise = [-v * u for v, u in zip(t, row.log_q, strict=True) if v]
    # terms below the normal numbers are rounded to subnormal ones, 2·C of them, before they are multiplied
    loss = Scaled(temperature**2 * fsum(entropy + surprise), temperature**2 * max(
        fsum(abs(term) for term in entropy + surprise), p.smallest_normal * max(1, mpf(len(z)) / 4)))
    if p.inputs == "probabilities":
        return loss, *([f(v, q) if v else ZERO for v, q in zip(t, z, strict=True)] for f in (
            lambda v, q: -v / q, lambda v, q: v / q**2))
    _, gradient, hessian = likelihood(p, t, row)
    if p.inputs == "logits":
        gradient = [Scaled(temperature * g.value, temperature * g.scale) for g in gradient]
    return loss, gradient, hessian


def of_probabilities(p, row, loss, first, curves):
    """A sum over classes: `first` is each one's derivative by q, `curves` the second, times q²; not by q itself."""
    first = [scaled(g) for g in first]
    if p.inputs == "log_probabilities":
        gradient = [Scaled(q * g.value, q * g.scale) for q, g in zip(row.q, first, strict=True)]
        return loss, gradient, [Scaled(g.value + curve, g.scale + curve)
                                for g, curve in zip(gradient, curves, strict=True)]
    mean, mean_scale = (fsum(q * g[i] for q, g in zip(row.q, first, strict=True)) for i in (0, 1))
    gradient = [Scaled(q * (g.value - mean), q * (g.scale + mean_scale)) for q, g in zip(row.q, first, strict=True)]
    total = fsum(curves)
    hessian = []
    for q, rest, g, curve in zip(row.q, row.rest, gradient, curves, strict=True):
        own, others = curve * rest**2, (total - curve) * q**2
        hessian.append(Scaled(own + others + (1 - 2 * q) * g.value, own + others + g.scale))
    return loss, gradient, hessian


def brier(p, t, z):
    row = row_of(p, z)
    t = index_row(t, len(z))
    # rounding q or t moves q - t by ulp of them
    apart = [Scaled(-rest if v == 1 else q - v, q + v) for v, q, rest in zip(t, row.q, row.rest, strict=True)]
    loss = Scaled(fsum(d.value**2 for d in apart),
                  fsum((2 * abs(d.value) + p.eps_of_dtype * d.scale) * d.scale for d in apart))
    if p.inputs == "probabilities":  # given, not rounded
        apart = [d.value for d in apart]
        return fsum(d**2 for d in apart), [2 * d for d in apart], [mpf(2) for _ in z]
    return of_probabilities(p, row, loss, [Scaled(2 * d.value, 2 * d.scale) for d in apart], [2 * q**2 for q in row.q])


def jensen_shannon(p, t, z):
    row = row_of(p, z)
    t = index_row(t, len(z))
    loss, slopes = [], []
    for v, q in zip(t, row.q, strict=True):
        middle = (v + q) / 2
        slope = log(q / middle) / 2 if middle else mpmath.log(2) / 2
        loss += [v * mpmath.log(v / middle) / 2 if v else ZERO, q * slope if q else ZERO]
        slopes.append(slope)
    # terms below the normal numbers are rounded to subnormal ones, as are those of kl_divergence
    loss = Scaled(fsum(loss), max(fsum(abs(term) for term in loss), p.smallest_normal * max(1, mpf(len(z)) / 4)))
    if p.inputs == "probabilities":
        return loss, slopes, [v / (q * (v + q)) / 2 if q and v else INF if v else ZERO
                                     for v, q in zip(t, z, strict=True)]
    # rounding q moves log(q/m) by t/(t + q), however small it is; q·log q of a q of 0 is 0
    first = [Scaled(slope, abs(slope) + v / (v + q) / 2) if q else ZERO
             for slope, v, q in zip(slopes, t, row.q, strict=True)]
    return of_probabilities(p, row, loss, first,
                            [v * q / (v + q) / 2 if q else ZERO for v, q in zip(t, row.q, strict=True)])


def earth_mover(p, t, z):
    row, n_classes, power = row_of(p, z), len(z), p.power
    t = index_row(t, n_classes)
    below, below_t = running(row.q), running(t)
    above = [*running(row.q[::-1])[-2::-1], ZERO]  # Σ of q beyond each class
    if p.inputs == "logits":  # 1 - F does not cancel
        apart = [1 - a - b if q > 0.5 and b != 1 else -a if q > 0.5 else q - b
                 for q, a, b in zip(below, above, below_t, strict=True)]
    else:
        apart = [q - b for q, b in zip(below, below_t, strict=True)]
    scales = [q + b for q, b in zip(below, below_t, strict=True)]
    # What rounding the difference by its ulps does, those of subnormal numbers at least, to powers not smooth at 0.
    slack = [p.limit * p.eps_of_dtype * (s + (p.smallest_normal if p.inputs == "logits" else 0)) for s in scales]

    def spread(function, d, error):
        low, high = function(d - error), function(d + error)
        middle = function(ZERO) if abs(d) < error else high
        # ulp may be half as wide as the slack takes them
        return (max(low, middle, high) - min(low, middle, high)) / (p.limit * p.eps_of_dtype / 2)

    def value_of(d):
        return abs(d)**power

    def slope_of(d):
        return power * mpmath.sign(d) * abs(d)**(power - 1)

    def curve_of(d):
        if power == 1 or (d == 0 and power != 2):
            return INF if power < 2 and power != 1 else ZERO
        return power * (power - 1) * abs(d)**(power - 2)

    values, slopes, curves = ([Scaled(f(d), abs(f(d)) + spread(f, d, error) if error else abs(f(d)))
                               for d, error in zip(apart, slack, strict=True)]
                              for f in (value_of, slope_of, curve_of))
    loss = Scaled(fsum(v.value for v in values), fsum(v.scale for v in values))
    # Σ over k >= c
    slope, slope_scale, curve, curve_scale = (
        running([s[i] for s in part][::-1])[::-1] for part in (slopes, curves) for i in (0, 1))
    if p.inputs == "probabilities":
        return loss, [Scaled(*pair) for pair in zip(slope, slope_scale, strict=True)], [
            beside_pole(*pair) for pair in zip(curve, curve_scale, strict=True)]
    if p.inputs == "log_probabilities":
        gradient = [Scaled(q * v, q * s) for q, v, s in zip(row.q, slope, slope_scale, strict=True)]
        return loss, gradient, [beside_pole(g.value + times(q**2, v), g.scale + times(q**2, s))
                                for g, q, v, s in zip(gradient, row.q, curve, curve_scale, strict=True)]
    # dF_k/dz_c is q_c·([c <= k] - F_k), and 0 for the last class, of which F is 1
    gradient, hessian = [], []
    for out, parts, exponent, sign in ((gradient, slopes, 1, -1), (hessian, curves, 2, 1)):
        parts = parts[:-1]
        reached = running([times(a**exponent, v.value) for v, a in zip(parts, above, strict=False)][::-1])[::-1]
        missed = running([times(b**exponent, v.value) for v, b in zip(parts, below, strict=False)])
        # the terms are those of a sum over k >= c, and of F times a sum over all k
        scales = [*running([v.scale for v in parts[::-1]])[::-1], ZERO]
        every = fsum(times(b, v.scale) for v, b in zip(parts, below, strict=False))
        for c, q in enumerate(row.q):
            value = (reached[c] if c < len(parts) else 0) + sign * (missed[c - 1] if c else 0)
            scale = scales[c] + (2 * exponent - 1) * every
            out.append(Scaled(times(q**exponent, value), times(q**exponent, scale)))
    return loss, gradient, [beside_pole(h.value + (1 - 2 * q) * g.value, h.scale + g.scale)
                            for h, q, g in zip(hessian, row.q, gradient, strict=True)]


def beside_pole(value, scale):
    """A power below 2 has a Hessian without limit where its argument is 0: nothing is asked there."""
    return Scaled(value, scale) if scale < INF else Scaled(ZERO, INF)


def times(factor, pole):
    return factor * pole if factor else ZERO


def running(values):
    """Sums of the first one, two, … values."""
    sums, total = [], ZERO
    for value in values:
        total += value
        sums.append(total)
    return sums


# ---- hinges ----------------------------------------------------------------------------------------------------------


def short_of(p, margin, z_target, z_other):
    """margin - z_t + z_c, and whether rounding its terms decides its sign; a comparison of scores is exact."""
    value, scale = margin - z_target + z_other, margin + abs(z_target) + abs(z_other)
    return Scaled(value, scale), margin > 0 and scale < INF and abs(value) <= p.limit * p.eps_of_dtype * scale


def multiclass_hinge(p, t, z):
    t = index_of(t)
    others = [c for c in range(len(z)) if c != t]
    if p.variant == "crammer_singer":
        others = [max(others, key=lambda c: (z[c], -c))]  # of equals the lowest
    gradient, hessian = [ZERO] * len(z), [ZERO] * len(z)
    losses, slopes, count, unsure = [], [], 0, False
    for c in others:
        short, near = short_of(p, p.margin, z[t], z[c])
        unsure |= near
        if near and p.power == 1:
            gradient[c] = Scaled(ZERO, INF)
        if near and p.power == 2:
            hessian[c] = Scaled(ZERO, INF)
        if short.value > 0 or near or short.value == p.margin == 0:  # margin 0 is one-sided, so that learning starts
            value = max(short.value, ZERO)
            losses.append(Scaled(value, short.scale) if p.power == 1 else Scaled(
                value**2, (2 * value + p.eps_of_dtype * short.scale) * short.scale))
            slopes.append(Scaled(mpf(1), mpf(1)) if p.power == 1 else Scaled(2 * value, 2 * short.scale))
            count += 1
            if not (near and p.power == 1):
                gradient[c] = slopes[-1]
            if p.power == 2 and not near:
                hessian[c] = mpf(2)
    loss = Scaled(fsum(v.value for v in losses), fsum(v.scale for v in losses))
    gradient[t] = Scaled(-fsum(s.value for s in slopes), INF if unsure and p.power == 1 else
                         fsum(s.scale for s in slopes))
    if p.power == 2:
        hessian[t] = Scaled(mpf(2 * count), INF if unsure else mpf(2 * count))
    return loss, gradient, hessian


def multilabel_margin(p, t, z):
    n_classes = len(z)
    positive = [c for c in range(n_classes) if t[c]]
    negative = [c for c in range(n_classes) if not t[c]]
    gradient, scales = [ZERO] * n_classes, [ZERO] * n_classes
    losses = []
    for j in positive:
        for i in negative:
            short, near = short_of(p, mpf(1), z[j], z[i])
            if near:
                scales[i] = scales[j] = INF
            if short.value > 0 or near:
                losses.append(Scaled(max(short.value, ZERO), short.scale))
                for c, sign in ((i, 1), (j, -1)):
                    gradient[c] += sign
                    scales[c] += 1
    loss = Scaled(fsum(v.value for v in losses) / n_classes, fsum(v.scale for v in losses) / n_classes)
    gradient = [Scaled(g / n_classes, s / n_classes) for g, s in zip(gradient, scales, strict=True)]
    return loss, gradient, [ZERO] * n_classes


ROW_REFERENCES = {
    fl.CrossEntropy: cross_entropy, fl.Focal: focal, fl.GeneralizedCrossEntropy: generalized_cross_entropy,
    fl.PolyCrossEntropy: poly_cross_entropy, fl.KLDivergence: kl_divergence, fl.JensenShannon: jensen_shannon,
    fl.EarthMover: earth_mover, fl.Brier: brier, fl.MulticlassHinge: multiclass_hinge,
    fl.MultilabelMargin: multilabel_margin,
}

# ---- the instances that tests over all row losses run through --------------------------------------------------------

PROBABILITIES = ("probabilities", "log_probabilities")

#: For any number of classes.
ROW_INSTANCES = [
    fl.CrossEntropy(), fl.CrossEntropy(label_smoothing=0.1), fl.CrossEntropy(z_loss=1e-3),
    fl.CrossEntropy(label_smoothing=0.2, z_loss=0.5), fl.CrossEntropy(hessian="bound"),
    fl.CrossEntropy(z_loss=0.1, hessian="bound"),
    *(fl.CrossEntropy(inputs, label_smoothing=smoothing) for inputs in PROBABILITIES for smoothing in (0.0, 0.1)),
    fl.CrossEntropy("probabilities", eps=1e-7), fl.CrossEntropy("probabilities", eps=1e-3, label_smoothing=0.1),
    *(fl.Focal(gamma) for gamma in (0.0, 0.5, 1.0, 1.7, 2.0, 5.0)), fl.Focal(alpha=0.25),
    *(fl.Focal(gamma, inputs=inputs) for inputs in PROBABILITIES for gamma in (0.0, 0.3, 0.5, 1.0, 2.0, 2.5)),
    *(fl.MulticlassHinge(variant, margin, power) for variant in ("crammer_singer", "weston_watkins")
      for margin, power in ((1.0, 1), (0.0, 1), (1.0, 2), (2.5, 2))),
    fl.KLDivergence(), *(fl.KLDivergence(temperature) for temperature in (3.0, 0.7, 2.0)),
    fl.KLDivergence(log_target=True),
    fl.KLDivergence(2.5, log_target=True),
    *(fl.KLDivergence(inputs=inputs, log_target=log) for inputs in PROBABILITIES for log in (False, True)),
    *(cls(inputs) for cls in (fl.JensenShannon, fl.Brier) for inputs in ("logits", *PROBABILITIES)),
    *(fl.EarthMover(power) for power in (2, 1, 1.5, 3)),
    *(fl.EarthMover(power, inputs) for power in (2, 1, 1.5) for inputs in PROBABILITIES),
    *(fl.GeneralizedCrossEntropy(q) for q in (0.7, 1.0, 0.1)),
    *(fl.GeneralizedCrossEntropy(0.3, inputs) for inputs in PROBABILITIES),
    *(fl.PolyCrossEntropy(epsilon) for epsilon in (1.0, 0.0, -1.0, 4.5)),
    *(fl.PolyCrossEntropy(0.5, inputs) for inputs in PROBABILITIES),
    fl.MultilabelMargin(),
]
#: One of each class, for properties that do not depend on parameters.
ROW_DEFAULTS = [cls() for cls in dict.fromkeys(type(loss) for loss in ROW_INSTANCES)]


def sized_instances(n_classes):
    """With parameters that have one number for each class."""
    row = np.random.default_rng(n_classes).normal(0, 2, n_classes)
    return [fl.CrossEntropy(logit_adjustment=row), fl.CrossEntropy(logit_adjustment=row, label_smoothing=0.1),
            fl.Focal(alpha=np.abs(row)), fl.Focal(1.5, np.abs(row), PROBABILITIES[0])]


def exact_row(loss, y, z, dtype):
    """(value, scale) of the loss, each of its gradient and each of its Hessian, in high precision."""
    def rounded(value):
        return mpf(float(dtype(float(value))))

    parameters = {
        name: [rounded(v) for v in value] if isinstance(value, np.ndarray) else
        rounded(value) if isinstance(value, float) else value for name, value in loss.get_params().items()}
    p = SimpleNamespace(eps_of_dtype=mpf(float(np.finfo(dtype).eps)), limit=row_limit(loss, len(z)),
                        smallest_normal=mpf(float(np.finfo(dtype).smallest_normal)), least=None, **parameters)
    z = np.asarray(z, dtype)
    # sums of scores are rounded to the computing dtype: what is computed is that of the rounded scores
    if parameters.get("logit_adjustment") is not None:
        z = z + loss.logit_adjustment.astype(dtype)
    with mpmath.workprec(250):
        t = int(y) if np.ndim(y) == 0 else [mpf(float(v)) for v in np.asarray(y, dtype)]
        z = [mpf(float(v)) for v in z]
        if "temperature" in parameters and loss.inputs == "logits":
            z = [v / p.temperature for v in z]

        def outputs():
            value, gradient, hessian = ROW_REFERENCES[type(loss)](p, t, z)
            return [scaled(value)], [scaled(g) for g in gradient], [scaled(h) for h in hessian]

        (value,), gradient, hessian = found = outputs()
        if getattr(p, "inputs", "probabilities") == "probabilities":
            return value, gradient, hessian
        row = row_of(p, z)
        if all(v == 0 or v >= p.smallest_normal for v in row.q + row.rest):
            return value, gradient, hessian
        # What multiplies a probability multiplies its rounding, too, to a subnormal number where it is that small.
        p.least = p.smallest_normal
        (value,), gradient, hessian = ([Scaled(n.value, max(n.scale, other.scale)) for n, other in zip(
            *pair, strict=True)] for pair in zip(found, outputs(), strict=True))
        return value, gradient, hessian


def row_limit(loss, n_classes):
    """The ulp that are granted: 4, and C/16 for the sum over C classes, and twice a free exponent gamma."""
    return 4 + 2 * loss.get_params().get("gamma", 0) + n_classes / 16


# ---- data ------------------------------------------------------------------------------------------------------------


def is_row_loss(loss):
    """Whether y_pred has a row for each target; losses of pairs have other tests, too, and are none."""
    return type(loss) in ROW_REFERENCES


def is_logits(loss):
    return loss.get_params().get("inputs", "logits") == "logits"


def takes_soft(loss):
    return loss.target in ("soft classes", "log classes")


def one_hot(labels, n_classes):
    return (np.asarray(labels)[:, None] == np.arange(n_classes)).astype(float)


def soft_rows(n, n_classes, dtype=np.float64, seed=0):
    """Rows of targets: even ones, sparse ones, one-hot ones."""
    rng = np.random.default_rng(seed)
    t = rng.dirichlet(np.ones(n_classes), n)
    sparse = rng.random(t.shape) < 0.5
    sparse[np.arange(n), rng.integers(0, n_classes, n)] = False
    t[::3] = np.where(sparse, 0, t)[::3]
    t[1::4] = one_hot(rng.integers(0, n_classes, n), n_classes)[1::4]
    return (t / t.sum(axis=1, keepdims=True)).astype(dtype)


def row_targets(loss, n, n_classes, dtype=np.float64, seed=0, form=None):
    """What the loss takes as y_true: "index", "rows", or as the loss likes best."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    if loss.target == "indicators":
        return (rng.random((n, n_classes)) < 0.4).astype(dtype)
    if loss.target == "log classes":
        with np.errstate(divide="ignore"):
            return np.log(soft_rows(n, n_classes, np.float64, seed)).astype(dtype)
    if form == "rows":
        return soft_rows(n, n_classes, dtype, seed) if takes_soft(loss) else one_hot(labels, n_classes).astype(dtype)
    return labels


def as_inputs(loss, z, dtype):
    """Scores as what the loss takes: themselves, probabilities, or logarithms of them."""
    if is_logits(loss):
        return z.astype(dtype)
    z = np.asarray(z, np.float64)
    top, rows = z.argmax(axis=1), np.arange(len(z))
    with np.errstate(under="ignore"):
        powers = np.exp(z - z[rows, top][:, None])
        powers[rows, top] = 0  # the winner's part of the sum is 1: log1p keeps what the others leave of its logarithm
        others = powers.sum(axis=1, keepdims=True)
        powers[rows, top] = 1
        if loss.inputs == "log_probabilities":
            return np.minimum(z - z[rows, top][:, None] - np.log1p(others), 0).astype(dtype)
        return np.minimum(powers / (1 + others), 1).astype(dtype)


def row_predictions(loss, n, n_classes, dtype=np.float64, seed=1):
    """Moderate predictions of what the loss takes."""
    return as_inputs(loss, np.random.default_rng(seed).normal(0, 2, (n, n_classes)), dtype)


def hard_scores(n, n_classes, dtype, seed=0):
    """Rows of scores where rounding is hardest, of all kinds in turn; what each kind is, and who should win."""
    rng = np.random.default_rng(seed)
    wide = dtype == np.float64
    tiny, half = float(np.finfo(dtype).smallest_subnormal), float(np.finfo(dtype).max) / 2
    gaps = (5, 20, 36, 37, 100, 300, 700, 740, 745, 800) if wide else (5, 12, 16, 17, 50, 80, 87, 100, 103, 110)

    def plain(scale):
        return rng.normal(0, scale, n_classes)

    def confident(base):
        row = plain(base)
        row[rng.integers(n_classes)] = row.max() + rng.choice(gaps) * rng.uniform(0.98, 1.02)
        return row

    def tied():
        row = np.round(plain(1))
        row[rng.random(n_classes) < 0.5] = row.max()
        return row

    def masked():
        row = plain(2)
        row[rng.random(n_classes) < 0.5] = -np.inf
        row[rng.integers(n_classes)] = 1.5
        return row

    def close():
        return rng.choice([1.0, -3.0, 700.0]) * (1 + np.finfo(dtype).eps * rng.integers(0, 5, n_classes))

    kinds = [
        lambda: plain(1), lambda: confident(1), lambda: plain(10), lambda: confident(1e-3), tied, lambda: confident(5),
        masked, lambda: plain(200), lambda: sample(-tiny * 1000, tiny * 1000, n_classes, dtype, rng.integers(2**30)),
        close, lambda: confident(30), lambda: plain(1) + 1e3, lambda: np.zeros(n_classes), lambda: plain(1e4),
        lambda: np.clip(plain(1), -1, 1) * half / 4, lambda: sample(-half, half, n_classes, dtype, rng.integers(2**30)),
        lambda: plain(1e-6), lambda: -np.abs(plain(3)),
    ]
    return np.array([kinds[i % len(kinds)]() for i in range(n)]).astype(dtype)


def hard_rows(loss, n, n_classes, dtype, seed=0, form="index"):
    """(y_true, y_pred) where rounding is hardest; targets have no class of score -inf, which test_rows_contract.py
    looks at."""
    rng = np.random.default_rng(seed)
    scores = hard_scores(n, n_classes, dtype, seed)
    if not is_logits(loss):  # what overflows there is no probability here
        scores = np.clip(scores, -2e4, 2e4)
    z = as_inputs(loss, scores, dtype)
    top, allowed = scores.argmax(axis=1), scores > -np.inf
    anyone = np.where(allowed, rng.random(scores.shape), -1).argmax(axis=1)
    labels = np.where(rng.random(n) < 0.5, top, anyone)
    if loss.target == "indicators":
        t = (rng.random(scores.shape) < min(0.5, 3 / n_classes)) & allowed
        t[np.arange(n), labels] = True
        return t.astype(dtype), z
    if loss.target == "classes" or (loss.target == "soft classes" and form == "index"):
        t = one_hot(labels, n_classes)
    else:
        t = soft_rows(n, n_classes, np.float64, seed) * allowed
        with np.errstate(under="ignore"):
            near = np.exp(as_inputs(fl.CrossEntropy("log_probabilities"), np.clip(scores, -2e4, 2e4), np.float64))
            shrunk = t * rng.choice([1, 1, 1e-30, 1e-300], t.shape)
        t = np.where((np.arange(n) % 3 == 0)[:, None], near * allowed, np.where((np.arange(n) % 3 == 1)[:, None], t,
                                                                                shrunk))
        t[np.arange(n), labels] += t.sum(axis=1) == 0
        t /= t.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", under="ignore"):
        z = z if is_logits(loss) else np.where(t > 0, np.maximum(z, {
            "probabilities": np.finfo(dtype).smallest_subnormal, "log_probabilities": -1e4}[loss.inputs]), z)
        if loss.target == "log classes":
            return np.log(t).astype(dtype), z.astype(dtype)
        if form == "index":
            return labels, z.astype(dtype)
        return t.astype(dtype), z.astype(dtype)
