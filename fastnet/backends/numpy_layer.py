"""What the NumPy engine keeps of one layer: its record, and views of the flat buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi
from fastnet.nn import activations, strips
from fastnet.nn.activations import Activation
from fastnet.nn.batch import Array
from fastnet.nn.layers import Block
from fastnet.nn.strips import Strip

STRIP: Final = 64
"""Strips are multiples of so many columns: each takes a call of BLAS, which costs microseconds."""


@dataclass(slots=True)
class Layer:
    """One layer's record of the plan, and views of its parameters, gradients and workspace."""

    op: NDArray[np.void]
    activation: Activation
    w: Array  # (I, O) of a dense layer, gamma (O,) of a normalisation
    b: Array  # (O,), or beta
    dw: Array
    db: Array
    running_mean: Array  # (O,)
    running_var: Array
    by_columns: list[Strip]  # the parts of w that products need; none: all of it
    by_rows: list[Strip]
    y: Array = None  # (rows, O)
    z: Array = None
    dz: Array = None  # first the gradient with respect to y, then to z
    xhat: Array = None  # normalised input, or dropout mask
    scale: Array = None  # 1 / deviation: (1, O) of a batch, (rows, 1) of a layer normalisation

    @classmethod
    def of(
        cls,
        op: NDArray[np.void],
        blocks: Sequence[Block],
        parameters: Array,
        gradients: Array,
        state: Array,
    ) -> Self:
        """Return the layer of a record and with these blocks, still without a workspace."""
        inputs, outputs, running = int(op["inputs"]), int(op["outputs"]), int(op["state"])
        shape = (inputs, outputs) if op["kind"] == abi.DENSE else (outputs,)

        def view(flat: Array, offset: int, shape: tuple[int, ...]) -> Array:
            return (
                flat[offset : offset + int(np.prod(shape))].reshape(shape) if offset >= 0 else None
            )

        return cls(
            op=op,
            activation=activations.BY_CODE[int(op["activation"])],
            w=view(parameters, int(op["weight"]), shape),
            b=view(parameters, int(op["bias"]), (outputs,)),
            dw=view(gradients, int(op["weight"]), shape),
            db=view(gradients, int(op["bias"]), (outputs,)),
            running_mean=view(state, running, (outputs,)),
            running_var=view(state, running + outputs if running >= 0 else -1, (outputs,)),
            by_columns=_parts(strips.of_columns, blocks),
            by_rows=_parts(strips.of_rows, blocks),
        )

    def times_weights(self, out: Array, x: Array) -> None:
        """``out = x @ w``."""
        if not self.by_columns:
            np.matmul(x, self.w, out=out)
        for strip in self.by_columns:
            w = self.w[strip.rows, strip.columns]
            np.matmul(x[:, strip.rows], w, out=out[:, strip.columns])

    def set_weight_gradient(self, x: Array, dz: Array) -> None:
        """``dw = x.T @ dz``; what lies between the strips stays 0."""
        if not self.by_columns:
            np.matmul(x.T, dz, out=self.dw)
        for strip in self.by_columns:
            dw = self.dw[strip.rows, strip.columns]
            np.matmul(x[:, strip.rows].T, dz[:, strip.columns], out=dw)

    def times_turned_weights(self, out: Array, dz: Array) -> None:
        """``out = dz @ w.T``."""
        if not self.by_rows:
            np.matmul(dz, self.w.T, out=out)
        for strip in self.by_rows:
            w = self.w[strip.rows, strip.columns]
            np.matmul(dz[:, strip.columns], w.T, out=out[:, strip.rows])


def _parts(
    divide: Callable[[Sequence[Block], int], list[Strip]], blocks: Sequence[Block]
) -> list[Strip]:
    """Return the strips of a layer with these blocks, none where one would be all of w."""
    parts = divide(blocks, STRIP) if blocks else []
    return parts if len(parts) > 1 else []
