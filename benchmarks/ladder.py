"""The ladder: the networks that every benchmark uses, smallest to largest.

All of them are float32, trained by Adam on shuffled mini-batches. Most of them classify; the last
ones learn the exponential of a 2 by 2 matrix, as a surrogate does.

Beside it stand the networks of a second table, `CLOSE`, where rivals may be close: odd sizes,
batches of one row and of all, one output and a thousand, normalisation, float64, many layers, large
ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    norm : {"", "batch", "layer"}
        The normalisation between each hidden layer and its activation.
    dtype : {"float32", "float64"}
    """

    name: str
    sizes: tuple[int, ...]
    activation: ActivationName = "relu"
    batch: int | None = None
    gpu_batch: int | None = None
    rows: int = 0
    predicted: bool = False
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    norm: Literal["", "batch", "layer"] = ""
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def output_activation(self) -> Literal["softmax", "identity"]:
        return "softmax" if self.loss == "cross_entropy" else "identity"

    @property
    def layers(self) -> str:
        """The sizes as text, as in ``784-128-10``."""
        return "-".join(map(str, self.sizes))

    @property
    def hidden(self) -> int:
        """Number of hidden units."""
        return sum(self.sizes[1:-1])

    @property
    def products(self) -> list[int]:
        """I times O of each layer."""
        return [i * o for i, o in zip(self.sizes, self.sizes[1:], strict=False)]

    @property
    def parameters(self) -> int:
        """Number of weights, biases and factors."""
        factors = 2 * self.hidden if self.norm else 0
        return sum(self.products) + sum(self.sizes[1:]) + factors

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

_SMALL: Final = 64, 128, 128, 10
_WIDE: Final = 784, 512, 512, 10

CLOSE: Final[dict[str, Rung]] = {
    rung.name: rung
    for rung in (
        # Just above a power of two the shuffle draws numbers that it does not need.
        Rung("xor-above", (2, 4, 2), "tanh", batch=4, rows=16_388),
        Rung("policy-above", (16, 64, 64, 4), batch=64, rows=32_832),
        Rung("linear", (64, 1), batch=256, rows=8_192, loss="mse"),
        Rung("one-output", (20, 64, 64, 1), batch=64, rows=4_096, loss="mse"),
        Rung("wide-input", (5_000, 64, 1), batch=128, rows=1_024, loss="mse"),
        Rung("single-rows", (784, 128, 10), batch=1, rows=128),
        Rung("eight-rows", (784, 128, 10), batch=8, rows=512),
        Rung("image-full", (784, 128, 10), batch=10_000, rows=10_000),
        Rung("tiny-full", (2, 16, 2), batch=10_000, rows=10_000),
        Rung("classes-1000", (64, 128, 1_000), batch=128, rows=2_048),
        Rung("softmax-1000", (256, 1_000), batch=64, rows=1_024),
        Rung("image-float64", (784, 128, 10), batch=128, rows=1_024, dtype="float64"),
        Rung("table-float64", (8, 208, 208, 2), batch=256, rows=2_048, dtype="float64"),
        Rung("batch-norm", _SMALL, batch=128, rows=4_096, norm="batch"),
        Rung("batch-norm-wide", _WIDE, batch=256, rows=512, norm="batch"),
        Rung("layer-norm", _SMALL, batch=128, rows=4_096, norm="layer"),
        Rung("layer-norm-wide", _WIDE, batch=256, rows=512, norm="layer"),
        Rung("gelu", _SMALL, "gelu", batch=128, rows=4_096),
        Rung("mish", _SMALL, "mish", batch=128, rows=4_096),
        Rung("silu", _SMALL, "silu", batch=128, rows=4_096),
        Rung("deep-20", (64,) * 21 + (10,), batch=64, rows=1_024),
        Rung("deep-50", (16,) * 51 + (2,), batch=32, rows=1_024),
        Rung("odd", (37, 101, 53, 7), batch=100, rows=3_200),
        Rung("width-17", (17, 17, 17, 3), batch=64, rows=4_096),
        Rung("width-33", (33, 33, 33, 3), batch=64, rows=4_096),
        Rung("large-1024", (1_024, 1_024, 1_024, 10), batch=512, rows=512),
        Rung("large-2048", (2_048, 2_048, 2_048, 10), batch=1_024, rows=1_024),
        Rung("large-4096", (4_096, 4_096, 10), batch=1_024, rows=1_024),
    )
}

PREDICTED_ROWS: Final = 10_000
"""Rows of a batch prediction."""


def select(names: Sequence[str], rungs: Mapping[str, Rung] = LADDER) -> list[Rung]:
    """Return the networks of these names, in the order of the tables; all `rungs` for no name.

    Raises
    ------
    InputError
        A name is in neither table.
    """
    every = LADDER | CLOSE
    for name in names:
        if name not in every:
            raise InputError(f"unknown network {name!r}{suggest(name, every)}")
    return [rung for rung in every.values() if rung.name in (names or rungs)]
