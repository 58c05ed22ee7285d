# Row losses. q is the distribution that is predicted, t the target's.
#
# To add a loss of the target's probability alone: its parameters as a struct, its name in TargetLoss, its formula as a
# branch of `target_loss` and of `target_loss_of_probability`. A loss of the whole distribution: the same, with
# DistributionLoss, `divergence` and `divergence_slopes`.

from .binary cimport binary_focal_probabilities
from .math cimport (
    absolute, difference_rest, exp_sum, exponent_of, expm1, log1p, log_high, log_ratio, mad, power_of,
)
from .types cimport real


cdef struct CrossEntropy:
    double _

cdef struct Focal:
    double gamma

cdef struct GeneralizedCrossEntropy:
    double q

cdef struct PolyCrossEntropy:
    double epsilon

cdef struct SoftCrossEntropy:
    double z_loss
    double eps
    double log_eps
    double entropy  # 1: less the entropy of the target, the Kullback-Leibler divergence

cdef struct JensenShannon:
    double _

cdef struct Brier:
    double _

cdef struct EarthMover:
    double power

cdef struct EarthMoverSquare:
    double _

cdef struct CrammerSinger:
    double margin
    double power

cdef struct WestonWatkins:
    double margin
    double power

cdef struct MultilabelMargin:
    double _


# Of the probability of the target's class.
ctypedef fused TargetLoss:
    CrossEntropy
    Focal
    GeneralizedCrossEntropy
    PolyCrossEntropy

# Of all probabilities, by a sum over classes of terms of one.
ctypedef fused DistributionLoss:
    JensenShannon
    Brier

# Of all probabilities, in their order.
ctypedef fused OrderedLoss:
    EarthMover
    EarthMoverSquare

# Of raw scores.
ctypedef fused MarginLoss:
    CrammerSinger
    WestonWatkins
    MultilabelMargin

ctypedef fused RowLoss:
    TargetLoss
    SoftCrossEntropy
    DistributionLoss
    OrderedLoss
    MarginLoss


cdef inline void target_loss(const TargetLoss* p, real surprise, real surprise_low, real q, real rest, real* loss,
                             real* slope, real* curve) noexcept nogil:
    """Of the target's probability q, rest = 1 - q and surprise + surprise_low = -log q: the loss f, and f' and f'', the
    derivatives by the surprise. Of the focal loss, whose derivatives may have poles at rest = 0, f'·rest and
    f''·rest²."""
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real gamma, power, low, high
    if TargetLoss is CrossEntropy:
        loss[0] = surprise
        slope[0] = one
        curve[0] = zero

    elif TargetLoss is Focal:
        gamma = <real>p.gamma
        low = zero
        high = log_high(rest, &low)
        power = power_of(gamma, high, low)
        power = power if rest > zero else (one if gamma == zero else zero)
        power = power if rest < one else one
        # surprise is infinite where q is 0, and q·surprise is not
        high = q * surprise if q > zero else zero
        loss[0] = zero if rest == zero else power * surprise
        slope[0] = power * mad(gamma, high, rest)
        curve[0] = power * mad(gamma * high, mad(gamma - one, q, -rest), <real>2 * gamma * q * rest)

    elif TargetLoss is GeneralizedCrossEntropy:
        gamma = <real>p.q
        power = power_of(gamma, -surprise, -surprise_low)
        power = q if gamma == one else power
        power = zero if surprise == one / zero else power
        loss[0] = rest if gamma == one else -expm1(-gamma * surprise) / gamma
        slope[0] = power
        curve[0] = -gamma * power

    elif TargetLoss is PolyCrossEntropy:
        gamma = <real>p.epsilon
        loss[0] = mad(gamma, rest, surprise)
        slope[0] = mad(gamma, q, one)
        curve[0] = -gamma * q


