"""Commands called in this process."""

from __future__ import annotations

import csv
import io

from click.testing import CliRunner, Result

from fastnet.cli import group

NUMPY = ("--backend", "numpy")


def run(*args: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(group, [str(arg) for arg in args], prog_name="fastnet")


def succeed(*args: object) -> str:
    """Run a command that has to succeed; return what it wrote."""
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args: object) -> str:
    """Run a command that has to fail in one line; return the line."""
    result = run(*args)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stderr.startswith("fastnet: error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def predictions(model: str, data: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a model's predictions."""
    text = succeed("predict", model, data, "--out", "-", *NUMPY)
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows
