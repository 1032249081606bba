"""The Numba engine with products of bfloat16: its memory, and what it composes of other methods.

Matrix products read factors that are rounded to bfloat16, and add up in float32. All else is
float32: parameters, moments, activations and their gradients, biases, normalisation. The rounded
weights lie beside the parameters, which anybody may change. So each call from Python begins with
rounding them all, and within the call what updates some weights rounds them as well.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.aligned import aligned
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums, RowStep, TrainConfig
from fastnet.backends.numba_engine import NumbaEngine
from fastnet.kernels import abi
from fastnet.kernels.cpu import native
from fastnet.kernels.cpu import pair_layers as layers
from fastnet.kernels.cpu.back_end import Kernel
from fastnet.kernels.cpu.pairs import HAS_DOTS
from fastnet.kernels.cpu.tiles import may_use_tiles
from fastnet.nn import strips
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.plan import Plan

ROOM: Final = 2**18
"""A thread rounds so many bytes of a factor's rows at once."""

_WORD: Final = 4  # bytes
_NEVER: Final = 2**62

# The same functions as plain Python.
_words, _row_words = layers.words_of.py_func, layers.row_words.py_func


def why_not() -> str | None:
    """Return why this processor cannot compute with bfloat16, or None where it can."""
    if HAS_DOTS:
        return None
    return (
        "precision='bf16' needs a processor with AVX512_BF16 (AMD from Zen 4 on, Intel Xeon from "
        "2023 on), and this one lacks it: take precision='float32'."
    )


def product_kernel() -> Kernel:
    """Return the fastest kernel of products that can run here, loaded or compiled now."""
    return native.kernel("tile_product" if may_use_tiles() else "dot_product", np.float32)


def round_kernel() -> Kernel:
    """Return the kernel that writes panels, loaded or compiled now."""
    return native.kernel("round_panels", np.float32)


class BF16Engine(NumbaEngine):
    """Trains and predicts with products of bfloat16."""

    def __init__(
        self, plan: Plan, parameters: Array, state: Array, threads: int | None = None
    ) -> None:
        super().__init__(plan, parameters, state, threads)
        self._dense = np.flatnonzero(plan.ops["kind"] == abi.DENSE).tolist()
        self._panels = np.zeros((len(plan.ops), layers.PANELS), np.int64)
        self._memory: dict[tuple[int, int], Array] = {}
        self._rounds: list[tuple[int, ...]] = []  # the arguments of `round_panels`
        self._is_rounded = False
        for index in self._dense:
            op = plan.ops[index]
            k, n = int(op["inputs"]), int(op["outputs"])
            weights = parameters[int(op["weight"]) :].ctypes.data, n, k, n
            forward = self._make_panels(index, layers.FORWARD, n, k)
            backward = self._make_panels(index, layers.BACKWARD, k, n)
            self._rounds.append((forward, _words(k), *weights, 0))
            self._rounds.append((backward, _words(n), *weights, 1))
        self._point(pairs=self._panels)
        widest = int(plan.ops[self._dense]["outputs"].max())
        self._point_each(np.float32, part=max(layers.CHUNK, layers.BLOCK * widest))

    def _make_panels(self, index: int, which: int, columns: int, count: int) -> int:
        """Make memory for a layer's panels, `count` numbers in each column; return its address."""
        lines = -(-columns // layers.LANES) * _words(count)
        memory = aligned((lines * layers.LANES,), np.uint32)
        self._memory[index, which] = memory
        self._panels[index, which] = memory.ctypes.data
        return int(memory.ctypes.data)

    def reserve(self, rows: int) -> None:
        if rows > self._rows:
            for index in self._dense:
                self._make_panels(index, layers.DELTAS, int(self.plan.ops[index]["outputs"]), rows)
        super().reserve(rows)

    def _settings_of_products(self, rows: int) -> dict[str, int]:
        dense = self.plan.ops[self._dense]
        longest = max(rows, int(dense["inputs"].max()), int(dense["outputs"].max()))
        return {
            "room_size": max(ROOM // _WORD, layers.BLOCK * _row_words(longest)),
            "large": _NEVER,
            "multiply": product_kernel().address,
            "round": round_kernel().address,
        }

    def _table_of_strips(self) -> NDArray[np.int64]:
        return strips.table(self.plan, self._lanes, whole=True)

    def _round_weights(self) -> None:
        """Write the panels of the weights as they are now."""
        if not self._is_rounded:
            round_panels = round_kernel().call
            for arguments in self._rounds:
                round_panels(*arguments)

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        self._round_weights()
        return super().forward(x, training=training, seed=seed, step=step)

    def evaluate(self, rows: Batch, loss: Loss) -> tuple[LossSums, Array]:
        self._round_weights()
        self._is_rounded = True  # for all its blocks
        try:
            return super().evaluate(rows, loss)
        finally:
            self._is_rounded = False

    def predict(self, x: Array) -> Array:
        self._round_weights()
        return super().predict(x)

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        return Engine.predict_one(self, row)

    def _train(self, *args: Any) -> None:
        self._round_weights()
        super()._train(*args)

    # --- what has float32 products only, and is composed of others here --------------------------

    def _is_tiny(self, batch: int) -> bool:
        return False

    def trains_ahead(self, batch: int, held_out: int = 0) -> bool:
        return not held_out

    def online(self, rows: Batch, config: TrainConfig, moments: Array) -> RowStep | None:
        return None

    def jacobian_one(self, row: NDArray[Any]) -> NDArray[Any] | None:
        return None

    def direct(self, owner: type, method: FunctionType, slot: str) -> object | None:
        return None
