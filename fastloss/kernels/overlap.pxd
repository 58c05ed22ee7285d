# What travels between the front door of overlap losses (_arrays.pyx) and their passes (rows_overlap.pxi), which are
# compiled once per ISA.

from .types cimport DType

cdef enum:
    AXES = 8  # of space, at most

# What turns y_pred into probabilities.
cdef enum Activation:
    SOFTMAX, SIGMOID, IDENTITY

# What y_true may hold: classes, or numbers beside each of y_pred: anything; from 0 to 1; of a distribution.
cdef enum MapTarget:
    INDEX_MAP, ANY_MAP, UNIT_MAP, DISTRIBUTION_MAP

# Sums over pixels, of each class.
cdef enum MapSum:
    TRUE_POSITIVE  # Σ p·t
    FALSE_POSITIVE  # Σ p·(1 - t)
    FALSE_NEGATIVE  # Σ (1 - p)·t
    SQUARES  # Σ (p - t)²
    N_SUMS

# What the loss's derivative by p is, at t = 0 and at t = 1 (linear between), and what comes with p - t.
cdef enum MapSlope:
    AT_0, AT_1, BY_DIFFERENCE, N_SLOPES

# An array (n, C, *space) by image, class and pixel, or one (n, *space), whose class_stride is 0; strides in bytes.
cdef struct Field:
    char* data
    DType dtype
    Py_ssize_t image_stride
    Py_ssize_t class_stride
    int ndim  # of space, as few axes as walk it
    Py_ssize_t shape[AXES]
    Py_ssize_t strides[AXES]

cdef struct OverlapJob:
    Activation activation
    MapTarget target
    bint exclusive  # a pixel has one class, else each of its classes stands alone
    Py_ssize_t images
    Py_ssize_t classes
    Py_ssize_t pixels
    Py_ssize_t chunk  # pixels
    Py_ssize_t chunks  # of an image
    Field y_true
    Field y_pred
    double tolerance  # of sums of targets
    bint ignores
    double ignored
    bint squares  # are wanted
    bint cross_entropy
    const double* class_weight  # of the cross-entropy; NULL: 1
    # What the first pass fills, chunk after chunk.
    double* sums  # N_SUMS of each class
    double* entropies  # the cross-entropy and its weight
    # What the second pass takes and fills.
    const double* slopes  # of each image N_SLOPES of each class
    const double* scales  # of each image, on the gradient of the cross-entropy
    Field gradient

# One chunk of an image; what is wrong with targets and memory, as flags.
ctypedef int (*overlap_pass)(const OverlapJob* job, Py_ssize_t image, Py_ssize_t chunk) noexcept nogil

cdef struct OverlapKernel:
    overlap_pass sums_f32
    overlap_pass sums_f64
    overlap_pass gradient_f32
    overlap_pass gradient_f64
