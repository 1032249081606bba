"""Pictures of a training and of a network, as .png, .svg or .pdf; they need matplotlib."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.frame import Inputs
from fastnet.network import Network
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.report import figures, measures
from fastnet.report.measures import Confusion
from fastnet.training.history import History

SUFFIXES = ".png", ".svg", ".pdf"


def plot_history(history: History, path: str | PathLike[str] | None = None) -> Any:
    """Draw the learning curves of `history`, as its method `fastnet.History.plot` does."""
    return history.plot(path)


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
    found = measures.of_rows(network.output_schema, np.asarray(y), network.predict(x))
    shown: list[figures.Panel | Confusion] = []
    for one in found:
        shown += [one] if isinstance(one, Confusion) else figures.panels(one)
    return figures.draw(shown, path, columns=2)
