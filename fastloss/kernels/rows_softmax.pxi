# Softmax: what all losses of scores begin with.

cdef void largest(const Group* group, real* most) noexcept nogil:
    """The largest score of each row, but for NaN."""
    cdef real lanes[4 * WIDTH]
    cdef real line_most[WIDTH]
    cdef real lowest = <real>-1 / <real>0
    cdef const real* x
    cdef Matrix scores = group.scores
    cdef Py_ssize_t line, k, j
    clear_others(group, most)
    for line in range(group.lines):
        for j in range(WIDTH):
            line_most[j] = lowest
        k = 0
        if group.count > 16 and scores.step == WIDTH:  # four at a time, since a maximum waits for the one before
            for j in range(4 * WIDTH):
                lanes[j] = lowest
            while k + 4 < group.count:
                x = place(&scores, line, k, most)
                for j in range(4 * WIDTH):
                    lanes[j] = larger(x[j], lanes[j])
                k += 4
            for j in range(WIDTH):
                line_most[j] = larger(larger(lanes[j], lanes[j + WIDTH]),
                                      larger(lanes[j + 2 * WIDTH], lanes[j + 3 * WIDTH]))
        while k < group.count:
            x = place(&scores, line, k, most)
            for j in range(WIDTH):
                line_most[j] = larger(x[j], line_most[j])
            k += 1
        if group.across:
            copy_numbers(most + line * WIDTH, line_most)
        else:
            for j in range(8):
                line_most[j] = larger(line_most[j], line_most[j + 8])
            for j in range(4):
                line_most[j] = larger(line_most[j], line_most[j + 4])
            most[line] = larger(larger(line_most[0], line_most[2]), larger(line_most[1], line_most[3]))


cdef inline real exponential(real z, real shift, real magic, real least, bint extreme) noexcept nogil:
    """exp(z) times the power of 2 of its row; where the largest score is infinite, its limit."""
    # Where the largest score of a row is so large that it is the shift, all scores that count are so near to it that
    # the difference is exact.
    if extreme:
        z = <real>0 if z == shift else z - shift
    return math.exp_scaled(z, magic, least)


cdef void exponentials(const Group* group, const real* shift, const real* magic, const real* least, const real* peak,
                       real* rest, real* total) noexcept nogil:
    """The exponentials of all scores, into the gradient's place; their sum in each row, and that without those as large
    as the largest."""
    cdef bint kept = group.gradient.pitch != 0
    cdef bint extreme
    cdef Py_ssize_t first, line, lines
    if not group.across:
        for line in range(group.lines):
            if is_extreme(group, line, shift):
                exponentials_of_lines(group, line, 1, True, True, shift, magic, least, peak, rest, total)
                continue
            if kept:
                exponentials_of_lines(group, line, 1, False, False, shift, magic, least, peak, rest, total)
            else:
                exponentials_of_lines(group, line, 1, False, True, shift, magic, least, peak, rest, total)
            # Where a difference loses no more than one bit, it saves the second sum.
            if peak[line] + peak[line] <= total[line]:
                rest[line] = total[line] - peak[line]
            elif kept:
                sum_without(group, line, peak, rest)
        return
    for first in range(0, group.lines, 4):
        lines = min(<Py_ssize_t>4, group.lines - first)
        extreme = False
        for line in range(first, first + lines):
            extreme |= is_extreme(group, line, shift)
        if extreme:
            exponentials_of_lines(group, first, lines, True, True, shift, magic, least, peak, rest, total)
        else:
            exponentials_of_lines(group, first, lines, False, True, shift, magic, least, peak, rest, total)


cdef inline bint is_extreme(const Group* group, Py_ssize_t line, const real* shift) noexcept nogil:
    """Whether the largest score of one of a line's rows is so large that it is the shift."""
    cdef Py_ssize_t j
    cdef int64_t odd64 = 0
    cdef int32_t odd32 = 0
    if not group.across:
        return shift[line] != <real>0
    for j in range(line * WIDTH, line * WIDTH + WIDTH):
        if real is double:
            odd64 |= shift[j] != <real>0
        else:
            odd32 |= shift[j] != <real>0
    return (odd64 | odd32) != 0


