"""The types of public arguments."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reduced: TypeAlias = Literal["mean", "sum"]  # to a float
Reduction: TypeAlias = Literal["mean", "sum", "none"]
Array: TypeAlias = NDArray[np.floating[Any]]
