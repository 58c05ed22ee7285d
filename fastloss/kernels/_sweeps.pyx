# The hot path, compiled once per ISA: sweeps (a formula over a block) and the run over the blocks of a chunk (gather,
# targets, weights, sweep, sums, scatter). No Python objects below `bind`.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from . cimport math
from .binary cimport (
    AsymmetricFocal, BinaryCrossEntropy, BinaryFocal, BinaryLoss, Hinge, LightMarginLoss, LogitsLoss, NaNPassingLoss,
    binary,
)
from .math cimport fastloss_bits_from_f32, fastloss_bits_from_f64, fastloss_f32_from_bits
from .regression cimport (
    PARTS, AbsoluteError, AbsolutePercentageError, Expectile, Huber, LightLoss, PairLoss, Quantile, RegressionLoss,
    Robust, SquaredError, regression, regression_pair, regression_parts,
)
from .wide cimport CheckedLoss, TwofoldLoss, WideLoss, clearance
from .types cimport (
    ABOVE_MINUS_ONE, ANY_REAL, BAD_TARGET, BAD_WEIGHT, BINARY_HARD, BINARY_SOFT, BLOCK_F32, BLOCK_F64, GRADIENT,
    HESSIAN, IN_CACHES, LANES, LOSS, NON_NEGATIVE, PAST_CACHES, SIGNED_TARGET, SWEPT_F32, SWEPT_F64, UNIT_TARGET,
    WEIGHT, BOOL8, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, Job, Kernel, Partial,
    Stream, Sum, is_wide_f32, is_wide_f64, real, sum_f32, sum_f64, sweep_f32, sweep_f64,
)


cdef extern from "bits.h" nogil:
    void fastloss_copy_line(void* line, const void* values)
    void fastloss_stream_line(void* line, const void* values)
    void fastloss_end_stream()
    void fastloss_prefetch(const void* address)
    bint fastloss_is_amd()


ctypedef fused PointwiseLoss:
    RegressionLoss
    PairLoss
    BinaryLoss


# As fast as memory.
ctypedef fused StagedLoss:
    LightLoss
    LightMarginLoss


# These look for extreme numbers in the sweep, which takes less time than a pass of its own. (For the others it was
# measured to take as much or more.)
ctypedef fused LookingLoss:
    CheckedLoss
    PairLoss


# So many steps that a core, which looks ahead some hundred, hardly comes to the next element: for loss and gradient it
# is given two at a time. (For the other modes they would take more room than they are worth; without fused
# multiply-adds, as on x86-64-v2, they gain nothing.)
ctypedef fused LongLoss:
    Robust
    BinaryFocal
    AsymmetricFocal


# So few steps that a pass for the sum of the losses would take half as long. (For the others among the light losses, to
# sum on the way was measured to gain nothing in float32.)
ctypedef fused SummedLoss:
    SquaredError
    AbsoluteError
    Huber
    Quantile
    Expectile
    AbsolutePercentageError
    Hinge


# ---- sweeps: one formula over one block, in each mode ----------------------------------------------------------------

cdef inline Py_ssize_t swept_at_once(const real* unused) noexcept nogil:
    return SWEPT_F64 if real is double else SWEPT_F32


cdef bint is_wide(const WideLoss* p, Py_ssize_t n, const real* y_true, const real* y_pred) noexcept nogil:
    """Whether a block holds a NaN, or numbers with which exponentials may leave the normal range on the way."""
    cdef Py_ssize_t i
    cdef int64_t wide64 = 0
    cdef int32_t wide32 = 0
    cdef WideLoss parameters = p[0]
    cdef Py_ssize_t swept = swept_at_once(y_true)
    n = n // swept * swept
    for i in range(n):
        look(&parameters, i, y_true, y_pred, &wide64, &wide32)
    return (wide64 | wide32) < 0


cdef inline void look(const WideLoss* p, Py_ssize_t i, const real* y_true, const real* y_pred, int64_t* wide64,
                      int32_t* wide32) noexcept nogil:
    """Makes one of two numbers, as wide as `real`, negative where the i-th element is extreme."""
    cdef Py_ssize_t first = 2 * i if WideLoss in PairLoss else i
    cdef Py_ssize_t last = 2 * i + 1 if WideLoss in PairLoss else i
    if real is double:
        wide64[0] |= clearance(p, y_true[i], y_pred[first], y_pred[last])
    else:
        wide32[0] |= <int32_t>clearance(p, y_true[i], y_pred[first], y_pred[last])


