"""A network as one Python file that needs NumPy and nothing else.

The file has a line for each layer, the formulas of the activations it uses, and the weights as
base64 of NPY bytes. Texts from the network (labels, column names) enter it as ASCII literals only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet._version import version
from fastnet.kernels import abi
from fastnet.layers import BatchNorm, Dense, Dropout, LayerNorm

if TYPE_CHECKING:
    from fastnet.network import Network

_SIGMOID: Final = """\
def sigmoid(z):
    # Neither exponential can overflow.
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
"""

_SOFTPLUS: Final = """\
def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
"""

_ACTIVATIONS: Final[dict[str, tuple[str, ...]]] = {
    "identity": (),
    "relu": ("def relu(z):\n    return np.maximum(z, 0)\n",),
    "leaky_relu": (f"def leaky_relu(z):\n    return np.maximum(z, {abi.LEAKY_SLOPE!r} * z)\n",),
    "elu": ("def elu(z):\n    return np.maximum(z, 0) + np.expm1(np.minimum(z, 0))\n",),
    "selu": (
        f"""\
def selu(z):
    negative = {abi.SELU_LAMBDA * abi.SELU_ALPHA!r} * np.expm1(np.minimum(z, 0))
    return {abi.SELU_LAMBDA!r} * np.maximum(z, 0) + negative
""",
    ),
    "gelu": (
        f"""\
def gelu(z):
    h = np.tanh({abi.GELU_SCALE!r} * (z * (1 + {abi.GELU_CUBIC!r} * (z * z))))
    return 0.5 * (z * (1 + h))
""",
    ),
    "silu": (_SIGMOID, "def silu(z):\n    return z * sigmoid(z)\n"),
    "mish": (_SOFTPLUS, "def mish(z):\n    return z * np.tanh(softplus(z))\n"),
    "tanh": ("def tanh(z):\n    return np.tanh(z)\n",),
    "sigmoid": (_SIGMOID,),
    "softplus": (_SOFTPLUS,),
    "exp": ("def exp(z):\n    return np.exp(z)\n",),
    "softmax": (
        """\
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
""",
    ),
}
"""The source that each activation needs, in the order of definition."""

_BATCH_NORM: Final = """\
def batch_norm(x, name, epsilon):
    scale = 1 / np.sqrt(TENSORS[name + ".running_var"] + epsilon)
    xhat = (x - TENSORS[name + ".running_mean"]) * scale
    return xhat * TENSORS[name + ".weight"] + TENSORS[name + ".bias"]
"""

_LAYER_NORM: Final = """\
def layer_norm(x, name, epsilon):
    centred = x - x.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)
    return centred * scale * TENSORS[name + ".weight"] + TENSORS[name + ".bias"]
"""

_DENSE: Final = """\
def dense(x, name):
    return x @ TENSORS[name + ".weight"] + TENSORS[name + ".bias"]
"""

_PREDICT_LABELS: Final = '''

def predict_labels(x):
    """Return the name of the likeliest class of each row, a list of N texts."""
    y = predict(x)
    best = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(int)
    return [LABELS[k] for k in best]
'''

_LINE: Final = 96


def numpy_source(network: Network) -> bytes:
    """Return the source of a module with ``predict(x)`` for this network, in ASCII."""
    to_host = network.backend_object.to_host
    named = {**network.named_parameters(), **network.named_state()}
    tensors = {name: np.ascontiguousarray(to_host(values)) for name, values in named.items()}
    if network.scaler is not None:
        tensors |= {"scaler.mean": network.scaler.mean, "scaler.scale": network.scaler.scale}
    functions, steps = _body(network)
    labels = network.label_names
    schema = network.schema
    names = schema.feature_names if schema is not None and schema.named else None
    parts = [
        f'"""A neural network, exported by fastnet {version}: needs NumPy and nothing else.',
        "",
        *(f"    {index}  {layer!r}" for index, layer in enumerate(network.layers)),
        "",
        f"predict(x) takes (N, {network.inputs}) numbers and returns (N, {network.outputs}).",
        '"""',
        "",
        "import base64",
        "import io",
        "",
        "import numpy as np",
        "",
        f"DTYPE = np.{network.dtype.name}",
        f"INPUTS = {network.inputs}",
        _names("FEATURES", names, "names of the inputs, in order"),
        _names("LABELS", labels, "names of the classes, in the order of the outputs"),
        "",
        *(f"\n{source}" for source in functions),
        "",
        '@np.errstate(all="ignore")  # what overflows is infinite, as in fastnet',
        "def predict(x):",
        f'    """Return the outputs (N, {network.outputs}) for x (N, {network.inputs})."""',
        "    x = np.asarray(x, DTYPE)",
        "    if x.ndim != 2 or x.shape[1] != INPUTS:",
        '        raise ValueError(f"x must have the shape (N, {INPUTS}), got {x.shape}.")',
        *(f"    {step}" for step in steps),
        "    return x",
        _PREDICT_LABELS if labels is not None else "",
        "",
        "def _array(text):",
        "    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)",
        "",
        "",
        _tensors(tensors),
    ]
    return "\n".join(parts).encode("ascii")


def _body(network: Network) -> tuple[list[str], list[str]]:
    """Return the functions that the network needs, and the lines of ``predict``."""
    functions: dict[str, None] = {}
    steps: list[str] = []
    if network.scaler is not None:
        steps.append('x = ((x - TENSORS["scaler.mean"]) / TENSORS["scaler.scale"]).astype(DTYPE)')
    for index, layer in enumerate(network.layers):
        name = f'"layers.{index}"'
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, Dense):
            functions[_DENSE] = None
            value, activation = f"dense(x, {name})", layer.activation
        elif isinstance(layer, BatchNorm):
            functions[_BATCH_NORM] = None
            value, activation = f"batch_norm(x, {name}, {layer.epsilon!r})", layer.activation
        else:
            assert isinstance(layer, LayerNorm)
            functions[_LAYER_NORM] = None
            value, activation = f"layer_norm(x, {name}, {layer.epsilon!r})", layer.activation
        functions |= dict.fromkeys(_ACTIVATIONS[activation])
        steps.append(f"x = {value}" if activation == "identity" else f"x = {activation}({value})")
    return list(functions), steps


def _names(variable: str, names: Sequence[str] | None, comment: str) -> str:
    """Return the definition of a tuple of texts, or of None."""
    if names is None:
        return f"{variable} = None  # {comment}"
    lines = "".join(f"    {name!a},\n" for name in names)
    return f"{variable} = (  # {comment}\n{lines})"


def _tensors(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the definition of all arrays by name."""
    entries = []
    for name, values in tensors.items():
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        lines = "\n".join(text[i : i + _LINE] for i in range(0, len(text), _LINE))
        entries.append(f'    "{name}": _array("""\n{lines}\n"""),')
    return "\n".join(["TENSORS = {", *entries, "}", ""])
