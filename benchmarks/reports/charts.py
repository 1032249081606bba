"""Charts as SVG files that stand on their own: legible on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from fastnet.benchmarks.reports.report import Curve, significant

WIDTH: Final = 720
HEIGHT: Final = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 46, 44

# The colours are in the file, with its own background: it may be shown as an image, on any page.
_STYLE: Final = """
.chart { --card: #ffffff; --line: #e2e2dc; --text: #1d2024; --soft: #666c75;
  --a: #1f5fd0; --b: #d9730d; --c: #7a8492; --d: #2e8b57; --e: #a855a8; --bad: #b42318; }
@media (prefers-color-scheme: dark) { .chart { --card: #1a1d22; --line: #33383f; --text: #e8eaed;
  --soft: #9aa1ab; --a: #6aa0ff; --b: #ff9f4a; --c: #98a1ad; --d: #5fc08a; --e: #d58ad5;
  --bad: #ff8a7a; } }
.chart text { fill: var(--text); font: 13px system-ui, "DejaVu Sans", sans-serif; }
.chart .soft { fill: var(--soft); font-size: 12px; }
.chart .card { fill: var(--card); stroke: var(--line); }
.chart .grid { stroke: var(--line); }
.chart .line { fill: none; stroke-width: 2; }
"""
_COLOURS: Final = ("a", "b", "c", "d", "e")


def width_chart(curves: Sequence[Curve]) -> str:
    """Return GFLOP/s against the hidden width, a line for each number of threads.

    A circle marks a width at which the throughput falls by more than is allowed.
    """
    widths = [width for curve in curves for width in curve.widths]
    top = _nice(max(value for curve in curves for value in curve.gflops))
    low, high = math.log2(min(widths)), math.log2(max(widths))

    def x_of(width: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (math.log2(width) - low) / ((high - low) or 1)

    def y_of(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top

    lines = _frame(f"GFLOP/s of a training step of {curves[0].layers} against the hidden width H")
    for part in range(5):
        value = top * part / 4
        lines.append(_grid_line(y_of(value)))
        lines.append(_text(_LEFT - 8, y_of(value) + 4, significant(value), "end"))
    for power in range(math.ceil(low), math.floor(high) + 1):
        lines.append(_text(x_of(2**power), HEIGHT - _BOTTOM + 18, str(2**power), "middle"))
    lines.append(_text((_LEFT + WIDTH) / 2, HEIGHT - 8, "H (logarithmic)", "middle"))
    for index, curve in enumerate(curves):
        colour = f"var(--{_COLOURS[index]})"
        points = list(zip(map(x_of, curve.widths), map(y_of, curve.gflops), strict=True))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline class="line" style="stroke:{colour}" points="{path}"/>')
        fallen = {fall.width for fall in curve.falls}
        for width, (x, y) in zip(curve.widths, points, strict=True):
            lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" style="fill:{colour}"/>')
            if width in fallen:
                lines.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" '
                    'style="fill:none;stroke:var(--bad);stroke-width:1.5"/>'
                )
        name = f"at most {curve.threads} thread{'s' * (curve.threads != 1)}"
        lines += _legend(_LEFT + 10 + 170 * index, name, colour)
    if any(curve.falls for curve in curves):
        lines.append('<circle cx="500" cy="23" r="6" style="fill:none;stroke:var(--bad)"/>')
        lines.append(_text(512, 28, "falls by more than 15 %", style=""))
    return "\n".join([*lines, "</svg>"]) + "\n"


def lead_chart(leads: Mapping[str, Mapping[str, float]], title: str) -> str:
    """Return bars, for each network, of each contender's time over fastnet's: 1 is fastnet.

    The axis is logarithmic: the smallest networks are a hundred times faster.
    """
    labels = list(dict.fromkeys(label for row in leads.values() for label in row))
    values = [value for row in leads.values() for value in row.values()]
    low, high = min(0.5, *values), max(2.0, *values)
    start, end = math.floor(math.log10(low) * 2) / 2, math.ceil(math.log10(high) * 2) / 2
    left, step = 110, 15
    height = _TOP + sum(step * len(row) + 12 for row in leads.values()) + _BOTTOM

    def x_of(value: float) -> float:
        return left + (WIDTH - left - 70) * (math.log10(value) - start) / (end - start)

    lines = _frame(title, height)
    for value in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if 10**start <= value <= 10**end:
            x = x_of(value)
            weight = 1.6 if value == 1 else 0.8
            lines.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" '
                f'y2="{height - _BOTTOM}" style="stroke-width:{weight}"/>'
            )
            lines.append(_text(x, height - _BOTTOM + 18, f"{value:g}×", "middle"))
    y = float(_TOP + 6)
    for network, row in leads.items():
        lines.append(_text(left - 10, y + step * len(row) / 2 + 3, network, "end", ""))
        for label, value in row.items():
            x0, x1 = sorted((x_of(1), x_of(value)))
            colour = f"var(--{_COLOURS[labels.index(label) % len(_COLOURS)]})"
            lines.append(
                f'<rect x="{x0:.1f}" y="{y:.1f}" width="{max(1.0, x1 - x0):.1f}" '
                f'height="{step - 3}" style="fill:{colour}"/>'
            )
            lines.append(_text(x1 + 6, y + step - 5, f"{significant(value)}×"))
            y += step
        y += 12
    for index, label in enumerate(labels):
        lines += _legend(left + 150 * index, label, f"var(--{_COLOURS[index % len(_COLOURS)]})")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _frame(title: str, height: float = HEIGHT) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]


def _grid_line(y: float) -> str:
    return f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "soft") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _legend(x: float, name: str, colour: str) -> list[str]:
    return [
        f'<rect x="{x:.1f}" y="17" width="12" height="12" rx="2" style="fill:{colour}"/>',
        _text(x + 18, 28, name, style=""),
    ]


def _nice(value: float) -> float:
    """Return the next number above that reads well on an axis."""
    size = 10.0 ** math.floor(math.log10(value))
    return next(
        step * size for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * size >= value
    )
