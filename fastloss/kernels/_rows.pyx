# The hot path of row losses, compiled once per ISA: passes over groups of rows, and the run over the groups of a chunk
# (gather, labels, weights, loss, sums, scatter). No Python objects below `bind`.
#
# A pass goes over numbers 16 at a time. With few classes these are one class of 16 rows, which stand side by side in
# scratch (or in the array itself, where columns are contiguous); with many, 16 classes of one row. What a pass sums up,
# it sums for each of the 16: of 16 rows that is all; of one row, the 16 are then added.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from . cimport math
from .math cimport fastloss_f32_from_bits
from .multiclass cimport (
    CrammerSinger, CrossEntropy, DistributionLoss, Focal, GeneralizedCrossEntropy, MarginLoss, MultilabelMargin,
    OrderedLoss, RowLoss, SoftCrossEntropy, TargetLoss, WestonWatkins, distance, divergence, divergence_slopes,
    target_loss, target_loss_of_probability,
)
from .types cimport (
    BAD_TARGET, BAD_WEIGHT, BOOL8, COUNTED, FLOAT32, FLOAT64, GRADIENT, HESSIAN, INDICATORS, INT16, INT32, INT64, INT8,
    LANES, LOG_CLASSES, LOG_PROBABILITIES, LOGITS, LOSS, MOST_ROWS, NO_MEMORY, PROBABILITIES, PROBABILITY, ROWS, UINT16,
    UINT32, UINT64, UINT8, WEIGHT, WIDTH, Group, Matrix, Partial, RowJob, RowKernel, Stream, Sum, group_f32, group_f64,
    real,
)

include "streams.pxi"


include "sums.pxi"


# Sums are of eight numbers, and then of those sums: rounding errors grow with an eighth of the number of classes.

# Up to so many classes (measured), rows are worked on side by side.
cdef enum:
    FEW_CLASSES = 24
    # numbers of a group of rows with many classes, about: what stays in the L2 cache
    GROUP = 32768


# ---- matrices --------------------------------------------------------------------------------------------------------

cdef inline real* place(const Matrix* matrix, Py_ssize_t line, Py_ssize_t k, real* unused) noexcept nogil:
    """The k-th 16 numbers of a line."""
    if k == matrix.last:
        return <real*>matrix.tail + line * (2 * WIDTH)
    return <real*>matrix.data + line * matrix.pitch + k * matrix.step