cdef inline bint sweep(const PointwiseLoss* parameters, Py_ssize_t n, const real* y_true, const real* y_pred,
                       const real* varying, real scale, real* loss, real* gradient, real* hessian, int mode,
                       bint wide) noexcept nogil:
    # `mode` and `wide` are constants wherever this is inlined: what is not wanted is never computed.
    cdef PointwiseLoss p = parameters[0]  # a copy, which no store through an output can change
    cdef Py_ssize_t i
    cdef real unaligned[4 * <int>PARTS + 16]
    cdef real* parts = <real*>((<size_t>unaligned + 63) & ~<size_t>63)
    cdef real value, slope, curve, second_value, second_slope, second_curve, unused
    cdef int64_t wide64 = 0
    cdef int32_t wide32 = 0
    cdef Py_ssize_t swept = swept_at_once(y_true)
    cdef Py_ssize_t half = n // swept * (swept // 2)
    n = 2 * half  # it is whole vectors: so the compiler knows, and makes no loop for a rest
    # Short loops overlap better than one long one: a core looks ahead some hundred instructions, not elements.
    if PointwiseLoss in LogitsLoss:
        for i in range(n):
            if PointwiseLoss is BinaryCrossEntropy:
                value = math.exp_lifted(-math.absolute(y_pred[i]))
            else:
                value = math.exp_lifted_sum(-math.absolute(y_pred[i]), <real>0)
            parts[i] = math.unlift(value)
            if mode & HESSIAN or PointwiseLoss is AsymmetricFocal:  # others do not ask for it
                parts[PARTS + i] = value
    elif PointwiseLoss in RegressionLoss:
        regression_parts(&p, n, y_true, y_pred, mode & LOSS, wide, parts)
    if PointwiseLoss in LongLoss and mode == (LOSS | GRADIENT) and math.FASTLOSS_FUSED:
        for i in range(half):
            value = formula(&p, i, y_true, y_pred, varying[i], parts, wide, &slope, &curve, &unused, &unused)
            second_value = formula(&p, half + i, y_true, y_pred, varying[half + i], parts, wide, &second_slope,
                                   &second_curve, &unused, &unused)
            store(i, value, slope, curve, scale, loss, gradient, hessian, mode)
            store(half + i, second_value, second_slope, second_curve, scale, loss, gradient, hessian, mode)
        return False
    for i in range(n):
        if PointwiseLoss in LookingLoss:
            if not wide:
                look(&p, i, y_true, y_pred, &wide64, &wide32)
        value = formula(&p, i, y_true, y_pred, varying[i], parts, wide, &slope, &curve, &second_slope, &second_curve)
        if PointwiseLoss in PairLoss:
            store(i, value, slope, curve, scale, loss, gradient, hessian, mode & LOSS)
            store(2 * i, value, slope, curve, scale, loss, gradient, hessian, mode & ~<int>LOSS)
            store(2 * i + 1, value, second_slope, second_curve, scale, loss, gradient, hessian, mode & ~<int>LOSS)
        else:
            store(i, value, slope, curve, scale, loss, gradient, hessian, mode)
    return (wide64 | wide32) < 0


cdef inline void store(Py_ssize_t i, real value, real slope, real curve, real scale, real* loss, real* gradient,
                       real* hessian, int mode) noexcept nogil:
    if mode & LOSS:
        loss[i] = value
    if mode & GRADIENT:
        gradient[i] = slope * scale
    if mode & HESSIAN:
        hessian[i] = curve * scale


cdef inline real formula(const PointwiseLoss* p, Py_ssize_t i, const real* y_true, const real* y_pred, real v,
                         const real* parts, bint wide, real* slope, real* curve, real* second_slope,
                         real* second_curve) noexcept nogil:
    """The loss of the i-th element, with its derivatives."""
    cdef real value, wide_value, wide_slope, wide_curve
    cdef real y = y_true[i]
    cdef real z = y_pred[2 * i if PointwiseLoss in PairLoss else i]
    cdef real known = z - y
    cdef bint extreme
    if PointwiseLoss in TwofoldLoss:
        regression(p, y, z, v, &parts[i], False, &value, slope, curve)
        if wide:  # another formula for extreme numbers, and for them alone
            regression(p, y, z, v, &parts[i], True, &wide_value, &wide_slope, &wide_curve)
            extreme = clearance(p, y, z, z) < 0
            value = wide_value if extreme else value
            slope[0] = wide_slope if extreme else slope[0]
            curve[0] = wide_curve if extreme else curve[0]
    elif PointwiseLoss in RegressionLoss:
        regression(p, y, z, v, &parts[i], wide, &value, slope, curve)
    elif PointwiseLoss in PairLoss:
        regression_pair(p, y, z, y_pred[2 * i + 1], wide, &value, slope, curve, second_slope, second_curve)
    else:
        binary(p, y, z, v, parts[PARTS + i], parts[i], wide, &value, slope, curve)
        known = z
    # NaN in, NaN out, whatever the formula selects (that of a pair's second prediction comes out by itself)
    if not wide:
        return value  # the block holds none
    if PointwiseLoss in PairLoss:  # added, as GCC makes branches of five selects
        known = -<real>0 if known == known else known  # which takes no sign from a -0
        value = value + known
        slope[0] = slope[0] + known
        curve[0] = curve[0] + known
        second_slope[0] = second_slope[0] + known
        second_curve[0] = second_curve[0] + known
    elif PointwiseLoss not in LightLoss and PointwiseLoss not in NaNPassingLoss:
        value = value if known == known else known
        slope[0] = slope[0] if known == known else known
        curve[0] = curve[0] if known == known else known
    return value


