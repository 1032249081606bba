"""One comparison for all numerical tests, scaled by rounding and magnitude.

A fixed absolute tolerance would pass an array of zeros against small numbers. This one is
``factor * eps * sqrt(terms) * scale``: eps belongs to the dtype that was computed in, terms counts
the roundings that an element went through (they grow like a random walk), and scale is the
magnitude of what was added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def assert_close(
    actual: Any,
    expected: ArrayLike,
    *,
    terms: float = 1,
    factor: float = 8.0,
    scale: float | None = None,
    what: str = "the array",
) -> None:
    """Fail unless `actual` is `expected` but for rounding.

    Parameters
    ----------
    actual : array of float32 or float64
        Its dtype says which rounding is allowed.
    expected : array or nested lists of numbers
        Of the same shape, and at least as precise.
    terms : float
        How many roundings an element went through.
    factor : float
        Units of rounding allowed for each.
    scale : float, optional
        Magnitude of the terms; by default the largest finite magnitude in `expected`. So where
        everything expected is 0, nothing else is close.
    what : str
        Names the array in the message.
    """
    got = np.asarray(actual)
    want = np.asarray(expected)
    assert got.dtype in FLOATS, f"{what}: expected float32 or float64, got {got.dtype}"
    assert want.dtype.kind in "iub" or want.dtype.itemsize >= got.dtype.itemsize, (
        f"{what}: {want.dtype} cannot say whether {got.dtype} is right"
    )
    assert got.shape == want.shape, f"{what}: expected shape {want.shape}, got {got.shape}"
    got, want = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    assert same[~finite].all(), _message(what, got, want, same | finite, "infinities and NaNs")
    if scale is None:
        scale = float(np.abs(want[finite]).max(initial=0.0))
    assert np.isfinite(scale), f"{what}: the scale must be finite, got {scale}"
    bound = factor * rounding(np.asarray(actual).dtype) * terms**0.5 * scale
    with np.errstate(invalid="ignore", over="ignore"):
        near = ~finite | (np.abs(got - want) <= bound)
    assert near.all(), _message(what, got, want, near, f"a bound of {bound:.3g}")


def rounding(dtype: Any) -> float:
    """Return eps of a dtype: the distance from 1 to the next larger number."""
    return float(np.finfo(dtype).eps)


def _message(
    what: str, got: NDArray[Any], want: NDArray[Any], good: NDArray[np.bool_], rule: str
) -> str:
    """Name the first few elements that break a rule."""
    bad = np.argwhere(~good)
    lines = [
        f"  {tuple(map(int, index))}: got {got[tuple(index)]!r}, expected {want[tuple(index)]!r}"
        for index in bad[:5]
    ]
    return "\n".join([f"{what}: {len(bad)} of {got.size} elements break {rule}:", *lines])
