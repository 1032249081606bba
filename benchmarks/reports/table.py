"""The report as text: one table for each network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from fastnet.benchmarks.reports.grids import Grid, grids
from fastnet.benchmarks.reports.report import (
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

if TYPE_CHECKING:
    from rich.console import Console

PREDICTIONS: Final = {"one row": "prediction of one row", "many rows": "prediction of 10,000 rows"}


def show(report: Report, console: Console) -> None:
    """Print the machine, the tables and what was left out."""
    for line in machine_lines(report):
        console.print(line, highlight=False, markup=False)
    for table in report.tables:
        if table.kind == "training":
            _title(console, table.network, heading(table))
            console.print(_training(table) if table.rows else "")
        _remarks(console, table)
    for kind, title in PREDICTIONS.items():
        tables = [table for table in report.tables if table.kind == kind and table.rows]
        if tables:
            _title(console, title, "us per call, in brackets over fastnet's fastest")
            console.print(_prediction(tables))
    for grid in grids(report):
        _title(console, grid.title, grid.about)
        console.print(_grid(grid))
        for note in grid.notes:
            console.print(f"  {note}", highlight=False, markup=False)
    for failure in report.outside:
        console.print(f"[bold red]parity failed:[/] {escape(failure)}", highlight=False)
    for what, why in report.skipped.items():
        console.print(f"skipped {what}: {why}", highlight=False, markup=False)


def _title(console: Console, what: str, about: str) -> None:
    console.print()
    console.print(f"[bold]{escape(what)}[/]  {escape(about)}", highlight=False)


def _remarks(console: Console, table: Table) -> None:
    """Print who could not take part, and who failed."""
    for note in table.notes:
        console.print(f"  {note}", highlight=False, markup=False)
    for failure in table.failures:
        console.print(f"[bold red]parity failed:[/] {escape(failure)}", highlight=False)


def machine_lines(report: Report) -> list[str]:
    """Return what the numbers were measured on, a line each."""
    machine, peak = report.machine, report.peak
    packages = machine["packages"]
    numba = f", Numba {packages['numba']}" if "numba" in packages else ""
    commit = f" ({machine['commit']})" if machine["commit"] else ""
    steered = " ".join(f"{name}={value}" for name, value in machine["environment"].items())
    threads = machine["threads"] or f"up to {machine['usable_processors']}"
    return [
        f"{machine['cpu']}, {', '.join(machine['simd'])}; {machine['os']}",
        f"fastnet {machine['fastnet']}{commit}, {machine['python']}, "
        f"NumPy {packages['numpy']}{numba}; threads: {threads}",
        f"measured peak: {peak_text(peak)} ({peak['method']}), "
        f"copying {significant(peak['copy_gbs'])} GB/s",
        *([f"set by the environment: {steered}"] if steered else []),
    ]


def _training(table: Table) -> RichTable:
    out = _table_of("us/step", "samples/s", "GFLOP/s", "of peak", "vs NumPy", "fastnet lead")
    for row in table.rows:
        out.add_row(
            row.label,
            significant(row.us),
            scaled(row.rows_per_second),
            significant(row.gflops),
            percent(row.share_of_peak),
            times(row.times_numpy),
            _lead(row),
            style=_style(row),
        )
    return out


def _prediction(tables: Sequence[Table]) -> RichTable:
    """Return predictions side by side: a column for each network, with the lead of fastnet."""
    out = _table_of(*(f"{table.network} {table.layers}" for table in tables))
    styles = {row.label: _style(row) for table in tables for row in table.rows}
    for label, style in styles.items():
        cells = [{row.label: _cell(row) for row in table.rows}.get(label, "-") for table in tables]
        out.add_row(label, *cells, style=style)
    return out


def _cell(row: Row) -> str:
    return f"{significant(row.us)} {f'({lead})' if (lead := _lead(row)) else '       '}"


def _grid(grid: Grid) -> RichTable:
    first, *others = map(escape, grid.head)
    out = _table_of(*others, first=first)
    for index, cells in enumerate(grid.rows):
        out.add_row(*map(escape, cells), style="bold" if index in grid.bold else "")
    return out


def _table_of(*columns: str, first: str = "contender") -> RichTable:
    out = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    out.add_column(first, no_wrap=True)
    for column in columns:
        out.add_column(column, justify="right", no_wrap=True)
    return out


def _lead(row: Row) -> str:
    """Return how much faster the fastest fastnet backend is; nothing in its own row."""
    return "" if row.times_fastnet == 1.0 else times(row.times_fastnet)


def _style(row: Row) -> str:
    return "bold" if row.kind == "fastnet" else ""
