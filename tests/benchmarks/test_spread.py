"""``python -m fastnet.benchmarks.spread``, in a short form."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from fastnet.benchmarks import spread


def test_both_contenders_train_to_the_same_bits_and_are_timed() -> None:
    short = ["--members", "3", "--epochs", "1", "--rounds", "1", "--processes", "1"]
    result = CliRunner().invoke(spread.main, short)
    assert result.exit_code == 0, result.output
    assert "share of the ideal" in result.output


def test_other_bits_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "together", lambda *_: [np.zeros(3)])
    monkeypatch.setattr(spread, "apart", lambda *_: [np.ones(3)])
    with pytest.raises(RuntimeError, match="not trained to the same bits"):
        CliRunner().invoke(spread.main, [], catch_exceptions=False)
