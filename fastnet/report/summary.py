"""What a console and a notebook show of a network and of a training: text, and HTML in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.plan import Plan
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.outputs import OutputSchema
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.report import figures, html, measures, svg

INPUTS: Final[dict[type, str]] = {
    Passthrough: "as they are",
    Scaler: "standardised",
    TablePreprocessor: "made of a table's columns",
}

_ROWS: Final = 8
"""About so many epochs of a history are shown."""

_MOST: Final = 6
"""Names of a long list that are shown."""


class Summary(str):
    """A text that shows as it is, in a console and in a notebook, without ``print``."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Described:
    """What there is to say of a network beside its weights."""

    plan: Plan
    dtype: np.dtype[Any]
    backend: str
    preprocessor: Preprocessor
    schema: OutputSchema
    temperature: float | None

    def text(self) -> Summary:
        """Return a table of the layers, with totals and further facts below."""
        rows = measures.layer_rows(self.plan)
        facts = self._facts()
        width = max(len(name) for name, _ in facts)
        lines = [f"{name:{width}}  {value}" for name, value in facts]
        return Summary("\n".join([*_aligned(measures.LAYER_COLUMNS, rows), "", *lines]))

    def html(self, title: str) -> str:
        """Return the same as HTML."""
        about = "<br>".join(f"{html.text(k)}: {html.text(v)}" for k, v in self._facts())
        layers = html.table(measures.LAYER_COLUMNS, measures.layer_rows(self.plan))
        return f"<div><strong>{html.text(title)}</strong>{layers}<small>{about}</small></div>"

    def _facts(self) -> list[tuple[str, str]]:
        # How many parameters there are, and how many of them training changes.
        plan, schema = self.plan, self.schema
        learns = plan.learns()
        count = plan.size if learns is None else int(learns.sum())
        learning = "" if count == plan.size else f", {count:,} of them learn"
        found = [("parameters", f"{plan.size:,}{learning}")]
        if isinstance(plan, MemberPlan):
            found.append(("members", measures.members_text(plan)))
        if plan.state_size:
            found.append(("running statistics", f"{plan.state_size:,}"))
        # What goes in and comes out.
        inputs = INPUTS.get(type(self.preprocessor), type(self.preprocessor).__name__)
        found.append(("inputs", f"{plan.inputs}, {inputs}"))
        names = schema.labels or schema.known_targets
        shown = ", ".join(map(figures.short_name, names[:_MOST]))
        more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
        outputs = f"{schema.outputs} ({schema.activation})"
        found.append(("outputs", f"{outputs}: {shown}{more}" if names else outputs))
        found.append(("loss", "not trained yet" if schema.loss is None else schema.loss.title))
        if self.temperature is not None:
            found.append(("calibrated", f"at temperature {self.temperature:.4g}"))
        return [*found, ("computed", f"in {self.dtype.name} on {self.backend}")]


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with its last column on the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = []
    for *cells, last in (columns, *rows):
        left = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False))
        lines.append(f"{left}  {last:>{widths[-1]}}")
    return lines


def history_html(
    title: str, epochs: list[int], records: Mapping[str, list[float]], best_epoch: int | None
) -> str:
    """Return the learning curves and a table of some epochs as HTML."""
    curves = measures.curves(epochs, records, best_epoch)
    panels = [panel for curve in curves for panel in figures.panels(curve)]
    charts = "".join(
        f'<div style="width: 380px">{svg.draw(panel, as_file=True)}</div>' for panel in panels
    )
    places = np.unique(np.linspace(0, len(epochs) - 1, min(_ROWS, len(epochs))).round().astype(int))
    shown = {epochs[place]: place for place in places.tolist()}
    if best_epoch in epochs:
        shown[best_epoch] = epochs.index(best_epoch)
    rows = [
        (epoch, *(svg.short(values[place]) for values in records.values()))
        for epoch, place in sorted(shown.items())
    ]
    lines = html.table(("epoch", *records), rows) if rows else ""
    style = "display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0"
    about = f"<strong>{html.text(title)}</strong>"
    return f'<div>{about}<div style="{style}">{charts}</div>{lines}</div>'
