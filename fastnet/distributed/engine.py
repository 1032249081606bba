"""The engine of several ranks, around the engines of any backend.

Each part of the rows has an engine of its own, with its own gradients. A step computes the gradient
of each part's rows of the batch, adds up the parts, and updates the parameters, which are the same
on all ranks: every rank takes the same step. No kernel and no backend knows of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.backends.threads import FLOPS_PER_SHARE, sharing, threads_that_pay
from fastnet.distributed.group import Group
from fastnet.distributed.parts import parts_of, rows_of_batch
from fastnet.distributed.rows import PartedRows
from fastnet.distributed.sums import PartSums, in_order
from fastnet.distributed.transports import choose
from fastnet.errors import DistributedError, InputError
from fastnet.nn.batch import Array
from fastnet.nn.losses import Loss

Run = Callable[[Callable[[int], Any]], list[Any]]
"""Calls a function with the index of each part of this rank; returns what it returns."""


class DistributedEngine:
    """Trains and evaluates one network on the rows of all ranks.

    Attributes
    ----------
    threads : int or None
        Most threads of this rank, each of which computes parts of its own.
    """

    def __init__(
        self, engine: Engine, backend: Backend, group: Group, *, precision: str, threads: int | None
    ) -> None:
        self._engine, self._backend, self._group = engine, backend, group
        plan, parameters = engine.plan, engine.parameters
        with backend.active():
            self._parts = [
                backend.engine(plan, parameters, engine.state.copy(), precision=precision)
                for _ in group.held
            ]
        for one in self._parts:
            one.threads = 1  # so that the bits do not depend on the cores that a rank has
        dtype = np.dtype(str(parameters.dtype))
        self._transport = transport = choose(group, backend)
        self._gradients = PartSums(group, plan.size, dtype, transport)
        self._statistics = PartSums(group, len(engine.state), dtype, transport)
        self._sums = LossSums(0.0, 0.0, 0.0, 0)
        self._orders: tuple[tuple[int, ...], list[Any]] = ((), [])
        cores = max(1, engine.most_threads // group.communicator.neighbours)
        self._threads = threads or cores

    # --- what the trainer asks -------------------------------------------------------------------

    def prepare_for(self, *_: object) -> None:
        """Compile or load the kernels."""
        self._parts[0].warm_up()

    def begin_tally(self, sums: LossSums) -> None:
        """Start the next sums from these."""
        self._sums = sums

    def trains_ahead(self, batch: int, held_out: int = 0) -> bool:
        """Return False: the ranks meet at every step."""
        return False

    def threads_for(self, batch: int) -> int:
        """Return how many threads compute a part: one, whose bits are the same everywhere."""
        return 1

    def agreed(self, value: float) -> float:
        """Return the largest of the ranks' numbers."""
        return self._group.most(value)

    def of_first(self, value: float) -> float:
        """Return the number of rank 0."""
        return self._group.first(value)

    def train_epoch(
        self,
        rows: Any,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int = 0,
    ) -> LossSums:
        """Train on batches `first`, `first` + 1, ... of one epoch, as ``Engine.train_epoch``.

        Batch b has ``batch_size / P`` rows of each part. A part shuffles its rows by the key
        ``epoch * P + p``, and draws dropout masks by ``step * P + p``. Batch normalisation uses the
        statistics of a part's rows; the running ones are the means over the parts.
        """
        assert isinstance(rows, PartedRows)
        group, engine = self._group, self._engine
        batch_size = min(config.batch_size, len(rows))
        for one in self._parts:
            one.reserve(-(-batch_size // group.parts))
        orders = self._orders_of(rows, config, epoch)
        sums, self._sums = self._sums, LossSums(0.0, 0.0, 0.0, 0)
        loss, score, weight, done = sums.loss, sums.score, sums.weight, 0
        with self._computing(batch_size) as run:
            for k, row in enumerate(coefficients):
                start = (first + k) * batch_size
                stop = min(start + batch_size, len(rows))

                def compute(index: int, k: int = k, start: int = start, stop: int = stop) -> Any:
                    part = group.held[index]
                    place = rows_of_batch(part, group.parts, start, stop)
                    masks = (step + k) * group.parts + part
                    return self._compute(index, rows, orders[index], place, config, masks)

                tallies = self._tallies(run(compute))
                total = in_order(tallies)
                loss, score, weight = loss + total[0], score + total[1], weight + total[2]
                if not np.isfinite(loss):
                    break
                self._add_up(tallies[:, 2], float(total[2]), run)
                engine.update(config.optimizer, moments, row)
                done += 1
        if first + done == config.steps(len(rows)):
            self.compare_parameters()
        return LossSums(float(loss), float(score), float(weight), done)

    def evaluate(self, rows: Any, loss: Loss) -> tuple[LossSums, Array]:
        """Return the sums over all rows, and their outputs (N, O), on every rank."""
        assert isinstance(rows, PartedRows)
        outputs: list[Any] = [None] * len(rows.parts)

        def compute(index: int) -> LossSums:
            engine, part = self._parts[index], rows.parts[index]
            self._group.alive()
            engine.state[...] = self._engine.state
            tally, outputs[index] = engine.evaluate(part, loss)
            return tally

        with self._computing(len(rows)) as run:
            total = in_order(self._tallies(run(compute)))
        own = np.concatenate([self._backend.to_host(values) for values in outputs])
        made = self._backend.asarray(self._group.all_rows(own))
        loss_sum, score, weight = total.tolist()
        return LossSums(loss_sum, score, weight, 1), made

    # --- a step ----------------------------------------------------------------------------------

    def _compute(
        self,
        index: int,
        rows: PartedRows,
        order: Any,
        place: tuple[int, int],
        config: TrainConfig,
        masks: int,
    ) -> LossSums:
        """Set a part's gradients to those of its rows of a batch; return their sums."""
        engine, (start, stop) = self._parts[index], place
        engine.state[...] = self._engine.state
        if start == stop:
            engine.gradients[...] = 0
            return LossSums(0.0, 0.0, 0.0, 1)
        batch = engine.gather(rows.parts[index], order, start, stop)
        engine.forward(batch.x, training=True, seed=config.seed, step=masks)
        engine.backward(batch, config.loss)
        return engine.read_tally()

    def _tallies(self, own: Sequence[LossSums]) -> NDArray[np.float64]:
        """Return loss, score and weight (P, 3) of all parts."""
        group = self._group
        table = np.array([(one.loss, one.score, one.weight) for one in own])
        told = group.announce("step", table.ravel().tolist())
        counts = [len(parts_of(rank, group.size, group.parts)) for rank in range(group.size)]
        pieces = [told[r, : 3 * n].reshape(n, 3) for r, n in enumerate(counts)]
        return np.concatenate(pieces)

    def _add_up(self, weights: NDArray[np.float64], total: float, run: Run) -> None:
        """Set gradients and running statistics to those of all parts."""
        parts, engine = self._group.parts, self._engine
        # A batch whose weights are all 0 has the gradient 0.
        shares = weights / total if total > 0 else np.zeros(len(weights))
        own = [one.gradients for one in self._parts]
        self._sum(self._gradients, own, shares.tolist(), engine.gradients, run)
        if len(engine.state):
            alike = [1.0 / parts] * parts
            self._sum(self._statistics, [one.state for one in self._parts], alike, engine.state)

    def _sum(
        self,
        sums: PartSums,
        vectors: Sequence[Array],
        shares: Sequence[float],
        out: Array,
        run: Run | None = None,
    ) -> None:
        """Set an array of the backend to the sum over all parts."""
        with self._backend.active():
            made = self._transport.taken(out)
            sums.add([self._transport.taken(values) for values in vectors], shares, made, run)
            if made is not out:
                out[...] = self._backend.asarray(made)

    def compare_parameters(self) -> None:
        """Raise `DistributedError` unless all ranks have the same bits.

        Other processors may round otherwise, and a callback may have changed them on one alone.
        """
        content = np.ascontiguousarray(self._backend.to_host(self._engine.parameters))
        sums = self._group.announce("span", [zlib.crc32(content.view(np.uint8).data)])[:, 0]
        other = np.flatnonzero(sums != sums[0])
        if len(other):
            raise DistributedError(
                f"rank {other[0]} computes other weights than rank 0 from the same gradients: all "
                "ranks need the same kind of processor, the same versions of NumPy and fastnet, "
                "and callbacks that change weights alike."
            )

    def _orders_of(self, rows: PartedRows, config: TrainConfig, epoch: int) -> list[Any]:
        """Return the order of each part's rows in an epoch; None: as they are."""
        group = self._group
        key = (epoch, id(rows))
        if not config.shuffle:
            return [None] * len(rows.parts)
        if self._orders[0] != key:
            numbered = zip(self._parts, rows.parts, group.held, strict=True)
            made = [
                one.order(len(part), config.seed, epoch * group.parts + number)
                for one, part, number in numbered
            ]
            self._orders = key, made
        return self._orders[1]

    @contextmanager
    def _computing(self, batch: int) -> Iterator[Run]:
        """Return what computes the parts of this rank, on several threads where that pays."""
        count, plan = len(self._parts), self._engine.plan
        most = 1 if self._backend.name == "cupy" else min(self._threads, count)
        share = count / self._group.parts
        worth = int(plan.flops * batch * share) // FLOPS_PER_SHARE
        threads = threads_that_pay(None, most, worth)
        with self._parts[0].bounded(), sharing(threads) as run:
            yield lambda compute: run(compute, count)


def require_rows(group: Group, rows: int) -> None:
    """Raise `InputError` unless there is a row for each part."""
    if rows < group.parts:
        raise InputError(
            f"there are {rows} rows for {group.parts} parts on {group.size} ranks: give more rows, "
            "or fewer ranks and fn.distributed.Ranks(comm, parts=...)."
        )
