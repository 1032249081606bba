"""What cannot be trained on or made is refused in one clear sentence, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from tests.on_backends import each_backend

Array = NDArray[Any]


RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
LABELS = np.arange(12) % 4
REAL = RNG.standard_normal((12, 2))
ONES = np.ones(12)
NAN, INF = float("nan"), float("inf")


def classifier(backend: str = "numpy", **options: Any) -> fn.Network:
    layers = [fn.Dense(5, "tanh"), fn.Dense(4, "softmax")]
    return fn.Network(layers, inputs=3, backend=backend, **options)


def regressor(**options: Any) -> fn.Network:
    return fn.Network([3, 5, 2], backend="numpy", **options)


def having(place: tuple[int, ...], value: Any, array: Array = X) -> Array:
    """Return a copy of the array with one element changed."""
    changed = array.copy()
    changed[place] = value
    return changed


def complain(call: Callable[[], Any], *parts: str) -> None:
    """Check that a call is refused as it should be."""
    with pytest.raises(fn.FastNetError) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert len(message) < 400
    assert "\n" not in message
    assert message.endswith(".")
    assert [part for part in parts if part not in message] == [], message


def test_the_check_of_complaints_can_fail() -> None:
    def refuse(message: str) -> Callable[[], Any]:
        def call() -> None:
            raise fn.InputError(message)

        return call

    complain(refuse("x must be good."), "x", "good")
    for message in ("y must be good.", "x must be good", "x must be\ngood.", "x" * 500 + "."):
        with pytest.raises(AssertionError):
            complain(refuse(message), "x")
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        complain(lambda: None)


# --- what fit is given ----------------------------------------------------------------------------

BAD_X: dict[str, tuple[Any, tuple[str, ...]]] = {
    "one axis": (X[0], ("x", "two axes", "(3,)", "reshape")),
    "no axis": (1.0, ("x", "two axes", "()")),
    "three axes": (X[None], ("x", "two axes", "(1, 12, 3)")),
    "too narrow": (X[:, :2], ("x", "3 columns", "got 2")),
    "too wide": (np.hstack([X, X]), ("x", "3 columns", "got 6")),
    "no rows": (X[:0], ("x", "empty")),
    "an empty list": ([], ("x", "empty")),
    "ragged": ([[1, 2, 3], [4, 5]], ("x", "rectangular")),
    "text": ([["a", "b", "c"]] * 12, ("x", "numbers", "text")),
    "numbers as text": (X.astype(str), ("x", "numbers", "text")),
    "bytes": (X.astype("S8"), ("x", "numbers", "bytes")),
    "objects": ([[object()] * 3] * 12, ("x", "numbers")),
    "dicts": ([{"a": 1}] * 12, ("x",)),
    "complex": (X + 1j, ("x", "numbers", "complex")),
    "dates": (np.zeros((12, 3), "M8[s]"), ("x", "numbers", "dates")),
    "durations": (np.zeros((12, 3), "m8[s]"), ("x", "numbers")),
    "records": (np.zeros(12, [("a", "f4")]), ("x", "numbers")),
    "nothing": (None, ("x",)),
    "a missing value": (having((4, 1), None, X.astype(object)), ("x", "row 4, column 1")),
    "NaN": (having((5, 2), NAN), ("x", "nan", "row 5, column 2")),
    "infinity": (having((0, 1), INF), ("x", "inf", "row 0, column 1")),
    "minus infinity": (having((11, 0), -INF), ("x", "-inf", "row 11, column 0")),
    "several": (having((3, 1), NAN, having((0, 2), NAN)), ("x", "row 0, column 2", "2 such")),
    "too large for float32": (having((2, 2), 1e300), ("x", "row 2, column 2", "float32")),
    "too large for a float": ([[10**400, 0, 0]] * 12, ("x",)),
    "masked values": (np.ma.masked_less(X, 0), ("x", "masked")),
}


@pytest.mark.parametrize(("x", "parts"), BAD_X.values(), ids=BAD_X)
def test_bad_inputs_are_refused_wherever_they_are_given(x: Any, parts: tuple[str, ...]) -> None:
    net = classifier()
    before = net.parameters.copy()
    complain(lambda: net.fit(x, LABELS), *parts)
    complain(lambda: net.fit(x, LABELS, standardize=True), parts[0])
    held = "validation_data[0]", *parts[1:]
    complain(lambda: net.fit(X, LABELS, validation_data=(x, LABELS)), *held)
    complain(lambda: net.partial_fit(x, LABELS), *parts)
    complain(lambda: net.evaluate(x, LABELS), *parts)
    complain(lambda: net.gradients(x, LABELS), *parts)
    if not (isinstance(x, np.ndarray) and x.shape == (0, 3)):
        complain(lambda: net.predict(x), *parts)
    assert np.array_equal(net.parameters, before)
    assert net.preprocessor.description() == ({}, {})
    assert net.optimizer_state is None


BAD_LABELS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "too few": (LABELS[:5], ("y", "12", "5")),
    "too many": (np.tile(LABELS, 2), ("y", "12", "24")),
    "a number": (1, ("y", "12", "single number")),
    "nothing": (None, ("y",)),
    "negative": (having((3,), -1, LABELS), ("y", "-1", "row 3", "0 to 3")),
    "too large": (having((7,), 4, LABELS), ("y", "4", "row 7", "0 to 3")),
    "fractions": (having((2,), 0.5, LABELS.astype(float)), ("y", "0.5", "row 2")),
    "huge": (np.full(12, 1e300), ("y", "1e+300")),
    "a huge whole number": (np.full(12, 2**63 + 5, np.uint64), ("y", "row 0")),
    "NaN": (having((9,), NAN, LABELS.astype(float)), ("y", "nan", "row 9")),
    "infinity": (having((9,), INF, LABELS.astype(float)), ("y", "inf", "row 9")),
    "text": (LABELS.astype(str), ("y", "numbers", "text")),
    "complex": (LABELS + 0j, ("y", "complex")),
    "ragged": ([[0], [1, 2]] * 6, ("y", "rectangular")),
    "a class short": (np.eye(3)[LABELS % 3], ("y", "4 classes", "(12, 3)")),
    "a class more": (np.eye(5)[LABELS], ("y", "4 classes", "(12, 5)")),
    "three axes": (np.eye(4)[LABELS][:, :, None], ("y", "(12, 4, 1)")),
    "shares that do not add up": (np.eye(4)[LABELS] * 0.9, ("y", "sum to 1", "row 0")),
    "a negative share": (np.tile([1.5, -0.5, 0, 0], (12, 1)), ("y", "row 0, column 0")),
    "NaN among shares": (having((6, 2), NAN, np.eye(4)[LABELS]), ("y", "row 6, column 2")),
    "masked values": (np.ma.masked_equal(LABELS, 2), ("y", "masked")),
}


@pytest.mark.parametrize(("y", "parts"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused_wherever_they_are_given(y: Any, parts: tuple[str, ...]) -> None:
    net = classifier()
    before = net.parameters.copy()
    complain(lambda: net.fit(X, y), *parts)
    held = "validation_data[1]", *parts[1:]
    complain(lambda: net.fit(X, LABELS, validation_data=(X, y)), *held)
    complain(lambda: net.partial_fit(X, y), *parts)
    complain(lambda: net.evaluate(X, y), *parts)
    complain(lambda: net.gradients(X, y), *parts)
    assert np.array_equal(net.parameters, before)


BAD_TARGETS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "one column": ("mse", REAL[:, :1], ("y", "(12, 2)", "(12, 1)", "mse")),
    "one axis": ("mse", REAL[:, 0], ("y", "(12, 2)", "(12,)")),
    "NaN": ("mae", having((1, 1), NAN, REAL), ("y", "row 1, column 1")),
    "too large": ("mse", REAL * 1e300, ("y", "float32")),
    "negative counts": ("poisson", REAL - 9, ("y", "at least 0", "poisson", "row 0, column 0")),
    "not a yes or no": ("binary_cross_entropy", REAL + 3, ("y", "0 to 1", "row 0, column 0")),
    "means and variances": ("gaussian_nll", REAL, ("y", "(12, 1)", "(12, 2)")),
}


@pytest.mark.parametrize(("loss", "y", "parts"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets_are_refused(loss: str, y: Any, parts: tuple[str, ...]) -> None:
    output = {"poisson": "exp", "binary_cross_entropy": "sigmoid"}.get(loss, "identity")
    net = regressor(output_activation=output)
    before = net.parameters.copy()
    complain(lambda: net.fit(X, y, loss=loss), *parts)
    complain(lambda: net.evaluate(X, y, loss=loss), *parts)
    assert np.array_equal(net.parameters, before)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "epochs 0": ({"epochs": 0}, ("epochs", "at least 1", "got 0")),
    "epochs -3": ({"epochs": -3}, ("epochs", "got -3")),
    "epochs 2.5": ({"epochs": 2.5}, ("epochs", "got 2.5")),
    "epochs text": ({"epochs": "10"}, ("epochs", "'10'")),
    "epochs None": ({"epochs": None}, ("epochs", "None")),
    "batch_size 0": ({"batch_size": 0}, ("batch_size", "at least 1", "got 0")),
    "batch_size -1": ({"batch_size": -1}, ("batch_size", "got -1")),
    "batch_size 2.5": ({"batch_size": 2.5}, ("batch_size", "got 2.5")),
    "batch_size True": ({"batch_size": True}, ("batch_size", "got True")),
    "threads 0": ({"threads": 0}, ("threads", "at least 1", "got 0")),
    "threads 1.5": ({"threads": 1.5}, ("threads", "got 1.5")),
    "split 1": ({"validation_split": 1}, ("validation_split", "below 1", "got 1")),
    "split negative": ({"validation_split": -0.1}, ("validation_split", "-0.1")),
    "split NaN": ({"validation_split": NAN}, ("validation_split", "nan")),
    "split text": ({"validation_split": "a"}, ("validation_split", "'a'")),
    "split None": ({"validation_split": None}, ("validation_split", "None")),
    "split too small": ({"validation_split": 0.01}, ("validation_split", "validation")),
    "split too large": ({"validation_split": 0.99}, ("validation_split", "training")),
    "both validations": (
        {"validation_split": 0.5, "validation_data": (X, LABELS)},
        ("validation_data", "validation_split", "not both"),
    ),
    "validation of one": ({"validation_data": (X,)}, ("validation_data", "(x, y)")),
    "validation of four": ({"validation_data": (X,) * 4}, ("validation_data",)),
    "validation of rows": ({"validation_data": X}, ("validation_data",)),
    "validation empty": (
        {"validation_data": (X[:0], LABELS[:0])},
        ("validation_data[0]", "empty"),
    ),
    "validation too wide": (
        {"validation_data": (np.hstack([X, X]), LABELS)},
        ("validation_data[0]", "3 columns"),
    ),
    "validation too short": (
        {"validation_data": (X, LABELS[:3])},
        ("validation_data[1]", "validation_data[0]"),
    ),
    "validation weight": (
        {"validation_data": (X, LABELS, -ONES)},
        ("validation_data[2]", "negative"),
    ),
    "stopping 0": ({"early_stopping": 0}, ("early_stopping", "at least 1")),
    "stopping text": ({"early_stopping": "5"}, ("early_stopping", "'5'")),
    "weight short": ({"sample_weight": ONES[:5]}, ("sample_weight", "(12,)", "(5,)")),
    "weight matrix": ({"sample_weight": ONES[:, None]}, ("sample_weight", "(12, 1)")),
    "weight number": ({"sample_weight": 1.0}, ("sample_weight", "()")),
    "weight negative": (
        {"sample_weight": having((4,), -2, ONES)},
        ("sample_weight", "negative", "-2", "row 4"),
    ),
    "weight NaN": ({"sample_weight": having((4,), NAN, ONES)}, ("sample_weight", "row 4")),
    "weight zero": ({"sample_weight": 0 * ONES}, ("sample_weight", "0 everywhere")),
    "weight text": ({"sample_weight": ["a"] * 12}, ("sample_weight", "numbers")),
    "weight zero after the split": (
        {"sample_weight": having((0,), 1, 0 * ONES), "validation_split": 0.25},
        ("weight", "0"),
    ),
    "class 7": ({"class_weight": {7: 1.0}}, ("class_weight", "7", "0 to 3")),
    "class -1": ({"class_weight": {-1: 1.0}}, ("class_weight", "-1")),
    "class by name": ({"class_weight": {"a": 1.0}}, ("class_weight", "'a'")),
    "class weight negative": ({"class_weight": {0: -1.0}}, ("class_weight", "-1.0")),
    "class weight NaN": ({"class_weight": {0: NAN}}, ("class_weight", "nan")),
    "class weight text": ({"class_weight": {0: "a"}}, ("class_weight", "'a'")),
    "class weight list": ({"class_weight": [1, 2, 3, 4]}, ("class_weight",)),
    "class weight zero": ({"class_weight": dict.fromkeys(range(4), 0)}, ("weight", "0")),
    "class weight word": ({"class_weight": "balance"}, ("class_weight", "'balanced'")),
    "loss": ({"loss": "crossentropy"}, ("loss", "did you mean 'cross_entropy'?")),
    "loss class": ({"loss": fn.losses.CrossEntropy}, ("loss", "write CrossEntropy()")),
    "loss of another output": ({"loss": "poisson"}, ("'poisson'", "'softmax'", "'exp'")),
    "optimizer": ({"optimizer": "adm"}, ("optimizer", "did you mean 'adam'?")),
    "optimizer class": ({"optimizer": fn.Adam}, ("optimizer", "the class Adam; write Adam()")),
    "stopping class": (
        {"early_stopping": fn.EarlyStopping},
        ("early_stopping", "the class EarlyStopping; write EarlyStopping()"),
    ),
    "shuffle text": ({"shuffle": "no"}, ("shuffle", "True or False", "'no'")),
    "shuffle None": ({"shuffle": None}, ("shuffle", "True or False", "None")),
    "shuffle 2": ({"shuffle": 2}, ("shuffle", "True or False", "2")),
    "scaled targets text": ({"standardize_targets": "no"}, ("standardize_targets", "'no'")),
    "metric": ({"metrics": ["acuracy"]}, ("metric", "did you mean 'accuracy'?")),
    "metric number": ({"metrics": [3]}, ("metric", "3")),
    "metric list": ({"metrics": [["f1"]]}, ("metric",)),
    "metrics as text": ({"metrics": "accuracy"}, ("metrics", "'accuracy'")),
    "metrics None": ({"metrics": None}, ("metrics",)),
    "metric of two classes": ({"metrics": ["roc_auc"]}, ("roc_auc", "two classes")),
    "metric of numbers": ({"metrics": ["mse"]}, ("mse", "cross_entropy")),
    "callback": ({"callbacks": [3]}, ("callback", "3")),
    "callback class": ({"callbacks": [fn.EarlyStopping]}, ("callback", "EarlyStopping")),
    "callbacks None": ({"callbacks": None}, ("callbacks",)),
    "callbacks function": ({"callbacks": print}, ("callbacks",)),
    "monitor": (
        {"early_stopping": fn.EarlyStopping(monitor="val_los")},
        ("early stopping", "val_los"),
    ),
}


@pytest.mark.parametrize(("options", "parts"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_options_of_fit_are_refused(options: dict[str, Any], parts: tuple[str, ...]) -> None:
    net = classifier()
    before = net.parameters.copy()
    complain(lambda: net.fit(X, LABELS, standardize=True, **options), *parts)
    assert np.array_equal(net.parameters, before)
    assert net.preprocessor.description() == ({}, {})
    assert net.loss is None
    expected = classifier().fit(X, LABELS, epochs=2).records
    assert net.fit(X, LABELS, epochs=2).records == expected


def test_a_metric_that_returns_many_numbers_is_told_so_without_showing_them() -> None:
    metric = ("metric", "'<lambda>'", "an array of shape (12, 4)")
    complain(lambda: classifier().fit(X, LABELS, metrics=[lambda target, output: output]), *metric)


def test_class_weights_are_for_labels() -> None:
    shares = np.full((12, 4), 0.25)
    complain(lambda: classifier().fit(X, shares, class_weight="balanced"), "class_weight", "labels")
    complain(lambda: regressor().fit(X, REAL, class_weight={0: 1.0}), "class_weight", "labels")


def test_a_stream_cannot_use_a_solver_of_all_data() -> None:
    complain(lambda: classifier().partial_fit(X, LABELS, optimizer="lbfgs"), "lbfgs", "fit")


@pytest.mark.parametrize("loss", ["quantile", "gaussian_nll"])
def test_outputs_must_be_a_multiple_of_what_a_target_needs(loss: str) -> None:
    net = fn.Network([3, 5], backend="numpy")
    complain(lambda: net.fit(X, REAL, loss=loss), loss, "multiple", "5 outputs")


def test_a_metric_that_does_not_fit_the_outputs_is_refused() -> None:
    net = fn.Network([3, 6], backend="numpy")
    complain(lambda: net.evaluate(X, REAL, loss="quantile", metrics=["accuracy"]), "accuracy")


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (X, ("row", "(3,)", "(12, 3)")),
        (X[0, :2], ("row", "(3,)", "(2,)")),
        (1.0, ("row", "(3,)")),
        (["a", "b", "c"], ("row",)),
        ([1, [2], 3], ("row",)),
    ],
)
def test_a_row_that_is_none_is_refused(row: Any, parts: tuple[str, ...]) -> None:
    complain(lambda: classifier().predict_one(row), *parts)


# --- what a network is made of --------------------------------------------------------------------

BAD_NETWORKS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "no sizes": (lambda: fn.Network([]), ("layers",)),
    "one size": (lambda: fn.Network([3]), ("layers", "[3]")),
    "a number": (lambda: fn.Network(784), ("layers", "784")),
    "nothing": (lambda: fn.Network(None), ("layers", "None")),
    "a size of 0": (lambda: fn.Network([3, 0, 2]), ("size", "got 0")),
    "a fraction": (lambda: fn.Network([3, 2.0]), ("size", "got 2.0")),
    "text": (lambda: fn.Network(["3", "2"]), ("size", "'3'")),
    "several activations": (
        lambda: fn.Network([3, 4, 2], activation=["relu", "tanh"]),
        ("activation", "['relu', 'tanh']", "fn.Dense(64, 'relu')"),
    ),
    "parameters of another shape": (
        lambda: setattr(regressor(), "parameters", np.zeros(3)),
        ("parameters", "(32,)", "an array of shape (3,)"),
    ),
    "a size beyond all memory": (lambda: fn.Network([10**30, 2]), ("size",)),
    "sizes and inputs": (lambda: fn.Network([3, 2], inputs=3), ("inputs",)),
    "layers without inputs": (lambda: fn.Network([fn.Dense(2)]), ("inputs",)),
    "inputs of 0": (lambda: fn.Network([fn.Dense(2)], inputs=0), ("inputs", "got 0")),
    "layers and activation": (
        lambda: fn.Network([fn.Dense(2)], inputs=3, activation="relu"),
        ("activation",),
    ),
    "a layer's class": (lambda: fn.Network([fn.Dense, fn.Dense(2)], inputs=3), ("layers[0]",)),
    "a size among layers": (lambda: fn.Network([4, fn.Dense(2)], inputs=3), ("layers[0]", "4")),
    "no last dense layer": (
        lambda: fn.Network([fn.Dense(2), fn.Dropout(0.5)], inputs=3),
        ("last layer", "Dense"),
    ),
    "softmax of one output": (
        lambda: fn.Network([3, 1], output_activation="softmax"),
        ("1 for every row", "'sigmoid'", "two outputs"),
    ),
    "softmax inside": (
        lambda: fn.Network([fn.Dense(2, "softmax"), fn.Dense(2)], inputs=3),
        ("layers[0]", "softmax", "last"),
    ),
    "activation": (lambda: fn.Network([3, 2, 1], activation="rely"), ("did you mean 'relu'?",)),
    "output activation": (
        lambda: fn.Network([3, 2], output_activation="softmaxx"),
        ("did you mean 'softmax'?",),
    ),
    "activation list": (lambda: fn.Dense(2, []), ("activation",)),
    "dtype int": (lambda: fn.Network([3, 2], dtype=int), ("dtype", "float32", "float64")),
    "dtype half": (lambda: fn.Network([3, 2], dtype="float16"), ("dtype", "float16")),
    "dtype swapped": (lambda: fn.Network([3, 2], dtype=">f8"), ("dtype", ">f8")),
    "dtype None": (lambda: fn.Network([3, 2], dtype=None), ("dtype", "None")),
    "dtype word": (lambda: fn.Network([3, 2], dtype="double precision"), ("dtype",)),
    "dtype comma": (lambda: fn.Network([3, 2], dtype=","), ("dtype", "','")),
    "dtype bracket": (lambda: fn.Network([3, 2], dtype="(2,f4"), ("dtype",)),
    "seed -1": (lambda: fn.Network([3, 2], seed=-1), ("seed", "got -1")),
    "seed 2**64": (lambda: fn.Network([3, 2], seed=2**64), ("seed", "2**64")),
    "seed None": (lambda: fn.Network([3, 2], seed=None), ("seed", "None")),
    "seed 1.0": (lambda: fn.Network([3, 2], seed=1.0), ("seed", "1.0")),
    "new seed": (lambda: classifier().initialize(-1), ("seed", "got -1")),
    "backend": (lambda: fn.Network([3, 2], backend="nump"), ("did you mean 'numpy'?",)),
    "backend list": (lambda: fn.Network([3, 2], backend=[]), ("backend",)),
    "backend to move to": (lambda: classifier().to("nunba"), ("did you mean 'numba'?",)),
    "backend to get": (lambda: fn.get_backend("cuda"), ("'cuda'", "cupy")),
}


@pytest.mark.parametrize(("make", "parts"), BAD_NETWORKS.values(), ids=BAD_NETWORKS)
def test_what_makes_no_network_is_refused(make: Callable[[], Any], parts: tuple[str, ...]) -> None:
    complain(make, *parts)


BAD_STOPPING: dict[str, tuple[Callable[[], Any], str]] = {
    "patience": (lambda: fn.EarlyStopping(0), "patience"),
    "patience float": (lambda: fn.EarlyStopping(2.0), "patience"),
    "min_delta": (lambda: fn.EarlyStopping(min_delta=-1), "min_delta"),
    "mode": (lambda: fn.EarlyStopping(mode="least"), "mode"),
    "a rate beyond float64": (lambda: fn.SGD(3 * 10**320), "rate"),
    "a rate of too many digits": (lambda: fn.Adam(-(10**6000)), "bits"),
}


@pytest.mark.parametrize(("make", "name"), BAD_STOPPING.values(), ids=BAD_STOPPING)
def test_a_number_out_of_range_is_refused_by_name(make: Callable[[], Any], name: str) -> None:
    complain(make, name)


# --- what is taken as it is -----------------------------------------------------------------------


def unaligned(array: Array) -> Array:
    return np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def read_only(array: Array) -> Array:
    copied = array.copy()
    copied.flags.writeable = False
    return copied


def strided(array: Array) -> Array:
    wide = np.full((2 * len(array), 2 * array.shape[1]), NAN)
    wide[::2, ::2] = array
    return wide[::2, ::2]


# Whole numbers from 0 to 1, which every type holds.
PLAIN = RNG.integers(0, 2, (12, 3)).astype(np.float64)
GOOD_X: dict[str, Callable[[Array], Any]] = {
    "float16": lambda x: x.astype(np.float16),
    "float32": lambda x: x.astype(np.float32),
    "longdouble": lambda x: x.astype(np.longdouble),
    "bool": lambda x: x.astype(bool),
    "uint8": lambda x: x.astype(np.uint8),
    "int64": lambda x: x.astype(np.int64),
    "big-endian": lambda x: x.astype(">f8"),
    "big-endian int": lambda x: x.astype(">i4"),
    "Fortran order": np.asfortranarray,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "strided": strided,
    "unaligned": unaligned,
    "read-only": read_only,
    "objects": lambda x: x.astype(object),
    "lists": lambda x: x.tolist(),
    "tuples": lambda x: tuple(map(tuple, x.tolist())),
    "rows": list,
    "a matrix": lambda x: x.view(np.ndarray).view(type("Sub", (np.ndarray,), {})),
    "nothing masked": lambda x: np.ma.masked_array(x, mask=False),
}


@each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("convert", GOOD_X.values(), ids=GOOD_X)
def test_every_form_of_the_same_numbers_trains_the_same(
    convert: Callable[[Array], Any], dtype: str, backend: str
) -> None:
    net, other = classifier(backend, dtype=dtype), classifier(backend, dtype=dtype)
    x = convert(PLAIN)
    expected = other.fit(PLAIN, LABELS, epochs=2, batch_size=5)
    assert net.fit(x, LABELS, epochs=2, batch_size=5).records == expected.records
    assert np.array_equal(net.predict(x), other.predict(PLAIN))


def test_rows_of_a_mapped_file_train(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for dtype in ("float32", "float64"):
        net, other = classifier(dtype=dtype), classifier(dtype=dtype)
        records = other.fit(X, LABELS, epochs=2).records
        assert net.fit(mapped, LABELS, epochs=2).records == records


@pytest.mark.parametrize(
    "y",
    [
        LABELS.astype(np.uint8),
        LABELS.astype(np.float32),
        LABELS.astype(">i8"),
        LABELS[:, None],
        LABELS.tolist(),
        np.eye(4)[LABELS],
        np.eye(4, dtype=bool)[LABELS],
        LABELS.astype(object),
        read_only(LABELS),
    ],
)
def test_every_form_of_the_same_labels_trains_the_same(y: Any) -> None:
    net, other = classifier(), classifier()
    expected = other.fit(X, LABELS, epochs=2).records
    assert net.fit(X, y, epochs=2).records == expected


@each_backend
def test_a_batch_may_be_larger_than_all_data(backend: str) -> None:
    net, other = classifier(backend), classifier(backend)
    expected = other.fit(X, LABELS, epochs=2, batch_size=None).records
    assert net.fit(X, LABELS, epochs=2, batch_size=10**30).records == expected


@each_backend
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_the_caller_gave_is_never_written_to(backend: str, dtype: Any) -> None:
    given = [
        X.astype(dtype),
        LABELS.astype(np.int64),
        np.linspace(0.5, 1.5, 12).astype(dtype),
        X.astype(dtype) + 1,
        LABELS.astype(np.int64)[::-1].copy(),
    ]
    kept = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    x, y, weight, xv, yv = given
    net = classifier(backend, dtype=dtype)
    net.fit(
        x,
        y,
        sample_weight=weight,
        class_weight="balanced",
        validation_data=(xv, yv),
        standardize=True,
        epochs=2,
        batch_size=5,
    )
    net.partial_fit(x, y, sample_weight=weight)
    net.evaluate(x, y, sample_weight=weight, metrics=["f1"])
    net.gradients(x, y, sample_weight=weight)
    net.predict(x)
    net.predict_one(x[0])
    assert all(map(np.array_equal, given, kept))


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), np.int64(0)])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    assert fn.Dropout(number).rate == number
    assert fn.EarlyStopping(np.int32(3), min_delta=number).patience == 3
    net = fn.Network([np.int64(3), np.uint8(4)], seed=np.uint64(2**63), backend="numpy")
    assert net.seed == 2**63
    net.fit(X, LABELS[:, None] * np.ones(4), epochs=np.int64(1), batch_size=np.int32(4))
