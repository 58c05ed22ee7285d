# The hot path of linear models, compiled once per ISA: products with a block of rows of X, which stays in the L1 or L2
# cache between the two, its scores and its part of the gradient. Sums are in double, also where X is float32: its
# numbers are converted as they are read. No Python objects below `bind`. What is included here (images, and
# rows of two arrays) is in this module since each module takes room for Cython's own code, once per ISA.
#
# Of one output or two, four rows go at a time, so that coefficients (or their gradient) are read once for four (but
# for the first scores of rows that come from memory, which are read one by one); of more, up to four outputs, so that
# a row is. Where X lies in columns, the same two loops serve with the roles exchanged: scores add up columns,
# gradients are sums along them. Where it lies in rows, one loop does both: it adds the gradient of a block, which is
# in the cache, and the scores of the next, which come from memory meanwhile. AMD's cores (Zen 4 was measured) read
# rows one after the other at 2.5 times the pace of four at once, whatever is fetched ahead: there the scores come
# first, and the gradient of the same rows then (a few, where rows are short: see run_few in _linear.pyx).

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.math cimport fabs, frexp, ldexp, pow
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from . cimport math
from .filter cimport Image
from .math cimport absolute, exp_tail, expm1, mad
from .pairs cimport RowsCall, rows_kernel
from .types cimport (
    DENSE_COLUMNS, DENSE_ROWS, LANES, SPARSE_ROWS, STRIDED, Block, Products, Sum, gather_rows, product, product_pair,
    real,
)

cdef extern from "bits.h" nogil:
    void fastloss_prefetch(const void* address)
    bint fastloss_is_amd()

cdef extern from "vectors.h" nogil:
    const int AT_ONCE "FASTLOSS_AT_ONCE"  # 2 or 4 outputs
    ctypedef struct vector "fastloss_vector":  # of 8 doubles
        pass
    vector all_of "fastloss_all"(double x)
    vector load_f64 "fastloss_load_f64"(const double* x)
    vector load_f32 "fastloss_load_f32"(const float* x)
    vector load_some_f64 "fastloss_load_some_f64"(const double* x, int n)
    vector load_some_f32 "fastloss_load_some_f32"(const float* x, int n)
    void store_all "fastloss_store"(double* x, vector values)
    void store_some "fastloss_store_some"(double* x, int n, vector values)
    vector mad_of "fastloss_mad"(vector a, vector b, vector c)
    vector sum_of_two "fastloss_added"(vector a, vector b)
    void sums_of "fastloss_sums"(vector a, vector b, vector c, vector d, double* out)
    void add_sums_of "fastloss_add_sums"(vector a, vector b, vector c, vector d, double* out)

ctypedef fused item:
    float
    double

ctypedef fused position:
    int32_t
    int64_t

cdef enum:
    LANE = 16
    # Of rows up to SHORT bytes that follow each other in memory, what comes AHEAD bytes later is fetched (1 to 4 KB: as
    # fast as memory gives); of longer ones, and of columns, the same place of the next four. Without, or with the
    # other, a pass takes up to a third longer.
    SHORT = 1024
    AHEAD = 2048
    # Bytes of X that stay in the L1 cache while their gradient goes eight columns at a time.
    TILED = 16384


# ---- four vectors at a time ------------------------------------------------------------------------------------------

cdef inline vector take(const item* x, int n) noexcept nogil:
    """n of 8 numbers, as doubles; then zeros."""
    if item is float:
        return load_f32(x) if n == 8 else load_some_f32(x, n)
    else:
        return load_f64(x) if n == 8 else load_some_f64(x, n)


cdef inline void dot_step(const item* x, Py_ssize_t pitch, const double* w, int n, vector* s) noexcept nogil:
    """s += x·w: of four rows, n of 8 columns."""
    cdef vector v = take(w, n)
    s[0] = mad_of(take(x, n), v, s[0])
    s[1] = mad_of(take(x + pitch, n), v, s[1])
    s[2] = mad_of(take(x + 2 * pitch, n), v, s[2])
    s[3] = mad_of(take(x + 3 * pitch, n), v, s[3])


