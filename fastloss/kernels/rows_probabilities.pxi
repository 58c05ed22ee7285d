# Softmax as probabilities. Losses that multiply them with each other multiply their errors, too. Where that would be
# beyond the limit of accuracy, they are `exact`, within 0.6 ulp: exponentials and their sums come in two parts, and
# quotients take in both. For others, and beyond EXACT_CLASSES, where the limit is wider, `softmax` takes half the time.

cdef enum:
    EXACT_CLASSES = 160


cdef inline void probabilities(const Group* group, bint exact, real* most, real* peak, real* rest, real* total,
                               real* top, real* below) noexcept nogil:
    """They come into the gradient's place. Of each row the largest score, its exponential, the sum of those of all
    others, and of all; the largest probability, and 1 less it. Where no limit exists, these and the row are NaN."""
    cdef real shift[ROWS]
    cdef real magic[ROWS]
    cdef real least[ROWS]
    cdef real per_total[ROWS]
    cdef real ones[ROWS]
    cdef Py_ssize_t i
    largest(group, most)
    prepare(group.padded, most, shift, magic, least)
    if exact and group.classes <= EXACT_CLASSES:
        exact_probabilities(group, most, shift, magic, least, peak, rest, total, top, below)
        return
    softmax(group, most, shift, magic, least, peak, rest, total)
    for i in range(group.padded):
        ones[i] = <real>1
        per_total[i] = <real>1 / total[i]
        top[i] = peak[i] * per_total[i]
        below[i] = rest[i] * per_total[i]
    scale_gradient(group, per_total, ones)


cdef void exact_probabilities(const Group* group, const real* most, const real* shift, const real* magic,
                              const real* least, real* peak, real* rest, real* total, real* top,
                              real* below) noexcept nogil:
    cdef real peak_low[ROWS]
    cdef real rest_low[ROWS]
    cdef real total_low[ROWS]
    cdef real per_total[ROWS]
    cdef real ties[ROWS]  # how many scores are the largest
    cdef real zero = <real>0, one = <real>1, infinity = one / zero, again, product
    cdef bint no_limit
    cdef Py_ssize_t line, i
    clear_others(group, ties)
    clear_others(group, rest)
    clear_others(group, rest_low)
    for line in range(group.lines):
        if is_extreme(group, line, shift):
            exponentials_in_parts(group, line, True, most, shift, magic, least, rest, rest_low, ties)
        else:
            exponentials_in_parts(group, line, False, most, shift, magic, least, rest, rest_low, ties)
    for i in range(group.padded):
        peak[i] = math.exp_scaled_parts(without_shift(most[i], shift[i], True), magic[i], least[i], &peak_low[i])
        # where the largest score occurs again, its exponential joins those of the others
        again = ties[i] - one
        product = again * peak[i]
        add_parts(True, rest + i, rest_low + i, product,
                  mad(again, peak_low[i], math.product_rest(again, peak[i], product)))
        no_limit = (most[i] == -infinity) | ((most[i] == infinity) & (again > zero))
        rest[i] += zero / zero if no_limit else zero
        total[i] = rest[i]
        total_low[i] = rest_low[i]
        add_parts(True, total + i, total_low + i, peak[i], peak_low[i])
        per_total[i] = one / total[i]
        top[i] = share(peak[i], peak_low[i], total[i], total_low[i], per_total[i])
        below[i] = share(rest[i], rest_low[i], total[i], total_low[i], per_total[i])
    divide_exponentials(group, total, total_low, per_total)


