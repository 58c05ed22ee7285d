# Regression losses: z = y_pred, y = y_true, r = z - y. `v` is the parameter that may vary by column.
#
# To add a loss: its parameters as a struct (in the order they are told, all double), its name in the fused type, its
# formula as a branch. NaN in y or z is dealt with by the sweep, but for LightLoss: these are as fast as memory, and
# let a NaN of r through by themselves.

from .math cimport (
    absolute, cosh_minus_1, difference_rest, exp_in, exp_sum, exp_tail, expm1_sum, exponent_of, log1p_rest, log1p_unit,
    log_high, log_parts, log_ratio, log_rest, mad, mantissa_sum, product_rest, quotient_rest, sqrt, times_exp,
    times_exp_by, with_sign_of, remainder,
)
from .types cimport real


cdef struct SquaredError:
    double factor  # 1, or 1/2 with half=True

cdef struct AbsoluteError:
    double _  # no parameters, and C has no empty struct

cdef struct Huber:
    double _  # delta is v

cdef struct Quantile:
    double _  # the quantile is v

cdef struct Expectile:
    double _  # the expectile is v

cdef struct SmoothL1:
    double beta

cdef struct EpsilonInsensitive:
    double _  # epsilon is v

cdef struct SquaredEpsilonInsensitive:
    double _  # epsilon is v

cdef struct AbsolutePercentageError:
    double eps

cdef struct PseudoHuber:
    double delta

cdef struct LogCosh:
    double _

cdef struct Fair:
    double c

cdef struct Tukey:
    double c

cdef struct Robust:  # any alpha but these:
    double alpha
    double scale

cdef struct RobustSquare:  # alpha = 2
    double scale

cdef struct RobustRoot:  # alpha = 1
    double scale

cdef struct RobustLog:  # alpha = 0
    double scale

cdef struct RobustExponential:  # alpha = -inf
    double scale

cdef struct SquaredLogError:
    double _

cdef struct Poisson:
    double _

cdef struct PoissonDeviance:
    double _

cdef struct PoissonIdentity:
    double _

cdef struct Gamma:
    double _

cdef struct GammaDeviance:
    double _

cdef struct GammaIdentity:
    double _

cdef struct Tweedie:
    double power

cdef struct TweedieDeviance:
    double power

cdef struct TweedieIdentity:
    double power

cdef struct NegativeBinomial:
    double dispersion

cdef struct GaussianNLL:
    double constant  # log(2·pi)/2 with full=True


ctypedef fused LightLoss:
    SquaredError
    AbsoluteError
    Huber
    Quantile
    Expectile
    SmoothL1
    EpsilonInsensitive
    SquaredEpsilonInsensitive
    AbsolutePercentageError

ctypedef fused RobustLoss:
    Robust
    RobustSquare
    RobustRoot
    RobustLog
    RobustExponential

ctypedef fused PoissonLoss:
    Poisson
    PoissonDeviance
    PoissonIdentity

ctypedef fused GammaLoss:
    Gamma
    GammaDeviance
    GammaIdentity

ctypedef fused TweedieLoss:
    Tweedie
    TweedieDeviance
    TweedieIdentity

ctypedef fused RegressionLoss:
    LightLoss
    PseudoHuber
    LogCosh
    Fair
    Tukey
    RobustLoss
    SquaredLogError
    PoissonLoss
    GammaLoss
    TweedieLoss
    NegativeBinomial

# Of two predictions: y_pred has shape (n, 2).
ctypedef fused PairLoss:
    GaussianNLL


