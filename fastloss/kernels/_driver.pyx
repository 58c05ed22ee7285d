# The front door of the kernels: takes whatever arrays a call brings, checks them, describes them as one Job, and runs
# it over chunks, in parallel. It reads arrays through NumPy's C interface: a typed memoryview costs 0.1 µs each and
# fixes one dtype and one number of dimensions, and a call takes up to six arrays of twelve dtypes.

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython.parallel cimport prange
from libc.math cimport frexp, isfinite, isinf, ldexp
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cimport numpy as cnp

from .types cimport (
    BAD_TARGET, BAD_WEIGHT, BOOL8, CHUNK, COUNTED, FLOAT16, FLOAT32, FLOAT64, GRADIENT, HESSIAN, INDICATORS, INT16,
    INT32, INT64, INT8, LOG_CLASSES, LOSS, MOST_ROWS, NO_MEMORY, PROBABILITY, ROWS, SIGNED_TARGET, UINT16, UINT32,
    UINT64, UINT8, UNIT_TARGET, WEIGHT, WIDTH, DType, Inputs, Job, Kernel, Partial, RowJob, RowKernel, RowTarget,
    Stream, Sum, Target, run_chunk,
)

import numpy as np

from .. import _checks
from ..class_weight import weights_of_classes

cnp.import_array()

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FASTLOSS_OPENMP _OPENMP
    static int fastloss_openmp_max_threads(void) { return omp_get_max_threads(); }
    #else
    #define FASTLOSS_OPENMP 0
    static int fastloss_openmp_max_threads(void) { return 1; }
    #endif
    #if defined(__clang__)
    #define FASTLOSS_COMPILER "Clang " __clang_version__
    #elif defined(__GNUC__)
    #define FASTLOSS_COMPILER "GCC " __VERSION__
    #elif defined(_MSC_VER)
    #define FASTLOSS_COMPILER "MSVC"
    #else
    #define FASTLOSS_COMPILER "unknown"
    #endif
    """
    const int FASTLOSS_OPENMP
    const char* FASTLOSS_COMPILER
    int fastloss_openmp_max_threads() nogil

cdef extern from "bits.h":
    int fastloss_x86_64_level()

from .threads import available_cpus

# What y_true may hold, by its number in `Target`.
TARGETS = ["real", "binary", "soft binary", "non-negative", "positive", "above -1"]
# The same of row losses, and what their y_pred holds.
ROW_TARGETS = ["classes", "soft classes", "log classes", "indicators"]
INPUTS = ["logits", "probabilities", "log_probabilities"]

COMPILER = FASTLOSS_COMPILER.decode()
OPENMP = FASTLOSS_OPENMP


def x86_64_level():
    """2, 3 or 4: the highest x86-64 level of this CPU; 0 on other machines."""
    return fastloss_x86_64_level()


# Below this much work (ns) a second thread costs more than it saves: a two-thread region takes 1.5 µs.
cdef double THREAD_WORK = 5000.0
# What goes into the place of the Hessian.
cdef int THIRD = HESSIAN | PROBABILITY
cdef Py_ssize_t MAX_THREADS = 256

cdef int cpus = available_cpus()
cdef int chosen_threads = 0  # by set_num_threads; 0: none
cdef bint used_threads = False
cdef bint forked = False


@cython.binding(True)  # with a signature
def set_num_threads(n):
    """Sets how many threads a call may use when it is not told ``n_threads``.

    Parameters
    ----------
    n : int or None
        At least 1. None goes back to the default: the CPUs this process may use.
    """
    global chosen_threads
    chosen_threads = 0 if n is None else _checks.thread_count(n, "n")


@cython.binding(True)
def get_num_threads():
    """How many threads a call may use when it is not told ``n_threads``.

    Returns
    -------
    int
        What `set_num_threads` set; else the CPUs this process may use (affinity, cgroup quota, ``OMP_NUM_THREADS``,
        ``threadpoolctl``).
    """
    if chosen_threads:
        return chosen_threads
    return min(cpus, fastloss_openmp_max_threads())


def after_fork_in_child():
    """A parallel region hangs in a child forked after one ran in the parent (libgomp's threads are not there)."""
    global forked
    forked = used_threads


cdef int threads_for(object n_threads, double work, Py_ssize_t chunks) except -1:
    cdef int threads
    if n_threads is None:
        threads = 1 if work < 2 * THREAD_WORK else get_num_threads()
    elif type(n_threads) is int and 1 <= n_threads <= 1024:
        threads = n_threads
    else:
        threads = _checks.thread_count(n_threads, "n_threads")
    # MAX_THREADS: OpenMP ends the process when the system has no more threads to give
    return 1 if forked else <int>min(threads, max(chunks, 1), MAX_THREADS)


cdef void note_threads(int threads) noexcept:
    """To be called before a parallel region of another module: see after_fork_in_child."""
    global used_threads
    used_threads = used_threads or threads > 1


# ---- arrays ----------------------------------------------------------------------------------------------------------

cdef cnp.ndarray as_array(object value, str name):
    # NPY_ARRAY_ALIGNED and native byte order; everything else takes the slow way round
    if type(value) is cnp.ndarray and cnp.PyArray_ISBEHAVED_RO(value) and code_of(<cnp.ndarray>value) >= 0:
        return <cnp.ndarray>value
    return <cnp.ndarray?>_checks.as_array(value, name)


cdef int code_of(cnp.ndarray array) noexcept:
    cdef int number = cnp.PyArray_TYPE(array)
    if number == cnp.NPY_DOUBLE:
        return FLOAT64
    if number == cnp.NPY_FLOAT:
        return FLOAT32
    if number == cnp.NPY_BOOL:
        return BOOL8
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    if cnp.PyTypeNum_ISFLOAT(number):
        return FLOAT16 if size == 2 else -1
    if cnp.PyTypeNum_ISSIGNED(number) and cnp.PyTypeNum_ISINTEGER(number):
        return INT8 if size == 1 else INT16 if size == 2 else INT32 if size == 4 else INT64
    if cnp.PyTypeNum_ISUNSIGNED(number):
        return UINT8 if size == 1 else UINT16 if size == 2 else UINT32 if size == 4 else UINT64
    return -1


# The order in which y_pred's elements lie in memory: `inner` of them `outer` times. Other arrays are walked alike.
cdef struct Layout:
    int ndim
    Py_ssize_t outer
    Py_ssize_t inner
    int fast_axis


cdef Layout layout_of(cnp.ndarray array) noexcept:
    cdef Layout layout
    cdef Py_ssize_t rows, columns, down, across
    layout.ndim = cnp.PyArray_NDIM(array)
    layout.fast_axis = 0
    layout.outer = 1
    layout.inner = cnp.PyArray_DIM(array, 0)
    if layout.ndim == 2:
        rows = cnp.PyArray_DIM(array, 0)
        columns = cnp.PyArray_DIM(array, 1)
        down = abs(cnp.PyArray_STRIDE(array, 0))
        across = abs(cnp.PyArray_STRIDE(array, 1))
        # (a stride of 0 is a broadcast axis, and no order)
        if columns != 1 and (rows == 1 or down == 0 or 0 < across <= down):
            layout.fast_axis = 1
        layout.inner = columns if layout.fast_axis == 1 else rows
        layout.outer = rows if layout.fast_axis == 1 else columns
    return layout


cdef Stream stream_of(cnp.ndarray array, const Layout* layout) noexcept:
    cdef Stream stream
    stream.data = cnp.PyArray_BYTES(array)
    stream.dtype = <DType>code_of(array)
    cdef Py_ssize_t first = cnp.PyArray_STRIDE(array, 0)
    cdef Py_ssize_t second
    if layout.ndim == 1:
        stream.inner_stride = first
    else:
        # weights (n,) beside predictions (n, k) stand still along the columns
        second = cnp.PyArray_STRIDE(array, 1) if cnp.PyArray_NDIM(array) == 2 else 0
        stream.inner_stride = second if layout.fast_axis == 1 else first
        stream.outer_stride = first if layout.fast_axis == 1 else second
    if layout.outer == 1:
        stream.outer_stride = layout.inner * stream.inner_stride
    return stream


cdef bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int axis
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, axis) != cnp.PyArray_DIM(b, axis):
            return False
    return True


