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

# What counts is the residual.
ctypedef fused ResidualLoss:
    Robust
    RobustLog
    PairLoss

ctypedef fused WideLoss:
    Poisson
    PoissonDeviance
    Gamma
    GammaDeviance
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
    # The bits of sizes are in their order: the sign of a difference tells it, without masks, which are slow to make.
    cdef real y_least, y_most, z_least, z_most
    cdef int64_t y64, z64, outside64
    cdef int32_t y32, z32, outside32
    bounds(p, &y_least, &y_most, &z_least, &z_most)
    if WideLoss is SquaredLogError:
        y = y + <real>1
        z = z + <real>1
    else:
        y = absolute(y - z if WideLoss in ResidualLoss else y)
        z = z if WideLoss is TweedieIdentity else absolute(z)  # a negative mean is extreme
    if real is double:
        y64, z64 = <int64_t>fastloss_bits_from_f64(y), <int64_t>fastloss_bits_from_f64(z)
        outside64 = ((<int64_t>fastloss_bits_from_f64(y_most) - y64)
                     | ((y64 - <int64_t>fastloss_bits_from_f64(y_least)) & ~(y64 - 1))
                     | (<int64_t>fastloss_bits_from_f64(z_most) - z64)
                     | (z64 - <int64_t>fastloss_bits_from_f64(z_least)) | z64)
        if WideLoss in PairLoss:
            outside64 |= <int64_t>0x4034000000000000 - <int64_t>fastloss_bits_from_f64(absolute(second))  # 20
        return outside64
    else:
        y32, z32 = <int32_t>fastloss_bits_from_f32(y), <int32_t>fastloss_bits_from_f32(z)
        outside32 = ((<int32_t>fastloss_bits_from_f32(y_most) - y32)
                     | ((y32 - <int32_t>fastloss_bits_from_f32(y_least)) & ~(y32 - 1))
                     | (<int32_t>fastloss_bits_from_f32(z_most) - z32)
                     | (z32 - <int32_t>fastloss_bits_from_f32(z_least)) | z32)
        if WideLoss in PairLoss:
            outside32 |= <int32_t>0x41a00000 - <int32_t>fastloss_bits_from_f32(absolute(second))
        return outside32
