"""CSV files: delimiter and header are detected, then cells are read in one fast or one exact way.

``numpy.loadtxt`` reads files of numbers: it needs the least time and memory of the common readers.
The standard library's ``csv`` reads again whatever that refuses: it copes with texts and gaps, and
knows the line of a mistake.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import TextColumns, check_names, unnamed
from fastnet.data.csv_columns import have_points, read_cells
from fastnet.data.frame import Frame
from fastnet.data.text import is_number
from fastnet.data.text_format import DEFAULT, TextFormat, require_sound
from fastnet.data.values import Values, whole
from fastnet.errors import DataError
from fastnet.utils.warn import warn

_DELIMITERS = (",", ";", "\t")  # in order of preference where two fit equally well
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 20


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose delimiter and header are known.

    Attributes
    ----------
    source : str
        What error messages call the file.
    path : Path
    form : TextFormat
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
    form: TextFormat
    delimiter: str
    names: tuple[str, ...]
    named: bool
    header_lines: int

    def read_numbers(self) -> NDArray[np.float64] | None:
        """Return all cells, or None if one is not a plain number or a row is ragged."""
        if not self.form.plain:
            return None
        try:
            # A path, as loadtxt reads an open file line by line, which is slower. An absolute
            # one, as it would take "http://..." for an address.
            matrix = np.loadtxt(
                os.path.abspath(self.path),
                delimiter=self.delimiter,
                skiprows=self.header_lines,
                quotechar='"',
                comments=None,
                encoding=self.form.encoding,
                ndmin=2,
            )
        except ValueError:
            return None
        return matrix if matrix.shape[1] == len(self.names) else None

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row; raise `DataError` for a ragged one, naming its line."""
        records = _records(self.source, self.path, self.form, self.delimiter)
        if self.named:
            next(records)
        again = []
        for line, record in records:
            if self.is_header(record):
                again.append(line)
                continue
            if len(record) != len(self.names):
                raise DataError(
                    f"{self.source}, line {line}: expected {len(self.names)} cells, "
                    f"got {len(record)}."
                )
            yield record
        self.warn_of_headers(again)

    def is_header(self, record: Sequence[str]) -> bool:
        """Tell whether a row is the header again, as where files were put together."""
        if not self.named or record[0].strip() != self.names[0]:
            return False
        return tuple(cell.strip() for cell in record) == self.names

    def warn_of_headers(self, lines: Sequence[int]) -> None:
        """Warn of the lines in which the header stands again, if any."""
        if lines:
            more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
            warn(
                f"{self.source}: the header stands again in line {lines[0]}{more}, as where files "
                "were put together: no row was made of it.",
            )


def read_csv(
    path: Path,
    text_columns: TextColumns | None = None,
    *,
    form: TextFormat = DEFAULT,
    source: str | None = None,
    as_written: Callable[[Sequence[str]], set[str]] | None = None,
) -> Frame:
    """Return the columns of a CSV file, which may be compressed by gzip.

    A column is numbers if every cell is a number or missing ("", "NA", "?", ...), else texts.
    No row is made of a header that stands again among the rows, and a warning names its line.

    Parameters
    ----------
    path : Path
    text_columns : callable, optional
        ``text_columns(names, named, source)`` returns the columns that are texts, even if all their
        cells are numbers.
    form : TextFormat
        How the file is written.
    source : str, optional
        What messages call the file; default: its path.
    as_written : callable, optional
        ``as_written(names)`` returns the columns that are texts as they stand, and no numbers in
        any spelling.

    Raises
    ------
    DataError
        If the file is empty, damaged or in another encoding, a row is ragged (naming its line), or
        names of columns are missing or not all different.
    """
    file = open_csv(path, form=form, source=source)
    texts = set() if text_columns is None else text_columns(file.names, file.named, file.source)
    written = set() if as_written is None else as_written(file.names)
    matrix = None if texts or written else file.read_numbers()
    if matrix is not None:
        first = list(zip(*islice(file.rows(), _SAMPLE_RECORDS), strict=True))
        columns: dict[str, Values] = {
            name: column if have_points(cells) else whole(column)
            for name, column, cells in zip(file.names, matrix.T, first, strict=True)
        }
        return Frame(len(matrix), columns, file.named, file.source)
    how = file.names, form, file.source
    rows, columns = read_cells(file.rows, *how, texts=texts, as_written=written)
    return Frame(rows, columns, file.named, file.source)


def open_csv(path: Path, *, form: TextFormat = DEFAULT, source: str | None = None) -> CsvFile:
    """Find out the delimiter (comma, semicolon or tab) and the header of a CSV file.

    A first row of numbers only is data, and the columns are called ``x0``, ``x1``, ...

    Raises
    ------
    DataError
        If the file is empty, has a header only, two columns of one name or a column without one,
        or is damaged or in another encoding.
    """
    source = str(path) if source is None else source
    require_sound(path, source)
    delimiter = _sniff(source, path, form) if form.sep is None else form.sep
    records = _records(source, path, form, delimiter)
    line, first = next(records, (0, []))
    if not first:
        raise DataError(f"{source} is empty.")
    cells = tuple(cell.strip() for cell in first)
    if all(is_number(form.standard(cell)) for cell in cells):
        return CsvFile(source, path, form, delimiter, unnamed(len(cells)), False, 0)
    check_names(source, cells)
    if next(records, None) is None:
        raise DataError(f"{source} has a header but no rows.")
    return CsvFile(source, path, form, delimiter, cells, True, line)


def _sniff(source: str, path: Path, form: TextFormat) -> str:
    """Return the delimiter that cuts the first records into the most cells, all equally many."""
    with form.open(path) as file:
        try:
            sample = file.read(_SAMPLE_CHARACTERS)
        except UnicodeError as error:
            raise form.undecodable(source, path, error) from error
    if len(sample) == _SAMPLE_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample  # without the record that was cut
    known = [delimiter for delimiter in _DELIMITERS if delimiter != form.decimal]
    known.sort(key=lambda delimiter: delimiter == form.thousands)  # the last one, if any
    scores = [_score(sample, delimiter) for delimiter in known]
    return known[scores.index(max(scores))]


def _score(sample: str, delimiter: str) -> tuple[bool, int]:
    records = csv.reader(
        io.StringIO(sample, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    widths = []
    try:
        for record in records:
            if not is_blank(record):
                widths.append(len(record))
            if len(widths) == _SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    even = len(set(widths)) == 1 and widths[0] > 1
    return even, widths[0] if widths else 0


def _records(
    source: str, path: Path, form: TextFormat, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, and the physical line in which it ends."""
    with form.open(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
        try:
            for record in reader:
                if not is_blank(record):
                    yield reader.line_num, record
        except UnicodeError as error:
            raise form.undecodable(source, path, error) from error
        except csv.Error as error:
            raise DataError(f"{source}, line {reader.line_num}: {error}.") from error


def is_blank(record: list[str]) -> bool:
    """Tell whether a record holds nothing."""
    return not record or (len(record) == 1 and not record[0].strip())
