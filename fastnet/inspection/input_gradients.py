"""Gradients of outputs with respect to inputs, by the backward pass of a backend.

An engine's backward pass ends at the parameters of the first layer. So a dense layer is put in
front of the network: its input is the identity matrix and its weights are a block of rows. The
gradient of these weights is the gradient at the network's input, row by row.

The backward pass starts at a loss. So a dense layer is put behind the network which copies each
output, with a bias so far below zero that ``exp`` of the sum is 0. The Poisson loss of it has the
gradient ``0 - target``: the target chooses the gradient at the output. All of this is
``engine.gradient`` on another plan, so it works on every backend with its own kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.frame import Inputs
from fastnet.errors import InputError
from fastnet.model import Model
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Dense
from fastnet.nn.losses import Poisson
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.plan import make_plan
from fastnet.utils.device_arrays import on_host
from fastnet.utils.param_validation import refuse_masked

Array = NDArray[Any]

_BLOCK: Final = 64
"""Rows per block: enough for the matrix kernels, and the identity matrix stays small."""

_FAR_BELOW: Final = -1e30
"""Added to any output, it makes the exponential 0."""


class Sensitivity:
    """Converts gradients at the output to gradients at the input, up to `_BLOCK` rows at a time.

    Parameters
    ----------
    model : Model
    count : int
        Largest number of rows per call.
    """

    def __init__(self, model: Model, count: int) -> None:
        inputs, outputs, last = model.inputs, model.outputs, model.layers[-1]
        self.model, self.size = model, max(1, min(count, _BLOCK))
        self.softmax = model.plan.output_activation.output_only
        assert isinstance(last, Dense)
        if self.softmax:  # only a last layer may be softmax, so its derivative is computed here
            last = replace(last, activation="identity")
        layers = Dense(inputs), *model.layers[:-1], last, Dense(outputs, "exp")
        plan = make_plan(self.size, layers)
        backend, dtype = model.backend_object, model.dtype
        parameters = backend.asarray(np.zeros(plan.size, dtype))
        state = backend.asarray(np.zeros(plan.state_size, dtype))
        named = {tensor.name: tensor.view(parameters) for tensor in plan.parameters}
        named |= {tensor.name: tensor.view(state) for tensor in plan.state}
        for name, values in {**model.named_parameters(), **model.named_state()}.items():
            _, index, part = name.split(".", 2)
            named[f"layers.{int(index) + 1}.{part}"][...] = values
        end = f"layers.{len(layers) - 1}"
        named[f"{end}.weight"][...] = backend.asarray(np.eye(outputs, dtype=dtype))
        named[f"{end}.bias"][...] = _FAR_BELOW
        self.rows = named["layers.0.weight"]
        self.delta = next(t for t in plan.parameters if t.name == "layers.0.weight")
        self.identity = backend.asarray(np.eye(self.size, dtype=dtype))
        self.engine = backend.engine(plan, parameters, state)

    def pull_back(self, x: Array, y: Array, dy: Array) -> Array:
        """Return ``sum_o dy[n, o] d y[n, o] / d x[n, i]``, (N, I).

        Parameters
        ----------
        x : (N, I)
            Preprocessed inputs, in the network's dtype.
        y : (N, O)
            The outputs for x.
        dy : (N, O)
        """
        if self.softmax:
            dy = y * (dy - np.sum(dy * y, axis=1, keepdims=True))
        backend, size = self.model.backend_object, self.size
        dx = np.empty_like(x)
        for start in range(0, len(x), size):
            block = slice(start, min(start + size, len(x)))
            count = block.stop - start
            values = np.zeros_like(x, shape=(size, x.shape[1]))
            target = np.zeros_like(y, shape=(size, y.shape[1]), dtype=np.float64)
            values[:count] = x[block]
            # The factor undoes the mean over rows and outputs.
            target[:count] = -dy[block] * float(size * y.shape[1])
            self.rows[...] = backend.asarray(values)
            batch = Batch(self.identity, None, backend.asarray(target.astype(x.dtype)))
            self.engine.gradient(batch, Poisson())
            dx[block] = self.delta.view(backend.back(self.engine.gradients, x))[:count]
        return dx


def input_gradients(model: Model, x: Inputs, output: ArrayLike | None) -> Array:
    """Return the gradient of one output of each row with respect to that row, (N, I)."""
    values = model.preprocessor.transform(model.taken(x), model.dtype)
    y = _outputs(model, values)
    chosen = _chosen(output, model.preprocessor.decode(y, model.loss))
    dy = np.zeros_like(y)
    np.put_along_axis(dy, chosen[:, None], _units(model, y)[chosen, None], axis=1)
    return _unscaled(model, _pull_back(model, values, y)(dy))


def jacobian(model: Model, x: Inputs) -> Array:
    """Return the derivative of every output with respect to every input, (N, O, I)."""
    values = model.preprocessor.transform(model.taken(x), model.dtype)
    return _unscaled(model, _jacobian(model, values))


def _jacobian(model: Model, values: Array) -> Array:
    """Return the derivatives by preprocessed inputs (N, I), in the unit of the targets."""
    y = _outputs(model, values)
    pull_back, units = _pull_back(model, values, y), _units(model, y)
    result = np.empty_like(values, shape=(*y.shape, values.shape[1]))
    for k in range(y.shape[1]):
        dy = np.zeros_like(y)
        dy[:, k] = units[k]
        result[:, k] = pull_back(dy)
    return result


def _pull_back(model: Model, values: Array, y: Array) -> Callable[[Array], Array]:
    """Return what makes gradients at the inputs (N, I) of those at the outputs y, (N, O).

    Where the outputs are the mean of the members' outputs, it is the mean of their gradients.
    """
    if not isinstance(model.plan, MemberPlan):
        alone = Sensitivity(model, len(values))
        return lambda dy: alone.pull_back(values, y, dy)
    members = [(Sensitivity(one, len(values)), _outputs(one, values)) for one in model.members()]

    def pull_back(dy: Array) -> Array:
        total = np.zeros_like(values)
        for one, own in members:
            total += one.pull_back(values, own, dy)
        total *= 1.0 / len(members)
        return total

    return pull_back


def jacobian_one(model: Model, row: Any) -> Array:
    """Return the derivative of every output with respect to every input of one row, (O, I)."""
    values = model.preprocessor.transform_row(row, model.dtype)
    slopes = model.engine().jacobian_one(values)
    if slopes is None:
        slopes = _jacobian(model, values[None])[0]
    elif model.preprocessor.target is not None:
        slopes = (slopes * _units(model, slopes)[:, None]).astype(model.dtype)
    return _unscaled(model, slopes)


def _outputs(model: Model, values: Array) -> Array:
    """Return the outputs for preprocessed inputs; for a table they are scaled too."""
    outputs: Array = model.backend_object.outputs(model.engine(), values)
    return outputs


def _chosen(output: ArrayLike | None, y: Array) -> NDArray[np.intp]:
    """Return the index of an output for each row."""
    if output is None:
        best: NDArray[np.intp] = np.argmax(y, axis=1)
        return best
    refuse_masked("output", output)
    index = np.asarray(on_host("output", output))
    fits = index.dtype.kind in "iu" and index.shape in ((), (len(y),))
    if not fits or (index.size and not (index.min() >= 0 and index.max() < y.shape[1])):
        raise InputError(
            f"output must be a whole number from 0 to {y.shape[1] - 1}, or one for each row, "
            f"got {output!r}."
        )
    return np.asarray(np.broadcast_to(index, (len(y),)).astype(np.intp), like=y)


def _units(model: Model, like: Array) -> Array:
    """Return the factor from each output (O,) to the unit of a table's targets, where `like` is."""
    target = model.preprocessor.target
    if target is None or target.labels is not None:
        return np.asarray(np.ones(model.outputs), like=like)
    return np.asarray(target.units(model.outputs, model.loss)[0], like=like)


def _unscaled(model: Model, dx: Array) -> Array:
    """Return gradients with respect to the inputs before scaling."""
    scale = model.preprocessor.input_scale()
    if scale is not None:
        dx = (dx / np.asarray(scale, like=dx)).astype(model.dtype)
    return dx
