"""`MLPClassifier` and `MLPRegressor` do what scikit-learn's own do, to rounding."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import _multilayer_perceptron

import fastnet as fn
from fastnet.backends.numpy_backend import NumpyBackend
from fastnet.sklearn import MLPClassifier, MLPRegressor
from tests.closeness import assert_close
from tests.on_backends import each_backend

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Array = NDArray[Any]

THEIRS = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}
each_class = pytest.mark.parametrize("ours", THEIRS, ids=lambda c: c.__name__)

X, DIGIT = datasets.load_digits(return_X_y=True)
X, DIGIT = X[:400] / 16, DIGIT[:400]
RNG = np.random.default_rng(0)
REAL = X @ RNG.standard_normal((64, 3))
COUNTS = RNG.poisson(np.exp(X[:, 20] - 0.5))
LABELS = np.stack([DIGIT % 2, DIGIT > 4, DIGIT == 3], axis=1).astype(int)
WEIGHT = RNG.uniform(0.5, 2, 400)

PROBLEMS: dict[str, tuple[type, Array, dict[str, Any]]] = {
    "classes": (MLPClassifier, DIGIT, {}),
    "texts": (MLPClassifier, np.array(["no", "yes"])[DIGIT % 2], {}),
    "labels": (MLPClassifier, LABELS, {}),
    "number": (MLPRegressor, REAL[:, 0], {}),
    "numbers": (MLPRegressor, REAL, {}),
    "counts": (MLPRegressor, COUNTS, {"loss": "poisson"}),
}
SOLVERS: dict[str, dict[str, Any]] = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "no momentum": {"solver": "sgd", "momentum": 0.0},
    "plain momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    "lbfgs": {"solver": "lbfgs"},
}


def options(**others: Any) -> dict[str, Any]:
    """Return parameters with which both take the same steps: no shuffle, and no kink."""
    same = {"hidden_layer_sizes": (16, 8), "activation": "tanh", "alpha": 0.1, "max_iter": 8}
    return {**same, "shuffle": False, "random_state": 3, **others}


def weights(model: Any) -> Array:
    return np.concatenate([np.ravel(a) for a in [*model.coefs_, *model.intercepts_]])


def assert_same(ours: Any, theirs: Any) -> None:
    assert ours.n_iter_ == theirs.n_iter_
    assert_close(weights(ours), weights(theirs), terms=1e4)


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mend scikit-learn's squared error for L-BFGS.

    With several outputs it is a mean over them while the gradient is that of a sum; fastnet
    minimises the sum, and reports the mean.
    """

    def summed(y: Array, output: Array, sample_weight: Array | None = None) -> Any:
        return 0.5 * np.average((y - output) ** 2, weights=sample_weight, axis=0).sum()

    monkeypatch.setitem(_multilayer_perceptron.LOSS_FUNCTIONS, "squared_error", summed)


# --- the same steps -------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.usefixtures("mended")
def test_it_takes_the_steps_of_scikit_learn(problem: str, solver: str, backend: str) -> None:
    ours, y, own = PROBLEMS[problem]
    if "loss" in own and "loss" not in inspect.signature(THEIRS[ours]).parameters:
        pytest.skip("this scikit-learn has no such loss")
    wanted = options(**own, **SOLVERS[solver])
    model, expected = ours(**wanted, backend=backend).fit(X, y), THEIRS[ours](**wanted).fit(X, y)
    assert_same(model, expected)
    assert model.predict(X).dtype == expected.predict(X).dtype


def test_other_steps_are_told_apart() -> None:
    model = MLPClassifier(**options(alpha=0.11)).fit(X, DIGIT)
    with pytest.raises(AssertionError):
        assert_same(model, neural_network.MLPClassifier(**options()).fit(X, DIGIT))


@each_backend
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_loss_curve_is_that_of_scikit_learn(problem: str, solver: str, backend: str) -> None:
    # In one batch: over several, the penalty's part is that of the weights an epoch begins with.
    ours, y, own = PROBLEMS[problem]
    if "loss" in own and "loss" not in inspect.signature(THEIRS[ours]).parameters:
        pytest.skip("this scikit-learn has no such loss")
    wanted = options(**own, **SOLVERS[solver], batch_size=400)
    model, expected = ours(**wanted, backend=backend).fit(X, y), THEIRS[ours](**wanted).fit(X, y)
    if (problem, solver) == ("numbers", "lbfgs"):
        return  # see `mended`
    assert_close(np.float64(model.loss_), np.float64(expected.loss_), terms=1e4)
    if solver != "lbfgs":
        assert_close(model.loss_curve_, expected.loss_curve_, terms=1e4)
        assert_close(np.float64(model.best_loss_), np.float64(expected.best_loss_), terms=1e4)
        assert model.t_ == expected.t_ == 8 * 400


