"""`FunctionLoss`: a function of the caller's as the loss that training minimises.

The function is ``f(output, target) -> (loss, gradient)`` on arrays of the network's backend:
NumPy's, or CuPy's on a GPU. Its loss is one of two things, and the gradient goes with it:

- the loss of each row (B,), and the derivative (B, O) of each row's loss by that row's outputs. The
  loss of the batch is their mean, weighted where there are sample weights;
- one number, the loss of the batch, and its derivative (B, O), in which a mean has its ``1 / B``.

The derivative is by the outputs as `Network.predict` returns them, after the last activation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.nn import losses
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.batch import Array
from fastnet.nn.loss_arrays import LossArrays
from fastnet.nn.losses import Loss
from fastnet.utils.device_arrays import on_host
from fastnet.utils.names import ActivationName, LossName
from fastnet.utils.serialize import read_fields, read_value

LossFunction = Callable[[Any, Any], tuple[Any, Any]]
"""``f(output, target) -> (loss, gradient)``."""

AnyLoss = LossName | Loss | LossFunction

_KIND: Final = "function"


@dataclass(frozen=True)
class FunctionLoss(Loss):
    """A function of the caller's as a loss; `fit` makes one of a function that it is given.

    Parameters
    ----------
    function : callable or None
        None in a network from a model file, which holds the function's name alone.
    function_name : str
    activation : str
        The activation of the network's last layer.
    """

    function: LossFunction | None
    function_name: str
    activation: ActivationName

    name: ClassVar[str] = _KIND
    formula: ClassVar[str] = "what the function returns"
    output_activations: ClassVar[tuple[str, ...]] = tuple(ACTIVATIONS)
    metric: ClassVar[Literal["accuracy", "r2"] | None] = None

    @property
    def output_activation(self) -> ActivationName:
        return self.activation

    @property
    def title(self) -> str:
        return f"{self.function_name}, a function"

    def value_and_derivative(self, output: Array, target: Array) -> tuple[Any, Array]:
        """Return what the function returns for outputs (B, O) and targets (B, T), after checks.

        Returns
        -------
        (float, (B, O) array) or ((B,) array, (B, O) array)
            The derivative has the dtype of `output`.

        Raises
        ------
        InputError
            It is no pair, or a part has another shape, or holds no real numbers.
        """
        assert self.function is not None
        # Copies: the function may write into its arguments.
        returned = self.function(output.copy(), target.copy())
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            several = isinstance(returned, tuple | list)
            got = f"{len(returned)} values" if several else _shown(returned)
            raise InputError(f"{self._must} return (loss, gradient), got {got}.")
        loss, gradient = (self._numbers(part, output) for part in returned)
        if gradient.shape != output.shape:
            raise InputError(
                f"{self._must} return a gradient of the shape of the outputs, {output.shape}, got "
                f"{gradient.shape}."
            )
        if loss.shape not in ((), (len(output),)):
            raise InputError(
                f"{self._must} return one number, or the loss of each row, ({len(output)},), got "
                f"the shape {loss.shape}."
            )
        with np.errstate(over="ignore"):  # infinity is found where it matters
            gradient = gradient.astype(output.dtype, copy=False)
        return (float(loss) if loss.ndim == 0 else loss), gradient

    def _numbers(self, part: Any, like: Array) -> Array:
        """Return a part of what the function returned as an array of numbers."""
        values = part
        if not isinstance(part, type(like)):
            values = np.asarray(on_host("what a loss returned", part))
        if values.dtype.kind not in "iuf":
            raise InputError(f"{self._must} return real numbers, got {_shown(part)}.")
        return values

    def require_weightless(self, value: Any) -> None:
        """Raise `InputError` for one number as the loss of rows that have weights."""
        if isinstance(value, float):
            raise InputError(
                f"{self._must} return the loss of each row, (B,), and the derivative of each row's "
                "loss, to be used with sample weights: one number for all rows leaves no room for "
                "them."
            )

    @property
    def _must(self) -> str:
        return f"the loss {self.function_name!r} must"

    def gradient(self, h: LossArrays) -> None:
        """Refuse: a function may have one number for all rows; see `value_and_derivative`."""
        raise InputError(
            f"the loss {self.function_name!r} is a function of your own: call it as it is."
        )

    def comparable(self, metric: str, target: NDArray[Any], outputs: int) -> NDArray[Any]:
        """Return targets (N, T) as metrics of fastnet compare them with outputs (N, O).

        After softmax they are class indices (N,).

        Raises
        ------
        InputError
            The targets are neither the outputs' targets nor, after softmax, classes.
        """
        columns = target.shape[1]
        if self.activation == "softmax" and columns == 1:
            labels: NDArray[Any] = target[:, 0].astype(np.int64)
            if (labels == target[:, 0]).all() and labels.min() >= 0 and labels.max() < outputs:
                return labels
        elif columns == outputs:
            return np.argmax(target, axis=1) if self.activation == "softmax" else target
        raise InputError(
            f"the metric {metric!r} needs a target for each of the {outputs} outputs, and the loss "
            f"{self.function_name!r} has other targets: give a function f(target, output) as the "
            "metric."
        )


def get(loss: AnyLoss | None, output_activation: ActivationName) -> Loss:
    """Return the loss for a name, an instance, a function or None, as `losses.get` does.

    Raises
    ------
    InputError
        The name is unknown, the loss does not fit the output activation, or its function is not
        known, since it comes from a model file.
    """
    made = read(loss, output_activation)
    if isinstance(made, FunctionLoss) and made.function is None:
        name = made.function_name
        raise InputError(
            f"the network was trained with the function {name!r} as its loss, which a model file "
            f"cannot hold: give it again, as in net.loss = {name}, or another loss."
        )
    return losses.get(None, output_activation) if made is None else made


def read(loss: AnyLoss | None, output_activation: ActivationName) -> Loss | None:
    """Return the loss that a network may have: None, or of a function that is not known, too."""
    if loss is None:
        return None
    if isinstance(loss, FunctionLoss):
        return replace(loss, activation=output_activation)
    if isinstance(loss, str | Loss | type) or not callable(loss):
        return losses.get(loss, output_activation)  # type: ignore[arg-type]
    name = getattr(loss, "__name__", type(loss).__name__)
    return FunctionLoss(loss, name, output_activation)


def to_dict(loss: Loss) -> dict[str, Any]:
    """Return a loss as plain JSON values; of a function, its name."""
    if isinstance(loss, FunctionLoss):
        return {"loss": _KIND, "function_name": loss.function_name}
    return losses.to_dict(loss)


def from_dict(values: Any, output_activation: ActivationName) -> Loss:
    """Return the loss that `to_dict` described; raise `InputError` for anything else."""
    if isinstance(values, dict) and values.get("loss") == _KIND:
        fields = read_fields(values, "a loss that is a function", ("loss", "function_name"))
        name = read_value(fields["function_name"], "the function's name", str)
        return FunctionLoss(None, name, output_activation)
    return losses.from_dict(values, output_activation)


def _shown(value: Any) -> str:
    kind = getattr(value, "dtype", None)
    return f"an array of {kind}" if kind is not None else f"{value!r:.60}"
