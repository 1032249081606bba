"""A stand-in for the cublasLt library, called with the very arguments that the real one gets."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.cublaslt import (
    Attribute,
    Compute,
    CublasError,
    DataType,
    LtEpilogue,
    Preference,
    Status,
)
from tests.cuda.host_runtime import narrowed, widened

_NUMBERS: dict[int, Any] = {
    DataType.R_32F: np.float32,
    DataType.R_64F: np.float64,
    DataType.R_16BF: np.uint16,
}
_KINDS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_float, 8: ctypes.c_double}


class FakeCublasLt:
    """Keeps what it is told about each descriptor; multiplies column-major matrices.

    Parameters
    ----------
    queue : callable
        Takes what would run on the stream: runs it, or records it.
    without : collection of LtEpilogue
        Epilogues for which it finds no algorithm.
    found : int
        How many algorithms it finds.
    """

    HANDLE = 815

    def __init__(
        self,
        queue: Callable[[Callable[[], None]], None],
        without: Collection[LtEpilogue] = (),
        found: int = 3,
    ) -> None:
        self.version = 130000
        self.queue, self.without, self.found = queue, without, found
        self.objects: dict[int, dict[Any, Any]] = {}
        self.heuristics = 0
        self.asked: list[dict[Any, int]] = []  # preferences
        self.computes: set[Compute] = set()
        self.capturing: Callable[[], bool] = lambda: False

    def handle(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.HANDLE)

    def call(self, function: str, *arguments: Any) -> None:
        name = function.removeprefix("cublasLt")
        if name.endswith("Destroy"):
            del self.objects[arguments[0].value]
        elif name.endswith("Create"):
            self._create(*arguments)
        elif name.endswith("SetAttribute"):
            self._set(name, *arguments)
        elif name == "MatmulAlgoGetHeuristic":
            self._heuristic(*arguments)
        else:
            assert name == "Matmul"
            self._matmul(*arguments)

    def _create(self, into: Any, *arguments: Any) -> None:
        number = 1 + max(self.objects, default=1000)
        self.objects[number] = {"made of": [a.value for a in arguments]}
        into._obj.value = number

    def _set(self, name: str, what: Any, attribute: Any, value: Any, size: Any) -> None:
        assert size.value == ctypes.sizeof(value._obj)
        kind = Preference if name.startswith("MatmulPreference") else Attribute
        self.objects[what.value][kind(attribute.value)] = value._obj.value

    def _heuristic(
        self,
        handle: Any,
        operation: Any,
        a: Any,
        b: Any,
        c: Any,
        d: Any,
        preference: Any,
        wanted: Any,
        results: Any,
        found: Any,
    ) -> None:
        assert handle.value == self.HANDLE and c.value == d.value
        assert not self.capturing(), "not while a stream is captured"
        self.heuristics += 1
        self.asked.append(self.objects[preference.value])
        if self.objects[operation.value][Attribute.EPILOGUE] in self.without:
            raise CublasError("CUBLAS_STATUS_NOT_SUPPORTED")
        assert self.found <= wanted.value
        for n in range(self.found):
            results[n].algorithm.data[0], results[n].state = n + 1, Status.SUCCESS
        found._obj.value = self.found

    def _matmul(
        self,
        handle: Any,
        operation: Any,
        one: Any,
        a: Any,
        layout_a: Any,
        b: Any,
        layout_b: Any,
        zero: Any,
        c: Any,
        layout_c: Any,
        d: Any,
        layout_d: Any,
        algorithm: Any,
        workspace: Any,
        workspace_bytes: Any,
        stream: Any,
    ) -> None:
        assert handle.value == self.HANDLE and (one._obj.value, zero._obj.value) == (1, 0)
        assert c.value == d.value and layout_c.value == layout_d.value
        assert 1 <= algorithm._obj.data[0] <= self.found
        assert workspace.value % 256 == 0 or workspace_bytes.value == 0 or workspace.value
        # As in a recording, everything is read now.
        told = dict(self.objects[operation.value])
        compute, scale = told["made of"]
        self.computes.add(Compute(compute))
        assert (scale == DataType.R_64F) == (compute == Compute.F64)
        places = (a.value, layout_a), (b.value, layout_b), (d.value, layout_d)
        left, right, out = (self._matrix(address, layout) for address, layout in places)
        self.queue(lambda: _multiply(told, left, right, out))

    def _matrix(self, address: int, layout: Any) -> NDArray[Any]:
        kind, rows, columns, leading = self.objects[layout.value]["made of"]
        assert leading >= rows
        return _array(address, (columns, leading), _NUMBERS[kind])[:, :rows].T


def _array(address: int, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    size = np.dtype(dtype).itemsize
    buffer = (_KINDS[size] * (shape[0] * shape[1])).from_address(address)
    return np.frombuffer(buffer, dtype).reshape(shape)


def _multiply(
    told: dict[Any, Any], left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]
) -> None:
    """Set `out` (m, n) to the product and do what the epilogue says."""
    wide = [widened(np.ascontiguousarray(x)) if x.dtype == np.uint16 else x for x in (left, right)]
    first = wide[0].T if told[Attribute.TRANSA] else wide[0]
    second = wide[1].T if told[Attribute.TRANSB] else wide[1]
    with np.errstate(all="ignore"):
        product = first @ second
    assert product.shape == out.shape
    m, n = out.shape
    epilogue = LtEpilogue(told[Attribute.EPILOGUE])
    vector = mask = None
    if epilogue is not LtEpilogue.DEFAULT:
        vector = _array(told[Attribute.BIAS_POINTER], (1, m), out.dtype)[0]
    if epilogue in (LtEpilogue.RELU_AUX_BIAS, LtEpilogue.DRELU_BGRAD):
        leading = told[Attribute.EPILOGUE_AUX_LD]
        assert leading % 128 == 0 and leading >= m
        mask = _array(told[Attribute.EPILOGUE_AUX_POINTER], (n, leading // 8), np.uint8)
    if epilogue in (LtEpilogue.BIAS, LtEpilogue.RELU_BIAS, LtEpilogue.RELU_AUX_BIAS):
        assert vector is not None
        bias = widened(vector) if vector.dtype == np.uint16 else vector
        product = product + bias[:, None]
    if epilogue in (LtEpilogue.RELU_BIAS, LtEpilogue.RELU_AUX_BIAS):
        product = np.maximum(product, 0)
    if epilogue is LtEpilogue.RELU_AUX_BIAS:
        assert mask is not None
        bits = np.packbits(product.T > 0, axis=1, bitorder="little")
        mask[:, : bits.shape[1]] = bits
    if epilogue is LtEpilogue.DRELU_BGRAD:
        assert mask is not None and vector is not None
        product = product * np.unpackbits(mask, axis=1, count=m, bitorder="little").T
        vector[...] = product.sum(axis=1)
    if epilogue is LtEpilogue.BGRADA:
        assert vector is not None
        vector[...] = first.sum(axis=1)
    out[...] = narrowed(product) if out.dtype == np.uint16 else product
