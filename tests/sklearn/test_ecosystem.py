"""All four estimators inside the rest of scikit-learn, and with what surrounds it."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

import joblib
import sklearn
from scipy import sparse
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import BaggingRegressor, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

import fastnet as fn
from fastnet.backends.numba_backend import NumbaBackend
from fastnet.backends.threads import cores
from fastnet.data import frame as data_frame
from fastnet.sklearn import FastNetClassifier, FastNetRegressor, MLPClassifier, MLPRegressor
from tests.checkout import ROOT
from tests.closeness import assert_close
from tests.on_backends import each_backend

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Array = NDArray[Any]

CLASSES = [FastNetClassifier, FastNetRegressor, MLPClassifier, MLPRegressor]
each_class = pytest.mark.parametrize("estimator", CLASSES)
each_of_fastnets = pytest.mark.parametrize("estimator", [FastNetClassifier, FastNetRegressor])
each_classifier = pytest.mark.parametrize("estimator", [FastNetClassifier, MLPClassifier])
each_regressor = pytest.mark.parametrize("estimator", [FastNetRegressor, MLPRegressor])

weighted = pytest.mark.skipif(
    "sample_weight" not in inspect.signature(neural_network.MLPClassifier.fit).parameters,
    reason="this scikit-learn's MLP takes no sample weights",
)

X, Y = datasets.load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
LABELS = np.stack([Y == 0, Y > 0, X[:, 0] > 0], axis=1).astype(int)
REAL = np.stack([X[:, 0] + X[:, 1], X[:, 2] - X[:, 3]], axis=1)


def made(estimator: Any, **options: Any) -> Any:
    """Return a small model of any of the four classes, which learns what it is shown."""
    if estimator in (FastNetClassifier, FastNetRegressor):
        short = {"hidden_layers": (16,), "epochs": 60, "learning_rate": 0.02, "batch_size": 32}
    else:
        short = {"hidden_layer_sizes": (16,), "max_iter": 60, "learning_rate_init": 0.02}
        short["batch_size"] = 32
    return estimator(**{**short, "random_state": 0, **options})


def begun(estimator: Any, **options: Any) -> Any:
    """Return one that trains for three epochs only, for what no learning matters to."""
    length = "epochs" if estimator in (FastNetClassifier, FastNetRegressor) else "max_iter"
    return made(estimator, **{length: 3, **options})


def weights(model: Any) -> Array:
    """Return a copy of all weights and biases."""
    return np.concatenate([np.ravel(a) for a in [*model.coefs_, *model.intercepts_]])


def numbers(predicted: Array) -> Array:
    """Return predictions, classes included, as numbers to compare."""
    return np.asarray(predicted, np.float64)


def frames_of(library: str) -> Any:
    """Return the library, if this scikit-learn can read the names in its frames."""
    frames = pytest.importorskip(library)
    if not hasattr(StandardScaler().fit(frames.DataFrame({"a": [0.0, 1.0]})), "feature_names_in_"):
        pytest.skip(f"this scikit-learn does not understand this {library}")
    return frames


# --- data -----------------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix", "csr_array", "csc_array"])
@each_class
def test_sparse_rows_give_what_dense_rows_give(estimator: Any, form: str, backend: str) -> None:
    x = np.where(X > 0.5, X, 0.0)
    dense = begun(estimator, backend=backend).fit(x, Y)
    thin = begun(estimator, backend=backend).fit(getattr(sparse, form)(x), Y)
    assert np.array_equal(thin.predict(getattr(sparse, form)(x)), dense.predict(x))
    assert np.array_equal(thin.coefs_[0], dense.coefs_[0])


@each_backend
@each_classifier
def test_several_labels_at_once(estimator: Any, backend: str) -> None:
    model = made(estimator, backend=backend).fit(X, LABELS)
    assert model.predict(X).shape == model.predict_proba(X).shape == (150, 3)
    assert model.score(X, LABELS) > 0.85
    assert np.array_equal(model.predict(X), model.predict_proba(X) > 0.5)


@each_backend
@each_regressor
def test_several_numbers_at_once(estimator: Any, backend: str) -> None:
    options = {} if estimator is MLPRegressor else {"weight_decay": 0.0}
    model = made(estimator, backend=backend).set_params(**options).fit(X, REAL)
    assert model.predict(X).shape == (150, 2)
    assert model.score(X, REAL) > 0.9


@pytest.mark.parametrize("library", ["pandas", "polars"])
@each_class
def test_data_frames_give_names_to_the_features(estimator: Any, library: str) -> None:
    frames = frames_of(library)
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    target = frames.Series(Y)
    model = begun(estimator).fit(frame, target)
    assert model.feature_names_in_.tolist() == names
    assert np.array_equal(model.predict(frame), begun(estimator).fit(X, Y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[names[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@each_class
def test_frames_pass_through_a_pipeline(estimator: Any, library: str) -> None:
    frames = frames_of(library)
    frame = frames.DataFrame({"length": X[:, 0], "width": X[:, 1], "kind": list("ab" * 75)})
    columns = make_column_transformer(
        (StandardScaler(), ["length", "width"]),
        (OneHotEncoder(sparse_output=False), ["kind"]),
        verbose_feature_names_out=False,
    ).set_output(transform=library)
    model = make_pipeline(columns, begun(estimator)).fit(frame, Y)
    assert model[-1].feature_names_in_.tolist() == ["length", "width", "kind_a", "kind_b"]
    assert model.predict(frame).shape == (150,)


def without_narwhals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fastnet find none; scikit-learn itself uses it from 1.9 on."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(data_frame, "importlib", SimpleNamespace(import_module=missing))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@each_class
def test_frames_of_numbers_need_no_narwhals(
    estimator: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(library)
    frame = frames.DataFrame({name: X[:, k] for k, name in enumerate("abcd")})
    expected = begun(estimator).fit(frame, Y).predict(frame)
    without_narwhals(monkeypatch)
    model = begun(estimator).fit(frame, frames.Series(Y))
    assert np.array_equal(model.predict(frame), expected)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]


@each_of_fastnets
def test_weights_in_a_series_need_no_narwhals(
    estimator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas, weight = pytest.importorskip("pandas"), np.arange(150) % 3
    expected = begun(estimator).fit(X, Y, weight).predict(X)
    without_narwhals(monkeypatch)
    assert np.array_equal(begun(estimator).fit(X, Y, pandas.Series(weight)).predict(X), expected)


@pytest.mark.parametrize("cell", ["red", None])
@each_of_fastnets
def test_other_frames_say_how_to_get_it(
    estimator: Any, cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pytest.importorskip("pandas").DataFrame({"a": ["blue", cell] * 20})
    without_narwhals(monkeypatch)
    with pytest.raises(fn.InputError, match=r"narwhals: pip install 'fastnet-mlp\[data\]'"):
        estimator().fit(frame, np.arange(40) % 2)


@weighted
@each_backend
@each_class
def test_a_row_of_weight_0_is_a_row_left_out(estimator: Any, backend: str) -> None:
    # With a shuffle and several batches: it has no place in any of them.
    weight = np.where(np.arange(150) % 3 == 0, 0.0, 1.0)
    model = begun(estimator, backend=backend).fit(X, Y, sample_weight=weight)
    kept = weight > 0
    assert np.array_equal(
        weights(model), weights(begun(estimator, backend=backend).fit(X[kept], Y[kept]))
    )


# --- search, pipelines, composition ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (FastNetClassifier, {"hidden_layers": [(4,), (16, 8)], "dropout": [0.0, 0.2]}),
        (FastNetRegressor, {"optimizer": ["adam", fn.SGD(momentum=0.9)], "l2": [0.0, 0.01]}),
        (MLPClassifier, {"hidden_layer_sizes": [(4,), (16, 8)], "alpha": [0.0, 0.1]}),
        (MLPRegressor, {"activation": ["tanh", "relu"], "solver": ["sgd", "adam"]}),
    ],
)
def test_a_grid_is_searched(estimator: Any, grid: dict[str, Any]) -> None:
    search = GridSearchCV(begun(estimator), grid, cv=2).fit(X[::2], Y[::2])
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (150,)


@each_class
def test_a_pipeline_reaches_the_parameters(estimator: Any) -> None:
    model = Pipeline([("scale", MinMaxScaler()), ("net", made(estimator))])
    model.set_params(net__backend="numpy", net__random_state=7)
    assert model.fit(X, Y).score(X, Y) > 0.8
    assert (model["net"].backend, model["net"].random_state) == ("numpy", 7)


@each_class
def test_scores_are_cross_validated_in_other_processes(estimator: Any) -> None:
    scores = cross_validate(begun(estimator, backend="numpy"), X, Y, cv=2, n_jobs=2)
    again = cross_validate(begun(estimator, backend="numpy"), X, Y, cv=2)
    assert np.array_equal(scores["test_score"], again["test_score"])


def test_the_workers_of_a_search_share_the_cores() -> None:
    counts = joblib.Parallel(n_jobs=2)(joblib.delayed(cores)() for _ in range(2))
    assert counts == [max(1, joblib.cpu_count() // 2)] * 2


@each_classifier
def test_classifiers_are_parts_of_others(estimator: Any) -> None:
    parts = [("a", made(estimator)), ("b", made(estimator, random_state=1))]
    assert VotingClassifier(parts, voting="soft").fit(X, Y).score(X, Y) > 0.9
    assert CalibratedClassifierCV(made(estimator), cv=2).fit(X, Y).score(X, Y) > 0.9
    columns = np.stack([Y, (X[:, 0] > 0) + 0], axis=1)
    assert MultiOutputClassifier(made(estimator)).fit(X, columns).predict(X).shape == (150, 2)


@each_regressor
def test_regressors_are_parts_of_others(estimator: Any) -> None:
    y = REAL[:, 0]
    scaled = TransformedTargetRegressor(made(estimator), transformer=StandardScaler())
    assert scaled.fit(X, 1000 * y).score(X, 1000 * y) > 0.9
    bag = BaggingRegressor(made(estimator), n_estimators=3, random_state=0)
    assert bag.fit(X, y).score(X, y) > 0.9
    model = made(estimator).fit(X, y)
    assert permutation_importance(model, X, y, n_repeats=2).importances.shape == (4, 2)


# --- copies ---------------------------------------------------------------------------------------


@each_class
def test_a_clone_has_the_parameters_and_nothing_learnt(estimator: Any) -> None:
    model = clone(begun(estimator, backend="numpy").fit(X, Y))
    assert model.get_params() == begun(estimator, backend="numpy").get_params()
    assert not hasattr(model, "coefs_")


def test_layers_optimizers_and_callbacks_survive_a_clone() -> None:
    options = {
        "hidden_layers": (8, fn.Dropout(0.2)),
        "optimizer": fn.AdamW(fn.schedules.Cosine(0.01)),
        "early_stopping": fn.EarlyStopping(3),
        "callbacks": (print,),
    }
    model = clone(FastNetClassifier(**options))
    for name in ("hidden_layers", "optimizer", "callbacks"):
        assert getattr(model, name) == options[name]
    assert model.early_stopping.patience == 3


def ways() -> dict[str, Callable[[Any], Any]]:
    found: dict[str, Callable[[Any], Any]] = {"copy": copy.copy, "deepcopy": copy.deepcopy}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found[f"pickle {protocol}"] = lambda m, p=protocol: pickle.loads(pickle.dumps(m, p))
    return found


@each_backend
@pytest.mark.parametrize("way", ways().values(), ids=ways().keys())
@each_class
def test_every_copy_predicts_the_same_and_trains_on(estimator: Any, way: Any, backend: str) -> None:
    for model in (begun(estimator, backend=backend), begun(estimator, backend=backend).fit(X, Y)):
        other = way(model)
        assert other.get_params() == model.get_params()
    predicted = model.predict(X)
    assert np.array_equal(other.predict(X), predicted)
    if way is copy.copy and estimator in (FastNetClassifier, FastNetRegressor):
        return  # a shallow copy shares the network

    # It trains on by itself, and as the other does.
    before = weights(model)
    other.partial_fit(X, Y)
    assert np.array_equal(weights(model), before)
    assert np.array_equal(model.predict(X), predicted)
    assert np.array_equal(weights(model.partial_fit(X, Y)), weights(other))


@each_class
def test_a_model_from_a_backend_that_is_not_here_is_unpickled_and_moved(
    estimator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = begun(estimator, backend="numba").fit(X, Y)
    content, before = pickle.dumps(model), numbers(model.predict(X))
    monkeypatch.setattr(NumbaBackend, "why_unavailable", lambda backend: "there is none.")
    other = pickle.loads(content)
    with pytest.raises(fn.BackendUnavailableError, match="there is none"):
        other.predict(X)
    assert_close(numbers(other.set_params(backend="numpy").predict(X)), before, terms=100)


@each_backend
@each_class
def test_a_trained_model_changes_its_backend(estimator: Any, backend: str) -> None:
    model = begun(estimator, backend="numpy").fit(X, Y)
    before = numbers(model.predict(X))
    model.set_params(backend=backend)
    assert_close(numbers(model.predict(X)), before, terms=100)
    network = "network_" if hasattr(model, "network_") else "_network"
    assert getattr(model, network).backend == backend
    with pytest.raises(ValueError, match="unknown backend 'abacus'"):
        model.set_params(backend="abacus").predict(X)


@each_class
def test_joblib_stores_a_model(estimator: Any, tmp_path: Path) -> None:
    model = begun(estimator).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib", compress=3)
    assert np.array_equal(joblib.load(tmp_path / "model.joblib").predict(X), model.predict(X))
    joblib.dump(model, tmp_path / "mapped.joblib")
    mapped = joblib.load(tmp_path / "mapped.joblib", mmap_mode="r")
    assert np.array_equal(mapped.predict(X), model.predict(X))
    before = (tmp_path / "mapped.joblib").read_bytes()
    mapped.partial_fit(X, Y)
    assert (tmp_path / "mapped.joblib").read_bytes() == before
    assert np.array_equal(weights(mapped), weights(model.partial_fit(X, Y)))


@each_backend
@each_class
def test_threads_share_a_model(estimator: Any, backend: str) -> None:
    model = begun(estimator, backend=backend).fit(X, Y)
    expected = model.predict(X)
    for shared in (model, pickle.loads(pickle.dumps(model))):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, m=shared: m.predict(X), range(40)))
        assert all(np.array_equal(answer, expected) for answer in answers)


# --- metadata routing -----------------------------------------------------------------------------


def test_weights_are_routed_through_a_search() -> None:
    weight = np.where(np.arange(150) % 2 == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = begun(FastNetClassifier).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"dropout": [0.0]}, cv=2).fit(X, Y, sample_weight=weight)
        kept = clone(model).fit(X[1::2], Y[1::2])
    assert np.array_equal(search.predict_proba(X), kept.predict_proba(X))


@pytest.mark.parametrize("estimator", [FastNetClassifier, FastNetRegressor])
def test_validation_rows_pass_through_the_steps_before(estimator: Any) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        net = begun(estimator).set_fit_request(X_val=True, y_val=True)
        model = Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])
        model.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    fitted = model["net"]
    measured = fitted.network_.evaluate(model["scale"].transform(X[1::2]), Y[1::2])
    assert fitted.history_["val_loss"][-1] == measured["loss"]


def test_a_weight_that_nobody_asked_for_is_an_error() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(begun(FastNetClassifier), {"dropout": [0.0]}, cv=2)
        with pytest.raises(ValueError, match="not explicitly set as requested or not requested"):
            search.fit(X, Y, sample_weight=np.ones(150))


# --- without it -----------------------------------------------------------------------------------


def test_without_scikit_learn_the_import_says_how_to_install_it() -> None:
    code = """
