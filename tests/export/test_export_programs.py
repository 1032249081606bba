"""The programs of exported C and Python files: what they answer and refuse, beside the command."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastnet as fn
from fastnet.export import export
from fastnet.export.combination import Predictor, combination_of
from tests import toolchain
from tests.cli.calling import NUMPY, run
from tests.export import compiled
from tests.exports import LIMIT, disturbed, for_table, relative_difference, standardise

ROWS = 40
COLORS = ("red", "blue\u00a0grey", "\N{SNOWMAN}", "NA-like")

pytestmark = pytest.mark.filterwarnings("ignore::fastnet.FastNetWarning")


def table() -> dict[str, Any]:
    """Return a column of every kind but dates."""
    rng = np.random.default_rng(5)
    return {
        "size": rng.normal(1e6, 20, ROWS).round(3),
        "gap, and more": [None, *rng.normal(size=ROWS - 1)],
        "gap": [None, *rng.normal(size=ROWS - 1)],
        "flag": [("yes", "no", "yes")[k % 3] for k in range(ROWS)],
        "color": [COLORS[k % 4] for k in range(ROWS)],
        "grade": [("1", "2", "10")[k % 3] for k in range(ROWS)],
    }


def trained(names: Sequence[str], y: Any, target: str = "y", **options: Any) -> fn.Network:
    """Return a network for some columns of the table, whose weights make all of them count."""
    given = {name: table()[name] for name in names} | {target: y}
    options = {"id": None, "dtype": "float32", "preset": None} | options
    if options["id"]:
        given[options["id"]] = [f"row {k}" for k in range(ROWS)]
    categorical = ["grade"] if "grade" in names else []
    net = fn.tables.train(
        given, target, backend="numpy", epochs=1, hidden=(5,), categorical=categorical, **options
    )
    net.parameters[...] += 0.3 * np.random.default_rng(1).standard_normal(len(net.parameters))
    return net


def array(scaled: bool, **options: Any) -> fn.Network:
    net = disturbed(fn.Network([3, 4, 2], backend="numpy", seed=2, **options), scaled=False)
    if scaled:
        standardise(net, [1e9, 0.0, -3.0], [0.5, 1.0, 2.0])
    return net


def together(*nets: fn.Network) -> fn.Ensemble:
    ensemble = fn.Ensemble(nets, weights=[1, 3])
    ensemble.temperature = 1.5
    return ensemble


WORDS = ('say "a"', "b,c", "new\nline", "plain")
FOUR = [WORDS[k % 4] for k in range(ROWS)]
NUMBERS = np.random.default_rng(2).normal(1e5, 3e4, ROWS)
ALL = ("size", "gap", "flag", "color")
MAKE = {
    "classes": lambda: trained(ALL, FOUR, target="a, b"),
    "one output": lambda: trained(
        ALL, [WORDS[k % 2] for k in range(ROWS)], loss="binary_cross_entropy"
    ),
    "numbers": lambda: trained((*ALL, "grade"), NUMBERS, id="customer"),
    "float64": lambda: trained(("size", "gap"), NUMBERS / 1e12, dtype="float64"),
    "deviations": lambda: trained(("color",), NUMBERS, loss="gaussian_nll"),
    "array": lambda: array(scaled=False),
    "scaled array": lambda: array(scaled=True, output_activation="softmax"),
    "matrix": lambda: for_table(np.random.default_rng(1).normal(size=(30, 3)), outputs=1),
    "ensemble": lambda: together(trained(ALL, FOUR), trained(("color", "flag"), FOUR)),
    "ensemble, deviations": lambda: fn.Ensemble(
        [trained(("color",), NUMBERS + k, loss="gaussian_nll") for k in range(2)]
    ),
    "matrix ensemble": lambda: fn.Ensemble(
        [for_table(np.random.default_rng(k).normal(size=(30, 3)), outputs=1) for k in range(2)]
    ),
    "ensemble of arrays": lambda: together(
        *(array(scaled=k == 1, output_activation="softmax") for k in range(2))
    ),
}


class Programs(NamedTuple):
    """A model in a folder: its model file, its Python file, and its compiled C file."""

    net: Predictor
    folder: Path

    def by_command(self, text: bytes) -> tuple[int, bytes]:
        """Return exit status and answer of ``fastnet predict``."""
        (self.folder / "rows.csv").write_bytes(text)
        model = self.folder / "net.safetensors"
        done = run("predict", model, self.folder / "rows.csv", "--out", "-", *NUMPY)
        return done.exit_code, done.stdout_bytes

    def by_c(self, text: bytes) -> tuple[int, bytes, str]:
        """Return exit status, answer and error of the C program."""
        if toolchain.why_no("C") is not None:
            pytest.skip(str(toolchain.why_no("C")))
        command = [self.folder / "net"]
        done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr.decode()

    @property
    def ways(self) -> list[Any]:
        """The programs that can be called here: that in C, where a compiler works, and Python's."""
        return [*([] if toolchain.why_no("C") else [self.by_c]), self.by_python]

    def by_python(self, text: bytes) -> tuple[int, bytes, str]:
        """Return the same of the Python program, which is called in this process."""
        module = python_program(self.folder)
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
        module.sys = SimpleNamespace(
            stdin=SimpleNamespace(buffer=io.BytesIO(text)), stdout=out, exit=sys.exit
        )
        try:
            exec(module.run, module.__dict__)
        except SystemExit as error:
            return 1, b"", f"{error}\n"
        out.flush()
        return 0, out.buffer.getvalue(), ""  # type: ignore[attr-defined]


