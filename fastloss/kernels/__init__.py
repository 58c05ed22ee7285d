"""The compiled kernels: the ISA is chosen here, when the package is imported.

``FASTLOSS_ISA`` forces one: ``x86-64-v2``, ``x86-64-v3`` or ``x86-64-v4`` (``baseline`` on other machines).
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

# How long threads wait for work before they sleep, in turns of a loop: about 0.2 ms. GCC's OpenMP reads it when it is
# loaded, which is now; its own choice are milliseconds, in which they use up the time that other processes would leave
# them when there is work: on a busy machine small fits took up to 40 times as long.
_BRIEF = {} if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys() else {"GOMP_SPINCOUNT": "10000"}
os.environ.update(_BRIEF)
try:
    from . import _driver
    from ._driver import Evaluator as Evaluator
    from ._driver import RowEvaluator as RowEvaluator
finally:
    if _BRIEF:
        del os.environ["GOMP_SPINCOUNT"]

_LEVEL = _driver.x86_64_level()
# Best first: those this CPU runs.
SUPPORTED = [f"x86-64-v{level}" for level in (4, 3, 2) if level <= _LEVEL] + ["baseline"]


def _choose() -> tuple[str, ModuleType, ModuleType, ModuleType]:
    forced = os.environ.get("FASTLOSS_ISA")
    if forced and forced not in SUPPORTED:
        raise ImportError(f"FASTLOSS_ISA is {forced!r}; this CPU runs {', '.join(SUPPORTED)}")
    for isa in [forced] if forced else SUPPORTED:
        suffix = isa.rsplit("-", 1)[-1]
        name = f"{__name__}._sweeps_{suffix}"
        try:
            return (isa, importlib.import_module(name), importlib.import_module(f"{__name__}._rows_{suffix}"),
                    importlib.import_module(f"{__name__}._products_{suffix}"))
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ImportError(f"fastloss was built without a module for {forced or ' or '.join(SUPPORTED)}")


ISA, sweeps, rows, products = _choose()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_driver.after_fork_in_child)


def bind(name: str, parameters: dict[str, float], *, target: str, cost: float, varying_name: str = "",
         varying: object = 0.0, class_weight: object = None, float32_fault: str | None = None) -> _driver.Evaluator:
    """The Evaluator of the formula called `name` in the .pxd of its family."""
    capsule = sweeps.bind.__signatures__[name](parameters or {"_": 0.0})
    return _driver.Evaluator(capsule, target, cost, varying_name, varying, class_weight, float32_fault)


def bind_rows(hard: tuple[str, dict[str, float]] | None, soft: tuple[str, dict[str, float]] | None, *, inputs: str,
              target: str, cost: float, class_weight: object = None, class_factor: object = None,
              label_smoothing: float = 0.0, temperature: float = 1.0, logit_adjustment: object = None,
              ignore_index: int | None = None, bound: bool = False,
              float32_fault: str | None = None) -> _driver.RowEvaluator:
    """The RowEvaluator of formulas (name, fields) in multiclass.pxd: for classes as targets, and for rows."""
    hard_capsule, soft_capsule = (
        formula and rows.bind.__signatures__[formula[0]](formula[1] or {"_": 0.0}) for formula in (hard, soft))
    return _driver.RowEvaluator(hard_capsule, soft_capsule, inputs, target, cost, class_weight, class_factor,
                                label_smoothing, temperature, logit_adjustment, ignore_index, bound, float32_fault)
