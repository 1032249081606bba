"""Tries out an epilogue of a matrix product: whether it computes what it should, and what it saves.

An epilogue is compared with the product and the kernel that it stands for, on numbers for which
there is one right answer to the last bit, whatever the order of the sums:

- small whole numbers, whose sums are exact in every precision;
- zeros, where the sign of an element decides about its derivative: that of ReLU is 0 there;
- NaN, which an activation must not lose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.runtime import BF16, Epilogue, Runtime, mask_bytes
from fastnet.kernels import abi
from fastnet.nn.batch import Array

PERIOD: Final = 65537
"""So many numbers are drawn, and repeat in larger arrays; a prime, so that rows differ."""

SPREAD: Final = 8.0
"""The deviation of a sum: bfloat16 has whole numbers up to 256, which is 32 times as much."""

FORWARD: Final = (Epilogue.BIAS, Epilogue.RELU, Epilogue.RELU_MASK)


@dataclass(frozen=True)
class Operands:
    """The arrays of a product with an epilogue; see ``Runtime.gemm``."""

    out: Array
    a: Array
    b: Array
    transpose_a: bool
    transpose_b: bool
    vector: Array
    mask: Array | None


def saving(
    runtime: Runtime,
    epilogue: Epilogue,
    given: Operands,
    seconds: Callable[[Callable[[], None]], float],
) -> float:
    """Return the seconds that an epilogue saves; minus infinity where it computes something else.

    Parameters
    ----------
    given : Operands
        Stand for the problem. They are neither read nor written: the trial has memory of its own.
    seconds : callable
        Measures queued work.
    """
    trial = _Trial(runtime, epilogue, given)
    for fill in (0.0, math.nan, None) if epilogue in FORWARD else (None,):
        trial.prepare(fill)
        trial.fused()
        trial.composed()
        if not trial.agrees():
            return -math.inf
    return seconds(trial.composed) - seconds(trial.fused)


class _Trial:
    """Both forms of a product on memory of its own, with the alignment of the arrays given."""

    def __init__(self, runtime: Runtime, epilogue: Epilogue, given: Operands) -> None:
        self._runtime, self._epilogue, self._given = runtime, epilogue, given
        self._transposes: dict[str, Any] = {
            "transpose_a": given.transpose_a,
            "transpose_b": given.transpose_b,
        }
        self._a, self._b = self._like(given.a), self._like(given.b)
        self._outs = self._like(given.out), self._like(given.out)
        self._vectors = self._like(given.vector), self._like(given.vector)
        self._mask: Array = None if given.mask is None else self._like(given.mask)
        numbers = np.dtype(np.float32) if runtime.cells == BF16 else runtime.cells
        self._bias = runtime.empty(given.out.shape[1:], numbers)
        # The outputs of the layer below, which the derivative of its ReLU needs.
        backward = epilogue is Epilogue.RELU_BACKWARD
        self._y: Array = runtime.empty(given.out.shape, runtime.cells) if backward else None
        runtime.upload(self._b, self._factor(given.b, 1))

    def _factor(self, array: Array, seed: int) -> NDArray[Any]:
        """Return numbers for a factor, fewer of them not 0 where more are added up."""
        given = self._given
        inner = given.a.shape[0] if given.transpose_a else given.a.shape[1]
        share = min(2 / 3, SPREAD / math.sqrt(max(inner, 1)))
        return _as(_whole_numbers(array.shape, share, seed), array.dtype)

    def _like(self, array: Array) -> Array:
        """Return new memory of the same shape and alignment."""
        size = int(np.dtype(array.dtype).itemsize)
        first = self._runtime.address(array) % 16 // size
        flat = self._runtime.empty((array.size + 16 // size,), array.dtype)
        return flat[first : first + array.size].reshape(array.shape)

    def prepare(self, fill: float | None) -> None:
        """Write whole numbers into `a` and the bias, or `fill` everywhere in `a` and no bias."""
        upload, given = self._runtime.upload, self._given
        bias = _whole_numbers(given.out.shape[1:], 2 / 3, 2)
        if fill is None:
            upload(self._a, self._factor(given.a, 0))
        else:
            _fill(self._a, fill)
            bias[...] = 0
        upload(self._bias, _as(bias, self._bias.dtype))
        outputs = [*self._outs]
        if self._epilogue in FORWARD:
            for vector in self._vectors:
                upload(vector, _as(bias, vector.dtype))
        else:
            outputs += self._vectors
        # So that what is not written differs from what is right.
        for output in outputs:
            _fill(output, -1e4)
        if self._epilogue is Epilogue.RELU_BACKWARD:
            y = np.maximum(_whole_numbers(given.out.shape, 2 / 3, 3), 0)
            upload(self._y, _as(y, self._y.dtype))
            upload(self._mask, _bits(y > 0))
        elif self._mask is not None:
            self._mask.fill(0xAA)

    def fused(self) -> None:
        """Queue the product with its epilogue."""
        vector, mask = self._vectors[0], self._mask
        extra: dict[str, Any] = {"epilogue": self._epilogue, "vector": vector, "mask": mask}
        self._runtime.gemm(self._outs[0], self._a, self._b, **self._transposes, **extra)

    def composed(self) -> None:
        """Queue the product and the kernel that `GpuStep` launches in place of the epilogue."""
        launch, out, shape = self._runtime.launch, self._outs[1], self._outs[1].shape
        self._runtime.gemm(out, self._a, self._b, **self._transposes)
        if self._epilogue in FORWARD:
            code = abi.IDENTITY if self._epilogue is Epilogue.BIAS else abi.RELU
            launch("dense_forward_epilogue", shape, out, out, self._bias, code, *shape)
            return
        vector = self._vectors[1]
        if self._epilogue is Epilogue.RELU_BACKWARD:
            y, code = self._y, abi.RELU
            launch("dense_backward_epilogue", shape, out, vector, y, y, code, *shape)
        else:
            b, shape = self._b, self._b.shape
            launch("dense_backward_epilogue", shape, b, vector, b, b, abi.IDENTITY, *shape)

    def agrees(self) -> bool:
        """Return whether both forms gave the same."""
        to_host, epilogue = self._runtime.to_host, self._epilogue
        pairs = [self._outs] if epilogue in FORWARD else [self._outs, self._vectors]
        if not all(_same(to_host(fused), to_host(composed)) for fused, composed in pairs):
            return False
        if epilogue is not Epilogue.RELU_MASK:
            return True
        # Where y is NaN, the loss is, and nobody reads the mask.
        y = _wide(to_host(self._outs[1]))
        bits, known = _bits(y > 0), _bits(~np.isnan(y))
        return not ((to_host(self._mask) ^ bits) & known).any()


def _whole_numbers(shape: tuple[int, ...], share: float, seed: int) -> NDArray[np.float32]:
    """Return -1, 0 and 1; `share` of them are not 0."""
    drawn = np.random.default_rng(seed).random(PERIOD, np.float32)
    signs = np.where(drawn < share / 2, np.float32(-1), np.float32(1))
    return np.resize(np.where(drawn < share, signs, np.float32(0)), shape)


def _fill(array: Array, number: float) -> None:
    """Write one number into an array of the runtime."""
    array.fill(_as(np.full(1, number, np.float32), array.dtype).item())


def _as(values: NDArray[np.float32], dtype: Any) -> NDArray[Any]:
    """Return numbers in a dtype of the runtime; for bfloat16, cut off to it."""
    if dtype == BF16:
        return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(dtype)


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers that an array of the runtime has."""
    if values.dtype == BF16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether two arrays have the same numbers, or NaN in the same places."""
    words = f"u{a.itemsize}"
    if np.array_equal(a.view(words), b.view(words)):  # Faster than what follows, and the rule.
        return True
    return np.array_equal(_wide(a), _wide(b), equal_nan=True)


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return flags as cublasLt writes a mask: the lowest bit of a byte comes first."""
    mask = np.zeros((len(flags), mask_bytes(flags.shape[1])), np.uint8)
    bits = np.packbits(flags, axis=1, bitorder="little")
    mask[:, : bits.shape[1]] = bits
    return mask
