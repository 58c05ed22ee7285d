# exp, log and friends as branch-free inline functions that the compiler vectorises: libm is scalar, and costs ten
# times as much. One source for both dtypes and every ISA. Polynomials are minimax fits (Sollya's fpminimax; in
# log_quotient_tail a Remez exchange), sums that lose digits are arranged so that the exact term comes last.
#
# Each function states its domain and its largest known error, in ulp of the correctly rounded result over all ISAs,
# with the argument where it was seen. tests/test_math.py reads these lines, and fails when a number is too low or
# too high. Arguments outside the domain give NaN unless a line says otherwise; NaN gives NaN.

from .types cimport real

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "bits.h" nogil:
    double fastloss_f64_from_bits(uint64_t bits)
    uint64_t fastloss_bits_from_f64(double x)
    float fastloss_f32_from_bits(uint32_t bits)
    uint32_t fastloss_bits_from_f32(float x)
    double fastloss_mad_f64(double a, double b, double c)
    float fastloss_mad_f32(float a, float b, float c)
    double fastloss_sqrt_f64(double x)
    float fastloss_sqrt_f32(float x)
    const bint FASTLOSS_FUSED


# 1.5·2^52 and 1.5·2^23: adding one rounds to a whole number, and leaves it in the low bits.
cdef enum:
    MAGIC_F64 = 6755399441055744
    MAGIC_F32 = 12582912


cdef inline real mad(real a, real b, real c) noexcept nogil:
    """a·b + c, with one rounding where the ISA has the instruction."""
    if real is float:
        return fastloss_mad_f32(a, b, c)
    else:
        return fastloss_mad_f64(a, b, c)


cdef inline real sqrt(real x) noexcept nogil:
    if real is float:
        return fastloss_sqrt_f32(x)
    else:
        return fastloss_sqrt_f64(x)


cdef inline real absolute(real x) noexcept nogil:
    """|x|, also of -0 and NaN, by clearing the sign bit."""
    if real is float:
        return fastloss_f32_from_bits(fastloss_bits_from_f32(x) & <uint32_t>0x7fffffff)
    else:
        return fastloss_f64_from_bits(fastloss_bits_from_f64(x) & <uint64_t>0x7fffffffffffffff)


cdef inline real smallest(real unused) noexcept nogil:
    """The smallest positive number, subnormal."""
    if real is float:
        return fastloss_f32_from_bits(<uint32_t>1)
    else:
        return fastloss_f64_from_bits(<uint64_t>1)


cdef inline real kept_if(bint condition, real x) noexcept nogil:
    """x if condition else 0. Several such selects may make branches of conditional expressions; of bits they do not."""
    if real is float:
        return fastloss_f32_from_bits(fastloss_bits_from_f32(x) & (<uint32_t>0 - <uint32_t>condition))
    else:
        return fastloss_f64_from_bits(fastloss_bits_from_f64(x) & (<uint64_t>0 - <uint64_t>condition))


cdef inline real positive_part(real x) noexcept nogil:
    """x if x > 0 else 0, and NaN for one without a sign: as whole numbers, since GCC would compute all that follows
    with both sides of a select."""
    if real is float:
        return fastloss_f32_from_bits(max(<int32_t>fastloss_bits_from_f32(x), <int32_t>0))
    else:
        return fastloss_f64_from_bits(max(<int64_t>fastloss_bits_from_f64(x), <int64_t>0))


cdef inline real reciprocal_power(real x) noexcept nogil:
    """A power of 2, c, with 2 <= c·x < 4, for a normal x > 0; 0 for inf."""
    if real is float:
        return fastloss_f32_from_bits(~fastloss_bits_from_f32(x) & <uint32_t>0x7f800000)
    else:
        return fastloss_f64_from_bits(~fastloss_bits_from_f64(x) & <uint64_t>0x7ff0000000000000)


cdef inline real with_sign_of(real x, real sign) noexcept nogil:
    """|x| with the sign of `sign`; x must not be negative."""
    if real is float:
        return fastloss_f32_from_bits(
            fastloss_bits_from_f32(x) | (fastloss_bits_from_f32(sign) & <uint32_t>0x80000000))
    else:
        return fastloss_f64_from_bits(
            fastloss_bits_from_f64(x) | (fastloss_bits_from_f64(sign) & <uint64_t>0x8000000000000000))


cdef inline real smaller_of(real a, real b) noexcept nogil:
    """The smaller of two numbers that are not negative: as integers, which GCC never makes a branch of."""
    if real is float:
        return fastloss_f32_from_bits(min(fastloss_bits_from_f32(a), fastloss_bits_from_f32(b)))
    else:
        return fastloss_f64_from_bits(min(fastloss_bits_from_f64(a), fastloss_bits_from_f64(b)))


cdef inline real with_sign_times(real x, real sign) noexcept nogil:
    """x, or -x where the sign bit of `sign` is set."""
    if real is float:
        return fastloss_f32_from_bits(
            fastloss_bits_from_f32(x) ^ (fastloss_bits_from_f32(sign) & <uint32_t>0x80000000))
    else:
        return fastloss_f64_from_bits(
            fastloss_bits_from_f64(x) ^ (fastloss_bits_from_f64(sign) & <uint64_t>0x8000000000000000))


cdef inline real unit_of(real x) noexcept nogil:
    """A power of 2 that brings a normal x > 0 to between 1/4 and 1."""
    # an odd exponent: no 0 for a subnormal x
    if real is double:
        return <double>0.5 / fastloss_f64_from_bits(
            (fastloss_bits_from_f64(x) & <uint64_t>0x7ff0000000000000) | <uint64_t>0x0010000000000000)
    else:
        return <float>0.5 / fastloss_f32_from_bits(
            (fastloss_bits_from_f32(x) & <uint32_t>0x7f800000) | <uint32_t>0x00800000)


