"""SVG of a panel: its colours come from the style sheet, by class, and follow light and dark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.report.figures import Axis, Panel, Series, plain, short_name
from fastnet.report.style import CHART, palette

WIDTH, HEIGHT = 400, 290
_POINTS: Final = 600
"""More points than this are thinned out: no screen shows them."""

Array = NDArray[Any]
Place = tuple[float, float]


# --- axes -----------------------------------------------------------------------------------------


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
    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers on it, about five, and their texts."""
        found = (decades if self.logarithmic else steps)(self.low, self.high)
        return [(tick, short(tick)) for tick in found]


def around(values: Array, start: float, end: float, *, logarithmic: bool = False) -> Scale:
    """Return a scale that shows all finite values, with a little room."""
    finite = values[np.isfinite(values)]
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


# --- the drawing ----------------------------------------------------------------------------------


def draw(panel: Panel, width: int = WIDTH, height: int = HEIGHT, *, as_file: bool = False) -> str:
    """Return a panel as ``<svg>``; as a file of its own it brings its colours and background."""
    # The legend wraps, numbers and labels need room: what they leave is for the axes.
    legend, top = _legend(panel, width)
    points = np.concatenate([np.empty((0, 2)), *(series.points for series in panel.series)])
    finite = points[np.isfinite(points).all(axis=1)]
    y = _scale(panel.y, finite[:, 1], height - 42, top)
    y_ticks = panel.y.ticks or y.ticks
    left = 14 + 7 * max((len(text) for _, text in y_ticks), default=0) + 16 * bool(panel.y.label)
    upright = any(series.kind == "bars" for series in panel.series)
    x = _scale(panel.x, finite[:, 0], left, width - (64 if upright else 14))
    x_ticks = panel.x.ticks or [t for t in x.ticks if not panel.x.integers or t[0] == int(t[0])]

    # Title, legend, grid, numbers and labels; then the data.
    parts = [_text(6, 14, short_name(panel.title, (width - 12) // 8), "title"), *legend]
    for value, text in y_ticks:
        if not upright:
            parts.append(_line("grid", (x.start, y(value)), (x.end, y(value))))
        parts.append(_text(left - 7, y(value), text, "tick end"))
    for value, text in x_ticks:
        if upright:
            parts.append(_line("grid", (x(value), y.start), (x(value), y.end)))
        parts.append(_text(x(value), y.start + 14, text, "tick middle"))
    parts.append(_line("axis", (x.start, y.start), (x.end, y.start)))
    parts.append(_text((x.start + x.end) / 2, height - 9, panel.x.label, "tick middle"))
    parts.append(f'<g transform="translate(12 {(y.start + y.end) / 2:.1f}) rotate(-90)">')
    parts.append(_text(0, 0, panel.y.label, "tick middle") + "</g>")
    if panel.best is not None:
        parts.append(_line("line guide", (x(panel.best), y.start), (x(panel.best), y.end)))
    for series in panel.series:
        parts += _series(series, x, y)

    about = escape(plain(f"{panel.title}, by {panel.x.label}"))
    head = f'class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{about}"'
    if as_file:
        head = f'xmlns="http://www.w3.org/2000/svg" {head}'
        style = f"{palette('svg.chart')}{CHART}svg.chart {{ max-width: none; }}"
        card = f'x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"'
        parts = [f"<style>\n{style}\n</style>", f'<rect class="card" {card}/>', *parts]
    return "\n".join([f"<svg {head}>", *parts, "</svg>\n"])


def _scale(axis: Axis, values: Array, start: float, end: float) -> Scale:
    if axis.ends is not None:
        return Scale(*axis.ends, start, end, axis.logarithmic)
    return around(values, start, end, logarithmic=axis.logarithmic)


def _legend(panel: Panel, width: int) -> tuple[list[str], float]:
    """Return names with their colours, in lines below the title, and where the axes may begin."""
    entries = {series.name: series for series in panel.series if series.name}
    if panel.best is not None:
        entries["best epoch"] = Series("best epoch", [], [], "guide")
    parts, left, y = [], 6.0, 36.0
    for name, series in entries.items():
        room = 38 + 6.4 * len(name)
        if left > 6 and left + room > width:
            left, y = 6.0, y + 18
        if series.kind == "line":
            parts.append(_line(f"line {series.style}", (left, y), (left + 14, y)))
        elif series.kind == "bars":
            parts.append(_bar(series.style, left + 1, y - 6, 12, 12))
        else:
            parts.append(_dot(series, left + 7, y, 3 if series.kind == "points" else 6))
        parts.append(_text(left + 20, y, name, "tick"))
        left += room
    return parts, y + 18


def _series(series: Series, x: Scale, y: Scale) -> list[str]:
    """Return a line through the finite points (a dot where there is only one), dots or bars."""
    points = series.points
    places = np.flatnonzero(np.isfinite(points).all(axis=1))
    if series.kind == "line" and len(places) != 1:
        kept = points[_extremes(points[:, 1], places)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in kept)
        return [f'<polyline class="line {series.style}" points="{path}"/>']
    parts = []
    radius = {"line": 4.0, "points": 2.0, "rings": 6.0, "bars": 0.0}[series.kind]
    for n in places[np.linspace(0, len(places) - 1, min(len(places), _POINTS)).astype(int)]:
        note = series.notes[n] if series.notes else ""
        at, middle = x(points[n, 0]), y(points[n, 1])
        if series.kind == "bars":
            start, end = sorted((at, x(1 if x.logarithmic else 0)))
            thick = 0.8 * abs(y(1) - y(0))
            parts.append(_bar(series.style, start, middle - thick / 2, max(1, end - start), thick))
            parts.append(_text(end + 6, middle, note, "tick"))
        elif series.fractions is not None:
            parts.append(_dot(series, at, middle, 2.5 + 9 * series.fractions[n] ** 0.5, note))
        else:
            parts.append(_dot(series, at, middle, radius, note))
    return parts


def _extremes(values: Array, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the places to draw: of many, the lowest and the highest of every few."""
    if len(places) <= _POINTS:
        return places
    kept = {int(places[0]), int(places[-1])}
    for part in np.array_split(places, _POINTS // 2):
        kept |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    return np.array(sorted(kept))


def _line(style: str, start: Place, end: Place) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _bar(style: str, x: float, y: float, width: float, height: float) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="mark {style}" x="{x:.1f}" y="{y:.1f}" {size} rx="2"/>'


def _dot(series: Series, x: float, y: float, radius: float, title: str = "") -> str:
    kind = "ring" if series.kind == "rings" else "mark"
    inner = f"<title>{escape(title)}</title>" if title else ""
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"'
    return f'<circle class="{kind} {series.style}" {place}>{inner}</circle>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(plain(text))}</text>'
