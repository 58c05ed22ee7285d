"""The guide to losses: whole, the same as the docstrings, and the README the same as the guide."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl
from fastloss.guide import fields, markdown_table
from reference_rows import hard_rows, is_row_loss, row_targets
from samples import arrays, is_sample_loss

README = Path(__file__).parent.parent / "README.md"
LOSSES = {name: fl.get(name) for name in fl.available()}
every_loss = pytest.mark.parametrize("name", LOSSES)


def words(text):
    """The text without marks and line breaks."""
    return " ".join(re.sub(r"[`*\\]", "", text).split())


def printed(capsys, *arguments):
    assert fl.guide(*arguments) is None
    return capsys.readouterr().out


@every_loss
def test_a_page_has_all_that_the_docstring_says(name, capsys):
    loss, page = LOSSES[name], words(printed(capsys, name))
    text = inspect.getdoc(type(loss)).split("\nExamples\n")[0]
    assert page.startswith(type(loss).__name__ + "(")
    for piece in re.split(r"\n\n|\n(?=:)|\n-+\n", text):  # paragraphs, titles and fields
        piece = re.sub(r"^:([^:\n]+): ", r"\1 ", piece)
        assert piece == "Notes" or words(piece) in page, piece
    for known in (name, *loss.aliases):
        assert repr(known) in page


def test_a_page_reads_like_this(capsys):
    assert printed(capsys, "mean_absolute_error") == """\
AbsoluteError()

Absolute error: |z - y|.

Over a constant its minimiser is the median of y.

Formula       |r|
Range         [0, inf)
Gradient      sign(r), 0 at r = 0
Hessian       0
Activation    identity
Good at       outliers in y, each of which counts by its sign only
Bad at        the last steps of an optimiser, as the gradient does not shrink; Newton's method and boosting that
              divide by Hessians
Use           when the median is wanted
Other names   MAE, L1 loss; scikit-learn absolute_error; torch L1Loss; Keras MeanAbsoluteError; XGBoost
              reg:absoluteerror; LightGBM regression_l1
Names in get  'absolute_error', 'mae', 'l1', 'mean_absolute_error'

References
    P.-S. Laplace, Sur quelques points du système du monde, 1789.
"""


@every_loss
def test_other_names_have_the_same_page(name, capsys):
    page = printed(capsys, name)
    assert all(printed(capsys, alias) == page for alias in LOSSES[name].aliases)


def test_the_table_has_a_row_for_each_loss(capsys):
    table = printed(capsys)
    rows = re.findall(r"^([a-z][a-z0-9_]+)  ", table, re.M)
    assert sorted(rows) == fl.available()
    assert max(map(len, table.splitlines())) <= 120
    for field in ("Name", "Formula", "Range", "Activation", "Use"):
        assert field in table
    row = re.search(r"^log_cosh .*", table, re.M).group()
    assert re.split(" {2,}", row) == ["log_cosh", "log(cosh(r))", "[0, inf)", "identity",
                                      "for standardised targets"]


@pytest.mark.parametrize("name", ["hubr", "", "Huber", 3, ["huber"], fl.Huber])
def test_unknown_names(name):
    with pytest.raises(ValueError, match="no loss is called") as caught:
        fl.guide(name)
    with pytest.raises(ValueError) as by_get:
        fl.get(name)
    assert str(caught.value) == str(by_get.value)


def test_the_table_of_the_readme_has_whole_rows():
    rows = [line for line in markdown_table().splitlines() if line.startswith("| `")]
    assert sorted(re.match(r"\| `(\w+)\(", row).group(1) for row in rows) == sorted(
        type(loss).__name__ for loss in LOSSES.values())
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 7, row
    for loss in LOSSES.values():
        for alias in loss.aliases:
            assert sum(f"`{alias}`" in row and f"`{type(loss).__name__}(" in row for row in rows) == 1


def test_the_readme_has_the_table_of_the_guide():
    if not README.exists():
        pytest.skip("README.md is not installed: the tests run outside the tree")
    table = re.search(r"<!-- guide: begin -->\n(.*?)\n<!-- guide: end -->", README.read_text("utf-8"), re.S).group(1)
    assert table == markdown_table(), (
        "README.md differs from the docstrings: put between its `guide` marks what this prints:\n"
        "    python -c 'from fastloss.guide import markdown_table; print(markdown_table())'")


def samples(loss, n=1000):
    """Targets and predictions that every loss takes with its default parameters."""
    if is_sample_loss(loss):
        return arrays(loss, 300)
    if is_row_loss(loss):
        y, z = hard_rows(loss, n, 4, np.float64, form="rows")
        return y if loss.target == "soft classes" else row_targets(loss, n, 4), np.clip(z, -300, 300)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n).astype(float) if "binary" in loss.target else rng.uniform(0.1, 3, n)
    z = rng.uniform(-0.9, 5, (n, 2))
    return y, z if isinstance(loss, fl.GaussianNLL) else z[:, 0]


@every_loss
def test_losses_lie_in_the_range_that_the_guide_says(name):
    loss = LOSSES[name]
    # the first one is that of the default parameters
    left, low, high, right = re.match(
        r"([\[(])(\S+), (\S+|C - 1)([\])])", fields(type(loss))["Range"]).groups()
    ends = {"C - 1": 3, "log(2)": np.log(2), "1/q": 1 / getattr(loss, "q", 1), "c²/6": getattr(loss, "c", 0)**2 / 6}
    low, high = float(low), ends[high] * (1 + 1e-15) if high in ends else float(high)  # they are rounded
    value = loss(*samples(loss), reduction="none")
    if is_row_loss(loss) and low == 0:  # of equal distributions terms of both signs cancel
        value = np.where(value < 0, value + 1e-15, value)
    assert ((value >= low) if left == "[" else (value > low)).all()
    assert ((value <= high) if right == "]" else (value < high)).all()
    if low == -np.inf:
        assert value.min() < 0
    if high == np.inf:
        assert value.max() > (0.2 if is_sample_loss(loss) else 2)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if not is_sample_loss(loss)])
def test_the_activation_is_the_one_that_predicts_the_target(name):
    loss = LOSSES[name]
    y, z = samples(loss)
    activation = fields(type(loss))["Activation"]
    assert re.match("(identity|sigmoid|log link|softmax)\\b", activation)
    # a regression loss is least where the prediction is the target
    if "binary" not in loss.target and not is_row_loss(loss):
        best = np.log(y) if activation.startswith("log link") else y
        if z.ndim == 2:
            best = np.stack([best, z[:, 1]], axis=1)
        np.testing.assert_allclose(loss.gradient(y, best, reduction="none").reshape(len(y), -1)[:, 0], 0, atol=1e-12)
    if loss.target == "soft classes":
        assert activation == "softmax"  # of the logarithms of the target
        q = np.random.default_rng(0).dirichlet(np.ones(4), 100)
        np.testing.assert_allclose(loss.gradient(q, np.log(q), reduction="none"), 0, atol=1e-12)
