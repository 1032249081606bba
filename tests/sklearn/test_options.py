"""Every option of `FastNetClassifier` and `FastNetRegressor` reaches the network."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from sklearn import datasets
from sklearn.exceptions import NotFittedError

import fastnet as fn
from fastnet.preprocessing.scaler import Scaler
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from fastnet.sklearn.parameters import documented
from tests.closeness import assert_close
from tests.on_backends import each_backend

pytestmark = pytest.mark.usefixtures("one_core")

Array = NDArray[Any]

each_class = pytest.mark.parametrize("estimator", [FastNetClassifier, FastNetRegressor])

X, DIGIT = datasets.load_digits(return_X_y=True)
X, DIGIT = X[:300] / 16, DIGIT[:300]
RNG = np.random.default_rng(0)
REAL = X @ RNG.standard_normal((64, 2)) + 0.1 * RNG.standard_normal((300, 2))
NAMES = np.array(["even", "odd"])[DIGIT % 2]
LABELS = np.stack([DIGIT % 2, DIGIT > 4, DIGIT == 3], axis=1).astype(int)


PLAIN: dict[str, Any] = {
    "activation": "relu",
    "optimizer": "adam",
    "batch_size": 128,
    "standardize": False,
}
"""What a `Network` and its ``fit`` do by themselves; `test_defaults.py` is about the defaults."""

SMALL = PLAIN | {"hidden_layers": (16,), "epochs": 3, "random_state": 0}


def classifier(**options: Any) -> FastNetClassifier:
    return FastNetClassifier(**SMALL | options)


def regressor(**options: Any) -> FastNetRegressor:
    return FastNetRegressor(**SMALL | {"standardize_targets": False} | options)


def flat(model: Any) -> Array:
    network = model.network_
    return np.array(network.backend_object.to_host(network.parameters))


# --- the network ----------------------------------------------------------------------------------


@each_backend
def test_an_estimator_is_the_network_of_its_random_state(backend: str) -> None:
    model = classifier(backend=backend, learning_rate=0.01, batch_size=64).fit(X, DIGIT)
    net = fn.Network([64, 16, 10], output_activation="softmax", dtype="float64", backend=backend)
    history = net.fit(X, DIGIT, optimizer=fn.Adam(0.01), epochs=3, batch_size=64)
    assert np.array_equal(model.predict_proba(X), net.predict(X))
    assert model.loss_curve_ == history["loss"]
    assert model.history_["accuracy"] == history["accuracy"]
    assert (model.n_iter_, model.network_.backend) == (3, backend)


def test_layers_are_made_of_the_options() -> None:
    model = classifier(
        hidden_layers=(32, fn.LayerNorm("tanh"), fn.Dense(8, "selu"), 4),
        activation=("relu", "gelu"),
        dropout=(0.1, 0.0),
        normalization="batch",
        initializer="he_normal",
    )
    layers = model.fit(X, DIGIT).network_.layers
    assert layers == (
        fn.Dense(32, "identity", "he_normal"),
        fn.BatchNorm("relu"),
        fn.Dropout(0.1),
        fn.LayerNorm("tanh"),
        fn.Dense(8, "selu"),
        fn.Dense(4, "identity", "he_normal"),
        fn.BatchNorm("gelu"),
        fn.Dense(10, "softmax", "he_normal"),
    )


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"hidden_layers": 5}, (fn.Dense(5, "relu"),)),
        ({"hidden_layers": ()}, ()),
        ({"hidden_layers": [5, 6]}, (fn.Dense(5, "relu"), fn.Dense(6, "relu"))),
        ({"activation": "tanh"}, (fn.Dense(16, "tanh"),)),
        ({"dropout": 0.5}, (fn.Dense(16, "relu"), fn.Dropout(0.5))),
        ({"normalization": "layer"}, (fn.Dense(16), fn.LayerNorm("relu"))),
    ],
)
def test_hidden_layers_have_short_forms(options: dict[str, Any], layers: tuple[Any, ...]) -> None:
    assert regressor(**options).fit(X, REAL).network_.layers == (*layers, fn.Dense(2))


@pytest.mark.parametrize(
    ("y", "options", "outputs"),
    [
        (DIGIT, {}, fn.Dense(10, "softmax")),
        (NAMES, {}, fn.Dense(1, "sigmoid")),
        (NAMES, {"loss": "cross_entropy"}, fn.Dense(2, "softmax")),
        (LABELS, {}, fn.Dense(3, "sigmoid")),
        (np.ones(300), {}, fn.Dense(1, "sigmoid")),
        (np.ones(300), {"loss": "cross_entropy"}, fn.Dense(2, "softmax")),
        (np.full(300, "even"), {"loss": "cross_entropy"}, fn.Dense(2, "softmax")),
    ],
)
def test_the_outputs_suit_the_classes(y: Array, options: dict[str, Any], outputs: Any) -> None:
    model = classifier(**options).fit(X, y)
    assert model.network_.layers[-1] == outputs
    assert model.predict(X).shape == y.shape
    assert set(np.unique(model.predict(X))) <= set(np.unique(y))
    proba = model.predict_proba(X)
    assert proba.shape == (300, len(model.classes_))
    if y.ndim == 1:
        assert_close(proba.sum(axis=1), np.ones(300), terms=10)
    assert np.array_equal(model.predict_log_proba(X), np.log(proba))


@pytest.mark.parametrize(
    ("loss", "output"),
    [
        (None, fn.Dense(2)),
        ("mae", fn.Dense(2)),
        (fn.losses.Huber(0.5), fn.Dense(2)),
        ("poisson", fn.Dense(2, "exp")),
        ("binary_cross_entropy", fn.Dense(2, "sigmoid")),
        ("gaussian_nll", fn.Dense(4)),
        ("quantile", fn.Dense(6)),
    ],
)
def test_the_outputs_suit_the_loss(loss: Any, output: Any) -> None:
    y = np.abs(REAL) / np.abs(REAL).max()
    model = regressor(loss=loss).fit(X, y)
    assert model.network_.layers[-1] == output
    assert model.predict(X).shape == y.shape
    assert regressor(loss=loss).fit(X, y[:, 0]).predict(X).shape == (300,)


def test_an_output_activation_may_be_chosen() -> None:
    model = regressor(output_activation="softplus").fit(X, np.abs(REAL[:, 0]))
    assert model.network_.layers[-1] == fn.Dense(1, "softplus")
    assert model.predict(X).min() > 0


def test_a_gaussian_has_deviations() -> None:
    x = RNG.uniform(-1, 1, (400, 1))
    y = np.where(x[:, 0] > 0, 2.0, 0.2) * RNG.standard_normal(400)
    model = regressor(loss="gaussian_nll", epochs=200, learning_rate=0.01).fit(x, y)
    mean, deviation = model.predict([[-0.6], [0.6]], return_std=True)
    assert mean.shape == deviation.shape == (2,)
    assert 3 * deviation[0] < deviation[1]
    assert np.array_equal(mean, model.predict([[-0.6], [0.6]]))
    with pytest.raises(ValueError, match="return_std needs loss='gaussian_nll', got 'mse'"):
        regressor().fit(x, y).predict(x, return_std=True)


def test_quantiles_come_in_order_and_predict_gives_the_middle_one() -> None:
    loss = fn.losses.Quantile((0.05, 0.45, 0.95))
    model = regressor(loss=loss, epochs=100).fit(X, REAL[:, 0])
    values = model.predict_quantiles(X)
    assert values.shape == (300, 3)
    assert (np.diff(values.mean(axis=0)) > 0).all()
    assert np.array_equal(model.predict(X), values[:, 1])
    several = regressor(loss=loss).fit(X, REAL)
    assert several.predict_quantiles(X).shape == (300, 3, 2)
    assert np.array_equal(several.predict(X), several.predict_quantiles(X)[:, 1])
    with pytest.raises(ValueError, match="predict_quantiles needs loss='quantile', got 'mse'"):
        regressor().fit(X, REAL).predict_quantiles(X)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({}, fn.Adam()),
        ({"optimizer": "sgd", "learning_rate": 0.1}, fn.SGD(0.1)),
        (
            {"l1": 1e-4, "l2": 1e-3, "weight_decay": 0.1, "clip_norm": 1.0},
            fn.Adam(l1=1e-4, l2=1e-3, weight_decay=0.1, clip_norm=1.0),
        ),
        (
            {"optimizer": fn.SGD(momentum=0.9, l2=0.1), "l1": 0.2},
            fn.SGD(momentum=0.9, l1=0.2, l2=0.1),
        ),
        (
            {"learning_rate": fn.schedules.Cosine(0.01, epochs=3)},
            fn.Adam(fn.schedules.Cosine(0.01, epochs=3)),
        ),
    ],
)
def test_the_optimizer_has_the_options_given(options: dict[str, Any], optimizer: Any) -> None:
    model = regressor(**options).fit(X, REAL)
    assert model.network_.optimizer_state.optimizer == optimizer


def test_a_clipped_gradient_takes_smaller_steps() -> None:
    plain = {"optimizer": "sgd", "epochs": 1, "batch_size": None, "learning_rate": 1.0}
    start, free, clipped = (
        flat(regressor(**{**plain, **own}).fit(X, 100 * REAL))
        for own in ({"learning_rate": 1e-30}, {}, {"clip_norm": 0.5})
    )
    assert_close(np.linalg.norm(clipped - start), 0.5, terms=1e3)
    assert np.linalg.norm(free - start) > 1


@each_backend
def test_lbfgs_is_an_optimizer_too(backend: str) -> None:
    model = regressor(hidden_layers=(), optimizer="lbfgs", l2=1e-6, epochs=200, backend=backend)
    assert model.fit(X, REAL).score(X, REAL) > 0.99
    with pytest.raises(ValueError, match="learning_rate does not go with the optimizer 'lbfgs'"):
        model.set_params(learning_rate=0.1).fit(X, REAL)


def test_validation_rows_of_ones_own_are_measured() -> None:
    model = classifier(metrics=["f1"]).fit(X[:200], NAMES[:200], X_val=X[200:], y_val=NAMES[200:])
    measured = model.network_.evaluate(X[200:], DIGIT[200:] % 2, metrics=["f1"])
    assert {f"val_{name}": value for name, value in measured.items()} == {
        name: record[-1] for name, record in model.history_.items() if name.startswith("val_")
    }
    weight = np.arange(100.0)
    weighted = classifier().fit(
        X[:200], NAMES[:200], X_val=X[200:], y_val=NAMES[200:], sample_weight_val=weight
    )
    expected = weighted.network_.evaluate(X[200:], DIGIT[200:] % 2, sample_weight=weight)
    assert weighted.history_["val_loss"][-1] == expected["loss"]
    assert len(classifier(validation_split=0.2).fit(X, NAMES).history_["val_loss"]) == 3


@each_class
def test_early_stopping_restores_the_best_weights(estimator: Any) -> None:
    rows = slice(0, 20), slice(20, 120)
    y = NAMES if estimator is FastNetClassifier else REAL[:, 0] + 5 * RNG.standard_normal(300)
    options = {"epochs": 500, "learning_rate": 0.05, "random_state": 0}
    for given in (3, fn.EarlyStopping(3)):
        model = estimator(**options, early_stopping=given)
        model.fit(X[rows[0]], y[rows[0]], X_val=X[rows[1]], y_val=y[rows[1]])
        best = int(np.argmin(model.history_["val_loss"]))
        assert model.history_.stop_reason == "early stopping"
        assert model.history_.best_epoch == best + 1
        assert model.n_iter_ == best + 4 < 500
        assert model.early_stopping is given


@each_class
def test_early_stopping_holds_back_a_tenth_unless_told(estimator: Any) -> None:
    y = NAMES if estimator is FastNetClassifier else REAL[:, 0] + 5 * RNG.standard_normal(300)
    options = {"epochs": 500, "learning_rate": 0.05, "random_state": 0}
    model = estimator(**options, early_stopping=True).fit(X, y)
    told = estimator(**options, early_stopping=5, validation_split=0.1).fit(X, y)
    assert model.n_iter_ < 500
    assert model.history_["val_loss"] == told.history_["val_loss"]
    without = estimator(**{**options, "epochs": 9}, early_stopping=False).fit(X, y)
    assert without.n_iter_ == 9
    assert "val_loss" not in without.history_


def test_callbacks_see_every_epoch_and_may_stop() -> None:
    seen: list[int] = []

    def watch(run: fn.Run) -> None:
        seen.append(run.epoch)
        if run.epoch == 2:
            run.stop("enough")

    model = regressor(callbacks=[watch], epochs=10).fit(X, REAL)
    assert seen == [1, 2]
    assert model.history_.stop_reason == "enough"


@pytest.mark.parametrize("y", [DIGIT, NAMES], ids=["many", "two"])
def test_class_weights_count_like_weights_of_rows(y: Array) -> None:
    label = y[0]
    model = classifier(class_weight={label: 3.0}).fit(X, y)
    same = classifier().fit(X, y, sample_weight=np.where(y == label, 3.0, 1.0))
    assert np.array_equal(flat(model), flat(same))
    assert not np.array_equal(flat(model), flat(classifier().fit(X, y)))


@pytest.mark.parametrize(
    ("y", "given"),
    [
        (NAMES, {"evn": 2.0}),
        (NAMES, {"even": 1.0, "odd": 2.0, "none": 3.0}),
        (NAMES, {0: 2.0}),
        (DIGIT, {10: 2.0}),
        (DIGIT, {"3": 2.0}),
    ],
)
def test_the_weight_of_a_label_that_is_not_there_is_refused(y: Array, given: Any) -> None:
    with pytest.raises(fn.InputError, match=f"there is no class {[*given][-1]!r}"):
        classifier(class_weight=given).fit(X, y)


@pytest.mark.parametrize("label", [1, 1.0, True, np.int8(1)])
def test_a_label_may_be_any_number_that_is_equal(label: Any) -> None:
    y = (DIGIT > 4).astype(int)
    model, same = classifier(class_weight={label: 3.0}), classifier(class_weight={1: 3.0})
    assert np.array_equal(flat(model.fit(X, y)), flat(same.fit(X, y)))


def test_balanced_classes_have_the_same_total() -> None:
    y = DIGIT == 3
    weight = np.where(y, len(y) / (2 * y.sum()), len(y) / (2 * (~y).sum()))
    balanced = classifier(class_weight="balanced").fit(X, y)
    assert_close(flat(balanced), flat(classifier().fit(X, y, sample_weight=weight)), terms=100)


def test_balanced_counts_a_row_of_weight_2_twice() -> None:
    rows, twice = np.arange(60), np.where(np.arange(60) < 20, 2, 1)
    options = {"class_weight": "balanced", "batch_size": None}
    weighted = classifier(**options).fit(X[:60], NAMES[:60], sample_weight=twice)
    repeated = rows.repeat(twice)
    again = classifier(**options).fit(X[repeated], NAMES[repeated])
    assert_close(flat(weighted), flat(again), terms=100)


def test_class_weights_of_several_labels_come_as_a_list() -> None:
    weights = [{0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.0}, {0: 1.0, 1: 5.0}]
    model = classifier(class_weight=weights).fit(X, LABELS)
    by_row = np.where(LABELS[:, 0], 2.0, 1.0) * np.where(LABELS[:, 2], 5.0, 1.0)
    assert np.array_equal(flat(model), flat(classifier().fit(X, LABELS, sample_weight=by_row)))
    for wrong, words in ((weights[:2], "a list of 3 dicts"), ([{2: 1.0}] * 3, "class 2, of 0 to")):
        with pytest.raises(fn.InputError, match=words):
            classifier(class_weight=wrong).fit(X, LABELS)


@each_class
def test_a_row_of_weight_0_is_a_row_left_out(estimator: Any) -> None:
    # With a shuffle, several batches and rows held back: it has no place in any of them.
    weight = np.where(np.arange(300) % 3 == 0, 0.0, 1.0)
    y = DIGIT if estimator is FastNetClassifier else REAL
    options = {"epochs": 3, "batch_size": 32, "validation_split": 0.25, "random_state": 0}
    model = estimator(**options).fit(X, y, sample_weight=weight)
    kept = weight > 0
    assert np.array_equal(flat(model), flat(estimator(**options).fit(X[kept], y[kept])))


def test_a_class_without_weight_is_known_and_never_chosen() -> None:
    model = classifier(epochs=50).fit(X, DIGIT, sample_weight=DIGIT != 7)
    assert model.classes_.tolist() == list(range(10))
    assert 7 not in model.predict(X)


def test_labels_may_be_smoothed() -> None:
    model = classifier(label_smoothing=0.2).fit(X, DIGIT)
    same = classifier(loss=fn.losses.CrossEntropy(0.2)).fit(X, DIGIT)
    assert np.array_equal(flat(model), flat(same))
    assert model.network_.loss == fn.losses.CrossEntropy(0.2)


def test_scaled_targets_give_predictions_in_their_unit() -> None:
    y = REAL * [1e4, 1e-3] + [5e5, 2.0]
    model = regressor(standardize_targets=True).fit(X, y)
    assert_close(
        (model.predict(X) - y.mean(axis=0)) / y.std(axis=0),
        regressor().fit(X, (y - y.mean(axis=0)) / y.std(axis=0)).predict(X),
        terms=1e8,  # the mean of large targets rounds more coarsely than their deviations
    )
    assert model.score(X, y) == pytest.approx(model.network_.evaluate(X, y)["r2"], rel=1e-9)
    before = model.network_.preprocessor.target
    assert model.partial_fit(X[:5], y[:5]).network_.preprocessor.target is before
    with pytest.raises(ValueError, match="standardize_targets=True needs fit before partial_fit"):
        regressor(standardize_targets=True).partial_fit(X, y)


def test_standardised_inputs_belong_to_the_network() -> None:
    x = X * 1000 + 5
    model = regressor(standardize=True).fit(x, REAL)
    assert isinstance(model.network_.preprocessor, Scaler)
    assert_close(model.predict(x), regressor(standardize=True).fit(X, REAL).predict(X), terms=1e6)


@pytest.mark.parametrize(
    ("given", "of_x", "expected"),
    [
        (None, "float64", "float64"),
        (None, "float32", "float32"),
        (None, "int64", "float64"),
        ("float32", "float64", "float32"),
        ("float64", "float32", "float64"),
    ],
)
def test_the_dtype_is_that_of_x_unless_given(given: Any, of_x: str, expected: str) -> None:
    model = regressor(dtype=given).fit((16 * X).astype(of_x), REAL)
    assert model.network_.dtype == expected
    assert model.predict((16 * X).astype(of_x)).dtype == expected


@each_class
def test_warm_start_goes_on_with_weights_and_moments(estimator: Any) -> None:
    y = DIGIT if estimator is FastNetClassifier else REAL
    options = {"random_state": 0, "batch_size": 64}
    model = estimator(epochs=2, warm_start=True, **options).fit(X, y).fit(X, y)
    once = estimator(epochs=4, optimizer="adam", **options).fit(X, y)
    assert np.array_equal(flat(model), flat(once))
    assert model.loss_curve_ == once.loss_curve_
    cold = estimator(epochs=2, random_state=0).fit(X, y).fit(X, y)
    assert (cold.n_iter_, model.n_iter_) == (2, 4)


def test_the_random_state_decides_all() -> None:
    one, other = regressor(random_state=1).fit(X, REAL), regressor(random_state=2).fit(X, REAL)
    assert not np.array_equal(flat(one), flat(other))
    state = np.random.RandomState(0)
    drawn = [flat(regressor(random_state=state).fit(X, REAL)) for _ in range(2)]
    assert not np.array_equal(*drawn)
    again = regressor(random_state=np.random.RandomState(0)).fit(X, REAL)
    assert np.array_equal(flat(again), drawn[0])


def test_the_number_of_threads_and_the_order_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    fit = fn.Network.fit

    def spy(net: fn.Network, *args: Any, **kwargs: Any) -> Any:
        given.update(kwargs)
        return fit(net, *args, **kwargs)

    monkeypatch.setattr(fn.Network, "fit", spy)
    regressor(threads=1, shuffle=False, verbose=True, batch_size=None).fit(X, REAL)
    passed = {name: given[name] for name in ("threads", "shuffle", "verbose", "batch_size")}
    assert passed == {"threads": 1, "shuffle": False, "verbose": True, "batch_size": None}


def test_nothing_that_fit_and_the_network_take_is_missing() -> None:
    parameters = set(classifier().get_params()) | set(regressor().get_params())
    of_fit = set(inspect.signature(fn.Network.fit).parameters) - {"self", "x", "y"}
    of_the_network = set(inspect.signature(fn.Network).parameters) - {"layers", "inputs"}
    elsewhere = {"sample_weight", "validation_data", "seed"}  # arguments of fit, random_state
    elsewhere |= {"checkpoint", "checkpoint_every", "resume"}  # of one run, not of one in a search
    elsewhere |= {"comm"}  # of one program on several processes
    assert (of_fit | of_the_network) - parameters == elsewhere


def test_a_run_that_is_interrupted_leaves_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fn.Network.fit

    def interrupted(net: fn.Network, *args: Any, **kwargs: Any) -> Any:
        fit(net, *args, **{**kwargs, "epochs": 2})
        raise KeyboardInterrupt

    monkeypatch.setattr(fn.Network, "fit", interrupted)
    model = regressor()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, REAL)
    assert model.n_iter_ == 2
    assert model.predict(X).shape == REAL.shape


# --- help ----------------------------------------------------------------------------------------


@each_class
def test_help_describes_every_parameter_once(estimator: Any) -> None:
    text = estimator.__doc__
    assert "**shared" not in text
    entries = re.findall(r"^    ([\w, ]+) :", text.partition("Attributes")[0], re.MULTILINE)
    described = [name for entry in entries for name in entry.split(", ")]
    assert sorted(described) == sorted(inspect.signature(estimator).parameters)


def test_a_class_without_docstrings_stays_without() -> None:
    assert documented(None, "text") is None
    assert documented("text", "text") == "text"


# --- wrong parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"activation": "relu6"}, "unknown activation 'relu6'; did you mean 'relu'"),
        (
            {"activation": ("relu", "tanh")},
            "activation must be one value, or one for each of the 1",
        ),
        ({"dropout": (0.1, 0.2)}, "dropout must be one value, or one for each of the 1"),
        ({"normalization": "bach"}, "unknown normalization 'bach'; did you mean 'batch'"),
        ({"hidden_layers": "16"}, "units must be a whole number"),
        ({"epochs": 0}, "epochs must be"),
        ({"shuffle": "no"}, "shuffle must be True or False, got 'no'"),
        ({"warm_start": "no"}, "warm_start must be True or False, got 'no'"),
        ({"table": "no"}, "table must be True or False, got 'no'"),
        ({"early_stopping": 0}, "early_stopping|patience"),
        ({"backend": "abacus"}, "unknown backend 'abacus'"),
        ({"random_state": "a"}, "seed must be"),
        ({"loss": "crossentropy"}, "loss"),
    ],
)
@each_class
def test_a_wrong_parameter_is_named_and_nothing_is_fitted(
    estimator: Any, wrong: dict[str, Any], names: str
) -> None:
    model = estimator(**{"hidden_layers": (16,), "epochs": 1, **wrong})
    with pytest.raises(ValueError, match=names):
        model.fit(X, NAMES if estimator is FastNetClassifier else REAL)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize(
    ("y", "wrong", "message"),
    [
        (DIGIT, {"loss": "binary_cross_entropy"}, "'binary_cross_entropy' is not for 10 classes"),
        (LABELS, {"loss": "cross_entropy"}, "'cross_entropy' is not for several labels"),
        (DIGIT, {"loss": "mse"}, "loss must be 'cross_entropy' or 'binary_cross_entropy'"),
        (DIGIT, {"class_weight": "even"}, "class_weight"),
        (np.stack([DIGIT, DIGIT], 1), {}, "y has several columns of classes"),
        (REAL[:, 0], {}, "Unknown label type"),
    ],
)
def test_what_does_not_suit_classes_is_refused(y: Array, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**wrong).fit(X, y)


def test_what_does_not_suit_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="'cross_entropy' is for classes: use FastNetClassifier"):
        regressor(loss="cross_entropy").fit(X, REAL)
    with pytest.raises(ValueError, match="does not fit the output activation"):
        regressor(loss="poisson", output_activation="relu").fit(X, REAL)


def test_targets_must_stay_of_one_kind() -> None:
    warm = classifier(warm_start=True).fit(X, DIGIT)
    with pytest.raises(ValueError, match="previously unseen labels"):
        warm.fit(X, DIGIT + 1)
    with pytest.raises(ValueError, match="y must be as in the first call, with 10 classes"):
        warm.fit(X, LABELS)
    with pytest.raises(ValueError, match="y must have 2 columns as in the first call, got 1"):
        regressor(warm_start=True).fit(X, REAL).fit(X, REAL[:, 0])


def test_validation_rows_need_targets() -> None:
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        classifier().fit(X, DIGIT, X_val=X)
    with pytest.raises(ValueError, match="X has 3 features, but"):
        classifier().fit(X, DIGIT, X_val=X[:, :3], y_val=DIGIT)


def test_divergence_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(fn.DivergenceError, match="standardize=True"):
        regressor(optimizer="sgd", learning_rate=1e9, activation="identity").fit(X, REAL)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_label_that_is_missing_is_named_by_its_row(missing: Any) -> None:
    x = np.arange(12.0).reshape(6, 2)
    labels = np.array(["a", "b", missing, "a", "b", "a"], object)
    with pytest.raises(fn.InputError, match="y is missing in row 3: leave such rows out"):
        FastNetClassifier((4,), epochs=1).fit(x, labels)
    labels[2] = "b"
    assert FastNetClassifier((4,), epochs=1).fit(x, labels).classes_.tolist() == ["a", "b"]