import sys
sys.modules["sklearn"] = None
import fastnet
try:
    import fastnet.sklearn
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip install 'fastnet-mlp[sklearn]'" in done.stdout


@each_backend
def test_one_row_is_predicted_as_it_is_among_others(backend: str) -> None:
    model = begun(FastNetRegressor, backend=backend).fit(X, REAL)
    assert_close(model.predict(X[:1]), model.predict(X)[:1], terms=16)


@each_backend
@pytest.mark.parametrize("label", [7, "tea"])
@each_classifier
def test_data_of_one_class_give_that_class(estimator: Any, label: Any, backend: str) -> None:
    y = np.full(150, label)
    model = begun(estimator, backend=backend).fit(X, y)
    assert np.array_equal(model.predict(X), y)
    assert model.score(X, y) == 1
    assert model.network_.layers[-1].activation == "sigmoid"
    assert model.network_.label_names is None
    assert model.network_.predict_labels(X).tolist() == [0] * 150


def test_a_network_that_has_learned_little_knows_one_class_too() -> None:
    # The outputs of new weights lie on both sides of 1/2.
    model = made(FastNetClassifier, epochs=1, learning_rate=1e-9)
    outputs = model.fit(X, np.zeros(150)).network_.predict(X)
    assert outputs.min() < 0.5 < outputs.max()
    assert np.array_equal(model.predict(X), np.zeros(150))


def test_the_probabilities_of_one_class_have_their_usual_shapes() -> None:
    # scikit-learn's perceptron has two columns for one class; elsewhere each class has one.
    theirs, ours, fastnets = (
        made(estimator).fit(X, np.zeros(150)).predict_proba(X)
        for estimator in (neural_network.MLPClassifier, MLPClassifier, FastNetClassifier)
    )
    assert ours.shape == theirs.shape == (150, 2)
    assert fastnets.tolist() == [[1.0]] * 150
