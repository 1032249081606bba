"""Checks of single arguments of layers, optimizers and schedules."""

from __future__ import annotations

import math
import numbers
import operator
from pathlib import Path
from typing import Any, Final

import numpy as np

from fastnet.errors import InputError

LARGEST: Final = 2**31 - 1
"""The widest layer: sizes and their products stay within 64 bits."""


def plain(value: Any) -> Any:
    """Return an argument as Python's own values: searches draw NumPy's numbers and arrays."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


LONGEST: Final = 2**63 - 1
"""The largest whole number of any argument: NumPy and the kernels count in 64 bits."""


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; raise `InputError` for anything but True, False, 0 and 1."""
    value = plain(value)
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise InputError(f"{name} must be True or False, got {shown(value)}.")


def check_int(name: str, value: Any, *, least: int = 1, most: int | None = LONGEST) -> int:
    """Return `value` as an int within the bounds; raise `InputError` for anything else."""
    value = plain(value)
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {shown(value)}.")
    if most is not None and number > most:
        raise InputError(f"{name} must be at most {most}, got {shown(value)}.")
    return number


def refuse_masked(name: str, values: Any) -> None:
    """Raise `InputError` for a masked array of NumPy with a value that is masked.

    As an array it would have the value behind the mask.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{name} has masked values: fill them, or leave those rows out.")


def shown(value: Any) -> str:
    """Return the repr of a value for a message, and for what has a long one its kind or size."""
    if isinstance(value, type):
        return f"the class {value.__name__}; write {value.__name__}()"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, numbers.Rational) and not isinstance(value, bool):
        bits = max(int(value.numerator).bit_length(), int(value.denominator).bit_length())
        if bits > 256:  # repr refuses thousands of digits with an error of its own
            return f"a number of {bits:,} bits"
    return repr(value)


def to_float(value: Any) -> float:
    """Return a real number as a float, infinite if float64 cannot hold it."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def check_list(name: str, values: Any) -> list[Any]:
    """Return a list or tuple as a list; raise `InputError` for anything else, strings included."""
    values = plain(values)
    if not isinstance(values, list | tuple):
        raise InputError(f"{name} must be a list or a tuple, got {values!r}.")
    return list(values)


def check_folder(name: str, path: Any) -> Path:
    """Return a folder's path; raise `InputError` for what is no path."""
    try:
        return Path(path)
    except TypeError:
        raise InputError(f"{name} must be a folder, got {shown(path)}.") from None


def check_float(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return `value` as a finite float within the bounds; raise `InputError` for anything else."""
    value = plain(value)
    bounds = [
        (text, bound, within)
        for text, bound, within in (
            ("above", above, operator.gt),
            ("at least", least, operator.ge),
            ("below", below, operator.lt),
            ("at most", most, operator.le),
        )
        if bound is not None
    ]
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = to_float(value) if good else math.nan
    if math.isfinite(number) and all(within(value, b) for _, b, within in bounds):
        return number
    wanted = " and ".join(f"{text} {bound:g}" for text, bound, _ in bounds) or "a number"
    if wanted == "above 0":
        wanted = "a positive number"
    raise InputError(f"{name} must be {wanted}, got {shown(value)}.")


def copy_into(name: str, buffer: Any, values: Any) -> None:
    """Copy `values` of the shape of `buffer`, or that broadcast to it, into `buffer`."""
    refuse_masked(name, values)
    try:
        buffer[...] = values
    except ValueError:
        wanted = f"{name} must have the shape {tuple(buffer.shape)}"
        raise InputError(f"{wanted}, got {shown(values)}.") from None
