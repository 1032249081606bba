"""Allocates and lays out the GPU memory of one network: `Memory`.

Scalars that change from step to step are on the device as well, because a launch whose arguments
never change can be recorded once and replayed.

B rows of a batch, I inputs, O outputs, T target columns, P parameters, N rows of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.runtime import Runtime, mask_bytes
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan


@dataclass(slots=True)
class Layer:
    """One layer's record of the plan as Python numbers, with its views, as in the NumPy backend."""

    kind: int
    inputs: int
    outputs: int
    activation: int
    stream: int
    skip: int
    rate: float
    epsilon: float
    momentum: float
    w: Array = None  # (I, O) of a dense layer, gamma (O,) of a normalisation
    b: Array = None  # (O,), or beta
    w_cells: Array = None  # the same as cells, for products
    b_cells: Array = None
    dw: Array = None
    db: Array = None
    running_mean: Array = None  # (O,)
    running_var: Array = None
    mean: Array = None  # (O,) of a batch normalisation
    scale: Array = None  # 1 / deviation: (O,) of a batch, (rows, 1) of a layer normalisation
    y: Array = None  # (rows, O)
    z: Array = None
    dz: Array = None  # first the gradient with respect to y, then to z
    xhat: Array = None  # normalised input, or dropout mask
    mask: Array = None  # (rows, mask_bytes) of a ReLU below a dense layer: one bit an element
    masked: bool = False  # whether the last forward pass wrote the mask
    finished: bool = False  # whether the layer above's product wrote dz and db


