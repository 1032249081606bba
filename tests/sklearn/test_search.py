"""`FastNetSearchCV` has the results of scikit-learn's searches."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TimeSeriesSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnet as fn
from fastnet.sklearn import FastNetClassifier, FastNetRegressor, FastNetSearchCV, MLPClassifier
from tests import dask_cluster

RNG = np.random.default_rng(2)
X = RNG.standard_normal((120, 4))
Y = X @ [1.0, -1.0, 0.5, 0.0]
LABELS = np.digitize(Y, [-0.5, 0.5])
GRID = {"learning_rate": [1e-3, 1e-2], "hidden_layers": [(4,), (8, 4)]}


def assert_same(search: Any, other: Any) -> None:
    """Fail unless both have the same results, but for times."""
    assert search.best_params_ == other.best_params_
    assert search.best_score_ == other.best_score_
    assert search.cv_results_.keys() == other.cv_results_.keys()
    for name, values in other.cv_results_.items():
        if not name.endswith("_time"):
            assert list(search.cv_results_[name]) == list(values), name
    assert np.array_equal(search.predict(X), other.predict(X))


@pytest.mark.parametrize("n_jobs", [1, 3, None])
def test_a_grid_has_the_results_of_scikit_learn(n_jobs: int | None) -> None:
    model = FastNetClassifier(epochs=4, random_state=0)
    search = FastNetSearchCV(model, GRID, cv=3, n_jobs=n_jobs).fit(X, LABELS)
    assert_same(search, GridSearchCV(model, GRID, cv=3).fit(X, LABELS))
    assert search.score(X, LABELS) == search.best_estimator_.score(X, LABELS)
    assert search.predict_proba(X).shape == (120, 3)
    assert search.best_estimator_.threads is None
    assert model.threads is None
    assert list(search.classes_) == [0, 1, 2]


def test_scorers_weights_and_other_splitters() -> None:
    model, groups = FastNetRegressor(epochs=3, random_state=1), np.arange(120) % 6
    how: dict[str, Any] = {
        "scoring": ["r2", "neg_mean_absolute_error"],
        "refit": "r2",
        "cv": GroupKFold(3),
        "return_train_score": True,
    }
    params = {"groups": groups, "sample_weight": np.arange(120) % 3 + 1}
    search = FastNetSearchCV(model, GRID, **how).fit(X, Y, **params)
    assert_same(search, GridSearchCV(model, GRID, **how).fit(X, Y, **params))
    split = TimeSeriesSplit(3)
    search = FastNetSearchCV(model, GRID, cv=split).fit(X, Y)
    assert_same(search, GridSearchCV(model, GRID, cv=split).fit(X, Y))


def test_random_search_and_halving() -> None:
    model = FastNetClassifier(epochs=3, random_state=0)
    search = FastNetSearchCV(model, GRID, cv=3, n_iter=3, random_state=5).fit(X, LABELS)
    drawn = RandomizedSearchCV(model, GRID, cv=3, n_iter=3, random_state=5)
    assert_same(search, drawn.fit(X, LABELS))
    search = FastNetSearchCV(model, GRID, cv=3, halving=2, random_state=5).fit(X, LABELS)
    how: dict[str, Any] = {"cv": 3, "random_state": 5, "return_train_score": False}
    halved = HalvingGridSearchCV(model, GRID, factor=2, **how)
    assert_same(search, halved.fit(X, LABELS))
    assert search.n_iterations_ == 3


def test_pipelines_and_scikit_learns_parameters() -> None:
    pipeline = make_pipeline(StandardScaler(), FastNetClassifier((4,), epochs=3, random_state=0))
    grid = {"fastnetclassifier__learning_rate": [1e-3, 1e-2]}
    search = FastNetSearchCV(pipeline, grid, cv=3).fit(X, LABELS)
    assert_same(search, GridSearchCV(pipeline, grid, cv=3).fit(X, LABELS))
    model = MLPClassifier((4,), random_state=0, tol=1.0)
    search = FastNetSearchCV(model, {"alpha": [1e-3, 1.0]}, cv=3)
    assert_same(
        clone(search).fit(X, LABELS), GridSearchCV(model, search.param_grid, cv=3).fit(X, LABELS)
    )


def test_numpy_runs_one_after_the_other() -> None:
    model = FastNetClassifier(backend="numpy")
    assert FastNetSearchCV(model, GRID)._at_once() == 1
    assert FastNetSearchCV(model, GRID, n_jobs=4)._at_once() == 4
    assert FastNetSearchCV(FastNetClassifier(), GRID)._at_once() >= 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n_iter": 2, "halving": 2}, "give n_iter or halving, not both"),
        ({"n_iter": 0}, "n_iter"),
        ({"halving": 1}, "halving"),
        ({"n_jobs": 0}, "n_jobs"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(how: Any, message: str) -> None:
    with pytest.raises(fn.InputError, match=message):
        FastNetSearchCV(FastNetClassifier(epochs=1), GRID, **how).fit(X, LABELS)


# --- other places ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        dask_cluster.cluster(2) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


@pytest.mark.parametrize("where", ["processes", "client", "loky of the caller", "dask of theirs"])
def test_fits_run_where_an_executor_or_joblib_says(where: str, client: Any) -> None:
    model = FastNetClassifier(epochs=4, random_state=0)
    known = GridSearchCV(model, GRID, cv=3).fit(X, LABELS)
    executor = {"processes": "processes:2", "client": client}.get(where)
    search = FastNetSearchCV(model, GRID, cv=3, executor=executor)
    config: Any = nullcontext()
    if "loky" in where:
        config = parallel_config(backend="loky", n_jobs=2)
    elif "theirs" in where:
        config = parallel_config(backend="dask", client=client)
    with config:
        assert_same(search.fit(X, LABELS), known)
        if "theirs" in where:  # and scikit-learn's own search
            assert_same(GridSearchCV(model, GRID, cv=3).fit(X, LABELS), known)
    assert search.best_estimator_.threads is None


def test_what_a_search_cannot_run_on_is_said() -> None:
    search = FastNetSearchCV(FastNetClassifier(epochs=1), GRID, cv=2)
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    for executor, message in ((closed, "the executor takes no tasks: cannot"), (3, "got 3")):
        with pytest.raises(fn.InputError, match=message):
            search.set_params(executor=executor).fit(X, LABELS)


class AtOnce:
    """An executor of somebody's."""

    def __init__(self) -> None:
        self.tasks = 0

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        self.tasks += 1
        future: Future[Any] = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(function))(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def test_fits_run_on_any_executor() -> None:
    model = FastNetClassifier(epochs=2, random_state=0, backend="numpy")
    known = GridSearchCV(model, GRID, cv=3).fit(X, LABELS)
    search = FastNetSearchCV(model, GRID, cv=3)
    theirs = AtOnce()
    with ThreadPoolExecutor(2) as threads:
        for executor in (theirs, threads):
            assert_same(search.set_params(executor=executor).fit(X, LABELS), known)
    assert theirs.tasks == 3 * len(known.cv_results_["params"])
    # An error of a fit is its own, where scikit-learn is told to raise it.
    search.set_params(executor=theirs, error_score="raise", param_grid={"epochs": [0]})
    with pytest.raises(fn.InputError, match="epochs must be a whole number"):
        search.fit(X, LABELS)


def test_an_executor_of_one_worker_does_all_of_them() -> None:
    seen = set[str]()

    def score(model: Any, x: Any, y: Any) -> float:
        seen.add(threading.current_thread().name)
        return 0.0

    model = FastNetClassifier(epochs=1, backend="numpy")
    with ThreadPoolExecutor(1, "theirs") as executor:
        FastNetSearchCV(model, GRID, cv=2, scoring=score, executor=executor).fit(X, LABELS)
    assert seen == {"theirs_0"}


def test_a_worker_that_ends_takes_the_search_with_it_and_says_what_to_do() -> None:
    class Ended(AtOnce):
        def submit(self, function: Any, *args: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(BrokenProcessPool("A process was terminated abruptly"))
            return future

    search = FastNetSearchCV(FastNetClassifier(epochs=1), GRID, cv=2, executor=Ended())
    with pytest.raises(fn.WorkerError, match="make a new one, or give executor='processes'"):
        search.fit(X, LABELS)
