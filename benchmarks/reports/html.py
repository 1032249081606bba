"""The report as one page: tables and charts, without a script and without any other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastnet.benchmarks.reports.charts import Bar, bar_chart, width_chart
from fastnet.benchmarks.reports.grids import Grid, falls_text, grids
from fastnet.benchmarks.reports.report import (
    Curve,
    Report,
    Row,
    Table,
    heading,
    peak_text,
    percent,
    scaled,
    significant,
    times,
)
from fastnet.report.html import Markup, document, facts, section, text, wide
from fastnet.report.html import table as html_table

_METHOD = (
    "Every contender trains the same network from the same weights, on the same data, in the same "
    "order, with the same Adam, and has shown that it does before it was timed. They are timed in "
    "turn, round after round; a time is the median over rounds of each round's fastest sample, "
    "and ratios are taken within a round. Compilation and warm-up are outside. FLOP are those of "
    "the matrix products; the peak is what a loop of fused multiply-adds reached on this machine."
)

_SHORTER = "shorter is better; in brackets: over the fastest of fastnet"
_RATES = "GFLOP/s", "of peak", "vs NumPy", "threads"

_PARTS = {
    "training": "Training",
    "one row": "Prediction of one row",
    "many rows": "Prediction of many rows",
}


def page(report: Report) -> str:
    """Return the page."""
    trained = [table for table in report.tables if table.kind == "training"]
    parts = [_title(report), _machine(report), _summary(trained)]
    for kind, title in _PARTS.items():
        tables = [table for table in report.tables if table.kind == kind]
        if tables:
            parts.append(_part(title))
            parts += [_network(table) for table in tables]
    parts.append(_startup(report))
    if report.widths:
        parts.append(_widths(report.widths))
    others = [grid for grid in grids(report) if grid.title != "start-up"]
    if others:
        parts.append(_part("Kernels, widths, learning"))
        parts += [_grid(grid) for grid in others]
    parts.append(_remarks(report))
    return document(f"fastnet benchmark, {report.created[:10]}", parts)


def _title(report: Report) -> str:
    machine = report.machine
    commit = f", commit {machine['commit']}" if machine["commit"] else ""
    when = report.created.replace("T", " ").replace("+00:00", " UTC")
    about = text(f"fastnet {machine['fastnet']}{commit}; {when}")
    return f'<header><h1>fastnet benchmark</h1><p class="soft">{about}</p></header>'


def _machine(report: Report) -> str:
    machine, peak = report.machine, report.peak
    first, rest = peak_text(peak).split(" ", 1)
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    threads = machine["threads"] or f"each one's choice, up to {machine['usable_processors']}"
    steered = ", ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return section(
        "",
        "",
        facts(
            [
                ("Measured peak", _bold(first, f"{rest}; {peak['method']}")),
                ("Copying memory", _bold(significant(peak["copy_gbs"]), "GB/s")),
                ("Threads", _bold(threads) if machine["threads"] else threads),
                ("Processor", f"{machine['cpu']}, {machine['processors']} processors"),
                ("Vector instructions", ", ".join(machine["simd"]) or "unknown"),
                ("System", f"{machine['os']}, {machine['python']}"),
                ("Packages", packages),
                *([("Set by the environment", steered)] if steered else []),
                ("Thread pools", "; ".join(machine["pools"]) or "none"),
            ]
        ),
    )


def _bold(number: object, rest: str = "") -> Markup:
    return Markup(f"<b>{text(number)}</b> {text(rest)}")


def _summary(tables: Sequence[Table]) -> str:
    """Return how much faster the fastest fastnet backend trains than everything else."""
    labels = list(dict.fromkeys(row.label for table in tables for row in table.rows))
    leads = {_lead(table).label for table in tables if table.rows}
    columns = [label for label in labels if label not in leads]
    if not columns:
        return ""
    lines = []
    for table in tables:
        cells = {row.label: row.times_fastnet for row in table.rows}
        lines.append([table.network, *(_lead_cell(cells.get(label)) for label in columns)])
    return section(
        "How many times as fast fastnet trains",
        f"the other one's time over that of {' or '.join(sorted(leads))}",
        html_table(("network", *columns), lines),
    )


def _lead_cell(value: float | None) -> str:
    slower = value is not None and value < 1
    return Markup(f'<span class="bad">{times(value)}</span>') if slower else times(value)


def _network(table: Table) -> str:
    parts = []
    if table.rows:
        texts = [f"{significant(row.us)} \u00b5s{_and_lead(row)}" for row in table.rows]
        bars = [
            Bar(row.label, row.us, behind, _style(table, row))
            for row, behind in zip(table.rows, texts, strict=True)
        ]
        unit = _unit(table)
        parts = [bar_chart(bars), _caption(f"\u00b5s per {unit}, {_SHORTER}"), _table(table)]
    return section(
        table.network, heading(table), *parts, _list(table.notes), _list(table.failures, "bad")
    )


def _caption(what: str) -> str:
    return f'<p class="caption">{text(what)}</p>'


def _unit(table: Table) -> str:
    return "step" if table.kind == "training" else "call"


def _table(table: Table) -> str:
    each = "samples" if table.kind == "training" else "rows"
    head = ("", f"\u00b5s / {_unit(table)}", f"{each} / s", *_RATES)
    lines = [
        (
            f"{row.label} {row.version if row.kind == 'rival' else ''}".strip(),
            significant(row.us),
            scaled(row.rows_per_second),
            significant(row.gflops),
            _with_meter(row.share_of_peak),
            times(row.times_numpy),
            row.threads,
        )
        for row in table.rows
    ]
    return html_table(head, lines, row_styles=[_style(table, row) for row in table.rows])


def _with_meter(fraction: float | None) -> str:
    if fraction is None:
        return percent(None)
    style = f"width:{min(100.0, 100.0 * fraction):.1f}%"
    return Markup(f'{text(percent(fraction))}<span class="meter"><i style="{style}"></i></span>')


def _startup(report: Report) -> str:
    if not report.startup:
        return ""
    styles = {"fastnet": "lead", "rival": "rival", "base": "ours"}
    bars = [
        Bar(item.what, item.ms, f"{significant(item.ms)} ms", styles[item.kind])
        for item in sorted(report.startup, key=lambda item: item.ms)
    ]
    what = "ms of a whole Python process, files cached, median; shorter is better"
    return _part("Start-up") + section("", "", bar_chart(bars), _caption(what))


def _widths(curves: Sequence[Curve]) -> str:
    what = "; ".join(
        f"at most {curve.threads} thread{'s' * (curve.threads != 1)}: {falls_text(curve)}"
        for curve in curves
    )
    chart = wide(width_chart(curves, as_file=False))
    return _part("Throughput against the hidden width") + section("", "", chart, _caption(what))


def _grid(grid: Grid) -> str:
    styles = ["ours" if index in grid.bold else "" for index in range(len(grid.rows))]
    rows = html_table(grid.head, grid.rows, row_styles=styles)
    return section(grid.title, grid.about, rows, _list(grid.notes))


def _part(title: str) -> str:
    return f'<h2 class="part">{text(title)}</h2>'


def _remarks(report: Report) -> str:
    skipped = [f"{what}: {why}" for what, why in report.skipped.items()]
    return _part("How it was measured") + section(
        "", "", f"<p>{text(_METHOD)}</p>", _list(skipped), _list(report.outside, "bad")
    )


def _lead(table: Table) -> Row:
    """Return the fastest row of fastnet's own, or of all where there is none."""
    return min(table.rows, key=lambda row: (row.kind != "fastnet", row.us))


def _style(table: Table, row: Row) -> str:
    if row.kind != "fastnet":
        return "rival"
    return "lead" if row is _lead(table) else "ours"


def _and_lead(row: Row) -> str:
    if row.times_fastnet is None or row.times_fastnet == 1.0:
        return ""
    return f"  ({times(row.times_fastnet)})"


def _list(lines: Iterable[str], style: str = "soft") -> str:
    items = "".join(f'<li class="{style}">{text(line)}</li>' for line in lines)
    return f"<ul>{items}</ul>" if items else ""
