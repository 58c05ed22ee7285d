# Linear models: one pass over X for a loss and its derivatives by the coefficients. A strip of rows is what a thread
# takes, and has its own sums, so that their bits do not depend on the number of threads. It goes through a strip in
# blocks that stay in cache: scores, the loss's own run (`_sweeps` or `_rows`) on them, and the block's part of the
# gradient, together with the scores of the next block where there is a loop for both; or, of short rows, a few of them
# at a time, with the loss's sweep alone (`run_few`). BLAS does the products where there are many outputs; its threads
# are the caller's to limit.

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport fabs, isfinite, ldexp, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cimport numpy as cnp
from scipy.linalg.cython_blas cimport dgemm, dsyrk

from ._driver cimport Evaluator, RowEvaluator, Total, add_to, as_array, run_job, threads_for, weight_unit
from .types cimport (
    ANY_REAL, CHUNK, COUNTED, DENSE_COLUMNS, DENSE_ROWS, FLOAT64, GRADIENT, HESSIAN, LANES, LOSS, MOST_ROWS,
    NO_MEMORY, SPARSE_COLUMNS, SPARSE_ROWS, STRIDED, SWEPT_F64, WEIGHT, Block, Job, Kernel, Partial, Products, RowJob,
    Storage, Stream, Sum, run_chunk,
)

import numpy as np

cnp.import_array()

cdef extern from "bits.h" nogil:
    void fastloss_prefetch(const void* address)

# What a pass computes beside LOSS and GRADIENT.
cdef enum:
    PRODUCT = 8  # of the Hessian with a vector
    FULL = 16  # the Hessian
    SCORES = 32  # nothing else

cdef enum:
    MOST_FEW = 64  # a power of two, and no more than LANES of a sum
    # Numbers that the sums of all strips may take.
    STRIPS_SIZE = 2097152


# Of central differences: with the cube root of the precision they lose a third of the digits.
cdef double STEP = 6e-6


cdef union LossJob:
    Job elements
    RowJob rows


cdef struct LinearJob:
    int mode
    LossJob loss
    bint rows_of_scores  # a loss of rows
    bint crossed  # scores of a sample act on each other
    run_chunk run
    const Products* products
    Block block  # of all rows
    Storage storage
    Py_ssize_t itemsize
    bint blas
    Py_ssize_t strip  # rows
    Py_ssize_t rows  # of a block
    Py_ssize_t few  # of a block's rows that loss and gradient take at a time, a divisor of them; 0: all
    Py_ssize_t columns  # of the Hessian's blocks: features, and the intercept
    const double* weights
    const double* intercepts
    const double* direction  # of PRODUCT
    const double* direction_intercepts
    double* scores  # of SCORES
    double* sums  # strip after strip: by coefficients, by intercepts, Hessian
    Py_ssize_t size  # of a strip's


# ---- one strip -------------------------------------------------------------------------------------------------------

cdef void aim(const LinearJob* job, Py_ssize_t first, Py_ssize_t n, Block* block) noexcept nogil:
    """The block of n rows from `first` on."""
    cdef Py_ssize_t strip
    block[0] = job.block
    block.first = first
    block.rows = n
    if job.storage == DENSE_ROWS:
        block.data = <const char*>block.data + first * block.pitch * job.itemsize
    elif job.storage == DENSE_COLUMNS:
        block.data = <const char*>block.data + first * job.itemsize
    elif job.storage == STRIDED:
        block.data = <const char*>block.data + first * block.pitch
    elif job.storage == SPARSE_ROWS:
        block.starts = block.starts + first
        block.ends = block.starts + 1
    else:  # a block is a strip
        strip = first // job.strip
        block.starts = block.starts + strip * block.features
        block.ends = block.starts + block.features


