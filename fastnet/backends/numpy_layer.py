"""What the NumPy engine keeps of one layer: its record, and views of the flat buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi
from fastnet.nn import activations
from fastnet.nn.activations import Activation
from fastnet.nn.batch import Array


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
    y: Array = None  # (rows, O)
    z: Array = None
    dz: Array = None  # first the gradient with respect to y, then to z
    xhat: Array = None  # normalised input, or dropout mask
    scale: Array = None  # 1 / deviation: (1, O) of a batch, (rows, 1) of a layer normalisation

    @classmethod
    def of(cls, op: NDArray[np.void], parameters: Array, gradients: Array, state: Array) -> Self:
        """Return the layer of a record, still without a workspace."""
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
        )
