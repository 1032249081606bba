"""CSV files: delimiter and header are detected, then cells are read in one fast or one exact way.

Files of numbers go through ``numpy.loadtxt``, which needs the least time and memory of the common
readers. Whatever it refuses is read again by the standard library's ``csv``, which copes with
texts and knows the line of a mistake.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.table import Table, check_names, unnamed
from fastnet.data.text import Kind, Texts, is_number, parse_numbers, resolve
from fastnet.errors import DataError

_DELIMITERS = (",", ";", "\t")  # in order of preference where two fit equally well
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 20
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose delimiter and header are known; implements ``TableFile``.

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

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return the columns in `kinds`; further columns are not looked at.

        Raises
        ------
        DataError
            If a row is ragged (naming its line), or a cell is missing or not a number (naming its
            row, counted from 1 after the header, and its column).
        """
        texts = {name for name, kind in kinds.items() if kind in ("text", "words")}
        if not texts:
            matrix = self._read_numbers()
            if matrix is not None:
                return Table(self.source, len(matrix), self.names, matrix)
        columns, late = self._read_columns(kinds, texts)
        if late:  # numbers so far, and words further down: the words' columns are read again
            columns, _ = self._read_columns(kinds, texts | late)
        resolved = {
            name: resolve(column, kinds[name], self.source, name)
            if isinstance(column, Texts)
            else column
            for name, column in columns.items()
        }
        return Table.of_columns(self.source, resolved)

    def _read_numbers(self) -> NDArray[np.float64] | None:
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

    def _read_columns(
        self, kinds: Mapping[str, Kind], texts: set[str]
    ) -> tuple[dict[str, NDArray[np.float64] | Texts], set[str]]:
        """Return each column as numbers or texts, and the names found to be texts too late."""
        index: dict[str, dict[str, int]] = {name: {} for name in texts}
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in kinds}
        late: set[str] = set()
        positions = [(name, i) for i, name in enumerate(self.names) if name in kinds]
        records = self._rows()
        first = True
        while chunk := list(islice(records, _CHUNK_ROWS)):
            cells = list(zip(*chunk, strict=True))
            for name, position in positions:
                if name in late:
                    continue
                if name not in index:
                    numbers = parse_numbers(cells[position])
                    if numbers is not None:
                        parts[name].append(numbers)
                        continue
                    if not first:
                        late.add(name)
                        continue
                    index[name] = {}
                seen = index[name]
                codes = [seen.setdefault(cell.strip(), len(seen)) for cell in cells[position]]
                parts[name].append(np.array(codes, dtype=np.int64))
            first = False
        columns: dict[str, NDArray[np.float64] | Texts] = {}
        for name in kinds:
            if name not in late:
                whole = np.concatenate(parts[name])
                columns[name] = Texts(whole, tuple(index[name])) if name in index else whole
        return columns, late

    def _rows(self) -> Iterator[list[str]]:
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
