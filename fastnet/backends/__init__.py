"""The backends by name: which exist, which can run here, and which one ``auto`` takes."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Final

from fastnet.backends.base import Backend
from fastnet.errors import BackendUnavailableError, InputError, suggest
from fastnet.plan import Plan

# Modules are imported on first use: importing fastnet loads neither Numba nor CuPy.
_HOMES: Final = {
    "numpy": ("fastnet.backends.numpy_backend", "NumpyBackend"),
    "numba": ("fastnet.backends.numba_backend", "NumbaBackend"),
    "cupy": ("fastnet.backends.cupy_backend", "CupyBackend"),
}

NAMES: Final = tuple(_HOMES)

AUTO_GPU_PARAMETERS: Final = 1_000_000
"""``auto`` takes a GPU from this many parameters on: smaller networks are bound by launches.

An estimate until the CuPy backend has been timed on a GPU.
"""


def find(name: str) -> Backend:
    """Return the backend of that name, whether or not it can run here."""
    if not isinstance(name, str) or name not in _HOMES:
        raise InputError(f"unknown backend {name!r}{suggest(name, (*NAMES, 'auto'))}")
    return _load(name)


@cache
def _load(name: str) -> Backend:
    module, class_name = _HOMES[name]
    backend: Backend = getattr(importlib.import_module(module), class_name)()
    return backend


def get_backend(name: str) -> Backend:
    """Return the backend of that name.

    Raises
    ------
    InputError
        No backend has that name.
    BackendUnavailableError
        It cannot run here; the message says why and how to install it.
    """
    backend = find(name)
    reason = backend.why_unavailable()
    if reason is not None:
        hint = "" if backend.install in reason else f" To install it: {backend.install}"
        raise BackendUnavailableError(f"the backend {name!r} cannot run here: {reason}{hint}")
    return backend


def available_backends() -> dict[str, str | None]:
    """Return, for every backend, None when it can run here, else the reason why not.

    Examples
    --------
    >>> import fastnet as fn
    >>> fn.available_backends()["numpy"] is None
    True
    """
    return {name: find(name).why_unavailable() for name in NAMES}


def choose(name: str, plan: Plan) -> Backend:
    """Return the backend of that name; for ``"auto"`` the one that suits the network.

    A GPU when one is usable and the network has `AUTO_GPU_PARAMETERS`, else Numba, else NumPy.
    """
    if name != "auto":
        return get_backend(name)
    if plan.size >= AUTO_GPU_PARAMETERS and find("cupy").why_unavailable() is None:
        return find("cupy")
    return find("numba") if find("numba").why_unavailable() is None else find("numpy")
