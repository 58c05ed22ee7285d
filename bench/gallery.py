"""The gallery: every pointwise loss and its gradient, family by family, as `fl.LossCurveDisplay` draws them."""

from __future__ import annotations

import argparse
import importlib
from collections import Counter
from itertools import zip_longest
from typing import Any

import numpy as np

import fastloss as fl

#: The pointwise families, with the ends of their x and y axes: wide enough to see where bounded losses end.
FAMILIES = {"regression": ((-6, 6), (-3, 6)), "binary": ((-3, 3), (-2, 4))}
#: Parameters for losses whose defaults look like another loss.
PARAMETERS = {"quantile": {"quantile": 0.2}, "expectile": {"expectile": 0.3}, "smooth_l1": {"beta": 3.0},
              "epsilon_insensitive": {"epsilon": 1.0}, "squared_epsilon_insensitive": {"epsilon": 1.0},
              "robust": {"alpha": -2.0}}
COLUMNS = 5
STYLES: dict[Any, dict[str, Any]] = {"loss": {"color": "#d1495b", "linewidth": 2.2},
                                     "gradient": {"color": "#4d77b3", "linewidth": 1.4}}


def run(options: argparse.Namespace) -> None:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image  # comes with matplotlib

    families = {family: losses(family) for family in FAMILIES}
    rows = [-(-len(members) // COLUMNS) for members in families.values()]
    handles: dict[str, Any] = {}
    with plt.rc_context({"font.size": 8.5, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = plt.figure(figsize=(10, 1.5 * sum(rows)), dpi=170, layout="constrained")
        parts = figure.subfigures(len(families), height_ratios=[count + 0.3 for count in rows])  # and a heading
        for part, count, (family, members) in zip(parts, rows, families.items(), strict=True):
            axes = part.subplots(count, COLUMNS, sharex=True, sharey=True, squeeze=False)
            for axis, loss in zip_longest(axes.flat, members):
                if loss:
                    handles |= panel(axis, loss, *FAMILIES[family])
                else:
                    axis.set_axis_off()
            describe_x(part, family, axes.flat[:len(members)])
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False)
        options.out.mkdir(parents=True, exist_ok=True)
        figure.canvas.draw()
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
        image.quantize(64).save(options.out / "gallery.png", optimize=True)  # a third of the size
        plt.close(figure)


def losses(family: str) -> list[fl.Loss]:
    """One loss of each class of a family, in the order of the family's file."""
    module = f"fastloss.{family}"
    order = list(vars(importlib.import_module(module)))
    found = (fl.get(name, **PARAMETERS.get(name, {})) for name in fl.available())
    return sorted((loss for loss in found if type(loss).__module__ == module),
                  key=lambda loss: order.index(type(loss).__name__))


def panel(axis: Any, loss: fl.Loss, x_range: tuple[float, float], y_range: tuple[float, float]) -> dict[str, Any]:
    """Draws a loss, for both labels where their curves are no mirror images; gives the lines by what they are."""
    for output, style in STYLES.items():
        if is_lopsided(loss):
            fl.LossCurveDisplay.from_loss(loss, y_true=0, x_range=x_range, outputs=output, ax=axis,
                                          label=f"{output} of label 0, over the score", linestyle=(0, (2, 1)), **style)
        fl.LossCurveDisplay.from_loss(loss, x_range=x_range, outputs=output, ax=axis, label=output,
                                      linestyle="-", **style)
    axis.get_legend().remove()
    name, _, parameters = repr(loss).rstrip(")").partition("(")
    axis.set_title(name)
    axis.text(0.5, 0.97, parameters.replace("=", " = "), transform=axis.transAxes, ha="center", va="top", fontsize=7)
    axis.set(xticks=range(-4, 5, 2), yticks=range(-2, 7, 2), ylabel="")
    axis.set(xlim=x_range, ylim=y_range)
    axis.grid(alpha=0.25)
    lines, labels = axis.get_legend_handles_labels()
    return dict(zip(labels, lines, strict=True))


def is_lopsided(loss: fl.Loss) -> bool:
    """Whether a binary loss treats its two labels differently."""
    score = np.linspace(-3, 3, 7)
    return "binary" in loss.target and not np.allclose(*(
        loss.loss(np.full(7, label), sign * score, reduction="none") for label, sign in ((0, -1), (1, 1))))


def describe_x(part: Any, family: str, axes: Any) -> None:
    """Says once what stands on most x axes, and below a panel what it has instead."""
    names = [axis.get_xlabel() for axis in axes]
    usual = Counter(names).most_common(1)[0][0]
    part.suptitle(f"{family.capitalize()}, over the {usual.lower()}", fontweight="bold")
    for axis, name in zip(axes, names, strict=True):
        axis.set_xlabel("" if name == usual else name.lower(), fontsize=7, labelpad=1)
