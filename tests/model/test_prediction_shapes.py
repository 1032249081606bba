"""Predictions have the shape of the targets that a network was trained on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import from_sklearn
from fastnet.serialization import safetensors_file
from fastnet.sklearn import FastNetRegressor, MLPClassifier, MLPRegressor
from tests.export.formats import python_module
from tests.on_backends import each_backend

Array = NDArray[Any]

X = np.random.default_rng(0).standard_normal((12, 2))
Y = X[:, 0] - X[:, 1]
TABLE = {"a": X[:, 0], "b": X[:, 1], "y": Y, "z": -Y}


def network(outputs: int = 1, output: str = "identity", **options: Any) -> fn.Network:
    how = {"output_activation": output, "backend": "numpy", **options}
    return fn.Network([2, 3, outputs], **how)


def shape_after(y: Any, x: Any = X, *, outputs: int = 1, **options: Any) -> tuple[int, ...]:
    """Return the shape of the predictions for five rows after training on y."""
    net = network(outputs)
    net.fit(x, y, epochs=1, **options)
    shape: tuple[int, ...] = net.predict(x[:5] if isinstance(x, np.ndarray) else X[:5]).shape
    return shape


ONE_AXIS: dict[str, Any] = {
    "an array": Y,
    "a list": Y.tolist(),
    "a tuple": tuple(Y.tolist()),
    "integers": np.arange(12),
    "truths": Y > 0,
    "a Series of pandas": pd.Series(Y),
    "a Series of polars": pl.Series(Y),
    "an array of Arrow": pa.array(Y),
    "chunks of Arrow": pa.chunked_array([Y[:5], Y[5:]]),
}
TWO_AXES: dict[str, Any] = {
    "an array": Y[:, None],
    "lists": Y[:, None].tolist(),
    "arrays in a list": list(Y[:, None]),
    "a frame of pandas": pd.DataFrame({"y": Y}),
    "a frame of polars": pl.DataFrame({"y": Y}),
}


@pytest.mark.parametrize("y", ONE_AXIS.values(), ids=ONE_AXIS)
def test_targets_with_one_axis_give_predictions_with_one(y: Any) -> None:
    assert shape_after(y) == (5,)


@pytest.mark.parametrize("y", TWO_AXES.values(), ids=TWO_AXES)
def test_targets_with_two_axes_give_predictions_with_two(y: Any) -> None:
    assert shape_after(y) == (5, 1)


@pytest.mark.parametrize("one_by_name", [True, False])
def test_the_name_of_a_column_is_one_axis_and_a_list_of_names_are_two(one_by_name: bool) -> None:
    net = network()
    net.fit({k: TABLE[k] for k in "aby"}, "y" if one_by_name else ["y"], epochs=1)
    assert net.predict(TABLE).shape == ((12,) if one_by_name else (12, 1))
    several = network(2)
    several.fit(TABLE, ["y", "z"], epochs=1)
    assert several.predict(TABLE).shape == (12, 2)


@pytest.mark.parametrize("target", ["y", ["y"], Y, Y[:, None]], ids=["name", "names", "1", "2"])
def test_tables_are_answered_with_columns(target: Any) -> None:
    net = fn.tables.train({k: TABLE[k] for k in "aby"}, target, preset=None, epochs=1)
    assert net.predict(TABLE).shape == (12, 1)
    assert net.predict_one({k: TABLE[k][0] for k in "aby"}).shape == (1,)


@each_backend
@pytest.mark.parametrize("rows", [0, 1, 12])
def test_a_difference_from_targets_is_what_it_seems(backend: str, rows: int) -> None:
    net = network(backend=backend)
    assert net.predict(X).shape == (12, 1)  # nothing is known of the targets yet
    net.fit(X, Y, epochs=1)
    assert (net.predict(X[:rows]) - Y[:rows]).shape == (rows,)
    assert net.predict_columns(X[:rows]).shape == (rows, 1)
    assert net.predict_one(X[0]).shape == (1,)
    assert net.forward(X).shape == (12, 1)
    assert net.jacobian(X).shape == (12, 1, 2)
    np.testing.assert_array_equal(net.predict(X), net.predict_columns(X)[:, 0])


def test_classes_and_several_outputs_keep_a_column_for_each() -> None:
    classes = network(3, "softmax")
    classes.fit(X, np.arange(12) % 3, epochs=1)
    assert classes.predict(X).shape == (12, 3)
    two = network(2)
    two.fit(X, np.stack([Y, Y], axis=1), epochs=1)
    assert two.predict(X).shape == (12, 2)


def test_one_probability_has_the_shape_of_its_answers() -> None:
    net = network(1, "sigmoid")
    net.fit(X, Y > 0, epochs=1)
    assert net.predict(X).shape == net.predict_labels(X).shape == (12,)
    named = network(1, "sigmoid")
    named.fit({"a": TABLE["a"], "b": TABLE["b"]}, ["no", "yes"] * 6, epochs=1)
    assert named.predict(TABLE).shape == (12,)
    assert named.label_names == ("no", "yes")


def test_deviations_and_quantiles_have_it_too() -> None:
    for y, shape in ((Y, (12,)), (Y[:, None], (12, 1))):
        normal = network(2)
        normal.fit(X, y, loss="gaussian_nll", epochs=1)
        assert normal.predict(X).shape == (12, 2)
        assert [part.shape for part in normal.predict(X, return_std=True)] == [shape, shape]
        three = network(3)
        three.fit(X, y, loss="quantile", epochs=1)
        assert three.predict(X).shape == (12, 3)
        assert {q.shape for q in three.predict_quantiles(X).values()} == {shape}


@given(calls=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_the_newest_training_decides(calls: list[tuple[bool, bool]]) -> None:
    net = network()
    for partial, one in calls:
        y = Y if one else Y[:, None]
        if partial:
            net.partial_fit(X, y)
        else:
            net.fit(X, y, epochs=1)
        assert net.predict(X).shape == y.shape
    net.evaluate(X, Y), net.gradients(X, Y[:, None])
    assert net.predict(X).shape == y.shape


def test_chunks_have_the_axes_of_their_targets(tmp_path: Path) -> None:
    table = np.column_stack([X, Y])
    np.save(tmp_path / "y.npy", Y)
    for chunks, shape in (
        (fn.data.Chunks(X, Y), (12,)),
        (fn.data.Chunks(X, tmp_path / "y.npy"), (12,)),
        (fn.data.Chunks(table, target=-1), (12,)),
        (fn.data.Chunks(X, Y[:, None]), (12, 1)),
        (fn.data.Chunks(table, target=[-1]), (12, 1)),
    ):
        net = network()
        net.fit(chunks, epochs=1)
        assert net.predict(chunks).shape == net.predict(X).shape == shape


def test_copies_files_and_other_backends_keep_it(tmp_path: Path) -> None:
    for y in (Y, Y[:, None]):
        net = network()
        net.fit(X, y, epochs=1, standardize=True, standardize_targets=True)
        net.save(tmp_path / "net.safetensors")
        loaded = fn.load(tmp_path / "net.safetensors", backend="numpy")
        for other in (net.copy(), pickle.loads(pickle.dumps(net)), loaded):
            assert other.predict(X).shape == y.shape


def test_a_file_that_does_not_say_keeps_two_axes_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "net.safetensors"
    net.fit(X, Y, epochs=1)
    net.save(path)
    description, tensors = safetensors_file.unpack(path, "fastnet", "model", "a test")
    assert description.pop("target_axes") == 1
    path.write_bytes(safetensors_file.pack("fastnet", description, tensors))
    assert fn.load(path, backend="numpy").predict(X).shape == (12, 1)
    for wrong in (0, 3, "1", None, 1.5):
        content = description | {"target_axes": wrong}
        path.write_bytes(safetensors_file.pack("fastnet", content, tensors))
        with pytest.raises(fn.ModelFileError, match="target_axes"):
            fn.load(path)


@pytest.mark.parametrize("y", [Y, Y[:, None]], ids=["one axis", "two axes"])
def test_the_exported_python_file_answers_in_the_same_shape(y: Array) -> None:
    net = network()
    net.fit(X, y, epochs=1)
    module = python_module(net)
    np.testing.assert_allclose(module.predict(X), net.predict(X), rtol=1e-5)
    assert module.predict(X).shape == y.shape
    assert f"returns {'(N,)' if y.ndim == 1 else '(N, 1)'}." in module.__doc__
    answers = network(1, "sigmoid", seed=1)
    answers.fit(X, y > 0, epochs=20, optimizer="lbfgs")
    answers.label_names = ("no", "yes")
    labels = python_module(answers).predict_labels(X)
    assert labels == answers.predict_labels(X).tolist() and set(labels) == {"no", "yes"}
    normal = network(2)
    normal.fit(X, y, loss="gaussian_nll", epochs=1)
    for mine, own in zip(
        python_module(normal).predict_std(X), normal.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_allclose(mine, own, rtol=1e-5)
        assert mine.shape == y.shape


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_and_what_comes_from_them_predict_as_scikit_learn() -> None:
    for model in (
        FastNetRegressor((3,), epochs=1),
        MLPRegressor(hidden_layer_sizes=(3,), max_iter=1),
    ):
        assert model.fit(X, Y).predict(X).shape == (12,)
    fitted = MLPRegressor(hidden_layer_sizes=(3,), max_iter=1, solver="lbfgs").fit(X, Y)
    assert from_sklearn(fitted).predict(X).shape == fitted.predict(X).shape == (12,)
    classifier = MLPClassifier((3,), max_iter=1, solver="lbfgs").fit(X, Y > 0)
    assert from_sklearn(classifier).predict(X).shape == (12,)