class Memory:
    """The device arrays of one engine.

    Attributes
    ----------
    gradients : (P,)
    tally : (4,) float64
    flags : (2,) float64
        See ``loader.FLAGS``.
    report : (6,) float64
        These two in one array, which is read at once.
    state : (S,)
    clock : int64
        The record ``Clock`` of ``kernels/cuda/clock.cu``.
    layers : list of Layer
    rates : (P,), or None
        See ``Plan.rates``.
    shadow : (P,) cells, or None
        A copy of the parameters rounded to cells, for products; None where cells are the
        network's dtype.
    row_loss, row_score : (rows,)
    x_cells : (rows, I) cells, outputs : (rows, O); or None
        Memory for inputs and outputs, where cells are not of the network's dtype.
    weight_total : (1,) float64
        The sum of the weights of the batch.
    norm_chunks : (chunks,) float64
        Partial sums of the squares of the gradient.
    clip : (1,)
        The factor of the gradient that clips its norm.
    workspace : (rows * width,) cells
        The y, z and xhat of all layers.
    generation : int
        How many times the workspace was allocated.
    """

    def __init__(self, plan: Plan, parameters: Array, state: Array, runtime: Runtime) -> None:
        self._plan, self._runtime, self._dtype = plan, runtime, parameters.dtype
        self.gradients = self._zeros((plan.size,), self._dtype)
        rates = plan.rates(parameters.dtype)
        self.rates = None if rates is None else runtime.to_device(rates)
        self.report = self._zeros((abi.TALLY + len(loader.FLAGS),), np.float64)
        self.tally, self.flags = self.report[: abi.TALLY], self.report[abi.TALLY :]
        self.state = state
        self.clock = self._zeros((len(loader.CLOCK),), np.int64)
        self.weight_total = runtime.empty((1,), np.float64)
        self.norm_chunks = runtime.empty((loader.norm_chunks(plan.size),), np.float64)
        self.clip = runtime.empty((1,), self._dtype)
        narrow = runtime.cells != self._dtype
        self.shadow = runtime.empty((plan.size,), runtime.cells) if narrow else None
        self.layers = [self._make_layer(op, parameters, state) for op in plan.ops]
        self._windows = [Batch(x=None), Batch(x=None)]
        self.row_loss: Array = None
        self.row_score: Array = None
        self.x_cells: Array = None
        self.outputs: Array = None
        self.workspace: Array = None
        self._deltas: Array = None
        self._rows = self._gradient_rows = self.generation = 0
        self._order = runtime.empty((0,), np.uint32)
        self._numbers = runtime.empty((0,), np.float64)
        self._records = runtime.empty((0, len(loader.MEMBER)), np.int64)
        self._dense = runtime.empty((len(plan.ops), len(loader.DENSE)), np.int64)
        self._dense_generation = 0
        self._coefficients = runtime.empty((0, abi.COEFFICIENTS), np.float64)
        self._optimizer: Optimizer | None = None
        self._optimizer_constants = runtime.empty((abi.CONSTANTS,), np.float64)
        self._loss: Loss | None = None
        self._loss_constants: Array = None

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self._runtime.empty(shape, dtype)
        array.fill(0)
        return array

    def _make_layer(self, op: NDArray[np.void], parameters: Array, state: Array) -> Layer:
        fields = "kind", "inputs", "outputs", "activation", "stream", "skip"
        kind, inputs, outputs, activation, stream, skip = (int(op[f]) for f in fields)
        rate, epsilon, momentum = (float(op[f]) for f in ("rate", "epsilon", "momentum"))
        layer = Layer(kind, inputs, outputs, activation, stream, skip, rate, epsilon, momentum)
        vector = (layer.outputs,)
        shape = (layer.inputs, layer.outputs) if layer.kind == abi.DENSE else vector
        weight, bias, running = int(op["weight"]), int(op["bias"]), int(op["state"])
        if weight >= 0:
            layer.w, layer.dw = (_part(a, weight, shape) for a in (parameters, self.gradients))
            layer.b, layer.db = (_part(a, bias, vector) for a in (parameters, self.gradients))
            if self.shadow is not None:
                layer.w_cells = _part(self.shadow, weight, shape)
                layer.b_cells = _part(self.shadow, bias, vector)
            else:
                layer.w_cells, layer.b_cells = layer.w, layer.b
        if layer.kind == abi.BATCH_NORM:
            layer.running_mean = _part(state, running, vector)
            layer.running_var = _part(state, running + layer.outputs, vector)
            layer.mean = self._runtime.empty(vector, self._dtype)
            layer.scale = self._runtime.empty(vector, self._dtype)
        return layer

    def reserve(self, rows: int, *, gradients: bool = True) -> None:
        """Allocate a workspace for batches of up to `rows` rows, if asked for with gradients."""
        more = gradients and rows > self._gradient_rows
        if more:
            self._release_gradients()
        if rows > self._rows:
            self._reserve_outputs(rows)
        if more:
            self._reserve_gradients(rows)

    def _reserve_outputs(self, rows: int) -> None:
        plan, dtype, empty = self._plan, self._dtype, self._runtime.empty
        cells = self._runtime.cells
        self._release_outputs()
        self.workspace = empty((plan.width * rows,), cells)
        self.row_loss, self.row_score = empty((rows,), dtype), empty((rows,), dtype)
        if cells != dtype:
            self.x_cells = empty((rows, plan.inputs), cells)
            self.outputs = empty((rows, plan.outputs), dtype)
        for layer, op in zip(self.layers, plan.ops, strict=True):
            y, z, xhat = (int(op[field]) * rows for field in ("y", "z", "xhat"))
            shape = rows, layer.outputs
            layer.y, layer.z = (_part(self.workspace, at, shape) for at in (y, z))
            if xhat >= 0:
                layer.xhat = _part(self.workspace, xhat, shape)
            if layer.kind == abi.LAYER_NORM:
                layer.scale = empty((rows, 1), dtype)
        self._rows = rows
        self.generation += 1

    def _reserve_gradients(self, rows: int) -> None:
        cells, empty = self._runtime.cells, self._runtime.empty
        self._deltas = empty((self._plan.width * rows,), cells)
        for index, (layer, op) in enumerate(zip(self.layers, self._plan.ops, strict=True)):
            layer.dz = _part(self._deltas, int(op["y"]) * rows, (rows, layer.outputs))
            if cells == self._dtype == np.float32 and self._has_mask(index):
                layer.mask = empty((rows, mask_bytes(layer.outputs)), np.uint8)
        self._gradient_rows = rows
        self.generation += 1

    def _has_mask(self, index: int) -> bool:
        """Return whether the layer is dense with a ReLU, and read by another dense one alone."""
        kinds = [layer.kind for layer in self.layers[index : index + 2]]
        relu = self.layers[index].activation == abi.RELU
        return relu and kinds == [abi.DENSE, abi.DENSE] and not self._plan.ends[index]

    def _release_outputs(self) -> None:
        """Free the old workspace, so that the new one need not fit beside it."""
        self._rows = 0
        self.workspace = self.row_loss = self.row_score = None
        self.x_cells = self.outputs = None
        for layer in self.layers:
            layer.y = layer.z = layer.xhat = None
            if layer.kind == abi.LAYER_NORM:
                layer.scale = None

    def _release_gradients(self) -> None:
        self._gradient_rows = 0
        self._deltas = None
        for layer in self.layers:
            layer.dz = layer.mask = None

    def window(self, rows: int, like: Batch, slot: int = 0, *, numbers: bool = False) -> Batch:
        """Return memory for `rows` gathered rows of the data, in one of two slots.

        x is for cells, or with `numbers` for the network's dtype. Fields that `like` lacks are
        None.
        """
        plan, empty, dtype = self._plan, self._runtime.empty, self._dtype
        kind = dtype if numbers else self._runtime.cells
        room = self._windows[slot]
        if room.x is None or len(room) < rows or room.x.dtype != kind:
            # The old window is freed first.
            self._windows[slot] = room = Batch(x=None)
            room = self._windows[slot] = Batch(
                x=empty((rows, plan.inputs), kind),
                labels=empty((rows,), np.int64),
                target=empty((rows * plan.outputs,), dtype),
                weight=empty((rows,), dtype),
            )
        assert room.labels is not None and room.target is not None and room.weight is not None
        targets = 0 if like.target is None else int(like.target.shape[1])
        return Batch(
            x=room.x[:rows],
            labels=None if like.labels is None else room.labels[:rows],
            target=None if like.target is None else _part(room.target, 0, (rows, targets)),
            weight=None if like.weight is None else room.weight[:rows],
        )

    def order(self, count: int) -> Array:
        """Return memory for the order of `count` rows, (count,) uint32."""
        if len(self._order) < count:
            self._order = self._runtime.empty((count,), np.uint32)
        return self._order[:count]

    def numbers(self, count: int) -> Array:
        """Return memory for `count` float64 numbers of members."""
        if len(self._numbers) < count:
            self._numbers = self._runtime.empty((count,), np.float64)
        return self._numbers[:count]

    def records(self, count: int) -> Array:
        """Return memory for the records of `count` members, (count, fields) int64."""
        if len(self._records) < count:
            self._records = self._runtime.empty((count, len(loader.MEMBER)), np.int64)
        return self._records[:count]

    def dense_layers(self) -> Array:
        """Return the records of all layers, which are dense, for the reserved workspace."""
        if self._dense_generation != self.generation:
            table = np.empty(self._dense.shape, np.int64)
            for row, op in zip(table, self._plan.ops, strict=True):
                row[:] = [op[field] for field in loader.DENSE]
            table[:, -2:] *= self._rows  # where y and z begin
            self._runtime.upload(self._dense, table)
            self._dense_generation = self.generation
        return self._dense

    def upload_coefficients(self, table: NDArray[Any]) -> None:
        """Copy the (n, 4) coefficients of n steps to the device."""
        steps = len(table)
        if len(self._coefficients) < steps:
            self._coefficients = self._runtime.empty((steps, abi.COEFFICIENTS), np.float64)
        values = np.ascontiguousarray(table, np.float64)
        self._runtime.upload(self._coefficients[:steps], values)

    def step_numbers(self, optimizer: Optimizer) -> tuple[Array, Array, Array]:
        """Return what an update reads: constants, coefficients, and the clock for their row."""
        if optimizer is not self._optimizer:
            self._runtime.upload(self._optimizer_constants, optimizer.hyperparameters)
            self._optimizer = optimizer
        return self._optimizer_constants, self._coefficients, self.clock

    def loss_constants(self, loss: Loss) -> Array:
        """Return the constants of a loss on the device; zeros where the loss has none."""
        if loss is not self._loss:
            values = np.zeros(max(len(loss.hyperparameters), 16))
            values[: len(loss.hyperparameters)] = loss.hyperparameters
            if self._loss_constants is None or len(self._loss_constants) < len(values):
                self._loss_constants = self._runtime.empty(values.shape, np.float64)
            self._runtime.upload(self._loss_constants[: len(values)], values)
            self._loss = loss
        return self._loss_constants


def _part(flat: Array, offset: int, shape: tuple[int, ...]) -> Array:
    """Return the part of a flat array that begins at `offset`, as `shape`."""
    return flat[offset : offset + int(np.prod(shape))].reshape(shape)
