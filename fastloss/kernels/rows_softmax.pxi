# Softmax: what all losses of scores begin with.

cdef void largest(const Group* group, real* most) noexcept nogil:
    """The largest score of each row, but for NaN."""
    cdef real lanes[WIDTH * MOST_LINES]
    cdef Py_ssize_t line
    clear_others(group, most)
    for line in range(group.lines):
        largest_of_line(group, line, lanes + line * WIDTH)
    fold_lines(group, False, lanes, most)


cdef void largest_of_line(const Group* group, Py_ssize_t line, real* most) noexcept nogil:
    cdef real lanes[4 * WIDTH]
    cdef real line_most[WIDTH]
    cdef real lowest = <real>-1 / <real>0
    cdef const real* x
    cdef Matrix scores = group.scores
    cdef Py_ssize_t k = 0, j
    for j in range(WIDTH):
        line_most[j] = lowest
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
    copy_numbers(most, line_most)


cdef inline real exponential(real z, real shift, real magic, real least, bint extreme) noexcept nogil:
    """exp(z) times the power of 2 of its row; where the largest score is infinite, its limit."""
    return math.exp_scaled(without_shift(z, shift, extreme), magic, least)


cdef inline real without_shift(real z, real shift, bint extreme) noexcept nogil:
    """What an exponential is taken of. Where the largest score of a row is so large that it is the shift, all scores
    that count are so near to it that the difference is exact."""
    if extreme:
        return <real>0 if z == shift else z - shift
    return z


cdef void exponentials(const Group* group, const real* most, const real* shift, const real* magic, const real* least,
                       real* peak, real* rest, real* total) noexcept nogil:
    """The exponentials of all scores, into the gradient's place; of each row the largest, the sum of the others, and
    that of all."""
    cdef real rests[WIDTH * MOST_LINES]
    cdef real sums[WIDTH * MOST_LINES]
    cdef bint kept = group.gradient.pitch != 0
    cdef bint extreme
    cdef Py_ssize_t line
    if not group.across:
        for line in range(group.padded):
            peak[line] = exponential(most[line], shift[line], magic[line], least[line], True)
    for line in range(group.lines):  # what is constant in a call, is in its loop
        extreme = is_extreme(group, line, shift)
        if group.across and extreme:
            exponentials_of_line(group, line, True, True, True, most, shift, magic, least, peak + line * WIDTH,
                                 rests + line * WIDTH, sums + line * WIDTH)
        elif group.across:
            exponentials_of_line(group, line, True, False, True, most, shift, magic, least, peak + line * WIDTH,
                                 rests + line * WIDTH, sums + line * WIDTH)
        elif extreme:  # rests only where nothing is kept; one loop less for what is rare
            exponentials_of_line(group, line, False, True, True, peak, shift, magic, least, NULL,
                                 rests + line * WIDTH, sums + line * WIDTH)
        elif kept:
            exponentials_of_line(group, line, False, False, False, peak, shift, magic, least, NULL,
                                 rests + line * WIDTH, sums + line * WIDTH)
        else:
            exponentials_of_line(group, line, False, False, True, peak, shift, magic, least, NULL,
                                 rests + line * WIDTH, sums + line * WIDTH)
    fold_lines(group, True, sums, total)
    if group.across or not kept:
        fold_lines(group, True, rests, rest)
    if group.across:
        return
    for line in range(group.lines):
        # Where a difference loses no more than one bit, it saves the second sum.
        if peak[line] + peak[line] <= total[line] and shift[line] == <real>0:
            rest[line] = total[line] - peak[line]
        elif kept:
            sum_without(group, line, peak, rest)


# What is known of a line before: of each row the mark of its largest, and what `exponential` takes; and what is found.
cdef enum:
    MARK, SHIFT, MAGIC, LEAST, N_KNOWN_BEFORE

cdef enum:
    ALL, OTHERS, MOST, N_FOUND  # sums of all exponentials, of those but the marked; the largest


