"""The speeds in README.md and bench/README.md, written from results/losses.json and, for a CPU with AVX-512,
results/losses_avx512.json: `python -m bench docs`."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import losses

ROOT = Path(__file__).parent.parent
README, BENCH_README, RESULTS = ROOT / "README.md", ROOT / "bench/README.md", ROOT / "bench/results/losses.json"
AVX512_RESULTS = ROOT / "bench/results/losses_avx512.json"
PEERS = ("numpy", "scikit-learn", "torch", "jax")

#: What README.md calls the cases that it shows.
TITLES = {
    "binary cross-entropy": "binary_cross_entropy",
    "focal, γ = 2": "binary_focal", "focal, γ = 2.5": "binary_focal_2.5",
    "sharp, algebraic": "sharp", "Tweedie, power 1.5": "tweedie", "Gaussian NLL": "gaussian_nll",
    "cross-entropy, C = 32 000": "cross_entropy, C = 32000",
    "Crammer–Singer hinge, C = 10": "multiclass_hinge, C = 10", "Kullback–Leibler, C = 10": "kl_divergence, C = 10",
}


def run(options: Namespace) -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    README.write_text(with_speeds(README.read_text("utf-8"), results), "utf-8")
    text = with_table(BENCH_README.read_text("utf-8"), results)
    BENCH_README.write_text(with_avx512_table(text, json.loads(AVX512_RESULTS.read_text("utf-8"))), "utf-8")


def with_speeds(text: str, results: dict[str, Any]) -> str:
    """Each row "| title, dtype | ns | NumPy | scikit-learn | torch | jax | max ulp |" as measured at n = 10⁶."""
    measured = {(row["loss"], row["dtype"]): row["ns_per_element"] for row in results["rows"]
                if row["threads"] == 1 and row["n"] == 10**6}

    def row(match: re.Match[str]) -> str:
        title, dtype = match.groups()
        loss = TITLES.get(title) or re.sub(r"\W+", "_", title.split(", C")[0].lower()) + "".join(
            re.findall(", C = .*", title))
        ns = measured[loss, dtype]
        ulp = results["max_ulp"][loss][dtype].get("fastloss")
        cells = [f"{title}, {dtype}", f"{ns['fastloss']:.2f}", *times(ns), f"{max(ulp):.1f}" if ulp else "–"]
        return "| " + " | ".join(cells) + " |"

    return re.sub(r"^\| (.+), (float\d\d) \| [\d.]+(?: \| [^|]+){4} \| [^|]+ \|$", row, text, flags=re.M)


def times(ns: dict[str, float], digits: int = 1) -> list[str]:
    """How many times longer each peer takes."""
    return [f"{ns[peer] / ns['fastloss']:.{digits}f}×" if peer in ns else "–" for peer in PEERS]


def with_table(text: str, results: dict[str, Any]) -> str:
    """The table of all rows, but for n = 1, in place of the one that is there."""
    start = text.index("| loss | dtype | threads |")
    return text[:start] + "\n".join(table(results)) + text[text.index("\n\n", start):]


def table(results: dict[str, Any]) -> Iterator[str]:
    header, *rows = losses.speed_table(results)
    yield "| " + " | ".join(header) + " |"
    yield "| " + " | ".join("---" if cell[0].isalpha() else "---:" for cell in rows[0]) + " |"
    for row in rows:
        if row[header.index("n")] != "1":
            yield "| " + " | ".join(row) + " |"


def with_avx512_table(text: str, results: dict[str, Any]) -> str:
    """The shorter table of another machine, with a row for each loss and dtype, in place of the one that is there."""
    start = text.index("| loss | dtype | ns |")
    lines = ["| loss | dtype | ns | NumPy | scikit-learn | torch | jax |", "| --- | --- |" + " ---: |" * 5]
    for row in results["rows"]:
        ns = row["ns_per_element"]
        lines.append("| " + " | ".join([row["loss"], row["dtype"], f"{ns['fastloss']:.2f}", *times(ns, 2)]) + " |")
    return text[:start] + "\n".join(lines) + text[text.index("\n\n", start):]
