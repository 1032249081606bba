"""How a text file is written: separators, signs in numbers, encodings, compression."""

from __future__ import annotations

import gzip
import re
from encodings.aliases import aliases
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnet as fn
from fastnet.data import Chunks, limits, text_format
from fastnet.data.text import is_number
from fastnet.data.text_format import TextFormat
from fastnet.tables import read_frame
from tests.data.tables import table

GERMAN: dict[str, Any] = {"sep": ";", "decimal": ",", "thousands": ".", "encoding": "cp1252"}
EXPECTED = {"größe": [1234.5, -0.25, None], "art": ["Haus, groß", "Hof", None], "y": [1, 2, 3e6]}


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("größe;art;y\n1.234,5;Haus, groß;1\n-0,25;Hof;2\nNA;;3.000.000\n", GERMAN),
        ("größe;art;y\n1.234,5;Haus, groß;1\n-,25;Hof;2\n;;3e6\n", GERMAN | {"sep": None}),
        ('größe,art,y\n"1,234.5","Haus, groß",1\n-0.25,Hof,2\n,,"3,000,000"\n', {"thousands": ","}),
        ("größe\tart\ty\n1 234,5\tHaus, groß\t1\n-0,25\tHof\t2\n\t\t3 000\u00a0000\n",
         {"sep": "\\t", "decimal": ",", "thousands": " ", "encoding": "utf-16"}),
        ("größe|art|y\n1'234.5|Haus, groß|1\n-0.25|Hof|2\n||3'000'000\n",
         {"sep": "|", "thousands": "'", "encoding": "utf-8-sig"}),
    ],
    ids=["German", "German, separator found", "American", "French in UTF-16", "Swiss"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_file_of_another_country_is_the_same_table(
    tmp_path: Path, text: str, how: dict[str, Any], name: str
) -> None:
    content = text.encode(how.get("encoding", "utf-8"))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert table(read_frame(path, learning=True, **how)) == EXPECTED
    data = fn.data.load(path, target="y", **how)
    assert data.y.tolist() == EXPECTED["y"]


def test_numbers_without_a_header_are_found(write: Any) -> None:
    assert table(read_frame(write("1,5;2\n2,5;3\n"), decimal=",")) == {
        "x0": [1.5, 2.5],
        "x1": [2, 3],
    }


@pytest.mark.parametrize("rows", [1, 5000], ids=["early", "late"])
def test_words_after_numbers_keep_categories_apart(write: Any, rows: int) -> None:
    path = write("a;b\n" + "1,5;1\n" * rows + "w;2\n2;3\n")
    frame = read_frame(path, decimal=",")
    column: Any = frame.columns["a"]
    assert column.values == ("1.5", "w", "2")
    # A category that a network knows is found however many other rows there are.
    made = fn.tables.TablePreprocessor.fit(frame, categorical="a")
    few = read_frame(write("a;b\n1,5;1\n", "few.csv"), decimal=",", preprocessor=made)
    assert np.array_equal(made.transform(few), made.transform(frame)[:1])


def test_a_point_may_separate_thousands(write: Any) -> None:
    path = write("a;b\n1.234;1\n")
    assert table(read_frame(path, decimal=",", thousands="."))["a"] == [1234]


@pytest.mark.parametrize("column", ["1.234", "1.5\n2,5", "1.5\n7", "1.5\n", "1.5\nword\n2,5"])
def test_a_number_in_the_other_spelling_is_refused(write: Any, column: str) -> None:
    rows = [f"{cell};1" for cell in column.split("\n")]
    path = write("\n".join(["a;b", *rows]))
    with pytest.raises(fn.DataError, match=r"row 1, column 'a': '1\.\d+' is no number where ','"):
        read_frame(path, decimal=",")


def test_versions_among_words_are_words(write: Any) -> None:
    path = write("a;b\n1.5;1\nnew;2\nold;3\n")
    column: Any = read_frame(path, decimal=",").columns["a"]
    assert column.values == ("1.5", "new", "old")


@pytest.mark.parametrize("cell", ["1,5", "12,34", "1,2345", "1,234,5", ",234", "1,23,456"])
def test_thousands_are_groups_of_three_digits(write: Any, cell: str) -> None:
    path = write(f'a;b\n"{cell}";1\n"2,000";2\n"3,000";3\n')
    with pytest.raises(fn.DataError, match="column 'a' must hold numbers, got|number only for"):
        read_frame(path, learning=True, thousands=",")
    assert table(read_frame(write('a\n"2,000"\n"1,234,567"\n'), thousands=",")) == {
        "a": [2000, 1234567]
    }


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18))
def test_every_number_survives_every_way_of_writing_it(number: float) -> None:
    for decimal, thousands in ((",", "."), (",", " "), (".", ","), (",", None), (".", "'")):
        form = TextFormat(decimal=decimal, thousands=thousands)
        plain = f"{number:,}" if thousands and "e" not in repr(number) else repr(number)
        signs = {",": thousands or "", ".": decimal}
        written = "".join(signs.get(sign, sign) for sign in plain)
        assert float(form.standard(written)) == number
        assert not form.is_foreign(written)


