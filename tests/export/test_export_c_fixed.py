"""Networks in whole numbers: the C file computes what is said of it, and says how far off it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import export, usage
from fastnet.export.c.fixed import KINDS, answers, fixed_for, table_for
from fastnet.export.combination import combination_of
from tests import toolchain
from tests.cli.calling import refused, run, succeed
from tests.export import compiled
from tests.export.test_export_c_selftest import outcome
from tests.exports import LIMIT, disturbed, for_table, inputs_for, relative_difference

each_kind = pytest.mark.parametrize("kind", KINDS)


def network(
    hidden: str = "relu", output: str = "identity", dtype: str = "float32", **options: Any
) -> fn.Network:
    layers = [fn.Dense(13), fn.BatchNorm(hidden), fn.Dense(9, hidden), fn.Dense(3, output)]
    net = fn.Network(layers, inputs=6, dtype=dtype, backend="numpy", seed=1)
    return disturbed(net, **options)


def by_c(folder: Path, net: fn.Network, kind: Any, x: Any, rows: Any = None) -> NDArray[Any]:
    """Return what the compiled file computes."""
    export(net, folder / "net.c", to="c", fixed=kind, rows=rows)
    arguments = [*compiled.STRICT, "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    toolchain.build("C", arguments, folder)
    return compiled.predict(compiled.ctypes.CDLL(str(folder / "net.so")), net, x)


@each_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("hidden", "output"),
    [("relu", "identity"), ("tanh", "softmax"), ("sigmoid", "tanh"), ("identity", "sigmoid")],
)
def test_the_file_computes_the_whole_numbers_that_were_measured(
    hidden: str, output: str, dtype: str, kind: Any, tmp_path: Path
) -> None:
    net = network(hidden, output, dtype)
    assert net.preprocessor is not None
    x = inputs_for(net, rows=200).astype(dtype)
    x[0] *= 1e6  # far beyond the rows that chose the scales
    x[1, 2] = -1e30
    made = fixed_for(combination_of(net), kind)
    assert made is not None
    wanted = answers(made, net.preprocessor.transform(x, net.dtype))
    y = by_c(tmp_path, net, kind, x)
    assert relative_difference(y, wanted) <= LIMIT[dtype]
    # One step of one weight of the first layer is no rounding.
    made.layers[0].w[0, :] += 1
    other = answers(made, net.preprocessor.transform(x, net.dtype))
    assert relative_difference(y, other) > LIMIT[dtype]


@each_kind
def test_the_error_is_that_of_the_rows(kind: Any, tmp_path: Path) -> None:
    net = network("tanh", "softmax")
    rows = inputs_for(net, rows=300).astype("f4")
    difference = np.abs(by_c(tmp_path, net, kind, rows, rows) - net.predict(rows)).max()
    source = (tmp_path / "net.c").read_text("ascii")
    for text in (" ".join(source.replace("\n * ", " ").split()), usage(
        net, tmp_path / "net.c", to="c", fixed=kind, rows=rows
    )):  # fmt: skip
        said = re.search(
            rf"Fixed point \({kind}\): for 300 rows outputs differ by at most (\S+) from those of "
            r"the network, of which the largest is (\S+); (\S+) % have the same likeliest class\.",
            text,
        )
        assert said is not None
        assert float(said[1]) == pytest.approx(float(difference), rel=0.1)
        assert float(said[2]) == pytest.approx(float(net.predict(rows).max()), rel=0.01)
        assert float(said[3]) >= 95


@pytest.mark.parametrize("hidden", ["relu", "tanh", "sigmoid"])
def test_more_bits_are_nearer(hidden: str) -> None:
    net = network(hidden)
    x = inputs_for(net, rows=300).astype("f4")
    assert net.preprocessor is not None
    z = net.preprocessor.transform(x, net.dtype)
    error = {}
    for kind in KINDS:
        made = fixed_for(combination_of(net), kind, x)  # type: ignore[arg-type]
        assert made is not None
        error[kind] = relative_difference(answers(made, z), net.predict(x).astype(np.float64))
    # 8 bits more are 256 times as fine; tables cost some of it.
    assert error["q15"] * 30 < error["int8"] < 20 / 127


@each_kind
def test_a_table_is_as_fine_as_its_numbers(kind: str) -> None:
    row = KINDS[kind]
    for name, function, ends in (
        ("tanh", np.tanh, 8), ("sigmoid", lambda z: 1 / (1 + np.exp(-z)), 16)
    ):  # fmt: skip
        table = table_for(name, row)
        z = np.linspace(-ends, ends, 9999)
        line = np.interp(z, np.linspace(-ends, ends, len(table)), table / 32767)
        assert np.abs(line - function(z)).max() < 1.5 / row.most


@each_kind
def test_its_programs_are_compiled_and_its_test_passes(kind: Any, tmp_path: Path) -> None:
    net = network("sigmoid", "softmax")
    export(net, tmp_path / "net.c", to="c", fixed=kind)
    done = outcome(tmp_path)
    assert (done.returncode, done.stdout) == (0, "The outputs are those of fastnet.\n")
    arguments = [*compiled.STRICT, "-DFASTNET_MAIN", "net.c", "-o", "main", "-lm"]
    toolchain.build("C", arguments, tmp_path)


@each_kind
def test_it_is_smaller(kind: str, tmp_path: Path) -> None:
    net = fn.Network([64, 32, 10], backend="numpy")
    rows = np.random.default_rng(0).normal(size=(50, 64))
    said = usage(net, tmp_path / "net.c", to="c", fixed=kind, rows=rows)  # type: ignore[arg-type]
    constants, stack = re.findall(r"([0-9,]+) bytes", said)
    weights, item = 64 * 32 + 32 * 10, {"int8": 1, "q15": 2}[kind]
    sums = {"int8": 4, "q15": 8}[kind]
    # Biases; factors and shifts of the hidden layer; the unit of the outputs.
    assert int(constants.replace(",", "")) == weights * item + 42 * sums + 32 * 5 + 10 * 4
    assert int(stack) == 2 * 64 * item


@each_kind
def test_layers_without_effect_are_computed_too(kind: Any, tmp_path: Path) -> None:
    net = fn.Network([3, 4, 2], activation="relu", backend="numpy")
    net.weights[0][...] = 0
    net.weights[1][:, 0] = 0
    net.biases[1][...] = [0, 5]
    rows = np.zeros((4, 3))
    assert by_c(tmp_path, net, kind, np.ones((1, 3)), rows)[0] == pytest.approx([0, 5], rel=1e-3)


@each_kind
def test_what_is_not_finite_has_no_answer(kind: Any, tmp_path: Path) -> None:
    net = network(output="softmax")
    y = by_c(tmp_path, net, kind, np.array([[np.nan] * 6, [np.inf] + [0] * 5, [1] * 6]))
    assert np.isnan(y).all(axis=1).tolist() == [True, True, False]


def test_what_whole_numbers_are_not_for_is_refused(tmp_path: Path) -> None:
    rows = np.zeros((3, 4))
    table = for_table({"a": [1.0, 2.0, 4.0]})
    residual = fn.Network([fn.Residual([fn.Dense(4)]), fn.Dense(1)], inputs=4, backend="numpy")
    norm = fn.Network([fn.Dense(6), fn.LayerNorm(), fn.Dense(1)], inputs=4, backend="numpy")
    gelu = fn.Network([4, 3, 1], activation="gelu", backend="numpy")
    plain = fn.Network([4, 3, 1], activation="relu", backend="numpy")
    wide = fn.Network([70_000, 1], backend="numpy")
    for net, options, says in (
        (table, {}, "this one takes a table"),
        (residual, {"rows": rows}, "this network has a residual"),
        (norm, {"rows": rows}, "this network has a LayerNorm"),
        (gelu, {"rows": rows}, "this network has gelu"),
        (wide, {"rows": np.zeros((1, 70_000))}, "layers of at most 65,536 inputs"),
        (plain, {}, "needs rows as in training"),
        (plain, {"rows": np.zeros((3, 5))}, "5"),
        (plain, {"rows": rows, "jacobian": True}, "no derivatives"),
        (plain, {"rows": rows, "fixed": "int4"}, "must be int8 or q15, got 'int4'"),
        (plain, {"rows": rows, "fixed": None}, "rows go with fixed"),
        (plain, {"rows": rows, "to": "onnx"}, "fixed goes with the format c"),
    ):
        given: Any = {"to": "c", "fixed": "int8"} | options  # type: ignore[operator]
        with pytest.raises(fn.InputError, match=says):
            export(net, tmp_path / "net.c", **given)


def test_the_command_takes_a_file_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = network(scaled=False)
    net.save("m.safetensors")
    np.save("rows.npy", np.random.default_rng(0).normal(size=(20, 6)))
    arguments = ("export", "m.safetensors", "--to", "c")
    said = succeed(*arguments, "--fixed", "q15", "--rows", "rows.npy")
    assert "Fixed point (q15): for 20 rows" in said
    assert "needs rows as in training" in refused(*arguments, "--fixed", "int8")
    assert "--rows goes with --fixed" in run(*arguments, "--rows", "rows.npy").stderr
    done = run("export", "m.safetensors", "--to", "onnx", "--fixed", "int8")
    assert done.exit_code == 2 and "--fixed goes with --to c" in done.stderr
