"""The report as one page: tables and charts, without a script and without any other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fastnet.benchmarks.reports.bars import Bar, bar_chart
from fastnet.benchmarks.reports.charts import width_chart
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
from fastnet.benchmarks.reports.style import CSS

_METHOD = (
    "Every contender trains the same network from the same weights, on the same data, in the same "
    "order, with the same Adam, and has shown that it does before it was timed. They are timed in "
    "turn, round after round; a time is the median over rounds of each round's fastest sample, "
    "and ratios are taken within a round. Compilation and warm-up are outside. FLOP are those of "
    "the matrix products; the peak is what a loop of fused multiply-adds reached on this machine."
)

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
            parts.append(f'<h2 class="part">{title}</h2>')
            parts += [_network(table) for table in tables]
    parts.append(_startup(report))
    if report.widths:
        parts.append(_widths(report.widths))
    others = [grid for grid in grids(report) if grid.title != "start-up"]
    if others:
        parts.append('<h2 class="part">Kernels, widths, learning</h2>')
        parts += [_grid(grid) for grid in others]
    parts.append(_remarks(report))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>fastnet benchmark, {escape(report.created[:10])}</title>",
            f"<style>{CSS}</style>\n</head>\n<body>\n<main>",
            *filter(None, parts),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _title(report: Report) -> str:
    machine = report.machine
    commit = f", commit {machine['commit']}" if machine["commit"] else ""
    when = report.created.replace("T", " ").replace("+00:00", " UTC")
    about = escape(f"fastnet {machine['fastnet']}{commit}; {when}")
    return f'<header><h1>fastnet benchmark</h1><p class="soft">{about}</p></header>'


def _machine(report: Report) -> str:
    machine, peak = report.machine, report.peak
    first, rest = peak_text(peak).split(" ", 1)
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    threads = machine["threads"] or f"each one's choice, up to {machine['usable_processors']}"
    steered = ", ".join(f"{name}={value}" for name, value in machine["environment"].items())
    facts = [
        ("Measured peak", f"<b>{first}</b> {rest}; {escape(peak['method'])}"),
        ("Copying memory", f"<b>{significant(peak['copy_gbs'])}</b> GB/s"),
        ("Threads", f"<b>{threads}</b>" if machine["threads"] else escape(threads)),
        ("Processor", escape(f"{machine['cpu']}, {machine['processors']} processors")),
        ("Vector instructions", escape(", ".join(machine["simd"]) or "unknown")),
        ("System", escape(f"{machine['os']}, {machine['python']}")),
        ("Packages", escape(packages)),
        *([("Set by the environment", escape(steered))] if steered else []),
        ("Thread pools", escape("; ".join(machine["pools"]) or "none")),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<section><dl class="facts">{cells}</dl></section>'


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
        values = "".join(_lead_cell(cells.get(label)) for label in columns)
        lines.append(f"<tr><th>{escape(table.network)}</th>{values}</tr>")
    head = "".join(f"<th>{escape(label)}</th>" for label in columns)
    return (
        "<section><h2>How many times as fast fastnet trains</h2>"
        f'<p class="soft">the other one\'s time over that of {escape(" or ".join(sorted(leads)))}'
        "</p>"
        f"<table><thead><tr><th>network</th>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></section>"
    )


def _lead_cell(value: float | None) -> str:
    style = ' class="bad"' if value is not None and value < 1 else ""
    return f"<td{style}>{times(value)}</td>"


def _network(table: Table) -> str:
    rows, unit = table.rows, _unit(table)
    bars = [
        Bar(row.label, row.us, f"{significant(row.us)} \u00b5s{_and_lead(row)}", _style(table, row))
        for row in rows
    ]
    caption = f"\u00b5s per {unit}, shorter is better; in brackets: over the fastest of fastnet"
    chart = bar_chart(bars, f"{table.network}: {caption}")
    return (
        f"<section><h2>{escape(table.network)}</h2>"
        f'<p class="soft">{escape(heading(table))}</p>'
        + (f'{chart}<p class="caption">{caption}</p>{_table(table)}' if rows else "")
        + f"{_list(table.notes)}{_list(table.failures, 'bad')}</section>"
    )


def _unit(table: Table) -> str:
    return "step" if table.kind == "training" else "call"


def _table(table: Table) -> str:
    each = "samples" if table.kind == "training" else "rows"
    head = ("", f"\u00b5s / {_unit(table)}", f"{each} / s", *_RATES)
    lines = []
    for row in table.rows:
        cells = (
            significant(row.us),
            scaled(row.rows_per_second),
            significant(row.gflops),
            escape(percent(row.share_of_peak)) + _meter(row),
            times(row.times_numpy),
            str(row.threads),
        )
        name = escape(f"{row.label} {row.version if row.kind == 'rival' else ''}".strip())
        lines.append(
            f'<tr class="{_style(table, row)}"><th>{name}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    titles = "".join(f"<th>{title}</th>" for title in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _meter(row: Row) -> str:
    if row.share_of_peak is None:
        return ""
    width = min(100.0, 100.0 * row.share_of_peak)
    return f'<span class="meter"><i style="width:{width:.1f}%"></i></span>'


def _startup(report: Report) -> str:
    if not report.startup:
        return ""
    styles = {"fastnet": "lead", "rival": "rival", "base": "ours"}
    bars = [
        Bar(item.what, item.ms, f"{significant(item.ms)} ms", styles[item.kind])
        for item in sorted(report.startup, key=lambda item: item.ms)
    ]
    what = "ms of a whole Python process, files cached, median; shorter is better"
    return (
        '<h2 class="part">Start-up</h2>'
        f'<section>{bar_chart(bars, "Start-up")}<p class="caption">{what}</p></section>'
    )


def _widths(curves: Sequence[Curve]) -> str:
    text = "; ".join(
        f"at most {curve.threads} thread{'s' * (curve.threads != 1)}: {falls_text(curve)}"
        for curve in curves
    )
    return (
        '<h2 class="part">Throughput against the hidden width</h2>'
        f'<section>{width_chart(curves)}<p class="caption">{escape(text)}</p></section>'
    )


def _grid(grid: Grid) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in grid.head)
    lines = []
    for index, (first, *rest) in enumerate(grid.rows):
        style = ' class="ours"' if index in grid.bold else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f"<tr{style}><th>{escape(first)}</th>{cells}</tr>")
    return (
        f'<section><h2>{escape(grid.title)}</h2><p class="soft">{escape(grid.about)}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        f"{_list(grid.notes)}</section>"
    )


def _remarks(report: Report) -> str:
    skipped = [f"{what}: {why}" for what, why in report.skipped.items()]
    return (
        '<h2 class="part">How it was measured</h2>'
        f"<section><p>{_METHOD}</p>{_list(skipped)}{_list(report.outside, 'bad')}</section>"
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
    items = "".join(f'<li class="{style}">{escape(line)}</li>' for line in lines)
    return f"<ul>{items}</ul>" if items else ""
