# Losses made of exponentials that may leave the range of numbers: a block without extreme numbers takes a shorter way
# (`wide` is False there), to the same bits. It holds no NaN.

from .binary cimport Exponential
from .math cimport absolute, fastloss_bits_from_f32, fastloss_bits_from_f64
from .regression cimport (
    Gamma, GammaDeviance, NegativeBinomial, PairLoss, Poisson, PoissonDeviance, Robust, RobustLog, SquaredLogError,
    Tweedie, TweedieIdentity, TweedieLoss,
)
from .types cimport real

from libc.stdint cimport int32_t, int64_t

# Targets are not negative; of any size below that of an infinite product.
ctypedef fused CountLoss:
    Poisson
    PoissonDeviance

# Targets are positive.
ctypedef fused PositiveLoss:
    Gamma
    GammaDeviance

# Blocks with targets that are not allowed are among those of extreme numbers.
ctypedef fused CheckedLoss:
    CountLoss
    PositiveLoss

# What counts is the residual.
ctypedef fused ResidualLoss:
    Robust
    RobustLog
    PairLoss

ctypedef fused WideLoss:
    CheckedLoss
    TweedieLoss
    NegativeBinomial
    ResidualLoss
    SquaredLogError
    Exponential


# These have another formula for extreme numbers; those of the others give the same bits either way.
ctypedef fused TwofoldLoss:
    TweedieLoss
    NegativeBinomial


cdef inline void bounds(const WideLoss* p, real* y_least, real* y_most, real* z_least, real* z_most) noexcept nogil:
    """The sizes of targets (or residuals) and predictions (or, of both, 1 + theirs) that are not extreme; a target may
    also be 0. From infinity on, all predictions are."""
    cdef real infinity = <real>1 / <real>0
    cdef real least, most, exponent, parameter
    if real is double:
        least, most, exponent = <double>1e-100, <double>1e100, <double>300
    else:
        least, most, exponent = <float>1e-10, <float>1e10, <float>40
    y_least[0], y_most[0], z_least[0], z_most[0] = least, most, <real>0, exponent
    if WideLoss in TweedieLoss:
        # at most 3·exponent/2 in an exponential
        parameter = <real>2 + absolute(<real>p.power)
        z_most[0] = <real>1.5 * exponent / parameter
        if WideLoss is TweedieIdentity:
            z_least[0], z_most[0] = <real>1e-4, <real>1e4
        if WideLoss is not Tweedie:  # powers of y, too: high ones keep their digits the other way
            y_least[0], y_most[0] = <real>1e-5, <real>1e5
            z_least[0] = z_least[0] if (<real>p.power >= <real>-1) & (<real>p.power < <real>4) else infinity
    elif WideLoss is NegativeBinomial:
        parameter = <real>p.dispersion
        z_least[0] = <real>0 if (parameter > <real>1e-8) & (parameter < <real>1e8) else infinity
    elif WideLoss is Robust or WideLoss is RobustLog:
        parameter = <real>p.scale
        y_least[0], y_most[0], z_most[0] = <real>1e-8 * parameter, <real>1e4 * parameter, infinity
        least, most = <real>1e-8 if real is double else <real>1e-4, <real>1e8 if real is double else <real>1e4
        z_least[0] = <real>0 if (parameter > least) & (parameter < most) else infinity
        if WideLoss is Robust:
            z_least[0] = z_least[0] if absolute(<real>p.alpha) < <real>6 else infinity
    elif WideLoss in PairLoss:
        z_most[0] = infinity
    elif WideLoss is SquaredLogError:
        # what rounding takes from 1 + y is y - ((1 + y) - 1) up to there
        y_most[0] = <double>4503599627370496.0 if real is double else <float>8388608.0  # 2^52, 2^23
        y_least[0], z_least[0], z_most[0] = <real>1e-30, <real>1e-30, y_most[0]


cdef inline int64_t clearance(const WideLoss* p, real y, real z, real second) noexcept nogil:
    """Negative where a target or a prediction (of a pair, two) is extreme, or NaN."""
    cdef real y_least, y_most, z_least, z_most
    bounds(p, &y_least, &y_most, &z_least, &z_most)
    if WideLoss is SquaredLogError:
        y = y + <real>1
        z = z + <real>1
    else:
        if WideLoss in ResidualLoss:
            y = absolute(z - y)  # as the formulas have it
        elif WideLoss not in CheckedLoss:
            y = absolute(y)
        z = z if WideLoss is TweedieIdentity else absolute(z)  # a negative mean is extreme
    second = absolute(second)
    if real is double:
        return clearance_of_bits(
            p, <int64_t>fastloss_bits_from_f64(y), <int64_t>fastloss_bits_from_f64(z),
            <int64_t>fastloss_bits_from_f64(second), <int64_t>fastloss_bits_from_f64(y_least),
            <int64_t>fastloss_bits_from_f64(y_most), <int64_t>fastloss_bits_from_f64(z_least),
            <int64_t>fastloss_bits_from_f64(z_most), <int64_t>fastloss_bits_from_f64(20.0))
    else:
        return clearance_of_bits(
            p, <int32_t>fastloss_bits_from_f32(y), <int32_t>fastloss_bits_from_f32(z),
            <int32_t>fastloss_bits_from_f32(second), <int32_t>fastloss_bits_from_f32(y_least),
            <int32_t>fastloss_bits_from_f32(y_most), <int32_t>fastloss_bits_from_f32(z_least),
            <int32_t>fastloss_bits_from_f32(z_most), <int32_t>fastloss_bits_from_f32(20.0))


ctypedef fused word:
    int32_t
    int64_t


cdef inline word clearance_of_bits(const WideLoss* p, word y, word z, word second, word y_least, word y_most,
                                   word z_least, word z_most, word second_most) noexcept nogil:
    # The bits of sizes are in their order: the sign of a difference tells it, without masks, which are slow to make.
    cdef word extreme = z_most - z
    if WideLoss in PairLoss:
        extreme |= second_most - second
    elif WideLoss is not Exponential and WideLoss not in CheckedLoss:
        extreme |= (z - z_least) | z
    if WideLoss in CheckedLoss:
        extreme |= y
    if WideLoss in PositiveLoss:
        extreme |= y - y_least
    elif WideLoss is not Exponential and WideLoss not in CountLoss:
        extreme |= (y - y_least) & ~(y - 1)
    # of a label only what it is counts
    return extreme if WideLoss is Exponential else extreme | (y_most - y)
