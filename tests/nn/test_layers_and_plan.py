"""Layers: what they may be given. Plans: where everything lies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import layers
from fastnet.nn.activations import ACTIVATIONS, BY_CODE
from fastnet.nn.layers import LAYERS, BatchNorm, Dense, Dropout, Layer, LayerNorm
from fastnet.nn.plan import Plan, make_plan
from tests.networks import HIDDEN_ACTIVATIONS

EXAMPLES: dict[str, Layer] = {
    "dense": Dense(3, "relu", "zeros"),
    "dropout": Dropout(0.25),
    "batch_norm": BatchNorm("tanh", 0.5, 1e-3),
    "layer_norm": LayerNorm("gelu", 1e-3),
}


# --- layers ---------------------------------------------------------------------------------------


def test_every_layer_has_an_example() -> None:
    assert set(EXAMPLES) == set(LAYERS)
    assert all(type(EXAMPLES[name]) is kind for name, kind in LAYERS.items())


def test_names_and_codes_are_unique() -> None:
    assert all(kind.name == name for name, kind in LAYERS.items())
    assert sorted(kind.code for kind in LAYERS.values()) == list(range(len(LAYERS)))


@pytest.mark.parametrize("layer", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_a_layer_comes_back_from_its_dict(layer: Layer) -> None:
    values = layers.to_dict(layer)
    assert values["layer"] == layer.name
    assert all(isinstance(v, str | int | float) for v in values.values())
    assert layers.from_dict(values) == layer


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_chooses_the_initializer(activation: str) -> None:
    assert Dense(3, activation).initializer == ACTIVATIONS[activation].initializer
    assert Dense(3, activation, "normal").initializer == "normal"


@pytest.mark.parametrize("units", [5, np.int64(5), np.uint8(5)])
def test_units_become_a_plain_int(units: Any) -> None:
    assert type(Dense(units).units) is int


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "units must be a whole number of at least 1, got 0"),
        (lambda: Dense(-3), "units must be a whole number of at least 1, got -3"),
        (lambda: Dense(2.0), "units must be a whole number of at least 1, got 2.0"),
        (lambda: Dense(True), "units must be a whole number of at least 1, got True"),
        (lambda: Dense("3"), "units must be a whole number of at least 1, got '3'"),
        (lambda: Dense(3, "rellu"), "unknown activation 'rellu'; did you mean 'relu'"),
        (lambda: Dense(3, "relu", "he"), "unknown initializer 'he'"),
        (lambda: Dropout(1.0), "rate must be at least 0 and below 1, got 1.0"),
        (lambda: Dropout(-0.1), "rate must be at least 0 and below 1, got -0.1"),
        (lambda: Dropout(math.nan), "rate must be at least 0 and below 1, got nan"),
        (lambda: Dropout("0.5"), "rate must be at least 0 and below 1, got '0.5'"),
        (lambda: Dropout(False), "rate must be at least 0 and below 1, got False"),
        (lambda: BatchNorm("rellu"), "unknown activation 'rellu'"),
        (lambda: BatchNorm(momentum=1.5), "momentum must be at least 0 and at most 1, got 1.5"),
        (lambda: BatchNorm(momentum=-0.1), "momentum must be at least 0 and at most 1, got -0.1"),
        (lambda: BatchNorm(epsilon=0), "epsilon must be above 0 and below 1, got 0"),
        (lambda: LayerNorm(epsilon=1.0), "epsilon must be above 0 and below 1, got 1.0"),
        (lambda: LayerNorm(epsilon=math.nan), "epsilon must be above 0 and below 1, got nan"),
        (lambda: LayerNorm("rellu"), "unknown activation 'rellu'"),
        (lambda: layers.from_dict({"layer": "dence"}), "unknown layer 'dence'; did you mean"),
        (lambda: layers.from_dict({}), "unknown layer None"),
        (lambda: layers.from_dict({"layer": "dropout", "rate": 2}), "rate must be at least 0"),
        (lambda: layers.chain([3], "relu", "identity"), "must name at least the inputs and the"),
        (lambda: layers.chain([3, 0, 1], "relu", "identity"), "size must be a whole number"),
        (lambda: make_plan(0, (Dense(1),)), "inputs must be a whole number of at least 1, got 0"),
        (lambda: make_plan(2, ()), "the last layer must be Dense"),
        (lambda: make_plan(2, (Dense(2), Dropout(0.5))), "the last layer must be Dense"),
        (lambda: make_plan(2, (Dense(2), BatchNorm())), "the last layer must be Dense"),
        (lambda: make_plan(2, (Dense(2), 3)), r"layers\[1\] must be a layer such as"),
        (lambda: make_plan(2, (Dense(2, "softmax"), Dense(2))), r"layers\[0\] .* only the last"),
        (lambda: make_plan(2, (BatchNorm("softmax"), Dense(2))), r"layers\[0\] .* only the last"),
        (lambda: make_plan(2, (Dense(1, "softmax"),)), "1 for every row: .* 'sigmoid' .* two out"),
    ],
)
def test_a_bad_argument_is_an_input_error_in_a_sentence(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make()
    assert str(error.value).endswith((".", "?"))


@pytest.mark.parametrize("values", [{"layer": "dense"}, {"layer": "dropout", "rat": 1}])
def test_a_dict_that_describes_no_layer_is_an_input_error(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"a layer '{values['layer']}' cannot be made from"):
        layers.from_dict(values)


def test_a_list_of_sizes_is_a_chain_of_dense_layers() -> None:
    inputs, chain = layers.chain([4, 8, 6, 3], "relu", "softmax")
    assert inputs == 4
    assert chain == (Dense(8, "relu"), Dense(6, "relu"), Dense(3, "softmax"))


# --- plans ----------------------------------------------------------------------------------------

any_layer = st.one_of(
    st.builds(Dense, st.integers(1, 9), st.sampled_from(HIDDEN_ACTIVATIONS)),
    st.builds(Dropout, st.floats(0, 0.9)),
    st.builds(BatchNorm, st.sampled_from(HIDDEN_ACTIVATIONS)),
    st.builds(LayerNorm, st.sampled_from(HIDDEN_ACTIVATIONS)),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw any chain of layers."""
    hidden = draw(st.lists(any_layer, max_size=7))
    row = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    output = Dense(draw(st.integers(2 if row.output_only else 1, 9)), row.name)
    return make_plan(draw(st.integers(1, 9)), (*hidden, output))