cdef inline void regression(const RegressionLoss* p, real y, real z, real v, bint wide,
                            real* loss, real* gradient, real* hessian) noexcept nogil:
    if RegressionLoss in LightLoss:
        light(p, y, z, v, loss, gradient, hessian)
    elif RegressionLoss is PseudoHuber:
        pseudo_huber(y, z, <real>p.delta, loss, gradient, hessian)
    elif RegressionLoss is LogCosh:
        log_cosh(y, z, loss, gradient, hessian)
    elif RegressionLoss is Fair:
        fair(y, z, <real>p.c, loss, gradient, hessian)
    elif RegressionLoss is Tukey:
        tukey(y, z, <real>p.c, loss, gradient, hessian)
    elif RegressionLoss in RobustLoss:
        robust(p, y, z, wide, loss, gradient, hessian)
    elif RegressionLoss is SquaredLogError:
        squared_log_error(y, z, wide, loss, gradient, hessian)
    elif RegressionLoss in PoissonLoss:
        poisson(p, y, z, wide, loss, gradient, hessian)
    elif RegressionLoss in GammaLoss:
        gamma(p, y, z, wide, loss, gradient, hessian)
    elif RegressionLoss in TweedieLoss:
        tweedie(p, y, z, wide, loss, gradient, hessian)
    elif RegressionLoss is NegativeBinomial:
        negative_binomial(y, z, <real>p.dispersion, wide, loss, gradient, hessian)


# ---- losses of the residual ------------------------------------------------------------------------------------------

cdef inline void light(const LightLoss* p, real y, real z, real v,
                       real* loss, real* gradient, real* hessian) noexcept nogil:
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real sign = <real>1 if r > <real>0 else (<real>-1 if r < <real>0 else r)  # r itself for 0 and NaN
    cdef real zero = <real>0 if r == r else r
    cdef real factor, beta, size, outer, slope, short

    if LightLoss is SquaredError:
        factor = <real>p.factor
        loss[0] = factor * r * r
        gradient[0] = <real>2 * factor * r
        hessian[0] = <real>2 * factor + zero

    elif LightLoss is AbsoluteError:
        loss[0] = a
        gradient[0] = sign
        hessian[0] = zero

    elif LightLoss is Huber:
        outer = v * (a - <real>0.5 * v)
        loss[0] = <real>0.5 * r * r if a <= v else outer
        gradient[0] = r if a <= v else v * sign
        hessian[0] = <real>1 if a <= v else zero

    elif LightLoss is Quantile:
        slope = <real>1 - v if r > <real>0 else v
        loss[0] = slope * a
        gradient[0] = slope * sign
        hessian[0] = zero

    elif LightLoss is Expectile:
        slope = <real>1 - v if r > <real>0 else v
        loss[0] = slope * r * r
        gradient[0] = <real>2 * slope * r
        hessian[0] = <real>2 * slope + zero

    elif LightLoss is SmoothL1:
        beta = <real>p.beta
        outer = a - <real>0.5 * beta
        slope = r / beta
        loss[0] = <real>0.5 * r * slope if a < beta else outer
        gradient[0] = slope if a < beta else sign
        hessian[0] = <real>1 / beta if a < beta else zero

    elif LightLoss is EpsilonInsensitive or LightLoss is SquaredEpsilonInsensitive:
        # what rounding took from r counts near the edge of the tube
        short = (a - v) + residual_rest(y, z, r)
        if LightLoss is EpsilonInsensitive:
            loss[0] = short if short > <real>0 else zero
            gradient[0] = sign if short > <real>0 else zero
            hessian[0] = zero
        else:
            slope = <real>2 * short * sign
            loss[0] = short * short if short > <real>0 else zero
            gradient[0] = slope if short > <real>0 else zero
            hessian[0] = <real>2 if short > <real>0 else zero

    elif LightLoss is AbsolutePercentageError:
        size = absolute(y)
        size = size if size > <real>p.eps else <real>p.eps
        loss[0] = a / size
        gradient[0] = sign / size
        hessian[0] = zero


cdef inline real with_sign_times(real x, real sign) noexcept nogil:
    """x, or -x where `sign` is negative."""
    return -x if sign < <real>0 else x


cdef inline real residual_rest(real y, real z, real r) noexcept nogil:
    """What rounding took from |r|."""
    return with_sign_times(difference_rest(z, y, r), r)


