"""The types of public arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from .class_weight import DynamicClassWeight

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Array: TypeAlias = NDArray[np.floating[Any]]
ClassWeight: TypeAlias = "Literal['balanced'] | Mapping[int, float] | ArrayLike | DynamicClassWeight | None"
