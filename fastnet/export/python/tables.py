"""The part of an exported Python file that encodes a table with texts and missing values."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data.text import MISSING
from fastnet.export.columns import LARGEST, LARGEST_SCALED, InputTable
from fastnet.preprocessing.scaling import SMOOTH_CLIP, Scaling

_PERIODIC: Final = '''\
def embed(x, z, k):
    """Return sines and cosines (N, 2 K) of scaled numbers z (N,); 0 where one is missing."""
    angles = 2.0 * np.pi * z[:, None] * TENSORS["knots"][k]
    features = np.hstack([np.sin(angles), np.cos(angles)])
    features[np.isnan(z)] = 0
    return features
'''

_PIECEWISE: Final = '''\
def embed(x, z, k):
    """Return the fraction (N, K - 1) of each bin below scaled numbers z (N,); 0 where missing."""
    low, size = TENSORS["knots"][k][:-1], np.diff(TENSORS["knots"][k])
    # A bin without width is a step of the number x itself.
    fraction = np.where(size > 0, (z[:, None] - low) / size, x[:, None] > TENSORS["steps"][k])
    features = np.clip(fraction, 0, 1)
    features[np.isnan(z)] = 0
    return features
'''

_ROBUST: Final = f"""\
    z = np.clip(numbers - center, -{LARGEST!r}, {LARGEST!r})
    z = np.clip(z * factor, -{LARGEST_SCALED!r}, {LARGEST_SCALED!r})
    z = z / np.hypot(1, z / {SMOOTH_CLIP!r})
"""

_STANDARD: Final = """\
    z = (numbers - center) / factor
"""

_FLOAT32: Final = """\
    z = (numbers.astype(np.float32).astype(float) - center) / factor
"""

_SCALED: Final[dict[Scaling, str]] = {
    "robust": _ROBUST,
    "standard": _STANDARD,
    "none": _STANDARD,
    "float32": _FLOAT32,
}

_ENCODE: Final = f'''\
MISSING = {sorted(MISSING)!r}


@np.errstate(all="ignore")
def encode(table):
    """Return x (N, I) for a dict or a data frame of columns by name, or an array (N, C).

    In a column of numbers, None, NaN and the texts in MISSING are missing values. In a column of
    texts, one that is no known category is encoded as a missing one.
    """
    if isinstance(table, np.ndarray):
        if table.ndim != 2 or table.shape[1] != len(COLUMNS):
            raise ValueError(f"expected the shape (N, {{len(COLUMNS)}}), got {{table.shape}}.")
        table = {{name: values for (name, _, _), values in zip(COLUMNS, table.T)}}
    parts, number = [], 0
    for index, (name, kind, categories) in enumerate(COLUMNS):
        if kind != "empty" and name not in getattr(table, "column_names", table):
            raise ValueError(f"the table has no column {{name!r}}.")
        if kind == "numeric":
            parts += _of_numbers(_numbers(table[name], name), number)
            number += 1
        elif kind == "categorical":
            parts.append(_of_codes(_codes(table[name], name, categories), f"{{index}}"))
    x = np.hstack(parts).astype(DTYPE)
    if not np.isfinite(x).all():
        raise ValueError("the table holds numbers that are too large.")
    return x
'''

_COLUMNS: Final = '''\
def _of_numbers(numbers, k):
    center, factor = TENSORS["center"][k], TENSORS["factor"][k]
    SCALED
    missing = np.isnan(numbers)
    parts = [np.where(missing, 0, z)[:, None]]
    EMBED
    indicator = TENSORS["indicator"][k]
    if not np.isnan(indicator).any():
        parts.append(indicator[missing.astype(int)][:, None])
    return parts


def _of_codes(codes, name):
    hot, cold = TENSORS["hot" + name], TENSORS["cold" + name]
    if len(cold) < len(hot):  # one input for both of two categories
        return np.append(hot, cold)[codes][:, None]
    x = np.tile(cold, (len(codes), 1))
    known = np.flatnonzero(codes >= 0)
    x[known, codes[known]] = hot[codes[known]]
    return x


def _cells(column, name):
    """Return the cells of a column, all numbers or all texts; None where one is missing."""
    array = np.asarray(column)
    cells = [None if _is_missing(cell) else cell for cell in array.tolist()]
    known = [cell for cell in cells if cell is not None]
    odd = [cell for cell in known if not isinstance(cell, (str, int, float, np.generic))]
    if odd or array.dtype.kind not in "biufOUT" or array.ndim != 1:
        held = type(odd[0]).__name__ if odd else f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"the column {name!r} must hold numbers or texts, got {held}.")
    if all(isinstance(cell, (int, float, np.number, np.bool_)) for cell in known):
        return cells
    return [None if cell is None else str(cell).strip() for cell in cells]


def _is_missing(cell):
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell


def _numbers(column, name):
    """Return the numbers (N,) of a column; NaN where one is missing."""
    numbers = np.asarray(column)
    if numbers.dtype.kind not in "biuf":
        numbers = np.array([_number(cell, name) for cell in _cells(column, name)])
    numbers = numbers.astype(float)
    if np.isinf(numbers).any():
        raise ValueError(f"the column {name!r} must hold finite numbers.")
    return numbers


def _number(cell, name):
    if cell is None or (isinstance(cell, str) and cell.lower() in MISSING):
        return np.nan
    if isinstance(cell, str) and not _is_number(cell):
        raise ValueError(f"the column {name!r} must hold numbers, got {cell!r}.")
    return float(cell)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _codes(column, name, categories):
    """Return the index of each cell's category, -1 where it is missing or not known."""
    index = {category: code for code, category in enumerate(categories)}
    return np.array([index.get(_category(cell), -1) for cell in _cells(column, name)], int)


def _category(cell):
    if cell is None or isinstance(cell, str):
        return cell
    number = float(cell)  # spelled like 3 or -0.5
    return str(int(number)) if number.is_integer() else repr(number)
'''

_EMBED: Final = {"periodic": _PERIODIC, "piecewise": _PIECEWISE}


def functions(table: InputTable) -> list[str]:
    """Return the functions that encode a table."""
    columns = _COLUMNS.replace("    SCALED\n", _SCALED[table.scaling])
    if table.embedding is None:
        return [_ENCODE, columns.replace("    EMBED\n", "")]
    line = "parts.append(embed(numbers, z, k))"
    return [_EMBED[table.embedding], _ENCODE, columns.replace("EMBED", line)]


def tensors(table: InputTable) -> dict[str, NDArray[np.float64]]:
    """Return the arrays of these functions by name; NaN stands for an indicator that is not."""
    numeric = [column for column in table.columns if column.kind == "numeric"]
    nothing = np.full(2, np.nan)
    rows = [column.indicator if len(column.indicator) else nothing for column in numeric]
    made = {
        "center": np.array([column.center for column in numeric]),
        "factor": np.array([column.factor for column in numeric]),
        "indicator": np.array(rows),
    }
    if table.embedding is not None:
        made["knots"] = np.array([column.knots for column in numeric])
        made["steps"] = np.array([column.steps for column in numeric])
    for index, column in enumerate(table.columns):
        if column.kind == "categorical":
            made |= {f"hot{index}": column.hot, f"cold{index}": column.cold}
    return made
