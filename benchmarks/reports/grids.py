"""Kernels, widths, start-up and learning as plain tables of texts, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fastnet.benchmarks.reports.report import (
    Curve,
    KernelTable,
    Report,
    microseconds,
    percent,
    significant,
)


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first column names the row.

    Attributes
    ----------
    title, about : str
    head : tuple of str
    rows : sequence of tuple of str
    bold : frozenset of int
        Rows that are fastnet's own.
    notes : tuple of str
        Lines below.
    """

    title: str
    about: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    bold: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


_LIMITS: Final = {
    "fma": "the measured peak of fused multiply-adds",
    "copy": "the measured rate of copying as many bytes",
    "read": "the measured rate of reading as many bytes",
}


def grids(report: Report) -> Iterator[Grid]:
    """Yield the tables of all parts but the ladder."""
    if report.startup:
        yield startup_grid(report)
    if report.learning:
        yield learning_grid(report)
    for curve in report.widths:
        yield width_grid(curve)
    for table in report.kernels:
        yield kernel_grid(table)


def startup_grid(report: Report) -> Grid:
    """Return the times of whole processes."""
    return Grid(
        "start-up",
        "whole Python process, files cached; median and fastest",
        ("process", "ms", "fastest"),
        [(s.what, significant(s.ms), significant(min(s.ms_runs))) for s in report.startup],
        frozenset(i for i, s in enumerate(report.startup) if s.kind == "fastnet"),
    )


def learning_grid(report: Report) -> Grid:
    """Return time and accuracy on Fashion-MNIST."""
    rows = [
        (row.label, f"{row.seconds:.2f}", f"{100 * row.accuracy:.1f} %", str(row.threads))
        for row in report.learning
    ]
    return Grid(
        "fashion-mnist",
        "784-128-10, relu, Adam, batch 128, 10 epochs; compilation outside",
        ("contender", "seconds", "accuracy", "threads"),
        rows,
        frozenset(i for i, row in enumerate(report.learning) if row.kind == "fastnet"),
    )


def width_grid(curve: Curve) -> Grid:
    """Return the curve as a table, with what falls too far."""
    fallen = {fall.width: fall for fall in curve.falls}
    rows = []
    for width, us, gflops in zip(curve.widths, curve.us, curve.gflops, strict=True):
        fall = fallen.get(width)
        text = f"{percent(fall.ratio)} of width {fall.before}" if fall else ""
        if fall and fall.vectors:
            text += " (a vector begun)"
        rows.append((str(width), significant(us), significant(gflops), text))
    threads = f"{curve.threads} thread{'s' * (curve.threads != 1)}"
    return Grid(
        f"widths, at most {threads}",
        f"{curve.layers}, relu, batch {curve.batch}, a training step",
        ("H", "us/step", "GFLOP/s", "falls by more than 15 % to"),
        rows,
        notes=(falls_text(curve),),
    )


def falls_text(curve: Curve) -> str:
    """Return in a sentence whether the throughput falls by more than is allowed anywhere."""
    if not curve.falls:
        return "no width has less than 85 % of the FLOP/s of the one before"
    where = ", ".join(
        f"{fall.width}{' (another vector begins)' * fall.vectors}" for fall in curve.falls
    )
    return f"less than 85 % of the FLOP/s of the width before: at {where}"


def kernel_grid(table: KernelTable) -> Grid:
    """Return the versions of a kernel side by side: time and share of the limit."""
    sizes = dict.fromkeys(row.size for row in table.rows)
    found = {(row.size, row.version): row for row in table.rows}
    names = [name for name in table.versions if any(row.version == name for row in table.rows)]
    lines = []
    for size in sizes:
        cells = []
        for name in names:
            row = found.get((size, name))
            cells.append(f"{microseconds(row.us)} ({percent(row.share)})" if row else "-")
        lines.append((size, *cells))
    worst = {name: max(row.error for row in table.rows if row.version == name) for name in names}
    lines.append(("largest error", *(f"{worst[name]:.1f} {table.unit}" for name in names)))
    return Grid(
        table.kernel,
        f"one thread; in brackets the share of {_LIMITS[table.limit]}",
        ("size", *(f"{name} *" if name == table.production else name for name in names)),
        lines,
        notes=(
            "* what fastnet uses",
            *(f"{name}: {table.versions[name]}" for name in names),
        ),
    )