cdef inline real smaller_ratio(real y, real z, real r, real c, real* low) noexcept nogil:
    """|r|/c or c/|r|, whichever is at most 1, and what rounding took from it."""
    cdef real a = absolute(r)
    cdef bint inner = a <= c
    cdef real smaller = a if inner else c
    cdef real larger = c if inner else a
    cdef real ratio = smaller / larger
    cdef real rest = residual_rest(y, z, r)
    low[0] = quotient_rest(smaller, larger, ratio) + (rest if inner else -ratio * rest) / larger
    return ratio


cdef inline void pseudo_huber(real y, real z, real delta, real* loss, real* gradient, real* hessian) noexcept nogil:
    # With t the smaller of |r| and delta over the larger, and s = sqrt(1 + t²), sqrt(delta² + r²) is larger·s: no
    # square overflows.
    cdef real one = <real>1
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef bint inner = a <= delta
    cdef real t_low
    cdef real t = smaller_ratio(y, z, r, delta, &t_low)
    cdef real square = mad(t, t, one)
    cdef real s = sqrt(square)
    cdef real part = one if inner else t
    cdef real curve = part * part * part / (square * s)
    loss[0] = (a if inner else delta) / (s + part) * a
    gradient[0] = with_sign_of((a if inner else delta) / s, r)
    # three powers of t or s take three times its rounding
    t_low = <real>3 * (-t * t_low if inner else t_low / t) / square
    hessian[0] = mad(curve, t_low, curve) if t > <real>0 else curve


cdef inline void log_cosh(real y, real z, real* loss, real* gradient, real* hessian) noexcept nogil:
    # log(cosh(r) - 1 + 1) near 0, |r| - log 2 + log1p(exp(-2|r|)) elsewhere; exponentials double the rounding of r.
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real low = residual_rest(y, z, r) if a < <real>1000 else <real>0
    cdef bint near = a < <real>0.75
    cdef real e = exp_sum(<real>-2 * a, <real>-2 * low)
    cdef real t = expm1_sum(<real>-2 * a, <real>-2 * low)
    cdef real d = t + <real>2
    cdef real grown = cosh_minus_1(a if near else <real>0) + a * low
    cdef real logarithm = log1p_unit(grown if near else e)
    cdef real far
    if real is double:
        far = (a - <double>0.6931471805598903) + (logarithm + (low - <double>5.497923018708371e-14))
    else:
        far = (a - <float>0.693145751953125) + (logarithm + (low - <float>1.4286068e-06))
    loss[0] = logarithm if near else far
    gradient[0] = with_sign_of(-t / d, r)
    hessian[0] = <real>4 * (e / mad(e, e + <real>2, <real>1))


cdef inline void fair(real y, real z, real c, real* loss, real* gradient, real* hessian) noexcept nogil:
    # t = |r|/c; t - log1p(t) is t²/2 - t³/3 near 0, and all t far out.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real t = a / c
    cdef real near = <real>0.5 * a * mad(t, <real>-2 / <real>3 * a, a)
    cdef real t_low = quotient_rest(a, c, t) + residual_rest(y, z, r) / c
    cdef real value = c * (c * (log1p_rest(t) + t_low * (t / (one + t))))
    cdef bint inner = a <= c
    cdef real low
    cdef real ratio = smaller_ratio(y, z, r, c, &low)
    cdef real d = one + ratio
    cdef real part = (one if inner else ratio) / d
    cdef real tiny, huge
    if real is double:
        tiny = <double>1e-8
        huge = <double>1e20
    else:
        tiny = <float>1e-4
        huge = <float>1e10
    value = near if t < tiny else value
    loss[0] = c * a if t > huge else value
    gradient[0] = with_sign_of((a if inner else c) / d, r)
    # what roundings took from numerator, denominator and quotient
    part = part + ((zero if inner else low) - part * (low + (ratio - (d - one)))) / d + quotient_rest(
        one if inner else ratio, d, part)
    hessian[0] = part * part


