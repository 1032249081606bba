"""The kind and the categories of each column of a table, learned from training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Values, numbers_of, texts_of
from fastnet.data.text import MAX_CATEGORIES, Texts
from fastnet.errors import DataError

Array = NDArray[np.float64]


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
    one_hot : bool, optional
        Whether every category has its own input. Default: True unless there are two.
    """

    name: str
    kind: Literal["numeric", "categorical", "empty"]
    categories: tuple[str, ...] = ()
    indicator: bool = False
    one_hot: bool | None = None

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
        return content

    @property
    def levels(self) -> int:
        """Number of inputs that are scaled: those before numeric embeddings."""
        if self.kind == "numeric":
            return 1 + self.indicator
        return len(self.categories) if self.one_hot or not self.categories else 1


def learn_column(name: str, column: Values, source: str) -> TableColumn:
    """Return the description of a column of training rows.

    Raises
    ------
    DataError
        The column has too many categories, or an infinite number.
    """
    if not isinstance(column, Texts):
        missing = np.isnan(numbers_of(column, name, source))
        if missing.all():
            return TableColumn(name, "empty")
        return TableColumn(name, "numeric", indicator=bool(missing.any()))
    used = np.unique(column.codes[column.codes >= 0])
    if not used.size:
        return TableColumn(name, "empty")
    if used.size > MAX_CATEGORIES:
        raise DataError(
            f"{source}: column {name!r} has {used.size:,} different texts, more than "
            f"{MAX_CATEGORIES:,}: leave it out, or make numbers or fewer categories of it."
        )
    return TableColumn(name, "categorical", tuple(sorted(column.values[k] for k in used)))


def codes_of(column: TableColumn, values: Values) -> NDArray[np.int64]:
    """Return the index of each row's category, (N,); -1 if it is missing or unseen."""
    texts = texts_of(values)
    index = {text: k for k, text in enumerate(column.categories)}
    table = np.array([*(index.get(value, -1) for value in texts.values), -1], np.int64)
    return table[texts.codes]


def signs(codes: NDArray[np.int64]) -> Array:
    """Return 1 for category 0, -1 for category 1, and 0 for none."""
    return np.array([1.0, -1.0, 0.0])[codes]
