"""The products of an exported C file: every width, in vectors of every length and in standard C."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet.export import export
from fastnet.export.c import products
from tests.export import compiled
from tests.exports import assert_same_outputs, disturbed, inputs_for

# Widths that leave a rest of every kind of block, and inputs that leave one of four.
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 12, 16, 20, 36, 64, 100, 130, 1, 77, 1, 3]
PATHS = {
    "vectors": (),
    "standard C": ("-DFASTNET_PLAIN",),
    "this processor": ("-march=native",),
    "AVX": ("-mavx",),
    "AVX-512": ("-mavx512f",),
}


def wide(dtype: str, inputs: int = 37) -> fn.Network:
    return disturbed(
        fn.Network([inputs, *WIDTHS], activation="tanh", dtype=dtype, backend="numpy", seed=3)
    )


def runs_here(folder: Path, option: str) -> bool:
    """Return whether this processor has the instructions that an option allows."""
    feature = {"-mavx": "avx", "-mavx512f": "avx512f"}.get(option)
    test = f'__builtin_cpu_supports("{feature}")' if feature else "1"
    (folder / "has.c").write_text(f"int main(void) {{ return !{test}; }}\n")
    done = compiled.compile_c(folder, option, "has.c", "-o", "has")
    if done.returncode != 0:  # another processor, or a compiler that knows no such option
        return False
    try:
        return subprocess.run([folder / "has"], check=False).returncode == 0
    except PermissionError:  # as in a folder whose programs may not be executed
        return False


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", PATHS.values(), ids=PATHS)
def test_every_width_is_answered_in_every_way(
    options: tuple[str, ...], dtype: str, tmp_path: Path
) -> None:
    if options and options[0].startswith("-m") and not runs_here(tmp_path, options[0]):
        pytest.skip(f"{options[0]} needs another processor or compiler")
    net = wide(dtype)
    x = inputs_for(net)
    loaded = compiled.library(tmp_path, net, *options)
    assert_same_outputs(compiled.predict(loaded, net, x), net, x)
    # Rows of 37 numbers begin at any address.
    for k in range(net.inputs):
        x[0, k], old = np.inf, x[0, k]
        y = compiled.predict(loaded, net, x[:2])
        assert np.isnan(y[0]).all() and np.isfinite(y[1]).all(), k
        x[0, k] = old


def test_vectors_are_used_where_they_are_meant_to_be(tmp_path: Path) -> None:
    export(wide("float32"), tmp_path / "net.c", to="c")
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        pytest.skip("this processor is answered in standard C")
    for options, count in (((), 1), (("-DFASTNET_PLAIN",), 0)):
        text = compiled.compile_c(tmp_path, *options, "-E", "net.c").stdout
        assert text.count("float vector __attribute__") == count


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("f8")])
def test_stored_rows_are_whole_vectors_where_that_costs_little(dtype: np.dtype) -> None:
    lanes = 16 // dtype.itemsize
    assert products.stride(1, dtype) == products.width(1, dtype) == 1
    for outputs in range(2, 300):
        stride, width = products.stride(outputs, dtype), products.width(outputs, dtype)
        assert outputs <= width <= stride and width - outputs < lanes
        assert stride % lanes == width % lanes == 0
        assert stride == width or 8 * (stride - outputs) <= outputs
    assert products.stride(16 * lanes - 1, dtype) == 16 * lanes
