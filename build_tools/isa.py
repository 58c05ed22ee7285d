"""The one table of instruction sets and compiler flags."""

import platform
import sys

MACHINE = platform.machine().lower()
IS_X86_64 = MACHINE in ("x86_64", "amd64")

# No -ffast-math, no -fassociative-math: NaN, inf and the order of sums are part of the contract.
# -fno-math-errno, -fno-trapping-math: needed to vectorise divisions and selects; nobody reads errno or FP traps here.
# -ffp-contract=off: fused multiply-adds are written out (mad), so that all modes and positions agree bit for bit.
# No unwind tables: C needs them for debuggers alone, and they are a fiftieth of the wheel.
UNIX_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fno-asynchronous-unwind-tables",
              "-g0"]

# The inliner gives up on big formulas, and a call in a sweep costs 10 times the formula.
ALWAYS_INLINE = ("CYTHON_INLINE", "__inline__ __attribute__((always_inline))")

# Sweeps have up to three inputs and three outputs: more pairs to check for overlap than compilers do by default.
# No second vector loop for the rest of a block, which would cost a quarter of the modules' size for no time: blocks are
# whole registers but for the last. And loops over 16 numbers stay loops, one after the other, or nothing could make
# vectors of them.
GCC_PARAMETERS = ("vect-max-version-for-alias-checks=64", "vect-epilogues-nomask=0", "max-completely-peel-times=4")
GCC_FLAGS = ["-fno-loop-unroll-and-jam"] + [flag for parameter in GCC_PARAMETERS for flag in ("--param", parameter)]
# Small arrays are cleared by stores of registers: "rep stos", GCC's own choice, takes some 30 cycles to begin.
if IS_X86_64:
    GCC_FLAGS.append("-mmemset-strategy=vector_loop:2048:noalign,libcall:-1:noalign")
# For AVX2, small arrays are copied and cleared 32 bytes at a time, where GCC's own choice is 16: a load of 32 bytes
# waits long for two stores of 16. Flags of GCC 12 and later.
WIDE_MOVES = ["-mmove-max=256", "-mstore-max=256"]
CLANG_FLAGS = ["-mllvm", "-runtime-memory-check-threshold=64"]

# name -> flags, best last. The name is what FASTLOSS_ISA takes.
X86_64 = {
    "x86-64-v2": ["-march=x86-64-v2"],
    "x86-64-v3": ["-march=x86-64-v3"],
    "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
BASELINE = {"baseline": []}

# The widest registers of each ISA, for the check that sweeps are vectorised.
REGISTERS = {"x86-64-v2": "xmm", "x86-64-v3": "ymm", "x86-64-v4": "zmm"}


def variants(compiler_type: str) -> dict[str, list[str]]:
    """The ISAs to build on this machine with this kind of compiler ("unix", "msvc", ...)."""
    return X86_64 if IS_X86_64 and compiler_type != "msvc" else BASELINE


#: What is compiled once per ISA.
HOT = ["_sweeps", "_rows", "_products"]

# Smaller modules: of the oldest CPUs, and where it costs no time (sweeps of -v3 have the same number of instructions).
# Loops of one or two registers are still written out, or their numbers would go through memory.
SMALLER = ["-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fpeel-loops"]
SMALL = [("_sweeps", "x86-64-v2"), ("_rows", "x86-64-v2"), ("_products", "x86-64-v2"), ("_sweeps", "x86-64-v3")]
# Where instructions are put in order before they get registers: formulas of several functions take up to a seventh less
# time, hinge and Fair up to a tenth more. (Rows of classes take longer.) And where loops begin with a line of memory:
# else some of the lightest took up to a twentieth longer, by where they lay.
SCHEDULED = [("_sweeps", "x86-64-v3")]
SCHEDULE = ["-fschedule-insns", "-fsched-pressure", "-falign-functions=64", "-falign-loops=64"]


def module_name(source: str, isa: str) -> str:
    """The extension module of a source and an ISA: "_sweeps", "x86-64-v3" -> "_sweeps_v3"."""
    return f"{source}_{isa.rsplit('-', 1)[-1]}"


def flags(source: str, isa: str, compiler_type: str, is_clang: bool, moves_wide: bool) -> list[str]:
    """How to compile a source of HOT for an ISA; `moves_wide`: the compiler takes WIDE_MOVES."""
    if compiler_type == "msvc":
        return ["/O2", "/fp:precise"]
    return (UNIX_FLAGS + (CLANG_FLAGS if is_clang else GCC_FLAGS) + variants(compiler_type)[isa]
            + (SMALLER if (source, isa) in SMALL else [])
            + (SCHEDULE if (source, isa) in SCHEDULED and not is_clang else [])
            + (WIDE_MOVES if moves_wide and isa == "x86-64-v3" else []))


def openmp_flags(compiler_type: str) -> tuple[list[str], list[str]]:
    """Compile and link flags to try for OpenMP; without it the build is serial."""
    if compiler_type == "msvc":
        return ["/openmp"], []
    if sys.platform == "darwin":
        return ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
    return ["-fopenmp"], ["-fopenmp"]
