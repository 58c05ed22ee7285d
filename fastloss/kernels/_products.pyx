# The hot path of linear models, compiled once per ISA: products with a block of rows of X, which stays in the L1 or L2
# cache between the two, its scores and its part of the gradient. Sums are in double, also where X is float32: its
# numbers are converted as they are read. No Python objects below `bind`. What is included here (images, and
# rows of two arrays) is in this module since each module takes room for Cython's own code, once per ISA.
#
# Four rows go at a time, so that coefficients (or their gradient) are read once for four. Where X lies in columns, the
# same two loops serve with the roles exchanged: scores add up columns, gradients are sums along them.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.math cimport fabs, frexp, ldexp, pow
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from .filter cimport Image
from .math cimport absolute, exp_tail, expm1, mad
from .pairs cimport RowsCall, rows_kernel
from .types cimport DENSE_COLUMNS, DENSE_ROWS, SPARSE_ROWS, STRIDED, Block, Products, gather_rows, product, real

cdef extern from "bits.h":
    void fastloss_prefetch(const void* address) noexcept nogil

ctypedef fused item:
    float
    double

ctypedef fused position:
    int32_t
    int64_t

cdef enum:
    LANE = 16
    # Bytes by which loads run ahead of four rows that follow each other in memory (measured: 1 to 4 KB read as fast as
    # memory gives; without, or further ahead, a pass takes a quarter longer).
    AHEAD = 2048


# ---- four vectors at a time ------------------------------------------------------------------------------------------

cdef inline double sum_of(double* s) noexcept nogil:
    """Of LANE numbers, which it overwrites: by halves, which are registers."""
    cdef Py_ssize_t q
    for q in range(8):
        s[q] += s[q + 8]
    for q in range(4):
        s[q] += s[q + 4]
    return (s[0] + s[2]) + (s[1] + s[3])


cdef inline void dot4(const item* x0, const item* x1, const item* x2, const item* x3, const double* w, Py_ssize_t n,
                      bint follow, double* out) noexcept nogil:
    """Four dot products with w. `follow`: the vectors follow each other in memory, and others follow them."""
    cdef double s0[LANE]
    cdef double s1[LANE]
    cdef double s2[LANE]
    cdef double s3[LANE]
    cdef Py_ssize_t j, q, whole = n - n % LANE
    cdef double r0 = 0.0, r1 = 0.0, r2 = 0.0, r3 = 0.0
    cdef const char* next
    memset(s0, 0, sizeof(s0))
    memset(s1, 0, sizeof(s1))
    memset(s2, 0, sizeof(s2))
    memset(s3, 0, sizeof(s3))
    for j in range(0, whole, 16):
        if follow:
            next = <const char*>(x0 + 4 * j) + AHEAD
            fastloss_prefetch(next)
            fastloss_prefetch(next + 64)
            fastloss_prefetch(next + 128)
            fastloss_prefetch(next + 192)
            if item is double:
                fastloss_prefetch(next + 256)
                fastloss_prefetch(next + 320)
                fastloss_prefetch(next + 384)
                fastloss_prefetch(next + 448)
        for q in range(LANE):
            s0[q] = mad(<double>x0[j + q], w[j + q], s0[q])
        for q in range(LANE):
            s1[q] = mad(<double>x1[j + q], w[j + q], s1[q])
        for q in range(LANE):
            s2[q] = mad(<double>x2[j + q], w[j + q], s2[q])
        for q in range(LANE):
            s3[q] = mad(<double>x3[j + q], w[j + q], s3[q])
    for j in range(whole, n):
        r0 = mad(<double>x0[j], w[j], r0)
        r1 = mad(<double>x1[j], w[j], r1)
        r2 = mad(<double>x2[j], w[j], r2)
        r3 = mad(<double>x3[j], w[j], r3)
    out[0] = sum_of(s0) + r0
    out[1] = sum_of(s1) + r1
    out[2] = sum_of(s2) + r2
    out[3] = sum_of(s3) + r3


cdef inline void axpy4(const item* x0, const item* x1, const item* x2, const item* x3, double a0, double a1, double a2,
                       double a3, Py_ssize_t n, double* y) noexcept nogil:
    """y += a0·x0 + a1·x1 + a2·x2 + a3·x3"""
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = mad(a3, <double>x3[j], mad(a2, <double>x2[j], mad(a1, <double>x1[j], mad(a0, <double>x0[j], y[j]))))


cdef inline void axpy(const item* x, double a, Py_ssize_t n, double* y) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = mad(a, <double>x[j], y[j])


# ---- dense rows ------------------------------------------------------------------------------------------------------

cdef void scores_of_rows(const item* x, const void* unused, const Block* block,
                         const double* w, double* z) noexcept nogil:
    cdef Py_ssize_t i, c, q, last = block.rows - 1, d = block.features, k = block.outputs
    cdef bint follow = block.pitch == d
    cdef double out[4]
    for i in range(0, block.rows, 4):
        for c in range(k):
            dot4(x + i * block.pitch, x + min(i + 1, last) * block.pitch, x + min(i + 2, last) * block.pitch,
                 x + min(i + 3, last) * block.pitch, w + c * d, d, follow and c == 0, out)
            for q in range(min(<Py_ssize_t>4, block.rows - i)):
                z[(i + q) * k + c] += out[q]


