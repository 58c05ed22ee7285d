# Regression losses: z = y_pred, y = y_true, r = z - y. `v` is the parameter that may vary by column.
#
# To add a loss: its parameters as a struct (in the order they are told, all double), its name in the fused type, its
# formula as a branch. NaN in y or z is dealt with by the sweep, but for LightLoss: these are as fast as memory, and
# let a NaN of r through by themselves.

from .math cimport (
    FASTLOSS_FUSED, absolute, atanh_tail, difference_rest, exact_difference_rest, exp_in, exp_near_minus_1,
    exp_negative_parts, exp_product, exp_tail, expm1_in, expm1_sum, exponent_in, exponent_of, inverse_power, log1p_unit,
    log1p_unit_part, log_high, log_parts, log_quotient, log_ratio, log_rest, mad, mantissa, mantissa_of_normal,
    plus_log_2, plus_log_2_high, positive_part, polynomial10, polynomial3, polynomial4, polynomial6,
    power_reduced, product_rest, quotient_rest, remainder, smaller_of, sqrt, sum_rest, times_exp, times_exp_by,
    times_power, unit_of, unlift, with_sign_of, with_sign_times,
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

# Long formulas, parts of which shorter loops compute ahead: a core looks ahead some hundred instructions, not elements.
# PARTS is how far the parts of one element are apart.
cdef enum:
    PARTS = 1024

# Of two predictions: y_pred has shape (n, 2).
ctypedef fused PairLoss:
    GaussianNLL


cdef inline void regression(const RegressionLoss* p, real y, real z, real v, const real* parts, bint wide,
                            real* loss, real* gradient, real* hessian) noexcept nogil:
    if RegressionLoss in LightLoss:
        light(p, y, z, v, loss, gradient, hessian)
    elif RegressionLoss is PseudoHuber:
        root_loss(y, z, <real>p.delta, False, loss, gradient, hessian)
    elif RegressionLoss is LogCosh:
        log_cosh(y, z, parts, loss, gradient, hessian)
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
        tweedie(p, y, z, parts, wide, loss, gradient, hessian)
    elif RegressionLoss is NegativeBinomial:
        negative_binomial(y, z, parts, <real>p.dispersion, wide, loss, gradient, hessian)


cdef inline void regression_parts(const RegressionLoss* p, Py_ssize_t n, const real* y, const real* z, bint with_loss,
                                  bint wide, real* parts) noexcept nogil:
    cdef real* second = parts + <int>PARTS
    cdef real* third = second + <int>PARTS
    cdef real* fourth = third + <int>PARTS
    cdef Py_ssize_t i
    if RegressionLoss is NegativeBinomial:
        for i in range(n):
            parts[i] = negative_binomial_exponential(z[i], <real>p.dispersion, wide, &second[i])
            if with_loss:
                third[i] = second[i] / (second[i] + <real>2)
    elif RegressionLoss is LogCosh:
        for i in range(n):
            parts[i] = exp_negative_parts(<real>2 * absolute(z[i] - y[i]), &second[i], &third[i])
    elif RegressionLoss is TweedieDeviance or RegressionLoss is TweedieIdentity:
        if with_loss:
            for i in range(n):
                parts[i] = power_reduced(absolute(y[i]), <real>2, <real>p.power, &second[i])
        if RegressionLoss is TweedieIdentity:
            for i in range(n):
                third[i] = power_reduced(z[i], <real>1, <real>p.power, &fourth[i])


# ---- losses of the residual ------------------------------------------------------------------------------------------

cdef inline void light(const LightLoss* p, real y, real z, real v,
                       real* loss, real* gradient, real* hessian) noexcept nogil:
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real sign = <real>1 if r > <real>0 else (<real>-1 if r < <real>0 else r)  # r itself for 0 and NaN
    cdef real zero = <real>0 if r == r else r
    cdef real factor, beta, size, outer, slope, side, short

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
        # the slope is r between -delta and delta, and the loss slope·(r - slope/2)
        slope = v if r > v else r
        slope = -v if slope < -v else slope
        loss[0] = slope * mad(<real>-0.5, slope, r)
        gradient[0] = slope
        hessian[0] = <real>0 if a > v else <real>1 + zero

    elif LightLoss is Quantile:
        slope = far_out(r)  # between -quantile and 1 - quantile, which it is beyond unless it is 0 or NaN
        slope = <real>1 - v if slope > <real>1 - v else slope
        slope = -v if slope < -v else slope
        loss[0] = slope * r
        gradient[0] = slope
        hessian[0] = zero

    elif LightLoss is Expectile:
        side = <real>1 - v if r > <real>0 else v
        slope = <real>2 * side
        loss[0] = side * r * r
        gradient[0] = slope * r
        hessian[0] = slope + zero

    elif LightLoss is SmoothL1:
        beta = <real>p.beta
        outer = a - <real>0.5 * beta
        slope = r / beta
        loss[0] = <real>0.5 * r * slope if a < beta else outer
        gradient[0] = slope if a < beta else sign
        hessian[0] = <real>1 / beta if a < beta else zero

    elif LightLoss is EpsilonInsensitive or LightLoss is SquaredEpsilonInsensitive:
        # what rounding took from r counts near the edge of the tube (a is no NaN with a sign, and v is finite)
        short = positive_part((a - v) + residual_rest(y, z, r))
        if LightLoss is EpsilonInsensitive:
            loss[0] = short
            slope = with_sign_of(<real>1, r)
            gradient[0] = slope if short > <real>0 else short
            hessian[0] = zero
        else:
            loss[0] = short * short
            gradient[0] = with_sign_of(short + short, r)
            hessian[0] = <real>2 if short > <real>0 else short

    elif LightLoss is AbsolutePercentageError:
        size = absolute(y)
        size = size if size > <real>p.eps else <real>p.eps
        loss[0] = a / size
        gradient[0] = sign / size
        hessian[0] = zero


cdef inline real far_out(real r) noexcept nogil:
    """r times a power of 2, which takes any number but 0 beyond ±1."""
    if real is double:
        return r * <double>8.98846567431158e307 * <double>8.98846567431158e307
    else:
        return r * <float>1.7014118346046923e38 * <float>1.7014118346046923e38


cdef inline real residual_rest(real y, real z, real r) noexcept nogil:
    """What rounding took from |r|."""
    return with_sign_times(difference_rest(z, y, r), r)


cdef inline void root_loss(real y, real z, real c, bint relative,
                           real* loss, real* gradient, real* hessian) noexcept nogil:
    # With s = sqrt(c² + r²): c·r²/(s + c), c·r/s and (c/s)³, or, `relative`, all of these over c². Here s and d stand
    # for s and c in a unit near c, and t for a residual of at most 2^480 units (float32: 2^56), so that no square
    # overflows.
    cdef real one = <real>1
    cdef real unit = unit_of(c)
    cdef real outer = unit if relative else one  # of the residual
    cdef real inner = one if relative else unit
    cdef real d = c * unit
    cdef real square = d * d
    cdef real square_low = product_rest(d, d, square)
    cdef real top = one / d if relative else d
    cdef real scale = one / square if relative else one
    cdef real r = (z - y) * outer
    cdef real r_low = difference_rest(z, y, z - y) * outer
    cdef real lowest, most, x, t, whole, s, slope, chord, rest, power
    if real is double:
        lowest = <double>-1.7976931348623157e308
        most = one / mad(inner, <double>3.2033329522929615e-145, <double>1.1125369292536007e-308)  # 2^-480, and not inf
    else:
        lowest = <float>-3.4028235e38
        most = one / mad(inner, <float>1.3877787807814457e-17, <float>5.877471754111438e-39)  # 2^-56
    x = r if r < most else most
    x = x if x > -most else -most
    t = x * inner
    whole = mad(t, t, square)
    s = sqrt(whole)
    slope = top / s
    chord = one / mad(d, s, square) if relative else d / (s + d)
    if relative:  # with what rounding took from 1/d and 1/d²
        rest = remainder(one, d, top)
        slope = mad(slope, rest, slope)
        scale = mad(scale, remainder(one, square, scale) - square_low * scale, scale)
        if not FASTLOSS_FUSED:  # where the sum rounds twice: with what that took, too
            chord = top / (s + d)
            chord = chord + chord * (rest - ((s - (s + d)) + d) * chord * d)
    rest = r_low * (x * slope)
    loss[0] = mad(r, x * chord, rest if rest > lowest else lowest)  # -inf, where the product is inf
    gradient[0] = x * (slope * outer)
    # (d/s)³ by a step of Newton, with what rounding took from r, d² and t² + d²
    slope = slope * square if relative else slope
    power = slope * slope
    r_low = r_low * inner if x == r else <real>0
    rest = whole - square
    rest = mad(<real>2 * t, r_low, (square - (whole - rest)) - remainder(rest, t, t))
    rest = mad(-power, rest, remainder(square, whole, power) + square_low * (one - power))
    hessian[0] = mad(<real>1.5 / square * scale, rest, scale) * (power * outer) * (slope * outer)


cdef inline void log_cosh(real y, real z, const real* parts, real* loss, real* gradient,
                          real* hessian) noexcept nogil:
    # With e = exp(-2|r|): tanh |r| = (1 - e)/(1 + e), and log cosh r is a series in r² near 0, elsewhere
    # |r| - log 2 + log1p(e), where log1p(e) = e - s·(e - tail) with s = e/(2 + e), as in log1p_unit.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real square = a * a
    cdef bint positive
    cdef real series, tail, near, far, tanh, curve, low
    cdef real q = parts[0]
    cdef real power = parts[<int>PARTS]
    cdef real lifted = parts[2 * <int>PARTS]
    cdef real e = mad(power, q, power)
    cdef real s, w
    tanh = mad(-power, q, one - power)
    tanh = tanh / (e + one)
    s = e / (e + <real>2)
    w = s * s
    if real is double:
        series = polynomial10[real](
            square, <double>-0.08333333333333114, 0.022222222221921942, -0.006746031731811414, 0.0021869485196432717,
            -0.0007385984418379891, 0.00025654258187516856, -9.078387375106071e-05, 3.205530707720216e-05,
            -1.0332181253220702e-05, 2.2009031530640504e-06)
        tail = w * polynomial6[real](
            w, <double>0.6666666666666101, 0.4000000000516803, 0.2857142688174344, 0.22222486276165274,
            0.1816047927615864, 0.1624230210572265)
        far = (a - <double>0.6931471805598903) + (e - mad(s, e - tail, <double>5.497923018708371e-14))
        positive = a < <double>375  # beyond, the Hessian is 0
    else:
        series = polynomial4[real](square, <float>-0.08333271, 0.022204915, -0.006595129, 0.0016519611)
        tail = w * polynomial3[real](w, <float>0.666667, 0.39990664, 0.2939404)
        far = (a - <float>0.693145751953125) + (e - mad(s, e - tail, <float>1.4286068e-06))
        positive = a < <float>55
    near = mad(<real>0.5 * a, a, square * (square * series))
    loss[0] = near if a < <real>0.6 else far
    gradient[0] = with_sign_of(tanh, r)
    # 1 - tanh², in which exponentials double the rounding of r
    low = residual_rest(y, z, r) if positive else zero
    curve = (lifted if positive else zero) * (<real>4 * (one + q) / mad(e, e + <real>2, one))
    hessian[0] = unlift(mad(curve, <real>-2 * tanh * low, curve))


cdef inline void fair(real y, real z, real c, real* loss, real* gradient, real* hessian) noexcept nogil:
    # With t = |r|/c and 1 + t = 2^k·(1 + f) the loss is c²·(t - k·log 2 - log(1 + f)). With s = f/(2 + f),
    # f - log(1 + f) = s·(f - s²·P(s²)) = f²·h, which leaves r²·h for k = 0, where f = t.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real inverse, huge, a, t, u, k, scale, f, part, s, h, far, factor, value, product, slope, low, most
    cdef real r = z - y
    cdef real size = absolute(r)
    cdef bint inner
    if real is double:
        most = <double>1.7976931348623157e+308
        huge = c * <double>3.599131035634557e+162  # 2^540
    else:
        most = <float>3.4028227e+38  # a little less, so that products of it round to numbers
        huge = smaller_of(c * <float>7.555786372591432e+22, most)  # 2^76
    inverse = one / c
    a = size if size < huge else huge  # beyond, only the loss grows, and it by c·|r|
    t = a * inverse
    u = t + one
    inner = u <= <real>1.5
    scale = inverse_power(u, one, &k)
    f = mad(t, scale, scale - one)  # exactly
    part = one / (f + <real>2)
    s = f * part
    h = mad(-s * part * part, atanh_tail(s * s), part)
    if real is double:
        far = (mad(k, <double>-0.6931471805598903, t) - f) + mad(k, <double>-5.497923018708371e-14, f * f * h)
    else:
        far = (mad(k, <float>-0.693145751953125, t) - f) + mad(k, <float>-1.4286068e-06, f * f * h)
    slope = a / u
    # the loss with what roundings took from t, which moves it by t/(1 + t), and from the first of two products
    factor = a if inner else c
    value = h if inner else far
    product = factor * value
    low = remainder(a, c, t)
    value = mad(low, zero if inner else slope * inverse, product_rest(factor, value, product)) + (size - a)
    value = factor * value
    if FASTLOSS_FUSED:
        loss[0] = absolute(mad(factor, product, value))  # the value may be -inf where the loss is beyond all numbers
    else:
        loss[0] = mad(factor, product, value if value > -most else -most)
    gradient[0] = with_sign_of(slope, r)
    # 1/(1 + t)², with what roundings took from r, t, u and 1/u
    low = mad(low + (residual_rest(y, z, r) if size < huge else zero), inverse, t - (u - one))
    part = one / u
    part = mad(part, remainder(one, u, part) - part * low, part)
    hessian[0] = part * part


cdef inline void tukey(real y, real z, real c, real* loss, real* gradient, real* hessian) noexcept nogil:
    # w = 1 - u = x(1 - x/4), x = 2(1 - |r|/c), where 1 - u would cancel; u(3 - 3u + u²) = u(1 + w + w²).
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real two = <real>2
    cdef real sixth = one / <real>6
    cdef real half_c, inverse, rest, difference, below, low, x, x_low, quarter, high, w, value, slope, curve
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef bint inside
    cdef real tiny
    if real is double:
        tiny = <double>1e-300
    else:
        tiny = <float>1e-30
    half_c = <real>0.5 * c
    inverse = one / half_c
    rest = exact_difference_rest(z, y, r)
    difference = c - a
    low = ((c - difference) - a) - with_sign_times(rest, r)  # c is the larger where it matters
    below = difference + low
    inside = below > zero
    x = below * inverse
    x_low = (remainder(below, half_c, x) + (low - (below - difference))) * inverse
    if not FASTLOSS_FUSED:  # where products are subnormal, so are remainders, and x is good enough
        x_low = x_low if below > tiny else zero
    quarter = <real>0.25 * x
    high = remainder(x, quarter, x)
    low = mad(mad(-two, quarter, one), x_low, remainder(x - high, quarter, x))
    w = high + low
    value = r * (mad(two, rest, r) * mad(w, mad(w, sixth, sixth), sixth))
    slope = r * high * mad(two, low, high)  # r·w²
    curve = w * mad(<real>5, w, <real>-4)
    loss[0] = value if inside else c / <real>6 * c
    gradient[0] = slope if inside else zero
    hessian[0] = curve if inside else zero


cdef inline void robust(const RobustLoss* p, real y, real z, bint wide,
                        real* loss, real* gradient, real* hessian) noexcept nogil:
    # x = |r|/c and u = x²/b, b = |alpha - 2|. With L = log(1 + u) and E = exp(alpha/2·L): loss b/alpha·(E - 1),
    # gradient r/c²·E/(1 + u), and Hessian E·(1 + (alpha - 1)·u)/(1 + u)²/c².
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real two = <real>2
    cdef real c = <real>p.scale
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real x = a / c
    cdef real alpha, alpha_1, alpha_1_low, b, b_low, unit, root, base, base_low, factor, factor_low
    cdef real constant, constant_low, x_low, r_low, square, square_low, sum_, sum_low, limit, down, shift, offset
    cdef real k, high, low, inverse, error, value, slope, curve, curve_low, part, exponent, rest, first, second
    cdef bint far

    if RobustLoss is RobustSquare:
        loss[0] = <real>0.5 * x * x
        gradient[0] = with_sign_of(x / c, r)
        hessian[0] = one / c / c

    elif RobustLoss is RobustRoot:
        root_loss(y, z, c, True, loss, gradient, hessian)

    elif RobustLoss is RobustExponential:
        x_low = (remainder(a, c, x) + residual_rest(y, z, r)) * (one / c)
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
        alpha = zero
        if RobustLoss is Robust:
            alpha = <real>p.alpha
        b = absolute(two - alpha)
        b_low = with_sign_times(difference_rest(two, alpha, two - alpha), two - alpha)
        alpha_1 = alpha - one
        alpha_1_low = difference_rest(alpha, one, alpha_1)
        # 1 + u is (base + r²)/base, base = b·c², all in a unit near c where numbers may be extreme.
        unit = unit_of(c) if wide else one
        root = c * unit
        square = root * root
        base = b * square
        base_low = product_rest(b, square, base) + mad(b, product_rest(root, root, square), b_low * square)
        r_low = exact_difference_rest(z, y, r)
        rest = with_sign_times(r_low, r)
        r_low = r_low * unit
        r = r * unit
        offset = zero
        if wide:
            # No square of a large |r|: L is 2·log(|r|/root) there, with |r| in another unit.
            if real is double:
                limit = <double>1.8092513943330656e+75  # 2^250
                down = <double>2.191809349008403e-193  # 2^-640
                shift = <double>640
            else:
                limit = <float>1073741824.0  # 2^30
                down = <float>1.6543612251060553e-24  # 2^-79
                shift = <float>79
            far = absolute(r) > limit
            first = down * unit if unit > one else down  # so that no product leaves the range
            second = one if unit > one else unit
            rest = rest * first * second
            r = zero if far else r
            r_low = zero if far else r_low
        square = r * r
        square_low = mad(two * r, r_low, product_rest(r, r, square))
        sum_ = base + square
        sum_low = sum_rest(base, square, sum_) + (square_low + base_low)
        # b·(base + (alpha - 1)·r²), and its rest
        factor = b * alpha_1
        factor_low = product_rest(b, alpha_1, factor) + mad(b, alpha_1_low, b_low * alpha_1)
        constant = b * base
        constant_low = product_rest(b, base, constant) + mad(b, base_low, b_low * base)
        curve = mad(factor, square, constant)
        curve_low = constant_low - remainder(curve - constant, factor, square)
        curve_low = mad(factor, square_low, mad(factor_low, square, curve_low))
        if wide:
            sum_ = a * first * second if far else sum_
            sum_low = rest if far else sum_low
            offset = shift if far else zero
            root = sqrt(base)
            rest = <real>0.5 * (remainder(base, root, root) + base_low) / root
            base = root if far else base
            base_low = rest if far else base_low
        high = log_quotient(sum_, sum_low, base, base_low, square, square_low, offset, &k, &low, &inverse, &error)
        value = plus_log_2(k, high, low)
        high = plus_log_2_high(k, high, low, &low)
        inverse = inverse * unit
        part = b * inverse
        slope = r * part
        slope = slope + mad(slope, error, r_low * part)
        part = curve * inverse
        curve_low = mad(mad(curve, two * error, curve_low), inverse, product_rest(curve, inverse, part))
        curve = mad(curve_low, inverse, part * inverse)
        if wide:  # infinite: beyond what any power needs, but no 0·inf with a power of 0
            value = value + value if far else value
            high = high + high if far else high
            low = low + low if far else low
            value = sum_ if sum_ == one / zero else value
            high = <real>1e30 if sum_ == one / zero else high
            low = zero if sum_ == one / zero else low
        if RobustLoss is Robust:
            if wide:
                exponent = exponent_of(<real>0.5 * alpha, zero, high, low, &rest)
            else:
                exponent = exponent_in(<real>0.5 * alpha, zero, high, low, &rest)
            value = mad(b / alpha, expm1_in(exponent, rest, wide), zero)  # no -0
            slope = times_exp(slope, exponent, rest, wide)
            curve = times_exp(curve, exponent, rest, wide)
            if wide:
                value = times_exp_by(one, exponent, rest, b / alpha, wide) if exponent > <real>40 else value
        if wide:
            value = <real>0.5 * x * x if x < <real>1e-9 else value
            exponent = exponent_of(<real>0.5 * alpha_1, <real>0.5 * alpha_1_low, high, low, &rest)
            part = with_sign_of(times_exp(sqrt(b) * (one / c), exponent, rest, wide), z - y)
            slope = part if far else slope
            exponent = exponent_of(<real>0.5 * (alpha - two), <real>0.5 * difference_rest(alpha, two, alpha - two),
                                   high, low, &rest)
            part = times_exp(alpha_1 / c / c, exponent, rest, wide)
            curve = part if far else curve
        loss[0] = value
        gradient[0] = slope
        hessian[0] = curve


# ---- losses of the logarithm, and of distributions -------------------------------------------------------------------

cdef inline void squared_log_error(real y, real z, bint wide, real* loss, real* gradient, real* hessian) noexcept nogil:
    # d = log((1 + z)/(1 + y)), with what rounding took from the sums. Large ones are in a unit that is far from 1.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real infinity = one / zero
    cdef real r = z - y
    cdef real r_low = exact_difference_rest(z, y, r)
    cdef real above = one + z
    cdef real below = one + y
    cdef real above_low = z - (above - one)
    cdef real below_low = y - (below - one)
    cdef real unit = one
    cdef real offset = zero
    cdef real limit, small, shift, k, d, low, inverse, error, slope, curve
    cdef bint far, lowest
    if wide:
        if real is double:
            limit = <double>3.273390607896142e+150  # 2^500
            small = <double>2.409919865102884e-181  # 2^-600
            shift = <double>600
        else:
            limit = <float>1.152921504606847e+18  # 2^60
            small = <float>1.3552527156068805e-20  # 2^-66
            shift = <float>66
        lowest = (z == -one) | (y == infinity)
        far = above > limit
        above_low = zero if far else sum_rest(one, z, above)
        unit = small if far else one
        offset = shift if far else zero
        above = above * unit
        r = r * unit
        r_low = r_low * unit
        far = below > limit
        offset = offset - (shift if far else zero)
        below_low = zero if far else sum_rest(one, y, below)
        below = below * (small if far else one)
    d = log_quotient(above, above_low, below, below_low, r, r_low, offset, &k, &low, &inverse, &error)
    d = plus_log_2(k, d, low)
    slope = (d + d) * inverse
    slope = mad(slope, error, slope) * unit
    inverse = mad(inverse, error, inverse) * unit
    curve = mad(-d, inverse + inverse, inverse + inverse) * inverse
    if wide:
        d = infinity if z == infinity else d
        slope = zero if z == infinity else slope
        curve = zero if z == infinity else curve
        d = infinity if lowest else d
        slope = -infinity if lowest else slope
        curve = infinity if lowest else curve
        d = d if z >= -one else zero / zero
        slope = slope if z >= -one else zero / zero
        curve = curve if z >= -one else zero / zero
    loss[0] = d * d
    gradient[0] = slope
    hessian[0] = curve


cdef inline void poisson(const PoissonLoss* p, real y, real z, bint wide,
                         real* loss, real* gradient, real* hessian) noexcept nogil:
    # Half deviances y·(e^d - 1 - d), d = log(mean/y), near d = 0 without cancellation.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real infinity = one / zero
    cdef real mean, scale, part, d, low, near, value, both, unit
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
        # parts of the mean and of y, if the mean may overflow where a difference does not
        scale = <real>0.5 if wide else one
        part = times_exp(scale, z, -zero, wide)
        mean = part / scale
        if PoissonLoss is Poisson:
            value = mad(-scale * z, y, part) / scale
            if wide:
                value = mean if none else value
                unit = <real>4.76837158203125e-07  # 2^-21
                both = times_exp(unit, z, -zero, wide) - unit * y * z
                both = infinity if z > <real>1000 else both / unit
                value = value if value == value else both  # where both overflow
        else:
            d = log_high(y, &low)
            d = (z - d) - low
            near = d * d * exp_tail(d)
            value = (part - scale * y * (d + one)) / scale
            value = y * near if absolute(d) < <real>0.34 else value
            value = mean if none else value
            if wide:
                value = infinity if mean == infinity else value
        loss[0] = value
        gradient[0] = (part - scale * y) / scale
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
        ratio = times_exp(y, -z, -zero, wide)
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


cdef inline void tweedie(const TweedieLoss* p, real y, real z, const real* parts, bint wide,
                         real* loss, real* gradient, real* hessian) noexcept nogil:
    # With a = 1 - power, b = 2 - power: mean^a·(mean/b - y/a); the half deviance adds y^b/(a·b).
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real power = <real>p.power
    cdef real a = one - power
    cdef real b = <real>2 - power
    cdef real a_low = difference_rest(one, power, a)
    cdef real b_low = difference_rest(<real>2, power, b)
    cdef real ab = a * b
    cdef real mean, mean_a, y_power, value, slope, curve

    if wide:
        tweedie_wide(p, y, z, loss, gradient, hessian)
        return
    if TweedieLoss is TweedieIdentity:
        mean = z
        mean_a = times_power(exp_near_minus_1(parts[2 * <int>PARTS]), parts[3 * <int>PARTS])
        slope = (mean - y) / z
        curve = mad(power, y / z, a) / z
    else:
        mean = exp_in(z, -zero, wide)
        mean_a = exp_product(z, one, power)
        slope = mean - y
        curve = mad(b, mean, mad(-a, y, mad(b_low, mean, -a_low * y)))
    value = mean_a * mad(reciprocal(b, b_low), mean, -reciprocal(a, a_low) * y)
    if TweedieLoss is not Tweedie:
        y_power = times_power(exp_near_minus_1(parts[0]), parts[<int>PARTS])
        y_power = y_power if absolute(y) > zero else zero
        value = mad(reciprocal(ab, product_rest(a, b, ab) + mad(a, b_low, a_low * b)), y_power, value)
        value = zero if value < zero else value
    loss[0] = value
    gradient[0] = mean_a * slope
    hessian[0] = mean_a * curve


cdef inline real reciprocal(real x, real low) noexcept nogil:
    """1/(x + low), for a small |low|."""
    cdef real inverse = <real>1 / x
    return mad(-inverse * inverse, low, inverse)


cdef inline void tweedie_wide(const TweedieLoss* p, real y, real z,
                              real* loss, real* gradient, real* hessian) noexcept nogil:
    # The same as sums of powers. A factor is multiplied into a power before or after it, where it neither overflows nor
    # costs a subnormal number its digits.
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
    linear = times_exp_by(y, exponent, rest, one / a, True)
    if TweedieLoss is not TweedieIdentity:
        linear_slope = times_exp(y, exponent, rest, True)
        linear_curve = times_exp_by(y, exponent, rest, a, True)
        # where both parts of a difference overflow: mean^a times what remains
        mean = exp_in(z, -zero, True)
        unit = <real>9.5367431640625e-07 if absolute(y) > one else <real>1048576.0  # 2^-20, 2^20
        both_value = times_exp_by(unit * mean / b - unit * y / a, exponent, rest, one / unit, True)
        both_slope = times_exp(mean - y, exponent, rest, True)
        both_curve = times_exp_by(unit * mean * b - unit * y * a, exponent, rest, one / unit, True)
    exponent = exponent_of(b, b_low, high, low, &rest)
    value = times_exp_by(one, exponent, rest, one / b, True) - linear
    if TweedieLoss is not TweedieIdentity:
        growing = times_exp(one, exponent, rest, True)
        slope = growing - linear_slope
        curve = times_exp_by(one, exponent, rest, b, True) - linear_curve
        value = value if value == value else both_value
        slope = slope if slope == slope else both_slope
        curve = curve if curve == curve else both_curve
    else:
        exponent = exponent_of(-power, zero, high, low, &rest)
        slope = times_exp(one if z == infinity else z - y, exponent, rest, True)
        # mean^(-1-power)·(a·mean + power·y), the sum neither too large nor subnormal
        unit = <real>0.000244140625 if absolute(a) * z + absolute(power) * y == infinity else one  # 2^-12
        if real is double:
            unit = <double>1152921504606846976.0 if z + y < <double>1e-280 else unit  # 2^60
        else:
            unit = <float>16777216.0 if z + y < <float>1e-30 else unit  # 2^24
        exponent = exponent_of(-one - power, difference_rest(-one, power, -one - power), high, low, &rest)
        curve = times_exp_by(mad(a * unit, z, power * unit * y), exponent, rest, one / unit, True)
        curve = slope if z == infinity else curve  # both 0, or both inf
    if TweedieLoss is not Tweedie:
        high = log_high(absolute(y), &low)
        exponent = exponent_of(b, b_low, high, low, &rest)
        growing = times_exp_by(one, exponent, rest, one / (a * b), True)
        value = value + (growing if absolute(y) > zero else zero)
        value = zero if value < zero else value
        value = value if value == value else infinity
    if TweedieLoss is TweedieIdentity:
        inside = z > zero
        value = value if inside else nan
        slope = slope if inside else nan
        curve = curve if inside else nan
    loss[0] = value
    gradient[0] = slope
    hessian[0] = curve


cdef inline bint is_right_side(real z, real dispersion, bint wide, real* u, real* logarithm) noexcept nogil:
    """Whether u = z + log(dispersion) is positive."""
    cdef real k, low
    cdef real f = mantissa(dispersion, &k) if wide else mantissa_of_normal(dispersion, &k)
    cdef real high = log_parts(k, f, &low)
    u[0] = (z + high) + low
    logarithm[0] = high + low
    return u[0] > <real>0


cdef inline real negative_binomial_exponential(real z, real dispersion, bint wide, real* t) noexcept nogil:
    """e^z, or e^-z on the right side; and t = dispersion·e^z, or its inverse there."""
    cdef real u, logarithm
    cdef bint right_side = is_right_side(z, dispersion, wide, &u, &logarithm)
    cdef real exponential = exp_in(-z if right_side else z, -<real>0, wide)
    cdef real inverse = <real>1 / dispersion
    cdef real inverse_low = remainder(<real>1, dispersion, inverse) * inverse
    cdef real right = mad(inverse, exponential, inverse_low * exponential)
    cdef real left = dispersion * exponential
    t[0] = right if right_side else left
    return exponential


cdef inline void negative_binomial(real y, real z, const real* parts, real dispersion, bint wide,
                                   real* loss, real* gradient, real* hessian) noexcept nogil:
    # With a the dispersion, u = z + log(a) and t = exp(-|u|): softplus(u) = log1p(t) + max(u, 0); what y multiplies is
    # softplus(u) - z, which does not cancel.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real inverse = one / dispersion
    cdef real inverse_low = remainder(one, dispersion, inverse) * inverse
    cdef real exponential = parts[0]
    cdef real t = parts[<int>PARTS]
    cdef real ratio = parts[2 * <int>PARTS]
    cdef real u, high
    cdef bint right_side = is_right_side(z, dispersion, wide, &u, &high)
    # all selects at once, or GCC makes two ways of all that follows, divisions too
    cdef real left_weight = mad(dispersion, y, one)
    cdef real square = mad(inverse, inverse, <real>2 * inverse * inverse_low)
    cdef real right_weight = mad(inverse, y, mad(inverse_low, y, square))
    cdef real weight = right_weight if right_side else left_weight
    cdef real of_mean = inverse if right_side else exponential
    cdef real of_target = t if right_side else one
    cdef real positive = u if right_side else zero
    cdef real distance = high if right_side else -z  # positive - z
    cdef real slope = mad(-y, of_target, of_mean)
    cdef real curve = weight * exponential
    cdef real scale, x, logarithm, value, linear, right, tiny

    if wide:
        scale = inverse if right_side else dispersion
        x = -z if right_side else z
        t = times_exp(scale, x, -zero, wide)
        ratio = t / (t + <real>2)
        right = inverse - times_exp_by(y, x, -zero, scale, wide)
        slope = right if right_side else slope
        curve = times_exp_by(y + inverse, x, -zero, scale, wide)
    logarithm = mad(-ratio, log1p_unit_part(t, ratio), t)
    value = inverse * (logarithm + positive)
    linear = y * (logarithm + distance)
    if wide:
        if real is double:
            tiny = <double>1e-200
        else:
            tiny = <float>1e-30
        value = value if right_side | (t > tiny) else exponential  # where t is subnormal, t/a is coarse
        linear = zero if y == zero else linear
    value = value + linear
    if wide:
        value = value if value == value else one / zero  # inf - inf
    loss[0] = value
    gradient[0] = slope / (one + t)
    hessian[0] = curve / mad(t, t + <real>2, one)


cdef inline void regression_pair(const PairLoss* p, real y, real z, real second, bint wide, real* loss, real* gradient,
                                 real* hessian, real* second_gradient, real* second_hessian) noexcept nogil:
    # mean z, logarithm of the variance s: r²·e^(-s), or (r·e^(-s/2))² where one of them leaves the range of numbers.
    cdef real zero = <real>0
    cdef real half = <real>0.5
    cdef real infinity = <real>1 / zero
    cdef real r = z - y
    cdef real square = half * r * r
    cdef real inverse = exp_in(-second, -zero, wide)
    cdef real error = square * inverse
    cdef real value = mad(square, inverse, mad(half, second, <real>p.constant))
    cdef real slope = mad(-square, inverse, half)
    cdef real least, wide_error, wide_value
    cdef bint inside
    if wide:
        if real is double:
            least = <double>1e-100
        else:
            least = <float>1e-10
        inside = (absolute(r) >= least) & (absolute(r) <= <real>1 / least) & (absolute(second) <= <real>20)
        wide_error = times_exp(r, -half * second, -zero, wide)
        wide_error = half * wide_error * wide_error
        error = error if inside else wide_error
        wide_value = mad(half, second, error) + <real>p.constant
        wide_value = infinity if error == infinity else wide_value  # not inf - inf
        value = value if inside else wide_value
        slope = slope if inside else half - error
    loss[0] = value
    gradient[0] = times_exp(r, -second, -zero, wide)
    hessian[0] = inverse
    second_gradient[0] = slope
    second_hessian[0] = error
