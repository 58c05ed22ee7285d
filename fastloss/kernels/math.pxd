# exp, log and friends as branch-free inline functions that the compiler vectorises: libm is scalar, and costs ten
# times as much. One source for both dtypes and every ISA. Polynomials are minimax fits (Sollya's fpminimax),
# evaluated by Estrin's scheme; sums that lose digits are arranged so that the exact term comes last.
#
# Each function states its domain and its largest known error, in ulp of the correctly rounded result over all ISAs,
# with the argument where it was seen. tests/test_math.py reads these lines, and fails when a number is too low or
# too high. Arguments outside the domain give NaN unless a line says otherwise; NaN gives NaN.

from .types cimport real

from libc.stdint cimport uint32_t, uint64_t


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


cdef inline real copysign(real x, real sign) noexcept nogil:
    """|x| with the sign of `sign`; x must not be negative."""
    if real is float:
        return fastloss_f32_from_bits(
            fastloss_bits_from_f32(x) | (fastloss_bits_from_f32(sign) & <uint32_t>0x80000000))
    else:
        return fastloss_f64_from_bits(
            fastloss_bits_from_f64(x) | (fastloss_bits_from_f64(sign) & <uint64_t>0x8000000000000000))


cdef inline real estrin3(real x, real c0, real c1, real c2) noexcept nogil:
    return mad(c2, x * x, mad(c1, x, c0))


cdef inline real estrin5(real x, real c0, real c1, real c2, real c3, real c4) noexcept nogil:
    cdef real x2 = x * x
    return mad(mad(c4, x2, mad(c3, x, c2)), x2, mad(c1, x, c0))


cdef inline real estrin7(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6) noexcept nogil:
    cdef real x2 = x * x
    cdef real high = mad(mad(c6, x2, mad(c5, x, c4)), x2, mad(c3, x, c2))
    return mad(high, x2, mad(c1, x, c0))


cdef inline real estrin10(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6, real c7, real c8,
                          real c9) noexcept nogil:
    cdef real x2 = x * x
    cdef real x4 = x2 * x2
    cdef real low = mad(mad(c3, x, c2), x2, mad(c1, x, c0))
    cdef real high = mad(mad(c9, x, c8), x4, mad(mad(c7, x, c6), x2, mad(c5, x, c4)))
    return mad(high, x4, low)


cdef inline real estrin11(real x, real c0, real c1, real c2, real c3, real c4, real c5, real c6, real c7, real c8,
                          real c9, real c10) noexcept nogil:
    cdef real x2 = x * x
    cdef real x4 = x2 * x2
    cdef real low = mad(mad(c3, x, c2), x2, mad(c1, x, c0))
    cdef real high = mad(mad(c10, x2, mad(c9, x, c8)), x4, mad(mad(c7, x, c6), x2, mad(c5, x, c4)))
    return mad(high, x4, low)


# exp(x)        domain [-inf, inf]
#   float64     max 0.00 ulp at 0x0p+0
#   float32     max 0.00 ulp at 0x0p+0
cdef inline real exp(real x) noexcept nogil:
    return exp_sum(x, <real>0)