cdef inline void sweep_to_sum(const SummedLoss* parameters, Py_ssize_t n, const real* y_true, const real* y_pred,
                              real v, real scale, double* lanes, real* gradient, int mode) noexcept nogil:
    """A sweep that adds its losses to a line of lanes, and stores none. n is a multiple of 64."""
    # Gradients wait in `slopes`: stored one by one, they might change what is still to be read, for all that the
    # compiler knows.
    cdef SummedLoss p = parameters[0]
    cdef Py_ssize_t width = 8 if real is double else 16  # numbers of a line of memory
    cdef Py_ssize_t first = 0, stop, j, k
    cdef double sums[16]
    cdef double low, high
    cdef real slopes[4 * 16]
    while first < n:
        stop = min(n, first + 32 * width)  # half a block, so that twelve roundings at most are between loss and lane
        memset(sums, 0, sizeof(sums))
        while first < stop:
            for j in range(width):  # written out, as compilers make no vectors of a loop in this loop
                low = (<double>step(&p, first + j, y_true, y_pred, v, scale, &slopes[j])
                       + <double>step(&p, first + j + width, y_true, y_pred, v, scale, &slopes[j + width]))
                high = (<double>step(&p, first + j + 2 * width, y_true, y_pred, v, scale, &slopes[j + 2 * width])
                        + <double>step(&p, first + j + 3 * width, y_true, y_pred, v, scale, &slopes[j + 3 * width]))
                sums[j] += plus(low, high, scale)
            if mode & GRADIENT:
                for k in range(4):
                    fastloss_copy_line(gradient + first + k * width, slopes + k * width)
            first += 4 * width
        for j in range(width):
            lanes[j] += sums[j]


cdef inline real step(const SummedLoss* p, Py_ssize_t i, const real* y_true, const real* y_pred, real v, real scale,
                      real* gradient) noexcept nogil:
    """The loss of the i-th element, and its gradient times `scale`."""
    cdef real slope, curve, second_slope, second_curve
    cdef real value = formula(p, i, y_true, y_pred, v, y_true, True, &slope, &curve, &second_slope, &second_curve)
    gradient[0] = slope * scale
    return value


cdef void sweep_loss_to_sum(const SummedLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v, real scale,
                            double* lanes, real* gradient) noexcept nogil:
    sweep_to_sum(p, n, y, z, v[0], scale, lanes, gradient, LOSS)


cdef void sweep_loss_to_sum_gradient(const SummedLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v,
                                     real scale, double* lanes, real* gradient) noexcept nogil:
    sweep_to_sum(p, n, y, z, v[0], scale, lanes, gradient, LOSS | GRADIENT)


cdef bint sweep_loss(const PointwiseLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v, real scale,
                     real* loss, real* gradient, real* hessian) noexcept nogil:
    return sweep(p, n, y, z, v, scale, loss, gradient, hessian, LOSS, PointwiseLoss not in WideLoss)


cdef bint sweep_gradient(const PointwiseLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v, real scale,
                         real* loss, real* gradient, real* hessian) noexcept nogil:
    return sweep(p, n, y, z, v, scale, loss, gradient, hessian, GRADIENT, PointwiseLoss not in WideLoss)


cdef bint sweep_loss_gradient(const PointwiseLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v,
                              real scale, real* loss, real* gradient, real* hessian) noexcept nogil:
    return sweep(p, n, y, z, v, scale, loss, gradient, hessian, LOSS | GRADIENT, PointwiseLoss not in WideLoss)


cdef bint sweep_gradient_hessian(const PointwiseLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v,
                                 real scale, real* loss, real* gradient, real* hessian) noexcept nogil:
    return sweep(p, n, y, z, v, scale, loss, gradient, hessian, GRADIENT | HESSIAN, PointwiseLoss not in WideLoss)


cdef bint sweep_all(const PointwiseLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v, real scale,
                    real* loss, real* gradient, real* hessian) noexcept nogil:
    return sweep(p, n, y, z, v, scale, loss, gradient, hessian, LOSS | GRADIENT | HESSIAN,
                 PointwiseLoss not in WideLoss)


cdef bint sweep_wide(const WideLoss* p, Py_ssize_t n, const real* y, const real* z, const real* v, real scale,
                     real* loss, real* gradient, real* hessian) noexcept nogil:
    """For the few blocks with extreme numbers: one function, which serves every mode."""
    return sweep(p, n, y, z, v, scale, loss, gradient, hessian, LOSS | GRADIENT | HESSIAN, True)


# ---- streams: any dtype, any strides, in and out of a block ----------------------------------------------------------

include "streams.pxi"


cdef inline bint is_linear(const Stream* stream, Py_ssize_t inner) noexcept nogil:
    return stream.outer_stride == inner * stream.inner_stride


cdef inline bint is_direct(const Stream* stream, Py_ssize_t inner, const real* unused) noexcept nogil:
    """Whether the sweep can work on the array's own memory."""
    cdef int own = FLOAT64 if real is double else FLOAT32
    return (stream.data != NULL and stream.dtype == own and stream.inner_stride == sizeof(real)
            and is_linear(stream, inner))


cdef inline bint is_paired(const Stream* stream, const Stream* second, Py_ssize_t inner,
                           const real* unused) noexcept nogil:
    """Whether the two numbers of a pair, of the sweep's own dtype, lie side by side, and pair beside pair."""
    cdef int dtype = FLOAT64 if real is double else FLOAT32
    return (stream.dtype == dtype and second.data == stream.data + sizeof(real)
            and stream.inner_stride == 2 * sizeof(real) and is_linear(stream, inner))


