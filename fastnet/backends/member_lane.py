"""A plain engine that is one member of a network with `Members` after the other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

import numpy as np

from fastnet.backends.engine import Engine
from fastnet.backends.placing import Arrays
from fastnet.nn.batch import Array
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.plan import Plan


class PlainBackend(Arrays, Protocol):
    """What this engine needs of a backend."""

    trains_side_by_side: ClassVar[bool]

    def active(self) -> AbstractContextManager[Any]:
        """Return a context in which its device is the current one."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros."""

    def plain_engine(
        self, plan: Plan, parameters: Array, state: Array, *, threads: int | None, precision: str
    ) -> Engine:
        """Return an engine of a plain plan."""


class Lane:
    """A plain engine and the flat parameters of the member that it computes now."""

    def __init__(self, plan: MemberPlan, engine: Engine) -> None:
        self.engine, self._plan = engine, plan

    def share(self, whole: Array) -> None:
        """Take over what all members share; it stays until the parameters change."""
        for part in self._plan.parts:
            if part.is_shared:
                part.fold(whole, 0, self.engine.parameters)

    @np.errstate(all="ignore")  # an overflow makes the loss infinite, and training checks it
    def become(self, whole: Array, member: int) -> Engine:
        """Return the engine with the parameters of a member."""
        for part in self._plan.parts:
            if not part.is_shared:
                part.fold(whole, member, self.engine.parameters)
        return self.engine
