"""The engine of the GPU backend: kernels and matrix products on device-resident arrays.

Everything that a training step needs lies on the device: the data, the order of the epoch, the
table of coefficients, the seed and the step. An epoch is a straight line of launches without a look
at any result; the host waits once, at its end, for the tally. The engine knows no CUDA: it talks to
a `Runtime`, of which there is one for CuPy and, in tests, one that runs the same kernels on the
CPU.

B rows of a batch, I inputs, O outputs, T target columns, P parameters. A launch names the shape it
covers, then the kernel's arguments: outputs, inputs, scalars.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet import activations, random
from fastnet.backends.base import Array, Engine, Recipe, Rows, Tally
from fastnet.backends.gpu_memory import Layer, Memory, Runtime
from fastnet.kernels import abi
from fastnet.losses import Loss
from fastnet.optimizers import Optimizer
from fastnet.plan import Plan


class GpuEngine(Engine):
    """Forward, backward and update by CUDA kernels.

    Once the workspace is reserved and a first epoch has been run, training on the same data
    allocates nothing.
    """

    def __init__(self, plan: Plan, parameters: Array, state: Array, runtime: Runtime) -> None:
        super().__init__(plan, parameters, state)
        self._runtime = runtime
        self._memory = Memory(plan, parameters, state, runtime)
        self._layers = self._memory.layers
        self._clock = self._memory.clock
        self.gradients = self._memory.gradients
        self.tally = self._memory.tally
        self._training = False

    def reserve(self, rows: int) -> None:
        self._memory.reserve(rows)

    def empty(self, shape: tuple[int, ...]) -> Array:
        return self._runtime.empty(shape, self.parameters.dtype)

    def _set_clock(self, *, step: int = 0, seed: int = 0, start: int = 0) -> None:
        """Tell the kernels where training is; see ``kernels/cuda/clock.cu``."""
        self._runtime.launch("clock_set", (1, 1), self._clock, step, _signed(seed), start)

    # --- batches ---------------------------------------------------------------------------------

    def order(self, count: int, seed: int, epoch: int) -> Array:
        """Return the epoch's order, (count,) uint32, valid until the next call."""
        order = self._memory.order(count)
        key = random.feistel_bits(count), _signed(seed), epoch, abi.SHUFFLE
        self._runtime.launch("permutation", (1, count), order, count, *key)
        return order

    def gather(self, rows: Rows, order: Array | None, start: int, stop: int) -> Rows:
        if order is None:
            return rows.part(start, stop)
        return self._gather(rows, order, stop - start, None, start)

    def _gather(self, rows: Rows, order: Array, count: int, clock: Array, start: int) -> Rows:
        """Gather `count` rows, from `start` plus the start that the clock names (None: 0)."""
        room = self._memory.batch
        assert room.labels is not None and room.target is not None and room.weight is not None
        inputs = self.plan.inputs
        targets = 0 if rows.target is None else int(rows.target.shape[1])
        batch = Rows(
            x=room.x[:count],
            labels=None if rows.labels is None else room.labels[:count],
            target=None if rows.target is None else _head(room.target, count, targets),
            weight=None if rows.weight is None else room.weight[:count],
        )
        arrays = *batch.fields, *rows.fields, order, clock
        shape = count, max(inputs, targets)
        self._runtime.launch("gather_rows", shape, *arrays, start, count, inputs, targets)
        return batch

    # --- forward ---------------------------------------------------------------------------------

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        if training:
            self._set_clock(step=step, seed=seed)
        return self._forward(x, training)

    def _forward(self, x: Array, training: bool) -> Array:
        """Do the work of `forward` at the step that the clock names."""
        self._training = training
        for layer in self._layers:
            if layer.kind == abi.DENSE:
                x = self._dense_forward(layer, x)
            elif layer.kind == abi.DROPOUT:
                x = self._dropout_forward(layer, x)
            else:
                x = self._norm_forward(layer, x)
        return x

    def _dense_forward(self, layer: Layer, x: Array) -> Array:
        """``z = x @ w + b``; ``y = f(z)``."""
        shape = len(x), layer.outputs
        y, z = layer.y[: len(x)], layer.z[: len(x)]
        self._runtime.gemm(z, x, layer.w)
        if layer.activation == abi.SOFTMAX:
            self._runtime.launch("dense_forward_softmax", shape, y, z, layer.b, *shape)
        else:
            scalars = layer.activation, *shape
            self._runtime.launch("dense_forward_epilogue", shape, y, z, layer.b, *scalars)
        return y

    def _dropout_forward(self, layer: Layer, x: Array) -> Array:
        """``y = x * mask`` in training, ``y = x`` otherwise."""
        y, mask = layer.y[: len(x)], layer.xhat[: len(x)]
        if self._training:
            keep = random.keep_threshold(layer.rate), 1.0 / (1.0 - layer.rate)
            arguments = y, mask, x, self._clock, layer.stream, *keep, x.size
            self._runtime.launch("dropout_forward", (1, -(-x.size // 4)), *arguments)
        else:
            self._runtime.copy(y, x)
        return y

    def _norm_forward(self, layer: Layer, x: Array) -> Array:
        """``z = gamma xhat + beta``, ``xhat = (x - mean) scale``; ``y = f(z)``."""
        launch, shape = self._runtime.launch, (len(x), layer.outputs)
        y, z, xhat = layer.y[: len(x)], layer.z[: len(x)], layer.xhat[: len(x)]
        affine = layer.w, layer.b, layer.activation
        if layer.kind == abi.LAYER_NORM:
            outputs = y, z, xhat, layer.scale
            launch("layer_norm_forward", shape, *outputs, x, *affine, layer.epsilon, *shape)
            return y
        outputs = layer.mean, layer.scale, layer.running_mean, layer.running_var
        scalars = layer.momentum, layer.epsilon, int(self._training), *shape
        launch("batch_norm_statistics", shape, *outputs, x, self._clock, *scalars)
        statistics = layer.mean, layer.scale
        launch("batch_norm_forward", shape, y, z, xhat, x, *statistics, *affine, *shape)
        return y

    # --- backward --------------------------------------------------------------------------------

    def backward(self, batch: Rows, loss: Loss) -> None:
        count, last = len(batch), len(self._layers) - 1
        self.head(batch, loss)
        for index in range(last, -1, -1):
            layer = self._layers[index]
            x = self._layers[index - 1].y[:count] if index else batch.x
            dx = self._layers[index - 1].dz[:count] if index else None
            if layer.kind == abi.DENSE:
                fused = loss.fused_with if index == last else None
                self._dense_backward(layer, dx, x, fused)
            elif layer.kind == abi.DROPOUT:
                self._dropout_backward(layer, dx, count)
            else:
                self._norm_backward(layer, dx, count)

    def head(self, batch: Rows, loss: Loss) -> None:
        # Also writes the gradient of the mean loss to the last layer's dz.
        memory, launch, last = self._memory, self._runtime.launch, self._layers[-1]
        count, shape = len(batch), (len(batch), last.outputs)
        total = None
        if batch.weight is not None:
            total = memory.weight_total
            launch("weight_sum", (1, 1), total, batch.weight, count)
        targets = 0 if batch.target is None else int(batch.target.shape[1])
        outputs = last.dz[:count], memory.row_loss, memory.row_score
        inputs = last.y[:count], last.z[:count], *batch.fields[1:], total
        scalars = memory.loss_constants(loss), loss.code, *shape, targets
        launch("loss_head", shape, *outputs, *inputs, *scalars)
        sums = memory.row_loss, memory.row_score, total
        launch("tally_add", (1, 1), self.tally, *sums, self._clock, count)

    def _dense_backward(self, layer: Layer, dx: Array, x: Array, fused: str | None) -> None:
        """``dz = dy f'(z)``; ``dw = x.T @ dz``; ``db = sum(dz)``; ``dx = dz @ w.T``."""
        runtime, shape = self._runtime, (len(x), layer.outputs)
        dz, y, z = layer.dz[: len(x)], layer.y[: len(x)], layer.z[: len(x)]
        activation = layer.activation
        if activations.BY_CODE[activation].name == fused:
            activation = abi.IDENTITY  # The loss has given the gradient with respect to z.
        elif activation == abi.SOFTMAX:
            runtime.launch("softmax_backward", shape, dz, y, *shape)
            activation = abi.IDENTITY
        runtime.launch("dense_backward_epilogue", shape, dz, layer.db, y, z, activation, *shape)
        runtime.gemm(layer.dw, x, dz, transpose_a=True)
        if dx is not None:
            runtime.gemm(dx, dz, layer.w, transpose_b=True)

    def _dropout_backward(self, layer: Layer, dx: Array, count: int) -> None:
        dz, mask = layer.dz[:count], layer.xhat[:count]
        if dx is None:
            return
        if self._training:
            self._runtime.launch("dropout_backward", (1, dz.size), dx, dz, mask, dz.size)
        else:
            self._runtime.copy(dx, dz)

    def _norm_backward(self, layer: Layer, dx: Array, count: int) -> None:
        """``dx = scale (g - mean(g) - xhat mean(g xhat))`` with ``g = gamma dz``."""
        launch, shape = self._runtime.launch, (count, layer.outputs)
        dz, y, z, xhat = (a[:count] for a in (layer.dz, layer.y, layer.z, layer.xhat))
        outputs, scalars = (dz, layer.dw, layer.db), (layer.activation, *shape)
        launch("norm_backward_epilogue", shape, *outputs, y, z, xhat, *scalars)
        if dx is None:
            return
        inputs = dz, xhat, layer.scale, layer.w
        if layer.kind == abi.LAYER_NORM:
            launch("layer_norm_backward", shape, dx, *inputs, *shape)
        else:
            launch(
                *("batch_norm_backward", shape, dx, *inputs, layer.dw, layer.db),
                *(int(self._training), *shape),
            )

    # --- update ----------------------------------------------------------------------------------

    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self._memory.upload_coefficients(np.reshape(coefficients, (1, abi.COEFFICIENTS)))
        self._update(optimizer, moments)

    def _update(self, optimizer: Optimizer, moments: Array) -> None:
        """Update with the row of the coefficients that the clock names."""
        memory, launch, size = self._memory, self._runtime.launch, self.plan.size
        numbers = memory.step_numbers(optimizer)
        clip = None
        if optimizer.clip_norm is not None:
            clip, chunks = memory.clip, len(memory.norm_chunks)
            shape = chunks, size
            launch("gradient_square_sum", shape, memory.norm_chunks, self.gradients, *shape)
            launch("gradient_clip", (1, 1), clip, memory.norm_chunks, numbers[0], chunks)
        arrays = self.parameters, moments, self.gradients, clip, *numbers
        scalars = optimizer.code, self.plan.decayed, size
        launch("optimizer_update", (1, size), *arrays, *scalars)

    def read_tally(self) -> Tally:
        loss, score, weight, steps = self._runtime.to_host(self.tally).tolist()
        self.tally.fill(0)
        return Tally(loss, score, weight, int(steps))

    # --- larger pieces ---------------------------------------------------------------------------

    def train_epoch(
        self,
        rows: Rows,
        recipe: Recipe,
        moments: Array,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int = 0,
    ) -> Tally:
        """Train as the composed form does, with one wait at the end.

        The host does not see a loss that stops being finite. The device does, and from the next
        batch on changes nothing that lasts; so parameters, moments, running statistics and tally
        are those of the composed form, which stops there.
        """
        if self.plan.has_rates:  # the kernel knows one rate for all parameters
            place = {"epoch": epoch, "step": step, "first": first}
            return super().train_epoch(rows, recipe, moments, coefficients, **place)
        size, count = recipe.batch_size, len(rows)
        self.reserve(min(size, count))
        order = self.order(count, recipe.seed, epoch) if recipe.shuffle else None
        self._memory.upload_coefficients(coefficients)
        self._set_clock(step=step, seed=recipe.seed, start=first * size)
        try:
            for start in range(first * size, (first + len(coefficients)) * size, size):
                stop = min(start + size, count)
                if order is None:
                    batch = rows.part(start, stop)
                else:
                    batch = self._gather(rows, order, stop - start, self._clock, 0)
                self._forward(batch.x, training=True)
                self.backward(batch, recipe.loss)
                self._update(recipe.optimizer, moments)
                self._runtime.launch("clock_tick", (1, 1), self._clock, self.tally, size)
        finally:
            self._set_clock()  # Outside an epoch, an update uses row 0 and nothing is halted.
        return self.read_tally()

    def evaluate(self, rows: Rows, loss: Loss) -> tuple[Tally, Array]:
        """Return the sums over all rows, and the outputs (N, O); leave the gradients alone."""
        outputs = self.empty((len(rows), self.plan.outputs))
        for start, stop in self.blocks(len(rows)):
            block = rows.part(start, stop)
            self._runtime.copy(outputs[start:stop], self._forward(block.x, training=False))
            self.head(block, loss)
        return self.read_tally(), outputs

    def predict(self, x: Array) -> Array:
        outputs = self.empty((len(x), self.plan.outputs))
        for start, stop in self.blocks(len(x)):
            self._runtime.copy(outputs[start:stop], self._forward(x[start:stop], training=False))
        return outputs

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        x = np.asarray(row, self.parameters.dtype)[None, :]
        outputs = self._runtime.to_host(self.predict(self._runtime.to_device(x)))
        return outputs.reshape(self.plan.outputs)


def _head(flat: Array, rows: int, columns: int) -> Array:
    """Return the beginning of a flat array as (rows, columns)."""
    return flat[: rows * columns].reshape(rows, columns)


def _signed(seed: int) -> int:
    """Return the signed 64-bit integer with the low bits of `seed`, as kernels take it."""
    seed &= 2**64 - 1
    return seed - 2**64 if seed >= 2**63 else seed