cdef inline void axpy_step(const item* x, Py_ssize_t pitch, const vector* a, int n, double* y) noexcept nogil:
    """y += a·x: of four rows, n of 8 columns."""
    # All but the last sum wait for no y, which the rows before have just stored.
    cdef vector v = mad_of(take(x, n), a[0], all_of(0.0))
    v = mad_of(take(x + pitch, n), a[1], v)
    v = mad_of(take(x + 2 * pitch, n), a[2], v)
    v = sum_of_two(take(y, n), mad_of(take(x + 3 * pitch, n), a[3], v))
    if n == 8:
        store_all(y, v)
    else:
        store_some(y, n, v)


cdef inline void dot_and_axpy(const item* u, const double* w, double* out, const item* x, Py_ssize_t pitch,
                              const double* a, Py_ssize_t step, double* y, Py_ssize_t n, const item* far,
                              bint packed) noexcept nogil:
    """Of four rows each, out = the dot products of u with w, and y += a·x, for numbers a that are `step` apart; without
    u or x only the other. `far`: which of them comes from memory, if any; `packed`: its rows are SHORT, and follow each
    other."""
    cdef vector s[4]
    cdef vector factors[4]
    cdef Py_ssize_t j, at, rest = n % 8
    if u != NULL:
        s[0] = s[1] = s[2] = s[3] = all_of(0.0)
    if x != NULL:
        factors[0], factors[1] = all_of(a[0]), all_of(a[step])
        factors[2], factors[3] = all_of(a[2 * step]), all_of(a[3 * step])
    for j in range(0, n - rest, 8):
        if far != NULL and packed:
            for at in range(0, 32 * sizeof(item), 64):
                fastloss_prefetch(<const char*>(far + 4 * j) + AHEAD + at)
        elif far != NULL:
            for at in range(4, 8):
                fastloss_prefetch(far + at * pitch + j)
        if u != NULL:
            dot_step(u + j, pitch, w + j, 8, s)
        if x != NULL:
            axpy_step(x + j, pitch, factors, 8, y + j)
    j = n - rest
    if rest and u != NULL:
        dot_step(u + j, pitch, w + j, <int>rest, s)
    if rest and x != NULL:
        axpy_step(x + j, pitch, factors, <int>rest, y + j)
    if u != NULL:
        sums_of(s[0], s[1], s[2], s[3], out)


cdef inline void dot4(const item* u, const double* w, double* out, Py_ssize_t pitch, Py_ssize_t n) noexcept nogil:
    dot_and_axpy(u, w, out, <const item*>NULL, pitch, NULL, 0, NULL, n, <const item*>NULL, False)


cdef inline void axpy4(const item* x, Py_ssize_t pitch, const double* a, Py_ssize_t step, double* y, Py_ssize_t n,
                       const item* far) noexcept nogil:
    dot_and_axpy(<const item*>NULL, NULL, NULL, x, pitch, a, step, y, n, far, False)


cdef inline vector dot_row(const item* x, const double* w, Py_ssize_t n) noexcept nogil:
    """Eight parts of a dot product, as in dot_step."""
    cdef vector s = all_of(0.0)
    cdef Py_ssize_t j, rest = n % 8
    for j in range(0, n - rest, 8):
        s = mad_of(take(x + j, 8), take(w + j, 8), s)
    if rest:
        s = mad_of(take(x + n - rest, <int>rest), take(w + n - rest, <int>rest), s)
    return s


