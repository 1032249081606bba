"""Prediction of a single row, and of 10,000, on each backend."""

from __future__ import annotations

from typing import Any

from fastnet.benchmarks import problems
from fastnet.benchmarks.ladder import PREDICTED_ROWS, Rung
from fastnet.benchmarks.suite import PREDICTED, note, on_each_backend, predicting


@on_each_backend("one row", PREDICTED)
def test_one_row(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = predicting(rung, backend)
    row = problems.inputs(rung, 1)[0]
    note(benchmark, contender, rung.prediction_flops(1))
    assert benchmark(contender.predict_one, row).shape == (rung.sizes[-1],)


@on_each_backend("10,000 rows", PREDICTED)
def test_many_rows(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = predicting(rung, backend)
    x = problems.inputs(rung, PREDICTED_ROWS)
    note(benchmark, contender, rung.prediction_flops(len(x)))
    assert benchmark(contender.predict, x).shape == (len(x), rung.sizes[-1])
