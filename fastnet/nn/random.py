"""Counter-based randomness: the same integers on every backend, for any number of threads.

A draw is a pure function of (seed, purpose, stream, step, index), without a state. So a mask or a
permutation can be recomputed anywhere: in a Numba loop, in a CUDA kernel, or when a run resumes in
the middle of an epoch. ``kernels/cpu/random.py`` and ``kernels/cuda/random.cuh`` implement the same
functions; tests compare them bit for bit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi

U32 = NDArray[np.uint32]
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUND_KEYS = np.arange(abi.PHILOX_ROUNDS, dtype=np.uint64)[:, None, None] * np.array(
    [[abi.PHILOX_W0], [abi.PHILOX_W1]], np.uint64
)
_FACTORS = np.array([[abi.PHILOX_M0], [abi.PHILOX_M1]], np.uint64)
_PIECE: Final = 2**15


def philox(block: U32, step: int, stream: int, purpose: int, seed: int) -> U32:
    """Return the four random words (n, 4) of each counter ``(block, step, stream, purpose)``.

    Philox4x32-10 (Salmon et al., SC 2011), keyed by the 64-bit `seed`.

    Parameters
    ----------
    block : (n,) uint32
        First counter word; the other words are the same for all n.
    step, stream, purpose, seed : int
        Reduced modulo 2**32 (`seed`: modulo 2**64).
    """
    # Words 0 and 2 are multiplied, and 1 and 3 are not: arrays (2, n) of both take fewer calls.
    even, odd = np.empty((2, 2, len(block)), np.uint64)
    even[0], even[1] = block, stream & 0xFFFFFFFF
    odd[0], odd[1] = step & 0xFFFFFFFF, purpose & 0xFFFFFFFF
    key = np.array([[seed & 0xFFFFFFFF], [(seed >> 32) & 0xFFFFFFFF]], np.uint64)
    for of_round in (_ROUND_KEYS + key) & _LOW:
        products = (even * _FACTORS)[::-1]
        even = (products >> _HALF) ^ odd ^ of_round
        odd = products & _LOW
    out = np.empty((len(block), 4), np.uint32)
    out[:, 0::2], out[:, 1::2] = even.T, odd.T
    return out


def words(
    count: int, *, step: int, stream: int, purpose: int, seed: int, first_block: int = 0
) -> U32:
    """Return `count` words of a stream, starting at a block; word i is lane ``i % 4``."""
    blocks = np.arange(first_block, first_block + -(-count // 4)).astype(np.uint32)
    return philox(blocks, step, stream, purpose, seed).reshape(-1)[:count]


def uniform(count: int, *, stream: int, purpose: int, seed: int) -> NDArray[np.float64]:
    """Return `count` numbers in the open interval (0, 1), 52 random bits each."""
    out = np.empty(count)
    key = {"step": 0, "stream": stream, "purpose": purpose, "seed": seed}
    # Each block gives two numbers. Pieces bound the memory: Philox takes 60 bytes per number.
    for start in range(0, count, _PIECE):
        part = out[start : start + _PIECE]
        w = words(2 * len(part), **key, first_block=start // 2).astype(np.uint64)
        bits = (w[0::2] << np.uint64(20)) | (w[1::2] >> np.uint64(12))
        np.multiply(bits.astype(np.float64) + 0.5, 2.0**-52, out=part)
    return out


def normal(count: int, *, stream: int, purpose: int, seed: int) -> NDArray[np.float64]:
    """Return `count` standard normal numbers (Box and Muller, 1958)."""
    pairs = -(-count // 2)
    u = uniform(2 * pairs, stream=stream, purpose=purpose, seed=seed)
    radius, angle = np.sqrt(-2.0 * np.log(u[:pairs])), 2.0 * np.pi * u[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def keep_threshold(rate: float) -> int:
    """Return t with P(w < t) = 1 - `rate`: a random word w keeps its unit if ``w < t``."""
    return round((1.0 - rate) * 2**32)


def dropout_mask(
    out: NDArray[Any], *, rate: float, step: int, stream: int, seed: int
) -> NDArray[Any]:
    """Fill `out` (B, O) with 0 (probability `rate`) or ``1 / (1 - rate)``.

    Element e of the flattened batch uses word e of the stream, so within a step the mask depends
    only on the row's position in the batch.
    """
    w = words(out.size, step=step, stream=stream, purpose=abi.DROP, seed=seed)
    kept = (w < keep_threshold(rate)).reshape(out.shape)
    np.multiply(kept, out.dtype.type(1.0 / (1.0 - rate)), out=out)
    return out


def feistel_keys(seed: int, epoch: int, purpose: int = abi.SHUFFLE) -> U32:
    """Return the (8,) round keys of one epoch's permutation."""
    return words(abi.FEISTEL_ROUNDS, step=epoch, stream=0, purpose=purpose, seed=seed)


def feistel_bits(count: int) -> int:
    """Return the width in bits of the smallest domain for `count` rows, at least 2."""
    return max(2, (count - 1).bit_length())


def permutation(
    count: int, *, seed: int, epoch: int, purpose: int = abi.SHUFFLE
) -> NDArray[np.intp]:
    """Return the order in which an epoch visits `count` rows.

    Position i maps to row p(i) through a keyed bijection of ``[0, 2**bits)``, an unbalanced Feistel
    network of 8 rounds. It is repeated while the value falls outside ``[0, count)`` (cycle walking:
    Black and Rogaway, CT-RSA 2002). Any single position can be computed without the others.

    Parameters
    ----------
    count : int
        Number of rows, at most 2**32.
    seed, epoch : int
        The key.

    Returns
    -------
    (count,) intp
    """
    keys = feistel_keys(seed, epoch, purpose)
    bits, order = feistel_bits(count), np.empty(count, np.intp)
    # Pieces bound the memory: the network takes 40 bytes per row.
    for start in range(0, count, _PIECE):
        positions = np.arange(start, min(start + _PIECE, count), dtype=np.uint64)
        part = _feistel(positions.astype(np.uint32), bits, keys)
        outside = np.flatnonzero(part >= count)
        while outside.size:
            part[outside] = _feistel(part[outside], bits, keys)
            outside = outside[part[outside] >= count]
        order[start : start + _PIECE] = part
    return order


def _feistel(value: U32, bits: int, keys: U32) -> U32:
    """Apply the bijection of ``[0, 2**bits)`` once; the halves swap roles and widths each round."""
    low_bits = bits // 2
    low_mask = np.uint32((1 << low_bits) - 1)
    high_mask = np.uint32((1 << (bits - low_bits)) - 1)
    low, high = value & low_mask, value >> np.uint32(low_bits)
    for key in keys:
        product = (low + key).astype(np.uint64) * np.uint64(abi.FEISTEL_M0)
        mixed = (product >> _HALF).astype(np.uint32) ^ product.astype(np.uint32)
        mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(abi.FEISTEL_M1)
        mixed ^= mixed >> np.uint32(13)
        low, high = (high ^ mixed) & high_mask, low
        low_mask, high_mask = high_mask, low_mask
    # After an even number of rounds both halves have their first widths again.
    return (high << np.uint32(low_bits)) | low
