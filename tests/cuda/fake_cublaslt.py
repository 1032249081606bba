"""A stand-in for the cublasLt library, called with the very arguments that the real one gets."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Collection
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.cublaslt import (
    Attribute,
    Compute,
    DataType,
    LtEpilogue,
    Preference,
    Status,
    check,
)
from tests.cuda.host_runtime import narrowed, widened
from tests.cuda.strict import CURRENT

_NUMBERS: dict[int, Any] = {
    DataType.R_32F: np.float32,
    DataType.R_64F: np.float64,
    DataType.R_16BF: np.uint16,
}
_CLAIMS = (
    Preference.MIN_ALIGNMENT_A_BYTES,
    Preference.MIN_ALIGNMENT_B_BYTES,
    Preference.MIN_ALIGNMENT_D_BYTES,
)
_KINDS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_float, 8: ctypes.c_double}


class Quirk(Enum):
    """What an epilogue may get wrong without a word."""

    ZERO_IS_POSITIVE = "the mask of a ReLU says that an element of 0 was positive"
    NAN_BECOMES_0 = "a ReLU takes NaN for a negative number"
    UNMASKED = "where k is 1, the derivative of a ReLU is 1 everywhere"
    NO_SUMS = "where m or k is 1, the sums of A's rows are not written"


def succeed(*_: object) -> Status:
    return Status.SUCCESS


class FakeCublasLt:
    """Keeps what it is told about each descriptor; multiplies column-major matrices.

    Parameters
    ----------
    queue : callable
        Takes what would run on the stream: runs it, or records it.
    without : collection of LtEpilogue
        Epilogues for which it finds no algorithm.
    quirks : collection of Quirk

    Attributes
    ----------
    numbers : list of int
        The algorithms, in the order in which it finds them. Each adds up in an order of its own.
    by_alignment : bool
        Whether that order depends on the alignment of B as well.
    answer, outcome : callable
        ``answer(epilogue, (m, n, k), workspace_bytes)`` is the status of a heuristic,
        ``outcome(epilogue, number)`` that of a run.
    milliseconds : dict of int to float
        How long a run takes by an algorithm, 1 where it is missing.
    epilogue_milliseconds : float
        How much longer it takes with an epilogue.
    runs : collections.Counter
        How often each algorithm was queued.
    """

    HANDLE = 815

    def __init__(
        self,
        queue: Callable[[Callable[[], None]], None],
        without: Collection[LtEpilogue] = (),
        quirks: Collection[Quirk] = (),
    ) -> None:
        self.version = 130000
        self.queue, self.without, self.quirks = queue, without, quirks
        self.numbers = [1, 2, 3]
        self.by_alignment = False
        self.answer: Callable[..., Status] = succeed
        self.outcome: Callable[..., Status] = succeed
        self.milliseconds: dict[int, float] = {}
        self.epilogue_milliseconds = 0.0
        self.runs: Counter[int] = Counter()
        self.objects: dict[int, dict[Any, Any]] = {}
        self.heuristics = 0
        self.asked: list[dict[Any, int]] = []  # preferences
        self.epilogues: set[tuple[LtEpilogue, tuple[int, int, int]]] = set()
        self.computes: set[Compute] = set()
        self.capturing: Callable[[], bool] = lambda: False

    def handle(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.HANDLE)

    def call(self, function: str, *arguments: Any) -> None:
        name, status = function.removeprefix("cublasLt"), Status.SUCCESS
        if name.endswith("Destroy"):
            del self.objects[arguments[0].value]
        elif name.endswith("Create"):
            self._create(*arguments)
        elif name.endswith("SetAttribute"):
            self._set(name, *arguments)
        elif name == "MatmulAlgoGetHeuristic":
            status = self._heuristic(*arguments)
        else:
            assert name == "Matmul"
            status = self._matmul(*arguments)
        check(function, status)

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
    ) -> Status:
        assert handle.value == self.HANDLE and c.value == d.value
        assert not self.capturing(), "not while a stream is captured"
        self.heuristics += 1
        wishes = self.objects[preference.value]
        self.asked.append(wishes)
        told = self.objects[operation.value]
        told["claims"] = [wishes[claim] for claim in _CLAIMS]
        epilogue, shape = LtEpilogue(told[Attribute.EPILOGUE]), self._shape(told, a, d)
        self.epilogues.add((epilogue, shape))
        if epilogue in self.without:
            return Status.NOT_SUPPORTED
        status = self.answer(epilogue, shape, wishes[Preference.MAX_WORKSPACE_BYTES])
        if status == Status.SUCCESS:
            assert len(self.numbers) <= wanted.value
            turn = wishes[Preference.MIN_ALIGNMENT_B_BYTES].bit_length() * self.by_alignment
            for n in range(len(self.numbers)):
                number = self.numbers[(n + turn) % len(self.numbers)]
                results[n].algorithm.data[0], results[n].state = number, Status.SUCCESS
            found._obj.value = len(self.numbers)
        return status

    def _shape(self, told: dict[Any, Any], a: Any, d: Any) -> tuple[int, int, int]:
        """Return m, n and k."""
        _, m, n, _ = self.objects[d.value]["made of"]
        _, rows, columns, _ = self.objects[a.value]["made of"]
        return m, n, rows if told[Attribute.TRANSA] else columns

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
    ) -> Status:
        assert handle.value == self.HANDLE and (one._obj.value, zero._obj.value) == (1, 0)
        assert c.value == d.value and layout_c.value == layout_d.value
        number = algorithm._obj.data[0]
        assert number in self.numbers
        assert workspace.value % 256 == 0 or workspace_bytes.value == 0 or workspace.value
        # As in a recording, everything is read now.
        told = dict(self.objects[operation.value])
        compute, scale = told["made of"]
        self.computes.add(Compute(compute))
        assert (scale == DataType.R_64F) == (compute == Compute.F64)
        places = (a.value, layout_a), (b.value, layout_b), (d.value, layout_d)
        for (address, _), claim in zip(places, told["claims"], strict=True):
            assert address % claim == 0, f"not aligned to {claim} bytes, as the library was told"
        left, right, out = (self._matrix(address, layout) for address, layout in places)
        epilogue = LtEpilogue(told[Attribute.EPILOGUE])
        self.runs[number] += 1

        def work() -> None:
            CURRENT.clock += self.milliseconds.get(number, 1.0)
            if epilogue is not LtEpilogue.DEFAULT:
                CURRENT.clock += self.epilogue_milliseconds
            _multiply(told, left, right, out, number, self.quirks)

        status = self.outcome(epilogue, number)
        if status == Status.SUCCESS:
            self.queue(work)
        return status

    def _matrix(self, address: int, layout: Any) -> NDArray[Any]:
        kind, rows, columns, leading = self.objects[layout.value]["made of"]
        assert leading >= rows
        return _array(address, (columns, leading), _NUMBERS[kind])[:, :rows].T


def _array(address: int, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    size = np.dtype(dtype).itemsize
    buffer = (_KINDS[size] * (shape[0] * shape[1])).from_address(address)
    return np.frombuffer(buffer, dtype).reshape(shape)


def _multiply(
    told: dict[Any, Any],
    left: NDArray[Any],
    right: NDArray[Any],
    out: NDArray[Any],
    number: int,
    quirks: Collection[Quirk],
) -> None:
    """Set `out` (m, n) to the product, summed in `number` parts, and do what the epilogue says."""
    wide = [widened(np.ascontiguousarray(x)) if x.dtype == np.uint16 else x for x in (left, right)]
    first = wide[0].T if told[Attribute.TRANSA] else wide[0]
    second = wide[1].T if told[Attribute.TRANSB] else wide[1]
    m, n, k = *out.shape, first.shape[1]
    product = np.zeros(out.shape, first.dtype)
    with np.errstate(all="ignore"):
        for part in range(number):
            product += first[:, part::number] @ second[part::number]
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
    if epilogue is LtEpilogue.RELU_AUX_BIAS:
        assert mask is not None
        positive = ~(product < 0) if Quirk.ZERO_IS_POSITIVE in quirks else product > 0
        bits = np.packbits(positive.T, axis=1, bitorder="little")
        mask[:, : bits.shape[1]] = bits
    if epilogue in (LtEpilogue.RELU_BIAS, LtEpilogue.RELU_AUX_BIAS):
        lesser = np.fmax if Quirk.NAN_BECOMES_0 in quirks else np.maximum
        product = lesser(product, 0)
    if epilogue is LtEpilogue.DRELU_BGRAD:
        assert mask is not None and vector is not None
        if k > 1 or Quirk.UNMASKED not in quirks:
            kept = np.unpackbits(mask, axis=1, count=m, bitorder="little")
            product = np.where(kept.T, product, 0)
        vector[...] = product.sum(axis=1)
    if epilogue is LtEpilogue.BGRADA and (min(m, k) > 1 or Quirk.NO_SUMS not in quirks):
        assert vector is not None
        vector[...] = first.sum(axis=1)
    out[...] = narrowed(product) if out.dtype == np.uint16 else product
