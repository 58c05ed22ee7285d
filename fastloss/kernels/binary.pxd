# Binary losses: y = y_true in [0, 1] (a label -1 arrives as 0), z = y_pred, s = 2y - 1, m = s·z the margin.
# `v` is the parameter that may vary by column.
#
# To add a loss: its parameters as a struct, its name in the fused type, its formula as a branch. NaN in y or z is
# dealt with by the sweep.

from .math cimport absolute, atan_ratio, copysign, exp, exp_sum, log, log1p, log1p_unit, log1p_unit_rest, mad
from .math cimport product_rest, sqrt
from .types cimport real


cdef struct BinaryCrossEntropy:
    double label_smoothing  # v is pos_weight

cdef struct BinaryCrossEntropyProbabilities:
    double label_smoothing  # v is pos_weight
    double eps
    double log_eps

cdef struct BinaryFocal:
    double gamma
    double alpha_positive
    double alpha_negative

cdef struct BinaryFocalSmallPower:
    double gamma  # a whole number from 0 to 7, as products instead of a power: gamma = bit_1 + 2·bit_2 + 4·bit_4
    double bit_1
    double bit_2
    double bit_4
    double alpha_positive
    double alpha_negative

cdef struct BinaryFocalProbabilities:
    double gamma
    double alpha_positive
    double alpha_negative

cdef struct Hinge:
    double margin

cdef struct SharpAlgebraic:
    double epsilon

cdef struct SharpArctan:
    double epsilon


ctypedef fused BinaryLoss:
    BinaryCrossEntropy
    BinaryCrossEntropyProbabilities
    BinaryFocal
    BinaryFocalSmallPower
    BinaryFocalProbabilities
    Hinge
    SharpAlgebraic
    SharpArctan


cdef inline void binary(const BinaryLoss* p, real y, real z, real v,
                        real* loss, real* gradient, real* hessian) noexcept nogil:
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real s = <real>2 * y - one
    cdef real m = s * z

    if BinaryLoss is BinaryCrossEntropy:
        binary_cross_entropy(y, z, v, <real>p.label_smoothing, loss, gradient, hessian)

    elif BinaryLoss is BinaryCrossEntropyProbabilities:
        binary_cross_entropy_probabilities(y, z, v, <real>p.label_smoothing, <real>p.eps, <real>p.log_eps,
                                           loss, gradient, hessian)

    elif BinaryLoss is BinaryFocal or BinaryLoss is BinaryFocalSmallPower:
        binary_focal(p, m, s, <real>p.alpha_positive if y > zero else <real>p.alpha_negative, loss, gradient, hessian)

    elif BinaryLoss is BinaryFocalProbabilities:
        binary_focal_probabilities(y, z, <real>p.gamma,
                                   <real>p.alpha_positive if y > zero else <real>p.alpha_negative,
                                   loss, gradient, hessian)

    elif BinaryLoss is Hinge:
        hinge(m, s, <real>p.margin, loss, gradient, hessian)

    elif BinaryLoss is SharpAlgebraic:
        sharp_algebraic(m, s, <real>p.epsilon, loss, gradient, hessian)

    elif BinaryLoss is SharpArctan:
        sharp_arctan(m, s, <real>p.epsilon, loss, gradient, hessian)


cdef inline void binary_cross_entropy(real y, real z, real pos_weight, real label_smoothing,
                                      real* loss, real* gradient, real* hessian) noexcept nogil:
    # Only positive terms, so nothing cancels: softplus(±z) = log1p(e^-|z|) + max(±z, 0).
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real kept = one - label_smoothing
    cdef real moved = <real>0.5 * label_smoothing
    cdef real positive = pos_weight * mad(y, kept, moved)
    cdef real negative = mad(one - y, kept, moved)
    cdef real a = absolute(z)
    cdef real e = exp(-a)
    cdef real d = one + e
    cdef real wrong = negative if z > zero else positive
    cdef real linear = a * wrong
    cdef real both = positive + negative
    loss[0] = mad(both, log1p_unit(e), linear if wrong > zero else zero)  # not inf·0
    # (1-y)·sigmoid(z) - y·sigmoid(-z)
    gradient[0] = (negative * (one if z > zero else e) - positive * (e if z > zero else one)) / d
    hessian[0] = both * e / (d * d)