cdef inline void tukey(real y, real z, real c, real* loss, real* gradient, real* hessian) noexcept nogil:
    # w = 1 - u = (1 - x)(1 + x), x = |r|/c, where 1 - u would cancel; u(3 - 3u + u²) = u(1 + w + w²).
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real rest = residual_rest(y, z, r)
    cdef real below = c - a
    cdef real below_low = difference_rest(c, a, below) - rest
    cdef real first = below / c
    cdef real first_low = quotient_rest(below, c, first) + below_low / c
    cdef real x = a / c
    cdef real second = one + x
    cdef real second_low = (x - (second - one)) + (quotient_rest(a, c, x) + rest / c)
    cdef real w = first * second
    w = w + (product_rest(first, second, w) + mad(first, second_low, first_low * second))
    cdef bint inside = w > zero
    cdef real value = r / <real>6 * r * mad(w, w, one + w)
    cdef real slope = r * w * w
    cdef real curve = w * mad(<real>5, w, <real>-4)
    loss[0] = value if inside else c / <real>6 * c
    gradient[0] = slope if inside else zero
    hessian[0] = curve if inside else zero


cdef inline void robust(const RobustLoss* p, real y, real z, bint wide,
                        real* loss, real* gradient, real* hessian) noexcept nogil:
    # x = |r|/c and u = x²/b, b = |alpha - 2|, each with the rest that rounding took; L = log(1 + u):
    # loss b/alpha·expm1(alpha/2·L), gradient x/sqrt(1 + u)·exp((alpha - 1)/2·L)/c, and
    # Hessian exp((alpha - 2)/2·L)·(1 + (alpha - 1)·u)/(1 + u)/c².
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real two = <real>2
    cdef real c = <real>p.scale
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real x = a / c
    cdef real x_low = (remainder(a, c, x) + residual_rest(y, z, r)) * (one / c)
    cdef real alpha, b, b_low, square, square_low, u, u_low, sum_, k, f, f_low, high, low, root, inverse, part
    cdef real slope, curve, value, exponent, rest, limit, down, offset, tiny, infinite_log
    cdef bint far

    if RobustLoss is RobustSquare:
        loss[0] = <real>0.5 * x * x
        gradient[0] = with_sign_of(x / c, r)
        hessian[0] = one / c / c

    elif RobustLoss is RobustRoot:  # sqrt(1 + x²) - 1, with the ratio t as in pseudo_huber
        far = x > one
        part = smaller_ratio(y, z, r, c, &low)
        square = mad(part, part, one)
        root = sqrt(square)
        inverse = (one if far else part) / root
        value = x / (root + (part if far else one))
        value = value if far else value * part
        loss[0] = mad(x_low, inverse, value) if x_low - x_low == zero else value
        gradient[0] = with_sign_of(inverse / c, r)
        curve = part / c * (part / c) * part
        curve = (curve if far else one / c / c) / (square * root)
        low = <real>3 * (low / part if far else -part * low) / square
        hessian[0] = mad(curve, low, curve) if part > zero else curve

    elif RobustLoss is RobustExponential:
        square = x * x
        square_low = mad(two * x, x_low, product_rest(x, x, square))
        far = square > <real>1e4
        square = <real>1e4 if far else square
        square_low = zero if far else square_low
        loss[0] = -expm1_sum(<real>-0.5 * square, <real>-0.5 * square_low)
        slope = times_exp(x / c, <real>-0.5 * square, <real>-0.5 * square_low, wide)
        gradient[0] = with_sign_of(zero if far else slope, r)
        curve = times_exp(((one - square) - square_low) / c / c, <real>-0.5 * square, <real>-0.5 * square_low, wide)
        hessian[0] = zero if far else curve

    else:
        if real is double:
            limit = <double>1e150
            down = <double>1.1830521861667747e-271  # 2^-900
            offset = <double>1800
            infinite_log = <double>1e30
            tiny = <double>1e-9
        else:
            limit = <float>1e18
            down = <float>7.703719777548943e-34  # 2^-110
            offset = <float>220
            infinite_log = <float>1e30
            tiny = <float>1e-5
        alpha = zero
        if RobustLoss is Robust:
            alpha = <real>p.alpha
        b = absolute(two - alpha)
        b_low = with_sign_times(difference_rest(two, alpha, two - alpha), two - alpha)
        # Very large x are scaled, so that x² does not overflow: u = u'·2^offset, far beyond 1.
        far = False
        value = x
        if wide:
            far = x > limit
            value = a * down / c if far else x
            x_low = zero if far else x_low
            x_low = x_low if x_low - x_low == zero else zero
        square = value * value
        square_low = mad(two * value, x_low, product_rest(value, value, square))
        u = square * (one / b)
        u_low = (remainder(square, b, u) + (square_low - u * b_low)) * (one / b)
        if wide:
            u_low = u_low if u_low - u_low == zero else zero
        sum_ = u if far else one + u
        f = mantissa_sum(sum_, zero if far else u - (sum_ - one), zero if far else u_low, &k, &f_low)
        k = k + offset if far else k
        high = log_parts(k, f, &low)
        low = low + f_low
        if wide:  # infinite: beyond what any power needs, but no 0·inf with a power of 0
            high = infinite_log if square == one / zero else high
            low = zero if square == one / zero else low
        # x/sqrt(1 + u), 1/(1 + u) and u/(1 + u)
        u_low = (u - (sum_ - one)) + u_low
        inverse = one / sum_
        inverse = inverse - inverse * inverse * u_low
        root = sqrt(b) if far else x / sqrt(sum_)
        inverse = zero if far else inverse
        part = one if far else u / sum_

        if RobustLoss is RobustLog:
            high = high + low
            if wide:
                high = x if square == one / zero else high
            loss[0] = <real>0.5 * x * x if x < tiny else high
            slope = two * down / value if far else x / sum_
            curve = two * down / value / value * down if far else inverse
            gradient[0] = with_sign_of(slope / c, r)
            hessian[0] = curve * (inverse - part) / c / c
        else:
            exponent = exponent_of(<real>0.5 * alpha, zero, high, low, &rest)
            value = b / alpha * expm1_sum(exponent, rest)
            if wide:
                value = times_exp_by(one, exponent, rest, b / alpha, wide) if exponent > <real>40 else value
            loss[0] = <real>0.5 * x * x if x < tiny else value
            exponent = exponent_of(<real>0.5 * (alpha - one), <real>0.5 * difference_rest(alpha, one, alpha - one),
                                   high, low, &rest)
            slope = times_exp(root * (one / c), exponent, rest, wide)
            gradient[0] = with_sign_of(slope, r)
            exponent = exponent_of(<real>0.5 * (alpha - two), <real>0.5 * difference_rest(alpha, two, alpha - two),
                                   high, low, &rest)
            hessian[0] = times_exp(mad(alpha - one, part, inverse) / c / c, exponent, rest, wide)


