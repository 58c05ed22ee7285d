# What travels between the front door of image losses (_arrays.pyx) and filter.pxi, which is compiled once per ISA.

# How planes of images are compared.
cdef struct Image:
    Py_ssize_t rows
    Py_ssize_t columns
    Py_ssize_t window
    Py_ssize_t scales
    const double* taps  # (scales, window), the weights of each scale's window along an axis
    const double* down  # (rows,) and (columns,): the absolute differences' weights are their products, which sum to 1
    const double* across
    double alpha  # of the similarity; 1 − alpha is that of the absolute differences
    double data_range

# A plane's value and gradient; see filter.pxi.
ctypedef bint (*compare_planes)(const Image*, const double*, const double*, double, double*, double*) noexcept nogil
