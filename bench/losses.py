"""The main table: loss and gradient of every case, at every size, dtype and number of threads."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from . import accuracy, figure, machine, peers, timing
from .cases import all_cases, without_case

#: Sizes, unless told otherwise: of the losses that stand for all, and of the others.
ALL_SIZES, ONE_SIZE = (1, 100, 10**4, 10**6, 10**7), (10**6,)
Row = dict[str, Any]


def run(options: Namespace) -> None:
    names = peers.installed(options.peers)
    cases = all_cases()
    if without_case():
        print("no case yet for", ", ".join(without_case()))
    chosen = {name: cases[name] for name in options.losses or cases if name in cases}

    errors: dict[str, Any] = {}
    for case, dtype in progress(list(product(chosen.values(), options.dtypes)), "accuracy"):
        peers.check(case, dtype, names)
        errors.setdefault(case.name, {})[dtype] = accuracy.max_ulp(case, dtype, names)

    todo = [(threads, case, dtype, n)
            for threads, case, dtype in product(options.threads, chosen.values(), options.dtypes)
            for n in options.sizes or (ALL_SIZES if case.all_sizes else ONE_SIZE)]
    rows: list[Row] = []
    for threads, case, dtype, n in progress(todo, "speed"):
        y, z = case.data(n, dtype)
        traffic = y.nbytes + 2 * z.nbytes  # y_true and y_pred are read, the gradient is written
        elements = case.samples(n) * (case.classes or 1)
        with timing.cpus(threads):
            calls = {name: c.call for name, c in peers.competitors(case, y, z, threads, names).items()}
            # the yardstick of memory: as many bytes in three streams, and next to no work
            a, b, out = (np.ones(traffic // 3 // z.itemsize, dtype) for _ in range(3))
            calls["np.subtract"] = partial(np.subtract, a, b, out=out)
            best = timing.interleaved(calls, options.seconds)
        rows.append({"loss": case.name, "dtype": dtype, "threads": threads, "n": n,
                     "bytes_per_element": traffic / elements,
                     "ns_per_element": {name: seconds / elements * 1e9 for name, seconds in best.items()}})

    results = {"machine": machine.describe(), "versions": machine.versions(names), "rows": rows, "max_ulp": errors}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "losses.json").write_text(json.dumps(results, indent=1) + "\n")
    show(results, options.markdown)
    if not options.no_figure:
        figure.draw(results, options.out / "speed.png")
    print("written to", options.out)


def show(results: dict[str, Any], markdown: bool) -> None:
    for about in ("machine", "versions"):
        print(", ".join(f"{key}: {value}" if about == "machine" else f"{key} {value}"
                        for key, value in results[about].items()))
    print()
    print_table(list(speed_table(results)), markdown)
    print()
    print_table(list(accuracy_table(results)), markdown)


def peers_in(results: dict[str, Any]) -> list[str]:
    return [name for name in peers.PEERS if any(name in row["ns_per_element"] for row in results["rows"])]


def speed_table(results: dict[str, Any]) -> Iterator[list[str]]:
    names = peers_in(results)
    yield ["loss", "dtype", "threads", "n", "ns", "GB/s", "NumPy", "best peer", "subtract", "max ulp",
           *(f"{name} ns" for name in names)]
    for row in results["rows"]:
        ns, ulp = row["ns_per_element"], results["max_ulp"][row["loss"]][row["dtype"]].get("fastloss")
        own = ns["fastloss"]
        others = {name: ns[name] for name in names if name in ns}
        best = min(others, key=others.__getitem__, default="")
        yield [row["loss"], row["dtype"], str(row["threads"]), f"{row['n']:,}", f"{own:.3g}",
               f"{row['bytes_per_element'] / own:.3g}",
               f"{ns['numpy'] / own:.1f}×" if "numpy" in ns else "–",
               f"{others[best] / own:.1f}× {best}" if best else "–",
               f"{own / ns['np.subtract']:.2f}", f"{max(ulp):.1f}" if ulp else "–",
               *(f"{ns[name]:.3g}" if name in ns else "–" for name in names)]


def accuracy_table(results: dict[str, Any]) -> Iterator[list[str]]:
    names = ["fastloss", *peers_in(results)]
    yield ["max ulp: loss, gradient", "dtype", *names]
    for loss, by_dtype in results["max_ulp"].items():
        for dtype, ulp in by_dtype.items():
            yield [loss, dtype, *(", ".join(map(short, ulp[name])) if name in ulp else "–" for name in names)]


def short(ulp: float) -> str:
    return f"{ulp:.1f}" if ulp < 1000 else f"{ulp:.0e}".replace("e+0", "e").replace("e+", "e")


def print_table(rows: list[list[str]], markdown: bool = False) -> None:
    """Aligned columns; text left, everything else right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = [column[1][:1].isalpha() for column in zip(*rows, strict=True)]
    if markdown:
        rows = [rows[0], ["-" * w if t else "-" * (w - 1) + ":" for w, t in zip(widths, texts, strict=True)], *rows[1:]]
    for row in rows:
        cells = [cell.ljust(w) if t else cell.rjust(w) for cell, w, t in zip(row, widths, texts, strict=True)]
        print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells).rstrip())


def progress(items: Sequence[Any], what: str) -> Iterable[Any]:
    """A progress bar, of plain text where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return plain_progress(items, what)
    return tqdm(items, desc=what, leave=False, disable=None)  # None: no bar where no terminal is


def plain_progress(items: Sequence[Any], what: str) -> Iterator[Any]:
    for done, item in enumerate(items):
        print(f"\r{what} {done}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    print("\r" + " " * 40, end="\r", file=sys.stderr)
