# Groups of rows as matrices of numbers 16 at a time: where they are, and how they get there and back.

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


cdef inline void prefetch_next(const real* numbers, Py_ssize_t ahead) noexcept nogil:
    """Brings what the next group, `ahead` numbers later, has in the place of 16 numbers into the L2 cache, while there
    is much to compute (measured: a call takes up to a tenth less time where arrays are not in the cache)."""
    fastloss_prefetch_l2(numbers + ahead)
    if real is double:
        fastloss_prefetch_l2(numbers + ahead + 8)


cdef inline void prefetch_rows(const Stream* stream, Py_ssize_t first, Py_ssize_t rows,
                               Py_ssize_t classes) noexcept nogil:
    """The same of rows that follow each other, in an array that scratch is filled from, or written to (measured: a call
    takes a tenth less time)."""
    cdef Py_ssize_t i
    if stream.outer_stride == classes * stream.inner_stride:
        for i in range(first * stream.outer_stride, (first + rows) * stream.outer_stride, 64):
            fastloss_prefetch_l2(stream.data + i)


cdef inline void copy_numbers(real* to, const real* numbers) noexcept nogil:
    """16 numbers, which may still be in registers."""
    fastloss_copy_line(to, numbers)
    if real is double:
        fastloss_copy_line(to + 8, numbers + 8)


