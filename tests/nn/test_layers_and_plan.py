"""Layers: what they may be given. Plans: where everything lies."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import chain, layers
from fastnet.nn.activations import ACTIVATIONS, BY_CODE
from fastnet.nn.layers import LAYERS, BatchNorm, Dense, Dropout, Layer, LayerNorm, Members, Residual
from fastnet.nn.plan import Plan, make_plan
from tests.networks import HIDDEN_ACTIVATIONS

EXAMPLES: dict[str, Layer] = {
    "dense": Dense(3, "relu", "zeros"),
    "dropout": Dropout(0.25),
    "batch_norm": BatchNorm("tanh", 0.5, 1e-3),
    "layer_norm": LayerNorm("gelu", 1e-3),
    "members": Members(3, scales="all"),
    "residual": Residual([Dense(3, "gelu"), Dropout(0.5), Residual([BatchNorm("relu")])]),
}


def nested(deep: int) -> Residual:
    """Return so many residual connections inside of one."""
    layer = Residual([Dropout(0.5)])
    for _ in range(deep):
        layer = Residual([layer])
    return layer


# --- layers ---------------------------------------------------------------------------------------


def test_every_layer_has_an_example() -> None:
    assert set(EXAMPLES) == set(LAYERS)
    assert all(type(EXAMPLES[name]) is kind for name, kind in LAYERS.items())


def test_names_and_codes_are_unique() -> None:
    assert all(kind.name == name for name, kind in LAYERS.items())
    steps = {name: kind for name, kind in LAYERS.items() if kind is not Members}
    assert Members.code == -1  # it says what the others are, and is no step itself
    assert sorted(kind.code for kind in steps.values()) == list(range(len(steps)))


@pytest.mark.parametrize("layer", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_a_layer_comes_back_from_its_dict(layer: Layer) -> None:
    values = layers.to_dict(layer)
    assert values["layer"] == layer.name
    assert json.loads(json.dumps(values)) == values
    assert layers.from_dict(values) == layer
    assert eval(repr(layer)) == layer


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
        (lambda: chain.chain([3], "relu", "identity"), "must name at least the inputs and the"),
        (lambda: chain.chain([3, 0, 1], "relu", "identity"), "size must be a whole number"),
        (lambda: make_plan(0, (Dense(1),)), "inputs must be a whole number of at least 1, got 0"),
        (lambda: make_plan(2, ()), "the last layer must be Dense"),
        (lambda: make_plan(2, (Dense(2), Dropout(0.5))), "the last layer must be Dense"),
        (lambda: make_plan(2, (Dense(2), BatchNorm())), "the last layer must be Dense"),
        (lambda: make_plan(2, (Dense(2), 3)), r"layers\[1\] must be a layer such as"),
        (lambda: make_plan(2, (Dense(2, "softmax"), Dense(2))), r"layers\[0\] .* only the last"),
        (lambda: make_plan(2, (BatchNorm("softmax"), Dense(2))), r"layers\[0\] .* only the last"),
        (lambda: Residual([]), "needs at least one layer"),
        (lambda: Residual(3), "must be a list, such as .* got 3"),
        (lambda: Residual([Dense(3), 3]), r"layers\[1\] of Residual must be a layer such as"),
        (lambda: nested(20), "nested 20 deep at most"),
        (lambda: make_plan(2, (Residual([Dense(2)]),)), "the last layer must be Dense"),
        (
            lambda: make_plan(2, (Dense(4), Residual([Dense(8), Dense(5)]), Dense(1))),
            r"layers\[1\] adds its input, of width 4, to .* of width 5: .* must have 4 units",
        ),
        (
            lambda: make_plan(2, (Residual([Dense(2), Residual([Dense(3)])]), Dense(1))),
            r"layers\[0\]\.layers\[1\] adds its input, of width 2",
        ),
        (
            lambda: make_plan(2, (Residual([Dense(2, "softmax")]), Dense(1))),
            r"layers\[0\]\.layers\[0\] has the activation 'softmax', which only the last",
        ),
        (lambda: layers.from_dict({"layer": "residual", "layers": [{}]}), "unknown layer None"),
        (lambda: layers.from_dict({"layer": "residual", "layers": 3}), "must be a list"),
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
    inputs, made = chain.chain([4, 8, 6, 3], "relu", "softmax")
    assert inputs == 4
    assert made == (Dense(8, "relu"), Dense(6, "relu"), Dense(3, "softmax"))


# --- plans ----------------------------------------------------------------------------------------

any_layer = st.one_of(
    st.builds(Dense, st.integers(1, 9), st.sampled_from(HIDDEN_ACTIVATIONS)),
    st.builds(Dropout, st.floats(0, 0.9)),
    st.builds(BatchNorm, st.sampled_from(HIDDEN_ACTIVATIONS)),
    st.builds(LayerNorm, st.sampled_from(HIDDEN_ACTIVATIONS)),
)


@st.composite
def hidden_layers(draw: st.DrawFn, width: int, deep: int = 0) -> list[Layer]:
    """Draw any hidden layers behind so many inputs, with residual connections among them."""
    made = []
    for layer in draw(st.lists(any_layer, max_size=7 - 3 * deep)):
        made.append(layer)
        width = getattr(layer, "units", width)
        if deep < 2 and draw(st.integers(0, 4)) == 0:
            inside = draw(hidden_layers(width, deep + 1))
            made.append(Residual([*inside, Dense(width)]))
    return made


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw any network."""
    inputs = draw(st.integers(1, 9))
    hidden = draw(hidden_layers(inputs))
    row = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    output = Dense(draw(st.integers(2 if row.output_only else 1, 9)), row.name)
    return make_plan(inputs, (*hidden, output))


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
        part = tensor.name.rpartition(".")[2]
        dense = isinstance(plan.chain[tensor.op], Dense)
        decays = tensor.offset + tensor.size <= plan.n_weights
        assert decays == (dense and part == "weight")
        assert decays or tensor.offset >= plan.n_weights


