"""The `Preprocessor` protocol: users' data becomes inputs, and outputs become predictions.

Every network always has a preprocessor. `Passthrough` only checks arrays, `Scaler` standardises
them, `TablePreprocessor` encodes the columns of a table. Data is checked and converted once, here;
all other code works on finite arrays of the network's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.nn.losses import Loss
from fastnet.preprocessing import validation
from fastnet.preprocessing.target import TableTarget
from fastnet.utils.device_arrays import on_host
from fastnet.utils.param_validation import refuse_masked

Array = NDArray[Any]

Description = tuple[dict[str, Any], dict[str, Array]]
"""Plain JSON values, and arrays by name."""


class Preprocessor(Protocol):
    """Converts a user's data for a network with I inputs and O outputs for T targets; N rows."""

    @property
    def inputs(self) -> int:
        """I, the number of inputs of the network."""
        ...

    @property
    def target(self) -> TableTarget | None:
        """The names, encoding and scale of the targets; None if they are used unchanged."""
        ...

    def transform(self, x: Any, dtype: np.dtype[Any], name: str = "x") -> Array:
        """Return the inputs (N, I), finite and C-contiguous, for rows x; `name` is for messages.

        Raises
        ------
        InputError, DataError
            x does not fit.
        """
        ...

    def transform_row(self, row: Any, dtype: np.dtype[Any]) -> Array:
        """Return the inputs (I,) for one row, with low latency."""
        ...

    def encode(self, x: Any, y: Any, dtype: np.dtype[Any], name: str = "x") -> tuple[Array, Any]:
        """Return the inputs of rows x, and their targets y as the network learns them."""
        ...

    def decode(self, outputs: Array, loss: Loss | None) -> Array:
        """Return outputs (..., O) in the unit of the targets."""
        ...

    def input_scale(self) -> NDArray[np.float64] | None:
        """Return the divisor of each input (I,); None if gradients are by the network's inputs."""
        ...

    def description(self) -> Description:
        """Return a description that restores it, for model files and fingerprints."""
        ...


@dataclass(frozen=True, eq=False)
class Passthrough:
    """The preprocessor that checks arrays of numbers and leaves them unchanged.

    Attributes
    ----------
    inputs : int
        I, the number of columns.
    target : TableTarget or None
    """

    inputs: int
    target: TableTarget | None = None

    def transform(self, x: Any, dtype: np.dtype[Any], name: str = "x") -> Array:
        """Return x as a finite, C-contiguous array (N, I)."""
        return validation.inputs(name, x, self.inputs, dtype)

    def transform_row(self, row: Any, dtype: np.dtype[Any]) -> Array:
        """Return one row (I,); only its length is checked."""
        return as_row(row, self.inputs, dtype)

    def encode(self, x: Any, y: Any, dtype: np.dtype[Any], name: str = "x") -> tuple[Array, Any]:
        """Return x and y, checked and encoded."""
        return self.transform(x, dtype, name), encode_target(self.target, y)

    def decode(self, outputs: Array, loss: Loss | None) -> Array:
        """Return outputs (..., O) in the unit of the targets."""
        return outputs if self.target is None else self.target.decode(outputs, loss)

    def input_scale(self) -> None:
        """Return None: inputs are not scaled."""

    def description(self) -> Description:
        """Return the description of the target, if there is one."""
        return describe_target(self.target)


def encode_target(target: TableTarget | None, y: Any) -> Any:
    """Return the encoded targets for values y."""
    if y is None:
        raise InputError("expected targets: give y.")
    return y if target is None else target.encode(on_host("y", y))


def describe_target(target: TableTarget | None) -> Description:
    """Return a target as JSON values and arrays, which are empty for None."""
    if target is None:
        return {}, {}
    content, arrays = target.description()
    return {"target": content}, arrays


def as_row(row: Any, inputs: int, dtype: np.dtype[Any]) -> Array:
    """Return one row as an array (I,)."""
    refuse_masked("row", row)
    try:
        values = np.ascontiguousarray(on_host("row", row), dtype)
    except (TypeError, ValueError):
        raise InputError(f"row must hold {inputs} numbers.") from None
    if values.shape != (inputs,):
        raise InputError(f"row must have the shape ({inputs},), got {values.shape}.")
    return values
