"""What each column of a table becomes: its inputs, before and after scaling."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Values, numbers_of, texts_of
from fastnet.data.text import Texts
from fastnet.errors import DataError

Array = NDArray[np.float64]

MAX_CATEGORIES = 1000
"""Most different texts in one column; more are an identifier or a date, not categories."""

SMOOTH_CLIP = 3.0
"""No scaled number is larger (Holzmüller, Grinsztajn and Steinwart, 2024, section 3)."""


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
    """

    name: str
    kind: Literal["numeric", "categorical", "empty"]
    categories: tuple[str, ...] = ()
    indicator: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("numeric", "categorical", "empty"):
            raise DataError(f"column {self.name!r}: unknown kind {self.kind!r}.")
        if (self.kind == "categorical") != bool(self.categories):
            raise DataError(f"column {self.name!r}: expected categories of exactly the text ones.")
        if len(set(self.categories)) != len(self.categories):
            raise DataError(f"column {self.name!r} lists a category twice.")
        if self.indicator and self.kind != "numeric":
            raise DataError(f"column {self.name!r}: an indicator is for numbers.")

    @property
    def levels(self) -> int:
        """Number of inputs that are scaled: those before numeric embeddings."""
        if self.kind == "numeric":
            return 1 + self.indicator
        return 1 if len(self.categories) == 2 else len(self.categories)

    @property
    def one_hot(self) -> bool:
        """Whether every category has an input of its own."""
        return self.kind == "categorical" and len(self.categories) != 2


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


def learn_scale(column: TableColumn, values: Values, source: str) -> tuple[Array, Array]:
    """Return center and factor of each scaled input of a column, (levels,) each.

    The median, and 1 / the difference of the quartiles; where that is 0, half of the range; and the
    factor 0 where that is 0 too. Inputs 0 and 1 of categories and indicators are treated alike
    (Holzmüller, Grinsztajn and Steinwart, 2024, and its reference code).
    """
    if column.kind == "empty":
        return np.zeros(0), np.zeros(0)
    if column.kind == "numeric":
        numbers = numbers_of(values, column.name, source)
        missing = np.isnan(numbers)
        parts = [numbers[~missing], *([missing.astype(np.float64)] if column.indicator else [])]
    else:
        codes = codes_of(column, values)
        if column.one_hot:
            return _scale_of_shares(np.bincount(codes[codes >= 0], minlength=column.levels), codes)
        parts = [_signs(codes)]
    summaries = [np.quantile(part, [0.0, 0.25, 0.5, 0.75, 1.0]) for part in parts]
    return _scale(*np.array(summaries).T)


def _scale_of_shares(ones: NDArray[np.int64], codes: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return center and factor of inputs that are 1 in so many rows and else 0."""
    zeros, last = len(codes) - ones, len(codes) - 1

    def quantile(q: float) -> Array:
        whole, fraction = divmod(q * last, 1.0)
        below, above = whole >= zeros, whole + (fraction > 0) >= zeros
        return np.where(below == above, below, fraction).astype(np.float64)

    return _scale(*(quantile(q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)))


def _scale(
    low: Array, first: Array, middle: Array, third: Array, high: Array
) -> tuple[Array, Array]:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        variance = np.where(third == first, high / 2 - low / 2, third - first)
        factor = np.where(variance == 0, 0.0, 1.0 / variance)
    # A spread beyond the largest number has the factor 0, one below the smallest has the largest.
    return middle, np.nan_to_num(factor, posinf=np.finfo(np.float64).max)


def clip(z: Any) -> Any:
    """Return ``z / sqrt(1 + (z / 3)^2)``: almost z where it is small, and within -3 and 3."""
    bounded = np.clip(z, -1e300, 1e300)  # of infinity it would be NaN
    return bounded / np.hypot(1.0, bounded / SMOOTH_CLIP)


def scaled(numbers: Any, center: Any, factor: Any) -> Any:
    """Return ``clip((x - center) * factor)``; NaN where a number is missing, and only there."""
    most = sys.float_info.max  # a difference beyond it times 0 would be NaN
    with np.errstate(over="ignore", invalid="ignore"):  # a missing one may be a signalling NaN
        return clip(np.maximum(np.minimum(numbers - center, most), -most) * factor)


def codes_of(column: TableColumn, values: Values) -> NDArray[np.int64]:
    """Return the number of each row's category, (N,); -1 where it is missing or not known."""
    texts = texts_of(values)
    index = {text: k for k, text in enumerate(column.categories)}
    table = np.array([*(index.get(value, -1) for value in texts.values), -1], np.int64)
    return table[texts.codes]


def _signs(codes: NDArray[np.int64]) -> Array:
    """Return 1 for category 0, -1 for category 1, and 0 where there is none."""
    return np.array([1.0, -1.0, 0.0])[codes]


def write_levels(
    out: NDArray[Any],
    column: TableColumn,
    values: Values,
    scale: tuple[Array, Array],
    source: str,
) -> tuple[Array, Array] | None:
    """Write the scaled inputs (N, levels) of a column.

    Return numbers x (N,) and what they are scaled to, NaN where missing; None for other columns.

    `scale` is center and factor of each, as `learn_scale` gives them.
    """
    center, factor = scale
    if column.kind == "empty":
        return None
    if column.kind == "numeric":
        numbers = numbers_of(values, column.name, source)
        z = scaled(numbers, center[0], factor[0])
        missing = np.isnan(numbers)
        out[:, 0] = np.where(missing, 0.0, z)
        if column.indicator:
            out[:, 1] = scaled(missing, center[1], factor[1])
        return numbers, z
    codes = codes_of(column, values)
    if not column.one_hot:
        out[:, 0] = scaled(_signs(codes), center[0], factor[0])
        return None
    out[...] = scaled(0.0, center, factor)
    known = np.flatnonzero(codes >= 0)
    out[known, codes[known]] = scaled(1.0, center, factor)[codes[known]]
    return None
