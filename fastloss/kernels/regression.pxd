# Regression losses: z = y_pred, y = y_true, r = z - y. `v` is the parameter that may vary by column.
#
# To add a loss: its parameters as a struct (in the order they are told, all double), its name in the fused type, its
# formula as a branch. A NaN in y or z is one in r, and must come through: mind what comparisons select.

from .math cimport absolute, mad
from .types cimport real


cdef struct SquaredError:
    double factor  # 1, or 1/2 with half=True

cdef struct AbsoluteError:
    double _  # no parameters, and C has no empty struct

cdef struct Huber:
    double delta

cdef struct Quantile:
    double _  # the quantile is v


ctypedef fused RegressionLoss:
    SquaredError
    AbsoluteError
    Huber
    Quantile


cdef inline void regression(const RegressionLoss* p, real y, real z, real v,
                            real* loss, real* gradient, real* hessian) noexcept nogil:
    cdef real r = z - y
    cdef real a = absolute(r)
    cdef real sign = <real>1 if r > <real>0 else (<real>-1 if r < <real>0 else r)  # r itself for 0 and NaN
    cdef real zero = <real>0 if r == r else r
    cdef real factor, delta, outer, slope

    if RegressionLoss is SquaredError:
        factor = <real>p.factor
        loss[0] = factor * r * r
        gradient[0] = <real>2 * factor * r
        hessian[0] = <real>2 * factor + zero

    elif RegressionLoss is AbsoluteError:
        loss[0] = a
        gradient[0] = sign
        hessian[0] = zero

    elif RegressionLoss is Huber:
        delta = <real>p.delta
        outer = delta * (a - <real>0.5 * delta)
        loss[0] = <real>0.5 * r * r if a <= delta else outer
        gradient[0] = r if a <= delta else delta * sign
        hessian[0] = <real>1 if a <= delta else zero

    elif RegressionLoss is Quantile:
        slope = <real>1 - v if r > <real>0 else v
        loss[0] = slope * a
        gradient[0] = slope * sign
        hessian[0] = zero
