"""Rows as estimators get them, made what a network takes."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


def dense(x: Any) -> Array:
    """Return `x`, made dense if it is sparse."""
    values: Array = x.toarray() if hasattr(x, "toarray") else x
    return values


def with_weight(x: Array, y: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Return the rows whose weight is not 0: the others are left out of the batches too.

    Where all weights are 0 nothing is left out, and the network says so.
    """
    if weight is None or weight.all() or not weight.any():
        return x, y, weight
    kept = weight != 0
    return x[kept], y[kept], weight[kept]
