"""Builds the extension modules: the front door once, the hot modules once per ISA, each from one source.

Metadata is in pyproject.toml; ISAs and flags are in build_tools/isa.py.
"""

import copy
import itertools
import os
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "build_tools"))  # a PEP 517 build keeps the root off the path
import isa

KERNELS = Path("fastloss/kernels")

# Directives must be given here: comments in a .pyx do not reach the inline functions of .pxd files. (Without binding,
# functions are plain built-in ones, and a module is 8 KB smaller, packed.)
DIRECTIVES = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True,
              "initializedcheck": False, "binding": False}

# What is compiled to see whether a compiler takes some flags.
PROGRAM = "int main(void) { return 0; }\n"
OPENMP_PROGRAM = "#include <omp.h>\nint main(void) { return omp_get_max_threads() > 0 ? 0 : 1; }\n"


class BuildExt(build_ext):
    """Compiles each hot module's generated source for each ISA of the machine."""

    def build_extensions(self):
        kind = self.compiler.compiler_type
        command = " ".join(getattr(self.compiler, "compiler_so", None) or [])
        is_clang = "clang" in command or sys.platform == "darwin"
        openmp = self.find_openmp(kind)
        moves_wide = isa.IS_X86_64 and kind != "msvc" and not self.refusal(PROGRAM, isa.WIDE_MOVES)
        hot = [source for source in self.extensions if source.name.rsplit(".", 1)[-1] in isa.HOT]
        self.extensions = [once for once in self.extensions if once not in hot]
        for once in self.extensions:
            once.extra_compile_args = ([] if kind == "msvc" else ["-O2", "-g0"]) + openmp[0]
            once.extra_link_args = openmp[1]
        for source, name in itertools.product(hot, isa.variants(kind)):
            plain = source.name.rsplit(".", 1)[-1]
            module = isa.module_name(plain, name)
            variant = Extension(f"fastloss.kernels.{module}", source.sources, depends=source.depends)
            variant.define_macros = [(f"PyInit_{plain}", f"PyInit_{module}")]
            if kind != "msvc":
                variant.define_macros.append(isa.ALWAYS_INLINE)
            variant.extra_compile_args = isa.flags(plain, name, kind, is_clang, moves_wide)
            variant.include_dirs = source.include_dirs
            variant._needs_stub = False
            self.extensions.append(variant)
        super().build_extensions()

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext):
        # One source makes several modules, at once, so each needs a place of its own for its object file.
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp) / ext.name.rsplit(".", 1)[-1])
        super(BuildExt, own).build_extension(ext)

    def find_openmp(self, kind):
        """The flags that compile and link an OpenMP program here, or none: then the build is serial.

        FASTLOSS_NO_OPENMP=1 asks for none.
        """
        if os.environ.get("FASTLOSS_NO_OPENMP", "0") not in ("", "0"):
            print("fastloss: FASTLOSS_NO_OPENMP is set; building for one thread")
            return [], []
        compile_flags, link_flags = isa.openmp_flags(kind)
        if error := self.refusal(OPENMP_PROGRAM, compile_flags, link_flags):
            print(f"fastloss: no OpenMP with this compiler ({error}); building for one thread")
            return [], []
        return compile_flags, link_flags

    def refusal(self, program, compile_flags, link_flags=()):
        """Why a program is not compiled and linked with these flags; "": it is."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
                self.compiler.link_executable(objects, str(Path(folder) / "probe"), extra_postargs=list(link_flags))
            except Exception as error:  # each compiler class has its own errors
                return str(error) or type(error).__name__
        return ""


# What a module is compiled again for, beside its source (and what that includes and cimports, as Cython sees itself).
depends = [*map(str, KERNELS.glob("*.h")), "build_tools/isa.py", "setup.py"]
extensions = [
    Extension(f"fastloss.kernels.{name}", [str(KERNELS / f"{name}.pyx")], depends=depends,
              include_dirs=[str(KERNELS), numpy.get_include()],
              define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")])
    for name in (*isa.HOT, "_driver", "_linear", "_arrays")
]

if __name__ == "__main__":
    setup(ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES), cmdclass={"build_ext": BuildExt})
