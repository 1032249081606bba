"""A CSV file that is read a part at a time: where its rows begin is noted in one pass."""

from __future__ import annotations

import codecs
import csv
import gzip
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastnet.data.csv import CsvFile, is_blank, open_csv
from fastnet.data.csv_columns import read_cells
from fastnet.data.frame import Frame
from fastnet.data.places import RowsOf
from fastnet.data.text_format import GZIP, TextFormat
from fastnet.errors import DataError

_EVERY: Final = 512  # rows between two that are noted


class _Mark(NamedTuple):
    """Where a row begins: its number, its place in the file and its line."""

    row: int
    byte: int
    line: int


@dataclass(eq=False)
class CsvSource:
    """A CSV file whose rows are found by their number.

    Attributes
    ----------
    file : CsvFile
    path : Path
        The file to read, which is a copy without compression where `file` is compressed.
    rows, row_bytes : int
    """

    file: CsvFile
    path: Path
    rows: int = 0
    row_bytes: int = 1
    matrix: bool = False
    _marks: list[_Mark] = field(default_factory=list)
    _next: _Mark | None = None  # where the last reading ended

    @classmethod
    def open(cls, path: Path, form: TextFormat) -> CsvSource:
        """Find the rows of a file.

        Raises
        ------
        DataError
            The file is damaged, a row is ragged, or the encoding cannot be read in parts.
        """
        file = open_csv(path, form=form)
        if "\n".encode(form.encoding.removesuffix("-sig")) != b"\n":
            raise DataError(
                f"{path} cannot be read in parts in the encoding {form.encoding}: save it as UTF-8."
            )
        folder = None
        if path.suffix.lower() == GZIP:  # cannot be read from its middle
            folder = tempfile.mkdtemp(prefix="fastnet-")
            copy = Path(folder, "rows.csv")
        made = cls(file, path if folder is None else copy)
        if folder is not None:
            weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
            with gzip.open(path) as packed, copy.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        made._find_rows()
        return made

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.file.source

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns; they are its own if it is `named`."""
        return self.file.names

    @property
    def named(self) -> bool:
        """Whether it has a header."""
        return self.file.named

    def _find_rows(self) -> None:
        before = _Mark(0, 0, 0)
        again: list[int] = []
        if self.named:
            before = next(mark for mark, _ in self._records(before))._replace(row=0)
        for after, _ in self._records(before, again):
            if before.row % _EVERY == 0:
                self._marks.append(before)
            before = after
        self.file.warn_of_headers(again)
        self.rows = before.row
        self.row_bytes = max(1, self.path.stat().st_size // max(self.rows, 1))

    def records(self, start: int, stop: int) -> Iterator[list[str]]:
        """Yield the cells of rows from `start` to `stop`."""
        mark = self._marks[start // _EVERY]
        if self._next is not None and mark.row <= self._next.row <= start:
            mark = self._next
        found = islice(self._records(mark), start - mark.row, stop - mark.row)
        for after, record in found:
            self._next = after
            yield record

    def _records(
        self, mark: _Mark, again: list[int] | None = None
    ) -> Iterator[tuple[_Mark, list[str]]]:
        """Yield each record from a mark on, with the mark after it.

        The lines in which the header stands again go to `again`.
        """
        form, row, at = self.file.form, mark.row, mark.byte
        encoding = form.encoding.removesuffix("-sig")
        with self.path.open("rb") as file:
            file.seek(at)

            def lines() -> Iterator[str]:
                nonlocal at
                for raw in file:
                    text = raw if at else raw.removeprefix(codecs.BOM_UTF8)
                    at += len(raw)
                    yield text.decode(encoding)

            # The reader takes a line when it needs one, so `at` is where a record ends.
            options: Any = {"delimiter": self.file.delimiter, "skipinitialspace": True}
            reader = csv.reader(lines(), strict=True, **options)
            try:
                for record in reader:
                    if is_blank(record):
                        continue
                    line = mark.line + reader.line_num
                    if mark.byte and self.file.is_header(record):
                        if again is not None:
                            again.append(line)
                        continue
                    row += 1
                    if len(record) != len(self.names):
                        raise DataError(
                            f"{self.name}, line {line}: expected {len(self.names)} cells, "
                            f"got {len(record)}."
                        )
                    yield _Mark(row, at, line), record
            except UnicodeError as error:
                raise form.undecodable(self.name, self.path, error) from error
            except csv.Error as error:
                line = mark.line + reader.line_num
                raise DataError(f"{self.name}, line {line}: {error}.") from error

    def frame(
        self,
        start: int,
        stop: int,
        texts: Collection[str] = (),
        as_written: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Frame:
        """Return rows as a table; see `fastnet.data.csv_columns.read_cells`."""
        rows = list(self.records(start, stop))
        source = RowsOf.after(self.name, start)
        how: dict[str, Any] = {"texts": texts, "as_written": as_written, "only": only}
        count, columns = read_cells(lambda: rows, self.names, self.file.form, source, **how)
        return Frame(count, columns, self.named, source)


def sample(
    files: Sequence[CsvSource],
    every: int,
    source: RowsOf,
    texts: Collection[str],
    as_written: Collection[str],
) -> Frame:
    """Return rows of some files at equal distances, as one table with the columns of the first."""
    first = files[0]

    def rows() -> Iterator[list[str]]:
        count = 0
        for file in files:
            places = [file.names.index(name) for name in first.names]
            for record in file.records(0, file.rows):
                if count % every == 0:
                    yield [record[at] for at in places]
                count += 1

    how = first.names, first.file.form, source
    count, columns = read_cells(rows, *how, texts=texts, as_written=as_written)
    return Frame(count, columns, first.named, source)
