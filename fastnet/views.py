"""`Views`: the weights or biases of a network as a list, of which a layer's can be assigned."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.backends.base import Backend
from fastnet.errors import InputError
from fastnet.nn.batch import Array
from fastnet.preprocessing import validation
from fastnet.utils.param_validation import refuse_masked


class Views(list[Array]):
    """Views into the parameters of a network; assignment to one of them changes the network."""

    def __init__(self, views: list[Array], backend: Backend) -> None:
        super().__init__(views)
        self._backend = backend

    def __setitem__(self, index: Any, values: Any) -> None:
        """Copy `values`, which have the shape of that view, to the network."""
        view: Any = self[index]
        if isinstance(view, list):
            raise InputError("assign to one layer at a time, as in net.weights[0] = values.")
        if values is view:  # after ``net.weights[0] *= 2``
            return
        refuse_masked("the array", values)
        host = self._backend.to_host(values) if isinstance(values, type(view)) else values
        array = validation.finite("the values", np.asarray(host, view.dtype))
        if array.shape != view.shape:
            raise InputError(f"expected values of shape {view.shape}, got {array.shape}.")
        view[...] = self._backend.asarray(array)
