"""PyTorch in and out. Without it: names, shapes, the constructor and stand-ins for its modules.

The last part needs PyTorch itself.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from safetensors import safe_open

import fastnet as fn
from fastnet.export import export, from_torch, to_torch, usage
from fastnet.export.columns import scaling_of
from fastnet.export.torch.module import MODULES, constructor, state_dict
from tests.export.formats import Sequential, module, stand_in
from tests.exports import (
    HIDDEN,
    assert_same_outputs,
    disturbed,
    drawn_networks,
    inputs_for,
    networks,
    standardise,
)

SHOWN = [fn.Dense(3, "relu"), fn.Dropout(0.25), fn.BatchNorm("exp", momentum=0.2), fn.LayerNorm()]


def shown() -> fn.Network:
    return disturbed(fn.Network([*SHOWN, fn.Dense(2, "softmax")], inputs=4, backend="numpy"))


# --- out, without PyTorch -------------------------------------------------------------------------


def test_the_file_has_the_names_and_shapes_of_a_sequential(tmp_path: Path) -> None:
    net = shown()
    export(net, tmp_path / "net.safetensors", to="torch")
    with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = file.metadata()["constructor"]
    assert {name: values.shape for name, values in found.items()} == {
        "0.mean": (4,), "0.scale": (4,),
        "1.weight": (3, 4), "1.bias": (3,),
        "4.weight": (3,), "4.bias": (3,), "4.running_mean": (3,), "4.running_var": (3,),
        "4.num_batches_tracked": (),
        "6.weight": (3,), "6.bias": (3,),
        "7.weight": (2, 3), "7.bias": (2,),
    }  # fmt: skip
    assert (found["1.weight"] == net.weights[0].T).all()
    assert text == constructor(net)


def test_the_constructor_is_python_with_a_line_for_each_module() -> None:
    text = constructor(shown())
    ast.parse(text)
    assert text[text.index("model =") :].splitlines() == [
        "model = nn.Sequential(",
        "    Standardize(4),",
        "    nn.Linear(4, 3),",
        "    nn.ReLU(),",
        "    nn.Dropout(0.25),",
        "    nn.BatchNorm1d(3, eps=1e-05, momentum=0.2),",
        "    Exp(),",
        "    nn.LayerNorm(3, eps=1e-05),",
        "    nn.Linear(3, 2),",
        "    nn.Softmax(dim=1),",
        ")",
    ]
    plain = constructor(fn.Network([1, 1], dtype="float64", backend="numpy"))
    assert "class" not in plain
    assert "nn.Linear(1, 1, dtype=torch.float64)," in plain


def test_every_activation_has_a_module() -> None:
    assert set(MODULES) == {*HIDDEN, "softmax"} - {"identity"}


def test_without_pytorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(fn.FastNetError, match=r"pip install 'fastnet-mlp\[torch\]'"):
        to_torch(fn.Network([1, 1], backend="numpy"))


# --- in, without PyTorch --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "net"), networks().items(), ids=networks())
def test_what_goes_out_comes_back_bit_by_bit(name: str, net: fn.Network) -> None:
    again = from_torch(stand_in(net), backend="numpy")
    assert [replaced(layer) for layer in again.layers] == [replaced(layer) for layer in net.layers]
    assert again.dtype == net.dtype
    assert (again.parameters == net.parameters).all()
    assert (again.state == net.state).all()
    x = inputs_for(net)
    assert (again.predict(x) == net.predict(x)).all()


def replaced(layer: Any) -> Any:
    """Return a layer without what a module does not know: how its weights began."""
    if isinstance(layer, fn.Residual):
        return fn.Residual([replaced(inner) for inner in layer.layers])
    return fn.Dense(layer.units, layer.activation) if isinstance(layer, fn.Dense) else layer


def linear(inputs: int, outputs: int, *, bias: bool = True) -> Any:
    rng = np.random.default_rng(inputs)
    return module("Linear", weight=rng.normal(size=(outputs, inputs)).astype(np.float32),
                  bias=rng.normal(size=outputs) if bias else None)  # fmt: skip


def test_modules_that_do_nothing_and_nested_ones_are_walked_through() -> None:
    inner = Sequential([linear(3, 4), module("ReLU"), module("Identity")])
    net = from_torch(Sequential([module("Flatten"), inner, linear(4, 2)]), backend="numpy")
    assert [layer.activation for layer in net.layers] == ["relu", "identity"]
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    hidden = np.maximum(x @ inner[0].weight.T + inner[0].bias, 0)
    y = hidden @ linear(4, 2).weight.T + linear(4, 2).bias
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-5, atol=1e-6)


def test_a_missing_bias_is_zero_and_a_norm_without_weights_has_ones() -> None:
    norm = module("LayerNorm", normalized_shape=(4,), eps=1e-5, weight=None, bias=None)
    net = from_torch(Sequential([linear(3, 4, bias=False), norm, linear(4, 1)]), backend="numpy")
    named = net.named_parameters()
    assert (named["layers.0.bias"] == 0).all()
    assert (named["layers.1.weight"] == 1).all()
    assert (named["layers.1.bias"] == 0).all()


def test_relu_may_stand_behind_a_dropout() -> None:
    chain = Sequential([linear(3, 4), module("Dropout", p=0.5), module("ReLU"), linear(4, 1)])
    assert from_torch(chain, backend="numpy").layers[0].activation == "relu"


@pytest.mark.parametrize(("form", "name"), [("none", "gelu"), ("tanh", "gelu_tanh")])
def test_both_forms_of_gelu_come_in(form: str, name: str) -> None:
    chain = Sequential([linear(3, 4), module("GELU", approximate=form), linear(4, 1)])
    assert from_torch(chain, backend="numpy").layers[0].activation == name


def test_the_output_activation_can_be_added() -> None:
    net = from_torch(Sequential([linear(3, 4)]), output_activation="softmax", backend="numpy")
    np.testing.assert_allclose(net.predict(np.ones((2, 3))).sum(axis=1), 1, rtol=1e-6)


NORM = {"num_features": 4, "eps": 1e-5, "weight": None, "bias": None}
REFUSED: dict[str, tuple[list[Any], str]] = {
    "an unknown module": ([linear(3, 4), module("Conv2d")], r"module 1 \(Conv2d\) has no"),
    "a class of one's own that is called Residual": (
        [linear(3, 3), module("Residual"), linear(3, 1)], r"module 1 \(Residual\) has no",
    ),
    "another slope": (
        [linear(3, 4), module("LeakyReLU", negative_slope=0.2)], "has negative_slope=0.2",
    ),
    "another form of GELU": ([linear(3, 4), module("GELU", approximate="sin")], "='sin'"),
    "softmax over rows": ([linear(3, 4), module("Softmax", dim=0)], "softmax is over the units"),
    "softmax of one output": ([linear(3, 1), module("Softmax", dim=1)], "1 for every row"),
    "log-softmax": ([linear(3, 4), module("LogSoftmax")], "give output_activation='softmax'"),
    "an activation without a layer": ([module("ReLU"), linear(3, 4)], "activation belongs to"),
    "two activations": ([linear(3, 4), module("ReLU"), module("Tanh")], "activation belongs to"),
    "tanh behind a dropout": (
        [linear(3, 4), module("Dropout", p=0.5), module("Tanh")], "activation belongs to",
    ),
    "a norm at the end": (
        [linear(3, 4), module("LayerNorm", normalized_shape=(4,), eps=1e-5)], "must be Dense",
    ),
    "a norm over several axes": (
        [linear(3, 4), module("LayerNorm", normalized_shape=(2, 2), eps=1e-5)], "several axes",
    ),
    "a norm without statistics": (
        [linear(3, 4), module("BatchNorm1d", running_mean=None, momentum=0.1, **NORM)],
        "no running statistics",
    ),
    "a norm of all batches": (
        [linear(3, 4), module("BatchNorm1d", running_mean=np.ones(4), momentum=None, **NORM)],
        "momentum=None",
    ),
    "widths that do not fit": ([linear(3, 4), linear(5, 2)], "do not fit: weight of layer 1"),
    "nothing": ([module("Identity")], "no layer with weights"),
}  # fmt: skip


@pytest.mark.parametrize(("modules", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_counterpart_is_refused(modules: list[Any], message: str) -> None:
    with pytest.raises(fn.InputError, match=message):
        from_torch(Sequential(modules), backend="numpy")


# --- with PyTorch ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch() -> Any:
    """PyTorch, of the extra ``torch``."""
    return pytest.importorskip("torch")


def torch_predict(torch: Any, model: Any, x: Any, dtype: Any) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(np.asarray(x, dtype))).numpy())


@pytest.mark.parametrize(("name", "net"), networks().items(), ids=networks())
def test_pytorch_predicts_the_same(torch: Any, name: str, net: fn.Network) -> None:
    model = to_torch(net)
    assert isinstance(model, torch.nn.Sequential)
    assert not model.training
    x = inputs_for(net)
    assert_same_outputs(torch_predict(torch, model, x, net.dtype), net, x)
    assert list(model.state_dict()) == list(state_dict(net))
    again = from_torch(model, backend="numpy")
    assert (again.predict(x) == net.predict(x)).all()


@given(net=drawn_networks())
def test_pytorch_predicts_the_same_for_any_network(torch: Any, net: fn.Network) -> None:
    x = inputs_for(net)
    assert_same_outputs(torch_predict(torch, to_torch(net), x, net.dtype), net, x)


def test_the_file_is_loaded_as_the_usage_says(torch: Any, tmp_path: Path) -> None:
    net = shown()
    export(net, tmp_path / "net.safetensors", to="torch")
    namespace: dict[str, Any] = {}
    exec(usage(net, tmp_path / "net.safetensors", to="torch"), namespace)
    x = inputs_for(net)
    assert_same_outputs(torch_predict(torch, namespace["model"], x, net.dtype), net, x)


def test_modules_made_by_hand_come_in(torch: Any) -> None:
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3),
        nn.Sequential(nn.Linear(8, 7), nn.GELU()),
        nn.Sequential(nn.Linear(7, 5), nn.GELU(approximate="tanh")),
        nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 3), nn.Softmax(dim=-1),
    )  # fmt: skip
    x = torch.randn(50, 6)
    model(x)  # moves the running statistics
    net = from_torch(model.eval(), backend="numpy")
    assert_same_outputs(torch_predict(torch, model, x.numpy(), np.float32), net, x.numpy())


def test_half_precision_is_widened(torch: Any) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2)).bfloat16()
    net = from_torch(model, backend="numpy")
    assert net.dtype == np.float32
    assert (net.weights[0] == model[0].weight.detach().float().numpy().T).all()


def test_a_scaler_goes_both_ways(torch: Any) -> None:
    net = fn.Network([2, 1], backend="numpy")
    standardise(net, [1e6, -1e6], [0.5, 2.0])
    x = np.array([[1000001.0, -999999.0]])
    assert_same_outputs(torch_predict(torch, to_torch(net), x, np.float32), net, x)
    again = from_torch(to_torch(net), backend="numpy")
    np.testing.assert_array_equal(scaling_of(again), [[1e6, -1e6], [0.5, 2.0]])