cdef inline bint lies_as_swept(const Stream* stream, const Stream* second, Py_ssize_t inner, bint pair,
                               const real* unused) noexcept nogil:
    """Whether the sweep can work on the memory of y_pred, or of an output of its kind."""
    return is_paired(stream, second, inner, unused) if pair else is_direct(stream, inner, unused)


cdef inline void look_up(const Stream* stream, Py_ssize_t element) noexcept nogil:
    """Has the page of an element found, which in a virtual machine takes about as long as a block."""
    if stream.data != NULL:
        fastloss_prefetch(stream.data + element * stream.inner_stride)


cdef real* read(const Stream* stream, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t n, real* scratch) noexcept nogil:
    """The elements start .. start + n of a stream, converted into scratch."""
    cdef Py_ssize_t row, column, length, done = 0
    if is_linear(stream, inner):
        read_strided(stream.data + start * stream.inner_stride, stream.inner_stride, n, stream.dtype, scratch)
        return scratch
    row = start // inner
    column = start - row * inner
    while done < n:
        length = min(inner - column, n - done)
        read_strided(stream.data + row * stream.outer_stride + column * stream.inner_stride, stream.inner_stride,
                     length, stream.dtype, scratch + done)
        done += length
        row += 1
        column = 0
    return scratch


cdef void read_pairs(const real* pairs, Py_ssize_t n, real* firsts, real* seconds) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        firsts[i] = pairs[2 * i]
        seconds[i] = pairs[2 * i + 1]


cdef void write_pairs(const real* firsts, const real* seconds, Py_ssize_t n, real* pairs) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        pairs[2 * i] = firsts[i]
        pairs[2 * i + 1] = seconds[i]


cdef void write_lines(char* data, const char* values, Py_ssize_t size, bint past_caches) noexcept nogil:
    """Copies `size` bytes, in whole aligned lines of memory but for the ends."""
    cdef Py_ssize_t done = -<size_t>data & 63
    if size < 128:
        memcpy(data, values, size)
        return
    if past_caches:
        memcpy(data, values, done)  # no byte of the lines to come, which would then be in the caches
        while done <= size - 64:
            fastloss_stream_line(data + done, values + done)
            done += 64
        memcpy(data + done, values + done, size - done)
        return
    fastloss_copy_line(data, values)
    while done <= size - 64:
        fastloss_copy_line(data + done, values + done)
        done += 64
    fastloss_copy_line(data + size - 64, values + size - 64)


cdef void write(const Stream* stream, Py_ssize_t inner, Py_ssize_t start, Py_ssize_t n, const real* values,
                bint past_caches) noexcept nogil:
    cdef Py_ssize_t row = start // inner, column = start % inner, i
    cdef char* data = stream.data + start * stream.inner_stride
    if is_linear(stream, inner):
        if stream.inner_stride == sizeof(real):
            write_lines(data, <const char*>values, n * sizeof(real), past_caches)
            return
        for i in range(n):
            (<real*>(data + i * stream.inner_stride))[0] = values[i]
        return
    for i in range(n):
        data = stream.data + row * stream.outer_stride + column * stream.inner_stride
        (<real*>data)[0] = values[i]
        column += 1
        if column == inner:
            column = 0
            row += 1


# ---- targets and weights ---------------------------------------------------------------------------------------------

cdef int look_at_labels(const real* y, Py_ssize_t n) noexcept nogil:
    """Checks labels 0, 1 and -1."""
    # All is collected in bits, as to compare each number would take longer. A 1 has all bits of the exponent but its
    # highest, which is 0 in each label: so a bit differs from the next lower one at the ends of the exponent alone, and
    # at the sign.
    cdef Py_ssize_t i
    cdef uint64_t any64 = 0, all64 = ~<uint64_t>0, edges64 = 0, one64 = fastloss_bits_from_f64(1.0)
    cdef uint32_t any32 = 0, all32 = ~<uint32_t>0, edges32 = 0, one32 = fastloss_bits_from_f32(<float>1)
    cdef uint64_t label64
    cdef uint32_t label32
    for i in range(n):
        if real is double:
            label64 = fastloss_bits_from_f64(y[i])
            any64 |= label64
            all64 &= label64
            edges64 |= label64 ^ (label64 + label64)
        else:
            label32 = fastloss_bits_from_f32(y[i])
            any32 |= label32
            all32 &= label32
            edges32 |= label32 ^ (label32 + label32)
    if real is double:
        return flags_of((any64 >> 62 & 1) != 0 or (edges64 & ~<uint64_t>0xC010000000000000) != 0,
                        all64 & one64 != one64, any64 >> 63 and (all64 & one64 == one64 or holds_minus_1(y, n)))
    else:
        return flags_of((any32 >> 30 & 1) != 0 or (edges32 & ~<uint32_t>0xC0800000) != 0,
                        all32 & one32 != one32, any32 >> 31 and (all32 & one32 == one32 or holds_minus_1(y, n)))


