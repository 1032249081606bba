"""Data that stay on the host: the same training, in windows that are fed while the GPU works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnet.backends.epochs import TrainConfig
from fastnet.backends.gpu import epoch as gpu_epoch
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Dense, Dropout
from fastnet.nn.losses import MSE, CrossEntropy, Loss
from fastnet.nn.optimizers import Adam
from fastnet.nn.plan import make_plan
from tests.cuda.host_backend import host_engine, put
from tests.cuda.host_module import WHY_NOT
from tests.networks import random_parameters, random_rows

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

LAYERS = (Dense(9, "relu"), Dropout(0.25), Dense(5, "softmax"))


class Feeds:
    """Runs copies late: when the mark behind them is waited for, as a GPU may."""

    def __init__(self, runtime: Any) -> None:
        self.runtime, self.waits = runtime, 0
        self.seen: list[int] = []
        self._pending: dict[int, Any] = {}
        runtime.feed, runtime.wait = self.feed, self.wait

    def feed(self, pairs: Any, after: Any) -> int:
        number = len(self.seen)
        self.seen.append(sum(len(values) for _, values in pairs))
        for into, values in pairs:
            into.set(values)
            self._pending.setdefault(number, []).append(values)
        return number

    def wait(self, mark: Any) -> None:
        if mark is not None:
            self.waits += 1
            for values in self._pending.pop(mark):
                values.view(np.uint8)[...] = 0xFF  # Once copied, it may be overwritten.


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=["labels", "targets"])
def test_streamed_training_has_the_bits_of_resident_training(
    monkeypatch: pytest.MonkeyPatch, loss: Loss, shuffle: bool, bf16: bool
) -> None:
    monkeypatch.setattr(gpu_epoch, "WINDOW_BYTES", 3 * 8 * 7 * 4)
    monkeypatch.setattr(gpu_epoch, "WINDOWS", (3, 1))
    plan = make_plan(7, LAYERS)
    rows = random_rows(plan, loss, 83, weighted=True, labels=loss.name == "cross_entropy")
    fields = [
        None if a is None else a.astype(np.float32) if a.dtype.kind == "f" else a
        for a in rows.fields
    ]
    config = TrainConfig(loss, Adam(0.01), 8, seed=3, shuffle=shuffle)
    results = []
    for kind in (Batch, HostRows):
        parameters = random_parameters(plan).astype(np.float32)
        engine = host_engine(plan, parameters, np.zeros(0, np.float32), bf16=bf16)
        feeds = Feeds(engine.runtime)
        moments = put(np.zeros((2, plan.size), np.float32))
        data = HostRows(*fields) if kind is HostRows else put(Batch(*fields))
        tallies = []
        for epoch in range(3):
            table = config.optimizer.step_coefficients(1 + 11 * epoch, np.full(11, 0.01))
            place = {"epoch": epoch, "step": 11 * epoch}
            tallies.append(engine.train_epoch(data, config, moments, table, **place))
        tally, outputs = engine.evaluate(data, loss)
        arrays = engine.parameters, moments, outputs
        results.append((*(array.get() for array in arrays), tallies, tally))
        if kind is HostRows:
            per_epoch = [8 * 3 * 3] * 3 + [8 * 3, 3 * 3]
            assert feeds.seen == per_epoch * 3
            assert feeds.waits == 3 * (len(per_epoch) - 2)
        else:
            assert not feeds.seen
    for resident, streamed in zip(*results, strict=True):
        if isinstance(resident, np.ndarray):
            np.testing.assert_array_equal(streamed, resident)
        else:
            assert streamed == resident


def test_all_rows_at_once_are_copied_to_the_device() -> None:
    plan, loss = make_plan(7, LAYERS), CrossEntropy()
    rows = random_rows(plan, loss, 20, labels=True)
    gradients = []
    for kind in (Batch, HostRows):
        engine = host_engine(plan, random_parameters(plan), np.zeros(0))
        engine.gradient(HostRows(*rows.fields) if kind is HostRows else put(rows), loss)
        gradients.append(engine.gradients.get())
    np.testing.assert_array_equal(*gradients)
