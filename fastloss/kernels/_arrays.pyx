# The front door of the losses of whole arrays: describes them to the passes that are compiled once per ISA, and runs
# these in parallel. Arguments come checked by the classes that call it.

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython.parallel cimport prange
from libc.string cimport memset

cimport numpy as cnp

from ._driver cimport code_of, note_threads, run_job, threads_for
from .filter cimport Image, compare_planes
from .overlap cimport AXES, INDEX_MAP, N_SUMS, Activation, Field, MapTarget, OverlapJob, OverlapKernel, overlap_pass
from .pairs cimport RowsCall, rows_kernel
from .types cimport CHUNK, FLOAT16, FLOAT32, NO_MEMORY, DType, Partial

import numpy as np

from .. import _checks

cnp.import_array()


# ---- overlap losses --------------------------------------------------------------------------------------------------

# By their numbers in `Activation` and `MapTarget`.
ACTIVATIONS = ["softmax", "sigmoid", "identity"]
MAP_TARGETS = ["index map", "any", "unit", "distribution"]

cdef enum:
    CHUNK_SIZE = 32768  # numbers of a chunk, about
    NS_PER_NUMBER = 2  # a pass takes less


cdef Field field_of(cnp.ndarray array, bint by_class) except *:
    """An array (n, C, *space), or (n, *space)."""
    cdef Field field
    cdef int axis, last = -1
    cdef Py_ssize_t size, stride
    memset(&field, 0, sizeof(Field))
    field.data = cnp.PyArray_BYTES(array)
    field.dtype = <DType>code_of(array)
    field.image_stride = cnp.PyArray_STRIDE(array, 0)
    if by_class:
        field.class_stride = cnp.PyArray_STRIDE(array, 1)
    for axis in range(2 if by_class else 1, cnp.PyArray_NDIM(array)):
        size = cnp.PyArray_DIM(array, axis)
        stride = cnp.PyArray_STRIDE(array, axis)
        if size == 1:
            continue
        if last >= 0 and field.strides[last] == size * stride:  # one walk with the axis before
            field.shape[last] *= size
        elif last == AXES - 1:
            raise ValueError(f"y_pred and y_true may have at most {AXES} axes of space, got "
                             f"{_checks.shape(array)}")
        else:
            last += 1
            field.shape[last] = size
        field.strides[last] = stride
    if last < 0:
        last = 0
        field.shape[0] = 1
        field.strides[0] = cnp.PyArray_ITEMSIZE(array)
    field.ndim = last + 1
    return field