cdef bint holds_minus_1(const real* y, Py_ssize_t n) noexcept nogil:
    """Whether a -1 is among labels of 0, -0, 1 and -1."""
    cdef Py_ssize_t i
    for i in range(n):
        if y[i] == <real>-1:
            return True
    return False


cdef inline int flags_of(bint bad, bint unit, bint minus) noexcept nogil:
    return (BAD_TARGET if bad else 0) | (UNIT_TARGET if unit else 0) | (SIGNED_TARGET if minus else 0)


ctypedef fused word:
    uint32_t
    uint64_t


cdef int look_at_shares(const word* labels, Py_ssize_t n) noexcept nogil:
    """Checks labels in [0, 1], which are in order as whole numbers."""
    cdef word one = fastloss_bits_from_f32(<float>1) if word is uint32_t else fastloss_bits_from_f64(1.0)
    cdef word outside = 0, common = one
    cdef Py_ssize_t i
    for i in range(n):
        outside |= labels[i] | (one - labels[i])
        common &= labels[i]
    return flags_of(outside >> (8 * sizeof(word) - 1), common != one, False)


cdef int look_at_signed_shares(const real* y, Py_ssize_t n) noexcept nogil:
    """Checks labels in [0, 1], or -1."""
    # Flags as wide as the labels, or the loop would spend its time on packing them.
    cdef Py_ssize_t i
    cdef int64_t bad64 = 0, unit64 = 0, minus64 = 0
    cdef int32_t bad32 = 0, unit32 = 0, minus32 = 0
    cdef bint minus, bad, unit
    for i in range(n):
        minus = y[i] == <real>-1
        bad = (not ((y[i] >= <real>0) & (y[i] <= <real>1))) & (not minus)
        unit = (y[i] < <real>1) & (not minus)
        if real is double:
            bad64 |= bad
            unit64 |= unit
            minus64 |= minus
        else:
            bad32 |= bad
            unit32 |= unit
            minus32 |= minus
    return flags_of((bad64 | bad32) != 0, (unit64 | unit32) != 0, (minus64 | minus32) != 0)


cdef int look_at_range(const real* y, Py_ssize_t n, int target) noexcept nogil:
    """Checks that targets are above the lowest number that is not allowed; NaN passes."""
    cdef Py_ssize_t i
    cdef int64_t bad64 = 0
    cdef int32_t bad32 = 0
    cdef bint bad
    cdef real forbidden = <real>0
    if target == NON_NEGATIVE:
        forbidden = -math.smallest(forbidden)
    elif target == ABOVE_MINUS_ONE:
        forbidden = <real>-1
    for i in range(n):
        bad = y[i] <= forbidden
        if real is double:
            bad64 |= bad
        else:
            bad32 |= bad
    return BAD_TARGET if bad64 | bad32 else 0


cdef int look_at_targets(const real* y, Py_ssize_t n, int target, bint signed) noexcept nogil:
    """Flags of targets. `signed` says that a label of -1 was seen before, which saves a look."""
    cdef int flags = BAD_TARGET
    if target == BINARY_HARD:
        return look_at_labels(y, n)
    if target != BINARY_SOFT:
        return look_at_range(y, n, target)
    if not signed:
        flags = look_at_shares(<const uint64_t*>y, n) if real is double else look_at_shares(<const uint32_t*>y, n)
    if flags & BAD_TARGET:  # labels of 1 and -1 alone take fewer steps
        flags = look_at_labels(y, n)
    return look_at_signed_shares(y, n) if flags & BAD_TARGET else flags


