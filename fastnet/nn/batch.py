"""`Batch`: the inputs, targets and weights of some rows, as every backend takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any
"""An array of the backend in use."""


@dataclass(frozen=True)
class Batch:
    """Checked rows of data: a whole data set, or one batch of it.

    Attributes
    ----------
    x : (N, I)
    labels : (N,) int64, or None
        Class indices, for cross-entropy.
    target : (N, T), or None
        Targets of the other losses. Exactly one of `labels` and `target` is given.
    weight : (N,), or None
        Sample weights, at least 0.
    """

    x: Array
    labels: Array | None = None
    target: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def part(self, start: int, stop: int) -> Batch:
        """Return the rows from `start` up to `stop`, as views."""
        return Batch(*(None if a is None else a[start:stop] for a in self.fields))

    @property
    def fields(self) -> tuple[Array | None, ...]:
        """Return the four arrays."""
        return self.x, self.labels, self.target, self.weight
