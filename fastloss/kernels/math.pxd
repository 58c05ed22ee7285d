# exp, log and friends as branch-free inline functions that the compiler vectorises: libm is scalar, and costs ten
# times as much. One source for both dtypes and every ISA. Polynomials are minimax fits (Sollya's fpminimax),
# sums that lose digits are arranged so that the exact term comes last.
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


cdef inline real with_sign_of(real x, real sign) noexcept nogil:
    """|x| with the sign of `sign`; x must not be negative."""
    if real is float:
        return fastloss_f32_from_bits(
            fastloss_bits_from_f32(x) | (fastloss_bits_from_f32(sign) & <uint32_t>0x80000000))
    else:
        return fastloss_f64_from_bits(
            fastloss_bits_from_f64(x) | (fastloss_bits_from_f64(sign) & <uint64_t>0x8000000000000000))


# Σ c_i·x^i: even and odd powers apart, which halves the chain of dependent steps for one more multiplication.

cdef inline real polynomial3(real x, real c0, real c1, real c2) noexcept nogil:
    return mad(mad(c2, x, c1), x, c0)


cdef inline real polynomial5(real x, real c0, real c1, real c2, real c3, real c4) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(c4, x2, c2), x2, c0)
    return mad(mad(c3, x2, c1), x, even)


cdef inline real polynomial7(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6) noexcept nogil:
    cdef real x2 = x * x
    cdef real even = mad(mad(mad(c6, x2, c4), x2, c2), x2, c0)
    return mad(mad(mad(c5, x2, c3), x2, c1), x, even)


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
#   float64     max 1.81 ulp at 0x1.9bf520ca3443p-2
#   float32     max 1.85 ulp at 0x1.631bb8p-2
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
# bits are the same, in half the time.

cdef inline real exp_in(real x, real low, bint wide) noexcept nogil:
    """exp(x + low) for a small |low|."""
    cdef real shifted, r
    if wide:
        return exp_sum(x, low)
    r = exp_reduced(x, low, <real>0, &shifted)
    if real is double:
        return fastloss_f64_from_bits(fastloss_bits_from_f64(r) + (fastloss_bits_from_f64(shifted) << 52))
    else:
        return fastloss_f32_from_bits(fastloss_bits_from_f32(r) + (fastloss_bits_from_f32(shifted) << 23))


cdef inline real times_exp(real y, real x, real low, bint wide) noexcept nogil:
    """y·exp(x + low) for a small |low|, also where exp(x) alone would overflow or vanish."""
    # exp(r) comes last: what is subnormal on the way to a larger result must still be exact.
    cdef real f, g, r
    if wide:
        r = exp_quarters(x, low, &f, &g)
        return y * f * f * f * g * r
    return y * exp_in(x, low, False)


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
    # powers overflows before the result does.
    cdef real shifted, r
    cdef uint64_t bits64, quarter64
    cdef uint32_t bits32, quarter32
    if real is double:
        low = low if absolute(x) < <double>1500 else <double>0
        x = <double>-1500 if x < <double>-1500 else x
        x = <double>1500 if x > <double>1500 else x
        r = exp_reduced(x, low, <double>4092, &shifted)
        bits64 = fastloss_bits_from_f64(shifted)
        quarter64 = bits64 >> 2
        quarter[0] = fastloss_f64_from_bits(quarter64 << 52)
        last[0] = fastloss_f64_from_bits((bits64 - <uint64_t>3 * quarter64 - <uint64_t>1) << 52)
    else:
        low = low if absolute(x) < <float>210 else <float>0
        x = <float>-210 if x < <float>-210 else x
        x = <float>210 if x > <float>210 else x
        r = exp_reduced(x, low, <float>508, &shifted)
        bits32 = fastloss_bits_from_f32(shifted)
        quarter32 = bits32 >> 2
        quarter[0] = fastloss_f32_from_bits(quarter32 << 23)
        last[0] = fastloss_f32_from_bits((bits32 - <uint32_t>3 * quarter32 - <uint32_t>1) << 23)
    return r + r


