# Losses of all probabilities.

# ---- cross-entropy of distributions ----------------------------------------------------------------------------------

cdef void cross(const RowJob* job, Group* group, const real* most, const real* shift, real* cost) noexcept nogil:
    """Σ t·(most - z) of each row: what cross-entropy has beside a logarithm, without cancellation. Targets that have
    not been checked are."""
    cdef real line_most[WIDTH]
    cdef real costs[WIDTH * MOST_LINES]
    cdef double sums[WIDTH * MOST_LINES]
    cdef double lows[WIDTH * MOST_LINES]
    cdef real least_target[WIDTH]
    cdef real most_target[WIDTH]
    cdef Py_ssize_t line, i
    memset(least_target, 0, sizeof(least_target))
    memset(most_target, 0, sizeof(most_target))
    memset(costs, 0, group.lines * WIDTH * sizeof(real))
    memset(sums, 0, group.lines * WIDTH * sizeof(double))
    memset(lows, 0, group.lines * WIDTH * sizeof(double))
    for line in range(group.lines):
        i = line * WIDTH
        spread(group, line, most, line_most)
        if is_extreme(group, line, shift):  # seldom: one loop for all
            cross_line(group, line, False, True, group.unchecked, True, line_most, costs + i, least_target,
                       most_target, sums + i, lows + i)
        elif group.unchecked and group.across:
            cross_line(group, line, False, False, True, True, line_most, costs + i, least_target,
                       most_target, sums + i, lows + i)
        elif group.unchecked:
            cross_line(group, line, True, False, True, False, line_most, costs + i, least_target,
                       most_target, sums + i, lows + i)
        else:
            cross_line(group, line, False, False, False, False, line_most, costs + i, least_target,
                       most_target, sums + i, lows + i)
    fold_lines(group, True, costs, cost)
    if group.unchecked:
        group.flags |= COUNTED | check_range(job, least_target, most_target) | check_masses(job, group, sums, lows)


cdef inline void cross_line(const Group* group, Py_ssize_t line, bint one, bint extreme, bint unchecked, bint exact,
                            const real* most, real* costs, real* least_target, real* most_target, double* sums,
                            double* lows) noexcept nogil:
    """The same of one line; `one`: all of its numbers are of one row."""
    cdef real zero = <real>0, behind
    cdef const real* z
    cdef const real* t
    cdef Matrix scores = group.scores
    cdef Matrix targets = group.targets
    cdef real part[WIDTH]
    cdef real sums_part[WIDTH]
    cdef real lows_part[WIDTH]
    cdef Py_ssize_t first, k, j, ahead = 0
    if not group.across and group.classes * <Py_ssize_t>sizeof(real) <= BYTES_AHEAD:
        ahead = group.height * targets.pitch
    for first in range(0, group.count, 8):
        memset(part, 0, sizeof(part))
        memset(sums_part, 0, sizeof(sums_part))
        memset(lows_part, 0, sizeof(lows_part))
        for k in range(first, min(group.count, first + 8)):
            z = place(&scores, line, k, costs)
            t = place(&targets, line, k, costs)
            if ahead != 0 and k != targets.last:
                prefetch_next(t, ahead)
            for j in range(WIDTH):
                behind = (most[0] if one else most[j]) - z[j]
                if extreme:
                    behind = zero if z[j] == most[j] else behind
                part[j] = part[j] if t[j] == zero else math.mad(t[j], behind, part[j])
            if unchecked:
                take_in(t, exact, least_target, most_target, sums_part, lows_part)
        for j in range(WIDTH):
            costs[j] += part[j]
        if unchecked:
            for j in range(WIDTH):
                sums[j] += sums_part[j]
                if exact:
                    lows[j] += lows_part[j]


