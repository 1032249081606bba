"""Updates, by code, one pass each: twins of the steps in ``fastnet/optimizers.py``."""

from __future__ import annotations

import math
from typing import Any

from fastnet.kernels import abi
from fastnet.kernels.cpu.jit import inner

_SGD, _RMSPROP, _ADAGRAD = abi.SGD, abi.RMSPROP, abi.ADAGRAD
_ADAM, _NADAM = abi.ADAM, abi.NADAM
_BETA1, _BETA2, _EPSILON = abi.BETA1, abi.BETA2, abi.EPSILON
_MOMENTUM, _NESTEROV, _L1, _L2 = abi.MOMENTUM, abi.NESTEROV, abi.L1, abi.L2
_RATE, _SCALE, _RATE_GRADIENT, _DECAY = abi.RATE, abi.SCALE, abi.RATE_GRADIENT, abi.DECAY


@inner
def update(
    w: Any, g: Any, m: Any, v: Any, code: Any, constants: Any, c: Any, clip: Any, decayed: Any
) -> None:
    """Move w against g; all (n,), `m` the first moments, `v` the second.

    Parameters
    ----------
    constants, c : (8,) and (4,) float64
        The optimizer's constants and this step's coefficients.
    clip : float
        What g is multiplied by first.
    decayed : bool
        Whether penalties and decay act on w.
    """
    real = w.dtype.type
    zero, one = real(0.0), real(1.0)
    scale = real(clip)
    if decayed and (constants[_L1] != 0 or constants[_L2] != 0):
        l1, l2 = real(constants[_L1]), real(constants[_L2])
        for i in range(len(w)):
            sign = one if w[i] > zero else (-one if w[i] < zero else zero)
            g[i] = scale * g[i] + l2 * w[i] + l1 * sign
        scale = one
    keep = real(1.0 - c[_DECAY]) if decayed else one
    rate = real(c[_RATE])
    epsilon = real(constants[_EPSILON])
    beta1, beta2 = real(constants[_BETA1]), real(constants[_BETA2])
    rest1, rest2 = real(1.0 - constants[_BETA1]), real(1.0 - constants[_BETA2])
    if code == _SGD:
        momentum = real(constants[_MOMENTUM])
        if constants[_NESTEROV] != 0:
            for i in range(len(w)):
                gi = scale * g[i]
                mi = momentum * m[i] + gi
                m[i] = mi
                w[i] = keep * w[i] - rate * (gi + momentum * mi)
        else:
            for i in range(len(w)):
                mi = momentum * m[i] + scale * g[i]
                m[i] = mi
                w[i] = keep * w[i] - rate * mi
    elif code == _RMSPROP:
        for i in range(len(w)):
            gi = scale * g[i]
            vi = beta2 * m[i] + rest2 * gi * gi
            m[i] = vi
            w[i] = keep * w[i] - rate * gi / (math.sqrt(vi) + epsilon)
    elif code == _ADAGRAD:
        for i in range(len(w)):
            gi = scale * g[i]
            vi = m[i] + gi * gi
            m[i] = vi
            w[i] = keep * w[i] - rate * gi / (math.sqrt(vi) + epsilon)
    elif code == _ADAM:
        correction = real(c[_SCALE])
        for i in range(len(w)):
            gi = scale * g[i]
            mi = beta1 * m[i] + rest1 * gi
            vi = beta2 * v[i] + rest2 * gi * gi
            m[i] = mi
            v[i] = vi
            w[i] = keep * w[i] - rate * mi / (math.sqrt(vi) * correction + epsilon)
    elif code == _NADAM:
        correction, rate_gradient = real(c[_SCALE]), real(c[_RATE_GRADIENT])
        for i in range(len(w)):
            gi = scale * g[i]
            mi = beta1 * m[i] + rest1 * gi
            vi = beta2 * v[i] + rest2 * gi * gi
            m[i] = mi
            v[i] = vi
            move = rate * mi + rate_gradient * gi
            w[i] = keep * w[i] - move / (math.sqrt(vi) * correction + epsilon)
    else:  # Lion
        for i in range(len(w)):
            gi = scale * g[i]
            u = beta1 * m[i] + rest1 * gi
            # u itself where it is zero or not a number
            sign = one if u > zero else (-one if u < zero else u)
            m[i] = beta2 * m[i] + rest2 * gi
            w[i] = keep * w[i] - rate * sign
