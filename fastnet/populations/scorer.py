"""`Scorer`: how well predictions fit the targets of some rows; and what greedy selection takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.network import Network
from fastnet.nn import metrics as metric_table
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric
from fastnet.preprocessing import datasets
from fastnet.preprocessing.samples import Samples
from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Rows with their targets, with which predictions are compared.

    Attributes
    ----------
    network : Network
        It says what the targets mean.
    loss : Loss
    rows : Samples
        The rows as the network learns them.
    scaled : bool
        Whether the loss is that of the targets as the network scales them, or in their own unit:
        there, of several targets, it is that of the one with the largest numbers.
    """

    network: Network
    loss: Loss
    rows: Samples
    scaled: bool = False

    @classmethod
    def of(
        cls,
        network: Network,
        x: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        loss: Loss | None = None,
        scaled: bool = False,
    ) -> Self:
        """Return the scorer of rows; the default loss is the network's."""
        x, y = on_host("x", x), on_host("y", y)
        weight = datasets.weights_of(x, on_host("sample_weight", sample_weight))
        x, y = datasets.unpacked(x, y, network.preprocessor)
        values, targets = network.preprocessor.encode(x, y, network.dtype)
        loss = network.loss_or_own(loss)
        rows = Samples.check(network.plan, network.dtype, loss, values, targets, weight)
        return cls(network, loss, rows, scaled)

    def scores(self, outputs: Array, metrics: Sequence[str | Metric] = ()) -> dict[str, float]:
        """Return ``{"loss": ..., "accuracy": ...}`` (or ``"r2"``) of outputs (N, O), and `metrics`.

        Outputs and metrics are in the unit of the targets, and so is a loss that is not `scaled`.
        """
        net, loss, weight = self.network, self.loss, self.rows.rows.weight
        target = net.preprocessor.target
        asked = metric_table.get(metrics, loss, net.outputs)
        known = self.rows.targets
        learned = self.rows.rows.target if self.rows.rows.labels is None else self.rows.rows.labels
        assert learned is not None
        answers = outputs
        if target is not None and target.labels is None:
            known = target.decode(learned)
            if self.scaled:
                answers = target.scaled(outputs, loss)
            else:
                learned = known
        scores = {"loss": loss.value_and_gradient(answers, learned, weight)[0]}
        if loss.metric == "accuracy":
            scores["accuracy"] = metric_table.accuracy(known, outputs, weight)
        elif loss.metric == "r2":
            means = outputs[:, : outputs.shape[1] // loss.outputs_per_target]
            scores["r2"] = metric_table.r2(known, means, weight)
        return scores | {name: metric(known, outputs, weight) for name, metric in asked}

    def cost(self, outputs: Array, name: str) -> float:
        """Return the score of that name, ``"loss"`` or a metric; negative if larger is better."""
        found = self.scores(outputs, () if name == "loss" else (name,))[name]
        return found if name == "loss" or metric_table.mode_of(name) == "min" else -found


def choose(cost: Callable[[Array], float], count: int, rounds: int) -> NDArray[np.float64]:
    """Return how often greedy selection takes each of `count` members, (count,).

    In each round it takes the member with which the mean costs least, the same one several times if
    that is best; what it returns is the cheapest selection of all rounds (Caruana et al., 2004,
    "Ensemble selection from libraries of models").

    Parameters
    ----------
    cost : callable
        Returns what the mean with weights (count,) costs, whose sum is 1.
    rounds : int
        At least 1.

    Returns
    -------
    (count,) float64
        All 0 if no member has a finite cost.
    """
    counts, best_counts, best = np.zeros(count), np.zeros(count), np.inf
    for _ in range(rounds):
        costs = np.empty(count)
        for k in range(count):
            counts[k] += 1
            costs[k] = cost(counts / counts.sum())
            counts[k] -= 1
        if not np.isfinite(costs).any():
            return best_counts
        chosen = int(np.nanargmin(costs))
        counts[chosen] += 1
        if costs[chosen] < best:
            best, best_counts = float(costs[chosen]), counts.copy()
    return best_counts
