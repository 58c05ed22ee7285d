# Binary losses: y = y_true in [0, 1] or -1, which counts as 0; z = y_pred, m = ±z the margin.
# `v` is the parameter that may vary by column.
#
# To add a loss: its parameters as a struct, its name in the fused type, its formula as a branch. NaN in z is dealt
# with by the sweep, but for NaNPassingLoss.

from .math cimport (
    absolute, atan_tail, difference_rest, exp_in, exp_lifted_sum, kept_if, log, log1p, log1p_unit, log1p_unit_rest,
    log_high, log_reduced, mad, mantissa_sum, positive_part, power_of, product_rest, reciprocal_power, smallest, sqrt,
    times_two_over_pi, unit_reciprocal, unlift, with_sign_times,
)
from .types cimport real


cdef struct BinaryCrossEntropy:
    double _

cdef struct BinaryCrossEntropyAdjusted:
    double label_smoothing  # v is pos_weight

cdef struct BinaryCrossEntropyProbabilities:
    double label_smoothing  # v is pos_weight
    double eps
    double log_eps

cdef struct BinaryFocal:
    double gamma_positive
    double gamma_negative
    double alpha_positive
    double alpha_negative

cdef struct BinaryFocalSmallPower:
    double gamma  # a whole number from 0 to 4, as products instead of a power: gamma = bit_1 + 2·bit_2 + 4·bit_4
    double bit_1
    double bit_2
    double bit_4
    double alpha_positive
    double alpha_negative

cdef struct BinaryFocalProbabilities:
    double gamma
    double alpha_positive
    double alpha_negative

cdef struct AsymmetricFocal:
    double gamma_positive
    double gamma_negative
    double clip  # above 0: without, it is BinaryFocal

cdef struct Hinge:
    double margin

cdef struct SquaredHinge:
    double margin

cdef struct ModifiedHuber:
    double _

cdef struct Exponential:
    double _

cdef struct SharpAlgebraic:
    double epsilon

cdef struct SharpArctan:
    double epsilon

# Of distances and dissimilarities (the classes are in embedding.py): a label of 1 says that a pair is alike.
cdef struct Contrastive:
    double margin

cdef struct HingeEmbedding:
    double margin


# Made of e = exp(-|z|), which the sweep computes in a loop of its own; `lifted` is the same lifted (see math.pxd).
ctypedef fused LogitsLoss:
    BinaryCrossEntropy
    BinaryCrossEntropyAdjusted
    BinaryFocal
    BinaryFocalSmallPower
    AsymmetricFocal

# As fast as memory.
ctypedef fused LightMarginLoss:
    Hinge
    SquaredHinge
    ModifiedHuber
    Contrastive
    HingeEmbedding

# These let a NaN of z through by themselves.
ctypedef fused NaNPassingLoss:
    BinaryCrossEntropy
    BinaryCrossEntropyAdjusted
    BinaryFocal
    BinaryFocalSmallPower
    Exponential
    SharpArctan

ctypedef fused BinaryLoss:
    BinaryCrossEntropy
    BinaryCrossEntropyAdjusted
    BinaryCrossEntropyProbabilities
    BinaryFocal
    BinaryFocalSmallPower
    BinaryFocalProbabilities
    AsymmetricFocal
    Hinge
    SquaredHinge
    ModifiedHuber
    Exponential
    SharpAlgebraic
    SharpArctan
    Contrastive
    HingeEmbedding


