"""The style sheet of the report's page: light and dark, and fit for print."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --card: #ffffff; --line: #e2e2dc; --text: #1d2024; --soft: #666c75;
  --lead: #1f5fd0; --ours: #86a9e6; --rival: #b9bcc2; --bad: #b42318;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121417; --card: #1a1d22; --line: #2d3138; --text: #e8eaed; --soft: #9aa1ab;
    --lead: #6aa0ff; --ours: #3e619f; --rival: #565c66; --bad: #ff8a7a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 860px; margin: 0 auto; padding: 48px 20px 72px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -0.02em; }
h2 { font-size: 19px; margin: 0; letter-spacing: -0.01em; }
h2.part { font-size: 22px; margin: 44px 0 4px; }
p { margin: 4px 0 0; }
.soft, .caption { color: var(--soft); }
.caption { font-size: 13px; text-align: center; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 22px 24px; margin-top: 18px; overflow-x: auto; break-inside: avoid;
}
dl.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr));
  gap: 14px 28px; margin: 0;
}
dl.facts dt { color: var(--soft); font-size: 13px; }
dl.facts dd { margin: 0; }
dl.facts dd b { font-size: 20px; font-weight: 600; letter-spacing: -0.01em; }
table { border-collapse: collapse; width: 100%; margin-top: 14px; font-size: 14px; }
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
svg.bars { display: block; width: 100%; min-width: 520px; height: auto; margin-top: 14px; }
svg.bars text { fill: var(--text); font-size: 14px; dominant-baseline: central; }
svg.bars .name { text-anchor: end; }
svg.bars .name.lead, svg.bars .value.lead { font-weight: 650; }
svg.bars .value { font-variant-numeric: tabular-nums; }
svg.bars rect.lead { fill: var(--lead); }
svg.bars rect.ours { fill: var(--ours); }
svg.bars rect.rival { fill: var(--rival); }
svg.bars .axis { stroke: var(--line); }
.meter {
  display: inline-block; width: 64px; height: 7px; margin-left: 10px; border-radius: 4px;
  background: var(--line); overflow: hidden; vertical-align: middle;
}
.meter i { display: block; height: 100%; background: var(--rival); }
.lead .meter i { background: var(--lead); }
.ours .meter i { background: var(--ours); }
ul { margin: 10px 0 0; padding-left: 20px; }
.bad { color: var(--bad); font-weight: 600; }
@media print { body { background: none; } main { padding: 0; } }
"""