@each_backend
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_is_there(activation: str, backend: str) -> None:
    wanted = options(activation=activation, max_iter=2)
    model = MLPClassifier(**wanted, backend=backend).fit(X, DIGIT)
    assert_same(model, neural_network.MLPClassifier(**wanted).fit(X, DIGIT))


def test_the_learning_rate_of_scikit_learn_is_kept() -> None:
    wanted = options(**SOLVERS["adaptive"])
    model = MLPClassifier(**wanted).fit(X, DIGIT)
    expected = neural_network.MLPClassifier(**wanted).fit(X, DIGIT)
    assert model._optimizer.learning_rate == expected._optimizer.learning_rate < 0.001


weighted = pytest.mark.skipif(
    "sample_weight" not in inspect.signature(neural_network.MLPClassifier.fit).parameters,
    reason="this scikit-learn's MLP takes no sample weights",
)


@weighted
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize(
    ("weight", "words"),
    [(np.where(np.arange(400) == 7, -1.0, 1.0), "must not be negative, got -1 at row 7"),
     (np.full(400, -2.0), "must not be negative, got -2 at row 0"),
     (np.zeros(400), "non-zero|0 everywhere")],
    ids=["one", "all", "zeros"],
)  # fmt: skip
@each_class
def test_weights_that_mean_nothing_are_refused_by_name(
    ours: Any, weight: Array, words: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=words):
        ours(**options).fit(X, DIGIT, sample_weight=weight)


@weighted
@each_backend
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@each_class
def test_weighted_rows_take_the_same_steps(ours: Any, solver: str, backend: str) -> None:
    wanted = options(**SOLVERS[solver], batch_size=400)
    y = DIGIT if ours is MLPClassifier else REAL[:, 0]
    model = ours(**wanted, backend=backend).fit(X, y, sample_weight=WEIGHT)
    assert_same(model, THEIRS[ours](**wanted).fit(X, y, sample_weight=WEIGHT))


# --- it is fastnet that works ---------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_none_of_scikit_learns_arithmetic_runs(
    solver: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any, **__: Any) -> None:
        raise AssertionError("scikit-learn's own arithmetic ran")

    for name in ("_backprop", "_forward_pass", "_compute_loss_grad", "_loss_grad_lbfgs"):
        monkeypatch.setattr(_multilayer_perceptron.BaseMultilayerPerceptron, name, no)
    model = MLPClassifier(**options(solver=solver), backend=backend).fit(X, DIGIT)
    assert model.predict_proba(X).shape == (400, 10)
    assert model._network.backend == backend
    with pytest.raises(AssertionError, match="own arithmetic ran"):
        neural_network.MLPClassifier(**options(solver=solver)).fit(X, DIGIT)


@each_class
def test_parameters_and_defaults_are_scikit_learns_and_the_backend(ours: Any) -> None:
    mine, theirs = (dict(inspect.signature(c).parameters) for c in (ours, THEIRS[ours]))
    assert mine.pop("backend").default == "auto"
    assert mine == theirs
    assert ours().get_params() == {**THEIRS[ours]().get_params(), "backend": "auto"}
    assert isinstance(ours(), THEIRS[ours])


@each_backend
def test_float32_stays_float32(backend: str) -> None:
    model = MLPClassifier(**options(), backend=backend).fit(X.astype(np.float32), DIGIT)
    assert {a.dtype for a in [*model.coefs_, *model.intercepts_]} == {np.dtype(np.float32)}
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_shuffled_batches_depend_on_the_random_state_and_nothing_else() -> None:
    one, again, other = (
        MLPClassifier(**options(shuffle=True, random_state=state)).fit(X, DIGIT)
        for state in (1, 1, 2)
    )
    assert np.array_equal(weights(one), weights(again))
    assert not np.array_equal(weights(one), weights(other))
    ordered = MLPClassifier(**options(random_state=1)).fit(X, DIGIT)
    assert not np.array_equal(weights(one), weights(ordered))


# --- stopping -------------------------------------------------------------------------------------