# Σ c_i·x^i: even and odd powers apart, which halves the chain of dependent steps for one more multiplication.

cdef inline real polynomial3(real x, real c0, real c1, real c2) noexcept nogil:
    return mad(mad(c2, x, c1), x, c0)


cdef inline real polynomial4(real x, real c0, real c1, real c2, real c3) noexcept nogil:
    cdef real x2 = x * x
    return mad(mad(c3, x2, c1), x, mad(c2, x2, c0))


cdef inline real polynomial5(real x, real c0, real c1, real c2, real c3, real c4) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(c4, x2, c2), x2, c0)
    return mad(mad(c3, x2, c1), x, even)


cdef inline real polynomial6(real x, real c0, real c1, real c2, real c3, real c4, real c5) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(c4, x2, c2), x2, c0)
    return mad(mad(mad(c5, x2, c3), x2, c1), x, even)


cdef inline real polynomial7(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(mad(c6, x2, c4), x2, c2), x2, c0)
    return mad(mad(mad(c5, x2, c3), x2, c1), x, even)


cdef inline real polynomial8(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6,
                             real c7) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(mad(c6, x2, c4), x2, c2), x2, c0)
    return mad(mad(mad(mad(c7, x2, c5), x2, c3), x2, c1), x, even)


cdef inline real polynomial10(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6, real c7, real c8,
                              real c9) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(mad(mad(c8, x2, c6), x2, c4), x2, c2), x2, c0)
    cdef real odd = mad(mad(mad(mad(c9, x2, c7), x2, c5), x2, c3), x2, c1)
    return mad(odd, x, even)


cdef inline real polynomial11(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6, real c7, real c8,
                              real c9, real c10) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(mad(mad(mad(c10, x2, c8), x2, c6), x2, c4), x2, c2), x2, c0)
    cdef real odd = mad(mad(mad(mad(c9, x2, c7), x2, c5), x2, c3), x2, c1)
    return mad(odd, x, even)


# exp(x)        domain [-inf, inf]
#   float64     max 0.97 ulp at -0x1.f5d61f023db4p+5
#   float32     max 0.99 ulp at 0x1.28ab9p+5
cdef inline real exp(real x) noexcept nogil:
    return exp_sum(x, <real>0)


cdef inline real exp_sum(real x, real low) noexcept nogil:
    """exp(x + low) for a small |low|: an exponent in two parts, so that powers keep their digits."""
    cdef real first, second
    cdef real q = exp_parts(x, low, &first, &second)
    return (<real>1 + q) * first * second


cdef inline real exp_parts(real x, real low, real* first, real* second) noexcept nogil:
    """q with exp(x + low) = (1 + q)·first·second, the factors powers of two."""
    # 2^k is multiplied in: added to the exponent bits it would turn a NaN into a number. Two factors, 2^(k//2) and
    # 2^(k - k//2), so that results below the normal range are rounded once, and k = 1024 is no overflow yet; the clamp
    # keeps k within what they can say.
    cdef real shifted, q
    cdef uint64_t half64
    cdef uint32_t half32
    if real is double:
        x = <double>-746 if x < <double>-746 else x
        x = <double>710 if x > <double>710 else x
        q = exp_reduced_minus_1(x, low, <double>2046, &shifted)
        half64 = fastloss_bits_from_f64(shifted) >> 1
        first[0] = fastloss_f64_from_bits(half64 << 52)
        second[0] = fastloss_f64_from_bits((fastloss_bits_from_f64(shifted) - half64) << 52)
    else:
        x = <float>-104 if x < <float>-104 else x
        x = <float>89 if x > <float>89 else x
        q = exp_reduced_minus_1(x, low, <float>254, &shifted)
        half32 = fastloss_bits_from_f32(shifted) >> 1
        first[0] = fastloss_f32_from_bits(half32 << 23)
        second[0] = fastloss_f32_from_bits((fastloss_bits_from_f32(shifted) - half32) << 23)
    return q


# expm1(x)      domain [-inf, inf]
#   float64     max 1.84 ulp at 0x1.9bd33b272de9p-2
#   float32     max 2.02 ulp at 0x1.646afap-2
cdef inline real expm1(real x) noexcept nogil:
    return expm1_sum(x, <real>0)


cdef inline real expm1_sum(real x, real low) noexcept nogil:
    """exp(x + low) - 1 for a small |low|, without cancellation."""
    cdef real first, second, power, q, whole
    q = exp_parts(x, low, &first, &second)
    power = first * second
    whole = power * q
    # 2^k·(1 + q) - 1; beyond 2^53 the 1 does not count, and 2^k may be inf while the result is not
    return (power - <real>1) + whole if x < <real>40 else (<real>1 + q) * first * second


# `wide` tells what can be: False promises that neither exp(x), nor a product with it, is beyond the normal range. The
# bits are the same, in half the time. The exponential is within 1.2 ulp; a low of -0 costs nothing.

cdef inline real exp_in(real x, real low, bint wide) noexcept nogil:
    """exp(x + low) for a small |low|."""
    return times_exp(<real>1, x, low, wide)


cdef inline real exp_biased(real x, real low, real bias) noexcept nogil:
    """exp(x + low)·2^(bias - 1023) (float32: 127), where that is within the normal range; NaN gives NaN."""
    cdef real shifted
    cdef real q = exp_reduced_minus_1(x, low, bias, &shifted)
    return times_power(q, shifted)


cdef inline real expm1_in(real x, real low, bint wide) noexcept nogil:
    """exp(x + low) - 1 for a small |low|, without cancellation."""
    cdef real shifted, q, power
    if wide:
        return expm1_sum(x, low)
    q = exp_reduced_minus_1(x, low, <real>0, &shifted)
    if real is double:
        power = fastloss_f64_from_bits((fastloss_bits_from_f64(shifted) << 52) + <uint64_t>0x3ff0000000000000)
    else:
        power = fastloss_f32_from_bits((fastloss_bits_from_f32(shifted) << 23) + <uint32_t>0x3f800000)
    return mad(power, q, power - <real>1)


