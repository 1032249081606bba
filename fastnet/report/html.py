"""Pages of HTML without a script and any other file; one of them is the report of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from numpy.typing import NDArray

from fastnet.nn.plan import Plan
from fastnet.preprocessing.outputs import OutputSchema
from fastnet.report import figures, measures, svg
from fastnet.report.figures import plain
from fastnet.report.measures import Calibration, Confusion, Residuals
from fastnet.report.style import CSS
from fastnet.report.svg import short

_MATRIX: Final = 25
"""A confusion matrix of more classes than this cannot be read: then the mistakes alone."""

_MISTAKES: Final = 8
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


# --- parts of any page ----------------------------------------------------------------------------


class Markup(str):
    """HTML as it is meant; what is not this gets escaped."""


def text(value: object) -> str:
    """Return HTML that shows a value."""
    return value if isinstance(value, Markup) else escape(plain(str(value)))


def document(title: str, parts: Iterable[str]) -> str:
    """Return a page of these parts."""
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>",
            f"<style>{CSS}</style>\n</head>\n<body>\n<main>",
            *filter(None, parts),
            "</main>\n</body>\n</html>\n",
        ]
    )


def section(title: str, about: str, *parts: str) -> str:
    """Return a box with a heading, a grey line and what follows."""
    heading = f"<h2>{text(title)}</h2>" if title else ""
    line = f'<p class="soft">{text(about)}</p>' if about else ""
    return f"<section>{heading}{line}{''.join(parts)}</section>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values, in as many columns as there is room for."""
    cells = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs
    )
    return f'<dl class="facts">{cells}</dl>'


