# The hot path of row losses, compiled once per ISA: passes over groups of rows, and the run over the groups of a chunk
# (gather, labels, weights, loss, sums, scatter). No Python objects below `bind`.
#
# A pass goes over numbers 16 at a time. With few classes these are one class of 16 rows, which stand side by side in
# scratch (or in the array itself, where columns are contiguous); with many, 16 classes of one row. What a pass sums up,
# it sums for each of the 16: of 16 rows that is all; of one row, the 16 are then added. Sums are of eight numbers, and
# then of those sums: rounding errors grow with an eighth of the number of classes.
#
# The passes are in the included files: `rows_matrix` knows where numbers are, and each other one is a kind of loss.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.math cimport frexp
from libc.string cimport memcpy, memset

from . cimport math
from .math cimport fastloss_f32_from_bits, mad
from .multiclass cimport (
    Brier, CrammerSinger, CrossEntropy, DistributionLoss, EarthMover, Focal, GeneralizedCrossEntropy, MarginLoss,
    MultilabelMargin, OrderedLoss, RowLoss, SoftCrossEntropy, TargetLoss, WestonWatkins, distance, divergence,
    divergence_slopes, target_loss, target_loss_of_probability,
)
from .overlap cimport (
    ANY_MAP, AT_0, AT_1, BY_DIFFERENCE, DISTRIBUTION_MAP, FALSE_NEGATIVE, FALSE_POSITIVE, IDENTITY, INDEX_MAP, N_SLOPES,
    N_SUMS, SIGMOID, SOFTMAX, SQUARES, TRUE_POSITIVE, Field, OverlapJob, OverlapKernel,
)
from .types cimport (
    BAD_TARGET, BAD_WEIGHT, BOOL8, COUNTED, FLOAT32, FLOAT64, GRADIENT, HESSIAN, INDICATORS, INT16, INT32, INT64, INT8,
    LANES, LOG_CLASSES, LOG_PROBABILITIES, LOGITS, LOSS, MOST_ROWS, NO_MEMORY, PROBABILITIES, PROBABILITY, ROWS, UINT16,
    UINT32, UINT64, UINT8, WEIGHT, WIDTH, Group, Matrix, Partial, RowJob, RowKernel, Stream, Sum, group_f32, group_f64,
    real,
)

cdef extern from "bits.h" nogil:
    void fastloss_copy_line(void* line, const void* values)
    void fastloss_prefetch_l2(const void* address)
    enum:
        FEW_CLASSES "FASTLOSS_FEW_CLASSES"
        FEW_LABELS "FASTLOSS_FEW_LABELS"
        BYTES_OF_ROWS "FASTLOSS_BYTES_OF_ROWS"

cdef extern from "transpose.h" nogil:
    void fastloss_transpose_f64(const double* rows, ptrdiff_t down, double* columns, ptrdiff_t step)
    void fastloss_transpose_f32(const float* rows, ptrdiff_t down, float* columns, ptrdiff_t step)

cdef enum:
    # Numbers of a group of rows side by side, about: what stays in the L2 cache.
    GROUP = 32768
    MOST_LINES = 64
    # Bytes of a row up to which the next row's targets, too, fit into the L2 cache, beside its scores, and this row's
    # scores, targets and gradient.
    BYTES_AHEAD = 200_000

include "streams.pxi"
include "sums.pxi"
include "rows_matrix.pxi"
include "rows_softmax.pxi"
include "rows_probabilities.pxi"
include "rows_target.pxi"
include "rows_distribution.pxi"
include "rows_margin.pxi"
include "rows_overlap.pxi"


# ---- targets and weights ---------------------------------------------------------------------------------------------

