"""PyTorch's ``nn.Sequential`` as a network.

Modules are known by the names of their classes and attributes, so PyTorch is not imported: whoever
has a module has it already.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.network import Network
from fastnet.nn import activations
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Residual
from fastnet.preprocessing.scaler import Scaler
from fastnet.utils.names import ActivationName, Auto, BackendName

Array = np.ndarray[Any, Any]

_ACTIVATIONS: Final[dict[str, tuple[ActivationName, dict[str, Any]]]] = {
    "ReLU": ("relu", {}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": abi.LEAKY_SLOPE}),
    "ELU": ("elu", {"alpha": 1.0}),
    "SELU": ("selu", {}),
    "GELU": ("gelu", {"approximate": "none"}),
    "SiLU": ("silu", {}),
    "Mish": ("mish", {}),
    "Tanh": ("tanh", {}),
    "Sigmoid": ("sigmoid", {}),
    "Softplus": ("softplus", {"beta": 1.0}),
    "Exp": ("exp", {}),
    "Softmax": ("softmax", {}),
}
"""The activation that a module is, and the attributes it must have for that."""

_NOTHING: Final = ("Identity", "Flatten")
"""Modules that do nothing to a row of numbers."""

_COMMUTES: Final = ("relu", "leaky_relu")
"""Activations that may stand before or after a dropout: ``f(c z) = c f(z)`` for c at least 0."""


@dataclass
class _Chain:
    """Layers as they are found, with the tensors of each."""

    inputs: int = 0
    dtype: Any = np.float32
    layers: list[Layer] = field(default_factory=list)
    tensors: list[dict[str, Array]] = field(default_factory=list)
    scaler: Scaler | None = None

    def add(self, layer: Layer, width: int = 0, **tensors: Array) -> None:
        """Append a layer that takes `width` inputs."""
        self.inputs = self.inputs or width
        self.layers.append(layer)
        self.tensors.append(tensors)

    def named(self) -> dict[str, Array]:
        """Return all tensors by name."""
        return {
            f"layers.{k}.{name}": values
            for k, found in enumerate(self.tensors)
            for name, values in found.items()
        }

    def activate(self, name: ActivationName, where: str) -> None:
        """Give the newest layer an activation."""
        index = len(self.layers) - 1
        while name in _COMMUTES and index >= 0 and isinstance(self.layers[index], Dropout):
            index -= 1
        layer = self.layers[index] if index >= 0 else None
        if not isinstance(layer, Dense | BatchNorm | LayerNorm) or layer.activation != "identity":
            raise InputError(
                f"{where} has no counterpart there: in fastnet an activation belongs to the "
                "Linear, BatchNorm1d or LayerNorm right before it."
            )
        self.layers[index] = replace(layer, activation=name)


def from_torch(
    sequential: Any,
    *,
    output_activation: ActivationName | None = None,
    backend: BackendName | Auto = "auto",
) -> Network:
    """Return an ``nn.Sequential`` as a network that predicts the same in evaluation mode.

    It may hold Linear, BatchNorm1d, LayerNorm, Dropout, Identity, Flatten, the activations that
    fastnet has, other Sequentials of these, and what `to_torch` makes. A class of your own has no
    counterpart, not even one that adds its input: only what `to_torch` writes is known to do that.

    Parameters
    ----------
    sequential : torch.nn.Sequential
    output_activation : str, optional
        Activation of the last layer, where the module leaves it to its loss: ``"softmax"`` for a
        module trained with CrossEntropyLoss.
    backend : {"auto", "numpy", "numba", "cupy"}

    Raises
    ------
    InputError
        A module has no counterpart; the message names it.
    """
    chain = _Chain()
    _walk(chain, sequential, "the module")
    if output_activation is not None and chain.layers:
        activations.get(output_activation)
        chain.activate(output_activation, f"output_activation={output_activation!r}")
    if not chain.layers or not chain.inputs:
        raise InputError("the module has no layer with weights: there is nothing to take over.")
    network = Network(
        chain.layers, inputs=chain.inputs, dtype=np.dtype(chain.dtype), backend=backend
    )
    asarray = network.backend_object.asarray
    named = {**network.named_parameters(), **network.named_state()}
    for name, values in chain.named().items():
        view = named[name]
        if values.shape != view.shape:
            layer, part = name.removeprefix("layers.").rsplit(".", 1)
            raise InputError(
                f"the widths of the modules do not fit: {part} of layer {layer} has the shape "
                f"{values.shape}, expected {view.shape}."
            )
        view[...] = asarray(np.ascontiguousarray(values, network.dtype))
    if chain.scaler is not None:
        network.preprocessor = chain.scaler
    return network


def _walk(chain: _Chain, module: Any, where: str) -> None:
    """Add a module, and the modules in it, to the chain."""
    kind = type(module).__name__
    where = f"{where} ({kind})"
    if kind == "Sequential":
        for index, child in enumerate(module):
            _walk(chain, child, f"module {index}")
    elif kind == "Linear":
        w = _array(module.weight).T
        if w.dtype == np.float64:
            chain.dtype = np.float64
        b = np.zeros(w.shape[1]) if module.bias is None else _array(module.bias)
        chain.add(Dense(w.shape[1]), w.shape[0], weight=w, bias=b)
    elif kind == "BatchNorm1d":
        if module.running_mean is None:
            raise InputError(f"{where} keeps no running statistics, which prediction needs.")
        if module.momentum is None:
            raise InputError(f"{where} averages over all batches (momentum=None): give it one.")
        statistics = {
            part: _array(getattr(module, part)) for part in ("running_mean", "running_var")
        }
        layer = BatchNorm(momentum=float(module.momentum), epsilon=float(module.eps))
        width = int(module.num_features)
        chain.add(layer, width, **_affine(module, width), **statistics)
    elif kind == "LayerNorm":
        if len(module.normalized_shape) != 1:
            raise InputError(f"{where} normalises over several axes: expected the units of a row.")
        layer_norm = LayerNorm(epsilon=float(module.eps))
        width = int(module.normalized_shape[0])
        chain.add(layer_norm, width, **_affine(module, width))
    elif kind == "Residual" and getattr(module, "adds_its_input", False):
        inside = _Chain(dtype=chain.dtype)
        for index, child in enumerate(module):
            _walk(inside, child, f"{where}, module {index}")
        chain.dtype = inside.dtype
        chain.add(Residual(inside.layers), inside.inputs, **inside.named())
    elif kind == "Dropout":
        chain.add(Dropout(float(module.p)))
    elif kind == "Standardize" and not chain.layers:
        chain.scaler = Scaler(_array(module.mean), _array(module.scale))
    elif kind == "Softmax" and module.dim not in (None, 1, -1):
        raise InputError(f"{where} has dim={module.dim!r}: fastnet's softmax is over the units.")
    elif kind == "GELU" and module.approximate == "tanh":
        chain.activate("gelu_tanh", where)
    elif kind in _ACTIVATIONS:
        name, needed = _ACTIVATIONS[kind]
        for attribute, value in needed.items():
            if getattr(module, attribute) != value:
                raise InputError(
                    f"{where} has {attribute}={getattr(module, attribute)!r}, and fastnet's "
                    f"{name} is {attribute}={value!r}."
                )
        chain.activate(name, where)
    elif kind not in _NOTHING:
        hint = ": leave it out and give output_activation='softmax'" if "LogSoftmax" in kind else ""
        raise InputError(f"{where} has no counterpart in fastnet{hint}.")


def _affine(module: Any, width: int) -> dict[str, Array]:
    """Return the factor and the shift of a normalisation, 1 and 0 where it has none."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    return {
        "weight": np.ones(width) if weight is None else _array(weight),
        "bias": np.zeros(width) if bias is None else _array(bias),
    }


def _array(tensor: Any) -> Array:
    """Return a tensor on the host; half precisions, which NumPy may not have, as float32."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.element_size() < 4:
            tensor = tensor.float()
        tensor = tensor.numpy()
    return np.asarray(tensor)