cdef bint may_overlap(cnp.ndarray a, cnp.ndarray b) except -1:
    """Whether two arrays share memory: first by their extents, which costs nothing, then exactly."""
    cdef size_t a_first = <size_t>cnp.PyArray_DATA(a), a_last = a_first
    cdef size_t b_first = <size_t>cnp.PyArray_DATA(b), b_last = b_first
    cdef Py_ssize_t reach
    cdef int axis
    if cnp.PyArray_SIZE(a) == 0 or cnp.PyArray_SIZE(b) == 0:
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        reach = (cnp.PyArray_DIM(a, axis) - 1) * cnp.PyArray_STRIDE(a, axis)
        if reach < 0:
            a_first += reach
        else:
            a_last += reach
    for axis in range(cnp.PyArray_NDIM(b)):
        reach = (cnp.PyArray_DIM(b, axis) - 1) * cnp.PyArray_STRIDE(b, axis)
        if reach < 0:
            b_first += reach
        else:
            b_last += reach
    if a_last + cnp.PyArray_ITEMSIZE(a) <= b_first or b_last + cnp.PyArray_ITEMSIZE(b) <= a_first:
        return False
    return np.shares_memory(a, b)


cdef bint is_same_memory(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int axis
    if (cnp.PyArray_DATA(a) != cnp.PyArray_DATA(b) or cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b)
            or cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b)):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, axis) > 1 and cnp.PyArray_STRIDE(a, axis) != cnp.PyArray_STRIDE(b, axis):
            return False
    return True


