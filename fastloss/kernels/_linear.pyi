from typing import Any

import numpy as np

def strip_edges(rows: np.ndarray, starts: np.ndarray, strip: int, edges: np.ndarray) -> None: ...

class LinearPass:
    def __init__(
        self, evaluator: Any, products: object, storage: int, data: np.ndarray, pitch: int, step: int,
        indices: np.ndarray | None, starts: np.ndarray | None, strip: int, blas: bool, n_samples: int, n_features: int,
        y: Any, sample_weight: Any, n_outputs: int, flat: bool, fit_intercept: bool,
    ) -> None: ...
    def evaluate(
        self, mode: int, weights: np.ndarray, intercepts: np.ndarray, direction: np.ndarray | None,
        direction_intercepts: np.ndarray | None, n_threads: int | None,
    ) -> tuple[float, np.ndarray]: ...
