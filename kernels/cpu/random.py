"""Philox and the shuffle: the same integers as in ``fastnet/nn/random.py``, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.jit import inner, specialised

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


@specialised
def mixed(half: Any, key: Any) -> Any:
    """Return the round function of the Feistel network."""
    product = ((half + key) & _LOW) * _F0
    bits = (product >> _SHIFT) ^ (product & _LOW)
    bits = ((bits ^ (bits >> _15)) * _F1) & _LOW
    return bits ^ (bits >> _13)


@specialised
def encrypted(value: Any, width: Any, mask0: Any, mask1: Any, keys: Any) -> Any:
    """Return the image of a number under the 8 Feistel rounds; `keys` is a tuple."""
    a, b = value & mask0, value >> width
    b = (b ^ mixed(a, keys[0])) & mask1
    a = (a ^ mixed(b, keys[1])) & mask0
    b = (b ^ mixed(a, keys[2])) & mask1
    a = (a ^ mixed(b, keys[3])) & mask0
    b = (b ^ mixed(a, keys[4])) & mask1
    a = (a ^ mixed(b, keys[5])) & mask0
    b = (b ^ mixed(a, keys[6])) & mask1
    a = (a ^ mixed(b, keys[7])) & mask0
    return (b << width) | a


@inner
def shuffle(out: Any, start: Any, count: Any, bits: Any, keys: Any) -> None:
    """Write which rows are at positions `start`, ... of an epoch of `count` rows.

    A first loop encrypts every position, as vector code. A second loop encrypts again those that
    are not below `count` (cycle walking).
    """
    width = np.uint64(bits // 2)
    mask0 = (np.uint64(1) << width) - np.uint64(1)
    mask1 = (np.uint64(1) << (np.uint64(bits) - width)) - np.uint64(1)
    rounds = keys[0], keys[1], keys[2], keys[3], keys[4], keys[5], keys[6], keys[7]
    for i in range(len(out)):
        out[i] = encrypted(np.uint64(start + i), width, mask0, mask1, rounds)
    for i in range(len(out)):
        while out[i] >= count:
            out[i] = encrypted(np.uint64(out[i]), width, mask0, mask1, rounds)


@inner
def permutation(out: Any, seed: Any, epoch: Any) -> None:
    """Write the order of an epoch to `out` (N,) int64."""
    keys = np.empty(_FEISTEL_ROUNDS, np.uint64)
    feistel_keys(keys, seed, epoch)
    shuffle(out, 0, len(out), feistel_bits(len(out)), keys)