cdef inline void binary(const BinaryLoss* p, real y, real z, real v, real lifted, real e, bint wide,
                        real* loss, real* gradient, real* hessian) noexcept nogil:
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef bint positive = y > zero
    cdef real label = positive_part(y)
    # signs by their bits: of both sides of a select GCC would compute all that follows
    cdef real sign = one if positive else -one
    cdef real m = with_sign_times(z, sign)
    cdef real soft_positive, soft_negative, alpha
    cdef real kept, moved, wrong, right
    cdef bint far

    if BinaryLoss is BinaryCrossEntropy:
        binary_cross_entropy(z, e, lifted, label, one - label, one, loss, gradient, hessian)

    elif BinaryLoss is BinaryCrossEntropyAdjusted:
        soft_positive = smoothed(label, <real>p.label_smoothing)
        soft_negative = smoothed(one - label, <real>p.label_smoothing)
        binary_cross_entropy(z, e, lifted, v * soft_positive, soft_negative, mad(v, soft_positive, soft_negative),
                             loss, gradient, hessian)

    elif BinaryLoss is BinaryCrossEntropyProbabilities:
        binary_cross_entropy_probabilities(label, z, v, <real>p.label_smoothing, <real>p.eps, <real>p.log_eps,
                                           loss, gradient, hessian)

    elif BinaryLoss is BinaryFocal:
        alpha = <real>p.alpha_positive if positive else <real>p.alpha_negative
        kept = <real>p.gamma_positive if positive else <real>p.gamma_negative
        right = softplus_high(m, e, &wrong)
        binary_focal(m, e, lifted, positive, kept, alpha * focal_power(-kept, right, wrong), loss, gradient, hessian)

    elif BinaryLoss is BinaryFocalSmallPower:
        alpha = <real>p.alpha_positive if positive else <real>p.alpha_negative
        binary_focal(m, e, lifted, positive, <real>p.gamma,
                     alpha * focal_small_power(m, e, <real>p.bit_1, <real>p.bit_2, <real>p.bit_4),
                     loss, gradient, hessian)

    elif BinaryLoss is BinaryFocalProbabilities:
        alpha = <real>p.alpha_positive if positive else <real>p.alpha_negative
        binary_focal_probabilities(z, positive, <real>p.gamma, alpha, loss, gradient, hessian)

    elif BinaryLoss is AsymmetricFocal:
        asymmetric_focal(z, e, lifted, positive, <real>p.gamma_positive, <real>p.gamma_negative, <real>p.clip,
                         loss, gradient, hessian)

    elif BinaryLoss is Hinge:
        hinge(m, sign, <real>p.margin, loss, gradient, hessian)

    elif BinaryLoss is SquaredHinge:
        wrong = <real>p.margin - m
        right = positive_part(wrong)
        loss[0] = right * right
        gradient[0] = with_sign_times(<real>-2 * right, sign)
        hessian[0] = <real>2 if wrong > zero else zero

    elif BinaryLoss is ModifiedHuber:
        wrong = one - m
        right = positive_part(wrong)
        far = m < -one
        moved = <real>-4 if far else <real>-2 * right
        loss[0] = <real>-4 * m if far else right * right
        gradient[0] = with_sign_times(moved, sign)
        hessian[0] = <real>2 if (wrong > zero) & (not far) else zero

    elif BinaryLoss is Exponential:
        kept = -one if positive else one
        moved = exp_in(with_sign_times(z, kept), -zero, wide)
        loss[0] = moved
        gradient[0] = with_sign_times(moved, kept)
        hessian[0] = moved

    elif BinaryLoss is SharpAlgebraic:
        sharp_algebraic(m, positive, <real>p.epsilon, loss, gradient, hessian)

    elif BinaryLoss is SharpArctan:
        sharp_arctan(m, positive, <real>p.epsilon, loss, gradient, hessian)

    elif BinaryLoss is Contrastive:
        wrong = <real>p.margin - z
        right = wrong if wrong > zero else zero
        moved = z if positive else -right
        loss[0] = (<real>0.5 * moved) * moved
        gradient[0] = moved
        hessian[0] = one if positive | (wrong > zero) else zero

    elif BinaryLoss is HingeEmbedding:
        wrong = <real>p.margin - z
        right = wrong if wrong > zero else zero
        kept = -one if wrong > zero else zero
        loss[0] = z if positive else right
        gradient[0] = one if positive else kept
        hessian[0] = zero


cdef inline real smoothed(real share, real label_smoothing) noexcept nogil:
    """share·(1 - label_smoothing) + label_smoothing/2, rounded once."""
    return mad(label_smoothing, <real>0.5 - share, share)


cdef inline void binary_cross_entropy(real z, real e, real lifted, real positive, real negative, real both,
                                      real* loss, real* gradient, real* hessian) noexcept nogil:
    # positive·softplus(-z) + negative·softplus(z), with softplus(±z) = log1p(e^-|z|) + max(±z, 0): no term cancels.
    # Its slope is (high + low·e)/(1 + e), for high the slope far out on z's side of 0, low on the other.
    cdef real zero = <real>0
    cdef real minus = -positive
    cdef real one = <real>1
    cdef real high, low, curved, straight, bent
    if z >= zero:
        high, low = negative, minus
    else:
        high, low = minus, negative
    curved = both * log1p_unit(e)
    straight = mad(z, high, curved)
    loss[0] = curved if high == zero else straight  # not inf·0
    gradient[0] = mad(low, e, high) / (one + e)
    # e may be subnormal, and multiplied by a large weight
    bent = lifted / mad(e, e + <real>2, one)
    hessian[0] = unlift(both) * bent if both > <real>1 else unlift(both * bent)


