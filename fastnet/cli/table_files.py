"""Predictions as a table in a file: CSV and TSV as text, Parquet and Arrow by pyarrow."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import click
import numpy as np
from numpy.typing import NDArray

from fastnet.cli import output
from fastnet.cli.sources import STANDARD
from fastnet.data.frame_files import ending
from fastnet.data.text import Texts, is_number
from fastnet.data.values import Values, texts_of
from fastnet.errors import InputError

_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".csv.gz": ",", ".tsv.gz": "\t"}
_BY_ARROW: Final = (".parquet", ".feather", ".arrow")
ENDINGS: Final = (*_SEPARATORS, *_BY_ARROW)

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet computes."""


@dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Attributes
    ----------
    ids : (B,) Values or None
    labels : list of B str, or None
    numbers : (B, K) floats
    """

    ids: Values | None
    labels: Sequence[str] | None
    numbers: NDArray[Any]


class TableFile(Protocol):
    """A table that is being written."""

    def write(self, block: Block) -> None:
        """Append some rows."""


def require_ending(path: Path) -> None:
    """Refuse, before any work, a file whose ending names no format, or one that needs pyarrow.

    Devices, pipes and standard output take CSV.

    Raises
    ------
    click.UsageError
        The ending is unknown.
    InputError
        pyarrow is not installed.
    """
    if _is_stream(path):
        return
    kind = ending(path)
    if kind not in ENDINGS:
        raise click.UsageError(f"--out: expected a file that ends in {', '.join(ENDINGS)}.")
    if kind in _BY_ARROW:
        try:
            importlib.import_module("pyarrow")
        except ImportError:
            raise InputError(
                f"--out: {kind} files need pyarrow: pip install 'fastnet-mlp[data]'."
            ) from None


def _is_stream(path: Path) -> bool:
    return str(path) == STANDARD or (path.exists() and not path.is_file())


@contextmanager
def opened(path: Path, names: Sequence[str], *, quotes_formulas: bool) -> Iterator[TableFile]:
    """Open a table that appears under its name only when it is complete; ``-`` is the terminal.

    Parameters
    ----------
    names : sequence of str
        Of all columns.
    quotes_formulas : bool
        Whether texts that a spreadsheet would compute get a leading apostrophe.
    """
    if str(path) == STANDARD:
        yield _Text(sys.stdout.buffer, ",", names, quotes_formulas)
        return
    kind = ".csv" if _is_stream(path) else ending(path)
    with output.replacing(path, "wb") as file:
        if kind in _BY_ARROW:
            table = _Arrow(file, kind, names)
            yield table
            table.close()
        elif kind.endswith(".gz"):
            # No time and no name, so that the same rows give the same bytes.
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                yield _Text(packed, _SEPARATORS[kind], names, quotes_formulas)
        else:
            yield _Text(file, _SEPARATORS[kind], names, quotes_formulas)


class _Text:
    """A text file in UTF-8, whatever the encoding of the terminal."""

    def __init__(self, file: Any, sep: str, names: Sequence[str], quotes_formulas: bool) -> None:
        self._file, self._sep, self._quotes = file, sep, quotes_formulas
        self._names = self._texts(names)
        self._begun = False  # the names come with the first rows, if nothing is wrong with those

    def write(self, block: Block) -> None:
        # The fewest digits that restore each number exactly.
        rows: list[list[str]] = block.numbers.astype(np.str_).tolist()
        for texts in (block.labels, None if block.ids is None else _cells(block.ids)):
            if texts is not None:
                rows = [[one, *row] for one, row in zip(self._texts(texts), rows, strict=True)]
        self._lines(rows if self._begun else [self._names, *rows])
        self._begun = True

    def _texts(self, cells: Sequence[str]) -> Sequence[str]:
        return [_quoted(cell) for cell in cells] if self._quotes else cells

    def _lines(self, rows: Sequence[Sequence[str]]) -> None:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=self._sep, lineterminator="\n").writerows(rows)
        self._file.write(buffer.getvalue().encode("utf-8"))


def _quoted(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) and not is_number(cell) else cell


def _cells(ids: Values) -> list[str]:
    """Return identifiers as texts, empty where one is missing."""
    texts = texts_of(ids)
    known = [*texts.values, ""]
    return [known[code] for code in texts.codes]


class _Arrow:
    """A Parquet or Arrow file; numbers keep their type."""

    def __init__(self, file: IO[bytes], kind: str, names: Sequence[str]) -> None:
        self._file, self._kind, self._names = file, kind, names
        self._writer: Any = None

    def write(self, block: Block) -> None:
        arrow = importlib.import_module("pyarrow")
        columns: list[Any] = list(block.numbers.T)
        if block.labels is not None:
            columns.insert(0, arrow.array(block.labels, arrow.string()))
        if isinstance(block.ids, Texts):
            known = [*block.ids.values, None]
            texts = [known[code] for code in block.ids.codes]
            columns.insert(0, arrow.array(texts, arrow.string()))
        elif block.ids is not None:
            columns.insert(0, arrow.array(block.ids, from_pandas=True))
        table = arrow.table([arrow.array(column) for column in columns], list(self._names))
        if self._writer is None:
            self._writer = self._opened(table.schema)
        self._writer.write_table(table)

    def _opened(self, schema: Any) -> Any:
        if self._kind == ".parquet":
            return importlib.import_module("pyarrow.parquet").ParquetWriter(self._file, schema)
        return importlib.import_module("pyarrow.ipc").new_file(self._file, schema)

    def close(self) -> None:
        self._writer.close()
