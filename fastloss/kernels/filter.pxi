# Images: how unlike two planes (one channel of y_true and of y_pred) are, windows of all scales together, and the
# gradient. A plane flows through row by row, so that all but the images stays in cache.
#
# With u = t + z and d = z − t, filtered by a window's weights: μ their means, σ² their variances. Then, of a window,
# 1 − l = 2μd²/(μu² + μd² + 2C1) and 1 − cs = 2σd²/(σu² + σd² + 2C2): small terms that keep their digits where images
# are nearly equal. The means of u and d over the plane are left out before squares are taken.

cdef enum:
    # Rows that are loaded at a time, and that gradients are made of at a time.
    BAND = 16
    # How many numbers go side by side, in registers.
    ABREAST = 32

# Rows of numbers that a plane is worked on with. `fields` and `maps` hold BAND + window − 1 rows of each.
cdef struct Scratch:
    Py_ssize_t height
    double* fields  # u, d, u² and d², the means left out
    double* moments  # filtered rows of them, 4 a scale; over the last two are written 1/(σu² + σd² + 2C2) and 1 − cs
    double* maps  # 3 a scale: what the gradient filters, and adds up as the first + d·second + u·third
    double* line  # sums down columns
    double* padded  # the same, between zeros
    double* luminance  # 1 − l
    double* slope  # its derivative by the mean of z
    double* row  # for short use, as is
    double* sums  # three rows of the gradient


cdef inline void eight(const double* src, double tap, double* s) noexcept nogil:
    """s += tap·src, of eight."""
    cdef Py_ssize_t q
    for q in range(8):
        s[q] = mad(tap, src[q], s[q])


cdef void weighted_sum(const double* src, Py_ssize_t step, Py_ssize_t n, const double* taps, Py_ssize_t k,
                       double* out) noexcept nogil:
    """out[j] = Σ_i taps[i]·src[j + i·step], for j < n"""
    cdef double s0[8]
    cdef double s1[8]
    cdef double s2[8]
    cdef double s3[8]
    cdef Py_ssize_t start, j, i
    cdef const double* at
    if n < ABREAST:
        memset(out, 0, n * sizeof(double))
        for i in range(k):
            for j in range(n):
                out[j] = mad(taps[i], src[j + i * step], out[j])
        return
    for start in range(0, n, 32):
        j = min(start, n - ABREAST)  # the last ones overlap those before
        memset(s0, 0, sizeof(s0))
        memset(s1, 0, sizeof(s1))
        memset(s2, 0, sizeof(s2))
        memset(s3, 0, sizeof(s3))
        for i in range(k):
            at = src + j + i * step
            eight(at, taps[i], s0)
            eight(at + 8, taps[i], s1)
            eight(at + 16, taps[i], s2)
            eight(at + 24, taps[i], s3)
        memcpy(out + j, s0, sizeof(s0))
        memcpy(out + j + 8, s1, sizeof(s1))
        memcpy(out + j + 16, s2, sizeof(s2))
        memcpy(out + j + 24, s3, sizeof(s3))


cdef void filter_row(const double* rows, Py_ssize_t n, Py_ssize_t margin, const double* taps, Py_ssize_t window,
                     double* line, double* out) noexcept nogil:
    """Filters `window` rows of n numbers to one: down columns, then along the line, with `margin` zeros around it."""
    cdef Py_ssize_t skip = 0, k
    while taps[skip] == 0.0:
        skip += 1
    k = window - 2 * skip
    weighted_sum(rows + skip * n, n, n, taps + skip, k, line + margin)
    weighted_sum(line + skip, 1, n + 2 * margin - window + 1, taps + skip, k, out)


cdef double sum_of_row(const double* values, Py_ssize_t n) noexcept nogil:
    cdef double sums = 0.0
    add_rows(values, n, 1, &sums)
    return sums


cdef double unit_of(const double* t, const double* z, Py_ssize_t n, double data_range) noexcept nogil:
    """A power of 2 that brings all numbers to at most 1, so that squares neither overflow nor vanish together."""
    cdef double most[LANE]
    cdef Py_ssize_t j, q, whole = n - n % LANE
    cdef int exponent
    cdef double a, b
    for q in range(LANE):
        most[q] = data_range
    for j in range(0, whole, 16):
        for q in range(LANE):
            a = fabs(t[j + q])
            b = fabs(z[j + q])
            a = a if a > b else b
            most[q] = a if a > most[q] else most[q]
    for j in range(whole, n):
        most[0] = max(most[0], max(fabs(t[j]), fabs(z[j])))
    for q in range(1, LANE):
        most[0] = max(most[0], most[q])
    frexp(most[0], &exponent)
    return ldexp(1.0, -max(exponent, -1000))


