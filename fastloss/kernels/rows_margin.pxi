# Losses of margins between scores.

cdef void evaluate_margin(const RowJob* job, const MarginLoss* parameters, Group* group, real* loss) noexcept nogil:
    """Row by row, class by class."""
    cdef MarginLoss p = parameters[0]
    cdef Py_ssize_t i, step, c
    cdef real* z
    cdef real* t
    cdef real* g
    cdef real* h
    cdef real scale
    for i in range(group.rows):
        step = WIDTH if group.across else 1
        z = element(group, &group.scores, i, 0, loss)
        g = element(group, &group.gradient, i, 0, loss)
        h = element(group, &group.hessian, i, 0, loss)
        for c in range(group.classes):
            g[c * step] = <real>0
            h[c * step] = <real>0
        if MarginLoss is MultilabelMargin:
            t = element(group, &group.targets, i, 0, loss)
            loss[i] = multilabel_margin(group.classes, step, t, z, g)
        elif MarginLoss is CrammerSinger:
            loss[i] = crammer_singer(&p, group.classes, step, group.labels[i], z, g, h)
        else:
            loss[i] = weston_watkins(&p, group.classes, step, group.labels[i], z, g, h)
        scale = <real>group.scales[i]
        for c in range(group.classes):
            g[c * step] = g[c * step] * scale if loss[i] == loss[i] else loss[i]
            h[c * step] = h[c * step] * scale if loss[i] == loss[i] else loss[i]


cdef inline real hinge(real margin, real square, real gap, real* slope, real* curve) noexcept nogil:
    """max(0, gap), or its square, and the derivatives; at 0 a slope only with margin 0, so that learning starts."""
    cdef real zero = <real>0
    cdef real two = <real>2
    cdef bint active = gap > zero
    cdef bint starts = active or (margin == zero and gap == zero)
    slope[0] = (two * gap if square != zero else <real>1) if starts else zero
    curve[0] = two if square != zero and active else zero
    return (gap * gap if square != zero else gap) if active else (zero if gap == gap else gap)


cdef inline real crammer_singer(const CrammerSinger* p, Py_ssize_t classes, Py_ssize_t step, Py_ssize_t label,
                                const real* z, real* g, real* h) noexcept nogil:
    cdef Py_ssize_t c, winner = -1
    cdef real slope, curve, value, nan = <real>0
    for c in range(classes):
        nan = z[c * step] if z[c * step] != z[c * step] else nan
        if c != label and (winner < 0 or z[c * step] > z[winner * step]):
            winner = c
    value = hinge(<real>p.margin, <real>(p.power - 1.0), <real>p.margin - (z[label * step] - z[winner * step]),
                  &slope, &curve)
    g[label * step] = -slope
    g[winner * step] = slope
    h[label * step] = curve
    h[winner * step] = curve
    return value + nan


cdef inline real weston_watkins(const WestonWatkins* p, Py_ssize_t classes, Py_ssize_t step, Py_ssize_t label,
                                const real* z, real* g, real* h) noexcept nogil:
    cdef Py_ssize_t c
    cdef real slope, curve, term, value = <real>0, low = <real>0
    for c in range(classes):
        if c != label:
            term = hinge(<real>p.margin, <real>(p.power - 1.0), <real>p.margin - (z[label * step] - z[c * step]),
                         &slope, &curve)
            low += math.difference_rest(value, -term, value + term)
            value += term
            g[c * step] = slope
            g[label * step] -= slope
            h[c * step] = curve
            h[label * step] += curve
    return value + low


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
