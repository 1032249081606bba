"""Parts of rows, the order in which they are added up, and the exchange of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet.backends.numpy_backend import NumpyBackend
from fastnet.distributed import parts as table
from fastnet.distributed.group import Group
from fastnet.distributed.ranks import Ranks
from fastnet.distributed.rows import balanced, cut, joined
from fastnet.distributed.sums import PartSums, in_order
from fastnet.distributed.transports import HOST_BLOCK, HostTransport
from fastnet.nn.batch import Batch
from tests.distributed.in_threads import InThreads, run

few = settings(max_examples=40, deadline=None)


@few
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 70))
def test_batches_take_every_row_of_every_part_once(rows: int, parts: int, batch: int) -> None:
    taken = [0] * parts
    for start in range(0, rows, batch):
        stop = min(start + batch, rows)
        bounds = [table.rows_of_batch(part, parts, start, stop) for part in range(parts)]
        assert [first for first, _ in bounds] == taken
        sizes = [last - first for first, last in bounds]
        assert sum(sizes) == stop - start
        assert max(sizes) - min(sizes) <= 1
        taken = [last for _, last in bounds]
    assert taken == table.sizes(rows, parts).tolist()
    assert table.starts(rows, parts)[-1] == rows


@few
@given(st.integers(1, 40), st.data())
def test_ranks_hold_all_parts_and_their_nodes_hold_the_same(parts: int, data: Any) -> None:
    ranks = data.draw(st.integers(1, parts))
    held = [table.parts_of(rank, ranks, parts) for rank in range(ranks)]
    assert [part for one in held for part in one] == list(range(parts))
    assert all(held)
    for one in held:
        assert [p for first, last in table.nodes(one, parts) for p in range(first, last)] == [*one]


@pytest.mark.parametrize(("ranks", "parts"), [(1, 4), (3, 4), (4, 4), (5, 8), (8, 8), (9, 16)])
def test_there_are_as_many_parts_as_a_power_of_two(ranks: int, parts: int) -> None:
    assert table.default_parts(ranks) == parts


def summed(ranks: int, vectors: list[Any], shares: list[float]) -> list[bytes]:
    def add(comm: InThreads) -> bytes:
        group = Group(Ranks(comm, parts=len(vectors)))
        group.settle()
        out = np.empty_like(vectors[0])
        own = slice(group.held.start, group.held.stop)
        sums = PartSums(group, len(out), out.dtype, HostTransport(group, NumpyBackend()))
        for _ in range(2):  # its memory is used again
            sums.add(vectors[own], shares, out)
        return out.tobytes()

    results = run(ranks, add)
    assert all(isinstance(result, bytes) for result in results), results
    return results


@few
@given(st.integers(1, 9), st.data(), st.sampled_from([np.float32, np.float64]))
def test_the_sum_of_the_parts_has_the_same_bits_for_any_number_of_ranks(
    parts: int, data: Any, dtype: Any
) -> None:
    length = data.draw(st.sampled_from([1, 3, 17, HOST_BLOCK + 5]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = [rng.standard_normal(length).astype(dtype) for _ in range(parts)]
    shares = rng.uniform(0, 1, parts).tolist()
    products = np.stack([v * dtype(s) for v, s in zip(vectors, shares, strict=True)])
    expected = in_order(products).tobytes()
    alike = [0.3] * parts  # parts of one share are added up, and their sum is multiplied
    of_alike = (in_order(np.stack(vectors)) * dtype(0.3)).tobytes()
    for ranks in range(1, min(parts, 4) + 1):
        assert set(summed(ranks, vectors, shares)) == {expected}
        assert set(summed(ranks, vectors, alike)) == {of_alike}


def test_another_order_of_addition_has_other_bits() -> None:
    vectors = [*np.random.default_rng(0).standard_normal((4, 999)).astype(np.float32)]
    one_by_one = sum(vectors[1:], start=vectors[0])
    assert summed(2, vectors, [1.0] * 4)[0] != one_by_one.tobytes()


@few
@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.integers(0, 4), st.booleans())
def test_rows_go_to_the_ranks_of_their_parts(counts: list[int], more: int, weighted: bool) -> None:
    total = sum(counts)
    x = np.arange(2 * total, dtype=np.float32).reshape(total, 2)
    places = np.cumsum([0, *counts])

    def exchange(comm: InThreads) -> Any:
        group = Group(Ranks(comm, parts=len(counts) + more))
        group.settle()
        own = slice(places[comm.rank], places[comm.rank + 1])
        weight = x[own, 1].astype(np.float64) if weighted else None
        mine, count = balanced(group, Batch(x[own], np.arange(total)[own], None, weight))
        assert count == total
        return cut(group, mine, count)

    parts = [part for of_rank in run(len(counts), exchange) for part in of_rank]
    assert [len(part) for part in parts] == table.sizes(total, len(parts)).tolist()
    rows = joined(parts)
    assert np.array_equal(rows.x, x)
    assert np.array_equal(rows.labels, np.arange(total))
    assert rows.weight is None if not weighted else np.array_equal(rows.weight, x[:, 1])
