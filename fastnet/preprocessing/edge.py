"""Where a network meets a table: its preprocessor, learned in the first ``fit`` and used after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.frame import Frame, as_frame
from fastnet.data.text import Texts
from fastnet.errors import InputError
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric
from fastnet.preprocessing import samples
from fastnet.preprocessing.table import TablePreprocessor, split_target
from fastnet.preprocessing.target import TableTarget, target_columns

if TYPE_CHECKING:
    from fastnet.network import Network

Task = Literal["classification", "regression"]

SCALED: Final = ("mse", "mae", "huber", "quantile", "gaussian_nll")
"""Losses whose targets are scaled, where the outputs may be any number."""


def learn(
    network: Network,
    x: Any,
    y: Any,
    loss: Loss,
    fraction: float,
    sample_weight: ArrayLike | None,
) -> TablePreprocessor:
    """Return the preprocessor for a network that is about to train on its first table.

    Parameters
    ----------
    fraction : float
        Share of the rows that are held back for validation: nothing is learned from them.
    sample_weight : (N,), optional
        Nothing is learned from rows of weight 0.

    Raises
    ------
    InputError
        The table becomes another number of inputs, or of classes, than the network has.
    """
    frame, names, values = split_target(as_frame(x), y)
    task: Task = "classification" if loss.metric == "accuracy" else "regression"
    kept = training_rows(len(frame), fraction, network.seed, sample_weight)
    columns = target_columns(values, names[0] if names else "target")
    texts = isinstance(columns[0], Texts)
    scaled = loss.name in SCALED and network.plan.output_activation.name == "identity"
    # Numbers of classes, probabilities and numbers that keep their unit need no preparation.
    plain = not names and not (texts if task == "classification" else scaled)
    target = None
    if not plain and task == "classification" and len(columns) > 1:
        nothing = np.zeros(len(columns)), np.ones(len(columns))
        target = TableTarget(names, None, *nothing)
    elif not plain:
        target = TableTarget.learn(values, names, task, kept)
        target = target if scaled else target.unscaled()
    made = TablePreprocessor.fit(frame, rows=kept, seed=network.seed)
    made = made if target is None else made.with_target(target)
    if made.inputs != network.inputs:
        raise InputError(
            f"the table becomes {made.inputs} inputs, and the network has {network.inputs}: make "
            f"it with inputs=fn.tables.TablePreprocessor.fit(x).inputs, or use fn.tables.train."
        )
    labels = None if target is None else target.labels
    outputs = 2 if network.outputs == 1 else network.outputs
    if labels is not None and len(labels) != outputs:
        raise InputError(f"the target has {len(labels)} classes, and the network {outputs}.")
    return made


def training_rows(
    count: int, fraction: float, seed: int, sample_weight: ArrayLike | None
) -> NDArray[np.intp] | None:
    """Return the rows that train, as `rows.split` chooses them; None for all of them."""
    kept = np.arange(count) if not fraction else samples.split_index(count, fraction, seed)[0]
    if sample_weight is not None:
        weight = np.asarray(sample_weight)
        if weight.shape == (count,) and weight.dtype.kind in "biuf":  # else it is refused later
            kept = kept[weight[kept] != 0]
    return None if len(kept) in (0, count) else kept


def encode(
    preprocessor: TablePreprocessor, x: Any, y: Any, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], Any]:
    """Return inputs (N, I) and targets as the network takes them."""
    frame = as_frame(x)
    return preprocessor.transform(frame, dtype), preprocessor.encode_target(frame, y)


def require_plain(x: Any) -> None:
    """Raise `InputError` for a table that only a preprocessor could make inputs of."""
    if not as_frame(x).plain:
        raise InputError(
            "the network has no preprocessor yet, and the table has texts or missing values: call "
            "fit once, with rows that show what its columns are."
        )


def targets(preprocessor: TablePreprocessor, x: Any, y: Any) -> NDArray[Any]:
    """Return targets as class indices (N,), or as numbers in their unit."""
    encoded: NDArray[Any] = preprocessor.encode_target(x, y)
    return encoded if preprocessor.target is None else preprocessor.target.decode(encoded)


def row(preprocessor: TablePreprocessor, values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the inputs (I,) for one row: a dict of values, or values in the order of training."""
    if isinstance(values, Mapping):
        table: Any = {name: np.array([value], object) for name, value in values.items()}
    elif isinstance(values, Frame):
        table = values
    else:
        table = np.array([list(values)], object)
    inputs: NDArray[Any] = preprocessor.transform(table, dtype)[0]
    return inputs


def unscaled(
    preprocessor: TablePreprocessor, metrics: list[tuple[str, Metric]], loss: Loss
) -> list[tuple[str, Metric]]:
    """Return metrics that look at targets and outputs in the unit of the table's targets.

    `loss` is that of the outputs.
    """
    target = preprocessor.target
    if target is None or target.labels is not None:
        return metrics
    decode = target.decode

    def on_decoded(metric: Metric) -> Callable[[Any, Any, Any], float]:
        return lambda targets, output, weight: metric(decode(targets), decode(output, loss), weight)

    return [(name, on_decoded(metric)) for name, metric in metrics]
