"""A network or an ensemble as a PyTorch module: a state_dict as a file, a constructor as a text.

This module alone knows how PyTorch spells each layer; `to_torch` evaluates the constructor that it
writes. That text defines a class for each module that PyTorch lacks: standardisation, residual
connections, the exponential, and the mean of an ensemble. Writing the file needs no PyTorch. The
module of a network for tables takes the array that ``net.preprocessor.transform(table)`` returns
and gives outputs in the unit of the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save

from fastnet.errors import FastNetError
from fastnet.export.combination import Combination, Member, Predictor, combination_of
from fastnet.export.steps import Array, scale_after, tensors_of
from fastnet.export.torch import mean
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

_COLUMNS: Final = """\
class Columns(nn.Module):
    def __init__(self, begin, end):
        super().__init__()
        self.begin, self.end = begin, end

    def forward(self, x):
        return x[:, self.begin : self.end]
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


def modules_of(member: Member) -> list[tuple[str, dict[str, Array]]]:
    """Return each module of an ``nn.Sequential``: how it is made, and its state by name."""
    network, encoding = member.network, member.encoding
    named = tensors_of(network, in_units=member.in_units)
    modules: list[tuple[str, dict[str, Array]]] = []
    if encoding.table is not None and encoding.suffix:
        modules.append((f"Columns({encoding.at}, {encoding.at + encoding.inputs})", {}))
    if encoding.scaling is not None:
        state = dict(zip(("mean", "scale"), encoding.scaling, strict=True))
        modules.append((f"Standardize({network.inputs})", state))
    dtype = "" if network.dtype == np.float32 else ", dtype=torch.float64"
    modules += _modules(network.layers, network.inputs, "", named, dtype)
    after = scale_after(network) if member.in_units else None
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


def state_dict(predictor: Predictor) -> dict[str, Array]:
    """Return all tensors under the names that ``state_dict()`` of the module gives them."""
    return _state(combination_of(predictor))


def _state(whole: Combination) -> dict[str, Array]:
    states = [_numbered(modules_of(member)) for member in whole.members]
    if whole.mean is None:
        return states[0]
    named = {f"members.{k}.{name}": a for k, own in enumerate(states) for name, a in own.items()}
    return mean.state(whole.mean) | named


def constructor(predictor: Predictor) -> str:
    """Return Python that makes the module as ``model``, its weights still random."""
    return _constructor(combination_of(predictor))


def _constructor(whole: Combination) -> str:
    chains = [[text for text, _ in modules_of(member)] for member in whole.members]
    used = {text.partition("(")[0] for texts in chains for text in texts}
    classes = [text for name, text in _CLASSES.items() if name in used]
    classes += [_EXP] if any(MODULES["exp"] in text for texts in chains for text in texts) else []
    if whole.mean is None:
        made = _sequential(chains[0], "")
    else:
        classes.append(mean.definition(whole.mean))
        listed = "".join(f"    {_sequential(texts, '    ')},\n" for texts in chains)
        made = f"Ensemble([\n{listed}])"
    lines = ["import torch", "from torch import nn", "", *(f"\n{text}\n" for text in classes)]
    return "\n".join([*lines, f"model = {made}\n"])


_CLASSES: Final = {"Columns": _COLUMNS, "Standardize": _STANDARDIZE, "Residual": _RESIDUAL}
"""The classes of modules that PyTorch lacks."""


def _sequential(texts: Sequence[str], indent: str) -> str:
    lines = "".join(f"{indent}    {text},\n" for text in texts)
    return f"nn.Sequential(\n{lines}{indent})"


def content(predictor: Predictor, name: str) -> bytes:
    """Return the bytes of a safetensors file with the state_dict; its metadata has the rest."""
    whole = combination_of(predictor)
    bytes_: bytes = save(_state(whole), metadata={"constructor": _constructor(whole)})
    return bytes_


def usage(predictor: Predictor, path: Path) -> str:
    """Return the Python that makes the module from the file."""
    whole = combination_of(predictor)
    return (
        f"{_constructor(whole)}{_takes(whole)}"
        "from safetensors.torch import load_file\n"
        f"model.load_state_dict(load_file({str(path)!r}))\n"
        "model.eval()"
    )


def _takes(whole: Combination) -> str:
    """Return comments that say what the module of a table takes; "" for that of arrays."""
    if not whole.takes_tables:
        return ""
    if isinstance(whole.predictor, Network):
        preprocessors = ["net.preprocessor"]
    else:
        firsts = (whole.of(encoding)[0][0] for encoding in whole.encodings)
        preprocessors = [f"ensemble[{k}].preprocessor" for k in firsts]
    calls = [f"{one}.transform(table, '{whole.dtype.name}')" for one in preprocessors]
    if len(calls) == 1:
        return f"# it takes torch.from_numpy({calls[0]})\n"
    listed = "".join(f"#     {call},\n" for call in calls)
    return f"# it takes torch.from_numpy(np.hstack([\n{listed}# ]))\n"


def to_torch(predictor: Predictor) -> Any:
    """Return a network as a ``torch.nn.Sequential`` in evaluation mode. Needs PyTorch.

    An ensemble becomes a module that has one of these for each member. The module of a network for
    tables takes the array that ``net.preprocessor.transform(table)`` returns, and gives outputs in
    the unit of the targets; that of an ensemble takes those of its different preprocessors side by
    side.

    Raises
    ------
    FastNetError
        PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise FastNetError("to_torch needs PyTorch: pip install 'fastnet-mlp[torch]'.") from None
    whole = combination_of(predictor)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(_constructor(whole), namespace)  # numbers and names of this module's tables only
    model = namespace["model"]
    model.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in _state(whole).items()}
    )
    return model.eval()
