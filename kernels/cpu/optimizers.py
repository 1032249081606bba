"""Updates by code, in one pass each, by the formulas of ``fastnet/nn/optimizers.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.jit import inner, specialised
from fastnet.kernels.cpu.lanes import load, root, select, store
from fastnet.kernels.cpu.vectors import lanes_of

_SGD, _RMSPROP, _ADAGRAD = abi.SGD, abi.RMSPROP, abi.ADAGRAD
_ADAM, _NADAM = abi.ADAM, abi.NADAM
_BETA1, _BETA2, _EPSILON = abi.BETA1, abi.BETA2, abi.EPSILON
_MOMENTUM, _NESTEROV, _L1, _L2 = abi.MOMENTUM, abi.NESTEROV, abi.L1, abi.L2
_RATE, _SCALE, _RATE_GRADIENT, _DECAY = abi.RATE, abi.SCALE, abi.RATE_GRADIENT, abi.DECAY

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ADAM_CODE, _SGD_CODE = np.int64(_ADAM), np.int64(_SGD)


@inner
def update(
    like: Any,
    w: Any,
    g: Any,
    m: Any,
    v: Any,
    rates: Any,
    count: Any,
    code: Any,
    constants: Any,
    c: Any,
    clip: Any,
    decayed: Any,
) -> None:
    """Update w with the gradient g; w, g and the moments m and v are addresses.

    Parameters
    ----------
    rates : address of `count` elements, or 0
        The factor of each parameter's step; 0 means that all are 1.
    count : int
        The number of elements at each of these addresses.
    constants, c : (8,) and (4,) float64
        The optimizer's hyperparameters and this step's coefficients.
    clip : float
        The factor that clips the gradient.
    decayed : bool
        Whether penalties and decay act on w.
    """
    # With a constant code, the compiler makes a loop for that optimizer alone, which takes half the
    # time. This pays for the two most used ones (``fastnet bench --part kernels``).
    if code == _ADAM_CODE:
        _update(like, w, g, m, v, rates, count, _ADAM_CODE, constants, c, clip, decayed)
    elif code == _SGD_CODE:
        _update(like, w, g, m, v, rates, count, _SGD_CODE, constants, c, clip, decayed)
    else:
        _update(like, w, g, m, v, rates, count, code, constants, c, clip, decayed)


@specialised
def _update(
    like: Any,
    w: Any,
    g: Any,
    m: Any,
    v: Any,
    rates: Any,
    count: Any,
    code: Any,
    constants: Any,
    c: Any,
    clip: Any,
    decayed: Any,
) -> None:
    # The numbers of this step, rounded once to the dtype.
    size, lanes = like.itemsize, lanes_of(like)
    real = like.dtype.type
    zero, one = real(0.0), real(1.0)
    scale, keep = real(clip), real(1.0 - c[_DECAY]) if decayed else one
    l1 = real(constants[_L1]) if decayed else zero
    l2 = real(constants[_L2]) if decayed else zero
    numbers = (
        real(c[_RATE]), real(c[_SCALE]), real(c[_RATE_GRADIENT]), keep, l1, l2,
        real(constants[_BETA1]), real(constants[_BETA2]),
        real(1.0 - constants[_BETA1]), real(1.0 - constants[_BETA2]),
        real(constants[_EPSILON]), real(constants[_MOMENTUM]),
    )  # fmt: skip
    penalised, nesterov = l1 != zero or l2 != zero, constants[_NESTEROV] != 0
    rated = rates != 0
    for i in range(0, count, lanes):
        offset, left = i * size, count - i
        wi, gi = load(like, w + offset, left), scale * load(like, g + offset, left)
        moved = new_weight(
            like, wi, gi, m + offset, v + offset, left, code, numbers, penalised, nesterov
        )
        if rated:
            ri = load(like, rates + offset, left)
            moved = select(ri == zero, wi, wi + ri * (moved - wi))
        store(w + offset, moved, left)


@specialised
def new_weight(
    like: Any,
    wi: Any,
    gi: Any,
    m: Any,
    v: Any,
    left: Any,
    code: Any,
    numbers: Any,
    penalised: Any,
    nesterov: Any,
) -> Any:
    """Return a vector of weights after a step, and update their moments.

    Parameters
    ----------
    wi, gi : vectors
        The weights, and their gradient after clipping.
    m, v : int
        Addresses of the moments' vectors, of which `left` elements are there.
    numbers : tuple of 12
        Those of the step, each for all lanes or a vector.
    penalised, nesterov : bool
    """
    real = like.dtype.type
    zero, one = real(0.0), real(1.0)
    rate, correction, rate_gradient, keep, l1, l2 = numbers[:6]
    beta1, beta2, rest1, rest2, epsilon, momentum = numbers[6:]
    mi = load(like, m, left)
    if penalised:
        sign = select(wi > zero, one, select(wi < zero, -one, zero))
        gi = gi + l2 * wi + l1 * sign
    # The moments, and the move of each weight.
    if code in (_ADAM, _NADAM):
        mi = beta1 * mi + rest1 * gi
        vi = beta2 * load(like, v, left) + rest2 * gi * gi
        store(v, vi, left)
        move = rate * mi
        if code == _NADAM:
            move = move + rate_gradient * gi
        move = move / (root(vi) * correction + epsilon)
    elif code == _SGD:
        mi = momentum * mi + gi
        move = rate * (gi + momentum * mi) if nesterov else rate * mi
    elif code == _RMSPROP:
        mi = beta2 * mi + rest2 * gi * gi
        move = rate * gi / (root(mi) + epsilon)
    elif code == _ADAGRAD:
        mi = mi + gi * gi
        move = rate * gi / (root(mi) + epsilon)
    else:  # Lion; u itself where it is zero or not a number
        u = beta1 * mi + rest1 * gi
        move = rate * select(u > zero, one, select(u < zero, -one, u))
        mi = beta2 * mi + rest2 * gi
    store(m, mi, left)
    return keep * wi - move
