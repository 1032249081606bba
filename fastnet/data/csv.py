"""CSV files: delimiter and header are detected, then cells are read in one fast or one exact way.

``numpy.loadtxt`` reads files of numbers: it needs the least time and memory of the common readers.
The standard library's ``csv`` reads again whatever that refuses: it copes with texts and gaps, and
knows the line of a mistake.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import TextColumns, check_names, unnamed
from fastnet.data.frame import Frame
from fastnet.data.text import MISSING, Texts, is_number, parse_numbers
from fastnet.data.values import Values, whole
from fastnet.errors import DataError

_DELIMITERS = (",", ";", "\t")  # in order of preference where two fit equally well
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 20
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose delimiter and header are known.

    Attributes
    ----------
    source : str
        What error messages call the file.
    path : Path
    delimiter : str
    names : tuple of str
        From the header; ``x0``, ``x1``, ... if the first row is all numbers.
    named : bool
        Whether there is a header.
    header_lines : int
        Physical lines up to the end of the header.
    """

    source: str
    path: Path
    delimiter: str
    names: tuple[str, ...]
    named: bool
    header_lines: int

    def read_numbers(self) -> NDArray[np.float64] | None:
        """Return all cells, or None if one is not a plain number or a row is ragged."""
        try:
            # A path, as loadtxt reads an open file line by line, which is slower. An absolute
            # one, as it would take "http://..." for an address.
            matrix = np.loadtxt(
                os.path.abspath(self.path),
                delimiter=self.delimiter,
                skiprows=self.header_lines,
                quotechar='"',
                comments=None,
                encoding="utf-8-sig",
                ndmin=2,
            )
        except ValueError:
            return None
        return matrix if matrix.shape[1] == len(self.names) else None

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row; raise `DataError` for a ragged one, naming its line."""
        records = _records(self.source, self.path, self.delimiter)
        if self.named:
            next(records)
        for line, record in records:
            if len(record) != len(self.names):
                raise DataError(
                    f"{self.source}, line {line}: expected {len(self.names)} cells, "
                    f"got {len(record)}."
                )
            yield record


def read_csv(path: Path, text_columns: TextColumns | None = None) -> Frame:
    """Return the columns of a CSV file.

    A column is numbers if every cell is a number or missing ("", "NA", "?", ...), else texts.

    Parameters
    ----------
    path : Path
    text_columns : callable, optional
        ``text_columns(names, named, source)`` returns the columns whose cells are texts as they are
        written, even if all of them are numbers.

    Raises
    ------
    DataError
        If the file is empty or not UTF-8 text, a row is ragged (naming its line), or names of
        columns are missing or not all different.
    """
    file = open_csv(path)
    texts = set() if text_columns is None else text_columns(file.names, file.named, file.source)
    columns: Mapping[str, Values]
    matrix = None if texts else file.read_numbers()
    if matrix is not None:
        first = list(zip(*islice(file.rows(), _SAMPLE_RECORDS), strict=True))
        columns = {
            name: column if _have_points(cells) else whole(column)
            for name, column, cells in zip(file.names, matrix.T, first, strict=True)
        }
        return Frame(len(matrix), columns, file.named, file.source)
    growing = {name: _Growing(name in texts) for name in file.names}
    rows = _fill(file, growing)
    # Columns whose first thousands of cells are numbers, and whose further ones are not: the file
    # is read again for the cells as they are written.
    late = {name: _Growing(True) for name, column in growing.items() if column.late}
    if late:
        _fill(file, late)
    columns = {name: column.values() for name, column in (growing | late).items()}
    return Frame(rows, columns, file.named, file.source)


class _Growing:
    """A column while its file is read: numbers until a cell is none, then texts.

    Attributes
    ----------
    late : bool
        Whether words came after rows that were taken for numbers; the column is then empty.
    """

    def __init__(self, texts: bool) -> None:
        self.late = False
        self._index: dict[str, int] | None = {} if texts else None
        self._points = False
        self._parts: list[NDArray[Any]] = []

    def add(self, cells: Sequence[str]) -> None:
        """Append the cells of some rows."""
        if self.late:
            return
        if self._index is None:
            numbers = _numbers(cells)
            if numbers is not None:
                self._points = self._points or _have_points(cells)
                self._parts.append(numbers)
                return
            if self._parts:
                self.late, self._parts = True, []
                return
            self._index = {}
        index = self._index
        codes = [index.setdefault(cell.strip(), len(index)) for cell in cells]
        self._parts.append(np.array(codes, dtype=np.int64))

    def values(self) -> Values:
        """Return the whole column."""
        joined = np.concatenate(self._parts)
        if self._index is not None:
            return Texts(joined, tuple(self._index), "cells")
        return joined if self._points else whole(joined)


def _fill(file: CsvFile, columns: Mapping[str, _Growing]) -> int:
    """Read those columns of a file; return the number of its rows."""
    places = [(file.names.index(name), column) for name, column in columns.items()]
    records, count = file.rows(), 0
    while chunk := list(islice(records, _CHUNK_ROWS)):
        cells = list(zip(*chunk, strict=True))
        for place, column in places:
            column.add(cells[place])
        count += len(chunk)
    return count


def _have_points(cells: Sequence[str]) -> bool:
    """Return whether any number is written as one of a fraction, as in "300.0"."""
    return any("." in cell for cell in cells)


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return cells as numbers, NaN where one is missing; None if one is another text."""
    numbers = parse_numbers(cells)
    if numbers is None:
        filled = ["nan" if cell.strip().lower() in MISSING else cell for cell in cells]
        numbers = parse_numbers(filled)
    return numbers


