"""Strips divide the weights of a layer, cover its blocks, and cost no more than all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn import strips
from fastnet.nn.layers import BatchNorm, Block, Dense
from fastnet.nn.plan import block_places, make_plan
from fastnet.nn.strips import Strip

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
BLOCKS = st.lists(st.builds(lambda size: Block(*size), SIZES), min_size=1, max_size=30)
WIDTHS = st.sampled_from([1, 2, 4, 8, 16, 64])


def covered(blocks: list[Block], parts: list[Strip]) -> NDArray[np.int64]:
    """Return how many strips have each weight."""
    count = np.zeros((sum(b.inputs for b in blocks), sum(b.outputs for b in blocks)), np.int64)
    for part in parts:
        count[part.rows, part.columns] += 1
    return count


def assert_divided(blocks: list[Block], parts: list[Strip], width: int, *, by_rows: bool) -> None:
    """Raise unless the strips follow one another and have all weights of all blocks once."""
    count = covered(blocks, parts)
    for rows, columns, _ in block_places(tuple(blocks)):
        assert (count[rows, columns] == 1).all()
    ends = [(p.row, p.row_end) if by_rows else (p.column, p.column_end) for p in parts]
    assert ends[0][0] == 0 and ends[-1][1] == count.shape[0 if by_rows else 1]
    assert all(one[1] == other[0] for one, other in pairwise(ends))
    assert all(start % width == 0 and start < end for start, end in ends)
    assert count.max() == 1


@given(BLOCKS, WIDTHS)
def test_strips_divide_the_matrix_and_cover_the_blocks(blocks: list[Block], width: int) -> None:
    assert_divided(blocks, strips.of_columns(blocks, width), width, by_rows=False)
    assert_divided(blocks, strips.of_rows(blocks, width), width, by_rows=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda parts: parts[:-1],
        lambda parts: [parts[0]._replace(row_end=parts[0].row_end - 1), *parts[1:]],
        lambda parts: [parts[0], *parts],
    ],
    ids=["one is missing", "one is short", "one comes twice"],
)
def test_wrong_strips_are_noticed(damage: object) -> None:
    blocks = [Block(17, 8)] * 6
    parts = strips.of_columns(blocks, 8)
    assert_divided(blocks, parts, 8, by_rows=False)
    with pytest.raises(AssertionError):
        assert_divided(blocks, damage(parts), 8, by_rows=False)  # type: ignore[operator]


def test_many_small_blocks_become_one_strip_for_each_vector() -> None:
    assert strips.of_columns([Block(17, 8)] * 4, 16) == [(0, 34, 0, 16), (34, 68, 16, 32)]
    assert strips.of_rows([Block(17, 8)] * 4, 34) == [(0, 34, 0, 16), (34, 68, 16, 32)]


def test_strips_of_the_same_rows_become_one() -> None:
    assert strips.of_columns([Block(50, 100), Block(50, 100)], 4) == [
        (0, 50, 0, 100),
        (50, 100, 100, 200),
    ]


def test_strips_that_overlap_much_become_one() -> None:
    assert strips.of_columns([Block(3, 3)] * 2, 4) == [(0, 6, 0, 6)]


def test_the_table_has_the_strips_of_each_dense_layer() -> None:
    layers = Dense(32, blocks=(Block(17, 16), Block(9, 16))), BatchNorm(), Dense(3)
    plan = make_plan(26, layers)
    table = strips.table(plan, 16).tolist()
    assert table[:3] == [[3, 5, 5, 7], [7, 7, 7, 7], [7, 8, 8, 9]]
    assert table[3:5] == [[0, 17, 0, 16], [17, 26, 16, 32]]
    # The last row of the first block is among the second 16 rows.
    assert table[5:7] == [[0, 16, 0, 16], [16, 26, 0, 32]]
    assert table[7:] == [[0, 32, 0, 3]] * 2
    whole = strips.table(plan, 16, whole=True).tolist()
    assert whole[3:] == [[0, 26, 0, 32]] * 2 + [[0, 32, 0, 3]] * 2


# --- weights outside ------------------------------------------------------------------------------

LAYERS = [Dense(4, blocks=(Block(2, 3), Block(1, 1))), Dense(2)]


def network() -> fn.Network:
    return fn.Network(LAYERS, inputs=3, backend="numpy", seed=1)


def test_outside_are_the_weights_that_no_block_has() -> None:
    outside = strips.outside(network().plan)
    assert outside is not None
    assert outside[:12].reshape(3, 4).tolist() == [[0, 0, 0, 1]] * 2 + [[1, 1, 1, 0]]
    assert not outside[12:].any()
    assert strips.outside(make_plan(3, (Dense(4), Dense(2)))) is None


REFUSED = "outside of the blocks of a dense layer must be 0, got 1 others"


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_assignment_of_other_weights_is_refused_and_changes_nothing(value: float) -> None:
    net = network()
    before = net.parameters.copy()
    other = before.copy()
    other[3], other[0] = value, 7.0
    with pytest.raises(fn.InputError, match=REFUSED):
        net.parameters = other
    weights = net.weights[0].copy()
    weights[0, 3] = 0.5
    with pytest.raises(fn.InputError, match=REFUSED):
        net.weights[0] = weights
    assert net.parameters.tobytes() == before.tobytes()
    net.parameters = before * 2
    net.weights[1] = np.ones((4, 2))
    assert net.parameters[0] == 2 * before[0]


def test_what_was_written_into_a_view_is_refused_where_it_would_count(tmp_path: object) -> None:
    net = network()
    net.save(f"{tmp_path}/good.fnet")
    net.weights[0][0, 3] = 0.5
    x = np.ones((8, 3))
    with pytest.raises(fn.InputError, match=REFUSED):
        net.fit(x, x[:, :2], epochs=1)
    with pytest.raises(fn.InputError, match=REFUSED):
        net.save(f"{tmp_path}/bad.fnet")


def test_a_file_with_other_weights_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network()
    net.weights[0][0, 3] = 0.5
    with monkeypatch.context() as patched:
        patched.setattr(fn.Network, "check_blocks", lambda self: None)
        net.save(f"{tmp_path}/bad.fnet")
    with pytest.raises(fn.ModelFileError, match=REFUSED):
        fn.load(f"{tmp_path}/bad.fnet", backend="numpy")
