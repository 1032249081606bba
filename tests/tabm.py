"""TabM in NumPy, float64, written from its paper without fastnet: outputs, loss and gradients.

k members, B rows, I inputs, hidden layers of H units, O outputs. Parameters go by the names that a
network with `fastnet.Members` in front gives them, and gradients by those of their parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = dict[str, Array]


def layers_of(parameters: Parameters) -> list[int]:
    """Return the numbers of the dense layers, the last of which has weights (k, H, O)."""
    return sorted({int(name.split(".")[1]) for name in parameters})


def forward(
    parameters: Parameters, x: Array, masks: dict[int, Array] | None = None
) -> tuple[Array, dict[int, Array]]:
    """Return the outputs (k, B, O) before softmax, and what each layer takes in, (k, B, width).

    Parameters
    ----------
    x : (k, B, I)
        A batch for each member.
    masks : dict of int to (k, B, H), optional
        Those of dropout behind layers: 0 or ``1 / (1 - rate)``.
    """
    a, taken = x, {}
    *hidden, last = layers_of(parameters)
    for k in hidden:
        taken[k] = a
        r, s = (parameters.get(f"layers.{k}.{name}_scale") for name in ("input", "output"))
        u = (a if r is None else a * r[:, None]) @ parameters[f"layers.{k}.weight"]
        bias = parameters[f"layers.{k}.bias"]
        z = (u if s is None else u * s[:, None]) + (bias[:, None] if bias.ndim == 2 else bias)
        a = np.maximum(z, 0.0) * (1.0 if masks is None else masks[k])
    taken[last] = a
    return a @ parameters[f"layers.{last}.weight"] + parameters[f"layers.{last}.bias"][
        :, None
    ], taken


def softmax(o: Array) -> Array:
    """Return the softmax over the last axis."""
    e = np.exp(o - o.max(-1, keepdims=True))
    result: Array = e / e.sum(-1, keepdims=True)
    return result


def loss_of(o: Array, y: Array) -> tuple[float, Array]:
    """Return the mean loss of members and rows, and its gradient (k, B, O).

    Cross-entropy for classes y (k, B) of int, squared errors for numbers (k, B, O).
    """
    k, rows, width = o.shape
    if y.dtype.kind == "i":
        p, hot = softmax(o), np.eye(width)[y]
        return float(-np.log((p * hot).sum(-1)).mean()), (p - hot) / (k * rows)
    e = o - y
    return float((e * e).mean()), 2.0 * e / e.size


def gradients(
    parameters: Parameters, x: Array, y: Array, masks: dict[int, Array] | None = None
) -> tuple[float, Parameters]:
    """Return the loss and the gradients of all parameters."""
    o, taken = forward(parameters, x, masks)
    loss, d = loss_of(o, y)
    *hidden, last = layers_of(parameters)
    made = {f"layers.{last}.weight": taken[last].transpose(0, 2, 1) @ d}
    made[f"layers.{last}.bias"] = d.sum(1)
    da, above = d @ parameters[f"layers.{last}.weight"].transpose(0, 2, 1), taken[last]
    for k in reversed(hidden):
        # A mask is never negative: so a > 0 exactly where z > 0 and the unit was kept.
        da = np.where(above > 0, da * (1.0 if masks is None else masks[k]), 0.0)
        a, w = taken[k], parameters[f"layers.{k}.weight"]
        r, s = (parameters.get(f"layers.{k}.{name}_scale") for name in ("input", "output"))
        scaled = a if r is None else a * r[:, None]
        own = parameters[f"layers.{k}.bias"].ndim == 2
        made[f"layers.{k}.bias"] = da.sum(1) if own else da.sum((0, 1))
        if s is not None:
            made[f"layers.{k}.output_scale"] = (da * (scaled @ w)).sum(1)
            da = da * s[:, None]
        made[f"layers.{k}.weight"] = np.einsum("mbi,mbo->io", scaled, da)
        da = da @ w.T
        if r is not None:
            made[f"layers.{k}.input_scale"] = (da * a).sum(1)
            da = da * r[:, None]
        above = a
    return loss, made