cdef inline void exponentials_in_parts(const Group* group, Py_ssize_t line, bint extreme, const real* most,
                                       const real* shift, const real* magic, const real* least, real* rest,
                                       real* rest_low, real* ties) noexcept nogil:
    """The exponentials of a line, into the gradient's place, and what rounding took from them, into the Hessian's; of
    each row the sum of those that are not of the largest score, in two parts, and how many are."""
    cdef real sums[WIDTH]
    cdef real lows[WIDTH]
    cdef real counts[WIDTH]
    cdef real line_most[WIDTH]
    cdef real line_shift[WIDTH]
    cdef real line_magic[WIDTH]
    cdef real line_least[WIDTH]
    cdef real high[WIDTH]
    cdef real low[WIDTH]
    cdef bint is_most
    cdef const real* z
    cdef const real* e
    cdef const real* e_low
    cdef Matrix scores = group.scores
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t k, j
    spread(group, line, most, line_most)
    spread(group, line, shift, line_shift)
    spread(group, line, magic, line_magic)
    spread(group, line, least, line_least)
    memset(sums, 0, sizeof(sums))
    memset(lows, 0, sizeof(lows))
    memset(counts, 0, sizeof(counts))
    # Two loops: a core looks ahead some hundred instructions.
    for k in range(group.count):
        z = place(&scores, line, k, sums)
        for j in range(WIDTH):
            high[j] = math.exp_scaled_parts(without_shift(z[j], line_shift[j], extreme), line_magic[j], line_least[j],
                                            low + j)
        copy_numbers(place(&gradient, line, k, sums), high)
        copy_numbers(place(&hessian, line, k, sums), low)
    for k in range(group.count):
        z = place(&scores, line, k, sums)
        e = place(&gradient, line, k, sums)
        e_low = place(&hessian, line, k, sums)
        for j in range(WIDTH):
            is_most = z[j] == line_most[j]
            counts[j] += math.kept_if(is_most, <real>1)
            add_parts(True, sums + j, lows + j, math.kept_if(not is_most, e[j]), math.kept_if(not is_most, e_low[j]))
    fold(group, line, counts, ties)
    fold_parts(group, line, sums, lows, rest, rest_low)


cdef inline void fold_parts(const Group* group, Py_ssize_t line, real* high, real* low, real* rows,
                            real* rows_low) noexcept nogil:
    """`fold` of sums in two parts."""
    cdef Py_ssize_t j
    if group.across:
        copy_numbers(rows + line * WIDTH, high)
        copy_numbers(rows_low + line * WIDTH, low)
        return
    for j in range(8):
        add_parts(True, high + j, low + j, high[j + 8], low[j + 8])
    for j in range(4):
        add_parts(True, high + j, low + j, high[j + 4], low[j + 4])
    for j in range(2):
        add_parts(True, high + j, low + j, high[j + 2], low[j + 2])
    add_parts(True, high, low, high[1], low[1])
    rows[line] = high[0]
    rows_low[line] = low[0]


cdef inline void add_parts(bint exact, real* high, real* low, real e, real e_low) noexcept nogil:
    """Adds e + e_low to a sum in two parts; e alone to its first, where it need not be exact."""
    cdef real sum_ = high[0] + e
    if exact:
        low[0] += e_low + math.exact_difference_rest(high[0], -e, sum_)
    high[0] = sum_


cdef inline real share(real e, real e_low, real total, real total_low, real per_total) noexcept nogil:
    """(e + e_low)/(total + total_low), rounded once, for per_total = 1/total."""
    cdef real q = e * per_total
    return mad(mad(-q, total_low, math.remainder(e, total, q) + e_low), per_total, q)


cdef inline void divide_exponentials(const Group* group, const real* total, const real* total_low,
                                     const real* per_total) noexcept nogil:
    """Probabilities from exponentials in two parts, in the gradient's place."""
    cdef real line_total[WIDTH]
    cdef real line_total_low[WIDTH]
    cdef real line_per_total[WIDTH]
    cdef real out[WIDTH]
    cdef real* e
    cdef const real* low
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        spread(group, line, total, line_total)
        spread(group, line, total_low, line_total_low)
        spread(group, line, per_total, line_per_total)
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            low = place(&hessian, line, k, out)
            for j in range(WIDTH):
                out[j] = share(e[j], low[j], line_total[j], line_total_low[j], line_per_total[j])
            copy_numbers(e, out)