cdef inline real exp_negative_lifted(real x) noexcept nogil:
    """exp(-x)·2^128 (float32: 2^64) for x >= 0: never subnormal, so that products with it round once. Beyond x = 780
    (120) it stays as it is there; a NaN counts as that, too."""
    # The clamp compares bits as integers, which is cheaper than comparing numbers. Neither NaN nor subnormal after it:
    # 2^k can be added to the exponent.
    cdef real shifted, r
    if real is double:
        x = fastloss_f64_from_bits(min(<int64_t>fastloss_bits_from_f64(x), <int64_t>0x4088600000000000))
        r = exp_reduced(-x, <double>0, <double>128, &shifted)
        return fastloss_f64_from_bits(fastloss_bits_from_f64(r) + (fastloss_bits_from_f64(shifted) << 52))
    else:
        x = fastloss_f32_from_bits(min(<int32_t>fastloss_bits_from_f32(x), <int32_t>0x42f00000))
        r = exp_reduced(-x, <float>0, <float>64, &shifted)
        return fastloss_f32_from_bits(fastloss_bits_from_f32(r) + (fastloss_bits_from_f32(shifted) << 23))


cdef inline real unlift(real x) noexcept nogil:
    """Takes back the factor of exp_negative_lifted."""
    if real is double:
        return x * <double>2.938735877055719e-39  # 2^-128
    else:
        return x * <float>5.421010862427522e-20  # 2^-64


cdef inline real exp_reduced(real x, real low, real bias, real* shifted) noexcept nogil:
    """exp(x + low)·2^-k for a whole k near x/log 2; the low bits of `shifted` are k + bias, ready to become an
    exponent."""
    return <real>1 + exp_reduced_minus_1(x, low, bias, shifted)


cdef inline real exp_reduced_minus_1(real x, real low, real bias, real* shifted) noexcept nogil:
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
    low = low - (r - rounded)  # what r has lost
    return r + mad(r * r, exp_tail(r), low)


cdef inline real exp_scaled(real x, real magic, real least) noexcept nogil:
    """exp(x)·2^s within 1.1 ulp, for a whole s with which the caller made magic (see exp_magic), and x at most a little
    above -s·log 2. Below `least` it is 0, and never subnormal, which is slow; NaN gives NaN."""
    cdef real shifted, k, r, power
    if real is double:
        shifted = mad(x, <double>1.4426950408889634, magic)
        k = shifted - magic
        r = mad(k, <double>-5.497923018708371e-14, mad(k, <double>-0.6931471805598903, x))
        power = fastloss_f64_from_bits(fastloss_bits_from_f64(shifted) << 52)
    else:
        shifted = mad(x, <float>1.442695, magic)
        k = shifted - magic
        r = mad(k, <float>-1.4286068e-06, mad(k, <float>-0.693145751953125, x))
        power = fastloss_f32_from_bits(fastloss_bits_from_f32(shifted) << 23)
    r = mad(mad(r * r, exp_tail(r), r), power, power)
    return <real>0 if x < least else r