@each_class
def test_early_stopping_holds_back_the_same_rows(ours: Any) -> None:
    wanted = options(early_stopping=True, validation_fraction=0.25, max_iter=40, tol=0.01)
    wanted["batch_size"] = 100  # whole batches: the penalty of a smaller last one differs
    y = DIGIT if ours is MLPClassifier else REAL[:, 0]
    model, expected = ours(**wanted).fit(X, y), THEIRS[ours](**wanted).fit(X, y)
    assert_close(model.validation_scores_, expected.validation_scores_, terms=1e4)
    assert_same(model, expected)
    assert model.best_loss_ is expected.best_loss_ is None


def test_a_run_that_did_not_converge_warns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(8\) reached"):
        MLPClassifier(**options()).fit(X, DIGIT)
    with pytest.warns(ConvergenceWarning, match=r"max_iter \(8\) or max_fun \(15000\)"):
        MLPClassifier(**options(solver="lbfgs")).fit(X, DIGIT)
    with pytest.warns(ConvergenceWarning, match="max_fun"):
        model = MLPClassifier(**options(solver="lbfgs", max_fun=3, max_iter=100)).fit(X, DIGIT)
    assert model.n_iter_ <= 3


def test_a_warning_points_at_the_call_of_fit() -> None:
    with pytest.warns(UserWarning) as caught:
        MLPClassifier(**options(batch_size=1000)).fit(X, DIGIT)
        MLPClassifier(**options(solver="lbfgs")).fit(X, DIGIT)
    assert len(caught) == 3
    assert {warning.filename for warning in caught} == {__file__}


def test_a_run_that_converged_does_not(recwarn: pytest.WarningsRecorder) -> None:
    model = MLPClassifier(**options(tol=10.0, max_iter=50)).fit(X, DIGIT)
    assert model.n_iter_ == 12  # the first improves on nothing; ten that do not, and one more
    assert not recwarn.list


@each_class
def test_lbfgs_may_have_converged_before_it_began(ours: Any) -> None:
    wanted, y = options(solver="lbfgs", tol=1e6), DIGIT if ours is MLPClassifier else COUNTS
    model, expected = ours(**wanted).fit(X, y), THEIRS[ours](**wanted).fit(X, y)
    assert_same(model, expected)
    assert model.n_iter_ == 0
    assert_close(np.float64(model.loss_), np.float64(expected.loss_), terms=1e4)


def test_ctrl_c_leaves_a_trained_model_and_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fn.Network.fit

    def interrupted(net: fn.Network, *args: Any, **kwargs: Any) -> Any:
        fit(net, *args, **{**kwargs, "epochs": 3})
        raise KeyboardInterrupt

    monkeypatch.setattr(fn.Network, "fit", interrupted)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        model = MLPClassifier(**options()).fit(X, DIGIT)
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (400,)


def test_verbose_prints_each_iteration(capsys: pytest.CaptureFixture[str]) -> None:
    model = MLPClassifier(**options(verbose=True, max_iter=2)).fit(X, DIGIT)
    printed = [f"Iteration {i}, loss = {v:.8f}" for i, v in enumerate(model.loss_curve_, 1)]
    assert capsys.readouterr().out.splitlines() == printed


# --- going on -------------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("solver", ["adam", "sgd", "invscaling"])
@each_class
def test_partial_fit_keeps_the_moments(ours: Any, solver: str, backend: str) -> None:
    wanted, y = options(**SOLVERS[solver]), DIGIT if ours is MLPClassifier else REAL
    model, expected = ours(**wanted, backend=backend), THEIRS[ours](**wanted)
    first = {"classes": np.arange(10)} if ours is MLPClassifier else {}
    for part in (slice(0, 200), slice(200, 400), slice(100, 300)):
        model.partial_fit(X[part], y[part], **first)
        expected.partial_fit(X[part], y[part], **first)
    assert_same(model, expected)
    assert model.t_ == expected.t_


def test_partial_fit_goes_on_from_fit() -> None:
    wanted = options()
    model, expected = (c(**wanted).fit(X, DIGIT) for c in (MLPClassifier, THEIRS[MLPClassifier]))
    assert_same(model.partial_fit(X, DIGIT), expected.partial_fit(X, DIGIT))


@pytest.mark.parametrize("solver", ["adam", "sgd", "adaptive", "invscaling", "lbfgs"])
def test_warm_start_goes_on_as_scikit_learn_does(solver: str) -> None:
    wanted = options(**SOLVERS[solver], warm_start=True)
    model, expected = MLPClassifier(**wanted), neural_network.MLPClassifier(**wanted)
    for _ in range(3):
        model.fit(X, DIGIT)
        expected.fit(X, DIGIT)
    assert_same(model, expected)


