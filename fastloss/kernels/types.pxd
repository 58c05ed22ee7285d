# What travels between the front door (_driver.pyx) and the modules that are compiled once per ISA (_sweeps.pyx).

from libc.stdint cimport int64_t

ctypedef fused real:
    float
    double

# Elements handled at a time: 4 KB a stream, so that all streams of a block stay in L1 (measured: blocks cost
# 0-3 % over a flat loop). Chunks are what threads take and what sums are cut by: fixed, so that the bits of a
# sum do not depend on the number of threads.
cdef enum:
    BLOCK_F64 = 512
    BLOCK_F32 = 1024
    SWEPT_F64 = 16  # Sweeps take so many elements, or a multiple: two vectors of any ISA.
    SWEPT_F32 = 32
    CHUNK = 4096
    LANES = 64
    IN_CACHES = 1048576  # bytes of an output below which what a call touches stays in a core's own caches
    PAST_CACHES = 25165824  # and from which it would not stay in a shared one: it is written past the caches

# Which outputs a call computes: the bits of the mode, and the place of its sweep in the table.
cdef enum Mode:
    WEIGHT = 0  # no sweep: only the sum of the weights
    LOSS = 1
    GRADIENT = 2
    HESSIAN = 4
    N_MODES = 8

# What a loss accepts as y_true.
cdef enum Target:
    ANY_REAL = 0
    BINARY_HARD = 1
    BINARY_SOFT = 2
    NON_NEGATIVE = 3
    POSITIVE = 4
    ABOVE_MINUS_ONE = 5

# What a run reports beside its sums.
cdef enum Flag:
    BAD_TARGET = 1
    SIGNED_TARGET = 2  # a -1 was seen
    UNIT_TARGET = 4  # a value in [0, 1) was seen
    BAD_WEIGHT = 8

cdef enum DType:
    BOOL8, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT16, FLOAT32, FLOAT64

# One array as the run walks it: `outer` rows of `inner` elements in y_pred's memory order; strides in bytes.
cdef struct Stream:
    char* data
    Py_ssize_t outer_stride
    Py_ssize_t inner_stride
    DType dtype

cdef struct Parameters:
    double values[8]

cdef struct Job
cdef struct Partial

# Sweeps tell whether they met an extreme number, as far as they look.
ctypedef bint (*sweep_f32)(const Parameters*, Py_ssize_t, const float*, const float*, const float*, float,
                           float*, float*, float*) noexcept nogil
ctypedef bint (*sweep_f64)(const Parameters*, Py_ssize_t, const double*, const double*, const double*, double,
                           double*, double*, double*) noexcept nogil
ctypedef void (*sum_f32)(const Parameters*, Py_ssize_t, const float*, const float*, const float*, float,
                         double*, float*) noexcept nogil
ctypedef void (*sum_f64)(const Parameters*, Py_ssize_t, const double*, const double*, const double*, double,
                         double*, double*) noexcept nogil
ctypedef bint (*is_wide_f32)(const Parameters*, Py_ssize_t, const float*, const float*) noexcept nogil
ctypedef bint (*is_wide_f64)(const Parameters*, Py_ssize_t, const double*, const double*) noexcept nogil
ctypedef void (*run_job_chunk)(const Job*, Py_ssize_t, Py_ssize_t, Partial*) noexcept nogil
# The same of any kind of job.
ctypedef void (*run_chunk)(const void*, Py_ssize_t, Py_ssize_t, Partial*) noexcept nogil

# A loss with its parameters, compiled for one ISA.
cdef struct Kernel:
    Parameters parameters
    sweep_f32 sweeps_f32[N_MODES]
    sweep_f64 sweeps_f64[N_MODES]
    sum_f32 sums_f32[N_MODES]  # sweeps that add their losses up; NULL: none
    sum_f64 sums_f64[N_MODES]
    is_wide_f32 is_wide_f32  # whether a block needs the wide sweep; NULL: none does, or sweeps look themselves
    is_wide_f64 is_wide_f64
    sweep_f32 sweep_wide_f32
    sweep_f64 sweep_wide_f64
    bint checked  # only blocks that are wide hold targets that are not allowed
    bint unaided  # this CPU's memory does best alone: no stores past the caches, no looking ahead
    bint staged  # is as fast as memory: outputs beyond the caches go through scratch, and leave it in whole lines
    bint pair  # of two predictions: sweeps take and give pairs, side by side
    run_job_chunk run_f32
    run_job_chunk run_f64

