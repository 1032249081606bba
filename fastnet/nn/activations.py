"""Activation functions: one table row each, with the formula and its derivative in NumPy.

The NumPy formulas are the definition. ``kernels/cpu/activations.py`` and
``kernels/cuda/activations.cuh`` implement the same formulas, selected by ``code``. All write into
arrays of the caller and allocate nothing. ``z`` is the pre-activation, ``y`` the activation, ``dz``
and ``dy`` are the gradients with respect to them, and ``s``, ``t`` and ``u`` are scratch; all have
the shape (B, O).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError, nearest
from fastnet.kernels import abi
from fastnet.nn import gelu
from fastnet.utils.names import ActivationName, InitializerName

Array = NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Attributes
    ----------
    name, formula : str
    code : int
        Its number in the kernels.
    forward : callable
        ``forward(y, z, s, t)`` writes y; `y` may be `z` unless `keeps_z`.
    backward : callable
        ``backward(dz, dy, y, z, s, t, u)`` writes ``dz = dy * f'(z)``; `dz` may be `dy`.
    keeps_z : bool
        Whether the derivative needs z; otherwise it needs y alone, and y may overwrite z.
    initializer : str
        The default initialiser of a dense layer with this activation.
    output_only : bool
        Whether only the last layer may use it.
    stored : str
        Its name in model files, checkpoints and pickles, where that is another one. It stays for
        ever: `to_stored` and `from_stored` are between it and the name that users write.
    """

    name: ActivationName
    code: int
    formula: str
    forward: Callable[[Array, Array, Array, Array], None]
    backward: Callable[[Array, Array, Array, Array, Array, Array, Array], None]
    keeps_z: bool = False
    initializer: InitializerName = "glorot_uniform"
    output_only: bool = False
    stored: str = ""


def _identity(y: Array, z: Array, s: Array, t: Array) -> None:
    if y is not z:
        np.copyto(y, z)


def _identity_backward(
    dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array
) -> None:
    if dz is not dy:
        np.copyto(dz, dy)


def _relu(y: Array, z: Array, s: Array, t: Array) -> None:
    np.maximum(z, 0, out=y)


def _relu_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    np.greater(y, 0, out=t)
    np.multiply(dy, t, out=dz)


def _leaky_relu(y: Array, z: Array, s: Array, t: Array) -> None:
    np.multiply(z, abi.LEAKY_SLOPE, out=t)
    np.maximum(z, t, out=y)


def _leaky_relu_backward(
    dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array
) -> None:
    np.greater(y, 0, out=t)
    t *= 1.0 - abi.LEAKY_SLOPE
    t += abi.LEAKY_SLOPE
    np.multiply(dy, t, out=dz)


def _elu(y: Array, z: Array, s: Array, t: Array) -> None:
    np.minimum(z, 0, out=t)
    np.expm1(t, out=t)
    np.maximum(z, 0, out=y)
    y += t


def _elu_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    np.minimum(y, 0, out=t)
    t += 1
    np.multiply(dy, t, out=dz)


def _selu(y: Array, z: Array, s: Array, t: Array) -> None:
    np.minimum(z, 0, out=t)
    np.expm1(t, out=t)
    t *= abi.SELU_LAMBDA * abi.SELU_ALPHA
    np.maximum(z, 0, out=y)
    y *= abi.SELU_LAMBDA
    y += t


def _selu_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    # lambda where y > 0, y + lambda * alpha elsewhere.
    np.greater(y, 0, out=s)
    s *= abi.SELU_LAMBDA * (1.0 - abi.SELU_ALPHA)
    np.minimum(y, 0, out=t)
    t += abi.SELU_LAMBDA * abi.SELU_ALPHA
    t += s
    np.multiply(dy, t, out=dz)