cdef inline real times_exp(real y, real x, real low, bint wide) noexcept nogil:
    """y·exp(x + low) for a small |low|, also where exp(x) alone would overflow or vanish."""
    # exp(r) comes last: what is subnormal on the way to a larger result must still be exact.
    cdef real f, g, r, shifted
    if wide:
        r = exp_quarters(x, low, &f, &g)
        return y * f * f * f * g * r
    r = exp_plain_minus_1(x, low, magic_of_power(x), &shifted)
    return y * times_power(r, shifted)


cdef inline real times_exp_by(real y, real x, real low, real factor, bint wide) noexcept nogil:
    """y·exp(x + low)·factor, for a normal factor that is not 0."""
    # Its power of 2 joins the other powers of 2. A large y meets the smallest first, a small y the largest.
    cdef real f, g, r, scale, least, most
    cdef bint large
    if not wide:
        return y * (exp_in(x, low, False) * factor)
    r = exp_quarters(x, low, &f, &g)
    large = absolute(y) > <real>1
    if real is double:
        scale = fastloss_f64_from_bits(fastloss_bits_from_f64(factor) & <uint64_t>0x7ff0000000000000)
    else:
        scale = fastloss_f32_from_bits(fastloss_bits_from_f32(factor) & <uint32_t>0x7f800000)
    g = g * scale
    least = f if f < g else g
    most = g if f < g else f
    return y * (least if large else most) * f * f * (most if large else least) * (r * (factor / scale))


cdef inline real exp_quarters(real x, real low, real* quarter, real* last) noexcept nogil:
    """r with exp(x + low) = quarter³·last·r, powers of 2 but for r, which is above 1."""
    # Four factors reach as far as the largest number over the smallest. Since r is not below 1, no product with the
    # powers overflows before the result does. The magic is odd, as magic_of_power is: halves are rounded alike.
    cdef real shifted, r
    cdef uint64_t bits64, quarter64
    cdef uint32_t bits32, quarter32
    if real is double:
        low = low if absolute(x) < <double>1500 else <double>0
        x = <double>-1500 if x < <double>-1500 else x
        x = <double>1500 if x > <double>1500 else x
        r = <double>1 + exp_plain_minus_1(x, low, <double>MAGIC_F64 + <double>4093, &shifted)
        bits64 = fastloss_bits_from_f64(shifted) - <uint64_t>1
        quarter64 = bits64 >> 2
        quarter[0] = fastloss_f64_from_bits(quarter64 << 52)
        last[0] = fastloss_f64_from_bits((bits64 - <uint64_t>3 * quarter64 - <uint64_t>1) << 52)
    else:
        low = low if absolute(x) < <float>210 else <float>0
        x = <float>-210 if x < <float>-210 else x
        x = <float>210 if x > <float>210 else x
        r = <float>1 + exp_plain_minus_1(x, low, <float>MAGIC_F32 + <float>509, &shifted)
        bits32 = fastloss_bits_from_f32(shifted) - <uint32_t>1
        quarter32 = bits32 >> 2
        quarter[0] = fastloss_f32_from_bits(quarter32 << 23)
        last[0] = fastloss_f32_from_bits((bits32 - <uint32_t>3 * quarter32 - <uint32_t>1) << 23)
    return r + r


cdef inline real exp_lifted_sum(real x, real low) noexcept nogil:
    """exp(x + low)·2^128 (float32: 2^64) for x <= 0 and a small |low|: never subnormal, so that products with it round
    once. 0 below x = -780 (-120)."""
    cdef real least, r
    if real is double:
        least = <double>-780
        r = exp_biased(x, low, <double>1151)
    else:
        least = <float>-120
        r = exp_biased(x, low, <float>191)
    return <real>0 if x < least else r


cdef inline real exp_lifted(real x) noexcept nogil:
    """The same of x alone, in fewer steps, and within 1.2 ulp instead of 1."""
    if real is double:
        return exp_scaled(x, <double>MAGIC_F64 + <double>1151, <double>-780)
    else:
        return exp_scaled(x, <float>MAGIC_F32 + <float>191, <float>-120)


cdef inline real exp_negative_parts(real x, real* power, real* lifted) noexcept nogil:
    """q with exp(-x) = (1 + q)·power for x >= 0, within 1.1 ulp. A power that is nothing beside 1 stays at 2^-200
    (float32: 2^-56), as subnormal numbers are slow; lifted is the true one times 2^128 (2^64), for x up to 750 (110),
    where exp(-x) is 0. A NaN counts as that, too."""
    # Bits are compared as integers, which is cheaper than comparing numbers.
    cdef real shifted, q
    if real is double:
        x = fastloss_f64_from_bits(min(<int64_t>fastloss_bits_from_f64(x), <int64_t>0x4087700000000000))
        q = exp_plain_minus_1(-x, -<double>0, <double>MAGIC_F64 + <double>1151, &shifted)
        lifted[0] = fastloss_f64_from_bits(fastloss_bits_from_f64(shifted) << 52)
        power[0] = fastloss_f64_from_bits(
            max(<int64_t>fastloss_bits_from_f64(lifted[0]), <int64_t>951 << 52) - (<int64_t>128 << 52))
    else:
        x = fastloss_f32_from_bits(min(<int32_t>fastloss_bits_from_f32(x), <int32_t>0x42dc0000))
        q = exp_plain_minus_1(-x, -<float>0, <float>MAGIC_F32 + <float>191, &shifted)
        lifted[0] = fastloss_f32_from_bits(fastloss_bits_from_f32(shifted) << 23)
        power[0] = fastloss_f32_from_bits(
            max(<int32_t>fastloss_bits_from_f32(lifted[0]), <int32_t>135 << 23) - (<int32_t>64 << 23))
    return q


