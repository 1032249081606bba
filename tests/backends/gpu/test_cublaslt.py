"""The binding of cublasLt against the library itself and its header, where they are installed."""

from __future__ import annotations

import ctypes
import re
from enum import IntEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from fastnet.backends.gpu.cublaslt import (
    COMPUTE_TYPE,
    OUTPUT_TYPE,
    Attribute,
    Compute,
    CublasError,
    CublasLt,
    DataType,
    LtEpilogue,
    Preference,
    Problem,
    Product,
    Status,
    _Heuristic,
    check,
)
from fastnet.errors import OutOfMemoryError


def files(pattern: str) -> list[Path]:
    """Return the files of the installed cuBLAS whose path ends so."""
    for distribution in ("nvidia-cublas", "nvidia-cublas-cu12"):
        try:
            found = metadata.files(distribution) or []
        except metadata.PackageNotFoundError:
            continue
        return [Path(str(f.locate())) for f in found if re.search(pattern, str(f))]
    return []


def library() -> CublasLt:
    """Return the installed library: no GPU is needed to describe a product."""
    found = files(r"libcublasLt\.so\.\d+$")
    if not found:
        pytest.skip("cuBLAS is not installed (nvidia-cublas)")
    return CublasLt(str(found[0]))


def header(name: str) -> str:
    found = files(rf"include/{name}$")
    if not found:
        pytest.skip("the headers of cuBLAS are not installed (nvidia-cublas)")
    return found[0].read_text(encoding="utf-8")


def defined(text: str, prefix: str) -> dict[str, int]:
    """Return the values of an enumeration's names, without their prefix."""
    values: dict[str, int] = {}
    for name, value in re.findall(rf"{prefix}(\w+) = ([^,\n/]+)", text):
        expression = re.sub(rf"{prefix}(\w+)", lambda m: str(values[m[1]]), value.strip())
        values[name] = sum({int(part, 0) for part in expression.strip("()").split("|")})
    return values


@pytest.mark.parametrize(
    ("kind", "file", "prefix"),
    [
        (Status, "cublas_api.h", "CUBLAS_STATUS_"),
        (Attribute, "cublasLt.h", "CUBLASLT_MATMUL_DESC_"),
        (Preference, "cublasLt.h", "CUBLASLT_MATMUL_PREF_"),
        (LtEpilogue, "cublasLt.h", "CUBLASLT_EPILOGUE_"),
    ],
)
def test_names_and_values_are_those_of_the_header(
    kind: type[IntEnum], file: str, prefix: str
) -> None:
    known = defined(header(file), prefix)
    assert {member.name: known.get(member.name) for member in kind} == {
        member.name: member.value for member in kind
    }


def test_types_and_reductions_are_those_of_the_header() -> None:
    computes = defined(header("cublas_api.h"), "CUBLAS_COMPUTE_")
    names = {Compute.F32: "32F", Compute.F64: "64F", Compute.F32_FAST_TF32: "32F_FAST_TF32"}
    assert {computes[name]: c for c, name in names.items()} == {c.value: c for c in Compute}
    schemes = defined(header("cublasLt.h"), "CUBLASLT_REDUCTION_SCHEME_")
    assert (schemes["COMPUTE_TYPE"], schemes["OUTPUT_TYPE"]) == (COMPUTE_TYPE, OUTPUT_TYPE)
    assert not schemes["INPLACE"] & (COMPUTE_TYPE | OUTPUT_TYPE)


def test_a_value_that_is_wrong_is_noticed() -> None:
    text = (
        "CUBLASLT_EPILOGUE_BIAS = 4,\n CUBLASLT_EPILOGUE_RELU_BIAS = (2 | CUBLASLT_EPILOGUE_BIAS)"
    )
    assert defined(text, "CUBLASLT_EPILOGUE_") == {"BIAS": 4, "RELU_BIAS": 6}


def test_the_result_of_a_heuristic_has_the_size_of_the_c_struct() -> None:
    assert ctypes.sizeof(_Heuristic) == 96


