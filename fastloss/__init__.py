"""Machine-learning losses with their gradients and Hessians, fused in one pass over NumPy arrays.

>>> import fastloss as fl
>>> loss = fl.BinaryFocal(gamma=2.0, alpha=0.25)
>>> value, gradient = loss.loss_gradient([0, 1, 1], [0.3, -1.2, 2.0])
"""

import typing

from ._config import show_config
from ._linear_cross_entropy import linear_cross_entropy
from ._version import __version__
from .binary import (
    AsymmetricFocal,
    BinaryCrossEntropy,
    BinaryFocal,
    Exponential,
    Hinge,
    ModifiedHuber,
    Perceptron,
    Sharp,
    SquaredHinge,
)
from .class_weight import DynamicClassWeight, class_weights
from .display import LossCurveDisplay
from .embedding import (
    Contrastive,
    ContrastivePairs,
    CosineEmbedding,
    CosineSimilarity,
    GaussianKL,
    HingeEmbedding,
    MarginRanking,
    NTXent,
    SupervisedContrastive,
    Triplet,
)
from .guide import guide
from .image import MSSSIM_L1, SSIM
from .kernels._driver import get_num_threads, set_num_threads
from .linear import LinearLoss
from .loss import Loss, available, get
from .multiclass import (
    Brier,
    CrossEntropy,
    EarthMover,
    Focal,
    GeneralizedCrossEntropy,
    JensenShannon,
    KLDivergence,
    MulticlassHinge,
    MultilabelMargin,
    PolyCrossEntropy,
)
from .regression import (
    AbsoluteError,
    AbsolutePercentageError,
    EpsilonInsensitive,
    Expectile,
    Fair,
    Gamma,
    GaussianNLL,
    Huber,
    LogCosh,
    NegativeBinomial,
    Poisson,
    PseudoHuber,
    Quantile,
    Robust,
    SmoothL1,
    SquaredEpsilonInsensitive,
    SquaredError,
    SquaredLogError,
    Tukey,
    Tweedie,
)
from .segmentation import Boundary, Dice, DiceCrossEntropy, FocalTversky, GeneralizedDice, Jaccard, Tversky

if typing.TYPE_CHECKING:
    from .estimators import LinearClassifier, LinearRegressor

__all__ = [  # noqa: RUF022 (as `sorted` has it)
    "AbsoluteError", "AbsolutePercentageError", "AsymmetricFocal", "BinaryCrossEntropy", "BinaryFocal", "Boundary",
    "Brier", "Contrastive", "ContrastivePairs", "CosineEmbedding", "CosineSimilarity", "CrossEntropy", "Dice",
    "DiceCrossEntropy", "DynamicClassWeight", "EarthMover", "EpsilonInsensitive", "Expectile", "Exponential", "Fair",
    "Focal", "FocalTversky", "Gamma", "GaussianKL", "GaussianNLL", "GeneralizedCrossEntropy", "GeneralizedDice",
    "Hinge", "HingeEmbedding", "Huber", "Jaccard", "JensenShannon", "KLDivergence", "LinearClassifier", "LinearLoss",
    "LinearRegressor", "LogCosh", "Loss", "LossCurveDisplay", "MSSSIM_L1", "MarginRanking", "ModifiedHuber",
    "MulticlassHinge", "MultilabelMargin", "NTXent", "NegativeBinomial", "Perceptron", "Poisson", "PolyCrossEntropy",
    "PseudoHuber", "Quantile", "Robust", "SSIM", "Sharp", "SmoothL1", "SquaredEpsilonInsensitive", "SquaredError",
    "SquaredHinge", "SquaredLogError", "SupervisedContrastive", "Triplet", "Tukey", "Tversky", "Tweedie", "__version__",
    "available", "class_weights", "get", "get_num_threads", "guide", "linear_cross_entropy", "set_num_threads",
    "show_config",
]


def __getattr__(name: str) -> typing.Any:
    if name in ("LinearClassifier", "LinearRegressor"):  # on first use: they import scikit-learn, which is an extra
        from . import estimators
        globals()[name] = getattr(estimators, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
