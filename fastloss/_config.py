"""The version, and how this installation was built."""

from __future__ import annotations

from . import kernels
from ._version import __version__
from .kernels import _driver


def show_config() -> None:
    """Prints the version, the chosen ISA (and those this CPU runs), the compiler, OpenMP and the threads."""
    print(f"fastloss  {__version__}")
    print(f"ISA       {kernels.ISA} (this CPU runs {', '.join(kernels.SUPPORTED)})")
    print(f"compiler  {_driver.COMPILER}")
    print(f"OpenMP    {_driver.OPENMP or 'none: one thread'}")
    print(f"threads   {_driver.get_num_threads()}")
