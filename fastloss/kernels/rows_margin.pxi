# Losses of margins between scores.

cdef void evaluate_margin(const RowJob* job, const MarginLoss* parameters, Group* group, real* loss) noexcept nogil:
    if MarginLoss is MultilabelMargin:
        evaluate_multilabel(group, loss)
    elif MarginLoss is CrammerSinger:
        evaluate_crammer_singer(job, parameters, group, loss)
    else:
        evaluate_weston_watkins(job, parameters, group, loss)


# ---- hinges of one label ---------------------------------------------------------------------------------------------

cdef struct Hinges:
    double margin
    double start  # gaps above it have a slope: with margin 0 a gap of 0 has one, so that learning starts
    bint squared


cdef inline Hinges hinges_of(double margin, double power, real unused) noexcept nogil:
    cdef Hinges p
    p.margin = margin
    p.start = -<double>math.smallest(unused) if margin == 0.0 else 0.0
    p.squared = power == 2.0
    return p


cdef inline void hinge(const Hinges* p, real gap, real* value, real* slope, real* curve) noexcept nogil:
    """max(0, gap), or its square, and the derivatives."""
    cdef real zero = <real>0, one = <real>1, two = <real>2
    cdef bint active = gap > zero
    cdef real factor = gap if p.squared else one
    cdef real steep = two * gap if p.squared else one
    cdef real curved = two if p.squared else zero
    value[0] = gap * factor if active else (zero if gap == gap else gap)
    slope[0] = steep if gap > <real>p.start else zero
    curve[0] = curved if active else zero


# Which of a line's numbers is the label's: where `offsets` plus a number for each 16 are 0.

cdef inline void aim_at_labels(const Group* group, Py_ssize_t line, real* offsets) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(WIDTH):
        offsets[j] = <real>-group.labels[line * WIDTH + j] if group.across else <real>j


cdef inline real start_of(const Group* group, Py_ssize_t line, Py_ssize_t k, real unused) noexcept nogil:
    return <real>k if group.across else <real>(k * WIDTH - group.labels[line])


cdef void put_rows(const RowJob* job, const Group* group, const real* loss, real* slope, real* curve) noexcept nogil:
    """Scales what labels get, and puts it there; rows without a value are NaN throughout."""
    cdef Py_ssize_t i, c
    for i in range(group.padded):
        slope[i] *= <real>group.scales[i]
        curve[i] *= <real>group.scales[i]
    if job.mode & GRADIENT:
        put_at_labels(group, &group.gradient, slope)
    if job.mode & HESSIAN:
        put_at_labels(group, &group.hessian, curve)
    for i in range(group.rows):
        if loss[i] != loss[i]:
            for c in range(group.classes):
                if job.mode & GRADIENT:
                    element(group, &group.gradient, i, c, slope)[0] = loss[i]
                if job.mode & HESSIAN:
                    element(group, &group.hessian, i, c, slope)[0] = loss[i]


