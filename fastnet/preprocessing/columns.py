"""What each column of a table is, learned from training rows."""

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
    """One column.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical", "empty"}
        An empty one had no value at all in training; it becomes no input.
    categories : tuple of str
        The known texts of a categorical column. Two of them become one input, 1 and -1, others one
        input each (one-hot); a text that is not among them, or missing, is 0 in all.
    indicator : bool
        Whether a numeric column has a second input that tells where a number is missing.
    one_hot : bool, optional
        Whether every category has an input of its own. Default: unless there are two.
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
        """Return it as JSON values; what is as by default is left out."""
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
    """Return what a column of training rows is.

    Raises
    ------
    DataError
        It has more different texts than categories may be, or an infinite number.
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
    """Return the number of each row's category, (N,); -1 where it is missing or not known."""
    texts = texts_of(values)
    index = {text: k for k, text in enumerate(column.categories)}
    table = np.array([*(index.get(value, -1) for value in texts.values), -1], np.int64)
    return table[texts.codes]


def signs(codes: NDArray[np.int64]) -> Array:
    """Return 1 for category 0, -1 for category 1, and 0 where there is none."""
    return np.array([1.0, -1.0, 0.0])[codes]