# ---- losses of the logarithm, and of distributions -------------------------------------------------------------------

cdef inline void squared_log_error(real y, real z, bint wide, real* loss, real* gradient, real* hessian) noexcept nogil:
    # d = log1p(z) - log1p(y) = ±log1p(|r|/(1 + min)), which does not cancel; with the rests of r, 1 + min and the
    # ratio.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real infinity = one / zero
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real least = z if z < y else y
    cdef real below = one + least
    cdef real below_low = least - (below - one)
    cdef real ratio, inverse, rest, limit, down, shift, k, f, f_low, d, d_low, sum_, above, slope, curve
    cdef bint far, at_infinity
    if real is double:
        limit = <double>9.745314011399999e+288  # 2^960
        down = <double>8.673617379884035e-19  # 2^-60
        shift = <double>60
    else:
        limit = <float>1.2676506002282294e+30  # 2^100
        down = <float>1.4901161193847656e-08  # 2^-26
        shift = <float>26
    far = False
    if wide:
        far = (a > limit) & (below < one)  # the ratio may overflow
        a = a * down if far else a
    inverse = one / below
    ratio = a / below
    rest = (remainder(a, below, ratio) + (residual_rest(y, z, r) - ratio * below_low)) * inverse
    sum_ = ratio if far else one + ratio
    below_low = ratio - (sum_ - one)
    if wide:
        rest = rest if rest - rest == zero else zero
        below_low = below_low if below_low == below_low else zero
    f = mantissa_sum(sum_, zero if far else below_low, zero if far else rest, &k, &f_low)
    k = k + shift if far else k
    d = log_parts(k, f, &d_low)
    d = d + (d_low + f_low)
    at_infinity = z == infinity
    d = infinity if (ratio == infinity) | at_infinity else d
    d = with_sign_of(d, r)
    above = one + z
    slope = <real>2 * d / above
    curve = <real>2 * (one - d) / above / above
    slope = zero if at_infinity else slope
    curve = zero if at_infinity else curve
    loss[0] = d * d if above >= zero else zero / zero
    gradient[0] = slope if above >= zero else zero / zero
    hessian[0] = curve if above >= zero else zero / zero