cdef inline void binary_cross_entropy_probabilities(real y, real prob, real pos_weight, real label_smoothing, real eps,
                                                    real log_eps, real* loss, real* gradient, real* hessian) noexcept nogil:
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real kept = one - label_smoothing
    cdef real moved = <real>0.5 * label_smoothing
    cdef real positive = pos_weight * mad(y, kept, moved)
    cdef real negative = mad(one - y, kept, moved)
    cdef real rest = one - prob
    cdef real log_prob = log(prob)
    cdef real log_rest = log1p(-prob)
    cdef bint inside = (prob >= zero) & (prob <= one)
    cdef real nan = zero / zero
    # A target of exactly 0 or 1 has one term; the other may be 0·inf.
    cdef bint sloped = (positive > zero) & (prob >= eps)
    cdef bint other_sloped = (negative > zero) & (rest >= eps)
    cdef real term = -positive * (log_eps if prob < eps else log_prob)
    cdef real other_term = -negative * (log_eps if rest < eps else log_rest)
    cdef real slope = positive / prob
    cdef real other_slope = negative / rest
    cdef real curve = slope / prob
    cdef real other_curve = other_slope / rest
    term = term if positive > zero else zero
    other_term = other_term if negative > zero else zero
    slope = slope if sloped else zero
    other_slope = other_slope if other_sloped else zero
    curve = curve if sloped else zero
    other_curve = other_curve if other_sloped else zero
    loss[0] = term + other_term if inside else nan
    gradient[0] = other_slope - slope if inside else nan
    hessian[0] = curve + other_curve if inside else nan


ctypedef fused LogitsFocal:
    BinaryFocal
    BinaryFocalSmallPower


cdef inline void binary_focal(const LogitsFocal* p, real m, real s, real alpha,
                              real* loss, real* gradient, real* hessian) noexcept nogil:
    # q = sigmoid(-m), p_t = sigmoid(m), -log p_t = softplus(-m).
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real gamma = <real>p.gamma
    cdef real a = absolute(m)
    cdef real e = exp(-a)
    cdef real d = one + e
    cdef real rest = log1p_unit_rest(e)
    cdef real log1p_e = e - rest
    cdef real q = (e if m > zero else one) / d
    cdef real p_t = (one if m > zero else e) / d
    cdef real surprise = log1p_e + (zero if m > zero else a)
    # p_t · surprise tends to 0 where p_t does
    cdef real p_surprise = p_t * surprise
    cdef real power, exponent, high, part, low, q2, q4
    p_surprise = p_surprise if p_t > zero else zero

    if LogitsFocal is BinaryFocalSmallPower:
        q2 = q * q
        q4 = q2 * q2
        power = mad(q, <real>p.bit_1, one - <real>p.bit_1)
        power = power * mad(q2, <real>p.bit_2, one - <real>p.bit_2)
        power = power * mad(q4, <real>p.bit_4, one - <real>p.bit_4)
    else:
        # q^gamma = exp(-gamma · softplus(m)), with the exponent in two parts: an error of the exponent is an error of
        # the power, relative to 1.
        a = a if m > zero else zero
        high = a + log1p_e
        part = high - a
        low = ((a - (high - part)) + (log1p_e - part)) + ((e - log1p_e) - rest)
        exponent = -gamma * high
        low = product_rest(-gamma, high, exponent) - gamma * low
        power = exp_sum(exponent, low if exponent > <real>-800 else zero)  # beyond, it is 0 and low may be NaN

    power = alpha * power
    loss[0] = power * surprise
    gradient[0] = -s * power * mad(gamma, p_surprise, q)
    hessian[0] = power * mad(p_t * q, mad(<real>2, gamma, one), gamma * p_surprise * mad(gamma, p_t, -q))


