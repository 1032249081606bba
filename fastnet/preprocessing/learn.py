"""Fitting of the preprocessor in a network's first ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.frame import Frame, as_frame
from fastnet.data.text import Texts
from fastnet.errors import InputError
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.losses import Loss
from fastnet.nn.plan import Plan
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.samples import Samples, training_rows
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.statistics import mean_and_scale
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget, split_target, target_columns

Array = NDArray[Any]

SCALED: Final = ("mse", "mae", "huber", "quantile", "gaussian_nll")
"""Losses with scaled targets, if the outputs may be any number."""


def scales_targets(loss: Loss, output_activation: str) -> bool:
    """Return whether a table's targets are scaled for this loss and output activation."""
    return loss.name in SCALED and output_activation == "identity"


def learn_table(
    plan: Plan,
    seed: int,
    frame: Frame,
    y: Any,
    loss: Loss,
    fraction: float = 0.0,
    sample_weight: ArrayLike | None = None,
    categorical: Sequence[str] = (),
) -> TablePreprocessor:
    """Fit the preprocessor for a network that will train on its first table.

    Parameters
    ----------
    fraction : float
        Fraction of the rows that are held out for validation; they are not used.
    sample_weight : (N,), optional
        How often each row counts; see `TablePreprocessor.fit`.
    categorical : sequence of str
        See `TablePreprocessor.fit`.

    Raises
    ------
    InputError
        The table gives another number of inputs or classes than the network has.
    """
    inputs, names, values = split_target(frame, y)
    kept = training_rows(len(frame), fraction, seed), sample_weight
    target = _learn_target(plan, names, values, loss, *kept)
    how: dict[str, Any] = {"rows": kept[0], "sample_weight": kept[1]}
    made = TablePreprocessor.fit(inputs, **how, seed=seed, categorical=categorical)
    made = made if target is None else made.with_target(target)
    require_fit(made, plan)
    return made


def require_fit(made: TablePreprocessor, plan: Plan) -> None:
    """Raise `InputError` unless a table gives the inputs and classes that a network has."""
    if made.inputs != plan.inputs:
        raise InputError(
            f"the table becomes {made.inputs} inputs, and the network has {plan.inputs}: make "
            f"it with inputs=fn.tables.TablePreprocessor.fit(x).inputs, or use fn.tables.train."
        )
    labels, outputs = made.label_names, 2 if plan.outputs == 1 else plan.outputs
    if labels is not None and len(labels) != outputs:
        raise InputError(f"the target has {len(labels)} classes, and the network {outputs}.")


def _learn_target(
    plan: Plan,
    names: tuple[str, ...],
    values: Any,
    loss: Loss,
    rows: NDArray[np.intp] | None,
    sample_weight: ArrayLike | None,
) -> TableTarget | None:
    """Return the target; None for class indices and numbers that need no encoding."""
    task: Literal["classification", "regression"] = "regression"
    if loss.metric == "accuracy":
        task = "classification"
    columns = target_columns(values, names[0] if names else "target")
    texts = isinstance(columns[0], Texts) or columns[0].dtype.kind == "b"
    if texts and isinstance(loss, FunctionLoss) and loss.activation in ("softmax", "sigmoid"):
        task = "classification"
    scaled = scales_targets(loss, plan.output_activation.name)
    if not names and not (texts if task == "classification" else scaled):
        return None
    if task == "classification" and len(columns) > 1:
        return TableTarget.plain(names, None, len(columns))
    target = TableTarget.learn(values, names, task, rows, sample_weight)
    return target if scaled else target.unscaled()


def learn_scaler(
    plan: Plan,
    seed: int,
    before: Passthrough | Scaler,
    x: Any,
    y: Any,
    loss: Loss,
    fraction: float = 0.0,
    sample_weight: ArrayLike | None = None,
    *,
    inputs: bool = True,
    targets: bool = False,
    counts_weights: bool = True,
) -> Passthrough | Scaler:
    """Fit the scale of inputs or targets to the rows that are neither held out nor of weight 0.

    Sample weights count, since they stand for rows; class weights do not.

    Parameters
    ----------
    before : Passthrough or Scaler
        A scaler counts its rows so far too.
    inputs, targets : bool
        What to scale.
    counts_weights : bool, default True
        False as in version 0.1.
    """
    float64 = np.dtype(np.float64)
    rows, given = Passthrough(before.inputs, before.target).encode(x, y, float64)
    samples = Samples.check(plan, float64, loss, rows, given, sample_weight)
    if fraction:
        samples, _ = samples.split(fraction, seed)
    samples = samples.weighted()
    values, weight = samples.rows.x, samples.rows.weight if counts_weights else None
    if targets:
        scale = mean_and_scale(samples.targets, samples.rows.weight)
        before = replace(before, target=scaled_target(before.target, *scale))
    if not inputs:
        return before
    if isinstance(before, Scaler):
        return before.plus(values, weight)
    return Scaler.fit(values, before.target, sample_weight=weight)


def scaled_target(target: TableTarget | None, mean: Array, scale: Array) -> TableTarget:
    """Return the target of arrays with that mean and scale (T,)."""
    if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
        raise InputError("y is too large to be scaled: its deviation is not finite in float64.")
    return TableTarget(() if target is None else target.names, None, mean, scale)


def require_scalable(loss: Loss, output_activation: str) -> None:
    """Raise `InputError` for a loss or an output that knows no other unit of its targets."""
    if not scales_targets(loss, output_activation):
        raise InputError(
            f"standardize_targets goes with the losses {', '.join(SCALED)} and the output "
            f"activation 'identity', got {loss.title!r} and {output_activation!r}."
        )


def require_plain(x: Any) -> None:
    """Raise `InputError` for a table that needs a `TablePreprocessor`."""
    if not as_frame(x).plain:
        raise InputError(
            "the network has no preprocessor yet, and the table has texts or missing values: call "
            "fit once, with rows that show what its columns are."
        )