cdef inline real unlift(real x) noexcept nogil:
    """Takes back the factor of exp_lifted."""
    if real is double:
        return x * <double>2.938735877055719e-39  # 2^-128
    else:
        return x * <float>5.421010862427522e-20  # 2^-64


cdef inline real exp_reduced_minus_1(real x, real low, real bias, real* shifted) noexcept nogil:
    """exp(x + low)·2^-k - 1 for a whole k near x/log 2; the low bits of `shifted` are k + bias, ready to become an
    exponent."""
    cdef real magic, k, rounded, r
    if real is double:
        magic = <double>MAGIC_F64 + bias
        shifted[0] = mad(x, <double>1.4426950408889634, magic)
        k = shifted[0] - magic
        rounded = mad(k, <double>-0.6931471805598903, x)
        low = mad(k, <double>-5.497923018708371e-14, low)
    else:
        magic = <float>MAGIC_F32 + bias
        shifted[0] = mad(x, <float>1.442695, magic)
        k = shifted[0] - magic
        rounded = mad(k, <float>-0.693145751953125, x)
        low = mad(k, <float>-1.4286068e-06, low)
    r = rounded + low
    return rounded + mad(r * r, exp_tail(r), low)


cdef inline real exp_plain_minus_1(real x, real low, real magic, real* shifted) noexcept nogil:
    """exp(x + low)·2^-k - 1 in fewer steps, for an exponential within 1.2 ulp; magic, added to k, gives `shifted`."""
    cdef real k, r
    shifted[0] = mad(x, <real>1.4426950408889634, magic)
    k = shifted[0] - magic
    if real is double:
        r = mad(k, <double>-5.497923018708371e-14, mad(k, <double>-0.6931471805598903, x) + low)
    else:
        r = mad(k, <float>-1.4286068e-06, mad(k, <float>-0.693145751953125, x) + low)
    return exp_near_minus_1(r)


cdef inline real exp_near_minus_1(real r) noexcept nogil:
    """exp(r) - 1, for |r| <= log(2)/2."""
    return mad(r * r, exp_tail(r), r)


cdef inline real magic_of_power(real unused) noexcept nogil:
    """The number that, added to k, gives what times_power takes for 2^k."""
    if real is double:
        return <double>MAGIC_F64 + <double>1023
    else:
        return <float>MAGIC_F32 + <float>127


cdef inline real times_power(real q, real shifted) noexcept nogil:
    """(1 + q)·2^k, for a 2^k in the normal range."""
    cdef real power
    if real is double:
        power = fastloss_f64_from_bits(fastloss_bits_from_f64(shifted) << 52)
    else:
        power = fastloss_f32_from_bits(fastloss_bits_from_f32(shifted) << 23)
    return mad(q, power, power)


cdef inline real exp_scaled(real x, real magic, real least) noexcept nogil:
    """exp(x)·2^s within 1.1 ulp, for a whole s with which the caller made magic (see exp_magic), and x at most a little
    above -s·log 2. Below `least` it is 0, and never subnormal, which is slow; NaN gives NaN."""
    cdef real shifted
    cdef real q = exp_plain_minus_1(x, -<real>0, magic, &shifted)
    q = times_power(q, shifted)
    return <real>0 if x < least else q


cdef inline real exp_scaled_parts(real x, real magic, real least, real* low) noexcept nogil:
    """exp_scaled in two parts: rounded, within 0.7 ulp, and what rounding took, with which it is within 0.2 ulp."""
    cdef real shifted, k, head, part, r, rest, power, whole, rounded
    shifted = mad(x, <real>1.4426950408889634, magic)
    k = shifted - magic
    if real is double:
        head = mad(k, <double>-0.6931471805598903, x)
        part = k * <double>-5.497923018708371e-14
        power = fastloss_f64_from_bits(fastloss_bits_from_f64(shifted) << 52)
    else:
        head = mad(k, <float>-0.693145751953125, x)
        part = k * <float>-1.4286068e-06
        power = fastloss_f32_from_bits(fastloss_bits_from_f32(shifted) << 23)
    r = head + part
    whole = <real>1 + head
    rest = ((<real>1 - whole) + head) + mad(r * r, exp_tail(r), part)
    rounded = whole + rest
    low[0] = <real>0 if x < least else ((whole - rounded) + rest) * power
    return <real>0 if x < least else rounded * power


cdef inline real exp_magic(real most, real* least) noexcept nogil:
    """What exp_scaled takes so that exp(most)·2^s is near 2^60 (float32: 2^30), for |most| <= 1290 (250). Numbers that
    become 0 are in proportion to that below the smallest there is."""
    cdef real k
    if real is double:
        k = mad(most, <double>1.4426950408889634, <double>MAGIC_F64) - <double>MAGIC_F64
        least[0] = (k - <double>1081.5) * <double>0.6931471805599453
        return <double>MAGIC_F64 + <double>1083 - k
    else:
        k = mad(most, <float>1.442695, <float>MAGIC_F32) - <float>MAGIC_F32
        least[0] = (k - <float>155.5) * <float>0.6931472
        return <float>MAGIC_F32 + <float>157 - k


cdef inline real exp_tail(real r) noexcept nogil:
    """(exp(r) - 1 - r)/r², for |r| <= log(2)/2."""
    if real is double:
        return polynomial10[real](
            r, <double>0.5000000000000001, 0.16666666666666674, 0.04166666666662315, 0.008333333333322578,
            0.0013888888917505762, 0.00019841269885661545, 2.480152097304111e-05, 2.755724325676897e-06,
            2.7620207397840056e-07, 2.510973569769468e-08)
    else:
        return polynomial5[real](r, <float>0.5, 0.16666576, 0.041666467, 0.008363251, 0.0013934969)


