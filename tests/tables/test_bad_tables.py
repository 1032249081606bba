"""Bad tables: one sentence that names the column, whoever is asked: networks, estimators, commands.

What is refused is told in tests/preprocessing/test_table.py, at the door that all go through.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from fastnet.tables import TablePreprocessor
from tests.cli.calling import NUMPY, refused, run
from tests.tables.test_networks import INPUTS, ROWS, TABLE

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

X = TABLE[INPUTS]
CLASSES, NUMBERS = TABLE[[*INPUTS, "class"]], TABLE[[*INPUTS, "price"]]
SHORT: dict[str, Any] = {"epochs": 1, "backend": "numpy"}


def train(table: Any, target: Any, **options: Any) -> fn.Network:
    return fn.tables.train(table, target, **{"preset": None, "hidden": (4,)} | SHORT | options)


@pytest.fixture(scope="module")
def networks() -> dict[str, fn.Network]:
    return {"class": train(CLASSES, "class"), "price": train(NUMBERS, "price")}


@pytest.fixture(scope="module")
def estimators() -> dict[str, Any]:
    classifier = FastNetClassifier(**SHORT, table=True).fit(X, TABLE["class"])
    return {"class": classifier, "price": FastNetRegressor(**SHORT, table=True).fit(X, TABLE.price)}


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: dict[str, fn.Network]
) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, net in networks.items():
        net.save(f"{name}.safetensors")
    return tmp_path


def test_what_is_no_table_is_refused_with_the_way_to_one() -> None:
    with pytest.raises(fn.InputError, match=r"'homes.csv': read a file with fastnet.tables.read_"):
        train("homes.csv", "price")
    with pytest.raises(fn.InputError, match=r"name the column to learn: target='price'"):
        train(NUMBERS, None)


def test_one_hidden_layer_may_be_a_number_and_nothing_else_is_sizes() -> None:
    assert [layer.units for layer in train(NUMBERS, "price", hidden=4).layers[:-1]] == [4]
    for hidden in ("64", 2.5):
        with pytest.raises(fn.InputError, match="hidden must be a list or a tuple|whole number"):
            train(NUMBERS, "price", hidden=hidden)


def with_cell(column: str, value: Any, row: int = 3) -> Any:
    table = TABLE.copy()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table.infer_objects()


# --- at prediction --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["class", "price"])
def test_what_a_table_may_have_at_prediction_is_predicted(
    target: str, networks: dict[str, fn.Network], estimators: dict[str, Any], folder: Path
) -> None:
    """An unknown category, another order, a column without values, and one more."""
    table = TABLE.assign(kind="castle", size=np.nan, more="x")[[*TABLE.columns[::-1], "more"]]
    seen = "'kind' has .* not there in training, such as 'castle' in row 1; known are 'flat', 'h"
    for call in (
        lambda: np.isfinite(networks[target].predict(table)).all(),
        lambda: np.isfinite(networks[target].evaluate(table, target)["loss"]),
        lambda: len(estimators[target].predict(table[INPUTS[::-1]])) == ROWS,
    ):
        with pytest.warns(fn.FastNetWarning, match=seen):
            assert call()
    table.to_csv("t.csv", index=False)
    with warnings.catch_warnings(action="always"):
        said = run("predict", f"{target}.safetensors", "t.csv", *NUMPY).stderr
    assert re.search(f"fastnet: warning: .*{seen}", said)
    assert len(pd.read_csv("predictions.csv")) == ROWS


def test_what_cannot_be_predicted_is_refused_everywhere(
    networks: dict[str, fn.Network], estimators: dict[str, Any], folder: Path
) -> None:
    table, net, message = with_cell("size", "abc"), networks["class"], "'size' must hold numbers"
    model = estimators["class"]
    for act in (net.predict, net.input_gradients, net.jacobian, model.predict):
        with pytest.raises(fn.DataError, match=message):
            act(table)
    for act in (net.evaluate, net.calibrate, net.gradients, net.partial_fit, net.fit):
        with pytest.raises(fn.DataError, match=message):
            act(table, "class")
    with pytest.raises(ValueError, match=message):
        model.score(table[INPUTS], TABLE["class"])
    table.to_csv("t.csv", index=False)
    for name in ("predict", "evaluate", "plot"):
        assert message in refused(name, "class.safetensors", "t.csv", *NUMPY)


def test_a_table_without_rows_or_columns(networks: dict[str, fn.Network], folder: Path) -> None:
    net = networks["class"]
    assert net.predict(TABLE[:0]).shape == (0, 2)
    assert net.jacobian(TABLE[:0]).shape == (0, 2, net.inputs)
    for none in (pd.DataFrame(index=range(5)), pl.DataFrame(), {}):
        with pytest.raises(fn.DataError, match="the table has no columns"):
            net.predict(none)
    TABLE[:0].to_csv("t.csv", index=False)
    for name in ("predict", "evaluate"):
        assert "no rows" in refused(name, "class.safetensors", "t.csv", *NUMPY)


def test_a_target_that_is_not_there_is_named(networks: dict[str, fn.Network], folder: Path) -> None:
    with pytest.raises(fn.DataError, match="no column 'class'"):
        networks["class"].evaluate(X, "class")
    X.to_csv("t.csv", index=False)
    for target in ("class", "price"):
        said = refused("evaluate", f"{target}.safetensors", "t.csv", *NUMPY)
        assert f"t.csv has no column '{target}' to compare with" in said
        assert "no column to compare with" in refused(
            "plot", f"{target}.safetensors", "t.csv", *NUMPY
        )
    wrong = refused("evaluate", "class.safetensors", "t.csv", "--target", "knid", *NUMPY)
    assert "no column 'knid'; did you mean 'kind'" in wrong


# --- in training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "target", "message"),
    [
        (CLASSES.assign(**{"class": "a"}), "class", "'class' has one class only, 'a'"),
        (with_cell("price", np.nan)[NUMBERS.columns], "price", "'price' is missing in row 4"),
        (with_cell("floor", np.inf)[NUMBERS.columns], "price", "got inf in row 4"),
        (TABLE[["class"]], "class", "beside the target"),
        (CLASSES[:0], "class", "no rows"),
        (CLASSES, "clas", "no column 'clas'; did you mean 'class'"),
    ],
    ids=["one class", "a missing target", "infinity", "only a target", "no rows", "no target"],
)
def test_what_cannot_be_learned_is_refused_by_name(
    table: Any, target: str, message: str, folder: Path
) -> None:
    with pytest.raises(fn.DataError, match=message):
        train(table, target)
    table.to_csv("t.csv", index=False)
    for kind in ((), ("--preset", "tabular")):
        given = ("--target", target, "--epochs", "1", "--quiet", *kind)
        assert message in refused("train", "t.csv", *given, *NUMPY)


@pytest.mark.parametrize("make", [pd.DataFrame, pd.DataFrame.convert_dtypes, pl.from_pandas,
                                  pa.Table.from_pandas])  # fmt: skip
@pytest.mark.parametrize("target", ["class", "price"])
def test_nulls_in_the_target_of_every_kind_of_frame(make: Any, target: str) -> None:
    table = make(with_cell(target, None)[[*INPUTS, target]])
    with pytest.raises(fn.DataError, match=f"the target '{target}' is missing in row 4"):
        TablePreprocessor.fit(table, target)
    with pytest.raises(fn.DataError, match="is missing in row 4"):
        TablePreprocessor.fit(make(X), table[target])
    made = FastNetClassifier if target == "class" else FastNetRegressor
    with pytest.raises(ValueError, match="y is missing in row 4|y contains NaN"):
        made(**SHORT, table=True).fit(make(X), table[target])


def test_answers_of_another_length_are_refused(networks: dict[str, fn.Network]) -> None:
    for target, net in networks.items():
        few = TABLE[target][:10]
        for act in (train, net.evaluate, net.fit, net.partial_fit):
            with pytest.raises(fn.InputError, match="as many rows as x, 240, got 10"):
                act(X, few)
    with pytest.raises(fn.InputError, match=r"shape \(240,\), got \(3,\)"):
        train(CLASSES, "class", sample_weight=np.ones(3))
    with pytest.raises(ValueError, match=r"\[240, 10\]"):
        FastNetClassifier(**SHORT).fit(X, TABLE["class"][:10])


def test_an_estimator_names_the_column_in_training() -> None:
    with pytest.raises(ValueError, match="column 'size' must hold finite"):
        FastNetRegressor(**SHORT, table=True).fit(X.assign(size=np.inf), TABLE["price"])


def test_a_stream_begins_with_rows_that_show_what_the_columns_are() -> None:
    net = fn.Network([4, 4, 1], backend="numpy")
    with pytest.raises(fn.InputError, match="no preprocessor yet, and the table has texts"):
        net.partial_fit(X, TABLE["price"])
    assert net.optimizer_state is None
    numbers = TABLE[["floor", "price", "floor", "price"]].set_axis(list("abcd"), axis=1)
    assert np.isfinite(net.partial_fit(numbers / 1e4, TABLE["floor"]))  # plain numbers are rows


@pytest.mark.parametrize(
    "wrong", [{"a": [1.0, 2.0], "y": [1.0, 2.0]}, [[1.0], [2.0], [3.0], [4.0]]]
)
def test_validation_data_that_are_no_pair_are_answered_in_a_sentence(wrong: Any) -> None:
    table = {"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}
    with pytest.raises(fn.InputError, match=r"validation_data must be \(x, y\)"):
        fn.tables.train(table, "y", validation_data=wrong, epochs=1)
