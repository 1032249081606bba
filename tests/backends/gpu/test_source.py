"""The text of the CUDA kernels: what it must hold, and that NVRTC compiles it for every GPU."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fastnet.backends.gpu.cupy_runtime import BLOCK
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader, tiny
from fastnet.kernels.cuda.tiny import Tiny, TinyLayer
from tests.cuda.host_module import WHY_NOT, HostModule, kernel_names
from tests.cuda.runtimes import blank, each_dtype

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def on_each_architecture(quick: dict[str, str]) -> list[Any]:
    """Return each kind of kernel with each architecture; all but the quick pairs are slow."""
    return [
        pytest.param(kind, name, marks=() if name == quick[kind] else pytest.mark.slow)
        for kind in quick
        for name in ARCHITECTURES
    ]


def text(dtype: Any = np.float32, block: int = BLOCK) -> str:
    return loader.source(np.dtype(dtype), block)


def why_no_nvrtc() -> str | None:
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except Exception as error:
        return f"no NVRTC to compile CUDA kernels with ({type(error).__name__})"
    return None


# --- what it holds --------------------------------------------------------------------------------


def test_the_table_has_every_kernel_in_the_order_of_the_text() -> None:
    assert tuple(loader.KERNELS) == kernel_names(text())


def test_every_file_is_part_of_the_text() -> None:
    folder = loader.Path(loader.__file__).parent
    assert {path.name for path in folder.glob("*.cu*")} == {
        *loader.FILES,
        "tiny.cu",
        "tiny_rows.cuh",
    }


@each_dtype
def test_the_codes_and_constants_are_those_of_the_tables(dtype: Any) -> None:
    source = text(dtype)
    for name, value in vars(abi).items():
        if name.isupper() and isinstance(value, int | float):
            kind = "double" if isinstance(value, float) else "integer"
            found = re.findall(rf"constexpr {kind} {name} = ([^;]+);", source)
            assert [float(number.removesuffix("LL")) for number in found] == [value], name


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_a_constant_arrives_to_the_last_bit() -> None:
    kernel = (
        'extern "C" __global__ void constants(double* out)'
        "{ out[0] = abi::SELU_ALPHA; out[1] = double(abi::PHILOX_W1); out[2] = BLOCK; }"
    )
    out = blank(3, np.float64)
    HostModule(text(np.float64, 64) + kernel).launch("constants", (1,), (1,), (out,))
    assert out.tolist() == [abi.SELU_ALPHA, abi.PHILOX_W1, 64]


FORBIDDEN = {
    "NVRTC has no headers to include": (r"#\s*include", "#include <math.h>"),
    "sums by atomics differ from run to run": (r"\batomic", "atomicAdd(sum, x);"),
    "fmax and fmin lose NaN": (r"\bf(max|min)f?\(", "y = fmax(x, 0);"),
    "fast forms are less accurate": (r"\b__(exp|log|pow|tanh|fdivide)", "y = __expf(x);"),
    "kernels are for both dtypes": (
        r"\b(exp|log|sqrt|tanh|fabs|expm1|log1p|normcdf)f\(",
        "y = tanhf(x);",
    ),
}


def offences(source: str, pattern: str) -> list[str]:
    """Return the lines that break a rule, comments aside."""
    lines = [re.sub(r"//.*", "", line) for line in source.splitlines()]
    return [line for line in lines if re.search(pattern, line)]


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_kernel_has_what_the_rules_forbid(rule: str) -> None:
    pattern, offender = FORBIDDEN[rule]
    assert offences(text(), pattern) == []
    assert offences(text() + offender, pattern) != []


@pytest.mark.parametrize("block", [0, 16, 96, 2048])
def test_a_block_is_a_power_of_two_of_whole_warps(block: int) -> None:
    with pytest.raises(ValueError, match="power of two from 32 to 1024"):
        loader.source(np.dtype(np.float32), block)


@pytest.mark.parametrize("block", [32, 64, 256, 1024])
@pytest.mark.parametrize("kernel", loader.KERNELS)
def test_every_launch_is_one_that_cuda_allows(kernel: str, block: int) -> None:
    for rows in (0, 1, 7, 1000, 10**8):
        for columns in (1, 5, 1000, 10**9):
            grid, threads = loader.launch_shape(kernel, rows, columns, block)
            assert 1 <= grid[0] <= 2**31 - 1 and 1 <= grid[1] <= 65535
            assert threads[0] * threads[1] in (1, block)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (1, 300), (500, 2), (40, 33)])
def test_a_launch_covers_its_shape(rows: int, columns: int) -> None:
    for cover, tall, wide in (
        (loader.over_elements, rows, columns),
        (loader.over_line, 1, columns),
        (loader.over_rows, rows, 1),
        (loader.over_columns, 1, columns),
        (loader.over_chunks, rows, 1),
    ):
        grid, block = cover(rows, columns, 64)
        assert grid[0] * block[0] >= wide and grid[1] * block[1] >= tall


def test_a_long_gradient_is_summed_in_parts() -> None:
    assert [loader.norm_chunks(size) for size in (1, 4096, 4097, 10**9)] == [1, 1, 2, 256]


def test_no_two_threads_do_the_same_work() -> None:
    """A kernel that never asks for its row must not be given several rows of threads."""
    bodies = re.split(r'extern "C" __global__ void ', text())[1:]
    for body in bodies:
        kernel = body.partition("(")[0]
        if not re.search(r"first_row|threadIdx\.y|blockIdx\.y", body):
            for columns in (1, 3, 1000):
                grid, block = loader.launch_shape(kernel, 1, columns, 64)
                assert grid[1] == block[1] == 1, kernel
        if not re.search(r"first_column|threadIdx\.x|blockIdx\.x|_row\(", body):
            grid, block = loader.launch_shape(kernel, 1000, 1000, 64)
            assert grid[0] == block[0] == 1, kernel


# --- NVRTC ----------------------------------------------------------------------------------------


def compiled(source: str, architecture: str) -> tuple[bytes, str]:
    """Return the machine code for a GPU, and what the assembler reports."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source, "fastnet.cu", (), ())
    # The last options but one are CuPy's own.
    options = (*loader.OPTIONS, "-ftz=true", f"-arch={architecture}", "--ptxas-options=-v")
    try:
        nvrtc.compileProgram(program, options)
        return nvrtc.getCUBIN(program), nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


