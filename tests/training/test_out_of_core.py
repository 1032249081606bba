"""Training on rows that stay in their file: which rows when, the same result, little memory."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.benchmarks import tables_memory
from fastnet.data import Chunks
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.losses import MSE
from fastnet.preprocessing.scaler import Scaler
from fastnet.tables import TablePreprocessor
from fastnet.training import out_of_core
from fastnet.training.out_of_core import Moments, Windows
from tests.cli.calling import run, succeed
from tests.closeness import assert_close

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = 203
RNG = np.random.default_rng(9)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
Y = (X[:, 0] * 2 - X[:, 1]).astype(np.float32)
WEIGHT = RNG.integers(1, 4, ROWS).astype(np.float32)
MATRIX = np.column_stack([X, Y])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "m.npy", MATRIX)
    return tmp_path / "m.npy"


def parquet(path: Path, matrix: NDArray[Any] = MATRIX, group: int = 37) -> Path:
    columns = {name: matrix[:, j] for j, name in enumerate("abcdefg"[: matrix.shape[1]])}
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def network(backend: str | Backend = "numpy", dtype: str = "float64") -> fn.Network:
    net = fn.Network([3, 5, 1], dtype=dtype, seed=6, backend="numpy", activation="tanh")
    return net.to(backend) if isinstance(backend, str) else net._copy_to(backend, "float32")


# --- the same as in memory ------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [16, 1000, None])
def test_one_block_that_holds_all_gives_the_bits_of_training_in_memory(
    file: Path, backend: Backend, shuffle: bool, batch_size: int | None
) -> None:
    nets = [network(backend) for _ in range(2)]
    options: dict[str, Any] = {"epochs": 3, "batch_size": batch_size, "shuffle": shuffle}
    one = nets[0].fit(X, Y, **options)
    other = nets[1].fit(Chunks(file, target=-1), **options)
    assert np.array_equal(*(backend.to_host(net.parameters) for net in nets))
    assert one["loss"] == other["loss"]
    assert one["r2"] == pytest.approx(other["r2"], rel=1e-12)


def test_two_blocks_give_another_order() -> None:
    nets = [network(), network()]
    for net, chunk_rows in zip(nets, (ROWS, 48), strict=True):
        net.fit(Chunks(MATRIX, target=-1, chunk_rows=chunk_rows), epochs=1, batch_size=16)
    assert not np.array_equal(nets[0].parameters, nets[1].parameters)


def test_without_a_shuffle_blocks_of_any_size_give_the_same_bits(file: Path) -> None:
    nets = []
    for chunk_rows in (16, 48, 100, ROWS):
        net = network()
        blocks = Chunks(file, target=-1, chunk_rows=chunk_rows)
        net.fit(blocks, epochs=2, batch_size=16, shuffle=False)
        nets.append(np.array(net.parameters))
    assert all(np.array_equal(nets[0], other) for other in nets[1:])


@pytest.mark.parametrize("kind", ["npy", "memmap", "slice of memmap", "array", "parquet", "apart"])
def test_every_source_gives_the_same_bits(tmp_path: Path, file: Path, kind: str) -> None:
    mapped = np.load(file, mmap_mode="r")
    np.save(tmp_path / "wide.npy", np.concatenate([MATRIX[:5], MATRIX]))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    options: dict[str, Any] = {"chunk_rows": 48}
    sources = {
        "npy": lambda: Chunks(str(file), target=3, **options),
        "memmap": lambda: Chunks(mapped, target=[-1], **options),
        "slice of memmap": lambda: Chunks(
            np.load(tmp_path / "wide.npy", mmap_mode="r")[5:], target=-1, **options
        ),
        "array": lambda: Chunks(MATRIX, target=-1, **options),
        "parquet": lambda: Chunks(parquet(tmp_path / "m.parquet"), target="d", **options),
        "apart": lambda: Chunks(tmp_path / "x.npy", tmp_path / "y.npy", **options),
    }
    one, other = network(), network()
    one.fit(Chunks(MATRIX, target=-1, **options), epochs=2, batch_size=16)
    other.fit(sources[kind](), epochs=2, batch_size=16)
    assert np.array_equal(one.parameters, other.parameters)


def test_standardized_inputs_are_those_of_memory_but_for_rounding(file: Path) -> None:
    one, other = network(), network()
    one.fit(X * 50 + 7, Y, epochs=1, standardize=True)
    moved = np.column_stack([X * 50 + 7, Y])
    other.fit(Chunks(moved, target=-1, chunk_rows=10), epochs=1, standardize=True)
    assert isinstance(one.preprocessor, Scaler) and isinstance(other.preprocessor, Scaler)
    assert_close(other.preprocessor.mean, one.preprocessor.mean, terms=ROWS)
    assert_close(other.preprocessor.scale, one.preprocessor.scale, terms=ROWS)


def test_weights_and_validation_data_count(file: Path) -> None:
    held = X[:20], Y[:20]
    one, other = network(), network()
    options: dict[str, Any] = {"epochs": 4, "validation_data": held, "metrics": ["mae"]}
    history = one.fit(X, Y, sample_weight=WEIGHT, early_stopping=3, **options)
    blocks = Chunks(np.column_stack([WEIGHT, MATRIX]), target=-1, weight=0)
    again = other.fit(blocks, early_stopping=3, **options)
    assert np.array_equal(one.parameters, other.parameters)
    assert history["val_mae"] == again["val_mae"]
    assert history["r2"] == pytest.approx(again["r2"])


def test_classes_are_class_numbers_or_have_labels() -> None:
    labels = np.array([10.0, 20.0, 35.0])
    classes = RNG.integers(0, 3, ROWS)
    nets = []
    for values, names in ((classes, None), (labels[classes], labels)):
        net = fn.Network([3, 4, 3], output_activation="softmax", backend="numpy")
        blocks = Chunks(np.column_stack([X, values]), target=-1, labels=names, chunk_rows=64)
        net.fit(blocks, epochs=2, batch_size=32, class_weight={1: 2.0})
        nets.append(net)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


def test_training_goes_on_where_it_stopped(file: Path) -> None:
    blocks = Chunks(file, target=-1, chunk_rows=48)
    one, other = network(), network()
    one.fit(blocks, epochs=4, batch_size=16)
    other.fit(blocks, epochs=2, batch_size=16)
    other.fit(blocks, epochs=2, batch_size=16)
    assert np.array_equal(one.parameters, other.parameters)


def test_a_preprocessor_takes_rows_with_gaps() -> None:
    gaps = np.where(RNG.random(MATRIX.shape) < 0.2, np.nan, MATRIX)
    gaps[:, -1] = Y
    made = TablePreprocessor.fit(gaps[:, :3], Y)
    net = fn.Network([made.inputs, 6, 1], backend="numpy")
    net.preprocessor = made
    net.fit(Chunks(gaps, target=-1, chunk_rows=64), epochs=60, optimizer=fn.Adam(0.01))
    assert net.evaluate(gaps[:, :3], Y)["r2"] > 0.5


# --- which rows when ------------------------------------------------------------------------------


class Seen:
    """Trains nothing and writes down the rows of every batch, by their first number."""

    def __init__(self, blocks: Chunks, batch_size: int, *, shuffle: bool = True) -> None:
        self.net, self.batches = network(), []
        self.windows = Windows(blocks, self.net, MSE(), batch_size, None, standardize=False)
        self.config = fn.backends.engine.TrainConfig(
            MSE(), fn.SGD(), batch_size, self.net.seed, shuffle
        )
        engine = self.net.engine()
        engine.train_step = self._note  # type: ignore[method-assign]
        backend = self.net.backend_object
        self.engine = out_of_core.ChunkEngine(engine, backend, self.windows)
        engine.read_tally = lambda: fn.backends.epochs.LossSums(0, 0, 1, 1)  # type: ignore[method-assign]

    def _note(self, batch: Any, *_: Any) -> None:
        self.batches.append(np.array(batch.x[:, 0]))

    def epoch(self, epoch: int, parts: tuple[int, ...] = ()) -> list[NDArray[Any]]:
        """Return the batches of an epoch, handed over in one part or in several."""
        self.batches.clear()
        steps, first = self.config.steps(len(self.windows)), 0
        for part in parts or (steps,):
            count = min(part, steps - first)
            self.engine.train_epoch(
                None, self.config, None, np.zeros((count, 4)), epoch=epoch, step=first, first=first
            )
            first += count
        return list(self.batches)


NUMBERED = np.column_stack([np.arange(ROWS), X[:, 1:], Y])
SHAPES = [(16, 48), (16, 50), (7, 20), (16, 16), (16, 3), (50, ROWS), (ROWS, 5), (1, 1), (300, 64)]


@pytest.mark.parametrize(("batch_size", "chunk_rows"), SHAPES)
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_every_row_comes_exactly_once_in_an_epoch(
    batch_size: int, chunk_rows: int, epoch: int
) -> None:
    seen = Seen(Chunks(NUMBERED, target=-1, chunk_rows=chunk_rows), min(batch_size, ROWS))
    batches = seen.epoch(epoch)
    assert Counter(np.concatenate(batches)) == Counter(range(ROWS))
    assert sum(len(batch) < min(batch_size, ROWS) for batch in batches) <= 1


@pytest.mark.parametrize(("batch_size", "chunk_rows"), SHAPES)
def test_the_order_is_the_documented_one(batch_size: int, chunk_rows: int) -> None:
    """Written down anew, from the two permutations alone."""
    batch = min(batch_size, ROWS)
    seen = Seen(Chunks(NUMBERED, target=-1, chunk_rows=chunk_rows), batch)
    size = chunk_rows if chunk_rows >= ROWS else max(batch, chunk_rows // batch * batch)
    blocks = [np.arange(start, min(start + size, ROWS)) for start in range(0, ROWS, size)]
    windows = -(-len(blocks) // 2)
    for epoch in (0, 3):
        order = random.permutation(len(blocks), seed=6, epoch=epoch, purpose=abi.BLOCKS)
        expected: list[NDArray[Any]] = []
        for w in range(windows):
            rows = np.concatenate([blocks[b] for b in order[2 * w : 2 * w + 2]])
            rows = rows[random.permutation(len(rows), seed=6, epoch=epoch * windows + w)]
            expected += [rows[i : i + batch] for i in range(0, len(rows), batch)]
        got = seen.epoch(epoch)
        assert len(got) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_the_order_does_not_depend_on_how_an_epoch_is_handed_over() -> None:
    seen = Seen(Chunks(NUMBERED, target=-1, chunk_rows=32), 8)
    whole = seen.epoch(2)
    for parts in ((1,) * 30, (5, 5, 5, 50), (3, 1, 9, 50)):
        again = seen.epoch(2, parts)
        assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))


def test_epochs_differ_and_without_a_shuffle_nothing_moves() -> None:
    blocks = Chunks(NUMBERED, target=-1, chunk_rows=32)
    seen = Seen(blocks, 8)
    assert not np.array_equal(np.concatenate(seen.epoch(0)), np.concatenate(seen.epoch(1)))
    still = Seen(blocks, 8, shuffle=False)
    assert np.array_equal(np.concatenate(still.epoch(1)), np.arange(ROWS))


def test_a_window_is_read_once() -> None:
    seen = Seen(Chunks(NUMBERED, target=-1, chunk_rows=32), 8)
    reads: list[int] = []
    read = seen.windows.read
    seen.windows.read = lambda order, w: reads.append(w) or read(order, w)  # type: ignore[method-assign,func-returns-value]
    seen.epoch(0, (1,) * 30)
    assert reads == list(range(seen.windows.windows))


# --- sums in pieces -------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_of_pieces_are_those_of_all_rows(offset: float) -> None:
    values, weight = RNG.normal(size=(100, 3)) + offset, RNG.random(100)
    moments = Moments()
    for start in range(0, 100, 7):
        moments = moments.plus(values[start : start + 7], weight[start : start + 7])
    mean = np.average(values, axis=0, weights=weight)
    assert_close(moments.mean, mean, terms=100)
    variance = np.average((values - mean) ** 2, axis=0, weights=weight)
    assert_close(moments.variance, variance, terms=100, scale=1 + 1e-6 * offset)


def test_a_constant_column_has_no_variance() -> None:
    moments = Moments()
    for _ in range(5):
        moments = moments.plus(np.full((7, 1), 0.1), None)
    assert moments.variance.tolist() == [0]
    assert moments.mean.tolist() == [0.1]


# --- bad input ------------------------------------------------------------------------------------


def bad(place: tuple[int, int], value: float) -> NDArray[Any]:
    changed = MATRIX.copy()
    changed[place] = value
    return changed


ALL = Chunks(MATRIX, target=-1)
BAD: dict[str, tuple[Any, str]] = {
    "no target": (lambda n, p: n.fit(Chunks(MATRIX)), "need targets"),
    "two targets": (lambda n, p: Chunks(X, Y, target=0), "need targets"),
    "rows": (lambda n, p: Chunks(X, Y[:-1]), "x has 203 rows, and y has 202"),
    "index": (lambda n, p: Chunks(MATRIX, target=4), "4 columns: expected an index of one, got 4"),
    "name of no name": (
        lambda n, p: Chunks(MATRIX, target="d"),
        "expected an index of one, got 'd'",
    ),
    "twice": (lambda n, p: Chunks(MATRIX, target=1, weight=1), "all be different"),
    "nothing left": (lambda n, p: Chunks(Y[:, None], target=0), "no column beside"),
    "no file": (lambda n, p: Chunks("none.npy", target=0), "There is no file 'none.npy'"),
    "other file": (lambda n, p: Chunks(__file__, target=0), "expected one of .npy, .parquet, .csv"),
    "no npy": (lambda n, p: Chunks(p / "bad.npy", target=0), "is not a readable NumPy file"),
    "no parquet": (lambda n, p: Chunks(p / "bad.parquet", target=0), "not a readable Parquet file"),
    "texts": (
        lambda n, p: n.fit(Chunks(p / "texts.parquet", target="a")),
        "row 1, column 'a': 'x' is not a number",
    ),
    "name": (
        lambda n, p: Chunks(p / "good.parquet", target="D"),
        "no column 'D'; did you mean 'd'",
    ),
    "three axes": (lambda n, p: Chunks(np.zeros((2, 2, 2)), target=0), "rows, got the shape"),
    "a number": (lambda n, p: Chunks(np.zeros((4, 3)), 2), "y must be a file .*, got int"),
    "objects": (lambda n, p: Chunks(np.array([["a"]]), target=0), "must hold numbers"),
    "empty": (lambda n, p: Chunks(MATRIX[:0], target=0), "there are no rows"),
    "block rows": (lambda n, p: Chunks(MATRIX, target=0, chunk_rows=0), "chunk_rows must be"),
    "y too": (lambda n, p: n.fit(ALL, Y), "leave out y"),
    "split": (lambda n, p: n.fit(ALL, validation_split=0.1), "validation_data"),
    "balanced": (lambda n, p: n.fit(ALL, class_weight="balanced"), "class_weight needs class"),
    "balance": (lambda n, p: n.fit(ALL, class_weight="balance"), "class_weight needs class"),
    "metrics": (lambda n, p: n.fit(ALL, metrics=["mae"]), "need validation"),
    "lbfgs": (lambda n, p: n.fit(ALL, optimizer="lbfgs"), "all data at once"),
    "width": (lambda n, p: n.fit(Chunks(MATRIX[:, 1:], target=-1)), "must have 3 columns, got 2"),
    "nan": (
        lambda n, p: n.fit(Chunks(bad((150, 1), np.nan), target=-1)),
        "nan at row 150, column 1",
    ),
    "target nan": (lambda n, p: n.fit(Chunks(bad((9, 3), np.inf), target=-1)), "y .*holds inf"),
    "weights": (
        lambda n, p: n.fit(Chunks(np.column_stack([MATRIX, 0 * Y]), target=3, weight=4)),
        "weights are 0 everywhere",
    ),
    "label": (
        lambda n, p: n.fit(Chunks(MATRIX, target=-1, labels=[0.0, 1.0])),
        "row 1: the label .* is none of the known ones",
    ),
    "missing": (lambda n, p: n.fit(X), "fit needs targets"),
}


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence_and_changes_nothing(
    tmp_path: Path, act: Any, message: str
) -> None:
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00nonsense")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1nonsensePAR1")
    pq.write_table(pa.table({"a": ["x", "y"], "b": [1, 2]}), tmp_path / "texts.parquet")
    parquet(tmp_path / "good.parquet")
    net = network()
    before = np.array(net.parameters)
    with pytest.raises(fn.FastNetError, match=message):
        act(net, tmp_path)
    assert np.array_equal(net.parameters, before)
    assert net.optimizer_state is None and net.preprocessor.description() == ({}, {})


# --- memory and the command -----------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_stays_below_the_model_two_blocks_and_200_mb(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    arguments = ["--gigabytes", "0.3", "--backend", "numpy", "--json", str(out)]
    done = CliRunner().invoke(tables_memory.main, arguments)
    assert done.exit_code == 0, done.output
    report = tables_memory.Report(**json.loads(out.read_text(encoding="utf-8"))["report"])
    assert report.peak <= report.limit
    # What training added is little more than the two blocks.
    assert report.peak - report.before < report.model + report.blocks + 50 * 2**20
    assert report.file > report.limit


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_process_that_holds_the_file_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tables_memory.Report(10**9, 10**6, 10**7, 10**9, 10**5, 10**7, 1.0, 0.1, "numpy")
    monkeypatch.setattr(tables_memory, "measure", lambda *_: huge)
    done = CliRunner().invoke(tables_memory.main, [])
    assert isinstance(done.exception, fn.FastNetError)
    assert "more than the limit" in str(done.exception)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_the_command_trains_by_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    classes = np.column_stack([X, 10 * (X[:, 0] > 0) + 5])
    target = "-1" if suffix == "npy" else "d"
    for matrix, name in ((MATRIX, "numbers"), (classes, "classes")):
        if suffix == "npy":
            np.save(f"{name}.npy", matrix)
        else:
            parquet(Path(f"{name}.parquet"), matrix)
        out = succeed(
            *("train", f"{name}.{suffix}", "--target", target, "--chunk-rows", "64"),
            *("--backend", "numpy", "--epochs", "60", "--learning-rate", "0.01", "--quiet"),
            *("--task", "classification" if name == "classes" else "regression"),
        )
        assert "training loss" in out
        measured = succeed(
            *("evaluate", "model.safetensors", f"{name}.{suffix}", "--target", target),
            *("--backend", "numpy", "--json"),
        )
        values = json.loads(measured)["metrics"]
        assert values["r2" if name == "numbers" else "accuracy"] > 0.9
    assert fn.load("model.safetensors", backend="numpy").label_names == ("5", "15")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--validation", "0.1"), "--validation does not go with --chunk-rows"),
        (("--preset", "tabular"), "--preset tabular does not go with --chunk-rows"),
    ],
)
def test_options_that_need_all_rows_are_refused(
    file: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in run("train", file, "--target", "-1", "--chunk-rows", "64", *options).stderr
    assert "digits is read as a whole" in run("train", "digits", "--chunk-rows", "64").stderr
