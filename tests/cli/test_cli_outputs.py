"""What commands write: the formats of predictions, endings that fit, cells that are no formulas."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.cli.calling import NUMPY, refused, run, succeed

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
pytest.importorskip("pyarrow.feather")

LABELS = ["=1+1", "-1", "@all", "+49 89", "plain", "'quoted"]
MODEL = "model.safetensors"


@pytest.fixture(autouse=True)
def model(empty_folder: Path) -> None:
    """A model whose labels a spreadsheet would compute, and its rows."""
    rows = [(f"={k}", k % 6, LABELS[k % 6]) for k in range(30)]
    table = {
        "customer": [row[0] if k else None for k, row in enumerate(rows)],
        "number": list(range(30)),
        "size": [float(row[1]) for row in rows],
        "label": [row[2] for row in rows],
    }
    pa.parquet.write_table(pa.table(table), "rows.parquet")
    how = ("--epochs", 80, "--learning-rate", 0.05, "--quiet", *NUMPY)
    roles = ("--target", "label", "--id", "customer", "--drop", "number")
    succeed("train", "rows.parquet", *roles, *how)


def predict(out: str, *options: object) -> str:
    return succeed("predict", MODEL, "rows.parquet", "--out", out, *options, *NUMPY)


def read_text(path: str, sep: str) -> list[list[str]]:
    content = Path(path).read_bytes()
    text = (gzip.decompress(content) if path.endswith(".gz") else content).decode("utf-8")
    return list(csv.reader(io.StringIO(text), delimiter=sep))


@pytest.mark.parametrize(
    ("name", "sep"), [("p.tsv", "\t"), ("p.csv.gz", ","), ("p.tsv.gz", "\t"), ("P.CSV", ",")]
)
def test_text_holds_what_standard_output_holds(name: str, sep: str) -> None:
    expected = list(csv.reader(io.StringIO(predict("-"))))
    predict(name)
    assert read_text(name, sep) == expected
    before = Path(name).read_bytes()
    predict(name, "--force")
    assert Path(name).read_bytes() == before


@pytest.mark.parametrize("name", ["p.parquet", "p.feather", "p.arrow"])
@pytest.mark.parametrize("id_column", ["customer", "number"])
def test_parquet_and_arrow_keep_types_and_gaps(name: str, id_column: str) -> None:
    header, *rows = csv.reader(io.StringIO(predict("-", "--id", id_column)))
    predict(name, "--id", id_column)
    read: Any = pa.parquet.read_table if name.endswith("parquet") else pa.feather.read_table
    table = read(name)
    assert table.column_names == header
    ids = table.column(0).to_pylist()
    assert ids == ([None, *(f"={k}" for k in range(1, 30))] if id_column == "customer" else
                   list(range(30)))  # fmt: skip
    assert table.column(1).to_pylist() == [row[1] for row in rows]
    net = fn.load(MODEL, backend="numpy")
    outputs = net.predict(fn.data.load("rows.parquet", target="label").x)
    for k in range(6):
        column = table.column(2 + k)
        assert column.type == pa.float32()
        assert np.array_equal(column.to_numpy(), outputs[:, k])


def test_several_blocks_of_rows_are_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    import fastnet.cli.commands.predict as command

    predict("whole.parquet")
    monkeypatch.setattr(command, "_BLOCK", 7)
    predict("parts.parquet")
    tables = [pa.parquet.read_table(f"{name}.parquet") for name in ("whole", "parts")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("name", ["p.xlsx", "p", "p.txt", "p.gz", "p.npy"])
def test_an_unknown_ending_is_refused(name: str) -> None:
    result = run("predict", MODEL, "rows.parquet", "--out", name, *NUMPY)
    assert result.exit_code == 2
    assert "--out: expected a file that ends in .csv, .tsv, .csv.gz, .tsv.gz, .par" in result.stderr
    assert not Path(name).exists()


def test_formulas_are_quoted_on_demand() -> None:
    plain = list(csv.reader(io.StringIO(predict("-"))))
    quoted = list(csv.reader(io.StringIO(predict("-", "--quote-formulas"))))
    assert {row[1] for row in plain[1:]} == set(LABELS)
    expected = {"=1+1": "'=1+1", "@all": "'@all", "+49 89": "'+49 89"}
    assert quoted[0] == plain[0]
    for one, other in zip(quoted[1:], plain[1:], strict=True):
        assert one[1] == expected.get(other[1], other[1])
        assert one[0] == (f"'{other[0]}" if other[0] else "")
        assert one[2:] == other[2:]


def test_an_id_may_not_be_called_like_a_prediction() -> None:
    table = pa.table({"prediction": ["a", "b"], "customer": ["c", "d"], "size": [1.0, 2.0]})
    pa.parquet.write_table(table, "odd.parquet")
    said = refused("predict", MODEL, "odd.parquet", "--id", "prediction", *NUMPY)
    assert "the id column 'prediction' is called like a column of the predictions" in said
    assert not Path("predictions.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        (("train", "rows.parquet", "--target", "label", "--html", "x.pdf"), ".html or .htm"),
        (("export", MODEL, "--to", "c", "--out", "x.py"), ".c"),
        (("export", MODEL, "--to", "numpy", "--out", "x.c"), ".py"),
        (("export", MODEL, "--to", "onnx", "--out", "x"), ".onnx"),
        (("export", MODEL, "--to", "torch", "--out", "x.pt"), ".safetensors"),
        (("plot", MODEL, "rows.parquet", "--out", "x.csv"), ".png or .svg or .pdf"),
    ],
)
def test_a_file_has_the_ending_of_what_it_holds(arguments: tuple[str, ...], ending: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    option = "--html" if "--html" in arguments else "--out"
    assert f"{option}: expected a file that ends in {ending}." in result.stderr


@pytest.mark.parametrize("command", [("train", "rows.parquet", "--target", "label"),
                                     ("export", MODEL, "--to", "c")])  # fmt: skip
def test_standard_output_is_for_rows(command: tuple[str, ...]) -> None:
    result = run(*command, "--out", "-")
    assert result.exit_code in (1, 2)
    assert not Path("-").exists()