cdef inline void add_dots_of_rows(const item* x, Py_ssize_t pitch, const double* w, double* out,
                                  Py_ssize_t n) noexcept nogil:
    """out += the same as dot4, one row after the other, as they lie in memory: which is how it is read at its full
    pace."""
    # Each in its turn: C computes arguments in any order, and GCC backwards, which takes twice the time.
    cdef vector first = dot_row(x, w, n)
    cdef vector second = dot_row(x + pitch, w, n)
    cdef vector third = dot_row(x + 2 * pitch, w, n)
    add_sums_of(first, second, third, dot_row(x + 3 * pitch, w, n), out)


cdef inline void add_dots_unrolled(const item* x, const double* w, Py_ssize_t apart, Py_ssize_t d, int outputs,
                                   double* z) noexcept nogil:
    """z += x·w of one row, and of so many outputs: a constant wherever this is inlined, and no more than 4."""
    cdef vector s[4]
    cdef vector v
    cdef double out[4]
    cdef Py_ssize_t j
    cdef int c, rest = <int>(d % 8)
    for c in range(4):
        s[c] = all_of(0.0)
    for j in range(0, d - rest, 8):
        v = take(x + j, 8)
        for c in range(outputs):
            s[c] = mad_of(v, take(w + c * apart + j, 8), s[c])
    if rest > 0:
        j = d - rest
        v = take(x + j, rest)
        for c in range(outputs):
            s[c] = mad_of(v, take(w + c * apart + j, rest), s[c])
    sums_of(s[0], s[1], s[2], s[3], out)
    for c in range(outputs):
        z[c] += out[c]


cdef inline void add_dots(const item* x, const double* w, Py_ssize_t apart, Py_ssize_t d, double* z,
                          Py_ssize_t outputs) noexcept nogil:
    if AT_ONCE == 4 and outputs == 4:
        add_dots_unrolled(x, w, apart, d, 4, z)
    elif AT_ONCE == 4 and outputs == 3:
        add_dots_unrolled(x, w, apart, d, 3, z)
    elif outputs == 2:
        add_dots_unrolled(x, w, apart, d, 2, z)
    else:
        add_dots_unrolled(x, w, apart, d, 1, z)


cdef inline void add_products_unrolled(const item* x, Py_ssize_t pitch, Py_ssize_t rows, const double* r, Py_ssize_t k,
                                       double* g, Py_ssize_t d, int outputs, int n) noexcept nogil:
    """g += rᵀ·x, of n of 8 columns, and of so many outputs: a constant wherever this is inlined, and no more than 4.
    A row after the other, so that x is read once for all of them, and g once for all rows."""
    cdef vector s[4]
    cdef vector v
    cdef Py_ssize_t i
    cdef int c
    for c in range(outputs):
        s[c] = take(g + c * d, n)
    for i in range(rows):
        v = take(x + i * pitch, n)
        for c in range(outputs):
            s[c] = mad_of(v, all_of(r[i * k + c]), s[c])
    for c in range(outputs):
        if n == 8:
            store_all(g + c * d, s[c])
        else:
            store_some(g + c * d, n, s[c])


cdef inline void add_products(const item* x, Py_ssize_t pitch, Py_ssize_t rows, const double* r, Py_ssize_t k,
                              double* g, Py_ssize_t d, Py_ssize_t outputs, Py_ssize_t n) noexcept nogil:
    cdef int c
    if n < 8:
        for c in range(<int>outputs):
            add_products_unrolled(x, pitch, rows, r + c, k, g + c * d, d, 1, <int>n)
    elif AT_ONCE == 4 and outputs == 4:
        add_products_unrolled(x, pitch, rows, r, k, g, d, 4, 8)
    elif AT_ONCE == 4 and outputs == 3:
        add_products_unrolled(x, pitch, rows, r, k, g, d, 3, 8)
    elif outputs == 2:
        add_products_unrolled(x, pitch, rows, r, k, g, d, 2, 8)
    else:
        add_products_unrolled(x, pitch, rows, r, k, g, d, 1, 8)


cdef inline double dot(const item* x, const double* w, Py_ssize_t n) noexcept nogil:
    cdef double out[4]
    sums_of(dot_row(x, w, n), all_of(0.0), all_of(0.0), all_of(0.0), out)
    return out[0]


