"""Makes the text of ``tiny.cu`` for one network: its constants and its shared memory layout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

import numpy as np

from fastnet.kernels.cuda import loader

KERNEL: Final = "tiny_train"
THREADS: Final = (32, 256)
"""The least and the most threads in the block, which has a power of two of them."""

ELEMENTS: Final = 16
"""How many elements of a layer's largest product each thread computes, about.

Fewer mean more warps, which hide each other's waits, but share the barriers of a step. No GPU has
been asked yet which number is the fastest; results do not depend on it.
"""

LEAST: Final = 8
"""The smallest capacity."""

HELD: Final = 16
"""How many numbers of the next batch a thread can keep in registers."""

_FILES: Final = (
    "cells.cuh",
    "common.cuh",
    "random.cuh",
    "activations.cuh",
    "softmax.cuh",
    "losses.cuh",
    "optimizers.cuh",
)


def capacities(rows: int) -> tuple[int, int]:
    """Return the capacities for batches of so many rows, the preferred one first.

    Powers of two, so that batches of all sizes need few compilations. Where such a batch does not
    fit into shared memory, a multiple of `LEAST` may.
    """
    return max(LEAST, 1 << (rows - 1).bit_length()), -(-rows // LEAST) * LEAST


@dataclass(frozen=True)
class TinyLayer:
    """A dense layer.

    Attributes
    ----------
    inputs, outputs, activation : int
    weight, bias : int
        Offsets into the flat parameters.
    keeps_z : bool
        Whether z is stored beside y.
    """

    inputs: int
    outputs: int
    activation: int
    weight: int
    bias: int
    keeps_z: bool


@dataclass(frozen=True)
class Tiny:
    """All that the kernel is specialised for.

    Attributes
    ----------
    dtype : str
    layers : tuple of TinyLayer
    batch : int
        The most rows in a batch, its capacity: the number of rows is an argument.
    targets : int
        Columns of the targets; 0 for labels.
    weighted : bool
        Whether rows have weights.
    loss, optimizer : int
        Codes.
    fused : bool
        Whether the loss gives the gradient with respect to z.
    n_moments : int
        The number of moments of the optimizer.
    n_weights : int
        Penalties act on the first so many parameters.
    clipped : bool
    elements : int
        See `ELEMENTS`.
    """

    dtype: str
    layers: tuple[TinyLayer, ...]
    batch: int
    targets: int
    weighted: bool
    loss: int
    optimizer: int
    fused: bool
    n_moments: int
    n_weights: int
    clipped: bool
    elements: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum((layer.inputs + 1) * layer.outputs for layer in self.layers)

    @property
    def record(self) -> int:
        """The numbers of a row: inputs, targets or label, weight."""
        return self.layers[0].inputs + (self.targets or 1) + self.weighted

    @cached_property
    def threads(self) -> int:
        """Threads in the block."""
        largest = max(
            max(self.batch * layer.outputs, layer.inputs * layer.outputs) for layer in self.layers
        )
        wanted = 1 << max(largest // self.elements - 1, 0).bit_length()
        return min(max(wanted, THREADS[0]), THREADS[1])

    @property
    def held(self) -> int:
        """The numbers of a batch that each thread fetches."""
        return -(-self.batch * self.record // self.threads)

    @cached_property
    def places(self) -> dict[str, int]:
        """The offsets of all arrays in shared memory, in numbers; ``"end"`` is their end."""
        sizes = {"RECORDS": 2 * self.batch * (self.record | 1)}
        for n, layer in enumerate(self.layers):
            width = layer.outputs | 1
            sizes |= {f"W{n}": layer.inputs * width, f"B{n}": layer.outputs}
            sizes |= {f"{name}{n}": self.batch * width for name in ("Y", "D")}
            if layer.keeps_z:
                sizes[f"Z{n}"] = self.batch * width
        sizes |= {"ROW_LOSS": self.batch, "ROW_SCORE": self.batch}
        sizes["MOMENTS"] = self.n_moments * self.size
        sizes["GRADIENTS"] = sizes["PLACES"] = self.size if self.clipped else 0
        begins = accumulate(sizes.values(), initial=0)
        return dict(zip([*sizes, "end"], begins, strict=True))

    @property
    def shared_bytes(self) -> int:
        """The shared memory that the kernel needs."""
        return self.places["end"] * np.dtype(self.dtype).itemsize

    def text(self) -> str:
        """Return the CUDA text."""
        lanes = 1 if self.layers[-1].outputs <= loader.WARP else loader.WARP
        parts = [loader.prelude(np.dtype(self.dtype), self.threads, lanes)]
        parts += [loader.file(name) for name in _FILES]
        parts += [self._constants(), loader.file("tiny_rows.cuh"), loader.file("tiny.cu")]
        return "\n".join(parts)

    def _constants(self) -> str:
        places = self.places
        values = {
            "LAYERS": len(self.layers),
            "INPUTS": self.layers[0].inputs,
            "TARGETS": self.targets,
            "LABELLED": not self.targets,
            "WEIGHTED": self.weighted,
            "BATCH": self.batch,
            "THREADS": self.threads,
            "LOSS": self.loss,
            "FUSED": self.fused,
            "OPTIMIZER": self.optimizer,
            "N_MOMENTS": self.n_moments,
            "SIZE": self.size,
            "N_WEIGHTS": self.n_weights,
            "CLIPPED": self.clipped,
        }
        names = "RECORDS", "ROW_LOSS", "ROW_SCORE", "MOMENTS", "GRADIENTS", "PLACES"
        values |= {name: places[name] for name in names}
        lines = ["namespace tiny {"]
        lines += [f"constexpr int {name} = {int(value)};" for name, value in values.items()]
        lines.append("template <int L> struct Layer;")
        for n, layer in enumerate(self.layers):
            fields = {"I": layer.inputs, "O": layer.outputs, "ACTIVATION": layer.activation}
            fields |= {"WEIGHT": layer.weight, "BIAS": layer.bias}
            fields |= {name: places[f"{name}{n}"] for name in ("W", "B", "Y", "D")}
            fields["Z"] = places.get(f"Z{n}", places[f"Y{n}"])
            each = " ".join(f"static constexpr int {k} = {v};" for k, v in fields.items())
            lines.append(f"template <> struct Layer<{n}> {{ {each} }};")
        return "\n".join([*lines, "}"])
