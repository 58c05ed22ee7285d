"""The losses of whole arrays (SampleLoss): instances with all parameters, and arrays that each takes."""

import numpy as np

import fastloss as fl
from fastloss._samples import SampleLoss

OVERLAP = [fl.Dice, fl.GeneralizedDice, fl.Jaccard, fl.Tversky, fl.FocalTversky, fl.Boundary, fl.DiceCrossEntropy]
SAMPLE_INSTANCES = [
    *(cls() for cls in OVERLAP),
    *(cls(axis=-1, include_background=False) for cls in OVERLAP),
    *(cls(axis=None, inputs="probabilities") for cls in OVERLAP),
    *(cls(multilabel=True, over="batch") for cls in OVERLAP),
    *(cls(smooth=0.25) for cls in OVERLAP if cls is not fl.Boundary),
    fl.Dice(squared=True), fl.DiceCrossEntropy(weight=0.25, squared=True),
    fl.GeneralizedDice("simple"), fl.GeneralizedDice("uniform"), fl.Tversky(0.3, 0.7),
    fl.FocalTversky(alpha=0.6, beta=0.4, gamma=0.75),
    fl.SSIM(), fl.SSIM(window=7, sigma=1.0, data_range=2.0), fl.MSSSIM_L1(),
    fl.MSSSIM_L1(alpha=0.5, data_range=2.0, sigmas=(1.0, 3.0), window=9),
    fl.ContrastivePairs(), fl.ContrastivePairs(margin=3.0), fl.Triplet(), fl.Triplet(margin=2.0, p=1.5, swap=True),
    fl.CosineEmbedding(), fl.CosineEmbedding(margin=0.2), fl.CosineSimilarity(), fl.MarginRanking(),
    fl.MarginRanking(margin=0.5), fl.NTXent(), fl.NTXent(temperature=0.2), fl.SupervisedContrastive(),
    fl.SupervisedContrastive(temperature=0.5), fl.GaussianKL(),
]
SAMPLE_LOSSES = list(dict.fromkeys(type(loss) for loss in SAMPLE_INSTANCES))


def is_sample_loss(loss):
    return isinstance(loss, SampleLoss)


def arrays(loss, n=6, dtype=np.float64, seed=0):
    """What a call takes: n samples, as moderate numbers."""
    rng = np.random.default_rng(seed)
    if isinstance(loss, tuple(OVERLAP)):
        space, classes = (5, 7), 3
        shape = {1: (n, classes, *space), -1: (n, *space, classes), None: (n, *space)}[loss.axis]
        z = rng.normal(0, 2, shape)
        z = 1 / (1 + np.exp(-z)) if loss.inputs == "probabilities" else z
        if isinstance(loss, fl.Boundary):
            y = rng.normal(0, 2, shape)
        else:
            y = rng.integers(0, 2 if loss.axis is None or loss.multilabel else classes,
                             shape if loss.multilabel else (n, *space))
        return [y, z.astype(dtype)]
    if isinstance(loss, (fl.SSIM, fl.MSSSIM_L1)):
        shape = (n, loss.window + 1, loss.window + 2)
        y = rng.random(shape)
        return [y, (y + rng.normal(0, 0.3, shape)).astype(dtype)]
    vectors = [rng.normal(size=n if isinstance(loss, fl.MarginRanking) else (n, 5)).astype(dtype)
               for name in loss.inputs_of_call if name != "y"]
    if isinstance(loss, fl.SupervisedContrastive):
        return [np.arange(n) % 3, *vectors]
    return [np.arange(n) % 2 * 2 - 1, *vectors] if "y" in loss.inputs_of_call else vectors
