"""cublasLt through ctypes: matrix products with epilogues, which a CUDA graph can hold.

CuPy refuses every cuBLAS call while a stream is being captured, and it has no bindings of cublasLt,
whose calls name algorithm, workspace and stream and so can be captured. Names and values are those
of ``cublasLt.h``; matrices are column-major, as there.
"""

from __future__ import annotations

import ctypes
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Any, Final

from fastnet.errors import FastNetError, OutOfMemoryError


class Status(IntEnum):
    """``cublasStatus_t``."""

    SUCCESS = 0
    NOT_INITIALIZED = 1
    ALLOC_FAILED = 3
    INVALID_VALUE = 7
    ARCH_MISMATCH = 8
    MAPPING_ERROR = 11
    EXECUTION_FAILED = 13
    INTERNAL_ERROR = 14
    NOT_SUPPORTED = 15
    LICENSE_ERROR = 16


class DataType(IntEnum):
    """``cudaDataType_t``."""

    R_32F = 0
    R_64F = 1
    R_16BF = 14


class Compute(IntEnum):
    """``cublasComputeType_t``."""

    F32 = 68
    F64 = 70
    F32_FAST_TF32 = 77


class Attribute(IntEnum):
    """``cublasLtMatmulDescAttributes_t``."""

    TRANSA = 3
    TRANSB = 4
    EPILOGUE = 7
    BIAS_POINTER = 8
    EPILOGUE_AUX_POINTER = 11
    EPILOGUE_AUX_LD = 12


class Preference(IntEnum):
    """``cublasLtMatmulPreferenceAttributes_t``."""

    MAX_WORKSPACE_BYTES = 1
    REDUCTION_SCHEME_MASK = 3
    MIN_ALIGNMENT_A_BYTES = 5
    MIN_ALIGNMENT_B_BYTES = 6
    MIN_ALIGNMENT_C_BYTES = 7
    MIN_ALIGNMENT_D_BYTES = 8


class LtEpilogue(IntEnum):
    """``cublasLtEpilogue_t``."""

    DEFAULT = 1
    BIAS = 4
    RELU_BIAS = 6
    RELU_AUX_BIAS = 134
    DRELU_BGRAD = 152
    BGRADA = 256


COMPUTE_TYPE, OUTPUT_TYPE = 2, 4
"""``cublasLtReductionScheme_t``: the types in which parts of a sum are kept. INPLACE is left out:
its order of sums changes from run to run."""

ALIGNMENT: Final = 16
"""Bytes: no kernel of the library gains by more, so no more is claimed of an address."""

ALGORITHMS: Final = 8
"""How many algorithms to ask the library for."""


