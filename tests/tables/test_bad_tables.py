"""Bad tables: refused by one sentence that names the column, in Python, estimators and commands."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet.cli import group
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from tests.tables.test_networks import INPUTS, ROWS, TABLE

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

Table = Any
X = TABLE[INPUTS]
CLASSES, NUMBERS = TABLE[[*INPUTS, "class"]], TABLE[[*INPUTS, "price"]]


def train(table: Table, target: Any, **options: Any) -> fn.Network:
    given = {"preset": None, "epochs": 1, "hidden": (4,), "backend": "numpy"} | options
    return fn.tables.train(table, target, **given)


def command(*arguments: str) -> str:
    """Run a command that has to fail in one line; return the line."""
    result = CliRunner().invoke(group, [*arguments, "--backend", "numpy"], prog_name="fastnet")
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    line: str = result.stderr.strip().splitlines()[-1]
    return line


@pytest.fixture(scope="module")
def networks() -> dict[str, fn.Network]:
    return {"class": train(CLASSES, "class"), "price": train(NUMBERS, "price")}


@pytest.fixture(scope="module")
def estimators() -> dict[str, Any]:
    options: dict[str, Any] = {"epochs": 1, "backend": "numpy", "table": True}
    classifier = FastNetClassifier(**options).fit(X, TABLE["class"])
    return {"class": classifier, "price": FastNetRegressor(**options).fit(X, TABLE["price"])}


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: dict[str, fn.Network]
) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, net in networks.items():
        net.save(f"{name}.safetensors")
    return tmp_path


def with_cell(column: str, value: Any, row: int = 3) -> Table:
    table = TABLE.copy()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table.infer_objects()


# --- at prediction --------------------------------------------------------------------------------

GOOD: dict[str, Callable[[], Table]] = {
    "an unknown category": lambda: TABLE.assign(kind="castle"),
    "another order": lambda: TABLE[TABLE.columns[::-1]],
    "a column without values": lambda: TABLE.assign(size=np.nan),
    "a column more": lambda: TABLE.assign(more="x"),
}
BAD: dict[str, tuple[Callable[[], Table], str]] = {
    "a column less": (lambda: TABLE.drop(columns="kind"), "no column 'kind'"),
    "a text": (lambda: with_cell("size", "abc"), "column 'size' must hold numbers, got 'abc' in "),
    "an infinite number": (
        lambda: with_cell("floor", np.inf),
        "column 'floor' must hold finite numbers, got inf in row 4",
    ),
    "a name twice": (
        lambda: pd.concat([TABLE, TABLE[["size"]]], axis=1),
        "two columns named 'size'",
    ),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("target", ["class", "price"])
def test_what_a_table_may_have_at_prediction_is_predicted(
    make: Callable[[], Table],
    target: str,
    networks: dict[str, fn.Network],
    estimators: dict[str, Any],
    folder: Path,
) -> None:
    table = make()
    outputs = networks[target].predict(table)
    assert np.isfinite(outputs).all()
    assert np.isfinite(networks[target].evaluate(table, target)["loss"])
    assert len(estimators[target].predict(table[[c for c in table if c in INPUTS]])) == ROWS
    table.to_csv("t.csv", index=False)
    arguments = ["predict", f"{target}.safetensors", "t.csv", "--backend", "numpy"]
    assert CliRunner().invoke(group, arguments).exit_code == 0
    assert len(pd.read_csv("predictions.csv")) == ROWS


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_predicted_is_refused_everywhere(
    make: Callable[[], Table],
    message: str,
    networks: dict[str, fn.Network],
    estimators: dict[str, Any],
    folder: Path,
) -> None:
    table, net = make(), networks["class"]
    for act in (net.predict, net.input_gradients, net.jacobian, estimators["class"].predict):
        with pytest.raises(fn.DataError, match=message):
            act(table)
    for act in (net.evaluate, net.calibrate, net.gradients, net.partial_fit, net.fit):
        with pytest.raises(fn.DataError, match=message):
            act(table, "class")
    table.to_csv("t.csv", index=False)
    for name in ("predict", "evaluate", "plot"):
        assert message.removesuffix(" in ") in command(name, "class.safetensors", "t.csv")


def test_a_table_without_rows_or_columns(networks: dict[str, fn.Network], folder: Path) -> None:
    net = networks["class"]
    assert net.predict(TABLE[:0]).shape == (0, 2)
    assert net.jacobian(TABLE[:0]).shape == (0, 2, net.inputs)
    for none in (pd.DataFrame(index=range(5)), pl.DataFrame(), {}):
        with pytest.raises(fn.DataError, match="the table has no columns"):
            net.predict(none)
    TABLE[:0].to_csv("t.csv", index=False)
    for name in ("predict", "evaluate"):
        assert "no rows" in command(name, "class.safetensors", "t.csv")


def test_a_target_that_is_not_there_is_named(networks: dict[str, fn.Network], folder: Path) -> None:
    with pytest.raises(fn.DataError, match="no column 'class'"):
        networks["class"].evaluate(X, "class")
    X.to_csv("t.csv", index=False)
    for target in ("class", "price"):
        said = command("evaluate", f"{target}.safetensors", "t.csv")
        assert f"t.csv has no column '{target}' to compare with" in said
        assert "no column to compare with" in command("plot", f"{target}.safetensors", "t.csv")
    wrong = command("evaluate", "class.safetensors", "t.csv", "--target", "knid")
    assert "no column 'knid'; did you mean 'kind'" in wrong


# --- in training ----------------------------------------------------------------------------------

UNLEARNABLE: dict[str, tuple[Callable[[], Table], str, str]] = {
    "one class": (
        lambda: CLASSES.assign(**{"class": "a"}),
        "class",
        "'class' has one class only, 'a'",
    ),
    "an infinite number": (
        lambda: with_cell("floor", np.inf)[NUMBERS.columns],
        "price",
        "column 'floor' must hold finite numbers, got inf in row 4",
    ),
    "an infinite target": (
        lambda: with_cell("price", np.inf)[NUMBERS.columns],
        "price",
        "row 4, column 'price': inf is not a finite number",
    ),
    "a missing target": (
        lambda: with_cell("price", np.nan)[NUMBERS.columns],
        "price",
        "the target 'price' is missing in row 4",
    ),
    "a missing class": (
        lambda: with_cell("class", None)[CLASSES.columns],
        "class",
        "the target 'class' is missing in row 4",
    ),
    "nothing but a target": (lambda: TABLE[["class"]], "class", "beside the target"),
    "no value": (
        lambda: TABLE[["size", "class"]].assign(size=np.nan),
        "class",
        "no column with a value beside",
    ),
    "no rows": (lambda: CLASSES[:0], "class", "no rows"),
    "a name twice": (
        lambda: pd.concat([CLASSES, X[["size"]]], axis=1),
        "class",
        "two columns named 'size'",
    ),
    "no such target": (lambda: CLASSES, "clas", "no column 'clas'; did you mean 'class'"),
}


@pytest.mark.parametrize(
    ("make", "target", "message"), UNLEARNABLE.values(), ids=UNLEARNABLE.keys()
)
def test_what_cannot_be_learned_is_refused_by_name(
    make: Callable[[], Table], target: str, message: str, folder: Path
) -> None:
    table = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fn.FastNetWarning)
        with pytest.raises(fn.DataError, match=message):
            train(table, target)
        table.to_csv("t.csv", index=False)
        options = ("--target", target, "--epochs", "1", "--quiet")
        for kind in ((), ("--preset", "tabular")):
            said = command("train", "t.csv", *options, *kind)
            assert message in said, said


@pytest.mark.parametrize("make", [pd.DataFrame, pd.DataFrame.convert_dtypes, pl.from_pandas,
                                  pa.Table.from_pandas])  # fmt: skip
@pytest.mark.parametrize("target", ["class", "price"])
def test_nulls_in_the_target_of_every_kind_of_frame(
    make: Any, target: str, networks: dict[str, fn.Network]
) -> None:
    table = make(with_cell(target, None)[[*INPUTS, target]])
    with pytest.raises(fn.DataError, match=f"the target '{target}' is missing in row 4"):
        train(table, target)
    with pytest.raises(fn.DataError, match="is missing in row 4"):
        train(make(X), table[target])
    with pytest.raises(fn.DataError, match=f"the target '{target}' is missing in row 4"):
        networks[target].evaluate(table, target)
    made = FastNetClassifier if target == "class" else FastNetRegressor
    for options in ({"table": True}, {"preset": "tabular"}):
        with pytest.raises(ValueError, match="y is missing in row 4|y contains NaN"):
            made(epochs=1, backend="numpy", **options).fit(make(X), table[target])


@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_answers_of_another_length_are_refused(make: Any, networks: dict[str, fn.Network]) -> None:
    for target, net in networks.items():
        with pytest.raises(fn.InputError, match="as many rows as x, 240, got 10"):
            train(make(X), TABLE[target][:10])
        for act in (net.evaluate, net.fit, net.partial_fit):
            with pytest.raises(fn.InputError, match="as many rows as x, 240, got 10"):
                act(make(X), TABLE[target][:10])
    with pytest.raises(fn.InputError, match=r"shape \(240,\), got \(3,\)"):
        train(make(CLASSES), "class", sample_weight=np.ones(3))
    with pytest.raises(ValueError, match=r"\[240, 10\]"):
        FastNetClassifier(epochs=1).fit(make(X), TABLE["class"][:10])


@pytest.mark.parametrize("bad", [{"size": np.inf}, {"floor": "x"}])
def test_estimators_name_the_column_in_training(bad: dict[str, Any]) -> None:
    model = FastNetRegressor(epochs=1, backend="numpy", table=True).fit(X, TABLE["price"])
    with pytest.raises(ValueError, match=f"column '{next(iter(bad))}' must hold"):
        model.score(X.assign(**bad), TABLE["price"])
    with pytest.raises(ValueError, match="column 'size' must hold finite"):
        model.fit(X.assign(size=np.inf), TABLE["price"])


def test_a_stream_begins_with_rows_that_show_what_the_columns_are() -> None:
    net = fn.Network([4, 4, 1], backend="numpy")
    with pytest.raises(fn.InputError, match="no preprocessor yet, and the table has texts"):
        net.partial_fit(X, TABLE["price"])
    assert net.optimizer_state is None
    numbers = TABLE[["floor", "price", "floor", "price"]].set_axis(list("abcd"), axis=1)
    assert np.isfinite(net.partial_fit(numbers / 1e4, TABLE["floor"]))  # plain numbers are rows
