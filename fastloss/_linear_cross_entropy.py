"""Cross-entropy of a linear layer, for more classes than rows of logits fit into memory.

A block of rows at a time: BLAS computes its logits, the kernel of `CrossEntropy` turns them into their gradient where
they are, and BLAS multiplies that with the other factor, twice. Threads take parts of the classes (of the columns, for
the gradient of hidden), and BLAS has one thread in each: so any number of them adds up in the same way.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cache, partial, reduce
from operator import iadd
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._typing import Array, Reduction
from .class_weight import ClassWeight, weights_of_classes
from .kernels import _driver
from .linear import blas_threads
from .multiclass import CrossEntropy

# Numbers that a block takes: 12.8 MB in float32, and less than 5 % of the logits of 2048 rows and 32 000 classes.
BLOCK = 3_200_000
# So many rows BLAS needs to come near its speed (measured with OpenBLAS; 32 rows take nearly twice as long).
ENOUGH_ROWS = 96
# In float32 the largest weight becomes 2^LIFT: with unlikely classes gradients would be subnormal numbers, with which
# BLAS takes up to fifty times as long. (What comes out is exact: it is a power of 2.)
LIFT = 28
# What a thread takes at a time: a 32nd of all classes, but at most so many numbers of weight; more, where that would
# make few products (less than some 0.1 ms of them); and at least so many classes, and as many as a block has rows, of
# which BLAS makes a copy for each part ...
PART = 2**19
ENOUGH_CLASSES = 64
ENOUGH_PRODUCTS = 2**22
# ... and so many columns of the gradient of hidden (256 take a fifteenth longer than 512).
COLUMNS = 256


def linear_cross_entropy(
    hidden: ArrayLike, weight: ArrayLike, y: ArrayLike, *, bias: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None, class_weight: ClassWeight = None, ignore_index: int | None = None,
    label_smoothing: float = 0.0, z_loss: float = 0.0, logit_adjustment: ArrayLike | None = None,
    reduction: Reduction = "mean", block_rows: int | None = None, n_threads: int | None = None,
    hidden_gradient_out: Array | None = None, weight_gradient_out: Array | None = None,
    bias_gradient_out: Array | None = None,
) -> tuple[Any, ...]:
    """Cross-entropy of the logits ``hidden @ weight.T + bias``, with its gradients, without ever having all logits.

    The last layer of a language model, or of another classifier with very many classes. The loss is that of
    `CrossEntropy`, in the same words: weights, ignored rows, label smoothing and edge cases are as there. Rows whose
    weight is 0 are not computed at all.

    Parameters
    ----------
    hidden : array-like of shape (n, d)
        What goes into the layer, d >= 1.
    weight : array-like of shape (C, d)
        The layer's weights, a row for each of C >= 2 classes.
    y : array-like of shape (n,)
        Class labels from 0 to C - 1, of any integer, bool or float type.
    bias : array-like of shape (C,), optional
        Added to each row of logits. -inf masks a class.
    sample_weight : array-like of shape (n,), optional
        One finite weight a row. A weight of exactly 0 gives exactly 0, whatever the row of ``hidden``.
    class_weight : dict, array of shape (C,), "balanced" or DynamicClassWeight, optional
        Weighs rows by their label. A dict's keys are classes; missing ones weigh 1.
    ignore_index : int, optional
        Rows of this label count nothing.
    label_smoothing : float in [0, 1), default 0.0
        Moves targets towards equal ones: t(1 - ε) + ε/C.
    z_loss : float >= 0, default 0.0
        Adds z_loss·lse² to each row, which keeps logits from drifting.
    logit_adjustment : array of shape (C,), optional
        Added to each row of logits, as ``bias`` is.
    reduction : {"mean", "sum", "none"}, default "mean"
        With w = sample_weight · class_weight: Σ w·loss / Σ w, Σ w·loss, or w·loss for each row. Gradients are those of
        the mean, and of the sum with "sum" and "none".
    block_rows : int, optional
        How many rows of logits are in memory at a time, at most. By default the more of two numbers: as many as make,
        with two further rows of d numbers for each, 3.2 million numbers (12.8 MB in float32, 25.6 MB in float64); and
        a 21st of all rows, or 96 if that is more, but at most d/4, which take a quarter of the memory of ``weight``.
        More rows are faster: with d = 512 and C = 32 000, 256 take a tenth less time than 96.
    n_threads : int, optional
        At most this many threads; by default as many as `get_num_threads` says. BLAS, which runs within them, is kept
        to one thread of its own in the whole process during the call.
    hidden_gradient_out, weight_gradient_out, bias_gradient_out : ndarray, optional
        Where to write the gradients, instead of new arrays: C- or F-contiguous, of the shape of ``hidden``, ``weight``
        and ``bias``; float32 where ``hidden`` and ``weight`` are both float32 or float16, else float64.

    Returns
    -------
    loss : float, or an array of shape (n,) with ``reduction="none"``
    hidden_gradient : array of shape (n, d)
    weight_gradient : array of shape (C, d)
    bias_gradient : array of shape (C,)
        Only where ``bias`` is given.

    Raises
    ------
    TypeError
        For dtypes and output arrays of a wrong type.
    ValueError
        For shapes that do not match, labels and weights out of range, bad parameters and outputs; and under "mean" when
        there are no rows, or the weights do not sum to a positive number. Labels and weights are checked before
        anything is computed.

    Notes
    -----
    :Formula: Σ_i w_i·(lse_i - z_iy) / Σ_i w_i, with z = hidden·weightᵀ + bias, and lse the logarithm of Σ_c e^(z_ic)
    :Gradients: with g_ic = w_i·(q_ic - t_ic) / Σ w, q = softmax(z): g·weight for hidden, gᵀ·hidden for weight, and
        Σ_i g_ic for bias

    Arrays are computed in float32 where ``hidden`` and ``weight`` are both float32 or float16, in float64 otherwise;
    bias and weights are rounded to that. BLAS's products are sums in that dtype: a logit has an error of a few ε of
    Σ_j |h_j·w_j|, and an absolute error of logits is a relative error of the terms of gradients, beside which that of
    adding them up, within blocks and over blocks, is small. Of random float32 data with n = 2048, d = 512, C = 32 000
    and logits up to 7 the relative errors of the gradients of hidden and weight were 4e-7 and 2e-7 (norms), as torch's
    are. The loss of each row is as `CrossEntropy` computes it from the logits, and sums of losses are float64.

    In float32 the products are those of gradients times 2^28, which keeps small ones normal numbers: ``hidden`` and
    ``weight`` beyond 1e25 may overflow.

    Arrays that BLAS can read are never copied as a whole; ``weight`` of another dtype or stride is converted part by
    part in every block, which takes time, and in each thread memory for a part: mostly up to half a million numbers.

    The results have the same bits for every number of threads, as far as BLAS computes the same product to the same
    bits (OpenBLAS does). Other ``block_rows`` may change the last digits.

    References
    ----------
    P.-L. Hsu et al., *Liger kernel: efficient Triton kernels for LLM training*, 2024 (blocks of rows, and the gradient
    in the place of the logits).

    Examples
    --------
    >>> import fastloss as fl
    >>> hidden, weight = [[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]
    >>> loss, hidden_gradient, weight_gradient = fl.linear_cross_entropy(hidden, weight, [0, 1])
    >>> round(loss, 6)
    0.239545
    >>> hidden_gradient.round(6)
    array([[-0.213014,  0.106507],
           [ 0.106507, -0.213014]])
    """
    options = CrossEntropy(class_weight=class_weight, ignore_index=ignore_index, label_smoothing=label_smoothing,
                           z_loss=z_loss, logit_adjustment=logit_adjustment)
    loss = CrossEntropy(label_smoothing=label_smoothing, z_loss=z_loss)
    each = _checks.choice("reduction", reduction, ("mean", "sum", "none")) == "none"
    h, W = _matrix(hidden, "hidden"), _matrix(weight, "weight")
    (n, d), C = h.shape, len(W)
    if W.shape[1] != d:
        raise ValueError(f"weight has shape {_checks.shape(W)} and hidden {_checks.shape(h)}: they must have as many "
                         f"columns")
    if d < 1:
        raise ValueError(f"hidden must have at least one column, got shape {_checks.shape(h)}")
    if C < 2:
        raise ValueError(f"weight must have a row for each of at least two classes, got shape {_checks.shape(W)}")
    if n == 0 and reduction == "mean":
        raise ValueError(f"hidden has no samples (shape {_checks.shape(h)}), and their mean is not defined: give at "
                         f"least one, or reduction='sum'")
    narrow = (np.float16, np.float32)
    dtype: np.dtype[Any] = np.dtype(np.float32 if h.dtype in narrow and W.dtype in narrow else np.float64)
    fault = _checks.float32_fault(options.get_params(), singular={}) if dtype == np.float32 else None
    if fault:
        raise ValueError(fault.replace("y_pred", "hidden"))

    b = None if bias is None else _vector(bias, "bias", C, "weight")
    shift = _shift(b, options.logit_adjustment, C, dtype)
    labels, w = _rows(y, sample_weight, options, n, C, dtype)
    exponent, scale = _scale(w, reduction == "mean", dtype)
    scaled = np.ldexp(w, exponent)
    limit = _default_rows(n, d, C) if block_rows is None else _checks.thread_count(block_rows, "block_rows")
    threads = _driver.get_num_threads() if n_threads is None else _checks.thread_count(n_threads, "n_threads")

    d_hidden = _output(hidden_gradient_out, "hidden_gradient_out", h, dtype)
    d_weight = _output(weight_gradient_out, "weight_gradient_out", W, dtype)
    if b is not None:
        d_bias = _output(bias_gradient_out, "bias_gradient_out", b, dtype)
    elif bias_gradient_out is not None:
        raise ValueError("bias_gradient_out is given without a bias")
    outputs = {"hidden_gradient_out": hidden_gradient_out, "weight_gradient_out": weight_gradient_out,
               "bias_gradient_out": bias_gradient_out}
    _check_overlap(outputs, {"hidden": h, "weight": W, "y": y, "bias": b, "sample_weight": sample_weight})

    used = np.flatnonzero(w)
    whole = len(used) == n
    if not whole:
        d_hidden[:] = 0
    if len(used) == 0:
        d_weight[:] = 0
        if b is not None:
            d_bias[:] = 0
    losses = np.zeros(n, dtype)
    total = 0.0
    step = _block_rows(limit, len(used))
    logits = np.empty((step, C), dtype)

    parts, columns = _parts(C, _default_classes(step, d, C)), _parts(d, COLUMNS)
    threads = min(threads, len(parts) + len(columns) - 1)

    def add_block(rows: Any, first: bool) -> float:
        """The sum of the losses of some rows, whose gradients it adds up."""
        x = _readable(h[rows], dtype)
        z = logits[:len(x)]

        def score(classes: slice) -> None:
            np.matmul(x, _readable(W[classes], dtype).T, out=z[:, classes])
            if shift is not None:
                z[:, classes] += shift[classes]

        def write_hidden_gradient(some: slice) -> None:
            terms = (z[:, classes] @ _readable(W[classes, some], dtype) for classes in parts)
            d_hidden[rows, some] = reduce(iadd, terms) * scale

        def add_weight_gradient(classes: slice) -> None:
            _gemm(scale, z[:, classes].T, x, not first, d_weight[classes])
            if b is not None:
                by_bias = z[:, classes].sum(axis=0) * scale
                d_bias[classes] = by_bias if first else d_bias[classes] + by_bias

        run([partial(score, classes) for classes in parts])
        if each:
            losses[rows] = loss.loss(labels[rows], z, sample_weight=w[rows], reduction="none", n_threads=threads)
        value, _ = loss.loss_gradient(labels[rows], z, sample_weight=scaled[rows], reduction="sum", n_threads=threads,
                                      gradient_out=z)
        run([partial(write_hidden_gradient, some) for some in columns]
            + [partial(add_weight_gradient, classes) for classes in parts])
        return float(value)

    from concurrent.futures import ThreadPoolExecutor  # takes 5 ms to import

    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        run = partial(_run, pool, threads)
        for start in range(0, len(used), step):
            total += add_block(slice(start, start + step) if whole else used[start:start + step], start == 0)

    result = losses if each else total * scale
    return (result, d_hidden, d_weight) if b is None else (result, d_hidden, d_weight, d_bias)


# ---- what a call is given --------------------------------------------------------------------------------------------

def _matrix(value: ArrayLike, name: str) -> Array:
    array = _checks.as_array(value, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, got shape {_checks.shape(array)}")
    return array


def _vector(value: ArrayLike, name: str, length: int, of: str) -> NDArray[Any]:
    array = _checks.as_array(value, name)
    if array.shape != (length,):
        raise ValueError(f"{name} has shape {_checks.shape(array)}: with this {of} it must be ({length},)")
    return array


def _shift(bias: Array | None, adjustment: Array | None, n_classes: int, dtype: np.dtype[Any]) -> Array | None:
    """What is added to each row of logits."""
    terms = [] if bias is None else [bias.astype(np.float64)]
    if adjustment is not None:
        terms.append(_vector(adjustment, "logit_adjustment", n_classes, "weight"))
    with np.errstate(over="ignore"):
        return sum(terms[1:], start=terms[0]).astype(dtype) if terms else None


def _rows(y: ArrayLike, sample_weight: ArrayLike | None, options: CrossEntropy, n: int, n_classes: int,
          dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """The labels, 0 in rows that are ignored, and the weights of the rows, both checked."""
    given = _vector(y, "y", n, "hidden")
    labels: Array = given.astype(np.float64)
    good = (labels >= 0) & (labels < n_classes) & (labels == np.floor(labels))
    allowed = f"whole numbers from 0 to {n_classes - 1}"
    counted = np.ones(n, np.bool_)
    if options.ignore_index is not None:
        counted = labels != options.ignore_index
        allowed += f", or {options.ignore_index} (ignore_index)"
    _checks.raise_at(f"y[{{}}] is {{}}: labels must be {allowed}", given, counted & ~good)
    labels[~counted] = 0

    w: Array = counted.astype(np.float64)
    if sample_weight is not None:
        weights = _vector(sample_weight, "sample_weight", n, "hidden")
        _checks.raise_weight_fault(weights, dtype.type)
        w = np.where(counted, weights.astype(dtype).astype(np.float64), 0.0)
    if options.class_weight is not None:
        try:
            by_class = weights_of_classes(options.class_weight, given, n_classes, options.ignore_index, False)
        except ValueError as error:
            raise ValueError(str(error).replace("y_pred", "weight")) from None
        w *= by_class[labels.astype(np.intp)]
    if not counted.any():
        w = w[:0]  # nothing, of nothing: no sum of weights to divide by
    return labels, w


def _scale(w: Array, mean: bool, dtype: np.dtype[Any]) -> tuple[int, float]:
    """The power of 2 by which to multiply the weights, and the factor of what is then summed up."""
    if len(w) == 0:
        return 0, 1.0
    with np.errstate(over="ignore"):
        total = float(w.sum(dtype=np.float64)) if mean else 1.0
    if math.isinf(total):
        raise ValueError("the sum of the weights overflows: scale sample_weight and class_weight down")
    if not total > 0:
        raise ValueError(f"the weights sum to {total}: with reduction='mean' the sum must be positive")
    if dtype == np.float32:
        exponent = min(LIFT - math.frexp(float(np.abs(w).max()))[1], 120)
    else:  # the mean of huge losses may be finite though their sum is not
        exponent = -math.frexp(total)[1] if mean else 0
    return exponent, 1.0 / math.ldexp(total, exponent)


def _default_rows(n: int, d: int, n_classes: int) -> int:
    """As many rows as `BLOCK` holds, or those that BLAS wants, if they are few beside n or d."""
    return max(1, BLOCK // (n_classes + 2 * d), min(max(ENOUGH_ROWS, n // 21), d // 4))


def _default_classes(rows: int, d: int, n_classes: int) -> int:
    """How many classes a thread takes at a time, of a block of so many rows."""
    return max(ENOUGH_CLASSES, rows, min(PART // d, max(n_classes // 32, ENOUGH_PRODUCTS // (rows * d))))


def _block_rows(limit: int, n: int) -> int:
    """Rows of a block, so that blocks are about equal: a multiple of 16 where the limit allows it."""
    limit -= limit % 16 if limit > 16 else 0
    even = -(-n // max(1, -(-n // limit)))
    return max(1, min(limit, even + -even % 16, n))


def _output(out: Any, name: str, like: NDArray[Any], dtype: np.dtype[Any]) -> Array:
    """The caller's array, checked, or a new one in the order of what it is the gradient of."""
    if out is None:
        return np.empty_like(like, dtype, order="K" if like.flags.forc else "C", subok=False)
    if type(out) is not np.ndarray:
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}: with this hidden and weight it must be {dtype}")
    if out.shape != like.shape:
        raise ValueError(f"{name} has shape {_checks.shape(out)}: it must be {_checks.shape(like)}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not (out.flags.forc and out.flags.aligned):
        raise ValueError(f"{name} must be C- or F-contiguous and aligned (strides {out.strides})")
    return out


def _check_overlap(outputs: dict[str, Array | None], inputs: dict[str, Any]) -> None:
    """Raises where an output shares memory with an input, or with another output."""
    seen = {name: array for name, array in inputs.items() if isinstance(array, np.ndarray)}
    for name, out in outputs.items():
        if out is None:
            continue
        for other, array in seen.items():
            if np.shares_memory(out, array):
                raise ValueError(f"{name} overlaps {other} in memory")
        seen[name] = out


# ---- BLAS ------------------------------------------------------------------------------------------------------------

@cache
def _blas(dtype: np.dtype[Any]) -> Callable[..., None]:
    """The gemm of SciPy's BLAS: the one of `scipy.linalg.blas` copies more, and keeps the GIL."""
    from scipy.linalg import cython_blas  # type: ignore[import-untyped]

    single = dtype == np.float32
    capsule = cython_blas.__pyx_capi__["sgemm" if single else "dgemm"]
    python = ctypes.pythonapi
    name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", python))(capsule)
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", python))(capsule, name)
    letter, whole, array = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int), ctypes.c_void_p
    number = ctypes.POINTER(ctypes.c_float if single else ctypes.c_double)
    return ctypes.CFUNCTYPE(None, letter, letter, whole, whole, whole, number, array, whole, array, whole, number,
                            array, whole)(address)


