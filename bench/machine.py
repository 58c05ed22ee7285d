"""Where and with what the numbers were taken."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import fastloss as fl
from fastloss import kernels
from fastloss.kernels import _driver


def describe() -> dict[str, Any]:
    return {"cpu": cpu(), "cpus": usable_cpus(), "isa": kernels.ISA, "compiler": _driver.COMPILER,
            "system": platform.system(), "python": platform.python_version()}


def versions(names: list[str]) -> dict[str, str]:
    return {"fastloss": fl.__version__} | {name: importlib.metadata.version(name) for name in names}


def cpu() -> str:
    """The model's name; the name of the architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