# log1p_unit(x) domain [0, 1]
#   float64     max 1.27 ulp at 0x1.f9d50c5f5566ep-1
#   float32     max 1.28 ulp at 0x1.44f564p-1
cdef inline real log1p_unit(real x) noexcept nogil:
    """log(1 + x) of an exponential e^-|a|: no exponent to take out."""
    cdef real s = x / (x + <real>2)
    return mad(-s, log1p_unit_part(x, s), x)


cdef inline real log1p_unit_rest(real x) noexcept nogil:
    """x - log(1 + x), for x in [0, 1]: with x itself, the logarithm in two parts."""
    cdef real s = x / (x + <real>2)
    return s * log1p_unit_part(x, s)


cdef inline real log1p_unit_part(real x, real s) noexcept nogil:
    """(x - log(1 + x))/s, for s = x/(2 + x)."""
    # log(1 + x) = 2·atanh(s) = x - s·(x - tail): what is rounded is small beside x.
    cdef real w = s * s
    if real is double:
        return mad(-w, polynomial10[real](
            w, <double>0.6666666666666666, 0.40000000000012625, 0.2857142856736382, 0.22222222702375702,
            0.1818178991346358, 0.15385561290308844, 0.1331423971311878, 0.12000474495469697, 0.08802684847606324,
            0.16161616353428193), x)
    else:
        return mad(-w, polynomial4[real](w, <float>0.6666664, 0.40007704, 0.2823362, 0.26868346), x)


cdef inline real unit_reciprocal(real x) noexcept nogil:
    """1/(1 + x), for x in [0, 1], with what rounding takes from the sum."""
    cdef real reciprocal = <real>1 / (x + <real>1)
    return mad(reciprocal, mad(-x, reciprocal, <real>1 - reciprocal), reciprocal)


cdef inline real log_rest(real f) noexcept nogil:
    """f - log(1 + f), for sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef real s = f / (f + <real>2)
    cdef real w = s * s
    cdef real tail
    if real is double:
        tail = w * polynomial7[real](
            w, <double>0.666666666666667, 0.39999999999899416, 0.28571428626134593, 0.22222211103745135,
            0.18182891464433487, 0.15331644760453753, 0.14617371737605084)
    else:
        tail = w * polynomial3[real](w, <float>0.66666687, 0.39988545, 0.29586828)
    return s * (f - tail)


# log1p_positive(x) domain [0, 1e30]
#   float64     max 1.57 ulp at 0x1.ee3f0925e94cbp-2
#   float32     max 1.53 ulp at 0x1.efa7d2p-4
cdef inline real log1p_positive(real x) noexcept nogil:
    """log(1 + x) of what is not negative, and no infinity."""
    cdef real unused
    return log1p_quotient(x, <real>1, x + <real>1, &unused)


cdef inline real log1p_quotient(real a, real b, real total, real* reciprocal) noexcept nogil:
    """log(1 + a/b) within 2.2 ulp, and 1/total where total = a + b, for a >= 0 and b > 0."""
    cdef real unused
    return log1p_quotient_high(a, b, total, reciprocal, &unused)


cdef inline real log1p_quotient_high(real a, real b, real total, real* reciprocal, real* rest) noexcept nogil:
    """The same, and what adding a multiple of log 2 took from it, if one is in it."""
    # total/b = 2^k·v, log v = 2·atanh(t/2), t = (v - 1)/((v + 1)/2) = n/h. For k = 0, n is a itself.
    cdef real k, n, h, h_low, t, w, per_h, low, whole, fraction, high
    cdef real scale = inverse_power(total, b, &k)
    cdef real half = <real>0.5 * scale
    cdef real part = b * (half + <real>0.5)
    n = mad(a, scale, b * (scale - <real>1))
    h = mad(a, half, part)
    h_low = mad(a, half, part - h)
    reciprocal[0] = <real>1 / total
    if FASTLOSS_FUSED:
        per_h = <real>1 / h
        t = n * per_h
        t = mad(mad(-t, h_low, remainder(n, h, t)), per_h, t)
    else:
        t = n / h
        t = t - t * (h_low / h)
    w = t * t
    low = (t * w) * log_quotient_tail(w)
    if real is double:
        whole = k * <double>0.6931471805598903  # exactly
        fraction = t + mad(k, <double>5.497923018708371e-14, low)
    else:
        whole = k * <float>0.693145751953125
        fraction = t + mad(k, <float>1.4286068e-06, low)
    high = whole + fraction
    rest[0] = fraction - (high - whole)
    return high


cdef inline real log_quotient_tail(real w) noexcept nogil:
    """(2·atanh(t/2)/t - 1)/t², for w = t², |t| <= 2/5."""
    if real is double:
        return polynomial7[real](
            w, <double>0.0833333333333411, 0.012499999998771683, 0.0022321429227992163, 0.00043402611625112955,
            8.880083635313587e-05, 1.861460549592339e-05, 4.692617166077552e-06)
    else:
        return polynomial3[real](w, <float>0.083333686, 0.012486757, 0.0023723133)


cdef inline real atanh_tail(real w) noexcept nogil:
    """2·(atanh(s)/s - 1)/s², for w = s², |s| <= 1/5."""
    if real is double:
        return polynomial8[real](
            w, <double>0.6666666666666664, 0.4000000000003021, 0.2857142856115776, 0.22222223788446158,
            0.18181691717037848, 0.15390391635064257, 0.13183987183316368, 0.13782337848508025)
    else:
        return polynomial4[real](w, <float>0.6666666, 0.40001082, 0.2849215, 0.24349815)


cdef inline real log_reduced(real k, real f) noexcept nogil:
    """k·log 2 + log(1 + f), for sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef real rest = log_rest(f)
    if real is double:
        return mad(k, <double>0.6931471805598903, f - mad(k, <double>-5.497923018708371e-14, rest))
    else:
        return mad(k, <float>0.693145751953125, f - mad(k, <float>-1.4286068e-06, rest))


