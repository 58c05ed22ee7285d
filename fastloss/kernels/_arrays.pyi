from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ACTIVATIONS: Sequence[str]
MAP_TARGETS: Sequence[str]

class OverlapPass:
    def __init__(
        self, capsule: object, y: np.ndarray, z: np.ndarray, activation: str, target: str, exclusive: bool,
        tolerance: float, ignored: int | None, squares: bool, cross_entropy: bool, class_weight: np.ndarray | None,
    ) -> None: ...
    def sums(self, n_threads: int | None) -> tuple[np.ndarray, np.ndarray, bool]: ...
    def gradient(
        self, slopes: np.ndarray, scales: np.ndarray, out: np.ndarray, n_threads: int | None,
    ) -> None: ...

def compare_images(
    capsule: object, true: NDArray[np.float64], pred: NDArray[np.float64], taps: NDArray[np.float64],
    down: NDArray[np.float64], across: NDArray[np.float64], alpha: float, data_range: float, factor: float,
    gradient: NDArray[np.float64] | None,
) -> float: ...
def over_rows(
    kernel: object, arrays: tuple[np.ndarray | None, ...], parameter: float, n_threads: int | None,
) -> None: ...
