"""CSV files: delimiters, headers, quoting, types of columns, and where mistakes are."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnet as fn
from fastnet.data.csv import open_csv, read_csv
from fastnet.data.frame_files import read_frame
from fastnet.data.text import Texts
from fastnet.data.values import of_cells
from tests.data.tables import cells, table

# --- the form of the file -------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("word", ["7", "u"], ids=["numbers", "texts"])
def test_the_delimiter_is_detected(write: Any, delimiter: str, word: str) -> None:
    text = f"a,b,t\n1,2,{word}\n4,5,{word}\n".replace(",", delimiter)
    found = table(read_csv(write(text)))
    assert found == {"a": [1, 4], "b": [2, 5], "t": [7 if word == "7" else "u"] * 2}


def test_a_tsv_file_is_read_too(write: Any) -> None:
    assert table(read_frame(write("a\ty\n1\t2\n", "t.tsv"))) == {"a": [1], "y": [2]}


@pytest.mark.parametrize(
    "text",
    [
        "a,y\n1,2\n3,4",
        "a,y\n1,2\n3,4\n\n\n  \n",
        "\n\na,y\n\n1,2\n\n3,4\n",
        "a,y\r\n1,2\r\n3,4\r\n",
        "a,y\r1,2\r3,4\r",
        "\ufeffa,y\n1,2\n3,4\n",
        '"a","y"\n"1","2"\n"3","4"\n',
        '\ufeff"a","y"\n1,2\n3,4\n',
        " a , y \n 1 , 2 \n 3 , 4 \n",
        'a, "y"\n1, "2"\n3, "4"\n',
        "a,y\n1e0,2\n+3.0,4\n",
    ],
    ids=[
        *("no last newline", "blank lines at the end", "blank lines everywhere", "CRLF", "CR"),
        *("BOM", "quoted", "BOM and quotes", "blanks around", "blanks before quotes", "numbers"),
    ],
)
def test_one_table_in_many_forms(write: Any, text: str) -> None:
    frame = read_csv(write(text))
    assert table(frame) == {"a": [1, 3], "y": [2, 4]}
    assert frame.named


def test_quoted_cells_may_hold_delimiters_quotes_and_newlines(write: Any) -> None:
    text = 'n,"a ""b"",\nc",y\n1,"u,\nv",2\n3,"w\rx",4\n'
    assert table(read_csv(write(text))) == {
        "n": [1, 3],
        'a "b",\nc': ["u,\nv", "w\rx"],
        "y": [2, 4],
    }
    misleading = 'a;genre\n1;"Action, Drama"\n2;"Comedy, Action, Drama"\n'
    found = table(read_csv(write(misleading)))
    assert found["genre"] == ["Action, Drama", "Comedy, Action, Drama"]


def test_a_first_row_of_numbers_is_data(write: Any) -> None:
    frame = read_csv(write("1;2\n3;4\n"))
    assert table(frame) == {"x0": [1, 3], "x1": [2, 4]}
    assert not frame.named


def test_open_csv_tells_the_form_without_reading_the_rows(write: Any) -> None:
    file = open_csv(write("\n\na;b\n1;2\noops\n"))
    assert (file.delimiter, file.names, file.named, file.header_lines) == (";", ("a", "b"), True, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n \n", "is empty"),
        ("\ufeff", "is empty"),
        ("a,y\n", "a header but no rows"),
        ("a,y\n\n\n", "a header but no rows"),
        ("a,y\n1,2\n3\n", "line 3: expected 2 cells, got 1"),
        ("a,y\n1,2\n\n3,4,5\n", "line 4: expected 2 cells, got 3"),
        ("a,y\n1,2,3\n4,5,6\n", "line 2: expected 2 cells, got 3"),
        ("a,y,t\n1,2,u\n3,4\n", "line 3: expected 3 cells, got 2"),
        ("a,a,y\n1,2,3\n", "two columns named 'a'"),
        ("a, a,y\n1,2,3\n", "two columns named 'a'"),
        (",a,y\n0,2,3\n", "column 1 has no name"),
        ("a,y,\n1,2,\n", "column 3 has no name"),
        ('a,y\n1,"2\n3,4\n', "line 3: unexpected end of data"),
        ('a,y\n1,"2"3\n', "line 2: "),
        ("a,y\n1," + "z" * 200_000 + "\n", "line 2: field larger than"),
    ],
)
def test_a_file_in_bad_form_says_what_and_where(write: Any, text: str, message: str) -> None:
    with pytest.raises(fn.DataError, match=message):
        read_frame(write(text))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@pytest.mark.parametrize("rows", [1, 40_000], ids=["early", "late"])
def test_text_that_is_not_utf8_is_refused(write: Any, encoding: str, rows: int) -> None:
    path = write("a,y\n" + "1,2\n" * rows + "é,2\n", encoding=encoding)
    with pytest.raises(fn.DataError, match="is not UTF-8 text"):
        read_frame(path)


# --- cells ----------------------------------------------------------------------------------------


def test_columns_are_numbers_or_texts_and_values_may_be_missing(write: Any) -> None:
    path = write("a,word,b\n1,red,0.5\n,,NA\n3,-, ? \n")
    frame = read_csv(path)
    assert table(frame) == {
        "a": [1, None, 3],
        "word": ["red", None, "-"],  # a dash may be a word, where there are words
        "b": [0.5, None, None],
    }
    assert frame.source == str(path)


@pytest.mark.parametrize("first", [10, 5000, 9000])
def test_words_after_numbers_make_texts_of_the_cells_as_they_were_written(
    first: int, write: Any
) -> None:
    written = ["1.0", "", "-"] * (first // 3) + ["w", " NA", "2.50", "none"]
    frame = read_csv(write("a,b\n" + "".join(f"{cell},1\n" for cell in written)))
    start = ["1.0", None, "-"] * (first // 3)
    assert cells(frame.columns["a"]) == [*start, "w", None, "2.50", "none"]
    assert cells(frame.columns["b"]) == [1.0] * len(written)


@pytest.mark.parametrize("more", ["", ",u"], ids=["numbers only", "with a text column"])
@pytest.mark.parametrize("before", [2, 9000])
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("oops", "must hold numbers, got 'oops' in row "),
        ("1_000", "must hold numbers, got '1_000' in row "),
        ("\u0663", "must hold numbers, got '\u0663' in row "),
        ("0x10", "must hold numbers, got '0x10' in row "),
        ("x" * 100, f"must hold numbers, got '{'x' * 37}...' in row "),
        ("\x1b[31m", r"must hold numbers, got '\x1b[31m' in row "),
        ("-inf", "must hold finite numbers, got -inf in row "),
        ("1e400", "must hold finite numbers, got inf in row "),
    ],
)
def test_a_bad_number_is_named_with_its_row_and_column(
    write: Any, cell: str, message: str, before: int, more: str
) -> None:
    rows = ["1,2"] * before + [f"1,{cell}", "1,2"]
    path = write(f"a,b{more}\n" + "".join(f"{row}{more}\n" for row in rows))
    with pytest.raises(fn.DataError) as caught:
        fn.tables.TablePreprocessor.fit(read_frame(path, learning=True))
    finite = "finite" in message
    way_out = (
        ": correct the cell, or leave it empty if its value is unknown; drop the column if it is "
        "no input, or name it as categorical if its numbers are names"
    )
    way_out = "" if finite else way_out
    assert str(caught.value) == f"{path}: column 'b' {message}{before + 1}{way_out}."


def test_the_fast_and_the_exact_reader_agree(write: Any) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(5000, 2)) * 10.0 ** rng.integers(-30, 30, (5000, 2))
    rows = [",".join(map(repr, row)) for row in values.tolist()]
    fast = read_csv(write("\n".join(["a,b", *rows])))
    exact = read_csv(write("\n".join(["a,b,t", *[f"{row},u" for row in rows]])))
    for k, name in enumerate("ab"):
        np.testing.assert_array_equal(fast.columns[name], values[:, k])
        np.testing.assert_array_equal(exact.columns[name], values[:, k])


words = st.text(
    # The writer leaves a lone CR without quotes, where it then ends the row.
    st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0\r"),
    max_size=6,
).map(lambda text: f"w{text}".strip())
numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(numbers, words, numbers), min_size=1, max_size=8),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_what_is_written_is_read(
    write: Any, rows: Any, delimiter: str, newline: str, quoting: Any
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerow(["number", "word", "y"])
    writer.writerows(rows)
    found = table(read_csv(write(out.getvalue())))
    assert list(zip(*found.values(), strict=True)) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1", "2.5", "-3e4", "", "NA", "nan", "-", "?", " 7 ", "inf"]),
            st.sampled_from(["1", "1.0", "", "NA", "-", "none", "red", " red", "Ä", "1_0"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_columns_are_what_their_distinct_cells_say(write: Any, rows: list[Any]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("n", "w"), *rows])
    frame = read_csv(write(out.getvalue()))
    for name, written in zip(("n", "w"), zip(*rows, strict=True), strict=True):
        assert cells(frame.columns[name]) == cells(of_cells(Texts.of(written)))
