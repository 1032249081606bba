"""The fixed texts of an exported Python file."""

from __future__ import annotations

from typing import Final

from fastnet.export.steps import Add, Affine, Normalize, Scale, Step
from fastnet.kernels import abi

_SIGMOID: Final = """\
def sigmoid(z):
    # Neither exponential can overflow.
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
"""

_SOFTPLUS: Final = """\
def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
"""

_MILLS: Final = "\n    ".join(f"{number!r}," for number in abi.MILLS64)

ACTIVATIONS: Final[dict[str, tuple[str, ...]]] = {
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
MILLS = (  # coefficients of a polynomial
    {_MILLS}
)


def gelu(z):
    # z Phi(z) = max(z, 0) - t phi(t) m(t) with t = |z|, the normal density phi and the Mills ratio
    # m. In phi, t^2 is the sum of h^2, which is exact, and a small number.
    t = np.minimum(np.abs(z), {abi.NORMAL_FLAT!r})
    q, m = (t - {abi.MILLS_SHIFT!r}) / (t + {abi.MILLS_SHIFT!r}), 0 * t
    for coefficient in reversed(MILLS):
        m = m * q + coefficient
    h = np.rint(16 * t) / 16
    phi = {abi.NORMAL_SCALE!r} * np.exp(-h * h / 2) * np.exp((h - t) * (h + t) / 2)
    return np.maximum(z, 0) - t * phi * m / (t + {abi.MILLS_SHIFT!r})
""",
    ),
    "gelu_tanh": (
        f"""\
def gelu_tanh(z):
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

STEPS: Final[dict[type[Step], str]] = {
    Add: """\
def add(x, other):
    return x + other
""",
    Affine: """\
def dense(x, name):
    return x @ TENSORS["w" + name] + TENSORS["b" + name]
""",
    Scale: """\
def scale(x, name):
    return x * TENSORS["w" + name] + TENSORS["b" + name]
""",
    Normalize: """\
def normalize(x, name, epsilon):
    centred = x - x.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)
    return centred * scale * TENSORS["w" + name] + TENSORS["b" + name]
""",
}
"""The source that each kind of step needs."""

PREDICT: Final = """\
@np.errstate(all="ignore")  # a number that overflows is infinite, as in fastnet
def predict(x):
    \"\"\"Return the outputs {shape} for finite numbers x (N, {inputs}).\"\"\"
    {lines}
    return {result}
"""
"""For `str.format`."""

CHECKS: Final = '''\
def _numeric(x):
    """Return x as an array of numbers (N, INPUTS)."""
    if np.ma.is_masked(x):
        raise ValueError("x has masked values.")
    array = np.asarray(x)
    if array.dtype == object and all(map(_may_be_number, array.flat)):
        try:
            array = array.astype(float)
        except (TypeError, ValueError, OverflowError):
            pass
    if array.dtype.kind not in "biuf":
        raise ValueError(f"x must hold numbers, got {array.dtype}.")
    if array.ndim != 2 or array.shape[1] != INPUTS:
        raise ValueError(f"x must have the shape (N, {INPUTS}), got {array.shape}.")
    return array


def _may_be_number(cell):
    plain = isinstance(cell, str) and cell.isascii() and "_" not in cell
    return plain or not isinstance(cell, (str, bytes))


def _finite(x, dtype):
    """Return x in a dtype, in which all of it must be finite."""
    x = x.astype(dtype)
    if not np.isfinite(x).all():
        raise ValueError(f"x holds numbers that are not finite in {x.dtype}.")
    return x
'''
"""The source that refuses what the network refuses."""

LABELS: Final = '''\
def predict_labels(x):
    """Return the name of the likeliest class of each row, a list of N texts."""
    y = predict(x)
    y = y.reshape(len(y), -1)
    best = (y[:, 0] > 0.5).astype(int) if y.shape[1] == 1 else y.argmax(axis=1)
    return [LABELS[k] for k in best]
'''


def deviations(shape: str = "N, T", part: str = "") -> str:
    """Return the function that predicts means and deviations; `part` takes one column of them."""
    return f'''\
def predict_std(x):
    """Return the means ({shape}) and the standard deviations ({shape}) of the targets."""
    mean, log_variance = np.hsplit(predict(x), 2)
    std = np.exp(0.5 * np.maximum(log_variance, TENSORS["floors"]))
    return mean{part}, std{part}
'''


ARRAY: Final = """\
def _array(text):
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
"""
