"""Updates parameters with NumPy: clipping, penalties, decay, the optimizer's step, and rates.

P parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi
from fastnet.nn.batch import Array
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan


class Update:
    """Updates one network's parameters, and owns the scratch memory for it.

    Parameters
    ----------
    plan : Plan
    parameters, gradients : (P,)
        A step changes both.
    """

    def __init__(self, plan: Plan, parameters: Array, gradients: Array) -> None:
        self._parameters, self._gradients = parameters, gradients
        self._weights = slice(0, plan.n_weights)
        self._scratch = np.empty_like(parameters)
        self._rates = plan.rates(parameters.dtype)
        if self._rates is not None:
            self._before = np.empty_like(parameters)
            self._still = self._rates == 0

    def __call__(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        """Take a step; see ``Engine.update``."""
        w, g, s = self._parameters, self._gradients, self._scratch
        # Python's floats take the arrays' type, NumPy's would widen float32 arrays.
        c = coefficients.tolist()
        if optimizer.clip_norm is not None:
            norm = self._gradient_norm()
            if norm > optimizer.clip_norm:
                g *= optimizer.clip_norm / norm
        if self._rates is not None:
            np.copyto(self._before, w)
        weights = self._weights
        if optimizer.l2:
            np.multiply(w[weights], optimizer.l2, out=s[weights])
            g[weights] += s[weights]
        if optimizer.l1:
            np.sign(w[weights], out=s[weights])
            s[weights] *= optimizer.l1
            g[weights] += s[weights]
        if optimizer.weight_decay:
            w[weights] *= 1.0 - c[abi.DECAY]
        optimizer.step(w, g, moments, c, s)
        if self._rates is not None:
            w -= self._before
            w *= self._rates
            w += self._before
            np.copyto(w, self._before, where=self._still)

    def _gradient_norm(self) -> float:
        """Return the norm of the gradient, without parameters whose rate is 0."""
        g = self._gradients
        if self._rates is not None:
            np.copyto(self._scratch, g)
            g = self._scratch
            np.copyto(g, 0, where=self._still)
        # In float64: the square of a large float32 would be infinite.
        return float(np.sqrt(np.einsum("i,i->", g, g, dtype=np.float64)))