@cache
def python_program(folder: Path) -> Any:
    """Return the exported module; its attribute ``run`` is what stands below its main function."""
    source = (folder / "net.py").read_text("ascii")
    module = SimpleNamespace(__name__="exported")
    exec(source, module.__dict__)
    begin = source.index('if __name__ == "__main__":')
    lines = [line.removeprefix("    ") for line in source[begin:].splitlines()[1:]]
    module.run = "\n".join(lines).replace('sys.stdout.reconfigure(encoding="utf-8")', "pass")
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that gives the `Programs` of a network by name."""

    @cache
    def programs(name: str) -> Programs:
        folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
        net = MAKE[name]()
        net.save(folder / "net.safetensors")
        export(net, folder / "net.py", to="numpy")
        export(net, folder / "net.c", to="c")
        if toolchain.why_no("C") is None:
            arguments = [*compiled.STRICT, "-DFASTNET_MAIN", "net.c", "-o", "net", "-lm"]
            toolchain.build("C", arguments, folder)
        return Programs(net, folder)

    return programs


def rows_for(name: str) -> tuple[list[str], list[str]]:
    """Return the columns of a network, and a row for them."""
    if "array" in name or "matrix" in name:
        return ["x0", "x1", "x2"], ["1000000001.25", "-0.5", "7"]
    columns = ("color",) if "deviations" in name else ALL
    columns = ("size", "gap") if name == "float64" else columns
    columns = (*columns, *(("grade", "customer") if name == "numbers" else ()))
    cells = {"size": "1000003.25", "gap": "", "flag": "yes", "color": "red", "grade": "10"}
    return [*columns], [cells.get(column, "row 7") for column in columns]


def as_csv(*rows: Sequence[str]) -> bytes:
    return "".join(",".join(row) + "\n" for row in rows).encode()


def cells_of(answer: bytes, texts: int) -> tuple[Any, ...]:
    """Return the header, the texts and the numbers of an answer."""
    head, *rows = csv.reader(io.StringIO(answer.decode(), newline=""))
    numbers = np.array([row[texts:] for row in rows], float)
    return head, [row[:texts] for row in rows], numbers


def assert_same(got: bytes, wanted: bytes, net: Predictor, *, identified: bool = False) -> None:
    """Fail unless two answers have the same texts, and the same numbers but for rounding."""
    texts = identified + (net.output_schema.class_names is not None)
    head, words, numbers = cells_of(got, texts)
    wanted_head, wanted_words, wanted_numbers = cells_of(wanted, texts)
    assert (head, words) == (wanted_head, wanted_words)
    assert relative_difference(numbers, wanted_numbers) <= LIMIT[combination_of(net).dtype.name]


# Cells that mean the same to all three, or are refused by all three.
CELLS = ["", "NA", "-", "none", "nan", "NaN", "?", "N/A", "1", " 2.50 ", "+1e5", "-.5", "1.", "007",
         "\u00a03", "\t4\v", "\u30005\u2003", "1e400", "inf", "-Infinity", "1_000", "\u0661",
         "0x10", "1e", "1 2", "true", "FALSE", "Yes", "no", "T", "off", "red", " red ", "\u00a0red",
         "Red", "red\u3000\x1c", "blue\u00a0grey", "blue grey", "\N{SNOWMAN}", "\N{SNOWMAN}\x85",
         "1e39", "it's", "10", "\ufeffred", "9007199254740993", "1e-320", "2",
         "\u200bred"]  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_a_cell_means_what_it_means_to_the_command(name: str, made: Any) -> None:
    programs = made(name)
    columns, row = rows_for(name)
    answered = 0
    for column in range(len(columns)):
        for cell in CELLS if name in ("classes", "numbers") else CELLS[len(name) % 3 :: 3]:
            text = as_csv(columns, row, [*row[:column], cell, *row[column + 1 :]])
            status, wanted = programs.by_command(text)
            for by in programs.ways:
                code, answer, error = by(text)
                if columns[column] == "grade" and by == programs.by_c and not status and code:
                    # A category that is a number is to be spelled as in training.
                    assert "must hold a category as in training" in error
                    continue
                if "array" in name and by == programs.by_python and not status and code:
                    assert cell.lower() in ("true", "false"), cell
                    continue
                assert (code != 0) == (status != 0), (columns[column], cell, error)
                if code:
                    assert error.count("\n") == 1 and error.endswith("\n"), error
                else:
                    answered += 1
                    assert_same(answer, wanted, programs.net, identified="customer" in columns)
    assert answered > 9


@pytest.mark.parametrize("name", MAKE)
def test_the_form_of_the_lines_is_read_and_refused_as_by_the_command(name: str, made: Any) -> None:
    programs = made(name)
    columns, row = rows_for(name)
    identified = "customer" in columns
    plain = as_csv(columns, row)
    same = {
        "as usual": plain,
        "many rows": as_csv(columns, *[row] * 300),
        "a mark at the beginning": b"\xef\xbb\xbf" + plain,
        "no end of the last line": plain[:-1],
        "ends of lines of Windows": plain.replace(b"\n", b"\r\n"),
        "blank lines": b"\n \n" + as_csv(columns) + b"\n\xc2\xa0\n" + as_csv(row) + b"\t\n",
        "blanks in the header": as_csv([f" {c}\u00a0" for c in columns], row),
    }
    if programs.net.output_schema.known_targets or name == "classes":
        same["another order, and more"] = as_csv(
            ["more", *columns[::-1]], ["\N{SNOWMAN} 1_000", *row[::-1]]
        )
    for case, text in same.items():
        status, wanted = programs.by_command(text)
        assert status == 0, case
        for by in programs.ways:
            code, answer, error = by(text)
            assert (code, error) == (0, ""), case
            assert_same(answer, wanted, programs.net, identified=identified)
    refused = {
        "nothing": b"",
        "no rows": as_csv(columns),
        "a column twice": as_csv([*columns, columns[0]], [*row, row[0]]),
        "another column twice": as_csv([*columns, "b", "b"], [*row, "", ""]),
        "no name": as_csv([*columns, ""], [*row, ""]),
        "a column is missing": as_csv([*columns[1:], "z"], [*row[1:], "1"]),
        "too few cells": as_csv(columns, row, [*row, "1"]),
        "another encoding": as_csv(columns, row) + "\u00e9".encode("cp1252") + b"\n",
        "half a character": as_csv(columns, row)[:-1] + b"\xe2\x98\n",
        "a surrogate": as_csv(columns, row)[:-1] + b"\xed\xa0\x80\n",
        "an overlong character": as_csv(columns, row)[:-1] + b"\xc0\x80\n",
    }
    if columns[0] == "x0":
        del refused["a column is missing"]  # columns without names go by position
    for case, text in refused.items():
        assert programs.by_command(text)[0] != 0, case
        for by in programs.ways:
            code, _, error = by(text)
            assert code == 1 and error.count("\n") == 1, (case, error)


def test_what_is_doubtful_is_refused(made: Any) -> None:
    programs = made("classes")
    columns, row = rows_for("classes")
    for text, says in (
        (as_csv(columns, columns, row), "the header stands again"),
        (as_csv(columns, [f'"{row[0]}"', *row[1:]]), "line 2: it has a quote"),
        (as_csv(columns, [*row[:-1], "re\rd"]), "line 2: it has a quote or a carriage return"),
        (as_csv(columns, [*row[:-1], "red\0"]), "line 2: it has a zero byte"),
        (as_csv(columns, row, [*row[:-1], "r" * 99_999]), "line 3: it has a zero byte or is too"),
        (as_csv([*columns, *map(str, range(9000))], row), "line 1: it has too many cells"),
        (as_csv(["1", "2", "3", "4"], row), "line 1: there are numbers where the columns"),
        (as_csv(columns, ["big", *row[1:]]), "line 2: the column 'size' must hold numbers, not 'b"),
        (as_csv(["gap", *columns[2:]], row[1:]), "line 1: there is no column 'size'"),
    ):
        code, _, error = programs.by_c(text)
        assert code == 1 and says in error, error
    # Python's reader knows quotes.
    text = as_csv(columns, [f'"{row[0]}"', *row[1:]])
    assert programs.by_python(text)[:2] == programs.by_python(as_csv(columns, row))[:2]
    for text, says in (
        (as_csv(columns, columns, row), "line 2: expected 4 cells, got ['size'"),
        (as_csv(columns, [f'"{row[0]}', *row[1:]]), "unexpected end of data"),
        (as_csv(columns, ["big", *row[1:]]), "the column 'size' must hold numbers, got 'big'"),
    ):
        code, _, error = programs.by_python(text)
        assert code == 1 and says in error, error


def test_columns_without_names_come_in_order(made: Any) -> None:
    for name in ("array", "matrix", "matrix ensemble"):
        programs = made(name)
        for header in (["x1", "x0", "x2"], ["a", "b", "c"], ["x0", "x1", "x2", "x3"]):
            text = as_csv(header, ["1", "2", "3", "4"][: len(header)])
            for by in programs.ways:
                code, _, error = by(text)
                assert code == 1 and "x0" in error


def test_rows_without_their_identifier_are_answered(made: Any) -> None:
    programs = made("numbers")
    columns, row = rows_for("numbers")
    text = as_csv(columns[:-1], row[:-1])
    wanted = programs.by_command(text)
    code, answer, error = programs.by_c(text)
    assert (code, error) == (0, "there is no column 'customer'.\n")
    assert_same(answer, wanted[1], programs.net)
    assert_same(programs.by_python(text)[1], wanted[1], programs.net)


def test_the_python_file_is_a_program(made: Any) -> None:
    programs = made("classes")
    text = as_csv(*rows_for("classes"))
    done = subprocess.run(
        [sys.executable, "-I", programs.folder / "net.py"], input=text, capture_output=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == programs.by_python(text)[1]


def test_a_network_of_dates_has_a_program_in_python_alone(tmp_path: Path) -> None:
    net = for_table({"day": np.arange("2024-01-01", "2024-02-10", dtype="M8[D]")})
    programs = Programs(net, tmp_path)
    net.save(tmp_path / "net.safetensors")
    export(net, tmp_path / "net.py", to="numpy")
    text = as_csv(["day"], ["2024-01-17"], ["2024/02/29 13:30"], ["NA"])
    assert_same(programs.by_python(text)[1], programs.by_command(text)[1], net)
    export(net, tmp_path / "net.c", to="c")
    assert compiled.compile_c(tmp_path, "-c", "net.c").returncode == 0
    done = compiled.compile_c(tmp_path, "-DFASTNET_MAIN", "net.c", "-o", "net")
    assert done.returncode != 0 and "this program reads no dates" in done.stderr


def test_a_column_that_c_cannot_name_has_no_program(tmp_path: Path) -> None:
    export(for_table({"a\0b": [1.0, 2.0, 4.0]}), tmp_path / "net.c", to="c")
    assert compiled.compile_c(tmp_path, "-c", "net.c").returncode == 0
    done = compiled.compile_c(tmp_path, "-DFASTNET_MAIN", "net.c", "-o", "net")
    assert done.returncode != 0 and "C cannot hold the text" in done.stderr
