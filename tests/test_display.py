"""LossCurveDisplay: its arrays against formulas in NumPy, what it draws, and that matplotlib is optional."""

import doctest
import subprocess
import sys

import numpy as np
import pytest

import fastloss as fl
from reference_rows import ROW_DEFAULTS, is_row_loss

#: Regression losses whose value is no function of the residual.
OF_PREDICTION = {"absolute_percentage_error", "gamma", "negative_binomial", "poisson", "squared_log_error", "tweedie"}


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is optional, and is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def draw(pyplot):
    return fl.LossCurveDisplay.from_loss


def python(code):
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)


# ---- the arrays ------------------------------------------------------------------------------------------------------

RESIDUAL = [
    ("mse", lambda r: (r**2, 2 * r, 0 * r + 2)),
    (fl.Huber(1.5), lambda r: (np.where(abs(r) <= 1.5, r**2 / 2, 1.5 * abs(r) - 1.125), np.clip(r, -1.5, 1.5),
                               np.where(abs(r) <= 1.5, 1.0, 0.0))),
    (fl.LogCosh(), lambda r: (np.log(np.cosh(r)), np.tanh(r), np.cosh(r)**-2.0)),
    (fl.GaussianNLL(), lambda r: (r**2 / 2, r, 0 * r + 1)),
    (fl.Tweedie(power=0, link="identity"), lambda r: (r**2 / 2, r, 0 * r + 1)),
]


