"""The ladder: the networks that every benchmark uses, smallest to largest.

All of them are float32, trained by Adam on shuffled mini-batches. Most of them classify; the last
ones learn the exponential of a 2 by 2 matrix, as a surrogate does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fastnet.errors import InputError, suggest
from fastnet.utils.names import ActivationName


@dataclass(frozen=True)
class Rung:
    """One network of the ladder.

    Attributes
    ----------
    name : str
    sizes : tuple of int
        Inputs, hidden layers, outputs.
    activation : str
        Of the hidden layers.
    batch, gpu_batch : int or None
        Rows in a training step, on a CPU and on a GPU; None where it is not trained there.
    rows : int
        Rows of data: an epoch of fastnet takes a few milliseconds at least.
    predicted : bool
        Whether prediction is measured on it too.
    loss : {"cross_entropy", "mse"}
        Of a softmax over classes, or of linear outputs.
    """

    name: str
    sizes: tuple[int, ...]
    activation: ActivationName = "relu"
    batch: int | None = None
    gpu_batch: int | None = None
    rows: int = 0
    predicted: bool = False
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"

    @property
    def output_activation(self) -> Literal["softmax", "identity"]:
        return "softmax" if self.loss == "cross_entropy" else "identity"

    @property
    def layers(self) -> str:
        """The sizes as text, as in ``784-128-10``."""
        return "-".join(map(str, self.sizes))

    @property
    def products(self) -> list[int]:
        """I times O of each layer."""
        return [i * o for i, o in zip(self.sizes, self.sizes[1:], strict=False)]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(self.products) + sum(self.sizes[1:])

    def flops(self, batch: int) -> int:
        """Return the floating-point operations in the matrix products of one training step.

        2 I O a row forward, as much for dw, and as much for dx except in the first layer.
        """
        return batch * (6 * sum(self.products) - 2 * self.products[0])

    def prediction_flops(self, rows: int) -> int:
        """Return the floating-point operations in the matrix products of a prediction."""
        return 2 * rows * sum(self.products)


LADDER: Final[dict[str, Rung]] = {
    rung.name: rung
    for rung in (
        Rung("xor", (2, 4, 2), "tanh", batch=4, gpu_batch=4, rows=16_384),
        Rung("iris", (4, 16, 3), predicted=True),
        Rung("policy", (16, 64, 64, 4), batch=64, gpu_batch=64, rows=32_768, predicted=True),
        Rung("table", (8, 208, 208, 2), batch=256, gpu_batch=256, rows=8_192),
        Rung("image", (784, 128, 10), batch=128, gpu_batch=128, rows=6_400, predicted=True),
        Rung("image-wide", (784, 512, 512, 10), batch=256, gpu_batch=1024, rows=2_048),
        Rung("wide", (4096,) * 5, gpu_batch=8192, rows=8_192),
        Rung("expm", (4, 32, 16, 4), "tanh", batch=250, rows=10_000, loss="mse"),
        Rung("expm-full", (4, 32, 16, 4), "tanh", batch=10_000, rows=10_000, loss="mse"),
    )
}

PREDICTED_ROWS: Final = 10_000
"""Rows of a batch prediction."""


def select(names: Sequence[str]) -> list[Rung]:
    """Return the networks of these names, in the ladder's order; all of them for no name.

    Raises
    ------
    InputError
        A name is not in the ladder.
    """
    for name in names:
        if name not in LADDER:
            raise InputError(f"unknown network {name!r}{suggest(name, LADDER)}")
    return [rung for rung in LADDER.values() if not names or rung.name in names]
