"""What `fn.data.load` returns goes as it is into `fit`, `evaluate` and `validation_data`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.preprocessing.table import TablePreprocessor
from tests.on_backends import everything, same

DIGITS = fn.data.load("digits")
RNG = np.random.default_rng(0)


def digits_network(**options: Any) -> fn.Network:
    return fn.Network([64, 16, 10], output_activation="softmax", backend="numpy", **options)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two numbers, a category and three kinds of targets."""
    path = tmp_path / "houses.csv"
    kinds = np.array(["flat", "house", "hut"])[RNG.integers(0, 3, 60)]
    size, floor = RNG.uniform(20, 200, 60).round(1), RNG.integers(0, 5, 60)
    dear = np.where(size > 100, "yes", "no")
    rows = zip(size, floor, kinds, dear, strict=True)
    lines = [f"{s},{f},{k},{3 * s + f},{s - f},{d}" for s, f, k, d in rows]
    path.write_text("\n".join(["size,floor,kind,price,rent,dear", *lines]))
    return path


def test_a_data_set_trains_and_is_evaluated_as_its_parts_are() -> None:
    whole, parts = digits_network(), digits_network()
    test = DIGITS.test
    assert test is not None
    how: dict[str, Any] = {"epochs": 2, "metrics": ["f1"]}
    history = whole.fit(DIGITS, validation_data=test, **how)
    pairs = parts.fit(DIGITS.x, DIGITS.y, validation_data=(test.x, test.y), **how)
    assert history.records == pairs.records
    assert whole.evaluate(test) == parts.evaluate(test.x, test.y)
    assert whole.partial_fit(test) == parts.partial_fit(test.x, test.y)
    assert same(everything(whole), everything(parts))
    expected = parts.gradients(test.x, test.y)
    for name, values in whole.gradients(test).items():
        np.testing.assert_array_equal(values, expected[name])
    np.testing.assert_array_equal(whole.predict(test), parts.predict(test.x))
    assert whole.calibrate(test) == parts.calibrate(test.x, test.y)
    # The names of the classes come with it.
    assert whole.label_names == DIGITS.label_names and parts.label_names is None
    assert set(whole.predict_labels(test)) <= set(range(10))


def test_weights_and_a_split_go_with_it() -> None:
    weight = RNG.uniform(0.5, 2, len(DIGITS.x))
    whole, parts = digits_network(), digits_network()
    how: dict[str, Any] = {"epochs": 1, "sample_weight": weight, "validation_split": 0.2}
    assert whole.fit(DIGITS, **how).records == parts.fit(DIGITS.x, DIGITS.y, **how).records


@pytest.mark.parametrize(
    ("target", "outputs", "activation"),
    [("price", 1, "identity"), ("dear", 1, "sigmoid"), ("kind", 3, "softmax"),
     ("price,rent", 2, "identity")],
)  # fmt: skip
def test_a_table_is_learned_with_the_names_of_its_targets(
    table: Path, target: str, outputs: int, activation: str
) -> None:
    names = target.split(",")
    data, frame = fn.data.load(table, target=target), fn.data.load(table, learning=False).x
    width = TablePreprocessor.fit(data.x).inputs
    nets = [
        fn.Network([width, 4, outputs], output_activation=activation, backend="numpy")
        for _ in range(2)
    ]
    y: Any = names[0] if len(names) == 1 else names
    histories = [
        nets[0].fit(data, epochs=2, validation_data=data),
        nets[1].fit(frame, y, epochs=2, validation_data=(frame, y)),
    ]
    assert histories[0].records == histories[1].records
    assert same(*map(everything, nets))
    assert nets[0].preprocessor.target is not None
    assert nets[0].preprocessor.target.names == tuple(names)
    assert nets[0].label_names == nets[1].label_names
    assert nets[0].evaluate(data) == nets[1].evaluate(frame, y)
    np.testing.assert_array_equal(nets[0].predict(data), nets[1].predict(frame))
    expected = (60,) if outputs == 1 else (60, outputs)
    assert nets[0].predict(data).shape == expected
    # It goes on with a part of the rows.
    part = data.take(np.arange(30))
    nets[0].fit(part, epochs=1)
    nets[1].fit(frame.take(np.arange(30)), y, epochs=1)
    assert same(*map(everything, nets))


