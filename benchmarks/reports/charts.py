"""Charts of the benchmark: throughput against the width, fastnet's lead, and bars for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastnet.benchmarks.reports.report import Curve, significant
from fastnet.report import svg
from fastnet.report.figures import Axis, Panel, Series
from fastnet.report.html import text

WIDTH: Final = 720
_COLOURS: Final = "lead", "second", "third", "fourth", "fifth"
_RATIOS: Final = 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000


@dataclass(frozen=True)
class Bar:
    """A bar: name, length, what is written behind it, and its colour."""

    label: str
    value: float
    text: str
    style: str


def bar_chart(bars: Sequence[Bar]) -> str:
    """Return horizontal bars from zero, on a linear scale, as HTML: on a phone names are above."""
    longest = max((bar.value for bar in bars), default=0.0) or 1.0
    cells = [
        f'<dt class="{bar.style}">{text(bar.label)}</dt><dd class="{bar.style}">'
        f'<i style="--length: {bar.value / longest:.4f}"></i><span>{text(bar.text)}</span></dd>'
        for bar in bars
    ]
    return f'<dl class="bars">{"".join(cells)}</dl>'


def width_chart(curves: Sequence[Curve], *, as_file: bool = True) -> str:
    """Return GFLOP/s against the hidden width, a line for each number of threads.

    A circle marks a width at which the throughput falls by more than is allowed.
    """
    series: list[Series] = []
    for curve, colour in zip(curves, _COLOURS, strict=False):
        name = f"at most {curve.threads} thread{'s' * (curve.threads != 1)}"
        series.append(Series(name, curve.widths, curve.gflops, colour))
        series.append(Series("", curve.widths, curve.gflops, colour, "points"))
    fallen = [
        (width, gflops)
        for curve in curves
        for width, gflops in zip(curve.widths, curve.gflops, strict=True)
        if width in {fall.width for fall in curve.falls}
    ]
    if fallen:
        widths, rates = zip(*fallen, strict=True)
        series.append(Series("falls by more than 15 %", widths, rates, "bad", "rings"))
    low, high = (choose(w for c in curves for w in c.widths) for choose in (min, max))
    top = max(rate for curve in curves for rate in curve.gflops)
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    ends = (low, high) if low < high else (low / 2, high * 2)
    panel = Panel(
        f"a training step of {curves[0].layers}, by its hidden width H",
        Axis("H", True, ends, [(2.0**power, str(2**power)) for power in powers]),
        Axis("GFLOP/s", ends=(0, 1.08 * top)),
        series,
    )
    return svg.draw(panel, WIDTH, 340, as_file=as_file)


def lead_chart(leads: Mapping[str, Mapping[str, float]], title: str) -> str:
    """Return bars, for each network, of each contender's time over fastnet's: 1 is fastnet.

    The axis is logarithmic: the smallest networks are a hundred times faster.
    """
    # Bars lie 1 apart, from the top down; the networks a little more.
    found: dict[str, list[tuple[float, float]]] = {}
    names, y = [], 0.0
    for network, row in leads.items():
        names.append((y - (len(row) - 1) / 2, network))
        for label, value in row.items():
            found.setdefault(label, []).append((value, y))
            y -= 1
        y -= 0.8
    series = []
    for index, (label, bars) in enumerate(found.items()):
        values, places = zip(*bars, strict=True)
        notes = [f"{significant(value)}×" for value in values]
        colour = _COLOURS[index % len(_COLOURS)]
        series.append(Series(label, values, places, colour, "bars", notes=notes))
    ratios = [value for row in leads.values() for value in row.values()]
    low, high = 0.9 * min(0.5, *ratios), 1.1 * max(2.0, *ratios)
    marks = [(ratio, f"{ratio:g}×") for ratio in _RATIOS if low <= ratio <= high]
    panel = Panel(
        title,
        Axis("logarithmic", True, (low, high), marks),
        Axis(ends=(y + 1, 0.8), ticks=names),
        series,
    )
    return svg.draw(panel, WIDTH, round(96 - 15 * y), as_file=True)