cdef int read_labels(const RowJob* job, Py_ssize_t first, Group* group) noexcept nogil:
    """Class indices, and which rows are ignored."""
    cdef const Stream* stream = &job.y_true
    cdef const char* data = stream.data + first * stream.outer_stride
    cdef double labels[ROWS]
    cdef int64_t skips[ROWS]
    cdef Py_ssize_t i
    cdef int64_t bad = 0, counted = 0
    cdef double classes = job.classes, ignored = job.ignored, label
    cdef bint good, skipped, ignores = job.ignores
    if stream.dtype == INT64 and stream.outer_stride == sizeof(int64_t):
        return take_labels(job, <const int64_t*>data, group)
    read_strided(data, stream.outer_stride, group.rows, stream.dtype, labels)
    for i in range(group.rows):
        label = labels[i]
        # (adding 1.5·2^52 rounds to whole numbers)
        good = (label >= 0.0) & (label < classes) & ((label + 6755399441055744.0) - 6755399441055744.0 == label)
        skipped = ignores & (label == ignored)
        bad |= not (good | skipped)
        counted |= not skipped
        label = label if good else 0.0
        labels[i] = 0.0 if skipped else label
        skips[i] = skipped
    for i in range(group.rows):
        group.labels[i] = <int>labels[i]
        group.skipped[i] = <int>skips[i]
    return (BAD_TARGET if bad else 0) | (COUNTED if counted else 0)


cdef int take_labels(const RowJob* job, const int64_t* labels, Group* group) noexcept nogil:
    """The same of int64 indices that follow each other, as they mostly are: AVX2 has no conversion of them."""
    cdef int64_t classes = job.classes, ignored = <int64_t>job.ignored, ignores = job.ignores, label, good, skipped
    cdef int64_t bad = 0, counted = 0
    cdef Py_ssize_t i
    for i in range(group.rows):
        label = labels[i]
        skipped = ignores & (label == ignored)
        good = (label >= 0) & (label < classes) & (skipped ^ 1)
        bad |= (good | skipped) ^ 1
        counted |= skipped ^ 1
        group.labels[i] = <int>(label if good != 0 else 0)
        group.skipped[i] = <int>skipped
    return (BAD_TARGET if bad else 0) | (COUNTED if counted else 0)


cdef int check_rows(const RowJob* job, Group* group, real* unused) noexcept nogil:
    """Numbers from 0 to 1 that sum to 1, and their sums; of indicators, 0 and 1."""
    cdef double sums[WIDTH * MOST_LINES]
    cdef double lows[WIDTH * MOST_LINES]
    cdef real part[WIDTH]
    cdef real low_part[WIDTH]
    cdef real least[WIDTH]
    cdef real most[WIDTH]
    cdef real odd[WIDTH]
    cdef const real* t
    cdef Matrix targets = group.targets
    cdef bint indicators = job.target == INDICATORS
    cdef Py_ssize_t line, first, k, j
    cdef int flags = COUNTED
    memset(least, 0, sizeof(least))
    memset(most, 0, sizeof(most))
    memset(odd, 0, sizeof(odd))
    memset(sums, 0, group.lines * WIDTH * sizeof(double))
    memset(lows, 0, group.lines * WIDTH * sizeof(double))
    for line in range(group.lines):
        for first in range(0, group.count, 8):
            memset(part, 0, sizeof(part))
            memset(low_part, 0, sizeof(low_part))
            for k in range(first, min(group.count, first + 8)):
                t = place(&targets, line, k, unused)
                if group.across:
                    take_in(t, True, least, most, part, low_part)
                else:
                    take_in(t, False, least, most, part, low_part)
                if indicators:
                    for j in range(WIDTH):
                        odd[j] += math.absolute(t[j] * (t[j] - <real>1))
            for j in range(WIDTH):
                sums[line * WIDTH + j] += part[j]
                lows[line * WIDTH + j] += low_part[j]
    for j in range(WIDTH):
        if odd[j] != <real>0:
            flags |= BAD_TARGET
    return flags | check_range(job, least, most) | check_masses(job, group, sums, lows)


