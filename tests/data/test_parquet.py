"""Parquet files, which need the optional pyarrow, and what is said without it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnet.data.frame_files import read_frame
from fastnet.errors import DataError
from tests.data.tables import table


def test_without_pyarrow_the_error_says_how_to_install_it(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'fastnet-mlp\[data\]'"):
        read_frame(write(b"PAR1", "table.parquet"))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    arrow = pytest.importorskip("pyarrow", reason="needs the extra 'data' (pyarrow)")
    parquet = pytest.importorskip("pyarrow.parquet")

    def save(names: list[str], *columns: Any) -> Path:
        values = arrow.Table.from_arrays([arrow.array(c) for c in columns], names=names)
        parquet.write_table(values, tmp_path / "table.parquet")
        return tmp_path / "table.parquet"

    return save


def test_numbers_and_texts_are_read_and_values_may_be_missing(save: Any) -> None:
    arrow = pytest.importorskip("pyarrow")
    columns: dict[str, Any] = {
        "n": np.arange(3, dtype=np.int8),
        "gap": [1.5, None, float("nan")],
        "flag": [True, False, True],
        "color": ["red", None, "red"],
        "price": [Decimal("1.5"), Decimal("2.5"), Decimal("0.5")],
        "word": arrow.array(["u", "v", "u"]).dictionary_encode(),
    }
    frame = read_frame(save([*columns], *columns.values()))
    assert table(frame) == {
        "n": [0, 1, 2],
        "gap": [1.5, None, None],
        "flag": [1, 0, 1],
        "color": ["red", None, "red"],
        "price": [1.5, 2.5, 0.5],
        "word": ["u", "v", "u"],
    }
    assert frame.named


def test_two_columns_of_one_name_are_refused(save: Any) -> None:
    with pytest.raises(DataError, match="two columns named 'a'"):
        read_frame(save(["a", "a", "y"], [1], [2], [3]))


def test_damaged_files_are_refused(save: Any) -> None:
    path = save(["a", "y"], range(100), range(100))
    good = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(200):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(256)
        path.write_bytes(bytes(data))
        with suppress(DataError):
            read_frame(path)
    for content in (b"", b"PAR1", good[: len(good) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable Parquet file"):
            read_frame(path)
