"""`Gradients`: the gradients of a network's parameters, flat and by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastnet.nn.batch import Array
from fastnet.nn.plan import Plan


class Gradients(Mapping[str, Array]):
    """The gradients that `Network.backward` returns: a mapping from names to arrays.

    The names and shapes are those of ``net.named_parameters()``. The arrays are views into `flat`,
    so what is changed in place there or here is what `Network.update` uses.

    Parameters
    ----------
    plan : Plan
    flat : (P,)

    Attributes
    ----------
    flat : (P,) array of the backend, of the network's dtype
        All gradients in the order of ``net.parameters``. Where a parameter is frozen it is 0.
    """

    def __init__(self, plan: Plan, flat: Array) -> None:
        self.flat = flat
        self._views = {tensor.name: tensor.view(flat) for tensor in plan.parameters}

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return f"<Gradients of {len(self)} tensors: {', '.join(self)}>"
