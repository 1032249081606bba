"""The C export: compiles without a warning as C99, and computes what the network computes."""

from __future__ import annotations

import csv
import ctypes
import io
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

import fastnet as fn
from fastnet.cli import group
from fastnet.export import export
from fastnet.export.c.source import content
from fastnet.nn.activations import ACTIVATIONS
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.schema import Column
from tests import toolchain
from tests.exports import (
    LIMIT,
    ODD_NAMES,
    assert_same_outputs,
    disturbed,
    drawn_networks,
    inputs_for,
    networks,
    relative_difference,
)

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1")
LINKED = ("-Wmissing-prototypes", "-Wstrict-prototypes", "-Wconversion")


def compile_c(folder: Path, *arguments: str) -> None:
    """Compile without a warning; where no compiler works, skip the test."""
    toolchain.build("C", [*STRICT, *arguments, "-lm"], folder)


def library(folder: Path, made: dict[str, fn.Network]) -> ctypes.CDLL:
    """Return all networks as one library: their names do not collide."""
    for name, net in made.items():
        export(net, folder / f"{name}.c", to="c")
    compile_c(folder, "-shared", "-fPIC", "-o", "all.so", *(f"{name}.c" for name in made))
    return ctypes.CDLL(str(folder / "all.so"))


def predict(loaded: ctypes.CDLL, name: str, net: fn.Network, x: Any) -> np.ndarray[Any, Any]:
    x = np.ascontiguousarray(x, net.dtype if net.preprocessor is None else np.float64)
    y = np.full((len(x), net.outputs), np.nan, net.dtype)
    function = getattr(loaded, f"{name}_predict_rows")
    function.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
    function(x.ctypes.data, len(x), y.ctypes.data)
    return y


