"""The contract of an engine; its composed methods are the specification of what engines compute.

An `Engine` owns the workspace of one network on one backend. It must provide `forward`, `backward`,
`update` and the seven smaller abstract methods. `Engine` composes `train_step`, `train_epoch`,
`evaluate`, `gradient` and `predict` of these, and that composition is the definition. A backend may
override any of them with something faster; the tests compare every override with the composed form.

Arrays are those of the backend (NumPy's, or CuPy's on a GPU), C-contiguous, of the network's dtype
unless stated. B rows of a batch, I inputs, O outputs, T target columns, P parameters, S running
statistics.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from types import FunctionType
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import (
    EpochSums,
    LossSums,
    Member,
    RowStep,
    Stretch,
    TrainConfig,
    Trained,
    sum_of_steps,
)
from fastnet.backends.threads import cores
from fastnet.kernels import abi
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan


class Engine(ABC):
    """Computes one network on one backend.

    Parameters
    ----------
    plan : Plan
    parameters : (P,)
        The engine keeps this array and updates it in place.
    state : (S,)
        The running statistics, which it also keeps and changes in place.

    Attributes
    ----------
    gradients : (P,)
        Set by `backward`, which overwrites it: there is nothing to zero.
    tally : (4,) float64
        Running sums, laid out as in ``kernels/abi.py``; `evaluate_batch` adds to them.
    threads : int or None
        How many threads to use, where the engine can choose; None: as many as make it faster.
    workspace_bytes : int
        Prediction and evaluation split long inputs into blocks of about this much workspace.
    """

    workspace_bytes: ClassVar[int] = 8 * 2**20

    def __init__(self, plan: Plan, parameters: Array, state: Array) -> None:
        self.plan = plan
        self.parameters = parameters
        self.state = state
        self.gradients: Array
        self.tally: Array
        self.threads: int | None = None
        self.most_threads = cores()

    def active(self) -> AbstractContextManager[Any]:
        """Return the context of each of its methods, in which its device is the current one."""
        return nullcontext()

    # --- provided by every backend ---------------------------------------------------------------

    @abstractmethod
    def reserve(self, rows: int) -> None:
        """Allocate a workspace for batches of up to `rows` rows; steps allocate nothing."""

    @abstractmethod
    def gather(self, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
        """Return the batch of rows ``order[start:stop]``; `order` None means the order of `rows`.

        The result is valid until the next call. It has at most as many rows as were reserved.
        """

    @abstractmethod
    def order(self, count: int, seed: int, epoch: int) -> Array:
        """Return ``random.permutation(count, seed=seed, epoch=epoch)`` as `gather` takes it."""

    @abstractmethod
    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        """Return the network's output (B, O), valid until the next call.

        With `training`, dropout draws the masks of (`seed`, `step`), and batch normalisation uses
        the batch's own statistics and updates the running ones. The engine keeps the activations
        that `backward` needs.
        """

    @abstractmethod
    def backward(self, batch: Batch, loss: Loss) -> None:
        """Set `gradients` to those of the mean loss of the batch whose x `forward` just saw.

        Also adds the batch's sums to `tally`. A batch whose weights are all 0 has the gradient 0.
        """

    @abstractmethod
    def backward_from(self, x: Array, gradient: Array, *, logits: bool) -> None:
        """Set `gradients` from the gradient (B, O) of the outputs for the x of `forward`.

        With `logits` it is the gradient of the last layer's pre-activations. Neither array is
        changed, `tally` neither, and several calls may follow one `forward`.
        """

    @abstractmethod
    def evaluate_batch(self, batch: Batch, loss: Loss) -> None:
        """Add the sums of the batch that `forward` just saw to `tally`.

        This is the first part of `backward`, and an evaluation needs no more.
        """

    @abstractmethod
    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        """Update the parameters with `gradients`, which it may overwrite.

        Where the plan has rates, and the optimizer (with penalties and decay) would change a
        parameter from w to u, the new value is ``w + rate (u - w)``. Since every optimizer's step
        is proportional to the learning rate, this is a step at another learning rate. A parameter
        of rate 0 keeps its bits whatever its gradient, and the norm for clipping leaves it out.
        Moments do not depend on the rates.

        Weights outside of the blocks of a layer are 0 and have the rate 0. Nothing is said of their
        gradients and moments: an engine may leave them out.

        Parameters
        ----------
        moments : (n_moments, P)
            Changed in place.
        coefficients : (4,) float64, on the host
            A row of ``optimizer.step_coefficients``.
        """

    def read_tally(self) -> LossSums:
        """Return `tally` on the host and set it to 0."""
        loss, score, weight, steps = self.tally.tolist()
        self.tally.fill(0)
        return LossSums(loss, score, weight, int(steps))

    @abstractmethod
    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return a new array of the network's dtype, not initialised."""

    def begin_tally(self, sums: LossSums) -> None:
        """Start `tally` from the sums of earlier batches; its number of steps starts at 0."""
        self.tally[abi.LOSS_SUM] = sums.loss
        self.tally[abi.SCORE_SUM] = sums.score
        self.tally[abi.WEIGHT_SUM] = sums.weight

    # --- composed of that ------------------------------------------------------------------------

    def threads_for(self, batch: int) -> int:
        """Return how many threads share a step on `batch` rows at most."""
        return 1

    def bounded(self) -> AbstractContextManager[Any]:
        """Bound the threads that a library starts in the steps within this context to `threads`."""
        return nullcontext()

    def rehearse(self, rows: Batch, loss: Loss) -> None:
        """Raise `InputError` if the loss cannot be computed on rows like these; change nothing.

        Only a caller's function can fail: whatever else reaches an engine was checked.
        """

    def agreed(self, value: float) -> float:
        """Return the largest of the numbers of all processes that train this network together."""
        return value

    def of_first(self, value: float) -> float:
        """Return the number of the first of them."""
        return value

    def warm_up(self) -> None:
        """Compile or load the kernels, so that this does not count as training time."""

    def prepare_for(self, rows: Batch, config: TrainConfig, held_out: Batch | None) -> None:
        """Warm up, and choose what depends on the rows to train on and those to evaluate.

        Nothing that training reads is changed.
        """
        self.warm_up()

    def train_step(
        self,
        batch: Batch,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        step: int,
    ) -> None:
        """Train on one batch: forward, backward, update. The dropout masks depend on `step`."""
        self.forward(batch.x, training=True, seed=config.seed, step=step)
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
        """Train on batches `first`, `first` + 1, ... of one epoch, one for each coefficients row.

        Stops after the first batch whose loss is not finite.

        Parameters
        ----------
        rows : Batch
            The whole data set.
        coefficients : (n, 4) float64
            ``optimizer.step_coefficients`` for the n steps.
        epoch : int
            The order of the rows depends on it.
        step : int
            Number of steps taken since training began; the dropout masks depend on it.
        first : int
            The batch to begin with.
        """
        self.reserve(min(config.batch_size, len(rows)))
        order = self.order(len(rows), config.seed, epoch) if config.shuffle else None

        def take_step(k: int, start: int, stop: int) -> LossSums:
            batch = self.gather(rows, order, start, stop)
            self.train_step(batch, config, moments, coefficients[k], step + k)
            return self.read_tally()

        with self.bounded():
            how = len(coefficients), first, len(rows), config.batch_size
            return sum_of_steps(*how, take_step)

    def trains_ahead(self, batch: int, held_out: int = 0) -> bool:
        """Return whether `train_epochs` saves time, for so many rows in a batch and held out."""
        return False

    def train_epochs(self, stretch: Stretch) -> Trained:
        """Train whole epochs as `train_epoch` does; evaluate the rows held out after each."""
        config, monitor, held_out = stretch.config, stretch.monitor, stretch.held_out
        trained, evaluated = list[LossSums](), list[LossSums]()
        for k, table in enumerate(stretch.coefficients):
            epoch = stretch.epoch + k
            how = {"epoch": epoch, "step": stretch.step + k * len(table)}
            trained.append(self.train_epoch(stretch.rows, config, stretch.moments, table, **how))
            if trained[-1].steps < len(table):
                break
            if held_out is not None:
                evaluated.append(self.evaluate(held_out, config.loss)[0])
            if monitor is not None:
                sums = (evaluated if monitor.held_out else trained)[-1]
                value = sums.mean_score if monitor.score else sums.mean_loss
                improved = monitor.patience.improves(value, epoch + 1)
                if improved and monitor.weights is not None:
                    monitor.weights[0][...], monitor.weights[1][...] = self.parameters, self.state
                if monitor.patience.is_over:
                    break
        return EpochSums.of(trained), EpochSums.of(evaluated)

    def lanes_for(self, batch: int, optimizer: Optimizer) -> int:
        """Return how many networks of this plan `train_members` trains in one step."""
        return 1

    def train_members(self, members: Sequence[Member]) -> list[Trained]:
        """Train a stretch of several networks of this plan, with the bits of `train_epochs`.

        The engine's own network is overwritten. Stretches have the same loss, kind of optimizer,
        batch size and numbers of epochs and rows.
        """
        results = []
        for member in members:
            self.parameters[...], self.state[...] = member.parameters, member.state
            results.append(self.train_epochs(member.stretch))
            member.parameters[...], member.state[...] = self.parameters, self.state
        return results

    def gradient(
        self, rows: Batch, loss: Loss, *, training: bool = False, seed: int = 0, step: int = 0
    ) -> LossSums:
        """Set `gradients` to those of the mean loss over all `rows`, taken as one batch."""
        self.reserve(len(rows))
        with self.bounded():
            self.forward(rows.x, training=training, seed=seed, step=step)
            self.backward(rows, loss)
        return self.read_tally()

    def evaluate(self, rows: Batch, loss: Loss) -> tuple[LossSums, Array]:
        """Return the sums over all rows, and the outputs (N, O)."""
        outputs = self.empty((len(rows), self.plan.outputs))
        blocks = [*self.blocks(len(rows))]
        with self.bounded():
            for start, stop in blocks:
                block = rows.part(start, stop)
                outputs[start:stop] = self.forward(block.x, training=False)
                self.evaluate_batch(block, loss)
        return self.read_tally(), outputs

    def predict(self, x: Array) -> Array:
        """Return the outputs (N, O) for x (N, I)."""
        outputs = self.empty((len(x), self.plan.outputs))
        blocks = [*self.blocks(len(x))]
        with self.bounded():
            for start, stop in blocks:
                outputs[start:stop] = self.forward(x[start:stop], training=False)
        return outputs

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs (O,), on the host, for one row (I,) on the host."""
        return np.asarray(self.predict(row[None, :])[0])

    def online(self, rows: Batch, config: TrainConfig, moments: Array) -> RowStep | None:
        """Return a function for one step after the other on `rows`, one batch whose arrays change.

        None: `train_epoch` does it. The engine lives as long as the function, for nothing else.
        """
        return None

    def jacobian_one(self, row: NDArray[Any]) -> NDArray[Any] | None:
        """Return the derivatives (O, I) of the outputs for a row (I,); None: this engine cannot."""
        return None

    def direct(self, owner: type, method: FunctionType, slot: str) -> object | None:
        """Return what lets machine code answer in place of a Python method; None: nothing does.

        Parameters
        ----------
        owner : type
            The class of the method, where the engine may put a compiled one in its place. That one
            answers for an instance as long as its `slot` holds the object returned here, and else
            calls `method`.
        method : function
            `predict_one` or `jacobian_one` of one row as it comes from the user.
        slot : str
        """
        return None

    def blocks(self, count: int) -> Iterator[tuple[int, int]]:
        """Reserve a small workspace; yield the bounds of the blocks of rows that fit into it."""
        size = min(count, self.rows_of_a_block())
        if count:
            self.reserve(size)
        for start in range(0, count, size or 1):
            yield start, min(start + size, count)

    def rows_of_a_block(self) -> int:
        """Return how many rows prediction and evaluation take at once."""
        per_row = (2 * self.plan.width + self.plan.inputs) * self.parameters.dtype.itemsize
        return int(max(64, self.workspace_bytes // per_row))


E = TypeVar("E", bound=Engine)


def while_active(engine: type[E]) -> type[E]:
    """Let every public method of an engine, inherited ones too, run within `Engine.active`."""
    for name, method in inspect.getmembers(engine, inspect.isfunction):
        if not name.startswith("_") and name != "active":
            setattr(engine, name, _while_active(method))
    return engine


def _while_active(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Engine, *args: Any, **kwargs: Any) -> Any:
        with self.active():
            return method(self, *args, **kwargs)

    return call


def zeros_tally() -> NDArray[np.float64]:
    """Return a fresh tally for the CPU backends."""
    return np.zeros(abi.TALLY)
