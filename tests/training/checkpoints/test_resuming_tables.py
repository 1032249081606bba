"""Checkpoints of training on tables and on blocks: the same bits, or refused as another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import Chunks
from fastnet.tables import TablePreprocessor
from fastnet.utils import memory
from tests.on_backends import BACKENDS
from tests.tables.test_networks import INPUTS, TABLE
from tests.training.checkpoints.test_resuming import (  # noqa: F401
    Kill,
    KilledError,
    everything,
    short_spans,
)

RNG = np.random.default_rng(4)
X = RNG.normal(size=(203, 3))
MATRIX = np.column_stack([X, X[:, 0] * 2 - np.tanh(X[:, 1]), RNG.integers(0, 3, 203)])
NUMBERS, WEIGHTS = MATRIX[:, :4], MATRIX
EVERY_SPAN = {"checkpoint_every": "0.000001s", "resume": True}

Fit = Callable[..., fn.Network]


def require_the_same_bits(fit: Fit, folder: Path, *moments: int) -> None:
    """Kill a run at these spans, one after the other; what it ends with is what it had to be."""
    alone = everything(fit())
    for moment in moments:
        with pytest.raises(KilledError):
            fit(checkpoint=folder, callbacks=[Kill(moment)], **EVERY_SPAN)
    assert everything(fit(checkpoint=folder, **EVERY_SPAN)) == alone


# --- blocks ---------------------------------------------------------------------------------------


def block_fit(
    matrix: Any = NUMBERS, *, backend: str = "numpy", chunk_rows: int = 48, **fixed: Any
) -> Fit:
    """Return what trains on blocks: batches of 16 rows, 3 in a block, 6 in a window."""
    made = {"target": 3, "chunk_rows": chunk_rows} | fixed.pop("blocks", {})

    def fit(**options: Any) -> fn.Network:
        net = fn.Network([3, 6, 1], activation="tanh", backend=backend, dtype="float64", seed=2)
        given = {"epochs": 3, "batch_size": 16, **fixed, **options}
        net.fit(Chunks(matrix, **made), **given)
        return net

    return fit


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"standardize": True},
        {"validation_data": (X[:9], NUMBERS[:9, 3]), "early_stopping": 2, "metrics": ["mae"]},
        {"chunk_rows": 1000, "matrix": WEIGHTS, "blocks": {"weight": 4}},
    ],
    ids=["plain", "no shuffle", "standardized", "validation", "one block and weights"],
)
def test_blocks_go_on_from_the_middle_of_a_window_to_the_same_bits(
    options: dict[str, Any], backend: str, tmp_path: Path
) -> None:
    # In the first window, at its end, in the last one, and in the epoch after.
    require_the_same_bits(block_fit(backend=backend, **options), tmp_path / "run", 2, 4, 6, 9)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_a_run_on_a_file_goes_on(suffix: str, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / f"m.{suffix}"
    if suffix == "npy":
        np.save(path, NUMBERS)
    else:
        pq.write_table(pa.table({name: NUMBERS[:, j] for j, name in enumerate("abcd")}), path)
    require_the_same_bits(block_fit(path), tmp_path / "run", 5)


def test_the_comparison_of_blocks_notices_another_block_size() -> None:
    assert everything(block_fit()()) != everything(block_fit(chunk_rows=64)())


def test_a_network_with_a_preprocessor_goes_on_with_blocks(tmp_path: Path) -> None:
    gaps = np.where(RNG.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS)
    gaps[:, 3] = NUMBERS[:, 3]

    def fit(**options: Any) -> fn.Network:
        made = TablePreprocessor.fit(gaps[:, :3], gaps[:, 3])
        net = fn.Network([made.inputs, 6, 1], backend="numpy")
        net.preprocessor = made
        net.fit(Chunks(gaps, target=-1, chunk_rows=48), epochs=3, batch_size=16, **options)
        return net

    require_the_same_bits(fit, tmp_path / "run", 4, 7)


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "a number": ({"matrix": NUMBERS + 1e-9}, "x holds other values than there"),
    "a target": ({"matrix": NUMBERS * [1, 1, 1, 2]}, "y holds other values than there"),
    "rows": ({"matrix": NUMBERS[:-1]}, "x.rows is 202 here and 203 there"),
    "chunk_rows": ({"chunk_rows": 64}, "chunk_rows is 64 here and 48 there"),
    "scaled": ({"standardize": True}, "scaler is something"),
    "weights": (
        {"matrix": WEIGHTS, "blocks": {"weight": 4}},
        "sample_weight is something with 3 parts here and absent there",
    ),
    "validation": ({"validation_data": (X, NUMBERS[:, 3])}, "validation x is something"),
}


@pytest.mark.parametrize(("change", "message"), CHANGED.values(), ids=CHANGED)
def test_other_blocks_are_another_run(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    block_fit()(checkpoint=tmp_path / "run")
    block_fit()(checkpoint=tmp_path / "run", resume=True)
    with pytest.raises(fn.InputError, match=f"checkpoints of another run: .*{message}"):
        block_fit(**change)(checkpoint=tmp_path / "run", resume=True)


def test_a_run_on_blocks_is_not_overwritten_unasked(tmp_path: Path) -> None:
    block_fit()(checkpoint=tmp_path / "run")
    with pytest.raises(fn.InputError, match="resume=True .or --resume. goes on with it"):
        block_fit()(checkpoint=tmp_path / "run")


def test_blocks_that_cannot_be_held_are_refused_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Untouched:
        """Ten million rows that nobody may read."""

        shape, dtype = (10**7, 101), np.dtype("f4")

        def __getitem__(self, rows: slice) -> Any:
            pytest.fail("was read")

    net = fn.Network([100, 4, 1], backend="numpy")
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    with pytest.raises(fn.OutOfMemoryError, match=r"about 2\.\d GB, and 1\.0 GB .* fewer rows in"):
        net.fit(Chunks(Untouched(), target=-1, chunk_rows=3 * 10**6))
    assert net.optimizer_state is None
    with pytest.raises(pytest.fail.Exception):  # smaller blocks do fit
        net.fit(Chunks(Untouched(), target=-1, chunk_rows=10**5))


def test_more_training_by_blocks_forgets_a_calibration() -> None:
    net = fn.Network([3, 4, 3], output_activation="softmax", backend="numpy")
    blocks = Chunks(MATRIX[:, [0, 1, 2, 4]], target=-1, chunk_rows=48)
    net.fit(blocks, epochs=1)
    net.calibrate(X, MATRIX[:, 4])
    net.fit(blocks, epochs=1)
    assert net.temperature is None


# --- tables ---------------------------------------------------------------------------------------


def table_fit(table: Any = TABLE, target: str = "price", **fixed: Any) -> Fit:
    def fit(**options: Any) -> fn.Network:
        given = {"epochs": 4, "hidden": (8,), "backend": "numpy", "batch_size": 64}
        frame = table[[*INPUTS, target]]
        return fn.tables.train(frame, target, **{**given, **fixed, **options})

    return fit


@pytest.mark.parametrize("preset", [None, "tabular"])
@pytest.mark.parametrize("target", ["price", "class"])
def test_a_fit_on_a_table_goes_on_and_the_preset_remembers_the_best_epoch(
    target: str, preset: str | None, tmp_path: Path
) -> None:
    metrics = ["f1"] if target == "class" else ["mae"]
    fit = table_fit(target=target, preset=preset, validation_split=0.2, metrics=metrics)
    require_the_same_bits(fit, tmp_path / "run", 2, 4, 5)


def test_a_fresh_network_learns_the_same_preprocessor_and_goes_on(tmp_path: Path) -> None:
    width = TablePreprocessor.fit(TABLE[INPUTS]).inputs

    def fit(**options: Any) -> fn.Network:
        net = fn.Network([width, 6, 1], backend="numpy")
        net.fit(TABLE[INPUTS], TABLE["price"], epochs=3, batch_size=64, **options)
        return net

    require_the_same_bits(fit, tmp_path / "run", 3, 3)


def changed(column: str, value: Any, rows: Any = slice(0, 1)) -> Any:
    table = TABLE.copy()
    table.loc[table.index[rows], column] = value
    return table


OTHER_TABLES: dict[str, tuple[Any, str]] = {
    "a number": (lambda: changed("size", 51.25), "x holds other values|preprocessor"),
    "a target": (lambda: changed("price", 1.0), "preprocessor.target_center"),
    "names of categories": (
        lambda: TABLE.replace({"kind": {"flat": "apartment"}}),
        r"preprocessor.columns\[2\].categories\[0\] is apartment here and flat there",
    ),
    "name of a column": (
        lambda: TABLE.rename(columns={"size": "area"})[["area", *TABLE.columns[1:]]],
        r"columns\[0\].name is area here and size there",
    ),
    "another category": (lambda: changed("kind", "barn"), "is 8 here and 7 there|inputs is|layers"),
}


@pytest.mark.parametrize(("make", "message"), OTHER_TABLES.values(), ids=OTHER_TABLES)
def test_another_table_is_another_run(make: Any, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    table_fit(preset=None)(checkpoint=folder)
    table_fit(TABLE.copy(), preset=None)(checkpoint=folder, resume=True)
    other = make()
    with pytest.raises(fn.InputError, match=f"checkpoints of another run: .*({message})"):
        fn.tables.train(
            other.drop(columns="class"), "price", preset=None, epochs=4, hidden=(8,),
            backend="numpy", batch_size=64, checkpoint=folder, resume=True,
        )  # fmt: skip


def test_inputs_that_are_the_same_numbers_of_another_unit_are_another_run(tmp_path: Path) -> None:
    """Metrics in the unit of the targets depend on the preprocessor, where the rows do not."""
    folder = tmp_path / "run"
    table_fit(preset=None)(checkpoint=folder)
    doubled = TABLE.assign(price=TABLE["price"] * 2)
    with pytest.raises(fn.InputError, match="preprocessor.target_center holds other values"):
        table_fit(doubled, preset=None)(checkpoint=folder, resume=True)