class CublasError(FastNetError, RuntimeError):
    """cublasLt refused a call.

    Attributes
    ----------
    status : int
        A `Status`, or a number that is none.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def check(function: str, status: int) -> None:
    """Raise unless a call succeeded.

    Raises
    ------
    OutOfMemoryError
        The library found too little memory on the GPU, which may be different the next time.
    CublasError
        Any other failure.
    """
    if status == Status.SUCCESS:
        return
    known = status in Status._value2member_map_
    name = f"CUBLAS_STATUS_{Status(status).name}" if known else f"status {status}"
    if status == Status.ALLOC_FAILED:
        raise OutOfMemoryError(
            f"{function} found too little free memory on the GPU ({name}): choose a smaller "
            f"batch_size, or the numba backend."
        )
    raise CublasError(f"{function} failed with {name}.", status)


class _Algorithm(ctypes.Structure):
    _fields_ = (("data", ctypes.c_uint64 * 8),)


class _Heuristic(ctypes.Structure):
    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True)
class Problem:
    """A product D (m, n) = op(A) op(B): all that the choice of an algorithm depends on.

    Attributes
    ----------
    transpose_a, transpose_b : bool
    inputs, output : DataType
        Of A and B, and of D.
    compute : Compute
    epilogue : LtEpilogue
    align_a, align_b, align_d, align_vector, align_mask : int
        Powers of two up to `ALIGNMENT` that divide the addresses.
    """

    m: int
    n: int
    k: int
    transpose_a: bool
    transpose_b: bool
    inputs: DataType
    output: DataType
    compute: Compute
    epilogue: LtEpilogue
    align_a: int = ALIGNMENT
    align_b: int = ALIGNMENT
    align_d: int = ALIGNMENT
    align_vector: int = ALIGNMENT
    align_mask: int = ALIGNMENT

    @property
    def key(self) -> str:
        """All fields as text."""
        return " ".join(str(int(value)) for value in astuple(self))

    @property
    def is_supported(self) -> bool:
        """Whether cuBLAS has the epilogue for this shape; what it does with others is not defined.

        It has no ReLU's derivative where k is 1, and no sums of A's rows where m or k is 1.
        """
        if self.epilogue is LtEpilogue.DRELU_BGRAD:
            return self.k > 1
        return self.epilogue is not LtEpilogue.BGRADA or min(self.m, self.k) > 1

    @property
    def reductions(self) -> int:
        """The ways in which an algorithm may add up parts of a sum.

        Parts of a sum are never rounded to bfloat16.
        """
        return COMPUTE_TYPE if self.output is DataType.R_16BF else COMPUTE_TYPE | OUTPUT_TYPE


class CublasLt:
    """The loaded library.

    Parameters
    ----------
    path : str
        Its path or name.
    """

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.cublasLtGetVersion.restype = ctypes.c_size_t
        self.version = int(self._library.cublasLtGetVersion())

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function; raise as `check` does unless it succeeds."""
        check(function, getattr(self._library, function)(*arguments))

    def handle(self) -> ctypes.c_void_p:
        """Return a handle for the current device; needs a driver."""
        handle = ctypes.c_void_p()
        self.call("cublasLtCreate", ctypes.byref(handle))
        return handle


