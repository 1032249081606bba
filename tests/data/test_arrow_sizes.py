"""What an Arrow file takes when it is unpacked, known from its headers."""

from __future__ import annotations

import io
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import limits
from fastnet.data.arrow_sizes import unpacked_bytes
from fastnet.data.parquet import DAMAGE
from fastnet.tables import read_frame

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

MB = 2**20
COLUMNS = {"a": np.zeros(200_000), "w": ["x", None] * 100_000}


def written(
    compression: str | None, *, stream: bool, batches: int = 3, encoded: bool = False
) -> Any:
    table = pa.table(COLUMNS)
    if encoded:
        table = table.set_column(1, "w", table["w"].dictionary_encode())
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    open_writer = pa.ipc.new_stream if stream else pa.ipc.new_file
    with open_writer(out, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=-(-len(table) // batches))
    return table, out.getvalue()


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_the_sum_is_what_all_buffers_take(
    compression: str, stream: bool, batches: int, encoded: bool
) -> None:
    options: dict[str, Any] = {"stream": stream, "batches": batches, "encoded": encoded}
    table, content = written(compression, **options)
    # Buffers are padded, and those that would not shrink stay as they are.
    assert 0.95 * table.nbytes < unpacked_bytes(content) < 1.1 * table.nbytes + 4096
    assert unpacked_bytes(written(None, **options)[1]) == 0


def test_files_of_polars_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    frame = pl.DataFrame({"a": np.arange(50_000.0), "w": ["x", "y"] * 25_000, "y": [1, 2] * 25_000})
    frame.write_ipc(path, compression="zstd")
    assert unpacked_bytes(path.read_bytes()) > 50_000 * 16
    assert len(read_frame(path)) == 50_000
    assert len(fn.data.load(path, target="y").x) == 50_000


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("cut", range(9, 400, 7))
def test_damaged_headers_are_one_of_few_errors(cut: int, stream: bool) -> None:
    _, content = written("lz4", stream=stream)
    for damaged in (content[:cut], content[:cut] + b"\xff" * 8 + content[cut + 8 :]):
        with suppress(pa.ArrowException, struct.error, *DAMAGE):
            unpacked_bytes(damaged)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.feather"
    table = pa.table({"a": np.zeros(40 * MB), "b": np.zeros(40 * MB)})
    with pa.OSFile(str(path), "wb") as file:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(file, table.schema, options=options) as writer:
            writer.write_table(table)
    del table
    assert path.stat().st_size < MB
    held = pa.total_allocated_bytes()
    for read in (read_frame, lambda p: fn.data.load(p, target="b")):
        with pytest.raises(fn.DataError, match="made to fill the memory"):
            read(path)
    assert pa.total_allocated_bytes() == held


def nulls() -> Any:
    return pa.nulls(40 * MB)


def runs() -> Any:
    return pa.RunEndEncodedArray.from_arrays(pa.array([40 * MB], pa.int32()), pa.array([1.0]))


@pytest.mark.parametrize("column", [nulls, runs])
def test_rows_that_take_no_bytes_are_refused(column: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    table = pa.table({"a": column()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    tracemalloc.start()
    with pytest.raises(fn.DataError, match="made to fill the memory"):
        read_frame(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MB


def test_a_footer_that_sends_pyarrow_elsewhere_for_a_body_is_refused(tmp_path: Path) -> None:
    _, content = written("lz4", stream=False, batches=1)
    footer = content.rindex(b"ARROW1") - 4 - struct.unpack("<i", content[-10:-6])[0]
    forged = bytearray(content)
    (block,) = (k for k in range(footer, len(content) - 24) if is_block(content, k))
    (size,) = struct.unpack_from("<i", content, block + 8)
    struct.pack_into("<i", forged, block + 8, size + 8)
    (tmp_path / "x.arrow").write_bytes(bytes(forged))
    with pytest.raises(fn.DataError, match="the footer contradicts the size of a message"):
        read_frame(tmp_path / "x.arrow")


@pytest.mark.parametrize("start", [-8, -(2**62), 2**40, 2**63 - 1])
def test_a_footer_that_points_out_of_its_file_is_refused(start: int, tmp_path: Path) -> None:
    _, content = written("lz4", stream=False, batches=1)
    footer = content.rindex(b"ARROW1") - 4 - struct.unpack("<i", content[-10:-6])[0]
    forged = bytearray(content)
    (block,) = (k for k in range(footer, len(content) - 24) if is_block(content, k))
    struct.pack_into("<q", forged, block, start)
    path = tmp_path / "x.arrow"
    path.write_bytes(bytes(forged))
    with pytest.raises(fn.DataError, match="not a readable Arrow file"):
        read_frame(path)
    with pytest.raises(fn.DataError, match="not a readable Arrow file"):
        fn.data.Chunks(path, target="a")


def is_block(content: bytes, place: int) -> bool:
    """Tell whether a footer's entry may be there: where a message begins, and its size."""
    start, size = struct.unpack_from("<qi", content, place)
    if not 8 < start < place or content[start : start + 4] != b"\xff" * 4:
        return False
    return bool(struct.unpack_from("<i", content, start + 4)[0] + 8 == size)


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_a_bomb_of_one_long_text_is_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LARGE", 2**24)  # a bomb that is written sooner
    path = tmp_path / f"x.{suffix}"
    table = pa.table({"w": ["a" * 20 * MB], "y": [1.0]})
    if suffix == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path, compression="zstd")
    else:
        import pyarrow.feather as feather

        feather.write_feather(table, str(path), compression="zstd")
    del table
    assert path.stat().st_size < MB
    with pytest.raises(fn.DataError, match="made to fill the memory"):
        read_frame(path)


def test_long_texts_in_views_are_held_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", "19", reason="older ones cannot make the file")
    words = pa.array(["a" * MB, "b" * MB], pa.string_view())
    _, sizes, *data = words.buffers()
    views = np.frombuffer(sizes, "V16")[np.arange(3000) % 2]
    column = pa.Array.from_buffers(pa.string_view(), 3000, [None, pa.py_buffer(views), *data])
    path = tmp_path / "x.arrow"
    table = pa.table({"a": column})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert path.stat().st_size < 3 * MB
    tracemalloc.start()
    frame = read_frame(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    texts: Any = frame.columns["a"]
    assert [value[0] for value in texts.values] == ["a", "b"]
    assert texts.codes.tolist() == [0, 1] * 1500
    assert peak < 32 * MB


def test_a_length_that_is_a_lie_is_refused(tmp_path: Path) -> None:
    _, content = written("lz4", stream=False)
    size = struct.pack("<q", 200_000 * 8)
    place = content.index(struct.pack("<q", -(-200_000 // 3) * 8))
    forged = content[:place] + struct.pack("<q", 2**60) + content[place + len(size) :]
    (tmp_path / "x.arrow").write_bytes(forged)
    with pytest.raises(fn.DataError, match="more than it can hold"):
        read_frame(tmp_path / "x.arrow")


def test_a_small_file_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    table = pa.table({"a": np.zeros(100)})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(out, table.schema, options=options) as writer:
        writer.write_table(table)
    content = out.getvalue().replace(struct.pack("<q", 800), struct.pack("<q", 2**21))
    (tmp_path / "x.arrow").write_bytes(content)
    with pytest.raises(fn.DataError, match="claims 2,097,152 bytes, more than it can hold"):
        read_frame(tmp_path / "x.arrow")


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_a_long_text_in_every_row_is_held_once(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    words = pa.DictionaryArray.from_arrays(np.arange(3000) % 2, ["a" * MB, "b" * MB])
    table = pa.table({"a": words, "y": np.arange(3000.0)})
    if suffix == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path)
    else:
        import pyarrow.feather as feather

        feather.write_feather(table, str(path))
    tracemalloc.start()
    frame = read_frame(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(frame) == 3000
    assert peak < 32 * MB


def test_texts_in_a_dictionary_are_the_texts_of_a_plain_column() -> None:
    plain = pa.table({"w": ["x", None, " y", "x", "y"]})
    encoded = pa.table({"w": plain["w"].dictionary_encode()})
    frames = [fn.tables.as_frame(table) for table in (plain, encoded)]
    texts: list[Any] = [frame.columns["w"] for frame in frames]
    assert [[t.values[c] if c >= 0 else None for c in t.codes] for t in texts] == [
        ["x", None, "y", "x", "y"]
    ] * 2