cdef inline void target_loss_of_probability(const TargetLoss* p, bint by_log, real surprise, real surprise_low, real q,
                                            real rest, real* loss, real* slope, real* curve) noexcept nogil:
    """The loss of a probability itself, or (by_log) of its logarithm, and its derivatives by that."""
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real two = <real>2
    cdef real gamma, share, high, low, exponent, exponent_low, first
    target_loss(p, surprise, surprise_low, q, rest, loss, slope, curve)
    if TargetLoss is Focal:
        gamma = <real>p.gamma
        if not by_log:
            binary_focal_probabilities(q, True, gamma, one, loss, slope, curve)
        else:
            low = zero
            high = log_high(rest, &low)
            share = gamma * q * (surprise / rest)
            slope[0] = -power_of(gamma, high, low) * (one + share)
            curve[0] = power_of(gamma - one, high, low) * mad(share, mad(gamma - one, q, -rest), two * gamma * q)
            # the limits at rest = 0, and at q = 0, where q·surprise vanishes
            slope[0] = slope[0] if rest != zero else (-one if gamma == zero else zero)
            curve[0] = curve[0] if rest != zero else (one / zero if gamma < one else (two if gamma == one else zero))
            slope[0] = slope[0] if q != zero else -one
            curve[0] = curve[0] if (q != zero) & (gamma != zero) else zero

    elif by_log:
        slope[0] = -slope[0]

    elif TargetLoss is CrossEntropy:
        slope[0] = -one / q
        curve[0] = one / q / q

    elif TargetLoss is GeneralizedCrossEntropy:
        gamma = <real>p.q - one
        low = difference_rest(<real>p.q, one, gamma)
        exponent = exponent_of(gamma, low, -surprise, -surprise_low, &exponent_low)
        first = -exp_sum(exponent, exponent_low)
        low = difference_rest(<real>p.q, two, gamma - one)
        exponent = exponent_of(gamma - one, low, -surprise, -surprise_low, &exponent_low)
        curve[0] = -gamma * exp_sum(exponent, exponent_low)
        # at q = 0, and where the loss is 1 - q
        slope[0] = first if surprise != one / zero else -one / zero
        curve[0] = curve[0] if surprise != one / zero else one / zero
        slope[0] = slope[0] if gamma != zero else -one
        curve[0] = curve[0] if gamma != zero else zero

    elif TargetLoss is PolyCrossEntropy:
        slope[0] = -<real>p.epsilon - one / q
        curve[0] = one / q / q


cdef inline real log_of_share(real q, real both, real excess) noexcept nogil:
    """log(2·q/both), for excess = 2·q/both - 1."""
    cdef real near = log1p(excess)
    cdef real far = log_ratio(q + q, both) if q > <real>0 else -<real>1 / <real>0
    far = far if q == q else q
    return near if excess > <real>-0.5 else far


cdef inline real divergence(const DistributionLoss* p, real q, real t, real difference, real* slope,
                            real* curve) noexcept nogil:
    """One class's term of the loss, for difference = q - t; slope and curve are q times its derivative by q, and q²
    times its second."""
    cdef real zero = <real>0
    cdef real half = <real>0.5
    cdef real both, part, log_q, log_t, near, far
    if DistributionLoss is JensenShannon:
        both = q + t
        part = difference / both
        log_q = log_of_share(q, both, part)
        log_t = log_of_share(t, both, -part)
        slope[0] = half * q * log_q if q > zero else q
        curve[0] = half * t * (q / both) if both > zero else zero
        far = slope[0] + (half * t * log_t if t > zero else zero)
        # (q·log_q + t·log_t)/2, in which no first power of the difference cancels
        near = <real>0.25 * both * mad(part, log_q - log_t, log1p(-part * part))
        return near if absolute(part) < half else far
    else:
        slope[0] = <real>2 * q * difference
        curve[0] = <real>2 * q * q
        return difference * difference


cdef inline void divergence_slopes(const DistributionLoss* p, real q, real t, real difference, real* slope,
                                   real* curve) noexcept nogil:
    """The derivative of one class's term by q, and the second."""
    cdef real half = <real>0.5
    cdef real both
    if DistributionLoss is JensenShannon:
        both = q + t
        slope[0] = half * log_of_share(q, both, difference / both)
        curve[0] = half * (t / both) / q
        # the limits, where q may be 0, too
        slope[0] = <real>0.34657359027997264 if t == <real>0 else slope[0]
        curve[0] = <real>0 if t == <real>0 else curve[0]
    else:
        slope[0] = <real>2 * difference
        curve[0] = <real>2


cdef inline real distance(const OrderedLoss* p, real d, real* slope, real* curve) noexcept nogil:
    """|d|^power, its derivative by d, and the second."""
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real power, size, high, low, first, second, sign
    if OrderedLoss is EarthMoverSquare:
        slope[0] = d + d
        curve[0] = <real>2
        return d * d
    else:
        power = <real>p.power
        size = absolute(d)
        low = zero
        high = log_high(size, &low)
        sign = one if d > zero else (zero if d == zero else -one)
        first = power_of(power - one, high, low)
        second = power_of(power - <real>2, high, low)
        first = first if size > zero else zero
        second = (power * (power - one)) * second
        slope[0] = sign * power * first
        curve[0] = second if (size > zero) & (power > one) else zero
        return size * first + (d - d)