def table(
    columns: Iterable[object],
    rows: Iterable[Sequence[object]],
    style: str = "",
    row_styles: Sequence[str] = (),
) -> str:
    """Return a table that scrolls where the page is narrower; each row begins with its name."""
    head = "".join(f"<th>{text(name)}</th>" for name in columns)
    lines = []
    for index, (first, *rest) in enumerate(rows):
        kind = f' class="{row_styles[index]}"' if row_styles and row_styles[index] else ""
        cells = "".join(f"<td>{text(cell)}</td>" for cell in rest)
        lines.append(f"<tr{kind}><th>{text(first)}</th>{cells}</tr>")
    return wide(
        f'<table class="{style}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def wide(content: str) -> str:
    """Return content in a box that scrolls by itself."""
    return f'<div class="wide">{content}</div>'


def charts(panels: Iterable[figures.Panel]) -> str:
    """Return figures side by side, where there is room."""
    return f'<div class="charts">{"".join(map(svg.draw, panels))}</div>'


# --- the report of a training ---------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """Rows with known answers, and what the network says to them.

    Attributes
    ----------
    what : str
        What the rows are called.
    targets : (N,) class indices, or (N,) or (N, T)
    outputs : (N, O)
    """

    what: str
    targets: NDArray[Any]
    outputs: NDArray[Any]


def page(
    plan: Plan,
    schema: OutputSchema,
    *,
    title: str,
    command: str,
    about: Iterable[tuple[str, object]],
    epochs: list[int],
    records: Mapping[str, list[float]],
    best_epoch: int | None,
    tested: Mapping[str, float],
    shown: Shown,
    temperature: float | None = None,
) -> str:
    """Return the report of a training as HTML.

    Parameters
    ----------
    command : str
        The command line that trained the network.
    about : (name, value) pairs
        What the page begins with.
    epochs, records, best_epoch
        As in `fastnet.History`.
    tested : dict of str to float
        Metrics of the test split; empty without one.
    shown : Shown
        The rows that confusion, calibration or residuals are of.
    temperature : float, optional
        The network was calibrated with it.
    """
    curves = measures.curves(epochs, records, best_epoch)
    # Words of the command break between one another only.
    words = " ".join(f"<span>{text(word)}</span>" for word in command.split(" "))
    parts = [
        f"<header><h1>{text(title)}</h1></header>",
        section("", "", facts(about)),
        section("Command", "", f"<pre>{words}</pre>"),
        _results(epochs, records, best_epoch, tested),
        section(
            "Learning curves", "", charts(panel for c in curves for panel in figures.panels(c))
        ),
    ]
    predictions = []
    for found in measures.of_rows(schema, shown.targets, shown.outputs):
        if isinstance(found, Confusion):
            parts.append(_confusion(found, shown.what))
        elif isinstance(found, Calibration):
            parts.append(_calibration(found, temperature, shown.what))
        else:
            predictions.append(_residuals(found))
    if predictions:
        parts.append(section("Predictions", shown.what, *predictions))
    parts.append(section("Network", "", table(measures.LAYER_COLUMNS, measures.layer_rows(plan))))
    return document(title, parts)


def _results(
    epochs: Sequence[int],
    records: Mapping[str, list[float]],
    best: int | None,
    tested: Mapping[str, float],
) -> str:
    """Return the metrics of the epoch that was kept, and those of the test split."""
    last = epochs.index(best) if best in epochs else -1
    rows = []
    stems = [name.removeprefix("val_") for name in records if name != "learning_rate"]
    for name in dict.fromkeys([*stems, *tested]):
        cells = [records.get(name), records.get(f"val_{name}")]
        values = [None if cell is None else cell[last] for cell in cells]
        values.append(tested.get(name))
        rows.append([name, *("" if value is None else short(value) for value in values)])
    columns = ["", "training", "validation", "test"]
    used = [k for k in range(4) if k == 0 or any(row[k] for row in rows)]
    epoch = f"after epoch {epochs[last]}" if epochs else "before any epoch"
    kept = f"{epoch}, the best of {len(epochs)}" if best is not None else epoch
    return section(
        "Results", kept, table([columns[k] for k in used], [[row[k] for k in used] for row in rows])
    )


def _confusion(found: Confusion, what: str) -> str:
    """Return the matrix, coloured by the shares of each class, and the most frequent mistakes."""
    parts = []
    if len(found.names) <= _MATRIX:
        head = "".join(f"<th>{text(name)}</th>" for name in found.names)
        lines = []
        for i, name in enumerate(found.names):
            cells = "".join(_cell(found, i, j) for j in range(len(found.names)))
            lines.append(f"<tr><th>{text(name)}</th>{cells}</tr>")
        matrix = f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        parts.append(wide(f'<table class="confusion">{matrix}</table>'))
    mistakes = found.mistakes(_MISTAKES)
    if mistakes and len(found.names) > 2:
        rows = [(name, answer, f"{count:,}") for name, answer, count in mistakes]
        parts.append("<p>Most frequent mistakes</p>")
        parts.append(table(("class", "answer", "rows"), rows, "fit"))
    return section("Confusion", f"rows are classes, columns answers; {what}", *parts)


def _cell(found: Confusion, i: int, j: int) -> str:
    count, fraction = int(found.counts[i, j]), float(found.shares[i, j])
    shade = fraction**0.5  # so that a few mistakes are seen beside many right answers
    kinds = ("right", i == j), ("strong", shade > 0.6), ("none", not count)
    shown = " ".join(kind for kind, holds in kinds if holds)
    style = f'class="{shown}" style="--share: {shade:.3f}" title="{fraction:.1%}"'
    return f"<td {style}>{count:,}</td>"


def _calibration(found: Calibration, temperature: float | None, what: str) -> str:
    told = "" if temperature is None else f"; calibrated at temperature {temperature:.4g}"
    return section("Calibration", f"{what}{told}", charts(figures.panels(found)))


def _residuals(found: Residuals) -> str:
    """Return the figures of one target, and how often the network was right about itself."""
    rows = [(name, f"{e:.1%}", f"{fraction:.1%}") for name, e, fraction in found.covered]
    covered = table((found.name, "expected share", "share of rows"), rows) if rows else ""
    return charts(figures.panels(found)) + covered