class Product:
    """The descriptors of one problem.

    Parameters
    ----------
    library : CublasLt
    problem : Problem
    """

    def __init__(self, library: CublasLt, problem: Problem) -> None:
        self._library, self.problem = library, problem
        p = problem
        scale = DataType.R_64F if p.compute is Compute.F64 else DataType.R_32F
        number = ctypes.c_double if p.compute is Compute.F64 else ctypes.c_float
        self._one, self._zero = number(1), number(0)
        self._operation = ctypes.c_void_p()
        self._create("MatmulDesc", self._operation, ctypes.c_int(p.compute), ctypes.c_int(scale))
        self._set(Attribute.TRANSA, ctypes.c_int32(p.transpose_a))
        self._set(Attribute.TRANSB, ctypes.c_int32(p.transpose_b))
        self._set(Attribute.EPILOGUE, ctypes.c_uint32(p.epilogue))
        if p.epilogue in (LtEpilogue.RELU_AUX_BIAS, LtEpilogue.DRELU_BGRAD):
            self._set(Attribute.EPILOGUE_AUX_LD, ctypes.c_int64(-(-p.m // 128) * 128))
        self._a = self._layout(p.inputs, *((p.k, p.m) if p.transpose_a else (p.m, p.k)))
        self._b = self._layout(p.inputs, *((p.n, p.k) if p.transpose_b else (p.k, p.n)))
        self._d = self._layout(p.output, p.m, p.n)

    def algorithms(self, handle: ctypes.c_void_p, workspace_bytes: int) -> list[bytes]:
        """Return the algorithms for the problem, best guess first; empty where there is none.

        It must not be called while a stream is captured.

        Raises
        ------
        CublasError, OutOfMemoryError
            The library cannot say now, which does not mean that there is none.
        """
        preference = ctypes.c_void_p()
        self._create("MatmulPreference", preference)
        p = self.problem
        wishes = (
            (Preference.MAX_WORKSPACE_BYTES, ctypes.c_uint64(workspace_bytes)),
            (Preference.REDUCTION_SCHEME_MASK, ctypes.c_uint32(p.reductions)),
            (Preference.MIN_ALIGNMENT_A_BYTES, ctypes.c_uint32(p.align_a)),
            (Preference.MIN_ALIGNMENT_B_BYTES, ctypes.c_uint32(p.align_b)),
            (Preference.MIN_ALIGNMENT_C_BYTES, ctypes.c_uint32(p.align_d)),
            (Preference.MIN_ALIGNMENT_D_BYTES, ctypes.c_uint32(p.align_d)),
        )
        for wish, value in wishes:
            self._attribute("MatmulPreference", preference, wish, value)
        # The library looks at the alignment of these addresses and does not follow them.
        self.point(p.align_vector, p.align_mask)
        found, results = ctypes.c_int(), (_Heuristic * ALGORITHMS)()
        layouts = self._a, self._b, self._d, self._d
        try:
            self._library.call(
                *("cublasLtMatmulAlgoGetHeuristic", handle, self._operation, *layouts, preference),
                *(ctypes.c_int(ALGORITHMS), results, ctypes.byref(found)),
            )
        except CublasError as error:
            if error.status != Status.NOT_SUPPORTED:
                raise
            return []
        finally:
            self._library.call("cublasLtMatmulPreferenceDestroy", preference)
        return [bytes(r.algorithm) for r in results[: found.value] if r.state == Status.SUCCESS]

    def point(self, vector: int, mask: int) -> None:
        """Set the addresses of the epilogue's vector and mask; 0 means none."""
        if self.problem.epilogue is not LtEpilogue.DEFAULT:
            self._set(Attribute.BIAS_POINTER, ctypes.c_uint64(vector))
        if self.problem.epilogue in (LtEpilogue.RELU_AUX_BIAS, LtEpilogue.DRELU_BGRAD):
            self._set(Attribute.EPILOGUE_AUX_POINTER, ctypes.c_uint64(mask))

    def run(
        self,
        handle: ctypes.c_void_p,
        algorithm: bytes,
        d: int,
        a: int,
        b: int,
        workspace: tuple[int, int],
        stream: int,
    ) -> None:
        """Queue D = op(A) op(B) on a stream; `workspace` is an address and a size in bytes."""
        way = _Algorithm.from_buffer_copy(algorithm)
        arrays = (ctypes.c_void_p(address) for address in (a, b, d, d))
        layouts = self._a, self._b, self._d, self._d
        (a_, b_, c_, d_), (la, lb, lc, ld) = arrays, layouts
        self._library.call(
            *("cublasLtMatmul", handle, self._operation, ctypes.byref(self._one)),
            *(a_, la, b_, lb, ctypes.byref(self._zero), c_, lc, d_, ld, ctypes.byref(way)),
            *(ctypes.c_void_p(workspace[0]), ctypes.c_size_t(workspace[1])),
            ctypes.c_void_p(stream),
        )

    def _create(self, kind: str, into: ctypes.c_void_p, *arguments: Any) -> None:
        self._library.call(f"cublasLt{kind}Create", ctypes.byref(into), *arguments)

    def _layout(self, kind: DataType, rows: int, columns: int) -> ctypes.c_void_p:
        layout = ctypes.c_void_p()
        shape = ctypes.c_uint64(rows), ctypes.c_uint64(columns), ctypes.c_int64(rows)
        self._create("MatrixLayout", layout, ctypes.c_int(kind), *shape)
        return layout

    def _set(self, attribute: Attribute, value: Any) -> None:
        self._attribute("MatmulDesc", self._operation, attribute, value)

    def _attribute(self, kind: str, what: Any, attribute: IntEnum, value: Any) -> None:
        self._library.call(
            *(f"cublasLt{kind}SetAttribute", what, ctypes.c_int(attribute)),
            *(ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value))),
        )

    def __del__(self) -> None:
        """Destroy the descriptors."""
        for kind, what in (
            ("MatmulDesc", getattr(self, "_operation", None)),
            *(("MatrixLayout", getattr(self, name, None)) for name in ("_a", "_b", "_d")),
        ):
            if what:
                self._library.call(f"cublasLt{kind}Destroy", what)
