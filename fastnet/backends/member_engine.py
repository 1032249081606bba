"""The engine of a network with `Members`, around plain engines of any backend.

The members are trained one after the other: each is folded out of the parameters of the whole into
those of a plain engine, makes its forward and backward pass on its own batch, and its gradients are
unfolded again (`fastnet.nn.member_plan`). So activations of one member at a time are in the cache,
and no kernel knows of members. Where threads train side by side, each computes members of its own.
Gradients are added up in the order of the members: the bits do not depend on threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.engine import Engine, while_active, zeros_tally
from fastnet.backends.epochs import LossSums, TrainConfig, sum_of_steps
from fastnet.backends.member_lane import Lane, PlainBackend
from fastnet.backends.placing import gathered, placed
from fastnet.backends.threads import FLOPS_PER_SHARE, Paces, Share, sharing, threads_that_pay
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn.batch import Array, Batch
from fastnet.nn.loss_arrays import LossArrays
from fastnet.nn.losses import Loss
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.optimizers import Optimizer

BLOCK: Final = 8192
"""Rows that are evaluated at a time; more would need memory, fewer fold the members more often."""


# An overflow needs no warning: it makes the loss infinite or NaN, and training checks the loss.
_quietly = np.errstate(all="ignore")


class Pass(NamedTuple):
    """A forward pass, which each member makes again before its backward pass."""

    x: Array
    training: bool
    seed: int
    step: int


@while_active
class MemberEngine(Engine):
    """Computes a network with `Members`: its outputs are the mean of theirs, and its loss is too.

    Parameters
    ----------
    plan : MemberPlan
    parameters : (P,)
        Those of the whole, which it updates in place.
    state : (0,)
        There are no running statistics.
    backend : Backend
        It makes the plain engines.
    """

    def __init__(
        self,
        plan: MemberPlan,
        parameters: Array,
        state: Array,
        backend: PlainBackend,
        *,
        threads: int | None,
        precision: str,
    ) -> None:
        self._backend = backend
        super().__init__(plan, parameters, state)
        self._whole, self._precision = plan, precision
        # All parameters as weights of one layer: what updates them knows no more of them.
        how: dict[str, Any] = {"threads": threads, "precision": "float32"}
        self._updates = backend.plain_engine(plan.flat, parameters, state, **how)
        self.gradients = self._updates.gradients
        self.threads, self.most_threads = threads, self._updates.most_threads
        self.tally = zeros_tally()
        self._lanes: list[Lane] = []
        self._paces = Paces()
        self._rows = 0
        self._pass: Pass | None = None
        self._outputs: Array = None
        self._orders: tuple[tuple[int, int, int], list[Array]] = ((0, 0, 0), [])

    def active(self) -> AbstractContextManager[Any]:
        return self._backend.active()

    def reserve(self, rows: int) -> None:
        self._rows = max(rows, self._rows)
        self._first().engine.reserve(self._rows)

    def empty(self, shape: tuple[int, ...]) -> Array:
        return self._updates.empty(shape)

    def order(self, count: int, seed: int, epoch: int) -> Array:
        return self._first().engine.order(count, seed, epoch)

    def gather(self, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
        return gathered(self._backend, rows, order, start, stop)

    def warm_up(self) -> None:
        self._first().engine.warm_up()
        self._updates.warm_up()

    # --- the members -----------------------------------------------------------------------------

    def _lane(self, number: int) -> Lane:
        """Return one of the plain engines, made on first use."""
        plan, dtype = self._whole, self.parameters.dtype
        while len(self._lanes) <= number:
            flat = self._backend.zeros((plan.member.size,), np.dtype(str(dtype)))
            how: dict[str, Any] = {"threads": self.threads, "precision": self._precision}
            engine = self._backend.plain_engine(plan.member, flat, self.state, **how)
            self._lanes.append(Lane(plan, engine))
        lane = self._lanes[number]
        lane.engine.threads = self.threads
        return lane

    def _first(self) -> Lane:
        return self._lane(0)

    @_quietly
    def _each(self, share: Share, lanes: int, compute: Callable[[Engine, int], Any]) -> list[Any]:
        """Set the gradients to the mean of the members'; return what `compute` does, in order.

        ``compute(engine, m)`` makes the passes of member m, whose parameters the engine has.
        """
        whole, found = self.parameters, list[Any]()
        used = [self._lane(number) for number in range(lanes)]
        for lane in used:
            lane.engine.reserve(self._rows)
            lane.share(whole)
        self.gradients[...] = 0
        members = self._whole.members
        for first in range(0, members, lanes):
            wave = range(first, min(first + lanes, members))

            def one(index: int, wave: range = wave) -> Any:
                member = wave[index]
                return compute(used[index].become(whole, member), member)

            found += share(one, len(wave)) if lanes > 1 else [one(0)]
            for lane, member in zip(used, wave, strict=False):
                for part in self._whole.parts:
                    part.unfold(whole, member, lane.engine.gradients, self.gradients)
        self.gradients *= 1.0 / members
        return found

    def _masks(self, step: int, member: int) -> int:
        """Return the step that keys the dropout masks of a member."""
        return step * self._whole.members + member

    def _mean(self, sums: list[LossSums]) -> LossSums:
        """Return the mean of the members' sums."""
        table = [(one.loss, one.score, one.weight) for one in sums]
        loss, score, weight = (sum(column) / len(sums) for column in zip(*table, strict=True))
        return LossSums(loss, score, weight, 1)

    def _add(self, sums: LossSums) -> None:
        self.tally[abi.LOSS_SUM] += sums.loss
        self.tally[abi.SCORE_SUM] += sums.score
        self.tally[abi.WEIGHT_SUM] += sums.weight
        self.tally[abi.STEPS] += np.isfinite(self.tally[abi.LOSS_SUM])

    # --- steps -----------------------------------------------------------------------------------

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        self._pass = Pass(x, training, seed, step)
        self._outputs = self._outputs_of(
            lambda engine, member: engine.forward(
                x, training=training, seed=seed, step=self._masks(step, member)
            )
        )
        return self._outputs

    @_quietly
    def _outputs_of(self, outputs: Callable[[Engine, int], Array]) -> Array:
        """Return the mean of the members' outputs."""
        lane = self._first()
        lane.share(self.parameters)
        total = outputs(lane.become(self.parameters, 0), 0).copy()
        for member in range(1, self._whole.members):
            total += outputs(lane.become(self.parameters, member), member)
        total *= 1.0 / self._whole.members
        return total

    def backward(self, batch: Batch, loss: Loss) -> None:
        done = self._pass
        assert done is not None

        def compute(engine: Engine, member: int) -> LossSums:
            return self._learn(engine, member, batch, loss, done)

        lanes = self.threads_for(len(batch))
        with sharing(lanes) as share:
            sums = self._each(share, lanes, compute)
        self._add(self._mean(sums))

    def _learn(self, engine: Engine, member: int, batch: Batch, loss: Loss, how: Pass) -> LossSums:
        """Make a member's forward and backward pass on a batch; return its sums."""
        step = self._masks(how.step, member)
        engine.forward(batch.x, training=how.training, seed=how.seed, step=step)
        engine.backward(batch, loss)
        return engine.read_tally()

    def backward_from(self, x: Array, gradient: Array, *, logits: bool) -> None:
        if logits:
            raise InputError(
                "a network with Members returns the mean of its members' outputs, which have no "
                "logits in common: give the derivative by the outputs, and logits=False."
            )
        done = self._pass
        assert done is not None

        def compute(engine: Engine, member: int) -> None:
            step = self._masks(done.step, member)
            engine.forward(x, training=done.training, seed=done.seed, step=step)
            engine.backward_from(x, gradient, logits=False)

        lanes = self.threads_for(len(x))
        with sharing(lanes) as share:
            self._each(share, lanes, compute)

    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self._updates.update(optimizer, moments, coefficients)

    def gradient(
        self, rows: Batch, loss: Loss, *, training: bool = False, seed: int = 0, step: int = 0
    ) -> LossSums:
        self.reserve(len(rows))
        here = placed(self._backend, rows)
        self._pass = Pass(here.x, training, seed, step)
        with self.bounded():
            self.backward(here, loss)
        return self.read_tally()

    def train_step(
        self,
        batch: Batch,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        step: int,
    ) -> None:
        self._pass = Pass(batch.x, True, config.seed, step)
        self.backward(batch, config.loss)
        self.update(config.optimizer, moments, coefficients)

    def train_epoch(
        self,
        rows: Batch,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int = 0,
    ) -> LossSums:
        """Train as `Engine.train_epoch` does, with an order of its own for each member."""
        batch_size = min(config.batch_size, len(rows))
        self.reserve(batch_size)
        orders = self._orders_of(len(rows), config, epoch)
        most, steps = self.threads_for(batch_size), len(coefficients)
        pace, lanes, begun, due, started = (
            self._paces.of(most, fixed=self.threads is not None),
            most,
            0,
            0,
            0.0,
        )

        with self.bounded(), sharing(most) as share:

            def take_step(k: int, start: int, stop: int) -> LossSums:
                nonlocal lanes, begun, due, started
                if k == due:
                    if k:
                        pace.record(lanes, k - begun, time.perf_counter() - started)
                    lanes, count = pace.next(steps - k)
                    begun, due, started = k, k + count, time.perf_counter()

                def compute(engine: Engine, member: int) -> LossSums:
                    batch = self.gather(rows, orders[member], start, stop)
                    how = Pass(batch.x, True, config.seed, step + k)
                    return self._learn(engine, member, batch, config.loss, how)

                self._add(self._mean(self._each(share, lanes, compute)))
                self.update(config.optimizer, moments, coefficients[k])
                return self.read_tally()

            sums = sum_of_steps(steps, first, len(rows), batch_size, take_step)
            if sums.steps > begun:
                pace.record(lanes, sums.steps - begun, time.perf_counter() - started)
        return sums

    def _orders_of(self, count: int, config: TrainConfig, epoch: int) -> list[Array]:
        """Return the order of the rows for each member in an epoch."""
        k = self._whole.members
        if not config.shuffle:
            return [None] * k
        key = count, config.seed, epoch
        if not self._orders[1] or self._orders[0] != key:
            made = [self.order(count, config.seed, epoch * k + m).copy() for m in range(k)]
            self._orders = key, made
        return self._orders[1]

    # --- prediction and evaluation ---------------------------------------------------------------

    def predict(self, x: Array) -> Array:
        if not len(x):
            return self.empty((0, self.plan.outputs))
        return self._outputs_of(lambda engine, member: engine.predict(x))

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        x = self._backend.asarray(np.ascontiguousarray(row, np.dtype(str(self.parameters.dtype))))
        outputs: NDArray[Any] = self._backend.to_host(self.predict(x[None, :]))[0]
        return outputs

    def evaluate(self, rows: Batch, loss: Loss) -> tuple[LossSums, Array]:
        """Return the sums over all rows of the mean outputs' loss and score, and these outputs."""
        outputs = self.empty((len(rows), self.plan.outputs))
        for start in range(0, len(rows), BLOCK):
            block = placed(self._backend, rows.part(start, start + BLOCK))
            self._outputs = self.predict(block.x)
            outputs[start : start + BLOCK] = self._outputs
            self.evaluate_batch(block, loss)
        return self.read_tally(), outputs

    @_quietly
    def evaluate_batch(self, batch: Batch, loss: Loss) -> None:
        """Add the sums of the mean outputs to `tally`: the formulas of NumPy, on the host."""
        to_host = self._backend.to_host
        y, labels, target, weight = (
            None if a is None else to_host(a)
            for a in (self._outputs, batch.labels, batch.target, batch.weight)
        )
        assert y is not None
        given = target if labels is None else labels
        assert given is not None
        how = loss.fused_activation, loss.outputs_per_target, labels is not None
        head, times = LossArrays.of(y, given, *how), 1.0 if weight is None else weight
        loss.gradient(head)
        loss_sum = float((head.row * times).sum(dtype=np.float64))
        loss.score_rows(head)
        score = float((head.row * times).sum(dtype=np.float64))
        total = float(len(y)) if weight is None else float(weight.sum(dtype=np.float64))
        self._add(LossSums(loss_sum, score, total, 1))

    def rows_of_a_block(self) -> int:
        return self._first().engine.rows_of_a_block()

    # --- threads ---------------------------------------------------------------------------------

    def threads_for(self, batch: int) -> int:
        """Return how many threads train members side by side."""
        if not self._backend.trains_side_by_side:
            return 1
        worth = int(self.plan.flops * batch) // FLOPS_PER_SHARE
        return threads_that_pay(self.threads, min(self.most_threads, self._whole.members), worth)

    def bounded(self) -> AbstractContextManager[Any]:
        return self._first().engine.bounded()
