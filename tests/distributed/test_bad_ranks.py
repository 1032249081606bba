"""Ranks that fail, or are given different things: all of them end with one sentence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.distributed import Ranks
from fastnet.training.interrupt import stopped_by
from tests.distributed.in_threads import InThreads, run

X = np.random.default_rng(0).standard_normal((24, 3))
Y = X[:, 0]

CALLED = fn.Network([3, 4, 1], backend="numpy")
CALLED.label_names = ("up",)


def fit(comm: Any, x: Any = X, y: Any = Y, net: Any = None, **options: Any) -> fn.Network:
    net = net or fn.Network([3, 4, 1], backend="numpy")
    net.fit(x, y, **{"epochs": 3, "batch_size": 8, "comm": comm, **options})
    return net  # type: ignore[no-any-return]


def on_rank_1(wrong: dict[str, Any]) -> Callable[[InThreads], Any]:
    return lambda comm: fit(comm, **(wrong if comm.rank == 1 else {}))


def stop(run: fn.Run) -> None:
    run.stop("enough")


def fail(run: fn.Run) -> None:
    raise RuntimeError("the disk is full")


NAN = np.where(np.arange(24)[:, None] == 5, np.nan, X)


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ({"x": NAN}, fn.InputError, "x holds nan at row 5"),
        ({"x": X[:, :2]}, fn.InputError, "x must have 3 columns, got 2"),
        ({"y": LookupError}, fn.InputError, "y must hold numbers"),
        ({"epochs": 0}, fn.InputError, "epochs must be a whole number"),
        ({"callbacks": [fail]}, RuntimeError, "the disk is full"),
    ],
)
def test_an_error_on_one_rank_ends_all_of_them(wrong: Any, kind: type, text: str) -> None:
    results = run(3, on_rank_1(wrong))
    assert type(results[1]) is kind
    assert text in str(results[1])
    for other in (results[0], results[2]):
        assert type(other) is fn.DistributedError
        assert str(other).startswith(f"rank 1 failed, and all ranks end: {kind.__name__}: ")
        assert text in str(other)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"epochs": 5}, "epochs is 3 on rank 0 and 5 on rank 1"),
        ({"batch_size": 9}, "batch_size is 8 on rank 0 and 9 on rank 1"),
        ({"optimizer": "sgd"}, "optimizer is "),
        ({"loss": "mae"}, "loss is "),
        ({"net": fn.Network([3, 5, 1], backend="numpy")}, "layers is "),
        ({"net": fn.Network([3, 4, 1], backend="numpy", seed=1)}, "seed is 0 on rank 0 and 1"),
        ({"net": fn.Network([3, 4, 1], backend="numpy", dtype="float64")}, "dtype is 'float32'"),
        ({"net": fn.Network([3, 4, 1], backend="numba")}, "backend is 'numpy' on rank 0 and"),
        ({"sample_weight": np.ones(24)}, "sample_weight is given on some only"),
        ({"validation_split": 0.5}, "validation_split is 0.0 on rank 0 and 0.5 on rank 1"),
        ({"validation_data": (X, Y)}, "kind of validation_data is absent on rank 0 and 'rows'"),
        ({"net": CALLED}, "label_names is absent on rank 0 and ['up']"),
    ],
)
def test_what_the_ranks_are_given_otherwise_is_named(wrong: Any, text: str) -> None:
    all_name(run(2, on_rank_1(wrong)), text)


def all_name(results: list[Any], text: str) -> None:
    """All ranks say the same sentence of what they were given."""
    for result in results:
        assert type(result) is fn.InputError, result
        assert str(result).startswith("all ranks must be given the same: ")
        assert text in str(result)


@pytest.mark.parametrize(
    "other", [{"min_delta": 0.5}, {"restore_best": False}, {"monitor": "loss"}, {"mode": "max"}]
)
def test_so_is_any_setting_of_early_stopping(other: Any) -> None:
    def train(comm: InThreads) -> Any:
        return fit(comm, early_stopping=fn.EarlyStopping(2, **(other if comm.rank else {})))

    all_name(run(2, train), "early_stopping is [{")


def test_so_is_the_number_of_parts() -> None:
    results = run(2, lambda comm: fit(Ranks(comm, parts=4 + 4 * comm.rank)))
    all_name(results, "parts is 4 on rank 0 and 8 on rank 1")


@pytest.mark.parametrize("other", [{"resume": True}, {"checkpoint_every": 2}])
def test_so_is_how_checkpoints_are_kept(tmp_path: Path, other: dict[str, Any]) -> None:
    how: dict[str, Any] = {"checkpoint": tmp_path}
    results = run(2, lambda comm: fit(comm, **how, **(other if comm.rank else {})))
    all_name(results, f"{next(iter(other))} is ")


def written(folder: Path, name: str, first: str = "a", other: str = "x") -> Path:
    file = folder / name
    lines = [f"{k},{k * k % 7},{'y' if k % 2 else other}" for k in range(24)]
    file.write_text("\n".join([f"{first},b,kind", *lines]), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"first": "c"}, "columns of x is ['a', 'b', 'kind'] on rank 0 and ['c', 'b', 'kind']"),
        ({"other": "z"}, "preprocessor"),
    ],
)
def test_so_is_another_file_of_chunks(tmp_path: Path, other: dict[str, str], text: str) -> None:
    files = written(tmp_path, "mine.csv"), written(tmp_path, "theirs.csv", **other)

    def train(comm: InThreads) -> Any:
        net = fn.Network([2, 4, 2], output_activation="softmax", backend="numpy")
        return fit(comm, fn.data.Chunks(files[comm.rank], target="kind"), None, net)

    all_name(run(2, train), text)


def test_so_are_other_arrays_of_chunks(tmp_path: Path) -> None:
    rows = np.column_stack([X, Y])
    np.save(tmp_path / "0.npy", rows)
    np.save(tmp_path / "1.npy", rows[::-1])

    def train(comm: InThreads) -> Any:
        return fit(comm, fn.data.Chunks(tmp_path / f"{comm.rank}.npy", target=-1), None)

    all_name(run(2, train), "content of x is ")


def test_so_are_the_columns_of_data_sets(tmp_path: Path) -> None:
    files = written(tmp_path, "mine.csv", "k"), written(tmp_path, "theirs.csv", "b2")

    def train(comm: InThreads) -> Any:
        data = fn.data.load(files[comm.rank], target="b", drop="kind")
        return fit(comm, data, None, fn.Network([1, 1], backend="numpy"))

    all_name(run(2, train), "columns of x is ['k'] on rank 0 and ['b2'] on rank 1")


def test_class_weights_may_be_built_in_another_order() -> None:
    def train(comm: InThreads) -> Any:
        net = fn.Network([3, 4, 2], output_activation="softmax", backend="numpy")
        weight = {1: 2.0, 0: 1.0} if comm.rank else {0: 1.0, 1: 2.0}
        return fit(comm, y=(Y > 0).astype(int), net=net, class_weight=weight).parameters.tobytes()

    here, there = run(2, train)
    assert isinstance(here, bytes) and here == there


def test_other_weights_at_the_start_are_found() -> None:
    other = fn.Network([3, 4, 1], backend="numpy")
    other.biases[0] = np.ones(4)
    for result in run(2, on_rank_1({"net": other})):
        assert "the same: parameters is " in str(result)


def test_labels_here_and_probabilities_there_are_no_targets() -> None:
    def train(comm: InThreads) -> Any:
        net = fn.Network([3, 4, 2], output_activation="softmax", backend="numpy")
        return fit(comm, y=np.full((24, 2), 0.5) if comm.rank else (Y > 0).astype(int), net=net)

    results = run(2, train)
    assert "labels on some, and probabilities on others" in str(results[0])
    assert type(results[1]) is fn.DistributedError


def test_a_rank_that_stops_alone_is_found() -> None:
    for result in run(2, on_rank_1({"callbacks": [stop]})):
        assert type(result) is fn.DistributedError
        assert "the same callbacks" in str(result)


def test_all_may_stop_together() -> None:
    for net in run(2, lambda comm: fit(comm, callbacks=[stop])):
        assert len(net.history.epochs) == 1


def test_ctrl_c_on_one_rank_ends_all_after_the_same_batch() -> None:
    pressed = threading.Event()

    def press(run: fn.Run) -> None:
        if run.epoch == 2:
            pressed.set()

    def train(comm: InThreads) -> Any:
        net = fn.Network([3, 4, 1], backend="numpy")
        with stopped_by(pressed if comm.rank == 1 else threading.Event()):
            try:
                fit(comm, net=net, epochs=9999, callbacks=[press] if comm.rank == 1 else [])
            except KeyboardInterrupt:
                return net.parameters.tobytes(), net.history.epochs
        raise AssertionError("it was not interrupted")

    results = run(3, train)
    assert all(isinstance(result, tuple) for result in results), results
    assert results[0] == results[1] == results[2]


def test_a_divergence_is_the_same_on_all_ranks() -> None:
    optimizer = fn.SGD(1e30)
    for result in run(2, lambda comm: fit(comm, optimizer=optimizer)):
        assert type(result) is fn.DivergenceError


def test_weights_that_drift_apart_are_found() -> None:
    """Ranks on different processors may round otherwise."""

    def train(comm: InThreads) -> Any:
        net = fn.Network([3, 4, 1], backend="numpy")

        def move(run: fn.Run) -> None:
            if comm.rank == 1:
                net.parameters[0] += 1

        return fit(comm, net=net, callbacks=[move])

    for result in run(2, train):
        assert "rank 1 computes other weights than rank 0" in str(result)


def test_so_are_those_that_a_callback_changed_at_the_end() -> None:
    def train(comm: InThreads) -> Any:
        net = fn.Network([3, 4, 1], backend="numpy")

        class Last(fn.Callback):
            def on_train_end(self, run: fn.Run) -> None:
                net.parameters[0] += comm.rank

        return fit(comm, net=net, callbacks=[Last()])

    for result in run(2, train):
        assert type(result) is fn.DistributedError
        assert "callbacks that change weights alike" in str(result)


def test_metrics_that_draw_are_those_of_rank_0() -> None:
    def train(comm: InThreads) -> Any:
        draws = np.random.default_rng(comm.rank)
        metric: Any = lambda target, output: draws.uniform()  # noqa: E731
        metric.mode, metric.__name__ = "min", "drawn"
        stopping = fn.EarlyStopping(3, monitor="drawn")
        net = fit(comm, epochs=9, metrics=[metric], early_stopping=stopping)
        assert net.history is not None
        return net.parameters.tobytes(), net.history["drawn"]

    here, there = run(2, train)
    assert here == there
    draws = np.random.default_rng(0)
    assert here[1] == [draws.uniform() for _ in here[1]]


@pytest.mark.parametrize(
    ("ranks", "options", "text"),
    [
        (1, {"optimizer": "lbfgs"}, "lbfgs needs all data at once"),
        (1, {"loss": lambda o, t: ((o - t) ** 2, 2 * (o - t))}, "a loss of your own"),
        (1, {"x": X[:3], "y": Y[:3]}, "there are 3 rows for 4 parts on 1 ranks"),
        (2, {"x": X[:0], "y": Y[:0]}, "x is empty on all ranks"),
        (2, {"sample_weight": np.zeros(24)}, "the weights are 0 everywhere"),
        (1, {"x": {"a": Y, "b": Y, "c": Y}}, "a table needs a preprocessor that all ranks share"),
        (1, {"y": None}, "y is None: expected targets"),
        (1, {"validation_split": 0.01}, "leaves none for validation"),
        (2, {"validation_split": 0.2, "validation_data": (X, Y)}, "or validation_split, not both"),
    ],
)
def test_what_ranks_cannot_do_is_refused(ranks: int, options: Any, text: str) -> None:
    for result in run(ranks, lambda comm: fit(comm, **options)):
        assert type(result) is fn.InputError
        assert text in str(result)


def test_small_batches_of_batch_normalisation_are_refused() -> None:
    net = fn.Network([fn.Dense(4), fn.BatchNorm("relu"), fn.Dense(1)], inputs=3, backend="numpy")
    with pytest.raises(fn.InputError, match="at least 2 rows of each of the 4 parts"):
        run_alone = run(1, lambda comm: fit(comm, net=net, batch_size=7))
        raise run_alone[0]


def test_more_ranks_than_parts_are_refused() -> None:
    for result in run(3, lambda comm: fit(Ranks(comm, parts=2))):
        assert str(result).startswith("parts=2, and there are 3 ranks")


@pytest.mark.parametrize("comm", [3, "MPI", InThreads, Ranks(None)])
def test_what_is_no_communicator_is_refused(comm: Any) -> None:
    with pytest.raises(fn.InputError, match=r"comm must be a communicator of mpi4py"):
        fit(comm)


@pytest.mark.parametrize("wrong", [{"parts": 0}, {"parts": 1.5}, {"timeout": 0}])
def test_numbers_that_cannot_be_are_refused(wrong: Any) -> None:
    with pytest.raises(fn.InputError, match=f"{next(iter(wrong))} must be"):
        Ranks(None, **wrong)


def test_the_network_can_be_trained_after_a_failure() -> None:
    def train(comm: InThreads) -> bytes:
        net = fn.Network([3, 4, 1], backend="numpy")
        with pytest.raises((fn.InputError, fn.DistributedError)):
            fit(comm, x=NAN if comm.rank else X, net=net)
        return fit(comm, net=net).parameters.tobytes()

    assert run(2, train) == run(2, lambda comm: fit(comm).parameters.tobytes())


def test_a_checkpoint_that_cannot_be_written_ends_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results = run(2, lambda comm: fit(comm, checkpoint=tmp_path / "file" / "run"))
    assert type(results[0]) is fn.CheckpointError
    assert "rank 0 failed" in str(results[1])
