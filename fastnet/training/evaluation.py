"""Loss, score and metrics of rows that the network was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

from numpy.typing import NDArray

from fastnet.backends.base import Backend
from fastnet.backends.epochs import EpochSums, LossSums
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import r2, r2_from, variance
from fastnet.preprocessing.samples import Samples
from fastnet.training.state import TrainingJob
from fastnet.utils.device_arrays import on_host

BOTH: Final = "give validation_data or validation_split, not both."


@dataclass(frozen=True)
class EvaluationSet:
    """Rows to evaluate, with their targets and weights where the caller has the rows."""

    rows: Batch
    targets: NDArray[Any]
    weight: NDArray[Any] | None
    prefix: str

    @classmethod
    def of(cls, checked: Samples, backend: Backend, prefix: str) -> Self:
        """Return checked rows on the backend."""
        return cls(backend.place(checked.rows), checked.targets, checked.rows.weight, prefix)

    def evaluate(self, job: TrainingJob) -> dict[str, float]:
        """Return loss, score and the job's metrics for these rows, with their prefix."""
        loss, prefix, targets, weight = job.loss, self.prefix, self.targets, self.weight
        tally, outputs = job.engine.evaluate(self.rows, loss)
        values = self.measure(tally, loss)
        several = self._pools(loss)
        if job.metrics or several:
            outputs = job.model.backend_object.to_host(outputs)
            targets, weight = on_host("targets", targets), on_host("weights", weight)
        if several:
            values[f"{prefix}r2"] = r2(targets, outputs, weight)
        for name, metric in job.metrics:
            # Of several processes all take the same number, also where one's own function draws.
            values[prefix + name] = job.engine.of_first(metric(targets, outputs, weight))
        return values

    def sums_suffice(self, job: TrainingJob) -> bool:
        """Return whether `evaluate` needs nothing but the sums of losses and scores."""
        return not job.metrics and not self._pools(job.loss)

    def measure(self, tally: LossSums | EpochSums, loss: Loss) -> dict[str, Any]:
        """Return loss and score from the sums of these rows, with their prefix."""
        return measure(tally, loss, self._variance if loss.metric == "r2" else 0.0, self.prefix)

    def _pools(self, loss: Loss) -> bool:
        """Return whether the sums pool the errors of several outputs, unlike R2."""
        return loss.metric == "r2" and self.targets.shape[1] > 1

    @cached_property
    def _variance(self) -> float:
        return variance(self.targets, self.weight)


def measure(
    tally: LossSums | EpochSums, loss: Loss, target_variance: float, prefix: str
) -> dict[str, Any]:
    """Return the loss, and accuracy or R2, from the sums of an epoch or an evaluation.

    They are floats, or of several epochs arrays (E,).
    """
    values: dict[str, Any] = {f"{prefix}loss": tally.mean_loss}
    if loss.metric == "accuracy":
        values[f"{prefix}accuracy"] = tally.mean_score
    elif loss.metric == "r2":
        values[f"{prefix}r2"] = r2_from(tally.mean_score, target_variance)
    return values
