"""Trains and evaluates tiny networks, one or many of them at once, each in a block of its own.

Each network has a record of addresses in device memory (``kernels/cuda/loader.MEMBER``), so all of
them may differ in parameters, rows, seeds and the numbers of their optimizers. What the kernels
read and write of a stretch is one array of float64 numbers: it goes to the device at the beginning
and comes back at the end, and the host waits for nothing in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import LossSums, Member, Stretch, TrainConfig, Trained, read_stretch
from fastnet.backends.gpu.step import GpuStep, signed
from fastnet.backends.gpu.tiny import TinyKernels
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.kernels.cuda.tiny import Tiny
from fastnet.nn import random
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss

EVALUATED_FLOPS: Final = 2**32
"""Evaluations of more operations, counted as those of training, are faster product by product."""

ORDER_BYTES: Final = 256 * 2**20
"""The orders of the rows of members that train at the same time take at most about so much."""

_RECORD: Final = np.dtype([(name, np.int64) for name in loader.MEMBER])
_OF_ROWS: Final = "x_ni", "label_n", "target_nt", "weight_n"


class TinyMembers:
    """Trains tiny networks of one engine's plan, its own among them."""

    def __init__(self, gpu: GpuStep, kernels: TinyKernels) -> None:
        self._gpu, self._kernels = gpu, kernels

    def evaluates(self, count: int) -> bool:
        """Return whether rows of this number are evaluated by the kernel for small networks."""
        gpu, plan = self._gpu, self._gpu.plan
        dense = all(op["kind"] == abi.DENSE for op in plan.ops)
        return (
            dense
            and gpu.runtime.cells == gpu.parameters.dtype
            and plan.flops * count <= EVALUATED_FLOPS
        )

    def at_once(self, stretch: Stretch, rows_of_a_block: int) -> int:
        """Return how many members like this are trained at once: as many as memory has room for."""
        held_out = 0 if stretch.held_out is None else len(stretch.held_out)
        most = rows_of_a_block // held_out if held_out else ORDER_BYTES
        return max(1, min(most, ORDER_BYTES // (4 * len(stretch.rows))))

    # --- one network -----------------------------------------------------------------------------

    def train_span(
        self,
        kernel: Tiny,
        rows: Batch,
        order: Array | None,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        first: int,
    ) -> LossSums:
        """Train the engine's network on some batches of one epoch, from batch `first` on."""
        gpu, memory = self._gpu, self._gpu.memory
        memory.upload_coefficients(coefficients)
        constants, table, _ = memory.step_numbers(config.optimizer)
        (record,) = records = np.zeros(1, _RECORD)
        self._describe_network(record, gpu.parameters, config.loss)
        self._describe(
            *(record, _OF_ROWS, rows.fields),
            moments_sp=moments,
            constants=constants,
            coefficients=table,
            trained_e=memory.tally,
            flags=memory.flags,
            order_n=order,
        )
        record["count"] = len(rows)
        batch, end = min(config.batch_size, len(rows)), first + len(coefficients)
        batches = config.steps(len(rows))
        self._launch(kernel, self._upload(records), 1, batch, batches, first, first, end)
        return gpu.read_tally(looked=True)

    def evaluate(self, block: Batch, loss: Loss) -> None:
        """Compute the outputs of the engine's network for reserved rows; add to the tally."""
        (record,) = records = np.zeros(1, _RECORD)
        self._describe_network(record, self._gpu.parameters, loss)
        self._describe(record, [f"held_{name}" for name in _OF_ROWS], block.fields)
        self._evaluate(self._upload(records), 1, block, loss)
        self._gpu.sum_weights(block)
        self._gpu.add_tally(block)

    # --- several ---------------------------------------------------------------------------------

    def train(self, kernel: Tiny, members: Sequence[Member]) -> list[Trained]:
        """Train a stretch of these members at the same time, each with its bits alone."""
        gpu, memory, count = self._gpu, self._gpu.memory, len(members)
        stretch = members[0].stretch
        config, held_out = stretch.config, stretch.held_out
        epochs, batches, _ = stretch.coefficients.shape
        if held_out is not None:
            memory.reserve(count * len(held_out), gradients=False)
        # What the kernels read and write of each member, and after that the tables they share.
        numbers = _Numbers(epochs, count)
        tables = [
            (numbers.share(member.stretch.config.optimizer.hyperparameters),
             numbers.share(member.stretch.coefficients))
            for member in members
        ]  # fmt: skip
        for k, member in enumerate(members):
            if member.stretch.monitor is not None:
                numbers.monitor(k)[...] = member.stretch.monitor.record()
        device = memory.numbers(numbers.size)
        gpu.runtime.upload(device, numbers.joined())
        records = np.zeros(count, _RECORD)
        length = len(stretch.rows)
        orders = memory.order(count * length) if config.shuffle else None
        for k, (member, record, places) in enumerate(zip(members, records, tables, strict=True)):
            self._describe_member(record, member, gpu.runtime.address(device), numbers, k, places)
            if orders is not None:
                self._describe(record, (), (), order_n=orders[k * length : (k + 1) * length])
                record["bits"] = random.feistel_bits(length)
        place = self._upload(records)
        # Train, all epochs at once where nothing has to happen between two of them.
        steps, watched = epochs * batches, held_out is not None or stretch.monitor is not None
        for begin in range(0, steps, batches if watched else steps):
            end = begin + batches if watched else steps
            self._launch(kernel, place, count, stretch.batch, batches, 0, begin, end)
            if held_out is not None:
                self._evaluate(place, count, held_out, config.loss)
            if watched:
                rows = 0 if held_out is None else len(held_out)
                arrays = place, memory.row_loss, memory.row_score
                scalars = begin // batches, rows, gpu.plan.size, count
                gpu.runtime.launch("members_end_epoch", (count, gpu.plan.size), *arrays, *scalars)
        numbers.results = gpu.runtime.to_host(device[: numbers.results.size])
        return [numbers.read(k, member.stretch) for k, member in enumerate(members)]

    def _launch(
        self,
        kernel: Tiny,
        records: Array,
        count: int,
        batch: int,
        batches: int,
        origin: int,
        begin: int,
        end: int,
    ) -> None:
        """Launch the steps from `begin` to before `end`, cut into launches of some time."""
        launch, length = self._kernels.launcher(kernel), self._kernels.steps_of_a_launch(batch)
        for at in range(begin, end, length):
            steps = at, min(at + length, end)
            launch(count, kernel.threads, records, batch, batches, origin, *steps)

    def _evaluate(self, records: Array, count: int, rows: Batch, loss: Loss) -> None:
        gpu, memory = self._gpu, self._gpu.memory
        total = count * len(rows)
        arrays = records, memory.dense_layers(), memory.workspace, memory.row_loss, memory.row_score
        targets = 0 if rows.target is None else int(rows.target.shape[1])
        scalars = loss.code, len(gpu.layers), len(rows), targets, total
        gpu.runtime.launch("members_evaluate", (total, gpu.plan.outputs), *arrays, *scalars)

    # --- records ---------------------------------------------------------------------------------

    def _describe(
        self, record: Any, names: Sequence[str], fields: Sequence[Array | None], **others: Any
    ) -> None:
        """Write the addresses of arrays, which the caller keeps; None is a null pointer."""
        for name, array in (*zip(names, fields, strict=True), *others.items()):
            record[name] = 0 if array is None else self._gpu.runtime.address(array)

    def _describe_network(self, record: Any, parameters: Array, loss: Loss) -> None:
        constants, rates = self._gpu.memory.loss_constants(loss), self._gpu.memory.rates
        self._describe(record, (), (), w_p=parameters, rates_p=rates, loss_constants=constants)

    def _describe_member(
        self,
        record: Any,
        member: Member,
        base: int,
        numbers: _Numbers,
        k: int,
        tables: tuple[int, int],
    ) -> None:
        """Write a member's record; `base` is the address of the numbers on the device."""
        stretch, monitor = member.stretch, member.stretch.monitor
        self._describe_network(record, member.parameters, stretch.config.loss)
        self._describe(record, _OF_ROWS, stretch.rows.fields, moments_sp=stretch.moments)
        if stretch.held_out is not None:
            names = [f"held_{name}" for name in _OF_ROWS]
            self._describe(record, names, stretch.held_out.fields)
        if monitor is not None and monitor.weights is not None:
            self._describe(record, (), (), best_p=monitor.weights[0])
        record["count"] = len(stretch.rows)
        record["seed"], record["epoch"] = signed(stretch.config.seed), stretch.epoch
        for name, place in zip(("constants", "coefficients"), tables, strict=True):
            record[name] = base + 8 * place
        for name, place in numbers.places(k):
            record[name] = base + 8 * place
        if monitor is None:
            record["monitor"] = 0

    def _upload(self, records: NDArray[Any]) -> Array:
        """Return records on the device, (members, fields) int64, valid until the next call."""
        values = records.view(np.int64).reshape(len(records), -1)
        place = self._gpu.memory.records(len(records))
        self._gpu.runtime.upload(place, values)
        return place


class _Numbers:
    """The float64 numbers of a stretch: results of each member, then tables that they share."""

    def __init__(self, epochs: int, members: int) -> None:
        sums = epochs * abi.TALLY
        sizes = {"trained_e": sums, "evaluated_e": sums, "monitor": abi.MONITOR}
        sizes["flags"] = len(loader.FLAGS)
        ends = np.cumsum([*sizes.values()])
        self._parts = {
            name: slice(int(end) - size, int(end))
            for (name, size), end in zip(sizes.items(), ends, strict=True)
        }
        self._width = int(ends[-1])
        self.results = np.zeros(members * self._width)
        self.size = self.results.size
        self._shared: dict[int, tuple[int, NDArray[Any]]] = {}

    def share(self, table: NDArray[Any]) -> int:
        """Return the place of a table; one that is given again has the place from before."""
        if id(table) not in self._shared:
            self._shared[id(table)] = self.size, table
            self.size += table.size
        return self._shared[id(table)][0]

    def joined(self) -> NDArray[np.float64]:
        """Return all numbers as one array."""
        return np.concatenate([self.results, *(t.reshape(-1) for _, t in self._shared.values())])

    def places(self, member: int) -> Iterator[tuple[str, int]]:
        """Yield the names and places of a member's results."""
        for name, part in self._parts.items():
            yield name, member * self._width + part.start

    def monitor(self, member: int) -> NDArray[np.float64]:
        return self._of(member)[self._parts["monitor"]]

    def read(self, member: int, stretch: Stretch) -> Trained:
        """Return the sums of a member, and let its monitor read what the kernels have counted."""
        trained, evaluated, record, flags = (self._of(member)[p] for p in self._parts.values())
        finite = not flags[loader.FLAGS.index("not_finite")]
        trained, evaluated = (values.reshape(-1, abi.TALLY) for values in (trained, evaluated))
        return read_stretch(stretch, trained, evaluated, record, finite=finite)

    def _of(self, member: int) -> NDArray[np.float64]:
        return self.results[member * self._width : (member + 1) * self._width]