# ---- running a job ---------------------------------------------------------------------------------------------------

cdef Total run_job(const void* job, Py_ssize_t size, Py_ssize_t chunk, run_chunk run, int threads):
    """The sum of a job's losses (or weights): chunks in parallel, added up in order."""
    global used_threads
    cdef Py_ssize_t chunks = (size + chunk - 1) // chunk, i
    cdef Partial one
    cdef Partial* partials = &one
    cdef Total total
    cdef Sum losses, reduced
    memset(&total, 0, sizeof(Total))
    memset(&losses, 0, sizeof(Sum))
    memset(&reduced, 0, sizeof(Sum))
    if chunks == 0:
        return total
    if chunks == 1:
        run(job, 0, size, partials)
    else:
        partials = <Partial*>malloc(chunks * sizeof(Partial))
        if partials == NULL:
            raise MemoryError
        with nogil:
            if threads > 1:
                used_threads = True
                for i in prange(chunks, num_threads=threads, schedule="static"):
                    run(job, i * chunk, min((i + 1) * chunk, size), &partials[i])
            else:
                for i in range(chunks):
                    run(job, i * chunk, min((i + 1) * chunk, size), &partials[i])
    for i in range(chunks):
        total.flags |= partials[i].flags
        add_to(&losses, &partials[i].losses)
        add_to(&reduced, &partials[i].reduced)
    total.value = value_of(&losses)
    total.reduced = value_of(&reduced)
    if partials != &one:
        free(partials)
    return total


cdef enum Reduction:
    MEAN
    SUM
    NONE


cdef Reduction reduction_of(object reduction) except *:
    if type(reduction) is str:
        if reduction == "mean":
            return MEAN
        if reduction == "none":
            return NONE
        if reduction == "sum":
            return SUM
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


cdef double weight_unit(double* weight_sum) except? -1.0:
    """A power of 2 on every weight, against overflow; the sum of weights takes it, too."""
    cdef int exponent
    cdef double unit
    if isinf(weight_sum[0]):
        raise ValueError("the sum of the weights overflows: scale sample_weight and class_weight down")
    if not weight_sum[0] > 0.0:
        raise ValueError(f"the weights sum to {weight_sum[0]}: with reduction='mean' the sum must be positive")
    if 1e-200 < weight_sum[0] < 1e200:
        return 1.0
    frexp(weight_sum[0], &exponent)
    unit = ldexp(1.0, -max(exponent, -1000))  # 2^1000 is finite, and lifts any sum far enough
    weight_sum[0] *= unit
    return unit


cdef inline object results(int mode, object loss, object gradient, object hessian):
    if not mode & LOSS:
        return gradient if not mode & THIRD else (gradient, hessian)
    if not mode & GRADIENT:
        return loss
    return (loss, gradient) if not mode & THIRD else (loss, gradient, hessian)