cdef inline void binary_cross_entropy_probabilities(
    real y, real prob, real pos_weight, real label_smoothing, real eps, real log_eps,
    real* loss, real* gradient, real* hessian,
) noexcept nogil:
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real positive = pos_weight * smoothed(y, label_smoothing)
    cdef real negative = smoothed(one - y, label_smoothing)
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


cdef inline real focal_small_power(real m, real e, real bit_1, real bit_2, real bit_4) noexcept nogil:
    """sigmoid(-m)^gamma for gamma = bit_1 + 2·bit_2 + 4·bit_4 up to 4, from e = exp(-|m|)."""
    cdef real one = <real>1
    cdef real q = (e if m > <real>0 else one) * unit_reciprocal(e)
    cdef real q2 = q * q
    cdef real power = q if bit_1 > <real>0 else one
    power = power * q2 if bit_2 > <real>0 else power
    return q2 * q2 if bit_4 > <real>0 else power


cdef inline real softplus_high(real m, real e, real* low) noexcept nogil:
    """log(1 + exp(m)) = high + low, to some more bits than one number holds, from e = exp(-|m|)."""
    cdef real rest = log1p_unit_rest(e)
    cdef real log1p_e, a, high, part
    log1p_e = e - rest
    a = m if m > <real>0 else <real>0
    a = a if a < <real>1e30 else <real>1e30  # beyond what any power needs, but no 0·inf with a power of 0
    high = a + log1p_e
    part = high - a
    low[0] = ((a - (high - part)) + (log1p_e - part)) + ((e - log1p_e) - rest)
    return high


cdef inline real focal_power(real gamma, real high, real low) noexcept nogil:
    """exp(gamma·(high + low)), where that is at most 1."""
    cdef real exponent = gamma * high
    return unlift(exp_lifted_sum(exponent, mad(gamma, low, product_rest(gamma, high, exponent))))


cdef inline void binary_focal(real m, real e, real lifted, bint positive, real gamma, real power,
                              real* loss, real* gradient, real* hessian) noexcept nogil:
    # q = sigmoid(-m), p_t = sigmoid(m), -log p_t = softplus(-m); power is alpha·q^gamma. NaN comes through.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef bint right_side = m > zero
    cdef real a = absolute(m)
    cdef real reciprocal = unit_reciprocal(e)
    cdef real q = (e if right_side else one) * reciprocal
    cdef real p_t = (one if right_side else e) * reciprocal
    cdef real surprise = log1p_unit(e) + (zero if right_side else a)
    cdef real slope, curve, bounded
    bounded = power * surprise
    loss[0] = zero if power == zero else bounded  # not 0·inf
    slope = mad(gamma * p_t, surprise, q)
    slope = power * (q if p_t == zero else slope)
    gradient[0] = -slope if positive else slope
    # p_t may be subnormal and multiplied by a large curve; the bound keeps inf·0 away
    bounded = <real>1000 if surprise > <real>1000 else surprise
    curve = mad(q, mad(<real>2, gamma, one), gamma * bounded * mad(gamma, p_t, -q))
    hessian[0] = power * curve * p_t if right_side else unlift(power * curve * lifted * reciprocal)


