"""Philox and the shuffle: twins of ``fastnet/random.py``, the same integers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.jit import inner

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_M0, _M1 = np.uint64(abi.PHILOX_M0), np.uint64(abi.PHILOX_M1)
_W0, _W1 = np.uint64(abi.PHILOX_W0), np.uint64(abi.PHILOX_W1)
_F0, _F1 = np.uint64(abi.FEISTEL_M0), np.uint64(abi.FEISTEL_M1)
_15, _13 = np.uint64(15), np.uint64(13)
_ROUNDS, _FEISTEL_ROUNDS = abi.PHILOX_ROUNDS, abi.FEISTEL_ROUNDS
_SHUFFLE, _DROP = abi.SHUFFLE, abi.DROP


@inner
def philox(block: Any, step: Any, stream: Any, purpose: Any, seed: Any) -> Any:
    """Return the four words of one counter, as uint64 below 2**32."""
    c0, c1 = np.uint64(block) & _LOW, np.uint64(step) & _LOW
    c2, c3 = np.uint64(stream) & _LOW, np.uint64(purpose) & _LOW
    k0, k1 = seed & _LOW, seed >> _SHIFT
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1
        c0 = (p1 >> _SHIFT) ^ c1 ^ k0
        c2 = (p0 >> _SHIFT) ^ c3 ^ k1
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@inner
def dropout_mask(
    mask: Any, start: Any, rate: Any, threshold: Any, step: Any, stream: Any, seed: Any
) -> None:
    """Fill `mask` with 0 or ``1 / (1 - rate)``: elements `start`, ... of the flattened batch."""
    kept = mask.dtype.type(1.0 / (1.0 - rate))
    zero = mask.dtype.type(0.0)
    i, count = 0, len(mask)
    while i < count:
        lane = (start + i) & 3
        w0, w1, w2, w3 = philox((start + i) >> 2, step, stream, _DROP, seed)
        for _ in range(min(4 - lane, count - i)):
            word = w0 if lane == 0 else (w1 if lane == 1 else (w2 if lane == 2 else w3))
            mask[i] = kept if word < threshold else zero
            i += 1
            lane += 1


@inner
def feistel_keys(keys: Any, seed: Any, epoch: Any) -> None:
    """Write the 8 round keys of one epoch's permutation."""
    for block in range(_FEISTEL_ROUNDS // 4):
        w0, w1, w2, w3 = philox(block, epoch, 0, _SHUFFLE, seed)
        keys[4 * block], keys[4 * block + 1] = w0, w1
        keys[4 * block + 2], keys[4 * block + 3] = w2, w3


@inner
def feistel_bits(count: Any) -> Any:
    """Return the width in bits of the smallest domain for `count` rows: at least 2."""
    bits = 2
    while (1 << bits) < count:
        bits += 1
    return bits


@inner
def shuffled(position: Any, count: Any, bits: Any, keys: Any) -> Any:
    """Return the row that comes at `position` in an epoch."""
    low_bits = np.uint64(bits // 2)
    first_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    second_mask = (np.uint64(1) << (np.uint64(bits) - low_bits)) - np.uint64(1)
    value = np.uint64(position)
    while True:
        low, high = value & first_mask, value >> low_bits
        low_mask, high_mask = first_mask, second_mask
        for r in range(_FEISTEL_ROUNDS):
            product = ((low + keys[r]) & _LOW) * _F0
            mixed = (product >> _SHIFT) ^ (product & _LOW)
            mixed = ((mixed ^ (mixed >> _15)) * _F1) & _LOW
            mixed ^= mixed >> _13
            low, high = (high ^ mixed) & high_mask, low
            low_mask, high_mask = high_mask, low_mask
        value = (high << low_bits) | low
        if value < np.uint64(count):
            return np.int64(value)


@inner
def permutation(out: Any, seed: Any, epoch: Any) -> None:
    """Write the order of an epoch to `out` (N,) int64."""
    keys = np.empty(_FEISTEL_ROUNDS, np.uint64)
    feistel_keys(keys, seed, epoch)
    bits = feistel_bits(len(out))
    for i in range(len(out)):
        out[i] = shuffled(i, len(out), bits, keys)
