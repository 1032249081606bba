"""The kind and the categories of each column of a table, learned from training rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import Names, named_columns, no_column
from fastnet.data.frame import Frame
from fastnet.data.places import row_number
from fastnet.data.text import MAX_CATEGORIES, TRUTHS, Texts, matcher, number_key, quoted
from fastnet.data.times import PARTS, part_of
from fastnet.data.values import Values, known_texts, numbers_of, read_texts, texts_of, times_of
from fastnet.errors import DataError
from fastnet.utils.warn import warn

Array = NDArray[np.float64]

_IDENTIFIER: Final = re.compile(r"(?i:(^|[_ ])(id|index)$|^unnamed: 0$)|[a-z]Id$")

_FEW: Final = 20  # as many different texts are categories in any table


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical", "empty"}
        An empty column had no value in training; it makes no input.
    categories : tuple of str
        The known values of a categorical column. Two categories become one input, 1 and -1; more
        become one input each (one-hot). An unseen or missing category becomes all zeros.
    indicator : bool
        Whether a numeric column has a second input that marks missing numbers.
    part : str
        The number of `fastnet.data.times.PARTS` that a numeric column makes of times; "" for a
        column of numbers.
    truths : bool
        Whether a numeric column held 0 and 1 alone, or truth values in any spelling, which it may
        hold in any other spelling too.
    one_hot : bool, optional
        Whether every category has its own input. Default: True unless there are two.
    """

    name: str
    kind: Literal["numeric", "categorical", "empty"]
    categories: tuple[str, ...] = ()
    indicator: bool = False
    one_hot: bool | None = None
    part: str = ""
    truths: bool = False

    def __post_init__(self) -> None:
        if self.one_hot is None:
            several = self.kind == "categorical" and len(self.categories) != 2
            object.__setattr__(self, "one_hot", several)
        if self.kind not in ("numeric", "categorical", "empty"):
            raise DataError(f"column {self.name!r}: unknown kind {self.kind!r}.")
        if (self.kind == "categorical") != bool(self.categories):
            raise DataError(f"column {self.name!r}: expected categories of exactly the text ones.")
        if len(set(self.categories)) != len(self.categories):
            raise DataError(f"column {self.name!r} lists a category twice.")
        if self.indicator and self.kind != "numeric":
            raise DataError(f"column {self.name!r}: an indicator is for numbers.")
        if (self.part or self.truths) and self.kind != "numeric":
            raise DataError(f"column {self.name!r}: only numbers are parts of times, or truths.")
        if self.part and self.part not in PARTS:
            raise DataError(f"column {self.name!r}: unknown part {self.part!r} of times.")
        if self.one_hot and self.kind != "categorical":
            raise DataError(f"column {self.name!r}: only categories are one-hot.")
        if not self.one_hot and len(self.categories) not in (0, 2):
            raise DataError(f"column {self.name!r}: one input is for two categories.")

    def description(self) -> dict[str, Any]:
        """Return it as JSON values, without defaults."""
        content: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.categories:
            content["categories"] = list(self.categories)
        if self.indicator:
            content["indicator"] = True
        if self.one_hot and len(self.categories) == 2:
            content["one_hot"] = True
        if self.part:
            content["part"] = self.part
        if self.truths:
            content["truths"] = True
        return content

    @property
    def label(self) -> str:
        """The name of the column, and which part of its times this is."""
        return f"{self.name} ({self.part})" if self.part else self.name

    @property
    def levels(self) -> int:
        """Number of inputs that are scaled: those before numeric embeddings."""
        if self.kind == "numeric":
            return 1 + self.indicator
        return len(self.categories) if self.one_hot or not self.categories else 1


def learn_columns(frame: Frame, categorical: Names = ()) -> list[TableColumn]:
    """Return the descriptions of the columns of training rows; times become several columns.

    Parameters
    ----------
    frame : Frame
    categorical : str or sequence of str
        Columns whose values are categories, whatever they are.

    Raises
    ------
    DataError
        One of `categorical` is no column; or a column has too many categories, an infinite number,
        or texts that `read_texts` refuses.

    Warns
    -----
    FastNetWarning
        A column has no value, numbers written as texts, or an identifier in each row.
    """
    chosen = named_columns(categorical, frame.columns, frame.source)
    made: list[TableColumn] = []
    for name, values in frame.columns.items():
        made += _learn_column(name, values, frame.source, categorical=name in chosen)
    return made