def _sigmoid(y: Array, z: Array, s: Array, t: Array) -> None:
    # exp(min(z, 0)) / (1 + exp(-|z|)): neither exponential can overflow.
    np.abs(z, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    t += 1
    np.minimum(z, 0, out=y)
    np.exp(y, out=y)
    y /= t


def _sigmoid_backward(
    dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array
) -> None:
    np.subtract(1, y, out=t)
    t *= y
    np.multiply(dy, t, out=dz)


def _silu(y: Array, z: Array, s: Array, t: Array) -> None:
    _sigmoid(y, z, s, t)
    y *= z


def _silu_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    # sigma (1 + z (1 - sigma))
    _sigmoid(s, z, s, t)
    np.subtract(1, s, out=t)
    t *= z
    t += 1
    t *= s
    np.multiply(dy, t, out=dz)


def _softplus(y: Array, z: Array, s: Array, t: Array) -> None:
    # max(z, 0) + log(1 + exp(-|z|))
    np.abs(z, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    np.log1p(t, out=t)
    np.maximum(z, 0, out=y)
    y += t


def _softplus_backward(
    dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array
) -> None:
    # sigma(z) = 1 - exp(-y)
    np.negative(y, out=t)
    np.expm1(t, out=t)
    np.negative(t, out=t)
    np.multiply(dy, t, out=dz)


def _mish(y: Array, z: Array, s: Array, t: Array) -> None:
    _softplus(y, z, s, t)
    np.tanh(y, out=y)
    y *= z


def _mish_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    # h + z sigma (1 - h^2), with h = tanh(p), p = softplus(z) and sigma = 1 - exp(-p)
    _softplus(s, z, s, t)
    np.negative(s, out=t)
    np.expm1(t, out=t)
    t *= z
    np.tanh(s, out=s)
    np.multiply(s, s, out=u)
    u -= 1
    t *= u
    t += s
    np.multiply(dy, t, out=dz)


def _tanh(y: Array, z: Array, s: Array, t: Array) -> None:
    np.tanh(z, out=y)


def _tanh_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    np.multiply(y, y, out=t)
    np.subtract(1, t, out=t)
    np.multiply(dy, t, out=dz)


def _exp(y: Array, z: Array, s: Array, t: Array) -> None:
    np.exp(z, out=y)


def _exp_backward(dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array) -> None:
    np.multiply(dy, y, out=dz)


def _softmax(y: Array, z: Array, s: Array, t: Array) -> None:
    # Subtracting the row's maximum first makes the largest exponent 0.
    column = t[:, :1]
    np.max(z, axis=1, keepdims=True, out=column)
    np.subtract(z, column, out=y)
    np.exp(y, out=y)
    np.sum(y, axis=1, keepdims=True, out=column)
    y /= column


def _softmax_backward(
    dz: Array, dy: Array, y: Array, z: Array, s: Array, t: Array, u: Array
) -> None:
    # y (dy - sum(dy * y))
    column = s[:, :1]
    np.multiply(dy, y, out=t)
    np.sum(t, axis=1, keepdims=True, out=column)
    np.subtract(dy, column, out=dz)
    dz *= y


_ROWS: Final = (
    Activation("identity", abi.IDENTITY, "z", _identity, _identity_backward),
    Activation("relu", abi.RELU, "max(z, 0)", _relu, _relu_backward, initializer="he_uniform"),
    Activation(
        "leaky_relu",
        abi.LEAKY_RELU,
        "max(z, 0.01 z)",
        _leaky_relu,
        _leaky_relu_backward,
        initializer="he_uniform",
    ),
    Activation(
        "elu",
        abi.ELU,
        "z if z > 0 else exp(z) - 1",
        _elu,
        _elu_backward,
        initializer="he_uniform",
    ),
    Activation(
        "selu",
        abi.SELU,
        "1.0507 (z if z > 0 else 1.6733 (exp(z) - 1))",
        _selu,
        _selu_backward,
        initializer="lecun_normal",
    ),
    Activation(
        "gelu",
        abi.GELU,
        "z/2 (1 + erf(z / sqrt(2)))",
        gelu.gelu,
        gelu.gelu_backward,
        keeps_z=True,
        initializer="he_uniform",
        stored="gelu_erf",
    ),
    Activation(
        "gelu_tanh",
        abi.GELU_TANH,
        "z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))",
        gelu.gelu_tanh,
        gelu.gelu_tanh_backward,
        keeps_z=True,
        initializer="he_uniform",
        stored="gelu",  # its name in version 0.1, which had no other form
    ),
    Activation(
        "silu",
        abi.SILU,
        "z / (1 + exp(-z))",
        _silu,
        _silu_backward,
        keeps_z=True,
        initializer="he_uniform",
    ),
    Activation(
        "mish",
        abi.MISH,
        "z tanh(log(1 + exp(z)))",
        _mish,
        _mish_backward,
        keeps_z=True,
        initializer="he_uniform",
    ),
    Activation("tanh", abi.TANH, "tanh(z)", _tanh, _tanh_backward),
    Activation("sigmoid", abi.SIGMOID, "1 / (1 + exp(-z))", _sigmoid, _sigmoid_backward),
    Activation("softplus", abi.SOFTPLUS, "log(1 + exp(z))", _softplus, _softplus_backward),
    Activation("exp", abi.EXP, "exp(z)", _exp, _exp_backward),
    Activation(
        "softmax",
        abi.SOFTMAX,
        "exp(z) / sum(exp(z))",
        _softmax,
        _softmax_backward,
        output_only=True,
    ),
)

ACTIVATIONS: Final[dict[str, Activation]] = {row.name: row for row in _ROWS}
BY_CODE: Final[dict[int, Activation]] = {row.code: row for row in _ROWS}


_STORED: Final[dict[str, str]] = {row.name: row.stored for row in _ROWS if row.stored}
_NAMED: Final = {stored: name for name, stored in _STORED.items()}


def to_stored(name: Any) -> Any:
    """Return the name under which files and pickles have an activation."""
    return _STORED.get(name, name) if isinstance(name, str) else name


def from_stored(name: Any) -> Any:
    """Return the name of the activation that files and pickles have under `name`."""
    return _NAMED.get(name, name) if isinstance(name, str) else name


_ELSEWHERE: Final = {
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "expit": "sigmoid",
    "swish": "silu",
    "exponential": "exp",
    "rectify": "relu",
}
"""Names of other libraries, in small letters."""


def get(name: str) -> Activation:
    """Return the row of that name; raise `InputError` with the nearest name if it is unknown."""
    try:
        return ACTIVATIONS[name]
    except (KeyError, TypeError):
        raise InputError(_unknown(name)) from None


def _unknown(given: Any) -> str:
    """Return what to say of an activation that there is not: a name, a function, or neither."""
    is_function = callable(given)
    if not is_function and not isinstance(given, str | None):
        each = "layers with one each are written as fn.Dense(64, 'relu')"
        return f"an activation must be a name, got {given!r}: {each}."
    called = getattr(given, "__name__", type(given).__name__) if is_function else str(given)
    ours = _ELSEWHERE.get(called.casefold())
    hint = f"; did you mean {ours!r}?" if ours else nearest(called, ACTIVATIONS)
    known = f"Known: {', '.join(ACTIVATIONS)}."
    if not is_function:
        return f"unknown activation {given!r}{hint} {known}"
    return (
        f"an activation must be a name, not the function {called}, since the compiled loops and "
        f"the exports compute the known ones alone{hint} A function of your own can follow outputs "
        f"without an activation, in a loop of your own with net.forward and net.backward. {known}"
    )
