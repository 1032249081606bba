"""A chain of layers: the short form that makes one, and what makes it a network."""

from __future__ import annotations

from typing import Any

from fastnet.errors import InputError
from fastnet.nn import activations
from fastnet.nn.layers import Dense, Layer, Members, Residual, require_layer
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
    several = 0
    for index, layer in enumerate(layers):
        where = f"layers[{index}]"
        require_layer(layer, where)
        several += isinstance(layer, Members)
        if isinstance(layer, Members) and several == 1:
            continue  # whether it may stand there is for `fastnet.nn.member_plan` to say
        width = _check_layer(width, layer, where, last=index == len(layers) - 1)
    if not layers or not isinstance(layers[-1], Dense):
        raise InputError("the last layer must be Dense: it makes the outputs.")


def _check_layer(width: int, layer: Layer, where: str, *, last: bool) -> int:
    """Return the width behind a layer; raise `InputError` if it may not stand there."""
    if isinstance(layer, Members):
        raise InputError(
            f"{where} is Members, which stands once, in the list of layers itself: see fn.Members."
        )
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
