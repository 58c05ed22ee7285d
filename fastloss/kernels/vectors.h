/* Vectors of 8 doubles, for sums of products: compilers make too little of these loops, with their ends and two types.
   Everything here is static and inline, so each ISA module gets its own copy. */
#ifndef FASTLOSS_VECTORS_H
#define FASTLOSS_VECTORS_H

#include "bits.h"

/* FASTLOSS_AT_ONCE: how many sums, of a vector each, registers hold beside what is added: four, or two. */
#if defined(__AVX512F__)

#define FASTLOSS_AT_ONCE 4
typedef __m512d fastloss_vector;

FASTLOSS_INLINE fastloss_vector fastloss_all(double x) { return _mm512_set1_pd(x); }
FASTLOSS_INLINE fastloss_vector fastloss_load_f64(const double *x) { return _mm512_loadu_pd(x); }
FASTLOSS_INLINE fastloss_vector fastloss_load_f32(const float *x) { return _mm512_cvtps_pd(_mm256_loadu_ps(x)); }
FASTLOSS_INLINE void fastloss_store(double *x, fastloss_vector v) { _mm512_storeu_pd(x, v); }
FASTLOSS_INLINE fastloss_vector fastloss_mad(fastloss_vector a, fastloss_vector b, fastloss_vector c)
{
    return _mm512_fmadd_pd(a, b, c);
}
FASTLOSS_INLINE fastloss_vector fastloss_added(fastloss_vector a, fastloss_vector b) { return _mm512_add_pd(a, b); }

/* The first n numbers, then zeros; nothing beyond them is touched. */
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f64(const double *x, int n)
{
    return _mm512_maskz_loadu_pd((__mmask8)((1 << n) - 1), x);
}
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f32(const float *x, int n)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(_mm512_maskz_loadu_ps((__mmask16)((1 << n) - 1), x)));
}
FASTLOSS_INLINE void fastloss_store_some(double *x, int n, fastloss_vector v)
{
    _mm512_mask_storeu_pd(x, (__mmask8)((1 << n) - 1), v);
}

FASTLOSS_INLINE __m256d fastloss_halves_added(fastloss_vector v)
{
    return _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
}

#elif defined(__AVX2__) && defined(__FMA__)

#define FASTLOSS_AT_ONCE 4
typedef struct { __m256d low, high; } fastloss_vector;

FASTLOSS_INLINE fastloss_vector fastloss_pair(__m256d low, __m256d high)
{
    fastloss_vector v;
    v.low = low;
    v.high = high;
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_all(double x) { return fastloss_pair(_mm256_set1_pd(x), _mm256_set1_pd(x)); }
FASTLOSS_INLINE fastloss_vector fastloss_load_f64(const double *x)
{
    return fastloss_pair(_mm256_loadu_pd(x), _mm256_loadu_pd(x + 4));
}
FASTLOSS_INLINE fastloss_vector fastloss_load_f32(const float *x)
{
    return fastloss_pair(_mm256_cvtps_pd(_mm_loadu_ps(x)), _mm256_cvtps_pd(_mm_loadu_ps(x + 4)));
}
FASTLOSS_INLINE void fastloss_store(double *x, fastloss_vector v)
{
    _mm256_storeu_pd(x, v.low);
    _mm256_storeu_pd(x + 4, v.high);
}
FASTLOSS_INLINE fastloss_vector fastloss_mad(fastloss_vector a, fastloss_vector b, fastloss_vector c)
{
    return fastloss_pair(_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high));
}
FASTLOSS_INLINE fastloss_vector fastloss_added(fastloss_vector a, fastloss_vector b)
{
    return fastloss_pair(_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high));
}

FASTLOSS_INLINE __m256i fastloss_first(int n) /* of 4 */
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_set_epi64x(3, 2, 1, 0));
}
FASTLOSS_INLINE __m128i fastloss_first_32(int n)
{
    return _mm_cmpgt_epi32(_mm_set1_epi32(n), _mm_set_epi32(3, 2, 1, 0));
}
/* The first n numbers, then zeros; nothing beyond them is touched. */
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f64(const double *x, int n)
{
    return fastloss_pair(_mm256_maskload_pd(x, fastloss_first(n)), _mm256_maskload_pd(x + 4, fastloss_first(n - 4)));
}
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f32(const float *x, int n)
{
    return fastloss_pair(_mm256_cvtps_pd(_mm_maskload_ps(x, fastloss_first_32(n))),
                         _mm256_cvtps_pd(_mm_maskload_ps(x + 4, fastloss_first_32(n - 4))));
}
FASTLOSS_INLINE void fastloss_store_some(double *x, int n, fastloss_vector v)
{
    __m256d four = v.low; /* by branches: a store under a mask takes some twenty cycles on AMD's cores */
    __m128d two;
    if (n >= 4) {
        _mm256_storeu_pd(x, four);
        four = v.high;
        x += 4;
    }
    two = _mm256_castpd256_pd128(four);
    if (n & 2) {
        _mm_storeu_pd(x, two);
        two = _mm256_extractf128_pd(four, 1);
        x += 2;
    }
    if (n & 1) _mm_store_sd(x, two);
}

