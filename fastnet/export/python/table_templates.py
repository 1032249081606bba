"""The fixed texts of the part of an exported Python file that encodes tables."""

from __future__ import annotations

from typing import Final

from fastnet.data.text import MISSING, TRUTHS
from fastnet.data.times import DATE
from fastnet.export.columns import LARGEST, LARGEST_SCALED
from fastnet.preprocessing.scaling import SMOOTH_CLIP, Scaling

_PERIODIC: Final = '''\
def embed_periodic(x, z, knots, steps):
    """Return sines and cosines (N, 2 K) of scaled numbers z (N,); 0 where one is missing."""
    angles = 2.0 * np.pi * z[:, None] * knots
    features = np.hstack([np.sin(angles), np.cos(angles)])
    features[np.isnan(z)] = 0
    return features
'''

_PIECEWISE: Final = '''\
def embed_piecewise(x, z, knots, steps):
    """Return the fraction (N, K - 1) of each bin below scaled numbers z (N,); 0 where missing."""
    low, size = knots[:-1], np.diff(knots)
    # A bin without width is a step of the number x itself.
    fraction = np.where(size > 0, (z[:, None] - low) / size, x[:, None] > steps)
    features = np.clip(fraction, 0, 1)
    features[np.isnan(z)] = 0
    return features
'''

_ROBUST: Final = f"""\
def scaled_robust(numbers, center, factor):
    z = np.clip(numbers - center, -{LARGEST!r}, {LARGEST!r})
    z = np.clip(z * factor, -{LARGEST_SCALED!r}, {LARGEST_SCALED!r})
    return z / np.hypot(1, z / {SMOOTH_CLIP!r})
"""

_STANDARD: Final = """\
def scaled_standard(numbers, center, factor):
    return (numbers - center) / factor
"""

_FLOAT32: Final = """\
def scaled_float32(numbers, center, factor):
    return (numbers.astype(np.float32).astype(float) - center) / factor
"""

SCALED: Final[dict[Scaling, tuple[str, str]]] = {
    "robust": ("scaled_robust", _ROBUST),
    "standard": ("scaled_standard", _STANDARD),
    "none": ("scaled_standard", _STANDARD),
    "float32": ("scaled_float32", _FLOAT32),
}
"""The function of each scaling: its name and its text."""

ENCODE: Final = f'''\
MISSING = {sorted(MISSING)!r}
TRUTHS = {TRUTHS!r}
DATE = r"{DATE.pattern}"
NUMBERS = (int, float, np.number, np.bool_, Decimal)


@np.errstate(all="ignore")
def encode(table):
    """Return x (N, I) for a dict or a data frame of columns by name, or an array (N, C).

    In a column of numbers, None, NaN and the texts in MISSING are missing values. In a column of
    texts, one that is no known category is encoded as a missing one.
    """
    x = np.hstack([CALLS]).astype(DTYPE)
    if not np.isfinite(x).all():
        raise ValueError("the table holds numbers that are too large.")
    return x


def _encoded(table, columns, suffix, scaled, embed=None):
    """Return the inputs (N, I) that some columns become; suffix is that of their tensors."""
    if isinstance(table, np.ndarray):
        names = list(dict.fromkeys(name for name, _, _, _ in columns))
        if table.ndim != 2 or table.shape[1] != len(names):
            raise ValueError(f"expected the shape (N, {{len(names)}}), got {{table.shape}}.")
        table = dict(zip(names, table.T))
    there = _names(table)
    parts, number = [], 0
    for index, (name, kind, about, categories) in enumerate(columns):
        if kind != "empty" and name not in there:
            raise ValueError(f"the table has no column {{name!r}}.")
        if kind == "numeric":
            if isinstance(about, str):
                numbers = part_of(_times(table[name], name), about)
            else:
                numbers = _numbers(table[name], name, about)
            parts += _of_numbers(numbers, number, suffix, scaled, embed)
            number += 1
        elif kind == "categorical":
            parts.append(_of_codes(_codes(table[name], name, categories), f"{{index}}{{suffix}}"))
    return np.hstack(parts)
'''

