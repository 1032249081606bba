"""Figures: what each one shows, as a `Panel`, and the pictures that matplotlib makes of them.

A panel knows no file format: `fastnet.report.svg` draws it for a page, `draw` through matplotlib,
which is imported here and nowhere else, and only when a picture is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.errors import FastNetError
from fastnet.report.measures import Calibration, Confusion, Curve, Residuals
from fastnet.report.style import LIGHT

_NUMBERED: Final = 12
"""A confusion matrix of up to so many classes shows its numbers; of twice as many, its names."""

_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VERBATIM: Final = {"parse_math": False, "usetex": False}
"""Names come from users: a dollar sign in one begins no formula."""

Array = NDArray[Any]


# --- what is drawn --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """Points (N,) of one kind in one colour; those that are not finite are left out.

    Attributes
    ----------
    name : str
        The entry in the legend, shared by series of the same name; without a name there is none.
    style : str
        A colour of `fastnet.report.style.LIGHT`, or ``guide``: a thin dashed line.
    kind : {"line", "points", "rings", "bars"}
        Bars lie along x and begin at 0, on a logarithmic axis at 1.
    fractions : (N,), optional
        The area of each point is proportional to it.
    notes : sequence of str
        What is written behind each bar, or appears when the mouse is over a point.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    style: str
    kind: Literal["line", "points", "rings", "bars"] = "line"
    fractions: Array | None = None
    notes: Sequence[str] = ()

    @property
    def points(self) -> Array:
        """The points (N, 2)."""
        return np.column_stack([np.asarray(self.x, np.float64), np.asarray(self.y, np.float64)])


@dataclass(frozen=True)
class Axis:
    """An axis; without `ends` it spans all points, without `ticks` it has round numbers."""

    label: str = ""
    logarithmic: bool = False
    ends: tuple[float, float] | None = None
    ticks: Sequence[tuple[float, str]] = ()
    integers: bool = False