cdef double load_row(const Image* image, const double* t, const double* z, double mean_u, double mean_d, double unit,
                     const Scratch* scratch, Py_ssize_t row) noexcept nogil:
    """Fields of one row. Returns its part of Σ |d|, weighed along the row."""
    cdef Py_ssize_t x, field = scratch.height * image.columns
    cdef double* u = scratch.fields + row * image.columns
    cdef double* d = u + field
    cdef double* uu = d + field
    cdef double* dd = uu + field
    for x in range(image.columns):
        u[x] = t[x] * unit + z[x] * unit - mean_u
        d[x] = z[x] * unit - t[x] * unit - mean_d
        uu[x] = u[x] * u[x]
        dd[x] = d[x] * d[x]
    if image.alpha == 1.0:
        return 0.0
    for x in range(image.columns):
        scratch.row[x] = fabs(z[x] * unit - t[x] * unit) * image.across[x]
    return sum_of_row(scratch.row, image.columns)


cdef void times_others(const Image* image, const Scratch* scratch, Py_ssize_t scale, double* row) noexcept nogil:
    """row ·= Π cs of all scales but one."""
    cdef Py_ssize_t j, x, w = image.columns - image.window + 1
    cdef const double* b
    for j in range(image.scales):
        b = scratch.moments + (4 * j + 3) * w
        if j != scale:
            for x in range(w):
                row[x] *= 1.0 - b[x]


cdef double compare_row(const Image* image, double mean_u, double mean_d, double c1, double c2, bint gradient,
                        const Scratch* scratch, Py_ssize_t row) noexcept nogil:
    """Of one row of windows the sum of 1 − l·Π cs; and their row of the maps."""
    cdef Py_ssize_t x, j, f, last = image.scales - 1, w = image.columns - image.window + 1
    cdef Py_ssize_t map_size = scratch.height * w
    cdef const double* taps
    cdef double* u
    cdef double* d
    cdef double* s
    cdef double* b
    cdef double* one
    cdef double* by_d
    cdef double* by_u
    cdef double* a = scratch.luminance
    cdef double* value = scratch.row
    cdef double var_u, var_d, mean, e, q
    for j in range(image.scales):
        taps = image.taps + j * image.window
        u = scratch.moments + 4 * j * w
        d = u + w
        s = d + w
        b = s + w
        for f in range(4):
            filter_row(scratch.fields + (f * scratch.height + row) * image.columns, image.columns, 0, taps,
                       image.window, scratch.line, u + f * w)
        for x in range(w):
            var_u = s[x] - u[x] * u[x]
            var_d = b[x] - d[x] * d[x]
            var_u = 0.0 if var_u < 0.0 else var_u  # rounding may make them negative
            var_d = 0.0 if var_d < 0.0 else var_d
            s[x] = 1.0 / (var_u + var_d + c2)
            b[x] = 2.0 * var_d * s[x]
    for x in range(w):  # (u and d are those of the last scale)
        mean = mean_u + u[x]
        e = mean_d + d[x]
        q = 1.0 / (mean * mean + e * e + c1)
        a[x] = 2.0 * e * e * q
        scratch.slope[x] = (4.0 * e - 2.0 * a[x] * (mean + e)) * q
        value[x] = a[x]
    for j in range(image.scales):
        b = scratch.moments + (4 * j + 3) * w
        for x in range(w):
            value[x] += b[x] * (1.0 - value[x])
    cdef double total = sum_of_row(value, w)
    if not gradient:
        return total
    times_others(image, scratch, -1, scratch.slope)
    for j in range(image.scales):
        u = scratch.moments + 4 * j * w
        d = u + w
        s = d + w
        b = s + w
        one = scratch.maps + (3 * j * scratch.height + image.window - 1 + row) * w
        by_d = one + map_size
        by_u = by_d + map_size
        for x in range(w):
            value[x] = 2.0 * (1.0 - a[x]) * s[x]
        times_others(image, scratch, j, value)
        for x in range(w):
            by_d[x] = value[x] * (2.0 - b[x])
            by_u[x] = -value[x] * b[x]
            one[x] = (scratch.slope[x] if j == last else 0.0) - by_d[x] * d[x] - by_u[x] * u[x]
    return total


