# Overlap losses: two passes over the pixels of images. The first sums up, for each class, what the loss is made of; the
# second takes the loss's derivatives by those sums back to the scores. Both make the probabilities of a block of
# pixels, class by class, and keep none. A pixel is what a vector's lane holds.

cdef enum:
    BLOCK = 256  # pixels, where there are few classes
    BLOCK_SIZE = 4096  # numbers, where there are many

# A block of pixels in scratch: a matrix has a row of `pitch` numbers for each class.
cdef struct Pixels:
    Py_ssize_t image
    Py_ssize_t first
    Py_ssize_t n
    Py_ssize_t padded  # to whole vectors: behind the last pixel are copies of it that do not count
    Py_ssize_t pitch
    const void* scores  # perhaps in y_pred itself
    Py_ssize_t scores_pitch
    void* own_scores
    void* p  # probabilities
    void* q  # 1 - p, with its own digits
    void* slopes  # scratch of the second pass
    void* targets  # classes (a row), or a matrix
    void* target  # of one class
    void* counts  # 0 for pixels that do not count, else 1
    void* most  # the largest score
    void* rest  # the logarithm of all exponentials, relative to that of the largest score
    void* mass  # sum of targets
    void* weight  # in the cross-entropy
    void* row


cdef Py_ssize_t pixels_of_block(Py_ssize_t classes) noexcept nogil:
    return max(<Py_ssize_t>WIDTH, min(<Py_ssize_t>BLOCK, BLOCK_SIZE // classes // WIDTH * WIDTH))


cdef inline Py_ssize_t lanes_of(const Pixels* block) noexcept nogil:
    return block.padded // WIDTH * WIDTH  # it is a multiple: so the compiler knows, and makes no loop for a rest


cdef char* start_of_run(const Field* field, Py_ssize_t image, Py_ssize_t c, Py_ssize_t first,
                        Py_ssize_t* run) noexcept nogil:
    """Where a pixel of an image and a class is, and how many with it are on the last axis of space."""
    cdef Py_ssize_t offset = image * field.image_stride + c * field.class_stride
    cdef int axis = field.ndim - 1
    run[0] = field.shape[axis] - first % field.shape[axis]
    while axis > 0:
        offset += first % field.shape[axis] * field.strides[axis]
        first //= field.shape[axis]
        axis -= 1
    return field.data + offset + first * field.strides[0]


cdef void read_pixels(const Field* field, Py_ssize_t image, Py_ssize_t c, Py_ssize_t first, Py_ssize_t n,
                      real* out) noexcept nogil:
    cdef Py_ssize_t run
    cdef char* data
    while n > 0:
        data = start_of_run(field, image, c, first, &run)
        run = min(run, n)
        read_strided(data, field.strides[field.ndim - 1], run, field.dtype, out)
        out += run
        first += run
        n -= run


cdef void read_row(const Field* field, const Pixels* block, Py_ssize_t c, real* out) noexcept nogil:
    """A class's numbers of a block."""
    cdef Py_ssize_t j
    read_pixels(field, block.image, c, block.first, block.n, out)
    for j in range(block.n, block.padded):
        out[j] = out[block.n - 1]


cdef void write_pixels(const Field* field, Py_ssize_t image, Py_ssize_t c, Py_ssize_t first, Py_ssize_t n,
                       const real* values) noexcept nogil:
    cdef Py_ssize_t run, j, stride = field.strides[field.ndim - 1]
    cdef char* data
    while n > 0:
        data = start_of_run(field, image, c, first, &run)
        run = min(run, n)
        if stride == sizeof(real):
            memcpy(data, values, run * sizeof(real))
        else:
            for j in range(run):
                (<real*>(data + j * stride))[0] = values[j]
        values += run
        first += run
        n -= run


# ---- a block: targets, scores, probabilities -------------------------------------------------------------------------

cdef int load_targets(const OverlapJob* job, Pixels* block, real* unused) noexcept nogil:
    """Targets, which pixels count, and what is wrong with them."""
    cdef real* t = <real*>block.targets
    cdef real* counts = <real*>block.counts
    cdef real* mass = <real*>block.mass
    cdef double sums[BLOCK]  # of targets: float32 would round those of many classes too far from 1
    cdef real zero = <real>0, one = <real>1, classes = <real>job.classes, ignored = <real>job.ignored
    cdef bint indexed = job.target == INDEX_MAP, ignores = job.ignores
    cdef bint good, skipped
    cdef int64_t odd = 0
    cdef Py_ssize_t c, j, n = lanes_of(block)
    for j in range(n):
        counts[j] = mass[j] = one
        sums[j] = 0
    for c in range(1 if indexed else job.classes):
        t = <real*>block.targets + c * block.pitch
        read_row(&job.y_true, block, c, t)
        if job.target == ANY_MAP:
            continue
        for j in range(n):
            skipped = ignores & (t[j] == ignored)
            good = ((t[j] >= zero) & (t[j] < classes) & (t[j] == <real><int>t[j]) if indexed else
                    (t[j] >= zero) & (t[j] <= one))
            odd |= not (good | skipped)
            counts[j] = zero if skipped else one
            t[j] = t[j] if good and not skipped else -one if indexed else zero
        if job.target == DISTRIBUTION_MAP:
            for j in range(n):
                sums[j] += <double>t[j]
    for j in range(block.n, block.padded):
        counts[j] = zero
        for c in range(1 if indexed else job.classes):
            (<real*>block.targets + c * block.pitch)[j] = -one if indexed else zero
    if job.target == DISTRIBUTION_MAP:
        for j in range(n):
            mass[j] = <real>sums[j]
            odd |= not math.absolute(sums[j] - 1.0) <= job.tolerance
    return BAD_TARGET if odd else 0


cdef void aim_at_class(const OverlapJob* job, Pixels* block, Py_ssize_t c, real* unused) noexcept nogil:
    """Makes `target` the targets of a class."""
    cdef const real* labels = <const real*>block.targets
    cdef real* t
    cdef real label = <real>c
    cdef Py_ssize_t j, n = lanes_of(block)
    if job.target == INDEX_MAP:
        t = <real*>block.row
        for j in range(n):
            t[j] = <real>1 if labels[j] == label else <real>0
    else:
        t = <real*>block.targets + c * block.pitch
    block.target = t


cdef inline const real* scores_of(const Pixels* block, Py_ssize_t c, real* unused) noexcept nogil:
    return <const real*>block.scores + c * block.scores_pitch


cdef void load_scores(const OverlapJob* job, Pixels* block, real* unused) noexcept nogil:
    """Scores, where they lie if they can be read there; those of ignored pixels become 0."""
    cdef const Field* field = &job.y_pred
    cdef const real* counts = <const real*>block.counts
    cdef real* z
    cdef Py_ssize_t c, j, n = lanes_of(block)
    cdef int own_type = FLOAT32
    if real is double:
        own_type = FLOAT64
    if (field.dtype == own_type and field.ndim == 1 and not job.ignores and block.n == block.padded
            and field.strides[0] == sizeof(real) and field.class_stride % <Py_ssize_t>sizeof(real) == 0):
        block.scores = field.data + block.image * field.image_stride + block.first * sizeof(real)
        block.scores_pitch = field.class_stride // <Py_ssize_t>sizeof(real)
        return
    block.scores = block.own_scores
    block.scores_pitch = block.pitch
    for c in range(job.classes):
        z = <real*>block.own_scores + c * block.pitch
        read_row(field, block, c, z)
        if job.ignores:
            for j in range(n):
                z[j] = z[j] if counts[j] != <real>0 else <real>0


cdef void apply_softmax(const OverlapJob* job, const Pixels* block, real* unused) noexcept nogil:
    cdef real shift[BLOCK]
    cdef real magic[BLOCK]
    cdef real least[BLOCK]
    cdef real peak[BLOCK]
    cdef real total[BLOCK]
    cdef real share[BLOCK]
    cdef real* most = <real*>block.most
    cdef real* rest = <real*>block.rest
    cdef real* p
    cdef real* q
    cdef const real* z
    cdef real e
    cdef Py_ssize_t n = lanes_of(block), c, j
    for j in range(n):
        most[j] = <real>-1 / <real>0
        rest[j] = total[j] = peak[j] = <real>0
    for c in range(job.classes):
        z = scores_of(block, c, unused)
        for j in range(n):
            most[j] = larger(z[j], most[j])
    prepare(n, most, shift, magic, least)
    for c in range(job.classes):
        z = scores_of(block, c, unused)
        p = <real*>block.p + c * block.pitch
        for j in range(n):
            e = exponential(z[j], shift[j], magic[j], least[j], True)
            p[j] = e
            total[j] += e
            peak[j] = larger(e, peak[j])
            rest[j] = rest[j] if z[j] == most[j] else rest[j] + e
    settle(n, most, peak, rest, total)
    for j in range(n):
        share[j] = <real>1 / total[j]
    for c in range(job.classes):
        z = scores_of(block, c, unused)
        p = <real*>block.p + c * block.pitch
        q = <real*>block.q + c * block.pitch
        for j in range(n):
            e = p[j]
            p[j] = e * share[j]
            q[j] = (rest[j] if z[j] == most[j] else total[j] - e) * share[j]
    if job.cross_entropy:
        for j in range(n):
            rest[j] = math.log1p_positive(rest[j] / peak[j])


cdef void apply_sigmoid(const OverlapJob* job, const Pixels* block, real* unused) noexcept nogil:
    cdef real* p
    cdef real* q
    cdef const real* z
    cdef real zero = <real>0, one = <real>1, e, near, far
    cdef Py_ssize_t c, j, n = lanes_of(block)
    for c in range(job.classes):
        z = scores_of(block, c, unused)
        p = <real*>block.p + c * block.pitch
        q = <real*>block.q + c * block.pitch
        for j in range(n):
            e = math.exp(-math.absolute(z[j]))
            near = one / (one + e)
            far = e / (one + e)
            p[j] = far if z[j] < zero else near
            q[j] = near if z[j] < zero else far


cdef void take_probabilities(const OverlapJob* job, const Pixels* block, real* unused) noexcept nogil:
    cdef real* p
    cdef real* q
    cdef const real* z
    cdef real zero = <real>0, one = <real>1, nan = zero / zero
    cdef Py_ssize_t c, j, n = lanes_of(block)
    for c in range(job.classes):
        z = scores_of(block, c, unused)
        p = <real*>block.p + c * block.pitch
        q = <real*>block.q + c * block.pitch
        for j in range(n):
            p[j] = z[j] if (z[j] >= zero) & (z[j] <= one) else nan
            q[j] = one - p[j]


cdef int load_block(const OverlapJob* job, Pixels* block, real* unused) noexcept nogil:
    """Scores, targets and probabilities of a block; what is wrong with its targets. The probability of pixels that do
    not count is 0."""
    cdef const real* counts = <const real*>block.counts
    cdef real* p
    cdef Py_ssize_t c, j, n = lanes_of(block)
    cdef int flags = load_targets(job, block, unused)
    load_scores(job, block, unused)
    if job.activation == SOFTMAX:
        apply_softmax(job, block, unused)
    elif job.activation == SIGMOID:
        apply_sigmoid(job, block, unused)
    else:
        take_probabilities(job, block, unused)
    for c in range(job.classes):
        p = <real*>block.p + c * block.pitch
        for j in range(n):
            p[j] *= counts[j]
    return flags


cdef inline real difference(real p, real q, real t, real mass) noexcept nogil:
    """p·mass - t, which keeps its digits where p and t are near 1."""
    cdef real near = mad(-q, mass, mass - t)
    cdef real far = mad(p, mass, -t)
    return near if t > <real>0.5 else far


# ---- cross-entropy ---------------------------------------------------------------------------------------------------

cdef void weigh_pixels(const OverlapJob* job, Pixels* block, Py_ssize_t c, real* unused) noexcept nogil:
    """What pixels weigh: exclusive ones the weights of their classes, for every c the same; others that of class c."""
    cdef real* weight = <real*>block.weight
    cdef const real* counts = <const real*>block.counts
    cdef const real* t
    cdef real of_class = <real>1
    cdef Py_ssize_t j, n = lanes_of(block)
    if job.class_weight != NULL:
        of_class = <real>0 if job.exclusive else <real>job.class_weight[c]
    for j in range(n):
        weight[j] = of_class * counts[j]
    if job.class_weight != NULL and job.exclusive:
        for c in range(job.classes):
            of_class = <real>job.class_weight[c]
            aim_at_class(job, block, c, unused)
            t = <const real*>block.target
            for j in range(n):
                weight[j] = mad(of_class, t[j], weight[j])


cdef inline real log_term(real t, real log_p) noexcept nogil:
    return -t * log_p if t != <real>0 else <real>0  # not 0·inf


cdef double sum_of_block(const real* values, Py_ssize_t padded) noexcept nogil:
    cdef double lanes[WIDTH]
    cdef Py_ssize_t first, j
    memset(lanes, 0, sizeof(lanes))
    for first in range(0, padded, 16):
        for j in range(WIDTH):
            lanes[j] += <double>values[first + j]
    return sum_of_lanes(lanes)


cdef inline double sum_of_lanes(double* lanes) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef double entropy_of_class(const OverlapJob* job, const Pixels* block, Py_ssize_t c, real* unused) noexcept nogil:
    """Σ of a class's part of the cross-entropy, times the weights."""
    cdef const real* z = scores_of(block, c, unused)
    cdef const real* p = <const real*>block.p + c * block.pitch
    cdef const real* q = <const real*>block.q + c * block.pitch
    cdef const real* t = <const real*>block.target
    cdef const real* most = <const real*>block.most
    cdef const real* rest = <const real*>block.rest
    cdef const real* weight = <const real*>block.weight
    cdef real loss[BLOCK]
    cdef real zero = <real>0, one = <real>1
    cdef real gap, weighted
    cdef Py_ssize_t j, n = lanes_of(block)
    if job.activation == SOFTMAX:
        for j in range(n):
            gap = z[j] - most[j]
            gap = zero if z[j] == most[j] else gap
            loss[j] = log_term(t[j], gap - rest[j])
    elif job.activation == SIGMOID:
        for j in range(n):  # log_term: the other label's share of |z|
            gap = math.absolute(z[j])
            loss[j] = (log_term(one - t[j] if z[j] > zero else t[j], -gap)
                       - math.log1p(-(p[j] if p[j] < q[j] else q[j])))
    elif job.exclusive:
        for j in range(n):
            loss[j] = log_term(t[j], math.log(p[j]))
    else:
        for j in range(n):
            loss[j] = log_term(t[j], math.log(p[j])) + log_term(one - t[j], math.log1p(-p[j]))
    for j in range(n):
        weighted = loss[j] * weight[j]
        loss[j] = weighted if weight[j] != zero else zero
    return sum_of_block(loss, block.padded)


cdef void add_entropy_slope(const OverlapJob* job, const Pixels* block, Py_ssize_t c, real scale,
                            real* gradient) noexcept nogil:
    """Adds the derivative of a class's part of the cross-entropy."""
    cdef const real* p = <const real*>block.p + c * block.pitch
    cdef const real* q = <const real*>block.q + c * block.pitch
    cdef const real* t = <const real*>block.target
    cdef const real* mass = <const real*>block.mass
    cdef const real* weight = <const real*>block.weight
    cdef real zero = <real>0, one = <real>1
    cdef real slope, other
    cdef bint exclusive = job.exclusive
    cdef Py_ssize_t j, n = lanes_of(block)
    if job.activation == IDENTITY:
        for j in range(n):
            slope = t[j] / p[j]
            slope = slope if t[j] != zero else zero
            other = (one - t[j]) / q[j]
            other = other if (t[j] != one) & (not exclusive) else zero
            slope = (other - slope) * (scale * weight[j])
            gradient[j] += slope if weight[j] != zero else zero
    else:
        for j in range(n):
            slope = difference(p[j], q[j], t[j], mass[j] if exclusive else one) * (scale * weight[j])
            gradient[j] += slope if weight[j] != zero else zero


# ---- the two passes --------------------------------------------------------------------------------------------------

cdef void add_class(const OverlapJob* job, const Pixels* block, Py_ssize_t c, double* sums,
                    real* unused) noexcept nogil:
    """Adds a block's part of the sums of a class."""
    cdef const real* p = <const real*>block.p + c * block.pitch
    cdef const real* q = <const real*>block.q + c * block.pitch
    cdef const real* t = <const real*>block.target
    cdef double lanes[N_SUMS][WIDTH]
    cdef real d
    cdef Py_ssize_t first, j
    cdef int k
    memset(lanes, 0, sizeof(lanes))
    for first in range(0, block.padded, 16):
        for j in range(WIDTH):
            lanes[<int>TRUE_POSITIVE][j] += <double>(p[first + j] * t[first + j])
        for j in range(WIDTH):
            lanes[<int>FALSE_POSITIVE][j] += <double>(p[first + j] * (<real>1 - t[first + j]))
        for j in range(WIDTH):
            lanes[<int>FALSE_NEGATIVE][j] += <double>(q[first + j] * t[first + j])
    if job.squares:
        for first in range(0, block.padded, 16):
            for j in range(WIDTH):
                d = difference(p[first + j], q[first + j], t[first + j], <real>1)
                lanes[<int>SQUARES][j] += <double>d * <double>d
    for k in range(N_SUMS):
        sums[k] += sum_of_lanes(lanes[k])


cdef void gradient_of_block(const OverlapJob* job, Pixels* block, real* unused) noexcept nogil:
    """The derivatives by the scores (by p, where those are probabilities)."""
    cdef real top[BLOCK]
    cdef real mean[BLOCK]
    cdef const double* slopes
    cdef const real* counts = <const real*>block.counts
    cdef const real* most = <const real*>block.most
    cdef const real* z
    cdef const real* p
    cdef const real* q
    cdef const real* t
    cdef real* d
    cdef real zero = <real>0, one = <real>1, at_0, at_1, by_difference
    cdef Py_ssize_t c, j, n = lanes_of(block)
    for j in range(n):
        top[j] = mean[j] = zero
    for c in range(job.classes):
        aim_at_class(job, block, c, unused)
        slopes = job.slopes + (block.image * job.classes + c) * N_SLOPES
        at_0 = <real>slopes[<int>AT_0]
        at_1 = <real>slopes[<int>AT_1]
        by_difference = <real>slopes[<int>BY_DIFFERENCE]
        p = <const real*>block.p + c * block.pitch
        q = <const real*>block.q + c * block.pitch
        d = <real*>block.slopes + c * block.pitch
        z = scores_of(block, c, unused)
        t = <const real*>block.target
        for j in range(n):
            d[j] = mad(t[j], at_1, (one - t[j]) * at_0)
        if job.squares:
            for j in range(n):
                d[j] = mad(by_difference, difference(p[j], q[j], t[j], one), d[j])
        if job.activation == SOFTMAX:
            for j in range(n):
                top[j] = d[j] if z[j] == most[j] else top[j]
    if job.activation == SOFTMAX:
        # Σ_k p_k·(d_c - d_k), with all d less that of the largest p, whose rounding errors would otherwise be all that
        # is left where p is near 1.
        for c in range(job.classes):
            p = <const real*>block.p + c * block.pitch
            d = <real*>block.slopes + c * block.pitch
            for j in range(n):
                d[j] -= top[j]
                mean[j] = mad(p[j], d[j], mean[j])
    for c in range(job.classes):
        p = <const real*>block.p + c * block.pitch
        q = <const real*>block.q + c * block.pitch
        d = <real*>block.slopes + c * block.pitch
        if job.activation == SOFTMAX:
            for j in range(n):
                d[j] = p[j] * (d[j] - mean[j])
        elif job.activation == SIGMOID:
            for j in range(n):
                d[j] = p[j] * q[j] * d[j]
        else:
            for j in range(n):
                d[j] = d[j] if (counts[j] != zero) & (p[j] == p[j]) else p[j]
        if job.cross_entropy:
            if c == 0 or not job.exclusive:
                weigh_pixels(job, block, c, unused)
            aim_at_class(job, block, c, unused)
            add_entropy_slope(job, block, c, <real>job.scales[block.image], d)
    for c in range(job.classes):
        write_pixels(&job.gradient, block.image, c, block.first, block.n, <const real*>block.slopes + c * block.pitch)


cdef int run_overlap(const OverlapJob* job, Py_ssize_t image, Py_ssize_t chunk, bint summing,
                     real* unused) noexcept nogil:
    """One pass over a chunk of an image."""
    cdef Pixels block
    cdef double* sums = job.sums + (image * job.chunks + chunk) * job.classes * N_SUMS
    cdef double* entropy = job.entropies + (image * job.chunks + chunk) * 2
    cdef Py_ssize_t first = chunk * job.chunk, last = min(job.pixels, first + job.chunk), c
    cdef Py_ssize_t pitch = pixels_of_block(job.classes)
    cdef Py_ssize_t matrix = job.classes * pitch
    cdef real* scratch = <real*>malloc((5 * matrix + 6 * pitch) * sizeof(real))
    cdef int flags = 0
    if scratch == NULL:
        return NO_MEMORY
    block.image = image
    block.pitch = pitch
    block.own_scores = scratch
    block.p = scratch + matrix
    block.q = scratch + 2 * matrix
    block.slopes = scratch + 3 * matrix
    block.targets = scratch + 4 * matrix
    block.row = scratch + 5 * matrix
    block.counts = scratch + 5 * matrix + pitch
    block.most = scratch + 5 * matrix + 2 * pitch
    block.rest = scratch + 5 * matrix + 3 * pitch
    block.mass = scratch + 5 * matrix + 4 * pitch
    block.weight = scratch + 5 * matrix + 5 * pitch
    if summing:
        memset(sums, 0, job.classes * N_SUMS * sizeof(double))
        memset(entropy, 0, 2 * sizeof(double))
    while first < last:
        block.first = first
        block.n = min(pitch, last - first)
        block.padded = (block.n + WIDTH - 1) // WIDTH * WIDTH
        flags |= load_block(job, &block, unused)
        if not summing:
            gradient_of_block(job, &block, unused)
        else:
            for c in range(job.classes):
                if job.cross_entropy and (c == 0 or not job.exclusive):
                    weigh_pixels(job, &block, c, unused)
                    entropy[1] += sum_of_block(<const real*>block.weight, block.padded)
                aim_at_class(job, &block, c, unused)
                add_class(job, &block, c, sums + c * N_SUMS, unused)
                if job.cross_entropy:
                    entropy[0] += entropy_of_class(job, &block, c, unused)
        first += pitch
    free(scratch)
    return flags


cdef int overlap_sums_f32(const OverlapJob* job, Py_ssize_t image, Py_ssize_t chunk) noexcept nogil:
    return run_overlap(job, image, chunk, True, <float*>NULL)


cdef int overlap_sums_f64(const OverlapJob* job, Py_ssize_t image, Py_ssize_t chunk) noexcept nogil:
    return run_overlap(job, image, chunk, True, <double*>NULL)


cdef int overlap_gradient_f32(const OverlapJob* job, Py_ssize_t image, Py_ssize_t chunk) noexcept nogil:
    return run_overlap(job, image, chunk, False, <float*>NULL)


cdef int overlap_gradient_f64(const OverlapJob* job, Py_ssize_t image, Py_ssize_t chunk) noexcept nogil:
    return run_overlap(job, image, chunk, False, <double*>NULL)


cdef OverlapKernel overlap_kernel
overlap_kernel.sums_f32 = overlap_sums_f32
overlap_kernel.sums_f64 = overlap_sums_f64
overlap_kernel.gradient_f32 = overlap_gradient_f32
overlap_kernel.gradient_f64 = overlap_gradient_f64
#: The passes of overlap losses, as a capsule that holds an OverlapKernel.
overlap = PyCapsule_New(&overlap_kernel, "fastloss.OverlapKernel", NULL)