def run_program(folder: Path, name: str, text: str, *arguments: str) -> tuple[int, str, str]:
    if not (folder / name).exists():
        compile_c(folder, "-DFASTNET_MAIN", f"{name}.c", "-o", name)
    done = subprocess.run(
        [f"./{name}", *arguments], cwd=folder, input=text.encode(), capture_output=True, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def records(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_every_layer_activation_and_loss_is_exported(tmp_path: Path) -> None:
    made = networks()
    loaded = library(tmp_path, made)
    for name, net in made.items():
        x = inputs_for(net)
        assert_same_outputs(predict(loaded, name, net, x), net, x)


def test_a_wrong_weight_is_noticed(tmp_path: Path) -> None:
    net = disturbed(fn.Network([3, 5, 2], backend="numpy"))
    loaded = library(tmp_path, {"net": net})
    x = inputs_for(net)
    y = predict(loaded, "net", net, x)
    assert relative_difference(y, net.predict(x)) <= LIMIT["float32"]
    net.parameters[0] *= 1.001
    assert relative_difference(y, net.predict(x)) > LIMIT["float32"]


@settings(max_examples=12)
@given(net=drawn_networks())
def test_any_network_is_exported(tmp_path_factory: pytest.TempPathFactory, net: fn.Network) -> None:
    x = inputs_for(net)
    loaded = library(tmp_path_factory.mktemp("c"), {"net": net})
    assert_same_outputs(predict(loaded, "net", net, x), net, x)


def test_saturated_outputs_neither_overflow_nor_turn_into_no_number(tmp_path: Path) -> None:
    made = {}
    for name in ("softmax", "sigmoid", "softplus", "mish", "silu", "gelu", "tanh", "elu"):
        net = fn.Network([1, 3], output_activation=name, backend="numpy")
        net.parameters[...] = [1.0, 0.5, -1.0, 0.0, 0.0, 0.0]
        made[name] = net
    loaded = library(tmp_path, made)
    x = np.array([[-1e4], [-300.0], [-90.0], [0.0], [90.0], [300.0], [1e4]])
    for name, net in made.items():
        assert_same_outputs(predict(loaded, name, net, x), net, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_value_that_is_no_number_stays_visible(tmp_path: Path, dtype: str) -> None:
    made = {
        name: fn.Network([1, 1], output_activation=name, dtype=dtype, backend="numpy")
        for name in ACTIVATIONS
    }
    loaded = library(tmp_path, made)
    for name, net in made.items():
        assert np.isnan(predict(loaded, name, net, [[np.nan]])).all()


def test_the_file_is_strict_about_prototypes_and_conversions_and_works_in_a_program(
    tmp_path: Path,
) -> None:
    net = disturbed(fn.Network([fn.Dense(4, "gelu"), fn.LayerNorm(), fn.Dense(2, "softmax")],
                               inputs=3, backend="numpy"))  # fmt: skip
    export(net, tmp_path / "net.c", to="c")
    source = (tmp_path / "net.c").read_text("ascii")
    prototypes = re.findall(r"^(?:void|size_t|extern)[^{}]*;$", source, re.MULTILINE)
    caller = [
        "#include <stdio.h>", "#include <stddef.h>", *prototypes,
        "int main(void) {",
        "  float x[3] = {1, 2, 3}, y[2];",
        "  net_predict(x, y);",
        '  printf("%.9g %.9g %s", (double)y[0], (double)y[1], net_labels[net_class(y)]);',
        "  return 0;", "}", "",
    ]  # fmt: skip
    (tmp_path / "caller.c").write_text("\n".join(caller))
    compile_c(tmp_path, *LINKED, "net.c", "caller.c", "-o", "caller")
    text = subprocess.run(["./caller"], cwd=tmp_path, capture_output=True, text=True).stdout
    *numbers, label = text.split()
    assert_same_outputs(np.array([numbers], np.float32), net, np.array([[1.0, 2.0, 3.0]]))
    assert label == str(int(np.argmax(net.predict([[1.0, 2.0, 3.0]]))))


# --- the program ----------------------------------------------------------------------------------


@pytest.fixture
def flowers(tmp_path: Path) -> tuple[fn.Network, Path]:
    """A network with categories, odd names and a scaler, as ``flowers.c``; and its folder."""
    columns = (Column("size"), Column("colour", "categorical", ODD_NAMES), Column(ODD_NAMES[0]))
    net = fn.Network([7, 5, 3], output_activation="softmax", seed=3, backend="numpy")
    net.label_names = ODD_NAMES[1:4]
    net.schema = TableSchema(columns, ("t",), net.label_names)
    net.scaler = Scaler(np.arange(7.0), np.arange(1.0, 8.0))
    export(net, tmp_path / "flowers.c", to="c")
    net.save(tmp_path / "flowers.safetensors")
    return net, tmp_path


def as_csv(rows: Iterable[Iterable[object]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def test_the_program_writes_what_the_command_predict_writes(
    flowers: tuple[fn.Network, Path],
) -> None:
    _, folder = flowers
    rng = np.random.default_rng(1)
    rows = [
        [f" {rng.normal():.4f} ", "ignored", colour, rng.integers(-5, 5)]
        for colour in (*ODD_NAMES, "unheard of") * 3
    ]
    text = as_csv([["size", "more", "colour", ODD_NAMES[0]], *rows])
    (folder / "rows.csv").write_text(text, encoding="utf-8", newline="")
    arguments = ["predict", str(folder / "flowers.safetensors"), str(folder / "rows.csv")]
    answer = CliRunner().invoke(group, [*arguments, "--backend", "numpy", "--out", "-"])
    assert answer.exit_code == 0, answer.output
    expected = records(answer.stdout_bytes.decode())
    status, out, complaint = run_program(folder, "flowers", text)
    assert (status, complaint) == (0, "")
    got = records(out)
    assert got[0] == expected[0]
    assert [row[0] for row in got] == [row[0] for row in expected]
    numbers, wanted = (np.array([r[1:] for r in t[1:]], np.float32) for t in (got, expected))
    assert relative_difference(numbers, wanted) <= LIMIT["float32"]
    # A byte order mark, another delimiter, blank lines and plain line ends change nothing.
    other = "\ufeff" + text.replace(",", ";").replace("\r\n", "\n\n")
    assert run_program(folder, "flowers", other, ";") == (0, out, "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "row 0: there is no table"),
        ("size,colour\n1,red\n", 'row 0: the header lacks the column quote"'),
        ("HEAD\n1,red\n", "row 1: the number of cells is wrong"),
        ("HEAD\n1,a,2\n1,a,0x1\n", "row 2: expected a finite number in the column quote"),
        ("HEAD\nnan,a,2\n", "row 1: expected a finite number in the column size"),
        ("HEAD\ninf,a,2\n", "row 1: expected a finite number in the column size"),
        ("HEAD\n1e39,a,2\n", "row 1: expected a finite number in the column size"),
        ("HEAD\n,a,2\n", "row 1: expected a finite number in the column size"),
        ("HEAD\n1 2,a,2\n", "row 1: expected a finite number in the column size"),
        ('HEAD\n1,"a,2\n', "row 1: a quote is not closed"),
    ],
)
def test_the_program_names_what_is_wrong(
    flowers: tuple[fn.Network, Path], text: str, complaint: str
) -> None:
    text = text.replace("HEAD", 'size,colour,"quote"""')
    status, _, error = run_program(flowers[1], "flowers", text)
    assert status == 1
    assert complaint in error


@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_columns_without_names_are_taken_by_position(tmp_path: Path, header: str) -> None:
    net = fn.Network([2, 1], output_activation="sigmoid", backend="numpy")
    net.label_names = ("no", "yes")
    export(net, tmp_path / "9 nets.c", to="c")
    status, out, _ = run_program(tmp_path, "9 nets", f"{header}1,2\n\n3,4")
    assert status == 0
    y = net.predict([[1.0, 2.0], [3.0, 4.0]])
    got = records(out)
    assert got[0] == ["prediction", "probability_no", "probability_yes"]
    assert [row[0] for row in got[1:]] == [("no", "yes")[int(p > 0.5)] for p in y[:, 0]]
    assert_same_outputs(np.array([row[2:] for row in got[1:]], np.float32), net,
                        np.array([[1.0, 2.0], [3.0, 4.0]]))  # fmt: skip


def test_a_variance_is_written_as_a_deviation(tmp_path: Path) -> None:
    net = fn.Network([1, 4], dtype="float64", backend="numpy")
    net.loss = fn.losses.GaussianNLL()
    net.biases[0][...] = [1.0, 2.0, -3.0, -99.0]  # the last is below the floor of the loss
    net.weights[0][...] = 0
    export(net, tmp_path / "net.c", to="c")
    _, out, _ = run_program(tmp_path, "net", "7\n")
    header, row = records(out)
    assert header == ["prediction_0", "prediction_1", "prediction_0_std", "prediction_1_std"]
    assert [float(cell) for cell in row] == pytest.approx([1, 2, np.exp(-1.5), 1e-3], rel=1e-12)


def test_quantiles_are_named(tmp_path: Path) -> None:
    net = fn.Network([1, 2], backend="numpy")
    net.loss = fn.losses.Quantile((0.05, 0.95))
    export(net, tmp_path / "net.c", to="c")
    _, out, _ = run_program(tmp_path, "net", "7\n")
    assert records(out)[0] == ["prediction_quantile_0.05", "prediction_quantile_0.95"]


def test_weights_that_are_not_finite_are_refused() -> None:
    net = fn.Network([1, 1], backend="numpy")
    net.parameters[0] = np.nan
    with pytest.raises(fn.InputError, match="not finite"):
        content(net, "net")