cdef inline void binary_focal_probabilities(real prob, bint positive, real gamma, real alpha,
                                            real* loss, real* gradient, real* hessian) noexcept nogil:
    # q = 1 - p_t. With b = -log(p_t)/q, which is at least 1:
    # gradient -(gamma·b + 1/p_t)·q^gamma, Hessian gamma·((gamma-1)·b + 2/p_t)·q^(gamma-1) + q^gamma/p_t².
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real nan = zero / zero
    cdef real infinity = one / zero
    cdef bint inside = (prob >= zero) & (prob <= one)
    cdef real log_prob = log(prob)
    cdef real log_rest = log1p(-prob)
    cdef real p_t = prob if positive else one - prob
    cdef real q = one - prob if positive else prob
    cdef real surprise = -(log_prob if positive else log_rest)
    cdef real b = surprise / q if q > zero else one
    cdef real low
    cdef real log_q = log_high(q, &low)
    cdef real power = power_of(gamma, zero, log_q, low)
    # the square root of q^(gamma-1): multiplied in twice, so that it does not underflow before the curve is large
    cdef real half = <real>0.5
    cdef real root = power_of(half * (gamma - one), half * difference_rest(gamma, one, gamma - one), log_q, low)
    cdef real gamma_b = gamma * b
    cdef real slope, curve
    # Limits at q = 0 (0 < gamma), at p_t = 0 (b is inf), and without focus (gamma = 0).
    power = power if q > zero else zero
    power = power if gamma > zero else one
    root = root if q > zero else (infinity if gamma < one else (one if gamma == one else zero))
    root = root if gamma > zero else zero
    gamma_b = gamma_b if gamma > zero else zero
    power = alpha * power
    slope = mad(power, gamma_b, power / p_t)
    slope = slope if power > zero else zero  # not 0·inf
    surprise = power * surprise if power > zero else zero
    curve = mad(gamma - one, gamma_b, <real>2 * gamma / p_t)
    curve = mad(alpha * root * curve, root, power / p_t / p_t) if p_t > zero else infinity
    curve = curve if alpha > zero else zero
    loss[0] = surprise if inside else nan
    gradient[0] = (-slope if positive else slope) if inside else nan
    hessian[0] = curve if inside else nan


cdef inline void asymmetric_focal(real z, real e, real lifted, bint positive, real gamma_positive, real gamma_negative,
                                  real clip, real* loss, real* gradient, real* hessian) noexcept nogil:
    # Positives as in the focal loss. For negatives, with p = sigmoid(z), q = 1 - p, s = p - clip above 0 and
    # b = -log(1 - s)/s: first derivative by p s^gamma·(gamma·b + 1/(1 - s)), second s^gamma times
    # gamma·((gamma - 1)·b + 2/(1 - s))/s + 1/(1 - s)².
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef bint right_side = z >= zero
    cdef real kept = one - clip
    cdef real reciprocal = unit_reciprocal(e)
    cdef real p = (one if right_side else e) * reciprocal
    cdef real q = (e if right_side else one) * reciprocal
    cdef real s = (mad(-clip, e, kept) if right_side else mad(e, kept, -clip)) * reciprocal
    cdef bint active = s > zero
    cdef bint near = s < <real>0.5
    cdef real rest = q + clip  # 1 - s
    cdef real complement = one - s
    cdef real k, low, softplus_low, f, surprise, high, softplus, power, b, both, first, second, slope, curve
    cdef real positive_loss, positive_gradient, positive_hessian
    f = mantissa_sum(complement if near else rest, (one - complement) - s if near else zero, zero, &k, &low)
    surprise = -log_reduced(k, f)
    # one exponential for both labels
    high = log_high(s, &low)
    softplus = softplus_high(z, e, &softplus_low)
    power = focal_power(-gamma_positive if positive else gamma_negative, softplus if positive else high,
                        softplus_low if positive else low)
    b = gamma_negative * (surprise / s)
    first = power * (b + one / rest)
    second = power * (((gamma_negative - one) * b + <real>2 * gamma_negative / rest) / s + one / rest / rest)
    # p·q may be subnormal, and multiplied by a large derivative
    both = lifted / mad(e, e + <real>2, one)
    slope = unlift(first * both)
    curve = unlift(mad(second, unlift(both), first * (q - p)) * both)
    binary_focal(z, e, lifted, True, gamma_positive, power, &positive_loss, &positive_gradient, &positive_hessian)
    surprise = power * surprise if active else zero
    slope = slope if active else zero
    curve = curve if active else zero
    loss[0] = positive_loss if positive else surprise
    gradient[0] = positive_gradient if positive else slope
    hessian[0] = positive_hessian if positive else curve


cdef inline void hinge(real m, real sign, real margin, real* loss, real* gradient, real* hessian) noexcept nogil:
    # With margin 0 the kink takes the slope of the wrong side, so that learning starts from zero: m <= 0 is m below the
    # smallest number.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real threshold = margin if margin > zero else smallest(zero)
    cdef bint active = m < threshold
    cdef real short = margin - m
    loss[0] = short if active else zero
    cdef real slope = one if active else zero
    gradient[0] = with_sign_times(-slope, sign)
    hessian[0] = zero