cdef inline void exponentials_of_line(const Group* group, Py_ssize_t line, bint across, bint extreme, bint both,
                                      const real* marks, const real* shift, const real* magic, const real* least,
                                      real* peaks, real* rests, real* sums) noexcept nogil:
    """The same of one line: of 16 rows, whose `marks` are their largest scores, or of one, whose mark is its largest
    exponential. `both`: also the sums without them."""
    cdef real known[N_KNOWN_BEFORE * WIDTH]
    cdef real found[N_FOUND * WIDTH]
    cdef Matrix scores = group.scores
    cdef Matrix gradient = group.gradient
    # The end of a row may be elsewhere; and up to four classes are added one by one, as in softmax_of_few.
    cdef Py_ssize_t last = group.count if across and group.count > 4 else group.count - 1, first, stop, k, j
    cdef Py_ssize_t ahead = group.height * scores.pitch
    cdef const real* z = place(&scores, line, 0, rests)
    cdef real* e = place(&gradient, line, 0, rests)
    if across:
        copy_numbers(known + MARK * WIDTH, marks + line * WIDTH)
        copy_numbers(known + SHIFT * WIDTH, shift + line * WIDTH)
        copy_numbers(known + MAGIC * WIDTH, magic + line * WIDTH)
        copy_numbers(known + LEAST * WIDTH, least + line * WIDTH)
    else:
        known[MARK * WIDTH] = marks[line]
        known[SHIFT * WIDTH] = shift[line]
        known[MAGIC * WIDTH] = magic[line]
        known[LEAST * WIDTH] = least[line]
    memset(found + MOST * WIDTH, 0, WIDTH * sizeof(real))
    for first in range(0, group.count, 32):  # sums of parts: fewer roundings
        memset(found, 0, MOST * WIDTH * sizeof(real))
        stop = min(last, first + 32)
        k = first
        while k + 4 <= stop:
            if not across:
                for j in range(4):
                    prefetch_next(z + (k + j) * WIDTH, ahead)
            add_exponentials(4, across, extreme, both, z + k * scores.step, scores.step, known, found,
                             e + k * gradient.step, gradient.step)
            k += 4
        while k < stop:
            if not across:
                prefetch_next(z + k * WIDTH, ahead)
            add_exponentials(1, across, extreme, both, z + k * scores.step, 0, known, found, e + k * gradient.step, 0)
            k += 1
        if last < min(group.count, first + 32):
            add_exponentials(1, across, extreme, both, place(&scores, line, last, rests), 0, known, found,
                             place(&gradient, line, last, rests), 0)
        join(first, found + ALL * WIDTH, sums)
        if both:
            join(first, found + OTHERS * WIDTH, rests)
    if across:
        copy_numbers(peaks, found + MOST * WIDTH)


cdef inline void join(Py_ssize_t first, const real* part, real* sums) noexcept nogil:
    """Adds the sums of a part to those of the parts before it, if any."""
    cdef Py_ssize_t j
    if first == 0:
        copy_numbers(sums, part)
    else:
        for j in range(WIDTH):
            sums[j] += part[j]


cdef inline void add_exponentials(Py_ssize_t count, bint across, bint extreme, bint both, const real* z,
                                  Py_ssize_t step, const real* known, real* found, real* out,
                                  Py_ssize_t out_step) noexcept nogil:
    """The exponentials of one or four times 16 scores, which join what is found of a line."""
    # Four at a time, so that sums stay in registers for as long: from memory, each waits for the one before.
    cdef real numbers[4 * WIDTH]
    cdef real first, second, third, fourth, mark
    cdef Py_ssize_t j, k, lane
    if not across:
        step = WIDTH  # a constant
    for j in range(WIDTH):
        lane = j if across else 0  # what is known of one row, is there once
        mark = known[MARK * WIDTH + lane]
        first = exponential_of(z[j], lane, extreme, known)
        numbers[j] = first
        second = third = fourth = <real>0
        if count > 1:  # written out, as compilers make no vectors of a loop in this loop
            second = exponential_of(z[j + step], lane, extreme, known)
            third = exponential_of(z[j + 2 * step], lane, extreme, known)
            fourth = exponential_of(z[j + 3 * step], lane, extreme, known)
            numbers[j + WIDTH] = second
            numbers[j + 2 * WIDTH] = third
            numbers[j + 3 * WIDTH] = fourth
        found[ALL * WIDTH + j] += sum_of(count, first, second, third, fourth)
        if across:
            found[MOST * WIDTH + j] = larger(larger(larger(first, second), larger(third, fourth)),
                                             found[MOST * WIDTH + j])
        if both:  # marks are scores across, else exponentials
            first = <real>0 if (z[j] if across else first) == mark else first
            if count > 1:
                second = <real>0 if (z[j + step] if across else second) == mark else second
                third = <real>0 if (z[j + 2 * step] if across else third) == mark else third
                fourth = <real>0 if (z[j + 3 * step] if across else fourth) == mark else fourth
            found[OTHERS * WIDTH + j] += sum_of(count, first, second, third, fourth)
    for k in range(count):
        copy_numbers(out + k * out_step, numbers + k * WIDTH)