cdef void gradient_of_rows(const item* x, const void* unused, const Block* block,
                           const double* r, double* g) noexcept nogil:
    cdef Py_ssize_t i, c, d = block.features, k = block.outputs, fours = block.rows - block.rows % 4
    cdef double a0, a1, a2, a3
    if block.careful:
        fours = 0
    for i in range(0, fours, 4):
        for c in range(k):
            a0 = r[i * k + c]
            a1 = r[(i + 1) * k + c]
            a2 = r[(i + 2) * k + c]
            a3 = r[(i + 3) * k + c]
            axpy4(x + i * block.pitch, x + (i + 1) * block.pitch, x + (i + 2) * block.pitch, x + (i + 3) * block.pitch,
                  a0, a1, a2, a3, d, g + c * d)
    for i in range(fours, block.rows):
        for c in range(k):
            if r[i * k + c] != 0.0:
                axpy(x + i * block.pitch, r[i * k + c], d, g + c * d)


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
    cdef Py_ssize_t j, fours = block.features - block.features % 4
    for j in range(0, fours, 4):
        axpy4(x + j * block.pitch, x + (j + 1) * block.pitch, x + (j + 2) * block.pitch, x + (j + 3) * block.pitch,
              w[j], w[j + 1], w[j + 2], w[j + 3], block.rows, z)
    for j in range(fours, block.features):
        axpy(x + j * block.pitch, w[j], block.rows, z)


cdef void gradient_of_columns(const item* x, const void* unused, const Block* block,
                              const double* r, double* g) noexcept nogil:
    cdef Py_ssize_t i, j, c, q, last = block.features - 1, k = block.outputs
    cdef double out[4]
    if block.careful:
        for c in range(k):
            for j in range(block.features):
                for i in range(block.rows):
                    if r[i * k + c] != 0.0:
                        g[c * block.features + j] += r[i * k + c] * x[j * block.pitch + i]
        return
    for j in range(0, block.features, 4):
        dot4(x + j * block.pitch, x + min(j + 1, last) * block.pitch, x + min(j + 2, last) * block.pitch,
             x + min(j + 3, last) * block.pitch, r, block.rows, False, out)
        for q in range(min(<Py_ssize_t>4, block.features - j)):
            g[j + q] += out[q]


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
    cdef int64_t p
    cdef double a
    for i in range(block.rows):
        if k == 1:
            a = r[i]
            if a != 0.0:
                for p in range(block.starts[i], block.ends[i]):
                    g[at[p]] = mad(a, <double>x[p], g[at[p]])
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


cdef void choose(Products* products, int storage, item* unused, position* unused_too) noexcept:
    # The casts only take the type of X's numbers out of the first parameter's, and that of its indices.
    if storage == STRIDED:  # is gathered first, as doubles
        products.scores = <product>scores_of_rows[double]
        products.gradient = <product>gradient_of_rows[double]
        products.gather = <gather_rows>gather_strided[item]
    elif storage == DENSE_ROWS:
        products.scores = <product>scores_of_rows[item]
        products.gradient = <product>gradient_of_rows[item]
        products.gather = <gather_rows>gather_from_rows[item]
    elif storage == DENSE_COLUMNS:
        products.scores = <product>scores_of_columns[item]
        products.gradient = <product>gradient_of_columns[item]
        products.gather = <gather_rows>gather_from_columns[item]
    elif storage == SPARSE_ROWS:
        products.scores = <product>scores_of_sparse_rows[item, position]
        products.gradient = <product>gradient_of_sparse_rows[item, position]
        products.gather = <gather_rows>gather_from_sparse_rows[item, position]
    else:
        products.scores = <product>scores_of_sparse_columns[item, position]
        products.gradient = <product>gradient_of_sparse_columns[item, position]
        products.gather = <gather_rows>gather_from_sparse_columns[item, position]


def bind(int storage, bint double_precision, bint long_indices):
    """How to work with one kind of X, as a capsule that holds Products."""
    cdef Products* products = <Products*>PyMem_Malloc(sizeof(Products))
    if products == NULL:
        raise MemoryError
    products.fill = fill
    products.add_rows = add_rows
    products.is_finite = is_finite
    if double_precision and long_indices:
        choose(products, storage, <double*>NULL, <int64_t*>NULL)
    elif double_precision:
        choose(products, storage, <double*>NULL, <int32_t*>NULL)
    elif long_indices:
        choose(products, storage, <float*>NULL, <int64_t*>NULL)
    else:
        choose(products, storage, <float*>NULL, <int32_t*>NULL)
    return PyCapsule_New(products, "fastloss.Products", free_products)


#: What compares images, as a capsule that holds a function.
image = PyCapsule_New(<void*>run_image, "fastloss.run_image", NULL)