cdef inline real mantissa(real x, real* k) noexcept nogil:
    """f with x = 2^k·(1 + f) and sqrt(1/2) <= 1 + f < sqrt(2), for 0 < x < inf."""
    cdef real f, least, up, shift
    if real is double:
        least, up, shift = <double>2.2250738585072014e-308, <double>18014398509481984.0, <double>54  # 2^54
    else:
        least, up, shift = <float>1.1754943508222875e-38, <float>33554432.0, <float>25  # 2^25
    up = x * up
    f = mantissa_of_normal(up if x < least else x, k)
    shift = k[0] - shift
    k[0] = shift if x < least else k[0]
    return f


cdef inline real mantissa_of_normal(real x, real* k) noexcept nogil:
    """The same for an x in the normal range."""
    # The offset keeps the exponent positive: the ISAs before v4 neither shift signed 64-bit integers nor convert them.
    cdef uint64_t offset64 = <uint64_t>1024 << 52
    cdef uint32_t offset32 = <uint32_t>128 << 23
    cdef uint64_t bits64, exponent64
    cdef uint32_t bits32, exponent32
    if real is double:
        bits64 = fastloss_bits_from_f64(x)
        exponent64 = bits64 - <uint64_t>0x3fe6a09e667f3bcd + offset64
        k[0] = fastloss_f64_from_bits((exponent64 >> 52) | <uint64_t>0x4330000000000000) - <double>4503599627371520.0
        return fastloss_f64_from_bits(bits64 + offset64 - (exponent64 & <uint64_t>0xfff0000000000000)) - <double>1
    else:
        bits32 = fastloss_bits_from_f32(x)
        exponent32 = bits32 - <uint32_t>0x3f3504f3 + offset32
        k[0] = fastloss_f32_from_bits((exponent32 >> 23) | <uint32_t>0x4b000000) - <float>8388736.0
        return fastloss_f32_from_bits(bits32 + offset32 - (exponent32 & <uint32_t>0xff800000)) - <float>1


cdef inline real inverse_power(real a, real b, real* k) noexcept nogil:
    """2^-k with a/b = 2^k·v and 2/3 < v <= 3/2, for 0 < b <= a < inf; with b = 1, 3/4 < v."""
    # The bits of a number are, nearly, its logarithm. With b = 1 and t = a - 1 before its rounding, 2^-k·(1 + t) - 1
    # has no more digits than t.
    cdef uint64_t power64
    cdef uint32_t power32
    if real is double:
        power64 = fastloss_bits_from_f64(a) - fastloss_bits_from_f64(b) + <uint64_t>0x0007ffffffffffff
        power64 = power64 & <uint64_t>0x7ff0000000000000
        k[0] = fastloss_f64_from_bits((power64 >> 52) | <uint64_t>0x4330000000000000) - <double>4503599627370496.0
        return fastloss_f64_from_bits(<uint64_t>0x3ff0000000000000 - power64)
    else:
        power32 = fastloss_bits_from_f32(a) - fastloss_bits_from_f32(b) + <uint32_t>0x003fffff
        power32 = power32 & <uint32_t>0x7f800000
        k[0] = <int32_t>(power32 >> 23)
        return fastloss_f32_from_bits(<uint32_t>0x3f800000 - power32)


# log(x)        domain [0, inf]
#   float64     max 0.95 ulp at 0x1.69c120db14a71p-1
#   float32     max 0.93 ulp at 0x1.663d62p-1
cdef inline real log(real x) noexcept nogil:
    cdef real k
    cdef real f = mantissa(x, &k)
    cdef real result = log_reduced(k, f)
    return log_edges(x, result, x)


cdef inline real log_high(real x, real* low) noexcept nogil:
    """log(x) = high + low for 0 < x < inf, to about eight more bits than one number holds."""
    cdef real k
    cdef real f = mantissa(x, &k)
    return log_parts(k, f, low)


cdef inline real log_parts(real k, real f, real* low) noexcept nogil:
    """k·log 2 + log(1 + f) = high + low, for sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef real rest = log_rest(f)
    cdef real tail, high, part
    if real is double:
        high = k * <double>0.6931471805598903  # exact, as is the sum below with its remainder
        tail = mad(k, <double>5.497923018708371e-14, -rest)
    else:
        high = k * <float>0.693145751953125
        tail = mad(k, <float>1.4286068e-06, -rest)
    part = high + f
    tail += f - (part - high)  # what the sum has lost: high is 0, or larger than f
    high = part + tail
    low[0] = tail - (high - part)
    return high


cdef inline real log_edges(real u, real result, real x) noexcept nogil:
    """The logarithm of u: -inf at 0, x at inf, NaN below and for NaN."""
    cdef real zero = <real>0
    cdef real infinity = <real>1 / zero
    result = -infinity if u == zero else result
    result = x if u == infinity else result
    return result if u >= zero else zero / zero


# log1p(x)      domain [-1, inf]
#   float64     max 1.52 ulp at 0x1.b44c1202e6295p-2
#   float32     max 1.51 ulp at 0x1.aedecap-2
cdef inline real log1p(real x) noexcept nogil:
    cdef real u = x + <real>1
    cdef real k, low
    cdef real f = mantissa_sum(u, x - (u - <real>1), <real>0, &k, &low)
    return log_edges(u, log_reduced(k, f), x)


cdef inline real mantissa_sum(real u, real c, real c_low, real* k, real* low) noexcept nogil:
    """f and low with u + c + c_low = 2^k·(1 + f + low), for a c that u has lost: sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef real f = mantissa(u, k)
    cdef real scale, total
    if real is double:
        # 2^-k, as 2^(1 - k)/2: k reaches 1024
        scale = fastloss_f64_from_bits((<uint64_t>1024 - fastloss_bits_from_f64(k[0] + <double>MAGIC_F64)) << 52)
    else:
        scale = fastloss_f32_from_bits((<uint32_t>128 - fastloss_bits_from_f32(k[0] + <float>MAGIC_F32)) << 23)
    scale = <real>0.5 * scale
    c = c * scale
    total = f + c
    low[0] = mad(c_low, scale, c - (total - f))
    return total


