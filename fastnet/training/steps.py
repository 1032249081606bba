"""The three steps of a training loop of one's own: forward, backward, update.

They run on an engine of their own, so that a prediction between a forward and its backward pass
does not overwrite the activations. Nothing else is different from ``fit``: the same engine methods,
the same optimizer state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnet.errors import DivergenceError, InputError
from fastnet.model import Model
from fastnet.nn import optimizers
from fastnet.nn.batch import Array
from fastnet.nn.gradients import Gradients
from fastnet.nn.memory import training_bytes
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.schedules import ReduceOnPlateau
from fastnet.preprocessing import validation
from fastnet.utils import memory
from fastnet.utils.device_arrays import on_host
from fastnet.utils.names import StreamOptimizerName
from fastnet.utils.param_validation import check_int, refuse_masked


@dataclass
class Pass:
    """What a forward pass leaves for the backward pass and the update.

    Attributes
    ----------
    x : (B, I)
        The encoded inputs, a copy.
    parameters : (P,)
        Those of the pass, a copy: gradients are only right at the same ones.
    gradients : Gradients or None
        Those of the newest backward pass.
    """

    x: Array
    parameters: Array
    gradients: Gradients | None = None


class Steps:
    """Forward, backward and update of one network in one thread."""

    def __init__(self) -> None:
        self._pass: Pass | None = None

    def forward(self, model: Model, x: Any, *, training: bool) -> Array:
        """Return the outputs (B, O) and keep what `backward` needs; see `Network.forward`."""
        self._pass = None
        values = model.preprocessor.transform(model.taken(x), model.dtype)
        count = len(values)
        if not count:
            raise InputError("x is empty: forward needs at least one row.")
        if training:
            model.plan.require_batch(count)
        if model.backend != "cupy":
            _, per_row = training_bytes(model.plan, model.dtype.itemsize, optimizers.SGD())
            memory.require(per_row * count, "the forward pass")
        engine = model.engine(use="engine of steps")
        engine.reserve(count)
        state = model.optimizer_state
        step = 0 if state is None else state.step
        placed = model.backend_object.own(values)
        outputs = engine.forward(placed, training=training, seed=model.seed, step=step)
        self._pass = Pass(placed, model.parameters.copy())
        return outputs.copy()

    def backward(self, model: Model, output_gradient: Any, *, logits: bool) -> Gradients:
        """Return the gradients of the parameters; see `Network.backward`."""
        kept = self._require_pass(model, "backward", "call net.forward(x) first")
        shape = len(kept.x), model.outputs
        given = _checked(model, "output_gradient", output_gradient)
        if given.shape != shape:
            raise InputError(
                f"output_gradient must have the shape of the outputs of forward, {shape}, got "
                f"{given.shape}."
            )
        gradient = model.backend_object.asarray(given)
        engine = model.engine(use="engine of steps")
        engine.backward_from(kept.x, gradient, logits=logits)
        flat = engine.gradients.copy()
        learns = model.plan.learns()
        if learns is not None:
            flat *= model.backend_object.asarray(learns.astype(model.dtype))
        kept.gradients = Gradients(model.plan, flat)
        return kept.gradients

    def update(
        self,
        model: Model,
        optimizer: StreamOptimizerName | Optimizer,
        gradients: Any,
        steps_per_epoch: int,
    ) -> None:
        """Take a step of the optimizer; see `Network.update`."""
        chosen, length = optimizers.get(optimizer), check_int("steps_per_epoch", steps_per_epoch)
        if isinstance(chosen, LBFGS):
            raise InputError("lbfgs needs all data at once: use fit, or another optimizer.")
        if isinstance(chosen.schedule, ReduceOnPlateau):
            raise InputError(
                "ReduceOnPlateau needs the loss of each epoch, which update does not see: use fit, "
                "or give the optimizer the learning rate that you choose."
            )
        if gradients is None:
            kept = self._require_pass(model, "update", "call net.forward and net.backward first")
            if kept.gradients is None:
                raise InputError(
                    "update needs gradients: call net.backward(output_gradient) first."
                )
            gradients = kept.gradients
        flat = _flat(model, gradients)
        # From here on the network changes; a step that makes a weight infinite is taken back.
        engine = model.engine(use="engine of steps")
        good = model.parameters.copy()
        state = model.state_for(chosen)
        engine.gradients[...] = flat
        rates = state.rates(np.array([state.batch / length]))
        (coefficients,) = chosen.step_coefficients(state.updates + 1, rates)
        engine.update(chosen, state.moments, coefficients)
        self._pass = None
        if not model.is_finite():
            model.parameters[...] = good
            state.forget()
            raise DivergenceError(
                "the step made a weight infinite or NaN; the weights from before it are back in "
                "place. Try a smaller learning_rate, or clip_norm=1.0 in the optimizer.",
                epoch=state.epoch + 1,
                step=state.batch + 1,
            )
        model.temperature = None
        state.advance_alone(length)

    def _require_pass(self, model: Model, what: str, remedy: str) -> Pass:
        """Return the newest forward pass, unless the parameters are others by now."""
        kept = self._pass
        if kept is None:
            raise InputError(f"{what} needs a forward pass since the last update: {remedy}.")
        if not bool((kept.parameters == model.parameters).all()):
            raise InputError(
                f"the parameters have changed since forward, so {what} would mix two networks: "
                f"{remedy}, then {what}."
            )
        return kept


def _checked(model: Model, name: str, values: Any) -> Array:
    """Return finite numbers of the network's dtype, where the caller has them."""
    refuse_masked(name, values)
    array = validation.numeric(name, model.taken(values, name))
    return validation.finite(name, validation.cast(array, model.dtype))


def _flat(model: Model, gradients: Any) -> Array:
    """Return gradients (P,) on the backend: those of `backward`, or what the caller gives."""
    if isinstance(gradients, Gradients):
        flat, like = gradients.flat, model.parameters
        if type(flat) is type(like) and (flat.shape, flat.dtype) == (like.shape, like.dtype):
            return flat
        gradients = flat
    return model.backend_object.asarray(_flat_and_checked(model, gradients))


def _flat_and_checked(model: Model, gradients: Any) -> Array:
    """Return gradients (P,) of the caller, flat or by name, after checking them."""
    plan = model.plan
    if not isinstance(gradients, Mapping):
        flat = _checked(model, "gradients", gradients)
        if flat.shape != (plan.size,):
            raise InputError(
                f"gradients must have the shape of net.parameters, ({plan.size},), or name every "
                f"parameter, got the shape {flat.shape}."
            )
        return flat
    names = [tensor.name for tensor in plan.parameters]
    odd = sorted(set(names).symmetric_difference(gradients), key=str)
    if odd:
        raise InputError(
            f"gradients must name every parameter of the network and nothing else: see {odd[0]!r}."
        )
    flat = np.empty(plan.size, model.dtype)
    for tensor in plan.parameters:
        name = f"gradients[{tensor.name!r}]"
        part = on_host(name, _checked(model, name, gradients[tensor.name]))
        if part.shape != tensor.shape:
            raise InputError(
                f"gradients[{tensor.name!r}] must have the shape {tensor.shape}, got {part.shape}."
            )
        tensor.view(flat)[...] = part
    return flat
