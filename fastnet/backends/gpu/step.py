"""One training step on the GPU, launch by launch: gather, forward, loss, backward, update.

Everything that a step needs is on the device: the data, the order of the epoch, the table of
coefficients, the seed and the number of the step. `GpuStep` knows no CUDA: it talks to a `Runtime`,
which has one implementation for CuPy and, in tests, one that runs the same kernels on the CPU.

B rows of a batch, I inputs, O outputs, T target columns, P parameters. A launch names the shape it
covers, then the kernel's arguments: outputs, inputs, scalars.
"""

from __future__ import annotations

from typing import Any

from fastnet.backends.epochs import LossSums
from fastnet.backends.gpu.memory import Layer, Memory
from fastnet.backends.gpu.runtime import BF16, Epilogue, Runtime
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.nn import activations, random
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan


class GpuStep:
    """The launches of one network's training step, and the device memory they work on.

    The clock on the device says which step it is, so a launch has the same arguments at every step
    and can be recorded once and replayed.

    Parameters
    ----------
    plan : Plan
    parameters : (P,)
    state : (S,)
        Running statistics. Both arrays are kept, not copied.
    runtime : Runtime
    """

    def __init__(self, plan: Plan, parameters: Array, state: Array, runtime: Runtime) -> None:
        self.plan, self.parameters, self.runtime = plan, parameters, runtime
        self.memory = Memory(plan, parameters, state, runtime)
        self.layers = self.memory.layers
        self.clock = self.memory.clock
        self._training = False

    def set_clock(
        self, *, step: int = 0, seed: int = 0, start: int = 0, halted: bool = False
    ) -> None:
        """Set the step, the seed and the place in the epoch; see ``kernels/cuda/clock.cu``."""
        numbers = step, signed(seed), start, int(halted)
        self.runtime.launch("clock_set", (1, 1), self.clock, *numbers)

    # --- batches ---------------------------------------------------------------------------------

    def order(self, count: int, seed: int, epoch: int) -> Array:
        """Return the epoch's order, (count,) uint32, valid until the next call."""
        order = self.memory.order(count)
        key = random.feistel_bits(count), signed(seed), epoch, abi.SHUFFLE
        self.runtime.launch("permutation", (1, count), order, count, *key)
        return order

    def gather_into(
        self, batch: Batch, rows: Batch, order: Array | None, clock: Array | None, start: int
    ) -> None:
        """Gather rows into `batch`, from `start` plus the clock's start (0 if `clock` is None)."""
        targets = 0 if rows.target is None else int(rows.target.shape[1])
        shape = len(batch), max(self.plan.inputs, targets)
        arrays = *batch.fields, *rows.fields, order, clock
        scalars = start, len(batch), self.plan.inputs, targets
        self.runtime.launch("gather_rows", shape, *arrays, *scalars)

    # --- forward ---------------------------------------------------------------------------------

    def refresh_shadow(self) -> None:
        """Round the parameters to cells for the products, where cells are not of their dtype."""
        shadow = self.memory.shadow
        if shadow is not None:
            size = self.plan.size
            self.runtime.launch("narrow", (1, size), shadow, self.parameters, size)

    def read(self, numbers: Array, cells: Array) -> None:
        """Copy activations into an array of the network's dtype."""
        if cells.dtype == numbers.dtype:
            self.runtime.copy(numbers, cells)
        else:
            self.runtime.launch("widen", (1, cells.size), numbers, cells, cells.size)

    def forward(self, x: Array, training: bool, *, logits: bool = False) -> Array:
        """Compute the outputs for x at the clock's step; return cells.

        With `logits`, `loss_head` has to compute a softmax at the end.
        """
        self._training = training
        if x.dtype != self.runtime.cells:
            cells = self.memory.x_cells[: len(x)]
            self.runtime.launch("narrow", (1, x.size), cells, x, x.size)
            x = cells
        first = x
        for index, layer in enumerate(self.layers):
            if layer.kind == abi.DENSE:
                x = self._dense_forward(index, layer, x, logits)
            elif layer.kind == abi.DROPOUT:
                x = self._dropout_forward(layer, x)
            elif layer.kind == abi.ADD:
                skip = self.layers[layer.skip].y[: len(x)] if layer.skip >= 0 else first
                x = self._add(layer.y[: len(x)], x, skip)
            else:
                x = self._norm_forward(layer, x)
        return x

    def _dense_forward(self, index: int, layer: Layer, x: Array, logits: bool) -> Array:
        """``z = x @ w + b``; ``y = f(z)``: the product's epilogue does as much of it as it can."""
        runtime, shape, code = self.runtime, (len(x), layer.outputs), layer.activation
        y, z = layer.y[: len(x)], layer.z[: len(x)]
        out = z if code == abi.SOFTMAX else y
        product = out, x, layer.w_cells
        epilogue = {
            abi.RELU: Epilogue.RELU,
            abi.IDENTITY: Epilogue.BIAS,
            abi.SOFTMAX: Epilogue.BIAS,
        }
        wanted = epilogue.get(code, Epilogue.NONE)
        layer.finished = False  # The last backward pass may have been interrupted.
        layer.masked = self._training and layer.mask is not None and self._mask_pays(index, x)
        if layer.masked:
            mask = layer.mask[: len(x)]
            runtime.gemm(*product, epilogue=Epilogue.RELU_MASK, vector=layer.b_cells, mask=mask)
            return y
        bias = {"vector": layer.b_cells}
        fused = wanted != Epilogue.NONE and runtime.gain(wanted, *product, **bias) > 0
        if fused:
            runtime.gemm(*product, epilogue=wanted, **bias)
        else:
            runtime.gemm(z, x, layer.w_cells)
        if code == abi.SOFTMAX and not (logits and fused):
            missing = None if fused else layer.b
            runtime.launch("dense_forward_softmax", shape, y, z, missing, *shape)
        elif not fused:
            runtime.launch("dense_forward_epilogue", shape, y, z, layer.b, code, *shape)
        return y

    def _mask_pays(self, index: int, x: Array) -> bool:
        """Return whether a mask saves time, in this layer's product and the next one's together."""
        layer, above = self.layers[index : index + 2]
        y, dy, dz, mask = (a[: len(x)] for a in (layer.y, layer.dz, above.dz, layer.mask))
        gain, bias, forward = self.runtime.gain, {"vector": layer.b_cells}, (y, x, layer.w_cells)
        there = gain(Epilogue.RELU_MASK, *forward, **bias, mask=mask)
        backward: dict[str, Any] = {"transpose_b": True, "vector": layer.db, "mask": mask}
        back = gain(Epilogue.RELU_BACKWARD, dy, dz, above.w_cells, **backward)
        return there + back > max(0.0, gain(Epilogue.RELU, *forward, **bias))

    def _dropout_forward(self, layer: Layer, x: Array) -> Array:
        """``y = x * mask`` in training, ``y = x`` otherwise."""
        y, mask = layer.y[: len(x)], layer.xhat[: len(x)]
        if self._training:
            keep = random.keep_threshold(layer.rate), 1.0 / (1.0 - layer.rate)
            arguments = y, mask, x, self.clock, layer.stream, *keep, x.size
            self.runtime.launch("dropout_forward", (1, -(-x.size // 4)), *arguments)
        else:
            self.runtime.copy(y, x)
        return y

    def _add(self, y: Array, a: Array, b: Array) -> Array:
        """``y = a + b``; y may be a or b."""
        self.runtime.launch("residual_add", (1, y.size), y, a, b, y.size)
        return y

    def _norm_forward(self, layer: Layer, x: Array) -> Array:
        """``z = gamma xhat + beta``, ``xhat = (x - mean) scale``; ``y = f(z)``."""
        launch, shape = self.runtime.launch, (len(x), layer.outputs)
        y, z, xhat = layer.y[: len(x)], layer.z[: len(x)], layer.xhat[: len(x)]
        affine = layer.w, layer.b, layer.activation
        if layer.kind == abi.LAYER_NORM:
            outputs = y, z, xhat, layer.scale
            launch("layer_norm_forward", shape, *outputs, x, *affine, layer.epsilon, *shape)
            return y
        outputs = layer.mean, layer.scale, layer.running_mean, layer.running_var
        scalars = layer.momentum, layer.epsilon, int(self._training), *shape
        launch("batch_norm_statistics", shape, *outputs, x, self.clock, *scalars)
        statistics = layer.mean, layer.scale
        launch("batch_norm_forward", shape, y, z, xhat, x, *statistics, *affine, *shape)
        return y

    # --- loss ------------------------------------------------------------------------------------

    def loss_head(
        self, batch: Batch, loss: Loss, *, softmax: bool = False, gradient: bool = True
    ) -> None:
        """Compute each row's loss and score, and unless told otherwise its gradient.

        With `softmax`, the softmax of z is computed first.
        """
        memory, launch, last = self.memory, self.runtime.launch, self.layers[-1]
        count, shape = len(batch), (len(batch), last.outputs)
        total = self.sum_weights(batch)
        targets = 0 if batch.target is None else int(batch.target.shape[1])
        outputs = last.dz[:count] if gradient else None, memory.row_loss, memory.row_score
        inputs = last.y[:count], last.z[:count], *batch.fields[1:], total
        scalars = memory.loss_constants(loss), loss.code, int(softmax), *shape, targets
        wide = loss.code == abi.CROSS_ENTROPY and loader.WIDE[0] <= last.outputs <= loader.WIDE[1]
        kernel = "loss_head_wide" if wide else "loss_head"
        launch(kernel, shape, *outputs, *inputs, *scalars)

    def sum_weights(self, batch: Batch) -> Array | None:
        """Return the sum of the weights, for `add_tally` too; None where all of them are 1."""
        if batch.weight is None:
            return None
        total = self.memory.weight_total
        self.runtime.launch("weight_sum", (1, 1), total, batch.weight, len(batch))
        return total

    def add_tally(self, batch: Batch, *, advance: int = 0) -> None:
        """Add the batch's sums to the tally; advance the clock by `advance` rows if not 0."""
        memory = self.memory
        total = None if batch.weight is None else memory.weight_total
        arrays = memory.tally, self.clock, memory.row_loss, memory.row_score, total
        self.runtime.launch("tally_add", (1, 1), *arrays, advance, len(batch))

    def look(self) -> None:
        """Let the device look whether all parameters and running statistics are finite."""
        for values in (self.parameters, self.memory.state):
            if values.size:
                arguments = self.memory.flags, values, values.size
                self.runtime.launch("find_not_finite", (1, values.size), *arguments)

    def read_tally(self, *, looked: bool = False) -> LossSums:
        """Return the sums in the tally on the host and set them to 0.

        `looked` says that the device has looked at the parameters since the last time.
        """
        report = self.memory.report
        loss, score, weight, steps, _, bad = self.runtime.to_host(report).tolist()
        report.fill(0)
        return LossSums(loss, score, weight, int(steps), not bad if looked else None)

    def gives_logits(self, loss: Loss) -> bool:
        """Return whether `loss_head` writes the gradient with respect to z."""
        return activations.BY_CODE[self.layers[-1].activation].name == loss.fused_activation

    # --- backward --------------------------------------------------------------------------------

    def first_input(self, x: Array) -> Array:
        """Return the input of the first layer in the last forward pass, which was x, as cells."""
        return self.memory.x_cells[: len(x)] if x.dtype != self.runtime.cells else x

    def write_gradient(self, gradient: Array) -> None:
        """Write the gradient (B, O) of the outputs where `loss_head` writes it."""
        cells = self.layers[-1].dz[: len(gradient)]
        if cells.dtype == gradient.dtype:
            self.runtime.copy(cells, gradient)
        else:
            self.runtime.launch("narrow", (1, gradient.size), cells, gradient, gradient.size)

    def backward(self, first: Array, *, logits: bool) -> None:
        """Compute the gradients of all layers from the last one's dz, of y or with `logits` of z.

        `first` is the input of the first layer, as cells.
        """
        count, last = len(first), len(self.layers) - 1
        for index in range(last, -1, -1):
            layer, below = self.layers[index], self.layers[index - 1] if index else None
            x = first if below is None else below.y[:count]
            dx = None if below is None else below.dz[:count]
            for end in self.plan.ends[index]:
                self._add(layer.dz[:count], layer.dz[:count], self.layers[end].dz[:count])
            if layer.kind == abi.DENSE:
                self._dense_backward(layer, below, x, logits=logits and index == last)
            elif layer.kind == abi.DROPOUT:
                self._dropout_backward(layer, dx, count)
            elif layer.kind == abi.ADD:
                self.runtime.copy(dx, layer.dz[:count])
            else:
                self._norm_backward(layer, dx, count)

    def _dense_backward(self, layer: Layer, below: Layer | None, x: Array, *, logits: bool) -> None:
        """``dz = dy f'(z)``; ``dw = x.T @ dz``; ``db = sum(dz)``; ``dx = dz @ w.T``."""
        runtime, shape = self.runtime, (len(x), layer.outputs)
        dz, y, z = layer.dz[: len(x)], layer.y[: len(x)], layer.z[: len(x)]
        product = layer.dw, x, dz
        if layer.finished:
            layer.finished = False
            runtime.gemm(*product, transpose_a=True)
        else:
            activation = layer.activation
            if logits:
                activation = abi.IDENTITY  # dz has the gradient with respect to z already.
            elif activation == abi.SOFTMAX:
                runtime.launch("softmax_backward", shape, dz, y, *shape)
                activation = abi.IDENTITY
            sums: dict[str, Any] = {"transpose_a": True, "vector": layer.db}
            kind = Epilogue.COLUMN_SUMS
            if activation == abi.IDENTITY and runtime.gain(kind, *product, **sums) > 0:
                runtime.gemm(*product, epilogue=kind, **sums)
            else:
                arguments = dz, layer.db, y, z, activation, *shape
                narrow = runtime.cells == BF16
                kernel = "dense_backward_runs" if narrow else "dense_backward_epilogue"
                runtime.launch(kernel, shape, *arguments)
                runtime.gemm(*product, transpose_a=True)
        if below is None:
            return
        product = below.dz[: len(x)], dz, layer.w_cells
        if below.masked:
            options = {"vector": below.db, "mask": below.mask[: len(x)]}
            epilogue = Epilogue.RELU_BACKWARD
            runtime.gemm(*product, transpose_b=True, epilogue=epilogue, **options)
            below.finished = True
        else:
            runtime.gemm(*product, transpose_b=True)

    def _dropout_backward(self, layer: Layer, dx: Array, count: int) -> None:
        dz, mask = layer.dz[:count], layer.xhat[:count]
        if dx is None:
            return
        if self._training:
            self.runtime.launch("dropout_backward", (1, dz.size), dx, dz, mask, dz.size)
        else:
            self.runtime.copy(dx, dz)

    def _norm_backward(self, layer: Layer, dx: Array, count: int) -> None:
        """``dx = scale (g - mean(g) - xhat mean(g xhat))`` with ``g = gamma dz``."""
        launch, shape = self.runtime.launch, (count, layer.outputs)
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

    def update(self, optimizer: Optimizer, moments: Array) -> None:
        """Update the parameters with the clock's row of the coefficients."""
        memory, launch, size = self.memory, self.runtime.launch, self.plan.size
        numbers = memory.step_numbers(optimizer)
        clip = None
        if optimizer.clip_norm is not None:
            clip, chunks = memory.clip, len(memory.norm_chunks)
            shape = chunks, size
            squares = memory.norm_chunks, memory.gradients, memory.rates
            launch("gradient_square_sum", shape, *squares, *shape)
            launch("gradient_clip", (1, 1), clip, memory.norm_chunks, numbers[0], chunks)
        outputs = self.parameters, moments, memory.shadow
        inputs = memory.gradients, memory.rates, clip, *numbers
        scalars = optimizer.code, self.plan.n_weights, size
        launch("optimizer_update", (1, size), *outputs, *inputs, *scalars)


def signed(seed: int) -> int:
    """Return the low 64 bits of `seed` as a signed integer, the type of kernel arguments."""
    seed &= 2**64 - 1
    return seed - 2**64 if seed >= 2**63 else seed
