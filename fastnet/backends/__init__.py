"""Finds backends by name, says which can run here, and chooses one for ``auto``."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final

from fastnet.backends.base import PRECISIONS, Backend
from fastnet.errors import BackendUnavailableError, InputError, suggest
from fastnet.nn.plan import Plan
from fastnet.utils.names import Auto, BackendName
from fastnet.utils.param_validation import check_int

# Modules are imported on first use: importing fastnet loads neither Numba nor CuPy.
_HOMES: Final[dict[BackendName, tuple[str, str]]] = {
    "numpy": ("fastnet.backends.numpy_backend", "NumpyBackend"),
    "numba": ("fastnet.backends.numba_backend", "NumbaBackend"),
    "cupy": ("fastnet.backends.gpu.backend", "CupyBackend"),
}

NAMES: Final = tuple(_HOMES)

AUTO_GPU_PARAMETERS: Final = 1_000_000
"""``auto`` takes a GPU from this many parameters on: below, kernel launches take most of the time.

This is an estimate until the CuPy backend has been timed on a GPU.
"""


def find(name: BackendName) -> Backend:
    """Return the backend of that name, whether or not it can run here."""
    if not isinstance(name, str) or name not in _HOMES:
        raise InputError(f"unknown backend {name!r}{suggest(name, (*NAMES, 'auto'))}")
    return _load(name)


@cache
def _load(name: BackendName) -> Backend:
    module, class_name = _HOMES[name]
    backend: Backend = getattr(importlib.import_module(module), class_name)()
    return backend


def get_backend(name: BackendName, device: int | None = None) -> Backend:
    """Return the backend of that name.

    Parameters
    ----------
    device : int, optional
        The number of a GPU; by default the one that is current now.

    Raises
    ------
    InputError
        No backend has that name, or there is no such GPU.
    BackendUnavailableError
        It cannot run here; the message says why and how to install it.
    """
    backend = find(name)
    reason = backend.why_unavailable()
    if reason is not None:
        hint = "" if backend.install in reason else f" To install it: {backend.install}"
        raise BackendUnavailableError(f"the backend {name!r} cannot run here: {reason}{hint}")
    return backend.on(None if device is None else check_int("device", device, least=0))


def available_backends() -> dict[BackendName, str | None]:
    """Return, for every backend, None when it can run here, else the reason why not.

    Examples
    --------
    >>> import fastnet as fn
    >>> fn.available_backends()["numpy"] is None
    True
    """
    return {name: find(name).why_unavailable() for name in NAMES}


def choose(
    name: BackendName | Auto, plan: Plan, *, precision: str = "float32", device: int | None = None
) -> Backend:
    """Return the backend of that name; for ``"auto"`` the one that suits the network.

    ``"auto"`` takes a GPU when one is usable and the network has `AUTO_GPU_PARAMETERS`, or when the
    caller asks for a `device` or for a `precision` other than float32. Else it takes Numba, for
    bfloat16 too where the processor has it, else NumPy.
    """
    if name == "auto" and device is None and _only_numba_has(precision):
        name = "numba"
    if name == "auto" and (precision != "float32" or device is not None):
        name = "cupy"
    if name != "auto":
        return get_backend(name, device)
    if plan.size >= AUTO_GPU_PARAMETERS and find("cupy").why_unavailable() is None:
        return find("cupy").on(None)
    return find("numba") if find("numba").why_unavailable() is None else find("numpy")


def check_precision(backend: Backend, precision: str, dtype: Any) -> None:
    """Raise `InputError` unless the backend computes with this precision."""
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}{suggest(precision, PRECISIONS)}")
    if precision not in backend.precisions:
        others = [name for name in NAMES if precision in find(name).precisions]
        has_it = "backend has it" if len(others) == 1 else "backends have it"
        raise InputError(
            f"the backend {backend.name!r} has no precision={precision!r}, only "
            f"{' and '.join(map(repr, backend.precisions))}: the {' and '.join(others)} {has_it}."
        )
    if precision != "float32" and dtype != "float32":
        raise InputError(f"precision={precision!r} needs dtype='float32', got {dtype}.")
    reason = backend.why_not(precision)
    if reason is not None:
        raise InputError(reason)


def _only_numba_has(precision: str) -> bool:
    """Return whether Numba computes with a precision below float32 here, and no GPU can."""
    numba = find("numba")
    able = precision in numba.precisions[1:] and numba.why_unavailable() is None
    return able and numba.why_not(precision) is None and find("cupy").why_unavailable() is not None
