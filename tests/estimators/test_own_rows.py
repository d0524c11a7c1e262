"""Rows that people add: what would be another number under a known name, or none at all, is one sentence."""

from dataclasses import replace

import pytest
import torch

from ketchup.errors import DataError, KetchupError, UsageError
from ketchup.estimators import BASELINES, ESTIMATORS, BaselineRow, EstimatorRow, baseline, estimator, llmr
from ketchup.estimators.base import Baseline, Estimator
from ketchup.estimators.objectives import EXPECTED_RETURN
from ketchup.methods import METHODS, MethodRow, kl, method, options
from ketchup.methods.base import Method
from ketchup.rollouts import engines
from tests import tiny
from tests.estimators.given import batch, numbers

NUMBERS = numbers(batch(0), extra=2)


def row(formula=lambda n: n.q, name="mine", needs=frozenset({"q"})):
    return Estimator(name, formula, EXPECTED_RETURN, unbiased=False, needs=needs)


def untyped(c):
    return replace(llmr.build(), name=f"mine:{c}")


def unresolved(c: "Nowhere"):  # noqa: F821
    return replace(llmr.build(), name=f"mine:{c}")


@pytest.mark.parametrize(
    ("build", "text", "said"),
    [
        (lambda: None, "mine", "The estimator mine makes a NoneType and no Estimator"),
        (lambda: 1 / 0, "mine", r"The estimator mine fails \(ZeroDivisionError: division by zero\); mend it"),
        (llmr.build, "mine", "The estimator mine calls itself llmr"),
        (lambda: row(needs=frozenset({"zz"})), "mine", "mine needs zz, and the numbers there are: q, v, mean"),
        (untyped, "mine:2", "c of the estimator mine is no int, float or Literal"),
        (unresolved, "mine:2", r"The signature of the estimator mine fails \(NameError: "),
    ],
)
def test_a_builder_of_an_estimator_makes_one_of_its_name(monkeypatch, build, text, said):
    monkeypatch.setitem(ESTIMATORS, "mine", EstimatorRow(build, "", "", ("mine",)))
    with pytest.raises(KetchupError, match=said):
        estimator(text)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (lambda n: n.q[:, :1], r"makes an array \[\d+, 1\], and \[\d+, \d+\] is wanted: one number an action"),
        (lambda n: n.q.sum(), r"makes an array \[\], and "),
        (lambda n: n.q * torch.nan, r"makes NaN of (\d+) of \1 actions"),
        (lambda _: 0.0, r"fails \(AttributeError: 'float' object has no attribute 'shape'\)"),
        (lambda _: 1 / 0, r"fails \(ZeroDivisionError"),
    ],
)
def test_a_formula_makes_a_number_for_each_action(formula, said):
    """An array [R, 1] would have been spread over all actions."""
    with pytest.raises(DataError, match=f"The estimator mine {said}"):
        row(formula).returns(NUMBERS, "raw")
    less = Baseline("mine", lambda *_: formula(NUMBERS), unbiased=True)
    with pytest.raises(DataError, match=f"The baseline mine {said}"):
        less.weights(NUMBERS.q, NUMBERS, EXPECTED_RETURN)


def test_what_a_formula_makes_of_padding_is_never_looked_at():
    found = row(lambda n: n.q.where(n.mask, torch.nan)).returns(NUMBERS, "raw")
    assert torch.equal(found, NUMBERS.q.where(NUMBERS.mask, 0))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: None, "The baseline mine makes a NoneType and no Baseline"),
        (lambda x: x, r"The baseline mine fails \(TypeError: "),
        (BASELINES["none"].build, "The baseline mine calls itself none"),
    ],
)
def test_a_builder_of_a_baseline_makes_one_of_its_name(monkeypatch, build, said):
    monkeypatch.setitem(BASELINES, "mine", BaselineRow(build, "", ""))
    with pytest.raises(KetchupError, match=said):
        baseline("mine")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: None, "The method mine makes a NoneType and no Method"),
        (lambda: 1 / 0, r"The method mine fails \(ZeroDivisionError"),
        (kl.build, "The method mine calls itself kl"),
    ],
)
def test_a_builder_of_a_method_makes_one_of_its_name(monkeypatch, build, said):
    monkeypatch.setitem(METHODS, "mine", MethodRow(build, "divergence"))
    with pytest.raises(KetchupError, match=said):
        method("mine", {})
    assert isinstance(method("kl", {}), Method)


def test_a_builder_is_a_function_of_types_that_there_are(monkeypatch):
    for made in (
        lambda: MethodRow(3, "divergence"),
        lambda: EstimatorRow(3, "", "", ()),
        lambda: BaselineRow(3, "", ""),
    ):
        with pytest.raises(UsageError, match=r"the build of a \w+Row must be a function, not a int"):
            made()
    with pytest.raises(UsageError, match="the stage of a method is one of pre-distillation, divergence"):
        MethodRow(kl.build, "nonsense")
    monkeypatch.setitem(METHODS, "mine", MethodRow(unresolved, "divergence"))
    with pytest.raises(DataError, match=r"The signature of the method builder unresolved fails \(NameError: "):
        options()


def test_an_engine_is_one(monkeypatch):
    model = tiny.language_model("t5")
    for build, said in (
        (lambda _: None, "The engine mine lacks name, mends"),
        (lambda _: 1 / 0, "The engine mine fails"),
    ):
        with monkeypatch.context() as patched:
            patched.setitem(engines.ENGINES, "mine", build)
            with pytest.raises(KetchupError, match=said):
                engines.choose("mine", model)
