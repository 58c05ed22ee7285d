/* Four rows of four numbers and their transpose: compilers go through memory for it, and wait there.
   Everything here is static and inline, so each ISA module gets its own copy. */
#ifndef FASTLOSS_TRANSPOSE_H
#define FASTLOSS_TRANSPOSE_H

#include <stddef.h>
#include "bits.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FASTLOSS_SHUFFLES
#endif
#endif

/* to[k·to_step + j] = from[j·from_step + k] for j, k < 4, with steps in numbers */
#ifdef FASTLOSS_SHUFFLES
#define FASTLOSS_TRANSPOSE(name, real)                                                                      \
typedef real name##_vector __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias)); \
FASTLOSS_INLINE void name(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step)               \
{                                                                                                           \
    name##_vector a = *(const name##_vector *)from;                                                         \
    name##_vector b = *(const name##_vector *)(from + from_step);                                           \
    name##_vector c = *(const name##_vector *)(from + 2 * from_step);                                       \
    name##_vector d = *(const name##_vector *)(from + 3 * from_step);                                       \
    name##_vector ab_even = __builtin_shufflevector(a, b, 0, 4, 2, 6);                                      \
    name##_vector ab_odd = __builtin_shufflevector(a, b, 1, 5, 3, 7);                                       \
    name##_vector cd_even = __builtin_shufflevector(c, d, 0, 4, 2, 6);                                      \
    name##_vector cd_odd = __builtin_shufflevector(c, d, 1, 5, 3, 7);                                       \
    *(name##_vector *)to = __builtin_shufflevector(ab_even, cd_even, 0, 1, 4, 5);                           \
    *(name##_vector *)(to + to_step) = __builtin_shufflevector(ab_odd, cd_odd, 0, 1, 4, 5);                 \
    *(name##_vector *)(to + 2 * to_step) = __builtin_shufflevector(ab_even, cd_even, 2, 3, 6, 7);           \
    *(name##_vector *)(to + 3 * to_step) = __builtin_shufflevector(ab_odd, cd_odd, 2, 3, 6, 7);             \
}
#else
#define FASTLOSS_TRANSPOSE(name, real)                                                        \
FASTLOSS_INLINE void name(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step) \
{                                                                                             \
    real numbers[16];                                                                         \
    for (int j = 0; j < 4; j++) memcpy(numbers + 4 * j, from + j * from_step, 4 * sizeof(real)); \
    for (int j = 0; j < 4; j++)                                                               \
        for (int k = 0; k < 4; k++) to[k * to_step + j] = numbers[4 * j + k];                 \
}
#endif

FASTLOSS_TRANSPOSE(fastloss_transpose_f64, double)
FASTLOSS_TRANSPOSE(fastloss_transpose_f32, float)

#endif
