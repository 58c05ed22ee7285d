"""Overlap losses once more, naively: 1 - T from sums over pixels, in torch for gradients, in mpmath for digits.

A loss is given by its class and a dict of its parameters.
"""

import mpmath as mp
import numpy as np
import pytest

import fastloss as fl

# ---- in torch --------------------------------------------------------------------------------------------------------

def get_torch():
    return pytest.importorskip("torch", reason="the reference is written in torch")


def by_class(a, axis):
    """(n, C, pixels)."""
    a = a[:, None] if axis is None else a.movedim(axis, 1)
    return a.reshape(*a.shape[:2], a[0, 0].numel())


def class_weights(own, t):
    """(C,) of a loss's parameters and the targets (n, C, pixels)."""
    torch = get_torch()
    given = own.get("class_weight")
    n_classes = t.shape[1]
    if given is None:
        return torch.ones(n_classes, dtype=torch.float64)
    if isinstance(given, str):
        counts = t.sum((0, 2))
        return torch.where(counts > 0, t.sum() / (n_classes * counts), 1.0)
    if hasattr(given, "items"):
        return torch.tensor([given.get(c, 1.0) for c in range(n_classes)], dtype=torch.float64)
    return torch.tensor(np.array(getattr(given, "weights", given)), dtype=torch.float64)


def ratio(a, b):
    """a / b; 1 where b is 0: nothing to find, and nothing found."""
    return (a + (b == 0)) / (b + (b == 0))


def of_class(cls, own, tp, fp, fn, squares, distance):
    """The loss of a class, from its sums over pixels (the last: from the mean distance)."""
    s = own.get("smooth", 1.0)
    if cls is fl.Boundary:
        return distance
    if own.get("squared"):
        return 1 - ratio(2 * tp + s, squares + s)
    if cls in (fl.Dice, fl.DiceCrossEntropy):
        return 1 - ratio(2 * tp + s, 2 * tp + fp + fn + s)
    a, b = {fl.Jaccard: (1, 1), fl.Tversky: (own.get("alpha", 0.5), own.get("beta", 0.5)),
            fl.FocalTversky: (own.get("alpha", 0.3), own.get("beta", 0.7))}[cls]
    loss = 1 - ratio(tp + s, tp + a * fp + b * fn + s)
    return loss**(1 / own.get("gamma", 4 / 3)) if cls is fl.FocalTversky else loss


def of_classes(cls, own, sums, weight):
    """The loss of images (or of all) from sums (m, C), with the classes' weights."""
    if cls is fl.GeneralizedDice:
        tp, fp, fn, *_ = sums
        s, area = own.get("smooth", 1.0), (tp + fn).detach()
        v = weight * (area + (area == 0))**-{"square": 2, "simple": 1, "uniform": 0}[own.get("weighting", "square")]
        v = v * (area > 0)
        return 1 - ratio((v * 2 * tp).sum(1) + s, (v * (2 * tp + fp + fn)).sum(1) + s)
    return (of_class(cls, own, *sums) * weight / weight.sum())[:, weight > 0].sum(1)


def torch_losses(cls, own, y, z, sample_weight):
    """The losses (n,) of images, or (1,) of all, as a function of the tensor z (float64)."""
    torch = get_torch()
    axis, ignored = own.get("axis", 1), own.get("ignore_index")
    alone = axis is None or own.get("multilabel", False)
    y = torch.tensor(np.array(y, dtype=np.float64))
    indexed = y.shape != z.shape
    z = by_class(z, axis)
    y = y.reshape(len(z), 1, -1) if indexed else by_class(y, axis)
    counts = (y != ignored) if ignored is not None else torch.ones_like(y, dtype=torch.bool)
    t = (y == torch.arange(z.shape[1])[:, None]).double() if indexed else y
    t, z = t * counts, torch.where(counts, z, 0.5)
    if own.get("inputs") == "probabilities":
        p, log_p, log_q = z, z.log(), (1 - z).log()
    elif alone:
        p, log_p = z.sigmoid(), torch.nn.functional.logsigmoid(z)
        log_q = torch.nn.functional.logsigmoid(-z)
    else:
        p, log_p, log_q = z.softmax(1), z.log_softmax(1), None
    p = p * counts
    weight = class_weights(own, t)
    w = torch.ones(len(z), dtype=torch.float64) if sample_weight is None else torch.tensor(sample_weight)

    def total(x):  # over pixels, or over pixels and images
        x = x.sum(2)
        return x if own.get("over") != "batch" else (w[:, None] * x).sum(0, keepdim=True)

    size = total(torch.ones_like(z[:, :1]))
    counted = weight.clone()
    counted[0] *= own.get("include_background", True)
    sums = total(p * t), total(p * (1 - t)), total((1 - p) * t), total(p**2 + t**2), total(p * t) / size
    value = of_classes(cls, own, sums, counted)
    if cls is fl.DiceCrossEntropy:
        share = own.get("weight", 0.5)
        if alone:
            entropy, mass = -(t * log_p + (1 - t) * log_q), weight[:, None] * counts
        else:
            entropy, mass = -(t * log_p).sum(1, keepdim=True), counts[:, :1].double()
            if own.get("class_weight") is not None:
                mass = (weight[:, None] * t).sum(1, keepdim=True)
        mass = mass.expand_as(entropy)
        value = share * value + (1 - share) * total(entropy * mass).sum(1) / total(mass).sum(1)
    return value