cdef inline real* element(const Group* group, const Matrix* matrix, Py_ssize_t row, Py_ssize_t c,
                          real* unused) noexcept nogil:
    """A row's number of class c."""
    if group.across:
        return <real*>matrix.data + row // WIDTH * matrix.pitch + c * matrix.step + row % WIDTH
    return place(matrix, row, c // WIDTH, unused) + c % WIDTH


# What is known of each row, beside the 16 numbers of a line.

cdef inline void spread(const Group* group, Py_ssize_t line, const real* rows, real* lanes) noexcept nogil:
    cdef Py_ssize_t j
    cdef real one = rows[line]
    if group.across:
        memcpy(lanes, rows + line * WIDTH, WIDTH * sizeof(real))
    else:
        for j in range(WIDTH):
            lanes[j] = one


cdef inline void fold(const Group* group, Py_ssize_t line, real* lanes, real* rows) noexcept nogil:
    """The sums of a line: of each of its rows, or of its one row."""
    cdef Py_ssize_t j
    if group.across:
        memcpy(rows + line * WIDTH, lanes, WIDTH * sizeof(real))
        return
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    rows[line] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline real larger(real a, real b) noexcept nogil:
    """The larger of two numbers; b where a is NaN."""
    return a if a > b else b


# ---- softmax ---------------------------------------------------------------------------------------------------------

cdef void largest(const Group* group, real* most) noexcept nogil:
    """The largest score of each row, but for NaN."""
    cdef real lanes[4 * WIDTH]
    cdef real line_most[WIDTH]
    cdef real lowest = <real>-1 / <real>0
    cdef const real* x
    cdef Matrix scores = group.scores
    cdef Py_ssize_t line, k, j
    memset(most, 0, ROWS * sizeof(real))
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
            memcpy(most + line * WIDTH, line_most, WIDTH * sizeof(real))
        else:
            for j in range(8):
                line_most[j] = larger(line_most[j], line_most[j + 8])
            for j in range(4):
                line_most[j] = larger(line_most[j], line_most[j + 4])
            most[line] = larger(larger(line_most[0], line_most[2]), larger(line_most[1], line_most[3]))


cdef inline real exponential(real z, real shift, real magic, real least, bint infinite) noexcept nogil:
    """exp(z) times the power of 2 of its row; where the largest score is infinite, its limit."""
    # Where the largest score of a row is so large that it is the shift, all scores that count are so near to it that
    # the difference is exact.
    z = <real>0 if infinite and z == shift else z - shift
    return math.exp_scaled(z, magic, least)


cdef void exponentials(const Group* group, const real* most, const real* shift, const real* magic, const real* least,
                       real* rest, real* total) noexcept nogil:
    """The exponentials of all scores, into the gradient's place; their sum in each row, and that without those of the
    largest score."""
    cdef bint infinite
    cdef Py_ssize_t first, line, lines
    if not group.across:
        for line in range(group.lines):
            if is_infinite(group, line, most):
                exponentials_of_lines(group, line, 1, True, most, shift, magic, least, rest, total)
            else:
                exponentials_of_lines(group, line, 1, False, most, shift, magic, least, rest, total)
        return
    for first in range(0, group.lines, 4):
        lines = min(<Py_ssize_t>4, group.lines - first)
        infinite = False
        for line in range(first, first + lines):
            infinite |= is_infinite(group, line, most)
        if infinite:
            exponentials_of_lines(group, first, lines, True, most, shift, magic, least, rest, total)
        else:
            exponentials_of_lines(group, first, lines, False, most, shift, magic, least, rest, total)


cdef inline bint is_infinite(const Group* group, Py_ssize_t line, const real* rows) noexcept nogil:
    """Whether a number of a line's rows is."""
    cdef Py_ssize_t j
    cdef int64_t odd64 = 0
    cdef int32_t odd32 = 0
    if not group.across:
        return rows[line] - rows[line] != <real>0
    for j in range(line * WIDTH, line * WIDTH + WIDTH):
        if real is double:
            odd64 |= rows[j] - rows[j] != <real>0
        else:
            odd32 |= rows[j] - rows[j] != <real>0
    return (odd64 | odd32) != 0


cdef inline void exponentials_of_lines(const Group* group, Py_ssize_t first_line, Py_ssize_t lines, bint infinite,
                                       const real* most, const real* shift, const real* magic, const real* least,
                                       real* rest, real* total) noexcept nogil:
    # Up to four lines at a time: a short one alone would spend its time on waiting for its own results.
    cdef real line_most[4 * WIDTH]
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
        spread(group, first_line + line, most, line_most + line * WIDTH)
        spread(group, first_line + line, shift, line_shift + line * WIDTH)
        spread(group, first_line + line, magic, line_magic + line * WIDTH)
        spread(group, first_line + line, least, line_least + line * WIDTH)
    memset(rests, 0, lines * WIDTH * sizeof(real))
    memset(sums, 0, lines * WIDTH * sizeof(real))
    for first in range(0, group.count, 8):
        memset(rest_part, 0, lines * WIDTH * sizeof(real))
        memset(part, 0, lines * WIDTH * sizeof(real))
        for k in range(first, min(group.count, first + 8)):
            for line in range(lines):
                i = line * WIDTH
                z = place(&scores, first_line + line, k, rest)
                for j in range(WIDTH):
                    e = exponential(z[j], line_shift[i + j], line_magic[i + j], line_least[i + j], infinite)
                    out[j] = e
                    part[i + j] += e
                    rest_part[i + j] = rest_part[i + j] if z[j] == line_most[i + j] else rest_part[i + j] + e
                memcpy(place(&gradient, first_line + line, k, rest), out, WIDTH * sizeof(real))
        for j in range(lines * WIDTH):
            sums[j] += part[j]
            rests[j] += rest_part[j]
    for line in range(lines):
        fold(group, first_line + line, rests + line * WIDTH, rest)
        fold(group, first_line + line, sums + line * WIDTH, total)


cdef inline void prepare(const Group* group, const real* most, real* shift, real* magic, real* least) noexcept nogil:
    """What `exponential` takes in each row."""
    cdef Py_ssize_t i
    cdef real limit
    if real is double:
        limit = <double>1500
    else:
        limit = <float>250
    for i in range(group.padded):
        shift[i] = most[i] if math.absolute(most[i]) > limit else <real>0
        magic[i] = math.exp_magic(<real>0 if shift[i] != <real>0 else most[i], &least[i])


cdef inline void softmax(const Group* group, const real* most, real* shift, real* magic, real* least, real* peak,
                         real* rest, real* total) noexcept nogil:
    """Exponentials, into the gradient's place; of each row that of its largest score, the sum of the others, and of
    all. Where no limit exists, the sums are NaN."""
    cdef real infinity = <real>1 / <real>0
    cdef real nan = <real>0 / <real>0
    cdef real none
    cdef bint tied
    cdef Py_ssize_t i
    prepare(group, most, shift, magic, least)
    memset(rest, 0, ROWS * sizeof(real))
    memset(total, 0, ROWS * sizeof(real))
    exponentials(group, most, shift, magic, least, rest, total)
    for i in range(group.padded):
        peak[i] = exponential(most[i], shift[i], magic[i], least[i], True)
        # where the largest score occurs again, its exponential is the least that the others sum to
        tied = total[i] - rest[i] > <real>1.5 * peak[i]
        rest[i] = total[i] - peak[i] if tied else rest[i]
        none = nan if (most[i] == -infinity) | ((most[i] == infinity) & tied) else <real>0
        rest[i] += none
        total[i] = rest[i] + peak[i]


# ---- losses of the target's probability ------------------------------------------------------------------------------

cdef void evaluate_target(const RowJob* job, const TargetLoss* parameters, Group* group, real* loss) noexcept nogil:
    if job.inputs == LOGITS:
        target_of_logits(job, parameters, group, loss)
    else:
        target_of_probabilities(job, parameters, group, loss)


cdef inline void target_of_logits(const RowJob* job, const TargetLoss* parameters, Group* group,
                                  real* loss) noexcept nogil:
    cdef TargetLoss p = parameters[0]
    cdef real most[ROWS]
    cdef real shift[ROWS]
    cdef real magic[ROWS]
    cdef real least[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real score[ROWS]  # of the target
    cdef real q[ROWS]
    cdef real slope[ROWS]  # f' and f'', which are multiplied by q and q²
    cdef real curve[ROWS]
    cdef real target_slope[ROWS]  # the same of the target's class, where they are multiplied by rest = 1 - q
    cdef real target_curve[ROWS]
    cdef real to_share[ROWS]  # from exponentials to what f' is multiplied by: q, or q/rest
    cdef real to_q[ROWS]
    cdef real rest_of_peak[ROWS]
    cdef real scale[ROWS]
    cdef real zero = <real>0, one = <real>1, others, ahead, ahead_low, log_sum, surprise, e, value, first, second, apart
    cdef Py_ssize_t i
    memset(score, 0, sizeof(score))
    for i in range(group.rows):
        score[i] = element(group, &group.scores, i, max(group.labels[i], 0), loss)[0]
    largest(group, most)
    softmax(group, most, shift, magic, least, peak, rest, total)
    for i in range(group.padded):
        e = exponential(score[i], shift[i], magic[i], least[i], True)
        others = rest[i] if score[i] == most[i] else total[i] - e
        to_q[i] = one / total[i]
        q[i] = e * to_q[i] if TargetLoss is CrossEntropy else e / total[i]
        apart = others * to_q[i] if TargetLoss is CrossEntropy else others / total[i]
        ahead = most[i] - score[i]
        ahead_low = math.difference_rest(most[i], score[i], ahead)
        ahead = zero if score[i] == most[i] else ahead
        log_sum = math.log1p(rest[i] / peak[i])
        surprise = ahead + log_sum
        ahead_low = ahead_low + math.difference_rest(ahead, -log_sum, surprise)
        target_loss(&p, surprise, ahead_low, q[i], apart, &value, &first, &second)
        loss[i] = value
        scale[i] = <real>group.scales[i]
        slope[i] = first
        curve[i] = second
        if TargetLoss is Focal:
            to_share[i] = one / others if others != zero else zero
            target_slope[i] = first
            target_curve[i] = second
        else:
            to_share[i] = to_q[i]
            target_slope[i] = first * apart
            target_curve[i] = second * apart * apart
    if job.mode & PROBABILITY:
        scale_to_hessian(group, to_q)
    if job.mode & HESSIAN:
        for i in range(group.padded):
            rest_of_peak[i] = rest[i] * to_q[i]
        hessian_of_target(group, job.bound, peak, rest_of_peak, to_q, to_share, slope, curve)
        for i in range(group.rows):
            value = target_slope[i] * q[i]
            value = target_curve[i] + (value + value if job.bound else value)
            element(group, &group.hessian, i, max(group.labels[i], 0), loss)[0] = value * scale[i]
    if job.mode & GRADIENT:
        for i in range(group.padded):
            slope[i] *= scale[i]
        scale_gradient(group, to_share, slope)
        for i in range(group.rows):
            element(group, &group.gradient, i, max(group.labels[i], 0), loss)[0] = -target_slope[i] * scale[i]


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
            memcpy(e, out, WIDTH * sizeof(real))


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
            memcpy(place(&hessian, line, k, out), out, WIDTH * sizeof(real))


cdef void hessian_of_target(const Group* group, bint bound, const real* peak, const real* rest_of_peak,
                            const real* to_q, const real* to_share, const real* slope,
                            const real* curve) noexcept nogil:
    """slope·share·(1 - q) + curve·share², of classes that are not the target."""
    cdef real line_peak[WIDTH]
    cdef real line_rest[WIDTH]
    cdef real line_q[WIDTH]
    cdef real line_share[WIDTH]
    cdef real line_slope[WIDTH]
    cdef real line_curve[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real scale[ROWS]
    cdef real out[WIDTH]
    cdef real share, rest, twice = <real>2 if bound else <real>1
    cdef const real* e
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, k, j
    scales_of(group, scale)
    for line in range(group.lines):
        spread(group, line, peak, line_peak)
        spread(group, line, rest_of_peak, line_rest)
        spread(group, line, to_q, line_q)
        spread(group, line, to_share, line_share)
        spread(group, line, slope, line_slope)
        spread(group, line, curve, line_curve)
        spread(group, line, scale, line_scale)
        for j in range(WIDTH):
            line_slope[j] *= twice
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            for j in range(WIDTH):
                share = e[j] * line_share[j]
                rest = <real>1 - e[j] * line_q[j]
                rest = line_rest[j] if e[j] == line_peak[j] else rest
                out[j] = share * (line_slope[j] * rest + line_curve[j] * share) * line_scale[j]
            memcpy(place(&hessian, line, k, out), out, WIDTH * sizeof(real))


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
    cdef real q, rest, surprise, low, first, second, value
    cdef Py_ssize_t i
    memset(poison, 0, sizeof(poison))
    outside(group, by_log, poison)
    memset(score, 0, sizeof(score))
    for i in range(group.rows):
        score[i] = element(group, &group.scores, i, max(group.labels[i], 0), loss)[0]
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
    for i in range(group.rows):
        if job.mode & GRADIENT:
            element(group, &group.gradient, i, max(group.labels[i], 0), loss)[0] = slope[i] * <real>group.scales[i]
        if job.mode & HESSIAN:
            element(group, &group.hessian, i, max(group.labels[i], 0), loss)[0] = curve[i] * <real>group.scales[i]


cdef void fill(const Group* group, const Matrix* matrix, const real* rows) noexcept nogil:
    """Each row's number everywhere in it."""
    cdef real lanes[WIDTH]
    cdef Matrix there = matrix[0]
    cdef Py_ssize_t line, k
    for line in range(group.lines):
        spread(group, line, rows, lanes)
        for k in range(group.count):
            memcpy(place(&there, line, k, lanes), lanes, WIDTH * sizeof(real))


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
            memcpy(place(&hessian, line, k, out), out, WIDTH * sizeof(real))


# ---- cross-entropy of distributions ----------------------------------------------------------------------------------

cdef void cross(const Group* group, const real* most, real* cost) noexcept nogil:
    """Σ t·(most - z) of each row: what cross-entropy has beside a logarithm, without cancellation."""
    cdef real line_most[WIDTH]
    cdef real costs[WIDTH]
    cdef Py_ssize_t line
    for line in range(group.lines):
        spread(group, line, most, line_most)
        memset(costs, 0, sizeof(costs))
        if is_infinite(group, line, most):
            cross_line(group, line, True, line_most, costs)
        else:
            cross_line(group, line, False, line_most, costs)
        fold(group, line, costs, cost)


cdef inline void cross_line(const Group* group, Py_ssize_t line, bint infinite, const real* most,
                            real* costs) noexcept nogil:
    cdef real zero = <real>0, behind
    cdef const real* z
    cdef const real* t
    cdef Matrix scores = group.scores
    cdef Matrix targets = group.targets
    cdef real part[WIDTH]
    cdef Py_ssize_t first, k, j
    for first in range(0, group.count, 8):
        memset(part, 0, sizeof(part))
        for k in range(first, min(group.count, first + 8)):
            z = place(&scores, line, k, costs)
            t = place(&targets, line, k, costs)
            for j in range(WIDTH):
                behind = most[j] - z[j]
                if infinite:
                    behind = zero if z[j] == most[j] else behind
                part[j] = part[j] if t[j] == zero else math.mad(t[j], behind, part[j])
        for j in range(WIDTH):
            costs[j] += part[j]


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
    cdef real rest_of_peak[ROWS]
    cdef real pull[ROWS]
    cdef real two = <real>2, z_loss = <real>p.z_loss, temperature = <real>job.temperature
    cdef real log_sum, from_peak, mass
    cdef Py_ssize_t i
    memset(cost, 0, sizeof(cost))
    memset(entropy, 0, sizeof(entropy))
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
    cross(group, most, cost)
    softmax(group, most, shift, magic, least, peak, rest, total)
    for i in range(group.padded):
        log_sum = math.log1p(rest[i] / peak[i])
        mass = <real>group.masses[i]
        from_peak = most[i] + log_sum  # logsumexp
        loss[i] = math.mad(mass, log_sum, cost[i]) + entropy[i]
        loss[i] = temperature * temperature * loss[i]
        pull[i] = mass
        if z_loss != <real>0:
            loss[i] = loss[i] + z_loss * from_peak * from_peak
            pull[i] = mass + two * z_loss * from_peak
        to_q[i] = <real>1 / total[i]
        rest_of_peak[i] = rest[i] / total[i]
    if job.mode & PROBABILITY:
        scale_to_hessian(group, to_q)
    if job.mode & HESSIAN:
        hessian_of_cross_entropy(group, <real>2 if job.bound else <real>1, two * z_loss, peak, rest_of_peak, to_q, pull)
    if job.mode & GRADIENT:
        for i in range(group.padded):
            pull[i] = pull[i] / total[i]
        gradient_of_cross_entropy(group, temperature, pull)


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
            memcpy(e, out, WIDTH * sizeof(real))


cdef void hessian_of_cross_entropy(const Group* group, real times, real square, const real* peak,
                                   const real* rest_of_peak, const real* to_q, const real* pull) noexcept nogil:
    """times · pull · q·(1 - q) + square · q²"""
    cdef real line_peak[WIDTH]
    cdef real line_rest[WIDTH]
    cdef real line_q[WIDTH]
    cdef real line_pull[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real scale[ROWS]
    cdef real out[WIDTH]
    cdef real q, rest
    cdef const real* e
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Py_ssize_t line, k, j
    scales_of(group, scale)
    for line in range(group.lines):
        spread(group, line, peak, line_peak)
        spread(group, line, rest_of_peak, line_rest)
        spread(group, line, to_q, line_q)
        spread(group, line, pull, line_pull)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            e = place(&gradient, line, k, out)
            for j in range(WIDTH):
                q = e[j] * line_q[j]
                rest = <real>1 - q
                rest = line_rest[j] if e[j] == line_peak[j] else rest
                out[j] = (times * line_pull[j] * rest + square * q) * q * line_scale[j]
            memcpy(place(&hessian, line, k, out), out, WIDTH * sizeof(real))


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
                    memcpy(place(&gradient, line, k, cost), slopes, WIDTH * sizeof(real))
                if job.mode & HESSIAN:
                    memcpy(place(&hessian, line, k, cost), curves, WIDTH * sizeof(real))
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
    cdef real shift[ROWS]
    cdef real magic[ROWS]
    cdef real least[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real rest_of_peak[ROWS]
    cdef real slopes[ROWS]
    cdef real curves[ROWS]
    cdef real poison[ROWS]
    cdef Py_ssize_t i
    memset(slopes, 0, sizeof(slopes))
    memset(curves, 0, sizeof(curves))
    memset(poison, 0, sizeof(poison))
    memset(loss, 0, ROWS * sizeof(real))
    if job.inputs == LOGITS:
        largest(group, most)
        softmax(group, most, shift, magic, least, peak, rest, total)
        for i in range(group.padded):
            rest_of_peak[i] = rest[i] / total[i]
        sum_divergence(&p, LOGITS, group, peak, rest_of_peak, total, loss, slopes, curves)
        divergence_outputs(&p, LOGITS, job.mode, group, peak, rest_of_peak, total, poison, slopes, curves)
        return
    for i in range(group.padded):
        peak[i] = rest_of_peak[i] = total[i] = <real>1
    outside(group, job.inputs == LOG_PROBABILITIES, poison)
    if job.inputs == PROBABILITIES:
        sum_divergence(&p, PROBABILITIES, group, peak, rest_of_peak, total, loss, slopes, curves)
        divergence_outputs(&p, PROBABILITIES, job.mode, group, peak, rest_of_peak, total, poison, slopes, curves)
    else:
        sum_divergence(&p, LOG_PROBABILITIES, group, peak, rest_of_peak, total, loss, slopes, curves)
        divergence_outputs(&p, LOG_PROBABILITIES, job.mode, group, peak, rest_of_peak, total, poison, slopes, curves)
    for i in range(group.padded):
        loss[i] += poison[i]


cdef inline Matrix source(const Group* group, int inputs) noexcept nogil:
    """Where the probabilities come from: scores, or their exponentials."""
    return group.gradient if inputs == LOGITS else group.scores


cdef inline real probability(int inputs, real x, real t, real peak, real rest_of_peak, real total,
                             real* difference) noexcept nogil:
    """q, and its difference from the target, without cancellation where q is the largest."""
    cdef real half = <real>0.5
    cdef real q, apart
    if inputs == LOG_PROBABILITIES:
        q = math.exp(x)
        difference[0] = q - t
        return q
    q = x / total if inputs == LOGITS else x
    apart = (<real>1 - t) - rest_of_peak
    difference[0] = q - t
    if inputs == LOGITS:
        difference[0] = apart if (x == peak) & (q > half) & (t > half) else difference[0]
    return q


cdef inline void sum_divergence(const DistributionLoss* p, int inputs, const Group* group, const real* peak,
                                const real* rest_of_peak, const real* total, real* loss, real* slopes,
                                real* curves) noexcept nogil:
    """The loss of each row, and Σ q·∂loss/∂q and Σ q²·∂²loss/∂q²."""
    cdef real line_peak[WIDTH]
    cdef real line_rest[WIDTH]
    cdef real line_total[WIDTH]
    cdef real sums[WIDTH]
    cdef real slope_sums[WIDTH]
    cdef real curve_sums[WIDTH]
    cdef real q, difference, slope, curve
    cdef const real* x
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef Matrix numbers = source(group, inputs)
    cdef real sums_part[WIDTH]
    cdef real slope_sums_part[WIDTH]
    cdef real curve_sums_part[WIDTH]
    cdef Py_ssize_t line, first, k, j
    for line in range(group.lines):
        spread(group, line, peak, line_peak)
        spread(group, line, rest_of_peak, line_rest)
        spread(group, line, total, line_total)
        memset(sums, 0, sizeof(sums))
        memset(slope_sums, 0, sizeof(slope_sums))
        memset(curve_sums, 0, sizeof(curve_sums))
        for first in range(0, group.count, 8):
            memset(sums_part, 0, sizeof(sums_part))
            memset(slope_sums_part, 0, sizeof(slope_sums_part))
            memset(curve_sums_part, 0, sizeof(curve_sums_part))
            for k in range(first, min(group.count, first + 8)):
                x = place(&numbers, line, k, loss)
                t = place(&targets, line, k, loss)
                for j in range(WIDTH):
                    q = probability(inputs, x[j], t[j], line_peak[j], line_rest[j], line_total[j], &difference)
                    sums_part[j] += divergence(p, q, t[j], difference, &slope, &curve)
                    slope_sums_part[j] += slope
                    curve_sums_part[j] += curve
            for j in range(WIDTH):
                sums[j] += sums_part[j]
                slope_sums[j] += slope_sums_part[j]
                curve_sums[j] += curve_sums_part[j]
        fold(group, line, sums, loss)
        fold(group, line, slope_sums, slopes)
        fold(group, line, curve_sums, curves)


cdef inline void divergence_outputs(const DistributionLoss* p, int inputs, int mode, const Group* group,
                                    const real* peak, const real* rest_of_peak, const real* total, const real* poison,
                                    const real* slopes, const real* curves) noexcept nogil:
    cdef real line_peak[WIDTH]
    cdef real line_rest[WIDTH]
    cdef real line_total[WIDTH]
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
    for line in range(group.lines):
        spread(group, line, peak, line_peak)
        spread(group, line, rest_of_peak, line_rest)
        spread(group, line, total, line_total)
        spread(group, line, slopes, line_slope)
        spread(group, line, curves, line_curve)
        spread(group, line, poison, line_poison)
        spread(group, line, scale, line_scale)
        for k in range(group.count):
            x = place(&numbers, line, k, slope_out)
            t = place(&targets, line, k, slope_out)
            for j in range(WIDTH):
                q = probability(inputs, x[j], t[j], line_peak[j], line_rest[j], line_total[j], &difference)
                if inputs == PROBABILITIES:
                    divergence_slopes(p, q, t[j], difference, &slope, &curve)
                else:
                    divergence(p, q, t[j], difference, &slope, &curve)
                if inputs == LOGITS:
                    slope = slope - q * line_slope[j]
                    curve = (<real>1 - (q + q)) * (curve + slope) + q * (q * line_curve[j])
                elif inputs == LOG_PROBABILITIES:
                    curve = slope + curve
                slope_out[j] = (slope + line_poison[j]) * line_scale[j]
                curve_out[j] = (curve + line_poison[j]) * line_scale[j]
            memcpy(place(&gradient, line, k, slope_out), slope_out, WIDTH * sizeof(real))
            if mode & HESSIAN:
                memcpy(place(&hessian, line, k, slope_out), curve_out, WIDTH * sizeof(real))


# ---- losses of ordered classes ---------------------------------------------------------------------------------------

cdef void evaluate_ordered(const RowJob* job, const OrderedLoss* parameters, Group* group, real* loss) noexcept nogil:
    cdef OrderedLoss p = parameters[0]
    cdef real most[ROWS]
    cdef real shift[ROWS]
    cdef real magic[ROWS]
    cdef real least[ROWS]
    cdef real peak[ROWS]
    cdef real rest[ROWS]
    cdef real total[ROWS]
    cdef real poison[ROWS]
    cdef real scale[ROWS]
    cdef Py_ssize_t i, line
    memset(poison, 0, sizeof(poison))
    memset(total, 0, sizeof(total))
    scales_of(group, scale)
    if job.inputs == LOGITS:
        largest(group, most)
        softmax(group, most, shift, magic, least, peak, rest, total)
    else:
        outside(group, job.inputs == LOG_PROBABILITIES, poison)
    for line in range(group.lines):
        i = line * WIDTH
        if job.inputs == LOGITS:
            ordered_line(&p, LOGITS, job.mode, group, line, total + i, poison + i, scale + i, loss + i)
        elif job.inputs == PROBABILITIES:
            ordered_line(&p, PROBABILITIES, job.mode, group, line, total + i, poison + i, scale + i, loss + i)
        else:
            ordered_line(&p, LOG_PROBABILITIES, job.mode, group, line, total + i, poison + i, scale + i, loss + i)


cdef inline void ordered_line(const OrderedLoss* p, int inputs, int mode, const Group* group, Py_ssize_t line,
                              const real* total, const real* poison, const real* scale, real* loss) noexcept nogil:
    """Of differences d of cumulated probabilities: Σ f(d), class after class of 16 rows. The differences stay in the
    Hessian's place, the probabilities in the gradient's."""
    cdef real line_total[WIDTH]
    cdef real line_poison[WIDTH]
    cdef real line_scale[WIDTH]
    cdef real sums[WIDTH]
    cdef real cumulated[WIDTH]
    cdef real ahead[WIDTH]
    cdef real slopes[WIDTH]
    cdef real curves[WIDTH]
    cdef real slope_mean[WIDTH]
    cdef real curve_mean[WIDTH]
    cdef real slope_out[WIDTH]
    cdef real curve_out[WIDTH]
    cdef real one = <real>1, q, slope, curve, pull, counts
    cdef real* g
    cdef real* h
    cdef const real* x
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef Matrix gradient = group.gradient
    cdef Matrix hessian = group.hessian
    cdef Matrix numbers = source(group, inputs)
    cdef Py_ssize_t k, j
    memcpy(line_total, total, sizeof(line_total))
    memcpy(line_poison, poison, sizeof(line_poison))
    memcpy(line_scale, scale, sizeof(line_scale))
    memcpy(sums, poison, sizeof(sums))
    memset(cumulated, 0, sizeof(cumulated))
    memset(ahead, 0, sizeof(ahead))
    memset(slope_mean, 0, sizeof(slope_mean))
    memset(curve_mean, 0, sizeof(curve_mean))
    for k in range(group.count):
        x = place(&numbers, line, k, loss)
        t = place(&targets, line, k, loss)
        # a softmax sums to 1: no score changes the last difference
        counts = <real>0 if inputs == LOGITS and k == group.count - 1 else one
        for j in range(WIDTH):
            q = x[j] / line_total[j] if inputs == LOGITS else x[j]
            if inputs == LOG_PROBABILITIES:
                q = math.exp(x[j])
            slope_out[j] = q
            cumulated[j] += q
            ahead[j] += q - t[j]
            curve_out[j] = ahead[j]
            sums[j] += distance(p, ahead[j], &slope, &curve)
            slope_mean[j] += counts * slope * cumulated[j]
            curve = curve if counts != <real>0 else <real>0  # not 0·inf
            curve_mean[j] += curve * cumulated[j] * cumulated[j]
        memcpy(place(&gradient, line, k, loss), slope_out, WIDTH * sizeof(real))
        memcpy(place(&hessian, line, k, loss), curve_out, WIDTH * sizeof(real))
    memcpy(loss, sums, sizeof(sums))
    if not mode & (GRADIENT | HESSIAN):
        return
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
        memcpy(g, slope_out, WIDTH * sizeof(real))
        memcpy(h, curve_out, WIDTH * sizeof(real))


# ---- losses of margins -----------------------------------------------------------------------------------------------

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
    label = max(label, 0)
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
    label = max(label, 0)
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


# ---- in and out ------------------------------------------------------------------------------------------------------

cdef void load(const Stream* stream, Py_ssize_t first, const Group* group, Matrix* matrix, real pad) noexcept nogil:
    """Rows of an array, converted, into a group's scratch; what is not filled is 0 across, else pad."""
    cdef Py_ssize_t i, c, line, rows, classes = group.classes
    cdef Py_ssize_t down = stream.outer_stride, along = stream.inner_stride
    cdef const char* data = stream.data + first * down
    cdef const real* row
    cdef const real* second
    cdef const real* third
    cdef const real* fourth
    cdef real* out = <real*>matrix.data
    cdef int own = FLOAT64 if real is double else FLOAT32
    if not group.across:
        for i in range(group.rows):
            read_strided(data + i * down, along, classes, stream.dtype, out + i * matrix.pitch)
            for c in range(classes, group.count * WIDTH):
                out[i * matrix.pitch + c] = pad
        return
    for line in range(group.lines):
        out = <real*>matrix.data + line * matrix.pitch
        rows = min(<Py_ssize_t>WIDTH, group.rows - line * WIDTH)
        if rows < WIDTH:
            memset(out, 0, classes * WIDTH * sizeof(real))
        if stream.dtype == own and along == sizeof(real):
            for i in range(0, rows - 3, 4):  # four at a time: rows are short
                row = <const real*>(data + (line * WIDTH + i) * down)
                second = <const real*>(<const char*>row + down)
                third = <const real*>(<const char*>second + down)
                fourth = <const real*>(<const char*>third + down)
                for c in range(classes):
                    out[c * WIDTH + i] = row[c]
                    out[c * WIDTH + i + 1] = second[c]
                    out[c * WIDTH + i + 2] = third[c]
                    out[c * WIDTH + i + 3] = fourth[c]
            for i in range(rows // 4 * 4, rows):
                row = <const real*>(data + (line * WIDTH + i) * down)
                for c in range(classes):
                    out[c * WIDTH + i] = row[c]
        else:
            for c in range(classes):
                read_strided(data + line * WIDTH * down + c * along, down, rows, stream.dtype, out + c * WIDTH)


cdef void store(const Stream* stream, Py_ssize_t first, const Group* group, const Matrix* matrix,
                real* unused) noexcept nogil:
    """A group's scratch into the rows of an array."""
    cdef Py_ssize_t i = 0, c, classes = group.classes
    cdef char* data = stream.data + first * stream.outer_stride
    cdef Py_ssize_t down = stream.outer_stride, along = stream.inner_stride
    cdef Py_ssize_t step = WIDTH if group.across else 1
    cdef const real* values
    cdef real* row
    cdef real* second
    cdef real* third
    cdef real* fourth
    if group.across and along == sizeof(real):
        while i + 4 <= group.rows:
            values = <const real*>matrix.data + (i // WIDTH) * matrix.pitch + i % WIDTH
            row = <real*>(data + i * down)
            second = <real*>(<char*>row + down)
            third = <real*>(<char*>second + down)
            fourth = <real*>(<char*>third + down)
            for c in range(classes):
                row[c] = values[c * WIDTH]
                second[c] = values[c * WIDTH + 1]
                third[c] = values[c * WIDTH + 2]
                fourth[c] = values[c * WIDTH + 3]
            i += 4
    while i < group.rows:
        values = <const real*>matrix.data + i * matrix.pitch
        if group.across:
            values = <const real*>matrix.data + (i // WIDTH) * matrix.pitch + i % WIDTH
        for c in range(classes):
            (<real*>(data + i * down + c * along))[0] = values[c * step]
        i += 1


cdef inline bint is_direct(const Stream* stream, const Group* group, real* unused) noexcept nogil:
    """Whether a group can work on the array's own memory."""
    cdef int own = FLOAT64 if real is double else FLOAT32
    if stream.data == NULL or stream.dtype != own:
        return False
    if group.across:
        return stream.outer_stride == sizeof(real) and group.rows % WIDTH == 0
    return stream.inner_stride == sizeof(real)


cdef inline void point(const Stream* stream, Py_ssize_t first, const Group* group, bint direct, real* scratch,
                       real* tail, Matrix* matrix) noexcept nogil:
    """Where a group's numbers are: in the array, but for what would reach beyond its rows, or in scratch."""
    matrix.last = -1
    matrix.step = WIDTH
    matrix.data = scratch
    matrix.pitch = group.count * WIDTH
    if not direct:
        return
    matrix.data = stream.data + first * stream.outer_stride
    if group.across:
        matrix.step = stream.inner_stride // <Py_ssize_t>sizeof(real)
        matrix.pitch = WIDTH
    else:
        matrix.pitch = stream.outer_stride // <Py_ssize_t>sizeof(real)
        if group.classes % WIDTH != 0:
            matrix.last = group.count - 1
            matrix.tail = tail + WIDTH


# Tails have room for 16 numbers before them, so that 16 can be copied, of which the last ones count.

cdef void load_tails(const Group* group, const Matrix* matrix, real pad) noexcept nogil:
    cdef Py_ssize_t i, j, filled = group.classes % WIDTH
    cdef real* tail
    for i in range(group.rows):
        tail = <real*>matrix.tail + i * (2 * WIDTH)
        memcpy(tail - (WIDTH - filled), <real*>matrix.data + i * matrix.pitch + group.classes - WIDTH,
               WIDTH * sizeof(real))
        for j in range(filled, WIDTH):
            tail[j] = pad


cdef void store_tails(const Group* group, const Matrix* matrix, real* unused) noexcept nogil:
    cdef Py_ssize_t i, filled = group.classes % WIDTH
    cdef real* tail
    cdef real* end
    for i in range(group.rows):
        tail = <real*>matrix.tail + i * (2 * WIDTH)
        end = <real*>matrix.data + i * matrix.pitch + group.classes
        memcpy(tail - WIDTH, end - filled - WIDTH, WIDTH * sizeof(real))
        memcpy(end - WIDTH, tail - (WIDTH - filled), WIDTH * sizeof(real))


# ---- targets and weights ---------------------------------------------------------------------------------------------

cdef int read_labels(const RowJob* job, Py_ssize_t first, Group* group) noexcept nogil:
    """Class indices; -1 where a row is ignored."""
    cdef double labels[ROWS]
    cdef Py_ssize_t i
    cdef int64_t bad = 0, counted = 0
    cdef double classes = job.classes, ignored = job.ignored, label
    cdef bint good, skipped, ignores = job.ignores
    read_strided(job.y_true.data + first * job.y_true.outer_stride, job.y_true.outer_stride, group.rows,
                 job.y_true.dtype, labels)
    for i in range(group.rows):
        label = labels[i]
        # (adding 1.5·2^52 rounds to whole numbers)
        good = (label >= 0.0) & (label < classes) & ((label + 6755399441055744.0) - 6755399441055744.0 == label)
        skipped = ignores & (label == ignored)
        bad |= not (good | skipped)
        counted |= not skipped
        label = label if good else 0.0
        labels[i] = -1.0 if skipped else label
    for i in range(group.rows):
        group.labels[i] = <int>labels[i]
    return (BAD_TARGET if bad else 0) | (COUNTED if counted else 0)


cdef int check_rows(const RowJob* job, Group* group, real* unused) noexcept nogil:
    """Numbers from 0 to 1 that sum to 1, and their sums; of indicators, 0 and 1."""
    cdef double sums[WIDTH]
    cdef real part[WIDTH]
    cdef real least[WIDTH]
    cdef real most[WIDTH]
    cdef real odd[WIDTH]
    cdef real zero = <real>0, one = <real>1
    # logarithms may be rounded up, their exponentials with them
    cdef real limit = one + (<real>job.tolerance if job.target == LOG_CLASSES else zero)
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef bint indicators = job.target == INDICATORS
    cdef Py_ssize_t line, first, k, j, rows
    cdef int flags = COUNTED
    memset(least, 0, sizeof(least))
    memset(most, 0, sizeof(most))
    memset(odd, 0, sizeof(odd))
    for line in range(group.lines):
        memset(sums, 0, sizeof(sums))
        for first in range(0, group.count, 8):
            memset(part, 0, sizeof(part))
            for k in range(first, min(group.count, first + 8)):
                t = place(&targets, line, k, unused)
                for j in range(WIDTH):
                    least[j] = t[j] if t[j] < least[j] else least[j]
                    most[j] = larger(t[j], most[j])
                    part[j] += t[j]
                if indicators:
                    for j in range(WIDTH):
                        odd[j] += math.absolute(t[j] * (t[j] - one))
            for j in range(WIDTH):
                sums[j] += part[j]
        rows = 1
        if group.across:
            rows = min(<Py_ssize_t>WIDTH, group.rows - line * WIDTH)
            memcpy(group.masses + line * WIDTH, sums, sizeof(sums))
        else:
            for j in range(8):
                sums[j] += sums[j + 8]
            for j in range(4):
                sums[j] += sums[j + 4]
            sums[0] = group.masses[line] = (sums[0] + sums[2]) + (sums[1] + sums[3])
        for j in range(rows):
            if sums[j] != sums[j] or not (indicators or -job.tolerance <= sums[j] - 1.0 <= job.tolerance):
                flags |= BAD_TARGET
    for j in range(WIDTH):
        if not (least[j] >= zero and most[j] <= limit and odd[j] == zero):
            flags |= BAD_TARGET
    return flags


cdef int find_labels(const RowJob* job, Group* group, real* unused) noexcept nogil:
    """The class of rows that are 1 once and else 0."""
    cdef Py_ssize_t i, c
    cdef int flags = COUNTED
    cdef real value
    for i in range(group.rows):
        group.labels[i] = -1
        for c in range(group.classes):
            value = element(group, &group.targets, i, c, unused)[0]
            if value == <real>1 and group.labels[i] < 0:
                group.labels[i] = c
            elif value != <real>0:
                flags |= BAD_TARGET
        if group.labels[i] < 0:
            group.labels[i] = 0
            flags |= BAD_TARGET
    return flags


cdef void write_labels(const RowJob* job, Group* group, real* unused) noexcept nogil:
    """Rows of targets from class indices, smoothed."""
    cdef real moved = <real>(job.label_smoothing / job.classes)
    cdef real kept = <real>1 - <real>job.label_smoothing
    cdef real rows[ROWS]
    cdef Py_ssize_t i, c
    for i in range(ROWS):
        rows[i] = moved
        group.masses[i] = <double>(kept + moved) + (job.classes - 1) * <double>moved
    fill(group, &group.targets, rows)
    for i in range(group.rows):
        element(group, &group.targets, i, max(group.labels[i], 0), unused)[0] = kept + moved
        if not group.across:
            for c in range(group.classes, group.count * WIDTH):
                element(group, &group.targets, i, c, unused)[0] = <real>0


cdef void smooth(const RowJob* job, Group* group, real* unused) noexcept nogil:
    cdef real moved = <real>(job.label_smoothing / job.classes)
    cdef real kept = <real>1 - <real>job.label_smoothing
    cdef Py_ssize_t i, c
    cdef real* t
    for i in range(group.rows):
        group.masses[i] = group.masses[i] * kept + job.classes * <double>moved
        for c in range(group.classes):
            t = element(group, &group.targets, i, c, unused)
            t[0] = math.mad(t[0], kept, moved)


cdef int read_weights(const RowJob* job, Py_ssize_t first, const Group* group, double* weights,
                      real* unused) noexcept nogil:
    """weights = weight_unit · sample_weight · class_weight; 0 where a row is ignored."""
    cdef real given[ROWS]
    cdef Py_ssize_t i, c
    cdef double share, weight
    cdef int flags = 0
    if job.sample_weight.data != NULL:
        read_strided(job.sample_weight.data + first * job.sample_weight.outer_stride, job.sample_weight.outer_stride,
                     group.rows, job.sample_weight.dtype, given)
    for i in range(group.rows):
        weights[i] = job.weight_unit
        if job.sample_weight.data != NULL:
            if given[i] - given[i] != <real>0:
                flags |= BAD_WEIGHT
            weights[i] *= given[i]
        if job.class_weight == NULL:
            pass
        elif job.indexed or not job.kernel.distribution:
            weights[i] *= job.class_weight[max(group.labels[i], 0)]
        else:
            share = weight = 0.0
            for c in range(group.classes):
                share += element(group, &group.targets, i, c, unused)[0]
                weight += element(group, &group.targets, i, c, unused)[0] * job.class_weight[c]
            if job.target == INDICATORS:  # the mean of those that are set
                weight = weight / share if share > 0.0 else 1.0
            weights[i] *= weight
        if (job.indexed or not job.kernel.distribution) and group.labels[i] < 0:
            weights[i] = 0.0
    return flags


# ---- the run over the groups of a chunk ------------------------------------------------------------------------------

cdef inline void run(const RowJob* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial,
                     real* unused) noexcept nogil:
    cdef const RowKernel* kernel = job.kernel
    cdef Group group
    cdef Py_ssize_t classes = job.classes, height, numbers = 0, index, first, i
    cdef bint columns = job.y_pred.outer_stride == sizeof(real) and job.y_pred.inner_stride != sizeof(real)
    cdef bint rows_of_targets = not job.indexed  # in y_true
    cdef bint targets_wanted = rows_of_targets or kernel.distribution
    cdef bint third = (job.mode & (HESSIAN | PROBABILITY)) != 0
    cdef bint keeps = kernel.keeps or job.mode != LOSS
    cdef bint plain_targets, plain_scores, scores_direct, gradient_direct, hessian_direct
    cdef bint targets_direct = False
    cdef real* scratch = NULL
    cdef real* scores = NULL
    cdef real* targets = NULL
    cdef real* gradient = NULL
    cdef real* hessian = NULL
    cdef real score_tails[2 * WIDTH * WIDTH]
    cdef real target_tails[2 * WIDTH * WIDTH]
    cdef real gradient_tails[2 * WIDTH * WIDTH]
    cdef real hessian_tails[2 * WIDTH * WIDTH]
    cdef real loss[ROWS]
    cdef double weights[ROWS]
    cdef double values[ROWS]
    cdef double losses[MOST_ROWS + ROWS]  # room for a whole group beyond the last
    cdef double lanes[LANES]
    cdef double reduced_lanes[LANES]
    cdef int flags = 0
    cdef real pad = -<real>1 / <real>0
    cdef real pad_of_targets = pad if job.target == LOG_CLASSES else <real>0

    if job.inputs == PROBABILITIES:
        pad = <real>0
    memset(lanes, 0, sizeof(lanes))
    memset(reduced_lanes, 0, sizeof(reduced_lanes))
    memset(&group, 0, sizeof(Group))
    group.classes = classes
    group.across = kernel.ordered or classes <= FEW_CLASSES or (columns and not kernel.scratch)
    group.count = classes if group.across else (classes + WIDTH - 1) // WIDTH
    if group.across:
        height = max(<Py_ssize_t>WIDTH, min(<Py_ssize_t>ROWS, GROUP // classes // WIDTH * WIDTH))
    else:
        height = max(<Py_ssize_t>1, min(<Py_ssize_t>WIDTH, GROUP // classes))

    for i in range(ROWS):
        group.factors[i] = job.factor
        group.scales[i] = job.factor * job.scale

    # What cannot be worked on where it is: other dtypes and orders, changed scores and targets.
    group.rows = height
    plain_scores = job.temperature == 1.0 and job.adjustment == NULL and not kernel.scratch and not (
        job.in_place and (kernel.keeps or job.inputs != LOGITS))
    plain_targets = rows_of_targets and kernel.distribution and job.target != LOG_CLASSES and (
        job.label_smoothing == 0.0 and not kernel.scratch)
    if job.mode != LOSS or kernel.keeps or targets_wanted or not (
            plain_scores and is_direct(&job.y_pred, &group, unused)) or group.across:
        numbers = height * group.count * (1 if group.across else WIDTH)
        scratch = <real*>malloc(4 * numbers * sizeof(real))
        if scratch == NULL:
            partial.flags = NO_MEMORY
            return
        scores = scratch
        targets = scores + numbers
        gradient = targets + numbers
        hessian = gradient + numbers

    for index in range((stop - start + height - 1) // height):
        first = start + index * height
        group.rows = min(height, stop - first)
        group.padded = (group.rows + WIDTH - 1) // WIDTH * WIDTH
        group.lines = group.padded // WIDTH if group.across else group.rows

        # Targets and weights.
        if targets_wanted:
            targets_direct = plain_targets and is_direct(&job.y_true, &group, unused)
            point(&job.y_true, first, &group, targets_direct, targets, target_tails, &group.targets)
        if job.indexed:
            flags |= read_labels(job, first, &group)
            if kernel.distribution and job.mode != WEIGHT:
                write_labels(job, &group, unused)
        else:
            if not targets_direct:
                load(&job.y_true, first, &group, &group.targets, pad_of_targets)
                if job.target == LOG_CLASSES:
                    exponentiate_targets(&group, unused)
            elif group.targets.last >= 0:
                load_tails(&group, &group.targets, <real>0)
            flags |= check_rows(job, &group, unused) if kernel.distribution else find_labels(job, &group, unused)
        if job.weighted:
            flags |= read_weights(job, first, &group, weights, unused)
        if job.mode == WEIGHT:
            for i in range(group.rows):
                losses[first - start + i] = weights[i]
            continue
        if rows_of_targets and kernel.distribution and job.label_smoothing != 0.0:
            smooth(job, &group, unused)

        # Scores, and where outputs go.
        scores_direct = plain_scores and is_direct(&job.y_pred, &group, unused)
        gradient_direct = not kernel.scratch and is_direct(&job.gradient, &group, unused)
        hessian_direct = not kernel.scratch and is_direct(&job.hessian, &group, unused)
        point(&job.y_pred, first, &group, scores_direct, scores, score_tails, &group.scores)
        point(&job.gradient, first, &group, gradient_direct, gradient, gradient_tails, &group.gradient)
        point(&job.hessian, first, &group, hessian_direct, hessian, hessian_tails, &group.hessian)
        if not keeps:  # exponentials go where nobody looks
            group.gradient.data = gradient_tails
            group.gradient.pitch = group.gradient.step = 0
        if not scores_direct:
            load(&job.y_pred, first, &group, &group.scores, pad)
            if job.temperature != 1.0 or job.adjustment != NULL:
                adjust(job, &group, unused)
        elif group.scores.last >= 0:
            load_tails(&group, &group.scores, pad)

        if job.class_factor != NULL:
            for i in range(group.rows):
                group.factors[i] = job.class_factor[max(group.labels[i], 0)]
                group.scales[i] = group.factors[i] * job.scale
        if job.weighted:
            for i in range(group.rows):
                group.scales[i] = group.factors[i] * (weights[i] * job.scale)

        if real is double:
            kernel.evaluate_f64(job, &kernel.parameters, &group, loss)
        else:
            kernel.evaluate_f32(job, &kernel.parameters, &group, loss)

        if job.weighted:
            for i in range(group.rows):
                if weights[i] == 0.0:
                    loss[i] = <real>0
                    if job.mode & GRADIENT:
                        clear(&group, &group.gradient, i, unused)
                    if job.mode & HESSIAN:
                        clear(&group, &group.hessian, i, unused)
        if job.mode & GRADIENT:
            if not gradient_direct:
                store(&job.gradient, first, &group, &group.gradient, unused)
            elif group.gradient.last >= 0:
                store_tails(&group, &group.gradient, unused)
        if third:
            if not hessian_direct:
                store(&job.hessian, first, &group, &group.hessian, unused)
            elif group.hessian.last >= 0:
                store_tails(&group, &group.hessian, unused)
        if job.mode & LOSS:
            for i in range(group.rows):
                values[i] = group.factors[i] * loss[i]
            if job.weighted:
                for i in range(group.rows):
                    values[i] = values[i] * weights[i] if weights[i] != 0.0 else 0.0
            memcpy(losses + (first - start), values, sizeof(values))
            if job.loss.data != NULL:
                for i in range(group.rows):
                    (<real*>(job.loss.data + (first + i) * job.loss.outer_stride))[0] = <real>values[i]

    if scratch != NULL:
        free(scratch)
    if job.mode == WEIGHT or job.mode & LOSS:
        add_values(losses, stop - start, lanes)
        if job.reduced:
            for i in range(stop - start):
                losses[i] *= 5.421010862427522e-20  # 2^-64
            add_values(losses, stop - start, reduced_lanes)
    add_lanes(lanes, &partial.losses)
    add_lanes(reduced_lanes, &partial.reduced)
    partial.flags = flags


cdef void clear(const Group* group, const Matrix* matrix, Py_ssize_t row, real* unused) noexcept nogil:
    """A weight of exactly 0 gives exactly 0, whatever stands there."""
    cdef Py_ssize_t c
    for c in range(group.classes):
        element(group, matrix, row, c, unused)[0] = <real>0


cdef void exponentiate_targets(Group* group, real* unused) noexcept nogil:
    """Targets from their logarithms, after Σ t·log t, which would lose digits where t is near 1."""
    cdef real entropy[ROWS]
    cdef Py_ssize_t i
    cdef real* t = <real*>group.targets.data
    entropies(group, True, entropy)
    for i in range(group.padded):
        group.entropies[i] = entropy[i]
    for i in range(group.lines * group.count * WIDTH):
        t[i] = math.exp(t[i])


cdef void adjust(const RowJob* job, const Group* group, real* unused) noexcept nogil:
    """Adds logit_adjustment, divides by the temperature."""
    cdef real temperature = <real>job.temperature
    cdef real* z
    cdef Py_ssize_t i, c
    for i in range(group.rows):
        for c in range(group.classes):
            z = element(group, &group.scores, i, c, unused)
            if job.adjustment != NULL:
                z[0] += <real>job.adjustment[c]
            z[0] /= temperature


cdef void run_f32(const RowJob* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial) noexcept nogil:
    run(job, start, stop, partial, <float*>NULL)


cdef void run_f64(const RowJob* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial) noexcept nogil:
    run(job, start, stop, partial, <double*>NULL)


# ---- what Python sees ------------------------------------------------------------------------------------------------

cdef void free_kernel(object capsule) noexcept:
    PyMem_Free(PyCapsule_GetPointer(capsule, "fastloss.RowKernel"))


def bind(RowLoss parameters):
    """A loss with its parameters (a dict of the struct's fields), as a capsule that holds a RowKernel.

    Python picks the loss by its struct's name: ``bind.__signatures__["Focal"]({"gamma": 2.0})``.
    """
    cdef RowKernel* kernel = <RowKernel*>PyMem_Malloc(sizeof(RowKernel))
    if kernel == NULL:
        raise MemoryError
    memset(kernel, 0, sizeof(RowKernel))
    (<RowLoss*>&kernel.parameters)[0] = parameters
    kernel.run_f32 = run_f32
    kernel.run_f64 = run_f64
    # The casts only take the loss out of the second parameter's type.
    if RowLoss in TargetLoss:
        kernel.evaluate_f32 = <group_f32>evaluate_target[RowLoss, float]
        kernel.evaluate_f64 = <group_f64>evaluate_target[RowLoss, double]
    elif RowLoss is SoftCrossEntropy:
        kernel.distribution = True
        kernel.evaluate_f32 = <group_f32>evaluate_cross_entropy[float]
        kernel.evaluate_f64 = <group_f64>evaluate_cross_entropy[double]
    elif RowLoss in DistributionLoss:
        kernel.distribution = True
        kernel.keeps = True
        kernel.evaluate_f32 = <group_f32>evaluate_distribution[RowLoss, float]
        kernel.evaluate_f64 = <group_f64>evaluate_distribution[RowLoss, double]
    elif RowLoss in OrderedLoss:
        kernel.distribution = True
        kernel.keeps = True
        kernel.ordered = True
        kernel.evaluate_f32 = <group_f32>evaluate_ordered[RowLoss, float]
        kernel.evaluate_f64 = <group_f64>evaluate_ordered[RowLoss, double]
    else:
        kernel.distribution = RowLoss is MultilabelMargin
        kernel.keeps = True
        kernel.scratch = True
        kernel.evaluate_f32 = <group_f32>evaluate_margin[RowLoss, float]
        kernel.evaluate_f64 = <group_f64>evaluate_margin[RowLoss, double]
    return PyCapsule_New(kernel, "fastloss.RowKernel", free_kernel)