cdef inline void poisson(const PoissonLoss* p, real y, real z, bint wide,
                         real* loss, real* gradient, real* hessian) noexcept nogil:
    # Half deviances y·(e^d - 1 - d), d = log(mean/y), near d = 0 without cancellation.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real infinity = one / zero
    cdef real mean, half, linear, d, low, near, value, value_of_slope, both, unit
    cdef bint none = y == zero

    if PoissonLoss is PoissonIdentity:
        near = ratio_deviance(z, y, z - y, &d)
        value = (z - y) - y * d
        value = y * near if absolute(z - y) < <real>0.25 * y else value
        value = z if none else value
        loss[0] = value if z > zero else zero / zero
        value = (z - y) / z
        value = one if z == infinity else value
        gradient[0] = value if z > zero else zero / zero
        hessian[0] = y / z / z if z > zero else zero / zero
    else:
        half = times_exp(<real>0.5, z, zero, wide)  # of the mean, which may overflow where a difference does not
        mean = half + half
        if PoissonLoss is Poisson:
            linear = zero if none else <real>0.5 * z * y
            value = half - linear
            value = value + value
            if wide:  # where both overflow
                unit = <real>4.76837158203125e-07  # 2^-21
                both = times_exp(unit, z, zero, wide) - unit * y * z
                both = infinity if z > <real>1000 else both / unit
                value = value if value == value else both
        else:
            d = log_high(y, &low)
            d = (z - d) - low
            near = d * d * exp_tail(d)
            value = half - <real>0.5 * y * (d + one)
            value = value + value
            value = y * near if absolute(d) < <real>0.34 else value
            value = mean if none else value
            if wide:
                value = infinity if half == infinity else value
        value_of_slope = half - <real>0.5 * y
        loss[0] = value
        gradient[0] = value_of_slope + value_of_slope
        hessian[0] = mean


cdef inline real ratio_deviance(real a, real b, real difference, real* logarithm) noexcept nogil:
    """q - 1 - log(q) of q = a/b near 1, and, as the pointer's value, log(q) elsewhere."""
    cdef real t = difference / b
    cdef real t_low = quotient_rest(difference, b, t) + difference_rest(a, b, difference) / b
    logarithm[0] = log_ratio(a, b)
    return log_rest(t) + t_low * t


