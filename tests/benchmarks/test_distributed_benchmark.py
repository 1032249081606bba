"""``python -m fastnet.benchmarks.distributed``: what it measures, and its model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fastnet.benchmarks import distributed
from tests.closeness import assert_close


def test_it_measures_and_predicts(tmp_path: Path) -> None:
    chart, record = tmp_path / "chart.svg", tmp_path / "record.json"
    arguments = ["--quick", "--chart", str(chart), "--json", str(record)]
    result = CliRunner().invoke(distributed.main, arguments)
    assert result.exit_code == 0, result.output
    assert "measured here" in result.output
    assert "predicted, not measured" in result.output
    assert "predicted" in chart.read_text(encoding="utf-8")
    found = json.loads(record.read_text(encoding="utf-8"))
    assert [one["ranks"] for one in found] == [1, 2]
    assert all(seconds > 0 for one in found for seconds in one["sums"].values())
    assert {*found[0]["steps"]["image 256"]} == {
        *("ranks", "fit", "fit, one thread", "ranks, one thread")
    }


def test_the_fit_finds_what_the_steps_were_made_of() -> None:
    a, b = distributed.fitted({rows: 0.002 + 3e-5 * rows for rows in (256, 512, 1024)})
    assert_close(np.array([a, b]), [0.002, 3e-5], terms=100)


@pytest.mark.parametrize(
    ("seconds", "fit"),
    [
        ({256: 0.3, 512: 0.1}, (0.2, 0.0)),  # a busy machine slowed the smaller batch
        ({1: 0.5, 2: 2.0, 3: 4.5}, (0.0, (0.5 + 4 + 13.5) / 14)),
    ],
)
def test_no_step_takes_less_than_nothing(
    seconds: dict[int, float], fit: tuple[float, float]
) -> None:
    assert_close(np.array(distributed.fitted(seconds)), fit, terms=100)
    assert min(distributed.speedups(distributed.fitted(seconds), 0, 512, 0.0, 1.0)) >= 1.0


def test_steps_that_a_busy_machine_turned_round_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    steps = {"image 256": {"ranks": 0.3}, "image 512": {"ranks": 0.1}}
    distributed.predict([{"steps": steps}], 2e-5, 1.1e9, tmp_path / "chart.svg")
    assert "kept the machine busy: measure again" in capsys.readouterr().out
    steps["image 512"]["ranks"] = 0.6
    distributed.predict([{"steps": steps}], 2e-5, 1.1e9, None)
    assert "busy" not in capsys.readouterr().out


def test_a_network_without_latency_leaves_the_bytes_alone() -> None:
    assert distributed.sum_seconds(1000, 1, 1.0, 1.0) == 0
    assert distributed.sum_seconds(1000, 4, 0.0, 1e3) == 1.5
    assert distributed.sum_seconds(0, 4, 1.0, 1e3) == 8
    fast = distributed.speedups((0.0, 1.0), 0, 512, 0.0, 1.0)
    assert fast == [float(ranks) for ranks in distributed.MANY]
    slow = distributed.speedups((0.0, 1e-6), 10**6, 512, 1.0, 1e6)
    assert max(slow) == slow[0] == 1.0
