"""Bar charts as inline SVG: one bar for each contender, its number at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
_LABEL: Final = 150  # room for the names, on the left
_VALUE: Final = 150  # room for the numbers, behind the longest bar
_STEP: Final = 30
_BAR: Final = 18
_SHORTEST: Final = 2.0


@dataclass(frozen=True)
class Bar:
    """A bar: name, length, what is written behind it, and its CSS class."""

    label: str
    value: float
    text: str
    style: str


def bar_chart(bars: Sequence[Bar], title: str) -> str:
    """Return an ``<svg>`` of horizontal bars from zero, on a linear scale.

    Colours come from the page's style sheet, by class, so that they follow light and dark.
    """
    longest = max((bar.value for bar in bars), default=0.0) or 1.0
    height = _STEP * len(bars) + 6
    lines = [
        f'<svg class="bars" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    ]
    for index, bar in enumerate(bars):
        top = 6 + index * _STEP
        middle = top + _BAR / 2
        length = max(_SHORTEST, (WIDTH - _LABEL - _VALUE) * bar.value / longest)
        style = escape(bar.style)
        lines += [
            f'<text class="name {style}" x="{_LABEL - 12}" y="{middle}">{escape(bar.label)}</text>',
            f'<rect class="{style}" x="{_LABEL}" y="{top}" width="{length:.1f}" '
            f'height="{_BAR}" rx="2"/>',
            f'<text class="value {style}" x="{_LABEL + length + 8:.1f}" y="{middle}">'
            f"{escape(bar.text)}</text>",
        ]
    lines.append(f'<line class="axis" x1="{_LABEL}" x2="{_LABEL}" y1="0" y2="{height}"/>')
    return "\n".join([*lines, "</svg>"])