cdef inline void of_labels(const Group* group, const Matrix* matrix, real* rows) noexcept nogil:
    """Each row's number of its label's class."""
    cdef size_t i  # of which the quotient below is a shift
    cdef Py_ssize_t line, k, j
    cdef real lanes[WIDTH]
    cdef real labels[WIDTH]  # as numbers, which compare with numbers in one step
    cdef real label
    cdef const real* x
    cdef const real* data = <const real*>matrix.data
    if group.across and group.classes <= FEW_LABELS:
        for line in range(group.lines):
            for j in range(WIDTH):
                labels[j] = <real>group.labels[line * WIDTH + j]
            memset(lanes, 0, sizeof(lanes))
            for k in range(group.count):
                x = place(matrix, line, k, rows)
                label = <real>k
                # a sum: a select would become a store under a mask, which holds up the next load
                for j in range(WIDTH):
                    lanes[j] += x[j] if labels[j] == label else <real>0
            copy_numbers(rows + line * WIDTH, lanes)
    elif group.across:
        for i in range(<size_t>group.rows):
            rows[i] = data[i // WIDTH * matrix.pitch + group.labels[i] * matrix.step + i % WIDTH]
    else:
        for i in range(<size_t>group.rows):
            rows[i] = element(group, matrix, i, group.labels[i], rows)[0]


cdef inline void put_at_labels(const Group* group, const Matrix* matrix, const real* rows) noexcept nogil:
    cdef size_t i  # of which the quotient below is a shift
    cdef Py_ssize_t line, k, j
    cdef real lanes[WIDTH]
    cdef real labels[WIDTH]
    cdef real label
    cdef real* x
    cdef real* data = <real*>matrix.data
    if group.across and group.classes <= FEW_LABELS:
        for line in range(group.lines):
            for j in range(WIDTH):
                labels[j] = <real>group.labels[line * WIDTH + j]
            for k in range(group.count):
                x = place(matrix, line, k, <real*>rows)
                label = <real>k
                for j in range(WIDTH):
                    lanes[j] = rows[line * WIDTH + j] if labels[j] == label else x[j]
                copy_numbers(x, lanes)
    elif group.across:
        for i in range(<size_t>group.rows):
            data[i // WIDTH * matrix.pitch + group.labels[i] * matrix.step + i % WIDTH] = rows[i]
    else:
        for i in range(<size_t>group.rows):
            element(group, matrix, i, group.labels[i], <real*>rows)[0] = rows[i]


# What is known of each row, beside the 16 numbers of a line.

cdef inline void spread(const Group* group, Py_ssize_t line, const real* rows, real* lanes) noexcept nogil:
    cdef Py_ssize_t j
    cdef real one = rows[line]
    if group.across:
        copy_numbers(lanes, rows + line * WIDTH)
    else:
        for j in range(WIDTH):
            lanes[j] = one


cdef inline void fold(const Group* group, Py_ssize_t line, real* lanes, real* rows) noexcept nogil:
    """The sums of a line: of each of its rows, or of its one row."""
    cdef Py_ssize_t j
    if group.across:
        copy_numbers(rows + line * WIDTH, lanes)
        return
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    rows[line] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline void fold_lines(const Group* group, bint by_sum, const real* lanes, real* rows) noexcept nogil:
    """The same of all lines; or the largest numbers."""
    # Step by step for all rows: of one row, the compiler takes the numbers one by one.
    cdef real eights[8 * MOST_LINES]
    cdef real fours[4 * MOST_LINES]
    cdef Py_ssize_t i, j
    if group.across:
        for i in range(group.lines):
            copy_numbers(rows + WIDTH * i, lanes + WIDTH * i)
        return
    for i in range(group.lines):
        for j in range(8):
            eights[8 * i + j] = folded(lanes[WIDTH * i + j], lanes[WIDTH * i + j + 8], by_sum)
    for i in range(group.lines):
        for j in range(4):
            fours[4 * i + j] = folded(eights[8 * i + j], eights[8 * i + j + 4], by_sum)
    for i in range(group.lines):
        rows[i] = folded(folded(fours[4 * i], fours[4 * i + 2], by_sum),
                         folded(fours[4 * i + 1], fours[4 * i + 3], by_sum), by_sum)


cdef inline real folded(real a, real b, bint by_sum) noexcept nogil:
    return a + b if by_sum else larger(a, b)


cdef inline void clear_others(const Group* group, real* rows) noexcept nogil:
    """Zeros, where 16 rows are computed with and fewer are there."""
    cdef Py_ssize_t i
    for i in range(group.rows, group.padded):
        rows[i] = <real>0


cdef inline real larger(real a, real b) noexcept nogil:
    """The larger of two numbers; b where a is NaN."""
    return a if a > b else b


# ---- in and out ------------------------------------------------------------------------------------------------------

cdef void load(const Stream* stream, Py_ssize_t first, const Group* group, Matrix* matrix, real pad) noexcept nogil:
    """Rows of an array, converted, into a group's scratch; what is not filled is 0 across, else pad."""
    cdef Py_ssize_t i, c, line, rows, classes = group.classes
    cdef Py_ssize_t down = stream.outer_stride, along = stream.inner_stride
    cdef const char* data = stream.data + first * down
    cdef Py_ssize_t down_by
    cdef const real* row
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
            row = <const real*>(data + line * WIDTH * down)
            down_by = down // <Py_ssize_t>sizeof(real)
            if classes == 2:
                load_line(row, down_by, rows, 2, out)
            elif classes == 3 and down_by == 3 and rows == WIDTH:
                load_threes(row, out)
            elif classes == 3:
                load_line(row, down_by, rows, 3, out)
            else:
                load_fours(row, down_by, rows, classes, out)
        else:
            for c in range(classes):
                read_strided(data + line * WIDTH * down + c * along, down, rows, stream.dtype, out + c * WIDTH)


# Rows that are put side by side, and back.

cdef inline void transpose(const real* rows, Py_ssize_t down, real* columns, Py_ssize_t step) noexcept nogil:
    """Four rows of four numbers, as columns."""
    if real is double:
        fastloss_transpose_f64(rows, down, columns, step)
    else:
        fastloss_transpose_f32(rows, down, columns, step)


cdef inline void load_fours(const real* row, Py_ssize_t down, Py_ssize_t rows, Py_ssize_t classes,
                            real* out) noexcept nogil:
    """Up to 16 rows, four by four; the last four classes may overlap with those before."""
    cdef Py_ssize_t first, i, c
    for i in range(0, rows - 3, 4):
        for first in range(0, classes, 4):
            c = min(first, classes - 4)
            transpose(row + i * down + c, down, out + c * WIDTH + i, WIDTH)
    for i in range(rows // 4 * 4, rows):
        for c in range(classes):
            out[c * WIDTH + i] = row[i * down + c]


cdef inline void store_fours(const real* values, Py_ssize_t down, Py_ssize_t rows, Py_ssize_t classes,
                             real* row) noexcept nogil:
    cdef Py_ssize_t first, i, c
    for i in range(0, rows - 3, 4):
        for first in range(0, classes, 4):
            c = min(first, classes - 4)
            transpose(values + c * WIDTH + i, WIDTH, row + i * down + c, down)
    for i in range(rows // 4 * 4, rows):
        for c in range(classes):
            row[i * down + c] = values[c * WIDTH + i]


# Here the compiler makes shuffles of registers.

cdef inline void load_threes(const real* row, real* out) noexcept nogil:
    """16 rows that follow each other."""
    cdef real numbers[3 * WIDTH]
    cdef Py_ssize_t j
    for j in range(WIDTH):
        numbers[j] = row[3 * j]
        numbers[j + WIDTH] = row[3 * j + 1]
        numbers[j + 2 * WIDTH] = row[3 * j + 2]
    for j in range(3):
        copy_numbers(out + j * WIDTH, numbers + j * WIDTH)


cdef inline void store_threes(const real* values, real* row) noexcept nogil:
    cdef real numbers[3 * WIDTH]
    cdef Py_ssize_t j
    for j in range(WIDTH):
        numbers[3 * j] = values[j]
        numbers[3 * j + 1] = values[j + WIDTH]
        numbers[3 * j + 2] = values[j + 2 * WIDTH]
    for j in range(3):
        copy_numbers(row + j * WIDTH, numbers + j * WIDTH)


cdef inline void load_line(const real* row, Py_ssize_t down, Py_ssize_t rows, Py_ssize_t classes,
                           real* out) noexcept nogil:
    """Up to 16 rows, side by side. The compiler makes better loops where it knows `classes`."""
    cdef Py_ssize_t i = 0, c
    while i + 4 <= rows:  # four at a time: rows are short
        for c in range(classes):
            out[c * WIDTH] = row[c]
            out[c * WIDTH + 1] = row[down + c]
            out[c * WIDTH + 2] = row[2 * down + c]
            out[c * WIDTH + 3] = row[3 * down + c]
        row += 4 * down
        out += 4
        i += 4
    while i < rows:
        for c in range(classes):
            out[c * WIDTH] = row[c]
        row += down
        out += 1
        i += 1


cdef inline void store_line(const real* values, Py_ssize_t down, Py_ssize_t rows, Py_ssize_t classes,
                            real* row) noexcept nogil:
    cdef Py_ssize_t i = 0, c
    while i + 4 <= rows:
        for c in range(classes):
            row[c] = values[c * WIDTH]
            row[down + c] = values[c * WIDTH + 1]
            row[2 * down + c] = values[c * WIDTH + 2]
            row[3 * down + c] = values[c * WIDTH + 3]
        row += 4 * down
        values += 4
        i += 4
    while i < rows:
        for c in range(classes):
            row[c] = values[c * WIDTH]
        row += down
        values += 1
        i += 1


cdef void store(const Stream* stream, Py_ssize_t first, const Group* group, const Matrix* matrix,
                real* unused) noexcept nogil:
    """A group's scratch into the rows of an array."""
    cdef Py_ssize_t line, rows, i, c, classes = group.classes
    cdef char* data = stream.data + first * stream.outer_stride
    cdef Py_ssize_t down = stream.outer_stride, along = stream.inner_stride
    cdef Py_ssize_t down_by = down // <Py_ssize_t>sizeof(real)
    cdef const real* values
    cdef real* row
    if group.across and along == sizeof(real):
        for line in range(group.lines):
            values = <const real*>matrix.data + line * matrix.pitch
            row = <real*>(data + line * WIDTH * down)
            rows = min(<Py_ssize_t>WIDTH, group.rows - line * WIDTH)
            if classes == 2:
                store_line(values, down_by, rows, 2, row)
            elif classes == 3 and down_by == 3 and rows == WIDTH:
                store_threes(values, row)
            elif classes == 3:
                store_line(values, down_by, rows, 3, row)
            else:
                store_fours(values, down_by, rows, classes, row)
        return
    for i in range(group.rows):
        for c in range(classes):
            (<real*>(data + i * down + c * along))[0] = element(group, matrix, i, c, unused)[0]


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


# Tails have room for 16 numbers before them, so that 16 can be copied, of which the last ones count. Behind those they
# stay as they were made.

cdef void load_tails(const Group* group, const Matrix* matrix, real* unused) noexcept nogil:
    cdef Py_ssize_t i, filled = group.classes % WIDTH
    for i in range(group.rows):
        memcpy(<real*>matrix.tail + i * (2 * WIDTH) - (WIDTH - filled),
               <real*>matrix.data + i * matrix.pitch + group.classes - WIDTH, WIDTH * sizeof(real))


cdef void store_tails(const Group* group, const Matrix* matrix, real* unused) noexcept nogil:
    cdef Py_ssize_t i, filled = group.classes % WIDTH
    cdef real* tail
    cdef real* end
    for i in range(group.rows):
        tail = <real*>matrix.tail + i * (2 * WIDTH)
        end = <real*>matrix.data + i * matrix.pitch + group.classes
        memcpy(tail - WIDTH, end - filled - WIDTH, WIDTH * sizeof(real))
    for i in range(group.rows):  # apart, since a load of what is half just stored waits
        tail = <real*>matrix.tail + i * (2 * WIDTH)
        end = <real*>matrix.data + i * matrix.pitch + group.classes
        memcpy(end - WIDTH, tail - (WIDTH - filled), WIDTH * sizeof(real))
