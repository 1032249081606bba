"""`LossArrays`: what a loss reads and writes for one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.errors import InputError
from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]
Labels = NDArray[np.int64]


@dataclass(slots=True)
class LossArrays:
    """The arrays that a loss reads and writes for one batch of B rows.

    Attributes
    ----------
    y, z : (B, O)
        The network's outputs and their pre-activations.
    labels : (B,) int64, or None
        Class indices.
    target : (B, T), or None
        Targets of the other losses.
    d : (B, O)
        Output: the gradient of each row's loss.
    row : (B,)
        Output: the loss or the score of each row.
    s, t : (B, O)
        Scratch.
    best : (B,) intp
        Scratch.
    """

    y: Array
    z: Array
    labels: Labels | None
    target: Array | None
    d: Array
    row: Array
    s: Array
    t: Array
    best: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        output: ArrayLike,
        target: ArrayLike,
        activation: str | None,
        outputs_per_target: int,
        classes: bool,
    ) -> Self:
        """Return new arrays for outputs (B, O) and targets of a user, after checking them.

        `activation` is the loss's `fused_activation`; with `classes`, targets may be indices (B,).
        """
        y = np.asarray(on_host("output", output))
        if y.dtype not in (np.float32, np.float64) or y.ndim != 2 or not y.size:
            raise InputError(
                f"output must be an array (rows, outputs) of float32 or float64, got the shape "
                f"{y.shape} of {y.dtype}."
            )
        rows, outputs = y.shape
        given, labels = np.asarray(on_host("target", target)), None
        if classes and given.ndim == 1 and given.dtype.kind in "iu":
            labels = given.astype(np.int64)
            if len(labels) != rows or labels.min() < 0 or labels.max() >= outputs:
                raise InputError(f"target must be {rows} class indices from 0 to {outputs - 1}.")
        else:
            columns, left = divmod(outputs, outputs_per_target)
            given = given[:, None] if given.ndim == 1 and columns == 1 else given
            if left or given.shape != (rows, columns) or given.dtype.kind not in "biuf":
                raise InputError(
                    f"target must be an array ({rows}, {columns}) of numbers for {outputs} "
                    f"outputs, got the shape {given.shape} of {given.dtype}."
                )
            given = given.astype(y.dtype)
        d, s, t = np.empty_like(y), np.empty_like(y), np.empty_like(y)
        row, best = np.empty(rows, y.dtype), np.empty(rows, np.intp)
        z = _logits_of(activation, y)
        return cls(y, z, labels, None if labels is not None else given, d, row, s, t, best)


def _logits_of(activation: str | None, y: Array) -> Array:
    """Return pre-activations whose outputs are y, up to a constant for softmax."""
    if activation is None:
        return y
    least = np.finfo(y.dtype).tiny
    z: Array = np.log(np.maximum(y, least))
    return z - np.log(np.maximum(1 - y, least)) if activation == "sigmoid" else z


def derivative_by_outputs(activation: str, d: Array, y: Array) -> None:
    """Turn the derivative by logits in d to the one by the outputs y, in place."""
    least = np.finfo(y.dtype).tiny
    if activation == "softmax":
        # The target is y - d, and the derivative of -t log y is -t / y.
        d -= y
        d /= np.maximum(y, least)
    else:
        d /= np.maximum(y * (1 - y) if activation == "sigmoid" else y, least)
