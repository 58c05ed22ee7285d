# Sums of losses and weights, in a fixed order; included in each module of kernels.

cdef inline double plus(double a, double b, real unused) noexcept nogil:
    """a + b; beside conversions from float, which keep the adders busy, by the multipliers."""
    return math.mad(a, <double>1, b) if real is float and math.FASTLOSS_FUSED else a + b


cdef void add_values(real* values, Py_ssize_t n, double* lanes) noexcept nogil:
    """Adds n values: pairwise over eight LANES of them, then LANES at a time, the last of which are filled up with
    zeros, for which there is room. A chunk is eight times eight LANES (or somewhat more), so that some eleven
    roundings stand between a value and a lane (measured: 2 ulp, 4 for values chosen to be bad), and seven more in its
    last part; above, sums are in two parts."""
    cdef Py_ssize_t row, j, rows = n // (8 * LANES)
    cdef const real* v
    cdef real unused = 0
    cdef double first, second
    for row in range(rows):
        v = values + row * 8 * LANES
        for j in range(LANES):
            first = plus(plus(<double>v[j], <double>v[j + LANES], unused),
                         plus(<double>v[j + 2 * LANES], <double>v[j + 3 * LANES], unused), unused)
            second = plus(plus(<double>v[j + 4 * LANES], <double>v[j + 5 * LANES], unused),
                          plus(<double>v[j + 6 * LANES], <double>v[j + 7 * LANES], unused), unused)
            lanes[j] = plus(plus(first, second, unused), lanes[j], unused)
    memset(values + n, 0, (-n & (LANES - 1)) * sizeof(real))
    for row in range(8 * rows, (n + LANES - 1) // LANES):
        v = values + row * LANES
        for j in range(LANES):
            lanes[j] = plus(<double>v[j], lanes[j], unused)


cdef void add_lanes(double* high, Sum* sum) noexcept nogil:
    """The sum of the lanes in two parts: pairwise, each rounding error kept (Knuth's two-sum)."""
    cdef double low[LANES]
    memset(low, 0, sizeof(low))
    # written out, so that the compiler knows where each loop ends
    fold_lanes(high, low, LANES // 2)
    fold_lanes(high, low, LANES // 4)
    fold_lanes(high, low, LANES // 8)
    fold_lanes(high, low, LANES // 16)
    fold_lanes(high, low, LANES // 32)
    fold_lanes(high, low, LANES // 64)
    sum.high = high[0]
    sum.low = low[0]


cdef inline void fold_lanes(double* high, double* low, Py_ssize_t width) noexcept nogil:
    """Adds the second half of twice `width` lanes to the first."""
    cdef double total, part
    cdef Py_ssize_t j
    for j in range(width):
        total = high[j] + high[j + width]
        part = total - high[j]
        low[j] += low[j + width] + ((high[j] - (total - part)) + (high[j + width] - part))
        high[j] = total
