"""What is no number is refused with its row and column, what came, and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.cli.calling import refused

X = np.linspace(-1, 1, 24).reshape(8, 3)
Y = X[:, 0]
WAY_OUT = "fitted to a data frame or a dict of columns, a network takes texts and missing values"


def with_cell(value: Any, dtype: Any = None) -> Any:
    x = X.astype(dtype)
    x[5, 1] = value
    return x


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (with_cell(np.nan, float), "holds nan at row 5, column 1"),
        (with_cell(None, object), "holds nan at row 5, column 1"),
        (with_cell("wide", object), "got objects, 'wide' at row 5, column 1"),
        (with_cell({}, object), "got objects, dict at row 5, column 1"),
        (with_cell("wide", "U9"), "got text, 'wide' at row 5, column 1"),
    ],
)
def test_arrays_name_the_cell_and_what_takes_it(x: Any, said: str) -> None:
    net = fn.Network([3, 1], backend="numpy")
    net.fit(X, Y, epochs=1)
    chunk = fn.data.Chunks(x, Y) if x.dtype == float else None
    calls = [lambda: net.fit(x, Y), lambda: net.predict(x), lambda: net.evaluate(x, Y)]
    if chunk is not None:
        calls += [lambda: net.fit(chunk), lambda: net.predict(chunk), lambda: net.evaluate(chunk)]
    for call in calls:
        with pytest.raises(fn.errors.InputError, match=said) as caught:
            call()
        assert WAY_OUT in str(caught.value)


def test_an_infinite_number_is_no_missing_value() -> None:
    with pytest.raises(fn.errors.InputError, match="holds inf at row 5, column 1") as caught:
        fn.Network([3, 1], backend="numpy").fit(with_cell(np.inf, float), Y)
    assert WAY_OUT not in str(caught.value)


def test_a_dict_of_columns_is_a_way_out() -> None:
    table = {"a": [*X[:7, 0], np.nan], "b": ["wide", "slim"] * 4}
    net = fn.tables.train(table, Y, preset=None, epochs=1, backend="numpy")
    assert np.isfinite(net.predict(table)).all()


def test_files_name_the_cell_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = [f"{k},{k + 0.5}\n" for k in range(30)]
    rows = {"word": [*numbers, "wide,3.5\n"], "target": [*numbers, "7,\n"]}
    for name, lines in rows.items():
        Path(f"{name}.csv").write_text("".join(["width,price\n", *lines]), encoding="utf-8")
    said = refused("train", "word.csv", "--target", "price")
    assert "column 'width' must hold numbers, got 'wide' in row 31: correct the cell, or" in said
    said = refused("train", "target.csv", "--target", "price")
    assert "the target 'price' is missing in row 31: leave such rows out" in said
    np.savez("gap.npz", x=with_cell(np.nan, float), y=Y)
    said = refused("train", "gap.npz")
    assert "gap.npz, row 6, column 'x1': nan is not a finite number: replace it" in said
    assert "in tables (csv, npy, parquet) values may be missing" in said
