"""``fit(comm=...)``: the result depends on rows, seed and parts, and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnet as fn
from fastnet.distributed import Ranks
from tests.closeness import assert_close
from tests.distributed.in_threads import InThreads, run

N = 101
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 5)) + 3.0
NUMBERS = np.column_stack([X @ [1.0, -1.0, 0.5, 0.0, 2.0], X[:, 0] ** 2])
LABELS = (X.sum(axis=1) > 15).astype(int) + (X[:, 0] > 3.5)
WEIGHT = RNG.integers(0, 4, N).astype(float)
PROBABILITIES = np.where(np.arange(N)[:, None] < 60, np.eye(3)[LABELS], 1 / 3)

DROPPED = [fn.Dense(12, "relu"), fn.Dropout(0.3), fn.Dense(3, "softmax")]
NORMED = [fn.Dense(8), fn.BatchNorm("tanh"), fn.Dense(2)]
BOTH = {"standardize": True, "standardize_targets": True}

RUNS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "labels": (DROPPED, LABELS, {"batch_size": 16, "standardize": True}),
    "weights": (
        DROPPED,
        LABELS,
        {"sample_weight": WEIGHT, "class_weight": "balanced", "validation_split": 0.2},
    ),
    "probabilities": (DROPPED, PROBABILITIES, {"batch_size": 7, "metrics": ["balanced_accuracy"]}),
    "numbers": (
        NORMED,
        NUMBERS,
        {
            **BOTH,
            "batch_size": 20,
            "validation_split": 0.3,
            "early_stopping": 2,
            "metrics": ["mae"],
        },
    ),
    "members": ([fn.Members(3), *DROPPED], LABELS, {"batch_size": 16, "validation_split": 0.2}),
    "in order": (NORMED, NUMBERS, {"shuffle": False, "batch_size": None, "dtype": "float64"}),
}


def shards(values: Any, cuts: list[int], rank: int) -> Any:
    return None if values is None else values[cuts[rank] : cuts[rank + 1]]


def trained(
    ranks: int,
    case: str,
    *,
    cuts: list[int] | None = None,
    parts: int | None = None,
    backend: str = "numpy",
    **more: Any,
) -> Any:
    """Return weights, statistics and history; all ranks must have the same."""
    layers, y, options = RUNS[case]
    options = {**options, **more}
    dtype, weight = options.pop("dtype", "float32"), options.pop("sample_weight", None)
    places = cuts or [N * rank // ranks for rank in range(ranks + 1)]

    def fit(comm: InThreads) -> Any:
        net = fn.Network(layers, inputs=5, dtype=dtype, backend=backend, seed=3)
        mine = [shards(values, places, comm.rank) for values in (X, y, weight)]
        history = net.fit(
            *mine[:2],
            sample_weight=mine[2],
            epochs=4,
            optimizer=fn.Adam(0.02),
            comm=Ranks(comm, parts=parts),
            **options,
        )
        scale = net.preprocessor.description()[1].values()
        arrays = [net.parameters, net.state, *scale, *map(np.array, history.values())]
        return [array.tobytes() for array in arrays], net

    results = run(ranks, fit)
    failed = [result for result in results if not isinstance(result, tuple)]
    assert not failed, failed
    assert all(result[0] == results[0][0] for result in results)
    return results[0]


@pytest.mark.parametrize("case", RUNS)
def test_the_number_of_ranks_changes_no_bit(case: str) -> None:
    alone, _ = trained(1, case)
    for ranks, cuts in ((2, [0, 0, N]), (3, [0, 50, 51, N]), (4, None)):
        assert trained(ranks, case, cuts=cuts)[0] == alone


@pytest.mark.parametrize("case", ["labels", "numbers"])
def test_nor_does_it_on_numba(case: str) -> None:
    alone, _ = trained(1, case, backend="numba")
    assert trained(3, case, backend="numba")[0] == alone


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, N), max_size=3), st.integers(4, 6))
def test_nor_which_rank_holds_which_rows(cuts: list[int], parts: int) -> None:
    places = [0, *sorted(cuts), N]
    here = trained(len(places) - 1, "weights", cuts=places, parts=parts)[0]
    assert here == trained(1, "weights", parts=parts)[0]


def test_the_number_of_parts_and_the_seed_do() -> None:
    found = {tuple(trained(1, "labels", parts=parts)[0]) for parts in (1, 2, 4)}
    assert len(found) == 3


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"sample_weight": WEIGHT, "class_weight": {0: 2.0}, "validation_split": 0.2},
        {
            "validation_data": (X[:30], LABELS[:30]),
            "metrics": ["balanced_accuracy"],
            "early_stopping": 1,
        },
    ],
)
def test_one_part_has_the_bits_of_training_without_ranks(
    backend: str, more: dict[str, Any]
) -> None:
    net = fn.Network(DROPPED, inputs=5, backend=backend, seed=3)  # type: ignore[arg-type]
    how: dict[str, Any] = {"batch_size": 16, "standardize": False, **more}
    history = net.fit(X, LABELS, epochs=4, optimizer=fn.Adam(0.02), **how)
    expected = [net.parameters, net.state, *map(np.array, history.values())]
    found, other = trained(1, "labels", parts=1, backend=backend, **how)
    assert found == [array.tobytes() for array in expected]
    assert other.history.majority == history.majority


OPTIONS: dict[str, list[Any]] = {
    "batch_size": [7, 16, None],
    "sample_weight": [None, WEIGHT],
    "class_weight": [None, "balanced", {0: 2.0, 2: 0.5}],
    "validation_split": [0.0, 0.3],
    "early_stopping": [None, fn.EarlyStopping(1, min_delta=0.05, restore_best=False)],
    "metrics": [[], ["balanced_accuracy"]],
    "shuffle": [True, False],
    "dtype": ["float32", "float64"],
    "loss": [None, fn.losses.CrossEntropy(label_smoothing=0.1)],
}


@settings(max_examples=8)
@given(st.fixed_dictionaries({name: st.sampled_from(all_) for name, all_ in OPTIONS.items()}))
def test_no_option_together_with_others_is_left_out(how: dict[str, Any]) -> None:
    alone = {name: value for name, value in how.items() if name != "dtype"}
    net = fn.Network(DROPPED, inputs=5, dtype=how["dtype"], backend="numpy", seed=3)
    net.fit(X, LABELS, epochs=4, optimizer=fn.Adam(0.02), **alone)
    found, other = trained(1, "labels", parts=1, **{"standardize": False, **how})
    assert found[0] == net.parameters.tobytes()
    assert net.history is not None
    assert other.history.records.keys() == net.history.records.keys()
    assert other.history.epochs == net.history.epochs
    assert other.history.stop_reason == net.history.stop_reason


def test_parts_only_round_otherwise_than_all_rows_at_once() -> None:
    how: dict[str, Any] = {"batch_size": 25, "shuffle": False, **BOTH, "dtype": "float64"}
    layers = [fn.Dense(8, "tanh"), fn.Dense(2)]
    RUNS["plain"] = layers, NUMBERS, how
    _, found = trained(2, "plain", parts=4)
    net = fn.Network(layers, inputs=5, dtype="float64", backend="numpy", seed=3)
    # In each batch the places go round the parts; without ranks, the same rows come in this order.
    order = np.concatenate([np.arange(N)[26 * p : 26 * p + 26] for p in range(1)])
    starts = np.concatenate([[0], np.cumsum(-(-(N - np.arange(4)) // 4))])
    order = np.array([starts[k % 4] + k // 4 for k in range(N)])
    rest = {name: value for name, value in how.items() if name != "dtype"}
    net.fit(X[order], NUMBERS[order], epochs=4, optimizer=fn.Adam(0.02), **rest)
    steps = 4 * 5
    assert_close(found.parameters, net.parameters, terms=steps * N, factor=64)
    assert_close(found.preprocessor.mean, net.preprocessor.mean, terms=N)
    assert_close(found.preprocessor.scale, net.preprocessor.scale, terms=N)


def test_every_rank_reads_its_rows_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.column_stack([X, LABELS, WEIGHT]))

    def fit(comm: InThreads) -> bytes:
        chunks = fn.data.Chunks(file, target=-2, weight=-1)
        net = fn.Network(DROPPED, inputs=5, backend="numpy", seed=3)
        net.fit(chunks, epochs=4, optimizer=fn.Adam(0.02), batch_size=16, comm=comm)
        return net.parameters.tobytes()

    how: dict[str, Any] = {"sample_weight": WEIGHT, "standardize": False}
    expected = trained(1, "labels", **how)[1].parameters.tobytes()
    assert run(3, fit) == [expected] * 3


def test_a_table_in_a_file_gets_its_preprocessor_from_it(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    names = ["red", "green", "blue"]
    lines = [
        f"{a:.4f},{names[k]},{b:.4f}" for a, k, b in zip(X[:, 0], LABELS, X[:, 1], strict=True)
    ]
    file.write_text("\n".join(["a,colour,b", *lines]), encoding="utf-8")

    def fit(comm: InThreads) -> Any:
        chunks = fn.data.Chunks(file, target="colour")
        net = fn.Network([2, 8, 3], output_activation="softmax", backend="numpy")
        net.fit(chunks, epochs=3, validation_data=chunks, comm=comm)
        assert net.label_names == ("blue", "green", "red")
        return net.parameters.tobytes(), net.history["val_accuracy"]

    assert run(2, fit) == run(1, fit) * 2


def test_further_calls_go_on() -> None:
    def twice(comm: InThreads) -> bytes:
        net = fn.Network([5, 4, 2], backend="numpy")
        cuts = [N * rank // comm.size for rank in range(comm.size + 1)]
        for _ in range(2):
            how: dict[str, Any] = {"standardize": "running", "comm": comm}
            net.fit(shards(X, cuts, comm.rank), shards(NUMBERS, cuts, comm.rank), epochs=1, **how)
        assert net.preprocessor.moments.weight == 2 * N
        return net.parameters.tobytes()

    assert run(3, twice) == run(1, twice) * 3