cdef inline real exp_sum(real x, real low) noexcept nogil:
    """exp(x + low) for a small |low|: an exponent in two parts, so that powers keep their digits."""
    # Results below the normal range need two factors: 2^k = 2^(k//2) · 2^(k - k//2), multiplied in (added to the
    # exponent bits they would turn a NaN into a number). Adding `magic` rounds to a whole k and leaves it in the low
    # bits. The clamp keeps k within what two factors can say.
    cdef real magic, shifted, k, r, p, first, second
    cdef uint64_t biased64, half64
    cdef uint32_t biased32, half32
    if real is double:
        x = <double>-746 if x < <double>-746 else x
        x = <double>710 if x > <double>710 else x
        magic = <double>6755399441055744.0  # 1.5 · 2^52
        shifted = mad(x, <double>1.4426950408889634, magic)
        k = shifted - magic
        r = mad(k, <double>-0.6931471805598903, x)
        r = mad(k, <double>-5.497923018708371e-14, r) + low
        p = estrin10[real](r, <double>0.5000000000000001, 0.16666666666666674, 0.04166666666662315, 0.008333333333322578,
                     0.0013888888917505762, 0.00019841269885661545, 2.480152097304111e-05, 2.755724325676897e-06,
                     2.7620207397840056e-07, 2.510973569769468e-08)
        biased64 = fastloss_bits_from_f64(shifted) - <uint64_t>0x4338000000000000 + <uint64_t>2046
        half64 = biased64 >> 1
        first = fastloss_f64_from_bits(half64 << 52)
        second = fastloss_f64_from_bits((biased64 - half64) << 52)
    else:
        x = <float>-104 if x < <float>-104 else x
        x = <float>89 if x > <float>89 else x
        magic = <float>12582912.0  # 1.5 · 2^23
        shifted = mad(x, <float>1.442695, magic)
        k = shifted - magic
        r = mad(k, <float>-0.693145751953125, x)
        r = mad(k, <float>-1.4286068e-06, r) + low
        p = estrin5[real](r, <float>0.5, 0.16666576, 0.041666467, 0.008363251, 0.0013934969)
        biased32 = fastloss_bits_from_f32(shifted) - <uint32_t>0x4b400000 + <uint32_t>254
        half32 = biased32 >> 1
        first = fastloss_f32_from_bits(half32 << 23)
        second = fastloss_f32_from_bits((biased32 - half32) << 23)
    return (<real>1 + mad(r * r, p, r)) * first * second


# log1p_unit(x) domain [0, 1]
#   float64     max 0.00 ulp at 0x0p+0
#   float32     max 0.00 ulp at 0x0p+0
cdef inline real log1p_unit(real x) noexcept nogil:
    """log(1 + x) of an exponential e^-|a|: no exponent to take out."""
    return x - log1p_unit_rest(x)


cdef inline real log1p_unit_rest(real x) noexcept nogil:
    """x - log(1 + x), for x in [0, 1]: with x itself, the logarithm in two parts."""
    cdef real s = x / (x + <real>2)
    cdef real w = s * s
    cdef real half_square = <real>0.5 * x * x
    cdef real tail
    if real is double:
        tail = w * estrin10[real](w, <double>0.6666666666666666, 0.40000000000012625, 0.2857142856736382,
                            0.22222222702375702, 0.1818178991346358, 0.15385561290308844, 0.1331423971311878,
                            0.12000474495469697, 0.08802684847606324, 0.16161616353428193)
    else:
        tail = w * estrin5[real](w, <float>0.6666667, 0.39999542, 0.28597805, 0.21640232, 0.23492694)
    return half_square - s * (half_square + tail)


