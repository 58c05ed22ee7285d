/* The little that plain Cython cannot say: bit casts, one fused multiply-add, and a CPU check.
   Everything here is static and inline, so each ISA module gets its own copy. */
#ifndef FASTLOSS_BITS_H
#define FASTLOSS_BITS_H

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

#if defined(_MSC_VER)
#define FASTLOSS_INLINE static __forceinline
#else
#define FASTLOSS_INLINE static inline __attribute__((always_inline, unused))
#endif

FASTLOSS_INLINE double fastloss_f64_from_bits(uint64_t bits) { double x; memcpy(&x, &bits, 8); return x; }
FASTLOSS_INLINE uint64_t fastloss_bits_from_f64(double x) { uint64_t bits; memcpy(&bits, &x, 8); return bits; }
FASTLOSS_INLINE float fastloss_f32_from_bits(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
FASTLOSS_INLINE uint32_t fastloss_bits_from_f32(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }

/* Multiply-add, fused where the ISA has the instruction. Written out, and never left to the compiler's
   contraction (-ffp-contract=off), so that vector bodies, tails and modes agree bit for bit. Elsewhere a
   library fma would be a scalar call of some hundred cycles. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FASTLOSS_FUSED 1
FASTLOSS_INLINE double fastloss_mad_f64(double a, double b, double c) { return __builtin_fma(a, b, c); }
FASTLOSS_INLINE float fastloss_mad_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
#define FASTLOSS_FUSED 0
FASTLOSS_INLINE double fastloss_mad_f64(double a, double b, double c) { return a * b + c; }
FASTLOSS_INLINE float fastloss_mad_f32(float a, float b, float c) { return a * b + c; }
#endif

#if defined(__GNUC__) || defined(__clang__)
#define fastloss_sqrt_f64 __builtin_sqrt
#define fastloss_sqrt_f32 __builtin_sqrtf
#else
#include <math.h>
#define fastloss_sqrt_f64 sqrt
#define fastloss_sqrt_f32 sqrtf
#endif

/* Fetches what will be read soon into the cache; never faults. */
#if defined(__GNUC__) || defined(__clang__)
#define fastloss_prefetch(address) __builtin_prefetch(address, 0, 3)
#define fastloss_prefetch_l2(address) __builtin_prefetch(address, 0, 2)
#else
#define fastloss_prefetch(address) ((void)(address))
#define fastloss_prefetch_l2(address) ((void)(address))
#endif

/* How rows of classes are worked on, by what was measured (with AVX-512 on other CPUs than the rest, which were on
   Zen 4).
   FEW_CLASSES: up to so many, rows go side by side.
   FEW_LABELS: up to so many classes, these look for their labels' numbers among all; above, they are fetched by index.
   BYTES_OF_ROWS: of a group of whole rows, about, over which one pass goes after the other. It stays in the L1 cache
   with AVX-512; with shorter vectors the L2 cache is as quick, and memory gives more to long passes. */
#if defined(__AVX512F__)
enum { FASTLOSS_FEW_CLASSES = 24, FASTLOSS_FEW_LABELS = 24, FASTLOSS_BYTES_OF_ROWS = 32768 };
#elif defined(__AVX2__)
enum { FASTLOSS_FEW_CLASSES = 63, FASTLOSS_FEW_LABELS = 10, FASTLOSS_BYTES_OF_ROWS = 131072 };
#else
enum { FASTLOSS_FEW_CLASSES = 63, FASTLOSS_FEW_LABELS = 0, FASTLOSS_BYTES_OF_ROWS = 131072 };
#endif

/* Copies 64 bytes to a line of memory; the second writes past the caches, without reading the line first, and ends with
   fastloss_end_stream. A register at a time, since compilers copy more through memory. */
#if defined(__AVX2__) && !defined(__AVX512F__)
FASTLOSS_INLINE void fastloss_copy_line(void *line, const void *values)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)values);
    __m256i high = _mm256_loadu_si256((const __m256i *)values + 1);
    _mm256_storeu_si256((__m256i *)line, low);
    _mm256_storeu_si256((__m256i *)line + 1, high);
}
#else
FASTLOSS_INLINE void fastloss_copy_line(void *line, const void *values) { memcpy(line, values, 64); }
#endif
#if defined(__AVX512F__)
FASTLOSS_INLINE void fastloss_stream_line(void *line, const void *values)
{
    _mm512_stream_si512((__m512i *)line, _mm512_loadu_si512(values));
}
#elif defined(__AVX2__)
FASTLOSS_INLINE void fastloss_stream_line(void *line, const void *values)
{
    _mm256_stream_si256((__m256i *)line, _mm256_loadu_si256((const __m256i *)values));
    _mm256_stream_si256((__m256i *)line + 1, _mm256_loadu_si256((const __m256i *)values + 1));
}
#elif defined(__SSE2__) || defined(_M_X64)
FASTLOSS_INLINE void fastloss_stream_line(void *line, const void *values)
{
    for (int i = 0; i < 4; i++)
        _mm_stream_si128((__m128i *)line + i, _mm_loadu_si128((const __m128i *)values + i));
}
#else
#define fastloss_stream_line fastloss_copy_line
#endif

FASTLOSS_INLINE void fastloss_end_stream(void)
{
#if defined(__SSE2__) || defined(_M_X64)
    _mm_sfence();
#endif
}

/* Whether this CPU is AMD's, whose memory wants other loops than Intel's. */
static inline int fastloss_is_amd(void)
{
#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
    __builtin_cpu_init();
    return __builtin_cpu_is("amd");
#else
    return 0;
#endif
}

/* 2, 3 or 4 for the highest x86-64 level that this CPU and its operating system run; 0 elsewhere. */
static inline int fastloss_x86_64_level(void)
{
#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))) return 0;
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
          && __builtin_cpu_supports("bmi2"))) return 2;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
          && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
          && __builtin_cpu_supports("avx512vl"))) return 3;
    return 4;
#else
    return 0;
#endif
}

#endif
