"""Charts as inline SVG; their colours come from the page, by class, and follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.report.axes import Scale, around, short
from fastnet.report.measures import Calibration, Curve, Residuals

WIDTH, HEIGHT = 400, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 50, 40
_KEY: Final = 32
_POINTS: Final = 600
"""More points than this are thinned out: no screen shows them."""

Array = NDArray[Any]


def curve_chart(curve: Curve) -> str:
    """Return the chart of one metric over the epochs."""
    series = [("training", "rival", curve.training), ("validation", "lead", curve.validation)]
    shown = [(name, style, values) for name, style, values in series if values]
    values = [value for _, _, found in shown for value in found]
    x = around(curve.epochs, _LEFT, WIDTH - _RIGHT)
    if len(curve.epochs) > 1:
        x = Scale(curve.epochs[0], curve.epochs[-1], x.start, x.end)
    y = around(values, HEIGHT - _BOTTOM, _TOP, logarithmic=curve.logarithmic)
    parts = [_frame(x, y, "epoch", whole=True)]
    if curve.best_epoch is not None:
        at = f"{x(curve.best_epoch):.1f}"
        parts.append(f'<line class="best" x1="{at}" x2="{at}" y1="{y.start}" y2="{y.end}"/>')
    for _, style, found in shown:
        parts.append(_line(x, y, curve.epochs, found, style))
    best = [] if curve.best_epoch is None else [("best epoch", "best")]
    parts.append(_legend([*((name, style) for name, style, _ in shown), *best]))
    return _svg(parts, curve.name, f"{curve.name} by epoch")


def calibration_chart(found: Calibration) -> str:
    """Return how often answers are right over how sure they are; the diagonal is perfect."""
    x, y = Scale(0, 1, _LEFT, WIDTH - _RIGHT), Scale(0, 1, HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x, y, "probability of the answer"), _segment(x, y, (0, 0), (1, 1), "best")]
    parts.append(_line(x, y, found.sure, found.right, "lead"))
    for sure, right, fraction in zip(found.sure, found.right, found.fraction, strict=True):
        radius = 2.5 + 9 * fraction**0.5
        title = f"{100 * fraction:.1f} % of the answers: {sure:.3f} sure, {right:.3f} right"
        parts.append(_dot(x(sure), y(right), radius, "lead", title))
    parts.append(_legend([("share that is right", "lead"), ("perfect", "best")]))
    return _svg(parts, "calibration", f"calibration, error {found.error:.4f}")


def prediction_chart(found: Residuals) -> str:
    """Return targets over predictions; the diagonal is perfect."""
    pick = _thinned(len(found.target))
    both = [*found.prediction, *found.target]
    x, y = around(both, _LEFT, WIDTH - _RIGHT), around(both, HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x, y, "prediction"), _segment(x, y, (x.low,) * 2, (x.high,) * 2, "best")]
    parts += [_dot(x(found.prediction[n]), y(found.target[n]), 2, "point") for n in pick]
    parts.append(_legend([("target", "point"), ("perfect", "best")]))
    return _svg(parts, found.name, f"{found.name}: target over prediction")


def residual_chart(found: Residuals) -> str:
    """Return residuals over predictions, with their quantiles."""
    pick, residual = _thinned(len(found.target)), found.target - found.prediction
    x = around(found.prediction.tolist(), _LEFT, WIDTH - _RIGHT)
    y = around(residual.tolist(), HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x, y, "prediction")]
    parts += [_dot(x(found.prediction[n]), y(residual[n]), 2, "point") for n in pick]
    for k, style in enumerate(("ours", "lead", "ours")):
        parts.append(_line(x, y, found.centres, found.quantiles[:, k], style))
    parts.append(_legend([("residual", "point"), ("median", "lead"), ("10 and 90 %", "ours")]))
    title = f"{found.name}: target - prediction"
    return _svg(parts, title, f"residuals of {found.name}")


def _svg(parts: Sequence[str], title: str, description: str) -> str:
    """Return the chart around its parts."""
    return "\n".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(description)}">',
            f'<text class="title" x="{_LEFT}" y="12">{escape(title.replace("_", " "))}</text>',
            *parts,
            "</svg>",
        ]
    )


def _frame(x: Scale, y: Scale, label: str, *, whole: bool = False) -> str:
    """Return grid, numbers and the label of the x axis."""
    lines = []
    for tick in y.ticks:
        at = f"{y(tick):.1f}"
        lines.append(f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{at}" y2="{at}"/>')
        lines.append(f'<text class="tick y" x="{_LEFT - 7}" y="{at}">{short(tick)}</text>')
    for tick in x.ticks:
        if whole and tick != int(tick):
            continue
        lines.append(
            f'<text class="tick x" x="{x(tick):.1f}" y="{y.start + 14}">{short(tick)}</text>'
        )
    lines.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    middle = (x.start + x.end) / 2
    lines.append(f'<text class="tick x" x="{middle}" y="{HEIGHT - 8}">{escape(label)}</text>')
    return "\n".join(lines)


def _line(x: Scale, y: Scale, at: Sequence[float] | Array, values: Any, style: str) -> str:
    """Return a line through the finite values; a dot where there is only one."""
    places = [n for n in range(len(values)) if np.isfinite(values[n])]
    if len(places) == 1:
        return _dot(x(at[places[0]]), y(values[places[0]]), 4, style)
    points = " ".join(f"{x(at[n]):.1f},{y(values[n]):.1f}" for n in _extremes(values, places))
    return f'<polyline class="line {style}" points="{points}"/>'


def _extremes(values: Any, places: list[int]) -> list[int]:
    """Return the places to draw: of many, the lowest and the highest of every few."""
    if len(places) <= _POINTS:
        return places
    kept = {places[0], places[-1]}
    for part in np.array_split(np.array(places), _POINTS // 2):
        here = np.array([values[n] for n in part])
        kept |= {int(part[here.argmin()]), int(part[here.argmax()])}
    return sorted(kept)


def _thinned(count: int) -> list[int]:
    """Return the rows to draw of so many, evenly spaced."""
    places: list[int] = np.linspace(0, count - 1, min(count, _POINTS)).astype(int).tolist()
    return places


def _segment(
    x: Scale, y: Scale, start: tuple[float, ...], end: tuple[float, ...], style: str
) -> str:
    places = f'x1="{x(start[0]):.1f}" y1="{y(start[1]):.1f}" x2="{x(end[0]):.1f}"'
    return f'<line class="{style}" {places} y2="{y(end[1]):.1f}"/>'


def _dot(x: float, y: float, radius: float, style: str, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{inner}</circle>'


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return names with their colours, in a line below the title."""
    lines, left = [], _LEFT
    for name, style in entries:
        if style == "point":
            lines.append(_dot(left + 7, _KEY, 3, style))
        else:
            kind = "best" if style == "best" else f"line {style}"
            lines.append(
                f'<line class="{kind}" x1="{left}" x2="{left + 14}" y1="{_KEY}" y2="{_KEY}"/>'
            )
        lines.append(f'<text class="tick" x="{left + 20}" y="{_KEY}">{escape(name)}</text>')
        left += 40 + 6 * len(name)
    return "\n".join(lines)