cdef void run_loss(const LinearJob* job, int mode, Py_ssize_t first, Py_ssize_t n, const double* z, double* gradient,
                   double* hessian, Partial* total) noexcept nogil:
    """The loss of n rows of scores from `first` on."""
    cdef LossJob loss = job.loss
    cdef Py_ssize_t k = job.block.outputs, done, some
    cdef Partial part
    cdef Py_ssize_t before = first * k * sizeof(double)
    # streams begin at row 0
    if job.rows_of_scores:
        loss.rows.mode = mode
        loss.rows.y_pred.data = <char*>z - before
        loss.rows.gradient = loss.rows.hessian = loss.rows.y_pred
        loss.rows.gradient.data = <char*>gradient - before
        loss.rows.hessian.data = <char*>hessian - before
        k = 1
    else:
        loss.elements.mode = mode
        loss.elements.y_pred.data = <char*>z - before
        loss.elements.gradient = loss.elements.hessian = loss.elements.y_pred
        loss.elements.gradient.data = <char*>gradient - before
        loss.elements.hessian.data = <char*>hessian - before
        if loss.elements.kernel.pair:
            loss.elements.second_pred = loss.elements.y_pred
            loss.elements.second_pred.data += sizeof(double)
            loss.elements.second_gradient = loss.elements.gradient
            loss.elements.second_gradient.data += sizeof(double)
            loss.elements.second_hessian = loss.elements.hessian
            loss.elements.second_hessian.data += sizeof(double)
            k = 1
    for done in range(0, n * k, 4096):  # CHUNK, and MOST_ROWS: no more than runs take
        some = min(<Py_ssize_t>CHUNK, n * k - done)
        memset(&part, 0, sizeof(Partial))
        job.run(&loss, first * k + done, first * k + done + some, &part)
        add_to(&total.losses, &part.losses)
        add_to(&total.reduced, &part.reduced)
        total.flags |= part.flags


cdef void blas_scores(const Block* block, bint columns, const double* w, double* z) noexcept nogil:
    """z += X·wᵀ"""
    cdef int k = <int>block.outputs, d = <int>block.features, n = <int>block.rows, pitch = <int>block.pitch
    cdef double one = 1.0
    dgemm(b"T", b"T" if columns else b"N", &k, &n, &d, &one, <double*>w, &d, <double*>block.data, &pitch, &one, z, &k)


cdef void blas_gradient(const Block* block, bint columns, const double* r, double* g) noexcept nogil:
    """g += rᵀ·X"""
    cdef int k = <int>block.outputs, d = <int>block.features, n = <int>block.rows, pitch = <int>block.pitch
    cdef double one = 1.0
    dgemm(b"T" if columns else b"N", b"T", &d, &k, &n, &one, <double*>block.data, &pitch, <double*>r, &k, &one, g, &d)


cdef void scores(const LinearJob* job, const Block* block, const double* w, const double* b, double* z) noexcept nogil:
    job.products.fill(b, block.rows, block.outputs, z)
    if job.blas and block.features > 0:
        blas_scores(block, job.storage == DENSE_COLUMNS, w, z)
    else:
        job.products.scores(block.data, block.indices, block, w, z)


cdef void add_gradient(const LinearJob* job, const Block* block, const double* r, double* sums) noexcept nogil:
    cdef Py_ssize_t k = block.outputs, d = block.features
    if job.blas and d > 0 and not block.careful:
        blas_gradient(block, job.storage == DENSE_COLUMNS, r, sums)
    else:
        job.products.gradient(block.data, block.indices, block, r, sums)
    job.products.add_rows(r, block.rows, k, sums + k * d)


cdef bint add_gradient_and_scores(const LinearJob* job, const Block* block, Py_ssize_t stop, const double* r,
                                  double* sums, double* z) noexcept nogil:
    """A block's gradient, and the scores of the next. False, and nothing done: they are better computed alone."""
    cdef Block next
    cdef Py_ssize_t n = block.rows, at, k = block.outputs
    cdef const Stream* y_true = &job.loss.elements.y_true
    if (job.products.gradient_and_scores == NULL or k > 1 or job.blas or block.careful or n != job.rows
            or block.first + 2 * n > stop):
        return False
    aim(job, block.first + n, n, &next)
    for at in range(0, n * y_true.inner_stride, 64):  # the loss comes next, and would wait for them
        fastloss_prefetch(y_true.data + next.first * y_true.inner_stride + at)
    job.products.fill(job.intercepts, n, k, z)
    job.products.gradient_and_scores(block.data, next.data, block, r, sums, job.weights, z)
    job.products.add_rows(r, n, k, sums + k * block.features)
    return True


