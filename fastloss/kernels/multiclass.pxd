# Row losses. q is the distribution that is predicted, t the target's.
#
# To add a loss of the target's probability alone: its parameters as a struct, its name in TargetLoss, its formula as a
# branch of `target_loss` and of `target_loss_of_probability`. A loss of the whole distribution: the same, with
# DistributionLoss, `divergence` and `divergence_slopes`.

from .binary cimport binary_focal_probabilities
from .math cimport absolute, exp, expm1, log, log1p, log_high, mad, power_of
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


cdef inline void target_loss(const TargetLoss* p, real surprise, real q, real rest, real* loss, real* slope,
                             real* curve) noexcept nogil:
    """Of surprise = -log q, q the target's probability, and rest = 1 - q: the loss f, f'·rest and f''·rest², with the
    derivatives by the surprise."""
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real gamma, power, low, high
    if TargetLoss is CrossEntropy:
        loss[0] = surprise
        slope[0] = rest
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
        power = exp(-gamma * surprise)
        loss[0] = -expm1(-gamma * surprise) / gamma
        slope[0] = power * rest
        curve[0] = -gamma * power * rest * rest

    elif TargetLoss is PolyCrossEntropy:
        gamma = <real>p.epsilon
        loss[0] = mad(gamma, rest, surprise)
        slope[0] = mad(gamma, q, one) * rest
        curve[0] = -gamma * q * rest * rest


cdef inline void target_loss_of_probability(const TargetLoss* p, real q, bint by_log, real surprise, real rest,
                                            real* loss, real* slope, real* curve) noexcept nogil:
    """The loss of a probability itself, or (by_log) of its logarithm -surprise, and its derivatives by that."""
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real gamma, power, both
    target_loss(p, surprise, q, rest, loss, slope, curve)
    if TargetLoss is CrossEntropy:
        slope[0] = -one if by_log else -one / q
        curve[0] = zero if by_log else one / q / q

    elif TargetLoss is Focal:
        gamma = <real>p.gamma
        if not by_log:
            binary_focal_probabilities(q, True, gamma, one, loss, slope, curve)
        else:  # at rest = 0 its limits
            slope[0] = -slope[0] / rest if rest != zero else (-one if gamma == zero else zero)
            power = one / (zero if gamma < one else one / <real>2)
            power = power if (gamma <= one) & (gamma > zero) else zero
            curve[0] = curve[0] / rest / rest if rest != zero else power

    elif TargetLoss is GeneralizedCrossEntropy:
        gamma = <real>p.q
        both = gamma if by_log else gamma - one
        power = exp(-both * surprise)
        power = power if both != zero else one
        slope[0] = -power
        curve[0] = gamma * -power if by_log else -both * exp((one - both) * surprise)
        if not by_log:
            curve[0] = curve[0] if both != zero else zero

    elif TargetLoss is PolyCrossEntropy:
        gamma = <real>p.epsilon
        slope[0] = -mad(gamma, q, one) if by_log else -gamma - one / q
        curve[0] = -gamma * q if by_log else one / q / q


cdef inline real divergence(const DistributionLoss* p, real q, real t, real difference, real* slope,
                            real* curve) noexcept nogil:
    """One class's term of the loss, for difference = q - t; slope and curve are q times its derivative by q, and q²
    times its second."""
    cdef real zero = <real>0
    cdef real half = <real>0.5
    cdef real both, part, log_q, log_t
    if DistributionLoss is JensenShannon:
        both = q + t
        part = difference / both
        log_q = log1p(part)  # log(2·q/(q + t))
        log_t = log1p(-part)
        slope[0] = half * q * log_q if q > zero else q
        curve[0] = half * t * (q / both) if both > zero else zero
        return slope[0] + (half * t * log_t if t > zero else zero)
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
        slope[0] = half * log1p(difference / both)
        curve[0] = half * (t / both) / q
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