cdef inline real exponential_of(real z, Py_ssize_t lane, bint extreme, const real* known) noexcept nogil:
    return exponential(z, known[SHIFT * WIDTH + lane], known[MAGIC * WIDTH + lane], known[LEAST * WIDTH + lane],
                       extreme)


cdef inline real sum_of(Py_ssize_t count, real first, real second, real third, real fourth) noexcept nogil:
    """Of one or of four."""
    return (first + second) + (third + fourth) if count > 1 else first


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


cdef void sum_without(const Group* group, Py_ssize_t line, const real* peak, real* rest) noexcept nogil:
    """The sum of a row's exponentials without the largest, in the same order as above."""
    cdef real sums[WIDTH]
    cdef real part[WIDTH]
    cdef real most = peak[line]
    cdef const real* e
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t last = group.count - 1, first, stop, k, j
    for first in range(0, group.count, 32):
        memset(part, 0, sizeof(part))
        stop = min(last, first + 32)
        k = first
        while k + 4 <= stop:
            e = place(&gradient, line, k, rest)
            for j in range(WIDTH):
                part[j] += sum_of(4, without(e[j], most), without(e[j + WIDTH], most), without(e[j + 2 * WIDTH], most),
                                  without(e[j + 3 * WIDTH], most))
            k += 4
        while k < min(group.count, first + 32):
            e = place(&gradient, line, k, rest)
            for j in range(WIDTH):
                part[j] += without(e[j], most)
            k += 1
        join(first, part, sums)
    fold(group, line, sums, rest)


cdef inline real without(real e, real peak) noexcept nogil:
    return <real>0 if e == peak else e


cdef inline real extreme_score(real unused) noexcept nogil:
    """A largest score beyond it is subtracted from all scores of its row."""
    # Of lower scores, which count down to 750 below it, k·log 2 of an exponential must be exact: below 2048.
    if real is double:
        return <double>1290
    else:
        return <float>250


cdef inline void prepare(Py_ssize_t n, const real* most, real* shift, real* magic, real* least) noexcept nogil:
    """What `exponential` takes in each of n rows."""
    cdef Py_ssize_t i
    for i in range(n):
        shift[i] = most[i] if math.absolute(most[i]) > extreme_score(<real>0) else <real>0
        magic[i] = math.exp_magic(<real>0 if shift[i] != <real>0 else most[i], &least[i])


cdef inline void softmax(const Group* group, const real* most, const real* shift, const real* magic, const real* least,
                         real* peak, real* rest, real* total) noexcept nogil:
    """Exponentials, into the gradient's place; of each row that of the largest score, the sum of those of all others,
    and of all. Where no limit exists, the sums are NaN."""
    clear_others(group, rest)
    clear_others(group, total)
    exponentials(group, most, shift, magic, least, peak, rest, total)
    settle(group.padded, most, peak, rest, total)