cdef inline void binary_focal_probabilities(real y, real prob, real gamma, real alpha,
                                            real* loss, real* gradient, real* hessian) noexcept nogil:
    # q = 1 - p_t. With b = -log(p_t)/q, which is at least 1:
    # gradient -(gamma·b + 1/p_t)·q^gamma, Hessian (gamma·((gamma-1)·b + 2/p_t)/q + 1/p_t²)·q^gamma.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real nan = zero / zero
    cdef real infinity = one / zero
    cdef real log_prob = log(prob)
    cdef real log_rest = log1p(-prob)
    cdef bint positive = y > zero
    cdef real p_t = prob if positive else one - prob
    cdef real q = one - prob if positive else prob
    cdef real surprise = -(log_prob if positive else log_rest)
    cdef real log_q = log_rest if positive else log_prob
    cdef real power = exp(gamma * log_q)
    cdef real b = surprise / q
    cdef real gamma_b, power_below, slope, curve
    cdef bint inside = (prob >= zero) & (prob <= one)
    b = b if q > zero else one
    power = power if gamma > zero else one
    gamma_b = gamma * b
    gamma_b = gamma_b if gamma > zero else zero
    power_below = power / q
    curve = infinity if gamma < one else (one if gamma == one else zero)  # q^(gamma-1) at 0
    power_below = power_below if q > zero else curve
    power_below = power_below if gamma > zero else zero
    power = alpha * power
    slope = power * (gamma_b + one / p_t)
    slope = -slope if positive else slope
    curve = mad(gamma - one, gamma_b, <real>2 * gamma / p_t)
    curve = mad(alpha * power_below, curve, power / p_t / p_t)
    curve = curve if p_t > zero else infinity
    loss[0] = power * surprise if inside else nan
    gradient[0] = slope if inside else nan
    hessian[0] = curve if inside else nan


cdef inline void hinge(real m, real s, real margin, real* loss, real* gradient, real* hessian) noexcept nogil:
    # With margin 0 the kink takes the slope of the wrong side, so that learning starts from zero.
    cdef real zero = <real>0
    cdef bint active = (m < margin) | ((m == margin) & (margin == zero))
    cdef real short = margin - m
    loss[0] = short if m < margin else zero
    gradient[0] = -s if active else zero
    hessian[0] = zero


cdef inline void sharp_algebraic(real m, real s, real epsilon, real* loss, real* gradient, real* hessian) noexcept nogil:
    # phi(m) = m/h, h = sqrt(m² + epsilon); 1 - phi = epsilon/(h(h + m)) for m > 0, where it would cancel.
    # Very large margins are scaled by c, so that m² does not overflow.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real limit, small, c, t, h, ratio, slope
    if real is double:
        limit = <double>1e150
        small = <double>2.8451311993408992e-160  # 2^-530
    else:
        limit = <float>1e18
        small = <float>1.3552527156068805e-20  # 2^-66
    c = small if absolute(m) > limit else one
    t = m * c
    h = sqrt(mad(t, t, epsilon * c * c))
    ratio = epsilon * c / (h * (h + absolute(t))) * c
    loss[0] = ratio if m > zero else <real>2 - ratio
    slope = epsilon * c / (h * h) * c / h * c
    gradient[0] = -s * slope
    hessian[0] = <real>3 * slope * (t / h) / h * c


cdef inline void sharp_arctan(real m, real s, real epsilon, real* loss, real* gradient, real* hessian) noexcept nogil:
    # phi(m) = 2/pi·atan(m/epsilon); 1 - phi = 2/pi·atan(epsilon/m) for m > 0, where it would cancel.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real two_over_pi = <real>0.6366197723675814
    cdef real a = absolute(m)
    cdef bint inner = a <= epsilon
    cdef real larger = epsilon if inner else a
    cdef real t = (a if inner else epsilon) / larger
    cdef real angle = two_over_pi * atan_ratio(epsilon if m > zero else a, a if m > zero else epsilon)
    cdef real slope = two_over_pi * (one if inner else t) / larger / mad(t, t, one)
    loss[0] = angle if m > zero else one + angle
    gradient[0] = -s * slope
    t = (t if inner else one) / mad(t, t, one)
    hessian[0] = copysign(<real>2 * slope * t / larger, m)