def _gemm(alpha: float, a: Array, b: Array, beta: float, out: Array) -> None:
    """out = alpha·(a @ b) + beta·out, of arrays of one dtype with contiguous rows or columns."""
    size = out.itemsize
    if out.strides[1] != size:
        a, b, out = b.T, a.T, out.T
    number = ctypes.c_float if size == 4 else ctypes.c_double
    (m, n), terms = out.shape, a.shape[1]
    # BLAS thinks in columns: to it, each array is its transpose
    (b_form, b_step), (a_form, a_step) = _form(b), _form(a)
    _blas(out.dtype)(b_form, a_form, ctypes.c_int(n), ctypes.c_int(m), ctypes.c_int(terms), number(alpha),
                     b.ctypes.data, ctypes.c_int(b_step), a.ctypes.data, ctypes.c_int(a_step), number(beta),
                     out.ctypes.data, ctypes.c_int(max(n, out.strides[0] // size)))


def _form(array: Array) -> tuple[bytes, int]:
    """Whether BLAS, to which rows are columns, must transpose an array, and from one of its columns to the next."""
    rows, columns = array.shape
    down, across = (stride // array.itemsize for stride in array.strides)
    return (b"N", max(columns, down)) if across == 1 else (b"T", max(rows, across))


def _is_readable(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether BLAS can read an array where it is."""
    (rows, columns), (down, across), size = array.shape, array.strides, dtype.itemsize
    by_rows = across == size and down >= columns * size and down % size == 0
    by_columns = down == size and across >= rows * size and across % size == 0
    return array.dtype == dtype and (by_rows or by_columns) and max(down, across) // size < 2**31


def _readable(array: Array, dtype: np.dtype[Any]) -> Array:
    return array if _is_readable(array, dtype) else np.ascontiguousarray(array, dtype)


def _parts(length: int, most: int) -> list[slice]:
    """A range in about equal parts."""
    count = -(-length // most)
    return [slice(length * i // count, length * (i + 1) // count) for i in range(count)]


def _run(pool: Executor, threads: int, tasks: Sequence[Callable[[], None]]) -> None:
    """Does all tasks, of which each thread takes the next one that is left (a future each would take a tenth more)."""
    left = iter(tasks)

    def work(_: int) -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            for task in left:
                task()

    threads = min(threads, len(tasks))
    if threads > 1:
        list(pool.map(work, range(threads)))  # waits, and raises what a thread raised
    else:
        work(0)
