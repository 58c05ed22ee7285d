# Rows of two arrays, x and y: sums along them, and rows made of them. Computed in double, also where the arrays are
# float32. An output may lie in the place of x or y: LANE numbers are read, of both, before any is written.


cdef inline char* row(const RowsCall* call, int k, Py_ssize_t i) noexcept nogil:
    return call.data[k] + i * call.step[k]


cdef inline void load(const real* x, Py_ssize_t n, double* out) noexcept nogil:
    """LANE numbers; zeros, where there are fewer."""
    cdef Py_ssize_t q
    if n >= LANE:
        for q in range(LANE):
            out[q] = x[q]
    else:
        memset(out, 0, LANE * sizeof(double))
        for q in range(n):
            out[q] = x[q]


cdef inline void store(const double* values, Py_ssize_t n, real* out) noexcept nogil:
    cdef Py_ssize_t q
    if n >= LANE:
        for q in range(LANE):
            out[q] = <real>values[q]
    else:
        for q in range(n):
            out[q] = <real>values[q]


# ---- angles ----------------------------------------------------------------------------------------------------------

cdef void moments(const real* unused, const RowsCall* call, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Of x and y: x·y, x·x and y·y."""
    cdef double xy[LANE]
    cdef double xx[LANE]
    cdef double yy[LANE]
    cdef Py_ssize_t i, j, q, d = call.width, whole = d - d % LANE
    cdef const real* x
    cdef const real* y
    cdef double* out
    for i in range(first, last):
        x, y, out = <const real*>row(call, 0, i), <const real*>row(call, 1, i), <double*>row(call, 2, i)
        memset(xy, 0, sizeof(xy))
        memset(xx, 0, sizeof(xx))
        memset(yy, 0, sizeof(yy))
        for j in range(0, whole, 16):
            for q in range(LANE):
                xy[q] = mad(<double>x[j + q], <double>y[j + q], xy[q])
            for q in range(LANE):
                xx[q] = mad(<double>x[j + q], <double>x[j + q], xx[q])
            for q in range(LANE):
                yy[q] = mad(<double>y[j + q], <double>y[j + q], yy[q])
        for j in range(whole, d):
            xy[j - whole] = mad(<double>x[j], <double>y[j], xy[j - whole])
            xx[j - whole] = mad(<double>x[j], <double>x[j], xx[j - whole])
            yy[j - whole] = mad(<double>y[j], <double>y[j], yy[j - whole])
        out[0], out[1], out[2] = sum_of(xy), sum_of(xx), sum_of(yy)


cdef void rests(const real* unused, const RowsCall* call, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Of x, y and t, with the rest r = x - t·y: r·r and r·y."""
    cdef double rr[LANE]
    cdef double ry[LANE]
    cdef double r[LANE]
    cdef Py_ssize_t i, j, q, d = call.width, whole = d - d % LANE
    cdef const real* x
    cdef const real* y
    cdef double* out
    cdef double t
    for i in range(first, last):
        x, y, out = <const real*>row(call, 0, i), <const real*>row(call, 1, i), <double*>row(call, 3, i)
        t = (<double*>row(call, 2, i))[0]
        memset(rr, 0, sizeof(rr))
        memset(ry, 0, sizeof(ry))
        for j in range(0, whole, 16):
            for q in range(LANE):
                r[q] = mad(-t, <double>y[j + q], <double>x[j + q])
            for q in range(LANE):
                rr[q] = mad(r[q], r[q], rr[q])
            for q in range(LANE):
                ry[q] = mad(r[q], <double>y[j + q], ry[q])
        for j in range(whole, d):
            q = j - whole
            r[q] = mad(-t, <double>y[j], <double>x[j])
            rr[q] = mad(r[q], r[q], rr[q])
            ry[q] = mad(r[q], <double>y[j], ry[q])
        out[0], out[1] = sum_of(rr), sum_of(ry)


cdef void combine(const real* unused, const RowsCall* call, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Of x, y and (a, s, b, t): a·(y - s·x) and b·(x - t·y), which may both be left out; exactly 0 where a or b is."""
    cdef double xs[LANE]
    cdef double ys[LANE]
    cdef double values[LANE]
    cdef Py_ssize_t i, j, q, n, d = call.width
    cdef const double* factors
    for i in range(first, last):
        factors = <const double*>row(call, 2, i)
        for j in range(0, d, 16):
            n = d - j
            load(<const real*>row(call, 0, i) + j, n, xs)
            load(<const real*>row(call, 1, i) + j, n, ys)
            if call.data[3] != NULL:
                for q in range(LANE):
                    values[q] = factors[0] * mad(-factors[1], xs[q], ys[q]) if factors[0] != 0.0 else 0.0
                store(values, n, <real*>row(call, 3, i) + j)
            if call.data[4] != NULL:
                for q in range(LANE):
                    values[q] = factors[2] * mad(-factors[3], ys[q], xs[q]) if factors[2] != 0.0 else 0.0
                store(values, n, <real*>row(call, 4, i) + j)


# ---- distances -------------------------------------------------------------------------------------------------------

cdef inline double sum_of_differences(const real* x, const real* y, Py_ssize_t d, bint squares) noexcept nogil:
    """Σ |x - y|, or Σ (x - y)²"""
    cdef double s[LANE]
    cdef Py_ssize_t j, q, whole = d - d % LANE
    cdef double difference
    memset(s, 0, sizeof(s))
    for j in range(0, whole, 16):
        for q in range(LANE):
            difference = <double>x[j + q] - <double>y[j + q]
            s[q] += difference * difference if squares else absolute(difference)
    for j in range(whole, d):
        difference = <double>x[j] - <double>y[j]
        s[j - whole] += difference * difference if squares else absolute(difference)
    return sum_of(s)


cdef double sum_of_powers(const real* x, const real* y, Py_ssize_t d, double p, double* unit) noexcept nogil:
    """Σ (|x - y|/unit)^p, where the unit is the largest difference; NaN if several are infinite."""
    cdef double s[LANE]
    cdef Py_ssize_t j
    cdef double most = 0.0, total, difference
    memset(s, 0, sizeof(s))
    for j in range(d):
        difference = absolute(<double>x[j] - <double>y[j])
        most = difference if difference > most else most
    most = 1.0 if most == 0.0 else most
    for j in range(d):
        difference = absolute(<double>x[j] - <double>y[j])
        s[j % LANE] += 1.0 if difference == most else pow(difference / most, p)
    unit[0] = most
    total = sum_of(s)
    return total if most - most == 0.0 or total == 1.0 else most - most


cdef void distances(const real* unused, const RowsCall* call, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Of x and y: a unit u, and S, such that ‖x - y‖ is u·S^(1/p); p is the parameter."""
    cdef Py_ssize_t i, d = call.width
    cdef const real* x
    cdef const real* y
    cdef double* out
    cdef double p = call.parameter
    for i in range(first, last):
        x, y, out = <const real*>row(call, 0, i), <const real*>row(call, 1, i), <double*>row(call, 2, i)
        out[0] = 1.0
        if p == 1.0:
            out[1] = sum_of_differences(x, y, d, False)
        elif p == 2.0:
            out[1] = sum_of_differences(x, y, d, True)
        if p != 1.0 and (p != 2.0 or not 1e-280 < out[1] < 1e280):
            out[1] = sum_of_powers(x, y, d, p, out)


cdef void scaled_difference(const real* x, const real* y, Py_ssize_t d, real factor, real* out,
                            real* negative) noexcept nogil:
    cdef real values[LANE]
    cdef Py_ssize_t j, q, whole = d - d % LANE
    for j in range(0, whole, 16):
        for q in range(LANE):
            values[q] = factor * (x[j + q] - y[j + q])
        memcpy(out + j, values, sizeof(values))
        if negative != NULL:
            for q in range(LANE):
                values[q] = -values[q]
            memcpy(negative + j, values, sizeof(values))
    for j in range(whole, d):
        values[0] = factor * (x[j] - y[j])
        out[j] = values[0]
        if negative != NULL:
            negative[j] = -values[0]


cdef void slopes(const real* unused, const RowsCall* call, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Of x, y and (u, a): a·sign(x - y)·(|x - y|/u)^(p-1), and, unless left out, its negative. The usual case, of
    distances that need no unit, stays in the arrays' type."""
    cdef double xs[LANE]
    cdef double ys[LANE]
    cdef double values[LANE]
    cdef Py_ssize_t i, j, q, n, d = call.width
    cdef double p = call.parameter, unit, factor, size
    for i in range(first, last):
        unit, factor = (<double*>row(call, 2, i))[0], (<double*>row(call, 2, i))[1]
        if p == 2.0 and unit == 1.0 and (factor == 0.0 or 1e-30 < absolute(factor) < 1e30):
            scaled_difference(<const real*>row(call, 0, i), <const real*>row(call, 1, i), d, <real>factor,
                              <real*>row(call, 3, i), <real*>row(call, 4, i) if call.data[4] != NULL else NULL)
            continue
        for j in range(0, d, 16):
            n = d - j
            load(<const real*>row(call, 0, i) + j, n, xs)
            load(<const real*>row(call, 1, i) + j, n, ys)
            for q in range(min(<Py_ssize_t>LANE, n)):
                size = absolute(xs[q] - ys[q])
                size = 1.0 if p == 1.0 or size == unit else pow(size / unit, p - 1.0)
                values[q] = factor * (size if xs[q] > ys[q] else -size if xs[q] < ys[q] else 0.0)
            store(values, n, <real*>row(call, 3, i) + j)
            if call.data[4] != NULL:
                for q in range(LANE):
                    values[q] = -values[q]
                store(values, n, <real*>row(call, 4, i) + j)


# ---- Gaussians -------------------------------------------------------------------------------------------------------

cdef inline void divergences(double* means, double* logs, real unused, double* values) noexcept nogil:
    """m² + e^v - 1 - v of LANE means m and log variances v; and, in the places of v, (e^v - 1)/2."""
    cdef Py_ssize_t q
    cdef real v, growth, value
    for q in range(LANE):
        v = <real>logs[q]
        growth = expm1(v)
        # near 0 without cancellation, and inf at inf
        value = growth - v
        value = v * v * exp_tail(v) if absolute(v) < <real>0.34 else value
        value = growth if growth > <real>1e30 else value
        values[q] = mad(means[q], means[q], <double>value)
        logs[q] = 0.5 * <double>growth


cdef void gaussian_kl(const real* unused, const RowsCall* call, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Of means m, log variances v and a factor: Σ (m² + e^v - 1 - v); and, unless left out, the factor times m, and
    times (e^v - 1)/2."""
    cdef double sums[LANE]
    cdef double values[LANE]
    cdef double means[LANE]
    cdef double logs[LANE]
    cdef Py_ssize_t i, j, q, n, d = call.width
    cdef double factor
    if d == 1:  # LANE rows at a time
        memset(means, 0, sizeof(means))
        memset(logs, 0, sizeof(logs))
        for i in range(first, last, 16):
            n = min(<Py_ssize_t>LANE, last - i)
            for q in range(n):
                means[q] = (<const real*>row(call, 0, i + q))[0]
                logs[q] = (<const real*>row(call, 1, i + q))[0]
            divergences(means, logs, <real>0, values)
            for q in range(n):
                (<double*>row(call, 3, i + q))[0] = values[q]
                if call.data[4] != NULL:
                    factor = (<double*>row(call, 2, i + q))[0]
                    (<real*>row(call, 4, i + q))[0] = <real>(factor * means[q])
                    (<real*>row(call, 5, i + q))[0] = <real>(factor * logs[q])
        return
    for i in range(first, last):
        factor = (<double*>row(call, 2, i))[0]
        memset(sums, 0, sizeof(sums))
        for j in range(0, d, 16):
            n = d - j
            load(<const real*>row(call, 0, i) + j, n, means)
            load(<const real*>row(call, 1, i) + j, n, logs)
            divergences(means, logs, <real>0, values)
            for q in range(LANE):
                sums[q] += values[q]
            if call.data[4] != NULL:
                for q in range(LANE):
                    means[q] *= factor
                    logs[q] *= factor
                store(means, n, <real*>row(call, 4, i) + j)
                store(logs, n, <real*>row(call, 5, i) + j)
        (<double*>row(call, 3, i))[0] = sum_of(sums)


# ---- what Python sees ------------------------------------------------------------------------------------------------

cdef rows_kernel[2][6] pair_kernels


cdef void choose_pairs(rows_kernel* kernels, real* unused) noexcept:
    # The casts only take the type of the numbers out of the first parameter's.
    kernels[0] = <rows_kernel>moments[real]
    kernels[1] = <rows_kernel>rests[real]
    kernels[2] = <rows_kernel>combine[real]
    kernels[3] = <rows_kernel>distances[real]
    kernels[4] = <rows_kernel>slopes[real]
    kernels[5] = <rows_kernel>gaussian_kl[real]


choose_pairs(pair_kernels[0], <float*>NULL)
choose_pairs(pair_kernels[1], <double*>NULL)


def bind_pairs(bint double_precision):
    """The kernels of a precision by name, as `_arrays.over_rows` takes them."""
    names = ("moments", "rests", "combine", "distances", "slopes", "gaussian_kl")
    return {name: PyCapsule_New(&pair_kernels[double_precision][i], "fastloss.rows_kernel", NULL)
            for i, name in enumerate(names)}
