"""Names of classes and targets reach the network; parameters may be NumPy's numbers and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastnet as fn
from fastnet.export import from_sklearn
from fastnet.sklearn import FastNetClassifier, FastNetRegressor, MLPClassifier
from fastnet.sklearn.parameters import FOREIGN

RNG = np.random.default_rng(2)
X = RNG.normal(size=(120, 3))
PLACE = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
SHORT: dict[str, Any] = {"epochs": 2, "random_state": 0, "backend": "numpy"}


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["red", "blue"], ("blue", "red")),
        (["u", "w", "v"], ("u", "v", "w")),
        ([7, -1, 12], ("-1", "7", "12")),
        ([5.0, 2.0], ("2", "5")),
        ([True, False], ("False", "True")),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", ["estimator", "preset", "drop-in"])
def test_a_saved_network_knows_what_its_classes_are_called(
    kind: str, classes: list[Any], names: tuple[str, ...], tmp_path: Path
) -> None:
    y = np.array(classes)[PLACE % len(classes)]
    if kind == "drop-in":
        model = MLPClassifier((4,), max_iter=3, backend="numpy", random_state=0).fit(X, y)
    else:
        options = {"preset": "tabular", "hidden_layers": (8,)} if kind == "preset" else {}
        model = FastNetClassifier(**SHORT, **options).fit(X, y)
    model.network_.save(tmp_path / "m.safetensors")
    loaded = fn.load(tmp_path / "m.safetensors", backend="numpy")
    assert loaded.label_names == names
    if kind == "drop-in":
        assert from_sklearn(model).label_names == names
    assert loaded.predict_labels(X).tolist() == model.predict(X).tolist()


def test_several_labels_have_no_names_of_classes_and_targets_keep_theirs() -> None:
    many = np.stack([PLACE > 0, PLACE > 1], axis=1).astype(int)
    assert FastNetClassifier(**SHORT).fit(X, many).network_.label_names is None
    prices = pd.DataFrame({"rent": X[:, 0], "price": X[:, 1]})
    words = pd.DataFrame({"k": np.array(["u", "v", "w"])[PLACE]})
    for rows in (X, pd.DataFrame(X, columns=list("abc")), words):
        net = FastNetRegressor(**SHORT).fit(rows, prices).network_
        assert net.output_schema.target_names == ["rent", "price"]


NUMBERS: dict[str, tuple[Any, Any]] = {
    "early_stopping": (np.array([False, True]), [False, True]),
    "dropout": (np.array([0, 0.25], np.float32), [0.0, 0.25]),
    "hidden_layers": ([np.array([6, 3]), np.int64(5)], [(6, 3), 5]),
    "activation": ([np.array(["relu", "tanh"])], [("relu", "tanh")]),
    "epochs": (np.array([1, 2]), [1, 2]),
    "batch_size": (np.array([16, 32], np.uint8), [16, 32]),
    "learning_rate": (np.array([0.125, 0.5], np.float32), [0.125, 0.5]),
    "validation_split": (np.array([0.25, 0.5], np.float32), [0.25, 0.5]),
    "shuffle": (np.array([True, False]), [True, False]),
    "standardize": (np.array([True, False]), [True, False]),
    "verbose": (np.array([False]), [False]),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("estimator", [FastNetClassifier, FastNetRegressor])
def test_parameters_may_be_numpys(name: str, estimator: Any) -> None:
    """And they mean what Python's do."""
    for drawn, usual in zip(*NUMBERS[name], strict=True):
        given = {"hidden_layers": (4, 4), **SHORT}
        model, other = (estimator(**given | {name: value}) for value in (drawn, usual))
        assert clone(model).get_params()[name] is not None
        model.fit(X, PLACE), other.fit(X, PLACE)
        assert np.array_equal(model.network_.parameters, other.network_.parameters)


def test_a_search_draws_numpys_numbers() -> None:
    grid = {"dropout": np.linspace(0, 0.5, 2, dtype="f4"), "early_stopping": np.array([True])}
    search = GridSearchCV(FastNetClassifier(**SHORT), grid, cv=2, error_score="raise")
    assert search.fit(X, PLACE).best_params_["early_stopping"]


def test_a_preset_takes_numpys_numbers() -> None:
    options = SHORT | {"preset": "tabular", "hidden_layers": np.array([8]), "epochs": np.int64(1)}
    assert FastNetRegressor(**options).fit(X, PLACE).network_.weights[-1].shape == (8, 1)


@pytest.mark.parametrize("estimator", [FastNetClassifier, FastNetRegressor])
@pytest.mark.parametrize(
    ("name", "right"),
    [("hidden_layer_sizes", "hidden_layers"), ("max_iter", "epochs"), ("alpha", "l2"),
     ("droput", "dropout"), ("learning_rat", "learning_rate")],
)  # fmt: skip
def test_the_names_of_others_are_answered_with_ours(estimator: Any, name: str, right: str) -> None:
    with pytest.raises(TypeError, match=f"no parameter '{name}'; did you mean '{right}'"):
        estimator(**{name: 1})
    with pytest.raises(ValueError, match=f"'{name}'.* did you mean '{right}'"):
        estimator().set_params(**{name: 1})
    with pytest.raises(TypeError, match="no parameter 'zzz'"):
        estimator(zzz=1)
    assert estimator().set_params(epochs=3).epochs == 3


def test_every_name_that_is_suggested_is_a_parameter() -> None:
    for estimator in (FastNetClassifier, FastNetRegressor):
        assert set(FOREIGN.values()) <= set(estimator().get_params())
        assert not set(FOREIGN) & set(estimator().get_params())


def test_networks_take_numpys_numbers_too() -> None:
    def fit(false: Any, true: Any, number: Any, rate: Any, names: Any) -> Any:
        net = fn.Network([3, 4, 2], output_activation="softmax", backend="numpy")
        net.fit(X, PLACE % 2, epochs=number, early_stopping=false, verbose=false, metrics=names,
                optimizer=fn.Adam(rate))  # fmt: skip
        net.fit(X, PLACE % 2, epochs=number, early_stopping=true)
        return net.parameters

    drawn = np.False_, np.True_, np.int8(2), np.array(0.125), np.array(["f1"])
    assert np.array_equal(fit(*drawn), fit(False, True, 2, 0.125, ["f1"]))
