"""The module of an ensemble in what `to_torch` writes, run on NumPy by stand-ins for PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Tensor(np.ndarray[Any, Any]):
    """An array that changes its type as a tensor does."""

    def to(self, dtype: Any) -> Any:
        return self.astype(dtype)


class Module:
    """A stand-in for ``nn.Module``: buffers are attributes."""

    def register_buffer(self, name: str, values: Any) -> None:
        setattr(self, name, values)

    def __call__(self, *given: Any) -> Any:
        return self.forward(*given)  # type: ignore[attr-defined]


def _softmax(z: Array, axis: int) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "stack": np.stack,
    "zeros": np.zeros,
    "cat": np.concatenate,
    "clip": np.maximum,
    "exp": np.exp,
    "log": np.log,
    "maximum": np.maximum,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softmax": _softmax,
    "tensordot": np.tensordot,
}


def _of_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **named: np.asarray(function(*given, **named)).view(Tensor)


TORCH = SimpleNamespace(
    float64=np.float64, **{name: _of_tensors(one) for name, one in FUNCTIONS.items()}
)


def ensemble(
    constructor: str, state: Mapping[str, Array], members: Sequence[Callable[[Any], Array]]
) -> Callable[[Any], Array]:
    """Return the module of that constructor, with the buffers of a state and other members.

    Fails unless the state has all of its buffers, in their shapes.
    """
    nn = SimpleNamespace(Module=Module, Sequential=Module, ModuleList=list)
    begin = constructor.index("class Ensemble(")
    namespace: dict[str, Any] = {"torch": TORCH, "nn": nn}
    exec(constructor[begin : constructor.index("\nmodel = ", begin)], namespace)
    model = namespace["Ensemble"](members)
    buffers = {name for name in vars(model) if name != "members"}
    assert buffers == {name for name in state if not name.startswith("members.")}
    for name in buffers:
        values = state[name]
        assert (values.shape, values.dtype) == (getattr(model, name).shape, np.float64), name
        setattr(model, name, values.view(Tensor))
    return lambda x: np.asarray(model(x))
