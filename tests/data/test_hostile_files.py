"""Files from strangers: mutated by the thousand, bombs, claims that are false, code in them."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import limits
from fastnet.preprocessing.columns import TableColumn
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.serialization import safetensors_file
from tests.checkout import ROOT
from tools import fuzz_formats, fuzzing

MB = 2**20


def fuzz(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run the fuzzer in a process of its own: a crash is one of the things it may find."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.fuzzing", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.name != "posix", reason="the timers of POSIX")
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files_are_data_or_one_of_fastnets_errors(count: int, tmp_path: Path) -> None:
    reports = fuzz(tmp_path, "--count", str(count), "--seed", "1")
    assert [report["format"] for report in reports] == list(fuzz_formats.FORMATS)
    assert [line for report in reports for line in report["foreign"]] == []
    for report in reports:
        assert report["read"] + report["refused"] == count
        assert report["refused"] > count / 2  # the mutations do hit something
        assert report["worst_mb"] <= 2 * report["honest_mb"] + 2


@pytest.mark.skipif(os.name != "posix", reason="the timers of POSIX")
@pytest.mark.parametrize(
    ("count", "rows"), [(8, 30_000), pytest.param(15, 90_000, marks=pytest.mark.slow)]
)
def test_mutants_of_large_files_take_no_more_memory_than_those(
    count: int, rows: int, tmp_path: Path
) -> None:
    of_rows = [name for name in fuzz_formats.FORMATS if not re.search("model|checkpoint", name)]
    for report in fuzz(tmp_path, "--count", str(count), "--rows", str(rows), *of_rows):
        assert report["foreign"] == []
        # One cell that is no number makes texts of a whole column of a CSV file: 8 bytes of a
        # number become some 80 of a text and its place in a dictionary.
        form = report["format"]
        most = 6 if form == "csv-raw" else 3 if form.startswith("csv") else 2
        assert report["worst_mb"] <= most * report["honest_mb"] + 2, report


def test_the_fuzzer_finds_errors_that_are_not_fastnets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(path: Path) -> Any:
        return np.load(path).sum()

    form = fuzz_formats.Format("x.npy", fuzz_formats.FORMATS["npy"].good, careless)
    monkeypatch.setitem(fuzz_formats.FORMATS, "careless", form)
    report = fuzzing.campaign("careless", 50, 0, tmp_path)
    assert any("ValueError" in line for line in report.foreign)


def test_the_fuzzer_finds_damage_that_is_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = fuzz_formats.FORMATS["idx"]
    unprotected = fuzz_formats.Format(form.name, form.good, form.read, checked=True)
    monkeypatch.setitem(fuzz_formats.FORMATS, "unprotected", unprotected)
    report = fuzzing.campaign("unprotected", 50, 0, tmp_path)
    assert any("was read as something else" in line for line in report.foreign)


@pytest.mark.skipif(os.name != "posix", reason="the timers of POSIX")
def test_the_fuzzer_finds_a_reader_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fuzz_formats.FORMATS["npy"].good

    def endless(path: Path) -> Any:
        damaged = path.read_bytes() != good(tmp_path)
        while damaged:
            pass

    form = fuzz_formats.Format("x.npy", good, endless)
    monkeypatch.setitem(fuzz_formats.FORMATS, "endless", form)
    monkeypatch.setattr(fuzzing, "SLOW_SECONDS", 0.1)
    report = fuzzing.campaign("endless", 2, 0, tmp_path)
    assert report.foreign == [
        f"mutant {number}: HangError: took longer than its size explains" for number in range(2)
    ]


@pytest.mark.parametrize("mutator", fuzzing.MUTATORS, ids=lambda mutator: mutator.__name__)
def test_every_mutator_changes_something(mutator: Callable[..., None]) -> None:
    good = bytes(range(200))
    for seed in range(20):
        data = bytearray(good)
        mutator(data, np.random.default_rng(seed))
        changed = bytes(data) != good
        assert changed or mutator in (fuzzing.swap, fuzzing.length_field)
        if changed:
            break
    else:
        pytest.fail("it never does")


# --- bombs ----------------------------------------------------------------------------------------


def refuse(path: Path, *, most: float, **options: Any) -> str:
    """Check that a data file is refused with little memory taken; return the message."""
    tracemalloc.start()
    try:
        with pytest.raises(fn.DataError) as caught:
            fn.data.load(path, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_check_of_memory_can_fail(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(AssertionError):
        refuse(tmp_path / "x.csv", most=10, target="b")


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-idx3-ubyte.gz"
    head = b"\0\0\x08\x03" + struct.pack(">3I", 400, 1024, 1024)
    path.write_bytes(gzip.compress(head) + 400 * gzip.compress(bytes(MB)))
    assert path.stat().st_size < MB
    assert "made to fill the memory" in refuse(path, most=4 * MB)


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LARGE", 2**24)  # a bomb that is written sooner
    path = tmp_path / "x.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (20971520, 1), }".ljust(117)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(b"\x93NUMPY\1\0" + struct.pack("<H", 118) + header + b"\n")
        for _ in range(20):
            member.write(bytes(MB))
    assert path.stat().st_size < MB
    assert "made to fill the memory" in refuse(path, most=4 * MB)


def test_a_parquet_bomb_is_refused(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = pa.table({"a": np.zeros(10**6), "b": np.zeros(10**6)})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(40):
            writer.write_table(table)
    assert path.stat().st_size < MB
    assert "made to fill the memory" in refuse(path, most=4 * MB, target="b")


def test_a_parquet_bomb_in_chunks_is_refused(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = pa.table({"a": np.zeros(20 * MB), "b": np.zeros(20 * MB)})
    pq.write_table(table, path, row_group_size=len(table))
    del table
    with pytest.raises(fn.DataError, match="made to fill the memory"):
        fn.data.Chunks(path, target="b")
    with pq.ParquetWriter(path, pa.schema({"a": pa.float64(), "b": pa.float64()})) as writer:
        for _ in range(40):  # as many rows, of which few are in memory at a time
            writer.write_table(pa.table({"a": np.zeros(MB // 2), "b": np.zeros(MB // 2)}))
    assert len(fn.data.Chunks(path, target="b")) == 20 * MB


def test_a_long_text_in_every_row_of_a_parquet_file_is_held_once(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    words = pa.DictionaryArray.from_arrays(np.arange(3000) % 2, ["a" * MB, "b" * MB])
    pq.write_table(pa.table({"a": words, "y": np.arange(3000.0)}), path)
    tracemalloc.start()
    data = fn.data.load(path, target="y")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data.x) == 3000
    assert peak < 32 * MB
    assert pa.total_allocated_bytes() < 32 * MB


def test_large_files_that_are_compressed_honestly_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 3, (300_000, 8)).astype("u1"))
    assert fn.data.load(path).rows == 300_000


@pytest.mark.parametrize("tensors", [40_000, 1_000_000])
def test_a_model_file_that_is_all_header_is_refused(tensors: int, tmp_path: Path) -> None:
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(entry % k for k in range(tensors)) + "}").encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    tracemalloc.start()
    with pytest.raises(fn.ModelFileError, match="does not begin like"):
        fn.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(header)


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    net = fn.Network([2, 2], output_activation="softmax", backend="numpy")
    net.label_names = ("a" * 2**23, "b" * 2**23)
    with pytest.raises(fn.ModelFileError, match="more than is read back"):
        net.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_a_very_wide_table_is_read_back(tmp_path: Path) -> None:
    names = [f"a rather long name of the column {k}" for k in range(50_000)]
    columns = tuple(TableColumn(name, "numeric") for name in names)
    net = fn.Network([50_000, 1], backend="numpy")
    net.preprocessor = TablePreprocessor(columns, np.zeros(50_000), np.ones(50_000))
    net.save(tmp_path / "m")
    again = fn.load(tmp_path / "m", backend="numpy").preprocessor
    assert isinstance(again, TablePreprocessor)
    assert again.columns == columns


# --- code -----------------------------------------------------------------------------------------


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("name", ["m.safetensors", "x.npy", "x.npz", "x.csv", "x-idx3-ubyte"])
def test_a_pickle_under_any_name_is_not_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.write_bytes(pickle.dumps(Code()))
    if name == "x.npy":
        np.save(path, np.array([[Code()]], object), allow_pickle=True)
    elif name == "x.npz":
        np.savez(path, x=np.array([[Code()]], object))
    with pytest.raises(fn.FastNetError):
        fn.load(path) if name.startswith("m") else fn.data.load(path, target="0")
    assert not Path("unpickled").exists()
    with pytest.raises(fn.FastNetError):
        safetensors_file.unpack(path, "fastnet", "model", "a test")
    pickle.loads(pickle.dumps(Code()))
    assert Path("unpickled").exists()  # the code works
