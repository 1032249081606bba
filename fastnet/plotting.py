"""Plots of a training run and of predictions, as .png, .svg or .pdf; they need matplotlib."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.frame import Inputs
from fastnet.network import Network
from fastnet.populations.ensemble import Ensemble
from fastnet.report import figures, measures
from fastnet.report.measures import Confusion
from fastnet.training.history import History
from fastnet.utils.device_arrays import on_host

SUFFIXES = ".png", ".svg", ".pdf"


def plot_history(history: History, path: str | PathLike[str] | None = None) -> Any:
    """Draw the learning curves of `history`; see `fastnet.History.plot`."""
    return history.plot(path)


def plot_predictions(
    network: Network | Ensemble, x: Inputs, y: ArrayLike, path: str | PathLike[str] | None = None
) -> Any:
    """Compare the predictions of a network or an ensemble with targets.

    A classifier gets its confusion matrix and calibration curve; a regressor, for each target, its
    predictions and its residuals with their quantiles.

    Parameters
    ----------
    network : Network or Ensemble
    x : (N, I), or a table
    y : (N,) class indices, (N,) or (N, T) numbers, or any other target of ``fit``
    path : str or PathLike, optional
        File to save; its ending (.png, .svg, .pdf) chooses the format.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x, y = on_host("x", x), on_host("y", y)
    encoded = network.preprocessor.encode(x, y, np.dtype(np.float64))[1]
    target = network.preprocessor.target
    true = encoded if target is None else target.decode(encoded)
    found = measures.of_rows(network.output_schema, np.asarray(true), network.predict_columns(x))
    shown: list[figures.Panel | Confusion] = []
    for one in found:
        shown += [one] if isinstance(one, Confusion) else figures.panels(one)
    return figures.draw(shown, path, columns=2)
