# Kernels over the rows of some arrays: pairs.pxi has them, compiled once per ISA, and _arrays.pyx runs them.

cdef enum:
    MOST_ARRAYS = 6

cdef struct RowsCall

# Works on the rows from one to before another. (The first argument has the type of the numbers, and is not used.)
ctypedef void (*rows_kernel)(const void*, const RowsCall*, Py_ssize_t, Py_ssize_t) noexcept nogil

cdef struct RowsCall:
    rows_kernel kernel
    char* data[MOST_ARRAYS]  # NULL: not given
    Py_ssize_t step[MOST_ARRAYS]  # bytes from one row to the next
    Py_ssize_t width  # numbers of a row of the first array
    double parameter
