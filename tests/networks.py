"""Networks and data for the numerical tests, and their translation for `tests.reference`.

All numbers are exact in float32, so that float32 and float64 runs, and the reference, start from
the same ones.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet.backends
from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.nn import losses, random, strips
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.batch import Batch
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Residual
from fastnet.nn.losses import LOSSES, Loss
from fastnet.nn.plan import Plan, make_plan
from tests import reference
from tests.closeness import assert_close

Array = NDArray[Any]

STEP = 5  # the step that keys the dropout masks of `cached_case`
HIDDEN_ACTIVATIONS = [name for name, row in ACTIVATIONS.items() if not row.output_only]
LOSS_OUTPUTS = [(loss, output) for loss, row in LOSSES.items() for output in row.output_activations]


def usable_backends() -> dict[str, Backend]:
    """Return every backend that can run here, and the emulated GPU where it was built."""
    found = {}
    for name in fastnet.backends.NAMES:
        if fastnet.backends.find(name).why_unavailable() is None:
            found[name] = fastnet.backends.get_backend(name)
    try:
        host = importlib.import_module("tests.cuda.host_backend").HostBackend()
    except ImportError:
        return found
    if host.why_unavailable() is None:
        found["cuda-on-host"] = host
    return found


@dataclass(frozen=True)
class Bench:
    """One backend at one dtype: makes engines, and moves arrays there and back."""

    backend: Backend
    dtype: np.dtype[Any]

    def engine(self, plan: Plan, parameters: Array, state: Array | None = None) -> Engine:
        """Return an engine on copies of these parameters."""
        state = plan.initial_state(self.dtype) if state is None else state
        return self.backend.engine(plan, self.put(parameters), self.put(state))

    def put(self, values: Array) -> Any:
        """Return a copy of a host array on the backend, floats in the dtype of this bench."""
        dtype = self.dtype if values.dtype.kind == "f" else values.dtype
        return self.backend.asarray(np.array(values, dtype, order="C"))

    def rows(self, rows: Batch) -> Batch:
        return Batch(*(None if a is None else self.put(a) for a in rows.fields))

    def get(self, values: Any) -> Array:
        return self.backend.to_host(values)

    def run(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        rows: Batch,
        loss: Loss,
        *,
        training: bool = False,
        seed: int = 0,
    ) -> tuple[Engine, Array, LossSums]:
        """Forward and backward once; return the engine, the output and the sums."""
        engine, batch = self.engine(plan, parameters, state), self.rows(rows)
        engine.reserve(len(rows))
        output = engine.forward(batch.x, training=training, seed=seed, step=STEP)
        output = np.array(self.get(output))
        engine.backward(batch, loss)
        return engine, output, engine.read_tally()

    def moments(self, config: TrainConfig, plan: Plan) -> Any:
        return self.put(np.zeros((config.optimizer.n_moments, plan.size)))


# --- networks and data ----------------------------------------------------------------------------


def exact(values: Array) -> Array:
    """Round to float32 and return as float64."""
    return values.astype(np.float32).astype(np.float64)


def dense_plan(inputs: int, *layers: Layer | tuple[int, str]) -> Plan:
    """Return the plan of a chain of layers, dense ones being given as ``(units, activation)``."""
    return make_plan(inputs, tuple(a if isinstance(a, Layer) else Dense(*a) for a in layers))


def random_parameters(plan: Plan, seed: int = 0) -> Array:
    """Return parameters (P,), no two layers alike, no bias zero, with outputs of order 1."""
    rng = np.random.default_rng(seed)
    flat = np.empty(plan.size)
    for tensor in plan.parameters:
        scale = 0.3 if len(tensor.shape) == 1 else tensor.shape[0] ** -0.5
        values = rng.standard_normal(tensor.shape) * scale
        tensor.view(flat)[...] = np.abs(values) + 0.5 if is_gamma(plan, tensor.name) else values
    outside = strips.outside(plan)
    return exact(flat) if outside is None else np.where(outside, 0.0, exact(flat))


def is_gamma(plan: Plan, name: str) -> bool:
    tensor = next(t for t in plan.parameters if t.name == name)
    norm = isinstance(plan.chain[tensor.op], BatchNorm | LayerNorm)
    return norm and name.endswith("weight")


def random_state(plan: Plan, seed: int = 0) -> Array:
    """Return running statistics (S,): means around 0, variances around 1."""
    rng = np.random.default_rng(seed + 1000)
    flat = rng.uniform(-0.5, 0.5, plan.state_size)
    for tensor in plan.state:
        if tensor.name.endswith("running_var"):
            tensor.view(flat)[...] += 1.0
    return exact(flat)


def random_rows(
    plan: Plan,
    loss: Loss,
    count: int,
    *,
    seed: int = 0,
    labels: bool = False,
    weighted: bool = False,
) -> Batch:
    """Return rows that suit a loss: class shares, yes-or-no answers, counts or real numbers."""
    rng = np.random.default_rng(seed + 2000)
    x = exact(rng.standard_normal((count, plan.inputs)))
    columns = plan.outputs // loss.outputs_per_target
    weight = exact(rng.uniform(0.25, 2.0, count)) if weighted else None
    if labels:
        return Batch(x, rng.integers(0, plan.outputs, count), None, weight)
    if loss.name == "cross_entropy":
        # Eighths: exact in float32, and every row sums to one.
        target = rng.multinomial(8, np.full(columns, 1 / columns), count) / 8
    elif loss.name == "binary_cross_entropy":
        target = rng.integers(0, 2, (count, columns)).astype(float)
    elif loss.name == "poisson":
        target = rng.poisson(2.0, (count, columns)).astype(float)
    else:
        target = exact(rng.standard_normal((count, columns)))
    return Batch(x, None, target, weight)


def outputs_for(loss: Loss, targets: int) -> int:
    """Return the width of the output layer for so many target columns."""
    return targets * loss.outputs_per_target


def loss_options(loss: Loss) -> dict[str, Any]:
    """Return a loss's own numbers by name, for the reference."""
    return {field.name: getattr(loss, field.name) for field in fields(loss)}


