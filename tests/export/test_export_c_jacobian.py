"""The derivatives that an exported C file computes are those of the network."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import export, usage
from fastnet.export.c.jacobian import _SLOPES
from fastnet.export.c.memory import memory_of
from fastnet.export.combination import combination_of
from fastnet.nn.activations import ACTIVATIONS
from tests.cli.calling import run, succeed
from tests.export import compiled
from tests.exports import (
    LIMIT,
    disturbed,
    for_table,
    inputs_for,
    networks,
    relative_difference,
)


def every_kind(activation: str, output: str, dtype: str) -> fn.Network:
    """Return a network with an activation after every kind of layer."""
    layers = [
        fn.Residual([fn.Dense(4, activation)]),
        fn.Dense(16, activation),
        fn.BatchNorm(activation),
        fn.Dense(9),
        fn.LayerNorm(activation, epsilon=1e-2),
        fn.Residual([fn.Residual([fn.Dense(9, activation)]), fn.Dropout(0.1), fn.Dense(9)]),
        fn.BatchNorm(),
        fn.Dense(5, output),
    ]
    return disturbed(fn.Network(layers, inputs=4, dtype=dtype, backend="numpy", seed=1))


NETWORKS = {
    f"{name}_{dtype}": every_kind(name, "softmax" if k % 2 else name, dtype)
    for k, name in enumerate(_SLOPES)
    for dtype in ("float32", "float64")[k % 2 :]
    if name != "exp"
}
NETWORKS |= {k: net for k, net in networks().items() if "residual" in k or "gaussian" in k}
NETWORKS["exp"] = disturbed(fn.Network([3, 4, 2], output_activation="exp", backend="numpy"))


def library(folder: Path, net: fn.Network, *options: str) -> ctypes.CDLL:
    """Return the file of a network with its derivatives as a loaded library."""
    home = folder / f"jacobian{len(list(folder.iterdir()))}"
    home.mkdir()
    export(net, home / "net.c", to="c", jacobian=True)
    done = compiled.compile_c(home, *options, "-shared", "-fPIC", "net.c", "-o", "net.so")
    assert done.returncode == 0, done.stderr
    try:
        return ctypes.CDLL(str(home / "net.so"))
    except OSError as error:
        if "failed to map segment" not in str(error):
            raise
        pytest.skip(f"temporary files may not be executed here: {error}")


def jacobian(loaded: ctypes.CDLL, net: fn.Network, x: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return outputs (N, O) and derivatives (N, O, I)."""
    x = np.ascontiguousarray(x, net.dtype)
    y = np.full((len(x), net.outputs), np.nan, net.dtype)
    dy = np.full((*y.shape, net.inputs), np.nan, net.dtype)
    for k in range(len(x)):
        loaded.net_jacobian(*(ctypes.c_void_p(array[k:].ctypes.data) for array in (x, y, dy)))
    return y, dy


def assert_same_slopes(dy: NDArray[Any], wanted: NDArray[Any], dtype: str) -> None:
    rows = dy.reshape(len(dy), -1), wanted.reshape(len(wanted), -1)
    assert np.abs(wanted).max() > 0
    assert relative_difference(*rows) <= LIMIT[dtype]


def test_every_activation_has_a_slope() -> None:
    assert {*_SLOPES, "identity", "softmax"} == set(ACTIVATIONS)


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_are_those_of_the_network(name: str, tmp_path: Path) -> None:
    net = NETWORKS[name]
    x = inputs_for(net, rows=12).astype(net.dtype)
    loaded = library(tmp_path, net)
    y, dy = jacobian(loaded, net, x)
    assert y.tobytes() == compiled.predict(loaded, net, x).tobytes()
    wanted = net.jacobian(x)
    assert_same_slopes(dy, wanted, net.dtype.name)
    assert_same_slopes(dy[:1], net.jacobian_one(x[0])[None], net.dtype.name)
    wanted[0, -1, -1] += np.abs(wanted).max() * 100 * LIMIT[net.dtype.name]
    assert (
        relative_difference(dy[:1].reshape(1, -1), wanted[:1].reshape(1, -1))
        > LIMIT[net.dtype.name]
    )


@pytest.mark.parametrize("options", [(), ("-DFASTNET_PLAIN",)], ids=["vectors", "standard C"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[37, 21, 1], [3, 20, 17], [5, 130, 40]])
def test_any_number_of_outputs_goes_back(
    sizes: list[int], dtype: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    net = disturbed(fn.Network(sizes, activation="tanh", dtype=dtype, backend="numpy", seed=1))
    x = inputs_for(net, rows=3).astype(dtype)
    _, dy = jacobian(library(tmp_path, net, *options), net, x)
    assert_same_slopes(dy, net.jacobian(x), dtype)


@pytest.mark.parametrize("embedding", [None, "periodic"])
def test_derivatives_of_a_table_are_by_its_inputs(embedding: str | None, tmp_path: Path) -> None:
    table = {"a": [1.0, 2.0, None, 5.0] * 9, "k": ["u", "v", "w", None] * 9}
    target = np.arange(36.0) * 1000
    net = fn.tables.train(
        table, target, preset=None, hidden=(5,), epochs=1, backend="numpy",
        numeric_embedding=embedding,
    )  # fmt: skip
    assert net.preprocessor is not None
    x = net.preprocessor.transform(table, net.dtype)
    _, dy = jacobian(library(tmp_path, net), net, x)
    assert_same_slopes(dy, net.jacobian(table), "float32")
    assert np.abs(dy).max() > 10  # in the unit of the targets


def test_what_is_not_finite_has_no_derivative(tmp_path: Path) -> None:
    net = fn.Network([2, 3, 2], activation="relu", backend="numpy")
    y, dy = jacobian(library(tmp_path, net), net, [[np.inf, 0.0], [np.nan, 1.0], [1.0, 2.0]])
    for values in (y, dy.reshape(3, -1)):
        assert np.isnan(values).all(axis=1).tolist() == [True, True, False]


def test_it_is_there_where_it_is_asked_for(tmp_path: Path) -> None:
    net = for_table({"a": [1.0, 2.0, 4.0], "k": ["u", "v", "w"]})
    for jacobian, count in ((False, 0), (True, 3)):
        export(net, tmp_path / "net.c", to="c", jacobian=jacobian)
        source = (tmp_path / "net.c").read_text("ascii")
        assert source.count("net_jacobian(") == count
        said = usage(net, tmp_path / "net.c", to="c", jacobian=jacobian)
        memory = memory_of(combination_of(net), None, jacobian=jacobian)
        assert f"{memory.stack:,} bytes of stack" in said
        for program in ("MAIN", "SELFTEST"):
            done = compiled.compile_c(tmp_path, f"-DFASTNET_{program}", "net.c", "-o", "net")
            assert done.returncode == 0, done.stderr


def test_other_formats_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = fn.Network([2, 1], backend="numpy")
    for to in ("numpy", "onnx", "torch"):
        with pytest.raises(fn.InputError, match=f"format c, and not with {to}"):
            export(net, tmp_path / "net", to=to, jacobian=True)  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    net.save("m.safetensors")
    assert "m_jacobian(x, y, dy)" in succeed("export", "m.safetensors", "--to", "c", "--jacobian")
    done = run("export", "m.safetensors", "--to", "numpy", "--jacobian")
    assert done.exit_code == 2 and "--jacobian goes with --to c" in done.stderr