@dataclass(frozen=True)
class Panel:
    """Series on one pair of axes; a vertical line marks the epoch `best`."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    best: float | None = None


def panels(found: Curve | Calibration | Residuals) -> list[Panel]:
    """Return the panels of a measurement: one, or two of residuals."""
    if isinstance(found, Curve):
        return [_curve(found)]
    return [_calibration(found)] if isinstance(found, Calibration) else _residuals(found)


def _curve(curve: Curve) -> Panel:
    """Return one metric over the epochs."""
    parts = ("training", "second", curve.training), ("validation", "lead", curve.validation)
    epochs = curve.epochs
    ends = (epochs[0], epochs[-1]) if len(epochs) > 1 else None
    return Panel(
        curve.name.replace("_", " "),
        Axis("epoch", ends=ends, integers=True),
        Axis(logarithmic=curve.logarithmic),
        [Series(name, epochs, values, style) for name, style, values in parts if values],
        curve.best_epoch,
    )


def _calibration(found: Calibration) -> Panel:
    """Return the fraction of right answers over their probability; the diagonal is perfect."""
    rows = zip(found.fraction, found.sure, found.right, strict=True)
    notes = [f"{100 * f:.1f} % of the answers: {s:.3f} sure, {r:.3f} right" for f, s, r in rows]
    # The axes go a little beyond 1, so that large dots at certainty are whole.
    return Panel(
        f"calibration, error {found.error:.4f}",
        Axis("probability of the answer", ends=(0, 1.03)),
        Axis("share that is right", ends=(0, 1.05)),
        [
            Series("perfect", [0, 1], [0, 1], "guide"),
            Series("answers", found.sure, found.right, "lead"),
            Series("", found.sure, found.right, "lead", "points", found.fraction, notes),
        ],
    )


def _residuals(found: Residuals) -> list[Panel]:
    """Return targets over predictions, and residuals over predictions with their quantiles."""
    both = np.concatenate([found.target, found.prediction])
    both = both[np.isfinite(both)]
    ends = [both.min(), both.max()] if both.size else []
    residual, (low, median, high) = found.target - found.prediction, found.quantiles.T
    targets = [
        Series("rows", found.prediction, found.target, "lead", "points"),
        Series("perfect", ends, ends, "guide"),
    ]
    residuals = [
        Series("rows", found.prediction, residual, "third", "points"),
        Series("median", found.centres, median, "lead"),
        Series("10 and 90 %", found.centres, low, "second"),
        Series("10 and 90 %", found.centres, high, "second"),
    ]
    x = Axis("prediction")
    return [
        Panel(found.name, x, Axis("target"), targets),
        Panel(f"residuals of {found.name}", x, Axis("target - prediction"), residuals),
    ]


def plain(text: str) -> str:
    """Return a text without the characters that XML does not allow."""
    return _NOT_XML.sub("\ufffd", text)


def short_name(text: str, longest: int = 40) -> str:
    """Return a name in one line of at most so many characters."""
    text = " ".join(plain(text).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# --- through matplotlib ---------------------------------------------------------------------------


def draw(
    shown: Sequence[Panel | Confusion], path: str | PathLike[str] | None = None, columns: int = 4
) -> Any:
    """Return a `matplotlib.figure.Figure` with panels side by side; `path` says where to save it.

    Raises
    ------
    FastNetError
        There is no matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FastNetError("plotting needs matplotlib: pip install 'fastnet-mlp[plot]'.") from None
    count = max(1, len(shown))
    columns = min(count, columns)
    rows = -(-count // columns)
    # A Figure of its own, not pyplot's: no window, no global state.
    figure = Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_visible(False)
    for axis, one in zip(axes, shown, strict=False):
        if isinstance(one, Confusion):
            _draw_confusion(figure, axis, one)
        else:
            _draw_panel(axis, one)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _draw_panel(axis: Any, panel: Panel) -> None:
    """Draw a panel as `fastnet.report.svg` does, but every point of it."""
    names: dict[str, str | None] = {"": None}
    for series in panel.series:
        x, y = series.points.T
        # An entry in the legend for the first series of a name.
        style = {"label": names.setdefault(series.name, series.name)}
        names[series.name] = None
        style["color"] = LIGHT["soft" if series.style == "guide" else series.style]
        if series.kind == "line":
            dashes = ":" if series.style == "guide" else "-"
            axis.plot(x, y, dashes, marker="o" if len(x) == 1 else None, **style)
        elif series.kind == "bars":
            start = 1 if panel.x.logarithmic else 0
            axis.barh(y, x - start, left=start, **style)
        elif series.kind == "rings":
            axis.plot(x, y, "o", fillstyle="none", **style)
        else:
            area = 9 if series.fractions is None else 15 + 250 * series.fractions
            axis.scatter(x, y, area, alpha=0.6, linewidths=0, rasterized=True, **style)
    if panel.best is not None:
        axis.axvline(panel.best, color=LIGHT["soft"], linestyle=":", label="best epoch")
    for letter, one in ("x", panel.x), ("y", panel.y):
        # The scale comes first, because it resets the marks.
        axis.set(**{f"{letter}scale": "log" if one.logarithmic else "linear"})
        if one.ends is not None:
            axis.set(**{f"{letter}lim": one.ends})
        if one.ticks:
            getattr(axis, f"set_{letter}ticks")(*zip(*one.ticks, strict=True), **_VERBATIM)
        if one.integers:
            getattr(axis, f"{letter}axis").get_major_locator().set_params(integer=True)
    _name(axis, panel.title, panel.x.label, panel.y.label)
    axis.grid(alpha=0.3)
    if panel.series:
        axis.legend()


def _draw_confusion(figure: Any, axis: Any, found: Confusion) -> None:
    """Draw the matrix, coloured by the shares of each class."""
    image = axis.imshow(found.shares, cmap="Blues", vmin=0, vmax=1)
    places, names = range(len(found.names)), [short_name(name, 24) for name in found.names]
    if len(names) <= 2 * _NUMBERED:
        turned = 90 if max(map(len, names)) > 3 else 0
        axis.set_xticks(places, names, rotation=turned, **_VERBATIM)
        axis.set_yticks(places, names, **_VERBATIM)
    if len(names) <= _NUMBERED:
        for (i, j), count in np.ndenumerate(found.counts):
            colour = "white" if found.shares[i, j] > 0.5 else "0.2"
            axis.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    _name(axis, "confusion", "answer", "class")
    figure.colorbar(image, ax=axis, label="share of the class", shrink=0.85)


def _name(axis: Any, title: str, x: str, y: str) -> None:
    for place, name in ("title", title), ("xlabel", x), ("ylabel", y):
        getattr(axis, f"set_{place}")(short_name(name), **_VERBATIM)