# --- translation for the reference ----------------------------------------------------------------


def to_reference(plan: Plan, parameters: Array, state: Array | None = None) -> list[Any]:
    """Return the network as the reference takes it."""
    named = {t.name: t.view(parameters).tolist() for t in plan.parameters}
    state = plan.initial_state(np.float64) if state is None else state
    named |= {t.name: t.view(state).tolist() for t in plan.state}
    return [
        _to_reference(layer, f"layers.{index}", named) for index, layer in enumerate(plan.layers)
    ]


def _to_reference(layer: Layer, name: str, named: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": layer.name}
    if isinstance(layer, Residual):
        inside = enumerate(layer.layers)
        entry["layers"] = [_to_reference(v, f"{name}.layers.{k}", named) for k, v in inside]
        return entry
    for field in ("activation", "epsilon", "momentum"):
        if hasattr(layer, field):
            entry[field] = getattr(layer, field)
    parts = {"weight": "w", "bias": "b", "running_mean": "running_mean"}
    for part, key in (parts | {"running_var": "running_var"}).items():
        if f"{name}.{part}" in named:
            entry[key] = named[f"{name}.{part}"]
    return entry


def _indices(name: str) -> list[int]:
    """Return the places on the way to a layer: 2 and 0 for ``layers.2.layers.0``."""
    return [int(part) for part in name.split(".") if part != "layers"]


def _entry(network: list[Any], name: str) -> Any:
    """Return what the reference holds for the layer of that name."""
    *around, last = _indices(name)
    for index in around:
        network = network[index]["layers"]
    return network[last]


def dense_target(plan: Plan, rows: Batch) -> list[Any]:
    """Return the targets as the reference takes them: labels become one-hot rows."""
    if rows.labels is not None:
        return reference.one_hot(rows.labels.tolist(), plan.outputs)
    assert rows.target is not None
    return rows.target.tolist()


def dropout_masks(plan: Plan, count: int, *, seed: int, step: int) -> dict[int, Any]:
    """Return the masks of one step: the only thing the reference takes from fastnet."""
    masks: dict[int, Any] = {}
    for stream, (layer, op) in enumerate(zip(plan.chain, plan.ops, strict=True)):
        if isinstance(layer, Dropout):
            mask = np.empty((count, int(op["outputs"])))
            random.dropout_mask(mask, rate=layer.rate, step=step, stream=stream, seed=seed)
            *around, index = _indices(plan.names[stream])
            inside = masks
            for outer in around:
                inside = inside.setdefault(outer, {})
            inside[index] = mask.tolist()
    return masks


def reference_result(
    plan: Plan,
    parameters: Array,
    rows: Batch,
    loss: Loss,
    *,
    state: Array | None = None,
    training: bool = False,
    seed: int = 0,
    step: int = 0,
) -> dict[str, Any]:
    """Return the reference's sums, outputs, flat gradients (P,) and, moved, running statistics."""
    network = to_reference(plan, parameters, state)
    result = reference.loss_and_gradients(
        network,
        rows.x.tolist(),
        dense_target(plan, rows),
        loss.name,
        loss_options(loss),
        weight=None if rows.weight is None else rows.weight.tolist(),
        training=training,
        masks=dropout_masks(plan, len(rows), seed=seed, step=step),
    )
    result["gradients"] = flat_parameters(plan, result["gradients"])
    result["state"] = flat_state(plan, network)
    return result


def flat_parameters(plan: Plan, network: list[Any]) -> Array:
    """Return what the reference holds under ``w`` and ``b``, laid out as the plan says."""
    flat = np.full(plan.size, np.nan)
    for tensor in plan.parameters:
        name, _, part = tensor.name.rpartition(".")
        tensor.view(flat)[...] = _entry(network, name)[part[0]]
    return flat


def flat_state(plan: Plan, network: list[Any]) -> Array:
    flat = np.full(plan.state_size, np.nan)
    for tensor in plan.state:
        name, _, part = tensor.name.rpartition(".")
        tensor.view(flat)[...] = _entry(network, name)[part]
    return flat


@lru_cache(maxsize=2000)
def cached_case(
    inputs: int,
    layers: tuple[Layer, ...],
    loss: Loss,
    count: int,
    labels: bool = False,
    weighted: bool = False,
    training: bool = False,
    seed: int = 0,
) -> tuple[Plan, Array, Array, Batch, dict[str, Any]]:
    """Return a network, its data and what the reference makes of them: once for all backends."""
    plan = make_plan(inputs, layers)
    parameters, state = random_parameters(plan, seed), random_state(plan, seed)
    rows = random_rows(plan, loss, count, seed=seed, labels=labels, weighted=weighted)
    expected = reference_result(
        plan, parameters, rows, loss, state=state, training=training, step=STEP
    )
    return plan, parameters, state, rows, expected


# --- comparison -----------------------------------------------------------------------------------


def terms_of(plan: Plan, count: int = 1) -> int:
    """Return how many roundings a gradient passes through: every sum on its way, once."""
    return count + plan.inputs + sum(int(op["inputs"] + op["outputs"]) for op in plan.ops)


def assert_same_gradients(
    plan: Plan,
    actual: Array,
    expected: Array,
    *,
    count: int,
    factor: float = 8.0,
    least: float = 0.0,
) -> None:
    """Compare tensor by tensor: a small layer is not measured by a large one.

    Weights and biases of one layer are sums over the same gradients, so they share a scale. (What a
    bias adds in front of a batch normalisation is taken off again: its gradient is 0 but for
    rounding.)
    """
    assert actual.shape == expected.shape
    sizes: dict[str, float] = {}
    for tensor in plan.parameters:
        layer = tensor.name.rsplit(".", 1)[0]
        sizes[layer] = max(sizes.get(layer, least), float(np.abs(tensor.view(expected)).max()))
    for tensor in plan.parameters:
        assert_close(
            tensor.view(actual),
            tensor.view(expected),
            terms=terms_of(plan, count),
            factor=factor,
            scale=sizes[tensor.name.rsplit(".", 1)[0]],
            what=tensor.name,
        )


def assert_same_tally(
    tally: LossSums, expected: dict[str, Any], dtype: Any, *, terms: float, steps: int = 1
) -> None:
    """Compare sums of losses, scores and weights; what cancels in them is their scale."""
    size = sum(abs(value) for value in expected["rows"]) * max(1.0, expected["weight"])
    sums = np.array([tally.loss, tally.score, tally.weight]).astype(dtype)
    for value, key in zip(sums, ("loss", "score", "weight"), strict=True):
        scale = max(size, abs(expected[key])) if key == "loss" else None
        assert_close(value, expected[key], terms=terms, scale=scale, what=key)
    assert tally.steps == steps


# --- strategies -----------------------------------------------------------------------------------


@st.composite
def small_networks(draw: st.DrawFn, *, smooth: bool = False) -> tuple[Plan, Loss]:
    """Draw a plan and a loss that fits it."""
    kinked = {"relu", "leaky_relu", "elu", "selu"} if smooth else set()
    hidden = [name for name in HIDDEN_ACTIVATIONS if name not in kinked and name != "exp"]
    loss_name, output = draw(st.sampled_from(LOSS_OUTPUTS))
    loss = losses.get(loss_name, output)
    width = st.integers(1, 20)
    layers: list[Layer] = []
    for _ in range(draw(st.integers(0, 3))):
        units = draw(width)
        layers.append(Dense(units, draw(st.sampled_from(hidden))))
        # Of one or two units nothing is left but their order: the gradient is 0 but for rounding.
        if units > 4 and draw(st.booleans()):
            layers.append(LayerNorm())
        if draw(st.integers(0, 2)) == 0:
            inside = Dense(draw(width), draw(st.sampled_from(hidden))), Dense(units)
            layers.append(Residual(inside))
    least = 2 if ACTIVATIONS[output].output_only else 1
    layers.append(Dense(outputs_for(loss, max(least, draw(st.integers(1, 6)))), output))
    return make_plan(draw(width), tuple(layers)), loss


@st.composite
def cuts(draw: st.DrawFn, count: int) -> list[int]:
    """Draw where ``range(count)`` is cut into parts: from 0 up to `count`."""
    inner = st.sets(st.integers(1, count - 1), max_size=4) if count > 1 else st.just(set())
    return sorted(draw(inner) | {0, count})