cdef inline void take_in(const real* t, bint exact, real* least, real* most, real* sums, real* lows) noexcept nogil:
    """Takes in 16 targets; of `exact` sums, what is above a grain of each, and what is below: neither sum is rounded,
    to speak of, where a row's targets follow each other in one sum that comes near to 1."""
    cdef real coarse = <double>6291456 if real is double else <float>12  # grains of 2^-30 and 2^-20
    cdef real low, high
    cdef Py_ssize_t j
    for j in range(WIDTH // 2):  # 16 would not stay in registers
        low = t[j + WIDTH // 2] if t[j + WIDTH // 2] < t[j] else t[j]
        least[j] = low if low < least[j] else least[j]
        most[j] = larger(larger(t[j + WIDTH // 2], t[j]), most[j])
    for j in range(WIDTH):
        high = (t[j] + coarse) - coarse if exact else t[j]
        sums[j] += high
        if exact:
            lows[j] += t[j] - high


cdef inline int check_range(const RowJob* job, const real* least, const real* most) noexcept nogil:
    cdef Py_ssize_t j
    # logarithms may be rounded up, their exponentials with them
    cdef real limit = <real>1 + (<real>job.tolerance if job.target == LOG_CLASSES else <real>0)
    for j in range(WIDTH):
        if not (least[j] >= <real>0 and most[j] <= limit):
            return BAD_TARGET
    return 0


cdef inline int check_masses(const RowJob* job, Group* group, const double* lanes, const double* lows) noexcept nogil:
    """By how much the sum of each row's targets exceeds 1, from the sums of all lines: kept in `excess`, and
    checked."""
    cdef double masses[ROWS]
    cdef double low[ROWS]
    cdef Py_ssize_t i
    cdef int64_t bad = 0
    fold_lines(group, True, lanes, masses)
    fold_lines(group, True, lows, low)
    for i in range(group.rows):
        group.excess[i] = (masses[i] - 1.0) + low[i]
        bad |= not ((group.excess[i] >= -job.tolerance) & (group.excess[i] <= job.tolerance))
    if job.target == INDICATORS:
        bad = 0
        for i in range(group.rows):
            bad |= group.excess[i] != group.excess[i]
    return BAD_TARGET if bad else 0


cdef int find_labels(const RowJob* job, Group* group, real* unused) noexcept nogil:
    """The class of rows that are 1 once and else 0."""
    cdef Py_ssize_t i, c
    cdef int flags = COUNTED, label
    cdef real value
    for i in range(group.rows):
        label = -1
        for c in range(group.classes):
            value = element(group, &group.targets, i, c, unused)[0]
            if value == <real>1 and label < 0:
                label = <int>c
            elif value != <real>0:
                flags |= BAD_TARGET
        if label < 0:
            flags |= BAD_TARGET
        group.labels[i] = max(label, 0)
    return flags


cdef void write_labels(const RowJob* job, Group* group, real* unused) noexcept nogil:
    """Rows of targets from class indices, smoothed."""
    cdef real moved = <real>(job.label_smoothing / job.classes)
    cdef real kept = <real>1 - <real>job.label_smoothing
    cdef real rows[ROWS]
    cdef Py_ssize_t i, c
    for i in range(ROWS):
        rows[i] = moved
        group.excess[i] = 0.0
    fill(group, &group.targets, rows)
    for i in range(group.rows):
        element(group, &group.targets, i, group.labels[i], unused)[0] = kept + moved
        if not group.across:
            for c in range(group.classes, group.count * WIDTH):
                element(group, &group.targets, i, c, unused)[0] = <real>0


cdef void smooth(const RowJob* job, Group* group, real* unused) noexcept nogil:
    cdef real moved = <real>(job.label_smoothing / job.classes)
    cdef real kept = <real>1 - <real>job.label_smoothing
    cdef Py_ssize_t i, c
    cdef real* t
    for i in range(group.rows):
        group.excess[i] *= 1.0 - job.label_smoothing
        for c in range(group.classes):
            t = element(group, &group.targets, i, c, unused)
            t[0] = math.mad(t[0], kept, moved)


cdef int read_weights(const RowJob* job, Py_ssize_t first, const Group* group, double* weights,
                      real* unused) noexcept nogil:
    """weights = weight_unit · sample_weight · class_weight; 0 where a row is ignored."""
    cdef real given[ROWS]
    cdef Py_ssize_t i, c
    cdef double share, weight, part, total, low
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
            weights[i] *= job.class_weight[group.labels[i]]
        else:
            share = weight = low = 0.0
            for c in range(group.classes):
                part = element(group, &group.targets, i, c, unused)[0]
                share += part
                part *= job.class_weight[c]
                total = weight + part
                low += math.exact_difference_rest(weight, -part, total)
                weight = total
            weight += low
            if job.target == INDICATORS:  # the mean of those that are set
                weight = weight / share if share > 0.0 else 1.0
            weights[i] *= weight
        if (job.indexed or not job.kernel.distribution) and group.skipped[i]:
            weights[i] = 0.0
    return flags


# ---- the run over the groups of a chunk ------------------------------------------------------------------------------

cdef inline void run(const RowJob* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial,
                     real* unused) noexcept nogil:
    cdef const RowKernel* kernel = job.kernel
    cdef Group group
    cdef Py_ssize_t classes = job.classes, height, matrices, numbers = 0, index, first, ahead, i
    cdef bint columns = job.y_pred.outer_stride == sizeof(real) and job.y_pred.inner_stride != sizeof(real)
    cdef bint rows_of_targets = not job.indexed  # in y_true
    cdef bint targets_wanted = rows_of_targets or kernel.distribution
    cdef bint third = (job.mode & (HESSIAN | PROBABILITY)) != 0
    cdef bint keeps = kernel.keeps or job.mode != LOSS
    cdef bint plain_targets, plain_scores, scores_direct, gradient_direct, hessian_direct
    cdef bint targets_direct = False
    cdef void* scratch = NULL
    cdef real* scores = NULL
    cdef real* targets = NULL
    cdef real* gradient = NULL
    cdef real* hessian = NULL
    cdef real score_tails[2 * WIDTH * MOST_LINES]
    cdef real target_tails[2 * WIDTH * MOST_LINES]
    cdef real gradient_tails[2 * WIDTH * MOST_LINES]
    cdef real hessian_tails[2 * WIDTH * MOST_LINES]
    cdef real loss[ROWS]
    cdef double weights[ROWS]
    cdef double values[ROWS]
    cdef double losses[MOST_ROWS + ROWS]  # room for a whole group beyond the last
    cdef double reduced[LANES]
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
        matrices = 4 if kernel.distribution or kernel.keeps else 2  # scores and gradients; targets, and what comes next
        height = BYTES_OF_ROWS // (matrices * classes * <Py_ssize_t>sizeof(real))
        height = max(<Py_ssize_t>1, min(<Py_ssize_t>MOST_LINES, height))

    for i in range(ROWS):
        group.factors[i] = job.factor
        group.scales[i] = job.factor * job.scale

    if not group.across and classes % WIDTH != 0:
        for i in range(2 * WIDTH * min(height, stop - start)):
            score_tails[i] = pad
            target_tails[i] = <real>0

    # What cannot be worked on where it is: other dtypes and orders, changed scores and targets.
    # Where targets are read next to scores, they are checked there.
    group.unchecked = kernel.crosses and rows_of_targets and job.inputs == LOGITS and job.mode != WEIGHT and (
        job.label_smoothing == 0.0)
    group.rows = group.height = height
    plain_scores = job.temperature == 1.0 and job.adjustment == NULL and not kernel.scratch and not (
        job.in_place and (kernel.keeps or job.inputs != LOGITS))
    plain_targets = rows_of_targets and kernel.distribution and job.target != LOG_CLASSES and (
        job.label_smoothing == 0.0 and not kernel.scratch)
    if job.mode != LOSS or kernel.keeps or targets_wanted or not (
            plain_scores and is_direct(&job.y_pred, &group, unused)) or group.across:
        numbers = height * group.count * (1 if group.across else WIDTH)
        scratch = malloc(4 * numbers * sizeof(real) + 64)
        if scratch == NULL:
            memset(partial, 0, sizeof(Partial))
            partial.flags = NO_MEMORY
            return
        scores = <real*>((<size_t>scratch + 63) & ~<size_t>63)  # whole lines of the cache
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
                load_tails(&group, &group.targets, unused)
            if not kernel.distribution:
                flags |= find_labels(job, &group, unused)
            elif not group.unchecked:
                flags |= check_rows(job, &group, unused)
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
            load_tails(&group, &group.scores, unused)

        if job.class_factor != NULL:
            for i in range(group.rows):
                group.factors[i] = job.class_factor[group.labels[i]]
                group.scales[i] = group.factors[i] * job.scale
        if job.weighted:
            for i in range(group.rows):
                group.scales[i] = group.factors[i] * (weights[i] * job.scale)

        if group.across:
            ahead = min(height, stop - first - height)
            if rows_of_targets:
                prefetch_rows(&job.y_true, first + height, ahead, classes)
            if real is double:  # others, of half the bytes, gain nothing
                prefetch_rows(&job.y_pred, first + height, ahead, classes)
                if job.mode & GRADIENT:
                    prefetch_rows(&job.gradient, first + height, ahead, classes)
                if third:
                    prefetch_rows(&job.hessian, first + height, ahead, classes)
        if real is double:
            kernel.evaluate_f64(job, &kernel.parameters, &group, loss)
        else:
            kernel.evaluate_f32(job, &kernel.parameters, &group, loss)
        flags |= group.flags

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
                values[i] = scaled(<double>loss[i], group.factors[i])
            if job.reduced:  # before the weights, with which a loss may overflow
                for i in range(group.rows):
                    reduced[i] = 5.421010862427522e-20 * values[i]  # 2^-64
                    if job.weighted:
                        reduced[i] = reduced[i] * weights[i] if weights[i] != 0.0 else 0.0
                add_values(reduced, group.rows, reduced_lanes)
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
    """Adds logit_adjustment, and divides by the temperature; where that rounds (not by a power of 2), after taking the
    largest score away, so that the size of the scores does not count."""
    cdef real temperature = <real>job.temperature
    cdef real most
    cdef int exponent
    cdef bint exact = frexp(temperature, &exponent) == 0.5
    cdef real* z
    cdef Py_ssize_t i, c
    for i in range(group.rows):
        most = -<real>1 / <real>0
        for c in range(group.classes):
            z = element(group, &group.scores, i, c, unused)
            if job.adjustment != NULL:
                z[0] += <real>job.adjustment[c]
            most = larger(z[0], most)
        if most - most != <real>0 or exact:
            most = <real>0
        for c in range(group.classes):
            z = element(group, &group.scores, i, c, unused)
            z[0] = (z[0] - most) / temperature


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
        kernel.keeps = RowLoss is not CrossEntropy
        kernel.evaluate_f32 = <group_f32>evaluate_target[RowLoss, float]
        kernel.evaluate_f64 = <group_f64>evaluate_target[RowLoss, double]
    elif RowLoss is SoftCrossEntropy:
        kernel.distribution = kernel.crosses = True
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
        kernel.distribution = kernel.keeps = kernel.scratch = RowLoss is MultilabelMargin
        kernel.evaluate_f32 = <group_f32>evaluate_margin[RowLoss, float]
        kernel.evaluate_f64 = <group_f64>evaluate_margin[RowLoss, double]
    return PyCapsule_New(kernel, "fastloss.RowKernel", free_kernel)
