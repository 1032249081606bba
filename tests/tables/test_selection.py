"""The columns that are inputs are chosen by name; a model ignores all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.cli.calling import NUMPY, refused, run, succeed

RNG = np.random.default_rng(8)
TABLE = {
    "length": RNG.normal(size=40),
    "code": [f"n{k}" for k in range(40)],
    "kind": ["a", "b"] * 20,
    "price": RNG.normal(size=40),
}
HOW: dict[str, Any] = {"preset": None, "epochs": 2, "backend": "numpy"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    rows = zip(*TABLE.values(), strict=True)
    lines = [",".join(TABLE), *(",".join(map(str, row)) for row in rows)]
    Path("goods.csv").write_text("\n".join(lines), encoding="utf-8")
    return "goods.csv"


@pytest.mark.parametrize(
    "how",
    [{"drop": "code"}, {"drop": ["code"]}, {"features": ["kind", "length"]}],
)
def test_the_network_is_that_of_a_table_without_the_other_columns(how: dict[str, Any]) -> None:
    less = {name: column for name, column in TABLE.items() if name != "code"}
    one = fn.tables.train(less, "price", **HOW)
    other = fn.tables.train(TABLE, "price", **HOW, **how)
    assert [column.name for column in other.preprocessor.columns] == ["length", "kind"]
    assert np.array_equal(one.parameters, other.parameters)
    changed = TABLE | {"code": ["?"] * 40}
    assert np.array_equal(other.predict(changed), one.predict(less))
    with pytest.warns(fn.errors.FastNetWarning, match="'code' has 40 different texts"):
        everything = fn.tables.train(TABLE, "price", **HOW)
    assert len(everything.preprocessor.columns) == 3


@pytest.mark.parametrize("option", [("--drop", "code"), ("--features", "length, kind")])
def test_the_command_trains_on_the_chosen_columns(file: str, option: tuple[str, str]) -> None:
    succeed("train", file, "--target", "price", *option, "--epochs", 1, "--quiet", *NUMPY)
    net = fn.load("model.safetensors", backend="numpy")
    assert [column.name for column in net.preprocessor.columns] == ["length", "kind"]
    whole = succeed("predict", "model.safetensors", file, "--out", "-", *NUMPY)
    text = Path(file).read_text(encoding="utf-8")
    Path(file).write_text(text.replace(",n", ",other"), encoding="utf-8")
    assert succeed("predict", "model.safetensors", file, "--out", "-", *NUMPY) == whole


def test_a_column_that_cannot_be_read_can_be_dropped(file: str) -> None:
    text = Path(file).read_text(encoding="utf-8").replace(",n", ",")
    Path(file).write_text(text.replace(",7,", ",seven,"), encoding="utf-8")
    arguments = "train", file, "--target", "price", "--epochs", 1, "--quiet", *NUMPY
    assert "column 'code' must hold numbers, got 'seven'" in refused(*arguments)
    succeed(*arguments, "--drop", "code")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"drop": "cod"}, "has no column 'cod'; did you mean 'code'?"),
        ({"features": "length,kinds"}, "has no column 'kinds'"),
        ({"drop": "price"}, "the column 'price' is a target"),
        ({"drop": "length,code,kind"}, "no column is left as an input"),
        ({"features": []}, "no column is left as an input"),
        ({"features": "length", "drop": "code"}, "give features or drop, not both"),
    ],
)
def test_wrong_names_are_refused(how: dict[str, Any], said: str) -> None:
    with pytest.raises(fn.FastNetError) as caught:
        fn.tables.train(TABLE, "price", **HOW, **how)
    assert said in str(caught.value)


def test_columns_without_names_and_arrays_are_refused(file: str) -> None:
    with pytest.raises(fn.errors.InputError, match="columns without names"):
        fn.tables.train(np.ones((8, 2)), np.arange(8.0), drop="x0", **HOW)
    assert "has no column 'cod'" in refused("train", file, "--target", "price", "--drop", "cod")
    np.savez("rows.npz", x=np.ones((8, 2)), y=np.arange(8.0))
    np.save("rows.npy", np.ones((8, 3)))
    arrays = run("train", "rows.npz", "--drop", "x0")
    assert "features and drop go with tables, and rows.npz holds arrays" in arrays.stderr
    chunks = run("train", "rows.npy", "--target", "-1", "--chunk-rows", 4, "--features", "x0")
    assert "features and drop choose columns by name, and x has no names" in chunks.stderr