# One call.
cdef struct Job:
    const Kernel* kernel
    int mode
    Target target
    Py_ssize_t size
    Py_ssize_t inner
    Stream y_true
    Stream y_pred
    Stream sample_weight  # data NULL: none
    bint varies  # the loss has a parameter that may vary by column
    Stream varying  # data NULL: it is the scalar below
    double varying_scalar
    Stream loss  # data NULL: not wanted, or only its sum
    Stream gradient
    Stream hessian
    Stream second_pred  # of a pair
    Stream second_gradient
    Stream second_hessian
    bint in_place  # an output is y_pred itself: read a block before writing it
    bint reduced  # also sum 2^-64 times the losses, should their own sum overflow
    bint weighted
    const double* class_weight  # pairs (negative, positive), one or one per column; NULL: none
    Py_ssize_t class_weight_step  # 0: one pair for all, 2: a pair per column
    Py_ssize_t column_step  # with a pair per column: flat index -> column is (index // column_step) % columns
    Py_ssize_t columns
    double weight_unit  # a power of two on every weight, against overflow of extreme sums
    double scale  # on gradients and Hessians: 1 or 1 / sum of weights

# A sum in two parts: high is the sum, low what its roundings lost.
cdef struct Sum:
    double high
    double low

# What one chunk adds to the sums.
cdef struct Partial:
    Sum losses  # or weights
    Sum reduced
    int flags


# ---- rows: losses of one row of y_pred each --------------------------------------------------------------------------

# Rows are worked on in groups, and numbers 16 at a time: one class of 16 rows, or 16 classes of one row.
cdef enum:
    WIDTH = 16
    ROWS = 64  # of a group, at most
    MOST_ROWS = 4096  # of a chunk

# What a row of y_pred holds.
cdef enum Inputs:
    LOGITS, PROBABILITIES, LOG_PROBABILITIES

# What a row loss accepts as y_true.
cdef enum RowTarget:
    CLASSES, SOFT_CLASSES, LOG_CLASSES, INDICATORS

cdef enum RowFlag:
    COUNTED = 16  # a row that is not ignored was seen
    NO_MEMORY = 32

cdef enum RowMode:
    PROBABILITY = 8  # in the place of the Hessian

cdef struct RowJob

# A group of rows as matrices of numbers 16 at a time: `line` by `line`, `count` of them each. A line is a row, and 16
# numbers are classes; or a line is 16 rows, and the numbers are theirs of one class.
cdef struct Matrix:
    void* data
    Py_ssize_t pitch  # numbers between lines
    Py_ssize_t step  # numbers between one 16 and the next of a line
    Py_ssize_t last  # which of a line's 16 are not filled, and stand apart, at `tail`; -1: none
    void* tail

cdef struct Group:
    Py_ssize_t rows
    Py_ssize_t height  # of groups, but for the last
    Py_ssize_t padded  # to whole 16
    bint across  # a line is 16 rows
    Py_ssize_t lines
    Py_ssize_t count
    Py_ssize_t classes
    Matrix scores
    Matrix targets  # where the loss takes a distribution
    Matrix gradient  # also scratch, where no gradient is wanted
    Matrix hessian
    double excess[ROWS]  # of sums of targets over 1
    double entropies[ROWS]  # Σ t·log t, where targets came as logarithms
    int labels[ROWS]  # where it takes a class
    int skipped[ROWS]  # whether a row is ignored
    bint unchecked  # targets, which the loss then checks
    int flags  # what it found
    double factors[ROWS]  # of the losses
    double scales[ROWS]  # of gradients and Hessians: weights, and the division of a mean

