"""Every public loss has its reference, its instances, its place in the registry and a whole docstring."""

import doctest
import importlib
import inspect
import json
import pkgutil
import re

import numpy as np
import pytest

import fastloss as fl
from fastloss._samples import SampleLoss
from fastloss.loss import BaseLoss
from reference import INSTANCES, METHODS, PAIRS, REFERENCES
from reference_rows import ROW_INSTANCES, ROW_REFERENCES, sized_instances
from samples import SAMPLE_INSTANCES, SAMPLE_LOSSES

FIELDS = ["Formula", "Range", "Gradient", "Hessian", "Activation", "Good at", "Bad at", "Use", "Other names"]
TESTED = [*INSTANCES, *PAIRS, *ROW_INSTANCES, *sized_instances(3), *SAMPLE_INSTANCES]
CLASSES = [type(fl.get(name)) for name in fl.available()]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def modules():
    yield fl
    for info in pkgutil.walk_packages(fl.__path__, "fastloss."):
        if not info.name.rsplit(".", 1)[-1].startswith(("_sweeps", "_rows", "_products")):  # some for other CPUs
            yield importlib.import_module(info.name)


def sections(docstring):
    """{title: text} of a numpydoc docstring; the text before the first title under ''."""
    parts = re.split(r"^(\w[\w ]*)\n-+\n", inspect.cleandoc(docstring), flags=re.M)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def test_registry_references_and_public_names_are_the_same_losses():
    public = {value for name in fl.__all__ if inspect.isclass(value := getattr(fl, name))
              and issubclass(value, BaseLoss) and value is not fl.Loss}
    assert not set(REFERENCES) & set(ROW_REFERENCES)
    assert set(CLASSES) == set(REFERENCES) | set(ROW_REFERENCES) | set(SAMPLE_LOSSES) == public
    assert {type(loss) for loss in INSTANCES + PAIRS} == set(REFERENCES)
    assert {type(loss) for loss in ROW_INSTANCES} == set(ROW_REFERENCES)


def test_every_loss_has_a_case_in_the_benchmark():
    cases = pytest.importorskip("bench.cases", reason="the benchmark is not installed: the tests run outside the tree")
    assert cases.without_case() == []


def test_the_speeds_in_the_docs_are_those_that_were_measured():
    docs = pytest.importorskip("bench.docs", reason="the benchmark is not installed: the tests run outside the tree")
    for source, file, written in ((docs.RESULTS, docs.README, docs.with_speeds),
                                  (docs.RESULTS, docs.BENCH_README, docs.with_table),
                                  (docs.AVX512_RESULTS, docs.BENCH_README, docs.with_avx512_table)):
        results, text = json.loads(source.read_text("utf-8")), file.read_text("utf-8")
        slower = results | {"rows": [row | {"ns_per_element": {name: 2 * ns for name, ns in
                                                               row["ns_per_element"].items()}}
                                     for row in results["rows"]]}
        assert written(text, results) == text, f"{file.name}: `python -m bench docs` writes its table again"
        assert written(text, slower) != text


def test_all_names_exist_and_are_sorted():
    assert list(fl.__all__) == sorted(fl.__all__)
    assert all(hasattr(fl, name) for name in fl.__all__)
    public = {name for name, value in vars(fl).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(fl.__all__) - {"__version__"}


@each_class
def test_docstrings_are_whole(cls):
    found = sections(cls.__doc__)
    assert {"", "Notes", "References", "Examples"} <= set(found)
    summary = found[""].splitlines()[0]
    assert summary.endswith(".") and len(summary) < 100
    assert len(found[""].strip().splitlines()) > 2, "no paragraph below the summary"
    notes = re.findall(r"^(?::([^:]+): )?(\S.*(?:\n {4}\S.*)*)$", found["Notes"], re.M)  # a line that is no field: ""
    assert [field for field, _ in notes] == [
        field for field in FIELDS if field != "Hessian" or not issubclass(cls, SampleLoss)]
    fields = dict(notes)
    assert re.match(r"[\[(][^,]+, [^,]+[\])]", fields["Range"]), "no range"
    assert re.match(r"(identity|sigmoid|log link|softmax)\b", fields["Activation"])
    for field in ("Good at", "Bad at", "Use"):
        assert not fields[field].endswith(".") and len(fields[field].split()) > 1, field
    assert re.search(r"\b(1[789]|20)\d\d\b", found["References"]), "no year"
    assert ">>>" in found["Examples"]


@each_class
def test_every_parameter_is_documented_with_its_default(cls):
    parameters = inspect.signature(cls).parameters
    text = sections(cls.__doc__).get("Parameters", "")
    assert re.findall(r"^(\w+) : ", text, re.M) == list(parameters)
    for name, parameter in parameters.items():
        line = re.search(rf"^{name} : (.*)$", text, re.M).group(1)
        assert "optional" in line if parameter.default is None else str(parameter.default).strip("'") in line


@each_class
def test_every_parameter_is_tested_with_another_value(cls):
    tested = [loss.get_params() for loss in TESTED if type(loss) is cls]
    for name, parameter in inspect.signature(cls).parameters.items():
        # test_contract.py and test_rows_contract.py give every loss all forms of them
        if name not in ("class_weight", "ignore_index"):
            assert any(np.any(values[name] != parameter.default) for values in tested), name


def test_public_functions_and_methods_have_docstrings():
    for name in fl.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(fl, name))
    for method in METHODS:
        assert "Returns" in inspect.getdoc(getattr(fl.Loss, method))
    for method in ("loss", "gradient", "loss_gradient"):
        assert "Returns" in inspect.getdoc(getattr(SampleLoss, method))


@pytest.mark.parametrize("module", list(modules()), ids=lambda m: m.__name__)
def test_docstring_examples(module):
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_every_class_has_an_example_that_runs():
    finder = doctest.DocTestFinder()
    for cls in CLASSES:
        assert any(test.examples for test in finder.find(cls, cls.__name__, globs={}))