def reference(cls, own, y, z, sample_weight=None):
    """Value and gradient in float64, by torch."""
    torch = get_torch()
    z = torch.tensor(np.array(z, dtype=np.float64), requires_grad=True)
    losses = torch_losses(cls, own, y, z, sample_weight)
    w = torch.ones(len(losses)) if sample_weight is None else torch.tensor(sample_weight)[:len(losses)]
    value = (w * losses).sum() / w.sum()
    value.backward()
    return value.item(), z.grad.numpy()


# ---- in mpmath -------------------------------------------------------------------------------------------------------

def exact_loss(cls, own, t, z):
    """The loss of one image in mpmath: t and z are rows of classes; one class stands alone."""
    classes, pixels = range(len(z)), range(len(z[0]))
    if len(z) == 1:
        p = [[1 / (1 + mp.exp(-x)) for x in z[0]]]
    else:
        p = [[mp.exp(z[c][j]) / mp.fsum(mp.exp(z[k][j]) for k in classes) for j in pixels] for c in classes]

    def total(f):
        return [mp.fsum(f(p[c][j], t[c][j]) for j in pixels) for c in classes]

    sums = [total(lambda p, t: p * t), total(lambda p, t: p * (1 - t)), total(lambda p, t: (1 - p) * t),
            total(lambda p, t: p**2 + t**2), total(lambda p, t: p * t / len(pixels))]
    if cls is fl.GeneralizedDice:
        area, s = total(lambda p, t: t), own.get("smooth", 1.0)
        v = [1 / a**{"square": 2, "simple": 1, "uniform": 0}[own.get("weighting", "square")] for a in area]
        both = mp.fsum(v[c] * (2 * sums[0][c] + sums[1][c] + sums[2][c]) for c in classes)
        return 1 - (2 * mp.fsum(v[c] * sums[0][c] for c in classes) + s) / (both + s)
    value = mp.fsum(of_class(cls, own, *by_class) for by_class in zip(*sums, strict=True)) / len(z)
    if cls is fl.DiceCrossEntropy:
        terms = [-t[c][j] * mp.log(p[c][j]) - ((1 - t[c][j]) * mp.log(1 - p[c][j]) if len(z) == 1 else 0)
                 for c in classes for j in pixels]
        share = mp.mpf(own.get("weight", 0.5))
        value = share * value + (1 - share) * mp.fsum(terms) / len(pixels)
    return value


def exact(cls, own, t, z):
    """The loss and its gradient, as floats."""
    z = [[mp.mpf(float(x)) for x in row] for row in z]
    t = [[mp.mpf(float(x)) for x in row] for row in t]

    def slope(c, j):
        def moved(x):
            return exact_loss(cls, own, t, [[x if (k, i) == (c, j) else old for i, old in enumerate(row)]
                                            for k, row in enumerate(z)])
        return float(mp.diff(moved, z[c][j]))

    with mp.workdps(100):  # some probabilities are as small as 1e-37
        slopes = [[slope(c, j) for j in range(len(row))] for c, row in enumerate(z)]
        return float(exact_loss(cls, own, t, z)), np.array(slopes)
