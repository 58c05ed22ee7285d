# Reading numbers of any dtype and stride into a block; included in each module of kernels.

ctypedef fused item:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    float
    double


cdef void read_items(const char* data, Py_ssize_t stride, Py_ssize_t n, item* unused, real* out) noexcept nogil:
    cdef Py_ssize_t i
    if stride == sizeof(item):
        for i in range(n):
            out[i] = <real>(<const item*>data)[i]
    else:
        for i in range(n):
            out[i] = <real>(<const item*>(data + i * stride))[0]


cdef void read_halves(const char* data, Py_ssize_t stride, Py_ssize_t n, real* out) noexcept nogil:
    # The bits of a half, moved to the places of a float, are the number times 2^-112; the largest exponent is inf, NaN.
    cdef Py_ssize_t i
    cdef uint32_t half, magnitude
    cdef float value
    for i in range(n):
        half = (<const uint16_t*>(data + i * stride))[0]
        magnitude = (half & 0x7fff) << 13
        value = fastloss_f32_from_bits(magnitude) * <float>5.192296858534828e33
        value = fastloss_f32_from_bits(magnitude | 0x7f800000) if magnitude >= 0x0f800000 else value
        out[i] = -value if half & 0x8000 else value


cdef void read_strided(const char* data, Py_ssize_t stride, Py_ssize_t n, int dtype, real* out) noexcept nogil:
    if dtype == FLOAT64:
        read_items(data, stride, n, <double*>NULL, out)
    elif dtype == FLOAT32:
        read_items(data, stride, n, <float*>NULL, out)
    elif dtype == INT64:
        read_items(data, stride, n, <int64_t*>NULL, out)
    elif dtype == INT32:
        read_items(data, stride, n, <int32_t*>NULL, out)
    elif dtype == BOOL8 or dtype == UINT8:
        read_items(data, stride, n, <uint8_t*>NULL, out)
    elif dtype == INT8:
        read_items(data, stride, n, <int8_t*>NULL, out)
    elif dtype == INT16:
        read_items(data, stride, n, <int16_t*>NULL, out)
    elif dtype == UINT16:
        read_items(data, stride, n, <uint16_t*>NULL, out)
    elif dtype == UINT32:
        read_items(data, stride, n, <uint32_t*>NULL, out)
    elif dtype == UINT64:
        read_items(data, stride, n, <uint64_t*>NULL, out)
    else:
        read_halves(data, stride, n, out)