cdef inline real exp_magic(real most, real* least) noexcept nogil:
    """What exp_scaled takes so that exp(most)·2^s is near 2^60 (float32: 2^30), for |most| <= 3000 (500). Numbers that
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


# cosh_minus_1(x) domain [0, 0.75]
#   float64     max 0.75 ulp at 0x1.989eac83b0b2ep-513
#   float32     max 0.85 ulp at 0x1.1ed1c6p-62
cdef inline real cosh_minus_1(real x) noexcept nogil:
    """cosh(x) - 1, without cancellation."""
    cdef real w = x * x
    cdef real tail
    if real is double:
        tail = polynomial7[real](
            w, <double>0.0416666666666666505, 0.0013888888888893970, 2.48015872960330337e-05,
            2.75573220419271998e-07, 2.08760228693109683e-09, 1.15653917998741951e-11, 0.0)
    else:
        tail = polynomial5[real](w, <float>0.041666668, 0.0013888776, 2.4832118e-05, 2.5092237e-07, 0.0)
    # half the square, exactly, comes last
    return mad(<real>0.5, w, mad(w * w, tail, <real>0.5 * product_rest(x, x, w)))


# log1p_unit(x) domain [0, 1]
#   float64     max 1.27 ulp at 0x1.f9d50c5f5566ep-1
#   float32     max 1.28 ulp at 0x1.44f564p-1
cdef inline real log1p_unit(real x) noexcept nogil:
    """log(1 + x) of an exponential e^-|a|: no exponent to take out."""
    return x - log1p_unit_rest(x)


cdef inline real log1p_unit_rest(real x) noexcept nogil:
    """x - log(1 + x), for x in [0, 1]: with x itself, the logarithm in two parts."""
    # log(1 + x) = 2·atanh(s) = x - s·(x - tail), with s = x/(2 + x): what is rounded is small beside x.
    cdef real s = x / (x + <real>2)
    cdef real w = s * s
    cdef real tail
    if real is double:
        tail = w * polynomial10[real](
            w, <double>0.6666666666666666, 0.40000000000012625, 0.2857142856736382, 0.22222222702375702,
            0.1818178991346358, 0.15385561290308844, 0.1331423971311878, 0.12000474495469697, 0.08802684847606324,
            0.16161616353428193)
    else:
        tail = w * polynomial5[real](w, <float>0.6666667, 0.39999542, 0.28597805, 0.21640232, 0.23492694)
    return s * (x - tail)


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


cdef inline real log_reduced(real k, real f) noexcept nogil:
    """k·log 2 + log(1 + f), for sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef real rest = log_rest(f)
    if real is double:
        return mad(k, <double>0.6931471805598903, f - mad(k, <double>-5.497923018708371e-14, rest))
    else:
        return mad(k, <float>0.693145751953125, f - mad(k, <float>-1.4286068e-06, rest))


cdef inline real mantissa(real x, real* k) noexcept nogil:
    """f with x = 2^k·(1 + f) and sqrt(1/2) <= 1 + f < sqrt(2), for 0 < x < inf."""
    # The offset keeps the exponent positive: the ISAs before v4 neither shift signed 64-bit integers nor convert them.
    cdef real lifted
    cdef uint64_t exponent64, bits64
    cdef uint32_t exponent32, bits32
    if real is double:
        lifted = x * <double>18014398509481984.0 if x < <double>2.2250738585072014e-308 else x  # 2^54
        bits64 = fastloss_bits_from_f64(lifted)
        exponent64 = (bits64 - <uint64_t>0x3fe6a09e667f3bcd + (<uint64_t>1024 << 52)) >> 52
        k[0] = fastloss_f64_from_bits(exponent64 | <uint64_t>0x4330000000000000) - <double>4503599627371520.0
        k[0] = k[0] - <double>54 if x < <double>2.2250738585072014e-308 else k[0]
        return fastloss_f64_from_bits(bits64 - ((exponent64 - <uint64_t>1024) << 52)) - <double>1
    else:
        lifted = x * <float>33554432.0 if x < <float>1.1754943508222875e-38 else x  # 2^25
        bits32 = fastloss_bits_from_f32(lifted)
        exponent32 = (bits32 - <uint32_t>0x3f3504f3 + (<uint32_t>128 << 23)) >> 23
        k[0] = fastloss_f32_from_bits(exponent32 | <uint32_t>0x4b000000) - <float>8388736.0
        k[0] = k[0] - <float>25 if x < <float>1.1754943508222875e-38 else k[0]
        return fastloss_f32_from_bits(bits32 - ((exponent32 - <uint32_t>128) << 23)) - <float>1


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
    cdef real rest, tail, high, part
    rest = log_rest(f)
    if real is double:
        high = k * <double>0.6931471805598903  # exact, as is the sum below with its remainder
        tail = mad(k, <double>5.497923018708371e-14, -rest)
    else:
        high = k * <float>0.693145751953125
        tail = mad(k, <float>1.4286068e-06, -rest)
    part = high + f
    tail += (high - (part - (part - high))) + (f - (part - high))
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


