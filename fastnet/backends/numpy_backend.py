"""The NumPy backend: the readable reference, composed of forward, backward and update.

This code defines what a layer computes. Every operation writes into memory that `reserve` has
allocated, so a training step allocates no array of the size of a layer, except for the random words
of a dropout mask. B rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends import blas
from fastnet.backends.base import Backend
from fastnet.backends.blas import BLAS, BLAS_ALONE, FLOPS_PER_BLAS_THREAD
from fastnet.backends.engine import Engine, zeros_tally
from fastnet.backends.numpy_layer import Layer
from fastnet.backends.numpy_update import Update
from fastnet.backends.threads import cores, threads_that_pay
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.batch import Array, Batch
from fastnet.nn.loss_arrays import LossArrays
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan

PIECE: Final = 2**15
"""So many elements at a time go through an activation, whose scratch then takes little memory."""

# An overflow needs no warning: it makes the loss infinite or NaN, and training checks the loss.
_quietly = np.errstate(all="ignore")


class NumpyEngine(Engine):
    """Computes forward, backward and update with NumPy."""

    def __init__(
        self, plan: Plan, parameters: Array, state: Array, threads: int | None = None
    ) -> None:
        super().__init__(plan, parameters, state)
        dtype = parameters.dtype
        self.threads = threads
        self.gradients = np.zeros_like(parameters)
        self.tally = zeros_tally()
        self._update = Update(plan, parameters, self.gradients)
        flat = parameters, self.gradients, state
        self._layers = [
            Layer.of(op, getattr(layer, "blocks", None) or (), *flat)
            for layer, op in zip(plan.chain, plan.ops, strict=True)
        ]
        self._ends = plan.ends
        self._column = np.empty(plan.widest, dtype)
        self._rows = 0
        self._training = False
        self._order: tuple[tuple[int, int, int], Array] | None = None

    def reserve(self, rows: int) -> None:
        if rows <= self._rows:
            return
        plan, dtype = self.plan, self.parameters.dtype
        workspace = np.empty(plan.width * rows, dtype)
        deltas = np.empty(plan.width * rows, dtype)
        self._batch_x = np.empty((rows, plan.inputs), dtype)
        self._batch_weight = np.empty(rows, dtype)
        self._batch_labels = np.empty(rows, np.int64)
        self._batch_target = np.empty((rows, plan.outputs), dtype)
        piece = min(rows * plan.widest, max(PIECE, plan.widest))
        whole = max(piece, rows * plan.scratch_width)
        self._scratch = [np.empty(size, dtype) for size in (whole, whole, piece)]
        self._row = np.empty(rows, dtype)
        self._best = np.empty(rows, np.intp)
        for layer in self._layers:
            op, width = layer.op, int(layer.op["outputs"])

            def block(flat: Array, offset: int, width: int) -> Array:
                return flat[offset * rows : (offset + width) * rows].reshape(rows, width)

            layer.y = block(workspace, int(op["y"]), width)
            layer.z = layer.y if op["z"] == op["y"] else block(workspace, int(op["z"]), width)
            layer.dz = block(deltas, int(op["y"]), width)
            if op["xhat"] >= 0:
                layer.xhat = block(workspace, int(op["xhat"]), width)
            if op["kind"] == abi.LAYER_NORM:
                layer.scale = block(workspace, int(op["xhat"]) + width, 1)
            elif op["kind"] == abi.BATCH_NORM:
                layer.scale = np.empty((1, width), dtype)
        self._rows = rows

    def gather(self, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
        if order is None:
            return rows.part(start, stop)
        index, count = order[start:stop], stop - start
        batch = [
            None if source is None else np.take(source, index, 0, out=into, mode="clip")
            for source, into in zip(
                rows.fields,
                (
                    self._batch_x[:count],
                    self._batch_labels[:count],
                    self._target_block(rows.target, count),
                    self._batch_weight[:count],
                ),
                strict=True,
            )
        ]
        return Batch(*batch)

    def _target_block(self, target: Array | None, count: int) -> Array:
        """Return memory for `count` target rows, which have at most as many columns as outputs."""
        columns = 0 if target is None else target.shape[1]
        return self._batch_target.reshape(-1)[: count * columns].reshape(count, columns)

    def order(self, count: int, seed: int, epoch: int) -> Array:
        # Each span of an epoch asks for it, and for many rows it takes longer than a step.
        key = count, seed, epoch
        if self._order is None or self._order[0] != key:
            self._order = key, random.permutation(count, seed=seed, epoch=epoch)
        return self._order[1]

    def _scratch_for(self, like: Array) -> list[Array]:
        """Return scratch arrays of the shape of `like`; the third one is for a piece of rows."""
        return [s[: like.size].reshape(like.shape) for s in self._scratch if s.size >= like.size]

    def _by_pieces(self, function: Callable[..., None], *arrays: Array, scratch: int) -> None:
        """Call an activation's function on arrays (B, O), a piece of the rows at a time."""
        count, width = arrays[0].shape
        size = max(1, PIECE // width)
        if count <= size:
            function(*arrays, *self._scratch_for(arrays[0])[:scratch])
            return
        for start in range(0, count, size):
            # An array that comes twice stays one array.
            views = {id(array): array[start : start + size] for array in arrays}
            parts = [views[id(array)] for array in arrays]
            function(*parts, *self._scratch_for(parts[0])[:scratch])

    # --- forward ---------------------------------------------------------------------------------

    @_quietly
    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        self._training = training
        first, count = x, len(x)
        for layer in self._layers:
            kind = layer.op["kind"]
            z = layer.z[:count]
            y = z if layer.y is layer.z else layer.y[:count]
            if kind == abi.DENSE:
                layer.times_weights(z, x)
                z += layer.b
            elif kind == abi.DROPOUT:
                self._dropout_forward(layer, z, x, seed, step)
            elif kind == abi.BATCH_NORM:
                self._batch_norm_forward(layer, z, x)
            elif kind == abi.ADD:
                skip = int(layer.op["skip"])
                np.add(x, first if skip < 0 else self._layers[skip].y[:count], out=z)
            else:
                self._layer_norm_forward(layer, z, x)
            self._by_pieces(layer.activation.forward, y, z, scratch=2)
            x = y
        return x

    def _dropout_forward(self, layer: Layer, z: Array, x: Array, seed: int, step: int) -> None:
        """``z = x * mask`` in training, ``z = x`` otherwise."""
        if not self._training:
            np.copyto(z, x)
            return
        mask, op = layer.xhat[: len(x)], layer.op
        rate, stream = float(op["rate"]), int(op["stream"])
        random.dropout_mask(mask, rate=rate, step=step, stream=stream, seed=seed)
        np.multiply(x, mask, out=z)

    def _batch_norm_forward(self, layer: Layer, z: Array, x: Array) -> None:
        """``z = gamma xhat + beta``, ``xhat = (x - mean) / sqrt(var + epsilon)`` by columns."""
        xhat, count = layer.xhat[: len(x)], len(x)
        mean = self._column[: x.shape[1]]
        if self._training:
            np.mean(x, axis=0, out=mean)
        else:
            np.copyto(mean, layer.running_mean)
        np.subtract(x, mean, out=xhat)
        scale = layer.scale[0]
        if self._training:
            np.einsum("bo,bo->o", xhat, xhat, out=scale)
            scale /= count
            momentum = float(layer.op["momentum"])
            mean *= momentum
            layer.running_mean *= 1.0 - momentum
            layer.running_mean += mean
            np.multiply(scale, momentum * count / max(count - 1, 1), out=mean)
            layer.running_var *= 1.0 - momentum
            layer.running_var += mean
        else:
            np.copyto(scale, layer.running_var)
        scale += float(layer.op["epsilon"])
        np.sqrt(scale, out=scale)
        np.divide(1, scale, out=scale)
        xhat *= scale
        np.multiply(xhat, layer.w, out=z)
        z += layer.b

    def _layer_norm_forward(self, layer: Layer, z: Array, x: Array) -> None:
        """``z = gamma xhat + beta``, ``xhat = (x - mean) / sqrt(var + epsilon)`` by rows."""
        xhat, scale = layer.xhat[: len(x)], layer.scale[: len(x)]
        np.mean(x, axis=1, keepdims=True, out=scale)
        np.subtract(x, scale, out=xhat)
        np.einsum("bo,bo->b", xhat, xhat, out=scale[:, 0])
        scale /= x.shape[1]
        scale += float(layer.op["epsilon"])
        np.sqrt(scale, out=scale)
        np.divide(1, scale, out=scale)
        xhat *= scale
        np.multiply(xhat, layer.w, out=z)
        z += layer.b

    # --- backward --------------------------------------------------------------------------------

    @_quietly
    def backward(self, batch: Batch, loss: Loss) -> None:
        self.evaluate_batch(batch, loss)
        self._propagate(batch.x, logits=loss.fused_activation == self._layers[-1].activation.name)

    @_quietly
    def backward_from(self, x: Array, gradient: Array, *, logits: bool) -> None:
        np.copyto(self._layers[-1].dz[: len(x)], gradient)
        self._propagate(x, logits=logits)

    def _propagate(self, first: Array, *, logits: bool) -> None:
        """Set `gradients` from the last layer's dz, which with `logits` need not become that of z.

        `first` is the input of the first layer.
        """
        count = len(first)
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            x = self._layers[index - 1].y[:count] if index else first
            dx = self._layers[index - 1].dz[:count] if index else None
            dz, y, z = layer.dz[:count], layer.y[:count], layer.z[:count]
            for end in self._ends[index]:
                dz += self._layers[end].dz[:count]
            if not (logits and index == len(self._layers) - 1):
                self._by_pieces(layer.activation.backward, dz, dz, y, z, scratch=3)
            kind = layer.op["kind"]
            if kind == abi.DENSE:
                layer.set_weight_gradient(x, dz)
                np.sum(dz, axis=0, out=layer.db)
                if dx is not None:
                    layer.times_turned_weights(dx, dz)
            elif kind == abi.DROPOUT:
                self._dropout_backward(layer, dx, dz)
            elif kind == abi.ADD:
                assert dx is not None  # something is inside of a connection
                np.copyto(dx, dz)
            else:
                self._norm_backward(layer, dx, dz)

    @_quietly
    def evaluate_batch(self, batch: Batch, loss: Loss) -> None:
        # Also writes the gradient of the mean loss to the last layer's dz.
        count, last = len(batch), self._layers[-1]
        y, d, row = last.y[:count], last.dz[:count], self._row[:count]
        s, t = self._scratch_for(y)[:2]
        head = LossArrays(
            y, last.z[:count], batch.labels, batch.target, d, row, s, t, self._best[:count]
        )
        loss.gradient(head)
        if batch.weight is None:
            total, loss_sum = float(count), float(row.sum(dtype=np.float64))
        else:
            total = float(batch.weight.sum(dtype=np.float64))
            row *= batch.weight
            loss_sum = float(row.sum(dtype=np.float64))
            d *= batch.weight[:, None]
        d *= 1.0 / total if total > 0 else 0.0
        loss.score_rows(head)
        if batch.weight is not None:
            row *= batch.weight
        self.tally[abi.LOSS_SUM] += loss_sum
        self.tally[abi.SCORE_SUM] += row.sum(dtype=np.float64)
        self.tally[abi.WEIGHT_SUM] += total
        self.tally[abi.STEPS] += np.isfinite(self.tally[abi.LOSS_SUM])

    def _dropout_backward(self, layer: Layer, dx: Array | None, dz: Array) -> None:
        if dx is None:
            return
        if self._training:
            np.multiply(dz, layer.xhat[: len(dz)], out=dx)
        else:
            np.copyto(dx, dz)

    def _norm_backward(self, layer: Layer, dx: Array | None, dz: Array) -> None:
        """``dx = scale (g - mean(g) - xhat mean(g xhat))`` with ``g = gamma dz``.

        The means run over the batch or over the units; they vanish where the statistics are
        constants, which is batch normalisation outside training.
        """
        xhat = layer.xhat[: len(dz)]
        np.einsum("bo,bo->o", dz, xhat, out=layer.dw)
        np.sum(dz, axis=0, out=layer.db)
        if dx is None:
            return
        over_rows = layer.op["kind"] == abi.LAYER_NORM
        np.multiply(dz, layer.w, out=dx)
        if over_rows or self._training:
            axis = 1 if over_rows else 0
            mean = self._row[: len(dz), None] if over_rows else self._column[: dz.shape[1]][None]
            s, t = self._scratch_for(dz)[:2]
            np.multiply(dx, xhat, out=s)
            np.mean(s, axis=axis, keepdims=True, out=mean)
            np.multiply(xhat, mean, out=t)
            np.mean(dx, axis=axis, keepdims=True, out=mean)
            dx -= mean
            dx -= t
        dx *= layer.scale[: len(dz)] if over_rows else layer.scale

    # --- update ----------------------------------------------------------------------------------

    @_quietly
    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self._update(optimizer, moments, coefficients)

    def bounded(self) -> AbstractContextManager[Any]:
        # Only BLAS runs several threads here.
        small = self._rows * self.plan.product_flops <= BLAS_ALONE
        return nullcontext() if small else BLAS.bounded(self.threads_for(self._rows))

    def threads_for(self, batch: int) -> int:
        worth = batch * self.plan.product_flops // FLOPS_PER_BLAS_THREAD
        most = BLAS.most() if self.threads is None else self.threads
        return threads_that_pay(None, min(cores(), most), worth)

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        self.reserve(1)
        result: NDArray[Any] = self.forward(row[None], training=False)[0].copy()
        return result

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self.parameters.dtype)


class NumpyBackend(Backend):
    """The reference backend, which runs everywhere."""

    name: ClassVar[str] = "numpy"
    install: ClassVar[str] = "pip install numpy"

    def why_unavailable(self) -> str | None:
        return None

    def plain_engine(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        *,
        threads: int | None = None,
        precision: str = "float32",
    ) -> Engine:
        return NumpyEngine(plan, parameters, state, threads)

    def asarray(self, values: NDArray[Any]) -> Array:
        return values

    def to_host(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def describe(self) -> dict[str, str]:
        return {"numpy": np.__version__, **blas.described()}