@pytest.mark.parametrize("epilogue", LtEpilogue, ids=lambda e: e.name)
@pytest.mark.parametrize(
    ("inputs", "output", "compute"),
    [
        (DataType.R_32F, DataType.R_32F, Compute.F32),
        (DataType.R_32F, DataType.R_32F, Compute.F32_FAST_TF32),
        (DataType.R_64F, DataType.R_64F, Compute.F64),
        (DataType.R_16BF, DataType.R_16BF, Compute.F32),
        (DataType.R_16BF, DataType.R_32F, Compute.F32),
    ],
)
def test_the_library_takes_every_description(
    inputs: DataType, output: DataType, compute: Compute, epilogue: LtEpilogue
) -> None:
    lt = library()
    for transposed in ((False, False), (True, False), (False, True)):
        kinds = inputs, output, compute, epilogue
        product = Product(lt, Problem(10, 128, 784, *transposed, *kinds))
        product.point(1 << 20, 1 << 21)


def product_of(m: int, n: int, k: int, epilogue: LtEpilogue, output: DataType) -> Problem:
    return Problem(m, n, k, False, False, output, output, Compute.F32, epilogue)


def test_parts_of_sums_are_never_rounded_to_bfloat16() -> None:
    for output, schemes in (
        (DataType.R_32F, COMPUTE_TYPE | OUTPUT_TYPE),
        (DataType.R_64F, COMPUTE_TYPE | OUTPUT_TYPE),
        (DataType.R_16BF, COMPUTE_TYPE),
    ):
        assert product_of(4, 4, 4, LtEpilogue.DEFAULT, output).reductions == schemes


@pytest.mark.parametrize(
    ("epilogue", "unsupported"),
    [
        (LtEpilogue.DRELU_BGRAD, {(8, 8, 1), (1, 8, 1), (8, 1, 1), (1, 1, 1)}),
        (LtEpilogue.BGRADA, {(8, 8, 1), (1, 8, 8), (1, 8, 1), (8, 1, 1), (1, 1, 8), (1, 1, 1)}),
        (LtEpilogue.BIAS, set()),
        (LtEpilogue.RELU_BIAS, set()),
        (LtEpilogue.RELU_AUX_BIAS, set()),
        (LtEpilogue.DEFAULT, set()),
    ],
)
def test_the_shapes_for_which_an_epilogue_is_not_there(
    epilogue: LtEpilogue, unsupported: set[tuple[int, int, int]]
) -> None:
    shapes = {(m, n, k) for m in (1, 8) for n in (1, 8) for k in (1, 8)}
    found = {s for s in shapes if not product_of(*s, epilogue, DataType.R_32F).is_supported}
    assert found == unsupported


def test_a_failure_has_its_name_and_too_little_memory_is_an_error_of_its_own() -> None:
    check("cublasLtMatmul", Status.SUCCESS)
    with pytest.raises(CublasError, match=r"^cublasLtMatmul failed with CUBLAS_STATUS_NOT_SUPP"):
        check("cublasLtMatmul", Status.NOT_SUPPORTED)
    with pytest.raises(CublasError, match=r"^cublasLtMatmul failed with status 99\.$") as caught:
        check("cublasLtMatmul", 99)
    assert caught.value.status == 99
    with pytest.raises(OutOfMemoryError, match=r"free memory .*ALLOC_FAILED.*smaller batch_size"):
        check("cublasLtMatmulAlgoGetHeuristic", Status.ALLOC_FAILED)


def test_without_a_driver_a_handle_is_refused_by_name() -> None:
    lt = library()
    try:
        lt.handle()
    except CublasError as error:
        assert re.fullmatch(r"cublasLtCreate failed with CUBLAS_STATUS_\w+\.", str(error))


def test_what_the_library_does_not_know_it_refuses() -> None:
    class Unknown(IntEnum):
        NOTHING = 999

    product = Product(
        library(),
        Problem(
            *(4, 4, 4, False, False),
            *(DataType.R_32F, DataType.R_32F, Compute.F32, LtEpilogue.DEFAULT),
        ),
    )
    wrong: Any = Unknown.NOTHING
    with pytest.raises(CublasError, match="CUBLAS_STATUS_INVALID_VALUE"):
        product._set(wrong, ctypes.c_int32(1))
