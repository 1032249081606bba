"""Axes of an SVG chart: a scale from numbers to pixels, and round numbers to mark on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """Where numbers from `low` to `high` lie between the pixels `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a number."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """Round numbers on it, about five."""
        return decades(self.low, self.high) if self.logarithmic else steps(self.low, self.high)


def around(
    values: Sequence[float], start: float, end: float, *, logarithmic: bool = False
) -> Scale:
    """Return a scale that shows all finite values, with a little room."""
    finite = np.array(values, np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if logarithmic:
        room = (high / low) ** 0.04
        return Scale(low / room, high * room, start, end, True)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    room = 0.04 * (high - low)
    return Scale(low - room, high + room, start, end)


def steps(low: float, high: float, count: int = 6) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten within the bounds."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(k * step, 12) if abs(step) > 1e-9 else k * step for k in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return powers of ten within the bounds; with 2 and 5 times of them where those are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [k * 10.0**p for p in powers for k in factors if low <= k * 10.0**p <= high]
        if len(found) >= 3:
            return found[:: -(-len(found) // 8)]
    return found


def short(value: float) -> str:
    """Return a number in a few characters: ``0.25``, ``12,000``, ``1e-05``."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.4f}".rstrip("0").rstrip(".") or "0"
