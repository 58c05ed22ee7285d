"""The command: `python -m bench [losses|arrays|linear|train|targets|imbalance|gallery|docs] [options]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import arrays, docs, gallery, imbalance, linear, losses, machine, targets, train
from .cases import all_cases
from .peers import PEERS


def size(text: str) -> int:
    number = int(float(text))  # 1e6 is meant as a whole number
    if number < 1:
        raise argparse.ArgumentTypeError("sizes start at 1")
    return number


def threads(text: str) -> int:
    return machine.usable_cpus() if text == "all" else size(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The benchmark of fastloss: bench/README.md")
    parser.add_argument("command", nargs="?", default="all",
                        choices=["all", "losses", "arrays", "linear", "train", "targets", "imbalance", "gallery",
                                 "docs"],
                        help="losses: the table of speeds; arrays: the same for losses of images and vectors; linear: "
                             "evaluations and fits of linear models, and their goals; train: logistic models of real "
                             "data; targets: the goals of speed and size, and how far they are met; imbalance: where a "
                             "sharp loss draws the line between classes of unequal size; gallery: the curves of all "
                             "losses; docs: the tables of README.md and bench/README.md, from results/losses.json; "
                             "all (the default): train, then losses")
    parser.add_argument("--losses", nargs="+", metavar="NAME", choices=[*all_cases(), *arrays.all_cases()],
                        default=[],
                        help=f"of {'; '.join(all_cases())}; of arrays {'; '.join(arrays.all_cases())}. All by default")
    parser.add_argument("--sizes", nargs="+", type=size, metavar="N", default=[],
                        help="1e6 by default, and for some losses 1 to 1e7")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--threads", nargs="+", type=threads, metavar="N", default=[1, threads("all")],
                        help="numbers, or all; by default one, and all")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--seconds", type=float, default=0.03, help="for each competitor in each measurement")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder of JSON file and figure")
    parser.add_argument("--no-figure", action="store_true")
    parser.add_argument("--quick", action="store_true", help="linear only: a hundredth of the samples, nothing written")
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    options = parser.parse_args()
    options.threads = list(dict.fromkeys(options.threads))
    return options


def main() -> None:
    options = parse()
    if options.command in ("all", "train"):
        train.run(options)
        print()
    if options.command in ("all", "losses"):
        losses.run(options)
    if options.command == "arrays":
        arrays.run(options)
    if options.command == "linear":
        linear.run(options)
    if options.command == "targets":
        targets.run(options)
    if options.command == "imbalance":
        imbalance.run(options)
    if options.command == "gallery":
        gallery.run(options)
    if options.command == "docs":
        docs.run(options)


if __name__ == "__main__":
    main()
