"""The plan of a network: shapes, offsets and codes, computed once and shared by all backends.

Parameters lie in one flat buffer without padding: first the weights of all dense layers, then
biases, gammas and betas. So the weights that penalties and decay act on are a prefix, and every
update is one pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import activations, initializers
from fastnet.nn.activations import Activation
from fastnet.nn.chain import check_chain
from fastnet.nn.layers import BatchNorm, Block, Dense, Dropout, Layer, LayerNorm, Members, Residual


@dataclass(frozen=True)
class Tensor:
    """A named part of a flat buffer, which belongs to the op of index `op`."""

    name: str
    offset: int
    shape: tuple[int, ...]
    op: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        """The end of its name, such as "weight" or "bias"."""
        return self.name.rpartition(".")[2]

    def view(self, flat: Any) -> Any:
        """Return this part of `flat` (an array of any backend), without a copy."""
        return flat[self.offset : self.offset + self.size].reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Plan:
    """The layout of one network's parameters, running statistics and workspace.

    Attributes
    ----------
    inputs : int
    layers : tuple of Layer
        As they were given: a residual connection holds the layers that it goes around.
    chain : tuple of Layer
        All layers in the order of computation. A residual connection comes behind its layers, where
        it adds.
    names : tuple of str
        The name of each of them, with which those of its parameters begin: ``layers.2`` or, inside
        of a residual connection, ``layers.2.layers.0``.
    ops : (L,) record array
        One record for every layer of the chain, as `fastnet.kernels.abi.OP` describes.
    parameters, state : tuple of Tensor
        The parts of the flat parameters and of the flat running statistics.
    n_weights : int
        Number of weights of dense layers; they are the first parameters.
    width : int
        Workspace elements for each row.
    """

    inputs: int
    layers: tuple[Layer, ...]
    chain: tuple[Layer, ...]
    names: tuple[str, ...]
    ops: NDArray[np.void]
    parameters: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    n_weights: int
    width: int

    def __reduce__(self) -> tuple[Any, ...]:
        # Codes and the layout of records may change from version to version.
        return make_plan, (self.inputs, self.layers)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle from before there was `__reduce__`.
        self.__dict__.update(make_plan(state["inputs"], state["layers"]).__dict__)

    @cached_property
    def outputs(self) -> int:
        """Width of the last layer."""
        return int(self.ops[-1]["outputs"])

    @cached_property
    def ends(self) -> tuple[tuple[int, ...], ...]:
        """For each op, the indices of the residual connections that add its y."""
        adding = self.ops["kind"] == abi.ADD
        found = (np.flatnonzero(adding & (self.ops["skip"] == k)) for k in range(len(self.ops)))
        return tuple(tuple(map(int, ends)) for ends in found)

    @cached_property
    def widest(self) -> int:
        """The largest width of all layers and the input."""
        return max(self.inputs, int(self.ops["outputs"].max()))

    @cached_property
    def scratch_width(self) -> int:
        """The largest width that NumPy needs scratch for in all rows: outputs, normalised units."""
        kinds = (abi.BATCH_NORM, abi.LAYER_NORM)
        widths = (int(op["outputs"]) for op in self.ops if op["kind"] in kinds)
        return max([self.outputs, *widths])

    @cached_property
    def size(self) -> int:
        """Number of parameters."""
        return sum(tensor.size for tensor in self.parameters)

    @cached_property
    def state_size(self) -> int:
        """Number of running statistics."""
        return sum(tensor.size for tensor in self.state)

    @cached_property
    def output_activation(self) -> Activation:
        """The activation of the last layer."""
        return activations.BY_CODE[int(self.ops[-1]["activation"])]

    @cached_property
    def flops(self) -> int:
        """Floating-point operations per row of the matrix products in one training step.

        A dense layer takes 2 I O forward, as much for dw, and as much for dx, which the first layer
        does not need. The zeros outside of blocks count, though some backends leave them out.
        """
        unneeded = 2 * self._products[0] if self.ops[0]["kind"] == abi.DENSE else 0
        return 6 * sum(self._products) - unneeded

    @cached_property
    def product_flops(self) -> int:
        """Floating-point operations per row of the largest matrix product."""
        return 2 * max(self._products)

    @cached_property
    def _products(self) -> list[int]:
        dense = [op for op in self.ops if op["kind"] == abi.DENSE]
        return [int(op["inputs"] * op["outputs"]) for op in dense]

    @cached_property
    def uses_batch_statistics(self) -> bool:
        """Whether rows of a batch influence one another (batch normalisation)."""
        return any(isinstance(layer, BatchNorm) for layer in self.chain)

    @cached_property
    def least_rows(self) -> int:
        """Number of rows that a batch of training must have: two for batch normalisation.

        A single row has no variance. It would be normalised to 0, and its values would move the
        running statistics as much as a whole batch does.
        """
        return 2 if self.uses_batch_statistics else 1

    def require_batch(self, rows: int) -> None:
        """Raise `InputError` unless a network can be trained on batches of so many rows."""
        if rows < self.least_rows:
            raise InputError(
                f"batch normalisation needs at least {self.least_rows} rows in a batch of "
                f"training, got {rows}: give more rows or a larger batch_size, or normalise by "
                f"LayerNorm."
            )

    def initial_parameters(self, seed: int, dtype: Any) -> NDArray[Any]:
        """Return the flat initial parameters (P,) for `seed`."""
        flat = np.zeros(self.size)
        for index, (layer, op) in enumerate(zip(self.chain, self.ops, strict=True)):
            if isinstance(layer, Dense):
                weights = _initial_weights(layer, int(op["inputs"]), seed, index)
                flat[op["weight"] :][: weights.size] = weights.ravel()
                shape, stream = (1, layer.units), index + _BIASES
                biases = initializers.draw(layer.bias_initializer, *shape, seed=seed, stream=stream)
                flat[op["bias"] :][: layer.units] = biases.ravel()
            elif op["weight"] >= 0:
                flat[op["weight"] :][: op["outputs"]] = 1.0
        return flat.astype(dtype)

    @cached_property
    def has_rates(self) -> bool:
        """Whether some parameters have their own learning rate or are frozen."""
        dense = [layer for layer in self.chain if isinstance(layer, Dense)]
        return any(d.blocks or (d.weight_rate, d.bias_rate) != (1.0, 1.0) for d in dense)

    def rates(self, dtype: Any) -> NDArray[Any] | None:
        """Return each parameter's factor on the learning rate (P,), or None if all factors are 1.

        Weights outside the blocks of a dense layer have the factor 0, so they stay 0.
        """
        if not self.has_rates:
            return None
        flat = np.ones(self.size, dtype)
        for tensor in self.parameters:
            layer = self.chain[tensor.op]
            if not isinstance(layer, Dense):
                continue
            values = tensor.view(flat)
            if tensor.kind == "bias":
                values[...] = layer.bias_rate
            elif tensor.kind == "weight":
                values[...] = layer.weight_rate if layer.blocks is None else 0.0
                for rows, columns, block in block_places(layer.blocks or ()):
                    values[rows, columns] = layer.weight_rate * block.rate
        return flat

    def learns(self) -> NDArray[np.bool_] | None:
        """Return which parameters may change (P,), or None if all may."""
        rates = self.rates(np.float64)
        return None if rates is None else rates != 0

    def initial_state(self, dtype: Any) -> NDArray[Any]:
        """Return the flat running statistics (S,): means 0, variances 1."""
        flat = np.zeros(self.state_size, dtype)
        for tensor in self.state:
            if tensor.name.endswith("running_var"):
                tensor.view(flat)[...] = 1.0
        return flat


_BLOCKS, _BIASES = 2**20, 2**31
"""First random streams of blocks and of biases; those of whole layers are below."""


def block_places(blocks: tuple[Block, ...]) -> Iterator[tuple[slice, slice, Block]]:
    """Yield the rows and columns of each block in the weights (I, O) of its layer."""
    row = column = 0
    for block in blocks:
        rows, columns = slice(row, row + block.inputs), slice(column, column + block.outputs)
        row, column = rows.stop, columns.stop
        yield rows, columns, block


def _initial_weights(layer: Dense, inputs: int, seed: int, index: int) -> NDArray[np.float64]:
    """Return the initial weights (I, O) of a dense layer."""
    if layer.blocks is None:
        assert layer.initializer is not None
        return initializers.draw(layer.initializer, inputs, layer.units, seed=seed, stream=index)
    weights = np.zeros((inputs, layer.units))
    for k, (rows, columns, block) in enumerate(block_places(layer.blocks)):
        stream = (index + 1) * _BLOCKS + k
        name, shape = block.initializer, (block.inputs, block.outputs)
        weights[rows, columns] = initializers.draw(name, *shape, seed=seed, stream=stream)
    return weights


def make_plan(inputs: int, layers: tuple[Layer, ...]) -> Plan:
    """Return the plan of a chain of layers; raise `InputError` if they form no network.

    `fastnet.nn.member_plan.plan_of` does so for layers with `Members` among them too.
    """
    check_chain(inputs, layers)
    assert not any(isinstance(layer, Members) for layer in layers)
    places = _unfold(layers)
    chain, names = tuple(p.layer for p in places), tuple(p.name for p in places)
    ops = np.zeros(len(chain), abi.OP)
    for field in ("weight", "bias", "state", "xhat", "skip"):
        ops[field] = -1
    parameters: list[Tensor] = []
    state: list[Tensor] = []
    _place_widths(inputs, chain, ops)
    _place_skips(places, ops)
    n_weights = _place_parameters(chain, names, ops, parameters)
    _place_state(chain, names, ops, state)
    width = _place_workspace(chain, ops)
    ops.flags.writeable = False
    tensors = tuple(parameters), tuple(state)
    return Plan(inputs, layers, chain, names, ops, *tensors, n_weights, width)


class _Place(NamedTuple):
    """A layer of the chain, its name, and for a residual connection the layer before its first."""

    layer: Layer
    name: str
    skip: int = -1


def _unfold(layers: Sequence[Layer], within: str = "", before: int = 0) -> list[_Place]:
    """Return the chain of layers, `before` of which come before these."""
    places: list[_Place] = []
    for index, layer in enumerate(layers):
        name, count = f"{within}layers.{index}", before + len(places)
        if isinstance(layer, Residual):
            places += _unfold(layer.layers, f"{name}.", count)
        places.append(_Place(layer, name, count - 1))
    return places


def _place_skips(places: list[_Place], ops: NDArray[np.void]) -> None:
    """Fill in ``skip`` and ``joins``."""
    for place, op in zip(places, ops, strict=True):
        if isinstance(place.layer, Residual):
            op["skip"] = place.skip
            if place.skip >= 0:
                ops[place.skip]["joins"] += 1


def _place_widths(inputs: int, layers: tuple[Layer, ...], ops: NDArray[np.void]) -> None:
    """Fill in codes and widths."""
    width = inputs
    for index, (layer, op) in enumerate(zip(layers, ops, strict=True)):
        op["kind"], op["stream"], op["inputs"] = layer.code, index, width
        if isinstance(layer, Dense):
            width = layer.units
        op["outputs"] = width
        op["activation"] = activations.get(getattr(layer, "activation", "identity")).code
        if isinstance(layer, Dropout):
            op["rate"] = layer.rate
        if isinstance(layer, BatchNorm | LayerNorm):
            op["epsilon"] = layer.epsilon
        if isinstance(layer, BatchNorm):
            op["momentum"] = layer.momentum


def _place_parameters(
    layers: tuple[Layer, ...],
    names: tuple[str, ...],
    ops: NDArray[np.void],
    tensors: list[Tensor],
) -> int:
    """Fill in ``weight`` and ``bias``; return the number of dense weights."""
    named: list[Tensor] = []
    offset = 0
    for index, (layer, op) in enumerate(zip(layers, ops, strict=True)):
        if isinstance(layer, Dense):
            shape = int(op["inputs"]), int(op["outputs"])
            op["weight"] = offset
            named.append(Tensor(f"{names[index]}.weight", offset, shape, index))
            offset += named[-1].size
    n_weights = offset
    for index, (layer, op) in enumerate(zip(layers, ops, strict=True)):
        if isinstance(layer, Dropout | Residual):
            continue
        vector = (int(op["outputs"]),)
        if not isinstance(layer, Dense):
            op["weight"] = offset
            named.append(Tensor(f"{names[index]}.weight", offset, vector, index))
            offset += vector[0]
        op["bias"] = offset
        named.append(Tensor(f"{names[index]}.bias", offset, vector, index))
        offset += vector[0]
    # Readers expect the order of the layers, in which offsets need not increase.
    tensors.extend(sorted(named, key=lambda t: (t.op, t.name.endswith("bias"))))
    return n_weights


def _place_state(
    layers: tuple[Layer, ...],
    names: tuple[str, ...],
    ops: NDArray[np.void],
    tensors: list[Tensor],
) -> None:
    """Fill in ``state``."""
    offset = 0
    for index, (layer, op) in enumerate(zip(layers, ops, strict=True)):
        if isinstance(layer, BatchNorm):
            op["state"] = offset
            for name in ("running_mean", "running_var"):
                shape = (int(op["outputs"]),)
                tensors.append(Tensor(f"{names[index]}.{name}", offset, shape, index))
                offset += shape[0]


def _place_workspace(layers: tuple[Layer, ...], ops: NDArray[np.void]) -> int:
    """Fill in ``x``, ``y``, ``z`` and ``xhat``; return the width of the workspace."""
    before, offset = -1, 0
    for index, (layer, op) in enumerate(zip(layers, ops, strict=True)):
        width = int(op["outputs"])
        op["x"], op["y"] = before, offset
        offset += width
        op["z"] = op["y"]
        # The output layer keeps its z too, for the fused losses.
        last = index == len(layers) - 1
        if activations.BY_CODE[int(op["activation"])].keeps_z or last:
            op["z"] = offset
            offset += width
        if not isinstance(layer, Dense | Residual):
            op["xhat"] = offset
            offset += width
            if isinstance(layer, LayerNorm):
                offset += 1  # 1 / deviation of each row, right behind its xhat
        before = int(op["y"])
    return offset