cdef inline void exponentials_of_lines(const Group* group, Py_ssize_t first_line, Py_ssize_t lines, bint extreme,
                                       bint both, const real* shift, const real* magic, const real* least,
                                       const real* peak, real* rest, real* total) noexcept nogil:
    # Up to four lines at a time: a short one alone would spend its time on waiting for its own results.
    cdef real line_peak[4 * WIDTH]
    cdef real line_shift[4 * WIDTH]
    cdef real line_magic[4 * WIDTH]
    cdef real line_least[4 * WIDTH]
    cdef real rests[4 * WIDTH]
    cdef real sums[4 * WIDTH]
    cdef real rest_part[4 * WIDTH]
    cdef real part[4 * WIDTH]
    cdef real out[WIDTH]
    cdef real e
    cdef const real* z
    cdef Matrix scores = group.scores
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t first, line, k, j, i
    for line in range(lines):
        spread(group, first_line + line, peak, line_peak + line * WIDTH)
        spread(group, first_line + line, shift, line_shift + line * WIDTH)
        spread(group, first_line + line, magic, line_magic + line * WIDTH)
        spread(group, first_line + line, least, line_least + line * WIDTH)
    memset(rests, 0, lines * WIDTH * sizeof(real))
    memset(sums, 0, lines * WIDTH * sizeof(real))
    for first in range(0, group.count, 8):
        if not group.across:
            prefetch_next(group, &scores, first_line, first, rest)
        memset(rest_part, 0, lines * WIDTH * sizeof(real))
        memset(part, 0, lines * WIDTH * sizeof(real))
        for k in range(first, min(group.count, first + 8)):
            for line in range(lines):
                i = line * WIDTH
                z = place(&scores, first_line + line, k, rest)
                for j in range(WIDTH):
                    e = exponential(z[j], line_shift[i + j], line_magic[i + j], line_least[i + j], extreme)
                    out[j] = e
                    part[i + j] += e
                    if both:
                        rest_part[i + j] = rest_part[i + j] if e == line_peak[i + j] else rest_part[i + j] + e
                copy_numbers(place(&gradient, first_line + line, k, rest), out)
        for j in range(lines * WIDTH):
            sums[j] += part[j]
            if both:
                rests[j] += rest_part[j]
    for line in range(lines):
        if both:
            fold(group, first_line + line, rests + line * WIDTH, rest)
        fold(group, first_line + line, sums + line * WIDTH, total)


cdef void sum_without(const Group* group, Py_ssize_t line, const real* peak, real* rest) noexcept nogil:
    """The sum of a row's exponentials without the largest, in the same order as above."""
    cdef real sums[WIDTH]
    cdef real part[WIDTH]
    cdef real without = peak[line]
    cdef const real* e
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t first, k, j
    memset(sums, 0, sizeof(sums))
    for first in range(0, group.count, 8):
        memset(part, 0, sizeof(part))
        for k in range(first, min(group.count, first + 8)):
            e = place(&gradient, line, k, rest)
            for j in range(WIDTH):
                part[j] = part[j] if e[j] == without else part[j] + e[j]
        for j in range(WIDTH):
            sums[j] += part[j]
    fold(group, line, sums, rest)


cdef inline void prepare(Py_ssize_t n, const real* most, real* shift, real* magic, real* least,
                         real* peak) noexcept nogil:
    """What `exponential` takes in each of n rows, and the exponential of the largest score."""
    cdef Py_ssize_t i
    cdef real limit
    if real is double:
        limit = <double>1500
    else:
        limit = <float>250
    for i in range(n):
        shift[i] = most[i] if math.absolute(most[i]) > limit else <real>0
        magic[i] = math.exp_magic(<real>0 if shift[i] != <real>0 else most[i], &least[i])
        peak[i] = exponential(most[i], shift[i], magic[i], least[i], True)


cdef inline void softmax(const Group* group, const real* most, const real* shift, const real* magic, const real* least,
                         const real* peak, real* rest, real* total) noexcept nogil:
    """Exponentials, into the gradient's place; of each row the sum of those of all scores but the largest, and of all.
    Where no limit exists, the sums are NaN."""
    clear_others(group, rest)
    clear_others(group, total)
    exponentials(group, shift, magic, least, peak, rest, total)
    settle(group.padded, most, peak, rest, total)


cdef inline void settle(Py_ssize_t n, const real* most, const real* peak, real* rest, real* total) noexcept nogil:
    """Ties and limits, in the sums of all exponentials and of those that are not of the largest score."""
    cdef real infinity = <real>1 / <real>0
    cdef real nan = <real>0 / <real>0
    cdef real none
    cdef bint tied
    cdef Py_ssize_t i
    for i in range(n):
        # where the largest score occurs again, its exponential is the least that the others sum to
        tied = total[i] - rest[i] > <real>1.5 * peak[i]
        rest[i] = total[i] - peak[i] if tied else rest[i]
        none = nan if (most[i] == -infinity) | ((most[i] == infinity) & tied) else <real>0
        rest[i] += none
        total[i] = rest[i] + peak[i]
