"""The figure: how time goes with n for one loss, and how many times slower the peers are for every loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: The same colour for the same library everywhere; fastloss stands out.
COLOURS = {"fastloss": "#d1495b", "numpy": "#4d77b3", "scikit-learn": "#f0a63a", "torch": "#7b5ea7", "jax": "#3f9b83",
           "np.subtract": "#9a9a9a"}


def draw(results: dict[str, Any], path: Path, loss: str = "binary_cross_entropy", n: int = 10**6) -> None:
    """Of the least number of threads; `loss` and `n` are replaced by the nearest there is."""
    try:
        import matplotlib
    except ImportError as error:
        print(f"the figure is skipped: {error}")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    threads = min(row["threads"] for row in results["rows"])
    rows = [row for row in results["rows"] if row["threads"] == threads]
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    loss = loss if loss in losses else losses[0]
    n = min({row["n"] for row in rows}, key=lambda size: abs(size - n))
    dtypes = sorted({row["dtype"] for row in rows}, reverse=True)

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        heights = 4.5, 1.5 + 0.24 * len(losses)  # a line of dots for each loss
        figure, axes = plt.subplots(2, len(dtypes), figsize=(6.4 * len(dtypes), sum(heights)), squeeze=False,
                                    sharex="row", sharey="row", height_ratios=heights, layout="constrained")
        for column, dtype in enumerate(dtypes):
            chosen = [row for row in rows if row["dtype"] == dtype]
            lines(axes[0, column], sorted((row for row in chosen if row["loss"] == loss), key=lambda row: row["n"]))
            axes[0, column].set_title(f"{loss.replace('_', ' ')}, {dtype}", fontweight="bold")
            dots(axes[1, column], [row for row in chosen if row["n"] == n])
            axes[1, column].set_title(f"{dtype}, n = {n:,}", fontweight="bold")
        axes[0, 0].set_ylabel("ns per element")
        # one legend for all: the panel of lines shows every competitor
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3 * len(dtypes), frameon=False)
        figure.suptitle(f"Loss and gradient, {threads} thread{'s' if threads > 1 else ''}", fontsize=14,
                        fontweight="bold")
        figure.savefig(path, dpi=150)
        plt.close(figure)


def lines(axis: Any, rows: list[dict[str, Any]]) -> None:
    for name in COLOURS:
        points = [(row["n"], row["ns_per_element"][name]) for row in rows if name in row["ns_per_element"]]
        if points:
            own = name == "fastloss"
            axis.loglog(*zip(*points, strict=True), marker="o", markersize=5 if own else 4, label=name,
                        color=COLOURS[name], linewidth=2.6 if own else 1.6, zorder=3 if own else 2,
                        linestyle="--" if name == "np.subtract" else "-")
    axis.set_xlabel("n")
    axis.grid(alpha=0.25)


def dots(axis: Any, rows: list[dict[str, Any]]) -> None:
    """A line for each loss, with a dot for each peer."""
    from matplotlib.ticker import LogLocator, NullLocator

    for name in COLOURS:
        points = [(row["ns_per_element"][name] / row["ns_per_element"]["fastloss"], place)
                  for place, row in enumerate(rows) if name in row["ns_per_element"]]
        if points and name not in ("fastloss", "np.subtract"):
            axis.plot(*zip(*points, strict=True), "o", color=COLOURS[name], markersize=6, markeredgecolor="white",
                      markeredgewidth=0.5)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}×")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.axvline(1, color=COLOURS["fastloss"], linewidth=2.6, zorder=1)
    axis.set_yticks(range(len(rows)), [row["loss"].replace("_", " ") for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel("times slower than fastloss")
    axis.grid(alpha=0.25)
    axis.tick_params(axis="y", length=0)