cdef void weigh(const double* weights, double scale, Py_ssize_t n, double* losses, double* gradient) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        losses[i] = losses[i] * weights[i] if weights[i] != 0.0 else 0.0
        gradient[i] = gradient[i] * (weights[i] * scale) if weights[i] != 0.0 else 0.0


cdef void run_few(const LinearJob* job, Py_ssize_t first, double* sums, Partial* total) noexcept nogil:
    """Loss and gradient of a block of one output, a few rows at a time: the gradient of these finds X in the L1 cache,
    while what memory was asked for still comes in. The loss is no run of its own, but its sweep, whose scratch stays
    in that cache: what a run does to targets and weights has been done before."""
    cdef double z[MOST_FEW]
    cdef double losses[LANES]  # as add_values asks for
    cdef double gradient[MOST_FEW]
    cdef double unused[MOST_FEW]
    cdef double varying[MOST_FEW]
    cdef double lanes[LANES]
    cdef const Job* loss = &job.loss.elements
    cdef const Kernel* kernel = loss.kernel
    cdef const double* y = <const double*>loss.y_true.data + first
    cdef const double* weights = <const double*>loss.sample_weight.data
    cdef double scale = 1.0 if loss.weighted else loss.scale
    cdef Py_ssize_t n = job.few, index, i
    cdef Block rows
    cdef Sum sum
    cdef bint wide
    for i in range(n):
        varying[i] = loss.varying_scalar
    memset(lanes, 0, sizeof(lanes))
    for index in range(job.rows // n):
        aim(job, first + index * n, n, &rows)
        for i in range(0, n, 8):  # the loss would wait for them
            fastloss_prefetch(y + i)
        job.products.fill(job.intercepts, n, 1, z)
        job.products.scores(rows.data, NULL, &rows, job.weights, z)
        wide = kernel.sweeps_f64[LOSS | GRADIENT](&kernel.parameters, n, y, z, varying, scale, losses, gradient, NULL)
        if kernel.is_wide_f64 != NULL:
            wide = kernel.is_wide_f64(&kernel.parameters, n, y, z)
        if wide:
            kernel.sweep_wide_f64(&kernel.parameters, n, y, z, varying, scale, losses, gradient, unused)
        if loss.weighted:
            weigh(weights + rows.first, loss.scale, n, losses, gradient)
        rows.careful = not job.products.is_finite(z, n)
        job.products.gradient(rows.data, NULL, &rows, gradient, sums)
        job.products.add_rows(gradient, n, 1, sums + rows.features)
        job.products.add_values(losses, n, lanes)
        y += n
    job.products.add_lanes(lanes, &sum)
    add_to(&total.losses, &sum)


cdef void slope_along(const LinearJob* job, Py_ssize_t first, Py_ssize_t n, const double* z, const double* u,
                      double* moved, double* other, double* r, Partial* partial) noexcept nogil:
    """r = the derivative of the loss's gradient along u, row by row, where all scores of a row act on each other: the
    kernels compute only the diagonal of the Hessian."""
    cdef Py_ssize_t i, c, k = job.block.outputs
    cdef double largest, step, change
    if not job.rows_of_scores:  # GaussianNLL: the derivative by both scores is minus that by the first
        run_loss(job, GRADIENT | HESSIAN, first, n, z, moved, other, partial)
        for i in range(n):
            r[2 * i] = r[2 * i + 1] = 0.0
            if other[2 * i] != 0.0:  # else the row does not count
                r[2 * i] = other[2 * i] * u[2 * i] - moved[2 * i] * u[2 * i + 1]
                r[2 * i + 1] = other[2 * i + 1] * u[2 * i + 1] - moved[2 * i] * u[2 * i]
        return
    # Central differences.
    for i in range(n):
        largest = 0.0
        for c in range(k):
            largest = max(largest, fabs(u[i * k + c]))
        step = STEP / largest if largest > 0.0 else 0.0
        for c in range(k):
            moved[i * k + c] = z[i * k + c] + step * u[i * k + c]
            other[i * k + c] = z[i * k + c] - step * u[i * k + c]
    run_loss(job, GRADIENT, first, n, moved, r, r, partial)
    run_loss(job, GRADIENT, first, n, other, moved, moved, partial)
    for i in range(n):
        largest = 0.0
        for c in range(k):
            largest = max(largest, fabs(u[i * k + c]))
        for c in range(k):
            change = r[i * k + c] - moved[i * k + c]
            r[i * k + c] = change * (largest / (2 * STEP)) if change != 0.0 else 0.0


cdef void add_outer(const LinearJob* job, Py_ssize_t n, const double* x, double* scaled, const double* h,
                    double* hessian) noexcept nogil:
    """hessian += Σ_i h_i·x_i·x_iᵀ, its upper triangle; h are as far apart as outputs. BLAS has squares only, so that
    positive and negative h go one after the other."""
    cdef Py_ssize_t i, j, p = job.columns, k = job.block.outputs, count, pass_
    cdef int rows, columns = <int>p
    cdef double one = 1.0, sign, factor
    for pass_ in range(2):
        sign = 1.0 - 2.0 * pass_
        count = 0
        for i in range(n):
            if h[i * k] * sign > 0.0 or (pass_ == 0 and h[i * k] != h[i * k]):
                factor = sqrt(fabs(h[i * k]))
                for j in range(p):
                    scaled[count * p + j] = factor * x[i * p + j]
                count += 1
        rows = <int>count
        if count > 0:
            dsyrk(b"L", b"N", &columns, &rows, &sign, scaled, &columns, &one, hessian, &columns)


cdef void add_hessian(const LinearJob* job, Py_ssize_t first, Py_ssize_t n, bint careful, const double* z,
                      const double* h, double* x, double* scaled, double* unit, double* moved, double* other,
                      double* curve, double* sums, Partial* partial) noexcept nogil:
    """A block's part of the Hessian: for each output, or, of a loss whose scores act on each other, for each pair."""
    cdef Py_ssize_t i, c, a, k = job.block.outputs, p = job.columns
    cdef Block block
    aim(job, first, n, &block)
    job.products.gather(block.data, block.indices, &block, x, p)
    for i in range(n):
        if p > block.features:
            x[i * p + p - 1] = 1.0
    if careful:
        for i in range(n):
            for c in range(k):
                if h[i * k + c] != 0.0:
                    break
            else:
                memset(x + i * p, 0, p * sizeof(double))
    if not job.crossed:
        for c in range(k):
            add_outer(job, n, x, scaled, h + c, sums + c * p * p)
        return
    for c in range(k):
        for i in range(n):
            for a in range(k):
                unit[i * k + a] = a == c
        slope_along(job, first, n, z, unit, moved, other, curve, partial)
        for a in range(c, k):
            add_outer(job, n, x, scaled, curve + a, sums + (c * k + a) * p * p)


cdef void run_linear(const LinearJob* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial) noexcept nogil:
    """One strip: what run_job calls."""
    cdef Py_ssize_t k = job.block.outputs, size = job.rows * k, index, first, n, i
    # X as doubles: where it is gathered for the products, and twice for the Hessian
    cdef Py_ssize_t gathered = job.rows * job.block.features if job.storage == STRIDED else 0
    cdef Py_ssize_t wide = job.rows * job.columns if job.mode & FULL else 0
    cdef double* sums = job.sums + start // job.strip * job.size
    cdef Block block
    cdef double* z = <double*>malloc((6 * size + gathered + 2 * wide) * sizeof(double))
    cdef double* gradient = z + size
    cdef double* hessian = gradient + size
    cdef double* u = hessian + size
    cdef double* moved = u + size
    cdef double* other = moved + size
    cdef double* x = other + size
    cdef double* rows = x + gathered
    cdef double* scaled = rows + wide
    cdef bint scored = False  # with the block before
    memset(partial, 0, sizeof(Partial))
    if z == NULL:
        partial.flags = NO_MEMORY
        return
    memset(sums, 0, job.size * sizeof(double))
    for index in range((stop - start + job.rows - 1) // job.rows):
        first = start + index * job.rows
        n = min(job.rows, stop - first)
        aim(job, first, n, &block)
        if job.storage == STRIDED:
            job.products.gather(block.data, block.indices, &block, x, block.features)
            block.data = x
            block.pitch = block.features
        if job.mode == SCORES:
            scores(job, &block, job.weights, job.intercepts, job.scores + first * k)
            continue
        if job.few > 0 and n == job.rows and job.mode == (LOSS | GRADIENT):
            run_few(job, first, sums, partial)
            continue
        if not scored:
            scores(job, &block, job.weights, job.intercepts, z)
        scored = False
        if job.mode == LOSS:
            run_loss(job, LOSS, first, n, z, NULL, NULL, partial)
            continue
        block.careful = not job.products.is_finite(z, n * k)
        if job.mode & PRODUCT:
            scores(job, &block, job.direction, job.direction_intercepts, u)
            if job.crossed:
                slope_along(job, first, n, z, u, moved, other, gradient, partial)
            else:
                run_loss(job, GRADIENT | HESSIAN, first, n, z, gradient, hessian, partial)
                for i in range(n * k):
                    gradient[i] = hessian[i] * u[i] if hessian[i] != 0.0 else 0.0
            add_gradient(job, &block, gradient, sums)
        elif job.mode & FULL:
            run_loss(job, GRADIENT | HESSIAN, first, n, z, gradient, hessian, partial)
            add_gradient(job, &block, gradient, sums)
            add_hessian(job, first, n, block.careful, z, hessian, rows, scaled, u, moved, other, gradient,
                        sums + k * (block.features + 1), partial)
        else:
            run_loss(job, LOSS | GRADIENT, first, n, z, gradient, NULL, partial)
            scored = add_gradient_and_scores(job, &block, stop, gradient, sums, z)
            if not scored:
                add_gradient(job, &block, gradient, sums)
    free(z)


# ---- what Python sees ------------------------------------------------------------------------------------------------

def strip_edges(cnp.ndarray rows, cnp.ndarray starts, Py_ssize_t strip, cnp.ndarray edges):
    """Fills edges (strips + 1, columns): where in `rows`, sorted in each sparse column, each strip's part begins."""
    cdef Py_ssize_t j, edge, columns = cnp.PyArray_DIM(edges, 1)
    cdef bint wide = cnp.PyArray_ITEMSIZE(rows) == 8
    cdef const int32_t* short_rows = <const int32_t*>cnp.PyArray_DATA(rows)
    cdef const int64_t* long_rows = <const int64_t*>cnp.PyArray_DATA(rows)
    cdef const int64_t* start = <const int64_t*>cnp.PyArray_DATA(starts)
    cdef int64_t* out = <int64_t*>cnp.PyArray_DATA(edges)
    cdef int64_t p
    for j in range(columns):
        p = start[j]
        for edge in range(cnp.PyArray_DIM(edges, 0)):
            while p < start[j + 1] and (long_rows[p] if wide else short_rows[p]) < edge * strip:
                p += 1
            out[edge * columns + j] = p


cdef cnp.ndarray weights_of_rows(cnp.ndarray targets, cnp.ndarray weights, cnp.ndarray pairs, double unit):
    """unit · sample_weight · class_weight, as a run makes them."""
    cdef cnp.ndarray product = np.full(targets.size, unit)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if weights is not None:
            product *= weights.ravel()
        if pairs is not None:
            label = np.maximum(targets.ravel(), 0.0)  # a -1 counts as 0
            negative, positive = pairs.ravel()
            product *= (1.0 - label) * negative + label * positive
    return product


cdef cnp.ndarray on_lines(Py_ssize_t rows, Py_ssize_t columns):
    """Room for rows that each begin with a line of memory: loads and stores across two take twice the time."""
    cdef Py_ssize_t apart = (columns + 7) // 8 * 8
    cdef cnp.ndarray buffer = np.empty(rows * apart + 7)
    cdef Py_ssize_t first = (-<size_t>cnp.PyArray_DATA(buffer) & 63) // sizeof(double)
    return buffer[first:first + rows * apart].reshape(rows, apart)


cdef cnp.ndarray put_on_lines(cnp.ndarray values):
    cdef cnp.ndarray copy = on_lines(cnp.PyArray_DIM(values, 0), cnp.PyArray_DIM(values, 1))
    copy[:, :cnp.PyArray_DIM(values, 1)] = values
    return copy


@cython.final
cdef class LinearPass:
    """A loss bound to its parameters, X and y: what `fastloss.LinearLoss` calls.

    Parameters
    ----------
    evaluator : of the loss
    products : a capsule with Products for this kind of X
    storage : the number of X's Storage
    data : X itself, or the values of a sparse one
    pitch : numbers between dense rows, or columns
    step : bytes between the numbers of a row, and pitch bytes between rows, where storage is STRIDED
    indices, starts : of sparse X; starts are indptr, or, of columns, a row of n_features for each strip's beginning
    strip : rows of a strip of sparse columns
    blas : whether BLAS does the products
    n_samples, n_features : X's shape
    y, sample_weight : arrays; None: no weights
    n_outputs : scores of a sample
    flat : whether y and scores are (n,)
    fit_intercept : whether the Hessian has an intercept
    """

    cdef LinearJob job
    cdef object evaluator
    cdef tuple alive
    cdef double weight_sum
    cdef Py_ssize_t numbers  # of X
    cdef double cost  # ns of a whole pass, about

    def __init__(self, evaluator, products, int storage, cnp.ndarray data, Py_ssize_t pitch, Py_ssize_t step, indices,
                 starts, Py_ssize_t strip, bint blas, Py_ssize_t n_samples, Py_ssize_t n_features, y, sample_weight,
                 Py_ssize_t n_outputs, bint flat, bint fit_intercept):
        cdef LinearJob* job = &self.job
        cdef Block* block = &job.block
        cdef cnp.ndarray targets = as_array(y, "y"), weights = None
        cdef Py_ssize_t row_bytes
        cdef object shape = (n_samples, n_outputs)
        if flat:
            shape = (n_samples,)
        if sample_weight is not None:
            weights = as_array(sample_weight, "sample_weight")
        memset(job, 0, sizeof(LinearJob))
        self.evaluator = evaluator
        job.products = <const Products*>PyCapsule_GetPointer(products, "fastloss.Products")
        job.storage = <Storage>storage
        job.itemsize = cnp.PyArray_ITEMSIZE(data)
        job.columns = n_features + fit_intercept
        block.data = cnp.PyArray_DATA(data)
        block.pitch = pitch
        block.step = step
        block.rows = n_samples
        block.features = n_features
        block.outputs = n_outputs
        row_bytes = max(<Py_ssize_t>1, cnp.PyArray_NBYTES(data) // n_samples)
        if indices is not None:
            block.indices = cnp.PyArray_DATA(<cnp.ndarray?>indices)
            block.starts = <const int64_t*>cnp.PyArray_DATA(<cnp.ndarray?>starts)
        # A block, and the next, stay in the L2 cache. They have no fewer rows than a run of a loss is worth, or, where
        # only one row of a column follows another, than memory is. Sweeps take 16 rows at a time.
        job.blas = blas
        if blas:
            job.rows = min(max(<Py_ssize_t>64, 262144 // row_bytes), <Py_ssize_t>1024)
        elif storage == DENSE_COLUMNS:
            job.rows = min(max(<Py_ssize_t>256, 131072 // row_bytes), <Py_ssize_t>4096)
        else:
            job.rows = min(max(<Py_ssize_t>16, 131072 // row_bytes), <Py_ssize_t>512)
        job.rows = min(job.rows, max(<Py_ssize_t>32, 131072 // n_outputs))
        job.rows -= job.rows % 16
        if storage == SPARSE_COLUMNS:
            job.strip = job.rows = strip
        self.alive = (evaluator, products, data, indices, starts, targets, weights, self.describe(
            targets, np.broadcast_to(np.float64(0.0), shape), weights))
        if (storage == DENSE_ROWS and job.products.gradient_and_scores == NULL and n_outputs == 1
                and job.loss.elements.varying.data == NULL):
            # Measured on Zen 4, for 4 to 150 columns: so many take up to a quarter less time than whole blocks; more,
            # or rows so long that the fewest have over 10 KB, take longer. Blocks of such rows are whole multiples.
            job.few = MOST_FEW
            while job.few > <Py_ssize_t>SWEPT_F64 and job.few * row_bytes > 8192:
                job.few //= 2
            if job.few * row_bytes > 10240:
                job.few = 0
        self.numbers = cnp.PyArray_SIZE(data)
        self.cost += 0.3 * self.numbers * n_outputs

    cdef object describe(self, cnp.ndarray y, cnp.ndarray z, cnp.ndarray weights):
        """The loss's job, checked, with its weights summed up. Returns what must live as long."""
        cdef LinearJob* job = &self.job
        cdef Job* elements = &job.loss.elements
        cdef RowJob* rows = &job.loss.rows
        cdef Evaluator pointwise
        cdef RowEvaluator by_row
        cdef double pair[2]
        cdef Total total
        cdef cnp.ndarray alive, targets
        if isinstance(self.evaluator, RowEvaluator):
            by_row = <RowEvaluator>self.evaluator
            alive = by_row.describe(rows, y, z, weights)
            job.rows_of_scores = job.crossed = True
            job.run = <run_chunk>rows.kernel.run_f64
            rows.y_pred.outer_stride = rows.classes * sizeof(double)
            rows.y_pred.inner_stride = sizeof(double)
            self.cost += rows.rows * rows.classes * by_row.cost
            self.weight_sum = rows.rows
            rows.mode = WEIGHT
            total = run_job(rows, rows.rows, MOST_ROWS, job.run, 1)
            by_row.raise_faults(total.flags, y, weights, rows.classes, cnp.NPY_DOUBLE)
            if rows.weighted:
                self.weight_sum = total.value
                if total.value == 0.0 and not total.flags & COUNTED:
                    self.weight_sum = 1.0  # all rows are ignored: nothing, of nothing
                rows.weight_unit = weight_unit(&self.weight_sum)
            rows.scale = 1.0 / self.weight_sum
            return alive
        pointwise = <Evaluator?>self.evaluator
        alive = pointwise.describe(elements, y, z, weights)
        job.crossed = elements.kernel.pair
        job.run = <run_chunk>elements.kernel.run_f64
        elements.y_pred.inner_stride = (2 if elements.kernel.pair else 1) * sizeof(double)
        elements.y_pred.outer_stride = elements.inner * elements.y_pred.inner_stride
        self.cost += elements.size * pointwise.cost
        self.weight_sum = elements.size
        elements.mode = WEIGHT
        if elements.weighted:
            total = run_job(elements, elements.size, CHUNK, job.run, 1)
            pointwise.raise_faults(total.flags, y, weights, cnp.NPY_DOUBLE)
            self.weight_sum = total.value
            elements.weight_unit = weight_unit(&self.weight_sum)
        if elements.target != ANY_REAL and elements.class_weight == NULL:
            # only class weights make a pass over weights look at the targets
            pair[0] = pair[1] = 1.0
            elements.class_weight = pair
            elements.weighted = True
            total = run_job(elements, elements.size, CHUNK, job.run, 1)
            elements.class_weight = NULL
            elements.weighted = weights is not None
            pointwise.raise_faults(total.flags, y, weights, cnp.NPY_DOUBLE)
        # Checked, and converted, once for all.
        elements.target = ANY_REAL
        targets = np.ascontiguousarray(y, dtype=np.float64)
        elements.y_true.data = <char*>cnp.PyArray_DATA(targets)
        elements.y_true.dtype = FLOAT64
        elements.y_true.inner_stride = sizeof(double)
        elements.y_true.outer_stride = elements.inner * sizeof(double)
        elements.scale = 1.0 / self.weight_sum
        if not elements.weighted or job.block.outputs > 1:
            return alive, targets
        weights = weights_of_rows(targets, weights, alive, elements.weight_unit)
        elements.sample_weight = elements.y_true
        elements.sample_weight.data = <char*>cnp.PyArray_DATA(weights)
        elements.class_weight = NULL
        elements.weight_unit = 1.0
        return targets, weights

    def evaluate(self, int mode, cnp.ndarray weights, cnp.ndarray intercepts, direction, direction_intercepts,
                 n_threads):
        """The mean loss, and the sums by coefficients, by intercepts, and of the Hessian, where `mode` asks for them;
        or the scores, (n_samples, n_outputs).

        weights, direction : (n_outputs, n_features) beside dense X, else (n_features, n_outputs), contiguous
        intercepts, direction_intercepts : (n_outputs,)
        """
        cdef LinearJob job = self.job
        cdef Py_ssize_t n = job.block.rows, k = job.block.outputs, strips, strip, size, i, p = job.columns
        cdef cnp.ndarray sums, total_sums
        cdef Total total
        cdef int threads
        cdef double value
        if mode == SCORES:
            scored = np.empty((n, k))
            job.scores = <double*>cnp.PyArray_DATA(scored)
        job.mode = mode
        if not job.blas and job.storage in (DENSE_ROWS, STRIDED):
            weights = put_on_lines(weights)
            direction = None if direction is None else put_on_lines(direction)
            job.block.apart = cnp.PyArray_DIM(weights, 1)
        job.weights = <const double*>cnp.PyArray_DATA(weights)
        job.intercepts = <const double*>cnp.PyArray_DATA(intercepts)
        if mode & PRODUCT:
            job.direction = <const double*>cnp.PyArray_DATA(<cnp.ndarray?>direction)
            job.direction_intercepts = <const double*>cnp.PyArray_DATA(<cnp.ndarray?>direction_intercepts)
        if mode & (GRADIENT | PRODUCT | FULL):
            job.size = k * (job.block.features + 1)
        if mode & FULL:
            job.size += (k * k if job.crossed else k) * p * p
        if job.storage != SPARSE_COLUMNS:
            # sums are less than X, and take no longer than it
            strips = min(<Py_ssize_t>STRIPS_SIZE, self.numbers * k // 4) // max(<Py_ssize_t>1, job.size)
            strips = min(max(<Py_ssize_t>2, strips), <Py_ssize_t>64)
            job.strip = (n + strips - 1) // strips
            job.strip = (job.strip + job.rows - 1) // job.rows * job.rows
        strips = (n + job.strip - 1) // job.strip
        sums = on_lines(strips, job.size)
        job.sums = <double*>cnp.PyArray_DATA(sums)
        total_sums = np.zeros(job.size)
        job.size = size = cnp.PyArray_DIM(sums, 1)
        threads = threads_for(n_threads, self.cost * (p if mode & FULL else 1), strips)
        total = run_job(&job, n, job.strip, <run_chunk>run_linear, threads)
        if total.flags & NO_MEMORY:
            raise MemoryError
        if mode == SCORES:
            return 0.0, scored
        value = total.value
        if not isfinite(value) and mode & LOSS:  # the sum may overflow where the mean does not
            if job.rows_of_scores:
                job.loss.rows.reduced = True
            else:
                job.loss.elements.reduced = True
            job.mode = LOSS
            job.size = 0
            total = run_job(&job, n, job.strip, <run_chunk>run_linear, threads)
            value = ldexp(total.reduced / self.weight_sum, 64)
        else:
            value /= self.weight_sum
        for strip in range(strips):  # not by NumPy, which warns where it overflows
            for i in range(cnp.PyArray_DIM(total_sums, 0)):
                (<double*>cnp.PyArray_DATA(total_sums))[i] += job.sums[strip * size + i]
        return value, total_sums
