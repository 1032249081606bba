"""Arrays on a GPU as users give them: CuPy's, and whatever shares its memory as CuPy does.

PyTorch's tensors, JAX's arrays and others describe their memory by ``__cuda_array_interface__`` or
DLPack. Nothing here imports CuPy unless there is such an array.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

from fastnet.errors import InputError

_CUDA: Final = (2, 13)
"""The numbers of devices in DLPack: CUDA's memory, and memory that CUDA manages."""


def is_on_gpu(values: Any) -> bool:
    """Return whether values are an array in the memory of an NVIDIA GPU."""
    if isinstance(values, np.ndarray | np.generic | list | tuple | float | int | type):
        return False
    if hasattr(values, "__cuda_array_interface__"):
        return True
    place = getattr(values, "__dlpack_device__", None)
    return place is not None and int(place()[0]) in _CUDA


def on_host(name: str, values: Any) -> Any:
    """Return an array on a GPU as one of NumPy, and other values as they are; see `shared`.

    Raises
    ------
    InputError
        As `shared`, and for a list of such arrays.
    """
    if is_on_gpu(values):
        return shared(name, values).get()
    refuse_list(name, values)
    return values


def refuse_list(name: str, values: Any) -> None:
    """Raise `InputError` for a list of arrays on a GPU, or a list of such lists.

    NumPy would ask each of them for a copy, which CuPy refuses.
    """
    first = values
    while isinstance(first, list | tuple) and len(first):
        first = first[0]
    if first is not values and is_on_gpu(first):
        raise InputError(
            f"{name} is a list of arrays on a GPU: give one array, as cupy.stack makes it of them."
        )


def shared(name: str, values: Any) -> Any:
    """Return CuPy's array of the memory that an array on a GPU has; nothing is copied.

    Raises
    ------
    InputError
        CuPy, which takes it from there, is not installed.
    """
    package = cupy()
    if package is None:
        raise InputError(
            f"{name} is on a GPU, from where CuPy would take it, which is not installed: give an "
            f"array on the host, such as {name}.cpu()."
        )
    if isinstance(values, package.ndarray):
        return values
    try:
        if hasattr(values, "__dlpack__"):  # which also waits for the stream that wrote it
            return package.from_dlpack(values)
        return package.asarray(values)
    except Exception as error:  # PyTorch's of a tensor with gradients, and others' of others
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{name} cannot be taken from the GPU: {reason}") from None


def cupy() -> Any:
    """Return the package CuPy, or None."""
    try:
        return import_module("cupy")
    except ImportError:
        return None