cdef inline void gamma(const GammaLoss* p, real y, real z, bint wide,
                       real* loss, real* gradient, real* hessian) noexcept nogil:
    # Half deviances e^d - 1 - d, d = log(y/mean), near d = 0 without cancellation.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real infinity = one / zero
    cdef real ratio, d, low, near, value

    if GammaLoss is GammaIdentity:
        ratio = y / z
        near = ratio_deviance(y, z, y - z, &d)
        value = (y - z) / z - d
        value = near if absolute(y - z) < <real>0.25 * z else value
        value = infinity if z == infinity else value
        loss[0] = value if z > zero else zero / zero
        value = (z - y) / z / z
        value = zero if z == infinity else value
        gradient[0] = value if z > zero else zero / zero
        hessian[0] = mad(<real>2, ratio, -one) / z / z if z > zero else zero / zero
    else:
        ratio = times_exp(y, -z, zero, wide)
        if GammaLoss is Gamma:
            value = z + ratio
        else:
            d = log_high(y, &low)
            d = (d - z) + low
            near = d * d * exp_tail(d)
            value = (ratio - d) - one
            value = near if absolute(d) < <real>0.34 else value
        if wide:
            value = infinity if ratio == infinity else value
        loss[0] = value
        gradient[0] = one - ratio
        hessian[0] = ratio


cdef inline void tweedie(const TweedieLoss* p, real y, real z, bint wide,
                         real* loss, real* gradient, real* hessian) noexcept nogil:
    # With a = 1 - power, b = 2 - power: -y·mean^a/a + mean^b/b; the half deviance adds y^b/(a·b). A factor is
    # multiplied into a power before or after it, where it neither overflows nor costs a subnormal number its digits.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real infinity = one / zero
    cdef real nan = zero / zero
    cdef real power = <real>p.power
    cdef real a = one - power
    cdef real b = <real>2 - power
    cdef real a_low = difference_rest(one, power, a)
    cdef real b_low = difference_rest(<real>2, power, b)
    cdef real high, low, exponent, rest, mean, unit, value, slope, curve, linear, growing, linear_slope, linear_curve
    cdef real both_value, both_slope, both_curve
    cdef bint inside

    low = zero
    high = z
    if TweedieLoss is TweedieIdentity:
        high = log_high(z, &low)
        high = <real>1e30 if z == infinity else high  # beyond what any power needs
    exponent = exponent_of(a, a_low, high, low, &rest)
    linear = times_exp_by(y, exponent, rest, one / a, wide)
    if TweedieLoss is not TweedieIdentity:
        linear_slope = times_exp(y, exponent, rest, wide)
        linear_curve = times_exp_by(y, exponent, rest, a, wide)
        if wide:  # where both parts of a difference overflow: mean^a times what remains
            mean = exp_in(z, zero, wide)
            unit = <real>9.5367431640625e-07 if absolute(y) > one else <real>1048576.0  # 2^-20, 2^20
            both_value = times_exp(unit * mean / b - unit * y / a, exponent, rest, wide)
            both_slope = times_exp(mean - y, exponent, rest, wide)
            both_curve = times_exp(unit * mean * b - unit * y * a, exponent, rest, wide)
    exponent = exponent_of(b, b_low, high, low, &rest)
    value = times_exp_by(one, exponent, rest, one / b, wide) - linear
    if TweedieLoss is not TweedieIdentity:
        growing = times_exp(one, exponent, rest, wide)
        slope = growing - linear_slope
        curve = times_exp_by(one, exponent, rest, b, wide) - linear_curve
        if wide:
            value = value if value == value else both_value
            slope = slope if slope == slope else both_slope
            curve = curve if curve == curve else both_curve
    else:
        exponent = exponent_of(-power, zero, high, low, &rest)
        slope = times_exp(one if z == infinity else z - y, exponent, rest, wide)
        # mean^(-1-power)·(a·mean + power·y), the sum neither too large nor subnormal
        unit = one
        if wide:
            unit = <real>0.000244140625 if absolute(a) * z + absolute(power) * y == infinity else one  # 2^-12
            if real is double:
                unit = <double>1152921504606846976.0 if z + y < <double>1e-280 else unit  # 2^60
            else:
                unit = <float>16777216.0 if z + y < <float>1e-30 else unit  # 2^24
        exponent = exponent_of(-one - power, difference_rest(-one, power, -one - power), high, low, &rest)
        curve = times_exp_by(mad(a * unit, z, power * unit * y), exponent, rest, one / unit, wide)
        if wide:
            curve = slope if z == infinity else curve  # both 0, or both inf
    if TweedieLoss is not Tweedie:
        high = log_high(absolute(y), &low)
        exponent = exponent_of(b, b_low, high, low, &rest)
        growing = times_exp_by(one, exponent, rest, one / (a * b), wide)
        value = value + (growing if absolute(y) > zero else zero)
        value = zero if value < zero else value
        if wide:
            value = value if value == value else infinity
    if TweedieLoss is TweedieIdentity:
        inside = z > zero
        value = value if inside else nan
        slope = slope if inside else nan
        curve = curve if inside else nan
    loss[0] = value
    gradient[0] = slope
    hessian[0] = curve