cdef int read_weights(const Job* job, Py_ssize_t start, Py_ssize_t n, const real* y, real* scratch,
                      double* weights) noexcept nogil:
    """weights = weight_unit · sample_weight · class_weight, in double."""
    cdef Py_ssize_t i, column, along
    cdef int bad = 0
    cdef double weight, label
    cdef const double* pair
    if job.sample_weight.data == NULL:
        for i in range(n):
            weights[i] = job.weight_unit
    else:
        read(&job.sample_weight, job.inner, start, n, scratch)
        for i in range(n):
            weight = scratch[i]
            bad |= weight - weight != 0.0
            weights[i] = weight * job.weight_unit
    if job.class_weight != NULL:
        if job.class_weight_step == 0:
            for i in range(n):
                label = y[i] if y[i] > <real>0 else <real>0  # a -1 counts as 0
                weights[i] *= (1.0 - label) * job.class_weight[0] + label * job.class_weight[1]
        else:
            column = (start // job.column_step) % job.columns
            along = start % job.column_step
            for i in range(n):
                pair = job.class_weight + column * job.class_weight_step
                label = y[i] if y[i] > <real>0 else <real>0
                weights[i] *= (1.0 - label) * pair[0] + label * pair[1]
                along += 1
                if along == job.column_step:
                    along = 0
                    column = column + 1 if column + 1 < job.columns else 0
    return BAD_WEIGHT if bad else 0


cdef inline void apply_weights(const double* weights, double scale, Py_ssize_t n, Py_ssize_t step,
                               real* values) noexcept nogil:
    """To numbers that are `step` apart. A weight of exactly 0 gives exactly 0, whatever stands there."""
    cdef Py_ssize_t i
    for i in range(n):
        values[step * i] = <real>(values[step * i] * (weights[i] * scale)) if weights[i] != 0.0 else <real>0


cdef void weigh_losses(const real* loss, Py_ssize_t n, const double* weights, double unit, double* out) noexcept nogil:
    """out = weights · unit · loss: in double, so that float32 losses keep their range in the sum."""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = weights[i] * unit * loss[i] if weights[i] != 0.0 else 0.0


# ---- sums ------------------------------------------------------------------------------------------------------------

include "sums.pxi"


# ---- the run over the blocks of a chunk ------------------------------------------------------------------------------

cdef inline void finish(const Job* job, const Stream* stream, const Stream* second, bint direct, Py_ssize_t first,
                        Py_ssize_t n, const double* weights, bint past_caches, real* values) noexcept nogil:
    """Weighs a block of gradients or Hessians and writes it to its array; of pairs, to two columns."""
    cdef real firsts[1024]
    cdef real* seconds = firsts + 512
    if job.kernel.pair:
        if job.weighted:
            apply_weights(weights, job.scale, n, 2, values)
            apply_weights(weights, job.scale, n, 2, values + 1)
        if direct:
            return
        if is_paired(stream, second, job.inner, values):
            write_lines(stream.data + first * stream.inner_stride, <const char*>values, n * stream.inner_stride,
                        past_caches)
            return
        read_pairs(values, n, firsts, seconds)
        write(stream, job.inner, first, n, firsts, past_caches)
        write(second, job.inner, first, n, seconds, past_caches)
        return
    if job.weighted:
        apply_weights(weights, job.scale, n, 1, values)
    if not direct:
        write(stream, job.inner, first, n, values, past_caches)


cdef inline void fill_up(real* values, Py_ssize_t n, Py_ssize_t whole, Py_ssize_t width) noexcept nogil:
    """Repeats the last value, or pair: one that its loss knows how to take."""
    cdef Py_ssize_t i
    for i in range(n * width, whole * width):
        values[i] = values[i - width]


cdef inline void run(const Job* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial, real* unused) noexcept nogil:
    cdef bint pair = job.kernel.pair
    cdef Py_ssize_t width = 2 if pair else 1
    cdef Py_ssize_t block = BLOCK_F64 if real is double or pair else BLOCK_F32
    cdef real y_scratch[1024]
    cdef real z_scratch[1024]
    cdef real v_scratch[1024]
    cdef real unaligned[3 * 1024 + 16]
    cdef real* loss_scratch = <real*>((<size_t>unaligned + 63) & ~<size_t>63)
    cdef real* gradient_scratch = loss_scratch + 1024
    cdef real* hessian_scratch = gradient_scratch + 1024
    cdef real* loss
    cdef real* gradient
    cdef real* hessian
    cdef double weights[1024]
    cdef double reduced[1024]
    cdef double lanes[LANES]
    cdef double reduced_lanes[LANES]
    cdef const real* y = y_scratch
    cdef const real* z
    cdef const real* v = v_scratch
    cdef Py_ssize_t inner = job.inner, swept = swept_at_once(unused), first, n = 0, whole, i
    cdef bint rest, to_sum, wide
    cdef bint y_direct = is_direct(&job.y_true, inner, unused)
    cdef bint z_ready = lies_as_swept(&job.y_pred, &job.second_pred, inner, pair, unused)
    cdef bint z_direct = z_ready and not job.in_place
    cdef bint labelled = job.mode != WEIGHT or job.class_weight != NULL
    cdef bint summed = job.loss.data == NULL and job.mode & LOSS
    cdef bint adds = (summed and not job.weighted and not job.reduced and job.varying.data == NULL
                      and job.kernel.sums_f64[job.mode] != NULL)  # as in float32
    # A sweep as fast as memory does not store into a large array itself: its stores may fall across two lines, and hold
    # up loads a multiple of 4 KB beside them while they wait for memory. AMD's cores (Zen 4 was measured) take up to a
    # quarter longer over the two steps, and no less time past the caches.
    cdef bint in_caches = width * job.size * sizeof(real) < IN_CACHES
    cdef bint past_caches = width * job.size * sizeof(real) >= PAST_CACHES and not job.kernel.unaided
    cdef bint direct = in_caches or job.kernel.unaided or not (job.kernel.staged or past_caches)
    cdef bint loss_direct = direct and is_direct(&job.loss, inner, unused)
    # (a pass for the sum alone has nothing to write to outputs that are there)
    cdef bint gradient_direct = (direct and job.mode & GRADIENT
                                 and lies_as_swept(&job.gradient, &job.second_gradient, inner, pair, unused))
    cdef bint hessian_direct = (direct and job.mode & HESSIAN
                                and lies_as_swept(&job.hessian, &job.second_hessian, inner, pair, unused))
    cdef real scale = <real>1 if job.weighted else <real>job.scale
    cdef int flags = 0

    memset(partial, 0, sizeof(Partial))
    memset(lanes, 0, sizeof(lanes))
    if job.reduced:
        memset(reduced_lanes, 0, sizeof(reduced_lanes))
    if job.varies and job.varying.data == NULL:
        for i in range(min(block, stop - start + swept)):
            v_scratch[i] = <real>job.varying_scalar

    first = start - n
    while first + n < stop:
        first += n
        n = min(block, stop - first)
        # Sweeps take whole vectors (those that sum up, 64 elements at a time): the last few elements go through
        # scratch, and are filled up there.
        rest = n < swept
        to_sum = adds and n >= 64
        if not rest:
            n -= n % (64 if to_sum else swept)
        whole = max(n, swept)
        if labelled:
            y = (<const real*>job.y_true.data + first if y_direct and not rest else
                 read(&job.y_true, inner, first, n, y_scratch))
        if job.weighted:
            flags |= read_weights(job, first, n, y, loss_scratch, weights)
        if job.mode == WEIGHT:
            if labelled:
                flags |= look_at_targets(y, n, job.target, flags & SIGNED_TARGET)
            add_values(weights, n, lanes)
            continue

        z = z_scratch
        if z_direct and not rest:
            z = <const real*>job.y_pred.data + width * first
        elif z_ready:
            memcpy(z_scratch, <const real*>job.y_pred.data + width * first, width * n * sizeof(real))
        elif pair:
            read(&job.y_pred, inner, first, n, gradient_scratch)
            read(&job.second_pred, inner, first, n, hessian_scratch)
            write_pairs(gradient_scratch, hessian_scratch, n, z_scratch)
        else:
            read(&job.y_pred, inner, first, n, z_scratch)
        if job.varying.data != NULL:
            read(&job.varying, inner, first, n, v_scratch)
        if rest:
            fill_up(y_scratch, n, whole, 1)
            fill_up(z_scratch, n, whole, width)
            if job.varying.data != NULL:
                fill_up(v_scratch, n, whole, 1)
        loss = <real*>job.loss.data + first if loss_direct and not rest else &loss_scratch[0]
        gradient = <real*>job.gradient.data + width * first if gradient_direct and not rest else &gradient_scratch[0]
        hessian = <real*>job.hessian.data + width * first if hessian_direct and not rest else &hessian_scratch[0]

        if not (in_caches or job.kernel.unaided):
            look_up(&job.y_true, first + 2 * block)
            look_up(&job.y_pred, first + 2 * block)
            look_up(&job.gradient, first + 2 * block)
            look_up(&job.hessian, first + 2 * block)

        # What is not wanted goes to scratch, if the sweep computes it at all. Extreme numbers are looked for in it, or
        # after it: so the formula hides the memory's latency.
        if to_sum:  # each block of a chunk to lanes of its own
            if real is double:
                job.kernel.sums_f64[job.mode](&job.kernel.parameters, n, y, z, v, scale,
                                              lanes + (first - start) // block * 8 % LANES, gradient)
            else:
                job.kernel.sums_f32[job.mode](&job.kernel.parameters, n, y, z, v, scale,
                                              lanes + (first - start) // block * 16 % LANES, gradient)
            wide = False  # these losses have no formula of their own for extreme numbers
        elif real is double:
            wide = job.kernel.sweeps_f64[job.mode](&job.kernel.parameters, whole, y, z, v, scale, loss, gradient,
                                                   hessian)
            if job.kernel.is_wide_f64 != NULL:
                wide = job.kernel.is_wide_f64(&job.kernel.parameters, whole, y, z)
            if wide:
                job.kernel.sweep_wide_f64(&job.kernel.parameters, whole, y, z, v, scale, loss, gradient, hessian)
        else:
            wide = job.kernel.sweeps_f32[job.mode](&job.kernel.parameters, whole, y, z, v, scale, loss, gradient,
                                                   hessian)
            if job.kernel.is_wide_f32 != NULL:
                wide = job.kernel.is_wide_f32(&job.kernel.parameters, whole, y, z)
            if wide:
                job.kernel.sweep_wide_f32(&job.kernel.parameters, whole, y, z, v, scale, loss, gradient, hessian)

        # after the sweep, which has brought them to the cache beside the predictions
        if job.target != ANY_REAL and (wide or not job.kernel.checked):
            flags |= look_at_targets(y, n, job.target, flags & SIGNED_TARGET)
        if job.mode & GRADIENT:
            finish(job, &job.gradient, &job.second_gradient, gradient_direct and not rest, first, n, weights,
                   past_caches, gradient)
        if job.mode & HESSIAN:
            finish(job, &job.hessian, &job.second_hessian, hessian_direct and not rest, first, n, weights,
                   past_caches, hessian)
        if summed and not to_sum:
            if job.reduced:
                if not job.weighted:
                    for i in range(n):
                        weights[i] = 1.0
                weigh_losses(loss, n, weights, 5.421010862427522e-20, reduced)  # 2^-64
                add_values(reduced, n, reduced_lanes)
            if job.weighted:
                weigh_losses(loss, n, weights, 1.0, weights)
                add_values(weights, n, lanes)
            else:
                add_values(loss, n, lanes)
        elif job.mode & LOSS and not summed:
            if job.weighted:
                apply_weights(weights, 1.0, n, 1, loss)
            if rest or not loss_direct:
                write(&job.loss, inner, first, n, loss, past_caches)

    if past_caches:
        fastloss_end_stream()
    if summed or job.mode == WEIGHT:
        add_lanes(lanes, &partial.losses)
    if job.reduced:
        add_lanes(reduced_lanes, &partial.reduced)
    partial.flags = flags


cdef void run_f32(const Job* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial) noexcept nogil:
    run(job, start, stop, partial, <float*>NULL)


cdef void run_f64(const Job* job, Py_ssize_t start, Py_ssize_t stop, Partial* partial) noexcept nogil:
    run(job, start, stop, partial, <double*>NULL)


# ---- what Python sees ------------------------------------------------------------------------------------------------

cdef void free_kernel(object capsule) noexcept:
    PyMem_Free(PyCapsule_GetPointer(capsule, "fastloss.Kernel"))


def bind(PointwiseLoss parameters):
    """A loss with its parameters (a dict of the struct's fields), as a capsule that holds a Kernel.

    Python picks the loss by its struct's name: ``bind.__signatures__["Huber"]({"delta": 1.0})``.
    """
    cdef Kernel* kernel = <Kernel*>PyMem_Malloc(sizeof(Kernel))
    if kernel == NULL:
        raise MemoryError
    memset(kernel, 0, sizeof(Kernel))
    (<PointwiseLoss*>&kernel.parameters)[0] = parameters
    kernel.run_f32 = run_f32
    kernel.run_f64 = run_f64
    kernel.checked = PointwiseLoss in CheckedLoss
    kernel.staged = PointwiseLoss in StagedLoss
    kernel.unaided = fastloss_is_amd()
    kernel.pair = PointwiseLoss in PairLoss
    # The casts only take the loss out of the first parameter's type.
    kernel.sweeps_f32[<int>LOSS] = <sweep_f32>sweep_loss[PointwiseLoss, float]
    kernel.sweeps_f64[<int>LOSS] = <sweep_f64>sweep_loss[PointwiseLoss, double]
    kernel.sweeps_f32[<int>GRADIENT] = <sweep_f32>sweep_gradient[PointwiseLoss, float]
    kernel.sweeps_f64[<int>GRADIENT] = <sweep_f64>sweep_gradient[PointwiseLoss, double]
    kernel.sweeps_f32[LOSS | GRADIENT] = <sweep_f32>sweep_loss_gradient[PointwiseLoss, float]
    kernel.sweeps_f64[LOSS | GRADIENT] = <sweep_f64>sweep_loss_gradient[PointwiseLoss, double]
    kernel.sweeps_f32[GRADIENT | HESSIAN] = <sweep_f32>sweep_gradient_hessian[PointwiseLoss, float]
    kernel.sweeps_f64[GRADIENT | HESSIAN] = <sweep_f64>sweep_gradient_hessian[PointwiseLoss, double]
    kernel.sweeps_f32[LOSS | GRADIENT | HESSIAN] = <sweep_f32>sweep_all[PointwiseLoss, float]
    kernel.sweeps_f64[LOSS | GRADIENT | HESSIAN] = <sweep_f64>sweep_all[PointwiseLoss, double]
    if PointwiseLoss in WideLoss:
        if PointwiseLoss not in LookingLoss:
            kernel.is_wide_f32 = <is_wide_f32>is_wide[PointwiseLoss, float]
            kernel.is_wide_f64 = <is_wide_f64>is_wide[PointwiseLoss, double]
        kernel.sweep_wide_f32 = <sweep_f32>sweep_wide[PointwiseLoss, float]
        kernel.sweep_wide_f64 = <sweep_f64>sweep_wide[PointwiseLoss, double]
    if PointwiseLoss in SummedLoss:
        kernel.sums_f32[<int>LOSS] = <sum_f32>sweep_loss_to_sum[PointwiseLoss, float]
        kernel.sums_f64[<int>LOSS] = <sum_f64>sweep_loss_to_sum[PointwiseLoss, double]
        kernel.sums_f32[LOSS | GRADIENT] = <sum_f32>sweep_loss_to_sum_gradient[PointwiseLoss, float]
        kernel.sums_f64[LOSS | GRADIENT] = <sum_f64>sweep_loss_to_sum_gradient[PointwiseLoss, double]
    return PyCapsule_New(kernel, "fastloss.Kernel", free_kernel)


cdef void apply_math(int function, const real* x, real* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if function == 0:
            out[i] = math.exp(x[i])
        elif function == 1:
            out[i] = math.expm1(x[i])
        elif function == 2:
            out[i] = math.log1p_unit(x[i])
        elif function == 3:
            out[i] = math.log(x[i])
        elif function == 4:
            out[i] = math.log1p(x[i])
        elif function == 5:
            out[i] = math.log1p_positive(x[i])
        else:
            out[i] = math.atan(x[i])


def math_function(str name, size_t x, size_t out, Py_ssize_t n, bint double_precision):
    """out[i] = name(x[i]), by address: lets the tests hold each maths function to its documented error."""
    cdef int function = ["exp", "expm1", "log1p_unit", "log", "log1p", "log1p_positive", "atan"].index(name)
    if double_precision:
        apply_math(function, <const double*>x, <double*>out, n)
    else:
        apply_math(function, <const float*>x, <float*>out, n)