cdef inline void evaluate_weston_watkins(const RowJob* job, const WestonWatkins* parameters, Group* group,
                                         real* loss) noexcept nogil:
    """The sum of the hinges of all other classes."""
    cdef Hinges p = hinges_of(parameters.margin, parameters.power, <real>0)
    cdef real score[ROWS]
    cdef real scale[ROWS]
    cdef real target_slope[ROWS]
    cdef real target_curve[ROWS]
    cdef real line_score[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real offsets[WIDTH]
    cdef real lanes[WIDTH]
    cdef real sums[3][WIDTH]
    cdef real parts[3][WIDTH]
    cdef real slopes[WIDTH]
    cdef real curves[WIDTH]
    cdef real zero = <real>0, margin = <real>p.margin, value, slope, curve, start, filled
    cdef const real* z
    cdef Matrix scores = group.scores
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, first, k, j
    cdef bint counts
    memset(score, 0, sizeof(score))
    of_labels(group, &group.scores, score)
    scales_of(group, scale)
    for j in range(WIDTH):
        lanes[j] = <real>j
    for line in range(group.lines):
        spread(group, line, score, line_score)
        spread(group, line, scale, line_scale)
        aim_at_labels(group, line, offsets)
        memset(sums, 0, sizeof(sums))
        for first in range(0, group.count, 8):
            memset(parts, 0, sizeof(parts))
            for k in range(first, min(group.count, first + 8)):
                z = place(&scores, line, k, loss)
                start = start_of(group, line, k, zero)
                filled = <real>WIDTH if group.across else <real>(group.classes - k * WIDTH)
                for j in range(WIDTH):
                    hinge(&p, margin - (line_score[j] - z[j]), &value, &slope, &curve)
                    counts = (start + offsets[j] != zero) & (lanes[j] < filled)
                    value = value if counts else zero
                    slope = slope if counts else zero
                    curve = curve if counts else zero
                    parts[0][j] += value
                    parts[1][j] += slope
                    parts[2][j] += curve
                    slopes[j] = slope * line_scale[j]
                    curves[j] = curve * line_scale[j]
                if job.mode & GRADIENT:
                    copy_numbers(place(&gradient, line, k, loss), slopes)
                if job.mode & HESSIAN:
                    copy_numbers(place(&hessian, line, k, loss), curves)
            for j in range(WIDTH):
                sums[0][j] += parts[0][j]
                sums[1][j] -= parts[1][j]
                sums[2][j] += parts[2][j]
        fold(group, line, sums[0], loss)
        fold(group, line, sums[1], target_slope)
        fold(group, line, sums[2], target_curve)
    put_rows(job, group, loss, target_slope, target_curve)


cdef inline void evaluate_crammer_singer(const RowJob* job, const CrammerSinger* parameters, Group* group,
                                         real* loss) noexcept nogil:
    """The hinge of the largest score of all other classes; of equal ones, of the first."""
    cdef Hinges p = hinges_of(parameters.margin, parameters.power, <real>0)
    cdef real score[ROWS]
    cdef real most[ROWS]
    cdef real odd[ROWS]  # NaN, where a score is
    cdef real slope[ROWS]
    cdef real curve[ROWS]
    cdef Py_ssize_t winner[ROWS]
    cdef real offsets[WIDTH]
    cdef real line_most[WIDTH]
    cdef real line_at[WIDTH]
    cdef real line_odd[WIDTH]
    cdef real zero = <real>0, start, value
    cdef const real* z
    cdef Matrix scores = group.scores
    cdef Py_ssize_t line, k, j, i, c
    cdef bint better
    memset(score, 0, sizeof(score))
    of_labels(group, &group.scores, score)
    for line in range(group.lines):
        aim_at_labels(group, line, offsets)
        for j in range(WIDTH):
            line_most[j] = <real>-1 / zero
            line_at[j] = <real>-1
            line_odd[j] = zero
        for k in range(group.count):
            z = place(&scores, line, k, loss)
            start = start_of(group, line, k, zero)
            for j in range(WIDTH):
                better = (z[j] > line_most[j]) & (start + offsets[j] != zero)  # (what fills a row up is -inf)
                line_most[j] = z[j] if better else line_most[j]
                line_at[j] = <real>k if better else line_at[j]
                line_odd[j] = line_odd[j] if z[j] == z[j] else z[j]
        fold(group, line, line_odd, odd)
        for j in range(WIDTH if group.across else 1):
            i = line * WIDTH + j if group.across else line
            most[i] = line_most[j]
            winner[i] = <Py_ssize_t>line_at[j]
        if not group.across:
            winner[line] = winner[line] * WIDTH if winner[line] >= 0 else -1
            for j in range(1, WIDTH):
                c = <Py_ssize_t>line_at[j] * WIDTH + j
                if line_at[j] >= zero and (line_most[j] > most[line] or winner[line] < 0
                                           or (line_most[j] == most[line] and c < winner[line])):
                    most[line] = line_most[j]
                    winner[line] = c
    for i in range(group.padded):
        hinge(&p, <real>p.margin - (score[i] - most[i]), &value, &slope[i], &curve[i])
        loss[i] = value + odd[i]
    if job.mode & GRADIENT:
        put_winners(group, &group.gradient, winner, slope)
    if job.mode & HESSIAN:
        put_winners(group, &group.hessian, winner, curve)
    for i in range(group.padded):
        slope[i] = -slope[i]
    put_rows(job, group, loss, slope, curve)


cdef void put_winners(const Group* group, const Matrix* matrix, const Py_ssize_t* winner,
                      const real* rows) noexcept nogil:
    """A row's number at its winner, scaled, and 0 elsewhere. Where all other scores are -inf there is none."""
    cdef Py_ssize_t line, k, i
    for line in range(group.lines):
        for k in range(group.count):
            memset(place(matrix, line, k, <real*>rows), 0, WIDTH * sizeof(real))
    for i in range(group.rows):
        if winner[i] >= 0:
            element(group, matrix, i, winner[i], <real*>rows)[0] = rows[i] * <real>group.scales[i]


# ---- hinges of several labels ----------------------------------------------------------------------------------------

cdef inline void evaluate_multilabel(Group* group, real* loss) noexcept nogil:
    """Row by row, class by class."""
    cdef Py_ssize_t i, step, c
    cdef real* z
    cdef real* t
    cdef real* g
    cdef real* h
    cdef real scale
    for i in range(group.rows):
        step = WIDTH if group.across else 1
        z = element(group, &group.scores, i, 0, loss)
        t = element(group, &group.targets, i, 0, loss)
        g = element(group, &group.gradient, i, 0, loss)
        h = element(group, &group.hessian, i, 0, loss)
        for c in range(group.classes):
            g[c * step] = <real>0
        loss[i] = multilabel_margin(group.classes, step, t, z, g)
        scale = <real>group.scales[i]
        for c in range(group.classes):
            g[c * step] = g[c * step] * scale if loss[i] == loss[i] else loss[i]
            h[c * step] = <real>0 if loss[i] == loss[i] else loss[i]


cdef inline real multilabel_margin(Py_ssize_t classes, Py_ssize_t step, const real* t, const real* z,
                                   real* g) noexcept nogil:
    cdef Py_ssize_t j, c
    cdef real gap, value = <real>0, low = <real>0, one = <real>1, nan = <real>0
    cdef real share = one / <real>classes
    for j in range(classes):
        nan = z[j * step] if z[j * step] != z[j * step] else nan
        if t[j * step] == <real>0:
            continue
        for c in range(classes):
            gap = one - (z[j * step] - z[c * step])
            if t[c * step] != <real>0 or gap <= <real>0:
                continue
            gap *= share  # each, as the sum may be beyond the largest number
            low += math.difference_rest(value, -gap, value + gap)
            value += gap
            g[c * step] += one
            g[j * step] -= one
    for j in range(classes):
        g[j * step] *= share
    return value + low + nan