@pytest.mark.skipif(why_no_nvrtc() is not None, reason=str(why_no_nvrtc()))
@pytest.mark.parametrize(
    ("kind", "architecture"),
    on_each_architecture({"float32": "sm_75", "float64": "sm_120", "bf16": "sm_90"}),
)
def test_nvrtc_compiles_every_kernel_without_spills(kind: str, architecture: str) -> None:
    bf16 = kind == "bf16"
    source = loader.source(np.dtype("float32" if bf16 else kind), BLOCK, bf16=bf16)
    code, log = compiled(source, architecture)
    assert code[:4] == b"\x7fELF"
    assert "warning" not in log
    entries = re.findall(r"entry function '(\w+)' for '(\w+)'", log)
    assert sorted(entries) == sorted((name, architecture) for name in loader.KERNELS)
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", log)
    assert set(spills) == {("0", "0")} and len(spills) >= len(entries)
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", log)]
    assert len(registers) == len(entries) and max(registers) * BLOCK <= 65536


def tiny_network(*sizes: int, batch: int, dtype: str = "float32", clipped: bool = False) -> Tiny:
    """Return the kernel for a classifier with ReLU and Adam."""
    layers, weight, bias = [], 0, sum(i * o for i, o in pairwise(sizes))
    for n, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = n == len(sizes) - 2
        activation = abi.SOFTMAX if last else abi.RELU
        layers.append(TinyLayer(inputs, outputs, activation, weight, bias, last))
        weight, bias = weight + inputs * outputs, bias + outputs
    options = {"loss": abi.CROSS_ENTROPY, "optimizer": abi.ADAM, "fused": True, "n_moments": 2}
    options |= {"targets": 0, "weighted": False, "n_weights": weight, "clipped": clipped}
    options["elements"] = tiny.ELEMENTS
    return Tiny(dtype, tuple(layers), batch, **options)


TINY = {
    "xor": tiny_network(2, 4, 2, batch=4),
    "policy": tiny_network(16, 64, 64, 4, batch=64),
    "policy, clipped": tiny_network(16, 64, 64, 4, batch=64, clipped=True),
    "doubles": tiny_network(30, 40, 50, batch=100, dtype="float64"),
}


@pytest.mark.skipif(why_no_nvrtc() is not None, reason=str(why_no_nvrtc()))
@pytest.mark.parametrize(
    ("name", "architecture"),
    on_each_architecture(
        {"xor": "sm_75", "policy": "sm_90", "policy, clipped": "sm_120", "doubles": "sm_90"}
    ),
)
def test_nvrtc_compiles_tiny_networks_without_spills(name: str, architecture: str) -> None:
    kernel = TINY[name]
    _, log = compiled(kernel.text(), architecture)
    assert "warning" not in log
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", log)
    assert set(spills) == {("0", "0")}
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", log)]
    assert max(registers) * kernel.threads <= 65536


def test_the_ladder_s_small_networks_fit_into_the_shared_memory_of_an_h100() -> None:
    for kernel in (TINY["xor"], TINY["policy"]):
        assert kernel.shared_bytes < 227 * 2**10
        assert kernel.held <= tiny.HELD