cdef inline void axpy(const item* x, double a, Py_ssize_t n, double* y) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = mad(a, <double>x[j], y[j])


cdef inline double sum_of(double* s) noexcept nogil:
    """Of LANE numbers, which it overwrites: by halves, which are registers."""
    cdef Py_ssize_t q
    for q in range(8):
        s[q] += s[q + 8]
    for q in range(4):
        s[q] += s[q + 4]
    return (s[0] + s[2]) + (s[1] + s[3])


# ---- dense rows ------------------------------------------------------------------------------------------------------

cdef inline bint is_packed(const item* x, const Block* block) noexcept nogil:
    return block.pitch == block.features and block.features * <Py_ssize_t>sizeof(item) <= SHORT


cdef void scores_of_rows(const item* x, const void* unused, const Block* block,
                         const double* w, double* z) noexcept nogil:
    cdef Py_ssize_t i, c, q, first, d = block.features, k = block.outputs, fours = block.rows - block.rows % 4
    cdef Py_ssize_t groups = (k + AT_ONCE - 1) // AT_ONCE
    cdef double out[4]
    if k > 2:
        for i in range(block.rows):
            for q in range(groups):  # of outputs, as equal as may be
                first = q * k // groups
                add_dots(x + i * block.pitch, w + first * block.apart, block.apart, d, z + i * k + first,
                         (q + 1) * k // groups - first)
        return
    for i in range(0, fours, 4):
        if k == 1:
            add_dots_of_rows(x + i * block.pitch, block.pitch, w, z + i, d)
            continue
        memset(out, 0, sizeof(out))
        add_dots_of_rows(x + i * block.pitch, block.pitch, w, out, d)
        for q in range(4):
            z[2 * (i + q)] += out[q]
        dot4(x + i * block.pitch, w + block.apart, out, block.pitch, d)  # now they are in the cache
        for q in range(4):
            z[2 * (i + q) + 1] += out[q]
    for i in range(fours, block.rows):
        for c in range(k):
            z[i * k + c] += dot(x + i * block.pitch, w + c * block.apart, d)


cdef void gradient_of_rows(const item* x, const void* unused, const Block* block,
                           const double* r, double* g) noexcept nogil:
    cdef Py_ssize_t i, c, q, j, first, rows, index, d = block.features, k = block.outputs
    cdef Py_ssize_t group = max(<Py_ssize_t>8, TILED // max(<Py_ssize_t>1, d * <Py_ssize_t>sizeof(item)))
    cdef Py_ssize_t fours = 0 if block.careful else block.rows - block.rows % 4
    if k > 2 and not block.careful:
        for index in range((block.rows + group - 1) // group):
            first = index * group
            rows = min(group, block.rows - first)
            for j in range(0, d, 8):
                for q in range((k + AT_ONCE - 1) // AT_ONCE):
                    c = q * AT_ONCE
                    add_products(x + first * block.pitch + j, block.pitch, rows, r + first * k + c, k, g + c * d + j, d,
                                 min(<Py_ssize_t>AT_ONCE, k - c), min(<Py_ssize_t>8, d - j))
        return
    for i in range(0, fours, 4):
        for c in range(k):
            axpy4(x + i * block.pitch, block.pitch, r + i * k + c, k, g + c * d, d, <const item*>NULL)
    for i in range(fours, block.rows):
        for c in range(k):
            if r[i * k + c] != 0.0:
                axpy(x + i * block.pitch, r[i * k + c], d, g + c * d)


cdef void gradient_and_scores_of_rows(const item* x, const item* next, const Block* block, const double* r, double* g,
                                      const double* w, double* z) noexcept nogil:
    cdef Py_ssize_t i, q, pitch = block.pitch
    cdef double out[4]
    for i in range(0, block.rows, 4):
        dot_and_axpy(next + i * pitch, w, out, x + i * pitch, pitch, r + i, 1, g, block.features, next + i * pitch,
                     is_packed(x, block))
        for q in range(4):
            z[i + q] += out[q]


cdef void gather_from_rows(const item* x, const void* unused, const Block* block,
                           double* out, Py_ssize_t pitch) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(block.rows):
        for j in range(block.features):
            out[i * pitch + j] = x[i * block.pitch + j]


cdef void gather_strided(const item* x, const void* unused, const Block* block,
                         double* out, Py_ssize_t pitch) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(block.rows):
        for j in range(block.features):
            out[i * pitch + j] = (<const item*>(<const char*>x + i * block.pitch + j * block.step))[0]


# ---- dense columns, of one output (BLAS does more) -------------------------------------------------------------------

cdef void scores_of_columns(const item* x, const void* unused, const Block* block,
                            const double* w, double* z) noexcept nogil:
    cdef Py_ssize_t j, pitch = block.pitch, fours = block.features - block.features % 4
    for j in range(0, fours, 4):
        axpy4(x + j * pitch, pitch, w + j, 1, z, block.rows, x + j * pitch)
    for j in range(fours, block.features):
        axpy(x + j * pitch, w[j], block.rows, z)


cdef void gradient_of_columns(const item* x, const void* unused, const Block* block,
                              const double* r, double* g) noexcept nogil:
    cdef Py_ssize_t i, j, c, q, pitch = block.pitch, k = block.outputs, fours = block.features - block.features % 4
    cdef double out[4]
    if block.careful:
        for c in range(k):
            for j in range(block.features):
                for i in range(block.rows):
                    if r[i * k + c] != 0.0:
                        g[c * block.features + j] += r[i * k + c] * x[j * pitch + i]
        return
    for j in range(0, fours, 4):
        dot4(x + j * pitch, r, out, pitch, block.rows)
        for q in range(4):
            g[j + q] += out[q]
    for j in range(fours, block.features):
        g[j] += dot(x + j * pitch, r, block.rows)


cdef void gradient_and_scores_of_columns(const item* x, const item* next, const Block* block, const double* r,
                                         double* g, const double* w, double* z) noexcept nogil:
    cdef Py_ssize_t j, q, pitch = block.pitch, fours = block.features - block.features % 4
    cdef double out[4]
    for j in range(0, fours, 4):
        dot_and_axpy(x + j * pitch, r, out, next + j * pitch, pitch, w + j, 1, z, block.rows, next + j * pitch, False)
        for q in range(4):
            g[j + q] += out[q]
    for j in range(fours, block.features):
        g[j] += dot(x + j * pitch, r, block.rows)
        axpy(next + j * pitch, w[j], block.rows, z)


cdef void gather_from_columns(const item* x, const void* unused, const Block* block,
                              double* out, Py_ssize_t pitch) noexcept nogil:
    cdef Py_ssize_t i, j
    for j in range(block.features):
        for i in range(block.rows):
            out[i * pitch + j] = x[j * block.pitch + i]


# ---- sparse rows -----------------------------------------------------------------------------------------------------

cdef void scores_of_sparse_rows(const item* x, const position* at, const Block* block, const double* w,
                                double* z) noexcept nogil:
    cdef Py_ssize_t i, c, k = block.outputs
    cdef int64_t p, stop
    cdef double s0, s1, s2, s3
    for i in range(block.rows):
        p = block.starts[i]
        stop = block.ends[i]
        if k == 1:
            s0 = s1 = s2 = s3 = 0.0
            while p + 4 <= stop:
                fastloss_prefetch(<const char*>(x + p) + AHEAD)
                fastloss_prefetch(<const char*>(at + p) + AHEAD)
                s0 = mad(<double>x[p], w[at[p]], s0)
                s1 = mad(<double>x[p + 1], w[at[p + 1]], s1)
                s2 = mad(<double>x[p + 2], w[at[p + 2]], s2)
                s3 = mad(<double>x[p + 3], w[at[p + 3]], s3)
                p += 4
            while p < stop:
                s0 = mad(<double>x[p], w[at[p]], s0)
                p += 1
            z[i] += (s0 + s1) + (s2 + s3)
        else:
            while p < stop:
                for c in range(k):
                    z[i * k + c] = mad(<double>x[p], w[at[p] * k + c], z[i * k + c])
                p += 1


cdef void gradient_of_sparse_rows(const item* x, const position* at, const Block* block,
                                  const double* r, double* g) noexcept nogil:
    cdef Py_ssize_t i, c, k = block.outputs
    cdef int64_t p, stop
    cdef double a
    for i in range(block.rows):
        if k == 1:
            a = r[i]
            if a == 0.0:
                continue
            p = block.starts[i]
            stop = block.ends[i]
            while p + 4 <= stop:
                g[at[p]] = mad(a, <double>x[p], g[at[p]])
                g[at[p + 1]] = mad(a, <double>x[p + 1], g[at[p + 1]])
                g[at[p + 2]] = mad(a, <double>x[p + 2], g[at[p + 2]])
                g[at[p + 3]] = mad(a, <double>x[p + 3], g[at[p + 3]])
                p += 4
            while p < stop:
                g[at[p]] = mad(a, <double>x[p], g[at[p]])
                p += 1
        else:
            for p in range(block.starts[i], block.ends[i]):
                for c in range(k):
                    if r[i * k + c] != 0.0 or not block.careful:
                        g[at[p] * k + c] = mad(r[i * k + c], <double>x[p], g[at[p] * k + c])


cdef void gather_from_sparse_rows(const item* x, const position* at, const Block* block,
                                  double* out, Py_ssize_t pitch) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t p
    for i in range(block.rows):
        memset(out + i * pitch, 0, block.features * sizeof(double))
        for p in range(block.starts[i], block.ends[i]):
            out[i * pitch + at[p]] += x[p]


# ---- sparse columns --------------------------------------------------------------------------------------------------

cdef void scores_of_sparse_columns(const item* x, const position* at, const Block* block,
                                   const double* w, double* z) noexcept nogil:
    cdef Py_ssize_t i, j, c, k = block.outputs
    cdef int64_t p
    for j in range(block.features):
        for p in range(block.starts[j], block.ends[j]):
            i = (at[p] - block.first) * k
            for c in range(k):
                z[i + c] = mad(<double>x[p], w[j * k + c], z[i + c])


cdef void gradient_of_sparse_columns(const item* x, const position* at, const Block* block,
                                     const double* r, double* g) noexcept nogil:
    cdef Py_ssize_t i, j, c, k = block.outputs
    cdef int64_t p
    for j in range(block.features):
        for p in range(block.starts[j], block.ends[j]):
            i = (at[p] - block.first) * k
            for c in range(k):
                if r[i + c] != 0.0:
                    g[j * k + c] = mad(r[i + c], <double>x[p], g[j * k + c])


cdef void gather_from_sparse_columns(const item* x, const position* at, const Block* block,
                                     double* out, Py_ssize_t pitch) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef int64_t p
    for i in range(block.rows):
        memset(out + i * pitch, 0, block.features * sizeof(double))
    for j in range(block.features):
        for p in range(block.starts[j], block.ends[j]):
            out[(at[p] - block.first) * pitch + j] += x[p]


# ---- scores ----------------------------------------------------------------------------------------------------------

cdef void fill(const double* intercepts, Py_ssize_t rows, Py_ssize_t outputs, double* z) noexcept nogil:
    cdef Py_ssize_t i, c
    cdef double one = intercepts[0]
    if outputs == 1:
        for i in range(rows):
            z[i] = one
    else:
        for i in range(rows):
            for c in range(outputs):
                z[i * outputs + c] = intercepts[c]


cdef void add_rows(const double* values, Py_ssize_t rows, Py_ssize_t outputs, double* sums) noexcept nogil:
    """sums += the sum of the rows"""
    cdef double s[LANE]
    cdef Py_ssize_t i, c, whole = rows - rows % LANE
    if outputs > 1:
        for i in range(rows):
            for c in range(outputs):
                sums[c] += values[i * outputs + c]
        return
    memset(s, 0, sizeof(s))
    for i in range(0, whole, 16):
        for c in range(LANE):
            s[c] += values[i + c]
    for i in range(whole, rows):
        s[i - whole] += values[i]
    sums[0] += sum_of(s)


include "sums.pxi"


cdef bint is_finite(const double* values, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t bad = 0
    for i in range(n):
        bad |= values[i] - values[i] != 0.0
    return bad == 0


# ---- images ----------------------------------------------------------------------------------------------------------

include "filter.pxi"


# ---- rows of two arrays ----------------------------------------------------------------------------------------------

include "pairs.pxi"


# ---- what Python sees ------------------------------------------------------------------------------------------------

cdef void free_products(object capsule) noexcept:
    PyMem_Free(PyCapsule_GetPointer(capsule, "fastloss.Products"))


cdef void choose(Products* products, int storage, bint jointly, item* unused, position* unused_too) noexcept:
    # The casts only take the type of X's numbers out of the first parameter's, and that of its indices.
    if storage == STRIDED:  # is gathered first, as doubles
        products.scores = <product>scores_of_rows[double]
        products.gradient = <product>gradient_of_rows[double]
        products.gather = <gather_rows>gather_strided[item]
    elif storage == DENSE_ROWS:
        products.scores = <product>scores_of_rows[item]
        products.gradient = <product>gradient_of_rows[item]
        if jointly:
            products.gradient_and_scores = <product_pair>gradient_and_scores_of_rows[item]
        products.gather = <gather_rows>gather_from_rows[item]
    elif storage == DENSE_COLUMNS:
        products.scores = <product>scores_of_columns[item]
        products.gradient = <product>gradient_of_columns[item]
        products.gradient_and_scores = <product_pair>gradient_and_scores_of_columns[item]
        products.gather = <gather_rows>gather_from_columns[item]
    elif storage == SPARSE_ROWS:
        products.scores = <product>scores_of_sparse_rows[item, position]
        products.gradient = <product>gradient_of_sparse_rows[item, position]
        products.gather = <gather_rows>gather_from_sparse_rows[item, position]
    else:
        products.scores = <product>scores_of_sparse_columns[item, position]
        products.gradient = <product>gradient_of_sparse_columns[item, position]
        products.gather = <gather_rows>gather_from_sparse_columns[item, position]


def bind(int storage, bint double_precision, bint long_indices, jointly=None):
    """How to work with one kind of X, as a capsule that holds Products. `jointly`: whether one loop adds the gradient
    of dense rows and the scores of the next; None: as this CPU does best."""
    cdef bint joint = not fastloss_is_amd() if jointly is None else jointly
    cdef Products* products = <Products*>PyMem_Malloc(sizeof(Products))
    if products == NULL:
        raise MemoryError
    memset(products, 0, sizeof(Products))
    products.fill = fill
    products.add_rows = add_rows
    products.add_values = add_values[double]
    products.add_lanes = add_lanes
    products.is_finite = is_finite
    if double_precision and long_indices:
        choose(products, storage, joint, <double*>NULL, <int64_t*>NULL)
    elif double_precision:
        choose(products, storage, joint, <double*>NULL, <int32_t*>NULL)
    elif long_indices:
        choose(products, storage, joint, <float*>NULL, <int64_t*>NULL)
    else:
        choose(products, storage, joint, <float*>NULL, <int32_t*>NULL)
    return PyCapsule_New(products, "fastloss.Products", free_products)


#: What compares images, as a capsule that holds a function.
image = PyCapsule_New(<void*>run_image, "fastloss.run_image", NULL)
