# Row losses. q is the distribution that is predicted, t the target's.
#
# To add a loss of the target's probability alone: its parameters as a struct, its name in TargetLoss, its formula as a
# branch of `target_loss` and of `target_loss_of_probability`. A loss of the whole distribution: the same, with
# DistributionLoss, `divergence` and `divergence_slopes`.

from .binary cimport binary_focal_probabilities
from .math cimport (
    absolute, difference_rest, exp_sum, exponent_of, expm1_sum, log1p_unit, log_edges, log_high, log_reduced, mad,
    mantissa_of_normal, polynomial11, polynomial5, power_of,
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
    derivatives by the surprise. Of the focal loss, whose second may have a pole at rest = 0, it is f''·rest²."""
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
        power = power_of(gamma, zero, high, low)
        power = power if rest > zero else (one if gamma == zero else zero)
        power = power if rest < one else one
        # surprise is infinite where q is 0, and q·surprise is not
        high = q * surprise if q > zero else zero
        loss[0] = zero if rest == zero else power * surprise
        slope[0] = power * mad(gamma, high / rest if rest > zero else one, one)
        curve[0] = power * mad(gamma * high, mad(gamma - one, q, -rest), <real>2 * gamma * q * rest)

    elif TargetLoss is GeneralizedCrossEntropy:
        gamma = <real>p.q
        high = exponent_of(gamma, zero, -surprise, -surprise_low, &low)
        power = q if gamma == one else exp_sum(high, low)
        power = zero if surprise == one / zero else power
        # (a small exponent may be subnormal, where the surprise, which the loss then is, is not)
        loss[0] = -expm1_sum(high, low) / gamma if high < <real>-1e-20 else surprise
        loss[0] = rest if gamma == one else loss[0]
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
            slope[0] = -power_of(gamma, zero, high, low) * (one + share)
            first = difference_rest(gamma, one, gamma - one)
            curve[0] = power_of(gamma - one, first, high, low) * mad(share, mad(gamma - one, q, -rest), two * gamma * q)
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


cdef inline void logs_of_shares(real q, real t, real difference, real* part, real* least_share, real* log_q,
                                real* log_t) noexcept nogil:
    """log(2·q/(q + t)) and log(2·t/(q + t)), for difference = q - t; difference/(q + t), and the smaller's share."""
    # They are log(1 + part) and log(1 - part); where the smaller share has lost digits there, it is taken itself, and
    # a tiny one times a power of 2.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real both = q + t
    cdef real least, size, tiny, up, shift, share, c, k, f, more, less
    cdef bint near, q_is_more = difference > zero
    if real is double:
        tiny, up, shift = <double>1e-250, <double>1.2676506002282294e+30, <double>100  # 2^100
    else:
        tiny, up, shift = <float>1e-25, <float>1.152921504606847e+18, <float>60  # 2^60
    least = t if q_is_more else q
    least_share[0] = least / both
    part[0] = difference / both
    size = absolute(part[0])
    near = size < <real>0.5
    share = (least * up) / both if least < tiny else least_share[0]
    share = one - size if near else share + share
    c = (one - share) - size if near else zero
    f = mantissa_of_normal(share, &k)
    f = mad(c, one - k, f)  # near ones have a k of 0 or -1
    k = k - (shift if (least < tiny) & (not near) else zero)
    less = log_edges(share, log_reduced(k, f), share)
    more = log1p_unit(size)
    log_q[0] = more if q_is_more else less
    log_t[0] = less if q_is_more else more


cdef inline real near_shares(real w) noexcept nogil:
    """((1 + s)·log(1 + s) + (1 - s)·log(1 - s))/s², for w = s², |s| <= 0.35."""
    if real is double:
        return polynomial11[real](
            w, <double>1, 0.16666666666666624, 0.06666666666668313, 0.0357142856921006, 0.022222223705259902,
            0.015151458228402449, 0.010990358626463676, 0.008313048392914259, 0.006729544338875168,
            0.004141718875203781, 0.007803376074424045)
    else:
        return polynomial5[real](w, <float>1, 0.16666636, 0.066690587, 0.035141278, 0.027506033)


cdef inline real divergence(const DistributionLoss* p, real q, real t, real difference, real* slope,
                            real* curve) noexcept nogil:
    """One class's term of the loss, for difference = q - t; slope and curve are q times its derivative by q, and q²
    times its second."""
    cdef real zero = <real>0
    cdef real half = <real>0.5
    cdef real part, least_share, log_q, log_t, near, far
    if DistributionLoss is JensenShannon:
        logs_of_shares(q, t, difference, &part, &least_share, &log_q, &log_t)
        slope[0] = half * q * log_q if q > zero else q
        curve[0] = half * (q if difference > zero else t) * least_share if q + t > zero else zero
        far = slope[0] + (half * t * log_t if t > zero else zero)
        # (q·log_q + t·log_t)/2, in which no first power of the difference cancels
        near = <real>0.25 * (q + t) * (part * part) * near_shares(part * part)
        return near if absolute(part) < <real>0.35 else far
    else:
        slope[0] = <real>2 * q * difference
        curve[0] = <real>2 * q * q
        return difference * difference


cdef inline void divergence_slopes(const DistributionLoss* p, real q, real t, real difference, real* slope,
                                   real* curve) noexcept nogil:
    """The derivative of one class's term by q, and the second."""
    cdef real half = <real>0.5
    cdef real part, least_share, log_q, log_t
    if DistributionLoss is JensenShannon:
        logs_of_shares(q, t, difference, &part, &least_share, &log_q, &log_t)
        slope[0] = half * log_q
        curve[0] = half * (t / (q + t)) / q
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
        first = power_of(power - one, zero, high, low)
        second = power_of(power - <real>2, zero, high, low)
        first = first if size > zero else zero
        second = (power * (power - one)) * second
        slope[0] = sign * power * first
        curve[0] = second if (size > zero) & (power > one) else zero
        return size * first + (d - d)