@given(st.text(max_size=12))
def test_a_text_that_is_no_number_is_left_alone(text: str) -> None:
    form = TextFormat(decimal=",", thousands=".")
    made = form.standard(text)
    assert made == text or is_number(made)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"sep": ";;"}, "sep must be one character such as ';' or \\t, and no quote, got ';;'."),
        ({"sep": '"'}, "sep must be one character"),
        ({"sep": ""}, "sep must be one character"),
        ({"decimal": "comma"}, "decimal must be one character such as ','"),
        ({"decimal": "5"}, "decimal must be one character"),
        ({"decimal": None}, "decimal must be one character"),
        ({"thousands": ""}, "thousands must be one character"),
        ({"thousands": "-"}, "thousands must be one character"),
        ({"sep": ",", "decimal": ","}, "decimal and sep must differ, got ',' for both."),
        ({"thousands": "."}, "decimal and thousands must differ, got '.' for both: give decimal"),
        ({"encoding": "utf-9"}, "encoding must be one that Python knows, such as 'utf-8'"),
        ({"encoding": "base64"}, "encoding must be one that Python knows"),
        ({"encoding": 8}, "encoding must be one that Python knows"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(write: Any, how: dict[str, Any], said: str) -> None:
    for read in (read_frame, fn.data.load):
        with pytest.raises(fn.InputError, match="^" + re.escape(said)):
            read(write("a;b\n1;2\n"), **how)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("rows", [1, 4000], ids=["early", "late"])
def test_a_byte_of_another_encoding_is_named_with_its_place(
    tmp_path: Path, rows: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_format, "_BLOCK", 1001)
    content = b"a,y\n" + b"1,2\n" * rows + b"3,\xe9\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(fn.DataError) as caught:
        read_frame(path)
    assert str(caught.value) == (
        f"{path} is not UTF-8 text: byte {content.index(0xE9) + 1:,}, in line {rows + 2:,}, is "
        "0xe9. Give its encoding, such as cp1252, or save it as UTF-8."
    )
    assert table(read_frame(path, encoding="latin-1"))["y"][-1] == "é"


def test_the_mark_of_utf_16_is_known(write: Any) -> None:
    path = write("a,y\n1,2\n", encoding="utf-16")
    with pytest.raises(fn.DataError, match="Give its encoding, such as utf-16"):
        read_frame(path)
    with pytest.raises(fn.DataError, match="is not CP1252 text.* such as utf-8"):
        read_frame(write(b"a,y\n\x81,2\n"), encoding="cp1252")


def test_whatever_encoding_is_given_the_answer_is_a_table_or_a_sentence(write: Any) -> None:
    path = write("größe,y\n1,2\n")
    found = set()
    for encoding in sorted(
        {*aliases.values(), "idna", "utf-16", "utf-32", "undefined", "punycode"}
    ):
        for read in (read_frame, Chunks):
            try:
                read(path, encoding=encoding)
                found.add("table")
            except fn.FastNetError as error:
                found.add(type(error).__name__)
    assert found == {"table", "DataError", "InputError"}


def test_a_compressed_file_that_is_damaged_or_a_trap_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv.gz"
    good = gzip.compress(b"a,y\n" + b"1,2\n" * 10_000)
    for content in (good[:-20], b"a,y\n1,2\n", good[:20] + b"\0" * 20):
        path.write_bytes(content)
        with pytest.raises(fn.DataError, match=f"{path} is damaged"):
            read_frame(path)
    monkeypatch.setattr(limits, "_LARGE", 2**20)
    path.write_bytes(gzip.compress(b"a,y\n" + b"1,2\n" * 300_000, 9))
    with pytest.raises(fn.DataError, match="made to fill the memory"):
        read_frame(path)


def test_a_file_that_is_no_text_has_no_separator(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.ones((3, 2)))
    np.savez(tmp_path / "t.npz", x=np.ones((3, 2)), y=np.ones(3))
    for read, source in (
        (read_frame, tmp_path / "t.npy"),
        (fn.data.load, tmp_path / "t.npz"),
        (fn.data.load, "digits"),
    ):
        with pytest.raises(fn.InputError, match="go with text, and .* is none"):
            read(source, decimal=",")