def assert_tiles(parts: list[tuple[int, int]], size: int) -> None:
    """Fail unless the parts, as (offset, size), cover ``range(size)`` once each."""
    end = 0
    for offset, length in sorted(parts):
        assert offset == end, "a gap or an overlap"
        end += length
    assert end == size


@pytest.mark.parametrize("parts", [[(0, 2), (1, 2)], [(0, 2), (3, 1)], [(0, 2)], [(0, 5)]])
def test_gaps_and_overlaps_are_noticed(parts: list[tuple[int, int]]) -> None:
    with pytest.raises(AssertionError):
        assert_tiles(parts, 4)


@given(plans())
def test_parameters_and_statistics_cover_their_buffers_exactly(plan: Plan) -> None:
    for tensors, size in [(plan.parameters, plan.size), (plan.state, plan.state_size)]:
        assert_tiles([(t.offset, t.size) for t in tensors], size)
        assert len({t.name for t in tensors}) == len(tensors)


@given(plans())
def test_the_weights_of_dense_layers_are_the_prefix_that_decays(plan: Plan) -> None:
    for tensor in plan.parameters:
        _, index, part = tensor.name.split(".")
        dense = isinstance(plan.layers[int(index)], Dense)
        decays = tensor.offset + tensor.size <= plan.n_weights
        assert decays == (dense and part == "weight")
        assert decays or tensor.offset >= plan.n_weights


@given(plans())
def test_names_follow_the_layers_and_point_where_the_records_do(plan: Plan) -> None:
    expected: dict[str, tuple[int, tuple[int, ...]]] = {}
    width = plan.inputs
    for index, (layer, op) in enumerate(zip(plan.layers, plan.ops, strict=True)):
        assert op["kind"] == layer.code
        assert op["inputs"] == width
        shape: tuple[int, ...] = (width,)
        if isinstance(layer, Dense):
            shape, width = (width, layer.units), layer.units
        assert op["outputs"] == width
        assert BY_CODE[int(op["activation"])].name == getattr(layer, "activation", "identity")
        if isinstance(layer, Dropout):
            assert op["weight"] == op["bias"] == op["state"] == -1
            assert op["rate"] == layer.rate
            continue
        expected[f"layers.{index}.weight"] = int(op["weight"]), shape
        expected[f"layers.{index}.bias"] = int(op["bias"]), (width,)
        if isinstance(layer, BatchNorm):
            assert op["momentum"] == layer.momentum
        else:
            assert op["state"] == -1
        if not isinstance(layer, Dense):
            assert op["epsilon"] == layer.epsilon
    assert {t.name: (t.offset, t.shape) for t in plan.parameters} == expected
    assert [t.name for t in plan.parameters] == list(expected)
    assert plan.outputs == width


