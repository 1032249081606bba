"""A network as a PyTorch ``nn.Sequential``: its state_dict as a file, its constructor as a text.

This module alone knows how PyTorch spells each layer; `to_torch` evaluates the constructor that it
writes. That text defines a class for each module that PyTorch lacks: standardisation, residual
connections and the exponential. Writing the file needs no PyTorch. The module of a network for
tables takes the array that ``net.preprocessor.transform(table)`` returns and gives outputs in the
unit of the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save

from fastnet.errors import FastNetError
from fastnet.export.columns import scaling_of, table_of
from fastnet.export.steps import Array, scale_after, tensors_of
from fastnet.kernels import abi
from fastnet.network import Network
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Residual

MODULES: Final = {
    "relu": "nn.ReLU()",
    "leaky_relu": f"nn.LeakyReLU({abi.LEAKY_SLOPE!r})",
    "elu": "nn.ELU()",
    "selu": "nn.SELU()",
    "gelu": "nn.GELU()",
    "gelu_tanh": "nn.GELU(approximate='tanh')",
    "silu": "nn.SiLU()",
    "mish": "nn.Mish()",
    "tanh": "nn.Tanh()",
    "sigmoid": "nn.Sigmoid()",
    "softplus": "nn.Softplus()",
    "exp": "Exp()",
    "softmax": "nn.Softmax(dim=1)",
}
"""How PyTorch spells each activation."""

_EXP: Final = """\
class Exp(nn.Module):
    def forward(self, x):
        return torch.exp(x)
"""

_RESIDUAL: Final = """\
class Residual(nn.Sequential):
    adds_its_input = True  # tells it from other classes of that name

    def forward(self, x):
        return x + super().forward(x)
"""

_STANDARDIZE: Final = """\
class Standardize(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(inputs, dtype=torch.float64))

    def forward(self, x):
        # In double: a large mean would cost single precision its digits.
        return ((x.double() - self.mean) / self.scale).to(x.dtype)
"""


def modules_of(network: Network) -> list[tuple[str, dict[str, Array]]]:
    """Return each module of the ``nn.Sequential``: how it is made, and its state by name."""
    named = tensors_of(network)
    modules: list[tuple[str, dict[str, Array]]] = []
    scaling = scaling_of(network)
    if scaling is not None:
        state = dict(zip(("mean", "scale"), scaling, strict=True))
        modules.append((f"Standardize({network.inputs})", state))
    dtype = "" if network.dtype == np.float32 else ", dtype=torch.float64"
    modules += _modules(network.layers, network.inputs, "", named, dtype)
    after = scale_after(network)
    if after is not None:
        scale, center = (values.astype(network.dtype) for values in after)
        text = f"nn.Linear({len(scale)}, {len(scale)}{dtype})"
        modules.append((text, {"weight": np.diag(scale), "bias": center}))
    return modules


def _modules(
    layers: Sequence[Layer], width: int, within: str, named: dict[str, Array], dtype: str
) -> list[tuple[str, dict[str, Array]]]:
    """Return the modules of layers behind `width` units, whose names begin with `within`."""
    modules: list[tuple[str, dict[str, Array]]] = []
    for index, layer in enumerate(layers):
        own = f"{within}layers.{index}."
        if isinstance(layer, Dropout):
            modules.append((f"nn.Dropout({layer.rate!r})", {}))
            continue
        if isinstance(layer, Residual):
            inside = _modules(layer.layers, width, own, named, dtype)
            text = f"Residual({', '.join(text for text, _ in inside)})"
            modules.append((text, _numbered(inside)))
            continue
        state = {name.removeprefix(own): a for name, a in named.items() if name.startswith(own)}
        if isinstance(layer, Dense):
            state["weight"] = np.ascontiguousarray(state["weight"].T)
            text = f"nn.Linear({width}, {layer.units}{dtype})"
            width = layer.units
        elif isinstance(layer, BatchNorm):
            state["num_batches_tracked"] = np.zeros((), np.int64)
            numbers = f"eps={layer.epsilon!r}, momentum={layer.momentum!r}"
            text = f"nn.BatchNorm1d({width}, {numbers}{dtype})"
        else:
            assert isinstance(layer, LayerNorm)
            text = f"nn.LayerNorm({width}, eps={layer.epsilon!r}{dtype})"
        modules.append((text, state))
        if layer.activation != "identity":
            modules.append((MODULES[layer.activation], {}))
    return modules


def _numbered(modules: list[tuple[str, dict[str, Array]]]) -> dict[str, Array]:
    """Return all tensors under the names that a module made of these modules gives them."""
    return {f"{k}.{name}": a for k, (_, state) in enumerate(modules) for name, a in state.items()}


def state_dict(network: Network) -> dict[str, Array]:
    """Return all tensors under the names that ``nn.Sequential.state_dict()`` gives them."""
    return _numbered(modules_of(network))


def constructor(network: Network) -> str:
    """Return Python that makes the ``nn.Sequential`` as ``model``, its weights still random."""
    texts = [text for text, _ in modules_of(network)]
    classes = [_STANDARDIZE] if scaling_of(network) is not None else []
    classes += [_EXP] if any(MODULES["exp"] in text for text in texts) else []
    classes += [_RESIDUAL] if any(text.startswith("Residual") for text in texts) else []
    lines = ["import torch", "from torch import nn", "", *(f"\n{text}\n" for text in classes)]
    return "\n".join([*lines, "model = nn.Sequential(", *(f"    {t}," for t in texts), ")\n"])


def content(network: Network, name: str) -> bytes:
    """Return the bytes of a safetensors file with the state_dict; its metadata has the rest."""
    bytes_: bytes = save(state_dict(network), metadata={"constructor": constructor(network)})
    return bytes_


def usage(network: Network, path: Path) -> str:
    """Return the Python that makes the module from the file."""
    call = f"net.preprocessor.transform(table, '{network.dtype.name}')"
    takes = f"# it takes torch.from_numpy({call})\n"
    return (
        f"{constructor(network)}"
        f"{takes if table_of(network) is not None else ''}"
        "from safetensors.torch import load_file\n"
        f"model.load_state_dict(load_file({str(path)!r}))\n"
        "model.eval()"
    )


def to_torch(network: Network) -> Any:
    """Return `network` as a ``torch.nn.Sequential`` in evaluation mode. Needs PyTorch.

    The module of a network for tables takes the array that ``net.preprocessor.transform(table)``
    returns, and gives outputs in the unit of the targets.

    Raises
    ------
    FastNetError
        PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise FastNetError("to_torch needs PyTorch: pip install 'fastnet-mlp[torch]'.") from None
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(constructor(network), namespace)  # numbers and names of this module's tables only
    model = namespace["model"]
    model.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in state_dict(network).items()}
    )
    return model.eval()
