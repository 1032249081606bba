"""What scikit-learn asks of every estimator, and its own tests of its MLP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import ROOT

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.estimator_checks import (
    check_estimator,
    estimator_checks_generator,
    parametrize_with_checks,
)

import fastnet.sklearn as estimators
from tests.cuda import strict_backend
from tests.on_backends import INSTALLED

pytestmark = pytest.mark.usefixtures("one_core")

GUIDE = (ROOT / "docs/guides/scikit-learn.md").read_text(encoding="utf-8")

# A network that has not converged after so many iterations is none of these tests' business.
unfinished = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


QUICKEST = "numba" if "numba" in INSTALLED else "numpy"
"""The backend of the checks: conventions concern what comes before a backend."""


def every_estimator(backend: str, *, brief: bool) -> list[Any]:
    """Return each class with its defaults; those that train for long by themselves, `brief` or on
    slow NumPy, with fewer steps.
    """
    made = []
    for name in (name for name in estimators.__all__ if name != "FastNetSearchCV"):
        small = (brief or backend == "numpy") and name.startswith("FastNet")
        options: dict[str, Any] = {"hidden_layers": (16,), "epochs": 150} if small else {}
        made.append(getattr(estimators, name)(backend=backend, **options))
    return made


def test_all_four_classes_are_checked() -> None:
    names = {type(estimator).__name__ for estimator in every_estimator(QUICKEST, brief=True)}
    assert names == {"FastNetClassifier", "FastNetRegressor", "MLPClassifier", "MLPRegressor"}
    assert [one.id for one in checks_of_learning()] == [
        "FastNetClassifier-check_classifiers_train",
        "FastNetRegressor-check_regressors_train",
    ]


@unfinished
@parametrize_with_checks(every_estimator(QUICKEST, brief=True))
def test_it_keeps_the_conventions_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@unfinished
@parametrize_with_checks([one for name in INSTALLED for one in every_estimator(name, brief=False)])
def test_it_keeps_the_conventions_on_every_backend(estimator: Any, check: Any) -> None:
    check(estimator)


LEARNING = {"check_classifiers_train", "check_regressors_train"}
"""The checks of how well an estimator learns, which its defaults have to pass too."""


def checks_of_learning() -> list[Any]:
    """Return the estimators that the checks above make brief, with their defaults."""
    made = []
    for estimator in every_estimator(QUICKEST, brief=False):
        name = type(estimator).__name__
        if name.startswith("FastNet"):
            named = {
                called: pytest.param(one, check, id=f"{name}-{called}")
                for one, check in estimator_checks_generator(estimator)
                if (called := getattr(check, "func", check).__name__) in LEARNING
            }
            made += named.values()  # of several with other arguments, the last
    return made


@unfinished
@pytest.mark.parametrize(("estimator", "check"), checks_of_learning())
def test_the_defaults_learn_what_scikit_learn_asks_for(estimator: Any, check: Any) -> None:
    check(estimator)


# Most conventions concern what comes before a backend, and are checked on the others. These concern
# what goes to the device and comes back: rows of any dtype, order and memory, weights, attributes
# after training, copies and pickles, and several calls of one estimator.
ON_THE_DEVICE = {
    "check_readonly_memmap_input",
    "check_f_contiguous_array_estimator",
    "check_estimators_dtypes",
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_list",
    "check_dict_unchanged",
    "check_estimators_pickle",
    "check_estimators_overwrite_params",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_fit2d_1sample",
    "check_estimators_partial_fit_n_features",
}


def checks_on_the_device() -> list[Any]:
    """Return small estimators on the stand-in for a GPU, each with each of those checks."""
    small: dict[str, dict[str, Any]] = {
        "FastNet": {"hidden_layers": (4,), "epochs": 3},
        "MLP": {"hidden_layer_sizes": (4,), "max_iter": 3},
    }
    made = []
    for name in (name for name in estimators.__all__ if name != "FastNetSearchCV"):
        how = next(how for start, how in small.items() if name.startswith(start))
        estimator = getattr(estimators, name)(backend="cupy", **how)
        for one, check in estimator_checks_generator(estimator):
            called = getattr(check, "func", check).__name__
            if called in ON_THE_DEVICE:
                made.append(pytest.param(one, check, id=f"{name}-{called}"))
    return made


@unfinished
@pytest.mark.skipif(not strict_backend.stands_in(), reason="it asks the stand-in")
@pytest.mark.parametrize(("estimator", "check"), checks_on_the_device())
def test_it_keeps_those_that_concern_a_device_on_one(estimator: Any, check: Any) -> None:
    check(estimator)


def test_each_of_those_is_a_check_of_scikit_learns() -> None:
    named = {str(one.id).split("-")[1] for one in checks_on_the_device()}
    if sklearn.__version__.startswith("1.9"):
        assert named == ON_THE_DEVICE


class Careless(ClassifierMixin, BaseEstimator):
    """Breaks a convention: it predicts before it was trained."""

    def fit(self, X: Any, y: Any) -> Careless:
        return self

    def predict(self, X: Any) -> list[int]:
        return [0] * len(X)


def test_a_careless_estimator_does_not_pass() -> None:
    with pytest.raises(AssertionError):
        check_estimator(Careless())


# --- scikit-learn's own test file -----------------------------------------------------------------


def run_scikit_learns_tests(folder: Path, *options: str) -> dict[str, bool]:
    """Run its tests of its MLP in a new process; return which passed."""
    report = folder / "report.xml"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options),
        *(f"--junitxml={report}", "--pyargs", "sklearn.neural_network.tests.test_mlp"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    return {
        str(case.get("name")): not {child.tag for child in case} & {"failure", "error"}
        for case in ElementTree.parse(report).iter("testcase")
    }


def test_scikit_learns_own_tests_pass_but_for_those_that_the_guide_names(tmp_path: Path) -> None:
    passed = run_scikit_learns_tests(tmp_path, "-p", "tests.sklearn.shim")
    assert len(passed) >= 55
    count, version = re.findall(r"Of the (\d+) tests in scikit-learn ([\d.]+)'s", GUIDE)[0]
    if sklearn.__version__.startswith(version):
        assert len(passed) == int(count)
    named = set(re.findall(r"`(test_\w+)`", GUIDE))
    assert {name for name, well in passed.items() if not well} == named


def test_a_shim_that_breaks_the_classes_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "broken_shim.py").write_text(
        "import sklearn.neural_network as n\n"
        "class Broken(n.MLPClassifier):\n"
        "    def predict(self, X):\n"
        "        return super().predict(X)[::-1]\n"
        "n.MLPClassifier = Broken\n"
    )
    one = "test_partial_fit_classification"
    passed = run_scikit_learns_tests(tmp_path, "-p", "broken_shim", "-k", one)
    assert not all(passed.values())