FASTLOSS_INLINE __m256d fastloss_halves_added(fastloss_vector v) { return _mm256_add_pd(v.low, v.high); }

#elif defined(__SSE2__) || defined(_M_X64)

#define FASTLOSS_AT_ONCE 2
typedef struct { __m128d a, b, c, d; } fastloss_vector;

FASTLOSS_INLINE fastloss_vector fastloss_all(double x)
{
    fastloss_vector v;
    v.a = v.b = v.c = v.d = _mm_set1_pd(x);
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_load_f64(const double *x)
{
    fastloss_vector v;
    v.a = _mm_loadu_pd(x);
    v.b = _mm_loadu_pd(x + 2);
    v.c = _mm_loadu_pd(x + 4);
    v.d = _mm_loadu_pd(x + 6);
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_load_f32(const float *x)
{
    fastloss_vector v;
    __m128 low = _mm_loadu_ps(x), high = _mm_loadu_ps(x + 4);
    v.a = _mm_cvtps_pd(low);
    v.b = _mm_cvtps_pd(_mm_movehl_ps(low, low));
    v.c = _mm_cvtps_pd(high);
    v.d = _mm_cvtps_pd(_mm_movehl_ps(high, high));
    return v;
}
FASTLOSS_INLINE void fastloss_store(double *x, fastloss_vector v)
{
    _mm_storeu_pd(x, v.a);
    _mm_storeu_pd(x + 2, v.b);
    _mm_storeu_pd(x + 4, v.c);
    _mm_storeu_pd(x + 6, v.d);
}
FASTLOSS_INLINE fastloss_vector fastloss_mad(fastloss_vector a, fastloss_vector b, fastloss_vector c)
{
    c.a = _mm_add_pd(_mm_mul_pd(a.a, b.a), c.a);
    c.b = _mm_add_pd(_mm_mul_pd(a.b, b.b), c.b);
    c.c = _mm_add_pd(_mm_mul_pd(a.c, b.c), c.c);
    c.d = _mm_add_pd(_mm_mul_pd(a.d, b.d), c.d);
    return c;
}
FASTLOSS_INLINE fastloss_vector fastloss_added(fastloss_vector a, fastloss_vector b)
{
    a.a = _mm_add_pd(a.a, b.a);
    a.b = _mm_add_pd(a.b, b.b);
    a.c = _mm_add_pd(a.c, b.c);
    a.d = _mm_add_pd(a.d, b.d);
    return a;
}

FASTLOSS_INLINE __m128d fastloss_first_f64(const double *x, int n) /* of 2 */
{
    return n >= 2 ? _mm_loadu_pd(x) : n == 1 ? _mm_load_sd(x) : _mm_setzero_pd();
}
FASTLOSS_INLINE __m128d fastloss_first_f32(const float *x, int n)
{
    return _mm_cvtps_pd(n >= 2 ? _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)x)) : n == 1 ? _mm_load_ss(x)
                                                                                                : _mm_setzero_ps());
}
/* The first n numbers, then zeros; nothing beyond them is touched. */
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f64(const double *x, int n)
{
    fastloss_vector v;
    v.a = fastloss_first_f64(x, n);
    v.b = fastloss_first_f64(x + 2, n - 2);
    v.c = fastloss_first_f64(x + 4, n - 4);
    v.d = fastloss_first_f64(x + 6, n - 6);
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f32(const float *x, int n)
{
    fastloss_vector v;
    v.a = fastloss_first_f32(x, n);
    v.b = fastloss_first_f32(x + 2, n - 2);
    v.c = fastloss_first_f32(x + 4, n - 4);
    v.d = fastloss_first_f32(x + 6, n - 6);
    return v;
}
FASTLOSS_INLINE void fastloss_store_first(double *x, int n, __m128d two)
{
    if (n >= 2)
        _mm_storeu_pd(x, two);
    else if (n == 1)
        _mm_store_sd(x, two);
}
FASTLOSS_INLINE void fastloss_store_some(double *x, int n, fastloss_vector v)
{
    fastloss_store_first(x, n, v.a);
    fastloss_store_first(x + 2, n - 2, v.b);
    fastloss_store_first(x + 4, n - 4, v.c);
    fastloss_store_first(x + 6, n - 6, v.d);
}

#else

#define FASTLOSS_AT_ONCE 2
typedef struct { double at[8]; } fastloss_vector;

FASTLOSS_INLINE fastloss_vector fastloss_all(double x)
{
    fastloss_vector v;
    for (int q = 0; q < 8; q++) v.at[q] = x;
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_load_f64(const double *x)
{
    fastloss_vector v;
    for (int q = 0; q < 8; q++) v.at[q] = x[q];
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_load_f32(const float *x)
{
    fastloss_vector v;
    for (int q = 0; q < 8; q++) v.at[q] = x[q];
    return v;
}
FASTLOSS_INLINE void fastloss_store(double *x, fastloss_vector v)
{
    for (int q = 0; q < 8; q++) x[q] = v.at[q];
}
FASTLOSS_INLINE fastloss_vector fastloss_mad(fastloss_vector a, fastloss_vector b, fastloss_vector c)
{
    for (int q = 0; q < 8; q++) c.at[q] = fastloss_mad_f64(a.at[q], b.at[q], c.at[q]);
    return c;
}
FASTLOSS_INLINE fastloss_vector fastloss_added(fastloss_vector a, fastloss_vector b)
{
    for (int q = 0; q < 8; q++) a.at[q] += b.at[q];
    return a;
}

/* The first n numbers, then zeros; nothing beyond them is touched. */
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f64(const double *x, int n)
{
    fastloss_vector v = fastloss_all(0.0);
    for (int q = 0; q < n; q++) v.at[q] = x[q];
    return v;
}
FASTLOSS_INLINE fastloss_vector fastloss_load_some_f32(const float *x, int n)
{
    fastloss_vector v = fastloss_all(0.0);
    for (int q = 0; q < n; q++) v.at[q] = x[q];
    return v;
}
FASTLOSS_INLINE void fastloss_store_some(double *x, int n, fastloss_vector v)
{
    for (int q = 0; q < n; q++) x[q] = v.at[q];
}

#endif

/* out = the sum of each; on all ISAs in the same order. */
#if defined(__AVX2__) && defined(__FMA__)
FASTLOSS_INLINE __m256d fastloss_four_sums(fastloss_vector a, fastloss_vector b, fastloss_vector c, fastloss_vector d)
{
    __m256d ab = _mm256_hadd_pd(fastloss_halves_added(a), fastloss_halves_added(b));
    __m256d cd = _mm256_hadd_pd(fastloss_halves_added(c), fastloss_halves_added(d));
    return _mm256_add_pd(_mm256_blend_pd(ab, cd, 12), _mm256_permute2f128_pd(ab, cd, 0x21));
}
FASTLOSS_INLINE void fastloss_sums(fastloss_vector a, fastloss_vector b, fastloss_vector c, fastloss_vector d, double *out)
{
    _mm256_storeu_pd(out, fastloss_four_sums(a, b, c, d));
}
FASTLOSS_INLINE void fastloss_add_sums(fastloss_vector a, fastloss_vector b, fastloss_vector c, fastloss_vector d, double *out)
{
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_loadu_pd(out), fastloss_four_sums(a, b, c, d)));
}
#else
FASTLOSS_INLINE double fastloss_sum(fastloss_vector v)
{
    double at[8];
    fastloss_store(at, v);
    return ((at[0] + at[4]) + (at[1] + at[5])) + ((at[2] + at[6]) + (at[3] + at[7]));
}
FASTLOSS_INLINE void fastloss_sums(fastloss_vector a, fastloss_vector b, fastloss_vector c, fastloss_vector d, double *out)
{
    out[0] = fastloss_sum(a);
    out[1] = fastloss_sum(b);
    out[2] = fastloss_sum(c);
    out[3] = fastloss_sum(d);
}
FASTLOSS_INLINE void fastloss_add_sums(fastloss_vector a, fastloss_vector b, fastloss_vector c, fastloss_vector d, double *out)
{
    double sums[4];
    fastloss_sums(a, b, c, d, sums);
    for (int q = 0; q < 4; q++) out[q] += sums[q];
}
#endif

#endif