def _learn_column(name: str, given: Values, source: str, *, categorical: bool) -> list[TableColumn]:
    values = texts_of(given) if categorical else _read(given, name, source)
    where = f"{source}: column {name!r}"
    if not isinstance(values, Texts):
        missing = np.isnan(values)
        if missing.all():
            _warn(f"{where} has no value: it is ignored.")
            return [TableColumn(name, "empty")]
        if values.dtype.kind == "M":
            return _parts(name, values)
        known = numbers_of(values, name, source)[~missing]
        truths = bool(np.isin(known, (0.0, 1.0)).all())
        if isinstance(given, Texts) and given.origin == "words" and not truths:
            _warn(
                f"{where} holds numbers as texts, which are read as numbers: give "
                f"categorical=[{name!r}] if they are names."
            )
        if _IDENTIFIER.search(name) and len(np.unique(known)) == len(values) > _FEW:
            _warn(
                f"{where} is a different number in each row: leave it out if it is an identifier."
            )
        return [TableColumn(name, "numeric", indicator=bool(missing.any()), truths=truths)]
    texts = known_texts(values)
    used = sorted(texts.values[k] for k in np.unique(texts.codes[texts.codes >= 0]))
    if not used:
        _warn(f"{where} has no value: it is ignored.")
        return [TableColumn(name, "empty")]
    if len(used) > MAX_CATEGORIES:
        raise DataError(
            f"{where} has {len(used):,} different texts, more than {MAX_CATEGORIES:,}: leave it "
            "out, or make numbers or fewer categories of it."
        )
    if len(used) > _FEW and 2 * len(used) > np.count_nonzero(texts.codes >= 0):
        _warn(
            f"{where} has {len(used):,} different texts in {len(texts):,} rows, such as "
            f"{quoted(used[0])}: leave it out if it is an identifier."
        )
    # 1 and 1.0 are one category, called by the shorter spelling.
    spelled: dict[str, str] = {}
    for text in sorted(used, key=len):
        spelled.setdefault(number_key(text), text)
    return [TableColumn(name, "categorical", tuple(sorted(spelled.values())))]


def _read(given: Values, name: str, source: str) -> Values:
    """Return what `read_texts` does, and 0 and 1 for texts that are all truth values."""
    values = read_texts(given, name, source)
    if isinstance(values, Texts) and values.origin != "categories":
        words = {value.lower() for value in known_texts(values).values}
        both = {TRUTHS.get(word) for word in words} == {False, True}
        if both or (words and words <= {"true", "false"}):
            return numbers_of(values, name, source, truths=True)
    return values


def _warn(message: str) -> None:
    warn(message)


def _parts(name: str, times: NDArray[np.datetime64]) -> list[TableColumn]:
    """Return a column for each part of times that differs in training; the first marks missing."""
    parts = {part: part_of(times, part) for part in PARTS}
    varied = [part for part, z in parts.items() if np.nanmin(z) < np.nanmax(z)]
    chosen = varied or [PARTS[0]]
    missing = bool(np.isnat(times).any())
    return [
        TableColumn(name, "numeric", indicator=missing and part == chosen[0], part=part)
        for part in chosen
    ]


def values_of(column: TableColumn, values: Values, source: str) -> Values:
    """Return the values that a description is about, of those of its column in a table."""
    if column.kind == "numeric":
        if column.part:
            return part_of(times_of(values, column.name, source), column.part)
        return numbers_of(values, column.name, source, truths=column.truths)
    return values


def codes_of(column: TableColumn, values: Values) -> NDArray[np.int64]:
    """Return the index of each row's category, (N,); -1 if it is missing or unseen."""
    texts = texts_of(values)
    table = np.array([*map(matcher(column.categories), texts.values), -1], np.int64)
    return table[texts.codes]


def warn_of_unknown(
    column: TableColumn, values: Values, codes: NDArray[np.int64], source: str
) -> None:
    """Warn if most of a column's values are categories that training did not have."""
    if (codes >= 0).sum() * 2 >= len(codes):
        return
    texts = known_texts(texts_of(values), column.categories)
    there = texts.codes >= 0
    unknown = there & (codes < 0)
    if 2 * unknown.sum() > there.sum():
        row = int(np.argmax(unknown))
        where = f"row {row_number(source, row)}"
        seen = ", ".join(map(quoted, column.categories[:5]))
        more = ", ..." if len(column.categories) > 5 else ""
        _warn(
            f"{source}: column {column.name!r} has {int(unknown.sum()):,} values of "
            f"{int(there.sum()):,} that were not there in training, such as "
            f"{quoted(texts.values[texts.codes[row]])} in {where}; known are {seen}{more}."
        )


def signs(codes: NDArray[np.int64]) -> Array:
    """Return 1 for category 0, -1 for category 1, and 0 for none."""
    return np.array([1.0, -1.0, 0.0])[codes]


def known_columns(
    columns: Sequence[TableColumn], names: Sequence[str], source: str
) -> Sequence[str]:
    """Return the name of each column in a table with `names`; raise `DataError` if one is missing.

    A column that had no value in training may be missing.
    """
    known = set(names)
    for column in columns:
        if column.kind != "empty" and column.name not in known:
            raise no_column(source, column.name, names)
    return [column.name for column in columns]


def columns_by_position(
    columns: Sequence[TableColumn], names: Sequence[str], source: str, targets: Sequence[str]
) -> Sequence[str]:
    """Return the name of each column in a table whose columns come in the order of training.

    The table may still hold the targets, where they were in training.
    """
    wanted = list(dict.fromkeys(column.name for column in columns))
    if targets and set(names) == {*wanted, *targets}:
        return [column.name for column in columns]
    if len(names) != len(wanted):
        raise DataError(f"{source}: expected {len(wanted)} columns, got {len(names)}.")
    given = dict(zip(wanted, names, strict=True))
    return [given[column.name] for column in columns]
