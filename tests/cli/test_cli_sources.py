"""Where the rows of a command come from: text of any country, compressed files, standard input."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import fastnet as fn
from fastnet.cli import group
from tests.cli.calling import NUMPY, refused, run, succeed

ROWS = [(size, kind, 3 * size) for size, kind in zip(range(40), ["flat", "Höfe"] * 20, strict=True)]
PLAIN = "".join(f"{a + 0.5},{b},{c}\n" for a, b, c in ROWS)
GERMAN = "".join(f"{a},5;{b};{c}\n" for a, b, c in ROWS)
HOW = ("--decimal", ",", "--sep", ";", "--encoding", "cp1252")
MODEL = "model.safetensors"


@pytest.fixture(autouse=True)
def files(empty_folder: Path) -> None:
    """The same table in the way of three worlds."""
    Path("plain.csv").write_text("size,kind,price\n" + PLAIN, encoding="utf-8")
    Path("german.csv").write_text("size;kind;price\n" + GERMAN, encoding="cp1252")
    Path("packed.csv.gz").write_bytes(gzip.compress(Path("plain.csv").read_bytes()))
    Path("packed.tsv.gz").write_bytes(
        gzip.compress(Path("plain.csv").read_bytes().replace(b",", b"\t"))
    )


def train(*arguments: str) -> bytes:
    """Train on a table; return the model."""
    options = ("--target", "price", "--epochs", 2, "--quiet", "--task", "regression", *NUMPY)
    succeed("train", *arguments, *options)
    return Path(MODEL).read_bytes()


def test_training_on_a_german_file_gives_the_same_model() -> None:
    expected = train("plain.csv")
    assert train("german.csv", *HOW) == expected
    assert train("packed.csv.gz") == expected
    assert train("packed.tsv.gz") == expected


def test_predict_evaluate_and_plot_read_each_file_in_its_own_way() -> None:
    train("german.csv", *HOW)
    expected = succeed("predict", MODEL, "plain.csv", "--out", "-", *NUMPY)
    assert succeed("predict", MODEL, "german.csv", "--out", "-", *HOW, *NUMPY) == expected
    assert succeed("predict", MODEL, "packed.csv.gz", "--out", "-", *NUMPY) == expected
    measured = succeed("evaluate", MODEL, "plain.csv", "--json", *NUMPY)
    german = succeed("evaluate", MODEL, "german.csv", "--json", *HOW, *NUMPY)
    assert german == measured.replace("plain.csv", "german.csv")
    pytest.importorskip("matplotlib")
    succeed("plot", MODEL, "german.csv", "--out", "p.png", *HOW, *NUMPY)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sep", ";;"), "--sep must be one character"),
        (("--decimal", ",", "--sep", ","), "--decimal and sep must differ"),
        (("--encoding", "utf-9"), "--encoding must be one that Python knows"),
    ],
)
@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "plot"])
def test_what_cannot_be_is_wrong_usage(command: str, options: tuple[str, ...], said: str) -> None:
    arguments = ("train", "plain.csv") if command == "train" else (command, MODEL, "plain.csv")
    result = run(*arguments, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_another_encoding_is_said_with_the_way_out() -> None:
    said = refused("train", "german.csv", "--target", "price")
    assert "german.csv is not UTF-8 text: byte " in said
    assert "Give its encoding, such as cp1252" in said


def piped(content: bytes, *arguments: object) -> Result:
    return CliRunner().invoke(
        group, [str(one) for one in arguments], input=content, prog_name="fastnet"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_rows_come_from_standard_input_and_predictions_go_to_standard_output(packed: bool) -> None:
    expected = train("plain.csv")
    content = Path("packed.csv.gz" if packed else "plain.csv").read_bytes()
    options = ("--target", "price", "--epochs", 2, "--quiet", "--task", "regression", *NUMPY)
    assert piped(content, "train", "-", *options).exit_code == 0
    assert Path(MODEL).read_bytes() == expected
    result = piped(content, "predict", MODEL, "-", "--out", "-", *NUMPY)
    assert result.stdout == succeed("predict", MODEL, "plain.csv", "--out", "-", *NUMPY)
    assert result.stderr == ""
    lines = piped(content, "evaluate", MODEL, "-", *NUMPY).stdout.splitlines()
    assert lines[0] == "standard input: 40 rows"


@pytest.mark.filterwarnings("default::fastnet.errors.FastNetWarning")
def test_warnings_and_errors_are_on_standard_error_and_speak_of_standard_input() -> None:
    train("plain.csv")
    content = b"size,kind\n" + b"1,palace\n" * 5
    result = piped(content, "predict", MODEL, "-", "--out", "-", *NUMPY)
    assert "standard input: column 'kind' has 5 values of 5" in result.stderr
    assert result.stdout.startswith("prediction\n")
    assert len(result.stdout.splitlines()) == 6
    result = piped(b"size,kind\nbig,flat\n", "predict", MODEL, "-", "--out", "-", *NUMPY)
    assert result.stderr.startswith("fastnet: error: standard input: column 'size' must hold num")
    assert result.stdout == ""


@pytest.mark.parametrize("content", [b"PAR1xx", b"ARROW1", b"\x93NUMPY", b"PK\x03\x04"])
def test_standard_input_is_text(content: bytes) -> None:
    train("plain.csv")
    result = piped(content, "predict", MODEL, "-", *NUMPY)
    assert "file: give its name, or send text (CSV)" in result.stderr
    result = piped(b"", "predict", MODEL, "-", *NUMPY)
    assert result.stderr == "fastnet: error: standard input is empty.\n"


def test_the_model_remembers_nothing_of_how_its_file_was_written() -> None:
    train("german.csv", *HOW)
    rows = fn.data.load("plain.csv", target="price").x
    net = fn.load(MODEL, backend="numpy")
    out = succeed("predict", MODEL, "plain.csv", "--out", "-", *NUMPY)
    assert np.array_equal(np.array(out.split()[1:], np.float64), net.predict(rows)[:, 0])