def test_a_network_of_arrays_takes_a_table_of_numbers(tmp_path: Path) -> None:
    x, y = RNG.standard_normal((20, 2)), RNG.standard_normal(20)
    rows = "\n".join(f"{a},{b},{c}" for (a, b), c in zip(x.tolist(), y.tolist(), strict=True))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}")
    net = fn.Network([2, 1], backend="numpy")
    net.fit(x, y, epochs=1)
    data = fn.data.load(tmp_path / "t.csv", target="y")
    assert net.evaluate(data) == net.evaluate(x, y)
    assert net.partial_fit(data) > 0
    np.testing.assert_array_equal(net.predict(data), net.predict(x))


def test_label_names_are_taken_where_they_fit_the_outputs() -> None:
    numbers = fn.Network([64, 4, 1], backend="numpy")
    numbers.fit(DIGITS, epochs=1)
    assert numbers.label_names is None
    assert numbers.predict(DIGITS).shape == (len(DIGITS.x),)


def test_what_does_not_fit_is_told_in_a_sentence(table: Path, tmp_path: Path) -> None:
    net = digits_network()
    before = everything(net)
    with pytest.raises(fn.InputError, match="the data set digits has its own targets: leave out y"):
        net.fit(DIGITS, DIGITS.y)
    with pytest.raises(fn.InputError, match=r"own targets: leave out y\."):
        net.evaluate(DIGITS, DIGITS.y)
    with pytest.raises(fn.InputError, match=r"validation_data\[1\] is None|leave out"):
        net.fit(DIGITS, validation_data=(DIGITS, DIGITS.y))
    with pytest.raises(fn.InputError, match="x is None: expected rows. A data set has `test` only"):
        net.evaluate(fn.data.load(table, target="price").test)
    unknown = fn.data.load(table, learning=False)
    with pytest.raises(fn.InputError, match=r"houses.csv has no targets: name them .*target="):
        net.fit(unknown)
    with pytest.raises(fn.InputError, match="x must have 64 columns, got 3"):
        net.fit(replace(DIGITS, x=DIGITS.x[:, :3], test=None))
    with pytest.raises(fn.InputError, match=r"validation_data\[0\] must have 64 columns, got 3"):
        net.fit(DIGITS, validation_data=replace(DIGITS, x=DIGITS.x[:, :3], test=None))
    np.savez(tmp_path / "words.npz", x=RNG.standard_normal((4, 64)), y=np.array(list("abab")))
    with pytest.raises(fn.InputError, match="words.npz has texts as targets, and the network"):
        net.fit(fn.data.load(tmp_path / "words.npz"))
    with pytest.raises(fn.InputError, match=r"\(x, y\), \(x, y, sample_weight\) or a data set"):
        net.fit(DIGITS, validation_data=DIGITS.x)  # type: ignore[arg-type]
    assert same(everything(net), before)
    net.fit(DIGITS, epochs=1)  # negative control


def test_the_weights_of_a_data_set_count_wherever_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "weighted.csv"
    size, weight = RNG.normal(size=40).round(3), RNG.integers(0, 4, 40)
    rows = [f"r{k},{s},{w},{3 * s}" for k, (s, w) in enumerate(zip(size, weight, strict=True))]
    path.write_text("\n".join(["id,size,w,y", *rows]), encoding="utf-8")
    data = fn.data.load(path, target="y", id="id", weight="w")
    table, pair = data.joined()[0], (data.x, data.y, weight)
    whole, parts, plain = (fn.Network([1, 4, 1], backend="numpy", seed=1) for _ in range(3))
    history = whole.fit(data, validation_data=data, epochs=2)
    expected = parts.fit(table, "y", sample_weight=weight, validation_data=pair, epochs=2)
    plain.fit(table, "y", epochs=2)
    assert history.records == expected.records
    assert same(everything(whole), everything(parts))
    assert not np.array_equal(whole.parameters, plain.parameters)
    assert whole.evaluate(data) == parts.evaluate(data.x, data.y, sample_weight=weight)
    assert whole.evaluate(data) != whole.evaluate(data.x, data.y)
    assert whole.partial_fit(data) == parts.partial_fit(data.x, data.y, sample_weight=weight)
    for use in (whole.fit, whole.evaluate, whole.partial_fit):
        with pytest.raises(fn.InputError, match="has its own weights: leave out sample_weight"):
            use(data, sample_weight=weight)