cdef inline void negative_binomial(real y, real z, real dispersion, bint wide,
                                   real* loss, real* gradient, real* hessian) noexcept nogil:
    # With a the dispersion, u = z + log(a) and t = exp(-|u|): softplus(u) = log1p(t) + max(u, 0); what y multiplies is
    # softplus(u) - z, which does not cancel. Where t is subnormal, 1/a·t would be coarse.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real inverse = one / dispersion
    cdef real low
    cdef real high = log_high(dispersion, &low)
    cdef real u = (z + high) + low
    cdef bint right_side = u > zero
    cdef real t = times_exp(inverse if right_side else dispersion, -z if right_side else z, zero, wide)
    cdef real d = one + t
    cdef real logarithm = log1p_unit(t)
    cdef real softplus = logarithm + (u if right_side else zero)
    cdef real rest = logarithm + ((high + low) if right_side else -z)
    cdef real linear = zero if y == zero else y * rest
    cdef real mean = exp_in(z, zero, wide)
    cdef real scale = inverse if right_side else dispersion
    cdef real tiny
    if real is double:
        tiny = <double>1e-17
    else:
        tiny = <float>1e-9
    softplus = inverse * softplus
    softplus = softplus if right_side | (t > tiny) else mean
    softplus = softplus + linear
    if wide:
        softplus = softplus if softplus == softplus else one / zero  # inf - inf
    loss[0] = softplus
    linear = inverse - times_exp_by(y, -z, zero, inverse, wide)
    gradient[0] = (linear if right_side else mean - y) / d
    hessian[0] = times_exp_by(y + inverse, -z if right_side else z, zero, scale, wide) / mad(t, t + <real>2, one)


cdef inline void regression_pair(const PairLoss* p, real y, real z, real second, bint wide, real* loss, real* gradient,
                                 real* hessian, real* second_gradient, real* second_hessian) noexcept nogil:
    # mean z, logarithm of the variance s: r²·e^(-s), or (r·e^(-s/2))² where r² leaves the range of numbers.
    cdef real zero = <real>0
    cdef real half = <real>0.5
    cdef real infinity = <real>1 / zero
    cdef real r = z - y
    cdef real square = times_exp(half * r * r, -second, zero, wide)
    cdef real error, least, value
    if wide:
        if real is double:
            least = <double>1e-100
        else:
            least = <float>1e-10
        error = times_exp(r, -half * second, zero, wide)
        error = half * error * error
        square = square if (absolute(r) >= least) & (absolute(r) <= <real>1 / least) else error
    value = mad(half, second, square) + <real>p.constant
    if wide:
        value = infinity if square == infinity else value  # not inf - inf
    loss[0] = value
    gradient[0] = times_exp(r, -second, zero, wide)
    hessian[0] = exp_in(-second, zero, wide)
    second_gradient[0] = half - square
    second_hessian[0] = square
