# Losses of the target's probability: f(-log q). The formulas are `target_loss` and `target_loss_of_probability` in
# multiclass.pxd.

cdef void evaluate_target(const RowJob* job, const TargetLoss* parameters, Group* group, real* loss) noexcept nogil:
    if job.inputs != LOGITS:
        target_of_probabilities(job, parameters, group, loss)
    elif TargetLoss is CrossEntropy:
        cross_entropy_of_labels(job, group, loss)
    else:
        target_of_logits(job, parameters, group, loss)


cdef inline void cross_entropy_of_labels(const RowJob* job, Group* group, real* loss) noexcept nogil:
    """Cross-entropy, the one loss of the target's probability whose errors do not multiply: q alone, as fast as can
    be."""
    cdef real most[ROWS]
    cdef real shift[ROWS]
    cdef real magic[ROWS]
    cdef real least[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real score[ROWS]  # of the target
    cdef real exponential_of_score[ROWS]
    cdef real log_sum[ROWS]  # less the largest score
    cdef real to_q[ROWS]  # from exponentials to probabilities
    cdef real of_label[ROWS]
    cdef real factor[ROWS]
    cdef real scale[ROWS]
    cdef real ahead, others
    cdef Py_ssize_t i
    if not softmax_of_few(group, most, peak, rest, total, score, exponential_of_score):
        clear_others(group, score)
        of_labels(group, &group.scores, score)
        largest(group, most)
        prepare(group.padded, most, shift, magic, least)
        softmax(group, most, shift, magic, least, peak, rest, total)
        for i in range(group.padded):
            exponential_of_score[i] = exponential(score[i], shift[i], magic[i], least[i], True)
    # Short loops overlap better than one long one: each step of these waits for the one before.
    for i in range(group.padded):
        log_sum[i] = math.log1p_quotient(rest[i], peak[i], total[i], &to_q[i])
    for i in range(group.padded):
        ahead = <real>0 if score[i] == most[i] else most[i] - score[i]
        loss[i] = ahead + log_sum[i]
    if job.mode & PROBABILITY:
        scale_to_hessian(group, to_q)
    if job.mode & HESSIAN:
        for i in range(group.padded):
            factor[i] = <real>1 if job.bound else <real>0  # over 1
        hessian_of_cross_entropy(group, factor, <real>0, peak, rest, total)
    if job.mode & GRADIENT:
        for i in range(group.padded):
            others = rest[i] if score[i] == most[i] else total[i] - exponential_of_score[i]
            scale[i] = <real>group.scales[i]
            of_label[i] = -(others * to_q[i]) * scale[i]
        write_gradient(group, to_q, scale, of_label)


cdef inline void target_of_logits(const RowJob* job, const TargetLoss* parameters, Group* group,
                                  real* loss) noexcept nogil:
    """Others, from probabilities in the gradient's place."""
    cdef TargetLoss p = parameters[0]
    cdef real most[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real top[ROWS]  # the largest probability, and 1 less it
    cdef real below[ROWS]
    cdef real score[ROWS]  # of the target
    cdef real q[ROWS]
    cdef real log_sum[ROWS]  # less the largest score
    cdef real log_sum_low[ROWS]
    cdef real slope[ROWS]  # f' and f'', which are multiplied by q and q²
    cdef real curve[ROWS]
    cdef real target_slope[ROWS]  # the same of the target's class, where they are multiplied by 1 - q
    cdef real target_curve[ROWS]
    cdef real divisor[ROWS]  # of probabilities in the square that f'' is multiplied by
    cdef real scale[ROWS]
    cdef real one = <real>1, unused, ahead, ahead_low, surprise, apart, value, first, second
    cdef Py_ssize_t i
    clear_others(group, score)
    of_labels(group, &group.scores, score)
    probabilities(group, True, most, peak, rest, total, top, below)
    clear_others(group, q)
    of_labels(group, &group.gradient, q)
    for i in range(group.padded):
        log_sum[i] = math.log1p_quotient_high(rest[i], peak[i], total[i], &unused, &log_sum_low[i])
    for i in range(group.padded):
        apart = below[i] if score[i] == most[i] else one - q[i]
        ahead = most[i] - score[i]
        ahead_low = math.difference_rest(most[i], score[i], ahead)
        ahead = <real>0 if score[i] == most[i] else ahead
        surprise = ahead + log_sum[i]
        ahead_low = (ahead_low + log_sum_low[i]) + math.difference_rest(ahead, -log_sum[i], surprise)
        target_loss(&p, surprise, ahead_low, q[i], apart, &value, &first, &second)
        loss[i] = value
        slope[i] = first
        curve[i] = second
        scale[i] = <real>group.scales[i]
        target_slope[i] = first * apart
        target_curve[i] = target_slope[i] * q[i]
        target_curve[i] = second * (one if TargetLoss is Focal else apart * apart) + target_curve[i]
        divisor[i] = apart if TargetLoss is Focal and apart != <real>0 else one
    if job.mode & HESSIAN:
        hessian_of_target(group, top, below, divisor, slope, curve, scale)
        for i in range(group.padded):
            target_curve[i] *= scale[i]
        put_at_labels(group, &group.hessian, target_curve)
    if job.mode & GRADIENT:
        for i in range(group.padded):
            target_slope[i] *= -scale[i]
        write_gradient(group, slope, scale, target_slope)


cdef inline real scaled(real value, real scale) noexcept nogil:
    """Their product; 0 where the scale is, as focal's alpha may be, also of what is infinite."""
    return value * scale if (scale != <real>0) | (value != value) else <real>0


cdef inline void scales_of(const Group* group, real* scales) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(group.padded):
        scales[i] = <real>group.scales[i]


cdef void scale_gradient(const Group* group, const real* factor, const real* scale) noexcept nogil:
    """In the gradient's place: factor · scale times what stands there."""
    cdef real line_factor[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real out[WIDTH]
    cdef real* e
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        spread(group, line, factor, line_factor)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            for j in range(WIDTH):
                out[j] = e[j] * line_factor[j] * line_scale[j]
            copy_numbers(e, out)


cdef void write_gradient(const Group* group, const real* factor, const real* scale,
                         const real* of_label) noexcept nogil:
    """In the gradient's place: factor · scale times what stands there, but `of_label` at each row's label."""
    cdef real line_factor[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real line_of_label[WIDTH]
    cdef real labels[WIDTH]
    cdef real out[WIDTH]
    cdef real label
    cdef real* e
    cdef Matrix gradient = group.gradient
    cdef Py_ssize_t line, k, j
    if not group.across or group.classes > FEW_LABELS:
        scale_gradient(group, factor, scale)
        put_at_labels(group, &group.gradient, of_label)
        return
    for line in range(group.lines):
        spread(group, line, factor, line_factor)
        spread(group, line, scale, line_scale)
        spread(group, line, of_label, line_of_label)
        for j in range(WIDTH):
            labels[j] = <real>group.labels[line * WIDTH + j]
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            label = <real>k
            for j in range(WIDTH):
                out[j] = line_of_label[j] if labels[j] == label else e[j] * line_factor[j] * line_scale[j]
            copy_numbers(e, out)


cdef void scale_to_hessian(const Group* group, const real* factor) noexcept nogil:
    """Probabilities, in the Hessian's place, from exponentials in the gradient's."""
    cdef real line_factor[WIDTH]
    cdef real out[WIDTH]
    cdef const real* e
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        spread(group, line, factor, line_factor)
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            for j in range(WIDTH):
                out[j] = e[j] * line_factor[j]
            copy_numbers(place(&hessian, line, k, out), out)


cdef void hessian_of_target(const Group* group, const real* top, const real* below, const real* divisor,
                            const real* slope, const real* curve, const real* scale) noexcept nogil:
    """slope·q·(1 - q) + curve·(q/divisor)², of classes that are not the target."""
    cdef real line_top[WIDTH]
    cdef real line_below[WIDTH]
    cdef real line_divisor[WIDTH]
    cdef real line_slope[WIDTH]
    cdef real line_curve[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real out[WIDTH]
    cdef real share, rest
    cdef const real* q
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        spread(group, line, top, line_top)
        spread(group, line, below, line_below)
        spread(group, line, divisor, line_divisor)
        spread(group, line, slope, line_slope)
        spread(group, line, curve, line_curve)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            q = place(&gradient, line, k, out)
            for j in range(WIDTH):
                share = q[j] / line_divisor[j]
                rest = <real>1 - q[j]
                rest = line_below[j] if q[j] == line_top[j] else rest
                out[j] = mad(q[j], line_slope[j] * rest, line_curve[j] * share * share) * line_scale[j]
            copy_numbers(place(&hessian, line, k, out), out)


cdef void outside(const Group* group, bint by_log, real* poison) noexcept nogil:
    """NaN in rows with a number that is no probability (or logarithm of one), else 0."""
    cdef real lanes[WIDTH]
    cdef real zero = <real>0
    cdef real least = -<real>1 / zero if by_log else zero
    cdef real most = zero if by_log else <real>1
    cdef const real* z
    cdef Matrix scores = group.scores
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        memset(lanes, 0, sizeof(lanes))
        for k in range(group.count):
            z = place(&scores, line, k, poison)
            for j in range(WIDTH):
                lanes[j] = lanes[j] if (z[j] >= least) & (z[j] <= most) else zero / zero
        fold(group, line, lanes, poison)


cdef inline void target_of_probabilities(const RowJob* job, const TargetLoss* parameters, Group* group,
                                         real* loss) noexcept nogil:
    cdef TargetLoss p = parameters[0]
    cdef bint by_log = job.inputs == LOG_PROBABILITIES
    cdef real poison[ROWS]
    cdef real slope[ROWS]
    cdef real curve[ROWS]
    cdef real score[ROWS]
    cdef real scale[ROWS]
    cdef real q, rest, surprise, low, first, second, value
    cdef Py_ssize_t i
    memset(poison, 0, sizeof(poison))
    outside(group, by_log, poison)
    memset(score, 0, sizeof(score))
    of_labels(group, &group.scores, score)
    for i in range(group.padded):
        if by_log:
            q = math.exp(score[i])
            rest = -math.expm1(score[i])
            surprise = -score[i]
            low = <real>0
        else:
            q = score[i]
            rest = <real>1 - q
            surprise = -math.log(q)
            low = <real>0
            if TargetLoss is GeneralizedCrossEntropy:
                surprise = -math.log_high(q, &low) if q > <real>0 else surprise
                low = -low
        target_loss_of_probability(&p, by_log, surprise, low, q, rest, &value, &first, &second)
        loss[i] = value + poison[i]
        slope[i] = first + poison[i]
        curve[i] = second + poison[i]
    if job.mode & PROBABILITY:
        probabilities_to_hessian(group, by_log, loss)
    if job.mode & GRADIENT:
        fill(group, &group.gradient, poison)
    if job.mode & HESSIAN:
        fill(group, &group.hessian, poison)
    scales_of(group, scale)
    for i in range(group.padded):
        slope[i] = scaled(slope[i], scale[i])
        curve[i] = scaled(curve[i], scale[i])
    if job.mode & GRADIENT:
        put_at_labels(group, &group.gradient, slope)
    if job.mode & HESSIAN:
        put_at_labels(group, &group.hessian, curve)


cdef void fill(const Group* group, const Matrix* matrix, const real* rows) noexcept nogil:
    """Each row's number everywhere in it."""
    cdef real lanes[WIDTH]
    cdef Matrix there = matrix[0]
    cdef Py_ssize_t line, k
    for line in range(group.lines):
        spread(group, line, rows, lanes)
        for k in range(group.count):
            copy_numbers(place(&there, line, k, lanes), lanes)


cdef void probabilities_to_hessian(const Group* group, bint by_log, real* unused) noexcept nogil:
    cdef real out[WIDTH]
    cdef const real* z
    cdef Matrix scores = group.scores
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, k, j
    for line in range(group.lines):
        for k in range(group.count):
            z = place(&scores, line, k, out)
            for j in range(WIDTH):
                out[j] = math.exp(z[j]) if by_log else z[j]
            copy_numbers(place(&hessian, line, k, out), out)
