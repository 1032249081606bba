"""Weights mean one thing: rows that are there so many times, in ratio to one another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.data import Chunks
from fastnet.preprocessing import weights
from fastnet.preprocessing.samples import split_index
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.statistics import Moments, mean_and_scale, quantiles
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from tests.closeness import assert_close

Array = NDArray[Any]

RNG = np.random.default_rng(8)
COUNT = 80
X = RNG.normal(size=(COUNT, 3)) * [1.0, 20.0, 0.1] + [0.0, 5.0, 1.0]
REAL = X[:, 0] - X[:, 1] / 20
LABELS = (REAL + RNG.normal(size=COUNT) > 0.7).astype(np.int64)
TIMES = RNG.integers(1, 5, COUNT)
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def flat(net: fn.Network) -> Array:
    return np.array(net.backend_object.to_host(net.parameters))


def network(outputs: int = 1, output: str = "identity", dtype: Any = "float64") -> fn.Network:
    layers = [3, 5, outputs]
    how: dict[str, Any] = {"activation": "tanh", "output_activation": output, "backend": "numpy"}
    return fn.Network(layers, dtype=dtype, seed=4, **how)


# --- their scale ----------------------------------------------------------------------------------


@each_dtype
@given(
    mantissas=st.lists(st.floats(1, 2), min_size=1, max_size=5),
    exponent=st.integers(-1000, 1000),
    spread=st.integers(0, 60),
)
def test_only_a_power_of_two_is_taken_out(
    dtype: np.dtype[Any], mantissas: list[float], exponent: int, spread: int
) -> None:
    given_weights = np.ldexp(np.array([*mantissas, 1.0, 0.0]), exponent)
    given_weights[0] = np.ldexp(given_weights[0], -spread)
    made = weights.rounded("w", given_weights, dtype)
    assert made.dtype == dtype
    power = np.frexp(float(made[-2]))[1] - np.frexp(given_weights[-2])[1]
    assert np.array_equal(made, np.ldexp(given_weights, power).astype(dtype))
    assert np.array_equal(made > 0, given_weights > 0)
    most = np.finfo(dtype).maxexp // 2
    if np.abs(np.frexp(given_weights[given_weights > 0])[1]).max() < most - 4:
        assert power == 0


@each_dtype
def test_weights_too_far_apart_are_refused(dtype: np.dtype[Any]) -> None:
    far = np.array([1.0, 2.0 ** -(np.finfo(dtype).maxexp)])
    with pytest.raises(fn.InputError, match=f"too far apart for {dtype.name}"):
        weights.rounded("w", far, dtype)
    with pytest.raises(fn.InputError, match="multiply all of them by one number"):
        weights.rounded("w", np.full(3, 1e-200), dtype, rescales=False)


@pytest.mark.parametrize("scale", [2.0**-1060, 2.0**-300, 2.0**-149, 2.0**140, 2.0**1015])
@each_dtype
def test_weights_of_any_size_train_alike(
    backend: Backend, dtype: np.dtype[Any], scale: float
) -> None:
    # Few digits, so that even the smallest numbers hold them.
    weight = RNG.integers(0, 8, COUNT) / 4
    histories, nets = [], []
    for factor in (1.0, scale):
        net = network(dtype=dtype.name)._copy_to(backend, "float32")
        options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "standardize": True}
        held = X[:20], REAL[:20], (weight[:20] + 1) * factor
        kept = weight * factor
        histories.append(net.fit(X, REAL, sample_weight=kept, validation_data=held, **options))
        nets.append(net)
    assert np.array_equal(flat(nets[0]), flat(nets[1]))
    assert histories[0].records == histories[1].records


@each_dtype
def test_class_weights_of_any_size_train_alike(backend: Backend, dtype: np.dtype[Any]) -> None:
    nets = []
    for factor in (1.0, 2.0**100):
        net = network(2, "softmax", dtype.name)._copy_to(backend, "float32")
        weight = np.where(LABELS, 3.0, 1.0) * factor
        net.fit(X, LABELS, sample_weight=weight, class_weight={0: factor, 1: 2 * factor}, epochs=2)
        nets.append(net)
    assert np.array_equal(*map(flat, nets))


def test_chunks_refuse_weights_of_another_size() -> None:
    matrix = np.column_stack([X, REAL, np.full(COUNT, 1e-30)])
    with pytest.raises(fn.InputError, match=r"weight has weights .*multiply all"):
        network(dtype="float32").fit(Chunks(matrix, target=3, weight=4, chunk_rows=32), epochs=1)


# --- class weights --------------------------------------------------------------------------------

SIGMOID: dict[str, tuple[Any, ...]] = {
    "softmax": (2, "softmax", LABELS, {0: 1.0, 1: 6.0}),
    "one sigmoid": (1, "sigmoid", LABELS, {1: 6.0}),
    "two sigmoids": (2, "sigmoid", np.stack([LABELS, 1 - LABELS], 1), [{1: 3.0}, {0: 2.0}]),
}
each_output = pytest.mark.parametrize(
    ("outputs", "output", "y", "class_weight"), SIGMOID.values(), ids=SIGMOID
)


@each_output
@pytest.mark.parametrize("balanced", [False, True])
def test_class_weights_are_no_part_of_validation(
    outputs: int, output: str, y: Array, class_weight: Any, balanced: bool
) -> None:
    weight = RNG.uniform(0.5, 2.0, COUNT) * (RNG.random(COUNT) > 0.2)
    train, held = split_index(COUNT, 0.3, 4)
    chosen = "balanced" if balanced else class_weight
    options: dict[str, Any] = {"class_weight": chosen, "epochs": 3, "batch_size": 16}
    options |= {"early_stopping": 5, "shuffle": False}
    nets = [network(outputs, output) for _ in range(2)]
    split = nets[0].fit(X, y, sample_weight=weight, validation_split=0.3, **options)
    apart = X[held], y[held], weight[held]
    given_apart = nets[1].fit(
        X[train], y[train], sample_weight=weight[train], validation_data=apart, **options
    )
    assert split.records == given_apart.records
    assert np.array_equal(flat(nets[0]), flat(nets[1]))
    right = nets[0].evaluate(X[held], y[held], sample_weight=weight[held])
    assert right["loss"] == min(split["val_loss"])


@each_output
def test_class_weights_are_weights_of_the_training_rows(
    outputs: int, output: str, y: Array, class_weight: Any
) -> None:
    by_hand = np.where(LABELS == 1, 6.0, 1.0)
    nets = [network(outputs, output) for _ in range(3)]
    nets[0].fit(X, y, class_weight=class_weight, epochs=2)
    nets[1].fit(X, y, sample_weight=by_hand, epochs=2)
    nets[2].fit(X, y, epochs=2)
    assert np.array_equal(flat(nets[0]), flat(nets[1]))
    assert not np.array_equal(flat(nets[0]), flat(nets[2]))


def test_the_estimator_validates_without_class_weights() -> None:
    model = FastNetClassifier(
        (5,), class_weight={0: 1.0, 1: 9.0}, validation_split=0.25, epochs=3, random_state=6
    ).fit(X, LABELS)
    held = split_index(COUNT, 0.25, 6)[1]
    share = float(np.mean(model.predict(X[held]) == LABELS[held]))
    assert model.history_["val_accuracy"][-1] == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("weight", ["zeros", "held out", "twice"])
def test_balanced_counts_the_rows_that_train(weight: str) -> None:
    kept = np.arange(COUNT) >= 30
    train = kept
    options: dict[str, Any] = {"class_weight": "balanced", "epochs": 4, "batch_size": None}
    one, other = network(2, "softmax"), network(2, "softmax")
    if weight == "zeros":
        one.fit(X, LABELS, sample_weight=kept * 2.0, shuffle=False, **options)
    elif weight == "held out":
        one.fit(X, LABELS, validation_split=0.4, shuffle=False, **options)
        train = split_index(COUNT, 0.4, 4)[0]
    else:
        one.fit(X, LABELS, sample_weight=TIMES, shuffle=False, **options)
        train = np.repeat(np.arange(COUNT), TIMES)
    other.fit(X[train], LABELS[train], shuffle=False, **options)
    assert_close(flat(one), flat(other), terms=4 * COUNT)


# The labels of a table, weights by label, and the same by index of the sorted labels.
LABELLED: dict[str, tuple[list[Any], dict[Any, float], dict[int, float]]] = {
    "texts": (["no", "yes"], {"yes": 5.0}, {1: 5.0}),
    "indices of texts": (["ham", "egg"], {1: 5.0, 0: 2.0}, {1: 5.0, 0: 2.0}),
    "truths": ([False, True], {True: 5.0, False: 2.0}, {1: 5.0, 0: 2.0}),
    "truths as texts": ([False, True], {"yes": 5.0}, {1: 5.0}),
    "numbers": ([3, 1], {3: 5.0, 1: 2.0}, {1: 5.0, 0: 2.0}),
    "numbers of NumPy": ([3, 1], {np.int64(3): 5.0, np.float32(1): 2.0}, {1: 5.0, 0: 2.0}),
    "numbers as texts": ([3, 1], {"3": 5.0, "1.0": 2.0}, {1: 5.0, 0: 2.0}),
}


@pytest.mark.parametrize(("labels", "given", "index"), LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize(("outputs", "output"), [(2, "softmax"), (1, "sigmoid")])
def test_weights_go_by_the_labels_of_a_table(
    labels: list[Any], given: dict[Any, float], index: dict[int, float], outputs: int, output: str
) -> None:
    table = {f"x{k}": X[:, k] for k in range(3)} | {"y": np.array(labels, object)[LABELS]}
    net, same, plain = (network(outputs, output) for _ in range(3))
    net.fit(table, "y", class_weight=given, epochs=2)
    x, y = net.preprocessor.transform(table, net.dtype), net.preprocessor.target.encode(table["y"])
    same.fit(x, y, class_weight=index, epochs=2)
    plain.fit(x, y, epochs=2)
    assert np.array_equal(flat(net), flat(same))
    assert not np.array_equal(flat(net), flat(plain))


@pytest.mark.parametrize("chunked", [False, True])
def test_weights_go_by_the_names_of_labels(chunked: bool) -> None:
    rows = (Chunks(X, LABELS),) if chunked else (X, LABELS)
    net, same = network(2, "softmax"), network(2, "softmax")
    net.label_names = ("7", "11")
    net.fit(*rows, class_weight={"11": 5.0}, epochs=2)
    same.fit(*rows, class_weight={1: 5.0}, epochs=2)
    assert np.array_equal(flat(net), flat(same))
    with pytest.raises(fn.InputError, match="class 7, of 0 to 1"):  # a number is one of y
        net.fit(*rows, class_weight={7: 5.0})


@pytest.mark.parametrize(
    ("labels", "given", "words"),
    [
        (["no", "yes"], {"yse": 2.0}, "there is no class 'yse'; did you mean 'yes'"),
        (["no", "yes"], {2: 2.0}, "class 2, of 0 to 1"),
        ([1, 3], {0: 2.0}, "there is no class 0. Known: 1, 3"),
        ([1, 3], {3.5: 2.0}, "there is no class 3.5"),
        (["no", "yes"], {None: 2.0}, "whole number of at least 0, got None"),
        ([1, 3], {3: 2.0, "3": 1.0}, "two weights of the class '3'"),
        (["no", "yes"], {"yes": -1.0}, "a positive number, got -1.0"),
        (["no", "yes"], [{1: 2.0}, {1: 2.0}], "must be a dict"),
    ],
)
def test_a_label_that_is_not_there_is_refused(labels: list[Any], given: Any, words: str) -> None:
    table = {"x": X[:, 0], "y": np.array(labels, object)[LABELS]}
    net = fn.Network([1, 2], output_activation="softmax", backend="numpy")
    with pytest.raises(fn.InputError, match=words):
        net.fit(table, "y", class_weight=given)
    assert net.history is None


REFUSED: dict[str, tuple[int, str, Any, Any, str]] = {
    "shares": (1, "sigmoid", np.full(COUNT, 0.25), {1: 2.0}, "class labels"),
    "numbers": (1, "identity", LABELS, {1: 2.0}, "class labels"),
    "class": (1, "sigmoid", LABELS, {2: 2.0}, "class 2, of 0 to 1"),
    "one dict for two": (2, "sigmoid", np.stack([LABELS] * 2, 1), {1: 2.0}, "a list of 2 dicts"),
    "word": (1, "sigmoid", LABELS, "evenly", "unknown class_weight 'evenly'"),
}


@pytest.mark.parametrize(
    ("outputs", "output", "y", "class_weight", "words"), REFUSED.values(), ids=REFUSED
)
def test_class_weights_that_do_not_fit_are_refused(
    outputs: int, output: str, y: Array, class_weight: Any, words: str
) -> None:
    with pytest.raises(fn.InputError, match=words):
        network(outputs, output).fit(X, y, class_weight=class_weight)


def test_a_class_of_weight_zero_is_refused_at_every_door() -> None:
    """Its output would learn nothing, and scales and categories would still count its rows."""
    texts = np.where(LABELS > 0, "ja", "nein")
    chunks = Chunks(np.column_stack([X, LABELS]), target=3, chunk_rows=9)
    several = np.stack([LABELS, 1 - LABELS], 1)
    doors: list[tuple[Any, Callable[[], Any]]] = [
        (0, lambda: network(2, "softmax").fit(X, LABELS, class_weight={1: 2.5, 0: 0})),
        (1, lambda: network(2, "softmax").fit(chunks, class_weight={1: False})),
        (1, lambda: network(2, "sigmoid").fit(X, several, class_weight=[{0: 2.0}, {1: 0.0}])),
        ("nein", lambda: fn.tables.train({"x": X[:, 0]}, texts, class_weight={"nein": 0.0})),
        ("ja", lambda: FastNetClassifier(class_weight={"ja": 0}).fit(X, texts)),
    ]
    for label, fit in doors:
        message = rf"class_weight\[{label!r}\] must be above 0, got .*leave its rows out"
        with pytest.raises(fn.InputError, match=message):
            fit()


# --- the scaler -----------------------------------------------------------------------------------


@given(scale=st.sampled_from([1.0, 0.3, 1e-300, 1e300]), seed=st.integers(0, 100))
def test_mean_and_deviation_count_a_row_of_weight_two_twice(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 4, COUNT)
    times[0] = 1
    got = mean_and_scale(X, times * scale)
    for mine, theirs in zip(got, mean_and_scale(X.repeat(times, axis=0)), strict=True):
        assert_close(mine, theirs, terms=COUNT)
    constant = np.full((5, 1), 0.1)
    constant[2] = 9.0
    mean, deviation = mean_and_scale(constant, np.array([1.0, 3.0, 0.0, 0.1, 1.0]))
    assert mean.tolist() == [0.1]
    assert deviation.tolist() == [1.0]


@given(seed=st.integers(0, 200), count=st.integers(1, 30))
def test_quantiles_are_those_of_repeated_rows(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    values, times = rng.normal(size=count).round(1), rng.integers(1, 5, count)
    q = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
    expected = np.quantile(values.repeat(times), q)
    assert_close(quantiles(values, q, times.astype(np.float64)), expected, terms=count)
    assert np.array_equal(quantiles(values, q), np.quantile(values, q))


def test_a_quantile_of_counts_that_are_no_whole_numbers_lies_between() -> None:
    values, q = np.array([3.0, 1.0, 2.0]), np.array([0.5])
    counts = [np.array([1.0, w, 1.0]) for w in (1, 1.5, 2, 2.5, 3)]
    assert [float(quantiles(values, q, w)[0]) for w in counts] == [2.0, 1.75, 1.5, 1.25, 1.0]


def mixed_table(index: Array) -> dict[str, Any]:
    """A table with gaps, a category of three, one of two, and a column of 0 and 1."""
    rng = np.random.default_rng(2)
    gaps = np.where(rng.random(COUNT) < 0.2, np.nan, rng.gamma(2.0, size=COUNT))
    return {
        "gaps": gaps[index],
        "three": rng.choice(["a", "b", "c"], COUNT)[index],
        "two": rng.choice(["no way", "perhaps"], COUNT)[index],
        "flag": rng.integers(0, 2, COUNT)[index],
    }


def numbers_of(made: TablePreprocessor) -> Array:
    assert made.target is not None
    parts = (made.center, made.factor, made.knots, made.target.center, made.target.scale)
    return np.concatenate([np.ravel(part) for part in parts])


@pytest.mark.parametrize("scaling", ["robust", "standard"])
@pytest.mark.parametrize("scale", [1.0, 0.7, 1e-200, 1e200])
def test_a_table_preprocessor_counts_a_row_of_weight_two_twice(scaling: Any, scale: float) -> None:
    how: dict[str, Any] = {"scaling": scaling, "numeric_embedding": "piecewise"}
    times = np.where(np.arange(COUNT) % 9 == 4, 0, TIMES)  # some rows of weight 0
    table, index = mixed_table(np.arange(COUNT)), np.repeat(np.arange(COUNT), times)
    table["two"][times == 0] = "only in rows that do not count"
    made = TablePreprocessor.fit(table, REAL, sample_weight=times * scale, **how)
    expected = TablePreprocessor.fit(mixed_table(index), REAL[index], **how)
    assert made.feature_names == expected.feature_names
    assert_close(numbers_of(made), numbers_of(expected), terms=4 * COUNT)
    equal = TablePreprocessor.fit(mixed_table(np.arange(COUNT)), REAL, **how)
    same = TablePreprocessor.fit(
        mixed_table(np.arange(COUNT)), REAL, sample_weight=np.full(COUNT, scale), **how
    )
    assert np.array_equal(numbers_of(same), numbers_of(equal))
    assert np.abs(numbers_of(equal) - numbers_of(expected)).max() > 0.01  # else nothing was tested


@pytest.mark.parametrize("by", ["train", "fit", "estimator"])
def test_weights_of_a_table_mean_repeated_rows_at_every_door(by: str) -> None:
    def preprocessor(index: Array, weight: Array | None) -> TablePreprocessor:
        table, y = mixed_table(index), REAL[index]
        how: dict[str, Any] = {"sample_weight": weight, "validation_split": 0.0, "epochs": 1}
        if by == "train":
            return fn.tables.train(table, y, backend="numpy", **how).preprocessor
        if by == "fit":
            net = fn.Network([7, 1], backend="numpy")
            net.fit(table, y, loss="mse", **how)
            return net.preprocessor
        del how["epochs"], how["validation_split"]
        model = FastNetRegressor(epochs=1, table=True, backend="numpy", validation_split=0.0)
        return model.fit(pd.DataFrame(table), y, **how).network_.preprocessor

    every, index = np.arange(COUNT), np.repeat(np.arange(COUNT), TIMES)
    made, expected = preprocessor(every, TIMES * 0.3), preprocessor(index, None)
    assert_close(numbers_of(made), numbers_of(expected), terms=4 * COUNT)
    unweighted = numbers_of(preprocessor(every, None))
    assert np.abs(numbers_of(made) - unweighted).max() > 0.01  # else nothing was tested


def test_weights_of_a_table_that_are_too_far_apart_are_refused() -> None:
    with pytest.raises(fn.InputError, match="sample_weight has weights from 1e-200 to 1e\\+200"):
        TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]}, sample_weight=[1e-200, 1e200, 1.0])
    with pytest.raises(fn.InputError, match="at row 1"):
        TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]}, sample_weight=[1.0, -1.0, 1.0])
    with pytest.raises(fn.InputError, match="no row that is left has a weight above 0"):
        rows = np.array([0, 1])
        TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]}, rows=rows, sample_weight=[0, 0, 1.0])


@pytest.mark.parametrize("by", ["memory", "chunks", "estimator"])
def test_a_scaler_counts_weights(by: str) -> None:
    index = np.repeat(np.arange(COUNT), TIMES)
    expected = Scaler.fit(X[index])
    net = network()
    if by == "memory":
        net.fit(X, REAL, sample_weight=TIMES, standardize=True, epochs=1)
    elif by == "chunks":
        matrix = np.column_stack([X, REAL, TIMES])
        net.fit(Chunks(matrix, target=3, weight=4, chunk_rows=20), standardize=True, epochs=1)
    else:
        model = FastNetRegressor((3,), standardize=True, epochs=1)
        net = model.fit(X, REAL, sample_weight=TIMES).network_
    made = net.preprocessor
    assert isinstance(made, Scaler)
    assert_close(made.mean, expected.mean, terms=COUNT)
    assert_close(made.scale, expected.scale, terms=COUNT)
    assert np.abs(made.mean - Scaler.fit(X).mean).max() > 1e-3


# --- running moments ------------------------------------------------------------------------------


@given(cuts=st.sets(st.integers(1, COUNT - 1), max_size=8), weighted=st.booleans())
def test_a_running_scaler_is_that_of_all_rows_so_far(cuts: set[int], weighted: bool) -> None:
    weight = np.where(np.arange(COUNT) % 5 == 0, 0.0, TIMES) if weighted else None
    bounds = [0, *sorted(cuts), COUNT]
    moments = Moments()
    for start, stop in pairwise(bounds):
        moments = moments.plus(X[start:stop], None if weight is None else weight[start:stop])
    expected = Scaler.fit(X, sample_weight=weight)
    assert_close(Scaler.of(moments).mean, expected.mean, terms=COUNT)
    assert_close(Scaler.of(moments).scale, expected.scale, terms=COUNT)


def test_a_stream_goes_on_counting(backend: Backend) -> None:
    net = network()._copy_to(backend, "float32")
    for rows in np.split(np.arange(COUNT), [1, 2, 30]):
        net.fit(X[rows], REAL[rows], standardize="running", epochs=1, batch_size=None)
    expected, made = Scaler.fit(X), net.preprocessor
    assert isinstance(made, Scaler)
    assert_close(made.mean, expected.mean, terms=COUNT)
    assert_close(made.scale, expected.scale, terms=COUNT)
    matrix = np.column_stack([X, REAL])
    chunked = network()
    for rows in (matrix[:50], matrix[50:]):
        chunked.fit(Chunks(rows, target=3, chunk_rows=16), standardize="running", epochs=1)
    assert_close(chunked.preprocessor.input_scale(), expected.scale, terms=COUNT)
    net.fit(X * 1e3, REAL, standardize=True, epochs=1)
    assert net.preprocessor is made
    with pytest.raises(fn.InputError, match="True, False or 'running', got 'online'"):
        net.fit(X, REAL, standardize="online")  # type: ignore[arg-type]


def test_a_call_that_is_refused_counts_no_rows() -> None:
    net = network()
    net.fit(X, REAL, standardize="running", epochs=1)
    before = net.preprocessor
    with pytest.raises(fn.InputError):
        net.fit(X, REAL[:5], standardize="running", epochs=1)
    assert net.preprocessor is before


@pytest.mark.parametrize("first", [1, 2, 50])
def test_an_estimator_s_stream_does_not_depend_on_its_first_rows(first: int) -> None:
    rng = np.random.default_rng(1)

    def rows(count: int) -> tuple[Array, Array]:
        x = rng.uniform(-4000, 9000, (count, 1))
        return x, np.sin(x[:, 0] / 3000)

    model = FastNetRegressor(
        (16,), activation="tanh", standardize=True, learning_rate=0.02, random_state=0
    )
    for count in (first, *[50] * 250):
        model.partial_fit(*rows(count))
    assert model.score(*rows(500)) > 0.95


def test_a_scaler_of_a_file_stays_as_it_is(tmp_path: Any) -> None:
    net = network()
    net.fit(X, REAL, standardize="running", epochs=1)
    net.save(tmp_path / "net.safetensors")
    loaded = fn.load(tmp_path / "net.safetensors", backend="numpy")
    loaded.fit(X * 9, REAL, standardize="running", epochs=1)
    assert isinstance(loaded.preprocessor, Scaler)
    assert isinstance(net.preprocessor, Scaler)
    assert np.array_equal(loaded.preprocessor.mean, net.preprocessor.mean)