def test_fit_without_warm_start_begins_anew() -> None:
    model = MLPClassifier(**options(shuffle=True)).fit(X, DIGIT)
    before = weights(model).copy()
    assert np.array_equal(weights(model.fit(X, DIGIT)), before)


# --- the weights are the user's -------------------------------------------------------------------


@each_backend
def test_weights_may_be_replaced_or_changed_in_place(backend: str) -> None:
    model = MLPClassifier(**options(), backend=backend).fit(X, DIGIT)
    other = MLPClassifier(**options(random_state=4), backend=backend).fit(X, DIGIT)
    wanted = other.predict_proba(X)
    model.coefs_[0] = other.coefs_[0].copy()
    model.coefs_[1][...] = other.coefs_[1]
    model.coefs_[2] = other.coefs_[2].tolist()
    model.intercepts_ = [b.copy() for b in other.intercepts_]
    assert np.array_equal(model.predict_proba(X), wanted)
    model.intercepts_[2][0] += 100.0
    assert set(model.predict(X)) == {0}
    assert np.array_equal(other.predict_proba(X), wanted)


def test_other_shapes_make_another_network() -> None:
    model = MLPRegressor(**options()).fit(X, REAL[:, 0])
    model.coefs_, model.intercepts_ = [np.ones((64, 1))], [np.zeros(1)]
    model.n_layers_ = 2
    assert_close(model.predict(X), X.sum(axis=1), terms=64)


# --- where the weights are not in the host's memory -----------------------------------------------


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the NumPy backend a memory of its own, as a GPU has: arrays are copied to and fro."""
    for name in ("asarray", "to_host"):
        monkeypatch.setattr(NumpyBackend, name, lambda backend, values: np.array(values))


def series(estimator: Any, y: Array) -> list[Array]:
    """Return predictions after all that moves weights: training, stopping, copies, changes."""
    model = estimator(**options(early_stopping=True, max_iter=30), backend="numpy").fit(X, y)
    seen = [model.predict(X)]
    model = estimator(**options(solver="sgd", learning_rate="adaptive"), backend="numpy").fit(X, y)
    seen += [model.predict(X), pickle.loads(pickle.dumps(model)).predict(X)]
    seen.append(model.partial_fit(X, y).predict(X))
    model.coefs_[0][...] *= 0.5
    seen.append(model.predict(X))
    model.intercepts_[-1] = model.intercepts_[-1] + 1.0
    seen += [model.predict(X), copy.deepcopy(model).partial_fit(X, y).predict(X)]
    model = estimator(**options(solver="lbfgs", warm_start=True), backend="numpy")
    seen += [model.fit(X, y).predict(X), model.fit(X, y).predict(X)]
    return seen


@each_class
def test_a_memory_apart_changes_nothing(ours: Any, request: pytest.FixtureRequest) -> None:
    y = DIGIT if ours is MLPClassifier else REAL
    expected = series(ours, y)
    request.getfixturevalue("apart")
    model = ours(**options(), backend="numpy").fit(X, y)
    network = model._network
    assert not np.shares_memory(model.coefs_[0], network.weights[0])
    model.predict(X)
    assert model._network is network  # nothing was moved: nothing had changed
    for a, b in zip(series(ours, y), expected, strict=True):
        assert np.array_equal(a, b)


# --- bad input ------------------------------------------------------------------------------------


@each_class
def test_what_is_not_trained_cannot_predict(ours: Any) -> None:
    with pytest.raises(NotFittedError):
        ours().predict(X)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"backend": "abacus"}, "unknown backend 'abacus'"),
        ({"activation": "relu6"}, "'activation' parameter"),
        ({"alpha": -1}, "'alpha' parameter"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes must be > 0"),
        ({"solver": "newton"}, "'solver' parameter"),
    ],
)
@each_class
def test_a_wrong_parameter_is_named(ours: Any, wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        ours(**wrong).fit(X, DIGIT)


@each_backend
def test_training_that_diverges_says_so_as_scikit_learn_does(backend: str) -> None:
    steep = options(solver="sgd", learning_rate_init=1e6, activation="identity", max_iter=200)
    model = MLPRegressor(**steep, backend=backend)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X, REAL)
