"""All preprocessors keep one protocol; a table's scalings are those of plain formulas."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn.losses import MSE
from fastnet.preprocessing import serialize
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from tests.closeness import assert_close

Array = NDArray[Any]

RNG = np.random.default_rng(0)
ROWS = 40
X = RNG.normal(5.0, 3.0, (ROWS, 3))
Y = RNG.normal(-40.0, 7.0, (ROWS, 2))
LABELS = np.array(["no", "yes", "so so"])[RNG.integers(0, 3, ROWS)]
GAP = RNG.random(ROWS) < 0.2
KIND = np.array(["flat", "house", "hut"], object)[RNG.integers(0, 3, ROWS)]
KIND[3] = None
NEW = np.array(["no", "yes"], object)[RNG.integers(0, 2, ROWS)]
NEW[5] = None
TABLE: dict[str, Array] = {
    "size": X[:, 0],
    "gaps": np.where(GAP, np.nan, X[:, 1]),
    "same": np.full(ROWS, 4.0),
    "kind": KIND,
    "new": NEW,
}

PREPROCESSORS: dict[str, tuple[Preprocessor, Any, Any]] = {
    "passthrough": (Passthrough(3), X, Y),
    "passthrough of classes": (Passthrough(3, TableTarget.learn(LABELS)), X, LABELS),
    "scaler": (Scaler.fit(X), X, Y),
    "scaler of classes": (Scaler.fit(X, TableTarget.learn(LABELS)), X, LABELS),
    "robust": (TablePreprocessor.fit(TABLE, Y, scaling="robust"), TABLE, Y),
    "standard": (TablePreprocessor.fit(TABLE, Y, scaling="standard"), TABLE, Y),
    "none": (TablePreprocessor.fit(TABLE, Y, scaling="none"), TABLE, Y),
    "table of classes": (TablePreprocessor.fit(TABLE, LABELS), TABLE, LABELS),
    "table of columns": (TablePreprocessor.fit(X, Y), X, Y),
    "embedded": (TablePreprocessor.fit(TABLE, Y, numeric_embedding="piecewise"), TABLE, Y),
}
each_preprocessor = pytest.mark.parametrize(
    ("made", "x", "y"), PREPROCESSORS.values(), ids=PREPROCESSORS
)
each_dtype = pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("f8")], ids=str)


def row_of(x: Any, index: int) -> Any:
    return {k: v[index] for k, v in x.items()} if isinstance(x, dict) else x[index]


@pytest.mark.parametrize("kind", [Passthrough, Scaler, TablePreprocessor])
def test_a_preprocessor_has_the_members_and_parameters_of_the_protocol(kind: type) -> None:
    wanted = [name for name in vars(Preprocessor) if not name.startswith("_")]
    assert "transform" in wanted
    for name in wanted:
        declared = getattr(Preprocessor, name)
        if inspect.isfunction(declared):
            parameters = list(inspect.signature(declared).parameters)[1:]
            has = list(inspect.signature(getattr(kind, name)).parameters)[1:]
            rename = {"table": "x"}  # what a table calls its rows
            assert [rename.get(each, each) for each in has] == parameters, name
        else:
            assert hasattr(kind, name) or name in inspect.signature(kind).parameters


@each_dtype
@each_preprocessor
def test_rows_become_the_same_inputs_by_every_way(
    made: Preprocessor, x: Any, y: Any, dtype: np.dtype[Any]
) -> None:
    inputs = made.transform(x, dtype)
    assert (inputs.shape, inputs.dtype) == ((ROWS, made.inputs), dtype)
    assert inputs.flags.c_contiguous
    assert np.isfinite(inputs).all()
    encoded, targets = made.encode(x, y, dtype)
    assert np.array_equal(encoded, inputs)
    assert len(targets) == ROWS
    for index in (0, 3, 5, ROWS - 1):
        row = made.transform_row(row_of(x, index), dtype)
        assert np.array_equal(row, inputs[index])
    assert not np.array_equal(inputs[0], inputs[1])


@each_preprocessor
def test_decoding_brings_back_what_encoding_took(made: Preprocessor, x: Any, y: Any) -> None:
    _, targets = made.encode(x, y, np.dtype("f8"))
    back = made.decode(targets, MSE())
    if y is LABELS:
        assert made.target is not None and made.target.labels is not None
        assert [made.target.labels[k] for k in back] == LABELS.tolist()
    else:
        assert_close(back, Y, terms=4, scale=100.0)
    scaled = isinstance(made, TablePreprocessor) and y is Y
    assert scaled != np.array_equal(targets, back)


@each_preprocessor
def test_a_scale_of_inputs_is_that_of_differences(made: Preprocessor, x: Any, y: Any) -> None:
    scale = made.input_scale()
    assert (scale is not None) == isinstance(made, Scaler)
    if scale is not None:
        z = made.transform(X, np.dtype("f8"))
        assert_close(z[1] - z[0], (X[1] - X[0]) / scale, terms=4, scale=10.0)


@each_dtype
@each_preprocessor
def test_a_model_file_restores_it(
    made: Preprocessor, x: Any, y: Any, dtype: np.dtype[Any], tmp_path: Path
) -> None:
    outputs = 3 if y is LABELS else 2
    net = fn.Network([made.inputs, outputs], dtype=dtype, backend="numpy")
    net.preprocessor = made
    net.save(tmp_path / "m")
    back = fn.load(tmp_path / "m", backend="numpy").preprocessor
    assert type(back) is type(made)
    assert back.inputs == made.inputs
    (content, arrays), (content_back, arrays_back) = made.description(), back.description()
    assert json.loads(json.dumps(content)) == content_back
    assert arrays.keys() == arrays_back.keys()
    assert all(np.array_equal(arrays[name], arrays_back[name]) for name in arrays)
    for one, other in zip(made.encode(x, y, dtype), back.encode(x, y, dtype), strict=True):
        assert np.array_equal(one, other)
    values = RNG.normal(size=(4, outputs))
    assert np.array_equal(made.decode(values, MSE()), back.decode(values, MSE()))


def test_descriptions_of_different_preprocessors_differ() -> None:
    texts = [
        json.dumps([content, {name: values.tolist() for name, values in arrays.items()}])
        for content, arrays in (serialize.write(made) for made, _, _ in PREPROCESSORS.values())
    ]
    assert len(set(texts)) == len(texts)


# --- the scalings of a table, in plain NumPy ------------------------------------------------------

FORMULAS = {
    "standard": lambda v: (v.mean(axis=0), np.where(v.std(axis=0) > 0, v.std(axis=0), 1.0)),
    "none": lambda v: (np.zeros(v.shape[1]), np.ones(v.shape[1])),
}


def raw(table: dict[str, Array]) -> list[Array]:
    """Return the inputs of each column before they are scaled, NaN where a number is missing."""
    return [
        table["size"][:, None],
        table["gaps"][:, None],
        np.isnan(table["gaps"])[:, None].astype(float),
        table["same"][:, None],
        np.stack([table["kind"] == word for word in ("flat", "house", "hut")], 1).astype(float),
        np.where(table["new"] == None, np.nan, table["new"] == "yes")[:, None].astype(float),  # noqa: E711
        (table["new"] == None)[:, None].astype(float),  # noqa: E711
    ]


def by_hand(table: dict[str, Array], scaling: str) -> Array:
    """Return a table's inputs; the scale is that of `TABLE`."""
    parts = []
    for values, learned in zip(raw(table), raw(TABLE), strict=True):
        known = learned[~np.isnan(learned).any(axis=1)]
        center, scale = FORMULAS[scaling](known)
        z = (values - center) / scale
        parts.append(np.where(np.isnan(z), 0.0, z))
    return np.hstack(parts)


