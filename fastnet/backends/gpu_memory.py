"""What lies on the GPU for one network, and where: `Memory`. And what it lies on: `Runtime`.

All allocation is here. Scalars that change from step to step lie on the device as well, because a
launch whose arguments never change can be captured once and replayed.

B rows of a batch, I inputs, O outputs, T target columns, P parameters, N rows of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Array, Rows
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.losses import Loss
from fastnet.optimizers import Optimizer
from fastnet.plan import Plan


class Runtime(Protocol):
    """What the engine asks of a device. Work is queued in order; only `to_host` waits for it.

    Arrays can be sliced, reshaped and filled as NumPy's, and know their shape, dtype and size.
    """

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array with arbitrary content; raise `MemoryError` where there is no room."""

    def to_device(self, values: NDArray[Any]) -> Array:
        """Return a new array with the values of a host array."""

    def to_host(self, values: Array) -> NDArray[Any]:
        """Return a copy on the host, once all work before is done."""

    def upload(self, into: Array, values: NDArray[Any]) -> None:
        """Overwrite an array by a host array of the same shape and dtype."""

    def copy(self, into: Array, values: Array) -> None:
        """Overwrite an array by another of the same shape and dtype."""

    def launch(
        self, kernel: str, shape: tuple[int, int], *arguments: Array | int | float | None
    ) -> None:
        """Launch a kernel over a (rows, columns) shape; None is a null pointer."""

    def gemm(
        self,
        out: Array,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> None:
        """Set `out` to the matrix product of a and b, in the full precision of their dtype."""


@dataclass(slots=True)
class Layer:
    """One layer's record as Python numbers, with its views, as in the NumPy backend."""

    kind: int
    inputs: int
    outputs: int
    activation: int
    stream: int
    rate: float
    epsilon: float
    momentum: float
    w: Array = None  # (I, O) of a dense layer, gamma (O,) of a normalisation
    b: Array = None  # (O,), or beta
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


class Memory:
    """The device arrays of one engine.

    Attributes
    ----------
    gradients : (P,)
    tally : (4,) float64
    clock : int64
        The record ``Clock`` of ``kernels/cuda/clock.cu``.
    layers : list of Layer
    batch : Rows
        Room for a gathered batch; its target is flat.
    row_loss, row_score : (rows,)
    weight_total : (1,) float64
        Sum of the weights of the batch.
    norm_chunks : (chunks,) float64
        Squares of the gradient, summed in parts.
    clip : (1,)
        What the gradient is multiplied by.
    """

    def __init__(self, plan: Plan, parameters: Array, state: Array, runtime: Runtime) -> None:
        self._plan, self._runtime, self._dtype = plan, runtime, parameters.dtype
        self.gradients = self._zeros((plan.size,), self._dtype)
        self.tally = self._zeros((abi.TALLY,), np.float64)
        self.clock = self._zeros((len(loader.CLOCK),), np.int64)
        self.weight_total = runtime.empty((1,), np.float64)
        self.norm_chunks = runtime.empty((loader.norm_chunks(plan.size),), np.float64)
        self.clip = runtime.empty((1,), self._dtype)
        self.layers = [self._make_layer(op, parameters, state) for op in plan.ops]
        self.batch: Rows
        self.row_loss: Array = None
        self.row_score: Array = None
        self._workspace: Array = None
        self._deltas: Array = None
        self._rows = 0
        self._order = runtime.empty((0,), np.uint32)
        self._coefficients = runtime.empty((0, abi.COEFFICIENTS), np.float64)
        self._optimizer: Optimizer | None = None
        self._optimizer_constants = runtime.empty((abi.CONSTANTS,), np.float64)
        self._loss: Loss | None = None
        self._loss_constants: Array = None

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._runtime.to_device(np.zeros(shape, dtype))

    def _make_layer(self, op: NDArray[np.void], parameters: Array, state: Array) -> Layer:
        integers = (int(op[f]) for f in ("kind", "inputs", "outputs", "activation", "stream"))
        layer = Layer(*integers, *(float(op[f]) for f in ("rate", "epsilon", "momentum")))
        vector = (layer.outputs,)
        shape = (layer.inputs, layer.outputs) if layer.kind == abi.DENSE else vector
        weight, bias, running = int(op["weight"]), int(op["bias"]), int(op["state"])
        if weight >= 0:
            layer.w, layer.dw = (_part(a, weight, shape) for a in (parameters, self.gradients))
            layer.b, layer.db = (_part(a, bias, vector) for a in (parameters, self.gradients))
        if layer.kind == abi.BATCH_NORM:
            layer.running_mean = _part(state, running, vector)
            layer.running_var = _part(state, running + layer.outputs, vector)
            layer.mean = self._runtime.empty(vector, self._dtype)
            layer.scale = self._runtime.empty(vector, self._dtype)
        return layer

    def reserve(self, rows: int) -> None:
        """Make the workspace fit batches of up to `rows` rows."""
        if rows <= self._rows:
            return
        plan, dtype, empty = self._plan, self._dtype, self._runtime.empty
        self._release()
        self._workspace = empty((plan.width * rows,), dtype)
        self._deltas = empty((plan.width * rows,), dtype)
        self.batch = Rows(
            x=empty((rows, plan.inputs), dtype),
            labels=empty((rows,), np.int64),
            target=empty((rows * plan.outputs,), dtype),
            weight=empty((rows,), dtype),
        )
        self.row_loss, self.row_score = empty((rows,), dtype), empty((rows,), dtype)
        for layer, op in zip(self.layers, plan.ops, strict=True):
            y, z, xhat = (int(op[field]) * rows for field in ("y", "z", "xhat"))
            shape = rows, layer.outputs
            layer.y, layer.z = (_part(self._workspace, at, shape) for at in (y, z))
            layer.dz = _part(self._deltas, y, shape)
            if xhat >= 0:
                layer.xhat = _part(self._workspace, xhat, shape)
            if layer.kind == abi.LAYER_NORM:
                layer.scale = _part(self._workspace, xhat + layer.outputs * rows, (rows, 1))
        self._rows = rows

    def _release(self) -> None:
        """Give the old workspace back, so that the new one need not lie beside it."""
        self._rows = 0
        self._workspace = self._deltas = self.row_loss = self.row_score = None
        self.batch = Rows(x=None)
        for layer in self.layers:
            layer.y = layer.z = layer.dz = layer.xhat = None
            if layer.kind == abi.LAYER_NORM:
                layer.scale = None

    def order(self, count: int) -> Array:
        """Return room for the order of `count` rows, (count,) uint32."""
        if len(self._order) < count:
            self._order = self._runtime.empty((count,), np.uint32)
        return self._order[:count]

    def upload_coefficients(self, table: NDArray[Any]) -> None:
        """Put the (n, 4) coefficients of some steps on the device."""
        steps = len(table)
        if len(self._coefficients) < steps:
            self._coefficients = self._runtime.empty((steps, abi.COEFFICIENTS), np.float64)
        values = np.ascontiguousarray(table, np.float64)
        self._runtime.upload(self._coefficients[:steps], values)

    def step_numbers(self, optimizer: Optimizer) -> tuple[Array, Array, Array]:
        """Return what an update reads: constants, coefficients, and the clock for their row."""
        if optimizer is not self._optimizer:
            self._runtime.upload(self._optimizer_constants, optimizer.constants)
            self._optimizer = optimizer
        return self._optimizer_constants, self._coefficients, self.clock

    def loss_constants(self, loss: Loss) -> Array:
        """Return the constants of a loss; a loss without any still has an array."""
        if loss is not self._loss:
            self._loss_constants = self._runtime.to_device(np.array([*loss.constants, 0.0]))
            self._loss = loss
        return self._loss_constants


def _part(flat: Array, offset: int, shape: tuple[int, ...]) -> Array:
    """Return the part of a flat array that begins at `offset`, as `shape`."""
    return flat[offset : offset + int(np.prod(shape))].reshape(shape)