cdef void entropies(const Group* group, bint by_log, real* entropy) noexcept nogil:
    """Σ t·log t of each row of targets, or of their logarithms."""
    cdef real sums[WIDTH]
    cdef real part[WIDTH]
    cdef real zero = <real>0, t, log_t
    cdef const real* x
    cdef Matrix targets = group.targets
    cdef Py_ssize_t line, first, k, j
    for line in range(group.lines):
        memset(sums, 0, sizeof(sums))
        for first in range(0, group.count, 8):
            memset(part, 0, sizeof(part))
            for k in range(first, min(group.count, first + 8)):
                x = place(&targets, line, k, entropy)
                for j in range(WIDTH):
                    t = math.exp(x[j]) if by_log else x[j]
                    log_t = x[j] if by_log else math.log(x[j])
                    part[j] += t * log_t if t > zero else zero
            for j in range(WIDTH):
                sums[j] += part[j]
        fold(group, line, sums, entropy)


cdef void evaluate_cross_entropy(const RowJob* job, const SoftCrossEntropy* p, Group* group,
                                 real* loss) noexcept nogil:
    cdef real most[ROWS]
    cdef real shift[ROWS]
    cdef real magic[ROWS]
    cdef real least[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real cost[ROWS]
    cdef real entropy[ROWS]
    cdef real to_q[ROWS]
    cdef real factor[ROWS]
    cdef real excess[ROWS]  # over 1, of what pulls at the probabilities: sums of targets, and the gradient of z_loss
    cdef real pull[ROWS]
    cdef real two = <real>2, z_loss = <real>p.z_loss, temperature = <real>job.temperature
    cdef real log_sum, from_peak
    cdef Py_ssize_t i
    clear_others(group, cost)
    for i in range(group.padded):
        entropy[i] = <real>0
    if p.entropy != 0.0 and job.target == LOG_CLASSES:
        for i in range(group.padded):
            entropy[i] = <real>group.entropies[i]
    elif p.entropy != 0.0:
        entropies(group, False, entropy)
    if job.inputs != LOGITS:
        cross_of_probabilities(job, p, group, cost)
        for i in range(group.padded):
            loss[i] = cost[i] + entropy[i]
        return
    largest(group, most)
    prepare(group.padded, most, shift, magic, least)
    cross(job, group, most, shift, cost)
    softmax(group, most, shift, magic, least, peak, rest, total)
    for i in range(group.padded):
        log_sum = math.log1p_quotient(rest[i], peak[i], total[i], &to_q[i])
        from_peak = most[i] + log_sum  # logsumexp
        loss[i] = math.mad(<real>(1.0 + group.excess[i]), log_sum, cost[i]) + entropy[i]
        loss[i] = temperature * temperature * loss[i]
        excess[i] = <real>group.excess[i]
        if z_loss != <real>0:
            loss[i] = loss[i] + z_loss * from_peak * from_peak
            excess[i] = excess[i] + two * z_loss * from_peak
    if job.mode & PROBABILITY:
        scale_to_hessian(group, to_q)
    if job.mode & HESSIAN:
        for i in range(group.padded):
            factor[i] = <real>1 + two * excess[i] if job.bound else excess[i]
        hessian_of_cross_entropy(group, factor, two * z_loss, peak, rest, total)
        settle_infinite(group, &group.hessian, factor, peak, two * z_loss)
    if job.mode & GRADIENT:
        for i in range(group.padded):
            to_q[i] = <real>1 / total[i]
            pull[i] = math.mad(to_q[i], excess[i], to_q[i])
        gradient_of_cross_entropy(group, temperature, pull)
        settle_infinite(group, &group.gradient, excess, NULL, <real>0)


cdef void settle_infinite(const Group* group, const Matrix* matrix, const real* factor, const real* peak,
                          real square) noexcept nogil:
    """Where the gradient of z_loss is infinite: what stands beside its product with a probability of 0, or of 1, that
    vanishes faster. In the gradient -t; in the Hessian, for which the exponentials are still there, square · q²."""
    cdef Py_ssize_t i, c
    cdef real* x
    cdef real value
    for i in range(group.rows):
        if math.absolute(factor[i]) != <real>1 / <real>0:
            continue
        for c in range(group.classes):
            x = element(group, matrix, i, c, &value)
            if peak != NULL:
                value = square if element(group, &group.gradient, i, c, x)[0] == peak[i] else <real>0
            else:
                value = -element(group, &group.targets, i, c, x)[0]
            x[0] = value * <real>group.scales[i] if x[0] != x[0] else x[0]


cdef void gradient_of_cross_entropy(const Group* group, real temperature, const real* pull) noexcept nogil:
    """temperature · (pull · e - t)"""
    cdef real line_pull[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real scale[ROWS]
    cdef real out[WIDTH]
    cdef real* e
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t line, k, j
    scales_of(group, scale)
    for line in range(group.lines):
        spread(group, line, pull, line_pull)
        spread(group, line, scale, line_scale)
        for j in range(WIDTH):
            line_scale[j] *= temperature
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            t = place(&targets, line, k, out)
            for j in range(WIDTH):
                out[j] = math.mad(e[j], line_pull[j], -t[j]) * line_scale[j]
            copy_numbers(e, out)


cdef void hessian_of_cross_entropy(const Group* group, const real* factor, real square, const real* peak,
                                   const real* rest, const real* total) noexcept nogil:
    """(1 + factor) · q·(1 - q) + square · q²"""
    # q·(1 - q) as e·(total - e)/total², with what roundings took from the first two: a product of rounded probabilities
    # is one or two ulp less exact.
    cdef real per_square[ROWS]
    cdef real line_peak[WIDTH]
    cdef real line_rest[WIDTH]
    cdef real line_total[WIDTH]
    cdef real line_per_square[WIDTH]
    cdef real line_factor[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real scale[ROWS]
    cdef real out[WIDTH]
    cdef real whole, others, product, low
    cdef const real* e
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, i, k, j
    scales_of(group, scale)
    for i in range(group.padded):
        whole = total[i] * total[i]
        low = math.mad(<real>2 * total[i], math.sum_rest(peak[i], rest[i], total[i]),
                       math.product_rest(total[i], total[i], whole))
        per_square[i] = <real>1 / whole
        per_square[i] = mad(per_square[i], mad(-low, per_square[i], math.remainder(<real>1, whole, per_square[i])),
                            per_square[i])
    for line in range(group.lines):
        spread(group, line, peak, line_peak)
        spread(group, line, rest, line_rest)
        spread(group, line, total, line_total)
        spread(group, line, per_square, line_per_square)
        spread(group, line, factor, line_factor)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            for j in range(WIDTH):
                others = line_total[j] - e[j]
                low = (line_total[j] - others) - e[j]
                low = <real>0 if e[j] == line_peak[j] else low
                others = line_rest[j] if e[j] == line_peak[j] else others
                product = e[j] * others
                low = mad(e[j], low, math.product_rest(e[j], others, product))
                product = mad(product, line_per_square[j], low * line_per_square[j])
                product = mad(product, line_factor[j], product)
                out[j] = mad(square, e[j] * e[j] * line_per_square[j], product) * line_scale[j]
            copy_numbers(place(&hessian, line, k, out), out)


cdef void cross_of_probabilities(const RowJob* job, const SoftCrossEntropy* p, Group* group,
                                 real* cost) noexcept nogil:
    """-Σ t·log q of q or log q themselves; and the derivatives."""
    cdef bint by_log = job.inputs == LOG_PROBABILITIES
    cdef real poison[ROWS]
    cdef real line_poison[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real scale[ROWS]
    cdef real sums[WIDTH]
    cdef real slopes[WIDTH]
    cdef real curves[WIDTH]
    cdef real zero = <real>0, eps = <real>p.eps, log_eps = <real>p.log_eps
    cdef real log_q, size
    cdef bint clipped
    cdef const real* z
    cdef const real* t
    cdef Matrix scores = group.scores
    cdef Matrix targets = group.targets
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef real sums_part[WIDTH]
    cdef Py_ssize_t line, first, k, j
    memset(poison, 0, sizeof(poison))
    outside(group, by_log, poison)
    scales_of(group, scale)
    if job.mode & PROBABILITY:
        probabilities_to_hessian(group, by_log, cost)
    for line in range(group.lines):
        spread(group, line, poison, line_poison)
        spread(group, line, scale, line_scale)
        memset(sums, 0, sizeof(sums))
        for first in range(0, group.count, 8):
            memset(sums_part, 0, sizeof(sums_part))
            for k in range(first, min(group.count, first + 8)):
                z = place(&scores, line, k, cost)
                t = place(&targets, line, k, cost)
                for j in range(WIDTH):
                    clipped = (z[j] < eps) & (not by_log)
                    log_q = z[j] if by_log else math.log(z[j])
                    log_q = log_eps if clipped else log_q
                    sums_part[j] -= zero if t[j] == zero else t[j] * log_q
                    size = t[j] if by_log else t[j] / z[j]
                    size = zero if clipped | (t[j] == zero) else size
                    slopes[j] = -(size + line_poison[j]) * line_scale[j]
                    size = zero if by_log | (size == zero) else size / z[j]
                    curves[j] = (size + line_poison[j]) * line_scale[j]
                if job.mode & GRADIENT:
                    copy_numbers(place(&gradient, line, k, cost), slopes)
                if job.mode & HESSIAN:
                    copy_numbers(place(&hessian, line, k, cost), curves)
            for j in range(WIDTH):
                sums[j] += sums_part[j]
        for j in range(WIDTH):
            sums[j] += line_poison[j]
        fold(group, line, sums, cost)


# ---- losses of all probabilities -------------------------------------------------------------------------------------

cdef void evaluate_distribution(const RowJob* job, const DistributionLoss* parameters, Group* group,
                                real* loss) noexcept nogil:
    cdef DistributionLoss p = parameters[0]
    cdef real most[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real top[ROWS]  # the largest probability, and 1 less it
    cdef real below[ROWS]
    cdef real slopes[ROWS]
    cdef real curves[ROWS]
    cdef real poison[ROWS]
    cdef Py_ssize_t i
    memset(slopes, 0, sizeof(slopes))
    memset(curves, 0, sizeof(curves))
    memset(poison, 0, sizeof(poison))
    memset(loss, 0, ROWS * sizeof(real))
    if job.inputs == LOGITS:
        probabilities(group, DistributionLoss is Brier, most, peak, rest, total, top, below)
        sum_divergence(&p, LOGITS, job.mode, group, top, below, loss, slopes, curves)
        divergence_outputs(&p, LOGITS, job.mode, group, top, below, poison, slopes, curves)
        return
    memset(top, 0, sizeof(top))
    memset(below, 0, sizeof(below))
    outside(group, job.inputs == LOG_PROBABILITIES, poison)
    if job.inputs == PROBABILITIES:
        sum_divergence(&p, PROBABILITIES, job.mode, group, top, below, loss, slopes, curves)
        divergence_outputs(&p, PROBABILITIES, job.mode, group, top, below, poison, slopes, curves)
    else:
        sum_divergence(&p, LOG_PROBABILITIES, job.mode, group, top, below, loss, slopes, curves)
        divergence_outputs(&p, LOG_PROBABILITIES, job.mode, group, top, below, poison, slopes, curves)
    for i in range(group.padded):
        loss[i] += poison[i]


cdef inline Matrix source(const Group* group, int inputs) noexcept nogil:
    """Where the probabilities are, or their logarithms: what was given, or the softmax of it."""
    return group.gradient if inputs == LOGITS else group.scores


cdef inline real probability(int inputs, real x, real t, real top, real below, real* difference) noexcept nogil:
    """q, and its difference from the target, without cancellation where q is the largest."""
    cdef real half = <real>0.5
    cdef real q, apart
    if inputs == LOG_PROBABILITIES:
        q = math.exp(x)
        difference[0] = q - t
        return q
    difference[0] = x - t
    if inputs == LOGITS:
        apart = (<real>1 - t) - below
        difference[0] = apart if (x == top) & (x > half) & (t > half) else difference[0]
    return x


cdef inline bint keeps_slopes(int inputs, int mode) noexcept nogil:
    """Whether the Hessian's place is free for the slopes of the first pass."""
    return inputs != PROBABILITIES and mode & GRADIENT and not mode & HESSIAN


cdef inline void sum_divergence(const DistributionLoss* p, int inputs, int mode, const Group* group, const real* top,
                                const real* below, real* loss, real* slopes, real* curves) noexcept nogil:
    """The loss of each row, and Σ q·∂loss/∂q and Σ q²·∂²loss/∂q²."""
    cdef bint kept = keeps_slopes(inputs, mode)
    cdef real slope_out[WIDTH]
    cdef Matrix hessian = group.hessian
    cdef real line_top[WIDTH]
    cdef real line_below[WIDTH]
    cdef real sums[WIDTH]
    cdef real slope_sums[WIDTH]
    cdef real curve_sums[WIDTH]
    cdef real slope_lows[WIDTH]  # what roundings took from these sums, with which each output is multiplied
    cdef real curve_lows[WIDTH]
    cdef real sums_part[WIDTH]
    cdef real q, difference, slope, curve
    cdef const real* x
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef Matrix numbers = source(group, inputs)
    cdef Py_ssize_t line, first, k, j
    for line in range(group.lines):
        spread(group, line, top, line_top)
        spread(group, line, below, line_below)
        memset(sums, 0, sizeof(sums))
        memset(slope_sums, 0, sizeof(slope_sums))
        memset(curve_sums, 0, sizeof(curve_sums))
        memset(slope_lows, 0, sizeof(slope_lows))
        memset(curve_lows, 0, sizeof(curve_lows))
        for first in range(0, group.count, 8):
            memset(sums_part, 0, sizeof(sums_part))
            for k in range(first, min(group.count, first + 8)):
                x = place(&numbers, line, k, loss)
                t = place(&targets, line, k, loss)
                for j in range(WIDTH):
                    q = probability(inputs, x[j], t[j], line_top[j], line_below[j], &difference)
                    sums_part[j] += divergence(p, q, t[j], difference, &slope, &curve)
                    slope_out[j] = slope
                    add_parts(True, slope_sums + j, slope_lows + j, slope, <real>0)
                    if mode & HESSIAN:
                        add_parts(True, curve_sums + j, curve_lows + j, curve, <real>0)
                if kept:
                    copy_numbers(place(&hessian, line, k, loss), slope_out)
            for j in range(WIDTH):
                sums[j] += sums_part[j]
        for j in range(WIDTH):
            slope_sums[j] += slope_lows[j]
            curve_sums[j] += curve_lows[j]
        fold(group, line, sums, loss)
        fold(group, line, slope_sums, slopes)
        fold(group, line, curve_sums, curves)


cdef inline void divergence_outputs(const DistributionLoss* p, int inputs, int mode, const Group* group,
                                    const real* top, const real* below, const real* poison, const real* slopes,
                                    const real* curves) noexcept nogil:
    cdef real line_top[WIDTH]
    cdef real line_below[WIDTH]
    cdef real line_slope[WIDTH]
    cdef real line_curve[WIDTH]
    cdef real line_poison[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real scale[ROWS]
    cdef real slope_out[WIDTH]
    cdef real curve_out[WIDTH]
    cdef real q, difference, slope, curve
    cdef const real* x
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Matrix numbers = source(group, inputs)
    cdef Py_ssize_t line, k, j
    if not mode & (GRADIENT | HESSIAN):
        return
    scales_of(group, scale)
    if keeps_slopes(inputs, mode):
        gradient_of_slopes(inputs, group, poison, slopes, scale)
        return
    for line in range(group.lines):
        spread(group, line, top, line_top)
        spread(group, line, below, line_below)
        spread(group, line, slopes, line_slope)
        spread(group, line, curves, line_curve)
        spread(group, line, poison, line_poison)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            x = place(&numbers, line, k, slope_out)
            t = place(&targets, line, k, slope_out)
            for j in range(WIDTH):
                q = probability(inputs, x[j], t[j], line_top[j], line_below[j], &difference)
                if inputs == PROBABILITIES:
                    divergence_slopes(p, q, t[j], difference, &slope, &curve)
                else:
                    divergence(p, q, t[j], difference, &slope, &curve)
                if inputs == LOGITS:
                    slope = mad(-q, line_slope[j], slope)
                    curve = mad(<real>1 - (q + q), curve + slope, q * (q * line_curve[j]))
                elif inputs == LOG_PROBABILITIES:
                    curve = slope + curve
                slope_out[j] = (slope + line_poison[j]) * line_scale[j]
                curve_out[j] = (curve + line_poison[j]) * line_scale[j]
            copy_numbers(place(&gradient, line, k, slope_out), slope_out)
            if mode & HESSIAN:
                copy_numbers(place(&hessian, line, k, slope_out), curve_out)


cdef inline void gradient_of_slopes(int inputs, const Group* group, const real* poison, const real* slopes,
                                    const real* scale) noexcept nogil:
    """The same, from what the first pass has left."""
    cdef real line_slope[WIDTH]
    cdef real line_poison[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real out[WIDTH]
    cdef real slope
    cdef const real* x
    cdef const real* kept
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Matrix numbers = source(group, inputs)
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        spread(group, line, slopes, line_slope)
        spread(group, line, poison, line_poison)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            x = place(&numbers, line, k, out)
            kept = place(&hessian, line, k, out)
            for j in range(WIDTH):
                slope = kept[j]
                if inputs == LOGITS:
                    slope = mad(-x[j], line_slope[j], slope)
                out[j] = (slope + line_poison[j]) * line_scale[j]
            copy_numbers(place(&gradient, line, k, out), out)


# ---- losses of ordered classes ---------------------------------------------------------------------------------------

cdef void evaluate_ordered(const RowJob* job, const OrderedLoss* parameters, Group* group, real* loss) noexcept nogil:
    cdef OrderedLoss p = parameters[0]
    cdef real most[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real top[ROWS]
    cdef real below[ROWS]
    cdef real poison[ROWS]
    cdef real scale[ROWS]
    cdef Py_ssize_t i, line
    memset(poison, 0, sizeof(poison))
    scales_of(group, scale)
    if job.inputs == LOGITS:
        probabilities(group, OrderedLoss is EarthMover, most, peak, rest, total, top, below)
    else:
        outside(group, job.inputs == LOG_PROBABILITIES, poison)
    for line in range(group.lines):
        i = line * WIDTH
        if job.inputs == LOGITS:
            ordered_line(&p, LOGITS, job.mode, group, line, poison + i, scale + i, loss + i)
        elif job.inputs == PROBABILITIES:
            ordered_line(&p, PROBABILITIES, job.mode, group, line, poison + i, scale + i, loss + i)
        else:
            ordered_line(&p, LOG_PROBABILITIES, job.mode, group, line, poison + i, scale + i, loss + i)


cdef inline void ordered_line(const OrderedLoss* p, int inputs, int mode, const Group* group, Py_ssize_t line,
                              const real* poison, const real* scale, real* loss) noexcept nogil:
    """Of differences d of cumulated probabilities: Σ f(d), class after class of 16 rows. The differences stay in the
    Hessian's place, the probabilities in the gradient's. Sums that gradients are made of are exact, but for squares:
    theirs are held to terms so large that roundings do not count."""
    cdef real line_poison[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real sums[WIDTH]
    cdef real cumulated[WIDTH]
    cdef real cumulated_low[WIDTH]  # what roundings took; those of a sum of equal numbers fall the same way
    cdef real ahead[WIDTH]
    cdef real slopes[WIDTH]
    cdef real curves[WIDTH]
    cdef real slope_mean[WIDTH]
    cdef real slope_mean_low[WIDTH]
    cdef real curve_mean[WIDTH]
    cdef real slope_out[WIDTH]
    cdef real curve_out[WIDTH]
    cdef real one = <real>1, q, reached, slope, curve, pull, counts
    cdef real* g
    cdef real* h
    cdef const real* x
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Matrix numbers = source(group, inputs)
    cdef Py_ssize_t k, j
    memcpy(line_poison, poison, sizeof(line_poison))
    memcpy(line_scale, scale, sizeof(line_scale))
    memcpy(sums, poison, sizeof(sums))
    memset(cumulated, 0, sizeof(cumulated))
    memset(cumulated_low, 0, sizeof(cumulated_low))
    memset(ahead, 0, sizeof(ahead))
    memset(slope_mean, 0, sizeof(slope_mean))
    memset(slope_mean_low, 0, sizeof(slope_mean_low))
    memset(curve_mean, 0, sizeof(curve_mean))
    for k in range(group.count):
        x = place(&numbers, line, k, loss)
        t = place(&targets, line, k, loss)
        # a softmax sums to 1: no score changes the last difference
        counts = <real>0 if inputs == LOGITS and k == group.count - 1 else one
        for j in range(WIDTH):
            q = math.exp(x[j]) if inputs == LOG_PROBABILITIES else x[j]
            slope_out[j] = q
            add_parts(OrderedLoss is EarthMover, cumulated + j, cumulated_low + j, q, <real>0)
            reached = cumulated[j] + cumulated_low[j]
            ahead[j] += q - t[j]
            curve_out[j] = ahead[j]
            sums[j] += distance(p, ahead[j], &slope, &curve)
            add_parts(OrderedLoss is EarthMover, slope_mean + j, slope_mean_low + j, counts * slope * reached,
                      <real>0)
            curve = curve if counts != <real>0 else <real>0  # not 0·inf
            curve_mean[j] += curve * reached * reached
        copy_numbers(place(&gradient, line, k, loss), slope_out)
        copy_numbers(place(&hessian, line, k, loss), curve_out)
    memcpy(loss, sums, sizeof(sums))
    if not mode & (GRADIENT | HESSIAN):
        return
    for j in range(WIDTH):
        slope_mean[j] += slope_mean_low[j]
    memset(slopes, 0, sizeof(slopes))
    memset(curves, 0, sizeof(curves))
    memset(cumulated, 0, sizeof(cumulated))  # now from the other end
    for k in range(group.count - 1, -1, -1):
        g = place(&gradient, line, k, loss)
        h = place(&hessian, line, k, loss)
        counts = <real>0 if inputs == LOGITS and k == group.count - 1 else one
        for j in range(WIDTH):
            q = g[j]
            distance(p, h[j], &slope, &curve)
            curve = curve if counts != <real>0 else <real>0
            slopes[j] += counts * slope
            if inputs == LOGITS:
                curves[j] += curve * ((cumulated[j] + cumulated[j]) - one)  # 1 - 2·(the sum up to this class)
                cumulated[j] += q
                pull = q * (slopes[j] - slope_mean[j])
                curve = (one - (q + q)) * pull + q * (q * (curves[j] + curve_mean[j]))
            elif inputs == PROBABILITIES:
                curves[j] += curve
                pull = slopes[j]
                curve = curves[j]
            else:
                curves[j] += curve
                pull = q * slopes[j]
                curve = pull + q * (q * curves[j])
            slope_out[j] = (pull + line_poison[j]) * line_scale[j]
            curve_out[j] = (curve + line_poison[j]) * line_scale[j]
        copy_numbers(g, slope_out)
        copy_numbers(h, curve_out)
