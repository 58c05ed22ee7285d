# Losses made of exponentials that may leave the range of numbers: a block without extreme numbers takes a shorter way
# through the same formula (`wide` is False there), to the same bits.

from .binary cimport Exponential
from .math cimport absolute
from .regression cimport (
    Gamma, GammaDeviance, NegativeBinomial, PairLoss, Poisson, PoissonDeviance, Robust, RobustLog, SquaredLogError,
    Tweedie, TweedieIdentity, TweedieLoss,
)
from .types cimport real

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


cdef inline void bounds(const WideLoss* p, real* y_least, real* y_most, real* z_least, real* z_most) noexcept nogil:
    """The sizes of targets (or residuals) and predictions that are not extreme; a target may also be 0."""
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
        if WideLoss is not Tweedie:  # powers of y, too
            y_least[0], y_most[0] = <real>1e-5, <real>1e5
            y_most[0] = y_most[0] if parameter < <real>6 else <real>-1
        if WideLoss is TweedieIdentity:
            z_least[0], z_most[0] = <real>1e-4, <real>1e4
    elif WideLoss is NegativeBinomial:
        parameter = <real>p.dispersion
        y_most[0] = most if (parameter > <real>1e-8) & (parameter < <real>1e8) else <real>-1
    elif WideLoss is Robust or WideLoss is RobustLog:
        parameter = <real>p.scale
        y_least[0], y_most[0], z_most[0] = <real>1e-8 * parameter, <real>1e4 * parameter, infinity
        y_most[0] = y_most[0] if (parameter > <real>1e-8) & (parameter < <real>1e8) else <real>-1
        if WideLoss is Robust:
            y_most[0] = y_most[0] if absolute(<real>p.alpha) < <real>6 else <real>-1
    elif WideLoss in PairLoss:
        z_most[0] = infinity
    elif WideLoss is SquaredLogError:
        y_least[0], z_most[0] = <real>0, most