@each_dtype
@pytest.mark.parametrize("scaling", FORMULAS)
def test_a_scaling_is_its_formula(scaling: Any, dtype: np.dtype[Any]) -> None:
    made = TablePreprocessor.fit(TABLE, scaling=scaling)
    other = {
        "size": np.array([1e3, -2.5, 0.0]),
        "gaps": np.array([np.nan, 7.0, -7.0]),
        "same": np.array([4.0, 5.0, 4.0]),
        "kind": np.array(["hut", "castle", None], object),
        "new": np.array([None, "yes", "no"], object),
    }
    for table in (TABLE, other):
        expected = by_hand(table, scaling)
        actual = made.transform(table, dtype)
        assert actual.shape == expected.shape
        for k, values in enumerate(expected.T):
            size = max(1.0, float(np.abs(values).max()))
            assert_close(actual[:, k], values, terms=ROWS, scale=size, what=f"input {k}")
    wrong = by_hand(TABLE, "none" if scaling == "standard" else "standard")
    with pytest.raises(AssertionError):
        assert_close(made.transform(TABLE, dtype), wrong, terms=ROWS, scale=1.0)


def test_rows_that_are_held_back_teach_nothing() -> None:
    kept = np.arange(0, ROWS, 2)
    part = {name: values[kept] for name, values in TABLE.items()}
    made = TablePreprocessor.fit(TABLE, scaling="standard", rows=kept)
    alone = TablePreprocessor.fit(part, scaling="standard")
    assert np.array_equal(made.transform(TABLE), alone.transform(TABLE))
    whole = TablePreprocessor.fit(TABLE, scaling="standard")
    assert not np.array_equal(made.transform(TABLE), whole.transform(TABLE))


def test_what_a_dtype_cannot_hold_after_scaling_is_refused() -> None:
    made = TablePreprocessor.fit({"a": [1.0, 2.0, 3.0]}, scaling="none")
    assert made.transform({"a": [1e300]}, np.dtype("f8"))[0, 0] == 1e300
    with pytest.raises(fn.InputError, match="x after scaling holds inf at row 1, column 0"):
        made.transform({"a": [1.0, 1e300]}, np.dtype("f4"))