@cython.final
cdef class OverlapPass:
    """One call of an overlap loss.

    Parameters
    ----------
    capsule : the OverlapKernel of the chosen ISA
    y, z : arrays (n, C, *space), y also (n, *space), of classes
    activation, target : one of ACTIVATIONS and of MAP_TARGETS
    exclusive : whether a pixel has one class
    tolerance : of sums of a distribution
    ignored : the class that does not count, or None
    squares, cross_entropy : whether these sums are wanted
    class_weight : (C,) of the cross-entropy, or None
    """

    cdef OverlapJob job
    cdef const OverlapKernel* kernel
    cdef bint single
    cdef tuple alive

    def __init__(self, capsule, cnp.ndarray y, cnp.ndarray z, str activation, str target, bint exclusive,
                 double tolerance, ignored, bint squares, bint cross_entropy, cnp.ndarray class_weight):
        self.kernel = <const OverlapKernel*>PyCapsule_GetPointer(capsule, "fastloss.OverlapKernel")
        self.alive = y, z, class_weight
        self.single = code_of(z) == FLOAT32 or code_of(z) == FLOAT16
        memset(&self.job, 0, sizeof(OverlapJob))
        self.job.activation = <Activation><int>ACTIVATIONS.index(activation)
        self.job.target = <MapTarget><int>MAP_TARGETS.index(target)
        self.job.exclusive = exclusive
        self.job.images = cnp.PyArray_DIM(z, 0)
        self.job.classes = cnp.PyArray_DIM(z, 1)
        self.job.pixels = cnp.PyArray_SIZE(z) // max(self.job.images * self.job.classes, 1)
        # Whole blocks of any size, and the same for every number of threads, which sums are cut by.
        self.job.chunk = max(1, CHUNK_SIZE // self.job.classes // 256) * 256
        self.job.chunks = (self.job.pixels + self.job.chunk - 1) // self.job.chunk
        self.job.y_true = field_of(y, self.job.target != INDEX_MAP)
        self.job.y_pred = field_of(z, True)
        self.job.tolerance = tolerance
        if ignored is not None:
            self.job.ignores = True
            self.job.ignored = ignored
        self.job.squares = squares
        self.job.cross_entropy = cross_entropy
        if class_weight is not None:
            self.job.class_weight = <const double*>cnp.PyArray_DATA(class_weight)

    def sums(self, n_threads):
        """Sums over pixels: (n, C, N_SUMS) of the classes, (n, 2) of the cross-entropy, and whether a target is bad."""
        sums = np.empty((self.job.images, self.job.chunks, self.job.classes, N_SUMS))
        entropies = np.empty((self.job.images, self.job.chunks, 2))
        self.job.sums = <double*>cnp.PyArray_DATA(<cnp.ndarray>sums)
        self.job.entropies = <double*>cnp.PyArray_DATA(<cnp.ndarray>entropies)
        cdef int flags = self.run(self.kernel.sums_f32 if self.single else self.kernel.sums_f64, n_threads)
        return sums.sum(axis=1), entropies.sum(axis=1), flags != 0

    def gradient(self, cnp.ndarray slopes, cnp.ndarray scales, cnp.ndarray out, n_threads):
        """Writes the gradient to `out`, which has z's shape: by slopes (n, C, N_SLOPES), and scales (n,) of the
        cross-entropy; both C-contiguous float64."""
        self.job.slopes = <const double*>cnp.PyArray_DATA(slopes)
        self.job.scales = <const double*>cnp.PyArray_DATA(scales)
        self.job.gradient = field_of(out, True)
        self.run(self.kernel.gradient_f32 if self.single else self.kernel.gradient_f64, n_threads)

    cdef int run(self, overlap_pass one, n_threads) except -1:
        cdef Py_ssize_t chunks = self.job.images * self.job.chunks, i
        cdef int threads = threads_for(n_threads, <double>self.job.pixels * self.job.images * self.job.classes
                                       * NS_PER_NUMBER, chunks)
        cdef const OverlapJob* job = &self.job
        cdef int flags = 0
        note_threads(threads)
        with nogil:
            if threads > 1:
                for i in prange(chunks, num_threads=threads, schedule="static"):
                    flags |= one(job, i // job.chunks, i % job.chunks)
            else:
                for i in range(chunks):
                    flags |= one(job, i // job.chunks, i % job.chunks)
        if flags & NO_MEMORY:
            raise MemoryError
        return flags


# ---- images ----------------------------------------------------------------------------------------------------------

def compare_images(capsule, cnp.ndarray true, cnp.ndarray pred, cnp.ndarray taps, cnp.ndarray down, cnp.ndarray across,
                   double alpha, double data_range, double factor, cnp.ndarray gradient):
    """The loss of a plane, without the GIL; and, unless it is None, its gradient times a factor.

    All arrays are contiguous, of float64; see `Image` in filter.pxd. The gradient may lie in the place of `pred`.
    """
    cdef compare_planes run = <compare_planes>PyCapsule_GetPointer(capsule, "fastloss.run_image")
    cdef const double* t = <const double*>cnp.PyArray_DATA(true)
    cdef const double* z = <const double*>cnp.PyArray_DATA(pred)
    cdef double* out = <double*>cnp.PyArray_DATA(gradient) if gradient is not None else NULL
    cdef Image image
    cdef double value
    cdef bint done
    image.rows = cnp.PyArray_DIM(true, 0)
    image.columns = cnp.PyArray_DIM(true, 1)
    image.scales = cnp.PyArray_DIM(taps, 0)
    image.window = cnp.PyArray_DIM(taps, 1)
    image.taps = <const double*>cnp.PyArray_DATA(taps)
    image.down = <const double*>cnp.PyArray_DATA(down)
    image.across = <const double*>cnp.PyArray_DATA(across)
    image.alpha = alpha
    image.data_range = data_range
    with nogil:
        done = run(&image, t, z, factor, &value, out)
    if not done:
        raise MemoryError
    return value


# ---- rows of arrays --------------------------------------------------------------------------------------------------

# About what a number of a row costs, in ns.
cdef double COST = 0.2


cdef void run_rows(const void* job, Py_ssize_t first, Py_ssize_t last, Partial* total) noexcept nogil:
    cdef const RowsCall* call = <const RowsCall*>job
    memset(total, 0, sizeof(Partial))
    call.kernel(NULL, call, first, last)


def over_rows(object kernel, tuple arrays, double parameter, object n_threads):
    """Runs a kernel over the rows of its arrays; of those that it can do without, any may be None.

    The arrays have as many rows as the first, each contiguous; the kernel says of which type and width they must be.
    """
    cdef RowsCall call
    cdef cnp.ndarray array
    cdef Py_ssize_t i, rows, chunk
    memset(&call, 0, sizeof(RowsCall))
    call.kernel = (<rows_kernel*>PyCapsule_GetPointer(kernel, "fastloss.rows_kernel"))[0]
    for i in range(len(arrays)):
        if arrays[i] is not None:
            array = arrays[i]
            call.data[i] = cnp.PyArray_BYTES(array)
            call.step[i] = cnp.PyArray_STRIDE(array, 0)
    array = arrays[0]
    rows = cnp.PyArray_DIM(array, 0)
    call.width = cnp.PyArray_DIM(array, 1)
    call.parameter = parameter
    chunk = max(<Py_ssize_t>1, CHUNK // max(<Py_ssize_t>1, call.width))
    run_job(&call, rows, chunk, run_rows, threads_for(n_threads, rows * call.width * COST, (rows + chunk - 1) // chunk))
