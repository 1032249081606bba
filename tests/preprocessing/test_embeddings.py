"""Embeddings of a table's numbers and categories."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnet as fn
from fastnet.preprocessing import serialize
from fastnet.preprocessing.scaling import scale_robustly
from fastnet.tables import TablePreprocessor
from tests.closeness import assert_close
from tests.preprocessing.test_table import COLUMNS


def test_a_piecewise_embedding_is_the_share_of_each_bin_below_the_number() -> None:
    x = np.arange(17.0)  # one number at the end of every bin
    made = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    inputs = made.transform({"x": [0.0, 16.0, 5.0, -9.0, 99.0, math.nan]}, np.float64)
    assert inputs.shape == (6, 17)
    shares = inputs[:, 1:]
    assert shares[0].tolist() == [0] * 16
    assert shares[1].tolist() == [1] * 16
    assert shares[2].tolist() == [1] * 5 + [0] * 11
    assert shares[3].tolist() == [0] * 16
    assert shares[4].tolist() == [1] * 16
    assert shares[5].tolist() == [0] * 16


def test_a_number_that_many_rows_have_is_a_step_of_the_embedding() -> None:
    x = np.array([0.0] * 50 + [1.0] * 50)
    made = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    below, above = made.transform({"x": [0.0, 1.0]})[:, 1:]
    assert not below.any()
    assert above.any()


def test_a_bin_of_the_least_width_is_a_step_and_no_warning() -> None:
    pre = TablePreprocessor.fit({"x": [0.0, 1.0, 2.0]}, numeric_embedding="piecewise")
    knots = np.array([[-1.0, 0.0, 5e-324, 1.0]])
    x = pre.center[0] + np.array([-1.0, 1.0])
    inputs = replace(pre, knots=knots).transform({"x": x})
    assert inputs[:, 2].tolist() == [0.0, 1.0]


def test_a_periodic_embedding_is_sines_and_cosines_of_drawn_frequencies() -> None:
    table = {"x": [0.0, 1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 5.0, None]}
    made = TablePreprocessor.fit(table, numeric_embedding="periodic", seed=3)
    again = TablePreprocessor.fit(table, numeric_embedding="periodic", seed=3)
    other = TablePreprocessor.fit(table, numeric_embedding="periodic", seed=4)
    assert made.knots is not None and again.knots is not None and other.knots is not None
    assert np.array_equal(made.knots, again.knots)
    assert not np.isin(made.knots, other.knots).any()
    assert not np.isin(made.knots[0], made.knots[1]).any()
    inputs = made.transform(table, np.float64)
    angles = 2 * np.pi * inputs[:, :1] * made.knots[0]
    assert_close(inputs[:, 1:9], np.sin(angles), terms=8, scale=1.0)
    assert_close(inputs[:, 9:17], np.cos(angles), terms=8, scale=1.0)
    assert not inputs[4, 18:34].any()


@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise"])
@pytest.mark.parametrize("size", [None, 2, 8])
def test_the_first_layer_has_a_block_for_every_column(embedding: Any, size: int | None) -> None:
    made = TablePreprocessor.fit(COLUMNS, numeric_embedding=embedding)
    layer = made.first_layer(size, scale_rate=6.0)
    assert layer.blocks is not None
    net = fn.Network([layer, fn.Dense(1)], inputs=made.inputs, backend="numpy")
    w = np.asarray(net.weights[0])
    names = made.feature_names
    for j in range(w.shape[1]):
        columns = {names[i].split(" ")[0].split("=")[0] for i in np.flatnonzero(w[:, j])}
        assert len(columns) == 1, "an output looks at two columns"
    assert (w != 0).any(axis=1).all(), "an input goes nowhere"
    outputs = [block.outputs for block in layer.blocks if block.inputs == 3]
    assert outputs == ([] if size is None else [min(size, 3)])


@given(
    numbers=st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=6, unique=True),
    spread=st.sampled_from([1e-3, 1.0, 1e3]),
    ulps=st.sampled_from([-2, -1, 1, 2]),
)
def test_a_step_is_at_the_same_number_where_roots_are_rounded_otherwise(
    numbers: list[int], spread: float, ulps: int
) -> None:
    """A model that learned on one machine answers on another whose hypot has other last bits."""
    x = np.array(sorted(numbers) * 20) * spread
    here = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    stored = serialize.write(here)
    assert here.knots is not None
    flat = np.diff(here.knots[0]) == 0
    assert flat.any()
    expected = here.transform({"x": x}, np.float64)[:, 1:]
    hypot = np.hypot
    # Each bin's own number: the largest that is scaled to its lower end.
    z = scale_robustly(x, here.center[0], here.factor[0])
    own = np.array([x[z <= low].max() for low in here.knots[0][:-1]])
    assert np.array_equal(expected[:, flat], (x[:, None] > own)[:, flat])

    def another(a: Any, b: Any) -> Any:
        root = hypot(a, b)
        return root + ulps * np.spacing(root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "hypot", another)
        there = serialize.read(*stored, here.inputs)
        assert np.array_equal(there.transform({"x": x}, np.float64)[:, 1:][:, flat],
                              expected[:, flat])  # fmt: skip


def test_a_step_of_scaled_numbers_would_flip_where_roots_are_rounded_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.array([1.0, 2.0, 4.0] * 20)
    made = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    assert made.knots is not None
    flat = np.diff(made.knots[0]) == 0
    before = made.transform({"x": x}, np.float64)[:, 1:][:, flat]
    hypot = np.hypot
    monkeypatch.setattr(np, "hypot", lambda a, b: np.nextafter(hypot(a, b), 0))
    z = scale_robustly(x, made.center[0], made.factor[0])
    assert not np.array_equal((z[:, None] > made.knots[0][:-1])[:, flat], before)
    assert np.array_equal(made.transform({"x": x}, np.float64)[:, 1:][:, flat], before)
