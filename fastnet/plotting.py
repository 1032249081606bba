"""Pictures through matplotlib, which is imported here and nowhere else."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.frame import Inputs
from fastnet.errors import FastNetError
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.report import measures
from fastnet.report.measures import Calibration, Confusion, Residuals

if TYPE_CHECKING:
    from fastnet.network import Network
    from fastnet.training.history import History

SUFFIXES = ".png", ".svg", ".pdf"
_NUMBERED = 12
"""A confusion matrix of up to so many classes shows its numbers."""


def plot_history(history: History, path: str | PathLike[str] | None = None) -> Any:
    """Draw the learning curves of `history`; training and validation share a panel."""
    found = measures.curves(history)
    figure, axes = _figure(max(len(found), 1))
    marker = "o" if len(history.epochs) == 1 else None
    for axis, curve in zip(axes, found, strict=False):
        for name, values in (("training", curve.training), ("validation", curve.validation)):
            if values is not None:
                axis.plot(curve.epochs, values, marker=marker, label=name)
        if curve.best_epoch is not None:
            axis.axvline(curve.best_epoch, color="0.6", linestyle=":", label="best epoch")
        axis.set(xlabel="epoch", title=curve.name.replace("_", " "))
        if curve.logarithmic:
            axis.set_yscale("log")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    return _saved(figure, path)


def plot_predictions(
    network: Network, x: Inputs, y: ArrayLike, path: str | PathLike[str] | None = None
) -> Any:
    """Draw how well `network` does on rows with known answers.

    For classes the confusion matrix and the calibration; for numbers, of each target, predictions
    and residuals with their quantiles.

    Parameters
    ----------
    x : (N, I), or a table
    y : (N,) class indices, or (N,) or (N, T) numbers; of a table also what ``fit`` takes
    path : str or PathLike, optional
        Where to save the picture; the ending (.png, .svg, .pdf) says how.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if isinstance(network.preprocessor, TablePreprocessor):
        y = network.preprocessor.targets(x, y)
    targets, output, names = np.asarray(y), network.predict(x), network.output_schema.answer_names
    if not network.output_schema.are_probabilities:
        several = measures.residuals(network.output_schema, targets, output)
        figure, axes = _figure(2 * len(several), per_row=2)
        for k, found in enumerate(several):
            _draw_predictions(axes[2 * k], found)
            _draw_residuals(axes[2 * k + 1], found)
        return _saved(figure, path)
    # Several yes-or-no answers at once are no classes to be confused.
    confusable = names is not None and (targets.ndim == 1 or output.shape[1] == 1)
    figure, axes = _figure(1 + confusable)
    if names is not None and confusable:
        _draw_confusion(figure, axes[0], measures.confusion(targets, output, names))
    _draw_calibration(axes[-1], measures.calibration(targets, output))
    return _saved(figure, path)


def _figure(panels: int, per_row: int = 4) -> tuple[Any, list[Any]]:
    """Return a figure and its panels."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FastNetError("plotting needs matplotlib: pip install 'fastnet-mlp[plot]'.") from None
    columns = min(panels, per_row)
    rows = -(-panels // columns)
    # A Figure of its own, not pyplot's: no window, no global state.
    figure = Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, list(axes[:panels])


def _saved(figure: Any, path: str | PathLike[str] | None) -> Any:
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _draw_confusion(figure: Any, axis: Any, found: Confusion) -> None:
    image = axis.imshow(found.shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(found.names))
    if len(found.names) <= 2 * _NUMBERED:
        turned = 90 if max(map(len, found.names)) > 3 else 0
        axis.set_xticks(places, found.names, rotation=turned)
        axis.set_yticks(places, found.names)
    if len(found.names) <= _NUMBERED:
        for i in places:
            for j in places:
                colour = "white" if found.shares[i, j] > 0.5 else "0.2"
                style = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
                axis.text(j, i, f"{found.counts[i, j]:,}", **style)
    axis.set(xlabel="answer", ylabel="class", title="confusion")
    figure.colorbar(image, ax=axis, label="share of the class", shrink=0.85)


def _draw_calibration(axis: Any, found: Calibration) -> None:
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="perfect")
    axis.plot(found.sure, found.right, label="answers")
    axis.scatter(found.sure, found.right, s=15 + 250 * found.fraction, alpha=0.6)
    title = f"calibration, error {found.error:.3f}"
    axis.set(xlabel="probability of the answer", ylabel="share that is right", title=title)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.05))
    axis.grid(alpha=0.3)
    axis.legend()


def _draw_predictions(axis: Any, found: Residuals) -> None:
    both = np.concatenate([found.target, found.prediction])
    ends = [both.min(), both.max()]
    axis.scatter(found.prediction, found.target, s=9, alpha=0.4, linewidths=0, rasterized=True)
    axis.plot(ends, ends, color="0.6", linestyle=":", label="perfect")
    axis.set(xlabel="prediction", ylabel="target", title=found.name)
    axis.grid(alpha=0.3)
    axis.legend()


def _draw_residuals(axis: Any, found: Residuals) -> None:
    residual = found.target - found.prediction
    axis.scatter(found.prediction, residual, s=9, alpha=0.3, linewidths=0, rasterized=True)
    for q, values in zip(measures.RESIDUAL_QUANTILES, found.quantiles.T, strict=True):
        style = "-" if q == 0.5 else "--"
        axis.plot(found.centres, values, style, color="C1", label=f"{100 * q:.0f} % quantile")
    title = f"residuals of {found.name}"
    axis.set(xlabel="prediction", ylabel="target - prediction", title=title)
    axis.grid(alpha=0.3)
    axis.legend()
