"""Tests on each backend that users can name and that can run here, and what a network holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.utils import device_arrays
from tests.cuda import strict_backend

Array = NDArray[Any]

BACKENDS = [name for name, reason in fn.available_backends().items() if reason is None]
each_backend = pytest.mark.parametrize("backend", BACKENDS)

INSTALLED = [name for name in BACKENDS if name != "cupy" or not strict_backend.stands_in()]
"""Those that are no stand-in, and so are there in a process that a test starts."""

AFTER_FORK = [name for name in INSTALLED if name != "cupy"]
"""Those of a process forked from one that has used them: CUDA's end there."""

each_backend_in_children = pytest.mark.parametrize("backend", INSTALLED)
each_backend_after_fork = pytest.mark.parametrize("backend", AFTER_FORK)


def on_host(net: fn.Network, values: Any = None) -> Array:
    """Return a copy of an array of the network's backend, by default of its parameters."""
    return np.array(device_arrays.on_host("it", net.parameters if values is None else values))


def everything(net: fn.Network) -> list[Array]:
    """Return parameters, running statistics and moments, where there are any."""
    arrays = [net.parameters, net.state]
    if net.optimizer_state is not None:
        arrays.append(net.optimizer_state.moments)
    return [on_host(net, values) for values in arrays]


def same(a: list[Array], b: list[Array]) -> bool:
    return len(a) == len(b) and all(map(np.array_equal, a, b))
