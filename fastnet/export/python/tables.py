"""The part of an exported Python file that takes tables with texts and missing values."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import NO_WORD
from fastnet.data.text import MISSING
from fastnet.export.columns import LARGEST, LARGEST_SCALED, InputTable
from fastnet.preprocessing.columns import SMOOTH_CLIP

_PERIODIC: Final = '''

def embed(x, z, k):
    """Return sines and cosines (N, 2 K) of numbers z (N,); 0 where one is missing."""
    angles = 2.0 * np.pi * z[:, None] * TENSORS["knots"][k]
    features = np.hstack([np.sin(angles), np.cos(angles)])
    features[np.isnan(z)] = 0
    return features
'''

_PIECEWISE: Final = '''

@np.errstate(all="ignore")
def embed(x, z, k):
    """Return the share (N, K - 1) of each bin that lies below numbers z (N,); 0 where missing."""
    low, size = TENSORS["knots"][k][:-1], np.diff(TENSORS["knots"][k])
    # A bin without width is a step of the number x itself.
    share = np.where(size > 0, (z[:, None] - low) / size, x[:, None] > TENSORS["steps"][k])
    features = np.clip(share, 0, 1)
    features[np.isnan(z)] = 0
    return features
'''

_ENCODE: Final = f'''

MISSING = {sorted(MISSING)!r}
NO_WORD = {sorted(NO_WORD)!r}  # as cells of a file


def encode(table):
    """Return x (N, I) for a table, a dict or a data frame of columns by name.

    None, NaN or a number spelled as one of MISSING is a missing value; a text that is none of the
    categories is like a missing one.
    """
    parts, number = [], 0
    for index, (name, kind, categories) in enumerate(COLUMNS):
        if kind == "numeric":
            parts += _of_numbers(_numbers(table[name], name), number)
            number += 1
        elif kind == "categorical":
            codes = _codes(_cells(table[name]), categories)
            parts.append(_of_codes(codes, f"{{index}}"))
    return np.hstack(parts).astype(DTYPE)


@np.errstate(over="ignore")
def _of_numbers(numbers, k):
    z = np.clip(numbers - TENSORS["center"][k], -{LARGEST!r}, {LARGEST!r}) * TENSORS["factor"][k]
    z = np.clip(z, -{LARGEST_SCALED!r}, {LARGEST_SCALED!r})  # of infinity the next line makes NaN
    z = z / np.hypot(1, z / {SMOOTH_CLIP!r})
    missing = np.isnan(numbers)
    parts = [np.where(missing, 0, z)[:, None]]
    EMBED
    indicator = TENSORS["indicator"][k]
    if not np.isnan(indicator).any():
        parts.append(indicator[missing.astype(int)][:, None])
    return parts


def _of_codes(codes, name):
    hot, cold = TENSORS["hot" + name], TENSORS["cold" + name]
    if len(hot) == 2:  # one input for both
        return np.append(hot, cold)[codes][:, None]
    x = np.tile(cold, (len(codes), 1))
    known = np.flatnonzero(codes >= 0)
    x[known, codes[known]] = hot[codes[known]]
    return x
'''

_CELLS: Final = '''

def _cells(column):
    cells = np.asarray(column, object).tolist()
    return [None if _is_missing(cell) else cell for cell in cells]


def _is_missing(cell):
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell


def _numbers(column, name):
    numbers = np.asarray(column)
    if numbers.dtype.kind not in "biuf":
        numbers = np.array([_number(cell, name) for cell in _cells(column)], float)
    if np.isinf(numbers).any():
        raise ValueError(f"the column {name!r} must hold finite numbers.")
    return numbers.astype(float)


def _number(cell, name):
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return np.nan
    if isinstance(cell, str) and not _is_number(cell):
        raise ValueError(f"the column {name!r} must hold numbers, got {cell!r}.")
    return float(cell)


def _codes(cells, categories):
    texts = any(isinstance(cell, str) for cell in cells)
    index = {category: code for code, category in enumerate(categories)}
    names = [None if cell is None else _name(cell, texts) for cell in cells]
    return np.array([index.get(name, -1) for name in names], int)


def _name(cell, text):
    if text:
        return str(cell).strip()
    number = float(cell)
    return str(int(number)) if number.is_integer() else repr(number)


def _match(rows):
    """Return what the columns of a file are called, and its rows below the header."""
    import sys

    first = [cell.strip() for cell in rows[0]] if rows else []
    bare = all(map(_is_number, first))  # a first row of numbers is no header
    names = [name for name, _, _ in COLUMNS]
    if not bare:
        rows = rows[1:]
        if NAMED:
            needed = [name for name, kind, _ in COLUMNS if kind != "empty"]
            missing = [name for name in needed if name not in first]
            if missing:
                sys.exit(f"the columns {missing} are missing.")
            return first, rows
    elif FULL is not None and len(first) == len(FULL):
        return FULL, rows
    if first and len(first) != len(names):
        sys.exit(f"expected {len(names)} columns, got {len(first)}.")
    return names, rows


def _of_file(cells):
    """Return the cells of a column of a file; None where one is missing."""
    return [None if cell.strip().lower() in NO_WORD else cell for cell in cells]
'''

_EMBED: Final = {"periodic": _PERIODIC, "piecewise": _PIECEWISE}


def source(table: InputTable) -> str:
    """Return the functions that read a table and encode it."""
    embeds = table.embedding is not None
    line = "parts.append(embed(numbers, z, k))\n    " if embeds else ""
    embedding = _EMBED[table.embedding] if table.embedding is not None else ""
    return embedding + _ENCODE.replace("EMBED\n    ", line) + _CELLS


def tensors(table: InputTable) -> dict[str, NDArray[Any]]:
    """Return what these functions need by name; a number without an indicator has NaN for it."""
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
