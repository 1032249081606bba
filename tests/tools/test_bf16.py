"""Networks in bfloat16 beside float32: the command that compares them, on short runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools import bf16

pytest.importorskip("numba", reason="Numba is not installed")

PRINTED = 1e-4  # the last digit


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the instructions, the form that computes the same bits from float32 is compiled."""
    from fastnet.backends import numba_bf16

    monkeypatch.setattr(numba_bf16, "HAS_DOTS", True)


def test_scores_of_both_precisions_and_their_difference_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {name: replace(task, options={"epochs": 1}) for name, task in bf16.TASKS.items()}
    monkeypatch.setattr(bf16, "TASKS", short)
    bf16.compare_scores(["digits", "friedman"], 2)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for float32, half, difference in (lines[:3], lines[3:]):
        means = []
        for line, precision in ((float32, "float32"), (half, "bf16")):
            assert line[1] == precision and line[4] == "mean"
            means.append(float(line[5]))
            mean = np.mean([float(value) for value in line[2:4]])
            assert means[-1] == pytest.approx(mean, abs=PRINTED)
        assert float(difference[-1]) == pytest.approx(means[1] - means[0], abs=2 * PRINTED)


def test_steps_of_the_ladder_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    bf16.compare_speed(["policy"], 1)
    name, _, one, _, other, ratio = capsys.readouterr().out.split()
    assert name == "policy" and float(one) > 0 and float(other) > 0 and float(ratio) > 0