def open_csv(path: Path) -> CsvFile:
    """Find out the delimiter (comma, semicolon or tab) and the header of a CSV file.

    A first row of numbers only is data, and the columns are called ``x0``, ``x1``, ...

    Raises
    ------
    DataError
        If the file is empty, has a header only, two columns of one name or a column without one,
        or is not UTF-8 text.
    """
    source = str(path)
    delimiter = _sniff(source, path)
    records = _records(source, path, delimiter)
    line, first = next(records, (0, []))
    if not first:
        raise DataError(f"{source} is empty.")
    cells = tuple(cell.strip() for cell in first)
    if all(is_number(cell) for cell in cells):
        return CsvFile(source, path, delimiter, unnamed(len(cells)), False, 0)
    check_names(source, cells)
    if next(records, None) is None:
        raise DataError(f"{source} has a header but no rows.")
    return CsvFile(source, path, delimiter, cells, True, line)


def _sniff(source: str, path: Path) -> str:
    """Return the delimiter that cuts the first records into the most cells, all equally many."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            sample = file.read(_SAMPLE_CHARACTERS)
        except UnicodeDecodeError as error:
            raise _not_utf8(source, error) from error
    if len(sample) == _SAMPLE_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample  # without the record that was cut
    scores = [_score(sample, delimiter) for delimiter in _DELIMITERS]
    return _DELIMITERS[scores.index(max(scores))]


def _score(sample: str, delimiter: str) -> tuple[bool, int]:
    records = csv.reader(
        io.StringIO(sample, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    widths = []
    try:
        for record in records:
            if not _is_blank(record):
                widths.append(len(record))
            if len(widths) == _SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    even = len(set(widths)) == 1 and widths[0] > 1
    return even, widths[0] if widths else 0


def _records(source: str, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, and the physical line in which it ends."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
        try:
            for record in reader:
                if not _is_blank(record):
                    yield reader.line_num, record
        except UnicodeDecodeError as error:
            raise _not_utf8(source, error) from error
        except csv.Error as error:
            raise DataError(f"{source}, line {reader.line_num}: {error}.") from error


def _is_blank(record: list[str]) -> bool:
    return not record or (len(record) == 1 and not record[0].strip())


def _not_utf8(source: str, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(f"{source} is not UTF-8 text (byte 0x{byte:02x}): save it as UTF-8.")
