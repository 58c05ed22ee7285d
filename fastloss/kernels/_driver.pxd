# What _linear.pyx takes from the front door: losses as jobs, and running a job over chunks, in parallel.

from libc.math cimport isfinite

cimport numpy as cnp

from .types cimport (
    Inputs, Job, Kernel, Partial, RowJob, RowKernel, RowTarget, Sum, Target, run_chunk,
)


cdef struct Total:
    double value
    double reduced  # 2^-64 of it, where the job asks for that
    int flags


cdef inline void add_to(Sum* total, const Sum* part) noexcept nogil:
    cdef double high = total.high + part.high
    cdef double added = high - total.high
    total.low += (total.high - (high - added)) + (part.high - added) + part.low
    total.high = high


cdef inline double value_of(const Sum* total) noexcept nogil:
    # where the sum overflowed or met a NaN, low is meaningless
    return total.high + total.low if isfinite(total.high) else total.high


cdef Total run_job(const void* job, Py_ssize_t size, Py_ssize_t chunk, run_chunk run, int threads)
cdef int threads_for(object n_threads, double work, Py_ssize_t chunks) except -1
cdef void note_threads(int threads) noexcept
cdef int code_of(cnp.ndarray array) noexcept
cdef double weight_unit(double* weight_sum) except? -1.0
cdef cnp.ndarray as_array(object value, str name)


cdef class Evaluator:
    cdef object capsule
    cdef const Kernel* kernel
    cdef Target target
    cdef double cost
    cdef str varying_name
    cdef double varying_scalar
    cdef cnp.ndarray varying
    cdef object class_weight
    cdef str float32_fault

    cdef cnp.ndarray describe(self, Job* job, cnp.ndarray y, cnp.ndarray z, cnp.ndarray weights)
    cdef cnp.ndarray class_weight_pairs(self, cnp.ndarray y, cnp.ndarray z)
    cdef cnp.ndarray balanced(self, cnp.ndarray column, cnp.ndarray y, cnp.ndarray z)
    cdef int raise_faults(self, int flags, cnp.ndarray y, cnp.ndarray weights, int typenum) except -1


cdef class RowEvaluator:
    cdef object hard_capsule
    cdef object soft_capsule
    cdef const RowKernel* hard
    cdef const RowKernel* soft
    cdef Inputs inputs
    cdef RowTarget target
    cdef double cost
    cdef object class_weight
    cdef double factor
    cdef cnp.ndarray class_factor
    cdef double label_smoothing
    cdef double temperature
    cdef cnp.ndarray logit_adjustment
    cdef object ignore_index
    cdef bint bound
    cdef str float32_fault

    cdef cnp.ndarray describe(self, RowJob* job, cnp.ndarray y, cnp.ndarray z, cnp.ndarray weights)
    cdef int raise_faults(self, int flags, cnp.ndarray y, cnp.ndarray weights, Py_ssize_t classes,
                          int typenum) except -1