cdef inline real log_quotient(real a, real a_low, real b, real b_low, real difference, real difference_low,
                              real offset, real* k, real* low, real* inverse, real* error) noexcept nogil:
    """log((a + a_low)/(b + b_low)) + offset·log 2 as k·log 2 + returned + low, and 1/(a + a_low) as
    inverse·(1 + error), for a and b between about 2^-500 and 2^500 (float32: 2^-82 and 2^82). The difference, of a and
    b with their lows, counts where k is 0."""
    # A power of 2 brings b to between 2/3 and 3/2 of a: the bits of a number are, nearly, its logarithm. Then
    # log(a/b) = 2·atanh(t/2), t = n/h with n = a - b, which is exact, and h = (a + b)/2.
    cdef real power, n, n_low, h, h_low, t, w, scaled
    cdef uint64_t bits64
    cdef uint32_t bits32
    cdef bint near
    if real is double:
        bits64 = fastloss_bits_from_f64(a) - fastloss_bits_from_f64(b) + <uint64_t>0x3ff8000000000000
        power = fastloss_f64_from_bits(bits64 & <uint64_t>0xfff0000000000000)
        k[0] = fastloss_f64_from_bits((bits64 >> 52) | <uint64_t>0x4330000000000000)
        k[0] = k[0] - (<double>4503599627371519.0 - offset)
    else:
        bits32 = fastloss_bits_from_f32(a) - fastloss_bits_from_f32(b) + <uint32_t>0x3fc00000
        power = fastloss_f32_from_bits(bits32 & <uint32_t>0xff800000)
        k[0] = fastloss_f32_from_bits((bits32 >> 23) | <uint32_t>0x4b000000)
        k[0] = k[0] - (<float>8388735.0 - offset)
    near = k[0] == <real>0
    b = b * power
    b_low = b_low * power
    n = a - b
    h = mad(<real>-0.5, n, a)
    h_low = mad(<real>0.5, a_low + b_low, mad(<real>-0.5, n, a - h))
    n_low = a_low - b_low
    n = difference if near else n
    n_low = difference_low if near else n_low
    inverse[0] = <real>1 / a
    error[0] = mad(-inverse[0], a_low, remainder(<real>1, a, inverse[0]))
    scaled = <real>1 / h
    t = n * scaled
    low[0] = (remainder(n, h, t) + mad(-t, h_low, n_low)) * scaled
    w = t * t
    low[0] = mad(t * w, log_quotient_tail(w), low[0])
    return t


cdef inline real plus_log_2(real k, real x, real low) noexcept nogil:
    """k·log 2 + x + low, of log_quotient."""
    if real is double:
        return mad(k, <double>0.6931471805598903, x + mad(k, <double>5.497923018708371e-14, low))
    else:
        return mad(k, <float>0.693145751953125, x + mad(k, <float>1.4286068e-06, low))


cdef inline real plus_log_2_high(real k, real x, real low, real* rest) noexcept nogil:
    """The same as returned + rest."""
    cdef real whole, sum_, high
    if real is double:
        whole = k * <double>0.6931471805598903  # exact
        low = mad(k, <double>5.497923018708371e-14, low)
    else:
        whole = k * <float>0.693145751953125
        low = mad(k, <float>1.4286068e-06, low)
    sum_ = whole + x
    low = low + (x - (sum_ - whole))
    high = sum_ + low
    rest[0] = low - (high - sum_)
    return high


cdef inline real log_ratio(real a, real b) noexcept nogil:
    """log(a / b) for 0 < a, b < inf, also where the ratio is no number."""
    cdef real k_a, k_b, k, f
    cdef real ratio = (<real>1 + mantissa(a, &k_a)) / (<real>1 + mantissa(b, &k_b))
    f = mantissa(ratio, &k)
    return log_reduced(k + (k_a - k_b), f)


# atan(x)       domain [0, inf]
#   float64     max 1.83 ulp at 0x1.b86554f27a10bp-2
#   float32     max 1.85 ulp at 0x1.bc774ep-2
cdef inline real atan(real x) noexcept nogil:
    # Around 0, pi/4 and pi/2, at most tan(pi/8) away in each.
    cdef real one = <real>1
    cdef bint far = x > <real>2.414213562373095
    cdef bint near = x < <real>0.41421356237309503
    cdef real numerator = x - one
    cdef real denominator = x + one
    cdef real high, low, t
    numerator = -one if far else numerator
    denominator = x if far else denominator
    numerator = x if near else numerator
    denominator = one if near else denominator
    t = numerator / denominator
    if real is double:
        high = <double>1.5707963267948966 if far else <double>0.7853981633974483
        low = <double>6.123233995736766e-17 if far else <double>3.061616997868383e-17
    else:
        high = <float>1.5707964 if far else <float>0.7853982
        low = <float>-4.371139e-08 if far else <float>-2.1855694e-08
    high = <real>0 if near else high
    low = <real>0 if near else low
    return high + (t + mad(t, atan_tail(t), low))


cdef inline real atan_tail(real t) noexcept nogil:
    """atan(t)/t - 1, for |t| <= tan(pi/8)."""
    cdef real w = t * t
    if real is double:
        return w * polynomial11[real](
            w, <double>-0.3333333333333333, 0.19999999999996249, -0.14285714284775008, 0.11111111022333395,
            -0.09090904824725113, 0.07692188256720497, -0.06664575780588049, 0.05858659540285397,
            -0.050879153647034596, 0.039297886136655004, -0.019252756991150186)
    else:
        return w * polynomial5[real](w, <float>-0.3333333, 0.19999519, -0.14263654, 0.10742208, -0.06449571)


