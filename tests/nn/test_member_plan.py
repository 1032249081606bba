"""`Members` in a list of layers: the parameters there are, how they begin, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.errors import InputError
from fastnet.nn.layers import from_dict, to_dict
from fastnet.nn.member_plan import MemberPlan, plan_of

Array = NDArray[Any]

K = 3
HIDDEN = fn.Dense(4, "relu", bias_initializer="standard_normal")
HEAD = fn.Dense(2, bias_initializer="standard_normal")


def made(*layers: Any, inputs: int = 5) -> MemberPlan:
    plan = plan_of(inputs, layers)
    assert isinstance(plan, MemberPlan)
    return plan


def named(plan: Any, flat: Array) -> dict[str, Array]:
    return {tensor.name: tensor.view(flat) for tensor in plan.parameters}


def shapes(plan: Any) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in plan.parameters}


# --- the parameters -------------------------------------------------------------------------------


def test_the_first_layer_has_factors_and_the_last_is_each_members_own() -> None:
    block = fn.Residual([fn.LayerNorm(), fn.Dense(4)])
    plan = made(fn.Dense(3), fn.Members(K), HIDDEN, block, HEAD)
    assert shapes(plan) == {
        "layers.0.weight": (5, 3), "layers.0.bias": (3,),
        "layers.2.input_scale": (K, 3), "layers.2.weight": (3, 4), "layers.2.bias": (4,),
        "layers.3.layers.0.weight": (4,), "layers.3.layers.0.bias": (4,),
        "layers.3.layers.1.weight": (4, 4), "layers.3.layers.1.bias": (4,),
        "layers.4.weight": (K, 4, 2), "layers.4.bias": (K, 2),
    }  # fmt: skip


def test_or_all_layers_have_factors_and_biases_of_each_member() -> None:
    plan = made(fn.Members(K, scales="all"), HIDDEN, HIDDEN, HEAD)
    assert shapes(plan) == {
        "layers.1.input_scale": (K, 5), "layers.1.output_scale": (K, 4),
        "layers.1.weight": (5, 4), "layers.1.bias": (K, 4),
        "layers.2.input_scale": (K, 4), "layers.2.output_scale": (K, 4),
        "layers.2.weight": (4, 4), "layers.2.bias": (K, 4),
        "layers.3.weight": (K, 4, 2), "layers.3.bias": (K, 2),
    }  # fmt: skip
    ends = [tensor.offset + tensor.size for tensor in plan.parameters]
    assert [tensor.offset for tensor in plan.parameters] == [0, *ends[:-1]]
    assert plan.n_weights == plan.size == ends[-1]  # penalties and decay act on all of them


@pytest.mark.parametrize("scales", ["first", "all"])
def test_members_begin_as_a_plain_network_but_for_the_first_factors_and_the_last_layer(
    scales: Any,
) -> None:
    plan = made(fn.Members(K, scales=scales), HIDDEN, HIDDEN, HEAD)
    found = named(plan, plan.initial_parameters(7, np.float64))
    plain = named(plan.member, plan.member.initial_parameters(7, np.float64))
    assert np.array_equal(found["layers.1.weight"], plain["layers.0.weight"])
    for layer in (1, 2):
        biases = np.broadcast_to(found[f"layers.{layer}.bias"], (K, 4))
        assert np.array_equal(biases, [plain[f"layers.{layer - 1}.bias"]] * K)
    for kind in ("weight", "bias"):
        heads = found[f"layers.3.{kind}"]
        assert np.array_equal(heads[0], plain[f"layers.2.{kind}"])
        assert len({head.tobytes() for head in heads}) == K
    assert set(found["layers.1.input_scale"].ravel()) == {-1.0, 1.0}
    if scales == "all":
        for name in ("layers.1.output_scale", "layers.2.input_scale", "layers.2.output_scale"):
            assert (found[name] == 1).all()
    other = named(plan, plan.initial_parameters(8, np.float64))
    assert not np.array_equal(found["layers.1.input_scale"], other["layers.1.input_scale"])


def test_inputs_of_a_group_begin_with_the_same_factor() -> None:
    plan = made(fn.Members(40, groups=[2, 1, 2]), HIDDEN, HEAD)
    r = named(plan, plan.initial_parameters(0, np.float64))["layers.1.input_scale"]
    assert np.array_equal(r[:, 0], r[:, 1]) and np.array_equal(r[:, 3], r[:, 4])
    assert not np.array_equal(r[:, 1], r[:, 2]) and not np.array_equal(r[:, 2], r[:, 3])


def test_factors_of_embedded_columns_are_normal_one_for_each_block() -> None:
    first = fn.Dense(5, blocks=[(3, 2), (2, 3)], bias_rate=0.0)
    plan = made(first, fn.Members(200), HIDDEN, HEAD)
    r = named(plan, plan.initial_parameters(0, np.float64))["layers.2.input_scale"]
    assert np.array_equal(r[:, 0], r[:, 1]) and np.array_equal(r[:, 2], r[:, 4])
    assert 0.8 < r[:, [0, 2]].std() < 1.2 and len(np.unique(r[:, 0])) == 200
    signs = made(first, fn.Members(200, initializer="signs"), HIDDEN, HEAD)
    r = named(signs, signs.initial_parameters(0, np.float64))["layers.2.input_scale"]
    assert set(r.ravel()) == {-1.0, 1.0}
    single = made(fn.Dense(5, blocks=[(1, 1)] * 5), fn.Members(2), HIDDEN, HEAD)  # scales columns
    r = named(single, single.initial_parameters(0, np.float64))["layers.2.input_scale"]
    assert set(r.ravel()) == {-1.0, 1.0}


def test_rates_and_blocks_are_those_of_the_layers_and_factors_learn_at_full_rate() -> None:
    first = fn.Dense(5, blocks=[(3, 2), (2, 3)], bias_rate=0.0)
    hidden, head = fn.Dense(4, weight_rate=0.5, bias_rate=0.25), fn.Dense(2, weight_rate=0.125)
    plan = made(first, fn.Members(K, scales="all"), hidden, head)
    rates = plan.rates(np.float64)
    assert rates is not None
    found = {name: set(values.ravel()) for name, values in named(plan, rates).items()}
    assert found == {
        "layers.0.weight": {0.0, 1.0}, "layers.0.bias": {0.0},
        "layers.2.input_scale": {1.0}, "layers.2.output_scale": {1.0},
        "layers.2.weight": {0.5}, "layers.2.bias": {0.25},
        "layers.3.weight": {0.125}, "layers.3.bias": {1.0},
    }  # fmt: skip
    assert plan.flat.has_rates
    assert plan.flat.rates(np.float64) is not None and plan.flat.size == plan.size


@pytest.mark.parametrize("scales", ["first", "all"])
def test_unfolding_is_the_adjoint_of_folding(scales: Any) -> None:
    # <g, d fold(p)> = <unfold(g), dp>: the derivative by central differences.
    plan = made(fn.Members(K, scales=scales), HIDDEN, HIDDEN, HEAD)
    rng = np.random.default_rng(0)
    whole, move = rng.normal(size=(2, plan.size))
    total = np.zeros(plan.size)
    change = 0.0
    for member in range(K):
        g = rng.normal(size=plan.member.size)
        out = np.zeros((2, plan.member.size))
        for part in plan.parts:
            part.fold(whole + 1e-6 * move, member, out[0])
            part.fold(whole - 1e-6 * move, member, out[1])
        change += g @ (out[0] - out[1]) / 2e-6
        for part in plan.parts:
            part.unfold(whole, member, g, total)
    assert abs(total @ move - change) < 1e-7


def test_a_plan_is_pickled_and_a_layer_described_by_its_layers() -> None:
    layers = fn.Members(K, scales="all", initializer="normal", groups=[2, 3]), HIDDEN, HEAD
    plan = made(*layers)
    again = pickle.loads(pickle.dumps(plan))
    assert again.layers == plan.layers and again.parts == plan.parts
    assert [from_dict(to_dict(layer)) for layer in layers] == list(layers)
    wanted = "Members(3, scales='all', initializer='normal', groups=(2, 3))"
    assert repr(layers[0]) == wanted and repr(fn.Members(2)) == "Members(2)"


# --- what is refused ------------------------------------------------------------------------------

NORMS = (fn.Members(2), HIDDEN, fn.BatchNorm(), HEAD)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.Members(0), "members must be a whole number of at least 1, got 0"),
        (lambda: fn.Members(2**20), "members must be at most 65536"),
        (lambda: fn.Members(2, scales="none"), "scales must be 'first' or 'all', got 'none'"),
        (lambda: fn.Members(2, initializer="ones"), "initializer must be 'signs' or 'normal'"),
        (lambda: fn.Members(2, groups=3), "groups must be a list or a tuple"),
        (lambda: fn.Members(2, groups=[0, 5]), "the size of a group must be .* at least 1"),
        (lambda: made(fn.Members(2, groups=[2, 2]), HIDDEN, HEAD), "5 inputs in all, got 4"),
        (lambda: made(fn.Members(2), HEAD), r"behind layers\[0\], Members, .* not the last"),
        (lambda: made(HIDDEN, fn.Members(2), fn.Dropout(0.1), HEAD), r"behind layers\[1\], Mem"),
        (lambda: made(HIDDEN, HEAD, fn.Members(2)), "the last layer must be Dense"),
        (lambda: made(*NORMS), "Members do not go with BatchNorm, .* by LayerNorm"),
        (lambda: made(fn.Members(2), HIDDEN, fn.Members(2), HEAD), r"layers\[2\] is Members"),
        (lambda: made(fn.Residual([fn.Members(2), HEAD]), HEAD), r"layers\[0\].layers\[0\] is Mem"),
        (
            lambda: made(fn.Members(2), fn.Dense(5, blocks=[(2, 2), (3, 3)]), HEAD),
            r"blocks must stand before layers\[0\], Members",
        ),
        (
            lambda: made(fn.Members(2), fn.Dense(4, "softmax"), HEAD),
            r"layers\[1\] has the activation 'softmax', which only the last",
        ),
    ],
)
def test_bad_layers_are_refused_in_a_sentence(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
