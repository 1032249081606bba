"""GELU (Hendrycks and Gimpel, 2016) and its derivative: z Phi(z), and its approximation by tanh.

Phi is the distribution function of the normal distribution, phi its density, and m the Mills ratio
``(1 - Phi) / phi``. Arguments are those of the functions in `fastnet.nn.activations`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi

Array = NDArray[Any]


def _distance(t: Array, z: Array) -> None:
    """Write ``|z|`` to `t`, no farther out than where the normal density is 0."""
    np.abs(z, out=t)
    np.minimum(t, abi.NORMAL_FLAT, out=t)


def _mills(m: Array, t: Array, s: Array) -> None:
    """Write the Mills ratio ``(1 - Phi(t)) / phi(t)`` for t >= 0 to `m`: see ``kernels/abi.py``."""
    coefficients = abi.MILLS32 if t.dtype == np.float32 else abi.MILLS64
    np.add(t, abi.MILLS_SHIFT, out=m)
    np.subtract(t, abi.MILLS_SHIFT, out=s)
    s /= m
    m[...] = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        m *= s
        m += coefficient
    np.add(t, abi.MILLS_SHIFT, out=s)
    m /= s


def _times_density(m: Array, t: Array, s: Array) -> None:
    """Multiply `m` by ``phi(t) = exp(-t^2 / 2) / sqrt(2 pi)``; `t` and `s` are overwritten.

    The exponential would multiply the rounding of t^2 by t^2 / 2. So t is split into h, a multiple
    of 1/16, and the rest: h^2 is exact, and t^2 - h^2 = (t - h) (t + h) is small.
    """
    _sixteenths(s, t)
    s *= s
    s *= -0.5
    np.exp(s, out=s)
    m *= s
    _sixteenths(s, t)
    t -= s
    s *= 2
    s += t
    s *= t
    s *= -0.5
    np.exp(s, out=s)
    m *= s
    m *= abi.NORMAL_SCALE


def _sixteenths(h: Array, t: Array) -> None:
    """Write t rounded to a multiple of 1/16 to `h`."""
    np.multiply(t, 16, out=h)
    np.rint(h, out=h)
    h /= 16


def gelu(y: Array, z: Array, s: Array, t: Array) -> None:
    """Write ``z Phi(z)``.

    As ``max(z, 0) - |z| Phi(-|z|)``: the last part keeps its digits however small it is.
    """
    _distance(t, z)
    _mills(y, t, s)
    y *= t
    _times_density(y, t, s)
    np.maximum(z, 0, out=s)
    np.subtract(s, y, out=y)


def gelu_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    """Write ``dy (Phi(z) + z phi(z))``.

    The sum is ``phi(t) (m(t) - t)`` for z = -t, and 1 minus that for z = t.
    """
    _distance(t, z)
    _mills(u, t, s)
    u -= t
    _times_density(u, t, s)
    np.greater(z, 0, out=s)
    np.multiply(s, -2, out=t)
    t += 1
    u *= t
    u += s
    np.multiply(dy, u, out=dz)


def _tanh_of_cubic(t: Array, z: Array) -> None:
    """Write ``tanh(c (z + a z^3))``, the inner part of GELU in its tanh form, to `t`."""
    np.multiply(z, z, out=t)
    t *= abi.GELU_CUBIC
    t += 1
    t *= z
    t *= abi.GELU_SCALE
    np.tanh(t, out=t)


def gelu_tanh(y: Array, z: Array, s: Array, t: Array) -> None:
    """Write ``z (1 + h) / 2`` with h the tanh."""
    _tanh_of_cubic(t, z)
    t += 1
    np.multiply(z, t, out=y)
    y *= 0.5


def gelu_tanh_backward(
    dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array
) -> None:
    """Write ``dy (1 + h)/2 (1 + z (1 - h) c (1 + 3 a z^2))``, which subtracts no large terms.

    Beyond 12 the derivative is 0 or 1 to the last bit; z is clipped, or its powers overflow.
    """
    np.clip(z, -abi.GELU_FLAT, abi.GELU_FLAT, out=u)
    _tanh_of_cubic(t, u)
    np.multiply(u, u, out=s)
    s *= 3.0 * abi.GELU_CUBIC
    s += 1
    s *= abi.GELU_SCALE
    s *= u
    np.multiply(dy, 0.5, out=dz)
    t += 1
    dz *= t
    np.subtract(2, t, out=t)
    s *= t
    s += 1
    dz *= s
