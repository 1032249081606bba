"""The report of a training as one page: no script, no other file, nothing from the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from fastnet.data.frame import Inputs
from fastnet.report import charts, measures
from fastnet.report.axes import short
from fastnet.report.layers import COLUMNS, layer_rows
from fastnet.report.measures import Calibration, Confusion, Residuals
from fastnet.report.style import CSS
from fastnet.training.history import History

if TYPE_CHECKING:
    from fastnet.network import Network

_MATRIX: Final = 25
"""A confusion matrix of more classes than this cannot be read: then the mistakes alone."""

_MISTAKES: Final = 8
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Shown:
    """Rows with known answers that the network was not trained on, and what they are called."""

    what: str
    x: Inputs
    y: NDArray[Any]


def page(
    network: Network,
    history: History,
    *,
    title: str,
    command: str,
    facts: Iterable[tuple[str, object]],
    tested: Mapping[str, float],
    shown: Shown,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    command : str
        The command line that trained the network.
    facts : (name, value) pairs
        What the page begins with.
    tested : dict of str to float
        Metrics of the test split; empty without one.
    shown : Shown
        The rows that confusion, calibration or residuals are of.
    """
    output = network.predict(shown.x)
    names = network.output_schema.answer_names
    found = [charts.curve_chart(curve) for curve in measures.curves(history)]
    parts = [
        f"<header><h1>{escape(title)}</h1></header>",
        _facts(facts),
        f"<section><h2>Command</h2><pre>{_words(command)}</pre></section>",
        _results(history, tested),
        f'<section><h2>Learning curves</h2><div class="charts">{"".join(found)}</div></section>',
    ]
    if not network.output_schema.are_probabilities:
        several = measures.residuals(network.output_schema, shown.y, output)
        parts.append(_residuals(several, shown.what))
    else:
        if names is not None and (output.shape[1] == 1 or shown.y.ndim == 1):
            parts.append(_confusion(measures.confusion(shown.y, output, names), shown.what))
        parts.append(_calibration(measures.calibration(shown.y, output), network, shown.what))
    parts.append(f"<section><h2>Network</h2>{_table(COLUMNS, layer_rows(network))}</section>")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{CSS}</style>\n</head>\n<body>\n<main>",
            *parts,
            "</main>\n</body>\n</html>\n",
        ]
    )


def _words(command: str) -> str:
    """Return a command line that breaks between its words only."""
    return " ".join(f"<span>{escape(word)}</span>" for word in command.split(" "))


def _facts(facts: Iterable[tuple[str, object]]) -> str:
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts
    )
    return f'<section><dl class="facts">{cells}</dl></section>'


def _results(history: History, tested: Mapping[str, float]) -> str:
    """Return the metrics of the epoch that was kept, and those of the test split."""
    best = history.best_epoch
    last = history.epochs.index(best) if best in history.epochs else -1
    rows = []
    stems = [name.removeprefix("val_") for name in history if name != "learning_rate"]
    for name in dict.fromkeys([*stems, *tested]):
        cells = [history.get(name), history.get(f"val_{name}")]
        values = [None if cell is None else cell[last] for cell in cells]
        rows.append([name, *(_number(value) for value in (*values, tested.get(name)))])
    columns = ["", "training", "validation", "test"]
    used = [k for k in range(4) if k == 0 or any(row[k] for row in rows)]
    table = _table([columns[k] for k in used], [[row[k] for k in used] for row in rows])
    epoch = f"after epoch {history.epochs[last]}" if history.epochs else "before any epoch"
    kept = f"{epoch}, the best of {len(history.epochs)}" if best is not None else epoch
    return f'<section><h2>Results</h2><p class="soft">{kept}</p>{table}</section>'


def _confusion(found: Confusion, what: str) -> str:
    """Return the matrix, coloured by the shares of each class, and the most frequent mistakes."""
    parts = []
    if len(found.names) <= _MATRIX:
        head = "".join(f"<th>{escape(name)}</th>" for name in found.names)
        lines = []
        for i, name in enumerate(found.names):
            cells = "".join(_cell(found, i, j) for j in range(len(found.names)))
            lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
        parts.append(
            f'<table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table>"
        )
    mistakes = found.mistakes(_MISTAKES)
    if mistakes and len(found.names) > 2:
        parts.append("<p>Most frequent mistakes</p>")
        rows = [(name, answer, f"{count:,}") for name, answer, count in mistakes]
        parts.append(_table(("class", "answer", "rows"), rows, "fit"))
    about = f"rows are classes, columns answers; {escape(what)}"
    return f'<section><h2>Confusion</h2><p class="soft">{about}</p>{"".join(parts)}</section>'


def _cell(found: Confusion, i: int, j: int) -> str:
    count, fraction = int(found.counts[i, j]), float(found.shares[i, j])
    shade = fraction**0.5  # so that a few mistakes are seen beside many right answers
    kinds = [
        *(["right"] if i == j else []),
        *(["strong"] if shade > 0.6 else []),
        *([] if count else ["none"]),
    ]
    style = f'class="{" ".join(kinds)}" style="--share: {shade:.3f}" title="{fraction:.1%}"'
    return f"<td {style}>{count:,}</td>"


def _calibration(found: Calibration, network: Network, what: str) -> str:
    about = f"calibration error {short(found.error)}; {escape(what)}"
    if network.temperature is not None:
        about += f"; calibrated at temperature {network.temperature:.4g}"
    chart = charts.calibration_chart(found)
    return (
        f'<section><h2>Calibration</h2><p class="soft">{about}</p>'
        f'<div class="charts">{chart}</div></section>'
    )


def _residuals(several: Sequence[Residuals], what: str) -> str:
    parts = []
    for found in several:
        drawn = charts.prediction_chart(found) + charts.residual_chart(found)
        parts.append(f'<div class="charts">{drawn}</div>')
        if found.covered:
            rows = [(name, f"{e:.1%}", f"{fraction:.1%}") for name, e, fraction in found.covered]
            parts.append(_table((found.name, "expected share", "share of rows"), rows))
    return (
        f'<section><h2>Predictions</h2><p class="soft">{escape(what)}</p>{"".join(parts)}</section>'
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f"<tr><th>{escape(first)}</th>{cells}</tr>")
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<table class="{style}">{body}</table>'


def _number(value: float | None) -> str:
    return "" if value is None else short(value)