cdef inline real times_two_over_pi(real x, real tail) noexcept nogil:
    """2/pi·x·(1 + tail) for a small tail, with the constant in two parts."""
    if real is double:
        return mad(x, <double>0.6366197723675814, x * mad(tail, <double>0.6366197723675814, -3.935735335036497e-17))
    else:
        return mad(x, <float>0.63661975, x * mad(tail, <float>0.63661975, <float>2.5682553e-08))


cdef inline real power_of(real gamma, real gamma_low, real high, real low) noexcept nogil:
    """exp((gamma + gamma_low)·(high + low)), a power of the number whose logarithm is high + low <= 0. The exponent is
    in two parts: its absolute error is the relative error of the power."""
    cdef real rest
    cdef real exponent = exponent_of(gamma, gamma_low, high, low, &rest)
    return exp_sum(exponent, rest)


cdef inline real exp_product(real x, real whole, real power) noexcept nogil:
    """exp((whole - power)·x), for a result in the normal range, with all digits of the exponent."""
    cdef real a = whole - power
    cdef real a_low = difference_rest(whole, power, a)
    cdef real magic = magic_of_power(x)
    cdef real shifted, k, r
    if real is double:
        shifted = mad(<double>1.4426950408889634 * a, x, magic)
        k = shifted - magic
        r = mad(a_low, x, k * <double>-5.497923018708371e-14) - remainder(k * <double>0.6931471805598903, a, x)
    else:
        shifted = mad(<float>1.442695 * a, x, magic)
        k = shifted - magic
        r = mad(a_low, x, k * <float>-1.4286068e-06) - remainder(k * <float>0.693145751953125, a, x)
    return times_power(exp_near_minus_1(r), shifted)


cdef inline real power_reduced(real x, real whole, real power, real* shifted) noexcept nogil:
    """r with x^(whole - power) = exp(r)·2^n, n for times_power; for an x and a result in the normal range."""
    # With x = 2^k·(1 + f), the exponent is that of 2^n·exp((a·k - n)·log 2 + a·log(1 + f)).
    cdef real a = whole - power
    cdef real a_low = difference_rest(whole, power, a)
    cdef real k, log2_x, part, product, r
    cdef real f = mantissa_of_normal(x, &k)
    cdef real rest = log_rest(f)
    cdef real magic = magic_of_power(x)
    log2_x = mad(f - rest, <real>1.4426950408889634, k)
    shifted[0] = mad(a, log2_x, magic)
    part = -remainder(shifted[0] - magic, a, k)
    product = a * f
    r = mad(a_low * <real>0.6931471805599453, log2_x, mad(-a, rest, product_rest(a, f, product)))
    if not FASTLOSS_FUSED:
        r = r + product_rest(part, <real>0.6931471805599453, part * <real>0.6931471805599453)
    return r + mad(part, <real>0.6931471805599453, product)


cdef inline real exponent_of(real gamma, real gamma_low, real high, real low, real* rest) noexcept nogil:
    """(gamma + gamma_low)·(high + low) as a number, returned, and its rest; no rest where no exponential needs one."""
    cdef real exponent = exponent_in(gamma, gamma_low, high, low, rest)
    low = rest[0] if rest[0] == rest[0] else <real>0
    rest[0] = low if absolute(exponent) < <real>1600 else <real>0
    return exponent


cdef inline real exponent_in(real gamma, real gamma_low, real high, real low, real* rest) noexcept nogil:
    """The same of moderate numbers."""
    cdef real exponent = gamma * high
    rest[0] = product_rest(gamma, high, exponent) + mad(gamma, low, gamma_low * high)
    return exponent


cdef inline real exact_difference_rest(real a, real b, real difference) noexcept nogil:
    """a - b - difference, exactly, where difference is a - b rounded (Knuth's two-sum)."""
    cdef real part = difference - a
    return (a - (difference - part)) - (b + part)


cdef inline real difference_rest(real a, real b, real difference) noexcept nogil:
    """The same; 0 where that is no number."""
    cdef real rest = exact_difference_rest(a, b, difference)
    return rest if rest == rest else <real>0


cdef inline real sum_rest(real a, real b, real sum_) noexcept nogil:
    """a + b - sum, exactly, where sum is a + b rounded (Dekker's fast two-sum)."""
    cdef real larger = a if a > b else b
    cdef real smaller = b if a > b else a
    return smaller - (sum_ - larger)


cdef inline real quotient_rest(real a, real b, real quotient) noexcept nogil:
    """a / b - quotient, where quotient is a / b rounded; 0 where that is no number."""
    cdef real rest = remainder(a, b, quotient) / b
    return rest if rest - rest == <real>0 else <real>0


cdef inline real remainder(real a, real b, real quotient) noexcept nogil:
    """a - b·quotient, exactly, where quotient is about a / b."""
    cdef real product
    if FASTLOSS_FUSED:
        return mad(-quotient, b, a)
    product = quotient * b
    return (a - product) - product_rest(quotient, b, product)


cdef inline real product_rest(real a, real b, real product) noexcept nogil:
    """a·b - product, exactly, where product is a·b rounded."""
    # Without a fused multiply-add: products of halves (Dekker 1971), the upper ones cut out of the bits.
    cdef real a_high, a_low, b_high, b_low
    if FASTLOSS_FUSED:
        return mad(a, b, -product)
    a_high = upper_half(a)
    a_low = a - a_high
    b_high = upper_half(b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


cdef inline real upper_half(real x) noexcept nogil:
    """x without the lower half of its digits."""
    if real is double:
        return fastloss_f64_from_bits(fastloss_bits_from_f64(x) & <uint64_t>0xfffffffff8000000)
    else:
        return fastloss_f32_from_bits(fastloss_bits_from_f32(x) & <uint32_t>0xfffff000)