COLUMNS: Final = r'''\
def _names(table):
    """Return the names of a table's columns, which are all different."""
    if not (hasattr(table, "keys") or (hasattr(table, "columns") and hasattr(table, "shape"))):
        raise ValueError("expected a dict or a data frame of columns, or an array (N, C).")
    names = list(getattr(table, "column_names", getattr(table, "columns", table)))
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise ValueError(f"the table has two columns named {twice[0]!r}.")
    return names


def _of_numbers(numbers, k, suffix, scaled, embed):
    def tensor(name):
        return TENSORS[name + suffix][k]

    z = scaled(numbers, tensor("center"), tensor("factor"))
    missing = np.isnan(numbers)
    parts = [np.where(missing, 0, z)[:, None]]
    if embed is not None:
        parts.append(embed(numbers, z, tensor("knots"), tensor("steps")))
    indicator = tensor("indicator")
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


def _array_of(column, name):
    """Return a column as an array (N,)."""
    if isinstance(column, np.ma.MaskedArray) and np.ma.is_masked(column):
        raise ValueError(f"the column {name!r} has masked values.")
    array = np.asarray(column)
    if array.dtype.kind == "U" and hasattr(column, "to_list"):  # NumPy ends texts before NULs
        array = np.array(column.to_list(), object)
    if array.ndim != 1:
        raise ValueError(f"the column {name!r} has the shape {array.shape}, expected (N,).")
    return array


def _cells(column, name):
    """Return the cells of a column, all numbers, all times or all texts; None where missing."""
    array = _array_of(column, name)
    if array.dtype.kind in "Mm":
        array = array.astype(array.dtype.kind + "8[us]")
    cells = [None if _is_missing(cell) else cell for cell in array.tolist()]
    cells = [_time(cell) if isinstance(cell, (date, np.datetime64)) else cell for cell in cells]
    known = [cell for cell in cells if cell is not None]
    if known and all(isinstance(cell, timedelta) for cell in known):
        return [None if cell is None else cell.total_seconds() for cell in cells]
    odd = [cell for cell in known if not isinstance(cell, (str, np.datetime64, *NUMBERS))]
    if odd or array.dtype.kind not in "biufOUTMm":
        held = type(odd[0]).__name__ if odd else str(array.dtype)
        raise ValueError(f"the column {name!r} must hold numbers, texts or dates, got {held}.")
    if all(isinstance(cell, (bool, np.bool_)) for cell in known):
        return cells
    if all(isinstance(cell, np.datetime64) for cell in known):
        return cells
    if all(isinstance(cell, NUMBERS) for cell in known):
        return [None if cell is None else float(cell) for cell in cells]
    return [None if cell is None else _text(cell) for cell in cells]


def _is_missing(cell):
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell


def _text(cell):
    if isinstance(cell, np.datetime64):
        days = cell.astype("M8[D]")
        return str(cell if cell - days else days)
    if isinstance(cell, (str, bool, np.bool_, int, np.integer)):
        return str(cell).strip()
    number = float(cell)  # spelled like 3 or -0.5
    return str(int(number)) if number.is_integer() else repr(number)


def _numbers(column, name, truths=False):
    """Return the numbers (N,) of a column; NaN where one is missing."""
    numbers = _array_of(column, name)
    if numbers.dtype.kind not in "biuf":
        numbers = np.array([_number(cell, name, truths) for cell in _cells(column, name)])
    numbers = numbers.astype(float)
    if np.isinf(numbers).any():
        raise ValueError(f"the column {name!r} must hold finite numbers.")
    return numbers


def _number(cell, name, truths):
    if cell is None or (isinstance(cell, str) and cell.lower() in MISSING):
        return np.nan
    if isinstance(cell, (str, np.datetime64)) and not _is_number(cell):
        low = str(cell).lower()
        if low in ("true", "false") or (truths and low in TRUTHS):
            return TRUTHS[low]
        raise ValueError(f"the column {name!r} must hold numbers, got {cell!r}.")
    return float(cell)


def _is_number(text):
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return text.isascii() and "_" not in text


def _codes(column, name, categories):
    """Return the index of each cell's category, -1 where it is missing or not known.

    A category may be spelled otherwise: 1 and "1.0" are one, and of two truths true and "yes".
    """
    index = {category: code for code, category in enumerate(categories)}
    keys = [_key(category) for category in categories]
    numbers = {key: code for code, key in enumerate(keys) if keys.count(key) == 1}
    truths = [TRUTHS.get(key.lower()) for key in keys]
    pair = sorted(truths, key=str) == [False, True]

    def match(cell):
        if cell is None:
            return -1
        text = _text(cell)
        key = _key(text)
        truth = TRUTHS.get(key.lower())
        if text in index or key in numbers:
            return index[text] if text in index else numbers[key]
        if pair and truth is not None:
            return truths.index(truth)
        return numbers.get(str(int(text == "True")), -1) if text in ("True", "False") else -1

    return np.array([match(cell) for cell in _cells(column, name)], int)


def _key(text):
    """Return a plain number in one spelling; any other text unchanged."""
    if len(text) >= 16 or not re.fullmatch(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?", text):
        return text
    return _text(float(text))

'''

TIMES: Final = r'''\
def _time(cell):
    cell = cell.replace(tzinfo=None) if isinstance(cell, datetime) else cell
    return np.datetime64(cell, "us")


def _times(column, name):
    """Return times (N,), also of texts such as 2024-12-31; NaT where one is missing."""
    times = []
    for cell in _cells(column, name):
        if isinstance(cell, str):
            match = re.fullmatch(DATE, cell) and cell.isascii()
            whole = cell.replace("/", "-") if len(cell) > 7 else f"{cell}-01"
            try:
                missing = cell.lower() in MISSING
                cell = None if missing else _time(datetime.fromisoformat(whole if match else ""))
            except ValueError:
                raise ValueError(f"the column {name!r} must hold dates, got {cell!r}.") from None
        elif not (cell is None or isinstance(cell, np.datetime64)):
            raise ValueError(f"the column {name!r} must hold dates, got {cell!r}.")
        times.append("NaT" if cell is None else cell)
    return np.array(times, "M8[us]")


def part_of(times, part):
    """Return a part of times, or the sine or cosine of its place in its period; NaN if missing."""
    known = np.where(np.isnat(times), np.datetime64(0, "us"), times)
    days, months = known.astype("M8[D]"), known.astype("M8[M]")
    day = np.timedelta64(1, "D")
    name, _, wave = part.partition(", ")
    if name == "elapsed days":
        value = (known - np.datetime64(0, "us")) / day
    elif name == "year":
        value = known.astype("M8[Y]").astype(int) + 1970.0
    else:
        value, period = {
            "month": (months.astype(int) % 12, 12),
            "day": ((days - months) / day, 31),
            "weekday": ((days.astype(int) + 3) % 7, 7),
            "hour": ((known - days) / np.timedelta64(1, "h"), 24),
        }[name]
        angle = 2.0 * np.pi * value / period
        value = np.round(np.sin(angle) if wave == "sine" else np.cos(angle), 12)
    return np.where(np.isnat(times), np.nan, value)
'''

EMBED: Final = {"periodic": _PERIODIC, "piecewise": _PIECEWISE}
