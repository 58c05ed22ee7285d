from typing import Any

COMPILER: str
OPENMP: int

def x86_64_level() -> int: ...
def set_num_threads(n: int | None) -> None: ...
def get_num_threads() -> int: ...
def after_fork_in_child() -> None: ...

class Evaluator:
    def __init__(
        self, capsule: object, target: str, cost: float, varying_name: str, varying: Any, class_weight: Any,
        float32_fault: str | None = None,
    ) -> None: ...
    def evaluate(
        self,
        mode: int,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        reduction: Any,
        n_threads: int | None,
        loss_out: Any = None,
        gradient_out: Any = None,
        hessian_out: Any = None,
    ) -> Any: ...

class RowEvaluator:
    def __init__(
        self, hard: object, soft: object, inputs: str, target: str, cost: float, class_weight: Any, class_factor: Any,
        label_smoothing: float, temperature: float, logit_adjustment: Any, ignore_index: int | None, bound: bool,
        float32_fault: str | None = None,
    ) -> None: ...
    def evaluate(
        self,
        mode: int,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        reduction: Any,
        n_threads: int | None,
        loss_out: Any = None,
        gradient_out: Any = None,
        hessian_out: Any = None,
    ) -> Any: ...
