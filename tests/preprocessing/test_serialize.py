"""Preprocessors come back from what a model file holds of them; a hostile file is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.preprocessing import serialize
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.scaler import Scaler
from fastnet.tables import TableColumn, TablePreprocessor, TableTarget
from tests.preprocessing.test_table import COLUMNS

Stored = tuple[dict[str, Any], dict[str, NDArray[Any]]]


def read(stored: Stored, schema: Any = None, inputs: int = 2) -> Preprocessor:
    """Return what is read of JSON text and tensors."""
    if schema is not None:
        return serialize.read_version_1(None, schema, stored[1], inputs)
    return serialize.read(json.loads(json.dumps(stored[0])), stored[1], inputs)


def assert_same(one: Stored, other: Stored) -> None:
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name, values in one[1].items():
        assert values.dtype == other[1][name].dtype
        assert np.array_equal(values, other[1][name]), name


# --- there and back -------------------------------------------------------------------------------

PRICE = TableTarget.plain(("price",))
EXAMPLES: dict[str, Any] = {
    "plain": TablePreprocessor.fit(COLUMNS),
    "classes": TablePreprocessor.fit(COLUMNS, ["x", "y"] * 3),
    "numbers": TablePreprocessor.fit(COLUMNS, [1.5, 2, 3, 4, 5, 6]),
    "column": TablePreprocessor.fit(COLUMNS, "new"),
    "periodic": TablePreprocessor.fit(COLUMNS, numeric_embedding="periodic"),
    "piecewise": TablePreprocessor.fit(COLUMNS, numeric_embedding="piecewise"),
    "standard": TablePreprocessor.fit(COLUMNS, scaling="standard"),
    "not scaled": TablePreprocessor.fit(COLUMNS, scaling="none"),
    "unnamed": TablePreprocessor.fit(np.eye(3)),
    "passthrough": Passthrough(3),
    "passthrough with target": Passthrough(3, PRICE),
    "scaler": Scaler(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.0])),
    "scaler with target": Scaler(np.ones(3), np.ones(3), TableTarget.plain((), ("a", "ä"))),
}


@pytest.mark.parametrize("made", EXAMPLES.values(), ids=EXAMPLES)
def test_a_preprocessor_comes_back(made: Any) -> None:
    back = read(serialize.write(made), inputs=made.inputs)
    assert type(back) is type(made)
    assert_same(serialize.write(back), serialize.write(made))
    named = isinstance(made, TablePreprocessor) and made.named
    table: Any = COLUMNS if named else np.arange(9.0).reshape(3, 3)
    dtype = np.dtype(np.float32)
    assert np.array_equal(back.transform(table, dtype), made.transform(table, dtype))


names = st.text(min_size=1, max_size=8)


@st.composite
def tables(draw: st.DrawFn) -> TablePreprocessor:
    columns = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    made = []
    for name in columns:
        categories = tuple(draw(st.lists(names, max_size=4, unique=True)))
        one_hot = True if len(categories) == 2 and draw(st.booleans()) else None
        indicator = not categories and draw(st.booleans())
        kind: Any = "categorical" if categories else "numeric"
        made.append(TableColumn(name, kind, categories, indicator, one_hot))
    others = names.filter(lambda name: name not in columns)
    targets = tuple(draw(st.lists(others, max_size=2, unique=True)))
    labels = None
    if len(targets) < 2:
        labels = draw(st.none() | st.lists(names, min_size=1, max_size=4, unique=True).map(tuple))
    target = TableTarget.plain(targets, labels, len(targets) or 1)
    levels = sum(column.levels for column in made)
    center = np.array(draw(st.lists(st.floats(-9, 9), min_size=levels, max_size=levels)))
    scaling: Any = draw(st.sampled_from(["robust", "standard", "none", "float32"]))
    named, factor = draw(st.booleans()), np.full(levels, 0.25)
    scale = tuple(made), center, factor
    return TablePreprocessor(*scale, named=named, target=target, scaling=scaling)


@given(tables())
def test_every_table_comes_back(made: TablePreprocessor) -> None:
    assert_same(serialize.write(read(serialize.write(made))), serialize.write(made))


# --- hostile tables -------------------------------------------------------------------------------


def forged(change: Callable[..., Any], example: str = "classes") -> Stored:
    """Return what is stored of an example, changed."""
    content, tensors = serialize.write(EXAMPLES[example])
    made = copy.deepcopy(content), {name: values.copy() for name, values in tensors.items()}
    change(*made)
    return made


FORGED: dict[str, tuple[Any, str]] = {
    "unknown key": (lambda d, a: d.update(more=1), "exactly"),
    "missing key": (lambda d, a: d.pop("named"), "exactly"),
    "columns no list": (lambda d, a: d.update(columns=3), "a list"),
    "no columns": (lambda d, a: d.update(columns=[]), "a list of columns"),
    "too many columns": (lambda d, a: d.update(columns=[{}] * 100_001), "a list of columns"),
    "column no dict": (lambda d, a: d["columns"].__setitem__(0, 3), "a column"),
    "column's key": (lambda d, a: d["columns"][0].update(dtype="O"), "a column"),
    "column's kind": (lambda d, a: d["columns"][0].update(kind="text"), "unknown kind 'text'"),
    "column's kind no text": (lambda d, a: d["columns"][0].update(kind=["numeric"]), "a text"),
    "column's name": (lambda d, a: d["columns"][0].update(name=3), "a text"),
    "column without a name": (lambda d, a: d["columns"][0].update(name=""), "has no name"),
    "two of a name": (lambda d, a: d["columns"][0].update(name="kind"), "two columns named"),
    "indicator": (lambda d, a: d["columns"][0].update(indicator=1), "true or false"),
    "indicator of texts": (lambda d, a: d["columns"][2].update(indicator=True), "is for numbers"),
    "categories": (lambda d, a: d["columns"][2].update(categories=[1]), "a list of texts"),
    "categories a text": (lambda d, a: d["columns"][2].update(categories="abc"), "a list of texts"),
    "no categories": (lambda d, a: d["columns"][2].update(categories=[]), "exactly"),
    "same category": (lambda d, a: d["columns"][2].update(categories=["a"] * 3), "twice"),
    "categories of a number": (lambda d, a: d["columns"][0].update(categories=["a"]), "exactly"),
    "more categories": (lambda d, a: d["columns"][2]["categories"].append("z"), "the scales of"),
    "one-hot numbers": (lambda d, a: d["columns"][0].update(one_hot=True), "only categories"),
    "three in one input": (lambda d, a: d["columns"][2].update(one_hot=False), "two categories"),
    "named": (lambda d, a: d.update(named=1), "true or false"),
    "scaling": (lambda d, a: d.update(scaling="os.system"), "unknown scaling"),
    "scaling no text": (lambda d, a: d.update(scaling=["none"]), "a text"),
    "embedding": (lambda d, a: d.update(embedding="os.system"), "unknown numeric embedding"),
    "embedding no text": (lambda d, a: d.update(embedding=[]), "a text"),
    "embedding without knots": (lambda d, a: d.update(embedding="periodic"), "knots"),
    "labels": (lambda d, a: d["target"].update(labels=["x", "x"]), "all different"),
    "labels and scale": (lambda d, a: d["target"].update(labels=None), "a scale of exactly"),
    "target's name": (lambda d, a: d["target"].update(names=["kind"]), "an input and a target"),
    "id of a column": (lambda d, a: d.update(id="kind"), "'kind' is the id or the weight too"),
    "weight twice": (lambda d, a: d.update(id="u", weight="u"), "'u' is the id or the weight too"),
    "weight no text": (lambda d, a: d.update(weight=3), "the weight"),
    "target no dict": (lambda d, a: d.update(target=3), "exactly"),
    "target's names twice": (lambda d, a: d["target"].update(names=["u", "u"]), "twice"),
    "array missing": (lambda d, a: a.pop("table.factor"), "expected center, factor"),
    "array too many": (lambda d, a: a.update({"table.more": np.zeros(1)}), "expected center"),
    "array of a scaler": (lambda d, a: a.update({"scaler.mean": np.zeros(1)}), "numbers alone"),
    "array's dtype": (
        lambda d, a: a.update({"table.center": a["table.center"].astype("f4")}),
        "in float64",
    ),
    "array's shape": (
        lambda d, a: a.update({"table.center": a["table.center"][:-1]}),
        "the scales of",
    ),
    "array's axes": (lambda d, a: a.update({"table.knots": np.zeros(3)}), "the knots of"),
    "nan": (lambda d, a: a["table.center"].fill(np.nan), "finite"),
    "negative": (lambda d, a: a["table.factor"].fill(-1), "at least 0"),
}


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_what_is_not_a_table_is_refused(change: Any, message: str) -> None:
    with pytest.raises(fn.FastNetError, match=message) as caught:
        read(forged(change))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_bins_must_rise_and_only_robust_factors_may_be_0() -> None:
    def turn(content: Any, tensors: Any) -> None:
        tensors["table.knots"] = tensors["table.knots"][:, ::-1].copy()

    with pytest.raises(fn.DataError, match="rising order"):
        read(forged(turn, "piecewise"))
    read(forged(lambda d, a: a["table.factor"].fill(0)))
    with pytest.raises(fn.DataError, match="at least 0"):
        read(forged(lambda d, a: a["table.factor"].fill(0), "standard"))


@pytest.mark.parametrize("example", ["classes", "piecewise", "standard"])
def test_what_was_not_changed_is_not_refused(example: str) -> None:
    read(forged(lambda d, a: None, example))


def test_too_many_inputs_after_one_hot_encoding_are_refused() -> None:
    many = tuple(str(i) for i in range(60_000))
    columns = tuple(TableColumn(name, "categorical", many) for name in "ab")
    with pytest.raises(fn.DataError, match="120,000 inputs"):
        TablePreprocessor(columns, np.zeros(120_000), np.ones(120_000))


HOSTILE_ARRAYS: dict[str, tuple[str, Any, str]] = {
    "unknown key": ("passthrough", lambda d, a: d.update(more=1), "exactly"),
    "scale without mean": ("scaler", lambda d, a: a.pop("scaler.mean"), "mean and scale"),
    "zero scale": ("scaler", lambda d, a: a["scaler.scale"].fill(0), "positive finite scales"),
    "scaler in float32": (
        "scaler",
        lambda d, a: a.update({"scaler.mean": np.ones(3, np.float32)}),
        "in float64",
    ),
    "target without scale": (
        "passthrough with target",
        lambda d, a: a.pop("target.target_scale"),
        "center and scale of exactly",
    ),
    "scale without target": ("passthrough with target", lambda d, a: d.clear(), "is described"),
    "target's numbers more": (
        "passthrough with target",
        lambda d, a: a.update({"target.more": np.zeros(1)}),
        "center and scale of exactly",
    ),
    "scaler's numbers more": (
        "scaler",
        lambda d, a: a.update({"scaler.more": np.zeros(1)}),
        "mean and scale",
    ),
    "numbers of a table": (
        "scaler",
        lambda d, a: a.update({"table.center": np.zeros(1)}),
        "numbers alone",
    ),
    "target no dict": ("scaler with target", lambda d, a: d.update(target=["y"]), "the target"),
    "target is nothing": ("scaler with target", lambda d, a: d.update(target=None), "the target"),
    "target's key": (
        "scaler with target",
        lambda d, a: d["target"].update(more=1),
        "labels, names",
    ),
    "target's names": (
        "scaler with target",
        lambda d, a: d["target"].update(names=[1]),
        "a list of texts",
    ),
    "labels of a number": (
        "passthrough with target",
        lambda d, a: d["target"].update(labels=["a", "b"]),
        "a scale of exactly",
    ),
    "a scale of 0": (
        "passthrough with target",
        lambda d, a: a["target.target_scale"].fill(0),
        "positive scales",
    ),
    "target's labels": (
        "scaler with target",
        lambda d, a: d["target"].update(labels=["a", "a"]),
        "all different",
    ),
}


@pytest.mark.parametrize(
    ("example", "change", "message"), HOSTILE_ARRAYS.values(), ids=HOSTILE_ARRAYS
)
def test_what_is_not_of_an_array_is_refused(example: str, change: Any, message: str) -> None:
    read(forged(lambda d, a: None, example), inputs=3)
    with pytest.raises(fn.FastNetError, match=message):
        read(forged(change, example), inputs=3)


# --- what version 0.1 wrote -----------------------------------------------------------------------

SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "age", "kind": "numeric"},
        {"name": "color", "kind": "categorical", "categories": ["blue", "red"]},
    ],
    "targets": ["kind"],
    "labels": ["cat", "dog"],
    "named": True,
}


def of_schema(**changes: Any) -> Preprocessor:
    return read(({}, {}), SCHEMA | changes, inputs=3)


def test_a_schema_becomes_a_table_of_one_hot_inputs_in_float32() -> None:
    made = of_schema()
    assert isinstance(made, TablePreprocessor)
    assert made.feature_names == ("age", "color=blue", "color=red")
    assert (made.label_names, made.scaling) == (("cat", "dog"), "float32")
    x = made.transform({"color": ["red", "green", " blue"], "age": [0.1, 2, 3]})
    assert x.tolist() == [[np.float32(0.1), 0, 1], [2, 0, 0], [3, 1, 0]]


def test_columns_without_names_were_written_as_their_number() -> None:
    schema = {"columns": 3, "targets": ["x3"], "labels": None, "named": False}
    table = read(({}, {}), schema, inputs=3)
    assert isinstance(table, TablePreprocessor) and not table.named
    array = read(({}, {}), schema | {"targets": ["label"]}, inputs=3)
    assert isinstance(array, Passthrough)


HOSTILE: tuple[dict[str, Any], ...] = (
    {"more": 1},
    {"named": 1},
    {"named": None},
    {"columns": []},
    {"columns": None},
    {"columns": 3},
    *({"columns": count, "named": False} for count in (True, 0, -1, 10**12, 1e3)),
    {"columns": [{}] * 100_001},
    {"columns": {"a": 1}},
    {"columns": [[]]},
    {"columns": [{"name": "a"}]},
    {"columns": [{"name": 1, "kind": "numeric"}] * 3},
    {"columns": [{"name": "a", "kind": "numeric"}] * 3},
    {"columns": [{"name": "a", "kind": "categorical", "categories": ["b", "b", "c"]}]},
    {"columns": [{"name": "a", "kind": "numeric"}]},
    {"columns": [{"name": k, "kind": "numeric", "indicator": False} for k in "abc"]},
    {"columns": [*({"name": k, "kind": "numeric"} for k in "abc"), {"name": "d", "kind": "empty"}]},
    {"targets": None},
    {"targets": "y"},
    {"targets": ["age"]},
    {"targets": ["y", "y"], "labels": None},
    {"targets": ["y", "z"]},
    {"targets": []},
    {"labels": []},
    {"labels": ["0", "0"]},
    {"labels": [0, 1]},
    {"labels": {"0": 1}},
)


@pytest.mark.parametrize("changes", HOSTILE, ids=lambda changes: str(changes)[:40])
def test_a_hostile_schema_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    with pytest.raises(fn.DataError) as caught:
        of_schema(**changes)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("schema", [[], "schema", {}, 1])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(fn.DataError, match="the schema"):
        read(({}, {}), schema)


@pytest.mark.parametrize(
    ("content", "tensors"),
    [({}, {}), (None, {"scaler.mean": np.zeros(3)}), (None, {"table.center": np.zeros(3)})],
)
def test_a_schema_stands_alone_or_with_a_scaler(content: Any, tensors: Any) -> None:
    with pytest.raises(fn.DataError, match="mean and scale|without a preprocessor"):
        serialize.read_version_1(content, SCHEMA, tensors, 3)
    scale = {"scaler.mean": np.zeros(3), "scaler.scale": np.ones(3)}
    assert serialize.read_version_1(None, SCHEMA, scale, 3).inputs == 3