@cython.final
cdef class Evaluator:
    """A loss bound to its parameters: what the public methods of `fastloss.Loss` call.

    Parameters
    ----------
    capsule : the Kernel of the chosen ISA
    target : what y_true may hold, one of TARGETS
    cost : ns per element of loss and gradient, about, to choose the number of threads
    varying_name, varying : the parameter that may vary by column: a float or an array (k,)
    class_weight : see `fastloss.class_weight.binary_class_weight`
    float32_fault : what is wrong with the parameters in float32, or None
    """

    def __init__(self, capsule, str target, double cost, str varying_name, varying, class_weight, float32_fault=None):
        self.capsule = capsule
        self.kernel = <const Kernel*>PyCapsule_GetPointer(capsule, "fastloss.Kernel")
        self.target = <Target><int>TARGETS.index(target)
        self.cost = cost
        self.varying_name = varying_name
        if isinstance(varying, np.ndarray):
            self.varying = varying
        else:
            self.varying_scalar = varying
        self.class_weight = class_weight
        self.float32_fault = float32_fault

    def evaluate(self, int mode, y_true, y_pred, sample_weight, reduction, n_threads,
                 loss_out=None, gradient_out=None, hessian_out=None):
        """The outputs that `mode` (1 loss, 2 gradient, 4 Hessian, added) asks for, alone or as a tuple."""
        cdef cnp.ndarray z = as_array(y_pred, "y_pred")
        cdef cnp.ndarray y = as_array(y_true, "y_true")
        cdef cnp.ndarray firsts = z  # y_pred, of a pair its first column: as many as there are samples
        cdef cnp.ndarray weights = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        cdef cnp.ndarray loss = None
        cdef cnp.ndarray gradient = None
        cdef cnp.ndarray hessian = None
        cdef cnp.ndarray _alive
        cdef Reduction how = reduction_of(reduction)
        cdef bint mean = how == MEAN
        cdef bint by_sample = how == NONE
        cdef bint single = code_of(z) == FLOAT32 or code_of(z) == FLOAT16
        cdef int typenum = cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE
        cdef run_chunk run = <run_chunk>(self.kernel.run_f32 if single else self.kernel.run_f64)
        cdef Layout layout
        cdef Job job
        cdef Total total
        cdef double weight_sum = 0.0, value
        cdef int threads

        if single and self.float32_fault is not None:
            raise ValueError(self.float32_fault)
        _alive = self.describe(&job, y, z, weights)
        if self.kernel.pair:
            firsts = z[:, 0]
        layout = layout_of(firsts)
        job.mode = mode
        if mean and job.size == 0:
            raise ValueError(f"y_pred has no samples (shape {_checks.shape(z)}), and their mean is not defined: "
                             f"give at least one, or reduction='sum'")
        threads = threads_for(n_threads, job.size * self.cost, (job.size + CHUNK - 1) // CHUNK)

        # Outputs.
        if mode & LOSS:
            if by_sample:
                loss = output(loss_out, "loss_out", firsts, typenum)
                job.loss = stream_of(loss, &layout)
            elif loss_out is not None:
                raise ValueError(f"loss_out is only for reduction='none'; with {reduction!r} the loss is a float")
        if mode & GRADIENT:
            gradient = output(gradient_out, "gradient_out", z, typenum)
            job.gradient = stream_of(gradient, &layout)
            if self.kernel.pair:
                job.second_gradient = second_column(&job.gradient, gradient)
        if mode & HESSIAN:
            hessian = output(hessian_out, "hessian_out", z, typenum)
            job.hessian = stream_of(hessian, &layout)
            if self.kernel.pair:
                job.second_hessian = second_column(&job.hessian, hessian)
        if loss_out is not None:
            job.in_place |= check_overlap(loss, "loss_out", z, y, weights, None)
        if gradient_out is not None:
            job.in_place |= check_overlap(gradient, "gradient_out", z, y, weights, loss)
        if hessian_out is not None:
            job.in_place |= check_overlap(hessian, "hessian_out", z, y, weights, gradient)
            if loss is not None and may_overlap(hessian, loss):
                raise ValueError("hessian_out overlaps loss_out in memory")

        # The mean needs the sum of weights first: gradients leave the pass divided by it.
        if mean:
            weight_sum = job.size
            if job.weighted:
                job.mode = WEIGHT
                total = run_job(&job, job.size, CHUNK, run, threads)
                self.raise_faults(total.flags, y, weights, typenum)
                weight_sum = total.value
                job.weight_unit = weight_unit(&weight_sum)
                job.mode = mode
            job.scale = 1.0 / weight_sum

        # A mean of huge losses may be finite though their sum is not. What is written over cannot be read once more.
        job.reduced = mean and job.in_place
        total = run_job(&job, job.size, CHUNK, run, threads)
        self.raise_faults(total.flags, y, weights, typenum)

        if by_sample or not mode & LOSS:
            return results(mode, loss, gradient, hessian)
        value = total.value
        if mean and not isfinite(value):
            if not job.in_place:
                job.mode = LOSS
                job.reduced = True
                total = run_job(&job, job.size, CHUNK, run, threads)
            value = ldexp(total.reduced / weight_sum, 64)
        elif mean:
            value = value / weight_sum
        return results(mode, value, gradient, hessian)

    cdef cnp.ndarray describe(self, Job* job, cnp.ndarray y, cnp.ndarray z, cnp.ndarray weights):
        """Fills all of a job but what it is to compute, and for a sum. Returns the class weights, which must live as
        long as the job."""
        cdef cnp.ndarray firsts = z
        cdef cnp.ndarray pairs = None
        cdef Layout layout
        # Shapes.
        if self.kernel.pair:
            if cnp.PyArray_NDIM(z) != 2 or cnp.PyArray_DIM(z, 1) != 2:
                raise ValueError(f"y_pred must have shape (n, 2), got {_checks.shape(z)}")
            firsts = z[:, 0]
            if not same_shape(y, firsts):
                raise ValueError(f"y_true has shape {_checks.shape(y)} and y_pred {_checks.shape(z)}: they must be "
                                 f"(n,) and (n, 2)")
        if not 1 <= cnp.PyArray_NDIM(z) <= 2:
            raise ValueError(f"y_pred must have shape (n,) or (n, k), got {_checks.shape(z)}")
        if not same_shape(y, firsts):
            raise ValueError(f"y_true has shape {_checks.shape(y)} and y_pred {_checks.shape(z)}: "
                             f"they must be equal (nothing is broadcast)")
        layout = layout_of(firsts)
        memset(job, 0, sizeof(Job))
        job.kernel = self.kernel
        job.target = self.target
        job.inner = layout.inner
        job.size = layout.inner * layout.outer
        job.y_true = stream_of(y, &layout)
        job.y_pred = stream_of(firsts, &layout)
        if self.kernel.pair:
            job.second_pred = second_column(&job.y_pred, z)

        # The parameter that may vary by column.
        job.varies = self.varying_name != ""
        job.varying_scalar = self.varying_scalar
        if self.varying is not None:
            if layout.ndim != 2 or cnp.PyArray_DIM(self.varying, 0) != cnp.PyArray_DIM(z, 1):
                raise ValueError(f"{self.varying_name} has shape {_checks.shape(self.varying)}: y_pred must then have "
                                 f"shape (n, {cnp.PyArray_DIM(self.varying, 0)}), got {_checks.shape(z)}")
            job.varying = row_stream(self.varying, &layout)

        # Weights.
        job.weight_unit = 1.0
        job.scale = 1.0
        if weights is not None:
            if not same_shape(weights, firsts) and not (
                    cnp.PyArray_NDIM(weights) == 1 and cnp.PyArray_DIM(weights, 0) == cnp.PyArray_DIM(z, 0)):
                raise ValueError(f"sample_weight has shape {_checks.shape(weights)}, y_pred {_checks.shape(z)}: "
                                 f"it must be (n,)" + (" or (n, k)" if layout.ndim == 2 else ""))
            job.sample_weight = stream_of(weights, &layout)
            job.weighted = True
        if self.class_weight is not None:
            pairs = self.class_weight_pairs(y, z)
            job.class_weight = <const double*>cnp.PyArray_DATA(pairs)
            job.weighted = True
            if cnp.PyArray_NDIM(pairs) == 2:
                if layout.ndim != 2 or cnp.PyArray_DIM(pairs, 0) != cnp.PyArray_DIM(z, 1):
                    raise ValueError(f"class_weight has shape {_checks.shape(pairs)}: y_pred must then have shape "
                                     f"(n, {cnp.PyArray_DIM(pairs, 0)}), got {_checks.shape(z)}")
                job.class_weight_step = 2
                job.columns = cnp.PyArray_DIM(z, 1)
                job.column_step = 1 if layout.fast_axis == 1 else cnp.PyArray_DIM(z, 0)
        return pairs

    cdef cnp.ndarray class_weight_pairs(self, cnp.ndarray y, cnp.ndarray z):
        """Weights of (negatives, positives): (2,), or (k, 2) by column."""
        if isinstance(self.class_weight, np.ndarray):
            return self.class_weight
        if self.class_weight == "balanced":
            if cnp.PyArray_NDIM(y) == 1:
                return self.balanced(y, y, z)
            return np.array([self.balanced(y[:, column], y, z) for column in range(y.shape[1])]).reshape(-1, 2)
        return np.ascontiguousarray(self.class_weight.weights, dtype=np.float64).reshape(2)

    cdef cnp.ndarray balanced(self, cnp.ndarray column, cnp.ndarray y, cnp.ndarray z):
        """N / (2·N_c) of a column of y, counted by the weight pass: class weights of (1, 0) and (0, 1) sum to N_c."""
        cdef Job job
        cdef Layout layout = layout_of(column)
        cdef Total total
        cdef double pair[2]
        cdef int c
        cdef bint single = code_of(z) == FLOAT32 or code_of(z) == FLOAT16
        cdef run_chunk run = <run_chunk>(self.kernel.run_f32 if single else self.kernel.run_f64)
        pairs = np.ones(2)
        memset(&job, 0, sizeof(Job))
        job.kernel = self.kernel
        job.target = self.target
        job.mode = WEIGHT
        job.size = job.inner = layout.inner
        job.y_true = stream_of(column, &layout)
        job.weight_unit = 1.0
        job.weighted = True
        job.class_weight = pair
        for c in range(2):
            pair[c] = 1.0
            pair[1 - c] = 0.0
            total = run_job(&job, job.size, CHUNK, run, 1)
            self.raise_faults(total.flags, y, None, cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE)
            if total.value > 0.0:
                pairs[c] = job.size / (2.0 * total.value)
        return pairs

    cdef int raise_faults(self, int flags, cnp.ndarray y, cnp.ndarray weights, int typenum) except -1:
        if flags & (BAD_TARGET | BAD_WEIGHT) or (flags & SIGNED_TARGET and flags & UNIT_TARGET):
            _checks.raise_faults(y, weights, TARGETS[<int>self.target],
                                 np.float32 if typenum == cnp.NPY_FLOAT else np.float64)
        return 0


cdef Stream row_stream(cnp.ndarray row, const Layout* layout) noexcept:
    """An array (k,) beside predictions (n, k): stands still along the samples."""
    cdef Stream stream
    stream.data = cnp.PyArray_BYTES(row)
    stream.dtype = FLOAT64
    stream.inner_stride = cnp.PyArray_STRIDE(row, 0) if layout.fast_axis == 1 else 0
    stream.outer_stride = 0 if layout.fast_axis == 1 else cnp.PyArray_STRIDE(row, 0)
    if layout.outer == 1:
        stream.outer_stride = layout.inner * stream.inner_stride
    return stream


cdef Stream second_column(const Stream* first, cnp.ndarray pairs) noexcept:
    """The other column of an array (n, 2)."""
    cdef Stream stream = first[0]
    stream.data += cnp.PyArray_STRIDE(pairs, 1)
    return stream


cdef cnp.ndarray output(object out, str name, cnp.ndarray z, int typenum):
    """The caller's array, checked, or a new one in y_pred's order."""
    cdef Layout layout = layout_of(z)
    if out is None:
        return cnp.PyArray_EMPTY(layout.ndim, cnp.PyArray_DIMS(z), typenum, layout.ndim == 2 and layout.fast_axis == 0)
    # The usual case at a glance; the rest, and what to say of it, is in _checks.
    if not (type(out) is cnp.ndarray and cnp.PyArray_TYPE(out) == typenum and cnp.PyArray_ISBEHAVED(out)
            and same_shape(out, z) and cnp.PyArray_IS_C_CONTIGUOUS(out) and cnp.PyArray_IS_C_CONTIGUOUS(z)):
        _checks.output(out, name, z, np.float32 if typenum == cnp.NPY_FLOAT else np.float64)
    return <cnp.ndarray>out


cdef bint check_overlap(cnp.ndarray out, str name, cnp.ndarray z, cnp.ndarray y, cnp.ndarray weights,
                        cnp.ndarray other) except -1:
    """Whether out is y_pred itself; any other overlap is an error."""
    if may_overlap(out, y):
        raise ValueError(f"{name} overlaps y_true in memory")
    if weights is not None and may_overlap(out, weights):
        raise ValueError(f"{name} overlaps sample_weight in memory")
    if other is not None and may_overlap(out, other):
        raise ValueError(f"{name} overlaps another output in memory")
    if not may_overlap(out, z):
        return False
    if not is_same_memory(out, z):
        raise ValueError(f"{name} overlaps y_pred in memory without being y_pred itself (same memory, same strides)")
    return True


# ---- rows ------------------------------------------------------------------------------------------------------------

cdef Stream matrix_stream(cnp.ndarray array) noexcept:
    """Rows (outer) of classes (inner); of an array (n,) only the rows."""
    cdef Stream stream
    stream.data = cnp.PyArray_BYTES(array)
    stream.dtype = <DType>code_of(array)
    stream.outer_stride = cnp.PyArray_STRIDE(array, 0)
    stream.inner_stride = cnp.PyArray_STRIDE(array, 1) if cnp.PyArray_NDIM(array) == 2 else 0
    return stream


@cython.final
cdef class RowEvaluator:
    """A row loss bound to its parameters, as Evaluator is an elementwise one.

    Parameters
    ----------
    hard, soft : capsules with the RowKernels for targets that are classes, and that are rows; or None
    inputs : what y_pred holds, one of INPUTS
    target : what y_true may hold, one of ROW_TARGETS
    cost : ns per element of loss and gradient, about, to choose the number of threads
    class_weight : see `fastloss.class_weight.row_class_weight`
    class_factor : multiplies the losses: a float, or an array (C,) by class
    label_smoothing, temperature, logit_adjustment, ignore_index : see `fastloss.CrossEntropy`, `fastloss.KLDivergence`
    bound : whether the Hessian is an upper bound
    float32_fault : what is wrong with the parameters in float32, or None
    """

    def __init__(self, hard, soft, str inputs, str target, double cost, class_weight, class_factor,
                 double label_smoothing, double temperature, logit_adjustment, ignore_index, bint bound,
                 float32_fault=None):
        self.hard_capsule = hard
        self.soft_capsule = soft
        self.hard = NULL if hard is None else <const RowKernel*>PyCapsule_GetPointer(hard, "fastloss.RowKernel")
        self.soft = NULL if soft is None else <const RowKernel*>PyCapsule_GetPointer(soft, "fastloss.RowKernel")
        self.inputs = <Inputs><int>INPUTS.index(inputs)
        self.target = <RowTarget><int>ROW_TARGETS.index(target)
        self.cost = cost
        self.class_weight = class_weight
        self.factor = 1.0
        if isinstance(class_factor, np.ndarray):
            self.class_factor = class_factor
        elif class_factor is not None:
            self.factor = class_factor
        self.label_smoothing = label_smoothing
        self.temperature = temperature
        self.logit_adjustment = logit_adjustment
        self.ignore_index = ignore_index
        self.bound = bound
        self.float32_fault = float32_fault

    def evaluate(self, int mode, y_true, y_pred, sample_weight, reduction, n_threads,
                 loss_out=None, gradient_out=None, hessian_out=None):
        """The outputs that `mode` (1 loss, 2 gradient, 4 Hessian, 8 probabilities, added) asks for, alone or as a
        tuple; Hessian or probabilities, not both."""
        cdef cnp.ndarray z = as_array(y_pred, "y_pred")
        cdef cnp.ndarray y = as_array(y_true, "y_true")
        cdef cnp.ndarray weights = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        cdef cnp.ndarray _alive, loss = None, gradient = None, third = None
        cdef Reduction how = reduction_of(reduction)
        cdef bint mean = how == MEAN
        cdef bint single = code_of(z) == FLOAT32 or code_of(z) == FLOAT16
        cdef int typenum = cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE
        cdef str third_name = "proba_out" if mode & PROBABILITY else "hessian_out"
        cdef run_chunk run
        cdef RowJob job
        cdef Total total
        cdef double weight_sum = 0.0, value
        cdef Py_ssize_t chunk
        cdef int threads

        if single and self.float32_fault is not None:
            raise ValueError(self.float32_fault)
        _alive = self.describe(&job, y, z, weights)
        run = <run_chunk>(job.kernel.run_f32 if single else job.kernel.run_f64)
        job.mode = mode
        if mean and job.rows == 0:
            raise ValueError(f"y_pred has no samples (shape {_checks.shape(z)}), and their mean is not defined: "
                             f"give at least one, or reduction='sum'")
        # As many rows as depend on nothing but the number of classes, in groups of 16 where they are side by side.
        chunk = max(1, min(<Py_ssize_t>MOST_ROWS, 32768 // job.classes))
        if chunk >= ROWS:
            chunk -= chunk % ROWS
        elif job.y_pred.outer_stride < job.y_pred.inner_stride:
            chunk = max(<Py_ssize_t>WIDTH, chunk - chunk % WIDTH)
        threads = threads_for(n_threads, job.rows * job.classes * self.cost, (job.rows + chunk - 1) // chunk)

        # Outputs.
        if mode & LOSS:
            if how == NONE:
                loss = output(loss_out, "loss_out", z[:, 0], typenum)
                job.loss = matrix_stream(loss)
            elif loss_out is not None:
                raise ValueError(f"loss_out is only for reduction='none'; with {reduction!r} the loss is a float")
        if mode & GRADIENT:
            gradient = output(gradient_out, "gradient_out", z, typenum)
            job.gradient = matrix_stream(gradient)
        if mode & THIRD:
            third = output(hessian_out, third_name, z, typenum)
            job.hessian = matrix_stream(third)
        if loss_out is not None:
            job.in_place |= check_overlap(loss, "loss_out", z, y, weights, None)
        if gradient_out is not None:
            job.in_place |= check_overlap(gradient, "gradient_out", z, y, weights, loss)
        if hessian_out is not None:
            job.in_place |= check_overlap(third, third_name, z, y, weights, gradient)
            if loss is not None and may_overlap(third, loss):
                raise ValueError(f"{third_name} overlaps loss_out in memory")

        # The mean needs the sum of weights first: gradients leave the pass divided by it.
        if mean:
            weight_sum = job.rows
            if job.weighted:
                job.mode = WEIGHT
                total = run_job(&job, job.rows, chunk, run, threads)
                self.raise_faults(total.flags, y, weights, job.classes, typenum)
                weight_sum = total.value
                if weight_sum == 0.0 and not total.flags & COUNTED:
                    weight_sum = 1.0  # all rows are ignored: nothing, of nothing
                job.weight_unit = weight_unit(&weight_sum)
                job.mode = mode
            job.scale = 1.0 / weight_sum

        # A mean of huge losses may be finite though their sum is not. What is written over cannot be read once more.
        job.reduced = mean and job.in_place
        total = run_job(&job, job.rows, chunk, run, threads)
        self.raise_faults(total.flags, y, weights, job.classes, typenum)
        if how == NONE or not mode & LOSS:
            return results(mode, loss, gradient, third)
        value = total.value
        if mean and not isfinite(value):
            if not job.in_place:
                job.mode = LOSS
                job.reduced = True
                total = run_job(&job, job.rows, chunk, run, threads)
            value = ldexp(total.reduced / weight_sum, 64)
        elif mean:
            value = value / weight_sum
        return results(mode, value, gradient, third)

    cdef cnp.ndarray describe(self, RowJob* job, cnp.ndarray y, cnp.ndarray z, cnp.ndarray weights):
        """Fills all of a job but what it is to compute, and for a sum. Returns the class weights, which must live as
        long as the job."""
        cdef cnp.ndarray class_weights = None
        cdef bint indexed = cnp.PyArray_NDIM(y) == 1
        # Shapes.
        if cnp.PyArray_NDIM(z) != 2 or cnp.PyArray_DIM(z, 1) < 2:
            raise ValueError(f"y_pred must have shape (n, C) with at least two classes, got {_checks.shape(z)}")
        if self.target == LOG_CLASSES or self.target == INDICATORS:
            if not same_shape(y, z):
                raise ValueError(f"y_true has shape {_checks.shape(y)} and y_pred {_checks.shape(z)}: "
                                 f"they must be equal")
        elif not same_shape(y, z) and not (indexed and cnp.PyArray_DIM(y, 0) == cnp.PyArray_DIM(z, 0)):
            raise ValueError(f"y_true has shape {_checks.shape(y)} and y_pred {_checks.shape(z)}: y_true must hold "
                             f"classes, (n,), or rows of targets, of y_pred's shape")
        if not indexed and self.ignore_index is not None:
            raise ValueError("ignore_index is for classes as targets, and y_true holds rows: give rows that do not "
                             "count a sample_weight of 0")
        memset(job, 0, sizeof(RowJob))
        job.kernel = self.hard if self.hard != NULL and (indexed or self.soft == NULL) else self.soft
        job.inputs = self.inputs
        job.target = self.target
        job.rows = cnp.PyArray_DIM(z, 0)
        job.classes = cnp.PyArray_DIM(z, 1)
        job.y_true = matrix_stream(y)
        job.indexed = indexed
        job.tolerance = 1e-4 if job.y_true.dtype == FLOAT32 else 1e-2 if job.y_true.dtype == FLOAT16 else 1e-6
        job.y_pred = matrix_stream(z)

        # Parameters by class.
        job.label_smoothing = self.label_smoothing
        job.temperature = self.temperature
        job.bound = self.bound
        job.factor = self.factor
        job.class_factor = by_class(self.class_factor, "alpha", z)
        job.adjustment = by_class(self.logit_adjustment, "logit_adjustment", z)
        if self.ignore_index is not None:
            job.ignores = True
            job.ignored = self.ignore_index

        # Weights.
        job.weight_unit = 1.0
        job.scale = 1.0
        job.weighted = job.ignores
        if weights is not None:
            if cnp.PyArray_NDIM(weights) != 1 or cnp.PyArray_DIM(weights, 0) != job.rows:
                raise ValueError(f"sample_weight has shape {_checks.shape(weights)}, y_pred {_checks.shape(z)}: "
                                 f"it must be (n,)")
            job.sample_weight = matrix_stream(weights)
            job.weighted = True
        if self.class_weight is not None:
            class_weights = weights_of_classes(self.class_weight, y, job.classes, self.ignore_index,
                                               self.target == LOG_CLASSES)
            job.class_weight = by_class(class_weights, "class_weight", z)
            job.weighted = True
        return class_weights

    cdef int raise_faults(self, int flags, cnp.ndarray y, cnp.ndarray weights, Py_ssize_t classes,
                          int typenum) except -1:
        if flags & NO_MEMORY:
            raise MemoryError
        if flags & (BAD_TARGET | BAD_WEIGHT):
            _checks.raise_row_faults(y, weights, ROW_TARGETS[<int>self.target], classes, self.ignore_index,
                                     np.float32 if typenum == cnp.NPY_FLOAT else np.float64)
        return 0


cdef const double* by_class(cnp.ndarray row, str name, cnp.ndarray z) except? NULL:
    """An array (C,) that fits y_pred; None is NULL."""
    if row is None:
        return NULL
    if cnp.PyArray_NDIM(row) != 1 or cnp.PyArray_DIM(row, 0) != cnp.PyArray_DIM(z, 1):
        raise ValueError(f"{name} has shape {_checks.shape(row)}: y_pred must then have shape "
                         f"(n, {cnp.PyArray_DIM(row, 0)}), got {_checks.shape(z)}")
    return <const double*>cnp.PyArray_DATA(row)