cdef inline bint softmax_of_few(const Group* group, real* most, real* peak, real* rest, real* total, real* score,
                                real* target) noexcept nogil:
    """What `largest` and `softmax` give, of rows of two to four classes, with the score and the exponential of each
    row's label: one loop, which keeps a row in registers. Only where no row's largest score is extreme; otherwise
    False, with anything in the gradient's place, and all to be done again."""
    if group.gradient.data == group.scores.data:  # then the scores would be gone
        return False
    if group.classes == 2:
        return softmax_of(group, 2, most, peak, rest, total, score, target)
    if group.classes == 3:
        return softmax_of(group, 3, most, peak, rest, total, score, target)
    if group.classes == 4:
        return softmax_of(group, 4, most, peak, rest, total, score, target)
    return False


# What is known of a row.
cdef enum:
    PEAK, REST, TOTAL, LABEL_SCORE, LABEL_EXPONENTIAL, N_KNOWN


cdef inline bint softmax_of(const Group* group, Py_ssize_t classes, real* most, real* peak, real* rest, real* total,
                            real* score, real* target) noexcept nogil:
    """The same, with the number of classes as a constant. Rows of so few classes stand side by side."""
    cdef real labels[WIDTH]
    cdef real line_most[WIDTH]
    cdef real known[N_KNOWN * WIDTH]
    cdef real out[4 * WIDTH]
    cdef real largest, magic, least
    cdef const real* z
    cdef Matrix scores = group.scores
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t step = scores.step, line, i, j, k
    cdef int64_t extreme64 = 0
    cdef int32_t extreme32 = 0
    for line in range(group.lines):
        i = line * WIDTH
        z = place(&scores, line, 0, most)
        for j in range(WIDTH):
            labels[j] = <real>group.labels[i + j]
        for j in range(WIDTH):
            largest = larger(z[j + step], larger(z[j], <real>-1 / <real>0))
            if classes > 2:
                largest = larger(z[j + 2 * step], largest)
            if classes > 3:
                largest = larger(z[j + 3 * step], largest)
            line_most[j] = largest
            if real is double:
                extreme64 |= math.absolute(largest) > extreme_score(<real>0)
            else:
                extreme32 |= math.absolute(largest) > extreme_score(<real>0)
            magic = math.exp_magic(largest, &least)
            # written out, as compilers make no vectors of a loop in this loop
            known[j + PEAK * WIDTH] = known[j + REST * WIDTH] = known[j + TOTAL * WIDTH] = <real>0
            known[j + LABEL_SCORE * WIDTH] = known[j + LABEL_EXPONENTIAL * WIDTH] = <real>0
            take_class(j, 0, z[j], labels, largest, magic, least, known, out)
            take_class(j, 1, z[j + step], labels, largest, magic, least, known, out)
            if classes > 2:
                take_class(j, 2, z[j + 2 * step], labels, largest, magic, least, known, out)
            if classes > 3:
                take_class(j, 3, z[j + 3 * step], labels, largest, magic, least, known, out)
        for k in range(classes):
            copy_numbers(place(&gradient, line, k, most), out + k * WIDTH)
        copy_numbers(most + i, line_most)
        copy_numbers(peak + i, known + PEAK * WIDTH)
        copy_numbers(rest + i, known + REST * WIDTH)
        copy_numbers(total + i, known + TOTAL * WIDTH)
        copy_numbers(score + i, known + LABEL_SCORE * WIDTH)
        copy_numbers(target + i, known + LABEL_EXPONENTIAL * WIDTH)
    if (extreme64 | extreme32) != 0:
        return False
    settle(group.padded, most, peak, rest, total)
    return True


cdef inline void take_class(Py_ssize_t j, Py_ssize_t k, real z, const real* labels, real most, real magic, real least,
                            real* known, real* out) noexcept nogil:
    """The exponential of a row's score of class k, which joins what is known of the row."""
    cdef real e = math.exp_scaled(z, magic, least)
    cdef bint labelled = labels[j] == <real>k
    out[j + k * WIDTH] = e
    known[j + PEAK * WIDTH] = larger(e, known[j + PEAK * WIDTH])
    known[j + REST * WIDTH] += <real>0 if z == most else e
    known[j + TOTAL * WIDTH] += e
    known[j + LABEL_SCORE * WIDTH] += z if labelled else <real>0
    known[j + LABEL_EXPONENTIAL * WIDTH] += e if labelled else <real>0


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
