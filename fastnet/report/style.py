"""The style sheet of the page: that of the benchmark's report, and the charts in it."""

from __future__ import annotations

from typing import Final

from fastnet.benchmarks.reports.style import CSS as BASE

CSS: Final = (
    BASE
    + """
.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr));
  gap: 18px; margin-top: 12px;
}
svg.chart { display: block; width: 100%; max-width: 440px; height: auto; }
svg.chart text { fill: var(--text); font-size: 11.5px; dominant-baseline: central; }
svg.chart .title { font-size: 14px; font-weight: 600; }
svg.chart .tick { fill: var(--soft); font-variant-numeric: tabular-nums; }
svg.chart .tick.x { text-anchor: middle; }
svg.chart .tick.y { text-anchor: end; }
svg.chart .grid { stroke: var(--line); }
svg.chart .axis { stroke: var(--soft); }
svg.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg.chart .line.lead { stroke: var(--lead); }
svg.chart .line.ours { stroke: var(--ours); }
svg.chart .line.rival { stroke: var(--rival); }
svg.chart .best { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 3 4; }
svg.chart circle.lead { fill: var(--lead); fill-opacity: 0.75; }
svg.chart circle.rival { fill: var(--rival); }
svg.chart circle.point { fill: var(--rival); fill-opacity: 0.65; }
pre {
  margin: 8px 0 0; padding: 12px 14px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--page); font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere;
}
pre span { display: inline-block; }
table.fit { width: auto; }
table.confusion { width: auto; font-size: 13px; }
table.confusion td, table.confusion th { padding: 5px 9px; text-align: right; }
table.confusion td {
  border: 1px solid var(--card);
  background: color-mix(in srgb, var(--bad) calc(var(--share) * 100%), var(--page));
}
table.confusion td.right {
  background: color-mix(in srgb, var(--lead) calc(var(--share) * 85%), var(--page));
}
table.confusion td.strong { color: var(--card); }
table.confusion td.none { color: var(--soft); }
"""
)