cdef inline real log_reduced(real k, real f) noexcept nogil:
    """k·log 2 + log(1 + f), for sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef real s = f / (f + <real>2)
    cdef real w = s * s
    cdef real half_square = <real>0.5 * f * f
    cdef real tail
    if real is double:
        tail = w * estrin7[real](w, <double>0.666666666666667, 0.39999999999899416, 0.28571428626134593, 0.22222211103745135,
                           0.18182891464433487, 0.15331644760453753, 0.14617371737605084)
        tail = half_square - mad(s, half_square + tail, k * <double>5.497923018708371e-14)
        return mad(k, <double>0.6931471805598903, f - tail)
    else:
        tail = w * estrin3[real](w, <float>0.66666687, 0.39988545, 0.29586828)
        tail = half_square - mad(s, half_square + tail, k * <float>1.4286068e-06)
        return mad(k, <float>0.693145751953125, f - tail)


# log(x)        domain [0, inf]
#   float64     max 0.00 ulp at 0x0p+0
#   float32     max 0.00 ulp at 0x0p+0
cdef inline real log(real x) noexcept nogil:
    cdef bint subnormal
    cdef real lifted, k, f, result
    cdef uint64_t exponent64, bits64
    cdef uint32_t exponent32, bits32
    # The exponent is taken so that the mantissa lands in [sqrt(1/2), sqrt(2)); the offset keeps it positive, as the
    # ISAs before v4 have no arithmetic shift and no conversion of 64-bit integers.
    if real is double:
        lifted = x * <double>18014398509481984.0 if x < <double>2.2250738585072014e-308 else x
        bits64 = fastloss_bits_from_f64(lifted)
        exponent64 = (bits64 - <uint64_t>0x3fe6a09e667f3bcd + (<uint64_t>1024 << 52)) >> 52
        k = fastloss_f64_from_bits(exponent64 | <uint64_t>0x4330000000000000) - <double>4503599627371520.0
        f = fastloss_f64_from_bits(bits64 - ((exponent64 - <uint64_t>1024) << 52)) - <double>1
        k = k - <double>54 if x < <double>2.2250738585072014e-308 else k
        result = log_reduced(k, f)
        result = x if x > <double>1.7976931348623157e308 else result
    else:
        lifted = x * <float>33554432.0 if x < <float>1.1754943508222875e-38 else x
        bits32 = fastloss_bits_from_f32(lifted)
        exponent32 = (bits32 - <uint32_t>0x3f3504f3 + (<uint32_t>128 << 23)) >> 23
        k = fastloss_f32_from_bits(exponent32 | <uint32_t>0x4b000000) - <float>8388736.0
        f = fastloss_f32_from_bits(bits32 - ((exponent32 - <uint32_t>128) << 23)) - <float>1
        k = k - <float>25 if x < <float>1.1754943508222875e-38 else k
        result = log_reduced(k, f)
        result = x if x > <float>3.4028234663852886e38 else result
    return log_edges(x, result)


cdef inline real log_edges(real x, real result) noexcept nogil:
    """-inf at 0, NaN below and for NaN."""
    cdef real zero = <real>0
    cdef real infinity = <real>1 / zero
    result = -infinity if x == zero else result
    return result if x >= zero else zero / zero


# log1p(x)      domain [-1, inf]
#   float64     max 0.00 ulp at 0x0p+0
#   float32     max 0.00 ulp at 0x0p+0
cdef inline real log1p(real x) noexcept nogil:
    # u = 1 + x loses the low bits of x: u = 2^k·(1 + f), and what was lost, c, goes back into f as c·2^-k.
    cdef real u = x + <real>1
    cdef real c = x - (u - <real>1)
    cdef real k, f, result
    cdef uint64_t exponent64, bits64
    cdef uint32_t exponent32, bits32
    if real is double:
        bits64 = fastloss_bits_from_f64(u)
        exponent64 = (bits64 - <uint64_t>0x3fe6a09e667f3bcd + (<uint64_t>1024 << 52)) >> 52
        k = fastloss_f64_from_bits(exponent64 | <uint64_t>0x4330000000000000) - <double>4503599627371520.0
        f = fastloss_f64_from_bits(bits64 - ((exponent64 - <uint64_t>1024) << 52)) - <double>1
        # 2^-k, as 2^(1 - k)/2: k reaches 1024
        f = mad(c * <double>0.5, fastloss_f64_from_bits((<uint64_t>2048 - exponent64) << 52), f)
        result = log_reduced(k, f)
        result = x if x > <double>1.7976931348623157e308 else result
    else:
        bits32 = fastloss_bits_from_f32(u)
        exponent32 = (bits32 - <uint32_t>0x3f3504f3 + (<uint32_t>128 << 23)) >> 23
        k = fastloss_f32_from_bits(exponent32 | <uint32_t>0x4b000000) - <float>8388736.0
        f = fastloss_f32_from_bits(bits32 - ((exponent32 - <uint32_t>128) << 23)) - <float>1
        f = mad(c * <float>0.5, fastloss_f32_from_bits((<uint32_t>256 - exponent32) << 23), f)
        result = log_reduced(k, f)
        result = x if x > <float>3.4028234663852886e38 else result
    return log_edges(u, result)


# atan(x)       domain [0, inf]
#   float64     max 0.00 ulp at 0x0p+0
#   float32     max 0.00 ulp at 0x0p+0
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
        w = w * estrin11[real](w, <double>-0.3333333333333333, 0.19999999999996249, -0.14285714284775008, 0.11111111022333395,
                         -0.09090904824725113, 0.07692188256720497, -0.06664575780588049, 0.05858659540285397,
                         -0.050879153647034596, 0.039297886136655004, -0.019252756991150186)
    else:
        high = <float>1.5707964 if far else <float>0.7853982
        low = <float>-4.371139e-08 if far else <float>-2.1855694e-08
        w = w * estrin5[real](w, <float>-0.3333333, 0.19999519, -0.14263654, 0.10742208, -0.06449571)
    high = <real>0 if near else high
    low = <real>0 if near else low
    return high + (t + mad(t, w, low))


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
