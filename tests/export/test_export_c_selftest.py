"""What an exported C file says of itself: its test, and the memory that it needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet.export import export, usage
from fastnet.export.c.source import content
from tests import toolchain
from tests.export import compiled
from tests.exports import disturbed, for_table, networks, standardise

NETWORKS = networks()
CHOSEN = ["residual_float32_True", "residual_float64_False", "relu_float32", "exp_float32",
          "gelu_float64", "gaussian_nll_identity_float32"]  # fmt: skip


def built(folder: Path, net: fn.Network, *options: str) -> subprocess.CompletedProcess[str]:
    """Export a network, compile the test of its file, and run it."""
    export(net, folder / "net.c", to="c")
    return outcome(folder, *options)


def outcome(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = [*compiled.STRICT, *options, "-DFASTNET_SELFTEST", "net.c", "-o", "test", "-lm"]
    toolchain.build("C", arguments, folder)
    return subprocess.run([folder / "test"], capture_output=True, text=True, check=False)


def a_table() -> dict[str, list[object]]:
    return {
        "size": [1e6, 1e6 + 3, None, 1e6 + 9],
        "kind": ["flat", "\N{SNOWMAN}", "house", None],
        "flag": ["yes", "no", "yes", None],
        "day": [np.datetime64("2024-02-28") + 7 * k for k in range(4)],
        "nothing": [None] * 4,
        "REAL": ["NAME", "LIMIT", "NAME", "wanted"],
    }


@pytest.mark.parametrize("name", CHOSEN)
def test_the_test_of_a_file_passes(name: str, tmp_path: Path) -> None:
    done = built(tmp_path, NETWORKS[name])
    assert (done.returncode, done.stdout) == (0, "The outputs are those of fastnet.\n")


@pytest.mark.filterwarnings("ignore::fastnet.FastNetWarning")
@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise"])
def test_the_test_of_a_table_passes(embedding: str | None, tmp_path: Path) -> None:
    net = for_table(a_table(), numeric_embedding=embedding)
    assert built(tmp_path, net).returncode == 0
    assert built(tmp_path, net, "-DFASTNET_PLAIN").returncode == 0
    row = re.search(r"net_row given = {.*?};", content(net, "net").decode("ascii"), re.DOTALL)
    assert row is not None and re.search('"(NAME|LIMIT|wanted)"', row[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("part", ["w0", "b1", "input_scale", "wanted"])
def test_a_wrong_number_is_found(part: str, dtype: str, tmp_path: Path) -> None:
    net = fn.Network([3, 5, 2], activation="tanh", dtype=dtype, backend="numpy")
    net = disturbed(net, scaled=False)
    standardise(net, [0.25, -0.5, 2.0], [0.5, 2.0, 1.5])
    assert built(tmp_path, net).returncode == 0
    source = (tmp_path / "net.c").read_text("ascii")
    wrong = re.sub(rf"( {part}\[\d+\][^{{]*{{\n  )(-?[0-9.]+)", r"\g<1>-4+\g<2>", source, count=1)
    assert wrong != source
    (tmp_path / "net.c").write_text(wrong, "ascii")
    done = outcome(tmp_path)
    assert done.returncode == 1
    assert re.match(r"An output differs by .* from fastnet's, of which the .*\.\n$", done.stdout)


def test_the_row_is_the_same_each_time_and_not_blind() -> None:
    for name in ("relu_float32", "residual_float32_False"):
        source = content(NETWORKS[name], "net").decode("ascii")
        assert source == content(NETWORKS[name], "net").decode("ascii")
        wanted = re.search(r"wanted\[\d+\] = {(.*?)}", source, re.DOTALL)
        assert wanted is not None and re.search("[1-9]", wanted[1])


@pytest.mark.parametrize("kind", ["plain", "scaled", "deviations", "table"])
def test_the_memory_is_what_the_comment_says(kind: str, tmp_path: Path) -> None:
    net = fn.Network([5, 17, 20, 2], dtype="float64", backend="numpy")
    if kind == "scaled":
        net = disturbed(fn.Network([5, 17, 3], backend="numpy"))
    elif kind == "deviations":
        net.loss = fn.losses.GaussianNLL()
    elif kind == "table":
        net = for_table({"a": [1.0, 2.0, None], "k": ["a", "b", "c"]}, numeric_embedding="periodic")
    export(net, tmp_path / "net.c", to="c")
    source = (tmp_path / "net.c").read_text("ascii")
    said = re.search(r"Constant numbers: ([0-9,]+) bytes.*\n.*Stack: ([0-9,]+) bytes", source)
    assert said is not None
    constants, stack = (int(number.replace(",", "")) for number in said.groups())
    library = source.split("#ifdef FASTNET_MAIN")[0]
    names = re.findall(r"^static const (?:float|double) (\w+)\[", library, re.MULTILINE)
    arrays = re.findall(r"^  (float|double) \w+\[(\d+)\]", library, re.MULTILINE)
    assert stack == sum({"float": 4, "double": 8}[real] * int(size) for real, size in arrays) > 0
    sizes = " + ".join(f"sizeof {name}" for name in names)
    program = (
        f'#include "net.c"\n#include <stdio.h>\nint main(void) {{ printf("%zu", {sizes}); }}\n'
    )
    (tmp_path / "sizes.c").write_text(program, "ascii")
    toolchain.build("C", ["sizes.c", "-o", "sizes", "-lm"], tmp_path)
    assert int(subprocess.check_output([tmp_path / "sizes"])) == constants
    assert f"{constants:,} bytes of constant numbers, and needs {stack:,} bytes of stack" in usage(
        net, tmp_path / "net.c", to="c"
    )
