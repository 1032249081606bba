"""``python -m fastnet.benchmarks.populations``, in its quick form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet.benchmarks import populations


def test_every_population_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [case for case in populations.CASES if case.name in ("xor, few rows", "table")]
    monkeypatch.setattr(populations, "CASES", few)
    file = tmp_path / "p.json"
    result = CliRunner().invoke(populations.main, ["--quick", "--json", str(file)])
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text("utf-8"))
    assert content["format"] == populations.FORMAT
    found = [(one["case"], one["contender"]) for one in content["results"]]
    assert found == [
        ("xor, few rows", "fit_many"),
        ("xor, few rows", "one by one, one thread"),
        ("table", "fit_many"),
        ("table", "one by one, one thread"),
        ("search, 12 x 5 fits", "FastNetSearchCV"),
        ("search, 12 x 5 fits", "GridSearchCV of scikit-learn"),
    ]
    assert all(one["ratio"] > 0 and one["seconds"] > 0 for one in content["results"])
    assert result.output.count("\n| xor, few rows |") == 2


def test_contenders_that_differ_are_noticed() -> None:
    one, other = (fn.Network([2, 1], seed=seed, backend="numpy") for seed in (0, 1))
    populations.require_same([[one], [one]])
    with pytest.raises(RuntimeError, match="have not trained to the same bits"):
        populations.require_same([[one], [other]])
