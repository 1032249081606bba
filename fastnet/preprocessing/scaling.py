"""Scaling of the inputs of a table's columns, fitted to training rows.

robust
    ``clip((x - center) * factor)`` with median, quartiles and the smooth
    ``clip(z) = z / sqrt(1 + (z / 3)^2)`` (Holzmüller, Grinsztajn and Steinwart, 2024, section 3,
    and its reference code).
standard
    ``(x - center) / factor`` with mean and standard deviation.
none
    The formula of standard with center 0 and factor 1.
float32
    The formula of standard on numbers rounded to float32, as in version 0.1, whose model files
    still load.

Inputs 0 and 1 of categories and indicators are scaled like numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.values import Values
from fastnet.preprocessing.columns import TableColumn, codes_of, signs, values_of, warn_of_unknown
from fastnet.preprocessing.statistics import mean_and_scale, quantiles

Array = NDArray[np.float64]
Scaling = Literal["robust", "standard", "none", "float32"]

SCALINGS: Final = ("robust", "standard", "none")
"""The scalings that can be fitted."""

_QUARTILES: Final = np.linspace(0.0, 1.0, 5)

SMOOTH_CLIP: Final = 3.0
"""Bound of numbers that are scaled robustly."""


def clip(z: Any) -> Any:
    """Return ``z / sqrt(1 + (z / 3)^2)``, which is almost z near 0 and stays within -3 and 3."""
    bounded = np.clip(z, -1e300, 1e300)  # of infinity it would be NaN
    return bounded / np.hypot(1.0, bounded / SMOOTH_CLIP)


def scale_robustly(numbers: Any, center: Any, factor: Any) -> Any:
    """Return ``clip((x - center) * factor)``; NaN only where a number is missing."""
    most = sys.float_info.max  # a difference beyond it times 0 would be NaN
    with np.errstate(over="ignore", invalid="ignore"):  # a missing one may be a signalling NaN
        return clip(np.maximum(np.minimum(numbers - center, most), -most) * factor)


def standardize(numbers: Any, center: Any, factor: Any) -> Any:
    """Return ``(x - center) / factor``; NaN where a number is missing."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (numbers - center) / factor


def _standardize_float32(numbers: Any, center: Any, factor: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.asarray(numbers, np.float32).astype(np.float64)
    return standardize(rounded, center, factor)


APPLY: Final[dict[Scaling, Callable[[Any, Any, Any], Any]]] = {
    "robust": scale_robustly,
    "standard": standardize,
    "none": standardize,
    "float32": _standardize_float32,
}


def learn_scale(
    column: TableColumn,
    values: Values,
    source: str,
    scaling: Scaling = "robust",
    times: Array | None = None,
) -> tuple[Array, Array]:
    """Return center and factor of each scaled input of a column, (levels,) each.

    Robust scaling takes the median and 1 / the difference of the quartiles. If that is 0, it takes
    2 / the range; the factor of a constant column is 0. `times` (N,) is how often each row counts.
    """
    if scaling == "none" or column.kind == "empty":
        return np.zeros(column.levels), np.ones(column.levels)
    if column.kind == "numeric":
        numbers: Any = values_of(column, values, source)
        missing = np.isnan(numbers)
        parts = [(numbers[~missing], None if times is None else times[~missing])]
        if column.indicator:
            parts.append((missing.astype(np.float64), times))
    else:
        codes = codes_of(column, values)
        if column.one_hot:
            known = codes >= 0
            each = None if times is None else times[known]
            ones = np.bincount(codes[known], each, minlength=column.levels)
            return _scale_of_shares(ones, len(codes) if times is None else times.sum(), scaling)
        parts = [(signs(codes), times)]
    if scaling == "standard":
        scales = [mean_and_scale(part[:, None], often) for part, often in parts]
        center, factor = (np.concatenate(each) for each in zip(*scales, strict=True))
        return center, factor
    summaries = [quantiles(part, _QUARTILES, often) for part, often in parts]
    return _from_quantiles(*np.array(summaries).T)


def _scale_of_shares(ones: NDArray[Any], count: float, scaling: Scaling) -> tuple[Array, Array]:
    """Return center and factor of inputs that are 1 in `ones` of `count` rows and else 0."""
    if scaling == "standard":
        mean = ones / count
        deviation = np.sqrt(mean * (1.0 - mean))
        return mean, np.where(deviation == 0, 1.0, deviation)
    # In sorted rows, the last 0 is at the position count - ones - 1, and the first 1 is the next.
    places = _QUARTILES[:, None] * (count - 1)
    return _from_quantiles(*np.clip(places - (count - ones - 1), 0.0, 1.0))


def _from_quantiles(
    low: Array, first: Array, middle: Array, third: Array, high: Array
) -> tuple[Array, Array]:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        width = np.where(third == first, high / 2 - low / 2, third - first)
        factor = np.where(width == 0, 0.0, 1.0 / width)
    # A width beyond the largest number has the factor 0, one below the smallest has the largest.
    return middle, np.nan_to_num(factor, posinf=np.finfo(np.float64).max)


def write_levels(
    out: NDArray[Any],
    column: TableColumn,
    values: Values,
    scale: tuple[Array, Array],
    apply: Callable[[Any, Any, Any], Any],
    source: str,
    *,
    warns: bool = True,
) -> tuple[Array, Array] | None:
    """Write the scaled inputs (N, levels) of a column.

    Return numbers x (N,) and their scaled values, NaN where missing; None for other columns.

    Parameters
    ----------
    scale : (levels,), (levels,)
        Center and factor from `learn_scale`.
    apply : callable
        A row of `APPLY`.
    warns : bool, default True
        Whether to warn if most categories are unknown.
    """
    center, factor = scale
    if column.kind == "empty":
        return None
    if column.kind == "numeric":
        numbers: Any = values_of(column, values, source)
        z = apply(numbers, center[0], factor[0])
        missing = np.isnan(numbers)
        out[:, 0] = np.where(missing, 0.0, z)
        if column.indicator:
            out[:, 1] = apply(missing.astype(np.float64), center[1], factor[1])
        return numbers, z
    codes = codes_of(column, values)
    if warns:
        warn_of_unknown(column, values, codes, source)
    if not column.one_hot:
        out[:, 0] = apply(signs(codes), center[0], factor[0])
        return None
    out[...] = apply(0.0, center, factor)
    known = np.flatnonzero(codes >= 0)
    out[known, codes[known]] = apply(1.0, center, factor)[codes[known]]
    return None
