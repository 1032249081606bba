"""The contract between fastnet and a backend, which builds engines (`fastnet.backends.engine`).

A `Backend` is stateless: it says whether it can run, moves arrays and builds engines. One process
can use several backends side by side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.engine import Engine
from fastnet.backends.member_engine import MemberEngine
from fastnet.errors import InputError
from fastnet.nn.batch import Array, Batch
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.plan import Plan
from fastnet.utils import device_arrays

PRECISIONS: Final = ("float32", "tf32", "bf16")
"""The precisions of matrix products in a float32 network; the rest stays float32.

float32: full precision. tf32: factors are rounded to 10 bits. bf16: factors are bfloat16 (7 bits),
so products read a rounded copy of the parameters, and a GPU also stores activations and their
gradients like that. Parameters, moments and sums are float32 in each.
"""


@dataclass(frozen=True)
class TrainingSize:
    """What decides how much memory a training takes.

    Attributes
    ----------
    plan : Plan
    itemsize : int
        Bytes of a parameter.
    moments : int
        Numbers that the optimizer keeps for each parameter.
    rows, held_out : int
        Rows that are trained on, and rows that are evaluated after each epoch.
    batch : int
        Rows in a step.
    networks : int
        How many such networks are trained together on the same rows.
    """

    plan: Plan
    itemsize: int
    moments: int
    rows: int
    held_out: int
    batch: int
    networks: int = 1


class Backend(ABC):
    """A way to run networks. It has no state; `fastnet.backends` keeps one instance of each.

    Attributes
    ----------
    name : str
    install : str
        The command that installs what the backend needs.
    precisions : tuple of str
        The precisions it offers for the matrix products of a float32 network.
    trains_side_by_side : bool
        Whether Python threads that train different networks at the same time are faster than one.
    """

    name: ClassVar[str]
    install: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    trains_side_by_side: ClassVar[bool] = False

    @abstractmethod
    def why_unavailable(self) -> str | None:
        """Return the reason why it cannot run here as a sentence, or None when it can."""

    def why_not(self, precision: str) -> str | None:
        """Return why one of its `precisions` cannot be had here, as a sentence; None: it can."""
        return None

    def on(self, device: int | None) -> Self:
        """Return the backend for one of several devices; None: for the current one.

        Raises
        ------
        InputError
            It has no such device, or none to choose.
        """
        if device is not None:
            raise InputError(f"device= chooses a GPU, and the backend {self.name!r} has none.")
        return self

    def devices(self) -> int:
        """Return how many devices there are for `on` to choose from: 0 where it has none."""
        return 0

    def active(self) -> AbstractContextManager[Any]:
        """Return a context in which its arrays can be computed with: its device is the current."""
        return nullcontext()

    def turns(self) -> Callable[[], AbstractContextManager[Any]]:
        """Return what makes contexts as `active` does, for the arrays of one network.

        What is queued in one comes after what was queued in those before, on whichever queue of the
        device that was.
        """
        return self.active

    def queues_for(self, sizes: Sequence[TrainingSize]) -> int:
        """Return how many of these trainings go at a time, each on a queue of the device's own.

        1 means that it has no queues, or no room.
        """
        return 1

    def queues(self) -> Callable[[], AbstractContextManager[Any]]:
        """Return what makes a context for a thread: its work goes to a queue of its own there.

        That queue begins after all that the calling thread has queued, and is empty when the
        context ends.
        """
        return nullcontext

    def engine(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        *,
        threads: int | None = None,
        precision: str = "float32",
    ) -> Engine:
        """Return an engine that works on these parameters.

        `threads` bounds the threads it may use; None lets it choose. `precision` is one of
        `precisions`.
        """
        how: dict[str, Any] = {"threads": threads, "precision": precision}
        if isinstance(plan, MemberPlan):
            return MemberEngine(plan, parameters, state, self, **how)
        return self.plain_engine(plan, parameters, state, **how)

    @abstractmethod
    def plain_engine(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        *,
        threads: int | None = None,
        precision: str = "float32",
    ) -> Engine:
        """Return the backend's own engine: of any plan but a `MemberPlan`."""

    @abstractmethod
    def asarray(self, values: NDArray[Any]) -> Array:
        """Return a host array as one of this backend; on the CPU it is the same array."""

    def own(self, values: NDArray[Any]) -> Array:
        """Return a writable copy of a host array, aligned as the kernels are fastest."""
        return self.asarray(np.array(values))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a writable array of zeros, aligned like that of `own`."""
        return self.own(np.zeros(shape, dtype))

    def place(self, rows: Batch) -> Batch:
        """Return checked host rows as arrays of this backend, ready for training."""
        return Batch(*(None if a is None else self.asarray(a) for a in rows.fields))

    @abstractmethod
    def to_host(self, values: Array) -> NDArray[Any]:
        """Return an array of this backend as a NumPy array; on the CPU it is the same array."""

    def taken(self, name: str, values: Any) -> Any:
        """Return a caller's array on a GPU as one that the backend computes with: on the host."""
        return device_arrays.on_host(name, values)

    def back(self, values: Array, like: Array) -> Array:
        """Return an array of this backend as one of the kind of `like`, a caller's array."""
        return self.to_host(values)

    def outputs(self, engine: Engine, x: Array) -> Array:
        """Return an engine's outputs (N, O) for rows (N, I), as an array of their kind."""
        return self.back(engine.predict(self.asarray(x)), x)

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return the lines of ``fastnet backends``: versions, threads, devices, caches."""
