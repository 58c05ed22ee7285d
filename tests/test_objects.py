"""Losses as Python objects: immutable, cheap, equal by value, found by name; the package: its import and its ISA."""

import copy
import pickle
import subprocess
import sys
import timeit
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import fastloss as fl
from fastloss import kernels
from fastloss.loss import BaseLoss
from reference import INSTANCES, PAIRS, predictions, targets

OTHERS = [
    fl.Quantile([0.1, 0.5, 0.9]), fl.BinaryCrossEntropy(pos_weight=[1.0, 2.5]), fl.Hinge(class_weight={0: 0.5, 1: 2.0}),
    fl.Sharp(class_weight="balanced"), fl.BinaryFocal(class_weight=np.array([[1.0, 2.0], [0.3, 0.4]])),
    fl.BinaryCrossEntropy(class_weight=[1, 2]), fl.Hinge(class_weight={-1: 1 / 3}), fl.Huber([0.1, 0.5, 0.9]),
    fl.Expectile([0.1, 0.5, 0.9]), fl.EpsilonInsensitive([0.1, 0.5, 0.9]), fl.Perceptron("balanced"),
]
EVERYTHING = INSTANCES + PAIRS + OTHERS
every_object = pytest.mark.parametrize("loss", EVERYTHING, ids=repr)

ALIASES = {
    "mse": "SquaredError", "l2": "SquaredError", "mean_squared_error": "SquaredError", "mae": "AbsoluteError",
    "l1": "AbsoluteError", "mean_absolute_error": "AbsoluteError", "pinball": "Quantile", "bce": "BinaryCrossEntropy",
    "log_loss": "BinaryCrossEntropy", "logistic": "BinaryCrossEntropy", "sigmoid_cross_entropy": "BinaryCrossEntropy",
    "msle": "SquaredLogError", "mean_squared_log_error": "SquaredLogError", "mape": "AbsolutePercentageError",
    "mean_absolute_percentage_error": "AbsolutePercentageError", "barron": "Robust", "general_adaptive": "Robust",
    "biweight": "Tukey", "bisquare": "Tukey", "poisson_nll": "Poisson", "nb2": "NegativeBinomial",
    "charbonnier": "PseudoHuber", "asymmetric_least_squares": "Expectile", "logcosh": "LogCosh",
    "asl": "AsymmetricFocal", "asymmetric_loss": "AsymmetricFocal", "adaboost": "Exponential",
    "quantile_loss": "Quantile", "sigmoid_focal": "BinaryFocal",
    "squared_error": "SquaredError", "absolute_error": "AbsoluteError", "huber": "Huber", "quantile": "Quantile",
    "binary_cross_entropy": "BinaryCrossEntropy", "binary_focal": "BinaryFocal", "hinge": "Hinge", "sharp": "Sharp",
    "expectile": "Expectile", "smooth_l1": "SmoothL1", "pseudo_huber": "PseudoHuber", "log_cosh": "LogCosh",
    "fair": "Fair", "epsilon_insensitive": "EpsilonInsensitive",
    "squared_epsilon_insensitive": "SquaredEpsilonInsensitive", "squared_log_error": "SquaredLogError",
    "absolute_percentage_error": "AbsolutePercentageError", "robust": "Robust", "tukey": "Tukey", "poisson": "Poisson",
    "gamma": "Gamma", "tweedie": "Tweedie", "negative_binomial": "NegativeBinomial", "gaussian_nll": "GaussianNLL",
    "asymmetric_focal": "AsymmetricFocal", "squared_hinge": "SquaredHinge", "perceptron": "Perceptron",
    "modified_huber": "ModifiedHuber", "exponential": "Exponential",
    "cross_entropy": "CrossEntropy", "softmax": "CrossEntropy", "categorical_cross_entropy": "CrossEntropy",
    "sparse_categorical_cross_entropy": "CrossEntropy", "multinomial_logistic": "CrossEntropy",
    "multinomial": "CrossEntropy", "focal": "Focal", "categorical_focal": "Focal", "softmax_focal": "Focal",
    "multiclass_hinge": "MulticlassHinge", "categorical_hinge": "MulticlassHinge", "kl_divergence": "KLDivergence",
    "kl": "KLDivergence", "kl_div": "KLDivergence", "kullback_leibler": "KLDivergence",
    "jensen_shannon": "JensenShannon", "js_divergence": "JensenShannon", "jsd": "JensenShannon",
    "earth_mover": "EarthMover", "emd": "EarthMover", "wasserstein": "EarthMover", "brier": "Brier",
    "brier_score": "Brier", "generalized_cross_entropy": "GeneralizedCrossEntropy", "gce": "GeneralizedCrossEntropy",
    "poly_cross_entropy": "PolyCrossEntropy", "poly1": "PolyCrossEntropy", "poly_loss": "PolyCrossEntropy",
    "multilabel_margin": "MultilabelMargin", "contrastive": "Contrastive", "contrastive_loss": "Contrastive",
    "hinge_embedding": "HingeEmbedding", "hinge_embedding_loss": "HingeEmbedding", "dice": "Dice", "dice_loss": "Dice",
    "soft_dice": "Dice", "generalized_dice": "GeneralizedDice", "generalised_dice": "GeneralizedDice",
    "jaccard": "Jaccard", "jaccard_loss": "Jaccard", "iou": "Jaccard", "tversky": "Tversky", "tversky_loss": "Tversky",
    "focal_tversky": "FocalTversky", "boundary": "Boundary", "surface_loss": "Boundary",
    "dice_cross_entropy": "DiceCrossEntropy", "dice_ce": "DiceCrossEntropy", "ssim": "SSIM",
    "structural_similarity": "SSIM", "contrastive_pairs": "ContrastivePairs", "triplet": "Triplet",
    "triplet_margin": "Triplet", "cosine_embedding": "CosineEmbedding", "cosine_similarity": "CosineSimilarity",
    "cosine": "CosineSimilarity", "cosine_distance": "CosineSimilarity", "margin_ranking": "MarginRanking",
    "nt_xent": "NTXent", "ntxent": "NTXent", "simclr": "NTXent", "supervised_contrastive": "SupervisedContrastive",
    "supcon": "SupervisedContrastive", "gaussian_kl": "GaussianKL", "vae_kl": "GaussianKL",
    "msssim_l1": "MSSSIM_L1", "ms_ssim_l1": "MSSSIM_L1",
}