# Fills the losses of a group, and its gradient and Hessian where they are wanted.
ctypedef void (*group_f32)(const RowJob*, const Parameters*, Group*, float*) noexcept nogil
ctypedef void (*group_f64)(const RowJob*, const Parameters*, Group*, double*) noexcept nogil
ctypedef void (*run_rows)(const RowJob*, Py_ssize_t, Py_ssize_t, Partial*) noexcept nogil

cdef struct RowKernel:
    Parameters parameters
    group_f32 evaluate_f32
    group_f64 evaluate_f64
    run_rows run_f32
    run_rows run_f64
    bint distribution  # takes rows of targets, else classes
    bint ordered  # walks along the classes, which only goes across
    bint scratch  # takes rows that lie apart, each contiguous, or side by side in scratch
    bint keeps  # goes back to the exponentials, or the probabilities, for the loss
    bint crosses  # checks targets of scores itself

# One call. Streams are rows (outer) of classes (inner).
cdef struct RowJob:
    const RowKernel* kernel
    int mode
    Inputs inputs
    RowTarget target
    Py_ssize_t rows
    Py_ssize_t classes
    Stream y_true
    bint indexed  # y_true holds classes
    double tolerance  # of sums of targets
    Stream y_pred
    Stream sample_weight
    Stream loss
    Stream gradient
    Stream hessian
    double label_smoothing
    double temperature
    const double* adjustment  # of the scores, one a class; NULL: none
    bint ignores
    double ignored
    double factor
    const double* class_factor  # of the losses, one a class; NULL: the one above
    const double* class_weight
    bint weighted
    bint bound
    bint in_place
    bint reduced
    double weight_unit
    double scale


# ---- linear models: products with some rows of X ---------------------------------------------------------------------

cdef enum Storage:
    DENSE_ROWS, DENSE_COLUMNS, STRIDED, SPARSE_ROWS, SPARSE_COLUMNS

# Rows of X beside `outputs` scores each. Scores and their gradients are (rows, outputs). Coefficients and theirs are
# (outputs, features) beside dense X, (features, outputs) beside sparse.
cdef struct Block:
    const void* data  # of dense storage the first number of the block, of sparse all values
    Py_ssize_t pitch  # numbers from one dense row (or column) to the next; bytes, where storage is STRIDED
    Py_ssize_t step  # bytes from one number of a row to the next, where it is STRIDED
    const void* indices
    const int64_t* starts  # where a sparse row (or, of the block, column) starts and ends in data
    const int64_t* ends
    Py_ssize_t first  # the block's first row, which column indices count from
    Py_ssize_t rows
    Py_ssize_t features
    Py_ssize_t outputs
    Py_ssize_t apart  # numbers from one output's coefficients to the next, for products with dense rows
    bint careful  # X may hold NaN or inf: a gradient of exactly 0 then means that a row does not count

# Of the block's data and indices: to += X·from, or to += Xᵀ·from.
ctypedef void (*product)(const void*, const void*, const Block*, const double*, double*) noexcept nogil
# The same two at once: the first of a block, the second of as many rows elsewhere, both a multiple of four.
ctypedef void (*product_pair)(const void* data, const void* next, const Block*, const double* r, double* g,
                              const double* w, double* z) noexcept nogil
# The rows as dense double ones, so many numbers apart.
ctypedef void (*gather_rows)(const void*, const void*, const Block*, double*, Py_ssize_t) noexcept nogil

# How to work with one kind of storage, compiled for one ISA.
cdef struct Products:
    product scores
    product gradient
    product_pair gradient_and_scores  # NULL where there is no loop for both
    gather_rows gather
    void (*fill)(const double* intercepts, Py_ssize_t rows, Py_ssize_t outputs, double* z) noexcept nogil
    void (*add_rows)(const double* values, Py_ssize_t rows, Py_ssize_t outputs, double* sums) noexcept nogil
    void (*add_values)(double* values, Py_ssize_t n, double* lanes) noexcept nogil
    void (*add_lanes)(double* lanes, Sum* sum) noexcept nogil
    bint (*is_finite)(const double* values, Py_ssize_t n) noexcept nogil