cdef void gradient_row(const Image* image, const double* t, const double* z, double factor, double by_sign,
                       const Scratch* scratch, Py_ssize_t row, double* gradient) noexcept nogil:
    """One row of the gradient: the maps filtered by the adjoint, and the signs of the absolute differences."""
    cdef Py_ssize_t x, j, f, n = image.columns, w = n - image.window + 1
    cdef double* sums
    cdef const double* u = scratch.fields + row * n
    cdef const double* d = u + scratch.height * n
    cdef double change
    memset(scratch.sums, 0, 3 * n * sizeof(double))
    for j in range(image.scales):
        for f in range(3):
            filter_row(scratch.maps + ((3 * j + f) * scratch.height + row) * w, w, image.window - 1,
                       image.taps + j * image.window, image.window, scratch.padded, scratch.row)
            sums = scratch.sums + f * n
            for x in range(n):
                sums[x] += scratch.row[x]
    sums = scratch.sums
    for x in range(n):
        sums[x] = (sums[x] + d[x] * sums[x + n] + u[x] * sums[x + 2 * n]) * factor
    if image.alpha < 1.0:
        for x in range(n):
            change = by_sign * image.across[x]
            sums[x] += (change if z[x] > t[x] else 0.0) - (change if z[x] < t[x] else 0.0)
    memcpy(gradient, sums, n * sizeof(double))


cdef void carry(double* rows, Py_ssize_t n, Py_ssize_t window) noexcept nogil:
    """Moves the last rows of BAND + window − 1 to the front, BAND rows up."""
    memmove(rows, rows + BAND * n, (window - 1) * n * sizeof(double))


cdef bint run_image(const Image* image, const double* t, const double* z, double factor, double* value,
                    double* gradient) noexcept nogil:
    """The value of a plane, and, unless it is NULL, its gradient times a factor. The gradient may lie in z's place.
    Returns whether there was memory enough."""
    cdef Py_ssize_t n = image.columns, w = n - image.window + 1, h = image.rows - image.window + 1
    cdef Py_ssize_t row, start, stop, x, f, loaded = 0
    cdef Scratch scratch
    cdef double unit = unit_of(t, z, image.rows * n, image.data_range), reach = image.data_range * unit
    cdef double mean_u = 0.0, mean_d = 0.0, total = 0.0, absolute = 0.0
    cdef double by_similarity = factor * image.alpha / h / w * unit
    cdef double by_sign = factor * (1.0 - image.alpha)
    # 2C1 and 2C2; beside numbers 1e139 times as great as the range they would vanish, and leave 0/0.
    cdef double c1 = max(2.0 * (0.01 * reach) * (0.01 * reach), 1e-280)
    cdef double c2 = max(2.0 * (0.03 * reach) * (0.03 * reach), 1e-280)
    scratch.height = BAND + image.window - 1
    scratch.fields = <double*>calloc(
        4 * scratch.height * n + (4 + 3 * scratch.height) * image.scales * w + 9 * n, sizeof(double))
    if scratch.fields == NULL:
        return False
    scratch.moments = scratch.fields + 4 * scratch.height * n
    scratch.maps = scratch.moments + 4 * image.scales * w
    scratch.line = scratch.maps + 3 * scratch.height * image.scales * w
    scratch.padded = scratch.line + n
    scratch.luminance = scratch.padded + 2 * n
    scratch.slope = scratch.luminance + n
    scratch.row = scratch.slope + n
    scratch.sums = scratch.row + n
    for row in range(image.rows):
        for x in range(n):
            scratch.row[x] = t[row * n + x] * unit + z[row * n + x] * unit
        mean_u += sum_of_row(scratch.row, n) / n / image.rows
        for x in range(n):
            scratch.row[x] = z[row * n + x] * unit - t[row * n + x] * unit
        mean_d += sum_of_row(scratch.row, n) / n / image.rows
    for start in range(0, image.rows, 16):
        while loaded < min(start + scratch.height, image.rows):
            absolute += image.down[loaded] * load_row(image, t + loaded * n, z + loaded * n, mean_u, mean_d, unit,
                                                      &scratch, loaded - start)
            loaded += 1
        stop = min(start + BAND, image.rows)
        for row in range(start, stop):
            if row < h:
                total += compare_row(image, mean_u, mean_d, c1, c2, gradient != NULL, &scratch, row - start)
            else:
                for f in range(3 * image.scales):
                    memset(scratch.maps + (f * scratch.height + image.window - 1 + row - start) * w, 0,
                           w * sizeof(double))
        if gradient != NULL:
            for row in range(start, stop):
                gradient_row(image, t + row * n, z + row * n, by_similarity,
                             by_sign * image.down[row] / image.data_range, &scratch, row - start, gradient + row * n)
            for f in range(3 * image.scales):
                carry(scratch.maps + f * scratch.height * w, w, image.window)
        for f in range(4):
            carry(scratch.fields + f * scratch.height * n, n, image.window)
    free(scratch.fields)
    value[0] = image.alpha * (total / h / w)
    if absolute != 0.0:
        value[0] += (1.0 - image.alpha) * (absolute / reach)
    return True
