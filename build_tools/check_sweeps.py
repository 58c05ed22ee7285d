"""Fails when a sweep, a pass over rows or a product with X, of a built ISA module, is not vectorised at full width.

    python build_tools/check_sweeps.py [folder of the built package]

Three things of every sweep (loss × dtype × mode), read off the machine code with objdump (x86-64):

1. its inner loop stores whole registers of the ISA's full width, of the sweep's own dtype;
2. a float32 sweep converts nothing between float and double (a bare literal is enough to compute in double);
3. it calls nothing (a libm function, or a formula that was not inlined).

Sweeps that sum their losses up compute in such registers, and convert losses to double, a register at a time.

Products of linear models with dense X, which compute in double, must have such a loop, too.

Of row losses and overlap losses, each formula's function, and each pass that the compiler did not inline into one, must
have a loop that computes in whole registers of its own dtype; in float32 such loops convert nothing to double.
"""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import isa

MODES = ("loss", "gradient", "loss_gradient", "gradient_hessian", "all")
#: Losses that have one of these, have it in both dtypes; and both of those that sum up.
WIDE = "wide"
SUMS = ("loss_to_sum", "loss_to_sum_gradient")
SYMBOL = re.compile(r"__pyx_fuse_(\d+)_(\d+)__pyx_f_.*_sweep_(" + "|".join((*MODES, WIDE, *SUMS)) + ")$")
#: Functions of _rows.pyx that must be there, with how many losses share them; and passes, which may be inlined.
FORMULAS = {"evaluate_target": 4, "evaluate_cross_entropy": 1, "evaluate_distribution": 2, "evaluate_ordered": 2,
            "evaluate_margin": 3, "apply_softmax": 1, "gradient_of_block": 1}
#: The third of these, of several labels, goes class by class.
SCALAR = ("2", "evaluate_margin")
PASSES = ("largest", "exponentials", "cross", "outside", "scale_gradient", "scale_to_hessian", "hessian_of_target",
          "gradient_of_cross_entropy", "hessian_of_cross_entropy", "apply_sigmoid", "take_probabilities",
          "entropy_of_class", "add_entropy_slope")
ROW_SYMBOL = re.compile(r"__pyx_fuse_(?:(\d+)_)?(\d+)__pyx_f_.*_rows_(" + "|".join((*FORMULAS, *PASSES))
                        + r")(?!.*\.cold)(?:\.|$)")
#: Functions of _products.pyx, by the type of X.
PRODUCTS = ("scores_of_rows", "gradient_of_rows", "scores_of_columns", "gradient_of_columns")
PRODUCT_SYMBOL = re.compile(r"__pyx_fuse_(\d+)__pyx_f_.*_products_(" + "|".join(PRODUCTS) + r")$")
CONVERSION = re.compile(r"cvt(ss2sd|sd2ss|ps2pd|pd2ps)")


