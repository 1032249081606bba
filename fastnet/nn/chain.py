"""A chain of layers: the short form that makes one, and what makes it a network."""

from __future__ import annotations

from typing import Any

from fastnet.errors import InputError
from fastnet.nn import activations
from fastnet.nn.layers import Dense, Layer, Residual, require_layer
from fastnet.utils.names import ActivationName
from fastnet.utils.param_validation import LARGEST, check_int


def chain(
    sizes: list[int] | tuple[int, ...],
    activation: ActivationName,
    output_activation: ActivationName,
) -> tuple[int, tuple[Layer, ...]]:
    """Return the inputs and the dense layers of the short form ``[inputs, hidden..., outputs]``."""
    if len(sizes) < 2:
        raise InputError(
            f"layers must name at least the inputs and the outputs, as in [784, 128, 10], got "
            f"{list(sizes)!r}."
        )
    inputs, *hidden, outputs = (check_int("a layer's size", size, most=LARGEST) for size in sizes)
    activations.get(activation)
    layers = [Dense(units, activation) for units in hidden]
    return inputs, (*layers, Dense(outputs, output_activation))


def check_chain(inputs: int, layers: tuple[Any, ...]) -> None:
    """Raise `InputError` unless the layers form a network."""
    width = check_int("inputs", inputs, most=LARGEST)
    for index, layer in enumerate(layers):
        where = f"layers[{index}]"
        require_layer(layer, where)
        width = _check_layer(width, layer, where, last=index == len(layers) - 1)
    if not layers or not isinstance(layers[-1], Dense):
        raise InputError("the last layer must be Dense: it makes the outputs.")


def _check_layer(width: int, layer: Layer, where: str, *, last: bool) -> int:
    """Return the width behind a layer; raise `InputError` if it may not stand there."""
    before = width
    row = activations.get(getattr(layer, "activation", "identity"))
    if row.output_only and not last:
        raise InputError(
            f"{where} has the activation {row.name!r}, which only the last layer may have."
        )
    if isinstance(layer, Dense):
        blocks = sum(block.inputs for block in layer.blocks or ())
        if layer.blocks is not None and blocks != width:
            raise InputError(
                f"the blocks of {where} must have {width} inputs in all, got {blocks}."
            )
        width = layer.units
    if isinstance(layer, Residual):
        for index, inner in enumerate(layer.layers):
            width = _check_layer(width, inner, f"{where}.layers[{index}]", last=False)
        if width != before:
            raise InputError(
                f"{where} adds its input, of width {before}, to what its layers make of it, of "
                f"width {width}: its last Dense must have {before} units."
            )
    if row.output_only and width == 1:
        raise InputError(
            f"{row.name} of one output is 1 for every row: give one output 'sigmoid' for yes "
            f"or no, or have two outputs."
        )
    return width