# log1p_rest(x) domain [0, inf]
#   float64     max 2.60 ulp at 0x1.68f59ad7aa1c9p-23
#   float32     max 2.64 ulp at 0x1.08c9dp-3
cdef inline real log1p_rest(real x) noexcept nogil:
    """x - log(1 + x), without cancellation."""
    # For k = 0 f is x, and the result log_rest(x); else x - k·log 2 - f + log_rest(f), of which the first is exact.
    cdef real u = x + <real>1
    cdef real k, low
    cdef real f = mantissa_sum(u, x - (u - <real>1), <real>0, &k, &low)
    cdef real rest = mad(f, low, log_rest(f) - low)
    if real is double:
        return mad(k, <double>-0.6931471805598903, x) - f + mad(k, <double>-5.497923018708371e-14, rest)
    else:
        return mad(k, <float>-0.693145751953125, x) - f + mad(k, <float>-1.4286068e-06, rest)


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
    return atan_ratio(x, <real>1)


cdef inline real atan_ratio(real a, real b) noexcept nogil:
    """atan(a / b) for a >= 0, b > 0 and a + b finite or a infinite, with one division."""
    # Around 0, pi/4 and pi/2, at most tan(pi/8) away in each.
    cdef bint far = a > <real>2.414213562373095 * b
    cdef bint near = a < <real>0.41421356237309503 * b
    cdef real numerator = a - b
    cdef real denominator = a + b
    cdef real high, low, t, w
    numerator = -b if far else numerator
    denominator = a if far else denominator
    numerator = a if near else numerator
    denominator = b if near else denominator
    t = numerator / denominator
    w = t * t
    if real is double:
        high = <double>1.5707963267948966 if far else <double>0.7853981633974483
        low = <double>6.123233995736766e-17 if far else <double>3.061616997868383e-17
        w = w * polynomial11[real](
            w, <double>-0.3333333333333333, 0.19999999999996249, -0.14285714284775008, 0.11111111022333395,
            -0.09090904824725113, 0.07692188256720497, -0.06664575780588049, 0.05858659540285397,
            -0.050879153647034596, 0.039297886136655004, -0.019252756991150186)
    else:
        high = <float>1.5707964 if far else <float>0.7853982
        low = <float>-4.371139e-08 if far else <float>-2.1855694e-08
        w = w * polynomial5[real](w, <float>-0.3333333, 0.19999519, -0.14263654, 0.10742208, -0.06449571)
    high = <real>0 if near else high
    low = <real>0 if near else low
    return high + (t + mad(t, w, low))


cdef inline real times_two_over_pi(real x) noexcept nogil:
    """2/pi·x, with the constant in two parts."""
    if real is double:
        return mad(x, <double>0.6366197723675814, x * <double>-3.935735335036497e-17)
    else:
        return mad(x, <float>0.63661975, x * <float>2.5682553e-08)


cdef inline real power_of(real gamma, real high, real low) noexcept nogil:
    """exp(gamma·(high + low)), a power of the number whose logarithm is high + low <= 0. The exponent is in two parts:
    its absolute error is the relative error of the power."""
    cdef real rest
    cdef real exponent = exponent_of(gamma, <real>0, high, low, &rest)
    return exp_sum(exponent, rest)


cdef inline real exponent_of(real gamma, real gamma_low, real high, real low, real* rest) noexcept nogil:
    """(gamma + gamma_low)·(high + low) as a number, returned, and its rest; no rest where no exponential needs one."""
    cdef real exponent = gamma * high
    low = product_rest(gamma, high, exponent) + mad(gamma, low, gamma_low * high)
    low = low if low == low else <real>0
    rest[0] = low if absolute(exponent) < <real>1600 else <real>0
    return exponent


cdef inline real difference_rest(real a, real b, real difference) noexcept nogil:
    """a - b - difference, exactly, where difference is a - b rounded (Knuth's two-sum); 0 where that is no number."""
    cdef real part = difference - a
    cdef real rest = (a - (difference - part)) - (b + part)
    return rest if rest == rest else <real>0


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
    # Without a fused multiply-add: Dekker's splitting in halves (Dekker 1971). Overflows near the largest numbers.
    cdef real a_high, a_low, b_high, b_low, splitter
    if FASTLOSS_FUSED:
        return mad(a, b, -product)
    if real is double:
        splitter = <double>134217729.0
    else:
        splitter = <float>4097.0
    a_high = splitter * a
    a_high = a_high - (a_high - a)
    a_low = a - a_high
    b_high = splitter * b
    b_high = b_high - (b_high - b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
