"""Philox and the shuffle: the same integers as in ``fastnet/nn/random.py``, bit for bit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import integers, make_room
from fastnet.kernels.cpu.jit import inner, specialised
from fastnet.kernels.cpu.machine import VECTOR_BYTES
from fastnet.kernels.cpu.vectors import INT32, INT64

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_M0, _M1 = np.uint64(abi.PHILOX_M0), np.uint64(abi.PHILOX_M1)
_W0, _W1 = np.uint64(abi.PHILOX_W0), np.uint64(abi.PHILOX_W1)
# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE = np.int64(0), np.int64(1)
_SHUFFLE, _DROP = np.uint64(abi.SHUFFLE), np.uint64(abi.DROP)


SPARE: Final = 256
"""Number of rows that `shuffle` looks through at a time for those that need another step."""

room_for_spare = make_room(2 * SPARE)

WORDS: Final = VECTOR_BYTES // 4
"""Numbers that `encrypt_vector` takes."""


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


@intrinsic
def encrypt_vector(
    typingctx: Any, out: Any, values: Any, start: Any, width: Any, mask0: Any, mask1: Any, keys: Any
) -> Any:
    """Write the images of as many numbers as a vector has words of 32 bits, as int64 to `out`.

    They are those at the address `values`, or where that is 0 the numbers from `start` on. Halves
    and keys have 32 bits at most: so a vector holds twice as many as of int64, whose products
    processors compute slowly.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, values, start, width, mask0, mask1, keys = args
        lanes = WORDS
        words, longs = ir.VectorType(INT32, lanes), ir.VectorType(INT64, lanes)

        def splat(value: Any, kind: Any) -> Any:
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT32(0))
            zeros = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
            return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

        def constant(value: int) -> Any:
            return ir.Constant(words, [value] * lanes)

        def mixed(half: Any, key: Any) -> Any:
            summed = builder.add(half, key)
            low = builder.mul(summed, constant(abi.FEISTEL_M0))
            wide = builder.zext(summed, longs)
            product = builder.mul(wide, ir.Constant(longs, [abi.FEISTEL_M0] * lanes))
            high = builder.trunc(builder.lshr(product, ir.Constant(longs, [32] * lanes)), words)
            bits = builder.xor(high, low)
            bits = builder.xor(bits, builder.lshr(bits, constant(15)))
            bits = builder.mul(bits, constant(abi.FEISTEL_M1))
            return builder.xor(bits, builder.lshr(bits, constant(13)))

        given = builder.icmp_signed("!=", values, INT64(0))
        with builder.if_else(given) as (then, otherwise):
            with then:
                place = builder.inttoptr(values, longs.as_pointer())
                read = builder.load(place)
                read.align = 8
                from_read = builder.block
            with otherwise:
                counted = builder.add(splat(start, longs), ir.Constant(longs, [*range(lanes)]))
                from_counted = builder.block
        value = builder.phi(longs)
        value.add_incoming(read, from_read)
        value.add_incoming(counted, from_counted)
        shift = splat(width, longs)
        masks = [splat(builder.trunc(mask, INT32), words) for mask in (mask0, mask1)]
        a = builder.and_(builder.trunc(value, words), masks[0])
        b = builder.trunc(builder.lshr(value, shift), words)
        for k in range(abi.FEISTEL_ROUNDS):
            key = splat(builder.trunc(builder.extract_value(keys, k), INT32), words)
            if k % 2:
                a = builder.and_(builder.xor(a, mixed(b, key)), masks[0])
            else:
                b = builder.and_(builder.xor(b, mixed(a, key)), masks[1])
        image = builder.or_(builder.shl(builder.zext(b, longs), shift), builder.zext(a, longs))
        builder.store(image, builder.inttoptr(out, longs.as_pointer())).align = 8
        return context.get_dummy_value()

    return types.void(out, values, start, width, mask0, mask1, keys), codegen


@inner
def encrypt(out: Any, values: Any, start: Any, count: Any, bits: Any, keys: Any) -> None:
    """Write the images of `count` numbers, and of some more that fill a vector; see there."""
    width = bits // 2
    mask0, mask1 = (_ONE << width) - _ONE, (_ONE << (bits - width)) - _ONE
    for i in range(0, count, WORDS):
        source = values + i * 8 if values != 0 else values
        encrypt_vector(out + i * 8, source, start + i, width, mask0, mask1, keys)


@inner
def shuffle(out: Any, start: Any, count: Any, bits: Any, keys: Any, spare: Any) -> None:
    """Write which rows are at positions `start`, ... of an epoch of `count` rows.

    It encrypts a piece of the positions. Those whose images are not below `count`, up to half of
    them, are encrypted again (cycle walking), put together so that this is vector code too.
    `spare` is the address of scratch memory, (2 SPARE,) int64.
    """
    address = spare + SPARE * 8
    places, values = integers(spare, SPARE), integers(address, SPARE)
    for first in range(0, len(out), SPARE):
        part = out[first : first + SPARE]
        encrypt(address, _ZERO, start + first, len(part), bits, keys)
        outside = 0
        for i in range(len(part)):
            part[i] = values[i]
            places[outside] = i
            outside += int(values[i] >= count)
        while outside > 0:
            for j in range(outside):
                values[j] = part[places[j]]
            encrypt(address, address, _ZERO, outside, bits, keys)
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
    keys = feistel_keys(seed, epoch)
    shuffle(out, _ZERO, len(out), feistel_bits(len(out)), keys, room_for_spare())