def data(loss):
    if loss in PAIRS:
        return targets(loss, 30), predictions(loss, 60).reshape(30, 2)
    shape = (30, 3) if any(np.shape(v) == (3,) for v in loss.get_params().values()) else (30, 2)
    return targets(loss, np.prod(shape)).reshape(shape), predictions(loss, np.prod(shape)).reshape(shape)


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60, **options)


@every_object
def test_objects_are_immutable(loss):
    for name in (*loss.get_params(), "something"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(loss, name, 1)
        with pytest.raises(AttributeError, match="immutable"):
            delattr(loss, name)
    assert not hasattr(loss, "__dict__")
    before = loss.get_params()
    loss.get_params()["something"] = 1
    assert loss.get_params().keys() == before.keys()


@every_object
def test_copies_are_equal_and_compute_the_same(loss):
    y, z = data(loss)
    names = {"inf": np.inf, "nan": np.nan, **vars(fl)}
    copies = [copy.copy(loss), copy.deepcopy(loss), eval(repr(loss), names), clone(loss, safe=False),
              type(loss)(**loss.get_params())]
    copies += [pickle.loads(pickle.dumps(loss, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert type(other) is type(loss)
        assert other(y, z) == loss(y, z)
        assert other == loss
        assert hash(other) == hash(loss)
        assert repr(other) == repr(loss)


def test_different_objects_differ():
    for i, loss in enumerate(EVERYTHING):
        assert [j for j, other in enumerate(EVERYTHING) if other == loss] == [i], loss
        assert loss != repr(loss)
    assert len({repr(loss) for loss in EVERYTHING}) == len(EVERYTHING)
    assert len(set(EVERYTHING)) == len(EVERYTHING)


def test_numbers_of_any_type_make_the_same_object():
    assert fl.Huber(1) == fl.Huber(1.0) == fl.Huber(np.float32(1)) == fl.Huber(np.int64(1))
    assert fl.Quantile((0.1, 0.9)) == fl.Quantile(np.array([0.1, 0.9])) == fl.Quantile([0.1, 0.9])
    assert fl.BinaryFocal(2) == fl.BinaryFocal() and hash(fl.BinaryFocal(2)) == hash(fl.BinaryFocal())
    assert fl.Hinge(class_weight={0: 1, 1: 2}) == fl.Hinge(class_weight={1: 2.0, 0: 1.0})


def test_representations():
    assert repr(fl.Huber()) == "Huber()"
    assert repr(fl.Huber(2)) == "Huber(delta=2.0)"
    assert repr(fl.Quantile([0.1, 0.9])) == "Quantile(quantile=[0.1, 0.9])"
    assert repr(fl.BinaryFocal(gamma=1.5, alpha=0.25)) == "BinaryFocal(gamma=1.5, alpha=0.25)"
    assert repr(fl.Sharp("arctan", epsilon=0.1)) == "Sharp(phi='arctan', epsilon=0.1)"
    assert repr(fl.DynamicClassWeight(2)).startswith("DynamicClassWeight(n_classes=2, momentum=0.99")


def test_what_a_caller_changes_later_does_not_change_the_loss():
    y, z = [[0, 1]], [[0.5, 0.5]]
    for make, mutable in ((lambda v: fl.Hinge(class_weight=v), np.array([1.0, 2.0])),
                          (lambda v: fl.Hinge(class_weight=v), {0: 1.0, 1: 2.0}),
                          (lambda v: fl.Hinge(class_weight=v), [1.0, 2.0]),
                          (lambda v: fl.BinaryCrossEntropy(pos_weight=v), np.array([1.0, 2.0])),
                          (lambda v: fl.Quantile(v), np.array([0.1, 0.2]))):
        loss = make(mutable)
        value, text, number = loss(y, z), repr(loss), hash(loss)
        mutable[1] = 0.75
        assert (loss(y, z), repr(loss), hash(loss)) == (value, text, number)
        assert pickle.loads(pickle.dumps(loss))(y, z) == value
        for parameter in loss.get_params().values():
            if isinstance(parameter, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    parameter[0] = 9


def test_dynamic_class_weights_pickle_with_their_state():
    weight = fl.DynamicClassWeight(2, momentum=0.5).update([0, 0, 0, 1])
    for other in (pickle.loads(pickle.dumps(weight)), copy.deepcopy(weight)):
        assert other == weight
        np.testing.assert_array_equal(other.weights, weight.weights)
    assert weight != fl.DynamicClassWeight(2, momentum=0.5)
    loss = fl.Hinge(class_weight=weight)
    assert pickle.loads(pickle.dumps(loss))([0, 1], [0.5, 0.5]) == loss([0, 1], [0.5, 0.5])


@pytest.mark.parametrize("arguments", [(1,), (2.5,), (True,), (0,), (2, 1.0), (2, -0.1), (2, np.nan)])
def test_bad_dynamic_class_weights(arguments):
    with pytest.raises((ValueError, TypeError), match=r"n_classes|momentum"):
        fl.DynamicClassWeight(*arguments)


def test_objects_are_cheap():
    # best of many: CPUs are shared
    times = timeit.repeat(lambda: fl.BinaryFocal(gamma=2.0, alpha=0.25), number=20, repeat=100)
    assert min(times) / 20 < 100e-6
    assert sys.getsizeof(fl.Huber()) < 100


# ---- the registry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", fl.available())
def test_every_available_name_makes_a_loss(name):
    assert isinstance(fl.get(name), BaseLoss)
    assert fl.get(name) == type(fl.get(name))()


@pytest.mark.parametrize("name", ALIASES)
def test_other_names(name):
    assert type(fl.get(name)).__name__ == ALIASES[name]


def test_every_alias_is_tested():
    assert {alias for name in fl.available() for alias in (name, *fl.get(name).aliases)} == set(ALIASES)


def test_get_hands_parameters_over():
    assert fl.get("binary_focal", gamma=1.5, alpha=0.25) == fl.BinaryFocal(1.5, 0.25)
    with pytest.raises(TypeError, match="gama"):
        fl.get("binary_focal", gama=1.5)
    with pytest.raises(ValueError, match="delta"):
        fl.get("huber", delta=-1)


@pytest.mark.parametrize("name", ["hubr", "", "Huber", None, 3, ["huber"], fl.Huber])
def test_unknown_names(name):
    with pytest.raises(ValueError, match="binary_focal") as caught:
        fl.get(name)
    assert repr(name) in str(caught.value) and "mse" in str(caught.value)


def test_available_is_sorted_and_its_own_list():
    names = fl.available()
    assert names == sorted(set(names)) and "binary_cross_entropy" in names
    names.clear()
    assert fl.available()


# ---- the package -----------------------------------------------------------------------------------------------------


def test_show_config(capsys):
    fl.show_config()
    printed = capsys.readouterr().out
    for expected in (fl.__version__, kernels.ISA, "compiler", "OpenMP", f"threads   {fl.get_num_threads()}"):
        assert expected in printed


def test_importing_is_quick(tmp_path, monkeypatch):
    # beyond numpy's own import, best of several: the machine may be busy; and with bytecode, as pip installs it
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    code = "import numpy, time; t = time.perf_counter(); import fastloss; print(time.perf_counter() - t)"
    assert min(float(python(code).stdout) for _ in range(5)) < 0.05


def test_importing_leaves_the_big_ones_alone():
    code = ("import sys, fastloss; print([m for m in ('scipy', 'sklearn', 'pandas', 'torch', 'xgboost', 'matplotlib')"
            " if m in sys.modules])")
    assert python(code).stdout.strip() == "[]"


@pytest.mark.parametrize("isa", [isa for isa in kernels.SUPPORTED if isa != "baseline"] or ["baseline"])
def test_forced_isa(isa, monkeypatch):
    monkeypatch.setenv("FASTLOSS_ISA", isa)
    code = "import fastloss as fl; fl.show_config(); print(fl.SquaredError()([1.0, 2.0], [1.5, 2.0]))"
    printed = python(code).stdout
    assert f"ISA       {isa} " in printed and printed.endswith("0.125\n")


@pytest.mark.parametrize("isa", ["x86-64-v9", "avx2", "V3"])
def test_unknown_isa(isa, monkeypatch):
    monkeypatch.setenv("FASTLOSS_ISA", isa)
    failed = python("import fastloss")
    assert failed.returncode and "ImportError" in failed.stderr and isa in failed.stderr
    assert all(name in failed.stderr for name in kernels.SUPPORTED)


def test_the_best_isa_is_chosen(monkeypatch):
    monkeypatch.delenv("FASTLOSS_ISA", raising=False)
    chosen = python("from fastloss import kernels; print(kernels.ISA)").stdout.strip()
    assert chosen == kernels.SUPPORTED[0]


def test_isas_agree_on_the_bits(monkeypatch):
    # with fused multiply-add: v3 and v4; v2 has none and may differ in the last bits
    code = """
import numpy as np, fastloss as fl
import sys
from fastloss._samples import SampleLoss
from fastloss.multiclass import RowLoss
sys.path.insert(0, TESTS)
from samples import SAMPLE_INSTANCES, arrays
z = np.random.default_rng(0).normal(0, 20, 5000)
for dtype in (np.float32, np.float64):
    for name in fl.available():
        loss = fl.get(name)
        if isinstance(loss, SampleLoss):
            continue
        y_true, y_pred = (z > 1) + ("binary" not in loss.target), z.astype(dtype)
        if name == "gaussian_nll":
            y_true, y_pred = y_true[:2500], y_pred.reshape(2500, 2)
        elif isinstance(loss, RowLoss):
            y_pred = y_pred.reshape(200, 25)
            y_true = np.arange(25) == np.arange(200)[:, None] % 25
        out = loss.loss_gradient_hessian(y_true, y_pred, reduction="none")
        print(name, *(hash(a.tobytes()) for a in out))
    for loss in SAMPLE_INSTANCES:
        print(loss, *(hash(np.asarray(a).tobytes()) for a in loss.loss_gradient(*arrays(loss, 20, dtype))))
"""
    printed = set()
    isas = [isa for isa in ("x86-64-v3", "x86-64-v4") if isa in kernels.SUPPORTED]
    if len(isas) < 2:
        pytest.skip("this CPU runs only one ISA with fused multiply-add")
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    for isa in isas:
        monkeypatch.setenv("FASTLOSS_ISA", isa)
        printed.add(python(f"TESTS = {str(Path(__file__).parent)!r}\n" + code, check=True).stdout)
    assert len(printed) == 1


def test_making_and_dropping_objects_leaks_nothing():
    def work():
        for _ in range(2000):
            fl.BinaryCrossEntropy(pos_weight=[1.0, 2.0])([[0, 1]], [[0.5, 0.5]])

    work()
    resource = pytest.importorskip("resource", reason="this system does not report memory")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):
        work()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5_000  # KB


def test_equal_losses_have_equal_hashes():
    weights = {0: 1, 1: 2}, {1: 2.0, 0: 1.0}
    first, second = (fl.BinaryCrossEntropy(class_weight=w) for w in weights)
    assert first == second and hash(first) == hash(second)
    assert hash(fl.BinaryFocal(gamma=-0.0)) == hash(fl.BinaryFocal(gamma=0.0))
    dynamic = [fl.Hinge(class_weight=fl.DynamicClassWeight(2)) for _ in range(2)]
    assert dynamic[0] == dynamic[1]
    assert hash(dynamic[0]) == hash(dynamic[1])


def test_a_class_of_the_user_does_not_enter_the_registry():
    class Huber(fl.SquaredError):
        """A loss of the user's."""

        def __init__(self):
            super().__init__(half=True)

    assert type(fl.get("huber")) is fl.Huber
    assert type(fl.get("mse")) is fl.SquaredError
    assert repr(Huber()) == "Huber(half=True)"
    assert Huber()([0.0], [2.0]) == 2.0


def test_loss_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        fl.Loss()


def test_arrays_of_a_loss_stay_read_only():
    loss = fl.Quantile([0.1, 0.9])
    with pytest.raises(ValueError, match="WRITEABLE"):
        loss.quantile.flags.writeable = True


def test_a_binary_loss_refuses_dynamic_weights_of_three_classes():
    with pytest.raises(ValueError, match="3 classes"):
        fl.Hinge(class_weight=fl.DynamicClassWeight(3))
