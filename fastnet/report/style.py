"""The style sheet of all pages and figures: light and dark, on a phone and in print."""

from __future__ import annotations

from typing import Final

LIGHT: Final = {
    "page": "#f6f6f3", "card": "#ffffff", "line": "#e2e2dc", "text": "#1d2024", "soft": "#666c75",
    "bad": "#b42318", "lead": "#1f5fd0", "ours": "#86a9e6", "rival": "#b9bcc2",
    "second": "#d9730d", "third": "#7a8492", "fourth": "#2e8b57", "fifth": "#a855a8",
}  # fmt: skip
"""Colours by name; those from ``lead`` on are for data."""

DARK: Final = {
    "page": "#121417", "card": "#1a1d22", "line": "#2d3138", "text": "#e8eaed", "soft": "#9aa1ab",
    "bad": "#ff8a7a", "lead": "#6aa0ff", "ours": "#3e619f", "rival": "#565c66",
    "second": "#ff9f4a", "third": "#98a1ad", "fourth": "#5fc08a", "fifth": "#d58ad5",
}  # fmt: skip

FONT: Final = 'system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'


def palette(selector: str) -> str:
    """Return the colours as variables of the elements that `selector` finds."""
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        for colours in (LIGHT, DARK)
    )
    return (
        f"{selector} {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ {selector} {{ {dark} }} }}\n"
    )


CHART: Final = (
    f"""
svg.chart {{ display: block; width: 100%; max-width: 440px; height: auto; font-family: {FONT}; }}
svg.chart text {{ fill: var(--text); font-size: 11.5px; dominant-baseline: central; }}
svg.chart .title {{ font-size: 14px; font-weight: 600; }}
svg.chart .tick {{ fill: var(--soft); font-variant-numeric: tabular-nums; }}
svg.chart .middle {{ text-anchor: middle; }}
svg.chart .end {{ text-anchor: end; }}
svg.chart .card {{ fill: var(--card); stroke: var(--line); }}
svg.chart .grid {{ stroke: var(--line); }}
svg.chart .axis {{ stroke: var(--soft); }}
svg.chart .line {{ fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }}
svg.chart .guide {{ color: var(--soft); stroke-width: 1.2; stroke-dasharray: 3 4; }}
svg.chart .mark {{ fill: currentColor; }}
svg.chart circle.mark {{ fill-opacity: 0.65; }}
svg.chart .ring {{ fill: none; stroke: currentColor; stroke-width: 1.5; }}
"""
    + "\n".join(f"svg.chart .{name} {{ color: var(--{name}); }}" for name in [*LIGHT][4:])
    + """
@media (max-width: 480px) {
  svg.chart text { font-size: 13px; }
  svg.chart .title { font-size: 15px; }
}
"""
)
"""The rules of a chart; with `palette` they are all that an SVG file needs."""

CSS: Final = (
    palette(":root")
    + f"""
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 {FONT}; }}
"""
    + """
main { max-width: 860px; margin: 0 auto; padding: 48px 20px 72px; overflow-wrap: anywhere; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -0.02em; }
h2 { font-size: 19px; margin: 0; letter-spacing: -0.01em; }
h2.part { font-size: 22px; margin: 44px 0 4px; }
p { margin: 4px 0 0; }
.soft, .caption { color: var(--soft); }
.caption { font-size: 13px; text-align: center; margin-top: 10px; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 22px 24px; margin-top: 18px; break-inside: avoid;
}
dl.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr));
  gap: 14px 28px; margin: 0;
}
dl.facts dt { color: var(--soft); font-size: 13px; }
dl.facts dd { margin: 0; }
dl.facts dd b { font-size: 20px; font-weight: 600; letter-spacing: -0.01em; }

/* What may be wider than the page scrolls in a box of its own, and the page does not. */
.wide { overflow-x: auto; margin-top: 14px; }
.wide th:first-child { position: sticky; left: 0; background: var(--card); }
.wide svg.chart { max-width: none; min-width: 560px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th {
  color: var(--soft); font-weight: 500; font-size: 13px; text-align: right; vertical-align: bottom;
}
th, td { padding: 6px 0 6px 16px; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
td { text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { color: var(--text); font-size: 14px; font-weight: 400; }
tr.lead td, tr.lead th { font-weight: 650; }
tr.ours th { font-weight: 600; }
section > :first-child { margin-top: 0; }
.bad { color: var(--bad); font-weight: 600; }
.meter {
  display: inline-block; width: 64px; height: 7px; margin-left: 10px; border-radius: 4px;
  background: var(--line); overflow: hidden; vertical-align: middle;
}
.meter i { display: block; height: 100%; background: var(--rival); }
.lead .meter i { background: var(--lead); }
.ours .meter i { background: var(--ours); }
.bars {
  display: grid; grid-template-columns: fit-content(40%) 1fr; gap: 8px 12px; align-items: center;
  margin-top: 16px; font-size: 14px; line-height: 1.3; font-variant-numeric: tabular-nums;
}
.bars dt { text-align: right; }
.bars dd { display: flex; align-items: center; gap: 8px; margin: 0; }
.bars .lead { font-weight: 650; }
.bars i {
  flex: none; height: 18px; border-radius: 2px; background: var(--rival);
  width: calc((100% - 150px) * var(--length)); min-width: 2px;
}
.bars .lead i { background: var(--lead); }
.bars .ours i { background: var(--ours); }

.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(330px, 100%), 1fr));
  gap: 18px; margin-top: 12px;
}
pre {
  margin: 8px 0 0; padding: 12px 14px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--page); font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere;
}
pre span { display: inline-block; }
table.fit, table.confusion { width: auto; }
table.confusion { font-size: 13px; }
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
ul { margin: 10px 0 0; padding-left: 20px; }
@media (max-width: 480px) {
  main { padding: 28px 12px 48px; }
  section { padding: 16px 14px; }
  table { font-size: 13px; }
  th, td { padding-left: 10px; }
  .bars { grid-template-columns: 1fr; gap: 2px; }
  .bars dt { text-align: left; margin-top: 6px; }
}
@media print {
  body { background: none; }
  main { padding: 0; }
  .bars i, .meter, .meter i, table.confusion td { print-color-adjust: exact; }
}
"""
    + CHART
)