cdef inline void sharp_algebraic(real m, bint positive, real epsilon,
                                 real* loss, real* gradient, real* hessian) noexcept nogil:
    # phi(m) = m/h, h² = m² + epsilon; 1 - phi = epsilon/(h² + h·m) for m > 0, where it would cancel.
    # Very large margins are scaled by c, so that m² does not overflow; the Hessian rounds once below the normal range.
    cdef real zero = <real>0
    cdef real one = <real>1
    cdef real limit, small, up, down, c, t, square, h, ratio, slope, factor, part, rest
    if real is double:
        limit = <double>1e150
        small = <double>2.8451311993408992e-160  # 2^-530
        up = <double>1152921504606846976.0  # 2^60
        down = <double>8.673617379884035e-19
    else:
        limit = <float>1e18
        small = <float>1.3552527156068805e-20  # 2^-66
        up = <float>16777216.0  # 2^24
        down = <float>5.960464477539063e-08
    c = small if absolute(m) > limit else one
    t = m * c
    square = mad(t, t, epsilon * c * c)
    h = sqrt(square)
    ratio = epsilon * c / mad(h, absolute(t), square) * c
    loss[0] = ratio if m > zero else <real>2 - ratio
    slope = epsilon * c / square / h * c * c
    gradient[0] = -slope if positive else slope
    # 3·epsilon·m/h⁵: what rounding took from 3·epsilon and from m² + epsilon goes back in
    factor = <real>3 * epsilon
    ratio = t * up / square
    ratio = mad(ratio, factor, ratio * product_rest(<real>3, epsilon, factor))
    part = square - epsilon * c * c
    rest = (t * t - part) + product_rest(t, t, t * t) + (epsilon * c * c - (square - part))
    ratio = mad(ratio, <real>-2.5 * rest / square, ratio)
    ratio = ratio * c / square * c / h * c * c * down
    hessian[0] = ratio if slope > zero else zero  # inf/inf at infinite margins


cdef inline void sharp_arctan(real m, bint positive, real epsilon,
                              real* loss, real* gradient, real* hessian) noexcept nogil:
    # phi(m) = 2/pi·atan(m/epsilon). 1 - phi is 2/pi·atan(t) + 0, 1/2 or 1 for m > 0, and 2 less that for m < 0: nothing
    # cancels. Slope 2/pi·epsilon/square, square = m² + epsilon², Hessian 4/pi·epsilon·m/square². All is scaled by c, a
    # power of 2, so that products stay in range.
    cdef real zero = <real>0
    cdef real half = <real>0.5
    cdef real one = <real>1
    cdef real a = absolute(m)
    cdef bint far = a > <real>2.414213562373095 * epsilon
    cdef bint near = a < <real>0.41421356237309503 * epsilon
    cdef real factor = <real>times_two_over_pi(<double>epsilon, 0.0)
    cdef real least = epsilon
    cdef real c, b, scaled, a_square, b_square, square, numerator, denominator, t, angle, straight, base, slope
    cdef real part, rest
    if real is float:
        least = <float>1.1754944e-38 if least < <float>1.1754944e-38 else least
    c = reciprocal_power(a if a > least else least)
    b = epsilon * c
    scaled = a * c
    a = one if a == one / zero else scaled
    a_square = a * a
    b_square = b * b
    square = a_square + b_square
    numerator = kept_if(not near, b) - kept_if(not far, a)
    denominator = kept_if(not near, a) + kept_if(not far, b)
    t = numerator / denominator
    angle = times_two_over_pi(t, atan_tail(t))
    straight = kept_if(not near, half) + kept_if(far, half)
    loss[0] = (one - with_sign_times(straight, m)) + with_sign_times(angle, m)
    base = factor * c / square
    slope = base * c
    gradient[0] = -slope if positive else slope
    # what rounding took from the square goes back in, twice
    part = square - a_square
    rest = (a_square - (square - part)) + (b_square - part)
    rest = rest + (product_rest(a, a, a_square) + product_rest(b, b, b_square))
    slope = mad(base, <real>-2 * rest / square, base) * c
    hessian[0] = with_sign_times((slope + slope) * (a * c) / square, m)