@pytest.mark.parametrize("y_true", [None, -2.5])
@pytest.mark.parametrize("loss, formula", RESIDUAL, ids=str)
def test_regression_is_drawn_over_the_residual(draw, loss, formula, y_true):
    display = draw(loss, y_true=y_true)
    y = 0.0 if y_true is None else y_true
    np.testing.assert_array_equal(display.x, np.linspace(-5, 5, 601))
    np.testing.assert_array_equal(display.y_true, np.full(601, y))
    predicted = display.y_pred if display.y_pred.ndim == 1 else display.y_pred[:, 0]
    np.testing.assert_array_equal(predicted, y + display.x)
    if display.y_pred.ndim == 2:
        assert (display.y_pred[:, 1] == 0).all()
    for got, wanted in zip((display.loss, display.gradient, display.hessian), formula(predicted - y), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
    assert display.x_name == ("Residual (mean - y_true)" if "Gaussian" in str(loss) else "Residual (y_pred - y_true)")


PREDICTION = [
    # loss, y_true, formula, the best prediction
    (fl.Poisson(), 3.0, lambda y, z: (np.exp(z) - y * z, np.exp(z) - y), np.log(3)),
    (fl.Gamma(), 0.5, lambda y, z: (z + y * np.exp(-z), 1 - y * np.exp(-z)), np.log(0.5)),
    (fl.AbsolutePercentageError(), -4.0, lambda y, z: (abs(z - y) / 4, np.sign(z - y) / 4), -4.0),
    (fl.Tweedie(power=0), 2.0, lambda y, z: (np.exp(2 * z) / 2 - y * np.exp(z), np.exp(2 * z) - y * np.exp(z)),
     np.log(2)),
]


@pytest.mark.parametrize("loss, y, formula, best", PREDICTION, ids=str)
def test_other_regression_is_drawn_over_the_prediction(draw, loss, y, formula, best):
    display = draw(loss, y_true=y)
    np.testing.assert_allclose(display.x, np.linspace(best - 3, best + 3, 601), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(display.y_pred, display.x)
    for got, wanted in zip((display.loss, display.gradient), formula(y, display.x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    assert display.x_name == f"Prediction (y_true = {y:g})"


def test_a_target_without_best_prediction(draw):
    display = draw("poisson", y_true=0)  # the more negative, the better
    np.testing.assert_array_equal(display.x[[0, -1]], [-3, 3])


@pytest.mark.parametrize("y_true, sign, x_name", [(None, 1, "Margin"), (1, 1, "Margin"), (0, -1, "Score (y_true = 0)"),
                                                  (-1, -1, "Score (y_true = -1)")])
def test_binary_is_drawn_over_the_score(draw, y_true, sign, x_name):
    display = draw("squared_hinge", y_true=y_true)
    np.testing.assert_array_equal(display.x, np.linspace(-3, 3, 601))
    np.testing.assert_array_equal(display.y_pred, display.x)
    slack = np.maximum(0, 1 - sign * display.x)
    np.testing.assert_allclose(display.loss, slack**2, rtol=1e-14)
    np.testing.assert_allclose(display.gradient, -2 * sign * slack, rtol=1e-14)
    assert display.x_name == x_name


def test_soft_labels_and_probabilities(draw):
    display = draw(fl.BinaryCrossEntropy(), y_true=0.25)
    np.testing.assert_allclose(display.loss, np.log1p(np.exp(display.x)) - 0.25 * display.x, rtol=1e-13)
    assert display.x_name == "Score (y_true = 0.25)"
    display = draw(fl.BinaryCrossEntropy("probabilities"))
    np.testing.assert_allclose(display.x, np.linspace(0.05, 0.95, 601), rtol=1e-14)
    np.testing.assert_allclose(display.loss, -np.log(display.x), rtol=1e-13)
    np.testing.assert_allclose(display.gradient, -1 / display.x, rtol=1e-13)
    assert display.x_name == "Probability of the true label"
    assert draw(fl.BinaryFocal(inputs="probabilities"), y_true=0).x_name == "Probability (y_true = 0)"


def test_the_domain_bounds_the_grid(draw):
    for loss, low in ((fl.SquaredLogError(), -1), (fl.Tweedie(3.0, link="identity"), 0)):
        display = draw(loss)  # the best prediction is 1, so the right end is 4
        np.testing.assert_allclose(display.x[[0, -1]], [low + 0.05 * (4 - low), 4], rtol=1e-12)
        assert np.isfinite([display.loss, display.gradient, display.hessian]).all()
        assert draw(loss, x_range=(-7, 2)).x[0] == low
    display = draw(fl.BinaryCrossEntropy("probabilities"), x_range=(0, 1))
    assert np.isinf(display.loss[0]) and display.loss[-1] == 0
    display.figure_.canvas.draw()


def test_range_and_resolution(draw):
    display = draw("huber", x_range=(-1, 2), grid_resolution=4, y_true=10)
    np.testing.assert_array_equal(display.x, [-1, 0, 1, 2])
    np.testing.assert_array_equal(display.y_pred, [9, 10, 11, 12])


def test_class_weights_count_but_for_balanced_ones(draw):
    for class_weight, factor in (({0: 2.0, 1: 3.0}, 3), ([2.0, 0.5], 0.5), ("balanced", 1), (None, 1)):
        display = draw(fl.Hinge(class_weight=class_weight))
        np.testing.assert_allclose(display.loss, factor * np.maximum(0, 1 - display.x), rtol=1e-14)
    weight = fl.DynamicClassWeight(2, momentum=0.0).update([0, 1, 1, 1])
    np.testing.assert_allclose(draw(fl.Perceptron(class_weight=weight), x_range=(-1, 0)).loss[0], 1 / (2 * 0.75))


def test_parameters_that_differ_by_column(draw):
    quantiles = [0.1, 0.5, 0.9]
    display = draw(fl.Quantile(quantiles))
    assert display.y_true.shape == display.y_pred.shape == display.loss.shape == display.hessian.shape == (601, 3)
    for column, quantile in enumerate(quantiles):
        wanted = np.where(display.x < 0, -quantile, 1 - quantile)
        np.testing.assert_allclose(display.loss[:, column], wanted * display.x, atol=1e-15)
        np.testing.assert_array_equal(display.lines_[column].get_ydata(), display.loss[:, column])
        np.testing.assert_array_equal(display.lines_[3 + column].get_ydata(), display.gradient[:, column])
        assert display.lines_[column].get_color() == display.lines_[3 + column].get_color()
    names = [f"Quantile(quantile={quantile})" for quantile in quantiles]
    assert [line.get_label() for line in display.lines_] == names + [f"{name}, gradient" for name in names]
    assert len({line.get_color() for line in display.lines_}) == 3
    labels = [line.get_label() for line in draw(fl.Huber([2.0]), outputs="loss").lines_]
    assert labels == ["Huber(delta=2.0)"]
    both = fl.BinaryCrossEntropy(pos_weight=[2.0, 3.0], class_weight=[[1.0, 1.0], [1.0, 5.0]])
    display = draw(both, outputs="loss", name=["a", "b"])
    np.testing.assert_allclose(display.loss, np.log1p(np.exp(-display.x))[:, None] * [2, 15], rtol=1e-13)
    assert [line.get_label() for line in display.lines_] == ["a", "b"]


@pytest.mark.parametrize("loss", ROW_DEFAULTS, ids=repr)
def test_losses_of_rows_have_no_curve(draw, pyplot, loss):
    with pytest.raises(ValueError, match=f"{type(loss).__name__} is a loss of rows"):
        draw(loss)
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("name", [
    name for name in fl.available() if isinstance(loss := fl.get(name), fl.Loss) and not is_row_loss(loss)])
def test_every_loss(draw, name):
    display = draw(name, outputs=("loss", "gradient", "hessian"))
    assert np.isfinite([display.loss, display.gradient, display.hessian]).all()
    assert len(display.lines_) == 3
    binary = "binary" in fl.get(name).target
    assert display.x_name.split()[0] == ("Margin" if binary else "Prediction" if name in OF_PREDICTION else "Residual")
    # The curves belong together: each is the slope of the one before, but at kinks and jumps.
    for curve, slope in ((display.loss, display.gradient), (display.gradient, display.hessian)):
        error = np.abs(np.gradient(curve, display.x) - slope)
        assert np.mean(error < 2e-3 * np.abs(slope).max() + 1e-9) > 0.95


# ---- what is drawn ---------------------------------------------------------------------------------------------------

def test_lines_axes_and_labels(draw, pyplot):
    display = draw(fl.Huber(delta=2.0), outputs=("loss", "gradient", "hessian"))
    assert display.figure_ is pyplot.gcf() and display.ax_ is pyplot.gca()
    assert display.lines_ == list(display.ax_.lines)
    for line, values in zip(display.lines_, (display.loss, display.gradient, display.hessian), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([display.x, values]))
    assert [line.get_linestyle() for line in display.lines_] == ["-", "--", ":"]
    assert len({line.get_color() for line in display.lines_}) == 1
    assert display.name == "Huber(delta=2.0)"
    labels = ["Huber(delta=2.0)", "Huber(delta=2.0), gradient", "Huber(delta=2.0), Hessian"]
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == labels
    assert display.ax_.get_xlabel() == display.x_name
    assert display.ax_.get_ylabel() == "Loss, gradient, Hessian"


def test_several_losses_share_axes(draw, pyplot):
    first = draw("huber")
    second = draw("tukey", ax=first.ax_, outputs=["loss"], name="biweight")
    assert second.ax_ is first.ax_ and second.figure_ is first.figure_ and len(pyplot.get_fignums()) == 1
    assert list(first.ax_.lines) == first.lines_ + second.lines_
    assert first.lines_[0].get_color() != second.lines_[0].get_color()
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert labels == ["Huber", "Huber, gradient", "biweight"]


def test_plot_draws_again(draw, pyplot):
    display = draw("hinge")
    _, (left, right) = pyplot.subplots(1, 2)
    assert display.plot(right, outputs="gradient", name="H", lw=3, c="red", label="mine") is display
    (line,) = right.lines
    assert display.lines_ == [line] and display.ax_ is right and not left.lines
    np.testing.assert_array_equal(line.get_ydata(), display.gradient)
    assert (line.get_linewidth(), line.get_color(), line.get_label()) == (3, "red", "mine")
    assert right.get_ylabel() == "Gradient"
    display.plot(left, name="H", ls="-.")
    assert [line.get_label() for line in left.lines] == ["H", "H, gradient"]
    assert {line.get_linestyle() for line in left.lines} == {"-."}


def test_a_display_of_own_arrays(pyplot):
    x = np.arange(3.0)
    arrays = {"x": x, "y_true": 0 * x, "y_pred": x, "loss": x**4, "gradient": 4 * x**3, "hessian": 12 * x**2}
    display = fl.LossCurveDisplay(**arrays)
    assert all(getattr(display, key) is value for key, value in arrays.items())
    labels = [line.get_label() for line in display.plot(outputs=("loss", "hessian")).lines_]
    assert labels == ["loss", "Hessian"]
    assert display.ax_.get_xlabel() == "y_pred"


def test_the_docstring_example(pyplot):
    (test,) = doctest.DocTestFinder(recurse=False).find(fl.LossCurveDisplay, "LossCurveDisplay", globs={})
    assert len(test.examples) == 3
    for example in test.examples:
        example.options.pop(doctest.SKIP, None)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


# ---- errors, and without matplotlib ----------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, error, message", [
    ({"loss": "hubert"}, ValueError, "no loss is called 'hubert'"),
    ({"loss": np.square}, TypeError, "loss must be a Loss or the name of one"),
    ({"loss": fl.Huber}, TypeError, "loss must be a Loss or the name of one"),
    ({"loss": "huber", "outputs": ("loss", "third")}, ValueError, "outputs must be .* got 'third'"),
    ({"loss": "huber", "outputs": ()}, ValueError, "outputs is empty: give at least one of loss, gradient, hessian"),
    ({"loss": "huber", "grid_resolution": 1}, ValueError, "grid_resolution must be at least 2, got 1"),
    ({"loss": "huber", "x_range": (1, 1)}, ValueError, "x_range must be .* got \\(1, 1\\)"),
    ({"loss": "huber", "x_range": (0, np.inf)}, ValueError, "x_range\\[1\\] must be finite, got inf"),
    ({"loss": "squared_log_error", "x_range": (-3, -2)}, ValueError, "x_range must be .* -1.0 to inf, got"),
    ({"loss": "huber", "y_true": "1"}, TypeError, "y_true must be a number, got '1'"),
    ({"loss": "huber", "y_true": np.nan}, ValueError, "y_true must be finite"),
    ({"loss": "gamma", "y_true": 0}, ValueError, "y_true\\[0\\] is 0.0: targets must be positive"),
    ({"loss": "hinge", "y_true": 0.5}, ValueError, "y_true\\[0\\] is 0.5: labels must be 0 or 1"),
])
def test_errors_draw_nothing(draw, pyplot, arguments, error, message):
    with pytest.raises(error, match=message):
        draw(**arguments)
    assert not pyplot.get_fignums()


def test_without_matplotlib():
    done = python("""
import sys
sys.modules["matplotlib"] = None
import fastloss as fl
try:
    fl.LossCurveDisplay.from_loss("huber")
except ImportError as error:
    print(error)
""")
    assert done.stderr == ""
    assert "pip install matplotlib" in done.stdout


def test_import_does_not_import_matplotlib():
    done = python("import fastloss, sys; print(fastloss.LossCurveDisplay.__name__, 'matplotlib' in sys.modules)")
    assert (done.stdout, done.stderr) == ("LossCurveDisplay False\n", "")