@given(plans())
def test_the_workspace_has_room_for_every_unit_and_shares_none(plan: Plan) -> None:
    parts = []
    for index, (layer, op) in enumerate(zip(plan.layers, plan.ops, strict=True)):
        width = int(op["outputs"])
        assert op["x"] == (plan.ops[index - 1]["y"] if index else -1)
        assert op["stream"] == index
        parts.append((int(op["y"]), width))
        last = index == len(plan.layers) - 1
        own_z = last or BY_CODE[int(op["activation"])].keeps_z
        assert (op["z"] != op["y"]) == own_z
        if own_z:
            parts.append((int(op["z"]), width))
        if not isinstance(layer, Dense):
            parts.append((int(op["xhat"]), width + isinstance(layer, LayerNorm)))
        else:
            assert op["xhat"] == -1
    assert_tiles(parts, plan.width)


@given(plans())
def test_batch_statistics_lie_as_mean_then_variance(plan: Plan) -> None:
    for index, (layer, op) in enumerate(zip(plan.layers, plan.ops, strict=True)):
        found = {
            t.name.rsplit(".", 1)[1]: t.offset
            for t in plan.state
            if t.name.startswith(f"layers.{index}.")
        }
        start, width = int(op["state"]), int(op["outputs"])
        if isinstance(layer, BatchNorm):
            assert found == {"running_mean": start, "running_var": start + width}
        else:
            assert found == {}
    assert plan.uses_batch_statistics == bool(plan.state)


@given(plans())
def test_initial_values_are_one_for_gamma_and_variance_and_zero_for_biases(plan: Plan) -> None:
    flat = plan.initial_parameters(0, "float64")
    for tensor in plan.parameters:
        _, index, part = tensor.name.split(".")
        values = tensor.view(flat)
        assert values.shape == tensor.shape
        if part == "bias":
            assert not values.any()
        elif isinstance(plan.layers[int(index)], Dense):
            assert values.any()
        else:
            assert (values == 1).all()
    state = plan.initial_state("float32")
    assert state.dtype == np.float32
    for tensor in plan.state:
        assert (tensor.view(state) == tensor.name.endswith("running_var")).all()


def test_a_tensor_s_view_shares_memory() -> None:
    plan = make_plan(2, (Dense(3), Dense(1)))
    flat = np.zeros(plan.size)
    plan.parameters[0].view(flat)[...] = 7
    assert flat.sum() == 7 * 6


def test_the_records_cannot_be_written_to() -> None:
    plan = make_plan(2, (Dense(3), Dense(1)))
    with pytest.raises(ValueError, match="read-only"):
        plan.ops["rate"] = 1.0


def test_every_field_of_a_record_is_eight_bytes_wide_and_aligned() -> None:
    offsets = [abi.OP.fields[name][1] for name in abi.OP.names]
    assert offsets == list(range(0, 8 * len(offsets), 8))
    assert abi.OP.itemsize == 8 * len(offsets)
    assert {abi.OP[name].itemsize for name in abi.OP.names} == {8}


def test_numbers_of_a_known_network() -> None:
    plan = make_plan(784, (Dense(128, "relu"), Dropout(0.1), Dense(10, "softmax")))
    assert plan.size == 784 * 128 + 128 + 128 * 10 + 10
    assert plan.n_weights == 784 * 128 + 128 * 10
    assert plan.widest == 784
    assert plan.outputs == 10
    assert plan.output_activation is ACTIVATIONS["softmax"]
    assert plan.flops == 6 * (784 * 128 + 128 * 10) - 2 * 784 * 128
    assert not plan.uses_batch_statistics