def functions(library: Path) -> dict[str, list[tuple[int, str]]]:
    """Symbol -> its instructions, each an address and a text."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(library)], capture_output=True, text=True,
                             check=True).stdout
    found: dict[str, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] = []
    for line in listing.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            current = found.setdefault(header[1], [])
        elif instruction := re.match(r"\s*([0-9a-f]+):\s+(.*)", line):
            current.append((int(instruction[1], 16), instruction[2]))
    return found


def spans(code: list[tuple[int, str]]) -> list[tuple[int, int]]:
    """The loops: what lies between the target of a backward jump and the jump."""
    found = []
    for address, text in code:
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        if jump and code[0][0] <= (target := int(jump[1], 16)) <= address:
            found.append((target, address))
    return found


def loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """The bodies of innermost loops."""
    every = spans(code)
    inner = [s for s in every if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in every)]
    return [[text for address, text in code if low <= address <= high] for low, high in inner]


def faults(code: list[tuple[int, str]], register: str, single: bool) -> list[str]:
    found = []
    store = re.compile(rf"v?mov[au]p[sd]\s+%{register}\d+,[^%]*\(")
    width = "ps" if single else "pd"
    arithmetic = re.compile(rf"v?(add|sub|mul|max|min|and|or|cmp\w*|blendm|f\w*?add\d*|movap|movup|xor)\w*{width}\s"
                            rf".*%{register}")
    if not any(any(store.match(t) for t in body) and any(arithmetic.match(t) for t in body) for body in loops(code)):
        found.append(f"no loop that stores whole {register} registers")
    # (Parameters are doubles, converted once before the loop.)
    if single and (bad := next((t for body in loops(code) for t in body if CONVERSION.search(t)), None)):
        found.append(f"converts between float and double: {bad}")
    if bad := next((t for _, t in code if re.match(r"call", t)), None):
        found.append(f"calls: {bad}")
    return found


def sum_faults(code: list[tuple[int, str]], register: str, single: bool) -> list[str]:
    """Sweeps that sum up make doubles of whole registers of losses, and never floats of doubles."""
    # (in any loop: with loops of some registers written out, what is innermost may be a loop that copies)
    every = spans(code)
    texts = [text for address, text in code if any(low <= address <= high for low, high in every)]
    differs = re.compile(rf"v?subp{'s' if single else 'd'}\s.*%{register}")  # every loss begins with a difference
    found = [] if any(map(differs.match, texts)) else [f"computes nothing in whole {register} registers"]
    found += [f"computes one number: {text}" for text in texts if re.match(r"v?subs[sd]\s", text)]
    narrow = re.compile(r"cvt(ss2sd|pd2ps)")
    found += [f"converts one number, or to float: {text}" for text in texts if single and narrow.search(text)]
    return found + [f"calls: {text}" for _, text in code if text.startswith("call")]


def row_faults(code: list[tuple[int, str]], register: str, single: bool) -> list[str]:
    arithmetic = re.compile(rf"v?(add|sub|mul|div|max|min|cmp|fn?m)\w*p{'s' if single else 'd'}\s.*%{register}")
    whole = [body for body in loops(code) if any(arithmetic.match(text) for text in body)]
    if not whole:
        return [f"no loop that computes in whole {register} registers"]
    # (Weights are doubles, converted to float once for a group.)
    if single and (bad := next((t for body in whole for t in body if re.search(r"cvt(ss2sd|ps2pd)", t)), None)):
        return [f"converts float to double: {bad}"]
    return []


def check_rows(library: Path, name: str, register: str) -> int:
    """Prints what is wrong with the passes over rows, and how many faults that are."""
    found = {m.groups(): code for symbol, code in functions(library).items() if (m := ROW_SYMBOL.match(symbol))}
    wanted = [(None if count == 1 else str(loss), dtype, formula) for formula, count in FORMULAS.items()
              for loss in range(count) for dtype in "01"]
    bad = [(key, "no such function") for key in wanted if key not in found]
    bad += [(key, fault) for key, code in found.items() if (key[0], key[2]) != SCALAR
            for fault in row_faults(code, register, key[1] == "0")]
    for (loss, dtype, function), fault in sorted(bad, key=str):
        which = "" if loss is None else f" of loss {loss}"
        print(f"{name}: {function}{which}, {'f32' if dtype == '0' else 'f64'}: {fault}")
    print(f"{name}: {len(found)} functions of row and overlap losses looked at")
    return len(bad)


def check_products(library: Path, name: str, register: str) -> int:
    """Prints which products of linear models are not vectorised, and how many those are."""
    found = {m.groups(): code for symbol, code in functions(library).items() if (m := PRODUCT_SYMBOL.match(symbol))}
    wanted = [(dtype, product) for dtype in "01" for product in PRODUCTS]
    bad = [(key, "no such function") for key in wanted if key not in found]
    bad += [(key, fault) for key, code in found.items() for fault in row_faults(code, register, False)]
    for (dtype, product), fault in bad:
        print(f"{name}: {product}, X of {'f32' if dtype == '0' else 'f64'}: {fault}")
    print(f"{name}: {len(found)} products looked at")
    return len(bad)


def module(package: Path, source: str, name: str) -> Path | None:
    """The built module of a source and an ISA."""
    return next(iter((package / "kernels").glob(isa.module_name(source, name) + ".*.so")), None)


def main() -> int:
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__import__("fastloss").__file__).parent
    if not isa.IS_X86_64:
        print("nothing to check: the registers of this machine are not in the table")
        return 0
    total = bad = 0
    for name, register in isa.REGISTERS.items():
        libraries = [module(package, source, name) for source in isa.HOT]
        if None in libraries:
            print(f"{name}: not all of {', '.join(isa.HOT)} are in {package / 'kernels'}")
            return 1
        library, rows, products = libraries
        sweeps = {m.groups(): code for symbol, code in functions(library).items() if (m := SYMBOL.match(symbol))}
        losses = {loss for loss, _, _ in sweeps}
        wide = {loss for loss, _, mode in sweeps if mode == WIDE}
        missing = [(loss, dtype, mode) for loss in losses for dtype in "01" for mode in MODES
                   if (loss, dtype, mode) not in sweeps]
        missing += [(loss, dtype, WIDE) for loss in wide for dtype in "01" if (loss, dtype, WIDE) not in sweeps]
        summed = {loss for loss, _, mode in sweeps if mode in SUMS}
        missing += [(loss, dtype, mode) for loss in summed for dtype in "01" for mode in SUMS
                    if (loss, dtype, mode) not in sweeps]
        missing += [] if summed else [("any", "1", mode) for mode in SUMS]
        for key in missing:
            print(f"{name}: loss {key[0]}, {'f32' if key[1] == '0' else 'f64'}, {key[2]}: no such function")
        for (loss, dtype, mode), code in sorted(sweeps.items()):
            for fault in (sum_faults if mode in SUMS else faults)(code, register, dtype == "0"):
                print(f"{name}: loss {loss} of the fused type, {'f32' if dtype == '0' else 'f64'}, {mode}: {fault}")
                bad += 1
        bad += len(missing) + (not sweeps)
        total += len(sweeps)
        print(f"{name}: {len(sweeps)} sweeps of {len(losses)} losses looked at")
        bad += check_rows(rows, name, register) + check_products(products, name, register)
    print(f"{total} sweeps, {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
