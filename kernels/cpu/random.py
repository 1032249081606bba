"""Philox and the shuffle: the same integers as in ``fastnet/nn/random.py``, bit for bit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import integers, make_room
from fastnet.kernels.cpu.jit import inner, specialised

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_M0, _M1 = np.uint64(abi.PHILOX_M0), np.uint64(abi.PHILOX_M1)
_W0, _W1 = np.uint64(abi.PHILOX_W0), np.uint64(abi.PHILOX_W1)
_F0, _F1 = np.uint64(abi.FEISTEL_M0), np.uint64(abi.FEISTEL_M1)
_15, _13 = np.uint64(15), np.uint64(13)
# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE = np.int64(0), np.int64(1)
_SHUFFLE, _DROP = np.uint64(abi.SHUFFLE), np.uint64(abi.DROP)


SPARE: Final = 256
"""Number of rows that `shuffle` looks through at a time for those that need another step."""

room_for_spare = make_room(2 * SPARE)


@specialised
def philox_round(words: Any, keys: Any) -> Any:
    """Return the four words after a round, and the keys of the next."""
    c0, c1, c2, c3 = words
    k0, k1 = keys
    p0, p1 = c0 * _M0, c2 * _M1
    after = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
    return after, ((k0 + _W0) & _LOW, (k1 + _W1) & _LOW)


@specialised
def philox(block: Any, step: Any, stream: Any, purpose: Any, seed: Any) -> Any:
    """Return the four words of one counter, as uint64 below 2**32.

    The rounds are written out: a loop over counters would not become vector code around a loop.
    """
    w = np.uint64(block) & _LOW, np.uint64(step) & _LOW, np.uint64(stream) & _LOW, purpose
    k = seed & _LOW, seed >> _SHIFT
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    w, k = philox_round(w, k)
    return w


@inner
def words_of(block: Any, step: Any, stream: Any, purpose: Any, seed: Any) -> Any:
    """Return what `philox` does, where few counters are needed."""
    return philox(block, step, stream, purpose, seed)


@inner
def dropout_mask(
    mask: Any, start: Any, rate: Any, threshold: Any, step: Any, stream: Any, seed: Any
) -> None:
    """Fill `mask` with 0 or ``1 / (1 - rate)``: elements `start`, ... of the flattened batch."""
    kept, zero = mask.dtype.type(1.0 / (1.0 - rate)), mask.dtype.type(0.0)
    # Four elements share a counter. Those that are complete here are vector code.
    count = len(mask)
    head = min(count, -start & 3)
    quads = (count - head) >> 2
    body, first = mask[head : head + 4 * quads], (start + head) >> 2
    for q in range(quads):
        w0, w1, w2, w3 = philox(first + q, step, stream, _DROP, seed)
        body[4 * q] = kept if w0 < threshold else zero
        body[4 * q + 1] = kept if w1 < threshold else zero
        body[4 * q + 2] = kept if w2 < threshold else zero
        body[4 * q + 3] = kept if w3 < threshold else zero
    for k in range(count - 4 * quads):
        i = k if k < head else k + 4 * quads
        words = words_of((start + i) >> 2, step, stream, _DROP, seed)
        mask[i] = kept if words[(start + i) & 3] < threshold else zero


@inner
def feistel_keys(seed: Any, epoch: Any) -> Any:
    """Return the 8 round keys of one epoch's permutation."""
    k0, k1, k2, k3 = words_of(_ZERO, epoch, _ZERO, _SHUFFLE, seed)
    k4, k5, k6, k7 = words_of(_ONE, epoch, _ZERO, _SHUFFLE, seed)
    return k0, k1, k2, k3, k4, k5, k6, k7


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
def shuffle(out: Any, start: Any, count: Any, bits: Any, keys: Any, spare: Any) -> None:
    """Write which rows are at positions `start`, ... of an epoch of `count` rows.

    A first loop encrypts every position, as vector code. Those that are not below `count`, up to
    half of them, are encrypted again (cycle walking): they are put together in `spare`, (2 SPARE,)
    int64, so that this is vector code too.
    """
    width = np.uint64(bits // 2)
    mask0 = (np.uint64(1) << width) - np.uint64(1)
    mask1 = (np.uint64(1) << (np.uint64(bits) - width)) - np.uint64(1)
    for i in range(len(out)):
        out[i] = encrypted(np.uint64(start + i), width, mask0, mask1, keys)
    places, values = spare[:SPARE], spare[SPARE:]
    for first in range(0, len(out), SPARE):
        part = out[first : first + SPARE]
        outside = 0
        for i in range(len(part)):
            places[outside] = i
            outside += int(part[i] >= count)
        while outside > 0:
            for j in range(outside):
                values[j] = part[places[j]]
            for j in range(outside):
                values[j] = encrypted(np.uint64(values[j]), width, mask0, mask1, keys)
            still = 0
            for j in range(outside):
                place = places[j]
                part[place] = values[j]
                places[still] = place
                still += int(values[j] >= count)
            outside = still


@inner
def permutation(out: Any, seed: Any, epoch: Any) -> None:
    """Write the order of an epoch to `out` (N,) int64."""
    keys, spare = feistel_keys(seed, epoch), integers(room_for_spare(), 2 * SPARE)
    shuffle(out, _ZERO, len(out), feistel_bits(len(out)), keys, spare)