@given(plans())
def test_names_follow_the_layers_and_point_where_the_records_do(plan: Plan) -> None:
    expected: dict[str, tuple[int, tuple[int, ...]]] = {}
    width = plan.inputs
    for layer, name, op in zip(plan.chain, plan.names, plan.ops, strict=True):
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
        if isinstance(layer, Residual):
            assert op["weight"] == op["bias"] == op["state"] == -1
            continue
        expected[f"{name}.weight"] = int(op["weight"]), shape
        expected[f"{name}.bias"] = int(op["bias"]), (width,)
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
    for index, (layer, op) in enumerate(zip(plan.chain, plan.ops, strict=True)):
        width = int(op["outputs"])
        assert op["x"] == (plan.ops[index - 1]["y"] if index else -1)
        assert op["stream"] == index
        parts.append((int(op["y"]), width))
        last = index == len(plan.chain) - 1
        own_z = last or BY_CODE[int(op["activation"])].keeps_z
        assert (op["z"] != op["y"]) == own_z
        if own_z:
            parts.append((int(op["z"]), width))
        if not isinstance(layer, Dense | Residual):
            parts.append((int(op["xhat"]), width + isinstance(layer, LayerNorm)))
        else:
            assert op["xhat"] == -1
    assert_tiles(parts, plan.width)


@given(plans())
def test_batch_statistics_lie_as_mean_then_variance(plan: Plan) -> None:
    for layer, name, op in zip(plan.chain, plan.names, plan.ops, strict=True):
        found = {
            t.name.rsplit(".", 1)[1]: t.offset
            for t in plan.state
            if t.name.rpartition(".")[0] == name
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
        part = tensor.name.rpartition(".")[2]
        values = tensor.view(flat)
        assert values.shape == tensor.shape
        if part == "bias":
            assert not values.any()
        elif isinstance(plan.chain[tensor.op], Dense):
            assert values.any()
        else:
            assert (values == 1).all()
    state = plan.initial_state("float32")
    assert state.dtype == np.float32
    for tensor in plan.state:
        assert (tensor.view(state) == tensor.name.endswith("running_var")).all()


@given(plans())
def test_each_connection_adds_what_came_before_its_layers(plan: Plan) -> None:
    joins = [0] * len(plan.ops)
    for index, (layer, name, op) in enumerate(zip(plan.chain, plan.names, plan.ops, strict=True)):
        if not isinstance(layer, Residual):
            assert op["skip"] == -1
            continue
        inside = [k for k, other in enumerate(plan.names) if other.startswith(f"{name}.")]
        assert inside == list(range(inside[0], index))
        assert op["skip"] == inside[0] - 1
        assert op["inputs"] == plan.ops[inside[0]]["inputs"]
        if op["skip"] >= 0:
            joins[op["skip"]] += 1
            assert index in plan.ends[op["skip"]]
    assert plan.ops["joins"].tolist() == joins == [len(ends) for ends in plan.ends]


def test_names_are_the_way_to_a_layer() -> None:
    inner = Residual([Dense(2), BatchNorm()])
    plan = make_plan(2, (Residual([inner, Dense(2)]), inner, Dense(1)))
    assert plan.names == (
        "layers.0.layers.0.layers.0",
        "layers.0.layers.0.layers.1",
        "layers.0.layers.0",
        "layers.0.layers.1",
        "layers.0",
        "layers.1.layers.0",
        "layers.1.layers.1",
        "layers.1",
        "layers.2",
    )
    assert plan.ops["skip"].tolist() == [-1, -1, -1, -1, -1, -1, -1, 4, -1]
    assert plan.ends[4] == (7,)


def test_a_plan_survives_pickles_whose_records_were_laid_out_otherwise() -> None:
    plan = make_plan(2, (Residual([Dense(2, "gelu")]), Dense(1)))
    again = pickle.loads(pickle.dumps(plan))
    assert again.layers == plan.layers
    assert again.ops.tobytes() == plan.ops.tobytes()
    old = object.__new__(Plan)
    old.__setstate__({"inputs": 2, "layers": plan.layers, "ops": np.zeros(1)})
    assert old.ops.tobytes() == plan.ops.tobytes()
    assert old.names == plan.names


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
